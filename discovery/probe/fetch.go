package probe

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What one answer takes at most.
const (
	maxHead = 64 << 10
	maxBody = 128 << 10
	maxSpec = 8 << 20
	maxKept = 16 << 10 // of a body, for rules
)

// A site is one virtual host at one port.
type site struct {
	*visit
	service    *Service
	scheme     string
	host       string // Host header without port; the address where none is known
	port       int
	client     *http.Transport
	h2         *http.Transport
	robots     *robots
	root       *answer
	tried      map[string]bool // "GET /path"
	answers    []*answer       // kept for rules
	apis       []API
	bases      map[string]*base // calibration, by method and directory
	hits       []*answer
	spec       []Operation // of descriptions
	links      []string
	readable   map[string]bool // paths whose GET gives data
	anyUpgrade bool            // every path completes the handshake of a WebSocket
	rootIsAny  bool            // it answers as anything does
	failed     int             // times in a row
	dead       bool
}

type answer struct {
	method, path string
	status       int
	proto        string
	header       http.Header
	body         []byte
	cut          bool // the body was longer
	req          http.Header
	shape        *shape
}

func (a *answer) mediaType() string {
	t, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}

func (a *answer) json() bool {
	t := a.mediaType()
	return (t == "application/json" || strings.HasSuffix(t, "+json") || t == "text/json" || t == "application/vnd.api+json") && looksJSON(a.body)
}

func (a *answer) html() bool {
	t := a.mediaType()
	return t == "text/html" || t == "" && bytes.Contains(bytes.ToLower(a.body[:min(512, len(a.body))]), []byte("<html"))
}

func looksJSON(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n\ufeff")
	return len(b) > 0 && (b[0] == '{' || b[0] == '[' || b[0] == '"' || b[0] >= '0' && b[0] <= '9' || bytes.HasPrefix(b, []byte("true")) || bytes.HasPrefix(b, []byte("false")) || bytes.HasPrefix(b, []byte("null")))
}

// spend takes one request from the budget and waits for its turn.
func (v *visit) spend(ctx context.Context) bool {
	if ctx.Err() != nil || v.optedOut {
		if !v.spent && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			v.spent = true
			v.note("the time for one host (%s) has come to its end; what was not asked by then is not known", v.p.HostTime)
		}
		return false
	}
	if v.left <= 0 {
		if !v.spent {
			v.spent = true
			v.note("the budget of %d requests has come to its end; what was not asked by then is not known", v.p.Budget)
		}
		return false
	}
	v.left--
	return v.pace.wait(ctx) == nil
}

func (v *visit) agent() string {
	if v.p.Contact != "" {
		return "sallyport-discover (+" + strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return -1
			}
			return r
		}, v.p.Contact) + ")"
	}
	return "sallyport-discover"
}

func (v *visit) hostHeader(name string, port int, scheme string) string {
	h := name
	if h == "" {
		h = v.job.addr.String()
		if v.job.addr.Is6() {
			h = "[" + h + "]"
		}
	}
	if scheme == "http" && port == 80 || scheme == "https" && port == 443 {
		return h
	}
	return h + ":" + strconv.Itoa(port)
}

func (v *visit) newSite(s *Service, host string) *site {
	x := &site{visit: v, service: s, scheme: s.Protocol, host: host, port: s.Port, tried: map[string]bool{}, bases: map[string]*base{}}
	if s.Protocol == "h2c" {
		x.scheme = "http"
	}
	transport := func(h2 bool) *http.Transport {
		t := &http.Transport{
			// Whatever the URL says, the connection goes to the address of the visit.
			DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return v.dial(ctx, s.Port) },
			TLSClientConfig:        &tls.Config{InsecureSkipVerify: true, ServerName: host, MinVersion: tls.VersionTLS10, CipherSuites: allSuites()},
			MaxResponseHeaderBytes: maxHead, ResponseHeaderTimeout: v.p.Timeout, TLSHandshakeTimeout: v.p.Timeout, DisableCompression: true,
			MaxIdleConnsPerHost: 2, IdleConnTimeout: 20 * time.Second, Protocols: new(http.Protocols),
		}
		t.Protocols.SetHTTP1(!h2)
		t.Protocols.SetHTTP2(h2)
		t.Protocols.SetUnencryptedHTTP2(h2)
		return t
	}
	x.client, x.h2 = transport(s.Protocol == "h2c"), transport(true)
	return x
}

func (s *site) close() {
	s.client.CloseIdleConnections()
	s.h2.CloseIdleConnections()
}

func (s *site) base() string { return s.scheme + "://" + s.hostHeader(s.host, s.port, s.scheme) }

type ask struct {
	method, path string
	header       map[string]string
	body         string
	most         int // of the answer's body; 0: maxBody
	h2           bool
	always       bool // not a matter of robots.txt: the file itself, or what was given as a target
	wait         time.Duration
}

var errNotAsked = errors.New("not asked")

// fetch asks once. Redirects are not followed. It gives up on a site that does
// not answer four times in a row.
func (s *site) fetch(ctx context.Context, q ask) (*answer, error) {
	if q.method == "" {
		q.method = http.MethodGet
	}
	if s.dead || !q.always && !s.robots.allows(q.path) {
		return nil, errNotAsked
	}
	if !s.spend(ctx) {
		return nil, errNotAsked
	}
	wait := s.p.Timeout
	if q.wait > 0 {
		wait = min(q.wait, wait)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	a, err := s.roundTrip(ctx, q)
	if err != nil {
		if s.failed++; s.failed >= 4 && q.wait == 0 {
			s.dead = true
			s.note("%s does not answer any more: %s", s.base(), clip(err.Error(), 160))
		}
		return nil, err
	}
	s.failed = 0
	s.mark(a)
	if optsOut(a.header) {
		s.optedOut = true
		s.note("%s opts out of scans by its header", s.base())
		return nil, errNotAsked
	}
	if a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable {
		s.calm(ctx, a)
	}
	return a, nil
}

// calm waits when a server asks for it, ten seconds at most.
func (s *site) calm(ctx context.Context, a *answer) {
	n, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || n <= 0 {
		return
	}
	select {
	case <-time.After(min(time.Duration(n)*time.Second, 10*time.Second)):
	case <-ctx.Done():
	}
}

func (s *site) roundTrip(ctx context.Context, q ask) (*answer, error) {
	path, query, _ := strings.Cut(q.path, "?")
	u := &url.URL{Scheme: s.scheme, Host: s.hostHeader(s.host, s.port, s.scheme), RawQuery: query}
	var err error
	if u.Path, err = url.PathUnescape(path); err != nil {
		u.Path = path
	} else if u.EscapedPath() != path {
		u.RawPath = path
	}
	var body io.Reader
	if q.body != "" {
		body = strings.NewReader(q.body)
	}
	r, err := http.NewRequestWithContext(ctx, q.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	r.URL = u
	r.Header.Set("User-Agent", s.agent())
	r.Header.Set("Accept", "application/json, */*;q=0.8")
	for k, x := range q.header {
		if k == "Host" {
			r.Host = x
			continue
		}
		r.Header.Set(k, x)
	}
	client := s.client
	if q.h2 {
		client = s.h2
	}
	resp, err := client.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	most := q.most
	if most == 0 {
		most = maxBody
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") { // it has no end
		most = 4096
		t := time.AfterFunc(700*time.Millisecond, func() { resp.Body.Close() })
		defer t.Stop()
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		most = 0
		resp.Body.Close()
	}
	a := &answer{method: q.method, path: q.path, status: resp.StatusCode, proto: resp.Proto, header: resp.Header, req: r.Header}
	a.body, a.cut = readBody(resp, most)
	if resp.Trailer != nil {
		for k, x := range resp.Trailer {
			if len(x) > 0 && a.header.Get(k) == "" {
				a.header.Set(k, x[0])
			}
		}
	}
	return a, nil
}

// readBody reads at most n bytes, of what gzip made of them too.
func readBody(resp *http.Response, n int) (b []byte, cut bool) {
	var r io.Reader = io.LimitReader(resp.Body, int64(n)+1)
	if strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, false
		}
		r = io.LimitReader(z, int64(n)+1)
	}
	b, _ = io.ReadAll(r)
	if len(b) > n {
		return b[:n], true
	}
	return b, false
}

// keep remembers an answer for the rules.
func (s *site) keep(a *answer) *answer {
	if a != nil && len(s.answers) < 400 {
		c := *a
		if len(c.body) > maxKept {
			c.body, c.cut = slices.Clone(c.body[:maxKept]), true
		}
		s.answers = append(s.answers, &c)
	}
	return a
}

// get asks for a path once; the answer is kept. It is nil when there was none.
func (s *site) get(ctx context.Context, path string) *answer {
	a, _ := s.fetch(ctx, ask{path: path})
	return s.keep(a)
}

// robots is what robots.txt (RFC 9309) says to this scanner.
type robots struct{ rules []robotsRule }

type robotsRule struct {
	allow bool
	path  string
}

func parseRobots(b []byte) *robots {
	var own, any []robotsRule
	seen, mine, all, fresh := false, false, false, true
	for line := range bytes.Lines(b) {
		text, _, _ := strings.Cut(string(line), "#")
		key, value, ok := strings.Cut(text, ":")
		if !ok || len(own)+len(any) > 2000 {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "user-agent":
			if fresh {
				mine, all, fresh = false, false, false
			}
			name := strings.ToLower(value)
			mine = mine || strings.HasPrefix(name, "sallyport")
			all = all || name == "*"
			seen = seen || mine
		case "allow", "disallow":
			fresh = true
			if value == "" || len(value) > 500 {
				continue
			}
			rule := robotsRule{strings.EqualFold(strings.TrimSpace(key), "allow"), value}
			if mine {
				own = append(own, rule)
			} else if all {
				any = append(any, rule)
			}
		}
	}
	if seen {
		return &robots{own}
	}
	return &robots{any}
}

// allows takes the longest rule that matches, and of equal ones the one that allows.
func (r *robots) allows(path string) bool {
	if r == nil {
		return true
	}
	longest, allow := -1, true
	for _, x := range r.rules {
		if n := len(x.path); matches(x.path, path) && (n > longest || n == longest && x.allow) {
			longest, allow = n, x.allow
		}
	}
	return allow
}

// matches a robots pattern, with * and a final $, in linear steps.
func matches(pattern, path string) bool {
	pattern, end := strings.CutSuffix(pattern, "$")
	parts := strings.Split(pattern, "*")
	if !strings.HasPrefix(path, parts[0]) {
		return false
	}
	rest := path[len(parts[0]):]
	for i, p := range parts[1:] {
		if end && i == len(parts)-2 {
			return strings.HasSuffix(rest, p)
		}
		at := strings.Index(rest, p)
		if at < 0 {
			return false
		}
		rest = rest[at+len(p):]
	}
	return !end || rest == ""
}

// optsOut says whether a header declines scans.
func optsOut(h http.Header) bool {
	return strings.EqualFold(strings.TrimSpace(h.Get("X-Sallyport-Scan")), "no")
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return '.'
		}
		return r
	}, strings.ToValidUTF8(s, "."))
}

func itoa(n int) string { return strconv.Itoa(n) }

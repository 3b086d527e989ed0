package conformance

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sallyport.dev"
	"sallyport.dev/spec"
)

// A call is one request before it is sent. It is a value: changed by copy.
type call struct {
	op     *operation // whose answer it is judged by; nil for none
	method string
	path   string // escaped, below the target's own path
	query  []pair
	header []pair
	body   []byte
	media  string // Content-Type; "" = none
	as     *Identity
	params []string // declared parameters that it gives a value to
	refs   []string // ids of other things that its body names
}

type pair struct{ name, value string }

func (c call) with(f func(*call)) call {
	c.query, c.header = slices.Clone(c.query), slices.Clone(c.header)
	f(&c)
	return c
}

func (c *call) set(name, value string) {
	c.header = slices.DeleteFunc(c.header, func(p pair) bool { return strings.EqualFold(p.name, name) })
	c.header = append(c.header, pair{name, value})
}

func (c *call) rawQuery() string {
	var b strings.Builder
	for i, p := range c.query {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(p.name) + "=" + strings.ReplaceAll(url.QueryEscape(p.value), "+", "%20"))
	}
	return b.String()
}

// An answer is what came back, or why nothing did.
type answer struct {
	status int
	header http.Header
	body   []byte
	cut    bool // longer than the budget
	took   time.Duration
	err    error
}

func (a *answer) ok() bool      { return a.err == nil && a.status >= 200 && a.status < 300 }
func (a *answer) refused() bool { return a.err == nil && a.status >= 400 && a.status < 500 }
func (a *answer) denied() bool {
	return a.err == nil && (a.status == 401 || a.status == 403 || a.status == 404)
}
func (a *answer) media() string  { return a.header.Get("Content-Type") }
func (a *answer) value() (v any) { _ = json.Unmarshal(a.body, &v); return v }

var (
	errBudget = errors.New("the budget is used up")
	errHangs  = errors.New("no whole answer in time")
)

// build makes a run of a plan with its defaults filled in.
func build(p Plan, u *url.URL) (*run, error) {
	r := &run{Plan: p, base: u, report: &Report{API: p.API, Target: p.Target, Profile: p.Profile, Seed: p.Seed, Started: time.Now()},
		seen: map[string]bool{}, checks: map[string]int{}, made: map[string]call{}, bases: map[string]call{}, things: map[string]*made{}, counts: map[string]int{}}
	r.transport = p.Transport
	if r.transport == nil {
		r.own = &http.Transport{MaxIdleConnsPerHost: 64, MaxConnsPerHost: 64, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
			ResponseHeaderTimeout: p.Budget.Timeout, TLSHandshakeTimeout: p.Budget.Timeout, MaxResponseHeaderBytes: 256 << 10,
			DialContext: (&net.Dialer{Timeout: p.Budget.Timeout}).DialContext, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
		r.transport = r.own
	}
	for _, o := range p.Spec.Operations() {
		d := o.Declared()
		if d == nil {
			r.notRun("%s %s: not of OpenAPI, or the specification was loaded without what requests are made of", o.Method, o.Template)
			continue
		}
		x := &operation{Operation: o, set: p.Spec, d: d, key: o.Method + " " + o.Template, reached: map[int]int{}, sent: map[string]bool{}, checks: map[string]int{}}
		if r.skips(x.key) {
			r.notRun("%s: left out by the plan", x.key)
			x.skip = true
		}
		r.ops = append(r.ops, x)
	}
	if p.Spec.GraphQL() != nil {
		r.notRun("GraphQL: its schema is enforced at the door; there are no generated tests of it")
	}
	if len(r.ops) == 0 {
		return nil, fmt.Errorf("%w: the specification declares no operation that requests can be made of", ErrTarget)
	}
	if len(p.Identities) == 0 {
		r.Identities = []Identity{{Name: "anonymous"}}
	}
	for i := range r.Identities {
		if r.Identities[i].Role == "" {
			r.Identities[i].Role = "user"
		}
	}
	r.relate()
	return r, nil
}

// A run is one Run at work.
type run struct {
	Plan
	base      *url.URL
	transport http.RoundTripper
	own       *http.Transport
	ops       []*operation
	resources map[string]*resource // by path of the item
	bases     map[string]call      // that succeeded, by operation
	things    map[string]*made
	counts    map[string]int
	report    *Report

	mu     sync.Mutex
	next   time.Time // of the next request, by Rate
	until  time.Time // asked to wait till then
	spent  int
	seen   map[string]bool // findings by check, operation and place
	checks map[string]int
	made   map[string]call // how to delete what was made
	down   int             // requests in a row without an answer
	waited int             // answers 429 in a row
	busy   time.Duration   // that answers have taken
	prog   time.Time
	later  []func()      // when nobody makes or changes things at the same time
	last   []func()      // that may lock an account or use a limit up
	pause  time.Duration // asked for by 429, in all
}

func (r *run) skips(name string) bool { return slices.Contains(r.Skip, name) }

func (r *run) notRun(format string, a ...any) {
	text := fmt.Sprintf(format, a...)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.report.NotRun, text) && len(r.report.NotRun) < 500 {
		r.report.NotRun = append(r.report.NotRun, text)
	}
}

// slot waits until a request may be sent.
func (r *run) slot(ctx context.Context) error {
	r.mu.Lock()
	if r.spent >= r.Budget.Requests || r.down >= 8 {
		r.mu.Unlock()
		return errBudget
	}
	r.spent++
	now := time.Now()
	at := r.until
	if r.Budget.Rate > 0 || r.Budget.Share > 0 {
		if r.next.Before(now) {
			r.next = now
		}
		if r.next.After(at) {
			at = r.next
		}
		if r.Budget.Rate > 0 {
			r.next = r.next.Add(time.Duration(float64(time.Second) / r.Budget.Rate))
		}
	}
	r.mu.Unlock()
	if d := time.Until(at); d > 0 {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// send makes a request. Answers 429 are waited out, a few times; the last is
// given. It never returns nil.
func (r *run) send(ctx context.Context, c call) *answer {
	var a *answer
	for try := range 3 {
		if a = r.once(ctx, c); a.err != nil || a.status != http.StatusTooManyRequests {
			break
		}
		wait, err := strconv.Atoi(a.header.Get("Retry-After"))
		if err != nil || wait < 0 {
			wait = 1 << try
		}
		d := min(time.Duration(wait)*time.Second, 30*time.Second)
		r.mu.Lock()
		if r.pause+d > r.Budget.Time/4 {
			r.mu.Unlock()
			break
		}
		r.pause += d
		r.until = time.Now().Add(d)
		r.mu.Unlock()
		r.notRun("the target limits requests (429): waited as asked; give Budget.Rate (--rate), or an identity with a higher limit")
	}
	return a
}

// once makes a request and takes what comes for the answer.
func (r *run) once(ctx context.Context, c call) *answer {
	a := &answer{header: http.Header{}}
	if a.err = r.slot(ctx); a.err != nil {
		return a
	}
	ctx, cancel := context.WithTimeout(ctx, r.Budget.Timeout)
	defer cancel()
	req, err := r.request(ctx, c)
	if err != nil {
		a.err = err
		return a
	}
	begin := time.Now()
	resp, err := r.transport.RoundTrip(req)
	if err == nil {
		a.status, a.header = resp.StatusCode, resp.Header
		a.body, err = io.ReadAll(io.LimitReader(resp.Body, r.Budget.Body+1))
		if int64(len(a.body)) > r.Budget.Body {
			a.body, a.cut = a.body[:r.Budget.Body], true
		}
		resp.Body.Close()
	}
	a.took = time.Since(begin)
	if err != nil {
		a.err = err
		if ctx.Err() == context.DeadlineExceeded {
			a.err = errHangs
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.err != nil {
		r.down++
		return a
	}
	r.down = 0
	if s := r.Budget.Share; s > 0 && s < 1 { // it rests as long as makes its work the share
		r.busy += a.took
		r.next = r.next.Add(time.Duration(float64(a.took) / s))
	}
	if c.op != nil {
		c.op.reached[a.status]++
		for _, p := range c.params {
			c.op.sent[p] = true
		}
	}
	if r.Progress != nil && time.Since(r.prog) > 300*time.Millisecond {
		r.prog = time.Now()
		r.Progress("testing", r.spent, len(r.report.Findings))
	}
	return a
}

func (r *run) request(ctx context.Context, c call) (*http.Request, error) {
	u := *r.base
	raw := strings.TrimSuffix(r.base.EscapedPath(), "/") + c.path
	path, err := url.PathUnescape(raw)
	if err != nil {
		return nil, err
	}
	u.Path, u.RawPath, u.RawQuery = path, raw, c.rawQuery()
	var body io.Reader
	if c.body != nil {
		body = bytes.NewReader(c.body)
	}
	req, err := http.NewRequestWithContext(ctx, c.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	req.URL = &u
	for k, v := range r.Header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", "sallyport-conformance")
	r.sign(req, c)
	if c.media != "" {
		req.Header.Set("Content-Type", c.media)
	}
	for _, h := range c.header {
		if h.value == "" {
			req.Header.Del(h.name)
			continue
		}
		req.Header.Set(h.name, h.value)
	}
	return req, nil
}

// A credential is where one goes.
type credential struct {
	in     sallyport.In
	name   string
	prefix string
	scheme string
}

// credentials are those of the first alternative that an operation asks for.
func (o *operation) credentials() (out []credential) {
	for _, alternative := range o.Security {
		if len(alternative) == 0 {
			continue
		}
		for scheme := range alternative {
			s := o.d.Schemes[scheme]
			c := credential{in: sallyport.InHeader, name: "Authorization", prefix: "Bearer ", scheme: scheme}
			switch strings.ToLower(s.Get("type").Value.String()) {
			case "apikey":
				c.in, c.name, c.prefix = sallyport.In(s.Get("in").Value.String()), s.Get("name").Value.String(), ""
			case "basic":
				c.prefix = "Basic "
			case "http":
				if strings.EqualFold(s.Get("scheme").Value.String(), "basic") {
					c.prefix = "Basic "
				}
			}
			out = append(out, c)
		}
		slices.SortFunc(out, func(a, b credential) int { return strings.Compare(a.scheme, b.scheme) })
		return out
	}
	return nil
}

// open reports whether the operation may be called without credentials.
func (o *operation) open() bool {
	return len(o.Security) == 0 || slices.ContainsFunc(o.Security, func(m map[string][]string) bool { return len(m) == 0 })
}

func (i *Identity) token(scheme string) string {
	if t, ok := i.Tokens[scheme]; ok {
		return t
	}
	return i.Token
}

// sign puts the identity's credentials where the operation wants them.
func (r *run) sign(req *http.Request, c call) {
	if c.as == nil {
		return
	}
	list := []credential{{in: sallyport.InHeader, name: "Authorization", prefix: "Bearer "}}
	if c.op != nil {
		if list = c.op.credentials(); list == nil {
			return
		}
	}
	for _, k := range list {
		t := c.as.token(k.scheme)
		if t == "" {
			continue
		}
		switch k.in {
		case sallyport.InQuery:
			if req.URL.RawQuery != "" {
				req.URL.RawQuery += "&"
			}
			req.URL.RawQuery += url.QueryEscape(k.name) + "=" + url.QueryEscape(t)
		case sallyport.InCookie:
			req.AddCookie(&http.Cookie{Name: k.name, Value: t})
		default:
			req.Header.Set(k.name, k.prefix+t)
		}
	}
}

// curl writes a request as a command line; credentials stand as variables.
func (r *run) curl(c call) string {
	var b strings.Builder
	b.WriteString("curl -i -X " + c.method)
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	target := r.Target + c.path
	q := c.rawQuery()
	if c.as != nil && c.op != nil {
		for _, k := range c.op.credentials() {
			name := strings.Map(func(x rune) rune {
				if x >= 'a' && x <= 'z' {
					return x - 32
				}
				if x >= 'A' && x <= 'Z' || x >= '0' && x <= '9' {
					return x
				}
				return '_'
			}, c.as.Name)
			if c.as.token(k.scheme) == "" {
				continue
			}
			switch k.in {
			case sallyport.InQuery:
				q = strings.TrimPrefix(q+"&", "&") + k.name + "=$" + name
			case sallyport.InCookie:
				b.WriteString(` -H "Cookie: ` + k.name + "=$" + name + `"`)
			default:
				b.WriteString(` -H "` + k.name + ": " + k.prefix + "$" + name + `"`)
			}
		}
	}
	if c.media != "" {
		b.WriteString(" -H " + quote("Content-Type: "+c.media))
	}
	for _, h := range c.header {
		b.WriteString(" -H " + quote(h.name+": "+h.value))
	}
	if c.body != nil {
		text := string(c.body)
		if len(text) > 2000 {
			text = text[:200] + fmt.Sprintf("… (%d bytes, same with this seed)", len(c.body))
		}
		b.WriteString(" --data-binary " + quote(text))
	}
	if q != "" {
		target += "?" + q
	}
	if strings.Contains(q, "=$") {
		b.WriteString(` "` + target + `"`)
	} else {
		b.WriteString(" " + quote(target))
	}
	return b.String()
}

// problems are what the specification says against an answer.
func (o *operation) problems(a *answer, head bool) (out []spec.Problem, undeclared bool) {
	var c spec.Check
	o.CheckResponse(&c, a.status, a.header)
	if !head && !a.cut {
		o.CheckResponseBody(&c, a.status, a.media(), a.body)
	}
	return c.Problems, c.NewStatus
}

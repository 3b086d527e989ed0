package gateway

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"sallyport.dev"
	"sallyport.dev/guard"
)

// Egress makes a gateway the door of calls that go out, to APIs of others. Its
// clients are our own services, which use it as their proxy: with CONNECT (RFC
// 9110 section 9.3.6) for https, or with a target in absolute form, which is
// sent on over TLS all the same. Nothing passes to a host that is no
// destination, to an address that is not public, or after a redirect that
// leads elsewhere.
type Egress struct {
	// Observe lets connections to hosts that are no destination through as
	// tunnels, to public addresses only, and puts them on record: for finding out
	// what is called before the list is closed.
	Observe bool
	// CADir keeps the authority that stands in for destinations whose calls are
	// looked at; clients have to trust it. "" keeps it in memory.
	CADir string
}

// A Destination is what an API of others allows at the door of calls that go
// out. The API has exactly one upstream, by URL.
type Destination struct {
	Host string // as clients ask for it, in lower case
	// Tunnel lets TLS pass unopened: who calls, where to, when and how much is
	// known, and nothing that is said.
	Tunnel bool
	// Redirects passes answers on that lead to hosts that are no destination.
	Redirects bool
}

// KeyHeader is where a client of the door out shows its key, for the headers
// Authorization and X-Api-Key belong to the destination. As a proxy's password
// (Proxy-Authorization) it is understood too. It never passes.
const KeyHeader = "X-Sallyport-Key"

// kindProxy is for a client that has to show who it is.
var kindProxy = guard.KindProxyUnauthenticated

var proxyChallenge = [][2]string{{"Proxy-Authenticate", `Basic realm="egress"`}}

// A via is the CONNECT that the requests of a connection came by.
type via struct {
	host string // of the destination
	key  string // what the client showed
}

type viaKey struct{}

// outward is what a request to a destination is held to before the guard sees it.
func (p *passage) outward() (guard.Kind, string) {
	host := hostOnly(p.r.Host)
	key := ""
	if v, _ := p.r.Context().Value(viaKey{}).(*via); v != nil {
		if host != v.host {
			return guard.KindMisdirected, "egress.authority" // fronting: asked for one, means another
		}
		key = v.key
	}
	d := p.force.out[host]
	switch {
	case d == nil:
		return guard.KindRefused, "egress.unlisted"
	case d.Tunnel:
		return guard.KindRefused, "egress.tunnel-only"
	}
	h := p.r.Header
	if shown := proxyKey(first(h["Proxy-Authorization"])); shown != "" {
		key = shown
	}
	if key != "" && len(h[KeyHeader]) == 0 {
		h[KeyHeader] = []string{key}
	}
	return guard.Kind{}, ""
}

// hostOnly is a Host header's host, in lower case and without its port.
func hostOnly(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// proxyKey is the key in a Proxy-Authorization field: the password of Basic, or
// the token of Bearer.
func proxyKey(v string) string {
	scheme, rest, _ := strings.Cut(v, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return rest
	case strings.EqualFold(scheme, "Basic"):
		b, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return ""
		}
		name, password, _ := strings.Cut(string(b), ":")
		if password == "" {
			return name
		}
		return password
	}
	return ""
}

// elsewhere says why an answer of a destination must not pass: it sends the
// client to a host that is none.
func (p *passage) elsewhere(status int, h http.Header) *sallyport.Reason {
	if status < 300 || status > 399 || status == http.StatusNotModified {
		return nil
	}
	d := p.force.out[hostOnly(p.r.Host)]
	if d == nil || d.Redirects {
		return nil
	}
	for _, name := range []string{"Location", "Refresh", "Content-Location"} {
		for _, v := range h[name] {
			if name == "Refresh" {
				if i := strings.Index(strings.ToLower(v), "url="); i >= 0 {
					v = strings.Trim(v[i+4:], `"' `)
				} else {
					continue
				}
			}
			to, err := url.Parse(strings.TrimSpace(v))
			switch {
			case err != nil || strings.Contains(v, "\\"): // which browsers and their like take for a slash (WHATWG URL)
				return forwardReason("egress.redirect", "the answer leads to what is no URL")
			case to.Host == "" && to.Scheme == "" && to.Opaque == "":
				continue // the same destination
			case to.Host != "" && (to.Scheme == "" || to.Scheme == "https" || to.Scheme == "http") && p.force.out[hostOnly(to.Host)] != nil:
				continue
			}
			return forwardReason("egress.redirect", "the answer leads to a host that is no destination")
		}
	}
	return nil
}

// An addressError is a destination whose name stands for an address that no
// call may go to.
type addressError struct{ addr netip.Addr }

func (e *addressError) Error() string { return "address is not public: " + e.addr.String() }

// metadata are the addresses at which clouds tell machines their secrets. They
// are out of reach whatever else is allowed.
var metadata = []netip.Addr{
	netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("169.254.170.2"), netip.MustParseAddr("169.254.170.23"),
	netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("192.0.0.192"),
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fd00:ec2::23"), netip.MustParseAddr("fd20:ce::254"),
}

// reserved are networks that are not on the public internet, besides those
// that net/netip knows (IANA special-purpose address registries, RFC 6890).
var reserved = func() (list []netip.Prefix) {
	for _, s := range []string{"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
		"203.0.113.0/24", "240.0.0.0/4", "::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10"} {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}()

// public reports whether a is an address on the internet. One that carries an
// IPv4 address inside (NAT64, RFC 6052; 6to4, RFC 3056) is judged by that.
func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
		return false
	}
	for _, p := range reserved {
		if p.Contains(a) {
			return false
		}
	}
	if a.Is6() {
		b := a.As16()
		switch {
		case [12]byte(b[:12]) == [12]byte{0, 0x64, 0xff, 0x9b}:
			return public(netip.AddrFrom4([4]byte(b[12:])))
		case b[0] == 0x20 && b[1] == 0x02:
			return public(netip.AddrFrom4([4]byte(b[2:6])))
		}
	}
	return true
}

// reach judges an address at the moment that it is dialled, so that no name
// can mean another address by then (DNS rebinding).
type reach struct{ also []netip.Prefix }

// readReach reads Upstream.Reach.
func readReach(s string) (*reach, error) {
	if s == "" {
		return nil, nil
	}
	r := &reach{}
	for word := range strings.SplitSeq(s, ",") {
		if word == "public" {
			continue
		}
		p, err := netip.ParsePrefix(word)
		if err != nil {
			return nil, fmt.Errorf("reach: %w", err)
		}
		r.also = append(r.also, p)
	}
	return r, nil
}

// Reaches is what a net.Dialer's Control must be for it to reach no address that
// an Upstream with that Reach would not: judged when it is dialled. A text that
// is no Reach reaches nothing.
func Reaches(text string) func(network, address string, c syscall.RawConn) error {
	r, err := readReach(text)
	if err != nil {
		return func(string, string, syscall.RawConn) error { return err }
	}
	if r == nil {
		return nil
	}
	return r.control
}

func (r *reach) allows(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, m := range metadata {
		if a == m {
			return false
		}
	}
	for _, p := range r.also {
		if p.Contains(a) {
			return true
		}
	}
	return public(a)
}

// control is a net.Dialer's.
func (r *reach) control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !r.allows(to.Addr()) {
		return &addressError{to.Addr()}
	}
	return nil
}

// destinations lists them by host, out of the pools' settings.
func destinations(apis []API) map[string]*listed {
	list := map[string]*listed{}
	for i := range apis {
		a := &apis[i]
		if a.Out != nil && len(a.Upstreams) == 1 {
			list[a.Out.Host] = &listed{Destination: *a.Out, api: a.Name, up: a.Upstreams[0]}
		}
	}
	return list
}

// A listed destination.
type listed struct {
	Destination
	api string
	up  Upstream
}

// address is where its connections go, host:port.
func (d *listed) address() string {
	return strings.TrimPrefix(strings.TrimPrefix(d.up.URL, "https://"), "http://")
}

// connectHead is the largest head of a CONNECT.
const connectHead = 8 << 10

// connect answers a connection that begins with CONNECT and stays with it to
// its end. It reports whether it was one; if not, nothing has been read.
func (g *Gateway) connect(c *clientConn, greeted func()) bool {
	is, err := c.begins("CONNECT ")
	if err != nil || !is {
		return false
	}
	defer c.Close()
	now := g.o.Now()
	t := &connecting{g: g, force: g.force.Load(), c: c, now: now, id: newID(now), peer: peerOf(c.RemoteAddr().String())}
	if !t.readHead() {
		return true
	}
	greeted()
	host := hostOnly(t.authority)
	d := t.force.out[host]
	switch {
	case d == nil && !g.o.Egress.Observe:
		t.turnAway(guard.KindRefused, "egress.unlisted", "the host is no destination")
	case d == nil:
		t.pass(nil, t.authority, &reach{})
	case !t.portFits(d):
		t.turnAway(guard.KindRefused, "egress.port", "the destination is asked at another port")
	case d.Tunnel:
		r, err := readReach(d.up.Reach)
		if err != nil || r == nil {
			r = &reach{}
		}
		t.pass(d, d.address(), r)
	default:
		t.open(host)
	}
	return true
}

// connecting is one CONNECT.
type connecting struct {
	g         *Gateway
	force     *generation
	c         *clientConn
	now       time.Time
	id        string
	peer      netip.Addr
	authority string
	key       string
}

// readHead reads the head strictly: one request line, fields without folds, no
// body. What it refuses is answered.
func (t *connecting) readHead() bool {
	buf := make([]byte, 0, 1024)
	end := -1
	for end < 0 {
		if len(buf) == connectHead {
			t.turnAway(guard.KindHeaderTooLarge, "header.size", "")
			return false
		}
		n, err := t.c.Read(buf[len(buf):min(cap(buf), connectHead)])
		buf = buf[:len(buf)+n]
		end = bytes.Index(buf, []byte("\r\n\r\n"))
		if err != nil && end < 0 {
			if timedOut(err) {
				t.turnAway(guard.KindTimeout, "head.late", "")
			}
			return false
		}
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, min(2*cap(buf), connectHead)), buf...)
		}
	}
	if rest := buf[end+4:]; len(rest) > 0 {
		t.c.early = append(bytes.Clone(rest), t.c.early...)
	}
	bad := func(rule, detail string) bool {
		t.authority = ""
		t.turnAway(guard.KindBadRequest, rule, detail)
		return false
	}
	lines := strings.Split(string(buf[:end]), "\r\n")
	words := strings.Split(lines[0], " ")
	if len(words) != 3 || words[0] != "CONNECT" || words[2] != "HTTP/1.1" && words[2] != "HTTP/1.0" {
		return bad("target.syntax", "no CONNECT with an authority")
	}
	host, port, err := net.SplitHostPort(words[1])
	if err != nil || port == "" || strings.Trim(port, "0123456789") != "" || len(port) > 5 || !plainHost(host) {
		return bad("target.syntax", "the authority is not host:port")
	}
	t.authority = words[1]
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t\n\r") || strings.ContainsAny(value, "\r\n\x00") {
			return bad("header.syntax", "a field is malformed")
		}
		value = strings.Trim(value, " \t")
		switch strings.ToLower(name) {
		case "host":
			if hostOnly(value) != hostOnly(t.authority) {
				return bad("framing.host", "Host names another host")
			}
		case "content-length", "transfer-encoding":
			return bad("framing.connect-body", "a CONNECT has no body (RFC 9110 section 9.3.6)")
		case "proxy-authorization":
			t.key = proxyKey(value)
		case strings.ToLower(KeyHeader):
			t.key = value
		}
	}
	return true
}

// plainHost reports whether h is a name or an address and nothing else.
func plainHost(h string) bool {
	if _, err := netip.ParseAddr(h); err == nil {
		return true
	}
	if h == "" || len(h) > 253 || h[0] == '.' || h[0] == '-' {
		return false
	}
	for i := range len(h) {
		c := h[i] | 0x20
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && h[i] != '-' && h[i] != '.' && h[i] != '_' {
			return false
		}
	}
	return true
}

// portFits reports whether the authority's port is the destination's.
func (t *connecting) portFits(d *listed) bool {
	_, port, _ := net.SplitHostPort(t.authority)
	_, own, _ := net.SplitHostPort(d.address())
	return port == own || port == "443" && d.up.Scheme == "https"
}

func (t *connecting) answer(k guard.Kind, extra [][2]string) {
	body := appendProblem(nil, k, t.id)
	h := http.Header{}
	problemHeaders(h, t.id, extra)
	t.c.SetWriteDeadline(time.Now().Add(t.g.o.Bounds.WriteTime))
	fmt.Fprintf(t.c, "HTTP/1.1 %d %s\r\nContent-Length: %d\r\nConnection: close\r\n", k.Status, http.StatusText(k.Status), len(body))
	h.Write(t.c)
	t.c.Write(append([]byte("\r\n"), body...))
	t.c.CloseWrite()
}

func (t *connecting) turnAway(k guard.Kind, rule, detail string) {
	t.answer(k, nil)
	x := turnedAway(t.id, t.now, k, rule)
	if detail != "" {
		x.Decision.Reasons[0].Detail = detail
	}
	t.fill(x)
	t.g.record(x)
}

func (t *connecting) fill(x *sallyport.Exchange) {
	x.Method, x.Host, x.Proto, x.Path, x.Client = http.MethodConnect, t.authority, "HTTP/1.1", "/", t.peer
	x.Duration = max(0, t.g.o.Now().Sub(t.now))
}

var established = []byte("HTTP/1.1 200 Connection established\r\n\r\n")

// open answers with our own certificate for the destination and serves what is
// asked inside.
func (t *connecting) open(host string) {
	g := t.g
	t.c.SetDeadline(time.Now().Add(g.o.Bounds.HeadTime))
	if _, err := t.c.Write(established); err != nil {
		return
	}
	v := &via{host: host, key: t.key}
	t.c.via = v
	s := tls.Server(t.c, &tls.Config{
		MinVersion: tls.VersionTLS12, CipherSuites: suites, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if name := strings.ToLower(h.ServerName); name != "" && name != host {
				return nil, errFronting
			}
			return g.standIn.leafFor(host)
		},
	})
	ctx, cancel := context.WithTimeout(context.Background(), g.o.Bounds.HeadTime)
	err := s.HandshakeContext(ctx)
	cancel()
	if err != nil {
		g.count.handshakeFailed.Add(1)
		k, rule, detail := guard.KindBadRequest, "egress.tls", "the TLS handshake inside failed; does the client trust our authority?"
		if errors.Is(err, errFronting) {
			k, rule, detail = guard.KindMisdirected, "egress.authority", "TLS names another host than CONNECT"
		}
		x := turnedAway(t.id, t.now, k, rule)
		x.Decision.Reasons[0].Detail, x.Status = detail, 0
		t.fill(x)
		g.record(x)
		return
	}
	t.c.SetDeadline(time.Time{})
	if s.ConnectionState().NegotiatedProtocol == "h2" {
		done := make(chan struct{})
		leave := t.c.leave
		t.c.leave = func() { leave(); close(done) }
		t.c.leave = sync.OnceFunc(t.c.leave)
		g.handoff.give(s)
		<-done // Close is ours to call, after the server's
		return
	}
	g.strict.ServeConn(context.WithValue(context.Background(), viaKey{}, v), s)
}

var errFronting = errors.New("TLS names another host than CONNECT")

// pass lets TLS through unopened, once the guard has let the caller pass. d is
// nil for a host that is no destination and only watched.
func (t *connecting) pass(d *listed, to string, r *reach) {
	g := t.g
	ses, ok := t.guarded(d)
	if !ok {
		return
	}
	end := func(o guard.Outcome, k guard.Kind) {
		if k.Status != 0 {
			o.Status = k.Status
			t.answer(k, nil)
		}
		t.record(d, ses, o)
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	up, err := (&net.Dialer{KeepAlive: 30 * time.Second, Control: r.control}).DialContext(ctx, "tcp", to)
	if err != nil {
		rule, detail, k := "upstream.connect", "no connection", guard.KindBadAnswer
		if e := (*addressError)(nil); errors.As(err, &e) {
			rule, detail, k = "egress.address", "the name stands for an address that is not public", guard.KindRefused
		}
		end(guard.Outcome{Reason: forwardReason(rule, detail)}, k)
		return
	}
	defer up.Close()
	t.c.SetDeadline(time.Now().Add(g.o.Bounds.HeadTime))
	if _, err := t.c.Write(established); err != nil {
		end(guard.Outcome{Reason: forwardReason("client.gone", "")}, guard.Kind{})
		return
	}
	hello, name, err := readHello(t.c)
	host := hostOnly(t.authority)
	_, literal := netip.ParseAddr(host)
	switch {
	case err != nil:
		end(guard.Outcome{Reason: forwardReason("egress.not-tls", "what follows CONNECT is not TLS")}, guard.Kind{})
		return
	case name != host && !(name == "" && literal == nil):
		end(guard.Outcome{Reason: forwardReason("egress.authority", "TLS names another host than CONNECT")}, guard.Kind{})
		return
	}
	t.c.early = append(hello, t.c.early...)
	t.c.SetDeadline(time.Time{})
	tn := &tunnel{client: t.c, upstream: up}
	tn.last.Store(time.Now().UnixNano())
	if !g.track(tn) {
		end(guard.Outcome{Reason: forwardReason("door.closing", "the gateway is stopping")}, guard.Kind{})
		return
	}
	defer g.untrack(tn)
	sent, received := &counting{Writer: up}, &counting{Writer: t.c}
	var back sync.WaitGroup
	back.Go(func() { tn.copy(received, t.c, up, g.o.Bounds.StreamIdle, up) })
	tn.copy(sent, up, t.c, g.o.Bounds.StreamIdle, t.c)
	back.Wait()
	end(guard.Outcome{Status: http.StatusOK, Origin: http.StatusOK, Instance: to, RequestBytes: sent.n, ResponseBytes: received.n}, guard.Kind{})
}

type counting struct {
	io.Writer
	n int64
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.n += int64(n)
	return n, err
}

// guarded asks the guard about the caller of a tunnel. It answers a refusal.
func (t *connecting) guarded(d *listed) (*guard.Session, bool) {
	if d == nil {
		return nil, true
	}
	g := t.g
	h := http.Header{}
	if t.key != "" {
		h[KeyHeader] = []string{t.key}
	}
	ses, step := t.force.program.Begin(&guard.Request{ID: t.id, Door: g.o.Door, Method: http.MethodConnect, Host: d.Host, Path: "/", Proto: "HTTP/1.1",
		Header: h, Client: t.peer, Peer: t.peer}, t.now)
	for tries := 0; step.Verb == guard.Fetch && tries < 4; tries++ {
		(&passage{g: g, id: t.id, r: (&http.Request{}).WithContext(context.Background())}).fetch(step.Fetch)
		step = ses.Resume(g.o.Now())
	}
	if step.Verb == guard.Proceed {
		return ses, true
	}
	k, extra := guard.KindInternal, [][2]string(nil)
	if step.Refusal != nil {
		k, extra = step.Refusal.Kind, step.Refusal.Header
	}
	if k.Status == http.StatusUnauthorized {
		k, extra = kindProxy, proxyChallenge
	}
	t.answer(k, extra)
	t.record(d, ses, guard.Outcome{Status: k.Status})
	return nil, false
}

func (t *connecting) record(d *listed, ses *guard.Session, o guard.Outcome) {
	const unseen = "tunnel: what is said inside TLS is not looked at"
	if ses != nil {
		x := ses.End(o, t.g.o.Now())
		x.Decision.NotInspected = append(x.Decision.NotInspected, unseen)
		t.g.record(x)
		return
	}
	x := &sallyport.Exchange{ID: t.id, Time: t.now, Status: o.Status, Origin: o.Origin, Instance: o.Instance, RequestBytes: o.RequestBytes, ResponseBytes: o.ResponseBytes,
		Decision: sallyport.Decision{Action: sallyport.ActionAllow, NotInspected: []string{unseen}, Reasons: []sallyport.Reason{
			{Stage: sallyport.StageIdentify, Rule: "egress.unlisted", Detail: "the host is no destination", Mode: sallyport.Observe}}}}
	if o.Reason != nil {
		x.Decision.Action, x.Decision.Stage, x.Decision.Status = sallyport.ActionRefuse, o.Reason.Stage, o.Status
		x.Decision.Reasons = append(x.Decision.Reasons, *o.Reason)
	}
	t.fill(x)
	t.g.record(x)
}

// readHello reads a TLS ClientHello and gives its bytes and the server name in it.
func readHello(c net.Conn) (raw []byte, name string, err error) {
	tee := &teeConn{Conn: c}
	stop := errors.New("read")
	err = tls.Server(tee, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		name = strings.ToLower(h.ServerName)
		return nil, stop
	}}).Handshake()
	if !errors.Is(err, stop) {
		return nil, "", err
	}
	return tee.read, name, nil
}

// A teeConn keeps what is read and writes nothing.
type teeConn struct {
	net.Conn
	read []byte
}

func (t *teeConn) Read(b []byte) (int, error) {
	if len(t.read) > 64<<10 {
		return 0, errors.New("the ClientHello is too long")
	}
	n, err := t.Conn.Read(b)
	t.read = append(t.read, b[:n]...)
	return n, err
}

func (t *teeConn) Write(b []byte) (int, error) { return len(b), nil }

// leafFor gives a certificate of the local CA for one host, made anew in good
// time before it expires. Only destinations are asked for, so that there are as
// many as those.
func (c *local) leafFor(host string) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.mints[host]; l != nil && c.now().Add(24*time.Hour).Before(l.Leaf.NotAfter) {
		return l, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: host}, NotBefore: c.now().Add(-time.Hour), NotAfter: c.now().AddDate(0, 0, 14),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if ip := net.ParseIP(host); ip != nil {
		t.IPAddresses = []net.IP{ip}
	} else {
		t.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, c.ca, key.Public(), c.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if c.mints == nil {
		c.mints = map[string]*tls.Certificate{}
	}
	l := &tls.Certificate{Certificate: [][]byte{der, c.ca.Raw}, PrivateKey: key, Leaf: leaf}
	c.mints[host] = l
	return l, nil
}

// StandInCA is the certificate of the authority that stands in for
// destinations, and the file it is in; empty for a gateway without Egress.
func (g *Gateway) StandInCA() (cert []byte, path string) {
	if g.standIn == nil {
		return nil, ""
	}
	return g.standIn.pem(), g.standIn.path
}

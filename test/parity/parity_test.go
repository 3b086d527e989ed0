package parity

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/adapter/forwardauth"
	"sallyport.dev/adapter/icap"
	"sallyport.dev/adapter/spoe"
	"sallyport.dev/guard"
	"sallyport.dev/guard/door"
	"sallyport.dev/guard/inspect"
	"sallyport.dev/guard/vectors"
	"sallyport.dev/test/integration/proxies"
)

// A tape keeps the last record.
type tape struct {
	mu   sync.Mutex
	last *sallyport.Exchange
	n    int
}

func (t *tape) Want(*sallyport.Exchange) bool { return false }

func (t *tape) Record(x *sallyport.Exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last, t.n = x, t.n+1
}

func (t *tape) take(wait bool) *sallyport.Exchange {
	for deadline := time.Now().Add(time.Second); ; time.Sleep(time.Millisecond) {
		t.mu.Lock()
		x := t.last
		t.last = nil
		t.mu.Unlock()
		if x != nil || !wait || time.Now().After(deadline) {
			return x
		}
	}
}

// A way is one proxy with one kind of door, as the vectors go through it.
type way struct {
	name    string
	addr    string // of the proxy
	door    *door.Desk
	tape    *tape
	program atomic.Pointer[guard.Program]
	body    bool   // it shows bodies
	answer  string // of answers it shows: "", "head", "all"
}

// An upstream answers as the vector says, and tells whether it was asked.
type upstream struct {
	answer atomic.Pointer[vectors.Answer]
	asked  atomic.Int64
}

func (u *upstream) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		u.asked.Add(1)
		io.Copy(io.Discard, req.Body)
		a := u.answer.Load()
		if a == nil || a.Status < 200 {
			a = &vectors.Answer{Status: 200, Header: [][2]string{{"Content-Type", "text/plain"}}, Body: "ok"}
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "HTTP/1.1 %d Status\r\n", a.Status)
		for _, f := range a.Header {
			if !strings.EqualFold(f[0], "Content-Length") {
				fmt.Fprintf(&b, "%s: %s\r\n", f[0], f[1])
			}
		}
		bodiless := a.Status == 204 || a.Status == 304
		if !bodiless {
			fmt.Fprintf(&b, "Content-Length: %d\r\n", len(a.Body))
		}
		b.WriteString("\r\n")
		if req.Method != http.MethodHead && !bodiless {
			b.WriteString(a.Body)
		}
		if _, err := c.Write(b.Bytes()); err != nil {
			return
		}
	}
}

func listen(t *testing.T, serve func(net.Listener)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go serve(ln)
	return ln.Addr().String()
}

type server interface {
	Serve(context.Context, net.Listener) error
}

func (u *upstream) start(t *testing.T) string {
	return listen(t, func(ln net.Listener) {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go u.serve(c)
		}
	})
}

func newWay(name string, body bool, answer string) *way {
	w := &way{name: name, tape: &tape{}, body: body, answer: answer}
	w.door = &door.Desk{Name: name, Program: w.program.Load, Recorder: w.tape, Now: func() time.Time { return vectors.Now }, Answers: answer != "", Within: 5 * time.Second}
	return w
}

func (w *way) open(t *testing.T, s server) string {
	ctx, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	return listen(t, func(ln net.Listener) { s.Serve(ctx, ln) })
}

var free = func() func(t *testing.T) string {
	next := atomic.Int64{}
	return func(t *testing.T) string {
		for range 1000 {
			addr := fmt.Sprintf("127.0.0.1:%d", 12000+(os.Getpid()*37+int(next.Add(1)))%7000)
			if ln, err := net.Listen("tcp", addr); err == nil {
				ln.Close()
				return addr
			}
		}
		t.Fatal("no port is free")
		return ""
	}
}()

func run(t *testing.T, product, dir string, edit []string, ready ...string) {
	t.Helper()
	p, err := proxies.Start(product, dir, strings.NewReplacer(edit...), ready...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
}

// ways starts every proxy in front of one upstream.
func ways(t *testing.T, u *upstream) []*way {
	dir, err := os.MkdirTemp("", "parity")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	up := u.start(t)
	head, body, hap, caddy := newWay("nginx", false, ""), newWay("njs", true, ""), newWay("haproxy", true, "head"), newWay("caddy", false, "")
	squid := newWay("squid", true, "all")
	for _, w := range []*way{head, body, hap, caddy, squid} {
		w.addr = free(t)
	}
	secret := func(s string) door.Peers { return door.Peers{Token: s} }
	mux := &split{head: &forwardauth.Server{Desk: head.door, Peers: secret("a-secret-of-nginx-and-sallyport")}, body: &forwardauth.Server{Desk: body.door, Peers: secret("a-secret-of-nginx-and-sallyport")}}
	run(t, "nginx", dir, []string{"127.0.0.1:9006", up, "{ server 127.0.0.1:9601; keepalive 64; }", "{ server " + head.open(t, mux.head) + "; keepalive 64; } upstream second { server " + body.open(t, mux.body) + "; keepalive 64; }",
		"http://sallyport/nginx/body", "http://second/nginx/body", "127.0.0.1:8101", head.addr, "127.0.0.1:8105", body.addr}, head.addr, body.addr)
	run(t, "haproxy", dir, []string{"127.0.0.1:9006", up, "127.0.0.1:9602", hap.open(t, &spoe.Server{Desk: hap.door}), "127.0.0.1:8102", hap.addr}, hap.addr)
	_, port, _ := net.SplitHostPort(caddy.addr)
	run(t, "caddy", dir, []string{"127.0.0.1:9006", up, "127.0.0.1:9603", caddy.open(t, &forwardauth.Server{Desk: caddy.door, Peers: secret("a-secret-of-caddy-and-sallyport")}), ":8103", ":" + port}, caddy.addr)
	run(t, "squid", dir, []string{"parent 9006", "parent " + up[strings.LastIndexByte(up, ':')+1:], "127.0.0.1:9604", squid.open(t, &icap.Server{Desk: squid.door}), "127.0.0.1:8104", squid.addr}, squid.addr)
	return []*way{head, body, hap, caddy, squid}
}

type split struct{ head, body *forwardauth.Server }

// clients stand for the clients of the vectors: one address of loopback each,
// and one for all addresses of an IPv6 network.
type clients map[string]net.IP

func (c clients) of(r *guard.Request) net.IP {
	key := r.Client.String()
	if r.Client.Is6() {
		p, _ := r.Client.Prefix(64)
		key = p.String()
	}
	if c[key] == nil {
		n := len(c) + 1
		c[key] = net.IPv4(127, 9, byte(n>>8), byte(n))
	}
	return c[key]
}

// send puts a request on the wire byte by byte as the vector says, and reads the answer.
func send(addr string, from net.IP, r *guard.Request, body []byte) (*http.Response, error) {
	d := net.Dialer{Timeout: 2 * time.Second, LocalAddr: &net.TCPAddr{IP: from}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	var b bytes.Buffer
	target := r.Path
	if r.RawQuery != "" {
		target += "?" + r.RawQuery
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, target, r.Host)
	names := []string{}
	for name := range r.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, v := range r.Header[name] {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	if r.Header.Get("Connection") == "" {
		b.WriteString("Connection: close\r\n")
	}
	switch {
	case r.ContentLength < 0:
		fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n\r\n")
		if len(body) > 0 {
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(body), body)
		}
		b.WriteString("0\r\n\r\n")
	case len(body) > 0:
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	default:
		b.WriteString("\r\n")
	}
	go c.Write(b.Bytes())
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: r.Method})
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(res.Body)
	res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(text))
	return res, nil
}

// The vectors of the guard go through every door, and each verdict is the
// gateway's. Where a proxy shows less, the record says so, or it fails here.
func TestVectorsThroughEveryDoor(t *testing.T) {
	u := &upstream{}
	all := ways(t, u)
	data := os.DirFS("../../guard/testdata")
	files, err := vectors.Load(data, "vectors")
	if err != nil {
		t.Fatal(err)
	}
	engine, err := inspect.New(inspect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	type row struct{ same, blind, own int }
	rows := map[string]*row{}
	for _, w := range all {
		rows[w.name] = &row{}
	}
	for _, f := range files {
		config, err := f.Config(data, "items")
		if err != nil {
			t.Fatal(err)
		}
		config.Inspect = engine
		for _, w := range all {
			p, err := guard.Compile(config)
			if err != nil {
				t.Fatal(err)
			}
			w.program.Store(p)
		}
		who := clients{}
		for i := range f.Cases {
			c := &f.Cases[i]
			for _, w := range all {
				u.answer.Store(c.Answer)
				what, text := w.put(c, who, u)
				switch what {
				case "same":
					rows[w.name].same++
				case "blind":
					rows[w.name].blind++
				case "own":
					rows[w.name].own++
					t.Logf("%s refuses by itself: %s/%s", w.name, f.Name, c.Name)
				default:
					t.Errorf("%s: %s/%s: %s", w.name, f.Name, c.Name, text)
				}
			}
		}
	}
	t.Logf("%-8s %5s %22s %18s", "door", "same", "not shown, and said so", "refused by proxy")
	for _, w := range all {
		r := rows[w.name]
		t.Logf("%-8s %5d %22d %18d", w.name, r.same, r.blind, r.own)
	}
}

// put sends a case and compares.
func (w *way) put(c *vectors.Case, who clients, u *upstream) (what, text string) {
	var res *http.Response
	var x *sallyport.Exchange
	var before int64
	for i := range max(1, c.Request.Repeat) {
		r, body := c.Request.Head(fmt.Sprintf("%026d", i))
		w.tape.take(false)
		before = u.asked.Load()
		var err error
		if res, err = send(w.addr, who.of(r), r, body); err != nil {
			return "", fmt.Sprintf("no answer: %v", err)
		}
		x = w.tape.take(res.StatusCode < 400 || i+1 < max(1, c.Request.Repeat) || res.Header.Get("X-Request-Id") != "")
	}
	want := c.Expect
	if x == nil {
		if res.StatusCode >= 400 && u.asked.Load() == before {
			return "own", ""
		}
		return "", fmt.Sprintf("status %d and no record", res.StatusCode)
	}
	got := vectors.Describe(x, nil)
	ofAnswer := func(reason string) bool {
		return strings.Contains(reason, " answer.") || strings.Contains(reason, " rewrite ")
	}
	if c.Answer == nil && len(got.Reasons) > 0 { // ours is none of the vector's
		got.Reasons = slices.DeleteFunc(got.Reasons, ofAnswer)
	}
	reasons := want.Reasons
	blind := len(x.Decision.NotInspected) > 0 && slices.ContainsFunc(x.Decision.NotInspected, func(s string) bool {
		return strings.HasPrefix(s, "body: the proxy") || c.Answer != nil && strings.HasPrefix(s, "answer: the proxy")
	})
	equal := got.Action == want.Action && got.Stage == want.Stage && got.Status == want.Status && slices.Equal(got.Reasons, reasons) && got.Principal == want.Principal && got.Operation == want.Operation
	switch {
	case equal:
	case blind && (!w.body || w.answer != "all" && slices.ContainsFunc(reasons, ofAnswer) || c.Request.Fill > 0):
		what = "blind"
	default:
		return "", fmt.Sprintf("decided %s %s %d %v, want %s %s %d %v\n  %v %s %s", got.Action, got.Stage, got.Status, got.Reasons, want.Action, want.Stage, want.Status, want.Reasons, got.NotInspected, got.Operation, got.Principal)
	}
	refused := x.Decision.Refused()
	switch {
	case refused && res.StatusCode != x.Decision.Status:
		return "", fmt.Sprintf("the client got %d, the decision is %d", res.StatusCode, x.Decision.Status)
	case refused && x.Origin == 0 && u.asked.Load() != before:
		return "", "refused, and the upstream was asked"
	case !refused && u.asked.Load() == before:
		return "", fmt.Sprintf("allowed, and the upstream was not asked: %d", res.StatusCode)
	case refused && res.Header.Get("X-Request-Id") != x.ID:
		return "", fmt.Sprintf("the answer names request %q, the record %q", res.Header.Get("X-Request-Id"), x.ID)
	}
	if what == "" {
		what = "same"
	}
	return what, ""
}

package gateway_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
)

func TestMain(m *testing.M) {
	// certmagic counts what it asks of a CA for as long as the process lives.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"))
}

// recorder keeps what a gateway records.
type recorder struct {
	mu  sync.Mutex
	all []*sallyport.Exchange
	now chan struct{}
}

func newRecorder() *recorder { return &recorder{now: make(chan struct{}, 1<<16)} }

func (r *recorder) Want(*sallyport.Exchange) bool { return true }

func (r *recorder) Record(x *sallyport.Exchange) {
	r.mu.Lock()
	r.all = append(r.all, x)
	r.mu.Unlock()
	select {
	case r.now <- struct{}{}:
	default:
	}
}

func (r *recorder) list() []*sallyport.Exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*sallyport.Exchange(nil), r.all...)
}

// find waits for the record of a request.
func (r *recorder) find(t *testing.T, id string) *sallyport.Exchange {
	t.Helper()
	end := time.After(5 * time.Second)
	for {
		for _, x := range r.list() {
			if x.ID == id {
				return x
			}
		}
		select {
		case <-r.now:
		case <-end:
			t.Fatalf("request %s: no record", id)
		}
	}
}

// last waits for n records and gives the last.
func (r *recorder) last(t *testing.T, n int) *sallyport.Exchange {
	t.Helper()
	end := time.After(5 * time.Second)
	for {
		if all := r.list(); len(all) >= n {
			return all[len(all)-1]
		}
		select {
		case <-r.now:
		case <-end:
			t.Fatalf("%d records, want %d", len(r.list()), n)
		}
	}
}

// program compiles APIs that anybody may call.
func program(t testing.TB, apis ...guard.API) *guard.Program {
	t.Helper()
	if len(apis) == 0 {
		apis = []guard.API{{API: sallyport.API{Name: "shop"}, Policy: policy.API{Mode: sallyport.Enforce}}}
	}
	p, err := guard.Compile(guard.Config{Name: "test", APIs: apis})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func to(urls ...string) []gateway.API {
	a := gateway.API{Name: "shop"}
	for _, u := range urls {
		a.Upstreams = append(a.Upstreams, gateway.Upstream{URL: u})
	}
	return []gateway.API{a}
}

// door is a gateway on loopback sockets.
type door struct {
	*gateway.Gateway
	t     testing.TB
	rec   *recorder
	addr  string // TLS
	plain string
	roots *x509.CertPool
	stop  context.CancelFunc
	done  chan error
}

func open(t testing.TB, o gateway.Options) *door {
	t.Helper()
	d := &door{t: t, rec: newRecorder(), done: make(chan error, 1)}
	if o.Program == nil {
		o.Program = program(t)
	}
	if o.Recorder == nil {
		o.Recorder = d.rec
	}
	if o.Log == nil && os.Getenv("SALLYPORT_TEST_LOG") != "" {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	g, err := gateway.New(o)
	if err != nil {
		t.Fatal(err)
	}
	d.Gateway = g
	var ls []*gateway.Listener
	for _, a := range []gateway.Address{{Address: "127.0.0.1:0", HTTP3: true}, {Address: "127.0.0.1:0", Plain: true, PROXY: true}} {
		l, err := gateway.Listen(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		ls = append(ls, l)
	}
	d.addr, d.plain = ls[0].Addr().String(), ls[1].Addr().String()
	if ca, _ := g.LocalCA(); ca != nil {
		d.roots = x509.NewCertPool()
		d.roots.AppendCertsFromPEM(ca)
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	go func() { d.done <- g.Serve(ctx, ls...) }()
	t.Cleanup(func() { d.close() })
	return d
}

// close stops the gateway and gives what Serve returned.
func (d *door) close() error {
	d.stop()
	select {
	case err := <-d.done:
		d.done <- err
		return err
	case <-time.After(20 * time.Second):
		d.t.Fatal("the gateway did not stop")
		return nil
	}
}

// client speaks to the TLS port.
func (d *door) client(h2 bool) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: d.roots}, Protocols: new(http.Protocols), DisableCompression: true}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetHTTP2(h2)
	d.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (d *door) url(path string) string { return "https://" + d.addr + path }

// raw sends bytes to the plain port and reads one answer.
func (d *door) raw(t testing.TB, request string) (*http.Response, string) {
	t.Helper()
	c, err := net.Dial("tcp", d.plain)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("read answer: %v", err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read answer: %v", err)
	}
	return res, string(b)
}

// take receives what an upstream saw; said is shown when it saw nothing.
func take[T any](t testing.TB, c <-chan T, said string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(5 * time.Second):
		t.Fatalf("the upstream was not asked; the client got %s", said)
		panic("unreachable")
	}
}

func upstream(t testing.TB, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func read(t testing.TB, res *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// problem is the answer of a refusal (RFC 9457).
type problem struct {
	Type, Title, Instance string
	Status                int
	RequestID             string `json:"request_id"`
}

func wantProblem(t *testing.T, res *http.Response, body string, status int) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("problem %q: %v", body, err)
	}
	id := res.Header.Get("X-Request-Id")
	if res.StatusCode != status || p.Status != status || res.Header.Get("Content-Type") != "application/problem+json" ||
		p.RequestID != id || len(id) != 26 || p.Instance != "urn:ulid:"+id {
		t.Fatalf("answer %d %v %s, want a problem of status %d", res.StatusCode, res.Header, body, status)
	}
	return p
}

// fronts runs a test over each way into the gateway.
func fronts(t *testing.T, f func(t *testing.T, front gateway.Front)) {
	for _, front := range []gateway.Front{gateway.Strict, gateway.Reference} {
		t.Run(string(front), func(t *testing.T) { f(t, front) })
	}
}

func TestPasses(t *testing.T) {
	fronts(t, func(t *testing.T, front gateway.Front) {
		type seen struct {
			method, uri, host, body string
			header                  http.Header
		}
		asked := make(chan seen, 16)
		up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			asked <- seen{r.Method, r.RequestURI, r.Host, string(b), r.Header.Clone()}
			w.Header().Set("Server", "secret/1.0")
			w.Header().Set("X-Powered-By", "secret")
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("X-Own", "kept")
			io.WriteString(w, `{"ok":true}`)
		})
		d := open(t, gateway.Options{APIs: to(up.URL), Front: front})
		for _, h2 := range []bool{false, true} {
			c := d.client(h2)
			for _, tt := range []struct{ method, path, body string }{
				{"GET", "/items/1?q=a%20b&x=1", ""},
				{"POST", "/items", `{"name":"jacket"}`},
				{"POST", "/items", strings.Repeat("x", 300_000)},
				{"DELETE", "/items/1%2F2", ""},
				{"PUT", "/empty", ""},
			} {
				req, _ := http.NewRequest(tt.method, d.url(tt.path), strings.NewReader(tt.body))
				req.Header.Set("X-Forwarded-For", "203.0.113.9")
				req.Header.Set("X-Auth-User", "admin")
				if h2 || front == gateway.Reference { // the strict front refuses it
					req.Header["X_Forwarded_User"] = []string{"admin"}
				}
				req.Header.Set("X-Request-Id", "mine")
				req.Header.Set("X-Custom", "stays")
				res, err := c.Do(req)
				body := read(t, res, err)
				if res.StatusCode != 200 {
					t.Fatalf("h2 %v %s %s: %d, record %+v", h2, tt.method, tt.path, res.StatusCode, d.rec.find(t, res.Header.Get("X-Request-Id")).Decision)
				}
				got := take(t, asked, body)
				id := res.Header.Get("X-Request-Id")
				if res.StatusCode != 200 || body != `{"ok":true}` || got.method != tt.method || got.uri != tt.path || got.body != tt.body || got.host != d.addr {
					t.Errorf("h2 %v %s %s: got %d %s; upstream saw %s %s %s, %d bytes", h2, tt.method, tt.path, res.StatusCode, body, got.method, got.uri, got.host, len(got.body))
				}
				h := got.header
				if h.Get("X-Forwarded-For") != "127.0.0.1" || h.Get("X-Forwarded-Proto") != "https" || h.Get("X-Forwarded-Host") != d.addr || h.Get("X-Request-Id") != id || len(id) != 26 {
					t.Errorf("h2 %v: forwarded headers %v, id %s", h2, h, id)
				}
				if h["X-Auth-User"] != nil || h["X_forwarded_user"] != nil || h["X_Forwarded_User"] != nil || h.Get("X-Custom") != "stays" || h["Via"] != nil {
					t.Errorf("h2 %v: headers that pass: %v", h2, h)
				}
				if res.Header["Server"] != nil || res.Header["X-Powered-By"] != nil || res.Header.Get("X-Own") != "kept" {
					t.Errorf("h2 %v: answer headers %v", h2, res.Header)
				}
				if !strings.HasPrefix(res.Header.Get("Alt-Svc"), `h3=":`) {
					t.Errorf("h2 %v: Alt-Svc %q", h2, res.Header.Get("Alt-Svc"))
				}
				x := d.rec.find(t, id)
				if x.API != "shop" || x.Status != 200 || x.Origin != 200 || x.Instance != up.URL || x.Decision.Refused() || x.Client != netip.MustParseAddr("127.0.0.1") ||
					x.RequestBytes != int64(len(tt.body)) || x.ResponseBytes != int64(len(body)) || string(x.ResponseBody) != body || !x.TLS {
					t.Errorf("h2 %v %s %s: record %+v", h2, tt.method, tt.path, x)
				}
				if want := tt.body[:min(len(tt.body), 64<<10)]; string(x.RequestBody) != want && len(tt.body) < 16<<10 {
					t.Errorf("h2 %v %s: sample of %d bytes, want %d", h2, tt.path, len(x.RequestBody), len(want))
				}
			}
			head, err := c.Head(d.url("/items/1"))
			if body := read(t, head, err); body != "" || head.StatusCode != 200 {
				t.Errorf("h2 %v HEAD: %d %q", h2, head.StatusCode, body)
			}
			take(t, asked, "")
		}
	})
}

func TestRefusalsLookAlike(t *testing.T) {
	d := open(t, gateway.Options{Program: program(t, guard.API{API: sallyport.API{Name: "shop", Path: "/shop"}, Policy: policy.API{Mode: sallyport.Enforce}})})
	c := d.client(true)
	for _, path := range []string{"/elsewhere", "/other?x=1"} {
		res, err := c.Get(d.url(path))
		p := wantProblem(t, res, read(t, res, err), 404)
		x := d.rec.find(t, p.RequestID)
		if x.Status != 404 || x.Decision.Stage != sallyport.StageIdentify || !x.Decision.Refused() {
			t.Errorf("%s: record %+v", path, x.Decision)
		}
	}
	res, err := c.Head(d.url("/elsewhere"))
	if body := read(t, res, err); res.StatusCode != 404 || body != "" {
		t.Errorf("HEAD: %d %q", res.StatusCode, body)
	}
	res, err = c.Get(d.url("/shop/1"))
	p := wantProblem(t, res, read(t, res, err), 503)
	if x := d.rec.find(t, p.RequestID); x.Decision.Stage != sallyport.StageForward {
		t.Errorf("no pool: record %+v", x.Decision)
	}
}

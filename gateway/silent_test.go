package gateway_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
	"sallyport.dev/test/lab/replay"
)

func gzipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, s)
	z.Close()
	return b.String()
}

const trace = `{"error":"x","trace":"\tat com.acme.Orders.find(Orders.java:7)"}`

// answers are what upstreams say, and whether it reaches the client.
var answers = []struct {
	name, method string
	status       int
	header       [][2]string
	body         string
	passes       bool
	rule         string
}{
	{"server error", "GET", 500, nil, "out of memory", false, "error.server"},
	{"server error without a body", "GET", 502, nil, "", false, "error.server"},
	{"server error to HEAD", "HEAD", 500, nil, "", false, "error.server"},
	{"client error with a trace", "GET", 404, nil, trace, false, "leak.stack-trace"},
	{"client error that explains itself", "GET", 422, nil, `{"errors":[{"field":"/count","detail":"must be at least 1"}]}`, true, ""},
	{"client error to HEAD", "HEAD", 404, nil, "", true, ""},
	{"compressed, with a trace", "GET", 400, [][2]string{{"Content-Encoding", "gzip"}, {"Etag", `"1"`}}, gzipped(trace), false, "leak.stack-trace"},
	{"compressed, explaining itself", "GET", 400, [][2]string{{"Content-Encoding", "gzip"}, {"Etag", `"1"`}}, gzipped(`{"error":"name is missing"}`), true, ""},
	{"compressed, a bomb", "GET", 400, [][2]string{{"Content-Encoding", "gzip"}}, gzipped(strings.Repeat("a", 1<<20)), false, "error.unread"},
	{"in a coding that is not read", "GET", 400, [][2]string{{"Content-Encoding", "br"}}, "\x0b\x02\x80x\x03", false, "error.unread"},
	{"longer than the bound", "GET", 400, nil, strings.Repeat("a", 65<<10), false, "error.unread"},
	{"as long as the bound", "GET", 400, nil, strings.Repeat("a", 64<<10), true, ""},
	{"events", "GET", 400, [][2]string{{"Content-Type", "text/event-stream"}}, "data: x\n\n", false, "error.unread"},
	{"success with what looks like a trace", "GET", 200, [][2]string{{"Etag", `"1"`}}, trace, true, ""},
	{"success, compressed", "GET", 200, [][2]string{{"Content-Encoding", "gzip"}}, gzipped(trace), true, ""},
	{"not modified", "GET", 304, [][2]string{{"Etag", `"1"`}}, "", true, ""},
	{"redirect", "GET", 302, [][2]string{{"Location", "https://shop.example.com/a"}}, "", true, ""},
}

func TestSilentErrors(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		a := answers[n]
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "7")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		for _, f := range a.header {
			w.Header().Set(f[0], f[1])
		}
		w.WriteHeader(a.status)
		if r.URL.Query().Get("chunked") != "" {
			w.(http.Flusher).Flush()
		}
		io.WriteString(w, a.body)
	})
	h2c := httptest.NewUnstartedServer(up.Config.Handler)
	h2c.Config.Protocols = new(http.Protocols)
	h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	h2c.Start()
	t.Cleanup(h2c.Close)
	for _, by := range []struct {
		front gateway.Front
		apis  []gateway.API
	}{{gateway.Strict, to(up.URL)}, {gateway.Reference, to(up.URL)}, {gateway.Strict, []gateway.API{{Name: "shop", Upstreams: []gateway.Upstream{{URL: h2c.URL, Protocol: "h2"}}}}}} {
		kept, front := &sealer{}, by.front
		d := open(t, gateway.Options{APIs: by.apis, Front: front, Sealer: kept})
		h3 := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: d.roots}, DisableCompression: true}
		t.Cleanup(func() { h3.Close() })
		clients := map[string]*http.Client{"h1": d.client(false), "h2": d.client(true), "h3": {Transport: h3, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
		for via, c := range clients {
			for n, a := range answers {
				for _, chunked := range []string{"", "&chunked=1"} {
					q, _ := http.NewRequest(a.method, d.url(fmt.Sprintf("/orders?n=%d%s", n, chunked)), nil)
					res, err := c.Do(q)
					body := read(t, res, err)
					where := fmt.Sprintf("%s %s %s%s", front, via, a.name, chunked)
					x := d.rec.find(t, res.Header.Get("X-Request-Id"))
					if res.Header.Get("Retry-After") != "7" || res.Header.Get("Access-Control-Allow-Origin") != "*" {
						t.Errorf("%s: head %v", where, res.Header)
					}
					if a.passes {
						if res.StatusCode != a.status || body != a.body || len(x.Decision.Reasons) > 0 || kept.find(x.ID) != nil {
							t.Errorf("%s: %d %q, reasons %v", where, res.StatusCode, body[:min(len(body), 200)], x.Decision.Reasons)
						}
						for _, f := range a.header {
							if res.Header.Get(f[0]) != f[1] {
								t.Errorf("%s: %s is %q", where, f[0], res.Header.Get(f[0]))
							}
						}
						continue
					}
					if a.method != "HEAD" {
						wantProblem(t, res, body, a.status)
					} else if body != "" || res.StatusCode != a.status || res.Header.Get("Content-Type") != "application/problem+json" {
						t.Errorf("%s: %d %v %q", where, res.StatusCode, res.Header, body)
					}
					if res.Header.Get("Content-Encoding") != "" || res.Header.Get("Etag") != "" || res.Header.Get("Cache-Control") != "no-store" {
						t.Errorf("%s: head %v", where, res.Header)
					}
					if x.Status != a.status || x.Origin != a.status || x.Decision.Refused() || len(x.Decision.Reasons) == 0 || x.Decision.Reasons[0].Stage != sallyport.StageRewrite || x.Decision.Reasons[0].Rule != a.rule || len(x.ResponseBody) > 0 {
						t.Errorf("%s: record %+v", where, x)
					}
					o := kept.find(x.ID)
					if o == nil || o.Status != a.status || o.API != "shop" || !strings.HasPrefix(a.body, string(o.Body)) || a.rule != "error.unread" && string(o.Body) != a.body || o.Header.Get("Retry-After") != "7" {
						t.Errorf("%s: original %+v", where, o)
					}
				}
			}
		}
	}
}

// An error that drips does not keep its client for longer than a head may take.
func TestErrorThatDrips(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(500)
		for r.Context().Err() == nil {
			io.WriteString(w, ".")
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	})
	d := open(t, gateway.Options{APIs: to(up.URL), Bounds: gateway.Bounds{AnswerTime: 100 * time.Millisecond}})
	res, err := d.client(false).Get(d.url("/orders"))
	wantProblem(t, res, read(t, res, err), 504)
}

// sealer keeps copies of originals.
type sealer struct {
	mu  sync.Mutex
	all []gateway.Original
}

func (s *sealer) Seal(o gateway.Original) {
	o.Header, o.Body = o.Header.Clone(), bytes.Clone(o.Body)
	s.mu.Lock()
	s.all = append(s.all, o)
	s.mu.Unlock()
}

func (s *sealer) find(id string) *gateway.Original {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.all {
		if s.all[i].ID == id {
			return &s.all[i]
		}
	}
	return nil
}

func TestSilentHeads(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://10.1.2.3:8080/orders/7?a=b")
		w.Header().Set("X-Debug-Token", "a1b2c3")
		w.Header().Set("X-Error", "com.acme.orders.OrderException")
		w.Header().Set("X-Total", "7")
		w.Header().Set("Www-Authenticate", `Basic realm="db01.prod.internal"`)
		w.WriteHeader(201)
		io.WriteString(w, "10.1.2.3")
	})
	fronts(t, func(t *testing.T, front gateway.Front) {
		d := open(t, gateway.Options{APIs: to(up.URL), Front: front})
		res, err := d.client(false).Post(d.url("/orders"), "text/plain", strings.NewReader("x"))
		if body := read(t, res, err); body != "10.1.2.3" || res.Header.Get("Location") != "/orders/7?a=b" || res.Header.Get("X-Debug-Token") != "" || res.Header.Get("X-Error") != "" || res.Header.Get("Www-Authenticate") != `Basic realm="shop"` || res.Header.Get("X-Total") != "7" {
			t.Errorf("%q %v", body, res.Header)
		}
	})
}

// declared is a contract of one operation.
func declared(t *testing.T, method, path string) *spec.Set {
	t.Helper()
	doc := fmt.Sprintf("openapi: 3.1.0\ninfo: {title: a, version: \"1\"}\npaths:\n  %s:\n    %s:\n      parameters: [{name: n, in: query, schema: {type: integer}}]\n      responses: {default: {description: d}}\n", path, strings.ToLower(method))
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "a.yaml", Data: []byte(doc)}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// Every failure of a sign-in is the same to its caller.
func TestLoginsFailAlike(t *testing.T) {
	tries := []struct {
		status int
		body   string
	}{{401, `{"error":"wrong password"}`}, {404, `{"error":"no such user"}`}, {403, `{"error":"account is locked for 5 minutes"}`}, {422, "x"}, {429, ""}, {500, "boom"}}
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		if n >= len(tries) {
			io.WriteString(w, "welcome")
			return
		}
		w.Header().Set("X-Attempts", fmt.Sprint(n))
		w.Header().Set("Set-Cookie", fmt.Sprintf("try=%d", n))
		w.WriteHeader(tries[n].status)
		io.WriteString(w, tries[n].body)
	})
	set := declared(t, "POST", "/login")
	p := policy.API{Mode: sallyport.Enforce, Operations: []policy.OperationDemand{{Operation: "POST /login", Login: true, Errors: policy.Errors{TimeClass: 20 * time.Millisecond}}}}
	fronts(t, func(t *testing.T, front gateway.Front) {
		d := open(t, gateway.Options{APIs: to(up.URL), Front: front, Program: program(t, guard.API{API: sallyport.API{Name: "shop"}, Spec: set, Policy: p})})
		var first string
		for n := range tries {
			res, err := d.client(false).Post(d.url(fmt.Sprintf("/login?n=%d", n)), "", nil)
			body := read(t, res, err)
			id := res.Header.Get("X-Request-Id")
			res.Header.Del("Date")
			var names []string
			for name, v := range res.Header {
				names = append(names, fmt.Sprint(name, v))
			}
			slices.Sort(names)
			same := strings.ReplaceAll(fmt.Sprintln(res.StatusCode, names, body), id, "ID")
			if n == 0 {
				first = same
				wantProblem(t, res, body, 401)
			}
			if same != first {
				t.Errorf("try %d: %s, the first was %s", n, same, first)
			}
			if x := d.rec.find(t, id); x.Origin != tries[n].status || x.Status != 401 {
				t.Errorf("try %d: record %+v", n, x)
			}
		}
		res, err := d.client(false).Post(d.url(fmt.Sprintf("/login?n=%d", len(tries))), "", nil)
		if body := read(t, res, err); body != "welcome" {
			t.Errorf("success: %d %q", res.StatusCode, body)
		}
	})
	t.Run("no more wait than may", func(t *testing.T) {
		p.Operations[0].Errors.TimeClass = time.Second
		d := open(t, gateway.Options{APIs: to(up.URL), Program: program(t, guard.API{API: sallyport.API{Name: "shop"}, Spec: set, Policy: p}), Bounds: gateway.Bounds{Waiting: 1}})
		got := make(chan int, 2)
		for range 2 {
			go func() {
				res, err := d.client(false).Post(d.url("/login?n=0"), "", nil)
				if err != nil {
					got <- 0
					return
				}
				res.Body.Close()
				got <- res.StatusCode
			}()
		}
		if a, b := <-got, <-got; a+b != 401+503 {
			t.Errorf("answers %d and %d", a, b)
		}
	})
}

type failing struct{}

func TestSilentGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	srv.RegisterService(&grpc.ServiceDesc{ServiceName: "test.Fail", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Unary", Handler: func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := new(wrapperspb.StringValue)
			if err := dec(in); err != nil {
				return nil, err
			}
			grpc.SetTrailer(ctx, metadata.Pairs("x-where", "orders.shop.svc.cluster.local", "x-why", "sold out"))
			code, message, _ := strings.Cut(in.Value, " ")
			n, _ := strconv.Atoi(code)
			return nil, status.Error(codes.Code(n), message)
		},
	}}}, failing{})
	go srv.Serve(l)
	t.Cleanup(srv.Stop)
	d := open(t, gateway.Options{APIs: []gateway.API{{Name: "shop", Upstreams: []gateway.Upstream{{URL: "http://" + l.Addr().String(), Protocol: "h2"}}}}})
	cc, err := grpc.NewClient(d.plain, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	for in, want := range map[string]string{
		"5 no order 7": "no order 7", "5 open /var/lib/orders/7.db: no such file": "", "13 nil map": "", "2 panic": "", "9 sold out": "sold out",
	} {
		var trailer metadata.MD
		err := cc.Invoke(t.Context(), "/test.Fail/Unary", wrapperspb.String(in), new(wrapperspb.StringValue), grpc.Trailer(&trailer))
		code, _, _ := strings.Cut(in, " ")
		if s := status.Convert(err); s.Message() != want || fmt.Sprint(int(s.Code())) != code || len(trailer.Get("x-where")) != 0 || len(trailer.Get("x-why")) != 1 {
			t.Errorf("%q: %v, trailer %v", in, err, trailer)
		}
	}
}

// Over the recorded traffic of a real API no success is changed, and no error
// that explains itself.
func TestSilentRecordedTraffic(t *testing.T) {
	t.Cleanup(runtime.GC) // other tests look at the heap, and the recording is large
	recorded, err := replay.Linode()
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, gateway.Options{APIs: to(upstream(t, replay.NewUpstream(recorded).ServeHTTP).URL), Program: program(t, guard.API{API: sallyport.API{Name: "shop"},
		Policy: policy.API{Mode: sallyport.Off, Errors: policy.Errors{Mode: sallyport.Enforce}}})})
	direct := upstream(t, replay.NewUpstream(recorded).ServeHTTP)
	c := d.client(false)
	successes, errors, replaced := 0, 0, 0
	for i := range recorded {
		x := &recorded[i]
		body := ""
		if x.RequestBody != nil {
			body = *x.RequestBody
		}
		ask := func(base string) (*http.Response, string) {
			q, err := http.NewRequest(x.Method, base+x.Target, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			res, err := c.Do(q)
			return res, read(t, res, err)
		}
		want, wantBody := ask(direct.URL)
		got, gotBody := ask("https://" + d.addr)
		switch {
		case want.StatusCode < 400:
			successes++
			if got.StatusCode != want.StatusCode || gotBody != wantBody {
				t.Errorf("%s %s: %d became %d, %d bytes became %d", x.Method, x.Target, want.StatusCode, got.StatusCode, len(wantBody), len(gotBody))
			}
		case want.StatusCode < 500:
			errors++
			if gotBody != wantBody {
				t.Errorf("%s %s: %d %q was replaced", x.Method, x.Target, want.StatusCode, wantBody)
			}
		default:
			replaced++
			if gotBody == wantBody {
				t.Errorf("%s %s: %d %q was not replaced", x.Method, x.Target, want.StatusCode, wantBody)
			}
		}
	}
	t.Logf("%d successes and %d client errors passed as they were, %d server errors replaced", successes, errors, replaced)
}

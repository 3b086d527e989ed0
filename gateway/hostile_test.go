package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/gateway"
)

// liar is an upstream that answers each request with exactly these bytes, and
// then hangs, goes on, or resets the connection.
type liar struct {
	answer string
	reset  bool // instead of closing in order
	hang   bool
	mu     sync.Mutex
	seen   []string // requests, as they came
}

func (l *liar) start(t testing.TB) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var all sync.WaitGroup
	t.Cleanup(func() { ln.Close(); close(done); all.Wait() })
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				r, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				b, _ := io.ReadAll(r.Body)
				l.mu.Lock()
				l.seen = append(l.seen, r.Method+" "+r.RequestURI+" "+string(b))
				l.mu.Unlock()
				io.WriteString(c, l.answer)
				switch {
				case l.reset:
					c.(*net.TCPConn).SetLinger(0)
				case l.hang:
					<-done
				}
			})
		}
	})
	return "http://" + ln.Addr().String()
}

func (l *liar) requests() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.seen)
}

// What an upstream says is believed only as far as it is consistent; nothing
// that it says can reach the next request's answer.
func TestLyingUpstreams(t *testing.T) {
	for _, tt := range []struct {
		name   string
		liar   *liar
		status int    // 0: the answer had begun and is cut off
		rule   string // of the record's reason
		body   string
	}{
		{"honest", &liar{answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"}, 200, "", "ok"},
		{"until close", &liar{answer: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"}, 200, "", "ok"},
		{"too much", &liar{answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"}, 200, "", "ok"},
		{"resets before the answer", &liar{reset: true}, 502, "upstream.reset", ""},
		{"closes before the answer", &liar{}, 502, "upstream.reset", ""},
		{"stalls", &liar{hang: true}, 504, "upstream.late", ""},
		{"stalls in the head", &liar{hang: true, answer: "HTTP/1.1 200 OK\r\nContent-Le"}, 504, "upstream.late", ""},
		{"garbage", &liar{answer: "\x00\x01\x02 nothing of HTTP\r\n\r\n"}, 502, "", ""},
		{"both lengths", &liar{answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"}, 502, "", ""},
		{"two lengths", &liar{answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!"}, 502, "", ""},
		{"bare line feeds", &liar{answer: "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"}, 502, "", ""},
		{"folded header", &liar{answer: "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok"}, 502, "", ""},
		{"unasked 101", &liar{answer: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"}, 502, "", ""},
		{"body too short", &liar{answer: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok"}, 0, "upstream.body.short", ""},
		{"broken chunk", &liar{answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n"}, 0, "", ""},
		{"endless header", &liar{answer: "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: "+strings.Repeat("b", 1000)+"\r\n", 400)}, 502, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := tt.liar
			url := l.start(t)
			a := to(url)
			a[0].Health = gateway.Health{Failures: 1000, Retries: -1}
			d := open(t, gateway.Options{APIs: a, Bounds: gateway.Bounds{AnswerTime: time.Second}})
			c := d.client(false)
			res, err := c.Post(d.url("/x"), "text/plain", strings.NewReader("hi"))
			if tt.status == 0 {
				if err == nil {
					_, err = io.ReadAll(res.Body)
					res.Body.Close()
				}
				if err == nil {
					t.Error("the broken answer was passed on as a whole one")
				}
			} else {
				body := read(t, res, err)
				if res.StatusCode != tt.status || tt.status == 200 && body != tt.body {
					t.Fatalf("got %d %q, want %d %q", res.StatusCode, body, tt.status, tt.body)
				}
				if tt.status != 200 {
					wantProblem(t, res, body, tt.status)
				}
			}
			x := d.rec.last(t, 1)
			if tt.status == 200 {
				return
			}
			if x.Decision.Stage != sallyport.StageForward || len(x.Decision.Reasons) == 0 || tt.rule != "" && x.Decision.Reasons[len(x.Decision.Reasons)-1].Rule != tt.rule {
				t.Errorf("record %+v, want stage forward, rule %q", x.Decision, tt.rule)
			}
		})
	}
}

// smuggling are shapes that two servers could read in two ways, and their
// benign look-alikes; lax is what the reference front answers where it reads
// on, 0 where it answers like the strict one.
var smuggling = []struct {
	name, request string
	status, lax   int
}{
	{"plain", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", 200, 0},
	{"chunked", "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 200, 0},
	{"CL.TE", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n", 400, 200},
	{"TE.CL", "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n26\r\nGET /admin HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n\r\n0\r\n\r\n", 400, 200},
	{"TE obfuscated", "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501, 0},
	{"TE with space", "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, 0},
	{"two lengths", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!", 400, 0},
	{"equal lengths twice", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", 400, 200},
	{"signed length", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nhi", 400, 0},
	{"bare LF", "GET /a HTTP/1.1\nHost: a\n\n", 400, 200},
	{"obs-fold", "GET /a HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\tc\r\n\r\n", 400, 200},
	{"NUL in a header", "GET /a HTTP/1.1\r\nHost: a\r\nX-A: b\x00c\r\n\r\n", 400, 0},
	{"two hosts", "GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, 0},
	{"no host", "GET /a HTTP/1.1\r\n\r\n", 400, 0},
	{"host against target", "GET http://b/a HTTP/1.1\r\nHost: a\r\n\r\n", 400, 200},
	{"chunk size in bad form", "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nhi\r\n0\r\n\r\n", 400, 0},
	{"chunk without its end", "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhiX\r\n0\r\n\r\n", 400, 0},
	{"authorization named as an option", "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close, Authorization\r\nAuthorization: Bearer x\r\n\r\n", 400, 0},
	{"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501, 0},
	{"TRACE", "TRACE /a HTTP/1.1\r\nHost: a\r\n\r\n", 501, 0},
}

// Shapes that have two readings are refused, and no byte of them reaches an
// upstream; their benign look-alikes pass.
func TestSmuggling(t *testing.T) {
	for _, tt := range smuggling {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := &liar{answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"}
			d := open(t, gateway.Options{APIs: to(l.start(t))})
			res, body := d.raw(t, tt.request)
			if res.StatusCode != tt.status {
				t.Fatalf("got %d %s, want %d", res.StatusCode, body, tt.status)
			}
			x := d.rec.last(t, 1)
			if tt.status == 200 {
				if got := l.requests(); len(got) != 1 || got[0] != "POST /a hi" {
					t.Errorf("the upstream saw %q", got)
				}
				return
			}
			if got := l.requests(); len(got) != 0 {
				t.Errorf("the upstream saw %q", got)
			}
			if x.Status != tt.status || x.Decision.Stage != sallyport.StageRequest || !x.Decision.Refused() || x.Door != "gateway" ||
				x.Client.String() != "127.0.0.1" || !strings.Contains(body, x.ID) || res.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("record %+v of answer %v %s", x, res.Header, body)
			}
			// A refused request counts once; nothing behind it is read as another.
			time.Sleep(20 * time.Millisecond)
			if n := len(d.rec.list()); n != 1 {
				t.Errorf("%d records", n)
			}
		})
	}
}

// The reference front agrees on the benign shapes and on most of the others.
// Where it does not it repairs the request and passes it on: these are the
// grounds for the strict front, and when net/http stops doing so this says it.
func TestReferenceFront(t *testing.T) {
	for _, tt := range smuggling {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := tt.status
			if tt.lax != 0 {
				want = tt.lax
			}
			l := &liar{answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"}
			d := open(t, gateway.Options{APIs: to(l.start(t)), Front: gateway.Reference})
			res, body := d.raw(t, tt.request)
			if got := l.requests(); res.StatusCode != want || (len(got) > 0) != (want == 200) {
				t.Errorf("got %d %s, want %d; the upstream saw %q", res.StatusCode, body, want, got)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	fronts(t, func(t *testing.T, front gateway.Front) {
		up := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); io.WriteString(w, "ok") })
		d := open(t, gateway.Options{APIs: to(up.URL), Front: front, Bounds: gateway.Bounds{
			Target: 1000, Header: 8000, HeaderLines: 50, Body: 100_000, HeadTime: time.Second, BodyIdle: time.Second,
		}})
		for _, tt := range []struct {
			name, request string
			status        int
		}{
			{"well within", "GET /" + strings.Repeat("x", 900) + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200},
			{"long target", "GET /" + strings.Repeat("x", 1100) + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 414},
			{"large header", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-A: " + strings.Repeat("x", 9500) + "\r\n\r\n", 431},
			{"many header lines", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + strings.Repeat("X-A: b\r\n", 60) + "\r\n", 431},
			{"stated body", "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 200000\r\n\r\n", 413},
			{"body as it comes", "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("2000\r\n"+strings.Repeat("x", 0x2000)+"\r\n", 13) + "0\r\n\r\n", 413},
			{"stalled body", "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 20\r\n\r\nxx", 408},
		} {
			t.Run(tt.name, func(t *testing.T) {
				res, body := d.raw(t, tt.request)
				if res.StatusCode != tt.status {
					t.Fatalf("got %d %s, want %d", res.StatusCode, body, tt.status)
				}
				if tt.status != 200 && (res.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(body, fmt.Sprintf(`"status":%d`, tt.status))) {
					t.Errorf("answer %v %s", res.Header, body)
				}
			})
		}
		if front == gateway.Strict {
			res, body := d.raw(t, "GET / HTTP/1.1\r\nHost: a\r\nX-A")
			if res.StatusCode != 408 {
				t.Errorf("stalled head: %d %s", res.StatusCode, body)
			}
		}
	})
}

func TestRequestsInFlight(t *testing.T) {
	enter, leave := make(chan bool), make(chan bool)
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { enter <- true; <-leave })
	for _, tt := range []struct {
		name   string
		bounds gateway.Bounds
		status int
	}{
		{"of one client", gateway.Bounds{ClientRequests: 2}, 429},
		{"in all", gateway.Bounds{Requests: 2}, 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := open(t, gateway.Options{APIs: to(up.URL), Bounds: tt.bounds})
			c := d.client(true)
			var held sync.WaitGroup
			for range 2 {
				held.Go(func() {
					res, err := c.Get(d.url("/"))
					read(t, res, err)
				})
				take(t, enter, "")
			}
			res, err := c.Get(d.url("/"))
			wantProblem(t, res, read(t, res, err), tt.status)
			if res.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			for range 2 {
				leave <- true
			}
			held.Wait()
			go func() { <-enter; leave <- true }()
			if res, err := c.Get(d.url("/")); read(t, res, err) != "" || res.StatusCode != 200 {
				t.Errorf("afterwards: %d", res.StatusCode)
			}
		})
	}
}

func TestConnections(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	d := open(t, gateway.Options{APIs: to(up.URL), Bounds: gateway.Bounds{ClientConnections: 2}})
	var open []net.Conn
	ask := func() error {
		c, err := net.Dial("tcp", d.plain)
		if err != nil {
			return err
		}
		open = append(open, c)
		c.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		_, err = http.ReadResponse(bufio.NewReader(c), nil)
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err == nil {
		t.Error("a third connection was answered")
	}
	for _, c := range open {
		c.Close()
	}
	for end := time.Now().Add(5 * time.Second); d.Metrics().Connections > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if err := ask(); err != nil {
		t.Errorf("after the others closed: %v", err)
	}
	open[len(open)-1].Close()
	if m := d.Metrics(); m.Rejected != 1 {
		t.Errorf("%d connections rejected, want 1", m.Rejected)
	}
}

// A client that leaves ends the request upstream too.
func TestClientLeaves(t *testing.T) {
	gone := make(chan bool, 4)
	entered := make(chan bool, 4)
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		entered <- true
		<-r.Context().Done()
		gone <- true
	})
	d := open(t, gateway.Options{APIs: to(up.URL)})
	for _, h2 := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "GET", d.url("/"), nil)
		go func() { <-entered; cancel() }()
		if _, err := d.client(h2).Do(req); err == nil {
			t.Error("answered")
		}
		take(t, gone, "nothing")
	}
	for _, x := range []*sallyport.Exchange{d.rec.last(t, 2)} {
		if x.Status != 0 {
			t.Errorf("record %+v", x)
		}
	}
	if in := d.Instances(); !in[0].Healthy {
		t.Error("a client that left made the instance unhealthy")
	}
}

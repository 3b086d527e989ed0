package gateway_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/gateway"
)

// clock is set by hand.
type clock struct{ t atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.t.Store(time.Now().UnixNano())
	return c
}

func (c *clock) now() time.Time      { return time.Unix(0, c.t.Load()) }
func (c *clock) add(d time.Duration) { c.t.Add(int64(d)) }

// server answers with its name, or as it is told.
type server struct {
	url    string
	status atomic.Int64 // 0: 200
	count  atomic.Int64
}

func newServer(t testing.TB) *server {
	s := &server{}
	s.url = upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" {
			s.count.Add(1)
		}
		if n := s.status.Load(); n != 0 {
			w.WriteHeader(int(n))
		}
		io.Copy(io.Discard, r.Body)
	}).URL
	return s
}

func (d *door) get(t testing.TB, c *http.Client) int {
	t.Helper()
	res, err := c.Get(d.url("/"))
	read(t, res, err)
	return res.StatusCode
}

func TestAdmission(t *testing.T) {
	s := newServer(t)
	d := open(t, gateway.Options{APIs: to(s.url)})
	c := d.client(true)
	in := d.Instances()
	if len(in) != 1 || in[0].API != "shop" || in[0].URL != s.url || in[0].Admission != sallyport.Admitted || in[0].Reason != "no gate configured" || !in[0].Healthy || in[0].Address.String() != strings.TrimPrefix(s.url, "http://") {
		t.Fatalf("instances %+v", in)
	}
	if got := d.get(t, c); got != 200 {
		t.Fatalf("got %d", got)
	}
	if err := d.Hold(t.Context(), in[0], "test failed"); err != nil {
		t.Fatal(err)
	}
	if now := d.Instances()[0]; now.Admission != sallyport.Held || now.Reason != "test failed" {
		t.Errorf("held: %+v", now)
	}
	res, err := c.Get(d.url("/"))
	wantProblem(t, res, read(t, res, err), 503)
	if err := d.Hold(t.Context(), sallyport.Instance{API: "shop", URL: s.url, Admission: sallyport.Quarantined}, "drift"); err != nil || d.Instances()[0].Admission != sallyport.Quarantined {
		t.Errorf("quarantine: %v, %+v", err, d.Instances()[0])
	}
	if err := d.Admit(t.Context(), in[0], "passed"); err != nil {
		t.Fatal(err)
	}
	if got := d.get(t, c); got != 200 {
		t.Errorf("admitted again: %d", got)
	}
	for _, wrong := range []sallyport.Instance{{API: "none", URL: s.url}, {API: "shop", URL: "http://127.0.0.1:1"}} {
		if err := d.Admit(t.Context(), wrong, ""); !errors.Is(err, sallyport.NotFound) {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
	// The state lasts over a reload, and a gated pool holds what is new.
	if err := d.Hold(t.Context(), in[0], "test failed"); err != nil {
		t.Fatal(err)
	}
	other := newServer(t)
	a := to(s.url, other.url)
	a[0].Gated = true
	if err := d.SetAPIs(a); err != nil {
		t.Fatal(err)
	}
	for _, in := range d.Instances() {
		if in.Admission != sallyport.Held {
			t.Errorf("after the reload: %+v", in)
		}
	}
	if n := other.count.Load(); n != 0 {
		t.Errorf("%d requests to an instance that was never admitted", n)
	}
}

// An instance that fails is left out for a time that doubles, then gets one
// request at a time until one succeeds.
func TestPassiveHealth(t *testing.T) {
	s, other, clk := newServer(t), newServer(t), newClock()
	a := to(s.url, other.url)
	a[0].Health = gateway.Health{Failures: 3, Backoff: time.Second, SlowStart: -1}
	d := open(t, gateway.Options{APIs: a, Now: clk.now})
	c := d.client(true)
	healthy := func() bool {
		for _, in := range d.Instances() {
			if in.URL == s.url {
				return in.Healthy
			}
		}
		t.Fatal("the instance is gone")
		return false
	}
	// asked gives how many of 40 requests the failing one got.
	asked := func() int64 {
		before := s.count.Load()
		for range 40 {
			d.get(t, c)
		}
		return s.count.Load() - before
	}
	s.status.Store(503)
	if n := asked(); n != 3 || healthy() {
		t.Errorf("asked %d times until left out, want 3; healthy %v", n, healthy())
	}
	clk.add(1100 * time.Millisecond)
	if n := asked(); n != 1 { // the trial fails: twice the time
		t.Errorf("%d trials, want 1", n)
	}
	clk.add(1100 * time.Millisecond)
	if n := asked(); n != 0 {
		t.Errorf("%d trials, want none: the second time is twice as long", n)
	}
	clk.add(time.Second)
	s.status.Store(0)
	if n := asked(); n < 5 || !healthy() {
		t.Errorf("recovered: asked %d times of 40, healthy %v", n, healthy())
	}
}

// What an instance answers says something about its health only when no
// application stands behind the answer.
func TestPassiveFailures(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answer  string // "": the connection is reset
		leftOut bool
	}{
		{"reset", "", true},
		{"malformed", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", true},
		{"502", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", true},
		{"503", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", true},
		{"503 with a time to come back", "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n", false},
		{"504", "HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n", true},
		{"500", "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", false},
		{"429", "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n", false},
		{"404", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, other, clk := &liar{answer: tt.answer, reset: tt.answer == ""}, newServer(t), newClock()
			a := to(l.start(t), other.url)
			a[0].Health = gateway.Health{Failures: 3, Retries: -1}
			d := open(t, gateway.Options{APIs: a, Now: clk.now})
			c := d.client(true)
			for range 60 {
				d.get(t, c)
			}
			if n := len(l.requests()); tt.leftOut && n != 3 || !tt.leftOut && n < 10 {
				t.Errorf("asked %d times of 60, left out: want %v", n, tt.leftOut)
			}
		})
	}
}

// Passive failures leave out no instance whose place nobody can take.
func TestLastInstance(t *testing.T) {
	const pressed = "fails, but is asked all the same"
	setup := func(t *testing.T, h gateway.Health, servers ...*server) (*door, *http.Client, *lines) {
		var urls []string
		for _, s := range servers {
			urls = append(urls, s.url)
		}
		a, log := to(urls...), &lines{}
		h.Failures, h.SlowStart, h.Retries = 3, -1, -1
		a[0].Health = h
		d := open(t, gateway.Options{APIs: a, Now: newClock().now, Log: slog.New(slog.NewTextHandler(log, nil))})
		return d, d.client(true), log
	}
	get := func(t *testing.T, d *door, c *http.Client, n int) {
		t.Helper()
		for range n {
			res, err := c.Get(d.url("/"))
			read(t, res, err)
			if x := d.rec.find(t, res.Header.Get("X-Request-Id")); x.Origin == 0 {
				t.Fatalf("nobody was asked: %d, %+v", res.StatusCode, x.Decision)
			}
		}
	}
	t.Run("one", func(t *testing.T) {
		s := newServer(t)
		d, c, log := setup(t, gateway.Health{}, s)
		s.status.Store(503)
		get(t, d, c, 30)
		if in := d.Instances()[0]; in.Healthy || !strings.Contains(in.Reason, "no gate configured") || !strings.Contains(in.Reason, pressed) {
			t.Errorf("instance %+v", in)
		}
		s.status.Store(0) // without a moment's wait
		if got := d.get(t, c); got != 200 || s.count.Load() != 31 {
			t.Errorf("recovered: %d, %d asked", got, s.count.Load())
		}
		d.get(t, c)
		if in := d.Instances()[0]; !in.Healthy || in.Reason != "no gate configured" {
			t.Errorf("instance %+v", in)
		}
		if n := log.count("no other is left"); n != 1 {
			t.Errorf("said %d times, want once", n)
		}
		if n := log.count("can be chosen again"); n != 1 {
			t.Errorf("end said %d times, want once", n)
		}
	})
	t.Run("all", func(t *testing.T) {
		one, two := newServer(t), newServer(t)
		d, c, log := setup(t, gateway.Health{}, one, two)
		one.status.Store(503)
		two.status.Store(502)
		get(t, d, c, 60)
		if one.count.Load() < 10 || two.count.Load() < 10 {
			t.Errorf("%d and %d asked: they share what none can answer", one.count.Load(), two.count.Load())
		}
		one.status.Store(0)
		two.status.Store(0)
		get(t, d, c, 40)
		for _, in := range d.Instances() {
			if !in.Healthy {
				t.Errorf("the one that recovered first did not bring the other: %+v", in)
			}
		}
		if n := log.count("no other is left"); n != 1 {
			t.Errorf("said %d times, want once", n)
		}
	})
	t.Run("the other is held", func(t *testing.T) {
		one, two := newServer(t), newServer(t)
		d, c, _ := setup(t, gateway.Health{}, one, two)
		one.status.Store(503)
		get(t, d, c, 40)
		if n := one.count.Load(); n != 3 {
			t.Fatalf("%d asked before it was left out", n)
		}
		if err := d.Hold(t.Context(), sallyport.Instance{API: "shop", URL: two.url}, "test failed"); err != nil {
			t.Fatal(err)
		}
		get(t, d, c, 10)
		if n := one.count.Load(); n != 13 {
			t.Errorf("%d asked, want 13", n)
		}
		if err := d.Admit(t.Context(), sallyport.Instance{API: "shop", URL: two.url}, "passed"); err != nil {
			t.Fatal(err)
		}
		if get(t, d, c, 10); one.count.Load() != 13 {
			t.Errorf("%d asked, want 13: the other is there again", one.count.Load())
		}
	})
	t.Run("the active check takes it out", func(t *testing.T) {
		s := newServer(t)
		d, c, _ := setup(t, gateway.Health{Path: "/health", Interval: 5 * time.Millisecond}, s)
		s.status.Store(503)
		for end := time.Now().Add(5 * time.Second); !strings.Contains(d.Instances()[0].Reason, "active check"); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%+v", d.Instances())
			}
			d.get(t, c)
		}
		before := s.count.Load()
		if got := d.get(t, c); got != 503 || s.count.Load() != before {
			t.Errorf("got %d, asked %d times more", got, s.count.Load()-before)
		}
	})
}

// lines is a log that is counted.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

func TestActiveHealth(t *testing.T) {
	s := newServer(t)
	s.status.Store(500)
	a := to(s.url)
	a[0].Health = gateway.Health{Path: "/health", Interval: 10 * time.Millisecond, Failures: 2}
	d := open(t, gateway.Options{APIs: a})
	wait := func(healthy bool) {
		t.Helper()
		for end := time.Now().Add(5 * time.Second); d.Instances()[0].Healthy != healthy; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("healthy is not %v", healthy)
			}
		}
	}
	wait(false)
	if got := d.get(t, d.client(true)); got != 503 || s.count.Load() != 0 {
		t.Errorf("got %d, %d asked", got, s.count.Load())
	}
	s.status.Store(0)
	wait(true)
	if got := d.get(t, d.client(true)); got != 200 {
		t.Errorf("got %d", got)
	}
}

// What was not sent, or may be sent twice, goes to another instance; a request
// that may have been acted on does not.
func TestRetries(t *testing.T) {
	good := newServer(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + closed.Addr().String()
	closed.Close()
	for _, tt := range []struct {
		name, method, body string
		reset              bool // the first instance takes the request and resets; false: no connection
		safe               bool
	}{
		{"GET, not sent", "GET", "", false, true},
		{"POST, not sent", "POST", "x", false, true},
		{"GET, reset", "GET", "", true, true},
		{"PUT in hand, reset", "PUT", "x", true, true},
		{"POST, reset", "POST", "x", true, false},
		{"PATCH, reset", "PATCH", "x", true, false},
		{"PUT that streamed, reset", "PUT", strings.Repeat("x", 4<<20), true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first := dead
			l := &liar{reset: true}
			if tt.reset {
				first = l.start(t)
			}
			a := to(first, good.url)
			a[0].Health = gateway.Health{Failures: 1000, Budget: 100}
			d := open(t, gateway.Options{APIs: a})
			c := d.client(false)
			retried, failed := 0, 0
			for range 20 {
				req, _ := http.NewRequest(tt.method, d.url("/"), strings.NewReader(tt.body))
				req.Header.Set("Content-Type", "application/octet-stream")
				res, err := c.Do(req)
				read(t, res, err)
				x := d.rec.find(t, res.Header.Get("X-Request-Id"))
				retried += x.Retries
				if res.StatusCode != 200 {
					failed++
				}
			}
			if tt.safe && (failed != 0 || retried == 0) || !tt.safe && (retried != 0 || failed == 0) {
				t.Errorf("%d failed, %d retried", failed, retried)
			}
		})
	}
	t.Run("budget", func(t *testing.T) {
		a := to(dead)
		a[0].Health = gateway.Health{Failures: 100000, Budget: 10}
		d := open(t, gateway.Options{APIs: a})
		c := d.client(true)
		for range 60 {
			d.get(t, c)
		}
		// Ten to begin with, and one for each ten requests.
		if n := d.Metrics().Retries; n < 10 || n > 17 {
			t.Errorf("%d retries of 60 requests", n)
		}
	})
}

func TestLeastLoaded(t *testing.T) {
	var busy, idle atomic.Int64
	leave := make(chan bool)
	slow := upstream(t, func(w http.ResponseWriter, r *http.Request) { busy.Add(1); <-leave })
	fast := upstream(t, func(w http.ResponseWriter, r *http.Request) { idle.Add(1) })
	a := to(slow.URL, fast.URL)
	a[0].Upstreams[0].MaxConns = 3
	d := open(t, gateway.Options{APIs: a})
	c := d.client(true)
	var held sync.WaitGroup
	for range 100 {
		done := make(chan bool)
		held.Go(func() { res, err := c.Get(d.url("/")); read(t, res, err); close(done) })
		select {
		case <-done:
		case <-time.After(20 * time.Millisecond): // it sits in the slow one
		}
	}
	for end := time.Now().Add(10 * time.Second); busy.Load()+idle.Load() < 100 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if b, i := busy.Load(), idle.Load(); b > 3 || i < 97 {
		t.Errorf("%d to the slow one, %d to the fast one", b, i)
	}
	close(leave)
	held.Wait()
}

// An instance that joins others is given its share slowly.
func TestSlowStart(t *testing.T) {
	one, two, clk := newServer(t), newServer(t), newClock()
	a := to(one.url)
	a[0].Health.SlowStart = 100 * time.Second
	d := open(t, gateway.Options{APIs: a, Now: clk.now})
	a[0].Upstreams = append(a[0].Upstreams, gateway.Upstream{URL: two.url})
	if err := d.SetAPIs(a); err != nil {
		t.Fatal(err)
	}
	c := d.client(true)
	share := func() int64 {
		before := two.count.Load()
		for range 200 {
			d.get(t, c)
		}
		return two.count.Load() - before
	}
	clk.add(10 * time.Second)
	early := share()
	clk.add(200 * time.Second)
	late := share()
	if early < 1 || early > 50 || late < 70 || late > 130 {
		t.Errorf("%d of 200 early, %d of 200 late", early, late)
	}
}

func TestDNSUpstream(t *testing.T) {
	s := newServer(t)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.url, "http://"))
	var mu sync.Mutex
	answer, fail := []netip.Addr{netip.MustParseAddr("127.0.0.1")}, error(nil)
	set := func(err error, a ...netip.Addr) { mu.Lock(); answer, fail = a, err; mu.Unlock() }
	d := open(t, gateway.Options{
		APIs: []gateway.API{{Name: "shop", Upstreams: []gateway.Upstream{{DNS: "shop.internal:" + port, Refresh: 10 * time.Millisecond}}}},
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			mu.Lock()
			defer mu.Unlock()
			if host != "shop.internal" {
				t.Errorf("looked up %q", host)
			}
			return answer, fail
		},
	})
	if got := d.get(t, d.client(true)); got != 200 {
		t.Fatalf("got %d", got)
	}
	wait := func(n int) {
		t.Helper()
		for end := time.Now().Add(5 * time.Second); len(d.Instances()) != n; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d instances, want %d", len(d.Instances()), n)
			}
		}
	}
	set(nil, netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"))
	wait(2)
	set(errors.New("SERVFAIL")) // the last good addresses stay
	time.Sleep(50 * time.Millisecond)
	wait(2)
	set(nil, netip.MustParseAddr("127.0.0.1"))
	time.Sleep(2100 * time.Millisecond)
	wait(1)
	if got := d.get(t, d.client(true)); got != 200 {
		t.Errorf("got %d", got)
	}
}

func TestPoolMistakes(t *testing.T) {
	d := open(t, gateway.Options{})
	for _, a := range []gateway.API{
		{}, {Name: "a", Upstreams: []gateway.Upstream{{}}}, {Name: "a", Upstreams: []gateway.Upstream{{URL: "http://x", DNS: "x"}}},
		{Name: "a", Upstreams: []gateway.Upstream{{URL: "http://x/path"}}}, {Name: "a", Upstreams: []gateway.Upstream{{URL: "http://u:p@x"}}},
		{Name: "a", Upstreams: []gateway.Upstream{{URL: "http://x"}, {URL: "http://x"}}}, {Name: "a", Upstreams: []gateway.Upstream{{URL: "https://x", CA: "/none"}}},
		{Name: "a", Upstreams: []gateway.Upstream{{URL: "http://x", Protocol: "h3"}}}, {Name: "a", Upstreams: []gateway.Upstream{{DNS: "x", Scheme: "ftp"}}},
	} {
		if err := d.SetAPIs([]gateway.API{a}); err == nil {
			t.Errorf("%+v was taken", a)
		}
	}
}

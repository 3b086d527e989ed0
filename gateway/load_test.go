package gateway_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"sallyport.dev"
	"sallyport.dev/gateway"
	gate "sallyport.dev/gateway/load"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
)

// report is an OrcaLoadReport with a request_cost of so many CPU seconds.
func report(seconds float64) string {
	e := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "cpu_seconds")
	e = protowire.AppendFixed64(protowire.AppendTag(e, 2, protowire.Fixed64Type), math.Float64bits(seconds))
	return base64.RawStdEncoding.EncodeToString(protowire.AppendBytes(protowire.AppendTag(nil, 4, protowire.BytesType), e))
}

func TestCostFromReports(t *testing.T) {
	fronts(t, func(t *testing.T, front gateway.Front) {
		var said atomic.Pointer[http.Header]
		up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
			for name := range r.Header {
				if strings.Contains(strings.ToLower(name), "load") {
					t.Errorf("the upstream got %s: %s", name, r.Header[name])
				}
			}
			if r.URL.Path == "/trailer" {
				w.Header().Set("Trailer", "Endpoint-Load-Metrics, X-Kept")
				io.WriteString(w, "first")
				w.(http.Flusher).Flush()
				w.Header().Set("Endpoint-Load-Metrics", "TEXT request_cost.cpu_ms=70,request_cost.rows=3")
				w.Header().Set("X-Kept", "yes")
				return
			}
			for name, values := range *said.Load() {
				w.Header()[name] = values
			}
			io.WriteString(w, "done")
		})
		d := open(t, gateway.Options{APIs: to(up.URL), Front: front})
		c := d.client(false)
		for name, x := range map[string]struct {
			path   string
			header http.Header
			cpu    time.Duration // 0: estimated
			rows   int64
		}{
			"text":          {header: http.Header{"Endpoint-Load-Metrics": {"TEXT cpu_utilization=0.4,request_cost.cpu_seconds=0.25,request_cost.rows=12"}}, cpu: 250 * time.Millisecond, rows: 12},
			"json":          {header: http.Header{"Endpoint-Load-Metrics": {`JSON {"requestCost":{"cpu_ms":40}}`}}, cpu: 40 * time.Millisecond},
			"binary":        {header: http.Header{"Endpoint-Load-Metrics": {"BIN " + report(.5)}}, cpu: 500 * time.Millisecond},
			"binary header": {header: http.Header{"Endpoint-Load-Metrics-Bin": {report(1.5)}}, cpu: 1500 * time.Millisecond},
			"trailer":       {path: "/trailer", cpu: 70 * time.Millisecond, rows: 3},
			"none":          {header: http.Header{}},
			"malformed":     {header: http.Header{"Endpoint-Load-Metrics": {"TEXT request_cost.cpu_seconds=-5"}}},
			"two":           {header: http.Header{"Endpoint-Load-Metrics": {"TEXT request_cost.cpu_seconds=5", "TEXT eps=1"}}},
			"both forms":    {header: http.Header{"Endpoint-Load-Metrics": {"TEXT request_cost.cpu_seconds=5"}, "Endpoint-Load-Metrics-Bin": {report(5)}}},
			"huge":          {header: http.Header{"Endpoint-Load-Metrics": {"TEXT request_cost.cpu_seconds=5,named_metrics.x=" + strings.Repeat("1", 5000)}}},
		} {
			said.Store(&x.header)
			req, _ := http.NewRequestWithContext(t.Context(), "GET", d.url(x.path+"/"), nil)
			if x.path != "" {
				req.URL.Path = x.path
			}
			// What a client says about load is not believed, and goes nowhere.
			req.Header.Set("Endpoint-Load-Metrics", "TEXT request_cost.cpu_seconds=99")
			req.Header["endpoint_load_metrics_bin"] = []string{report(99)}
			res, err := c.Do(req)
			read(t, res, err)
			for _, h := range []http.Header{res.Header, res.Trailer} {
				for name, v := range h {
					if strings.Contains(strings.ToLower(name), "load-metrics") {
						t.Errorf("%s: the client got %s: %s", name, name, v)
					}
				}
			}
			if x.path != "" && res.Trailer.Get("X-Kept") != "yes" {
				t.Errorf("%s: trailer %v", name, res.Trailer)
			}
			got := d.rec.find(t, res.Header.Get("X-Request-Id")).Cost
			if x.cpu > 0 && (got.CPU != x.cpu || got.Estimated || got.Rows != x.rows) || x.cpu == 0 && (!got.Estimated || got.CPU <= 0 || got.CPU > 5*time.Second) {
				t.Errorf("%s: cost %+v, want %v", name, got, x.cpu)
			}
		}
	})
}

func TestCostOfGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	srv.RegisterService(&grpc.ServiceDesc{ServiceName: "test.Cost", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Unary", Handler: func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := new(wrapperspb.StringValue)
			if err := dec(in); err != nil {
				return nil, err
			}
			if md, _ := metadata.FromIncomingContext(ctx); len(md.Get("endpoint-load-metrics-bin")) > 0 {
				t.Error("the client's own report reached the upstream")
			}
			raw, _ := base64.RawStdEncoding.DecodeString(report(.125))
			grpc.SetTrailer(ctx, metadata.Pairs("endpoint-load-metrics-bin", string(raw)))
			return in, nil
		},
	}}}, failing{})
	go srv.Serve(l)
	t.Cleanup(srv.Stop)
	d := open(t, gateway.Options{APIs: []gateway.API{{Name: "shop", Load: gate.Settings{Adaptive: true}, Upstreams: []gateway.Upstream{{URL: "http://" + l.Addr().String(), Protocol: "h2"}}}}})
	cc, err := grpc.NewClient(d.plain, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	var trailer metadata.MD
	ctx := metadata.AppendToOutgoingContext(t.Context(), "endpoint-load-metrics-bin", "made up")
	if err := cc.Invoke(ctx, "/test.Cost/Unary", wrapperspb.String("x"), new(wrapperspb.StringValue), grpc.Trailer(&trailer)); err != nil {
		t.Fatal(err)
	}
	if len(trailer.Get("endpoint-load-metrics-bin")) > 0 {
		t.Error("the client got the report")
	}
	if x := d.rec.last(t, 1); x.Cost.CPU != 125*time.Millisecond || x.Cost.Estimated {
		t.Errorf("cost %+v", x.Cost)
	}
	if s := d.Pools()[0].Load; s.InFlight != 0 {
		t.Errorf("%d places were not given back", s.InFlight)
	}
}

// busy is an upstream that holds each request until it is let go.
type busy struct {
	url  string
	came chan string // the path of each that came
	free chan struct{}
}

func newBusy(t testing.TB) *busy {
	b := &busy{came: make(chan string, 100), free: make(chan struct{})}
	b.url = upstream(t, func(w http.ResponseWriter, r *http.Request) {
		b.came <- r.URL.Path
		select {
		case <-b.free:
		case <-r.Context().Done():
		}
	}).URL
	t.Cleanup(func() { close(b.free) })
	return b
}

// TestPlaces: beyond the limit a request waits, the class with a floor first;
// beyond the queue it is turned away with when to come again and why.
func TestPlaces(t *testing.T) {
	up := newBusy(t)
	p := program(t, guard.API{API: sallyport.API{Name: "shop"}, Policy: policy.API{Mode: sallyport.Enforce, Auth: policy.Auth{Anonymous: policy.Always,
		Keys: []policy.Key{{ID: "gold-1", Hash: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("gold secret"))), Subject: "gold"}}}}})
	a := to(up.url)
	a[0].Load = gate.Settings{Limit: 2, Queue: 2, Wait: 20 * time.Second, Classes: []gate.Class{{Name: "gold", Floor: .5, Keys: []string{"gold-1"}}}}
	d := open(t, gateway.Options{APIs: a, Program: p})
	c := d.client(false)
	var all sync.WaitGroup
	ids := sync.Map{}
	ask := func(path, key string) {
		all.Go(func() {
			req, _ := http.NewRequest("GET", d.url(path), nil)
			if key != "" {
				req.Header.Set("X-Api-Key", key)
			}
			res, err := c.Do(req)
			if read(t, res, err); res.StatusCode != 200 {
				t.Errorf("%s: %d", path, res.StatusCode)
			}
			ids.Store(path, res.Header.Get("X-Request-Id"))
		})
	}
	state := func(queued int) {
		t.Helper()
		for range 500 {
			if d.Pools()[0].Load.Queued == queued {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("%d wait, want %d", d.Pools()[0].Load.Queued, queued)
	}
	ask("/a", "")
	ask("/b", "")
	first := []string{take(t, up.came, "nothing"), take(t, up.came, "nothing")}
	slices.Sort(first)
	if !slices.Equal(first, []string{"/a", "/b"}) {
		t.Fatalf("in flight: %v", first)
	}
	ask("/c", "")
	state(1)
	ask("/gold", "gold secret")
	state(2)
	res, err := c.Get(d.url("/d"))
	wantProblem(t, res, read(t, res, err), 503)
	if res.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	x := d.rec.find(t, res.Header.Get("X-Request-Id")).Decision
	if len(x.Reasons) != 1 || x.Reasons[0].Rule != "load.queue-full" || x.Stage != sallyport.StageRelieve || x.Action != sallyport.ActionThrottle || x.Status != 503 {
		t.Errorf("decision %+v", x)
	}
	for _, want := range []string{"/gold", "/c"} {
		up.free <- struct{}{}
		if got := take(t, up.came, "nothing"); got != want {
			t.Errorf("next is %s, want %s", got, want)
		}
	}
	up.free <- struct{}{}
	up.free <- struct{}{}
	all.Wait()
	id, _ := ids.Load("/gold")
	if x := d.rec.find(t, id.(string)).Decision; !slices.Equal(x.Relief, []string{"queued"}) || x.Refused() {
		t.Errorf("decision of the one that waited: %+v", x)
	}
	s := d.Pools()[0].Load
	if s.InFlight != 0 || s.Queued != 0 || len(s.Classes) != 2 || s.Classes[0].Admitted != 1 || s.Classes[1].Shed != 1 {
		t.Errorf("state %+v", s)
	}
}

// TestPlacesGivenBack: whatever becomes of a request, its place comes free.
func TestPlacesGivenBack(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/abort":
			panic(http.ErrAbortHandler)
		case "/half":
			w.Header().Set("Content-Length", "100000")
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/slow":
			<-r.Context().Done()
		}
	})
	a := to(up.URL)
	a[0].Load = gate.Settings{Limit: 1, Queue: -1}
	d := open(t, gateway.Options{APIs: a})
	c := d.client(false)
	for _, path := range []string{"/", "/abort", "/half", "/gone", "/", "/slow", "/events", "/"} {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		req, _ := http.NewRequestWithContext(ctx, "GET", d.url(path), nil)
		if path == "/slow" {
			time.AfterFunc(50*time.Millisecond, cancel)
		}
		res, err := c.Do(req)
		switch {
		case path == "/events":
			defer res.Body.Close() // it stays open, and holds no place
		case err == nil:
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		for i := 0; d.Pools()[0].Load.InFlight != 0; i++ {
			if i == 500 {
				t.Fatalf("%s: the place was not given back", path)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func TestStandby(t *testing.T) {
	t.Run("full", func(t *testing.T) {
		up, by := newBusy(t), newServer(t)
		a := to(up.url, by.url)
		a[0].Upstreams[1].Standby = true
		a[0].Load = gate.Settings{Limit: 1}
		d := open(t, gateway.Options{APIs: a})
		c := d.client(false)
		go func() {
			if res, err := c.Get(d.url("/first")); err == nil {
				res.Body.Close()
			}
		}()
		take(t, up.came, "nothing")
		for range 3 {
			res, err := c.Get(d.url("/"))
			if read(t, res, err); res.StatusCode != 200 {
				t.Fatalf("got %d", res.StatusCode)
			}
			x := d.rec.find(t, res.Header.Get("X-Request-Id"))
			if x.Instance != by.url || !slices.Equal(x.Decision.Relief, []string{"standby"}) {
				t.Errorf("served by %s, relief %v", x.Instance, x.Decision.Relief)
			}
		}
		up.free <- struct{}{}
	})
	t.Run("unwell", func(t *testing.T) {
		one, two, by := newServer(t), newServer(t), newServer(t)
		a := to(one.url, two.url, by.url)
		a[0].Upstreams[2].Standby = true
		d := open(t, gateway.Options{APIs: a})
		c := d.client(false)
		for range 40 {
			d.get(t, c)
		}
		if n := by.count.Load(); n != 0 {
			t.Fatalf("%d requests for the one that stands by while all are well", n)
		}
		for _, in := range d.Instances() {
			if in.URL == one.url {
				if err := d.Hold(t.Context(), in, "test"); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 40 {
			d.get(t, c)
		}
		if n := by.count.Load(); n != 0 {
			t.Fatalf("%d requests for the one that stands by, but the others that are admitted are well", n)
		}
		two.status.Store(502)
		for range 40 {
			d.get(t, c)
		}
		two.status.Store(0)
		if n := by.count.Load(); n < 25 {
			t.Errorf("%d requests for the one that stands by while no other is well", n)
		}
	})
}

// TestComparison: an instance that fails now and then, never so often in a row
// that it is left out for that, fails more often than the others.
func TestComparison(t *testing.T) {
	now := newClock()
	var urls []string
	var bad atomic.Int64
	for i := range 4 {
		urls = append(urls, upstream(t, func(w http.ResponseWriter, r *http.Request) {
			if n := bad.Add(1); i == 0 && n%2 == 0 {
				w.WriteHeader(502)
			}
		}).URL)
	}
	d := open(t, gateway.Options{APIs: to(urls...), Now: now.now})
	c := d.client(false)
	out := func() (n int) {
		for _, in := range d.Pools()[0].Instances {
			if in.Left > 0 {
				if n++; in.URL != urls[0] {
					t.Errorf("%s is left out", in.URL)
				}
			}
		}
		return n
	}
	for i := range 6000 { // it is asked seldom, so that some intervals hold too few answers to compare
		d.get(t, c)
		if i%600 == 250 {
			now.add(11 * time.Second)
		}
		if i > 260 && out() == 1 {
			return
		}
	}
	t.Errorf("it was not left out: %+v", d.Pools()[0].Instances)
}

// TestHotUpstream: one whose answers say that it is too busy is spared.
func TestHotUpstream(t *testing.T) {
	var cpu atomic.Int64
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		cost := 0.01
		if r.URL.Path == "/report" {
			cost = 2
		}
		w.Header().Set("Endpoint-Load-Metrics", fmt.Sprintf("TEXT cpu_utilization=%.2f,request_cost.cpu_seconds=%g", float64(cpu.Load())/100, cost))
	})
	p := program(t, guard.API{API: sallyport.API{Name: "shop"}, Spec: declared(t, "GET", "/report"), Policy: policy.API{Mode: sallyport.Observe}})
	a := to(up.URL)
	a[0].Load = gate.Settings{CPU: .8}
	now := newClock()
	d := open(t, gateway.Options{APIs: a, Program: p, Now: now.now})
	c := d.client(false)
	count := func(path string, n int) (refused int) {
		for range n {
			now.add(300 * time.Millisecond)
			res, err := c.Get(d.url(path))
			read(t, res, err)
			if res.StatusCode == 200 {
				continue
			}
			refused++
			x := d.rec.find(t, res.Header.Get("X-Request-Id")).Decision
			if res.Header.Get("Retry-After") == "" || len(x.Reasons) == 0 || x.Reasons[len(x.Reasons)-1].Rule != "load.cpu" || x.Stage != sallyport.StageRelieve {
				t.Fatalf("%d %v: %+v", res.StatusCode, res.Header, x)
			}
		}
		return refused
	}
	cpu.Store(50)
	if n := count("/report", 10) + count("/", 10); n > 0 {
		t.Fatalf("%d refused while it is not hot", n)
	}
	cpu.Store(100)
	cheap, dear := 0, 0
	for range 12 {
		cheap += count("/", 2)
		dear += count("/report", 1)
	}
	if dear == 0 || cheap > dear {
		t.Errorf("hot: %d costly and %d cheap requests were turned away", dear, cheap)
	}
	cpu.Store(10)
	for range 60 { // it cools down, and nobody is turned away any more
		count("/", 2)
	}
	if n := count("/report", 5); n > 0 {
		t.Errorf("%d refused after it has cooled down", n)
	}
}

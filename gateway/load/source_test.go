package load

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPage(t *testing.T) {
	text := ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/", http.StatusFound)
			return
		}
		io.WriteString(w, text)
	}))
	defer srv.Close()
	now := time.Now()
	// readings gives the load after the page has shown a and, two seconds later, b.
	readings := func(s Source, a, b string) (Load, error) {
		r := reader{Source: s, client: &http.Client{Timeout: 5 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
		text = a
		if l, err := r.read(context.Background(), now); b == "" {
			return l, err
		}
		text = b
		return r.read(context.Background(), now.Add(2*time.Second))
	}
	page := func(cpu, rss string) string {
		return "# HELP process_cpu_seconds_total Time.\n# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total " + cpu +
			"\nprocess_cpu_seconds_total_other 99999\nprocess_resident_memory_bytes " + rss + "\nother{a=\"}\\\"\"} nonsense\n"
	}
	l, err := readings(Source{URL: srv.URL, Cores: 4, MemoryLimit: 1 << 30}, page("10.5", "1e3"), page("13.5", "536870912"))
	if err != nil || math.Abs(l.CPU-.375) > 1e-9 || l.Memory != .5 || math.Abs(l.Cores-1.5) > 1e-9 {
		t.Errorf("got %+v, %v", l, err)
	}
	l, err = readings(Source{URL: srv.URL, CPU: "busy", Memory: "held"}, "busy{core=\"0 } \\\" \",n=\"x\"} 0.25 1700000000000\nbusy{core=\"1\"} 0.5\nheld 0.9\n", "")
	if err != nil || l.CPU != .75 || l.Memory != .9 {
		t.Errorf("named: got %+v, %v", l, err)
	}
	for name, x := range map[string]string{
		"missing": "other 1\n", "no number": "busy x\n", "not a number": "busy NaN\n", "negative": "busy -1\n", "no end": "busy{a=\"b 1\n",
		"no value": "busy{a=\"b\"}\n", "too much": "busy 1 2 3\n", "long line": "busy " + strings.Repeat("1", 300<<10), "long page": strings.Repeat("a 1\n", maxPage/4+2),
	} {
		if l, err := readings(Source{URL: srv.URL, CPU: "busy"}, x, ""); err == nil {
			t.Errorf("%s was read as %+v", name, l)
		}
	}
	if l, err := readings(Source{URL: srv.URL + "/moved"}, page("1", "1"), ""); err == nil || !strings.Contains(err.Error(), "302") {
		t.Errorf("a redirection was followed: %+v, %v", l, err)
	}
	// A process that began again has no rate yet.
	if l, err := readings(Source{URL: srv.URL}, page("100", "1"), page("1", "1")); err != errFirst {
		t.Errorf("after a restart: %+v, %v", l, err)
	}
}

func TestCgroup(t *testing.T) {
	dir := t.TempDir()
	write := func(files map[string]string) {
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	read := func(usec int) (Load, error) {
		r := reader{Source: Source{Cgroup: dir}}
		now := time.Now()
		if _, err := r.read(context.Background(), now); err != errFirst {
			return Load{}, err
		}
		write(map[string]string{"cpu.stat": fmt.Sprintf("usage_usec %d\nuser_usec 1\nsystem_usec 2\n", usec)})
		return r.read(context.Background(), now.Add(time.Second))
	}
	good := map[string]string{"cpu.stat": "usage_usec 1000000\n", "cpu.max": "200000 100000\n", "memory.current": "300\n", "memory.max": "400\n",
		"cpu.pressure": "some avg10=12.50 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"}
	write(good)
	if l, err := read(2_500_000); err != nil || math.Abs(l.CPU-.75) > 1e-9 || l.Memory != .75 || l.Pressure != .125 || math.Abs(l.Cores-1.5) > 1e-9 {
		t.Errorf("got %+v, %v", l, err)
	}
	write(map[string]string{"cpu.stat": "usage_usec 1000000\n", "cpu.max": "max 100000\n", "memory.max": "max\n"})
	if l, err := read(1_500_000); err != nil || l.CPU <= 0 || l.CPU > .5 || l.Memory <= 0 || l.Memory > .01 {
		t.Errorf("without bounds: %+v, %v", l, err)
	}
	for name, files := range map[string]map[string]string{
		"stat": {"cpu.stat": "nothing\n"}, "quota": {"cpu.max": "some\n"}, "memory": {"memory.current": "-1\n"}, "pressure": {"cpu.pressure": "some avg10=200\n"},
		"huge": {"cpu.stat": strings.Repeat("x", 100<<10)},
	} {
		write(good)
		write(files)
		if l, err := read(2_000_000); err == nil && name != "stat" {
			t.Errorf("%s: read as %+v", name, l)
		}
	}
	if _, err := (&reader{Source: Source{Cgroup: filepath.Join(dir, "none")}}).read(context.Background(), time.Now()); err == nil {
		t.Error("a cgroup that there is not was read")
	}
}

func TestOwn(t *testing.T) {
	r := reader{Source: Source{Own: true}}
	now := time.Now()
	if _, err := r.read(context.Background(), now); err != errFirst {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < 20*time.Millisecond; {
	}
	l, err := r.read(context.Background(), now.Add(20*time.Millisecond))
	if err != nil || l.CPU <= 0 {
		t.Errorf("got %+v, %v", l, err)
	}
}

// TestSourceFails: what can't be read counts for nothing, and is said.
func TestSourceFails(t *testing.T) {
	hang := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hang.Close()
	g := New(nil)
	g.Set(Settings{CPU: .5, Sources: []Source{{URL: hang.URL, Every: 100 * time.Millisecond}, {Cgroup: "/nowhere", Every: 100 * time.Millisecond}}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { g.Watch(ctx, slog.New(slog.DiscardHandler)); close(done) }()
	for range 500 {
		s := g.State()
		if s.Sources[0].Failed != "" && s.Sources[1].Failed != "" && s.Over == 0 {
			cancel()
			<-done
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	t.Errorf("%+v", g.State().Sources)
}

func FuzzScrape(f *testing.F) {
	f.Add("busy{a=\"b\"} 1\nbusy 2 1700000000000\n")
	f.Add("busy{a=\"\\\"}\"} 1e3\n# busy\n")
	f.Fuzz(func(t *testing.T, page string) {
		if sums, err := scrape(strings.NewReader(page), "busy"); err == nil {
			if v := sums["busy"]; math.IsNaN(v) || v < 0 {
				t.Fatalf("%q: %v", page, v)
			}
		}
	})
}

// TestBounded: made-up callers and operations cost no more memory than stated.
func TestBounded(t *testing.T) {
	g := New(nil)
	g.Set(Settings{Limit: 10, CPU: .5})
	for i := range 3 * maxParties {
		ticket, why := g.Enter(context.Background(), &Ask{Operation: fmt.Sprint("GET /", i), Caller: Caller{Name: fmt.Sprint("who", i)}})
		if why != nil {
			t.Fatal(why)
		}
		ticket.Done(Sample{RTT: time.Millisecond, Slot: time.Millisecond, CPU: time.Millisecond})
	}
	if n := len(g.parties.known); n > maxParties {
		t.Errorf("%d callers remembered", n)
	}
	if n := len(g.ops); n > maxOperations+1 {
		t.Errorf("%d operations remembered", n)
	}
	if g.inflight != 0 || g.all.inflight != 0 {
		t.Errorf("%d in flight", g.inflight)
	}
}

// TestQueueTime: who waits too long, or goes away, leaves nothing behind.
func TestQueueTime(t *testing.T) {
	g := New(nil)
	g.Set(Settings{Limit: 1, Wait: 20 * time.Millisecond, Queue: 4})
	a := &Ask{Operation: "GET /", Caller: Caller{Name: "a"}}
	first, _ := g.Enter(context.Background(), a)
	if _, why := g.Enter(context.Background(), a); why == nil || why.Rule != "load.queue-time" || why.After <= 0 {
		t.Errorf("got %+v", why)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, why := g.Enter(ctx, a); why == nil || why.Rule != "client.gone" {
		t.Errorf("got %+v", why)
	}
	if s := g.State(); s.Queued != 0 || s.InFlight != 1 {
		t.Errorf("%+v", s)
	}
	first.Done(Sample{})
	if again, why := g.Enter(context.Background(), a); why != nil {
		t.Errorf("got %+v", why)
	} else {
		again.Done(Sample{})
	}
}

func BenchmarkEnterDone(b *testing.B) {
	g := New(nil)
	g.Set(Settings{Adaptive: true, CPU: .8})
	a := &Ask{Operation: "GET /", Caller: Caller{Name: "a"}}
	b.ReportAllocs()
	for b.Loop() {
		t, _ := g.Enter(context.Background(), a)
		t.Done(Sample{RTT: time.Millisecond, Slot: time.Millisecond, CPU: time.Millisecond})
	}
}

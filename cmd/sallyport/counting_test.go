package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/guard/limit"
	"sallyport.dev/store"
	"sallyport.dev/test/integration/postgres"
	"sallyport.dev/test/lab/slots"
)

// redisAt starts a Redis of the test's own; stop ends it.
func redisAt(t *testing.T, addr string) (stop func()) {
	t.Helper()
	_, port, _ := net.SplitHostPort(addr)
	c := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir(), "--requirepass", "sesame")
	if err := c.Start(); err != nil {
		t.Fatalf("start redis-server (test/setup.sh installs it): %v", err)
	}
	stop = func() { c.Process.Kill(); c.Wait() }
	t.Cleanup(stop)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return stop
		}
	}
	t.Fatal("redis-server does not listen")
	return nil
}

// limit gives a site's API limits, and other settings to the whole.
func (s *site) limit(t *testing.T, more, limits string) {
	t.Helper()
	s.configure(t, more)
	file := filepath.Join(s.dir, "sallyport.yaml")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, string(b)+"    limits: "+limits+"\n")
}

// statuses asks n times and counts the answers.
func (s *site) statuses(t *testing.T, n int) map[int]int {
	t.Helper()
	out := map[int]int{}
	for range n {
		status, _, _ := s.ask(t, "GET", "/pets/7", "")
		out[status]++
	}
	return out
}

func TestTwoNodesCountTogether(t *testing.T) {
	t.Setenv("COUNTERS_PASSWORD", "sesame")
	addr := freeAddr(t)
	stop := redisAt(t, addr)
	one, two := newSite(t), newSite(t)
	two.issuer = one.issuer
	for _, s := range []*site{one, two} {
		s.limit(t, fmt.Sprintf("counters: {url: \"redis://%s\", password: env:COUNTERS_PASSWORD}", addr), "[{rate: 12/h, per: principal}]")
		p := s.start(t)
		defer p.stop()
		p.wait("limits are counted together with other nodes")
	}
	passed := one.statuses(t, 8)[200] + two.statuses(t, 8)[200]
	if passed != 12 {
		t.Errorf("%d of 16 requests passed at two nodes, want 12", passed)
	}
	stop()
	// Each counts by itself from here on: no error, and what it has counted so far still counts.
	if got := one.statuses(t, 8); got[200] != 4 || got[429] != 4 {
		t.Errorf("the first node without Redis: %v, want its own twelve", got)
	}
}

// A quota goes on after a restart.
func TestQuotasSurviveARestart(t *testing.T) {
	s := newSite(t)
	zone := time.Now().UTC().Add(-12 * time.Hour) // whichever day it is, it shall not end now
	name := fmt.Sprintf("Etc/GMT%+d", zone.Hour())
	if zone.Hour() > 12 {
		name = fmt.Sprintf("Etc/GMT%+d", zone.Hour()-24)
	}
	s.limit(t, "", "[{quota: 5/day, zone: "+name+", per: principal, name: daily}]")
	p := s.start(t)
	if got := s.statuses(t, 3); got[200] != 3 {
		t.Fatalf("before: %v", got)
	}
	setup := p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1]
	p.signIn(setup, password)
	p.stop()
	p = s.start(t)
	if got := s.statuses(t, 4); got[200] != 2 || got[429] != 2 {
		t.Errorf("after a restart: %v, want two more of five", got)
	}
	// The console says so too.
	var limits struct {
		Limits []struct {
			Door, API, Name, What, Per, Mode, Counted string
			Refused                                   int
			Nearest                                   []struct {
				Subject string
				Used    float64
			}
		}
	}
	d := p.signIn("", password)
	d.do("GET", "/limits?api=pets", nil, 200, &limits)
	if len(limits.Limits) != 1 {
		t.Fatalf("%+v", limits)
	}
	if l := limits.Limits[0]; l.Name != "daily" || l.Door != "gateway" || l.Mode != "enforce" || l.Refused != 2 || l.Counted != "alone" || len(l.Nearest) != 1 || l.Nearest[0].Used != 1 ||
		!strings.HasSuffix(l.Nearest[0].Subject, "#alice") {
		t.Errorf("%+v", l)
	}
	// What passed is learned from, once its minute is over.
	d.do("GET", "/limits/suggestions", nil, 200, nil)
	p.stop()
}

func TestMistakesOfCounters(t *testing.T) {
	for text, want := range map[string]string{
		"http://h":                          "want redis://host:port",
		"{password: env:X}":                 "url is missing",
		"redis://u:secret@h:1":              "a password stands in the URL",
		"{url: redis://h:1, password: x}":   "do not stand in this file",
		"{url: rediss://h:1, ca: none.pem}": "counters.ca",
		"{url: redis://h:1, cluster: x}":    "unknown key",
	} {
		_, err := parseConfig("sallyport.yaml", []byte("counters: "+text+"\n"))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// The metrics say whether nodes count together.
func TestCountersAreMeasured(t *testing.T) {
	addr := freeAddr(t)
	stop := redisAt(t, addr)
	t.Setenv("COUNTERS_PASSWORD", "sesame")
	s := newSite(t)
	s.limit(t, fmt.Sprintf("counters: {url: \"redis://%s\", password: env:COUNTERS_PASSWORD}", addr), "[{rate: 100/s, per: principal}]")
	p := s.start(t)
	defer p.stop()
	p.wait("limits are counted together")
	measure := func(want string) bool {
		res, err := http.Get("http://" + s.console + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return strings.Contains(string(b), want)
	}
	if !measure("sallyport_counters_shared 1") {
		t.Error("the metrics do not say that counters are shared")
	}
	stop()
	s.statuses(t, 40)
	p.wait("limits are counted on this node alone")
	if !measure("sallyport_counters_shared 0") || !measure("sallyport_counters_outages_total 1") {
		t.Error("the metrics do not say that sharing has ended")
	}
}

// The commands of the guide print what the guide says.
func TestLimitsGuideRunsAsWritten(t *testing.T) {
	sixteen := slots.New(16)
	sixteen.Reports = true
	up := httptest.NewServer(sixteen)
	t.Cleanup(up.Close)
	dir, gateway, console := t.TempDir(), freeAddr(t), freeAddr(t)
	places := strings.NewReplacer("127.0.0.1:8092", gateway, "127.0.0.1:9452", console, "http://127.0.0.1:9007", up.URL)
	b, err := os.ReadFile("../../examples/limits/sallyport.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "sallyport.yaml"), places.Replace(string(b)))
	p := (&site{dir: dir, gateway: gateway}).start(t)
	defer p.stop()
	defer func() {
		res, err := http.Get("http://" + console + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		if !strings.Contains(string(b), `sallyport_cost_cpu_seconds_total{source="reported"} `) || strings.Contains(string(b), `{source="reported"} 0
`) {
			t.Error("the metrics do not say what requests cost")
		}
	}()
	runGuide(t, "limits.md", dir, 9, places, "ask()", "times()")
}

func TestQuotasAreWrittenDown(t *testing.T) {
	for name, database := range map[string]string{"sqlite": "", "postgres": postgres.Database(t)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := store.Open(t.Context(), store.Options{Dir: dir, Key: make([]byte, 32), DatabaseURL: database, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			now := time.Now()
			l := limit.Limit{Count: 10, Every: &limit.Calendar{Monthly: true}}
			keys := []limit.Key{{Limit: "plan", Subject: "key:o'hara"}, {Limit: "plan", Addr: netip.MustParseAddr("2001:db8::")}, {Limit: "all"}}
			left := func(m *limit.Memory) (out []int) {
				for _, k := range keys {
					out = append(out, m.Look(k, l, now).Remaining)
				}
				return out
			}
			m := limit.NewMemory(0)
			book, err := openQuotas(t.Context(), s, dir, m)
			if err != nil {
				t.Fatal(err)
			}
			for i, k := range keys {
				for range i + 1 {
					m.Take(k, l, 1, now)
				}
			}
			for range 2 { // once more changes nothing
				if err := book.write(t.Context(), now); err != nil {
					t.Fatal(err)
				}
			}
			again := limit.NewMemory(0)
			if _, err := openQuotas(t.Context(), s, dir, again); err != nil || fmt.Sprint(left(again)) != "[9 8 7]" {
				t.Errorf("after a restart %v are left (%v), want [9 8 7]", left(again), err)
			}
			// Another node's counts are its own.
			other := limit.NewMemory(0)
			if _, err := openQuotas(t.Context(), s, t.TempDir(), other); err != nil || fmt.Sprint(left(other)) != "[10 10 10]" {
				t.Errorf("at another node %v are left (%v)", left(other), err)
			}
			// A month that is over is not kept.
			if err := book.write(t.Context(), now.AddDate(0, 2, 0)); err != nil {
				t.Fatal(err)
			}
			var n int
			if err := s.Reader().QueryRowContext(t.Context(), "SELECT count(*) FROM quota").Scan(&n); err != nil || n != 0 {
				t.Errorf("%d rows of a month that is over (%v)", n, err)
			}
		})
	}
}

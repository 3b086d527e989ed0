package gate_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/conformance/gate"
	"sallyport.dev/store"
	"sallyport.dev/test/integration/postgres"
)

func TestMain(m *testing.M) {
	code := m.Run()
	postgres.Stop()
	os.Exit(code)
}

// pools stands for the doors: instances with the start that answers at each.
type pools struct {
	mu    sync.Mutex
	list  map[string]*sallyport.Instance
	boots map[string]string
	log   []string
}

func newPools(urls ...string) *pools {
	p := &pools{list: map[string]*sallyport.Instance{}, boots: map[string]string{}}
	for _, u := range urls {
		p.list[u] = &sallyport.Instance{API: "shop", URL: u, Admission: sallyport.Held, Healthy: true}
		p.boots[u] = "1"
	}
	return p
}

func (p *pools) Instances() (out []sallyport.Instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, in := range p.list {
		out = append(out, *in)
	}
	return out
}

func (p *pools) Identify(_ context.Context, in sallyport.Instance) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.boots[in.URL] == "" {
		return "", errors.New("silent")
	}
	return p.boots[in.URL], nil
}

func (p *pools) set(in sallyport.Instance, a sallyport.Admission, reason string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.list[in.URL] == nil {
		return sallyport.Errorf(sallyport.NotFound, "no such instance")
	}
	p.list[in.URL].Admission, p.list[in.URL].Reason = a, reason
	if a == sallyport.Admitted {
		p.list[in.URL].Boot = in.Boot
	}
	p.log = append(p.log, in.URL+" "+string(a))
	return nil
}

func (p *pools) Admit(_ context.Context, in sallyport.Instance, reason string) error {
	return p.set(in, sallyport.Admitted, reason)
}

func (p *pools) Hold(_ context.Context, in sallyport.Instance, reason string) error {
	return p.set(in, in.Admission, reason)
}

func (p *pools) restart(url, boot string) { // as the door finds it
	p.mu.Lock()
	defer p.mu.Unlock()
	p.boots[url] = boot
	p.list[url].Admission = sallyport.Held
}

func (p *pools) is(t *testing.T, url string, want sallyport.Admission, reason string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		p.mu.Lock()
		in := *p.list[url]
		p.mu.Unlock()
		if in.Admission == want && strings.Contains(in.Reason, reason) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %s (%s), want %s (%s)", url, in.Admission, in.Reason, want, reason)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// tester passes what is not on its list, and counts.
type tester struct {
	mu     sync.Mutex
	bad    map[string]bool
	broken map[string]bool
	ran    []string
	hook   func(gate.Subject)
}

func (r *tester) Test(ctx context.Context, s gate.Subject) (gate.Outcome, error) {
	r.mu.Lock()
	r.ran = append(r.ran, s.Instance.URL+" "+string(s.Profile))
	bad, broken, hook := r.bad[s.Instance.URL], r.broken[s.Instance.URL], r.hook
	r.mu.Unlock()
	if hook != nil {
		hook(s)
	}
	switch {
	case ctx.Err() != nil:
		return gate.Outcome{}, ctx.Err()
	case broken:
		return gate.Outcome{}, errors.New("connection refused")
	case bad:
		return gate.Outcome{Summary: "1 of 40 checks failed: contract.status", Report: []byte(`{"findings":1}`)}, nil
	}
	return gate.Outcome{Passed: true, Summary: "40 checks", Report: []byte(`{}`)}, nil
}

func (r *tester) set(f func()) { r.mu.Lock(); f(); r.mu.Unlock() }

func (r *tester) count(what string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.ran {
		if strings.HasPrefix(s, what) {
			n++
		}
	}
	return n
}

func openStore(t *testing.T, dir, url string) *store.Store {
	t.Helper()
	key := filepath.Join(dir, "..", "key")
	if _, err := os.Stat(key); err != nil {
		b := make([]byte, store.KeySize)
		rand.Read(b)
		if err := os.WriteFile(key, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Options{Dir: dir, Key: b, DatabaseURL: url})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// clock is moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
}

func start(t *testing.T, s *store.Store, p *pools, r *tester, c *clock, failed func(gate.Verdict), a gate.API) (*gate.Gate, func()) {
	t.Helper()
	g, err := gate.Open(t.Context(), gate.Options{Doors: p, Test: r.Test, Store: s, Now: c.Now, Failed: failed})
	if err != nil {
		t.Fatal(err)
	}
	g.Configure([]gate.API{a})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return g, stop
}

func TestGate(t *testing.T) {
	for _, db := range []string{"sqlite", "postgres"} {
		t.Run(db, func(t *testing.T) {
			url := ""
			if db == "postgres" {
				url = postgres.Database(t)
			}
			s := openStore(t, filepath.Join(t.TempDir(), "data"), url)
			defer s.Close()
			p, r, c := newPools("http://a", "http://b"), &tester{bad: map[string]bool{"http://b": true}, broken: map[string]bool{}}, &clock{now: time.Now()}
			failed := make(chan gate.Verdict, 16)
			a := gate.API{Name: "shop", Every: time.Hour, Contract: "v1"}
			g, stop := start(t, s, p, r, c, func(v gate.Verdict) { failed <- v }, a)

			p.is(t, "http://a", sallyport.Admitted, "passed full")
			p.is(t, "http://b", sallyport.Quarantined, "contract.status")
			if v := <-failed; v.URL != "http://b" || v.Trigger != "new" || v.Boot != "1" {
				t.Errorf("told of %+v", v)
			}
			v, err := g.Verdicts(t.Context(), "shop", "http://b", 0, 10)
			if err != nil || len(v) != 1 || v[0].Passed || v[0].Report != nil {
				t.Fatalf("%+v %v", v, err)
			}
			if full, err := g.Verdict(t.Context(), v[0].ID); err != nil || string(full.Report) != `{"findings":1}` {
				t.Errorf("%s %v", full.Report, err)
			}
			if _, err := g.Verdict(t.Context(), "v0"); sallyport.KindOf(err) != sallyport.NotFound {
				t.Errorf("an unknown verdict: %v", err)
			}

			// It is mended and tested again after a while, not at once.
			r.set(func() { r.bad = map[string]bool{} })
			g.Nudge()
			c.add(time.Minute)
			g.Nudge()
			p.is(t, "http://b", sallyport.Admitted, "passed full")

			// A start that was not tested is held, and tested in full; one that changes during the test is tested again.
			var once sync.Once
			r.set(func() {
				r.hook = func(s gate.Subject) {
					once.Do(func() { p.mu.Lock(); p.boots[s.Instance.URL] = "3"; p.mu.Unlock() })
				}
			})
			p.restart("http://a", "2")
			g.Nudge()
			p.is(t, "http://a", sallyport.Quarantined, "started again while it was tested")
			c.add(time.Minute)
			g.Nudge()
			p.is(t, "http://a", sallyport.Admitted, "passed full")
			if p.list["http://a"].Boot != "3" {
				t.Errorf("admitted as start %q", p.list["http://a"].Boot)
			}

			// One that serves is tested again by the clock and by a changed contract, with the safe profile, and serves meanwhile.
			r.set(func() {
				r.hook = func(s gate.Subject) {
					for _, in := range p.Instances() {
						if in.URL == s.Instance.URL && in.Admission != sallyport.Admitted {
							t.Errorf("%s is %s while it is tested again", in.URL, in.Admission)
						}
					}
				}
			})
			before := r.count("http://a safe")
			c.add(2 * time.Hour)
			g.Nudge()
			waitFor(t, func() bool { return r.count("http://a safe") == before+1 && r.count("http://b safe") > 0 })
			a.Contract = "v2"
			g.Configure([]gate.API{a})
			waitFor(t, func() bool { return r.count("http://a safe") == before+2 })

			// What cannot be tested goes on serving, and does not begin to.
			r.set(func() { r.hook, r.broken = nil, map[string]bool{"http://a": true, "http://b": true} })
			if err := g.Retest("shop", "", "ann"); err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool { return r.count("http://a safe") == before+3 })
			p.is(t, "http://a", sallyport.Admitted, "")
			p.restart("http://b", "9")
			g.Nudge()
			p.is(t, "http://b", sallyport.Quarantined, "did not come to an end")
			r.set(func() { r.broken = map[string]bool{} })
			if err := g.Retest("shop", "http://b", "ann"); err != nil {
				t.Fatal(err)
			}
			p.is(t, "http://b", sallyport.Admitted, "passed full")
			if err := g.Retest("shop", "http://nobody", "ann"); sallyport.KindOf(err) != sallyport.NotFound {
				t.Errorf("a test of nobody: %v", err)
			}

			// By hand.
			if err := g.HoldByHand(t.Context(), "shop", "http://b", "ann: disk is odd"); err != nil {
				t.Fatal(err)
			}
			p.is(t, "http://b", sallyport.Held, "disk is odd")
			n := r.count("http://b")
			c.add(10 * time.Hour)
			g.Nudge()
			waitFor(t, func() bool { return r.count("http://a safe") == before+4 })
			if r.count("http://b") != n {
				t.Error("what is held by hand was tested")
			}

			// After our own restart: what was admitted, and answers as the same start, goes on at once; what was held stays held; one that was started meanwhile is tested.
			stop()
			p.mu.Lock()
			for _, in := range p.list {
				in.Admission = sallyport.Held
			}
			p.mu.Unlock()
			n = r.count("http://a")
			g, stop = start(t, s, p, r, c, nil, a)
			p.is(t, "http://a", sallyport.Admitted, "passed")
			if r.count("http://a") != n {
				t.Error("our own restart cost a test")
			}
			p.is(t, "http://b", sallyport.Held, "")
			if err := g.ReleaseByHand(t.Context(), "shop", "http://b", "ann"); err != nil {
				t.Fatal(err)
			}
			p.is(t, "http://b", sallyport.Admitted, "passed full")
			stop()
			p.mu.Lock()
			p.boots["http://a"] = "77"
			p.list["http://a"].Admission = sallyport.Held
			p.mu.Unlock()
			r.set(func() { r.bad = map[string]bool{"http://a": true} })
			_, stop = start(t, s, p, r, c, nil, a)
			p.is(t, "http://a", sallyport.Quarantined, "failed full")
			stop()
		})
	}
}

// The last one that serves goes on where that was asked for, and not otherwise.
func TestLastGood(t *testing.T) {
	for _, last := range []bool{true, false} {
		t.Run(fmt.Sprint(last), func(t *testing.T) {
			s := openStore(t, filepath.Join(t.TempDir(), "data"), "")
			defer s.Close()
			p, r, c := newPools("http://a", "http://b"), &tester{bad: map[string]bool{}, broken: map[string]bool{}}, &clock{now: time.Now()}
			g, stop := start(t, s, p, r, c, nil, gate.API{Name: "shop", LastGood: last, Contract: "v1"})
			defer stop()
			p.is(t, "http://a", sallyport.Admitted, "")
			p.is(t, "http://b", sallyport.Admitted, "")
			r.set(func() { r.bad = map[string]bool{"http://a": true, "http://b": true} })
			if err := g.Retest("shop", "http://a", "ann"); err != nil {
				t.Fatal(err)
			}
			p.is(t, "http://a", sallyport.Quarantined, "failed safe")
			if err := g.Retest("shop", "http://b", "ann"); err != nil {
				t.Fatal(err)
			}
			if last {
				p.is(t, "http://b", sallyport.Admitted, "serves on, for no other")
			} else {
				p.is(t, "http://b", sallyport.Quarantined, "failed safe")
			}
		})
	}
}

// Two processes on one database: each instance is tested by one of them.
func TestTwoGatesOneTest(t *testing.T) {
	url := postgres.Database(t)
	r, c := &tester{bad: map[string]bool{}, broken: map[string]bool{}}, &clock{now: time.Now()}
	var mu sync.Mutex
	now, most := 0, 0
	r.hook = func(gate.Subject) {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		time.Sleep(300 * time.Millisecond)
		mu.Lock()
		now--
		mu.Unlock()
	}
	var ps []*pools
	for range 2 {
		s := openStore(t, filepath.Join(t.TempDir(), "data"), url)
		defer s.Close()
		p := newPools("http://a")
		ps = append(ps, p)
		_, stop := start(t, s, p, r, c, nil, gate.API{Name: "shop", Contract: "v1"})
		defer stop()
	}
	for _, p := range ps {
		p.is(t, "http://a", sallyport.Admitted, "")
	}
	if most != 1 {
		t.Errorf("%d tests of one instance at once", most)
	}
}

func waitFor(t *testing.T, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to that")
		}
	}
}

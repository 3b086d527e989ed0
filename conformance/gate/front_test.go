package gate_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/conformance/gate"
	"sallyport.dev/store"
	"sallyport.dev/test/integration/postgres"
)

// IdentifyOutside makes pools what a front wants.
func (p *pools) IdentifyOutside(ctx context.Context, in sallyport.Instance) (string, error) {
	return p.Identify(ctx, in)
}

// proxy stands for a product of others: what it sends requests to.
type proxy struct {
	mu    sync.Mutex
	open  map[string]bool
	known []string // what its own configuration has
	fails error
	words int
}

func (x *proxy) Name() string { return "proxy" }

func instanceAt(url string, a sallyport.Admission) sallyport.Instance {
	return sallyport.Instance{API: "shop", URL: url, Address: netip.MustParseAddrPort(strings.TrimPrefix(url, "http://")), Admission: a}
}

func (x *proxy) Instances(context.Context) (out []sallyport.Instance, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, u := range x.known {
		out = append(out, instanceAt(u, sallyport.Held))
	}
	return out, x.fails
}

func (x *proxy) Apply(_ context.Context, list []sallyport.Instance) ([]sallyport.Instance, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.words++
	named := map[string]bool{}
	var out []sallyport.Instance
	for _, in := range list {
		named[in.URL] = true
		if in.Admission != "" {
			x.open[in.URL] = in.Admission == sallyport.Admitted
		}
	}
	for u := range x.open {
		x.open[u] = x.open[u] && named[u]
		a := sallyport.Held
		if x.open[u] {
			a = sallyport.Admitted
		}
		out = append(out, instanceAt(u, a))
	}
	return out, nil
}

func (x *proxy) is(t *testing.T, want ...string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		var got []string
		x.mu.Lock()
		for u, open := range x.open {
			if open {
				got = append(got, u)
			}
		}
		x.mu.Unlock()
		if slices.Sort(got); slices.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it sends requests to %v, want %v", got, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func fronted(t *testing.T, p *pools, x *proxy) *gate.Front {
	t.Helper()
	f := gate.NewFront(gate.FrontOptions{Own: p, Every: 20 * time.Millisecond})
	f.Configure([]gate.DoorsOf{{API: "shop", Doors: []gate.Door{x}, Watch: 30 * time.Millisecond}})
	return f
}

// run starts a gate behind a front until the test or stop ends it.
func runFront(t *testing.T, f *gate.Front, st *store.Store, test gate.Tester) (*gate.Gate, func()) {
	t.Helper()
	g, err := gate.Open(t.Context(), gate.Options{Doors: f, Test: test, Store: st})
	if err != nil {
		t.Fatal(err)
	}
	g.Configure([]gate.API{{Name: "shop", Contract: "1", Every: time.Hour}})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { g.Run(ctx) })
	wg.Go(func() { f.Run(ctx) })
	stop := func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return g, stop
}

func openedStore(t *testing.T, url string) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), store.Options{Dir: t.TempDir(), Key: make([]byte, 32), DatabaseURL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

func TestDoorsOfOthersFollowTheGate(t *testing.T) {
	a, b, c := "http://10.0.0.1:80", "http://10.0.0.2:80", "http://10.0.0.3:80"
	p, x := newPools(a, b), &proxy{open: map[string]bool{a: true, b: true, c: true}, known: []string{a, c}}
	p.boots[c] = "1"
	r := &tester{bad: map[string]bool{b: true}}
	st := openedStore(t, "")
	f := fronted(t, p, x)
	g, stop := runFront(t, f, st, r.Test)
	x.is(t, a, c) // what nobody had tested was shut first, and c is known by the proxy alone
	if n := r.count(c); n != 1 {
		t.Errorf("%d tests of what the proxy alone has", n)
	}
	// Started again: held before anybody else notices, tested, open again.
	r.set(func() { r.bad[c] = true })
	p.mu.Lock()
	p.boots[c] = "2"
	p.mu.Unlock()
	x.is(t, a)
	// A start that is whole again is tested at once.
	r.set(func() { r.bad[c] = false })
	p.mu.Lock()
	p.boots[c] = "3"
	p.mu.Unlock()
	x.is(t, a, c)
	// It says nothing for a while: three questions.
	p.mu.Lock()
	p.boots[c] = ""
	p.mu.Unlock()
	x.is(t, a)
	p.mu.Lock()
	p.boots[c] = "3"
	p.mu.Unlock()
	x.is(t, a, c)
	// The product forgets: put right.
	x.mu.Lock()
	x.open[b], x.open[a] = true, false
	x.mu.Unlock()
	x.is(t, a, c)
	// What it answers cannot be read: nothing is said, and everybody sees why.
	x.mu.Lock()
	x.fails = errors.New("gibberish")
	words := x.words
	x.mu.Unlock()
	deadline := time.Now().Add(5 * time.Second)
	for {
		if places := f.Places(instanceAt(a, "")); len(places) == 1 && strings.Contains(places[0].Error, "gibberish") {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("%+v", places)
		}
		time.Sleep(5 * time.Millisecond)
	}
	x.mu.Lock()
	if x.words > words+1 {
		t.Errorf("%d words after it could not be read", x.words-words)
	}
	x.fails = nil
	x.mu.Unlock()
	if err := g.HoldByHand(t.Context(), "shop", a, "me"); err != nil {
		t.Fatal(err)
	}
	x.is(t, c)
	stop()

	// We are away; c is another start meanwhile. Back again, a stays shut, by hand,
	// and c is shut before it was tested.
	x.mu.Lock()
	x.open[a] = false
	x.mu.Unlock()
	p = newPools(a, b)
	p.boots[c] = "4"
	var shutFirst bool
	r.set(func() {
		r.ran = nil
		r.hook = func(s gate.Subject) {
			x.mu.Lock()
			shutFirst = !x.open[s.Instance.URL]
			x.mu.Unlock()
		}
	})
	_, stop = runFront(t, fronted(t, p, x), st, r.Test)
	for r.count(c) == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	x.is(t, c)
	if !shutFirst {
		t.Error("it was open while it was tested")
	}
	stop()

	// Nothing has changed while we were away: the door never closes.
	p = newPools(a, b)
	p.boots[c] = "4"
	r.set(func() { r.ran = nil })
	closed := false
	y := &watched{proxy: x, seen: func() { closed = closed || !x.open[c] }}
	f = gate.NewFront(gate.FrontOptions{Own: p, Every: 10 * time.Millisecond})
	f.Configure([]gate.DoorsOf{{API: "shop", Doors: []gate.Door{y}, Watch: 30 * time.Millisecond}})
	_, stop = runFront(t, f, st, r.Test)
	time.Sleep(300 * time.Millisecond)
	x.is(t, c)
	stop()
	if closed || r.count(c) != 0 {
		t.Errorf("closed %v, %d tests of what was admitted and is the same start", closed, r.count(c))
	}
}

type watched struct {
	*proxy
	seen func()
}

func (w *watched) Apply(ctx context.Context, list []sallyport.Instance) ([]sallyport.Instance, error) {
	out, err := w.proxy.Apply(ctx, list)
	w.mu.Lock()
	w.seen()
	w.mu.Unlock()
	return out, err
}

// Of two nodes on one database one tells the doors; when it is gone the other does.
func TestOneNodeTellsTheDoors(t *testing.T) {
	url := postgres.Database(t)
	a := "http://10.0.0.1:80"
	var doors []*proxy
	var stops []func()
	r := &tester{}
	for range 2 {
		p, x := newPools(a), &proxy{open: map[string]bool{}}
		_, stop := runFront(t, fronted(t, p, x), openedStore(t, url), r.Test)
		doors, stops = append(doors, x), append(stops, stop)
	}
	words := func(i int) int { doors[i].mu.Lock(); defer doors[i].mu.Unlock(); return doors[i].words }
	deadline := time.Now().Add(10 * time.Second)
	for words(0)+words(1) < 5 {
		if time.Now().After(deadline) {
			t.Fatal("nobody tells the doors")
		}
		time.Sleep(5 * time.Millisecond)
	}
	first := 0
	if words(1) > words(0) {
		first = 1
	}
	if words(1-first) != 0 {
		t.Errorf("both tell: %d %d", words(0), words(1))
	}
	doors[first].is(t, a)
	stops[first]()
	for deadline = time.Now().Add(15 * time.Second); words(1-first) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody took over")
		}
	}
	doors[1-first].is(t, a)
}

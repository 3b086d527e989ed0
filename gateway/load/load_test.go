package load_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/gateway/load"
)

// slots is an upstream that works on so many requests at once, each for its own
// time; the others wait there in turn.
type slots struct {
	free chan struct{}
	busy atomic.Int64
	n    int
}

func newSlots(n int) *slots { return &slots{free: make(chan struct{}, n), n: n} }

func (s *slots) serve(d time.Duration) {
	s.free <- struct{}{}
	s.busy.Add(1)
	time.Sleep(d)
	s.busy.Add(-1)
	<-s.free
}

// source is a client that asks at a rate, at random moments, whether answered or not.
type source struct {
	name   string
	anon   bool
	op     string
	rate   float64
	time   time.Duration // of service
	varies bool          // exponentially
	scope  string

	mu      sync.Mutex
	served  []time.Duration
	at      []time.Duration // when each of those was asked for
	refused map[string]int
	first   time.Duration // of the first refusal
	late    int           // refusals after five seconds
}

// run has all sources ask through g for d; with reports, the upstream says what
// each request cost and how busy it is.
func run(g *load.Gate, up *slots, d time.Duration, reports bool, sources ...*source) {
	began := time.Now()
	var all sync.WaitGroup
	for i, s := range sources {
		rnd := rand.New(rand.NewPCG(uint64(i), 7))
		s.refused = map[string]int{}
		all.Go(func() {
			for {
				time.Sleep(time.Duration(rnd.ExpFloat64() / s.rate * float64(time.Second)))
				if time.Since(began) > d {
					return
				}
				work := s.time
				if s.varies {
					work = time.Duration(rnd.ExpFloat64() * float64(work))
				}
				all.Go(func() { s.ask(g, up, began, work, reports) })
			}
		})
	}
	all.Wait()
}

func (s *source) ask(g *load.Gate, up *slots, began time.Time, work time.Duration, reports bool) {
	asked := time.Now()
	a := &load.Ask{Operation: s.op, Caller: load.Caller{Name: s.name}, Scopes: []string{s.scope}}
	if s.anon {
		a.Caller = load.Caller{Addr: addr(s.name)}
	}
	t, r := g.Enter(context.Background(), a)
	if r != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.refused[r.Rule]++
		if s.first == 0 {
			s.first = asked.Sub(began)
		}
		if asked.Sub(began) > 5*time.Second {
			s.late++
		}
		return
	}
	sent := time.Now()
	up.serve(work)
	took := time.Since(sent)
	cpu := took // the time that a slot was held
	if reports {
		g.Report(float64(up.busy.Load()+1)/float64(up.n), 0)
		cpu = work
	}
	t.Done(load.Sample{RTT: took, Slot: took, CPU: cpu})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served, s.at = append(s.served, time.Since(asked)), append(s.at, asked.Sub(began))
}

// quantile is of the requests asked for from one time to another.
func quantile(q float64, from, to time.Duration, sources ...*source) time.Duration {
	var all []time.Duration
	for _, s := range sources {
		for i, d := range s.served {
			if s.at[i] >= from && s.at[i] < to {
				all = append(all, d)
			}
		}
	}
	slices.Sort(all)
	if len(all) == 0 {
		return 0
	}
	return all[min(len(all)-1, int(math.Ceil(q*float64(len(all)))))]
}

// TestOverload offers five times what the upstream can do.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, service, span = 10, 50 * time.Millisecond, 60 * time.Second
		capacity := float64(n) / service.Seconds()
		g := load.New(nil)
		g.Set(load.Settings{Adaptive: true, Classes: []load.Class{{Name: "gold", Floor: .4, Scopes: []string{"gold"}}}})
		up := newSlots(n)
		gold := &source{name: "gold", scope: "gold", op: "GET /a", rate: capacity * .2, time: service}
		all := []*source{gold}
		for i := range 20 {
			all = append(all, &source{name: fmt.Sprint("c", i), op: "GET /a", rate: capacity * 4.8 / 20, time: service})
		}
		run(g, up, span, false, all...)
		served, rest := 0, math.MaxInt
		for _, s := range all {
			served += len(s.served)
			if s != gold {
				rest = min(rest, len(s.served))
			}
		}
		st := g.State()
		t.Logf("goodput %.1f %% of capacity; limit %.0f; gold %d served %v refused, p99 %v; others p99 %v, least served %d",
			100*float64(served)/(capacity*span.Seconds()), st.Limit, len(gold.served), gold.refused, quantile(.99, 5*time.Second, span, gold), quantile(.99, 0, span, all[1:]...), rest)
		if float64(served) < .9*capacity*span.Seconds() {
			t.Errorf("goodput: %d of %.0f", served, capacity*span.Seconds())
		}
		if len(gold.refused) > 0 || quantile(.99, 5*time.Second, span, gold) > 4*service {
			t.Errorf("gold: refused %v, p99 %v", gold.refused, quantile(.99, 5*time.Second, span, gold))
		}
		if fair := (capacity - gold.rate) * span.Seconds() / 20; float64(rest) < fair/2 {
			t.Errorf("a caller was served %d times; an equal share is %.0f", rest, fair)
		}
	})
}

// TestHealthy asks an upstream that has room to spare, whose times vary as those
// of real ones do: nobody is turned away or made to wait for long.
func TestHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := load.New(nil)
		g.Set(load.Settings{Adaptive: true})
		var all []*source
		for i := range 10 {
			all = append(all, &source{name: fmt.Sprint("f", i), op: "GET /fast", rate: 40, time: 20 * time.Millisecond, varies: true},
				&source{name: fmt.Sprint("s", i), op: "GET /slow", rate: 5, time: 600 * time.Millisecond, varies: true})
		}
		run(g, newSlots(1000), 60*time.Second, false, all...)
		served, late, refused := 0, 0, map[string]int{}
		for _, s := range all {
			served += len(s.served)
			late += s.late
			for rule, n := range s.refused {
				refused[rule] += n
			}
		}
		st := g.State()
		t.Logf("%d served, refused %v; limit %.0f, waited %d", served, refused, st.Limit, st.Classes[0].Waited)
		if late*100 > served { // it begins with half of the places that it takes
			t.Errorf("%d of %d refused after the first five seconds", late, served)
		}
	})
}

// TestOneDominant has one client ask for nearly all, and more than there is: it
// gets nearly all, and the small ones don't wait for it.
func TestOneDominant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, service, span = 20, 50 * time.Millisecond, 60 * time.Second
		capacity := float64(n) / service.Seconds()
		g := load.New(nil)
		g.Set(load.Settings{Adaptive: true})
		big := &source{name: "big", op: "GET /a", rate: 1.5 * capacity, time: service}
		all := []*source{big}
		for i := range 4 {
			all = append(all, &source{name: fmt.Sprint("c", i), op: "GET /a", rate: capacity * .01, time: service})
		}
		run(g, newSlots(n), span, false, all...)
		served, refused := 0, 0
		for _, s := range all {
			served += len(s.served)
			if s != big {
				refused += s.late
			}
		}
		st := g.State()
		t.Logf("goodput %.1f %% of capacity; limit %.0f cap %.1f; big refused %v; others refused %d, p99 %v",
			100*float64(served)/(capacity*span.Seconds()), st.Limit, st.Cap, big.refused, refused, quantile(.99, 5*time.Second, time.Hour, all[1:]...))
		if float64(served) < .8*capacity*span.Seconds() {
			t.Errorf("goodput: %d of %.0f", served, capacity*span.Seconds())
		}
		if refused > 0 {
			t.Errorf("%d requests of small clients were refused", refused)
		}
	})
}

// TestOneCostly has one client come whose requests hold a slot fifty times as
// long as the others'; they are told apart neither by operation nor by rate.
func TestOneCostly(t *testing.T) {
	for _, reports := range []bool{true, false} {
		t.Run(fmt.Sprint("reports=", reports), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n, clients, rate, service = 16, 20, 6.0, 50 * time.Millisecond
				s := load.Settings{Adaptive: true}
				if reports {
					s.CPU = .8
				}
				g := load.New(nil)
				g.Set(s)
				up := newSlots(n)
				others := func() (all []*source) {
					for i := range clients {
						all = append(all, &source{name: fmt.Sprint("c", i), op: "GET /a", rate: rate, time: service})
					}
					return all
				}
				calm := others()
				run(g, up, 20*time.Second, reports, calm...)
				heavy := &source{name: "heavy", op: "GET /a", rate: rate, time: 50 * service}
				now := others()
				run(g, up, 65*time.Second, reports, append(now, heavy)...)
				before, after := quantile(.99, 0, time.Hour, calm...), quantile(.99, 5*time.Second, time.Hour, now...)
				refused, rules := 0, map[string]int{}
				for _, o := range now {
					refused += o.late
					for rule, n := range o.refused {
						rules[rule] += n
					}
				}
				st := g.State()
				t.Logf("limited after %v; refused %v, served %d; others p99 %v, calm %v: %.2f; others refused %v; limit %.0f cap %.1f cut %.2f",
					heavy.first, heavy.refused, len(heavy.served), after, before, float64(after)/float64(before), rules, st.Limit, st.Cap, st.Cut)
				if heavy.first == 0 || heavy.first > 5*time.Second {
					t.Errorf("limited after %v", heavy.first)
				}
				if float64(after) > 1.1*float64(before) {
					t.Errorf("others: p99 %v, calm %v", after, before)
				}
				if refused > 0 {
					t.Errorf("%d requests of others were refused after the first five seconds", refused)
				}
				if len(heavy.served) == 0 {
					t.Error("the costly client was shut out")
				}
			})
		})
	}
}

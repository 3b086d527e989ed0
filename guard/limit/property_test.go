package limit_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
	"sallyport.dev/guard/limit"
)

// Whatever eight goroutines ask at whatever times, those that pass, put in the
// order of their times, pass an exact bucket of tokens too: nobody is let
// through too many, not one.
func TestEightGoroutinesNeverPassTooMany(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := limit.Limit{
			Count:  rapid.IntRange(1, 5_000_000).Draw(t, "count"),
			Window: time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(time.Minute)).Draw(t, "window")),
			Burst:  rapid.IntRange(0, 100).Draw(t, "burst"),
		}
		seed := rapid.Uint64().Draw(t, "seed")
		m := limit.NewMemory(0)
		var clock atomic.Int64
		var mu sync.Mutex
		var passed []int64
		var wg sync.WaitGroup
		each := max(1, int64(l.Window)/int64(l.Count))
		for g := range 8 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(g)))
				for range 60 {
					at := clock.Add(r.Int64N(2 * each))
					if ok, wait := m.Take(limit.Key{Limit: "l"}, l, 1, start.Add(time.Duration(at))); ok {
						mu.Lock()
						passed = append(passed, at)
						mu.Unlock()
					} else if wait <= 0 {
						t.Errorf("refused without a wait")
					}
				}
			})
		}
		wg.Wait()
		slices.Sort(passed)
		// The oracle counts in parts of a nanosecond: credit × Count, so that nothing is rounded.
		capacity := float64(l.Capacity()) * float64(l.Window)
		credit, last := capacity, int64(0)
		for i, at := range passed {
			credit = min(capacity, credit+float64(at-last)*float64(l.Count))
			last = at
			if credit -= float64(l.Window); credit < -capacity*1e-12 {
				t.Fatalf("%+v: number %d at %d is too many", l, i+1, at)
			}
		}
	})
}

// account is the oracle of cost: what may be spent, what is held, in whole
// nanoseconds of credit that may become debt.
type account struct {
	*bucket
	held, debt int64
}

func (a *account) tick(now time.Time) {
	a.credit = min(a.capacity, a.credit+int64(now.Sub(a.last)))
	a.last = now
}

func (a *account) hold(n int, now time.Time) bool {
	a.tick(now)
	if a.credit < a.interval*(a.held+int64(n)) {
		return false
	}
	a.held += int64(n)
	return true
}

func (a *account) settle(n, cost int, now time.Time) {
	a.tick(now)
	a.held = max(0, a.held-int64(n))
	if cost > 0 {
		a.credit = min(a.credit, max(a.credit-a.interval*int64(cost), -a.debt))
	}
}

func TestHoldAndSettleAgreeWithAnAccount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := limit.Limit{
			Count:  rapid.IntRange(1, 1000).Draw(t, "count"),
			Window: time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(time.Hour)).Draw(t, "window")),
			Burst:  rapid.IntRange(1, 200).Draw(t, "burst"),
		}
		m, k, now := limit.NewMemory(0), limit.Key{Limit: "l"}, start
		a := &account{bucket: newBucket(l)}
		a.debt = max(int64(l.Window), a.capacity)
		var open []int
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(l.Window)/3+1).Draw(t, "pause")))
			if len(open) > 0 && rapid.Bool().Draw(t, "settle") {
				n, cost := open[0], rapid.IntRange(0, 3*l.Burst).Draw(t, "cost")
				open = open[1:]
				m.Settle(k, l, n, cost, now)
				a.settle(n, cost, now)
				continue
			}
			n := rapid.IntRange(1, l.Burst).Draw(t, "n")
			ok, wait := m.Hold(k, l, n, now)
			if want := a.hold(n, now); ok != want || ok != (wait == 0) {
				t.Fatalf("hold %d of %+v with %d held: %t (wait %s), want %t", n, l, a.held, ok, wait, want)
			}
			if ok {
				open = append(open, n)
			}
			if st := m.Look(k, l, now); int64(st.Held) != a.held || int64(st.Remaining) != max(0, max(0, a.credit)/a.interval-a.held) {
				t.Fatalf("looks like %+v, want %d held of a credit of %d", st, a.held, a.credit/a.interval)
			}
		}
	})
}

// At once in flight are never more than the limit, and all are given back.
func TestConcurrencyUnderEightGoroutines(t *testing.T) {
	m, l, k := limit.NewMemory(0), limit.Limit{Count: 5}, limit.Key{Limit: "slots"}
	var in, most atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5000 {
				if ok, _ := m.Hold(k, l, 1, start); ok {
					n := in.Add(1)
					for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
					}
					in.Add(-1)
					m.Settle(k, l, 1, 0, start)
				}
			}
		})
	}
	wg.Wait()
	if most.Load() > 5 || m.Len() != 0 {
		t.Errorf("%d in flight of 5, %d keys left over", most.Load(), m.Len())
	}
}

func TestQuotasAreExact(t *testing.T) {
	c := &limit.Calendar{Monthly: true}
	m, l, k := limit.NewMemory(0), limit.Limit{Count: 1000, Every: c}, limit.Key{Limit: "plan", Subject: "a"}
	at := time.Date(2027, 1, 31, 23, 59, 59, 0, time.UTC)
	for month, want := range []int64{1000, 1000} {
		var passed atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 300 {
					if ok, _ := m.Take(k, l, 1, at.Add(time.Duration(month)*time.Second)); ok {
						passed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if passed.Load() != want {
			t.Errorf("month %d: %d passed, want %d", month, passed.Load(), want)
		}
	}
	// What was taken is taken over, and nothing of a month that is over.
	now := at.Add(time.Second)
	used := m.Quotas(now)
	other := limit.NewMemory(0)
	other.Restore(used, now)
	if ok, wait := other.Take(k, l, 1, now); ok || wait <= 0 {
		t.Errorf("after a restart the quota is whole again: %+v", used)
	}
	other = limit.NewMemory(0)
	other.Restore(used, now.AddDate(0, 1, 0))
	if ok, _ := other.Take(k, l, 1, now.AddDate(0, 1, 0)); !ok || len(used) != 1 {
		t.Errorf("the quota of a month that is over was taken over: %+v", used)
	}
}

func TestForecastLearnsAndForgets(t *testing.T) {
	f, k := limit.NewForecast(64), limit.Key{Limit: "op", Subject: "a"}
	if _, known := f.Expect(k); known {
		t.Error("knows what it never saw")
	}
	f.Learn(k, 80)
	if n, _ := f.Expect(k); n != 80 {
		t.Errorf("after one of 80: %d", n)
	}
	for range 60 {
		f.Learn(k, 8000)
	}
	if n, _ := f.Expect(k); math.Abs(float64(n)-8000) > 80 {
		t.Errorf("after sixty of 8000: %d", n)
	}
	for i := range 10_000 {
		f.Learn(limit.Key{Limit: "op", Subject: fmt.Sprint(i)}, 1)
	}
	if n := f.Len(); n > 64 {
		t.Errorf("holds %d keys, want at most 64", n)
	}
}

func TestTalliesCoverAnHour(t *testing.T) {
	var tallies limit.Tallies
	for i := range 90 {
		tallies.Add("l", start.Add(time.Duration(i)*time.Minute))
	}
	if n := tallies.Hour("l", start.Add(89*time.Minute)); n != 60 {
		t.Errorf("%d in the last hour, want 60", n)
	}
	if n := tallies.Hour("l", start.Add(4*time.Hour)); n != 0 {
		t.Errorf("%d after four hours of silence", n)
	}
	tallies.Keep(func(string) bool { return false })
	if n := tallies.Hour("l", start.Add(89*time.Minute)); n != 0 {
		t.Errorf("%d of a limit that is no more", n)
	}
}

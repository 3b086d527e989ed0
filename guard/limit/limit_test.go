package limit_test

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
	"sallyport.dev/guard/limit"
)

var start = time.Unix(1_800_000_000, 0)

// bucket is the oracle: a bucket of Burst tokens, one token each interval,
// counted in whole nanoseconds of credit.
type bucket struct {
	credit, capacity, interval int64
	last                       time.Time
}

func newBucket(l limit.Limit) *bucket {
	interval := (int64(l.Window) + int64(l.Count) - 1) / int64(l.Count)
	burst := l.Burst
	if burst == 0 {
		burst = l.Count
	}
	return &bucket{credit: interval * int64(burst), capacity: interval * int64(burst), interval: interval, last: start}
}

func (b *bucket) take(n int, now time.Time) (bool, time.Duration) {
	b.credit = min(b.capacity, b.credit+int64(now.Sub(b.last)))
	b.last = now
	need := b.interval * int64(max(n, 1))
	if b.credit < need {
		return false, time.Duration(need - b.credit)
	}
	b.credit -= b.interval * int64(n)
	return true, 0
}

func TestMemoryAgreesWithABucketOfTokens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := limit.Limit{
			Count:  rapid.IntRange(1, 1000).Draw(t, "count"),
			Window: time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(time.Hour)).Draw(t, "window")),
			Burst:  rapid.IntRange(0, 50).Draw(t, "burst"),
		}
		m := limit.NewMemory(0)
		oracle := [3]*bucket{newBucket(l), newBucket(l), newBucket(l)}
		now := start
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(l.Window)/2+1).Draw(t, "pause")))
			who := rapid.IntRange(0, 2).Draw(t, "who")
			n := rapid.IntRange(0, 3).Draw(t, "n")
			ok, wait := m.Take(limit.Key{Limit: "l", Subject: fmt.Sprint(who)}, l, n, now)
			wantOK, wantWait := oracle[who].take(n, now)
			if ok != wantOK || wait != wantWait {
				t.Fatalf("take %d of %+v: got %v %v, want %v %v", n, l, ok, wait, wantOK, wantWait)
			}
		}
	})
}

func TestWaitIsExact(t *testing.T) {
	m, l := limit.NewMemory(0), limit.Limit{Count: 3, Window: time.Minute}
	k := limit.Key{Limit: "l"}
	for i := range 3 {
		if ok, _ := m.Take(k, l, 1, start); !ok {
			t.Fatalf("number %d of a burst of 3 was refused", i+1)
		}
	}
	ok, wait := m.Take(k, l, 1, start)
	if ok || wait != 20*time.Second {
		t.Fatalf("the fourth at once: got %v, wait %v; want refused, wait 20s", ok, wait)
	}
	if ok, _ := m.Take(k, l, 1, start.Add(wait-1)); ok {
		t.Error("allowed a nanosecond before the wait was over")
	}
	if ok, _ := m.Take(k, l, 1, start.Add(wait)); !ok {
		t.Error("refused when the wait was over")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	const most = 6400
	m, l := limit.NewMemory(most), limit.Limit{Count: 2, Window: time.Minute}
	for i := range 50_000 {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		m.Take(limit.Key{Limit: "l", Addr: a}, l, 1, start.Add(time.Duration(i)*time.Microsecond))
	}
	if n := m.Len(); n > most {
		t.Errorf("holds %d keys, want at most %d", n, most)
	}
	if m.Evicted() == 0 {
		t.Error("50,000 keys in debt fitted into 6,400 without one given up")
	}
	// Once their budgets are full again, keys go without being counted as given up.
	before := m.Evicted()
	for i := range 20_000 {
		m.Take(limit.Key{Limit: "l", Subject: fmt.Sprint(i)}, limit.Limit{Count: 1e6, Window: time.Second}, 1, start.Add(time.Hour+time.Duration(i)*time.Millisecond))
	}
	if m.Evicted() != before {
		t.Errorf("%d keys were given up although others were full again", m.Evicted()-before)
	}
}

func TestConcurrentTakesNeverExceedTheLimit(t *testing.T) {
	m, l := limit.NewMemory(0), limit.Limit{Count: 100, Window: time.Hour}
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if ok, _ := m.Take(limit.Key{Limit: "l", Subject: "s"}, l, 1, start); ok {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if passed.Load() != 100 {
		t.Errorf("%d passed at one instant, want 100", passed.Load())
	}
}

func TestExtremeLimitsDoNotOverflow(t *testing.T) {
	m := limit.NewMemory(0)
	for _, l := range []limit.Limit{{Count: 1, Window: 1 << 62}, {Count: 1 << 31, Window: 1}, {Count: 1, Window: 1 << 61, Burst: 1 << 31}, {}} {
		if ok, _ := m.Take(limit.Key{Limit: fmt.Sprint(l)}, l, 1, start); !ok && l.Window < 1<<60 {
			t.Errorf("%+v refuses the first", l)
		}
		if ok, wait := m.Take(limit.Key{Limit: fmt.Sprint(l)}, l, 1<<31, start); !ok && wait <= 0 {
			t.Errorf("%+v refuses without a wait", l)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	m, l := limit.NewMemory(0), limit.Limit{Count: 1e9, Window: time.Second}
	k := limit.Key{Limit: "payments limits[0]", Addr: netip.MustParseAddr("192.0.2.7")}
	b.ReportAllocs()
	for b.Loop() {
		m.Take(k, l, 1, start)
	}
}

package limit

import (
	"sync"
	"sync/atomic"
	"time"
)

// Tallies count, per limit, how often it turned somebody away in the last
// hour, by minutes. The zero value is ready; it is safe for concurrent use.
type Tallies struct{ by sync.Map } // name → *tally

type tally struct {
	minute [60]struct{ at, n atomic.Int64 }
}

// Add counts once for the limit of that name.
func (t *Tallies) Add(name string, now time.Time) {
	v, ok := t.by.Load(name)
	if !ok {
		v, _ = t.by.LoadOrStore(name, new(tally))
	}
	at := now.Unix() / 60
	m := &v.(*tally).minute[at%60]
	if old := m.at.Load(); old != at && m.at.CompareAndSwap(old, at) {
		m.n.Store(0)
	}
	m.n.Add(1)
}

// Hour is how often the limit of that name turned somebody away in the hour
// before now.
func (t *Tallies) Hour(name string, now time.Time) int64 {
	v, ok := t.by.Load(name)
	if !ok {
		return 0
	}
	at, n := now.Unix()/60, int64(0)
	for i := range v.(*tally).minute {
		if m := &v.(*tally).minute[i]; m.at.Load() > at-60 {
			n += m.n.Load()
		}
	}
	return n
}

// Keep forgets the limits that f does not want.
func (t *Tallies) Keep(f func(name string) bool) {
	t.by.Range(func(k, _ any) bool {
		if !f(k.(string)) {
			t.by.Delete(k)
		}
		return true
	})
}

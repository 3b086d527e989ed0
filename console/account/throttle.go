package account

import (
	"net/netip"
	"sync"
	"time"
)

// A throttle spaces attempts by key: burst at once, then one per interval
// (GCRA). It forgets keys that have recovered and holds a bounded number.
type throttle struct {
	interval time.Duration
	burst    int
	keys     int

	mu   sync.Mutex
	next map[string]time.Time // theoretical arrival
	told map[string]time.Time // until when a refusal has been reported
}

func newThrottle(burst int, interval time.Duration) *throttle {
	return &throttle{interval: interval, burst: burst, keys: 1 << 16, next: map[string]time.Time{}, told: map[string]time.Time{}}
}

// take counts an attempt of key. When it comes too early, wait says for how
// long, and fresh whether this is news since the key last got through.
func (t *throttle) take(key string, now time.Time) (wait time.Duration, fresh bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, known := t.next[key]
	if !known && len(t.next) >= t.keys {
		for k, v := range t.next {
			if v.Before(now) {
				delete(t.next, k)
				delete(t.told, k)
			}
		}
		if len(t.next) >= t.keys {
			key = "" // everyone new shares one place until some have recovered
			at = t.next[key]
		}
	}
	if at.Before(now) {
		at = now
	}
	if early := at.Sub(now) - time.Duration(t.burst-1)*t.interval; early > 0 {
		fresh = !t.told[key].After(now)
		if fresh {
			t.told[key] = now.Add(time.Minute)
		}
		return early, fresh
	}
	t.next[key] = at.Add(t.interval)
	return 0, false
}

// forget gives key its burst back.
func (t *throttle) forget(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.next, key)
	delete(t.told, key)
}

// network is what an attempt is counted under: the address, or the /64 of it.
func network(a netip.Addr) string {
	a = a.Unmap()
	if a.Is6() {
		p, _ := a.WithZone("").Prefix(64)
		return p.String()
	}
	return a.String()
}

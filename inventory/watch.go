package inventory

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// Notice tells a live view that rows changed.
type Notice struct {
	Revision uint64   // rises with each commit
	APIs     []string // whose rows changed
	Changes  []Change // what is new, at most 100
	Lost     int      // notices that this watcher missed before it, because it was slow
}

type watcher struct {
	c    chan Notice
	lost int
}

type watchers struct {
	mu       sync.Mutex
	revision uint64
	all      map[*watcher]struct{}
}

func (ws *watchers) tell(apis []string, changes []Change) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.revision++
	n := Notice{Revision: ws.revision, APIs: apis, Changes: changes[:min(len(changes), 100)]}
	for w := range ws.all {
		n.Lost = w.lost
		select {
		case w.c <- n:
			w.lost = 0
		default:
			w.lost++
		}
	}
}

func (ws *watchers) at() uint64 {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.revision
}

func (v *Inventory) notify(t *tally, changes []Change) {
	var apis []string
	for name := range t.apis {
		apis = append(apis, name)
	}
	for k := range t.ops {
		if !slices.Contains(apis, k.api) {
			apis = append(apis, k.api)
		}
	}
	slices.Sort(apis)
	v.watch.tell(apis, changes)
}

// Watch delivers a notice after each commit until ctx ends; then the channel is
// closed. A watcher that is slow misses notices and is told how many.
func (v *Inventory) Watch(ctx context.Context) <-chan Notice {
	w := &watcher{c: make(chan Notice, 16)}
	v.watch.mu.Lock()
	if v.watch.all == nil {
		v.watch.all = map[*watcher]struct{}{}
	}
	v.watch.all[w] = struct{}{}
	v.watch.mu.Unlock()
	context.AfterFunc(ctx, func() {
		v.watch.mu.Lock()
		defer v.watch.mu.Unlock()
		delete(v.watch.all, w)
		close(w.c)
	})
	return w.c
}

// rates counts the requests of the last minute by second, in memory.
type rates struct {
	mu  sync.Mutex
	api map[string]*[64]struct{ second, count int64 }
}

func (r *rates) add(t *tally) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.api == nil {
		r.api = map[string]*[64]struct{ second, count int64 }{}
	}
	for name, a := range t.apis {
		ring := r.api[name]
		if ring == nil {
			ring = &[64]struct{ second, count int64 }{}
			r.api[strings.Clone(name)] = ring
		}
		for s, n := range a.seconds {
			slot := &ring[uint64(s)%64]
			if slot.second < s {
				slot.second, slot.count = s, 0
			}
			if slot.second == s {
				slot.count += n
			}
		}
	}
}

// of is the rate of an API over the minute before now.
func (r *rates) of(name string, now time.Time) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	ring := r.api[name]
	if ring == nil {
		return 0
	}
	n := int64(0)
	for i := range ring {
		if age := now.Unix() - ring[i].second; age >= 0 && age < 60 {
			n += ring[i].count
		}
	}
	return float64(n) / 60
}

package gateway

import (
	"maps"
	"sync"
	"sync/atomic"
)

// nameCache remembers a verdict for header names. Clients choose the names, so
// it is bounded: a full cache learns nothing more.
type nameCache struct {
	max   int
	mu    sync.Mutex
	known atomic.Pointer[map[string]verdict]
}

func newNameCache(max int) *nameCache {
	c := &nameCache{max: max}
	c.known.Store(&map[string]verdict{})
	return c
}

func (c *nameCache) get(name string) (v verdict, ok bool) {
	v, ok = (*c.known.Load())[name]
	return v, ok
}

func (c *nameCache) put(name string, v verdict) {
	if len(name) > 64 || len(*c.known.Load()) >= c.max {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next := maps.Clone(*c.known.Load())
	next[name] = v
	c.known.Store(&next)
}

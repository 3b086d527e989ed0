package gateway

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
)

// A crowd counts what each client has open at once. IPv6 clients count by
// their /64, which is what one subscriber is given.
type crowd struct {
	max    int32
	shards [64]struct {
		sync.Mutex
		n map[netip.Addr]int32
		_ [40]byte // a cache line each
	}
}

var crowdSeed = maphash.MakeSeed()

func newCrowd(max int) *crowd {
	c := &crowd{max: int32(max)}
	for i := range c.shards {
		c.shards[i].n = map[netip.Addr]int32{}
	}
	return c
}

func crowdKey(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// enter counts one more for a, unless it has as many as it may.
func (c *crowd) enter(a netip.Addr) bool {
	a = crowdKey(a)
	s := &c.shards[maphash.Comparable(crowdSeed, a)%64]
	s.Lock()
	defer s.Unlock()
	n := s.n[a]
	if n >= c.max {
		return false
	}
	s.n[a] = n + 1
	return true
}

// leave takes back what enter counted.
func (c *crowd) leave(a netip.Addr) {
	a = crowdKey(a)
	s := &c.shards[maphash.Comparable(crowdSeed, a)%64]
	s.Lock()
	defer s.Unlock()
	if n := s.n[a]; n > 1 {
		s.n[a] = n - 1
	} else {
		delete(s.n, a)
	}
}

// A gauge is a bounded sum.
type gauge struct {
	n   atomic.Int64
	max int64
}

// add counts n more, unless that were too many.
func (g *gauge) add(n int64) bool {
	if g.n.Add(n) > g.max {
		g.n.Add(-n)
		return false
	}
	return true
}

func (g *gauge) sub(n int64) { g.n.Add(-n) }

// Package limit counts how often something happens, by GCRA (the generic cell
// rate algorithm): one instant per key, the theoretical arrival time of the next
// event of an even flow. In come a key, a limit, a number and the time; out go
// yes or no and how long to wait. Memory is bounded whatever is asked: a key
// whose budget is full again is forgotten, which changes no answer, and when
// every key is in debt the one nearest to full is given up and counted. It
// reads no clock and does no I/O.
package limit

import (
	"hash/maphash"
	"math"
	"math/bits"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A Key is what is counted: which limit, and by whom.
type Key struct {
	Limit   string // the limit's name: "payments limits[0]"
	Subject string // a principal; "" when counted by address or as a whole
	Addr    netip.Addr
}

// A Limit allows Count in each Window, Burst of them at once (zero: Count).
type Limit struct {
	Count  int
	Window time.Duration
	Burst  int
}

// Counters counts. Take asks for n at the time now: ok when they are within the
// limit, and then counted; else how long to wait until they would be. With n = 0
// nothing is counted and ok says whether one more would be allowed.
// Implementations are safe for concurrent use.
type Counters interface {
	Take(k Key, l Limit, n int, now time.Time) (ok bool, wait time.Duration)
}

const (
	shards      = 64
	defaultKeys = 1 << 17
)

// Memory keeps counters in this process. Use NewMemory.
type Memory struct {
	seed    maphash.Seed
	perKeys int // most keys of one shard
	evicted atomic.Uint64
	shard   [shards]shard
}

type shard struct {
	mu  sync.Mutex
	tat map[Key]int64 // theoretical arrival time, Unix nanoseconds
	_   [40]byte      // keeps two locks out of one cache line
}

var _ Counters = (*Memory)(nil)

// NewMemory makes counters for at most the given number of keys; zero or less
// means 131,072 (about 20 MB).
func NewMemory(keys int) *Memory {
	if keys <= 0 {
		keys = defaultKeys
	}
	m := &Memory{seed: maphash.MakeSeed(), perKeys: max(1, keys/shards)}
	for i := range m.shard {
		m.shard[i].tat = map[Key]int64{}
	}
	return m
}

// Take implements Counters.
func (m *Memory) Take(k Key, l Limit, n int, now time.Time) (bool, time.Duration) {
	interval, capacity := l.gcra()
	t := now.UnixNano()
	s := &m.shard[maphash.Comparable(m.seed, k)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	tat, known := s.tat[k]
	next, wait := advance(tat, t, interval, capacity, n)
	if wait > 0 || n == 0 {
		return wait == 0, time.Duration(wait)
	}
	if !known && len(s.tat) >= m.perKeys {
		m.evict(s, t)
	}
	s.tat[k] = next
	return true, 0
}

// gcra gives the time between two events of an even flow, and how far ahead of
// time the flow may run. Rounding up keeps the limit from being exceeded.
func (l Limit) gcra() (interval, capacity int64) {
	count := int64(max(1, l.Count))
	interval = max(1, (int64(l.Window)+count-1)/count)
	burst := int64(l.Burst)
	if burst <= 0 {
		burst = count
	}
	hi, lo := bits.Mul64(uint64(interval), uint64(burst))
	if hi != 0 || lo > math.MaxInt64/4 {
		return interval, math.MaxInt64 / 4
	}
	return interval, int64(lo)
}

// advance is GCRA: the arrival time after n more events at t, or how long to
// wait when they would run too far ahead. n = 0 asks for one without taking it.
func advance(tat, t, interval, capacity int64, n int) (next, wait int64) {
	base := max(tat, t)
	hi, lo := bits.Mul64(uint64(interval), uint64(max(n, 1)))
	if hi != 0 || lo > math.MaxInt64/4 {
		return tat, math.MaxInt64 / 4
	}
	next = base + int64(lo)
	if ahead := next - t; ahead > capacity {
		return tat, ahead - capacity
	}
	return next, 0
}

// evict makes room for one key. A key whose arrival time has passed is as good
// as unknown; of a handful looked at without finding one, the nearest goes.
func (m *Memory) evict(s *shard, t int64) {
	const look, sweep = 16, 64
	var nearest Key
	least, seen, freed := int64(math.MaxInt64), 0, 0
	for k, tat := range s.tat { // Go starts at a random place
		if tat <= t {
			delete(s.tat, k)
			freed++
		} else if tat < least {
			nearest, least = k, tat
		}
		if seen++; seen >= sweep || freed == 0 && seen >= look {
			break
		}
	}
	if freed == 0 {
		delete(s.tat, nearest)
		m.evicted.Add(1)
	}
}

// Evicted is how many keys were given up before their budget was full again,
// for want of memory.
func (m *Memory) Evicted() uint64 { return m.evicted.Load() }

// Len is how many keys are held.
func (m *Memory) Len() int {
	n := 0
	for i := range m.shard {
		s := &m.shard[i]
		s.mu.Lock()
		n += len(s.tat)
		s.mu.Unlock()
	}
	return n
}

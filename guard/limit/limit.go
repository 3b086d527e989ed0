// Package limit counts how often something happens and how much of something
// is used, by GCRA (the generic cell rate algorithm): one instant per key, the
// theoretical arrival time of the next event of an even flow. In come a key, a
// limit, a number and the time; out go yes or no and how long to wait. What is
// known only afterwards is held in expectation and settled when it is known; it
// may then run into debt, of one window at most. Quotas count by the calendar.
// Memory is bounded whatever is asked: a key whose budget is full again is
// forgotten, which changes no answer, and when every key is in debt the one
// nearest to full is given up and counted. It reads no clock and does no I/O.
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
// Without a Window it bounds what is held at once, and with Every set what is
// taken in each period of the calendar.
type Limit struct {
	Count  int
	Window time.Duration
	Burst  int
	Every  *Calendar
}

// Capacity is how much fits at once.
func (l *Limit) Capacity() int {
	if l.Burst > 0 && l.Every == nil && l.Window > 0 {
		return l.Burst
	}
	return max(1, l.Count)
}

// A State is how a key stands with its limit.
type State struct {
	Remaining int           // may be taken at once; 0 in debt
	Held      int           // in flight
	Reset     time.Duration // until the budget is whole again; 0: it is, or time does not tell
}

// Counters counts. Implementations are safe for concurrent use.
type Counters interface {
	// Take asks for n at the time now: ok when they are within the limit, and
	// then counted; else how long to wait until they would be. With n = 0 nothing
	// is counted and ok says whether one more would be allowed.
	Take(k Key, l Limit, n int, now time.Time) (ok bool, wait time.Duration)
	// Hold asks for room for n that are in flight: ok when what is used and what
	// is held leave room for them. What was held must be settled. n beyond the
	// limit's capacity is never allowed; callers ask for at most that.
	Hold(k Key, l Limit, n int, now time.Time) (ok bool, wait time.Duration)
	// Settle ends the holding of n and counts what they came to, whether or not
	// there is room for it: what is too much is a debt, of one window at most.
	Settle(k Key, l Limit, n, cost int, now time.Time)
	// Look says how a key stands without changing anything.
	Look(k Key, l Limit, now time.Time) State
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
	mu    sync.Mutex
	cells map[Key]cell
	_     [40]byte // keeps two locks out of one cache line
}

// cell is what is known of one key.
type cell struct {
	tat   int64 // theoretical arrival time, Unix nanoseconds; of a quota, what was taken in its period
	held  int64 // in flight
	until int64 // of a quota: the period's end, Unix nanoseconds
}

// idle reports whether forgetting the cell changes no answer.
func (c *cell) idle(t int64) bool {
	if c.held != 0 {
		return false
	}
	return c.until == 0 && c.tat <= t || c.until != 0 && (c.until <= t || c.tat == 0)
}

// full is when the cell's budget is whole again, if nothing happens.
func (c *cell) full() int64 { return max(c.tat, c.until) }

var _ Counters = (*Memory)(nil)

// NewMemory makes counters for at most the given number of keys; zero or less
// means 131,072 (about 20 MB).
func NewMemory(keys int) *Memory {
	if keys <= 0 {
		keys = defaultKeys
	}
	m := &Memory{seed: maphash.MakeSeed(), perKeys: max(1, keys/shards)}
	for i := range m.shard {
		m.shard[i].cells = map[Key]cell{}
	}
	return m
}

func (m *Memory) of(k *Key) *shard { return &m.shard[maphash.Comparable(m.seed, *k)%shards] }

// put files c under k, or forgets it where that changes nothing.
func (m *Memory) put(s *shard, k *Key, c cell, known bool, t int64) {
	switch {
	case c.idle(t):
		if known {
			delete(s.cells, *k)
		}
		return
	case !known && len(s.cells) >= m.perKeys:
		m.evict(s, t)
	}
	s.cells[*k] = c
}

// Take implements Counters.
func (m *Memory) Take(k Key, l Limit, n int, now time.Time) (bool, time.Duration) {
	if l.Every != nil {
		return m.quota(&k, &l, n, false, now)
	}
	interval, capacity := l.gcra()
	t := now.UnixNano()
	s := m.of(&k)
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.cells[k]
	next, wait := l.advance(c.tat, t, interval, capacity, int64(n))
	if wait > 0 || n == 0 {
		return wait == 0, time.Duration(wait)
	}
	c.tat = next
	m.put(s, &k, c, known, t)
	return true, 0
}

// Hold implements Counters.
func (m *Memory) Hold(k Key, l Limit, n int, now time.Time) (bool, time.Duration) {
	if l.Every != nil {
		return m.quota(&k, &l, n, true, now)
	}
	t := now.UnixNano()
	s := m.of(&k)
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.cells[k]
	if l.Window == 0 {
		if c.held+int64(n) > int64(l.Count) {
			return false, 0
		}
	} else if n > 0 || c.tat > t {
		interval, capacity := l.gcra()
		if _, wait := l.advance(c.tat, t, interval, capacity, c.held+int64(n)); wait > 0 {
			return false, time.Duration(wait)
		}
	}
	if c.held += int64(n); c.held > 0 {
		m.put(s, &k, c, known, t)
	}
	return true, 0
}

// Settle implements Counters.
func (m *Memory) Settle(k Key, l Limit, n, cost int, now time.Time) {
	t := now.UnixNano()
	s := m.of(&k)
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.cells[k]
	c.held = max(0, c.held-int64(n))
	switch {
	case cost <= 0 || l.Every == nil && l.Window == 0:
	case l.Every != nil:
		if end := l.Every.End(now); c.until != end {
			c.tat, c.until = 0, end
		}
		c.tat = min(c.tat+int64(cost), math.MaxInt64/4)
	default:
		interval, _ := l.gcra()
		most := t + int64(l.Debt())
		c.tat = max(c.tat, min(max(c.tat, t)+l.span(int64(cost), interval), most))
	}
	if known || c != (cell{}) {
		m.put(s, &k, c, known, t)
	}
}

// Look implements Counters.
func (m *Memory) Look(k Key, l Limit, now time.Time) State {
	s := m.of(&k)
	s.mu.Lock()
	c := s.cells[k]
	s.mu.Unlock()
	return l.state(c, now)
}

func (l *Limit) state(c cell, now time.Time) State {
	out := State{Held: int(c.held)}
	t := now.UnixNano()
	switch {
	case l.Every != nil:
		end := l.Every.End(now)
		if c.until != end {
			c.tat = 0
		}
		out.Remaining, out.Reset = max(0, l.Count-int(c.tat)-int(c.held)), time.Duration(end-t)
	case l.Window == 0:
		out.Remaining = max(0, l.Count-int(c.held))
	default:
		interval, capacity := l.gcra()
		ahead := max(0, c.tat-t)
		out.Reset = time.Duration(ahead)
		if room := capacity - ahead; room > 0 {
			out.Remaining = max(0, int(l.fits(room, interval)-c.held))
		}
	}
	return out
}

// quota takes or holds n of what the calendar allows.
func (m *Memory) quota(k *Key, l *Limit, n int, hold bool, now time.Time) (bool, time.Duration) {
	t, end := now.UnixNano(), l.Every.End(now)
	s := m.of(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.cells[*k]
	if c.until != end {
		c.tat, c.until = 0, end
	}
	if c.tat+c.held+int64(max(n, 1)) > int64(l.Count) {
		return false, time.Duration(end - t)
	}
	if hold {
		c.held += int64(n)
	} else {
		c.tat += int64(n)
	}
	m.put(s, k, c, known, t)
	return true, 0
}

// fine is the interval below which whole nanoseconds per event are too coarse:
// then the time of many events is reckoned at once.
const fine = 1000

// gcra gives the time between two events of an even flow, and how far ahead of
// time the flow may run. Rounding up keeps the limit from being exceeded. An
// interval of 0 stands for one below fine.
func (l *Limit) gcra() (interval, capacity int64) {
	count := int64(max(1, l.Count))
	interval = (int64(l.Window) + count - 1) / count
	if interval < fine && l.Window > 0 {
		interval = 0
	} else {
		interval = max(1, interval)
	}
	burst := int64(l.Burst)
	if burst <= 0 {
		burst = count
	}
	return interval, l.span(burst, interval)
}

// span is the time that n events of an even flow take.
func (l *Limit) span(n, interval int64) int64 {
	if interval > 0 {
		hi, lo := bits.Mul64(uint64(interval), uint64(n))
		if hi != 0 || lo > math.MaxInt64/4 {
			return math.MaxInt64 / 4
		}
		return int64(lo)
	}
	count := uint64(max(1, l.Count))
	hi, lo := bits.Mul64(uint64(l.Window), uint64(n))
	lo, carry := bits.Add64(lo, count-1, 0)
	if hi += carry; hi >= count {
		return math.MaxInt64 / 4
	}
	q, _ := bits.Div64(hi, lo, count)
	return int64(min(q, math.MaxInt64/4))
}

// fits is how many events of an even flow fit into a time.
func (l *Limit) fits(room, interval int64) int64 {
	if interval > 0 {
		return room / interval
	}
	hi, lo := bits.Mul64(uint64(room), uint64(max(1, l.Count)))
	if hi >= uint64(l.Window) {
		return math.MaxInt64 / 4
	}
	q, _ := bits.Div64(hi, lo, uint64(l.Window))
	return int64(min(q, math.MaxInt64/4))
}

// advance is GCRA: the arrival time after n more events at t, or how long to
// wait when they would run too far ahead. n = 0 asks for one without taking it.
func (l *Limit) advance(tat, t, interval, capacity, n int64) (next, wait int64) {
	base := max(tat, t)
	span := l.span(max(n, 1), interval)
	if span >= math.MaxInt64/4 {
		return tat, math.MaxInt64 / 4
	}
	next = base + span
	if ahead := next - t; ahead > capacity {
		return tat, ahead - capacity
	}
	return next, 0
}

// evict makes room for one key. A key whose budget is whole again is as good
// as unknown; of a handful looked at without finding one, the nearest goes.
// Keys of which something is in flight go last.
func (m *Memory) evict(s *shard, t int64) {
	const look, sweep = 16, 64
	var nearest Key
	least, seen, freed := int64(math.MaxInt64), 0, 0
	for k, c := range s.cells { // Go starts at a random place
		if c.idle(t) {
			delete(s.cells, k)
			freed++
		} else if full := c.full(); least == math.MaxInt64 || c.held == 0 && full < least {
			if c.held > 0 {
				full = math.MaxInt64 - 1
			}
			nearest, least = k, full
		}
		if seen++; seen >= sweep || freed == 0 && seen >= look {
			break
		}
	}
	if freed == 0 {
		delete(s.cells, nearest)
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
		n += len(s.cells)
		s.mu.Unlock()
	}
	return n
}

// Near calls f for each key with its state, for the limits that find knows by
// name. It holds a lock while it copies a part, and none while f runs.
func (m *Memory) Near(now time.Time, find func(name string) (Limit, bool), f func(Key, Limit, State)) {
	type pair struct {
		k Key
		c cell
	}
	var copied []pair
	for i := range m.shard {
		s := &m.shard[i]
		copied = copied[:0]
		s.mu.Lock()
		for k, c := range s.cells {
			copied = append(copied, pair{k, c})
		}
		s.mu.Unlock()
		for _, p := range copied {
			if l, ok := find(p.k.Limit); ok {
				f(p.k, l, l.state(p.c, now))
			}
		}
	}
}

// Span is the time that n events of an even flow take.
func (l *Limit) Span(n int) time.Duration {
	interval, _ := l.gcra()
	return time.Duration(l.span(int64(max(n, 0)), interval))
}

// Room is how far ahead of time the flow may run: the time that what fits at
// once takes.
func (l *Limit) Room() time.Duration {
	_, capacity := l.gcra()
	return time.Duration(capacity)
}

// Debt is how far ahead of time it may run once what was held is settled.
func (l *Limit) Debt() time.Duration {
	room := l.Room()
	return min(room+max(l.Window, room), math.MaxInt64/4)
}

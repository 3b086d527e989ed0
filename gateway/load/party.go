package load

import (
	"hash/maphash"
	"math"
	"time"
)

// A decaying is a rate: what was added, fading with a time of ten seconds.
type decaying struct {
	v float64
	t time.Time
}

const fade = 10.0 // seconds

func (d *decaying) at(now time.Time) float64 {
	if d.v == 0 {
		return 0
	}
	return d.v * math.Exp(-max(0, now.Sub(d.t).Seconds())/fade)
}

func (d *decaying) add(v float64, now time.Time) {
	d.v, d.t = d.at(now)+v/fade, now
}

// A party is one caller: what it has in flight, and has had of late.
type party struct {
	name     Caller
	inflight int
	queued   int
	mean     float64 // of inflight, decaying within two seconds
	changed  time.Time
	first    time.Time
	served   int64
	slot     time.Duration // for which its requests hold a place, a decaying average; 0: not known
	tenure   tenure
	cpu      decaying
	factor   float64 // its cost beside what its operations cost on average; 0: not known
}

const meanTime = 2.0 // seconds

// load is how many places it has had of late.
func (p *party) load(now time.Time) float64 {
	if p.inflight == 0 && p.mean < 1e-3 {
		return 0
	}
	k := math.Exp(-max(0, now.Sub(p.changed).Seconds()) / meanTime)
	return p.mean*k + float64(p.inflight)*(1-k)
}

func (p *party) change(n int, now time.Time) {
	p.mean, p.changed = p.load(now), now
	p.inflight += n
}

func (p *party) hold(slot time.Duration) {
	if p.slot == 0 {
		p.slot = slot
	}
	p.slot += (slot - p.slot) / 8
}

// parties are all callers, as many as may be remembered; those beyond share a
// few rows by chance, so that made-up callers cost no memory.
type parties struct {
	known    map[Caller]*party
	overflow [64]*party
	seed     maphash.Seed
}

func (s *parties) init() {
	s.known = map[Caller]*party{}
	s.seed = maphash.MakeSeed()
}

func (s *parties) of(c Caller, now time.Time) *party {
	p := s.known[c]
	if p != nil {
		return p
	}
	if len(s.known) >= maxParties {
		at := &s.overflow[maphash.Comparable(s.seed, c)%uint64(len(s.overflow))]
		if *at == nil {
			*at = &party{first: now, changed: now}
		}
		return *at
	}
	p = &party{name: c, first: now, changed: now}
	s.known[c] = p
	return p
}

// survey counts those that have something in flight or had of late, finds what
// the biggest has and for how long at a time, and forgets who has not been here
// for long.
func (s *parties) survey(now time.Time) (active int, biggest float64, slot time.Duration) {
	slot = time.Minute
	look := func(p *party) {
		load := p.load(now)
		if load > 0.005 || p.queued > 0 {
			active++
		}
		if load > biggest {
			if biggest, slot = load, p.slot; slot == 0 {
				slot = time.Minute // none has ended yet
			}
		}
	}
	crowded := len(s.known) > maxParties/2
	for c, p := range s.known {
		look(p)
		if p.inflight == 0 && p.queued == 0 {
			if idle := now.Sub(p.changed); idle > 10*time.Minute || crowded && idle > 10*time.Second {
				delete(s.known, c)
			}
		}
	}
	for _, p := range s.overflow {
		if p != nil {
			look(p)
		}
	}
	return active, biggest, slot
}

// trust says how far a caller is known: its requests weigh more the less it is.
func (p *party) trust(c Caller, now time.Time) float64 {
	switch {
	case c.Name != "":
		return 1 // it has proven who it is
	case p.served >= 20 && now.Sub(p.first) > time.Minute:
		return 2 // it has been here before
	}
	return 4
}

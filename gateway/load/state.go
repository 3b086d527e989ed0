package load

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"
)

// State is a gate as it stands, for people and metrics.
type State struct {
	Limit    float64 // requests in flight at once; 0: none
	Adaptive bool
	InFlight int
	Queued   int
	Slow     float64 // how much slower answers are than at their fastest; 0: not known
	Callers  int     // that had something in flight of late
	Fair     float64 // places that each of them could have; 0: no limit
	Cap      float64 // places that one of them may have for now; 0: as many as there are

	Load    Load     // the highest that a source has seen lately
	Over    float64  // of its threshold; 1 = at it; 0: none is set, or nothing is known
	What    string   // which threshold: cpu, memory, pressure
	Cut     float64  // part of the expected cost that is turned away
	Sources []Seen   // as configured, then the upstream's own reports
	Classes []Counts // as configured, then the rest, named ""
	Refused map[string]int64
	Top     []Usage // the callers with most in flight of late
}

// Seen is one source and what it said last.
type Seen struct {
	Name   string
	Load   Load
	At     time.Time // zero: never
	Failed string
}

// Counts are a class and what became of its requests.
type Counts struct {
	Name     string
	Floor    float64
	InFlight int
	Queued   int
	Admitted int64
	Waited   int64 // of those admitted, from the queue
	Shed     int64
}

// Usage is what one caller has.
type Usage struct {
	Caller Caller
	Places float64 // in flight, of late
	CPU    float64 // processors, of late
}

// State tells how the gate stands.
func (g *Gate) State() State {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turn(now)
	s := State{
		Limit: finite(g.lim.room()), Adaptive: !g.lim.fixed, InFlight: g.inflight, Queued: len(g.queue), Slow: g.lim.slow, Callers: g.active,
		Fair: finite(g.fair()), Load: g.meter.read(now), Over: g.heat.over, What: g.heat.rule, Cut: g.heat.cut, Refused: maps.Clone(g.refusals),
	}
	if g.capped {
		s.Cap = g.cap
	}
	for _, x := range g.meter.slots {
		s.Sources = append(s.Sources, Seen{x.Name(), x.load, x.at, x.fails})
	}
	if r := &g.meter.reports; !r.at.IsZero() {
		s.Sources = append(s.Sources, Seen{Name: "reports", Load: r.load, At: r.at})
	}
	for _, c := range append(slices.Clone(g.classes), &g.common) {
		s.Classes = append(s.Classes, Counts{c.Name, c.Floor, c.places.inflight, c.queued, c.admitted, c.waited, c.shed})
	}
	for c, p := range g.parties.known {
		if load := p.load(now); load > 0.005 {
			s.Top = append(s.Top, Usage{c, load, p.cpu.at(now)})
		}
	}
	slices.SortFunc(s.Top, func(a, b Usage) int { return cmp.Compare(b.Places, a.Places) })
	s.Top = s.Top[:min(len(s.Top), 5)]
	return s
}

func finite(v float64) float64 {
	if math.IsInf(v, 0) {
		return 0
	}
	return v
}

package load

import (
	"fmt"
	"math"
	"time"
)

// heat decides who is turned away while a threshold is exceeded: as large a
// part of the expected cost as it takes, the highest scores first. A score is
// what the operation is expected to cost for this caller, times how little it is
// trusted, times how far it is above an equal share.
type heat struct {
	over    float64 // load over threshold; 1 = at it
	rule    string  // which threshold
	cut     float64 // part of the expected cost to be turned away
	weights [buckets]float64
	edge    int     // scores in buckets above are turned away,
	part    float64 // and in this one so many
	cpu     decaying
}

// buckets are half powers of two of a second times trust and share, from a
// microsecond up.
const buckets = 80

func bucket(score float64) int {
	if score < 1e-6 {
		return 0
	}
	return min(int(2*math.Log2(score*1e6)), buckets-1)
}

const maxCut = 0.95

// judge is why t is to be turned away, if it is.
func (h *heat) judge(g *Gate, t *Ticket, c Caller, safe bool, now time.Time) *Refusal {
	if g.set.CPU == 0 && g.set.Memory == 0 && g.set.Pressure == 0 {
		return nil
	}
	cost := t.op.expected() * t.party.weight()
	// What is in flight has cost something already, reported or not.
	share := g.slotShare(now)
	fair := max(h.cpu.at(now), share*g.all.load(now)) / float64(max(1, g.active))
	usage := max(t.party.cpu.at(now), share*t.party.load(now))
	trust := t.party.trust(c, now)
	score := cost * trust
	if fair > 0 && usage > fair {
		score *= usage / fair
	}
	b := bucket(score)
	h.weights[b] += cost
	if h.cut == 0 || safe {
		return nil
	}
	// Whoever can be told from others and has little is the last to go.
	if trust < 4 && usage < 0.75*fair && h.cut < maxCut {
		return nil
	}
	if b < h.edge || b == h.edge && !shedBelow(h.part) {
		return nil
	}
	return &Refusal{Rule: "load." + h.rule, After: 2 * time.Second, Own: usage > generous*fair,
		Detail: fmt.Sprintf("the upstream is at %s of its threshold; what costs most and is trusted least is turned away first", percent(h.over))}
}

func (o *operation) expected() float64 {
	if o.cpu == 0 {
		return 1e-3 // nothing is known yet
	}
	return o.cpu
}

func (p *party) weight() float64 {
	if p.factor == 0 {
		return 1
	}
	return p.factor
}

// spent learns from what one request took.
func (h *heat) spent(p *party, o *operation, sec float64, now time.Time) {
	h.cpu.add(sec, now)
	p.cpu.add(sec, now)
	if o.cpu == 0 {
		o.cpu = sec
	}
	o.cpu += (sec - o.cpu) / 64
	f := min(max(sec/o.cpu, 1.0/64), 64)
	if p.factor == 0 {
		p.factor = f
	}
	p.factor += (f - p.factor) / 8
}

// turn compares the load with its thresholds and finds where to cut.
func (h *heat) turn(g *Gate, dt float64, now time.Time) {
	l := g.meter.read(now)
	h.over, h.rule = 0, ""
	for _, x := range []struct {
		rule          string
		load, allowed float64
	}{{"cpu", l.CPU, g.set.CPU}, {"memory", l.Memory, g.set.Memory}, {"pressure", l.Pressure, g.set.Pressure}} {
		if x.allowed > 0 && x.load/x.allowed > h.over {
			h.over, h.rule = x.load/x.allowed, x.rule
		}
	}
	if h.over > 1 {
		h.cut = min(maxCut, h.cut+dt*(0.1+(h.over-1)/2))
	} else {
		h.cut = max(0, h.cut-dt*0.02*(1+4*max(0, 0.9-h.over)))
	}
	sum, keep := 0.0, math.Exp(-dt/5)
	for i := range h.weights {
		h.weights[i] *= keep
		sum += h.weights[i]
	}
	h.edge, h.part = buckets, 0
	for left := h.cut * sum; h.edge > 0 && left > 0; {
		h.edge--
		w := h.weights[h.edge]
		if w >= left {
			h.part = left / w
			break
		}
		left -= w
		h.part = 1
	}
}

package load

import (
	"math"
	"time"
)

// dearTimes is by how many times the requests of a caller must hold their places
// longer than is usual for their operations for it to count as dear.
const dearTimes = 8

// A tenure is for how long the requests of a caller hold places beside what is
// usual for their operations: of those in flight, which tell first, and of those
// that are over. Since each is compared with its own operation, an operation that
// is slow for everybody makes nobody dear.
type tenure struct {
	n    int     // in flight, of operations that are known
	rate float64 // of those the sum of 1/usual, in 1/seconds
	sum  float64 // and of began/usual, in seconds since the gate's start over seconds
	past float64 // of those over, a decaying average of time/usual; 0: none
}

// begin counts a place that is taken at a moment, in seconds since the gate's start.
func (d *tenure) begin(at, usual float64) {
	d.n++
	d.rate += 1 / usual
	d.sum += at / usual
}

// end counts one that is given back; slot is for how long it was held.
func (d *tenure) end(at, usual, slot, weight float64) {
	d.n--
	d.rate -= 1 / usual
	d.sum -= at / usual
	if d.n == 0 { // no rest of rounding stays
		d.rate, d.sum = 0, 0
	}
	v := slot / usual
	if d.past == 0 {
		d.past = v
	}
	d.past += (v - d.past) * weight
}

// total is by how many times those in flight have held their places longer than
// is usual, in sum.
func (d *tenure) total(at float64) float64 { return max(0, at*d.rate-d.sum) }

// dear reports whether p's requests hold places far longer than those of the
// others do, each beside what is usual for its operation. Where everything is
// slow nobody is dear.
func (g *Gate) dear(p *party, now time.Time) bool {
	at := now.Sub(g.born).Seconds()
	own := p.tenure.past
	if p.tenure.n >= 2 { // one request may be late by itself
		own = max(own, p.tenure.total(at)/float64(p.tenure.n))
	}
	if own < dearTimes {
		return false
	}
	others := min(g.all.tenure.past, dearTimes) // which p's own are part of
	if n := g.all.tenure.n - p.tenure.n; n > 0 {
		others = max(others, (g.all.tenure.total(at)-p.tenure.total(at))/float64(n))
	}
	return own >= dearTimes*max(1, others)
}

// keepsRoom reports whether t leaves others the room that they need: a caller
// whose requests hold places for long can't give back what it has taken when
// others come, so that it gets more than one place in sixteen only where five
// sixths of all are free.
func (g *Gate) keepsRoom(t *Ticket, now time.Time) bool {
	room := g.lim.places()
	if math.IsInf(room, 1) || g.active < 2 || float64(t.party.inflight) < max(1, math.Floor(room/16)) {
		return true
	}
	return float64(g.inflight) < room/6 || !g.dear(t.party, now)
}

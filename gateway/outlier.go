package gateway

import (
	"math"
	"time"
)

// compareEvery is between two comparisons of the instances of a pool.
const compareEvery = 10 * time.Second

// The least on which a comparison rests.
const (
	compareInstances = 3
	compareRequests  = 20
	compareFactor    = 1.9 // standard deviations, as Envoy has it
	compareGap       = 0.1 // and so much worse than the mean at least
)

// compare leaves out the instances that fail more often than the others: whose
// part of answered requests since the last time is far below the mean. It is
// called after a failure, so that a pool without any is never compared.
func (p *pool) compare(h *Health) {
	now := p.now().UnixNano()
	due := p.compared.Load()
	if now < due || !p.compared.CompareAndSwap(due, now+int64(compareEvery)) {
		return
	}
	type row struct {
		in   *instance
		rate float64
	}
	var rows []row
	var sum, squares float64
	for _, in := range p.instances() {
		served, failed := in.served.Load(), in.failed.Load()
		n, bad := served+failed-in.seen.Swap(served+failed), failed-in.seenFailed.Swap(failed)
		if n < compareRequests || !in.open.Load() || in.sick.Load() || in.out.Load() != 0 {
			continue
		}
		rate := 1 - float64(bad)/float64(n)
		rows = append(rows, row{in, rate})
		sum += rate
		squares += rate * rate
	}
	if n := float64(len(rows)); due != 0 && len(rows) >= compareInstances {
		mean := sum / n
		edge := min(mean-compareFactor*math.Sqrt(max(0, squares/n-mean*mean)), mean-compareGap)
		if len(rows) < 6 { // with so few, one alone can't be 1.9 deviations away from a mean that it is part of
			edge = mean - compareGap
		}
		for _, r := range rows {
			if r.rate < edge && p.mayEject(min(h.MaxEjected, 0.5)) {
				p.log.Warn("instance fails more often than the others", "api", p.name, "instance", r.in.url, "answered", r.rate, "mean", mean)
				r.in.eject(h, false)
			}
		}
	}
}

// mayEject reports whether one more instance may be left out when so large a
// part may be: one may always.
func (p *pool) mayEject(share float64) bool {
	admitted, out := 0, 0
	for _, in := range p.instances() {
		if in.open.Load() && !in.sick.Load() {
			admitted++
			if in.out.Load() != 0 {
				out++
			}
		}
	}
	return out == 0 || float64(out+1) <= share*float64(admitted)
}

// spare reports whether the pool has instances that stand by.
func (l *lane) spare() bool { return len(*l.standby.Load()) > 0 }

// primaryShare is the part of the requests for the instances that don't stand
// by: all, unless fewer of them are well than Health.SpillBelow says; then as
// much less.
func (l *lane) primaryShare() float64 {
	now := l.pool.now().UnixNano()
	well, all := 0, 0
	for _, in := range *l.primary.Load() {
		if !in.open.Load() {
			continue
		}
		all++
		if !in.sick.Load() && (in.out.Load() == 0 || now >= in.out.Load()) {
			well++
		}
	}
	if all == 0 {
		return 0
	}
	return min(1, float64(well)/float64(all)/l.api.Health.SpillBelow)
}

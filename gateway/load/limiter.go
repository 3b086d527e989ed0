package load

import (
	"math"
	"slices"
	"time"
)

// A limiter finds how many requests the upstream works on at once before they
// begin to wait there. It is TCP Vegas (Brakmo and Peterson, "TCP Vegas: End to
// End Congestion Avoidance on a Global Internet", IEEE JSAC 13(8), 1995) on
// requests: from how much slower answers are than at their best it reckons
// how many of the requests in flight wait rather than run, and keeps that number
// between two bounds that grow with the logarithm of the limit. Answers are
// compared with their own operation's best, and the median of a window
// counts, so that neither slow operations nor one caller's slow requests look
// like congestion. The best is forgotten in time, and for a moment before
// that fewer requests are let through, to see it anew without a queue (as BBR's
// ProbeRTT does: Cardwell et al., ACM Queue 14(5), 2016).
//
// It is not safe for concurrent use; the gate's mutex is over it.
type limiter struct {
	min, max float64
	limit    float64
	fixed    bool

	ratios  [window]float32 // answer time over the operation's best, newest window
	n       int
	full    bool // the limit was reached, or nearly, in this window
	dropped bool // the upstream gave up on a request in this window
	began   time.Time
	rtt     time.Duration // of the last answers, a decaying average
	ramp    bool          // doubling until the first sign of waiting

	slow     float64   // median of the last window
	slowAt   time.Time // and when it ended
	probing  bool
	probeEnd time.Time
	nextView time.Time // when the best are to be seen anew
}

const (
	window     = 64
	firstLimit = 20
	// viewTime is for how long an operation's best answer is believed.
	viewTime = 20 * time.Second
)

func (l *limiter) set(s *Settings) {
	was := l.fixed
	l.fixed = !s.Adaptive
	if l.fixed {
		l.limit = float64(s.Limit)
		if s.Limit == 0 {
			l.limit = math.Inf(1)
		}
		return
	}
	l.min, l.max = float64(s.Min), float64(s.Max)
	if l.limit == 0 || was {
		l.limit, l.ramp = firstLimit, true
	}
	l.limit = min(max(l.limit, l.min), l.max)
}

// room is how many requests may be in flight now.
func (l *limiter) room() float64 {
	if l.probing {
		return max(l.min, math.Floor(0.6*l.limit))
	}
	return math.Floor(l.limit)
}

// sample takes one answer: how long it took beside the best of its kind.
func (l *limiter) sample(rtt, best time.Duration, inflight int, now time.Time) {
	if l.fixed || best <= 0 {
		return
	}
	if l.began.IsZero() {
		l.began = now
	}
	if l.rtt == 0 {
		l.rtt = rtt
	}
	l.rtt += (rtt - l.rtt) / 16
	if float64(inflight) >= 0.8*l.limit {
		l.full = true
	}
	if l.n < window {
		l.ratios[l.n] = float32(float64(rtt) / float64(best))
		l.n++
	}
	if l.n >= 10 && (l.n == window || now.Sub(l.began) > max(100*time.Millisecond, 2*l.rtt)) {
		l.step(now)
	}
}

// drop notes that the upstream gave up on a request for want of room.
func (l *limiter) drop() { l.dropped = true }

// step ends a window.
func (l *limiter) step(now time.Time) {
	s := l.ratios[:l.n]
	slices.Sort(s)
	l.slow, l.slowAt = max(1, float64(s[len(s)/2])), now
	if !l.probing {
		l.adjust()
	}
	l.n, l.full, l.dropped, l.began = 0, false, false, now
}

func (l *limiter) adjust() {
	log := max(1, math.Log10(l.limit))
	waiting := l.limit * (1 - 1/l.slow)
	switch {
	case l.dropped:
		l.limit, l.ramp = l.limit*0.9, false
	case waiting > 4*log:
		l.limit, l.ramp = l.limit-max(log, (waiting-4*log)/2), false
	case !l.full: // nobody asked for more: nothing is known about more
	case l.ramp && waiting < log:
		l.limit *= 1.5
	case waiting < 2*log:
		l.limit, l.ramp = l.limit+log, false
	}
	l.limit = min(max(l.limit, l.min), l.max)
}

// view begins and ends the moments in which the best answers are seen anew;
// it reports whether they are to be forgotten now.
func (l *limiter) view(now time.Time, busy bool) (forget bool) {
	switch {
	case l.fixed:
	case l.nextView.IsZero():
		l.nextView = now.Add(viewTime)
	case l.probing && now.After(l.probeEnd):
		l.probing, l.nextView = false, now.Add(viewTime)
	case !l.probing && now.After(l.nextView):
		l.nextView = now.Add(viewTime)
		// Answers that came while there was room were fast enough to compare with.
		if busy {
			l.probing, l.probeEnd = true, now.Add(max(200*time.Millisecond, 3*l.rtt))
		}
		return true
	}
	return false
}

// waits reports whether requests were found to wait at the upstream a moment ago.
func (l *limiter) waits(now time.Time) bool {
	return l.slow > 1.15 && now.Sub(l.slowAt) < 2*time.Second
}

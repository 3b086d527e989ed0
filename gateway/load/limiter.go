package load

import (
	"math"
	"slices"
	"time"
)

// A limiter finds how many requests the upstream works on at once before they
// begin to wait there. It is TCP Vegas (Brakmo and Peterson, "TCP Vegas: End to
// End Congestion Avoidance on a Global Internet", IEEE JSAC 13(8), 1995) on
// requests: from how much slower answers are than where there is room it
// reckons how many of the requests in flight wait rather than run, and keeps
// that number between two bounds. Answers are compared with what is usual for
// their own operation, and the median of a window counts, so that neither slow
// operations nor one caller's slow requests look like congestion; what varies
// by itself is allowed for by bounds that are a part of the limit where that is
// large. What is usual is seen anew from time to time while the limit is
// reached: for a moment few requests are let through, so that none waits at the
// upstream (as BBR's ProbeRTT does: Cardwell et al., ACM Queue 14(5), 2016). And
// before the limit is lowered a trial shows whether more room has more requests
// answered: what is usual is a guess where times vary, and a guess that is too
// low must not starve an upstream that is well.
//
// It is not safe for concurrent use; the gate's mutex is over it.
type limiter struct {
	min, max float64
	limit    float64
	fixed    bool

	ratios  [window]float32 // answer time over what is usual, newest window
	n       int
	full    bool // the limit was reached, or nearly, in this window
	half    bool // or half of it
	dropped bool // the upstream gave up on a request in this window
	began   time.Time
	rtt     time.Duration // of the last answers, a decaying average
	ramp    bool          // growing fast until the first sign of waiting
	rate    float64       // answers a second before the last large step
	strikes int           // windows since then without more

	slow   float64   // smoothed medians of the windows
	slowAt time.Time // when the last one ended

	held  bool // down, by what was taken for waiting
	trial trial

	probe    phase
	since    time.Time // when the phase began
	nextView time.Time // when what is usual is to be seen anew
}

// A trial finds out whether the limit holds back what the upstream could do: for
// a moment there is room for half as many more. When as many more are answered,
// nothing waited there, and what was taken for waiting is usual.
type trial struct {
	step   uint8 // 0: none; 1: counting before; 2: raised, settling; 3: counting after
	count  int   // answers since then
	full   int   // of those, answered while the limit was reached
	since  time.Time
	rate   float64 // answers a second before
	limit  float64 // the limit before
	next   time.Time
	failed bool          // the last one: the limit holds nothing back
	wait   time.Duration // until the next
}

// phase is how far a look at what is usual has come.
type phase uint8

const (
	idle     phase = iota
	draining       // until few are in flight
	looking        // answers to what is asked now tell
)

const (
	window     = 64
	firstLimit = 20
	// viewTime is the least between two looks; they take a sixtieth of the time
	// at most.
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
		l.probe = idle
		return
	}
	l.min, l.max = float64(s.Min), float64(s.Max)
	if l.limit == 0 || was {
		l.limit, l.ramp, l.slow = firstLimit, true, 1
	}
	l.limit = min(max(l.limit, l.min), l.max)
}

// room is how many requests may be in flight now.
func (l *limiter) room() float64 {
	if l.probe != idle {
		return l.low()
	}
	return math.Floor(l.limit)
}

// places is room without regard to a look at what is usual.
func (l *limiter) places() float64 { return math.Floor(l.limit) }

// low is the room while what is usual is looked at.
func (l *limiter) low() float64 { return max(l.min, math.Floor(l.limit/3)) }

// sample takes one answer: how long it took beside what is usual for its kind.
func (l *limiter) sample(rtt, usual time.Duration, inflight int, now time.Time) {
	if l.fixed || usual <= 0 {
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
	if float64(inflight) >= 0.5*l.limit {
		l.half = true
	}
	l.trial.count++
	if float64(inflight) >= l.limit-1 {
		l.trial.full++
	}
	if l.n < window {
		l.ratios[l.n] = float32(float64(rtt) / float64(usual))
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
	l.slow += (float64(s[len(s)/2]) - l.slow) * 0.3
	l.slowAt = now
	if l.probe == idle && l.trial.step == 0 {
		l.adjust(now)
	}
	l.n, l.full, l.half, l.dropped, l.began = 0, false, false, false, now
}

func (l *limiter) adjust(now time.Time) {
	log := max(1, math.Log10(l.limit))
	waiting := l.limit * (1 - 1/max(1, l.slow))
	l.held = false
	least, most := max(2*log, 0.12*l.limit), max(4*log, 0.33*l.limit)
	switch {
	case l.dropped:
		l.limit, l.ramp = l.limit*0.9, false
	case waiting > most && l.half:
		l.held, l.ramp = true, false
		if l.slow > 3 || l.trial.failed { // else a trial comes first
			l.limit -= max(log, (waiting-most)/2)
		}
	case !l.full: // nobody asked for more: nothing is known about more
	case l.ramp && waiting < least/2:
		l.grow(now)
	case waiting < least:
		l.limit, l.ramp = l.limit+log, false
	default:
		l.held = true
	}
	l.limit = min(max(l.limit, l.min), l.max)
}

// grow is a large step, as long as the last one has had more requests answered.
// When it has not, the upstream does all that it can: one step back, and a look.
func (l *limiter) grow(now time.Time) {
	rate := float64(l.n) / max(1e-3, now.Sub(l.began).Seconds())
	switch {
	case l.rate == 0 || rate > 1.15*l.rate:
		l.limit, l.rate, l.strikes = l.limit*1.5, rate, 0
	case l.strikes < 2:
		l.strikes++ // the step takes a while to show
	default:
		l.limit, l.ramp = l.limit/1.5, false
	}
}

// try goes on with a trial, or begins one; it reports by how much more than was
// believed is usual, 1 when nothing was found.
func (l *limiter) try(now, fullAt time.Time, clear bool) (usual float64) {
	t := &l.trial
	took := now.Sub(t.since)
	counted := t.count >= 200 || took > time.Second && t.count >= 50
	full := now.Sub(fullAt) < time.Second
	switch {
	case l.fixed:
	case t.step == 0:
		if l.held && full && clear && l.probe == idle && now.After(t.next) {
			t.step, t.count, t.since = 1, 0, now
		}
	case t.step == 1 && counted:
		t.step, t.since, t.rate, t.limit = 2, now, float64(t.count)/took.Seconds(), l.limit
		l.limit = min(l.limit*1.5, l.max)
	case t.step == 2 && took > max(100*time.Millisecond, 2*l.rtt):
		t.step, t.count, t.full, t.since = 3, 0, 0, now
	case t.step > 1 && !full && clear, t.step == 3 && counted && (float64(t.count)/took.Seconds() > 1.25*t.rate || clear && t.full < t.count*8/10):
		// More are answered, or no more are asked for: it had held something back.
		usual = max(1, l.slow)
		l.slow, l.held = 1, false
		*t = trial{next: now.Add(time.Second)}
		return usual
	case t.step == 3 && counted:
		l.limit = min(l.limit, t.limit)
		wait := min(max(2*t.wait, 5*time.Second), 5*time.Minute)
		*t = trial{failed: true, wait: wait, next: now.Add(wait)}
	case !full || took > 10*time.Second: // nobody asks for more, or nothing is answered
		if t.step > 1 {
			l.limit = min(l.limit, t.limit)
		}
		t.step, t.next = 0, now.Add(viewTime)
	}
	return 1
}

// look begins and ends the moments in which what is usual is seen anew: only
// where the limit is reached, since else there is room anyway. It reports
// whether one has ended.
func (l *limiter) look(now time.Time, full bool, inflight, answers int) (seen bool) {
	long := max(150*time.Millisecond, 3*l.rtt)
	switch {
	case l.fixed:
	case l.nextView.IsZero():
		l.nextView = now.Add(2 * time.Second)
	case l.probe == idle && full && !l.ramp && l.trial.step == 0 && now.After(l.nextView):
		l.probe, l.since = draining, now
	case l.probe == draining && float64(inflight) <= l.low():
		l.probe, l.since = looking, now
	case l.probe == draining && now.Sub(l.since) > min(2*long, 5*time.Second), l.probe == looking && (answers >= 40 || now.Sub(l.since) > 2*time.Second):
		seen = l.probe == looking
		l.probe, l.nextView = idle, now.Add(max(viewTime, 60*long))
	}
	return seen
}

// waits reports whether requests were found to wait at the upstream a moment ago.
func (l *limiter) waits(now time.Time) bool {
	return !l.fixed && l.slow > 1.15 && now.Sub(l.slowAt) < 2*time.Second
}

package load

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Settings are how a pool is kept from doing too much. The zero value does
// nothing: see Enabled.
type Settings struct {
	// Thresholds, 1 = all that there is; 0: not looked at. Pressure is the share
	// of time in which something waited for the processor (PSI, some avg10).
	CPU, Memory, Pressure float64
	Sources               []Source // that say how busy the upstream is, besides its own load reports

	Adaptive bool // find the limit; otherwise Limit holds
	Limit    int  // requests in flight at once; 0 = no limit
	Min, Max int  // of the limit that is found: 4 and 1000

	Queue   int           // requests that wait at once: 128; negative: none
	Wait    time.Duration // for how long each: 250 ms
	Classes []Class       // the first that fits holds

	// Share is how much of a slot's time is taken for time of a processor where
	// the upstream reports no cost: 1.
	Share float64
}

// Enabled reports whether anything is to be done at all.
func (s *Settings) Enabled() bool {
	return s.Adaptive || s.Limit > 0 || s.CPU > 0 || s.Memory > 0 || s.Pressure > 0
}

// WithDefaults fills the zero fields.
func (s Settings) WithDefaults() Settings {
	s.Min = cmp.Or(s.Min, 4)
	s.Max = max(cmp.Or(s.Max, 1000), s.Min)
	s.Queue = cmp.Or(s.Queue, 128)
	s.Wait = cmp.Or(s.Wait, 250*time.Millisecond)
	s.Share = cmp.Or(s.Share, 1)
	return s
}

// A Class is traffic that keeps a share of the capacity whatever else is asked
// for. A request belongs to it by any one of what it lists.
type Class struct {
	Name       string
	Floor      float64  // of the capacity, 0 to 1
	Operations []string // "GET /items/{id}" or an operationId
	Scopes     []string
	Principals []string // as shown on screen, issuer#subject, or a subject of whatever issuer
	Keys       []string // ids of API keys, client ids of tokens
}

func (c *Class) fits(a *Ask) bool {
	switch {
	case slices.Contains(c.Operations, a.Operation) || a.OperationID != "" && slices.Contains(c.Operations, a.OperationID):
		return true
	case a.Caller.Name == "":
		return false
	case slices.ContainsFunc(c.Principals, a.is):
		return true
	case a.Key != "" && slices.Contains(c.Keys, a.Key):
		return true
	}
	return slices.ContainsFunc(a.Scopes, func(s string) bool { return slices.Contains(c.Scopes, s) })
}

// is reports whether name means who asks: as shown on screen, by issuer and
// subject with # between them, or by subject.
func (a *Ask) is(name string) bool {
	if name == a.Caller.Name || name == a.Subject {
		return true
	}
	rest, ok := strings.CutPrefix(name, a.Issuer)
	return ok && a.Issuer != "" && len(rest) > 0 && rest[0] == '#' && rest[1:] == a.Subject
}

// A Caller is who a request counts for: a proven principal by name, or else a
// client by address.
type Caller struct {
	Name string
	Addr netip.Addr
}

// An Ask is a request for a place among those that are in flight.
type Ask struct {
	Operation   string
	OperationID string
	Caller      Caller
	Subject     string
	Issuer      string // of the subject, if any
	Key         string
	Scopes      []string
}

// A Refusal is why there is no place.
type Refusal struct {
	Rule   string // "load.cpu", "load.memory", "load.pressure", "load.share", "load.dear", "load.queue-full", "load.queue-time", "client.gone"
	Detail string // for people; names nobody
	// Own: the caller asks for more than its share; others are served.
	Own   bool
	After time.Duration // when to come again
}

// A Sample is what became of a request.
type Sample struct {
	RTT     time.Duration // until the head of the answer; 0: there was none
	Slot    time.Duration // for which the place was held
	CPU     time.Duration // that it took, reported or estimated
	Dropped bool          // the upstream gave up for want of room: 503, 429, or no answer in time
}

// A Gate stands in front of one pool. Its methods are safe for concurrent use;
// the zero value is not usable, New makes one.
type Gate struct {
	now  func() time.Time
	born time.Time

	mu       sync.Mutex
	set      Settings
	lim      limiter
	meter    meter
	inflight int
	all      party // what all callers together have
	queue    []*waiter
	standing time.Time // since when somebody has waited without a break
	parties  parties
	ops      map[string]*operation
	heat     heat
	classes  []*class
	common   class // of those that no class fits
	ticked   time.Time
	fullAt   time.Time // when the limit was last reached
	fullFrom time.Time // and since when, without a break

	cap      float64 // places that one caller may have while others are harmed
	capped   bool
	cutAt    time.Time // when the cap last fell
	harmed   float64   // requests of callers within their share that waited, decaying
	excess   float64   // by how many times they were later than late, in sum
	fine     float64   // and those that did not wait
	biggest  float64
	slot     time.Duration // how long its requests hold a place
	active   int
	refusals map[string]int64 // by rule
	looked   int              // answers in the present look at what is usual
}

type class struct {
	Class
	places   party // that its requests have
	queued   int
	admitted int64
	waited   int64
	shed     int64
	cpu      decaying // CPU a second
}

// operation is what is known of one operation.
type operation struct {
	usual  time.Duration   // median where there is room
	n      int             // answers that it rests on
	early  []time.Duration // the newest of the first answers
	moved  time.Time
	first  time.Time
	looked bool            // it was seen while few requests were let through
	seen   []time.Duration // of what was asked while few requests were let through
	asked  int             // and is not answered yet
	late   time.Duration   // one answer in a hundred takes longer while there is room
	cpu    float64         // expected, in seconds
	used   time.Time
}

const (
	maxOperations = 512
	maxParties    = 4096
	tick          = 250 * time.Millisecond
	// slack is by how much an answer may be later than late before its caller
	// counts as harmed.
	slack = 1.1
	// generous is how many fair shares a caller may have.
	generous = 1.5
)

// New makes a gate; now is the clock, nil the system's.
func New(now func() time.Time) *Gate {
	if now == nil {
		now = time.Now
	}
	g := &Gate{now: now, born: now(), ops: map[string]*operation{}, refusals: map[string]int64{}}
	g.parties.init()
	g.cap = math.Inf(1)
	return g
}

// Set puts s in force; what has been learned stays.
func (g *Gate) Set(s Settings) {
	s = s.WithDefaults()
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.classes
	g.set, g.classes = s, nil
	for _, c := range s.Classes {
		i := slices.IndexFunc(before, func(b *class) bool { return b.Name == c.Name })
		if i < 0 {
			g.classes = append(g.classes, &class{Class: c})
			continue
		}
		before[i].Class = c
		g.classes = append(g.classes, before[i])
	}
	g.lim.set(&g.set)
	g.meter.set(s.Sources, g.now())
	g.wake(g.now())
}

// A Ticket is a place. Done gives it back; the zero Ticket is no place.
type Ticket struct {
	g       *Gate
	party   *party
	class   *class
	op      *operation
	asked   time.Time
	began   time.Time     // when the place was taken
	usual   float64       // seconds, what was usual then; 0: not known
	looking bool          // asked while few requests were let through
	Waited  time.Duration // in the queue
}

// Held reports whether t is a place that has not been given back by its holder.
func (t Ticket) Held() bool { return t.g != nil }

// A waiter is a request in the queue.
type waiter struct {
	ticket Ticket
	out    *Refusal      // set: turned away
	ready  chan struct{} // of 1
}

// Try asks for a place at once. Exactly one of the results is set: a ticket, a
// refusal, or, where only waiting may help, neither.
func (g *Gate) Try(a *Ask) (Ticket, *Refusal) {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	t, r := g.ask(a, now)
	if r != nil {
		return Ticket{}, r
	}
	if !g.admits(t.class) {
		g.fullAt = now
		return Ticket{}, nil
	}
	g.enter(&t, now)
	return t, nil
}

// Enter is Try that waits in the queue, as long as it may and ctx lasts.
func (g *Gate) Enter(ctx context.Context, a *Ask) (Ticket, *Refusal) {
	now := g.now()
	g.mu.Lock()
	t, r := g.ask(a, now)
	if r == nil && g.admits(t.class) {
		g.enter(&t, now)
		g.mu.Unlock()
		return t, nil
	}
	if r == nil {
		g.fullAt = now
		r = g.makeRoom(&t, now)
	}
	if r != nil {
		g.mu.Unlock()
		return Ticket{}, r
	}
	w := &waiter{ticket: t, ready: make(chan struct{}, 1)}
	if len(g.queue) == 0 {
		g.standing = now
	}
	g.queue = append(g.queue, w)
	t.party.queued++
	t.class.queued++
	patience := g.set.Wait
	g.mu.Unlock()

	timer := time.NewTimer(patience)
	defer timer.Stop()
	var gone bool
	select {
	case <-w.ready:
	case <-timer.C:
	case <-ctx.Done():
		gone = true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.queue, w); i >= 0 { // nobody has decided meanwhile
		g.leaveQueue(i)
		w.out = &Refusal{Rule: "load.queue-time", Detail: "no place came free in time", After: time.Second}
		if gone {
			w.out.Rule = "client.gone"
		} else {
			g.refuse(w.out, t.class)
		}
	}
	t, r = w.ticket, w.out
	if r != nil {
		return Ticket{}, r
	}
	t.Waited = g.now().Sub(t.asked)
	return t, nil
}

// ask finds who asks for what, and whether it is to be turned away whatever
// room there is. The caller holds g.mu, as of everything below.
func (g *Gate) ask(a *Ask, now time.Time) (Ticket, *Refusal) {
	g.turn(now)
	t := Ticket{g: g, asked: now, party: g.parties.of(a.Caller, now), class: &g.common, op: g.operation(a.Operation, now)}
	for _, c := range g.classes {
		if c.fits(a) {
			t.class = c
			break
		}
	}
	safe := g.withinFloor(t.class, now)
	if r := g.heat.judge(g, &t, a.Caller, safe, now); r != nil {
		return t, g.refuse(r, t.class)
	}
	if load := t.party.load(now); !g.preferred(t.class, now) && g.capped && max(load, float64(t.party.inflight)) >= max(1, g.cap) && load >= generous*g.fair() {
		return t, g.refuse(&Refusal{Rule: "load.share", Own: true, After: 2 * time.Second,
			Detail: "others wait because of what this caller has in flight"}, t.class)
	}
	if !g.preferred(t.class, now) && !g.keepsRoom(&t, now) {
		return t, g.refuse(&Refusal{Rule: "load.dear", Own: true, After: 2 * time.Second,
			Detail: "this caller's requests hold places for many times as long as is usual, and the others need the rest"}, t.class)
	}
	return t, nil
}

func (g *Gate) refuse(r *Refusal, c *class) *Refusal {
	g.refusals[r.Rule]++
	c.shed++
	return r
}

// withinFloor reports whether c has less than it is to keep.
func (g *Gate) withinFloor(c *class, now time.Time) bool {
	if c.Floor == 0 {
		return false
	}
	if room := g.lim.places(); !math.IsInf(room, 1) {
		// A burst is its own affair as long as it has less on average.
		return min(float64(c.places.inflight), c.places.load(now)) < max(1, c.Floor*room)
	}
	return c.cpu.at(now) <= c.Floor*g.heat.cpu.at(now)
}

// preferred reports whether c has less than twice what it is to keep: so long no
// caller of it has to give way to others. Where places are held for longer than
// usual, its floor alone would be soon reached.
func (g *Gate) preferred(c *class, now time.Time) bool {
	room := g.lim.places()
	return c.Floor > 0 && (math.IsInf(room, 1) || c.places.load(now) < max(1, 2*c.Floor*room))
}

// admits reports whether there is a place for one of c now that is not due to
// one who waits.
func (g *Gate) admits(c *class) bool {
	return g.free(c) && (len(g.queue) == 0 || c.Floor > 0 && g.withinFloor(c, g.ticked))
}

// free reports whether there is a place for one of c; a class within its floor
// need not stand back while what is usual is looked at.
func (g *Gate) free(c *class) bool {
	n := float64(g.inflight)
	return n < g.lim.room() || c.Floor > 0 && n < g.lim.places() && g.withinFloor(c, g.ticked)
}

func (g *Gate) enter(t *Ticket, now time.Time) {
	g.inflight++
	if g.lim.probe == looking && t.op.asked+len(t.op.seen) < window {
		t.looking = true
		t.op.asked++
	}
	if t.began = now; t.op.n >= 20 && t.op.usual > 0 {
		t.usual = t.op.usual.Seconds()
		at := now.Sub(g.born).Seconds()
		t.party.tenure.begin(at, t.usual)
		g.all.tenure.begin(at, t.usual)
	}
	t.class.places.change(+1, now)
	t.class.admitted++
	t.party.change(+1, now)
	g.all.change(+1, now)
	if float64(g.inflight) >= g.lim.room() {
		g.fullAt = now
	}
}

// makeRoom lets t into the queue, if need be in the place of one whose caller
// has more.
func (g *Gate) makeRoom(t *Ticket, now time.Time) *Refusal {
	if len(g.queue) < g.set.Queue {
		return nil
	}
	full := &Refusal{Rule: "load.queue-full", Detail: "as many requests wait as may", After: time.Second}
	if g.set.Queue < 0 || len(g.queue) == 0 {
		full.Rule, full.Detail = "load.full", "as many requests are in flight as the upstream can work on"
		return g.refuse(full, t.class)
	}
	worst := 0
	for i := range g.queue {
		if g.before(&g.queue[worst].ticket, &g.queue[i].ticket, now) {
			worst = i
		}
	}
	w := g.queue[worst]
	if !g.before(t, &w.ticket, now) {
		return g.refuse(full, t.class)
	}
	g.leaveQueue(worst)
	w.out = g.refuse(full, w.ticket.class)
	w.ready <- struct{}{}
	return nil
}

// before is the order of the queue: those of a class within its floor, then the
// caller who has had the least, then whoever came first; or last, once
// somebody has been waiting all the time: then the newest still has a client
// that waits for an answer (adaptive LIFO: Maurer, "Fail at Scale", ACM Queue
// 13(8), 2015).
func (g *Gate) before(a, b *Ticket, now time.Time) bool {
	if x, y := g.withinFloor(a.class, now), g.withinFloor(b.class, now); x != y {
		return x
	}
	if a.class.Floor != b.class.Floor {
		return a.class.Floor > b.class.Floor
	}
	if a.party != b.party {
		x, y := a.party.load(now)+float64(a.party.queued)/64, b.party.load(now)+float64(b.party.queued)/64
		if d := x - y; math.Abs(d) > 0.1*max(x, y) {
			return d < 0
		}
	}
	if now.Sub(g.standing) > g.set.Wait/2 {
		return a.asked.After(b.asked)
	}
	return a.asked.Before(b.asked)
}

func (g *Gate) leaveQueue(i int) {
	w := g.queue[i]
	w.ticket.party.queued--
	w.ticket.class.queued--
	g.queue[i] = g.queue[len(g.queue)-1]
	g.queue[len(g.queue)-1] = nil
	g.queue = g.queue[:len(g.queue)-1]
}

// wake gives places that are free to those who wait.
func (g *Gate) wake(now time.Time) {
	for len(g.queue) > 0 && float64(g.inflight) < g.lim.places() {
		best := 0
		for i := 1; i < len(g.queue); i++ {
			if g.before(&g.queue[i].ticket, &g.queue[best].ticket, now) {
				best = i
			}
		}
		w := g.queue[best]
		if !g.free(w.ticket.class) {
			return
		}
		g.leaveQueue(best)
		w.ticket.class.waited++
		g.enter(&w.ticket, now)
		w.ready <- struct{}{}
	}
}

// Done gives the place back.
func (t Ticket) Done(s Sample) {
	g := t.g
	if g == nil {
		return
	}
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inflight--
	t.class.places.change(-1, now)
	load := t.party.load(now)
	if t.usual > 0 {
		at := t.began.Sub(g.born).Seconds()
		t.party.tenure.end(at, t.usual, now.Sub(t.began).Seconds(), 1.0/8)
		g.all.tenure.end(at, t.usual, now.Sub(t.began).Seconds(), 1.0/64)
	}
	t.party.change(-1, now)
	g.all.change(-1, now)
	if s.Dropped {
		g.lim.drop()
	}
	if t.looking {
		t.op.told(s.RTT)
		g.looked++
		if t.op.asked == 0 && g.lim.probe != looking {
			t.op.look()
		}
	}
	if s.RTT > 0 && !s.Dropped {
		calm := len(g.queue) == 0 && float64(g.inflight) < 0.7*g.lim.room() && g.lim.probe == idle && now.Sub(g.fullAt) > time.Second
		t.op.see(s.RTT, calm, now)
		g.lim.sample(s.RTT, t.op.usual, g.inflight+1, now)
		if !t.op.young(now) && (load <= generous*g.fair() || t.class.Floor > 0) {
			if float64(t.Waited+s.RTT) > slack*float64(t.op.late) {
				g.harmed++
				g.excess += float64(t.Waited+s.RTT)/float64(t.op.late) - 1
			} else {
				g.fine++
			}
		}
	}
	t.party.served++
	t.party.hold(s.Slot)
	g.charge(&t, s.CPU, now)
	g.turn(now)
	g.wake(now)
}

// Charge tells what a request took whose place was given back before that was
// known.
func (t Ticket) Charge(cpu time.Duration) {
	if t.g != nil {
		t.g.mu.Lock()
		defer t.g.mu.Unlock()
		t.g.charge(&t, cpu, t.g.now())
	}
}

func (g *Gate) charge(t *Ticket, cpu time.Duration, now time.Time) {
	if cpu > 0 {
		g.heat.spent(t.party, t.op, cpu.Seconds(), now)
		t.class.cpu.add(cpu.Seconds(), now)
	}
}

// see learns from one answer; calm: there was room. Both quantiles are found by
// stochastic approximation (Robbins and Monro, 1951). What is usual moves as fast
// as it takes to begin with, and then by a fifteenth a second at most: what
// becomes slower for want of room is not to become usual.
func (o *operation) see(rtt time.Duration, calm bool, now time.Time) {
	if o.late == 0 {
		o.late, o.usual, o.moved, o.first = rtt, rtt, now, now
	}
	young := o.young(now)
	if !calm && !young {
		return
	}
	o.n++
	step := min(1.0/32, now.Sub(o.moved).Seconds()/15)
	o.moved = now
	switch {
	case young:
		o.begin(rtt)
	case rtt > o.usual:
		o.usual += min(time.Duration(step*float64(o.usual)), rtt-o.usual)
	default:
		o.usual -= min(time.Duration(step*float64(o.usual)), o.usual-rtt)
	}
	if step := o.late / 32; rtt > o.late {
		o.late += min(step, rtt-o.late)
	} else {
		o.late -= step / 99
	}
}

// begin takes one of the first answers: what is usual is their median.
func (o *operation) begin(rtt time.Duration) {
	if len(o.early) < window {
		o.early = append(o.early, rtt)
	} else {
		o.early[o.n%window] = rtt
	}
	if n := len(o.early); n < 16 || o.n%8 == 0 {
		sorted := slices.Clone(o.early)
		slices.Sort(sorted)
		o.usual = sorted[n/2]
	}
}

// young reports whether it is too early to know what is usual: the first to be
// answered are the fastest.
func (o *operation) young(now time.Time) bool {
	return !o.looked && (o.n < 100 || now.Sub(o.first) < 5*time.Second)
}

// told takes the answer to something that was asked while few were let through.
func (o *operation) told(rtt time.Duration) {
	if o.asked--; rtt > 0 {
		o.seen = append(o.seen, rtt)
	}
}

// look takes over what was seen while few requests were let through. Where
// answers vary, the median of a few is a guess: it counts beside what was known,
// unless both differ by more than three of its standard errors.
func (o *operation) look() {
	if n := len(o.seen); n >= 9 {
		slices.Sort(o.seen)
		median := o.seen[n/2]
		spread := float64(o.seen[n*3/4]-o.seen[n/4]) / 1.35 // of a normal distribution's quartiles
		if off := math.Abs(float64(median - o.usual)); off > 3*1.25*spread/math.Sqrt(float64(n)) {
			o.usual = median
		} else {
			o.usual += (median - o.usual) * time.Duration(n) / time.Duration(n+min(o.n, 200))
		}
		o.late, o.looked, o.early, o.seen = max(o.usual, min(o.late, 8*o.usual)), true, nil, o.seen[:0]
	}
}

func (g *Gate) operation(name string, now time.Time) *operation {
	o := g.ops[name]
	if o == nil {
		if len(g.ops) >= maxOperations {
			name = "" // those beyond share one
			if o = g.ops[name]; o != nil {
				return o
			}
		}
		o = new(operation)
		g.ops[name] = o
	}
	o.used = now
	return o
}

// fair is an equal part of the capacity for each caller that has something in
// flight or waiting.
func (g *Gate) fair() float64 {
	room := g.lim.room()
	if math.IsInf(room, 1) {
		return room
	}
	return room / float64(max(1, g.active))
}

// turn does what is due from time to time.
func (g *Gate) turn(now time.Time) {
	full := now.Sub(g.fullAt) < time.Second
	if !full {
		g.fullFrom = now
	}
	hogged := g.hogged(now)
	long := func(since time.Time, much time.Duration) bool { // whoever hogs, it has been long enough
		return now.Sub(since) > much && now.Sub(g.fullFrom) > much
	}
	if g.lim.look(now, full && (!hogged || long(g.lim.nextView, viewTime)), g.inflight, g.looked) {
		g.looked = 0
		for _, o := range g.ops {
			if o.asked == 0 { // or when the last of what was asked is answered: the slow ones count too
				o.look()
			}
		}
		g.wake(now)
	}
	if more := g.lim.try(now, g.fullAt, !hogged || long(g.lim.trial.next, 5*time.Second)); more > 1 {
		for _, o := range g.ops {
			o.usual = time.Duration(float64(o.usual) * more)
		}
	}
	if now.Sub(g.ticked) < tick {
		return
	}
	dt := min(now.Sub(g.ticked), 5*time.Second).Seconds()
	if g.ticked.IsZero() {
		dt = 0
	}
	g.ticked = now
	for name, o := range g.ops {
		if now.Sub(o.used) > 10*time.Minute {
			delete(g.ops, name)
		}
	}
	g.active, g.biggest, g.slot = g.parties.survey(now)
	g.heat.turn(g, dt, now)
	g.share(dt, now)
	g.wake(now)
}

// share finds how much one caller may have: as much as there is, as long as
// those within their share don't wait. When more than one in fifty of them does,
// and somebody has more than a share, a part of what the biggest has, the
// smaller the longer they wait; an equal share is left in any case. It grows
// back the slower the longer that caller's requests hold a place: what they have
// taken can't be had back before.
func (g *Gate) share(dt float64, now time.Time) {
	keep := math.Exp(-dt / 2)
	g.harmed, g.excess, g.fine = g.harmed*keep, g.excess*keep, g.fine*keep
	fair := g.fair()
	if math.IsInf(fair, 1) {
		g.cap, g.capped = fair, false
		return
	}
	contended := now.Sub(g.fullAt) < time.Second || g.lim.waits(now)
	if contended && g.harmed >= 2 && g.harmed > 0.02*g.fine && g.biggest > generous*fair {
		top := g.biggest
		if g.capped {
			if now.Sub(g.cutAt) < 2*time.Second {
				return // the last step has not worked yet
			}
			top = min(top, g.cap)
		}
		g.cap, g.capped, g.cutAt = max(fair, top*min(max(g.harmed/(g.harmed+g.excess), 0.3), 0.85)), true, now
		g.harmed, g.excess, g.fine = 0, 0, 0
		return
	}
	if !g.capped {
		return
	}
	hold := min(max(24*g.slot, 2*time.Second), time.Minute)
	if room := g.lim.room(); now.Sub(g.cutAt) > hold {
		if g.cap += dt * room / min(max(80*g.slot.Seconds(), 5), 200); g.cap >= room {
			g.cap, g.capped = math.Inf(1), false
		}
	}
}

// hogged reports whether somebody holds so much that few requests in flight
// would tell nothing.
func (g *Gate) hogged(now time.Time) bool {
	return g.capped && now.Sub(g.cutAt) < 10*time.Second || g.slot > 20*g.lim.rtt && g.biggest > 4*g.fair()
}

// shedBelow is a coin that falls so in p of all cases.
func shedBelow(p float64) bool { return rand.Float64() < p }

func percent(v float64) string { return fmt.Sprintf("%.0f %%", v*100) }

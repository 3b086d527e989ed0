package gateway

import (
	"net/http"
	"strconv"
	"time"

	"sallyport.dev"
	"sallyport.dev/gateway/load"
	"sallyport.dev/gateway/orca"
	"sallyport.dev/guard"
)

// The kinds of relief that a pool gives, as decisions name them.
const (
	reliefQueued  = "queued"  // the request waited for a place
	reliefStandby = "standby" // an instance that stands by served it
)

// A turn is what the pool's gate and the upstream's load reports have to do with
// one passage.
type turn struct {
	place   load.Ticket
	owing   load.Ticket   // given back before the cost was known
	asked   time.Time     // when the last try began
	spent   time.Duration // for which that try held its place; 0: it still does
	endless bool          // it goes on for as long as its ends like
	late    bool          // no answer came in time
	spill   bool          // the instances that don't stand by have no place for it
	report  orca.Report
	told    bool // there was a report
}

// takePlace asks the pool's gate for a place. It reports whether the request may
// go on.
func (p *passage) takePlace() bool {
	gate := p.lane.gate
	if gate == nil {
		return true
	}
	op := p.ses.Operation()
	who := p.ses.Principal()
	name, scopes := p.ses.Caller()
	ask := load.Ask{Operation: op.Key(), OperationID: op.Name, Caller: load.Caller{Name: name}, Subject: who.Subject, Issuer: who.Issuer, Key: who.Client, Scopes: scopes}
	if name == "" {
		ask.Caller.Addr = crowdKey(p.client)
	}
	var why *load.Refusal
	if p.lane.spare() {
		if p.place, why = gate.Try(&ask); why == nil && !p.place.Held() {
			p.spill = true
			return true
		}
	} else {
		p.place, why = gate.Enter(p.r.Context(), &ask)
	}
	if why == nil {
		if p.place.Waited > 0 {
			p.out.Relief = append(p.out.Relief, reliefQueued)
		}
		return true
	}
	reason := &sallyport.Reason{Stage: sallyport.StageRelieve, Rule: why.Rule, Detail: why.Detail, Mode: sallyport.Enforce}
	if why.Rule == "client.gone" {
		reason.Stage, reason.Mode = sallyport.StageForward, sallyport.Observe
		p.cut(reason)
	}
	if p.rescued() { // something stale is better than nothing
		return false
	}
	kind := guard.KindUnavailable
	if why.Own {
		kind = guard.KindLimited
	}
	p.refuse(kind, [][2]string{{"Retry-After", strconv.Itoa(max(1, int(why.After/time.Second)))}}, reason)
	return false
}

// leavePlace gives the place back, once.
func (p *passage) leavePlace() {
	if !p.place.Held() {
		return
	}
	t := p.place
	p.place = load.Ticket{}
	if p.endless { // what it costs is known when it is over
		p.spent, p.owing = p.g.o.Now().Sub(p.asked), t
	} else {
		p.settle(p.g.o.Now())
	}
	s := load.Sample{Slot: p.spent, CPU: p.out.Cost.CPU, Dropped: p.late || p.out.Origin == http.StatusServiceUnavailable}
	if p.out.Origin != 0 {
		s.RTT = p.out.Upstream
	}
	t.Done(s)
}

// settle finds what the exchange has cost: what the upstream has reported or
// else the time that it took, times the part of it that a processor was at work.
func (p *passage) settle(now time.Time) {
	if p.asked.IsZero() || p.out.Cost.CPU != 0 {
		return
	}
	defer func() {
		if p.owing.Held() {
			p.owing.Charge(p.out.Cost.CPU)
		}
	}()
	if p.spent == 0 {
		p.spent = now.Sub(p.asked)
	}
	c := &p.out.Cost
	if p.told {
		r := p.report.Cost()
		c.CPU, c.Bytes, c.Rows, c.Money, c.Units = r.CPU, r.Bytes, r.Rows, r.Money, r.Units
	}
	if c.CPU > 0 {
		return
	}
	took, share := p.spent, 1.0
	if p.endless {
		took = p.out.Upstream // the rest is the client's time
	}
	if gate := p.lane.gate; gate != nil {
		share = gate.Share()
	}
	c.CPU, c.Estimated = time.Duration(float64(took)*share), true
}

// takeReport takes the load reports out of the head or the trailer of an answer:
// clients never see them, and what can't be read counts for nothing.
func (p *passage) takeReport(h http.Header) {
	text, binary := h[orca.Header], h[orca.HeaderBinary]
	if text == nil && binary == nil {
		return
	}
	delete(h, orca.Header)
	delete(h, orca.HeaderBinary)
	var r orca.Report
	var err error
	switch {
	case len(binary) == 1 && len(text) == 0:
		r, err = orca.ParseBinary(binary[0])
	case len(text) == 1 && len(binary) == 0:
		r, err = orca.Parse(text[0])
	default:
		err = orca.ErrForm
	}
	if err != nil {
		p.g.count.badReports.Add(1)
		p.g.o.Log.Debug("load report", "instance", p.out.Instance, "error", err)
		return
	}
	p.g.count.reports.Add(1)
	p.report, p.told = r, true
	if gate := p.lane.gate; gate != nil {
		gate.Report(max(r.CPU, r.Application), r.Memory)
	}
}

// A PoolState is a pool as it stands.
type PoolState struct {
	API       string
	Load      *load.State // nil: nothing keeps it from doing too much
	Instances []InstanceState
}

// An InstanceState is an instance as its pool sees it.
type InstanceState struct {
	sallyport.Instance
	Standby  bool
	InFlight int64
	MaxConns int
	Answered int64
	Failed   int64
	Left     time.Duration // for which it is still left out after failures
	Warming  bool          // it gets less than its share for now
}

// Pools tells how all pools stand, by API.
func (g *Gateway) Pools() []PoolState {
	var out []PoolState
	lanes := g.force.Load().lanes
	for _, in := range g.Instances() { // sorted
		if len(out) == 0 || out[len(out)-1].API != in.API {
			s := PoolState{API: in.API}
			if l := lanes[in.API]; l != nil && l.gate != nil {
				state := l.gate.State()
				s.Load = &state
			}
			out = append(out, s)
		}
		s := &out[len(out)-1]
		if l := lanes[in.API]; l != nil {
			p := l.pool
			if it := p.find(in.URL); it != nil {
				x := InstanceState{Instance: in, Standby: it.up.Standby, InFlight: it.inflight.Load(), MaxConns: it.up.MaxConns,
					Answered: it.served.Load(), Failed: it.failed.Load(), Warming: it.warm.Load() != 0}
				if until := it.out.Load(); until != 0 {
					x.Left = max(0, time.Unix(0, until).Sub(p.now()))
				}
				s.Instances = append(s.Instances, x)
			}
		}
	}
	return out
}

package guard

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard/limit"
	"sallyport.dev/policy"
)

// counter is one limit with the name it is counted under.
type counter struct {
	name    string // "payments limits[0]"
	public  string // in RateLimit fields
	rule    string // "limit.principal", "limit.cpu.principal"
	detail  string
	expect  string // what the forecast of its cost is filed under
	text    policy.Limit
	per     policy.Per
	measure policy.Measure
	limit   limit.Limit
	own     bool // of the operation, not of the API
	named   bool // of an operation that a body names
}

// A LimitInForce is one limit of a program, for people.
type LimitInForce struct {
	Key       string // what it is counted under, in limit.Key
	API       string
	Operation string // "" = the whole API
	Name      string // as answers name it
	Mode      sallyport.Mode
	Text      policy.Limit
	Limit     limit.Limit
}

// limits compiles what is to be counted for an operation.
func (a *api) limits(out *operation, op sallyport.Operation, d policy.Demand) {
	out.headers, out.price = a.headers, d.Price
	for i, l := range d.Limits {
		i, where, public := i, a.api.Name+" ", "limit"
		own := i - (len(d.Limits) - d.OwnLimits)
		if own >= 0 {
			i, where, public = own, where+op.Key()+" ", "operation-limit"
		} else if l.Per == policy.PerOperation {
			where += op.Key() + " api."
		}
		c := counter{name: where + fmt.Sprintf("limits[%d]", i), public: fmt.Sprintf("%s-%d", public, i+1), text: l, per: l.Per, measure: l.Measure(), own: own >= 0,
			limit: limit.Limit{Count: int(l.Count()), Window: l.Window(), Burst: int(l.Capacity())}}
		if l.Name != "" {
			c.name, c.public = where+l.Name, l.Name
		}
		c.rule = "limit." + string(l.Per)
		c.detail = strconv.Itoa(c.limit.Count) + " in " + c.limit.Window.String() + " per " + string(l.Per)
		if c.measure != policy.Requests {
			c.rule = "limit." + string(c.measure) + "." + string(l.Per)
			c.detail = l.What() + " per " + string(l.Per)
		}
		if l.Quota != (policy.Quota{}) {
			c.rule = "limit.quota." + string(l.Per)
			c.detail = l.What() + " per " + string(l.Per)
			zone, _ := time.LoadLocation(l.Zone) // "" is UTC; checked with the policy
			c.limit.Every = &limit.Calendar{Monthly: l.Quota.Period == policy.Month, Zone: zone}
		}
		c.expect = a.api.Name + " " + op.Key() + " " + string(c.measure)
		if l.Per == policy.PerClient {
			out.perClient = append(out.perClient, c)
		} else {
			out.perOther = append(out.perOther, c)
		}
	}
}

// Limits lists the limits in force, each once.
func (p *Program) Limits() []LimitInForce {
	var out []LimitInForce
	seen := map[string]bool{}
	add := func(a *api, o *operation) {
		for _, list := range [][]counter{o.perClient, o.perOther} {
			for i := range list {
				c := &list[i]
				if seen[c.name] {
					continue
				}
				seen[c.name] = true
				l := LimitInForce{Key: c.name, API: a.api.Name, Name: c.public, Mode: o.modes[limiting], Text: c.text, Limit: c.limit}
				if c.own || c.per == policy.PerOperation {
					l.Operation = o.op.Key()
				}
				out = append(out, l)
			}
		}
	}
	for _, a := range p.apis {
		for _, o := range a.ordered {
			add(a, o)
		}
		for _, e := range a.entries {
			add(a, e.op)
			for _, o := range e.ordered {
				add(a, o)
			}
		}
		add(a, a.unknown)
	}
	return out
}

// owed is one limit that an exchange is counted by.
type owed struct {
	c   *counter
	key limit.Key
	who limit.Key // whose cost is learned
	n   int       // in flight until the end
}

// subject is who a limit counts this request by; false: it does not apply.
func (s *Session) subject(c *counter) (key limit.Key, applies bool) {
	key.Limit = c.name
	switch c.per {
	case policy.PerClient:
		key.Addr = subnet(s.r.Client)
	case policy.PerPrincipal:
		if s.id == nil {
			key.Addr = subnet(s.r.Client)
		} else {
			key.Subject = s.id.Name
		}
	case policy.PerKey:
		if s.id == nil || s.id.Principal.Kind != "key" {
			return key, false
		}
		key.Subject = s.id.Principal.Client
	case policy.PerOAuthClient:
		if s.id == nil || s.id.Principal.Kind != "oidc" || s.id.Principal.Client == "" {
			return key, false
		}
		key.Subject = s.id.Principal.Client
	}
	return key, true
}

// count asks each of the counters for room.
func (s *Session) count(list []counter, now time.Time) {
	if len(list) > 0 && s.p.alone != nil && s.p.alone() {
		s.miss("limits: the shared counters cannot be asked; counted on this node alone")
	}
	for i := range list {
		c := &list[i]
		key, applies := s.subject(c)
		if !applies {
			continue
		}
		var ok bool
		var wait time.Duration
		if c.measure == policy.Requests {
			ok, wait = s.p.counters.Take(key, c.limit, 1, now)
			if s.op.headers == policy.HeadersAlways {
				s.owed = append(s.owed, owed{c: c, key: key})
			}
		} else {
			h := owed{c: c, key: key, n: 1}
			if c.measure.IsCost() {
				s.forecast(&h)
			}
			if ok, wait = s.p.counters.Hold(key, c.limit, h.n, now); !ok {
				h.n = 0 // nothing is held, but what it costs still counts where nobody enforces
			}
			s.owed = append(s.owed, h)
		}
		if !ok {
			s.p.tallies.Add(c.name, now)
			s.fault(limiting, s.throttled(c, key, wait, now), c.rule, sallyport.Place{}, "", c.detail)
		}
	}
}

// forecast is what the request will cost by what is known: of this caller at
// this operation, else of the operation, else a sixty-fourth of what may be
// spent at once.
func (s *Session) forecast(h *owed) {
	h.who = limit.Key{Limit: h.c.expect}
	general, known := s.p.forecast.Expect(h.who)
	if !known {
		general = h.c.limit.Capacity() / 64
	}
	if s.id != nil {
		h.who.Subject = s.id.Name
	} else {
		h.who.Addr = subnet(s.r.Client)
	}
	if n, known := s.p.forecast.Expect(h.who); known {
		general = n
	}
	h.n = min(max(1, general), h.c.limit.Capacity())
}

// settle charges what the exchange has cost.
func (s *Session) settle(cost *Cost, answered bool, now time.Time) {
	for i := range s.owed {
		h := &s.owed[i]
		if h.c.measure == policy.Requests {
			continue
		}
		n := costIn(h.c.measure, cost)
		if h.c.named && len(s.inner) > 1 { // shared by the operations that the body names
			n = (n + len(s.inner) - 1) / len(s.inner)
		}
		if h.c.measure.IsCost() && answered && !s.learned(i) {
			s.p.forecast.Learn(h.who, n)
			s.p.forecast.Learn(limit.Key{Limit: h.c.expect}, n)
		}
		if h.n > 0 || n > 0 {
			s.p.counters.Settle(h.key, h.c.limit, h.n, n, now)
		}
	}
}

// learned reports whether an earlier limit has taught the same.
func (s *Session) learned(i int) bool {
	for j := range i {
		if s.owed[j].who == s.owed[i].who && s.owed[j].c.measure.IsCost() {
			return true
		}
	}
	return false
}

// Abandon gives back what a session holds whose exchange will never be closed,
// because something broke. Nothing else of the session may be used after it.
func (s *Session) Abandon(now time.Time) {
	if s.p != nil {
		s.settle(&Cost{}, false, now)
		s.owed = nil
	}
}

// costOf completes what the door knows of the cost: without a report, CPU time
// is taken for the time that the upstream took, and money for the price.
func (s *Session) costOf(o *Outcome) Cost {
	c := o.Cost
	if c.Bytes == 0 {
		c.Bytes = o.RequestBytes + o.ResponseBytes
	}
	if o.Origin != 0 {
		if c.CPU == 0 {
			c.CPU, c.Estimated = o.Upstream, o.Upstream > 0
		}
		if c.Money == 0 && s.op != nil {
			c.Money = s.op.price
		}
	}
	return c
}

// costIn is a cost in the integers that a measure is counted in; a door's word
// for something negative or beyond all measure is not believed.
func costIn(m policy.Measure, c *Cost) int {
	n := int64(0)
	switch m {
	case policy.Bytes:
		n = c.Bytes
	case policy.CPU:
		n = int64(c.CPU)
	case policy.Rows:
		n = c.Rows
	case policy.Money:
		n = c.Money
	case policy.Units:
		if c.Units > 0 && c.Units < 1e12 {
			n = int64(math.Ceil(c.Units * 1e6))
		}
	}
	return int(min(max(n, 0), 1<<53))
}

// throttled is the answer to a request that a limit turns away.
func (s *Session) throttled(c *counter, key limit.Key, wait time.Duration, now time.Time) *Refusal {
	r := throttled(wait)
	if s.op.headers == policy.HeadersOff || c.measure.IsCost() && c.measure != policy.Bytes {
		return r
	}
	quota, state := c.fields(s.p.counters.Look(key, c.limit, now))
	r.Header = append(r.Header, [2]string{"Ratelimit-Policy", quota}, [2]string{"Ratelimit", state})
	return r
}

// throttled is a refusal for now, with the time to wait (RFC 9110, section 10.2.3).
func throttled(wait time.Duration) *Refusal {
	return &Refusal{Kind: KindLimited, Action: sallyport.ActionThrottle, Stage: sallyport.StageLimit,
		Header: [][2]string{{"Retry-After", strconv.FormatInt(max(1, seconds(wait)), 10)}}}
}

func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// fields writes one limit as RateLimit-Policy and RateLimit write it
// (draft-ietf-httpapi-ratelimit-headers-10): a string with parameters.
func (c *counter) fields(st limit.State) (quota, state string) {
	const most = 999_999_999_999_999 // RFC 9651, section 3.3.1
	var q, r strings.Builder
	fmt.Fprintf(&q, "%q;q=%d", c.public, min(c.limit.Count, most))
	fmt.Fprintf(&r, "%q;r=%d", c.public, min(max(0, st.Remaining), most))
	switch {
	case c.measure == policy.Bytes:
		q.WriteString(`;qu="content-bytes"`)
	case c.measure == policy.Concurrent:
		q.WriteString(`;qu="concurrent-requests"`)
	}
	switch w := c.limit.Window; {
	case c.limit.Every != nil && !c.limit.Every.Monthly:
		q.WriteString(";w=86400")
	case w >= time.Second && w%time.Second == 0:
		fmt.Fprintf(&q, ";w=%d", w/time.Second)
	}
	if st.Reset > 0 {
		fmt.Fprintf(&r, ";t=%d", seconds(st.Reset))
	}
	return q.String(), r.String()
}

// tell adds to an answer how its caller stands, where the policy says so. What
// the upstream says of limits of its own makes way.
func (s *Session) tell(step Step, h http.Header, now time.Time) Step {
	if len(s.owed) == 0 || s.op.headers != policy.HeadersAlways || step.Verb != Proceed {
		return step
	}
	var quotas, states []string
	for i := range s.owed {
		c := s.owed[i].c
		if c.measure.IsCost() && c.measure != policy.Bytes {
			continue
		}
		quota, state := c.fields(s.p.counters.Look(s.owed[i].key, c.limit, now))
		quotas, states = append(quotas, quota), append(states, state)
	}
	if len(quotas) > 0 {
		step.Head = append(step.Head, HeadEdit{"Ratelimit-Policy", strings.Join(quotas, ", ")}, HeadEdit{"Ratelimit", strings.Join(states, ", ")})
	}
	return step
}

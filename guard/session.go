package guard

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard/authn"
	"sallyport.dev/guard/inspect"
	"sallyport.dev/guard/rule"
	"sallyport.dev/guard/silent"
	"sallyport.dev/spec"
	"sallyport.dev/spec/graphql"
)

const (
	maxReasons = 32  // of one decision
	maxUnseen  = 16  // entries of NotInspected
	maxFields  = 512 // header lines recorded, of request and answer together
)

// A Session is one exchange on its way through the guard. It belongs to one
// goroutine at a time and must not be touched after End.
type Session struct {
	p     *Program
	r     Request
	began time.Time

	api   *api
	op    *operation
	entry *entry       // nil: the path says what is asked
	inner []*operation // that the body named
	match spec.Match
	check spec.Check
	seen  int // problems of check that are reasons already

	id         *authn.Identity
	token      authn.Scratch
	dpop       bool            // the token came by the scheme DPoP
	inquired   bool            // and to ask about a verified token
	fetched    bool            // the door has been asked to fetch once
	credential sallyport.Place // where an API key was presented

	owed []owed // limits that are settled, or told of, once it is answered

	inspected inspect.Scratch
	calls     *messages // of gRPC; nil until there was a call
	form      *form     // that streams; nil: none
	text      []byte    // scratch for unescaped JSON strings

	plan         BodyPlan // of the body expected next
	contentType  string
	answer       int // status of the upstream's answer
	answerType   string
	hushing      bool // ResponseBody is to look at an error
	encoding     string
	graphing     bool                 // ResponseBody is to look at an answer of GraphQL
	batched      bool                 // the requests of GraphQL came in a list
	graphed      []*graphql.Operation // one for each request of GraphQL, nil where it is not known
	enveloped    bool                 // ResponseBody is to look at an answer of SOAP
	called       *spec.SOAPOperation
	faultCode    string      // of a fault that is replaced
	coding       string      // Content-Encoding of the request's body, to be undone
	decoded      []byte      // that body without it, for the door
	answerCoding string      // Content-Encoding of an answer that is looked at
	kept         http.Header // head of that error
	known        silent.Known
	leaks        []silent.Leak

	view     *rule.View // kept from one exchange to the next
	body     []byte     // while rules look at it
	bodiless bool
	signed   bool   // proven by the request's signature
	early    bool   // the body is read before the caller is known
	raw      []byte // while its signature is checked
	rawWhole bool
	awaited  bool     // rules wait for the body
	then     BodyPlan // what is wanted of it besides

	reasons []sallyport.Reason
	unseen  []string
	fields  []sallyport.Field
	asked   int // how many of fields are the request's
	refusal *Refusal
}

// Begin opens a session on a request's head. End must be called on it.
func (p *Program) Begin(r *Request, now time.Time) (*Session, Step) {
	s := p.sessions.Get().(*Session)
	s.p, s.r, s.began = p, *r, now
	s.snapshot(r.Header)
	s.asked = len(s.fields)
	return s, s.begin(now)
}

// snapshot keeps the header's lines as they are now: a door goes on to change
// the map for the upstream.
func (s *Session) snapshot(h http.Header) {
	for name, values := range h {
		for _, v := range values {
			if len(s.fields) == maxFields {
				s.miss("header: lines beyond the first 512 are not recorded")
				return
			}
			s.fields = append(s.fields, sallyport.Field{Name: name, Value: v})
		}
	}
}

// release forgets the exchange and gives the session back. Buffers that one
// huge request has blown up are not kept.
func (s *Session) release() {
	p := s.p
	clear(s.reasons)
	clear(s.unseen)
	clear(s.fields)
	s.check.Reset()
	s.token.Reset()
	s.inspected.Begin()
	clear(s.match.Params[:s.match.N])
	if cap(s.text) > 64<<10 {
		s.text = nil
	}
	s.p, s.r, s.api, s.op, s.id, s.refusal, s.entry = nil, Request{}, nil, nil, nil, nil, nil
	clear(s.inner)
	s.inner = s.inner[:0]
	if s.calls != nil {
		s.calls.release()
	}
	clear(s.owed)
	s.owed = s.owed[:0]
	s.match.Op, s.match.N, s.match.Allowed, s.match.Implied = nil, 0, nil, false
	s.seen, s.asked, s.answer, s.fetched, s.inquired, s.dpop, s.plan = 0, 0, 0, false, false, false, BodyNone
	s.signed, s.early, s.raw, s.rawWhole = false, false, nil, false
	s.body, s.bodiless, s.awaited, s.then = nil, false, false, BodyNone
	s.graphing, s.enveloped, s.called, s.faultCode = false, false, nil, ""
	s.batched, s.form = false, nil
	clear(s.graphed)
	s.graphed = s.graphed[:0]
	s.answerCoding, s.coding, s.decoded = "", "", nil
	s.contentType, s.answerType, s.credential = "", "", sallyport.Place{}
	s.hushing, s.encoding, s.kept, s.known, s.leaks = false, "", nil, silent.Known{}, s.leaks[:0]
	s.reasons, s.unseen, s.fields = s.reasons[:0], s.unseen[:0], s.fields[:0]
	p.sessions.Put(s)
}

// API is the API that the request is for, nil when none matched. It is shared
// and must not be changed.
func (s *Session) API() *sallyport.API {
	if s.api == nil {
		return nil
	}
	return &s.api.api
}

// Operation is the operation that the request is for; its Template is empty
// when no specification declares it.
func (s *Session) Operation() sallyport.Operation {
	if s.op == nil {
		return sallyport.Operation{Method: s.r.Method}
	}
	op := s.op.op
	if !op.Declared || op.Method == "" {
		op.Method = s.r.Method
	}
	return op
}

// A Caller is who a request is made for, as another session has proven it.
type Caller struct {
	api        string
	id         *authn.Identity
	credential sallyport.Place // that proved it
}

// Behalf is who this request is made for, for requests that the door makes on
// its behalf: to the same API, with the same credentials in their headers.
func (s *Session) Behalf() Caller {
	if s.api == nil || s.id == nil {
		return Caller{}
	}
	return Caller{s.api.api.Name, s.id, s.credential}
}

// Principal is who the request is made for, as far as it has been proven.
func (s *Session) Principal() sallyport.Principal {
	if s.id == nil {
		return sallyport.Principal{}
	}
	return s.id.Principal
}

// Caller is by which name the principal is counted, "" when there is none, and
// which scopes it has; they are shared and must not be changed.
func (s *Session) Caller() (name string, scopes []string) {
	if s.id == nil {
		return "", nil
	}
	return s.id.Name, s.id.Scopes
}

// miss notes something that is not looked at.
func (s *Session) miss(what string) {
	for _, u := range s.unseen {
		if u == what {
			return
		}
	}
	if len(s.unseen) < maxUnseen {
		s.unseen = append(s.unseen, what)
	}
}

// on reports whether a stage runs at all for this operation.
func (s *Session) on(st stage) bool { return s.op.modes[st] != sallyport.Off }

// fault records a finding of stage st under the mode that holds for it.
func (s *Session) fault(st stage, r *Refusal, rule string, place sallyport.Place, class, detail string) {
	s.add(st, s.op.modes[st], r, rule, place, class, detail)
}

// add records a finding. In enforce mode, unless an exception spares it, the
// first one decides how the request is refused; r is shared and not changed.
// It reports whether the finding is acted on.
func (s *Session) add(st stage, mode sallyport.Mode, r *Refusal, rule string, place sallyport.Place, class, detail string) bool {
	reason := sallyport.Reason{Stage: stageNames[st], Rule: rule, Place: place, Class: class, Detail: detail, Mode: mode}
	for i := range s.op.exceptions {
		if e := &s.op.exceptions[i]; e.Covers(rule, place, s.began) {
			reason.Exception = e.ID
			break
		}
	}
	acts := mode == sallyport.Enforce && reason.Exception == ""
	if acts && s.refusal == nil {
		s.refusal = r
	}
	reason.Place = discreet(place)
	switch {
	case len(s.reasons) < maxReasons:
		s.reasons = append(s.reasons, reason)
	case acts && s.refusal == r && !s.explained():
		s.reasons[maxReasons-1] = reason // what decided is never the one left out
		fallthrough
	default:
		s.miss("reasons: more than 32, the rest is left out")
	}
	return acts
}

// explained reports whether one of the reasons kept is of the kind that refuses.
func (s *Session) explained() bool {
	for i := range s.reasons {
		if s.reasons[i].Mode == sallyport.Enforce && s.reasons[i].Exception == "" {
			return true
		}
	}
	return false
}

// discreet keeps names that a caller made up out of the record: what is not a
// plain name is shown as *.
func discreet(p sallyport.Place) sallyport.Place {
	const most = 200
	if p.In == sallyport.InPath || plainName(p.Name) && len(p.Name) <= most {
		return p
	}
	if p.In != sallyport.InBody || !strings.HasPrefix(p.Name, "/") {
		p.Name = "*"
		return p
	}
	parts := strings.Split(p.Name[1:min(len(p.Name), 4096)], "/")
	for i, part := range parts {
		if !plainName(part) || len(part) > 64 {
			parts[i] = "*"
		}
	}
	if p.Name = "/" + strings.Join(parts, "/"); len(p.Name) > most {
		p.Name = p.Name[:strings.LastIndexByte(p.Name[:most], '/')] + "/…"
	}
	return p
}

// plainName reports whether s looks like a name: nothing but what names are
// made of, and fewer digits than a number that stands for somebody has.
func plainName(s string) bool {
	digits := 0
	for i := range len(s) {
		if !nameByte[s[i]] {
			return false
		}
		if s[i] >= '0' && s[i] <= '9' {
			digits++
		}
	}
	return digits <= 8
}

var nameByte = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./[]~$: ") {
		t[c] = true
	}
	return t
}()

// refuse is the step that turns the request away.
func (s *Session) refuse() Step { return Step{Verb: Refuse, Refusal: s.refusal} }

// subnet is the address that a client is counted by: IPv6 by /64, since a
// client commands all of one.
func subnet(a netip.Addr) netip.Addr {
	if a = a.Unmap(); !a.Is6() {
		return a
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

// End closes the session and gives the record of the exchange, which is the
// caller's. The session must not be used again.
func (s *Session) End(o Outcome, now time.Time) *sallyport.Exchange {
	cost := o.Cost
	if len(s.owed) > 0 {
		cost = s.costOf(&o)
		s.settle(&cost, o.Origin != 0, now)
	}
	x := &sallyport.Exchange{
		ID: s.r.ID, Time: s.began, Duration: now.Sub(s.began), Upstream: o.Upstream, Door: s.r.Door,
		Method: s.r.Method, Host: s.r.Host, Path: s.r.Path, Query: s.r.RawQuery, Proto: s.r.Proto, TLS: s.r.TLS,
		Client: s.r.Client, Principal: s.Principal(), Status: o.Status, Origin: o.Origin, Instance: o.Instance, Retries: o.Retries,
		RequestBytes: o.RequestBytes, ResponseBytes: o.ResponseBytes, RequestBody: o.RequestBody, ResponseBody: o.ResponseBody,
		NewStatus: s.check.NewStatus, Call: s.check.Action, Cost: cost,
	}
	if s.api != nil {
		x.API, x.Template, x.Declared = s.api.api.Name, s.op.op.Template, s.op.op.Declared
		if len(s.inner) > 0 {
			x.Verb = s.op.op.Method
			for _, op := range s.inner {
				if op != s.op {
					x.Also = append(x.Also, op.op.Key())
				}
			}
		}
	}
	if n := len(s.fields); n > 0 {
		fields := make([]sallyport.Field, n)
		copy(fields, s.fields)
		x.RequestHeader = fields[:s.asked:s.asked]
		if n > s.asked {
			x.ResponseHeader = fields[s.asked:]
		}
	}
	for _, place := range s.check.Undocumented {
		if place != s.credential {
			x.Undocumented = append(x.Undocumented, discreet(place))
		}
	}
	s.decide(&x.Decision, o)
	s.release()
	return x
}

// decide writes down what was decided and why.
func (s *Session) decide(d *sallyport.Decision, o Outcome) {
	d.Action, d.Program, d.Relief = sallyport.ActionAllow, s.p.name, o.Relief
	if s.refusal != nil {
		d.Action, d.Stage, d.Status = s.refusal.Action, s.refusal.Stage, s.refusal.Status
	}
	reasons := s.reasons
	if o.Reason != nil {
		reasons = append(reasons, *o.Reason)
		s.reasons = reasons
		if s.refusal == nil && o.Reason.Mode == sallyport.Enforce {
			d.Action, d.Stage, d.Status = sallyport.ActionRefuse, o.Reason.Stage, o.Status
			if o.Reason.Stage == sallyport.StageRelieve {
				d.Action = sallyport.ActionThrottle
			}
		}
	}
	if len(reasons) > 0 {
		d.Reasons = append([]sallyport.Reason(nil), reasons...)
	}
	switch {
	case s.op == nil || len(s.op.unseen) == 0:
		if len(s.unseen) > 0 {
			d.NotInspected = append([]string(nil), s.unseen...)
		}
	case len(s.unseen) == 0:
		d.NotInspected = s.op.unseen // shared, clipped: whoever appends copies
	default:
		d.NotInspected = append(append([]string(nil), s.op.unseen...), s.unseen...)
	}
}

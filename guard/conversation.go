package guard

import (
	"encoding/base64"

	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard/authn"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
	"sallyport.dev/spec/jsondoc"
)

// The verbs of what happens on a connection after it has become a WebSocket, in
// AsyncAPI's words: the service receives what a client sends.
const (
	VerbReceive    = "receive"
	VerbSend       = "send"
	VerbConnection = "connection"
)

// A Conversation is a connection that has become a WebSocket, as the guard sees
// it: it judges each message as it would a body. It outlives the session that
// has opened it and keeps the program that this began under. Its methods may be
// called from several goroutines.
type Conversation struct {
	p       *Program
	r       Request
	api     *api
	op      *operation
	entry   *entry
	id      *authn.Identity
	channel *spec.Channel
	ws      policy.WebSocket
	graph   bool
	began   time.Time
	ends    time.Time // of the credential; zero: it does not end

	mu       sync.Mutex
	due      time.Time // GCRA: when the next message of an even flow is due
	received int64
	sent     int64
	refused  int64
}

// upgradeHead checks a request for a WebSocket as such, where its messages are
// looked at or the origins of pages are named.
func (s *Session) upgradeHead() {
	w := &s.api.ws
	if !s.talks() && len(w.Origins) == 0 {
		return
	}
	if s.on(authorise) && !s.ownOrigin() {
		s.fault(authorise, refusedOrigin, "websocket.origin", sallyport.Place{In: sallyport.InHeader, Name: "Origin"}, "",
			"a page of another origin opens the connection")
	}
	if !s.talks() || !s.on(validate) {
		return
	}
	key, err := base64.StdEncoding.DecodeString(first(s.r.Header, "Sec-Websocket-Key"))
	if err != nil || len(key) != 16 || len(s.r.Header["Sec-Websocket-Key"]) != 1 || first(s.r.Header, "Sec-Websocket-Version") != "13" {
		s.fault(validate, refusedInvalid, "websocket.handshake", sallyport.Place{In: sallyport.InHeader, Name: "Sec-WebSocket-Key"}, "",
			"key or version is not as RFC 6455 wants it")
	}
	if s.entry != nil && s.entry.graph != nil && !slices.ContainsFunc(s.r.Header["Sec-Websocket-Protocol"], func(v string) bool { return strings.Contains(v, "graphql-") }) {
		s.fault(validate, refusedInvalid, "websocket.protocol", sallyport.Place{In: sallyport.InHeader, Name: "Sec-WebSocket-Protocol"}, "",
			"GraphQL is spoken as graphql-transport-ws")
	}
}

var refusedOrigin = &Refusal{Kind: KindForbidden, Action: sallyport.ActionRefuse, Stage: sallyport.StageAuthorise}

// ownOrigin reports whether the page that opens the connection, if one does, is
// of the host that is asked or of an origin that the policy names.
func (s *Session) ownOrigin() bool {
	values := s.r.Header["Origin"]
	if len(values) == 0 {
		return true
	}
	origin := values[0]
	if slices.ContainsFunc(s.api.ws.Origins, func(o string) bool { return strings.EqualFold(o, origin) }) {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Path != "" {
		return false
	}
	scheme := "http"
	if s.r.TLS {
		scheme = "https"
	}
	return strings.EqualFold(u.Host, s.r.Host) && strings.EqualFold(u.Scheme, scheme)
}

// talks reports whether the messages behind the upgrade are looked at.
func (s *Session) talks() bool {
	if !s.r.Upgrade || s.op == nil || s.api == nil || s.api.ws.Messages == policy.PassThem {
		return false
	}
	if s.entry != nil {
		return s.entry.graph != nil && s.entry.graph.talks
	}
	return s.op.spec.Channel() != nil || s.api.wsStated
}

// Converses reports whether Converse will give a conversation. A door then
// leaves Sec-WebSocket-Extensions out of what it sends to the upstream.
func (s *Session) Converses() bool { return s.refusal == nil && s.talks() }

// Converse gives the conversation that the upgrade of this session begins, nil
// when its messages pass unlooked at. It is called after Response, before End.
func (s *Session) Converse() *Conversation {
	if !s.Converses() {
		return nil
	}
	c := &Conversation{p: s.p, r: s.r, api: s.api, op: s.op, entry: s.entry, id: s.id, channel: s.op.spec.Channel(), ws: s.api.ws, began: s.began}
	c.graph = s.entry != nil
	c.r.Header, c.r.ContentLength = http.Header{}, -1
	if s.id != nil {
		if c.ends = s.id.Ends(); c.ends.IsZero() && s.r.Certificate != nil && s.id.Principal.Kind == "certificate" {
			c.ends = s.r.Certificate.Expires
		}
	}
	return c
}

// Terms are what a conversation is held under.
type Terms struct {
	Size  int64         // bytes of one message
	Spill bool          // a longer one passes in parts, unlooked at
	Idle  time.Duration // without a message
	Life  time.Time     // when the connection ends; zero: never
	Ends  time.Time     // when its credential does; zero: never
}

// Terms gives them.
func (c *Conversation) Terms() Terms {
	t := Terms{Size: c.ws.Size, Idle: c.ws.Idle, Ends: c.ends}
	t.Spill = c.op.modes[validate] != sallyport.Enforce && c.op.modes[inspecting] != sallyport.Enforce
	if c.ws.Life > 0 {
		t.Life = c.began.Add(c.ws.Life)
	}
	return t
}

// A Heard is one message as a door read it.
type Heard struct {
	ID       string // for its record
	Received bool   // from the client
	Binary   bool
	Part     bool // of a message that is longer than Terms.Size: it was not read whole
	Data     []byte
}

// Hear judges a message. pass says whether it goes on; when it does not, the
// connection is to end with the close code 1008. The record is the caller's.
func (c *Conversation) Hear(m Heard, now time.Time) (pass bool, x *sallyport.Exchange) {
	s := c.p.sessions.Get().(*Session)
	s.p, s.r, s.began, s.api, s.op, s.entry, s.id = c.p, c.r, now, c.api, c.op, c.entry, c.id
	s.r.ID = m.ID
	if c.graph {
		s.r.Method = http.MethodPost
	}
	name := ""
	if m.Received {
		c.count(s, now)
	}
	if s.refusal == nil {
		name = c.judge(s, &m, now)
	}
	out := Outcome{Status: http.StatusSwitchingProtocols, Origin: http.StatusSwitchingProtocols, RequestBytes: int64(len(m.Data))}
	verb := VerbReceive
	if !m.Received {
		verb, out.RequestBytes, out.ResponseBytes = VerbSend, 0, int64(len(m.Data))
	}
	pass = s.refusal == nil
	c.mu.Lock()
	if m.Received {
		c.received++
	} else {
		c.sent++
	}
	if !pass {
		c.refused++
	}
	c.mu.Unlock()
	inner := len(s.inner) > 0
	x = s.End(out, now)
	x.Method, x.Proto = c.r.Method, "websocket"
	if !inner {
		x.Verb = verb
	}
	if name != "" {
		x.Call = name
	}
	return pass, x
}

// count asks whether the client may send another message now.
func (c *Conversation) count(s *Session, now time.Time) {
	if !s.on(limiting) {
		return
	}
	c.mu.Lock()
	many, fast := c.ws.Count > 0 && c.received >= c.ws.Count, c.fast(now)
	c.mu.Unlock()
	if many {
		s.fault(limiting, refusedMessages, "message.count", sallyport.Place{}, "", "the connection has sent as many messages as it may")
	}
	if fast {
		s.fault(limiting, refusedMessages, "message.rate", sallyport.Place{}, "", "the connection sends messages faster than it may")
	}
}

// Control counts a ping of the client's, or a pong that answers none, in the rate
// of its messages. x is nil, and nothing to record, unless it comes too fast.
func (c *Conversation) Control(id string, now time.Time) (pass bool, x *sallyport.Exchange) {
	if c.op.modes[limiting] == sallyport.Off {
		return true, nil
	}
	c.mu.Lock()
	fast := c.fast(now)
	c.mu.Unlock()
	if !fast {
		return true, nil
	}
	s := c.p.sessions.Get().(*Session)
	s.p, s.r, s.began, s.api, s.op, s.entry, s.id = c.p, c.r, now, c.api, c.op, c.entry, c.id
	s.r.ID = id
	s.fault(limiting, refusedMessages, "message.rate", sallyport.Place{}, "", "the connection sends pings faster than it may send messages")
	pass = s.refusal == nil
	x = s.End(Outcome{Status: http.StatusSwitchingProtocols, Origin: http.StatusSwitchingProtocols}, now)
	x.Method, x.Proto, x.Verb = c.r.Method, "websocket", VerbReceive
	return pass, x
}

// fast reports whether what comes now comes faster than it may, by GCRA; c.mu is held.
func (c *Conversation) fast(now time.Time) (fast bool) {
	if r := c.ws.Rate; r.Count > 0 {
		step := r.Window / time.Duration(r.Count)
		due := c.due
		if due.Before(now) {
			due = now
		}
		if fast = due.Sub(now) > step*time.Duration(max(c.ws.Burst-1, 0)); !fast {
			c.due = due.Add(step)
		}
	}
	return fast
}

var refusedMessages = &Refusal{Kind: KindLimited, Action: sallyport.ActionThrottle, Stage: sallyport.StageLimit}

// judge is validation and inspection of one message. It gives its name.
func (c *Conversation) judge(s *Session, m *Heard, now time.Time) (name string) {
	place := sallyport.Place{In: sallyport.InBody}
	if m.Part {
		s.miss("message: longer than the bound of what is looked at")
		s.fault(validate, refusedTooLarge, "message.size", place, "", "the message is longer than the bound")
		return ""
	}
	declared := c.channel != nil || c.graph
	if m.Binary {
		refuse := c.ws.Binary == policy.RefuseIt || c.ws.Binary == "" && declared
		if refuse && s.on(validate) {
			s.fault(validate, refusedInvalid, "message.binary", place, "", "binary messages are not declared")
		}
		s.miss("message: binary, only its beginning was looked at")
		if s.refusal == nil && s.on(inspecting) && m.Received {
			s.inspectText(m.Data[:min(int64(len(m.Data)), c.api.bounds.Sample)])
		}
		return ""
	}
	if c.graph {
		if m.Received {
			s.graphMessage(m.Data, now)
		}
		return ""
	}
	if s.on(validate) || s.on(inspecting) {
		name = c.channel.CheckMessage(&s.check, m.Received, m.Data)
	}
	problems := s.check.Problems[s.seen:]
	s.seen = len(s.check.Problems)
	if s.on(validate) && c.channel != nil {
		for i := range problems {
			s.fault(validate, refusedInvalid, problems[i].Rule, problems[i].Place, "", problems[i].Detail)
		}
		if s.api.undocumented == policy.Refuse {
			for _, u := range s.check.Undocumented {
				s.fault(validate, refusedInvalid, "parameter.undocumented", u, "", "no specification declares it")
			}
		}
	}
	if s.refusal != nil || !s.on(inspecting) || !m.Received {
		return name
	}
	if s.check.HasDoc {
		s.inspectDoc()
	} else {
		s.inspectText(m.Data)
	}
	return name
}

// graphMessage judges a client's message of graphql-transport-ws, or of the
// older protocol that calls itself graphql-ws: the operations in it are judged
// like those of any request.
func (s *Session) graphMessage(b []byte, now time.Time) {
	(*spec.Operation)(nil).CheckBody(&s.check, "application/json", b)
	s.validated()
	d := &s.check.Doc
	bad := func(detail string) {
		s.breaks(refusedInvalid, "graphql.message", sallyport.Place{In: sallyport.InBody}, "", detail)
	}
	if !s.check.HasDoc {
		if s.refusal == nil && s.on(inspecting) {
			s.inspectText(b)
		}
		return
	}
	if d.Nodes[0].Kind != jsondoc.Object {
		bad("a message is an object")
		return
	}
	kind, payload, id := "", -1, false
	for i := 1; i < int(d.Nodes[0].Next); i = int(d.Nodes[i].Next) {
		switch string(d.Key(i, nil)) {
		case "type":
			if d.Nodes[i].Kind == jsondoc.String {
				kind = string(d.Text(i, nil))
			}
		case "id":
			id = d.Nodes[i].Kind == jsondoc.String && d.Nodes[i].End > d.Nodes[i].Start
		case "payload":
			payload = i
		default:
			s.undocumented(i)
		}
	}
	switch kind {
	case "connection_init", "ping", "pong", "connection_terminate":
	case "complete", "stop":
		if !id {
			bad("it names no operation")
		}
	case "subscribe", "start":
		if !id || payload < 0 {
			bad("an operation has an id and a payload")
			break
		}
		s.graphEnvelope(payload)
		if s.strictest(inspecting); s.refusal == nil {
			if s.on(inspecting) {
				s.inspectDoc()
			}
			s.admit(now)
		}
		s.lead()
		return
	default:
		bad("its type is none that a client may send")
	}
	if s.refusal == nil && s.on(inspecting) {
		s.inspectDoc()
	}
}

// A Parting is how a conversation ended, as a door knows it.
type Parting struct {
	Code          int // close code, 1006 when the connection just ended
	Reason        *sallyport.Reason
	Instance      string
	RequestBytes  int64
	ResponseBytes int64
}

// End gives the record of the conversation as a whole.
func (c *Conversation) End(id string, e Parting, now time.Time) *sallyport.Exchange {
	s := c.p.sessions.Get().(*Session)
	s.p, s.r, s.began, s.api, s.op, s.id = c.p, c.r, c.began, c.api, c.op, c.id
	s.r.ID = id
	c.mu.Lock()
	received, sent, refused := c.received, c.sent, c.refused
	c.mu.Unlock()
	x := s.End(Outcome{Status: http.StatusSwitchingProtocols, Origin: http.StatusSwitchingProtocols, Instance: e.Instance, RequestBytes: e.RequestBytes,
		ResponseBytes: e.ResponseBytes, Reason: e.Reason}, now)
	x.Verb, x.Proto = VerbConnection, "websocket"
	x.Call = "close " + decimal(int64(e.Code)) + ", received " + decimal(received) + ", sent " + decimal(sent) + ", refused " + decimal(refused)
	return x
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

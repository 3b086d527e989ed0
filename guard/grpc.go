package guard

import (
	"errors"
	"net/http"
	"strings"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/policy"
	"sallyport.dev/spec/proto"
	"sallyport.dev/spec/proto/frame"
)

var (
	refusedMessage  = &Refusal{Kind: KindTooLarge, Action: sallyport.ActionRefuse, Stage: sallyport.StageValidate}
	refusedEncoding = &Refusal{Kind: KindNotImplemented, Action: sallyport.ActionRefuse, Stage: sallyport.StageValidate}
	errCompressed   = errors.New("a message says that it is compressed, and no encoding was named")
)

// Direction says which way a message goes.
type Direction uint8

// The directions.
const (
	Asked    Direction = iota // from the client
	Answered                  // from the upstream
)

// messages is what a session keeps of a call over gRPC. It stays with the
// session from one exchange to the next, for its memory.
type messages struct {
	method   *proto.Method // nil: no call
	way      [2]way        // by Direction
	walk     proto.Walk
	inflater frame.Inflater
	text     []byte
}

// way is one direction of a call.
type way struct {
	form     frame.Form
	encoding string // of messages: "", "gzip"; "?" cannot be read
	count    int
	trailer  bool
}

// release forgets the call. Buffers that one huge message has blown up are not kept.
func (c *messages) release() {
	c.method, c.way = nil, [2]way{}
	if cap(c.text) > 64<<10 {
		c.text = nil
	}
}

// opaqueFields takes over which fields are no text to anybody.
func (a *api) opaqueFields(c *API) (m Mistakes) {
	a.opaque = map[string]bool{}
	for _, name := range c.Policy.GRPC.Opaque {
		a.opaque[name] = true
		if c.Spec == nil || c.Spec.Proto() == nil || !c.Spec.Proto().Field(name) {
			m = append(m, mistake("api %s: grpc.opaque: %s is no field that spec declares; want package.Message.field", c.Name, name))
		}
	}
	return m
}

// encodingOf gives the encoding of a stream's messages, "?" for one that is not
// read here.
func encodingOf(h http.Header) string {
	v := h["Grpc-Encoding"]
	switch {
	case len(v) == 0 || len(v) == 1 && (v[0] == "" || strings.EqualFold(v[0], "identity")):
		return ""
	case len(v) == 1 && v[0] == "gzip":
		return v[0]
	}
	return "?"
}

// expectMessages is expectBody for a method of gRPC.
func (s *Session) expectMessages(m *proto.Method) Step {
	if s.calls == nil {
		s.calls = new(messages)
	}
	c := s.calls
	form, grpc, inProto := frame.FormOf(s.contentType)
	if !grpc || !inProto {
		s.miss("body: no gRPC, so its messages were not read")
		s.unreadable(true, refusedMediaType, "body.media-type", "the method is asked over gRPC or gRPC-Web, in Protocol Buffers")
		return s.proceed(BodyStream, 0)
	}
	c.method, c.way = m, [2]way{{form: form, encoding: encodingOf(s.r.Header)}}
	if e := first(s.r.Header, "Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		s.miss("body: it has a content-encoding")
		s.unreadable(s.api.bounds.Encoded != policy.PassIt, refusedMediaType, "body.content-encoding", "a body with a Content-Encoding cannot be checked")
		return s.proceed(BodyStream, 0)
	}
	deadline, rule := s.deadline()
	if rule != "" {
		s.breaks(refusedInvalid, rule, sallyport.Place{In: sallyport.InHeader, Name: "Grpc-Timeout"}, "", "a deadline is up to eight digits and a unit")
	}
	if c.way[Asked].encoding == "?" {
		s.miss("body: its messages are in an encoding that is not read here")
		s.unreadable(s.api.bounds.Encoded != policy.PassIt, refusedEncoding, "grpc.encoding", "messages are read plain or in gzip")
	}
	var step Step
	if m.ClientStream && !form.Web {
		step = s.proceed(BodyMessages, s.api.grpc.Message)
	} else {
		step = s.proceed(BodyWhole, s.wholeBound(form))
	}
	step.Deadline = deadline
	return step
}

// wholeBound is how long the body of a call with one message may be.
func (s *Session) wholeBound(f frame.Form) int64 {
	n := s.api.grpc.Message + frame.HeadSize
	if f.Text {
		n = (n/3 + 2) * 4
	}
	return n
}

// deadline is the time that the call may take, zero for no bound.
func (s *Session) deadline() (d time.Duration, rule string) {
	most := s.api.grpc.Deadline
	v := s.r.Header["Grpc-Timeout"]
	if len(v) == 0 {
		return most, ""
	}
	d, ok := frame.Timeout(v[0])
	if !ok || len(v) > 1 {
		return most, "grpc.timeout"
	}
	if most > 0 && d > most {
		d = most
	}
	return d, ""
}

// calledWhole takes the messages out of a request's body that is all there.
func (s *Session) calledWhole(b []byte, now time.Time) Step {
	c := s.calls
	if int64(len(b)) > s.wholeBound(c.way[Asked].form) {
		return s.oversize()
	}
	if c.way[Asked].form.Text {
		text, err := frame.Decode(c.text[:0], b)
		if c.text = text; err != nil {
			s.frameFault(Asked, err)
			return s.proceed(BodyNone, 0)
		}
		b = text
	}
	for len(b) > 0 && s.refusal == nil {
		flags, message, rest, err := frame.Next(b)
		if err != nil {
			s.frameFault(Asked, err)
			return s.proceed(BodyNone, 0)
		}
		s.message(Asked, flags, message, now)
		b = rest
	}
	if s.refusal == nil {
		s.counted(Asked)
	}
	return s.proceed(BodyNone, 0)
}

// Message hands over one message of a BodyMessages stream before it is passed
// on: the flags of its frame and what is behind them. The session does not keep
// it. A refusal ends the call. Trailers of gRPC-Web go to WebTrailer.
func (s *Session) Message(d Direction, flags byte, message []byte, now time.Time) Step {
	if s.refusal == nil && s.calling() {
		s.message(d, flags, message, now)
	}
	return s.proceed(BodyMessages, 0)
}

func (s *Session) calling() bool { return s.calls != nil && s.calls.method != nil }

// MessagesEnd says how a BodyMessages stream ended: err is nil, or one of the
// errors of package frame. frame.ErrTooLarge stands for one message that is
// longer than the bound and was not read; Proceed means then to pass it unread.
func (s *Session) MessagesEnd(d Direction, err error) Step {
	switch {
	case s.refusal != nil || !s.calling():
	case errors.Is(err, frame.ErrTooLarge):
		s.calls.way[d].count++
		if d == Asked {
			return s.oversize()
		}
		s.miss("answer: a message larger than the bound of what is looked at")
	case err != nil:
		s.frameFault(d, err)
	default:
		s.counted(d)
	}
	return s.proceed(BodyMessages, 0)
}

// frameFault records frames that lie. What cannot be taken apart cannot be
// inspected either.
func (s *Session) frameFault(d Direction, err error) {
	s.unreadFault(d, refusedInvalid, "grpc.frame", err.Error())
}

func (s *Session) unreadFault(d Direction, r *Refusal, rule, detail string) {
	place := sallyport.Place{In: sallyport.InBody}
	s.messageFault(d, r, rule, place, detail)
	if d == Asked && s.refusal == nil && s.on(inspecting) {
		s.fault(inspecting, refusedUnreadable, rule, place, "", detail)
	}
}

// messageFault records what is wrong with a message, in the mode of its direction.
func (s *Session) messageFault(d Direction, r *Refusal, rule string, place sallyport.Place, detail string) {
	if d == Asked {
		s.breaks(r, rule, place, "", detail)
		return
	}
	mode, r := s.api.answers, refusedAnswer
	if a := s.op.answer; a != nil {
		mode, r = a.mode(a.Types), refusalOf(a.Types)
	}
	if s.api.answers != sallyport.Off {
		s.add(validate, mode, r, "answer."+rule, place, "", detail)
	}
}

// counted looks at how many messages there were, at a stream's end.
func (s *Session) counted(d Direction) {
	m := s.calls.method
	if d == Asked && m.ClientStream || d == Answered && m.ServerStream {
		return
	}
	if n := s.calls.way[d].count; n > 1 || n == 0 && d == Asked { // an answer without a message is an error's
		s.messageFault(d, refusedInvalid, "grpc.messages", sallyport.Place{In: sallyport.InBody}, "the method takes and gives exactly one message")
	}
}

// message looks at one message.
func (s *Session) message(d Direction, flags byte, b []byte, now time.Time) {
	c := s.calls
	w := &c.way[d]
	switch {
	case flags&^(frame.Compressed|frame.Trailer) != 0:
		s.frameFault(d, frame.ErrFlags)
		return
	case flags&frame.Trailer != 0 || w.trailer:
		s.unreadFault(d, refusedInvalid, "grpc.frame", "a trailer where none belongs, or a message behind it")
		return
	}
	if w.count++; w.count > s.api.grpc.Messages {
		s.messageFault(d, refusedMessage, "grpc.messages", sallyport.Place{In: sallyport.InBody}, "more messages in one call than the bound")
		if s.refusal != nil {
			return
		}
	}
	if flags&frame.Compressed != 0 {
		switch w.encoding {
		case "gzip":
			out, err := c.inflater.Gzip(b, s.messageBound(d))
			if err != nil {
				s.unreadFault(d, refusedMessage, "grpc.inflate", err.Error())
				return
			}
			b = out
		case "":
			s.frameFault(d, errCompressed)
			return
		default:
			return // said at the head already
		}
	}
	s.walked(d, b, now)
}

func (s *Session) messageBound(d Direction) int64 {
	if d == Answered {
		return max(s.api.bounds.Answer, s.api.grpc.Message)
	}
	return s.api.grpc.Message
}

// walked checks a message against its type and inspects what that leaves open.
func (s *Session) walked(d Direction, b []byte, now time.Time) {
	c := s.calls
	table := c.method.Input
	switch {
	case d == Answered && s.api.answers == sallyport.Off, d == Asked && !s.on(validate) && !s.on(inspecting):
		return
	case d == Answered:
		table = c.method.Output
	}
	w := &c.walk
	table.Check(b, w, proto.Bounds{Depth: s.api.grpc.Depth, Elements: s.api.grpc.Elements}, now)
	for i := range w.Problems {
		p := &w.Problems[i]
		s.messageFault(d, refusedInvalid, p.Rule, sallyport.Place{In: sallyport.InBody, Name: p.Pointer}, p.Detail)
	}
	for _, pointer := range w.Undocumented {
		place := sallyport.Place{In: sallyport.InBody, Name: pointer}
		if d == Asked && len(s.check.Undocumented) < 32 {
			s.check.Undocumented = append(s.check.Undocumented, place)
		}
		if s.api.undocumented == policy.Refuse {
			s.messageFault(d, refusedInvalid, "parameter.undocumented", place, "no specification declares it")
		}
	}
	if d == Answered || s.refusal != nil || !s.on(inspecting) {
		return
	}
	if w.Unread {
		s.unreadFault(d, refusedInvalid, "grpc.unread", "the message could not be read to its end")
		s.inspectText(b)
		return
	}
	for i := range w.Values {
		v := &w.Values[i]
		if v.Bytes() && (s.api.opaque[v.Field()] || !legible(b[v.Start:v.End])) {
			continue
		}
		if f := s.p.engine.Check(b[v.Start:v.End], sallyport.InBody, &s.inspected); f.Hit() {
			s.hit(f, sallyport.Place{In: sallyport.InBody, Name: w.Pointer(v)}, "")
		}
	}
}

// legible reports whether bytes may be text to somebody: few of them, in the
// beginning, are control characters.
func legible(b []byte) bool {
	b = b[:min(len(b), 1<<10)]
	odd := 0
	for _, c := range b {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			odd++
		}
	}
	return odd*8 <= len(b)
}

// expectAnswers is the part of Response for a method of gRPC.
func (s *Session) expectAnswers(h http.Header) Step {
	form, grpc, _ := frame.FormOf(s.answerType)
	if !grpc || !s.calling() {
		if s.answerType != "" {
			s.miss("answer: no gRPC, so its messages were not read")
		}
		return s.proceed(BodyStream, 0)
	}
	c := s.calls
	c.way[Answered] = way{form: form, encoding: encodingOf(h)}
	if c.way[Answered].encoding == "?" {
		s.miss("answer: its messages are in an encoding that is not read here")
	}
	return s.proceed(BodyMessages, s.messageBound(Answered))
}

// WebTrailer hands over the trailer of a gRPC-Web answer, which is a frame of
// its body, and gives the edits to make in it.
func (s *Session) WebTrailer(h http.Header) []HeadEdit {
	if s.calls != nil {
		s.calls.way[Answered].trailer = true
	}
	return s.Trailer(h)
}

// GRPCStatus is the code of gRPC that stands for a kind of refusal (google.rpc.Code;
// for errors of an upstream that answers over plain HTTP, gRPC's
// http-grpc-status-mapping).
func (k Kind) GRPCStatus() int {
	if k.Name == "service-error" {
		switch k.Status {
		case http.StatusBadRequest:
			return 13
		case http.StatusUnauthorized:
			return 16
		case http.StatusForbidden:
			return 7
		case http.StatusNotFound:
			return 12
		case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return 14
		}
		return 2
	}
	switch k {
	case KindUnauthenticated:
		return 16 // UNAUTHENTICATED
	case KindForbidden, KindRefused:
		return 7 // PERMISSION_DENIED
	case KindNotFound, KindMethod, KindMediaType, KindNotImplemented, KindVersion:
		return 12 // UNIMPLEMENTED
	case KindTooLarge, KindTargetTooLong, KindHeaderTooLarge, KindLimited:
		return 8 // RESOURCE_EXHAUSTED
	case KindTimeout, KindUpstreamTimeout:
		return 4 // DEADLINE_EXCEEDED
	case KindUnavailable, KindBadAnswer:
		return 14 // UNAVAILABLE
	case KindInternal:
		return 13 // INTERNAL
	}
	return 3 // INVALID_ARGUMENT
}

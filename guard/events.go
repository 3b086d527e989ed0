package guard

import (
	"net/http"
	"time"

	sallyport "sallyport.dev"
)

// Events are the server-sent events of one answer, as the guard sees them: each
// is judged as the body of an answer would be. They outlive the session whose
// answer they are, and belong to one goroutine.
type Events struct {
	p      *Program
	r      Request
	api    *api
	op     *operation
	status int
}

// Events gives the events of an answer of type text/event-stream, nil when
// nobody looks at them. It is called after Response, before End.
func (s *Session) Events() *Events {
	if s.refusal != nil || s.api == nil || s.api.answers == sallyport.Off || s.answer != http.StatusOK || !hasPrefixFold(s.answerType, "text/event-stream") {
		return nil
	}
	if !s.op.spec.DeclaresEvents(s.answer) && (s.op.answer == nil || s.op.answer.Sensitive == "") {
		return nil
	}
	e := &Events{p: s.p, r: s.r, api: s.api, op: s.op, status: s.answer}
	e.r.Header = http.Header{}
	return e
}

// Bound is how many bytes of one event are looked at. holds says whether an
// event may have to be changed or refused: then its bytes wait for its end.
func (e *Events) Bound() (bytes int64, holds bool) {
	if e.op.answer != nil {
		return e.api.bounds.Answer, e.op.answer.acts()
	}
	return e.api.bounds.Answer, e.api.answers == sallyport.Enforce
}

// Judge looks at the data of one event. out is what is to be sent in its place,
// nil for what came. When pass is false the event stays behind and the stream
// ends. The record, nil when nothing was found, is the caller's. cut says that
// the event is longer than the bound and data is not to be had.
func (e *Events) Judge(id string, data []byte, cut bool, now time.Time) (out []byte, pass bool, x *sallyport.Exchange) {
	s := e.p.sessions.Get().(*Session)
	s.p, s.r, s.began, s.api, s.op = e.p, e.r, now, e.api, e.op
	s.r.ID = id
	s.answer, s.answerType, s.plan = e.status, "text/event-stream", BodyNone
	a := s.op.answer
	switch {
	case cut && a != nil:
		s.unseenAnswer(ruleOversize, "the event is longer than the bound")
	case cut:
		s.add(validate, sallyport.Observe, nil, ruleOversize, sallyport.Place{In: sallyport.InBody}, "", "the event is longer than the bound")
	case s.op.spec.Channel() != nil:
		s.op.spec.Channel().CheckMessage(&s.check, false, data)
		s.answered()
	case a != nil:
		if step := s.judgeAnswer(data); step.Verb == Proceed {
			out = step.Replace
		}
	default:
		s.op.spec.CheckResponseBody(&s.check, s.answer, s.answerType, data)
		s.answered()
	}
	pass = s.refusal == nil
	found := len(s.reasons) > 0
	o := Outcome{Status: e.status, Origin: e.status, ResponseBytes: int64(len(data))}
	if x = s.End(o, now); !found {
		return out, pass, nil
	}
	x.Proto, x.Verb = "event-stream", VerbSend
	return out, pass, x
}

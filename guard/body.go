package guard

import (
	"net/http"
	"strings"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

// expectBody says what is wanted of the request's body, and closes the head.
func (s *Session) expectBody() Step {
	looks := s.on(validate) || s.on(inspecting)
	s.contentType = first(s.r.Header, "Content-Type")
	if s.r.Upgrade {
		if s.upgradeHead(); s.refusal != nil {
			return s.refuse()
		}
		if !s.talks() {
			s.miss("messages after the upgrade: they are passed through")
		}
	}
	if m := s.op.spec.GRPC(); m != nil && looks {
		return s.expectMessages(m)
	}
	if s.r.ContentLength == 0 {
		if s.on(validate) && s.op.spec != nil {
			s.op.spec.CheckBody(&s.check, s.contentType, nil)
			if s.validated(); s.refusal != nil {
				return s.refuse()
			}
		}
		return s.proceed(BodyNone, 0)
	}
	if !looks {
		return s.proceed(BodyStream, 0)
	}
	if encoding := first(s.r.Header, "Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		if s.api.bounds.Encoded == policy.DecodeIt {
			if s.coding = strings.Join(s.r.Header["Content-Encoding"], ","); s.r.ContentLength > s.api.bounds.Body {
				return s.oversize()
			}
			return s.proceed(BodyWhole, s.api.bounds.Body)
		}
		s.miss("body: it has a content-encoding")
		s.unreadable(s.api.bounds.Encoded == policy.RefuseIt, refusedMediaType, "body.content-encoding", "a body with a Content-Encoding cannot be checked")
		return s.proceed(BodyStream, 0)
	}
	if s.entry != nil {
		if s.r.ContentLength > s.api.bounds.Body {
			return s.oversize()
		}
		return s.proceed(BodyWhole, s.api.bounds.Body)
	}
	kind := s.op.spec.Body(s.contentType)
	declared := s.op.spec != nil && kind != spec.None && kind != spec.Undeclared
	if (declared || s.op.spec == nil) && hasPrefixFold(s.contentType, "application/grpc") {
		s.miss("body: a stream of gRPC messages")
		return s.proceed(BodyStream, 0)
	}
	if !declared {
		if s.op.spec != nil {
			s.miss("body: its media type is not declared, so no schema was applied")
		}
		// Nobody declared it: it is read as what it says it is, and whole when it
		// fits, for what it says may be meant to keep it from being read.
		fits := s.r.ContentLength > 0 && s.r.ContentLength <= s.api.bounds.Body
		if by := (*spec.Operation)(nil).Body(s.contentType); by != spec.Binary || fits {
			kind = by
		} else {
			if kind == spec.Undeclared && s.on(validate) {
				s.fault(validate, refusedMediaType, "body.media-type", sallyport.Place{In: sallyport.InBody}, "", "media type is not declared")
			}
			kind, declared = spec.Binary, true
		}
	}
	if kind == spec.Binary && declared {
		s.miss("body: binary, only its beginning was looked at")
		return s.proceed(BodySample, s.api.bounds.Sample)
	}
	if kind == spec.Multipart && s.streamsForm() {
		return s.expectForm()
	}
	if s.r.ContentLength > s.api.bounds.Body {
		return s.oversize()
	}
	return s.proceed(BodyWhole, s.api.bounds.Body)
}

func (s *Session) proceed(plan BodyPlan, limit int64) Step {
	if s.refusal != nil {
		return s.refuse()
	}
	s.plan = plan
	return Step{Verb: Proceed, Body: plan, BodyLimit: limit}
}

func (s *Session) oversize() Step {
	s.miss("body: larger than the bound of what is looked at")
	s.unreadable(s.api.bounds.Oversize == policy.RefuseIt, refusedTooLarge, "body.too-large", "the body is larger than the bound")
	return s.proceed(BodyStream, 0)
}

// unreadable records that something could not be looked at. It is refused when
// the bounds say so and either check of bodies is enforced.
func (s *Session) unreadable(refused bool, r *Refusal, rule, detail string) {
	st := validate
	if s.op.modes[inspecting] == sallyport.Enforce && s.op.modes[validate] != sallyport.Enforce {
		st = inspecting
	}
	mode := s.op.modes[st]
	if !refused {
		mode = sallyport.Observe
	}
	s.add(st, mode, r, rule, sallyport.Place{In: sallyport.InBody}, "", detail)
}

// RequestBody hands over the request's body, whole or as a sample, as the step
// before said. The session does not keep b.
func (s *Session) RequestBody(b []byte, now time.Time) Step {
	step := s.requestBody(b, now)
	if s.decoded != nil && step.Verb == Proceed && step.Body == BodyNone {
		step.Replace, s.decoded = s.decoded, nil
	}
	return step
}

func (s *Session) requestBody(b []byte, now time.Time) Step {
	if s.refusal != nil {
		return s.refuse()
	}
	if s.early {
		return s.signedBody(b, now)
	}
	if s.awaited && s.bodyCame(b, now) {
		return s.proceed(BodyNone, 0)
	}
	switch s.plan {
	case BodySample:
		s.plan = BodyNone
		if s.on(inspecting) {
			s.inspectText(b)
		}
		return s.proceed(BodyNone, 0)
	case BodyWhole:
		s.plan = BodyNone
	default:
		return s.proceed(BodyNone, 0)
	}
	if s.op.spec.GRPC() != nil {
		return s.calledWhole(b, now)
	}
	if int64(len(b)) > s.api.bounds.Body {
		return s.oversize()
	}
	if s.coding != "" {
		text, ok := s.undo(b)
		if b = text; !ok || s.refusal != nil {
			return s.proceed(BodyNone, 0)
		}
	}
	if s.entry != nil {
		return s.enterBody(b, now)
	}
	params := len(s.check.Params)
	s.op.spec.CheckBody(&s.check, s.contentType, b)
	if s.validated(); s.refusal != nil {
		return s.refuse()
	}
	if len(s.check.Files) > 0 {
		if s.files(); s.refusal != nil {
			return s.refuse()
		}
	}
	if s.on(inspecting) {
		switch {
		case s.check.HasDoc:
			s.inspectDoc()
		case len(s.check.Params) > params:
			s.inspectParams(s.check.Params[params:])
		default:
			s.inspectUnread(b)
		}
	}
	return s.proceed(BodyNone, 0)
}

// Response hands over the head of the upstream's answer.
func (s *Session) Response(status int, h http.Header, now time.Time) Step {
	s.answer, s.answerType = status, first(h, "Content-Type")
	s.snapshot(h)
	step := s.checkAnswer(status, h)
	if s.refusal == nil && s.api != nil && s.on(rewriting) && status >= 200 {
		step = s.silence(step, status, h, now)
	}
	return s.tell(step, h, now)
}

// checkAnswer is the part of Response that compares it with the contract.
func (s *Session) checkAnswer(status int, h http.Header) Step {
	if s.refusal == nil && s.entry != nil && s.hearsGraph(status) {
		return s.graphAnswer(h)
	}
	if s.refusal == nil && s.entry != nil && s.entry.soap != nil && status >= 200 {
		return s.soapAnswer(status, h)
	}
	if s.refusal != nil || s.api == nil || s.op.spec == nil && s.op.answer == nil || s.api.answers == sallyport.Off || status < 200 {
		return Step{Body: BodyStream}
	}
	if s.op.spec.GRPC() != nil {
		return s.expectAnswers(h)
	}
	if s.op.answer != nil {
		return s.expectAnswer(status, h)
	}
	s.op.spec.CheckResponse(&s.check, status, h)
	if s.check.NewStatus {
		// Never refused: what a service answers when it fails is seldom declared.
		s.add(validate, sallyport.Observe, nil, "answer.status", sallyport.Place{}, "", "the specification does not declare the answer's status")
	}
	if s.answered(); s.refusal != nil {
		return s.refuse()
	}
	switch encoding := first(h, "Content-Encoding"); {
	case s.r.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified:
		return s.proceed(BodyNone, 0)
	case encoding != "" && !strings.EqualFold(encoding, "identity"):
		s.miss("answer: it has a content-encoding")
	case hasPrefixFold(s.answerType, "text/event-stream") || hasPrefixFold(s.answerType, "application/grpc"):
		s.miss("answer: it streams")
	case !jsonType(s.answerType) && !s.op.spec.ValidatesXML(status, s.answerType):
		if s.answerType != "" {
			s.miss("answer: only JSON is checked")
		}
	case s.api.answers == sallyport.Enforce:
		return s.proceed(BodyWhole, s.api.bounds.Answer)
	default:
		return s.proceed(BodySample, s.api.bounds.Answer)
	}
	return s.proceed(BodyStream, 0)
}

// ResponseBody hands over the answer's body, as the step of Response said.
func (s *Session) ResponseBody(b []byte, now time.Time) Step {
	if s.refusal != nil {
		return s.refuse()
	}
	if s.hushing {
		s.hushing = false
		if step := s.hush(b, now); step.Verb == Rewrite {
			return step
		}
	}
	if s.plan != BodyWhole && s.plan != BodySample {
		return s.proceed(BodyNone, 0)
	}
	s.plan = BodyNone
	if s.graphing {
		return s.judgeGraph(b)
	}
	if s.enveloped {
		return s.judgeEnvelope(b, now)
	}
	if s.op.answer != nil {
		return s.judgeAnswer(b)
	}
	if int64(len(b)) > s.api.bounds.Answer {
		s.miss("answer: larger than the bound of what is looked at")
		return s.proceed(BodyNone, 0)
	}
	s.op.spec.CheckResponseBody(&s.check, s.answer, s.answerType, b)
	s.answered()
	return s.proceed(BodyNone, 0)
}

var refusedAnswer = &Refusal{Kind: KindBadAnswer, Action: sallyport.ActionRefuse, Stage: sallyport.StageValidate}

// answered turns the problems found in the answer into reasons; their rules
// begin with "answer.".
func (s *Session) answered() {
	problems := s.check.Problems[s.seen:]
	s.seen = len(s.check.Problems)
	mode, r := s.api.answers, refusedAnswer
	if a := s.op.answer; a != nil {
		mode, r = a.mode(a.Types), refusalOf(a.Types)
	}
	for i := range problems {
		p := &problems[i]
		s.add(validate, mode, r, "answer."+strings.TrimPrefix(p.Rule, "response."), p.Place, "", p.Detail)
	}
}

func first(h http.Header, canonical string) string {
	if v := h[canonical]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// jsonType reports whether a media type is JSON's, or ends in +json (RFC 6839).
func jsonType(t string) bool {
	t, _, _ = strings.Cut(t, ";")
	t = strings.TrimSpace(t)
	return strings.EqualFold(t, "application/json") || strings.EqualFold(t, "text/json") ||
		len(t) > len("+json") && strings.EqualFold(t[len(t)-len("+json"):], "+json")
}

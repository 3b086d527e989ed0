package guard

import (
	"net/http"
	"slices"
	"strings"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard/silent"
	"sallyport.dev/spec"
)

// FaultCode is the code that the fault has with which the request is answered,
// without prefix: what a refusal demands, or that of the upstream's fault whose
// place it takes. "" is for the door to choose by the status.
func (s *Session) FaultCode() string {
	if s == nil {
		return ""
	}
	return s.faultCode
}

// soapAnswer says what is wanted of an answer to a call: faults come with any
// status, errors besides them are the affair of silence.
func (s *Session) soapAnswer(status int, h http.Header) Step {
	judged, heard := s.api.answers != sallyport.Off, s.on(rewriting)
	switch {
	case status >= 400 && heard, !judged && !heard:
		return Step{Body: BodyStream}
	case s.r.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified:
		return s.proceed(BodyNone, 0)
	case !xmlType(s.answerType):
		if s.answerType != "" && judged && first(h, "Content-Length") != "0" {
			s.check.Problems = append(s.check.Problems, spec.Problem{Place: sallyport.Place{In: sallyport.InBody}, Rule: "body.media-type", Detail: "the answer is no SOAP in XML, or has attachments"})
			s.answered()
		}
		return s.proceed(BodyStream, 0)
	}
	s.enveloped, s.answerCoding, s.encoding, s.kept = true, strings.Join(h["Content-Encoding"], ","), "", h
	if heard && s.op.modes[rewriting] == sallyport.Enforce || s.op.answer != nil && s.op.answer.acts() || s.op.answer == nil && s.api.answers == sallyport.Enforce {
		return s.proceed(BodyWhole, s.api.bounds.Answer)
	}
	return s.proceed(BodySample, s.api.bounds.Answer)
}

// xmlType reports whether a media type is one in which SOAP is sent.
func xmlType(t string) bool {
	t, _, _ = strings.Cut(t, ";")
	t = strings.TrimSpace(t)
	return strings.EqualFold(t, "text/xml") || strings.EqualFold(t, "application/soap+xml") || strings.EqualFold(t, "application/xml")
}

// judgeEnvelope looks at an answer that did not come as an error: a fault is
// treated like one, all else is compared with what the operation declares, and
// stays as it is byte for byte.
func (s *Session) judgeEnvelope(b []byte, now time.Time) Step {
	s.enveloped = false
	text, err := silent.Readable(b, s.answerCoding, s.answerType, s.api.bounds.Answer)
	if err != nil {
		if s.op.answer != nil {
			return s.unseenAnswer(ruleOversize, "the answer is longer than the bound, or in an encoding that is not read")
		}
		s.miss("answer: it could not be looked at whole")
		return s.proceed(BodyNone, 0)
	}
	if len(text) == 0 { // one-way
		return s.proceed(BodyNone, 0)
	}
	a := s.entry.soap.CheckAnswer(&s.check, s.called, s.answerType, text, s.api.answers != sallyport.Off)
	if a.Fault {
		if !s.on(rewriting) || slices.Contains(s.op.errors.Pass, s.answer) {
			return s.proceed(BodyNone, 0)
		}
		if s.check.HasDoc {
			s.known.Body = s.check.Doc.Src
		}
		if step := s.hushSaid(text, &a, now); step.Verb == Rewrite {
			return step
		}
		s.kept = nil
		return s.proceed(BodyNone, 0)
	}
	s.kept = nil
	s.answered()
	return s.proceed(BodyNone, 0)
}

// hushFault is hush for an error of a SOAP service.
func (s *Session) hushFault(b []byte, now time.Time) Step {
	text, err := silent.Readable(b, s.encoding, s.answerType, s.op.errors.Bound)
	if err != nil {
		replace := s.whole()
		s.miss("error: it is too long, or written in a way that is not read here")
		if s.foundError(silent.RuleUnread, "", "the error cannot be looked at") || replace {
			return s.rewritten(now)
		}
		return Step{}
	}
	var a spec.SOAPAnswer
	if xmlType(s.answerType) {
		a = s.entry.soap.CheckAnswer(&s.check, s.called, s.answerType, text, false)
	}
	return s.hushSaid(text, &a, now)
}

// hushSaid decides whether an error is replaced: what is no fault as any error
// is; a fault of the service's own when the operation does not declare its
// detail; any fault when it gives something away.
func (s *Session) hushSaid(text []byte, a *spec.SOAPAnswer, now time.Time) Step {
	replace := false
	blamed := a.Code == "Client" || a.Code == "Sender" || a.Code == "MustUnderstand" || a.Code == "VersionMismatch" || a.Code == "DataEncodingUnknown"
	switch {
	case !a.Fault:
		replace = s.whole()
	case s.op.login && s.foundError(silent.RuleLogin, "", "a failed sign-in is answered like any other"):
		replace = true
	case !blamed && !a.Declared:
		replace = s.foundError(silent.RuleServer, "", "a fault of the server that the operation does not declare is not for the caller")
	}
	if a.Traces && s.foundError(silent.RuleServer, "stack", "the detail of the fault holds a trace") {
		replace = true
	}
	s.leaks = silent.Look(text, &s.known, s.leaks[:0])
	if len(s.leaks) == 0 && len(a.Says) > 0 { // what references and sections hide
		s.leaks = silent.Look(a.Says, &s.known, s.leaks[:0])
	}
	for _, l := range s.leaks {
		if s.foundError(l.Rule, l.Class, "the fault gives something away") {
			replace = true
		}
	}
	if !replace {
		return Step{}
	}
	if a.Fault {
		s.faultCode = "Server"
		if blamed {
			s.faultCode = a.Code
		}
	}
	return s.rewritten(now)
}

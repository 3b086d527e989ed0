package guard

import (
	"net/http"
	"strings"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/policy"
)

// SOAP is the version of SOAP that the caller speaks, 1 or 2, and 0 when the
// request is no call of a SOAP service: refusals are then faults.
func (s *Session) SOAP() int {
	switch {
	case s == nil || s.entry == nil || s.entry.soap == nil:
		return 0
	case hasPrefixFold(first(s.r.Header, "Content-Type"), "application/soap+xml"):
		return 2
	}
	return 1
}

// soapHead looks at the head of a request to a SOAP service.
func (s *Session) soapHead() {
	switch {
	case s.r.Method != http.MethodPost:
		if s.on(identify) {
			s.fault(identify, methodRefusal([]string{"POST"}), "operation.method", sallyport.Place{In: sallyport.InMethod}, "", "SOAP is sent by POST")
		}
	case s.r.ContentLength == 0:
		s.breaks(refusedInvalid, "soap.envelope", sallyport.Place{In: sallyport.InBody}, "", "the request has no body")
	}
}

// soapBody reads the envelope of a call.
func (s *Session) soapBody(b []byte, now time.Time) {
	media, _, _ := strings.Cut(s.contentType, ";")
	if media = strings.TrimSpace(media); !strings.EqualFold(media, "text/xml") && !strings.EqualFold(media, "application/soap+xml") {
		s.breaks(refusedMediaType, "body.media-type", sallyport.Place{In: sallyport.InBody}, "", "SOAP is sent as text/xml or application/soap+xml, without attachments")
		if s.refusal == nil && s.on(inspecting) {
			s.inspectUnread(b)
		}
		return
	}
	op, signed := s.entry.soap.Check(&s.check, &s.entry.headers, s.entry.at, s.contentType, s.r.Header["Soapaction"], b)
	if signed {
		s.miss("soap: WS-Security is bounded in its structure, its signatures are not verified")
	}
	if s.called = op; op != nil {
		if o := s.entry.ops[policy.VerbSOAP+" "+op.Name]; o != nil {
			s.name(o)
			s.strictest(validate)
		}
	}
	if s.validated(); s.refusal != nil {
		if n := len(s.reasons); s.reasons[n-1].Rule == "soap.must-understand" {
			s.faultCode = "MustUnderstand"
		}
		s.lead()
		return
	}
	if s.strictest(inspecting); s.on(inspecting) {
		if s.check.HasDoc {
			s.inspectDoc()
		} else {
			s.inspectText(b)
		}
	}
	if s.refusal == nil {
		s.admit(now)
	}
	s.lead()
}

package guard

import (
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard/signed"
)

// signs reports whether the request is to be proven by its signature, for which
// the whole body is needed before anything else is known. Whoever presents a
// token or a key is proven by that.
func (s *Session) signs() bool {
	if s.api.auth == nil || !s.api.auth.Signatures() || !s.on(authenticate) || len(s.r.Header["Authorization"]) > 0 || !s.api.auth.Signed(s.r.Header) {
		return false
	}
	if s.api.auth.Keys() {
		if _, n := s.apiKey(); n > 0 {
			return false
		}
	}
	return true
}

// signedHead says that the body comes first, where there is one that can be read.
func (s *Session) signedHead(now time.Time) Step {
	s.signed = true
	if s.r.ContentLength == 0 || s.r.ContentLength > s.api.bounds.Body {
		s.raw, s.rawWhole = nil, s.r.ContentLength == 0
		return s.authenticated(now)
	}
	s.early = true
	return s.proceed(BodyWhole, s.api.bounds.Body)
}

// signedBody goes on from the body to all that Begin has put off.
func (s *Session) signedBody(b []byte, now time.Time) Step {
	s.early, s.plan = false, BodyNone
	s.raw, s.rawWhole = b, int64(len(b)) <= s.api.bounds.Body
	step := s.authenticated(now)
	s.raw = nil
	if step.Verb == Proceed && (s.plan == BodyWhole || s.plan == BodySample) {
		return s.RequestBody(b, now)
	}
	return step
}

// signature proves the caller by the request's signature.
func (s *Session) signature(now time.Time) {
	place := sallyport.Place{In: sallyport.InHeader, Name: s.api.auth.SignaturePlace(s.r.Header)}
	if !s.mayFail(now) {
		return
	}
	query := s.r.RawQuery
	if s.r.Sent != "" {
		query = s.r.Sent
	}
	scheme := "http"
	if s.r.TLS {
		scheme = "https"
	}
	id, rule := s.api.auth.Signature(&signed.Message{Method: s.r.Method, Scheme: scheme, Host: s.r.Host, Path: s.r.Path, RawQuery: query,
		Header: s.r.Header, Length: s.r.ContentLength, Body: s.raw, Whole: s.rawWhole}, now)
	if rule == "" {
		s.id = id
		return
	}
	s.credential = place
	s.failed(rule, now)
}

package authn

import (
	"time"
	"unsafe"
)

// Introspection is a KeySource that also keeps what issuers have said about
// opaque tokens (RFC 7662).
type Introspection interface {
	// Answer gives the issuer's answer about an active token, as the text of a
	// JSON object, which is the same text as long as the answer holds; nil when the
	// issuer said that the token is not active. known is false when no answer is in memory.
	Answer(issuer, token string) (claims []byte, known bool)
}

const (
	maxAnswer = 64 << 10 // of an issuer about a token
	forever   = 1 << 40  // an answer without exp holds for as long as it is kept
)

// Opaque reports whether a token is one that the issuer must be asked about: it
// does not have the three parts of a JWS.
func (v *Verifier) Opaque(token string) bool {
	if v.opaque == nil {
		return false
	}
	dots := 0
	for i := range len(token) {
		if token[i] == '.' {
			dots++
		}
	}
	return dots != 2
}

// OpaqueIssuer is who is asked about opaque tokens.
func (v *Verifier) OpaqueIssuer() string { return v.opaque.name }

// Introspected goes by what the issuer has said about a token. RuleUnasked means
// that nothing it said is in memory.
func (v *Verifier) Introspected(token string, s *Scratch, now time.Time) (id *Identity, rule string) {
	switch {
	case len(token) > maxToken:
		return nil, RuleTooLong
	case !plainToken(token):
		return nil, RuleMalformed
	case v.answers == nil:
		return nil, RuleUnasked
	}
	answer, known := v.answers.Answer(v.opaque.name, token)
	switch {
	case !known:
		return nil, RuleUnasked
	case len(answer) == 0:
		return nil, RuleInactive
	}
	if e := v.cache.get(token); e != nil && e.key == any(unsafe.SliceData(answer)) {
		if rule := v.demand(&e.claims, now.Unix()); rule != "" {
			return nil, rule
		}
		return &e.id, ""
	}
	s.token, s.claims, s.signed, s.signature = "", claims{}, nil, nil
	if rule := s.readClaims(answer); rule != "" {
		return nil, rule
	}
	c := &s.claims
	c.has |= isOpaque
	if c.issuer == "" {
		c.issuer = v.opaque.name // it is who was asked
	}
	if c.has&hasExpires == 0 {
		c.expires = forever
	}
	switch {
	case c.issuer != v.opaque.name: // it speaks for another
		return nil, RuleIssuer
	case c.subject == "":
		return nil, RuleClaims
	}
	if rule := v.demand(c, now.Unix()); rule != "" {
		return nil, rule
	}
	s.token, s.answer = token, answer
	return v.cache.put(s, unsafe.SliceData(answer), now.Unix()), ""
}

// Asks reports whether the issuer of id, whose JWT was verified, is to be asked
// besides whether the token is still active.
func (v *Verifier) Asks(id *Identity) bool {
	return v.askJWT && id.Principal.Issuer == v.opaque.name
}

// Active goes by what the issuer has said about a JWT of its own: "" as long as
// that it is active, RuleInactive, or RuleUnasked when nothing is in memory.
func (v *Verifier) Active(token string) (rule string) {
	if v.answers == nil {
		return RuleUnasked
	}
	switch answer, known := v.answers.Answer(v.opaque.name, token); {
	case !known:
		return RuleUnasked
	case len(answer) == 0:
		return RuleInactive
	}
	return ""
}

// plainToken reports whether a token is of the alphabet of bearer tokens (RFC
// 6750, section 2.1).
func plainToken(token string) bool {
	for i := range len(token) {
		switch c := token[i]; {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9':
		case c == '-' || c == '.' || c == '_' || c == '~' || c == '+' || c == '/' || c == '=':
		default:
			return false
		}
	}
	return token != ""
}

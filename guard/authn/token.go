package authn

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unsafe"

	sallyport "sallyport.dev"
	"sallyport.dev/spec/jsondoc"
)

// claims is what a token says, as far as anybody here looks at it.
type claims struct {
	alg, typ, kid              string
	issuer, subject, client    string
	audience, scopes           []string
	expires, notBefore, issued int64
	azp, actor, acr            string
	signedIn                   int64
	has                        presence
	jkt, x5t                   [32]byte // what the token is bound to, by has
}

// presence says which claims stand in a token.
type presence uint16

const (
	hasSubject presence = 1 << iota
	hasIssued
	hasID
	hasClientID
	hasSignedIn
	hasJKT
	hasX5T
	hasExpires
	isOpaque   // an issuer's answer, not a token that speaks for itself
	hasProfile = hasSubject | hasIssued | hasID | hasClientID
)

// A Scratch holds one token while it is read. The zero value is ready; it is
// reused and belongs to one goroutine.
type Scratch struct {
	token     string
	signed    []byte // of the token itself
	signature []byte
	claims    claims
	proof     proof  // when it is one
	answer    []byte // of the issuer about an opaque token

	doc  jsondoc.Doc
	text []byte // decoded header, then payload
	key  []byte
}

// Reset forgets the token and keeps the memory.
func (s *Scratch) Reset() {
	if s.token == "" && s.claims.alg == "" {
		return
	}
	clear(s.text)
	s.token, s.claims, s.signed, s.proof, s.answer = "", claims{}, nil, proof{}, nil
	s.doc.Reset()
}

// Issuer and KeyID name the key that the token read last was signed by.
func (s *Scratch) Issuer() string { return s.claims.issuer }

// KeyID is the token's kid.
func (s *Scratch) KeyID() string { return s.claims.kid }

var tokenLimits = jsondoc.Limits{Bytes: maxAnswer, Depth: 8, Nodes: 512, Members: 256, StringBytes: maxToken}

// encoding is base64url without padding; trailing bits must be zero, so that no
// two texts stand for one signature.
var encoding = base64.RawURLEncoding.Strict()

// read takes a compact JWS (RFC 7515, section 7.1) apart. Rules are checked in
// the order of their cost, and nothing of the token is believed.
func (s *Scratch) read(token string) string {
	return s.take(token, s.readHeader, s.readPayload)
}

// take reads the parts of a compact JWS by the functions given.
func (s *Scratch) take(token string, header, payload func(text []byte) (rule string)) string {
	s.token, s.claims, s.signed, s.signature, s.answer = "", claims{}, nil, nil, nil
	if len(token) > maxToken {
		return RuleTooLong
	}
	first, last, ok := split(token)
	if !ok {
		return RuleMalformed
	}
	s.text = grow(s.text, len(token))
	n, err := encoding.Decode(s.text, bytesOf(token[:first]))
	if err != nil {
		return RuleMalformed
	}
	if rule := header(s.text[:n]); rule != "" {
		return rule
	}
	if n, err = encoding.Decode(s.text, bytesOf(token[first+1:last])); err != nil {
		return RuleMalformed
	}
	if rule := payload(s.text[:n]); rule != "" {
		return rule
	}
	s.signature = grow(s.signature, encoding.DecodedLen(len(token)-last-1))
	if n, err = encoding.Decode(s.signature, bytesOf(token[last+1:])); err != nil || n == 0 {
		return RuleMalformed
	}
	s.token, s.signed, s.signature = token, bytesOf(token[:last]), s.signature[:n]
	return ""
}

// split finds the two dots of a token; every other byte must be of the base64url
// alphabet (Go's decoder would skip line ends).
func split(token string) (first, last int, ok bool) {
	dots := 0
	for i := range len(token) {
		switch c := token[i]; {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_':
		case c == '.':
			if dots++; dots == 1 {
				first = i
			}
			last = i
		default:
			return 0, 0, false
		}
	}
	return first, last, dots == 2 && first > 0 && last > first+1 && last < len(token)-1
}

// members calls f for each member of the object in text; f gives the rule that
// the member breaks. Duplicate members and anything but an object are refused.
func (s *Scratch) members(text []byte, f func(key string, i int) string) string {
	if err := s.doc.Parse(text, tokenLimits); err != nil || s.doc.Nodes[0].Kind != jsondoc.Object {
		return RuleMalformed
	}
	for i := int32(1); i < s.doc.Nodes[0].Next; i = s.doc.Nodes[i].Next {
		s.key = grow(s.key, int(s.doc.Nodes[i].KeyEnd-s.doc.Nodes[i].KeyStart))
		if rule := f(string(s.doc.Key(int(i), s.key)), int(i)); rule != "" {
			return rule
		}
	}
	return ""
}

func (s *Scratch) readHeader(text []byte) string {
	c := &s.claims
	rule := s.members(text, func(key string, i int) string {
		switch key {
		case "alg":
			return s.str(i, &c.alg, RuleMalformed)
		case "typ":
			return s.str(i, &c.typ, RuleMalformed)
		case "kid":
			return s.str(i, &c.kid, RuleMalformed)
		case "crit", "b64", "zip", "cty", "enc", "jwk", "jku", "x5u", "x5c":
			return RuleHeader
		}
		return ""
	})
	switch {
	case rule != "":
		return rule
	case !asymmetric(c.alg):
		return RuleAlgorithm
	case len(c.kid) > maxKeyID:
		return RuleHeader
	}
	return ""
}

func (s *Scratch) readPayload(text []byte) string {
	if rule := s.readClaims(text); rule != "" {
		return rule
	}
	c := &s.claims
	if c.issuer == "" {
		return RuleIssuer
	}
	if len(c.audience) == 0 {
		return RuleAudience
	}
	if c.has&hasExpires == 0 || c.subject == "" {
		return RuleClaims
	}
	return ""
}

// readClaims reads what is looked at of a token's claims, or of an issuer's
// answer about a token.
func (s *Scratch) readClaims(text []byte) string {
	c := &s.claims
	var scope, scp bool
	rule := s.members(text, func(key string, i int) string {
		switch key {
		case "iss":
			return s.str(i, &c.issuer, RuleClaims)
		case "sub":
			c.has |= hasSubject
			return s.str(i, &c.subject, RuleClaims)
		case "aud":
			return s.list(i, &c.audience)
		case "exp":
			c.has |= hasExpires
			return s.instant(i, &c.expires)
		case "nbf":
			return s.instant(i, &c.notBefore)
		case "iat":
			c.has |= hasIssued
			return s.instant(i, &c.issued)
		case "jti":
			c.has |= hasID
			if s.doc.Nodes[i].Kind != jsondoc.String {
				return RuleClaims
			}
		case "scope":
			scope = true
			return s.words(i, &c.scopes)
		case "scp":
			scp = true
			return s.words(i, &c.scopes)
		case "client_id":
			c.has |= hasClientID
			return s.str(i, &c.client, RuleClaims)
		case "azp":
			return s.str(i, &c.azp, RuleClaims)
		case "acr":
			return s.str(i, &c.acr, RuleClaims)
		case "auth_time":
			c.has |= hasSignedIn
			return s.instant(i, &c.signedIn)
		case "act":
			return s.act(i)
		case "cnf":
			return s.confirmation(i)
		}
		return ""
	})
	if rule != "" {
		return rule
	}
	if c.client == "" {
		c.client = c.azp
	}
	if c.subject == "" {
		c.subject = c.client
	}
	if scope && scp {
		return RuleClaims
	}
	return ""
}

func (s *Scratch) str(i int, to *string, broken string) string {
	if s.doc.Nodes[i].Kind != jsondoc.String {
		return broken
	}
	*to = s.textOf(i)
	return ""
}

// confirmation reads what a token is bound to (RFC 7800): the thumbprint of a key
// (RFC 9449, section 6.1) or of a certificate (RFC 8705, section 3.1). Anything
// else could not be checked, so the token is refused.
func (s *Scratch) confirmation(i int) string {
	n := &s.doc.Nodes[i]
	if n.Kind != jsondoc.Object || n.Count == 0 {
		return RuleBound
	}
	for k := int32(i) + 1; k < n.Next; k = s.doc.Nodes[k].Next {
		s.key = grow(s.key, int(s.doc.Nodes[k].KeyEnd-s.doc.Nodes[k].KeyStart))
		to, mark := &s.claims.jkt, hasJKT
		switch string(s.doc.Key(int(k), s.key)) {
		case "jkt":
		case "x5t#S256":
			to, mark = &s.claims.x5t, hasX5T
		default:
			return RuleBound
		}
		if s.doc.Nodes[k].Kind != jsondoc.String || !thumbprint(to, s.textOf(int(k))) {
			return RuleBound
		}
		s.claims.has |= mark
	}
	return ""
}

// thumbprint reads a SHA-256 digest in base64url.
func thumbprint(to *[32]byte, text string) bool {
	var b [33]byte
	if len(text) != 43 {
		return false
	}
	n, err := encoding.Decode(b[:], bytesOf(text))
	copy(to[:], b[:])
	return err == nil && n == len(to)
}

// act reads who acts for the subject (RFC 8693, section 4.1). Actors before it,
// nested inside, are history that decides nothing.
func (s *Scratch) act(i int) string {
	if s.doc.Nodes[i].Kind != jsondoc.Object {
		return RuleClaims
	}
	var subject, client, issuer string
	for k := int32(i) + 1; k < s.doc.Nodes[i].Next; k = s.doc.Nodes[k].Next {
		s.key = grow(s.key, int(s.doc.Nodes[k].KeyEnd-s.doc.Nodes[k].KeyStart))
		to := map[string]*string{"sub": &subject, "client_id": &client, "iss": &issuer}[string(s.doc.Key(int(k), s.key))]
		if to == nil {
			continue
		}
		if rule := s.str(int(k), to, RuleClaims); rule != "" {
			return rule
		}
	}
	if subject == "" {
		subject = client
	}
	if subject == "" {
		return RuleClaims
	}
	if s.claims.actor = subject; issuer != "" {
		s.claims.actor = issuer + "#" + subject
	}
	return ""
}

func (s *Scratch) textOf(i int) string {
	n := &s.doc.Nodes[i]
	s.key = grow(s.key, int(n.End-n.Start))
	return string(s.doc.Text(i, s.key))
}

// list reads a string or an array of strings (RFC 7519, section 4.1.3).
func (s *Scratch) list(i int, to *[]string) string {
	n := &s.doc.Nodes[i]
	switch n.Kind {
	case jsondoc.String:
		*to = append(*to, s.textOf(i))
		return ""
	case jsondoc.Array:
		for k := int32(i) + 1; k < n.Next; k = s.doc.Nodes[k].Next {
			if s.doc.Nodes[k].Kind != jsondoc.String {
				return RuleClaims
			}
			*to = append(*to, s.textOf(int(k)))
		}
		return ""
	}
	return RuleClaims
}

// words reads scopes: one string with spaces (RFC 8693, section 4.2) or an array.
func (s *Scratch) words(i int, to *[]string) string {
	if s.doc.Nodes[i].Kind != jsondoc.String {
		return s.list(i, to)
	}
	*to = append(*to, strings.Fields(s.textOf(i))...)
	return ""
}

// instant reads a NumericDate (RFC 7519, section 2), which may have a fraction.
func (s *Scratch) instant(i int, to *int64) string {
	if s.doc.Nodes[i].Kind != jsondoc.Number {
		return RuleClaims
	}
	f, err := strconv.ParseFloat(string(s.doc.Raw(i)), 64)
	if err != nil || !(f >= 0 && f < 1<<40) {
		return RuleClaims
	}
	*to = int64(f)
	return ""
}

func (s *Scratch) identity() Identity {
	c := &s.claims
	p := sallyport.Principal{Kind: "oidc", Issuer: c.issuer, Subject: c.subject, Client: c.client, Actor: c.actor}
	switch c.has & (hasJKT | hasX5T) {
	case hasJKT:
		p.Binding = "dpop"
	case hasX5T:
		p.Binding = "certificate"
	case hasJKT | hasX5T:
		p.Binding = "dpop+certificate"
	}
	return Identity{Principal: p, Name: p.String(), Scopes: c.scopes, said: &said{token: s.token, answer: s.answer}, ACR: c.acr, SignedIn: c.signedIn, SignedInAt: c.has&hasSignedIn != 0,
		bound: c.has & (hasJKT | hasX5T), jkt: c.jkt, x5t: c.x5t}
}

func grow(b []byte, n int) []byte {
	if cap(b) < n {
		b = make([]byte, max(n, 256))
	}
	return b[:n]
}

func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// Bearer takes the token out of an Authorization header (RFC 6750, section 2.1):
// the scheme in any case, one or more spaces, and the token, whose alphabet is
// checked when it is read.
func Bearer(header string) (token string, ok bool) {
	const scheme = "bearer "
	if len(header) <= len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return "", false
	}
	token = strings.TrimLeft(header[len(scheme):], " ")
	return token, token != ""
}

// DPoP takes the token out of an Authorization header of the scheme DPoP (RFC
// 9449, section 7.1).
func DPoP(header string) (token string, ok bool) {
	const scheme = "dpop "
	if len(header) <= len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return "", false
	}
	token = strings.TrimLeft(header[len(scheme):], " ")
	return token, token != ""
}

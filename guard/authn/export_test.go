package authn

// Signed gives the rule that a compact JWS breaks when its payload may be
// anything: what the vectors of others sign is not a token.
func Signed(jws string, source KeySource, issuer string) (rule string) {
	var s Scratch
	if rule := s.take(jws, s.readHeader, func([]byte) string { return "" }); rule != "" {
		return rule
	}
	key, ok := source.Key(issuer, s.claims.kid, s.claims.alg)
	if !ok {
		return RuleKey
	}
	if !verify(s.claims.alg, key, s.signed, s.signature) {
		return RuleSignature
	}
	return ""
}

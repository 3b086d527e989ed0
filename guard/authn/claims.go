package authn

import (
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
)

// said is what a verified token says, read when somebody first asks.
type said struct {
	once   sync.Once
	token  string // a JWS, whose payload it is
	answer []byte // or the issuer's answer about it
	claims map[string]any

	stood    sync.Once
	standing string
}

// Standing names all that the credential says of its holder, so that two
// identities of one principal that differ in a claim differ in it: a digest of the
// claims without those that belong to a single token (RFC 7519, sections 4.1.4 to
// 4.1.7); "" for credentials that say nothing. decode is that of Claims.
func (id *Identity) Standing(decode func(text []byte) map[string]any) string {
	if id.said == nil {
		return ""
	}
	id.said.stood.Do(func() {
		claims := maps.Clone(id.Claims(decode))
		for _, name := range [...]string{"exp", "nbf", "iat", "jti"} {
			delete(claims, name)
		}
		text, err := json.Marshal(claims) // in the order of their names
		if err != nil || claims == nil {
			text = append(slices.Clone(id.said.answer), id.said.token...) // never the same as another's
		}
		sum := sha256.Sum256(text)
		id.said.standing = string(sum[:16])
	})
	return id.said.standing
}

// Claims gives what decode makes of the text of the claims, once per identity;
// nil for credentials that say nothing, such as API keys. The map is shared and
// must not be changed. Only a token that was verified, or whose issuer has
// called it active, has come to be an Identity.
func (id *Identity) Claims(decode func(text []byte) map[string]any) map[string]any {
	s := id.said
	if s == nil {
		return nil
	}
	s.once.Do(func() {
		text := s.answer
		if text == nil {
			_, rest, _ := strings.Cut(s.token, ".")
			payload, _, _ := strings.Cut(rest, ".")
			var err error
			if text, err = encoding.DecodeString(payload); err != nil {
				return // it was read before, so this does not happen
			}
		}
		s.claims = decode(text)
	})
	return s.claims
}

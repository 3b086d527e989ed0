package authn

import (
	"strings"
	"sync"
)

// said is what a verified token says, read when somebody first asks.
type said struct {
	once   sync.Once
	token  string // a JWS, whose payload it is
	answer []byte // or the issuer's answer about it
	claims map[string]any
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

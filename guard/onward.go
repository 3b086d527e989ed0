package guard

import (
	"sallyport.dev/guard/authn"
)

// Proven gives the access token that proved the caller, and its scopes; "" when
// no token did. The token is a secret: a door sends it to its issuer or upstream
// and writes it nowhere.
func (s *Session) Proven() (token string, scopes []string) {
	if s.id == nil {
		return "", nil
	}
	if header := s.r.Header["Authorization"]; s.id.Principal.Kind == "oidc" && len(header) == 1 {
		var ok bool
		if token, ok = authn.Bearer(header[0]); !ok {
			token, _ = authn.DPoP(header[0])
		}
	}
	return token, s.id.Scopes
}

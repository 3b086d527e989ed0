// Package authn proves who a request was made for. In come the credential as
// presented (a bearer token or an API key), what is demanded of it, the issuers'
// keys from memory and the time; out go a principal with its scopes, or the rule
// that the credential broke. It never fetches anything, never reads a clock, and
// never puts a credential into a message.
package authn

// A KeySource gives the public keys of issuers from memory: *rsa.PublicKey,
// *ecdsa.PublicKey or ed25519.PublicKey. As long as a key set keeps a key, the
// same pointer comes back. kid "" asks for the only key that fits alg.
type KeySource interface {
	Key(issuer, kid, alg string) (key any, ok bool)
}

// A Cache holds verified tokens.
type Cache struct{}

// Package identity fetches what authentication must know and the guard may not
// fetch: it discovers the configured OpenID providers, keeps their key sets
// fresh, and serves the keys from memory. In come issuers (from the
// configuration only: an issuer that merely stands in a token is never called)
// and their answers, each bounded in size and time; out go public keys and, for
// the console, each provider's status. When a provider is down, the last good
// key set goes on serving. It never verifies a token and never holds a private key.
package identity

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// Providers holds the key sets of the configured issuers. Set Issuers and the
// optional fields, then call Run; Key, Resolve and Status are safe for
// concurrent use at any time.
type Providers struct {
	Issuers []string
	Client  *http.Client     // nil: one with bounded times and no redirects
	Log     *slog.Logger     // nil: discard
	Now     func() time.Time // nil: time.Now
}

// A Status is what is known about one provider, for people.
type Status struct {
	Issuer  string
	Keys    []KeyStatus
	Fetched time.Time // when the key set was last fetched with success
	Tried   time.Time // when a fetch was last attempted
	Next    time.Time // when it will be fetched again
	Error   string    // of the last attempt; "" when it succeeded
	Refused []string  // keys of the set that are not used, and why
}

// A KeyStatus is one usable key.
type KeyStatus struct {
	ID, Type, Algorithm string
	Retired             bool // no longer in the set, still accepted for the overlap
}

// Run keeps the key sets fresh until ctx ends.
func (p *Providers) Run(ctx context.Context) error { return nil }

// Resolve tries to get the key kid of a configured issuer: it fetches the key
// set again when the last attempt is long enough ago, and waits for a fetch
// that is under way. A nil error means that the key is in memory now.
func (p *Providers) Resolve(ctx context.Context, issuer, kid string) error { return nil }

// Key gives a public key from memory: see guard.KeySource.
func (p *Providers) Key(issuer, kid, alg string) (key any, ok bool) { return nil, false }

// Status lists the providers in the order of the configuration.
func (p *Providers) Status() []Status { return nil }

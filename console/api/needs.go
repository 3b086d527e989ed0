// Package api is the management API: typed operations, described by the
// OpenAPI 3.1 document that they are registered with. In come requests that a
// session has been loaded for; out go JSON answers, server-sent events and
// errors as RFC 9457 problem documents. It holds no table and no password, and
// never answers a caller whose role does not allow the operation.
package api

import (
	"context"
	"time"

	"sallyport.dev"
	"sallyport.dev/inventory"
	"sallyport.dev/observe"
	"sallyport.dev/observe/original"
	"sallyport.dev/store"
)

// Engine is what the API asks of the running gateway. Its methods are called
// from many goroutines, return copies, and do not block on the network.
type Engine interface {
	Instances() []sallyport.Instance
	Programs() []Program
	Providers() []Provider
	Limits() []Limit
	Certificates() []Certificate
	Notices() []Notice
}

// A Certificate is one that connections hang from.
type Certificate struct {
	Use         string // "served", "client_ca", "upstream", "upstream_ca", "upstream_client"
	Where       string // its file, the name it was obtained for, or the instance that showed it
	Subject     string
	Issuer      string
	Names       []string
	Serial      string // hexadecimal
	Fingerprint string // SHA-256, hexadecimal
	From, Until time.Time
	Renewed     bool // by itself
	Soon        bool // it ends soon, or has ended
	OCSP        *OCSP
}

// OCSP is the answer that is stapled to a certificate.
type OCSP struct {
	Responder string
	Status    string // "good", "revoked", "none"
	Must      bool
	Until     time.Time
	Failing   string
}

// A Notice is something that somebody should look after.
type Notice struct {
	Rule   string // "upstream.plaintext", "certificate.ends", …
	API    string // "" = the whole gateway
	Where  string // in the configuration, or the file
	Text   string
	Severe bool // clients are, or may be, turned away
}

// A Program is what a guard has in force at a door.
type Program struct {
	Name   string // the id that stands in every decision
	Door   string // "gateway", "console"
	Since  time.Time
	APIs   []ProgramAPI
	Failed string // why the newest change was refused and this program stayed; "" = it was not
	At     time.Time
}

// A ProgramAPI is one API as compiled.
type ProgramAPI struct {
	Name       string
	Mode       sallyport.Mode
	Operations int // declared by its specifications
	Exceptions int // in force
}

// A Provider is one identity provider and the state of its keys.
type Provider struct {
	Issuer    string
	Keys      int
	Refreshed time.Time // last success
	Failing   string    // why the last refresh failed, "" = it did not
}

// Credentials is a further ability of an Engine: to tell about API keys and about
// the tokens that it carries to upstreams.
type Credentials interface {
	APIKeys() []APIKey
	UpstreamTokens() []UpstreamToken
}

// An APIKey is one key of the configuration.
type APIKey struct {
	API, ID, Subject string
	Expires          time.Time // zero: never
	Used             time.Time // last use since the start; zero: none
}

// An UpstreamToken is one way in which the gateway gets tokens for upstreams.
type UpstreamToken struct {
	Name     string
	Exchange bool      // callers' tokens are exchanged
	Until    time.Time // of the token in use
	Fetched  time.Time
	Held     int
	Failing  string
}

// Build names the program that runs.
type Build struct {
	Version  string
	Revision string
	Go       string
	Started  time.Time
}

// Journal is what the API reads decisions from; *observe.Journal is one.
type Journal interface {
	Find(ctx context.Context, id string) (*sallyport.Exchange, error)
	List(ctx context.Context, f observe.Filter) (observe.Page, error)
	Tail(ctx context.Context, f observe.Filter) <-chan observe.Live
	Rates(span time.Duration) observe.Rates
}

// Originals are the sealed errors that the API opens; *original.Drawer is one.
type Originals interface {
	Has(ctx context.Context, id string) (bool, error)
	Find(ctx context.Context, id string) (*original.Original, error)
}

// Recorder says what became of the records; *observe.Recorder is one.
type Recorder interface {
	Counters() observe.Counters
}

// Inventory is what the API reads the catalogue from; *inventory.Inventory is
// one.
type Inventory interface {
	APIs(ctx context.Context) ([]inventory.API, error)
	Operations(ctx context.Context, f inventory.Filter) (inventory.Page, error)
	Operation(ctx context.Context, api, key string) (*inventory.Detail, error)
	Changes(ctx context.Context, api string, before int64, limit int) ([]inventory.Change, error)
	Watch(ctx context.Context) <-chan inventory.Notice
	Stats(ctx context.Context) (inventory.Stats, error)
}

// Stream says how the event stream is; *store.Stream is one.
type Stream interface {
	Stats(ctx context.Context) (store.StreamStats, error)
}

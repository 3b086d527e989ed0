// Package console is the desk at which people see and steer Sallyport: the
// management API under /api/v1 and the web interface around it. In come HTTP
// requests of signed-in administrators and what the rooms know (journal,
// inventory, the running engine); out go pages, JSON, live event streams and an
// OpenAPI 3.1 document complete enough to guard the console with.
//
// It owns the tables of accounts, sessions and the audit log. Sessions live on
// the server, passwords and setup links are kept only as hashes, and every
// change, sign-in and failed sign-in is a link of a keyed hash chain.
//
// It never decides about a user's request, never shows a value that the journal
// does not hold, and its pages load nothing from anywhere else.
package console

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"sallyport.dev/console/api"
	"sallyport.dev/store"
)

// What the console needs of the rooms beside it; cmd satisfies Engine, and
// *observe.Journal, *observe.Recorder and *inventory.Inventory the others.
type (
	Engine    = api.Engine
	Journal   = api.Journal
	Recorder  = api.Recorder
	Inventory = api.Inventory

	// Values that an Engine reports.
	Program    = api.Program
	ProgramAPI = api.ProgramAPI
	Provider   = api.Provider
	Build      = api.Build
)

// Options set a Console. Store, Key, Journal, Inventory, Recorder and Engine
// are required; zero values of the rest mean the defaults.
type Options struct {
	Store     *store.Store
	Key       []byte // master key; keys for the audit log are derived from it, it is not kept
	Journal   Journal
	Inventory Inventory
	Recorder  Recorder
	Engine    Engine
	Build     Build

	Idle     time.Duration // a session ends after this long without a request; default 30 min
	Lifetime time.Duration // and at the latest after this long; default 12 h
	AuditAge time.Duration // audit entries are kept this long; default 2 years
	Insecure bool          // the console is served without TLS (loopback only): cookies lose the __Host- prefix

	Logger *slog.Logger // default slog.Default()
}

// A Console serves the management API and the web interface. Its methods are
// safe for concurrent use.
type Console struct{}

// New migrates the console's tables and makes a Console.
func New(ctx context.Context, o Options) (*Console, error) {
	return nil, errors.New("console: not built")
}

// Handler serves everything: /api/openapi.json, /api/v1/…, and the pages.
func (c *Console) Handler() http.Handler { return http.NotFoundHandler() }

// Document is the OpenAPI 3.1 document of the management API, the same bytes
// that /api/openapi.json serves.
func (c *Console) Document() []byte { return nil }

// Setup makes a new setup link while no administrator exists and returns its
// path with the token, "/setup#…", to be printed behind the console's address.
// It is good once and for an hour, and an earlier link is void from now on.
// "" means that an administrator exists and there is nothing to set up.
func (c *Console) Setup(ctx context.Context) (path string, err error) {
	return "", errors.New("console: not built")
}

// Run ends expired sessions and trims tables until ctx ends.
func (c *Console) Run(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

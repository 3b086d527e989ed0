// Package discovery finds operations that no specification declares. In come
// the exchanges of the event stream; out go sightings, one for each exchange
// without a declared template, which name the template its path was folded
// into, give the reason for each folded segment, and list earlier templates
// that the new one swallows.
//
// Folding works online on bounded memory: each path segment is judged by its
// form, by its siblings and by how the server treats it (what its collection
// answers, which methods it takes), and judged again as evidence comes. The
// verdicts are a function of the exchanges in the order of the stream and
// nothing else, and they survive a restart in tables of this room.
//
// Paths that were only ever refused or answered 404 stay candidates; a scanner
// fills a bounded list of them and nothing more.
//
// The package never learns a value: what it keeps of a folded segment is its
// form. It takes no part in a request and enforces nothing.
package discovery

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"sallyport.dev/store"
)

// Options set a Discovery. Zero values mean the defaults.
type Options struct {
	Durable    string // name of its consumer; default "discovery"
	Templates  int    // most templates kept for an API; default 10,000
	Candidates int    // most probed-only templates kept for an API; default 500
	Children   int    // most literal values kept under one path node; default 200
	Logger     *slog.Logger
}

// A Discovery folds paths. Its methods are safe for concurrent use.
type Discovery struct{}

// Open migrates the tables of discovery in s and loads what was learned.
func Open(ctx context.Context, s *store.Store, o Options) (*Discovery, error) {
	return nil, errors.New("open discovery: not built")
}

// Run consumes exchanges and publishes sightings until ctx ends.
func (d *Discovery) Run(ctx context.Context) error { return nil }

// A Template is what discovery has learned about one operation.
type Template struct {
	API       string
	Method    string
	Template  string
	Reasons   []string // one per folded segment, in order
	Examples  []string // up to three paths that were folded, values masked by their form
	Count     uint64   // exchanges folded into it
	Probed    bool     // only ever refused or answered 404, 405 or 501
	FirstSeen time.Time
	LastSeen  time.Time
}

// Templates lists what was learned for api, by template and method.
func (d *Discovery) Templates(api string) []Template { return nil }

// Stats counts what Discovery holds and has turned away.
type Stats struct {
	Templates  int    // learned, all APIs together
	Candidates int    // probed only
	Overflow   uint64 // exchanges that fitted in no bound any more
	Folded     uint64 // exchanges folded since start
	Refolds    uint64 // times that templates were merged since start
}

// Stats gives the present counts.
func (d *Discovery) Stats() Stats { return Stats{} }

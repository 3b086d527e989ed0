// Package inventory is the catalogue of every API and operation: who answers
// for it, what was declared, what was observed, and how good the evidence is.
//
// In come declarations (from configuration and specifications) and the events
// of the stream: exchanges with a declared template, and discovery's sightings
// for all others. In come also claims and findings of scans, catalogues and
// tests: each says one thing of one asset; the inventory keeps who says what,
// and settles by declared over confirmed over confidence and freshness. An
// asset that nothing knows becomes a proposed API. Out go rows for people: APIs, operations, one operation with
// everything declared against observed, and a notice whenever something
// changed.
//
// Each record is counted exactly once, whatever is delivered again: the place
// in the stream moves in the transaction that holds the counts. A fetched batch
// is added up in memory and written as few upserts, at a pace: much that arrives
// shares one commit, and an operation shows within a second of its first
// request. Everything that outsiders can multiply
// (operations that were only probed, principals, parameters, body places) is
// bounded; beyond a bound, counts go on and rows do not.
//
// The package never sees a value of a request: events were redacted before they
// were published. It takes no part in a request.
package inventory

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev"
	"sallyport.dev/inventory/risk"
	"sallyport.dev/store"
)

//go:embed migrations
var migrations embed.FS

// Options set an Inventory. Zero values mean the defaults.
type Options struct {
	Durable      string        // name of its consumer; default "inventory"
	Pace         time.Duration // shortest time between two commits while records come; default 600 ms
	Corroborated int           // requests on different days, by one principal, that corroborate an operation; default 3
	Probed       int           // most probed-only operations kept for an API; default 500
	Operations   int           // most undeclared operations kept for an API; default 10,000
	Consumers    int           // most principals kept by name for an operation; default 100
	Proposed     int           // most APIs proposed at a time; default 20,000
	Claimed      int           // most operations of an API up to which claims add further ones; default 100,000
	Places       int           // most parameters and body places kept for an operation; default 500
	Dormant      time.Duration // without a request for so long, an API or operation is dormant; default 30 days
	Escalate     time.Duration // an API without an owner is escalated after so long; default 14 days
	Assess       time.Duration // how often states, risk and findings are worked out anew; default 1 minute
	MaxAge       time.Duration // undeclared operations and history not seen for so long go; default 400 days
	History      time.Duration // hourly counts are kept so long; default 30 days
	Logger       *slog.Logger
	Now          func() time.Time // default time.Now
}

// An Inventory is the catalogue in a store. Its methods are safe for concurrent use.
type Inventory struct {
	o      Options
	store  *store.Store
	cursor store.Cursor

	mu     sync.Mutex // held by whoever writes: Run, Declare, Describe, Claim, Find, retention
	cache  map[key]*operation
	names  map[string]*apiState
	place  uint64    // last sequence counted by this process, 0 = ask the table
	at     time.Time // and its time
	in     event     // used again and again
	failed int       // times in a row
	locate *locator  // nil = read the tables

	watch   watchers
	rates   rates
	listed  listed
	carded  cards
	classed classSums
	risk    atomic.Pointer[risk.Model]
	stats   struct {
		counted, commits atomic.Uint64
		behind           atomic.Int64
		sequence         atomic.Uint64
	}
}

// Open migrates the tables of the inventory in s.
func Open(ctx context.Context, s *store.Store, o Options) (*Inventory, error) {
	o.Durable = cmp.Or(o.Durable, "inventory")
	o.Pace = cmp.Or(o.Pace, 600*time.Millisecond)
	o.Corroborated = cmp.Or(o.Corroborated, 3)
	o.Probed = cmp.Or(o.Probed, 500)
	o.Operations = cmp.Or(o.Operations, 10_000)
	o.Consumers = cmp.Or(o.Consumers, 100)
	o.Proposed = cmp.Or(o.Proposed, 20_000)
	o.Claimed = cmp.Or(o.Claimed, 100_000)
	o.Places = cmp.Or(o.Places, 500)
	o.Dormant = cmp.Or(o.Dormant, 30*24*time.Hour)
	o.Escalate = cmp.Or(o.Escalate, 14*24*time.Hour)
	o.Assess = cmp.Or(o.Assess, time.Minute)
	o.MaxAge = cmp.Or(o.MaxAge, 400*24*time.Hour)
	o.History = cmp.Or(o.History, 30*24*time.Hour)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open inventory: %w", err)
	}
	if err := s.Migrate(ctx, "inventory", files); err != nil {
		return nil, fmt.Errorf("open inventory: %w", err)
	}
	v := &Inventory{o: o, store: s, cursor: store.Cursor{Table: "inventory_cursor", Name: o.Durable}}
	v.indexText(ctx)
	v.forget()
	if err := v.loadWeights(ctx); err != nil {
		return nil, fmt.Errorf("open inventory: %w", err)
	}
	return v, nil
}

// Run consumes the stream and keeps retention until ctx ends.
func (v *Inventory) Run(ctx context.Context) error {
	done := make(chan struct{})
	defer func() { <-done }()
	assessed := make(chan struct{})
	defer func() { <-assessed }()
	go func() {
		defer close(assessed)
		tick := time.NewTicker(v.o.Assess)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := v.Assess(ctx); err != nil && ctx.Err() == nil {
				v.o.Logger.Error("states and risk could not be worked out, tried again", "after", v.o.Assess, "err", err)
			}
		}
	}()
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Hour)
		defer tick.Stop()
		for {
			if err := v.retain(ctx); err != nil && ctx.Err() == nil {
				v.o.Logger.Error("retention of the inventory failed, tried again in an hour", "err", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return v.store.Stream().Run(ctx, store.Consumer{Durable: v.o.Durable, Subjects: []string{sallyport.SubjectExchange, sallyport.SubjectSighting}, Handle: v.handle, Pace: v.o.Pace})
}

// A Contract is what a specification says of one operation, for comparison with
// what is observed.
type Contract struct {
	sallyport.Operation
	Summary    string
	Deprecated bool
	Security   []string // names of the schemes, "" or none = open
	Places     []DeclaredPlace
	Statuses   []string // "200", "4XX", "default"
}

// DeclaredPlace is one declared parameter or body property.
type DeclaredPlace struct {
	Place    sallyport.Place
	Response bool
	Type     string // "string", "integer", …; several joined by "|"
	Format   string
	Required bool
}

// Tier says how good the evidence for an operation is.
type Tier int

// The tiers, from the weakest.
const (
	Unseen       Tier = iota // declared, no request yet
	Probed                   // only refused, or answered 404, 405 or 501
	SeenOnce                 // answered by the upstream
	Corroborated             // by two principals, or on several days
	Matched                  // matches the contract
)

// String gives "unseen", "probed", "seen once", "corroborated", "matched".
func (t Tier) String() string {
	return [...]string{"unseen", "probed", "seen once", "corroborated", "matched"}[t]
}

// Counts are what was counted of requests.
type Counts struct {
	Requests      int64
	Refused       int64 // by the guard
	Status1xx     int64
	Status2xx     int64
	Status3xx     int64
	Status4xx     int64
	Status5xx     int64
	None          int64 // the connection ended without an answer
	RequestBytes  int64
	ResponseBytes int64
}

// ErrorRate is the share of 5xx and lost answers among the requests whose answer,
// or the want of one, was seen.
func (c Counts) ErrorRate() float64 {
	seen := c.Status1xx + c.Status2xx + c.Status3xx + c.Status4xx + c.Status5xx + c.None
	if seen == 0 {
		return 0
	}
	return float64(c.Status5xx+c.None) / float64(seen)
}

// Latency are quantiles with a relative error of at most 2 %.
type Latency struct {
	P50, P90, P95, P99 time.Duration
}

// API is one row of the list of APIs.
type API struct {
	sallyport.API
	Configured bool // false: seen in traffic only, or no longer configured
	Counts
	Latency    Latency
	Rate       float64 // requests per second over the last minute, of this process
	FirstSeen  time.Time
	LastSeen   time.Time
	Operations int // all but probed-only ones
	Declared   int
	Seen       int // declared and seen
	Shadow     int // seen and in no specification
	Probed     int
	Principals uint64 // distinct, estimated within 2 %
	Classes    []string
	Kinds      []string // of credential seen, and "anonymous"
	Public     int64    // requests from addresses of the Internet
	TLS        int64    // requests over TLS
	Drift      int      // operations with something that no specification knows
	Left       int      // operations that left the specification
	Anonymous  int      // kinds of sensitive data in answers to callers without a credential
	State      string   // "" = configured or seen; "accepted": of a catalogue or a scan, by a person's word
	Known      time.Time
	Hints      []Hint
}

// A Hint is something about an API or an operation that its owner should look at.
type Hint struct {
	Kind  string // "unowned", "no deputy", "no exposure", "shadow", "undeclared since", "undocumented", "undocumented status", "plaintext", "anonymous data", "unused"
	Count int    // how many operations or places
	Text  string // for people
}

// Row is one operation in a list.
type Row struct {
	ID int64
	sallyport.Operation
	Tier            Tier
	UndeclaredSince time.Time // left the specification then; zero = it did not
	Counts
	Latency      Latency
	FirstSeen    time.Time
	LastSeen     time.Time
	Principals   uint64
	Classes      []string
	Undocumented int // parameters, body places and statuses
}

// Shadow reports whether the operation is seen and in no specification.
func (r Row) Shadow() bool { return !r.Declared && r.Tier > Probed }

// Sort is the order of a list of operations.
type Sort string

// The orders; all but ByTemplate are largest or newest first unless reversed.
const (
	ByTemplate  Sort = "template" // API, template, method
	ByLastSeen  Sort = "last_seen"
	ByFirstSeen Sort = "first_seen"
	ByRequests  Sort = "requests"
	ByErrors    Sort = "errors"
	ByLatency   Sort = "latency" // 95th percentile
)

// Filter chooses operations. Empty fields choose all.
type Filter struct {
	API       string
	NoAPI     bool   // only traffic that no API matched
	Text      string // part of method, template or name, without case
	Method    string
	Tiers     []Tier
	Declared  *bool
	Shadow    bool   // only seen ones that no specification declares
	Class     string // a data class found in it
	Hint      string // "shadow", "undocumented", "undeclared since", "unused"
	SeenAfter time.Time
	Probed    bool // also probed-only ones, which a list leaves out otherwise
	Sort      Sort // default ByTemplate
	Reverse   bool
	After     string // Next of the page before
	Limit     int    // default 100, at most 1000
}

// Page is one answer of Operations. Next is the After of the following page,
// "" when there is none.
type Page struct {
	Rows []Row
	Next string
}

// Detail is everything about one operation.
type Detail struct {
	Row
	Summary    string
	Deprecated bool
	Security   []string // declared schemes
	DeclaredAt time.Time
	Reasons    []string // why segments were folded, for a shadow operation
	Places     []Place
	Statuses   []Status
	Consumers  []Consumer
	Found      []ClassAt
	TLS        int64    // requests over TLS
	Plain      int64    // requests without
	Anonymous  int64    // requests without a proven principal
	Kinds      []string // kinds of credential seen: "oidc", "key", …
	Hours      []Hour
	Changes    []Change
}

// Place is a parameter or a body place, declared against observed.
type Place struct {
	sallyport.Place
	Response     bool
	Declared     bool
	Required     bool
	Type         string           // declared
	Format       string           // declared
	Seen         map[string]int64 // observed type → times
	SeenFormat   string
	Undocumented bool // observed, in no specification
	Count        int64
	FirstSeen    time.Time // zero: declared, never seen
	LastSeen     time.Time
}

// Status is one status of the answers.
type Status struct {
	Code         int
	Declared     bool
	Undocumented bool
	Count        int64
	FirstSeen    time.Time
	LastSeen     time.Time
}

// Consumer is one principal who uses an operation.
type Consumer struct {
	Principal string
	Count     int64
	FirstSeen time.Time
	LastSeen  time.Time
}

// ClassAt is a kind of sensitive data at a place.
type ClassAt struct {
	Class     string
	Place     sallyport.Place
	Response  bool
	Count     int64
	FirstSeen time.Time
	LastSeen  time.Time
}

// Hour are the counts of one hour.
type Hour struct {
	Time     time.Time
	Requests int64
	Refused  int64
	Errors   int64
}

// Change is one event in the life of an API, an operation or a field.
type Change struct {
	ID     int64
	Time   time.Time
	API    string
	Key    string // the operation's, "" = the API itself
	Kind   string // "first seen", "declared", "undeclared", "tier", "undocumented", "status", "class", "merged", "gone", "proposed", "claimed", "field", "conflict", "finding", "finding ended"
	Detail string

	// Of a field: from what to what, who said so, and where it stands.
	Field    string
	Old, New string
	Source   string
	Evidence string
}

package observe

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"sallyport.dev"
	"sallyport.dev/store"
)

// JournalOptions set a Journal. Zero values mean the defaults.
type JournalOptions struct {
	Durable    string        // name of its consumer; default "journal"
	SampleOne  int           // one in so many plain allows is kept; default 100, negative = none
	MaxAge     time.Duration // default 30 days
	MaxRows    int64         // default 1,000,000
	Ring       int           // newest exchanges kept in memory; default 10,000
	TailBuffer int           // exchanges a live subscriber may be behind; default 256
	Logger     *slog.Logger
}

// A Journal keeps decisions for people. Its methods are safe for concurrent use.
type Journal struct{}

// OpenJournal migrates the journal's tables in s.
func OpenJournal(ctx context.Context, s *store.Store, o JournalOptions) (*Journal, error) {
	return nil, errors.New("journal: not built")
}

// Run consumes the stream and trims the table until ctx ends.
func (j *Journal) Run(ctx context.Context) error { return nil }

// Filter chooses decisions. Empty fields choose all.
type Filter struct {
	API       string
	Operation string // "GET /v1/items/{id}"
	Action    sallyport.Action
	Stage     sallyport.Stage // of the refusal or of any reason
	Rule      string          // of any reason; a trailing "." or "*" chooses all below
	Principal string          // as Principal.String() gives it
	Client    string          // address or prefix in CIDR form
	Status    int             // 404, or a class: 4 = 4xx
	Plain     *bool           // nil = all; false = without plain allows; true = plain allows only
	Since     time.Time
	Until     time.Time
	Before    string // ids below this one: the last id of the page before
	Limit     int    // default 100, at most 1000
}

// Find gives the exchange with this id, from memory or the table. An id that
// was never kept is sallyport.NotFound.
func (j *Journal) Find(ctx context.Context, id string) (*sallyport.Exchange, error) {
	return nil, errors.New("find: not built")
}

// A Page is one answer of List, newest first. Next is the Before of the page
// that follows, "" when there is none.
type Page struct {
	Exchanges []sallyport.Exchange
	Next      string
}

// List gives what f chooses, newest first.
func (j *Journal) List(ctx context.Context, f Filter) (Page, error) {
	return Page{}, errors.New("list: not built")
}

// Live is one delivery of Tail. Lost counts the exchanges that this subscriber
// missed before it, because it was slow.
type Live struct {
	Exchange *sallyport.Exchange // shared: must not be changed
	Lost     int
}

// Tail delivers what f chooses as it happens, until ctx ends; then the channel
// is closed.
func (j *Journal) Tail(ctx context.Context, f Filter) <-chan Live { return nil }

// Rates are counts for the overview.
type Rates struct {
	Step    time.Duration // width of a Point
	Points  []Point       // oldest first, the last one still filling
	Reasons []ReasonCount // most frequent first, over the same span
	Total   uint64        // exchanges seen since the journal opened
}

// Point is one step of one API.
type Point struct {
	Time    time.Time
	API     string
	Action  sallyport.Action
	Count   uint64
	Flagged uint64 // allowed, but with reasons a check in observe mode gave
	Errors  uint64 // answers with status 5xx
}

// ReasonCount says how often a rule spoke.
type ReasonCount struct {
	API    string
	Stage  sallyport.Stage
	Rule   string
	Action sallyport.Action
	Count  uint64
}

// Rates gives counts per second for a span up to five minutes, per minute up to
// a day; the span ends now.
func (j *Journal) Rates(span time.Duration) Rates { return Rates{} }

package observe

import (
	"context"
	"time"

	"sallyport.dev"
)

// A Source yields exchanges that some other door has let through: from a log, a
// mirror, a capture or a stream.
type Source interface {
	// Name tells this source from all others: "nginx:/var/log/nginx/access.log".
	Name() string
	// Run calls emit for each exchange until ctx ends or there is nothing more,
	// one call at a time, with credentials already redacted. An exchange is the
	// callee's from then on. An error of emit ends Run.
	Run(ctx context.Context, emit func(*sallyport.Exchange) error) error
	// Health is safe to call while Run goes on.
	Health() SourceHealth
}

// A Resumer is a source that knows its place, so that a restart neither repeats
// nor misses anything.
type Resumer interface {
	Source
	// Resume is called before Run with what Position gave in an earlier life; a
	// place that is no longer there is said in Health and reading begins at the
	// oldest that is.
	Resume(position string)
	// Position is the place behind the exchange that is being emitted. It is for
	// emit to call, and for others once Run has ended.
	Position() string
}

// SourceHealth is how a source does, for people.
type SourceHealth struct {
	State     string    // "waiting", "reading", "done", "failed"
	Format    string    // found or configured
	Read      uint64    // lines, packets, records that came
	Emitted   uint64    // exchanges made of them
	Bad       uint64    // that could not be read
	FirstBad  string    // place and reason of the first of them
	Lost      uint64    // known to be missing: gaps, drops
	Last      time.Time // when the last exchange happened, by the source's clock
	Lag       time.Duration
	Error     string
	Notice    string    // something odd that is no error: a clock that runs ahead, a place that is gone
	SinceWhen time.Time // of State
}

// SourcePrefix begins the Door of every exchange that comes from a source.
// Nothing was decided about such an exchange, and it is not counted with those
// that were guarded.
const SourcePrefix = "source:"

// Uninspected is what the decision about an exchange of a source says: that
// nobody made one.
const Uninspected = "everything: recorded elsewhere and read from a source; no guard has seen it"

// An Entry is what a source does with an exchange first: whoever runs the source
// names its API and operation here, while the path is still what was sent. It
// may redact by its own rules; what it leaves is redacted by the usual ones.
type Entry func(*sallyport.Exchange)

// Take lets x in: afterwards it is redacted, belongs to the source of this name,
// and says that nobody inspected it.
func (e Entry) Take(source string, x *sallyport.Exchange) {
	x.Door = SourcePrefix + source
	x.Decision = sallyport.Decision{NotInspected: []string{Uninspected}}
	if e != nil {
		e(x)
	}
	Redact(x)
}

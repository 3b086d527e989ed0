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
	SinceWhen time.Time // of State
}

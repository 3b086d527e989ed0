package observe

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"sallyport.dev"
	"sallyport.dev/store"
)

// Publisher is what a Recorder needs of a stream; *store.Stream is one.
type Publisher interface {
	PublishAsync(subject, id string, data []byte) (*store.Ack, error)
}

// RecorderOptions set a Recorder. Zero values mean the defaults.
type RecorderOptions struct {
	Stream Publisher
	Redact RedactOptions

	Queue    int           // exchanges waiting, all shards together; default 16384
	Workers  int           // default: half of GOMAXPROCS, at least one
	Batch    int           // exchanges in one event; default 128
	Delay    time.Duration // an exchange waits at most this long for its batch; default 20 ms
	InFlight int           // events published and not acknowledged; default 64

	SampleFirst int // bodies sampled of the first exchanges of an operation and status; default 20
	SampleOneIn int // afterwards one in so many, growing to sixteen times that; default 64

	Logger *slog.Logger
}

// A Recorder takes exchanges from doors. Its methods are safe for concurrent use.
type Recorder struct{}

// NewRecorder starts a recorder that publishes to o.Stream.
func NewRecorder(o RecorderOptions) (*Recorder, error) {
	return nil, errors.New("recorder: not built")
}

// Want reports whether a door should attach samples of the bodies to x: always
// for the first exchanges of an operation and status, then seldom. It takes
// well under a microsecond and never blocks.
func (r *Recorder) Want(x *sallyport.Exchange) bool { return false }

// Record takes x over; the caller touches it no more. It never blocks: when
// the queue is full x is dropped and counted.
func (r *Recorder) Record(x *sallyport.Exchange) {}

// Counters says what became of everything recorded.
func (r *Recorder) Counters() Counters { return Counters{} }

// Close stops taking exchanges, drains the queue, waits for acknowledgements
// until ctx ends, and counts the rest as lost.
func (r *Recorder) Close(ctx context.Context) error { return nil }

// Counters of a Recorder, since it started. Recorded = Queued + Published-side
// sums: an exchange is in exactly one of the states.
type Counters struct {
	Recorded  uint64            // given to Record
	Dropped   map[string]uint64 // never published, by reason: "queue full", "disk full", "stream unavailable", "closed"
	Published uint64            // handed to the stream
	Acked     uint64            // acknowledged by it
	Lost      uint64            // published, and refused or never acknowledged
	Queued    int               // waiting now
	InFlight  int               // exchanges published and not yet acknowledged
	Bound     int               // most exchanges that can be lost when the process dies: queue + batches being built + in flight
	Sampled   uint64            // exchanges with body samples
	Failing   string            // why publishing fails at present, "" = it does not
}

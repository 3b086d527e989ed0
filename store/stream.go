package store

import (
	"context"
	"errors"
	"time"
)

// Message is one message of the stream. Data is the receiver's to keep.
type Message struct {
	Seq     uint64 // place in the stream; rises, with gaps
	Subject string
	Time    time.Time // when the stream took it
	Data    []byte
}

// A Stream is the durable sequence of messages that rooms publish and consume.
// It is safe for concurrent use. Subjects start with "sallyport.".
type Stream struct{}

// Publish appends data and returns its sequence once the stream has it. id, if
// not empty, makes a second publication with the same id within two minutes
// no new message. A full disk is a *FullError.
func (s *Stream) Publish(ctx context.Context, subject, id string, data []byte) (uint64, error) {
	return 0, errors.New("publish: not built")
}

// PublishAsync hands data to the stream and returns at once with the promise of
// its acknowledgement. data must not be changed afterwards.
func (s *Stream) PublishAsync(subject, id string, data []byte) (*Ack, error) {
	return nil, errors.New("publish: not built")
}

// An Ack is the promise of an acknowledgement.
type Ack struct {
	done chan struct{}
	seq  uint64
	err  error
}

// Done is closed when the outcome is known.
func (a *Ack) Done() <-chan struct{} { return a.done }

// Result waits for the outcome: the message's sequence, or why it was not taken.
func (a *Ack) Result(ctx context.Context) (uint64, error) {
	select {
	case <-a.done:
		return a.seq, a.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Handler takes messages in the order of the stream. When it returns nil they
// are acknowledged; when it fails the same messages come again, after a pause
// that grows from 50 ms to 10 s, and none behind them before.
type Handler func(ctx context.Context, messages []Message) error

// Consume gives the messages on subjects ("sallyport.exchange", "sallyport.>")
// to h until ctx ends, which is its only return with ctx.Err(). durable names
// the consumer: its place is kept in the stream, and a new name starts at the
// oldest message kept. One process at a time may run a durable. Messages come
// at least once; use a Cursor to count each exactly once.
func (s *Stream) Consume(ctx context.Context, durable string, subjects []string, h Handler) error {
	return errors.New("consume: not built")
}

// StreamStats is the state of the stream for metrics and screens.
type StreamStats struct {
	Embedded  bool
	Messages  uint64
	Bytes     uint64
	First     uint64 // sequence of the oldest message kept
	Last      uint64
	Full      bool // the disk is full: nothing is taken until space returns
	Consumers map[string]ConsumerStats
}

// ConsumerStats is the state of one durable consumer.
type ConsumerStats struct {
	Lag     uint64 // messages on its subjects that it has not yet handled
	Handled uint64 // sequence up to which everything is handled
	Retries uint64 // failed calls of its handler since start, this process
}

// Stats asks the stream for its state.
func (s *Stream) Stats(ctx context.Context) (StreamStats, error) {
	return StreamStats{}, errors.New("stats: not built")
}

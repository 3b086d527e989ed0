package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	fetchSize = 256              // messages asked for at once, and most given to a handler
	fetchWait = 5 * time.Second  // then it is asked again
	ackWait   = 30 * time.Second // then the server gives messages again
	pauseMin  = 50 * time.Millisecond
	pauseMax  = 10 * time.Second
)

// Handler takes messages in the order of the stream, at most 256 at once. When
// it returns nil they are acknowledged; when it fails the same messages come
// again, after a pause that grows from 50 ms to 10 s, and none behind them
// before.
type Handler func(ctx context.Context, messages []Message) error

// consumer is what this process knows of one durable.
type consumer struct {
	retries atomic.Uint64
	failing atomic.Pointer[string]
}

// Consume gives the messages on subjects ("sallyport.exchange", "sallyport.>")
// to h until ctx ends, and then returns its error; a name or a subject that the
// stream cannot have is the only other return. durable names the consumer: its
// place is kept in the stream, and a new name starts at the oldest message
// kept. One process at a time may run a durable. Messages come in order and at
// least once; use a Cursor to count each exactly once.
func (s *Stream) Consume(ctx context.Context, durable string, subjects []string, h Handler) error {
	c := &consumer{}
	if _, running := s.consumers.LoadOrStore(durable, c); running {
		return fmt.Errorf("consume %s: it runs already", durable)
	}
	defer s.consumers.Delete(durable)
	run := &run{stream: s, consumer: c, durable: durable, subjects: subjects, handler: h}
	pause := pauseMin
	for {
		before := run.seen
		err := run.follow(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, jetstream.ErrInvalidConsumerName) || errors.Is(err, jetstream.ErrInvalidSubject) {
			return fmt.Errorf("consume %s: %w", durable, err)
		}
		if run.seen != before {
			pause = pauseMin
		}
		if pause >= time.Second { // a short absence needs no line
			s.log.Warn("event stream gives nothing, it is asked again", "consumer", durable, "error", err, "pause", pause)
		}
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
		pause = min(2*pause, pauseMax)
	}
}

// run is one call of Consume.
type run struct {
	stream   *Stream
	consumer *consumer
	durable  string
	subjects []string
	handler  Handler
	seen     uint64 // sequence of the last message given to the handler
}

// errGap says that the server gave a message this process has not received.
var errGap = errors.New("a message was lost on the way")

// follow takes messages over one link until something breaks the order.
func (r *run) follow(ctx context.Context) error {
	l, err := r.stream.now()
	if err != nil {
		return err
	}
	jc, err := r.place(ctx, l.js)
	if err != nil {
		return r.stream.failure(l, err)
	}
	delivered := jc.CachedInfo().Delivered.Consumer // sequence of the last delivery
	last := uint64(0)                               // sequence of the last message in the stream
	for {
		// The fetch ends with ctx, the link, or its time.
		fctx, cancel := context.WithTimeout(ctx, fetchWait)
		stop := context.AfterFunc(l.ctx, cancel)
		batch, err := jc.Fetch(fetchSize, jetstream.FetchContext(fctx))
		if err != nil {
			stop()
			cancel()
			return r.stream.failure(l, err)
		}
		err = r.drain(ctx, batch, &delivered, &last)
		stop()
		cancel()
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if l.ctx.Err() != nil {
			return ErrUnavailable
		}
		if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			return r.stream.failure(l, err)
		}
	}
}

// drain gives what one fetch brings to the handler, as much at once as has
// arrived.
func (r *run) drain(ctx context.Context, batch jetstream.MessageBatch, delivered, last *uint64) error {
	messages := make([]Message, 0, 16)
	for m := range batch.Messages() {
		messages = messages[:0]
		tail := m
		for more := true; more; {
			meta, err := m.Metadata()
			if err != nil {
				return fmt.Errorf("read metadata of message: %w", err)
			}
			if meta.Sequence.Consumer != *delivered+1 {
				return errGap
			}
			*delivered = meta.Sequence.Consumer
			if meta.Sequence.Stream > *last { // else a second delivery while the first was at work
				*last = meta.Sequence.Stream
				messages = append(messages, Message{Seq: meta.Sequence.Stream, Subject: m.Subject(), Time: meta.Timestamp, Data: m.Data()})
			}
			tail = m
			if len(messages) == fetchSize {
				break
			}
			select {
			case m, more = <-batch.Messages():
			default:
				more = false
			}
		}
		if len(messages) > 0 {
			if err := r.handle(ctx, messages); err != nil {
				return err
			}
			r.seen = *last
		}
		if err := tail.Ack(); err != nil { // acknowledges all before it
			return fmt.Errorf("acknowledge: %w", err)
		}
	}
	return nil
}

// handle calls the handler until it succeeds or ctx ends.
func (r *run) handle(ctx context.Context, messages []Message) error {
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		err := r.handler(ctx, slices.Clone(messages))
		if err == nil {
			if r.consumer.failing.Swap(nil) != nil {
				r.stream.log.Info("consumer works again", "consumer", r.durable, "seq", messages[0].Seq)
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.consumer.retries.Add(1)
		err = explain(r.stream.dir, err)
		text := err.Error()
		if old := r.consumer.failing.Swap(&text); old == nil || *old != text {
			if IsFull(err) {
				r.stream.log.Error("disk is full: a consumer waits", "consumer", r.durable, "seq", messages[0].Seq, "error", err)
			} else {
				r.stream.log.Error("consumer fails, its messages are given again", "consumer", r.durable, "seq", messages[0].Seq, "error", err)
			}
		}
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

// place makes the durable consumer, or finds it and puts it behind the last
// acknowledged message. The server would otherwise give out new messages first
// and those that were out when a process died only when they are overdue: a
// consumer that keeps one place would take the late ones for old ones.
func (r *run) place(ctx context.Context, js jetstream.JetStream) (jetstream.Consumer, error) {
	cfg := jetstream.ConsumerConfig{
		Durable:        r.durable,
		FilterSubjects: r.subjects,
		AckPolicy:      jetstream.AckAllPolicy,
		AckWait:        ackWait,
		MaxAckPending:  4 * fetchSize,
		MaxDeliver:     -1,
		DeliverPolicy:  jetstream.DeliverAllPolicy,
	}
	have, err := js.Consumer(ctx, streamName, r.durable)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return js.CreateConsumer(ctx, streamName, cfg)
	case err != nil:
		return nil, err
	}
	info := have.CachedInfo()
	filters := info.Config.FilterSubjects
	if len(filters) == 0 && info.Config.FilterSubject != "" {
		filters = []string{info.Config.FilterSubject}
	}
	if info.NumAckPending == 0 && info.Delivered.Stream <= info.AckFloor.Stream && slices.Equal(filters, r.subjects) {
		return have, nil
	}
	// Dying between the two leaves a new consumer, which starts at the oldest
	// message: slower, and with a Cursor no message twice.
	if err := js.DeleteConsumer(ctx, streamName, r.durable); err != nil {
		return nil, err
	}
	if floor := info.AckFloor.Stream; floor > 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, floor+1
	}
	return js.CreateConsumer(ctx, streamName, cfg)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

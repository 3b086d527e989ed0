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
	heldBytes = 4 << 20          // of messages that wait for a handler at most, but for the last
	fetchWait = 5 * time.Second  // then it is asked again
	ackWait   = 30 * time.Second // then the server gives messages again
	lastWait  = 3 * time.Second  // for a handler after the end of its context
	pauseMin  = 50 * time.Millisecond
	pauseMax  = 10 * time.Second
)

// Handler takes messages in the order of the stream, at most 256 at once. When
// it returns nil they are acknowledged; when it fails the same messages come
// again, after a pause that grows from 50 ms to 10 s, and none behind them
// before.
type Handler func(ctx context.Context, messages []Message) error

// A Consumer says who consumes, and at what pace.
type Consumer struct {
	Durable  string // its name: its place is kept in the stream, and a new name starts at the oldest message kept
	Subjects []string
	Handle   Handler

	// Pace is the shortest time between the beginnings of two calls of Handle
	// while messages come: a transaction then costs once for many. A message
	// after a silence is handled at once. Zero means as soon as there is one.
	Pace time.Duration

	// Seen, if not nil, is given messages as soon as they arrive and before
	// Handle is: for what must be known before it is stored. It gets each at
	// least once and in order, and nothing it does can fail.
	Seen func(ctx context.Context, messages []Message)
}

// state is what this process knows of one durable.
type state struct {
	retries atomic.Uint64
	failing atomic.Pointer[string]
}

// Consume gives the messages on subjects ("sallyport.exchange", "sallyport.>")
// to h as soon as there are some: see Run.
func (s *Stream) Consume(ctx context.Context, durable string, subjects []string, h Handler) error {
	return s.Run(ctx, Consumer{Durable: durable, Subjects: subjects, Handle: h})
}

// Run gives messages to c until ctx ends, and then returns its error; a name or
// a subject that the stream cannot have is the only other return. What c holds
// when ctx ends is given to its handler all the same, for three seconds. One
// process at a time may run a durable. Messages come in order and at least
// once; use a Cursor to count each exactly once.
func (s *Stream) Run(ctx context.Context, c Consumer) error {
	st := &state{}
	if _, running := s.consumers.LoadOrStore(c.Durable, st); running {
		return fmt.Errorf("consume %s: it runs already", c.Durable)
	}
	defer s.consumers.Delete(c.Durable)
	run := &run{Consumer: c, stream: s, state: st}
	pause := pauseMin
	for {
		before := run.handled
		err := run.follow(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, jetstream.ErrInvalidConsumerName) || errors.Is(err, jetstream.ErrInvalidSubject) {
			return fmt.Errorf("consume %s: %w", c.Durable, err)
		}
		if run.handled != before {
			pause = pauseMin
		}
		if pause >= time.Second { // a short absence needs no line
			s.log.Warn("event stream gives nothing, it is asked again", "consumer", c.Durable, "error", err, "pause", pause)
		}
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
		pause = min(2*pause, pauseMax)
	}
}

// run is one call of Run.
type run struct {
	Consumer
	stream  *Stream
	state   *state
	handled uint64 // sequence of the last message given to the handler
	began   time.Time

	// Of the link in use.
	delivered uint64        // sequence of the last delivery
	last      uint64        // sequence of its message in the stream
	held      []Message     // for the handler, and not yet given to it
	size      int           // bytes in held
	tail      jetstream.Msg // the last delivery without acknowledgement; nil = none
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
	r.delivered, r.last, r.held, r.size, r.tail = jc.CachedInfo().Delivered.Consumer, 0, nil, 0, nil
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
		err = r.drain(ctx, batch)
		stop()
		cancel()
		switch {
		case ctx.Err() != nil:
			r.finish(ctx)
			return ctx.Err()
		case err != nil:
			return err
		}
		if l.ctx.Err() != nil {
			return ErrUnavailable
		}
		if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			return r.stream.failure(l, err)
		}
	}
}

// drain takes what one fetch brings, as much at once as has arrived, and gives
// what is held to the handler whenever its time has come.
func (r *run) drain(ctx context.Context, batch jetstream.MessageBatch) error {
	due := time.NewTimer(r.rest())
	defer due.Stop()
	for {
		var m jetstream.Msg
		var more bool
		if len(r.held) == 0 {
			m, more = <-batch.Messages()
		} else {
			due.Reset(r.rest())
			select {
			case m, more = <-batch.Messages():
			case <-due.C:
				if err := r.settle(ctx); err != nil {
					return err
				}
				continue
			}
		}
		if !more {
			return nil
		}
		fresh := len(r.held)
		for more {
			if err := r.hold(m); err != nil {
				return err
			}
			if r.full() {
				break
			}
			select {
			case m, more = <-batch.Messages():
			default:
				more = false
			}
		}
		if r.Seen != nil && len(r.held) > fresh {
			r.Seen(ctx, slices.Clone(r.held[fresh:]))
		}
		if len(r.held) == 0 || r.full() || r.rest() <= 0 {
			if err := r.settle(ctx); err != nil {
				return err
			}
		}
	}
}

func (r *run) full() bool { return len(r.held) >= fetchSize || r.size >= heldBytes }

// rest is how long the handler is still to be left alone.
func (r *run) rest() time.Duration {
	if r.Pace <= 0 || r.began.IsZero() {
		return 0
	}
	return r.Pace - time.Since(r.began)
}

// hold keeps a delivery for the handler.
func (r *run) hold(m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return fmt.Errorf("read metadata of message: %w", err)
	}
	if meta.Sequence.Consumer != r.delivered+1 {
		return errGap
	}
	r.delivered, r.tail = meta.Sequence.Consumer, m
	if meta.Sequence.Stream > r.last { // else a second delivery while the first was at work
		r.last = meta.Sequence.Stream
		data, err := r.stream.data(m, r.last, meta.Timestamp)
		if err != nil {
			r.stream.log.Error("a message of the stream cannot be read and is passed over", "consumer", r.Durable, "seq", r.last, "error", err)
			return nil
		}
		r.held = append(r.held, Message{Seq: r.last, Subject: m.Subject(), Time: meta.Timestamp, Data: data})
		r.size += len(data)
	}
	return nil
}

// settle gives what is held to the handler and acknowledges it.
func (r *run) settle(ctx context.Context) error {
	if len(r.held) > 0 {
		r.began = time.Now()
		if err := r.handle(ctx, r.held); err != nil {
			return err
		}
		r.handled = r.held[len(r.held)-1].Seq
		r.held, r.size = nil, 0
	}
	if r.tail != nil {
		if err := r.tail.Ack(); err != nil { // acknowledges all before it
			return fmt.Errorf("acknowledge: %w", err)
		}
		r.tail = nil
	}
	return nil
}

// finish tries once, after the end of ctx, to give away what is held, so that a
// start after a clean end has nothing to repeat. What fails comes again.
func (r *run) finish(ctx context.Context) {
	if len(r.held) == 0 {
		return
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWait)
	defer cancel()
	if r.Handle(last, r.held) == nil {
		_ = r.tail.Ack()
	}
}

// handle calls the handler until it succeeds or ctx ends.
func (r *run) handle(ctx context.Context, messages []Message) error {
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		err := r.Handle(ctx, slices.Clone(messages))
		if err == nil {
			if r.state.failing.Swap(nil) != nil {
				r.stream.log.Info("consumer works again", "consumer", r.Durable, "seq", messages[0].Seq)
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.state.retries.Add(1)
		err = explain(r.stream.dir, err)
		text := err.Error()
		if old := r.state.failing.Swap(&text); old == nil || *old != text {
			if IsFull(err) {
				r.stream.log.Error("disk is full: a consumer waits", "consumer", r.Durable, "seq", messages[0].Seq, "error", err)
			} else {
				r.stream.log.Error("consumer fails, its messages are given again", "consumer", r.Durable, "seq", messages[0].Seq, "error", err)
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
		Durable:        r.Durable,
		FilterSubjects: r.Subjects,
		AckPolicy:      jetstream.AckAllPolicy,
		AckWait:        ackWait,
		MaxAckPending:  4 * fetchSize,
		MaxDeliver:     -1,
		DeliverPolicy:  jetstream.DeliverAllPolicy,
	}
	have, err := js.Consumer(ctx, streamName, r.Durable)
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
	// A fetch that was given up may still wait at the server, which would give the
	// next messages to nobody.
	if info.NumWaiting == 0 && info.NumAckPending == 0 && info.Delivered.Stream <= info.AckFloor.Stream && slices.Equal(filters, r.Subjects) {
		return have, nil
	}
	// Dying between the two leaves a new consumer, which starts at the oldest
	// message: slower, and with a Cursor no message twice.
	if err := js.DeleteConsumer(ctx, streamName, r.Durable); err != nil {
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

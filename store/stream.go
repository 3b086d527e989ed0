package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	streamName  = "SALLYPORT"
	subjectRoot = "sallyport."

	dedupWindow = 2 * time.Minute
	ackTimeout  = 5 * time.Second // for an acknowledgement of a publication
	asyncBound  = 4096            // publications without acknowledgement
)

// ErrUnavailable is what errors.Is finds when the stream cannot take or give
// messages for the moment: it is being started again, or its server is away.
var ErrUnavailable = errors.New("event stream is unavailable")

// Message is one message of the stream. Data may be kept, and must not be
// changed: other consumers are given the same.
type Message struct {
	Seq     uint64 // place in the stream; rises, with gaps
	Subject string
	Time    time.Time // when the stream took it
	Data    []byte
}

// A Stream is the durable sequence of messages that rooms publish and consume.
// It is safe for concurrent use. Subjects start with "sallyport.".
type Stream struct {
	log      *slog.Logger
	dir      string
	embedded *embedded // nil when a server outside is used

	mu   sync.RWMutex
	link *link // nil while the embedded server is being started again

	decoded   decoded
	consumers sync.Map // durable → *state
	closed    atomic.Bool
}

// A link is one connection to a JetStream server, in the process or outside.
// Its context ends when it is of no more use.
type link struct {
	nc  *nats.Conn
	js  jetstream.JetStream
	ctx context.Context
	end context.CancelFunc
}

func (l *link) close() {
	l.end()
	l.js.CleanupPublisher() // promises still open are told at once
	l.nc.Close()
}

func newLink(nc *nats.Conn) (*link, error) {
	js, err := jetstream.New(nc,
		jetstream.WithPublishAsyncMaxPending(asyncBound),
		jetstream.WithPublishAsyncTimeout(ackTimeout),
		jetstream.WithDefaultTimeout(ackTimeout))
	if err != nil {
		return nil, err
	}
	l := &link{nc: nc, js: js}
	l.ctx, l.end = context.WithCancel(context.Background())
	return l, nil
}

func streamConfig(o Options) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        streamName,
		Description: "records and conclusions of Sallyport",
		Subjects:    []string{subjectRoot + ">"},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxAge:      o.MaxAge,
		MaxBytes:    o.MaxBytes,
		Duplicates:  min(dedupWindow, o.MaxAge),
		Replicas:    o.Replicas,
		AllowDirect: true,
		DenyDelete:  true,
	}
}

// openStream connects to what o names and makes the stream there.
func openStream(ctx context.Context, o Options) (*Stream, error) {
	s := &Stream{log: o.Logger, dir: o.Dir}
	if o.StreamURL == "" {
		e, err := newEmbedded(o)
		if err != nil {
			return nil, err
		}
		s.embedded = e
		if s.link, err = e.start(ctx); err != nil {
			return nil, err
		}
		e.wg.Go(func() { e.watch(s) })
		return s, nil
	}
	nc, err := nats.Connect(o.StreamURL,
		nats.Name("sallyport"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(500*time.Millisecond),
		nats.ReconnectBufSize(-1), // fail at once while away: the caller counts and decides
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if !s.closed.Load() {
				s.log.Error("event stream is away", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			s.log.Info("event stream is back")
			s.renew()
		}))
	if err != nil {
		return nil, fmt.Errorf("connect to event stream: %w", withoutURL(err))
	}
	l, err := newLink(nc)
	if err == nil {
		_, err = l.js.CreateOrUpdateStream(ctx, streamConfig(o))
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("make event stream on the NATS server: %w", err)
	}
	s.link = l
	return s, nil
}

// renew ends what waits for an answer that the server, having been away, no
// longer owes: consumers ask again at once.
func (s *Stream) renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.link
	if old == nil || s.closed.Load() {
		return
	}
	l := &link{nc: old.nc, js: old.js}
	l.ctx, l.end = context.WithCancel(context.Background())
	s.link = l
	old.end()
}

// withoutURL keeps an error that may quote the address, and with it a password.
func withoutURL(err error) error {
	for _, known := range []error{nats.ErrNoServers, nats.ErrAuthorization, nats.ErrTimeout, nats.ErrSecureConnRequired} {
		if errors.Is(err, known) {
			return known
		}
	}
	if strings.Contains(err.Error(), "://") {
		return errors.New("its URL is not one of NATS: nats://user:password@host:port")
	}
	return err
}

// now is the link in use, or why there is none.
func (s *Stream) now() (*link, error) {
	s.mu.RLock()
	l := s.link
	s.mu.RUnlock()
	if l == nil {
		if s.embedded != nil {
			if full := s.embedded.full.Load(); full != nil {
				return nil, full
			}
		}
		return nil, ErrUnavailable
	}
	return l, nil
}

func message(subject, id string, data []byte) (*nats.Msg, error) {
	if !strings.HasPrefix(subject, subjectRoot) {
		return nil, fmt.Errorf("subject %q does not start with %s", subject, subjectRoot)
	}
	m := &nats.Msg{Subject: subject}
	compress(m, data)
	if id != "" {
		if m.Header == nil {
			m.Header = nats.Header{}
		}
		m.Header[jetstream.MsgIDHeader] = []string{id}
	}
	return m, nil
}

// Publish appends data and returns its sequence once the stream has it. id, if
// not empty, makes a second publication with the same id within two minutes
// no new message. A full disk is a *FullError.
func (s *Stream) Publish(ctx context.Context, subject, id string, data []byte) (uint64, error) {
	l, m, err := s.begin(subject, id, data)
	if err != nil {
		return 0, fmt.Errorf("publish on %s: %w", subject, err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, ackTimeout)
		defer cancel()
	}
	ack, err := l.js.PublishMsg(ctx, m)
	if err != nil {
		return 0, fmt.Errorf("publish on %s: %w", subject, s.failure(l, err))
	}
	return ack.Sequence, nil
}

func (s *Stream) begin(subject, id string, data []byte) (*link, *nats.Msg, error) {
	m, err := message(subject, id, data)
	if err != nil {
		return nil, nil, err
	}
	if s.embedded != nil {
		if err := s.embedded.room(len(m.Data)); err != nil {
			return nil, nil, err
		}
	}
	l, err := s.now()
	return l, m, err
}

// failure makes one of this package's errors of what the client or the server
// said, and has the embedded server looked after.
func (s *Stream) failure(l *link, err error) error {
	switch {
	case IsFull(err):
		if s.embedded != nil {
			return s.embedded.failed(l, err)
		}
		return &FullError{Dir: "the file store of the NATS server", Free: -1, Cause: err}
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, jetstream.ErrAsyncPublishTimeout), errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout),
		errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, jetstream.ErrJetStreamNotEnabled),
		errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrReconnectBufExceeded),
		errors.Is(err, nats.ErrDisconnected), errors.Is(err, jetstream.ErrJetStreamPublisherClosed), errors.Is(err, jetstream.ErrStreamNotFound),
		errors.Is(err, jetstream.ErrTooManyStalledMsgs), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, jetstream.ErrConnectionClosed):
		if s.embedded != nil {
			if full := s.embedded.failed(l, err); IsFull(full) {
				return full
			}
		}
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// PublishAsync hands data to the stream and returns at once with the promise of
// its acknowledgement. data must not be changed afterwards. Errors are those of
// Publish, and ErrUnavailable when 4096 promises are open.
func (s *Stream) PublishAsync(subject, id string, data []byte) (*Ack, error) {
	l, m, err := s.begin(subject, id, data)
	if err != nil {
		return nil, fmt.Errorf("publish on %s: %w", subject, err)
	}
	if l.js.PublishAsyncPending() >= asyncBound {
		return nil, fmt.Errorf("publish on %s: %w: %d publications without acknowledgement", subject, ErrUnavailable, asyncBound)
	}
	future, err := l.js.PublishMsgAsync(m)
	if err != nil {
		return nil, fmt.Errorf("publish on %s: %w", subject, s.failure(l, err))
	}
	return &Ack{stream: s, link: l, future: future}, nil
}

// An Ack is the promise of an acknowledgement. Its Result is for one goroutine
// to take once.
type Ack struct {
	stream *Stream
	link   *link
	future jetstream.PubAckFuture
}

// Result waits for the outcome, at most five seconds and not beyond ctx: the
// message's sequence, or why the stream may not have it.
func (a *Ack) Result(ctx context.Context) (uint64, error) {
	select {
	case ack := <-a.future.Ok():
		return ack.Sequence, nil
	case err := <-a.future.Err():
		return 0, fmt.Errorf("publish: %w", a.stream.failure(a.link, err))
	case <-ctx.Done():
		return 0, fmt.Errorf("publish: wait for acknowledgement: %w", ctx.Err())
	}
}

// StreamStats is the state of the stream for metrics and screens.
type StreamStats struct {
	Embedded  bool
	Messages  uint64
	Bytes     uint64
	First     uint64 // sequence of the oldest message kept
	Last      uint64
	Oldest    time.Time
	MaxAge    time.Duration // what it keeps
	MaxBytes  int64
	Full      bool   // the disk is full: nothing is taken until space returns
	Restarts  uint64 // of the embedded server, after it failed
	Consumers map[string]ConsumerStats
}

// ConsumerStats is the state of one durable consumer.
type ConsumerStats struct {
	Lag     uint64 // messages on its subjects that it has not yet handled
	Handled uint64 // sequence up to which everything is handled
	Retries uint64 // failed calls of its handler since start, this process
	Error   string // of the last call of its handler, "" when it succeeded
}

// Stats asks the stream for its state.
func (s *Stream) Stats(ctx context.Context) (StreamStats, error) {
	st := StreamStats{Embedded: s.embedded != nil, Consumers: map[string]ConsumerStats{}}
	if s.embedded != nil {
		st.Full = s.embedded.full.Load() != nil
		st.Restarts = s.embedded.restarts.Load()
	}
	l, err := s.now()
	if err != nil {
		return st, fmt.Errorf("stream statistics: %w", err)
	}
	stream, err := l.js.Stream(ctx, streamName)
	if err != nil {
		return st, fmt.Errorf("stream statistics: %w", err)
	}
	info := stream.CachedInfo()
	st.Messages, st.Bytes, st.First, st.Last, st.Oldest = info.State.Msgs, info.State.Bytes, info.State.FirstSeq, info.State.LastSeq, info.State.FirstTime
	st.MaxAge, st.MaxBytes = info.Config.MaxAge, info.Config.MaxBytes
	list := stream.ListConsumers(ctx)
	for c := range list.Info() {
		cs := ConsumerStats{Lag: c.NumPending + uint64(c.NumAckPending), Handled: c.AckFloor.Stream}
		if own, ok := s.consumers.Load(c.Name); ok {
			own := own.(*state)
			cs.Retries = own.retries.Load()
			if e := own.failing.Load(); e != nil {
				cs.Error = *e
			}
		}
		st.Consumers[c.Name] = cs
	}
	if err := list.Err(); err != nil {
		return st, fmt.Errorf("stream statistics: %w", err)
	}
	return st, nil
}

func (s *Stream) close() error {
	if s.closed.Swap(true) {
		return nil
	}
	if s.embedded != nil {
		s.embedded.stop(s)
		return nil
	}
	s.mu.Lock()
	l := s.link
	s.link = nil
	s.mu.Unlock()
	_ = l.nc.FlushTimeout(time.Second) // last acknowledgements of consumers
	l.close()
	return nil
}

// Holds reports which of ids, given with publications, the stream has behind the
// sequence after. It reads every message there, so that after is best the
// sequence of an earlier acknowledgement; one that has left the stream since
// counts as not there.
func (s *Stream) Holds(ctx context.Context, after uint64, ids []string) (map[string]bool, error) {
	l, err := s.now()
	if err != nil {
		return nil, fmt.Errorf("look for publications: %w", err)
	}
	stream, err := l.js.Stream(ctx, streamName)
	if err != nil {
		return nil, fmt.Errorf("look for publications: %w", s.failure(l, err))
	}
	out := map[string]bool{}
	state := stream.CachedInfo().State
	for seq := max(after+1, state.FirstSeq); seq <= state.LastSeq && len(out) < len(ids); seq++ {
		m, err := stream.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for publications: %w", s.failure(l, err))
		}
		if id := m.Header.Get(jetstream.MsgIDHeader); slices.Contains(ids, id) {
			out[id] = true
		}
	}
	return out, nil
}

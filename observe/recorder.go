package observe

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
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

	Queue      int           // exchanges waiting, all shards together; default 16384
	QueueBytes int64         // of body samples waiting; beyond it samples are dropped; default 32 MiB
	Workers    int           // default: half of GOMAXPROCS, at least one
	Batch      int           // exchanges in one event; default 256
	Delay      time.Duration // an exchange waits at most this long for its batch; default 20 ms
	InFlight   int           // events published and not acknowledged; default 32

	SampleFirst  int // bodies sampled of the first exchanges of an operation and status; default 20
	SampleOneIn  int // afterwards one in so many, growing to sixteen times that; default 64
	SamplesASec  int // most samples in one second; default 500
	MaxEventSize int // bytes of one event; default 768 KiB

	Logger *slog.Logger
}

func (o *RecorderOptions) fill() error {
	if o.Stream == nil {
		return errors.New("recorder: no stream to publish to")
	}
	o.Queue = cmp.Or(o.Queue, 16384)
	o.QueueBytes = cmp.Or(o.QueueBytes, 32<<20)
	o.Workers = cmp.Or(o.Workers, max(1, runtime.GOMAXPROCS(0)/2))
	o.Batch = cmp.Or(o.Batch, 256)
	o.Delay = cmp.Or(o.Delay, 20*time.Millisecond)
	o.InFlight = cmp.Or(o.InFlight, 32)
	o.SampleFirst = cmp.Or(o.SampleFirst, 20)
	o.SampleOneIn = cmp.Or(o.SampleOneIn, 64)
	o.SamplesASec = cmp.Or(o.SamplesASec, 500)
	o.MaxEventSize = cmp.Or(o.MaxEventSize, 768<<10)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Queue < o.Workers || o.Batch < 1 || o.InFlight < 1 || o.Delay < 0 || o.SampleFirst < 0 || o.SampleOneIn < 1 {
		return errors.New("recorder: a bound is too small")
	}
	return nil
}

// Reasons why an exchange was not published.
const (
	DroppedQueue  = "queue full"
	DroppedDisk   = "disk full"
	DroppedStream = "stream unavailable"
	DroppedClosed = "closed"
	DroppedEncode = "not encodable"
)

var droppedReasons = []string{DroppedQueue, DroppedDisk, DroppedStream, DroppedClosed, DroppedEncode}

// A Recorder takes exchanges from doors. Its methods are safe for concurrent use.
type Recorder struct {
	o        RecorderOptions
	redactor *Redactor
	shards   []*shard
	next     atomic.Uint32 // shard that takes the next exchange
	flights  chan flight
	buffers  chan []byte
	name     string // of this recorder, in message ids

	seed    maphash.Seed
	samples []atomic.Uint32 // exchanges seen per operation and status, by hash
	second  atomic.Int64    // the second that sampled counts
	sampled atomic.Int64

	recorded, published, acked, lost, bodies atomic.Uint64
	dropped                                  map[string]*atomic.Uint64
	flying                                   atomic.Int64
	batches                                  atomic.Uint64
	failing                                  atomic.Pointer[string]

	closed  atomic.Bool
	closing chan struct{}
	abandon context.CancelFunc // ends the wait for acknowledgements
	waiting context.Context
	workers sync.WaitGroup
	landing sync.WaitGroup
}

// A shard is a part of the queue with the worker that empties it.
type shard struct {
	mu    sync.Mutex
	queue []*sallyport.Exchange
	held  int   // in queue, or taken by the worker and not yet published
	bytes int64 // of body samples in queue
	spare []*sallyport.Exchange
	kick  chan struct{}
	timer *time.Timer
	bound int
	batch []sallyport.Exchange
}

// flight is an event on its way.
type flight struct {
	ack   *store.Ack
	id    string
	data  []byte
	count int
}

// Bounds of sampling.
const sampleSlots = 1 << 13

// NewRecorder starts a recorder that publishes to o.Stream.
func NewRecorder(o RecorderOptions) (*Recorder, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	redactor, err := NewRedactor(o.Redact)
	if err != nil {
		return nil, err
	}
	r := &Recorder{
		o: o, redactor: redactor, name: rand.Text(), flights: make(chan flight, o.InFlight-1), buffers: make(chan []byte, 8),
		seed: maphash.MakeSeed(), samples: make([]atomic.Uint32, sampleSlots),
		dropped: map[string]*atomic.Uint64{}, closing: make(chan struct{}),
	}
	for _, why := range droppedReasons {
		r.dropped[why] = &atomic.Uint64{}
	}
	r.waiting, r.abandon = context.WithCancel(context.Background())
	for range o.Workers {
		s := &shard{kick: make(chan struct{}, 1), bound: o.Queue / o.Workers}
		s.timer = time.AfterFunc(time.Hour, s.wake)
		s.timer.Stop()
		r.shards = append(r.shards, s)
		r.workers.Go(func() { r.work(s) })
	}
	r.landing.Go(r.land)
	return r, nil
}

func (s *shard) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Want reports whether a door should attach samples of the bodies to x: always
// for the first exchanges of an operation and status, then seldom; for calls
// that go out always, since what leaves is to be known. It takes well under a microsecond and never blocks.
func (r *Recorder) Want(x *sallyport.Exchange) bool {
	var h maphash.Hash
	h.SetSeed(r.seed)
	h.WriteString(x.API)
	h.WriteByte(0)
	h.WriteString(x.Method)
	h.WriteString(x.Verb)
	if x.Template != "" {
		h.WriteString(x.Template)
	} else {
		likeTemplate(&h, x.Path)
	}
	h.WriteByte(byte(x.Status / 100))
	h.WriteByte(byte(x.Status % 100))
	n := int(r.samples[h.Sum64()%sampleSlots].Add(1))
	if n > r.o.SampleFirst && x.Door != "egress" {
		every := r.o.SampleOneIn
		for i := 0; i < 4 && n > every*64; i++ {
			every *= 2
		}
		if n%every != 0 {
			return false
		}
	}
	// However many new paths a scanner thinks of, so many and no more.
	if now := x.Time.Unix(); r.second.Swap(now) != now {
		r.sampled.Store(0)
	}
	return r.sampled.Add(1) <= int64(r.o.SamplesASec)
}

// likeTemplate hashes a path in which segments with digits are all alike.
func likeTemplate(h *maphash.Hash, path string) {
	for i := 0; i < len(path); {
		j, digits := i, false
		for j < len(path) && (j == i || path[j] != '/') {
			digits = digits || path[j] >= '0' && path[j] <= '9'
			j++
		}
		if digits {
			h.WriteString("/*")
		} else {
			h.WriteString(path[i:j])
		}
		i = j
	}
}

// Record takes x over; the caller touches it no more. It never blocks: when
// the queue is full x is dropped and counted.
func (r *Recorder) Record(x *sallyport.Exchange) {
	r.recorded.Add(1)
	if r.closed.Load() {
		r.dropped[DroppedClosed].Add(1)
		return
	}
	s := r.shards[0]
	if len(r.shards) > 1 {
		s = r.shards[int(r.next.Add(1))%len(r.shards)]
	}
	size := int64(len(x.RequestBody) + len(x.ResponseBody))
	s.mu.Lock()
	if s.held >= s.bound {
		s.mu.Unlock()
		r.dropped[DroppedQueue].Add(1)
		return
	}
	if size > 0 {
		if s.bytes+size > r.o.QueueBytes/int64(len(r.shards)) {
			x.RequestBody, x.ResponseBody = nil, nil
		} else {
			s.bytes += size
			r.bodies.Add(1)
		}
	}
	s.held++
	s.queue = append(s.queue, x)
	n := len(s.queue)
	s.mu.Unlock()
	switch n {
	case 1:
		s.timer.Reset(r.o.Delay)
	case r.o.Batch:
		s.wake()
	}
}

// work empties a shard batch by batch until the recorder closes.
func (r *Recorder) work(s *shard) {
	for open := true; open; {
		select {
		case <-s.kick:
		case <-r.closing:
			open = false
		}
		for r.empty(s) {
		}
	}
	s.timer.Stop()
}

// empty takes what waits in s and publishes it; it reports whether there was any.
func (r *Recorder) empty(s *shard) bool {
	s.mu.Lock()
	waiting := s.queue
	s.queue, s.bytes = s.spare[:0], 0
	s.mu.Unlock()
	for batch := waiting; len(batch) > 0; {
		n := min(len(batch), r.o.Batch)
		s.batch = s.batch[:0]
		for _, x := range batch[:n] {
			r.redactor.Redact(x)
			s.batch = append(s.batch, *x)
		}
		r.publish(s.batch)
		clear(s.batch)
		clear(batch[:n])
		batch = batch[n:]
		s.mu.Lock()
		s.held -= n
		s.mu.Unlock()
	}
	s.spare = waiting
	return len(waiting) > 0
}

// publish sends exchanges as one event, or as several when they are too large.
func (r *Recorder) publish(exchanges []sallyport.Exchange) {
	data, err := sallyport.Event{Exchanges: exchanges}.AppendBinary(r.buffer())
	switch {
	case err != nil:
		r.o.Logger.Error("exchange cannot be encoded and is dropped", "error", err)
		r.dropped[DroppedEncode].Add(uint64(len(exchanges)))
		return
	case len(data) > r.o.MaxEventSize && len(exchanges) > 1:
		r.release(data)
		half := len(exchanges) / 2
		r.publish(exchanges[:half])
		r.publish(exchanges[half:])
		return
	}
	f := flight{id: r.name + strconv.FormatUint(r.batches.Add(1), 36), data: data, count: len(exchanges)}
	if f.ack, err = r.send(f); err != nil {
		why := DroppedStream
		if errors.Is(err, store.ErrFull) {
			why = DroppedDisk
		}
		r.dropped[why].Add(uint64(f.count))
		r.release(data)
		r.fail(err)
		return
	}
	r.published.Add(uint64(f.count))
	r.flying.Add(int64(f.count))
	r.flights <- f // waits while too many are on their way: the queue then fills, and drops
}

// buffer gives a buffer for an event, one that was used before if there is one.
func (r *Recorder) buffer() []byte {
	select {
	case b := <-r.buffers:
		return b
	default:
		return make([]byte, 0, 1<<10*min(r.o.Batch, 64))
	}
}

// release takes back a buffer that nobody reads any more.
func (r *Recorder) release(b []byte) {
	if cap(b) > r.o.MaxEventSize {
		return
	}
	select {
	case r.buffers <- b[:0]:
	default:
	}
}

// send publishes f; while the stream is away for a moment it tries again.
func (r *Recorder) send(f flight) (*store.Ack, error) {
	for pause := 20 * time.Millisecond; ; pause *= 2 {
		ack, err := r.o.Stream.PublishAsync(sallyport.SubjectExchange, f.id, f.data)
		if err == nil || !errors.Is(err, store.ErrUnavailable) || pause > time.Second {
			return ack, err
		}
		select {
		case <-time.After(pause):
		case <-r.waiting.Done():
			return nil, err
		}
	}
}

// land waits for the acknowledgement of each event, oldest first. One that does
// not come is asked for again under the same id, so that the stream has the
// event once at most.
func (r *Recorder) land() {
	for f := range r.flights {
		_, err := f.ack.Result(r.waiting)
		for try := 0; err != nil && try < 3 && r.waiting.Err() == nil && !errors.Is(err, store.ErrFull); try++ {
			if f.ack, err = r.send(f); err == nil {
				_, err = f.ack.Result(r.waiting)
			}
		}
		r.flying.Add(-int64(f.count))
		if err != nil { // the stream may still be at work on the buffer
			r.lost.Add(uint64(f.count))
			r.fail(err)
			continue
		}
		r.acked.Add(uint64(f.count))
		r.release(f.data)
		if r.failing.Load() != nil && r.failing.Swap(nil) != nil {
			r.o.Logger.Info("recording works again")
		}
	}
}

// fail says once that, and why, exchanges are not recorded.
func (r *Recorder) fail(err error) {
	text := err.Error()
	if r.failing.Swap(&text) == nil {
		r.o.Logger.Error("exchanges are not recorded: they are dropped and counted; guarding goes on", "error", err)
	}
}

// Counters says what became of everything recorded.
func (r *Recorder) Counters() Counters {
	c := Counters{
		Acked:   r.acked.Load(),
		Lost:    r.lost.Load(),
		Dropped: map[string]uint64{},
		Bound:   r.o.Queue + (r.o.InFlight+len(r.shards))*r.o.Batch,
	}
	c.InFlight = int(r.flying.Load())
	c.Published = r.published.Load()
	for why, n := range r.dropped {
		c.Dropped[why] = n.Load()
	}
	for _, s := range r.shards {
		s.mu.Lock()
		c.Queued += s.held
		s.mu.Unlock()
	}
	c.Recorded, c.Sampled = r.recorded.Load(), r.bodies.Load()
	if f := r.failing.Load(); f != nil {
		c.Failing = *f
	}
	return c
}

// Close stops taking exchanges, drains the queue, waits for acknowledgements
// until ctx ends, and counts the rest as lost. A second call does nothing.
func (r *Recorder) Close(ctx context.Context) error {
	if r.closed.Swap(true) {
		return nil
	}
	stop := context.AfterFunc(ctx, r.abandon)
	defer stop()
	close(r.closing)
	r.workers.Wait()
	for _, s := range r.shards { // what slipped in while closing
		s.mu.Lock()
		r.dropped[DroppedClosed].Add(uint64(len(s.queue)))
		s.queue, s.bound = nil, 0
		s.mu.Unlock()
	}
	close(r.flights)
	r.landing.Wait()
	r.abandon()
	if lost := r.lost.Load(); lost > 0 && ctx.Err() != nil {
		return fmt.Errorf("close recorder: %d exchanges without acknowledgement: %w", lost, ctx.Err())
	}
	return nil
}

// Counters of a Recorder, since it started. Every recorded exchange is dropped,
// queued or published; every published one is in flight, acknowledged or lost.
type Counters struct {
	Recorded  uint64            // given to Record
	Dropped   map[string]uint64 // never published, by reason
	Published uint64            // handed to the stream
	Acked     uint64            // acknowledged by it
	Lost      uint64            // published, and refused or never acknowledged
	Queued    int               // waiting, or in the hands of a worker
	InFlight  int               // published and not yet acknowledged
	Bound     int               // most exchanges that can be lost when the process dies: the queue and what is in flight
	Sampled   uint64            // with body samples
	Failing   string            // why recording fails at present, "" = it does not
}

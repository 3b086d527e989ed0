package observe_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/observe"
	"sallyport.dev/store"
)

// read gives every exchange that the stream holds.
func read(t testing.TB, s *store.Store, want int) []sallyport.Exchange {
	t.Helper()
	var got []sallyport.Exchange
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_ = s.Stream().Consume(ctx, fmt.Sprint("read", time.Now().UnixNano()), []string{sallyport.SubjectExchange}, func(_ context.Context, ms []store.Message) error {
		for _, m := range ms {
			var e sallyport.Event
			if err := e.UnmarshalBinary(m.Data); err != nil {
				t.Error(err)
			}
			got = append(got, e.Exchanges...)
		}
		if len(got) >= want {
			cancel()
		}
		return nil
	})
	return got
}

func balanced(t testing.TB, c observe.Counters) {
	t.Helper()
	sum := c.Published + uint64(c.Queued)
	for _, n := range c.Dropped {
		sum += n
	}
	if sum != c.Recorded || c.Published != c.Acked+c.Lost+uint64(c.InFlight) {
		t.Errorf("the counters do not add up: %+v", c)
	}
}

func TestRecorderPublishesEverythingOnce(t *testing.T) {
	s := openStore(t)
	r := newRecorder(t, observe.RecorderOptions{Stream: s.Stream(), Workers: 2, Batch: 32})
	var wg sync.WaitGroup
	var made []*sallyport.Exchange
	for range 2000 {
		made = append(made, exchange())
	}
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < len(made); i += 4 {
				r.Record(made[i])
			}
		})
	}
	wg.Wait()
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := r.Counters()
	if c.Acked != 2000 || c.Queued != 0 || c.InFlight != 0 {
		t.Errorf("%+v", c)
	}
	balanced(t, c)
	seen := map[string]int{}
	for _, x := range read(t, s, 2000) {
		seen[x.ID]++
	}
	for _, x := range made {
		if seen[x.ID] != 1 {
			t.Errorf("exchange %s is in the stream %d times", x.ID, seen[x.ID])
		}
	}
	r.Record(exchange())
	if c := r.Counters(); c.Dropped[observe.DroppedClosed] != 1 {
		t.Errorf("after the end: %+v", c)
	}
}

func TestAQuietExchangeIsPublishedSoon(t *testing.T) {
	s := openStore(t)
	r := newRecorder(t, observe.RecorderOptions{Stream: s.Stream()})
	r.Record(exchange())
	eventually(t, "acknowledged without a second one", func() bool { return r.Counters().Acked == 1 })
}

// stopper is a stream that takes nothing until it is let go.
type stopper struct {
	inner observe.Publisher
	gate  chan struct{}
}

func (p *stopper) PublishAsync(subject, id string, data []byte) (*store.Ack, error) {
	<-p.gate
	return p.inner.PublishAsync(subject, id, data)
}

func TestAStreamThatStandsStillHoldsNobodyUp(t *testing.T) {
	s := openStore(t)
	p := &stopper{inner: s.Stream(), gate: make(chan struct{})}
	r := newRecorder(t, observe.RecorderOptions{Stream: p, Queue: 100, Workers: 1, Batch: 10})
	for range 1000 {
		r.Record(exchange()) // would wait forever, were it to wait
	}
	c := r.Counters()
	if c.Queued != 100 || c.Dropped[observe.DroppedQueue] != 900 {
		t.Errorf("%+v", c)
	}
	if c.Bound != 100+(32+1)*10 {
		t.Errorf("stated bound %d", c.Bound)
	}
	close(p.gate)
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c = r.Counters()
	if c.Acked != 100 {
		t.Errorf("%+v", c)
	}
	balanced(t, c)
}

// refuser fails in the way that is set.
type refuser struct {
	inner observe.Publisher
	err   atomic.Pointer[error]
}

func (p *refuser) PublishAsync(subject, id string, data []byte) (*store.Ack, error) {
	if err := p.err.Load(); err != nil {
		return nil, *err
	}
	return p.inner.PublishAsync(subject, id, data)
}

func TestRecordingStopsLoudlyAndResumes(t *testing.T) {
	full := error(&store.FullError{Dir: "/data", Free: 1, Cause: errors.New("no space")})
	log := &capture{}
	s := openStore(t)
	p := &refuser{inner: s.Stream()}
	r := newRecorder(t, observe.RecorderOptions{Stream: p, Logger: slog.New(slog.NewTextHandler(log, nil))})
	p.err.Store(&full)
	for range 300 {
		r.Record(exchange())
	}
	eventually(t, "dropped and counted", func() bool { return r.Counters().Dropped[observe.DroppedDisk] == 300 })
	if c := r.Counters(); c.Failing == "" {
		t.Errorf("%+v", c)
	}
	p.err.Store(nil)
	r.Record(exchange())
	eventually(t, "resumed", func() bool { c := r.Counters(); return c.Acked == 1 && c.Failing == "" })
	away := fmt.Errorf("publish: %w", store.ErrUnavailable)
	p.err.Store(&away) // for a moment: nothing is lost
	for range 50 {
		r.Record(exchange())
	}
	time.AfterFunc(50*time.Millisecond, func() { p.err.Store(nil) })
	eventually(t, "nothing lost over a short absence", func() bool { return r.Counters().Acked == 51 })
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	balanced(t, r.Counters())
	for _, want := range []string{"dropped and counted; guarding goes on", "recording works again"} {
		if !log.contains(want) {
			t.Errorf("%q is not said:\n%s", want, log.String())
		}
	}
}

func TestWantSamplesFirstThenSeldom(t *testing.T) {
	r := newRecorder(t, observe.RecorderOptions{Stream: openStore(t).Stream(), SampleOneIn: 50, SamplesASec: 1000})
	wanted := func(n int, change func(i int, x *sallyport.Exchange)) (got int) {
		for i := range n {
			x := exchange()
			x.Time = time.Unix(1_000_000+int64(i/500), 0)
			change(i, x)
			if r.Want(x) {
				got++
			}
		}
		return got
	}
	if got := wanted(20, func(int, *sallyport.Exchange) {}); got != 20 {
		t.Errorf("%d of the first 20", got)
	}
	if got := wanted(1000, func(int, *sallyport.Exchange) {}); got < 15 || got > 25 {
		t.Errorf("%d of 1000 later ones, want 1 in 50", got)
	}
	if got := wanted(20, func(_ int, x *sallyport.Exchange) { x.Status = 404 }); got != 20 {
		t.Errorf("%d of the first 20 of another status", got)
	}
	undeclared := func(i int, x *sallyport.Exchange) { x.Template, x.Path = "", fmt.Sprintf("/shadow/%d/x", i) }
	if got := wanted(1000, undeclared); got < 30 || got > 60 {
		t.Errorf("%d of 1000 of one undeclared operation", got)
	}
	scanner := func(i int, x *sallyport.Exchange) {
		x.Time = time.Unix(2_000_000, 0)
		x.Template, x.Path = "", "/"+string(rune('a'+i%26))+string(rune('a'+i/26%26))+string(rune('a'+i/676%26))
	}
	if got := wanted(5000, scanner); got > 1000 {
		t.Errorf("a scanner has %d samples taken in a second", got)
	}
}

func TestWaitingSamplesAreBounded(t *testing.T) {
	s := openStore(t)
	p := &stopper{inner: s.Stream(), gate: make(chan struct{})}
	r := newRecorder(t, observe.RecorderOptions{Stream: p, QueueBytes: 10 << 10, Workers: 1})
	for range 100 {
		r.Record(exchange(func(x *sallyport.Exchange) { x.ResponseBody = make([]byte, 1<<10) }))
	}
	if c := r.Counters(); c.Sampled > 40 || c.Queued != 100 { // a worker may have taken some already
		t.Errorf("%+v", c)
	}
	close(p.gate)
}

func TestLargeEventsAreSplit(t *testing.T) {
	s := openStore(t)
	r := newRecorder(t, observe.RecorderOptions{Stream: s.Stream(), MaxEventSize: 4 << 10})
	for range 100 {
		r.Record(exchange())
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st, err := s.Stream().Stats(t.Context()); err != nil || st.Messages < 15 {
		t.Errorf("%+v, %v", st, err)
	}
	if got := len(read(t, s, 100)); got != 100 {
		t.Errorf("%d exchanges", got)
	}
}

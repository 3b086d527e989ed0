package observe

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev"
	"sallyport.dev/store"
)

// An Intake puts what sources yield on the stream. A source waits while the
// stream is slow: in place of being dropped, a line stays in its file.
//
// With a directory it remembers the place of each Resumer. Before a batch is
// published its id and the place behind it are written down, so that after a
// death at any moment the stream itself says which batches it has, and none is
// read twice.
type Intake struct {
	Stream interface {
		Publisher
		Holds(ctx context.Context, after uint64, ids []string) (map[string]bool, error)
	}
	Dir    string        // for places; "" = none are kept
	Batch  int           // exchanges in one event; default 1024
	Delay  time.Duration // an exchange waits at most this long for its batch; default 50 ms
	Logger *slog.Logger

	published atomic.Uint64
}

// inFlight bounds the events of one source without acknowledgement.
const inFlight = 4

// maxBatch bounds the bytes of one event.
const maxBatch = 768 << 10

// place is what the directory holds of one source.
type place struct {
	Source   string   `json:"source"`
	Position string   `json:"position"`
	Sequence uint64   `json:"sequence"`          // of the last event acknowledged
	Pending  []intent `json:"pending,omitempty"` // events that were about to be published
}

type intent struct {
	ID       string `json:"id"`
	Position string `json:"position"` // behind it
}

// Published is how many exchanges were handed to the stream.
func (in *Intake) Published() uint64 { return in.published.Load() }

// Run runs source until it ends or ctx does, and returns its error. What it has
// yielded until then is on the stream when Run returns nil.
func (in *Intake) Run(ctx context.Context, source Source) error {
	r := &intaking{in: in, source: source, batch: cmp.Or(in.Batch, 1024), delay: cmp.Or(in.Delay, 50*time.Millisecond), name: rand.Text()}
	if resumer, ok := source.(Resumer); ok && in.Dir != "" {
		r.resumer = resumer
		sum := sha256.Sum256([]byte(source.Name()))
		r.file = filepath.Join(in.Dir, hex.EncodeToString(sum[:10])+".json")
		if err := r.resume(ctx); err != nil {
			return fmt.Errorf("source %s: %w", source.Name(), err)
		}
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	r.end = end
	r.timer = time.AfterFunc(time.Hour, func() {
		if err := r.flush(ctx); err != nil {
			end(err)
		}
	})
	r.timer.Stop()
	err := source.Run(ctx, func(x *sallyport.Exchange) error { return r.emit(ctx, x) })
	r.timer.Stop()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(err, cause)
	}
	return errors.Join(err, r.close(last))
}

// intaking is one run of one source.
type intaking struct {
	in      *Intake
	source  Source
	resumer Resumer
	file    string
	batch   int
	delay   time.Duration
	name    string
	end     context.CancelCauseFunc

	mu      sync.Mutex
	timer   *time.Timer
	held    []sallyport.Exchange
	behind  string // position behind held
	place   place
	flights []flight
	events  int
	size    int // of the last event
}

// resume reads the place and asks the stream about what was on its way.
func (r *intaking) resume(ctx context.Context) error {
	r.place = place{Source: r.source.Name()}
	b, err := os.ReadFile(r.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	if err := json.Unmarshal(b, &r.place); err != nil {
		return fmt.Errorf("%s is no place in a source (remove it to read from the start): %w", r.file, err)
	}
	if len(r.place.Pending) > 0 {
		var ids []string
		for _, p := range r.place.Pending {
			ids = append(ids, p.ID)
		}
		have, err := r.in.Stream.Holds(ctx, r.place.Sequence, ids)
		if err != nil {
			return fmt.Errorf("look for what was published last: %w", err)
		}
		for _, p := range r.place.Pending {
			if !have[p.ID] {
				break
			}
			r.place.Position = p.Position
		}
		r.place.Pending = nil
	}
	r.resumer.Resume(r.place.Position)
	return nil
}

func (r *intaking) emit(ctx context.Context, x *sallyport.Exchange) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	Redact(x) // does nothing to what a source has redacted
	r.held = append(r.held, *x)
	if r.resumer != nil {
		r.behind = r.resumer.Position()
	}
	switch {
	case len(r.held) >= r.batch:
		return r.publish(ctx)
	case len(r.held) == 1:
		r.timer.Reset(r.delay)
	}
	return nil
}

func (r *intaking) flush(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.publish(ctx)
	if err == nil && len(r.held) == 0 {
		err = r.settle(ctx, 0)
	}
	if err == nil {
		err = r.write()
	}
	return err
}

// publish hands what is held to the stream; r.mu is held.
func (r *intaking) publish(ctx context.Context) error {
	if len(r.held) == 0 {
		return nil
	}
	r.timer.Stop()
	if err := r.send(ctx, r.held, r.behind); err != nil {
		return err
	}
	clear(r.held)
	r.held = r.held[:0]
	return nil
}

func (r *intaking) send(ctx context.Context, list []sallyport.Exchange, behind string) error {
	data, err := sallyport.Event{Exchanges: list}.AppendBinary(make([]byte, 0, r.size+r.size/8+1024)) // the stream keeps it
	if err != nil {
		return err
	}
	r.size = len(data)
	if len(data) > maxBatch && len(list) > 1 {
		// Only the last part has the whole batch behind it.
		half := len(list) / 2
		if err := r.send(ctx, list[:half], r.place.last()); err != nil {
			return err
		}
		return r.send(ctx, list[half:], behind)
	}
	r.events++
	f := flight{id: r.name + "-" + strconv.Itoa(r.events), data: data, count: len(list)}
	if r.resumer != nil {
		r.place.Pending = append(r.place.Pending, intent{f.id, behind})
		if err := r.write(); err != nil {
			return err
		}
	}
	if f.ack, err = r.try(ctx, f); err != nil {
		return err
	}
	r.in.published.Add(uint64(f.count))
	r.flights = append(r.flights, f)
	return r.settle(ctx, inFlight)
}

func (p *place) last() string {
	if n := len(p.Pending); n > 0 {
		return p.Pending[n-1].Position
	}
	return p.Position
}

// try publishes f, and while the stream cannot take it waits.
func (r *intaking) try(ctx context.Context, f flight) (*store.Ack, error) {
	said := false
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		ack, err := r.in.Stream.PublishAsync(sallyport.SubjectExchange, f.id, f.data)
		if err == nil {
			return ack, nil
		}
		if !said && pause > time.Second {
			said = true
			cmp.Or(r.in.Logger, slog.Default()).Warn("a source waits for the event stream", "source", r.source.Name(), "error", err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// settle waits until no more than most events are without acknowledgement.
func (r *intaking) settle(ctx context.Context, most int) error {
	for len(r.flights) > most {
		f := r.flights[0]
		seq, err := f.ack.Result(ctx)
		for err != nil && ctx.Err() == nil {
			if f.ack, err = r.try(ctx, f); err == nil { // the same id: the stream takes it once
				seq, err = f.ack.Result(ctx)
			}
		}
		if err != nil {
			return err
		}
		r.flights = r.flights[1:]
		if r.resumer != nil && len(r.place.Pending) > 0 {
			r.place.Position, r.place.Sequence = r.place.Pending[0].Position, max(seq, r.place.Sequence)
			r.place.Pending = r.place.Pending[1:]
		}
	}
	return nil
}

// write keeps the place; whoever reads it sees the old one or the new one.
func (r *intaking) write() error {
	if r.resumer == nil {
		return nil
	}
	b, err := json.Marshal(r.place)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.in.Dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(r.file+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(r.file+".new", r.file)
}

// close publishes what is left and keeps the last place.
func (r *intaking) close(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := errors.Join(r.publish(ctx), r.settle(ctx, 0)); err != nil {
		return err
	}
	if r.resumer != nil {
		r.place.Position = cmp.Or(r.resumer.Position(), r.place.Position)
	}
	return r.write()
}

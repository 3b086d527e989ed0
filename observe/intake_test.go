package observe_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/observe"
	"sallyport.dev/store"
)

// numbers is a source that yields so many exchanges and knows its place.
type numbers struct {
	at, end int
	die     int // fails behind this one; 0 = never
}

var errDied = errors.New("died")

func (n *numbers) Name() string                 { return "numbers" }
func (n *numbers) Health() observe.SourceHealth { return observe.SourceHealth{} }
func (n *numbers) Resume(p string)              { n.at, _ = strconv.Atoi(p) }
func (n *numbers) Position() string             { return strconv.Itoa(n.at) }

func (n *numbers) Run(ctx context.Context, emit func(*sallyport.Exchange) error) error {
	for n.at < n.end {
		n.at++
		x := &sallyport.Exchange{ID: fmt.Sprintf("%026d", n.at), Time: time.Now(), Door: "source:numbers", Method: "GET", Path: "/n/" + strconv.Itoa(n.at), Status: 200}
		if err := emit(x); err != nil {
			return err
		}
		if n.die == n.at {
			return errDied
		}
	}
	return nil
}

// dying is a stream that dies, and the process with it, before or behind a publication.
type dying struct {
	*store.Stream
	left   int
	behind bool
}

func (d *dying) PublishAsync(subject, id string, data []byte) (*store.Ack, error) {
	d.left--
	if d.left == 0 {
		if d.behind {
			if _, err := d.Stream.Publish(context.Background(), subject, id, data); err != nil {
				return nil, err
			}
		}
		panic(errDied)
	}
	return d.Stream.PublishAsync(subject, id, data)
}

// Whenever a process dies, nothing is published twice and nothing is missing.
func TestIntakeGoesOn(t *testing.T) {
	for _, c := range []struct {
		name   string
		left   int
		behind bool
	}{{"before the first", 1, false}, {"behind the first", 1, true}, {"before the seventh", 7, false}, {"behind the seventh", 7, true}} {
		t.Run(c.name, func(t *testing.T) {
			o := store.Options{Dir: t.TempDir(), Key: make([]byte, store.KeySize), Logger: slog.New(slog.DiscardHandler)}
			rand.Read(o.Key)
			s, err := store.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			dir := t.TempDir()
			func() {
				defer func() {
					if recover() == nil {
						t.Error("it did not die")
					}
				}()
				in := &observe.Intake{Stream: &dying{s.Stream(), c.left, c.behind}, Dir: dir, Batch: 10, Delay: time.Hour}
				_ = in.Run(t.Context(), &numbers{end: 100})
			}()
			in := &observe.Intake{Stream: s.Stream(), Dir: dir, Batch: 10, Delay: time.Hour}
			if err := in.Run(t.Context(), &numbers{end: 105}); err != nil {
				t.Fatal(err)
			}
			seen := map[string]int{}
			ctx, cancel := context.WithCancel(t.Context())
			_ = s.Stream().Consume(ctx, "test", []string{sallyport.SubjectExchange}, func(_ context.Context, messages []store.Message) error {
				for _, m := range messages {
					var e sallyport.Event
					if err := e.UnmarshalBinary(m.Data); err != nil {
						t.Error(err)
					}
					for _, x := range e.Exchanges {
						seen[x.ID]++
					}
				}
				if len(seen) >= 105 {
					cancel()
				}
				return nil
			})
			for id, n := range seen {
				if n != 1 {
					t.Errorf("%s was published %d times", id, n)
				}
			}
		})
	}
}

// An error of the source is Run's, and what was read until then is kept.
func TestIntakeKeepsWhatWasRead(t *testing.T) {
	o := store.Options{Dir: t.TempDir(), Key: make([]byte, store.KeySize), Logger: slog.New(slog.DiscardHandler)}
	rand.Read(o.Key)
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := &observe.Intake{Stream: s.Stream(), Dir: t.TempDir(), Delay: time.Hour}
	if err := in.Run(t.Context(), &numbers{end: 9, die: 5}); !errors.Is(err, errDied) {
		t.Errorf("Run: %v", err)
	}
	again := &numbers{end: 9}
	if err := in.Run(t.Context(), again); err != nil || in.Published() != 9 {
		t.Errorf("%v, %d published, want 9", err, in.Published())
	}
}

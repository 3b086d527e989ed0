// Package sourcetest is what every source of exchanges must pass. In comes a
// source and a way to feed it; what is wrong is said through testing.T. Only
// tests use it.
package sourcetest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/observe"
)

// Secret stands in the query, and in credentials where a format carries them;
// no exchange may hold it.
const Secret = "s3cr3t-Zq8xV2mK9pLw4TnR"

// Sent is an exchange as it went over the wire.
type Sent struct {
	Method, Host, Path, Query string
	Status                    int
	Time                      time.Time
}

// A Subject makes sources.
type Subject struct {
	// New makes a source and the way to feed it, while it runs or before: good
	// exchanges, and besides, when bad is set, one piece that cannot be read.
	New func(t *testing.T) (source observe.Source, send func(list []Sent, bad bool))
	// Again makes a source that goes on where New's, which has ended, was; nil =
	// it has no place.
	Again  func(t *testing.T) observe.Source
	NoHost bool // the format names no host
	Ends   bool // it reads to an end and no further
	NoBad  bool // nothing can be sent that is not read
}

// Traffic is what is sent: a failure, a secret and a path with an id among it.
func Traffic(n int) []Sent {
	at := time.Now().Add(-time.Minute).Truncate(time.Second)
	var out []Sent
	for i := range n {
		s := Sent{Method: "GET", Host: "shop.example.test", Path: "/v1/items/" + string(rune('1'+i%9)), Status: 200, Time: at.Add(time.Duration(i) * time.Second)}
		switch i % 3 {
		case 1:
			s.Method, s.Path, s.Query, s.Status = "POST", "/v1/orders", "access_token="+Secret, 201
		case 2:
			s.Status = 503
		}
		out = append(out, s)
	}
	return out
}

// collector takes what is emitted.
type collector struct {
	mu   sync.Mutex
	list []*sallyport.Exchange
	busy bool
}

func (c *collector) emit(t *testing.T, source observe.Source) func(*sallyport.Exchange) error {
	return func(x *sallyport.Exchange) error {
		c.mu.Lock()
		if c.busy {
			t.Error("emit is called twice at once")
		}
		c.busy = true
		c.mu.Unlock()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.busy = false
		c.list = append(c.list, x)
		return nil
	}
}

func (c *collector) all() []*sallyport.Exchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.list)
}

// run starts source and gives what ends it.
func run(t *testing.T, source observe.Source) (*collector, func()) {
	t.Helper()
	c := &collector{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx, c.emit(t, source)) }()
	return c, func() {
		t.Helper()
		cancel()
		select {
		case err := <-done:
			if err != nil && ctx.Err() == nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("Run does not end with its context")
		}
	}
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s after 15 s", what)
		}
	}
}

// Run tests a subject.
func Run(t *testing.T, s Subject) {
	t.Run("yields what was sent, redacted", func(t *testing.T) {
		source, send := s.New(t)
		if source.Name() == "" {
			t.Error("it has no name")
		}
		c, stop := run(t, source)
		sent := Traffic(9)
		send(sent, false)
		wait(t, "exchanges", func() bool { return len(c.all()) >= len(sent) })
		stop()
		got := c.all()
		if len(got) != len(sent) {
			t.Fatalf("%d exchanges for %d sent", len(got), len(sent))
		}
		ids := map[string]bool{}
		for i, x := range got {
			w := sent[i]
			if x.Method != w.Method || x.Path != w.Path || x.Status != w.Status || !s.NoHost && !strings.HasPrefix(x.Host, w.Host) {
				t.Errorf("exchange %d is %s %s%s %d, sent was %+v", i, x.Method, x.Host, x.Path, x.Status, w)
			}
			if len(x.ID) != 26 || ids[x.ID] {
				t.Errorf("exchange %d has the id %q", i, x.ID)
			}
			ids[x.ID] = true
			if off := x.Time.Sub(w.Time); off > 2*time.Minute || off < -2*time.Minute {
				t.Errorf("exchange %d is of %s, sent was %s", i, x.Time, w.Time)
			}
			Check(t, x)
		}
		h := source.Health()
		if h.Emitted != uint64(len(sent)) || h.Bad != 0 || h.State == "" {
			t.Errorf("health %+v", h)
		}
	})
	t.Run("counts what is bad and names the first", func(t *testing.T) {
		if s.NoBad {
			return
		}
		source, send := s.New(t)
		c, stop := run(t, source)
		send(Traffic(3), true)
		wait(t, "bad one and exchanges", func() bool { return source.Health().Bad > 0 && len(c.all()) >= 3 })
		stop()
		if h := source.Health(); h.FirstBad == "" || strings.Contains(h.FirstBad, Secret) {
			t.Errorf("the first bad one is named %q", h.FirstBad)
		}
	})
	t.Run("ends with its context when nothing comes", func(t *testing.T) {
		if s.Ends {
			return
		}
		source, _ := s.New(t)
		_, stop := run(t, source)
		stop()
	})
	t.Run("goes on where it was", func(t *testing.T) {
		if s.Again == nil {
			return
		}
		source, send := s.New(t)
		c, stop := run(t, source)
		send(Traffic(4), false)
		wait(t, "exchanges", func() bool { return len(c.all()) >= 4 })
		stop()
		place := source.(observe.Resumer).Position()
		again := s.Again(t).(observe.Resumer)
		again.Resume(place)
		c, stop = run(t, again)
		send(Traffic(2), false)
		wait(t, "new exchanges", func() bool { return len(c.all()) >= 2 })
		stop()
		if n := len(c.all()); n != 2 {
			t.Errorf("%d exchanges after the restart, sent were 2", n)
		}
	})
}

// Check says what no exchange of a source may lack.
func Check(t *testing.T, x *sallyport.Exchange) {
	t.Helper()
	if !x.Redacted {
		t.Error("an exchange is not redacted")
	}
	if !strings.HasPrefix(x.Door, observe.SourcePrefix) {
		t.Errorf("the door of an exchange is %q", x.Door)
	}
	if len(x.Decision.NotInspected) == 0 || x.Decision.Action != "" {
		t.Errorf("the decision looks like one: %+v", x.Decision)
	}
	b, err := (sallyport.Event{Exchanges: []sallyport.Exchange{*x}}).MarshalBinary()
	if err != nil || strings.Contains(string(b), Secret) {
		t.Errorf("an exchange holds a secret, or cannot be written: %v", err)
	}
	if x.RequestBody != nil || x.ResponseBody != nil {
		t.Error("an exchange holds bodies")
	}
}

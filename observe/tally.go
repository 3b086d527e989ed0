package observe

import (
	"fmt"
	"sync"
	"time"
)

// A SourceTally keeps the health of a source. Its zero value is ready, its
// methods are safe for concurrent use.
type SourceTally struct {
	mu sync.Mutex
	h  SourceHealth
}

// maxWhy bounds what is kept of one reason.
const maxWhy = 300

// State says what the source does now; a state that fails has an error.
func (t *SourceTally) State(state string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.h.State != state {
		t.h.State, t.h.SinceWhen = state, time.Now()
	}
	t.h.Error = ""
	if err != nil {
		t.h.Error = brief(err.Error())
	}
}

// Format says what is read.
func (t *SourceTally) Format(name string) {
	t.mu.Lock()
	t.h.Format = name
	t.mu.Unlock()
}

// Notice says something that people should know and that stops nothing.
func (t *SourceTally) Notice(format string, args ...any) {
	t.mu.Lock()
	t.h.Notice = brief(fmt.Sprintf(format, args...))
	t.mu.Unlock()
}

// Read counts what came.
func (t *SourceTally) Read(n int) {
	t.mu.Lock()
	t.h.Read += uint64(n)
	t.mu.Unlock()
}

// Emitted counts an exchange that happened at the given time.
func (t *SourceTally) Emitted(at time.Time) {
	t.mu.Lock()
	t.h.Emitted++
	if at.After(t.h.Last) {
		t.h.Last = at
	}
	t.mu.Unlock()
}

// Bad counts what could not be read. Place and reason hold nothing that was in
// it: they are kept of the first.
func (t *SourceTally) Bad(place, why string) {
	t.mu.Lock()
	if t.h.Bad++; t.h.FirstBad == "" {
		t.h.FirstBad = brief(place + ": " + why)
	}
	t.mu.Unlock()
}

// Lost counts what is known to be missing.
func (t *SourceTally) Lost(n int) {
	t.mu.Lock()
	t.h.Lost += uint64(n)
	t.mu.Unlock()
}

// Lag says how far behind reading is.
func (t *SourceTally) Lag(d time.Duration) {
	t.mu.Lock()
	t.h.Lag = max(d, 0)
	t.mu.Unlock()
}

// Health gives the present state.
func (t *SourceTally) Health() SourceHealth {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.h
	if h.State == "" {
		h.State = "waiting"
	}
	return h
}

func brief(s string) string { return s[:min(len(s), maxWhy)] }

// Package slots is an upstream whose capacity is known exactly: it works on so
// many requests at once, each for as long as it says (?ms=50), and lets the
// others wait in turn. It sleeps instead of computing, so what is measured with
// it does not depend on the machine's processors. With Reports it tells with
// each answer, by ORCA, how busy it is and what the request has cost.
package slots

import (
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// An Upstream serves; New makes one. It is safe for concurrent use.
type Upstream struct {
	Reports bool

	free chan struct{}
	busy atomic.Int64
	held atomic.Int64
	Done atomic.Int64 // requests that had their whole time
}

// New makes an upstream of n slots.
func New(n int) *Upstream { return &Upstream{free: make(chan struct{}, n)} }

// Held is for how long slots have been held, all together: longer than what was
// asked for where the machine is too busy to end a sleep in time.
func (u *Upstream) Held() time.Duration { return time.Duration(u.held.Load()) }

var _ http.Handler = (*Upstream)(nil)

// ServeHTTP works for ?ms= milliseconds, 50 without, at most ten seconds.
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ms := 50
	if n, err := strconv.Atoi(r.URL.Query().Get("ms")); err == nil && n >= 0 && n <= 10_000 {
		ms = n
	}
	select {
	case u.free <- struct{}{}:
	case <-r.Context().Done():
		return
	}
	took, began := time.Duration(ms)*time.Millisecond, time.Now()
	busy := u.busy.Add(1)
	time.Sleep(took)
	u.busy.Add(-1)
	u.held.Add(int64(time.Since(began)))
	<-u.free
	u.Done.Add(1)
	if u.Reports {
		w.Header().Set("Endpoint-Load-Metrics", fmt.Sprintf("TEXT cpu_utilization=%.3f,request_cost.cpu_seconds=%.6f", float64(busy)/float64(cap(u.free)), took.Seconds()))
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"worked":%d}`, ms)
}

// Package limit counts how often something happens, by GCRA (the generic cell
// rate algorithm): one instant per key, the theoretical arrival time. In come a
// key, a limit, a number and the time; out go yes or no and how long to wait.
// Memory is bounded whatever is asked. It reads no clock and does no I/O.
package limit

import (
	"net/netip"
	"time"
)

// A Key is what is counted: which limit, and whom by.
type Key struct {
	Limit   uint32 // the limit's number inside a program's list, see Limit.ID
	Scope   string // API or operation
	Subject string // principal
	Addr    netip.Addr
}

// A Limit allows Count in each Window and Burst of them at once.
type Limit struct {
	Count  int
	Window time.Duration
	Burst  int
}

// Counters counts. Take asks for n at the time now: ok when they are within the
// limit and counted, else how long to wait until they would be. With n = 0
// nothing is counted and ok says whether one more would be allowed.
// Implementations are safe for concurrent use.
type Counters interface {
	Take(k Key, l Limit, n int, now time.Time) (ok bool, wait time.Duration)
}

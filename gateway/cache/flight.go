package cache

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"time"
)

// End is how a flight ended.
type End uint8

// The ends.
const (
	Late   End = iota // it has not: the time to wait is over, or the one who waits has gone
	Shared            // an answer is stored: look again
	Alone             // the answer is for nobody else: each asks for itself
	Died              // there was no answer: one of those who wait may try
)

// A Flight is one question to an upstream of which several requests wait for
// the answer. Settle ends it, once.
type Flight struct {
	f    *flights
	key  string
	done chan struct{}
	once sync.Once
	end  End
}

type flights struct {
	mu    sync.Mutex
	in    map[string]*Flight
	alone map[string]time.Time // keys whose answers are for nobody else, until when
}

func (f *flights) init() { f.in, f.alone = map[string]*Flight{}, map[string]time.Time{} }

const (
	maxAlone  = 4096
	aloneTime = 10 * time.Second
)

// FlightKey is under what questions are the same: target, scope and all headers
// that are known to matter, within one set of credentials. It is a digest: it
// names no secret, and is short whatever a client has sent.
func (s *Store) FlightKey(q *Request, r *Rules, e *Entry) string {
	key := target(q.API, q.Host, q.Target) + "\x00" + scopeOf(q, r, q.Caller)
	if q.Credentialed {
		var secrets []string
		for name := range q.Header {
			if secret(name) {
				secrets = append(secrets, name)
			}
		}
		slices.Sort(secrets)
		key += "\x00" + varied(secrets, q.Header)
	}
	names := s.variesBy(q, r)
	if e != nil {
		names = e.vary
	}
	sum := sha256.Sum256([]byte(key + "\x00" + varied(names, q.Header)))
	return string(sum[:])
}

// variesBy is by which fields the youngest answer of a target varies.
func (s *Store) variesBy(q *Request, r *Rules) []string {
	key := target(q.API, q.Host, q.Target)
	sh, _ := s.shard(key)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if list := sh.targets[key][scopeOf(q, r, "")]; len(list) > 0 {
		return list[len(list)-1].vary
	}
	return nil
}

// Join gives the flight of a key. leads: there was none, and the caller is to
// ask and to Settle. nil: questions of this key are asked one by one for now.
func (s *Store) Join(key string, now time.Time) (fl *Flight, leads bool) {
	f := &s.flights
	f.mu.Lock()
	defer f.mu.Unlock()
	if until, known := f.alone[key]; known {
		if now.Before(until) && until.Sub(now) <= aloneTime {
			return nil, false
		}
		delete(f.alone, key)
	}
	if fl = f.in[key]; fl != nil {
		return fl, false
	}
	fl = &Flight{f: f, key: key, done: make(chan struct{})}
	f.in[key] = fl
	return fl, true
}

// Settle tells those who wait how it ended. Only the first call counts.
func (fl *Flight) Settle(end End) { fl.once.Do(func() { fl.settle(end, time.Time{}) }) }

// SettleAlone is Settle(Alone), and has questions of this key asked one by one
// for some seconds, so that nobody waits in vain again.
func (fl *Flight) SettleAlone(now time.Time) { fl.once.Do(func() { fl.settle(Alone, now) }) }

func (fl *Flight) settle(end End, now time.Time) {
	f := fl.f
	f.mu.Lock()
	delete(f.in, fl.key)
	if !now.IsZero() {
		if len(f.alone) >= maxAlone {
			clear(f.alone)
		}
		f.alone[fl.key] = now.Add(aloneTime)
	}
	f.mu.Unlock()
	fl.end = end
	close(fl.done)
}

// Wait waits for the end.
func (fl *Flight) Wait(ctx context.Context, most time.Duration) End {
	select {
	case <-fl.done:
		return fl.end
	default:
	}
	if most <= 0 {
		return Late
	}
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-fl.done:
		return fl.end
	case <-t.C:
	case <-ctx.Done():
	}
	return Late
}

// Package counters lets several nodes count together, through Redis or Valkey.
// In come the guard's questions (may this caller have one more?); out go
// answers that need no round trip as a rule: a node leases what it will soon
// need and spends that by itself. What was used is debited at Redis before it
// is spent, so that all nodes together never give out more than the limit and
// what is leased and unspent: Lease of each node, nothing for limits below 16
// at once. Costs, known only afterwards, are reported every tenth of a second.
//
// Redis that is gone, slow or talks nonsense never stops a request: after
// Patience the node counts by itself, says so once, and goes back by itself.
// Requests in flight are counted on each node alone. Names of callers are not
// given to Redis, only digests of them.
package counters

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"sallyport.dev/guard/limit"
)

// Options are what shared counters are opened with.
type Options struct {
	URL      string        // redis://[user[:password]@]host:port[/db], or rediss:// with TLS
	Password string        // in the place of the URL's, when not empty
	TLS      *tls.Config   // for rediss://; nil: the system's roots
	Local    *limit.Memory // counts when Redis does not; also what is in flight. nil: one of its own
	Log      *slog.Logger
	Prefix   string        // of keys; "" is "sallyport:"
	Patience time.Duration // how long a request may wait for Redis; 0 is 25 ms
	Keys     int           // how many keys are shared at most; beyond, they are counted here alone. 0 is 131,072
}

// Times of the conversation with Redis.
const (
	patience   = 25 * time.Millisecond  // of a request
	answerTime = 100 * time.Millisecond // of Redis, for a whole batch
	reporting  = 100 * time.Millisecond // between two reports of costs
	horizon    = 200 * time.Millisecond // that a lease is to last
	idle       = time.Second            // after which a lease is given back
	probing    = 500 * time.Millisecond // between two questions whether Redis is back
	shards     = 64
	batch      = 512
)

// Shared is limit.Counters that several nodes share. Run must run for it to
// share anything. It is safe for concurrent use.
type Shared struct {
	o      Options
	local  *limit.Memory
	client *redis.Client
	seed   maphash.Seed
	room   int // leases of one shard
	shard  [shards]shard

	urgent chan struct{} // somebody waits, or a lease runs low
	mu     sync.Mutex
	asked  []*lease // to be asked about now
	alone  atomic.Bool
	why    error // the worker's: what ended the sharing

	trips, late, failures, full, outages atomic.Uint64
}

type shard struct {
	mu     sync.Mutex
	leases map[limit.Key]*lease
	dirty  []*lease // with costs to report
	_      [24]byte
}

// lease is what this node knows of a key, and may spend of it.
type lease struct {
	s     *shard
	name  string // at Redis
	limit limit.Limit

	tokens  int64  // leased, not spent
	spent   int64  // since the last answer
	ahead   int64  // what the next lease is to hold
	owed    int64  // cost that Redis does not know of
	used    int64  // of a quota, by the last answer
	until   int64  // of a quota: the period's end that tokens and used are of
	tat     int64  // by the last answer, on this node's clock, Unix nanoseconds
	denied  int64  // nothing is to be had before, Unix nanoseconds
	touched int64  // last used
	heard   int64  // last answer
	asking  bool   // queued or asked
	dirty   bool   // in the shard's list
	seen    bool   // Redis has answered once
	waiting []wait // for the next answer
}

// wait is a request that cannot go on before Redis has answered.
type wait struct {
	n    int64
	done chan verdict
}

type verdict struct {
	ok, failed bool
	wait       time.Duration
}

var _ limit.Counters = (*Shared)(nil)

// Open checks the options; it does not dial. Until Run has reached Redis the
// node counts alone.
func Open(o Options) (*Shared, error) {
	r, err := redis.ParseURL(o.URL)
	if err == nil {
		if _, port, perr := net.SplitHostPort(r.Addr); r.Network == "tcp" {
			if n, nerr := strconv.Atoi(port); perr != nil || nerr != nil || n < 1 || n > 65535 {
				err = errors.New("no port")
			}
		}
	}
	if err != nil {
		return nil, errors.New("counters: want redis://[user@]host:port[/db] or rediss:// for TLS") // the error would show the URL, with its password
	}
	if o.Password != "" {
		r.Password = o.Password
	}
	if o.TLS != nil {
		if r.TLSConfig == nil {
			return nil, errors.New("counters: a certificate authority is given, and the URL is not rediss://")
		}
		c := o.TLS.Clone()
		c.ServerName, c.MinVersion = r.TLSConfig.ServerName, tls.VersionTLS12
		r.TLSConfig = c
	}
	r.DialTimeout, r.ReadTimeout, r.WriteTimeout, r.ContextTimeoutEnabled = answerTime, answerTime, answerTime, true
	r.MaxRetries, r.PoolSize, r.MinIdleConns = -1, 8, 0
	r.DialerRetries = 1
	r.DisableIdentity, r.Protocol = true, 2
	r.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	dial := redis.NewDialer(r)
	r.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &framed{Conn: c}, nil
	}
	silence.Do(func() { redis.SetLogger(quiet{}) })
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Prefix == "" {
		o.Prefix = "sallyport:"
	}
	if o.Patience <= 0 {
		o.Patience = patience
	}
	if o.Keys <= 0 {
		o.Keys = 1 << 17
	}
	s := &Shared{o: o, local: o.Local, client: redis.NewClient(r), seed: maphash.MakeSeed(), room: max(1, o.Keys/shards), urgent: make(chan struct{}, 1)}
	if s.local == nil {
		s.local = limit.NewMemory(0)
	}
	for i := range s.shard {
		s.shard[i].leases = map[limit.Key]*lease{}
	}
	s.alone.Store(true)
	return s, nil
}

// Close ends the connections. Run must have returned.
func (s *Shared) Close() error { return s.client.Close() }

// quiet takes the library's own log, which says again what its errors say.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

var silence sync.Once

// Alone reports whether this node counts by itself now.
func (s *Shared) Alone() bool { return s.alone.Load() }

// Stats say how the sharing goes.
type Stats struct {
	Alone    bool
	Leases   int    // keys that are shared
	Trips    uint64 // batches sent to Redis
	Late     uint64 // requests that Redis did not answer in time, and that were counted here
	Failures uint64 // batches without a usable answer
	Full     uint64 // questions about keys beyond Options.Keys, counted here
	Outages  uint64 // times that sharing ended
}

// Stats gives the counts since Open.
func (s *Shared) Stats() Stats {
	out := Stats{Alone: s.alone.Load(), Trips: s.trips.Load(), Late: s.late.Load(), Failures: s.failures.Load(), Full: s.full.Load(), Outages: s.outages.Load()}
	for i := range s.shard {
		sh := &s.shard[i]
		sh.mu.Lock()
		out.Leases += len(sh.leases)
		sh.mu.Unlock()
	}
	return out
}

// Lease is how much of a limit one node holds unspent at most: a sixteenth of
// what may happen at once, and so nothing below 16. All nodes together exceed
// a limit by at most this much of each.
func Lease(l limit.Limit) int { return l.Capacity() / 16 }

// of finds or makes the lease of a key, and locks its shard. nil: there is no
// room, and nothing is locked.
func (s *Shared) of(k *limit.Key, l *limit.Limit, t int64) *lease {
	sh := &s.shard[maphash.Comparable(s.seed, *k)%shards]
	sh.mu.Lock()
	e := sh.leases[*k]
	if e == nil {
		if len(sh.leases) >= s.room && !sh.forget(t) {
			sh.mu.Unlock()
			s.full.Add(1)
			return nil
		}
		sum := sha256.Sum256([]byte(k.Limit + "\x00" + k.Subject + "\x00" + k.Addr.String()))
		e = &lease{s: sh, name: s.o.Prefix + hex.EncodeToString(sum[:16])}
		sh.leases[*k] = e
	}
	if e.limit != *l { // the configuration has changed
		e.limit = *l
	}
	e.touched = t
	if l.Every != nil {
		if end := l.Every.End(time.Unix(0, t)); e.until != end {
			e.until, e.tokens, e.used, e.denied, e.seen = end, 0, 0, 0, false
		}
	}
	return e
}

// forget drops a lease that nothing depends on; the shard is locked.
func (sh *shard) forget(t int64) bool {
	looked := 0
	for k, e := range sh.leases {
		if e.disposable() && t-e.touched > int64(idle) {
			delete(sh.leases, k)
			return true
		}
		if looked++; looked == 32 {
			break
		}
	}
	return false
}

func (e *lease) disposable() bool {
	return e.tokens == 0 && e.owed == 0 && !e.asking && !e.dirty && len(e.waiting) == 0
}

func inFlight(l *limit.Limit) bool { return l.Window == 0 && l.Every == nil }

// Take implements limit.Counters.
func (s *Shared) Take(k limit.Key, l limit.Limit, n int, now time.Time) (bool, time.Duration) {
	if inFlight(&l) || s.alone.Load() {
		return s.local.Take(k, l, n, now)
	}
	t := now.UnixNano()
	e := s.of(&k, &l, t)
	if e == nil {
		return s.local.Take(k, l, n, now)
	}
	switch {
	case n == 0:
		denied := e.denied
		e.s.mu.Unlock()
		if denied > t {
			return false, time.Duration(denied - t)
		}
		return s.local.Take(k, l, 0, now)
	case e.tokens >= int64(n):
		e.tokens -= int64(n)
		e.spent += int64(n)
		if e.tokens < e.ahead/2 && !e.asking && e.denied <= t {
			s.ask(e)
		}
		e.s.mu.Unlock()
		s.local.Settle(k, l, 0, n, now)
		return true, 0
	case e.denied > t:
		wait := e.denied - t
		e.s.mu.Unlock()
		return false, time.Duration(wait)
	}
	v := s.await(e, int64(n))
	switch {
	case v.failed:
		return s.local.Take(k, l, n, now)
	case v.ok:
		s.local.Settle(k, l, 0, n, now)
	}
	return v.ok, v.wait
}

// await queues for Redis' answer about e, whose shard is locked, unlocks it and
// waits as long as a request may.
func (s *Shared) await(e *lease, n int64) verdict {
	done := make(chan verdict, 1)
	e.waiting = append(e.waiting, wait{n, done})
	if !e.asking {
		s.ask(e)
	}
	e.s.mu.Unlock()
	timer := time.NewTimer(s.o.Patience)
	defer timer.Stop()
	select {
	case v := <-done:
		return v
	case <-timer.C:
	}
	// Counted here now; what Redis may still grant for it has been debited there,
	// so nothing is counted too little.
	select {
	case v := <-done:
		return v
	default:
		s.late.Add(1)
		return verdict{failed: true}
	}
}

// ask has the worker ask about e soon; its shard is locked.
func (s *Shared) ask(e *lease) {
	e.asking = true
	s.mu.Lock()
	s.asked = append(s.asked, e)
	s.mu.Unlock()
	select {
	case s.urgent <- struct{}{}:
	default:
	}
}

// Hold implements limit.Counters: what is in flight is held on this node, and
// what all nodes have used is known from their last reports.
func (s *Shared) Hold(k limit.Key, l limit.Limit, n int, now time.Time) (bool, time.Duration) {
	ok, wait := s.local.Hold(k, l, n, now)
	if !ok || inFlight(&l) || s.alone.Load() {
		return ok, wait
	}
	t := now.UnixNano()
	e := s.of(&k, &l, t)
	if e == nil {
		return true, 0
	}
	if !e.seen {
		if v := s.await(e, 0); v.failed {
			return true, 0
		}
		e.s.mu.Lock()
	}
	s.report(e)
	owed, used, tat, until := e.owed, e.used, e.tat, e.until
	e.s.mu.Unlock()
	held := int64(s.local.Look(k, l, now).Held)
	if l.Every != nil {
		if used+owed+held > int64(l.Count) {
			s.local.Settle(k, l, n, 0, now)
			return false, time.Duration(max(0, until-t))
		}
		return true, 0
	}
	if ahead := time.Duration(max(0, tat-t)) + l.Span(int(owed+held)); ahead > l.Room() {
		s.local.Settle(k, l, n, 0, now)
		return false, ahead - l.Room()
	}
	return true, 0
}

// report has the worker tell Redis of e with its next report; its shard is locked.
func (s *Shared) report(e *lease) {
	if !e.dirty {
		e.dirty = true
		e.s.dirty = append(e.s.dirty, e)
	}
}

// Settle implements limit.Counters.
func (s *Shared) Settle(k limit.Key, l limit.Limit, n, cost int, now time.Time) {
	s.local.Settle(k, l, n, cost, now)
	if cost <= 0 || inFlight(&l) || s.alone.Load() {
		return
	}
	if e := s.of(&k, &l, now.UnixNano()); e != nil {
		e.owed = min(e.owed+int64(cost), 1<<53)
		s.report(e)
		e.s.mu.Unlock()
	}
}

// Look implements limit.Counters.
func (s *Shared) Look(k limit.Key, l limit.Limit, now time.Time) limit.State {
	st := s.local.Look(k, l, now)
	if inFlight(&l) || s.alone.Load() {
		return st
	}
	t := now.UnixNano()
	e := s.of(&k, &l, t)
	if e == nil {
		return st
	}
	defer e.s.mu.Unlock()
	if !e.seen {
		return st
	}
	if l.Every != nil {
		st.Remaining = max(0, min(st.Remaining, l.Count-int(e.used+e.owed-e.tokens)-st.Held))
		return st
	}
	ahead := max(0, e.tat-t)
	st.Reset = max(st.Reset, time.Duration(ahead))
	left := 0
	if room := int64(l.Room()) - ahead; room > 0 {
		left = int(float64(room) / max(1, float64(l.Span(1<<10))/(1<<10)))
	}
	st.Remaining = max(0, min(st.Remaining, left+int(e.tokens-e.owed)-st.Held))
	return st
}

// Run talks to Redis until ctx ends. It never gives up.
func (s *Shared) Run(ctx context.Context) error {
	reports, scans := time.NewTicker(reporting), time.NewTicker(idle)
	defer reports.Stop()
	defer scans.Stop()
	said := false
	say := func(err error) {
		if !said && ctx.Err() == nil {
			said = true
			s.o.Log.Warn("limits are counted on this node alone: the shared counters cannot be asked", "error", err)
		}
	}
	for ctx.Err() == nil {
		if s.alone.Load() {
			if s.why != nil {
				say(s.why)
			}
			if err := s.probe(ctx); err != nil {
				say(err)
				select {
				case <-ctx.Done():
				case <-time.After(probing):
				}
				continue
			}
			said, s.why = false, nil
			s.o.Log.Info("limits are counted together with other nodes")
			s.alone.Store(false)
		}
		select {
		case <-ctx.Done():
			s.giveBack(context.WithoutCancel(ctx), true)
		case <-s.urgent:
			s.exchange(ctx, s.pending())
		case <-reports.C:
			s.exchange(ctx, s.dirty())
		case <-scans.C:
			s.giveBack(ctx, false)
		}
	}
	s.fall(nil)
	return nil
}

// probe asks whether Redis is there and can do what is asked of it.
func (s *Shared) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*answerTime) // a first connection takes longer, with TLS
	defer cancel()
	sha, err := s.client.ScriptLoad(ctx, script).Result()
	if err == nil && sha != scriptSHA {
		err = fmt.Errorf("it names our script %.40q", sha)
	}
	return err
}

// fall ends the sharing: whoever waits is counted here.
func (s *Shared) fall(err error) {
	if s.alone.Swap(true) {
		return
	}
	if s.why = err; err != nil {
		s.outages.Add(1)
	}
	for i := range s.shard {
		sh := &s.shard[i]
		sh.mu.Lock()
		for _, e := range sh.leases {
			e.asking, e.denied, e.seen = false, 0, false
			e.release(verdict{failed: true})
		}
		sh.mu.Unlock()
	}
	s.mu.Lock()
	s.asked = nil
	s.mu.Unlock()
}

// release tells all who wait the same; the shard is locked.
func (e *lease) release(v verdict) {
	for _, w := range e.waiting {
		w.done <- v
	}
	clear(e.waiting)
	e.waiting = e.waiting[:0]
}

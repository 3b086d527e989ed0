package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev"
)

// The ways in which no instance can be had.
var (
	errNoInstance = errors.New("no instance is admitted and healthy")
	errBusy       = errors.New("every instance has as many requests as it may")
)

// Reasons of admission that the pool gives by itself.
const (
	reasonNoGate   = "no gate configured"
	reasonUntested = "not admitted yet"
	reasonGone     = "no longer among the upstreams"
)

// What is added to the reason of an admitted instance that is not well.
const (
	reasonSick    = "; left out by the active check"
	reasonOut     = "; left out after failures"
	reasonPressed = "; fails, but is asked all the same, for no other is left"
)

// A pool is the set of instances of one API. Lock order: pool.mu, then
// instance.mu; choosing an instance takes neither.
type pool struct {
	name    string
	now     func() time.Time
	lookup  func(ctx context.Context, host string) ([]netip.Addr, error)
	log     *slog.Logger
	bounds  Bounds
	changed func(sallyport.Instance) // nil: nobody is told

	mu    sync.Mutex
	live  map[place]*instance
	tasks sync.WaitGroup

	lane     atomic.Pointer[lane] // in force, never nil
	health   atomic.Pointer[Health]
	boot     atomic.Pointer[Boot]
	compared atomic.Int64 // when the instances are to be compared next
	budget   atomic.Int64 // retries that may be made, in hundredths

	spoke          atomic.Int64 // when a failure was logged last, in unix nanoseconds
	pressed        atomic.Bool  // passive failures would leave nobody: they are not heeded
	looked, spared atomic.Int64 // requests looked up in the cache, and answered from it
}

// An instance is one address of a pool and what is known about it.
type instance struct {
	pool *pool
	url  string
	up   Upstream
	link *link // its connections

	inflight         atomic.Int64
	served           atomic.Int64
	failed           atomic.Int64
	seen, seenFailed atomic.Int64 // of these, when instances were compared last

	open  atomic.Bool  // admitted, and still an upstream
	sick  atomic.Bool  // the active check says so
	out   atomic.Int64 // left out until this time in unix nanoseconds; 0: in
	trial atomic.Bool  // one request is finding out whether it is well again
	warm  atomic.Int64 // slow start began then, in unix nanoseconds; 0: over
	row   atomic.Int32 // passive failures in a row, while it is in

	mu        sync.Mutex
	address   netip.AddrPort
	admission sallyport.Admission
	reason    string
	boot      string // which start of it was admitted
	since     time.Time
	backoff   time.Duration
	checks    int // active checks in a row: > 0 well, < 0 not
}

func newPool(name string, g *Gateway) *pool {
	p := &pool{name: name, changed: g.o.Changed, now: g.o.Now, lookup: g.o.Lookup, log: g.o.Log, bounds: g.o.Bounds, live: map[place]*instance{}}
	p.lane.Store(newLane(p, API{Name: name}))
	p.health.Store(&Health{})
	p.budget.Store(10 * 100)
	return p
}

// checkAPI finds what is wrong with the settings of a pool.
func checkAPI(a *API) error {
	if a.Name == "" {
		return errors.New("a pool has no name")
	}
	seen := map[string]bool{}
	for i := range a.Upstreams {
		u := &a.Upstreams[i]
		id := u.URL + u.DNS
		switch {
		case (u.URL == "") == (u.DNS == ""):
			return fmt.Errorf("pool %s: upstream %d needs either a URL or a DNS name", a.Name, i+1)
		case seen[id]:
			return fmt.Errorf("pool %s: upstream %s is named twice", a.Name, id)
		case u.Protocol != "" && u.Protocol != "http1" && u.Protocol != "h2":
			return fmt.Errorf("pool %s: upstream %s: protocol %q is not one of http1, h2", a.Name, id, u.Protocol)
		}
		seen[id] = true
		if u.URL != "" {
			v, err := url.Parse(u.URL)
			switch {
			case err != nil:
				return fmt.Errorf("pool %s: upstream %s: %w", a.Name, u.URL, err)
			case v.Scheme != "http" && v.Scheme != "https":
				return fmt.Errorf("pool %s: upstream %s: the scheme must be http or https", a.Name, u.URL)
			case v.Host == "" || v.User != nil || v.RawQuery != "" || v.Fragment != "" || strings.Trim(v.Path, "/") != "":
				return fmt.Errorf("pool %s: upstream %s: want scheme://host:port and nothing more", a.Name, u.URL)
			}
			u.Scheme = v.Scheme
			u.URL = v.Scheme + "://" + withPort(v.Host, v.Scheme)
			if u.Name == "" {
				u.Name = v.Hostname()
			}
		} else {
			if u.Scheme == "" {
				u.Scheme = "http"
			}
			if u.Scheme != "http" && u.Scheme != "https" {
				return fmt.Errorf("pool %s: upstream %s: the scheme must be http or https", a.Name, u.DNS)
			}
			u.DNS = withPort(u.DNS, u.Scheme)
			host, _, err := net.SplitHostPort(u.DNS)
			if err != nil || host == "" {
				return fmt.Errorf("pool %s: upstream %s: want host:port", a.Name, u.DNS)
			}
			if u.Name == "" {
				u.Name = host
			}
		}
		number(&u.Refresh, 30*time.Second)
		number(&u.MaxConns, 1024)
	}
	a.Health = a.Health.withDefaults()
	return nil
}

func withPort(host, scheme string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	port := "80"
	if scheme == "https" {
		port = "443"
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

// A place is where an instance is, and how it is reached.
type place struct {
	url string
	up  Upstream
}

// instance is the one that is there already or a new one. The caller holds p.mu.
func (l *lane) instance(id string, u Upstream) (*instance, error) {
	p := l.pool
	if in := p.live[place{id, u}]; in != nil {
		return in, nil
	}
	k, err := newLink(id, u, p.bounds, p.log, p.now)
	if err != nil {
		return nil, fmt.Errorf("pool %s: upstream %s: %w", p.name, id, err)
	}
	in := &instance{pool: p, url: id, up: u, link: k, since: p.now()}
	k.strict.Opened = in.opened
	k.apart = func(ctx context.Context) error {
		b := p.boot.Load()
		if b == nil {
			return nil
		}
		id, err := k.bootApart(ctx, b)
		return in.judgeBoot(id, err)
	}
	if v, err := url.Parse(id); err == nil {
		in.address, _ = netip.ParseAddrPort(v.Host)
	}
	old := p.find(id)
	switch {
	case old != nil: // same address reached in another way: the admission stays
		old.mu.Lock()
		in.admission, in.reason, in.since, in.boot = old.admission, old.reason, old.since, old.boot
		old.mu.Unlock()
	case l.api.Gated:
		in.admission, in.reason = sallyport.Held, reasonUntested
	default:
		in.admission, in.reason = sallyport.Admitted, reasonNoGate
	}
	if in.admission == sallyport.Admitted {
		in.open.Store(true)
		if old == nil && len(p.instances()) > 0 { // one among others starts slowly; a first set serves at once
			in.warm.Store(p.now().UnixNano())
		}
	}
	p.live[place{id, u}] = in
	return in, nil
}

// instances are those in force.
func (p *pool) instances() []*instance { return *p.lane.Load().list.Load() }

// publish makes the instances of l.resolved the ones to choose from, and
// retires the others once l is in force. The caller holds p.mu.
func (l *lane) publish() {
	var next []*instance
	for _, u := range l.api.Upstreams {
		for _, in := range l.resolved[u] {
			if !slices.Contains(next, in) {
				next = append(next, in)
			}
		}
	}
	var standby, primary []*instance
	for _, in := range next {
		if in.up.Standby {
			standby = append(standby, in)
		} else {
			primary = append(primary, in)
		}
	}
	l.standby.Store(&standby)
	l.primary.Store(&primary)
	was := *l.list.Swap(&next)
	if l.pool.lane.Load() == l {
		l.follows(was, next, (*instance).retire)
	}
}

// follows tells of the instances that are new and wait for the gate, and parts
// from those that are no longer there. The caller holds pool.mu.
func (l *lane) follows(was, is []*instance, part func(*instance)) {
	for _, in := range is {
		if !in.open.Load() && !slices.Contains(was, in) {
			l.pool.tell(in)
		}
	}
	for _, in := range was {
		if !slices.Contains(is, in) {
			delete(l.pool.live, place{in.url, in.up})
			part(in)
		}
	}
}

// leave takes in out of use but for the requests of the generation that it was
// part of: they end as they began.
func (in *instance) leave() {
	in.mu.Lock()
	in.admission, in.reason, in.since = sallyport.Retired, reasonGone, in.pool.now()
	in.mu.Unlock()
	in.link.retire()
}

// retire takes in out of use.
func (in *instance) retire() {
	in.leave()
	in.open.Store(false)
}

// follow keeps the addresses of a DNS upstream up to date. An answer that
// fails or is empty changes nothing: the last good addresses stay.
func (l *lane) follow(u Upstream, first func()) {
	p, ctx := l.pool, l.ctx
	if u.Members != nil {
		l.attend(ctx, u, first)
		return
	}
	host, port, _ := net.SplitHostPort(u.DNS)
	for wait := time.Duration(0); ; {
		if wait > 0 && !sleep(ctx, wait) {
			return
		}
		lookup, cancel := context.WithTimeout(ctx, 3*time.Second)
		addrs, err := p.lookup(lookup, host)
		cancel()
		wait = u.Refresh
		if err == nil && len(addrs) == 0 {
			err = errors.New("no addresses")
		}
		if err == nil {
			err = l.settle(u, addrs, port)
		}
		if err != nil && ctx.Err() == nil {
			p.log.Warn("resolve upstream", "api", p.name, "upstream", u.DNS, "error", err)
			wait = min(wait, 2*time.Second)
		}
		if first != nil {
			first()
			first = nil
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// settle makes addrs the instances of u.
func (l *lane) settle(u Upstream, addrs []netip.Addr, port string) error {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	if l.ctx.Err() != nil { // configured anew meanwhile
		return l.ctx.Err()
	}
	var next []*instance
	for _, a := range addrs {
		id := u.Scheme + "://" + net.JoinHostPort(a.Unmap().String(), port)
		in, err := l.instance(id, u)
		if err != nil {
			return err
		}
		if !slices.Contains(next, in) && len(next) < 1024 {
			next = append(next, in)
		}
	}
	l.resolved[u] = next
	l.publish()
	return nil
}

// mayWarn keeps a pool that fails again and again from saying so each time:
// what happened is in the metrics and in each decision. Two lines may come together.
func (p *pool) mayWarn() bool {
	now := p.now().UnixNano()
	last := p.spoke.Load()
	if now-last < int64(time.Second) {
		return true
	}
	return now-last >= int64(time.Minute) && p.spoke.CompareAndSwap(last, now)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// stop ends the pool's timers and closes its idle connections.
func (p *pool) stop() {
	p.mu.Lock()
	before := p.lane.Swap(newLane(p, API{Name: p.name}))
	before.cancel()
	before.follows(*before.list.Load(), nil, (*instance).leave)
	p.mu.Unlock()
	p.tasks.Wait()
}

// pick chooses an instance for one request. Those in tried come last. Whoever
// gets a try calls done on it once.
//
// Passive failures leave out an instance only while another can take its
// place. When all that are admitted and not sick have failed they are all
// asked as if none had: an outage that they share, behind them or in one
// operation, is theirs to answer for, and whoever can provoke it must not have
// the gateway turn everybody away.
//
// Those that stand by are asked when spill says that the others are full, when
// they are, or when too few of them are well.
func (l *lane) pick(tried []*instance, spill bool) (try, error) {
	p := l.pool
	primary := *l.primary.Load()
	if standby := *l.standby.Load(); len(standby) > 0 {
		share := 0.0
		if !spill {
			share = l.primaryShare()
		}
		if share >= 1 || share > 0 && rand.Float64() < share {
			if t, err := p.choose(primary, tried); err == nil && !slices.Contains(tried, t.in) {
				return t, nil
			} else if err == nil {
				t.done(unknown) // one that has failed this request already
			}
		}
		if t, err := p.choose(standby, tried); err == nil {
			return t, nil
		}
	}
	t, err := p.choose(primary, tried)
	switch {
	case err == errNoInstance:
		return l.insist(tried)
	case err == nil && !t.trial && p.pressed.Load() && p.pressed.CompareAndSwap(true, false):
		p.log.Info("an instance can be chosen again", "api", p.name, "instance", t.in.url)
	}
	return t, err
}

// insist is the least loaded of the instances that only passive failures have
// left out.
func (l *lane) insist(tried []*instance) (try, error) {
	p := l.pool
	list := *l.list.Load()
	reason := errNoInstance
	var best, again *instance
	for k, at := 0, rand.IntN(max(1, len(list))); k < len(list); k++ {
		in := list[(at+k)%len(list)]
		switch {
		case !in.open.Load() || in.sick.Load():
		case in.inflight.Load() >= int64(in.up.MaxConns):
			reason = errBusy
		case slices.Contains(tried, in):
			again = in
		case best == nil || in.inflight.Load() < best.inflight.Load():
			best = in
		}
	}
	if best == nil {
		best = again
	}
	if best == nil {
		return try{}, reason
	}
	if p.pressed.CompareAndSwap(false, true) && p.mayWarn() {
		p.log.Warn("every instance fails: they are asked all the same, for no other is left", "api", p.name)
	}
	best.inflight.Add(1)
	return try{in: best, insisted: true}, nil
}

// choose takes an instance by the power of two choices: the less loaded of two
// taken at random.
func (p *pool) choose(list, tried []*instance) (try, error) {
	n := len(list)
	if n == 0 {
		return try{}, errNoInstance
	}
	now := p.now().UnixNano()
	if n > 1 {
		i := rand.IntN(n)
		j := rand.IntN(n - 1)
		if j >= i {
			j++
		}
		a, b := list[i], list[j]
		if a.usable(now) == nil && b.usable(now) == nil && !slices.Contains(tried, a) && !slices.Contains(tried, b) {
			if b.load(now) < a.load(now) {
				a = b
			}
			if t, ok := a.take(); ok {
				return t, nil
			}
		}
	}
	// One of the two can't serve, or there is but one: the least loaded that can.
	reason := errNoInstance
	for range 2 {
		var best, again *instance
		at := rand.IntN(n)
		for k := range n {
			in := list[(at+k)%n]
			if err := in.usable(now); err != nil {
				if errors.Is(err, errBusy) {
					reason = err
				}
				continue
			}
			if slices.Contains(tried, in) {
				again = in
			} else if best == nil || in.load(now) < best.load(now) {
				best = in
			}
		}
		if best == nil {
			best = again
		}
		if best == nil {
			break
		}
		if t, ok := best.take(); ok {
			return t, nil
		}
	}
	return try{}, reason
}

// A try is one request on one instance, from pick to done.
type try struct {
	in       *instance
	trial    bool // it finds out whether an instance that was left out is well again
	insisted bool // it was left out, but no other was left
}

// usable says whether in may carry a request now.
func (in *instance) usable(now int64) error {
	if !in.open.Load() || in.sick.Load() {
		return errNoInstance
	}
	if out := in.out.Load(); out != 0 && (now < out || in.trial.Load()) {
		return errNoInstance
	}
	if in.inflight.Load() >= int64(in.up.MaxConns) {
		return errBusy
	}
	return nil
}

// take counts a request on in. An instance that was left out and whose time
// has come gets one at a time, until one of them succeeds.
func (in *instance) take() (try, bool) {
	trial := in.out.Load() != 0
	if trial && !in.trial.CompareAndSwap(false, true) {
		return try{}, false
	}
	in.inflight.Add(1)
	return try{in: in, trial: trial}, true
}

// load is what in carries, weighed up while it starts slowly.
func (in *instance) load(now int64) float64 {
	n := float64(in.inflight.Load() + 1)
	warm := in.warm.Load()
	if warm == 0 {
		return n
	}
	span := int64(in.pool.health.Load().SlowStart)
	if span <= 0 || now-warm >= span {
		in.warm.CompareAndSwap(warm, 0)
		return n
	}
	// Its share of the choices grows with time; the load alone could not hold it
	// back while the others have little to do.
	if rand.Float64() > max(float64(now-warm)/float64(span), 0.05) {
		return n * 64
	}
	return n
}

// outcome of one try, as far as the instance is concerned: what it says in
// health. Failed is who gave no answer (no connection, a reset, a head that is
// late or malformed, a body that broke off) and who answered 502, 503 or 504,
// as what stands before an application that is gone does. A 503 with
// Retry-After comes from an application that is there and says when to come
// back (RFC 9110 section 15.6.4), to the client and not to the pool: it says
// nothing either way, and so does what the client caused. Every other answer,
// 500 and 429 included, is the operation's affair and served; so is a gRPC
// status, which rides on a 200.
type outcome int

const (
	unknown outcome = iota
	served
	failed
)

// judgeStatus says what a complete answer means for the instance.
func judgeStatus(status int, h http.Header) outcome {
	switch status {
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return failed
	case http.StatusServiceUnavailable:
		if len(h["Retry-After"]) > 0 {
			return unknown
		}
		return failed
	}
	return served
}

// done ends a try.
func (t try) done(o outcome) {
	in := t.in
	in.inflight.Add(-1)
	switch o {
	case served:
		in.served.Add(1)
		if in.row.Load() != 0 {
			in.row.Store(0)
		}
		if t.trial || t.insisted {
			in.recover()
		}
		if t.insisted {
			in.pool.reconsider()
		}
	case failed:
		in.failed.Add(1)
		h := in.pool.health.Load()
		switch {
		case t.trial:
			in.eject(h, true)
		case in.out.Load() == 0 && int(in.row.Add(1)) >= h.Failures && (h.MaxEjected >= 1 || in.pool.mayEject(h.MaxEjected)):
			in.eject(h, false)
		default:
			in.pool.compare(h)
		}
	}
	if t.trial {
		in.trial.Store(false)
	}
}

// eject leaves in out, or out again after a trial, for a time that doubles
// with each failure after it.
func (in *instance) eject(h *Health, again bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !again && in.out.Load() != 0 { // two requests failed at once
		return
	}
	in.backoff = min(max(in.backoff*2, h.Backoff), h.MaxBack)
	in.row.Store(0)
	in.out.Store(in.pool.now().Add(in.backoff).UnixNano())
	if len(in.pool.instances()) > 1 || in.pool.mayWarn() {
		in.pool.log.Warn("instance left out", "api", in.pool.name, "instance", in.url, "for", in.backoff)
	}
}

// recover takes in back after an answer.
func (in *instance) recover() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.out.Load() == 0 {
		return
	}
	in.backoff = 0
	in.warm.Store(in.pool.now().UnixNano())
	in.out.Store(0)
	in.pool.log.Info("instance answers again", "api", in.pool.name, "instance", in.url)
}

// reconsider gives each instance that is left out its trial now: one answered
// after all had failed, so what they shared may be over.
func (p *pool) reconsider() {
	now := p.now().UnixNano()
	for _, in := range p.instances() {
		if out := in.out.Load(); out > now {
			in.out.CompareAndSwap(out, now)
		}
	}
}

// mayRetry takes one retry from the budget: so many percent of the requests,
// and ten to begin with.
func (p *pool) mayRetry() bool {
	for {
		n := p.budget.Load()
		if n < 100 {
			return false
		}
		if p.budget.CompareAndSwap(n, n-100) {
			return true
		}
	}
}

func (p *pool) earnRetry() {
	if n := p.budget.Load(); n < 100*100 {
		p.budget.Add(int64(p.health.Load().Budget))
	}
}

// watch checks each instance on a timer.
func (l *lane) watch(h Health) {
	ctx := l.ctx
	for {
		var round sync.WaitGroup
		slots := make(chan struct{}, 16)
		for _, in := range *l.list.Load() {
			round.Add(1)
			slots <- struct{}{}
			go func() {
				defer func() { <-slots; round.Done() }()
				in.check(ctx, h)
			}()
		}
		round.Wait()
		if !sleep(ctx, h.Interval) {
			return
		}
	}
}

func (in *instance) check(ctx context.Context, h Health) {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	err := in.link.probe(ctx, h.Path)
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if err == nil {
		in.checks = max(in.checks, 0) + 1
	} else {
		in.checks = min(in.checks, 0) - 1
	}
	switch {
	case in.checks >= h.Recovered && in.sick.Load():
		in.warm.Store(in.pool.now().UnixNano())
		in.sick.Store(false)
		in.pool.log.Info("instance is well", "api", in.pool.name, "instance", in.url)
	case -in.checks >= h.Failures && !in.sick.Load():
		in.sick.Store(true)
		in.pool.log.Warn("instance is not well", "api", in.pool.name, "instance", in.url, "error", err)
	}
}

// probe makes the active check's request, on a connection of its own.
func (l *link) probe(ctx context.Context, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "sallyport-health")
	if l.up.Host != "" {
		req.Host = l.up.Host
	}
	resp, err := l.standard(l.up.Protocol == "h2").RoundTrip(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("answered %d", resp.StatusCode)
	}
	return nil
}

// set changes the admission of in.
func (in *instance) set(a sallyport.Admission, reason string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.admission == sallyport.Retired {
		return
	}
	if in.admission != a {
		in.since = in.pool.now()
		if a == sallyport.Admitted {
			in.warm.Store(in.since.UnixNano())
		}
	}
	in.admission, in.reason = a, reason
	in.open.Store(a == sallyport.Admitted)
}

func (in *instance) describe() sallyport.Instance {
	in.mu.Lock()
	defer in.mu.Unlock()
	sick, out, reason := in.sick.Load(), in.out.Load() != 0, in.reason
	switch {
	case in.admission != sallyport.Admitted:
	case sick:
		reason += reasonSick
	case out && in.pool.pressed.Load():
		reason += reasonPressed
	case out:
		reason += reasonOut
	}
	return sallyport.Instance{
		API: in.pool.name, URL: in.url, Address: in.address, Admission: in.admission, Reason: reason,
		Healthy: !sick && !out, Since: in.since, Boot: in.boot,
	}
}

func (p *pool) find(id string) *instance {
	for _, in := range p.instances() {
		if in.url == id {
			return in
		}
	}
	return nil
}

// Admit makes the instance named by in.API and in.URL routable. It is an error
// of kind not found when no pool has it.
func (g *Gateway) Admit(_ context.Context, in sallyport.Instance, reason string) error {
	return g.admission(in, sallyport.Admitted, reason)
}

// Hold takes the instance named by in.API and in.URL out of the choice, with
// in.Admission, or held if that is empty or admitted. Requests that are in
// flight on it finish.
func (g *Gateway) Hold(_ context.Context, in sallyport.Instance, reason string) error {
	state := in.Admission
	if state == "" || state == sallyport.Admitted {
		state = sallyport.Held
	}
	return g.admission(in, state, reason)
}

func (g *Gateway) admission(in sallyport.Instance, a sallyport.Admission, reason string) error {
	p := g.pool(in.API)
	if p == nil {
		return sallyport.Errorf(sallyport.NotFound, "no pool for API %s", in.API)
	}
	if p.find(in.URL) == nil {
		return sallyport.Errorf(sallyport.NotFound, "API %s has no instance %s", in.API, in.URL)
	}
	p.mu.Lock()
	for at, it := range p.live { // of a change that is being prepared too
		if at.url != in.URL {
			continue
		}
		it.mu.Lock()
		if a == sallyport.Admitted {
			it.boot = in.Boot
		}
		it.mu.Unlock()
		it.set(a, reason)
		if a == sallyport.Admitted {
			it.link.retire() // no connection from before carries a request
		}
	}
	p.mu.Unlock()
	g.o.Log.Info("instance "+string(a), "api", in.API, "instance", in.URL, "reason", reason)
	return nil
}

// Instances lists the instances of all pools by API and URL, with why each is
// in its state.
func (g *Gateway) Instances() []sallyport.Instance {
	var all []sallyport.Instance
	for _, l := range g.force.Load().lanes {
		for _, in := range *l.list.Load() {
			all = append(all, in.describe())
		}
	}
	slices.SortFunc(all, func(a, b sallyport.Instance) int {
		return strings.Compare(a.API+"\x00"+a.URL, b.API+"\x00"+b.URL)
	})
	return all
}

package gate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sallyport.dev"
	"sallyport.dev/store"
)

// A Door is a place of others at which the instances of one API serve, such as
// a backend of HAProxy. It is told the whole of what is to be, again and again,
// so that what the product forgets (a reload, a restart) is put right, and a
// word that was lost costs one round. Its methods are called one at a time.
type Door interface {
	// Name tells it from all others, such as "haproxy api at /run/haproxy.sock".
	Name() string
	// Instances lists what the door has by itself, by URL; none where all that it
	// has is what it is told. What is new there is tested.
	Instances(ctx context.Context) ([]sallyport.Instance, error)
	// Apply has the door send requests to the admitted of list, leave those
	// without an admission as they are, and send nothing to any other address,
	// named or not. What was in flight ends. It gives what the door has then,
	// admitted where it sends requests; it is an error when that is not what was
	// asked for, or could not be read. In doubt nothing is opened.
	Apply(ctx context.Context, list []sallyport.Instance) ([]sallyport.Instance, error)
}

// Own is what a Front asks of our own pools: *gateway.Gateway.
type Own interface {
	Doors
	// IdentifyOutside is Identify for an address that is in no pool of ours.
	IdentifyOutside(ctx context.Context, in sallyport.Instance) (boot string, err error)
}

// DoorsOf are the doors of others of one gated API, if it has any.
type DoorsOf struct {
	API   string
	Doors []Door
	Watch time.Duration // between two questions which start of an instance answers; 0 = 1 s
}

// FrontOptions set a Front. Own is required.
type FrontOptions struct {
	Own    Own
	Logger *slog.Logger
	Now    func() time.Time
	Every  time.Duration // between two looks at a door; default 500 ms
	Within time.Duration // of one look; default 5 s
}

// A Front is our own pools and the doors of others as one: what the gate admits
// is admitted everywhere, what it holds is held everywhere. An address that a
// door has and no pool of ours is an instance too, held until it is tested.
//
// Others' doors stay as they are while we are away. When we come back they stay
// so for what was admitted, until the gate has looked at it again.
//
// Of several nodes on one database one tells the doors.
type Front struct {
	o    FrontOptions
	gate atomic.Pointer[Gate]
	wake chan struct{}

	mu     sync.Mutex // after post.mu
	posts  map[string]*post
	outer  map[key]*sallyport.Instance // at doors of others only
	judged map[key]bool                // held or admitted since we started
	silent map[key]int                 // questions in a row that were not answered
	again  map[key]string              // the start of an instance that failed which was last seen to be another
	places map[string][]netip.AddrPort // by host:port
	asked  map[string]time.Time        // when those were looked up
	watch  map[string]time.Duration    // by API
	next   map[string]time.Time        // when the starts of an API's instances are asked again
	busy   map[string]bool

	lead      atomic.Bool
	leadUntil time.Time
}

// A post is one door and how it fares.
type post struct {
	api  string
	door Door

	mu      sync.Mutex // one word at a time
	running atomic.Bool
	next    atomic.Int64 // when it is looked at again, in unix nanoseconds

	state   sync.Mutex
	name    string
	has     map[string]bool // by URL: it sends requests there
	read    map[string]bool // what it has by itself
	at      time.Time       // when it last was as it is to be
	err     string
	applied uint64
	failed  uint64
}

// NewFront makes a front without doors of others.
func NewFront(o FrontOptions) *Front {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Every, o.Within = cmp.Or(o.Every, 500*time.Millisecond), cmp.Or(o.Within, 5*time.Second)
	return &Front{o: o, wake: make(chan struct{}, 1), posts: map[string]*post{}, outer: map[key]*sallyport.Instance{}, judged: map[key]bool{}, silent: map[key]int{}, again: map[key]string{},
		places: map[string][]netip.AddrPort{}, asked: map[string]time.Time{}, watch: map[string]time.Duration{}, next: map[string]time.Time{}, busy: map[string]bool{}}
}

// attach gives the front the gate that keeps the record.
func (f *Front) attach(g *Gate) { f.gate.Store(g) }

// Configure replaces the doors of others; one of the same name goes on. A door
// that is no longer named is left as it is.
func (f *Front) Configure(list []DoorsOf) {
	f.mu.Lock()
	posts, watch := map[string]*post{}, map[string]time.Duration{}
	for _, d := range list {
		for _, door := range d.Doors {
			p := &post{api: d.API, door: door, name: door.Name()}
			if old := f.posts[d.API+"\x00"+p.name]; old != nil {
				old.state.Lock()
				p.has, p.read, p.at, p.err, p.applied, p.failed = old.has, old.read, old.at, old.err, old.applied, old.failed
				old.state.Unlock()
			}
			posts[d.API+"\x00"+p.name] = p
		}
		watch[d.API] = cmp.Or(d.Watch, time.Second)
	}
	f.posts, f.watch = posts, watch
	f.mu.Unlock()
	f.Nudge()
}

// Nudge has the doors of others looked at now: an instance has changed. It
// never blocks.
func (f *Front) Nudge() {
	f.mu.Lock()
	for _, p := range f.posts {
		p.next.Store(0)
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Run looks after the doors of others until ctx ends. It leaves them as they
// are then.
func (f *Front) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		f.turn(ctx, &wg)
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
		case <-tick.C:
		}
	}
}

// turn starts what is due.
func (f *Front) turn(ctx context.Context, wg *sync.WaitGroup) {
	g := f.gate.Load()
	if g == nil || ctx.Err() != nil {
		return
	}
	now := f.o.Now()
	if now.After(f.leadUntil) {
		lead, err := g.lead(ctx)
		if err != nil && ctx.Err() == nil {
			f.o.Logger.Warn("see which node tells the doors of others", "error", err)
		}
		f.lead.Store(lead)
		f.leadUntil = now.Add(leaseTime / 3)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.posts {
		if p.next.Load() > now.UnixNano() || !p.running.CompareAndSwap(false, true) {
			continue
		}
		p.next.Store(now.Add(f.o.Every).UnixNano())
		wg.Go(func() {
			defer p.running.Store(false)
			f.tell(ctx, p)
		})
	}
	for api, every := range f.watch {
		if now.Before(f.next[api]) || f.busy[api] {
			continue
		}
		f.next[api], f.busy[api] = now.Add(every), true
		wg.Go(func() {
			f.look(ctx, api)
			f.mu.Lock()
			f.busy[api] = false
			f.mu.Unlock()
		})
	}
}

// Instances lists those of our pools, and those that only doors of others have.
func (f *Front) Instances() []sallyport.Instance {
	list := f.o.Own.Instances()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.outer) == 0 {
		return list
	}
	own := map[key]bool{}
	for _, in := range list {
		own[key{in.API, in.URL}] = true
	}
	for k, in := range f.outer {
		if !own[k] {
			list = append(list, *in)
		}
	}
	slices.SortFunc(list, func(a, b sallyport.Instance) int {
		return cmp.Or(cmp.Compare(a.API, b.API), cmp.Compare(a.URL, b.URL))
	})
	return list
}

// ours reports whether a pool of ours has an instance.
func (f *Front) ours(in sallyport.Instance) bool {
	return slices.ContainsFunc(f.o.Own.Instances(), func(x sallyport.Instance) bool { return x.API == in.API && x.URL == in.URL })
}

// Identify asks an instance which start of it this is.
func (f *Front) Identify(ctx context.Context, in sallyport.Instance) (string, error) {
	if f.ours(in) {
		return f.o.Own.Identify(ctx, in)
	}
	return f.o.Own.IdentifyOutside(ctx, in)
}

// Admit makes an instance routable everywhere; a door of others that does not
// take it is told again.
func (f *Front) Admit(ctx context.Context, in sallyport.Instance, reason string) error {
	in.Admission = sallyport.Admitted
	return f.set(ctx, in, reason, f.o.Own.Admit)
}

// Hold takes an instance out everywhere; a door of others that does not take it
// is told again.
func (f *Front) Hold(ctx context.Context, in sallyport.Instance, reason string) error {
	if in.Admission == "" || in.Admission == sallyport.Admitted {
		in.Admission = sallyport.Held
	}
	return f.set(ctx, in, reason, f.o.Own.Hold)
}

func (f *Front) set(ctx context.Context, in sallyport.Instance, reason string, own func(context.Context, sallyport.Instance, string) error) error {
	k := key{in.API, in.URL}
	f.mu.Lock()
	f.judged[k] = true
	delete(f.silent, k)
	if in.Admission == sallyport.Admitted {
		delete(f.again, k)
	}
	x := f.outer[k]
	if x != nil {
		if x.Admission != in.Admission {
			x.Since = f.o.Now()
		}
		x.Admission, x.Reason = in.Admission, reason
		if in.Admission == sallyport.Admitted {
			x.Boot = in.Boot
		}
	}
	f.mu.Unlock()
	if err := own(ctx, in, reason); err != nil && (x == nil || !errors.Is(err, sallyport.NotFound)) {
		return err
	}
	f.tellAll(ctx, in.API)
	return nil
}

// tellAll tells every door of an API what is to be, and waits for it.
func (f *Front) tellAll(ctx context.Context, api string) {
	var wg sync.WaitGroup
	f.mu.Lock()
	for _, p := range f.posts {
		if p.api == api {
			wg.Go(func() { f.tell(ctx, p) })
		}
	}
	f.mu.Unlock()
	wg.Wait()
}

// tell tells one door what is to be.
func (f *Front) tell(ctx context.Context, p *post) {
	g := f.gate.Load()
	if g == nil {
		return
	}
	p.mu.Lock() // what is to be is seen only now, so that the last word is the newest
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, f.o.Within)
	defer cancel()
	own, err := p.door.Instances(ctx)
	if err != nil {
		p.note(f, nil, nil, fmt.Errorf("read what it has: %w", err))
		return
	}
	if f.discover(ctx, p, own) {
		g.Nudge()
	}
	if !f.lead.Load() {
		return
	}
	has, err := p.door.Apply(ctx, f.wishes(ctx, g, p.api))
	p.note(f, own, has, err)
}

// note keeps how a door fares.
func (p *post) note(f *Front, own, has []sallyport.Instance, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	p.state.Lock()
	defer p.state.Unlock()
	if err != nil {
		p.failed++
		if s := oneLine(err); p.err != s {
			p.err = s
			f.o.Logger.Warn("a door of others is not as it is to be", "api", p.api, "door", p.name, "error", s)
		}
	} else {
		if p.err != "" {
			f.o.Logger.Info("a door of others is as it is to be", "api", p.api, "door", p.name)
		}
		p.applied, p.at, p.err = p.applied+1, f.o.Now(), ""
	}
	if has != nil {
		p.has = map[string]bool{}
		for _, in := range has {
			p.has[in.URL] = in.Admission == sallyport.Admitted
		}
	}
}

// discover makes instances of the addresses that only a door knows, and lets
// go of those that it does not have any more.
func (f *Front) discover(ctx context.Context, p *post, list []sallyport.Instance) (changed bool) {
	known := map[netip.AddrPort]bool{}
	for _, in := range f.o.Own.Instances() {
		if in.API == p.api {
			for _, a := range f.addresses(ctx, in) {
				known[a] = true
			}
		}
	}
	read := map[string]bool{}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, in := range list {
		if known[in.Address] {
			continue
		}
		k := key{p.api, in.URL}
		read[in.URL] = true
		if f.outer[k] == nil {
			if len(f.outer) >= maxOuter {
				continue
			}
			f.outer[k] = &sallyport.Instance{API: p.api, URL: in.URL, Address: in.Address, Admission: sallyport.Held, Reason: "seen at " + p.name + ", not admitted yet", Healthy: true, Since: f.o.Now()}
			changed = true
		}
	}
	p.state.Lock()
	p.read = read
	p.state.Unlock()
	for k := range f.outer {
		if k.api != p.api {
			continue
		}
		there := false
		for _, q := range f.posts {
			q.state.Lock()
			there = there || q.api == k.api && (q.read[k.url] || q.read == nil)
			q.state.Unlock()
		}
		if !there {
			delete(f.outer, k)
			delete(f.judged, k)
			changed = true
		}
	}
	return changed
}

// maxOuter is how many addresses that no pool of ours has are kept in mind;
// beyond it they are no instances, and so are never admitted.
const maxOuter = 10_000

// wishes are the instances of an API as its doors are to have them.
func (f *Front) wishes(ctx context.Context, g *Gate, api string) []sallyport.Instance {
	record := g.record(ctx, api)
	var out []sallyport.Instance
	for _, in := range f.Instances() {
		if in.API != api || in.Admission == sallyport.Retired {
			continue
		}
		s := record[in.URL]
		written := s.State == string(sallyport.Admitted) && s.ByHand == ""
		switch {
		case in.Admission == sallyport.Admitted && written:
		case in.Admission == sallyport.Held && written && !f.known(in):
			in.Admission = "" // as it is, until the gate has looked at it again
		case in.Admission == sallyport.Admitted:
			in.Admission = sallyport.Held
		}
		for _, a := range f.addresses(ctx, in) {
			in.Address = a
			out = append(out, in)
		}
	}
	return out
}

// known reports whether the gate has judged an instance since we started.
func (f *Front) known(in sallyport.Instance) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.judged[key{in.API, in.URL}]
}

// addresses are where an instance is; a name is looked up again now and then.
func (f *Front) addresses(ctx context.Context, in sallyport.Instance) []netip.AddrPort {
	if in.Address.IsValid() {
		return []netip.AddrPort{netip.AddrPortFrom(in.Address.Addr().Unmap(), in.Address.Port())}
	}
	u, err := url.Parse(in.URL)
	if err != nil {
		return nil
	}
	f.mu.Lock()
	list, at := f.places[u.Host], f.asked[u.Host]
	f.mu.Unlock()
	if f.o.Now().Sub(at) < 10*time.Second {
		return list
	}
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	n, perr := net.LookupPort("tcp", port)
	if err == nil && perr == nil {
		list = nil
		if len(found) == 1 { // of several, nobody knows which was tested
			list = []netip.AddrPort{netip.AddrPortFrom(found[0].Unmap(), uint16(n))}
		}
	}
	f.mu.Lock()
	f.places[u.Host], f.asked[u.Host] = list, f.o.Now()
	f.mu.Unlock()
	return list
}

// look asks instances which start of each it is. Those that serve at doors of
// others and are not the start that was admitted are held: nobody else asks,
// connections of others are not ours. Those that failed and are another start now
// are tested at once.
func (f *Front) look(ctx context.Context, api string) {
	g := f.gate.Load()
	f.mu.Lock()
	doors := false
	for _, p := range f.posts {
		doors = doors || p.api == api
	}
	f.mu.Unlock()
	var record map[string]State
	var wg sync.WaitGroup
	slots := make(chan struct{}, 32)
	for _, in := range f.Instances() {
		if in.API != api || !doors && in.Admission != sallyport.Quarantined {
			continue
		}
		if record == nil {
			record = g.record(ctx, api)
		}
		was, s := in.Boot, record[in.URL]
		do := f.judge
		switch {
		case in.Admission == sallyport.Admitted:
		case in.Admission == sallyport.Held && s.State == string(sallyport.Admitted) && !f.known(in):
			was = s.Boot // a door may send it requests yet
		case in.Admission == sallyport.Quarantined && s.ByHand == "":
			do, was = f.hope, s.Boot
			if strings.HasPrefix(s.Reason, mute) {
				was = "" // whoever answers is worth a test
			}
		default:
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			do(ctx, in, was)
		})
	}
	wg.Wait()
}

// hope has an instance that failed tested when it is another start now; once for
// each start, so that one that cannot be tested is not tested for ever.
func (f *Front) hope(ctx context.Context, in sallyport.Instance, was string) {
	boot, err := f.Identify(ctx, in)
	if err != nil || boot == was || boot == "" {
		return
	}
	k := key{in.API, in.URL}
	f.mu.Lock()
	seen := f.again[k] == boot
	f.again[k] = boot
	f.mu.Unlock()
	if g := f.gate.Load(); !seen {
		g.ask(in, "started again")
	}
}

// judge holds an instance that is not the start that was admitted.
func (f *Front) judge(ctx context.Context, in sallyport.Instance, was string) {
	boot, err := f.Identify(ctx, in)
	if ctx.Err() != nil {
		return
	}
	k := key{in.API, in.URL}
	why := ""
	switch {
	case err == nil && boot == was:
		f.mu.Lock()
		delete(f.silent, k)
		f.mu.Unlock()
		return
	case err == nil:
		why = "started again: not the one that was admitted"
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "nobody listens there"
	default:
		f.mu.Lock()
		f.silent[k]++
		n := f.silent[k]
		f.mu.Unlock()
		if n < 3 {
			return
		}
		why = "does not say which start of it this is"
	}
	if !slices.ContainsFunc(f.Instances(), func(x sallyport.Instance) bool {
		return x.API == in.API && x.URL == in.URL && x.Boot == in.Boot && x.Admission == in.Admission
	}) {
		return // judged anew meanwhile
	}
	f.o.Logger.Warn("instance held", "api", in.API, "instance", in.URL, "reason", why)
	in.Admission = sallyport.Held
	if err := f.Hold(ctx, in, why); err != nil {
		f.o.Logger.Error("hold an instance", "api", in.API, "instance", in.URL, "error", err)
	}
	if g := f.gate.Load(); g != nil {
		g.Nudge()
	}
}

// A Place is what a door of others does with one instance.
type Place struct {
	Door  string
	Open  bool      // it sends requests there
	Known bool      // it has been seen or told
	At    time.Time // when the door last was as it is to be
	Error string    // why it is not; "" = it is
}

// Places are the doors of others that an instance is at.
func (f *Front) Places(in sallyport.Instance) (out []Place) {
	f.mu.Lock()
	posts := slices.Collect(maps.Values(f.posts))
	places := f.places
	var addrs []netip.AddrPort
	if u, err := url.Parse(in.URL); err == nil {
		addrs = places[u.Host]
	}
	f.mu.Unlock()
	urls := []string{in.URL}
	if u, err := url.Parse(in.URL); err == nil {
		for _, a := range addrs {
			urls = append(urls, u.Scheme+"://"+a.String())
		}
	}
	for _, p := range posts {
		if p.api != in.API {
			continue
		}
		p.state.Lock()
		x := Place{Door: p.name, At: p.at, Error: p.err}
		for _, u := range urls {
			open, known := p.has[u]
			x.Open, x.Known = x.Open || open, x.Known || known
		}
		p.state.Unlock()
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Place) int { return cmp.Compare(a.Door, b.Door) })
	return out
}

// A DoorState is how one door of others fares.
type DoorState struct {
	API, Door       string
	Open, Closed    int // addresses
	Applied, Failed uint64
	At              time.Time
	Error           string
}

// Others lists the doors of others.
func (f *Front) Others() (out []DoorState) {
	f.mu.Lock()
	posts := slices.Collect(maps.Values(f.posts))
	f.mu.Unlock()
	for _, p := range posts {
		p.state.Lock()
		x := DoorState{API: p.api, Door: p.name, Applied: p.applied, Failed: p.failed, At: p.at, Error: p.err}
		for _, open := range p.has {
			if open {
				x.Open++
			} else {
				x.Closed++
			}
		}
		p.state.Unlock()
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b DoorState) int { return cmp.Or(cmp.Compare(a.API, b.API), cmp.Compare(a.Door, b.Door)) })
	return out
}

// record is what is written of an API's instances, by any node; from memory
// where the database does not answer.
func (g *Gate) record(ctx context.Context, api string) map[string]State {
	out := map[string]State{}
	var list []State
	if err := g.o.Store.Reader().NewSelect().Model(&list).Where("api = ?", api).Scan(ctx); err != nil {
		g.mu.Lock()
		for k, s := range g.known {
			if k.api == api {
				list = append(list, *s)
			}
		}
		g.mu.Unlock()
	}
	for _, s := range list {
		out[s.URL] = s
	}
	return out
}

// ask has an instance tested now.
func (g *Gate) ask(in sallyport.Instance, trigger string) {
	g.mu.Lock()
	g.asked[key{in.API, in.URL}] = trigger
	g.mu.Unlock()
	g.Nudge()
}

// leaseTime is how long a node that is gone is waited for.
const leaseTime = 6 * time.Second

// lead reports whether this node tells the doors of others: one of those on a
// shared database does, by a lease; a node with a database of its own always.
func (g *Gate) lead(ctx context.Context) (bool, error) {
	if g.o.Store.Dialect() != store.Postgres {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	now := g.o.Now()
	res, err := g.o.Store.DB().NewRaw(`INSERT INTO gate_lease (name, holder, until) VALUES ('doors', ?, ?)
ON CONFLICT (name) DO UPDATE SET holder = EXCLUDED.holder, until = EXCLUDED.until WHERE gate_lease.holder = EXCLUDED.holder OR gate_lease.until < ?`,
		g.node, now.Add(leaseTime).UnixMicro(), now.UnixMicro()).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

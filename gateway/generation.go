package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"sallyport.dev/gateway/load"
	"sallyport.dev/guard"
)

// A generation is all that a request is judged and sent on by. It is replaced
// whole, behind one pointer: a request takes the one in force as it begins and
// ends with it.
type generation struct {
	program  *guard.Program
	lanes    map[string]*lane   // by name of the API
	out      map[string]*listed // destinations of calls that go out, by host
	sideload bool               // some API has related resources put into answers
}

// A lane is a pool as one generation has it. All but its instances, which names
// may change, is immutable once it is in force.
type lane struct {
	pool *pool
	api  API
	side *Sideload
	// onward is what requests carry, prepared.
	onward *Onward
	gate   *load.Gate // nil: nothing keeps the pool from doing too much
	digest string     // of where stored answers come from
	stored string     // of what stored answers are: a number that changes with what they came from

	list             atomic.Pointer[[]*instance] // all; then those that stand by, and the others
	standby, primary atomic.Pointer[[]*instance]

	resolved map[Upstream][]*instance // what each upstream stands for now; under pool.mu
	ctx      context.Context          // ends with the lane
	cancel   context.CancelFunc
}

// A Change is a generation that is ready to be put in force. Exactly one of
// Commit and Discard must be called, once.
type Change struct {
	g       *Gateway
	next    *generation
	kept    bool // the lanes are those in force
	created []*pool
}

// Prepare makes ready that requests are judged by program (nil: the one that
// runs) and sent on by the pools of apis. Names of instances are resolved before
// it returns, within a short time. A mistake is an error and leaves everything
// as it is. No other change can be made until this one is committed or discarded.
func (g *Gateway) Prepare(program *guard.Program, apis []API) (*Change, error) {
	g.setting.Lock()
	c, err := g.prepare(program, apis)
	if err != nil {
		g.setting.Unlock()
		return nil, err
	}
	return c, nil
}

func (g *Gateway) prepare(program *guard.Program, apis []API) (*Change, error) {
	apis = append([]API(nil), apis...)
	names := map[string]bool{}
	for i := range apis {
		a := &apis[i]
		a.Upstreams = append([]Upstream(nil), a.Upstreams...)
		if err := checkAPI(a); err != nil {
			return nil, err
		}
		if names[a.Name] {
			return nil, fmt.Errorf("pool %s is named twice", a.Name)
		}
		names[a.Name] = true
		for _, u := range a.Upstreams {
			if _, err := newLink(u.Scheme+"://"+u.DNS, u, g.o.Bounds, g.o.Log, g.o.Now); err != nil {
				return nil, fmt.Errorf("pool %s: upstream %s: %w", a.Name, u.URL+u.DNS, err)
			}
		}
	}
	before := g.force.Load()
	if program == nil {
		program = before.program
	}
	next := &generation{program: program, lanes: make(map[string]*lane, len(apis)), out: destinations(apis)}
	c := &Change{g: g, next: next}
	lanes, errs := make([]*lane, len(apis)), make([]error, len(apis))
	var wait sync.WaitGroup
	for i, a := range apis {
		next.sideload = next.sideload || a.Sideload != nil
		var p *pool
		if old := before.lanes[a.Name]; old != nil {
			p = old.pool
		} else {
			p = newPool(a.Name, g)
			c.created = append(c.created, p)
		}
		wait.Go(func() { lanes[i], errs[i] = p.prepare(a) })
	}
	wait.Wait()
	for i, l := range lanes {
		if l != nil {
			next.lanes[apis[i].Name] = l
		}
	}
	if err := errors.Join(errs...); err != nil {
		c.undo()
		return nil, err
	}
	return c, nil
}

// Commit puts the change in force, at once for whatever begins from now on.
// Requests that have begun end under what they began with. Instances named
// before and after keep their state and connections.
func (c *Change) Commit() {
	g := c.g
	before := g.force.Swap(c.next)
	if !c.kept {
		for _, l := range c.next.lanes {
			if before := l.pool.commit(l); before != l.stored {
				g.Invalidate(l.pool.name, "", "") // nobody asks for them any more
			}
		}
		for name, l := range before.lanes {
			if c.next.lanes[name] == nil {
				l.pool.stop()
				g.Invalidate(name, "", "")
			}
		}
	}
	g.setting.Unlock()
}

// Discard leaves everything as it is.
func (c *Change) Discard() {
	c.undo()
	c.g.setting.Unlock()
}

func (c *Change) undo() {
	for _, l := range c.next.lanes {
		l.pool.discard(l)
	}
	for _, p := range c.created {
		p.stop()
	}
}

// Swap puts p in the place of the running program. Requests that have begun
// end under the program they began with.
func (g *Gateway) Swap(p *guard.Program) {
	g.setting.Lock()
	next := *g.force.Load()
	next.program = p
	(&Change{g: g, next: &next, kept: true}).Commit()
}

// SetAPIs replaces the pools under the running program, as Prepare and Commit do.
func (g *Gateway) SetAPIs(apis []API) error {
	c, err := g.Prepare(nil, apis)
	if err == nil {
		c.Commit()
	}
	return err
}

// Program is the running program.
func (g *Gateway) Program() *guard.Program { return g.force.Load().program }

// pool is the one in force of that name, or nil.
func (g *Gateway) pool(name string) *pool {
	if l := g.force.Load().lanes[name]; l != nil {
		return l.pool
	}
	return nil
}

func newLane(p *pool, a API) *lane {
	l := &lane{pool: p, api: a, side: a.Sideload, onward: a.Onward.prepared(), resolved: map[Upstream][]*instance{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	for _, list := range []*atomic.Pointer[[]*instance]{&l.list, &l.standby, &l.primary} {
		list.Store(&[]*instance{})
	}
	return l
}

// prepare makes a lane that is to serve a, which checkAPI has passed. DNS names
// are resolved once before it returns, within a short time; one that fails is
// tried again on its timer.
func (p *pool) prepare(a API) (*lane, error) {
	l := newLane(p, a)
	l.digest, l.stored = p.origin(&a)
	p.mu.Lock()
	before := p.lane.Load()
	for _, u := range a.Upstreams {
		if u.DNS != "" {
			l.resolved[u] = before.resolved[u] // the last good, until resolved again
			continue
		}
		in, err := l.instance(u.URL, u)
		if err != nil {
			p.mu.Unlock()
			p.discard(l)
			return nil, err
		}
		l.resolved[u] = []*instance{in}
	}
	l.publish()
	if a.Load.Enabled() {
		if l.gate = before.gate; l.gate == nil {
			l.gate = load.New(p.now)
			l.gate.Set(a.Load)
		}
	}
	p.mu.Unlock()

	var first sync.WaitGroup
	for _, u := range a.Upstreams {
		if u.DNS == "" {
			continue
		}
		first.Add(1)
		p.tasks.Add(1)
		go func() {
			defer p.tasks.Done()
			l.follow(u, first.Done)
		}()
	}
	first.Wait()
	return l, nil
}

// epoch numbers what stored answers come from.
var epoch atomic.Int64

// origin is of what answers stored for a are: the same as before only if they
// would come from the same upstreams, described and kept in the same way. It
// is a number and not a digest, for what was stored before a setting was changed
// and changed back has missed what happened in between.
func (p *pool) origin(a *API) (digest, number string) {
	h := sha256.New()
	for _, u := range a.Upstreams {
		fmt.Fprintf(h, "%q", []string{u.URL, u.DNS, u.Scheme, u.Host, u.Name, u.CA, u.Pins, u.Cert, strconv.FormatBool(u.Standby)})
	}
	if o := a.Onward; o != nil { // as whom the gateway asks
		fmt.Fprintf(h, "%q%v%v", o.Drop, o.Name, o.Sign != nil)
		for _, f := range o.Set {
			fmt.Fprintf(h, "%q", []string{f.Name, f.Value})
		}
		for _, t := range []any{o.OAuth2, o.Exchange} {
			fmt.Fprintf(h, "%+v", t)
		}
	}
	fmt.Fprintf(h, "%q", a.Stored)
	digest = string(h.Sum(nil))
	if l := p.lane.Load(); digest == l.digest {
		return digest, l.stored
	}
	return digest, strconv.FormatInt(epoch.Add(1), 36)
}

// commit makes l, which is in force now, the pool's own. It gives of what stored
// answers were until now.
func (p *pool) commit(l *lane) (stored string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.lane.Swap(l)
	before.cancel()
	p.health.Store(&l.api.Health)
	p.boot.Store(l.api.Boot)
	was, is := *before.list.Load(), *l.list.Load()
	l.follows(was, is, (*instance).leave)
	if l.gate != nil {
		l.gate.Set(l.api.Load)
		if len(l.api.Load.Sources) > 0 {
			p.tasks.Go(func() { l.gate.Watch(l.ctx, p.log.With("api", p.name)) })
		}
	}
	if l.api.Health.Path != "" {
		p.tasks.Go(func() { l.watch(l.api.Health) })
	}
	return before.stored
}

// discard ends a lane that does not come into force.
func (p *pool) discard(l *lane) {
	l.cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, in := range p.live {
		if !slices.Contains(p.instances(), in) {
			delete(p.live, key)
			in.link.retire()
		}
	}
}

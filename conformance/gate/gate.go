// Package gate lets an instance of an API serve only after tests have passed.
// In come the instances of the pools (held when they are new, or when a
// connection found that they were started again), the contracts they are to
// keep, a tester, and requests by hand; out go admissions and holds, and a
// verdict for each test, kept with its report.
//
// What is held stays held while the gate is down, fails or is in doubt: only a
// passed test of the very start of the process that answers now admits. An
// instance that serves goes on serving while it is tested again; nothing in
// flight is cut. The gate never sends a user's request and never tests an
// address that is no instance of a pool.
package gate

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	mrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"sallyport.dev"
	"sallyport.dev/store"
)

//go:embed migrations
var migrations embed.FS

// Doors are where instances serve: *gateway.Gateway is one, and a Front adds the
// doors of others.
type Doors interface {
	Instances() []sallyport.Instance
	// Identify asks an instance which start of it this is, "" when nobody asks that.
	Identify(ctx context.Context, in sallyport.Instance) (boot string, err error)
	// Admit makes an instance routable; in.Boot is the start that was tested.
	Admit(ctx context.Context, in sallyport.Instance, reason string) error
	Hold(ctx context.Context, in sallyport.Instance, reason string) error
}

// A Profile is how much is tested.
type Profile string

// The profiles. Full is for instances without users, Safe for those that serve.
const (
	Full Profile = "full"
	Safe Profile = "safe"
	Deep Profile = "deep"
)

// A Subject is what a test is of.
type Subject struct {
	ID       string // of the verdict to come; test traffic carries it
	Instance sallyport.Instance
	Profile  Profile
}

// An Outcome is what a test found.
type Outcome struct {
	Passed  bool
	Summary string // one line for people
	Report  []byte // whole, as the tester writes it
}

// A Tester tests one instance. An error means that there is no verdict: the
// instance could not be tested, and stays as it is.
type Tester func(ctx context.Context, s Subject) (Outcome, error)

// An API is what the gate demands of one API's instances.
type API struct {
	Name     string
	Admit    Profile       // test that admits
	Recheck  Profile       // test of instances that serve
	Every    time.Duration // between two of those; 0 = none by time
	Parallel int           // instances tested at once; 0 = Options.PerAPI
	LastGood bool          // the last admitted instance goes on when it fails
	Contract string        // names what is tested against; another name asks for a test of all
}

// A Verdict is the end of one test.
type Verdict struct {
	bun.BaseModel `bun:"table:gate_verdict"`

	ID       string `bun:"id,pk"`
	API      string `bun:"api"`
	URL      string `bun:"url"`
	Boot     string `bun:"boot"`
	Contract string `bun:"contract"`
	Profile  string `bun:"profile"`
	Trigger  string `bun:"triggered"` // why it was tested: "new", "started again", "contract changed", "timer", "failed before", "by hand: …"
	Passed   bool   `bun:"passed"`
	Summary  string `bun:"summary"`
	Began    int64  `bun:"began"` // microseconds since 1970
	Ended    int64  `bun:"ended"`
	Report   []byte `bun:"report"`
}

// A State is one instance as the gate knows it.
type State struct {
	bun.BaseModel `bun:"table:gate_instance"`

	API          string `bun:"api,pk"`
	URL          string `bun:"url,pk"`
	State        string `bun:"state"` // sallyport.Admission
	Reason       string `bun:"reason"`
	Boot         string `bun:"boot"`
	Contract     string `bun:"contract"`
	Verdict      string `bun:"verdict"` // id of the newest
	ByHand       string `bun:"by_hand"` // who holds it by hand, and why; "" = nobody
	Failures     int    `bun:"failures"`
	ClaimedBy    string `bun:"claimed_by"`
	ClaimedUntil int64  `bun:"claimed_until"`
	Tested       int64  `bun:"tested"` // microseconds since 1970
	Changed      int64  `bun:"changed"`
}

// Options set a Gate. Doors, Test and Store are required.
type Options struct {
	Doors    Doors
	Test     Tester
	Store    *store.Store
	Logger   *slog.Logger
	Now      func() time.Time
	Parallel int           // tests at once; default 4
	PerAPI   int           // of those, of one API; default 2
	Limit    time.Duration // longest test; default 10 min
	Keep     time.Duration // verdicts and triggers older than that go; default 400 days
	// ReportBytes is what the reports of all verdicts may take, as they are kept;
	// the oldest go first, their verdicts stay. Default 1 GiB.
	ReportBytes int64
	// Failed is told of each verdict that did not pass, at once, and Passed of each
	// other; neither may block.
	Failed, Passed func(Verdict)
}

// A Gate tests and admits. Use Open, then Run.
type Gate struct {
	o    Options
	node string // this process, among others on one database

	nudge chan struct{}

	mu      sync.Mutex
	apis    map[string]API
	known   map[key]*State
	running map[key]*test
	asked   map[key]string // by hand, not begun
	perAPI  map[string]int
	tried   map[key]string // contract against which an instance could not be tested
	wg      sync.WaitGroup
}

type key struct{ api, url string }

type test struct {
	trigger string
	began   time.Time
}

// Open migrates the gate's tables and reads what it knew before.
func Open(ctx context.Context, o Options) (*Gate, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Parallel, o.PerAPI = cmp.Or(o.Parallel, 4), cmp.Or(o.PerAPI, 2)
	o.Limit, o.Keep = cmp.Or(o.Limit, 10*time.Minute), cmp.Or(o.Keep, 400*24*time.Hour)
	o.ReportBytes = cmp.Or(o.ReportBytes, 1<<30)
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := o.Store.Migrate(ctx, "gate", files); err != nil {
		return nil, err
	}
	b := make([]byte, 8)
	rand.Read(b)
	g := &Gate{o: o, node: hex.EncodeToString(b), nudge: make(chan struct{}, 1), apis: map[string]API{}, known: map[key]*State{}, running: map[key]*test{}, asked: map[key]string{}, perAPI: map[string]int{}, tried: map[key]string{}}
	var list []State
	if err := o.Store.Reader().NewSelect().Model(&list).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read what the gate knew: %w", err)
	}
	for i := range list {
		g.known[key{list[i].API, list[i].URL}] = &list[i]
	}
	if f, ok := o.Doors.(*Front); ok {
		f.attach(g)
	}
	return g, nil
}

// Configure replaces what is demanded. APIs that are not named are not gated.
func (g *Gate) Configure(apis []API) {
	g.mu.Lock()
	g.apis = map[string]API{}
	for _, a := range apis {
		a.Admit, a.Recheck = cmp.Or(a.Admit, Full), cmp.Or(a.Recheck, Safe)
		g.apis[a.Name] = a
	}
	g.mu.Unlock()
	g.Nudge()
}

// Nudge has the gate look at the instances now: an instance has changed. It
// never blocks.
func (g *Gate) Nudge() {
	select {
	case g.nudge <- struct{}{}:
	default:
	}
}

// Run looks after the instances until ctx ends; tests that run are ended then,
// without a verdict.
func (g *Gate) Run(ctx context.Context) error {
	defer g.wg.Wait()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	sweep := time.NewTicker(time.Hour)
	defer sweep.Stop()
	clean := func() {
		if err := g.sweep(ctx); err != nil && ctx.Err() == nil {
			g.o.Logger.Warn("remove old verdicts", "error", err)
		}
	}
	clean()
	for {
		g.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-g.nudge:
		case <-tick.C:
		case <-sweep.C:
			clean()
		}
	}
}

// look starts the tests that are due.
func (g *Gate) look(ctx context.Context) {
	list := g.o.Doors.Instances()
	// Those that wait go before those that serve.
	slices.SortStableFunc(list, func(x, y sallyport.Instance) int {
		return cmp.Compare(b2i(x.Admission == sallyport.Admitted), b2i(y.Admission == sallyport.Admitted))
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, in := range list {
		a, gated := g.apis[in.API]
		k := key{in.API, in.URL}
		if !gated || in.Admission == sallyport.Retired || g.running[k] != nil {
			continue
		}
		if len(g.running) >= g.o.Parallel {
			return
		}
		if g.perAPI[in.API] >= cmp.Or(a.Parallel, g.o.PerAPI) {
			continue
		}
		trigger, profile := g.due(a, in, g.known[k])
		if trigger == "" {
			continue
		}
		delete(g.asked, k)
		t := &test{trigger: trigger, began: g.o.Now()}
		g.running[k] = t
		g.perAPI[in.API]++
		g.wg.Go(func() {
			g.one(ctx, a, in, trigger, profile)
			g.mu.Lock()
			delete(g.running, k)
			g.perAPI[in.API]--
			g.mu.Unlock()
			g.Nudge()
		})
	}
}

// mute is why there was no verdict about an instance that could not be asked.
const mute = "it does not say which start of it this is"

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// due says why an instance is to be tested now, and by which profile; "" = it is not.
func (g *Gate) due(a API, in sallyport.Instance, s *State) (trigger string, p Profile) {
	r := g.next(a, in, s)
	if r.At.IsZero() || r.At.After(g.o.Now()) {
		return "", ""
	}
	return r.Why, r.Profile
}

// next says when and why an instance is to be tested next, by which profile.
func (g *Gate) next(a API, in sallyport.Instance, s *State) Run {
	now, serves := g.o.Now(), in.Admission == sallyport.Admitted
	r := Run{API: in.API, URL: in.URL, At: now, Profile: a.Admit}
	if serves {
		r.Profile = a.Recheck
	}
	if r.Why = g.asked[key{in.API, in.URL}]; r.Why != "" {
		return r
	}
	if s != nil && s.ByHand != "" {
		r.At, r.Why = time.Time{}, "held by hand"
		return r
	}
	tried := s != nil && g.tried[key{in.API, in.URL}] == a.Contract // and it came to no end: not at once again
	switch {
	case serves && s != nil && s.Contract != a.Contract && tried:
		r.Why, r.At = "failed before", time.UnixMicro(s.Tested).Add(backoff(s.Failures))
	case serves && (s == nil || s.Contract != a.Contract):
		r.Why = "contract changed"
	case serves && a.Every > 0:
		r.Why, r.At = "timer", time.UnixMicro(s.Tested).Add(jitter(a.Every, in))
	case serves:
		r.Why, r.At = "no timer", time.Time{}
	case s == nil || s.Tested == 0:
		r.Why = "new"
	case s.State != string(sallyport.Quarantined):
		r.Why = "started again" // held by the door since, or before our own restart
	case s.Contract != a.Contract && !tried:
		r.Why = "contract changed"
	default:
		r.Why, r.At = "failed before", time.UnixMicro(s.Tested).Add(backoff(s.Failures))
	}
	return r
}

// jitter spreads the tests of many instances over a tenth of their interval.
func jitter(every time.Duration, in sallyport.Instance) time.Duration {
	h := uint64(14695981039346656037)
	for _, c := range []byte(in.API + in.URL) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return every - every/20 + time.Duration(h%uint64(max(1, int64(every/10))))
}

func backoff(failures int) time.Duration {
	d := 10 * time.Second
	for range min(failures, 8) {
		d *= 2
	}
	return min(d, 30*time.Minute)
}

// one tests an instance and acts on the verdict.
func (g *Gate) one(ctx context.Context, a API, in sallyport.Instance, trigger string, p Profile) {
	ctx, cancel := context.WithTimeout(ctx, g.o.Limit)
	defer cancel()
	serves := in.Admission == sallyport.Admitted
	log := g.o.Logger.With("api", in.API, "instance", in.URL, "trigger", trigger)
	if ok, err := g.claim(ctx, in); err != nil || !ok {
		if err != nil && ctx.Err() == nil {
			log.Warn("claim a test", "error", err)
		}
		return // another process tests it
	}
	held := ""
	if !serves {
		held = in.Reason
	}
	line := g.begin(ctx, in, trigger, held)
	fail := func(what string, err error) {
		if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			g.release(in)
			g.finish(line, NoVerdict, "", "ended with its process")
			return // we are stopping
		}
		g.finish(line, NoVerdict, "", what+": "+oneLine(err))
		log.Warn("no verdict", "what", what, "error", err)
		g.settle(ctx, a, in, "", Verdict{}, what+": "+oneLine(err))
	}
	boot, err := g.o.Doors.Identify(ctx, in)
	if err != nil {
		fail(mute, err)
		return
	}
	if !serves {
		// Tested before by us, as this very start of it, against this contract: our own restart costs it nothing.
		if v, ok := g.stands(ctx, a, in, boot); ok {
			g.settle(ctx, a, in, boot, v, "")
			g.finish(line, Stood, v.ID, "")
			return
		}
		in.Admission = sallyport.Testing
		_ = g.o.Doors.Hold(ctx, in, "being tested: "+trigger)
	}
	v := Verdict{ID: newID(g.o.Now()), API: in.API, URL: in.URL, Boot: boot, Contract: a.Contract, Profile: string(p), Trigger: trigger, Began: g.o.Now().UnixMicro()}
	out, err := g.o.Test(ctx, Subject{ID: v.ID, Instance: in, Profile: p})
	if err != nil {
		fail("the tests did not come to an end", err)
		return
	}
	after, err := g.o.Doors.Identify(ctx, in)
	if err != nil || after != boot {
		if err == nil {
			err = errors.New("it was started again while it was tested")
		}
		fail("the tests hold for nothing", err)
		return
	}
	v.Passed, v.Summary, v.Report, v.Ended = out.Passed, out.Summary, out.Report, g.o.Now().UnixMicro()
	kept := v
	kept.Report = pack(v.Report)
	if _, err := g.o.Store.DB().NewInsert().Model(&kept).Exec(ctx); err != nil {
		fail("the verdict could not be kept", err) // no evidence, no admission
		return
	}
	log.Info("verdict", "passed", v.Passed, "verdict", v.ID, "profile", v.Profile, "summary", v.Summary, "took", time.Duration(v.Ended-v.Began)*time.Microsecond)
	g.settle(ctx, a, in, boot, v, "")
	outcome := Failed
	if v.Passed {
		outcome = Passed
	}
	g.finish(line, outcome, v.ID, "")
	if tell := g.o.Failed; !v.Passed && tell != nil {
		tell(v)
	}
	if tell := g.o.Passed; v.Passed && tell != nil {
		tell(v)
	}
}

// stands finds a verdict that still holds for an instance.
func (g *Gate) stands(ctx context.Context, a API, in sallyport.Instance, boot string) (Verdict, bool) {
	g.mu.Lock()
	s := g.known[key{in.API, in.URL}]
	g.mu.Unlock()
	if boot == "" || s == nil || s.State != string(sallyport.Admitted) || s.Boot != boot || s.Contract != a.Contract || s.Verdict == "" {
		return Verdict{}, false
	}
	if a.Every > 0 && g.o.Now().UnixMicro() > s.Tested+(2*a.Every).Microseconds() {
		return Verdict{}, false
	}
	v, err := g.Verdict(ctx, s.Verdict)
	return v, err == nil && v.Passed
}

// settle acts on a verdict, or on there being none, and keeps the state. First
// the state is kept, then the door opened: a door that is open is always on
// record; a door is closed before that is on record.
func (g *Gate) settle(ctx context.Context, a API, in sallyport.Instance, boot string, v Verdict, trouble string) {
	ctx = context.WithoutCancel(ctx)
	g.mu.Lock()
	s := g.known[key{in.API, in.URL}]
	if s == nil {
		s = &State{API: in.API, URL: in.URL}
	}
	next := *s
	if trouble != "" {
		g.tried[key{in.API, in.URL}] = a.Contract
	} else {
		delete(g.tried, key{in.API, in.URL})
	}
	g.mu.Unlock()
	now := g.o.Now()
	next.ClaimedBy, next.ClaimedUntil = "", 0
	serves := in.Admission == sallyport.Admitted
	state, reason := sallyport.Held, ""
	switch {
	case trouble != "" && serves: // nothing is known against it
		next.Tested = now.UnixMicro()
		next.Failures++
		g.keep(ctx, &next)
		return
	case trouble != "":
		state, reason = sallyport.Quarantined, trouble
	case v.Passed:
		state, reason = sallyport.Admitted, fmt.Sprintf("passed %s, verdict %s", v.Profile, v.ID)
	case serves && a.LastGood && g.alone(in):
		state, reason = sallyport.Admitted, fmt.Sprintf("failed %s, verdict %s, and serves on, for no other is admitted", v.Profile, v.ID)
	default:
		state, reason = sallyport.Quarantined, fmt.Sprintf("failed %s, verdict %s: %s", v.Profile, v.ID, v.Summary)
	}
	if next.State != string(state) {
		next.Changed = now.UnixMicro()
	}
	next.State, next.Reason, next.Tested = string(state), reason, now.UnixMicro()
	if v.ID != "" {
		next.Verdict, next.Boot, next.Contract = v.ID, boot, a.Contract
	}
	if state == sallyport.Admitted && v.Passed {
		next.Failures = 0
	} else {
		next.Failures++
	}
	if next.ByHand != "" { // somebody holds it meanwhile
		state, reason = sallyport.Held, "held by hand: "+next.ByHand
		next.State, next.Reason = string(state), reason
	}
	in.Admission, in.Boot = state, boot
	if state != sallyport.Admitted {
		if err := g.o.Doors.Hold(ctx, in, reason); err != nil {
			g.o.Logger.Error("hold an instance", "api", in.API, "instance", in.URL, "error", err)
		}
		g.keep(ctx, &next)
		return
	}
	if !g.keep(ctx, &next) {
		in.Admission = sallyport.Held
		if !serves {
			_ = g.o.Doors.Hold(ctx, in, "its state could not be kept")
		}
		return
	}
	if err := g.o.Doors.Admit(ctx, in, reason); err != nil {
		g.o.Logger.Error("admit an instance", "api", in.API, "instance", in.URL, "error", err)
	}
}

// alone reports whether no other instance of the API serves.
func (g *Gate) alone(in sallyport.Instance) bool {
	return !slices.ContainsFunc(g.o.Doors.Instances(), func(x sallyport.Instance) bool {
		return x.API == in.API && x.URL != in.URL && x.Admission == sallyport.Admitted && x.Healthy
	})
}

// keep writes a state and reports whether it is kept.
func (g *Gate) keep(ctx context.Context, s *State) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := g.o.Store.DB().NewInsert().Model(s).On("CONFLICT (api, url) DO UPDATE").
		Set("state = EXCLUDED.state, reason = EXCLUDED.reason, boot = EXCLUDED.boot, contract = EXCLUDED.contract, verdict = EXCLUDED.verdict").
		Set("by_hand = EXCLUDED.by_hand, failures = EXCLUDED.failures, claimed_by = EXCLUDED.claimed_by, claimed_until = EXCLUDED.claimed_until").
		Set("tested = EXCLUDED.tested, changed = EXCLUDED.changed").Exec(ctx)
	if err != nil {
		g.o.Logger.Error("keep the state of an instance", "api", s.API, "instance", s.URL, "error", err)
		return false
	}
	g.mu.Lock()
	c := *s
	g.known[key{s.API, s.URL}] = &c
	g.mu.Unlock()
	return true
}

// claim makes sure that of several processes on one database one tests.
func (g *Gate) claim(ctx context.Context, in sallyport.Instance) (bool, error) {
	now := g.o.Now()
	if _, err := g.o.Store.DB().NewInsert().Model(&State{API: in.API, URL: in.URL, State: string(sallyport.Held), Reason: "not tested yet", Changed: now.UnixMicro()}).
		On("CONFLICT (api, url) DO NOTHING").Exec(ctx); err != nil {
		return false, err
	}
	res, err := g.o.Store.DB().NewUpdate().Model((*State)(nil)).Set("claimed_by = ?, claimed_until = ?", g.node, now.Add(g.o.Limit).UnixMicro()).
		Where("api = ? AND url = ? AND (claimed_by = '' OR claimed_by = ? OR claimed_until < ?)", in.API, in.URL, g.node, now.UnixMicro()).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	if err != nil || n == 0 {
		return false, err
	}
	var row State // another process may have tested it meanwhile
	if err := g.o.Store.DB().NewSelect().Model(&row).Where("api = ? AND url = ?", in.API, in.URL).Scan(ctx); err != nil {
		return false, err
	}
	g.mu.Lock()
	g.known[key{in.API, in.URL}] = &row
	g.mu.Unlock()
	return true, nil
}

func (g *Gate) release(in sallyport.Instance) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, _ = g.o.Store.DB().NewUpdate().Model((*State)(nil)).Set("claimed_by = '', claimed_until = 0").Where("api = ? AND url = ? AND claimed_by = ?", in.API, in.URL, g.node).Exec(ctx)
}

// Retest asks for a test of an instance, or of all instances of an API where
// url is empty; by says who and why. It is an error of kind not found when
// there is none.
func (g *Gate) Retest(api, url, by string) error {
	n := 0
	g.mu.Lock()
	for _, in := range g.o.Doors.Instances() {
		if _, gated := g.apis[in.API]; gated && in.API == api && (url == "" || in.URL == url) {
			g.asked[key{in.API, in.URL}] = "by hand: " + by
			n++
		}
	}
	g.mu.Unlock()
	if n == 0 {
		return sallyport.Errorf(sallyport.NotFound, "no gated instance %s of API %s", url, api)
	}
	g.Nudge()
	return nil
}

// HoldByHand takes an instance out, with who and why, until ReleaseByHand.
func (g *Gate) HoldByHand(ctx context.Context, api, url, by string) error {
	s, err := g.state(api, url)
	if err != nil {
		return err
	}
	s.ByHand, s.State, s.Reason, s.Changed = by, string(sallyport.Held), "held by hand: "+by, g.o.Now().UnixMicro()
	if err := g.o.Doors.Hold(ctx, sallyport.Instance{API: api, URL: url, Admission: sallyport.Held}, s.Reason); err != nil {
		return err
	}
	if !g.keep(ctx, s) {
		return sallyport.Errorf(sallyport.Unavailable, "it is held, but that could not be kept")
	}
	g.acted(ctx, api, url, "held by hand", by)
	return nil
}

// ReleaseByHand lets an instance that is held by hand be tested again; only
// that admits it.
func (g *Gate) ReleaseByHand(ctx context.Context, api, url, by string) error {
	s, err := g.state(api, url)
	if err != nil {
		return err
	}
	if s.ByHand == "" {
		return sallyport.Errorf(sallyport.Conflict, "nobody holds %s by hand", url)
	}
	s.ByHand, s.Reason, s.Changed = "", "released by "+by+", not tested yet", g.o.Now().UnixMicro()
	if !g.keep(ctx, s) {
		return sallyport.Errorf(sallyport.Unavailable, "the release could not be kept")
	}
	g.acted(ctx, api, url, "released by hand", by)
	return g.Retest(api, url, by)
}

func (g *Gate) state(api, url string) (*State, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, gated := g.apis[api]; !gated || !slices.ContainsFunc(g.o.Doors.Instances(), func(in sallyport.Instance) bool { return in.API == api && in.URL == url }) {
		return nil, sallyport.Errorf(sallyport.NotFound, "no gated instance %s of API %s", url, api)
	}
	if s := g.known[key{api, url}]; s != nil {
		c := *s
		return &c, nil
	}
	return &State{API: api, URL: url}, nil
}

// A View is one instance for people.
type View struct {
	Instance sallyport.Instance
	State    State
	Gated    bool
	Testing  string // why it is being tested now; "" = it is not
	Since    time.Time
	Places   []Place // doors of others that it is at
}

// Fleet lists the instances of all pools.
func (g *Gate) Fleet() []View {
	list := g.o.Doors.Instances()
	front, _ := g.o.Doors.(*Front)
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]View, 0, len(list))
	for _, in := range list {
		v := View{Instance: in}
		_, v.Gated = g.apis[in.API]
		if s := g.known[key{in.API, in.URL}]; s != nil {
			v.State = *s
		}
		if t := g.running[key{in.API, in.URL}]; t != nil {
			v.Testing, v.Since = t.trigger, t.began
		}
		if front != nil {
			v.Places = front.Places(in)
		}
		out = append(out, v)
	}
	return out
}

// Verdict finds one verdict with its report; an error of kind not found when there is none.
func (g *Gate) Verdict(ctx context.Context, id string) (v Verdict, err error) {
	err = g.o.Store.Reader().NewSelect().Model(&v).Where("id = ?", id).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return v, sallyport.Errorf(sallyport.NotFound, "there is no verdict %s", id)
	}
	if err != nil {
		return v, err
	}
	return v, v.unpack()
}

// Verdicts lists verdicts, newest first and without their reports, of one API
// or instance or of all, that began before a time (0 = now).
func (g *Gate) Verdicts(ctx context.Context, api, url string, before int64, limit int64) (list []Verdict, err error) {
	q := g.o.Store.Reader().NewSelect().Model(&list).ExcludeColumn("report").Order("began DESC").Limit(max(1, min(limit, 500)))
	if api != "" {
		q = q.Where("api = ?", api)
	}
	if url != "" {
		q = q.Where("url = ?", url)
	}
	if before > 0 {
		q = q.Where("began < ?", before)
	}
	err = q.Scan(ctx)
	return list, err
}

// Since lists verdicts with their reports that ended at or after t, oldest first.
func (g *Gate) Since(ctx context.Context, t time.Time, limit int64) (list []Verdict, err error) {
	err = g.o.Store.Reader().NewSelect().Model(&list).Where("ended >= ?", t.UnixMicro()).Order("ended").Limit(max(1, min(limit, 5000))).Scan(ctx)
	for i := range list {
		if err == nil {
			err = list[i].unpack()
		}
	}
	return list, err
}

// newID is a name that sorts by time.
func newID(now time.Time) string {
	return fmt.Sprintf("v%011x%08x", now.UnixMilli(), mrand.Uint32())
}

func oneLine(err error) string {
	s := err.Error()
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return s
}

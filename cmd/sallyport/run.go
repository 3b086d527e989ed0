package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sallyport.dev"
	"sallyport.dev/adapter/kubernetes/admission"
	"sallyport.dev/conformance/attest"
	"sallyport.dev/conformance/gate"
	"sallyport.dev/console"
	"sallyport.dev/console/account"
	"sallyport.dev/discovery"
	"sallyport.dev/gateway"
	"sallyport.dev/gateway/counters"
	"sallyport.dev/guard"
	"sallyport.dev/guard/authn"
	"sallyport.dev/guard/inspect"
	"sallyport.dev/guard/limit"
	"sallyport.dev/identity"
	"sallyport.dev/incident"
	"sallyport.dev/inventory"
	"sallyport.dev/observe"
	"sallyport.dev/observe/original"
	"sallyport.dev/observe/pace"
	"sallyport.dev/policy"
	"sallyport.dev/store"
)

type runCmd struct {
	Config     string `short:"c" default:"sallyport.yaml" help:"Configuration file."`
	CPUProfile string `name:"cpu-profile" placeholder:"FILE" help:"Write a processor profile (pprof) until the end."`
}

// An engine is one running process: what cmd wires together.
type engine struct {
	log     *slog.Logger
	out     io.Writer
	started time.Time

	cfg      *config
	store    *store.Store
	keys     *providers
	grants   *identity.Grants
	signer   signer
	lasting  lasting
	memory   *limit.Memory
	shared   *counters.Shared // nil: limits are counted by this node alone
	quotas   *quotaBook
	paces    *pace.Book
	recorder *observe.Recorder
	gateway  *gateway.Gateway
	egress   *gateway.Gateway // the door of calls that go out; nil: none
	doors    []*sideDoor      // at which proxies ask

	sealer    *original.Sealer
	journal   *observe.Journal
	originals *original.Drawer
	inventory *inventory.Inventory
	discovery *discovery.Discovery
	audits    audits
	declared  sync.Map                  // name of an API → *spec.Set in force
	gate      *gate.Gate                // tests instances before they serve; nil: this process has no control
	nudged    atomic.Pointer[gate.Gate] // the same, once it is open
	front     *gate.Front               // our pools and the doors of others
	fronted   frontDoors                // those that are configured
	console   *console.Console
	incidents *incident.Book
	images    *attest.Book    // verdicts on images
	hook      *admission.Hook // nil: no cluster asks
	cluster   clusterRun
	catalogue catalogues
	sources   *sourceBook // nil: this process has no control
	scans     scans
	results   func(context.Context, time.Time) ([]incident.Result, error) // of tests, since a time; nil: nothing is tested

	partners partnerStates // how asking for documents of partners went

	reloading sync.Mutex // one change at a time

	mu      sync.Mutex
	current *compiled
	since   time.Time
	failed  string // why the newest change was refused
	tried   time.Time
	hoped   []string  // files of the change refused, which may be repaired
	desk    *compiled // guards the console
}

// Run starts everything, says where it is, and stays until it is interrupted or
// a part fails.
func (r runCmd) Run(ctx context.Context, s streams) error {
	cfg, err := readConfig(r.Config)
	if err != nil {
		return err
	}
	// Libraries make files of the data directory with modes of their own; nothing
	// there is anybody else's, even where the directory was made open.
	syscall.Umask(0o077)
	if r.CPUProfile != "" {
		f, err := os.Create(r.CPUProfile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	e := &engine{cfg: cfg, out: s.out, started: time.Now(), log: newLog(cfg.Log, s.errs)}
	return e.run(ctx)
}

func newLog(level string, w io.Writer) *slog.Logger {
	var l slog.Level
	if level != "" {
		_ = l.UnmarshalText([]byte(level)) // checked with the configuration
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l}))
}

func (e *engine) run(ctx context.Context) error {
	engine, err := inspect.New(inspect.Options{})
	if err != nil {
		return fmt.Errorf("start inspection: %w", err)
	}
	e.keys = &providers{log: e.log}
	e.grants = &identity.Grants{Log: e.log}
	e.lasting = lasting{keys: e.keys, tokens: authn.NewCache(0), proofs: authn.NewProofs(nil), inspect: engine, grants: e.grants, signer: &e.signer, members: &memberBook{}}
	if err := e.openCounters(); err != nil {
		return err
	}
	// Watched before it is read, so that no change falls between.
	files, err := newFileWatch()
	if err != nil {
		return err
	}
	defer files.Close()
	files.follow(e.cfg.sources())
	if e.lasting.accepted, err = openAccepted(e.cfg.Data); err != nil {
		return err
	}
	// Everything wrong with the configuration is said before a file is touched.
	first, err := compile(ctx, e.cfg, e.lasting)
	if err != nil {
		return err
	}
	files.follow(e.cfg.sources()) // and what they refer to
	if err := e.open(ctx); err != nil {
		return err
	}
	for i := range e.cfg.APIs { // there is a place for it now
		if a := &e.cfg.APIs[i]; a.GRPC.Reflection.URL != "" {
			_, _ = e.cfg.reflected(ctx, a)
		}
	}
	if e.cfg.Egress != nil {
		for i := range e.cfg.Egress.Destinations {
			if docs := e.cfg.Egress.Destinations[i].docs(e.cfg.Data); docs != nil {
				if err := docs.settle(); err != nil {
					return fmt.Errorf("keep the documents of %s: %w", e.cfg.Egress.Destinations[i].Name, err)
				}
			}
		}
	}
	defer func() {
		if err := e.store.Close(); err != nil {
			e.log.Error("close the store", "error", err)
		}
	}()

	// Two lifetimes: doors end first, so that what they record is still taken.
	behind, endBehind := context.WithCancel(context.WithoutCancel(ctx))
	defer endBehind()
	doors, endDoors := context.WithCancel(ctx)
	defer endDoors()
	failures := make(chan error, 16)
	var back, front sync.WaitGroup
	start := func(wg *sync.WaitGroup, ctx context.Context, what string, run func(context.Context) error) {
		wg.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				failures <- fmt.Errorf("%s: %w", what, err)
			}
		})
	}

	if e.quotas, err = openQuotas(ctx, e.store, e.cfg.Data, e.memory); err != nil {
		return err
	}
	start(&back, behind, "quotas", func(ctx context.Context) error {
		return e.quotas.Run(ctx, func(err error) { e.log.Error("quotas", "error", err) })
	})
	if e.shared != nil {
		defer e.shared.Close()
		start(&back, behind, "counters", e.shared.Run)
	}
	e.keys.swap(behind, first.issuers, first.opaque)
	if err := e.grants.Configure(first.grants); err != nil {
		return err
	}
	start(&back, behind, "tokens for upstreams", e.grants.Run)
	if e.cfg.has(roleControl) {
		if err := e.openControl(ctx); err != nil {
			return err
		}
		start(&back, behind, "journal", e.journal.Run)
		start(&back, behind, "originals", e.originals.Run)
		start(&back, behind, "inventory", e.inventory.Run)
		start(&back, behind, "discovery", e.discovery.Run)
		start(&back, behind, "paces", e.paces.Run)
		start(&back, behind, "console", e.console.Run)
		start(&back, behind, "audit of specifications", e.audits.run(e))
	}
	if e.recorder, err = observe.NewRecorder(observe.RecorderOptions{Stream: e.store.Stream(), Logger: e.log, Redact: observe.RedactOptions{
		KeepHeaders: e.cfg.Redact.KeepHeaders, SecretHeaders: e.cfg.Redact.Headers, SecretNames: e.cfg.Redact.Parameters}}); err != nil {
		return fmt.Errorf("start recording: %w", err)
	}
	key, err := store.LoadKey(e.cfg.Keys, e.cfg.Data)
	if err != nil {
		return err
	}
	if err := e.signer.derive(key); err != nil {
		return err
	}
	if e.sealer, err = original.NewSealer(e.store.Stream(), key, e.log); err != nil {
		return err
	}
	if e.gateway, err = gateway.New(e.gatewayOptions(first)); err != nil {
		return fmt.Errorf("start the gateway: %w", err)
	}
	e.take(first)
	if e.cfg.has(roleControl) {
		if err := e.openGate(ctx); err != nil {
			return fmt.Errorf("open the gate: %w", err)
		}
		e.gate.Configure(first.demands())
		e.front.Configure(e.fronted.of(first, e.log))
		start(&back, behind, "doors of others", e.front.Run)
		start(&back, behind, "gate", e.gate.Run)
		start(&back, behind, "cluster", func(ctx context.Context) error { return e.cluster.run(ctx, e) })
		start(&back, behind, "incidents", e.incidents.Run) // it asks the gate what it has missed
	}
	var listeners []*gateway.Listener
	if e.cfg.has(roleGateway) {
		ln, err := gateway.Listen(ctx, gateway.Address{Address: e.cfg.Listen.Gateway, Plain: e.cfg.TLS.Off, HTTP3: e.cfg.Listen.HTTP3, PROXY: e.cfg.Listen.PROXY})
		if err != nil {
			return fmt.Errorf("listen.gateway: %w", err)
		}
		listeners = append(listeners, ln)
		start(&front, doors, "gateway", func(ctx context.Context) error { return e.gateway.Serve(ctx, listeners...) })
	}
	outward, err := e.openEgress(ctx, first)
	if err != nil {
		return err
	}
	if outward != nil {
		start(&front, doors, "egress", func(ctx context.Context) error { return e.egress.Serve(ctx, outward) })
	}
	asked, err := e.openDoors(ctx)
	if err != nil {
		return err
	}
	for what, run := range asked {
		start(&front, doors, what, run)
	}
	if hook, err := e.openWebhook(ctx); err != nil {
		return err
	} else if hook != nil {
		start(&front, doors, "admission webhook", hook)
	}
	consoleURL := ""
	if e.cfg.has(roleControl) {
		if consoleURL, err = e.serveConsole(doors, &front, failures); err != nil {
			return err
		}
	}
	if err := e.declare(ctx, first); err != nil && ctx.Err() == nil { // ended while it starts, it ends as always
		return err
	}
	if e.inventory != nil {
		start(&back, behind, "catalogues", func(ctx context.Context) error { return e.catalogue.run(ctx, e) })
		start(&back, behind, "scans", func(ctx context.Context) error { return e.scans.run(ctx, e) })
	}
	if e.cfg.has(roleControl) {
		if err := e.openSources(first); err != nil {
			return fmt.Errorf("open the sources: %w", err)
		}
		start(&front, doors, "sources", e.sources.Run)
	}
	e.announce(ctx, listeners, outward, consoleURL)
	start(&front, doors, "watch of API keys", e.watchKeys)
	start(&front, doors, "watch reflection", e.watchReflection)
	start(&front, doors, "watch documents of partners", e.watchPartnerSpecs)
	start(&front, doors, "watch for changes", func(ctx context.Context) error { return e.watch(ctx, files) })

	select {
	case <-ctx.Done():
		fmt.Fprintln(e.out, "stopping: requests in flight end first")
	case err = <-failures:
	}
	endDoors()
	front.Wait()
	closing, cancel := context.WithTimeout(behind, 20*time.Second)
	defer cancel()
	err = errors.Join(err, e.sealer.Close(closing))
	if cerr := e.recorder.Close(closing); cerr != nil {
		err = errors.Join(err, fmt.Errorf("record what was in flight: %w", cerr))
	}
	e.settle(closing)
	endBehind()
	back.Wait()
	return err
}

// open makes the data directory, loads the key and opens the store.
func (e *engine) open(ctx context.Context) error {
	if err := os.MkdirAll(e.cfg.Data, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	key, err := store.LoadKey(e.cfg.Keys, e.cfg.Data)
	if err != nil {
		return err
	}
	database, err := e.cfg.secret(e.cfg.Database)
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	stream, err := e.cfg.secret(e.cfg.Stream)
	if err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	keep := e.cfg.Retention
	e.store, err = store.Open(ctx, store.Options{Dir: e.cfg.Data, Key: key, DatabaseURL: database, StreamURL: stream, Logger: e.log,
		MaxAge: keep.Events, MaxBytes: int64(keep.EventBytes), SyncInterval: keep.StreamSync, SyncCommit: keep.DatabaseFsync})
	return err
}

func (e *engine) openControl(ctx context.Context) (err error) {
	keep := e.cfg.Retention
	if e.journal, err = observe.OpenJournal(ctx, e.store, observe.JournalOptions{MaxAge: keep.Decisions, MaxRows: keep.DecisionRows, SampleOne: keep.SampleOneIn, Logger: e.log}); err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	key, err := store.LoadKey(e.cfg.Keys, e.cfg.Data)
	if err != nil {
		return err
	}
	if e.originals, err = original.Open(ctx, e.store, key, original.Options{MaxAge: keep.Originals, MaxBytes: int64(keep.OriginalBytes), Logger: e.log}); err != nil {
		return err
	}
	if e.inventory, err = inventory.Open(ctx, e.store, inventory.Options{MaxAge: keep.Inventory, Logger: e.log}); err != nil {
		return fmt.Errorf("open the inventory: %w", err)
	}
	if e.discovery, err = discovery.Open(ctx, e.store, discovery.Options{Logger: e.log}); err != nil {
		return fmt.Errorf("open discovery: %w", err)
	}
	if e.paces, err = pace.Open(ctx, e.store, pace.Options{Logger: e.log}); err != nil {
		return fmt.Errorf("open what is learned of callers: %w", err)
	}
	if err = e.openVerdicts(ctx, key); err != nil {
		return err
	}
	e.results = e.verdicts
	if err = e.openIncidents(ctx); err != nil {
		return err
	}
	b := thisBuild()
	e.console, err = console.New(ctx, console.Options{Store: e.store, Key: key, Journal: e.journal, Originals: e.originals, Inventory: e.inventory, Recorder: recorderOf{e}, Engine: e, Paces: e.paces, Sideloads: e, Gate: deskGate{e}, Incidents: e.incidents, Learning: learning{e},
		Build:     console.Build{Version: b.Version, Revision: b.Revision, Go: b.Go, Started: e.started},
		Retention: keep.gate(), AuditAge: keep.Audit, Insecure: e.cfg.TLS.Off, Logger: e.log})
	if err != nil {
		return fmt.Errorf("open the console: %w", err)
	}
	return nil
}

// sealing hands what the gateway replaced to the sealer.
type sealing struct{ *original.Sealer }

func (s sealing) Seal(o gateway.Original) {
	s.Sealer.Seal(original.Original{ID: o.ID, API: o.API, Time: o.Time, Status: o.Status, Header: original.Fields(o.Header), Body: o.Body, Cut: o.Cut})
}

// recorderOf reads the counters of a recorder that starts after the console.
type recorderOf struct{ e *engine }

func (r recorderOf) Counters() observe.Counters {
	if r.e.recorder == nil {
		return observe.Counters{}
	}
	return r.e.recorder.Counters()
}

func (e *engine) gatewayOptions(first *compiled) gateway.Options {
	b := e.cfg.Bounds
	t := gateway.TLS{CertFile: e.cfg.TLS.Cert, KeyFile: e.cfg.TLS.Key, Names: append(e.cfg.TLS.Names, e.cfg.hosts()...), LocalDir: filepath.Join(e.cfg.Data, "tls")}
	for _, p := range e.cfg.TLS.More {
		t.More = append(t.More, gateway.Pair{CertFile: p.Cert, KeyFile: p.Key})
	}
	t.ClientCAFile = e.cfg.TLS.ClientCA
	demand := e.cfg.TLS.TLS
	t.MinVersion, t.Suites, t.Curves, t.HSTS = demand.Version(), demand.SuiteIDs(), demand.CurveIDs(), demand.HSTS.Header()
	t.SNI, t.WarnDays = gateway.SNI(demand.SNI), demand.WarnDays()
	t.OCSP, t.OCSPDir = demand.OCSP == policy.On, filepath.Join(e.cfg.Data, "tls", "ocsp")
	if a := e.cfg.TLS.ACME; a != nil {
		t.ACME = &gateway.ACME{Email: a.Email, Directory: a.Directory, Agree: a.Agree, Names: t.Names, HTTP: a.HTTP, Dir: filepath.Join(e.cfg.Data, "acme")}
		if a.Roots != "" {
			if pem, err := os.ReadFile(a.Roots); err == nil {
				t.ACME.Roots = x509.NewCertPool()
				t.ACME.Roots.AppendCertsFromPEM(pem)
			}
		}
	}
	return gateway.Options{Changed: func(sallyport.Instance) {
		e.cluster.nudge()
		if g := e.nudged.Load(); g != nil {
			g.Nudge()
			e.front.Nudge()
		}
	}, Program: first.program, APIs: first.pools, Recorder: e.recorder, Sealer: sealing{e.sealer}, Resolver: e.keys, Log: e.log, TLS: t,
		TrustedProxies: e.cfg.TrustedProxies, StripHeaders: slices.Concat(gateway.IdentityHeaders, e.cfg.StripHeaders), // besides, never instead
		Bounds: gateway.Bounds{Target: int(b.Target), Header: int(b.Header), HeaderLines: b.HeaderLines, Body: int64(b.Body), HeadTime: b.HeadTime,
			BodyIdle: b.BodyIdle, IdleTime: b.IdleTime, AnswerTime: b.AnswerTime, Connections: b.Connections, ClientConnections: b.ClientConnections,
			Requests: b.Requests, ClientRequests: b.ClientRequests, Frames: b.Frames, Resets: b.Resets, Buffered: int64(b.Buffered), Cache: int64(b.Cache), Drain: b.Drain}}
}

// take puts a compiled configuration in force at the gateway's door.
func (e *engine) take(c *compiled) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.current, e.since, e.failed, e.hoped = c, time.Now(), "", nil
	e.keepTallies()
	e.catalogue.follow(c.config)
	e.cluster.follow()
	e.scans.follow(c.config)
	for _, n := range c.notices() {
		e.log.Warn(n.Text, "rule", n.Rule, "where", n.Where)
	}
}

// declare tells the inventory what the specifications say.
func (e *engine) declare(ctx context.Context, c *compiled) error {
	if e.inventory == nil {
		return nil
	}
	apis := c.everyAPI()
	if e.desk != nil {
		apis = append(slices.Clone(apis), e.desk.apis...)
	}
	e.audits.of(apis)
	var names []string
	for _, a := range apis {
		names = append(names, a.Name)
		e.declared.Store(a.Name, a.Spec)
		var ops []sallyport.Operation
		if a.Spec != nil {
			ops = operations(a.Name, a.Spec)
		}
		ops = append(ops, a.NamedOperations()...)
		if err := e.inventory.Declare(ctx, a.API, ops); err != nil {
			return fmt.Errorf("declare API %s: %w", a.Name, err)
		}
		if a.Spec == nil {
			continue
		}
		if err := e.inventory.Describe(ctx, a.Name, contracts(&a)); err != nil {
			return fmt.Errorf("describe API %s: %w", a.Name, err)
		}
	}
	if err := e.inventory.Keep(ctx, names...); err != nil {
		return fmt.Errorf("let go of APIs that are no longer configured: %w", err)
	}
	return nil
}

// reload takes a changed configuration over, or refuses it whole and says why.
func (e *engine) reload(ctx context.Context, why string) error {
	e.reloading.Lock()
	defer e.reloading.Unlock()
	cfg, err := readConfig(e.cfg.file)
	var next *compiled
	if err == nil {
		err = e.restartNeeded(cfg)
	}
	if err == nil {
		next, err = compile(ctx, cfg, e.lasting)
	}
	var put func()
	if err == nil {
		put, err = e.ready(ctx, cfg, next)
	}
	if err != nil {
		e.mu.Lock()
		e.failed, e.tried = err.Error(), time.Now()
		if cfg != nil {
			e.hoped = cfg.sources()
		}
		e.mu.Unlock()
		fmt.Fprintf(e.out, "change refused (%s); program %s stays in force:\n%s\n", why, e.current.name, indent(err.Error()))
		return err
	}
	put()
	e.take(next)
	if e.gate != nil {
		e.gate.Configure(next.demands())
		e.front.Configure(e.fronted.of(next, e.log))
	}
	if e.sources != nil {
		e.sources.placer.take(next)
		e.sources.configure(cfg)
	}
	if err := e.declare(ctx, next); err != nil {
		e.log.Error("declare", "error", err)
	}
	fmt.Fprintf(e.out, "change taken over (%s): program %s, %s\n", why, next.name, next.summary())
	return nil
}

// ready makes everything that a change needs, so that put has it in force at
// once: program, pools and all they go by, at each door behind one pointer. An
// error leaves the doors as they are.
func (e *engine) ready(ctx context.Context, cfg *config, next *compiled) (put func(), err error) {
	doors := []struct {
		door *gateway.Gateway
		c    *compiled
	}{{e.gateway, next}, {e.egress, next.out}}
	var changes []*gateway.Change
	discard := func() {
		for _, c := range changes {
			c.Discard()
		}
	}
	for _, d := range doors {
		if d.door == nil {
			continue
		}
		c, err := d.door.Prepare(d.c.program, d.c.pools)
		if err != nil {
			discard()
			return nil, err
		}
		changes = append(changes, c)
	}
	if err = e.configureIncidents(cfg); err == nil {
		err = e.grants.Configure(next.grants)
	}
	if err != nil {
		discard()
		return nil, err
	}
	return func() {
		e.keys.swap(ctx, next.issuers, next.opaque)
		for _, c := range changes {
			c.Commit()
		}
	}, nil
}

// restartNeeded refuses changes that a running process cannot make.
func (e *engine) restartNeeded(next *config) error {
	old := e.cfg
	for _, s := range []struct {
		name    string
		changed bool
	}{
		{"listen", old.Listen != next.Listen}, {"data", old.Data != next.Data}, {"keys", old.Keys != next.Keys},
		{"database", old.Database != next.Database}, {"stream", old.Stream != next.Stream}, {"tls", !reflect.DeepEqual(old.TLS, next.TLS)},
		{"egress.listen or egress.unlisted", egressChanged(old.Egress, next.Egress)}, {"counters", old.Counters != next.Counters}, {"bounds", old.Bounds != next.Bounds}, {"retention", old.Retention != next.Retention},
		{"roles", !slices.Equal(old.Roles, next.Roles)}, {"log", old.Log != next.Log}, {"trusted_proxies", !slices.Equal(old.TrustedProxies, next.TrustedProxies)},
		{"strip_headers", !slices.Equal(old.StripHeaders, next.StripHeaders)}, {"redact", !reflect.DeepEqual(old.Redact, next.Redact)}, {"doors", !reflect.DeepEqual(old.Doors, next.Doors)},
		{"kubernetes", !reflect.DeepEqual(old.Kubernetes, next.Kubernetes)}, {"verdicts.good or verdicts.keep", old.Verdicts.Good != next.Verdicts.Good || old.Verdicts.Keep != next.Verdicts.Keep},
	} {
		if s.changed {
			return fmt.Errorf("%s changed: restart to take that over (nothing of the change is in force)", s.name)
		}
	}
	return nil
}

func indent(s string) string { return "  " + strings.ReplaceAll(s, "\n", "\n  ") }

func (c *compiled) summary() string {
	n := 0
	for _, a := range c.apis {
		if a.Spec != nil {
			n += len(a.Spec.Operations())
		}
	}
	return fmt.Sprintf("%d APIs, %d operations declared", len(c.apis), n)
}

// announce says where everything is.
func (e *engine) announce(ctx context.Context, listeners []*gateway.Listener, outward *gateway.Listener, consoleURL string) {
	scheme := "https"
	if e.cfg.TLS.Off {
		scheme = "http"
	}
	for _, l := range listeners {
		fmt.Fprintf(e.out, "gateway  %s://%s  program %s: %s\n", scheme, l.Addr().String(), e.current.name, e.current.summary())
	}
	if outward != nil {
		_, ca := e.egress.StandInCA()
		fmt.Fprintf(e.out, "egress   proxy %s  %d destinations; clients trust %s\n", outward.Addr().String(), len(e.current.out.apis), ca)
	}
	for _, d := range e.doors {
		fmt.Fprintf(e.out, "door     %s  %s at %s, fails %s\n", d.Name, d.Kind, d.addr, or(string(d.Fail), "closed"))
	}
	if consoleURL != "" {
		fmt.Fprintf(e.out, "console  %s\n", consoleURL)
		if path, err := e.console.Setup(ctx); err != nil {
			e.log.Error("make a setup link", "error", err)
		} else if path != "" {
			fmt.Fprintf(e.out, "         first administrator, within the hour: %s%s\n", consoleURL, path)
		}
	}
	if ca := filepath.Join(e.cfg.Data, "tls", "local-ca.crt"); !e.cfg.TLS.Off && e.cfg.TLS.Cert == "" && e.cfg.TLS.ACME == nil {
		fmt.Fprintf(e.out, "local CA %s\n", ca)
	}
}

// serveConsole guards the console with our own guard and our own document.
func (e *engine) serveConsole(ctx context.Context, wg *sync.WaitGroup, failures chan<- error) (string, error) {
	desk, err := guardConsole(ctx, e.console.Document(), e.lasting)
	if err != nil {
		return "", fmt.Errorf("guard the console: %w", err)
	}
	e.mu.Lock()
	e.desk = desk
	e.mu.Unlock()
	// The pages beside the API are files; the API stands behind the guard.
	pages := e.console.Handler()
	mux := http.NewServeMux()
	mux.Handle("/", pages)
	mux.Handle("/api/v1/", gateway.Guarded(pages, func() *guard.Program { return desk.program }, "console", deskRecorder{e.recorder}))
	handler := e.metrics(mux)
	ln, err := net.Listen("tcp", e.cfg.Listen.Console)
	if err != nil {
		return "", fmt.Errorf("listen.console: %w", err)
	}
	scheme := "http"
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(e.log.Handler(), slog.LevelDebug)}
	if !e.cfg.TLS.Off {
		scheme = "https"
		srv.TLSConfig = e.gateway.TLSConfig()
	}
	wg.Go(func() {
		var err error
		if srv.TLSConfig != nil {
			err = srv.ServeTLS(ln, "", "")
		} else {
			err = srv.Serve(ln)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			failures <- fmt.Errorf("console: %w", err)
		}
	})
	wg.Go(func() {
		<-ctx.Done()
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if srv.Shutdown(closing) != nil {
			srv.Close() // live streams have no end of their own
		}
	})
	host, port, _ := net.SplitHostPort(ln.Addr().String())
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, port), nil
}

// A deskRecorder names who asks our own API: its sessions are the console's own
// affair, which the guard in front of it does not know.
type deskRecorder struct{ *observe.Recorder }

// Record marks what a session has been presented for and hands it on.
func (r deskRecorder) Record(x *sallyport.Exchange) {
	if x.Principal.Anonymous() && x.Status < http.StatusBadRequest {
		for _, f := range x.RequestHeader {
			if f.Name == "Cookie" && strings.Contains(f.Value, strings.TrimPrefix(account.Cookie, "__Host-")+"=") {
				x.Principal = sallyport.Principal{Kind: "session", Subject: "console"}
			}
		}
	}
	r.Recorder.Record(x)
}

// settle gives the consumers a moment to take what the doors recorded last.
func (e *engine) settle(ctx context.Context) {
	if e.inventory == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		s, err := e.store.Stream().Stats(ctx)
		if err != nil {
			return
		}
		behind := uint64(0)
		for _, c := range s.Consumers {
			behind = max(behind, c.Lag)
		}
		if behind == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// watch takes changes over when the file, or a specification, is saved, and on
// SIGHUP.
func (e *engine) watch(ctx context.Context, files *fileWatch) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			e.reload(ctx, "SIGHUP")
		case name := <-files.changed:
			e.reload(ctx, filepath.Base(name)+" was saved")
		}
		e.mu.Lock()
		sources := slices.Concat(e.current.sources(), e.hoped)
		e.mu.Unlock()
		files.follow(sources)
	}
}

// sources lists the files that the configuration is made of, those that
// specifications refer to included once it is compiled.
func (c *config) sources() []string {
	files := []string{c.file}
	for _, a := range c.APIs {
		files = append(files, a.Spec...)
		files = append(files, a.GRPC.Imports...)
	}
	if c.Egress != nil {
		for _, d := range c.Egress.Destinations {
			files = append(files, d.Spec...)
		}
	}
	for _, f := range c.read {
		if !slices.Contains(files, f) {
			files = append(files, f)
		}
	}
	return files
}

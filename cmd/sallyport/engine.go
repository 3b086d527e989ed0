package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sallyport.dev"
	"sallyport.dev/console"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/guard/authn"
	"sallyport.dev/identity"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

// providers passes on to the identity providers of the configuration in force;
// a change of issuers starts a new set beside the old one.
type providers struct {
	log  *slog.Logger
	mu   sync.Mutex
	list []string
	asks []identity.Introspection
	end  context.CancelFunc
	now  atomic.Pointer[identity.Providers]
}

func (p *providers) swap(ctx context.Context, issuers []string, asks []identity.Introspection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now.Load() != nil && slices.Equal(p.list, issuers) && slices.Equal(p.asks, asks) {
		return
	}
	next := &identity.Providers{Issuers: issuers, Introspection: asks, Log: p.log}
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		if err := next.Run(ctx); err != nil && ctx.Err() == nil {
			p.log.Error("identity providers", "error", err)
		}
	}()
	p.now.Store(next)
	if p.end != nil {
		p.end()
	}
	p.list, p.asks, p.end = slices.Clone(issuers), slices.Clone(asks), end
}

// Key gives a provider's key from memory.
func (p *providers) Key(issuer, kid, alg string) (any, bool) {
	if now := p.now.Load(); now != nil {
		return now.Key(issuer, kid, alg)
	}
	return nil, false
}

// Resolve fetches a key that is not in memory.
func (p *providers) Resolve(ctx context.Context, issuer, kid string) error {
	if now := p.now.Load(); now != nil {
		return now.Resolve(ctx, issuer, kid)
	}
	return sallyport.Errorf(sallyport.Unavailable, "identity providers are not running")
}

// HasKeys tells an issuer whose keys were never fetched from one without this
// key: for the first no caller is to blame.
func (p *providers) HasKeys(issuer string) bool {
	now := p.now.Load()
	return now != nil && now.HasKeys(issuer)
}

// Answer gives what an issuer has said about an opaque token, from memory.
func (p *providers) Answer(issuer, token string) (claims []byte, known bool) {
	if now := p.now.Load(); now != nil {
		return now.Answer(issuer, token)
	}
	return nil, false
}

// Introspect asks an issuer about an opaque token.
func (p *providers) Introspect(ctx context.Context, issuer, token string) error {
	if now := p.now.Load(); now != nil {
		return now.Introspect(ctx, issuer, token)
	}
	return sallyport.Errorf(sallyport.Unavailable, "identity providers are not running")
}

func (p *providers) Status() []identity.Status {
	if now := p.now.Load(); now != nil {
		return now.Status()
	}
	return nil
}

// Instances lists the instances of all pools.
func (e *engine) Instances() []sallyport.Instance {
	if e.gateway == nil {
		return nil
	}
	list := e.gateway.Instances()
	if e.egress != nil {
		list = append(list, e.egress.Instances()...)
	}
	return list
}

// Programs lists what is in force at each door.
func (e *engine) Programs() []console.Program {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []console.Program
	if e.current != nil {
		out = append(out, describe(e.current, "gateway", e.since, e.failed, e.tried))
	}
	if e.current != nil && e.egress != nil {
		out = append(out, describe(e.current.out, "egress", e.since, e.failed, e.tried))
	}
	if e.desk != nil {
		out = append(out, describe(e.desk, "console", e.started, "", time.Time{}))
	}
	return out
}

func describe(c *compiled, door string, since time.Time, failed string, tried time.Time) console.Program {
	p := console.Program{Name: c.name, Door: door, Since: since, Failed: failed, At: tried}
	for _, a := range c.apis {
		x := console.ProgramAPI{Name: a.Name, Mode: orObserve(a.Policy)}
		if a.Spec != nil {
			x.Operations = len(a.Spec.Operations())
		}
		for _, ex := range a.Policy.Exceptions {
			if ex.Expires.After(time.Now()) {
				x.Exceptions++
			}
		}
		p.APIs = append(p.APIs, x)
	}
	return p
}

// Providers lists the identity providers.
func (e *engine) Providers() []console.Provider {
	var out []console.Provider
	for _, s := range e.keys.Status() {
		out = append(out, console.Provider{Issuer: s.Issuer, Keys: len(s.Keys), Refreshed: s.Fetched, Failing: s.Error})
	}
	return out
}

var (
	_ guard.KeySource      = (*providers)(nil)
	_ authn.Stock          = (*providers)(nil)
	_ authn.Introspection  = (*providers)(nil)
	_ gateway.Introspector = (*providers)(nil)
)

var looseInspect = map[sallyport.Stage]sallyport.Mode{sallyport.StageInspect: sallyport.Observe}

// guardConsole compiles the program that guards our own management API with its
// own OpenAPI document.
func guardConsole(ctx context.Context, document []byte, l lasting) (*compiled, error) {
	set, err := spec.Load(ctx, []spec.Source{{Path: "console.openapi.json", Data: document}}, spec.Options{})
	if err != nil {
		return nil, err
	}
	own := guard.API{API: sallyport.API{Name: "console", Path: "/api/v1", Owner: sallyport.Owner{Team: "sallyport"}, Exposure: sallyport.Internal}, Spec: set,
		Policy: policy.API{Mode: sallyport.Enforce, Errors: policy.Errors{Mode: sallyport.Off} /* its errors are written here */, Shadow: policy.Refuse, Undocumented: policy.Refuse,
			Auth:   policy.Auth{Anonymous: policy.Always}, // sessions are the console's own affair
			Checks: map[sallyport.Stage]sallyport.Mode{sallyport.StageAuthenticate: sallyport.Off, sallyport.StageAuthorise: sallyport.Off},
			// A password may hold anything, and is hashed before anything else.
			Operations: []policy.OperationDemand{{Operation: "createSession", Checks: looseInspect}, {Operation: "takeInvitation", Checks: looseInspect}, {Operation: "setPassword", Checks: looseInspect},
				// An analyst may look for an attack by typing it.
				{Operation: "holdInstance", Checks: looseInspect}, {Operation: "releaseInstance", Checks: looseInspect}, {Operation: "testInstance", Checks: looseInspect}, {Operation: "reportVerdict", Checks: looseInspect}, {Operation: "listVerdicts", Checks: looseInspect}, {Operation: "startScan", Checks: looseInspect}, {Operation: "triggerGate", Checks: looseInspect}, // addresses of our own
				{Operation: "listDecisions", Checks: looseInspect}, {Operation: "watchDecisions", Checks: looseInspect}, {Operation: "listOperations", Checks: looseInspect}},
			Limits: []policy.Limit{{Rate: policy.Rate{Count: 1200, Window: time.Minute}, Per: policy.PerClient}}}}
	out := &compiled{config: &config{}, name: "console-" + thisBuild().Version, apis: []guard.API{own}}
	out.program, err = guard.Compile(guard.Config{Name: out.name, APIs: out.apis, Counters: l.counters, Tallies: l.tallies, Inspect: l.inspect})
	return out, err
}

// metrics adds /metrics (Prometheus) and /healthz to the console's address, for
// callers on loopback; everything else goes to next.
func (e *engine) metrics(next http.Handler) http.Handler {
	reg := prometheus.NewRegistry()
	gauge := func(name, help string, f func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sallyport_" + name, Help: help}, f))
	}
	counter := func(name, help string, f func() float64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "sallyport_" + name, Help: help}, f))
	}
	counts := func() float64 { return float64(e.recorder.Counters().Recorded) }
	counter("exchanges_recorded_total", "Exchanges handed to the recorder.", counts)
	counter("exchanges_acknowledged_total", "Exchanges that the event stream has acknowledged.", func() float64 { return float64(e.recorder.Counters().Acked) })
	counter("exchanges_lost_total", "Exchanges published and never acknowledged.", func() float64 { return float64(e.recorder.Counters().Lost) })
	counter("exchanges_dropped_total", "Exchanges dropped before they were published.", func() float64 {
		n := uint64(0)
		for _, v := range e.recorder.Counters().Dropped {
			n += v
		}
		return float64(n)
	})
	counter("originals_dropped_total", "Originals of replaced errors that were not kept.", func() float64 { return float64(e.sealer.Dropped()) })
	reg.MustRegister(grantMetrics{e.grants}, keyMetrics{e})
	gauge("exchanges_queued", "Exchanges waiting to be published.", func() float64 { return float64(e.recorder.Counters().Queued) })
	gauge("exchanges_at_risk_bound", "Most exchanges that can be lost when the process dies.", func() float64 { return float64(e.recorder.Counters().Bound) })
	gauge("instances_routable", "Instances that are admitted and healthy.", func() float64 {
		n := 0
		for _, i := range e.Instances() {
			if i.Admission == sallyport.Admitted && i.Healthy {
				n++
			}
		}
		return float64(n)
	})
	e.limitMetrics(gauge, counter)
	reg.MustRegister(incidentMetrics{e}, doorMetrics{e}, gateDoorMetrics{e})
	reg.MustRegister(&e.catalogue, e.scanGauges())
	reg.MustRegister(sourceMetrics{e})
	reg.MustRegister(&e.partners, clusterMetrics{e})
	e.learnedMetrics(gauge, counter)
	if e.gateway != nil {
		reg.MustRegister(e.gateway)
	}
	if e.egress != nil {
		prometheus.WrapRegistererWithPrefix("egress_", reg).MustRegister(e.egress)
	}
	prom := promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
	mux := http.NewServeMux()
	mux.Handle("/", next)
	mux.Handle("GET /metrics", localOnly(prom))
	mux.HandleFunc("GET /.well-known/sallyport/jwks.json", e.signer.keySet)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	return mux
}

func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host, _, err := net.SplitHostPort(r.RemoteAddr); err != nil || !loopback(host) {
			http.NotFound(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

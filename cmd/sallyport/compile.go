package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/guard/authn"
	"sallyport.dev/guard/inspect"
	"sallyport.dev/guard/limit"
	"sallyport.dev/guard/silent"
	"sallyport.dev/identity"
	"sallyport.dev/inventory"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

// A compiled configuration is what takes the place of the one in force, whole.
type compiled struct {
	*config
	program *guard.Program
	name    string // of the program
	apis    []guard.API
	pools   []gateway.API
	issuers []string
	opaque  []identity.Introspection
	grants  []identity.Grant
	out     *compiled // the door of calls that go out; nil: none

	specs     map[string]string // digest of each API's specification
	reporters *reporters        // of verdicts on images; nil: none
}

// lasting are the parts of the guard that outlive one program: counters go on
// and verified tokens stay known when a change is taken over.
type lasting struct {
	accepted *accepted // rules put in force at the console; nil: none
	keys     guard.KeySource
	counters guard.Counters
	tokens   *authn.Cache
	proofs   *authn.Proofs
	inspect  *inspect.Engine
	forecast *limit.Forecast
	tallies  *limit.Tallies
	grants   *identity.Grants
	signer   *signer // of tokens that name callers
	members  *memberBook
}

// compile loads the specifications and makes the program. Its error lists every
// mistake of all APIs; what was in force is untouched.
func compile(ctx context.Context, c *config, l lasting) (*compiled, error) {
	out := &compiled{config: c}
	m := &mistakes{File: c.file}
	var specs []string // mistakes of the specifications, with their own files
	c.checkCertificates(m)
	for i := range c.APIs {
		a := &c.APIs[i]
		api, errs := c.guarded(ctx, a, fmt.Sprintf("apis[%d]", i), m)
		specs = append(specs, errs...)
		out.apis = append(out.apis, api)
		p := pool(a)
		l.members.attach(a, &p)
		p.Onward = out.onward(a, fmt.Sprintf("apis[%d].credentials", i), l, m)
		p.Stored = stored(a, api)
		p.Sideload = sideload(a.Sideload, l.accepted.of(a.Name), api.Spec)
		out.pools = append(out.pools, p)
		for j, o := range a.Auth.OIDC {
			out.issuers = append(out.issuers, o.Issuer)
			if o.Introspection.Enabled() {
				out.asks(o, fmt.Sprintf("apis[%d].auth.oidc[%d].introspection", i, j), m)
			}
		}
	}
	var errs []string
	if out.out, errs = out.compileEgress(ctx, l, m); out.out != nil {
		specs = append(specs, errs...)
	}
	for _, r := range c.Verdicts.Reporters {
		if r.Issuer != "" {
			out.issuers = append(out.issuers, r.Issuer)
		}
	}
	slices.Sort(out.issuers)
	out.issuers = slices.Compact(out.issuers)
	if len(specs) > 0 || len(m.List) > 0 {
		all := specs
		if err := m.err(); err != nil {
			all = append([]string{err.Error()}, all...)
		}
		return nil, fmt.Errorf("%w", &refused{strings.Join(all, "\n")})
	}
	out.name = c.fingerprint(out.apis)
	var err error
	out.program, err = guard.Compile(guard.Config{Name: out.name, APIs: out.apis, Keys: l.keys, Counters: l.counters, Tokens: l.tokens, Proofs: l.proofs, Inspect: l.inspect, Forecast: l.forecast, Tallies: l.tallies})
	if err == nil && out.out != nil {
		err = out.out.startEgress(l)
	}
	if err == nil {
		out.specs = out.digests()
		err = out.compileReporters(l)
	}
	if err != nil {
		return nil, &refused{err.Error()}
	}
	return out, nil
}

// asks adds how an issuer is asked about opaque tokens: by all APIs in one way,
// so that its answers are shared.
func (c *compiled) asks(o policy.OIDC, path string, m *mistakes) {
	i := o.Introspection.WithDefaults()
	secret, err := c.secret(i.Secret)
	if err != nil {
		m.add(c.at(path+".secret"), "%s.secret: %v", path, err)
	}
	next := identity.Introspection{Issuer: o.Issuer, URL: i.URL, ClientID: i.ClientID, Secret: secret, Cache: i.Cache, Timeout: i.Timeout}
	at := slices.IndexFunc(c.opaque, func(x identity.Introspection) bool { return x.Issuer == o.Issuer })
	switch {
	case at < 0:
		c.opaque = append(c.opaque, next)
	case c.opaque[at] != next:
		m.add(c.at(path), "%s: another API asks %s in another way; use one client, URL and cache time", path, o.Issuer)
	}
}

// refused is a configuration that cannot be taken over, with every reason.
type refused struct{ reasons string }

func (r *refused) Error() string        { return r.reasons }
func (r *refused) Is(target error) bool { return target == errConfig }

// guarded is one API as the guard wants it.
func (c *config) guarded(ctx context.Context, a *apiConfig, path string, m *mistakes) (guard.API, []string) {
	api := guard.API{API: sallyport.API{Name: a.Name, Path: a.Match.Path, Owner: sallyport.Owner(a.Owner), Department: a.Department, Exposure: a.Exposure}, Policy: a.API}
	for _, h := range a.Match.Host {
		api.Hosts = append(api.Hosts, strings.ToLower(h))
	}
	var errs []string
	var known []sallyport.Operation
	if len(a.Spec) > 0 || a.GRPC.Reflection.URL != "" {
		var sources []spec.Source
		if a.GRPC.Reflection.URL != "" {
			s, err := c.reflected(ctx, a)
			if err != nil {
				p := path + ".grpc.reflection"
				m.add(c.at(p), "%s: %v", p, err)
				return api, errs
			}
			sources = append(sources, s)
		}
		for _, s := range a.Spec {
			sources = append(sources, spec.Source{Path: s})
		}
		set, err := spec.Load(ctx, sources, spec.Options{Imports: a.GRPC.Imports, Client: a.client})
		if err != nil {
			errs = append(errs, fmt.Sprintf("API %s: %v", a.Name, err))
			if found, ok := err.(*spec.Mistakes); ok {
				c.read = append(c.read, found.Files...)
			}
		} else {
			api.Spec = set
			c.read = append(c.read, set.Files()...)
			known = operations(a.Name, set)
		}
	}
	for i, file := range a.GraphQL.Documents {
		list, err := documents(c.path(file))
		if err != nil {
			p := fmt.Sprintf("%s.graphql.documents[%d]", path, i)
			m.add(c.at(p), "%s: %v", p, err)
		}
		api.Documents = append(api.Documents, list...)
	}
	if named := api.NamedOperations(); len(named) > 0 {
		known = append(known, named...)
	}
	for _, x := range slices.Concat(a.API.Check(known), guard.CheckRules(a.API, known)) {
		p := path + "." + x.Path
		m.add(c.at(p), "%s: %s", p, x.Text)
	}
	api.Policy.Auth.Signatures = c.signatureKeys(a.Auth.Signatures, path+".auth.signatures", m)
	if a.Auth.Pepper != "" {
		pepper, err := c.secret(a.Auth.Pepper)
		if err != nil {
			m.add(c.at(path+".auth.key_pepper"), "%s.auth.key_pepper: %v", path, err)
		}
		api.Policy.Auth.Pepper = pepper
	}
	return api, errs
}

func operations(api string, set *spec.Set) []sallyport.Operation {
	var out []sallyport.Operation
	for _, o := range set.Operations() {
		out = append(out, sallyport.Operation{API: api, Method: o.Method, Template: o.Template, Name: o.ID, Declared: true})
	}
	return out
}

// documents reads GraphQL documents: a file of one, or a JSON object that maps
// the SHA-256 of each to its text.
func documents(file string) ([]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if filepath.Ext(file) != ".json" {
		return []string{string(b)}, nil
	}
	texts := map[string]string{}
	if err := json.Unmarshal(b, &texts); err != nil {
		return nil, fmt.Errorf("want a JSON object that maps hashes to documents: %w", err)
	}
	var out []string
	for hash, text := range texts {
		if sum := sha256.Sum256([]byte(text)); !strings.EqualFold(strings.TrimPrefix(hash, "sha256:"), hex.EncodeToString(sum[:])) {
			return nil, fmt.Errorf("%.16s… is not the SHA-256 of its document", hash)
		}
		out = append(out, text)
	}
	return out, nil
}

func pool(a *apiConfig) gateway.API {
	p := gateway.API{Name: a.Name, Health: gateway.Health{Path: a.Health.Path, Interval: a.Health.Interval, Timeout: a.Health.Timeout,
		Failures: a.Health.Failures, Recovered: a.Health.Recovered, SlowStart: a.Health.SlowStart,
		MaxEjected: float64(a.Health.MaxEjected), SpillBelow: float64(a.Health.SpillBelow)}, Load: regulated(a.Loaded())}
	for _, u := range a.Upstreams {
		p.Upstreams = append(p.Upstreams, gateway.Upstream{URL: u.URL, DNS: u.DNS, Scheme: u.Scheme, Refresh: u.Refresh, Protocol: u.Protocol,
			Host: u.Host, CA: cmp.Or(u.TLS.CA, u.CA), Name: cmp.Or(u.TLS.Name, u.Name), MaxConns: u.MaxConns, Standby: u.Standby,
			Cert: u.TLS.Cert, Key: u.TLS.Key, MinTLS: u.TLS.Version(), Pins: pins(u.TLS.Pins)})
	}
	p.Gated, p.Boot = a.gated(), a.boot()
	return p
}

// stored is of what answers kept for an API are, besides its upstreams: of its
// specification and of the rules of the cache; "" where nothing is kept.
func stored(a *apiConfig, api guard.API) string {
	on := a.Cache.Mode == policy.On
	h := sha256.New()
	enc := json.NewEncoder(h)
	_ = enc.Encode(a.Cache)
	for _, o := range a.Operations {
		on = on || o.Cache.Mode == policy.On
		_ = enc.Encode(o.Operation)
		_ = enc.Encode(o.Cache)
	}
	if !on {
		return ""
	}
	if api.Spec != nil {
		for _, file := range api.Spec.Files() {
			if b, err := os.ReadFile(file); err == nil {
				h.Write(b)
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// fingerprint names a program: twelve digits that change when the configuration
// or an operation of a specification does.
func (c *config) fingerprint(apis []guard.API) string {
	h := sha256.New()
	if b, err := os.ReadFile(c.file); err == nil {
		h.Write(b)
	}
	for _, s := range c.sources()[1:] {
		if b, err := os.ReadFile(s); err == nil {
			h.Write(b)
		}
	}
	for i := range c.APIs {
		if a := &c.APIs[i]; a.GRPC.Reflection.URL != "" {
			if b, err := os.ReadFile(c.reflectedFile(a)); err == nil {
				h.Write(b)
			}
		}
	}
	if c.Egress != nil {
		for i := range c.Egress.Destinations {
			if docs := c.Egress.Destinations[i].docs(c.Data); docs != nil {
				for _, d := range docs.all() {
					h.Write(d.Body)
				}
			}
		}
	}
	for _, a := range apis {
		for _, o := range a.NamedOperations() {
			fmt.Fprintln(h, a.Name, o.Key())
		}
		for _, d := range a.Documents {
			fmt.Fprintln(h, d)
		}
		if a.Spec == nil {
			continue
		}
		for _, o := range a.Spec.Operations() {
			fmt.Fprintln(h, a.Name, o.Method, o.Template)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

type checkCmd struct {
	File string `arg:"" optional:"" default:"sallyport.yaml" help:"Configuration file."`
}

// Run checks all that can be checked without starting anything.
func (k checkCmd) Run(ctx context.Context, s streams) error {
	c, wrong := readConfig(k.File)
	if c == nil {
		return wrong
	}
	out, err := compile(ctx, c, lasting{keys: &providers{}})
	switch {
	case wrong != nil && err != nil:
		return &refused{wrong.Error() + "\n" + err.Error()}
	case wrong != nil:
		return wrong
	case err != nil:
		return err
	}
	fmt.Fprintf(s.out, "%s: good, %d APIs\n", k.File, len(out.everyAPI()))
	for _, n := range out.notices() {
		fmt.Fprintf(s.out, "  note: %s: %s\n", n.Where, n.Text)
	}
	for _, a := range out.everyAPI() {
		n := 0
		if a.Spec != nil {
			n = len(a.Spec.Operations())
		}
		n += len(a.NamedOperations())
		fmt.Fprintf(s.out, "  %-24s %4d operations declared, mode %s\n", a.Name, n, orObserve(a.Policy))
		if a.Spec != nil && a.Spec.Proto() != nil {
			for _, m := range a.Spec.Proto().Methods {
				fmt.Fprintf(s.out, "    POST %-44s %s\n", m.Path, m.Kind())
			}
		}
		for _, x := range a.Policy.Exceptions {
			if odd := strangeRule(x.Rule); odd != "" {
				fmt.Fprintf(s.out, "    note: exception %s spares nothing: %s\n", x.ID, odd)
			}
			if x.Expires.Before(time.Now()) {
				fmt.Fprintf(s.out, "    note: exception %s ended on %s and spares nothing any more\n", x.ID, x.Expires.Format(time.DateOnly))
			}
		}
		for subject, n := range liveKeys(a.Policy.Auth.Keys, time.Now()) {
			if n > 2 {
				fmt.Fprintf(s.out, "    note: %s has %d keys that hold at once; two are enough for a rotation\n", subject, n)
			}
		}
		for _, key := range a.Policy.Auth.Keys {
			if !key.Expires.IsZero() && key.Expires.Before(time.Now().Add(keySoon)) {
				fmt.Fprintf(s.out, "    note: API key %s ends, or has ended, on %s\n", key.ID, key.Expires.Format(time.DateOnly))
			}
		}
		if a.Spec != nil {
			for _, note := range a.Spec.Notes() {
				fmt.Fprintf(s.out, "    note: %s\n", note)
			}
			for _, op := range signIns(a) {
				fmt.Fprintf(s.out, "    note: %s looks like a sign-in; with `operations: [{operation: %q, login: true}]` its failures are answered alike\n", op, op)
			}
		}
	}
	return nil
}

// signIns are the operations that look as if people signed in at them, and of
// which the policy does not say so.
func signIns(a guard.API) []string {
	var out []string
	for _, o := range a.Spec.Operations() {
		var fields []string
		for _, p := range o.Outline().Places {
			if p.Place.In == sallyport.InBody && !p.Response {
				fields = append(fields, p.Place.Name)
			}
		}
		op := sallyport.Operation{API: a.Name, Method: o.Method, Template: o.Template, Name: o.ID, Declared: true}
		if silent.LooksLikeLogin(o.Method, o.Template, fields) && !a.Policy.For(op).Login {
			out = append(out, op.Key())
		}
	}
	return out
}

func orObserve(p policy.API) sallyport.Mode {
	if p.Mode == "" {
		return sallyport.Observe
	}
	return p.Mode
}

// contracts is what the specification declares, as the inventory compares it
// with what is observed.
func contracts(a *guard.API) []inventory.Contract {
	api := a.Name
	var out []inventory.Contract
	if w := a.Spec.SOAP(); w != nil {
		for _, o := range w.Operations() {
			out = append(out, inventory.Contract{Operation: sallyport.Operation{API: api, Method: policy.VerbSOAP, Template: o.Name, Declared: true}})
		}
	}
	if g := a.Spec.GraphQL(); g != nil {
		for _, r := range g.Roots() {
			out = append(out, inventory.Contract{Operation: sallyport.Operation{API: api, Method: r.Kind, Template: r.Name, Declared: true},
				Summary: r.Summary, Deprecated: r.Deprecated})
		}
	}
	for _, o := range a.Spec.Operations() {
		x := o.Outline()
		if o.Channel() != nil {
			for _, verb := range []string{guard.VerbReceive, guard.VerbSend, guard.VerbConnection} {
				out = append(out, inventory.Contract{Operation: sallyport.Operation{API: api, Method: verb, Template: o.Template, Declared: true}, Summary: o.Summary})
			}
		}
		c := inventory.Contract{Operation: sallyport.Operation{API: api, Method: o.Method, Template: o.Template, Name: o.ID, Declared: true},
			Summary: o.Summary, Deprecated: o.Deprecated, Security: x.Schemes, Statuses: x.Statuses}
		for _, p := range x.Places {
			c.Places = append(c.Places, inventory.DeclaredPlace(p))
		}
		out = append(out, c)
	}
	return out
}

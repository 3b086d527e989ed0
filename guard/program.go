package guard

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard/authn"
	"sallyport.dev/guard/inspect"
	"sallyport.dev/guard/limit"
	"sallyport.dev/guard/silent"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

// stage is a sallyport.Stage as an index.
type stage uint8

const (
	identify stage = iota
	limiting
	authenticate
	authorise
	validate
	inspecting
	rewriting // last: its mode does not stand among the checks of a policy
	stages
)

var stageNames = [stages]sallyport.Stage{sallyport.StageIdentify, sallyport.StageLimit, sallyport.StageAuthenticate,
	sallyport.StageAuthorise, sallyport.StageValidate, sallyport.StageInspect, sallyport.StageRewrite}

// A Program is everything that was configured, compiled. It is immutable and
// safe for concurrent use.
type Program struct {
	name     string
	counters Counters
	engine   *inspect.Engine
	clean    *memo
	proofs   *authn.Proofs
	forecast *limit.Forecast
	tallies  *limit.Tallies
	alone    func() bool // counters that others share cannot be asked; nil: nobody shares them
	apis     []*api      // as configured

	exact  map[string][]*api // by host, longest path first
	suffix []suffixed        // "*.example.test", longest first
	any    []*api            // for any host, longest path first

	sessions sync.Pool
}

type suffixed struct {
	suffix string // ".example.test"
	apis   []*api
}

// api is one compiled API.
type api struct {
	api    sallyport.API
	spec   *spec.Set
	auth   *authn.Verifier // nil: nobody is asked
	keyIn  policy.KeyIn
	bounds policy.Bounds

	files  policy.Files
	grpc   policy.GRPC
	opaque map[string]bool // fields of type bytes that are no text

	failures     limit.Limit // of credentials, per client
	failuresName string

	shadow, undocumented policy.Shadow
	answers              sallyport.Mode
	ws                   policy.WebSocket
	wsStated             bool

	entries    []*entry
	operations map[*spec.Operation]*operation
	ordered    []*operation // the same, in the order of the specification
	unknown    *operation   // what holds where no operation is declared
	headers    policy.LimitHeaders

	stores bool // answers of some operation

	unauthenticated, invalidCredential *Refusal
	invalidProof, noNonce              *Refusal
	asksCertificate                    bool
}

// operation is what is demanded of one operation.
type operation struct {
	spec       *spec.Operation // nil where none is declared
	op         sallyport.Operation
	modes      [stages]sallyport.Mode
	anonymous  bool // let through without a credential
	needs      []need
	scopes     []string // demanded by policy besides
	acr        []string // one of which the credential must show
	maxAge     time.Duration
	forbidden  *Refusal
	stepUp     *Refusal
	ofHead     []predicate // rules that need the head only
	ofBody     []predicate // and those that look at the body
	perClient  []counter
	perOther   []counter
	headers    policy.LimitHeaders
	price      int64 // of one answered request, in millionths
	exceptions []policy.Exception
	unseen     []string // what is never looked at; shared
	errors     policy.Errors
	login      bool          // people sign in here
	loginLike  bool          // or it looks as if they did
	answer     *answerRules  // nil: answers have a mode and no more
	cache      *policy.Cache // nil: none of its answers is stored
}

// need is one alternative of a specification's security requirement.
type need struct {
	nothing bool // no credential at all
	scopes  []string
}

func mistake(format string, args ...any) error { return fmt.Errorf(format, args...) }

// Mistakes is everything that is wrong in a Config.
type Mistakes []error

func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i, e := range m {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the mistakes to errors.Is and errors.As.
func (m Mistakes) Unwrap() []error { return m }

// Compile checks and compiles the whole configuration. When anything is wrong
// the error is a Mistakes with all of it, and there is no program.
func Compile(c Config) (*Program, error) {
	var m Mistakes
	p := &Program{name: c.Name, counters: c.Counters, engine: c.Inspect, clean: &memo{seed: maphash.MakeSeed()}, exact: map[string][]*api{}}
	if p.counters == nil {
		p.counters = limit.NewMemory(0)
	}
	if c.Tokens == nil {
		c.Tokens = authn.NewCache(0)
	}
	if c.Proofs == nil {
		c.Proofs = authn.NewProofs(nil)
	}
	p.proofs = c.Proofs
	if p.forecast = c.Forecast; p.forecast == nil {
		p.forecast = limit.NewForecast(0)
	}
	if p.tallies = c.Tallies; p.tallies == nil {
		p.tallies = new(limit.Tallies)
	}
	if shared, ok := p.counters.(interface{ Alone() bool }); ok {
		p.alone = shared.Alone
	}
	names, places := map[string]bool{}, map[string]string{}
	for i := range c.APIs {
		a := &c.APIs[i]
		if a.Name == "" {
			m = append(m, fmt.Errorf("apis[%d]: no name", i))
		}
		if names[a.Name] {
			m = append(m, fmt.Errorf("api %s: the name stands twice", a.Name))
		}
		names[a.Name] = true
		compiled, wrong := compileAPI(a, c, p.engine != nil)
		m = append(m, wrong...)
		p.apis = append(p.apis, compiled)
		for _, host := range orAny(a.Hosts) {
			place := strings.ToLower(host) + compiled.api.Path
			if other, taken := places[place]; taken {
				m = append(m, fmt.Errorf("api %s: host %q with path %q belongs to api %s already", a.Name, host, compiled.api.Path, other))
			}
			places[place] = a.Name
			if err := p.place(host, compiled); err != nil {
				m = append(m, fmt.Errorf("api %s: %w", a.Name, err))
			}
		}
	}
	if len(m) > 0 {
		return nil, m
	}
	for _, list := range p.exact {
		longestFirst(list)
	}
	for _, s := range p.suffix {
		longestFirst(s.apis)
	}
	longestFirst(p.any)
	slices.SortStableFunc(p.suffix, func(a, b suffixed) int { return len(b.suffix) - len(a.suffix) })
	p.sessions.New = func() any { return new(Session) }
	return p, nil
}

// Name is the program's name, as decisions give it.
func (p *Program) Name() string { return p.name }

func orAny(hosts []string) []string {
	if len(hosts) == 0 {
		return []string{""}
	}
	return hosts
}

func longestFirst(list []*api) {
	slices.SortStableFunc(list, func(a, b *api) int { return len(b.api.Path) - len(a.api.Path) })
}

// place files an API under a host: a name, "*.name", or "" and "*" for any.
func (p *Program) place(host string, a *api) error {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	switch {
	case host == "" || host == "*":
		p.any = append(p.any, a)
	case strings.HasPrefix(host, "*."):
		if strings.Contains(host[1:], "*") || len(host) < 4 {
			return fmt.Errorf("host %q: want a name, or *. and a name", host)
		}
		i := slices.IndexFunc(p.suffix, func(s suffixed) bool { return s.suffix == host[1:] })
		if i < 0 {
			p.suffix = append(p.suffix, suffixed{suffix: host[1:]})
			i = len(p.suffix) - 1
		}
		p.suffix[i].apis = append(p.suffix[i].apis, a)
	case strings.ContainsAny(host, "*/ \t"):
		return fmt.Errorf("host %q: want a name, or *. and a name", host)
	default:
		p.exact[host] = append(p.exact[host], a)
	}
	return nil
}

func compileAPI(a *API, c Config, inspected bool) (*api, Mistakes) {
	var m Mistakes
	known := []sallyport.Operation{} // without a specification no operation can be named
	if a.Spec != nil {
		for _, o := range a.Spec.Operations() {
			known = append(known, nameOf(a.Name, o))
		}
	}
	entries := a.NamedOperations()
	for _, wrong := range slices.Concat(a.Policy.Check(append(slices.Clip(known), entries...)), CheckRules(a.Policy, append(slices.Clip(known), entries...))) {
		m = append(m, fmt.Errorf("api %s: %w", a.Name, wrong))
	}
	out := &api{
		api: a.API, spec: a.Spec, keyIn: a.Policy.Auth.KeyIn.WithDefaults(), bounds: a.Policy.Bounds.WithDefaults(),
		files: a.Policy.Files, headers: a.Policy.LimitHeaders,
		shadow: a.Policy.Shadow, undocumented: a.Policy.Undocumented, answers: a.Policy.Answers.Mode, ws: a.Policy.WebSocket.WithDefaults(), wsStated: a.Policy.WebSocket.Stated(),
		grpc:         a.Policy.GRPC.WithDefaults(),
		failures:     limit.Limit{Count: 20, Window: time.Minute},
		failuresName: a.Name + " auth.failures",
		operations:   map[*spec.Operation]*operation{},
	}
	m = append(m, out.opaqueFields(a)...)
	out.api.Path = strings.TrimRight(a.Path, "/")
	if out.api.Path != "" && !strings.HasPrefix(out.api.Path, "/") {
		m = append(m, fmt.Errorf("api %s: path %q does not begin with a slash", a.Name, a.Path))
	}
	if out.answers == "" {
		out.answers = sallyport.Observe
	}
	if f := a.Policy.Auth.Failures; f.Count > 0 {
		out.failures = limit.Limit{Count: f.Count, Window: f.Window}
	}
	if a.Policy.Auth.Enabled() && len(m) == 0 {
		v, err := authn.New(a.Policy.Auth, c.Keys, c.Tokens, c.Proofs)
		if err != nil {
			m = append(m, fmt.Errorf("api %s: auth: %w", a.Name, err))
		}
		out.auth = v
	}
	out.challenges(a.Policy.Auth)
	out.asksCertificate = a.Policy.Auth.AsksCertificate()
	out.unknown = out.compile(nil, sallyport.Operation{API: a.Name}, a.Policy, inspected)
	if a.Spec != nil {
		for i, o := range a.Spec.Operations() {
			out.operations[o] = out.compile(o, known[i], a.Policy, inspected)
			out.ordered = append(out.ordered, out.operations[o])
		}
	}
	m = append(m, sensitiveWords(a, known)...)
	out.stores = out.cachesAny()
	m = append(m, out.enter(a, inspected)...)
	return out, m
}

func nameOf(api string, o *spec.Operation) sallyport.Operation {
	return sallyport.Operation{API: api, Method: o.Method, Template: o.Template, Name: o.ID, Declared: true}
}

// challenges prepares the answers to missing and to bad credentials (RFC 6750, section 3).
func (a *api) challenges(auth policy.Auth) {
	realm := ` realm="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(a.api.Name) + `"`
	dpop := "DPoP" + realm + `, algs="` + strings.Join(auth.DPoP.WithDefaults().Algorithms, " ") + `"`
	var ways []string
	switch {
	case len(auth.OIDC) > 0:
		if auth.Binding != policy.ByDPoP {
			ways = append(ways, "Bearer"+realm)
		}
		if auth.Binding == policy.ByDPoP || auth.Binding == policy.ByAny || auth.DPoP.Stated() {
			ways = append(ways, dpop)
		}
	case len(auth.Keys) == 0 && len(auth.Certificates) == 0 && len(auth.Signatures) > 0:
		ways = append(ways, "Signature"+realm)
	case len(auth.Keys) > 0 || len(auth.Certificates) == 0:
		ways = append(ways, "ApiKey"+realm)
	default:
		ways = append(ways, "Certificate"+realm)
	}
	a.unauthenticated = unauthenticated(ways, "")
	a.invalidCredential = a.unauthenticated
	if len(auth.OIDC) > 0 {
		a.invalidCredential = unauthenticated(ways, "invalid_token")
	}
	a.invalidProof = unauthenticated([]string{dpop}, "invalid_dpop_proof")
	a.noNonce = unauthenticated([]string{dpop}, "use_dpop_nonce")
}

// unauthenticated is a 401 that names the ways to authenticate.
func unauthenticated(ways []string, problem string) *Refusal {
	r := &Refusal{Kind: KindUnauthenticated, Action: sallyport.ActionRefuse, Stage: sallyport.StageAuthenticate}
	if problem != "" {
		problem = `, error="` + problem + `"`
	}
	for _, way := range ways {
		r.Header = append(r.Header, [2]string{"Www-Authenticate", way + problem})
	}
	return r
}

// compile puts together what holds for one operation; o is nil for those that
// no specification declares.
func (a *api) compile(o *spec.Operation, op sallyport.Operation, p policy.API, inspected bool) *operation {
	d := p.For(op)
	out := &operation{spec: o, op: op, scopes: d.Scopes, acr: d.ACR, maxAge: d.MaxAge, exceptions: d.Exceptions, anonymous: a.auth == nil || d.Anonymous == policy.Always}
	out.errors, out.login = d.Errors, d.Login
	out.answer = a.answerRules(o, p.Answers, d.Sensitive)
	out.cache = cacheOf(o, d.Cache)
	out.loginLike = d.Login || signsIn(o, op)
	d.Modes[sallyport.StageRewrite] = d.Errors.Mode
	for i, name := range stageNames {
		out.modes[i] = d.Modes[name]
		if d.Modes[name] == sallyport.Off {
			out.unseen = append(out.unseen, string(name)+": switched off")
		}
	}
	if !inspected && d.Modes[sallyport.StageInspect] != sallyport.Off {
		out.modes[inspecting] = sallyport.Off
		out.unseen = append(out.unseen, "inspect: there is no engine")
	}
	demanded := false
	if o != nil {
		for _, alternative := range o.Security {
			n := need{nothing: len(alternative) == 0}
			for _, scopes := range alternative {
				for _, s := range scopes {
					if !slices.Contains(n.scopes, s) {
						n.scopes = append(n.scopes, s)
					}
				}
			}
			demanded = demanded || !n.nothing
			out.needs = append(out.needs, n)
		}
		free := o.Security != nil && (len(o.Security) == 0 || slices.ContainsFunc(out.needs, func(n need) bool { return n.nothing }))
		out.anonymous = out.anonymous || free && d.Anonymous == policy.ByContract && len(d.Scopes) == 0 && !out.steps()
	}
	out.rules(d.Rules)
	if a.auth == nil && demanded {
		out.unseen = append(out.unseen, "credentials: the specification asks for them, and no issuer or key is configured")
	}
	if a.spec == nil {
		out.unseen = append(out.unseen, "schema: the API has no specification")
	}
	out.unseen = slices.Clip(out.unseen)
	a.limits(out, op, d)
	out.forbidden = forbid(a, out)
	if out.steps() {
		out.stepUp = stepUp(a, out)
	}
	return out
}

// steps reports whether the operation asks how or when the user authenticated.
func (o *operation) steps() bool { return len(o.acr) > 0 || o.maxAge > 0 }

// stepUp prepares the answer to a token whose user has not authenticated well
// or lately enough (RFC 9470, section 3).
func stepUp(a *api, o *operation) *Refusal {
	r := &Refusal{Kind: KindUnauthenticated, Action: sallyport.ActionRefuse, Stage: sallyport.StageAuthorise}
	params := `, error="insufficient_user_authentication"`
	if len(o.acr) > 0 {
		params += `, acr_values="` + strings.Join(o.acr, " ") + `"`
	}
	if o.maxAge > 0 {
		params += fmt.Sprintf(`, max_age="%d"`, int64(o.maxAge/time.Second))
	}
	for _, h := range a.unauthenticated.Header {
		r.Header = append(r.Header, [2]string{h[0], h[1] + params})
	}
	return r
}

// signsIn reports whether an operation looks as if people signed in at it.
func signsIn(o *spec.Operation, op sallyport.Operation) bool {
	if o == nil || !silent.LooksLikeLogin(op.Method, op.Template, []string{"/password"}) {
		return false // whatever is in its body
	}
	var fields []string
	for _, p := range o.Outline().Places {
		if p.Place.In == sallyport.InBody && !p.Response {
			fields = append(fields, p.Place.Name)
		}
	}
	return silent.LooksLikeLogin(op.Method, op.Template, fields)
}

// forbid prepares the answer to a credential that does not suffice (RFC 6750,
// section 3.1). The scopes it names are the contract's, known to every caller.
func forbid(a *api, o *operation) *Refusal {
	r := &Refusal{Kind: KindForbidden, Action: sallyport.ActionRefuse, Stage: sallyport.StageAuthorise}
	if a.auth == nil || !a.auth.Tokens() {
		return r
	}
	value := a.unauthenticated.Header[0][1] + `, error="insufficient_scope"`
	var scopes []string
	for _, n := range o.needs {
		if len(n.scopes) > 0 {
			scopes = append(scopes, n.scopes...)
			break
		}
	}
	if scopes = append(scopes, o.scopes...); len(scopes) > 0 {
		value += `, scope="` + strings.Join(scopes, " ") + `"`
	}
	r.Header = [][2]string{{"Www-Authenticate", value}}
	return r
}

// find gives the API that serves host and path. The host is compared without
// case and port, the path by whole segments, as its percent-encoding means it.
func (p *Program) find(host, path string) *api {
	host = canonicalHost(host)
	path = canonicalPath(path)
	if a := under(p.exact[host], path); a != nil {
		return a
	}
	for i := range p.suffix {
		if s := &p.suffix[i]; len(host) > len(s.suffix) && strings.HasSuffix(host, s.suffix) {
			if a := under(s.apis, path); a != nil {
				return a
			}
		}
	}
	return under(p.any, path)
}

func under(list []*api, path string) *api {
	for _, a := range list {
		prefix := a.api.Path
		if strings.HasPrefix(path, prefix) && (len(path) == len(prefix) || path[len(prefix)] == '/') {
			return a
		}
	}
	return nil
}

// Serves is the name of the API that a request to host and path belongs to; ""
// when there is none.
func (p *Program) Serves(host, path string) string {
	if a := p.find(host, path); a != nil {
		return a.api.Name
	}
	return ""
}

// AsksCertificate reports whether a door is to ask clients for a certificate
// that come for the given host; "" stands for a client that names none.
func (p *Program) AsksCertificate(host string) bool {
	asks := func(list []*api) bool {
		return slices.ContainsFunc(list, func(a *api) bool { return a.asksCertificate })
	}
	host = canonicalHost(host)
	if asks(p.exact[host]) || asks(p.any) {
		return true
	}
	for i := range p.suffix {
		if s := &p.suffix[i]; (host == "" || len(host) > len(s.suffix) && strings.HasSuffix(host, s.suffix)) && asks(s.apis) {
			return true
		}
	}
	if host == "" {
		for _, list := range p.exact {
			if asks(list) {
				return true
			}
		}
	}
	return false
}

// canonicalHost is host in lower case, without port and trailing dot.
func canonicalHost(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i:], ']') < 0 {
		host = host[:i]
	}
	host = strings.TrimSuffix(host, ".")
	for i := range len(host) {
		if c := host[i]; c >= 'A' && c <= 'Z' {
			return strings.ToLower(host)
		}
	}
	return host
}

// canonicalPath decodes the escapes of unreserved characters, which mean the
// same escaped or not (RFC 3986, section 6.2.2.2).
func canonicalPath(path string) string {
	if strings.IndexByte(path, '%') < 0 {
		return path
	}
	out := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			hi, lo := unhex(path[i+1]), unhex(path[i+2])
			if c := byte(hi<<4 | lo); hi >= 0 && lo >= 0 && unreserved(c) {
				out = append(out, c)
				i += 2
				continue
			}
		}
		out = append(out, path[i])
	}
	return string(out)
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

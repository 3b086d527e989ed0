package guard

import (
	"slices"
	"strings"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard/authn"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
	"sallyport.dev/spec/graphql"
)

// An entry is a path behind which the body says what is asked: its operations
// are known only once the body has been read.
type entry struct {
	path    string
	op      *operation            // what holds until then
	ops     map[string]*operation // by key: "query user", "rpc tools/call/search"
	ordered []*operation          // the same, in order
	graph   *graph                // nil: none
	rpc     *rpc
	soap    *spec.SOAP
	headers spec.SOAPHeaders
	at      string // path of the service, as the WSDL writes it
}

// graph is what a GraphQL entry needs.
type graph struct {
	schema        *graphql.Schema
	bounds        graphql.Bounds
	cache         *graphql.Cache
	trusted       *graphql.Cache // with persisted: only
	persisted     policy.Persisted
	introspection bool
	upgrade       bool
	talks         bool // what is said over WebSocket is judged
	batch         int
}

type rpc struct {
	batch int
	named bool // methods are listed
}

// What the caches of documents keep for an API at most, twice.
const (
	keptDocuments = 1024
	keptText      = 4 << 20
)

// NamedOperations are those that a body names, as policies mean them: the root
// fields of a GraphQL schema and the methods of JSON-RPC.
func (a *API) NamedOperations() []sallyport.Operation {
	var out []sallyport.Operation
	if a.Spec != nil && a.Spec.GraphQL() != nil {
		for _, r := range a.Spec.GraphQL().Roots() {
			out = append(out, sallyport.Operation{API: a.Name, Method: r.Kind, Template: r.Name, Declared: true})
		}
	}
	if a.Spec != nil && a.Spec.SOAP() != nil {
		for _, o := range a.Spec.SOAP().Operations() {
			out = append(out, sallyport.Operation{API: a.Name, Method: policy.VerbSOAP, Template: o.Name, Declared: true})
		}
	}
	if a.Policy.JSONRPC.Path != "" {
		for _, name := range a.Policy.JSONRPC.Methods {
			out = append(out, sallyport.Operation{API: a.Name, Method: policy.VerbRPC, Template: name, Declared: true})
		}
	}
	return out
}

// enter compiles the entries of an API.
func (a *api) enter(c *API, inspected bool) (m Mistakes) {
	named := c.NamedOperations()
	make := func(path string, verbs ...string) *entry {
		e := &entry{path: foldPath(path), ops: map[string]*operation{}}
		e.op = a.compile(nil, sallyport.Operation{API: c.Name, Template: path, Declared: true}, c.Policy, inspected)
		e.op.keep(func(n *counter) bool { return n.per != policy.PerOperation || n.own })
		for _, op := range named {
			if !slices.Contains(verbs, op.Method) {
				continue
			}
			o := a.compile(nil, op, c.Policy, inspected)
			o.keep(func(n *counter) bool { return n.own || n.per == policy.PerOperation })
			for i := range o.perClient {
				o.perClient[i].named = true
			}
			for i := range o.perOther {
				o.perOther[i].named = true
			}
			e.ops[op.Key()] = o
			e.ordered = append(e.ordered, o)
			e.op.anonymous = e.op.anonymous || o.anonymous
		}
		a.entries = append(a.entries, e)
		return e
	}
	if c.Spec != nil && c.Spec.SOAP() != nil {
		for _, path := range c.Spec.SOAP().Paths() {
			e := make(path, policy.VerbSOAP)
			e.soap, e.at = c.Spec.SOAP(), path
			e.headers = spec.SOAPHeaders{Pass: c.Policy.SOAP.MustUnderstand == policy.PassIt, Understood: c.Policy.SOAP.Headers}
		}
	} else if c.Policy.SOAP.MustUnderstand != "" || len(c.Policy.SOAP.Headers) > 0 {
		m = append(m, mistake("api %s: soap is set, and spec holds no WSDL document", c.Name))
	}
	if c.Spec != nil && c.Spec.GraphQL() != nil {
		g := c.Policy.GraphQL
		e := make(or(g.Path, "/graphql"), "query", "mutation", "subscription")
		e.graph = &graph{schema: c.Spec.GraphQL(), persisted: g.Persisted, batch: max(g.Batch, 1), upgrade: g.Upgrade == policy.PassIt || g.Upgrade == policy.CheckIt, talks: g.Upgrade == policy.CheckIt,
			introspection: g.Introspection == policy.Record || g.Introspection == "" && c.Exposure == sallyport.Internal,
			cache:         &graphql.Cache{Documents: keptDocuments, Bytes: keptText},
			bounds: graphql.Bounds{Bytes: g.Bytes, Tokens: g.Tokens, Depth: g.Depth, Breadth: g.Breadth, Fields: g.Fields, Aliases: g.Aliases,
				Roots: g.Roots, Directives: g.Directives, Cost: g.Cost, List: g.List}.WithDefaults()}
		if g.Persisted == policy.PersistedOnly {
			e.graph.trusted = &graphql.Cache{Documents: 1 << 30, Bytes: 1 << 40}
			for _, text := range c.Documents {
				d, problems := e.graph.schema.Parse(text, e.graph.bounds)
				for _, p := range problems {
					m = append(m, mistake("api %s: a document of graphql.documents breaks %s: %s", c.Name, p.Rule, p.Detail))
				}
				if d != nil {
					e.graph.trusted.Keep(d)
				}
			}
		}
	} else if c.Policy.GraphQL.Path != "" {
		m = append(m, mistake("api %s: graphql.path is set, and spec holds no GraphQL schema (.graphql, .graphqls or an introspection result)", c.Name))
	}
	if r := c.Policy.JSONRPC; r.Path != "" {
		e := make(r.Path, policy.VerbRPC)
		e.rpc = &rpc{batch: max(r.Batch, 1), named: len(r.Methods) > 0}
	}
	return m
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// keep keeps the counters that f wants.
func (o *operation) keep(f func(*counter) bool) {
	drop := func(c counter) bool { return !f(&c) }
	o.perClient, o.perOther = slices.DeleteFunc(o.perClient, drop), slices.DeleteFunc(o.perOther, drop)
}

// at gives the entry that a path leads to. Spellings of its path that an
// upstream may take for the same lead there too.
func (a *api) at(path string) *entry {
	if len(a.entries) == 0 {
		return nil
	}
	path = foldPath(canonicalPath(path))
	for _, e := range a.entries {
		if e.path == path {
			return e
		}
	}
	return nil
}

// foldPath is a path in lower case, without parameters, empty and dot segments.
func foldPath(path string) string {
	plain := true
	for i := range len(path) {
		c := path[i]
		if c >= 'A' && c <= 'Z' || c == ';' || c == '.' || c == '/' && (i+1 == len(path) || path[i+1] == '/') {
			plain = false
			break
		}
	}
	if plain {
		return path
	}
	var b strings.Builder
	for part := range strings.SplitSeq(path, "/") {
		part, _, _ = strings.Cut(part, ";")
		if part != "" && part != "." {
			b.WriteByte('/')
			b.WriteString(strings.ToLower(part))
		}
	}
	return b.String()
}

// name adds an operation that the body asks for.
func (s *Session) name(op *operation) {
	if !slices.Contains(s.inner, op) && len(s.inner) < maxInner {
		s.inner = append(s.inner, op)
	}
}

// maxInner bounds the operations that one request asks for.
const maxInner = 256

// strictest makes the operation whose mode of a stage is the strictest the one
// that findings of the stage are judged by.
func (s *Session) strictest(st stage) {
	for _, op := range s.inner {
		s.op = op
		if op.modes[st] == sallyport.Enforce {
			return
		}
	}
	for _, op := range s.inner {
		if s.op = op; op.modes[st] == sallyport.Observe {
			return
		}
	}
}

// admit asks of each operation named what is asked of operations: who may call
// it, and how often.
func (s *Session) admit(now time.Time) {
	for _, op := range s.inner {
		s.op = op
		if s.api.auth != nil && s.on(authenticate) && s.id == nil && !op.anonymous {
			s.unproven(authn.RuleMissing)
		}
		if s.refusal == nil && s.api.auth != nil && s.on(authenticate) && s.on(authorise) {
			s.authorise(now)
		}
		if s.refusal == nil {
			s.judge(op.ofHead, now)
			s.judge(op.ofBody, now)
		}
		if s.refusal == nil && s.on(limiting) {
			s.count(op.perClient, now)
			s.count(op.perOther, now)
		}
		if s.refusal != nil {
			return
		}
	}
}

// entryHead looks at the head of a request to an entry.
func (s *Session) entryHead(now time.Time) {
	if s.entry.graph != nil {
		s.graphHead(now)
		return
	}
	if s.entry.soap != nil {
		s.soapHead()
		return
	}
	s.rpcHead()
}

// enterBody reads the body of a request to an entry.
func (s *Session) enterBody(b []byte, now time.Time) Step {
	s.body = b
	defer func() { s.body = nil }()
	if s.judge(s.op.ofBody, now); s.refusal != nil {
		return s.refuse()
	}
	if s.entry.graph != nil {
		s.graphBody(b, now)
	} else if s.entry.soap != nil {
		s.soapBody(b, now)
	} else {
		s.rpcBody(b, now)
	}
	return s.proceed(BodyNone, 0)
}

// breaks records that a rule of a format is broken, where anybody asks.
func (s *Session) breaks(r *Refusal, rule string, place sallyport.Place, class, detail string) {
	if s.on(validate) {
		s.fault(validate, r, rule, place, class, detail)
	}
}

// lead makes the first operation named the one that the exchange is recorded under.
func (s *Session) lead() {
	if len(s.inner) > 0 {
		s.op = s.inner[0]
	}
}

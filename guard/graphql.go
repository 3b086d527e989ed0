package guard

import (
	"bytes"
	"net/http"
	"strings"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
	"sallyport.dev/spec/graphql"
	"sallyport.dev/spec/jsondoc"
)

// asked is one GraphQL request, whatever way it was sent. Text fields may be
// parts of the body.
type asked struct {
	text      []byte
	given     bool // a text was sent
	name      string
	hash      []byte // of a persisted query
	variables int    // node in the session's document, -1 = none
	place     sallyport.Place
}

var queryPlace = sallyport.Place{In: sallyport.InBody, Name: "/query"}

// graphHead looks at the head of a request to a GraphQL entry.
func (s *Session) graphHead(now time.Time) {
	g := s.entry.graph
	if s.r.Upgrade && !g.upgrade {
		s.breaks(refusedInvalid, "graphql.upgrade", sallyport.Place{In: sallyport.InHeader, Name: "Upgrade"}, "", "subscriptions over WebSocket are not let through")
	}
	switch s.r.Method {
	case http.MethodGet, http.MethodHead:
		if !s.r.Upgrade {
			s.graphQuery(now)
		}
	case http.MethodPost:
		if s.r.ContentLength == 0 {
			s.breaks(refusedInvalid, "graphql.request", queryPlace, "", "the request has no body")
		}
		for i := range s.check.Params {
			if p := &s.check.Params[i]; p.In == sallyport.InQuery && graphParameter(p.Name) {
				// Some servers take these from the target in place of the body.
				s.breaks(refusedInvalid, "graphql.request", sallyport.Place{In: sallyport.InQuery, Name: p.Name}, "", "it belongs into the body of a POST request")
			}
		}
	default:
		if !s.preflight() && s.on(identify) {
			s.fault(identify, methodRefusal([]string{"GET", "POST"}), "operation.method", sallyport.Place{In: sallyport.InMethod}, "", "GraphQL is asked by GET and POST")
		}
	}
}

func graphParameter(name string) bool {
	return name == "query" || name == "variables" || name == "operationName" || name == "extensions"
}

// graphQuery takes a request out of the query string (GraphQL over HTTP).
func (s *Session) graphQuery(now time.Time) {
	a := asked{variables: -1, place: sallyport.Place{In: sallyport.InQuery, Name: "query"}}
	var at [4]*spec.Param
	for i := range s.check.Params {
		p := &s.check.Params[i]
		if p.In != sallyport.InQuery {
			continue
		}
		k := -1
		switch p.Name {
		case "query":
			k, a.text, a.given = 0, []byte(p.Value), true
		case "variables":
			k = 1
		case "operationName":
			k, a.name = 2, p.Value
		case "extensions":
			k = 3
		default:
			continue
		}
		if at[k] != nil {
			s.breaks(refusedInvalid, "parameter.duplicate", sallyport.Place{In: sallyport.InQuery, Name: p.Name}, "", "it stands more than once")
		}
		at[k] = p
	}
	if p := at[3]; p != nil && s.graphJSON(p) {
		a.hash = bytes.Clone(s.persistedHash(0))
		p.Proven = true
		if s.on(inspecting) {
			s.inspectDoc()
		}
	}
	if p := at[1]; p != nil && p.Value != "" && s.graphJSON(p) {
		a.variables = 0
	}
	ok := s.graphOne(&a)
	s.strictest(inspecting)
	if p := at[1]; p != nil && a.variables == 0 {
		p.Proven = true
		if s.on(inspecting) {
			s.inspectDoc()
		}
	}
	if p := at[0]; p != nil {
		p.Proven = ok
	}
	if p := at[2]; p != nil {
		p.Proven = ok
	}
	if s.refusal == nil {
		s.admit(now)
	}
	s.lead()
}

// graphJSON reads a parameter as JSON into the session's document.
func (s *Session) graphJSON(p *spec.Param) bool {
	before := len(s.check.Problems)
	s.check.HasDoc = false
	(*spec.Operation)(nil).CheckBody(&s.check, "application/json", []byte(p.Value))
	for i := before; i < len(s.check.Problems); i++ {
		s.check.Problems[i].Place = sallyport.Place{In: sallyport.InQuery, Name: p.Name}
	}
	s.validated()
	return s.check.HasDoc
}

// graphBody takes the requests out of a body.
func (s *Session) graphBody(b []byte, now time.Time) {
	media, _, _ := strings.Cut(s.contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	ok := false
	switch {
	case media == "application/graphql":
		ok = s.graphOne(&asked{text: b, given: true, variables: -1, place: sallyport.Place{In: sallyport.InBody}})
		if s.strictest(inspecting); !ok && s.on(inspecting) {
			s.inspectText(b)
		}
	case media == "application/json":
		(*spec.Operation)(nil).CheckBody(&s.check, s.contentType, b)
		s.validated()
		if !s.check.HasDoc {
			if s.refusal == nil && s.on(inspecting) {
				s.inspectText(b)
			}
			return
		}
		s.graphDoc()
		if s.strictest(inspecting); s.refusal == nil && s.on(inspecting) {
			s.inspectDoc()
		}
	default:
		// A browser sends other types to any site without asking; and what other
		// types mean is the upstream's guess.
		s.breaks(refusedMediaType, "body.media-type", sallyport.Place{In: sallyport.InBody}, "", "GraphQL is sent as application/json or application/graphql")
		if s.refusal == nil && s.on(inspecting) {
			s.inspectUnread(b)
		}
		return
	}
	if s.refusal == nil {
		s.admit(now)
	}
	s.lead()
}

// graphDoc goes through the requests of the session's document.
func (s *Session) graphDoc() {
	d, g := &s.check.Doc, s.entry.graph
	if d.Nodes[0].Kind != jsondoc.Array {
		s.graphEnvelope(0)
		return
	}
	s.batched = true
	n := int(d.Nodes[0].Count)
	if n > g.batch {
		s.breaks(refusedInvalid, "graphql.batch", sallyport.Place{In: sallyport.InBody}, "", "more operations in one request than are let through")
		if s.refusal != nil {
			return
		}
	}
	if n == 0 {
		s.breaks(refusedInvalid, "graphql.request", sallyport.Place{In: sallyport.InBody}, "", "the batch is empty")
	}
	for i, k := 1, 0; i < int(d.Nodes[0].Next); i, k = int(d.Nodes[i].Next), k+1 {
		if k >= g.batch && k >= 16 {
			s.miss("body: operations of a batch beyond its bound")
			return
		}
		if s.graphEnvelope(i); s.refusal != nil {
			return
		}
	}
}

// graphEnvelope looks at the request at a node of the session's document.
func (s *Session) graphEnvelope(root int) {
	if before := len(s.graphed); !s.r.Upgrade {
		defer func() {
			if len(s.graphed) == before { // none that can be answered
				s.graphed = append(s.graphed, nil)
			}
		}()
	}
	d := &s.check.Doc
	bad := func(i int, detail string) {
		s.breaks(refusedInvalid, "graphql.request", sallyport.Place{In: sallyport.InBody, Name: d.Pointer(i)}, "", detail)
	}
	if d.Nodes[root].Kind != jsondoc.Object {
		bad(root, "a request is an object")
		return
	}
	a := asked{variables: -1, place: queryPlace}
	if root != 0 {
		a.place.Name = d.Pointer(root) + "/query"
	}
	query, name := -1, -1
	for i := root + 1; i < int(d.Nodes[root].Next); i = int(d.Nodes[i].Next) {
		n := &d.Nodes[i]
		switch string(d.Key(i, nil)) {
		case "query":
			if query = i; n.Kind != jsondoc.String && n.Kind != jsondoc.Null {
				bad(i, "query is no string")
				return
			}
			if n.Kind == jsondoc.String {
				s.text = scratch(s.text, int(n.End-n.Start))
				a.text, a.given = d.Text(i, s.text), true
			}
		case "operationName":
			if n.Kind != jsondoc.String && n.Kind != jsondoc.Null {
				bad(i, "operationName is no string")
				return
			}
			if n.Kind == jsondoc.String {
				name, a.name = i, string(d.Text(i, nil))
			}
		case "variables":
			a.variables = i
		case "extensions":
			if n.Kind != jsondoc.Object && n.Kind != jsondoc.Null {
				bad(i, "extensions is no object")
				return
			}
			a.hash = s.persistedHash(i)
		case "id", "documentId", "doc_id", "queryId":
			bad(i, "documents are named by extensions.persistedQuery only")
			return
		default:
			s.undocumented(i)
		}
	}
	if s.graphOne(&a) {
		if query >= 0 {
			d.Nodes[query].Proven = true // its strings are inspected one by one
		}
		if name >= 0 {
			d.Nodes[name].Proven = true
		}
	}
}

// undocumented records a member that nothing declares, and refuses it where the
// policy says so.
func (s *Session) undocumented(node int) {
	place := sallyport.Place{In: sallyport.InBody, Name: s.check.Doc.Pointer(node)}
	if len(s.check.Undocumented) < 32 {
		s.check.Undocumented = append(s.check.Undocumented, place)
	}
	if s.api.undocumented == policy.Refuse {
		s.breaks(refusedInvalid, "parameter.undocumented", place, "", "no specification declares it")
	}
}

// persistedHash gives the hash in the extensions at a node, nil for none.
func (s *Session) persistedHash(node int) []byte {
	d := &s.check.Doc
	for i := node + 1; d.Nodes[node].Kind == jsondoc.Object && i < int(d.Nodes[node].Next); i = int(d.Nodes[i].Next) {
		if string(d.Key(i, nil)) != "persistedQuery" || d.Nodes[i].Kind != jsondoc.Object {
			continue
		}
		for k := i + 1; k < int(d.Nodes[i].Next); k = int(d.Nodes[k].Next) {
			if string(d.Key(k, nil)) == "sha256Hash" && d.Nodes[k].Kind == jsondoc.String {
				return d.Text(k, nil)
			}
		}
		return []byte{}
	}
	return nil
}

// graphOne judges one request and names its operations. It reports whether the
// document is valid.
func (s *Session) graphOne(a *asked) bool {
	g := s.entry.graph
	bad := func(rule, detail string) { s.breaks(refusedInvalid, rule, a.place, "", detail) }
	if !s.r.Upgrade { // what a conversation asks for is answered in messages
		s.graphed = append(s.graphed, nil)
	}
	doc := s.graphDocument(a)
	if doc == nil {
		return false
	}
	op, problem := doc.Operation(a.name)
	if problem == nil && !s.r.Upgrade {
		s.graphed[len(s.graphed)-1] = op
	}
	if problem != nil {
		bad(problem.Rule, problem.Detail)
		return true
	}
	for _, root := range op.Roots {
		if o := s.entry.ops[op.Kind+" "+root]; o != nil {
			s.name(o)
		}
	}
	s.strictest(validate)
	if op.Kind != "query" && (s.r.Method == http.MethodGet || s.r.Method == http.MethodHead) {
		bad("graphql.method", "only queries may be asked by GET")
	}
	if op.Introspects && !g.introspection {
		bad("graphql.introspection", "the schema is not told")
	}
	if s.on(validate) {
		d := &s.check.Doc
		at := func(node int) sallyport.Place {
			if a.place.In == sallyport.InQuery {
				return sallyport.Place{In: sallyport.InQuery, Name: "variables"}
			}
			return sallyport.Place{In: sallyport.InBody, Name: d.Pointer(node)}
		}
		op.Variables(d, a.variables, func(node int, rule, detail string) {
			place := a.place
			if a.variables >= 0 {
				place = at(node)
			}
			s.breaks(refusedInvalid, rule, place, "", detail)
		}, s.undocumented)
	}
	if c := op.Cost(&s.check.Doc, a.variables); c > g.bounds.Cost {
		bad("graphql.cost", "the operation costs more than is let through")
	}
	if s.strictest(inspecting); s.on(inspecting) && !doc.Harmless() {
		s.graphLiterals(doc, a.place)
	}
	return true
}

// graphDocument finds or makes the document that is asked for.
func (s *Session) graphDocument(a *asked) *graphql.Document {
	g := s.entry.graph
	bad := func(rule, detail string) *graphql.Document {
		s.breaks(refusedInvalid, rule, a.place, "", detail)
		return nil
	}
	if a.hash != nil && g.persisted != policy.PersistedAutomatic && g.persisted != policy.PersistedOnly {
		if bad("graphql.persisted", "queries are not named by hash here"); !a.given {
			return nil
		}
	}
	known := g.cache
	if g.trusted != nil {
		known = g.trusted
	}
	if !a.given {
		if a.hash == nil {
			return bad("graphql.request", "the request holds no query")
		}
		doc := known.Hashed(a.hash)
		if doc == nil {
			return bad("graphql.persisted-unknown", "no query with this hash is known; send it in full")
		}
		return doc
	}
	doc := known.Find(a.text)
	if doc == nil && g.trusted != nil {
		if bad("graphql.persisted-only", "only the documents that were put down may be asked for"); s.refusal != nil {
			return nil
		}
		doc = g.cache.Find(a.text)
	}
	if doc == nil {
		var problems []graphql.Problem
		doc, problems = g.schema.Parse(string(a.text), g.bounds)
		for _, p := range problems {
			bad(p.Rule, p.Detail)
		}
		if doc == nil {
			return nil
		}
		g.cache.Keep(doc)
	}
	if a.hash != nil && graphql.Hash(doc.Text) != string(a.hash) {
		bad("graphql.persisted", "the hash is not the query's")
	}
	return doc
}

// graphLiterals inspects the strings that stand in a document.
func (s *Session) graphLiterals(doc *graphql.Document, place sallyport.Place) {
	clean := true
	for i := range doc.Literals {
		l := &doc.Literals[i]
		if f := s.p.engine.CheckString(l.Text, sallyport.InBody, &s.inspected); f.Hit() {
			clean = false
			s.hit(f, sallyport.Place{In: place.In, Name: place.Name + l.Path}, "in a string of the document")
		}
	}
	if clean && !s.inspected.Spent() {
		doc.MarkHarmless()
	}
}

package spec

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"sort"
	"strconv"
	"strings"

	"sallyport.dev"
	"sallyport.dev/spec/schema"
	"sallyport.dev/spec/source"
)

// version is that of the OpenAPI document.
type version int

const (
	v20 version = 20
	v30 version = 30
	v31 version = 31
	v32 version = 32
)

// A setBuilder merges documents into one Set.
type setBuilder struct {
	*loader
	set   *Set
	byID  map[string]*Operation
	after []func() // once all schemas are complete
}

// A docBuilder compiles one document.
type docBuilder struct {
	*setBuilder
	d        *document
	version  version
	c        *schema.Compiler
	security []map[string][]string
	schemes  map[string]*source.Value
	consumes []string
	produces []string
	channel  *Channel // of the operation that is compiled next
	lost     bool     // a parameter of the path could not be read: do not ask for it
}

func (b *setBuilder) document(d *document) {
	db := &docBuilder{setBuilder: b, d: d, schemes: map[string]*source.Value{}}
	if d.root.Get("asyncapi") != nil {
		db.version = v32
	} else if !db.detect() {
		return
	}
	dialect := map[version]schema.Dialect{v20: schema.OpenAPI20, v30: schema.OpenAPI30, v31: schema.Draft2020, v32: schema.Draft2020}[db.version]
	if jd := d.root.Get("jsonSchemaDialect"); db.version >= v31 && jd != nil {
		switch strings.TrimSuffix(jd.String(), "#") {
		case "http://json-schema.org/draft-07/schema", "http://json-schema.org/draft-06/schema":
			dialect = schema.Draft7
		case "http://json-schema.org/draft-04/schema":
			dialect = schema.Draft4
		}
	}
	if d.root.Get("asyncapi") != nil {
		dialect = schema.Draft7
	}
	db.c = schema.NewCompiler(schema.Options{Dialect: dialect, Formats: true, Load: func(uri string) (*source.Value, error) {
		x, err := b.linked(d, uri)
		if err != nil {
			return nil, &unread{err}
		}
		return x.root, nil
	}})
	db.c.Document(d.uri, d.root)
	if d.root.Get("asyncapi") != nil {
		db.asyncAPI()
	} else {
		db.build()
	}
	for _, f := range db.c.Finish() {
		p := Position{File: f.URI, Line: f.Line, Column: f.Column}
		if x := b.documents[f.URI]; x != nil {
			p.File = x.name
		} else if f.URI == d.uri {
			p.File = d.name
		}
		if f.Cause != nil {
			var u *unread
			if f.Hint = ""; errors.As(f.Cause, &u) {
				f.Hint = hintFor(u.error)
			}
		}
		if x := b.documents[f.Target]; x != nil {
			if _, fragment, ok := strings.Cut(f.Ref, "#"); ok {
				if hint := b.nearest(x, fragment); strings.HasPrefix(hint, "did you mean") {
					f.Hint = hint
				}
			}
		}
		b.mistake(p, f.Message, f.Hint)
	}
}

// unread says why a document was not read, without the path that an error of
// the operating system repeats.
type unread struct{ error }

func (u *unread) Error() string { return reason(u.error) }
func (u *unread) Unwrap() error { return u.error }

func (b *docBuilder) detect() bool {
	root := b.d.root
	v := root.Get("openapi")
	if v == nil {
		if s := root.Get("swagger"); s.Is(source.String) && s.Text == "2.0" || s.Is(source.Number) && (s.Text == "2.0" || s.Text == "2") {
			b.version = v20
			return true
		} else if s != nil {
			b.mistake(b.d.at(s), "swagger version is not known", "2.0 is")
		}
		return false
	}
	text := v.String()
	if v.Is(source.Number) {
		text = v.Text + ".0"
	}
	for prefix, n := range map[string]version{"3.0.": v30, "3.1.": v31, "3.2.": v32} {
		if strings.HasPrefix(text, prefix) {
			b.version = n
			return true
		}
	}
	b.mistake(b.d.at(v), fmt.Sprintf("OpenAPI version %.20q is not known", text), "3.0.x, 3.1.x and 3.2.x are, and swagger 2.0")
	return false
}

var methods = []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodOptions, http.MethodHead, http.MethodPatch,
	http.MethodTrace}

func (b *docBuilder) build() {
	root := b.d.root
	b.securitySchemes(root)
	if s := root.Get("security"); s != nil {
		b.security = b.requirements(s)
	}
	b.consumes, b.produces = b.words(root.Get("consumes")), b.words(root.Get("produces"))
	if b.version >= v31 {
		if s := root.Get("components").Get("schemas"); s.Is(source.Object) {
			for _, m := range s.Members {
				b.c.Identify(b.d.uri, m.Value)
			}
		}
	}
	paths := root.Get("paths")
	switch {
	case paths == nil && b.version >= v31 && (root.Get("components") != nil || root.Get("webhooks") != nil):
		return
	case paths == nil:
		b.mistake(b.d.at(root), "document has no paths", "")
		return
	case !paths.Is(source.Object):
		b.mistake(b.d.at(paths), "paths must be an object", "each key is a path such as /items/{id}")
		return
	case len(paths.Members) == 0 && b.version < v31:
		b.mistake(b.d.at(paths), "paths is empty: the description declares no operation", "")
	}
	bases := b.bases(root.Get("servers"))
	if b.version == v20 {
		bases = []string{strings.TrimSuffix(root.Get("basePath").String(), "/")}
	}
	for _, m := range paths.Members {
		if strings.HasPrefix(m.Key, "x-") {
			continue
		}
		at := Position{File: b.d.name, Line: m.Line, Column: m.Column}
		if !strings.HasPrefix(m.Key, "/") {
			b.mistake(at, fmt.Sprintf("path %q does not begin with /", m.Key), "write /"+m.Key)
			continue
		}
		b.pathItem(m.Key, at, m.Value, b.d, bases)
	}
}

func (b *docBuilder) words(v *source.Value) (out []string) {
	if v.Is(source.Array) {
		for _, x := range v.Items {
			out = append(out, x.String())
		}
	}
	return out
}

// maxBases bounds the prefixes that server variables multiply to.
const maxBases = 64

// bases are the path prefixes of servers, variables filled in.
func (b *docBuilder) bases(servers *source.Value) []string {
	if b.o.BasePaths != nil {
		out := make([]string, len(b.o.BasePaths))
		for i, p := range b.o.BasePaths {
			out[i] = strings.TrimSuffix(p, "/")
		}
		return out
	}
	if !servers.Is(source.Array) || len(servers.Items) == 0 {
		return []string{""}
	}
	var out []string
	for _, s := range servers.Items {
		address := s.Get("url").String()
		if i := strings.Index(address, "://"); i >= 0 {
			if j := strings.IndexByte(address[i+3:], '/'); j >= 0 {
				address = address[i+3+j:]
			} else {
				address = ""
			}
		} else if strings.HasPrefix(address, "//") {
			_, address, _ = strings.Cut(address[2:], "/")
			address = "/" + address
		}
		address, _, _ = strings.Cut(address, "?")
		for _, p := range b.expand(s, []string{address}) {
			p = strings.TrimSuffix(p, "/")
			if p != "" && p[0] != '/' {
				p = "/" + p
			}
			if !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	if len(out) > maxBases {
		b.mistake(b.d.at(servers), fmt.Sprintf("servers give more than %d path prefixes", maxBases), "")
		return out[:1]
	}
	return out
}

func (b *docBuilder) expand(server *source.Value, list []string) []string {
	vars := server.Get("variables")
	if !vars.Is(source.Object) {
		return list
	}
	for _, m := range vars.Members {
		mark := "{" + m.Key + "}"
		if !strings.Contains(list[0], mark) {
			continue
		}
		values := b.words(m.Value.Get("enum"))
		if d := m.Value.Get("default").String(); !slices.Contains(values, d) {
			values = append(values, d)
		}
		var next []string
		for _, p := range list {
			for _, v := range values {
				next = append(next, strings.ReplaceAll(p, mark, v))
			}
		}
		if list = next; len(list) > maxBases {
			return list
		}
	}
	return list
}

// object follows $ref until an object stands there, in whichever document.
func (b *docBuilder) object(v *source.Value, d *document, what string) (*source.Value, *document) {
	for hops := 0; ; hops++ {
		if !v.Is(source.Object) {
			b.mistake(d.at(v), what+" must be an object", "")
			return nil, nil
		}
		ref := v.Get("$ref")
		if ref == nil {
			return v, d
		}
		if hops > 32 {
			b.mistake(d.at(ref), what+": $ref leads in a circle: cyclic $ref", "one of them must stand for something")
			return nil, nil
		}
		next, nd := b.follow(d, ref)
		if next == nil {
			return nil, nil
		}
		v, d = next, nd
	}
}

func (b *docBuilder) pathItem(key string, at Position, v *source.Value, d *document, bases []string) {
	// A path item may hold $ref beside its own fields; the reference is the base.
	item, id := v, d
	if v.Get("$ref") != nil {
		if item, id = b.object(v, d, "path item"); item == nil {
			return
		}
	}
	if !item.Is(source.Object) {
		b.mistake(at, "path item must be an object", "")
		return
	}
	b.lost = false
	common := b.parameters(item.Get("parameters"), id)
	if s := item.Get("servers"); s != nil {
		bases = b.bases(s)
	}
	add := func(method string, op *source.Value, pos Position) {
		if !op.Is(source.Object) {
			b.mistake(pos, "operation must be an object", "")
			return
		}
		b.operation(method, key, pos, op, id, bases, common)
	}
	known := map[string]bool{"$ref": true, "summary": true, "description": true, "servers": true, "parameters": true, "additionalOperations": true, "query": b.version >= v32}
	for _, m := range item.Members {
		pos := Position{File: id.name, Line: m.Line, Column: m.Column}
		upper := strings.ToUpper(m.Key)
		switch {
		case m.Key == strings.ToLower(m.Key) && slices.Contains(methods, upper):
			add(upper, m.Value, pos)
		case m.Key == "query" && b.version >= v32:
			add("QUERY", m.Value, pos)
		case m.Key == "additionalOperations" && b.version >= v32:
			if m.Value.Is(source.Object) {
				for _, x := range m.Value.Members {
					add(x.Key, x.Value, Position{File: id.name, Line: x.Line, Column: x.Column})
				}
			}
		case known[m.Key] || strings.HasPrefix(m.Key, "x-"):
		default:
			hint := "methods are get, put, post, delete, options, head, patch and trace"
			if slices.Contains(methods, upper) {
				hint = "write it in lower case"
			} else if m.Key == "query" {
				hint = "query came with OpenAPI 3.2"
			}
			b.mistake(pos, fmt.Sprintf("path item has no field %q", m.Key), hint)
		}
	}
}

func (b *docBuilder) operation(method, key string, pos Position, v *source.Value, d *document, bases []string, common []*param) {
	op := &Operation{Method: method, ID: v.Get("operationId").String(), Summary: v.Get("summary").String(), Deprecated: v.Get("deprecated").True(),
		Position: pos, o: b.set.o, channel: b.channel, Security: b.security, table: &operationNames{query: map[string]queryName{}}}
	if op.ID != "" {
		if other := b.byID[op.ID]; other != nil {
			b.mistake(d.at(v.Get("operationId")), fmt.Sprintf("operationId %q stands twice", op.ID), "first at "+other.Position.String())
		} else {
			b.byID[op.ID] = op
		}
	}
	if s := v.Get("security"); s != nil {
		op.Security = b.requirements(s)
	}
	params := b.parameters(v.Get("parameters"), d)
	for _, p := range common {
		if !slices.ContainsFunc(params, func(q *param) bool { return q.name == p.name && q.in == p.in }) {
			params = append(params, p)
		}
	}
	names := templateNames(key)
	op.attach(b, params, names, pos, key)
	if b.version == v20 {
		b.body20(op, v, d, params)
	} else if rb := v.Get("requestBody"); rb != nil {
		op.body = b.body(rb, d)
	}
	b.responses(op, v, d)
	b.declare(op, v, d, params)
	b.after = append(b.after, func() { b.languages(op) })
	op.secure(b.schemes)
	if s := v.Get("servers"); s != nil {
		bases = b.bases(s)
	}
	var done []string
	for _, base := range bases {
		o := *op
		if op.repeats(base, key, params) {
			b.note(pos, fmt.Sprintf("server prefix %s repeats the first segment of %s: it is taken once", base, key), "take it out of servers")
			base = ""
		}
		if slices.Contains(done, base) {
			continue
		}
		done = append(done, base)
		o.Template = base + key
		b.route(&o)
	}
}

// repeats reports whether a server's prefix is one segment that the path itself
// begins with, as a parameter that lists it among its values: authors who write
// both mean it once.
func (o *Operation) repeats(base, key string, params []*param) bool {
	if len(base) < 2 || strings.Contains(base[1:], "/") || !strings.HasPrefix(key, "/{") {
		return false
	}
	name, _, _ := strings.Cut(key[2:], "}")
	for _, p := range params {
		if p.in == sallyport.InPath && p.name == name && p.source != nil {
			for _, v := range p.source.Get("schema").Get("enum").List() {
				if v.String() == base[1:] {
					return true
				}
			}
		}
	}
	return false
}

// route adds an operation to the set; a second one of the same shape is a
// mistake, whatever its parameters are called.
func (b *setBuilder) route(op *Operation) {
	if err := b.set.router.add(op); err != nil {
		var c *conflict
		if errors.As(err, &c) {
			b.mistake(op.Position, fmt.Sprintf("%s %s is declared twice", op.Method, op.Template), "first at "+c.first.Position.String()+" as "+c.first.Template)
			return
		}
		b.mistake(op.Position, err.Error(), "")
		return
	}
	b.set.operations = append(b.set.operations, op)
}

func (b *setBuilder) finish() {
	for _, f := range b.after {
		f()
	}
	sort.SliceStable(b.set.operations, func(i, j int) bool {
		x, y := b.set.operations[i], b.set.operations[j]
		if x.Template != y.Template {
			return x.Template < y.Template
		}
		return x.Method < y.Method
	})
	b.set.router.seal()
	b.set.lenient()
}

// templateNames are the names in the braces of a path.
func templateNames(key string) (out []string) {
	for {
		i := strings.IndexByte(key, '{')
		if i < 0 {
			return out
		}
		j := strings.IndexByte(key[i:], '}')
		if j < 0 {
			return out
		}
		out = append(out, key[i+1:i+j])
		key = key[i+j+1:]
	}
}

func (b *docBuilder) requirements(v *source.Value) []map[string][]string {
	out := []map[string][]string{}
	if !v.Is(source.Array) {
		b.mistake(b.d.at(v), "security must be a list", "")
		return out
	}
	for _, x := range v.Items {
		if !x.Is(source.Object) {
			b.mistake(b.d.at(x), "security requirement must be an object", "")
			continue
		}
		one := map[string][]string{}
		for _, m := range x.Members {
			if b.schemes[m.Key] == nil && b.version != v32 {
				b.mistake(Position{File: b.d.name, Line: m.Line, Column: m.Column}, fmt.Sprintf("security scheme %q is not declared", m.Key),
					"declare it under components.securitySchemes")
			}
			one[m.Key] = append([]string{}, b.words(m.Value)...)
		}
		out = append(out, one)
	}
	return out
}

func (b *docBuilder) securitySchemes(root *source.Value) {
	v := root.Get("components").Get("securitySchemes")
	if b.version == v20 {
		v = root.Get("securityDefinitions")
	}
	if !v.Is(source.Object) {
		return
	}
	for _, m := range v.Members {
		if x, _ := b.object(m.Value, b.d, "security scheme"); x != nil {
			b.schemes[m.Key] = x
		}
	}
}

// schema compiles the schema v of document d.
func (b *docBuilder) schema(v *source.Value, d *document) *schema.Schema {
	if v == nil {
		return nil
	}
	b.c.Document(d.uri, d.root)
	return b.c.Schema(d.uri, d.root, v)
}

func (b *docBuilder) parameters(v *source.Value, d *document) (out []*param) {
	if v == nil {
		return nil
	}
	if !v.Is(source.Array) {
		b.mistake(d.at(v), "parameters must be a list", "")
		return nil
	}
	for _, x := range v.Items {
		px, pd := b.object(x, d, "parameter")
		if px == nil {
			b.lost = true
			continue
		}
		p := b.parameter(px, pd)
		if p == nil {
			b.lost = b.lost || px.Get("in").String() == "path"
			continue
		}
		if slices.ContainsFunc(out, func(q *param) bool { return q.name == p.name && q.in == p.in }) {
			b.mistake(d.at(x), fmt.Sprintf("parameter %s in %s is declared twice", p.name, p.in), "")
			continue
		}
		out = append(out, p)
	}
	return out
}

var places = map[string]sallyport.In{"path": sallyport.InPath, "query": sallyport.InQuery, "header": sallyport.InHeader, "cookie": sallyport.InCookie}

func (b *docBuilder) parameter(v *source.Value, d *document) *param {
	p := &param{name: v.Get("name").String(), required: v.Get("required").True(), allowEmpty: v.Get("allowEmptyValue").True(), source: v, document: d}
	in := v.Get("in").String()
	if p.name == "" && in != "body" && in != "querystring" {
		b.mistake(d.at(v), "parameter has no name", "")
		return nil
	}
	if b.version == v20 && (in == "body" || in == "formData") {
		p.in = sallyport.InBody
		p.form = in == "formData"
		return p
	}
	if in == "querystring" && b.version >= v32 {
		p.in, p.whole, p.name = sallyport.InQuery, true, ""
		b.content(p, v, d)
		return p
	}
	p.in = places[in]
	if p.in == "" {
		at := v.Get("in")
		if at == nil {
			at = v
		}
		b.mistake(d.at(at), fmt.Sprintf("parameter %s: in is %q", p.name, in), "one of path, query, header, cookie")
		return nil
	}
	if p.in == sallyport.InPath && !p.required {
		p.required = true // it cannot be absent; the word is often forgotten
	}
	if p.in == sallyport.InHeader {
		switch p.key = textproto.CanonicalMIMEHeaderKey(p.name); p.key {
		case "Accept", "Content-Type", "Authorization":
			return nil // described elsewhere; OpenAPI says to ignore them here
		}
	}
	b.language(p, v, d)
	if b.version == v20 {
		b.style20(p, v, d)
		return p
	}
	if v.Get("content") != nil {
		b.content(p, v, d)
		return p
	}
	s := v.Get("schema")
	if s == nil {
		b.mistake(d.at(v), fmt.Sprintf("parameter %s has neither schema nor content", p.name), "schema: {type: string}")
		return nil
	}
	p.schema = b.schema(s, d)
	p.style = map[sallyport.In]style{sallyport.InPath: simple, sallyport.InQuery: form, sallyport.InHeader: simple, sallyport.InCookie: form}[p.in]
	if st := v.Get("style"); st != nil {
		k, ok := styles[st.String()]
		if !ok || !slices.Contains(k.places, p.in) && !(k.style == form && p.in == sallyport.InCookie) {
			b.mistake(d.at(st), fmt.Sprintf("parameter %s: style %q does not go with %s", p.name, st.String(), p.in), "")
			return nil
		}
		p.style = k.style
	}
	p.explode = p.style == form || p.style == deepObject
	if e := v.Get("explode"); e != nil {
		p.explode = e.True()
	}
	b.after = append(b.after, p.shape)
	return p
}

func (b *docBuilder) content(p *param, v *source.Value, d *document) {
	c := v.Get("content")
	if !c.Is(source.Object) || len(c.Members) != 1 {
		b.mistake(d.at(v), fmt.Sprintf("parameter %s: content must have one media type", p.name), "")
		return
	}
	p.media = kindOf(c.Members[0].Key)
	p.schema = b.schema(c.Members[0].Value.Get("schema"), d)
	b.after = append(b.after, p.shape)
}

// Members of a parameter of OpenAPI 2.0 that are its schema.
var schema20 = map[string]bool{"type": true, "format": true, "items": true, "maximum": true, "exclusiveMaximum": true, "minimum": true, "exclusiveMinimum": true,
	"maxLength": true, "minLength": true, "pattern": true, "maxItems": true, "minItems": true, "uniqueItems": true, "enum": true, "multipleOf": true,
	"x-nullable": true}

func inline20(v *source.Value) *source.Value {
	s := &source.Value{Kind: source.Object, Line: v.Line, Column: v.Column}
	for _, m := range v.Members {
		if schema20[m.Key] {
			s.Members = append(s.Members, m)
		}
	}
	return s
}

func (b *docBuilder) style20(p *param, v *source.Value, d *document) {
	if v.Get("type") == nil {
		b.mistake(d.at(v), fmt.Sprintf("parameter %s has no type", p.name), "type: string")
		return
	}
	p.schema = b.schema(inline20(v), d)
	p.style = simple
	if p.in == sallyport.InQuery {
		p.style = form
	}
	switch cf := v.Get("collectionFormat"); cf.String() {
	case "", "csv":
	case "ssv":
		p.style = spaceDelimited
	case "tsv":
		p.style = tabDelimited
	case "pipes":
		p.style = pipeDelimited
	case "multi":
		p.explode = true
	default:
		b.mistake(d.at(cf), fmt.Sprintf("collectionFormat %q is not known", cf.String()), "one of csv, ssv, tsv, pipes, multi")
	}
	b.after = append(b.after, p.shape)
}

// body20 makes a body of the body and formData parameters of OpenAPI 2.0.
func (b *docBuilder) body20(op *Operation, v *source.Value, d *document, params []*param) {
	consumes := b.consumes
	if c := v.Get("consumes"); c != nil {
		consumes = b.words(c)
	}
	form := &source.Value{Kind: source.Object}
	props := &source.Value{Kind: source.Object}
	needed := &source.Value{Kind: source.Array}
	var whole *param
	files := false
	var multi []string
	for _, p := range params {
		switch {
		case p.in != sallyport.InBody:
		case p.form:
			form.Line, form.Column = p.source.Line, p.source.Column
			props.Members = append(props.Members, source.Member{Key: p.name, Line: p.source.Line, Column: p.source.Column, Value: inline20(p.source)})
			if p.required {
				needed.Items = append(needed.Items, &source.Value{Kind: source.String, Text: p.name})
			}
			files = files || p.source.Get("type").String() == "file"
			if p.source.Get("collectionFormat").String() == "multi" {
				multi = append(multi, p.name)
			}
		case whole != nil:
			b.mistake(p.document.at(p.source), "operation has two body parameters", "")
		default:
			whole = p
		}
	}
	if whole == nil && len(props.Members) == 0 {
		return
	}
	op.body = &body{}
	add := func(name string, s *source.Value, in *document) {
		m := &media{name: strings.ToLower(name), kind: kindOf(name), repeat: multi, explicit: true}
		m.schema = b.schema(s, in)
		b.after = append(b.after, m.shape)
		op.body.media = append(op.body.media, m)
	}
	if whole != nil {
		op.body.required = whole.required
		if len(consumes) == 0 {
			consumes = []string{"application/json"}
		}
		for _, c := range consumes {
			add(c, whole.source.Get("schema"), whole.document)
		}
		return
	}
	form.Members = append(form.Members, source.Member{Key: "type", Value: &source.Value{Kind: source.String, Text: "object"}}, source.Member{Key: "properties", Value: props})
	if len(needed.Items) > 0 {
		form.Members = append(form.Members, source.Member{Key: "required", Value: needed})
		op.body.required = true
	}
	types := slices.DeleteFunc(slices.Clone(consumes), func(c string) bool { k := kindOf(c); return k != Form && k != Multipart })
	if len(types) == 0 {
		types = []string{"multipart/form-data"}
		if !files {
			types = append(types, "application/x-www-form-urlencoded")
		}
	}
	for _, c := range types {
		add(c, form, d)
	}
}

func (b *docBuilder) body(v *source.Value, d *document) *body {
	v, d = b.object(v, d, "requestBody")
	if v == nil {
		return nil
	}
	out := &body{required: v.Get("required").True()}
	c := v.Get("content")
	if !c.Is(source.Object) || len(c.Members) == 0 {
		b.mistake(d.at(v), "requestBody has no content", "content: {application/json: {schema: …}}")
		return out
	}
	out.media = b.mediaTypes(c, d)
	return out
}

func (b *docBuilder) mediaTypes(c *source.Value, d *document) (out []*media) {
	if !c.Is(source.Object) {
		return nil
	}
	for _, m := range c.Members {
		x, xd := m.Value, d
		if b.version >= v32 && x.Get("$ref") != nil {
			if x, xd = b.object(x, d, "media type"); x == nil {
				continue
			}
		}
		name, _, _ := strings.Cut(m.Key, ";")
		t := &media{name: strings.ToLower(strings.TrimSpace(name)), kind: kindOf(m.Key)}
		if t.name == "" {
			b.note(Position{File: d.name, Line: m.Line, Column: m.Column}, "media type is empty: it is left out", "such as application/json")
			continue
		}
		if !strings.Contains(t.name, "/") {
			b.mistake(Position{File: d.name, Line: m.Line, Column: m.Column}, fmt.Sprintf("%q is no media type", m.Key), "such as application/json")
		}
		if t.name == eventStream {
			if s, sd := b.eventSchema(x, xd); s != nil {
				t.schema, t.kind = b.schema(s, sd), JSON
			}
		} else if s := x.Get("schema"); s != nil {
			t.schema = b.schema(s, xd)
			b.after = append(b.after, t.shape)
			if t.kind == Multipart {
				t.texts = b.texts(s, x.Get("encoding"), xd)
			}
			if t.kind == XML {
				t.xml = b.xmlShape(s, xd, map[*source.Value]*xmlShape{})
			}
		}
		if s := x.Get("x-xsd"); s != nil {
			b.xsd(t, s, xd)
		}
		if e := x.Get("encoding"); e.Is(source.Object) {
			for _, f := range e.Members {
				if ct := f.Value.Get("contentType"); ct.Is(source.String) {
					if t.encoded == nil {
						t.encoded = map[string][]string{}
					}
					t.encoded[f.Key] = strings.Split(strings.ToLower(ct.Text), ",")
				}
				if ex := f.Value.Get("explode"); ex != nil && !ex.True() {
					t.joined = append(t.joined, f.Key)
				}
			}
		}
		out = append(out, t)
	}
	return out
}

func (b *docBuilder) responses(op *Operation, v *source.Value, d *document) {
	r := v.Get("responses")
	if r == nil {
		if b.version <= v30 {
			b.mistake(op.Position, "operation has no responses", `responses: {"200": {description: ok}}`)
		}
		return
	}
	if !r.Is(source.Object) {
		b.mistake(d.at(r), "responses must be an object", "")
		return
	}
	produces := b.produces
	if p := v.Get("produces"); p != nil {
		produces = b.words(p)
	}
	op.responses = map[int]*response{}
	for _, m := range r.Members {
		if strings.HasPrefix(m.Key, "x-") {
			continue
		}
		key := 0
		switch n, err := strconv.Atoi(m.Key); {
		case m.Key == "default":
			key = anyStatus
		case err == nil && n >= 100 && n <= 599:
			key = n
		case len(m.Key) == 3 && m.Key[0] >= '1' && m.Key[0] <= '5' && strings.EqualFold(m.Key[1:], "xx"):
			key = int(m.Key[0] - '0')
		default:
			b.mistake(Position{File: d.name, Line: m.Line, Column: m.Column}, fmt.Sprintf("%q is no status", m.Key), `such as "200", 2XX or default`)
			continue
		}
		x, xd := b.object(m.Value, d, "response")
		if x == nil {
			continue
		}
		op.responses[key] = b.response(x, xd, produces)
		if key/100 == 2 || key == 2 {
			b.readLinks(op, x, xd)
		}
	}
}

func (b *docBuilder) response(v *source.Value, d *document, produces []string) *response {
	out := &response{}
	if b.version == v20 {
		if s := v.Get("schema"); s != nil {
			if len(produces) == 0 {
				produces = []string{"application/json"}
			}
			for _, p := range produces {
				m := &media{name: strings.ToLower(p), kind: kindOf(p), schema: b.schema(s, d), explicit: true}
				out.media = append(out.media, m)
			}
		}
	} else {
		out.media = b.mediaTypes(v.Get("content"), d)
	}
	if h := v.Get("headers"); h.Is(source.Object) {
		for _, m := range h.Members {
			x, xd := b.object(m.Value, d, "header")
			if x == nil || strings.EqualFold(m.Key, "content-type") {
				continue
			}
			p := &param{name: m.Key, key: textproto.CanonicalMIMEHeaderKey(m.Key), in: sallyport.InHeader, required: x.Get("required").True(), style: simple,
				explode: x.Get("explode").True(), source: x, document: xd}
			switch {
			case b.version == v20:
				p.schema = b.schema(inline20(x), xd)
				b.after = append(b.after, p.shape)
			case x.Get("content") != nil:
				b.content(p, x, xd)
			case x.Get("schema") != nil:
				p.schema = b.schema(x.Get("schema"), xd)
				b.after = append(b.after, p.shape)
			}
			out.headers = append(out.headers, p)
		}
	}
	return out
}

// kindOf is how a body of this media type is fed.
func kindOf(contentType string) BodyKind {
	name, _, _ := strings.Cut(contentType, ";")
	name = strings.TrimSpace(name)
	fold := func(s string) bool { return strings.EqualFold(name, s) }
	suffix := func(s string) bool { return len(name) >= len(s) && strings.EqualFold(name[len(name)-len(s):], s) }
	prefix := func(s string) bool { return len(name) >= len(s) && strings.EqualFold(name[:len(s)], s) }
	switch {
	case fold("application/json"), suffix("+json"), fold("text/json"):
		return JSON
	case fold("application/x-www-form-urlencoded"):
		return Form
	case fold("multipart/form-data"):
		return Multipart
	case xmlType(name):
		return XML
	case prefix("text/"), fold("application/graphql"), fold("application/javascript"), fold("application/yaml"),
		fold("application/x-ndjson"), fold("application/jsonl"), fold("application/json-seq"), suffix("+yaml"):
		return Text
	}
	return Binary
}

package schema

import (
	"embed"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sallyport.dev/spec/jsondoc"
	"sallyport.dev/spec/source"
)

// Dialect is how a document without $schema is read.
type Dialect uint8

// The dialects.
const (
	Draft2020 Dialect = iota // also OpenAPI 3.1 and 3.2
	Draft7                   // also draft 6
	Draft4
	OpenAPI30
	OpenAPI20
)

// Direction is the way a body travels: readOnly properties have no place in a
// request, writeOnly ones none in a response.
type Direction uint8

// The directions.
const (
	Neither Direction = iota
	Request
	Response
)

// Options of a Compiler.
type Options struct {
	Dialect Dialect
	Formats bool // a settled format (date, date-time, time, uuid, ipv4, ipv6, byte, int32, int64) is asserted
	// Load gives the document at an absolute URI without fragment. It is asked
	// for each URI once; nil knows no document.
	Load func(uri string) (*source.Value, error)
}

// A Fault is a mistake in a schema.
type Fault struct {
	URI          string // of the document
	Line, Column int
	Message      string
	Hint         string
	Ref          string // the reference that leads nowhere
	Target       string // URI of the document that it leads into
	Cause        error  // why that document cannot be read
}

// Faults is the error of compilation.
type Faults []Fault

// Error gives one fault a line.
func (f Faults) Error() string {
	var b strings.Builder
	for i, x := range f {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s:%d:%d: %s", x.URI, x.Line, x.Column, x.Message)
		if x.Hint != "" {
			fmt.Fprintf(&b, " (%s)", x.Hint)
		}
	}
	return b.String()
}

//go:embed meta/*.json
var metaFiles embed.FS

var metaURIs = func() map[string]string {
	m := map[string]string{
		"http://json-schema.org/draft-04/schema":       "draft-04",
		"http://json-schema.org/draft-06/schema":       "draft-06",
		"http://json-schema.org/draft-07/schema":       "draft-07",
		"https://json-schema.org/draft/2020-12/schema": "2020-12",
	}
	for _, v := range []string{"core", "applicator", "unevaluated", "validation", "meta-data", "format-annotation", "format-assertion", "content"} {
		m["https://json-schema.org/draft/2020-12/meta/"+v] = "2020-12-" + v
	}
	return m
}()

// A resource is a schema with a URI of its own.
type resource struct {
	uri      string
	document string // URI of the document it stands in, for faults
	root     *source.Value
	dialect  Dialect
	anchors  map[string]*source.Value
	dynamic  map[string]*source.Value // anchors that are dynamic
	loose    bool                     // its vocabulary holds no validation
	formats  bool
	nodes    map[string]*node // dynamic anchors, compiled
}

type nodeKey struct {
	value    *source.Value
	resource *resource
}

// A Compiler compiles schemas that refer to one another. It belongs to one
// goroutine; the Schemas it gives are immutable once Finish has run.
type Compiler struct {
	o         Options
	resources map[string]*resource
	of        map[*source.Value]*resource // resource roots inside documents
	indexed   map[nodeKey]bool
	missing   map[string]error
	nodes     map[nodeKey]*node
	order     []*node
	pending   []*node // their keywords are not read yet
	schemas   []*Schema
	patterns  map[string]*pattern
	automata  int // what is left of automatonBudget
	faults    Faults
	faulty    map[string]bool
	dynamic   bool // some schema uses $dynamicRef
	depth     int
}

// NewCompiler makes a Compiler.
func NewCompiler(o Options) *Compiler {
	return &Compiler{o: o, automata: automatonBudget, resources: map[string]*resource{}, of: map[*source.Value]*resource{}, indexed: map[nodeKey]bool{}, missing: map[string]error{},
		nodes: map[nodeKey]*node{}, patterns: map[string]*pattern{}, faulty: map[string]bool{}}
}

// Compile reads one schema document.
func Compile(data []byte, o Options) (*Schema, error) {
	v, bad := source.Parse(data, true)
	if len(bad) > 0 || v == nil {
		var f Faults
		for _, x := range bad {
			f = append(f, Fault{URI: "schema", Line: x.Line, Column: x.Column, Message: x.Message, Hint: x.Hint})
		}
		return nil, f
	}
	c := NewCompiler(o)
	s := c.Schema("schema:root", v, v)
	if f := c.Finish(); len(f) > 0 {
		return nil, f
	}
	return s, nil
}

func (c *Compiler) fault(res *resource, v *source.Value, message, hint string) {
	c.put(res, v, Fault{Message: message, Hint: hint})
}

// A refError is why a reference cannot be followed.
type refError struct {
	message, ref, target string
	cause                error
}

func (e *refError) Error() string { return e.message }

// lost faults a reference.
func (c *Compiler) lost(res *resource, v *source.Value, err error, before, hint string) {
	f := Fault{Message: before + err.Error(), Hint: hint}
	var e *refError
	if errors.As(err, &e) {
		f.Ref, f.Target, f.Cause = e.ref, e.target, e.cause
	}
	c.put(res, v, f)
}

func (c *Compiler) put(res *resource, v *source.Value, f Fault) {
	if res != nil {
		f.URI = res.document
	}
	if v != nil {
		f.Line, f.Column = v.Line, v.Column
	}
	key := fmt.Sprintf("%s:%d:%d:%s", f.URI, f.Line, f.Column, f.Message)
	if !c.faulty[key] {
		c.faulty[key] = true
		c.faults = append(c.faults, f)
	}
}

// Document makes a document known, so that references into it need no Load.
// Its dialect is the Compiler's until a $schema says otherwise.
func (c *Compiler) Document(uri string, root *source.Value) {
	if c.resources[uri] == nil {
		c.add(uri, uri, root, c.o.Dialect)
	}
}

// Identify finds the identifiers ($id, $anchor) of a schema inside a document
// made known before. Documents that are schemas as a whole need no call.
func (c *Compiler) Identify(uri string, v *source.Value) {
	if res := c.resources[uri]; res != nil {
		c.index(v, res)
	}
}

// dialectOf is the dialect that a document's own $schema asks for.
func (c *Compiler) dialectOf(v *source.Value, outer Dialect) (d Dialect, loose, formats bool) {
	formats = c.o.Formats
	name := strings.TrimSuffix(v.Get("$schema").String(), "#")
	if outer == OpenAPI30 || outer == OpenAPI20 {
		return outer, false, formats
	}
	switch name {
	case "":
		return outer, false, formats
	case "http://json-schema.org/draft-04/schema", "https://json-schema.org/draft-04/schema":
		return Draft4, false, formats
	case "http://json-schema.org/draft-06/schema", "http://json-schema.org/draft-07/schema", "https://json-schema.org/draft-07/schema":
		return Draft7, false, formats
	case "https://json-schema.org/draft/2020-12/schema", "https://json-schema.org/draft/2019-09/schema":
		return Draft2020, false, formats
	}
	if meta := c.document(name); meta != nil && meta.root != v {
		d, loose, formats = c.dialectOf(meta.root, outer)
		if vocabulary := meta.root.Get("$vocabulary"); vocabulary.Is(source.Object) {
			loose = vocabulary.Get("https://json-schema.org/draft/2020-12/vocab/validation") == nil
			if vocabulary.Get("https://json-schema.org/draft/2020-12/vocab/format-assertion").True() {
				formats = true
			}
		}
		return d, loose, formats
	}
	return outer, false, formats
}

func (c *Compiler) add(uri, document string, root *source.Value, outer Dialect) *resource {
	res := &resource{uri: uri, document: document, root: root, anchors: map[string]*source.Value{}, dynamic: map[string]*source.Value{}, nodes: map[string]*node{}}
	c.resources[uri] = res
	res.dialect, res.loose, res.formats = outer, false, c.o.Formats
	if root.Is(source.Object) {
		res.dialect, res.loose, res.formats = c.dialectOf(root, outer)
	}
	return res
}

// document is the resource of a whole document, loaded if need be.
func (c *Compiler) document(uri string) *resource {
	if r := c.resources[uri]; r != nil {
		return r
	}
	if c.missing[uri] != nil {
		return nil
	}
	var v *source.Value
	err := errors.New("no such document is at hand")
	if file, ok := metaURIs[uri]; ok {
		var data []byte
		if data, err = metaFiles.ReadFile("meta/" + file + ".json"); err == nil {
			v, _ = source.Parse(data, false)
		}
	} else if c.o.Load != nil {
		v, err = c.o.Load(uri)
	}
	if err != nil || v == nil {
		c.missing[uri] = err
		return nil
	}
	r := c.add(uri, uri, v, c.o.Dialect)
	c.index(v, r)
	return r
}

// Keywords that hold subschemas: one, a list, or a map of them.
var (
	oneSchema = []string{"additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames",
		"then", "unevaluatedItems", "unevaluatedProperties"}
	listSchemas = []string{"allOf", "anyOf", "oneOf", "items", "prefixItems"}
	mapSchemas  = []string{"$defs", "definitions", "dependentSchemas", "dependencies", "patternProperties", "properties"}
)

// index finds identifiers and anchors in the subschemas of v.
func (c *Compiler) index(v *source.Value, res *resource) {
	if !v.Is(source.Object) || c.indexed[nodeKey{v, res}] {
		return
	}
	c.indexed[nodeKey{v, res}] = true
	old := res.dialect != Draft2020
	if !old || v.Get("$ref") == nil {
		res = c.identify(v, res)
		c.indexed[nodeKey{v, res}] = true
	}
	for _, k := range oneSchema {
		if s := v.Get(k); s.Is(source.Object) {
			c.index(s, res)
		}
	}
	for _, k := range listSchemas {
		if s := v.Get(k); s.Is(source.Array) {
			for _, x := range s.Items {
				c.index(x, res)
			}
		}
	}
	for _, k := range mapSchemas {
		if s := v.Get(k); s.Is(source.Object) {
			for _, m := range s.Members {
				c.index(m.Value, res)
			}
		}
	}
}

// identify gives the resource that v belongs to: a new one when it has an id.
func (c *Compiler) identify(v *source.Value, res *resource) *resource {
	if r := c.of[v]; r != nil {
		return r
	}
	keyword := "$id"
	switch res.dialect {
	case Draft4:
		keyword = "id"
	case OpenAPI30, OpenAPI20:
		return res
	}
	if res.root == v {
		// The root's own $schema may have changed the keyword.
		c.of[v] = res
	}
	if id := v.Get(keyword).String(); id != "" {
		base, fragment, _ := strings.Cut(id, "#")
		if base != "" {
			uri := resolveURI(res.uri, base)
			if res.root == v {
				c.resources[uri] = res
				res.uri = uri
			} else {
				document := res.document
				res = c.add(uri, document, v, res.dialect)
				c.of[v] = res
			}
		}
		if fragment != "" && res.dialect != Draft2020 && fragment[0] != '/' {
			res.anchors[fragment] = v
		}
	}
	if res.dialect == Draft2020 {
		if a := v.Get("$anchor").String(); a != "" {
			res.anchors[a] = v
		}
		if a := v.Get("$dynamicAnchor").String(); a != "" {
			res.anchors[a] = v
			res.dynamic[a] = v
		}
	}
	return res
}

func resolveURI(base, ref string) string {
	b, err1 := url.Parse(base)
	r, err2 := url.Parse(ref)
	if err1 != nil || err2 != nil {
		return ref
	}
	if b.Opaque != "" && !r.IsAbs() {
		if r.Path == "" {
			b.Fragment, b.RawFragment = r.Fragment, r.RawFragment
			return b.String()
		}
		return ref
	}
	return b.ResolveReference(r).String()
}

// resolve follows a reference from res: the value and the resource it is in.
func (c *Compiler) resolve(res *resource, ref string) (*source.Value, *resource, error) {
	full := resolveURI(res.uri, ref)
	uri, fragment, _ := strings.Cut(full, "#")
	target := res
	if uri != res.uri {
		if target = c.document(uri); target == nil {
			cause := c.missing[uri]
			return nil, nil, &refError{message: fmt.Sprintf("document of $ref %q cannot be read: %s", ref, cause), ref: ref, cause: cause}
		}
	}
	if f, err := url.PathUnescape(fragment); err == nil {
		fragment = f
	}
	if fragment == "" {
		return target.root, target, nil
	}
	if fragment[0] != '/' {
		if v := target.anchors[fragment]; v != nil {
			return v, target, nil
		}
		return nil, nil, &refError{message: fmt.Sprintf("$ref %q leads to no anchor", ref), ref: ref}
	}
	// Walk the pointer and change resource where an identifier stands.
	v := target.root
	for _, token := range strings.Split(fragment[1:], "/") {
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		switch {
		case v.Is(source.Object):
			v = v.Get(token)
		case v.Is(source.Array):
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v.Items) {
				v = nil
			} else {
				v = v.Items[i]
			}
		default:
			v = nil
		}
		if v == nil {
			return nil, nil, &refError{message: fmt.Sprintf("$ref %q leads nowhere", ref), ref: ref, target: target.document}
		}
		if r := c.of[v]; r != nil {
			target = r
		}
	}
	if v.Is(source.Object) {
		c.index(v, target) // it may stand under a keyword that index does not know
		if r := c.of[v]; r != nil {
			target = r
		}
	}
	return v, target, nil
}

// Schema compiles v, which stands in the document uri whose root is root.
// Faults are gathered and given by Finish; until then the Schema must not be
// used.
func (c *Compiler) Schema(uri string, root, v *source.Value) *Schema {
	if c.resources[uri] == nil {
		c.Document(uri, root)
	}
	res := c.resources[uri]
	if root == v {
		c.index(v, res)
		if r := c.of[v]; r != nil {
			res = r
		}
	} else {
		c.index(v, res)
	}
	s := &Schema{root: c.compile(v, res)}
	c.schemas = append(c.schemas, s)
	return s
}

// Finish completes all schemas and gives what is wrong with them.
func (c *Compiler) Finish() Faults {
	c.drain()
	c.dynamicAnchors()
	if len(c.faults) == 0 {
		c.findCycles()
	}
	if len(c.faults) == 0 {
		f := &finisher{names: map[*node]*names{}}
		for _, n := range c.order {
			n.shorten(c.dynamic)
		}
		for _, n := range c.order {
			f.finish(n)
		}
		for _, s := range c.schemas {
			s.dynamic = c.dynamic
		}
		// The program outlives the documents.
		for _, n := range c.order {
			n.at = nil
			if !c.dynamic {
				n.res = nil
			}
			if n.object != nil {
				n.object.byKey = nil
			}
		}
		for _, r := range c.resources {
			r.root, r.anchors, r.dynamic = nil, nil, nil
		}
	}
	return c.faults
}

const maxSchemaDepth = 200

// node is the schema v in res: made once, whether or not its keywords have been
// read yet.
func (c *Compiler) node(v *source.Value, res *resource) (n *node, made bool) {
	if v.Is(source.Object) {
		if r := c.of[v]; r != nil {
			res = r
		}
	}
	key := nodeKey{v, res}
	if n := c.nodes[key]; n != nil {
		return n, false
	}
	n = &node{res: res, at: v}
	c.nodes[key] = n
	c.order = append(c.order, n)
	return n, true
}

// later is the schema that a reference leads to. Its keywords are read when
// those at hand are done, so that a long chain of references is no deep
// recursion.
func (c *Compiler) later(v *source.Value, res *resource) *node {
	n, made := c.node(v, res)
	if made {
		c.pending = append(c.pending, n)
	}
	return n
}

func (c *Compiler) drain() {
	for len(c.pending) > 0 {
		n := c.pending[len(c.pending)-1]
		c.pending = c.pending[:len(c.pending)-1]
		c.fill(n)
	}
}

// compile is a schema that stands inside the one at hand.
func (c *Compiler) compile(v *source.Value, res *resource) *node {
	n, made := c.node(v, res)
	if made {
		c.fill(n)
	}
	return n
}

// fill reads the keywords of a schema.
func (c *Compiler) fill(n *node) {
	if c.depth++; c.depth > maxSchemaDepth {
		c.fault(n.res, n.at, fmt.Sprintf("schema is nested deeper than %d", maxSchemaDepth), "")
		c.depth--
		return
	}
	switch v := n.at; {
	case v.Is(source.Bool) && n.res.dialect != Draft4:
		n.never = !v.Bool
	case v.Is(source.Object):
		c.object(n, v, n.res)
	default:
		c.fault(n.res, v, "schema must be an object", "")
	}
	c.depth--
}

// object compiles the keywords of one schema object.
func (c *Compiler) object(n *node, v *source.Value, res *resource) {
	old := res.dialect != Draft2020
	if x := v.Get("x-sensitive"); x != nil {
		c.sensitive(n, x, res)
	}
	if ref := v.Get("$ref"); ref.Is(source.String) {
		target, where, err := c.resolve(res, ref.Text)
		if err != nil {
			hint := "a $ref to a schema looks like #/components/schemas/Name"
			if res.dialect == OpenAPI20 {
				hint = "a $ref to a schema looks like #/definitions/Name"
			}
			c.lost(res, ref, err, "", hint)
			return
		}
		n.ref = c.later(target, where)
		if old {
			return // siblings of $ref mean nothing here
		}
	} else if ref != nil && res.dialect != Draft4 {
		c.fault(res, ref, "$ref must be a string", "")
	}
	if !old {
		c.dynamicRef(n, v, res)
	}
	c.applicators(n, v, res)
	if res.loose {
		c.arrays(n, v, res)
		c.objects(n, v, res)
		return
	}
	c.types(n, v, res)
	c.numbers(n, v, res)
	c.strings(n, v, res)
	c.arrays(n, v, res)
	c.objects(n, v, res)
}

func (c *Compiler) dynamicRef(n *node, v *source.Value, res *resource) {
	for a := range res.dynamic {
		if res.dynamic[a] == v && res.nodes[a] == nil {
			res.nodes[a] = n
		}
	}
	ref := v.Get("$dynamicRef")
	if !ref.Is(source.String) {
		return
	}
	c.dynamic = true
	target, where, err := c.resolve(res, ref.Text)
	if err != nil {
		c.lost(res, ref, err, "", "")
		return
	}
	static := c.later(target, where)
	_, fragment, _ := strings.Cut(ref.Text, "#")
	if fragment == "" || fragment[0] == '/' || where.dynamic[fragment] != target {
		if n.ref == nil {
			n.ref = static
		} else {
			n.allOf = append(n.allOf, static)
		}
		return
	}
	n.dynamic = &dynamicRef{anchor: fragment, static: static}
}

// dynamicAnchors compiles every anchor that a $dynamicRef could meet.
func (c *Compiler) dynamicAnchors() {
	for again := c.dynamic; again; {
		again = false
		for _, r := range slices.Collect(maps.Values(c.resources)) {
			for a, v := range r.dynamic {
				if r.nodes[a] == nil {
					r.nodes[a] = c.compile(v, r)
					c.drain()
					again = true
				}
			}
		}
	}
}

func (c *Compiler) list(v *source.Value, key string, res *resource) []*node {
	l := v.Get(key)
	if l == nil {
		return nil
	}
	if !l.Is(source.Array) || len(l.Items) == 0 {
		c.fault(res, l, key+" must be a list of schemas", "")
		return nil
	}
	out := make([]*node, len(l.Items))
	for i, x := range l.Items {
		out[i] = c.compile(x, res)
	}
	return out
}

func (c *Compiler) one(v *source.Value, key string, res *resource) *node {
	if s := v.Get(key); s != nil {
		return c.compile(s, res)
	}
	return nil
}

func (c *Compiler) applicators(n *node, v *source.Value, res *resource) {
	n.allOf = append(n.allOf, c.list(v, "allOf", res)...)
	if res.dialect != OpenAPI20 {
		n.anyOf = c.list(v, "anyOf", res)
		n.oneOf = c.list(v, "oneOf", res)
		n.not = c.one(v, "not", res)
	}
	if res.dialect == Draft7 || res.dialect == Draft2020 {
		if n.when = c.one(v, "if", res); n.when != nil {
			n.then, n.otherwise = c.one(v, "then", res), c.one(v, "else", res)
		}
	}
	if res.dialect != Draft4 && res.dialect != Draft7 {
		n.readOnly, n.writeOnly = v.Get("readOnly").True(), v.Get("writeOnly").True()
		c.discriminator(n, v, res)
	}
}

func (c *Compiler) discriminator(n *node, v *source.Value, res *resource) {
	d := v.Get("discriminator")
	alternatives := "oneOf"
	list := n.oneOf
	if list == nil {
		alternatives, list = "anyOf", n.anyOf
	}
	if !d.Is(source.Object) || list == nil {
		return
	}
	name := d.Get("propertyName").String()
	if name == "" {
		c.fault(res, d, "discriminator has no propertyName", "")
		return
	}
	out := &discriminator{property: name, print: jsondoc.Fingerprint([]byte(name)), nodes: map[string]*node{}}
	for i, x := range v.Get(alternatives).Items {
		ref := x.Get("$ref").String()
		if ref == "" {
			return // an alternative without a name: the keyword is only a hint
		}
		out.nodes[ref[strings.LastIndexByte(ref, '/')+1:]] = list[i]
	}
	if m := d.Get("mapping"); m.Is(source.Object) {
		for _, x := range m.Members {
			ref := x.Value.String()
			if !strings.ContainsAny(ref, "#/.") {
				ref = "#/components/schemas/" + ref
			}
			target, where, err := c.resolve(res, ref)
			if err != nil {
				c.lost(res, x.Value, err, "discriminator mapping: ", "name a schema, or #/components/schemas/Name")
				continue
			}
			out.nodes[x.Key] = c.later(target, where)
		}
	}
	n.discriminator = out
}

var typeNames = map[string]typeMask{"null": isNull, "boolean": isBool, "object": isObject, "array": isArray, "number": isNumber | isInteger,
	"integer": isInteger, "string": isString}

func (c *Compiler) types(n *node, v *source.Value, res *resource) {
	t := v.Get("type")
	set := func(name *source.Value) {
		m, ok := typeNames[name.String()]
		if name.String() == "file" && res.dialect == OpenAPI20 {
			m, ok = isString, true
		}
		if !ok || name.String() == "null" && (res.dialect == OpenAPI30 || res.dialect == OpenAPI20) {
			hint := "one of null, boolean, object, array, number, integer, string"
			if res.dialect == OpenAPI30 {
				hint = "one of boolean, object, array, number, integer, string; null is written nullable: true"
			}
			c.fault(res, name, fmt.Sprintf("type %.40q is not known", name.String()), hint)
		}
		n.types |= m
	}
	switch {
	case t == nil:
	case t.Is(source.Array) && res.dialect != OpenAPI30 && res.dialect != OpenAPI20:
		for _, x := range t.Items {
			set(x)
		}
	case t.Is(source.String):
		set(t)
	default:
		c.fault(res, t, "type must be a string", "")
	}
	nullable := res.dialect == OpenAPI30 && v.Get("nullable").True() || res.dialect == OpenAPI20 && v.Get("x-nullable").True()
	if nullable && n.types != 0 {
		n.types |= isNull
		n.nullable = true
	}
	if e := v.Get("enum"); e != nil {
		if !e.Is(source.Array) {
			c.fault(res, e, "enum must be a list", "")
		} else {
			items := e.Items
			if nullable {
				items = append(slices.Clone(items), &source.Value{Kind: source.Null})
			}
			n.enum = newEnum(items)
		}
	}
	if k := v.Get("const"); k != nil && res.dialect != Draft4 && res.dialect != OpenAPI30 && res.dialect != OpenAPI20 {
		n.constant = newEnum([]*source.Value{k})
	}
}

func (c *Compiler) numberOf(v *source.Value, key string, res *resource) *bound {
	x := v.Get(key)
	switch {
	case x == nil:
		return nil
	case x.Is(source.Number):
		return newBound(x.Text)
	}
	c.fault(res, x, key+" must be a number", "")
	return nil
}

func (c *Compiler) numbers(n *node, v *source.Value, res *resource) {
	var r numberRules
	r.min, r.max = c.numberOf(v, "minimum", res), c.numberOf(v, "maximum", res)
	for _, side := range []struct {
		key       string
		exclusive **bound
		inclusive **bound
	}{{"exclusiveMinimum", &r.above, &r.min}, {"exclusiveMaximum", &r.below, &r.max}} {
		x := v.Get(side.key)
		boolean := res.dialect == Draft4 || res.dialect == OpenAPI30 || res.dialect == OpenAPI20
		switch {
		case x == nil:
		case boolean && x.Is(source.Bool):
			if x.Bool {
				*side.exclusive, *side.inclusive = *side.inclusive, nil
			}
		case !boolean && x.Is(source.Number):
			*side.exclusive = newBound(x.Text)
		case boolean:
			c.fault(res, x, side.key+" must be true or false", "in OpenAPI 3.1 it is a number")
		default:
			c.fault(res, x, side.key+" must be a number", "in OpenAPI 3.0 it was true or false beside minimum or maximum")
		}
	}
	if m := c.numberOf(v, "multipleOf", res); m != nil {
		if r.multiple = newDivisor(m.text); r.multiple == nil {
			c.fault(res, v.Get("multipleOf"), "multipleOf must be greater than zero", "")
		}
	}
	if res.formats && (n.types == 0 || n.types&(isNumber|isInteger) != 0) {
		switch v.Get("format").String() {
		case "int32":
			r.formatMin, r.formatMax = newBound("-2147483648"), newBound("2147483647")
		case "int64":
			r.formatMin, r.formatMax = newBound("-9223372036854775808"), newBound("9223372036854775807")
		}
	}
	if r != (numberRules{}) {
		n.number = &r
	}
}

func (c *Compiler) count(v *source.Value, key string, res *resource, absent int) int {
	x := v.Get(key)
	if x == nil {
		return absent
	}
	k, ok := x.Int()
	if !ok || k < 0 {
		c.fault(res, x, key+" must be a whole number from 0", "")
		return absent
	}
	return k
}

func (c *Compiler) strings(n *node, v *source.Value, res *resource) {
	r := stringRules{least: c.count(v, "minLength", res, 0), most: c.count(v, "maxLength", res, -1)}
	if p := v.Get("pattern"); p != nil {
		r.pattern = c.pattern(p, res)
	}
	if f := v.Get("format"); f.Is(source.String) && (n.types == 0 || n.types&isString != 0) {
		r.format, r.formatName = formats[f.Text], f.Text
		r.assert = res.formats
	}
	if r.least == 0 && r.most < 0 && r.pattern == nil && r.format == nil {
		return
	}
	if p := r.pattern; p != nil && p.harmless {
		longest := p.longest
		if r.most >= 0 && (longest < 0 || r.most < longest) {
			longest = r.most
		}
		r.proof = longest >= 0 && longest <= provenLength
	}
	n.text = &r
}

// provenLength is up to which length a value of harmless characters is taken
// for harmless: longer ones could carry another encoding.
const provenLength = 128

func (c *Compiler) pattern(v *source.Value, res *resource) *pattern {
	if !v.Is(source.String) {
		c.fault(res, v, "pattern must be a string", "")
		return nil
	}
	if p := c.patterns[v.Text]; p != nil {
		return p
	}
	p, err := compilePattern(v.Text, &c.automata)
	if err != nil {
		c.fault(res, v, err.Error(), "write it as JavaScript would take it")
		return nil
	}
	c.patterns[v.Text] = p
	return p
}

func (c *Compiler) arrays(n *node, v *source.Value, res *resource) {
	r := arrayRules{least: 0, most: -1, minContains: 1, maxContains: -1}
	if !res.loose {
		r.least, r.most = c.count(v, "minItems", res, 0), c.count(v, "maxItems", res, -1)
		r.unique = v.Get("uniqueItems").True()
	}
	items := v.Get("items")
	switch {
	case res.dialect == Draft2020:
		r.prefix = c.list(v, "prefixItems", res)
		r.rest = c.one(v, "items", res)
	case items.Is(source.Array):
		for _, x := range items.Items {
			r.prefix = append(r.prefix, c.compile(x, res))
		}
		r.rest = c.additional(v, "additionalItems", res)
	default:
		r.rest = c.one(v, "items", res)
	}
	if res.dialect == Draft7 || res.dialect == Draft2020 {
		r.contains = c.one(v, "contains", res)
	}
	if res.dialect == Draft2020 && !res.loose {
		r.minContains = c.count(v, "minContains", res, 1)
		r.maxContains = c.count(v, "maxContains", res, -1)
	}
	if res.dialect == Draft2020 {
		n.leftItems = c.one(v, "unevaluatedItems", res)
	}
	if r.prefix != nil || r.rest != nil || r.contains != nil || r.least > 0 || r.most >= 0 || r.unique {
		n.array = &r
	}
}

// additional compiles a keyword that draft 4 allows to be a boolean.
func (c *Compiler) additional(v *source.Value, key string, res *resource) *node {
	x := v.Get(key)
	if x.Is(source.Bool) {
		n := &node{res: res, at: x, never: !x.Bool}
		c.order = append(c.order, n)
		return n
	}
	return c.one(v, key, res)
}

func (c *Compiler) objects(n *node, v *source.Value, res *resource) {
	r := objectRules{least: 0, most: -1}
	if !res.loose {
		r.least, r.most = c.count(v, "minProperties", res, 0), c.count(v, "maxProperties", res, -1)
	}
	if p := v.Get("properties"); p != nil {
		if !p.Is(source.Object) {
			c.fault(res, p, "properties must be an object", "")
		} else {
			for _, m := range p.Members {
				e := r.entry(m.Key)
				e.n, e.declared = c.compile(m.Value, res), true
			}
		}
	}
	if p := v.Get("required"); p != nil && !res.loose {
		switch {
		case p.Is(source.Array):
			for _, x := range p.Items {
				if !x.Is(source.String) {
					c.fault(res, x, "required must list names", "")
					continue
				}
				r.entry(x.Text).required = true
			}
		default:
			c.fault(res, p, "required must be a list of names", "it belongs to the object, not to its property")
		}
	}
	if p := v.Get("patternProperties"); p.Is(source.Object) && res.dialect != OpenAPI30 && res.dialect != OpenAPI20 {
		for _, m := range p.Members {
			at := &source.Value{Kind: source.String, Text: m.Key, Line: m.Line, Column: m.Column}
			r.patterns = append(r.patterns, patternProperty{c.pattern(at, res), c.compile(m.Value, res)})
		}
	}
	r.additional = c.additional(v, "additionalProperties", res)
	if res.dialect == Draft7 || res.dialect == Draft2020 {
		r.names = c.one(v, "propertyNames", res)
	}
	if res.dialect == Draft2020 {
		n.leftProperties = c.one(v, "unevaluatedProperties", res)
	}
	c.dependencies(&r, v, res)
	if len(r.entries) > 0 || r.patterns != nil || r.additional != nil || r.names != nil || r.least > 0 || r.most >= 0 {
		n.object = &r
	}
}

func (c *Compiler) dependencies(r *objectRules, v *source.Value, res *resource) {
	if d := v.Get("dependentRequired"); d.Is(source.Object) && res.dialect == Draft2020 && !res.loose {
		for _, m := range d.Members {
			for _, x := range m.Value.Items {
				r.entry(x.String())
				r.entry(m.Key).needs = append(r.entry(m.Key).needs, x.String())
			}
		}
	}
	if d := v.Get("dependentSchemas"); d.Is(source.Object) && res.dialect == Draft2020 {
		for _, m := range d.Members {
			r.entry(m.Key).then = c.compile(m.Value, res)
		}
	}
	if d := v.Get("dependencies"); d.Is(source.Object) && (res.dialect == Draft4 || res.dialect == Draft7) {
		for _, m := range d.Members {
			if m.Value.Is(source.Array) {
				for _, x := range m.Value.Items {
					r.entry(x.String())
					r.entry(m.Key).needs = append(r.entry(m.Key).needs, x.String())
				}
				r.entry(m.Key)
				continue
			}
			r.entry(m.Key).then = c.compile(m.Value, res)
		}
	}
}

// findCycles faults schemas that refer to themselves without going into a
// value: they would never end.
func (c *Compiler) findCycles() {
	const (
		open = 1
		done = 2
	)
	state := map[*node]int{}
	var visit func(n *node)
	visit = func(n *node) {
		if n == nil || state[n] == done {
			return
		}
		if state[n] == open {
			c.fault(n.res, n.at, "schema refers to itself without going into a value: cyclic $ref", "put the reference under properties or items")
			return
		}
		state[n] = open
		n.inPlace(visit)
		state[n] = done
	}
	for _, n := range c.order {
		visit(n)
	}
}

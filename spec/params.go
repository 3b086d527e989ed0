package spec

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"sallyport.dev"
	"sallyport.dev/spec/jsondoc"
	"sallyport.dev/spec/query"
	"sallyport.dev/spec/schema"
	"sallyport.dev/spec/source"
)

// style is how a parameter is written.
type style uint8

const (
	simple style = iota
	form
	label
	matrix
	spaceDelimited
	pipeDelimited
	tabDelimited
	deepObject
)

var styles = map[string]struct {
	style  style
	places []sallyport.In
}{
	"simple": {simple, []sallyport.In{sallyport.InPath, sallyport.InHeader}}, "form": {form, []sallyport.In{sallyport.InQuery, sallyport.InCookie}},
	"label": {label, []sallyport.In{sallyport.InPath}}, "matrix": {matrix, []sallyport.In{sallyport.InPath}},
	"spaceDelimited": {spaceDelimited, []sallyport.In{sallyport.InQuery}}, "pipeDelimited": {pipeDelimited, []sallyport.In{sallyport.InQuery}},
	"deepObject": {deepObject, []sallyport.In{sallyport.InQuery}}, "cookie": {form, []sallyport.In{sallyport.InCookie}},
}

// A param is one declared parameter, compiled.
type param struct {
	name       string
	key        string // canonical name of a header
	in         sallyport.In
	required   bool
	allowEmpty bool
	style      style
	explode    bool
	media      BodyKind // content instead of schema
	whole      bool     // the whole query string is the value
	form       bool     // formData of OpenAPI 2.0
	schema     *schema.Schema

	sh, items, others schema.Shape
	props             map[string]schema.Shape
	array, object     bool // the value can only be one

	language *query.Language // that values are written in
	written  *writing        // what it is made of, until then

	source   *source.Value
	document *document
}

// shape completes a parameter once its schema is compiled.
func (p *param) shape() {
	p.source, p.document = nil, nil
	if p.schema == nil {
		return
	}
	p.sh = p.schema.Shape()
	scalar := p.sh.String || p.sh.Number || p.sh.Boolean
	p.array, p.object = p.sh.Array && !scalar, p.sh.Object && !scalar && !p.sh.Array
	p.items, p.others, p.props = p.schema.Items(), p.schema.Others(), p.schema.Properties()
}

// attach sorts the parameters of an operation by place and checks the path.
func (o *Operation) attach(b *docBuilder, params []*param, names []string, pos Position, key string) {
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			b.mistake(pos, "path "+key+" holds {"+name+"} twice", "")
			continue
		}
		k := slices.IndexFunc(params, func(p *param) bool { return p.in == sallyport.InPath && p.name == name })
		if k < 0 && b.lost {
			continue
		}
		if k < 0 {
			b.mistake(pos, "path "+key+" holds {"+name+"}, which is not declared", "add a parameter with in: path, required: true")
			continue
		}
		o.path = append(o.path, params[k])
	}
	for _, p := range params {
		switch p.in {
		case sallyport.InPath:
			if !slices.Contains(names, p.name) {
				b.mistake(p.document.at(p.source), "path parameter "+p.name+" does not stand in the path "+key, "write {"+p.name+"} where its value goes")
			}
		case sallyport.InQuery:
			o.query = append(o.query, p)
		case sallyport.InHeader:
			o.header = append(o.header, p)
		case sallyport.InCookie:
			o.cookie = append(o.cookie, p)
		}
	}
	b.after = append(b.after, o.index)
}

// index builds the table of names, which all copies of the operation share.
func (o *Operation) index() {
	for i, p := range o.query {
		switch {
		case p.whole:
			o.table.whole = i + 1
			continue
		case p.object && p.style == form && p.explode:
			for name := range p.props {
				if _, taken := o.table.query[name]; !taken {
					o.table.query[name] = queryName{p: i, property: name}
				}
			}
			if p.schema != nil && len(p.props) == 0 {
				o.table.free = i + 1
			}
		case p.style == deepObject:
			o.table.deep = append(o.table.deep, i)
		}
		if !(p.object && p.style == form && p.explode) {
			o.table.query[p.name] = queryName{p: i}
		}
	}
}

// operationNames is shared by all copies of an operation.
type operationNames struct {
	query map[string]queryName
	deep  []int // parameters of style deepObject
	free  int   // 1 + the exploded object that takes any name
	whole int   // 1 + the parameter that is the whole query
}

type queryName struct {
	p        int
	property string // of an exploded object
}

// secure makes the keys of apiKey schemes known names.
func (o *Operation) secure(schemes map[string]*source.Value) {
	for _, alternative := range o.Security {
		for name := range alternative {
			s := schemes[name]
			if s.Get("type").String() == "apiKey" && s.Get("in").String() == "query" {
				o.credentials = append(o.credentials, s.Get("name").String())
			}
		}
	}
}

// What a request may hold before its tail is not looked at.
const maxParams = 1000

// occurrence chains the values sent for one declared parameter.
type occurrence struct{ first, last, count int32 }

// add appends a value and gives its index, -1 when there are too many.
func (c *Check) add(p Param) int32 {
	if len(c.Params) >= maxParams {
		if !c.crowded {
			c.crowded = true
			c.problem(p.In, "", "parameter.count", "more parameters than allowed")
			c.NotChecked = append(c.NotChecked, "parameters beyond the first "+strconv.Itoa(maxParams))
		}
		return -1
	}
	c.Params = append(c.Params, p)
	c.links = append(c.links, link{next: -1})
	return int32(len(c.Params) - 1)
}

type link struct {
	next     int32
	property string // the member of an object that the value is
}

func (c *Check) problem(in sallyport.In, name, rule, detail string) {
	if len(c.Problems) < maxProblems {
		c.Problems = append(c.Problems, Problem{Place: sallyport.Place{In: in, Name: name}, Rule: rule, Detail: detail})
	}
}

// maxProblems bounds a Check whatever the options say.
const maxProblems = 64

// decode takes percent-encoding off once; plus also turns + into a space.
func (c *Check) decode(raw string, plus bool) (string, bool) {
	if strings.IndexByte(raw, '%') < 0 && (!plus || strings.IndexByte(raw, '+') < 0) {
		return raw, true
	}
	start := len(c.arena)
	out, ok := appendUnescaped(c.arena, raw, plus)
	if !ok {
		return raw, false
	}
	c.arena = out
	return text(c.arena[start:]), true
}

// name is decode for names, which outlive the Check: an encoded one is copied.
func (c *Check) name(raw string) (string, bool) {
	v, ok := c.decode(raw, true)
	if ok && len(v) > 0 && len(raw) > 0 && unsafe.StringData(v) != unsafe.StringData(raw) {
		v = strings.Clone(v)
	}
	return v, ok
}

func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
func bytesOf(s string) []byte {
	return unsafe.Slice(unsafe.StringData(s), len(s))
}

func unhex(c byte) (byte, bool) {
	switch {
	case c-'0' < 10:
		return c - '0', true
	case (c|0x20)-'a' < 6:
		return (c | 0x20) - 'a' + 10, true
	}
	return 0, false
}

func appendUnescaped(out []byte, s string, plus bool) ([]byte, bool) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			if i+2 >= len(s) {
				return nil, false
			}
			h, ok1 := unhex(s[i+1])
			l, ok2 := unhex(s[i+2])
			if !ok1 || !ok2 {
				return nil, false
			}
			out = append(out, h<<4|l)
			i += 2
		case c == '+' && plus:
			out = append(out, ' ')
		default:
			out = append(out, c)
		}
	}
	return out, true
}

func unescape(s string) (string, bool) {
	b, ok := appendUnescaped(nil, s, false)
	return string(b), ok
}

// CheckParams reads path, query, header and cookie parameters into c and
// checks them against the operation. A nil operation, or a nil match, reads the
// query, headers and cookies alone.
func (o *Operation) CheckParams(c *Check, m *Match, rawQuery string, h http.Header) {
	if o == nil {
		c.readQuery(nil, rawQuery)
		c.readHeaders(nil, h)
		return
	}
	if m != nil {
		for i := range min(m.N, len(o.path)) {
			c.readPath(o.path[i], m.Params[i].Name, m.Params[i].Raw)
		}
	}
	c.readQuery(o, rawQuery)
	c.readHeaders(o, h)
}

var positions = func() (out [64]string) {
	for i := range out {
		out[i] = strconv.Itoa(i)
	}
	return out
}()

// ReadParams reads the parameters of a request for which no operation is
// known. Each path segment is one, named by its position from 0.
func ReadParams(c *Check, escapedPath, rawQuery string, h http.Header) {
	rest := strings.TrimPrefix(escapedPath, "/")
	for i := 0; rest != "" || i == 0; i++ {
		segment := rest
		if j := strings.IndexByte(rest, '/'); j >= 0 && i < len(positions)-1 {
			segment, rest = rest[:j], rest[j+1:]
		} else {
			rest = ""
		}
		if segment == "" {
			continue
		}
		if dots(segment) {
			c.problem(sallyport.InPath, "", "path.dot-segment", "path holds a dot segment")
		}
		v, ok := c.decode(segment, false)
		c.add(Param{In: sallyport.InPath, Name: positions[i], Raw: segment, Value: v, Bad: !ok})
		if !ok {
			c.problem(sallyport.InPath, positions[i], "parameter.encoding", "percent-encoding is broken")
		}
	}
	c.readQuery(nil, rawQuery)
	c.readHeaders(nil, h)
}

func (c *Check) readPath(p *param, name, raw string) {
	v, ok := c.decode(raw, false)
	i := c.add(Param{In: sallyport.InPath, Name: name, Raw: raw, Value: v, Bad: !ok, Declared: true})
	if i < 0 {
		return
	}
	if !ok {
		c.problem(sallyport.InPath, name, "parameter.encoding", "percent-encoding is broken")
		return
	}
	if len(v) != len(raw) && traverses(v) {
		c.problem(sallyport.InPath, name, "path.dot-segment", "path holds an encoded dot segment")
		return
	}
	c.check(p, occurrence{first: i, last: i, count: 1})
}

// traverses reports whether a decoded segment would climb, were its slashes
// taken for separators.
func traverses(v string) bool {
	for {
		i := strings.IndexAny(v, `/\`)
		part := v
		if i >= 0 {
			part = v[:i]
		}
		if dots(part) {
			return true
		}
		if i < 0 {
			return false
		}
		v = v[i+1:]
	}
}

func (c *Check) readQuery(o *Operation, raw string) {
	var names *operationNames
	if o != nil {
		names = o.table
		c.found = grown(c.found, len(o.query))
	}
	if names != nil && names.whole > 0 {
		c.wholeQuery(o.query[names.whole-1], raw)
		return
	}
	for rest := raw; rest != ""; {
		pair := rest
		if i := strings.IndexByte(rest, '&'); i >= 0 {
			pair, rest = rest[:i], rest[i+1:]
		} else {
			rest = ""
		}
		if pair == "" {
			continue
		}
		rawName, rawValue := pair, ""
		if i := strings.IndexByte(pair, '='); i >= 0 {
			rawName, rawValue = pair[:i], pair[i+1:]
		}
		name, ok1 := c.name(rawName)
		value, ok2 := c.decode(rawValue, true)
		x := Param{In: sallyport.InQuery, Name: name, Raw: rawValue, Value: value, Bad: !ok1 || !ok2}
		which, property := -1, ""
		if names != nil {
			which, property = names.find(name)
			x.Declared = which >= 0 || slices.Contains(o.credentials, name)
		}
		if which >= 0 {
			// The declared spelling lives as long as the operation.
			if p := o.query[which]; property == "" && p.style != deepObject {
				x.Name = p.name
			}
		}
		i := c.add(x)
		if i < 0 {
			return
		}
		switch {
		case x.Bad:
			c.problem(sallyport.InQuery, strings.Clone(name), "parameter.encoding", "percent-encoding is broken")
		case which >= 0:
			c.link(&c.found[which], i, property)
		case o != nil && !x.Declared:
			c.undocumented(sallyport.InQuery, name)
		}
	}
	if o == nil {
		return
	}
	for i, p := range o.query {
		switch {
		case c.found[i].count > 0:
			c.check(p, c.found[i])
		case p.required:
			c.problem(p.in, p.name, "parameter.missing", "required parameter is missing")
		}
	}
}

func grown(s []occurrence, n int) []occurrence {
	if cap(s) < n {
		return make([]occurrence, n)
	}
	s = s[:n]
	clear(s)
	return s
}

func (c *Check) link(o *occurrence, i int32, property string) {
	c.links[i].property = property
	if o.count == 0 {
		o.first = i
	} else {
		c.links[o.last].next = i
	}
	o.last = i
	o.count++
}

// maxUndocumented bounds the names kept of one exchange.
const maxUndocumented = 32

func (c *Check) undocumented(in sallyport.In, name string) {
	if len(c.Undocumented) >= maxUndocumented {
		return
	}
	for i := range c.Undocumented {
		if c.Undocumented[i].In == in && c.Undocumented[i].Name == name {
			return
		}
	}
	c.Undocumented = append(c.Undocumented, sallyport.Place{In: in, Name: strings.Clone(name)})
}

// find gives the index of the parameter that a query name belongs to.
func (n *operationNames) find(name string) (p int, property string) {
	if q, ok := n.query[name]; ok {
		return q.p, q.property
	}
	if i := strings.IndexByte(name, '['); i > 0 && strings.HasSuffix(name, "]") {
		if q, ok := n.query[name[:i]]; ok && slices.Contains(n.deep, q.p) {
			return q.p, name[i+1 : len(name)-1]
		}
	}
	if n.free > 0 {
		return n.free - 1, name
	}
	return -1, ""
}

func (c *Check) wholeQuery(p *param, raw string) {
	switch {
	case raw == "":
		if p.required {
			c.problem(sallyport.InQuery, "", "parameter.missing", "required query string is missing")
		}
		return
	case p.media == JSON:
		v, ok := c.decode(raw, false)
		i := c.add(Param{In: sallyport.InQuery, Raw: raw, Value: v, Bad: !ok, Declared: true})
		if ok && i >= 0 {
			c.json(p, i)
		}
		return
	}
	// Fields of a form: kept for inspection, checked as a body would be.
	first := len(c.Params)
	c.fields(raw, sallyport.InQuery, nil)
	if p.schema != nil {
		c.formObject(p.schema, p.props, p.others, nil, nil, first, sallyport.InQuery)
	}
}

// Headers that no schema speaks of and no inspection needs: framing, routing
// and credentials, which have checks of their own.
func skipHeader(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Host", "Authorization", "Proxy-Authorization",
		"Cookie", "Content-Length":
		return true
	}
	return false
}

func (c *Check) readHeaders(o *Operation, h http.Header) {
	for name, values := range h {
		if skipHeader(name) {
			continue
		}
		declared := false
		if o != nil {
			for _, p := range o.header {
				declared = declared || p.key == name
			}
		}
		if declared {
			continue
		}
		for _, v := range values {
			c.add(Param{In: sallyport.InHeader, Name: name, Raw: v, Value: v})
		}
	}
	if o != nil {
		for _, p := range o.header {
			c.header(p, h[p.key], p.required)
		}
		c.found = grown(c.found, len(o.cookie))
	}
	for _, line := range h["Cookie"] {
		c.cookies(o, line)
	}
	if o != nil {
		for i, p := range o.cookie {
			switch {
			case c.found[i].count > 0:
				c.check(p, c.found[i])
			case p.required:
				c.problem(p.in, p.name, "parameter.missing", "required cookie is missing")
			}
		}
	}
}

func (c *Check) header(p *param, values []string, required bool) {
	var o occurrence
	for _, v := range values {
		if i := c.add(Param{In: sallyport.InHeader, Name: p.name, Raw: v, Value: strings.Trim(v, " \t"), Declared: true}); i >= 0 {
			c.link(&o, i, "")
		}
	}
	switch {
	case o.count > 0:
		c.check(p, o)
	case required:
		c.problem(p.in, p.name, "parameter.missing", "required header is missing")
	}
}

func (c *Check) cookies(o *Operation, line string) {
	for line != "" {
		pair := line
		if i := strings.IndexByte(line, ';'); i >= 0 {
			pair, line = line[:i], line[i+1:]
		} else {
			line = ""
		}
		pair = strings.Trim(pair, " \t")
		if pair == "" {
			continue
		}
		name, value := "", pair // a cookie without = has no name
		if i := strings.IndexByte(pair, '='); i >= 0 {
			name, value = pair[:i], pair[i+1:]
		}
		x := Param{In: sallyport.InCookie, Name: name, Raw: value, Value: value}
		if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
			x.Value = value[1 : n-1]
		}
		which := -1
		if o != nil {
			which = slices.IndexFunc(o.cookie, func(p *param) bool { return p.name == name })
			x.Declared = which >= 0
		}
		if i := c.add(x); i >= 0 && which >= 0 {
			c.link(&c.found[which], i, "")
		}
	}
}

// check checks the values sent for one parameter.
func (c *Check) check(p *param, o occurrence) {
	if p.language != nil {
		defer c.languages(p, o)
	}
	if p.schema == nil && p.media == None {
		return
	}
	for i := o.first; i >= 0; i = c.links[i].next {
		if !utf8.ValidString(c.Params[i].Value) {
			c.problem(p.in, p.name, "parameter.utf8", "value is not UTF-8")
			return
		}
	}
	many := o.count > 1
	switch {
	case p.media != None:
		if many {
			c.problem(p.in, p.name, "parameter.duplicate", "parameter stands more than once")
		}
		if p.media == JSON {
			c.json(p, o.first)
		}
	case p.object && p.style <= form && !many && strings.HasPrefix(c.Params[o.first].Value, "{") && c.isJSON(o.first):
		c.json(p, o.first) // so many documents mean it, where content would say it
	case p.object || p.style == deepObject:
		c.objectParam(p, o)
	case p.array || p.sh.Array && (many || p.style != simple && p.style != form):
		c.arrayParam(p, o)
	default:
		if many {
			c.problem(p.in, p.name, "parameter.duplicate", "parameter stands more than once")
		}
		for i := o.first; i >= 0; i = c.links[i].next {
			c.scalar(p, i)
		}
	}
}

// json checks a parameter whose content is JSON.
func (c *Check) json(p *param, i int32) {
	if err := c.tape.Parse(bytesOf(c.Params[i].Value), jsondoc.Limits{Duplicates: true}); err != nil {
		c.syntax(p.in, p.name, err)
		return
	}
	if c.tape.Duplicates {
		c.problem(p.in, p.name, jsondoc.RuleDuplicate, "object holds a key twice")
	}
	if p.schema != nil {
		c.holds(p.schema, p.in, p.name, maxKept)
	}
}

// isJSON reports whether a value is JSON. No list of names and values begins
// with a brace and is.
func (c *Check) isJSON(i int32) bool {
	return c.tape.Parse(bytesOf(c.Params[i].Value), jsondoc.Limits{Duplicates: true}) == nil
}

// scalar checks one value. Where the schema admits numbers or booleans, a word
// that looks like one is one; where it admits strings too, it may be either.
func (c *Check) scalar(p *param, i int32) {
	x := &c.Params[i]
	v := x.Value
	switch p.style {
	case label:
		v = strings.TrimPrefix(v, ".")
	case matrix:
		v = strings.TrimPrefix(strings.TrimPrefix(v, ";"), p.name)
		v = strings.TrimPrefix(v, "=")
	}
	if v == "" && p.allowEmpty {
		x.Proven = true
		return
	}
	kind, integer := word(v, p.sh)
	c.one(v, kind, integer)
	keep := maxKept
	if kind != jsondoc.String && p.sh.String {
		keep = 0
	}
	if c.holds(p.schema, p.in, p.name, keep) {
		x.Proven = kind != jsondoc.String || c.tape.Nodes[0].Proven
		return
	}
	if keep == 0 {
		c.one(v, jsondoc.String, false)
		if c.holds(p.schema, p.in, p.name, maxKept) {
			x.Proven = c.tape.Nodes[0].Proven
		}
	}
}

// word is what a word is taken for.
func word(v string, s schema.Shape) (kind jsondoc.Kind, integer bool) {
	if s.Number && v != "" && len(v) < 400 {
		if end, integer, ok := jsondoc.ScanNumber(bytesOf(v), 0); ok && end == len(v) {
			return jsondoc.Number, integer
		}
	}
	if s.Boolean {
		switch v {
		case "true":
			return jsondoc.True, false
		case "false":
			return jsondoc.False, false
		}
	}
	return jsondoc.String, false
}

// one makes the tape of a single value.
func (c *Check) one(v string, kind jsondoc.Kind, integer bool) {
	c.tape.Src = bytesOf(v)
	c.tape.Nodes = append(c.tape.Nodes[:0], jsondoc.Node{Kind: kind, Integer: integer, End: int32(len(v)), Next: 1, KeyStart: -1, KeyEnd: -1, Parent: -1})
}

// begin starts a tape over the arena with a container as its root.
func (c *Check) begin(kind jsondoc.Kind) {
	c.tape.Nodes = append(c.tape.Nodes[:0], jsondoc.Node{Kind: kind, KeyStart: -1, KeyEnd: -1, Parent: -1})
	c.owners = append(c.owners[:0], -1)
}

// child adds a value to a container; its text goes to the arena.
func (c *Check) child(parent int, key, v string, kind jsondoc.Kind, integer bool, owner int32) int {
	n := jsondoc.Node{Kind: kind, Integer: integer, KeyStart: -1, KeyEnd: -1, Parent: int32(parent), Next: int32(len(c.tape.Nodes) + 1)}
	if c.tape.Nodes[parent].Kind == jsondoc.Object {
		n.KeyStart = int32(len(c.arena))
		c.arena = append(c.arena, key...)
		n.KeyEnd = int32(len(c.arena))
		n.Print = jsondoc.Fingerprint(c.arena[n.KeyStart:])
	}
	n.Start = int32(len(c.arena))
	c.arena = append(c.arena, v...)
	n.End = int32(len(c.arena))
	c.tape.Nodes = append(c.tape.Nodes, n)
	c.owners = append(c.owners, owner)
	c.tape.Nodes[parent].Count++
	return len(c.tape.Nodes) - 1
}

// finish closes containers and evaluates the tape; parameters of which every
// part is proven are marked.
func (c *Check) finish(s *schema.Schema, in sallyport.In, name string) bool {
	for i := len(c.tape.Nodes) - 1; i >= 0; i-- {
		n := &c.tape.Nodes[i]
		if n.Next == 0 || n.Kind == jsondoc.Object || n.Kind == jsondoc.Array {
			n.Next = int32(len(c.tape.Nodes))
			for j := i + 1; j < len(c.tape.Nodes); j++ {
				if c.tape.Nodes[j].Parent < int32(i) {
					n.Next = int32(j)
					break
				}
			}
		}
	}
	c.tape.Src = c.arena
	if !c.holds(s, in, name, maxKept) {
		return false
	}
	for _, o := range c.owners {
		if o >= 0 {
			c.Params[o].Proven = true
		}
	}
	for i := range c.tape.Nodes {
		n := &c.tape.Nodes[i]
		if o := c.owners[i]; o >= 0 && n.Kind == jsondoc.String && !n.Proven {
			c.Params[o].Proven = false
		}
	}
	return true
}

// maxKept is how many problems of one schema are kept.
const maxKept = 8

// holds evaluates the tape against a schema.
func (c *Check) holds(s *schema.Schema, in sallyport.In, name string, keep int) bool {
	c.eval.Problems, c.eval.Undocumented = c.eval.Problems[:0], c.eval.Undocumented[:0]
	c.eval.Max, c.eval.Names, c.eval.Direction = keep, false, c.direction
	c.eval.Lenient = false
	if s.Evaluate(&c.tape, 0, &c.eval) {
		return true
	}
	for _, x := range c.eval.Problems {
		place := name
		if x.Pointer != "" {
			place += x.Pointer
		}
		c.problem(in, place, x.Rule, x.Detail)
	}
	return false
}

// separator is what splits the raw value of a parameter in this style.
func (p *param) separator() string {
	switch p.style {
	case label:
		if p.explode {
			return "."
		}
		return ","
	case spaceDelimited:
		return " "
	case pipeDelimited:
		return "|"
	case tabDelimited:
		return "\t"
	}
	return ","
}

// next cuts the first piece off a raw value at the separator, which may itself
// be percent-encoded when it is no comma or dot.
func next(raw, sep string, plus bool) (piece, rest string, more bool) {
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == sep[0], c == '+' && plus && sep == " ":
			return raw[:i], raw[i+1:], true
		case c == '%' && i+2 < len(raw) && sep != "," && sep != ".":
			h, ok1 := unhex(raw[i+1])
			l, ok2 := unhex(raw[i+2])
			if ok1 && ok2 && h<<4|l == sep[0] {
				return raw[:i], raw[i+3:], true
			}
		}
	}
	return raw, "", false
}

// maxPieces bounds the parts of one delimited value.
const maxPieces = 1000

// pieces calls f for each decoded part of a delimited value.
func (c *Check) pieces(p *param, raw string, f func(string)) {
	plus := p.in == sallyport.InQuery
	if raw == "" {
		return
	}
	sep := p.separator()
	for n := 0; ; n++ {
		if n == maxPieces {
			c.problem(p.in, p.name, "parameter.count", "value has more parts than allowed")
			return
		}
		piece, rest, more := next(raw, sep, plus)
		v := piece
		switch {
		case p.in == sallyport.InHeader:
			v = strings.Trim(piece, " \t")
		case p.in != sallyport.InCookie:
			v, _ = c.decode(piece, plus)
		}
		f(v)
		if !more {
			return
		}
		raw = rest
	}
}

// strip takes off what a style puts before a value.
func (p *param) strip(raw string) string {
	switch p.style {
	case label:
		return strings.TrimPrefix(raw, ".")
	case matrix:
		return strings.TrimPrefix(raw, ";")
	}
	return raw
}

func (c *Check) arrayParam(p *param, o occurrence) {
	c.begin(jsondoc.Array)
	item := func(v string, owner int32) {
		kind, integer := word(v, p.items)
		c.child(0, "", v, kind, integer, owner)
	}
	repeated := p.explode && (p.style == form || p.style == spaceDelimited || p.style == pipeDelimited) && p.in == sallyport.InQuery
	if !repeated && o.count > 1 && p.in != sallyport.InHeader {
		c.problem(p.in, p.name, "parameter.duplicate", "parameter stands more than once")
	}
	for i := o.first; i >= 0; i = c.links[i].next {
		if repeated {
			item(c.Params[i].Value, i)
			continue
		}
		raw := p.strip(c.Params[i].Raw)
		if p.style == matrix {
			if p.explode { // ;id=3;id=4
				for part := range strings.SplitSeq(raw, ";") {
					_, v, _ := strings.Cut(part, "=")
					v, _ = c.decode(v, false)
					item(v, i)
				}
				continue
			}
			_, raw, _ = strings.Cut(raw, "=")
		}
		c.pieces(p, raw, func(v string) { item(v, i) })
	}
	c.finish(p.schema, p.in, p.name)
}

func (c *Check) objectParam(p *param, o occurrence) {
	c.begin(jsondoc.Object)
	member := func(key, v string, owner int32) {
		s, ok := p.props[key]
		if !ok {
			s = p.others
		}
		kind, integer := word(v, s)
		n := c.child(0, key, v, kind, integer, owner)
		for k := 1; k < n; k++ {
			if x := &c.tape.Nodes[k]; x.Print == c.tape.Nodes[n].Print && string(c.arena[x.KeyStart:x.KeyEnd]) == key {
				c.problem(p.in, p.name, "parameter.duplicate", "a member stands more than once")
				return
			}
		}
	}
	for i := o.first; i >= 0; i = c.links[i].next {
		raw := p.strip(c.Params[i].Raw)
		switch {
		case p.style == deepObject:
			key := c.links[i].property
			if strings.IndexByte(key, '[') >= 0 || key == "" {
				c.NotChecked = append(c.NotChecked, "query "+p.name+": nested deeper than one level")
				return
			}
			if _, ok := p.props[key]; !ok {
				c.Params[i].Declared = false
				if len(p.props) > 0 {
					c.undocumented(p.in, c.Params[i].Name)
				}
			}
			member(key, c.Params[i].Value, i)
		case c.links[i].property != "":
			member(c.links[i].property, c.Params[i].Value, i)
		case p.explode:
			sep := p.separator()
			if p.style == matrix {
				sep = ";"
			}
			for raw != "" {
				piece, rest, _ := next(raw, sep, false)
				k, v, _ := strings.Cut(piece, "=")
				if p.in == sallyport.InPath {
					k, _ = c.decode(k, false)
					v, _ = c.decode(v, false)
				}
				member(k, v, i)
				raw = rest
			}
		default:
			if p.style == matrix {
				_, raw, _ = strings.Cut(raw, "=")
			}
			key, have := "", false
			c.pieces(p, raw, func(v string) {
				if have = !have; have {
					key = v
					return
				}
				member(key, v, i)
			})
			if have {
				c.problem(p.in, p.name, "parameter.object", "value has a name without a value")
			}
		}
	}
	c.finish(p.schema, p.in, p.name)
}

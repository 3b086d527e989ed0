package learn

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// A Named operation is one with the method and template under which it is
// known, and why its path was folded so.
type Named struct {
	Method    string
	Template  string
	Declared  bool
	Reasons   []string
	Operation *Operation
}

// Confidence is how far n observations without exception can be trusted to go
// on so: Laplace's rule of succession.
func Confidence(n uint64) float64 {
	return math.Floor(float64(n+1)/float64(n+2)*1000) / 1000
}

// requiredFrom is how many observations without exception make a parameter or
// member required: a confidence of 0.95.
const requiredFrom = 18

// A Document is an OpenAPI 3.1 document as a tree of maps, lists and scalars.
type Document map[string]any

// JSON writes it with two spaces of indent; equal documents give equal bytes.
func (d Document) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write learned specification: %w", err)
	}
	return append(b, '\n'), nil
}

// YAML writes the same as YAML.
func (d Document) YAML() ([]byte, error) {
	b, err := yaml.Marshal(map[string]any(d))
	if err != nil {
		return nil, fmt.Errorf("write learned specification: %w", err)
	}
	return b, nil
}

var methods = map[string]bool{"GET": true, "PUT": true, "POST": true, "DELETE": true, "OPTIONS": true, "HEAD": true, "PATCH": true, "TRACE": true}

// Describe writes what was learned of an API. Operations that OpenAPI cannot
// say (other methods, literals with braces) are listed under
// x-sallyport-omitted, operations that bodies name under x-sallyport-calls.
func Describe(api string, list []Named) Document {
	paths, schemes := map[string]any{}, map[string]any{}
	var omitted []any
	calls := map[string]any{}
	var taught uint64
	for _, n := range sorted(list) {
		o := n.Operation
		if o == nil || o.Count == 0 {
			continue
		}
		for key, c := range o.Calls {
			calls[key] = c.describe(n)
		}
		if len(o.Answers) == 0 || o.Taught == 0 {
			continue // nothing but refusals: it may not be there at all
		}
		taught += o.Taught
		template, names, ok := renamed(n.Template)
		if !ok || !methods[n.Method] {
			omitted = append(omitted, n.Method+" "+n.Template)
			continue
		}
		written := []string{template}
		switch {
		case template == "/":
		case o.Slashed > 0 && o.Plain == 0:
			written = []string{template + "/"}
		case o.Slashed > 0:
			written = append(written, template+"/")
		}
		for i, p := range written {
			item, _ := paths[p].(map[string]any)
			if item == nil {
				item = map[string]any{}
				paths[p] = item
			}
			op := o.describe(n, names, schemes)
			op["operationId"] = identifier(n.Method, n.Template, i)
			item[strings.ToLower(n.Method)] = op
		}
	}
	doc := Document{
		"openapi": "3.1.0",
		"info": map[string]any{"title": api + ", as learned from traffic", "version": "learned",
			"description": "What requests and answers have shown. It accepts every exchange that it was learned from; members and parameters that it does not name are not forbidden."},
		"paths":                paths,
		"x-sallyport-requests": taught,
	}
	if len(schemes) > 0 {
		doc["components"] = map[string]any{"securitySchemes": schemes}
	}
	if len(omitted) > 0 {
		doc["x-sallyport-omitted"] = omitted
	}
	if len(calls) > 0 {
		doc["x-sallyport-calls"] = calls
	}
	return doc
}

func sorted(list []Named) []Named {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Named) int {
		if c := strings.Compare(a.Template, b.Template); c != 0 {
			return c
		}
		return strings.Compare(a.Method, b.Method)
	})
	return list
}

// renamed gives the template with parameter names that are unique, and the names.
func renamed(template string) (string, []string, bool) {
	var names []string
	var b strings.Builder
	for _, seg := range fields(template) {
		b.WriteByte('/')
		for seg != "" {
			open := strings.IndexByte(seg, '{')
			if open < 0 {
				if strings.ContainsAny(seg, "}") {
					return "", nil, false
				}
				b.WriteString(seg)
				break
			}
			shut := strings.IndexByte(seg, '}')
			if shut < open || strings.ContainsAny(seg[:open], "}") {
				return "", nil, false
			}
			name := seg[open+1 : shut]
			for k := 2; slices.Contains(names, name); k++ {
				name = seg[open+1:shut] + strconv.Itoa(k)
			}
			if name == "" || strings.ContainsAny(name, "{?#") {
				return "", nil, false
			}
			names = append(names, name)
			b.WriteString(seg[:open] + "{" + name + "}")
			seg = seg[shut+1:]
		}
	}
	if b.Len() == 0 {
		return "/", nil, true
	}
	return b.String(), names, !strings.ContainsAny(b.String(), "?#")
}

func identifier(method, template string, k int) string {
	var b strings.Builder
	b.WriteString(strings.ToLower(method))
	up := true
	for _, r := range template {
		switch {
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
			if up && r >= 'a' && r <= 'z' {
				r -= 32
			}
			b.WriteRune(r)
			up = false
		case r == '{':
			b.WriteString("By")
			up = true
		case r == '}':
			up = true
		default:
			if up = true; r != '/' {
				b.WriteRune('_')
			}
		}
	}
	if k > 0 {
		b.WriteString("_slash")
	}
	return b.String()
}

func (o *Operation) describe(n Named, names []string, schemes map[string]any) map[string]any {
	op := map[string]any{"responses": o.responses(), "x-sallyport-seen": o.seen(n)}
	var params []any
	for i, name := range names {
		p := map[string]any{"name": name, "in": "path", "required": true, "schema": map[string]any{"type": "string"}}
		if i < len(o.Path) && o.Path[i] != nil {
			p["schema"] = o.Path[i].schema()
		}
		params = append(params, p)
	}
	for _, key := range keysOf(o.Params) {
		in, name, _ := strings.Cut(key, " ")
		s := o.Params[key]
		schema := s.Value.schema()
		if s.Listed > 0 {
			schema = map[string]any{"type": "array", "items": schema}
		}
		p := map[string]any{"name": name, "in": in, "schema": schema, "x-sallyport-seen": map[string]any{"requests": s.Count, "of": o.Taught}}
		if in == "query" {
			p["allowEmptyValue"] = true
		}
		if s.Count >= o.Taught && o.Taught >= requiredFrom && in != "cookie" {
			p["required"] = true
			p["x-sallyport-confidence"] = Confidence(o.Taught)
		}
		params = append(params, p)
	}
	if len(params) > 0 {
		op["parameters"] = params
	}
	if len(o.Body) > 0 {
		if o.Body[unnamed] != nil {
			op["x-sallyport-content"] = content(o.Body)
		} else {
			body := map[string]any{"content": content(o.Body)}
			if o.Bodies >= o.Taught && o.Taught >= requiredFrom {
				body["required"] = true
			}
			op["requestBody"] = body
		}
	}
	var security []any
	use := map[string]any{}
	for _, key := range keysOf(o.Auth) {
		use[key] = o.Auth[key]
		needed := map[string]any{}
		if key != "none" {
			for one := range strings.SplitSeq(key, " & ") {
				id, scheme := securityScheme(one)
				schemes[id] = scheme
				needed[id] = []any{}
			}
		}
		security = append(security, needed)
	}
	if len(security) > 0 {
		op["security"] = security
		op["x-sallyport-auth"] = use
	}
	return op
}

func (o *Operation) seen(n Named) map[string]any {
	m := map[string]any{"requests": o.Taught, "exchanges": o.Count, "state": o.state(),
		"first": time.UnixMicro(o.First).UTC().Format(time.RFC3339), "last": time.UnixMicro(o.Last).UTC().Format(time.RFC3339)}
	if len(n.Reasons) > 0 {
		m["template"] = n.Reasons
	}
	return m
}

func securityScheme(key string) (string, map[string]any) {
	kind, name, _ := strings.Cut(key, " ")
	id := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '_'
	}, key)
	switch kind {
	case "http":
		return id, map[string]any{"type": "http", "scheme": name}
	case "mutualTLS":
		return id, map[string]any{"type": "mutualTLS"}
	}
	return id, map[string]any{"type": "apiKey", "in": kind, "name": name}
}

func (o *Operation) responses() map[string]any {
	out := map[string]any{}
	for status, a := range o.Answers {
		r := map[string]any{"description": "Seen " + strconv.FormatUint(a.Count, 10) + " times"}
		if a.Count == 1 {
			r["description"] = "Seen once"
		}
		switch {
		case a.Media[unnamed] != nil:
			r["x-sallyport-content"] = content(a.Media)
		case len(a.Media) > 0:
			r["content"] = content(a.Media)
		}
		out[strconv.Itoa(status)] = r
	}
	return out
}

func content(all map[string]*Media) map[string]any {
	out := map[string]any{}
	for name, m := range all {
		entry := map[string]any{"x-sallyport-seen": map[string]any{"bodies": m.Count, "read": m.Shaped}}
		if m.Schema != nil && m.Shaped > 0 && (strings.HasSuffix(name, "json") || name == unnamed && m.Shaped == m.Count || name == "application/x-www-form-urlencoded") {
			said := "schema"
			if m.Cut > 0 { // what lies beyond what was read could be anything
				said = "x-sallyport-schema"
			}
			entry[said] = m.Schema.schema(0)
		} else if m.Schema != nil {
			entry["x-sallyport-wire"] = m.Schema.wire("", nil)
		}
		out[name] = entry
	}
	return out
}

// wire lists the fields of a binary message by number.
func (n *Node) wire(at string, out map[string]any) map[string]any {
	if out == nil {
		out = map[string]any{}
	}
	for _, k := range keysOf(n.Members) {
		c := n.Members[k]
		out[at+"/"+k] = strings.Join(keysOf(c.Types), "|")
		c.wire(at+"/"+k, out)
	}
	return out
}

// schema describes a value in text.
func (v *Value) schema() map[string]any {
	s := map[string]any{"type": "string"}
	kinds := keysOf(v.Kinds)
	if len(kinds) == 1 {
		switch kinds[0] {
		case "integer", "boolean":
			s["type"] = kinds[0]
		case "uuid", "date", "date-time":
			s["format"] = kinds[0]
		}
	}
	v.Words.describe(s)
	return s
}

// describe adds what is known of an enumeration: the values that many share,
// and how much of what is seen they make up. It does not forbid others, which
// may have been there before these were many.
func (w *Words) describe(s map[string]any) {
	if w == nil || w.Closed || len(w.Counts) == 0 {
		return
	}
	var n uint64
	var values []any
	for _, k := range keysOf(w.Counts) {
		n += w.Counts[k]
		values = append(values, k)
	}
	// The chance that the next value is one of these, if a new one would have come as often as the rarest.
	s["x-sallyport-enum"] = map[string]any{"values": values, "seen": n, "confidence": Confidence(n / uint64(len(values)))}
}

// asserted are the formats that validators settle alike.
var asserted = map[string]bool{"uuid": true, "date": true, "date-time": true, "ipv4": true, "ipv6": true}

// hinted are those that only inform.
var hinted = map[string]bool{"email": true, "uri": true}

// schema describes a place in bodies.
func (n *Node) schema(depth int) map[string]any {
	var kinds []string
	nullable := false
	for _, t := range keysOf(n.Types) {
		switch t {
		case "null":
			nullable = true
		case "integer":
			if n.Types["number"] == 0 {
				kinds = append(kinds, t)
			}
		default:
			kinds = append(kinds, t)
		}
	}
	if len(kinds) > 1 {
		var list []any
		for _, k := range kinds {
			list = append(list, n.one(k, depth))
		}
		if nullable {
			list = append(list, map[string]any{"type": "null"})
		}
		return map[string]any{"oneOf": list}
	}
	if len(kinds) == 0 {
		if nullable {
			return map[string]any{"type": "null"}
		}
		return map[string]any{}
	}
	s := n.one(kinds[0], depth)
	if nullable {
		s["type"] = []any{kinds[0], "null"}
	}
	return s
}

func (n *Node) one(kind string, depth int) map[string]any {
	s := map[string]any{"type": kind}
	switch kind {
	case "string":
		if formats := keysOf(n.Formats); len(formats) == 1 && (asserted[formats[0]] || hinted[formats[0]]) {
			s["format"] = formats[0]
		}
		n.Words.describe(s)
	case "array":
		if n.Items != nil {
			s["items"] = n.Items.schema(depth + 1)
		}
	case "object":
		objects := n.Types["object"]
		members, others := n.members()
		properties := map[string]any{}
		var required []any
		for _, k := range keysOf(members) {
			c := members[k]
			p := c.schema(depth + 1)
			if c.Seen >= objects && c.Lacking == 0 && objects >= requiredFrom && len(n.Types) == 1 {
				required = append(required, k)
			} else if objects > 0 {
				p["x-sallyport-seen"] = map[string]any{"bodies": min(c.Seen, objects), "of": objects}
			}
			properties[k] = p
		}
		if len(properties) > 0 {
			s["properties"] = properties
		}
		if len(required) > 0 {
			s["required"] = required
			s["x-sallyport-confidence"] = Confidence(objects)
		}
		if others != nil {
			if len(members) == 0 && len(n.Members) < maxMembers {
				s["additionalProperties"] = others.schema(depth + 1)
			} else {
				s["x-sallyport-others"] = others.schema(depth + 1)
			}
		}
	}
	return s
}

// members parts the members with names of their own from those of a map, whose
// names are values: many, each in few of the objects.
func (n *Node) members() (map[string]*Node, *Node) {
	if len(n.Members) < 12 {
		return n.Members, n.Others
	}
	objects, seen := n.Types["object"], uint64(0)
	for _, c := range n.Members {
		seen += c.Seen
	}
	if objects == 0 || seen*3 > objects*uint64(len(n.Members)) {
		return n.Members, n.Others
	}
	var o Operation
	all := &Node{}
	if n.Others != nil {
		o.mergeNode(all, n.Others)
	}
	for _, k := range keysOf(n.Members) {
		o.mergeNode(all, n.Members[k])
	}
	return nil, all
}

func (c *Called) describe(n Named) map[string]any {
	m := map[string]any{"seen": c.Count, "at": n.Method + " " + n.Template}
	if len(c.Arguments) > 0 {
		args := map[string]any{}
		for k, t := range c.Arguments {
			args[strings.TrimPrefix(k, "/")] = t
		}
		m["arguments"] = args
	}
	if len(c.Fields) > 0 {
		var list []any
		for _, f := range keysOf(c.Fields) {
			list = append(list, f)
		}
		m["fields"] = list
	}
	return m
}

func keysOf[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// A Summary is what was learned of an operation, in short.
type Summary struct {
	State      string // "first impression", "tentative", "settled"
	Parameters []string
	Statuses   []int
	Auth       []string
	Media      []string
	Calls      []string
}

// Summary says in short what was learned.
func (n Named) Summary() Summary {
	o := n.Operation
	s := Summary{State: o.state(), Parameters: keysOf(o.Params), Auth: keysOf(o.Auth), Media: keysOf(o.Body), Calls: keysOf(o.Calls)}
	for code := range o.Answers {
		s.Statuses = append(s.Statuses, code)
	}
	slices.Sort(s.Statuses)
	return s
}

func (o *Operation) state() string {
	switch {
	case o.Taught >= 1000:
		return "settled"
	case o.Taught >= Tentative:
		return "tentative"
	}
	return "first impression"
}

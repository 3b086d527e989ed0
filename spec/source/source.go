// Package source reads a JSON or YAML document to a tree that remembers where
// each value stands. In come bytes; out go a Value, or faults with line and
// column. Aliases and merge keys are resolved, their expansion is bounded,
// duplicate keys are faults. It opens nothing and knows no schema.
package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"sallyport.dev/spec/jsondoc"
)

// Kind is the type of a value.
type Kind uint8

// The kinds of value.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

// A Value is one value of a document. Trees are immutable once read; an alias
// shares its anchor's Value.
type Value struct {
	Kind    Kind
	Bool    bool
	Text    string // a string, or a number as JSON writes it
	Items   []*Value
	Members []Member
	Line    int
	Column  int

	weight int // values under this one, aliases expanded; saturates
	index  map[string]int
}

// A Member is one key of an object.
type Member struct {
	Key    string
	Line   int
	Column int
	Value  *Value
}

// A Fault is one thing wrong with a document.
type Fault struct {
	Line, Column int
	Message      string
	Hint         string
}

// Get is the member's value, or nil. A nil receiver or another kind has none.
func (v *Value) Get(key string) *Value {
	if v == nil {
		return nil
	}
	if v.index != nil {
		if i, ok := v.index[key]; ok {
			return v.Members[i].Value
		}
		return nil
	}
	for i := range v.Members {
		if v.Members[i].Key == key {
			return v.Members[i].Value
		}
	}
	return nil
}

// Is reports whether v is there and of kind k.
func (v *Value) Is(k Kind) bool { return v != nil && v.Kind == k }

// String is v's text when it is a string, else "".
func (v *Value) String() string {
	if v.Is(String) {
		return v.Text
	}
	return ""
}

// True reports whether v is the boolean true.
func (v *Value) True() bool { return v.Is(Bool) && v.Bool }

// List is v's items when it is an array.
func (v *Value) List() []*Value {
	if v.Is(Array) {
		return v.Items
	}
	return nil
}

// Entries are the members of an object, nil of anything else.
func (v *Value) Entries() []Member {
	if v.Is(Object) {
		return v.Members
	}
	return nil
}

// Int is v as a whole number.
func (v *Value) Int() (int, bool) {
	if !v.Is(Number) {
		return 0, false
	}
	if n, err := strconv.Atoi(v.Text); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(v.Text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int(f), true
}

// Pointer follows a JSON pointer (RFC 6901); nil when it leads nowhere.
func (v *Value) Pointer(pointer string) *Value {
	if pointer == "" {
		return v
	}
	if pointer[0] != '/' {
		return nil
	}
	for _, token := range strings.Split(pointer[1:], "/") {
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		switch {
		case v.Is(Object):
			v = v.Get(token)
		case v.Is(Array):
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v.Items) || token != strconv.Itoa(i) {
				return nil
			}
			v = v.Items[i]
		default:
			return nil
		}
	}
	return v
}

// AppendJSON writes v as JSON.
func (v *Value) AppendJSON(out []byte) []byte {
	switch {
	case v == nil || v.Kind == Null:
		return append(out, "null"...)
	case v.Kind == Bool:
		return strconv.AppendBool(out, v.Bool)
	case v.Kind == Number:
		return append(out, v.Text...)
	case v.Kind == String:
		b, _ := json.Marshal(v.Text)
		return append(out, b...)
	case v.Kind == Array:
		out = append(out, '[')
		for i, x := range v.Items {
			if i > 0 {
				out = append(out, ',')
			}
			out = x.AppendJSON(out)
		}
		return append(out, ']')
	}
	out = append(out, '{')
	for i := range v.Members {
		if i > 0 {
			out = append(out, ',')
		}
		b, _ := json.Marshal(v.Members[i].Key)
		out = append(append(out, b...), ':')
		out = v.Members[i].Value.AppendJSON(out)
	}
	return append(out, '}')
}

// MaxValues bounds a document, aliases expanded.
const MaxValues = 4 << 20

// MaxDepth bounds the nesting of a document.
const MaxDepth = 256

// Parse reads one document. Its first significant byte decides: '{' or '[' is
// read as JSON, and as YAML only when that fails and yaml is true; all else is
// YAML.
func Parse(data []byte, yamlToo bool) (*Value, []Fault) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	trimmed := bytes.TrimLeft(data, " \t\r\n")
	if len(trimmed) == 0 {
		return nil, []Fault{{Line: 1, Column: 1, Message: "document is empty", Hint: "an OpenAPI document begins with openapi: 3.1.0"}}
	}
	if trimmed[0] == '{' || trimmed[0] == '[' {
		v, faults := parseJSON(data)
		if v != nil || !yamlToo || trimmed[0] == '[' && len(data) > 1<<20 {
			return v, faults
		}
		if y, bad := parseYAML(data); y != nil && len(bad) == 0 {
			return y, nil
		}
		return v, faults
	}
	return parseYAML(data)
}

// lines turns offsets into lines and columns.
type lines []int

func newLines(data []byte) lines {
	l := lines{0}
	for i, c := range data {
		if c == '\n' {
			l = append(l, i+1)
		}
	}
	return l
}

func (l lines) at(offset int) (line, column int) {
	i := sort.SearchInts(l, offset+1)
	return i, offset - l[i-1] + 1
}

func parseJSON(data []byte) (*Value, []Fault) {
	var d jsondoc.Doc
	l := newLines(data)
	err := d.Parse(data, jsondoc.Limits{Bytes: math.MaxInt32, Depth: MaxDepth, Nodes: MaxValues, Members: MaxValues, StringBytes: math.MaxInt32, Duplicates: true})
	if err != nil {
		var s *jsondoc.SyntaxError
		if !errors.As(err, &s) {
			return nil, []Fault{{Line: 1, Column: 1, Message: err.Error()}}
		}
		line, column := l.at(s.Offset)
		return nil, []Fault{{Line: line, Column: column, Message: "not valid JSON: " + s.Message, Hint: "rule " + s.Rule}}
	}
	b := &jsonBuilder{d: &d, lines: l, keys: map[string]string{}}
	v := b.value(0)
	return v, b.faults
}

type jsonBuilder struct {
	d       *jsondoc.Doc
	lines   lines
	keys    map[string]string // interned
	scratch []byte
	faults  []Fault
}

func (b *jsonBuilder) value(i int) *Value {
	n := &b.d.Nodes[i]
	v := &Value{weight: 1}
	start := int(n.Start)
	switch n.Kind {
	case jsondoc.True:
		v.Kind, v.Bool = Bool, true
	case jsondoc.False:
		v.Kind = Bool
	case jsondoc.Number:
		v.Kind, v.Text = Number, string(b.d.Raw(i))
	case jsondoc.String:
		v.Kind, v.Text = String, string(b.d.Text(i, b.scratch))
		start--
	case jsondoc.Array:
		v.Kind, v.Items = Array, make([]*Value, 0, n.Count)
		for c := i + 1; c < int(n.Next); c = int(b.d.Nodes[c].Next) {
			v.Items = append(v.Items, b.value(c))
		}
	case jsondoc.Object:
		v.Kind, v.Members = Object, make([]Member, 0, n.Count)
		for c := i + 1; c < int(n.Next); c = int(b.d.Nodes[c].Next) {
			k := b.d.Key(c, b.scratch)
			key, ok := b.keys[string(k)]
			if !ok {
				key = string(k)
				b.keys[key] = key
			}
			line, column := b.lines.at(int(b.d.Nodes[c].KeyStart) - 1)
			v.Members = append(v.Members, Member{Key: key, Line: line, Column: column, Value: b.value(c)})
		}
		b.faults = v.finish(b.faults)
	}
	v.Line, v.Column = b.lines.at(start)
	return v
}

// finish builds the index of an object and finds duplicate keys; the last wins.
func (v *Value) finish(faults []Fault) []Fault {
	if len(v.Members) < 2 {
		return faults
	}
	index := make(map[string]int, len(v.Members))
	for i := range v.Members {
		m := &v.Members[i]
		if first, ok := index[m.Key]; ok {
			faults = append(faults, Fault{Line: m.Line, Column: m.Column, Message: fmt.Sprintf("key %q stands twice", m.Key),
				Hint: fmt.Sprintf("first on line %d", v.Members[first].Line)})
			continue
		}
		index[m.Key] = i
	}
	if len(v.Members) > 8 {
		v.index = index
	}
	return faults
}

var yamlLine = regexp.MustCompile(`line (\d+)(?:, column (\d+))?`)

func parseYAML(data []byte) (v *Value, faults []Fault) {
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		f := Fault{Line: 1, Column: 1, Message: "not valid YAML: " + strings.TrimPrefix(firstLine(err.Error()), "yaml: ")}
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			f.Line, _ = strconv.Atoi(m[1])
			if c, err := strconv.Atoi(m[2]); err == nil {
				f.Column = c
			}
		}
		return nil, []Fault{f}
	}
	if root.Kind != yaml.DocumentNode || len(root.Content) == 0 {
		return nil, []Fault{{Line: 1, Column: 1, Message: "document is empty", Hint: "an OpenAPI document begins with openapi: 3.1.0"}}
	}
	b := &yamlBuilder{done: map[*yaml.Node]*Value{}, open: map[*yaml.Node]bool{}}
	v = b.value(root.Content[0], 0)
	if v != nil && v.weight > MaxValues {
		b.fault(root.Content[0], fmt.Sprintf("document expands to more than %d values", MaxValues), "use fewer aliases, or $ref")
		return nil, b.faults
	}
	if b.broken {
		return nil, b.faults
	}
	return v, b.faults
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

type yamlBuilder struct {
	done   map[*yaml.Node]*Value // anchored nodes
	open   map[*yaml.Node]bool   // being read, to find an alias inside its own anchor
	faults []Fault
	broken bool
}

func (b *yamlBuilder) fault(n *yaml.Node, message, hint string) {
	b.faults = append(b.faults, Fault{Line: n.Line, Column: n.Column, Message: message, Hint: hint})
}

func (b *yamlBuilder) value(n *yaml.Node, depth int) *Value {
	if depth > MaxDepth {
		if !b.broken {
			b.fault(n, fmt.Sprintf("document is nested deeper than %d", MaxDepth), "")
		}
		b.broken = true
		return &Value{weight: 1}
	}
	if n.Kind == yaml.AliasNode {
		if n.Alias == nil || b.open[n.Alias] {
			b.fault(n, "alias stands inside its own anchor", "use $ref for recursion")
			b.broken = true
			return &Value{weight: 1}
		}
		if v := b.done[n.Alias]; v != nil {
			return v
		}
		return b.value(n.Alias, depth)
	}
	anchored := n.Anchor != ""
	if anchored {
		if v := b.done[n]; v != nil {
			return v
		}
		b.open[n] = true
	}
	v := &Value{Line: n.Line, Column: n.Column, weight: 1}
	switch n.Kind {
	case yaml.SequenceNode:
		v.Kind, v.Items = Array, make([]*Value, 0, len(n.Content))
		for _, c := range n.Content {
			x := b.value(c, depth+1)
			v.weight = min(v.weight+x.weight, MaxValues+1)
			v.Items = append(v.Items, x)
		}
	case yaml.MappingNode:
		b.mapping(n, v, depth)
	default:
		b.scalar(n, v)
	}
	if anchored {
		delete(b.open, n)
		b.done[n] = v
	}
	return v
}

func (b *yamlBuilder) mapping(n *yaml.Node, v *Value, depth int) {
	v.Kind, v.Members = Object, make([]Member, 0, len(n.Content)/2)
	var merged []*Value
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, c := n.Content[i], n.Content[i+1]
		for k.Kind == yaml.AliasNode && k.Alias != nil {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			b.fault(k, "key is no plain word", "write keys as strings")
			continue
		}
		x := b.value(c, depth+1)
		v.weight = min(v.weight+x.weight, MaxValues+1)
		if k.Tag == "!!merge" || k.Value == "<<" && k.Style == 0 {
			if x.Is(Array) {
				merged = append(merged, x.Items...)
			} else {
				merged = append(merged, x)
			}
			continue
		}
		v.Members = append(v.Members, Member{Key: k.Value, Line: n.Content[i].Line, Column: n.Content[i].Column, Value: x})
	}
	b.faults = v.finish(b.faults)
	if merged == nil {
		return
	}
	have := make(map[string]bool, len(v.Members))
	for i := range v.Members {
		have[v.Members[i].Key] = true
	}
	for _, x := range merged {
		if !x.Is(Object) {
			b.fault(n, "merge key needs a mapping", "")
			continue
		}
		for _, m := range x.Members {
			if !have[m.Key] {
				have[m.Key] = true
				v.Members = append(v.Members, m)
				v.weight = min(v.weight+m.Value.weight, MaxValues+1)
			}
		}
	}
	v.index = nil
	v.finish(nil)
}

func (b *yamlBuilder) scalar(n *yaml.Node, v *Value) {
	switch n.ShortTag() {
	case "!!null":
		v.Kind = Null
	case "!!bool":
		v.Kind, v.Bool = Bool, strings.EqualFold(n.Value, "true") || strings.EqualFold(n.Value, "yes") || strings.EqualFold(n.Value, "on")
	case "!!int", "!!float":
		text, ok := jsonNumber(n.Value)
		if !ok {
			b.fault(n, fmt.Sprintf("number %.40q has no JSON form", n.Value), "quote it if a string is meant")
			text = "0"
		}
		v.Kind, v.Text = Number, text
	default:
		v.Kind, v.Text = String, n.Value
	}
}

// jsonNumber writes a YAML number as JSON does.
func jsonNumber(s string) (string, bool) {
	if end, _, ok := jsondoc.ScanNumber([]byte(s), 0); ok && end == len(s) {
		return s, true
	}
	if n, err := strconv.ParseInt(s, 0, 64); err == nil {
		return strconv.FormatInt(n, 10), true
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return "", false
	}
	return strconv.FormatFloat(f, 'g', -1, 64), true
}

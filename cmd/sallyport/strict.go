package main

import (
	"cmp"
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v4"
)

// A mistake is one thing wrong in the configuration file, with its place.
type mistake struct {
	Line, Column int
	Text         string
}

// mistakes is every mistake of one file, in the order of their lines.
type mistakes struct {
	File    string
	List    []mistake
	choices []choice // found while decoding
}

func (m *mistakes) add(n *yaml.Node, format string, args ...any) {
	m.List = append(m.List, mistake{n.Line, n.Column, fmt.Sprintf(format, args...)})
}

func (m *mistakes) Error() string {
	slices.SortStableFunc(m.List, func(a, b mistake) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
	lines := make([]string, len(m.List))
	for i, x := range m.List {
		lines[i] = fmt.Sprintf("%s:%d:%d: %s", m.File, x.Line, x.Column, x.Text)
	}
	return strings.Join(lines, "\n")
}

func (m *mistakes) err() error {
	if len(m.List) == 0 {
		return nil
	}
	return m
}

// A variant reads itself from a node, for settings that take more than one form
// ("off" or a mapping), and says what forms there are.
type variant interface {
	fromNode(n *yaml.Node, m *mistakes)
	schema() map[string]any
}

const maxConfigBytes = 4 << 20

// decodeStrict fills v, a pointer to a struct, from YAML. It collects every
// unknown key, wrong type and duplicate key instead of stopping at the first. The
// values that are one of a few words are for the caller to look at, once it has
// said more of them.
func decodeStrict(file string, data []byte, v any) (*yaml.Node, []choice, error) {
	m := &mistakes{File: file}
	if len(data) > maxConfigBytes {
		return nil, nil, fmt.Errorf("%s: larger than %d MiB; a configuration is a page or two", file, maxConfigBytes>>20)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, nil, fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) == 0 {
		return nil, nil, fmt.Errorf("%s: empty; `sallyport config schema` lists the settings and examples/ has files to start from", file)
	}
	m.decode(doc.Content[0], reflect.ValueOf(v).Elem(), "")
	return doc.Content[0], m.choices, m.err()
}

func valueOf(pointer any) reflect.Value { return reflect.ValueOf(pointer).Elem() }

func schemaOf(v any) map[string]any { return jsonSchema(reflect.TypeOf(v)) }

// parseTime reads a date, meaning its end in UTC, or an RFC 3339 time.
func parseTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t.Add(24*time.Hour - time.Second), nil
	}
	return time.Parse(time.RFC3339, s)
}

var durationType = reflect.TypeFor[time.Duration]()

func (m *mistakes) decode(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind == yaml.AliasNode {
		m.add(n, "%s: anchors and aliases are not read here; write the value out", here(path))
		return
	}
	if n.Tag == "!!null" && v.Kind() != reflect.Pointer {
		if v.Kind() == reflect.Struct || v.Kind() == reflect.Slice || v.Kind() == reflect.Map {
			return // "apis:" with nothing below it is an empty list
		}
	}
	if v.CanAddr() {
		switch x := v.Addr().Interface().(type) {
		case variant:
			x.fromNode(n, m)
			return
		case *time.Time:
			if t, err := parseTime(n.Value); err != nil {
				m.add(n, "%s: want a date such as 2027-03-31 or 2027-03-31T12:00:00Z, found %q", here(path), n.Value)
			} else {
				*x = t
			}
			return
		case encoding.TextUnmarshaler:
			if n.Kind == yaml.MappingNode && mapping(v.Type()) {
				break // its long form
			}
			if n.Kind != yaml.ScalarNode {
				m.add(n, "%s: want one value", here(path))
			} else if err := x.UnmarshalText([]byte(n.Value)); err != nil {
				if _, network := v.Addr().Interface().(*netip.Prefix); network {
					err = fmt.Errorf("want a network such as 10.0.0.0/8, found %q", n.Value)
				}
				m.add(n, "%s: %v", here(path), err)
			}
			return
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		if n.Tag == "!!null" {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		m.decode(n, v.Elem(), path)
	case reflect.Struct:
		m.decodeStruct(n, v, path)
	case reflect.Slice:
		if n.Kind == yaml.MappingNode && v.Type().Elem().Kind() == reflect.Struct {
			n = &yaml.Node{Kind: yaml.SequenceNode, Line: n.Line, Column: n.Column, Content: []*yaml.Node{n}} // one entry needs no list
		}
		if n.Kind != yaml.SequenceNode {
			m.add(n, "%s: want a list, found %s", here(path), kindOf(n))
			return
		}
		out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
		for i, c := range n.Content {
			m.decode(c, out.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
		v.Set(out)
	case reflect.Map:
		if n.Kind != yaml.MappingNode {
			m.add(n, "%s: want keys with values, found %s", here(path), kindOf(n))
			return
		}
		out := reflect.MakeMap(v.Type())
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := reflect.New(v.Type().Key()).Elem()
			m.decode(n.Content[i], key, path)
			if out.MapIndex(key).IsValid() {
				m.add(n.Content[i], "%s: %q stands twice", here(path), n.Content[i].Value)
			}
			val := reflect.New(v.Type().Elem()).Elem()
			m.decode(n.Content[i+1], val, join(path, n.Content[i].Value))
			out.SetMapIndex(key, val)
		}
		v.Set(out)
	default:
		m.decodeScalar(n, v, path)
	}
}

func (m *mistakes) decodeScalar(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		m.add(n, "%s: want one value, found %s", here(path), kindOf(n))
		return
	}
	bad := func(want string) { m.add(n, "%s: want %s, found %q", here(path), want, n.Value) }
	switch {
	case v.Type() == durationType:
		d, err := time.ParseDuration(n.Value)
		if err != nil || d < 0 {
			bad("a duration such as 30s, 5m or 6h")
			return
		}
		v.SetInt(int64(d))
	case v.Kind() == reflect.String:
		if n.Tag != "!!str" && n.Tag != "!!int" && n.Tag != "!!float" && n.Tag != "!!timestamp" {
			bad("text")
			return
		}
		v.SetString(n.Value)
	case v.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(n.Value)
		if err != nil {
			bad("true or false")
			return
		}
		v.SetBool(b)
	case v.CanInt():
		i, err := strconv.ParseInt(n.Value, 10, 64)
		if err != nil || v.OverflowInt(i) {
			bad("a whole number")
			return
		}
		v.SetInt(i)
	case v.CanFloat():
		f, err := strconv.ParseFloat(n.Value, 64)
		if err != nil {
			bad("a number")
			return
		}
		v.SetFloat(f)
	default:
		panic("configuration holds a " + v.Type().String())
	}
}

func (m *mistakes) decodeStruct(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		m.add(n, "%s: want keys with values, found %s", here(path), kindOf(n))
		return
	}
	known := fields(v.Type())
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		switch at, ok := known[k.Value]; {
		case !ok:
			m.add(k, "unknown key %q%s", join(path, k.Value), nearest(k.Value, known))
		case seen[k.Value]:
			m.add(k, "%q stands twice", join(path, k.Value))
		default:
			seen[k.Value] = true
			m.decode(n.Content[i+1], v.FieldByIndex(at), join(path, k.Value))
			if words := v.Type().FieldByIndex(at).Tag.Get("enum"); words != "" && v.FieldByIndex(at).Kind() == reflect.String {
				m.choices = append(m.choices, choice{n.Content[i+1], join(path, k.Value), v.FieldByIndex(at).String(), strings.Split(words, "|")})
			}
		}
	}
}

// A choice is a value that is one of a few words.
type choice struct {
	at    *yaml.Node
	path  string
	value string
	words []string
}

// unchosen adds those choices that are none of their words and of which nothing
// was said yet.
func (m *mistakes) unchosen(list []choice) {
	for _, c := range list {
		said := func(x mistake) bool { return x.Line == c.at.Line && x.Column == c.at.Column }
		if c.value != "" && !slices.Contains(c.words, c.value) && !slices.ContainsFunc(m.List, said) {
			m.add(c.at, "%s: %q is not one of %s", c.path, c.value, strings.Join(c.words, ", "))
		}
	}
}

// fields maps each key of a struct to its field; embedded structs are inlined.
func fields(t reflect.Type) map[string][]int {
	out := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if f.IsExported() && name != "" && name != "-" {
			out[name] = f.Index
		}
	}
	return out
}

func here(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	}
	return strconv.Quote(n.Value)
}

// nearest names the known key that a misspelt one most likely meant, or all of
// them when none is close.
func nearest(key string, known map[string][]int) string {
	best, distance := "", 1+max(1, len(key)/2)
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if d := editDistance(strings.ToLower(key), name); d < distance {
			best, distance = name, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	return "; known here: " + strings.Join(names, ", ")
}

// editDistance counts the insertions, deletions, substitutions and swaps of
// neighbours between a and b (optimal string alignment).
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row := rows[(i+2)%3], rows[i%3], rows[(i+1)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return rows[(len(a)+1)%3][len(b)]
}

// jsonSchema describes t as JSON Schema 2020-12, from the same tags that
// decodeStrict reads: yaml names the key, doc explains it, enum lists values.
func jsonSchema(t reflect.Type) map[string]any {
	if t.Kind() == reflect.Pointer {
		return jsonSchema(t.Elem())
	}
	switch x := reflect.New(t).Interface().(type) {
	case variant:
		return x.schema()
	case *time.Time:
		return map[string]any{"type": "string", "description": "A date, or an RFC 3339 time."}
	case encoding.TextUnmarshaler:
		if !mapping(t) {
			return map[string]any{"type": []string{"string", "number"}}
		}
		return map[string]any{"oneOf": []any{map[string]any{"type": "string"}, objectSchema(t)}}
	}
	switch {
	case t == durationType:
		return map[string]any{"type": "string", "pattern": `^([0-9.]+(ns|us|µs|ms|s|m|h))+$`}
	case t.Kind() == reflect.Struct:
		return objectSchema(t)
	case t.Kind() == reflect.Slice:
		item := jsonSchema(t.Elem())
		list := map[string]any{"type": "array", "items": item}
		if t.Elem().Kind() == reflect.Struct && item["type"] == "object" {
			return map[string]any{"oneOf": []any{list, item}}
		}
		return list
	case t.Kind() == reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": jsonSchema(t.Elem())}
	case t.Kind() == reflect.Bool:
		return map[string]any{"type": "boolean"}
	case t.Kind() == reflect.String:
		return map[string]any{"type": "string"}
	case t.Kind() == reflect.Float64:
		return map[string]any{"type": "number"}
	}
	return map[string]any{"type": "integer"}
}

// mapping reports whether a type that reads itself from text is written as a
// mapping too.
func mapping(t reflect.Type) bool { return t.Kind() == reflect.Struct && len(fields(t)) > 0 }

func objectSchema(t reflect.Type) map[string]any {
	props := map[string]any{}
	var required []string
	for name, at := range fields(t) {
		f := t.FieldByIndex(at)
		s := jsonSchema(f.Type)
		if d := f.Tag.Get("doc"); d != "" {
			s["description"] = d
		}
		if e := f.Tag.Get("enum"); e != "" {
			s["enum"] = strings.Split(e, "|")
		}
		if f.Tag.Get("need") != "" {
			required = append(required, name)
		}
		props[name] = s
	}
	out := map[string]any{"type": "object", "additionalProperties": false, "properties": props}
	if len(required) > 0 {
		slices.Sort(required)
		out["required"] = required
	}
	return out
}

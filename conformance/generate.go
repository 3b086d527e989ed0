package conformance

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"sallyport.dev/spec"
	"sallyport.dev/spec/source"
)

// A shape is what a schema asks of a value, allOf merged in.
type shape struct {
	types              []string
	enum               []any
	format, pattern    string
	minLen, maxLen     int // -1 = not said
	min, max           *float64
	overMin, underMax  bool // exclusive
	multiple           float64
	items              spec.Node
	minItems, maxItems int
	unique             bool
	props              []prop
	closed             bool
	choices            []spec.Node // oneOf or anyOf
	readOnly           bool
	writeOnly          bool
	fallback           any // default
}

type prop struct {
	name     string
	node     spec.Node
	required bool
}

func shapeOf(n spec.Node) *shape {
	s := &shape{minLen: -1, maxLen: -1, minItems: -1, maxItems: -1}
	s.merge(n.Resolve(), 0)
	if len(s.types) == 0 {
		switch {
		case len(s.props) > 0:
			s.types = []string{"object"}
		case s.items.Value != nil:
			s.types = []string{"array"}
		case s.pattern != "" || s.format != "" || s.maxLen >= 0 || s.minLen >= 0:
			s.types = []string{"string"}
		case s.min != nil || s.max != nil:
			s.types = []string{"number"}
		}
	}
	return s
}

func (s *shape) is(t string) bool { return slices.Contains(s.types, t) }

func (s *shape) merge(n spec.Node, depth int) {
	if n.Value == nil || depth > 16 {
		return
	}
	v := n.Value
	count := func(key string, into *int) {
		if i, ok := v.Get(key).Int(); ok {
			*into = i
		}
	}
	switch t := v.Get("type"); {
	case t.Is(source.String):
		s.types = []string{t.Text}
	case t.Is(source.Array):
		s.types = nil
		for _, x := range t.Items {
			s.types = append(s.types, x.String())
		}
	}
	if v.Get("nullable").True() || v.Get("x-nullable").True() {
		s.types = append(s.types, "null")
	}
	if e := v.Get("enum"); e.Is(source.Array) {
		s.enum = nil
		for _, x := range e.Items {
			s.enum = append(s.enum, plain(x))
		}
	}
	if c := v.Get("const"); c != nil {
		s.enum = []any{plain(c)}
	}
	if d := v.Get("default"); d != nil {
		s.fallback = plain(d)
	}
	if f := v.Get("format").String(); f != "" {
		s.format = f
	}
	if p := v.Get("pattern").String(); p != "" {
		s.pattern = p
	}
	count("minLength", &s.minLen)
	count("maxLength", &s.maxLen)
	count("minItems", &s.minItems)
	count("maxItems", &s.maxItems)
	s.unique = s.unique || v.Get("uniqueItems").True()
	s.readOnly = s.readOnly || v.Get("readOnly").True()
	s.writeOnly = s.writeOnly || v.Get("writeOnly").True()
	number := func(key string) *float64 {
		if x := v.Get(key); x.Is(source.Number) {
			if f, err := strconv.ParseFloat(x.Text, 64); err == nil {
				return &f
			}
		}
		return nil
	}
	if f := number("minimum"); f != nil {
		s.min, s.overMin = f, v.Get("exclusiveMinimum").True()
	}
	if f := number("maximum"); f != nil {
		s.max, s.underMax = f, v.Get("exclusiveMaximum").True()
	}
	if f := number("exclusiveMinimum"); f != nil {
		s.min, s.overMin = f, true
	}
	if f := number("exclusiveMaximum"); f != nil {
		s.max, s.underMax = f, true
	}
	if f := number("multipleOf"); f != nil {
		s.multiple = *f
	}
	if i := n.Get("items"); i.Value != nil {
		s.items = i
	}
	for _, key := range []string{"additionalProperties", "unevaluatedProperties"} {
		if a := v.Get(key); a.Is(source.Bool) && !a.Bool {
			s.closed = true
		}
	}
	n.Get("properties").Members(func(name string, p spec.Node) {
		i := slices.IndexFunc(s.props, func(q prop) bool { return q.name == name })
		if i < 0 {
			s.props = append(s.props, prop{name: name, node: p})
		} else {
			s.props[i].node = p
		}
	})
	for _, a := range n.Get("allOf").Items() {
		s.merge(a, depth+1)
	}
	for _, x := range v.Get("required").List() {
		i := slices.IndexFunc(s.props, func(q prop) bool { return q.name == x.String() })
		if i >= 0 {
			s.props[i].required = true
		}
	}
	for _, key := range []string{"oneOf", "anyOf"} {
		if c := n.Get(key).Items(); len(c) > 0 {
			s.choices = c
		}
	}
}

// plain is a value of a description as encoding/json would read it.
func plain(v *source.Value) (out any) {
	if v != nil {
		_ = json.Unmarshal(v.AppendJSON(nil), &out)
	}
	return out
}

// A maker makes values for one request, the same ones for the same seed.
type maker struct {
	rng     *rand.Rand
	ids     func(name string, s *shape) (any, bool) // of something that is there, by the name of the field
	lean    bool                                    // required members only
	pick    int                                     // which of oneOf
	tag     string
	request bool
}

// value makes a value that the schema admits. The second result is false where
// none can be guessed.
func (m *maker) value(n spec.Node, name string, depth int) (any, bool) {
	s := shapeOf(n)
	if depth > 8 {
		return nil, false
	}
	if len(s.enum) > 0 {
		return s.enum[m.rng.IntN(len(s.enum))], true
	}
	if len(s.choices) > 0 && len(s.props) == 0 {
		return m.value(s.choices[m.pick%len(s.choices)], name, depth+1)
	}
	if m.ids != nil && (s.is("string") || s.is("integer")) {
		if v, ok := m.ids(name, s); ok {
			return v, true
		}
	}
	switch {
	case s.is("object"):
		return m.object(s, depth)
	case s.is("array"):
		return m.array(s, name, max(s.minItems, 1), depth)
	case s.is("string"):
		return m.text(s, name)
	case s.is("integer"), s.is("number"):
		return m.number(s)
	case s.is("boolean"):
		return m.rng.IntN(2) == 1, true
	case s.is("null"):
		return nil, true
	}
	return m.tag + m.word(6), true
}

func (m *maker) object(s *shape, depth int) (any, bool) {
	out := map[string]any{}
	for _, p := range s.props {
		ps := shapeOf(p.node)
		if m.request && ps.readOnly || !p.required && (m.lean || depth > 4) {
			continue
		}
		v, ok := m.value(p.node, p.name, depth+1)
		switch {
		case ok:
			out[p.name] = v
		case p.required:
			return nil, false
		}
	}
	if len(s.choices) > 0 {
		if v, ok := m.value(s.choices[m.pick%len(s.choices)], "", depth+1); ok {
			if x, ok := v.(map[string]any); ok {
				for k, v := range x {
					out[k] = v
				}
			}
		}
	}
	return out, true
}

func (m *maker) array(s *shape, name string, n, depth int) (any, bool) {
	if s.maxItems >= 0 {
		n = min(n, s.maxItems)
	}
	out := []any{}
	for tries := 0; len(out) < n && tries < 4*n+8; tries++ {
		v, ok := m.value(s.items, strings.TrimSuffix(name, "s"), depth+1)
		if !ok {
			return out, s.minItems <= 0
		}
		if s.unique && slices.ContainsFunc(out, func(x any) bool { return same(x, v) }) {
			continue
		}
		out = append(out, v)
	}
	return out, len(out) >= s.minItems
}

func same(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

const letters = "abcdefghijklmnopqrstuvwxyz"

func (m *maker) word(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[m.rng.IntN(26)]
	}
	return string(b)
}

func (m *maker) uuid() string {
	a, b := m.rng.Uint64(), m.rng.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", uint32(a), uint16(a>>32), a>>52, b>>52, b&(1<<48-1))
}

// text makes a string between the bounds; formats and patterns that cannot be
// met are said.
func (m *maker) text(s *shape, name string) (any, bool) {
	lower := strings.ToLower(name)
	var t string
	switch s.format {
	case "uuid":
		return m.uuid(), true
	case "date":
		return fmt.Sprintf("%d-%02d-%02d", 2030+m.rng.IntN(20), 1+m.rng.IntN(12), 1+m.rng.IntN(28)), true
	case "date-time":
		return fmt.Sprintf("%d-%02d-%02dT%02d:%02d:00Z", 2030+m.rng.IntN(20), 1+m.rng.IntN(12), 1+m.rng.IntN(28), m.rng.IntN(24), m.rng.IntN(60)), true
	case "time":
		return fmt.Sprintf("%02d:%02d:00Z", m.rng.IntN(24), m.rng.IntN(60)), true
	case "email", "idn-email":
		return m.word(8) + "@example.com", true
	case "uri", "url", "iri", "uri-reference":
		return "https://example.com/" + m.word(6), true
	case "hostname":
		return m.word(8) + ".example.com", true
	case "ipv4":
		return fmt.Sprintf("192.0.2.%d", 1+m.rng.IntN(250)), true
	case "ipv6":
		return fmt.Sprintf("2001:db8::%x", 1+m.rng.IntN(65000)), true
	case "byte":
		return "c2FsbHlwb3J0", true
	case "binary":
		return m.word(16), true
	}
	low, high := max(s.minLen, 0), s.maxLen
	if high < 0 {
		high = max(low, 24)
	}
	if s.pattern != "" {
		for range 40 {
			t, ok := m.matching(s.pattern, low, high)
			if ok {
				return t, true
			}
		}
		return nil, false
	}
	switch {
	case strings.Contains(lower, "mail"):
		t = m.word(8) + "@example.com"
	case strings.Contains(lower, "password"):
		t = "Pw-" + m.word(10) + "-73"
	case strings.Contains(lower, "url") || strings.Contains(lower, "uri"):
		t = "https://example.com/" + m.word(6)
	default:
		t = m.tag + m.word(8)
	}
	if n := utf8.RuneCountInString(t); n > high {
		t = m.word(high)
	} else if n < low {
		t += m.word(low - n)
	}
	return t, true
}

// matching makes a string of a pattern, low to high characters long.
func (m *maker) matching(pattern string, low, high int) (string, bool) {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return "", false
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return "", false
	}
	tree = tree.Simplify()
	for extra := range 12 {
		var b strings.Builder
		m.expand(&b, tree, extra*max(1, low/4))
		t := b.String()
		n := utf8.RuneCountInString(t)
		if n < low && !strings.HasPrefix(pattern, "^") {
			t += m.word(low - n)
			n = low
		}
		if n >= low && n <= high && re.MatchString(t) {
			return t, true
		}
	}
	return "", false
}

func (m *maker) expand(b *strings.Builder, r *syntax.Regexp, extra int) {
	if b.Len() > 4096 {
		return
	}
	repeat := func(least, most int) {
		n := least + extra
		if most >= 0 {
			n = min(n, most)
		}
		for range n {
			m.expand(b, r.Sub[0], extra)
		}
	}
	switch r.Op {
	case syntax.OpLiteral:
		for _, c := range r.Rune {
			b.WriteRune(c)
		}
	case syntax.OpCharClass:
		var good []rune
		for i := 0; i+1 < len(r.Rune); i += 2 {
			for c := r.Rune[i]; c <= r.Rune[i+1] && len(good) < 128; c++ {
				if c > ' ' && c < 127 && c != '"' && c != '\\' {
					good = append(good, c)
				}
			}
		}
		if len(good) == 0 && len(r.Rune) > 0 {
			good = r.Rune[:1]
		}
		if len(good) > 0 {
			b.WriteRune(good[m.rng.IntN(len(good))])
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte(letters[m.rng.IntN(26)])
	case syntax.OpCapture:
		m.expand(b, r.Sub[0], extra)
	case syntax.OpStar:
		repeat(0, -1)
	case syntax.OpPlus:
		repeat(1, -1)
	case syntax.OpQuest:
		repeat(0, 1)
	case syntax.OpRepeat:
		repeat(r.Min, r.Max)
	case syntax.OpConcat:
		for _, x := range r.Sub {
			m.expand(b, x, extra)
		}
	case syntax.OpAlternate:
		m.expand(b, r.Sub[m.rng.IntN(len(r.Sub))], extra)
	}
}

// bounds are the least and greatest number of a shape; infinite where not said.
func (s *shape) bounds() (low, high float64) {
	low, high = math.Inf(-1), math.Inf(1)
	step := s.step()
	if s.min != nil {
		if low = *s.min; s.overMin {
			low += step
		}
	}
	if s.max != nil {
		if high = *s.max; s.underMax {
			high -= step
		}
	}
	if s.multiple > 0 {
		low, high = math.Ceil(low/s.multiple)*s.multiple, math.Floor(high/s.multiple)*s.multiple
	}
	if s.is("integer") {
		low, high = math.Ceil(low), math.Floor(high)
	}
	return low, high
}

func (s *shape) step() float64 {
	switch {
	case s.multiple > 0:
		return s.multiple
	case s.is("integer"):
		return 1
	}
	return 0.5
}

func (m *maker) number(s *shape) (any, bool) {
	low, high := s.bounds()
	if low > high {
		return nil, false
	}
	if math.IsInf(low, 0) {
		low = math.Min(1, high)
	}
	span := math.Min(high-low, 50*s.step())
	n := low + math.Floor(m.rng.Float64()*(span/s.step()+1))*s.step()
	if n > high {
		n = low
	}
	if s.is("integer") {
		return int64(n), true
	}
	return math.Round(n*1e9) / 1e9, true
}

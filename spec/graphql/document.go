package graphql

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

// Bounds of a document. Zero fields take the value of DefaultBounds.
type Bounds struct {
	Bytes      int   // of its text
	Tokens     int   // of its text, counted while it is parsed
	Depth      int   // of selections
	Breadth    int   // fields of one selection, fragments put in
	Fields     int   // of the operations in all, fragments put in
	Aliases    int   // in the document
	Roots      int   // fields of an operation's root selection
	Directives int   // in the document
	Cost       int64 // of an operation
	List       int   // size of a list whose size no argument gives, for the cost
}

// DefaultBounds are the bounds used where none are given.
var DefaultBounds = Bounds{Bytes: 64 << 10, Tokens: 4000, Depth: 15, Breadth: 200, Fields: 2000, Aliases: 30, Roots: 20, Directives: 50, Cost: 10_000, List: 10}

// WithDefaults fills the fields that are zero.
func (b Bounds) WithDefaults() Bounds {
	d := DefaultBounds
	for _, f := range []struct{ have, want *int }{{&b.Bytes, &d.Bytes}, {&b.Tokens, &d.Tokens}, {&b.Depth, &d.Depth}, {&b.Breadth, &d.Breadth},
		{&b.Fields, &d.Fields}, {&b.Aliases, &d.Aliases}, {&b.Roots, &d.Roots}, {&b.Directives, &d.Directives}, {&b.List, &d.List}} {
		if *f.have == 0 {
			*f.have = *f.want
		}
	}
	if b.Cost == 0 {
		b.Cost = d.Cost
	}
	return b
}

// maxTwins bounds the fields with selections of their own that stand more than
// once in a selection: whether they can be merged is compared pair by pair.
const maxTwins = 64

// A Problem is one rule that a document breaks. Its detail holds names of the
// schema and counts, nothing that the sender wrote.
type Problem struct{ Rule, Detail string }

// A Literal is a string that stands in a document.
type Literal struct {
	Text string
	Path string // field and argument, as "/user/name"
}

// A Document is one that is valid, compiled. It is immutable, but for the mark
// that its literals have been looked at, and safe for concurrent use.
type Document struct {
	Text       string
	Literals   []Literal
	operations []*Operation
	hash       string
	harmless   atomic.Bool
}

// Harmless reports whether MarkHarmless has been called.
func (d *Document) Harmless() bool { return d.harmless.Load() }

// MarkHarmless keeps that the literals have been inspected and are clean.
func (d *Document) MarkHarmless() { d.harmless.Store(true) }

// An Operation is one of a document.
type Operation struct {
	Name        string
	Kind        string   // query, mutation or subscription
	Roots       []string // names of its root fields, each once, without __typename
	Introspects bool     // asks for __schema or __type

	schema    *Schema
	variables ast.VariableDefinitionList
	selection ast.SelectionSet
	cost      cost
	once      sync.Once
	wants     *answers // of once
}

// Parse reads and validates a document. Exactly one of the results is nil.
func (s *Schema) Parse(text string, b Bounds) (*Document, []Problem) {
	if len(text) > b.Bytes {
		return nil, []Problem{{"graphql.bytes", "document is larger than " + strconv.Itoa(b.Bytes) + " bytes"}}
	}
	if !utf8.ValidString(text) {
		return nil, []Problem{{"graphql.utf8", "document is not UTF-8"}}
	}
	q, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: text}, b.Tokens)
	if err != nil {
		if strings.Contains(err.Error(), "token limit") {
			return nil, []Problem{{"graphql.tokens", "document has more than " + strconv.Itoa(b.Tokens) + " tokens"}}
		}
		return nil, []Problem{syntaxProblem(err)}
	}
	if len(q.Operations) == 0 {
		return nil, []Problem{{"graphql.syntax", "document holds no operation"}}
	}
	if p := measure(q, b); p.Rule != "" {
		return nil, []Problem{p}
	}
	if list := validator.ValidateWithRules(s.ast, q, rules.NewDefaultRules()); len(list) > 0 {
		return nil, problems(list)
	}
	d := &Document{Text: text, hash: Hash(text)}
	for _, o := range q.Operations {
		c := compiler{schema: s, list: int64(b.List)}
		op := &Operation{Name: o.Name, Kind: string(o.Operation), schema: s, variables: o.VariableDefinitions, selection: o.SelectionSet}
		c.roots(op, o.SelectionSet)
		weight := int64(0)
		if o.Operation == ast.Mutation {
			weight = mutationCost
		}
		op.cost = c.selection(o.SelectionSet, 0, weight)
		d.operations = append(d.operations, op)
		for _, v := range o.VariableDefinitions {
			d.literals("/$"+v.Variable, v.DefaultValue)
			d.directives("/$"+v.Variable, v.Directives)
		}
		d.directives("", o.Directives)
		d.walk("", o.SelectionSet)
	}
	for _, f := range q.Fragments {
		d.directives("", f.Directives)
		d.walk("", f.SelectionSet)
	}
	return d, nil
}

func syntaxProblem(err error) Problem {
	detail := "document cannot be parsed"
	if e, ok := err.(*gqlerror.Error); ok && len(e.Locations) > 0 {
		detail += fmt.Sprintf(" at line %d, column %d", e.Locations[0].Line, e.Locations[0].Column)
	}
	return Problem{"graphql.syntax", detail}
}

// problems keeps the rule and the place of each error, for messages repeat what
// the sender wrote.
func problems(list gqlerror.List) (out []Problem) {
	for _, e := range list[:min(len(list), 8)] {
		p := Problem{Rule: "graphql." + kebab(e.Rule), Detail: "rule " + e.Rule}
		if len(e.Locations) > 0 {
			p.Detail += fmt.Sprintf(", line %d, column %d", e.Locations[0].Line, e.Locations[0].Column)
		}
		out = append(out, p)
	}
	return out
}

func kebab(s string) string {
	var b strings.Builder
	for i, r := range s {
		if r >= 'A' && r <= 'Z' {
			if i > 0 {
				b.WriteByte('-')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// meter measures a document before anything walks through its fragments.
type meter struct {
	b         Bounds
	fragments map[string]*ast.FragmentDefinition
	sizes     map[string]*size
	aliases   int
	marks     int // directives
	twins     int
	problem   Problem
}

// size is what a selection comes to with its fragments put in.
type size struct {
	fields, depth, breadth int
	done                   bool
}

func measure(q *ast.QueryDocument, b Bounds) Problem {
	m := &meter{b: b, fragments: map[string]*ast.FragmentDefinition{}, sizes: map[string]*size{}}
	for _, f := range q.Fragments {
		m.fragments[f.Name] = f
	}
	for _, f := range q.Fragments {
		m.marks += len(f.Directives)
		m.fragment(f.Name)
	}
	names, fields := map[string]int{}, 0
	for _, o := range q.Operations {
		m.marks += len(o.Directives)
		for _, v := range o.VariableDefinitions {
			m.marks += len(v.Directives)
		}
		s := m.selection(o.SelectionSet, 1)
		m.over(s.breadth, b.Roots, "graphql.roots", "root fields")
		m.over(s.depth, b.Depth, "graphql.depth", "levels")
		fields = min(fields+s.fields, 1<<30)
		m.over(fields, b.Fields, "graphql.fields", "fields")
	}
	m.over(m.aliases, b.Aliases, "graphql.aliases", "aliases")
	m.over(m.marks, b.Directives, "graphql.directives", "directives")
	if m.problem.Rule == "" {
		for _, o := range q.Operations {
			clear(names)
			m.same(o.SelectionSet, names)
		}
		for _, f := range q.Fragments {
			clear(names)
			m.same(f.SelectionSet, names)
		}
		m.over(m.twins, maxTwins, "graphql.fields", "repeated fields")
	}
	return m.problem
}

func (m *meter) over(n, most int, rule, what string) {
	if n > most && m.problem.Rule == "" {
		m.problem = Problem{rule, "more than " + strconv.Itoa(most) + " " + what}
	}
}

func (m *meter) fragment(name string) *size {
	if s := m.sizes[name]; s != nil {
		if !s.done && m.problem.Rule == "" {
			m.problem = Problem{"graphql.no-fragment-cycles", "a fragment contains itself"}
		}
		return s
	}
	f := m.fragments[name]
	s := &size{done: f == nil}
	m.sizes[name] = s
	if f != nil {
		*s = m.selection(f.SelectionSet, 1)
		s.done = true
	}
	return s
}

// selection measures a selection set. It looks at each selection of the text
// once; level bounds its own recursion.
func (m *meter) selection(set ast.SelectionSet, level int) (s size) {
	if level > m.b.Depth+64 {
		m.over(level, m.b.Depth, "graphql.depth", "levels")
		return s
	}
	add := func(x size, deeper int) {
		s.fields = min(s.fields+x.fields, 1<<30)
		s.depth = max(s.depth, x.depth+deeper)
	}
	for _, sel := range set {
		switch x := sel.(type) {
		case *ast.Field:
			m.marks += len(x.Directives)
			if x.Alias != x.Name {
				m.aliases++
			}
			s.breadth++
			add(size{fields: 1, depth: 1}, 0)
			if len(x.SelectionSet) > 0 {
				add(m.selection(x.SelectionSet, level+1), 1)
			}
		case *ast.InlineFragment:
			m.marks += len(x.Directives)
			in := m.selection(x.SelectionSet, level+1)
			add(in, 0)
			s.breadth = min(s.breadth+in.breadth, 1<<30)
		case *ast.FragmentSpread:
			m.marks += len(x.Directives)
			in := m.fragment(x.Name)
			add(*in, 0)
			s.breadth = min(s.breadth+in.breadth, 1<<30)
		}
	}
	m.over(s.breadth, m.b.Breadth, "graphql.breadth", "fields in one selection")
	return s
}

// same counts the fields with selections whose response name stands in the same
// selection already.
func (m *meter) same(set ast.SelectionSet, names map[string]int) {
	for _, sel := range set {
		switch x := sel.(type) {
		case *ast.Field:
			if len(x.SelectionSet) == 0 {
				continue
			}
			if names[x.Alias]++; names[x.Alias] > 1 {
				m.twins++
			}
			m.same(x.SelectionSet, map[string]int{})
		case *ast.InlineFragment:
			m.same(x.SelectionSet, names)
		case *ast.FragmentSpread:
			// What it brings is compared with the rest; how often the same
			// fragment comes does not matter, for comparisons are kept.
			if f := m.fragments[x.Name]; f != nil {
				for _, sel := range f.SelectionSet {
					if y, ok := sel.(*ast.Field); ok && len(y.SelectionSet) > 0 {
						if names[y.Alias]++; names[y.Alias] > 1 {
							m.twins++
						}
					}
				}
			}
		}
	}
}

func (d *Document) walk(path string, set ast.SelectionSet) {
	for _, sel := range set {
		switch x := sel.(type) {
		case *ast.Field:
			at := path + "/" + x.Name
			for _, a := range x.Arguments {
				d.literals(at+"/"+a.Name, a.Value)
			}
			d.directives(at, x.Directives)
			d.walk(at, x.SelectionSet)
		case *ast.InlineFragment:
			d.directives(path, x.Directives)
			d.walk(path, x.SelectionSet)
		case *ast.FragmentSpread:
			d.directives(path, x.Directives)
		}
	}
}

func (d *Document) directives(path string, list ast.DirectiveList) {
	for _, x := range list {
		for _, a := range x.Arguments {
			d.literals(path+"/@"+x.Name+"/"+a.Name, a.Value)
		}
	}
}

func (d *Document) literals(path string, v *ast.Value) {
	if v == nil {
		return
	}
	if v.Kind == ast.StringValue || v.Kind == ast.BlockValue {
		d.Literals = append(d.Literals, Literal{v.Raw, path})
	}
	for _, c := range v.Children {
		at := path
		if c.Name != "" {
			at += "/" + c.Name
		}
		d.literals(at, c.Value)
	}
}

// Operation gives the operation of that name; without a name, the only one.
func (d *Document) Operation(name string) (*Operation, *Problem) {
	if name == "" {
		if len(d.operations) > 1 {
			return nil, &Problem{"graphql.operation-name", "the document holds several operations, and none is named"}
		}
		return d.operations[0], nil
	}
	for _, o := range d.operations {
		if o.Name == name {
			return o, nil
		}
	}
	return nil, &Problem{"graphql.operation-name", "the document holds no operation of the name given"}
}

// cost is what a selection is taken to cost: a constant, and parts that depend
// on variables. It follows the shape of IBM's cost directives: an object weighs
// one, a leaf nothing, a list as many times as it is long.
type cost struct {
	base  int64
	parts []part
}

// part is times × (the variable's value, otherwise fallback) × inner.
type part struct {
	times    int64
	variable string // "" = fallback
	fallback int64
	inner    cost
}

const mutationCost = 10

func mul(a, b int64) int64 {
	if a > 0 && b > math.MaxInt64/a {
		return math.MaxInt64
	}
	return a * b
}

func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

type compiler struct {
	schema *Schema
	list   int64
}

func (c *compiler) roots(op *Operation, set ast.SelectionSet) {
	for _, sel := range set {
		switch x := sel.(type) {
		case *ast.Field:
			switch x.Name {
			case "__typename":
			case "__schema", "__type":
				op.Introspects = true
			default:
				if !slices.Contains(op.Roots, x.Name) {
					op.Roots = append(op.Roots, x.Name)
				}
			}
		case *ast.InlineFragment:
			c.roots(op, x.SelectionSet)
		case *ast.FragmentSpread:
			c.roots(op, x.Definition.SelectionSet)
		}
	}
}

// selection sums up a selection; sized is the size that the field around it
// gives to the lists in it, such as edges of a connection, or zero.
func (c *compiler) selection(set ast.SelectionSet, sized int64, weight int64) (out cost) {
	return c.selected(set, bySize{fixed: sized}, weight)
}

// bySize is how long a list is: a constant, or a variable with a fallback.
type bySize struct {
	fixed    int64
	variable string
	fallback int64
}

func (b bySize) known() bool { return b.fixed > 0 || b.variable != "" }

func (c *compiler) selected(set ast.SelectionSet, sized bySize, weight int64) (out cost) {
	for _, sel := range set {
		switch x := sel.(type) {
		case *ast.Field:
			out = out.plus(c.field(x, sized, weight))
		case *ast.InlineFragment:
			out = out.plus(c.selected(x.SelectionSet, sized, weight))
		case *ast.FragmentSpread:
			out = out.plus(c.selected(x.Definition.SelectionSet, sized, weight))
		}
	}
	return out
}

func (c cost) plus(x cost) cost {
	return cost{plus(c.base, x.base), append(c.parts, x.parts...)}
}

func (c *compiler) field(f *ast.Field, sized bySize, weight int64) cost {
	if f.Definition == nil || strings.HasPrefix(f.Name, "__") {
		return cost{base: 1}
	}
	if weight == 0 && len(f.SelectionSet) > 0 {
		weight = 1
	}
	if d := f.Definition.Directives.ForName("cost"); d != nil {
		if a := d.Arguments.ForName("weight"); a != nil {
			if n, err := strconv.ParseFloat(a.Value.Raw, 64); err == nil && n >= 0 && n < 1e9 {
				weight = int64(n)
			}
		}
	}
	own := c.sizeOf(f)
	isList := f.Definition.Type.Elem != nil
	inner, below := cost{base: weight}, bySize{}
	if !isList {
		below = own // a connection hands its size on to the lists in it
		return inner.plus(c.selected(f.SelectionSet, below, 0))
	}
	inner = inner.plus(c.selected(f.SelectionSet, bySize{}, 0))
	n := own
	if !n.known() {
		n = sized
	}
	if !n.known() {
		n = bySize{fixed: c.list}
	}
	if n.variable == "" && len(inner.parts) == 0 {
		return cost{base: mul(n.fixed, inner.base)}
	}
	if inner.base == 0 && len(inner.parts) == 0 {
		return inner
	}
	return cost{parts: []part{{times: max(n.fixed, 1), variable: n.variable, fallback: n.fallback, inner: inner}}}
}

// slicing are the arguments that are taken to say how much is wanted, where the
// schema's @listSize does not name them.
var slicing = map[string]bool{"first": true, "last": true, "limit": true, "take": true, "top": true, "count": true, "size": true,
	"pageSize": true, "page_size": true, "perPage": true, "per_page": true, "max": true}

// sizeOf is the size that a field's arguments ask for.
func (c *compiler) sizeOf(f *ast.Field) (out bySize) {
	var named []string
	if d := f.Definition.Directives.ForName("listSize"); d != nil {
		if a := d.Arguments.ForName("assumedSize"); a != nil {
			if n, err := strconv.ParseInt(a.Value.Raw, 10, 64); err == nil && n > 0 {
				out.fixed = n
			}
		}
		if a := d.Arguments.ForName("slicingArguments"); a != nil {
			for _, v := range a.Value.Children {
				named = append(named, v.Value.Raw)
			}
		}
	}
	for _, a := range f.Definition.Arguments {
		if a.Type.NamedType != "Int" || len(named) > 0 && !slices.Contains(named, a.Name) || len(named) == 0 && !slicing[a.Name] {
			continue
		}
		fallback := int64(0)
		if a.DefaultValue != nil {
			fallback, _ = strconv.ParseInt(a.DefaultValue.Raw, 10, 64)
		}
		given := f.Arguments.ForName(a.Name)
		switch {
		case given == nil:
			out.fixed = max(out.fixed, fallback)
		case given.Value.Kind == ast.IntValue:
			n, err := strconv.ParseInt(given.Value.Raw, 10, 64)
			if err != nil {
				n = math.MaxInt32
			}
			out.fixed = max(out.fixed, n)
		case given.Value.Kind == ast.Variable:
			if v := given.Value.VariableDefinition; v != nil && v.DefaultValue != nil {
				fallback, _ = strconv.ParseInt(v.DefaultValue.Raw, 10, 64)
			}
			out.variable, out.fallback = given.Value.Raw, fallback
		}
	}
	if out.variable != "" {
		out.fallback = max(out.fallback, out.fixed, c.list)
		out.fixed = 0
	}
	return out
}

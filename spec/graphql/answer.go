package graphql

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/vektah/gqlparser/v2/ast"

	"sallyport.dev/spec/jsondoc"
)

// The rules that an answer may break.
const (
	RuleShape   = "graphql.shape"         // it is no answer of GraphQL
	RuleType    = "graphql.type"          // a value is not what the field's type says
	RuleNull    = "graphql.null"          // there is none where there must be one
	RuleMissing = "graphql.missing"       // a selected field is not there
	RuleIntro   = "graphql.introspection" // the schema is told
)

// maxShapes bounds what one operation keeps of the types that its answers were of.
const maxShapes = 4096

// answers is what the answers to an operation are to look like: what the
// operation selects, with the types of the schema (GraphQL specification,
// section 7.1, Response Format; section 6.3.2, CollectFields). It is made with
// the first answer and kept with the operation; safe for concurrent use.
type answers struct {
	schema *Schema
	root   *plan
	mu     sync.Mutex
	shapes int
}

// A plan is the selections of one response name, of whatever type their object is.
type plan struct {
	of       *answers
	sets     ast.SelectionSet
	possible []string // names of object types, sorted
	union    *shape   // where the type is not known
	one      map[string]*shape
}

// A shape is what an object of certain types may hold.
type shape struct {
	fields   map[string]*selected
	order    []*selected // in the order of the document
	typename string      // a response name of __typename that is always there, "" = none
}

type selected struct {
	key      string
	index    int
	typ      *ast.Type
	always   bool // it may not be left out
	typename []string
	intro    bool
	enum     map[string]bool
	plan     *plan // of an object, nil for a leaf
	sets     ast.SelectionSet
	possible []string
}

func (s *Schema) possible(name string) (names []string) {
	if d := s.ast.Types[name]; d != nil && d.Kind == ast.Object {
		return []string{name}
	}
	for _, d := range s.ast.PossibleTypes[name] {
		names = append(names, d.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (a *answers) plan(sets ast.SelectionSet, possible []string) *plan {
	return &plan{of: a, sets: sets, possible: possible}
}

// shape gives what an object of the type holds; "" stands for any that is possible.
func (p *plan) shape(name string) *shape {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	if p.union == nil {
		p.union = p.of.build(p.sets, p.possible)
	}
	if name == "" || len(p.possible) == 1 {
		return p.union
	}
	if s := p.one[name]; s != nil {
		return s
	}
	if p.of.shapes >= maxShapes {
		return p.union
	}
	s := p.of.build(p.sets, []string{name})
	if p.one == nil {
		p.one = map[string]*shape{}
	}
	p.one[name] = s
	return s
}

func (a *answers) build(sets ast.SelectionSet, types []string) *shape {
	a.shapes++
	s := &shape{fields: map[string]*selected{}}
	a.collect(s, sets, types, false)
	for _, f := range s.order {
		if len(f.sets) > 0 {
			slices.Sort(f.possible)
			f.plan = a.plan(f.sets, slices.Compact(f.possible))
			f.sets, f.possible = nil, nil
		}
		if f.typename != nil && f.always && s.typename == "" {
			s.typename = f.key
		}
	}
	return s
}

// collect adds the fields of a selection for objects of the types. optional:
// they may be left out.
func (a *answers) collect(s *shape, sets ast.SelectionSet, types []string, optional bool) {
	inside := func(condition string, sets ast.SelectionSet, opt bool) {
		in := types
		if condition != "" {
			possible := a.schema.possible(condition)
			in = nil
			for _, t := range types {
				if slices.Contains(possible, t) {
					in = append(in, t)
				}
			}
		}
		if len(in) > 0 {
			a.collect(s, sets, in, opt || len(in) < len(types))
		}
	}
	for _, sel := range sets {
		switch x := sel.(type) {
		case *ast.Field:
			there, maybe := included(x.Directives)
			if !there {
				continue
			}
			a.add(s, x, types, !optional && !maybe)
		case *ast.InlineFragment:
			if there, maybe := included(x.Directives); there {
				inside(x.TypeCondition, x.SelectionSet, optional || maybe)
			}
		case *ast.FragmentSpread:
			there, maybe := included(x.Directives)
			if there && x.Definition != nil { // however often it comes: the fields of an operation are bounded
				inside(x.Definition.TypeCondition, x.Definition.SelectionSet, optional || maybe)
			}
		}
	}
}

// included says what @skip and @include make of a selection. What depends on a
// variable may be there or not.
func included(list ast.DirectiveList) (there, maybe bool) {
	there = true
	for _, d := range list {
		switch d.Name {
		case "skip", "include":
			v := d.Arguments.ForName("if")
			switch {
			case v == nil || v.Value == nil || v.Value.Kind == ast.Variable:
				maybe = true
			case (v.Value.Raw == "true") == (d.Name == "skip"):
				there = false
			}
		case "defer", "stream":
			maybe = true
		}
	}
	return there, maybe
}

func (a *answers) add(s *shape, x *ast.Field, types []string, always bool) {
	var typ *ast.Type
	if x.Definition != nil {
		typ = x.Definition.Type
	}
	if len(types) == 1 { // an object's field may be narrower than its interface's
		if d := a.schema.ast.Types[types[0]]; d != nil {
			if own := d.Fields.ForName(x.Name); own != nil {
				typ = own.Type
			}
		}
	}
	if x.Name == "__typename" {
		typ = ast.NonNullNamedType("String", nil)
	}
	f := s.fields[x.Alias]
	if f == nil {
		f = &selected{key: strings.Clone(x.Alias), index: len(s.order), typ: typ, intro: x.Name == "__schema" || x.Name == "__type"}
		if typ != nil {
			f.enum = a.schema.enums[typ.Name()]
		}
		s.fields[f.key] = f
		s.order = append(s.order, f)
	}
	f.always = f.always || always
	if x.Name == "__typename" {
		f.typename = append(f.typename, types...)
	}
	if len(x.SelectionSet) > 0 && typ != nil {
		f.sets = append(f.sets, x.SelectionSet...)
		f.possible = append(f.possible, a.schema.possible(typ.Name())...)
	}
}

// Seen hears what is found in an answer. Details hold names of the schema only.
type Seen struct {
	// Broken is told of a value that breaks a rule.
	Broken func(node int, rule, detail string)
	// Stray is told of a member that was not selected, or comes twice.
	Stray func(node int)
}

// Answer compares the answer at node root of d with what the operation selects
// and with the schema: the members of the response and of its errors, the
// fields selected under their response names and no others, objects, lists and
// null where the types say so, enums and the built-in scalars by their values.
// Values of other scalars are not looked at. Fields that @skip or @include make
// depend on a variable may be there or not.
func (o *Operation) Answer(d *jsondoc.Doc, root int, seen Seen) {
	n := &d.Nodes[root]
	if n.Kind != jsondoc.Object {
		seen.Broken(root, RuleShape, "an answer is an object")
		return
	}
	data, errs := -1, -1
	for i := root + 1; i < int(n.Next); i = int(d.Nodes[i].Next) {
		switch key := d.Key(i, nil); {
		case string(key) == "data" && data < 0:
			data = i
		case string(key) == "errors" && errs < 0:
			errs = i
		case string(key) == "extensions" && d.Nodes[i].Kind == jsondoc.Object:
		default:
			seen.Stray(i)
		}
	}
	if errs >= 0 {
		answerErrors(d, errs, seen)
	}
	switch {
	case data < 0:
		if errs < 0 {
			seen.Broken(root, RuleShape, "an answer holds data or errors")
		}
	case d.Nodes[data].Kind == jsondoc.Null:
		if errs < 0 {
			seen.Broken(data, RuleNull, "there are no data, and no errors")
		}
	default:
		w := walk{d: d, seen: seen}
		w.object(o.answers().root, data)
	}
}

func (o *Operation) answers() *answers {
	o.once.Do(func() {
		a := &answers{schema: o.schema}
		root := o.schema.ast.Query
		switch o.Kind {
		case "mutation":
			root = o.schema.ast.Mutation
		case "subscription":
			root = o.schema.ast.Subscription
		}
		a.root = a.plan(o.selection, []string{root.Name})
		o.wants = a
	})
	return o.wants
}

// answerErrors looks at the list of errors (section 7.1.2).
func answerErrors(d *jsondoc.Doc, list int, seen Seen) {
	if d.Nodes[list].Kind != jsondoc.Array || d.Nodes[list].Count == 0 {
		if d.Nodes[list].Kind != jsondoc.Null { // some servers say so that there were none
			seen.Broken(list, RuleShape, "errors are a list that is not empty")
		}
		return
	}
	for e := list + 1; e < int(d.Nodes[list].Next); e = int(d.Nodes[e].Next) {
		if d.Nodes[e].Kind != jsondoc.Object {
			seen.Broken(e, RuleShape, "an error is an object")
			continue
		}
		message := false
		for i := e + 1; i < int(d.Nodes[e].Next); i = int(d.Nodes[i].Next) {
			kind := d.Nodes[i].Kind
			ok := false
			switch key := d.Key(i, nil); string(key) {
			case "message":
				ok = !message
				if message = true; kind != jsondoc.String {
					seen.Broken(i, RuleShape, "the message of an error is a string")
				}
			case "locations", "path":
				ok = kind == jsondoc.Array || kind == jsondoc.Null
			case "extensions":
				ok = kind == jsondoc.Object || kind == jsondoc.Null
			}
			if !ok {
				seen.Stray(i)
			}
		}
		if !message {
			seen.Broken(e, RuleShape, "an error has no message")
		}
	}
}

type walk struct {
	d    *jsondoc.Doc
	seen Seen
	key  []byte
}

func (w *walk) object(p *plan, node int) {
	d := w.d
	n := &d.Nodes[node]
	if n.Kind != jsondoc.Object {
		w.seen.Broken(node, RuleType, "the field is an object")
		return
	}
	s := p.shape("")
	if len(p.possible) > 1 && s.typename != "" {
		if i := member(d, node, s.typename); i >= 0 && d.Nodes[i].Kind == jsondoc.String {
			if name := string(d.Text(i, nil)); slices.Contains(p.possible, name) {
				s = p.shape(name)
			}
		}
	}
	var few [4]uint64
	had := few[:]
	if len(s.order) > 64*len(few) {
		had = make([]uint64, (len(s.order)+63)/64)
	}
	next := 0
	for i := node + 1; i < int(n.Next); i = int(d.Nodes[i].Next) {
		w.key = w.key[:0]
		key := d.Key(i, w.key)
		var f *selected
		if next < len(s.order) && string(key) == s.order[next].key {
			f = s.order[next]
		} else if f = s.fields[string(key)]; f == nil {
			w.seen.Stray(i)
			continue
		}
		next = f.index + 1
		if had[f.index/64]&(1<<(f.index%64)) != 0 {
			w.seen.Stray(i)
			continue
		}
		had[f.index/64] |= 1 << (f.index % 64)
		w.value(f, f.typ, i)
	}
	for _, f := range s.order {
		if f.always && had[f.index/64]&(1<<(f.index%64)) == 0 {
			w.seen.Broken(node, RuleMissing, "a field that was asked for is not there")
			return
		}
	}
}

func (w *walk) value(f *selected, t *ast.Type, i int) {
	n := &w.d.Nodes[i]
	if t == nil {
		return
	}
	if n.Kind == jsondoc.Null {
		if t.NonNull {
			w.seen.Broken(i, RuleNull, "the field is never null")
		}
		return
	}
	if f.intro {
		w.seen.Broken(i, RuleIntro, "the schema is told")
	}
	if t.Elem != nil {
		if n.Kind != jsondoc.Array {
			w.seen.Broken(i, RuleType, "the field is a list")
			return
		}
		for k := i + 1; k < int(n.Next); k = int(w.d.Nodes[k].Next) {
			w.value(f, t.Elem, k)
		}
		return
	}
	if f.plan != nil {
		w.object(f.plan, i)
		return
	}
	ok := true
	switch {
	case f.typename != nil:
		ok = n.Kind == jsondoc.String && !n.Escaped && slices.Contains(f.typename, string(w.d.Src[n.Start:n.End]))
	case f.enum != nil:
		ok = n.Kind == jsondoc.String && !n.Escaped && f.enum[string(w.d.Src[n.Start:n.End])]
	default:
		ok = scalar(w.d, i, t.NamedType)
	}
	if !ok {
		w.seen.Broken(i, RuleType, "the field is of the type "+t.NamedType)
	}
}

// scalar reports whether a value is one of a built-in scalar (section 3.5,
// result coercion). An ID that is a whole number passes: what reads it takes it
// for its digits.
func scalar(d *jsondoc.Doc, i int, name string) bool {
	n := &d.Nodes[i]
	switch name {
	case "Int":
		if n.Kind != jsondoc.Number {
			return false
		}
		_, err := strconv.ParseInt(string(d.Raw(i)), 10, 32)
		return err == nil
	case "Float":
		if n.Kind != jsondoc.Number {
			return false
		}
		_, err := strconv.ParseFloat(string(d.Raw(i)), 64)
		return err == nil
	case "String":
		return n.Kind == jsondoc.String
	case "Boolean":
		return n.Kind == jsondoc.True || n.Kind == jsondoc.False
	case "ID":
		if n.Kind == jsondoc.Number {
			_, err := strconv.ParseInt(string(d.Raw(i)), 10, 64)
			return err == nil
		}
		return n.Kind == jsondoc.String
	}
	return true
}

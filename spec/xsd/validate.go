package xsd

import (
	"bytes"
	"strings"

	"sallyport.dev/spec/xmldoc"
)

// A Problem is one rule that a document breaks. It holds nothing out of the
// document but its place.
type Problem struct {
	Element   int // index in Doc.Elements
	Attribute int // index in Doc.Attributes, -1 = the element
	Rule      string
	Detail    string
}

// A Validation is what Validate finds, and its memory, which is reused. It
// belongs to one goroutine.
type Validation struct {
	Problems []Problem
	Max      int // problems kept; 0 = 8

	// Texts and Attributes say of each element's own text and of each attribute
	// whether its type proves it harmless; beside Doc's lists.
	Texts, Attributes []bool

	d       *xmldoc.Doc
	s       *Schema
	scratch []byte
	text    []byte
	form    []byte
	ids     map[string]bool
	refers  [][]byte
	wrongID bool

	types  []*typ    // of elements, where constraints ask
	values []*simple // of attributes
	tables []table
}

// Reset forgets what was found.
func (v *Validation) Reset() {
	const most = 1 << 16
	if cap(v.text) > most || cap(v.scratch) > most || cap(v.form) > most || cap(v.Texts) > most || cap(v.tables) > 256 {
		*v = Validation{Max: v.Max}
		return
	}
	clear(v.refers)
	clear(v.types)
	clear(v.values)
	clear(v.tables)
	if len(v.ids) > 1024 {
		v.ids = nil
	}
	clear(v.ids)
	v.Problems, v.Texts, v.Attributes = v.Problems[:0], v.Texts[:0], v.Attributes[:0]
	v.refers, v.types, v.values, v.tables = v.refers[:0], v.types[:0], v.values[:0], v.tables[:0]
	v.d, v.s, v.wrongID = nil, nil, false
}

func (v *Validation) problem(element, attribute int, rule, detail string) {
	most := v.Max
	if most == 0 {
		most = 8
	}
	if len(v.Problems) < most {
		v.Problems = append(v.Problems, Problem{element, attribute, rule, detail})
	}
}

func (v *Validation) full() bool {
	if v.Max > 0 {
		return len(v.Problems) >= v.Max
	}
	return len(v.Problems) >= 8
}

// Has reports whether the schema declares an element.
func (s *Schema) Has(n Name) bool { return s.elements[n] != nil }

// HasType reports whether the schema declares a type.
func (s *Schema) HasType(n Name) bool { return s.types[n] != nil }

// Roots are the elements that the schema declares globally and that are not
// abstract, in order.
func (s *Schema) Roots() []Name {
	var out []Name
	for _, n := range sortedElements(s.elements) {
		if !s.elements[n].abstract {
			out = append(out, n)
		}
	}
	return out
}

// A Root is where validation begins: which element a document, or a part of
// one, is.
type Root struct {
	Any     bool // any element that is declared globally
	Element Name
	Type    Name // of the element, where it is not the one declared for its name
}

func (v *Validation) begin(s *Schema, d *xmldoc.Doc) {
	v.Reset()
	v.d, v.s = d, s
	v.Texts = sized(v.Texts, len(d.Elements))
	v.Attributes = sized(v.Attributes, len(d.Attributes))
	v.types = sized(v.types, len(d.Elements))
	v.values = sized(v.values, len(d.Attributes))
}

func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// Validate validates a whole document and reports whether it is valid.
func (s *Schema) Validate(d *xmldoc.Doc, root Root, v *Validation) bool {
	v.begin(s, d)
	v.rooted(0, root)
	v.end()
	return len(v.Problems) == 0
}

// Parts validates the elements of a document that at lists, each by the root
// beside it, as the parts of one document.
func (s *Schema) Parts(d *xmldoc.Doc, at []int, roots []Root, v *Validation) bool {
	v.begin(s, d)
	for i := range at {
		v.rooted(at[i], roots[i])
	}
	v.end()
	return len(v.Problems) == 0
}

func (v *Validation) rooted(i int, root Root) {
	el := &v.d.Elements[i]
	if !root.Any && (string(el.Local) != root.Element.Local || string(el.Space) != root.Element.Space) {
		v.problem(i, -1, "xsd.root", "the element is not the one declared")
		return
	}
	if root.Type.Local != "" {
		if t := v.s.types[root.Type]; t != nil {
			v.element(i, &element{typ: t})
			return
		}
	}
	e := v.s.elements[Name{string(el.Space), string(el.Local)}]
	if e == nil {
		v.problem(i, -1, "xsd.root", "the schema declares no such element")
		return
	}
	v.element(i, e)
}

func (v *Validation) end() {
	if v.wrongID {
		v.problem(0, -1, "xsd.id", "an ID stands twice")
	}
	for _, r := range v.refers {
		if !v.ids[string(r)] {
			v.problem(0, -1, "xsd.id", "an IDREF refers to no ID")
			break
		}
	}
}

func (v *Validation) id(b []byte) {
	if v.ids == nil {
		v.ids = map[string]bool{}
	}
	if v.ids[string(b)] {
		v.wrongID = true
	}
	v.ids[string(b)] = true
}

// bound reports whether the prefix of a qualified name is bound.
func (v *Validation) bound(b []byte, at int) bool {
	prefix, _ := splitName(b)
	_, ok := v.d.Namespace(at, prefix)
	return ok
}

func splitName(b []byte) (prefix, local []byte) {
	if i := bytes.IndexByte(b, ':'); i >= 0 {
		return b[:i], b[i+1:]
	}
	return nil, b
}

// element validates an element by its declaration.
func (v *Validation) element(i int, e *element) {
	if v.full() {
		return
	}
	el := &v.d.Elements[i]
	attrs := v.d.Attributes[el.Attr : el.Attr+el.Attrs]
	t, null := e.typ, false
	for k := range attrs {
		a := &attrs[k]
		if len(a.Space) == 0 || string(a.Space) != Instance {
			continue
		}
		switch string(a.Local) {
		case "type":
			x := v.named(i, a.Value)
			if x == nil {
				v.problem(i, int(el.Attr)+k, "xsd.type", "xsi:type names no type of the schema")
				return
			}
			if !v.stands(x, e) {
				v.problem(i, int(el.Attr)+k, "xsd.type", "xsi:type names a type that may not stand for the one declared")
				return
			}
			t = x
			v.Attributes[int(el.Attr)+k] = true
		case "nil":
			word := string(bytes.Trim(a.Value, " \t\r\n"))
			if word != "true" && word != "false" && word != "1" && word != "0" {
				v.problem(i, int(el.Attr)+k, "xsd.nil", "xsi:nil is no truth value")
				return
			}
			if !e.nillable {
				v.problem(i, int(el.Attr)+k, "xsd.nil", "the element is not nillable")
				return
			}
			null = word == "true" || word == "1"
			v.Attributes[int(el.Attr)+k] = true
		case "schemaLocation", "noNamespaceSchemaLocation":
		default:
			v.problem(i, int(el.Attr)+k, "xsd.attribute", "an attribute of the schema instance namespace that there is not")
		}
	}
	if e.abstract {
		v.problem(i, -1, "xsd.abstract", "the element is abstract")
		return
	}
	if t.abstract {
		v.problem(i, -1, "xsd.abstract", "the type is abstract")
		return
	}
	v.types[i] = t
	v.attributes(i, el, t)
	switch {
	case null:
		if int(el.Next) > i+1 || len(v.own(i)) > 0 {
			v.problem(i, -1, "xsd.nil", "the element says that it is nil and is not empty")
		}
		if e.fixed != nil {
			v.problem(i, -1, "xsd.nil", "an element with a fixed value is not nil")
		}
		v.types[i] = nil
	case t.simple != nil:
		v.simpleContent(i, el, t.simple, e)
	default:
		v.children(i, el, t, e)
	}
	for pass := range 2 { // keys before what refers to them
		for _, k := range e.constraints {
			if (k.refer.Local != "") == (pass == 1) {
				v.constrain(i, k)
			}
		}
	}
}

// named is the type that a qualified name in the document names.
func (v *Validation) named(i int, word []byte) *typ {
	prefix, local := splitName(bytes.Trim(word, " \t\r\n"))
	space, ok := v.d.Namespace(i, prefix)
	if !ok {
		return nil
	}
	return v.s.types[Name{string(space), string(local)}]
}

// stands reports whether t may stand for the type of e.
func (v *Validation) stands(t *typ, e *element) bool {
	by, ok := t.derived(e.typ)
	return ok && (by&^(byList|byUnion))&(e.blocks|e.typ.blocks)&(byExtension|byRestriction) == 0
}

// own is the text of an element, good until the next call.
func (v *Validation) own(i int) []byte {
	v.text = v.d.AppendText(v.text[:0], i)
	return v.text
}

func (v *Validation) attributes(i int, el *xmldoc.Element, t *typ) {
	attrs := v.d.Attributes[el.Attr : el.Attr+el.Attrs]
	seen, ids := 0, 0
	for k := range attrs {
		a, at := &attrs[k], int(el.Attr)+k
		if string(a.Space) == Instance {
			continue
		}
		var use *attribute
		for _, x := range t.attrs {
			if x.name.Local == string(a.Local) && x.name.Space == string(a.Space) && !x.prohibited {
				use = x
				break
			}
		}
		if use != nil && use.required {
			seen++
		}
		if use == nil {
			if t.other == nil || !t.other.bytes(a.Space) {
				v.problem(i, at, "xsd.attribute", "the type has no such attribute")
				continue
			}
			if t.other.process == "skip" {
				continue
			}
			if use = v.s.attributes[Name{string(a.Space), string(a.Local)}]; use == nil {
				if t.other.process == "strict" {
					v.problem(i, at, "xsd.attribute", "the schema declares no such attribute")
				}
				continue
			}
		}
		s := use.typ.simple
		if s.ids() {
			if ids++; ids > 1 {
				v.problem(i, at, "xsd.id", "an element has two IDs")
			}
		}
		if wrong := v.word(s, a.Value, i, false); wrong != "" {
			v.problem(i, at, "xsd.value", wrong)
			continue
		}
		if use.fixed && !bytes.Equal(s.canonical(nil, a.Value, v, i), use.fixedForm) {
			v.problem(i, at, "xsd.fixed", "the value is fixed to another one")
			continue
		}
		v.Attributes[at] = use.fixed || s.proves(a.Value)
		v.values[at] = s
	}
	if len(t.attrs) == 0 {
		return
	}
	required := 0
	for _, x := range t.attrs {
		if x.required {
			required++
		}
	}
	if seen < required {
		v.problem(i, -1, "xsd.attribute-missing", "a required attribute is missing")
	}
}

func (v *Validation) simpleContent(i int, el *xmldoc.Element, s *simple, e *element) {
	if int(el.Next) > i+1 {
		v.problem(i+1, -1, "xsd.element", "the element holds text only")
		return
	}
	text := v.own(i)
	if len(text) == 0 && e.value != nil {
		v.Texts[i] = true
		if s.ids() {
			v.word(s, []byte(*e.value), i, false)
		}
		return
	}
	if wrong := v.word(s, text, i, false); wrong != "" {
		v.problem(i, -1, "xsd.value", wrong)
		return
	}
	if e.fixed != nil && !bytes.Equal(s.canonical(nil, text, v, i), e.fixedForm) {
		v.problem(i, -1, "xsd.fixed", "the value is fixed to another one")
		return
	}
	v.Texts[i] = e.fixed != nil || s.proves(s.whiteSpace().normal(nil, text))
}

func (v *Validation) children(i int, el *xmldoc.Element, t *typ, e *element) {
	if !t.mixed || e.fixed != nil {
		text := v.own(i)
		switch {
		case e.fixed != nil && (int(el.Next) > i+1 || len(text) > 0 && string(text) != *e.fixed):
			v.problem(i, -1, "xsd.fixed", "the value is fixed to another one")
			return
		case t.mixed:
		case t.holds == nil && len(text) > 0:
			v.problem(i, -1, "xsd.text", "the element is declared empty")
			return
		case len(bytes.Trim(text, " \t\r\n")) > 0:
			v.problem(i, -1, "xsd.text", "the element holds text beside its elements")
			return
		}
		v.Texts[i] = true
	}
	switch m := t.model; {
	case m == nil:
		if int(el.Next) > i+1 {
			v.problem(i+1, -1, "xsd.element", "the element is declared empty")
		}
	case m.all != nil || m.states == nil:
		v.allOf(i, el, m)
	default:
		v.run(i, el, m)
	}
}

// run steps the automaton over the children.
func (v *Validation) run(i int, el *xmldoc.Element, m *model) {
	at, count := &m.states[0], 0
	for k := i + 1; k < int(el.Next); k = int(v.d.Elements[k].Next) {
		if v.full() {
			return
		}
		c := &v.d.Elements[k]
		if p := at.counted; p != nil {
			if p.most < 0 || count < p.most {
				if e, ok := p.own(c.Space, c.Local); ok {
					if p.most >= 0 || count < p.least {
						count++
					}
					v.child(k, e, p.wild)
					continue
				}
			}
			if count < p.least {
				v.problem(k, -1, "xsd.element", "an element stands where another one must be repeated first")
				return
			}
		}
		s, ok := at.step(c.Space, c.Local)
		if !ok {
			v.problem(k, -1, "xsd.element", "an element stands where it may not")
			return
		}
		at, count = &m.states[s.next], 1
		v.child(k, s.elem, s.wild)
	}
	if !at.accept || at.counted != nil && count < at.counted.least {
		v.problem(i, -1, "xsd.incomplete", "the element ends where another one must follow")
	}
}

// allOf checks children by xs:all.
func (v *Validation) allOf(i int, el *xmldoc.Element, m *model) {
	var seen uint64
	any := false
next:
	for k := i + 1; k < int(el.Next); k = int(v.d.Elements[k].Next) {
		if v.full() {
			return
		}
		c := &v.d.Elements[k]
		for n, p := range m.all {
			if e, ok := p.own(c.Space, c.Local); ok {
				if seen&(1<<n) != 0 {
					v.problem(k, -1, "xsd.element", "an element stands more than once")
					return
				}
				seen |= 1 << n
				any = true
				v.child(k, e, nil)
				continue next
			}
		}
		v.problem(k, -1, "xsd.element", "an element stands where it may not")
		return
	}
	if !any && m.empty {
		return
	}
	for n, p := range m.all {
		if p.least > 0 && seen&(1<<n) == 0 {
			v.problem(i, -1, "xsd.incomplete", "an element that must be there is missing")
			return
		}
	}
}

// child validates a child by its declaration or, without one, by a wildcard.
func (v *Validation) child(k int, e *element, w *wildcard) {
	if e != nil {
		v.element(k, e)
		return
	}
	if w.process == "skip" {
		return
	}
	c := &v.d.Elements[k]
	if e = v.s.elements[Name{string(c.Space), string(c.Local)}]; e != nil {
		v.element(k, e)
		return
	}
	for _, a := range v.d.Attributes[c.Attr : c.Attr+c.Attrs] {
		if string(a.Space) == Instance && string(a.Local) == "type" {
			v.element(k, &element{typ: v.s.anyType(), nillable: true})
			return
		}
	}
	if w.process == "strict" {
		v.problem(k, -1, "xsd.element", "the schema declares no such element")
		return
	}
	v.element(k, &element{typ: v.s.anyType(), nillable: true})
}

func (s *Schema) anyType() *typ { return s.types[Name{Namespace, "anyType"}] }

// Path is where a problem is: the names of the elements down to it.
func Path(d *xmldoc.Doc, p Problem) string {
	var names []string
	for i := int32(p.Element); i >= 0; i = d.Elements[i].Parent {
		names = append(names, string(d.Elements[i].Local))
	}
	var b strings.Builder
	for i := len(names) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(names[i])
	}
	if p.Attribute >= 0 {
		b.WriteString("/@")
		b.Write(d.Attributes[p.Attribute].Local)
	}
	return b.String()
}

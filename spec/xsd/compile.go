package xsd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sallyport.dev/spec/xmldoc"
)

// A Schema is a set of schema documents, compiled. It is immutable and safe for
// concurrent use.
type Schema struct {
	elements   map[Name]*element
	types      map[Name]*typ
	attributes map[Name]*attribute
}

// A typ is a type definition.
type typ struct {
	name     Name // empty where it has none
	base     *typ // nil for anyType
	by       methods
	complex  bool
	abstract bool
	blocks   methods
	finals   methods

	simple *simple // a simple type, or the content of a complex one
	mixed  bool
	attrs  []*attribute
	other  *wildcard // attributes besides
	holds  *particle
	model  *model // of holds; nil = empty
	ids    bool   // no attribute besides may be another ID

	from       node
	inProgress bool
	done       bool
}

func (t *typ) String() string {
	if t.name.Local == "" {
		return "a type without a name"
	}
	return "type " + t.name.String()
}

// derived reports whether t is of, or derived from, base, and by what.
func (t *typ) derived(base *typ) (by methods, ok bool) {
	for x := t; x != nil; x = x.base {
		if x == base {
			return by, true
		}
		if base.simple != nil && base.simple.variety == union && !base.complex && slices.ContainsFunc(base.simple.members, func(m *typ) bool { return m == x }) {
			return by | byRestriction, true
		}
		by |= x.by
	}
	return 0, false
}

type element struct {
	name               Name
	typ                *typ
	nillable, abstract bool
	fixed, value       *string // fixed or default value, both in value
	blocks             methods
	finals             methods
	head               *element   // of its substitution group
	others             []*element // that may stand in its place, itself apart
	constraints        []*constraint
	from               node
	fixedForm          []byte
}

type attribute struct {
	name       Name
	typ        *typ
	required   bool
	prohibited bool
	fixed      bool
	value      *string // fixed or default
	fixedForm  []byte
	from       node
}

// A wildcard admits names of other namespaces.
type wildcard struct {
	any     bool
	not     bool // any but those of list (##other)
	list    []string
	process string // strict, lax or skip
}

func (w *wildcard) admits(space string) bool {
	return w.any || slices.Contains(w.list, space) != w.not
}

func (w *wildcard) bytes(space []byte) bool {
	if w.any {
		return true
	}
	for _, s := range w.list {
		if s == string(space) {
			return !w.not
		}
	}
	return w.not
}

func (w *wildcard) overlaps(v *wildcard) bool {
	switch {
	case w.any || v.any || w.not && v.not:
		return true
	case w.not:
		return slices.ContainsFunc(v.list, w.admits)
	}
	return slices.ContainsFunc(w.list, v.admits)
}

func (w *wildcard) both(v *wildcard) *wildcard {
	out := *w
	switch {
	case w.any:
		out.any, out.not, out.list = v.any, v.not, v.list
	case v.any:
	case w.not && v.not:
		out.list = append(slices.Clone(w.list), v.list...)
	case w.not:
		out.not, out.list = false, slices.DeleteFunc(slices.Clone(v.list), func(s string) bool { return !w.admits(s) })
	default:
		out.list = slices.DeleteFunc(slices.Clone(w.list), func(s string) bool { return !v.admits(s) })
	}
	return &out
}

func (w *wildcard) either(v *wildcard) *wildcard {
	out := *w
	switch {
	case w.any || v.any:
		out = wildcard{any: true, process: w.process}
	case w.not && v.not:
		out.list = slices.DeleteFunc(slices.Clone(w.list), func(s string) bool { return !slices.Contains(v.list, s) })
		out.any = len(out.list) == 0
	case w.not || v.not:
		n, p := w, v
		if v.not {
			n, p = v, w
		}
		out.not, out.list = true, slices.DeleteFunc(slices.Clone(n.list), p.admits)
		out.any = len(out.list) == 0
	default:
		out.list = append(slices.Clone(w.list), v.list...)
	}
	return &out
}

type kindOfParticle uint8

const (
	isSequence kindOfParticle = iota
	isChoice
	isAll
	isElement
	isAny
)

// A particle is a part of a content model; most is -1 where it is unbounded.
type particle struct {
	kind        kindOfParticle
	least, most int
	element     *element
	wild        *wildcard
	items       []*particle
	from        node
}

type compiler struct {
	*loader
	out     *Schema
	queue   []*typ
	made    map[node]*typ // anonymous types, and all by their element
	anyType *typ
	simples map[string]*typ // built in
	open    map[node]bool   // groups being read
	checks  []func()        // once all types are complete
	nested  int
	keys    map[Name]*constraint
	refers  []*constraint
}

func newCompiler(l *loader) *compiler {
	c := &compiler{loader: l, made: map[node]*typ{}, open: map[node]bool{}, keys: map[Name]*constraint{},
		out: &Schema{elements: map[Name]*element{}, types: map[Name]*typ{}, attributes: map[Name]*attribute{}}}
	c.builtin()
	return c
}

func (c *compiler) compile() {
	for _, n := range sortedNames(c.loader.types) {
		c.typeNamed(n, node{})
	}
	for _, n := range sortedNames(c.loader.attributes) {
		c.attributeNamed(n, node{})
	}
	for _, n := range sortedNames(c.loader.elements) {
		c.elementNamed(n, node{})
	}
	for _, n := range sortedNames(c.groups) {
		c.group(c.groups[n], node{})
	}
	for _, n := range sortedNames(c.attributeGroups) {
		c.attributeGroup(c.attributeGroups[n], &typ{})
	}
	c.finish()
	if len(c.faults) > 0 {
		return
	}
	c.substitutions()
	for i := 0; i < len(c.checks); i++ {
		c.checks[i]()
	}
	for _, k := range c.refers {
		k.to = c.keys[k.refer]
		if k.to == nil || k.to.refer.Local != "" {
			c.fault(k.from, fmt.Sprintf("keyref refers to %s, which is no key", k.refer), "")
		} else if len(k.to.fields) != len(k.fields) {
			c.fault(k.from, "keyref has another number of fields than its key", "")
		}
	}
	if len(c.faults) == 0 {
		c.models()
	}
}

func sortedNames(m map[Name]node) []Name {
	out := make([]Name, 0, len(m))
	for n := range m {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b Name) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// finish completes the types that were only referred to so far.
func (c *compiler) finish() {
	for i := 0; i < len(c.queue); i++ {
		c.complete(c.queue[i])
	}
}

// unknown reports a reference that leads nowhere.
func (c *compiler) unknown(at node, what string, n Name) {
	hint := ""
	if n.Space != at.d.target && n.Space != "" && !at.d.imports[n.Space] {
		hint = "import the namespace " + n.Space
	}
	c.fault(at, fmt.Sprintf("there is no %s %s", what, n), hint)
}

// typeNamed gives a type that may not be complete yet.
func (c *compiler) typeNamed(n Name, at node) *typ {
	if n.Space == Namespace {
		switch n.Local {
		case "anyType":
			return c.anyType
		case "ENTITY", "ENTITIES", "NOTATION":
			c.fault(at, "type "+n.Local+" is not supported: documents have no entities and notations here", "")
			return c.simples["string"]
		}
		if t := c.simples[n.Local]; t != nil {
			return t
		}
		if at.d != nil {
			c.fault(at, fmt.Sprintf("XML Schema has no type %q", n.Local), "")
		}
		return c.simples["string"]
	}
	if t := c.out.types[n]; t != nil {
		return t
	}
	from, ok := c.loader.types[n]
	if !ok {
		c.unknown(at, "type", n)
		return c.simples["string"]
	}
	t := c.typeOf(from)
	t.name = n
	c.out.types[n] = t
	return t
}

// typeOf gives the type that a simpleType or complexType element defines.
func (c *compiler) typeOf(from node) *typ {
	if t := c.made[from]; t != nil {
		return t
	}
	t := &typ{from: from, complex: from.is("complexType")}
	if n := from.get("name"); n != "" {
		t.name = Name{from.d.target, n}
	}
	c.made[from] = t
	c.queue = append(c.queue, t)
	return t
}

// complete compiles a type, its bases first.
func (c *compiler) complete(t *typ) bool {
	if t.done {
		return true
	}
	if t.inProgress {
		c.fault(t.from, fmt.Sprintf("%s is derived from itself", t), "")
		return false
	}
	if c.nested++; c.nested > 200 {
		c.fault(t.from, "types are derived from each other deeper than 200", "")
		c.nested--
		return false
	}
	t.inProgress = true
	if t.complex {
		c.complexType(t)
	} else {
		c.simpleType(t)
	}
	if t.base == nil {
		t.base = c.anyType
	}
	t.inProgress, t.done = false, true
	c.nested--
	return true
}

// reference resolves an attribute that names a type.
func (c *compiler) reference(n node, attr string) *typ {
	name, ok := c.name(n, n.get(attr))
	if !ok {
		return c.simples["string"]
	}
	return c.typeNamed(name, n)
}

// final checks that a base lets itself be derived from in this way.
func (c *compiler) final(at node, base *typ, by methods) {
	if base.finals&by != 0 {
		c.fault(at, fmt.Sprintf("%s is final", base), "")
	}
}

func (c *compiler) complexType(t *typ) {
	n := t.from
	c.allowed(n, "name", "mixed", "abstract", "block", "final", "id")
	t.abstract, t.mixed = c.truth(n, "abstract"), c.truth(n, "mixed")
	t.blocks, t.finals = n.d.blocks&(byExtension|byRestriction), n.d.finals
	if n.has("block") {
		t.blocks = c.methods(n, "block", byExtension|byRestriction)
	}
	if n.has("final") {
		t.finals = c.methods(n, "final", byExtension|byRestriction)
	}
	children := n.children()
	if len(children) == 1 && (children[0].is("simpleContent") || children[0].is("complexContent")) {
		c.content(t, children[0])
		return
	}
	t.base, t.by = c.anyType, byRestriction
	t.holds = c.body(t, n, children)
}

// body reads the particle and the attributes of a type.
func (c *compiler) body(t *typ, n node, children []node) *particle {
	var p *particle
	stage := 0
	for _, x := range children {
		switch x.local() {
		case "group", "all", "choice", "sequence":
			if stage > 0 {
				c.fault(x, "content stands twice, or after attributes", "")
				continue
			}
			stage, p = 1, c.particle(x, true)
		case "attribute", "attributeGroup":
			if stage > 2 {
				c.fault(x, "attributes stand after anyAttribute", "")
			}
			stage = 2
			c.attributeUse(x, t)
		case "anyAttribute":
			if stage > 2 {
				c.fault(x, "anyAttribute stands twice", "")
			}
			stage = 3
			c.addWild(t, c.wildcard(x))
		default:
			c.fault(x, fmt.Sprintf("xs:%s does not stand in xs:%s", x.local(), n.local()), "")
		}
	}
	return p
}

func (c *compiler) addWild(t *typ, w *wildcard) {
	if t.other != nil {
		w = t.other.both(w)
	}
	t.other = w
}

// content reads simpleContent and complexContent.
func (c *compiler) content(t *typ, n node) {
	c.allowed(n, "mixed", "id")
	if n.has("mixed") {
		t.mixed = c.truth(n, "mixed")
	}
	children := n.children()
	if len(children) != 1 || !children[0].is("extension") && !children[0].is("restriction") {
		c.fault(n, fmt.Sprintf("xs:%s holds one extension or restriction", n.local()), "")
		t.base = c.anyType
		return
	}
	d := children[0]
	c.allowed(d, "base", "id")
	t.by = byExtension
	if d.is("restriction") {
		t.by = byRestriction
	}
	if !d.has("base") {
		c.fault(d, "base is missing", "")
		t.base = c.anyType
		return
	}
	t.base = c.reference(d, "base")
	if !c.complete(t.base) {
		return
	}
	c.final(d, t.base, t.by)
	if n.is("simpleContent") {
		c.simpleContent(t, d)
		return
	}
	if !t.base.complex {
		c.fault(d, fmt.Sprintf("%s is no complex type", t.base), "use simpleContent")
		return
	}
	own := &typ{}
	p := c.body(own, d, d.children())
	c.inherit(t, own, d)
	if t.by == byRestriction {
		t.holds = p
		if t.base.simple != nil && p != nil {
			c.fault(d, "the base has simple content", "use simpleContent")
		}
		return
	}
	if t.base.simple != nil {
		if p != nil {
			c.fault(d, "the base has simple content", "use simpleContent")
		}
		t.simple = t.base.simple
		return
	}
	if b := t.base; b.holds != nil && b.mixed != t.mixed && !(b == c.anyType) {
		if n.has("mixed") || t.from.has("mixed") || b.mixed {
			if b.mixed && !n.has("mixed") && !t.from.has("mixed") {
				t.mixed = true
			} else {
				c.fault(d, "an extension is mixed where its base is not, or the other way round", "")
			}
		}
	}
	switch b := t.base.holds; {
	case b == nil:
		t.holds = p
	case p == nil:
		t.holds = b
		if t.base.mixed {
			t.mixed = true
		}
	default:
		if b.kind == isAll || p.kind == isAll {
			c.fault(d, "xs:all cannot be extended", "use sequence")
		}
		t.holds = &particle{kind: isSequence, least: 1, most: 1, items: []*particle{b, p}, from: d}
	}
}

// inherit joins the attributes of a type with those of its base.
func (c *compiler) inherit(t, own *typ, at node) {
	t.attrs = append(t.attrs, own.attrs...)
	for _, a := range t.base.attrs {
		i := slices.IndexFunc(t.attrs, func(x *attribute) bool { return x.name == a.name })
		switch {
		case i < 0:
			t.attrs = append(t.attrs, a)
		case t.by == byExtension:
			c.fault(t.attrs[i].from, fmt.Sprintf("attribute %s is the base's already", a.name), "")
		case a.required && !t.attrs[i].required:
			c.fault(t.attrs[i].from, fmt.Sprintf("attribute %s is required in the base", a.name), `use="required"`)
		case a.fixed && !t.attrs[i].prohibited && (!t.attrs[i].fixed || *t.attrs[i].value != *a.value):
			c.fault(t.attrs[i].from, fmt.Sprintf("attribute %s is fixed in the base", a.name), "")
		case !t.attrs[i].prohibited:
			x, b := t.attrs[i], a
			c.checks = append(c.checks, func() {
				if _, ok := x.typ.derived(b.typ); !ok {
					c.fault(x.from, fmt.Sprintf("type of attribute %s is not derived from the base's", b.name), "")
				}
			})
		}
	}
	if t.by == byRestriction {
		for _, a := range own.attrs {
			if !slices.ContainsFunc(t.base.attrs, func(x *attribute) bool { return x.name == a.name }) && (t.base.other == nil || !t.base.other.admits(a.name.Space)) && !a.prohibited {
				c.fault(a.from, fmt.Sprintf("attribute %s is not one of the base", a.name), "")
			}
		}
	}
	switch {
	case t.by == byRestriction:
		t.other = own.other
		if own.other != nil && t.base.other == nil {
			c.fault(at, "anyAttribute is not in the base", "")
		}
	case own.other == nil:
		t.other = t.base.other
	case t.base.other == nil:
		t.other = own.other
	default:
		t.other = own.other.either(t.base.other)
	}
}

func (c *compiler) simpleContent(t *typ, d node) {
	b := t.base
	children := d.children()
	if t.by == byExtension {
		switch {
		case !b.complex:
			t.simple = b.simple
		case b.simple != nil:
			t.simple = b.simple
		default:
			c.fault(d, fmt.Sprintf("%s has no simple content", b), "")
			return
		}
		own := &typ{}
		c.body(own, d, children)
		c.inherit(t, own, d)
		return
	}
	if !b.complex || b.simple == nil {
		c.fault(d, fmt.Sprintf("%s has no simple content that could be restricted", b), "")
		return
	}
	from := b.simple
	if len(children) > 0 && children[0].is("simpleType") {
		s := c.typeOf(children[0])
		if !c.complete(s) {
			return
		}
		from = s.simple
		children = children[1:]
	}
	n := 0
	for n < len(children) && facets[children[n].local()] {
		n++
	}
	t.simple = c.facets(from, children[:n], d)
	own := &typ{}
	if c.body(own, d, children[n:]) != nil {
		c.fault(d, "simple content holds no elements", "")
	}
	c.inherit(t, own, d)
}

// attributeUse reads an attribute or attributeGroup inside a type or group.
func (c *compiler) attributeUse(n node, t *typ) {
	if n.is("attributeGroup") {
		c.allowed(n, "ref", "id")
		name, ok := c.name(n, n.get("ref"))
		if !ok {
			return
		}
		g, ok := c.attributeGroups[name]
		if !ok {
			c.unknown(n, "attributeGroup", name)
			return
		}
		c.attributeGroup(g, t)
		return
	}
	a := c.attribute(n, false)
	if a == nil {
		return
	}
	c.addAttribute(t, a)
}

func (c *compiler) addAttribute(t *typ, a *attribute) {
	for _, x := range t.attrs {
		if x.name == a.name {
			if !x.prohibited && !a.prohibited {
				c.fault(a.from, fmt.Sprintf("attribute %s stands twice", a.name), "")
			}
			return
		}
	}
	t.attrs = append(t.attrs, a)
}

func (c *compiler) attributeGroup(g node, t *typ) {
	if c.open[g] {
		c.fault(g, "attributeGroup holds itself", "")
		return
	}
	c.open[g] = true
	defer delete(c.open, g)
	c.allowed(g, "name", "id")
	for _, x := range g.children() {
		switch x.local() {
		case "attribute", "attributeGroup":
			c.attributeUse(x, t)
		case "anyAttribute":
			c.addWild(t, c.wildcard(x))
		default:
			c.fault(x, fmt.Sprintf("xs:%s does not stand in xs:attributeGroup", x.local()), "")
		}
	}
}

// attribute reads one attribute declaration or use.
func (c *compiler) attribute(n node, global bool) *attribute {
	a := &attribute{from: n}
	switch use := n.get("use"); use {
	case "", "optional":
	case "required":
		a.required = true
	case "prohibited":
		a.prohibited = true
	default:
		c.fault(n, fmt.Sprintf("use is %q", use), "optional, required or prohibited")
	}
	if v, ok := n.attr("fixed"); ok {
		a.fixed, a.value = true, &v
	}
	if v, ok := n.attr("default"); ok {
		if a.fixed || a.required {
			c.fault(n, "default beside fixed or required", "")
		}
		a.value = &v
	}
	children := n.children()
	if n.has("ref") {
		c.allowed(n, "ref", "use", "fixed", "default", "id")
		name, ok := c.name(n, n.get("ref"))
		if !ok {
			return nil
		}
		g := c.attributeNamed(name, n)
		if g == nil {
			return nil
		}
		a.name, a.typ = g.name, g.typ
		if a.value == nil {
			a.value, a.fixed = g.value, g.fixed
		} else if g.fixed && (!a.fixed || *a.value != *g.value) {
			c.fault(n, "the attribute is fixed to another value", "")
		}
		c.checks = append(c.checks, func() { c.attributeValue(a) })
		return a
	}
	if global {
		c.allowed(n, "name", "type", "fixed", "default", "id")
	} else {
		c.allowed(n, "name", "type", "use", "form", "fixed", "default", "id")
	}
	local := n.get("name")
	if !wNCName.holds([]byte(local)) || local == "xmlns" {
		c.fault(n, "attribute has no name, or one that is none", "")
		return nil
	}
	a.name = Name{"", local}
	qualified := n.d.attrs
	if n.has("form") {
		qualified = c.form(n, "form")
	}
	if global || qualified {
		a.name.Space = n.d.target
	}
	if a.name.Space == Instance {
		c.fault(n, "attributes of the namespace "+Instance+" are not declared", "")
	}
	switch {
	case n.has("type") && len(children) > 0:
		c.fault(n, "attribute has two types", "")
		fallthrough
	case n.has("type"):
		a.typ = c.reference(n, "type")
	case len(children) == 1 && children[0].is("simpleType"):
		a.typ = c.typeOf(children[0])
	case len(children) == 0:
		a.typ = c.simples["anySimpleType"]
	default:
		c.fault(children[0], "does not stand in xs:attribute", "")
		return nil
	}
	c.checks = append(c.checks, func() {
		if a.typ.complex || a.typ.simple == nil {
			c.fault(n, "an attribute's type is simple", "")
			return
		}
		c.attributeValue(a)
	})
	return a
}

func (c *compiler) attributeValue(a *attribute) {
	if a.value == nil || a.typ.simple == nil || a.from.d == nil {
		return
	}
	a.fixedForm = c.constant(a.typ.simple, *a.value, a.from)
}

// constant checks a value that a schema gives, and gives its canonical form.
func (c *compiler) constant(s *simple, v string, at node) []byte {
	w := &Validation{d: &at.d.doc, s: c.out}
	if detail := w.word(s, []byte(v), at.i, true); detail != "" {
		c.fault(at, fmt.Sprintf("value %.40q: %s", v, detail), "")
	}
	return s.canonical(nil, []byte(v), w, at.i)
}

func (c *compiler) attributeNamed(n Name, at node) *attribute {
	if a := c.out.attributes[n]; a != nil {
		return a
	}
	from, ok := c.loader.attributes[n]
	if !ok {
		if n.Space == xmlSpace {
			t := map[string]string{"lang": "language", "space": "NCName", "base": "anyURI", "id": "ID"}[n.Local]
			if t != "" {
				a := &attribute{name: n, typ: c.simples[t]}
				c.out.attributes[n] = a
				return a
			}
		}
		c.unknown(at, "attribute", n)
		return nil
	}
	a := c.attribute(from, true)
	if a != nil {
		c.out.attributes[n] = a
	}
	return a
}

func (c *compiler) elementNamed(n Name, at node) *element {
	if e := c.out.elements[n]; e != nil {
		return e
	}
	from, ok := c.loader.elements[n]
	if !ok {
		c.unknown(at, "element", n)
		return nil
	}
	e := &element{name: n, from: from}
	c.out.elements[n] = e
	c.element(e, true)
	return e
}

// element reads an element's declaration into e.
func (c *compiler) element(e *element, global bool) {
	n := e.from
	if global {
		c.allowed(n, "name", "type", "substitutionGroup", "default", "fixed", "nillable", "abstract", "final", "block", "id")
	} else {
		c.allowed(n, "name", "type", "default", "fixed", "nillable", "block", "form", "minOccurs", "maxOccurs", "id")
	}
	e.nillable, e.abstract = c.truth(n, "nillable"), c.truth(n, "abstract")
	e.blocks, e.finals = n.d.blocks, n.d.finals
	if n.has("block") {
		e.blocks = c.methods(n, "block", byExtension|byRestriction|bySubstitution)
	}
	if n.has("final") {
		e.finals = c.methods(n, "final", byExtension|byRestriction)
	}
	if n.has("substitutionGroup") {
		if name, ok := c.name(n, n.get("substitutionGroup")); ok {
			e.head = c.elementNamed(name, n)
		}
	}
	children := n.children()
	if len(children) > 0 && (children[0].is("simpleType") || children[0].is("complexType")) {
		if n.has("type") {
			c.fault(n, "element has two types", "")
		}
		e.typ = c.typeOf(children[0])
		children = children[1:]
	} else if n.has("type") {
		e.typ = c.reference(n, "type")
	} else if e.head != nil && e.head.typ != nil {
		e.typ = e.head.typ
	} else {
		e.typ = c.anyType
	}
	for _, x := range children {
		switch x.local() {
		case "key", "unique", "keyref":
			if k := c.constraint(x); k != nil {
				e.constraints = append(e.constraints, k)
			}
		default:
			c.fault(x, fmt.Sprintf("xs:%s does not stand in xs:element", x.local()), "")
		}
	}
	if v, ok := n.attr("default"); ok {
		e.value = &v
	}
	if v, ok := n.attr("fixed"); ok {
		if e.value != nil {
			c.fault(n, "default beside fixed", "")
		}
		e.fixed, e.value = &v, &v
	}
	if e.value == nil {
		return
	}
	c.checks = append(c.checks, func() {
		switch t := e.typ; {
		case t.simple != nil:
			e.fixedForm = c.constant(t.simple, *e.value, n)
		case t.mixed:
			e.fixedForm = []byte(*e.value)
		default:
			c.fault(n, "an element that holds elements has no default or fixed value", "")
		}
	})
}

func (c *compiler) wildcard(n node) *wildcard {
	if n.is("any") {
		c.allowed(n, "namespace", "processContents", "minOccurs", "maxOccurs", "id")
	} else {
		c.allowed(n, "namespace", "processContents", "id")
	}
	w := &wildcard{process: n.get("processContents")}
	switch w.process {
	case "":
		w.process = "strict"
	case "strict", "lax", "skip":
	default:
		c.fault(n, fmt.Sprintf("processContents is %q", w.process), "strict, lax or skip")
	}
	space, ok := n.attr("namespace")
	words := strings.Fields(space)
	switch {
	case !ok || len(words) == 1 && words[0] == "##any":
		w.any = true
	case len(words) == 1 && words[0] == "##other":
		w.not, w.list = true, []string{"", n.d.target}
	default:
		for _, s := range words {
			switch s {
			case "##targetNamespace":
				s = n.d.target
			case "##local":
				s = ""
			case "##any", "##other":
				c.fault(n, s+" stands alone", "")
			}
			w.list = append(w.list, s)
		}
	}
	return w
}

// occurs reads minOccurs and maxOccurs. What is more than a document can hold
// is as good as unbounded.
func (c *compiler) occurs(n node) (least, most int) {
	least, most = 1, 1
	if v, ok := n.attr("minOccurs"); ok {
		k, err := strconv.ParseUint(strings.TrimSpace(v), 10, 62)
		if err != nil {
			c.fault(n, fmt.Sprintf("minOccurs is %q", v), "")
		}
		least = int(k)
	}
	if v, ok := n.attr("maxOccurs"); ok && strings.TrimSpace(v) == "unbounded" {
		most = -1
	} else if ok {
		k, err := strconv.ParseUint(strings.TrimSpace(v), 10, 62)
		if err != nil {
			c.fault(n, fmt.Sprintf("maxOccurs is %q", v), "a number or unbounded")
		}
		most = int(k)
	}
	if most >= 0 && least > most {
		c.fault(n, fmt.Sprintf("minOccurs %d is more than maxOccurs %d", least, most), "")
	}
	if least > xmldoc.MaxElements {
		c.fault(n, fmt.Sprintf("minOccurs %d is more elements than a document may have", least), fmt.Sprintf("at most %d", xmldoc.MaxElements))
		least = 1
	}
	if most >= xmldoc.MaxElements {
		most = -1
	}
	return least, most
}

// particle reads a part of a content model; nil when it can hold nothing.
func (c *compiler) particle(n node, top bool) *particle {
	p := &particle{from: n}
	p.least, p.most = c.occurs(n)
	switch n.local() {
	case "sequence", "choice":
		c.allowed(n, "minOccurs", "maxOccurs", "id")
		if n.is("choice") {
			p.kind = isChoice
		}
		if c.nested++; c.nested > 200 {
			c.fault(n, "groups are nested deeper than 200", "")
			c.nested--
			return nil
		}
		for _, x := range n.children() {
			switch x.local() {
			case "element", "any", "group", "choice", "sequence":
				if q := c.particle(x, false); q != nil {
					p.items = append(p.items, q)
				}
			default:
				c.fault(x, fmt.Sprintf("xs:%s does not stand in xs:%s", x.local(), n.local()), "")
			}
		}
		c.nested--
	case "all":
		c.allowed(n, "minOccurs", "maxOccurs", "id")
		p.kind = isAll
		if !top || p.most != 1 || p.least > 1 {
			c.fault(n, "xs:all stands alone as the content of a type, once", "")
		}
		for _, x := range n.children() {
			if !x.is("element") {
				c.fault(x, "xs:all holds elements only", "")
				continue
			}
			if q := c.particle(x, false); q != nil {
				if q.least > 1 || q.most > 1 || q.most < 0 {
					c.fault(x, "an element of xs:all occurs once at most", "")
				}
				p.items = append(p.items, q)
			}
		}
		if len(p.items) > 64 {
			c.fault(n, "more than 64 elements in xs:all are not supported", "")
		}
	case "any":
		p.kind, p.wild = isAny, c.wildcard(n)
	case "group":
		c.allowed(n, "ref", "minOccurs", "maxOccurs", "id")
		name, ok := c.name(n, n.get("ref"))
		if !ok {
			return nil
		}
		g, ok := c.groups[name]
		if !ok {
			c.unknown(n, "group", name)
			return nil
		}
		inner := c.group(g, n)
		if inner == nil {
			return nil
		}
		if inner.kind == isAll {
			if !top || p.most != 1 {
				c.fault(n, "xs:all stands alone as the content of a type, once", "")
			}
			inner.least = min(inner.least, p.least)
			return inner
		}
		p.items = []*particle{inner}
	case "element":
		p.kind = isElement
		if n.has("ref") {
			c.allowed(n, "ref", "minOccurs", "maxOccurs", "id")
			name, ok := c.name(n, n.get("ref"))
			if !ok {
				return nil
			}
			if p.element = c.elementNamed(name, n); p.element == nil {
				return nil
			}
			break
		}
		local := n.get("name")
		if !wNCName.holds([]byte(local)) {
			c.fault(n, "element has no name, or one that is none", `name="…" or ref="…"`)
			return nil
		}
		e := &element{name: Name{"", local}, from: n}
		qualified := n.d.elements
		if n.has("form") {
			qualified = c.form(n, "form")
		}
		if qualified {
			e.name.Space = n.d.target
		}
		c.element(e, false)
		p.element = e
	}
	if p.most == 0 {
		return nil
	}
	return p
}

func (c *compiler) group(g, at node) *particle {
	if c.open[g] {
		c.fault(g, "group holds itself", "")
		return nil
	}
	c.open[g] = true
	defer delete(c.open, g)
	c.allowed(g, "name", "id")
	children := g.children()
	if len(children) != 1 || !slices.Contains([]string{"all", "choice", "sequence"}, children[0].local()) {
		c.fault(g, "group holds one of all, choice and sequence", "")
		return nil
	}
	if children[0].has("minOccurs") || children[0].has("maxOccurs") {
		c.fault(children[0], "the content of a group has no bounds of its own", "set them where the group is referred to")
	}
	return c.particle(children[0], true)
}

// substitutions finds what may stand in the place of each head.
func (c *compiler) substitutions() {
	for _, n := range sortedElements(c.out.elements) {
		e := c.out.elements[n]
		for h, hops := e.head, 0; h != nil; h, hops = h.head, hops+1 {
			if h == e || hops > 100 {
				c.fault(e.from, "substitution group holds itself", "")
				return
			}
			by, ok := e.typ.derived(h.typ)
			if !ok {
				c.fault(e.from, fmt.Sprintf("type of %s is not derived from that of %s", e.name, h.name), "")
				continue
			}
			if h == e.head && h.finals&by != 0 {
				c.fault(e.from, fmt.Sprintf("%s is final", h.name), "")
			}
			blocked := h.blocks
			for t := e.typ.base; t != nil && t != h.typ.base; t = t.base {
				blocked |= t.blocks
			}
			if h.blocks&bySubstitution == 0 && blocked&by == 0 {
				h.others = append(h.others, e)
			}
		}
	}
}

func sortedElements(m map[Name]*element) []Name {
	out := make([]Name, 0, len(m))
	for n := range m {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b Name) int { return strings.Compare(a.String(), b.String()) })
	return out
}

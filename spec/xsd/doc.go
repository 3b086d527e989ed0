// Package xsd validates XML by W3C XML Schema 1.0. In come schema documents,
// which refer to each other by what a caller's function opens; out goes an
// immutable Schema, or every mistake with file, line and column. What of XML
// Schema is not supported here is such a mistake (redefine, notations,
// entities, very large groups): nothing of a schema is passed over in silence.
// Content models are compiled to deterministic automata, a model that leaves
// open which of its particles an element belongs to is a mistake, and a
// document that was read (package xmldoc) is validated in one walk whose work is
// bounded by its size. It fetches nothing, follows no schemaLocation of a
// document, and expands nothing.
//
// One rule of the standard is not checked when a schema is loaded: that the
// content model of a restriction is a subset of its base's. Documents are
// validated by the restriction as it is written.
package xsd

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"strings"

	"sallyport.dev/spec/xmldoc"
)

// Namespace is that of XML Schema, Instance that of its attributes in documents.
const (
	Namespace = "http://www.w3.org/2001/XMLSchema"
	Instance  = "http://www.w3.org/2001/XMLSchema-instance"
	xmlSpace  = "http://www.w3.org/XML/1998/namespace"
)

// A Fault is one thing wrong with a schema.
type Fault struct {
	File         string
	Line, Column int
	Message      string
	Hint         string
}

func (f Fault) Error() string {
	s := fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message)
	if f.Hint != "" {
		s += " (" + f.Hint + ")"
	}
	return s
}

// A Source is a schema document.
type Source struct {
	Name string // as the operator knows it
	URI  string // that references are relative to; Open understands it
	Data []byte
	Root int // index of the element that is the schema, as where it stands in a WSDL
}

// Open gives the document at location, as a document at base refers to it. An
// error stands in the way of loading.
type Open func(base, location string) (Source, error)

// A Name is a qualified name.
type Name struct{ Space, Local string }

func (n Name) String() string {
	if n.Space == "" {
		return n.Local
	}
	return "{" + n.Space + "}" + n.Local
}

// What a set of documents may hold.
const (
	maxDocuments = 200
	maxFaults    = 200
	maxDepth     = 64
)

// A document is one schema document under one target namespace.
type document struct {
	source          Source
	doc             xmldoc.Doc
	lines           []int
	target          string
	elements, attrs bool // elementFormDefault, attributeFormDefault are qualified
	blocks, finals  methods
	imports         map[string]bool
	root            int
}

// A node is an element of a schema document.
type node struct {
	d *document
	i int
}

func (n node) element() *xmldoc.Element { return &n.d.doc.Elements[n.i] }
func (n node) local() string            { return string(n.element().Local) }
func (n node) is(local string) bool     { return n.schema() && n.local() == local }
func (n node) schema() bool             { return string(n.element().Space) == Namespace }

func (n node) attr(name string) (string, bool) {
	e := n.element()
	for _, a := range n.d.doc.Attributes[e.Attr : e.Attr+e.Attrs] {
		if len(a.Space) == 0 && string(a.Local) == name {
			return string(a.Value), true
		}
	}
	return "", false
}

func (n node) get(name string) string {
	v, _ := n.attr(name)
	return strings.Trim(v, " \t\r\n")
}

func (n node) has(name string) bool { _, ok := n.attr(name); return ok }

// children are the child elements of the schema's namespace but annotations.
func (n node) children() (out []node) {
	for i := n.i + 1; i < int(n.element().Next); i = int(n.d.doc.Elements[i].Next) {
		if c := (node{n.d, i}); c.schema() && c.local() != "annotation" {
			out = append(out, c)
		}
	}
	return out
}

func (n node) position() (line, column int) {
	at := n.d.doc.Offset(n.i, n.d.source.Data)
	k := sort.SearchInts(n.d.lines, at+1)
	return k, at - n.d.lines[k-1] + 1
}

func lineStarts(data []byte) []int {
	l := []int{0}
	for i, c := range data {
		if c == '\n' {
			l = append(l, i+1)
		}
	}
	return l
}

// A loader reads schema documents and collects what they declare.
type loader struct {
	open      Open
	documents map[string]*document // by URI and target namespace
	faults    []Fault
	seen      map[string]bool
	spaces    map[string]bool // target namespaces that there are documents of

	elements, types, groups, attributes, attributeGroups map[Name]node

	c *compiler
}

func (l *loader) fault(n node, message, hint string) {
	f := Fault{File: n.d.source.Name, Message: message, Hint: hint}
	f.Line, f.Column = n.position()
	if k := f.Error(); !l.seen[k] && len(l.faults) < maxFaults {
		l.seen[k] = true
		l.faults = append(l.faults, f)
	}
}

// Load compiles documents and what they include and import to one Schema; open
// may be nil where they refer to nothing. When there are faults there is no Schema.
func Load(open Open, sources ...Source) (*Schema, []Fault) {
	l := &loader{open: open, documents: map[string]*document{}, seen: map[string]bool{}, spaces: map[string]bool{},
		elements: map[Name]node{}, types: map[Name]node{}, groups: map[Name]node{}, attributes: map[Name]node{}, attributeGroups: map[Name]node{}}
	for _, s := range sources {
		l.read(s, "", false)
	}
	l.c = newCompiler(l)
	if len(l.faults) == 0 {
		l.c.compile()
	}
	if len(l.faults) > 0 {
		slices.SortStableFunc(l.faults, func(a, b Fault) int {
			if c := strings.Compare(a.File, b.File); c != 0 {
				return c
			}
			return a.Line - b.Line
		})
		return nil, l.faults
	}
	return l.c.out, nil
}

// read reads one document; included says that it takes target as its target
// namespace when it has none.
func (l *loader) read(s Source, target string, included bool) *document {
	d := &document{source: s, lines: lineStarts(s.Data), imports: map[string]bool{}, root: s.Root}
	if err := d.doc.Parse(s.Data, xmldoc.Limits{Elements: 200_000, Attributes: 64, Depth: maxDepth}); err != nil {
		f := Fault{File: s.Name, Line: 1, Column: 1, Message: "is not readable as XML: " + err.Error()}
		if e, ok := err.(*xmldoc.SyntaxError); ok {
			k := sort.SearchInts(d.lines, e.Offset+1)
			f.Line, f.Column = k, e.Offset-d.lines[k-1]+1
		}
		l.faults = append(l.faults, f)
		return nil
	}
	return l.document(d, target, included)
}

func (l *loader) document(d *document, target string, included bool) *document {
	root := node{d, d.root}
	if !root.is("schema") {
		l.fault(root, "document is no XML schema", `its root is <xs:schema xmlns:xs="`+Namespace+`">`)
		return nil
	}
	d.target = root.get("targetNamespace")
	if included && d.target == "" {
		d.target = target
	} else if included && d.target != target {
		l.fault(root, fmt.Sprintf("included document has the target namespace %q, not %q", d.target, target), "use import")
		return nil
	}
	key := documentKey(d.source, d.target)
	if old := l.documents[key]; old != nil && d.source.URI != "" {
		return old
	}
	if len(l.documents) >= maxDocuments {
		l.fault(root, fmt.Sprintf("schemas lead to more than %d documents", maxDocuments), "")
		return nil
	}
	if d.source.URI == "" {
		key = fmt.Sprintf("%d", len(l.documents))
	}
	l.documents[key] = d
	l.spaces[d.target] = true
	l.allowed(root, "targetNamespace", "version", "elementFormDefault", "attributeFormDefault", "blockDefault", "finalDefault", "id")
	d.elements = l.form(root, "elementFormDefault")
	d.attrs = l.form(root, "attributeFormDefault")
	d.blocks = l.methods(root, "blockDefault", byExtension|byRestriction|bySubstitution)
	d.finals = l.methods(root, "finalDefault", byExtension|byRestriction|byList|byUnion)
	for _, c := range root.children() {
		switch c.local() {
		case "include":
			l.allowed(c, "schemaLocation", "id")
			l.refer(c, d.target, true)
		case "import":
			l.allowed(c, "namespace", "schemaLocation", "id")
			space := c.get("namespace")
			if space == d.target {
				l.fault(c, "a schema imports its own target namespace", "use include")
			}
			d.imports[space] = true
			if c.has("schemaLocation") && space != xmlSpace {
				l.refer(c, space, false)
			}
		case "element":
			l.declare(c, l.elements)
		case "simpleType", "complexType":
			l.declare(c, l.types)
		case "group":
			l.declare(c, l.groups)
		case "attribute":
			l.declare(c, l.attributes)
		case "attributeGroup":
			l.declare(c, l.attributeGroups)
		case "redefine", "notation":
			l.fault(c, c.local()+" is not supported", "")
		default:
			l.fault(c, fmt.Sprintf("xs:%s does not stand at the top of a schema", c.local()), "")
		}
	}
	return d
}

func documentKey(s Source, target string) string {
	return fmt.Sprint(s.URI, "\x00", target, "\x00", s.Root)
}

func (l *loader) declare(c node, table map[Name]node) {
	local := c.get("name")
	if !wNCName.holds([]byte(local)) {
		l.fault(c, fmt.Sprintf("xs:%s has no name, or one that is none", c.local()), `name="…"`)
		return
	}
	n := Name{c.d.target, local}
	if first, ok := table[n]; ok {
		line, _ := first.position()
		l.fault(c, fmt.Sprintf("%s is declared twice", n), fmt.Sprintf("first at %s:%d", first.d.source.Name, line))
		return
	}
	table[n] = c
}

// refer reads the document that an include or import names.
func (l *loader) refer(c node, space string, include bool) {
	location := c.get("schemaLocation")
	if location == "" {
		l.fault(c, "schemaLocation is missing", "")
		return
	}
	if l.open == nil {
		l.fault(c, fmt.Sprintf("%q cannot be read: this schema may refer to no other document", location), "")
		return
	}
	s, err := l.open(c.d.source.URI, location)
	if err != nil {
		l.fault(c, fmt.Sprintf("%q cannot be read: %s", location, err), "only files below the folder of the description are read")
		return
	}
	if include {
		if _, ok := l.documents[documentKey(s, space)]; ok {
			return
		}
	}
	if d := l.read(s, space, include); d != nil && !include && d.target != space {
		l.fault(c, fmt.Sprintf("imported document has the target namespace %q, not %q", d.target, space), "")
	}
}

// allowed finds attributes that an element of a schema may not have.
func (l *loader) allowed(n node, names ...string) {
	e := n.element()
	for _, a := range n.d.doc.Attributes[e.Attr : e.Attr+e.Attrs] {
		if len(a.Space) == 0 && !slices.Contains(names, string(a.Local)) {
			l.fault(n, fmt.Sprintf("xs:%s has no attribute %q", n.local(), a.Local), "it has "+strings.Join(names, ", "))
		}
	}
	var text []byte
	if text = n.d.doc.AppendText(nil, n.i); len(bytes.Trim(text, " \t\r\n")) > 0 {
		l.fault(n, fmt.Sprintf("xs:%s holds text", n.local()), "")
	}
}

func (l *loader) form(n node, name string) bool {
	switch v, ok := n.attr(name); {
	case !ok || v == "unqualified":
	case v == "qualified":
		return true
	default:
		l.fault(n, name+" is neither qualified nor unqualified", "")
	}
	return false
}

func (l *loader) truth(n node, name string) bool {
	switch v := n.get(name); v {
	case "true", "1":
		return true
	case "", "false", "0":
	default:
		l.fault(n, fmt.Sprintf("%s is %q", name, v), "true or false")
	}
	return false
}

// methods are ways in which one type is made of another.
type methods uint8

const (
	byExtension methods = 1 << iota
	byRestriction
	bySubstitution
	byList
	byUnion
)

func (l *loader) methods(n node, name string, all methods) (m methods) {
	for word := range strings.FieldsSeq(n.get(name)) {
		k, ok := map[string]methods{"#all": all, "extension": byExtension, "restriction": byRestriction, "substitution": bySubstitution,
			"list": byList, "union": byUnion}[word]
		if !ok || k&all != k {
			l.fault(n, fmt.Sprintf("%s has no word %q", name, word), "")
		}
		m |= k
	}
	return m
}

// name resolves a qualified name in an attribute.
func (l *loader) name(n node, text string) (Name, bool) {
	text = strings.Trim(text, " \t\r\n")
	prefix, local, ok := strings.Cut(text, ":")
	if !ok {
		prefix, local = "", text
	}
	space, bound := n.d.doc.Namespace(n.i, []byte(prefix))
	if !bound {
		l.fault(n, fmt.Sprintf("prefix of %q is bound to no namespace", text), "")
		return Name{}, false
	}
	out := Name{string(space), local}
	if out.Space == "" && prefix == "" && n.d.target != "" && !n.d.imports[""] && chameleon(n.d) {
		out.Space = n.d.target // an included document without a namespace takes the one of its includer
	}
	return out, true
}

// chameleon reports whether a document has no target namespace of its own.
func chameleon(d *document) bool { return node{d, d.root}.get("targetNamespace") == "" }

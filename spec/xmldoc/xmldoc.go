// Package xmldoc reads XML strictly into flat lists. In come the bytes of a
// document; out go its elements, attributes and texts with namespaces resolved,
// or the first rule that it breaks. Document types, entities but the five
// predefined, processing instructions but the declaration, and character sets
// but UTF-8 are refused, so nothing is ever expanded or fetched, and the work is
// bounded by the size of the document.
package xmldoc

import (
	"bytes"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// Limits of a document. Zero fields take defaults.
type Limits struct {
	Depth      int // of elements; default 64
	Elements   int // in all; default MaxElements
	Attributes int // of one element; default 64
	Name       int // bytes of a name; default 256
}

func (l Limits) filled() Limits {
	for _, f := range []struct {
		v *int
		d int
	}{{&l.Depth, 64}, {&l.Elements, MaxElements}, {&l.Attributes, 64}, {&l.Name, 256}} {
		if *f.v == 0 {
			*f.v = f.d
		}
	}
	return l
}

// MaxElements is how many elements a document has at most unless Limits say
// otherwise.
const MaxElements = 20_000

// An Element is one element. Local and Space are parts of the document's bytes.
type Element struct {
	Local, Space []byte
	Parent       int32 // -1 at the root
	Next         int32 // index after the subtree
	Attr, Attrs  int32 // its attributes: Doc.Attributes[Attr : Attr+Attrs], without xmlns
	text, last   int32 // first and last piece of its own text, -1 = none
	bound        int32 // bindings made before it
	outer, scope int32 // last binding in force outside of it, and inside; -1 = none
	name         []byte
}

// An Attribute is one attribute with its value unescaped.
type Attribute struct{ Local, Space, Value []byte }

type piece struct {
	text []byte
	next int32
}

type binding struct {
	prefix, space []byte
	outer         int32 // the one in force before it, -1 = none
	depth         int32 // how many are in force with it
}

// A Doc is a document that was read. It is reused: Parse resets it.
type Doc struct {
	Elements   []Element
	Attributes []Attribute

	pieces   []piece
	bindings []binding
	open     []int32
	arena    []byte
}

// A SyntaxError is the first rule that a document breaks.
type SyntaxError struct {
	Offset  int
	Rule    string // "xml.syntax", "xml.dtd", "xml.entity", …
	Message string
}

func (e *SyntaxError) Error() string { return e.Message }

type parser struct {
	*Doc
	b   []byte
	at  int
	now int32 // last binding in force
	lim Limits
	err *SyntaxError
}

func (p *parser) fail(rule, message string) bool {
	if p.err == nil {
		p.err = &SyntaxError{p.at, rule, message}
	}
	return false
}

// Reset forgets the document and keeps the memory, unless a large one blew it up.
func (d *Doc) Reset() {
	if cap(d.Elements) > 1<<12 || cap(d.arena) > 1<<18 || cap(d.pieces) > 1<<13 || cap(d.bindings) > 1<<12 {
		*d = Doc{}
		return
	}
	clear(d.Elements)
	clear(d.Attributes)
	clear(d.pieces)
	clear(d.bindings)
	d.Elements, d.Attributes, d.pieces, d.bindings, d.open, d.arena = d.Elements[:0], d.Attributes[:0], d.pieces[:0], d.bindings[:0], d.open[:0], d.arena[:0]
}

// Parse reads a document; the error is a *SyntaxError. The Doc refers to b.
func (d *Doc) Parse(b []byte, lim Limits) error {
	d.Reset()
	p := parser{Doc: d, b: b, now: -1, lim: lim.filled()}
	if !p.document() {
		return p.err
	}
	return nil
}

func (p *parser) document() bool {
	if !utf8.Valid(p.b) {
		return p.fail("xml.encoding", "document is not UTF-8")
	}
	if bytes.HasPrefix(p.b, []byte("\ufeff")) {
		p.at = 3
	}
	if declared(p.b[p.at:]) && !p.declaration() {
		return false
	}
	for p.at < len(p.b) {
		if p.b[p.at] != '<' {
			if !p.text() {
				return false
			}
			continue
		}
		if !p.markup() {
			return false
		}
	}
	switch {
	case len(p.open) > 0:
		return p.fail("xml.syntax", "an element has no end")
	case len(p.Elements) == 0:
		return p.fail("xml.syntax", "there is no element")
	}
	return true
}

// declared reports whether a document begins with a declaration; <?xml-stylesheet
// is an instruction like others.
func declared(b []byte) bool {
	rest, ok := bytes.CutPrefix(b, []byte("<?xml"))
	return ok && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n?"), rest[0]) >= 0)
}

// declaration reads <?xml version="1.0" encoding="UTF-8"?>.
func (p *parser) declaration() bool {
	end := bytes.Index(p.b[p.at:], []byte("?>"))
	if end < 0 || end > 256 {
		return p.fail("xml.syntax", "declaration has no end")
	}
	text := p.b[p.at+5 : p.at+end]
	state := 0
	for {
		rest := bytes.TrimLeft(text, " \t\r\n")
		if len(rest) == 0 {
			break
		}
		name, value, ok := bytes.Cut(rest, []byte("="))
		if !ok || len(rest) == len(text) {
			return p.fail("xml.syntax", "declaration is malformed")
		}
		value = bytes.TrimLeft(value, " \t\r\n")
		if len(value) < 2 || value[0] != '"' && value[0] != '\'' {
			return p.fail("xml.syntax", "declaration is malformed")
		}
		close := bytes.IndexByte(value[1:], value[0])
		if close < 0 {
			return p.fail("xml.syntax", "declaration is malformed")
		}
		v := value[1 : close+1]
		text = value[close+2:]
		switch name := string(bytes.TrimRight(name, " \t\r\n")); {
		case name == "version" && state == 0:
			if string(v) != "1.0" {
				return p.fail("xml.syntax", "version is not 1.0")
			}
			state = 1
		case name == "encoding" && state == 1:
			if !bytes.EqualFold(v, []byte("utf-8")) && !bytes.EqualFold(v, []byte("us-ascii")) {
				return p.fail("xml.encoding", "encoding is not UTF-8")
			}
			state = 2
		case name == "standalone" && state >= 1 && state < 3:
			if string(v) != "yes" && string(v) != "no" {
				return p.fail("xml.syntax", "declaration is malformed")
			}
			state = 3
		default:
			return p.fail("xml.syntax", "declaration is malformed")
		}
	}
	if state == 0 {
		return p.fail("xml.syntax", "declaration has no version")
	}
	p.at += end + 2
	return true
}

func (p *parser) markup() bool {
	rest := p.b[p.at:]
	switch {
	case len(rest) < 2:
		return p.fail("xml.syntax", "a tag has no end")
	case rest[1] == '/':
		return p.endTag()
	case rest[1] == '?':
		return p.fail("xml.instruction", "processing instructions are not let through")
	case rest[1] != '!':
		return p.startTag()
	case bytes.HasPrefix(rest, []byte("<!--")):
		end := bytes.Index(rest[4:], []byte("--"))
		if end < 0 || len(rest) < end+7 || rest[end+6] != '>' {
			return p.fail("xml.syntax", "a comment has no end or holds --")
		}
		if !p.characters(rest[4 : end+4]) {
			return false
		}
		p.at += end + 7
		return true
	case bytes.HasPrefix(rest, []byte("<![CDATA[")):
		end := bytes.Index(rest, []byte("]]>"))
		if end < 0 || len(p.open) == 0 {
			return p.fail("xml.syntax", "a CDATA section has no end or stands outside")
		}
		if !p.characters(rest[9:end]) {
			return false
		}
		p.piece(rest[9:end])
		p.at += end + 3
		return true
	case len(rest) >= 9 && bytes.EqualFold(rest[:9], []byte("<!doctype")):
		return p.fail("xml.dtd", "document types are not let through")
	}
	return p.fail("xml.dtd", "declarations are not let through")
}

// characters checks that all are characters of XML 1.0; it is UTF-8 already.
func (p *parser) characters(b []byte) bool {
	for i, c := range b {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c == 0xef && i+2 < len(b) && b[i+1] == 0xbf && b[i+2] >= 0xbe {
			p.at += i
			return p.fail("xml.syntax", "a character that XML does not have")
		}
	}
	return true
}

func (p *parser) piece(b []byte) {
	if len(b) == 0 {
		return
	}
	e := &p.Elements[p.open[len(p.open)-1]]
	p.pieces = append(p.pieces, piece{b, -1})
	k := int32(len(p.pieces) - 1)
	if e.text < 0 {
		e.text = k
	} else {
		p.pieces[e.last].next = k
	}
	e.last = k
}

func (p *parser) text() bool {
	end := bytes.IndexByte(p.b[p.at:], '<')
	if end < 0 {
		end = len(p.b) - p.at
	}
	t := p.b[p.at : p.at+end]
	if len(p.open) == 0 {
		if len(bytes.Trim(t, " \t\r\n")) > 0 {
			return p.fail("xml.syntax", "text outside of the root element")
		}
		p.at += end
		return true
	}
	if !p.characters(t) {
		return false
	}
	if bytes.Contains(t, []byte("]]>")) {
		return p.fail("xml.syntax", "]]> in text")
	}
	v, ok := p.unescape(t)
	if !ok {
		return false
	}
	p.piece(v)
	p.at += end
	return true
}

// unescape resolves the predefined entities and character references.
func (p *parser) unescape(t []byte) ([]byte, bool) {
	i := bytes.IndexByte(t, '&')
	if i < 0 {
		return t, true
	}
	start := len(p.arena)
	for i >= 0 {
		p.arena = append(p.arena, t[:i]...)
		t = t[i+1:]
		end := bytes.IndexByte(t, ';')
		if end < 0 || end > 10 {
			return nil, p.fail("xml.entity", "a reference has no end, or is no predefined one")
		}
		name := t[:end]
		switch string(name) {
		case "lt":
			p.arena = append(p.arena, '<')
		case "gt":
			p.arena = append(p.arena, '>')
		case "amp":
			p.arena = append(p.arena, '&')
		case "apos":
			p.arena = append(p.arena, '\'')
		case "quot":
			p.arena = append(p.arena, '"')
		default:
			r, ok := reference(name)
			if !ok {
				return nil, p.fail("xml.entity", "an entity that is not one of the five predefined")
			}
			p.arena = utf8.AppendRune(p.arena, r)
		}
		t = t[end+1:]
		i = bytes.IndexByte(t, '&')
	}
	p.arena = append(p.arena, t...)
	return p.arena[start:len(p.arena):len(p.arena)], true
}

func reference(name []byte) (rune, bool) {
	if len(name) < 2 || name[0] != '#' {
		return 0, false
	}
	digits, base := name[1:], 10
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	for _, c := range digits {
		if !(c >= '0' && c <= '9') && !(base == 16 && (c|0x20) >= 'a' && (c|0x20) <= 'f') {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(string(digits), base, 32)
	if err != nil {
		return 0, false
	}
	r := rune(n)
	ok := r == 9 || r == 10 || r == 13 || r >= 0x20 && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd || r >= 0x10000 && r <= 0x10ffff
	return r, ok
}

var nameByte = func() (t [128]uint8) {
	for c := range t {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_':
			t[c] = 2
		case c >= '0' && c <= '9' || c == '-' || c == '.':
			t[c] = 1
		}
	}
	return t
}()

// name reads a qualified name at p.at.
func (p *parser) name() (prefix, local []byte, ok bool) {
	start, colon := p.at, -1
	first := true
	for p.at < len(p.b) {
		c := p.b[p.at]
		switch {
		case c < 0x80 && (nameByte[c] == 2 || nameByte[c] == 1 && !first):
			first = false
			p.at++
			continue
		case c == ':' && colon < 0 && !first:
			colon = p.at
			first = true
			p.at++
			continue
		case c >= 0x80:
			r, size := utf8.DecodeRune(p.b[p.at:])
			if unicode.IsLetter(r) || !first && (unicode.IsDigit(r) || unicode.IsMark(r)) {
				first = false
				p.at += size
				continue
			}
		}
		break
	}
	if first || p.at-start > p.lim.Name {
		return nil, nil, p.fail("xml.syntax", "a name is malformed or too long")
	}
	if colon >= 0 {
		return p.b[start:colon], p.b[colon+1 : p.at], true
	}
	return nil, p.b[start:p.at], true
}

func (p *parser) space() (n int) {
	for p.at < len(p.b) && (p.b[p.at] == ' ' || p.b[p.at] == '\t' || p.b[p.at] == '\r' || p.b[p.at] == '\n') {
		p.at++
		n++
	}
	return n
}

const (
	xmlSpace   = "http://www.w3.org/XML/1998/namespace"
	xmlnsSpace = "http://www.w3.org/2000/xmlns/"
	// XInclude's, with which a document reads files and URLs.
	includeSpace = "http://www.w3.org/2001/XInclude"
)

func (p *parser) resolve(prefix []byte) ([]byte, bool) {
	space, ok := p.bound(p.now, prefix)
	if !ok {
		return nil, p.fail("xml.namespace", "a prefix is bound to no namespace")
	}
	return space, true
}

// bound is the namespace of a prefix where the binding i is the last in force.
func (d *Doc) bound(i int32, prefix []byte) (space []byte, ok bool) {
	for ; i >= 0; i = d.bindings[i].outer {
		if bytes.Equal(d.bindings[i].prefix, prefix) {
			return d.bindings[i].space, true
		}
	}
	switch string(prefix) {
	case "":
		return nil, true
	case "xml":
		return xmlSpaceBytes, true
	}
	return nil, false
}

var xmlSpaceBytes = []byte(xmlSpace)

// Namespace is what a prefix stands for inside an element, as in values that
// are qualified names; "" is the default namespace.
func (d *Doc) Namespace(element int, prefix []byte) (space []byte, ok bool) {
	return d.bound(d.Elements[element].scope, prefix)
}

// Offset is where an element's name stands in the document b that was parsed.
func (d *Doc) Offset(element int, b []byte) int { return cap(b) - cap(d.Elements[element].Local) }

// maxBindings bounds the namespaces in force at once.
const maxBindings = 256

func (p *parser) startTag() bool {
	if len(p.open) == 0 && len(p.Elements) > 0 {
		return p.fail("xml.syntax", "more than one root element")
	}
	if len(p.open) >= p.lim.Depth {
		return p.fail("xml.depth", "elements are nested too deep")
	}
	if len(p.Elements) >= p.lim.Elements {
		return p.fail("xml.elements", "too many elements")
	}
	e := Element{Parent: -1, text: -1, last: -1, bound: int32(len(p.bindings)), outer: p.now, Attr: int32(len(p.Attributes))}
	if len(p.open) > 0 {
		e.Parent = p.open[len(p.open)-1]
	}
	p.at++
	start := p.at
	prefix, local, ok := p.name()
	if !ok {
		return false
	}
	e.name, e.Local = p.b[start:p.at], local
	for {
		gap := p.space()
		if p.at >= len(p.b) {
			return p.fail("xml.syntax", "a tag has no end")
		}
		c := p.b[p.at]
		if c == '>' || c == '/' {
			break
		}
		if gap == 0 {
			return p.fail("xml.syntax", "attributes are not parted by space")
		}
		if !p.attribute(&e) {
			return false
		}
	}
	if !p.qualify(&e, prefix) {
		return false
	}
	empty := p.b[p.at] == '/'
	if empty {
		p.at++
	}
	if p.at >= len(p.b) || p.b[p.at] != '>' {
		return p.fail("xml.syntax", "a tag is malformed")
	}
	p.at++
	k := int32(len(p.Elements))
	e.Next, e.scope = k+1, p.now
	p.Elements = append(p.Elements, e)
	if empty {
		p.now = e.outer
	} else {
		p.open = append(p.open, k)
	}
	return true
}

// attribute reads one attribute; bindings of namespaces are put aside.
func (p *parser) attribute(e *Element) bool {
	prefix, local, ok := p.name()
	if !ok {
		return false
	}
	p.space()
	if p.at >= len(p.b) || p.b[p.at] != '=' {
		return p.fail("xml.syntax", "an attribute has no value")
	}
	p.at++
	p.space()
	if p.at >= len(p.b) || p.b[p.at] != '"' && p.b[p.at] != '\'' {
		return p.fail("xml.syntax", "an attribute's value is not quoted")
	}
	quote := p.b[p.at]
	p.at++
	end := bytes.IndexByte(p.b[p.at:], quote)
	if end < 0 {
		return p.fail("xml.syntax", "an attribute's value has no end")
	}
	raw := p.b[p.at : p.at+end]
	if bytes.IndexByte(raw, '<') >= 0 {
		return p.fail("xml.syntax", "< in an attribute's value")
	}
	if !p.characters(raw) {
		return false
	}
	value, ok := p.unescape(raw)
	if !ok {
		return false
	}
	p.at += end + 1
	if int(e.Attrs)+len(p.bindings)-int(e.bound) >= p.lim.Attributes {
		return p.fail("xml.attributes", "an element has too many attributes")
	}
	if string(prefix) == "xmlns" || prefix == nil && string(local) == "xmlns" {
		return p.bind(e, prefix, local, value)
	}
	// The prefix waits in Space until all bindings of the element are known.
	p.Attributes = append(p.Attributes, Attribute{local, prefix, value})
	e.Attrs++
	return true
}

func (p *parser) bind(e *Element, prefix, local, value []byte) bool {
	if prefix == nil {
		local = nil
	}
	switch {
	case string(value) == xmlnsSpace || string(local) == "xmlns",
		(string(value) == xmlSpace) != (string(local) == "xml"),
		local != nil && len(value) == 0:
		return p.fail("xml.namespace", "a namespace is bound that may not be")
	case p.now >= 0 && p.bindings[p.now].depth >= maxBindings:
		return p.fail("xml.namespace", "too many namespaces")
	}
	for _, b := range p.bindings[e.bound:] {
		if bytes.Equal(b.prefix, local) {
			return p.fail("xml.syntax", "an attribute stands twice")
		}
	}
	depth := int32(1)
	if p.now >= 0 {
		depth = p.bindings[p.now].depth + 1
	}
	p.bindings = append(p.bindings, binding{local, value, p.now, depth})
	p.now = int32(len(p.bindings) - 1)
	return true
}

// qualify resolves the prefixes of an element and its attributes.
func (p *parser) qualify(e *Element, prefix []byte) (ok bool) {
	if e.Space, ok = p.resolve(prefix); !ok {
		return false
	}
	if string(e.Space) == includeSpace {
		return p.fail("xml.inclusion", "inclusions are not let through")
	}
	list := p.Attributes[e.Attr : e.Attr+e.Attrs]
	for i := range list {
		a := &list[i]
		if a.Space != nil {
			if a.Space, ok = p.resolve(a.Space); !ok {
				return false
			}
		}
		for k := range i {
			if bytes.Equal(list[k].Local, a.Local) && bytes.Equal(list[k].Space, a.Space) {
				return p.fail("xml.syntax", "an attribute stands twice")
			}
		}
	}
	return true
}

func (p *parser) endTag() bool {
	if len(p.open) == 0 {
		return p.fail("xml.syntax", "an end tag without a start")
	}
	p.at += 2
	start := p.at
	if _, _, ok := p.name(); !ok {
		return false
	}
	k := p.open[len(p.open)-1]
	e := &p.Elements[k]
	if !bytes.Equal(p.b[start:p.at], e.name) {
		return p.fail("xml.syntax", "an end tag does not fit its start")
	}
	p.space()
	if p.at >= len(p.b) || p.b[p.at] != '>' {
		return p.fail("xml.syntax", "an end tag is malformed")
	}
	p.at++
	p.open = p.open[:len(p.open)-1]
	p.now = e.outer
	e.Next = int32(len(p.Elements))
	return true
}

// AppendText appends an element's own text, all pieces of it together.
func (d *Doc) AppendText(out []byte, element int) []byte {
	for k := d.Elements[element].text; k >= 0; k = d.pieces[k].next {
		out = append(out, d.pieces[k].text...)
	}
	return out
}

// The namespaces of SOAP 1.1 and 1.2.
const (
	soap11 = "http://schemas.xmlsoap.org/soap/envelope/"
	soap12 = "http://www.w3.org/2003/05/soap-envelope"
)

// Action is the name of the first element in the body of a SOAP envelope, ""
// when the document is none.
func (d *Doc) Action() string {
	if len(d.Elements) == 0 {
		return ""
	}
	root := &d.Elements[0]
	if string(root.Local) != "Envelope" || string(root.Space) != soap11 && string(root.Space) != soap12 {
		return ""
	}
	for i := int32(1); i < root.Next; i = d.Elements[i].Next {
		if e := &d.Elements[i]; string(e.Local) == "Body" && bytes.Equal(e.Space, root.Space) && e.Next > i+1 {
			return string(d.Elements[i+1].Local)
		}
	}
	return ""
}

// Find is the first element of a name, -1 when there is none.
func (d *Doc) Find(space, local string) int {
	for i := range d.Elements {
		if string(d.Elements[i].Local) == local && string(d.Elements[i].Space) == space {
			return i
		}
	}
	return -1
}

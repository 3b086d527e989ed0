package spec

import (
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"sallyport.dev/spec/xmldoc"
	"sallyport.dev/spec/xsd"
)

// The namespaces of WSDL 1.1, its bindings and the envelopes of SOAP 1.1 and 1.2.
const (
	wsdlSpace     = "http://schemas.xmlsoap.org/wsdl/"
	bindingSpace1 = "http://schemas.xmlsoap.org/wsdl/soap/"
	bindingSpace2 = "http://schemas.xmlsoap.org/wsdl/soap12/"
	envelope1     = "http://schemas.xmlsoap.org/soap/envelope/"
	envelope2     = "http://www.w3.org/2003/05/soap-envelope"
)

// SOAP is the operations of the WSDL documents among the sources, nil if there
// are none. They are not among Operations.
func (s *Set) SOAP() *SOAP { return s.soap }

func wsdlName(name string) bool { return path.Ext(filepath.ToSlash(name)) == ".wsdl" }

// A service is a WSDL document with all that it imports, being read.
type service struct {
	l       *loader
	h       *home
	docs    []*wsdl
	seen    map[string]bool // URIs
	schemas []xsd.Source
	types   *xsd.Schema
}

// A wsdl is one document of a service.
type wsdl struct {
	*service
	d      xmldoc.Doc
	from   xsd.Source
	lines  []int
	target string
}

// A part is an element of one of the documents.
type part struct {
	*wsdl
	i int
}

// maxImports bounds the documents of one service.
const maxImports = 100

func (w *wsdl) mistake(i int, message, hint string) {
	at := w.d.Offset(i, w.from.Data)
	k := sort.SearchInts(w.lines, at+1)
	w.l.mistake(Position{File: w.from.Name, Line: k, Column: at - w.lines[k-1] + 1}, message, hint)
}

func (p part) wrong(message, hint string) { p.mistake(p.i, message, hint) }

func (p part) attr(name string) string {
	e := &p.d.Elements[p.i]
	for _, a := range p.d.Attributes[e.Attr : e.Attr+e.Attrs] {
		if len(a.Space) == 0 && string(a.Local) == name {
			return string(a.Value)
		}
	}
	return ""
}

// all are the children of a name.
func (p part) all(space, local string) (out []part) {
	for k := p.i + 1; k < int(p.d.Elements[p.i].Next); k = int(p.d.Elements[k].Next) {
		if e := &p.d.Elements[k]; string(e.Space) == space && string(e.Local) == local {
			out = append(out, part{p.wsdl, k})
		}
	}
	return out
}

// refer is the definition that an attribute of p names, in any document of the
// service.
func (p part) refer(attribute, local string) (found part, ok bool) {
	qname := p.attr(attribute)
	n := p.qname(qname)
	for _, w := range p.docs {
		if n.Space != w.target {
			continue
		}
		for _, k := range (part{w, 0}).all(wsdlSpace, local) {
			if k.attr("name") != n.Local {
				continue
			}
			if ok {
				k.wrong(fmt.Sprintf("there are two definitions of %s %q", local, qname), "")
				return part{}, false
			}
			found, ok = k, true
		}
	}
	if !ok {
		p.wrong(fmt.Sprintf("there is no %s %q in this document and those that it imports", local, qname), "")
	}
	return found, ok
}

func (p part) qname(text string) xsd.Name {
	prefix, local, ok := strings.Cut(text, ":")
	if !ok {
		prefix, local = "", text
	}
	space, bound := p.d.Namespace(p.i, []byte(prefix))
	if !bound {
		p.wrong(fmt.Sprintf("prefix of %q is bound to no namespace", text), "")
	}
	return xsd.Name{Space: string(space), Local: local}
}

// wsdl reads a WSDL 1.1 document and what it imports.
func (l *loader) wsdl(abs, shown string, h *home) {
	u := &url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}
	data, err := l.file(u, h)
	if err != nil {
		l.mistake(Position{File: shown}, "document cannot be read: "+reason(err), hintFor(err))
		return
	}
	if l.soap == nil {
		l.soap = &SOAP{}
		l.soapAt = shown
	}
	s := &service{l: l, h: h, seen: map[string]bool{u.String(): true}}
	before := len(l.mistakes)
	if s.read(xsd.Source{Name: shown, URI: u.String(), Data: data}, nil); len(l.mistakes) > before {
		return
	}
	if s.types = l.loadXSD(h, s.schemas...); s.types == nil {
		return
	}
	for _, w := range s.docs {
		for _, k := range (part{w, 0}).all(wsdlSpace, "service") {
			for _, p := range k.all(wsdlSpace, "port") {
				p.port()
			}
		}
	}
}

// served says so when the WSDL documents serve nothing.
func (l *loader) served() {
	if l.soap != nil && len(l.soap.operations) == 0 && len(l.mistakes) == 0 {
		l.mistake(Position{File: l.soapAt, Line: 1, Column: 1}, "no service with a SOAP binding", "")
	}
}

// read reads one document; by is the import that leads to it, nil of the first.
func (s *service) read(from xsd.Source, by *part) {
	w := &wsdl{service: s, from: from, lines: []int{0}}
	for i, c := range from.Data {
		if c == '\n' {
			w.lines = append(w.lines, i+1)
		}
	}
	if err := w.d.Parse(from.Data, xmldoc.Limits{Elements: 200_000}); err != nil {
		s.l.mistake(Position{File: from.Name, Line: 1, Column: 1}, "is not readable as XML: "+err.Error(), "")
		return
	}
	root := part{w, 0}
	e := &w.d.Elements[0]
	if by != nil && string(e.Local) == "schema" && string(e.Space) == xsd.Namespace { // as the standard's own example does
		s.schemas = append(s.schemas, from)
		return
	}
	if string(e.Local) != "definitions" || string(e.Space) != wsdlSpace {
		w.mistake(0, "document is no WSDL 1.1", "its root is <definitions xmlns=\""+wsdlSpace+"\">")
		return
	}
	w.target = root.attr("targetNamespace")
	if by != nil && by.attr("namespace") != w.target {
		by.wrong(fmt.Sprintf("the document that is imported has the target namespace %q", w.target), "")
		return
	}
	s.docs = append(s.docs, w)
	for _, t := range root.all(wsdlSpace, "types") {
		for _, k := range t.all(xsd.Namespace, "schema") {
			inner := from
			inner.Root = k.i
			s.schemas = append(s.schemas, inner)
		}
	}
	for _, i := range root.all(wsdlSpace, "import") {
		next, err := s.l.schemaFile(s.h, from.URI, i.attr("location"))
		switch {
		case i.attr("location") == "":
			i.wrong("import has no location", "location=\"types.wsdl\"")
		case err != nil:
			i.wrong(fmt.Sprintf("%q cannot be read: %s", i.attr("location"), reason(err)), hintFor(err))
		case s.seen[next.URI]:
		case len(s.seen) >= maxImports:
			i.wrong(fmt.Sprintf("imports lead to more than %d documents", maxImports), "")
		default:
			s.seen[next.URI] = true
			s.read(next, &i)
		}
	}
}

func (p part) port() {
	space, version := bindingSpace1, 1
	address := p.all(space, "address")
	if len(address) == 0 {
		space, version = bindingSpace2, 2
		if address = p.all(space, "address"); len(address) == 0 {
			return // of another protocol
		}
	}
	u, err := url.Parse(address[0].attr("location"))
	if err != nil || !strings.HasPrefix(u.Path, "/") {
		address[0].wrong("location is no URL with a path", "")
		return
	}
	b, ok := p.refer("binding", "binding")
	if !ok {
		return
	}
	style := "document"
	for _, k := range b.all(space, "binding") {
		if s := k.attr("style"); s != "" {
			style = s
		}
	}
	types, ok := b.refer("type", "portType")
	if !ok {
		return
	}
	soap := p.l.soap
	if !slices.Contains(soap.paths, u.Path) {
		soap.paths = append(soap.paths, u.Path)
	}
	for _, o := range b.all(wsdlSpace, "operation") {
		if op := o.operation(types, space, version, style); op != nil {
			op.paths = []string{u.Path}
			o.add(op, version)
		}
	}
}

// operation is what a binding's operation says together with the portType's.
func (p part) operation(types part, space string, version int, style string) *SOAPOperation {
	op := &SOAPOperation{Name: p.attr("name"), types: p.types, from: []string{p.from.URI + "#" + strconv.Itoa(p.i)}}
	action := ""
	for _, k := range p.all(space, "operation") {
		action = k.attr("soapAction")
		if s := k.attr("style"); s != "" {
			style = s
		}
	}
	op.actions[version] = &action
	var abstract []part
	for _, k := range types.all(wsdlSpace, "operation") {
		if k.attr("name") == op.Name {
			abstract = append(abstract, k)
		}
	}
	if len(abstract) != 1 {
		p.wrong(fmt.Sprintf("operation %q is not in the portType, or stands there more than once", op.Name), "")
		return nil
	}
	one := func(o part, local string) (part, bool) {
		if list := o.all(wsdlSpace, local); len(list) == 1 {
			return list[0], true
		}
		return part{}, false
	}
	bound, ok1 := one(p, "input")
	input, ok2 := one(abstract[0], "input")
	if !ok1 || !ok2 {
		p.wrong(fmt.Sprintf("operation %q has no input", op.Name), "")
		return nil
	}
	var ok bool
	if op.input, ok = bound.message(input, space, style, op.Name); !ok {
		return nil
	}
	if op.input.body.Local == "" {
		bound.wrong("an input without a part cannot be told from others", "")
		return nil
	}
	for _, k := range bound.all(space, "header") {
		n, ok := k.header()
		if !ok {
			return nil
		}
		op.headers = append(op.headers, n)
	}
	if output, ok := one(abstract[0], "output"); ok {
		op.answers = true
		if bound, ok := one(p, "output"); ok {
			if op.output, ok = bound.message(output, space, style, op.Name+"Response"); !ok {
				return nil
			}
		}
	}
	for _, f := range abstract[0].all(wsdlSpace, "fault") {
		m, ok := f.refer("message", "message")
		if !ok {
			return nil
		}
		for _, k := range m.all(wsdlSpace, "part") {
			op.faults = append(op.faults, k.qname(k.attr("element")))
		}
	}
	return op
}

// header is the element that a soap:header names.
func (p part) header() (n xsd.Name, ok bool) {
	m, ok := p.refer("message", "message")
	if !ok {
		return n, false
	}
	for _, k := range m.all(wsdlSpace, "part") {
		if k.attr("name") == p.attr("part") && k.attr("element") != "" {
			if n = k.qname(k.attr("element")); p.types.Has(n) {
				return n, true
			}
		}
	}
	p.wrong("a header names a part with an element that the schemas declare", "")
	return n, false
}

// message is what the body holds of an input or output p of a binding; name is
// that of the element around the parts of rpc.
func (p part) message(abstract part, space, style, name string) (out message, ok bool) {
	body := p.all(space, "body")
	if len(body) != 1 {
		p.wrong("there is no soap:body of its own", "attachments are not supported")
		return out, false
	}
	if use := body[0].attr("use"); use != "literal" && use != "" {
		body[0].wrong("use="+strconv.Quote(use)+" is not supported", "literal is")
		return out, false
	}
	m, ok := abstract.refer("message", "message")
	if !ok {
		return out, false
	}
	parts := m.all(wsdlSpace, "part")
	if only := body[0].attr("parts"); only != "" {
		parts = slices.DeleteFunc(parts, func(k part) bool { return !slices.Contains(strings.Fields(only), k.attr("name")) })
	}
	out.known = true
	if style == "rpc" {
		out.rpc, out.body = true, xsd.Name{Space: body[0].attr("namespace"), Local: name}
		for _, k := range parts {
			t := k.qname(k.attr("type"))
			if k.attr("type") == "" || !p.types.HasType(t) {
				k.wrong("a part of an rpc message has a type that the schemas declare", "")
				return out, false
			}
			out.parts = append(out.parts, xsd.Root{Element: xsd.Name{Local: k.attr("name")}, Type: t})
		}
		return out, true
	}
	if len(parts) == 0 {
		return out, true
	}
	if len(parts) != 1 || parts[0].attr("element") == "" {
		m.wrong("a document/literal message has one part, with an element", "")
		return out, false
	}
	if out.body = parts[0].qname(parts[0].attr("element")); !p.types.Has(out.body) {
		parts[0].wrong(fmt.Sprintf("the schemas declare no element %s", out.body), "")
		return out, false
	}
	return out, true
}

// add adds an operation to those of the API, or what it says to what is said of
// it already.
func (p part) add(op *SOAPOperation, version int) {
	soap := p.l.soap
	for _, old := range soap.operations {
		same := old.input.body == op.input.body && old.input.rpc == op.input.rpc
		shared := slices.Contains(old.paths, op.paths[0])
		switch {
		case old.Name == op.Name && same && (old.types == op.types || slices.Contains(old.from, op.from[0])):
			if old.actions[version] != nil && *old.actions[version] != *op.actions[version] {
				p.wrong(fmt.Sprintf("operation %q has two actions", op.Name), "")
			}
			old.actions[version] = op.actions[version]
			old.from = append(old.from, op.from...)
			if !shared {
				old.paths = append(old.paths, op.paths[0])
			}
			return
		case old.Name == op.Name:
			p.wrong(fmt.Sprintf("there are two operations %q", op.Name), "make it two APIs")
			return
		case same && shared:
			p.wrong(fmt.Sprintf("operations %q and %q cannot be told apart by their bodies", old.Name, op.Name), "")
			return
		}
	}
	soap.operations = append(soap.operations, op)
}

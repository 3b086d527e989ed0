package spec

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"sallyport.dev"
	"sallyport.dev/spec/schema"
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

// A SOAP is the operations of WSDL documents with the types of their bodies. It
// is immutable and safe for concurrent use.
type SOAP struct {
	operations []*SOAPOperation
	paths      []string
	types      *xsd.Schema
}

// A SOAPOperation is one operation of a binding, document/literal or rpc/literal.
type SOAPOperation struct {
	Name  string
	paths []string
	// by version of SOAP, 1 and 2: the action, nil where it is not bound
	actions [3]*string
	rpc     bool
	body    xsd.Name
	parts   []xsd.Root // of rpc, in order
}

// Operations lists the operations.
func (w *SOAP) Operations() []*SOAPOperation { return w.operations }

// Paths are where the services are.
func (w *SOAP) Paths() []string { return w.paths }

// SOAP is the operations of the WSDL documents among the sources, nil if there
// are none. They are not among Operations.
func (s *Set) SOAP() *SOAP { return s.soap }

func wsdlName(name string) bool { return path.Ext(filepath.ToSlash(name)) == ".wsdl" }

// A wsdl is one document being read.
type wsdl struct {
	l      *loader
	d      xmldoc.Doc
	from   xsd.Source
	lines  []int
	target string
}

func (w *wsdl) mistake(i int, message, hint string) {
	at := w.d.Offset(i, w.from.Data)
	k := sort.SearchInts(w.lines, at+1)
	w.l.mistake(Position{File: w.from.Name, Line: k, Column: at - w.lines[k-1] + 1}, message, hint)
}

func (w *wsdl) attr(i int, name string) string {
	e := &w.d.Elements[i]
	for _, a := range w.d.Attributes[e.Attr : e.Attr+e.Attrs] {
		if len(a.Space) == 0 && string(a.Local) == name {
			return string(a.Value)
		}
	}
	return ""
}

// all are the children of i of a name.
func (w *wsdl) all(i int, space, local string) (out []int) {
	for k := i + 1; k < int(w.d.Elements[i].Next); k = int(w.d.Elements[k].Next) {
		if e := &w.d.Elements[k]; string(e.Space) == space && string(e.Local) == local {
			out = append(out, k)
		}
	}
	return out
}

// named is the child of a name whose name attribute is what a qualified name says.
func (w *wsdl) named(i int, local, qname string, from int) int {
	n := w.qname(from, qname)
	if n.Space == w.target {
		for _, k := range w.all(i, wsdlSpace, local) {
			if w.attr(k, "name") == n.Local {
				return k
			}
		}
	}
	w.mistake(from, fmt.Sprintf("there is no %s %q in this document", local, qname), "wsdl:import is not supported")
	return -1
}

func (w *wsdl) qname(at int, text string) xsd.Name {
	prefix, local, ok := strings.Cut(text, ":")
	if !ok {
		prefix, local = "", text
	}
	space, bound := w.d.Namespace(at, []byte(prefix))
	if !bound {
		w.mistake(at, fmt.Sprintf("prefix of %q is bound to no namespace", text), "")
	}
	return xsd.Name{Space: string(space), Local: local}
}

// wsdl reads a WSDL 1.1 document.
func (l *loader) wsdl(abs, shown string, h *home) {
	u := &url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}
	data, err := l.file(u, h)
	if err != nil {
		l.mistake(Position{File: shown}, "document cannot be read: "+reason(err), hintFor(err))
		return
	}
	w := &wsdl{l: l, from: xsd.Source{Name: shown, URI: u.String(), Data: data}, lines: []int{0}}
	for i, c := range data {
		if c == '\n' {
			w.lines = append(w.lines, i+1)
		}
	}
	if err := w.d.Parse(data, xmldoc.Limits{Elements: 200_000}); err != nil {
		l.mistake(Position{File: shown, Line: 1, Column: 1}, "is not readable as XML: "+err.Error(), "")
		return
	}
	if e := &w.d.Elements[0]; string(e.Local) != "definitions" || string(e.Space) != wsdlSpace {
		w.mistake(0, "document is no WSDL 1.1", "its root is <definitions xmlns=\""+wsdlSpace+"\">")
		return
	}
	if l.soap != nil {
		w.mistake(0, "an API has one WSDL document at most", "make it two APIs")
		return
	}
	w.target = w.attr(0, "targetNamespace")
	for _, i := range w.all(0, wsdlSpace, "import") {
		w.mistake(i, "wsdl:import is not supported", "put the definitions into one document; schemas may be imported by xs:import")
	}
	l.soap = &SOAP{}
	var sources []xsd.Source
	for _, t := range w.all(0, wsdlSpace, "types") {
		for _, k := range w.all(t, xsd.Namespace, "schema") {
			s := w.from
			s.Root = k
			sources = append(sources, s)
		}
	}
	l.soap.types = l.loadXSD(h, sources...)
	for _, s := range w.all(0, wsdlSpace, "service") {
		for _, p := range w.all(s, wsdlSpace, "port") {
			w.port(p)
		}
	}
	if len(l.soap.operations) == 0 && len(l.mistakes) == 0 {
		w.mistake(0, "no service with a SOAP binding", "")
	}
}

func (w *wsdl) port(p int) {
	space, version := bindingSpace1, 1
	address := w.all(p, space, "address")
	if len(address) == 0 {
		space, version = bindingSpace2, 2
		if address = w.all(p, space, "address"); len(address) == 0 {
			return // of another protocol
		}
	}
	u, err := url.Parse(w.attr(address[0], "location"))
	if err != nil || !strings.HasPrefix(u.Path, "/") {
		w.mistake(address[0], "location is no URL with a path", "")
		return
	}
	b := w.named(0, "binding", w.attr(p, "binding"), p)
	if b < 0 {
		return
	}
	style := "document"
	for _, k := range w.all(b, space, "binding") {
		if s := w.attr(k, "style"); s != "" {
			style = s
		}
	}
	types := w.named(0, "portType", w.attr(b, "type"), b)
	if types < 0 {
		return
	}
	if !slices.Contains(w.l.soap.paths, u.Path) {
		w.l.soap.paths = append(w.l.soap.paths, u.Path)
	}
	for _, o := range w.all(b, wsdlSpace, "operation") {
		w.operation(o, types, space, version, style, u.Path)
	}
}

func (w *wsdl) operation(o, types int, space string, version int, style, at string) {
	op := &SOAPOperation{Name: w.attr(o, "name"), paths: []string{at}}
	action := ""
	for _, k := range w.all(o, space, "operation") {
		action = w.attr(k, "soapAction")
		if s := w.attr(k, "style"); s != "" {
			style = s
		}
	}
	op.actions[version], op.rpc = &action, style == "rpc"
	abstract := -1
	for _, k := range w.all(types, wsdlSpace, "operation") {
		if w.attr(k, "name") == op.Name {
			abstract = k
		}
	}
	bound := w.all(o, wsdlSpace, "input")
	if abstract < 0 || len(bound) != 1 || len(w.all(abstract, wsdlSpace, "input")) != 1 {
		w.mistake(o, fmt.Sprintf("operation %q has no input, or is not in the portType", op.Name), "")
		return
	}
	body := w.all(bound[0], space, "body")
	if len(body) != 1 {
		w.mistake(o, fmt.Sprintf("input of %q has no soap:body of its own", op.Name), "attachments are not supported")
		return
	}
	if use := w.attr(body[0], "use"); use != "literal" && use != "" {
		w.mistake(body[0], "use="+strconv.Quote(use)+" is not supported", "literal is")
		return
	}
	input := w.all(abstract, wsdlSpace, "input")[0]
	m := w.named(0, "message", w.attr(input, "message"), input)
	if m < 0 {
		return
	}
	parts := w.all(m, wsdlSpace, "part")
	if only := w.attr(body[0], "parts"); only != "" {
		parts = slices.DeleteFunc(parts, func(k int) bool { return !slices.Contains(strings.Fields(only), w.attr(k, "name")) })
	}
	if op.rpc {
		op.body = xsd.Name{Space: w.attr(body[0], "namespace"), Local: op.Name}
		for _, k := range parts {
			t := w.qname(k, w.attr(k, "type"))
			if w.attr(k, "type") == "" || w.l.soap.types != nil && !w.l.soap.types.HasType(t) {
				w.mistake(k, "a part of an rpc message has a type that the schemas declare", "")
			}
			op.parts = append(op.parts, xsd.Root{Element: xsd.Name{Local: w.attr(k, "name")}, Type: t})
		}
	} else {
		if len(parts) != 1 || w.attr(parts[0], "element") == "" {
			w.mistake(m, "a document/literal message has one part, with an element", "")
			return
		}
		op.body = w.qname(parts[0], w.attr(parts[0], "element"))
		if w.l.soap.types != nil && !w.l.soap.types.Has(op.body) {
			w.mistake(parts[0], fmt.Sprintf("the schemas declare no element %s", op.body), "")
		}
	}
	for _, old := range w.l.soap.operations {
		switch {
		case old.Name == op.Name && old.body == op.body && old.rpc == op.rpc:
			if old.actions[version] != nil && *old.actions[version] != action {
				w.mistake(o, fmt.Sprintf("operation %q has two actions", op.Name), "")
			}
			old.actions[version] = &action
			if !slices.Contains(old.paths, at) {
				old.paths = append(old.paths, at)
			}
			return
		case old.Name == op.Name || old.body == op.body:
			w.mistake(o, fmt.Sprintf("operations %q and %q cannot be told apart by name or body", old.Name, op.Name), "")
			return
		}
	}
	w.l.soap.operations = append(w.l.soap.operations, op)
}

// Check reads a body as the envelope of a call at a path and checks all of it:
// the envelope, the action against the body, the body by its types. It gives the
// operation that is called, nil where none is. actions are the SOAPAction headers.
func (w *SOAP) Check(c *Check, at, contentType string, actions []string, b []byte) *SOAPOperation {
	c.direction = schema.Request
	if !readable(contentType) {
		c.problem(sallyport.InBody, "", "body.charset", "character set is not UTF-8")
		c.NotChecked = append(c.NotChecked, "body: character set")
		return nil
	}
	if err := c.xml.Parse(b, xmldoc.Limits{}); err != nil {
		var s *xmldoc.SyntaxError
		if errors.As(err, &s) {
			c.problem(sallyport.InBody, "", s.Rule, s.Message+" at byte "+strconv.Itoa(s.Offset))
		}
		c.NotChecked = append(c.NotChecked, "body: not readable as XML")
		return nil
	}
	c.Action = c.xml.Action()
	c.signed()
	op, broken := w.call(c, at, contentType, actions)
	if broken != "" {
		rule, detail, _ := strings.Cut(broken, ": ")
		c.problem(sallyport.InBody, "", rule, detail)
	}
	c.Doc.Reset()
	c.xmlText = c.xmlText[:0]
	c.xmlSeen = append(c.xmlSeen[:0], make([]uint8, len(c.xml.Elements))...)
	c.xmlValue(0, nil, -1, "")
	c.Doc.Src = c.xmlText
	c.HasDoc = true
	return op
}

// call finds what an envelope calls; broken is "rule: detail" of the first rule
// that the envelope breaks.
func (w *SOAP) call(c *Check, at, contentType string, actions []string) (op *SOAPOperation, broken string) {
	d := &c.xml
	version, space := 1, envelope1
	media, params, _ := strings.Cut(contentType, ";")
	if strings.EqualFold(strings.TrimSpace(media), "application/soap+xml") {
		version, space = 2, envelope2
	}
	root := &d.Elements[0]
	if string(root.Local) != "Envelope" || string(root.Space) != space {
		return nil, "soap.envelope: the document is no envelope of the version that its media type says"
	}
	body := -1
	for k, n := 1, 0; k < int(root.Next); k, n = int(d.Elements[k].Next), n+1 {
		e := &d.Elements[k]
		own := string(e.Space) == space
		switch {
		case own && string(e.Local) == "Header" && n == 0:
		case own && string(e.Local) == "Body" && body < 0:
			body = k
		default:
			return nil, "soap.envelope: an envelope holds one header at most and one body, in this order"
		}
	}
	if body < 0 || d.Find(space, "Envelope") != 0 {
		return nil, "soap.envelope: the envelope has no body"
	}
	call := body + 1
	if int(d.Elements[body].Next) == call || int(d.Elements[call].Next) != int(d.Elements[body].Next) || len(bytes.Trim(d.AppendText(nil, body), " \t\r\n")) > 0 {
		return nil, "soap.body: the body of an envelope holds one element"
	}
	e := &d.Elements[call]
	for _, o := range w.operations {
		if o.body.Local == string(e.Local) && o.body.Space == string(e.Space) && slices.Contains(o.paths, at) && o.actions[version] != nil {
			op = o
		}
	}
	if op == nil {
		return nil, "soap.operation: the service declares no operation with this body"
	}
	switch {
	case version == 1 && len(actions) != 1:
		return op, "soap.action: a call of SOAP 1.1 has one SOAPAction header"
	case version == 1 && strings.Trim(actions[0], `" `) != *op.actions[1]:
		return op, "soap.action: the action is not that of the operation that the body calls"
	case version == 2:
		for part := range strings.SplitSeq(params, ";") {
			name, v, _ := strings.Cut(part, "=")
			if strings.EqualFold(strings.TrimSpace(name), "action") && strings.Trim(v, `" `) != *op.actions[2] {
				return op, "soap.action: the action is not that of the operation that the body calls"
			}
		}
		if len(actions) > 0 && strings.Trim(actions[0], `" `) != *op.actions[2] {
			return op, "soap.action: the action is not that of the operation that the body calls"
		}
	}
	c.judged = true
	if !op.rpc {
		if !w.types.Parts(d, []int{call}, []xsd.Root{{Element: op.body}}, &c.valid) {
			c.invalid()
		}
		return op, ""
	}
	var list []int
	for k := call + 1; k < int(e.Next); k = int(d.Elements[k].Next) {
		list = append(list, k)
	}
	if len(list) != len(op.parts) {
		c.judged = false
		return op, "soap.parts: the call has other parts than declared"
	}
	if !w.types.Parts(d, list, op.parts, &c.valid) {
		c.invalid()
	}
	return op, ""
}

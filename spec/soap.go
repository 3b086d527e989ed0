package spec

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"

	"sallyport.dev"
	"sallyport.dev/spec/schema"
	"sallyport.dev/spec/xmldoc"
	"sallyport.dev/spec/xsd"
)

// A SOAP is the operations of WSDL documents with the types of their bodies. It
// is immutable and safe for concurrent use.
type SOAP struct {
	operations []*SOAPOperation
	paths      []string
}

// A SOAPOperation is one operation of a binding, document/literal or rpc/literal.
type SOAPOperation struct {
	Name  string
	paths []string
	// by version of SOAP, 1 and 2: the action, nil where it is not bound
	actions [3]*string
	input   message
	output  message
	answers bool       // it is not one-way
	headers []xsd.Name // declared by soap:header of its input
	faults  []xsd.Name // elements that it declares for the detail of faults
	types   *xsd.Schema
	from    []string // the definitions that it was read from
}

// A message is what an envelope's body holds.
type message struct {
	known bool
	rpc   bool
	body  xsd.Name   // no name: nothing
	parts []xsd.Root // of rpc, in order
}

// Operations lists the operations.
func (w *SOAP) Operations() []*SOAPOperation { return w.operations }

// Paths are where the services are.
func (w *SOAP) Paths() []string { return w.paths }

// SOAPHeaders says which header blocks that must be understood pass besides
// those that a binding declares. The zero value is none.
type SOAPHeaders struct {
	Pass       bool     // all of them
	Understood []string // {namespace}name or {namespace}*
}

func (h *SOAPHeaders) understood(e *xmldoc.Element) bool {
	for _, s := range h.Understood {
		space, local, _ := strings.Cut(strings.TrimPrefix(s, "{"), "}")
		if space == string(e.Space) && (local == "*" || local == string(e.Local)) {
			return true
		}
	}
	return h.Pass
}

// Check reads a body as the envelope of a call at a path and checks all of it:
// the envelope, its headers, the action against the body, the body by its types.
// It gives the operation that is called, nil where none is. actions are the
// SOAPAction headers. signed says that there is a header of WS-Security, whose
// structure is bounded and which nobody verifies here.
func (w *SOAP) Check(c *Check, h *SOAPHeaders, at, contentType string, actions []string, b []byte) (op *SOAPOperation, signed bool) {
	c.direction = schema.Request
	if !readable(contentType) {
		c.problem(sallyport.InBody, "", "body.charset", "character set is not UTF-8")
		c.NotChecked = append(c.NotChecked, "body: character set")
		return nil, false
	}
	if err := c.xml.Parse(b, xmldoc.Limits{}); err != nil {
		var s *xmldoc.SyntaxError
		if errors.As(err, &s) {
			c.problem(sallyport.InBody, "", s.Rule, s.Message+" at byte "+strconv.Itoa(s.Offset))
		}
		c.NotChecked = append(c.NotChecked, "body: not readable as XML")
		return nil, false
	}
	c.Action = c.xml.Action()
	c.signed()
	var broken string
	if op, signed, broken = w.call(c, h, at, contentType, actions); broken != "" {
		rule, detail, _ := strings.Cut(broken, ": ")
		c.problem(sallyport.InBody, "", rule, detail)
	}
	c.Doc.Reset()
	c.xmlText = c.xmlText[:0]
	c.xmlSeen = append(c.xmlSeen[:0], make([]uint8, len(c.xml.Elements))...)
	c.xmlValue(0, nil, -1, "")
	c.Doc.Src = c.xmlText
	c.HasDoc = true
	return op, signed
}

// envelope finds header and body of an envelope; -1 = none.
func envelope(d *xmldoc.Doc, space string) (header, body int, broken string) {
	root := &d.Elements[0]
	header, body = -1, -1
	if string(root.Local) != "Envelope" || string(root.Space) != space {
		return -1, -1, "soap.envelope: the document is no envelope of the version that its media type says"
	}
	for k, n := 1, 0; k < int(root.Next); k, n = int(d.Elements[k].Next), n+1 {
		e := &d.Elements[k]
		own := string(e.Space) == space
		switch {
		case own && string(e.Local) == "Header" && n == 0:
			header = k
		case own && string(e.Local) == "Body" && body < 0:
			body = k
		default:
			return -1, -1, "soap.envelope: an envelope holds one header at most and one body, in this order"
		}
	}
	if body < 0 || texts(d, 0) || header >= 0 && texts(d, header) {
		return -1, -1, "soap.envelope: the envelope has no body, or text where elements stand"
	}
	return header, body, ""
}

// texts reports whether an element has text of its own that is more than space.
func texts(d *xmldoc.Doc, i int) bool {
	return len(bytes.Trim(d.AppendText(nil, i), " \t\r\n")) > 0
}

func versionOf(contentType string) (version int, space, params string) {
	media, params, _ := strings.Cut(contentType, ";")
	if strings.EqualFold(strings.TrimSpace(media), "application/soap+xml") {
		return 2, envelope2, params
	}
	return 1, envelope1, params
}

// call finds what an envelope calls; broken is "rule: detail" of the first rule
// that the envelope breaks.
func (w *SOAP) call(c *Check, h *SOAPHeaders, at, contentType string, actions []string) (op *SOAPOperation, signed bool, broken string) {
	d := &c.xml
	version, space, params := versionOf(contentType)
	header, body, broken := envelope(d, space)
	if broken != "" {
		return nil, false, broken
	}
	call := body + 1
	if int(d.Elements[body].Next) == call || int(d.Elements[call].Next) != int(d.Elements[body].Next) || texts(d, body) {
		return nil, false, "soap.body: the body of an envelope holds one element"
	}
	e := &d.Elements[call]
	for _, o := range w.operations {
		if o.input.body.Local == string(e.Local) && o.input.body.Space == string(e.Space) && slices.Contains(o.paths, at) && o.actions[version] != nil {
			op = o
		}
	}
	if op == nil {
		return nil, false, "soap.operation: the service declares no operation with this body"
	}
	var blocks []int
	if header >= 0 {
		if blocks, signed, broken = headers(d, h, op, header, space); broken != "" {
			return op, signed, broken
		}
	}
	switch {
	case version == 1 && len(actions) != 1:
		return op, signed, "soap.action: a call of SOAP 1.1 has one SOAPAction header"
	case version == 1 && strings.Trim(actions[0], `" `) != *op.actions[1]:
		return op, signed, "soap.action: the action is not that of the operation that the body calls"
	case version == 2:
		for part := range strings.SplitSeq(params, ";") {
			name, v, _ := strings.Cut(part, "=")
			if strings.EqualFold(strings.TrimSpace(name), "action") && strings.Trim(v, `" `) != *op.actions[2] {
				return op, signed, "soap.action: the action is not that of the operation that the body calls"
			}
		}
		if len(actions) > 0 && strings.Trim(actions[0], `" `) != *op.actions[2] {
			return op, signed, "soap.action: the action is not that of the operation that the body calls"
		}
	}
	return op, signed, c.message(op.types, &op.input, call, blocks, "soap.parts: the call has other parts than declared")
}

// message validates what a body holds, and header blocks that are declared.
func (c *Check) message(types *xsd.Schema, m *message, call int, blocks []int, other string) string {
	d := &c.xml
	list, roots := blocks, []xsd.Root(nil)
	for _, k := range blocks {
		roots = append(roots, xsd.Root{Element: xsd.Name{Space: string(d.Elements[k].Space), Local: string(d.Elements[k].Local)}})
	}
	if !m.rpc {
		list, roots = append(list, call), append(roots, xsd.Root{Element: m.body})
	} else {
		n := 0
		for k := call + 1; k < int(d.Elements[call].Next); k, n = int(d.Elements[k].Next), n+1 {
			list = append(list, k)
		}
		if n != len(m.parts) || texts(d, call) {
			return other
		}
		roots = append(roots, m.parts...)
	}
	c.judged = true
	if !types.Parts(d, list, roots, &c.valid) {
		c.valid.Problems = slices.DeleteFunc(c.valid.Problems, func(p xsd.Problem) bool { // mustUnderstand, actor, role and relay, which no type of a block names
			return p.Rule == "xsd.attribute" && p.Attribute >= 0 && slices.Contains(blocks, p.Element) && bytes.Equal(d.Attributes[p.Attribute].Space, d.Elements[0].Space)
		})
		c.invalid()
	}
	return ""
}

// maxBlocks bounds the header blocks of an envelope.
const maxBlocks = 32

// headers looks at the header blocks of a call (SOAP 1.1 section 4.2.3, SOAP 1.2
// section 5.2.3). It gives those that the operation declares.
func headers(d *xmldoc.Doc, h *SOAPHeaders, op *SOAPOperation, header int, space string) (declared []int, signed bool, broken string) {
	n := 0
	var actors []string
	for k := header + 1; k < int(d.Elements[header].Next); k, n = int(d.Elements[k].Next), n+1 {
		if n == maxBlocks {
			return nil, signed, "soap.header: there are more than 32 header blocks"
		}
		e := &d.Elements[k]
		known := slices.Contains(op.headers, xsd.Name{Space: string(e.Space), Local: string(e.Local)})
		if known {
			declared = append(declared, k)
		}
		must, actor := false, ""
		for _, a := range d.Attributes[e.Attr : e.Attr+e.Attrs] {
			if string(a.Space) != space {
				continue
			}
			switch v := string(bytes.Trim(a.Value, " \t\r\n")); string(a.Local) {
			case "mustUnderstand":
				if must = v == "1" || v == "true"; !must && v != "0" && v != "false" {
					return nil, signed, "soap.header: mustUnderstand is neither true nor false"
				}
			case "actor", "role":
				actor = v
			}
		}
		if must && !known && !h.understood(e) {
			return nil, signed, "soap.must-understand: a header that must be understood is neither declared nor allowed"
		}
		if string(e.Local) == "Security" && string(e.Space) == securitySpace {
			if signed = true; slices.Contains(actors, actor) {
				return nil, signed, "soap.security: there are two security headers for one receiver"
			}
			actors = append(actors, actor)
			if broken := security(d, k); broken != "" {
				return nil, signed, broken
			}
		}
	}
	return declared, signed, ""
}

// The namespaces of WS-Security 1.0 and of XML Encryption.
const (
	securitySpace   = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
	encryptionSpace = "http://www.w3.org/2001/04/xmlenc#"
)

// securityBounds are how often an element may stand in one security header:
// what each of them costs who verifies is bounded so, and what makes a verifier
// run code, fetch or compare less than a whole digest may not stand at all.
var securityBounds = map[xsd.Name]int{
	{Space: signatureSpace, Local: "Signature"}:             4,
	{Space: signatureSpace, Local: "Reference"}:             32,
	{Space: signatureSpace, Local: "Transform"}:             64,
	{Space: signatureSpace, Local: "X509Certificate"}:       16,
	{Space: signatureSpace, Local: "RetrievalMethod"}:       0,
	{Space: signatureSpace, Local: "HMACOutputLength"}:      0,
	{Space: signatureSpace, Local: "Manifest"}:              0,
	{Space: encryptionSpace, Local: "EncryptedKey"}:         8,
	{Space: encryptionSpace, Local: "EncryptedData"}:        16,
	{Space: encryptionSpace, Local: "DataReference"}:        32,
	{Space: encryptionSpace, Local: "CipherReference"}:      0,
	{Space: securitySpace, Local: "UsernameToken"}:          1,
	{Space: securitySpace, Local: "BinarySecurityToken"}:    8,
	{Space: securitySpace, Local: "SecurityTokenReference"}: 32,
}

// maxSecurity bounds the elements of one security header.
const maxSecurity = 1000

// security bounds the structure of a security header.
func security(d *xmldoc.Doc, header int) (broken string) {
	if int(d.Elements[header].Next)-header > maxSecurity {
		return "soap.security: the security header holds too many elements"
	}
	var count map[xsd.Name]int
	for k := header + 1; k < int(d.Elements[header].Next); k++ {
		e := &d.Elements[k]
		n := xsd.Name{Space: string(e.Space), Local: string(e.Local)}
		most, bounded := securityBounds[n]
		if bounded {
			if count == nil {
				count = map[xsd.Name]int{}
			}
			if count[n]++; count[n] > most {
				return "soap.security: the security header holds an element too often, or one that may not stand there"
			}
		}
		if n.Space == signatureSpace && n.Local == "Transform" && !plainTransform(d, e) {
			return "soap.security: a signature transforms what it signs in a way that is not let through"
		}
	}
	return ""
}

// plainTransform reports whether a transform is a canonicalization, or one that
// takes the signature or its token out: none that runs a program.
func plainTransform(d *xmldoc.Doc, e *xmldoc.Element) bool {
	for _, a := range d.Attributes[e.Attr : e.Attr+e.Attrs] {
		if string(a.Local) != "Algorithm" {
			continue
		}
		v := string(a.Value)
		return strings.HasPrefix(v, "http://www.w3.org/2001/10/xml-exc-c14n#") || strings.HasPrefix(v, "http://www.w3.org/TR/2001/REC-xml-c14n-20010315") ||
			strings.HasPrefix(v, "http://www.w3.org/2006/12/xml-c14n11") || v == signatureSpace+"enveloped-signature" ||
			v == "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#STR-Transform"
	}
	return false
}

// A SOAPAnswer is what an answer to a call is.
type SOAPAnswer struct {
	Read  bool   // it was read as XML
	Fault bool   // its body is a fault
	Code  string // of the fault, without prefix and subcode: Client, Server, Sender, Receiver, …
	// Declared: the fault's detail holds one element, which the operation
	// declares for faults and which is valid.
	Declared bool
	// Traces: the detail holds elements that are named as a trace of calls is.
	Traces bool
	// Says is all that the fault says, references resolved: texts and values of
	// attributes, one a line.
	Says []byte
}

// maxAnswerElements bounds the elements of an answer.
const maxAnswerElements = 200_000

// CheckAnswer reads an answer to a call of op, which may be nil. With judge, an
// answer that is no fault is checked against what the operation declares, and
// what is wrong becomes Problems.
func (w *SOAP) CheckAnswer(c *Check, op *SOAPOperation, contentType string, b []byte, judge bool) (a SOAPAnswer) {
	c.direction = schema.Response
	err := c.xml.Parse(b, xmldoc.Limits{Elements: maxAnswerElements})
	if err != nil || !readable(contentType) {
		var s *xmldoc.SyntaxError
		switch {
		case !judge:
		case errors.As(err, &s):
			c.problem(sallyport.InBody, "", s.Rule, s.Message+" at byte "+strconv.Itoa(s.Offset))
		default:
			c.problem(sallyport.InBody, "", "body.charset", "character set is not UTF-8")
		}
		return a
	}
	a.Read = true
	if c.fault(op, &a); a.Fault || !judge {
		return a
	}
	if broken := c.output(op, contentType); broken != "" {
		rule, detail, _ := strings.Cut(broken, ": ")
		c.problem(sallyport.InBody, "", rule, detail)
	}
	return a
}

// output checks an answer that is no fault.
func (c *Check) output(op *SOAPOperation, contentType string) (broken string) {
	d := &c.xml
	_, space, _ := versionOf(contentType)
	_, body, broken := envelope(d, space)
	switch {
	case broken != "":
		return broken
	case op == nil || !op.output.known:
		return ""
	}
	out := body + 1
	empty := int(d.Elements[body].Next) == out
	if op.output.body.Local == "" && empty {
		return ""
	}
	if empty || int(d.Elements[out].Next) != int(d.Elements[body].Next) || texts(d, body) {
		return "soap.body: the body of the answer holds not the one element declared"
	}
	if e := &d.Elements[out]; string(e.Local) != op.output.body.Local || string(e.Space) != op.output.body.Space {
		return "soap.output: the answer is not what the operation declares"
	}
	return c.message(op.types, &op.output, out, nil, "soap.parts: the answer has other parts than declared")
}

// fault looks whether the document that was read is a fault, and takes it apart.
func (c *Check) fault(op *SOAPOperation, a *SOAPAnswer) {
	d := &c.xml
	root := &d.Elements[0]
	space := string(root.Space)
	if string(root.Local) != "Envelope" || space != envelope1 && space != envelope2 {
		return
	}
	at := -1
	for k := 1; k < int(root.Next); k = int(d.Elements[k].Next) {
		if e := &d.Elements[k]; string(e.Local) == "Body" && string(e.Space) == space {
			for i := k + 1; i < int(e.Next); i = int(d.Elements[i].Next) {
				if f := &d.Elements[i]; string(f.Local) == "Fault" && string(f.Space) == space {
					at = i
				}
			}
		}
	}
	if at < 0 {
		return
	}
	a.Fault = true
	end := int(d.Elements[at].Next)
	for k := at + 1; k < end; k = int(d.Elements[k].Next) {
		switch e := &d.Elements[k]; string(e.Local) {
		case "faultcode":
			a.Code = code(d, k)
		case "Code":
			for i := k + 1; i < int(e.Next); i = int(d.Elements[i].Next) {
				if string(d.Elements[i].Local) == "Value" {
					a.Code = code(d, i)
				}
			}
		case "detail", "Detail":
			a.Declared = op != nil && c.detail(op, k)
			for i := k + 1; i < int(e.Next); i++ {
				if n := strings.ToLower(string(d.Elements[i].Local)); n == "stacktrace" || n == "stack" || n == "exception" || n == "exceptiondetail" || n == "hostname" {
					a.Traces = true
				}
			}
		}
	}
	for k := range d.Elements { // headers too may speak of it
		a.Says = append(d.AppendText(a.Says, k), '\n')
	}
	for i := range d.Attributes {
		a.Says = append(append(a.Says, d.Attributes[i].Value...), '\n')
	}
}

// code is a fault's code without prefix and what stands behind a dot.
func code(d *xmldoc.Doc, i int) string {
	v := strings.Trim(string(d.AppendText(nil, i)), " \t\r\n")
	if _, local, ok := strings.Cut(v, ":"); ok {
		v = local
	}
	v, _, _ = strings.Cut(v, ".")
	return v
}

// detail reports whether a fault's detail is as the operation declares it.
func (c *Check) detail(op *SOAPOperation, at int) bool {
	d := &c.xml
	k := at + 1
	if k >= int(d.Elements[at].Next) || d.Elements[k].Next != d.Elements[at].Next || texts(d, at) {
		return false
	}
	n := xsd.Name{Space: string(d.Elements[k].Space), Local: string(d.Elements[k].Local)}
	if !slices.Contains(op.faults, n) {
		return false
	}
	c.judged = true
	return op.types.Parts(d, []int{k}, []xsd.Root{{Element: n}}, &c.valid)
}

// ValidatesXML reports whether an answer with this status and media type is held
// to an XML schema.
func (o *Operation) ValidatesXML(status int, contentType string) bool {
	if o == nil {
		return false
	}
	r := o.response(status)
	if r == nil {
		return false
	}
	m := pick(r.media, contentType)
	return m != nil && m.xsd != nil
}

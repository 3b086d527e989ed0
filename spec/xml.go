package spec

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"sallyport.dev"
	"sallyport.dev/spec/jsondoc"
	"sallyport.dev/spec/schema"
	"sallyport.dev/spec/source"
	"sallyport.dev/spec/xmldoc"
)

// xmlType reports whether a media type is XML's (RFC 7303).
func xmlType(name string) bool {
	const suffix = "+xml"
	return strings.EqualFold(name, "application/xml") || strings.EqualFold(name, "text/xml") ||
		len(name) > len(suffix) && strings.EqualFold(name[len(name)-len(suffix):], suffix)
}

// An xmlShape says how XML stands for the values of a schema (OpenAPI's XML
// object).
type xmlShape struct {
	name, space string
	attribute   bool
	content     bool // it is the text of the element around it
	wrapped     bool
	shape       schema.Shape
	elements    map[string]*xmlMember // by local name
	attributes  map[string]*xmlMember
	text        *xmlMember
	items       *xmlShape
}

type xmlMember struct {
	key   string
	shape *xmlShape
}

// xmlShape compiles the shape of a schema; $refs and what is joined by allOf,
// anyOf and oneOf count as one.
func (b *docBuilder) xmlShape(v *source.Value, d *document, made map[*source.Value]*xmlShape) *xmlShape {
	if s := made[v]; s != nil {
		return s
	}
	s := &xmlShape{elements: map[string]*xmlMember{}, attributes: map[string]*xmlMember{}}
	made[v] = s
	b.xmlFill(s, v, d, made, 0)
	scalar := s.shape.String || s.shape.Number || s.shape.Boolean
	if !scalar && !s.shape.Object && !s.shape.Array {
		s.shape.Object = len(s.elements)+len(s.attributes) > 0
		s.shape.Array = s.items != nil
	}
	return s
}

func (b *docBuilder) xmlFill(s *xmlShape, v *source.Value, d *document, made map[*source.Value]*xmlShape, hops int) {
	if !v.Is(source.Object) || hops > 32 {
		return
	}
	if ref := v.Get("$ref"); ref != nil {
		if next, nd := b.follow(d, ref); next != nil {
			b.xmlFill(s, next, nd, made, hops+1)
		}
	}
	types := b.words(v.Get("type"))
	if t := v.Get("type"); t.Is(source.String) {
		types = []string{t.Text}
	}
	for _, word := range types {
		switch word {
		case "object":
			s.shape.Object = true
		case "array":
			s.shape.Array = true
		case "string":
			s.shape.String = true
		case "number", "integer":
			s.shape.Number = true
		case "boolean":
			s.shape.Boolean = true
		case "null":
			s.shape.Null = true
		}
	}
	if x := v.Get("nullable"); x != nil && x.True() {
		s.shape.Null = true
	}
	if x := v.Get("xml"); x.Is(source.Object) {
		if n := x.Get("name"); n != nil {
			s.name = n.String()
		}
		if n := x.Get("namespace"); n != nil {
			s.space = n.String()
		}
		if t := x.Get("nodeType"); t != nil {
			s.attribute, s.content, s.wrapped = t.String() == "attribute", t.String() == "text" || t.String() == "cdata", t.String() == "element"
		}
		if t := x.Get("attribute"); t != nil {
			s.attribute = t.True()
		}
		if t := x.Get("wrapped"); t != nil {
			s.wrapped = t.True()
		}
	}
	if items := v.Get("items"); items.Is(source.Object) {
		s.items = b.xmlShape(items, d, made)
	}
	for _, key := range []string{"allOf", "anyOf", "oneOf"} {
		if list := v.Get(key); list.Is(source.Array) {
			for _, x := range list.Items {
				b.xmlFill(s, x, d, made, hops+1)
			}
		}
	}
	props := v.Get("properties")
	if !props.Is(source.Object) {
		return
	}
	for _, m := range props.Members {
		p := &xmlMember{m.Key, b.xmlShape(m.Value, d, made)}
		name := m.Key
		array := p.shape.shape.Array || p.shape.items != nil
		switch {
		case array && !p.shape.wrapped:
			if p.shape.items != nil && p.shape.items.name != "" {
				name = p.shape.items.name
			}
		case p.shape.name != "":
			name = p.shape.name
		}
		switch {
		case p.shape.attribute:
			s.attributes[name] = p
		case p.shape.content:
			s.text = p
		default:
			s.elements[name] = p
		}
	}
}

// xmlBody reads a body as XML and checks it as the document that its schema
// means.
func (c *Check) xmlBody(m *media, body []byte) {
	if err := c.xml.Parse(body, xmldoc.Limits{}); err != nil {
		var s *xmldoc.SyntaxError
		if errors.As(err, &s) {
			c.problem(sallyport.InBody, "", s.Rule, s.Message+" at byte "+strconv.Itoa(s.Offset))
		}
		c.NotChecked = append(c.NotChecked, "body: not readable as XML")
		return
	}
	c.Action = c.xml.Action()
	c.signed()
	if m != nil && m.xsd != nil {
		c.validate(m)
	}
	c.Doc.Reset()
	c.xmlText = c.xmlText[:0]
	c.xmlSeen = append(c.xmlSeen[:0], make([]uint8, len(c.xml.Elements))...)
	var shape *xmlShape
	if m != nil {
		shape = m.xml
	}
	if shape != nil {
		root := &c.xml.Elements[0]
		if shape.name != "" && shape.name != string(root.Local) || shape.space != "" && shape.space != string(root.Space) {
			c.problem(sallyport.InBody, "", "xml.root", "the root element is not the one declared")
		}
	}
	c.xmlValue(0, shape, -1, "")
	c.Doc.Src = c.xmlText
	c.HasDoc = true
	if m == nil || m.schema == nil {
		return
	}
	c.evaluate(m.schema)
}

// node adds a node to the document; key is its name in the object around it.
func (c *Check) node(parent int, prefix, key string, kind jsondoc.Kind) int {
	n := jsondoc.Node{Kind: kind, KeyStart: -1, KeyEnd: -1, Parent: int32(parent)}
	if parent >= 0 {
		if c.Doc.Nodes[parent].Kind == jsondoc.Object {
			n.KeyStart = int32(len(c.xmlText))
			c.xmlText = append(append(c.xmlText, prefix...), key...)
			n.KeyEnd = int32(len(c.xmlText))
			n.Print = jsondoc.Fingerprint(c.xmlText[n.KeyStart:])
		}
		c.Doc.Nodes[parent].Count++
	}
	n.Start = int32(len(c.xmlText))
	n.End = n.Start
	c.Doc.Nodes = append(c.Doc.Nodes, n)
	i := len(c.Doc.Nodes) - 1
	c.Doc.Nodes[i].Next = int32(i + 1)
	return i
}

// close ends a container.
func (c *Check) close(i int) { c.Doc.Nodes[i].Next = int32(len(c.Doc.Nodes)) }

// scalarNode adds text as the kind of value that a shape makes of it.
func (c *Check) scalarNode(parent int, prefix, key string, v []byte, s *xmlShape, proven bool) {
	i := c.node(parent, prefix, key, jsondoc.String)
	n := &c.Doc.Nodes[i]
	n.Proven = proven
	if s != nil && (s.shape.Number || s.shape.Boolean) {
		v = bytes.Trim(v, " \t\r\n")
		n.Kind, n.Integer = word(text(v), s.shape)
	}
	c.xmlText = append(c.xmlText, v...)
	n.End = int32(len(c.xmlText))
}

var xsi = []byte("http://www.w3.org/2001/XMLSchema-instance")

// xmlValue adds an element as a value. Everything that it holds is added, what
// the shape does not know under names that begin with @ or #.
func (c *Check) xmlValue(e int, s *xmlShape, parent int, key string) {
	el := &c.xml.Elements[e]
	attrs := c.xml.Attributes[el.Attr : el.Attr+el.Attrs]
	hasChildren := int(el.Next) > e+1
	if s != nil && s.shape.Null && !hasChildren && len(attrs) == 1 && bytes.Equal(attrs[0].Space, xsi) && string(attrs[0].Local) == "nil" && string(attrs[0].Value) == "true" {
		c.node(parent, "", key, jsondoc.Null)
		return
	}
	if s != nil && s.shape.Array && !s.shape.Object && s.items != nil && len(attrs) == 0 {
		i := c.node(parent, "", key, jsondoc.Array)
		want := s.items.name
		for k := e + 1; k < int(el.Next); k = int(c.xml.Elements[k].Next) {
			if want != "" && want != string(c.xml.Elements[k].Local) {
				c.problem(sallyport.InBody, "", "xml.item", "an item of a wrapped list has another name than declared")
			}
			c.xmlValue(k, s.items, i, "")
		}
		c.strayText(e, i)
		c.close(i)
		return
	}
	if !hasChildren && len(attrs) == 0 && (s == nil || !s.shape.Object) {
		c.elementText(e, parent, key, s)
		return
	}
	i := c.node(parent, "", key, jsondoc.Object)
	for k := range attrs {
		a := &attrs[k]
		if s != nil {
			if m := s.attributes[string(a.Local)]; m != nil && (m.shape.space == "" || m.shape.space == string(a.Space)) {
				c.scalarNode(i, "", m.key, a.Value, m.shape, c.provenAttribute(int(el.Attr)+k))
				continue
			}
		}
		if bytes.Equal(a.Space, xsi) && harmlessXSI(a.Value) {
			continue // type, nil and schemaLocation, which schemas of JSON know nothing of
		}
		c.scalarNode(i, "@", string(a.Local), a.Value, nil, c.provenAttribute(int(el.Attr)+k))
	}
	for k := e + 1; k < int(el.Next); k = int(c.xml.Elements[k].Next) {
		c.xmlChild(e, k, s, i)
	}
	c.scratch = c.xml.AppendText(c.scratch[:0], e)
	if t := bytes.Trim(c.scratch, " \t\r\n"); len(t) > 0 || s != nil && s.text != nil {
		if s != nil && s.text != nil {
			c.scalarNode(i, "", s.text.key, t, s.text.shape, c.provenText(e))
		} else {
			c.scalarNode(i, "#", "text", t, nil, c.provenText(e))
		}
	}
	c.close(i)
}

// harmlessXSI reports whether a value is a name or a truth value.
func harmlessXSI(v []byte) bool {
	for _, b := range v {
		if !(b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == ':' || b == '_' || b == '-' || b == '.') {
			return false
		}
	}
	return true
}

func (c *Check) elementText(e, parent int, key string, s *xmlShape) {
	c.scratch = c.xml.AppendText(c.scratch[:0], e)
	c.scalarNode(parent, "", key, c.scratch, s, c.provenText(e))
}

func (c *Check) strayText(e, array int) {
	c.scratch = c.xml.AppendText(c.scratch[:0], e)
	if t := bytes.Trim(c.scratch, " \t\r\n"); len(t) > 0 {
		c.scalarNode(array, "", "", t, nil, c.provenText(e))
	}
}

// xmlChild adds the child k of element e to the object at node i. A list that is
// not wrapped is added whole at its first element.
func (c *Check) xmlChild(e, k int, s *xmlShape, i int) {
	child := &c.xml.Elements[k]
	var m *xmlMember
	if s != nil {
		m = s.elements[string(child.Local)]
	}
	if m == nil {
		c.xmlValue(k, nil, i, string(child.Local))
		return
	}
	list := (m.shape.shape.Array || m.shape.items != nil) && !m.shape.wrapped
	want := m.shape.space
	if list && m.shape.items != nil && m.shape.items.space != "" {
		want = m.shape.items.space
	}
	if want != "" && want != string(child.Space) {
		c.problem(sallyport.InBody, "/"+m.key, "xml.space", "an element is not of the namespace declared")
	}
	switch seen := c.xmlSeen[k]; {
	case list && seen > 0: // it stands in the list already
	case list:
		a := c.node(i, "", m.key, jsondoc.Array)
		for j := k; j < int(c.xml.Elements[e].Next); j = int(c.xml.Elements[j].Next) {
			if bytes.Equal(c.xml.Elements[j].Local, child.Local) {
				c.xmlSeen[j] = 1
				c.xmlValue(j, m.shape.items, a, "")
			}
		}
		c.close(a)
	case seen > 1:
		c.problem(sallyport.InBody, "/"+m.key, "xml.duplicate", "an element stands more than once")
		c.xmlValue(k, m.shape, i, m.key)
	default:
		if seen == 0 {
			for j := int(child.Next); j < int(c.xml.Elements[e].Next); j = int(c.xml.Elements[j].Next) {
				if bytes.Equal(c.xml.Elements[j].Local, child.Local) {
					c.xmlSeen[j] = 2
				}
			}
		}
		c.xmlValue(k, m.shape, i, m.key)
	}
}

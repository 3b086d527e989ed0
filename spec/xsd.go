package spec

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"sallyport.dev"
	"sallyport.dev/spec/source"
	"sallyport.dev/spec/xmldoc"
	"sallyport.dev/spec/xsd"
)

// xsd takes the XML schema of a media type: x-xsd is the path of a schema
// document, relative to the description, and behind a # the local name of the
// root element where it is not any that the schema declares globally.
func (b *docBuilder) xsd(m *media, v *source.Value, d *document) {
	if m.kind != XML {
		b.mistake(d.at(v), "x-xsd stands at a media type that is no XML", "such as application/xml")
		return
	}
	location, root, named := strings.Cut(v.String(), "#")
	if location == "" {
		b.mistake(d.at(v), "x-xsd is no path of a schema", "x-xsd: orders.xsd#order")
		return
	}
	from, err := b.schemaFile(d.home, d.uri, location)
	if err != nil {
		b.mistake(d.at(v), fmt.Sprintf("XML schema %q cannot be read: %s", location, reason(err)), hintFor(err))
		return
	}
	s, done := b.xsds[from.URI]
	if !done {
		s = b.loadXSD(d.home, from)
	}
	if s == nil {
		return
	}
	m.xsd, m.root = s, xsd.Root{Any: true}
	if !named {
		return
	}
	var fits []xsd.Name
	for _, n := range s.Roots() {
		if n.Local == root {
			fits = append(fits, n)
		}
	}
	switch len(fits) {
	case 0:
		b.mistake(d.at(v), fmt.Sprintf("XML schema %s declares no element %q", location, root), "an element at the top of the schema")
	case 1:
		m.root = xsd.Root{Element: fits[0]}
	default:
		b.mistake(d.at(v), fmt.Sprintf("XML schema %s declares several elements %q", location, root), "")
	}
}

// loadXSD compiles XML schemas of one home; what is wrong in them becomes
// mistakes.
func (l *loader) loadXSD(h *home, sources ...xsd.Source) *xsd.Schema {
	s, faults := xsd.Load(func(base, location string) (xsd.Source, error) { return l.schemaFile(h, base, location) }, sources...)
	for _, f := range faults {
		l.mistake(Position{File: f.File, Line: f.Line, Column: f.Column}, f.Message, f.Hint)
	}
	if l.xsds == nil {
		l.xsds = map[string]*xsd.Schema{}
	}
	for _, x := range sources {
		l.xsds[x.URI] = s
	}
	return s
}

var errNotLocal = errors.New("it is no file below the folder of the description")

// schemaFile reads the file at a location that a document at base refers to.
func (l *loader) schemaFile(h *home, base, location string) (xsd.Source, error) {
	from, err1 := url.Parse(base)
	to, err2 := url.Parse(location)
	if err1 != nil || err2 != nil {
		return xsd.Source{}, errors.New("its location is no URI")
	}
	u := from.ResolveReference(to)
	u.Fragment, u.RawFragment = "", ""
	if u.Scheme != "file" || u.Host != "" {
		return xsd.Source{}, errNotLocal
	}
	data, err := l.file(u, h)
	if err != nil {
		return xsd.Source{}, err
	}
	name := location
	if rel, err := filepath.Rel(h.path, filepath.FromSlash(u.Path)); err == nil && filepath.IsLocal(rel) {
		name = filepath.Join(h.shown, rel)
	}
	return xsd.Source{Name: name, URI: u.String(), Data: data}, nil
}

// validate validates the document that was read by the XML schema of its media
// type.
func (c *Check) validate(m *media) {
	c.judged = true
	if !m.xsd.Validate(&c.xml, m.root, &c.valid) {
		c.invalid()
	}
}

// invalid takes over what the XML schema found.
func (c *Check) invalid() {
	for _, p := range c.valid.Problems {
		c.problem(sallyport.InBody, xsd.Path(&c.xml, p), p.Rule, p.Detail)
	}
}

// provenText reports whether the XML schema proves an element's text harmless;
// in a document that is not valid it proves nothing.
func (c *Check) provenText(e int) bool {
	return c.judged && len(c.valid.Problems) == 0 && c.valid.Texts[e]
}

func (c *Check) provenAttribute(a int) bool {
	return c.judged && len(c.valid.Problems) == 0 && c.valid.Attributes[a]
}

const signatureSpace = "http://www.w3.org/2000/09/xmldsig#"

// signed looks at documents that carry an XML signature: what it signs is named
// by an ID, and where that ID stands twice, or nowhere, who verifies and who
// reads may take different elements (signature wrapping).
func (c *Check) signed() {
	at := c.xml.Find(signatureSpace, "Reference")
	if at < 0 {
		return
	}
	ids := map[string]int{}
	for i := range c.xml.Attributes {
		if a := &c.xml.Attributes[i]; identifies(a) {
			ids[string(bytes.Trim(a.Value, " \t\r\n"))]++
		}
	}
	for i := at; i < len(c.xml.Elements); i++ {
		e := &c.xml.Elements[i]
		if string(e.Local) != "Reference" || string(e.Space) != signatureSpace {
			continue
		}
		for _, a := range c.xml.Attributes[e.Attr : e.Attr+e.Attrs] {
			if string(a.Local) != "URI" || len(a.Value) == 0 {
				continue
			}
			switch {
			case a.Value[0] != '#':
				c.problem(sallyport.InBody, "", "xml.signature-reference", "a signature refers to something outside of the document")
			case ids[string(a.Value[1:])] == 0:
				c.problem(sallyport.InBody, "", "xml.signature-reference", "a signature refers to an ID that there is not")
			case ids[string(a.Value[1:])] > 1:
				c.problem(sallyport.InBody, "", "xml.duplicate-id", "an ID that is signed stands twice")
			}
		}
	}
}

// identifies reports whether an attribute is taken for an ID by those who
// verify signatures: Id of WS-Security and of XML Signature, ID of SAML, xml:id.
func identifies(a *xmldoc.Attribute) bool {
	return len(a.Local) == 2 && a.Local[0]|0x20 == 'i' && a.Local[1]|0x20 == 'd' || string(a.Local) == "AssertionID"
}

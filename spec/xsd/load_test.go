package xsd_test

import (
	"errors"
	"strings"
	"testing"

	"sallyport.dev/spec/xmldoc"
	"sallyport.dev/spec/xsd"
)

// What is wrong in a schema, or not supported, is said with its line.
func TestMistakes(t *testing.T) {
	for _, c := range []struct{ inside, want string }{
		{`<xs:element name="v" type="nothing"/>`, "2:5: there is no type {urn:t}nothing"},
		{`<xs:redefine schemaLocation="x"/>`, "redefine is not supported"},
		{`<xs:notation name="n" public="p"/>`, "notation is not supported"},
		{`<xs:element name="v" type="xs:ENTITY"/>`, "ENTITY is not supported"},
		{`<xs:element name="v" type="xs:strang"/>`, `no type "strang"`},
		{`<xs:element name="v" typ="xs:string"/>`, `no attribute "typ"`},
		{`<xs:elemant name="v"/>`, "xs:elemant does not stand"},
		{`<xs:element name="v"/><xs:element name="v"/>`, "declared twice"},
		{`<xs:complexType name="a"><xs:complexContent><xs:extension base="a"/></xs:complexContent></xs:complexType>`, "derived from itself"},
		{`<xs:group name="g"><xs:sequence><xs:group ref="g"/></xs:sequence></xs:group>`, "group holds itself"},
		{`<xs:element name="v"><xs:complexType><xs:sequence><xs:element name="a" minOccurs="0"/><xs:element name="a"/></xs:sequence></xs:complexType></xs:element>`, "ambiguous: element {urn:t}a"},
		{`<xs:element name="v"><xs:complexType><xs:sequence><xs:any minOccurs="0"/><xs:element name="a"/></xs:sequence></xs:complexType></xs:element>`, "could also be the wildcard's"},
		{`<xs:element name="v"><xs:complexType><xs:sequence><xs:any/><xs:any minOccurs="0" maxOccurs="2"/><xs:any/></xs:sequence></xs:complexType></xs:element>`, "either of two wildcards"},
		{`<xs:element name="v"><xs:complexType><xs:choice><xs:sequence><xs:element name="a"/><xs:element name="b"/></xs:sequence><xs:sequence><xs:element name="a"/><xs:element name="c"/></xs:sequence></xs:choice></xs:complexType></xs:element>`, "ambiguous"},
		{`<xs:element name="v"><xs:complexType><xs:sequence><xs:element name="a" type="xs:int"/><xs:element name="b"/><xs:element name="a" type="xs:string"/></xs:sequence></xs:complexType></xs:element>`, "with two types"},
		{`<xs:element name="v"><xs:complexType><xs:sequence maxOccurs="5000"><xs:element name="a"/><xs:element name="b"/></xs:sequence></xs:complexType></xs:element>`, "larger than 4096"},
		{`<xs:element name="v"><xs:complexType><xs:sequence><xs:element name="a" minOccurs="3" maxOccurs="2"/></xs:sequence></xs:complexType></xs:element>`, "minOccurs 3 is more"},
		{`<xs:element name="v"><xs:complexType><xs:sequence><xs:element name="a" minOccurs="1000000" maxOccurs="unbounded"/></xs:sequence></xs:complexType></xs:element>`, "more elements than a document may have"},
		{restricted("string", f("pattern", "(a")), "a ( is not closed"},
		{restricted("string", f("pattern", "a{5000}")), "more than 1000 repetitions"},
		{restricted("string", f("pattern", `\p{IsNowhere}`)), "is not known here"},
		{restricted("string", f("minInclusive", "3")), "has no order"},
		{restricted("int", f("length", "3")), "has no length"},
		{restricted("int", f("minInclusive", "x")), "is no word of its type"},
		{restricted("int", f("minInclusive", "5")+f("maxInclusive", "4")), "is more than maximum"},
		{restricted("int", f("enumeration", "a")), "enumeration"},
		{`<xs:element name="v" type="xs:int" default="x"/>`, "is no word of its type"},
		{`<xs:import namespace="urn:o" schemaLocation="o.xsd"/>`, "may refer to no other document"},
		{`<xs:element name="v" substitutionGroup="h" type="xs:int"/><xs:element name="h" type="xs:date"/>`, "not derived"},
		{`<xs:element name="v"><xs:keyref name="k" refer="z"><xs:selector xpath="a"/><xs:field xpath="b"/></xs:keyref></xs:element>`, "which is no key"},
		{`<xs:element name="v"><xs:key name="k"><xs:selector xpath="a[1]"/><xs:field xpath="b"/></xs:key></xs:element>`, "not of the subset"},
	} {
		set, faults := xsd.Load(nil, xsd.Source{Name: "t.xsd", Data: []byte(wrap(c.inside))})
		text := ""
		for _, f := range faults {
			text += f.Error() + "\n"
		}
		if set != nil || !strings.Contains(text, c.want) || !strings.HasPrefix(text, "t.xsd:2:") {
			t.Errorf("%s\ngot %q, want %q with its line", c.inside, text, c.want)
		}
	}
}

func TestDocuments(t *testing.T) {
	files := map[string]string{
		"types.xsd": `<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:simpleType name="sku"><xs:restriction base="xs:string"><xs:pattern value="[A-Z]{3}"/></xs:restriction></xs:simpleType><xs:element name="sku" type="sku"/></xs:schema>`,
		"other.xsd": `<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:o"><xs:include schemaLocation="other.xsd"/><xs:element name="note" type="xs:token"/></xs:schema>`,
	}
	open := func(base, location string) (xsd.Source, error) {
		text, ok := files[location]
		if !ok {
			return xsd.Source{}, errors.New("no such file")
		}
		return xsd.Source{Name: location, URI: location, Data: []byte(text)}, nil
	}
	main := wrap(`<xs:include schemaLocation="types.xsd"/><xs:import namespace="urn:o" schemaLocation="other.xsd"/>
<xs:element name="v"><xs:complexType><xs:sequence><xs:element ref="sku"/><xs:element ref="o:note" xmlns:o="urn:o"/></xs:sequence></xs:complexType></xs:element>`)
	set, faults := xsd.Load(open, xsd.Source{Name: "main.xsd", URI: "main.xsd", Data: []byte(main)})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	for text, want := range map[string]bool{
		`<v xmlns="urn:t"><sku>ABC</sku><note xmlns="urn:o">x</note></v>`: true,
		`<v xmlns="urn:t"><sku>ab</sku><note xmlns="urn:o">x</note></v>`:  false,
		`<v xmlns="urn:t"><sku>ABC</sku><note>x</note></v>`:               false,
	} {
		var d xmldoc.Doc
		var v xsd.Validation
		if err := d.Parse([]byte(text), xmldoc.Limits{}); err != nil {
			t.Fatal(err)
		}
		if got := set.Validate(&d, xsd.Root{Element: xsd.Name{Space: "urn:t", Local: "v"}}, &v); got != want {
			t.Errorf("%s: got %v, want %v: %v", text, got, want, v.Problems)
		}
	}
	if _, faults := xsd.Load(open, xsd.Source{Name: "m.xsd", URI: "m.xsd", Data: []byte(wrap(`<xs:include schemaLocation="http://elsewhere.example/x.xsd"/>`))}); len(faults) == 0 {
		t.Error("a document that cannot be read is no mistake")
	}
}

func FuzzSchema(f *testing.F) {
	for _, c := range judgedSchemas {
		instance := ""
		if len(c.instances) > 0 {
			instance = c.instances[0]
		}
		f.Add(c.schema, instance)
	}
	f.Fuzz(func(t *testing.T, inside, instance string) {
		if len(inside) > 4096 {
			return
		}
		set, faults := xsd.Load(nil, xsd.Source{Name: "f.xsd", Data: []byte(wrap(inside))})
		if (set == nil) == (len(faults) == 0) {
			t.Fatalf("%q: set %v, faults %v", inside, set, faults)
		}
		var d xmldoc.Doc
		if set == nil || d.Parse([]byte(instance), xmldoc.Limits{}) != nil {
			return
		}
		var v xsd.Validation
		if ok := set.Validate(&d, xsd.Root{Any: true}, &v); ok != (len(v.Problems) == 0) {
			t.Fatal("valid with problems")
		}
		for _, p := range v.Problems {
			xsd.Path(&d, p)
		}
	})
}

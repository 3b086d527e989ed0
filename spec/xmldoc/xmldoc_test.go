package xmldoc_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"sallyport.dev/spec/xmldoc"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, rule string }{
		{`<a/>`, ""},
		{"\ufeff<?xml version=\"1.0\" encoding=\"utf-8\" standalone='yes' ?>\n<a b='1' c=\"2\">x &lt;&#65;&#x42;<!-- no --><![CDATA[<raw>]]><b/></a>\n<!-- end -->", ""},
		{`<s:a xmlns:s="urn:s" xmlns="urn:d"><b s:c="1" c="2"/></s:a>`, ""},
		{`<a xml:lang="de"/>`, ""},
		{`<größe>1</größe>`, ""},
		{``, "xml.syntax"},
		{`text`, "xml.syntax"},
		{`<a>`, "xml.syntax"},
		{`<a></b>`, "xml.syntax"},
		{`<a/><b/>`, "xml.syntax"},
		{`<a b="1" b="2"/>`, "xml.syntax"},
		{`<a xmlns:p="u" xmlns:q="u" p:b="1" q:b="2"/>`, "xml.syntax"},
		{`<a b=1/>`, "xml.syntax"},
		{`<a b="1"c="2"/>`, "xml.syntax"},
		{`<a b="<"/>`, "xml.syntax"},
		{`<a>]]></a>`, "xml.syntax"},
		{"<a>\x01</a>", "xml.syntax"},
		{"<a>\uffff</a>", "xml.syntax"},
		{`<a><!-- a -- b --></a>`, "xml.syntax"},
		{`<1/>`, "xml.syntax"},
		{`<a:b:c xmlns:a="u"/>`, "xml.syntax"},
		{` <?xml version="1.0"?><a/>`, "xml.instruction"},
		{`<?xml version="1.1"?><a/>`, "xml.syntax"},
		{`<?xml version="1.0" encoding="ISO-8859-1"?><a/>`, "xml.encoding"},
		{`<?xml version="1.0" encoding="UTF-7"?><a>+ADw-script+AD4-</a>`, "xml.encoding"},
		{"<a>\xff</a>", "xml.encoding"},
		{"\xff\xfe<\x00a\x00/\x00>\x00", "xml.encoding"},
		{`<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>`, "xml.dtd"},
		{`<!DOCTYPE a><a/>`, "xml.dtd"},
		{`<!doctype a><a/>`, "xml.dtd"},
		{`<a><!ENTITY x "y"></a>`, "xml.dtd"},
		{`<a>&x;</a>`, "xml.entity"},
		{`<a>&lt</a>`, "xml.entity"},
		{`<a>&#0;</a>`, "xml.entity"},
		{`<a>&#xD800;</a>`, "xml.entity"},
		{`<a>&#x110000;</a>`, "xml.entity"},
		{`<a b="&nbsp;"/>`, "xml.entity"},
		{`<?xml-stylesheet href="x"?><a/>`, "xml.instruction"},
		{`<a><?php system("id") ?></a>`, "xml.instruction"},
		{`<p:a/>`, "xml.namespace"},
		{`<a xmlns:i="http://www.w3.org/2001/XInclude"><i:include href="file:///etc/passwd"/></a>`, "xml.inclusion"},
		{`<a xmlns:p=""/>`, "xml.namespace"},
		{`<a xmlns:xml="urn:other"/>`, "xml.namespace"},
		{strings.Repeat("<a>", 65) + strings.Repeat("</a>", 65), "xml.depth"},
		{"<a>" + strings.Repeat("<b/>", 20_000) + "</a>", "xml.elements"},
		{"<a " + attributes(65) + "/>", "xml.attributes"},
		{"<" + strings.Repeat("a", 300) + "/>", "xml.syntax"},
	} {
		var d xmldoc.Doc
		err := d.Parse([]byte(c.text), xmldoc.Limits{})
		got := ""
		var s *xmldoc.SyntaxError
		if errors.As(err, &s) {
			got = s.Rule
		}
		if got != c.rule {
			t.Errorf("%.80q: got %q (%v), want %q", c.text, got, err, c.rule)
		}
	}
}

func attributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " a%d='1'", i)
	}
	return b.String()
}

func TestAction(t *testing.T) {
	for text, want := range map[string]string{
		`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header/><s:Body><m:GetPrice xmlns:m="urn:m"/></s:Body></s:Envelope>`: "GetPrice",
		`<Envelope xmlns="http://www.w3.org/2003/05/soap-envelope"><Body><Pay/></Body></Envelope>`:                                               "Pay",
		`<Envelope xmlns="http://www.w3.org/2003/05/soap-envelope"><Body/></Envelope>`:                                                           "",
		`<Envelope><Body><Pay/></Body></Envelope>`:                                                                                               "",
	} {
		var d xmldoc.Doc
		if err := d.Parse([]byte(text), xmldoc.Limits{}); err != nil {
			t.Fatal(err)
		}
		if got := d.Action(); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

// walk gives what encoding/xml makes of a document, in one line a token.
func walk(b []byte) (string, error) {
	var out strings.Builder
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(b, []byte("\ufeff"))))
	var text []string
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return out.String(), nil
		}
		if err != nil {
			return "", err
		}
		switch x := tok.(type) {
		case xml.StartElement:
			fmt.Fprintf(&out, "<%s", x.Name.Local)
			for _, a := range x.Attr {
				if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
					fmt.Fprintf(&out, " %s=%q", a.Name.Local, strings.ReplaceAll(a.Value, "\r", ""))
				}
			}
			out.WriteString(">")
			text = append(text, "")
		case xml.EndElement:
			fmt.Fprintf(&out, "%q", text[len(text)-1])
			text = text[:len(text)-1]
		case xml.CharData:
			if len(text) > 0 {
				text[len(text)-1] += strings.ReplaceAll(string(x), "\r", "\n")
			}
		}
	}
}

func ours(d *xmldoc.Doc) string {
	var out strings.Builder
	var write func(e int)
	write = func(e int) {
		x := &d.Elements[e]
		fmt.Fprintf(&out, "<%s", x.Local)
		for _, a := range d.Attributes[x.Attr : x.Attr+x.Attrs] {
			fmt.Fprintf(&out, " %s=%q", a.Local, strings.ReplaceAll(string(a.Value), "\r", ""))
		}
		out.WriteString(">")
		for k := e + 1; k < int(x.Next); k = int(d.Elements[k].Next) {
			write(k)
		}
		t := string(d.AppendText(nil, e))
		fmt.Fprintf(&out, "%q", strings.ReplaceAll(strings.ReplaceAll(t, "\r\n", "\n"), "\r", "\n"))
	}
	write(0)
	return out.String()
}

// FuzzParse holds the reader to encoding/xml: what is read here is read there,
// and means the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`<a/>`, "<?xml version=\"1.0\"?><a b='1'>x<b/>y&amp;<![CDATA[z]]></a>", `<s:a xmlns:s="urn:s"><b s:c="1"/></s:a>`,
		`<!DOCTYPE a><a/>`, `<a>&#65;</a>`, "<a>\r\n</a>", "<a\tb = \"&lt;\" ></a >", `<a><!-- x --></a>`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var d xmldoc.Doc
		if err := d.Parse(b, xmldoc.Limits{}); err != nil {
			return
		}
		for _, c := range b {
			if c >= 0x80 {
				return // encoding/xml knows other letters in names
			}
		}
		want, err := walk(b)
		if err != nil {
			t.Fatalf("%q is read here; encoding/xml says %v", b, err)
		}
		if got := ours(&d); got != want {
			t.Fatalf("%q\nhere  %s\nthere %s", b, got, want)
		}
	})
}

// Bombs and other documents that cost much elsewhere.
func BenchmarkHostile(b *testing.B) {
	laughs := "<!DOCTYPE l [<!ENTITY a \"ha\">"
	for i := range 30 {
		laughs += fmt.Sprintf("<!ENTITY a%d \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\">", i)
	}
	for name, text := range map[string]string{
		"a billion laughs": laughs + "]><l>&a29;</l>",
		"deep":             strings.Repeat("<a>", 1<<18),
		"wide":             "<a>" + strings.Repeat("<b/>", 1<<18) + "</a>",
		"references":       "<a>" + strings.Repeat("&#65;", 200_000) + "</a>",
		"attributes":       "<a" + attributes(50_000) + "/>",
		"namespaces":       "<a>" + strings.Repeat(`<b xmlns:p="u" p:c="1"/>`, 40_000) + "</a>",
		"bindings":         strings.Repeat(`<a xmlns:a="u" xmlns:b="u" xmlns:c="u" xmlns:d="u">`, 60) + strings.Repeat("<x/>", 19_000),
		"comments":         "<a>" + strings.Repeat("<!---->", 140_000) + "</a>",
		"sections":         "<a>" + strings.Repeat("<![CDATA[x]]>", 80_000) + "</a>",
	} {
		b.Run(name, func(b *testing.B) {
			var d xmldoc.Doc
			for b.Loop() {
				d.Parse([]byte(text), xmldoc.Limits{})
			}
		})
	}
}

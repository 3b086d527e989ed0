package guard_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	sallyport "sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

// invoices guards the operation of the formats example whose body an XML schema describes.
func invoices(t testing.TB) *guard.Program {
	t.Helper()
	set, err := spec.Load(context.Background(), []spec.Source{{Path: "../examples/formats/orders.openapi.yaml"}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	program, err := guard.Compile(guard.Config{Inspect: engine, APIs: []guard.API{{API: sallyport.API{Name: "orders"}, Spec: set, Policy: policy.API{Mode: sallyport.Enforce}}}})
	if err != nil {
		t.Fatal(err)
	}
	return program
}

const invoiceHead = `<invoice xmlns="urn:invoices" number="AB-12345">`
const invoiceFront = invoiceHead + `<customer>Ada &amp; Sons</customer><due>2026-12-31</due><iban>DE02120300000000202051</iban>`

func invoiceLines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `<line sku="K-%d"><text>Tent pegs, O'Neill's best, set of %d</text><amount>12.50</amount></line>`, i, i)
	}
	return b.String()
}

func TestXMLSchema(t *testing.T) {
	p := invoices(t)
	laughs := `<!DOCTYPE x [<!ENTITY a "ha">`
	for c := 'b'; c < 'k'; c++ {
		laughs += fmt.Sprintf(`<!ENTITY %c "%s">`, c, strings.Repeat(fmt.Sprintf("&%c;", c-1), 10))
	}
	signed := func(reference, id, second string) string {
		return invoiceHead + `<customer>A</customer><sig:Signature xmlns:sig="http://www.w3.org/2000/09/xmldsig#"><sig:Reference URI="` + reference + `"/></sig:Signature><line Id="` + id + `"/><line Id="` + second + `"/></invoice>`
	}
	for _, c := range []struct{ name, body, rule string }{
		{"whole", invoiceFront + invoiceLines(3) + `</invoice>`, ""},
		{"with a note", invoiceFront + invoiceLines(1) + `<note>it's 5 o'clock; select a table -- please</note></invoice>`, ""},
		{"nil note", invoiceFront + invoiceLines(1) + `<note xsi:nil="true" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"/></invoice>`, ""},
		{"wrong root", `<order xmlns="urn:invoices"/>`, "xsd.root"},
		{"root of another namespace", strings.Replace(invoiceFront, "urn:invoices", "urn:other", 1) + `</invoice>`, "xsd.root"},
		{"missing line", invoiceFront + `</invoice>`, "xsd.incomplete"},
		{"order of elements", invoiceHead + `<due>2026-12-31</due><customer>A</customer></invoice>`, "xsd.element"},
		{"both of a choice", invoiceFront + `<card>1</card>` + invoiceLines(1) + `</invoice>`, "xsd.element"},
		{"an element more", invoiceFront + `<admin>true</admin>` + invoiceLines(1) + `</invoice>`, "xsd.element"},
		{"an attribute more", strings.Replace(invoiceFront, "number=", `admin="1" number=`, 1) + invoiceLines(1) + `</invoice>`, "xsd.attribute"},
		{"an attribute less", strings.Replace(invoiceFront, ` number="AB-12345"`, "", 1) + invoiceLines(1) + `</invoice>`, "xsd.attribute-missing"},
		{"pattern", strings.Replace(invoiceFront, "AB-12345", "ab-12345", 1) + invoiceLines(1) + `</invoice>`, "xsd.value"},
		{"no such day", strings.Replace(invoiceFront, "2026-12-31", "2026-02-30", 1) + invoiceLines(1) + `</invoice>`, "xsd.value"},
		{"unique", invoiceFront + invoiceLines(1) + invoiceLines(1) + `</invoice>`, "xsd.key"},
		{"text between", invoiceFront + `or 1=1` + invoiceLines(1) + `</invoice>`, "xsd.text"},
		{"another type", strings.Replace(invoiceFront, "<customer>", `<customer xsi:type="xs:anyType" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">`, 1) + `</invoice>`, "xsd.type"},
		{"injection where the schema allows text", invoiceFront + invoiceLines(1) + `<note>x' UNION SELECT password FROM users--</note></invoice>`, "sql"},
		{"injection in the customer", strings.Replace(invoiceFront, "Ada &amp; Sons", "&lt;script&gt;alert(document.cookie)&lt;/script&gt;", 1) + invoiceLines(1) + `</invoice>`, "xss"},

		{"billion laughs", laughs + `]>` + invoiceHead + `<customer>&j;</customer></invoice>`, "xml.dtd"},
		{"external entity", `<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>` + invoiceHead + `<customer>&a;</customer></invoice>`, "xml.dtd"},
		{"entity without a declaration", invoiceHead + `<customer>&secret;</customer></invoice>`, "xml.entity"},
		{"many attributes", `<invoice xmlns="urn:invoices"` + manyAttributes(20_000) + `/>`, "xml.attributes"},
		{"deep", strings.Repeat("<a>", 100_000), "xml.depth"},
		{"inclusion", invoiceHead + `<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd"/></invoice>`, "xml.inclusion"},
		{"many namespaces at once", manyNamespaces(2000), "xml."},
		{"many namespaces of one element", `<invoice` + strings.ReplaceAll(manyAttributes(5000), " a", " xmlns:a") + `/>`, "xml.attributes"},
		{"a million repetitions", invoiceFront + strings.Repeat("<line/>", 140_000) + `</invoice>`, "xml.elements"},
		{"as many as fit", invoiceFront + strings.Repeat(`<line sku="a"/>`, 10_000) + `</invoice>`, "xsd."},
		{"a word for a catastrophic pattern", strings.Replace(invoiceFront, "AB-12345", "AB-"+strings.Repeat("1", 500_000)+"x", 1) + `</invoice>`, "xsd.value"},
		{"an instruction", invoiceFront + `<?include http://evil.example/x?>` + `</invoice>`, "xml.instruction"},
		{"UTF-16", "\xff\xfe<\x00a\x00/\x00>\x00", "xml.encoding"},
		{"signed once", signed("#x", "x", "y"), "xsd."},
		{"signature wrapping", signed("#x", "x", "x"), "xml.duplicate-id"},
		{"signature of nothing", signed("#z", "x", "y"), "xml.signature-reference"},
		{"signature of another document", signed("http://evil.example/", "x", "y"), "xml.signature-reference"},
		{"empty", "", "xml.syntax"},
		{"cut", invoiceFront + invoiceLines(1), "xml.syntax"},
	} {
		x := post(t, p, "/invoices", "application/xml", []byte(c.body))
		found := c.rule == ""
		for _, r := range x.Decision.Reasons {
			found = found || strings.HasPrefix(r.Rule, c.rule) && c.rule != "" || r.Class == c.rule
			if c.rule == "" {
				found = false
			}
		}
		if x.Decision.Refused() != (c.rule != "") || !found {
			t.Errorf("%s: got %s, %+v; want %q", c.name, x.Decision.Action, x.Decision.Reasons, c.rule)
		}
		if c.name == "signed once" {
			for _, r := range x.Decision.Reasons {
				if strings.HasPrefix(r.Rule, "xml.") {
					t.Errorf("%s: %+v", c.name, r)
				}
			}
		}
	}
}

func manyAttributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ` a%d="x"`, i)
	}
	return b.String()
}

func manyNamespaces(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `<a xmlns:p%d="urn:%d" xmlns:q%d="urn:q" xmlns:r%d="urn:r" xmlns:s%d="urn:s" xmlns:t%d="urn:t">`, i, i, i, i, i, i)
	}
	return b.String()
}

func BenchmarkXMLSchema(b *testing.B) {
	p := invoices(b)
	body := []byte(invoiceFront + invoiceLines(9) + `</invoice>`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if x := post(b, p, "/invoices", "application/xml", body); x.Decision.Refused() {
			b.Fatal(x.Decision.Reasons)
		}
	}
}

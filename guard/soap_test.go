package guard_test

import (
	"context"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sallyport "sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/guard/vectors"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

func quotes(t testing.TB) *guard.Program {
	t.Helper()
	set, err := spec.Load(context.Background(), []spec.Source{{Path: "../examples/formats/quotes.wsdl"}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	program, err := guard.Compile(guard.Config{Inspect: engine, APIs: []guard.API{{API: sallyport.API{Name: "quotes"}, Spec: set,
		Policy: policy.API{Mode: sallyport.Enforce, Shadow: policy.Refuse}}}})
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func call(p *guard.Program, contentType, action, body string) (*sallyport.Exchange, int) {
	h := http.Header{"Content-Type": {contentType}}
	if action != "none" {
		h["Soapaction"] = []string{action}
	}
	r := &guard.Request{Method: http.MethodPost, Host: "q.example.test", Path: "/soap/quotes", Header: h, Client: netip.MustParseAddr("192.0.2.7"), ContentLength: int64(len(body))}
	s, step := p.Begin(r, vectors.Now)
	if step.Verb == guard.Proceed && step.Body == guard.BodyWhole {
		s.RequestBody([]byte(body), vectors.Now)
	}
	version := s.SOAP()
	return s.End(guard.Outcome{}, vectors.Now), version
}

func envelope(space, head, body string) string {
	return `<s:Envelope xmlns:s="` + space + `">` + head + `<s:Body>` + body + `</s:Body></s:Envelope>`
}

func TestSOAP(t *testing.T) {
	const one, two = "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"
	const get, remove = `"urn:quotes:get"`, `"urn:quotes:delete"`
	quote := func(symbol string) string {
		return `<GetQuote xmlns="urn:quotes"><symbol>` + symbol + `</symbol></GetQuote>`
	}
	p := quotes(t)
	for _, c := range []struct{ name, media, action, body, rule, op string }{
		{"SOAP 1.1", "text/xml; charset=utf-8", get, envelope(one, "", quote("ACME")), "", "soap GetQuote"},
		{"with a header", "text/xml", get, envelope(one, `<s:Header><w:Token xmlns:w="urn:w">x</w:Token></s:Header>`, quote("ACME")), "", "soap GetQuote"},
		{"SOAP 1.2", `application/soap+xml; action="urn:quotes:get"`, "none", envelope(two, "", quote("ACME")), "", "soap GetQuote"},
		{"SOAP 1.2 without an action", `application/soap+xml`, "none", envelope(two, "", quote("ACME")), "", "soap GetQuote"},
		{"rpc", "text/xml", `"urn:quotes:rate"`, envelope(one, "", `<q:Rate xmlns:q="urn:quotes"><symbol>ACME</symbol><stars>5</stars></q:Rate>`), "", "soap Rate"},
		{"text that is no attack", "text/xml", get, envelope(one, "", strings.Replace(quote("ACME"), "</GetQuote>", "<note>O'Neill, select a price -- please</note></GetQuote>", 1)), "", "soap GetQuote"},
		{"rpc, a part of the wrong type", "text/xml", `"urn:quotes:rate"`, envelope(one, "", `<q:Rate xmlns:q="urn:quotes"><symbol>ACME</symbol><stars>500</stars></q:Rate>`), "xsd.value", ""},
		{"rpc, a part more", "text/xml", `"urn:quotes:rate"`, envelope(one, "", `<q:Rate xmlns:q="urn:quotes"><symbol>ACME</symbol><stars>5</stars><admin>1</admin></q:Rate>`), "soap.parts", ""},
		{"the action of another operation", "text/xml", get, envelope(one, "", `<DeleteQuotes xmlns="urn:quotes"><before>2026-01-01</before></DeleteQuotes>`), "soap.action", ""},
		{"the action of another operation, the other way", "text/xml", remove, envelope(one, "", quote("ACME")), "soap.action", ""},
		{"SOAP 1.2 with the action of another", `application/soap+xml; action="urn:quotes:delete"`, "none", envelope(two, "", quote("ACME")), "soap.action", ""},
		{"no action", "text/xml", "none", envelope(one, "", quote("ACME")), "soap.action", ""},
		{"not bound in SOAP 1.2", "application/soap+xml", "none", envelope(two, "", `<DeleteQuotes xmlns="urn:quotes"><before>2026-01-01</before></DeleteQuotes>`), "soap.operation", ""},
		{"unknown operation", "text/xml", get, envelope(one, "", `<Shutdown xmlns="urn:quotes"/>`), "soap.operation", ""},
		{"wrong value", "text/xml", get, envelope(one, "", quote("acme!")), "xsd.value", ""},
		{"two calls", "text/xml", get, envelope(one, "", quote("ACME")+quote("ACME")), "soap.body", ""},
		{"two bodies", "text/xml", get, strings.Replace(envelope(one, "", quote("ACME")), "</s:Envelope>", "<s:Body/></s:Envelope>", 1), "soap.envelope", ""},
		{"empty body", "text/xml", get, envelope(one, "", ""), "soap.body", ""},
		{"the other version's envelope", "text/xml", get, envelope(two, "", quote("ACME")), "soap.envelope", ""},
		{"no envelope", "text/xml", get, quote("ACME"), "soap.envelope", ""},
		{"attachments", "multipart/related; type=\"text/xml\"; boundary=x", get, "--x\r\n\r\nx\r\n--x--", "body.media-type", ""},
		{"JSON", "application/json", get, `{"GetQuote": {"symbol": "ACME"}}`, "body.media-type", ""},
		{"document type", "text/xml", get, `<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>` + envelope(one, "", quote("&a;")), "xml.dtd", ""},
		{"injection", "text/xml", get, envelope(one, "", strings.Replace(quote("ACME"), "</GetQuote>", "<note>x' UNION SELECT password FROM users--</note></GetQuote>", 1)), "sqli", ""},
		{"injection in a header", "text/xml", get, envelope(one, `<s:Header><w:T xmlns:w="urn:w">x' UNION SELECT password FROM users--</w:T></s:Header>`, quote("ACME")), "sqli", ""},
		{"signature wrapping", "text/xml", get, envelope(one, `<s:Header><g:Reference xmlns:g="http://www.w3.org/2000/09/xmldsig#" URI="#b"/><old wsu:Id="b" xmlns:wsu="urn:wsu"/><new wsu:Id="b" xmlns:wsu="urn:wsu"/></s:Header>`, quote("ACME")), "xml.duplicate-id", ""},
		{"empty", "text/xml", get, "", "soap.envelope", ""},
	} {
		x, version := call(p, c.media, c.action, c.body)
		found := c.rule == ""
		for _, r := range x.Decision.Reasons {
			found = found || r.Rule == c.rule || r.Class == c.rule
		}
		if x.Decision.Refused() != (c.rule != "") || !found || c.op != "" && x.Operation().Key() != c.op {
			t.Errorf("%s: got %s as %q, %+v; want %q", c.name, x.Decision.Action, x.Operation().Key(), x.Decision.Reasons, c.rule)
		}
		if want := 1 + strings.Count(c.media, "soap+xml"); version != want {
			t.Errorf("%s: faults of version %d, want %d", c.name, version, want)
		}
	}
}

// What is wrong in a WSDL, or not supported, is said with its line.
func TestWSDLMistakes(t *testing.T) {
	good, err := os.ReadFile("../examples/formats/quotes.wsdl")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`use="literal"`, `use="encoded"`, `use="encoded" is not supported`},
		{`element="q:GetQuote"`, `element="q:Nothing"`, "declare no element {urn:quotes}Nothing"},
		{`type="q:symbol"/><xs:element name="note"`, `type="q:sym"/><xs:element name="note"`, "there is no type {urn:quotes}sym"},
		{`message="q:GetQuoteIn"`, `message="q:No"`, `no message "q:No"`},
		{`<types>`, `<import namespace="urn:x" location="x.wsdl"/><types>`, "wsdl:import is not supported"},
		{`<service name="Quotes">`, `<service name="Quotes"><!-- `, ""},
	} {
		file := filepath.Join(t.TempDir(), "q.wsdl")
		if err := os.WriteFile(file, []byte(strings.Replace(string(good), c.old, c.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := spec.Load(context.Background(), []spec.Source{{Path: file}}, spec.Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "q.wsdl:") {
			t.Errorf("%s: got %v, want %q", c.new, err, c.want)
		}
	}
}

func FuzzSOAP(f *testing.F) {
	f.Add(envelope("http://schemas.xmlsoap.org/soap/envelope/", "", `<GetQuote xmlns="urn:quotes"><symbol>A</symbol></GetQuote>`))
	f.Add(envelope("http://schemas.xmlsoap.org/soap/envelope/", "<s:Header/>", `<q:Rate xmlns:q="urn:quotes"><symbol>A</symbol><stars>1</stars></q:Rate>`))
	p := quotes(f)
	f.Fuzz(func(t *testing.T, body string) {
		if x, _ := call(p, "text/xml", `"urn:quotes:get"`, body); x.Decision.Refused() && len(x.Decision.Reasons) == 0 {
			t.Fatalf("%q is refused without a reason", body)
		}
	})
}

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
		{`<types>`, `<import namespace="urn:x" location="x.wsdl"/><types>`, `"x.wsdl" cannot be read: no such file`},
		{`<types>`, `<import namespace="urn:x" location="../x.wsdl"/><types>`, `outside the folder`},
		{`<types>`, `<import namespace="urn:x" location="http://192.0.2.1/x.wsdl"/><types>`, `it is no file below the folder`},
		{`<types>`, `<import namespace="urn:x"/><types>`, `import has no location`},
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

// FuzzSOAPAnswer puts any answer of a service to the guard: what is replaced has
// a reason, and what is not stays as it is.
func FuzzSOAPAnswer(f *testing.F) {
	const one = "http://schemas.xmlsoap.org/soap/envelope/"
	f.Add(200, envelope(one, "", `<Quote xmlns="urn:quotes"><price>1</price></Quote>`))
	f.Add(200, envelope(one, "", `<s:Fault><faultcode>s:Server</faultcode><faultstring>java.lang.NullPointerException</faultstring></s:Fault>`))
	f.Add(500, envelope(one, "", `<s:Fault><faultcode>s:Client.a</faultcode><faultstring>x</faultstring><detail><UnknownSymbol xmlns="urn:quotes"><symbol>A</symbol></UnknownSymbol></detail></s:Fault>`))
	f.Add(500, envelope("http://www.w3.org/2003/05/soap-envelope", "", `<s:Fault><s:Code><s:Value>s:Sender</s:Value></s:Code><s:Reason><s:Text xml:lang="en">x</s:Text></s:Reason></s:Fault>`))
	p := quotes(f)
	ask := envelope(one, "", `<GetQuote xmlns="urn:quotes"><symbol>A</symbol></GetQuote>`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			return
		}
		r := &guard.Request{Method: http.MethodPost, Host: "q", Path: "/soap/quotes", Client: netip.MustParseAddr("192.0.2.7"), ContentLength: int64(len(ask)),
			Header: http.Header{"Content-Type": {"text/xml"}, "Soapaction": {"urn:quotes:get"}}}
		s, _ := p.Begin(r, vectors.Now)
		s.RequestBody([]byte(ask), vectors.Now)
		step := s.Response(status, http.Header{"Content-Type": {"text/xml"}}, vectors.Now)
		if step.Verb == guard.Proceed && (step.Body == guard.BodyWhole || step.Body == guard.BodySample) {
			step = s.ResponseBody([]byte(body), vectors.Now)
		}
		if x := s.End(guard.Outcome{}, vectors.Now); step.Replace != nil || step.Verb != guard.Proceed && len(x.Decision.Reasons) == 0 {
			t.Fatalf("%d %q: %+v, reasons %v", status, body, step, x.Decision.Reasons)
		}
	})
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

const security = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"

// Header blocks that must be understood, and what a header of WS-Security holds.
func TestSOAPHeaders(t *testing.T) {
	const one = "http://schemas.xmlsoap.org/soap/envelope/"
	set, err := spec.Load(context.Background(), []spec.Source{{Path: "testdata/wsdl/quotes.wsdl"}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wsse := func(inside string) string {
		return `<w:Security xmlns:w="` + security + `" xmlns:g="http://www.w3.org/2000/09/xmldsig#" s:mustUnderstand="1">` + inside + `</w:Security>`
	}
	signature := func(transform, more string) string {
		return wsse(`<g:Signature><g:SignedInfo><g:Reference URI="#b"><g:Transforms><g:Transform Algorithm="` + transform + `"/></g:Transforms></g:Reference></g:SignedInfo>` + more + `</g:Signature><x xmlns="urn:x" Id="b"/>`)
	}
	const c14n = "http://www.w3.org/2001/10/xml-exc-c14n#"
	must := `<a:Action xmlns:a="urn:a" s:mustUnderstand="1">x</a:Action>`
	session := `<q:Session xmlns:q="urn:quotes" s:mustUnderstand="1">AB12</q:Session>`
	strict, known, pass := policy.SOAP{}, policy.SOAP{Headers: []string{"{" + security + "}Security", "{urn:a}*"}}, policy.SOAP{MustUnderstand: policy.PassIt}
	for _, c := range []struct {
		name    string
		policy  policy.SOAP
		headers string
		rule    string
		unseen  bool
	}{
		{"none", strict, ``, "", false},
		{"may be ignored", strict, `<a:Action xmlns:a="urn:a">x</a:Action><a:Two xmlns:a="urn:a" s:mustUnderstand="0"/>`, "", false},
		{"declared by the binding", strict, session, "", false},
		{"declared, of another type", strict, strings.Replace(session, "AB12", "' or 1=1", 1), "xsd.value", false},
		{"must be understood", strict, must, "soap.must-understand", false},
		{"must be understood, as true", strict, strings.Replace(must, `"1"`, `" true "`, 1), "soap.must-understand", false},
		{"neither true nor false", pass, strings.Replace(must, `"1"`, `"yes"`, 1), "soap.header", false},
		{"another namespace's attribute", strict, `<a:Action xmlns:a="urn:a" a:mustUnderstand="1">x</a:Action>`, "", false},
		{"listed", known, must, "", false},
		{"not listed", known, `<b:Action xmlns:b="urn:b" s:mustUnderstand="1"/>`, "soap.must-understand", false},
		{"all pass", pass, must, "", false},
		{"too many", pass, strings.Repeat(`<a:N xmlns:a="urn:a"/>`, 33), "soap.header", false},
		{"text among them", pass, "x", "soap.envelope", false},
		{"security that nobody has listed", strict, wsse(""), "soap.must-understand", false},
		{"security", known, wsse(`<w:UsernameToken><w:Username>ada</w:Username></w:UsernameToken>`), "", true},
		{"two for one receiver", known, wsse("") + wsse(""), "soap.security", true},
		{"for two receivers", known, wsse("") + strings.Replace(wsse(""), "s:mustUnderstand", `s:actor="urn:other" s:mustUnderstand`, 1), "", true},
		{"signature", known, signature(c14n, ""), "", true},
		{"signature that runs a style sheet", known, signature("http://www.w3.org/TR/1999/REC-xslt-19991116", ""), "soap.security", true},
		{"signature by XPath", known, signature("http://www.w3.org/TR/1999/REC-xpath-19991116", ""), "soap.security", true},
		{"truncated", known, signature(c14n, `<g:HMACOutputLength>1</g:HMACOutputLength>`), "soap.security", true},
		{"key to be fetched", known, signature(c14n, `<g:KeyInfo><g:RetrievalMethod URI="http://192.0.2.1/"/></g:KeyInfo>`), "soap.security", true},
		{"hundred references", known, wsse("<g:Signature>" + strings.Repeat(`<g:Reference URI=""/>`, 100) + "</g:Signature>"), "soap.security", true},
		{"thousands of elements", known, wsse(strings.Repeat(`<a/>`, 2000)), "soap.security", true},
	} {
		p, err := guard.Compile(guard.Config{Inspect: engine, APIs: []guard.API{{API: sallyport.API{Name: "quotes"}, Spec: set, Policy: policy.API{Mode: sallyport.Enforce, SOAP: c.policy}}}})
		if err != nil {
			t.Fatal(err)
		}
		x, _ := call(p, "text/xml", `"urn:quotes:get"`, envelope(one, "<s:Header>"+c.headers+"</s:Header>", `<GetQuote xmlns="urn:quotes"><symbol>ACME</symbol></GetQuote>`))
		found := c.rule == ""
		for _, r := range x.Decision.Reasons {
			found = found || r.Rule == c.rule
		}
		if x.Decision.Refused() != (c.rule != "") || !found || strings.Contains(strings.Join(x.Decision.NotInspected, " "), "WS-Security") != c.unseen {
			t.Errorf("%s: got %s, %+v, not inspected %q; want %q", c.name, x.Decision.Action, x.Decision.Reasons, x.Decision.NotInspected, c.rule)
		}
	}
}

// A service may be written in several documents, and an API of several services.
func TestWSDLImports(t *testing.T) {
	const one = "http://schemas.xmlsoap.org/soap/envelope/"
	load := func(paths ...string) (*spec.Set, error) {
		var sources []spec.Source
		for _, p := range paths {
			sources = append(sources, spec.Source{Path: p})
		}
		return spec.Load(context.Background(), sources, spec.Options{})
	}
	set, err := load("testdata/wsdl/quotes.wsdl", "testdata/wsdl/orders.wsdl")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, f := range set.Files() {
		files = append(files, filepath.Base(f))
	}
	if got := strings.Join(files, " "); got != "orders.wsdl messages.wsdl parts.xsd types.xsd quotes.wsdl" {
		t.Errorf("read %s", got)
	}
	if folder, err := load("testdata/wsdl"); err != nil || len(folder.SOAP().Operations()) != len(set.SOAP().Operations()) {
		t.Errorf("folder: %v", err)
	}
	p, err := guard.Compile(guard.Config{APIs: []guard.API{{API: sallyport.API{Name: "quotes"}, Spec: set, Policy: policy.API{Mode: sallyport.Enforce}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, action, body, rule, op string }{
		{"/soap/quotes", "urn:quotes:get", `<GetQuote xmlns="urn:quotes"><symbol>ACME</symbol></GetQuote>`, "", "soap GetQuote"},
		{"/soap/quotes", "urn:quotes:get", `<GetQuote xmlns="urn:quotes"><symbol>acme</symbol></GetQuote>`, "xsd.value", ""},
		{"/soap/orders", "urn:orders:ping", `<o:Ping xmlns:o="urn:orders"><note>hello</note></o:Ping>`, "", "soap Ping"},
		{"/soap/orders", "urn:quotes:get", `<GetQuote xmlns="urn:quotes"><symbol>ACME</symbol></GetQuote>`, "soap.operation", ""},
	} {
		body := envelope(one, "", c.body)
		r := &guard.Request{Method: http.MethodPost, Host: "q.example.test", Path: c.path, Client: netip.MustParseAddr("192.0.2.7"), ContentLength: int64(len(body)),
			Header: http.Header{"Content-Type": {"text/xml"}, "Soapaction": {c.action}}}
		s, _ := p.Begin(r, vectors.Now)
		s.RequestBody([]byte(body), vectors.Now)
		x := s.End(guard.Outcome{}, vectors.Now)
		if x.Decision.Refused() != (c.rule != "") || c.rule != "" && x.Decision.Reasons[0].Rule != c.rule || c.op != "" && x.Operation().Key() != c.op {
			t.Errorf("%s %s: %+v as %s", c.path, c.body, x.Decision, x.Operation().Key())
		}
	}
	if _, err := load("testdata/wsdl/quotes.wsdl", "../examples/formats/quotes.wsdl"); err == nil || !strings.Contains(err.Error(), "GetQuote") {
		t.Errorf("two services with the same operations: %v", err)
	}
}

// What a call and its answer cost, with their validation and inspection.
func BenchmarkSOAP(b *testing.B) {
	const one = "http://schemas.xmlsoap.org/soap/envelope/"
	p := quotes(b)
	ask := []byte(envelope(one, "", `<GetQuote xmlns="urn:quotes"><symbol>ACME</symbol><note>O'Neill, select a price please</note></GetQuote>`))
	say := []byte(envelope(one, "", `<Quote xmlns="urn:quotes"><price>12.50</price></Quote>`))
	r := &guard.Request{Method: http.MethodPost, Host: "q", Path: "/soap/quotes", Client: netip.MustParseAddr("192.0.2.7"), ContentLength: int64(len(ask)),
		Header: http.Header{"Content-Type": {"text/xml"}, "Soapaction": {"urn:quotes:get"}}}
	head := http.Header{"Content-Type": {"text/xml"}}
	b.ReportAllocs()
	for b.Loop() {
		s, _ := p.Begin(r, vectors.Now)
		s.RequestBody(ask, vectors.Now)
		s.Response(200, head, vectors.Now)
		s.ResponseBody(say, vectors.Now)
		s.End(guard.Outcome{}, vectors.Now)
	}
}

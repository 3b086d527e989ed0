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

// Answers in XML are held to the schema that x-xsd names; others in XML are not
// looked at.
func TestXMLAnswers(t *testing.T) {
	dir := t.TempDir()
	schema, err := os.ReadFile("../examples/formats/invoices.xsd")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"invoices.xsd": string(schema), "api.yaml": `openapi: 3.1.0
info: {title: t, version: "1"}
paths:
  /invoice:
    get:
      responses:
        "200": {description: ok, content: {application/xml: {x-xsd: "invoices.xsd#invoice"}, text/xml: {}}}
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, err := spec.Load(context.Background(), []spec.Source{{Path: filepath.Join(dir, "api.yaml")}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	good := invoiceFront + invoiceLines(2) + "</invoice>"
	for _, answers := range []policy.Answers{{Mode: sallyport.Enforce}, {Mode: sallyport.Enforce, Types: policy.RefuseAll, Undeclared: policy.StripIt, Sensitive: policy.StripIt},
		{Mode: sallyport.Enforce, Types: policy.ReportOnly}, {Mode: sallyport.Observe}} {
		program, err := guard.Compile(guard.Config{APIs: []guard.API{{API: sallyport.API{Name: "a"}, Spec: set, Policy: policy.API{Mode: sallyport.Enforce, Answers: answers}}}})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ name, media, body, rule string }{
			{"valid", "application/xml; charset=utf-8", good, ""},
			{"not valid", "application/xml", strings.Replace(good, "12.50", "dear", 1), "answer.xsd.value"},
			{"document type", "application/xml", "<!DOCTYPE x>" + good, "answer.xml.dtd"},
			{"truncated", "application/xml", good[:99], "answer.xml.syntax"},
			{"in a media type without a schema", "text/xml", "<x/>", ""},
		} {
			s, _ := program.Begin(&guard.Request{Method: "GET", Host: "a", Path: "/invoice", Header: http.Header{}, Client: netip.MustParseAddr("192.0.2.7")}, vectors.Now)
			step := s.Response(200, http.Header{"Content-Type": {c.media}}, vectors.Now)
			if step.Body == guard.BodyWhole || step.Body == guard.BodySample {
				step = s.ResponseBody([]byte(c.body), vectors.Now)
			}
			refused := c.rule != "" && answers.Mode == sallyport.Enforce && answers.Types != policy.ReportOnly
			x := s.End(guard.Outcome{}, vectors.Now)
			found := c.rule == "" && len(x.Decision.Reasons) == 0
			for _, r := range x.Decision.Reasons {
				found = found || r.Rule == c.rule
			}
			if (step.Verb == guard.Refuse) != refused || !found || step.Replace != nil {
				t.Errorf("%v %s: %+v, reasons %+v", answers, c.name, step, x.Decision.Reasons)
			}
		}
	}
}

package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A schema that a WSDL imports, and nothing in the configuration names, starts a
// reload when it is saved: one that is wrong too, and its repair.
func TestReferredFilesReload(t *testing.T) {
	s := newSite(t)
	from := "../../guard/testdata/wsdl"
	for _, name := range []string{"quotes.wsdl", "parts/messages.wsdl", "parts/parts.xsd", "parts/types.xsd"} {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(s.dir, "wsdl", name)), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(s.dir, "wsdl", name), string(b))
	}
	config := filepath.Join(s.dir, "sallyport.yaml")
	b, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, config, string(b)+fmt.Sprintf("  - {name: quotes, spec: wsdl/quotes.wsdl, match: {host: quotes.example.test}, upstreams: [{url: %q}], mode: enforce}\n", s.upstream.URL))
	p := s.start(t)
	call := func() int {
		body := `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><GetQuote xmlns="urn:quotes"><symbol>ACME</symbol></GetQuote></s:Body></s:Envelope>`
		r, _ := http.NewRequest("POST", "http://"+s.gateway+"/soap/quotes", strings.NewReader(body))
		r.Host, r.Header = "quotes.example.test", http.Header{"Content-Type": {"text/xml"}, "Soapaction": {"urn:quotes:get"}}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	if got := call(); got != 201 {
		t.Errorf("before: %d", got)
	}
	schema := filepath.Join(s.dir, "wsdl/parts/parts.xsd")
	good, _ := os.ReadFile(schema)
	write(t, schema, "<xs:schema")
	p.wait(`change refused \(parts.xsd was saved\)`)
	write(t, schema, strings.Replace(string(good), "[A-Z]{1,5}", "[A-Z]{1,3}", 1))
	p.wait(`change taken over \(parts.xsd was saved\)`)
	if got := call(); got != 400 {
		t.Errorf("after: %d", got)
	}
	// A file that comes into play with a change that is refused, and is not there yet.
	messages := filepath.Join(s.dir, "wsdl/parts/messages.wsdl")
	text, _ := os.ReadFile(messages)
	write(t, messages, strings.Replace(string(text), `location="parts.xsd"`, `location="new.xsd"`, 1))
	p.wait(`change refused \(messages.wsdl was saved\)`)
	write(t, filepath.Join(s.dir, "wsdl/parts/new.xsd"), string(good))
	p.wait(`change taken over \(new.xsd was saved\)`)
	if got := call(); got != 201 {
		t.Errorf("repaired: %d", got)
	}
	p.stop()
}

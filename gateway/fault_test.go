package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

const soap1, soap2 = "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"

func envelope(space, body string) string {
	return `<?xml version="1.0"?><s:Envelope xmlns:s="` + space + `"><s:Body>` + body + `</s:Body></s:Envelope>`
}

func fault(code, text, detail string) string {
	if detail != "" {
		detail = "<detail>" + detail + "</detail>"
	}
	return envelope(soap1, "<s:Fault><faultcode>s:"+code+"</faultcode><faultstring>"+text+"</faultstring>"+detail+"</s:Fault>")
}

func fault2(code, text string) string {
	return envelope(soap2, `<s:Fault><s:Code><s:Value>s:`+code+`</s:Value></s:Code><s:Reason><s:Text xml:lang="en">`+text+`</s:Text></s:Reason></s:Fault>`)
}

const (
	javaTrace = "java.lang.NullPointerException\n\tat com.acme.Quotes.get(Quotes.java:7)"
	quoteIs   = `<Quote xmlns="urn:quotes"><price>12.50</price></Quote>`
	unknown   = `<UnknownSymbol xmlns="urn:quotes"><symbol>ACME</symbol></UnknownSymbol>`
)

// What a SOAP service says: answers and faults of which nothing is given away
// stay as they are byte for byte, others are replaced by faults of the same form.
func TestSOAPAnswers(t *testing.T) {
	cases := []struct {
		name, media string
		status      int
		body        string
		want        int    // 0: as it came
		code        string // of the fault in its place
		rule        string
	}{
		{"answer", "text/xml", 200, envelope(soap1, quoteIs), 0, "", ""},
		{"answer with comments and spaces", "text/xml; charset=UTF-8", 200, envelope(soap1, "\n\t<!-- java.lang.NullPointerException: a success says what it says -->"+quoteIs+"\r\n") + "\n", 0, "", ""},
		{"accepted", "", 202, "", 0, "", ""},
		{"declared fault", "text/xml", 500, fault("Server", "unknown symbol", unknown), 0, "", ""},
		{"fault of the caller", "text/xml", 500, fault("Client", "the symbol is missing", ""), 0, "", ""},
		{"fault of the caller that speaks of SQL", "text/xml", 500, fault("Client", "please select a symbol from the list", ""), 0, "", ""},
		{"fault as a success", "text/xml", 200, fault("Client.Symbol", "the symbol is missing", ""), 0, "", ""},
		{"fault of SOAP 1.2", "application/soap+xml", 400, fault2("Sender", "the symbol is missing"), 0, "", ""},
		{"trace", "text/xml", 500, fault("Client", "no", "<x>"+javaTrace+"</x>"), 500, "Client", "leak.stack-trace"},
		{"trace in an attribute", "text/xml", 500, fault("Client", "no", `<exception class="java.lang.NullPointerException"/>`), 500, "Client", "error.server"},
		{"trace in a comment", "text/xml", 500, strings.Replace(fault("Client", "no", unknown), "<detail>", "<detail><!-- "+javaTrace+" -->", 1), 500, "Client", "leak.stack-trace"},
		{"SQL, hidden", "text/xml", 500, fault("Client", "<![CDATA[OR]]>A-0<!-- -->0942&#58; table or view does not exist", ""), 500, "Client", "leak.sql"},
		{"SQL in a declared fault", "text/xml", 500, strings.Replace(fault("Server", "no", unknown), "<symbol>ACME", "<symbol>You have an error in your SQL syntax", 1), 500, "Server", "leak.sql"},
		{"trace as a success", "text/xml", 200, fault("Server", javaTrace, ""), 500, "Server", "error.server"},
		{"fault of the server", "text/xml", 500, fault("Server", "index out of range", ""), 500, "Server", "error.server"},
		{"a declared element beside another", "text/xml", 500, fault("Server", "no", unknown+"<host>a</host>"), 500, "Server", "error.server"},
		{"fault of SOAP 1.2, of the server", "application/soap+xml", 500, fault2("Receiver", "out of memory"), 500, "Server", "error.server"},
		{"page", "text/html", 500, "<h1>HTTP Status 500</h1>", 500, "Server", "error.server"},
		{"truncated", "text/xml", 500, fault("Client", "no", "")[:150], 500, "Server", "error.server"},
		{"another operation's answer", "text/xml", 200, envelope(soap1, `<Users xmlns="urn:quotes"/>`), 502, "Server", "answer.soap.output"},
		{"answer of the wrong type", "text/xml", 200, envelope(soap1, strings.Replace(quoteIs, "12.50", "much", 1)), 502, "Server", "answer.xsd.value"},
		{"JSON", "application/json", 200, "{}", 502, "Server", "answer.body.media-type"},
		{"no envelope", "text/xml", 200, quoteIs, 502, "Server", "answer.soap.envelope"},
		{"a document type", "text/xml", 200, "<!DOCTYPE x>" + envelope(soap1, quoteIs)[21:], 502, "Server", "answer.xml.dtd"},
	}
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.Header.Get("X-Case"))
		if cases[n].media != "" {
			w.Header().Set("Content-Type", cases[n].media)
		}
		w.WriteHeader(cases[n].status)
		io.WriteString(w, cases[n].body)
	})
	set, err := spec.Load(context.Background(), []spec.Source{{Path: "../guard/testdata/wsdl/quotes.wsdl"}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []sallyport.Mode{sallyport.Enforce, sallyport.Observe, "report"} {
		kept := &sealer{}
		demand := policy.API{Mode: mode, Answers: policy.Answers{Mode: mode}}
		if mode == "report" { // of answers; faults are replaced all the same
			demand = policy.API{Mode: sallyport.Enforce, Answers: policy.Answers{Mode: sallyport.Enforce, Types: policy.ReportOnly}}
		}
		d := open(t, gateway.Options{APIs: to(up.URL), Sealer: kept, Program: program(t, guard.API{API: sallyport.API{Name: "shop"}, Spec: set,
			Policy: demand})})
		for n, c := range cases {
			q, _ := http.NewRequest("POST", d.url("/soap/quotes"), strings.NewReader(envelope(soap1, `<GetQuote xmlns="urn:quotes"><symbol>ACME</symbol></GetQuote>`)))
			q.Header.Set("Content-Type", "text/xml")
			q.Header.Set("SOAPAction", "urn:quotes:get")
			q.Header.Set("X-Case", fmt.Sprint(n))
			res, err := d.client(false).Do(q)
			body := read(t, res, err)
			x := d.rec.find(t, res.Header.Get("X-Request-Id"))
			found := c.rule == ""
			for _, r := range x.Decision.Reasons {
				found = found || r.Rule == c.rule
			}
			if !found || c.rule == "" && len(x.Decision.Reasons) > 0 {
				t.Errorf("%s %s: reasons %+v, want %q", mode, c.name, x.Decision.Reasons, c.rule)
			}
			if c.want == 0 || mode == sallyport.Observe || mode == "report" && c.want == 502 {
				if res.StatusCode != c.status || body != c.body || res.Header.Get("Content-Type") != c.media {
					t.Errorf("%s %s: %d %q", mode, c.name, res.StatusCode, body)
				}
				continue
			}
			form := "<faultcode>e:" + c.code + "</faultcode>"
			if res.StatusCode != c.want || !strings.Contains(body, form) || !strings.Contains(body, `request-id="`+x.ID+`"`) || res.Header.Get("Content-Type") != "text/xml; charset=utf-8" {
				t.Errorf("%s: %d %q", c.name, res.StatusCode, body)
			}
			for _, leak := range []string{"java", "SQL", "ORA", "Quotes", "memory", "Users"} {
				if strings.Contains(body, leak) {
					t.Errorf("%s: %q in %q", c.name, leak, body)
				}
			}
			if o := kept.find(x.ID); c.want != 502 && (o == nil || string(o.Body) != c.body || o.Status != c.status) {
				t.Errorf("%s: original %+v", c.name, o)
			}
		}
	}
}

// A call with a header that nobody understands is answered as the standard says.
func TestSOAPMustUnderstand(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { t.Error("the call reached the service") })
	set, err := spec.Load(context.Background(), []spec.Source{{Path: "../guard/testdata/wsdl/quotes.wsdl"}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, gateway.Options{APIs: to(up.URL), Program: program(t, guard.API{API: sallyport.API{Name: "shop"}, Spec: set, Policy: policy.API{Mode: sallyport.Enforce}})})
	body := strings.Replace(envelope(soap1, `<GetQuote xmlns="urn:quotes"><symbol>ACME</symbol></GetQuote>`), "<s:Body>", `<s:Header><x:T xmlns:x="urn:x" s:mustUnderstand="1"/></s:Header><s:Body>`, 1)
	q, _ := http.NewRequest("POST", d.url("/soap/quotes"), strings.NewReader(body))
	q.Header = http.Header{"Content-Type": {"text/xml"}, "Soapaction": {"urn:quotes:get"}}
	res, err := d.client(false).Do(q)
	if got := read(t, res, err); res.StatusCode != 400 || !strings.Contains(got, "<faultcode>e:MustUnderstand</faultcode>") {
		t.Errorf("%d %s", res.StatusCode, got)
	}
}

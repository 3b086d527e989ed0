package audit_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"sallyport.dev"
	"sallyport.dev/spec/audit"
)

func hostile() map[string][]byte {
	var bomb, chain strings.Builder
	bomb.WriteString("openapi: 3.1.0\na0: &a0 [x, x]\n")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%d [*a%d, *a%d, *a%d]\n", i, i, i-1, i-1, i-1)
	}
	chain.WriteString(`{"openapi":"3.1.0","info":{},"paths":{"/a":{"post":{"requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/s0"}}}},"responses":{}}}},"components":{"schemas":{`)
	for i := range 20000 {
		fmt.Fprintf(&chain, `"s%d":{"type":"object","properties":{"a":{"$ref":"#/components/schemas/s%d"},"b":{"$ref":"#/components/schemas/s%d"}}},`, i, i+1, i/2)
	}
	chain.WriteString(`"s20000":{"$ref":"#/components/schemas/s20000"}}}}`)
	return map[string][]byte{
		"empty": nil, "list": []byte("[1]"), "other": []byte("{\"a\":1}"), "cut": []byte(`{"openapi":"3.1.0","paths":{"/a`), "null": []byte("openapi: 3.1.0\npaths: null\ninfo: []\ncomponents: 4\nservers: {}\ntags: x\n"),
		"deep": []byte(`{"openapi":"3.1.0","x":` + strings.Repeat(`[`, 5000) + strings.Repeat(`]`, 5000) + "}"), "bomb": []byte(bomb.String()), "chain": []byte(chain.String()),
		"self":  []byte("openapi: 3.1.0\npaths:\n  /a:\n    $ref: '#/paths/~1a'\n  /b:\n    get: {parameters: [{$ref: '#/paths/~1b/get/parameters/0'}], responses: {'200': {$ref: '#/paths/~1b/get/responses/200'}}}\n"),
		"types": []byte("swagger: 2\nhost: {}\nschemes: http\npaths: {/a: [1], /b: {get: 4, put: {parameters: {a: 1}, responses: [1], security: 4, callbacks: []}}}\n"),
		"root":  []byte("openapi: 3.1.0\npaths: {/a: {get: {responses: {'200': {description: x, content: {application/json: {schema: {$ref: '#'}}}}}}}}\n"),
	}
}

// Whatever comes is answered, with an error that names a place or with findings.
func TestHostile(t *testing.T) {
	for name, data := range hostile() {
		r, err := audit.Audit(name, data, options)
		if err != nil {
			if sallyport.KindOf(err) != sallyport.Invalid || !strings.HasPrefix(err.Error(), name+":") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if len(r.Findings) > 5*len(audit.Checks()) {
			t.Errorf("%s: %d findings are kept", name, len(r.Findings))
		}
	}
}

func FuzzAudit(f *testing.F) {
	for _, data := range hostile() {
		if len(data) < 4096 {
			f.Add(data)
		}
	}
	f.Add([]byte(`{"openapi":"3.0.0","servers":[{"url":"http://{a}:b@[::"}],"paths":{"//{":{"get":{"responses":{"":{}}}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := audit.Audit("x", data, options)
		if err != nil {
			return
		}
		for _, format := range audit.Formats {
			if err := audit.Write(&bytes.Buffer{}, format, []*audit.Report{r}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestReport(t *testing.T) {
	data := document(t, "base", map[string]any{"$ONE/security": []any{}, "$ONE/operationId": nil, "$SCHEMES/b": map[string]any{"type": "http", "scheme": "basic"}, "/servers": []any{map[string]any{"url": "http://api.example.com"}}})
	r := audited(t, data)
	if r.Worst() != sallyport.High || r.Score >= audited(t, document(t, "base", nil)).Score || r.Operations != 3 {
		t.Errorf("worst %s, score %d, %d operations", r.Worst(), r.Score, r.Operations)
	}
	before := r.Score
	ig, err := audit.ParseIgnore("transport.plain-server@*=a gateway in front speaks TLS")
	if err != nil {
		t.Fatal(err)
	}
	other, err := audit.ParseIgnore("auth.read-open@/v1/none=no such path")
	if err != nil {
		t.Fatal(err)
	}
	if unused := r.Ignore([]audit.Ignore{ig, other}); len(unused) != 1 || r.Worst() != sallyport.Medium || r.Score <= before {
		t.Errorf("after ignoring: unused %v, worst %s, score %d of before %d", unused, r.Worst(), r.Score, before)
	}
	for _, bad := range []string{"", "auth.none@*", "auth.none=x", "no.such@*=x", "auth.none@*= "} {
		if _, err := audit.ParseIgnore(bad); sallyport.KindOf(err) != sallyport.Invalid {
			t.Errorf("ignore %q: %v", bad, err)
		}
	}
	out := map[string]*bytes.Buffer{}
	for _, format := range audit.Formats {
		out[format] = &bytes.Buffer{}
		if err := audit.Write(out[format], format, []*audit.Report{r}); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
	if strings.Contains(out["text"].String(), "transport.plain-server") || !strings.Contains(out["text"].String(), "1 ignored") {
		t.Errorf("text %s", out["text"])
	}
	if err := audit.Write(&bytes.Buffer{}, "none", nil); err == nil {
		t.Error("an unknown format is written")
	}
	// What build servers demand of SARIF 2.1.0 (sections 3.13, 3.27, 3.30, 3.35).
	var s struct {
		Version string
		Schema  string `json:"$schema"`
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name  string
					Rules []struct {
						ID                   string
						ShortDescription     struct{ Text string }
						DefaultConfiguration struct{ Level string }
					}
				}
			}
			Results []struct {
				RuleID    string
				RuleIndex int
				Level     string
				Message   struct{ Text string }
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine, StartColumn int }
					}
				}
				PartialFingerprints map[string]string
				Suppressions        []struct{ Kind, Justification string }
			}
		}
	}
	if err := json.Unmarshal(out["sarif"].Bytes(), &s); err != nil || s.Version != "2.1.0" || s.Schema == "" || len(s.Runs) != 1 || len(s.Runs[0].Results) != len(r.Findings) {
		t.Fatalf("sarif: %v", err)
	}
	rules, suppressed := s.Runs[0].Tool.Driver.Rules, 0
	for _, x := range s.Runs[0].Results {
		suppressed += len(x.Suppressions)
		if rules[x.RuleIndex].ID != x.RuleID || x.Message.Text == "" || len(x.Locations) != 1 || x.Locations[0].PhysicalLocation.Region.StartLine < 1 || x.Locations[0].PhysicalLocation.Region.StartColumn < 1 ||
			x.Locations[0].PhysicalLocation.ArtifactLocation.URI != "api.yaml" || x.PartialFingerprints["check/v1"] == "" || !strings.Contains("error warning note", x.Level) {
			t.Errorf("sarif result %+v", x)
		}
	}
	if suppressed != 1 {
		t.Errorf("%d results are suppressed", suppressed)
	}
	var suites struct {
		Suites []struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(out["junit"].Bytes(), &suites); err != nil || len(suites.Suites) != 1 || suites.Suites[0].Tests != len(audit.Checks()) || suites.Suites[0].Failures == 0 {
		t.Errorf("junit: %v %+v", err, suites)
	}
	found := r.AsFindings(sallyport.Asset{API: "orders"}, "audit")
	ids := map[string]bool{}
	for _, f := range found {
		if ids[f.Rule] || !strings.HasPrefix(f.Rule, "spec.") || f.Severity == "" || f.Asset.API != "orders" || len(f.Evidence) == 0 || f.Rule == "spec.transport.plain-server" {
			t.Errorf("finding %+v", f)
		}
		ids[f.Rule] = true
	}
}

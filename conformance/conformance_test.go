package conformance_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/conformance"
	"sallyport.dev/spec"
	"sallyport.dev/test/lab/mutants"
)

const small = `
openapi: 3.0.3
info: {title: small, version: "1"}
paths:
  /words:
    get:
      parameters:
        - {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 10}}
      responses:
        "200": {description: ok, content: {application/json: {schema: {type: object, required: [n], properties: {n: {type: integer}}}}}}
        "400": {description: no}
`

func load(t testing.TB, document string) *spec.Set {
	t.Helper()
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "api.yaml", Data: []byte(document)}}, spec.Options{Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func serve(t testing.TB, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// words is a correct server of the small API; defect changes its answer.
func words(defect func(w http.ResponseWriter, r *http.Request) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "frame-ancestors 'none'")
		if defect != nil && defect(w, r) {
			return
		}
		limit := r.URL.Query()["limit"]
		switch {
		case r.URL.Path != "/words":
			w.WriteHeader(404)
		case r.Method == "OPTIONS":
			w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		case r.Method != "GET" && r.Method != "HEAD":
			w.Header().Set("Allow", "GET, HEAD, OPTIONS")
			w.WriteHeader(405)
		case len(limit) > 0 && (len(limit[0]) > 2 || strings.Trim(limit[0], "0123456789") != "" || limit[0] == "0" || len(limit[0]) == 2 && limit[0] != "10"):
			w.WriteHeader(400)
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"n":1}`)
		}
	}
}

func at(path string, f func(http.ResponseWriter, *http.Request)) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != path || r.Method != "GET" {
			return false
		}
		f(w, r)
		return true
	}
}

func TestDefectsAreFoundAndCorrectServersAreNot(t *testing.T) {
	for name, x := range map[string]struct {
		defect func(http.ResponseWriter, *http.Request) bool
		want   string
	}{
		"correct": {nil, ""},
		"body": {at("/words", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"n":"one"}`)
		}), "contract.body"},
		"media type": {at("/words", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `{"n":1}`)
		}), "contract.media-type"},
		"status": {at("/words", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(203) }), "contract.status-undeclared"},
		"fails":  {at("/words", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }), "contract.server-error"},
		"accepts all": {at("/words", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"n":1}`)
		}), "reject.range"},
		"trace": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == "TRACE" {
				fmt.Fprint(w, "ok")
			}
			return r.Method == "TRACE"
		}, "contract.method-undeclared"},
		"debug": {at("/debug/pprof/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "heap") }), "security.debug-route"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := conformance.Run(t.Context(), conformance.Plan{API: "small", Spec: load(t, small), Target: serve(t, words(x.defect))})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			found := x.want == ""
			for _, f := range r.Findings {
				got = append(got, f.Check)
				found = found || f.Check == x.want && strings.Contains(f.Curl, "curl -i -X")
			}
			if !found || x.want == "" && len(got) > 0 || r.Passed != (x.want == "") {
				t.Errorf("found %v, want %q; passed %v\n%+v", got, x.want, r.Passed, r.Findings)
			}
		})
	}
}

func TestShopAndItsMutants(t *testing.T) {
	t.Parallel()
	s, err := mutants.Find("shop")
	if err != nil {
		t.Fatal(err)
	}
	run := func(mutant string) *conformance.Report {
		key := make([]byte, 32)
		rand.Read(key)
		server := httptest.NewServer(s.New(mutants.Options{Mutant: mutant, Key: key}))
		defer server.Close()
		p := conformance.Plan{Spec: load(t, string(s.Document)), Target: server.URL}
		for _, i := range s.Identities(key) {
			p.Identities = append(p.Identities, conformance.Identity{Name: i.Name, Role: i.Role, Token: i.Token})
		}
		r, err := conformance.Run(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := run(""); len(r.Findings) > 0 {
		t.Errorf("findings on the correct server: %+v", r.Findings)
	}
	for _, id := range []string{"shop-076", "shop-044", "shop-035"} { // object level, range, idempotency
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			if r := run(id); r.Passed {
				t.Error("it is not found")
			}
		})
	}
}

func TestTargetsThatMisbehave(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	for name, x := range map[string]struct {
		h    http.HandlerFunc
		want string
	}{
		"hangs": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "contract.answers"},
		"streams": {words(at("/words", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte("["), 4096)); err != nil {
					return
				}
			}
		})), "contract.body"},
		"limits": {words(at("/words", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(429)
			n.Add(1)
		})), ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := conformance.Run(t.Context(), conformance.Plan{Spec: load(t, small), Target: serve(t, x.h),
				Budget: conformance.Budget{Requests: 200, Time: 3 * time.Second, Timeout: 60 * time.Millisecond, Body: 64 << 10}})
			if err != nil {
				t.Fatal(err)
			}
			found := x.want == ""
			for _, f := range r.Findings {
				found = found || f.Check == x.want
			}
			if name == "hangs" && !found || r.Requests > 210 {
				t.Errorf("%d requests, findings %+v, want %s", r.Requests, r.Findings, x.want)
			}
			if name == "limits" && !strings.Contains(strings.Join(r.NotRun, "\n"), "429") {
				t.Errorf("not run: %v, want a word on 429", r.NotRun)
			}
		})
	}
	for _, target := range []string{"", "ftp://x", "http://", "http://u:p@x", "http://x?q=1"} {
		if _, err := conformance.Run(t.Context(), conformance.Plan{Spec: load(t, small), Target: target}); err == nil {
			t.Errorf("target %q is not refused", target)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := conformance.Run(ctx, conformance.Plan{Spec: load(t, small), Target: serve(t, words(nil))}); err == nil {
		t.Error("a cancelled run has no error")
	}
}

func TestReports(t *testing.T) {
	r, err := conformance.Run(t.Context(), conformance.Plan{API: "small", Spec: load(t, small), Target: serve(t, words(at("/words", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(203) })))})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range conformance.Formats {
		var b bytes.Buffer
		if err := r.Write(&b, f, false); err != nil {
			t.Fatal(err)
		}
		out[f] = b.String()
		if !strings.Contains(out[f], "contract.status-undeclared") {
			t.Errorf("%s does not hold the finding:\n%s", f, out[f])
		}
	}
	var v struct {
		Runs []struct{ Results []struct{ RuleID string } }
	}
	if err := json.Unmarshal([]byte(out["sarif"]), &v); err != nil || len(v.Runs) != 1 || len(v.Runs[0].Results) != len(r.Findings) {
		t.Errorf("sarif: %v %+v", err, v)
	}
	var suite struct {
		Failures int `xml:"failures,attr"`
	}
	if err := xml.Unmarshal([]byte(out["junit"]), &suite); err != nil || suite.Failures == 0 {
		t.Errorf("junit: %v %+v", err, suite)
	}
	if len(conformance.Checks()) < 40 {
		t.Errorf("%d kinds of check", len(conformance.Checks()))
	}
}

// The engine alone: requests a second against a server that does nothing.
func BenchmarkRequests(b *testing.B) {
	set, target := load(b, small), serve(b, words(nil))
	for b.Loop() {
		r, err := conformance.Run(b.Context(), conformance.Plan{Spec: set, Target: target})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(r.Requests)/r.Duration.Seconds(), "requests/s")
	}
}

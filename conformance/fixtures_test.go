package conformance_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/conformance"
)

const page = `
openapi: 3.0.3
info: {title: page, version: "1"}
components: {securitySchemes: {key: {type: apiKey, in: header, name: X-Key}}}
paths:
  /page:
    get:
      deprecated: true
      responses: {"200": {description: ok, headers: {Sunset: {schema: {type: string}}}, content: {text/plain: {schema: {type: string}}}}}
  /list:
    get:
      responses: {"200": {description: ok, content: {application/json: {schema: {type: array, items: {type: object, properties: {id: {type: integer}}}}}}}}
  /mine:
    get:
      security: [{key: []}]
      responses: {"200": {description: ok, content: {text/plain: {schema: {type: string}}}}, "401": {description: no}}
  /notes:
    post:
      requestBody: {required: true, content: {text/plain: {schema: {type: string}}}}
      responses: {"200": {description: ok}}
`

// pages is a correct server of the page API; defect is the one thing that it does wrong.
func pages(defect string) http.HandlerFunc {
	var n atomic.Int64
	modified := time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		if defect != "framing" {
			h.Set("Content-Security-Policy", "frame-ancestors 'none'")
		}
		allow, known := map[string]string{"/page": "GET, HEAD, OPTIONS", "/list": "GET, HEAD, OPTIONS", "/mine": "GET, HEAD, OPTIONS", "/notes": "POST, OPTIONS"}[r.URL.Path]
		if !known {
			w.WriteHeader(404)
			return
		}
		h.Set("Allow", allow)
		switch {
		case r.Method == "OPTIONS":
			if origin := r.Header.Get("Origin"); origin != "" && defect == "preflight" {
				h.Set("Access-Control-Allow-Origin", origin)
			}
			w.WriteHeader(204)
		case !strings.Contains(allow, r.Method):
			w.WriteHeader(405)
		case r.URL.Path == "/mine":
			if r.Header.Get("X-Key") != "right" {
				w.WriteHeader(401)
				return
			}
			h.Set("Content-Type", "text/plain")
			io.WriteString(w, "mine")
		case r.URL.Path == "/list":
			h.Set("Content-Type", "application/json")
			if defect == "order" && n.Add(1)%2 == 0 {
				io.WriteString(w, `[{"id":2},{"id":1}]`)
				return
			}
			io.WriteString(w, `[{"id":1},{"id":2}]`)
		case r.URL.Path == "/notes":
			if ct, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); ct != "text/plain" {
				w.WriteHeader(415)
				return
			}
			if b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20)); err != nil || len(b) == 0 {
				w.WriteHeader(400)
			}
		default:
			h.Set("Content-Type", "text/plain")
			h.Set("Sunset", "Sun, 06 Nov 2044 08:49:37 GMT")
			if defect == "sunset" {
				h.Set("Sunset", "some day")
			}
			switch defect {
			case "since":
				h.Set("Last-Modified", modified.Format(http.TimeFormat))
				io.WriteString(w, "a page")
			case "range":
				h.Set("Accept-Ranges", "bytes")
				io.WriteString(w, "a page")
			default:
				http.ServeContent(w, r, "", modified, strings.NewReader("a page"))
			}
		}
	}
}

// Each kind of check of this table finds the server that lacks what it looks
// for, and lets the correct one pass after having looked.
func TestEachCheckFindsItsDefect(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, defect string) *conformance.Report {
		t.Helper()
		server := httptest.NewServer(pages(defect))
		t.Cleanup(server.Close)
		p := conformance.Plan{API: "page", Spec: load(t, page), Target: server.URL, Identities: []conformance.Identity{{Name: "ann", Token: "right"}}}
		p.Stop = func(context.Context) error {
			if defect == "stop" {
				server.CloseClientConnections()
			}
			return nil
		}
		r, err := conformance.Run(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	right := run(t, "")
	if len(right.Findings) > 0 {
		t.Errorf("the correct server: %+v", right.Findings)
	}
	for defect, id := range map[string]string{"framing": "security.framing", "preflight": "security.preflight", "order": "operations.order",
		"sunset": "contract.sunset", "since": "contract.modified-since", "range": "contract.range", "stop": "operations.graceful-stop"} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			if right.Coverage.Checks[id] == 0 {
				t.Error("it has not looked at the correct server")
			}
			var got []string
			for _, f := range run(t, defect).Findings {
				if got = append(got, f.Check); f.Check == id {
					return
				}
			}
			t.Errorf("found %v", got)
		})
	}
	for _, c := range conformance.Checks() {
		if c.Title == "" || c.Why == "" || c.CWE == "" || c.Level == "" {
			t.Errorf("%s: a check has a title, a reason, a CWE and a level: %+v", c.ID, c)
		}
	}
}

// A safe run of an API of fifty operations whose instance works 2 ms on each
// answer: how long it takes, and how much of the instance's time.
func BenchmarkSafeFifty(b *testing.B) {
	var doc strings.Builder
	doc.WriteString("openapi: 3.0.3\ninfo: {title: fifty, version: '1'}\npaths:\n")
	for i := range 25 {
		fmt.Fprintf(&doc, "  /things%d:\n    get:\n      parameters: [{name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 10}}]\n      responses: {'200': {description: ok}, '400': {description: no}}\n", i)
		fmt.Fprintf(&doc, "  /things%d/{id}:\n    get:\n      parameters: [{name: id, in: path, required: true, schema: {type: integer, minimum: 1}, example: 1}]\n      responses: {'200': {description: ok}, '400': {description: no}, '404': {description: none}}\n", i)
	}
	var busy atomic.Int64
	target := serve(b, func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		for time.Since(begin) < 2*time.Millisecond { // work, not sleep
		}
		w.WriteHeader(200)
		busy.Add(int64(time.Since(begin)))
	})
	set := load(b, doc.String())
	var worst, took time.Duration
	for b.Loop() {
		r, err := conformance.Run(b.Context(), conformance.Plan{Spec: set, Target: target, Profile: conformance.Safe})
		if err != nil {
			b.Fatal(err)
		}
		took, worst = took+r.Duration, max(worst, r.Duration)
		b.ReportMetric(float64(r.Requests), "requests/run")
	}
	b.ReportMetric(worst.Seconds(), "longest-s")
	b.ReportMetric(100*float64(busy.Load())/float64(took), "%busy")
}

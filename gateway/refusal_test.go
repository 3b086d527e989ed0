package gateway_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
)

// Whoever is refused, by whichever front and whichever part of the gateway, is
// told an id that is the same in the header and in the body, and under which
// the refusal is on record.
func TestRefusalsHaveAnID(t *testing.T) {
	t.Parallel()
	items := shop(t)
	items.API = sallyport.API{Name: "items", Path: "/items"}
	d := open(t, gateway.Options{
		Program: program(t, items, guard.API{API: sallyport.API{Name: "shop", Path: "/shop"}, Policy: policy.API{Mode: sallyport.Enforce}}),
		Bounds:  gateway.Bounds{Target: 1000, Header: 4000, HeaderLines: 40, Body: 1000},
	})
	check := func(t *testing.T, res *http.Response, body string, status int, stage sallyport.Stage, rule string) {
		t.Helper()
		if values := res.Header["X-Request-Id"]; len(values) != 1 {
			t.Fatalf("X-Request-Id %q of answer %d %s", values, res.StatusCode, body)
		}
		x := d.rec.find(t, wantProblem(t, res, body, status).RequestID)
		if x.Status != status || x.Decision.Status != status || x.Decision.Stage != stage || !x.Decision.Refused() || rule != "" && x.Decision.Reasons[0].Rule != rule {
			t.Errorf("record %+v, want stage %s, rule %s", x, stage, rule)
		}
	}
	const host = "Host: a\r\n"
	for _, tt := range []struct {
		name, request string
		status        int
		rule          string
	}{
		{"framing", "POST / HTTP/1.1\r\n" + host + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "framing.cl-te"},
		{"first byte", "\x16\x03\x01\x00\x01\x01", 400, "line.not-http"},
		{"target", "GET /" + strings.Repeat("x", 1100) + " HTTP/1.1\r\n" + host + "\r\n", 414, "target.long"},
		{"header", "GET / HTTP/1.1\r\n" + host + "X-A: " + strings.Repeat("x", 6000) + "\r\n\r\n", 431, "header.bytes"},
		{"lines", "GET / HTTP/1.1\r\n" + host + strings.Repeat("X-A: b\r\n", 60) + "\r\n", 431, "header.lines"},
		{"expectation", "POST / HTTP/1.1\r\n" + host + "Expect: tea\r\nContent-Length: 2\r\n\r\n", 417, "expect.unknown"},
		{"coding", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip\r\n\r\n", 501, ""},
		{"tunnel", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501, "method.connect"},
		{"version", "GET / HTTP/3.0\r\n" + host + "\r\n", 505, "version.unsupported"},
		{"trace", "TRACE / HTTP/1.1\r\n" + host + "\r\n", 501, "method.unsupported"},
		{"stated body", "POST / HTTP/1.1\r\n" + host + "Content-Length: 2000\r\n\r\n", 413, "body.bytes"},
		{"stated body that waits", "POST / HTTP/1.1\r\n" + host + "Expect: 100-continue\r\nContent-Length: 2000\r\n\r\n", 413, "body.bytes"},
		{"chunk", "POST /items HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "chunk.size"},
	} {
		t.Run("strict/"+tt.name, func(t *testing.T) {
			res, body := d.raw(t, tt.request)
			check(t, res, body, tt.status, sallyport.StageRequest, tt.rule)
		})
	}
	clients := d.three()
	for i, front := range []string{"strict", "h2", "h3"} {
		for _, tt := range []struct {
			name, method, path, body string
			header                   http.Header
			status                   int
			stage                    sallyport.Stage
		}{
			{"target", "GET", "/" + strings.Repeat("x", 1100), "", nil, 414, sallyport.StageRequest},
			{"header", "GET", "/shop", "", http.Header{"X-A": {strings.Repeat("x", 6000)}}, 431, sallyport.StageRequest},
			{"twice", "GET", "/shop", "", http.Header{"Authorization": {"a", "b"}}, 400, sallyport.StageRequest},
			{"trace", "TRACE", "/shop", "", nil, 501, sallyport.StageRequest},
			{"stated body", "POST", "/shop", strings.Repeat("x", 2000), nil, 413, sallyport.StageRequest},
			{"unknown path", "GET", "/elsewhere", "", nil, 404, sallyport.StageIdentify},
			{"no instance", "GET", "/shop", "", nil, 503, sallyport.StageForward},
		} {
			t.Run(front+"/"+tt.name, func(t *testing.T) {
				req, err := http.NewRequest(tt.method, d.url(tt.path), nil)
				if err != nil {
					t.Fatal(err)
				}
				if tt.body != "" {
					req.Body, req.ContentLength = io.NopCloser(strings.NewReader(tt.body)), int64(len(tt.body))
				}
				for name, values := range tt.header {
					req.Header[name] = values
				}
				res, err := clients[i].Do(req)
				check(t, res, read(t, res, err), tt.status, tt.stage, "")
			})
		}
	}
}

// The same holds for a local handler behind its own guard.
func TestGuardedRefusalsHaveAnID(t *testing.T) {
	t.Parallel()
	rec, p := newRecorder(), program(t, shop(t))
	h := gateway.Guarded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Error("asked") }), func() *guard.Program { return p }, "console", rec)
	for _, tt := range []struct {
		name  string
		body  io.Reader
		stage sallyport.Stage
	}{
		{"not to the specification", strings.NewReader(`{"name":1}`), sallyport.StageValidate},
		{"broken off", io.MultiReader(strings.NewReader(`{"na`), brokenBody{}), sallyport.StageRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/items", tt.body)
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			x := rec.find(t, wantProblem(t, w.Result(), w.Body.String(), 400).RequestID)
			if x.Decision.Stage != tt.stage || x.Status != 400 || x.Door != "console" {
				t.Errorf("record %+v", x)
			}
		})
	}
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

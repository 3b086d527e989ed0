package gateway_test

import (
	"compress/gzip"
	"fmt"
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

// What the contract does not name is taken out of answers, whatever way they
// come and go, and what their heads say is true of what is sent.
func TestAnswersAreStripped(t *testing.T) {
	const body, clean = `{"n": 1, "secret": "x" }`, `{"n": 1 }`
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Etag", `"one"`)
		h.Set("Content-Digest", "sha-256=:AAAA:")
		answer := body
		if r.URL.Query().Get("of") == "clean" {
			answer = clean
		}
		switch r.URL.Query().Get("as") {
		case "gzip": // although nobody asked for it
			h.Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			io.WriteString(z, answer)
			z.Close()
			return
		case "negotiated":
			if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") || r.Header.Get("Range") != "" {
				t.Errorf("asked with %v", r.Header)
			}
		case "chunks":
			io.WriteString(w, answer[:5])
			w.(http.Flusher).Flush()
			io.WriteString(w, answer[5:])
			return
		case "unknown":
			h.Set("Content-Encoding", "br")
		}
		if r.Header.Get("If-None-Match") == `"one"` {
			w.WriteHeader(304)
			return
		}
		h.Set("Content-Length", fmt.Sprint(len(answer)))
		if r.Method != "HEAD" {
			io.WriteString(w, answer)
		}
	})
	api := shop(t)
	api.Policy.Answers = policy.Answers{Mode: sallyport.Enforce, Undeclared: policy.StripIt, Oversize: policy.RefuseAll}
	fronts(t, func(t *testing.T, front gateway.Front) {
		d := open(t, gateway.Options{Program: program(t, api), APIs: to(up.URL), Front: front})
		for _, h2 := range []bool{false, true} {
			for _, c := range []struct {
				method, target string
				header         [2]string
				status         int
				body, etag     string
			}{
				{"GET", "/items", [2]string{}, 200, clean, ""},
				{"GET", "/items?as=chunks", [2]string{}, 200, clean, ""},
				{"GET", "/items?as=gzip", [2]string{}, 200, clean, ""},
				{"GET", "/items?as=negotiated", [2]string{"Accept-Encoding", "gzip"}, 200, clean, ""},
				{"GET", "/items?as=negotiated", [2]string{"Range", "bytes=0-9"}, 200, clean, ""},
				{"GET", "/items?as=unknown", [2]string{}, 502, "", ""},
				{"GET", "/items?of=clean", [2]string{}, 200, clean, `"one"`},
				{"GET", "/items?of=clean&as=chunks", [2]string{}, 200, clean, `"one"`},
				{"GET", "/items?of=clean", [2]string{"If-None-Match", `"one"`}, 304, "", `"one"`},
				{"HEAD", "/items", [2]string{}, 200, "", ""},
			} {
				req, _ := http.NewRequest(c.method, d.url(c.target), nil)
				if c.header[0] != "" {
					req.Header.Set(c.header[0], c.header[1])
				}
				if c.header[0] != "Accept-Encoding" {
					req.Header.Set("Accept-Encoding", "identity")
				}
				res, err := d.client(h2).Do(req)
				got := read(t, res, err)
				if res.StatusCode != c.status || c.status != 502 && got != c.body || res.Header.Get("Etag") != c.etag && c.status != 502 || res.Header.Get("Content-Encoding") != "" && c.status == 200 {
					t.Errorf("h2 %v: %s %s %v: got %d %q %v, want %d %q", h2, c.method, c.target, c.header, res.StatusCode, got, res.Header, c.status, c.body)
				}
				if digest := res.Header.Get("Content-Digest"); (digest != "") != (c.etag != "") {
					t.Errorf("%s %s: digest %q, etag %q", c.method, c.target, digest, c.etag)
				}
				if n := res.ContentLength; c.method == "GET" && c.status == 200 && n >= 0 && n != int64(len(got)) || c.method == "HEAD" && n > 0 {
					t.Errorf("%s %s: Content-Length %d for %d bytes", c.method, c.target, n, len(got))
				}
			}
		}
	})
}

// Observed, the same answers pass untouched, also in their encodings.
func TestAnswersAreObserved(t *testing.T) {
	const body = `{"n": 1, "secret": "x" }`
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Etag", `"one"`)
		io.WriteString(w, body)
	})
	api := shop(t)
	api.Policy.Answers = policy.Answers{Undeclared: policy.StripIt}
	d := open(t, gateway.Options{Program: program(t, api), APIs: to(up.URL)})
	res, err := d.client(false).Get(d.url("/items"))
	if got := read(t, res, err); got != body || res.Header.Get("Etag") != `"one"` {
		t.Errorf("got %s %v", got, res.Header)
	}
	x := d.rec.find(t, res.Header.Get("X-Request-Id"))
	if len(x.Decision.Reasons) != 1 || x.Decision.Reasons[0].Rule != "answer.undeclared" || x.Decision.Reasons[0].Place.Name != "/secret" || x.Decision.Reasons[0].Mode != sallyport.Observe {
		t.Errorf("record %+v", x.Decision)
	}
}

// A local handler's answers are treated alike.
func TestGuardedAnswersAreStripped(t *testing.T) {
	api := shop(t)
	api.Policy.Answers = policy.Answers{Mode: sallyport.Enforce, Undeclared: policy.StripIt}
	p := program(t, api)
	s := httptest.NewServer(gateway.Guarded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"n":1,`)
		w.(http.Flusher).Flush()
		io.WriteString(w, `"secret":2}`)
	}), func() *guard.Program { return p }, "console", nil))
	defer s.Close()
	res, err := http.Get(s.URL + "/items")
	if body := read(t, res, err); body != `{"n":1}` || res.ContentLength != 7 {
		t.Errorf("got %s, length %d", body, res.ContentLength)
	}
}

// An encoded body goes on plain, with a head that says so.
func TestDecodedBodies(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %v %v %d", b, r.Header["Content-Encoding"], r.Header["Content-Digest"], r.ContentLength)
	})
	api := shop(t)
	api.Policy.Bounds.Encoded = policy.DecodeIt
	fronts(t, func(t *testing.T, front gateway.Front) {
		d := open(t, gateway.Options{Program: program(t, api), APIs: to(up.URL), Front: front})
		for _, h2 := range []bool{false, true} {
			for _, length := range []int64{0, -1} {
				var b strings.Builder
				z := gzip.NewWriter(&b)
				io.WriteString(z, `{"name":"jacket"}`)
				z.Close()
				req, _ := http.NewRequest("POST", d.url("/items"), strings.NewReader(b.String()))
				if length < 0 {
					req.ContentLength = -1
				}
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("Content-Encoding", "gzip")
				req.Header.Set("Content-Digest", "sha-256=:AAAA:")
				res, err := d.client(h2).Do(req)
				if got := read(t, res, err); got != `{"name":"jacket"} [] [] 17` {
					t.Errorf("h2 %v, length %d: got %d %s", h2, length, res.StatusCode, got)
				}
			}
		}
	})
}

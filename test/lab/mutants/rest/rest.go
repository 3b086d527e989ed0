// Package rest is what the fixture servers share: routes with 405 and Allow,
// problem details (RFC 9457), JSON bodies checked against a schema, entity tags
// and preconditions (RFC 9110 section 13), replayed answers by idempotency key,
// negotiation, bearer tokens, a table of resources and a rate limit. In come
// requests; out go answers. Each check has a name, and at construction one name
// can be left out, which is how mutants are made; no check is consulted by name
// while a request waits, unless it is one that a server asks of Skip. It never
// writes to disk and never logs.
package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Skip is the name of the one check that is left out; "" leaves out none.
type Skip string

// Skips reports whether the check is left out.
func (s Skip) Skips(check string) bool { return s != "" && string(s) == check }

// A Problem is an error as callers see it (RFC 9457).
type Problem struct {
	Type   string       `json:"type"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail,omitempty"`
	Errors []FieldError `json:"errors,omitempty"`

	header map[string]string
}

// A FieldError is one value that a request must not have.
type FieldError struct {
	Field string `json:"field"`
	Rule  string `json:"rule"`
}

func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

// Fail makes a problem; detail is for callers and must hold nothing internal.
func Fail(status int, detail string) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

// With adds a header to the answer.
func (p *Problem) With(name, value string) *Problem {
	if p.header == nil {
		p.header = map[string]string{}
	}
	p.header[name] = value
	return p
}

// Invalid is the problem of a request that breaks a rule of its schema.
func Invalid(field, rule string) *Problem {
	p := Fail(http.StatusBadRequest, "the request breaks a rule of its schema")
	p.Errors = []FieldError{{field, rule}}
	return p
}

// A Handler answers or gives an error; other errors than a Problem are answered
// with 500 and no detail.
type Handler func(http.ResponseWriter, *http.Request) error

// A Route is one operation.
type Route struct {
	Method, Path string
	Handle       Handler
}

// On is a route.
func On(method, path string, handle Handler) Route { return Route{method, path, handle} }

// Routes is the handler of a whole API. A GET also answers HEAD; OPTIONS answers
// 204 with Allow everywhere; other methods answer 405 with Allow.
func Routes(routes ...Route) http.Handler {
	byPath := map[string]map[string]Handler{}
	for _, r := range routes {
		if byPath[r.Path] == nil {
			byPath[r.Path] = map[string]Handler{}
		}
		byPath[r.Path][r.Method] = r.Handle
	}
	mux := http.NewServeMux()
	for path, methods := range byPath {
		allowed := []string{http.MethodOptions}
		for m := range methods {
			allowed = append(allowed, m)
		}
		if methods[http.MethodGet] != nil {
			allowed = append(allowed, http.MethodHead)
		}
		slices.Sort(allowed)
		mux.Handle(path, dispatch(methods, strings.Join(slices.Compact(allowed), ", ")))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { WriteProblem(w, Fail(404, "no such path")) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		if r.Method == http.MethodHead {
			w = &headWriter{ResponseWriter: w}
			defer w.(*headWriter).finish()
		}
		if r.URL.Path == "" || r.URL.Path[0] != '/' || path.Clean(r.URL.Path) != r.URL.Path {
			WriteProblem(w, Fail(404, "no such path"))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func dispatch(methods map[string]Handler, allow string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		handle := methods[method]
		switch {
		case handle != nil:
			if err := handle(w, r); err != nil {
				WriteProblem(w, err)
			}
		case r.Method == http.MethodOptions:
			w.Header().Set("Allow", allow)
			w.WriteHeader(http.StatusNoContent)
		default:
			WriteProblem(w, Fail(http.StatusMethodNotAllowed, "the resource has no such method").With("Allow", allow))
		}
	}
}

// A headWriter drops the body and keeps its length.
type headWriter struct {
	http.ResponseWriter
	status, n int
}

func (w *headWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *headWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.n += len(b)
	return len(b), nil
}

func (w *headWriter) finish() {
	w.WriteHeader(http.StatusOK)
	if w.n > 0 && w.Header().Get("Content-Length") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(w.n))
	}
	w.ResponseWriter.WriteHeader(w.status)
}

// WriteProblem answers with an error.
func WriteProblem(w http.ResponseWriter, err error) {
	var p *Problem
	if !errors.As(err, &p) {
		p = Fail(http.StatusInternalServerError, "")
	}
	h := w.Header()
	for _, name := range []string{"ETag", "Last-Modified", "Location", "Link", "Content-Disposition"} {
		h.Del(name)
	}
	for k, v := range p.header {
		h.Set(k, v)
	}
	h.Set("Cache-Control", "no-store")
	write(w, p.Status, "application/problem+json", p)
}

// WriteJSON answers with a value.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	write(w, status, "application/json", v)
	return nil
}

func write(w http.ResponseWriter, status int, media string, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// Empty answers 204.
func Empty(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Negotiate picks the first of the offers that Accept admits with the highest
// quality (RFC 9110 section 12.5.1), or fails with 406.
func Negotiate(r *http.Request, offers ...string) (string, error) {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(accept) == "" {
		return offers[0], nil
	}
	best, at := "", 0.0
	for _, offer := range offers {
		if q := quality(accept, offer); q > at {
			best, at = offer, q
		}
	}
	if best == "" {
		return "", Fail(http.StatusNotAcceptable, "available: "+strings.Join(offers, ", "))
	}
	return best, nil
}

// quality is that of the most specific range that fits the offer.
func quality(accept, offer string) float64 {
	kind, _, _ := strings.Cut(offer, "/")
	best, q := 0, 0.0
	for part := range strings.SplitSeq(accept, ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		rank := 0
		switch media {
		case offer:
			rank = 3
		case kind + "/*":
			rank = 2
		case "*/*":
			rank = 1
		}
		if rank <= best {
			continue
		}
		best, q = rank, 1
		if s, ok := params["q"]; ok {
			q, err = strconv.ParseFloat(s, 64)
			if err != nil {
				q = 0
			}
		}
	}
	return q
}

// Match evaluates If-Match and If-None-Match for a resource with the entity
// tag. It fails with 412, says true when the answer is 304 and written, and
// with required it fails with 428 where there is no If-Match.
func Match(w http.ResponseWriter, r *http.Request, tag string, required bool) (bool, error) {
	if m := r.Header.Get("If-Match"); m != "" {
		if !listed(m, tag, false) {
			return false, Fail(http.StatusPreconditionFailed, "the resource has changed")
		}
	} else if required {
		return false, Fail(http.StatusPreconditionRequired, "If-Match is required")
	}
	if m := r.Header.Get("If-None-Match"); m != "" && listed(m, tag, true) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			w.Header().Set("ETag", tag)
			w.WriteHeader(http.StatusNotModified)
			return true, nil
		}
		return false, Fail(http.StatusPreconditionFailed, "the resource exists")
	}
	return false, nil
}

func listed(list, tag string, weak bool) bool {
	for part := range strings.SplitSeq(list, ",") {
		part = strings.TrimSpace(part)
		if weak {
			part = strings.TrimPrefix(part, "W/")
		}
		if part == "*" || part == tag {
			return true
		}
	}
	return false
}

// Tag is the entity tag of a version.
func Tag(version int) string { return `"v` + strconv.Itoa(version) + `"` }

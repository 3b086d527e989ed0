package defect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// An Answer is a whole answer before it is sent.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

type recorder struct{ Answer }

func (r *recorder) Header() http.Header { return r.Answer.Header }
func (r *recorder) WriteHeader(status int) {
	if r.Status == 0 {
		r.Status = status
	}
}

func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	r.Body = append(r.Body, b...)
	return len(b), nil
}

func record(h http.Handler, r *http.Request) *Answer {
	rec := &recorder{Answer{Header: http.Header{}}}
	h.ServeHTTP(rec, r)
	rec.WriteHeader(http.StatusOK)
	return &rec.Answer
}

func (a *Answer) send(w http.ResponseWriter, r *http.Request) {
	for k, v := range a.Header {
		w.Header()[k] = v
	}
	if a.Header.Get("Content-Length") != "" && r.Method != http.MethodHead {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.Body)))
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body)
}

// only sends the requests of one operation ("GET /products/{id}", "/" for all)
// through the mutated handler.
func only(operation string, h http.Handler, mutated http.HandlerFunc) http.Handler {
	if operation == "/" {
		return mutated
	}
	mux := http.NewServeMux()
	mux.Handle(operation, mutated)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == operation {
			mutated(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// Answers changes the answers of one operation; change sees the whole answer.
func Answers(operator, operation string, change func(*Answer, *http.Request)) Mutant {
	return Mutant{Operator: operator, wrap: func(h http.Handler, _ *Options) http.Handler {
		return only(operation, h, func(w http.ResponseWriter, r *http.Request) {
			a := record(h, r)
			change(a, r)
			a.send(w, r)
		})
	}}
}

// Requests changes what one operation is asked.
func Requests(operator, operation string, change func(*http.Request)) Mutant {
	return Mutant{Operator: operator, wrap: func(h http.Handler, _ *Options) http.Handler {
		return only(operation, h, func(w http.ResponseWriter, r *http.Request) {
			r = r.Clone(r.Context())
			change(r)
			h.ServeHTTP(w, r)
		})
	}}
}

// Status answers with another status.
func Status(operation string, from, to int) Mutant {
	return Answers("change the status", operation, func(a *Answer, _ *http.Request) {
		if a.Status == from {
			a.Status = to
		}
	})
}

// Media labels successful answers with another media type.
func Media(operation, media string) Mutant {
	return Answers("change the media type", operation, func(a *Answer, _ *http.Request) {
		if a.Status < 300 && len(a.Body) > 0 {
			a.Header.Set("Content-Type", media)
		}
	})
}

// Header sets a header of every answer with the status (0 for all); an empty
// value takes it away.
func Header(operation string, status int, name, value string) Mutant {
	operator := "change a header"
	if value == "" {
		operator = "take away a header"
	}
	return Answers(operator, operation, func(a *Answer, _ *http.Request) {
		if status != 0 && a.Status != status {
			return
		}
		if value == "" {
			a.Header.Del(name)
		} else {
			a.Header.Set(name, value)
		}
	})
}

// Ignore takes a header away from requests before the server sees it.
func Ignore(operation, name string) Mutant {
	return Requests("ignore a request header", operation, func(r *http.Request) { r.Header.Del(name) })
}

// Fresh makes each value of a request header one that was never there before.
func Fresh(operation, name string) Mutant {
	return Mutant{Operator: "change a request header", wrap: func(h http.Handler, _ *Options) http.Handler {
		var n atomic.Int64
		return only(operation, h, func(w http.ResponseWriter, r *http.Request) {
			r = r.Clone(r.Context())
			if v := r.Header.Get(name); v != "" && len(v) < 40 {
				r.Header.Set(name, v+"-"+strconv.FormatInt(n.Add(1), 10))
			}
			h.ServeHTTP(w, r)
		})
	}}
}

// Query changes the query before the server sees it.
func Query(operation string, change func(url.Values)) Mutant {
	return Requests("change a parameter", operation, func(r *http.Request) {
		q := r.URL.Query()
		change(q)
		u := *r.URL
		u.RawQuery = q.Encode()
		r.URL = &u
	})
}

// Body changes the JSON of successful answers.
func Body(operator, operation string, change func(v any) any) Mutant {
	return Answers(operator, operation, func(a *Answer, _ *http.Request) { a.rewrite(change) })
}

func (a *Answer) rewrite(change func(v any) any) {
	if a.Status >= 300 || !strings.Contains(a.Header.Get("Content-Type"), "json") {
		return
	}
	d := json.NewDecoder(bytes.NewReader(a.Body))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return
	}
	b, err := json.Marshal(change(v))
	if err == nil {
		a.Body = b
	}
}

// Member changes one member of the objects in successful answers: of the answer
// itself, or of the elements of its list "items". An absent member stays absent
// unless change gives one; change says false to take it away.
func Member(operator, operation, name string, change func(old any) (any, bool)) Mutant {
	return Body(operator, operation, func(v any) any {
		o, ok := v.(map[string]any)
		if !ok {
			return v
		}
		objects := []any{o}
		if items, ok := o["items"].([]any); ok && name != "items" && o[name] == nil {
			objects = items
		}
		for _, x := range objects {
			if o, ok := x.(map[string]any); ok {
				if n, keep := change(o[name]); keep {
					o[name] = n
				} else {
					delete(o, name)
				}
			}
		}
		return v
	})
}

// Missing takes a member away.
func Missing(operation, name string) Mutant {
	return Member("take away a member", operation, name, func(any) (any, bool) { return nil, false })
}

// Replaced gives a member another value.
func Replaced(operation, name string, value any) Mutant {
	return Member("change a member", operation, name, func(any) (any, bool) { return value, true })
}

// Added adds a member that the server knows but does not declare.
func Added(operation, name string, value any) Mutant {
	return Member("add a member", operation, name, func(any) (any, bool) { return value, true })
}

// Stringly gives numbers as strings.
func Stringly(operation, name string) Mutant {
	return Member("change a member's type", operation, name, func(old any) (any, bool) { return fmt.Sprint(old), true })
}

// Trace is what a program says when nobody catches its panic; nothing in it is
// of a real machine.
const Trace = "panic: runtime error: invalid memory address or nil pointer dereference\n\ngoroutine 41 [running]:\nexample.test/app/internal/handler.(*Store).Insert(0x0, {0xc000112000, 0x4})\n\t/srv/app/internal/handler/store.go:118 +0x2c\nnet/http.HandlerFunc.ServeHTTP(...)\n\t/usr/local/go/src/net/http/server.go:2294\n"

// Crash answers 500 where the server refuses a request with the status.
func Crash(operation string, refused int) Mutant {
	return Answers("crash in place of refusing", operation, func(a *Answer, _ *http.Request) {
		if a.Status == refused {
			a.Status = http.StatusInternalServerError
			a.Header = http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
			a.Body = []byte("internal server error\n")
		}
	})
}

// Verbose adds a detail to the answers that refuse with the status.
func Verbose(operation string, refused int, detail string) Mutant {
	return Answers("say too much in an error", operation, func(a *Answer, _ *http.Request) {
		if a.Status != refused {
			return
		}
		var p map[string]any
		if json.Unmarshal(a.Body, &p) != nil {
			return
		}
		p["detail"] = detail
		a.Body, _ = json.Marshal(p)
	})
}

// Plain answers errors as plain text in place of problem details.
func Plain(operation string) Mutant {
	return Answers("flatten an error", operation, func(a *Answer, _ *http.Request) {
		if a.Status >= 400 {
			a.Header.Set("Content-Type", "text/plain; charset=utf-8")
			a.Body = []byte(http.StatusText(a.Status) + "\n")
		}
	})
}

// Slow waits before every answer of one operation.
func Slow(operation string, d time.Duration) Mutant {
	return Mutant{Operator: "wait", wrap: func(h http.Handler, o *Options) http.Handler {
		return only(operation, h, func(w http.ResponseWriter, r *http.Request) {
			o.Sleep(r.Context(), d)
			h.ServeHTTP(w, r)
		})
	}}
}

// Crowded answers 500 while more than most requests of one operation are in
// hand, as a pool of connections does that has run dry.
func Crowded(operation string, most int32) Mutant {
	return Mutant{Operator: "run out of connections", wrap: func(h http.Handler, o *Options) http.Handler {
		var busy atomic.Int32
		return only(operation, h, func(w http.ResponseWriter, r *http.Request) {
			defer busy.Add(-1)
			if busy.Add(1) > most {
				http.Error(w, "internal server error", http.StatusInternalServerError)
				return
			}
			o.Sleep(r.Context(), 2*time.Millisecond)
			h.ServeHTTP(w, r)
		})
	}}
}

// Wavering changes every second successful answer of one operation.
func Wavering(operation string, change func(v any) any) Mutant {
	return Mutant{Operator: "answer differently in turn", wrap: func(h http.Handler, _ *Options) http.Handler {
		var n atomic.Int64
		return only(operation, h, func(w http.ResponseWriter, r *http.Request) {
			a := record(h, r)
			if n.Add(1)%2 == 0 {
				a.rewrite(change)
			}
			a.send(w, r)
		})
	}}
}

// Flaky fails every nth request of one operation.
func Flaky(operation string, nth int64) Mutant {
	return Mutant{Operator: "fail now and then", wrap: func(h http.Handler, _ *Options) http.Handler {
		var n atomic.Int64
		return only(operation, h, func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1)%nth == 0 {
				http.Error(w, "internal server error", http.StatusInternalServerError)
				return
			}
			h.ServeHTTP(w, r)
		})
	}}
}

// Extra serves a path that the server does not declare.
func Extra(pattern string, handle http.HandlerFunc) Mutant {
	return Mutant{Operator: "serve an undeclared path", wrap: func(h http.Handler, _ *Options) http.Handler {
		return only(pattern, h, handle)
	}}
}

// Override lets a header choose the method, after the server's checks of the
// method have been configured for the one on the request line.
func Override(header string) Mutant {
	return Mutant{Operator: "obey a request header", wrap: func(h http.Handler, _ *Options) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if m := r.Header.Get(header); m != "" && r.Method == http.MethodPost {
				r = r.Clone(r.Context())
				r.Method = strings.ToUpper(m)
			}
			h.ServeHTTP(w, r)
		})
	}}
}

// Rerooted serves the operations under an old prefix, for whom nothing of what
// the prefix adds is checked: prepare may change the request.
func Rerooted(prefix string, prepare func(*http.Request)) Mutant {
	return Mutant{Operator: "keep an old version alive", wrap: func(h http.Handler, _ *Options) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if rest, ok := strings.CutPrefix(r.URL.Path, prefix); ok && strings.HasPrefix(rest, "/") {
				r = r.Clone(r.Context())
				r.URL.Path, r.URL.RawPath = rest, ""
				if prepare != nil {
					prepare(r)
				}
			}
			h.ServeHTTP(w, r)
		})
	}}
}

package mutants_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/spec"
	"sallyport.dev/test/lab/mutants"
	"sallyport.dev/test/lab/mutants/rest"
)

// A step is one request of a walk. In path, body and headers {name} stands for
// a value kept from an earlier answer. Who is an identity ("alice", "-" for
// nobody, "alice expired", "alice other", "alice none", "alice stripped",
// "alice forged").
type step struct {
	who, method, path string
	body              string
	header            []string // "Name: value"
	keep              string   // "name=/json/pointer" or "name=Header"
	times             int      // at once; the answers are given in sorted order
	bad               bool     // the request breaks the description on purpose
	off               bool     // the answer is outside the description (undeclared method or path)
}

// A world is a running server with a clock that stands still and identifiers
// that count, so that two runs give the same answers.
type world struct {
	server  mutants.Server
	handler http.Handler
	now     time.Time
	tokens  map[string]rest.Identity
	kept    map[string]string
	waits   atomic.Int64 // milliseconds that the server wanted to wait
	derived atomic.Int64 // passwords hashed
	dialled atomic.Pointer[[]string]
}

func start(t testing.TB, s mutants.Server, mutant string) *world {
	t.Helper()
	w := &world{server: s, now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC), tokens: map[string]rest.Identity{}, kept: map[string]string{}}
	key := []byte(strings.Repeat("k", 32))
	for _, id := range rest.Identities(key, s.Audience, w.now) {
		w.tokens[id.Name] = id
	}
	var n atomic.Int64
	w.handler = s.New(mutants.Options{
		Mutant: mutant, Key: key,
		Now: func() time.Time { return w.now },
		ID:  func() string { return fmt.Sprintf("10000000-0000-4000-8000-%012d", n.Add(1)) },
		Sleep: func(ctx context.Context, d time.Duration) {
			if d < 10*time.Millisecond {
				time.Sleep(d)
				return
			}
			w.waits.Add(d.Milliseconds())
		},
		Derive: func(password, salt string) []byte {
			w.derived.Add(1)
			sum := sha256.Sum256([]byte(salt + "\x00" + password))
			return sum[:]
		},
		Dial: func(_ context.Context, url string) (int, error) {
			for {
				old := w.dialled.Load()
				var list []string
				if old != nil {
					list = *old
				}
				list = append(slices.Clone(list), url)
				if w.dialled.CompareAndSwap(old, &list) {
					return 200, nil
				}
			}
		},
	})
	return w
}

type answer struct {
	status int
	header http.Header
	body   []byte
	extra  string
}

func (a answer) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d", a.status)
	for _, k := range slices.Sorted(maps.Keys(a.header)) {
		if k != "Date" {
			fmt.Fprintf(&b, " | %s: %s", k, strings.Join(a.header[k], "; "))
		}
	}
	fmt.Fprintf(&b, " | %s%s", a.body, a.extra)
	return b.String()
}

func (w *world) fill(s string) string {
	for k, v := range w.kept {
		s = strings.ReplaceAll(s, "{"+k+"}", v)
	}
	return s
}

func (w *world) authorization(who string) string {
	name, how, _ := strings.Cut(who, " ")
	id, ok := w.tokens[name]
	if !ok {
		return ""
	}
	token := id.Token
	part := strings.Split(token, ".")
	switch how {
	case "expired":
		token = id.Expired
	case "other":
		token = id.OtherAudience
	case "none":
		token = "eyJhbGciOiJub25lIn0." + part[1] + "."
	case "stripped":
		token = part[0] + "." + part[1] + "."
	case "forged":
		token = part[0] + "." + part[1] + ".AAAA"
	}
	return "Bearer " + token
}

func (w *world) request(s step) (*http.Request, []byte) {
	body := []byte(w.fill(s.body))
	r := httptest.NewRequest(s.method, w.fill(s.path), bytes.NewReader(body))
	if a := w.authorization(s.who); a != "" {
		r.Header.Set("Authorization", a)
	}
	if s.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range s.header {
		k, v, _ := strings.Cut(w.fill(h), ": ")
		r.Header.Set(k, v)
	}
	return r, body
}

func (w *world) send(r *http.Request) answer {
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	res := rec.Result()
	return answer{status: res.StatusCode, header: res.Header, body: rec.Body.Bytes()}
}

// do takes the step and gives the answer, with what else could be observed.
func (w *world) do(s step) (r *http.Request, body []byte, a answer) {
	waits, derived := w.waits.Load(), w.derived.Load()
	r, body = w.request(s)
	if s.times > 1 {
		a = w.crowd(s)
	} else {
		a = w.send(r)
	}
	if n := w.waits.Load() - waits; n > 0 {
		a.extra += fmt.Sprintf(" | %d ms", n)
	}
	if n := w.derived.Load() - derived; n > 0 {
		a.extra += fmt.Sprintf(" | %d passwords hashed", n)
	}
	if list := w.dialled.Swap(nil); list != nil {
		a.extra += fmt.Sprintf(" | fetched %s", *list)
	}
	w.remember(s.keep, a)
	return
}

// crowd sends the request many times at once; what counts is how many answers
// of each status there are.
func (w *world) crowd(s step) answer {
	statuses := make([]int, s.times)
	var ready, done sync.WaitGroup
	ready.Add(1)
	for i := range s.times {
		done.Go(func() {
			r, _ := w.request(s)
			ready.Wait()
			statuses[i] = w.send(r).status
		})
	}
	ready.Done()
	done.Wait()
	slices.Sort(statuses)
	return answer{extra: fmt.Sprint(statuses)}
}

func (w *world) remember(keep string, a answer) {
	name, from, ok := strings.Cut(keep, "=")
	if !ok {
		return
	}
	w.kept[name] = "none"
	if !strings.HasPrefix(from, "/") {
		w.kept[name] = a.header.Get(from)
		return
	}
	var v any
	if json.Unmarshal(a.body, &v) != nil {
		return
	}
	for key := range strings.SplitSeq(from[1:], "/") {
		o, _ := v.(map[string]any)
		v = o[key]
	}
	w.kept[name] = fmt.Sprint(v)
}

func describe(s step) string {
	text := s.method + " " + s.path + " as " + s.who
	if len(s.header) > 0 {
		text += " [" + strings.Join(s.header, "] [") + "]"
	}
	if s.times > 1 {
		text += fmt.Sprintf(" × %d at once", s.times)
	}
	if b := s.body; b != "" {
		text += " " + b[:min(len(b), 120)]
	}
	return text
}

// TestCorrect walks through each correct server: what it is asked and what it
// answers is as its description says, and what breaks the description on
// purpose does so in the eyes of the description too.
func TestCorrect(t *testing.T) {
	for _, s := range mutants.Servers() {
		t.Run(s.Name, func(t *testing.T) {
			set, err := spec.Load(t.Context(), []spec.Source{{Path: s.Name + ".yaml", Data: s.Document}}, spec.Options{})
			if err != nil {
				t.Fatal(err)
			}
			w := start(t, s, "")
			walked := map[string]bool{}
			for i, st := range walks[s.Name] {
				r, body, a := w.do(st)
				if a.status >= 500 {
					t.Errorf("step %d, %s: %s", i, describe(st), a)
				}
				if st.times > 1 {
					continue
				}
				var m spec.Match
				if out := set.Match(r.Method, r.URL.EscapedPath(), &m); out != spec.Found {
					if !st.off {
						t.Errorf("step %d, %s: not in the description", i, describe(st))
					}
					continue
				}
				walked[m.Op.Method+" "+m.Op.Template+" "+fmt.Sprint(a.status)] = true
				agree(t, &m, st, r, body, a, fmt.Sprintf("step %d, %s", i, describe(st)))
			}
			missing, total := 0, 0
			for _, op := range set.Operations() {
				for _, status := range op.Outline().Statuses {
					total++
					if !walked[op.Method+" "+op.Template+" "+status] {
						missing++
						if status[0] == '2' {
							t.Errorf("%s %s: no step gets a %s", op.Method, op.Template, status)
						}
					}
				}
			}
			t.Logf("%d steps, %d of %d declared statuses of %d operations", len(walks[s.Name]), total-missing, total, len(set.Operations()))
		})
	}
}

func agree(t *testing.T, m *spec.Match, st step, r *http.Request, body []byte, a answer, at string) {
	t.Helper()
	var c spec.Check
	m.Op.CheckParams(&c, m, r.URL.RawQuery, r.Header)
	if len(body) > 0 {
		m.Op.CheckBody(&c, r.Header.Get("Content-Type"), body)
	}
	if broken := len(c.Problems) > 0; broken != st.bad {
		t.Errorf("%s: the request breaks the description: %v, want %v: %v", at, broken, st.bad, c.Problems)
	}
	if st.bad && (a.status < 400 || a.status > 499) {
		t.Errorf("%s: a bad request is answered with %s", at, a)
	}
	c.Reset()
	m.Op.CheckResponse(&c, a.status, a.header)
	if r.Method != http.MethodHead {
		m.Op.CheckResponseBody(&c, a.status, a.header.Get("Content-Type"), a.body)
	}
	if len(c.Problems) > 0 || c.NewStatus {
		t.Errorf("%s: the answer breaks the description (new status: %v): %v\n%s", at, c.NewStatus, c.Problems, a)
	}
}

// telling is the answer without what only words a refusal: which rule of a
// schema was broken, and the length of that.
func telling(a answer) string {
	var p map[string]any
	if a.status >= 400 && json.Unmarshal(a.body, &p) == nil && p["errors"] != nil {
		delete(p, "errors")
		a.body, _ = json.Marshal(p)
		a.header = a.header.Clone()
		a.header.Del("Content-Length")
	}
	return a.String()
}

// TestMutants shows for each mutant the first request to which it answers
// otherwise than the correct server.
func TestMutants(t *testing.T) {
	for _, s := range mutants.Servers() {
		w := start(t, s, "")
		var correct []string
		for _, st := range walks[s.Name] {
			_, _, a := w.do(st)
			correct = append(correct, telling(a))
		}
		for _, m := range s.Mutants() {
			t.Run(m.ID, func(t *testing.T) {
				if m.CutsOff() {
					return // TestStop has its witness
				}
				w := start(t, s, m.ID)
				for i, st := range walks[s.Name] {
					_, _, a := w.do(st)
					if got := telling(a); got != correct[i] {
						t.Logf("%s (%s): %s\n%s\ncorrect: %.300s\nmutant:  %.300s", m.Kind, m.Operator, m.Description, describe(st), correct[i], got)
						return
					}
				}
				t.Errorf("%s: %s: no step of the walk tells it from the correct server", m.Kind, m.Description)
			})
		}
	}
}

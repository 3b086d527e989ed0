package discovery_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	background "context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport.dev"
	"sallyport.dev/discovery"
	"sallyport.dev/discovery/learn"
	"sallyport.dev/observe"
	"sallyport.dev/spec"
	"sallyport.dev/test/lab/linode"
)

// A message is an exchange before redaction.
type message struct {
	method, path, query string
	status              int
	header, answer      [][2]string
	body, reply         string
}

func (m message) exchange(n int) sallyport.Exchange {
	x := sallyport.Exchange{ID: fmt.Sprintf("%026d", n), Time: time.Unix(1_770_000_000+int64(n), 0).UTC(), Door: "gateway", API: "a", Method: m.method, Path: m.path, Query: m.query, Status: m.status, Origin: m.status,
		Principal: sallyport.Principal{Kind: "oidc", Issuer: "i", Subject: fmt.Sprint(n % 5)}, RequestBody: []byte(m.body), ResponseBody: []byte(m.reply), RequestBytes: int64(len(m.body)), ResponseBytes: int64(len(m.reply)),
		Decision: sallyport.Decision{Action: sallyport.ActionAllow}}
	for _, f := range m.header {
		x.RequestHeader = append(x.RequestHeader, sallyport.Field{Name: f[0], Value: f[1]})
	}
	for _, f := range m.answer {
		x.ResponseHeader = append(x.ResponseHeader, sallyport.Field{Name: f[0], Value: f[1]})
	}
	return x
}

func messages(t testing.TB, zipped []byte) []message {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<26)
	var out []message
	for lines.Scan() {
		var r struct {
			Method, URL string
			Status      int
			Request     any            `json:"req_body"`
			Body        any            `json:"resp_body"`
			Header      map[string]any `json:"req_headers"`
			Answer      map[string]any `json:"resp_headers"`
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(r.URL)
		if err != nil {
			t.Fatal(err)
		}
		text := func(v any) string {
			if s, ok := v.(string); ok || v == nil {
				return s
			}
			b, _ := json.Marshal(v)
			return string(b)
		}
		list := func(m map[string]any) (out [][2]string) {
			for _, k := range slices.Sorted(maps.Keys(m)) {
				switch v := m[k].(type) {
				case string:
					out = append(out, [2]string{http.CanonicalHeaderKey(k), v})
				case []any:
					for _, one := range v {
						out = append(out, [2]string{http.CanonicalHeaderKey(k), fmt.Sprint(one)})
					}
				}
			}
			return out
		}
		out = append(out, message{method: r.Method, path: u.EscapedPath(), query: u.RawQuery, status: r.Status, header: list(r.Header), answer: list(r.Answer), body: text(r.Request), reply: text(r.Body)})
	}
	return out
}

// accepts holds a learned document to what it was learned from.
func accepts(t interface {
	Fatalf(string, ...any)
	Errorf(string, ...any)
}, d *discovery.Discovery, list []message, redacted []sallyport.Exchange) (checked int) {
	doc := learn.Describe("a", d.Learned("a"))
	asJSON, err := doc.JSON()
	if err != nil {
		t.Fatalf("%v", err)
	}
	asYAML, err := doc.YAML()
	if err != nil {
		t.Fatalf("%v", err)
	}
	var c spec.Check
	for name, data := range map[string][]byte{"learned.json": asJSON, "learned.yaml": asYAML} {
		set, err := spec.Load(background.Background(), []spec.Source{{Path: name, Data: data}}, spec.Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wrong := 0
		for i, m := range list {
			if !learn.Teaches(&redacted[i]) {
				continue
			}
			var match spec.Match
			if got := set.Match(m.method, m.path, &match); got != spec.Found {
				t.Errorf("%s: %s %s: outcome %v", name, m.method, m.path, got)
				wrong++
				continue
			}
			c.Reset()
			h, a := http.Header{}, http.Header{}
			for _, f := range m.header {
				h.Add(f[0], f[1])
			}
			for _, f := range m.answer {
				a.Add(f[0], f[1])
			}
			match.Op.CheckParams(&c, &match, m.query, h)
			if m.body != "" {
				match.Op.CheckBody(&c, h.Get("Content-Type"), []byte(m.body))
			}
			match.Op.CheckResponse(&c, m.status, a)
			if m.reply != "" {
				match.Op.CheckResponseBody(&c, m.status, a.Get("Content-Type"), []byte(m.reply))
			}
			checked++
			if len(c.Problems) > 0 || c.NewStatus {
				t.Errorf("%s: %s %s?%s %d as %s: %+v %v", name, m.method, m.path, m.query, m.status, match.Op.Template, c.Problems, c.NewStatus)
				if wrong++; wrong > 8 {
					t.Fatalf("and more")
				}
			}
		}
	}
	return checked / 2
}

func teach(t testing.TB, list []message) (*discovery.Discovery, []sallyport.Exchange) {
	redactor, err := observe.NewRedactor(observe.RedactOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d := discovery.New(discovery.Options{})
	var out []sallyport.Exchange
	for i, m := range list {
		x := m.exchange(i)
		redactor.Redact(&x)
		d.Add(&x)
		out = append(out, x)
	}
	return d, out
}

// TestLearnedAccepts learns from two vendors' recorded traffic, and holds every
// request that was taken and every answer against the document that comes of it.
func TestLearnedAccepts(t *testing.T) {
	octokit, err := os.ReadFile("testdata/octokit.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	for name, zipped := range map[string][]byte{"linode": linode.Traffic, "octokit": octokit} {
		t.Run(name, func(t *testing.T) {
			list := messages(t, zipped)
			d, redacted := teach(t, list)
			n := accepts(t, d, list, redacted)
			s := d.Stats()
			t.Logf("%d of %d exchanges checked, all accepted; %d operations, %d places of bodies", n, len(list), s.Lessons, s.Places)
			// What was learned survives encoding, and merging it in halves.
			for _, l := range d.Learned("a") {
				b, err := l.Operation.Encode()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := learn.Decode(b); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestLearnedProperty draws traffic of any make.
func TestLearnedProperty(t *testing.T) {
	word := rapid.StringMatching(`[a-z]{1,6}`)
	value := rapid.OneOf(rapid.StringMatching(`[a-zA-Z0-9 ._~-]{0,12}`), rapid.StringMatching(`-?[0-9]{1,6}`), rapid.Just("true"), rapid.Just("2026-03-04"), rapid.Just("123e4567-e89b-12d3-a456-426614174000"), rapid.Just("7,8"), rapid.Just("é&=ü"))
	var tree func(depth int) *rapid.Generator[any]
	tree = func(depth int) *rapid.Generator[any] {
		leaves := []*rapid.Generator[any]{
			rapid.Map(rapid.Int64Range(-1<<40, 1<<40), func(n int64) any { return n }), rapid.Map(rapid.Float64Range(-1e9, 1e9), func(f float64) any { return f }),
			rapid.Map(value, func(s string) any { return s }), rapid.Just[any](nil), rapid.Just[any](true),
		}
		if depth > 0 {
			leaves = append(leaves,
				rapid.Custom(func(t *rapid.T) any { return rapid.SliceOfN(tree(depth-1), 0, 4).Draw(t, "list") }),
				rapid.Custom(func(t *rapid.T) any {
					return rapid.MapOfN(rapid.OneOf(word, rapid.SampledFrom([]string{"id", "name", "~x/y", "17", "a.b"})), tree(depth-1), 0, 5).Draw(t, "object")
				}))
		}
		return rapid.OneOf(leaves...)
	}
	paths := rapid.OneOf(rapid.SampledFrom([]string{"/", "/items", "/items/", "/items/search", "/v4/a", "/a%20b/c"}), rapid.Map(rapid.StringMatching(`[0-9]{1,5}`), func(s string) string { return "/items/" + s }),
		rapid.Map(rapid.StringMatching(`[0-9]{1,3}/[a-z]{1,3}/[a-z0-9]{1,9}`), func(s string) string { return "/users/" + s }), rapid.Map(word, func(s string) string { return "/" + s + "/{x}" }))
	rapid.Check(t, func(r *rapid.T) {
		var list []message
		for range rapid.IntRange(1, 30).Draw(r, "exchanges") {
			m := message{method: rapid.SampledFrom([]string{"GET", "POST", "DELETE", "PURGE"}).Draw(r, "method"), path: paths.Draw(r, "path"), status: rapid.SampledFrom([]int{200, 201, 204, 302, 400, 404, 500}).Draw(r, "status")}
			var q []string
			for range rapid.IntRange(0, 3).Draw(r, "parameters") {
				q = append(q, rapid.SampledFrom([]string{"a", "b[]", "page", "q"}).Draw(r, "name")+rapid.SampledFrom([]string{"=", ""}).Draw(r, "="))
				if strings.HasSuffix(q[len(q)-1], "=") {
					q[len(q)-1] += url.QueryEscape(value.Draw(r, "value"))
				}
			}
			m.query = strings.Join(q, "&")
			m.header = append(m.header, [2]string{"X-Tenant", value.Draw(r, "tenant")}, [2]string{"Authorization", "Bearer abc"})
			if m.method == "POST" {
				b, _ := json.Marshal(tree(3).Draw(r, "body"))
				m.body, m.header = string(b), append(m.header, [2]string{"Content-Type", "application/json"})
			}
			if m.status != 204 {
				b, _ := json.Marshal(tree(3).Draw(r, "reply"))
				m.reply, m.answer = string(b), append(m.answer, [2]string{"Content-Type", rapid.SampledFrom([]string{"application/json", "application/problem+json; charset=utf-8", "text/plain"}).Draw(r, "media")})
			}
			list = append(list, m)
		}
		d, redacted := teach(t, list)
		var kept []message
		var ours []sallyport.Exchange
		for i, m := range list { // what OpenAPI cannot say is listed in the document instead
			if m.method != "PURGE" {
				kept, ours = append(kept, m), append(ours, redacted[i])
			}
		}
		accepts(r, d, kept, ours)
	})
}

// What was learned of the deepest body that is looked at survives encoding.
func TestLearnedDepth(t *testing.T) {
	body := strings.Repeat(`{"a":[`, 20) + strings.Repeat(`]}`, 20)
	d, _ := teach(t, []message{{method: "GET", path: "/deep", status: 200, answer: [][2]string{{"Content-Type", "application/json"}}, reply: body}})
	for _, l := range d.Learned("a") {
		b, err := l.Operation.Encode()
		if err != nil {
			t.Fatal(err)
		}
		o, err := learn.Decode(b)
		if err != nil || o.Size() < 20 {
			t.Fatal(err, o.Size())
		}
	}
	if n := len(d.Learned("a")); n != 1 {
		t.Errorf("%d operations", n)
	}
}

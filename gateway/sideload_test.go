package gateway_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

const ordersDocument = `openapi: 3.1.0
info: {title: Orders, version: "1"}
security: [{key: []}]
paths:
  /orders: {get: {operationId: orders, parameters: [{name: q, in: query, schema: {type: string}}, {name: kind, in: query, schema: {type: string}}],
    responses: {"200": {description: ok, content: {application/json: {schema: {type: object}}}}}}}
  /plain: {get: {operationId: plain, responses: {"200": {description: ok, content: {application/json: {schema: {type: array}}}}}}}
  /customers: {get: {operationId: customers, security: [{key: ["customers:read"]}], parameters: [{name: ids, in: query, schema: {type: string}}], responses: {"200": {description: ok}}}}
  /customers/{id}: {get: {operationId: customer, security: [{key: ["customers:read"]}], parameters: [{name: id, in: path, required: true, schema: {type: string, pattern: "^[a-z0-9]+$"}}], responses: {"200": {description: ok, content: {application/json: {}}}}}}
  /tags/{id}: {get: {operationId: tag, parameters: [{name: id, in: path, required: true, schema: {type: string}}], responses: {"200": {description: ok}}}}
  /admin: {get: {operationId: admin, security: [{key: ["admin"]}], responses: {"200": {description: ok}}}}
components: {securitySchemes: {key: {type: apiKey, in: header, name: X-API-Key}}}
`

// A warehouse is an upstream that counts who is asked for what.
type warehouse struct {
	mu    sync.Mutex
	asked map[string]int
	seen  []string // targets
}

func (w *warehouse) count(prefix string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.seen {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

func (w *warehouse) reset() { w.mu.Lock(); w.seen = nil; w.mu.Unlock() }

func (w *warehouse) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.seen = append(w.seen, r.URL.RequestURI())
	w.mu.Unlock()
	out.Header().Set("Content-Type", "application/json")
	out.Header().Set("ETag", `"1"`)
	out.Header().Set("Cache-Control", "private, max-age=60")
	customer := func(id string) string { return fmt.Sprintf(`{"id": %q, "name": "secret of %s"}`, id, id) }
	path, _ := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/customers/"))
	switch {
	case r.URL.Path == "/orders":
		switch r.URL.Query().Get("kind") {
		case "hostile":
			io.WriteString(out, `{"items": [{"customer": "../admin", "tags": ["../admin", "a/../../admin", "?x=1", "..", ".", "%2e%2e%2fadmin", "\u0000", "a b", "", 1.5, null, {"id": 3}]}]}`)
		case "odd":
			io.WriteString(out, `{"items": [{}, {"customer": null}, {"customer": "c1", "who": "mine"}, {"customer": "c1"}, 7, {"customer": "gone"}, {"customer": "hidden"}], "customer": "c2"}`)
		default:
			var items []string
			for i := range 50 {
				items = append(items, fmt.Sprintf(`{"id": %d, "customer": "c%d", "tags": [%d, %d]}`, i, i%12, i%3, i%5))
			}
			io.WriteString(out, `{"items": [`+strings.Join(items, ",\n ")+`], "total": 50}`)
		}
	case r.URL.Path == "/plain":
		io.WriteString(out, ` [ {"customer":"c1"} , {"customer":"c2"} ] `)
	case r.URL.Path == "/customers":
		var list []string
		for id := range strings.SplitSeq(r.URL.Query().Get("ids"), ",") {
			list = append(list, customer(id))
		}
		io.WriteString(out, `{"data": [`+strings.Join(append(list, customer("uninvited")), ",")+`]}`)
	case path == "gone":
		out.WriteHeader(http.StatusNotFound)
		io.WriteString(out, `{"error": "gone"}`)
	case path == "hidden": // the upstream's own rights
		out.WriteHeader(http.StatusForbidden)
		io.WriteString(out, `{"error": "not yours", "name": "secret of hidden"}`)
	case strings.HasPrefix(r.URL.Path, "/customers/"):
		io.WriteString(out, customer(path))
	case strings.HasPrefix(r.URL.Path, "/tags/"):
		fmt.Fprintf(out, `{"tag": %q}`, strings.TrimPrefix(r.URL.Path, "/tags/"))
	case r.URL.Path == "/admin":
		io.WriteString(out, `{"root": "secret of the admin"}`)
	}
}

// Related resources are put into answers within the caller's rights, and the
// upstream is asked a fraction as often.
func TestSideload(t *testing.T) {
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "orders.yaml", Data: []byte(ordersDocument)}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	hash := func(s string) string { h := sha256.Sum256([]byte(s)); return "sha256:" + hex.EncodeToString(h[:]) }
	pol := policy.API{Mode: sallyport.Enforce, Undocumented: policy.Refuse, Shadow: policy.Refuse, Auth: policy.Auth{Anonymous: policy.Never, Keys: []policy.Key{
		{ID: "full", Hash: hash("full-key"), Scopes: []string{"customers:read"}}, {ID: "narrow", Hash: hash("narrow-key")}}}}
	w := &warehouse{}
	up := upstream(t, w.ServeHTTP)
	one := gateway.Side{Name: "who", Operation: "GET /orders", From: "/items/*/customer", Target: "/customers/{id}"}
	tags := gateway.Side{Name: "tag", Operation: "GET /orders", From: "/items/*/tags/*", Target: "/tags/{id}"}
	many := one
	many.Name, many.Batch = "batched", gateway.Batch{Operation: "/customers", Param: "ids", Items: "/data", Key: "id", Size: 50}
	always := gateway.Side{Name: "who", Operation: "GET /plain", From: "/*/customer", Target: "/customers/{id}", Always: true}
	rec := newRecorder()
	d := open(t, gateway.Options{Recorder: rec, Program: program(t, guard.API{API: sallyport.API{Name: "orders"}, Spec: set, Policy: pol}),
		APIs: []gateway.API{{Name: "orders", Upstreams: []gateway.Upstream{{URL: up.URL}}, Sideload: &gateway.Sideload{Param: "include", Most: 100, Rules: []gateway.Side{one, tags, many, always}}}}})
	at := func(t *testing.T, d *door, h2 bool, key, target string) (*http.Response, string) {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), "GET", d.url(target), nil)
		req.Header.Set("X-API-Key", key)
		req.Header.Set("If-None-Match", `"0"`)
		res, err := d.client(h2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(b)
	}
	ask := func(t *testing.T, h2 bool, key, target string) (*http.Response, string) {
		t.Helper()
		return at(t, d, h2, key, target)
	}
	type item struct {
		ID       int
		Customer string
		Tags     []int
		Who      *struct{ ID, Name string }
		Batched  *struct{ ID, Name string }
		Tag      []struct{ Tag string }
	}
	parse := func(t *testing.T, body string) (out struct {
		Items []item
		Total int
	}) {
		t.Helper()
		if err := json.Unmarshal([]byte(body), &out); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		return out
	}
	for _, h2 := range []bool{false, true} {
		w.reset()
		res, body := ask(t, h2, "full-key", "/orders?include=who,tag")
		got := parse(t, body)
		if res.StatusCode != 200 || len(got.Items) != 50 || got.Total != 50 || res.Header.Get("Etag") != "" || res.Header.Get("Cache-Control") != "private, no-store" {
			t.Fatalf("h2 %v: %d %v %s", h2, res.StatusCode, res.Header, body)
		}
		for _, x := range got.Items {
			if x.Who == nil || x.Who.ID != x.Customer || len(x.Tag) != 2 || x.Tag[1].Tag != fmt.Sprint(x.Tags[1]) {
				t.Fatalf("h2 %v: item %+v", h2, x)
			}
		}
		if n := w.count("/"); n != 1+12+5 {
			t.Errorf("h2 %v: %d requests reached the upstream, want 18", h2, n)
		}
		if w.count("/orders?") != 0 {
			t.Error("the upstream was told of include")
		}
	}
	t.Run("a tenth of the requests", func(t *testing.T) {
		w.reset()
		_, body := ask(t, false, "full-key", "/orders")
		for _, x := range parse(t, body).Items {
			ask(t, false, "full-key", "/customers/"+x.Customer)
		}
		before := w.count("/")
		w.reset()
		_, body = ask(t, false, "full-key", "/orders?include=batched")
		for _, x := range parse(t, body).Items {
			if x.Batched == nil || x.Batched.ID != x.Customer {
				t.Fatalf("item %+v", x)
			}
		}
		if strings.Contains(body, "uninvited") {
			t.Error("a resource that nobody named")
		}
		if after := w.count("/"); after*10 > before*4 {
			t.Errorf("%d requests reached the upstream, %d before", after, before)
		} else {
			t.Logf("%d requests to the upstream in place of %d", after, before)
		}
	})
	t.Run("within the caller's rights", func(t *testing.T) {
		for _, target := range []string{"/orders?include=who", "/orders?include=batched", "/plain"} {
			w.reset()
			res, body := ask(t, false, "narrow-key", target)
			if res.StatusCode != 200 || strings.Contains(body, "secret") || !strings.Contains(body, "null") {
				t.Errorf("%s: %d %s", target, res.StatusCode, body)
			}
			if n := w.count("/customers"); n != 0 {
				t.Errorf("%s: the upstream was asked %d times for what the caller may not see", target, n)
			}
			if res, body := ask(t, false, "wrong", target); res.StatusCode != 401 || strings.Contains(body, "c1") {
				t.Errorf("%s with a wrong key: %d %s", target, res.StatusCode, body)
			}
		}
		_, body := ask(t, false, "full-key", "/orders?kind=odd&include=who")
		if strings.Contains(body, "not yours") || strings.Contains(body, "secret of hidden") || strings.Contains(body, `"error"`) {
			t.Errorf("what the upstream refuses: %s", body)
		}
		want := `{"items": [{}, {"customer": null}, {"customer": "c1", "who": "mine"}, {"customer": "c1","who":{"id": "c1", "name": "secret of c1"}}, 7, {"customer": "gone","who":null}, {"customer": "hidden","who":null}], "customer": "c2"}`
		if body != want {
			t.Errorf("got  %s\nwant %s", body, want)
		}
	})
	t.Run("ids that are no ids", func(t *testing.T) {
		w.reset()
		_, body := ask(t, false, "full-key", "/orders?kind=hostile&include=who,tag")
		if strings.Contains(body, "admin\"") && strings.Contains(body, "secret of the admin") {
			t.Errorf("the admin's answer: %s", body)
		}
		for _, s := range w.seen {
			if u, err := url.Parse(s); err != nil || strings.Contains(u.Path, "..") || !strings.HasPrefix(s, "/orders") && !strings.HasPrefix(s, "/tags/") || s != "/orders?kind=hostile" && u.RawQuery != "" {
				t.Errorf("the upstream was asked for %s", s)
			}
		}
	})
	t.Run("names", func(t *testing.T) {
		for target, want := range map[string]int{
			"/orders?include=nothing": 400, "/orders?include=who,nothing": 400, "/orders?include=": 400, "/orders?include=who&include=tag": 400, "/orders?include=%zz": 400, "/orders?%69nclude=nothing": 400,
			"/orders?includes=who": 400 /* not declared */, "/plain?include=tag": 400, "/orders?q=include": 200, "/orders?q=a&include=who": 200, "/tags/3?include=who": 400, "/orders?include=who%2Ctag": 200,
		} {
			if res, body := ask(t, false, "full-key", target); res.StatusCode != want {
				t.Errorf("%s: %d, want %d: %s", target, res.StatusCode, want, body)
			}
		}
		_, body := ask(t, false, "full-key", "/plain")
		if want := ` [ {"customer":"c1","who":{"id": "c1", "name": "secret of c1"}} , {"customer":"c2","who":{"id": "c2", "name": "secret of c2"}} ] `; body != want {
			t.Errorf("got  %q\nwant %q", body, want)
		}
	})
	t.Run("with stored answers", func(t *testing.T) {
		pol := pol
		pol.Cache = policy.Cache{Mode: policy.On, Per: policy.PerCaller}
		d := open(t, gateway.Options{Program: program(t, guard.API{API: sallyport.API{Name: "orders"}, Spec: set, Policy: pol}),
			APIs: []gateway.API{{Name: "orders", Upstreams: []gateway.Upstream{{URL: up.URL}}, Sideload: &gateway.Sideload{Param: "include", Most: 100, Rules: []gateway.Side{one}}}}})
		w.reset()
		_, bare := at(t, d, false, "full-key", "/orders")
		_, first := at(t, d, false, "full-key", "/orders?include=who")
		if n := w.count("/"); n != 1+12 || first == bare || !strings.Contains(first, "secret of c11") {
			t.Errorf("%d requests reached the upstream, want 13", n)
		}
		for _, h2 := range []bool{false, true} {
			if _, again := at(t, d, h2, "full-key", "/orders?include=who"); again != first || w.count("/") != 13 {
				t.Errorf("h2 %v: asked again: %d requests to the upstream", h2, w.count("/"))
			}
			if _, again := at(t, d, h2, "full-key", "/orders"); again != bare {
				t.Errorf("h2 %v: the stored answer was changed: %s", h2, again)
			}
		}
		if _, body := at(t, d, false, "narrow-key", "/orders?include=who"); strings.Contains(body, "secret") || !strings.Contains(body, `"who":null`) {
			t.Errorf("with fewer rights: %s", body)
		}
	})
	if !slices.ContainsFunc(rec.list(), func(x *sallyport.Exchange) bool { return x.Path == "/customers/c1" && x.Principal.Subject == "full" }) {
		t.Error("what was asked on the caller's behalf is not on record")
	}
}

package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/gateway/http1"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

const twoAPI = `openapi: 3.1.0
info: {title: shop, version: "1"}
paths:
  /orders:
    get: {responses: {"200": {description: ok, content: {application/json: {}}}}}
  /customers/{id}:
    get:
      parameters: [{name: id, in: path, required: true, schema: {type: string}}]
      responses: {"200": {description: ok, content: {application/json: {}}}}
`

// Under constant change a request is judged, sent on, answered from the store and
// added to by the settings of one generation: program, upstream, what it carries,
// cache and side-loading all say the same.
func TestNoMixtureOfGenerations(t *testing.T) {
	type generation struct {
		program *guard.Program
		apis    []gateway.API
	}
	var both [2]generation
	for i, name := range []string{"A", "B"} {
		up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "public, max-age=60")
			says := name + r.Header.Get("X-Generation")
			if strings.HasPrefix(r.URL.Path, "/customers") {
				fmt.Fprintf(w, `{"customer":%q}`, says)
			} else {
				fmt.Fprintf(w, `{"order":%q,"customerId":"7"}`, says)
			}
		})
		set, err := spec.Load(t.Context(), []spec.Source{{Path: "shop.yaml", Data: []byte(twoAPI)}}, spec.Options{})
		if err != nil {
			t.Fatal(err)
		}
		p := policy.API{Mode: sallyport.Enforce}
		apis := to(up.URL)
		apis[0].Onward = &gateway.Onward{Set: []http1.Field{{Name: "X-Generation", Value: name}}}
		if name == "A" {
			p.Cache = policy.Cache{Mode: policy.On, Report: policy.On}
			apis[0].Onward = nil // so that answers can be stored
			apis[0].Stored = "A"
			apis[0].Sideload = &gateway.Sideload{Param: "include", Most: 4, Rules: []gateway.Side{{Name: "whole", Operation: "GET /orders", From: "/customerId", Target: "/customers/{id}", Always: true}}}
		}
		both[i].apis = apis
		if both[i].program, err = guard.Compile(guard.Config{Name: name, APIs: []guard.API{{API: sallyport.API{Name: "shop"}, Spec: set, Policy: p}}}); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{
		"A /orders": `{"order":"A","customerId":"7","whole":{"customer":"A"}}`, "A /customers/7": `{"customer":"A"}`,
		"B /orders": `{"order":"BB","customerId":"7"}`, "B /customers/7": `{"customer":"BB"}`,
	}
	d := open(t, gateway.Options{Program: both[0].program, APIs: both[0].apis})
	var ending atomic.Bool
	var seen [2]atomic.Int64
	var all sync.WaitGroup
	for _, c := range d.three() {
		for _, path := range []string{"/orders", "/customers/7"} {
			all.Go(func() {
				for !ending.Load() {
					res, err := c.Get(d.url(path))
					if err != nil {
						t.Error(err)
						return
					}
					b, err := io.ReadAll(res.Body)
					res.Body.Close()
					name, k := "B", 1
					if strings.Contains(string(b), `"A"`) {
						name, k = "A", 0
					}
					if err != nil || res.StatusCode != 200 || string(b) != want[name+" "+path] {
						t.Errorf("%s: %d %s, %v", path, res.StatusCode, b, err)
						return
					}
					if has := res.Header.Get("Cache-Status") != ""; has != (name == "A") {
						t.Errorf("%s: answered by %s, Cache-Status %q", path, name, res.Header.Get("Cache-Status"))
					}
					seen[k].Add(1)
				}
			})
		}
	}
	for i := 1; i < 150; i++ {
		if i%10 == 0 { // one that is given up changes nothing
			c, err := d.Prepare(both[i%2].program, both[i%2].apis)
			if err != nil {
				t.Fatal(err)
			}
			c.Discard()
		}
		c, err := d.Prepare(both[i%2].program, both[i%2].apis)
		if err != nil {
			t.Fatal(err)
		}
		c.Commit()
		if i%3 == 0 {
			time.Sleep(5 * time.Millisecond)
		}
	}
	ending.Store(true)
	all.Wait()
	if seen[0].Load() < 20 || seen[1].Load() < 20 {
		t.Errorf("%d and %d requests", seen[0].Load(), seen[1].Load())
	}
	for _, x := range d.rec.list() {
		if at := both[0].apis[0].Upstreams[0].URL; x.Instance != "" && (x.Instance == at) != (x.Decision.Program == "A") {
			t.Fatalf("judged by program %s, sent to %s", x.Decision.Program, x.Instance)
		}
	}
	t.Logf("%d requests of one generation, %d of the other", seen[0].Load(), seen[1].Load())
}

// What is stored is bound to where it came from: other upstreams, another
// description, another credential or other rules of the cache part from it, also
// when they are changed back; a change of anything else does not.
func TestStoredAnswersAreOfTheirUpstreams(t *testing.T) {
	o, other := newCachedOrigin(t), newCachedOrigin(t)
	apis := func(change func(*gateway.API)) []gateway.API {
		a := to(o.URL)
		a[0].Stored = "as it was"
		if change != nil {
			change(&a[0])
		}
		return a
	}
	for name, c := range map[string]struct {
		change func(*gateway.API)
		kept   bool
	}{
		"another upstream": {func(a *gateway.API) { a.Upstreams[0].URL = other.URL }, false},
		"one more":         {func(a *gateway.API) { a.Upstreams = append(a.Upstreams, gateway.Upstream{URL: other.URL}) }, false},
		"another host":     {func(a *gateway.API) { a.Upstreams[0].Host = "b.test" }, false},
		"described anew":   {func(a *gateway.API) { a.Stored = "new" }, false},
		"not stored":       {func(a *gateway.API) { a.Stored = "" }, false},
		"a credential":     {func(a *gateway.API) { a.Onward = &gateway.Onward{Drop: []string{"Cookie"}} }, false},
		"nothing":          {nil, true},
		"health":           {func(a *gateway.API) { a.Health.Failures = 9 }, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, gateway.Options{Program: cachedProgram(t, nil), APIs: apis(nil)})
			_, first := d.raw(t, get("/items"))
			if _, again := d.raw(t, get("/items")); again != first {
				t.Fatalf("nothing is stored: %s, %s", first, again)
			}
			for _, a := range [][]gateway.API{apis(c.change), apis(nil)} { // and back again
				if err := d.SetAPIs(a); err != nil {
					t.Fatal(err)
				}
				if entries := d.CacheStats().Entries; (entries == 1) != c.kept {
					t.Errorf("%d entries are held", entries)
				}
			}
			res, now := d.raw(t, get("/items"))
			if hit := strings.Contains(res.Header.Get("Cache-Status"), "hit"); hit != c.kept || (now == first) != c.kept {
				t.Errorf("stored %s, now %s, hit %v", first, now, hit)
			}
		})
	}
	if err := open(t, gateway.Options{APIs: apis(nil)}).SetAPIs(nil); err != nil {
		t.Error(err)
	}
}

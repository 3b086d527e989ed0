package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const shopSpec = `openapi: 3.1.0
info: {title: Shop, version: "1"}
paths:
  /orders:
    get:
      responses:
        "200":
          description: ok
          content: {application/json: {schema: {type: object}}}
          links: {shop: {operationId: shop, parameters: {id: "$response.body#/items/*/shop_id"}}}
  /customers/{id}: {get: {operationId: customer, parameters: [{name: id, in: path, required: true, schema: {type: string}}], responses: {"200": {description: ok}}}}
  /shops/{id}: {get: {operationId: shop, parameters: [{name: id, in: path, required: true, schema: {type: string}}], responses: {"200": {description: ok}}}}
`

// What clients' ways of asking suggest becomes a rule by one request of an
// administrator, holds after a restart, and is gone by another.
func TestRepeatsBecomeRules(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/orders" {
			fmt.Fprintf(w, `{"at": %q}`, r.URL.Path)
			return
		}
		var list []string
		for i := range 8 {
			list = append(list, fmt.Sprintf(`{"id": %d, "customer_id": "c%d", "shop_id": 7}`, 100+i, i))
		}
		fmt.Fprintf(w, `{"items": [%s]}`, strings.Join(list, ","))
	}))
	t.Cleanup(up.Close)
	s.upstream = up
	write(t, filepath.Join(s.dir, "pets.yaml"), shopSpec)
	s.configure(t, "")
	p := s.start(t)
	d := p.signIn(p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1], password)
	type listing struct {
		Rules  []map[string]any
		Offers []struct{ API, Name, Operation, From, Target string }
	}
	var got listing
	d.do("GET", "/sideloads", nil, 200, &got)
	if len(got.Rules) != 0 || len(got.Offers) != 0 {
		t.Errorf("before anything was asked: %+v", got)
	}
	eventually(t, 60*time.Second, func() string {
		s.ask(t, "GET", "/orders", "")
		for i := range 8 {
			s.ask(t, "GET", fmt.Sprintf("/customers/c%d", i), "")
		}
		d.do("GET", "/sideloads", nil, 200, &got)
		if len(got.Offers) == 0 {
			return "nothing is offered"
		}
		return ""
	})
	o := got.Offers[0]
	if o.Operation != "GET /orders" || o.Target != "GET /customers/{id}" || o.From != "/items/*/customer_id" || o.Name != "customer" {
		t.Fatalf("offered %+v", o)
	}
	if status, _, _ := s.ask(t, "GET", "/orders?include=customer", ""); status != 200 {
		t.Errorf("an undeclared parameter before there is a rule: %d", status)
	}
	var made struct{ ID string }
	rule := map[string]any{"api": o.API, "name": o.Name, "operation": o.Operation, "from": o.From, "target": o.Target}
	d.do("POST", "/sideloads", rule, 201, &made)
	d.do("POST", "/sideloads", rule, 409, nil)
	d.do("POST", "/sideloads", map[string]any{"api": o.API, "name": "x", "operation": "GET /nothing", "from": "/a", "target": o.Target}, 422, nil)
	d.do("POST", "/sideloads", map[string]any{"api": "nobody", "name": "x", "operation": o.Operation, "from": "/a", "target": o.Target}, 422, nil)
	with := func() string {
		_, _, body := s.ask(t, "GET", "/orders?include=customer", "")
		if !strings.Contains(string(body), `"customer":{"at": "/customers/c3"}`) {
			return "not put in: " + string(body)
		}
		return ""
	}
	if why := with(); why != "" {
		t.Error(why)
	}
	p.stop()
	p = s.start(t)
	d = p.signIn("", password)
	if why := with(); why != "" {
		t.Errorf("after a restart: %s", why)
	}
	d.do("DELETE", "/sideloads/"+made.ID, nil, 204, nil)
	d.do("DELETE", "/sideloads/"+made.ID, nil, 404, nil)
	if why := with(); why == "" {
		t.Error("still put in, after the rule was taken away")
	}
	var log json.RawMessage
	d.do("GET", "/audit", nil, 200, &log)
	if !strings.Contains(string(log), "sideload.accept") || !strings.Contains(string(log), "sideload.drop") {
		t.Errorf("the audit log: %s", log)
	}
	p.stop()
}

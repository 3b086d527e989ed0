package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

// Clients that ask for each element of a list are found, with the place of the
// ids; those that merely ask for many things are not.
func TestRepeatsAreFound(t *testing.T) {
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "shop.yaml", Data: []byte(`openapi: 3.1.0
info: {title: Shop, version: "1"}
paths:
  /orders: {get: {responses: {"200": {description: ok}}}}
  /reports: {get: {responses: {"200": {description: ok}}}}
  /customers/{id}: {get: {parameters: [{name: id, in: path, required: true, schema: {type: string}}], responses: {"200": {description: ok}}}}
  /orders/{id}/lines: {get: {parameters: [{name: id, in: path, required: true, schema: {type: string}}], responses: {"200": {description: ok}}}}
  /days/{day}: {get: {parameters: [{name: day, in: path, required: true, schema: {type: string}}], responses: {"200": {description: ok}}}}
`)}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/orders":
			var list []string
			for i := range 12 {
				list = append(list, fmt.Sprintf(`{"id": %d, "customer_id": "c%d", "total": %d, "first": true}`, 1000+i, i, i))
			}
			io.WriteString(w, `{"items": [`+strings.Join(list, ",")+`], "page": 1}`)
		case "/reports":
			io.WriteString(w, `[{"name": "r1"}, {"name": "r2"}, {"name": "r3"}, {"name": "r4"}, {"name": "r5"}, {"name": "r6"}]`)
		default:
			io.WriteString(w, `{"name": "x"}`)
		}
	})
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	d := open(t, gateway.Options{Now: func() time.Time { return time.Unix(0, now.Load()) },
		Program: program(t, guard.API{API: sallyport.API{Name: "shop"}, Spec: set, Policy: policy.API{Mode: sallyport.Enforce}}), APIs: to(up.URL)})
	c := d.client(false)
	ask := func(target string) {
		t.Helper()
		res, err := c.Get(d.url(target))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Fatalf("%s: %d", target, res.StatusCode)
		}
	}
	for round := range 4 {
		ask("/orders")
		for i := range 10 {
			ask(fmt.Sprintf("/customers/c%d", i))
		}
		ask("/orders/1003/lines") // a person who looks at one
		ask("/reports")
		for i := range 8 {
			ask(fmt.Sprintf("/days/2026-11-%02d", i+1)) // many, but none that the list names
		}
		if got := d.Repeats(); round < 2 && len(got) != 0 {
			t.Errorf("after %d rounds: %v", round+1, got)
		}
		now.Add(int64(time.Minute))
	}
	got := d.Repeats()
	if len(got) != 1 || got[0].Operation != "GET /orders" || got[0].Target != "GET /customers/{id}" || got[0].From != "/items/*/customer_id" || got[0].Name != "customer" || got[0].Lists != 4 || got[0].Calls != 40 {
		t.Errorf("found %+v", got)
	}
	now.Add(int64(48 * time.Hour))
	if got := d.Repeats(); len(got) != 0 {
		t.Errorf("two days later: %v", got)
	}
}

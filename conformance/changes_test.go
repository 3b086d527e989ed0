package conformance_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/conformance"
)

const oldContract = `
openapi: 3.0.3
info: {title: orders, version: "1"}
components: {securitySchemes: {key: {type: apiKey, in: header, name: X-Key}}}
paths:
  /orders:
    get:
      parameters:
        - {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 100}}
        - {name: state, in: query, schema: {type: string, enum: [open, closed]}}
      responses: {"200": {description: ok, content: {application/json: {schema: {type: object, required: [items], properties: {items: {type: array, items: {type: object, required: [id, total], properties: {id: {type: string}, total: {type: integer}}}}}}}}}}
    post:
      requestBody: {required: true, content: {application/json: {schema: {type: object, required: [name], properties: {name: {type: string, maxLength: 50}, note: {type: string}}}}}}
      responses: {"201": {description: made}}
  /orders/{id}:
    get:
      parameters: [{name: id, in: path, required: true, schema: {type: string}}]
      responses: {"200": {description: ok, content: {application/json: {schema: {type: object, required: [id], properties: {id: {type: string}}}}}}}
`

// Each change that breaks a caller stands beside one that looks like it and does not.
func TestChanges(t *testing.T) {
	compare := func(t *testing.T, from, to string) []conformance.Break {
		t.Helper()
		if !strings.Contains(oldContract, from) {
			t.Fatalf("%q is not in the old contract", from)
		}
		old, now := conformance.SurfaceOf(load(t, oldContract)), conformance.SurfaceOf(load(t, strings.Replace(oldContract, from, to, 1)))
		b, err := json.Marshal(old) // as the gate keeps it
		var kept conformance.Surface
		if err != nil || json.Unmarshal(b, &kept) != nil {
			t.Fatal(err)
		}
		return conformance.Compare(kept, now)
	}
	for _, x := range []struct{ name, from, to, want string }{
		{"operation is gone", "  /orders/{id}:", "  /orders/{id}/detail:", "operation.removed GET /orders/{id} "},
		{"path parameter is renamed", "  /orders/{id}:\n    get:\n      parameters: [{name: id,", "  /orders/{order}:\n    get:\n      parameters: [{name: order,", ""},
		{"operation is new", "  /orders:\n", "  /bills:\n    get: {responses: {\"200\": {description: ok}}}\n  /orders:\n", ""},
		{"maximum is lower", "maximum: 100", "maximum: 50", "request.narrowed GET /orders query limit"},
		{"maximum is higher", "maximum: 100", "maximum: 500", ""},
		{"parameter is required", "{name: state, in: query,", "{name: state, in: query, required: true,", "request.required GET /orders query state"},
		{"parameter is new", "        - {name: state,", "        - {name: sort, in: query, schema: {type: string}}\n        - {name: state,", ""},
		{"new parameter is required", "        - {name: state,", "        - {name: tenant, in: query, required: true, schema: {type: string}}\n        - {name: state,", "request.required GET /orders query tenant"},
		{"parameter is gone", "        - {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 100}}\n", "", "request.removed GET /orders query limit"},
		{"value of a list is gone", "[open, closed]", "[open]", "request.narrowed GET /orders query state"},
		{"value of a list is new", "[open, closed]", "[open, closed, lost]", ""},
		{"type is another", "{name: limit, in: query, schema: {type: integer,", "{name: limit, in: query, schema: {type: string,", "request.narrowed GET /orders query limit"},
		{"integer becomes number", "{name: limit, in: query, schema: {type: integer,", "{name: limit, in: query, schema: {type: number,", ""},
		{"member is required", "required: [name]", "required: [name, note]", "request.required POST /orders body /note"},
		{"member is optional", "required: [name]", "required: []", ""},
		{"text is shorter", "maxLength: 50", "maxLength: 20", "request.narrowed POST /orders body /name"},
		{"body is closed", "{type: object, required: [name],", "{type: object, additionalProperties: false, required: [name],", "request.narrowed POST /orders body"},
		{"answer loses a member", "required: [id, total], properties: {id: {type: string}, total: {type: integer}}", "required: [id], properties: {id: {type: string}}", "answer.removed GET /orders answer 200 body /items/*/total"},
		{"answer has a member more", "total: {type: integer}", "total: {type: integer}, tax: {type: integer}", ""},
		{"member of an answer may be null", "total: {type: integer}", "total: {type: integer, nullable: true}", "answer.widened GET /orders answer 200 body /items/*/total"},
		{"answer has another status", "\"201\"", "\"202\"", "answer.status POST /orders answer 201"},
		{"answer has one status more", "{\"201\": {description: made}}", "{\"201\": {description: made}, \"409\": {description: conflict}}", ""},
		{"media type is another", "requestBody: {required: true, content: {application/json:", "requestBody: {required: true, content: {application/xml:", "request.media-type POST /orders body"},
		{"credentials are asked for", "    post:\n", "    post:\n      security: [{key: []}]\n", "security.raised POST /orders "},
		{"nothing", "title: orders", "title: Orders of ours", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			var got []string
			for _, b := range compare(t, x.from, x.to) {
				got = append(got, b.Rule+" "+b.Operation+" "+b.Place())
			}
			if x.want == "" && len(got) > 0 || x.want != "" && (len(got) != 1 || got[0] != x.want) {
				t.Errorf("got %q, want %q", got, x.want)
			}
		})
	}
}

type traffic map[string]conformance.Usage

func (u traffic) Usage(_ context.Context, api, operation string, _ time.Time) (conformance.Usage, error) {
	if api != "orders" {
		return conformance.Usage{}, errors.New("another API")
	}
	return u[operation], nil
}

// Only who uses what changes is broken by it, and is named.
func TestConsumersOfAChangeAreNamed(t *testing.T) {
	list := []conformance.Break{
		{Rule: "operation.removed", Operation: "GET /orders/{id}"},
		{Rule: "request.narrowed", Operation: "GET /orders", In: sallyport.InQuery, Name: "limit", OnlyUsers: true},
		{Rule: "request.narrowed", Operation: "GET /orders", In: sallyport.InQuery, Name: "state", OnlyUsers: true},
		{Rule: "operation.removed", Operation: "DELETE /orders/{id}"},
	}
	uses := traffic{
		"GET /orders/{id}": {Consumers: []string{"billing", "app"}},
		"GET /orders":      {Consumers: []string{"reports"}, Anonymous: true, Used: func(_ sallyport.In, name string) bool { return name == "limit" }},
	}
	got, err := conformance.Affected(t.Context(), "orders", list, uses, time.Now())
	if err != nil || len(got) != 2 || got[0].Operation != "GET /orders/{id}" || got[1].Name != "limit" {
		t.Fatalf("got %+v, %v", got, err)
	}
	r := &conformance.Report{Passed: true}
	r.Add(got)
	if r.Passed || !strings.Contains(r.Findings[0].Detail, "billing, app") || !strings.Contains(r.Findings[1].Detail, "reports, callers without a name") {
		t.Errorf("%+v", r.Findings)
	}
	if got, err := conformance.Affected(t.Context(), "orders", list, nil, time.Now()); err != nil || len(got) != len(list) {
		t.Errorf("where nobody knows who uses what, %d of %d breaks count (%v)", len(got), len(list), err)
	}
	if _, err := conformance.Affected(t.Context(), "x", list, uses, time.Now()); err == nil {
		t.Error("an inventory that cannot be asked lets changes pass")
	}
}

package spec_test

import (
	"slices"
	"testing"

	"sallyport.dev/spec"
)

// Links that one value of the body is enough for are read, by id and by
// reference; others are left alone.
func TestLinks(t *testing.T) {
	set := loadText(t, `openapi: 3.1.0
info: {title: Orders, version: "1"}
paths:
  /orders:
    get:
      responses:
        "200":
          description: ok
          links:
            customer: {operationId: customer, parameters: {path.id: "$response.body#/items/*/customer"}}
            shop: {operationRef: "#/paths/~1shops~1{id}/get", parameters: {id: "$response.body#/shop"}}
            shared: {$ref: "#/components/links/shared"}
            constant: {operationId: customer, parameters: {id: "7"}}
            header: {operationId: customer, parameters: {id: "$response.header.X-Id"}}
            two: {operationId: customer, parameters: {id: "$response.body#/a", b: "$response.body#/b"}}
        "404": {description: no, links: {never: {operationId: customer, parameters: {id: "$response.body#/id"}}}}
  /customers/{id}: {get: {operationId: customer, parameters: [{name: id, in: path, required: true, schema: {type: string}}], responses: {"200": {description: ok}}}}
  /shops/{id}: {get: {parameters: [{name: id, in: path, required: true, schema: {type: string}}], responses: {"200": {description: ok}}}}
components: {links: {shared: {operationId: customer, parameters: {id: "$response.body#/owner"}}}}
`)
	var got []spec.Link
	for _, o := range set.Operations() {
		got = append(got, o.Links()...)
	}
	want := []spec.Link{{Name: "customer", Operation: "customer", Param: "id", Pointer: "/items/*/customer"}, {Name: "shop", Operation: "GET /shops/{id}", Param: "id", Pointer: "/shop"},
		{Name: "shared", Operation: "customer", Param: "id", Pointer: "/owner"}}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

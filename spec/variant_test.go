package spec_test

import (
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/spec"
)

// What a lenient server reads as a declared path is told from what is merely
// undeclared.
func TestVariant(t *testing.T) {
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "pets.yaml", Data: []byte(`openapi: 3.1.0
info: {title: Pets, version: "1"}
paths:
  /pets: {get: {responses: {"200": {description: ok}}}, post: {responses: {"201": {description: ok}}}}
  /pets/{id}/notes: {get: {parameters: [{name: id, in: path, required: true, schema: {type: string}}], responses: {"200": {description: ok}}}}
  /Files/{name}.json: {get: {parameters: [{name: name, in: path, required: true, schema: {type: string}}], responses: {"200": {description: ok}}}}
  /trailing/: {get: {responses: {"200": {description: ok}}}}
`)}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"/pets/", "//pets", "/pets//", "/./pets", "/pets/.", "/x/../pets", "/Pets", "/PETS", "/pets;x=1", "/;a/pets", "/pets%20",
		"/pets.", "/pets%2e", "/%2fpets", "/pets%2f", `/\pets`, "/pets%5c", "/%2570ets", "/pets%3fx", "/pets%23", "/pets%00", "/pets%3bx", "/pets/7%2fnotes",
		"/pets/7/Notes", "/pets//7/notes", "/files/a.json", "/FILES/a.JSON", "/trailing", "/..;/pets", "/pets%09", "/p%45ts"} {
		var m spec.Match
		if got := set.Match(http.MethodPost, p, &m); got != spec.NoPath {
			continue // it is declared, or so is its path
		}
		if !set.Variant(p) {
			t.Errorf("%s: not seen as a variant of a declared path", p)
		}
	}
	for _, p := range []string{"/", "", "pets", "/pet", "/petss", "/pets/7", "/pets/7/note", "/pets-old", "/v2/pets", "/pets.json", "/pets%zz", "/files/a.xml",
		"/beta/feature", "/trailing/x", "/" + strings.Repeat("a/", 4000)} {
		if set.Variant(p) {
			t.Errorf("%s: taken for a declared path", p)
		}
	}
}

func FuzzVariant(f *testing.F) {
	set, err := spec.Load(f.Context(), []spec.Source{{Path: "../examples/first-api/petstore.openapi.yaml"}}, spec.Options{})
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range []string{"/pets", "/pets/1", "/%2570ets;x", "/..//", "%", "/%00"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		var m spec.Match
		if set.Match(http.MethodGet, p, &m) == spec.Found && !strings.ContainsAny(p, "%;. \\\t\r\n\v\f?#\x00\u0085\u00a0") && !set.Variant(p) {
			t.Errorf("%q is declared, and no variant of what is", p)
		}
	})
}

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

// A parameter takes no value that some servers read as another declared path;
// every other value it takes as before.
func TestHiddenLiteral(t *testing.T) {
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "pets.yaml", Data: []byte(`openapi: 3.1.0
info: {title: Pets, version: "1"}
paths:
  /pets/search: {get: {security: [{admin: []}], responses: {"200": {description: ok}}}}
  /pets/{id}: {get: {parameters: [{name: id, in: path, required: true, schema: {type: string}}], responses: {"200": {description: ok}}}}
  /pets/{id}/notes: {get: {parameters: [{name: id, in: path, required: true, schema: {type: string}}], responses: {"200": {description: ok}}}}
  /users/{name}/Keys/{key}: {get: {parameters: [{name: name, in: path, required: true, schema: {type: string}}, {name: key, in: path, required: true, schema: {type: string}}], responses: {"200": {description: ok}}}}
  /users/{name}/{list}/all: {get: {parameters: [{name: name, in: path, required: true, schema: {type: string}}, {name: list, in: path, required: true, schema: {type: string}}], responses: {"200": {description: ok}}}}
  /files/{name}.json: {get: {parameters: [{name: name, in: path, required: true, schema: {type: string}}], responses: {"200": {description: ok}}}}
  /files/{name}: {get: {parameters: [{name: name, in: path, required: true, schema: {type: string}}], responses: {"200": {description: ok}}}}
components: {securitySchemes: {admin: {type: http, scheme: bearer}}}
`)}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/pets/Search": "", "/pets/SEARCH": "", "/pets/search;x": "", "/pets/search;x=1": "", "/pets/search%20": "", "/pets/search.": "", "/pets/search%2e": "",
		"/pets/search%2f": "", "/pets/%2fsearch": "", "/pets/search%3fx": "", "/pets/%2573earch": "", "/pets/search%00": "", "/pets/7%2fnotes": "", "/pets/7%5cNotes": "",
		"/pets/a%2f..%2fsearch": "", "/files/a.JSON": "", "/users/ann/keys/all": "", "/users/ann/KEYS/all": "",

		"/pets/search": "/pets/search", "/pets/s%65arch": "/pets/search", "/pets/7": "/pets/{id}", "/pets/Rex": "/pets/{id}", "/pets/Search2": "/pets/{id}", "/pets/re-search": "/pets/{id}",
		"/pets/3F2504E0-4F89-11D3-9A0C-0305E82C3301": "/pets/{id}", "/pets/a;b": "/pets/{id}", "/pets/group%2fproject": "/pets/{id}", "/pets/Mr.%20Search": "/pets/{id}",
		"/pets/Search/notes": "/pets/{id}/notes", "/pets/%C3%84nne": "/pets/{id}", "/files/a.json": "/files/{name}.json", "/files/A.xml": "/files/{name}",
		"/users/Ann/Keys/all": "/users/{name}/Keys/{key}", "/users/ann/Pets/all": "/users/{name}/{list}/all",
	} {
		var m spec.Match
		switch set.Match(http.MethodGet, path, &m) {
		case spec.Found:
			if m.Op.Template != want {
				t.Errorf("%s: matches %s, want %q", path, m.Op.Template, want)
			}
		case spec.NoPath:
			if want != "" {
				t.Errorf("%s: matches nothing, want %s", path, want)
			} else if !set.Variant(path) {
				t.Errorf("%s: not seen as a variant", path)
			}
		default:
			t.Errorf("%s: no such method", path)
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

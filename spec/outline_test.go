package spec_test

import (
	"fmt"
	"slices"
	"testing"

	"sallyport.dev/spec"
)

func TestOutlineNamesWhatIsDeclared(t *testing.T) {
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "o.yaml", Data: []byte(`openapi: 3.1.0
info: {title: o, version: "1"}
paths:
  /things/{id}:
    put:
      security: [{key: []}]
      parameters:
        - {name: id, in: path, required: true, schema: {type: integer}}
        - {name: dry, in: query, schema: {type: boolean}}
      requestBody:
        content:
          application/json:
            schema:
              allOf: [{$ref: "#/components/schemas/Thing"}, {type: object, required: [at], properties: {at: {type: string, format: date-time}}}]
      responses:
        "200": {description: ok, content: {application/json: {schema: {type: array, items: {$ref: "#/components/schemas/Thing"}}}}}
        4XX: {description: no}
        default: {description: else}
components:
  securitySchemes: {key: {type: apiKey, in: header, name: X-Key}}
  schemas:
    Thing:
      type: object
      required: [name]
      properties:
        name: {type: string}
        parts: {type: array, items: {$ref: "#/components/schemas/Thing"}}
`)}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := set.Operations()[0].Outline()
	var got []string
	for _, p := range o.Places {
		got = append(got, fmt.Sprintf("%v %s %s%s required=%v answer=%v", p.Place, p.Type, p.Format, "", p.Required, p.Response))
	}
	for _, want := range []string{
		"path id integer  required=true answer=false",
		"query dry boolean  required=false answer=false",
		"body /at string date-time required=true answer=false",
		"body /name string  required=true answer=false",
		"body /parts array  required=false answer=false",
		"body /*/name string  required=true answer=true",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no %q in\n%q", want, got)
		}
	}
	if want := []string{"default", "4XX", "200"}; !slices.Equal(o.Statuses, want) {
		t.Errorf("statuses %q, want %q", o.Statuses, want)
	}
	if !slices.Equal(o.Schemes, []string{"key"}) {
		t.Errorf("schemes %q", o.Schemes)
	}
}

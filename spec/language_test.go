package spec_test

import (
	"context"
	"strings"
	"testing"

	"sallyport.dev/spec"
)

// What is wrong with a parameter's query language, or with a media type's XML
// schema, is said with its line.
func TestLanguageMistakes(t *testing.T) {
	const head = "openapi: 3.1.0\ninfo: {title: a, version: '1'}\npaths:\n  /a:\n    post:\n      responses: {'200': {description: ok}}\n"
	for _, c := range []struct{ text, want string }{
		{"      parameters: [{name: w, in: query, schema: {type: string}, x-sallyport-format: sql}]\n", `a.yaml:7:85: there is no query language "sql"`},
		{"      parameters: [{name: w, in: query, schema: {type: string, format: sql-expression}}]\n", "wants the list of its fields"},
		{"      parameters: [{name: w, in: header, schema: {type: string, format: rsql}}]\n", "not in the query"},
		{"      parameters: [{name: w, in: query, schema: {type: string, format: rsql}, x-functions: [lower]}]\n", "takes no list of functions"},
		{"      requestBody: {content: {application/json: {x-xsd: a.xsd}}}\n", "no XML"},
		{"      requestBody: {content: {application/xml: {x-xsd: a.xsd}}}\n", "cannot be read"},
		{"      requestBody: {content: {application/xml: {x-xsd: '#a'}}}\n", "no path of a schema"},
	} {
		_, err := spec.Load(context.Background(), []spec.Source{{Path: "a.yaml", Data: []byte(head + c.text)}}, spec.Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "a.yaml:7:") {
			t.Errorf("%s\ngot %v, want %q", c.text, err, c.want)
		}
	}
}

package spec_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sallyport.dev"
	"sallyport.dev/spec"
)

func loadText(t testing.TB, text string) *spec.Set {
	t.Helper()
	set, err := spec.Load(context.Background(), []spec.Source{{Path: "spec.yaml", Data: []byte(text)}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// rules lists the problems of a check as "rule@place".
func rules(c *spec.Check) string {
	var out []string
	for _, p := range c.Problems {
		out = append(out, p.Rule+"@"+p.Place.String())
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// Every style, as a table of one parameter, what is sent, and what is wrong
// with it. Attack and look-alike stand side by side.
func TestStyles(t *testing.T) {
	for _, c := range []struct {
		param string // in flow YAML, named p
		sent  string // path segment, query, header or cookie value
		want  string // rules; "" = holds
	}{
		{`in: path, schema: {type: integer}`, `12`, ``},
		{`in: path, schema: {type: integer}`, `12a`, `schema.type@path p`},
		{`in: path, schema: {type: integer}`, `1%32`, ``},
		{`in: path, schema: {type: integer}`, `%31%zz`, `parameter.encoding@path p`},
		{`in: path, schema: {type: string}`, `a+b`, ``},
		{`in: path, schema: {type: string, maxLength: 3}`, `a%2Fb`, ``},
		{`in: path, schema: {type: string}`, `..%2fetc`, `path.dot-segment@path p`},
		{`in: path, schema: {type: string}`, `v1..2`, ``},
		{`in: path, schema: {type: string}`, `%ff`, `parameter.utf8@path p`},
		{`in: path, schema: {type: array, items: {type: integer}}`, `3,4,5`, ``},
		{`in: path, schema: {type: array, items: {type: integer}}`, `3,x,5`, `schema.type@path p/1`},
		{`in: path, schema: {type: object, required: [a], properties: {a: {type: integer}, b: {type: string}}}`, `a,1,b,x`, ``},
		{`in: path, schema: {type: object, required: [a], properties: {a: {type: integer}}}`, `b,x`, `schema.required@path p`},
		{`in: path, explode: true, schema: {type: object, required: [a], properties: {a: {type: integer}}}`, `a=1,b=x`, ``},
		{`in: header, schema: {type: object, required: [a], properties: {a: {type: integer}}}`, `{"a": 12}`, ``},
		{`in: header, schema: {type: object, properties: {a: {type: integer}}}`, `{"a": "x"}`, `schema.type@header p/a`},
		{`in: header, schema: {type: object, properties: {a: {type: integer}}}`, `{"a": 1, "a": 2}`, `json.duplicate-key@header p`},
		{`in: header, schema: {type: object, properties: {a: {type: integer}}}`, `{"a": 1`, `parameter.object@header p`},
		{`in: query, explode: false, schema: {type: object, properties: {a: {type: integer}}}`, `p=%7B%22a%22:1%7D`, ``},
		{`in: path, style: label, schema: {type: array, items: {type: integer}}`, `.3,4`, ``},
		{`in: path, style: label, explode: true, schema: {type: array, items: {type: integer}}`, `.3.4`, ``},
		{`in: path, style: label, schema: {type: integer}`, `.3`, ``},
		{`in: path, style: matrix, schema: {type: integer}`, `;p=3`, ``},
		{`in: path, style: matrix, schema: {type: array, items: {type: integer}}`, `;p=3,4`, ``},
		{`in: path, style: matrix, explode: true, schema: {type: array, maxItems: 2, items: {type: integer}}`, `;p=3;p=4`, ``},
		{`in: path, style: matrix, explode: true, schema: {type: object, properties: {a: {type: integer}}}`, `;a=3;b=4`, ``},

		{`in: query, schema: {type: integer, maximum: 9}`, `p=7`, ``},
		{`in: query, schema: {type: integer, maximum: 9}`, `p=10`, `schema.maximum@query p`},
		{`in: query, schema: {type: integer}`, `p=1&p=2`, `parameter.duplicate@query p`},
		{`in: query, schema: {type: integer}`, `%70=1&p=x`, `parameter.duplicate@query p schema.type@query p`},
		{`in: query, required: true, schema: {type: integer}`, ``, `parameter.missing@query p`},
		{`in: query, schema: {type: string, minLength: 1}`, `p=`, `schema.minLength@query p`},
		{`in: query, allowEmptyValue: true, schema: {type: string, minLength: 1}`, `p=`, ``},
		{`in: query, schema: {type: boolean}`, `p=true`, ``},
		{`in: query, schema: {type: boolean}`, `p=True`, `schema.type@query p`},
		{`in: query, schema: {type: string, enum: ["a b"]}`, `p=a+b`, ``},
		{`in: query, schema: {type: string, enum: ["a b"]}`, `p=a%20b`, ``},
		{`in: query, schema: {type: string, enum: ["a+b"]}`, `p=a+b`, `schema.enum@query p`},
		{`in: query, schema: {type: string, enum: ["1"]}`, `p=1`, ``},
		{`in: query, schema: {enum: [1, two]}`, `p=1`, ``},
		{`in: query, schema: {anyOf: [{type: integer}, {type: string, format: uuid}]}`, `p=7c9e6679-7425-40de-944b-e07fc1f90ae7`, ``},
		{`in: query, schema: {anyOf: [{type: integer}, {type: string, format: uuid}]}`, `p=12`, ``},
		{`in: query, schema: {anyOf: [{type: integer}, {type: string, format: uuid}]}`, `p=1x`, `schema.format@query p`},
		{`in: query, schema: {type: array, items: {type: integer}}`, `p=1&p=2`, ``},
		{`in: query, schema: {type: array, items: {type: integer}}`, `p=1,2`, `schema.type@query p/0`},
		{`in: query, explode: false, schema: {type: array, items: {type: integer}}`, `p=1,2`, ``},
		{`in: query, explode: false, schema: {type: array, maxItems: 1, items: {type: string}}`, `p=1%2C2`, ``},
		{`in: query, explode: false, schema: {type: array, items: {type: integer}}`, `p=1&p=2`, `parameter.duplicate@query p`},
		{`in: query, style: spaceDelimited, explode: false, schema: {type: array, items: {type: integer}}`, `p=1%202+3`, ``},
		{`in: query, style: pipeDelimited, explode: false, schema: {type: array, items: {type: integer}}`, `p=1|2%7C3`, ``},
		{`in: query, style: pipeDelimited, explode: false, schema: {type: array, maxItems: 2, items: {type: integer}}`, `p=1|2|3`, `schema.maxItems@query p`},
		{`in: query, style: deepObject, schema: {type: object, additionalProperties: false, properties: {a: {type: integer}}}`, `p[a]=1`, ``},
		{`in: query, style: deepObject, schema: {type: object, additionalProperties: false, properties: {a: {type: integer}}}`, `p%5Ba%5D=x`, `schema.type@query p/a`},
		{`in: query, style: deepObject, schema: {type: object, additionalProperties: false, properties: {a: {type: integer}}}`, `p[b]=1`, `schema.additionalProperties@query p/b`},
		{`in: query, style: deepObject, schema: {type: object, properties: {a: {type: integer}}}`, `p[a]=1&p[a]=2`, `parameter.duplicate@query p`},
		{`in: query, schema: {type: object, properties: {a: {type: integer}, b: {type: boolean}}}`, `a=1&b=true`, ``},
		{`in: query, schema: {type: object, properties: {a: {type: integer}, b: {type: boolean}}}`, `a=x`, `schema.type@query p/a`},
		{`in: query, explode: false, schema: {type: object, properties: {a: {type: integer}}}`, `p=a,1`, ``},
		{`in: query, explode: false, schema: {type: object, properties: {a: {type: integer}}}`, `p=a`, `parameter.object@query p`},
		{`in: query, content: {application/json: {schema: {type: object, properties: {a: {type: integer}}}}}`, `p=%7B%22a%22:1%7D`, ``},
		{`in: query, content: {application/json: {schema: {type: object, properties: {a: {type: integer}}}}}`, `p={"a":"x"}`, `schema.type@query p/a`},
		{`in: query, content: {application/json: {schema: {type: object}}}`, `p={"a":1,"a":2}`, `json.duplicate-key@query p`},
		{`in: query, content: {application/json: {schema: {type: object}}}`, `p={`, `json.syntax@query p`},

		{`in: header, schema: {type: integer}`, `5`, ``},
		{`in: header, schema: {type: integer}`, `five`, `schema.type@header p`},
		{`in: header, schema: {type: array, items: {type: integer}}`, `1, 2`, ``},
		{`in: header, schema: {type: object, properties: {a: {type: integer}}}`, `a,1`, ``},
		{`in: header, required: true, schema: {type: integer}`, ``, `parameter.missing@header p`},
		{`in: cookie, schema: {type: integer}`, `5`, ``},
		{`in: cookie, schema: {type: integer}`, `x`, `schema.type@cookie p`},
		{`in: cookie, required: true, schema: {type: integer}`, ``, `parameter.missing@cookie p`},
	} {
		path, required := "/x", ""
		if strings.HasPrefix(c.param, "in: path") {
			path, required = "/x/{p}", ", required: true"
		}
		set := loadText(t, fmt.Sprintf("openapi: 3.0.3\ninfo: {title: t, version: '1'}\npaths:\n  %s:\n    get:\n      parameters: [{name: p, %s%s}]\n"+
			"      responses: {'200': {description: ok}}\n", path, c.param, required))
		target, query, h := "/x", "", http.Header{}
		switch {
		case strings.HasPrefix(c.param, "in: path"):
			target = "/x/" + c.sent
		case strings.HasPrefix(c.param, "in: query"):
			query = c.sent
		case c.sent == "":
		case strings.HasPrefix(c.param, "in: header"):
			h.Set("P", c.sent)
		default:
			h.Set("Cookie", "other=1; p="+c.sent)
		}
		var m spec.Match
		var check spec.Check
		if set.Match("GET", target, &m) != spec.Found {
			t.Errorf("%s: %s does not match", c.param, target)
			continue
		}
		for range 2 { // a reused check gives the same
			check.Reset()
			m.Op.CheckParams(&check, &m, query, h)
			if got := rules(&check); got != c.want {
				t.Errorf("{%s} sent %q: got %q, want %q", c.param, c.sent, got, c.want)
			}
		}
	}
}

func TestCollectionFormat(t *testing.T) {
	for _, c := range []struct{ format, query, want string }{
		{"csv", "p=1,2", ""}, {"ssv", "p=1%202", ""}, {"tsv", "p=1%092", ""}, {"pipes", "p=1|2", ""}, {"multi", "p=1&p=2", ""}, {"multi", "p=1,2", "schema.type@query p/0"},
		{"csv", "p=1&p=2", "parameter.duplicate@query p"},
	} {
		set := loadText(t, "swagger: '2.0'\ninfo: {title: t, version: '1'}\nbasePath: /v2/\npaths:\n  /x:\n    get:\n      parameters:\n"+
			"        - {name: p, in: query, type: array, items: {type: integer}, collectionFormat: "+c.format+"}\n      responses: {'200': {description: ok}}\n")
		var m spec.Match
		var check spec.Check
		if set.Match("GET", "/v2/x", &m) != spec.Found {
			t.Fatal("no match")
		}
		m.Op.CheckParams(&check, &m, c.query, nil)
		if got := rules(&check); got != c.want {
			t.Errorf("%s %s: got %q, want %q", c.format, c.query, got, c.want)
		}
	}
}

// What is proven, declared, undocumented and decoded of one request.
func TestParamsRead(t *testing.T) {
	set := loadText(t, `
openapi: 3.1.0
info: {title: t, version: "1"}
security: [{key: []}]
paths:
  /x/{id}:
    get:
      parameters:
        - {name: id, in: path, required: true, schema: {type: string, format: uuid}}
        - {name: n, in: query, schema: {type: integer}}
        - {name: q, in: query, schema: {type: string}}
        - {name: tags, in: query, schema: {type: array, items: {type: string, pattern: "^[a-z]{1,8}$"}}}
components:
  securitySchemes:
    key: {type: apiKey, in: query, name: api_key}
`)
	var m spec.Match
	var c spec.Check
	if set.Match("GET", "/x/7c9e6679-7425-40de-944b-e07fc1f90ae7", &m) != spec.Found {
		t.Fatal("no match")
	}
	m.Op.CheckParams(&c, &m, "n=5&q=%27%20or%201=1&tags=ab&tags=cd&api_key=k&debug%5Fmode=1", http.Header{"X-Any": {"v"}, "Host": {"h"}, "Authorization": {"Bearer x"},
		"Cookie": {"s=1; t=\"2\""}})
	if len(c.Problems) > 0 {
		t.Errorf("problems %v", c.Problems)
	}
	var got []string
	for _, p := range c.Params {
		got = append(got, fmt.Sprintf("%s %s=%s proven=%v declared=%v", p.In, p.Name, p.Value, p.Proven, p.Declared))
	}
	want := []string{
		"path id=7c9e6679-7425-40de-944b-e07fc1f90ae7 proven=true declared=true", "query n=5 proven=true declared=true",
		"query q=' or 1=1 proven=false declared=true", "query tags=ab proven=true declared=true", "query tags=cd proven=true declared=true",
		"query api_key=k proven=false declared=true", "query debug_mode=1 proven=false declared=false", "header X-Any=v proven=false declared=false",
		"cookie s=1 proven=false declared=false", "cookie t=2 proven=false declared=false"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("params:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(c.Undocumented) != 1 || c.Undocumented[0] != (sallyport.Place{In: sallyport.InQuery, Name: "debug_mode"}) {
		t.Errorf("undocumented %v", c.Undocumented)
	}
	c.Reset()
	spec.ReadParams(&c, "/a/%2e%2e/b%20c", "x=1", nil)
	if got := rules(&c); got != "path.dot-segment@path" || len(c.Params) != 4 || c.Params[2].Value != "b c" {
		t.Errorf("ReadParams: %s %v", got, c.Params)
	}
	c.Reset()
	m.Op.CheckParams(&c, nil, strings.Repeat("a=1&", 5000), nil)
	if len(c.Params) != 1000 || !strings.Contains(rules(&c), "parameter.count") {
		t.Errorf("%d params: %s", len(c.Params), rules(&c))
	}
}

func FuzzParams(f *testing.F) {
	set := loadText(f, `
openapi: 3.0.3
info: {title: t, version: "1"}
paths:
  /x/{a}/{b}/{c}:
    get:
      parameters:
        - {name: a, in: path, required: true, style: matrix, explode: true, schema: {type: array, items: {type: integer}}}
        - {name: b, in: path, required: true, style: label, schema: {type: object, properties: {k: {type: integer}}}}
        - {name: c, in: path, required: true, schema: {type: string, format: date}}
        - {name: n, in: query, schema: {type: integer}}
        - {name: l, in: query, explode: false, style: pipeDelimited, schema: {type: array, uniqueItems: true, items: {type: string}}}
        - {name: d, in: query, style: deepObject, schema: {type: object, properties: {k: {type: integer}}}}
        - {name: j, in: query, content: {application/json: {schema: {type: object}}}}
        - {name: X-H, in: header, schema: {type: array, items: {type: integer}}}
        - {name: s, in: cookie, schema: {type: string, pattern: "^[a-z]{1,9}$"}}
      responses: {"200": {description: ok}}
`)
	f.Add("/x/;a=1;a=2/.k,1/2026-01-02", "n=1&l=a|b&d[k]=3&j={}", "1, 2", "s=abc")
	f.Add("/x/%3b/%2e/%zz", "d[k][m]=1&%6e=%&l=|%7c|", ",", "s=\"x\"; ;=;")
	var c spec.Check
	f.Fuzz(func(t *testing.T, path, query, head, cookie string) {
		var m spec.Match
		c.Reset()
		h := http.Header{"X-H": {head}, "Cookie": {cookie}}
		if set.Match("GET", path, &m) == spec.Found {
			m.Op.CheckParams(&c, &m, query, h)
		} else {
			spec.ReadParams(&c, path, query, h)
		}
		for _, p := range c.Params {
			if p.Proven && strings.ContainsAny(p.Value, "'\"<>;()$`\\/") && p.In != sallyport.InPath {
				t.Fatalf("proven though it holds metacharacters: %+v", p)
			}
		}
	})
}

package schema_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"sallyport.dev/spec/jsondoc"
	"sallyport.dev/spec/schema"
)

// second compiles the same schema with another validator.
func second(t testing.TB, text string, draft *jsonschema.Draft) *jsonschema.Schema {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(draft)
	if err := c.AddResource("schema.json", doc); err != nil {
		return nil
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		return nil
	}
	return s
}

// verdict of ours; the marks of an instance that does not hold are taken back.
func verdict(t testing.TB, s *schema.Schema, instance string) bool {
	var d jsondoc.Doc
	if err := d.Parse([]byte(instance), jsondoc.Limits{}); err != nil {
		t.Fatalf("%s: %v", instance, err)
	}
	var problems []schema.Problem
	ok := s.Validate(&d, 0, &problems, 3)
	if ok != (len(problems) == 0) || ok != s.Validate(&d, 0, nil, 0) {
		t.Fatalf("instance %s: %v with problems %v", instance, ok, problems)
	}
	for i := range d.Nodes {
		if d.Nodes[i].Proven && !ok {
			t.Fatalf("instance %s: marked though it does not hold", instance)
		}
	}
	return ok
}

// A writer makes random schemas and instances that are likely to meet.
type writer struct {
	r     *rand.Rand
	draft int
	ref   bool
}

var (
	keys    = []string{"a", "b", "cc", "d~/e", "é"}
	words   = []string{`"a"`, `"ab"`, `"abc"`, `""`, `"é"`, `"1"`, `"A-1"`, `"\u0061b"`}
	numbers = []string{"0", "1", "-1", "1.0", "1e1", "0.5", "2.5", "10", "1e-1", "100000000000000000001", "1E2", "-0", "3.0000000000000000001"}
)

func pick[T any](w *writer, list []T) T { return list[w.r.IntN(len(list))] }

func (w *writer) instance(depth int) string {
	switch n := w.r.IntN(9); {
	case n < 2 && depth > 0:
		var parts []string
		seen := map[string]bool{}
		for range w.r.IntN(4) {
			k := pick(w, keys)
			if !seen[k] {
				seen[k] = true
				q, _ := json.Marshal(k)
				parts = append(parts, string(q)+":"+w.instance(depth-1))
			}
		}
		return "{" + strings.Join(parts, ",") + "}"
	case n < 4 && depth > 0:
		var parts []string
		for range w.r.IntN(4) {
			parts = append(parts, w.instance(depth-1))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case n < 6:
		return pick(w, words)
	case n < 8:
		return pick(w, numbers)
	}
	return pick(w, []string{"true", "false", "null"})
}

func (w *writer) schema(depth int) string {
	if w.draft != 4 && w.r.IntN(20) == 0 {
		return pick(w, []string{"true", "false"})
	}
	var parts []string
	used := map[string]bool{}
	set := func(key, value string) {
		if !used[key] {
			used[key] = true
			parts = append(parts, fmt.Sprintf("%q:%s", key, value))
		}
	}
	list := func() string {
		var s []string
		for range 1 + w.r.IntN(3) {
			s = append(s, w.schema(depth-1))
		}
		return "[" + strings.Join(s, ",") + "]"
	}
	object := func() string {
		var s []string
		seen := map[string]bool{}
		for range 1 + w.r.IntN(3) {
			k := pick(w, keys)
			if !seen[k] {
				seen[k] = true
				q, _ := json.Marshal(k)
				s = append(s, string(q)+":"+w.schema(depth-1))
			}
		}
		return "{" + strings.Join(s, ",") + "}"
	}
	names := func() string {
		q, _ := json.Marshal(pick(w, keys))
		return "[" + string(q) + "]"
	}
	for range w.r.IntN(4) {
		n := 14
		if depth > 0 {
			n = 30
		}
		switch w.r.IntN(n) {
		case 0, 1:
			set("type", `"`+pick(w, []string{"null", "boolean", "object", "array", "number", "integer", "string"})+`"`)
		case 2:
			set("type", `["string","`+pick(w, []string{"null", "object", "array", "integer"})+`"]`)
		case 3:
			set("enum", "["+w.instance(1)+","+`"unlikely"`+"]")
		case 4:
			if w.draft != 4 {
				set("const", w.instance(1))
			}
		case 5:
			set(pick(w, []string{"minimum", "maximum"}), pick(w, numbers))
		case 6:
			if w.draft != 4 {
				set(pick(w, []string{"exclusiveMinimum", "exclusiveMaximum"}), pick(w, numbers))
			}
		case 7:
			set("multipleOf", pick(w, []string{"1", "0.5", "3", "0.1", "2.5"}))
		case 8:
			set(pick(w, []string{"minLength", "maxLength"}), pick(w, []string{"0", "1", "2"}))
		case 9:
			set("pattern", pick(w, []string{`"^a"`, `"b$"`, `"^[a-z]{1,2}$"`, `"a|1"`, `"^(ab|A-\\d)*$"`, `"."`}))
		case 10:
			set(pick(w, []string{"minItems", "maxItems", "minProperties", "maxProperties"}), pick(w, []string{"0", "1", "2"}))
		case 11:
			set("uniqueItems", "true")
		case 12:
			set("required", names())
		case 13:
			if w.ref && w.draft != 2020 {
				// Siblings mean nothing to draft 7; the other validator still reads some.
				return `{"$ref":"#/definitions/x"}`
			}
			if w.ref {
				set("$ref", `"#/`+map[bool]string{true: "$defs", false: "definitions"}[w.draft == 2020]+`/x"`)
			}
		case 14, 15:
			set("properties", object())
		case 16:
			set("patternProperties", `{"^[a-c]":`+w.schema(depth-1)+`}`)
		case 17:
			set("additionalProperties", w.schema(depth-1))
		case 18:
			set("items", w.schema(depth-1))
		case 19:
			set(pick(w, []string{"allOf", "anyOf", "oneOf"}), list())
		case 20:
			set("not", w.schema(depth-1))
		case 21:
			if w.draft != 4 {
				set("if", w.schema(depth-1))
				set("then", w.schema(depth-1))
				set("else", w.schema(depth-1))
			}
		case 22:
			if w.draft != 4 {
				set("contains", w.schema(depth-1))
			}
		case 23:
			if w.draft != 4 {
				set("propertyNames", w.schema(depth-1))
			}
		case 24:
			if w.draft == 2020 {
				set("prefixItems", list())
			} else {
				set("items", list())
				set("additionalItems", w.schema(depth-1))
			}
		case 25, 26:
			if w.draft == 2020 {
				set("unevaluatedProperties", pick(w, []string{"false", `{"type":"string"}`}))
			}
		case 27:
			if w.draft == 2020 {
				set("unevaluatedItems", pick(w, []string{"false", `{"type":"string"}`}))
			}
		case 28:
			if w.draft == 2020 {
				set("dependentSchemas", object())
				set("dependentRequired", `{"a":`+names()+`}`)
			} else {
				set("dependencies", `{"a":`+names()+`,"b":`+w.schema(depth-1)+`}`)
			}
		case 29:
			if w.draft == 2020 {
				set("minContains", pick(w, []string{"0", "1", "2"}))
				set("maxContains", "2")
				set("contains", w.schema(depth-1))
			}
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// Random schemas and instances get the same verdict from another validator.
func TestJudge(t *testing.T) {
	w := &writer{r: rand.New(rand.NewPCG(7, 11))}
	drafts := []struct {
		n       int
		dialect schema.Dialect
		draft   *jsonschema.Draft
	}{{4, schema.Draft4, jsonschema.Draft4}, {7, schema.Draft7, jsonschema.Draft7}, {2020, schema.Draft2020, jsonschema.Draft2020}}
	compared, held := 0, 0
	for range 12_000 {
		d := pick(w, drafts)
		w.draft, w.ref = d.n, false
		x := w.schema(2)
		w.ref = true
		body := w.schema(3)
		if !strings.HasPrefix(body, "{") {
			continue
		}
		defs := "definitions"
		if d.n == 2020 {
			defs = "$defs"
		}
		if strings.Contains(body, `"$ref"`) && d.n != 2020 {
			body = `{"allOf":[` + body + `]}`
		}
		text := body[:len(body)-1]
		if text != "{" {
			text += ","
		}
		text += fmt.Sprintf("%q:{\"x\":%s}}", defs, x)
		theirs := second(t, text, d.draft)
		ours, err := schema.Compile([]byte(text), schema.Options{Dialect: d.dialect})
		if theirs == nil || err != nil {
			if (theirs == nil) != (err != nil) {
				t.Fatalf("schema %s (draft %d): ours %v, theirs compiled %v", text, d.n, err, theirs != nil)
			}
			continue
		}
		for range 8 {
			instance := w.instance(3)
			v, err := jsonschema.UnmarshalJSON(strings.NewReader(instance))
			if err != nil {
				t.Fatal(err)
			}
			want := theirs.Validate(v) == nil
			if got := verdict(t, ours, instance); got != want {
				t.Fatalf("draft %d schema %s\ninstance %s: ours %v, theirs %v: %v", d.n, text, instance, got, want, theirs.Validate(v))
			}
			compared++
			if want {
				held++
			}
		}
	}
	t.Logf("%d verdicts compared, %d held", compared, held)
	if compared < 50_000 || held < compared/10 || held > compared*9/10 {
		t.Errorf("%d compared, %d held", compared, held)
	}
}

// A schema and an instance of any bytes: no panic, and the other validator's
// verdict where both compile the schema.
func FuzzEvaluate(f *testing.F) {
	for _, s := range []struct{ schema, instance string }{
		{`{"type":"object","properties":{"a":{"type":"integer","minimum":1}},"required":["a"]}`, `{"a":1}`},
		{`{"anyOf":[{"const":"x"},{"pattern":"^[a-z]{2,3}$"}]}`, `"ab"`},
		{`{"$defs":{"n":{"properties":{"n":{"$ref":"#/$defs/n"}}}},"$ref":"#/$defs/n","unevaluatedProperties":false}`, `{"n":{}}`},
		{`{"items":{"oneOf":[{"multipleOf":0.1},{"type":"string"}]},"uniqueItems":true}`, `[0.3,"a",1e1]`},
		{`{"$id":"https://x.test/y","$dynamicAnchor":"n","properties":{"a":{"$dynamicRef":"#n"}}}`, `{"a":{}}`},
	} {
		f.Add([]byte(s.schema), []byte(s.instance))
	}
	f.Fuzz(func(t *testing.T, text, instance []byte) {
		if len(text) > 4096 || len(instance) > 4096 {
			return
		}
		var d jsondoc.Doc
		if d.Parse(instance, jsondoc.Limits{}) != nil {
			return
		}
		for _, dialect := range []schema.Dialect{schema.Draft2020, schema.Draft7, schema.OpenAPI30} {
			s, err := schema.Compile(text, schema.Options{Dialect: dialect, Formats: true})
			if err != nil {
				continue
			}
			e := schema.Evaluation{Max: 4, Names: true, Direction: schema.Request}
			ok := s.Evaluate(&d, 0, &e)
			if ok != (len(e.Problems) == 0) {
				t.Fatalf("schema %s instance %s: %v with %v", text, instance, ok, e.Problems)
			}
			s.Shape()
			s.Items()
			s.Properties()
		}
	})
}

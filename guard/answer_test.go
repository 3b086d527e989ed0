package guard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"testing"

	sallyport "sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

const peopleSpec = `openapi: 3.1.0
info: {title: people, version: "1"}
paths:
  /open: {get: {responses: {"200": {description: ok, content: {application/json: {schema: {$ref: '#/components/schemas/Person'}}}}}}}
  /closed: {get: {responses: {"200": {description: ok, content: {application/json: {schema: {type: object, additionalProperties: false, required: [id], properties: {id: {type: integer}, tags: {type: array, items: {type: object, additionalProperties: false, properties: {t: {type: string}}}}}}}}}}}}
  /extras: {get: {responses: {"200": {description: ok, content: {application/json: {schema: {type: object, properties: {id: {type: integer}}, additionalProperties: {type: string}}}}}}}}
  /patterns: {get: {responses: {"200": {description: ok, content: {application/json: {schema: {type: object, properties: {id: {type: integer}}, patternProperties: {"^x-": {}}}}}}}}}
  /both: {get: {responses: {"200": {description: ok, content: {application/json: {schema: {allOf: [{$ref: '#/components/schemas/A'}, {$ref: '#/components/schemas/B'}]}}}}}}}
  /either: {get: {responses: {"200": {description: ok, content: {application/json: {schema: {oneOf: [{$ref: '#/components/schemas/Cat'}, {$ref: '#/components/schemas/Dog'}]}}}}}}}
  /any: {get: {responses: {"200": {description: ok, content: {application/json: {schema: {anyOf: [{$ref: '#/components/schemas/A'}, {$ref: '#/components/schemas/B'}]}}}}}}}
  /left: {get: {responses: {"200": {description: ok, content: {application/json: {schema: {allOf: [{$ref: '#/components/schemas/A'}], properties: {c: {type: integer}}, unevaluatedProperties: false}}}}}}}
  /needed: {get: {responses: {"200": {description: ok, content: {application/json: {schema: {type: object, properties: {a: {type: integer}}, minProperties: 2}}}}}}}
  /mail: {get: {responses: {"200": {description: ok, content: {application/json: {schema: {type: object, required: [id, note], properties: {id: {type: integer}, to: {type: string, x-sensitive: email}, note: {type: string}}}}}}}}}
  /free: {get: {responses: {"200": {description: ok, content: {application/json: {schema: {type: object}}}}}}}
components:
  schemas:
    Person: {type: object, required: [id], properties: {id: {type: integer}, name: {type: string}, boss: {$ref: '#/components/schemas/Person'}, items: {type: array, items: {type: object, properties: {sku: {type: string}}}}}}
    A: {type: object, properties: {a: {type: integer}, child: {type: object, properties: {x: {type: integer}}}}}
    B: {type: object, properties: {b: {type: integer}, child: {type: object, properties: {y: {type: integer}}}}}
    Cat: {type: object, additionalProperties: false, required: [kind], properties: {kind: {const: cat}, lives: {type: integer}}}
    Dog: {type: object, additionalProperties: false, required: [kind], properties: {kind: {const: dog}, tricks: {type: array, items: {type: string}}}}
`

var people = func() *spec.Set {
	set, err := spec.Load(context.Background(), []spec.Source{{Path: "people.yaml", Data: []byte(peopleSpec)}}, spec.Options{})
	if err != nil {
		panic(err)
	}
	return set
}()

func answers(t testing.TB, a policy.Answers, more ...func(*policy.API)) *guard.Program {
	p := policy.API{Mode: sallyport.Enforce, Answers: a}
	for _, f := range more {
		f(&p)
	}
	return compile(t, guard.Config{Name: "test", APIs: []guard.API{{API: sallyport.API{Name: "people"}, Spec: people, Policy: p}}})
}

// askPerson gives what goes out for a GET that the upstream answers with body.
func askPerson(p *guard.Program, path, body string, header http.Header) (string, *sallyport.Exchange, guard.Step) {
	s, _ := p.Begin(request("GET", path, "", 0), now)
	h := http.Header{"Content-Type": {"application/json"}}
	for k, v := range header {
		h[k] = v
	}
	step := s.Response(200, h, now)
	if step.Verb == guard.Proceed && (step.Body == guard.BodyWhole || step.Body == guard.BodySample) {
		step = s.ResponseBody([]byte(body)[:min(int64(len(body)), step.BodyLimit+1)], now)
	}
	out := body
	if step.Replace != nil {
		out = string(step.Replace)
	}
	if step.Verb != guard.Proceed {
		out = ""
	}
	return out, s.End(guard.Outcome{Status: 200, Origin: 200}, now), step
}

func told(x *sallyport.Exchange) string {
	var out []string
	for _, r := range x.Decision.Reasons {
		s := r.Rule + " " + r.Place.Name
		if r.Class != "" {
			s += " as " + r.Class
		}
		if i := strings.Index(r.Detail, ": "); i >= 0 {
			s += r.Detail[i:]
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

var strip = policy.Answers{Mode: sallyport.Enforce, Undeclared: policy.StripIt, Sensitive: policy.StripIt}

// What goes too far is taken out or refused; what looks like it and is declared
// comes through byte for byte.
func TestAnswersAreTreated(t *testing.T) {
	const card = "4111111111111111"
	for _, c := range []struct {
		name, path, body, want, told string
		policy                       policy.Answers
	}{
		{"nothing", "/open", ` {"id" : 1.0e0,"name":"\u0041" }`, ` {"id" : 1.0e0,"name":"\u0041" }`, "", strip},
		{"first", "/open", `{"secret":1, "id":1 , "name":"A"}`, `{"id":1 , "name":"A"}`, "answer.undeclared /secret: taken out", strip},
		{"middle", "/open", `{"id":1 , "secret" : {"a":[1,{}]} ,"name":"A"}`, `{"id":1 ,"name":"A"}`, "answer.undeclared /secret: taken out", strip},
		{"last", "/open", "{\"id\":1,\n \"secret\":\"x\"\n}", "{\"id\":1\n}", "answer.undeclared /secret: taken out", strip},
		{"nested", "/open", `{"id":1,"boss":{"id":2,"pay":3},"items":[{"sku":"a","cost":1},{"cost":2}]}`, `{"id":1,"boss":{"id":2},"items":[{"sku":"a"},{}]}`,
			"answer.undeclared /boss/pay: taken out; answer.undeclared /items/*/cost: taken out", strip},
		{"escaped key", "/open", `{"id":1,"\u0073ecret":1}`, `{"id":1}`, "answer.undeclared /secret: taken out", strip},
		{"closed", "/closed", `{"id":1,"secret":1,"tags":[{"t":"a","u":1}]}`, `{"id":1,"tags":[{"t":"a"}]}`, "answer.undeclared /secret: taken out; answer.undeclared /tags/*/u: taken out", strip},
		{"union", "/either", `{"kind":"dog","tricks":["sit"],"vet":"x"}`, `{"kind":"dog","tricks":["sit"]}`, "answer.undeclared /vet: taken out", strip},
		{"all of", "/both", `{"a":1,"b":2,"c":3,"child":{"x":1,"y":2,"z":3}}`, `{"a":1,"b":2,"child":{"x":1,"y":2}}`, "answer.undeclared /c: taken out; answer.undeclared /child/z: taken out", strip},
		{"unevaluated", "/left", `{"a":1,"c":2,"d":3}`, `{"a":1,"c":2}`, "answer.undeclared /d: taken out", strip},
		{"look-alike: additional", "/extras", `{"id":1,"secret":"x"}`, `{"id":1,"secret":"x"}`, "", strip},
		{"look-alike: pattern", "/patterns", `{"id":1,"x-a":{}}`, `{"id":1,"x-a":{}}`, "", strip},
		{"look-alike: all of", "/both", `{"a":1,"b":2,"child":{"x":1,"y":2}}`, `{"a":1,"b":2,"child":{"x":1,"y":2}}`, "", strip},
		{"look-alike: any of", "/any", `{"a":1,"b":2,"child":{"x":1,"y":2}}`, `{"a":1,"b":2,"child":{"x":1,"y":2}}`, "", strip},
		{"look-alike: no names", "/free", `{"a":1,"b":{"c":2}}`, `{"a":1,"b":{"c":2}}`, "", strip},
		{"needed", "/needed", `{"a":1,"b":2}`, `{"a":1,"b":2}`, "answer.undeclared /b: kept, since the schema does not hold without it", strip},
		{"broken besides", "/open", `{"id":"one","secret":2}`, "", "answer.schema.type /id; answer.undeclared /secret: taken out", strip},
		{"broken, reported", "/open", `{"id":"one","secret":2}`, `{"id":"one"}`, "answer.schema.type /id; answer.undeclared /secret: taken out",
			policy.Answers{Mode: sallyport.Enforce, Undeclared: policy.StripIt, Types: policy.ReportOnly}},
		{"report", "/open", `{"id":1,"secret":2}`, `{"id":1,"secret":2}`, "answer.undeclared /secret", policy.Answers{Mode: sallyport.Enforce, Undeclared: policy.ReportOnly}},
		{"refuse", "/open", `{"id":1,"secret":2}`, "", "answer.undeclared /secret: the answer is refused", policy.Answers{Mode: sallyport.Enforce, Undeclared: policy.RefuseAll}},
		{"closed, unsaid", "/closed", `{"id":1,"secret":2}`, "", "answer.schema.additionalProperties /secret", policy.Answers{Mode: sallyport.Enforce, Sensitive: policy.StripIt}},
		{"sensitive", "/mail", `{"id":1,"to":"a.turing@example.com","note":"card ` + card + ` of it"}`, `{"id":1,"to":"a.turing@example.com","note":"card **************** of it"}`,
			"answer.sensitive /note as payment-card: taken out", strip},
		{"sensitive, needed", "/mail", `{"id":1,"note":"` + card + `"}`, `{"id":1,"note":"****************"}`, "answer.sensitive /note as payment-card: taken out", strip},
		{"sensitive, not needed", "/open", `{"id":1,"name":"` + card + `"}`, `{"id":1}`, "answer.sensitive /name as payment-card: taken out", strip},
		{"sensitive, escaped", "/open", `{"id":1,"name":"4111\u003111111111111"}`, `{"id":1}`, "answer.sensitive /name as payment-card: taken out", strip},
		{"sensitive, refused", "/mail", `{"id":1,"note":"` + card + `"}`, "", "answer.sensitive /note as payment-card: the answer is refused", policy.Answers{Mode: sallyport.Enforce, Sensitive: policy.RefuseAll}},
		{"look-alike: no card", "/mail", `{"id":4111111111111112,"note":"order 4111111111111112"}`, `{"id":4111111111111112,"note":"order 4111111111111112"}`, "", strip},
		{"look-alike: not watched", "/mail", `{"id":1,"note":"` + card + `"}`, `{"id":1,"note":"` + card + `"}`, "", policy.Answers{Mode: sallyport.Enforce, Sensitive: policy.RefuseAll, Kinds: []string{"iban"}}},
		{"look-alike: declared", "/mail", `{"id":1,"note":"` + card + `"}`, `{"id":1,"note":"` + card + `"}`, "", policy.Answers{Mode: sallyport.Enforce, Sensitive: policy.RefuseAll, Declared: []string{"card"}}},
		{"oversize", "/open", `{"id":1,"name":"` + strings.Repeat("x", 300<<10) + `"}`, "", "answer.oversize : the answer is refused", policy.Answers{Mode: sallyport.Enforce, Oversize: policy.RefuseAll}},
		{"oversize, reported", "/open", `{"id":1,"name":"` + strings.Repeat("x", 300<<10) + `"}`, `{"id":1,"name":"` + strings.Repeat("x", 300<<10) + `"}`, "answer.oversize ", strip},
		{"no JSON", "/open", `{"id":1`, "", "answer.json.syntax ", strip},
	} {
		out, x, step := askPerson(answers(t, c.policy), c.path, c.body, nil)
		if out != c.want || told(x) != c.told {
			t.Errorf("%s: %.200s\ngot  %.200s\nwant %.200s\ntold %s\nwant %s", c.name, c.body, out, c.want, told(x), c.told)
		}
		if changed := step.Replace != nil; changed != (c.want != "" && c.want != c.body) {
			t.Errorf("%s: changed %v", c.name, changed)
		}
		// What is observed is what would be done.
		observe := c.policy
		observe.Mode = sallyport.Observe
		passed, seen, _ := askPerson(answers(t, observe), c.path, c.body, nil)
		if passed != c.body || told(seen) != c.told || !reflect.DeepEqual(seen.Decision.NotInspected, x.Decision.NotInspected) {
			t.Errorf("%s, observed: got %.200s, told %s, not inspected %q; want %s, %q", c.name, passed, told(seen), seen.Decision.NotInspected, c.told, x.Decision.NotInspected)
		}
	}
}

// An exception spares a member from being taken out, and only it.
func TestAnswerExceptions(t *testing.T) {
	p := answers(t, strip, func(a *policy.API) {
		a.Exceptions = []policy.Exception{{ID: "EX-1", Rule: "answer.undeclared", Place: "body /items/*/cost", Owner: "o", Reason: "r", Expires: now.AddDate(1, 0, 0)}}
	})
	if out, x, _ := askPerson(p, "/open", `{"id":1,"items":[{"cost":1,"margin":2}]}`, nil); out != `{"id":1,"items":[{"cost":1}]}` {
		t.Errorf("got %s, told %s", out, told(x))
	}
}

// Words that name no kind of data are mistakes.
func TestKindsOfData(t *testing.T) {
	bad := policy.API{Answers: policy.Answers{Sensitive: policy.StripIt, Kinds: []string{"email", "cardz"}}}
	if _, err := guard.Compile(guard.Config{APIs: []guard.API{{API: sallyport.API{Name: "a"}, Policy: bad}}}); err == nil || !strings.Contains(err.Error(), `"cardz"`) {
		t.Errorf("got %v", err)
	}
}

// random makes values out of the names that the schemas of people speak of and others.
func random(r *rand.Rand, depth int) any {
	switch n := r.IntN(12); {
	case n < 4 && depth < 4:
		o := map[string]any{}
		for range r.IntN(5) {
			o[[]string{"id", "name", "boss", "items", "a", "b", "c", "child", "x", "y", "kind", "lives", "tricks", "secret", "x-1", "tags", "t"}[r.IntN(17)]] = random(r, depth+1)
		}
		return o
	case n == 4 && depth < 4:
		list := []any{}
		for range r.IntN(4) {
			list = append(list, random(r, depth+1))
		}
		return list
	case n == 5:
		return []string{"cat", "dog", "secret", "a@example.com"}[r.IntN(4)]
	case n == 6:
		return nil
	}
	return r.IntN(10)
}

// declaredOnly fails when a member that the schemas name was lost, or one was added or changed.
func declaredOnly(was, is any, names map[string]bool, at string) error {
	switch w := was.(type) {
	case map[string]any:
		i, ok := is.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is no object any more", at)
		}
		for k := range i {
			if _, ok := w[k]; !ok {
				return fmt.Errorf("%s/%s was added", at, k)
			}
		}
		for k, v := range w {
			n, ok := i[k]
			if !ok && names[k] {
				return fmt.Errorf("%s/%s was lost", at, k)
			}
			if ok {
				if err := declaredOnly(v, n, names, at+"/"+k); err != nil {
					return err
				}
			}
		}
	case []any:
		i, ok := is.([]any)
		if !ok || len(i) != len(w) {
			return fmt.Errorf("%s has other items", at)
		}
		for k := range w {
			if err := declaredOnly(w[k], i[k], names, at+"/*"); err != nil {
				return err
			}
		}
	default:
		if !reflect.DeepEqual(was, is) {
			return fmt.Errorf("%s was changed", at)
		}
	}
	return nil
}

// rooted are the names that each schema knows at its root, and below it where
// it has objects there.
var rooted = map[string][]string{"/open": {"id", "name", "boss", "items"}, "/closed": {"id", "tags"}, "/extras": {"id", "name", "boss", "items", "a", "b", "c", "secret", "x-1"},
	"/both": {"a", "b", "child"}, "/any": {"a", "b", "child"}, "/left": {"a", "c", "child"}, "/either": {"kind", "lives", "tricks"}, "/patterns": {"id", "x-1"},
	"/free": {"id", "name", "boss", "items", "a", "b", "c", "child", "x", "y", "kind", "secret"}}

// Whatever comes, what goes out is valid, and nothing declared is lost.
func TestStrippedAnswersHold(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 9))
	p := answers(t, policy.Answers{Mode: sallyport.Enforce, Undeclared: policy.StripIt})
	strict := answers(t, policy.Answers{Mode: sallyport.Enforce, Undeclared: policy.RefuseAll})
	changed := map[string]int{}
	for range 15_000 {
		for path, names := range rooted {
			if r.IntN(4) > 0 {
				continue
			}
			b, _ := json.Marshal(random(r, 0))
			checkStripped(t, p, strict, path, names, string(b), changed)
		}
	}
	for _, path := range []string{"/open", "/closed", "/both", "/left", "/any", "/either"} {
		if changed[path] < 1 {
			t.Errorf("%s: only %d answers were changed", path, changed[path])
		}
	}
}

func checkStripped(t *testing.T, p, strict *guard.Program, path string, names []string, body string, changed map[string]int) {
	t.Helper()
	out, x, step := askPerson(p, path, body, nil)
	if step.Verb != guard.Proceed {
		return
	}
	var was, is any
	if err := json.Unmarshal([]byte(out), &is); err != nil {
		t.Fatalf("%s: %s became %s: %v", path, body, out, err)
	}
	json.Unmarshal([]byte(body), &was)
	top := map[string]bool{}
	for _, n := range names {
		top[n] = true
	}
	w, ok1 := was.(map[string]any)
	i, ok2 := is.(map[string]any)
	for k := range w {
		if _, ok := i[k]; ok1 && ok2 && !ok && top[k] {
			t.Fatalf("%s: %s became %s: %s was lost", path, body, out, k)
		}
	}
	if err := declaredOnly(was, is, nil, ""); err != nil {
		t.Fatalf("%s: %s became %s: %v", path, body, out, err)
	}
	if step.Replace == nil {
		return
	}
	changed[path]++
	// Once more, nothing is left to take out, and it holds.
	again, y, step := askPerson(strict, path, out, nil)
	if step.Verb != guard.Proceed || again != out {
		t.Fatalf("%s: %s became %s: %s; was told %s", path, body, out, told(y), told(x))
	}
}

func FuzzStrippedAnswers(f *testing.F) {
	for path := range rooted {
		f.Add(path, `{"id":1,"secret":{"a":"\u0061"},"boss":{"id":2,"pay":3},"items":[{"sku":"a","cost":1},{}]}`)
		f.Add(path, `{"secret":1,"kind":"dog","tricks":[],"a":1,"child":{"x":1,"q":"4111111111111111"}}`)
	}
	p := answers(f, strip)
	f.Fuzz(func(t *testing.T, path, body string) {
		if rooted[path] == nil || len(body) > 1<<16 {
			return
		}
		out, _, step := askPerson(p, path, body, nil)
		if step.Verb == guard.Proceed && step.Replace != nil && !json.Valid([]byte(out)) {
			t.Fatalf("%s: %q became %q", path, body, out)
		}
	})
}

// tenKiB is an answer of about 10 KiB with a member too many in each item.
func tenKiB() string {
	var b strings.Builder
	b.WriteString(`{"id":1,"items":[`)
	for i := range 160 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"sku":"KX-%04d-A","internal_cost":%d.25,"supplier":"S-%d"}`, i, i, i*7)
	}
	return b.String() + `]}`
}

func BenchmarkAnswer10KiB(b *testing.B) {
	body := tenKiB()
	for _, c := range []struct {
		name string
		a    policy.Answers
	}{{"checked", policy.Answers{Mode: sallyport.Enforce}}, {"stripped", policy.Answers{Mode: sallyport.Enforce, Undeclared: policy.StripIt}},
		{"stripped and searched", strip}} {
		b.Run(c.name, func(b *testing.B) {
			p := answers(b, c.a)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				askPerson(p, "/open", body, nil)
			}
		})
	}
}

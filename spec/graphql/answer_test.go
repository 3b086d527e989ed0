package graphql_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/spec/graphql"
	"sallyport.dev/spec/jsondoc"
)

// heard gives what is found in an answer: rules with places, strays as "+".
func heard(t testing.TB, o *graphql.Operation, d *jsondoc.Doc, answer string) (found []string, cuts []jsondoc.Cut) {
	t.Helper()
	if err := d.Parse([]byte(answer), jsondoc.Limits{Duplicates: true}); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	o.Answer(d, 0, graphql.Seen{
		Broken: func(node int, rule, _ string) {
			found = append(found, strings.TrimPrefix(rule, "graphql.")+" "+d.Pointer(node))
		},
		Stray: func(node int) {
			found = append(found, "+ "+d.Pointer(node))
			cuts = append(cuts, jsondoc.Cut{Node: node})
		},
	})
	return found, cuts
}

func operation(t testing.TB, s *graphql.Schema, text string) *graphql.Operation {
	t.Helper()
	d, problems := s.Parse(text, bounds)
	if d == nil {
		t.Fatalf("%s: %v", text, problems)
	}
	o, p := d.Operation("")
	if p != nil {
		t.Fatal(p)
	}
	return o
}

const (
	asksUser   = `{ user(id: 1) { id name role friends { id } orders { total edges { node { id total buyer { name } } cursor } } } }`
	givesUser  = `{"data":{"user":{"id":"1","name":"Ann","role":"ADMIN","friends":[{"id":"2"},{"id":3}],"orders":{"total":2,"edges":[{"node":{"id":"o1","total":9.5,"buyer":{"name":"Ann"}},"cursor":"x"}]}}}}`
	asksItems  = `query($more: Boolean!) { found: search(text: "a") { __typename ... on User { id label: name ...More @include(if: $more) } ... on Order { id sum: total } } version } fragment More on User { role friends { name } }`
	givesItems = `{"data":{"found":[{"__typename":"User","id":"1","label":"Ann"},{"__typename":"Order","id":"2","sum":3},{"__typename":"User","id":"3","label":"Bob","role":null,"friends":[{"name":"Ann"}]}],"version":"1"}}`
	asksBlind  = `{ search(text: "a") { ... on User { id name } ... on Order { id total } } }`
	givesBlind = `{"data":{"search":[{"id":"1","name":"Ann"},{"id":"2","total":3}]}}`
	asksTwice  = `{ user(id: 1) { ...A ...B id @skip(if: true) } } fragment A on User { orders { total } name } fragment B on User { orders { edges { cursor } } name }`
	givesTwice = `{"data":{"user":{"orders":{"total":1,"edges":[]},"name":"x"}}}`
)

// An answer holds what was asked for, in the types of the schema, and no more.
func TestAnswer(t *testing.T) {
	s := shop(t)
	for _, tt := range []struct{ name, asks, gives, want string }{
		{"as asked", asksUser, givesUser, ""},
		{"another order", `{ user(id: 1) { id name } }`, `{"data":{"user":{"name":"x","id":"1"}}}`, ""},
		{"null where it may be", `{ user(id: 1) { id role } }`, `{"data":{"user":{"id":"1","role":null}}}`, ""},
		{"nobody", asksUser, `{"data":{"user":null}}`, ""},
		{"with extensions", `{ version }`, `{"data":{"version":"1"},"extensions":{"cost":1}}`, ""},
		{"partly failed", asksUser, `{"errors":[{"message":"x","path":["user"],"locations":[{"line":1,"column":3}],"extensions":{"code":"A"}}],"data":{"user":null}}`, ""},
		{"failed", asksUser, `{"errors":[{"message":"x"}]}`, ""}, {"failed, data null", asksUser, `{"errors":[{"message":"x"}],"data":null}`, ""},
		{"union", asksItems, givesItems, ""}, {"union of unknown type", asksBlind, givesBlind, ""}, {"merged", asksTwice, givesTwice, ""},
		{"no items", asksBlind, `{"data":{"search":[]}}`, ""},
		{"undeclared", `{ user(id: 1) { id } }`, `{"data":{"user":{"id":"1","passwordHash":"x"}}}`, "+ /data/user/passwordHash"},
		{"declared and not selected", `{ user(id: 1) { id } }`, `{"data":{"user":{"id":"1","role":"ADMIN"}}}`, "+ /data/user/role"},
		{"by its name and not its alias", `{ me: user(id: 1) { id } }`, `{"data":{"user":{"id":"1"}}}`, "+ /data/user; missing /data"},
		{"deep in lists", asksUser, strings.Replace(givesUser, `{"id":3}`, `{"id":3,"name":"x"}`, 1), "+ /data/user/friends/1/name"},
		{"beside the data", `{ version }`, `{"data":{"version":"1"},"debug":{"sql":"x"}}`, "+ /debug"},
		{"in an error", `{ version }`, `{"data":null,"errors":[{"message":"x","stack":"y"}]}`, "+ /errors/0/stack"},
		{"twice", `{ version }`, `{"data":{"version":"1","version":"2"}}`, "+ /data/version"},
		{"data twice", `{ version }`, `{"data":{"version":"1"},"data":{"secret":"2"}}`, "+ /data"},
		{"what is skipped", asksTwice, strings.Replace(givesTwice, `"name"`, `"id":"1","name"`, 1), "+ /data/user/id"},
		{"of another type of the union", asksItems, strings.Replace(givesItems, `"id":"2"`, `"id":"2","role":"ADMIN"`, 1), "+ /data/found/1/role"},
		{"missing", `{ user(id: 1) { id name } }`, `{"data":{"user":{"id":"1"}}}`, "missing /data/user"},
		{"missing by its type", asksItems, strings.Replace(givesItems, `,"sum":3`, ``, 1), "missing /data/found/1"},
		{"null where it must not be", `{ user(id: 1) { name } }`, `{"data":{"user":{"name":null}}}`, "null /data/user/name"},
		{"null in a list", asksBlind, `{"data":{"search":[null]}}`, "null /data/search/0"},
		{"no enum value", `{ user(id: 1) { role } }`, `{"data":{"user":{"role":"ROOT"}}}`, "type /data/user/role"},
		{"number for text", `{ version }`, `{"data":{"version":1}}`, "type /data/version"},
		{"text for a number", `{ user(id: 1) { orders { total } } }`, `{"data":{"user":{"orders":{"total":"1"}}}}`, "type /data/user/orders/total"},
		{"beyond 32 bits", `{ user(id: 1) { orders { total } } }`, `{"data":{"user":{"orders":{"total":2147483648}}}}`, "type /data/user/orders/total"},
		{"a fraction for Int", `{ user(id: 1) { orders { total } } }`, `{"data":{"user":{"orders":{"total":1.5}}}}`, "type /data/user/orders/total"},
		{"object for a leaf", `{ version }`, `{"data":{"version":{"$where":"1"}}}`, "type /data/version"},
		{"a leaf for an object", `{ user(id: 1) { id } }`, `{"data":{"user":"x"}}`, "type /data/user"},
		{"one for a list", asksBlind, `{"data":{"search":{"id":"1"}}}`, "type /data/search"},
		{"a list for one", `{ user(id: 1) { id } }`, `{"data":{"user":[{"id":"1"}]}}`, "type /data/user"},
		{"a type that it cannot be", asksItems, `{"data":{"found":[{"__typename":"Receipt","id":"1","label":"x"}],"version":"1"}}`, "type /data/found/0/__typename"},
		{"no errors and no data", `{ version }`, `{}`, "shape "}, {"data null", `{ version }`, `{"data":null}`, "null /data"},
		{"errors without a list", `{ version }`, `{"errors":"x"}`, "shape /errors"}, {"an error without a message", `{ version }`, `{"errors":[{}]}`, "shape /errors/0"},
		{"a list", `{ version }`, `[]`, "shape "},
		{"the schema", `{ __schema { queryType { name } } }`, `{"data":{"__schema":{"queryType":{"name":"Query"}}}}`, "introspection /data/__schema"},
		{"the schema, not asked for", `{ version }`, `{"data":{"version":"1","__schema":{"types":[]}}}`, "+ /data/__schema"},
	} {
		var d jsondoc.Doc
		if found, _ := heard(t, operation(t, s, tt.asks), &d, tt.gives); strings.Join(found, "; ") != tt.want {
			t.Errorf("%s: %s\n got %s\nwant %s", tt.name, tt.gives, strings.Join(found, "; "), tt.want)
		}
	}
}

// What is put into an answer is found and taken out; what is left is valid, and
// nothing that was selected is lost.
func TestStrippedAnswersHold(t *testing.T) {
	s := shop(t)
	r := rand.New(rand.NewPCG(1, 4))
	for _, x := range [][2]string{{asksUser, givesUser}, {asksItems, givesItems}, {asksBlind, givesBlind}, {asksTwice, givesTwice}} {
		o := operation(t, s, x[0])
		var want any
		if err := json.Unmarshal([]byte(x[1]), &want); err != nil {
			t.Fatal(err)
		}
		for range 300 {
			text, put := x[1], 0
			for range 1 + r.IntN(5) {
				var d jsondoc.Doc
				if err := d.Parse([]byte(text), jsondoc.Limits{Duplicates: true}); err != nil {
					t.Fatal(err)
				}
				var objects []int
				for i := range d.Nodes {
					if d.Nodes[i].Kind == jsondoc.Object {
						objects = append(objects, i)
					}
				}
				n := &d.Nodes[objects[r.IntN(len(objects))]]
				member := fmt.Sprintf(`"x%d":%s`, put, []string{`null`, `"a,}"`, `[{"id":1}]`, `{"name":"x"}`, `-1e3`}[r.IntN(5)])
				at, sep := int(n.Start)+1, ","
				if n.Count == 0 {
					sep = ""
				}
				if r.IntN(2) == 0 {
					text = text[:at] + member + sep + text[at:]
				} else {
					at = int(n.End) - 1
					text = text[:at] + sep + " " + member + text[at:]
				}
				put++
			}
			var d jsondoc.Doc
			_, cuts := heard(t, o, &d, text)
			clean := string(d.Apply(nil, cuts))
			if again, _ := heard(t, o, new(jsondoc.Doc), clean); len(again) > 0 {
				t.Fatalf("%s\nbecomes %s\nwith %v", text, clean, again)
			}
			var got any
			if err := json.Unmarshal([]byte(clean), &got); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s\nbecomes %s, %v", text, clean, err)
			}
		}
	}
}

// Interfaces: an object's own fields count where its type is known.
func TestAnswerOfInterfaces(t *testing.T) {
	s, faults := graphql.Load([]graphql.Source{{Name: "a.graphql", Data: []byte(`type Query { node: Node pets: [Pet] } interface Node { id: ID } interface Pet implements Node { id: ID name: String }
type Dog implements Pet & Node { id: ID! name: String! barks: Boolean } type Cat implements Pet & Node { id: ID name: String lives: Int kittens: [Cat!] }`)}})
	if faults != nil {
		t.Fatal(faults)
	}
	o := operation(t, s, `{ node { kind: __typename id ... on Pet { name } ... on Cat { lives kittens { lives } } ... on Dog { barks } } }`)
	for answer, want := range map[string]string{
		`{"data":{"node":{"kind":"Dog","id":"1","name":"x","barks":true}}}`:                                              "",
		`{"data":{"node":{"kind":"Dog","id":null,"name":"x","barks":true}}}`:                                             "null /data/node/id",
		`{"data":{"node":{"kind":"Cat","id":null,"name":null,"lives":9,"kittens":null}}}`:                                "",
		`{"data":{"node":{"kind":"Cat","id":"1","name":"x","lives":9,"kittens":[{"lives":9,"name":"y"}],"barks":true}}}`: "+ /data/node/barks;+ /data/node/kittens/0/name",
		`{"data":{"node":{"kind":"Node","id":"1","name":"x"}}}`:                                                          "type /data/node/kind",
	} {
		found, _ := heard(t, o, new(jsondoc.Doc), answer)
		if slices.Sort(found); strings.Join(found, ";") != want {
			t.Errorf("%s\n got %s\nwant %s", answer, strings.Join(found, ";"), want)
		}
	}
}

// FuzzAnswer looks for answers that end otherwise than in findings, and for
// strays whose removal leaves others.
func FuzzAnswer(f *testing.F) {
	for _, text := range []string{givesUser, givesItems, givesBlind, givesTwice, `{}`, `[]`, `null`, `{"data":{"found":[[{}]]},"errors":[null]}`} {
		f.Add(text)
	}
	s := shop(f)
	var all []*graphql.Operation
	for _, text := range []string{asksUser, asksItems, asksBlind, asksTwice} {
		all = append(all, operation(f, s, text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		var d jsondoc.Doc
		if d.Parse([]byte(text), jsondoc.Limits{Duplicates: true}) != nil {
			return
		}
		for _, o := range all {
			_, cuts := heard(t, o, &d, text)
			if _, again := heard(t, o, new(jsondoc.Doc), string(d.Apply(nil, cuts))); len(again) > 0 {
				t.Errorf("%s: %d strays are left", text, len(again))
			}
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	var text strings.Builder
	text.WriteString(`{"data":{"users":[`)
	for i := 0; text.Len() < 1000; i++ {
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, `{"id":"%d","name":"Ann Example","role":"GUEST","friends":[{"id":"7","name":"Bob"}]}`, i)
	}
	text.WriteString(`]}}`)
	o := operation(b, shop(b), `{ users { id name role friends { id name } } }`)
	var d jsondoc.Doc
	body := []byte(text.String())
	bad := 0
	hear := graphql.Seen{Broken: func(int, string, string) { bad++ }, Stray: func(int) { bad++ }}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if d.Parse(body, jsondoc.Limits{Duplicates: true}) != nil {
			b.Fatal("no JSON")
		}
		if o.Answer(&d, 0, hear); bad > 0 {
			b.Fatal("it is not as asked")
		}
	}
}

package graphql_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"sallyport.dev/spec/graphql"
	"sallyport.dev/spec/jsondoc"
)

func shop(t testing.TB) *graphql.Schema {
	t.Helper()
	sdl, err := os.ReadFile("testdata/shop.graphql")
	if err != nil {
		t.Fatal(err)
	}
	s, faults := graphql.Load([]graphql.Source{{Name: "shop.graphql", Data: sdl}})
	if faults != nil {
		t.Fatal(faults)
	}
	return s
}

var bounds = graphql.Bounds{}.WithDefaults()

func TestLoad(t *testing.T) {
	if _, faults := graphql.Load([]graphql.Source{{Name: "a.graphql", Data: []byte("type Query {\n  a: Nothing\n}")}}); len(faults) != 1 || faults[0].Line != 2 || !strings.Contains(faults[0].Message, "Nothing") {
		t.Errorf("got %+v, want a fault in line 2 about Nothing", faults)
	}
	if _, faults := graphql.Load([]graphql.Source{{Name: "a.graphql", Data: []byte("type A { a: Int }")}}); len(faults) == 0 {
		t.Error("a schema without a query type was loaded")
	}
	roots := ""
	for _, r := range shop(t).Roots() {
		roots += r.Kind + " " + r.Name + ","
	}
	if want := "mutation pay,mutation rename,query search,query user,query users,query version,subscription orders,"; roots != want {
		t.Errorf("got roots %s, want %s", roots, want)
	}
}

func TestIntrospection(t *testing.T) {
	data, err := os.ReadFile("testdata/introspection.json")
	if err != nil {
		t.Fatal(err)
	}
	s, faults := graphql.Load([]graphql.Source{{Name: "introspection.json", Data: data}})
	if faults != nil {
		t.Fatal(faults)
	}
	for text, good := range map[string]bool{
		`{ hero(episode: JEDI) { name ... on Droid { primaryFunction } } }`:      true,
		`{ hero(episode: NOPE) { name } }`:                                       false,
		`mutation { createReview(episode: JEDI, review: {stars: 5}) { stars } }`: true,
		`mutation { createReview(episode: JEDI, review: {}) { stars } }`:         false,
	} {
		if d, problems := s.Parse(text, bounds); (d != nil) != good {
			t.Errorf("%s: got %v, want good %v", text, problems, good)
		}
	}
}

// hostile are documents that cost much where nothing bounds them.
func hostile() map[string]string {
	twins := strings.Repeat("friends { id name role friends { id } } ", 150)
	deep := strings.Repeat("friends { ", 500) + "id" + strings.Repeat(" }", 500)
	doubling := "{ user(id: 1) { ...F0 } }"
	for i := range 60 {
		doubling += fmt.Sprintf(" fragment F%d on User { friends { ...F%d } more: friends { ...F%d } }", i, i+1, i+1)
	}
	doubling += " fragment F60 on User { id }"
	var aliases, pieces strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&aliases, "a%d: version ", i)
	}
	for i := range 150 {
		fmt.Fprintf(&pieces, " fragment P%d on User { friends { id friends { name } } }", i)
	}
	spreads := "{ user(id: 1) {"
	for i := range 150 {
		spreads += fmt.Sprintf(" ...P%d", i)
	}
	return map[string]string{
		"10,000 aliases":    "{ " + aliases.String() + "}",
		"twins":             "{ user(id: 1) { " + twins + "} }",
		"deep":              "{ user(id: 1) { " + deep + " } }",
		"deeper":            strings.Repeat("{ a ", 30_000),
		"doubling":          doubling,
		"fragments merging": spreads + " } }" + pieces.String(),
		"lists in values":   `{ search(text: ` + strings.Repeat("[", 20_000) + ` }`,
		"directives":        "{ version " + strings.Repeat("@skip(if: false) ", 500) + "}",
		"huge":              "{ version " + strings.Repeat(" ", 1<<20) + "}",
		"many operations":   strings.Repeat("query { version } ", 1000),
		"comments":          "{ version " + strings.Repeat("#\n", 30_000) + "}",
		"a string":          `{ search(text: "` + strings.Repeat("x", 1<<20) + `") { __typename } }`,
		"variables":         "query (" + strings.Repeat("$a: Int ", 900) + ") { version }",
		"unknown fields":    "{ " + strings.Repeat("versoin ", 180) + "}",
	}
}

func TestHostile(t *testing.T) {
	s := shop(t)
	for name, text := range hostile() {
		d, problems := s.Parse(text, bounds)
		if name == "comments" {
			continue // long and harmless
		}
		if d != nil || len(problems) == 0 {
			t.Errorf("%s: was let through", name)
		}
	}
}

func BenchmarkHostile(b *testing.B) {
	s := shop(b)
	for name, text := range hostile() {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s.Parse(text, bounds)
			}
		})
	}
}

func TestCost(t *testing.T) {
	s := shop(t)
	for _, c := range []struct {
		text, variables string
		want            int64
	}{
		{"{ version }", "{}", 0},
		{"{ user(id: 1) { id } }", "{}", 1},
		{"{ users { id } }", "{}", 20},
		{"{ users(first: 3) { friends { id } } }", "{}", 3 * (1 + 10)},
		{"query ($n: Int) { users(first: $n) { id } }", `{"n": 7}`, 7},
		{"query ($n: Int = 4) { users(first: $n) { id } }", "{}", 10},
		{"query ($n: Int) { users(first: $n) { id } }", `{"n": 1e9}`, 20},
		{"query ($n: Int) { user(id: 1) { orders(first: $n) { edges { node { id } } } } }", `{"n": 5}`, 1 + 1 + 5*2},
		{"{ user(id: 1) { orders(first: 5) { edges { node { id } } } } }", "{}", 1 + 1 + 5*2},
		{"mutation { pay(order: 1) { id } }", "{}", 10},
	} {
		d, problems := s.Parse(c.text, bounds)
		if d == nil {
			t.Fatal(c.text, problems)
		}
		o, _ := d.Operation("")
		var doc jsondoc.Doc
		if err := doc.Parse([]byte(c.variables), jsondoc.Limits{}); err != nil {
			t.Fatal(err)
		}
		if got := o.Cost(&doc, 0); got != c.want {
			t.Errorf("%s with %s: cost %d, want %d", c.text, c.variables, got, c.want)
		}
	}
}

func TestCache(t *testing.T) {
	s := shop(t)
	c := graphql.Cache{Documents: 8, Bytes: 1 << 10}
	first, _ := s.Parse("{ version }", bounds)
	c.Keep(first)
	for i := range 100 {
		d, _ := s.Parse(fmt.Sprintf("query Q%d { version }", i), bounds)
		c.Keep(d)
		if c.Find([]byte("{ version }")) != first || c.Hashed([]byte(graphql.Hash("{ version }"))) != first {
			t.Fatalf("a document asked for all the time was let go after %d others", i)
		}
	}
	if c.Find([]byte("query Q1 { version }")) != nil {
		t.Error("a document that nobody asked for was kept beyond the bound")
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range hostile() {
		if len(text) < 4096 {
			f.Add(text)
		}
	}
	for _, text := range []string{"{ version }", page, "query ($w: UserFilter) { users(where: $w) { id } }", `{ search(text: """x""") { ... on User { id } } }`,
		"query A { version } query B { version }", "subscription { orders { id } }", "fragment F on Query { version } { ...F }"} {
		f.Add(text)
	}
	s := shop(f)
	variables := []byte(`{"id": "a", "w": {"role": "ADMIN", "city": ["x", null]}, "n": -1}`)
	f.Fuzz(func(t *testing.T, text string) {
		d, problems := s.Parse(text, bounds)
		if (d == nil) == (len(problems) == 0) {
			t.Fatalf("%q: document %v with problems %v", text, d, problems)
		}
		if d == nil {
			return
		}
		var doc jsondoc.Doc
		if err := doc.Parse(variables, jsondoc.Limits{}); err != nil {
			t.Fatal(err)
		}
		if o, problem := d.Operation(""); problem == nil {
			o.Variables(&doc, 0, func(int, string, string) {}, func(int) {})
			if o.Cost(&doc, 0) < 0 {
				t.Fatalf("%q: negative cost", text)
			}
		}
	})
}

// page is a document of about 1 KiB, as pages ask.
const page = `query Page($id: ID!, $first: Int = 10, $where: UserFilter) {
  user(id: $id) {
    ...Person
    friends(first: 5) { ...Person orders(first: 3) { total edges { cursor node { id total buyer { ...Person } } } } }
    orders(first: $first) { total edges { cursor node { id total buyer { ...Person } } } }
  }
  users(first: $first, where: $where) {
    ...Person
    orders(first: 2) { total edges { cursor node { id total buyer { id name role } } } }
    friends(first: 2) { ...Person friends(first: 2) { id name role } }
  }
  search(text: "a book about gardens and the people who look after them", kind: BOOK) {
    __typename
    ... on User { id name role orders(first: 1) { total edges { cursor node { id total } } } }
    ... on Order { id total buyer { id name role friends(first: 1) { id name role } } }
  }
  version
}
fragment Person on User { id name role }
`

func BenchmarkNew(b *testing.B) {
	s := shop(b)
	b.ReportAllocs()
	b.SetBytes(int64(len(page)))
	for b.Loop() {
		if d, problems := s.Parse(page, bounds); d == nil {
			b.Fatal(problems)
		}
	}
}

// A schema and a cache serve many at once.
func TestConcurrent(t *testing.T) {
	s, c := shop(t), graphql.Cache{Documents: 4, Bytes: 1 << 12}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				text := fmt.Sprintf("query Q%d { user(id: %d) { name } }", i%7, g%3)
				d := c.Find([]byte(text))
				if d == nil {
					if d, _ = s.Parse(text, bounds); d == nil {
						t.Error("a good document is refused")
						return
					}
					c.Keep(d)
				}
				d.MarkHarmless()
				if d.Text != text || c.Hashed([]byte("0")) != nil {
					t.Error("another document was found")
				}
			}
		})
	}
	wg.Wait()
}

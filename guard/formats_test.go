package guard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"

	sallyport "sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/guard/vectors"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

// graphProgram guards the shop's GraphQL schema.
func graphProgram(t testing.TB, p policy.API, documents ...string) *guard.Program {
	t.Helper()
	sdl, err := os.ReadFile("testdata/shop.graphql")
	if err != nil {
		t.Fatal(err)
	}
	set, err := spec.Load(context.Background(), []spec.Source{{Path: "shop.graphql", Data: sdl}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p.Mode = sallyport.Enforce
	program, err := guard.Compile(guard.Config{Inspect: engine, APIs: []guard.API{{API: sallyport.API{Name: "shop"}, Spec: set, Policy: p, Documents: documents}}})
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// post puts a body through a program and gives the record.
func post(t testing.TB, p *guard.Program, path, contentType string, body []byte) *sallyport.Exchange {
	r := &guard.Request{Method: http.MethodPost, Host: "api.example.test", Path: path, Header: http.Header{"Content-Type": {contentType}},
		Client: netip.MustParseAddr("192.0.2.7"), ContentLength: int64(len(body))}
	s, step := p.Begin(r, vectors.Now)
	if step.Verb == guard.Proceed && (step.Body == guard.BodyWhole || step.Body == guard.BodySample) {
		s.RequestBody(body[:min(int64(len(body)), step.BodyLimit+1)], vectors.Now)
	}
	return s.End(guard.Outcome{}, vectors.Now)
}

const graphPage = `query Page($id: ID!, $first: Int = 10, $where: UserFilter) {
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
    ... on User { id name role orders(first: 1) { edges { cursor node { id total } } } }
    ... on Order { id buyer { id name role friends(first: 1) { id name role } } }
  }
  version
}
fragment Person on User { id name role }
`

func graphBody(t testing.TB, query string) []byte {
	b, err := json.Marshal(map[string]any{"query": query, "variables": map[string]any{"id": "7", "first": 5, "where": map[string]any{"role": "GUEST"}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGraphQLOperationsRecorded(t *testing.T) {
	x := post(t, graphProgram(t, policy.API{}), "/graphql", "application/json", graphBody(t, graphPage))
	if x.Decision.Refused() || x.Operation().Key() != "query user" || strings.Join(x.Also, ",") != "query users,query search,query version" {
		t.Errorf("got %s as %s and %v, want it allowed as query user and users, search, version: %v", x.Decision.Action, x.Operation().Key(), x.Also, x.Decision.Reasons)
	}
}

func TestGraphQLOnlyDocumentsPutDown(t *testing.T) {
	p := graphProgram(t, policy.API{GraphQL: policy.GraphQL{Persisted: policy.PersistedOnly, Documents: []string{"a.graphql"}}}, graphPage)
	if x := post(t, p, "/graphql", "application/json", graphBody(t, graphPage)); x.Decision.Refused() {
		t.Errorf("a document that was put down is refused: %v", x.Decision.Reasons)
	}
	if x := post(t, p, "/graphql", "application/json", []byte(`{"query": "{ version }"}`)); !x.Decision.Refused() || x.Decision.Reasons[0].Rule != "graphql.persisted-only" {
		t.Errorf("another document is not refused: %v", x.Decision.Reasons)
	}
}

func TestGraphQLConfiguration(t *testing.T) {
	_, err := guard.Compile(guard.Config{APIs: []guard.API{{API: sallyport.API{Name: "a"}, Policy: policy.API{GraphQL: policy.GraphQL{Path: "/graphql"},
		Operations: []policy.OperationDemand{{Operation: "query user"}}}}}})
	if err == nil || !strings.Contains(err.Error(), "no GraphQL schema") || !strings.Contains(err.Error(), `no operation "query user"`) {
		t.Errorf("got %v, want both mistakes", err)
	}
}

// FuzzGraphQLBody puts any body to a GraphQL path: nothing may panic, and what
// is refused says why.
func FuzzGraphQLBody(f *testing.F) {
	f.Add(graphBody(f, graphPage))
	for _, s := range []string{`[{"query":"{version}"}]`, `{"query":null}`, `{"query":"{version}","variables":[]}`, `{"extensions":{"persistedQuery":{"sha256Hash":"x"}}}`,
		`{"query":"{ user(id: 1) { id } }","operationName":"A"}`, `[]`, `[1]`, `"x"`, `{"query":"mutation{rename(id:1,name:\"\u0000\"){id}}"}`} {
		f.Add([]byte(s))
	}
	p := graphProgram(f, policy.API{GraphQL: policy.GraphQL{Batch: 3, Persisted: policy.PersistedAutomatic}})
	f.Fuzz(func(t *testing.T, body []byte) {
		x := post(t, p, "/graphql", "application/json", body)
		if x.Decision.Refused() && len(x.Decision.Reasons) == 0 {
			t.Fatalf("%q is refused without a reason", body)
		}
	})
}

func BenchmarkGraphQLSeen(b *testing.B) {
	p, body := graphProgram(b, policy.API{}), graphBody(b, graphPage)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if x := post(b, p, "/graphql", "application/json", body); x.Decision.Refused() {
			b.Fatal(x.Decision.Reasons)
		}
	}
}

func BenchmarkGraphQLNew(b *testing.B) {
	p := graphProgram(b, policy.API{})
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		if x := post(b, p, "/graphql", "application/json", graphBody(b, fmt.Sprintf("%s#%d\n", graphPage, i))); x.Decision.Refused() {
			b.Fatal(x.Decision.Reasons)
		}
	}
}

// ordersProgram guards the operations of orders.yaml.
func ordersProgram(t testing.TB, p policy.API) *guard.Program {
	t.Helper()
	text, err := os.ReadFile("testdata/orders.yaml")
	if err != nil {
		t.Fatal(err)
	}
	set, err := spec.Load(context.Background(), []spec.Source{{Path: "orders.yaml", Data: text}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p.Mode = sallyport.Enforce
	program, err := guard.Compile(guard.Config{Inspect: engine, APIs: []guard.API{{API: sallyport.API{Name: "orders"}, Spec: set, Policy: p}}})
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// xmlOrder is an order of about 1 KiB.
var xmlOrder = []byte(`<?xml version="1.0" encoding="UTF-8"?>
<order xmlns="urn:shop" id="7"><customer>Ada &amp; Sons</customer><express>true</express><total>9.50</total>
<remark>` + strings.Repeat("Leave it with the neighbour, please; she is at home. ", 14) + `</remark>
<lines><line sku="ABCD1"><quantity>2</quantity></line><line sku="ABCD2"><quantity>12</quantity></line></lines><tag>gift</tag><tag>fragile</tag></order>`)

func TestSOAPActionRecorded(t *testing.T) {
	x := post(t, ordersProgram(t, policy.API{}), "/orders", "text/xml",
		[]byte(`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><m:GetPrice xmlns:m="urn:m"/></s:Body></s:Envelope>`))
	if x.Call != "GetPrice" || x.Decision.Refused() {
		t.Errorf("got action %q, %v; want GetPrice, allowed", x.Call, x.Decision.Reasons)
	}
}

func FuzzXMLBody(f *testing.F) {
	f.Add(xmlOrder)
	for _, s := range []string{`<order xmlns="urn:shop" id="7"><customer>a</customer><tag>gift</tag><customer/><tag/></order>`, `<order><lines>x<line/>y</lines></order>`,
		`<order id="1" x="2">t<remark xsi:nil="true" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"/></order>`} {
		f.Add([]byte(s))
	}
	p := ordersProgram(f, policy.API{})
	f.Fuzz(func(t *testing.T, body []byte) {
		if x := post(t, p, "/orders", "application/xml", body); x.Decision.Refused() && len(x.Decision.Reasons) == 0 {
			t.Fatalf("%q is refused without a reason", body)
		}
	})
}

func BenchmarkXML(b *testing.B) {
	p := ordersProgram(b, policy.API{})
	b.SetBytes(int64(len(xmlOrder)))
	b.ReportAllocs()
	for b.Loop() {
		if x := post(b, p, "/orders", "application/xml", xmlOrder); x.Decision.Refused() {
			b.Fatal(x.Decision.Reasons)
		}
	}
}

// Many elements of many names, which must cost no more than there are of them.
func BenchmarkXMLHostile(b *testing.B) {
	p := ordersProgram(b, policy.API{})
	body := []byte(`<order xmlns="urn:shop" id="7">` + strings.Repeat("<tag>gift</tag><customer>a</customer>", 9900) + "</order>")
	for b.Loop() {
		post(b, p, "/orders", "application/xml", body)
	}
}

package gateway_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

// Answers of GraphQL reach the client as they were asked for: what was not
// selected is taken out, an answer that breaks the schema is refused, and honest
// ones come byte for byte.
func TestAnswersOfGraphQL(t *testing.T) {
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "s.graphql", Data: []byte(`type Query { user(id: ID!): User version: String! } type Mutation { pay(order: ID!): Int }
type User { id: ID! name: String mail: String role: Role friends: [User!]! } enum Role { ADMIN GUEST }`)}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("X-As") == "gzip" {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			io.WriteString(z, r.Header.Get("X-Answer"))
			z.Close()
			return
		}
		io.WriteString(w, r.Header.Get("X-Answer"))
	})
	const user = `{"query":"query Q($id: ID!) { me: user(id: $id) { id name role friends { id } } }","variables":{"id":"1"}}`
	const good = `{"data": {"me":{"id":"1","name":"Ann","role":"ADMIN","friends":[{"id":"2"}]}} }`
	const trace = `Traceback (most recent call last): File \"/srv/app/main.py\", line 7, in resolve`
	api := func(a policy.Answers) guard.API {
		return guard.API{API: sallyport.API{Name: "shop"}, Spec: set, Policy: policy.API{Mode: sallyport.Enforce, GraphQL: policy.GraphQL{Batch: 4}, Answers: a}}
	}
	strip := policy.Answers{Mode: sallyport.Enforce, Undeclared: policy.StripIt, Sensitive: policy.StripIt}
	refuse := policy.Answers{Mode: sallyport.Enforce, Undeclared: policy.RefuseAll}
	report := policy.Answers{Mode: sallyport.Enforce, Undeclared: policy.ReportOnly, Types: policy.ReportOnly}
	for _, tt := range []struct {
		name         string
		answers      policy.Answers
		asks, gives  string
		want         string // "": refused
		rule, header string
	}{
		{"as asked", strip, user, good, good, "", ""},
		{"as asked, observed", policy.Answers{}, user, good, good, "", ""},
		{"not selected", strip, user, `{"data":{"me":{"id":"1","mail":"x","name":"Ann","role":null,"friends":[{"id":"2","passwordHash":"y"}]}}}`,
			`{"data":{"me":{"id":"1","name":"Ann","role":null,"friends":[{"id":"2"}]}}}`, "answer.undeclared", ""},
		{"not selected, encoded", strip, user, strings.Replace(good, `"name"`, `"hash":"y","name"`, 1), good, "answer.undeclared", "gzip"},
		{"not selected, refused", refuse, user, strings.Replace(good, `"name"`, `"hash":"y","name"`, 1), "", "answer.undeclared", ""},
		{"not selected, reported", report, user, strings.Replace(good, `"name"`, `"hash":"y","name"`, 1), strings.Replace(good, `"name"`, `"hash":"y","name"`, 1), "answer.undeclared", ""},
		{"by its mode alone", policy.Answers{Mode: sallyport.Enforce}, user, strings.Replace(good, `"name"`, `"hash":"y","name"`, 1), "", "answer.graphql.undeclared", ""},
		{"a value of no type", strip, user, strings.Replace(good, "ADMIN", "ROOT", 1), "", "answer.graphql.type", ""},
		{"missing", strip, user, strings.Replace(good, `"name":"Ann",`, "", 1), "", "answer.graphql.missing", ""},
		{"null for a list", strip, user, strings.Replace(good, `[{"id":"2"}]`, "null", 1), "", "answer.graphql.null", ""},
		{"wrong and reported", report, user, strings.Replace(good, "ADMIN", "ROOT", 1), strings.Replace(good, "ADMIN", "ROOT", 1), "answer.graphql.type", ""},
		{"the schema", strip, `{"query":"{ version }"}`, `{"data":{"version":"1","__schema":{"types":[{"name":"User"}]}}}`, `{"data":{"version":"1"}}`, "answer.undeclared", ""},
		{"an error and a stray", strip, user, `{"errors":[{"message":"` + trace + `","path":["me"],"stack":"x"}],"data":{"me":null,"other":1}}`,
			`{"errors":[{"message":"********* (**** ****** **** ****): **** **/***/***/****.****, **** *, ** *******","path":["me"]}],"data":{"me":null}}`, "answer.undeclared", ""},
		{"sensitive", strip, user, strings.Replace(good, "Ann", "ann@example.com", 1), strings.Replace(good, "Ann", "***@*******.***", 1), "answer.sensitive", ""},
		{"a batch", strip, `[{"query":"{ version }"},{"query":"{ user(id: 1) { id } }"}]`, `[{"data":{"version":"1","x":1}},{"data":{"user":{"id":"1","name":"x"}}}]`,
			`[{"data":{"version":"1"}},{"data":{"user":{"id":"1"}}}]`, "answer.undeclared", ""},
		{"a batch cut short", strip, `[{"query":"{ version }"},{"query":"{ version }"}]`, `[{"data":{"version":"1"}}]`, "", "answer.graphql.shape", ""},
		{"a batch turned away", strip, `[{"query":"{ version }"},{"query":"{ version }"}]`, `{"errors":[{"message":"no batches"}]}`, `{"errors":[{"message":"no batches"}]}`, "", ""},
		{"no JSON", strip, user, `{"data":`, "", "answer.graphql.shape", ""},
		{"empty", strip, user, ``, "", "answer.graphql.shape", ""},
	} {
		d := open(t, gateway.Options{Program: program(t, api(tt.answers)), APIs: to(up.URL)})
		for _, h2 := range []bool{false, true} {
			req, _ := http.NewRequest("POST", d.url("/graphql"), strings.NewReader(tt.asks))
			req.Header = http.Header{"Content-Type": {"application/json"}, "X-Answer": {tt.gives}, "X-As": {tt.header}}
			res, err := d.client(h2).Do(req)
			body := read(t, res, err)
			x := d.rec.find(t, res.Header.Get("X-Request-Id"))
			if tt.want == "" {
				wantProblem(t, res, body, 502)
			} else if res.StatusCode != 200 || body != tt.want {
				t.Errorf("%s: %d %s\nwant %s; %+v", tt.name, res.StatusCode, body, tt.want, x.Decision)
			}
			found := tt.rule == ""
			for _, r := range x.Decision.Reasons {
				found = found || r.Rule == tt.rule
			}
			if !found || tt.rule == "" && len(x.Decision.Reasons) > 0 {
				t.Errorf("%s: %+v, want %s", tt.name, x.Decision, tt.rule)
			}
		}
	}
}

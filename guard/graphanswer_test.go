package guard_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	sallyport "sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

// Errors of GraphQL come as successes: what they give away does not leave, and
// what explains itself does.
func TestGraphQLErrorsAreSilent(t *testing.T) {
	set, err := spec.Load(context.Background(), []spec.Source{{Path: "s.graphql", Data: []byte("type Query { version: String }")}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const trace = `Traceback (most recent call last): File \"/srv/app/main.py\", line 7, in resolve`
	for _, c := range []struct{ name, answer, want string }{
		{"data", `{"data": {"version": "at Object.<anonymous> (/srv/app/index.js:1:1)"} }`, ""},
		{"an error that explains itself", `{"errors":[{"message":"Name is too long","path":["version"],"extensions":{"code":"BAD_USER_INPUT"}}],"data":null}`, ""},
		{"a trace", `{"errors":[{"message":"` + trace + `","path":["version"]}], "data":null}`, `{"errors":[{"message":"****`},
		{"extensions", `{"errors":[{"message":"x","extensions":{"code":"INTERNAL","exception":{"stacktrace":["a"]}}}],"data":null}`, `{"errors":[{"message":"x"}],"data":null}`},
		{"of a batch", `[{"data":null},{"errors":[{"message":"x","extensions":{"stacktrace":["a"]}}]}]`, `[{"data":null},{"errors":[{"message":"x"}]}]`},
		{"no list", `{"errors":{"message":"x"}}`, ""}, {"no JSON", `{"errors"`, ""},
	} {
		for _, mode := range []sallyport.Mode{sallyport.Enforce, sallyport.Observe} {
			p := compile(t, guard.Config{Name: "test", APIs: []guard.API{{API: sallyport.API{Name: "g"}, Spec: set, Policy: policy.API{Mode: mode}}}})
			body := `{"query":"{ version }"}`
			s, step := p.Begin(request("POST", "/graphql", "", len(body)), now)
			if step.Body == guard.BodyWhole {
				s.RequestBody([]byte(body), now)
			}
			step = s.Response(200, http.Header{"Content-Type": {"application/json"}}, now)
			if step.Body != guard.BodyWhole && step.Body != guard.BodySample {
				t.Fatalf("%+v", step)
			}
			step = s.ResponseBody([]byte(c.answer), now)
			x := s.End(guard.Outcome{Status: 200, Origin: 200}, now)
			found := slices.ContainsFunc(x.Decision.Reasons, func(r sallyport.Reason) bool { return r.Stage == sallyport.StageRewrite })
			if found != (c.want != "") {
				t.Errorf("%s, %s: %+v", c.name, mode, x.Decision)
			}
			got := string(step.Replace)
			if mode == sallyport.Observe && got != "" || mode == sallyport.Enforce && (c.want == "" && got != "" || !strings.HasPrefix(got, c.want) || strings.Contains(got, "srv")) {
				t.Errorf("%s, %s: got %s, want %s", c.name, mode, got, c.want)
			}
		}
	}
}

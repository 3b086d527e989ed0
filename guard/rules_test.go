package guard_test

import (
	"net/netip"
	"strings"
	"testing"

	sallyport "sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
)

// ruled is the fixture with rules of the API and of operations by operationId.
func ruled(mode sallyport.Mode, api []policy.Rule, of map[string][]policy.Rule) guard.Config {
	c := config(mode)
	c.APIs[0].Policy.Rules = api
	for op, rules := range of {
		c.APIs[0].Policy.Operations = append(c.APIs[0].Policy.Operations, policy.OperationDemand{Operation: op, Rules: rules})
	}
	return c
}

func one(require string) []policy.Rule { return []policy.Rule{{Name: "r", Require: require}} }

// TestRules: each rule lets the genuine request pass and refuses its look-alike.
func TestRules(t *testing.T) {
	alice := map[string]any{"scope": "items:read items:write", "sub": "7", "tenant": "acme", "level": 3, "teams": []any{"blue", "red"}, "org": map[string]any{"id": "o1"}, "escaped": "\u00e9\"x"}
	type ask struct {
		target, body string
		header       map[string]string
		claims       map[string]any
	}
	with := func(more map[string]any) map[string]any {
		out := map[string]any{}
		for k, v := range alice {
			out[k] = v
		}
		for k, v := range more {
			out[k] = v
		}
		return out
	}
	for _, c := range []struct {
		name, op, require string
		pass, refuse      []ask
	}{
		{"one's own object", "getItem", `claims.sub == path.id`,
			[]ask{{target: "/v1/items/7"}},
			[]ask{{target: "/v1/items/8"}, {target: "/v1/items/7", claims: with(map[string]any{"sub": "8"})}}},
		{"the tenant's header", "getItem", `header["x-tenant"] == claims.tenant`,
			[]ask{{target: "/v1/items/7", header: map[string]string{"X-Tenant": "acme"}}},
			[]ask{{target: "/v1/items/7"}, {target: "/v1/items/7", header: map[string]string{"X-Tenant": "rival"}},
				{target: "/v1/items/7", header: map[string]string{"X-Tenant": "acme\nrival"}},
				{target: "/v1/items/7", header: map[string]string{"X-Tenant": "acme"}, claims: map[string]any{"sub": "7"}}}},
		{"a query parameter, once", "getItem", `!has(query.note) || query.note == claims.tenant`,
			[]ask{{target: "/v1/items/7"}, {target: "/v1/items/7?note=acme"}, {target: "/v1/items/7?n%6fte=acme"}, {target: "/v1/items/7?note=%61cme&limit=3"}},
			[]ask{{target: "/v1/items/7?note=rival"}, {target: "/v1/items/7?note=acme&note=rival"}, {target: "/v1/items/7?note=acme&n%6Fte=acme"}}},
		{"a list and a number", "getItem", `"red" in claims.teams && claims.level >= 3 && claims.org.id == "o1"`,
			[]ask{{target: "/v1/items/7"}, {target: "/v1/items/7", claims: with(map[string]any{"level": 3.5})}},
			[]ask{{target: "/v1/items/7", claims: with(map[string]any{"teams": []any{"green"}})}, {target: "/v1/items/7", claims: with(map[string]any{"level": 2})},
				{target: "/v1/items/7", claims: with(map[string]any{"level": "9"})}, {target: "/v1/items/7", claims: with(map[string]any{"teams": "red"})}}},
		{"text with escapes", "getItem", `claims.escaped == "é\"x"`, []ask{{target: "/v1/items/7"}}, []ask{{target: "/v1/items/7", claims: with(map[string]any{"escaped": "e"})}}},
		{"a field of the body", "createItem", `body.quantity <= 10 || claims.level >= 5`,
			[]ask{{target: "/v1/items", body: `{"sku":"AB-1","quantity":10}`}, {target: "/v1/items", body: `{"sku":"AB-1","quantity":99}`, claims: with(map[string]any{"level": 5})}},
			[]ask{{target: "/v1/items", body: `{"sku":"AB-1","quantity":11}`}, {target: "/v1/items", body: `{"quantity":1,"quantity":99}`},
				{target: "/v1/items", body: `{"sku":"AB-1"}`}, {target: "/v1/items", body: `[]`}, {target: "/v1/items", body: `{"quantity":`}, {target: "/v1/items"},
				{target: "/v1/items", body: `{"quantity":1e999}`}}},
		{"nested in the body", "createItem", `body.lines.all(l, l.qty < 5)`,
			[]ask{{target: "/v1/items", body: `{"lines":[{"qty":1},{"qty":4}]}`}, {target: "/v1/items", body: `{"lines":[]}`}},
			[]ask{{target: "/v1/items", body: `{"lines":[{"qty":1},{"qty":5}]}`}, {target: "/v1/items", body: `{"lines":{}}extra`}}},
		{"principal, client, time", "getItem", `principal.authenticated && principal.kind == "oidc" && principal.subject == "7" && "items:read" in principal.scopes && principal.client == "shop" && client.address.within("192.0.2.0/24") && now.getFullYear() == 2027 && operation.id == "getItem" && operation.template == "/v1/items/{id}" && request.host == "api.example.test" && request.method == "GET"`,
			[]ask{{target: "/v1/items/7"}}, []ask{{target: "/v1/items/7", claims: with(map[string]any{"sub": "8"})}}},
		{"a network it is not in", "getItem", `client.address.within("10.0.0.0/8")`, nil, []ask{{target: "/v1/items/7"}}},
		{"more work than is allowed", "createItem", `body.l.all(a, body.l.all(b, body.l.all(c, a + b + c >= 0)))`,
			[]ask{{target: "/v1/items", body: `{"l":[1,2]}`}}, []ask{{target: "/v1/items", body: `{"l":[` + strings.Repeat("1,", 200) + `1]}`}}},
		{"names are not searched", "getItem", `query.all(k, k == "limit")`, nil, []ask{{target: "/v1/items/7?limit=3"}}},
		{"nothing of an absent claim", "getItem", `claims.admin == true`, nil, []ask{{target: "/v1/items/7"}, {target: "/v1/items/7", claims: with(map[string]any{"admin": "true"})}}},
	} {
		cfg := ruled(sallyport.Enforce, nil, map[string][]policy.Rule{c.op: one(c.require)})
		cfg.APIs[0].Policy.Checks = map[sallyport.Stage]sallyport.Mode{sallyport.StageValidate: sallyport.Observe}
		p := compile(t, cfg)
		method := map[string]string{"getItem": "GET", "createItem": "POST"}[c.op]
		run := func(a ask) (*sallyport.Exchange, *guard.Refusal) {
			claims := a.claims
			if claims == nil {
				claims = alice
			}
			r := request(method, a.target, signed(claims), len(a.body))
			for k, v := range a.header {
				r.Header[k] = strings.Split(v, "\n")
			}
			return exchange(p, r, []byte(a.body), answer)
		}
		for range 2 { // the second time the token is known
			for _, a := range c.pass {
				if x, refusal := run(a); refusal != nil {
					t.Errorf("%s: %+v refused: %+v", c.name, a, x.Decision)
				}
			}
			for _, a := range c.refuse {
				x, refusal := run(a)
				if refusal == nil || refusal.Status != 403 || x.Decision.Stage != sallyport.StageAuthorise || x.Decision.Reasons[len(x.Decision.Reasons)-1].Rule != "rule.r" && x.Decision.Reasons[0].Rule != "rule.r" {
					t.Errorf("%s: %+v: want 403 by rule.r, got %+v", c.name, a, x.Decision)
				}
			}
		}
	}
}

// TestRuleModes: a rule has the mode of its stage unless it has one of its own.
func TestRuleModes(t *testing.T) {
	for _, c := range []struct {
		stage, rule sallyport.Mode
		status      int
		recorded    bool
	}{
		{sallyport.Enforce, "", 403, true}, {sallyport.Observe, "", 0, true}, {sallyport.Enforce, sallyport.Observe, 0, true},
		{sallyport.Observe, sallyport.Enforce, 403, true}, {sallyport.Off, "", 0, false}, {sallyport.Enforce, sallyport.Off, 0, false},
	} {
		p := compile(t, ruled(c.stage, []policy.Rule{{Name: "never", Require: "false", Mode: c.rule}}, nil))
		x, refusal := exchange(p, request("GET", "/v1/items/7", token("7", "items:read"), 0), nil, answer)
		status, recorded := 0, false
		if refusal != nil {
			status = refusal.Status
		}
		for _, r := range x.Decision.Reasons {
			recorded = recorded || r.Rule == "rule.never"
		}
		if status != c.status || recorded != c.recorded {
			t.Errorf("stage %s, rule %q: status %d, recorded %v; want %d, %v", c.stage, c.rule, status, recorded, c.status, c.recorded)
		}
	}
}

// TestRulesAreChecked: mistakes are found when the program is compiled.
func TestRulesAreChecked(t *testing.T) {
	for require, want := range map[string]string{
		`claims.sub == path.id`:                         "",
		`claims.sub = path.id`:                          "column 12",
		"claims.sub ==\n  pth.id":                       "line 2 of the rule, column 3",
		`claim.sub == "x"`:                              "undeclared reference to 'claim'",
		`principal.sub == "x"`:                          "undeclared reference",
		`principal.subject == 7`:                        "no matching overload",
		`claims.admin`:                                  "claims.admin == true",
		`"x"`:                                           "want true or false",
		`path.userId == "x"`:                            "path.userId: no such parameter",
		`!has(path.userId)`:                             "",
		`client.address.within("10.0.0.0")`:             "want a network",
		strings.Repeat("true && ", 1000) + "true":       "longer than",
		strings.Repeat("(", 200) + "true":               "",
		`header["x-a"].matches("(")`:                    "regex",
		`request.path.startsWith("/v1") && 1 + "a" > 0`: "no matching overload",
	} {
		_, err := guard.Compile(ruled(sallyport.Enforce, nil, map[string][]policy.Rule{"getItem": one(require)}))
		switch {
		case want == "" && strings.HasPrefix(require, "("):
			if err == nil {
				t.Errorf("%.40s: want a mistake", require)
			}
		case want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "operations[0].rules[0].require")):
			t.Errorf("%.60s: got %v, want %q", require, err, want)
		}
	}
	c := ruled(sallyport.Enforce, []policy.Rule{{Name: "a", Require: "true"}}, map[string][]policy.Rule{"getItem": {{Name: "a", Require: "true"}, {Name: "b c", Require: " "}}})
	_, err := guard.Compile(c)
	for _, want := range []string{"stands twice in this API", `"b c": want letters`, "require: missing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	c = ruled(sallyport.Enforce, one(`claims.sub == "x"`), nil)
	c.APIs[0].Policy.Auth = policy.Auth{}
	if _, err := guard.Compile(c); err == nil || !strings.Contains(err.Error(), "auth.oidc names no issuer") {
		t.Errorf("claims without an issuer: %v", err)
	}
}

// TestRulesOfBodiesThatCannotBeRead: whatever keeps a rule from seeing the body
// is a no.
func TestRulesOfBodiesThatCannotBeRead(t *testing.T) {
	c := ruled(sallyport.Observe, nil, map[string][]policy.Rule{"createItem": {{Name: "r", Require: "body.ok == true", Mode: sallyport.Enforce}}, "search": {{Name: "s", Require: "body.ok == true", Mode: sallyport.Enforce}}})
	c.APIs[0].Policy.Bounds = policy.Bounds{Body: 1 << 10, Oversize: policy.PassIt, Encoded: policy.PassIt}
	c.APIs[0].Policy.Checks = map[sallyport.Stage]sallyport.Mode{sallyport.StageInspect: sallyport.Off, sallyport.StageValidate: sallyport.Off}
	p := compile(t, c)
	for _, x := range []struct {
		name   string
		edit   func(*guard.Request)
		body   string
		status int
	}{
		{"genuine", func(*guard.Request) {}, `{"ok":true}`, 0},
		{"genuine, chunked", func(r *guard.Request) { r.ContentLength = -1 }, `{"ok":true}`, 0},
		{"genuine, a type of JSON's", func(r *guard.Request) {
			r.Header["Content-Type"] = []string{"application/merge-patch+json; charset=utf-8"}
		}, `{"ok":true}`, 0},
		{"too long", func(r *guard.Request) {}, `{"ok":true,"p":"` + strings.Repeat("p", 1<<10) + `"}`, 403},
		{"too long, chunked", func(r *guard.Request) { r.ContentLength = -1 }, `{"ok":true,"p":"` + strings.Repeat("p", 1<<10) + `"}`, 403},
		{"encoded", func(r *guard.Request) { r.Header["Content-Encoding"] = []string{"gzip"} }, `{"ok":true}`, 403},
		{"a form", func(r *guard.Request) { r.Header["Content-Type"] = []string{"application/x-www-form-urlencoded"} }, `{"ok":true}`, 403},
		{"two types", func(r *guard.Request) { r.Header["Content-Type"] = []string{"application/json", "text/plain"} }, `{"ok":true}`, 403},
		{"no type", func(r *guard.Request) { delete(r.Header, "Content-Type") }, `{"ok":true}`, 403},
		{"UTF-16", func(r *guard.Request) { r.Header["Content-Type"] = []string{"application/json; charset=utf-16"} }, `{"ok":true}`, 403},
		{"a key twice", func(*guard.Request) {}, `{"ok":true,"ok":false}`, 403},
		{"a key twice, escaped", func(*guard.Request) {}, `{"ok":true,"\u006fk":false}`, 403},
		{"cut off", func(*guard.Request) {}, `{"ok":true`, 403},
		{"gRPC", func(r *guard.Request) { r.Header["Content-Type"] = []string{"application/grpc"} }, `{"ok":true}`, 403},
	} {
		r := request("POST", "/v1/items", token("7", "items:write"), len(x.body))
		x.edit(r)
		body := []byte(x.body)
		record, refusal := exchange(p, r, body[:min(len(body), 1<<10+1)], nil)
		if got := refusal; (got == nil) != (x.status == 0) || got != nil && got.Status != x.status {
			t.Errorf("%s: %+v", x.name, record.Decision)
		}
	}
}

// TestRulesOfNobody: a rule may let in by the address those whom no credential proves.
func TestRulesOfNobody(t *testing.T) {
	p := compile(t, ruled(sallyport.Enforce, []policy.Rule{{Name: "inside", Require: `client.address.within("192.0.2.0/24") || principal.authenticated`}}, nil))
	r := request("GET", "/v1/status", "", 0)
	if _, refusal := exchange(p, r, nil, answer); refusal != nil {
		t.Errorf("refused from inside: %+v", refusal)
	}
	r = request("GET", "/v1/status", "", 0)
	r.Client = netip.MustParseAddr("198.51.100.9")
	if _, refusal := exchange(p, r, nil, answer); refusal == nil || refusal.Status != 403 {
		t.Errorf("let in from outside: %+v", refusal)
	}
	r = request("GET", "/v1/status", token("7", "items:read"), 0)
	r.Client = netip.MustParseAddr("198.51.100.9")
	if _, refusal := exchange(p, r, nil, answer); refusal != nil {
		t.Errorf("refused with a token from outside: %+v", refusal)
	}
}

// BenchmarkRule is what a simple rule adds to a request; compare with BenchmarkGET.
func BenchmarkRule(b *testing.B) {
	for name, require := range map[string]string{"none": "", "claim is path": `claims.sub == path.id`, "header and list": `header["x-request-id"] != "" && "items:read" in principal.scopes`} {
		b.Run(name, func(b *testing.B) {
			c := config(sallyport.Enforce)
			if require != "" {
				c = ruled(sallyport.Enforce, nil, map[string][]policy.Rule{"getItem": one(require)})
			}
			p, r := compile(b, c), request("GET", "/v1/items/1234", token("1234", "items:read"), 0)
			if _, refusal := exchange(p, r, nil, answer); refusal != nil {
				b.Fatal(refusal)
			}
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				exchange(p, r, nil, answer)
			}
		})
	}
}

// TestRulesOfOperationsInTheBody: rules of an operation that the body names are
// asked once it has, and those that look at the body whatever it names.
func TestRulesOfOperationsInTheBody(t *testing.T) {
	p := graphProgram(t, policy.API{
		Rules:      []policy.Rule{{Name: "no-batch", Require: `body.query != ""`}},
		Operations: []policy.OperationDemand{{Operation: "query version", Rules: []policy.Rule{{Name: "inside", Require: `client.address.within("10.0.0.0/8")`}, {Name: "short", Require: `size(body.query) < 40`}}}},
	})
	for body, want := range map[string]string{
		`{"query":"{ user(id: 7) { name } }"}`:            "",
		`{"query":"{ version }"}`:                         "rule.inside",
		`{"query":"{ user(id: 7) { name } version }"}`:    "rule.inside",
		`[{"query":"{ user(id: 7) { name } }"}]`:          "rule.no-batch",
		`{"query":"{ version }","query":"{ version }"}`:   "rule.no-batch",
		`{"query":"{ user(id: 7) { name } v: version }"}`: "rule.inside",
	} {
		x := post(t, p, "/graphql", "application/json", []byte(body))
		rules := ""
		for _, r := range x.Decision.Reasons {
			rules += r.Rule + " "
		}
		if want == "" && x.Decision.Action != sallyport.ActionAllow || want != "" && (x.Decision.Status != 403 || !strings.Contains(rules, want)) {
			t.Errorf("%s: %s %s, want %q", body, x.Decision.Action, rules, want)
		}
	}
}

// BenchmarkRuleAtItsBound is the most that one rule can cost.
func BenchmarkRuleAtItsBound(b *testing.B) {
	c := ruled(sallyport.Enforce, nil, map[string][]policy.Rule{"search": one(`body.l.all(a, body.l.all(b, body.l.all(c, a + b + c >= 0)))`)})
	c.Inspect = nil
	body := []byte(`{"l":[` + strings.Repeat("1,", 200) + `1]}`)
	p, r := compile(b, c), request("POST", "/v1/search", "", len(body))
	if _, refusal := exchange(p, r, body, nil); refusal == nil {
		b.Fatal("it was not stopped")
	}
	defer cpu(b)()
	for b.Loop() {
		exchange(p, r, body, nil)
	}
}

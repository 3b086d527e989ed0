package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	yaml "go.yaml.in/yaml/v4"
	"pgregory.net/rapid"
	sallyport "sallyport.dev"
	"sallyport.dev/policy"
)

var (
	now   = time.Date(2027, 1, 15, 12, 0, 0, 0, time.UTC)
	known = []sallyport.Operation{
		{API: "items", Method: "GET", Template: "/v1/items/{id}", Name: "getItem", Declared: true},
		{API: "items", Method: "POST", Template: "/v1/items", Name: "createItem", Declared: true},
	}
)

const hash = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func read(t testing.TB, text string) policy.API {
	t.Helper()
	var a policy.API
	if err := yaml.Unmarshal([]byte(text), &a); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return a
}

func TestGoodPoliciesHaveNoMistakes(t *testing.T) {
	for _, text := range []string{
		"{}",
		"{mode: enforce, checks: {inspect: observe, limit: off}, shadow: refuse, undocumented: refuse, answers: off}",
		`{auth: {oidc: [{issuer: "https://idp.example.test/realm", audience: a, algorithms: [ES256], types: [at+jwt]}, {issuer: "http://127.0.0.1:8080", audience: a}], skew: 30s, failures: 5/min}}`,
		"{auth: {keys: [{id: k, hash: '" + hash + "', scopes: ['a:b']}], key_in: {in: query, name: api_key}, anonymous: never}}",
		"{limits: [{rate: 100/min, per: principal}, {rate: 5/s, burst: 20, per: client}, {rate: 20/10s, per: operation}]}",
		"{operations: [{operation: getItem, mode: off}, {operation: 'POST /v1/items', checks: {validate: observe}, limits: [{rate: 1/day, per: client}]}]}",
		"{exceptions: [{id: E1, rule: sqli.*, operation: getItem, place: query q, owner: team, reason: because, expires: 2027-06-01T00:00:00Z}]}",
		`{auth: {oidc: [{issuer: "https://i", audience: a, profile: rfc9068, clients: [app], introspection: {client_id: door, secret: "env:S", url: "https://i/introspect", cache: 10s}}, {issuer: "https://j", audience: a}]}}`,
		`{auth: {oidc: [{issuer: "https://i", audience: a}], binding: dpop, dpop: {algorithms: [ES256], window: 30s, nonce: true, origins: ["https://api.example.test", "https://api.example.test:8443"]}}, operations: [{operation: getItem, acr: [urn:mfa], max_age: 5m}]}`,
		`{auth: {certificates: [{id: a, uri: "spiffe://example.org/ns/x"}, {id: b, uri: "spiffe://example.org/jobs/*", scopes: [x]}, {id: c, dns: a.example.org}, {id: d, subject: "CN=d"}]}}`,
		"{bounds: {body: 65536, answer: 1024, sample: 100, oversize: pass, encoded: refuse}}",
	} {
		if m := read(t, text).Check(known); len(m) > 0 {
			t.Errorf("%s:\n%v", text, m)
		}
	}
}

func TestEveryMistakeIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"{mode: block}":                                            `mode: "block" is not one of observe, enforce, off`,
		"{checks: {inspection: off}}":                              `checks: "inspection" is not one of identify`,
		"{checks: {inspect: on}}":                                  `checks.inspect: "on" is not one of`,
		"{checks: {decide: off}}":                                  `checks: "decide" is not one of`,
		"{shadow: ask}":                                            `shadow: "ask"`,
		"{undocumented: drop}":                                     `undocumented: "drop"`,
		"{answers: maybe}":                                         `answers.mode: "maybe"`,
		"{auth: {oidc: [{audience: a}]}}":                          "auth.oidc[0].issuer: missing",
		`{auth: {oidc: [{issuer: "https://i"}]}}`:                  "auth.oidc[0].audience: missing",
		`{auth: {oidc: [{issuer: "http://i", audience: a}]}}`:      "want https",
		`{auth: {oidc: [{issuer: "https://i#x", audience: a}]}}`:   "no credentials, query or fragment",
		`{auth: {oidc: [{issuer: "https://u:p@i", audience: a}]}}`: "no credentials, query or fragment",
		`{auth: {oidc: [{issuer: "i", audience: a}]}}`:             "not a URL of a host",
		`{auth: {oidc: [{issuer: "https://i", audience: a}, {issuer: "https://i", audience: b}]}}`:                                                                                     "stands twice",
		`{auth: {oidc: [{issuer: "https://i", audience: a, algorithms: [HS256]}]}}`:                                                                                                    `algorithms[0]: "HS256"`,
		`{auth: {oidc: [{issuer: "https://i", audience: a, algorithms: [none]}]}}`:                                                                                                     `algorithms[0]: "none"`,
		"{auth: {keys: [{hash: '" + hash + "'}]}}":                                                                                                                                     "auth.keys[0].id: missing",
		"{auth: {keys: [{id: k, hash: secret}]}}":                                                                                                                                      "never the key itself",
		"{auth: {keys: [{id: k, hash: 'sha256:ab'}]}}":                                                                                                                                 "64 hexadecimal digits",
		"{auth: {keys: [{id: k, hash: 'hmac-" + hash + "'}]}}":                                                                                                                         "needs auth.key_pepper",
		"{auth: {keys: [{id: a, hash: '" + hash + "'}, {id: b, hash: '" + hash + "'}]}}":                                                                                               "the same key stands twice",
		"{auth: {keys: [{id: k, hash: '" + hash + "', scopes: ['a b']}]}}":                                                                                                             "is not a scope",
		`{auth: {oidc: [{issuer: "https://i", audience: a, profile: jwt}]}}`:                                                                                                           `auth.oidc[0].profile: "jwt"`,
		`{auth: {oidc: [{issuer: "https://i", audience: a, profile: rfc9068, types: [JWT]}]}}`:                                                                                         "leave types out",
		`{auth: {oidc: [{issuer: "https://i", audience: a, clients: [""]}]}}`:                                                                                                          "an empty client",
		`{auth: {oidc: [{issuer: "https://i", audience: a, introspection: {secret: "env:S"}}]}}`:                                                                                       "introspection.client_id: missing",
		`{auth: {oidc: [{issuer: "https://i", audience: a, introspection: {client_id: d}}]}}`:                                                                                          "introspection.secret: missing",
		`{auth: {oidc: [{issuer: "https://i", audience: a, introspection: {client_id: d, secret: s, cache: 1h}}]}}`:                                                                    "introspection.cache",
		`{auth: {oidc: [{issuer: "https://i", audience: a, introspection: {client_id: d, secret: s, url: "http://127.0.0.1/x"}}]}}`:                                                    "want https, as the issuer's",
		`{auth: {oidc: [{issuer: "https://i", audience: a, introspection: {client_id: d, secret: s, url: "http://i/x"}}]}}`:                                                            "introspection.url",
		`{auth: {oidc: [{issuer: "https://i", audience: a, introspection: {client_id: d, secret: s}}, {issuer: "https://j", audience: a, introspection: {client_id: d, secret: s}}]}}`: "one issuer of an API can be asked",
		"{auth: {binding: dpop}}": "names no issuer whose tokens could be bound",
		`{auth: {oidc: [{issuer: "https://i", audience: a}], binding: proof}}`:                                       "auth.binding",
		`{auth: {dpop: {algorithms: [HS256]}}}`:                                                                      "auth.dpop.algorithms[0]",
		`{auth: {dpop: {window: 1h}}}`:                                                                               "auth.dpop.window",
		`{auth: {dpop: {origins: ["api.example.test"]}}}`:                                                            "auth.dpop.origins[0]",
		`{auth: {dpop: {origins: ["https://api.example.test/x"]}}}`:                                                  "auth.dpop.origins[0]",
		`{auth: {certificates: [{uri: "spiffe://e/x"}]}}`:                                                            "auth.certificates[0].id: missing",
		`{auth: {certificates: [{id: a}]}}`:                                                                          "exactly one of uri, dns and subject",
		`{auth: {certificates: [{id: a, uri: "spiffe://e/x", dns: x}]}}`:                                             "exactly one of uri, dns and subject",
		`{auth: {certificates: [{id: a, uri: "spiffe://e/*/x"}]}}`:                                                   "ends in /*",
		`{auth: {certificates: [{id: a, uri: "*"}]}}`:                                                                "ends in /*",
		`{auth: {certificates: [{id: a, dns: "*.example.org"}]}}`:                                                    "want one name",
		"{operations: [{operation: getItem, acr: [x]}]}":                                                             "auth.oidc names no issuer",
		`{auth: {oidc: [{issuer: "https://i", audience: a}]}, operations: [{operation: getItem, acr: ['a b']}]}`:     "operations[0].acr[0]",
		`{auth: {oidc: [{issuer: "https://i", audience: a}]}, operations: [{operation: getItem, max_age: 1500ms}]}`:  "operations[0].max_age",
		"{auth: {key_in: {in: body}}}":                                                                               "auth.key_in.in",
		"{auth: {key_in: {name: 'a b'}}}":                                                                            "auth.key_in.name",
		"{auth: {key_in: {name: authorization}}}":                                                                    "carries bearer tokens",
		"{auth: {anonymous: sometimes}}":                                                                             "auth.anonymous",
		"{auth: {skew: 1h}}":                                                                                         "auth.skew",
		"{limits: [{per: client}]}":                                                                                  "limits[0].rate: missing",
		"{limits: [{rate: 1/s}]}":                                                                                    "limits[0].per: missing",
		"{limits: [{rate: 1/s, per: moon}]}":                                                                         `limits[0].per: "moon"`,
		"{limits: [{rate: 1/s, per: client, burst: -1}]}":                                                            "burst: -1 is negative",
		"{limits: [{rate: 1/s, concurrent: 3, per: client}]}":                                                        "more than one thing",
		"{limits: [{cpu: 5/s, per: client}]}":                                                                        "limits[0].cpu: 5/s: want a time",
		"{limits: [{rows: 5ms/s, per: client}]}":                                                                     "want a number",
		"{limits: [{bytes: 5ms/s, per: client}]}":                                                                    "want a size",
		"{limits: [{rows: 1.5/s, per: client}]}":                                                                     "want a whole number",
		"{limits: [{money: 1e14/s, per: client}]}":                                                                   "too much",
		"{limits: [{concurrent: -3, per: client}]}":                                                                  "limits[0].concurrent",
		"{limits: [{concurrent: 3, burst: 3, per: client}]}":                                                         "limits[0].burst",
		"{limits: [{cpu: 1s/s, burst: 3, per: client}]}":                                                             "limits[0].burst: 3: want a time",
		"{limits: [{quota: 3/day, zone: Atlantis, per: client}]}":                                                    "limits[0].zone",
		"{limits: [{quota: 3/day, of: cpu, per: client}]}":                                                           "limits[0].quota",
		"{limits: [{rate: 3/s, of: cpu, per: client}]}":                                                              "belong to a quota",
		"{limits: [{rate: 3/s, name: 'a b', per: client}]}":                                                          "limits[0].name",
		"{limits: [{rate: 3/s, per: key}]}":                                                                          "auth.keys has none",
		"{limits: [{rate: 3/s, per: oauth_client}]}":                                                                 "auth.oidc has no issuer",
		"{operations: [{operation: getItem, limits: [{rate: 3/s, per: api}]}]}":                                      "among the API's limits",
		"{operations: [{operation: getItem, price: -1}]}":                                                            "operations[0].price",
		"{limit_headers: sometimes}":                                                                                 "limit_headers",
		"{bounds: {body: -1}}":                                                                                       "bounds.body",
		"{bounds: {sample: 9999999}}":                                                                                "bounds.sample",
		"{bounds: {oversize: cut}}":                                                                                  "bounds.oversize",
		"{operations: [{mode: off}]}":                                                                                "operations[0].operation: missing",
		"{operations: [{operation: getItems}]}":                                                                      `did you mean "getItem"?`,
		"{operations: [{operation: 'GET /v1/item/{id}'}]}":                                                           `did you mean "GET /v1/items/{id}"?`,
		"{operations: [{operation: completelyDifferent}]}":                                                           `no operation "completelyDifferent"`,
		"{operations: [{operation: getItem}, {operation: getItem}]}":                                                 "stands twice",
		"{operations: [{operation: getItem, scopes: [staff]}]}":                                                      "auth names no issuer",
		"{exceptions: [{rule: a.b, owner: o, reason: r, expires: 2027-01-01T00:00:00Z}]}":                            "exceptions[0].id: missing",
		"{exceptions: [{id: e, rule: a.b, reason: r, expires: 2027-01-01T00:00:00Z}]}":                               "exceptions[0].owner: missing",
		"{exceptions: [{id: e, rule: a.b, owner: o, expires: 2027-01-01T00:00:00Z}]}":                                "exceptions[0].reason: missing",
		"{exceptions: [{id: e, rule: a.b, owner: o, reason: r}]}":                                                    "exceptions[0].expires: missing",
		"{exceptions: [{id: e, rule: '*', owner: o, reason: r, expires: 2027-01-01T00:00:00Z}]}":                     "exceptions[0].rule",
		"{exceptions: [{id: e, rule: 'a.*.b', owner: o, reason: r, expires: 2027-01-01T00:00:00Z}]}":                 "exceptions[0].rule",
		"{exceptions: [{id: e, rule: a, place: 'somewhere x', owner: o, reason: r, expires: 2027-01-01T00:00:00Z}]}": "exceptions[0].place",
	} {
		m := read(t, text).Check(known)
		if len(m) != 1 || !strings.Contains(m.Error(), want) {
			t.Errorf("%s: got %q, want one mistake with %q", text, m.Error(), want)
		}
	}
}

func TestOperationDemandsOverrideTheAPIs(t *testing.T) {
	a := read(t, `{mode: enforce, checks: {inspect: observe}, limits: [{rate: 9/s, per: client}], operations: [
		{operation: getItem, checks: {inspect: off}, scopes: [staff], anonymous: never, limits: [{rate: 1/s, per: principal}]},
		{operation: "POST /v1/items", mode: observe}],
		exceptions: [{id: all, rule: x.y}, {id: one, rule: x.y, operation: createItem}]}`)
	get, post, shadow := a.For(known[0]), a.For(known[1]), a.For(sallyport.Operation{API: "items"})
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"get inspect", get.Modes[sallyport.StageInspect], sallyport.Off},
		{"get validate", get.Modes[sallyport.StageValidate], sallyport.Enforce},
		{"post inspect", post.Modes[sallyport.StageInspect], sallyport.Observe},
		{"post validate", post.Modes[sallyport.StageValidate], sallyport.Observe},
		{"shadow inspect", shadow.Modes[sallyport.StageInspect], sallyport.Observe},
		{"shadow limit", shadow.Modes[sallyport.StageLimit], sallyport.Enforce},
		{"get anonymous", get.Anonymous, policy.Never},
		{"post anonymous", post.Anonymous, policy.ByContract},
		{"get limits", len(get.Limits), 2},
		{"get own limits", get.OwnLimits, 1},
		{"post limits", len(post.Limits), 1},
		{"get exceptions", len(get.Exceptions), 1},
		{"post exceptions", len(post.Exceptions), 2},
		{"default mode", policy.API{}.For(known[0]).Modes[sallyport.StageValidate], sallyport.Observe},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestExceptionsCoverWhatTheySay(t *testing.T) {
	in := func(in sallyport.In, name string) sallyport.Place { return sallyport.Place{In: in, Name: name} }
	for _, c := range []struct {
		rule, place string
		given       string
		at          sallyport.Place
		want        bool
	}{
		{"sqli.union", "", "sqli.union", in("query", "q"), true},
		{"sqli.union", "", "sqli.unions", in("query", "q"), false},
		{"sqli.*", "", "sqli.union", in("query", "q"), true},
		{"sqli.*", "", "sqli", in("query", "q"), false},
		{"sqli.*", "", "sqlix.union", in("query", "q"), false},
		{"a", "query q", "a", in("query", "q"), true},
		{"a", "query q", "a", in("query", "Q"), false},
		{"a", "query q", "a", in("body", "q"), false},
		{"a", "header x-trace", "a", in("header", "X-Trace"), true},
		{"a", "query", "a", in("query", "anything"), true},
		{"a", "body /a/*/b", "a", in("body", "/a/0/b"), true},
		{"a", "body /a/*/b", "a", in("body", "/a/0/c"), false},
		{"a", "body /a/*/b", "a", in("body", "/a/0/1/b"), false},
		{"a", "body /a/*", "a", in("body", "/a"), false},
		{"a", "body /a", "a", in("body", "/a/b"), false},
	} {
		e := policy.Exception{Rule: c.rule, Place: c.place, Expires: now.Add(time.Second)}
		if got := e.Covers(c.given, c.at, now); got != c.want {
			t.Errorf("%s at %q for %s at %s: got %v, want %v", c.rule, c.place, c.given, c.at, got, c.want)
		}
		if e.Covers(c.given, c.at, e.Expires) {
			t.Errorf("%s at %q still covers when it has ended", c.rule, c.place)
		}
	}
}

func TestRatesReadWhatTheyWrite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := policy.Rate{Count: rapid.IntRange(1, 1<<30).Draw(t, "count"),
			Window: time.Duration(rapid.Int64Range(1, 1e9).Draw(t, "ms")) * time.Millisecond}
		got, err := policy.ParseRate(r.String())
		if r.Window > 366*24*time.Hour {
			return
		}
		if err != nil || got != r {
			t.Fatalf("%v reads as %v, %v", r, got, err)
		}
	})
	for _, bad := range []string{"", "100", "/min", "0/s", "-1/s", "1/", "1/fortnight", "1/-1s", "1/1us", "x/s", "1.5/s", "99999999999999999999/s", "1/9999999h"} {
		if r, err := policy.ParseRate(bad); err == nil {
			t.Errorf("%q reads as %v", bad, r)
		}
	}
}

func TestDiffInWords(t *testing.T) {
	was := read(t, `{mode: observe, limits: [{rate: 100/min, per: client}], auth: {keys: [{id: shop, subject: shop, hash: "`+hash+`"}]},
		operations: [{operation: getItem, mode: off}]}`)
	now := read(t, `{mode: enforce, checks: {inspect: observe}, limits: [{rate: 50/min, per: client, burst: 5}], shadow: refuse, bounds: {body: 65536},
		auth: {oidc: [{issuer: "https://idp.example.test", audience: items}], keys: [{id: shop, subject: shop, hash: "`+strings.Replace(hash, "9f", "00", 1)+`"}], anonymous: never, binding: dpop, certificates: [{id: jobs, uri: "spiffe://example.org/jobs", scopes: ["items:read"]}]},
		operations: [{operation: createItem, scopes: [staff], acr: [mfa], max_age: 5m}],
		exceptions: [{id: E1, rule: sqli.*, place: query q, owner: web, reason: search box, expires: 2027-06-01T00:00:00Z}]}`)
	want := []string{
		"mode: observe → enforce",
		"check inspect: now observe",
		"issuer added: https://idp.example.test for audience items",
		"API key shop: replaced by another secret",
		"tokens bound by: nothing demanded → dpop",
		"certificate added: jobs is spiffe://example.org/jobs with items:read",
		"anonymous requests: by contract → never",
		"limit removed: 100/min per client",
		"limit added: 50/min per client (burst 5)",
		"body bound: 1 MiB → 64 KiB",
		"undeclared operations: observe → refuse",
		"getItem: own demands removed",
		"getItem: mode: no longer off",
		"createItem: own demands added",
		"createItem: scope added: staff",
		"createItem: acr added: mfa",
		"createItem: greatest age of the sign-in: now 5m0s",
		"exception added: E1 spares sqli.* on all operations, query q until 2027-06-01 (web: search box)",
	}
	got := policy.Diff(was, now)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if same := policy.Diff(now, now); len(same) > 0 {
		t.Errorf("no change is %q", same)
	}
}

func TestLimitsAreReadAndSaid(t *testing.T) {
	for text, want := range map[string]struct {
		said            string
		count, capacity int64
		window          time.Duration
	}{
		"{rate: 100/min, per: client}":                                     {"100/min per client", 100, 100, time.Minute},
		"{rate: 5/s, burst: 20, per: principal}":                           {"5/s per principal (burst 20)", 5, 20, time.Second},
		"{cpu: 500ms/s, burst: 2s, per: principal}":                        {"500ms/s of cpu per principal (burst 2s)", 5e8, 2e9, time.Second},
		"{bytes: 10MiB/min, per: client, name: down}":                      {"down: 10MiB/min of bytes per client", 10 << 20, 10 << 20, time.Minute},
		"{money: 2.50/h, per: principal}":                                  {"2.5/h of money per principal", 2.5e6, 2.5e6, time.Hour},
		"{concurrent: 8, per: api}":                                        {"8 at once per api", 8, 8, 0},
		"{quota: 10000/day, per: principal}":                               {"10000 each day per principal", 10000, 10000, 0},
		"{quota: 5GiB/month, of: bytes, zone: Europe/Vienna, per: client}": {"5GiB each month of bytes in Europe/Vienna per client", 5 << 30, 5 << 30, 0},
	} {
		a := read(t, "{limits: ["+text+"]}")
		if m := a.Check(nil); len(m) > 0 {
			t.Errorf("%s: %v", text, m)
		}
		l := a.Limits[0]
		if l.String() != want.said || l.Count() != want.count || l.Capacity() != want.capacity || l.Window() != want.window {
			t.Errorf("%s: %q %d %d %s, want %+v", text, l, l.Count(), l.Capacity(), l.Window(), want)
		}
	}
}

package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	console "sallyport.dev/console/api"
)

// TestDemandsAreTold: the management API says what the configuration in force
// accepts and demands, how often a rule refused, and what requests cost. The
// limit stands in the form that the console offers for copying.
func TestDemandsAreTold(t *testing.T) {
	s := newSite(t)
	_, key := newKey(t, "batch", "--scopes", "pets:read")
	write(t, s.dir+"/sallyport.yaml", `listen: {gateway: "`+s.gateway+`", console: "`+s.console+`"}
tls: "off"
data: data
keys: file:keys/master.key
apis:
  - name: pets
    match: {host: pets.example.test}
    spec: pets.yaml
    upstreams: [{url: "`+s.upstream.URL+`"}]
    mode: enforce
    auth:
      anonymous: never
      oidc: [{issuer: "`+s.issuer.URL+`", audience: pets}]
      keys:
        `+key+`
    rules:
      - {name: small, require: "!('limit' in query) || int(query.limit) < 50"}
    operations:
      - {operation: "GET /pets", limits: [{rate: 88/min, per: principal}]}
      - {operation: "GET /pets/{id}", acr: [mfa], max_age: 10m, sensitive: [email], cache: {mode: on, per: principal, lifetime: 1m}, rules: [{name: later, require: "false", mode: observe}]}
    answers: {sensitive: report}
`)
	p := s.start(t)
	defer p.stop()
	if status, _, b := s.ask(t, "GET", "/pets?limit=5", ""); status != 200 {
		t.Fatalf("the benign request: %d %s", status, b)
	}
	if status, _, b := s.ask(t, "GET", "/pets?limit=90", ""); status != 403 {
		t.Fatalf("beyond the rule: %d %s", status, b)
	}
	d := p.signIn(p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1], "a long password for this test")

	var access struct{ APIs []console.Admission }
	eventually(t, 10*time.Second, func() string {
		d.do("GET", "/access", nil, http.StatusOK, &access)
		if a := access.APIs; len(a) == 1 && len(a[0].Rules) == 2 && a[0].Rules[0].Spoke != nil && *a[0].Rules[0].Spoke == 1 {
			return ""
		}
		return "the refusal of the rule is not counted"
	})
	a := access.APIs[0]
	if a.API != "pets" || a.Door != "gateway" || a.Anonymous != "never" || a.Mode != "enforce" || a.Rules[0].Name != "small" || a.Rules[1].Operation != "GET /pets/{id}" || a.Rules[1].Mode != "observe" {
		t.Errorf("admission %+v", a)
	}
	if len(a.Accepted) != 2 || a.Accepted[0].Kind != "issuer" || a.Accepted[0].Name != s.issuer.URL || !strings.Contains(a.Accepted[0].Detail, "audience pets") || a.Accepted[1].Detail != "batch" {
		t.Errorf("accepted %+v", a.Accepted)
	}

	type told struct {
		Demand *console.Demand
		Cost   *console.CostSeen
	}
	for _, c := range []struct {
		name, query string
		check       func(told) bool
	}{
		{"an operation of a list", "api=pets&method=GET&template=/pets", func(x told) bool {
			return x.Demand.Declared && x.Demand.Cache == nil && len(x.Demand.Rules) == 1 && x.Demand.Modes["inspect"] == "enforce" && x.Cost != nil && x.Cost.Requests >= 1 && x.Cost.Bytes95 > 0
		}},
		{"one with demands of its own", "api=pets&method=GET&template=/pets/{id}", func(x told) bool {
			return slices.Equal(x.Demand.ACR, []string{"mfa"}) && x.Demand.MaxAge == 600 && slices.Contains(x.Demand.Sensitive, "email") && x.Demand.Cache != nil && x.Demand.Cache.Per == "principal" && len(x.Demand.Rules) == 2
		}},
		{"one with a body", "api=pets&method=POST&template=/pets", func(x told) bool { return slices.Equal(x.Demand.Bodies, []string{"JSON"}) && x.Cost == nil }},
		{"one that nobody declares", "api=pets&method=GET&template=/nothing", func(x told) bool { return !x.Demand.Declared && len(x.Demand.Rules) == 1 }},
		{"of an API that is not", "api=nobody&method=GET&template=/pets", func(x told) bool { return x.Demand == nil && x.Cost == nil }},
		{"of no API", "method=GET&template=/pets", func(x told) bool { return x.Demand == nil }},
	} {
		var x told
		d.do("GET", "/operation/demand?"+c.query, nil, http.StatusOK, &x)
		if !c.check(x) {
			t.Errorf("%s: %+v, cost %+v", c.name, x.Demand, x.Cost)
		}
	}
	var shared console.SharedCounters
	if d.do("GET", "/limits/counters", nil, http.StatusOK, &shared); shared.State != "alone" {
		t.Errorf("counters %+v", shared)
	}
	var stored console.CacheState
	if d.do("GET", "/cache", nil, http.StatusOK, &stored); len(stored.APIs) != 0 {
		t.Errorf("nothing was looked up, and the cache says %+v", stored.APIs)
	}
	d.do("GET", "/operation/demand?api=pets&method=GE%20T&template=/pets", nil, http.StatusBadRequest, nil)
}

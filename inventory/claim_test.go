package inventory_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/inventory"
	"sallyport.dev/store"
)

func said(t testing.TB, v *inventory.Inventory, api, key, field string) inventory.FieldValue {
	t.Helper()
	list, err := v.Said(t.Context(), api, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if f.Field.Name == field {
			return f
		}
	}
	return inventory.FieldValue{}
}

func claim(api, field, value, source string, confidence float64) sallyport.Claim {
	return sallyport.Claim{Asset: sallyport.Asset{API: api}, Field: field, Value: value, Source: source, Confidence: confidence, Time: start}
}

func TestFieldsAreDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range inventory.Fields() {
		if seen[f.Name] || f.Name == "" || f.Title == "" || f.Doc == "" || len(f.Sources) == 0 {
			t.Errorf("field %+v is not described, or twice", f)
		}
		if f.Type == inventory.EnumField && len(f.Values) == 0 {
			t.Errorf("enum %s has no values", f.Name)
		}
		if (f.Type == inventory.ListField) != (f.Conflicts == inventory.Union) && f.Conflicts != inventory.Computed {
			t.Errorf("field %s: a list is a union and the other way round", f.Name)
		}
		seen[f.Name] = true
	}
	if len(seen) < 45 {
		t.Errorf("%d fields", len(seen))
	}
}

func TestClaims(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		v := openInventory(t, openStore(t, o), inventory.Options{})
		if err := v.Declare(t.Context(), shop, shopOperations); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			what     string
			claims   []sallyport.Claim
			field    string
			value    string
			source   string
			conflict bool
		}{
			{"one source", []sallyport.Claim{claim("shop", "region", "eu-west", "k8s", 0.9)}, "region", "eu-west", "k8s", false},
			{"a list is a union", []sallyport.Claim{claim("shop", "region", "us-east", "dns", 0.4)}, "region", "eu-west, us-east", "dns, k8s", false},
			{"taken back", []sallyport.Claim{{Asset: sallyport.Asset{API: "shop"}, Field: "region", Value: "eu-west", Source: "k8s", Withdrawn: true, Time: start}}, "region", "us-east", "dns", false},
			{"two disagree", []sallyport.Claim{claim("shop", "cost_centre", "4711", "k8s", 0.6), claim("shop", "cost_centre", "4712", "backstage", 0.8)}, "cost_centre", "4712", "backstage", true},
			{"they agree again", []sallyport.Claim{{Asset: sallyport.Asset{API: "shop"}, Field: "cost_centre", Value: "4712", Source: "k8s", Confidence: 0.6, Time: start.Add(time.Minute)}}, "cost_centre", "4712", "backstage", false},
			{"words of an enum", []sallyport.Claim{claim("shop", "environment", "PROD", "k8s", 1)}, "environment", "production", "k8s", false},
			{"declared wins", []sallyport.Claim{claim("shop", "exposure.declared", "internal", "k8s", 1)}, "exposure.declared", string(shop.Exposure), "configuration", false},
			{"fresh wins over old", []sallyport.Claim{
				{Asset: sallyport.Asset{API: "shop"}, Field: "provider", Value: "old cloud", Source: "dns", Confidence: 0.8, Time: start.Add(-400 * 24 * time.Hour)},
				claim("shop", "provider", "new cloud", "scan", 0.7)}, "provider", "new cloud", "scan", true},
			{"the newest of its kind", []sallyport.Claim{claim("shop", "tls.expires", "2027-01-02", "scan", 0.9)}, "tls.expires", "2027-01-02T00:00:00Z", "scan", false},
		} {
			if err := v.Claim(t.Context(), c.claims); err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
			if got := said(t, v, "shop", "", c.field); got.Value != c.value || got.Source != c.source || got.Conflict != c.conflict {
				t.Errorf("%s: %q by %q, conflict %v; want %q by %q, %v", c.what, got.Value, got.Source, got.Conflict, c.value, c.source, c.conflict)
			}
		}
		changes, err := v.Changes(t.Context(), "shop", 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(changes, func(c inventory.Change) bool {
			return c.Field == "cost_centre" && c.Kind == "conflict"
		}) || !slices.ContainsFunc(changes, func(c inventory.Change) bool {
			return c.Field == "region" && c.Old == `["eu-west","us-east"]` && c.New == `["us-east"]` && c.Source == "dns"
		}) {
			t.Errorf("the history lacks something: %+v", changes)
		}
	})
}

func TestClaimsThatMakeNoSense(t *testing.T) {
	v := openInventory(t, openStore(t, store.Options{Dir: t.TempDir(), Key: make([]byte, store.KeySize)}), inventory.Options{Proposed: 3})
	huge := strings.Repeat("x", 1<<20)
	good := claim("a", "title", "fine", "src", 0.5)
	for what, c := range map[string]sallyport.Claim{
		"no asset": {Field: "title", Value: "x", Source: "s"}, "no source": claim("a", "title", "x", "", 1), "reserved source": claim("a", "title", "x", "person:me", 1),
		"the configuration": claim("a", "title", "x", "configuration", 1), "unknown field": claim("a", "colour", "x", "s", 1), "computed field": claim("a", "risk", "1", "s", 1),
		"not of the enum": claim("a", "environment", "moon", "s", 1), "no time": claim("a", "tls.expires", "soon", "s", 1), "no number": claim("a", "slo.latency", "NaN", "s", 1),
		"empty": claim("a", "title", " \x00 ", "s", 1), "template without method": {Asset: sallyport.Asset{API: "a", Template: "/x"}, Field: "title", Value: "x", Source: "s"},
		"field of APIs only": {Asset: sallyport.Asset{API: "a", Method: "GET", Template: "/x"}, Field: "hosts", Value: "x", Source: "s"},
	} {
		if what == "empty" {
			c.Value = "  "
		}
		err := v.Claim(t.Context(), []sallyport.Claim{c, good})
		if !errors.Is(err, sallyport.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := said(t, v, "a", "", "title"); got.Value != "fine" {
		t.Errorf("the good ones beside them: %+v", got)
	}
	if err := v.Claim(t.Context(), []sallyport.Claim{claim("a", "description", huge, "s", 5), claim(huge, "title", "x", "s", -1)}); err != nil {
		t.Errorf("huge ones are cut: %v", err)
	}
	if got := said(t, v, "a", "", "description"); len(got.Value) > 512 || got.Confidence != 1 {
		t.Errorf("%d bytes with confidence %v", len(got.Value), got.Confidence)
	}
	var many []sallyport.Claim
	for i := range 100 {
		many = append(many, claim(fmt.Sprint("n", i), "title", "x", "s", 1))
	}
	if err := v.Claim(t.Context(), many); !errors.Is(err, sallyport.Limited) {
		t.Errorf("beyond the bound of proposals: %v", err)
	}
	if list, err := v.Proposals(t.Context(), "proposed"); err != nil || len(list) != 3 {
		t.Errorf("%d proposals, %v", len(list), err)
	}
}

func TestAssets(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		s := openStore(t, o)
		v := openInventory(t, s, inventory.Options{})
		for _, a := range []sallyport.API{{Name: "pay", Hosts: []string{"api.example.test"}, Path: "/pay"}, {Name: "rest", Hosts: []string{"api.example.test"}}, {Name: "wild", Hosts: []string{"*.wild.example.test"}}, {Name: "any", Path: "/any"}} {
			if err := v.Declare(t.Context(), a, []sallyport.Operation{{API: a.Name, Method: "GET", Template: "/v1/items/{itemId}", Declared: true}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := v.Claim(t.Context(), []sallyport.Claim{claim("pay", "addresses", "10.0.0.1:8080", "k8s", 1), claim("rest", "hosts", "Legacy.example.test:443", "dns", 1)}); err != nil {
			t.Fatal(err)
		}
		for n, c := range []struct {
			asset sallyport.Asset
			api   string
		}{
			{sallyport.Asset{API: "pay", Host: "elsewhere.example.test"}, "pay"},
			{sallyport.Asset{Host: "elsewhere.example.test"}, "pay"}, // learned from the one before
			{sallyport.Asset{Host: "API.example.test:8443", Path: "/pay/v2"}, "pay"},
			{sallyport.Asset{Host: "api.example.test", Path: "/payments"}, "rest"},
			{sallyport.Asset{Host: "a.b.wild.example.test"}, "wild"},
			{sallyport.Asset{Host: "unknown.example.test", Path: "/any/x"}, "any"},
			{sallyport.Asset{Host: "legacy.example.test"}, "rest"},
			{sallyport.Asset{Address: "10.0.0.1:8080"}, "pay"},
			{sallyport.Asset{Host: "new.example.test", Path: "/v1/"}, "new.example.test/v1"},
			{sallyport.Asset{Host: "new.example.test", Path: "/v1/users"}, "new.example.test/v1"},
			{sallyport.Asset{Address: "10.9.9.9:1"}, "10.9.9.9:1"},
			{sallyport.Asset{API: "found in code", Host: "code.example.test"}, "found in code"},
			{sallyport.Asset{Host: "code.example.test", Path: "/x"}, "found in code"},
		} {
			title := fmt.Sprint("title ", n)
			if err := v.Claim(t.Context(), []sallyport.Claim{{Asset: c.asset, Field: "tags", Value: title, Source: "s", Confidence: 1}}); err != nil {
				t.Fatal(err)
			}
			if got := said(t, v, c.api, "", "tags"); !slices.Contains(got.List, title) {
				t.Errorf("%+v did not go to %q", c.asset, c.api)
			}
		}
		proposals, err := v.Proposals(t.Context(), "")
		if err != nil || len(proposals) != 3 {
			t.Errorf("%+v %v", proposals, err)
		}
		apis, err := v.APIs(t.Context())
		if err != nil || len(apis) != 4 {
			t.Errorf("a proposal is no API yet: %d, %v", len(apis), err)
		}
		// An operation is the same whatever its arguments are called; a new one gets a row that retention spares.
		for _, template := range []string{"/v1/items/{id}", "/v1/hidden"} {
			if err := v.Claim(t.Context(), []sallyport.Claim{{Asset: sallyport.Asset{API: "pay", Method: "get", Template: template}, Field: "code", Value: "main.go:7", Source: "code", Confidence: 1}}); err != nil {
				t.Fatal(err)
			}
		}
		if got := said(t, v, "pay", "GET /v1/items/{itemId}", "code"); got.Value != "main.go:7" {
			t.Errorf("the declared operation: %+v", got)
		}
		if d := detail(t, v, "pay", "GET /v1/hidden"); d.Declared || d.Tier != inventory.Unseen {
			t.Errorf("the claimed operation: %+v", d.Row)
		}
		// Seen under another argument's name and declared later, its claims follow.
		if err := v.Claim(t.Context(), []sallyport.Claim{{Asset: sallyport.Asset{API: "pay", Method: "GET", Template: "/v1/orders/{n}"}, Field: "code", Value: "o.go:1", Source: "code", Confidence: 1}}); err != nil {
			t.Fatal(err)
		}
		if err := v.Declare(t.Context(), sallyport.API{Name: "pay"}, []sallyport.Operation{{API: "pay", Method: "GET", Template: "/v1/orders/{orderId}", Declared: true}}); err != nil {
			t.Fatal(err)
		}
		if got := said(t, v, "pay", "GET /v1/orders/{orderId}", "code"); got.Value != "o.go:1" {
			t.Errorf("after the declaration: %+v", got)
		}
	})
}

func TestFindings(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		v := openInventory(t, openStore(t, o), inventory.Options{})
		f := sallyport.Finding{Rule: "tls.version", Title: "TLS 1.0 is spoken", Severity: sallyport.High, Asset: sallyport.Asset{Host: "a.example.test"}, Source: "scan", Evidence: []string{"ServerHello 0x0301"}, Refs: []string{"CWE-326"}, Time: start}
		again := f
		again.Time, again.Severity = start.Add(time.Minute), sallyport.Medium
		gone := f
		gone.Time, gone.Gone = start.Add(2*time.Minute), true
		back := f
		back.Time = start.Add(3 * time.Minute)
		for n, c := range []struct {
			f     sallyport.Finding
			open  int
			times int64
			worst sallyport.Severity
		}{{f, 1, 1, sallyport.High}, {again, 1, 2, sallyport.Medium}, {f, 1, 2, sallyport.Medium}, {gone, 0, 0, ""}, {gone, 0, 0, ""}, {back, 1, 3, sallyport.High}} {
			if err := v.Find(t.Context(), []sallyport.Finding{c.f}); err != nil {
				t.Fatal(err)
			}
			list, err := v.Findings(t.Context(), inventory.FindingFilter{API: "a.example.test"})
			if err != nil || len(list) != c.open || c.open == 1 && (list[0].Times != c.times || list[0].Severity != c.worst) {
				t.Errorf("step %d: %+v %v", n, list, err)
			}
		}
		if err := v.Find(t.Context(), []sallyport.Finding{{Rule: "x", Source: "s"}, {Severity: sallyport.Low, Source: "s"}, f}); !errors.Is(err, sallyport.Invalid) {
			t.Errorf("findings that make no sense: %v", err)
		}
	})
}

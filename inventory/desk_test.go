package inventory_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/inventory"
	"sallyport.dev/store"
)

func TestEditsAreTakenBack(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		v := openInventory(t, openStore(t, o), inventory.Options{})
		if err := v.Declare(t.Context(), sallyport.API{Name: "a", Path: "/a"}, nil); err != nil {
			t.Fatal(err)
		}
		if err := v.Claim(t.Context(), []sallyport.Claim{claim("a", "owner.team", "red", "k8s", 0.9), claim("a", "owner.team", "blue", "codeowners", 0.6)}); err != nil {
			t.Fatal(err)
		}
		var last int64
		for _, c := range []struct {
			edit     inventory.Edit
			value    string
			power    inventory.Power
			conflict bool
			err      error
		}{
			{inventory.Edit{API: "a", Field: "owner.team", Action: "reject", Value: "red", Reason: "they left"}, "blue", inventory.Claimed, false, nil},
			{inventory.Edit{API: "a", Field: "owner.team", Action: "restore", Value: "red"}, "red", inventory.Claimed, true, nil},
			{inventory.Edit{API: "a", Field: "owner.team", Action: "confirm", Value: "blue"}, "blue", inventory.Confirmed, false, nil},
			{inventory.Edit{API: "a", Field: "owner.team", Action: "confirm", Value: "green"}, "green", inventory.Confirmed, false, nil},
			{inventory.Edit{API: "a", Field: "owner.team", Action: "clear"}, "red", inventory.Claimed, true, nil},
			{inventory.Edit{API: "a", Field: "owner.team", Action: "reject", Value: "pink"}, "red", inventory.Claimed, true, sallyport.NotFound},
			{inventory.Edit{API: "nobody", Field: "owner.team", Action: "confirm", Value: "x"}, "red", inventory.Claimed, true, sallyport.NotFound},
			{inventory.Edit{API: "a", Field: "risk", Action: "confirm", Value: "1"}, "red", inventory.Claimed, true, sallyport.Invalid},
			{inventory.Edit{API: "a", Field: "owner.team", Action: "shout", Value: "x"}, "red", inventory.Claimed, true, sallyport.Invalid},
		} {
			before := said(t, v, "a", "", "owner.team")
			if dry, err := v.Edit(t.Context(), "ann", []inventory.Edit{c.edit}, true); !errors.Is(err, c.err) || err == nil && (dry.ID != 0 || len(dry.Changes) == 0) {
				t.Errorf("%+v dry: %+v %v", c.edit, dry, err)
			}
			if after := said(t, v, "a", "", "owner.team"); after.Value != before.Value {
				t.Errorf("%+v dry: %q became %q", c.edit, before.Value, after.Value)
			}
			r, err := v.Edit(t.Context(), "ann", []inventory.Edit{c.edit}, false)
			if !errors.Is(err, c.err) {
				t.Errorf("%+v: %v", c.edit, err)
			}
			if err == nil {
				last = r.ID
			}
			if got := said(t, v, "a", "", "owner.team"); got.Value != c.value || got.Power != c.power || got.Conflict != c.conflict {
				t.Errorf("%+v: %q %s, conflict %v", c.edit, got.Value, got.Power, got.Conflict)
			}
		}
		if _, err := v.Undo(t.Context(), "bob", last); err != nil {
			t.Fatal(err)
		}
		if got := said(t, v, "a", "", "owner.team"); got.Value != "green" || got.Power != inventory.Confirmed {
			t.Errorf("undone: %q %s", got.Value, got.Power)
		}
		if _, err := v.Undo(t.Context(), "bob", last); !errors.Is(err, sallyport.Conflict) {
			t.Errorf("undone twice: %v", err)
		}
		past, err := v.ChangesBetween(t.Context(), "a", "", "owner.team", start, start.Add(48*time.Hour), 0, 100)
		if err != nil || len(past) < 6 || !slices.ContainsFunc(past, func(c inventory.Change) bool { return c.Source == "person:bob" && c.New == "green" }) {
			t.Errorf("history %+v %v", past, err)
		}
		if none, err := v.ChangesBetween(t.Context(), "*", "*", "", start.Add(-2*time.Hour), start.Add(-time.Hour), 0, 100); err != nil || len(none) != 0 {
			t.Errorf("before anything happened: %+v %v", none, err)
		}
	})
}

func TestProposalsAreDecided(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		v := openInventory(t, openStore(t, o), inventory.Options{})
		if err := v.Declare(t.Context(), sallyport.API{Name: "pay", Hosts: []string{"pay.example.test"}}, nil); err != nil {
			t.Fatal(err)
		}
		host := sallyport.Asset{Host: "old-pay.example.test"}
		op := host
		op.Method, op.Template = "GET", "/v1/cards/{id}"
		if err := v.Claim(t.Context(), []sallyport.Claim{{Asset: host, Field: "tags", Value: "legacy", Source: "dns", Confidence: 0.7}, {Asset: op, Field: "code", Value: "a.go:1", Source: "code", Confidence: 0.7}}); err != nil {
			t.Fatal(err)
		}
		if err := v.Find(t.Context(), []sallyport.Finding{{Rule: "tls.version", Severity: sallyport.High, Asset: host, Source: "scan"}}); err != nil {
			t.Fatal(err)
		}
		decide := func(d inventory.Decision, want error) {
			t.Helper()
			if err := v.Decide(t.Context(), "ann", d); !errors.Is(err, want) {
				t.Errorf("%+v: %v", d, err)
			}
		}
		open := func(api string) int {
			list, err := v.Findings(t.Context(), inventory.FindingFilter{API: api})
			if err != nil {
				t.Fatal(err)
			}
			return len(list)
		}
		const name = "old-pay.example.test"
		decide(inventory.Decision{Name: name, Action: "ignore"}, sallyport.Invalid)
		decide(inventory.Decision{Name: "nobody", Action: "accept"}, sallyport.NotFound)
		decide(inventory.Decision{Name: name, Action: "merge", Into: name}, sallyport.Invalid)
		decide(inventory.Decision{Name: name, Action: "merge", Into: "pay"}, nil)
		if got := said(t, v, "pay", "", "tags"); got.Value != "legacy" || open("pay") != 1 || open(name) != 0 {
			t.Errorf("merged: %+v, %d findings", got, open("pay"))
		}
		if got := said(t, v, "pay", "GET /v1/cards/{id}", "code"); got.Value != "a.go:1" {
			t.Errorf("merged operation: %+v", got)
		}
		// What comes in from now on goes to the other, and back when it is taken apart.
		if err := v.Claim(t.Context(), []sallyport.Claim{{Asset: host, Field: "tags", Value: "late", Source: "dns", Confidence: 0.7}}); err != nil {
			t.Fatal(err)
		}
		if got := said(t, v, "pay", "", "tags"); got.Value != "late, legacy" {
			t.Errorf("after the merge: %+v", got)
		}
		decide(inventory.Decision{Name: name, Action: "accept"}, sallyport.Conflict)
		decide(inventory.Decision{Name: name, Action: "reopen"}, nil)
		if got := said(t, v, name, "", "tags"); got.Value != "late, legacy" || open(name) != 1 {
			t.Errorf("reopened: %+v", got)
		}
		if got := said(t, v, "pay", "", "tags"); got.Value != "" {
			t.Errorf("left behind: %+v", got)
		}
		detail(t, v, name, "GET /v1/cards/{id}")
		if _, err := v.Operation(t.Context(), "pay", "GET /v1/cards/{id}"); !errors.Is(err, sallyport.NotFound) {
			t.Errorf("the operation stayed behind: %v", err)
		}
		decide(inventory.Decision{Name: name, Action: "split", Host: name, Path: "/v2"}, nil)
		if err := v.Claim(t.Context(), []sallyport.Claim{{Asset: sallyport.Asset{Host: name, Path: "/v2/x"}, Field: "tags", Value: "two", Source: "dns", Confidence: 0.7}}); err != nil {
			t.Fatal(err)
		}
		if got := said(t, v, name+"/v2", "", "tags"); got.Value != "two" {
			t.Errorf("split off: %+v", got)
		}
		decide(inventory.Decision{Name: name, Action: "ignore", Reason: "of another company"}, nil)
		decide(inventory.Decision{Name: name + "/v2", Action: "accept"}, nil)
		apis, err := v.APIs(t.Context())
		if err != nil || len(apis) != 2 {
			t.Errorf("%d APIs, %v", len(apis), err)
		}
	})
}

func TestStatesRiskAndFindings(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		s := openStore(t, o)
		now := start.Add(time.Hour)
		v := openInventory(t, s, inventory.Options{Now: func() time.Time { return now }})
		if err := v.Declare(t.Context(), sallyport.API{Name: "shop", Exposure: sallyport.Internal, Owner: sallyport.Owner{Team: "red"}}, shopOperations); err != nil {
			t.Fatal(err)
		}
		outside := netip.MustParseAddr("198.51.100.7")
		seq := publish(t, s, sallyport.SubjectExchange, sallyport.Event{Exchanges: []sallyport.Exchange{
			exchange(1, func(x *sallyport.Exchange) { x.Client = outside }),
			exchange(2, func(x *sallyport.Exchange) { x.API, x.Declared, x.Template = "ghost", false, "" }),
		}})
		count(t, v, seq)
		if err := v.Claim(t.Context(), []sallyport.Claim{claim("shop", "deprecated_at", "2020-01-01", "git", 0.9)}); err != nil {
			t.Fatal(err)
		}
		if err := v.Assess(t.Context()); err != nil {
			t.Fatal(err)
		}
		open := func(api string) []string {
			list, err := v.Findings(t.Context(), inventory.FindingFilter{API: api, Source: "risk"})
			if err != nil {
				t.Fatal(err)
			}
			var rules []string
			for _, f := range list {
				rules = append(rules, f.Rule)
				if f.Rule == "inventory.unowned" && !strings.HasPrefix(f.Evidence[0], "escalation on ") {
					t.Errorf("an API without an owner has no date: %q", f.Evidence)
				}
			}
			return rules
		}
		card := func(api string) *inventory.Card {
			c, err := v.Card(t.Context(), api)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		for _, c := range []struct{ api, states, has, hasNot string }{
			{"shop", "zombie", "exposure.wider-than-declared", "inventory.unowned"},
			{"ghost", "shadow, orphan", "inventory.unowned", "exposure.wider-than-declared"},
		} {
			if got := card(c.api).Values["state"].Text; got != c.states {
				t.Errorf("%s is %q, want %q: %q", c.api, got, c.states, card(c.api).Reasons)
			}
			if rules := open(c.api); !slices.Contains(rules, c.has) || slices.Contains(rules, c.hasNot) {
				t.Errorf("%s: %v", c.api, rules)
			}
		}
		before := card("shop").Risk
		if before.Total == 0 || len(before.Parts) < 3 {
			t.Errorf("risk %+v", before)
		}
		// Declared external, the finding ends by itself; a month later all sleep, and the search for an owner is escalated.
		if err := v.Declare(t.Context(), sallyport.API{Name: "shop", Exposure: sallyport.External, Owner: sallyport.Owner{Team: "red"}}, shopOperations); err != nil {
			t.Fatal(err)
		}
		now = now.Add(40 * 24 * time.Hour)
		if err := v.Assess(t.Context()); err != nil {
			t.Fatal(err)
		}
		if rules := open("shop"); slices.Contains(rules, "exposure.wider-than-declared") || !slices.Contains(rules, "inventory.dormant") {
			t.Errorf("later: %v", rules)
		}
		if rules := open("ghost"); !slices.Contains(rules, "inventory.unowned-escalated") {
			t.Errorf("a month without an owner: %v", rules)
		}
		if past, err := v.ChangesBetween(t.Context(), "shop", "", "state", time.Time{}, time.Time{}, 0, 10); err != nil || len(past) != 2 {
			t.Errorf("history of its state: %+v %v", past, err)
		}
		if r, err := v.OperationRisk(t.Context(), "shop", "GET /items/{id}"); err != nil || len(r.Parts) < 3 {
			t.Errorf("risk of an operation: %+v %v", r, err)
		}
		// Weights move the score, and stay while an audit lasts.
		if err := v.SetWeights(t.Context(), "ann", inventory.Weights{Points: map[string]int{"exposure.external": 100}, Period: "2026", Until: now.Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		if err := v.SetWeights(t.Context(), "ann", inventory.Weights{}); !errors.Is(err, sallyport.Conflict) {
			t.Errorf("frozen: %v", err)
		}
		if after := card("shop").Risk; after.Likelihood != 100 {
			t.Errorf("likelihood %d", after.Likelihood)
		}
		now = now.Add(2 * time.Hour)
		if err := v.SetWeights(t.Context(), "ann", inventory.Weights{Points: map[string]int{"no.such": 1}}); !errors.Is(err, sallyport.Invalid) {
			t.Errorf("unknown rule: %v", err)
		}
		if err := v.SetWeights(t.Context(), "ann", inventory.Weights{}); err != nil {
			t.Error(err)
		}
	})
}

func TestSearchAndGraph(t *testing.T) {
	v := openInventory(t, openStore(t, store.Options{Dir: t.TempDir(), Key: make([]byte, store.KeySize)}), inventory.Options{})
	var claims []sallyport.Claim
	for i := range 30 {
		name := fmt.Sprintf("api%02d", i)
		if err := v.Declare(t.Context(), sallyport.API{Name: name, Path: "/" + name, Owner: sallyport.Owner{Team: fmt.Sprint("team", i%3)}}, nil); err != nil {
			t.Fatal(err)
		}
		claims = append(claims, claim(name, "region", fmt.Sprint("r", i%2), "k8s", 1), claim(name, "environment", []string{"production", "test"}[i%2], "k8s", 1), claim(name, "upstreams", fmt.Sprintf("api%02d", (i+1)%30), "k8s", 1))
	}
	if err := v.Claim(t.Context(), claims); err != nil {
		t.Fatal(err)
	}
	page, err := v.Search(t.Context(), inventory.CardFilter{Where: map[string][]string{"owner.team": {"team1"}, "environment": {"test"}}, Facets: []string{"owner.team", "region"}, Sort: "name", Reverse: true, Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	if page.Total != 5 || len(page.Cards) != 2 || page.Cards[0].Name != "api25" || page.Facets["owner.team"]["team0"] != 5 || page.Facets["region"]["r1"] != 5 || page.Facets["region"]["r0"] != 0 {
		t.Errorf("%d of %d, facets %v", len(page.Cards), page.Total, page.Facets)
	}
	for _, f := range []inventory.CardFilter{{Sort: "colour"}, {Facets: []string{"colour"}}, {Where: map[string][]string{"colour": nil}}} {
		if _, err := v.Search(t.Context(), f); !errors.Is(err, sallyport.Invalid) {
			t.Errorf("%+v: %v", f, err)
		}
	}
	g, err := v.Graph(t.Context(), "api03", 0)
	if err != nil || len(g.Edges) != 2 || len(g.Nodes) != 3 {
		t.Errorf("%+v %v", g, err)
	}
	if err := v.SaveView(t.Context(), "ann", "mine", "where=owner.team:team1"); err != nil {
		t.Fatal(err)
	}
	if list, err := v.Views(t.Context()); err != nil || len(list) != 1 || list[0].Person != "ann" {
		t.Errorf("%+v %v", list, err)
	}
}

func TestFormatsGoRound(t *testing.T) {
	v := openInventory(t, openStore(t, store.Options{Dir: t.TempDir(), Key: make([]byte, store.KeySize)}), inventory.Options{})
	if err := v.Declare(t.Context(), sallyport.API{Name: "pay", Hosts: []string{"pay.example.test"}}, nil); err != nil {
		t.Fatal(err)
	}
	const formula = `=HYPERLINK("https://evil.example.test","x")`
	if err := v.Claim(t.Context(), []sallyport.Claim{claim("pay", "title", formula, "k8s", 1), claim("pay", "tags", "@one", "k8s", 1), claim("pay", "tags", "two, three", "k8s", 1), claim("pay", "owner.team", "red", "k8s", 1), claim("pay", "data.classes", "email", "scan", 1)}); err != nil {
		t.Fatal(err)
	}
	for _, format := range inventory.Formats {
		var b bytes.Buffer
		if err := v.Export(t.Context(), &b, format, inventory.CardFilter{}); err != nil {
			t.Fatal(err)
		}
		if format == "csv" {
			rows, err := csv.NewReader(bytes.NewReader(b.Bytes())).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			for _, cell := range slices.Concat(rows...) {
				if strings.HasPrefix(cell, "=") || strings.HasPrefix(cell, "@") || strings.HasPrefix(cell, "+") {
					t.Errorf("a spreadsheet would run %q", cell)
				}
			}
		}
		claims, err := inventory.Parse(format, "import", b.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		want := map[string]string{"title": formula, "owner.team": "red"}
		if format != "backstage" {
			want["tags"] = "@one"
		}
		for field, value := range want {
			if !slices.ContainsFunc(claims, func(c sallyport.Claim) bool { return c.Asset.API == "pay" && c.Field == field && c.Value == value }) {
				t.Errorf("%s: %s did not come back: %+v", format, field, claims)
			}
		}
		if changes, err := v.ClaimDry(t.Context(), claims); err != nil {
			t.Errorf("%s: %+v %v", format, changes, err)
		}
		for _, bad := range []string{"", "\x00\xff", "{", "[", strings.Repeat("[", 100000)} {
			if list, err := inventory.Parse(format, "import", []byte(bad)); err == nil && len(list) > 0 {
				t.Errorf("%s: %d claims in %.10q", format, len(list), bad)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("csv", "api,title\nx,'=1\n")
	f.Add("json", `{"apis":[{"api":"x","fields":{"title":{"value":"y"}}}]}`)
	f.Add("cyclonedx", `{"bomFormat":"CycloneDX","specVersion":"1.6","services":[{"name":"x","endpoints":["https://a.example.test/x"]}]}`)
	f.Add("backstage", "kind: API\nmetadata: {name: x}\nspec: {owner: y}\n")
	f.Fuzz(func(t *testing.T, format, text string) {
		list, err := inventory.Parse(format, "import", []byte(text))
		if err != nil && !errors.Is(err, sallyport.Invalid) {
			t.Fatal(err)
		}
		for _, c := range list {
			if c.Asset.API == "" || c.Value == "" {
				t.Fatalf("%+v", c)
			}
		}
	})
}

func TestFacetsFollow(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		v := openInventory(t, openStore(t, o), inventory.Options{})
		var ops []sallyport.Operation
		for i := range 50 {
			ops = append(ops, sallyport.Operation{API: "shop", Method: []string{"GET", "POST"}[i%2], Template: fmt.Sprintf("/things/%c%d", 'a'+i%5, i), Name: fmt.Sprint("op", i), Declared: true})
		}
		if err := v.Declare(t.Context(), shop, ops); err != nil {
			t.Fatal(err)
		}
		if err := v.Declare(t.Context(), shop, ops[:40]); err != nil { // ten are not declared any more
			t.Fatal(err)
		}
		for _, c := range []struct {
			f     inventory.Filter
			total int64
		}{{inventory.Filter{}, 50}, {inventory.Filter{Method: "GET"}, 25}, {inventory.Filter{Declared: new(bool)}, 10}, {inventory.Filter{Text: "/THINGS/c"}, 10}, {inventory.Filter{Text: "op4"}, 11}, {inventory.Filter{Text: "zz"}, 0}, {inventory.Filter{Text: "nowhere"}, 0}, {inventory.Filter{API: "other"}, 0}, {inventory.Filter{Text: `"%_`}, 0}} {
			facets, err := v.Facets(t.Context(), c.f)
			if err != nil || facets.Total != c.total {
				t.Errorf("%+v: %d, want %d, %v", c.f, facets.Total, c.total, err)
			}
			page, err := v.Operations(t.Context(), c.f)
			if err != nil || int64(len(page.Rows)) != c.total {
				t.Errorf("%+v: %d rows, want %d, %v", c.f, len(page.Rows), c.total, err)
			}
		}
	})
}

package risk_test

import (
	"math"
	"strings"
	"testing"

	"sallyport.dev"
	"sallyport.dev/inventory/risk"
)

// quiet is an API that no rule has anything to say about.
func quiet() risk.Facts {
	f := risk.Facts{"configured": true, "states": []string{}, "conflicts": []string{}, "open_rules": []string{}}
	for _, name := range risk.Names() {
		if _, text := risk.Texts[name]; text {
			f[name] = "known"
		} else if _, list := risk.Lists[name]; list {
			f[name] = []string{}
		} else if f[name] == nil {
			f[name] = 0.0
		}
	}
	for name, value := range map[string]any{"exposure_declared": "internal", "exposure_observed": "internal", "criticality": "low", "environment": "production", "classification": "internal", "lifecycle": "active",
		"kind": "rest", "conformance": "passed", "conformance_days": -1.0, "requests": 1000.0, "consumers": 12.0, "operations": 30.0, "declared_operations": 30.0, "auth_observed": []string{"oidc"}, "auth_declared": []string{"oidc"},
		"tls_versions": []string{"TLS 1.3"}, "specs": []string{"a.yaml"}, "documentation": []string{"https://docs.example.test"}, "certificate_days": 60.0, "sunset_days": risk.Never, "deprecated_days": risk.Never,
		"drill_days": -10.0, "last_seen_days": -0.1, "escalation_days": risk.Never, "error_budget": 1.0, "dr_tier": "3", "replaced_by": ""} {
		f[name] = value
	}
	return f
}

func with(over map[string]any) risk.Facts {
	f := quiet()
	for name, value := range over {
		switch v := value.(type) {
		case int:
			value = float64(v)
		case []any:
			list := []string{}
			for _, e := range v {
				list = append(list, e.(string))
			}
			value = list
		}
		f[name] = value
	}
	return f
}

func TestRules(t *testing.T) {
	rules, err := risk.Rules()
	if err != nil {
		t.Fatal(err)
	}
	if len(rules) < 60 {
		t.Errorf("%d rules", len(rules))
	}
	seen := map[string]bool{}
	for _, r := range rules {
		if r.ID == "" || seen[r.ID] || r.Title == "" || r.Why == "" || r.Fix == "" || len(r.Refs) == 0 || r.Points <= 0 || r.Adds != "likelihood" && r.Adds != "impact" || len(r.Hit) == 0 || r.Miss == nil {
			t.Errorf("rule %q is not whole, or twice", r.ID)
		}
		seen[r.ID] = true
		for _, fixture := range []map[string]any{r.Hit, r.Miss} {
			for name := range fixture {
				if _, known := quiet()[name]; !known {
					t.Errorf("rule %s: its example names the fact %q, which there is not", r.ID, name)
				}
			}
		}
		for _, c := range []struct {
			what  string
			facts risk.Facts
			want  bool
		}{{"hit", with(r.Hit), true}, {"miss", with(r.Miss), false}, {"quiet", quiet(), false}} {
			if got := r.Speaks(c.facts); got != c.want {
				t.Errorf("rule %s on %s: %v", r.ID, c.what, got)
			}
		}
	}
}

func TestScore(t *testing.T) {
	m, err := risk.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	calm := m.Assess(quiet())
	s := m.Assess(with(map[string]any{"exposure_observed": "external", "data_classes": []any{"payment-card"}, "anonymous_classes": 2, "plain_share": 0.5, "owner_team": "", "criticality": "critical", "auth_observed": []any{"anonymous"}}))
	if calm.Total > 5 || s.Total < 50 || s.Total > 100 {
		t.Errorf("a quiet API scores %d, one that is open in every way %d", calm.Total, s.Total)
	}
	sums := map[string]float64{}
	for _, p := range s.Parts {
		sums[p.Adds] += p.Share
		if p.Without > s.Total || p.Rule != nil && len(p.Evidence) == 0 {
			t.Errorf("part %+v", p)
		}
	}
	if math.Abs(sums["likelihood"]-float64(s.Total)) > 1e-6 || math.Abs(sums["impact"]-float64(s.Total)) > 1e-6 {
		t.Errorf("the shares add up to %v, not to %d", sums, s.Total)
	}
	if !strings.Contains(strings.Join(s.Parts[0].Evidence, " "), "=") {
		t.Errorf("evidence %q", s.Parts[0].Evidence)
	}
	light, err := risk.New(map[string]int{"exposure.wider-than-declared": 0, "data.to-anyone": 0})
	if err != nil {
		t.Fatal(err)
	}
	if l := light.Assess(with(map[string]any{"anonymous_classes": 2})); l.Total != calm.Total {
		t.Errorf("a rule without points adds %d", l.Total-calm.Total)
	}
	for _, bad := range []map[string]int{{"no.such": 1}, {"data.to-anyone": 101}, {"data.to-anyone": -1}} {
		if _, err := risk.New(bad); sallyport.KindOf(err) != sallyport.Invalid {
			t.Errorf("weights %v: %v", bad, err)
		}
	}
	if got := m.Assess(risk.Facts{}); got.Total != calm.Total {
		t.Errorf("without facts: %d", got.Total)
	}
}

// Package risk says how much an API puts at stake, and why.
//
// In come the facts that the inventory holds of one API or operation, and
// weights. Out goes a score from 0 to 100: likelihood times impact, each the sum
// of the points of named rules up to 100, so that every point of it belongs to a
// rule, and every rule to the facts it followed from. The rules are data
// (rules.yaml): a predicate in CEL over the facts, a reason, references, what
// mends it, and an example for and against.
//
// The package reads nothing and keeps nothing; it never sees a request.
package risk

import (
	"cmp"
	_ "embed"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"go.yaml.in/yaml/v4"

	"sallyport.dev"
)

//go:embed rules.yaml
var rulesFile []byte

// Never stands for the days until or since something that has not been.
const Never = 1e9

// Facts are what is known, by the names in Texts, Lists, Numbers and counted.
type Facts map[string]any

// Texts, Lists and Numbers name the facts that are fields of the inventory.
var (
	Texts = map[string]string{"owner_team": "owner.team", "owner_contact": "owner.contact", "owner_deputy": "owner.deputy", "owner_oncall": "owner.oncall", "department": "department",
		"cost_centre": "cost_centre", "criticality": "criticality", "environment": "environment", "provider": "provider", "exposure_declared": "exposure.declared", "exposure_observed": "exposure.observed",
		"lifecycle": "lifecycle", "kind": "kind", "classification": "data.classification", "dr_tier": "dr.tier", "conformance": "conformance.result", "repository": "repository", "waf": "waf", "cdn": "cdn",
		"replaced_by": "replaced_by", "description": "description", "vendor": "vendor", "mtls": "mtls"}
	Lists = map[string]string{"data_classes": "data.classes", "auth_observed": "auth.observed", "auth_declared": "auth.declared", "tls_versions": "tls.versions", "technology": "technology", "compliance": "compliance",
		"versions": "versions", "gateways": "gateways", "regions": "region", "specs": "spec", "documentation": "documentation", "upstreams": "upstreams", "residency": "residency", "hosts": "hosts"}
	Numbers = map[string]string{"slo_availability": "slo.availability", "slo_latency": "slo.latency", "latency_p95": "latency.p95", "dr_rto": "dr.rto", "dr_rpo": "dr.rpo"}
)

// counted are the facts that are no fields: numbers, lists and flags.
var counted = map[string]*cel.Type{"configured": cel.BoolType, "states": cel.ListType(cel.StringType), "conflicts": cel.ListType(cel.StringType), "open_rules": cel.ListType(cel.StringType)}

var countedNumbers = []string{"requests", "rate", "refused_share", "share_4xx", "share_5xx", "lost_share", "plain_share", "public_requests", "consumers", "response_bytes_mean", "request_bytes_mean",
	"operations", "declared_operations", "shadow_operations", "unused_operations", "probed_operations", "undocumented_operations", "left_operations", "anonymous_classes",
	"certificate_days", "sunset_days", "deprecated_days", "conformance_days", "drill_days", "last_seen_days", "error_budget", "escalation_days"}

// A Rule is one thing that makes a loss likelier or worse.
type Rule struct {
	ID       string             `yaml:"id"`
	Title    string             `yaml:"title"`
	Why      string             `yaml:"why"`
	Fix      string             `yaml:"fix"`
	Severity sallyport.Severity `yaml:"severity"`
	Adds     string             `yaml:"adds"` // "likelihood" or "impact"
	Points   int                `yaml:"points"`
	Given    bool               `yaml:"given"` // a fact of life, no finding
	Refs     []string           `yaml:"refs"`
	When     string             `yaml:"when"` // CEL over the facts
	Hit      map[string]any     `yaml:"hit"`  // what differs from a quiet API when the rule speaks
	Miss     map[string]any     `yaml:"miss"` // and when it only looks so

	program cel.Program
	reads   []string
}

// defaults by severity.
var points = map[sallyport.Severity]int{sallyport.Info: 1, sallyport.Low: 4, sallyport.Medium: 10, sallyport.High: 20, sallyport.Critical: 35}

var compiled = sync.OnceValues(compile)

// Rules lists the rules that are built in. The caller must not change them.
func Rules() ([]Rule, error) { return compiled() }

func compile() ([]Rule, error) {
	var rules []Rule
	if err := yaml.Unmarshal(rulesFile, &rules); err != nil {
		return nil, fmt.Errorf("read risk rules: %w", err)
	}
	options := []cel.EnvOption{cel.CrossTypeNumericComparisons(true)}
	for name := range Texts {
		options = append(options, cel.Variable(name, cel.StringType))
	}
	for name := range Lists {
		options = append(options, cel.Variable(name, cel.ListType(cel.StringType)))
	}
	for name := range Numbers {
		options = append(options, cel.Variable(name, cel.DoubleType))
	}
	for name, t := range counted {
		options = append(options, cel.Variable(name, t))
	}
	for _, name := range countedNumbers {
		options = append(options, cel.Variable(name, cel.DoubleType))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("compile risk rules: %w", err)
	}
	for i := range rules {
		r := &rules[i]
		tree, issues := env.Compile(r.When)
		if issues.Err() != nil {
			return nil, fmt.Errorf("compile risk rule %s: %w", r.ID, issues.Err())
		}
		if tree.OutputType() != cel.BoolType {
			return nil, fmt.Errorf("compile risk rule %s: it is no predicate", r.ID)
		}
		if r.program, err = env.Program(tree, cel.CostLimit(100_000)); err != nil {
			return nil, fmt.Errorf("compile risk rule %s: %w", r.ID, err)
		}
		seen := map[string]bool{}
		ast.PreOrderVisit(tree.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
			if e.Kind() == ast.IdentKind && known(e.AsIdent()) {
				seen[e.AsIdent()] = true
			}
		}))
		r.reads = slices.Sorted(maps.Keys(seen))
		if r.Points == 0 {
			r.Points = points[r.Severity]
		}
	}
	return rules, nil
}

func known(name string) bool {
	_, text := Texts[name]
	_, list := Lists[name]
	_, num := Numbers[name]
	_, flag := counted[name]
	return text || list || num || flag || slices.Contains(countedNumbers, name)
}

// Names lists the facts.
func Names() []string {
	out := slices.Concat(slices.Collect(maps.Keys(Texts)), slices.Collect(maps.Keys(Lists)), slices.Collect(maps.Keys(Numbers)), slices.Collect(maps.Keys(counted)), countedNumbers)
	slices.Sort(out)
	return out
}

// A Model is the rules with weights. It is immutable.
type Model struct {
	rules   []Rule
	weights map[string]int
}

// Base points, which every API has.
const (
	baseLikelihood = 10
	baseImpact     = 15
)

// New makes a model; weights replace the points of rules by name. An unknown
// rule, or points outside 0 to 100, are sallyport.Invalid.
func New(weights map[string]int) (*Model, error) {
	rules, err := Rules()
	if err != nil {
		return nil, err
	}
	for id, p := range weights {
		if p < 0 || p > 100 {
			return nil, sallyport.Errorf(sallyport.Invalid, "rule %s: points are 0 to 100", id)
		}
		if !slices.ContainsFunc(rules, func(r Rule) bool { return r.ID == id }) {
			return nil, sallyport.Errorf(sallyport.Invalid, "there is no risk rule %q", id)
		}
	}
	return &Model{rules, maps.Clone(weights)}, nil
}

// Points are what a rule adds in this model.
func (m *Model) Points(r *Rule) int {
	if p, ok := m.weights[r.ID]; ok {
		return p
	}
	return r.Points
}

// A Score is how much is at stake.
type Score struct {
	Total      int // likelihood × impact / 100
	Likelihood int // 0 to 100
	Impact     int // 0 to 100
	Parts      []Part
}

// A Part is what one rule adds.
type Part struct {
	Rule     *Rule // nil: the base that every API has
	Adds     string
	Points   int      // of likelihood or impact
	Share    float64  // of the total; the shares of likelihood add up to it, and so do those of impact
	Without  int      // the total, were this mended
	Evidence []string // the facts it followed from: name = value
}

// Assess scores facts. A rule that reads a fact that is missing stays silent.
func (m *Model) Assess(f Facts) Score {
	s := Score{Parts: []Part{{Adds: "likelihood", Points: baseLikelihood, Evidence: []string{}}, {Adds: "impact", Points: baseImpact, Evidence: []string{}}}}
	for i := range m.rules {
		r := &m.rules[i]
		if !r.Speaks(f) {
			continue
		}
		p := Part{Rule: r, Adds: r.Adds, Points: m.Points(r), Evidence: []string{}}
		for _, name := range r.reads {
			p.Evidence = append(p.Evidence, name+" = "+show(f[name]))
		}
		s.Parts = append(s.Parts, p)
	}
	sum := map[string]int{}
	for _, p := range s.Parts {
		sum[p.Adds] += p.Points
	}
	total := func(l, i int) int { return int(math.Round(float64(min(l, 100)*min(i, 100)) / 100)) }
	s.Likelihood, s.Impact = min(sum["likelihood"], 100), min(sum["impact"], 100)
	s.Total = total(s.Likelihood, s.Impact)
	for i := range s.Parts {
		p := &s.Parts[i]
		p.Share = float64(s.Total) * float64(p.Points) / float64(max(1, sum[p.Adds]))
		l, im := sum["likelihood"], sum["impact"]
		if p.Adds == "likelihood" {
			l -= p.Points
		} else {
			im -= p.Points
		}
		p.Without = total(l, im)
	}
	slices.SortStableFunc(s.Parts, func(a, b Part) int { return cmp.Compare(b.Share, a.Share) })
	return s
}

// Speaks reports whether the rule's predicate holds.
func (r *Rule) Speaks(f Facts) bool {
	out, _, err := r.program.Eval(map[string]any(f))
	return err == nil && out.Value() == true
}

func show(v any) string {
	switch v := v.(type) {
	case []string:
		return "[" + strings.Join(v[:min(len(v), 12)], ", ") + "]"
	case string:
		if v == "" {
			return "not known"
		}
		return v
	case float64:
		if v >= Never || v <= -Never {
			return "never"
		}
		return fmt.Sprintf("%.4g", v)
	}
	return fmt.Sprint(v)
}

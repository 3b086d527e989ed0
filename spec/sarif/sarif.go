// Package sarif writes findings as SARIF 2.1.0, the OASIS format that build
// servers and editors read. In come rules and results; out goes one run as
// JSON. It keeps nothing and reads nothing.
package sarif

import (
	"encoding/json"
	"io"
)

// A Rule is one kind of finding. Level is "error", "warning", "note" or "none".
type Rule struct {
	ID, Title, Why, Help, Level string
	Tags                        []string
}

// A Result is one finding. Line and Column begin at 1; 0 is not known. Print
// tells it from others of its rule over time.
type Result struct {
	Rule, Level, Message string
	File                 string
	Line, Column         int
	Logical              string // what it is about, for example an operation
	Print                string
	Suppressed           string // why it does not count, "" = it does
}

type m = map[string]any

// Write writes one run to w. The first error of w is returned.
func Write(w io.Writer, rules []Rule, results []Result) error {
	rs, out := make([]m, 0, len(rules)), make([]m, 0, len(results))
	at := map[string]int{}
	for i, r := range rules {
		at[r.ID] = i
		rule := m{"id": r.ID, "shortDescription": m{"text": r.Title}, "fullDescription": m{"text": r.Why}, "defaultConfiguration": m{"level": r.Level}, "properties": m{"tags": append([]string{}, r.Tags...)}}
		if r.Help != "" {
			rule["help"] = m{"text": r.Help}
		}
		rs = append(rs, rule)
	}
	for _, r := range results {
		region := m{"startLine": max(r.Line, 1)}
		if r.Column > 0 {
			region["startColumn"] = r.Column
		}
		place := m{"physicalLocation": m{"artifactLocation": m{"uri": r.File}, "region": region}}
		if r.Logical != "" {
			place["logicalLocations"] = []m{{"fullyQualifiedName": r.Logical, "kind": "resource"}}
		}
		x := m{"ruleId": r.Rule, "level": r.Level, "message": m{"text": r.Message}, "locations": []m{place}, "partialFingerprints": m{"check/v1": r.Print}}
		if i, ok := at[r.Rule]; ok {
			x["ruleIndex"] = i
		}
		if r.Suppressed != "" {
			x["suppressions"] = []m{{"kind": "external", "justification": r.Suppressed}}
		}
		out = append(out, x)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(m{"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": []m{{
		"tool": m{"driver": m{"name": "sallyport", "rules": rs}}, "results": out, "invocations": []m{{"executionSuccessful": true}}}}})
}

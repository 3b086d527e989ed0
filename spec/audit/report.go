package audit

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"sallyport.dev"
	"sallyport.dev/spec/sarif"
)

// Formats are the names that Write knows.
var Formats = []string{"text", "json", "sarif", "junit"}

// An Ignore takes findings of one check out of the count, with a reason.
type Ignore struct{ ID, At, Reason string }

// ParseIgnore reads "check@place=reason". The place is a path template, an
// operation, or file:line; "*" is everywhere. A reason is demanded.
func ParseIgnore(s string) (Ignore, error) {
	left, reason, ok := strings.Cut(s, "=")
	id, at, found := strings.Cut(left, "@")
	switch {
	case !ok || strings.TrimSpace(reason) == "":
		return Ignore{}, sallyport.Errorf(sallyport.Invalid, "ignore %q: write check@place=reason", s)
	case !found || at == "":
		return Ignore{}, sallyport.Errorf(sallyport.Invalid, "ignore %q: say where: check@place=reason, * for everywhere", s)
	case byID[id] == nil:
		return Ignore{}, sallyport.Errorf(sallyport.Invalid, "there is no check %q", id)
	}
	return Ignore{id, at, strings.TrimSpace(reason)}, nil
}

// Ignore marks the findings that the list speaks of; they stay in the report
// and do not count. It gives the entries that spoke of nothing.
func (r *Report) Ignore(list []Ignore) (unused []Ignore) {
	for _, ig := range list {
		used := false
		for i := range r.Findings {
			f := &r.Findings[i]
			if f.ID == ig.ID && (ig.At == "*" || ig.At == f.Operation || ig.At == f.Path() || ig.At == fmt.Sprintf("%s:%d", f.File, f.Line) || ig.At == f.Detail) {
				f.Ignored, used = ig.Reason, true
			}
		}
		if !used {
			unused = append(unused, ig)
		}
	}
	r.score()
	return unused
}

// Worst is the worst severity among what counts, "" when nothing does.
func (r *Report) Worst() sallyport.Severity {
	var worst sallyport.Severity
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Ignored == "" && rank(f.Check.Severity) > rank(worst) {
			worst = f.Check.Severity
		}
	}
	return worst
}

// Write writes reports in one of Formats.
func Write(w io.Writer, format string, reports []*Report) error {
	switch format {
	case "text":
		return writeText(w, reports)
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(struct {
			Checks  []Check   `json:"checks"`
			Reports []*Report `json:"reports"`
		}{catalogue, reports})
	case "sarif":
		return writeSARIF(w, reports)
	case "junit":
		return writeJUnit(w, reports)
	}
	return sallyport.Errorf(sallyport.Invalid, "format %q is not known: %s", format, strings.Join(Formats, ", "))
}

func writeText(w io.Writer, reports []*Report) error {
	var b strings.Builder
	for _, r := range reports {
		for i := range r.Findings {
			f := &r.Findings[i]
			if f.Ignored != "" {
				continue
			}
			fmt.Fprintf(&b, "%s: %s %s: %s", f.Place(), f.Check.Severity, f.ID, f.Check.Title)
			if f.Detail != "" {
				fmt.Fprintf(&b, ": %s", f.Detail)
			}
			if f.Operation != "" {
				fmt.Fprintf(&b, " (%s)", f.Operation)
			}
			b.WriteByte('\n')
		}
		by, ignored := map[sallyport.Severity]int{}, 0
		for i := range r.Findings {
			if r.Findings[i].Ignored != "" {
				ignored++
				by[r.Findings[i].Check.Severity]--
			}
		}
		for id, n := range r.Counts {
			by[byID[id].Severity] += n
			if more := n - kept(r, id); more > 0 {
				fmt.Fprintf(&b, "%s: and %d more of %s\n", r.File, more, id)
			}
		}
		for _, n := range r.NotLooked {
			fmt.Fprintf(&b, "%s: not looked at: %s\n", r.File, n)
		}
		fmt.Fprintf(&b, "%s: %s, %d operations, score %d of 100: %d critical, %d high, %d medium, %d low, %d info", r.File, r.Version, r.Operations, r.Score,
			by[sallyport.Critical], by[sallyport.High], by[sallyport.Medium], by[sallyport.Low], by[sallyport.Info])
		if ignored > 0 {
			fmt.Fprintf(&b, "; %d ignored", ignored)
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func kept(r *Report, id string) int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].ID == id {
			n++
		}
	}
	return n
}

func level(s sallyport.Severity) string {
	switch s {
	case sallyport.Critical, sallyport.High:
		return "error"
	case sallyport.Medium:
		return "warning"
	}
	return "note"
}

func (f *Finding) message() string {
	s := f.Check.Title
	if f.Detail != "" {
		s += ": " + f.Detail
	}
	return s + ". " + f.Check.Fix
}

func writeSARIF(w io.Writer, reports []*Report) error {
	var rules []sarif.Rule
	var results []sarif.Result
	for _, c := range catalogue {
		rules = append(rules, sarif.Rule{ID: c.ID, Title: c.Title, Why: c.Why, Help: c.Fix, Level: level(c.Severity), Tags: c.Refs})
	}
	for _, r := range reports {
		for i := range r.Findings {
			f := &r.Findings[i]
			results = append(results, sarif.Result{Rule: f.ID, Level: level(f.Check.Severity), Message: f.message(), File: f.File, Line: f.Line, Column: f.Column, Logical: f.Operation,
				Print: f.ID + "|" + f.Operation + "|" + f.Detail, Suppressed: f.Ignored})
		}
	}
	return sarif.Write(w, rules, results)
}

// writeJUnit has a case for each check of each document.
func writeJUnit(w io.Writer, reports []*Report) error {
	type failure struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
	type testCase struct {
		Name    string    `xml:"name,attr"`
		Class   string    `xml:"classname,attr"`
		Failure []failure `xml:"failure,omitempty"`
	}
	type suite struct {
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Cases    []testCase `xml:"testcase"`
	}
	type suites struct {
		XMLName xml.Name `xml:"testsuites"`
		Suites  []suite  `xml:"testsuite"`
	}
	var out suites
	for _, r := range reports {
		by := map[string][]failure{}
		for i := range r.Findings {
			if f := &r.Findings[i]; f.Ignored == "" && AtLeast(f.Check.Severity, sallyport.Low) {
				by[f.ID] = append(by[f.ID], failure{f.Place() + ": " + f.message(), string(f.Check.Severity), f.Operation})
			}
		}
		s := suite{Name: "sallyport audit " + r.File, Tests: len(catalogue), Failures: len(by)}
		for _, c := range catalogue {
			s.Cases = append(s.Cases, testCase{c.ID, r.File, by[c.ID]})
		}
		out.Suites = append(out.Suites, s)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// AsFindings gives what the report found, as the inventory takes it of an API: one
// for each check, with its first places as evidence, so that a document that is
// bad in one way a thousand times makes one entry.
func (r *Report) AsFindings(asset sallyport.Asset, source string) []sallyport.Finding {
	at := map[string]int{}
	var out []sallyport.Finding
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Ignored != "" {
			continue
		}
		k, ok := at[f.ID]
		if !ok {
			k = len(out)
			at[f.ID] = k
			out = append(out, sallyport.Finding{Rule: "spec." + f.ID, Title: f.Check.Title, Severity: f.Check.Severity, Asset: asset, Place: r.File, Fix: f.Check.Fix, Refs: f.Check.Refs, Source: source})
			if n := r.Counts[f.ID]; n > 1 {
				out[k].Evidence = append(out[k].Evidence, fmt.Sprintf("%d places", n))
			}
		}
		if len(out[k].Evidence) < 8 {
			out[k].Evidence = append(out[k].Evidence, strings.TrimSpace(fmt.Sprintf("line %d:%d %s %s", f.Line, f.Column, f.Operation, f.Detail)))
		}
	}
	return out
}

package conformance

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"sallyport.dev/spec/sarif"
)

// Formats are the names that Write knows.
var Formats = []string{"text", "junit", "sarif", "json", "html"}

// Write writes the report: text for people, junit and sarif for build servers,
// json whole, html as one page. colour is for text.
func (r *Report) Write(w io.Writer, format string, colour bool) error {
	switch format {
	case "text":
		return r.text(w, colour)
	case "junit":
		return r.junit(w)
	case "sarif":
		return r.sarif(w)
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(r)
	case "html":
		return page.Execute(w, r)
	}
	return fmt.Errorf("format %q is not known: %s", format, strings.Join(Formats, ", "))
}

// Extent is coverage in figures, each beside what there is.
type Extent struct {
	Succeeded, Operations int
	Reached, Declared     int // statuses
	Judged, Checks        int
	Sent, Params          int
}

// Extent counts the coverage.
func (c Coverage) Extent() Extent {
	e := Extent{Operations: len(c.Operations), Judged: len(c.Checks), Checks: len(catalogue)}
	for _, o := range c.Operations {
		if o.Why == "" {
			e.Succeeded++
		}
		for _, s := range o.Declared {
			e.Declared++
			if o.Answers(s) > 0 {
				e.Reached++
			}
		}
		e.Params += len(o.Params)
		e.Sent += len(o.Sent)
	}
	return e
}

// Answers counts those that a declared status ("200", "4XX") stands for.
func (o OperationCoverage) Answers(declared string) (n int) {
	for status, times := range o.Reached {
		if t := fmt.Sprint(status); declared == t || len(declared) == 3 && strings.EqualFold(declared[1:], "xx") && declared[0] == t[0] {
			n += times
		}
	}
	return n
}

// Summary is the coverage in one line: operations, statuses, checks, parameters.
func (c Coverage) Summary() string {
	e := c.Extent()
	return fmt.Sprintf("%d of %d operations succeeded × %d of %d declared statuses × %d of %d checks × %d of %d parameters",
		e.Succeeded, e.Operations, e.Reached, e.Declared, e.Judged, e.Checks, e.Sent, e.Params)
}

// kept is the check of a finding of a kept report, which may be of a release
// that knew it.
func kept(id string) Check {
	for _, c := range catalogue {
		if c.ID == id {
			return c
		}
	}
	return Check{ID: id, Title: id}
}

func (r *Report) text(w io.Writer, colour bool) error {
	paint := func(code, s string) string {
		if !colour {
			return s
		}
		return "\x1b[" + code + "m" + s + "\x1b[0m"
	}
	var b strings.Builder
	for _, f := range r.Findings {
		code := map[Level]string{Error: "31", Warning: "33", Note: "36"}[f.Level]
		fmt.Fprintf(&b, "%s %s  %s", paint(code, string(f.Level)), f.Check, f.Operation)
		if f.Place != "" {
			fmt.Fprintf(&b, "  %s", f.Place)
		}
		k := kept(f.Check)
		fmt.Fprintf(&b, "\n    %s\n    %s", f.Detail, strings.TrimSpace(k.OWASP+" "+k.CWE))
		if f.Seen != "" {
			fmt.Fprintf(&b, ", seen %s", f.Seen)
		}
		fmt.Fprintf(&b, "\n    %s\n", f.Curl)
	}
	for _, f := range r.Flaky {
		fmt.Fprintf(&b, "%s %s  %s\n    %s\n    seen %s: not counted\n", paint("36", "flaky"), f.Check, f.Operation, f.Detail, f.Seen)
	}
	for _, n := range r.NotRun {
		fmt.Fprintf(&b, "not run: %s\n", n)
	}
	for _, n := range r.Left {
		fmt.Fprintf(&b, "left behind: %s\n", n)
	}
	word := paint("32", "passed")
	if !r.Passed {
		word = paint("31", "failed")
	}
	fmt.Fprintf(&b, "%s: %d findings, %d requests, %v, profile %s, seed %d\n%s\n", word, len(r.Findings), r.Requests, r.Duration.Round(10*time.Millisecond), r.Profile, r.Seed, r.Coverage.Summary())
	_, err := io.WriteString(w, b.String())
	return err
}

type junitCase struct {
	Name    string         `xml:"name,attr"`
	Class   string         `xml:"classname,attr"`
	Failure []junitFailure `xml:"failure,omitempty"`
	Skipped *struct{}      `xml:"skipped,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// junit has a case for each check of each operation.
func (r *Report) junit(w io.Writer) error {
	type suite struct {
		XMLName  xml.Name    `xml:"testsuite"`
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     float64     `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	s := suite{Name: "sallyport " + r.API, Time: r.Duration.Seconds()}
	left := slices.Clone(r.Findings)
	add := func(operation, check string) {
		c := junitCase{Name: check, Class: operation}
		left = slices.DeleteFunc(left, func(f Finding) bool {
			if f.Operation != operation || f.Check != check {
				return false
			}
			if f.Level != Note {
				c.Failure = append(c.Failure, junitFailure{f.Place + ": " + f.Detail, string(f.Level), f.Curl})
			}
			return true
		})
		s.Tests++
		if len(c.Failure) > 0 {
			s.Failures++
		}
		s.Cases = append(s.Cases, c)
	}
	for _, o := range r.Coverage.Operations {
		names := make([]string, 0, len(o.Checks))
		for k := range o.Checks {
			names = append(names, k)
		}
		slices.Sort(names)
		for _, k := range names {
			add(o.Operation, k)
		}
	}
	for len(left) > 0 {
		add(left[0].Operation, left[0].Check)
	}
	for _, n := range r.NotRun {
		s.Tests, s.Skipped = s.Tests+1, s.Skipped+1
		s.Cases = append(s.Cases, junitCase{Name: n, Class: "not run", Skipped: &struct{}{}})
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(s); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// sarif is version 2.1.0 of the OASIS format.
func (r *Report) sarif(w io.Writer) error {
	var rules []sarif.Rule
	var results []sarif.Result
	for _, c := range catalogue {
		rules = append(rules, sarif.Rule{ID: c.ID, Title: c.Title, Why: c.Why, Level: string(c.Level), Tags: strings.Fields(c.OWASP + " " + c.CWE)})
	}
	for _, f := range r.Findings {
		results = append(results, sarif.Result{Rule: f.Check, Level: string(f.Level), Message: strings.TrimSpace(f.Detail + "\n\n" + f.Curl), File: "openapi",
			Logical: strings.TrimSpace(f.Operation + " " + f.Place), Print: f.Check + "|" + f.Operation + "|" + f.Place})
	}
	return sarif.Write(w, rules, results)
}

var page = template.Must(template.New("").Funcs(template.FuncMap{"check": kept}).Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Conformance of {{.API}}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}h2{margin-top:2rem}
article{border-left:4px solid #b3261e;padding:.2rem 1rem;margin:1rem 0;background:#f6f7f8}article.warning{border-color:#9a6700}article.note{border-color:#0a5cad}
pre{overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere;background:#fff;padding:.5rem}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem;border-bottom:1px solid #d0d7de}
@media(prefers-color-scheme:dark){body{background:#14171a;color:#e6e8ea}article{background:#1f2429}pre{background:#14171a}td,th{border-color:#3a4149}}</style>
<h1>{{if .Passed}}Passed{{else}}Failed{{end}}: {{.API}} at {{.Target}}</h1>
<p>Profile {{.Profile}}, seed {{.Seed}}, {{.Requests}} requests in {{.Duration}}, {{.Started.UTC.Format "2006-01-02 15:04 MST"}}.</p>
<p>{{.Coverage.Summary}}</p>
<h2>Findings ({{len .Findings}})</h2>
{{range .Findings}}{{$k := check .Check}}<article class="{{.Level}}"><h3>{{.Check}} · {{.Operation}}{{with .Place}} · {{.}}{{end}}</h3>
<p>{{.Detail}}. <em>{{$k.Title}}: {{$k.Why}}</em> {{$k.OWASP}} {{$k.CWE}}</p><pre>{{.Curl}}</pre></article>
{{else}}<p>None.</p>{{end}}
{{with .NotRun}}<h2>Not run</h2><ul>{{range .}}<li>{{.}}</li>{{end}}</ul>{{end}}
<h2>Reached</h2><table><tr><th>Operation</th><th>Declared</th><th>Answers</th><th>Parameters sent</th><th>Checks</th></tr>
{{range .Coverage.Operations}}<tr><td>{{.Operation}}</td><td>{{range .Declared}}{{.}} {{end}}</td><td>{{range $s, $n := .Reached}}{{$s}}×{{$n}} {{end}}</td><td>{{len .Sent}} of {{len .Params}}</td><td>{{len .Checks}}</td></tr>
{{end}}</table></html>
`))

// Package audit reads an API description as a reviewer of security would. In
// come the bytes of an OpenAPI (2.0 to 3.2) or AsyncAPI document; out goes a
// report: findings of named checks, each with line and column, why it matters
// and what mends it, and a score. It never follows a reference out of the
// document, opens nothing and calls nobody; documents that are deep, cyclic or
// huge cost bounded time and memory. A document with mistakes that keep it from
// being enforced is audited all the same.
package audit

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"sallyport.dev"
	"sallyport.dev/spec/source"
)

// A Check is one thing that is looked for.
type Check struct {
	ID       string             `json:"id"`
	Severity sallyport.Severity `json:"severity"`
	Title    string             `json:"title"`
	Why      string             `json:"why"`
	Fix      string             `json:"fix"`
	Refs     []string           `json:"refs"` // "OWASP API1:2023", "CWE-639"
}

// Checks lists what is looked for. The caller must not change it.
func Checks() []Check { return catalogue }

func parse(table string) []Check {
	var out []Check
	for line := range strings.Lines(strings.TrimSpace(table)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		c := Check{ID: f[0], Severity: sallyport.Severity(f[1]), Title: f[2], Why: f[3], Fix: f[4]}
		for _, r := range strings.Fields(f[5]) {
			if strings.HasPrefix(r, "API") {
				r = "OWASP " + r
			}
			c.Refs = append(c.Refs, r)
		}
		out = append(out, c)
	}
	return out
}

var byID = func() map[string]*Check {
	m := map[string]*Check{}
	for i := range catalogue {
		m[catalogue[i].ID] = &catalogue[i]
	}
	return m
}()

// A Finding is one place where a check speaks.
type Finding struct {
	Check     *Check `json:"-"`
	ID        string `json:"check"`
	File      string `json:"file"`
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	Operation string `json:"operation,omitempty"` // "GET /items/{id}"; "" = the document as a whole, or what several share
	Detail    string `json:"detail,omitempty"`    // the name of what is meant
	Ignored   string `json:"ignored,omitempty"`   // the reason for which it does not count
}

// Place is where it stands: file:line:column.
func (f *Finding) Place() string { return fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column) }

// Path is the path template of the finding's operation, "" without one.
func (f *Finding) Path() string {
	_, path, _ := strings.Cut(f.Operation, " ")
	return path
}

// A Report is what one document's audit found.
type Report struct {
	File       string         `json:"file"`
	Version    string         `json:"version"`
	Title      string         `json:"title"`
	Operations int            `json:"operations"`
	Score      int            `json:"score"` // 0 to 100, 100 = nothing found
	Findings   []Finding      `json:"findings"`
	Counts     map[string]int `json:"counts"`               // of every check that spoke, those beyond Options.Most and ignored ones included
	NotLooked  []string       `json:"not_looked,omitempty"` // what was left out, and why
}

// Options of Audit. The zero value is good.
type Options struct {
	// Classify tells which kind of sensitive data a name speaks of, "" = none.
	Classify func(name string) string
	Most     int // findings kept of one check; default 100, the rest are counted
}

// Bounds of one audit.
const (
	maxWork     = 3 << 20 // values looked at
	maxExamples = 4000
	maxBytes    = 64 << 20
)

// Audit audits one document. name stands in the findings. The error is
// sallyport.Invalid for bytes that are no such document, with a position.
func Audit(name string, data []byte, o Options) (*Report, error) {
	if o.Most <= 0 {
		o.Most = 100
	}
	if o.Classify == nil {
		o.Classify = func(string) string { return "" }
	}
	if len(data) > maxBytes {
		return nil, sallyport.Errorf(sallyport.Invalid, "%s: larger than %d MiB", name, maxBytes>>20)
	}
	root, faults := source.Parse(data, true)
	if root == nil || !root.Is(source.Object) {
		f := source.Fault{Line: 1, Column: 1, Message: "document is no object"}
		if len(faults) > 0 {
			f = faults[0]
		}
		return nil, sallyport.Errorf(sallyport.Invalid, "%s:%d:%d: %s", name, f.Line, f.Column, f.Message)
	}
	a := &auditor{o: o, root: root, r: &Report{File: name, Findings: []Finding{}, Counts: map[string]int{}}, seen: map[walked]bool{}, used: map[string]bool{}, said: map[said]bool{}}
	for _, f := range faults {
		if strings.Contains(f.Message, "stands twice") {
			a.at("contract.duplicate-key", f.Line, f.Column, nil, f.Message)
		}
	}
	switch v := root.Get("openapi").String(); {
	case root.Get("swagger") != nil:
		a.version = 20
		a.r.Version = "Swagger " + root.Get("swagger").Text
	case root.Get("asyncapi") != nil:
		a.async = true
		a.r.Version = "AsyncAPI " + root.Get("asyncapi").Text
		a.version = 31
	case root.Get("openapi") != nil:
		a.r.Version = "OpenAPI " + v
		a.version = map[string]int{"3.0": 30, "3.1": 31, "3.2": 32}[v[:min(3, len(v))]]
		if a.version == 0 {
			a.hit("version.unknown", root.Get("openapi"), nil, v)
			a.version = 31
		}
	default:
		return nil, sallyport.Errorf(sallyport.Invalid, "%s:1:1: document is neither OpenAPI nor AsyncAPI", name)
	}
	a.r.Title = root.Get("info").Get("title").String()
	a.references()
	a.document()
	if a.async {
		a.asyncAPI()
	} else {
		a.schemes()
		a.servers(root.Get("servers"), nil)
		a.paths()
	}
	a.drain()
	a.after()
	if a.work > maxWork {
		a.r.NotLooked = append(a.r.NotLooked, fmt.Sprintf("what comes after %d values", maxWork))
	}
	slices.SortStableFunc(a.r.Findings, func(x, y Finding) int {
		if d := rank(y.Check.Severity) - rank(x.Check.Severity); d != 0 {
			return d
		}
		if x.Line != y.Line {
			return x.Line - y.Line
		}
		return x.Column - y.Column
	})
	a.r.score()
	return a.r, nil
}

func rank(s sallyport.Severity) int {
	return slices.Index([]sallyport.Severity{sallyport.Info, sallyport.Low, sallyport.Medium, sallyport.High, sallyport.Critical}, s)
}

// AtLeast reports whether s is as bad as least, or worse.
func AtLeast(s, least sallyport.Severity) bool { return rank(s) >= rank(least) }

// score takes points off for each check that speaks, half of them for the first
// place and the rest as more of the operations have it.
func (r *Report) score() {
	ignored := map[string]int{}
	for _, f := range r.Findings {
		if f.Ignored != "" {
			ignored[f.ID]++
		}
	}
	lost := 0.0
	for id, n := range r.Counts {
		if n -= ignored[id]; n > 0 {
			weight := [...]float64{0.25, 1, 3, 8, 15}[rank(byID[id].Severity)]
			lost += weight * (0.5 + 0.5*math.Min(1, float64(n)/float64(max(4, r.Operations))))
		}
	}
	r.Score = int(math.Round(100 * math.Exp(-lost/40)))
}

type walked struct {
	v   *source.Value
	dir direction
}

type said struct {
	id           string
	line, column int
}

type auditor struct {
	o       Options
	root    *source.Value
	version int
	async   bool
	r       *Report
	seen    map[walked]bool
	used    map[string]bool // pointers that references lead to
	said    map[said]bool
	queue   []job
	samples []sample
	work    int

	schemesBy map[string]*source.Value
	required  map[string]bool            // schemes
	scopes    map[string]map[string]bool // required, by scheme
	secured   bool                       // some operation demands a credential
	rateSeen  bool
	opIDs     map[string]*source.Value
	links     []linked
}

type linked struct {
	v  *source.Value
	op *operation
}

// hit notes that a check speaks at v.
func (a *auditor) hit(id string, v *source.Value, op *operation, detail string) {
	line, column := 1, 1
	if v != nil {
		line, column = v.Line, v.Column
	} else if op != nil {
		line, column = op.line, op.column
	}
	a.at(id, line, column, op, detail)
}

func (a *auditor) at(id string, line, column int, op *operation, detail string) {
	c := byID[id]
	if c == nil {
		panic("audit: no check " + id)
	}
	key := said{id, line, column}
	if a.said[key] {
		return
	}
	a.r.Counts[id]++
	if a.r.Counts[id] > a.o.Most {
		return
	}
	a.said[key] = true
	f := Finding{Check: c, ID: id, File: a.r.File, Line: max(line, 1), Column: max(column, 1), Detail: cut(detail)}
	if op != nil {
		f.Operation = op.name()
	}
	a.r.Findings = append(a.r.Findings, f)
}

// cut keeps what a document says to a length that a line of a report bears.
func cut(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > 120 {
		s = strings.ToValidUTF8(s[:120], "") + "…"
	}
	return s
}

// resolve follows references inside the document; nil when they lead out of it
// or nowhere.
func (a *auditor) resolve(v *source.Value) *source.Value {
	for range 32 {
		ref := v.Get("$ref")
		if !ref.Is(source.String) {
			return v
		}
		v = a.target(ref.Text)
	}
	return nil
}

func (a *auditor) target(ref string) *source.Value {
	rest, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return nil
	}
	if strings.Contains(rest, "%") {
		if u, err := unescape(rest); err == nil {
			rest = u
		}
	}
	return a.root.Pointer(rest)
}

// references looks at every $ref once.
func (a *auditor) references() {
	seen := map[*source.Value]bool{}
	type place struct {
		v      *source.Value
		names  bool // its keys are names that somebody chose
		schema bool
	}
	stack := []place{{v: a.root}}
	anchors := map[string]bool{}
	remote := 0
	var later []*source.Value
	for len(stack) > 0 {
		p := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if p.v == nil || p.v.Kind != source.Array && p.v.Kind != source.Object || seen[p.v] {
			continue
		}
		seen[p.v] = true
		for _, x := range p.v.Items {
			stack = append(stack, place{v: x})
		}
		for _, m := range p.v.Entries() {
			if !p.names {
				switch m.Key {
				case "example", "examples", "default", "enum", "const", "x-examples":
					if !(m.Key == "examples" && m.Value.Is(source.Object)) {
						continue
					}
				case "$ref":
					if m.Value.Is(source.String) {
						later = append(later, p.v)
					}
				case "$anchor", "$dynamicAnchor":
					anchors[m.Value.String()] = true
				case "discriminator":
					for _, t := range m.Value.Get("mapping").Entries() {
						if s := t.Value.String(); strings.HasPrefix(s, "#/") {
							a.use(s)
						} else {
							a.use("#/components/schemas/" + s)
						}
					}
				case "operationRef":
					a.use(m.Value.String())
				case "value":
					continue // of an example
				}
			}
			names := !p.names && (m.Key == "properties" || m.Key == "patternProperties" || m.Key == "schemas" || m.Key == "parameters" || m.Key == "responses" || m.Key == "definitions" || m.Key == "$defs" || m.Key == "headers" || m.Key == "paths" ||
				m.Key == "securitySchemes" || m.Key == "requestBodies" || m.Key == "links" || m.Key == "callbacks" || m.Key == "examples" || m.Key == "content" || m.Key == "webhooks" || m.Key == "messages" || m.Key == "channels")
			stack = append(stack, place{v: m.Value, names: names})
		}
	}
	for _, v := range later {
		ref := v.Get("$ref")
		s := ref.Text
		switch {
		case strings.HasPrefix(s, "http://"), strings.HasPrefix(s, "https://"), strings.HasPrefix(s, "//"):
			a.hit("contract.ref-remote", ref, nil, s)
			remote++
			continue
		case !strings.HasPrefix(s, "#"):
			remote++
			continue
		}
		a.use(s)
		if a.version <= 30 && !a.async && len(v.Members) > 1 {
			for _, m := range v.Members {
				if m.Key != "$ref" && m.Key != "description" && m.Key != "summary" && m.Key != "title" && m.Key != "example" && !strings.HasPrefix(m.Key, "x-") {
					a.at("data.ref-siblings", m.Line, m.Column, nil, m.Key)
					break
				}
			}
		}
		t := a.target(s)
		if t == nil {
			if !anchors[strings.TrimPrefix(s, "#")] {
				a.hit("contract.ref-broken", ref, nil, s)
			}
			continue
		}
		for hops, at := 0, t; at != nil; hops++ {
			next := at.Get("$ref")
			if !next.Is(source.String) {
				break
			}
			if at == v || hops > 32 {
				a.hit("contract.ref-cycle", ref, nil, s)
				break
			}
			at = a.target(next.Text)
		}
	}
	if remote > 0 {
		a.r.NotLooked = append(a.r.NotLooked, fmt.Sprintf("%d references to other documents", remote))
	}
}

// use notes that a pointer and what is above it is referred to.
func (a *auditor) use(ref string) {
	rest := strings.TrimPrefix(ref, "#/")
	if strings.Contains(rest, "%") {
		if u, err := unescape(rest); err == nil {
			rest = u
		}
	}
	for rest != "" && !a.used[rest] {
		a.used[rest] = true
		i := strings.LastIndexByte(rest, '/')
		if i < 0 {
			break
		}
		rest = rest[:i]
	}
}

package learn

import (
	"slices"
	"strconv"
	"strings"

	"sallyport.dev"
	"sallyport.dev/spec"
)

// A Difference is one thing in which traffic and specification differ, for people.
type Difference struct {
	Method   string
	Template string
	Kind     string // "undeclared operation", "unused operation", "undeclared parameter", "unused parameter", "undeclared member", "unused member", "type", "undeclared status", "unused status", "authentication"
	Place    string // "query limit", "answer 200 /items/*/id"
	Declared string
	Seen     string
	Text     string // one sentence
	Count    uint64 // exchanges that show it; of what is unused, those that did not use it
}

// Beyond reports whether traffic shows more than the specification says, rather
// than using less of it.
func (d *Difference) Beyond() bool { return !strings.HasPrefix(d.Kind, "unused") }

// maxDifferences bounds one comparison.
const maxDifferences = 5000

// Compare sets what was learned beside what is declared. What a sample of
// traffic does not show may still be in use; unused members are told only of
// operations that were seen Tentative times.
func Compare(declared []*spec.Operation, learned []Named) []Difference {
	var out []Difference
	add := func(d Difference) {
		if len(out) < maxDifferences {
			out = append(out, d)
		}
	}
	byKey := map[string]*Operation{}
	for _, n := range sorted(learned) {
		key := n.Method + " " + n.Template
		byKey[key] = n.Operation
		if !n.Declared && n.Operation.Taught > 0 {
			add(Difference{Method: n.Method, Template: n.Template, Kind: "undeclared operation", Count: n.Operation.Taught,
				Text: "Answers, and no specification declares it: seen " + times(n.Operation.Taught) + "."})
		}
	}
	for _, op := range declared {
		o := byKey[op.Method+" "+op.Template]
		if o == nil || o.Count == 0 {
			add(Difference{Method: op.Method, Template: op.Template, Kind: "unused operation", Text: "Declared, and never asked for."})
			continue
		}
		compare(op, o, add)
	}
	return out
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return strconv.FormatUint(n, 10) + " times"
}

func compare(op *spec.Operation, o *Operation, add func(Difference)) {
	outline := op.Outline()
	at := func(d Difference) {
		d.Method, d.Template = op.Method, op.Template
		add(d)
	}
	params, request, answer := map[string]spec.DeclaredPlace{}, map[string]spec.DeclaredPlace{}, map[string]spec.DeclaredPlace{}
	for _, p := range outline.Places {
		switch {
		case p.Place.In != sallyport.InBody:
			params[string(p.Place.In)+" "+strings.ToLower(p.Place.Name)] = p
		case p.Response:
			answer[p.Place.Name] = p
		default:
			request[p.Place.Name] = p
		}
	}
	used := map[string]bool{}
	for _, key := range keysOf(o.Params) {
		p, lower := o.Params[key], strings.ToLower(key)
		used[lower] = true
		d, ok := params[lower]
		seen := typeText(p.Value.schema())
		switch {
		case !ok && !strings.HasPrefix(key, "header ") && !strings.HasPrefix(key, "cookie "):
			at(Difference{Kind: "undeclared parameter", Place: key, Seen: seen, Count: p.Count, Text: "Sent " + times(p.Count) + ", and not declared."})
		case ok && clash(d.Type, seen, true):
			at(Difference{Kind: "type", Place: key, Declared: d.Type, Seen: seen, Count: p.Count, Text: "Declared as " + d.Type + ", sent as " + seen + "."})
		}
	}
	for _, key := range keysOf(params) {
		if d := params[key]; d.Place.In != sallyport.InPath && !used[key] && o.Taught >= Tentative {
			at(Difference{Kind: "unused parameter", Place: string(d.Place.In) + " " + d.Place.Name, Declared: d.Type, Count: o.Taught, Text: "Declared, and in none of " + strconv.FormatUint(o.Taught, 10) + " requests."})
		}
	}
	for _, name := range keysOf(o.Body) {
		members(o.Body[name].Schema, "", request, "request ", o.Body[name].Shaped, at)
	}
	for _, status := range slices.Sorted(func(yield func(int) bool) {
		for s := range o.Answers {
			if !yield(s) {
				return
			}
		}
	}) {
		a := o.Answers[status]
		text := strconv.Itoa(status)
		if !slices.Contains(outline.Statuses, text) && !slices.Contains(outline.Statuses, text[:1]+"XX") && !slices.Contains(outline.Statuses, "default") {
			at(Difference{Kind: "undeclared status", Place: "answer " + text, Seen: text, Count: a.Count, Text: "Answered " + text + " " + times(a.Count) + ", and not declared."})
			continue
		}
		if status/100 == 2 {
			for _, name := range keysOf(a.Media) {
				members(a.Media[name].Schema, "", answer, "answer "+text+" ", a.Media[name].Shaped, at)
			}
		}
	}
	for _, s := range outline.Statuses {
		if code, err := strconv.Atoi(s); err == nil && o.Answers[code] == nil && o.Taught >= Tentative {
			at(Difference{Kind: "unused status", Place: "answer " + s, Declared: s, Count: o.Count, Text: "Declared, and never answered."})
		}
	}
	if n := o.Auth["none"]; n > 0 && len(outline.Schemes) > 0 {
		at(Difference{Kind: "authentication", Declared: strings.Join(outline.Schemes, ", "), Seen: "none", Count: n, Text: "Declared to need " + strings.Join(outline.Schemes, " or ") + ", and taken without " + times(n) + "."})
	}
}

// members compares the places of a body. Below a place that is not declared
// nothing more is said.
func members(n *Node, pointer string, declared map[string]spec.DeclaredPlace, where string, bodies uint64, at func(Difference)) {
	if n == nil || len(declared) == 0 {
		return
	}
	each := func(c *Node, p string) {
		d, ok := declared[p]
		seen := typeText(c.schema(0))
		switch {
		case !ok && !below(declared, p):
			at(Difference{Kind: "undeclared member", Place: where + p, Seen: seen, Count: c.Seen, Text: "In " + strconv.FormatUint(c.Seen, 10) + " of " + strconv.FormatUint(bodies, 10) + " bodies, and not declared."})
			return
		case ok && clash(d.Type, seen, false):
			at(Difference{Kind: "type", Place: where + p, Declared: d.Type, Seen: seen, Count: c.Seen, Text: "Declared as " + d.Type + ", seen as " + seen + "."})
		}
		members(c, p, declared, where, bodies, at)
	}
	for _, k := range keysOf(n.Members) {
		each(n.Members[k], pointer+"/"+strings.ReplaceAll(strings.ReplaceAll(k, "~", "~0"), "/", "~1"))
	}
	if n.Items != nil {
		if _, ok := declared[pointer+"/*"]; ok || below(declared, pointer+"/*") {
			each(n.Items, pointer+"/*")
		}
	}
	if bodies < Tentative {
		return
	}
	for p, d := range declared {
		up := strings.LastIndexByte(p, '/')
		if up < 0 || p[:up] != pointer || p[up:] == "/*" {
			continue
		}
		name := strings.ReplaceAll(strings.ReplaceAll(p[up+1:], "~1", "/"), "~0", "~")
		if n.Members[name] == nil && len(n.Members) > 0 {
			at(Difference{Kind: "unused member", Place: where + p, Declared: d.Type, Count: bodies, Text: "Declared, and in none of " + strconv.FormatUint(bodies, 10) + " bodies."})
		}
	}
}

// below reports whether something is declared under p.
func below(declared map[string]spec.DeclaredPlace, p string) bool {
	for k := range declared {
		if strings.HasPrefix(k, p+"/") {
			return true
		}
	}
	return false
}

// typeText names the types of a learned schema: "integer|null".
func typeText(s map[string]any) string {
	switch t := s["type"].(type) {
	case string:
		return t
	case []any:
		var out []string
		for _, one := range t {
			out = append(out, one.(string))
		}
		return strings.Join(out, "|")
	}
	var out []string
	list, _ := s["oneOf"].([]any)
	for _, one := range list {
		out = append(out, typeText(one.(map[string]any)))
	}
	return strings.Join(out, "|")
}

// clash reports whether seen types are not among the declared ones. In text, as
// parameters are, everything is a string too.
func clash(declared, seen string, text bool) bool {
	if declared == "" || seen == "" {
		return false
	}
	have := strings.Split(declared, "|")
	for t := range strings.SplitSeq(seen, "|") {
		switch {
		case slices.Contains(have, t), t == "integer" && slices.Contains(have, "number"):
		case text && slices.Contains(have, "string") && t != "object" && t != "array" && t != "null":
		case text && slices.Contains(have, "array") && t != "object" && t != "null": // one value of a list in a query
		default:
			return true
		}
	}
	return false
}

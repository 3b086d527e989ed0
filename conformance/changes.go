package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
	"sallyport.dev/spec"
)

// A Surface is what callers of an API can rely on, flat and without references:
// it can be kept as JSON and compared with a later one. oneOf and anyOf are
// kept by the types of their alternatives only.
type Surface struct {
	Operations []Offer `json:"operations"`
}

// An Offer is one operation of a Surface.
type Offer struct {
	Method       string            `json:"method"`
	Template     string            `json:"template"`
	Security     [][]string        `json:"security,omitempty"` // alternatives, each of "scheme" and "scheme:scope"; none or an empty one = open
	Params       []Slot            `json:"params,omitempty"`
	BodyRequired bool              `json:"body_required,omitempty"`
	Bodies       map[string][]Slot `json:"bodies,omitempty"`  // by media type
	Answers      map[string]Answer `json:"answers,omitempty"` // by status
}

// An Answer is one answer of an Offer.
type Answer struct {
	Headers []Slot            `json:"headers,omitempty"`
	Media   map[string][]Slot `json:"media,omitempty"`
}

// A Slot is a place for a value: a parameter, a header, or a member of a body by
// its pointer, with * for the items of a list.
type Slot struct {
	In       sallyport.In `json:"in"`
	Name     string       `json:"name"`
	Required bool         `json:"required,omitempty"`
	Closed   bool         `json:"closed,omitempty"`
	Types    []string     `json:"types,omitempty"`
	Enum     []string     `json:"enum,omitempty"`
	Format   string       `json:"format,omitempty"`
	Pattern  string       `json:"pattern,omitempty"`
	Min      *float64     `json:"min,omitempty"`
	Max      *float64     `json:"max,omitempty"`
	MinLen   int          `json:"min_len"` // -1 = not said, as below
	MaxLen   int          `json:"max_len"`
	MinItems int          `json:"min_items"`
	MaxItems int          `json:"max_items"`
}

// maxSlots bounds the places of one body in a Surface.
const maxSlots = 1000

// SurfaceOf reads the surface of a specification that was loaded with Options.Keep.
func SurfaceOf(set *spec.Set) Surface {
	var out Surface
	for _, o := range set.Operations() {
		d := o.Declared()
		if d == nil {
			continue
		}
		f := Offer{Method: o.Method, Template: o.Template, BodyRequired: d.BodyRequired, Bodies: map[string][]Slot{}, Answers: map[string]Answer{}}
		for _, alternative := range o.Security {
			var names []string
			for scheme, scopes := range alternative {
				names = append(names, scheme)
				for _, s := range scopes {
					names = append(names, scheme+":"+s)
				}
			}
			slices.Sort(names)
			f.Security = append(f.Security, names)
		}
		for _, p := range d.Params {
			s := slotOf(p.In, p.Name, p.Required, p.Schema)
			if p.In == sallyport.InPath { // by position: its name is not the caller's concern
				s.Name = fmt.Sprint(strings.Count(before(o.Template, "{"+p.Name+"}"), "{") + 1)
			}
			f.Params = append(f.Params, s)
		}
		for _, b := range d.Bodies {
			f.Bodies[b.Type] = slotsOf(b.Schema)
		}
		for _, a := range d.Answers {
			x := Answer{Media: map[string][]Slot{}}
			for _, h := range a.Headers {
				x.Headers = append(x.Headers, slotOf(sallyport.InHeader, h.Name, h.Required, h.Schema))
			}
			for _, m := range a.Media {
				x.Media[m.Type] = slotsOf(m.Schema)
			}
			f.Answers[a.Status] = x
		}
		out.Operations = append(out.Operations, f)
	}
	return out
}

func before(s, sep string) string {
	s, _, _ = strings.Cut(s, sep)
	return s
}

func slotOf(in sallyport.In, name string, required bool, n spec.Node) Slot {
	s := shapeOf(n)
	x := Slot{In: in, Name: name, Required: required, Closed: s.closed, Types: slices.Clone(s.types), Format: s.format, Pattern: s.pattern, MinLen: s.minLen, MaxLen: s.maxLen, MinItems: s.minItems, MaxItems: s.maxItems}
	if s.min != nil || s.max != nil {
		low, high := s.bounds()
		if s.min != nil {
			x.Min = &low
		}
		if s.max != nil {
			x.Max = &high
		}
	}
	for _, e := range s.enum {
		x.Enum = append(x.Enum, fmt.Sprint(e))
	}
	for _, c := range s.choices {
		for _, t := range shapeOf(c).types {
			if !slices.Contains(x.Types, t) {
				x.Types = append(x.Types, t)
			}
		}
	}
	slices.Sort(x.Types)
	slices.Sort(x.Enum)
	return x
}

func slotsOf(n spec.Node) (out []Slot) {
	var walk func(n spec.Node, at string, required bool, depth int)
	walk = func(n spec.Node, at string, required bool, depth int) {
		if len(out) >= maxSlots || depth > 8 {
			return
		}
		out = append(out, slotOf(sallyport.InBody, at, required, n))
		s := shapeOf(n)
		for _, p := range s.props {
			walk(p.node, at+"/"+p.name, p.required, depth+1)
		}
		if s.items.Value != nil {
			walk(s.items, at+"/*", false, depth+1)
		}
	}
	walk(n, "", true, 0)
	return out
}

// A Break is one change by which a caller of the old contract fails under the new.
type Break struct {
	Rule      string       `json:"rule"`      // "operation.removed", "request.narrowed", …: see Rules
	Operation string       `json:"operation"` // of the old contract, "GET /items/{id}"
	In        sallyport.In `json:"in,omitempty"`
	Name      string       `json:"name,omitempty"` // "limit", "/items/*/price"
	Answer    string       `json:"answer,omitempty"`
	Detail    string       `json:"detail"`
	// OnlyUsers is set where only callers that use the place are affected.
	OnlyUsers bool `json:"only_users,omitempty"`
	// Consumers are those who use it, as traffic shows; filled in by Affected.
	Consumers []string `json:"consumers,omitempty"`
	// Exception is who allows it all the same, nil for nobody.
	Exception *Exception `json:"exception,omitempty"`
}

// An Exception lets a break pass for a time.
type Exception struct {
	Approver string `json:"approver"`
	Expires  string `json:"expires"` // last day, as 2030-12-31
	Reason   string `json:"reason,omitempty"`
}

// Rules are the kinds of Break.
var Rules = []string{"operation.removed", "request.required", "request.narrowed", "request.removed", "request.media-type", "security.raised", "answer.status", "answer.media-type", "answer.removed", "answer.widened"}

// Place is where the break is, in one word or two.
func (b Break) Place() string {
	t := strings.TrimSpace(string(b.In) + " " + b.Name)
	if b.Answer != "" {
		t = strings.TrimSpace("answer " + b.Answer + " " + t)
	}
	return t
}

// Compare lists what of the old surface callers can rely on no more. Additions,
// wider requests and narrower answers are no breaks.
func Compare(old, now Surface) (out []Break) {
	same := func(a, b string) bool { return anonymous(a) == anonymous(b) }
	for _, o := range old.Operations {
		key := o.Method + " " + o.Template
		i := slices.IndexFunc(now.Operations, func(n Offer) bool { return n.Method == o.Method && same(n.Template, o.Template) })
		if i < 0 {
			out = append(out, Break{Rule: "operation.removed", Operation: key, Detail: "it is not there any more"})
			continue
		}
		c := comparison{key: key}
		c.offer(o, now.Operations[i])
		out = append(out, c.out...)
	}
	return out
}

// anonymous is a template without the names of its parameters.
func anonymous(t string) string {
	var b strings.Builder
	in := false
	for _, r := range t {
		if r == '}' {
			in = false
		}
		if !in {
			b.WriteRune(r)
		}
		if r == '{' {
			in = true
		}
	}
	return b.String()
}

type comparison struct {
	key string
	out []Break
}

func (c *comparison) add(rule string, s Slot, answer, detail string, only bool) {
	c.out = append(c.out, Break{Rule: rule, Operation: c.key, In: s.In, Name: s.Name, Answer: answer, Detail: detail, OnlyUsers: only})
}

func (c *comparison) offer(o, n Offer) {
	body := Slot{In: sallyport.InBody}
	if !satisfied(o.Security, n.Security) {
		c.add("security.raised", Slot{}, "", "credentials that were enough are not any more", false)
	}
	if n.BodyRequired && !o.BodyRequired {
		c.add("request.required", body, "", "a body must be sent now", false)
	}
	c.request(o.Params, n.Params)
	for media, slots := range o.Bodies {
		if now, ok := n.Bodies[media]; ok {
			c.request(slots, now)
		} else {
			c.add("request.media-type", body, "", "bodies of "+media+" are not taken any more", false)
		}
	}
	for status, a := range o.Answers {
		if status[0] != '2' && status != "default" {
			continue
		}
		now, ok := n.Answers[status]
		if !ok {
			c.add("answer.status", Slot{}, status, "it is not answered any more", false)
			continue
		}
		c.answer(status, a.Headers, now.Headers)
		for media, slots := range a.Media {
			if m, ok := now.Media[media]; ok {
				c.answer(status, slots, m)
			} else {
				c.add("answer.media-type", body, status, media+" is not answered any more", false)
			}
		}
	}
	slices.SortStableFunc(c.out, func(x, y Break) int {
		return strings.Compare(x.Answer+string(x.In)+x.Name+x.Rule, y.Answer+string(y.In)+y.Name+y.Rule)
	})
}

// satisfied reports whether whoever met the old demands meets the new ones.
func satisfied(old, now [][]string) bool {
	if len(now) == 0 {
		return true
	}
	if len(old) == 0 {
		old = [][]string{nil}
	}
	for _, o := range old {
		if !slices.ContainsFunc(now, func(n []string) bool {
			return !slices.ContainsFunc(n, func(s string) bool { return !slices.Contains(o, s) })
		}) {
			return false
		}
	}
	return true
}

func find(list []Slot, s Slot) (Slot, bool) {
	i := slices.IndexFunc(list, func(x Slot) bool {
		return x.In == s.In && (x.Name == s.Name || s.In == sallyport.InHeader && strings.EqualFold(x.Name, s.Name))
	})
	if i < 0 {
		return Slot{}, false
	}
	return list[i], true
}

func parent(name string) string { return name[:max(0, strings.LastIndexByte(name, '/'))] }

func (c *comparison) request(old, now []Slot) {
	gone := map[string]bool{}
	for _, o := range old {
		n, ok := find(now, o)
		if !ok {
			if o.In == sallyport.InBody && gone[parent(o.Name)] {
				gone[o.Name] = true
				continue
			}
			gone[o.Name] = true
			c.add("request.removed", o, "", "it is not taken any more", true)
			continue
		}
		if n.Required && !o.Required {
			c.add("request.required", o, "", "it must be given now", false)
		}
		if n.Closed && !o.Closed {
			c.add("request.narrowed", o, "", "members that are not declared are refused now", true)
		}
		for _, why := range narrowed(o, n) {
			c.add("request.narrowed", o, "", why, true)
		}
	}
	for _, n := range now {
		if _, was := find(old, n); was || !n.Required {
			continue
		}
		if _, there := find(old, Slot{In: n.In, Name: parent(n.Name)}); n.In != sallyport.InBody || there {
			c.add("request.required", n, "", "it is new, and must be given", false)
		}
	}
}

func (c *comparison) answer(status string, old, now []Slot) {
	gone := map[string]bool{}
	for _, o := range old {
		n, ok := find(now, o)
		if !ok {
			if gone[o.Name] = true; o.In != sallyport.InBody || !gone[parent(o.Name)] || o.Name == "" {
				c.add("answer.removed", o, status, "it is not answered any more", true)
			}
			continue
		}
		if o.Required && !n.Required {
			c.add("answer.removed", o, status, "it may be absent now", true)
		}
		n.Enum, o.Enum = nil, nil // another value of a list is an addition
		for _, why := range narrowed(n, o) {
			c.add("answer.widened", o, status, "what it may be is wider: seen from the new contract, "+why, true)
		}
	}
}

// narrowed says in which ways b admits less than a.
func narrowed(a, b Slot) (out []string) {
	add := func(format string, v ...any) { out = append(out, fmt.Sprintf(format, v...)) }
	for _, t := range a.Types {
		if len(b.Types) > 0 && !slices.Contains(b.Types, t) && !(t == "integer" && slices.Contains(b.Types, "number")) {
			add("type %s is not admitted by the other", t)
		}
	}
	if len(b.Types) > 0 && len(a.Types) == 0 {
		add("any type is not admitted by the other")
	}
	for _, e := range a.Enum {
		if len(b.Enum) > 0 && !slices.Contains(b.Enum, e) {
			add("value %s is not admitted by the other", e)
		}
	}
	if len(a.Enum) == 0 && len(b.Enum) > 0 {
		add("the other has a closed list of values")
	}
	if b.Format != a.Format && b.Format != "" && len(b.Enum) == 0 {
		add("the other has format %s", b.Format)
	}
	if b.Pattern != a.Pattern && b.Pattern != "" && len(a.Enum) == 0 {
		add("the other has pattern %s", b.Pattern)
	}
	low := func(what string, x, y *float64) {
		if y != nil && (x == nil || *y > *x) {
			add("%s of the other is %v", what, *y)
		}
	}
	high := func(what string, x, y *float64) {
		if y != nil && (x == nil || *y < *x) {
			add("%s of the other is %v", what, *y)
		}
	}
	count := func(n int, none bool) *float64 {
		if n < 0 || none && n == 0 {
			return nil
		}
		f := float64(n)
		return &f
	}
	if len(a.Enum) == 0 {
		low("minimum", a.Min, b.Min)
		high("maximum", a.Max, b.Max)
		low("minLength", count(a.MinLen, true), count(b.MinLen, true))
		high("maxLength", count(a.MaxLen, false), count(b.MaxLen, false))
	}
	low("minItems", count(a.MinItems, true), count(b.MinItems, true))
	high("maxItems", count(a.MaxItems, false), count(b.MaxItems, false))
	return out
}

// Usage is what traffic shows of one operation.
type Usage struct {
	Consumers []string // who used it lately, most first
	Anonymous bool     // and callers without a name
	// Used tells whether a place of its requests was given a value lately; nil = it is not known.
	Used func(in sallyport.In, name string) bool
}

// Uses knows from traffic who uses what; operation is "GET /items/{id}". One
// that nobody has used has no Usage and no error.
type Uses interface {
	Usage(ctx context.Context, api, operation string, since time.Time) (Usage, error)
}

// Affected keeps of the breaks those that somebody will notice, with who that
// is. Without uses, everybody may: all are kept.
func Affected(ctx context.Context, api string, list []Break, uses Uses, since time.Time) ([]Break, error) {
	if uses == nil {
		return list, nil
	}
	var out []Break
	for _, b := range list {
		u, err := uses.Usage(ctx, api, b.Operation, since)
		if err != nil {
			return nil, fmt.Errorf("who uses %s: %w", b.Operation, err)
		}
		if b.OnlyUsers && b.Answer == "" && b.In != sallyport.InPath && u.Used != nil && !u.Used(b.In, b.Name) {
			continue
		}
		if b.Consumers = slices.Clone(u.Consumers); u.Anonymous {
			b.Consumers = append(b.Consumers, "callers without a name")
		}
		if len(b.Consumers) > 0 {
			out = append(out, b)
		}
	}
	return out, nil
}

// Add puts breaks into a report: as findings that fail it, where no exception
// allows them.
func (r *Report) Add(list []Break) {
	r.Breaks = append(r.Breaks, list...)
	for _, b := range list {
		if b.Exception != nil {
			continue
		}
		who := "whoever uses it"
		if n := len(b.Consumers); n > 0 {
			who = strings.Join(b.Consumers[:min(n, 10)], ", ")
			if n > 10 {
				who += fmt.Sprintf(" and %d more", n-10)
			}
		}
		r.Findings = append(r.Findings, Finding{Check: "contract.breaking-change", Level: Error, Operation: b.Operation, Place: b.Place(), Seed: r.Seed,
			Detail: fmt.Sprintf("%s: %s; breaks %s", b.Rule, b.Detail, who)})
		r.Passed = false
	}
}

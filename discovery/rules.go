package discovery

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/uptrace/bun"

	"sallyport.dev"
)

// Kinds of rules.
const (
	RuleParameter = "parameter" // every value at the place is one of a parameter
	RuleMerge     = "merge"     // the values that are listed are
	RuleLiteral   = "literal"   // this value is a word of the path and no parameter's
	RuleSplit     = "split"     // no value at the place is a parameter's
)

// A Rule is what a person has said of one place in the paths of an API. It goes
// before all evidence, except that a place never holds more literals than
// Options.Children, and that what a specification declares stays as it is.
type Rule struct {
	ID        string    `cbor:"1,keyasint"`
	API       string    `cbor:"2,keyasint"`
	Kind      string    `cbor:"3,keyasint"`
	Templates []string  `cbor:"4,keyasint"` // the last segment is the place; of a merge two or more
	Reason    string    `cbor:"5,keyasint"`
	By        string    `cbor:"6,keyasint"`
	At        time.Time `cbor:"7,keyasint"`
	UndoneBy  string    `cbor:"8,keyasint,omitempty"`
	Undone    time.Time `cbor:"9,keyasint,omitempty"`

	Moved []Folded `cbor:"10,keyasint,omitempty"` // what was folded when the rule was made
}

// A Folded is an operation that a rule has folded into another.
type Folded struct {
	Method string `cbor:"1,keyasint"`
	From   string `cbor:"2,keyasint"` // template before
	Into   string `cbor:"3,keyasint"`
	Count  uint64 `cbor:"4,keyasint"` // exchanges until then
	First  int64  `cbor:"5,keyasint"`
	Last   int64  `cbor:"6,keyasint"`
}

type ruleRow struct {
	bun.BaseModel `bun:"table:discovery_rule"`
	ID            string `bun:"id,pk"`
	API           string `bun:"api"`
	At            int64  `bun:"at"`
	Data          []byte `bun:"data"`
}

// Bounds of rules.
const (
	maxRules     = 1000 // in force, of one API
	maxRuleNames = 200  // templates of one
)

// A saying is what rules say of the values at one place.
type saying struct {
	all, none bool
	fold      map[string]string // value → why
	keep      map[string]bool
	why       string
}

// place is the key of n's children: its template without the names of arguments.
func (n *node) place() string { return anonymous(n.template()) }

func anonymous(template string) string {
	segs := strings.Split(strings.Trim(template, "/"), "/")
	for i, s := range segs {
		if s != "" && s[0] == '{' {
			segs[i] = "{}"
		}
	}
	return strings.Join(segs, "/")
}

// says is what a person has said of seg under n.
func (t *tree) says(n *node, seg string) (value, literal bool, why string) {
	if len(t.said) == 0 {
		return false, false, ""
	}
	s := t.said[n.place()]
	switch {
	case s == nil:
	case s.keep[seg]:
		return false, true, ""
	case s.fold[seg] != "":
		return true, false, s.fold[seg]
	case s.none:
		return false, n.literal[seg] != nil || len(n.literal) < t.o.Children, ""
	case s.all:
		return true, false, s.why
	}
	return false, false, ""
}

// heed writes the sayings of all rules anew, in the order in which they were made.
func (t *tree) heed() {
	t.said = map[string]*saying{}
	for _, r := range t.rules {
		if !r.Undone.IsZero() {
			continue
		}
		why := "a person said so: " + r.Reason
		for _, template := range r.Templates {
			parent, seg := last(template)
			key := anonymous(parent)
			s := t.said[key]
			if s == nil {
				s = &saying{fold: map[string]string{}, keep: map[string]bool{}}
				t.said[key] = s
			}
			switch r.Kind {
			case RuleParameter:
				s.all, s.none, s.why = true, false, why
			case RuleSplit:
				s.all, s.none = false, true
			case RuleMerge:
				s.fold[seg] = why
				delete(s.keep, seg)
			case RuleLiteral:
				s.keep[seg] = true
				delete(s.fold, seg)
			}
		}
	}
}

func last(template string) (parent, seg string) {
	template = "/" + strings.Trim(template, "/")
	i := strings.LastIndexByte(template, '/')
	return template[:i], template[i+1:]
}

// at finds the node of a template, arguments by any name; nil when there is none.
func (t *tree) at(template string) *node {
	segs, ok := split(template, nil)
	if !ok {
		return nil
	}
	n := t.root
	for _, s := range segs {
		if n == nil {
			return nil
		}
		if s[0] == '{' {
			n = n.value
		} else {
			n = n.literal[s]
		}
	}
	return n
}

// enforce folds what stands under n and is a value by the rules now.
func (t *tree) enforce(n *node, now time.Time) (moved []Folded, merges []sallyport.Sighting) {
	for _, c := range n.sorted() {
		value, _, why := t.says(n, c.seg)
		if !value || c.declared {
			continue
		}
		before := paths(c)
		var evidence []Folded
		for _, b := range before {
			if at := t.at(b.template); at != nil && at.methods[b.method] != nil {
				l := at.methods[b.method]
				evidence = append(evidence, Folded{Method: b.method, From: b.template, Count: l.count, First: micro(l.first), Last: micro(l.last)})
			}
		}
		into := n.argument(why)
		delete(n.literal, c.seg)
		t.refolds++
		t.epoch++
		t.merge(into, c, nil)
		changed := t.changes(into, before, &exchange{API: t.api, Time: now})
		for _, f := range evidence {
			for _, m := range changed {
				if m.Method == f.Method && slices.Contains(m.Replaces, f.From) {
					f.Into = m.Template
				}
			}
			moved = append(moved, f)
		}
		merges = append(merges, changed...)
		t.stale = true
	}
	return moved, merges
}

// restore puts back what a rule had folded, with the counts of then; what came
// since stays where it is.
func (t *tree) restore(moved []Folded) {
	for _, f := range moved {
		segs, ok := split(f.From, nil)
		if !ok {
			continue
		}
		if at := t.at(f.Into); at != nil {
			if l := at.methods[f.Method]; l != nil {
				l.count -= min(l.count, f.Count)
				l.dirty = true
				if l.count == 0 { // nothing else was ever folded into it
					if l.stored != "" {
						t.gone = append(t.gone, f.Method+" "+l.stored)
					}
					delete(at.methods, f.Method)
					delete(t.touched, l)
					t.leaves--
				}
			}
		}
		n := t.root
		for _, s := range segs {
			switch c := n.literal[s]; {
			case s[0] == '{':
				n = n.argument("it was a parameter before")
			case c != nil:
				n = c
			default:
				n = t.child(n, s)
			}
		}
		l := n.methods[f.Method]
		if l == nil {
			l = n.leaf(f.Method)
			t.leaves++
		}
		l.count += f.Count
		l.first, l.last = fromMicro(f.First), fromMicro(f.Last)
		l.answered, l.success, l.dirty = true, true, true
	}
	t.epoch++
	t.stale = true
}

// check refuses a rule that says nothing clear.
func (t *tree) check(r *Rule) error {
	if !slices.Contains([]string{RuleParameter, RuleMerge, RuleLiteral, RuleSplit}, r.Kind) {
		return sallyport.Errorf(sallyport.Invalid, "a rule is parameter, merge, literal or split")
	}
	if strings.TrimSpace(r.Reason) == "" {
		return sallyport.Errorf(sallyport.Invalid, "a rule needs a reason")
	}
	if n := len(r.Templates); r.Kind == RuleMerge && (n < 2 || n > maxRuleNames) || r.Kind != RuleMerge && n != 1 {
		return sallyport.Errorf(sallyport.Invalid, "a merge names 2 to %d templates, each other kind one", maxRuleNames)
	}
	if len(t.rules) >= maxRules {
		return sallyport.Errorf(sallyport.Limited, "%d rules for one API are the most", maxRules)
	}
	before, _ := last(r.Templates[0])
	for i, template := range r.Templates {
		segs, ok := split(template, nil)
		if !ok || len(segs) == 0 || !strings.HasPrefix(template, "/") || strings.ContainsAny(template, "?#") || printable(template) != template {
			return sallyport.Errorf(sallyport.Invalid, "template %d is no path", i+1)
		}
		parent, seg := last(template)
		if anonymous(parent) != anonymous(before) {
			return sallyport.Errorf(sallyport.Invalid, "templates that are merged differ in their last segment only; name the segment's own place, without what follows it")
		}
		if (r.Kind == RuleMerge || r.Kind == RuleLiteral) && seg[0] == '{' {
			return sallyport.Errorf(sallyport.Invalid, "%s is about values, not about a parameter", r.Kind)
		}
		if n := t.at(template); n != nil && n.declared && (r.Kind != RuleLiteral) {
			return sallyport.Errorf(sallyport.Conflict, "the specification declares template %d", i+1)
		}
	}
	return nil
}

// AddRule puts r in force and applies it to what was seen: operations that it
// folds are one from now on, here and in the inventory. ID and At are set. The
// error is Invalid, Conflict or Limited when the rule cannot be.
func (d *Discovery) AddRule(ctx context.Context, r Rule) (Rule, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.trees[r.API]
	if t == nil {
		return Rule{}, sallyport.Errorf(sallyport.NotFound, "nothing was learned of an API of that name")
	}
	if err := t.check(&r); err != nil {
		return Rule{}, err
	}
	r.ID, r.At = strings.ToLower(rand.Text()), time.Now().UTC().Truncate(time.Microsecond)
	r.UndoneBy, r.Undone, r.Moved = "", time.Time{}, nil
	if err := d.write(ctx, &r); err != nil {
		return Rule{}, err
	}
	t.rules = append(t.rules, &r)
	t.heed()
	var merges []sallyport.Sighting
	parent, _ := last(r.Templates[0])
	if n := t.at(parent); n != nil {
		r.Moved, merges = t.enforce(n, r.At)
	}
	if err := d.settle(ctx, t, &r, merges); err != nil {
		return Rule{}, err
	}
	return r, nil
}

// UndoRule takes a rule back: what it had folded stands apart again, with the
// counts of then. What was learned of bodies stays with the parameter.
func (d *Discovery) UndoRule(ctx context.Context, api, id, by string) (Rule, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.trees[api]
	if t == nil {
		return Rule{}, sallyport.Errorf(sallyport.NotFound, "there is no such rule")
	}
	i := slices.IndexFunc(t.rules, func(r *Rule) bool { return r.ID == id })
	if i < 0 {
		return Rule{}, sallyport.Errorf(sallyport.NotFound, "there is no such rule")
	}
	r := t.rules[i]
	if !r.Undone.IsZero() {
		return Rule{}, sallyport.Errorf(sallyport.Conflict, "the rule was taken back already")
	}
	own := *r
	own.UndoneBy, own.Undone = by, time.Now().UTC().Truncate(time.Microsecond)
	if err := d.write(ctx, &own); err != nil {
		return Rule{}, err
	}
	*r = own
	t.heed()
	t.restore(r.Moved)
	return *r, d.settle(ctx, t, r, nil)
}

// settle stores what a rule has changed and tells the inventory. While there
// are exchanges whose place is not stored yet the tree goes with them.
func (d *Discovery) settle(ctx context.Context, t *tree, r *Rule, merges []sallyport.Sighting) error {
	for _, m := range merges {
		t.relearn(m.Method, m.Template, m.Replaces)
	}
	if d.store == nil {
		return nil
	}
	if len(r.Moved) > 0 && r.Undone.IsZero() {
		if err := d.write(ctx, r); err != nil {
			return err
		}
	}
	if d.kept || !d.loaded {
		tx, err := d.store.DB().BeginTx(ctx, nil)
		if err != nil {
			return fmt.Errorf("begin: %w", err)
		}
		defer tx.Rollback()
		if err := t.save(ctx, tx, true); err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return fmt.Errorf("commit templates: %w", err)
		}
		t.saved(true)
	}
	for chunk := range slices.Chunk(merges, 200) {
		data, err := sallyport.Event{Sightings: chunk}.MarshalBinary()
		if err != nil {
			return fmt.Errorf("encode sightings: %w", err)
		}
		if _, err := d.store.Stream().Publish(ctx, sallyport.SubjectSighting, "", data); err != nil {
			return fmt.Errorf("publish sightings: %w", err)
		}
	}
	return nil
}

func (d *Discovery) write(ctx context.Context, r *Rule) error {
	if d.store == nil {
		return nil
	}
	data, err := cbor.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode rule: %w", err)
	}
	row := &ruleRow{ID: r.ID, API: r.API, At: micro(r.At), Data: data}
	if _, err := d.store.DB().NewInsert().Model(row).On("CONFLICT (id) DO UPDATE").Set("data = EXCLUDED.data").Exec(ctx); err != nil {
		return fmt.Errorf("keep rule: %w", err)
	}
	return nil
}

func (d *Discovery) loadRules(ctx context.Context, tree func(api string) *tree) error {
	var rows []ruleRow
	if err := d.store.Reader().NewSelect().Model(&rows).OrderExpr("at, id").Scan(ctx); err != nil {
		return fmt.Errorf("load rules: %w", err)
	}
	touched := map[string]bool{}
	for _, row := range rows {
		r := &Rule{}
		if err := cbor.Unmarshal(row.Data, r); err != nil {
			return fmt.Errorf("load rule %s: %w", row.ID, err)
		}
		tree(row.API).rules = append(tree(row.API).rules, r)
		touched[row.API] = true
	}
	for api := range touched {
		t := tree(api)
		t.heed()
		for _, r := range t.rules {
			// A kill between rule and tree leaves the old templates: they are folded now.
			if parent, _ := last(r.Templates[0]); r.Undone.IsZero() {
				if n := t.at(parent); n != nil {
					_, merges := t.enforce(n, r.At)
					t.pending = append(t.pending, merges...)
				}
			}
		}
	}
	return nil
}

// Rules lists what people have said of api, newest first, also what was taken back.
func (d *Discovery) Rules(api string) []Rule {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.trees[api]
	if t == nil {
		return nil
	}
	out := make([]Rule, 0, len(t.rules))
	for _, r := range t.rules {
		out = append(out, *r)
	}
	slices.Reverse(out)
	return out
}

// A Matched is a path read by a template. Fill writes the path again.
type Matched struct {
	Template   string
	Reasons    []string
	Parameters []Argument // in order
	Methods    []string   // seen there
}

// An Argument is one parameter's value, unescaped.
type Argument struct{ Name, Value string }

// Match says under which template path stands; false when under none.
func (d *Discovery) Match(api, path string) (Matched, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.trees[api]
	segs, ok := split(path, nil)
	if t == nil || !ok {
		return Matched{}, false
	}
	n := t.find(segs, true)
	if n == nil {
		return Matched{}, false
	}
	var m Matched
	m.Template, m.Reasons = t.named(n)
	m.Reasons = slices.Clone(m.Reasons)
	names, _ := split(m.Template, nil)
	for i, name := range names {
		if name[0] != '{' || n == nil {
			continue
		}
		value, err := url.PathUnescape(segs[i])
		if err != nil {
			value = segs[i]
		}
		m.Parameters = append(m.Parameters, Argument{strings.Trim(name, "{}"), value})
	}
	for method := range n.methods {
		m.Methods = append(m.Methods, method)
	}
	slices.SortFunc(m.Methods, cmp.Compare)
	return m, true
}

// Fill writes the path that m was read from.
func (m Matched) Fill() string {
	segs, _ := split(m.Template, nil)
	var b strings.Builder
	k := 0
	for _, s := range segs {
		b.WriteByte('/')
		if s[0] == '{' && k < len(m.Parameters) {
			s = url.PathEscape(m.Parameters[k].Value)
			k++
		}
		b.WriteString(s)
	}
	if b.Len() == 0 {
		return "/"
	}
	return b.String()
}

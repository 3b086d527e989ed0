package discovery

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"sallyport.dev"
)

// A node is one place in the tree of an API's paths. Its children are literals
// by their segment, and one argument that stands for all folded values.
type node struct {
	up       *node
	seg      string // literal, or the argument's name without braces
	arg      bool
	why      string           // arg: the reason of the first fold
	literal  map[string]*node // may be nil
	value    *node            // the argument child
	methods  map[string]*leaf // what answers here
	declared bool             // part of a declared template: never folded away

	epoch  uint64 // of the tree when text and because were written
	text   string
	causes []string
}

// A leaf is one method at a node.
type leaf struct {
	count    uint64
	answered bool // by the upstream, other than with 401, 403, 404, 405, 501 or 5xx
	success  bool // with 2xx or 3xx
	declared bool
	first    time.Time
	last     time.Time
	examples []string
	object   []uint32 // hashes of the property names of the answer
	element  []uint32 // of the elements of the list in the answer
	stored   string   // template under which the table has it, "" = it has not
	dirty    bool     // evidence changed
}

// A tree is all that is known of one API's paths. It is not safe for concurrent use.
type tree struct {
	api        string
	o          *Options
	root       *node
	leaves     int
	candidates map[string]*candidate // by method and template
	order      []string              // candidates, oldest first
	slugs      map[string][]*node    // literals of several words, where they stand
	values     map[uint64]struct{}   // slugs that were folded somewhere
	ring       []uint64
	newValues  bool
	overflow   uint64
	refolds    uint64
	gone       []string // method and template of rows that are no longer
	epoch      uint64   // rises when templates change
	stale      bool     // evidence changed since it was stored
	touched    map[*leaf]*node
	known      map[string]bool      // declared templates
	fresh      []string             // of them, those not stored yet
	lessons    map[string]*lesson   // by method and template
	taught     bool                 // there is news among them that is not stored
	forgotten  []string             // lessons that stand under another template now
	rules      []*Rule              // of people, oldest first
	said       map[string]*saying   // what they say, by place
	pending    []sallyport.Sighting // merges that nobody was told of yet
}

// A candidate is a template that was only ever refused or not found.
type candidate struct {
	method, template string
	reasons          []string
	path             string
	count            uint64
	first, last      time.Time
	stored, dirty    bool
}

func newTree(api string, o *Options) *tree {
	return &tree{api: api, o: o, root: &node{}, candidates: map[string]*candidate{}, slugs: map[string][]*node{}, values: map[uint64]struct{}{}, touched: map[*leaf]*node{}, known: map[string]bool{}, lessons: map[string]*lesson{}, epoch: 1}
}

const (
	maxSegments = 32
	maxPath     = 4096
	maxValues   = 2048
	maxNames    = 48
)

// split parts a path, without empty segments.
func split(path string, into []string) ([]string, bool) {
	if len(path) > maxPath {
		return nil, false
	}
	into = into[:0]
	for len(path) > 0 {
		if path[0] == '/' {
			path = path[1:]
			continue
		}
		i := strings.IndexByte(path, '/')
		if i < 0 {
			i = len(path)
		}
		if len(into) == maxSegments {
			return nil, false
		}
		into = append(into, path[:i])
		path = path[i:]
	}
	return into, true
}

// template writes the path of n with its arguments in braces.
func (n *node) template() string {
	var at [maxSegments + 1]*node
	k := 0
	for m := n; m.up != nil && k < len(at); m = m.up {
		at[k] = m
		k++
	}
	if k == 0 {
		return "/"
	}
	var b strings.Builder
	used := map[string]int{}
	for k--; k >= 0; k-- {
		b.WriteByte('/')
		if !at[k].arg {
			b.WriteString(at[k].seg)
			continue
		}
		name := at[k].seg
		used[name]++
		b.WriteByte('{')
		b.WriteString(name)
		if c := used[name]; c > 1 {
			b.WriteString(strconv.Itoa(c))
		}
		b.WriteByte('}')
	}
	return b.String()
}

// reasons says why each argument on the way to n was folded.
func (n *node) reasons() []string {
	var out []string
	for m := n; m.up != nil; m = m.up {
		if m.arg {
			out = append(out, "{"+m.seg+"}: "+m.why)
		}
	}
	slices.Reverse(out)
	return out
}

func (t *tree) child(n *node, seg string) *node {
	seg = strings.Clone(seg) // the strings of an exchange share its bytes
	c := &node{up: n, seg: seg}
	if n.literal == nil {
		n.literal = map[string]*node{}
	}
	n.literal[seg] = c
	if at := t.slugs[seg]; strings.Count(seg, "-") >= 2 && len(at) < 8 && len(t.slugs) < t.o.Templates {
		t.slugs[seg] = append(at, c)
	}
	return c
}

// argument is n's argument child, made when missing.
func (n *node) argument(why string) *node {
	if n.value == nil {
		before := n.seg
		if n.arg {
			before = strings.TrimSuffix(n.seg, "Id")
		}
		n.value = &node{up: n, seg: argument(before), arg: true, why: why}
	}
	return n.value
}

// decide says whether seg under n is a value by its form alone.
func (n *node) decide(seg string) (form, bool) {
	f := formOf(seg)
	switch {
	case seg[0] == '{':
		return formSpecial, true
	case f == formInteger && n.up == nil && len(seg) <= 2, (f == formNumber || f == formDate) && n.front():
		return formVersion, false // a version in front: /2/tweets, /1.1/users, /admin/api/2024-01
	case f == formNumber && !n.arg:
		return f, true
	}
	return f, f.decisive()
}

// hash is FNV-1a: the same in each process, so that verdicts survive a restart.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

func (t *tree) remember(seg string) {
	if f := formOf(seg); f.decisive() {
		return
	}
	h := hash(seg)
	if _, ok := t.values[h]; ok {
		return
	}
	if len(t.ring) >= maxValues {
		delete(t.values, t.ring[0])
		t.ring = t.ring[1:]
	}
	t.values[h] = struct{}{}
	t.ring = append(t.ring, h)
	t.newValues = true
}

// find follows segs through what is known. With lenient, an unknown literal may
// stand for the argument beside it.
func (t *tree) find(segs []string, lenient bool) *node {
	n := t.root
	for _, s := range segs {
		if c := n.literal[s]; c != nil {
			n = c
			continue
		}
		if n.value == nil {
			return nil
		}
		if value, literal, _ := t.says(n, s); literal {
			return nil
		} else if value {
			n = n.value
			continue
		}
		if _, ok := n.decide(s); !ok && !lenient {
			if _, known := t.values[hash(s)]; !known {
				return nil
			}
		}
		n = n.value
	}
	return n
}

// declare takes a template of a specification as known: its arguments are
// arguments here too, and its literals are never folded.
func (t *tree) declare(template string) {
	segs, ok := split(template, nil)
	if !ok || t.known[template] || len(t.known) >= 4*t.o.Templates {
		return
	}
	template = strings.Clone(template)
	t.known[template] = true
	n := t.root
	for _, s := range segs {
		var c *node
		if s[0] == '{' && s[len(s)-1] == '}' {
			if c = n.value; c == nil {
				c = n.argument("the specification has a parameter here")
				c.seg = strings.Clone(s[1 : len(s)-1])
			}
		} else if c = n.literal[s]; c == nil {
			c = t.child(n, s)
		}
		c.declared = true
		n = c
	}
}

// outcome of one exchange for its path.
type outcome struct {
	node    *node
	cand    *candidate
	swallow []string             // templates of the same method that the node's now replaces
	merges  []sallyport.Sighting // other templates that were merged on the way: notices that count nothing
}

// answered reports whether the upstream's answer shows that the operation exists.
func answered(x *exchange) bool {
	s := x.Origin
	if s == 0 && !x.Decision.Refused() {
		s = x.Status
	}
	switch {
	case s == 0, s == 401, s == 403, s == 404, s == 405, s == 410, s == 501, s >= 500:
		return false
	}
	return true
}

// see folds one exchange without a declared template.
func (t *tree) see(x *exchange, segs []string) (outcome, bool) {
	if !answered(x) {
		return t.probe(x, segs)
	}
	if t.leaves >= t.o.Templates {
		// Full: what is known goes on counting, and nothing is made, not even nodes.
		if n := t.find(segs, false); n == nil || n.methods[x.Method] == nil {
			t.overflow++
			return outcome{}, false
		}
	}
	n := t.root
	fresh := false
	var collapsed []sallyport.Sighting
	for _, s := range segs {
		c := n.literal[s]
		if c == nil {
			f, value := n.decide(s)
			why := "every value has the form of " + article(f.String())
			said, kept, because := t.says(n, s)
			if said {
				value, why = true, because
			} else if kept {
				value = false
			} else if !value && n.value != nil {
				if n.value.declared && !actions[s] {
					value, why = true, "the specification has a parameter here"
				} else if _, known := t.values[hash(s)]; known {
					value, why = true, "the same value stands elsewhere for a parameter"
				}
			}
			switch {
			case value:
				fresh = fresh || n.value == nil
				c = n.argument(why)
			case len(n.literal) >= t.o.Children && !n.declared && !kept:
				fresh = true
				collapsed = append(collapsed, t.collapse(n, x)...)
				c = n.argument("more than " + strconv.Itoa(t.o.Children) + " different values")
				t.remember(s)
			default:
				c = t.child(n, s)
				fresh = true
			}
		}
		n = c
	}
	l := n.methods[x.Method]
	if l == nil {
		l = n.leaf(x.Method)
		t.leaves++
		fresh = true
		l.first = x.Time
		l.dirty = true
	}
	if l.count == 0 && l.first.IsZero() {
		l.first = x.Time
	}
	l.count++
	t.touched[l] = n
	if x.Time.After(l.last) {
		l.last = x.Time
	}
	if !l.answered {
		l.answered, l.dirty, fresh = true, true, true
	}
	status := x.Origin
	if status == 0 {
		status = x.Status
	}
	if ok := status >= 200 && status < 400; ok && !l.success {
		l.success, l.dirty, fresh = true, true, true
	}
	if l.learn(x.Shape) {
		fresh = true
	}
	if len(l.examples) < 3 && l.count <= 16 {
		if e := mask(segs); !slices.Contains(l.examples, e) {
			l.examples = append(l.examples, e)
			l.dirty = true
		}
	}
	t.stale = t.stale || l.dirty
	var out outcome
	if fresh {
		t.stale = true
		n, out.merges = t.judge(n, x)
		out.merges = append(collapsed, out.merges...)
	}
	out.node = n
	if fresh {
		mine := n.template()
		for _, m := range out.merges {
			if m.Method == x.Method && m.Template == mine {
				out.swallow = append(out.swallow, m.Replaces...)
			}
		}
		out.merges = slices.DeleteFunc(out.merges, func(m sallyport.Sighting) bool { return m.Method == x.Method && m.Template == mine })
		out.swallow = append(out.swallow, t.promote(n, x.Method)...)
		slices.Sort(out.swallow)
		out.swallow = slices.Compact(out.swallow)
		out.swallow = slices.DeleteFunc(out.swallow, func(s string) bool { return s == mine })
	}
	return out, true
}

func (n *node) leaf(method string) *leaf {
	if n.methods == nil {
		n.methods = map[string]*leaf{}
	}
	l := &leaf{}
	n.methods[strings.Clone(method)] = l
	return l
}

func article(s string) string {
	if strings.IndexByte("aeiou", s[0]) >= 0 && s != "uuid" {
		return "an " + s
	}
	return "a " + s
}

// mask writes a path with each decisive value as its form.
func mask(segs []string) string {
	var b strings.Builder
	for _, s := range segs {
		b.WriteByte('/')
		if f := formOf(s); f.decisive() && f != formMasked {
			b.WriteString("‹" + f.String() + "›")
		} else {
			b.WriteString(s)
		}
	}
	if b.Len() == 0 {
		return "/"
	}
	return b.String()
}

// learn takes the property names of the answer; it reports whether they are new.
func (l *leaf) learn(s *sallyport.Shape) bool {
	if s == nil || len(s.Response) == 0 || len(l.object)+len(l.element) > 0 {
		return false
	}
	var object []uint32
	lists := map[string][]uint32{}
	for _, p := range s.Response {
		if p.Pointer == "" {
			continue
		}
		last := strings.LastIndexByte(p.Pointer, '/')
		parent, name := p.Pointer[:last], uint32(hash(p.Pointer[last+1:]))
		switch {
		case p.Pointer[last+1:] == "*":
		case parent == "":
			if len(object) < maxNames {
				object = append(object, name)
			}
		case strings.HasSuffix(parent, "/*") && strings.Count(parent, "/") <= 2:
			if len(lists[parent]) < maxNames {
				lists[parent] = append(lists[parent], name)
			}
		}
	}
	var element []uint32
	for _, k := range slices.Sorted(func(yield func(string) bool) {
		for k := range lists {
			if !yield(k) {
				return
			}
		}
	}) {
		if len(lists[k]) > len(element) {
			element = lists[k]
		}
	}
	if len(element) >= 2 && len(object) <= 6 {
		object = nil // the wrapping of a list, which all lists share
	}
	slices.Sort(object)
	slices.Sort(element)
	l.object, l.element = slices.Compact(object), slices.Compact(element)
	l.dirty = true
	return len(object)+len(element) > 0
}

// alike is how much of the smaller of two sets of names stands in the other, 0
// when either has fewer than two.
func alike(a, b []uint32) float64 {
	if len(a) < 2 || len(b) < 2 {
		return 0
	}
	common := 0
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			common++
			i++
			j++
		case a[i] < b[j]:
			i++
		default:
			j++
		}
	}
	return float64(common) / float64(len(a)+len(b)-common)
}

// probe takes an exchange that shows nothing: where it matches something known
// it counts there, otherwise it is a candidate, of which a bounded number is kept.
func (t *tree) probe(x *exchange, segs []string) (outcome, bool) {
	if n := t.find(segs, true); n != nil {
		if l := n.methods[x.Method]; l != nil {
			l.count++
			t.touched[l] = n
			if x.Time.After(l.last) {
				l.last = x.Time
			}
			return outcome{node: n}, true
		}
	}
	// The template of a candidate comes from forms, and from the tree as far as it goes.
	var b strings.Builder
	var reasons []string
	n := t.root
	depth := 0
	used := map[string]int{}
	before := ""
	for _, s := range segs {
		var next *node
		value, f := false, formWord
		if n != nil {
			if next = n.literal[s]; next == nil {
				f, value = n.decide(s)
				if said, kept, _ := t.says(n, s); said || kept {
					value = said
				}
				if value {
					next = n.value
				}
			}
		} else {
			f = formOf(s)
			value = f.decisive() || f == formNumber && depth > 1
		}
		b.WriteByte('/')
		if value {
			name := argument(before)
			if next != nil {
				name = next.seg
			}
			if used[name]++; used[name] > 1 {
				name += strconv.Itoa(used[name])
			}
			b.WriteString("{" + name + "}")
			reasons = append(reasons, "{"+name+"}: the value has the form of "+article(f.String()))
			before = strings.TrimSuffix(name, "Id")
		} else {
			b.WriteString(s)
			before = s
		}
		n = next
		depth++
	}
	template := b.String()
	if template == "" {
		template = "/"
	}
	key := x.Method + " " + template
	c := t.candidates[key]
	if c == nil {
		if len(t.candidates) >= t.o.Candidates || len(template) > 512 || len(x.Method) > 32 {
			t.overflow++
			return outcome{}, false
		}
		c = &candidate{method: strings.Clone(x.Method), template: template, reasons: reasons, path: mask(segs), first: x.Time}
		t.candidates[key] = c
		t.order = append(t.order, key)
	}
	c.count++
	c.last = x.Time
	c.dirty, t.stale = true, true
	return outcome{cand: c}, true
}

// promote takes the candidates that an answered operation covers out of the
// list and gives their templates.
func (t *tree) promote(n *node, method string) []string {
	var swallowed []string
	kept := t.order[:0]
	for _, key := range t.order {
		c := t.candidates[key]
		if c.method == method && n.covers(c.template) {
			swallowed = append(swallowed, c.template)
			if l := n.methods[method]; l != nil {
				l.count += c.count
				if c.first.Before(l.first) {
					l.first = c.first
				}
				l.dirty = true
			}
			delete(t.candidates, key)
			if c.stored {
				t.gone = append(t.gone, key)
			}
			continue
		}
		kept = append(kept, key)
	}
	t.order = kept
	return swallowed
}

// covers reports whether template, segment by segment, is n's or a special case of it.
func (n *node) covers(template string) bool {
	for m := n; ; m = m.up {
		if m.up == nil {
			return template == "" || template == "/" && m == n
		}
		i := strings.LastIndexByte(template, '/')
		if i < 0 {
			return false
		}
		seg := template[i+1:]
		template = template[:i]
		if m.arg {
			continue
		}
		if seg != m.seg {
			return false
		}
	}
}

// sorted gives the literal children in a fixed order.
func (n *node) sorted() []*node {
	out := make([]*node, 0, len(n.literal))
	for _, c := range n.literal {
		out = append(out, c)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].seg < out[j].seg })
	return out
}

// crowd is the number of children beyond which they are no longer all judged
// again at each sighting: each is compared with all others, so that made-up
// paths would cost the square of their number. The one that was seen is always
// judged, and all of them whenever their number has grown by so many.
const crowd = 64

// judge looks again at every place on the way to n, from the top, and folds
// what the evidence now speaks for. It returns the node that n became, and what
// was merged.
func (t *tree) judge(n *node, x *exchange) (*node, []sallyport.Sighting) {
	var merges []sallyport.Sighting
	for round := 0; round < 8; round++ {
		var way [maxSegments + 1]*node
		k := 0
		for m := n; m != nil; m = m.up {
			way[k] = m
			k++
		}
		moved := false
		for k--; k >= 0 && !moved; k-- {
			var among []*node
			switch many := len(way[k].literal); {
			case many <= crowd || many%crowd == 0:
				among = way[k].sorted()
			case k > 0:
				among = []*node{way[k-1]}
			}
			for _, c := range among {
				if c.declared || c.arg {
					continue
				}
				if _, kept, _ := t.says(way[k], c.seg); kept {
					continue
				}
				score, why := t.score(way[k], c)
				if score < foldAt {
					continue
				}
				before := paths(c)
				into := way[k].argument(why)
				t.remember(c.seg)
				delete(way[k].literal, c.seg)
				t.refolds++
				t.epoch++
				n = t.merge(into, c, n)
				merges = append(merges, t.changes(into, before, x)...)
				moved = true
			}
		}
		if !moved {
			break
		}
	}
	return n, merges
}

// A moved leaf, with its template before.
type movedLeaf struct {
	method, template string
	rest             string // below the folded node
}

// paths lists the leaves under c.
func paths(c *node) []movedLeaf {
	var out []movedLeaf
	base := c.template()
	var walk func(*node)
	walk = func(n *node) {
		if len(n.methods) > 0 {
			p := n.template()
			for _, m := range slices.Sorted(keys(n.methods)) {
				out = append(out, movedLeaf{m, p, p[len(base):]})
			}
		}
		for _, k := range n.sorted() {
			walk(k)
		}
		if n.value != nil {
			walk(n.value)
		}
	}
	walk(c)
	return out
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// changes names the new template of each moved leaf.
func (t *tree) changes(into *node, before []movedLeaf, x *exchange) []sallyport.Sighting {
	var out []sallyport.Sighting
	for _, b := range before {
		// The rest of the path is the same but for the numbers of arguments, so it is found by its segments.
		n := into
		for _, s := range strings.Split(strings.TrimPrefix(b.rest, "/"), "/") {
			if s == "" || n == nil {
				continue
			}
			if s[0] == '{' {
				n = n.value
			} else if c := n.literal[s]; c != nil {
				n = c
			} else {
				n = n.value
			}
		}
		if n == nil {
			continue
		}
		s := sallyport.Sighting{ID: x.ID, Time: x.Time, API: t.api, Method: b.method, Template: n.template(), Reasons: n.reasons(), Replaces: []string{b.template}}
		s.Replaces = append(s.Replaces, t.promote(n, b.method)...)
		if s.Template != b.template {
			out = append(out, s)
		}
	}
	return out
}

// named gives n's template and reasons, written once for each state of the tree.
func (t *tree) named(n *node) (string, []string) {
	if n.epoch != t.epoch {
		n.text, n.causes, n.epoch = n.template(), n.reasons(), t.epoch
	}
	return n.text, n.causes
}

// merge moves all of from into to, and follows n if it is moved.
func (t *tree) merge(to, from, n *node) *node {
	if n == from {
		n = to
	}
	to.declared = to.declared || from.declared
	for m, l := range from.methods {
		if l.stored != "" {
			t.gone = append(t.gone, m+" "+l.stored)
		}
		have := to.methods[m]
		if have == nil {
			have = to.leaf(m)
			*have = *l
			have.stored, have.dirty = "", true
			continue
		}
		t.leaves--
		have.count += l.count
		have.answered = have.answered || l.answered
		have.success = have.success || l.success
		if l.first.Before(have.first) && !l.first.IsZero() {
			have.first = l.first
		}
		if l.last.After(have.last) {
			have.last = l.last
		}
		if len(have.object)+len(have.element) == 0 {
			have.object, have.element = l.object, l.element
		}
		for _, e := range l.examples {
			if len(have.examples) < 3 {
				have.examples = append(have.examples, e)
			}
		}
		have.dirty = true
	}
	for _, c := range from.sorted() {
		have := to.literal[c.seg]
		if have == nil {
			c.up = to
			if to.literal == nil {
				to.literal = map[string]*node{}
			}
			to.literal[c.seg] = c
			t.renamed(c)
			continue
		}
		n = t.merge(have, c, n)
	}
	if from.value != nil {
		if to.value == nil {
			from.value.up = to
			to.value = from.value
			if !from.value.declared {
				to.value.seg = argument(strings.TrimSuffix(to.seg, "Id"))
			}
			t.renamed(to.value)
		} else {
			n = t.merge(to.value, from.value, n)
		}
	}
	return n
}

// renamed marks every leaf under n as standing under another template.
func (t *tree) renamed(n *node) {
	for m, l := range n.methods {
		if l.stored != "" {
			t.gone = append(t.gone, m+" "+l.stored)
			l.stored = ""
		}
		l.dirty = true
	}
	for _, c := range n.literal {
		t.renamed(c)
	}
	if n.value != nil {
		t.renamed(n.value)
	}
}

// collapse folds the literal children of n that nothing but their number marks.
func (t *tree) collapse(n *node, x *exchange) []sallyport.Sighting {
	var merges []sallyport.Sighting
	why := fmt.Sprintf("more than %d different values", t.o.Children)
	for _, c := range n.sorted() {
		if c.declared || len(c.literal) > 8 {
			continue
		}
		if s := t.said[n.place()]; s != nil && s.keep[c.seg] {
			continue
		}
		before := paths(c)
		into := n.argument(why)
		t.remember(c.seg)
		delete(n.literal, c.seg)
		t.refolds++
		t.epoch++
		t.merge(into, c, nil)
		merges = append(merges, t.changes(into, before, x)...)
	}
	return merges
}

package schema

import (
	"strconv"
	"unicode/utf8"

	"sallyport.dev/spec/jsondoc"
)

// A run is the memory of one evaluation. It is pooled.
type run struct {
	d         *jsondoc.Doc
	e         *Evaluation
	own       *Evaluation // of Validate, which needs no more
	direction Direction
	dynamic   bool
	report    bool // problems are being collected
	names     bool // undocumented members are being collected
	lenient   bool // members that nothing names are forgiven
	full      bool // enough problems
	spent     bool // the budget is used up

	steps, budget int
	depth         int

	marked  []int32     // strings marked proven by this run
	unknown []int       // undocumented members
	arena   []uint64    // bits of frames
	scope   []*resource // dynamic scope
	table   []int32     // of uniqueItems
	hashes  []uint64

	text, key, one, two []byte
}

// Work that an instance of n values may cause: many times what honest schemas
// need, and the end of alternatives nested in alternatives.
const (
	budgetBase    = 200_000
	budgetPerNode = 400
	maxDepth      = 2_000
)

const noFrame = -1

func (r *run) evaluate(s *Schema, d *jsondoc.Doc, root int, e *Evaluation) bool {
	if len(d.Nodes) <= root {
		return false
	}
	r.d, r.e, r.direction, r.dynamic, r.names = d, e, e.Direction, s.dynamic, e.Names || e.Lenient
	r.lenient = e.Lenient
	r.report, r.full, r.spent, r.steps, r.depth = false, false, false, 0, 0
	r.budget = budgetBase + budgetPerNode*len(d.Nodes)
	r.marked, r.unknown, r.arena, r.scope = r.marked[:0], r.unknown[:0], r.arena[:0], r.scope[:0]
	ok := r.value(s.root.to(), root)
	if ok {
		e.Undocumented = append(e.Undocumented, r.unknown...)
	} else {
		r.unmark(0)
		if e.Max > len(e.Problems) && !r.spent {
			// The way to a verdict is quick and silent; who wants to know why pays a
			// second walk.
			r.report, r.steps, r.arena, r.scope, r.unknown, r.depth = true, 0, r.arena[:0], r.scope[:0], r.unknown[:0], 0
			r.value(s.root.to(), root)
			r.unmark(0)
			e.Undocumented = append(e.Undocumented, r.unknown...)
		}
		if r.spent && e.Max > len(e.Problems) {
			e.Problems = append(e.Problems, Problem{Pointer: d.Pointer(root), Rule: "schema.budget", Detail: "checking the value takes more work than allowed"})
		}
	}
	r.d, r.e = nil, nil
	return ok
}

// fail notes a problem at node i and reports whether to stop.
func (r *run) fail(i int, rule, detail string) bool {
	if !r.report || r.full {
		return true
	}
	if r.lenient && len(r.e.Problems) >= r.e.Max {
		return false // go on: members that nothing names may stand behind it
	}
	r.e.Problems = append(r.e.Problems, Problem{Pointer: r.d.Pointer(i), Rule: rule, Detail: detail})
	r.full = len(r.e.Problems) >= r.e.Max && !r.lenient
	return r.full
}

func (r *run) mark(i int) {
	if n := &r.d.Nodes[i]; !n.Proven {
		n.Proven = true
		r.marked = append(r.marked, int32(i))
	}
}

// unmark takes back the marks set since there were only keep of them.
func (r *run) unmark(keep int) {
	for _, i := range r.marked[keep:] {
		r.d.Nodes[i].Proven = false
	}
	r.marked = r.marked[:keep]
}

func (r *run) textOf(i int) []byte {
	n := &r.d.Nodes[i]
	if !n.Escaped {
		return r.d.Src[n.Start:n.End]
	}
	r.text = grow(r.text, r.d, i)
	return r.d.Text(i, r.text)
}

func (r *run) keyOf(scratch *[]byte, d *jsondoc.Doc, i int) []byte {
	n := &d.Nodes[i]
	if !n.KeyEscaped {
		return d.Src[n.KeyStart:n.KeyEnd]
	}
	if cap(*scratch) < int(n.KeyEnd-n.KeyStart) {
		*scratch = make([]byte, 0, n.KeyEnd-n.KeyStart)
	}
	return d.Key(i, *scratch)
}

// quietly evaluates a branch that may fail without harm: nothing is reported,
// and of a branch that failed nothing stays.
func (r *run) quietly(n *node, i, frame int) bool {
	report, marks, unknown := r.report, len(r.marked), len(r.unknown)
	r.report = false
	save := -1
	words := 0
	if frame != noFrame {
		words = (int(r.d.Nodes[i].Count) + 63) / 64
		save = len(r.arena)
		r.arena = append(r.arena, r.arena[frame:frame+words]...)
	}
	ok := r.eval(n, i, frame)
	if !ok {
		r.unmark(marks)
		r.unknown = r.unknown[:unknown]
		if save >= 0 {
			copy(r.arena[frame:frame+words], r.arena[save:save+words])
		}
	}
	if save >= 0 {
		r.arena = r.arena[:save]
	}
	r.report = report
	return ok
}

// value evaluates a schema on a value of its own place: the root, a property,
// an item.
func (r *run) value(n *node, i int) bool {
	if r.names && n.names != nil && r.d.Nodes[i].Kind == jsondoc.Object && (r.lenient || n.object == nil || !n.object.simple) {
		for c := i + 1; c < int(r.d.Nodes[i].Next); c = int(r.d.Nodes[c].Next) {
			if n.names.table.find(r.d.Nodes[c].Print, r.keyOf(&r.key, r.d, c)) == nil {
				r.unknown = append(r.unknown, c)
				r.d.Nodes[c].Seat |= jsondoc.Unnamed
			}
		}
	}
	return r.eval(n, i, noFrame)
}

// eval evaluates one schema object. frame is where in the arena the children
// of i that were evaluated are noted, for unevaluated keywords further out.
func (r *run) eval(n *node, i, frame int) bool {
	if r.steps++; r.steps > r.budget {
		r.spent = true
		return false
	}
	x := &r.d.Nodes[i]
	if n.types != 0 && n.types&kindMask[x.Kind] == 0 {
		if !(x.Kind == jsondoc.Number && n.types&isInteger != 0 && (x.Integer || r.integral(i))) {
			r.fail(i, "schema.type", n.types.String()+" wanted")
			return false
		}
	}
	if n.plain {
		switch x.Kind {
		case jsondoc.String:
			return n.text == nil || r.stringRules(n.text, i)
		case jsondoc.Number:
			return n.number == nil || r.numberRules(n.number, i)
		case jsondoc.Object:
			return n.object == nil || r.objectRules(n.object, i, frame)
		case jsondoc.Array:
			return n.array == nil || r.arrayRules(n.array, i, frame)
		}
		return true
	}
	return r.whole(n, i, frame)
}

func (r *run) integral(i int) bool {
	x := readNumber(r.d.Raw(i))
	return x.integral()
}

// whole evaluates a schema object that has more than the plain keywords.
func (r *run) whole(n *node, i, frame int) bool {
	x := &r.d.Nodes[i]
	if n.never {
		r.fail(i, "schema.false", "no value may stand here")
		return false
	}
	if r.depth++; r.depth > maxDepth {
		r.spent = true
		r.depth--
		return false
	}
	arena, scope := len(r.arena), len(r.scope)
	if r.dynamic && (scope == 0 || r.scope[scope-1] != n.res) {
		r.scope = append(r.scope, n.res)
	}
	ok := false
	if x.Kind == jsondoc.Object && n.leftProperties != nil || x.Kind == jsondoc.Array && n.leftItems != nil {
		// A frame of its own: what cousins evaluated does not count here.
		words := (int(x.Count) + 63) / 64
		for range words {
			r.arena = append(r.arena, 0)
		}
		ok = r.keywords(n, i, arena) && r.left(n, i, arena)
		if ok && frame != noFrame {
			for w := range words {
				r.arena[frame+w] = ^uint64(0)
			}
		}
	} else {
		ok = r.keywords(n, i, frame)
	}
	r.arena, r.scope = r.arena[:arena], r.scope[:scope]
	r.depth--
	return ok && !r.spent
}

// keywords evaluates all but the unevaluated ones.
func (r *run) keywords(n *node, i, frame int) bool {
	x := &r.d.Nodes[i]
	ok := true
	for _, e := range [...]*enum{n.enum, n.constant} {
		if e == nil {
			continue
		}
		if !e.has(r, i) {
			ok = false
			rule, detail := "schema.enum", "value is none of those listed"
			if e == n.constant {
				rule, detail = "schema.const", "value is not the one demanded"
			}
			if r.fail(i, rule, detail) {
				return false
			}
		} else if x.Kind == jsondoc.String {
			r.mark(i)
		}
	}
	held := true
	switch x.Kind {
	case jsondoc.String:
		held = n.text == nil || r.stringRules(n.text, i)
	case jsondoc.Number:
		held = n.number == nil || r.numberRules(n.number, i)
	case jsondoc.Object:
		held = n.object == nil || r.objectRules(n.object, i, frame)
	case jsondoc.Array:
		held = n.array == nil || r.arrayRules(n.array, i, frame)
	}
	if !held {
		if ok = false; !r.report || r.full {
			return false
		}
	}
	if n.nullable && x.Kind == jsondoc.Null {
		return ok // OpenAPI 3.0: what follows speaks of the value that is not null
	}
	if n.ref != nil && !r.eval(n.ref, i, frame) {
		if ok = false; !r.report || r.full {
			return false
		}
	}
	if n.dynamic != nil && !r.eval(r.target(n.dynamic), i, frame) {
		if ok = false; !r.report || r.full {
			return false
		}
	}
	for _, s := range n.allOf {
		if !r.eval(s, i, frame) {
			if ok = false; !r.report || r.full {
				return false
			}
		}
	}
	if !r.alternatives(n, i, frame) {
		if ok = false; !r.report || r.full {
			return false
		}
	}
	if n.not != nil {
		marks := len(r.marked)
		if r.quietly(n.not, i, noFrame) {
			r.unmark(marks)
			if ok = false; r.fail(i, "schema.not", "value is what is excluded") {
				return false
			}
		}
	}
	if n.when != nil {
		next := n.otherwise
		if r.quietly(n.when, i, frame) {
			next = n.then
		}
		if next != nil && !r.eval(next, i, frame) {
			if ok = false; !r.report || r.full {
				return false
			}
		}
	}
	return ok
}

// target follows a $dynamicRef: the outermost resource in scope that has the
// anchor answers.
func (r *run) target(d *dynamicRef) *node {
	for _, res := range r.scope {
		if n := res.nodes[d.anchor]; n != nil {
			return n
		}
	}
	return d.static
}

func (r *run) alternatives(n *node, i, frame int) bool {
	if n.anyOf == nil && n.oneOf == nil {
		return true
	}
	if d := n.discriminator; d != nil && r.d.Nodes[i].Kind == jsondoc.Object {
		for c := i + 1; c < int(r.d.Nodes[i].Next); c = int(r.d.Nodes[c].Next) {
			if r.d.Nodes[c].Print != d.print || string(r.keyOf(&r.key, r.d, c)) != d.property {
				continue
			}
			if r.d.Nodes[c].Kind != jsondoc.String {
				break
			}
			chosen := d.nodes[string(r.textOf(c))]
			if chosen == nil {
				r.fail(c, "schema.discriminator", "value names none of the alternatives")
				return false
			}
			if !r.eval(chosen, i, frame) {
				return false
			}
			r.mark(c)
			return true
		}
	}
	if n.anyOf != nil {
		held := false
		for _, s := range n.anyOf {
			if r.quietly(s, i, frame) {
				held = true
				if frame == noFrame && !r.lenient {
					break
				}
			}
		}
		if !held {
			r.none(n.anyOf, i, "schema.anyOf", "value fits none of the alternatives")
			return false
		}
	}
	if n.oneOf != nil {
		held := 0
		for _, s := range n.oneOf {
			if r.quietly(s, i, frame) {
				if held++; held > 1 {
					r.fail(i, "schema.oneOf", "value fits more than one alternative")
					return false
				}
			}
		}
		if held == 0 {
			r.none(n.oneOf, i, "schema.oneOf", "value fits none of the alternatives")
			return false
		}
	}
	return true
}

// none reports that no alternative holds; when only one admits the value's
// type at all, its own problems say more.
func (r *run) none(list []*node, i int, rule, detail string) {
	if !r.report {
		return
	}
	var only *node
	for _, s := range list {
		if s.types == 0 || s.types&kindMask[r.d.Nodes[i].Kind] != 0 {
			if only != nil {
				r.fail(i, rule, detail)
				return
			}
			only = s
		}
	}
	if only == nil || r.eval(only, i, noFrame) {
		r.fail(i, rule, detail)
	}
}

// left applies unevaluatedProperties or unevaluatedItems.
func (r *run) left(n *node, i, frame int) bool {
	s, rule := n.leftItems, "schema.unevaluatedItems"
	if r.d.Nodes[i].Kind == jsondoc.Object {
		s, rule = n.leftProperties, "schema.unevaluatedProperties"
	}
	k := 0
	for c := i + 1; c < int(r.d.Nodes[i].Next); c = int(r.d.Nodes[c].Next) {
		if r.arena[frame+k>>6]&(1<<(k&63)) == 0 {
			if s.never {
				if r.lenient && r.d.Nodes[c].Seat&jsondoc.Unnamed != 0 {
					k++
					continue
				}
				r.fail(c, rule, "nothing names this value")
				return false
			}
			if r.lenient {
				r.d.Nodes[c].Seat |= jsondoc.Admitted
			}
			if !r.value(s, c) {
				return false
			}
		}
		k++
	}
	return true
}

func (r *run) note(frame, k int) {
	if frame != noFrame {
		r.arena[frame+k>>6] |= 1 << (k & 63)
	}
}

func (r *run) numberRules(n *numberRules, i int) bool {
	raw, integer := r.d.Raw(i), r.d.Nodes[i].Integer
	ok := true
	check := func(held bool, rule string, b *bound, what string) bool {
		if held {
			return false
		}
		ok = false
		return !r.report || r.fail(i, rule, what+b.text)
	}
	if n.min != nil && check(n.min.against(raw, integer) >= 0, "schema.minimum", n.min, "at least ") ||
		n.max != nil && check(n.max.against(raw, integer) <= 0, "schema.maximum", n.max, "at most ") ||
		n.above != nil && check(n.above.against(raw, integer) > 0, "schema.exclusiveMinimum", n.above, "more than ") ||
		n.below != nil && check(n.below.against(raw, integer) < 0, "schema.exclusiveMaximum", n.below, "less than ") ||
		n.formatMin != nil && check(n.formatMin.against(raw, integer) >= 0, "schema.format", n.formatMin, "at least ") ||
		n.formatMax != nil && check(n.formatMax.against(raw, integer) <= 0, "schema.format", n.formatMax, "at most ") {
		return false
	}
	if n.multiple != nil && !n.multiple.divides(raw, integer) {
		ok = false
		r.fail(i, "schema.multipleOf", "value is no multiple of the step demanded")
	}
	return ok
}

func (r *run) stringRules(n *stringRules, i int) bool {
	b := r.textOf(i)
	ok := true
	if n.most >= 0 && len(b) > n.most || n.least > 0 && len(b) < 4*n.least {
		// Only now may characters and bytes differ in the verdict.
		count := utf8.RuneCount(b)
		if n.most >= 0 && count > n.most {
			if ok = false; !r.report || r.fail(i, "schema.maxLength", "at most "+strconv.Itoa(n.most)+" characters") {
				return false
			}
		}
		if count < n.least {
			if ok = false; !r.report || r.fail(i, "schema.minLength", "at least "+strconv.Itoa(n.least)+" characters") {
				return false
			}
		}
	}
	proof := n.proof
	if n.pattern != nil && !r.matches(n.pattern, b) {
		proof = false
		if ok = false; r.fail(i, "schema.pattern", "value does not match the pattern") {
			return false
		}
	}
	if n.format != nil {
		if n.format.check(b) {
			proof = proof || n.format.proof
		} else if n.assert {
			if ok = false; !r.report || r.fail(i, "schema.format", "value is no "+n.formatName) {
				return false
			}
		}
	}
	if ok && proof {
		r.mark(i)
	}
	return ok
}

// matches charges the engines that are not table-driven for their work, so that
// many values cannot add up to what one may not take.
func (r *run) matches(p *pattern, b []byte) bool {
	switch {
	case p.re != nil:
		r.steps += len(b) / 8
	case p.slow != nil:
		if r.steps > r.budget {
			return false
		}
		ok, steps := p.slow.match(b)
		r.steps += steps / slowStep
		return ok
	}
	return p.match(b)
}

// slowStep is how many steps of the backtracker count as one: they are the
// smaller ones.
const slowStep = 8

func (r *run) objectRules(n *objectRules, i, frame int) bool {
	if n.tracked <= 64 {
		return r.members(n, i, frame, noFrame)
	}
	many := len(r.arena)
	for range (n.tracked + 63) / 64 {
		r.arena = append(r.arena, 0)
	}
	ok := r.members(n, i, frame, many)
	r.arena = r.arena[:many]
	return ok
}

// members evaluates an object. many is where in the arena the presence of
// properties is noted, when there are more than a word has bits.
func (r *run) members(n *objectRules, i, frame, many int) bool {
	d := r.d
	x := &d.Nodes[i]
	ok := true
	if int(x.Count) < n.least {
		if ok = false; !r.report || r.fail(i, "schema.minProperties", "at least "+strconv.Itoa(n.least)+" properties") {
			return false
		}
	}
	if n.most >= 0 && int(x.Count) > n.most {
		if ok = false; !r.report || r.fail(i, "schema.maxProperties", "at most "+strconv.Itoa(n.most)+" properties") {
			return false
		}
	}
	var seen uint64
	end := int(x.Next)
	k := 0
	for c := i + 1; c < end; c, k = int(d.Nodes[c].Next), k+1 {
		var key []byte
		if m := &d.Nodes[c]; !m.KeyEscaped {
			key = d.Src[m.KeyStart:m.KeyEnd]
		} else {
			key = r.keyOf(&r.key, d, c)
		}
		known := false
		if e := n.table.find(d.Nodes[c].Print, key); e != nil {
			if e.bit >= 0 {
				if many == noFrame {
					seen |= 1 << e.bit
				} else {
					r.arena[many+e.bit>>6] |= 1 << (e.bit & 63)
				}
			}
			if e.declared {
				known = true
				d.Nodes[c].Known = true // true of the key whatever becomes of the value
				if e.readOnly && r.direction == Request || e.writeOnly && r.direction == Response {
					rule, detail := "schema.readOnly", "property is read only"
					if r.direction == Response {
						rule, detail = "schema.writeOnly", "property is write only"
					}
					if ok = false; r.fail(c, rule, detail) {
						return false
					}
				}
				if !r.value(e.n, c) {
					if ok = false; !r.report || r.full {
						return false
					}
				}
			}
		}
		for p := range n.patterns {
			if n.patterns[p].p == nil || !r.matches(n.patterns[p].p, key) {
				continue
			}
			known = true
			d.Nodes[c].Seat |= jsondoc.Admitted
			if !r.value(n.patterns[p].n, c) {
				if ok = false; !r.report || r.full {
					return false
				}
			}
			if d.Nodes[c].KeyEscaped {
				key = r.keyOf(&r.key, d, c)
			}
		}
		switch {
		case known:
			r.note(frame, k)
		case n.additional != nil:
			if n.additional.never {
				if r.lenient && d.Nodes[c].Seat&jsondoc.Unnamed != 0 {
					break
				}
				if ok = false; r.fail(c, "schema.additionalProperties", "property is not declared") {
					return false
				}
			} else {
				d.Nodes[c].Seat |= jsondoc.Admitted
				if !r.value(n.additional, c) {
					if ok = false; !r.report || r.full {
						return false
					}
				}
			}
			r.note(frame, k)
		case n.simple && r.names && !r.lenient:
			r.unknown = append(r.unknown, c)
		}
		if n.names != nil && !(r.lenient && d.Nodes[c].Seat&jsondoc.Unnamed != 0) && !r.name(n.names, c) {
			if ok = false; r.fail(c, "schema.propertyNames", "name of the property is not admitted") {
				return false
			}
		}
	}
	if many == noFrame {
		if missing := n.wanted[r.direction] &^ seen; missing != 0 {
			ok = false
			if !r.report {
				return false
			}
			for _, e := range n.required[r.direction] {
				if missing&(1<<e.bit) != 0 && r.fail(i, "schema.required", "property "+e.key+" is missing") {
					return false
				}
			}
		}
	} else {
		for _, e := range n.required[r.direction] {
			if r.arena[many+e.bit>>6]&(1<<(e.bit&63)) == 0 {
				if ok = false; !r.report || r.fail(i, "schema.required", "property "+e.key+" is missing") {
					return false
				}
			}
		}
	}
	has := func(e *entry) bool {
		if many == noFrame {
			return seen&(1<<e.bit) != 0
		}
		return r.arena[many+e.bit>>6]&(1<<(e.bit&63)) != 0
	}
	for _, e := range n.dependent {
		if !has(e) {
			continue
		}
		for _, x := range e.needed {
			if !has(x) {
				if ok = false; !r.report || r.fail(i, "schema.dependentRequired", "property "+x.key+" is missing beside "+e.key) {
					return false
				}
			}
		}
		if e.then != nil && !r.eval(e.then, i, frame) {
			if ok = false; !r.report || r.full {
				return false
			}
		}
	}
	return ok
}

// name evaluates a schema on the key of member c, as a string node that stands
// on the tape for that long.
func (r *run) name(n *node, c int) bool {
	m := r.d.Nodes[c]
	at := len(r.d.Nodes)
	r.d.Nodes = append(r.d.Nodes, jsondoc.Node{Kind: jsondoc.String, Escaped: m.KeyEscaped, Start: m.KeyStart, End: m.KeyEnd, Next: int32(at + 1),
		KeyStart: -1, KeyEnd: -1, Parent: -1})
	marks := len(r.marked)
	ok := r.quietly(n, at, noFrame)
	r.unmark(marks)
	r.d.Nodes = r.d.Nodes[:at]
	return ok
}

func (r *run) arrayRules(n *arrayRules, i, frame int) bool {
	d := r.d
	x := &d.Nodes[i]
	ok := true
	if int(x.Count) < n.least {
		if ok = false; !r.report || r.fail(i, "schema.minItems", "at least "+strconv.Itoa(n.least)+" items") {
			return false
		}
	}
	if n.most >= 0 && int(x.Count) > n.most {
		if ok = false; !r.report || r.fail(i, "schema.maxItems", "at most "+strconv.Itoa(n.most)+" items") {
			return false
		}
	}
	end := int(x.Next)
	k := 0
	for c := i + 1; c < end; c, k = int(d.Nodes[c].Next), k+1 {
		var s *node
		if k < len(n.prefix) {
			s = n.prefix[k]
		} else if s = n.rest; s == nil {
			break
		}
		if s.never {
			if ok = false; r.fail(c, "schema.items", "no item may stand here") {
				return false
			}
			continue
		}
		if !r.value(s, c) {
			if ok = false; !r.report || r.full {
				return false
			}
		}
		r.note(frame, k)
	}
	if n.contains != nil && !r.contains(n, i, frame) {
		if ok = false; r.fail(i, "schema.contains", "number of items of the kind demanded is wrong") {
			return false
		}
	}
	if n.unique && x.Count > 1 && !r.unique(i) {
		ok = false
		r.fail(i, "schema.uniqueItems", "an item stands twice")
	}
	return ok
}

func (r *run) contains(n *arrayRules, i, frame int) bool {
	found, k := 0, 0
	for c := i + 1; c < int(r.d.Nodes[i].Next); c, k = int(r.d.Nodes[c].Next), k+1 {
		if !r.quietly(n.contains, c, noFrame) {
			continue
		}
		r.note(frame, k)
		found++
		if n.maxContains >= 0 && found > n.maxContains {
			return false
		}
		if frame == noFrame && n.maxContains < 0 && found >= n.minContains {
			return true
		}
	}
	return found >= n.minContains
}

func (r *run) unique(i int) bool {
	d := r.d
	end, count := int(d.Nodes[i].Next), int(d.Nodes[i].Count)
	if count <= 12 {
		for a := i + 1; a < end; a = int(d.Nodes[a].Next) {
			for b := i + 1; b < a; b = int(d.Nodes[b].Next) {
				if r.equal(d, a, d, b) {
					return false
				}
			}
		}
		return true
	}
	size := 32
	for size < count*2 {
		size *= 2
	}
	if cap(r.table) < size {
		r.table, r.hashes = make([]int32, size), make([]uint64, size)
	}
	table, hashes := r.table[:size], r.hashes[:size]
	clear(table)
	for a := i + 1; a < end; a = int(d.Nodes[a].Next) {
		h := r.hash(d, a, seedOne)
		for s := h & uint64(size-1); ; s = (s + 1) & uint64(size-1) {
			if table[s] == 0 {
				table[s], hashes[s] = int32(a), h
				break
			}
			if hashes[s] == h && r.equal(d, a, d, int(table[s])) {
				return false
			}
		}
	}
	return true
}

// String names the types, for people.
func (m typeMask) String() string {
	s := ""
	for k, name := range [...]string{"null", "boolean", "object", "array", "number", "integer", "string"} {
		if m&(1<<k) == 0 || name == "integer" && m&isNumber != 0 {
			continue
		}
		if s != "" {
			s += " or "
		}
		s += name
	}
	return s
}

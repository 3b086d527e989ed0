package xsd

import (
	"fmt"
	"math/bits"
	"strconv"
)

// A model is a content model: a deterministic automaton over the names of child
// elements.
type model struct {
	states []state
	all    []*particle // instead, of xs:all
	empty  bool        // of xs:all: all of it may be absent
}

// A state is what may come next.
type state struct {
	accept  bool
	steps   []step
	index   map[string][]int32 // of steps, by local name, where there are many
	wilds   []step
	counted *particle // the leaf that is being counted, nil = none
}

type step struct {
	name Name
	leaf *particle
	elem *element
	wild *wildcard
	next int32
}

// What one content model may grow to.
const (
	maxPositions = 4096
	maxStates    = 4096
	maxSteps     = 1 << 17
	maxWork      = 1 << 16
)

type bitset []uint64

func (b bitset) add(i int) { b[i>>6] |= 1 << (i & 63) }
func (b bitset) or(c bitset) {
	for i := range c {
		b[i] |= c[i]
	}
}
func (b bitset) each(f func(int)) {
	for k, w := range b {
		for w != 0 {
			f(k<<6 + bits.TrailingZeros64(w))
			w &= w - 1
		}
	}
}

// A position is an occurrence of a leaf in the model written out.
type position struct {
	leaf    *particle
	counted bool
}

// A fragment is what the construction of Glushkov keeps of a part.
type fragment struct {
	nullable    bool
	first, last []int
}

type modeller struct {
	c         *compiler
	t         *typ
	positions []position
	follow    []bitset
	expand    map[*particle]bool // leaves that are to be written out rather than counted
	work      int
	over      bool
}

// models builds the automata of all types.
func (c *compiler) models() {
	c.model(c.anyType)
	for _, t := range c.queue {
		if t.complex {
			c.model(t)
		}
	}
}

func (c *compiler) model(t *typ) {
	if t.holds == nil || t.simple != nil {
		return
	}
	if t.holds.kind == isAll {
		t.model = &model{all: t.holds.items, empty: t.holds.least == 0}
		names := map[Name]*element{}
		for _, p := range t.holds.items {
			c.consistent(p, names)
		}
		seen := map[Name]bool{}
		for _, p := range t.holds.items {
			for _, e := range append([]*element{p.element}, p.element.others...) {
				if seen[e.name] {
					c.fault(p.from, fmt.Sprintf("element %s could be either of two particles of xs:all", e.name), "")
				}
				seen[e.name] = true
			}
		}
		return
	}
	m := &modeller{c: c, t: t, expand: map[*particle]bool{}}
	// First as if each leaf stood once, to see which may follow themselves.
	m.build(t.holds, true)
	if m.over {
		c.fault(t.holds.from, fmt.Sprintf("the content model of %s is larger than %d elements written out", t, maxPositions), "use unbounded in the place of large bounds of groups")
		return
	}
	for i, p := range m.positions {
		m.follow[i].each(func(j int) {
			if m.positions[j].leaf == p.leaf {
				m.expand[p.leaf] = true
			}
		})
	}
	m.positions, m.follow, m.work = nil, nil, 0
	f := m.build(t.holds, false)
	if m.over {
		c.fault(t.holds.from, fmt.Sprintf("the content model of %s is larger than %d elements written out", t, maxPositions), "use unbounded in the place of large bounds of groups")
		return
	}
	names := map[Name]*element{}
	for _, p := range m.positions {
		if p.leaf.kind == isElement {
			c.consistent(p.leaf, names)
		}
	}
	t.model = m.automaton(f)
}

// consistent checks that elements of one name have one type (part 1, 3.8.6).
func (c *compiler) consistent(p *particle, names map[Name]*element) {
	for _, e := range append([]*element{p.element}, p.element.others...) {
		if old := names[e.name]; old != nil && old.typ != e.typ {
			c.fault(p.from, fmt.Sprintf("element %s stands twice in a content model, with two types", e.name), "")
		}
		names[e.name] = e
	}
}

// build writes a particle out. once says to take leaves and groups as if their
// bounds were 1 or open.
func (m *modeller) build(p *particle, once bool) fragment {
	if m.work++; m.over || len(m.positions) > maxPositions || m.work > maxWork {
		m.over = true
		return fragment{}
	}
	leaf := p.kind == isElement || p.kind == isAny
	least, most := p.least, p.most
	if once {
		switch {
		case leaf:
			least, most = min(least, 1), 1
		case most != 1:
			least, most = min(least, 1), -1
		}
	}
	if leaf && !once && !m.expand[p] && (least > 1 || most > 1) {
		f := m.one(p, once)
		m.positions[f.first[0]].counted = true
		f.nullable = least == 0
		return f
	}
	switch {
	case most == 1:
		f := m.one(p, once)
		f.nullable = f.nullable || least == 0
		return f
	case most < 0:
		out := fragment{nullable: true}
		for range least - 1 {
			if out = m.join(out, m.one(p, once)); m.stop() {
				return out
			}
		}
		f := m.one(p, once)
		for _, i := range f.last {
			for _, j := range f.first {
				m.follow[i].add(j)
			}
		}
		f.nullable = f.nullable || least == 0
		return m.join(out, f)
	}
	out := fragment{nullable: true}
	for range least {
		if out = m.join(out, m.one(p, once)); m.stop() {
			return out
		}
	}
	// What may be absent nests, so that copies are left out from the end.
	rest := make([]fragment, 0, min(most-least, maxPositions))
	for range most - least {
		f := m.one(p, once)
		if m.stop() {
			return out
		}
		rest = append(rest, f)
	}
	tail := fragment{nullable: true}
	for i := len(rest) - 1; i >= 0; i-- {
		tail = m.join(rest[i], tail)
		tail.nullable = true
	}
	return m.join(out, tail)
}

// stop reports whether the work done is enough.
func (m *modeller) stop() bool {
	if m.work++; m.work > maxWork {
		m.over = true
	}
	return m.over
}

func (m *modeller) one(p *particle, once bool) fragment {
	switch p.kind {
	case isElement, isAny:
		if len(m.positions) >= maxPositions {
			m.over = true
			return fragment{}
		}
		m.positions = append(m.positions, position{leaf: p})
		m.follow = append(m.follow, make(bitset, maxPositions/64+1))
		i := len(m.positions) - 1
		return fragment{first: []int{i}, last: []int{i}}
	case isChoice:
		var out fragment
		for _, q := range p.items {
			f := m.build(q, once)
			out.nullable = out.nullable || f.nullable
			out.first, out.last = append(out.first, f.first...), append(out.last, f.last...)
		}
		return out // a choice of nothing admits nothing
	}
	out := fragment{nullable: true}
	for _, q := range p.items {
		if out = m.join(out, m.build(q, once)); m.over {
			break
		}
	}
	return out
}

// join puts one part behind another.
func (m *modeller) join(a, b fragment) fragment {
	if m.over {
		return fragment{}
	}
	for _, i := range a.last {
		for _, j := range b.first {
			m.follow[i].add(j)
		}
	}
	out := fragment{nullable: a.nullable && b.nullable, first: a.first, last: b.last}
	if a.nullable {
		out.first = append(append([]int(nil), a.first...), b.first...)
	}
	if b.nullable {
		out.last = append(append([]int(nil), a.last...), b.last...)
	}
	return out
}

// automaton makes the states. What a state may be followed by is what names it.
func (m *modeller) automaton(f fragment) *model {
	words := (len(m.positions) + 63) / 64
	follow := make([]bitset, len(m.positions))
	for i := range follow {
		follow[i] = m.follow[i][:words]
	}
	last := make(bitset, words)
	for _, i := range f.last {
		last.add(i)
	}
	out := &model{}
	known := map[string]int32{}
	var sets []bitset
	intern := func(set bitset, accept bool, counted *particle) int32 {
		key := make([]byte, 0, len(set)*8+20)
		for _, w := range set {
			for k := range 8 {
				key = append(key, byte(w>>(8*k)))
			}
		}
		key = strconv.AppendBool(key, accept)
		if counted != nil {
			key = fmt.Appendf(key, "%p", counted)
		}
		if s, ok := known[string(key)]; ok {
			return s
		}
		s := int32(len(out.states))
		known[string(key)] = s
		out.states = append(out.states, state{accept: accept, counted: counted})
		sets = append(sets, set)
		return s
	}
	start := make(bitset, words)
	for _, i := range f.first {
		start.add(i)
	}
	intern(start, f.nullable, nil)
	total := 0
	for s := 0; s < len(out.states); s++ {
		if len(out.states) > maxStates || total > maxSteps {
			m.c.fault(m.t.holds.from, fmt.Sprintf("the content model of %s has more than %d states", m.t, maxStates), "use unbounded in the place of large bounds")
			return nil
		}
		var leaves []*particle
		targets := map[*particle][]int{}
		sets[s].each(func(i int) {
			p := m.positions[i].leaf
			if targets[p] == nil {
				leaves = append(leaves, p)
			}
			targets[p] = append(targets[p], i)
		})
		if c := out.states[s].counted; c != nil && c.most != c.least {
			if !m.unique(append(append([]*particle(nil), leaves...), c)) {
				return nil
			}
		} else if !m.unique(leaves) {
			return nil
		}
		for _, p := range leaves {
			set, accept := make(bitset, words), false
			var counted *particle
			for _, i := range targets[p] {
				set.or(follow[i])
				accept = accept || last[i>>6]&(1<<(i&63)) != 0
				if m.positions[i].counted {
					counted = p
				}
			}
			next := intern(set, accept, counted)
			st := &out.states[s]
			if p.kind == isAny {
				st.wilds = append(st.wilds, step{leaf: p, wild: p.wild, next: next})
				total++
				continue
			}
			for _, e := range append([]*element{p.element}, p.element.others...) {
				st.steps = append(st.steps, step{name: e.name, leaf: p, elem: e, next: next})
				total++
			}
		}
		if st := &out.states[s]; len(st.steps) > 12 {
			st.index = map[string][]int32{}
			for i, x := range st.steps {
				st.index[x.name.Local] = append(st.index[x.name.Local], int32(i))
			}
		}
	}
	return out
}

// unique checks that no two of the particles admit one element: unique particle
// attribution (part 1, section 3.8.6).
func (m *modeller) unique(leaves []*particle) bool {
	byName := map[Name]*particle{}
	var wilds []*particle
	for _, p := range leaves {
		if p.kind == isAny {
			wilds = append(wilds, p)
			continue
		}
		for _, e := range append([]*element{p.element}, p.element.others...) {
			if old := byName[e.name]; old != nil && old != p {
				m.c.fault(p.from, fmt.Sprintf("%s is ambiguous: element %s could be either of two particles", m.t, e.name), "unique particle attribution")
				return false
			}
			byName[e.name] = p
		}
	}
	for k, w := range wilds {
		for _, v := range wilds[:k] {
			if v != w && v.wild.overlaps(w.wild) {
				m.c.fault(w.from, fmt.Sprintf("%s is ambiguous: an element could be either of two wildcards", m.t), "unique particle attribution")
				return false
			}
		}
		for n := range byName {
			if w.wild.admits(n.Space) {
				m.c.fault(w.from, fmt.Sprintf("%s is ambiguous: element %s could also be the wildcard's", m.t, n), "unique particle attribution")
				return false
			}
		}
	}
	return true
}

// step finds what an element is in a state; ok is false where it may not stand.
func (s *state) step(space, local []byte) (step, bool) {
	if s.index != nil {
		for _, i := range s.index[string(local)] {
			if x := &s.steps[i]; x.name.Space == string(space) {
				return *x, true
			}
		}
	} else {
		for i := range s.steps {
			if x := &s.steps[i]; x.name.Local == string(local) && x.name.Space == string(space) {
				return *x, true
			}
		}
	}
	for i := range s.wilds {
		if s.wilds[i].wild.bytes(space) {
			return s.wilds[i], true
		}
	}
	return step{}, false
}

// own reports whether an element is another one of the leaf that is counted.
func (p *particle) own(space, local []byte) (*element, bool) {
	if p.kind == isAny {
		return nil, p.wild.bytes(space)
	}
	if e := p.element; e.name.Local == string(local) && e.name.Space == string(space) {
		return e, true
	}
	for _, e := range p.element.others {
		if e.name.Local == string(local) && e.name.Space == string(space) {
			return e, true
		}
	}
	return nil, false
}

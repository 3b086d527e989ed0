// Package schema compiles JSON Schema (draft 4, draft 7, 2020-12 and the
// dialects of OpenAPI 2.0 and 3.0) to an immutable program and evaluates it over
// a jsondoc.Doc. In come a positioned source tree or raw bytes; out go a Schema
// and, per evaluation, problems that name a place and a rule. It marks strings
// that the schema proves harmless (Node.Proven). It fetches nothing by itself,
// never puts a value into a problem, bounds its own work, and does not allocate
// while the instance holds.
package schema

import (
	"sync"

	"sallyport.dev/spec/jsondoc"
)

// A Schema is a compiled schema: immutable, safe for concurrent use.
type Schema struct {
	root    *node
	dynamic bool
}

// A Problem is one rule that the instance breaks. Detail holds no values.
type Problem struct {
	Pointer string // RFC 6901, "" at the root
	Rule    string // "schema.type", "schema.required", …
	Detail  string
}

// An Evaluation is one use of a Schema with all its outcomes. It may be reused;
// it belongs to one goroutine.
type Evaluation struct {
	Direction    Direction
	Max          int       // problems kept; 0 keeps none
	Problems     []Problem // appended to
	Undocumented []int     // members that no schema at their place names; appended to when Names is set
	Names        bool
	// Lenient forgives members that no schema for their object names, where a
	// schema closes the object against others (additionalProperties or
	// unevaluatedProperties false). They are in Undocumented like those that no
	// schema speaks of, and every alternative is walked, so that a member that
	// any of them names or admits is not: such a member's node is Known or
	// Admitted. It implies Names.
	Lenient bool

	run *run // memory, kept between uses
}

// Validate reports whether the value at root holds. At most max problems are
// appended to out, which may be nil. Strings proven harmless are marked in d,
// unless the value as a whole does not hold.
func (s *Schema) Validate(d *jsondoc.Doc, root int, out *[]Problem, max int) bool {
	r := runs.Get().(*run)
	e := r.own
	*e = Evaluation{}
	if out != nil {
		e.Max, e.Problems = max, *out
	}
	ok := r.evaluate(s, d, root, e)
	if out != nil {
		*out = e.Problems
	}
	e.Problems = nil
	runs.Put(r)
	return ok
}

// Evaluate is Validate with a direction and undocumented members.
func (s *Schema) Evaluate(d *jsondoc.Doc, root int, e *Evaluation) bool {
	if e.run == nil {
		e.run = new(run)
	}
	return e.run.evaluate(s, d, root, e)
}

var runs = sync.Pool{New: func() any { return &run{own: new(Evaluation)} }}

type typeMask uint8

const (
	isNull typeMask = 1 << iota
	isBool
	isObject
	isArray
	isNumber
	isInteger
	isString
)

// kindMask is the type of each jsondoc.Kind; a number is looked at closer.
var kindMask = [...]typeMask{0, isObject, isArray, isString, isNumber, isBool, isBool, isNull}

// A node is one schema object, compiled.
type node struct {
	res *resource
	at  sourceValue

	shortcut *node // where evaluation really begins: a bare $ref is skipped
	plain    bool  // nothing but type, number, text, array, object
	never    bool
	nullable bool
	types    typeMask // 0 = any
	enum     *enum
	constant *enum
	number   *numberRules
	text     *stringRules
	array    *arrayRules
	object   *objectRules

	ref             *node
	dynamic         *dynamicRef
	allOf           []*node
	anyOf           []*node
	oneOf           []*node
	not             *node
	when            *node
	then, otherwise *node
	discriminator   *discriminator
	leftItems       *node // unevaluatedItems
	leftProperties  *node // unevaluatedProperties

	readOnly, writeOnly bool
	sensitive           []string // kinds of sensitive data that the value is declared to hold

	names *names // what the schema as a whole names at this place; nil = anything
}

type dynamicRef struct {
	anchor string
	static *node
}

type discriminator struct {
	property string
	print    uint32
	nodes    map[string]*node
}

type numberRules struct {
	min, max, above, below *bound
	formatMin, formatMax   *bound
	multiple               *divisor
}

type stringRules struct {
	least, most int
	pattern     *pattern
	format      *format
	formatName  string
	assert      bool // the format must hold
	proof       bool // the pattern proves
}

type arrayRules struct {
	prefix                   []*node
	rest                     *node
	least, most              int
	unique                   bool
	contains                 *node
	minContains, maxContains int
}

type objectRules struct {
	entries     []*entry
	byKey       map[string]*entry // while compiling
	table       table
	patterns    []patternProperty
	additional  *node
	names       *node
	least, most int
	tracked     int         // entries whose presence matters
	required    [3][]*entry // by Direction
	wanted      [3]uint64   // the same as bits, when tracked <= 64
	dependent   []*entry
	simple      bool // names of the place are just the entries: unknown ones are noted on the way
}

// An entry is one property name that the schema speaks of.
type entry struct {
	key       string
	n         *node
	declared  bool
	required  bool
	readOnly  bool
	writeOnly bool
	needs     []string
	needed    []*entry
	then      *node
	bit       int // -1: presence does not matter
}

type patternProperty struct {
	p *pattern
	n *node
}

func (r *objectRules) entry(key string) *entry {
	if e := r.byKey[key]; e != nil {
		return e
	}
	if r.byKey == nil {
		r.byKey = map[string]*entry{}
	}
	e := &entry{key: key, bit: -1}
	r.byKey[key] = e
	r.entries = append(r.entries, e)
	return e
}

// A table finds an entry by its key: one multiplication, one comparison.
type table struct {
	slots []slot
	mul   uint32
	shift uint8
	all   map[string]*entry // when fingerprints collide
}

type slot struct {
	print uint32
	e     *entry
}

func newTable(entries []*entry) (t table) {
	if len(entries) == 0 {
		return t
	}
	prints := map[uint32]bool{}
	for _, e := range entries {
		p := jsondoc.Fingerprint([]byte(e.key))
		if prints[p] {
			t.all = map[string]*entry{}
			for _, e := range entries {
				t.all[e.key] = e
			}
			return t
		}
		prints[p] = true
	}
	for bits := 1; ; bits++ {
		size := 1 << bits
		if size < len(entries)*2 {
			continue
		}
		t.slots, t.shift = make([]slot, size), uint8(32-bits)
		mul := uint32(0x9E3779B1)
	next:
		for range 200 {
			clear(t.slots)
			for _, e := range entries {
				p := jsondoc.Fingerprint([]byte(e.key))
				s := &t.slots[(p*mul)>>t.shift]
				if s.e != nil {
					mul = mul*1664525 + 1013904223 | 1
					continue next
				}
				s.print, s.e = p, e
			}
			t.mul = mul
			return t
		}
		if size > 64*len(entries) && size > 1<<12 {
			t.slots = nil
			t.all = map[string]*entry{}
			for _, e := range entries {
				t.all[e.key] = e
			}
			return t
		}
	}
}

// find looks up a decoded key.
func (t *table) find(print uint32, key []byte) *entry {
	if t.slots != nil {
		s := &t.slots[(print*t.mul)>>t.shift]
		if s.e != nil && s.print == print && s.e.key == string(key) {
			return s.e
		}
		return nil
	}
	return t.all[string(key)]
}

// inPlace calls f for each schema that is applied to the same value.
func (n *node) inPlace(f func(*node)) {
	f(n.ref)
	for _, l := range [][]*node{n.allOf, n.anyOf, n.oneOf} {
		for _, x := range l {
			f(x)
		}
	}
	f(n.not)
	f(n.when)
	f(n.then)
	f(n.otherwise)
	if n.object != nil {
		for _, e := range n.object.entries {
			f(e.then)
		}
	}
	if n.discriminator != nil {
		for _, x := range n.discriminator.nodes {
			f(x)
		}
	}
}

// bare reports whether n is nothing but a $ref.
func (n *node) bare() bool {
	return n.ref != nil && n.types == 0 && n.enum == nil && n.constant == nil && n.number == nil && n.text == nil && n.array == nil && n.object == nil &&
		n.dynamic == nil && n.allOf == nil && n.anyOf == nil && n.oneOf == nil && n.not == nil && n.when == nil && n.leftItems == nil &&
		n.leftProperties == nil && n.sensitive == nil
}

// shorten sets where evaluation of n may begin: a bare $ref is skipped, unless
// the way there matters.
func (n *node) shorten(dynamic bool) {
	end := n
	for !dynamic && end.shortcut == nil && end.bare() {
		end = end.ref
	}
	end = end.to()
	for x := n; x != end && x.shortcut == nil; x = x.ref {
		x.shortcut = end
	}
}

// names are the property names that a place knows.
type names struct{ table table }

type finisher struct {
	names map[*node]*names
}

func (f *finisher) finish(n *node) {
	n.plain = n.ref == nil && n.dynamic == nil && n.allOf == nil && n.anyOf == nil && n.oneOf == nil && n.not == nil && n.when == nil &&
		n.leftItems == nil && n.leftProperties == nil && n.enum == nil && n.constant == nil && !n.never
	for _, l := range []*[]*node{&n.allOf, &n.anyOf, &n.oneOf} {
		for i, x := range *l {
			(*l)[i] = x.to()
		}
	}
	for _, p := range []**node{&n.ref, &n.not, &n.when, &n.then, &n.otherwise, &n.leftItems, &n.leftProperties} {
		if *p != nil {
			*p = (*p).to()
		}
	}
	if a := n.array; a != nil {
		for i, x := range a.prefix {
			a.prefix[i] = x.to()
		}
		if a.rest != nil {
			a.rest = a.rest.to()
		}
		if a.contains != nil {
			a.contains = a.contains.to()
		}
	}
	if o := n.object; o != nil {
		f.object(o)
	}
	if n.object != nil || !n.plain {
		n.names = f.namesOf(n)
		if n.object != nil && n.plain && n.names != nil {
			n.object.simple = true
		}
	}
}

func (n *node) to() *node {
	if n.shortcut != nil {
		return n.shortcut
	}
	return n
}

func (f *finisher) object(o *objectRules) {
	for _, e := range o.entries {
		if e.n != nil {
			for x, hops := e.n, 0; x != nil && hops < 32; x, hops = x.ref, hops+1 {
				e.readOnly = e.readOnly || x.readOnly
				e.writeOnly = e.writeOnly || x.writeOnly
			}
			e.n = e.n.to()
		}
		if e.then != nil {
			e.then = e.then.to()
		}
		for _, k := range e.needs {
			e.needed = append(e.needed, o.byKey[k])
		}
	}
	matters := func(e *entry) {
		if e.bit < 0 {
			e.bit = o.tracked
			o.tracked++
		}
	}
	for _, e := range o.entries {
		if e.required {
			matters(e)
			o.required[Neither] = append(o.required[Neither], e)
			if !e.readOnly {
				o.required[Request] = append(o.required[Request], e)
			}
			if !e.writeOnly {
				o.required[Response] = append(o.required[Response], e)
			}
		}
		if e.then != nil || len(e.needed) > 0 {
			matters(e)
			for _, x := range e.needed {
				matters(x)
			}
			o.dependent = append(o.dependent, e)
		}
	}
	if o.tracked <= 64 {
		for d := range o.required {
			for _, e := range o.required[d] {
				o.wanted[d] |= 1 << e.bit
			}
		}
	}
	for i := range o.patterns {
		o.patterns[i].n = o.patterns[i].n.to()
	}
	if o.additional != nil {
		o.additional = o.additional.to()
	}
	if o.names != nil {
		o.names = o.names.to()
	}
	o.table = newTable(o.entries)
}

// maxApplied is from how many schemas applied to one place on its names are not
// gathered.
const maxApplied = 500

// namesOf gathers the names of all schemas applied to the place; nil when one
// of them is open on purpose or none names anything.
func (f *finisher) namesOf(n *node) *names {
	seen := map[*node]bool{}
	all := map[string]*entry{}
	open := false
	var walk func(*node)
	walk = func(x *node) {
		if x == nil || seen[x] || open {
			return
		}
		seen[x] = true
		if len(seen) > maxApplied {
			open = true
			return
		}
		if x.dynamic != nil || x.leftProperties != nil && !x.leftProperties.never {
			open = true
			return
		}
		if o := x.object; o != nil {
			if len(o.patterns) > 0 || o.additional != nil && !o.additional.never {
				open = true
				return
			}
			for _, e := range o.entries {
				if e.declared {
					all[e.key] = e
				}
			}
		}
		x.inPlace(func(y *node) {
			if y != x.not {
				walk(y)
			}
		})
	}
	walk(n)
	if open || len(all) == 0 {
		return nil
	}
	list := make([]*entry, 0, len(all))
	for _, e := range all {
		list = append(list, &entry{key: e.key, declared: true})
	}
	return &names{table: newTable(list)}
}

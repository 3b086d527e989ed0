package schema

import (
	"bytes"
	"hash/maphash"
	"math"

	"sallyport.dev/spec/jsondoc"
	"sallyport.dev/spec/source"
)

type sourceValue = *source.Value

// An enum is a set of values; strings and small whole numbers are looked up.
type enum struct {
	strings table
	ints    []int64
	doc     jsondoc.Doc // an array of the values that are neither
	rest    []int
	kinds   typeMask
}

func newEnum(values []*source.Value) *enum {
	e := &enum{}
	var entries []*entry
	seen := map[string]bool{}
	rest := &source.Value{Kind: source.Array}
	for _, v := range values {
		switch v.Kind {
		case source.String:
			e.kinds |= isString
			if !seen[v.Text] {
				seen[v.Text] = true
				entries = append(entries, &entry{key: v.Text})
			}
			continue
		case source.Number:
			e.kinds |= isNumber
			if k, ok := smallInt([]byte(v.Text)); ok {
				e.ints = append(e.ints, k)
			}
		case source.Null:
			e.kinds |= isNull
		case source.Bool:
			e.kinds |= isBool
		case source.Array:
			e.kinds |= isArray
		case source.Object:
			e.kinds |= isObject
		}
		rest.Items = append(rest.Items, v)
	}
	e.strings = newTable(entries)
	// The text is our own; a Doc of it cannot fail but for its bounds.
	if len(rest.Items) > 0 && e.doc.Parse(rest.AppendJSON(nil), jsondoc.Limits{Bytes: math.MaxInt32, Depth: 1 << 10, Nodes: 1 << 30, Members: 1 << 30,
		StringBytes: math.MaxInt32, Duplicates: true}) == nil {
		for i := 1; i < len(e.doc.Nodes); i = int(e.doc.Nodes[i].Next) {
			e.rest = append(e.rest, i)
		}
	}
	return e
}

func (e *enum) has(r *run, i int) bool {
	n := &r.d.Nodes[i]
	if kindMask[n.Kind]&e.kinds == 0 {
		return false
	}
	switch n.Kind {
	case jsondoc.String:
		text := r.textOf(i)
		return e.strings.find(jsondoc.Fingerprint(text), text) != nil
	case jsondoc.Number:
		if n.Integer {
			if v, ok := smallInt(r.d.Raw(i)); ok {
				for _, k := range e.ints {
					if k == v {
						return true
					}
				}
			}
		}
	}
	for _, k := range e.rest {
		if e.doc.Nodes[k].Kind == n.Kind && r.equal(r.d, i, &e.doc, k) {
			return true
		}
	}
	return false
}

// smallObject is up to how many members objects are compared one by one.
const smallObject = 32

// equal compares two values as JSON Schema does: numbers by value, objects
// without order.
func (r *run) equal(da *jsondoc.Doc, a int, db *jsondoc.Doc, b int) bool {
	r.steps++
	x, y := &da.Nodes[a], &db.Nodes[b]
	if x.Kind != y.Kind || x.Count != y.Count {
		return false
	}
	switch x.Kind {
	case jsondoc.String:
		r.one = grow(r.one, da, a)
		r.two = grow(r.two, db, b)
		return bytes.Equal(da.Text(a, r.one), db.Text(b, r.two))
	case jsondoc.Number:
		m, n := readNumber(da.Raw(a)), readNumber(db.Raw(b))
		return m.compare(&n) == 0
	case jsondoc.Array:
		for i, j := a+1, b+1; i < int(x.Next); i, j = int(da.Nodes[i].Next), int(db.Nodes[j].Next) {
			if !r.equal(da, i, db, j) {
				return false
			}
		}
	case jsondoc.Object:
		if x.Count > smallObject {
			// Two hashes with secret seeds: member by member would be quadratic.
			return r.hash(da, a, seedOne) == r.hash(db, b, seedOne) && r.hash(da, a, seedTwo) == r.hash(db, b, seedTwo)
		}
		for i := a + 1; i < int(x.Next); i = int(da.Nodes[i].Next) {
			j := b + 1
			for ; j < int(y.Next); j = int(db.Nodes[j].Next) {
				if da.Nodes[i].Print == db.Nodes[j].Print && r.sameKey(da, i, db, j) {
					break
				}
			}
			if j >= int(y.Next) || !r.equal(da, i, db, j) {
				return false
			}
		}
	}
	return true
}

func (r *run) sameKey(da *jsondoc.Doc, a int, db *jsondoc.Doc, b int) bool {
	return bytes.Equal(r.keyOf(&r.one, da, a), r.keyOf(&r.two, db, b))
}

// grow gives scratch enough memory for the text of node i, so that it is kept.
func grow(scratch []byte, d *jsondoc.Doc, i int) []byte {
	if n := &d.Nodes[i]; n.Escaped && cap(scratch) < int(n.End-n.Start) {
		return make([]byte, 0, n.End-n.Start)
	}
	return scratch
}

var seedOne, seedTwo = maphash.MakeSeed(), maphash.MakeSeed()

// hash is equal for equal values and, with the seeds secret, for practically
// no others.
func (r *run) hash(d *jsondoc.Doc, i int, seed maphash.Seed) uint64 {
	r.steps++
	n := &d.Nodes[i]
	h := uint64(n.Kind)*0x9E3779B97F4A7C15 + uint64(n.Count)
	switch n.Kind {
	case jsondoc.String:
		r.one = grow(r.one, d, i)
		h ^= maphash.Bytes(seed, d.Text(i, r.one))
	case jsondoc.Number:
		x := readNumber(d.Raw(i))
		r.one = r.one[:0]
		for k := range x.n {
			r.one = append(r.one, x.digit(k))
		}
		h ^= maphash.Bytes(seed, r.one) + uint64(x.mag)*0xC2B2AE3D27D4EB4F + uint64(x.sign()+1)
	case jsondoc.Array:
		for c := i + 1; c < int(n.Next); c = int(d.Nodes[c].Next) {
			h = (h^r.hash(d, c, seed))*0xFF51AFD7ED558CCD + 1
		}
	case jsondoc.Object:
		for c := i + 1; c < int(n.Next); c = int(d.Nodes[c].Next) {
			v := r.hash(d, c, seed)
			x := (maphash.Bytes(seed, r.keyOf(&r.one, d, c)) ^ v*0xFF51AFD7ED558CCD) * 0xC4CEB9FE1A85EC53
			h += x ^ x>>31
		}
	}
	return h ^ h>>33
}

package schema

// A Shape tells which JSON types a schema admits at a place, so that a reader
// of text knows what to take a word for.
type Shape struct{ Null, Boolean, Object, Array, Number, String bool }

func shapeOf(m typeMask) Shape {
	return Shape{Null: m&isNull != 0, Boolean: m&isBool != 0, Object: m&isObject != 0, Array: m&isArray != 0, Number: m&(isNumber|isInteger) != 0,
		String: m&isString != 0}
}

const anyType = isNull | isBool | isObject | isArray | isNumber | isInteger | isString

// Shape is what the schema admits as a whole.
func (s *Schema) Shape() Shape { return shapeOf(admits(s.root, map[*node]typeMask{})) }

// Items is what it admits as an item of an array.
func (s *Schema) Items() Shape {
	m := typeMask(0)
	each(s.root, map[*node]bool{}, func(n *node) {
		if n.array == nil {
			return
		}
		for _, x := range n.array.prefix {
			m |= admits(x, map[*node]typeMask{})
		}
		if n.array.rest != nil {
			m |= admits(n.array.rest, map[*node]typeMask{})
		}
	})
	if m == 0 {
		m = anyType
	}
	return shapeOf(m)
}

// Properties is what it admits under each name that it declares.
func (s *Schema) Properties() map[string]Shape {
	masks := map[string]typeMask{}
	each(s.root, map[*node]bool{}, func(n *node) {
		if n.object == nil {
			return
		}
		for _, e := range n.object.entries {
			if e.n != nil {
				masks[e.key] |= admits(e.n, map[*node]typeMask{})
			}
		}
	})
	out := make(map[string]Shape, len(masks))
	for k, m := range masks {
		out[k] = shapeOf(m)
	}
	return out
}

// PropertyItems is what it admits as an item of the array under a name.
func (s *Schema) PropertyItems(name string) Shape {
	m := typeMask(0)
	each(s.root, map[*node]bool{}, func(n *node) {
		if n.object == nil {
			return
		}
		for _, e := range n.object.entries {
			if e.key == name && e.n != nil {
				each(e.n, map[*node]bool{}, func(x *node) {
					if x.array != nil && x.array.rest != nil {
						m |= admits(x.array.rest, map[*node]typeMask{})
					}
				})
			}
		}
	})
	if m == 0 {
		m = anyType
	}
	return shapeOf(m)
}

// Others is what it admits under a name that it does not declare.
func (s *Schema) Others() Shape {
	m := typeMask(0)
	each(s.root, map[*node]bool{}, func(n *node) {
		if n.object != nil && n.object.additional != nil {
			m |= admits(n.object.additional, map[*node]typeMask{})
		}
	})
	if m == 0 {
		m = anyType
	}
	return shapeOf(m)
}

// each visits every schema applied to the same value, but those under not.
func each(n *node, seen map[*node]bool, f func(*node)) {
	if n == nil || seen[n] {
		return
	}
	seen[n] = true
	f(n)
	n.inPlace(func(x *node) {
		if x != n.not {
			each(x, seen, f)
		}
	})
}

// admits is the types that n and all it applies to the same value let through.
// No schema applies itself to the value again: findCycles has seen to it.
func admits(n *node, seen map[*node]typeMask) typeMask {
	if n == nil {
		return anyType
	}
	if m, ok := seen[n]; ok {
		return m
	}
	seen[n] = anyType
	if n.never {
		seen[n] = 0
		return 0
	}
	m := typeMask(anyType)
	if n.types != 0 {
		m = n.types
	}
	for _, e := range []*enum{n.enum, n.constant} {
		if e != nil {
			k := e.kinds
			if k&isNumber != 0 {
				k |= isInteger
			}
			m &= k
		}
	}
	if n.ref != nil {
		m &= admits(n.ref, seen)
	}
	for _, x := range n.allOf {
		m &= admits(x, seen)
	}
	for _, l := range [][]*node{n.anyOf, n.oneOf} {
		if l == nil {
			continue
		}
		union := typeMask(0)
		for _, x := range l {
			union |= admits(x, seen)
		}
		m &= union
	}
	seen[n] = m
	return m
}

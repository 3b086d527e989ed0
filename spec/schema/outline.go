package schema

import (
	"slices"
	"strings"
)

// A Member is one place that a schema names.
type Member struct {
	Pointer  string // JSON pointer; items of arrays as *
	Type     string // "string", "integer", …; several joined by |; "" = any
	Format   string
	Required bool // in each object at its place
}

// maxOutline bounds the depth of an outline; schemas may refer to themselves.
const maxOutline = 8

// Outline lists the places that the schema names, at most n, in the order of
// their pointers. Alternatives are put together: a member is required where
// every schema that holds for the place requires it.
func (s *Schema) Outline(n int) []Member {
	o := outline{members: map[string]*Member{}, most: n}
	o.visit(s.root, "", 0, map[*node]bool{})
	out := make([]Member, 0, len(o.members))
	for _, m := range o.members {
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.Pointer, b.Pointer) })
	return out
}

type outline struct {
	members map[string]*Member
	most    int
	visits  int
}

func (o *outline) visit(n *node, at string, depth int, open map[*node]bool) {
	if n == nil || depth > maxOutline || open[n] {
		return
	}
	// The same schema may be reached on many ways: more of them than this add nothing.
	if o.visits++; o.visits > 100*o.most {
		return
	}
	open[n] = true
	defer delete(open, n)
	m := o.members[at]
	if m == nil {
		if len(o.members) >= o.most {
			return
		}
		m = &Member{Pointer: at}
		o.members[at] = m
	}
	if m.Type == "" {
		m.Type = typeWords(admits(n, map[*node]typeMask{}))
	}
	if n.text != nil && m.Format == "" {
		m.Format = n.text.formatName
	}
	for _, x := range slices.Concat([]*node{n.ref, n.then, n.otherwise}, n.allOf, n.anyOf, n.oneOf) {
		o.visit(x, at, depth, open)
	}
	if n.dynamic != nil {
		o.visit(n.dynamic.static, at, depth, open)
	}
	if n.array != nil {
		for _, x := range append(slices.Clone(n.array.prefix), n.array.rest) {
			o.visit(x, at+"/*", depth+1, open)
		}
	}
	if n.object == nil {
		return
	}
	for _, e := range n.object.entries {
		p := at + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(e.key)
		if e.declared {
			o.visit(e.n, p, depth+1, open)
		}
		if member := o.members[p]; member != nil && e.required {
			member.Required = true
		}
	}
}

// typeWords names the types of a mask, "" when it admits all.
func typeWords(m typeMask) string {
	if m == anyType || m == 0 {
		return ""
	}
	var words []string
	for _, t := range []struct {
		mask typeMask
		word string
	}{{isObject, "object"}, {isArray, "array"}, {isString, "string"}, {isNumber, "number"}, {isInteger, "integer"}, {isBool, "boolean"}, {isNull, "null"}} {
		if m&t.mask != 0 && !(t.mask == isInteger && m&isNumber != 0) {
			words = append(words, t.word)
		}
	}
	return strings.Join(words, "|")
}

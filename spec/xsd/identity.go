package xsd

import (
	"fmt"
	"strings"
)

// A constraint is a key, unique or keyref (part 1, section 3.11).
type constraint struct {
	name     Name
	key      bool
	refer    Name // of a keyref: its key
	to       *constraint
	selector []xpath
	fields   [][]xpath
	from     node
}

// An xpath is one path of the subset of XPath that constraints are written in.
type xpath struct {
	deep      bool // .//
	steps     []nameTest
	attribute *nameTest
}

type nameTest struct {
	any   bool // *
	space string
	local string // "" = any of the namespace
}

func (t nameTest) holds(space, local []byte) bool {
	return t.any || t.space == string(space) && (t.local == "" || t.local == string(local))
}

func (c *compiler) constraint(n node) *constraint {
	k := &constraint{from: n, key: n.is("key"), name: Name{n.d.target, n.get("name")}}
	if n.is("keyref") {
		c.allowed(n, "name", "refer", "id")
		if name, ok := c.name(n, n.get("refer")); ok && n.has("refer") {
			k.refer = name
		} else {
			c.fault(n, "refer is missing", "")
		}
		c.refers = append(c.refers, k)
	} else {
		c.allowed(n, "name", "id")
	}
	if !wNCName.holds([]byte(k.name.Local)) {
		c.fault(n, "constraint has no name", "")
	} else if c.keys[k.name] != nil {
		c.fault(n, fmt.Sprintf("constraint %s stands twice", k.name), "")
	}
	c.keys[k.name] = k
	for i, x := range n.children() {
		c.allowed(x, "xpath", "id")
		field := x.is("field")
		if field == (i == 0) || !field && !x.is("selector") {
			c.fault(x, "a constraint holds one selector, then fields", "")
			return nil
		}
		paths, err := c.xpaths(x, field)
		if err != nil {
			c.fault(x, err.Error(), "")
			return nil
		}
		if field {
			k.fields = append(k.fields, paths)
		} else {
			k.selector = paths
		}
	}
	if len(k.fields) == 0 {
		c.fault(n, "a constraint holds one selector, then fields", "")
		return nil
	}
	return k
}

func (c *compiler) xpaths(n node, field bool) (out []xpath, err error) {
	text := n.get("xpath")
	for one := range strings.SplitSeq(text, "|") {
		one = strings.Join(strings.Fields(one), "")
		var p xpath
		if rest, ok := strings.CutPrefix(one, ".//"); ok {
			p.deep, one = true, rest
		}
		parts := strings.Split(one, "/")
		for i, s := range parts {
			attribute := false
			s = strings.TrimPrefix(s, "child::")
			if rest, ok := strings.CutPrefix(s, "@"); ok {
				attribute, s = true, rest
			} else if rest, ok := strings.CutPrefix(s, "attribute::"); ok {
				attribute, s = true, rest
			}
			if attribute && (!field || i != len(parts)-1) {
				return nil, fmt.Errorf("xpath %.60q: an attribute is the last step of a field", text)
			}
			if s == "." && !attribute {
				continue
			}
			t := nameTest{any: s == "*"}
			if !t.any {
				prefix, local, ok := strings.Cut(s, ":")
				if !ok {
					prefix, local = "", s
				} else {
					space, bound := n.d.doc.Namespace(n.i, []byte(prefix))
					if !bound {
						return nil, fmt.Errorf("xpath %.60q: a prefix is bound to no namespace", text)
					}
					t.space = string(space)
				}
				if local != "*" {
					t.local = local
				}
				if t.local == "" && !ok || t.local != "" && !wNCName.holds([]byte(t.local)) {
					return nil, fmt.Errorf("xpath %.60q is not of the subset that constraints are written in", text)
				}
			}
			if attribute {
				p.attribute = &t
			} else {
				p.steps = append(p.steps, t)
			}
		}
		if len(p.steps) > 32 {
			return nil, fmt.Errorf("xpath %.60q has more than 32 steps", text)
		}
		out = append(out, p)
	}
	return out, nil
}

// A table is the rows of a key at one element.
type table struct {
	k       *constraint
	element int
	rows    map[string]bool
}

// find calls f for each element that a path leads to from i, without its
// attribute step.
func (v *Validation) find(i int, p *xpath, f func(int)) {
	if !p.deep {
		v.descend(i, p.steps, f)
		return
	}
	for k := i; k < int(v.d.Elements[i].Next); k++ {
		v.descend(k, p.steps, f)
	}
}

func (v *Validation) descend(i int, steps []nameTest, f func(int)) {
	if len(steps) == 0 {
		f(i)
		return
	}
	for k := i + 1; k < int(v.d.Elements[i].Next); k = int(v.d.Elements[k].Next) {
		if e := &v.d.Elements[k]; steps[0].holds(e.Space, e.Local) {
			v.descend(k, steps[1:], f)
		}
	}
}

// constrain checks a constraint at the element that declares it.
func (v *Validation) constrain(i int, k *constraint) {
	if v.full() {
		return
	}
	rows := map[string]bool{}
	var refers []string
	done := map[int]bool{}
	for s := range k.selector {
		v.find(i, &k.selector[s], func(at int) {
			if done[at] || v.full() {
				return
			}
			done[at] = true
			row, whole := v.row(at, k)
			switch {
			case !whole:
				if k.key {
					v.problem(at, -1, "xsd.key", "a field of a key is missing")
				}
			case k.refer.Local != "":
				refers = append(refers, row)
			case rows[row]:
				v.problem(at, -1, "xsd.key", "a value that must be unique stands twice")
			default:
				rows[row] = true
			}
		})
	}
	if k.refer.Local == "" {
		v.tables = append(v.tables, table{k, i, rows})
		return
	}
	for _, row := range refers {
		known := false
		for _, t := range v.tables {
			if t.k == k.to && t.element >= i && t.element < int(v.d.Elements[i].Next) && t.rows[row] {
				known = true
				break
			}
		}
		if !known {
			v.problem(i, -1, "xsd.key", "a reference leads to no key")
			return
		}
	}
}

// row is the values of the fields at an element; whole says that all are there.
func (v *Validation) row(at int, k *constraint) (row string, whole bool) {
	var b []byte
	for f := range k.fields {
		n := 0
		take := func(s *simple, text []byte, e int) {
			if n++; n > 1 {
				v.problem(at, -1, "xsd.key", "a field of a key stands more than once")
				return
			}
			b = append(b, byte(s.prim))
			b = s.canonical(b, text, v, e)
			b = append(b, 0)
		}
		seen := -1
		for p := range k.fields[f] {
			path := &k.fields[f][p]
			v.find(at, path, func(e int) {
				el := &v.d.Elements[e]
				if path.attribute == nil {
					if t := v.types[e]; t != nil && t.simple != nil && e != seen {
						seen = e
						text := v.d.AppendText(nil, e)
						take(t.simple, text, e)
					}
					return
				}
				for a := el.Attr; a < el.Attr+el.Attrs; a++ {
					if x := &v.d.Attributes[a]; v.values[a] != nil && path.attribute.holds(x.Space, x.Local) {
						take(v.values[a], x.Value, e)
					}
				}
			})
		}
		if n == 0 {
			return "", false
		}
	}
	return string(b), true
}

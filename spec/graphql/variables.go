package graphql

import (
	"bytes"
	"strconv"

	"github.com/vektah/gqlparser/v2/ast"
	"sallyport.dev/spec/jsondoc"
)

// A Report takes what a check of variables finds, with the node it is at.
type Report func(node int, rule, detail string)

// Variables checks the variables in the object at node root of d, -1 for none,
// against their definitions, and marks the strings that are proven harmless.
// Unknown gets the members that the operation does not define.
func (o *Operation) Variables(d *jsondoc.Doc, root int, report Report, unknown func(node int)) {
	if root >= 0 && d.Nodes[root].Kind == jsondoc.Null {
		root = -1
	}
	if root >= 0 && d.Nodes[root].Kind != jsondoc.Object {
		report(root, "graphql.variables", "variables are no object")
		return
	}
	for _, v := range o.variables {
		i := member(d, root, v.Variable)
		if i < 0 {
			if v.Type.NonNull && v.DefaultValue == nil {
				report(max(root, 0), "graphql.variables", "variable $"+v.Variable+" is missing")
			}
			continue
		}
		o.schema.value(d, i, v.Type, "$"+v.Variable, report)
	}
	if root < 0 {
		return
	}
	for i := root + 1; i < int(d.Nodes[root].Next); i = int(d.Nodes[i].Next) {
		if o.variables.ForName(string(d.Key(i, nil))) == nil {
			unknown(i)
		}
	}
}

// member finds a member of the object at root.
func member(d *jsondoc.Doc, root int, name string) int {
	if root < 0 || d.Nodes[root].Kind != jsondoc.Object {
		return -1
	}
	for i := root + 1; i < int(d.Nodes[root].Next); i = int(d.Nodes[i].Next) {
		n := &d.Nodes[i]
		if !n.KeyEscaped {
			if string(d.Src[n.KeyStart:n.KeyEnd]) == name {
				return i
			}
		} else if string(d.Key(i, nil)) == name {
			return i
		}
	}
	return -1
}

// value checks one input value against its type (GraphQL specification, input
// coercion).
func (s *Schema) value(d *jsondoc.Doc, i int, t *ast.Type, name string, report Report) {
	n := &d.Nodes[i]
	if n.Kind == jsondoc.Null {
		if t.NonNull {
			report(i, "graphql.variables", name+" is null")
		}
		return
	}
	if t.Elem != nil {
		if n.Kind != jsondoc.Array {
			s.value(d, i, t.Elem, name, report) // one value stands for a list of it
			return
		}
		for k := i + 1; k < int(n.Next); k = int(d.Nodes[k].Next) {
			s.value(d, k, t.Elem, name, report)
		}
		return
	}
	wrong := func() { report(i, "graphql.variables", name+" is no "+t.NamedType) }
	switch t.NamedType {
	case "Int":
		if n.Kind != jsondoc.Number {
			wrong()
		} else if _, err := strconv.ParseInt(string(d.Raw(i)), 10, 32); err != nil {
			wrong()
		}
		return
	case "Float":
		if n.Kind != jsondoc.Number {
			wrong()
		} else if _, err := strconv.ParseFloat(string(d.Raw(i)), 64); err != nil {
			wrong()
		}
		return
	case "String":
		if n.Kind != jsondoc.String {
			wrong()
		}
		return
	case "Boolean":
		if n.Kind != jsondoc.True && n.Kind != jsondoc.False {
			wrong()
		}
		return
	case "ID":
		if n.Kind != jsondoc.String && !(n.Kind == jsondoc.Number && !bytes.ContainsAny(d.Raw(i), ".eE")) {
			wrong()
		}
		return
	}
	def := s.ast.Types[t.NamedType]
	switch {
	case def == nil:
		wrong()
	case def.Kind == ast.Enum:
		if n.Kind != jsondoc.String || n.Escaped || !s.enums[def.Name][string(d.Src[n.Start:n.End])] {
			wrong()
			return
		}
		n.Proven = true
	case def.Kind == ast.InputObject:
		if n.Kind != jsondoc.Object {
			wrong()
			return
		}
		s.object(d, i, def, name, report)
	}
}

func (s *Schema) object(d *jsondoc.Doc, i int, def *ast.Definition, name string, report Report) {
	given := 0
	for k := i + 1; k < int(d.Nodes[i].Next); k = int(d.Nodes[k].Next) {
		f := def.Fields.ForName(string(d.Key(k, nil)))
		if f == nil {
			report(k, "graphql.variables", def.Name+" has no such field")
			continue
		}
		given++
		if d.Nodes[k].Kind == jsondoc.Null && def.Directives.ForName("oneOf") != nil {
			report(k, "graphql.variables", def.Name+" takes exactly one field, not null")
		}
		s.value(d, k, f.Type, def.Name+"."+f.Name, report)
	}
	if def.Directives.ForName("oneOf") != nil {
		if given != 1 {
			report(i, "graphql.variables", def.Name+" takes exactly one field")
		}
		return
	}
	for _, f := range def.Fields {
		if f.Type.NonNull && f.DefaultValue == nil && member(d, i, f.Name) < 0 {
			report(i, "graphql.variables", def.Name+"."+f.Name+" is missing")
		}
	}
}

// Cost is what the operation is taken to cost with the variables in the object
// at node root of d, -1 for none.
func (o *Operation) Cost(d *jsondoc.Doc, root int) int64 { return o.cost.of(d, root) }

func (c *cost) of(d *jsondoc.Doc, root int) int64 {
	sum := c.base
	for i := range c.parts {
		p := &c.parts[i]
		n := int64(1)
		if p.variable != "" {
			n = p.fallback
			if k := member(d, root, p.variable); k >= 0 && d.Nodes[k].Kind == jsondoc.Number {
				if v, err := strconv.ParseInt(string(d.Raw(k)), 10, 64); err == nil && v > 0 {
					n = v
				}
			}
		}
		sum = plus(sum, mul(mul(p.times, n), p.inner.of(d, root)))
	}
	return sum
}

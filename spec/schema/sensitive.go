package schema

import "sallyport.dev/spec/source"

// sensitive reads x-sensitive: a kind of sensitive data, or a list of them, that
// the value is declared to hold.
func (c *Compiler) sensitive(n *node, v *source.Value, res *resource) {
	list := []*source.Value{v}
	if v.Is(source.Array) {
		list = v.Items
	}
	for _, x := range list {
		if !x.Is(source.String) || x.Text == "" {
			c.fault(res, x, "x-sensitive must be the name of a kind of data, or a list of names", "")
			continue
		}
		n.sensitive = append(n.sensitive, x.Text)
	}
}

// kindOfFormat are formats that say by themselves which kind of data a string is.
var kindOfFormat = map[string]string{"email": "email", "idn-email": "email", "ipv4": "ipv4", "ipv6": "ipv6"}

// Sensitive lists the kinds of sensitive data that values of the schema are
// declared to hold, each once: by x-sensitive, or by a format that says as much.
func (s *Schema) Sensitive() []string {
	var out []string
	have := map[string]bool{}
	add := func(kind string) {
		if kind != "" && !have[kind] {
			have[kind] = true
			out = append(out, kind)
		}
	}
	seen := map[*node]bool{}
	var walk func(n *node)
	walk = func(n *node) {
		if n == nil || seen[n] {
			return
		}
		seen[n] = true
		for _, k := range n.sensitive {
			add(k)
		}
		if n.text != nil {
			add(kindOfFormat[n.text.formatName])
		}
		n.inPlace(walk)
		if n.dynamic != nil {
			walk(n.dynamic.static)
		}
		walk(n.leftItems)
		walk(n.leftProperties)
		if a := n.array; a != nil {
			for _, x := range a.prefix {
				walk(x)
			}
			walk(a.rest)
			walk(a.contains)
		}
		if o := n.object; o != nil {
			for _, e := range o.entries {
				walk(e.n)
			}
			for _, p := range o.patterns {
				walk(p.n)
			}
			walk(o.additional)
		}
	}
	walk(s.root)
	return out
}

package code

// A node is a router that others may be mounted in.
type node struct {
	framework string
	prefix    string // of its own
	root      bool   // it serves where nothing mounts it
	mounts    []mount
}

type mount struct {
	in     *node
	prefix string
}

// A pending route waits until all mounts are known.
type pending struct {
	on    *node
	route Route // Template still as written
}

const maxPrefixes = 32 // of one router

// prefixes lists where n is reached. partial says that its mount isn't known.
func (n *node) prefixes(depth int) (list []string, partial bool) {
	if depth > 12 { // mounted in itself
		return nil, false
	}
	for _, m := range n.mounts {
		up, p := m.in.prefixes(depth + 1)
		partial = partial || p
		for _, u := range up {
			if len(list) < maxPrefixes {
				list = append(list, glue(glue(u, m.prefix), n.prefix))
			}
		}
	}
	if len(list) == 0 {
		return []string{n.prefix}, !n.root
	}
	return list, partial
}

// glue joins two prefixes; nothing and / add nothing.
func glue(a, b string) string {
	if b == "" || b == "/" {
		return a
	}
	return join(a, b)
}

// settle adds every pending route under each prefix of its router; form turns
// a path as written into templates.
func settle(list []pending, r *Report, form func(string) ([]string, bool)) {
	for _, p := range list {
		prefixes, partial := p.on.prefixes(0)
		for _, prefix := range prefixes {
			templates, rest := form(join(prefix, p.route.Template))
			for _, t := range templates {
				x := p.route
				x.Template, x.Rest, x.Partial = t, rest, partial
				r.add(x)
			}
		}
	}
}

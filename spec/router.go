package spec

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// A router is a trie over path segments. Each node is visited at most once per
// request, so that no path makes it slow.
type router struct {
	root    routeNode
	longest int
}

type routeNode struct {
	literal map[string]*routeNode
	mixed   []*mixedNode // segments such as {id}.json, most literal text first
	param   *routeNode   // a segment that is one parameter
	leaf    *leaf
}

type mixedNode struct {
	parts []string // literal text around the parameters: one more than those
	next  *routeNode
}

type leaf struct {
	operations []*Operation
	allowed    []string
}

type conflict struct{ first *Operation }

func (c *conflict) Error() string { return "operation is declared twice" }

func (r *router) add(op *Operation) error {
	n := &r.root
	names := templateNames(op.Template)
	if len(names) > MaxPathParams {
		return fmt.Errorf("path has more than %d parameters", MaxPathParams)
	}
	op.names = names
	if op.Template == "" || op.Template[0] != '/' {
		return errors.New("path does not begin with /")
	}
	segments := strings.Split(op.Template[1:], "/")
	for i, s := range segments {
		if d, ok := unescape(s); ok {
			s = d
		}
		if s == "." || s == ".." {
			return errors.New("path holds a dot segment, which no request can reach")
		}
		if s == "" && i < len(segments)-1 {
			return errors.New("path holds an empty segment")
		}
		parts, err := segmentParts(s)
		if err != nil {
			return err
		}
		switch {
		case len(parts) == 1:
			if n.literal == nil {
				n.literal = map[string]*routeNode{}
			}
			if n.literal[s] == nil {
				n.literal[s] = &routeNode{}
			}
			n = n.literal[s]
		case len(parts) == 2 && parts[0] == "" && parts[1] == "":
			if n.param == nil {
				n.param = &routeNode{}
			}
			n = n.param
		default:
			i := slices.IndexFunc(n.mixed, func(m *mixedNode) bool { return slices.Equal(m.parts, parts) })
			if i < 0 {
				n.mixed = append(n.mixed, &mixedNode{parts: parts, next: &routeNode{}})
				i = len(n.mixed) - 1
			}
			n = n.mixed[i].next
		}
	}
	if n.leaf == nil {
		n.leaf = &leaf{}
	}
	for _, o := range n.leaf.operations {
		if o.Method == op.Method {
			return &conflict{o}
		}
	}
	n.leaf.operations = append(n.leaf.operations, op)
	return nil
}

// leaf is where the template was added, nil when it was not.
func (r *router) leaf(template string) *leaf {
	n := &r.root
	for s := range strings.SplitSeq(strings.TrimPrefix(template, "/"), "/") {
		if d, ok := unescape(s); ok {
			s = d
		}
		parts, err := segmentParts(s)
		if err != nil {
			return nil
		}
		var next *routeNode
		switch {
		case len(parts) == 1:
			next = n.literal[s]
		case len(parts) == 2 && parts[0] == "" && parts[1] == "":
			next = n.param
		default:
			if i := slices.IndexFunc(n.mixed, func(m *mixedNode) bool { return slices.Equal(m.parts, parts) }); i >= 0 {
				next = n.mixed[i].next
			}
		}
		if next == nil {
			return nil
		}
		n = next
	}
	return n.leaf
}

// segmentParts is the literal text around the parameters of a segment.
func segmentParts(s string) (parts []string, err error) {
	for {
		i := strings.IndexByte(s, '{')
		if i < 0 {
			if strings.IndexByte(s, '}') >= 0 {
				return nil, errors.New("path holds } without {")
			}
			return append(parts, s), nil
		}
		j := strings.IndexByte(s, '}')
		if j < i {
			return nil, errors.New("path holds { without }, or a parameter with a slash")
		}
		if len(parts) > 0 && i == 0 {
			return nil, errors.New("path holds two parameters with nothing between them")
		}
		if j == i+1 {
			return nil, errors.New("path holds a parameter without a name")
		}
		parts = append(parts, s[:i])
		s = s[j+1:]
	}
}

// seal sorts what must be sorted once all routes are in.
func (r *router) seal() { r.root.seal() }

func (n *routeNode) seal() {
	if n.leaf != nil {
		n.leaf.allowed = nil
		for _, o := range n.leaf.operations {
			n.leaf.allowed = append(n.leaf.allowed, o.Method)
		}
		if slices.Contains(n.leaf.allowed, http.MethodGet) && !slices.Contains(n.leaf.allowed, http.MethodHead) {
			n.leaf.allowed = append(n.leaf.allowed, http.MethodHead)
		}
		slices.Sort(n.leaf.allowed)
	}
	for _, x := range n.literal {
		x.seal()
	}
	weight := func(m *mixedNode) int {
		w := 0
		for _, p := range m.parts {
			w += len(p)
		}
		return w
	}
	slices.SortStableFunc(n.mixed, func(a, b *mixedNode) int { return weight(b) - weight(a) })
	for _, m := range n.mixed {
		m.next.seal()
	}
	if n.param != nil {
		n.param.seal()
	}
}

// Match finds the operation for a method and an escaped path without query.
// Concrete segments go before templated ones; a path with dot segments or
// empty ones has no operation, and neither has one in which a parameter holds
// what some servers read as the literal of another template. A HEAD that is not declared is answered by the
// path's GET. It does not allocate.
func (s *Set) Match(method, escapedPath string, m *Match) Outcome {
	m.Op, m.N, m.Allowed, m.Implied = nil, 0, nil, false
	if escapedPath == "" || escapedPath[0] != '/' {
		return NoPath
	}
	l := s.router.root.walk(escapedPath[1:], method, m, 0)
	if l == nil {
		m.N = 0
		if m.Allowed != nil {
			return NoMethod
		}
		return NoPath
	}
	for _, o := range l.operations {
		if o.Method == method {
			m.Op = o
		}
	}
	if m.Op == nil {
		m.Implied = true
		for _, o := range l.operations {
			if o.Method == http.MethodGet {
				m.Op = o
			}
		}
	}
	if len(m.Op.names) > 0 && s.hides(m.Op, method, escapedPath) {
		m.Op, m.N, m.Implied = nil, 0, false
		return NoPath
	}
	m.Allowed = l.allowed
	m.N = len(m.Op.names)
	for i, name := range m.Op.names {
		m.Params[i].Name = name
	}
	return Found
}

func (l *leaf) has(method string) bool {
	for _, o := range l.operations {
		if o.Method == method || method == http.MethodHead && o.Method == http.MethodGet {
			return true
		}
	}
	return false
}

// walk matches what is left of the path; k parameters are set so far.
func (n *routeNode) walk(rest, method string, m *Match, k int) *leaf {
	segment, next, more := rest, "", false
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		segment, next, more = rest[:i], rest[i+1:], true
	}
	if dots(segment) || segment == "" && more {
		return nil
	}
	if n.literal != nil {
		var x *routeNode
		if strings.IndexByte(segment, '%') < 0 {
			x = n.literal[segment]
		} else {
			var buf [256]byte
			if d, ok := appendUnescaped(buf[:0], segment, false); ok {
				x = n.literal[string(d)]
			}
		}
		if x != nil {
			if l := x.step(next, more, method, m, k); l != nil {
				return l
			}
		}
	}
	if segment == "" {
		return nil
	}
	for _, x := range n.mixed {
		if j := x.match(segment, m, k); j > 0 {
			if l := x.next.step(next, more, method, m, j); l != nil {
				return l
			}
		}
	}
	if n.param != nil && k < MaxPathParams {
		m.Params[k].Raw = segment
		l := n.param.step(next, more, method, m, k+1)
		m.Params[k].Raw = segment
		return l
	}
	return nil
}

func (n *routeNode) step(next string, more bool, method string, m *Match, k int) *leaf {
	if more {
		return n.walk(next, method, m, k)
	}
	if n.leaf == nil {
		return nil
	}
	if n.leaf.has(method) {
		return n.leaf
	}
	if m.Allowed == nil {
		m.Allowed = n.leaf.allowed
	}
	return nil
}

// match sets the parameters of a mixed segment and gives the new count, 0 if
// it does not fit.
func (x *mixedNode) match(s string, m *Match, k int) int {
	last := len(x.parts) - 1
	if k+last > MaxPathParams || !strings.HasPrefix(s, x.parts[0]) {
		return 0
	}
	s = s[len(x.parts[0]):]
	for i := 1; i <= last; i++ {
		part := x.parts[i]
		end := len(s)
		if i == last {
			if !strings.HasSuffix(s, part) {
				return 0
			}
			end -= len(part)
		} else if j := strings.Index(s[min(1, len(s)):], part); j >= 0 {
			end = j + 1
		} else {
			return 0
		}
		if end <= 0 {
			return 0
		}
		m.Params[k].Raw = s[:end]
		k++
		s = s[end+len(part):]
	}
	return k
}

// dots reports whether a segment is "." or "..", escaped or with a path
// parameter behind it, as some servers see it.
func dots(s string) bool {
	n := 0
	for len(s) > 0 {
		switch {
		case s[0] == '.':
			s = s[1:]
		case len(s) >= 3 && s[0] == '%' && s[1] == '2' && s[2]|0x20 == 'e':
			s = s[3:]
		case s[0] == ';':
			return n == 1 || n == 2
		default:
			return false
		}
		n++
	}
	return n == 1 || n == 2
}

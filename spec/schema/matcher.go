package schema

import (
	"fmt"
	"regexp"
	"regexp/syntax"
)

// A Matcher decides a regular expression in Go's syntax on the cheapest machine
// that can, in time linear in the text. It is immutable and safe for concurrent use.
type Matcher struct{ p pattern }

// NewMatcher compiles an expression; a long one is refused.
func NewMatcher(expression string) (*Matcher, error) {
	if len(expression) > 64<<10 {
		return nil, fmt.Errorf("the expression is longer than 64 KiB")
	}
	tree, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return nil, err
	}
	m := &Matcher{pattern{text: expression, longest: -1}}
	if m.p.run = newClassRun(tree); m.p.run != nil {
		return m, nil
	}
	if m.p.auto = newAutomaton(tree); m.p.auto != nil && len(m.p.auto.next) <= 1<<14 {
		return m, nil
	}
	m.p.auto = nil
	m.p.re, err = regexp.Compile(expression)
	return m, err
}

// Match reports whether the expression matches somewhere in b.
func (m *Matcher) Match(b []byte) bool { return m.p.match(b) }

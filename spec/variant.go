package spec

import (
	"regexp"
	"strings"
)

// A lenient router holds the templates as the most forgiving servers read them:
// without case. It is asked about paths that Match does not know, and about
// those in which a parameter may hide a literal.
func (s *Set) lenient() {
	for _, op := range s.operations {
		// Two templates that differ by case alone, and a template that cannot be
		// read this way, have been reported or lose nothing: the first one stands.
		_ = s.loose.add(&Operation{Method: op.Method, Template: forgive(op.Template)})
		s.cased = s.cased || !plain(templateName.ReplaceAllString(op.Template, "x"))
	}
	s.loose.seal()
	for _, op := range s.operations {
		op.loose = s.loose.leaf(forgive(op.Template))
	}
}

var templateName = regexp.MustCompile(`\{[^{}/]*\}`)

// hides reports whether some servers read the path, which op matches, as one of
// another template: /pets/Search, where /pets/{id} and /pets/search are declared.
func (s *Set) hides(op *Operation, method, escapedPath string) bool {
	if op.loose == nil || !s.cased && plain(escapedPath) {
		return false
	}
	var m Match
	l := s.loose.root.walk(forgive(escapedPath)[1:], method, &m, 0)
	return l != nil && l != op.loose
}

// plain reports whether forgive leaves p, which has no empty segment, as it is.
func plain(p string) bool {
	for i := range len(p) {
		switch c := p[i]; {
		case c == '.':
			if i+1 == len(p) || p[i+1] == '/' {
				return false
			}
		case c <= ' ' || c >= 0x7f || 'A' <= c && c <= 'Z' || c == '%' || c == ';' || c == '\\' || c == '?' || c == '#':
			return false
		}
	}
	return true
}

// Variant reports whether a path that Match does not know may be read by some
// servers as one that is declared: another case, empty or dot segments, a slash
// at the end, path parameters (;x=1), dots or blanks at the end of a segment,
// backslashes, a second percent-encoding, an encoded ? or #; or in which such a
// reading hides behind a parameter. Whoever lets
// undeclared paths through must not let these through: behind them would be a
// declared operation without the checks that belong to it.
func (s *Set) Variant(escapedPath string) bool {
	if !strings.HasPrefix(escapedPath, "/") {
		return false
	}
	var m Match
	s.loose.root.walk(forgive(escapedPath)[1:], "", &m, 0)
	return m.Allowed != nil // a leaf was reached; it has no method ""
}

// forgive reads a path as leniently as any server does.
func forgive(p string) string {
	for range 3 {
		d, ok := unescape(p)
		if !ok || d == p {
			break
		}
		p = d
	}
	if i := strings.IndexAny(p, "?#\x00"); i >= 0 {
		p = p[:i]
	}
	var kept []string
	for segment := range strings.SplitSeq(strings.ReplaceAll(p, `\`, "/"), "/") {
		segment, _, _ = strings.Cut(segment, ";")
		segment = strings.TrimSpace(segment)
		if segment == ".." {
			kept = kept[:max(0, len(kept)-1)]
			continue
		}
		if segment = strings.TrimRight(segment, ". "); segment != "" {
			kept = append(kept, strings.ReplaceAll(segment, "%", "%25"))
		}
	}
	return "/" + strings.ToLower(strings.Join(kept, "/"))
}

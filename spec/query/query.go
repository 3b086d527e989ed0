// Package query parses values that are written in a query language: OData's
// system options, lists of fields and sort keys, conditions in the manner of SQL,
// RSQL, Lucene's simple syntax and JSONPath. In come a value and the names that
// it may speak of; out go the string literals inside, for whoever inspects
// values, or the place at which it leaves the grammar. Each grammar is a list of
// what is allowed: no statements, subqueries, comments, scripts or functions
// but those listed. Length, depth and the number of terms are bounded; nothing is
// evaluated.
package query

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The bounds of a value.
const (
	MaxBytes = 4096
	MaxDepth = 24
	MaxTerms = 256
)

// A Language is one grammar with the names that values may use. It is immutable
// and safe for concurrent use.
type Language struct {
	name      string
	parse     func(*parser)
	fields    map[string]bool // nil = any plain name
	functions map[string]bool // of sql-expression
}

var grammars = map[string]func(*parser){
	"odata-filter":   func(p *parser) { p.filter() },
	"odata-orderby":  func(p *parser) { p.orderBy() },
	"odata-select":   func(p *parser) { p.selected() },
	"odata-expand":   func(p *parser) { p.expand() },
	"sort-list":      func(p *parser) { p.sortList() },
	"field-list":     func(p *parser) { p.fieldList() },
	"sql-expression": func(p *parser) { p.condition() },
	"rsql":           func(p *parser) { p.rsql() },
	"fiql":           func(p *parser) { p.rsql() },
	"lucene":         func(p *parser) { p.lucene() },
	"json-path":      func(p *parser) { p.jsonPath() },
}

// Names lists the languages.
func Names() []string {
	var out []string
	for n := range grammars {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// Known reports whether there is a language of that name.
func Known(name string) bool { return grammars[name] != nil }

// New gives a language in which values may use the fields listed (none = any
// plain name) and, in sql-expression, the functions.
func New(name string, fields, functions []string) (*Language, error) {
	l := &Language{name: name, parse: grammars[name]}
	if l.parse == nil {
		return nil, fmt.Errorf("there is no query language %q", name)
	}
	if name == "sql-expression" && len(fields) == 0 {
		return nil, fmt.Errorf("sql-expression wants the list of its fields")
	}
	if len(functions) > 0 && name != "sql-expression" {
		return nil, fmt.Errorf("%s takes no list of functions", name)
	}
	if len(fields) > 0 {
		l.fields = map[string]bool{}
		for _, f := range fields {
			l.fields[f] = true
		}
	}
	l.functions = map[string]bool{}
	for _, f := range functions {
		l.functions[strings.ToLower(f)] = true
	}
	return l, nil
}

// Name is the language's name.
func (l *Language) Name() string { return l.name }

// An Error is where a value leaves the grammar, and how.
type Error struct {
	At      int // byte
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("%s at byte %d", e.Message, e.At) }

// Parse parses a value and appends its string literals to literals, decoded. The
// error is an *Error.
func (l *Language) Parse(text string, literals []string) ([]string, error) {
	p := &parser{l: l, s: text, literals: literals}
	if len(text) > MaxBytes {
		return literals, &Error{MaxBytes, fmt.Sprintf("the value is longer than %d bytes", MaxBytes)}
	}
	if !utf8.ValidString(text) {
		return literals, &Error{0, "the value is not UTF-8"}
	}
	for i := range len(text) {
		if text[i] < 0x20 && text[i] != '\t' || text[i] == 0x7f {
			return literals, &Error{i, "a control character"}
		}
	}
	p.space()
	if l.parse(p); p.err == nil {
		if p.space(); p.i < len(p.s) {
			p.fail("something follows that the grammar has no place for")
		}
	}
	if p.err != nil {
		return literals, p.err
	}
	return p.literals, nil
}

type parser struct {
	l        *Language
	s        string
	i        int
	depth    int
	terms    int
	literals []string
	vars     []string // of lambda expressions
	err      *Error
	retries  int
}

func (p *parser) fail(message string) bool {
	if p.err == nil {
		p.err = &Error{p.i, message}
	}
	return false
}

// enter goes one level down; leave must follow where it is true.
func (p *parser) enter() bool {
	if p.err != nil {
		return false
	}
	if p.depth++; p.depth > MaxDepth {
		return p.fail("nested too deep")
	}
	return true
}

func (p *parser) leave() { p.depth-- }

func (p *parser) term() bool {
	if p.terms++; p.terms > MaxTerms {
		return p.fail("too many terms")
	}
	return p.err == nil
}

func (p *parser) space() {
	for p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\t') {
		p.i++
	}
}

func (p *parser) peek() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

func (p *parser) take(s string) bool {
	if strings.HasPrefix(p.s[p.i:], s) {
		p.i += len(s)
		return true
	}
	return false
}

func (p *parser) want(s string) bool {
	if p.err != nil {
		return false
	}
	if !p.take(s) {
		return p.fail("expected " + s)
	}
	return true
}

func letter(r rune) bool { return r == '_' || unicode.IsLetter(r) }

// ident reads a plain name, "" when there is none.
func (p *parser) ident() string {
	start := p.i
	for p.i < len(p.s) {
		r, n := utf8.DecodeRuneInString(p.s[p.i:])
		if !letter(r) && !(p.i > start && unicode.IsDigit(r)) {
			break
		}
		p.i += n
	}
	if p.i-start > 128 {
		p.fail("a name is too long")
	}
	return p.s[start:p.i]
}

// word takes a word of the language where it stands whole.
func (p *parser) word(w string) bool {
	at := p.i
	if id := p.ident(); strings.EqualFold(id, w) {
		return true
	}
	p.i = at
	return false
}

// exact is word with case.
func (p *parser) exact(w string) bool {
	at := p.i
	if p.ident() == w {
		return true
	}
	p.i = at
	return false
}

// field checks a name against those allowed. path is the whole of it, where it
// has several steps: either the whole is listed, or each step.
func (p *parser) field(path string, at int) bool {
	if p.l.fields == nil || p.l.fields[path] {
		return p.term()
	}
	for _, step := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '/' }) {
		if !p.l.fields[step] && !slices.Contains(p.vars, step) {
			p.i = at
			return p.fail("a name that is not one of the fields")
		}
	}
	return p.term()
}

// path reads names joined by one of seps.
func (p *parser) path(seps string) (string, bool) {
	start := p.i
	for {
		if p.ident() == "" {
			return "", p.fail("expected a name")
		}
		at := p.i
		if p.i < len(p.s) && strings.IndexByte(seps, p.s[p.i]) >= 0 {
			p.i++
			if r, _ := utf8.DecodeRuneInString(p.s[p.i:]); letter(r) {
				continue
			}
			p.i = at
		}
		return p.s[start:at], p.err == nil
	}
}

func (p *parser) literal(v string) {
	if v != "" {
		p.literals = append(p.literals, v)
	}
}

// quoted reads a string in which the quote is written twice. Backslashes are
// let through only where no reader takes them for an escape.
func (p *parser) quoted(backslash bool) bool {
	q := p.peek()
	if q != '\'' && q != '"' {
		return p.fail("expected a string")
	}
	at := p.i
	p.i++
	var b strings.Builder
	for p.i < len(p.s) {
		c := p.s[p.i]
		switch {
		case c == q && p.i+1 < len(p.s) && p.s[p.i+1] == q:
			b.WriteByte(q)
			p.i += 2
			continue
		case c == q:
			p.i++
			p.literal(b.String())
			return p.term()
		case c == '\\' && !backslash:
			return p.fail("a backslash in a string, which some databases read as an escape")
		}
		b.WriteByte(c)
		p.i++
	}
	p.i = at
	return p.fail("a string has no end")
}

// escaped reads a string with backslash escapes.
func (p *parser) escaped(unicodeEscapes bool) (string, bool) {
	q := p.peek()
	at := p.i
	p.i++
	var b strings.Builder
	for p.i < len(p.s) {
		c := p.s[p.i]
		switch {
		case c == q:
			p.i++
			return b.String(), p.term()
		case c == '\\' && p.i+1 < len(p.s):
			p.i++
			e := p.s[p.i]
			if unicodeEscapes {
				k := strings.IndexByte(`bfnrt/\'"`, e)
				if k < 0 {
					return "", p.fail("an escape that is not supported")
				}
				e = "\b\f\n\r\t/\\'\""[k]
			}
			b.WriteByte(e)
			p.i++
			continue
		case c == '\\':
			return "", p.fail("an escape has no end")
		}
		b.WriteByte(c)
		p.i++
	}
	p.i = at
	return "", p.fail("a string has no end")
}

// number reads a number; ok is false, without a failure, when there is none.
func (p *parser) number() bool {
	i := p.i
	digits := func() bool {
		at := i
		for i < len(p.s) && p.s[i] >= '0' && p.s[i] <= '9' {
			i++
		}
		return i > at
	}
	if i < len(p.s) && (p.s[i] == '-' || p.s[i] == '+') {
		i++
	}
	if !digits() {
		return false
	}
	if i+1 < len(p.s) && p.s[i] == '.' {
		at := i
		i++
		if !digits() {
			i = at
		}
	}
	if i < len(p.s) && p.s[i]|0x20 == 'e' {
		at := i
		i++
		if i < len(p.s) && (p.s[i] == '-' || p.s[i] == '+') {
			i++
		}
		if !digits() {
			i = at
		}
	}
	if r, _ := utf8.DecodeRuneInString(p.s[i:]); letter(r) && i < len(p.s) {
		return false
	}
	p.i = i
	return p.term()
}

// whole reads an integer of at most digits digits.
func (p *parser) whole(digits int) bool {
	at := p.i
	p.take("-")
	n := 0
	for p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9' {
		p.i++
		n++
	}
	if n == 0 || n > digits {
		p.i = at
		return false
	}
	return true
}

// list reads one or more of item, parted by commas.
func (p *parser) list(item func() bool) bool {
	for {
		p.space()
		if !item() || p.err != nil {
			return false
		}
		p.space()
		if !p.take(",") {
			return true
		}
	}
}

// sortList is "name,-price" and "name:asc,price desc".
func (p *parser) sortList() {
	p.list(func() bool {
		if c := p.peek(); c == '-' || c == '+' {
			p.i++
		}
		at := p.i
		name, ok := p.path("./")
		if !ok || !p.field(name, at) {
			return false
		}
		colon := p.take(":")
		p.space()
		if !p.word("asc") && !p.word("desc") && colon {
			return p.fail("expected asc or desc")
		}
		return true
	})
}

// fieldList is "name,price" and "id,lines(sku,quantity)".
func (p *parser) fieldList() {
	if !p.enter() {
		return
	}
	defer p.leave()
	p.list(func() bool {
		if p.take("*") {
			return p.term()
		}
		at := p.i
		name, ok := p.path("./")
		if !ok || !p.field(name, at) {
			return false
		}
		if p.take("(") {
			p.fieldList()
			return p.want(")")
		}
		return true
	})
}

package code

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

type kind byte

const (
	word_   kind = iota // identifiers and keywords
	text_               // strings; value is what they stand for
	number_             // digits
	punct_              // one character, or one of the few pairs that matter
	line_               // the end of a line, in Python
	end_                // behind the last one
)

// A tok is one token of a language.
type tok struct {
	kind  kind
	value string
	line  int
	open  bool // a string that something is put into at run time
	col   int  // of the first token of a line, in Python
}

func (t tok) is(s string) bool   { return t.kind == punct_ && t.value == s }
func (t tok) word(s string) bool { return t.kind == word_ && t.value == s }

// A dialect says what comments and strings look like.
type dialect struct {
	slash    bool // // and /* */
	hash     bool // # to the end of the line
	single   bool // '…' is a string, otherwise one character
	template bool // `…${}…`
	triple   bool // """…""" (and ''' where single)
	raw      bool // r"…", f"…", b"…" of Python
	verbatim bool // @"…", $"…", """…""" of C#
	dollar   bool // "$x" and "${x}" put something in
	regex    bool // /…/ where an expression begins
	nested   bool // /* /* */ */
	lines    bool // line ends and indents matter
}

var (
	javaDialect   = dialect{slash: true, triple: true}
	kotlinDialect = dialect{slash: true, triple: true, dollar: true, nested: true}
	jsDialect     = dialect{slash: true, single: true, template: true, regex: true}
	pythonDialect = dialect{hash: true, single: true, triple: true, raw: true, lines: true}
	csDialect     = dialect{slash: true, verbatim: true}
)

// lex cuts text into tokens. It never fails: what it can't tell it passes over,
// one character at a time. The last token is end_.
func lex(s string, d dialect) []tok {
	l := &lexer{s: s, d: d, line: 1, start: true}
	for l.i < len(l.s) && len(l.out) < 2_000_000 {
		l.next()
	}
	l.out = append(l.out, tok{kind: line_, line: l.line}, tok{kind: end_, line: l.line})
	if !d.lines {
		l.out = append(l.out[:len(l.out)-2], tok{kind: end_, line: l.line})
	}
	return l.out
}

type lexer struct {
	s       string
	d       dialect
	i, line int
	depth   int // of brackets, where lines matter
	start   bool
	column  int
	out     []tok
}

func (l *lexer) put(k kind, v string, line int) {
	t := tok{kind: k, value: v, line: line, col: -1}
	if l.start && l.d.lines && l.depth == 0 {
		t.col = l.column
	}
	l.start = false
	l.out = append(l.out, t)
}

func (l *lexer) has(p string) bool { return strings.HasPrefix(l.s[l.i:], p) }

func (l *lexer) next() {
	c := l.s[l.i]
	switch {
	case c == '\n':
		l.line++
		l.i++
		l.column = 0
		if l.d.lines && l.depth == 0 {
			if !l.start {
				l.out = append(l.out, tok{kind: line_, line: l.line - 1, col: -1})
			}
			l.start = true
		}
	case c == ' ' || c == '\t' || c == '\r' || c == '\f':
		if l.start {
			if c == '\t' {
				l.column += 8 - l.column%8
			} else {
				l.column++
			}
		}
		l.i++
	case c == '\\' && l.d.lines && l.i+1 < len(l.s) && l.s[l.i+1] == '\n':
		l.line++
		l.i += 2
	case l.d.hash && c == '#':
		for l.i < len(l.s) && l.s[l.i] != '\n' {
			l.i++
		}
	case l.d.slash && l.has("//"):
		for l.i < len(l.s) && l.s[l.i] != '\n' {
			l.i++
		}
	case l.d.slash && l.has("/*"):
		l.comment()
	case l.d.verbatim && (c == '@' || c == '$' || c == '"'):
		l.sharp()
	case l.d.triple && l.has(`"""`):
		l.triple(`"""`, l.d.single, false)
	case l.d.triple && l.d.single && l.has(`'''`):
		l.triple(`'''`, true, false)
	case c == '"':
		l.quoted('"', false, false)
	case c == '\'' && l.d.single:
		l.quoted('\'', false, false)
	case c == '\'':
		l.quoted('\'', false, false)
		l.out[len(l.out)-1].kind = number_ // one character is no text
	case c == '`' && l.d.template:
		l.backtick()
	case c == '/' && l.d.regex && l.expression():
		l.pattern()
	case letter(c):
		j := l.i + 1
		for j < len(l.s) && (letter(l.s[j]) || l.s[j] >= '0' && l.s[j] <= '9') {
			j++
		}
		w := l.s[l.i:j]
		if l.d.raw && j < len(l.s) && (l.s[j] == '"' || l.s[j] == '\'') && len(w) <= 2 && strings.Trim(strings.ToLower(w), "rbfu") == "" {
			l.i = j
			low := strings.ToLower(w)
			raw, open := strings.Contains(low, "r"), strings.Contains(low, "f")
			if q := l.s[j : j+1]; l.has(q + q + q) {
				l.triple(q+q+q, !raw, open)
			} else {
				l.quoted(l.s[j], raw, open)
			}
			return
		}
		l.put(word_, w, l.line)
		l.i = j
	case c >= '0' && c <= '9':
		j := l.i + 1
		for j < len(l.s) && (letter(l.s[j]) || l.s[j] >= '0' && l.s[j] <= '9') {
			j++
		}
		l.put(number_, l.s[l.i:j], l.line)
		l.i = j
	default:
		for _, pair := range []string{"=>", "->", "::", "?.", "=="} {
			if l.has(pair) {
				l.put(punct_, pair, l.line)
				l.i += 2
				return
			}
		}
		switch c {
		case '(', '[', '{':
			l.put(punct_, l.s[l.i:l.i+1], l.line)
			l.depth++
			l.i++
			return
		case ')', ']', '}':
			l.depth = max(0, l.depth-1)
		}
		_, n := utf8.DecodeRuneInString(l.s[l.i:])
		l.put(punct_, l.s[l.i:l.i+n], l.line)
		l.i += n
	}
}

func letter(c byte) bool {
	return c == '_' || c == '$' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func (l *lexer) comment() {
	depth := 0
	for l.i < len(l.s) {
		switch {
		case l.has("/*") && (depth == 0 || l.d.nested):
			depth++
			l.i += 2
		case l.has("*/"):
			depth--
			l.i += 2
			if depth <= 0 {
				return
			}
		default:
			if l.s[l.i] == '\n' {
				l.line++
			}
			l.i++
		}
	}
}

// quoted reads a string up to its end, or to the end of the line when it has none.
func (l *lexer) quoted(q byte, raw, open bool) {
	line := l.line
	var b strings.Builder
	l.i++
	for l.i < len(l.s) && l.s[l.i] != q && l.s[l.i] != '\n' {
		switch c := l.s[l.i]; {
		case c == '\\' && raw && l.i+1 < len(l.s) && l.s[l.i+1] != '\n':
			b.WriteString(l.s[l.i : l.i+2])
			l.i += 2
		case c == '\\':
			l.escape(&b)
		case c == '$' && l.d.dollar && l.i+1 < len(l.s) && (letter(l.s[l.i+1]) || l.s[l.i+1] == '{'):
			open = true
			b.WriteByte(c)
			l.i++
		default:
			if open && c == '{' && l.d.raw {
				open = true
			}
			b.WriteByte(c)
			l.i++
		}
	}
	if l.i < len(l.s) && l.s[l.i] == q {
		l.i++
	}
	l.put(text_, b.String(), line)
	l.out[len(l.out)-1].open = open && (!l.d.raw || strings.Contains(b.String(), "{"))
}

func (l *lexer) escape(b *strings.Builder) {
	l.i++
	if l.i >= len(l.s) {
		return
	}
	c := l.s[l.i]
	l.i++
	switch c {
	case 'n':
		b.WriteByte('\n')
	case 't':
		b.WriteByte('\t')
	case 'r':
		b.WriteByte('\r')
	case '\n':
		l.line++
	case 'u', 'x':
		n := 4
		if c == 'x' {
			n = 2
		}
		if l.i+n <= len(l.s) {
			if v, err := strconv.ParseUint(l.s[l.i:l.i+n], 16, 32); err == nil {
				b.WriteRune(rune(v))
				l.i += n
			}
		}
	default:
		b.WriteByte(c)
	}
}

func (l *lexer) triple(q string, escapes, open bool) {
	line := l.line
	l.i += 3
	start := l.i
	for l.i < len(l.s) && !l.has(q) {
		if l.s[l.i] == '\\' && escapes && l.i+1 < len(l.s) {
			l.i++
		}
		if l.s[l.i] == '\n' {
			l.line++
		}
		l.i++
	}
	body := l.s[start:min(l.i, len(l.s))]
	l.i = min(l.i+3, len(l.s))
	l.put(text_, strings.TrimSpace(body), line)
	l.out[len(l.out)-1].open = open || l.d.dollar && strings.Contains(body, "$")
}

// sharp reads the strings of C#, with @ and $ in front of them, or passes over
// the sign.
func (l *lexer) sharp() {
	j, verbatim, dollars := l.i, false, 0
	for j < len(l.s) && (l.s[j] == '@' || l.s[j] == '$') {
		verbatim = verbatim || l.s[j] == '@'
		if l.s[j] == '$' {
			dollars++
		}
		j++
	}
	if j >= len(l.s) || l.s[j] != '"' {
		l.put(punct_, l.s[l.i:l.i+1], l.line)
		l.i++
		return
	}
	l.i = j
	switch {
	case l.has(`"""`):
		n := 0
		for l.i+n < len(l.s) && l.s[l.i+n] == '"' {
			n++
		}
		q := l.s[l.i : l.i+n]
		line := l.line
		l.i += n
		end := strings.Index(l.s[l.i:], q)
		if end < 0 {
			end = len(l.s) - l.i
		}
		body := l.s[l.i : l.i+end]
		l.line += strings.Count(body, "\n")
		l.i = min(l.i+end+n, len(l.s))
		l.put(text_, strings.TrimSpace(body), line)
	case verbatim:
		line := l.line
		var b strings.Builder
		for l.i++; l.i < len(l.s); l.i++ {
			if l.s[l.i] == '"' {
				if l.i+1 < len(l.s) && l.s[l.i+1] == '"' {
					l.i++
				} else {
					break
				}
			}
			if l.s[l.i] == '\n' {
				l.line++
			}
			b.WriteByte(l.s[l.i])
		}
		l.i = min(l.i+1, len(l.s))
		l.put(text_, b.String(), line)
	default:
		l.quoted('"', false, false)
	}
	t := &l.out[len(l.out)-1]
	t.open = dollars > 0 && strings.Contains(t.value, "{")
}

// backtick reads a template literal; with ${} in it, it is open.
func (l *lexer) backtick() {
	line, open := l.line, false
	var b strings.Builder
	l.i++
	for l.i < len(l.s) && l.s[l.i] != '`' {
		switch {
		case l.s[l.i] == '\\':
			l.escape(&b)
			continue
		case l.has("${"):
			open = true
			n := l.hole()
			l.line += strings.Count(l.s[l.i:l.i+n], "\n")
			b.WriteString("\x00" + l.s[l.i+2:max(l.i+2, l.i+n-1)] + "\x00")
			l.i += n
			continue
		case l.s[l.i] == '\n':
			l.line++
		}
		b.WriteByte(l.s[l.i])
		l.i++
	}
	l.i = min(l.i+1, len(l.s))
	l.put(text_, b.String(), line)
	l.out[len(l.out)-1].open = open
}

// hole is the length of ${…} here, strings in it passed over.
func (l *lexer) hole() int {
	depth := 0
	for j := l.i + 1; j < len(l.s); j++ {
		switch c := l.s[j]; c {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return j + 1 - l.i
			}
		case '"', '\'', '`':
			for j++; j < len(l.s) && l.s[j] != c; j++ {
				if l.s[j] == '\\' {
					j++
				}
			}
		}
	}
	return len(l.s) - l.i
}

// expression reports whether an expression begins here, so that / begins a
// pattern and does not divide.
func (l *lexer) expression() bool {
	if len(l.out) == 0 {
		return true
	}
	switch t := l.out[len(l.out)-1]; t.kind {
	case word_:
		switch t.value {
		case "return", "typeof", "case", "in", "of", "do", "else", "void", "delete", "throw", "new", "yield", "await":
			return true
		}
		return false
	case text_, number_:
		return false
	default:
		return t.value != ")" && t.value != "]" && t.value != "}"
	}
}

func (l *lexer) pattern() {
	j, class := l.i+1, false
	for ; j < len(l.s) && l.s[j] != '\n'; j++ {
		switch l.s[j] {
		case '\\':
			j++
		case '[':
			class = true
		case ']':
			class = false
		case '/':
			if !class {
				j++
				for j < len(l.s) && letter(l.s[j]) {
					j++
				}
				l.put(number_, "/", l.line)
				l.i = j
				return
			}
		}
	}
	l.put(punct_, "/", l.line) // it was a division after all
	l.i++
}

// A stream is the tokens of a file with the ends of its brackets.
type stream struct {
	name string
	t    []tok
	pair []int // of a bracket: where its other half is; itself when there is none
}

func newStream(s source, d dialect) *stream {
	st := &stream{name: s.name, t: lex(s.text, d)}
	st.pair = make([]int, len(st.t))
	var open []int
	for i, t := range st.t {
		st.pair[i] = i
		if t.kind != punct_ {
			continue
		}
		switch t.value {
		case "(", "[", "{":
			open = append(open, i)
		case ")", "]", "}":
			for n := len(open) - 1; n >= 0; n-- {
				o := st.t[open[n]].value
				if o == "(" && t.value == ")" || o == "[" && t.value == "]" || o == "{" && t.value == "}" {
					st.pair[open[n]], st.pair[i] = i, open[n]
					open = open[:n]
					break
				}
				if len(open)-n > 8 {
					break
				}
			}
		}
	}
	return st
}

// at is the token at i, the last one for what is out of range.
func (s *stream) at(i int) tok {
	if i < 0 || i >= len(s.t) {
		return tok{kind: end_}
	}
	return s.t[i]
}

// A part is a run of tokens, [from, to).
type part struct{ from, to int }

// args cuts what stands within the brackets at open by its commas.
func (s *stream) args(open int) []part {
	end := s.pair[open]
	if end <= open {
		return nil
	}
	var out []part
	from := open + 1
	for i := open + 1; i < end; i++ {
		if s.pair[i] > i {
			i = s.pair[i]
			continue
		}
		if s.t[i].is(",") {
			out = append(out, part{from, i})
			from = i + 1
		}
	}
	if from < end {
		out = append(out, part{from, end})
	}
	return out
}

// named finds the argument with this name ("name =" or "name:") and gives its value.
func (s *stream) named(args []part, name string) (part, bool) {
	for _, a := range args {
		if a.to-a.from >= 3 && s.t[a.from].word(name) && (s.t[a.from+1].is("=") || s.t[a.from+1].is(":")) {
			return part{a.from + 2, a.to}, true
		}
	}
	return part{}, false
}

func (s *stream) positional(args []part, n int) (part, bool) {
	for _, a := range args {
		if a.to-a.from >= 2 && s.t[a.from].kind == word_ && (s.t[a.from+1].is("=") || s.t[a.from+1].is(":")) {
			continue
		}
		if n == 0 {
			return a, true
		}
		n--
	}
	return part{}, false
}

// plain is the value of a part that is strings, constants by their names, and sums of both.
func (s *stream) plain(p part, consts map[string]string) (string, bool) {
	var b strings.Builder
	want := true
	for i := p.from; i < p.to; i++ {
		t := s.t[i]
		switch {
		case t.kind == line_:
		case want && t.kind == text_ && !t.open:
			b.WriteString(t.value)
			want = false
		case want && t.kind == text_ && strings.Contains(t.value, "\x00"):
			for n, piece := range strings.Split(t.value, "\x00") {
				if n%2 == 0 {
					b.WriteString(piece)
				} else if v, ok := consts[strings.TrimSpace(piece)]; ok {
					b.WriteString(v)
				} else {
					return "", false
				}
			}
			want = false
		case want && t.kind == word_:
			name := t.value
			for i+2 < p.to && s.t[i+1].is(".") && s.t[i+2].kind == word_ {
				name = s.t[i+2].value
				i += 2
			}
			v, ok := consts[name]
			if !ok {
				return "", false
			}
			b.WriteString(v)
			want = false
		case !want && t.is("+"):
			want = true
		case !want && t.kind == text_ && !t.open: // strings that stand side by side
			b.WriteString(t.value)
		default:
			return "", false
		}
	}
	return b.String(), !want && p.to > p.from
}

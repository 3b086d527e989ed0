package query

import (
	"slices"
	"strings"
)

// rsql is RSQL, of which FIQL (draft-nottingham-atompub-fiql-00) is a part.
func (p *parser) rsql() {
	if !p.enter() {
		return
	}
	defer p.leave()
	for {
		if p.rsqlTerm(); p.err != nil {
			return
		}
		at := p.i
		p.space()
		if !p.take(",") && !p.take(";") && !p.exact("and") && !p.exact("or") {
			p.i = at
			return
		}
		p.space()
	}
}

func (p *parser) rsqlTerm() {
	if p.take("(") {
		p.space()
		p.rsql()
		p.space()
		p.want(")")
		return
	}
	at := p.i
	name, ok := p.path("./")
	if !ok || !p.field(name, at) {
		return
	}
	p.space()
	switch {
	case p.take("=="), p.take("!="), p.take("<="), p.take(">="), p.take("<"), p.take(">"):
	case p.take("="):
		start := p.i
		for p.i < len(p.s) && p.s[p.i]|0x20 >= 'a' && p.s[p.i]|0x20 <= 'z' {
			p.i++
		}
		if p.i == start || p.i-start > 16 || !p.take("=") {
			p.fail("expected an operator such as == or =in=")
			return
		}
	default:
		p.fail("expected an operator such as == or =in=")
		return
	}
	p.space()
	if p.take("(") {
		p.list(p.rsqlValue)
		p.want(")")
		return
	}
	p.rsqlValue()
}

func (p *parser) rsqlValue() bool {
	if c := p.peek(); c == '\'' || c == '"' {
		v, ok := p.escaped(false)
		p.literal(v)
		return ok
	}
	start := p.i
	for p.i < len(p.s) && strings.IndexByte("\"'();,=!~<> \t", p.s[p.i]) < 0 {
		p.i++
	}
	if p.i == start {
		return p.fail("expected a value")
	}
	p.literal(p.s[start:p.i])
	return p.term()
}

// lucene is the simple part of Lucene's classic syntax: terms, phrases, ranges,
// groups and boolean words; no regular expressions, no wildcard at the front.
func (p *parser) lucene() {
	if !p.enter() {
		return
	}
	defer p.leave()
	n := 0
	for p.err == nil {
		p.space()
		if p.i == len(p.s) || p.peek() == ')' {
			if n == 0 {
				p.fail("expected a term")
			}
			return
		}
		if p.exact("AND") || p.exact("OR") || p.take("&&") || p.take("||") {
			if n == 0 {
				p.fail("an operator without a term before it")
			}
			n = 0
			continue
		}
		if p.exact("NOT") {
			n = 0
			continue
		}
		if c := p.peek(); c == '+' || c == '-' || c == '!' {
			p.i++
		}
		p.luceneClause()
		n++
	}
}

const luceneSpecial = `+-&|!(){}[]^"~*?:\/ ` + "\t"

func (p *parser) luceneClause() {
	at := p.i
	if name, ok := p.luceneName(); ok {
		if !p.field(name, at) {
			return
		}
		p.space()
	}
	switch c := p.peek(); c {
	case '(':
		p.i++
		p.lucene()
		p.want(")")
	case '"':
		v, ok := p.escaped(false)
		p.literal(v)
		if ok && p.take("~") && !p.whole(3) {
			p.fail("expected a number")
		}
	case '[', '{':
		p.i++
		p.space()
		p.luceneBound()
		p.space()
		if p.err == nil && !p.exact("TO") {
			p.fail("expected TO")
		}
		p.space()
		p.luceneBound()
		p.space()
		if p.err == nil && !p.take("]") && !p.take("}") {
			p.fail("a range has no end")
		}
	case '*', '?':
		if c == '*' && p.i > at && (p.i+1 == len(p.s) || p.s[p.i+1] == ' ' || p.s[p.i+1] == ')') {
			p.i++ // field:* asks whether there is one
			p.term()
			return
		}
		p.fail("a wildcard at the front of a term")
	case '<', '>':
		p.i++
		p.take("=")
		p.luceneTerm(false)
	default:
		p.luceneTerm(true)
		if p.take("~") {
			p.whole(1)
		}
	}
	if p.err == nil && p.take("^") && !p.number() {
		p.fail("expected a number")
	}
}

// luceneName reads a name with a colon behind it, if one stands there.
func (p *parser) luceneName() (string, bool) {
	at := p.i
	if r := p.peek(); r == '_' || r|0x20 >= 'a' && r|0x20 <= 'z' || r >= 0x80 {
		for p.ident() != "" && p.take(".") {
		}
		if end := p.i; p.err == nil && p.take(":") {
			return p.s[at:end], true
		}
	}
	p.i = at
	return "", false
}

func (p *parser) luceneBound() {
	switch {
	case p.take("*"):
		p.term()
	case p.peek() == '"':
		v, _ := p.escaped(false)
		p.literal(v)
	default:
		start := p.i
		for p.i < len(p.s) && strings.IndexByte(`[]{}()"\ `+"\t", p.s[p.i]) < 0 {
			p.i++
		}
		if p.i == start {
			p.fail("expected a bound")
			return
		}
		p.literal(p.s[start:p.i])
		p.term()
	}
}

func (p *parser) luceneTerm(wild bool) {
	var b strings.Builder
	start := p.i
	for p.i < len(p.s) {
		c := p.s[p.i]
		if c == '\\' && p.i+1 < len(p.s) {
			b.WriteByte(p.s[p.i+1])
			p.i += 2
			continue
		}
		inside := p.i > start && (c == '-' || c == '+' || wild && (c == '*' || c == '?'))
		if strings.IndexByte(luceneSpecial, c) >= 0 && !inside {
			break
		}
		b.WriteByte(c)
		p.i++
	}
	if p.i == start {
		p.fail("expected a term")
		return
	}
	p.literal(b.String())
	p.term()
}

// jsonPath is RFC 9535.
func (p *parser) jsonPath() {
	if !p.want("$") {
		return
	}
	p.segments()
}

func (p *parser) segments() {
	for p.err == nil {
		switch {
		case p.take(".."):
			if p.peek() != '[' {
				p.step()
				continue
			}
			p.bracket()
		case p.take("."):
			p.step()
		case p.peek() == '[':
			p.bracket()
		default:
			return
		}
	}
}

func (p *parser) step() {
	if p.take("*") {
		p.term()
		return
	}
	at := p.i
	name := p.ident()
	if name == "" {
		p.fail("expected a name")
		return
	}
	p.field(name, at)
}

func (p *parser) bracket() {
	if !p.enter() {
		return
	}
	defer p.leave()
	p.i++
	p.list(func() bool {
		switch c := p.peek(); {
		case c == '*':
			p.i++
			return p.term()
		case c == '\'' || c == '"':
			at := p.i
			v, ok := p.escaped(true)
			if p.l.fields == nil {
				p.literal(v)
			}
			return ok && p.field(v, at)
		case c == '?':
			p.i++
			return p.pathOr()
		}
		n := 0
		for ; n < 3; n++ {
			p.whole(9)
			if p.space(); n == 2 || !p.take(":") {
				break
			}
			p.space()
		}
		if n == 0 && (p.s[p.i-1] == '[' || p.s[p.i-1] == ',' || p.s[p.i-1] == ' ') {
			return p.fail("expected a name, an index, a slice or a filter")
		}
		return p.term()
	})
	p.space()
	p.want("]")
}

func (p *parser) pathOr() bool {
	if !p.enter() {
		return false
	}
	defer p.leave()
	for {
		for {
			if !p.pathTest() {
				return false
			}
			p.space()
			if !p.take("&&") {
				break
			}
		}
		if !p.take("||") {
			return true
		}
	}
}

func (p *parser) pathTest() bool {
	p.space()
	for p.take("!") {
		p.space()
	}
	if p.take("(") {
		return p.pathOr() && (p.takeSpaced(")") || p.fail("expected )"))
	}
	left := p.pathValue()
	if left == broken {
		return false
	}
	p.space()
	for _, op := range []string{"==", "!=", "<=", ">=", "<", ">"} {
		if p.take(op) {
			if out := both(left, p.pathValue()); out == constant {
				return p.fail("a comparison without a field")
			}
			return p.err == nil
		}
	}
	if left == constant {
		return p.fail("a comparison without a field")
	}
	return p.err == nil
}

func (p *parser) takeSpaced(s string) bool {
	p.space()
	return p.take(s)
}

var pathFunctions = []string{"length", "count", "match", "search", "value"}

func (p *parser) pathValue() operand {
	p.space()
	switch c := p.peek(); {
	case c == '@' || c == '$':
		p.i++
		if p.segments(); p.err == nil && p.term() {
			return variable
		}
		return broken
	case c == '\'' || c == '"':
		v, ok := p.escaped(true)
		if p.literal(v); ok {
			return constant
		}
		return broken
	}
	if p.number() {
		return constant
	}
	at := p.i
	name := p.ident()
	switch {
	case name == "true", name == "false", name == "null":
		if p.term() {
			return constant
		}
		return broken
	case slices.Contains(pathFunctions, name) && p.take("("):
		out := constant
		if !p.enter() {
			return broken
		}
		defer p.leave()
		if p.list(func() bool { out = both(out, p.pathValue()); return out != broken }) && p.want(")") {
			return out
		}
		return broken
	}
	p.i = at
	p.fail("expected a path, a literal or a function that is allowed")
	return broken
}

package query

import "strings"

// condition is what may stand behind WHERE: comparisons of fields joined by AND,
// OR and NOT.
func (p *parser) condition() operand {
	if !p.enter() {
		return broken
	}
	defer p.leave()
	out := p.sqlAnd()
	for out != broken {
		p.space()
		if !p.word("or") {
			break
		}
		out = both(out, p.sqlAnd())
	}
	return out
}

func (p *parser) sqlAnd() operand {
	out := p.sqlNot()
	for out != broken {
		p.space()
		if !p.word("and") {
			break
		}
		out = both(out, p.sqlNot())
	}
	return out
}

func (p *parser) sqlNot() operand {
	p.space()
	if p.word("not") {
		if !p.enter() {
			return broken
		}
		defer p.leave()
		return p.sqlNot()
	}
	if at := p.i; p.peek() == '(' {
		// Either a condition in parentheses or the beginning of a sum.
		kept, terms := len(p.literals), p.terms
		p.i++
		out := p.condition()
		p.space()
		if out != broken && p.want(")") {
			p.space()
			if p.i == len(p.s) || strings.IndexByte("+-*/%<>=!", p.s[p.i]) < 0 {
				return out
			}
		}
		if p.err != nil && p.err.Message != wantsComparison {
			return broken
		}
		p.err, p.i, p.literals, p.terms = nil, at, p.literals[:kept], terms
		if p.retries++; p.retries > MaxDepth {
			p.fail("too many sums in parentheses")
			return broken
		}
	}
	return p.predicate()
}

const wantsComparison = "expected a comparison"

func (p *parser) predicate() operand {
	at := p.i
	left := p.sqlSum()
	if left == broken {
		return broken
	}
	p.space()
	for _, op := range []string{"<>", "<=", ">=", "!=", "=", "<", ">"} {
		if p.take(op) {
			out := both(left, p.sqlSum())
			if out == constant {
				p.i = at
				p.fail("a comparison without a field")
				return broken
			}
			return out
		}
	}
	if left == constant {
		p.fail("a comparison without a field")
		return broken
	}
	if p.word("is") {
		p.space()
		p.word("not")
		if p.space(); !p.word("null") {
			p.fail("expected NULL")
			return broken
		}
		return left
	}
	p.word("not")
	p.space()
	ok := false
	switch {
	case p.word("like"), p.word("ilike"):
		p.space()
		ok = p.quoted(false)
	case p.word("in"):
		p.space()
		ok = p.want("(") && p.list(func() bool { return p.sqlSum() == constant || p.fail("expected a literal") }) && p.want(")")
	case p.word("between"):
		lo := p.sqlSum()
		p.space()
		ok = lo != broken && (p.word("and") || p.fail("expected AND")) && p.sqlSum() != broken
	default:
		p.fail(wantsComparison)
	}
	if !ok {
		return broken
	}
	return left
}

func (p *parser) sqlSum() operand {
	if !p.enter() {
		return broken
	}
	defer p.leave()
	out := p.sqlValue()
	for out != broken {
		p.space()
		c := p.peek()
		if c == 0 || strings.IndexByte("+-*/%", c) < 0 {
			break
		}
		if p.take("--") || p.take("/*") {
			p.fail("a comment")
			return broken
		}
		p.i++
		out = both(out, p.sqlValue())
	}
	return out
}

// reserved are words that are never names.
var reserved = map[string]bool{"select": true, "union": true, "from": true, "where": true, "and": true, "or": true, "not": true, "in": true, "like": true, "is": true,
	"null": true, "between": true, "case": true, "when": true, "exists": true, "any": true, "all": true, "some": true, "insert": true, "update": true, "delete": true,
	"drop": true, "exec": true, "having": true, "group": true, "order": true, "limit": true, "into": true, "cast": true, "collate": true, "escape": true, "regexp": true, "rlike": true}

func (p *parser) sqlValue() operand {
	p.space()
	at := p.i
	c := p.peek()
	switch {
	case p.err != nil:
		return broken
	case c == '(':
		p.i++
		out := p.sqlSum()
		p.space()
		if out == broken || !p.want(")") {
			return broken
		}
		return out
	case c == '\'':
		if p.quoted(false) {
			return constant
		}
		return broken
	case c == '-' || c == '+' || c >= '0' && c <= '9':
		if strings.HasPrefix(p.s[p.i:], "--") || !p.number() {
			p.fail("expected a number")
			return broken
		}
		return constant
	case c == '"':
		p.i++
		end := strings.IndexByte(p.s[p.i:], '"')
		if end < 0 || !p.l.fields[p.s[p.i:p.i+end]] {
			p.fail("a name in quotes that is not one of the fields")
			return broken
		}
		p.i += end + 1
		if p.term() {
			return variable
		}
		return broken
	}
	name, ok := p.path(".")
	if !ok {
		return broken
	}
	low := strings.ToLower(name)
	switch low {
	case "true", "false", "null":
		if p.term() {
			return constant
		}
		return broken
	case "date", "timestamp", "time":
		if p.space(); p.peek() == '\'' {
			if p.quoted(false) {
				return constant
			}
			return broken
		}
	}
	if reserved[low] {
		p.i = at
		p.fail("a word that has no place here")
		return broken
	}
	if after := p.i; true {
		if p.space(); p.peek() == '(' {
			if !p.l.functions[low] {
				p.i = at
				p.fail("a function that is not one of those allowed")
				return broken
			}
			p.i++
			out := constant
			if p.space(); p.peek() != ')' && !p.list(func() bool { out = both(out, p.sqlSum()); return out != broken }) {
				return broken
			}
			if !p.want(")") || !p.term() {
				return broken
			}
			return out
		}
		p.i = after
	}
	if !p.field(name, at) {
		return broken
	}
	return variable
}

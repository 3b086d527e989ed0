package query

import "strings"

// odataFunctions are the canonical functions of OData 4 with how many arguments
// they take, and substringof of OData 2.
var odataFunctions = map[string][2]int{
	"contains": {2, 2}, "startswith": {2, 2}, "endswith": {2, 2}, "length": {1, 1}, "indexof": {2, 2}, "substring": {2, 3}, "tolower": {1, 1}, "toupper": {1, 1},
	"trim": {1, 1}, "concat": {2, 2}, "year": {1, 1}, "month": {1, 1}, "day": {1, 1}, "hour": {1, 1}, "minute": {1, 1}, "second": {1, 1}, "fractionalseconds": {1, 1},
	"date": {1, 1}, "time": {1, 1}, "totaloffsetminutes": {1, 1}, "totalseconds": {1, 1}, "now": {0, 0}, "mindatetime": {0, 0}, "maxdatetime": {0, 0},
	"round": {1, 1}, "floor": {1, 1}, "ceiling": {1, 1}, "substringof": {2, 2}, "hassubset": {2, 2}, "hassubsequence": {2, 2},
}

// An operand is what a part of an expression is made of.
type operand uint8

const (
	broken   operand = iota
	constant         // nothing but literals
	variable         // with a field in it
)

func both(a, b operand) operand {
	if a == broken || b == broken {
		return broken
	}
	return max(a, b)
}

// filter is $filter (OData 4.01 ABNF, boolCommonExpr, without aliases, casts and
// geography).
func (p *parser) filter() operand {
	if !p.enter() {
		return broken
	}
	defer p.leave()
	out := p.conjunction()
	for out != broken {
		p.space()
		if !p.exact("or") {
			break
		}
		out = both(out, p.conjunction())
	}
	return out
}

func (p *parser) conjunction() operand {
	out := p.negation()
	for out != broken {
		p.space()
		if !p.exact("and") {
			break
		}
		out = both(out, p.negation())
	}
	return out
}

func (p *parser) negation() operand {
	p.space()
	if !p.exact("not") {
		return p.comparison()
	}
	if !p.enter() {
		return broken
	}
	defer p.leave()
	return p.negation()
}

func (p *parser) comparison() operand {
	left := p.sum()
	if left == broken {
		return broken
	}
	p.space()
	at := p.i
	switch op := p.ident(); op {
	case "eq", "ne", "gt", "ge", "lt", "le", "has":
		out := both(left, p.sum())
		if out == constant {
			p.i = at
			p.fail("a comparison without a field")
			return broken
		}
		return out
	case "in":
		p.space()
		if !p.want("(") {
			return broken
		}
		if left == constant {
			p.fail("a comparison without a field")
			return broken
		}
		if !p.list(func() bool { return p.sum() == constant || p.fail("expected a literal") }) || !p.want(")") {
			return broken
		}
		return left
	}
	p.i = at
	return left
}

func (p *parser) sum() operand {
	out := p.product()
	for out != broken {
		p.space()
		if !p.exact("add") && !p.exact("sub") {
			break
		}
		out = both(out, p.product())
	}
	return out
}

func (p *parser) product() operand {
	out := p.primary()
	for out != broken {
		p.space()
		if !p.exact("mul") && !p.exact("div") && !p.exact("divby") && !p.exact("mod") {
			break
		}
		out = both(out, p.primary())
	}
	return out
}

func (p *parser) primary() operand {
	if p.space(); p.err != nil {
		return broken
	}
	c := p.peek()
	switch {
	case c == '(':
		p.i++
		out := p.filter()
		p.space()
		if out == broken || !p.want(")") {
			return broken
		}
		return out
	case c == '\'':
		if p.quoted(true) {
			return constant
		}
		return broken
	case c == '-' || c >= '0' && c <= '9':
		if p.moment() || p.number() {
			return constant
		}
		if p.err == nil && c == '-' {
			p.i++
			if !p.enter() {
				return broken
			}
			defer p.leave()
			return p.primary()
		}
		p.fail("expected a number, a date or a GUID")
		return broken
	}
	if p.moment() { // a GUID may begin with a letter
		return constant
	}
	at := p.i
	if p.take("$it") {
		if p.take("/") {
			return p.member()
		}
		if p.term() {
			return variable
		}
		return broken
	}
	id := p.ident()
	switch id {
	case "":
		p.fail("expected a name, a literal or (")
		return broken
	case "true", "false", "null", "INF", "NaN":
		if p.term() {
			return constant
		}
		return broken
	case "duration", "binary", "datetime", "datetimeoffset", "guid", "time":
		if p.peek() == '\'' {
			if p.quoted(false) {
				return constant
			}
			return broken
		}
	}
	if p.peek() == '(' {
		return p.call(id, at)
	}
	p.i = at
	return p.member()
}

func (p *parser) call(name string, at int) operand {
	arity, ok := odataFunctions[name]
	if !ok {
		p.i = at
		p.fail("a function that is not one of those allowed")
		return broken
	}
	p.i++
	out, n := constant, 0
	if p.space(); p.peek() != ')' {
		p.list(func() bool {
			n++
			if !p.enter() {
				return false
			}
			defer p.leave()
			out = both(out, p.sum())
			return out != broken
		})
	}
	if !p.want(")") || !p.term() {
		return broken
	}
	if n < arity[0] || n > arity[1] {
		p.i = at
		p.fail("a function with another number of arguments")
		return broken
	}
	if name == "now" || name == "mindatetime" || name == "maxdatetime" {
		return constant
	}
	return out
}

// member is a path of properties, with any, all and $count behind it.
func (p *parser) member() operand {
	at := p.i
	for {
		start := p.i
		if p.ident() == "" {
			p.fail("expected a name")
			return broken
		}
		if name := p.s[start:p.i]; (name == "any" || name == "all") && start > at && p.peek() == '(' {
			if !p.field(strings.TrimSuffix(p.s[at:start], "/"), at) {
				return broken
			}
			return p.lambda()
		}
		end := p.i
		if !p.take("/") {
			break
		}
		if p.take("$count") {
			if !p.field(p.s[at:end], at) {
				return broken
			}
			return variable
		}
	}
	if !p.field(p.s[at:p.i], at) {
		return broken
	}
	return variable
}

func (p *parser) lambda() operand {
	p.i++
	p.space()
	if p.take(")") {
		return variable
	}
	name := p.ident()
	if name == "" || !p.want(":") {
		p.fail("expected a variable")
		return broken
	}
	p.vars = append(p.vars, name)
	out := p.filter()
	p.vars = p.vars[:len(p.vars)-1]
	p.space()
	if out == broken || !p.want(")") {
		return broken
	}
	return variable
}

// moment reads dates, times and GUIDs, which have signs inside.
func (p *parser) moment() bool {
	end := p.i
	for end < len(p.s) {
		c := p.s[end]
		if c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '-' || c == ':' || c == '.' || c == '+' && end > p.i && strings.IndexByte(p.s[p.i:end], 'T') > 0 {
			end++
			continue
		}
		break
	}
	w := p.s[p.i:end]
	fits := func(shape string) bool {
		if len(w) < len(shape) {
			return false
		}
		for i := range len(shape) {
			switch c := w[i]; shape[i] {
			case '9':
				if c < '0' || c > '9' {
					return false
				}
			case 'h':
				if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
					return false
				}
			default:
				if c != shape[i] {
					return false
				}
			}
		}
		return true
	}
	rest := ""
	switch {
	case len(w) == 36 && fits("hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh"):
	case fits("9999-99-99T99:99"):
		rest = w[16:]
	case len(w) == 10 && fits("9999-99-99"):
	case fits("99:99:99"):
		rest = w[8:]
	default:
		return false
	}
	for i := range len(rest) {
		if c := rest[i]; !(c >= '0' && c <= '9' || c == ':' || c == '.' || c == '+' || c == '-' || c == 'Z' && i == len(rest)-1) {
			return false
		}
	}
	if len(rest) > 24 {
		return false
	}
	p.i = end
	return p.term()
}

// orderBy is $orderby.
func (p *parser) orderBy() {
	p.list(func() bool {
		if p.sum() != variable {
			return p.fail("expected a field")
		}
		p.space()
		if !p.exact("asc") {
			p.exact("desc")
		}
		return p.err == nil
	})
}

// selected is $select.
func (p *parser) selected() {
	p.list(func() bool {
		if p.take("*") {
			return p.term()
		}
		at := p.i
		name, ok := p.path("/")
		return ok && p.field(name, at)
	})
}

// expand is $expand, with options in parentheses.
func (p *parser) expand() {
	if !p.enter() {
		return
	}
	defer p.leave()
	p.list(func() bool {
		if p.take("*") {
			return p.term()
		}
		at := p.i
		name, ok := p.path("/")
		if !ok || !p.field(name, at) {
			return false
		}
		if p.take("/$ref") || p.take("/$count") {
			return true
		}
		if !p.take("(") {
			return true
		}
		for {
			p.space()
			if !p.option() {
				return false
			}
			p.space()
			if !p.take(";") {
				return p.want(")")
			}
		}
	})
}

func (p *parser) option() bool {
	switch {
	case p.take("$filter="):
		return p.filter() != broken
	case p.take("$select="):
		p.selected()
	case p.take("$orderby="):
		p.orderBy()
	case p.take("$expand="):
		p.expand()
	case p.take("$count="):
		return p.exact("true") || p.exact("false") || p.fail("expected true or false")
	case p.take("$levels="):
		return p.exact("max") || p.whole(2) || p.fail("expected a number")
	case p.take("$top="), p.take("$skip="):
		return p.whole(9) || p.fail("expected a number")
	default:
		return p.fail("an option that is not one of those allowed")
	}
	return p.err == nil
}

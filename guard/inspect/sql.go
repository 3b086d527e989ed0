package inspect

import "bytes"

// The SQL recogniser asks one question: if this value were pasted into a
// statement, bare, or between quotes, would what follows the break-out go on as
// SQL and change what the statement means? It reads tokens only as long as they
// fit, so prose stops it at the second word.

// sql judges v in each context in which a statement may hold it.
func (j *judge) sql(v []byte) {
	score, rule := j.sqlInject(v, 0, 0)
	j.add(clSQL, rule, score)
	if j.kinds&(bQuote|bDouble|bTick|bSquare) == 0 || score >= 5 {
		return
	}
	for _, q := range [...]byte{'\'', '"', '`', ']'} {
		if q == ']' && j.kinds&bSquare == 0 {
			break
		}
		// The first quote is where a statement's string would end; a few more are
		// tried because the first may be escaped or doubled.
		starts, most := 0, 4
		if len(v) > 512 {
			most = 2
		}
		for i := 0; i < len(v) && starts < most; i++ {
			n := bytes.IndexByte(v[i:], q)
			if n < 0 || q == ']' && bytes.IndexByte(v[:i+n], '[') >= 0 {
				break
			}
			i += n
			starts++
			if quotedOperator(v, i) {
				continue
			}
			if score, rule := j.sqlInject(v, i+1, q); score > 0 {
				j.add(clSQL, rule, score)
				if score >= 5 {
					return
				}
			}
		}
	}
}

// quotedOperator reports whether the quote at v[i] begins an operator in quotes
// that a text speaks of: "a single leading '=' is kept". The statement of
// "x'='x" has no space before its quote, and few words around it.
func quotedOperator(v []byte, i int) bool {
	if i == 0 && bytes.Count(v, []byte(",")) < 3 && bytes.Count(v, []byte(" ")) < 6 || i > 0 && isWord(v[i-1]) || i > 0 && kinds[v[i-1]]&(bQuote|bDouble|bClose) != 0 {
		return false
	}
	k := i + 1
	for k < len(v) && k < i+9 && (isAlpha(v[k]) || kinds[v[k]]&(bEqual|bLess|bMore) != 0 || v[k] == '!' || v[k] == ':') {
		k++
	}
	return k > i+1 && k < len(v) && v[k] == v[i] && (bytes.Count(v[:min(len(v), 256)], []byte(" ")) > 2 || bytes.Count(v[:i], []byte(" ")) > 1 || i > 0 && v[i-1] >= 0x80)
}

const sqlTokens = 600 // tokens read from one break-out

// sqlInject reads v[from:] as the continuation of a statement. quote is the
// quote that stood before it, 0 if the value stands bare.
func (j *judge) sqlInject(v []byte, from int, quote byte) (score int, rule string) {
	w := sqlWalk{l: sqlLexer{v: v, i: from, quote: quote, steps: &j.steps}, from: from, quote: quote, operand: quote != 0}
	if quote != 0 {
		w.lastKind = oString
	}
	for ; w.n < sqlTokens && !w.broke && !w.ended; w.n++ {
		t := w.l.next()
		w.step(&t)
	}
	return w.verdict()
}

type operandKind uint8

const (
	oNone operandKind = iota
	oNumber
	oString
	oWord
	oCall
	oGroup
	oNull
)

// literal reports whether an operand's value stands in the text: comparing two
// of them asks nothing about data.
func literal(o operandKind) bool { return o == oNumber || o == oString || o == oNull }

// A sqlWalk is one reading of a value as the rest of a statement. It keeps what
// grammar needs to tell whether the next token fits, and weighs the signs.
type sqlWalk struct {
	l     sqlLexer
	from  int
	quote byte

	// Where the walk stands.
	n        int      // tokens read before this one
	first    bool     // this is the first
	opener   sqlKind  // the kind of the first
	asked    bool     // the first is a function of SQL's
	last     sqlToken // the one before this
	operand  bool     // an operand is complete …
	lastKind operandKind
	alias    bool // … and a name after it would be its alias
	table    bool // names of tables stand here, which may have an alias
	arith    bool // what stands before the value is concatenated with it
	closes   int  // parentheses closed that the value did not open
	depth    int  // those it opened
	started  int  // clauses, conditions and statements begun
	spoken   sqlKind

	// The condition under way.
	logic     int  // and, or …
	logicNow  bool // right before this token
	comparing bool
	cmp       byte // the comparison's first byte
	left      operandKind
	compared  bool // a comparison was complete
	clause    bool // where, having, order by …
	maths     bool // it compares before any logic: a formula

	cut      bool // a comment was weighed
	bareCall bool // the value begins with a call of a dangerous function
	broke    bool // the token does not go on as SQL
	ended    bool // the value ended while it was SQL
	closed   bool // a comment or an open string takes care of what follows the value

	score  int
	rule   string // of the heaviest sign
	weight int    // of that sign
}

func (w *sqlWalk) add(n int, r string) {
	if w.score += n; w.rule == "" || n >= 4 && n > w.weight {
		w.rule, w.weight = r, n
	}
}

// out reports whether the value has left the place it was put in: a string, a
// number or a parenthesis of the statement ended before what is read now.
func (w *sqlWalk) out() bool { return w.quote != 0 || w.opener == tNumber || w.closes > 0 }

// peek returns the token after this one without taking it.
func (w *sqlWalk) peek() sqlToken {
	l := w.l
	return l.next()
}

// step takes one token.
func (w *sqlWalk) step(t *sqlToken) {
	w.first = w.n == 0
	if w.first {
		w.opener, w.asked = t.kind, t.call >= callUseful
	}
	if t.system && t.kind != tComment {
		if t.kind == tVar {
			w.add(4, "sqli.variable")
		} else if w.quote != 0 || w.started > 0 || w.last.word != "" {
			w.add(4, "sqli.catalog")
		}
	}
	if w.calls(t) {
		w.call(t)
		return
	}
	if w.read(t) {
		return
	}
	if t.kind != tLogic {
		w.logicNow = false
	}
	w.last = *t
}

// read hands the token to the recogniser of its kind. It reports whether that
// has said itself what the next token will find before it.
func (w *sqlWalk) read(t *sqlToken) bool {
	switch t.kind {
	case tEnd:
		w.ended = true
	case tComment:
		w.comment(t)
		return w.depth > 0 && !w.broke // a line ends inside a group; its grammar goes on
	case tOpen:
		w.parenthesis()
	case tClose:
		w.closing()
	case tString:
		w.text(t)
	case tNumber:
		w.number(t)
	case tValue:
		w.constant(t)
	case tVar:
		if w.operand && w.last.kind != tStatement && w.last.kind != tFill {
			w.broke = true
		} else {
			w.settle(oWord)
		}
	case tOp:
		w.operator(t)
	case tCompare:
		w.comparison(t)
	case tLogic:
		return w.condition(t)
	case tUnion:
		return w.union()
	case tSelect:
		w.query()
	case tStatement:
		w.stack(t)
	case tClause:
		w.part(t)
	case tFill:
		return w.fill(t)
	case tSemi:
		w.semicolon()
	case tWord:
		w.name()
	default:
		w.broke = true
	}
	return false
}

// settle completes an operand, and with it a comparison under way. "1=1" and
// "'a'='a'" are always so, which no one asks of data: a tautology. "x = 5" is a
// formula or a filter unless the value broke out before it.
func (w *sqlWalk) settle(right operandKind) {
	if w.comparing {
		w.comparing = false
		switch {
		case w.maths && w.depth > 0 && w.left == oNumber && right == oNumber && w.cmp != '<' && w.cmp != '>' && (w.asked || w.opener == tOpen || w.opener == tNumber):
			// "(4=4)*7", "iif(4=4,1,1/0)": no formula compares two numbers in parentheses.
			w.add(5, "sqli.tautology")
		case w.maths && w.quote == 0 && (w.logic == 0 || w.cmp != '=' || !literal(w.left) || !literal(right)):
		case w.logic == 0 && !w.clause && (w.cmp == '<' || w.cmp == '>'):
		case literal(w.left) && literal(right) && (w.logic > 0 || w.quote != 0 || w.clause):
			if !w.compared {
				w.add(5, "sqli.tautology")
			}
			w.compared = true
		case w.opener == tSelect && w.quote == 0:
		case w.left != oNone && (w.logic > 0 || w.quote != 0):
			if !w.compared && !(w.logic == 0 && w.left == oWord) {
				w.add(2, "sqli.condition")
			}
			w.compared = true
		}
	}
	w.lastKind, w.operand = right, true
}

// calls reports whether the token is a function's name. Keywords that may stand
// before a parenthesis, and statements that may, keep their own meaning.
func (w *sqlWalk) calls(t *sqlToken) bool {
	if t.call == 0 {
		return false
	}
	switch t.kind {
	case tLogic, tUnion, tSelect, tClause:
		return false
	case tCompare:
		return !w.operand || w.last.kind == tLogic
	case tStatement, tFill:
		return t.call != callPlain
	}
	return true
}

// call weighs a function. sleep() and extractvalue() have no use in data;
// count() and char() stand in formulas and reports too, and are signs only
// where the value broke out or goes on as a condition: "sum (of) items".
func (w *sqlWalk) call(t *sqlToken) {
	if w.operand && w.last.kind != tFill && w.last.kind != tClause && t.kind == tWord && (t.call != callDangerous || w.quote != 0 && w.first) {
		w.broke = true
	}
	switch t.call {
	case callDangerous:
		if w.first && w.quote == 0 && w.remark(t) { // "Benchmark (performance)"
			w.broke = true
		} else if w.first && w.quote == 0 {
			w.bareCall = true
			w.add(3, "sqli.function")
		} else if w.reference(t) { // sleep (3), as manuals refer to each other
			w.add(1, "sqli.function")
		} else {
			w.add(5, "sqli.function")
		}
	case callUseful:
		if w.quote != 0 || w.logic > 0 || w.started > 0 || (w.last.kind == tOp || w.depth > 0) && (!w.formula() || w.score < 1) {
			w.add(2, "sqli.function")
		} else if w.first {
			w.add(1, "sqli.function")
		}
	default:
		if w.logicNow || w.last.kind == tCompare {
			w.add(1, "sqli.function")
		}
	}
	w.logicNow = false
	w.operand, w.lastKind, w.last = false, oCall, *t
}

// reference reports whether a function stands with a space before its
// parenthesis where nothing has begun yet.
func (w *sqlWalk) reference(t *sqlToken) bool {
	return !w.out() && w.logic == 0 && w.started == 0 && t.end < len(w.l.v) && w.l.v[t.end] == ' '
}

// remark reports whether a function has a space and then a word in parentheses
// behind it.
func (w *sqlWalk) remark(t *sqlToken) bool {
	l := w.l
	if t.end >= len(l.v) || l.v[t.end] != ' ' || l.next().kind != tOpen {
		return false
	}
	u := l.next()
	return u.kind == tWord && u.call == 0 && !u.system && l.next().kind == tClose && l.next().kind == tEnd
}

// formula reports whether nothing but arithmetic and calls was read, as in
// "sum(price) / count(items)" or a line of code.
func (w *sqlWalk) formula() bool {
	return !w.out() && w.logic == 0 && w.started == 0 && w.spoken == tEnd
}

// comment weighs a comment: it takes away what the statement goes on with.
// "admin'--" needs nothing else; "it's late -- well" has text behind it.
func (w *sqlWalk) comment(t *sqlToken) {
	v, rest := w.l.v, w.l.i
	if t.code == '#' && t.start+1 < len(v) && isDigit(v[t.start+1]) && w.quote == 0 && w.score < 3 { // "(#2073)", a number of an issue
		w.broke = true
		return
	}
	if w.bareCall && w.depth == 0 && w.operand { // sleep(7)#, and another line
		w.ended = true
	}
	for rest < len(v) && isSpace(v[rest]) {
		rest++
	}
	switch {
	case w.quote != 0 && (w.first || w.n == w.closes || w.opener == tSemi && w.n == w.closes+1):
		// The quote, and nothing but a comment after it.
		switch empty := emptyComment(v[t.start:t.end]); {
		case rest < len(v):
		case empty && w.quote != '`':
			w.add(5, "sqli.comment")
		default:
			w.add(2, "sqli.comment")
		}
	case w.quote != 0 && w.logic > 0 && w.operand && !w.compared && (w.lastKind == oNumber || w.lastKind == oNull):
		w.add(5, "sqli.condition")
	case w.cut: // a text of many lines has many, and each says the same
	case w.score >= 2:
		w.add(3, "sqli.comment")
	case w.logic > 0 || w.closes > 0 || w.clause || w.started > 0:
		w.add(2, "sqli.comment")
	}
	w.cut = true
	if rest >= len(v) {
		w.ended, w.closed = true, true
	}
}

// emptyComment reports whether a comment's mark stands alone, or with what
// tools append to keep the space behind it.
func emptyComment(c []byte) bool {
	if len(c) > 6 {
		return false
	}
	for _, b := range c[1:] {
		if b != '-' && b != '+' && b != '*' && !isSpace(b) {
			return false
		}
	}
	return true
}

// parenthesis opens a group. After an operand only a query may stand there, and
// only behind a break-out; a remark in a sentence does: "cast (in order)".
func (w *sqlWalk) parenthesis() {
	if w.operand && w.last.kind != tFill && (w.lastKind != oWord || w.quote != 0 && w.first) && w.last.kind != tCompare && w.last.kind != tUnion && w.last.kind != tLogic {
		if w.peek().kind != tSelect || !w.out() && w.lastKind != oGroup {
			w.broke = true
			return
		}
	}
	w.depth++
	w.operand = false
}

// closing closes a group: its own, or one that the statement opened.
func (w *sqlWalk) closing() {
	if !w.operand && w.last.kind != tOpen && !w.first && w.last.kind != tFill && w.last.kind != tOp {
		w.broke = true
		return
	}
	if w.depth--; w.depth < 0 {
		w.closes++
		w.depth = 0
	}
	w.settle(oGroup)
	w.alias = true
}

// text takes a string. One left open is what the statement's own quote ends:
// "' or 'a'='a". Quotes in prose stand beside words: "'yes' and 'no'".
func (w *sqlWalk) text(t *sqlToken) {
	if w.operand && w.last.kind != tFill && w.lastKind != oString && w.lastKind != oGroup && !(w.lastKind == oWord && w.alias) && w.last.kind != tWord {
		w.broke = true
		return
	}
	if t.open && w.quote != 0 && t.code == w.quote {
		w.closed = true
		if w.logic > 0 || w.comparing || w.last.kind == tOp && w.last.code != ',' {
			w.add(2, "sqli.quote")
		}
	} else if t.open && t.end-t.start > 40 {
		w.broke = true
		return
	}
	w.settle(oString)
}

// number takes a number: an operand, or what a clause counts. "limit 2 per
// customer" has no break-out before it.
func (w *sqlWalk) number(t *sqlToken) {
	if w.operand && w.last.kind != tFill && w.last.kind != tClause {
		w.broke = true
		return
	}
	if w.asked && w.depth > 0 && t.end-t.start > 5 && t.code == '0' && w.l.v[t.start+1]|32 == 'x' && w.score < 3 {
		w.add(2, "sqli.function") // concat(0x7e7e,…): text that needs no quotes
	}
	if w.last.word == "limit" || w.last.word == "by" && w.clause {
		if w.quote != 0 || w.closes > 0 || w.started > 0 && w.opener == tNumber {
			w.add(4, "sqli.clause")
		} else {
			w.add(1, "sqli.clause")
		}
	}
	w.settle(oNumber)
}

// constant takes null, true, current_user … "1 or true" is a condition that
// always holds; "true or false" is a question.
func (w *sqlWalk) constant(t *sqlToken) {
	kind := oNull
	if t.word == "true" || t.word == "false" {
		kind = oNumber
	}
	if w.comparing && w.last.word == "is" && w.logic > 0 && w.left == oWord && (w.quote != 0 || w.opener == tNumber || w.opener == tLogic) {
		w.add(3, "sqli.condition")
	}
	if w.logicNow && (w.out() || w.opener == tLogic) {
		w.add(2, "sqli.condition")
	}
	if w.logicNow && kind == oNumber && w.opener == tNumber && w.quote == 0 && w.peek().kind == tEnd {
		w.add(3, "sqli.condition")
	}
	w.settle(kind)
}

// operator takes arithmetic and concatenation: "'||(select …)||'".
func (w *sqlWalk) operator(t *sqlToken) {
	c := t.code
	if !w.operand && c != '-' && c != '+' && c != '~' && c != '!' && c != '*' && !(w.first && w.quote == 0 && (c == ',' || c == '|')) && w.last.kind != tSelect {
		w.broke = true
		return
	}
	if c == '*' && !w.operand { // all columns
		w.settle(oWord)
		return
	}
	if c == '!' && !w.operand && w.first {
		w.broke = true
		return
	}
	if c == '|' && t.end-t.start == 2 && (w.operand || w.first) { // concatenation, or MySQL's OR
		w.arith = w.operand
		if w.quote == 0 {
			w.logic++
		}
	}
	w.alias, w.operand = false, false
}

// comparison takes =, like, in … and remembers what stands left of it.
func (w *sqlWalk) comparison(t *sqlToken) {
	if !w.operand && !(w.last.kind == tLogic && w.last.word == "not") && w.last.kind != tCompare && !(w.first && w.quote == 0) {
		w.broke = true
		return
	}
	if w.last.kind == tCompare && t.code == '=' && w.last.code == '=' { // a line of "====" under a heading
		w.broke = true
		return
	}
	if w.last.kind != tCompare {
		w.left = w.lastKind
	}
	if w.last.word == "as" || t.word == "in" && callIf(&w.l, w.l.i) == callNone {
		if w.last.word == "as" || w.peek().word != "boolean" {
			w.broke = true
			return
		}
	}
	if w.quote == 0 && w.logic == 0 && w.started == 0 && (!w.first || t.code == '<' || t.code == '>') {
		w.maths = true
	}
	w.cmp = t.code
	w.comparing, w.operand = true, false
	if t.word == "is" || t.word == "in" || t.word == "between" {
		w.left = w.lastKind
	}
}

// condition takes and, or, where …: a condition joins the statement's own.
func (w *sqlWalk) condition(t *sqlToken) bool {
	if t.word == "not" && w.last.kind == tCompare { // is not null
		return true
	}
	if !w.operand && w.last.kind != tFill && !(w.first && w.quote == 0) && w.last.kind != tLogic && t.word != "not" && w.last.kind != tOpen {
		w.broke = true
		return false
	}
	if t.word == "where" || t.word == "having" || t.word == "on" || t.word == "when" {
		if w.first && w.quote == 0 || w.operand {
			w.clause = true
		}
	}
	w.logic++
	w.comparing, w.operand, w.alias = false, false, false
	w.compared = false
	w.logicNow = true
	w.last = *t
	w.started++
	return true
}

// union takes a second query after the statement's own: "-1 union select 1,2".
// "The student union select committee" has neither a break-out nor a list.
func (w *sqlWalk) union() bool {
	if !w.operand && !w.first && w.last.kind != tOpen {
		w.broke = true
		return false
	}
	save := w.l.i
	u := w.l.past()
	for u.word == "all" || u.word == "distinct" || u.word == "distinctrow" || u.kind == tOpen {
		if u.kind == tOpen {
			w.depth++
		}
		u = w.l.past()
	}
	if u.kind == tSelect || u.word == "values" {
		if w.quote != 0 || w.first || w.last.kind == tOpen || w.lastKind == oNumber || w.closes > 0 || w.lastKind == oGroup || w.started > 0 || w.lastKind == oNull {
			w.add(w.l.projection(), "sqli.union")
		} else {
			w.add(2, "sqli.union")
		}
		w.operand = false
		w.last = u
		w.started++
		return true
	}
	if u.call != 0 && u.kind == tWord && w.last.kind == tOpen {
		w.add(4, "sqli.union")
	}
	if w.quote != 0 && u.kind == tEnd {
		w.add(3, "sqli.union")
	}
	w.l.i = save
	w.broke = true
	return false
}

// query takes SELECT: inside parentheses or a condition it is a query within
// the statement, at the start or after a semicolon one of its own, which may
// as well be a lesson in SQL.
func (w *sqlWalk) query() {
	switch {
	case w.last.kind == tOpen && (w.quote != 0 || w.n > 1 || w.depth > 0):
		w.add(4, "sqli.subselect")
	case w.first, w.last.kind == tSemi, w.last.kind == tComment:
		w.spoken = tSelect
		w.add(1, "sqli.statement")
		if w.quote == 0 {
			switch p := w.peek(); {
			case p.system:
				w.add(1, "sqli.statement")
			case p.call >= callUseful && p.kind != tFill:
				w.add(2, "sqli.statement")
			}
		}
	case w.last.kind == tLogic && w.logic > 0, w.last.kind == tClose && (w.out() || w.started > 0 || w.opener == tStatement):
		w.add(4, "sqli.subselect")
	case w.last.kind == tFill || w.last.kind == tClause || w.last.kind == tStatement:
		w.add(1, "sqli.statement")
	default:
		w.broke = true
	}
	w.operand = false
	w.started++
}

// stack takes a statement other than SELECT. After a semicolon it is certain;
// at the start of a bare value it may be a sentence: "drop table tennis".
func (w *sqlWalk) stack(t *sqlToken) {
	if w.first && w.quote != 0 && t.word != "waitfor" && t.call < callUseful {
		l := w.l
		if n, _ := l.statement(t); n < 5 {
			w.broke = true
			return
		}
	}
	if t.word == "waitfor" && w.operand && w.out() {
		w.operand = false
	} else if !w.first && t.call == 0 {
		switch w.last.kind {
		case tSemi, tOpen, tFill, tLogic, tStatement, tComment:
		default:
			w.broke = true
			return
		}
	}
	n, r := w.l.statement(t)
	if w.last.kind == tSemi && n > 0 {
		n += 3
	} else if w.first && w.quote == 0 && n == 4 && t.call == 0 {
		if n = 3; t.word == "create" || t.word == "alter" {
			n = 2
		}
	}
	if n == 0 {
		w.broke = true
		return
	}
	w.add(n, r)
	w.spoken = tStatement
	w.operand, w.alias, w.table = true, true, true
	w.lastKind = oWord
	w.started++
}

// part takes a clause: order by, into outfile, limit … They tell columns from
// outside and write files; "order by Friday, group by colour" is advice.
func (w *sqlWalk) part(t *sqlToken) {
	switch t.word {
	case "order", "group":
		if w.l.past().word != "by" || !w.operand && !w.first {
			w.broke = true
			break
		}
		w.clause = true
		if w.quote != 0 || w.closes > 0 {
			w.add(2, "sqli.clause")
		}
		t.kind, t.word = tFill, "by"
		w.operand = false
		w.started++
	case "into":
		if u := w.l.next(); u.word == "outfile" || u.word == "dumpfile" {
			w.add(5, "sqli.file")
		}
	case "procedure":
		if w.operand || w.first {
			w.clause = true
		}
		w.operand = false
	case "limit":
		if !w.operand {
			w.broke = true
		}
		w.operand = false
	default:
		if w.spoken == tEnd && w.started == 0 && w.quote == 0 {
			w.broke = true
			break
		}
		w.operand = false
		w.table = true
		w.alias = false
	}
	w.comparing = false
}

// fill takes the words that join others.
func (w *sqlWalk) fill(t *sqlToken) bool {
	if t.word == "as" && (w.operand || w.first) {
		w.alias = true
	}
	if w.quote != 0 && w.first && t.word != "as" && t.word != "asc" && t.word != "desc" {
		w.broke = true
		return false
	}
	switch t.word {
	case "mode":
		if w.last.word == "boolean" { // MySQL's "') in boolean mode)"
			w.add(4, "sqli.clause")
			w.operand = true
			w.last = *t
			return true
		}
	case "asc", "desc", "end":
		w.operand = true
		w.last = *t
		return true
	case "then", "else", "case", "all", "distinct", "exists", "any", "binary":
		w.operand = false
	}
	return false
}

// semicolon takes the end of a statement and asks what begins after it:
// "1;drop table users", but "5 apples; 6 pears".
func (w *sqlWalk) semicolon() {
	l := w.l
	switch next := l.next(); {
	case next.kind == tSelect && (w.out() || w.started > 0 || w.opener == tWord):
		w.add(4, "sqli.stacked")
	case next.call >= callUseful && w.out():
		w.add(3, "sqli.stacked")
	case next.kind == tOpen && l.next().kind == tSelect && w.out():
		w.add(4, "sqli.stacked")
	case next.kind == tStatement:
	case next.kind == tEnd:
		if w.started > 0 {
			w.add(1, "sqli.statement")
		}
	case next.kind == tComment:
	default:
		w.broke = true
	}
	w.operand, w.comparing, w.alias, w.clause = false, false, false, false
}

// name takes a name: a column, a table or an alias. Two words in a row are
// prose.
func (w *sqlWalk) name() {
	switch {
	case w.quote != 0 && w.first,
		w.operand && w.last.kind == tWord && !w.alias && w.lastKind == oWord,
		w.operand && !w.alias && w.last.kind != tFill && w.last.kind != tClause && w.last.kind != tStatement:
		w.broke = true
		return
	}
	if w.operand && w.alias {
		w.alias = false
		return
	}
	if w.table {
		w.alias = true
	}
	w.settle(oWord)
}

// verdict weighs what was read together with how the reading ended.
func (w *sqlWalk) verdict() (int, string) {
	if w.broke && w.spoken == tSelect && w.quote == 0 && w.score < 5 && w.catalog() {
		return 5, "sqli.catalog"
	}
	if w.bareCall {
		if w.broke {
			w.score -= 3
		} else {
			w.score += 2
		}
	}
	led := true
	if w.compared && w.logic == 0 && !w.clause && (w.broke || w.quote != 0 && (!w.closed || w.from > 24)) {
		w.score -= 3 // a comparison right behind a quote, which led nowhere
		led = false
	}
	if w.broke && w.score < 5 {
		// What did not go on as SQL is text that began like SQL.
		w.score = min(w.score, 2)
	}
	if w.arith && w.ended && w.score > 0 && w.quote != 0 {
		w.score += 2
	}
	if w.ended && !w.broke && w.score == 4 && w.quote != 0 && led {
		w.score++
	}
	return min(w.score, 10), w.rule
}

// catalog reports whether a query whose list was not understood asks a system's
// catalog.
func (w *sqlWalk) catalog() bool {
	for n, from := 0, false; n < 80; n++ {
		t := w.l.next()
		if t.kind == tEnd {
			break
		}
		if from && t.system && t.word == "" && t.end-t.start > 6 {
			return true
		}
		from = t.word == "from"
	}
	return false
}

// projection weighs what follows UNION SELECT: a list of values, calls, stars or
// columns from somewhere, as against a sentence that happens to say so.
func (l *sqlLexer) projection() int {
	save := *l
	defer func() { l.i = save.i }()
	words := 0
	for range 12 {
		t := l.next()
		switch t.kind {
		case tNumber, tString, tVar, tValue, tOpen, tOp, tSelect, tComment, tClose:
			return 5
		case tFill:
			continue
		case tEnd:
			if words == 0 {
				return 4
			}
			return 2
		case tClause:
			if t.word == "from" && words <= 1 {
				return 5
			}
			return 2
		case tWord:
			if t.call != 0 || t.system {
				return 5
			}
			if words++; words > 1 {
				return 2
			}
		default:
			if t.call != 0 {
				return 5
			}
			return 2
		}
	}
	return 2
}

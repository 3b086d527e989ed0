package inspect

import "bytes"

// The SQL recogniser asks one question: if this value were pasted into a
// statement, bare, or between quotes, would what follows the break-out go on as
// SQL and change what the statement means? It reads tokens only as long as they
// fit, so prose stops it at the second word.

// operand kinds of a comparison
const (
	oNone = iota
	oNumber
	oString
	oWord
	oCall
	oGroup
	oNull
)

const sqlTokens = 600 // tokens read from one break-out

// sqlInject reads v[from:] as the continuation of a statement. quote is the
// quote that stood before it, 0 if the value stands bare.
func (j *judge) sqlInject(v []byte, from int, quote byte) (score int, rule string) {
	l := sqlLexer{v: v, i: from, quote: quote, steps: &j.steps}
	var (
		operand   = quote != 0 // an operand is complete
		left      = oNone
		comparing bool
		closed    bool // a comment or an open string takes care of what follows the value
		cmp       byte // the comparison's first byte
		closes    int
		depth     int
		logic     int
		broke     bool
		parts     int // signs of structure
		clause    bool
		statement string
		alias     bool
		last      sqlToken
		lastKind  = oNone
		ended     bool
		compared  bool
		logicNow  bool
		table     bool // names of tables stand here, which may have an alias
		opener    sqlKind
		started   int
		arith     bool
		bareCall  bool // the value begins with a call of a dangerous function
		maths     bool // it compares before any logic: a formula
	)
	if quote != 0 {
		lastKind = oString
	}
	add := func(n int, r string) {
		if score += n; rule == "" || n >= 4 {
			if rule == "" || n > parts {
				rule, parts = r, n
			}
		}
	}
	settle := func(right int) { // an operand of the given kind is complete
		if comparing {
			comparing = false
			lit := func(o int) bool { return o == oNumber || o == oString || o == oNull }
			switch {
			case maths && quote == 0 && (logic == 0 || cmp != '=' || !lit(left) || !lit(right)):
			case logic == 0 && !clause && (cmp == '<' || cmp == '>'):
			case lit(left) && lit(right) && (logic > 0 || quote != 0 || clause):
				if !compared {
					add(5, "sqli.tautology")
				}
				compared = true
			case opener == tSelect && quote == 0:
			case left != oNone && (logic > 0 || quote != 0):
				if !compared && !(logic == 0 && left == oWord) {
					add(2, "sqli.condition")
				}
				compared = true
			}
		}
		lastKind, operand = right, true
	}
	for n := 0; n < sqlTokens; n++ {
		t := l.next()
		first := n == 0
		if first {
			opener = t.kind
		}
		if t.system && t.kind != tComment {
			if t.kind == tVar {
				add(4, "sqli.variable")
			} else if quote != 0 || started > 0 || last.word != "" {
				add(4, "sqli.catalog")
			}
		}
		// Function-like uses of keywords.
		if t.call != 0 && t.kind != tLogic && t.kind != tUnion && !(t.kind == tCompare && operand && last.kind != tLogic) && !(t.kind == tStatement && t.call == callPlain) && !(t.kind == tFill && t.call == callPlain) && t.kind != tSelect && t.kind != tClause {
			if operand && last.kind != tFill && last.kind != tClause && t.kind == tWord {
				if t.call != callDangerous || quote != 0 && first {
					broke = true
				}
			}
			switch t.call {
			case callDangerous:
				if first && quote == 0 {
					bareCall = true
					add(3, "sqli.function")
				} else {
					add(5, "sqli.function")
				}
			case callUseful:
				if quote != 0 || logic > 0 || started > 0 || last.kind == tOp || depth > 0 {
					add(2, "sqli.function")
				} else if first {
					add(1, "sqli.function")
				}
			default:
				if logicNow || last.kind == tCompare {
					add(1, "sqli.function")
				}
			}
			if broke {
				break
			}
			logicNow = false
			operand, lastKind, last = false, oCall, t
			continue
		}
		switch t.kind {
		case tEnd:
			ended = true
		case tComment:
			rest := l.i
			for rest < len(v) && isSpace(v[rest]) {
				rest++
			}
			switch {
			case quote != 0 && (first || n == closes || opener == tSemi && n == closes+1):
				// The quote, and nothing but a comment after it.
				switch empty := emptyComment(v[t.start:t.end]); {
				case rest < len(v):
				case empty && quote != '`':
					add(5, "sqli.comment")
				default:
					add(2, "sqli.comment")
				}
			case quote != 0 && logic > 0 && operand && !compared && (lastKind == oNumber || lastKind == oNull):
				add(5, "sqli.condition")
			case score >= 2:
				add(3, "sqli.comment")
			case logic > 0 || closes > 0 || clause || started > 0:
				add(2, "sqli.comment")
			}
			if rest >= len(v) {
				ended, closed = true, true
			}
		case tOpen:
			if operand && last.kind != tFill && (lastKind != oWord || quote != 0 && first) && last.kind != tCompare && last.kind != tUnion && last.kind != tLogic {
				peek := l
				if peek.next().kind != tSelect || !(quote != 0 || opener == tNumber || closes > 0 || lastKind == oGroup) {
					broke = true
					break
				}
			}
			depth++
			operand = false
		case tClose:
			if !operand && last.kind != tOpen && !first && last.kind != tFill && last.kind != tOp {
				broke = true
				break
			}
			if depth--; depth < 0 {
				closes++
				depth = 0
			}
			settle(oGroup)
			alias = true
		case tString:
			if operand && last.kind != tFill && lastKind != oString && lastKind != oGroup && !(lastKind == oWord && alias) && last.kind != tWord {
				broke = true
				break
			}
			if t.open && quote != 0 && t.code == quote {
				// The statement's own closing quote ends this string.
				closed = true
				if logic > 0 || comparing || last.kind == tOp && last.code != ',' {
					add(2, "sqli.quote")
				}
			} else if t.open && t.end-t.start > 40 {
				broke = true
				break
			}
			settle(oString)
		case tNumber:
			if operand && last.kind != tFill && last.kind != tClause {
				broke = true
				break
			}
			if last.word == "limit" || last.word == "by" && clause {
				if quote != 0 || closes > 0 || started > 0 && opener == tNumber {
					add(4, "sqli.clause")
				} else {
					add(1, "sqli.clause")
				}
			}
			settle(oNumber)
		case tValue:
			k := oNull
			if t.word == "true" || t.word == "false" {
				k = oNumber
			}
			if comparing && last.word == "is" && logic > 0 && left == oWord && (quote != 0 || opener == tNumber || opener == tLogic) {
				add(3, "sqli.condition")
			}
			if logicNow && (quote != 0 || opener == tNumber || opener == tLogic || closes > 0) {
				add(2, "sqli.condition")
			}
			if peek := l; logicNow && k == oNumber && opener == tNumber && quote == 0 && peek.next().kind == tEnd {
				add(3, "sqli.condition")
			}
			settle(k)
		case tVar:
			if operand && last.kind != tStatement && last.kind != tFill {
				broke = true
				break
			}
			settle(oWord)
		case tOp:
			if !operand && t.code != '-' && t.code != '+' && t.code != '~' && t.code != '!' && t.code != '*' && !(first && quote == 0 && t.code == ',') && !(first && quote == 0 && t.code == '|') && last.kind != tSelect {
				broke = true
				break
			}
			if t.code == '*' && !operand {
				settle(oWord)
				break
			}
			if t.code == '!' && !operand && first {
				broke = true
				break
			}
			if t.code == '|' && t.end-t.start == 2 && (operand || first) { // concatenation, or MySQL's OR
				arith = operand
				if quote == 0 {
					logic++
				}
			}
			alias = false
			operand = false
		case tCompare:
			if !operand {
				if !(last.kind == tLogic && last.word == "not") && !(last.kind == tCompare) && !(first && quote == 0) {
					broke = true
					break
				}
			}
			if last.kind != tCompare {
				left = lastKind
			}
			if last.word == "as" || t.word == "in" && callIf(&l, l.i) == callNone {
				peek := l
				if last.word == "as" || peek.next().word != "boolean" {
					broke = true
					break
				}
			}
			if quote == 0 && logic == 0 && started == 0 && !first {
				maths = true
			}
			cmp = t.code
			comparing, operand = true, false
			if t.word == "is" || t.word == "in" || t.word == "between" {
				left = lastKind
			}
		case tLogic:
			if t.word == "not" && last.kind == tCompare { // is not null
				continue
			}
			if !operand && last.kind != tFill && !(first && quote == 0) && last.kind != tLogic && t.word != "not" && last.kind != tOpen {
				broke = true
				break
			}
			if t.word == "where" || t.word == "having" || t.word == "on" || t.word == "when" {
				if first && quote == 0 || operand {
					clause = true
				}
			}
			logic++
			comparing, operand, alias = false, false, false
			compared = false
			logicNow = true
			last = t
			started++
			continue
		case tUnion:
			if !operand && !first && last.kind != tOpen {
				broke = true
				break
			}
			save := l.i
			u := l.next()
			for u.word == "all" || u.word == "distinct" || u.word == "distinctrow" || u.kind == tOpen {
				if u.kind == tOpen {
					depth++
				}
				u = l.next()
			}
			if u.kind == tSelect || u.word == "values" {
				if quote != 0 || first || last.kind == tOpen || lastKind == oNumber || closes > 0 || lastKind == oGroup || started > 0 || lastKind == oNull {
					add(j.projection(&l), "sqli.union")
				} else {
					add(2, "sqli.union")
				}
				operand = false
				last = u
				started++
				continue
			}
			if u.call != 0 && u.kind == tWord && last.kind == tOpen {
				add(4, "sqli.union")
			}
			if quote != 0 && u.kind == tEnd {
				add(3, "sqli.union")
			}
			l.i = save
			broke = true
		case tSelect:
			switch {
			case last.kind == tOpen && (quote != 0 || n > 1 || depth > 0):
				add(4, "sqli.subselect")
			case first, last.kind == tSemi, last.kind == tComment:
				statement = "select"
				add(1, "sqli.statement")
				if peek := l; quote == 0 {
					switch p := peek.next(); {
					case p.system:
						add(1, "sqli.statement")
					case p.call >= callUseful && p.kind != tFill:
						add(2, "sqli.statement")
					}
				}
			case last.kind == tLogic && logic > 0, last.kind == tClose && (quote != 0 || closes > 0 || started > 0 || opener == tNumber || opener == tStatement):
				add(4, "sqli.subselect")
			case last.kind == tFill || last.kind == tClause || last.kind == tStatement:
				add(1, "sqli.statement")
			default:
				broke = true
			}
			operand = false
			started++
		case tStatement:
			if first && quote != 0 && t.word != "waitfor" && t.call < callUseful {
				peek := l
				if n, _ := j.statement(&peek, t); n < 5 {
					broke = true
					break
				}
			}
			if t.word == "waitfor" && operand && (quote != 0 || opener == tNumber || closes > 0) {
				operand = false
			} else if !first && last.kind != tSemi && last.kind != tOpen && last.kind != tFill && last.kind != tLogic && last.kind != tStatement && !(t.call != 0) && !(last.kind == tComment) {
				broke = true
				break
			}
			n, r := j.statement(&l, t)
			if last.kind == tSemi && n > 0 {
				n += 3
			} else if first && quote == 0 && n > 3 && !(t.call != 0) && n < 5 {
				if n = 3; t.word == "create" || t.word == "alter" {
					n = 2
				}
			}
			if n == 0 {
				broke = true
				break
			}
			add(n, r)
			statement = "statement"
			operand = true
			alias = true
			lastKind = oWord
			table = true
			started++
		case tClause:
			switch t.word {
			case "order", "group":
				if u := l.next(); u.word != "by" {
					broke = true
					break
				}
				if !operand && !first {
					broke = true
					break
				}
				clause = true
				if quote != 0 || closes > 0 {
					add(2, "sqli.clause")
				}
				t.kind, t.word = tFill, "by"
				operand = false
				started++
			case "into":
				u := l.next()
				if u.word == "outfile" || u.word == "dumpfile" {
					add(5, "sqli.file")
				}
			case "procedure":
				if operand || first {
					clause = true
				}
				operand = false
			case "limit":
				if !operand {
					broke = true
				}
				operand = false
			default:
				if statement == "" && started == 0 && quote == 0 {
					broke = true
					break
				}
				operand = false
				table = true
				alias = false
			}
			comparing = false
		case tFill:
			if t.word == "as" && (operand || first) {
				alias = true
			}
			if quote != 0 && first && t.word != "as" && t.word != "asc" && t.word != "desc" {
				broke = true
				break
			}
			if t.word == "mode" && last.word == "boolean" {
				add(4, "sqli.clause")
				operand = true
				last = t
				continue
			}
			if t.word == "asc" || t.word == "desc" || t.word == "end" {
				operand = true
				last = t
				continue
			}
			if t.word == "then" || t.word == "else" || t.word == "case" || t.word == "all" || t.word == "distinct" || t.word == "exists" || t.word == "any" || t.word == "binary" {
				operand = false
			}
		case tSemi:
			u := l
			nx := u.next()
			switch {
			case nx.kind == tSelect && (quote != 0 || started > 0 || opener == tNumber || opener == tWord || closes > 0):
				add(4, "sqli.stacked")
			case nx.call >= callUseful && (quote != 0 || opener == tNumber || closes > 0):
				add(3, "sqli.stacked")
			case nx.kind == tOpen && u.next().kind == tSelect && (quote != 0 || opener == tNumber || closes > 0):
				add(4, "sqli.stacked")
			case nx.kind == tStatement:
			case nx.kind == tEnd:
				if started > 0 {
					add(1, "sqli.statement")
				}
			case nx.kind == tComment:
			default:
				broke = true
			}
			operand, comparing, alias, clause = false, false, false, false
		case tWord:
			switch {
			case quote != 0 && first:
				broke = true
			case operand && last.kind == tWord && !alias && lastKind == oWord:
				broke = true
			case operand && !alias && last.kind != tFill && last.kind != tClause && last.kind != tStatement:
				broke = true
			}
			if broke {
				break
			}
			if operand && alias {
				alias = false
				break
			}
			if table {
				alias = true
			}
			settle(oWord)
		default:
			broke = true
		}
		if t.kind != tLogic {
			logicNow = false
		}
		if t.kind == tOp && t.code == '|' {
			logicNow = false
		}
		if broke || ended {
			break
		}
		last = t
	}
	if broke && statement == "select" && quote == 0 && score < 5 {
		// A query whose list was not understood, but which asks a system's catalog.
		for n, from := 0, false; n < 80; n++ {
			t := l.next()
			if t.kind == tEnd {
				break
			}
			if from && t.system && t.word == "" && t.end-t.start > 6 {
				return 5, "sqli.catalog"
			}
			from = t.word == "from"
		}
	}
	if bareCall {
		if broke {
			score -= 3
		} else {
			score += 2
		}
	}
	if compared && logic == 0 && !clause && (broke || quote != 0 && (!closed || from > 24)) {
		score -= 3 // a comparison right behind a quote, which led nowhere
	}
	if broke && score < 5 {
		// What did not go on as SQL is text that began like SQL.
		score = min(score, 2)
	}
	if arith && ended && score > 0 && quote != 0 {
		score += 2
	}
	if ended && !broke && score == 4 && quote != 0 {
		score++
	}
	return min(score, 10), rule
}

// projection weighs what follows UNION SELECT: a list of values, calls, stars or
// columns from somewhere, as against a sentence that happens to say so.
func (j *judge) projection(l *sqlLexer) int {
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

// statement weighs a statement that begins with t.
func (j *judge) statement(l *sqlLexer, t sqlToken) (int, string) {
	save := l.i
	u := l.next()
	if t.call != 0 {
		l.i = save
		if t.call >= callUseful {
			return 3, "sqli.function"
		}
		return 1, "sqli.statement"
	}
	name := func(k sqlToken) bool { return k.kind == tWord || k.kind == tVar || k.kind == tString }
	switch t.word {
	case "drop", "create", "alter", "truncate":
		for range 4 { // create or replace, drop … if exists
			if u.word != "or" && u.word != "replace" && !(u.kind == tStatement && u.word == "if") {
				break
			}
			u = l.next()
		}
		if u.word == "table" || u.word == "database" || u.word == "view" || u.word == "index" || u.word == "user" || u.word == "procedure" || u.word == "login" || u.word == "function" || u.word == "trigger" {
			if w := l.next(); name(w) || w.word != "" {
				if x := l.next(); x.kind == tWord && x.call == 0 && u.word != "function" { // "drop table reservations today"
					return 2, "sqli.statement"
				} else if x.kind != tEnd {
					if l.i = x.start; x.kind == tClause || x.kind == tFill || x.kind == tLogic {
						return 2, "sqli.statement"
					}
				}
				return 4, "sqli.statement"
			}
		}
	case "delete":
		if u.word == "from" {
			if w := l.next(); name(w) {
				if x := l.next(); x.kind == tEnd || x.kind == tSemi || x.kind == tComment || x.word == "where" {
					l.i = x.start
					return 4, "sqli.statement"
				}
			}
		}
	case "insert":
		if u.word == "into" {
			if w := l.next(); name(w) {
				if x := l.next(); x.kind == tOpen || x.word == "values" || x.kind == tSelect {
					l.i = x.start
					return 4, "sqli.statement"
				}
			}
		}
	case "update":
		if name(u) && u.word != "set" {
			if w := l.next(); w.word == "set" {
				if x := l.next(); name(x) {
					if y := l.next(); y.code == '=' {
						l.i = y.end
						return 4, "sqli.statement"
					}
				}
			}
		}
	case "waitfor":
		if u.word == "delay" || u.word == "time" {
			return 5, "sqli.delay"
		}
	case "exec", "execute":
		if u.system || u.kind == tOpen {
			return 5, "sqli.exec"
		}
		if name(u) {
			if x := l.next(); x.kind == tString || x.kind == tVar {
				return 4, "sqli.exec"
			}
		}
	case "declare":
		if u.kind == tVar {
			return 5, "sqli.declare"
		}
	case "begin":
		if u.call >= callUseful || u.kind == tStatement || u.system {
			l.i = u.start
			return 3, "sqli.statement"
		}
	case "backup":
		if u.word == "database" {
			if w := l.next(); name(w) {
				return 5, "sqli.statement"
			}
		}
	case "grant":
		w := l.next()
		if u.word == "connect" || w.word == "on" || w.kind == tOp || w.word == "to" {
			if x := l.next(); name(x) {
				if y := l.next(); y.kind == tSemi {
					l.i = y.start
					return 5, "sqli.statement"
				}
				return 3, "sqli.statement"
			}
		}
	case "set":
		if u.kind == tVar {
			return 4, "sqli.statement"
		}
	case "shutdown":
		if u.kind == tComment || u.kind == tSemi || u.kind == tEnd || u.end-u.start == 4 && l.v[u.start]|32 == 'w' {
			l.i = u.start
			return 2, "sqli.statement"
		}
	case "load":
		if u.word == "data" {
			if w := l.next(); w.word == "infile" || w.word == "local" {
				return 5, "sqli.file"
			}
		}
	case "if", "while":
		if u.kind == tOpen || u.kind == tNumber {
			return 2, "sqli.statement"
		}
	case "print":
		if u.system {
			return 5, "sqli.variable"
		}
	case "call", "use", "show", "kill", "open", "do", "lock", "replace":
		if u.call >= callUseful {
			l.i = u.start
			return 2, "sqli.statement"
		}
	}
	l.i = save
	return 0, ""
}

// sql judges v in each context in which a statement may hold it.
func (j *judge) sql(v []byte) {
	score, rule := j.sqlInject(v, 0, 0)
	j.add(clSQL, rule, score)
	if j.kinds&(bQuote|bDouble|bTick) == 0 || score >= 5 {
		return
	}
	for _, q := range [...]byte{'\'', '"', '`'} {
		// The first quote is where a statement's string would end; a few more are
		// tried because the first may be escaped or doubled.
		starts, most := 0, 4
		if len(v) > 512 {
			most = 2
		}
		for i := 0; i < len(v) && starts < most; i++ {
			n := bytes.IndexByte(v[i:], q)
			if n < 0 {
				break
			}
			i += n
			starts++
			if score, rule := j.sqlInject(v, i+1, q); score > 0 {
				j.add(clSQL, rule, score)
				if score >= 5 {
					return
				}
			}
		}
	}
}

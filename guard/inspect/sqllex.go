package inspect

import "bytes"

// The vocabulary of SQL's dialects and the lexer that reads a value with it.

type sqlKind uint8

const (
	tEnd sqlKind = iota
	tWord
	tNumber
	tString
	tVar // @x, @@x, :x, ?
	tOp  // arithmetic, concatenation, comma
	tCompare
	tLogic
	tUnion
	tSelect
	tStatement
	tClause
	tFill // words that join others without meaning of their own: as, by, all, distinct, case …
	tValue
	tOpen
	tClose
	tSemi
	tComment // runs to the end of the line or of the value
	tOther
)

// What a function's name says. Dangerous ones have no use in data.
const (
	callNone = iota
	callPlain
	callUseful    // exists in SQL dialects, used by injections and reports alike
	callDangerous // waits, reads files, leaks through errors, reaches out
)

type sqlWord struct {
	kind sqlKind
	call uint8 // as a function
}

var sqlWords = func() map[string]sqlWord {
	m := map[string]sqlWord{}
	for kind, words := range map[sqlKind][]string{
		tLogic:     {"and", "or", "xor", "not", "div", "mod", "having", "where", "when", "on"},
		tCompare:   {"like", "rlike", "regexp", "in", "between", "is", "ilike", "similar", "glob", "sounds", "match", "isnull", "notnull", "against"},
		tUnion:     {"union", "except", "intersect", "minus"},
		tSelect:    {"select"},
		tStatement: {"insert", "update", "delete", "drop", "create", "alter", "exec", "execute", "declare", "grant", "revoke", "truncate", "backup", "restore", "shutdown", "merge", "call", "begin", "waitfor", "handler", "rename", "replace", "load", "copy", "attach", "pragma", "vacuum", "set", "if", "while", "use", "do", "prepare", "deallocate", "open", "bulk", "dbcc", "kill", "commit", "rollback", "explain", "show", "lock", "print", "raiserror", "iif"},
		tClause:    {"from", "order", "group", "limit", "into", "procedure", "join", "offset", "values", "returning", "fetch", "for", "window", "top"},
		tFill:      {"as", "by", "all", "distinct", "distinctrow", "case", "then", "else", "end", "asc", "desc", "inner", "outer", "left", "right", "cross", "natural", "unique", "escape", "binary", "interval", "exists", "any", "some", "using", "collate", "partition", "over", "rows", "only", "first", "next", "nulls", "last", "boolean", "mode", "table", "database"},
		tValue:     {"null", "true", "false", "default", "current_user", "session_user", "system_user", "current_date", "current_timestamp", "current_time", "sysdate", "rownum", "rowid", "unknown", "nan"},
	} {
		for _, w := range words {
			m[w] = sqlWord{kind: kind}
		}
	}
	for call, words := range map[uint8][]string{
		callDangerous: {"sleep", "benchmark", "pg_sleep", "extractvalue", "updatexml", "load_file", "load_extension", "randomblob", "zeroblob", "generate_series", "utl_http.request", "utl_inaddr.get_host_address", "utl_inaddr.get_host_name",
			"dbms_pipe.receive_message", "dbms_lock.sleep", "user_lock.sleep", "dbms_java.runjava", "dbms_xmlgen.getxml", "dbms_ldap.init", "dbms_utility.sqlid_to_sqlhash", "ctxsys.drithsx.sn", "xmltype", "httpuritype", "openrowset", "opendatasource", "openquery",
			"xp_cmdshell", "xp_dirtree", "xp_fileexist", "xp_regread", "sp_executesql", "sp_oacreate", "sp_password", "sp_configure", "pg_read_file", "pg_ls_dir", "lo_import", "lo_export", "dblink", "dblink_connect", "copy_from", "make_set", "elt", "analyse", "sys_eval", "sys_exec", "sys_context",
			"name_const", "exp_", "gtid_subset", "gtid_subtract", "st_latfromgeohash", "polygon", "multipoint", "geometrycollection", "linestring", "crypt_key", "regexp_substring", "domain.sleep", "loadfile", "load_data", "found_rows", "row_count", "json_keys", "xmltable", "query_to_xml", "database_to_xml", "current_setting", "has_dbaccess", "is_srvrolemember", "is_member", "fn_xe_file_target_read_file", "fn_get_audit_file", "fn_trace_gettable"},
		callUseful: {"char", "chr", "nchar", "ascii", "ord", "substr", "substring", "mid", "left", "right", "concat", "concat_ws", "group_concat", "string_agg", "listagg", "stragg", "count", "sum", "min", "max", "avg", "if", "iif", "ifnull", "nullif", "isnull", "nvl", "coalesce", "decode", "encode", "hex", "unhex", "md5", "sha1", "sha2", "password", "user", "database", "schema", "version", "db_name", "host_name",
			"system_user", "user_name", "object_id", "col_name", "cast", "convert", "row", "length", "len", "char_length", "upper", "lower", "ucase", "lcase", "reverse", "repeat", "replicate", "floor", "rand", "round", "abs", "exp", "pow", "log", "like", "strcmp", "instr", "locate", "position", "replace", "insert", "lpad", "rpad", "trim", "bin", "oct", "conv", "to_char", "to_number", "to_base64", "tablebase64", "unicode", "stuff", "quotename", "case", "exists", "regexp_like", "date_format", "now", "getdate", "sysdate", "current_user", "connection_id", "last_insert_id", "json_extract", "json_object", "aes_decrypt", "compress", "in", "values", "find_in_set", "greatest", "least", "sqlite_version", "typeof", "quote", "inet_ntoa", "uuid", "bit_length", "octet_length", "initcap", "translate", "month", "year", "day", "date_add", "datediff", "serverproperty", "suser_name", "permissions", "sign", "sqrt", "mod", "any", "all", "some"},
	} {
		for _, w := range words {
			e := m[w]
			e.call = call
			m[w] = e
		}
	}
	return m
}()

// sqlSystem holds the first parts of names that belong to a database system itself.
var sqlSystem = map[string]bool{"information_schema": true, "sysobjects": true, "syscolumns": true, "sysusers": true, "sysdatabases": true, "pg_catalog": true, "pg_user": true, "pg_shadow": true,
	"pg_class": true, "pg_database": true, "pg_tables": true, "sqlite_master": true, "sqlite_schema": true, "sysibm": true, "syscat": true, "all_users": true, "all_tables": true, "all_tab_columns": true, "user_tables": true, "user_tab_columns": true, "dba_users": true, "dba_role_privs": true, "dual": true,
	"v$version": true, "v$instance": true, "v$database": true, "msysaccessobjects": true, "msysobjects": true, "rdb$database": true, "rdb$relations": true, "dbms_pipe": true, "dbms_lock": true, "utl_http": true, "utl_inaddr": true, "performance_schema": true, "xp_cmdshell": true, "sp_executesql": true, "xp_dirtree": true, "sp_oacreate": true, "xp_regread": true, "sp_configure": true, "sp_password": true, "sp_makewebtask": true, "xp_availablemedia": true}

// sqlServer holds first parts that count only before a dot.
var sqlServer = map[string]bool{"master": true, "msdb": true, "tempdb": true, "sys": true, "mysql": true, "domain": true}

type sqlToken struct {
	kind   sqlKind
	call   uint8
	open   bool // a string or comment that the value does not end
	system bool
	word   string // canonical for the few words that the walk asks for
	start  int
	end    int
	code   byte // first byte, for operators and strings
}

type sqlLexer struct {
	v     []byte
	i     int
	quote byte // the quote that a string of the surrounding statement would use
	steps *int
	noted uint8 // comments inside the text
}

// canonical keeps words that the walk compares by name, without allocation.
var canonical = func() map[string]string {
	m := map[string]string{}
	for _, w := range []string{"all", "any", "distinct", "distinctrow", "select", "values", "by", "from", "order", "group", "limit", "into", "procedure", "where", "having", "when", "not", "delay", "time", "outfile", "dumpfile", "as", "asc", "desc", "boolean", "mode", "table", "database", "case", "if", "waitfor", "set", "use", "do", "end", "begin", "user", "is", "in", "exists", "on", "and", "or", "declare", "then", "else", "over", "join", "between", "view", "index", "login", "sleep", "exec", "execute", "drop", "delete", "update", "insert", "shutdown", "backup", "for", "null", "true", "false", "top", "left", "right", "inner", "outer", "cross", "like", "offset", "replace", "xor", "connect", "data", "infile", "local", "grant", "function", "trigger", "show", "kill", "open", "print", "lock", "load", "replace", "call", "create", "alter", "truncate"} {
		m[w] = w
	}
	return m
}()

// next reads one token. Comments that end and casts mean nothing to the walk and
// are passed over; what they leave in t stays, as the lexers of databases do
// with the letter before N'…'.
func (l *sqlLexer) next() (t sqlToken) {
	*l.steps++
	for {
		for l.i < len(l.v) && (isSpace(l.v[l.i]) || kinds[l.v[l.i]]&bCtl != 0) {
			l.i++
		}
		t.start = l.i
		if l.i >= len(l.v) {
			return t
		}
		if l.read(&t) {
			t.end = l.i
			return t
		}
	}
}

// past is next without comments that end: for what a recogniser reads ahead.
func (l *sqlLexer) past() sqlToken {
	t := l.next()
	for t.kind == tComment && !t.open && l.i < len(l.v) {
		t = l.next()
	}
	return t
}

// void returns the end of a number like "1.e", which MySQL reads and forgets
// before a parenthesis, a comma or a name; i if there is none.
func (l *sqlLexer) void(i int) int {
	k := i
	for k < len(l.v) && isDigit(l.v[k]) {
		k++
	}
	if k > i && k+1 < len(l.v) && l.v[k] == '.' && l.v[k+1]|32 == 'e' && (k+2 == len(l.v) || !isWord(l.v[k+2])) {
		return k + 2
	}
	return i
}

// read reads the token, or what is passed over, at l.i; it reports whether it
// was a token.
func (l *sqlLexer) read(t *sqlToken) bool {
	v, c, peek := l.v, l.v[l.i], byte(0)
	t.code = c
	if l.i+1 < len(v) {
		peek = v[l.i+1]
	}
	switch {
	case c == '/' && peek == '*':
		return l.comment(t)
	case c == '*' && peek == '/' && l.noted != 0:
		l.i += 2
		return false
	case c == '<' && peek == '@', c == '@' && peek == '>', c == '#' && peek == '>', c == '?' && (peek == '|' || peek == '&'): // PostgreSQL's on JSON
		l.mark(t, tCompare, 2)
		l.more('>', 3, t)
	case c == '-' && peek == '>':
		l.mark(t, tOp, 2)
		l.more('>', 3, t)
	case c == '-' && peek == '-', c == '#':
		t.kind = tComment
		for l.i < len(v) && v[l.i] != '\n' {
			l.i++
		}
	case c == '\'' || c == '"' || c == '`':
		l.text(t)
	case isDigit(c) || c == '.' && isDigit(peek):
		if k := l.void(l.i); k > l.i {
			l.i = k
			return false
		}
		l.number(t)
	case isAlpha(c) || c == '_' || c >= 0x80:
		return l.name(t)
	case c == '[' && (isAlpha(peek)):
		l.bracketed(t)
	case c == '@':
		l.variable(t)
	case c == '(':
		l.mark(t, tOpen, 1)
	case c == ')':
		l.mark(t, tClose, 1)
	case c == ';':
		l.mark(t, tSemi, 1)
	case c == '&' && peek == '&':
		l.mark(t, tLogic, 2)
	case c == '|' && peek == '|':
		l.mark(t, tOp, 2)
	case c == '=' || c == '<' || c == '>' || c == '!' && (peek == '=' || peek == '<' || peek == '>' || peek == '~') || c == '^' && peek == '=':
		l.mark(t, tCompare, 1)
		for l.i < len(v) && (v[l.i] == '=' || v[l.i] == '>' || v[l.i] == '<') && l.i < t.start+3 {
			l.i++
		}
	case c == ':' && peek == '=':
		l.mark(t, tCompare, 2)
	case c == ':' && peek == ':': // PostgreSQL's cast
		for l.i += 2; l.i < len(v) && isWord(v[l.i]); l.i++ {
		}
		return false
	case c == '+' || c == '-' || c == '*' || c == '/' || c == '%' || c == '|' || c == '&' || c == '^' || c == ',' || c == '~' || c == '!':
		l.mark(t, tOp, 1)
	default:
		l.mark(t, tOther, 1)
	}
	return true
}

// mark takes n bytes as a token of the given kind.
func (l *sqlLexer) mark(t *sqlToken, kind sqlKind, n int) {
	t.kind = kind
	l.i += n
}

// more lengthens the token by bytes c, to n bytes at most.
func (l *sqlLexer) more(c byte, n int, t *sqlToken) {
	for l.i < len(l.v) && l.v[l.i] == c && l.i < t.start+n {
		l.i++
	}
}

// comment passes over a comment that ends, and over the marks of one that
// MySQL runs; one that the value does not end is a token.
func (l *sqlLexer) comment(t *sqlToken) bool {
	v := l.v
	l.noted = 1
	j := l.i + 2
	if j < len(v) && v[j] == '!' || j+1 < len(v) && v[j] == 'M' && v[j+1] == '!' { // MySQL runs what stands in there
		if v[j] == 'M' {
			j++
		}
		j++
		for j < len(v) && isDigit(v[j]) {
			j++
		}
		l.i = j
		return false
	}
	for ; j+1 < len(v); j++ {
		if v[j] == '*' && v[j+1] == '/' {
			l.i = j + 2
			return false
		}
	}
	l.i = len(v)
	t.kind, t.open = tComment, true
	return true
}

// text reads a string; between backticks stands a name.
func (l *sqlLexer) text(t *sqlToken) {
	v, q, j := l.v, l.v[l.i], l.i+1
	for ; j < len(v); j++ {
		if v[j] == '\\' {
			j++
			continue
		}
		if v[j] == q {
			if j+1 < len(v) && v[j+1] == q {
				j++
				continue
			}
			break
		}
	}
	t.kind, t.open = tString, j >= len(v)
	l.i = min(j+1, len(v))
	if q == '`' {
		t.kind = tWord
	}
}

// number reads a number: decimal, with an exponent, hexadecimal. "2nd" is a
// word, "1and" a number with logic glued to it.
func (l *sqlLexer) number(t *sqlToken) {
	v, j := l.v, l.i
	t.kind = tNumber
	if v[j] == '0' && j+1 < len(v) && v[j+1]|32 == 'x' {
		for j += 2; j < len(v) && unhex(v[j]) >= 0; j++ {
		}
	} else {
		for j < len(v) && (isDigit(v[j]) || v[j] == '.') {
			j++
		}
		if j+1 < len(v) && v[j]|32 == 'e' && (isDigit(v[j+1]) || j+2 < len(v) && (v[j+1] == '-' || v[j+1] == '+') && isDigit(v[j+2])) {
			for j += 2; j < len(v) && isDigit(v[j]); j++ {
			}
		}
	}
	if j < len(v) && isWord(v[j]) {
		k := j
		for k < len(v) && isWord(v[k]) {
			k++
		}
		if !glues(v[j:k]) {
			t.kind, j = tWord, k
		}
	}
	l.i = j
}

// name reads a word, with the schemas before it. The letter of N'…', x'…' is
// passed over.
func (l *sqlLexer) name(t *sqlToken) bool {
	v, c, j := l.v, l.v[l.i], l.i
	for j < len(v) && (isWord(v[j]) || v[j] >= 0x80 && v[j] != 0xa0 || v[j] == '$' || v[j] == '.' && j+1 < len(v) && (isWord(v[j+1]) || v[j+1] == '.' || v[j+1] == '*')) {
		j++
	}
	l.word(t, v[l.i:j])
	l.i = j
	return !(t.kind == tWord && j-t.start == 1 && j < len(v) && v[j] == '\'' && (c|32 == 'n' || c|32 == 'x' || c|32 == 'b' || c|32 == 'e'))
}

// bracketed reads a name as SQL Server quotes it.
func (l *sqlLexer) bracketed(t *sqlToken) {
	v, j := l.v, l.i
	for j < len(v) && v[j] != ']' && j < l.i+64 {
		j++
	}
	t.kind = tOther
	if j < len(v) && v[j] == ']' {
		t.kind = tWord
	}
	for j++; j+1 < len(v) && v[j] == '.' && isWord(v[j+1]); {
		for j++; j < len(v) && isWord(v[j]); j++ {
		}
	}
	l.i = min(j, len(v))
}

// variable reads @x, @@x; those of the server and assignments are a database's own.
func (l *sqlLexer) variable(t *sqlToken) {
	v, j := l.v, l.i+1
	for j < len(v) && (v[j] == '@' || isWord(v[j]) || v[j] == '.') {
		j++
	}
	t.kind = tVar
	t.system = j-l.i > 3 && v[l.i+1] == '@' || j+1 < len(v) && v[j] == ':' && v[j+1] == '='
	l.i = j
}

// glues reports whether a word may follow a number without a space.
func glues(w []byte) bool {
	switch len(w) {
	case 2:
		return lower(w[0]) == 'o' && lower(w[1]) == 'r'
	case 3:
		return lower(w[0]) == 'a' && lower(w[1]) == 'n' && lower(w[2]) == 'd' || lower(w[0]) == 'x' && lower(w[1]) == 'o' && lower(w[2]) == 'r'
	case 5:
		return lower(w[0]) == 'u' && lower(w[1]) == 'n' && lower(w[2]) == 'i'
	}
	return false
}

func (l *sqlLexer) word(t *sqlToken, w []byte) {
	t.kind = tWord
	var buf [40]byte
	if len(w) > len(buf) {
		t.call = callIf(l, t.start+len(w))
		return
	}
	dot := -1
	for i, c := range w {
		if buf[i] = lower(c); c == '.' && dot < 0 {
			dot = i
		}
	}
	n := len(w)
	e, known := sqlWords[string(buf[:n])]
	if known && e.kind != 0 {
		t.kind = e.kind
	}
	t.word = canonical[string(buf[:n])]
	t.system = sqlSystem[string(buf[:n])] || dot > 0 && (sqlSystem[string(buf[:dot])] || sqlServer[string(buf[:dot])])
	if !t.system && dot > 0 {
		for i := dot; i < n && !t.system; i++ {
			if buf[i] == '.' {
				t.system = sqlSystem[string(buf[i+1:n])]
			}
		}
	}
	if t.call = callIf(l, t.start+n); t.call != 0 && e.call != 0 && (l.v[t.start+n] == '(' || l.v[t.start+n] == '/' || l.void(t.start+n+1) > t.start+n+1 || e.call == callDangerous || l.quote != 0) {
		t.call = e.call
	}
	if t.call == 0 && n > 4 && buf[1] == 'p' && buf[2] == '_' && (buf[0] == 'x' || buf[0] == 's') {
		t.system = true // stored procedures run without parentheses
	}
}

// callIf reports whether an opening parenthesis follows.
func callIf(l *sqlLexer, i int) uint8 {
	for range 3 {
		for i < len(l.v) && isSpace(l.v[i]) {
			i++
		}
		if i < len(l.v) && l.v[i] == '(' {
			return callPlain
		}
		if i+3 < len(l.v) && l.v[i] == '/' && l.v[i+1] == '*' && l.v[i+2] != '!' {
			e := bytes.Index(l.v[i+2:min(len(l.v), i+64)], []byte("*/"))
			if e < 0 {
				break
			}
			i += e + 4
		} else if e := l.void(i); e > i {
			i = e
		} else {
			break
		}
	}
	return callNone
}

package silent

import (
	"io/fs"
	"strings"
	"sync"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
)

// gramSize is the length of the piece of a literal that the pass looks for.
const gramSize = 4

// A literal is a text that gives something away where it stands or, with a
// check, where the shape around it does.
type literal struct {
	text  string
	rule  string
	class string
	exact bool // upper and lower case count
	gram  int  // offset of the piece that is looked for
	check func(b []byte, from, to int, k *Known) bool
}

func (l *literal) matches(b []byte) bool {
	if l.exact {
		return string(b) == l.text
	}
	for i, c := range b {
		if fold[c] != fold[l.text[i]] {
			return false
		}
	}
	return true
}

// A gramTable finds literals by one piece of four bytes each: a set of bits
// that stays in the nearest cache says no for nearly every byte.
type gramTable struct {
	literals []literal
	at       map[uint32][]int32
	may      [1 << 10]uint64
}

func bucket(gram uint32) uint32 { return gram * 2654435761 >> 16 }

var table = sync.OnceValue(func() *gramTable {
	t := &gramTable{at: map[uint32][]int32{}}
	for _, l := range append(own(), borrowed()...) {
		if len(l.text) < gramSize {
			panic("guard/silent: literal " + l.text + " is too short")
		}
		best, least := 0, 1<<30
		for i := 0; i+gramSize <= len(l.text); i++ {
			if n := len(t.at[gramOf(l.text[i:])])*4 + common(l.text[i:i+gramSize]); n < least {
				best, least = i, n
			}
		}
		l.gram = best
		g := gramOf(l.text[best:])
		t.at[g] = append(t.at[g], int32(len(t.literals)))
		t.may[bucket(g)/64] |= 1 << (bucket(g) % 64)
		t.literals = append(t.literals, l)
	}
	return t
})

func gramOf(s string) (g uint32) {
	for i := range gramSize {
		g = g<<8 | uint32(fold[s[i]])
	}
	return g
}

// common guesses how often a piece stands in plain text: letters and spaces are
// cheap, marks of code are rare.
func common(s string) (n int) {
	for i := range len(s) {
		switch c := fold[s[i]]; {
		case c == ' ' || c == 'e' || c == 't' || c == 'a' || c == 'o' || c == 'n' || c == 'i' || c == 'r' || c == 's':
			n += 2
		case isAlpha(c):
			n++
		}
	}
	return n
}

// borrowed are the texts of errors collected by the OWASP Core Rule Set
// (Apache-2.0), less those that say nothing when they stand alone.
func borrowed() []literal {
	var out []literal
	for _, f := range []struct {
		file, rule, class string
		telling           func(string) bool
	}{
		{"sql-errors.data", RuleSQL, "database", nil},
		{"iis-errors.data", RuleBanner, "iis", nil},
		{"asp-dotnet-errors.data", RuleException, "dotnet", nil},
		{"ruby-errors.data", RuleException, "ruby", nil},
		{"php-errors.data", RuleException, "php", codeLike},
	} {
		for _, line := range Lines(f.file) {
			if Generic(line) || len(line) < gramSize || f.telling != nil && !f.telling(line) {
				continue
			}
			out = append(out, literal{text: line, rule: f.rule, class: f.class, exact: !strings.Contains(line, " ")})
		}
	}
	return out
}

// Lines are the texts of one data file of the Core Rule Set.
func Lines(file string) []string {
	data, err := fs.ReadFile(coreruleset.FS, "@owasp_crs/"+file)
	if err != nil {
		panic("guard/silent: " + err.Error()) // embedded with the module
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}

// Generic reports whether a text of the Core Rule Set's lists says nothing when
// it stands alone: products that an API may well speak about, and words of
// which validation messages are made. There they only prepare further rules.
func Generic(line string) bool {
	switch strings.TrimSpace(line) {
	case "Error", "Warning", "Exception", "Driver", "Server message", "SQL Server", "PostgreSQL", "Procedure or function", "' doesn't exist",
		"in query expression", "db2_", "sybase", "CLI Driver", "Semantic error", "ORA-", "Access Database Engine",
		"A comparison operator is required here", "encountered after end of query", "Column count doesn't match", "has occurred in the vicinity of:",
		"SecurityError:", "RangeError:", "SystemExit:", "Microsoft.Owin.Security":
		return true
	}
	return false
}

// codeLike reports whether a message of PHP names something of the language.
// The rest of that list is found by how PHP prints it, with file and line.
func codeLike(s string) bool {
	if len(s) < 10 {
		return false
	}
	for _, mark := range []string{"::", "()", "$", "PHP_", "\\\\"} {
		if strings.Contains(s, mark) {
			return true
		}
	}
	i := strings.IndexByte(s, '_')
	return i > 2 && i+2 < len(s) && isAlpha(s[i-1]) && isAlpha(s[i+1]) && len(s) >= 14
}

// words makes literals without a check.
func words(rule, class string, texts ...string) []literal {
	var out []literal
	for _, s := range texts {
		out = append(out, literal{text: s, rule: rule, class: class})
	}
	return out
}

// shaped makes literals that need a check.
func shaped(rule, class string, check func([]byte, int, int, *Known) bool, texts ...string) []literal {
	out := words(rule, class, texts...)
	for i := range out {
		out[i].check = check
	}
	return out
}

// exactly makes case count.
func exactly(ls []literal) []literal {
	for i := range ls {
		ls[i].exact = true
	}
	return ls
}

// own are the literals and recognisers written for this package.
func own() (all []literal) {
	add := func(ls []literal) { all = append(all, ls...) }

	add(shaped(RuleStack, "java", digitFollows, ".java:", ".kt:", ".scala:", ".groovy:", ".clj:"))
	add(shaped(RuleStack, "java", frame, "\tat ", " at ", "\nat ", ">at ", "\"at "))
	add(words(RuleStack, "java", "(Native Method)", "(Unknown Source)", "Exception in thread \"", "kotlinx.coroutines.", "nested exception is ", "\nCaused by: ", "\"Caused by: "))
	add(exactly(words(RuleException, "java", "NullPointerException", "ClassCastException", "ClassNotFoundException", "NoClassDefFoundError", "ArrayIndexOutOfBoundsException",
		"NumberFormatException", "HttpMessageNotReadableException", "MethodArgumentTypeMismatchException", "DataIntegrityViolationException", "LazyInitializationException")))
	add(words(RuleException, "java", "com.fasterxml.jackson.", "org.springframework.", "org.hibernate.", "org.apache.catalina.", "JSON parse error: Cannot deserialize"))

	add(words(RuleException, "java", "because \"<", "No enum constant ", "Cannot invoke \""))

	add(shaped(RuleStack, "dotnet", digitFollows, ".cs:line ", ".vb:line ", ".fs:line "))
	add(words(RuleStack, "dotnet", "--- End of stack trace from previous location", "--- End of inner exception stack trace", "Server stack trace:"))
	add(exactly(words(RuleException, "dotnet", "Object reference not set to an instance of an object")))
	add(words(RuleBanner, "dotnet", "Server Error in '", "ASP.NET Core developer exception page", "An unhandled exception occurred while processing the request.",
		"Version Information:</b>&nbsp;Microsoft .NET Framework", "Microsoft .NET Framework Version:"))

	add(words(RuleStack, "python", "Traceback (most recent call last)"))
	add(shaped(RuleStack, "python", pythonFile, "File \""))
	add(shaped(RuleStack, "python", sourceFile, ".py:"))
	add(exactly(words(RuleException, "python", "ModuleNotFoundError:", "ImportError:", "AttributeError: '", "KeyError: '", "ValueError: ", "UnicodeDecodeError:", "RecursionError:",
		"sqlalchemy.exc.", "django.db.", "django.core.", "rest_framework.", "'NoneType' object", "invalid literal for int() with base", "unsupported operand type(s) for", "list index out of range",
		"object is not subscriptable", "object is not iterable", "object is not callable", "object has no attribute '", "required positional argument", "referenced before assignment", "could not convert string to float",
		"psycopg2.", "psycopg.errors.", "pymysql.err.", "asyncpg.exceptions.")))
	add(words(RuleBanner, "python", "Werkzeug Debugger", "DisallowedHost", "content=\"NONE,NOARCHIVE\"", "<code>DEBUG = True</code>", "Django Version:", "Using the URLconf defined in", "The debugger caught an exception in your WSGI application"))

	add(shaped(RuleStack, "php", digitFollows, ".php:", ".php("))
	add(shaped(RuleStack, "php", lineFollows, " on line "))
	add(words(RuleStack, "php", "Stack trace:\n#0", "#0 {main}", "#1 {main}"))
	add(words(RuleException, "php", "PHP Fatal error:", "PHP Warning:", "PHP Notice:", "PHP Parse error:", "PHP Deprecated:", "<b>Fatal error</b>:", "<b>Warning</b>:", "<b>Notice</b>:",
		"<b>Parse error</b>:", "<b>Deprecated</b>:", "Fatal error: Uncaught", "Call to undefined function", "Call to undefined method", "Call to a member function",
		"Undefined index:", "Undefined array key", "Undefined variable", "Undefined offset:", "Undefined property:", "failed to open stream:", "Allowed memory size of ", "Maximum execution time of ", "Illuminate\\", "Symfony\\Component\\"))
	add(words(RuleBanner, "php", "Whoops, looks like something went wrong", "<title>phpinfo()", "Symfony Exception", "window.ignite(", "\"exception\":\"Symfony", "laravel.log"))

	add(shaped(RuleStack, "ruby", digitFollows, ".rb:", ".erb:"))
	add(exactly(words(RuleException, "ruby", "undefined method `", "undefined method '", "undefined local variable or method", "uninitialized constant ", "ActiveRecord::", "ActionController::", "ActionDispatch::")))
	add(words(RuleBanner, "ruby", "Action Controller: Exception caught", "Rails.root:", "Sinatra doesn&rsquo;t know this ditty", "Sinatra doesn't know this ditty", "We're sorry, but something went wrong (500)"))

	add(shaped(RuleStack, "go", digitFollows, ".go:"))
	add(shaped(RuleStack, "go", digitFollows, "goroutine "))
	add(words(RuleStack, "go", "panic: runtime error", "http: panic serving", "[signal SIGSEGV", "runtime error: invalid memory address", "runtime error: index out of range",
		"runtime error: slice bounds out of range", "runtime error: integer divide", "assignment to entry in nil map", "all goroutines are asleep", "interface conversion: interface"))
	add(words(RuleException, "go", "into Go struct field ", "into Go value of type ", "strconv.ParseInt: parsing", "strconv.Atoi: parsing", "reflect: call of", "x509: certificate "))

	add(shaped(RuleStack, "node", digitFollows, ".js:", ".mjs:", ".cjs:", ".jsx:", ".tsx:", ".vue:"))
	add(shaped(RuleStack, "node", sourceFile, ".ts:"))
	add(words(RuleStack, "node", "(node:internal/", "at node:internal/", "at async Promise.all", "at Object.<anonymous>", "at new Promise (<anonymous>)", "at processTicksAndRejections", "at eval (eval at "))
	add(exactly(words(RuleException, "node", "ReferenceError: ", "UnhandledPromiseRejection", "ERR_HTTP_HEADERS_SENT", "ERR_MODULE_NOT_FOUND", "SequelizeDatabaseError", "SequelizeUniqueConstraintError",
		"PrismaClient", "\"clientVersion\":", "Invalid `prisma.", "ENOENT: no such file")))
	add(words(RuleException, "node", "Cannot read properties of undefined (reading", "Cannot read properties of null (reading", "Cannot read property '", "is not a function\n    at "))

	add(words(RuleStack, "rust", "stack backtrace:", "RUST_BACKTRACE", "thread 'main' panicked", "called `Option::unwrap()`", "called `Result::unwrap()`"))
	add(shaped(RuleStack, "rust", sourceFile, ".rs:"))
	add(shaped(RuleStack, "rust", panicked, "panicked at "))
	add(shaped(RuleStack, "elixir", digitFollows, ".exs:", ".erl:"))
	add(shaped(RuleException, "elixir", upperFollows, "** ("))
	add(words(RuleException, "elixir", "(FunctionClauseError)", "** (RuntimeError)", "Phoenix.Router.NoRouteError", "(Ecto."))
	add(shaped(RuleStack, "c", digitFollows, ".cpp:", ".hpp:", ".swift:"))
	add(shaped(RuleStack, "perl", lineFollows, " line "))

	add(shaped(RuleException, "class", qualified, "Exception"))
	add(shaped(RuleException, "class", qualified, "Error"))

	add(databases())
	add(files())
	add(places())
	add(servers())
	add(authentication())
	return all
}

func databases() (all []literal) {
	add := func(ls []literal) { all = append(all, ls...) }
	add(shaped(RuleSQL, "oracle", digitFollows, "ORA-", "PLS-", "TNS-"))
	add(shaped(RuleSQL, "db2", digitFollows, "SQLCODE=-", "SQLCODE: -", "DB21", "SQL0"))
	add(words(RuleSQL, "sqlstate", "SQLSTATE=", "SQLSTATE:", "SQLSTATE ", "SQL state ["))
	add(words(RuleSQL, "mysql", "You have an error in your SQL", "in 'field list'", "in 'where clause'", "in 'order clause'", "MySQL server has gone away", "Duplicate entry '", "ER_DUP_ENTRY", "ER_PARSE_ERROR", "ER_NO_SUCH_TABLE",
		"ER_BAD_FIELD_ERROR", "Access denied for user '", "Can't connect to local MySQL", "Can't connect to MySQL", "Lost connection to MySQL", "Data too long for column '", "a foreign key constraint fails (", "sqlMessage", "Deadlock found when trying to get lock"))
	add(shaped(RuleSQL, "mysql", mysqlTable, "' doesn't exist"))
	add(words(RuleSQL, "postgresql", "duplicate key value violates unique constraint", "violates foreign key constraint", "violates not-null constraint", "violates check constraint", "unterminated quoted string at or near",
		"current transaction is aborted", "password authentication failed for user", "no pg_hba.conf entry", "invalid input syntax for type ", "remaining connection slots are reserved", "must appear in the GROUP BY clause",
		"pg_catalog", "pgx: ", "operator does not exist: ", "canceling statement due to", "could not serialize access due to", "deadlock detected"))
	add(shaped(RuleSQL, "postgresql", relationMissing, "relation \"", "column \"", "relation '"))
	add(exactly(words(RuleSQL, "postgresql", "pq: ", "PG::")))
	add(words(RuleSQL, "sqlite", "SQLITE_", "sqlite3.", "no such table: ", "no such column: ", "UNIQUE constraint failed: ", "NOT NULL constraint failed: ", "FOREIGN KEY constraint failed", "\": syntax error", "database is locked", "unrecognized token: \"", "attempt to write a readonly database"))
	add(words(RuleSQL, "mssql", "Incorrect syntax near", "Unclosed quotation mark", "Invalid object name '", "Invalid column name '", "Cannot insert duplicate key row in object", "Violation of PRIMARY KEY constraint", "Violation of UNIQUE KEY constraint",
		"Login failed for user '", "The INSERT statement conflicted with", "String or binary data would be truncated", "[Microsoft][ODBC", "Microsoft OLE DB Provider", "ADODB.", "Conversion failed when converting"))
	add(words(RuleSQL, "oracle", "quoted string not properly terminated", "OracleException", "oracle.jdbc"))
	add(exactly(words(RuleSQL, "mongodb", "MongoError", "MongoServerError", "MongoNetworkError", "E11000 duplicate key", "MongooseError", "CastError: Cast to ", "Cast to ObjectId failed", "BSONError", "errmsg\" : ")))
	add(exactly(words(RuleSQL, "redis", "WRONGTYPE Operation against", "NOAUTH Authentication required", "MISCONF Redis is", "ReplyError: ")))
	add(words(RuleSQL, "search", "search_phase_execution_exception", "parsing_exception\",\"reason", "index_not_found_exception", "\"root_cause\":["))
	add(words(RuleSQL, "clickhouse", "DB::Exception"))
	add(words(RuleSQL, "go", "sql: no rows in result set", "sql: Scan error on column", "sql: database is closed", "gorm.io/"))
	add(words(RuleSQL, "cassandra", "com.datastax.", "InvalidRequest: Error from server"))
	add(words(RuleSQL, "odbc", "[ODBC ", "[HY000]", "[08S01]", "[42S02]", "could not connect to server", "Is the server running on host", "Can't connect to ", "ODBC Driver", "JDBC Driver", "jdbc:", "mongodb://", "mongodb+srv://", "postgres://", "postgresql://", "mysql://", "redis://", "amqp://", "sqlserver://"))
	add(exactly(shaped(RuleSQL, "statement", statement, "SELECT ", "select ")))
	add(exactly(shaped(RuleSQL, "statement", insertion, "INSERT INTO ", "insert into ")))
	add(exactly(shaped(RuleSQL, "statement", updating, "UPDATE ", "DELETE FROM ", "update ", "delete from ")))
	return all
}

func files() (all []literal) {
	add := func(ls []literal) { all = append(all, ls...) }
	add(shaped(RulePath, "unix", strongPath, "/var/", "/usr/", "/etc/", "/home/", "/root/", "/opt/", "/srv/", "/proc/", "/Users/", "/private/", "/Library/", "/nix/store/", "/snap/", "/boot/", "/lib/", "/lib64/", "/sbin/"))
	add(shaped(RulePath, "unix", weakPath, "/app/", "/src/", "/code/", "/workspace/", "/workspaces/", "/builds/", "/data/", "/mnt/", "/tmp/", "/work/", "/build/", "/project/", "/www/", "/dist/", "/go/", "/rustc/", "/bin/", "/dev/", "/run/", "/vendor/"))
	add(words(RulePath, "unix", "node_modules/", "site-packages/", "dist-packages/", "/.cargo/registry/", "/.m2/repository/", "/pkg/mod/", "/public_html/", "/htdocs/", "/WEB-INF/", "file:///"))
	add(words(RulePath, "windows", "\\inetpub\\", "\\wwwroot\\", "\\Windows\\", "\\Program Files", "%SystemRoot%", "/inetpub/"))
	add(shaped(RuleSQL, "connection", connection, "Data Source=", "Initial Catalog="))
	return all
}

func places() (all []literal) {
	add := func(ls []literal) { all = append(all, ls...) }
	add(shaped(RuleHost, "internal", hostEnds, ".internal", ".cluster.local", ".svc.", ".local", ".lan", ".corp", ".intra", ".intranet", ".localdomain", ".consul", ".compute.amazonaws.com", ".rds.amazonaws.com", ".cache.amazonaws.com", ".database.windows.net", ".private"))
	add(shaped(RuleHost, "internal", portFollows, "localhost:"))
	add(words(RuleHost, "internal", "getaddrinfo ENOTFOUND", "getaddrinfo EAI_AGAIN", "no such host", "Name or service not known", "could not translate host name", "UnknownHostException", "java.net.ConnectException"))
	add(words(RuleAddress, "connection", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH", "dial tcp ", "dial unix ", "connect: connection refused", "read: connection reset by peer", "upstream connect error or disconnect/reset", "Connection refused (os error", "Max retries exceeded with url"))
	add(shaped(RuleAddress, "ipv6", nil, "[::1]"))
	add(shaped(RuleHost, "internal", bareHost, "http://", "https://", "grpc://", "tcp://", "amqp://"))
	add(shaped(RuleHost, "cloud", account, "arn:aws:", "arn:aws-cn:", "arn:aws-us-gov:"))
	add(words(RuleHost, "cluster", "not found in namespace \"", "serviceaccount:", "/var/run/secrets/"))
	return all
}

func servers() (all []literal) {
	add := func(ls []literal) { all = append(all, ls...) }
	add(words(RuleBanner, "java", "Whitelabel Error Page", "This application has no explicit mapping for /error", "<title>Apache Tomcat", "Apache Tomcat/", "<h3>Apache Tomcat", "WebLogic Server", "Oracle GlassFish", "GlassFish Server", "JBWEB0", "Powered by Jetty",
		"Undertow", "Error 404--Not Found", "HTTP Status 400 ", "HTTP Status 403 ", "HTTP Status 404 ", "HTTP Status 405 ", "HTTP Status 500 ", "<h2>HTTP ERROR ", "Struts Problem Report", "There is no Action mapped for"))
	add(words(RuleBanner, "nginx", "<center>nginx", "<center>openresty", "<center>tengine", "<hr><center>"))
	add(words(RuleBanner, "apache", "<address>Apache", "Apache Server at ", "The requested URL was not found on this server.</p>", "the server administrator at", "mod_security", "mod_ssl"))
	add(words(RuleBanner, "iis", "IIS Windows Server", "IIS Detailed Error", "<h2>404 - File or directory not found", "Internet Information Services"))
	add(words(RuleBanner, "proxy", "<title>Error 503 Backend fetch failed", "Varnish cache server", "Generated by cloudfront", "X-Cache:", "squid/", "The proxy server could not handle the request", "Envoy Proxy", "no healthy upstream", "Kong Error", "HAProxy"))
	add(words(RuleBanner, "listing", "<title>Index of /", "[To Parent Directory]", "<title>Directory listing for"))
	add(words(RuleBanner, "node", "<pre>Cannot GET ", "<pre>Cannot POST ", "<pre>Cannot PUT ", "<pre>Cannot DELETE ", "<pre>Cannot PATCH "))
	add(words(RuleBanner, "play", "<title>Action Not Found</title>", "play.api.", "akka.http."))
	add(shaped(RuleVersion, "server", versionFollows, "Apache/", "nginx/", "openresty/", "PHP/", "Werkzeug/", "gunicorn/", "uvicorn/", "hypercorn/", "Microsoft-IIS/", "Microsoft-HTTPAPI/", "Tomcat/", "Jetty(", "Jetty/", "OpenSSL/", "Python/", "CPython/", "Express/", "Kestrel/", "WEBrick/",
		"Phusion Passenger/", "lighttpd/", "LiteSpeed/", "Node.js v", "node/v", "Django/", "Flask/", "Laravel v", "Laravel Framework ", "Ruby/", "Perl/", "mod_perl/", "Undertow/", "WildFly/", "JBoss-", "Caddy/",
		"Varnish/", "envoy/", "Zend Engine v", "ASP.NET Version:", ".NET Framework Version:", "Tornado/", "TornadoServer/", "aiohttp/", "go1.", "Java/", "JRE/", "Hibernate/", "MariaDB-", "MySQL server version", "Ubuntu/", "Debian/", "CentOS/"))
	add(shaped(RuleVersion, "system", versionNear, "-pc-linux-gnu", "x86_64-linux", "(Ubuntu)", "(Debian)", "(CentOS)", "(Win64)", "(Win32)", "(Unix)", "(Red Hat"))
	return all
}

func authentication() []literal {
	return append(shaped(RuleAuth, "password", signingIn,
		"wrong password", "incorrect password", "invalid password", "bad password", "password is incorrect", "password is wrong", "password is invalid", "password incorrect", "password does not match", "password doesn't match",
		"password mismatch", "password was incorrect", "password you entered", "passwords do not match", "password not valid", "wrong_password", "invalid_password", "incorrect_password", "invalidpassword", "wrongpassword", "badpassword", "password is not correct", "password not correct", "password check failed"),
		shaped(RuleAuth, "user", signingIn,
			"no such user", "user not found", "unknown user", "user does not exist", "user doesn't exist", "user not exist", "no user found", "no user with", "user_not_found", "usernotfound", "unknown_user", "username not found", "username does not exist", "username doesn't exist",
			"invalid username\"", "invalid username.", "unknown username", "email not found", "email does not exist", "email doesn't exist", "email is not registered", "email not registered", "email address is not registered", "no account", "account not found", "account does not exist", "account doesn't exist", "account_not_found", "unknown account", "unknown email", "not registered",
			"couldn't find your account", "could not find user", "could not find an account", "couldn't find user", "cannot find user", "can't find user", "user is not registered", "user is disabled", "user is locked", "user is inactive", "account is locked", "account is disabled", "account has been disabled", "account has been locked", "account is suspended",
			"account locked", "account disabled", "user disabled", "user locked", "account_locked", "account_disabled", "email not verified", "user exists but", "email_not_found", "invalid_user", "nonexistent user", "user unknown", "no matching user")...)
}

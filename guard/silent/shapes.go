package silent

import (
	"bytes"
	"net/netip"
)

// The recognisers look at the shape around a literal that stands at b[from:to].

func digitFollows(b []byte, from, to int, _ *Known) bool { return to < len(b) && isDigit(b[to]) }

func upperFollows(b []byte, from, to int, _ *Known) bool { return to < len(b) && isUpper(b[to]) }

// bareHost: a URL whose host has no dot is one that only an inner network knows.
func bareHost(b []byte, from, to int, k *Known) bool {
	end := to
	for end < len(b) && (isWord(b[end]) || b[end] == '-') {
		end++
	}
	host := string(bytes.ToLower(b[to:end]))
	if len(host) < 2 || end < len(b) && (b[end] == '.' || b[end] == '@' || b[end] == '%' || b[end] == '*') || numeric(b[to:end]) {
		return false
	}
	if end < len(b) && b[end] == ':' && !digitFollows(b, end, end+1, nil) {
		return false // a placeholder for a port, or credentials
	}
	switch host {
	case "localhost", "host", "hostname", "example", "domain", "server", "www", "your", "url", "some", "my", "test", "invalid":
		return false
	}
	return !k.asked(b[from:end])
}

// account: the name of a resource in a cloud with the number of an account.
func account(b []byte, from, to int, k *Known) bool {
	end := to
	for end < len(b) && end-to < 200 && (wordOrDot(b[end]) || b[end] == ':' || b[end] == '/') {
		end++
	}
	digits := 0
	for _, c := range b[to:end] {
		if !isDigit(c) {
			digits = 0
		} else if digits++; digits == 12 {
			return !k.asked(b[from:end])
		}
	}
	return false
}

// versionFollows: a product's name and its version, such as nginx/1.18.0.
func versionFollows(b []byte, from, to int, _ *Known) bool {
	return (from == 0 || !isWord(b[from-1]) && b[from-1] != '/' && b[from-1] != '-') && digitFollows(b, from, to, nil)
}

// versionNear: a system's name, with a version of something before it.
func versionNear(b []byte, from, to int, _ *Known) bool {
	before := b[max(0, from-60):from]
	for i := 1; i+1 < len(before); i++ {
		if before[i] == '.' && isDigit(before[i-1]) && isDigit(before[i+1]) {
			return true
		}
	}
	return false
}

// sourceFile: a file's name and a line. Suffixes that are also domains of
// countries need a folder before them or a column behind.
func sourceFile(b []byte, from, to int, _ *Known) bool {
	if !digitFollows(b, from, to, nil) {
		return false
	}
	i := to
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	if i+1 < len(b) && b[i] == ':' && (isDigit(b[i+1]) || b[i+1] == ' ' || isAlpha(b[i+1])) {
		return true
	}
	start := from
	for start > 0 && (wordOrDot(b[start-1]) || b[start-1] == '/' || b[start-1] == ':') {
		start--
	}
	name := b[start:from]
	return bytes.IndexByte(name, '/') >= 0 && !bytes.Contains(name, []byte("://"))
}

// frame: " at " before a qualified method with its arguments or source.
func frame(b []byte, from, to int, _ *Known) bool {
	i, dots := to, 0
	for i < len(b) && (isWord(b[i]) || b[i] == '$' || b[i] == '.' || b[i] == '<' || b[i] == '>' || b[i] == '`' || b[i] == '/' || b[i] == '@') {
		if b[i] == '.' {
			dots++
		}
		i++
	}
	switch {
	case i >= len(b) || b[i] != '(' || dots == 0 || i-to > 300:
		return false
	case dots >= 2:
		return true
	}
	end := bytes.IndexByte(b[i:min(len(b), i+200)], ')')
	if end <= 0 {
		return false
	}
	behind := b[i+end+1 : min(len(b), i+end+7)]
	return bytes.IndexByte(b[i:i+end], ':') > 0 || bytes.HasPrefix(behind, []byte(" in /")) || len(behind) == 6 && bytes.HasPrefix(behind, []byte(" in ")) && behind[5] == ':'
}

// pythonFile: File "…", line 12.
func pythonFile(b []byte, from, to int, _ *Known) bool {
	rest := b[to:min(len(b), to+300)]
	end := bytes.IndexByte(rest, '"')
	return end > 0 && bytes.HasPrefix(rest[end:], []byte(`", line `))
}

// lineFollows: "on line 12" after the name of a script.
func lineFollows(b []byte, from, to int, _ *Known) bool {
	i := to
	if bytes.HasPrefix(b[i:], []byte("<b>")) {
		i += 3
	}
	if i >= len(b) || !isDigit(b[i]) {
		return false
	}
	before := bytes.TrimSuffix(b[max(0, from-120):from], []byte("</b>"))
	for _, suffix := range []string{".php", ".phtml", ".inc", ".pl", ".pm", ".cgi", ".module", "eval()'d code", ".twig", ".tpl"} {
		if bytes.HasSuffix(before, []byte(suffix)) {
			return true
		}
	}
	return false
}

// panicked: a place follows: src/main.rs:4:5.
func panicked(b []byte, from, to int, _ *Known) bool {
	rest := b[to:min(len(b), to+300)]
	return bytes.HasPrefix(rest, []byte("'")) || bytes.Contains(rest, []byte(".rs:"))
}

// qualified: the name of a class of errors with the packages it lives in, such
// as com.example.OrderException or Acme\Shop\OrderException.
func qualified(b []byte, from, to int, _ *Known) bool {
	if to < len(b) && isWord(b[to]) {
		return false
	}
	start := from
	for start > 0 && from-start < 200 && (isWord(b[start-1]) || b[start-1] == '.' || b[start-1] == '\\' || b[start-1] == '$') {
		start--
	}
	name := b[start:to]
	if !isUpper(b[from]) || len(name) < 12 {
		return false
	}
	dots := bytes.Count(name, []byte("."))
	slashes := bytes.Count(bytes.ReplaceAll(name, []byte(`\\`), []byte(`\`)), []byte(`\`))
	switch {
	case slashes >= 1 && dots == 0:
		return isUpper(name[0]) || name[0] == '\\'
	case dots >= 2 && slashes == 0:
		return start == 0 || b[start-1] != '/' && b[start-1] != '@' // not a URL or an address
	case dots == 1 && to < len(b) && (b[to] == '$' || b[to] == ':' || b[to] == '('):
		return string(b[to-9:to]) == "Exception" || string(name[:7]) == "System."
	case dots == 1:
		root, _, _ := bytes.Cut(name, []byte("."))
		return string(root) == "System" || string(root) == "java" || string(root) == "builtins"
	}
	return false
}

// mysqlTable: Table 'shop.orders' doesn't exist.
func mysqlTable(b []byte, from, to int, _ *Known) bool {
	before := b[max(0, from-140):from]
	i := bytes.LastIndex(before, []byte("Table '"))
	return i >= 0 && bytes.IndexByte(before[i+7:], '.') >= 0 && bytes.IndexByte(before[i+7:], '\'') < 0
}

// relationMissing: relation "orders" does not exist, column "x" of relation "y".
func relationMissing(b []byte, from, to int, _ *Known) bool {
	rest := b[to:min(len(b), to+200)]
	end := bytes.IndexAny(rest, `"'`)
	if end <= 0 {
		return false
	}
	rest = bytes.TrimLeft(rest[end+1:], `\`)
	for _, s := range []string{" does not exist", " of relation ", " already exists", " violates ", " is of type ", " cannot be cast"} {
		if bytes.HasPrefix(rest, []byte(s)) {
			return true
		}
	}
	return false
}

// statement: SELECT … FROM … and a mark of the language behind it. A sentence
// begins with Select, not with SELECT or a lower-case word.
func statement(b []byte, from, to int, _ *Known) bool {
	if from > 0 && isWord(b[from-1]) {
		return false
	}
	rest := b[to:min(len(b), to+2000)]
	upper := b[from] == 'S'
	word := " from "
	if upper {
		word = " FROM "
	}
	i := bytes.Index(rest, []byte(word))
	if i < 0 || i > 1500 {
		return false
	}
	columns, table := rest[:i], rest[i+len(word):]
	if len(table) == 0 || !isWord(table[0]) && !bytes.ContainsAny(table[:1], "\"`[(\\") {
		return false
	}
	marks := bytes.ContainsAny(columns, "*,()`\"=[") || bytes.IndexByte(columns, '.') >= 0
	name := 0
	for name < len(table) && (wordOrDot(table[name]) || bytes.IndexByte([]byte("\"`[]\\"), table[name]) >= 0) {
		name++
	}
	tail := bytes.ToUpper(table[name:min(len(table), name+40)])
	clause := len(tail) > 0 && tail[0] == ';'
	for _, s := range []string{" WHERE ", " JOIN ", " LEFT ", " INNER ", " ORDER BY ", " LIMIT ", " GROUP BY "} {
		clause = clause || bytes.HasPrefix(tail, []byte(s)) || bytes.Contains(tail, []byte(s))
	}
	if upper {
		return marks || clause
	}
	return bytes.IndexByte(columns, '*') == 0 || marks && clause
}

func insertion(b []byte, from, to int, _ *Known) bool {
	rest := b[to:min(len(b), to+300)]
	return bytes.IndexByte(rest, '(') > 0 || bytes.Contains(bytes.ToUpper(rest), []byte(" VALUES"))
}

func updating(b []byte, from, to int, _ *Known) bool {
	if from > 0 && isWord(b[from-1]) {
		return false
	}
	rest := b[to:min(len(b), to+300)]
	name := 0
	for name < len(rest) && (wordOrDot(rest[name]) || bytes.IndexByte([]byte("\"`[]\\"), rest[name]) >= 0) {
		name++
	}
	tail := bytes.ToUpper(rest[name:])
	if fold[b[from]] == 'd' {
		return name > 0 && (bytes.HasPrefix(tail, []byte(" WHERE ")) || b[from] == 'D')
	}
	return name > 0 && bytes.HasPrefix(tail, []byte(" SET ")) && bytes.IndexByte(tail, '=') > 0
}

func connection(b []byte, from, to int, _ *Known) bool {
	return bytes.IndexByte(b[to:min(len(b), to+200)], ';') >= 0
}

// pathEnd is where a path that begins before i ends.
func pathEnd(b []byte, i int) int {
	for i < len(b) && (wordOrDot(b[i]) || bytes.IndexByte([]byte("/~+@%$#="), b[i]) >= 0) {
		i++
	}
	return i
}

// pathBegins: a file's path begins a word; in a URL a host stands before it.
func pathBegins(b []byte, from int) bool {
	if from == 0 {
		return true
	}
	c := b[from-1]
	return !wordOrDot(c) && c != '/' && c != '~' && c != '%' && c != '}' && c != ']'
}

// strongPath: a folder that every system has, and something below it.
func strongPath(b []byte, from, to int, k *Known) bool {
	end := pathEnd(b, to)
	token := b[from:end]
	if !pathBegins(b, from) || end-to < 2 || k.ownPath(token) || k.asked(token) {
		return false
	}
	below := b[to:end]
	first, _, deeper := bytes.Cut(below, []byte("/"))
	switch string(bytes.ToLower(b[from:to])) {
	case "/home/", "/users/", "/library/", "/private/", "/opt/", "/srv/":
		// Of these an API may have one too: /users/42, /home/feed.
		if string(b[from:to]) == "/users/" || !deeper {
			return source(token)
		}
		return !numeric(first)
	case "/var/":
		return oneOf(first, "www", "log", "lib", "task", "run", "folders", "app", "opt", "cache", "tmp", "spool", "runtime", "vcap", "mail", "db", "local", "data", "html", "web", "backups", "jenkins_home")
	case "/usr/":
		return oneOf(first, "lib", "lib64", "local", "share", "src", "bin", "sbin", "include", "libexec", "app")
	case "/lib/", "/sbin/", "/boot/", "/lib64/":
		return deeper && bytes.Contains(token, []byte(".so")) || source(token)
	}
	return true
}

// weakPath: a folder that only an image or a build has; a file of code below it
// says that it is one.
func weakPath(b []byte, from, to int, k *Known) bool {
	token := b[from:pathEnd(b, to)]
	return pathBegins(b, from) && !k.ownPath(token) && !k.asked(token) && source(token)
}

func oneOf(b []byte, list ...string) bool {
	for _, s := range list {
		if string(b) == s {
			return true
		}
	}
	return false
}

func numeric(b []byte) bool {
	for _, c := range b {
		if !isDigit(c) {
			return false
		}
	}
	return len(b) > 0
}

var sources = [][]byte{}

func init() {
	for _, s := range []string{".py", ".rb", ".go", ".java", ".kt", ".cs", ".php", ".js", ".mjs", ".cjs", ".ts", ".jsx", ".tsx", ".rs", ".ex", ".exs", ".erl", ".pl", ".pm", ".cgi", ".c", ".cc", ".cpp", ".h", ".so", ".jar", ".war", ".class",
		".conf", ".cfg", ".ini", ".env", ".yaml", ".yml", ".toml", ".log", ".sqlite", ".sqlite3", ".db", ".sock", ".pid", ".sh", ".sql", ".pem", ".key", ".erb", ".twig", ".phtml", ".dll", ".properties", ".tmp", ".json", ".xml", ".lock", ".vue", ".swift", ".scala"} {
		sources = append(sources, []byte(s))
	}
}

// source reports whether a path ends in the name of a file of code or settings.
func source(token []byte) bool {
	token = bytes.TrimRight(token, ".#=%")
	dot := bytes.LastIndexByte(token, '.')
	if dot < 0 || bytes.IndexByte(token[dot:], '/') >= 0 {
		return false
	}
	for _, s := range sources {
		if bytes.EqualFold(token[dot:], s) {
			return true
		}
	}
	return false
}

// windowsPath: b[i] is the backslash of C:\. JSON doubles it.
func windowsPath(b []byte, i int, k *Known) bool {
	if i < 2 || !isAlpha(b[i-2]) || i > 2 && wordOrDot(b[i-3]) {
		return false
	}
	end := i
	for end < len(b) && (wordOrDot(b[end]) || bytes.IndexByte([]byte(`\ ()~$`), b[end]) >= 0) {
		end++
	}
	rest := bytes.TrimLeft(b[i:end], `\`)
	if len(rest) < 2 || k.asked(b[i-2:end]) {
		return false
	}
	return bytes.IndexByte(rest, '\\') > 1 || source(bytes.TrimSpace(rest)) || bytes.IndexByte(rest, '.') > 1
}

// uncPath: \\server\share\. JSON doubles it; an escape is no path.
func uncPath(b []byte, i int) bool {
	if i >= 2 && (isWord(b[i-2]) || b[i-2] == '\\' || b[i-2] == ':' || b[i-2] == ')' || b[i-2] == ']') {
		return false
	}
	rest := bytes.TrimLeft(b[i:min(len(b), i+120)], `\`)
	n := 0
	for n < len(rest) && wordOrDot(rest[n]) {
		n++
	}
	if n < 3 || n >= len(rest) || rest[n] != '\\' {
		return false
	}
	share := bytes.TrimLeft(rest[n:], `\`)
	m := 0
	for m < len(share) && (wordOrDot(share[m]) || share[m] == '$') {
		m++
	}
	return m >= 2 && m < len(share) && share[m] == '\\'
}

// privateAddress: an address of an inner network begins at b[i]. A network with
// its length, such as 10.0.0.0/8, is a rule that somebody explains.
func privateAddress(b []byte, i int, k *Known) bool {
	if fold[b[i]] != '1' {
		return false
	}
	end, dots := i, 0
	for end < len(b) && end-i < 16 && (isDigit(b[end]) || b[end] == '.' && end+1 < len(b) && isDigit(b[end+1])) {
		if b[end] == '.' {
			dots++
		}
		end++
	}
	if dots != 3 || end < len(b) && (isWord(b[end]) || b[end] == '/' && end+1 < len(b) && isDigit(b[end+1]) || b[end] == '-' && end+1 < len(b) && isWord(b[end+1])) {
		return false
	}
	a, err := netip.ParseAddr(string(b[i:end]))
	if err != nil || !(a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast()) {
		return false
	}
	if a.IsLoopback() && !(end+1 < len(b) && b[end] == ':' && isDigit(b[end+1])) {
		return false // everybody has it; a port at it is a neighbour of the service
	}
	return !(k != nil && (a == k.Client.Unmap() || k.asked(b[i:end])))
}

// privateAddress6: b[i] is a colon inside an IPv6 address.
func privateAddress6(b []byte, i int, k *Known) bool {
	start := i
	for start > 0 && i-start < 45 && (isHex(b[start-1]) || b[start-1] == ':') {
		start--
	}
	switch fold[b[start]] {
	case 'f':
		if start+1 >= len(b) || !bytes.Contains([]byte("cde"), []byte{fold[b[start+1]]}) {
			return false
		}
	default:
		return false
	}
	if start > 0 && wordOrDot(b[start-1]) {
		return false
	}
	end := i
	for end < len(b) && end-start < 45 && (isHex(b[end]) || b[end] == ':') {
		end++
	}
	a, err := netip.ParseAddr(string(bytes.TrimRight(b[start:end], ":")))
	if err != nil || !(a.IsPrivate() || a.IsLinkLocalUnicast()) {
		return false
	}
	return !(k != nil && (a == k.Client || k.asked(b[start:end])))
}

// portFollows: localhost with a port is a neighbour of the service.
func portFollows(b []byte, from, to int, k *Known) bool {
	if from > 0 && wordOrDot(b[from-1]) || !digitFollows(b, from, to, nil) {
		return false
	}
	end := to
	for end < len(b) && isDigit(b[end]) {
		end++
	}
	return !k.asked(b[from:end])
}

// hostEnds: the name of a host that only an inner network knows.
func hostEnds(b []byte, from, to int, k *Known) bool {
	if b[to-1] != '.' && to < len(b) && (isWord(b[to]) || b[to] == '-') {
		return false
	}
	if b[to-1] != '.' && to+1 < len(b) && b[to] == '.' && isAlpha(b[to+1]) {
		return false // more labels follow, or a file's suffix
	}
	if to < len(b) && b[to] == '(' { // a method's name
		return false
	}
	start := from
	for start > 0 && (isDigit(b[start-1]) || isAlpha(b[start-1]) || b[start-1] == '-' || b[start-1] == '.') {
		start--
	}
	name := b[start:from]
	switch string(name) { // the code of an error, not a host
	case "error", "errors", "err", "server", "code", "api", "status", "http", "auth", "service", "com", "org":
		return false
	}
	if len(name) < 2 || start > 0 && (b[start-1] == '_' || b[start-1] == '@') {
		return false
	}
	return !k.asked(b[start:to])
}

// signingIn: the phrase stands in an answer to a try to sign in, and is not half
// of one that leaves it open which was wrong.
func signingIn(b []byte, from, to int, k *Known) bool {
	if k == nil || !k.Auth {
		return false
	}
	around := bytes.ToLower(b[max(0, from-24):min(len(b), to+24)])
	for _, either := range []string{" or password", "/password", " or user", " or email", " and/or ", " or incorrect", " or wrong", " or invalid", " or unknown", "or bad "} {
		if bytes.Contains(around, []byte(either)) {
			return false
		}
	}
	return true
}

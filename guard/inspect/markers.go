package inspect

import (
	"bytes"

	"sallyport.dev"
)

// The smaller families: each has a mark of its own that data seldom carries,
// and a shape around it that decides. Text is in lower case unless said.

func has(s []byte, w string) bool { return bytes.Contains(s, []byte(w)) }

// xml judges document types and entities.
func (j *judge) xml(s []byte) {
	entity := has(s, "<!entity")
	if n := bytes.Index(s, []byte("<!doctype")); n >= 0 {
		rest := s[n:]
		switch {
		case bytes.IndexByte(rest, '[') > 0, has(rest, " system"), has(rest, " public") && !has(rest, "-//w3c//"):
			j.add(clXXE, "xxe.doctype", 5)
		}
	}
	if entity {
		j.add(clXXE, "xxe.entity", 5)
	}
	if has(s, "xi:include") && has(s, "href") || has(s, "<xsl:") && (has(s, "document(") || has(s, "value-of") || has(s, "include")) || has(s, "<?xml-stylesheet") {
		j.add(clXXE, "xxe.include", 5)
	}
	if has(s, "<esi:") {
		j.add(clSSI, "ssi.esi", 5)
	}
}

// shellshock judges a function definition in front of commands.
func (j *judge) shellshock(s []byte) {
	t := bytes.TrimLeft(s, " \t\x00\"'")
	if len(t) < 4 || t[0] != '(' {
		return
	}
	k := 1
	for k < len(t) && (isSpace(t[k]) || kinds[t[k]]&bCtl != 0) {
		k++
	}
	if k >= len(t) || t[k] != ')' {
		return
	}
	for k++; k < len(t) && isSpace(t[k]); k++ {
	}
	if k >= len(t) || t[k] != '{' {
		return
	}
	if e := bytes.IndexByte(t[k:], '}'); e > 0 {
		body, after := t[k:k+e], bytes.TrimLeft(t[k+e+1:], " \t")
		if len(after) > 0 && after[0] == ';' && (bytes.IndexByte(body, ';') > 0) {
			j.add(clShock, "shellshock.function", 6)
		} else if has(body, "_;") || has(body, ">_[") {
			j.add(clShock, "shellshock.function", 6)
		}
	}
}

var mongo = [...]string{"$ne", "$gt", "$gte", "$lt", "$lte", "$eq", "$in", "$nin", "$or", "$and", "$not", "$nor", "$where", "$regex", "$exists", "$expr", "$func", "$elemmatch", "$all", "$size", "$mod", "$type", "$text", "$lookup", "$function", "$accumulator"}

// nosql judges query operators and JavaScript for document stores.
func (j *judge) nosql(s []byte) {
	for i := 0; i < len(s); i++ {
		n := bytes.IndexByte(s[i:], '$')
		if n < 0 {
			break
		}
		i += n
		if j.steps++; j.steps > j.limit {
			return
		}
		e := i + 1
		for e < len(s) && isAlpha(s[e]) {
			e++
		}
		known := false
		for _, m := range mongo {
			if string(s[i:e]) == m {
				known = true
			}
		}
		if !known {
			continue
		}
		before, after := byte(0), next(bytes.TrimLeft(s[e:], " \t"), 0)
		if b := bytes.TrimRight(s[:i], " \t\n"); len(b) > 0 {
			before = b[len(b)-1]
		}
		switch {
		case before == '[' && after == ']':
			j.add(clNoSQL, "nosql.operator", 5)
		case (before == '"' || before == '\'') && (after == '"' || after == '\''):
			rest := bytes.TrimLeft(bytes.TrimLeft(s[e:], " \t")[1:], " \t")
			if len(rest) > 0 && rest[0] == ':' {
				j.add(clNoSQL, "nosql.operator", 5)
			}
		case (before == '{' || before == ',') && after == ':':
			j.add(clNoSQL, "nosql.operator", 5)
		case i == 0 && e == len(s):
			j.add(clNoSQL, "nosql.operator", 5)
		case before == '.' && after == '=':
			j.add(clNoSQL, "nosql.operator", 4)
		}
	}
	if j.kinds&(bQuote|bDouble|bSemi|bPipe) != 0 {
		broken := bytes.IndexAny(s, "'\"")
		if broken >= 0 {
			tail := s[broken+1:]
			t := bytes.TrimLeft(tail, " )};")
			switch {
			case has(tail, "return true") || has(tail, "return 1") || has(tail, "return(true"), has(tail, "this.password") || has(tail, "this.passwd"):
				if len(t) != len(tail) {
					j.add(clNoSQL, "nosql.script", 5)
				}
			case bytes.HasPrefix(t, []byte("||")) || bytes.HasPrefix(t, []byte("&&")):
				if x := bytes.TrimLeft(t[2:], " "); bytes.HasPrefix(x, []byte("this.")) || has(x, "==") || bytes.HasPrefix(x, []byte("true")) || bytes.HasPrefix(x, []byte("'")) && has(x, "||") {
					j.add(clNoSQL, "nosql.script", 5)
				}
			case bytes.HasPrefix(t, []byte("db.")) || bytes.HasPrefix(t, []byte("sleep(")) || bytes.HasPrefix(t, []byte("while(")):
				j.add(clNoSQL, "nosql.script", 5)
			}
		}
		if has(s, "db.") && (has(s, ".drop()") || has(s, ".find(") || has(s, ".insert(") || has(s, ".getcollectionnames") || has(s, ".version()")) && has(s, ";") {
			j.add(clNoSQL, "nosql.script", 4)
		}
	}
}

// ldap judges a filter that closes one condition and opens another.
func (j *judge) ldap(s []byte) {
	n := bytes.IndexByte(s, ')')
	o := bytes.IndexByte(s, '(')
	if n < 0 || o >= 0 && o < n && !(o > 0 && s[o-1] == '*') {
		return
	}
	t := bytes.TrimLeft(s[n:], ") ")
	if has(s, "*(|(") || has(s, "*(&(") || len(t) > 2 && t[0] == '(' && t[1] == '(' && (t[2] == '|' || t[2] == '&') && n > 0 && s[n-1] == '*' || has(s, "*()|") {
		j.add(clLDAP, "ldap.filter", 5)
	}
	switch {
	case len(t) > 3 && (t[0] == '|' || t[0] == '&' || t[0] == '!') && t[1] == '(' && n > 0 && s[n+1] == t[0]:
		// "x)|(uid=*": an operator between two conditions; "(a)&(b=c)" opens before it closes
		if w := ident(t[2:]); len(w) > 0 && 2+len(w) < len(t) && t[2+len(w)] == '=' {
			j.add(clLDAP, "ldap.filter", 5)
		}
	case len(t) > 1 && t[0] == '(' && (t[1] == '&' || t[1] == '|' || t[1] == '!') && (len(t) < 4 || t[2] == '(' || isSpace(t[2]) || isAlpha(t[2])):
		j.add(clLDAP, "ldap.filter", 5)
	case len(t) > 2 && t[0] == '(' && isAlpha(t[1]):
		w := ident(t[1:])
		switch e := 1 + len(w); {
		case e < len(t) && (t[e] == '=' || t[e] == '>' && next(t, e+1) == '=' || t[e] == '<' && next(t, e+1) == '=' || t[e] == '~'):
			if has(t, "*") || n > 0 && s[n-1] == '*' || has(t, ")") || !has(t, "'") {
				j.add(clLDAP, "ldap.filter", 5)
			}
		}
	}
	if n > 0 && s[n-1] == '*' && (len(s)-n > 1 && (s[n+1] == '%' || s[n+1] == 0 || s[n+1] == ')')) {
		j.add(clLDAP, "ldap.wildcard", 4)
		if bytes.IndexByte(s[n:], 0) > 0 {
			j.add(clLDAP, "ldap.wildcard", 5)
		}
	}
}

// xpath judges expressions over documents.
func (j *judge) xpath(s []byte) {
	q := bytes.IndexAny(s, "'\"]")
	if q < 0 {
		return
	}
	t := s[q:]
	for _, w := range [...]string{"count(/", "count(//", "string-length(", "name(/", "name(.", "local-name(", "/child::", "/parent::", "/text()", "/node()", "//*", "substring(//", "substring(name(", "position()", "doc('", "doc(\"", "last()", "normalize-space(", "ancestor::", "following-sibling::", "|//", "| //"} {
		if has(t, w) {
			if prose := bytes.Count(s, []byte(" ")) > 24; prose {
				j.add(clXPath, "xpath.expression", 3)
			} else if has(t, " or ") || has(t, " and ") || has(t, "]|") || has(t, "] |") || has(t, "=") {
				j.add(clXPath, "xpath.expression", 5)
			} else {
				j.add(clXPath, "xpath.expression", 3)
			}
			return
		}
	}
}

var headerNames = [...]string{"set-cookie:", "set-cookie2:", "content-type:", "content-length:", "location:", "transfer-encoding:", "http/1.", "http/2", "refresh:", "x-forwarded-for:", "x-forwarded-host:", "content-disposition:", "access-control-allow-origin:", "host:", "status:", "content-encoding:", "content-security-policy:", "x-xss-protection:", "last-modified:", "connection:"}
var mailNames = [...]string{"bcc:", "cc:", "to:", "subject:", "mime-version:", "content-transfer-encoding:", "reply-to:", "from:", "content-type:", "rcpt to", "mail from", "data\r"}

// header judges line breaks that begin a field of their own.
func (j *judge) header(s []byte) {
	for i := 0; i < len(s); i++ {
		if s[i] != '\n' && s[i] != '\r' && !(s[i] == 0xe5 && i+2 < len(s) && s[i+1] == 0x98 && (s[i+2] == 0x8a || s[i+2] == 0x8d)) {
			continue
		}
		if j.steps++; j.steps > j.limit {
			return
		}
		k := i + 1
		for k < len(s) && (isSpace(s[k]) || s[k] >= 0x80) {
			k++
		}
		if k >= len(s) {
			return
		}
		rest := s[k:]
		strict := j.in != sallyport.InBody || j.decoded&dPercent != 0
		for _, h := range headerNames {
			if bytes.HasPrefix(rest, []byte(h)) {
				n := 3
				if h == "set-cookie:" || strict && (bytes.IndexByte(s[:min(i, 512)], ' ') < 0 || h == "http/1.") {
					n = 5
				}
				j.add(clHeader, "crlf.header", n)
			}
		}
		for _, h := range mailNames {
			if bytes.HasPrefix(rest, []byte(h)) {
				n := 2
				if has(rest[:min(len(rest), 120)], "@") && bytes.IndexByte(s[:min(i, 512)], '@') > 0 && bytes.IndexByte(s[:min(i, 512)], ' ') < 0 {
					n = 5
				} else if h == "bcc:" {
					n = 4
				}
				j.add(clMail, "mail.header", n)
			}
		}
		if strict && i < 24 && bytes.IndexByte(s[:i], ' ') < 0 && (requestLine(rest) || s[i] == '\r' && next(s, i+1) == '\n' && fieldLine(rest)) {
			j.add(clHeader, "crlf.header", 5)
		}
		if strict && (bytes.HasPrefix(rest, []byte("<script")) || bytes.HasPrefix(rest, []byte("<html"))) {
			j.add(clHeader, "crlf.body", 5)
		}
		i = k - 1
	}
}

// requestLine reports whether s begins another request.
func requestLine(s []byte) bool {
	s = s[:min(len(s), 256)]
	w := ident(s)
	switch string(w) {
	case "get", "post", "put", "delete", "head", "options", "patch", "connect", "trace":
		n := bytes.Index(s, []byte(" http/"))
		return n > len(w) && next(s, len(w)) == ' ' && n+6 < len(s) && isDigit(s[n+6])
	}
	return false
}

// fieldLine reports whether s begins with a header field whose name is made of
// parts: "remote-addr: x", as no line of a text begins.
func fieldLine(s []byte) bool {
	e, dash := 0, false
	for e < len(s) && e < 40 && (isAlnum(s[e]) || s[e] == '-') {
		dash = dash || s[e] == '-'
		e++
	}
	return dash && next(s, e) == ':' && next(s, e+1) == ' ' && e+2 < len(s) && bytes.Count(s[e+2:min(len(s), 128)], []byte(" ")) < 2
}

// url judges an address that the server may be made to fetch.
func (j *judge) url(s []byte) {
	for _, p := range [...]string{"gopher://", "dict://", "ldap://", "ldaps://", "ldapi://", "tftp://", "netdoc:", "jar:http", "jar:file", "sftp://", "local_file://"} {
		if n := bytes.Index(s, []byte(p)); n >= 0 && (n == 0 || !isAlpha(s[n-1])) {
			w := 3
			if h := next(s, n+len(p)); !isAlnum(h) && h != '[' && h != '/' && h != '%' {
				w = 2 // someone speaks of the scheme
			} else if n == 0 && p != "sftp://" && p != "ldaps://" {
				w = 5
			}
			j.add(clSSRF, "ssrf.scheme", w)
		}
	}
	for i, found := 0, 0; i < len(s) && found < 16; found++ {
		n := bytes.Index(s[i:], []byte("//"))
		if n < 0 {
			break
		}
		i += n + 2
		if j.steps++; j.steps > j.limit {
			return
		}
		if i > 2 && s[i-3] == ':' { // of the schemes, those that are fetched
			w := i - 3
			for w > 0 && isAlpha(s[w-1]) && w > i-10 {
				w--
			}
			if x := string(s[w : i-3]); x != "http" && x != "https" && x != "ftp" && x != "ws" && x != "wss" && x != "" {
				continue
			}
		}
		e := i
		for e < len(s) && kinds[s[e]]&(bSlash|bBack|bHash|bSpace|bLine|bQuote|bDouble|bMore|bLess|bClose) == 0 && s[e] != '?' {
			e++
		}
		host := s[i:e]
		if at := bytes.LastIndexByte(host, '@'); at >= 0 {
			host = host[at+1:]
		}
		port := host[bytes.LastIndexByte(host, ':')+1:]
		if len(host) > 0 && host[0] == '[' {
			if c := bytes.IndexByte(host, ']'); c >= 0 {
				host = host[:c+1]
			}
		} else if len(host) > 0 {
			if c := bytes.IndexByte(host, ':'); c >= 0 {
				host = host[:c]
			}
		}
		host = bytes.TrimRight(host, ".")
		if w := inner(host); w == 2 && servicePorts.has(port) && i < 12 {
			j.add(clSSRF, "ssrf.service", 5)
		} else if w > 0 && (i == 2 || s[i-3] == ':') {
			if n > 0 && w > 4 && bytes.IndexByte(s, ' ') >= 0 && bytes.IndexByte(s, ' ') < i {
				w = 4
			} else if w == 4 && i < len(s) && bytes.IndexByte(s[:i], ' ') >= 0 {
				w = 2 // an address in a sentence: "it answers on http://127.0.0.1:9001"
			}
			j.add(clSSRF, "ssrf.address", w)
		}
	}
}

// servicePorts are those of data stores and control planes, where no page is.
var servicePorts = words("22", "23", "25", "110", "143", "389", "445", "873", "1433", "1521", "2049", "2181", "2375", "2376", "2379", "3306", "3389", "4369", "5432", "5672", "5984", "6379", "6443", "7001", "8500", "9042", "9092", "9200", "9300", "10250", "11211", "15672", "27017", "50070")

// inner weighs a host: addresses of the machine itself or of a cloud's metadata.
func inner(h []byte) int {
	switch string(h) {
	case "169.254.169.254", "169.254.170.2", "100.100.100.200", "metadata.google.internal", "metadata", "instance-data", "[fd00:ec2::254]", "192.0.0.192", "metadata.azure.internal", "[::ffff:a9fe:a9fe]", "[::ffff:169.254.169.254]", "0", "0.0.0.0", "[::]", "[::1]", "localhost.localdomain", "localtest.me", "lvh.me":
		return 5
	case "localhost":
		return 2
	case "127.0.0.1":
		return 4
	}
	if bytes.HasPrefix(h, []byte("169.254.")) || bytes.HasPrefix(h, []byte("[::ffff:7f")) || bytes.HasPrefix(h, []byte("[::ffff:127.")) || bytes.HasPrefix(h, []byte("[0:0:0:0:0:")) {
		return 5
	}
	for _, p := range [...]string{".nip.io", ".xip.io", ".sslip.io", ".localtest.me"} {
		if bytes.HasSuffix(h, []byte(p)) {
			return 5
		}
	}
	// Addresses in the spellings that only inet_aton reads.
	parts, digits, odd := 1, 0, false
	for i, c := range h {
		switch {
		case c == '.':
			parts++
		case isDigit(c):
			if c == '0' && (i == 0 || h[i-1] == '.') && i+1 < len(h) && h[i+1] != '.' {
				odd = true
			}
			digits++
		case (c == 'x' || unhex(c) >= 0) && odd:
			digits++
		default:
			return 0
		}
	}
	if digits > 0 && (odd && parts <= 4 || parts < 4 && digits >= 2 && (parts > 1 || digits >= 8)) {
		return 5
	}
	if parts == 4 && bytes.HasPrefix(h, []byte("127.")) {
		return 5
	}
	return 0
}

// object judges serialised objects. raw keeps its case.
func (j *judge) object(s, raw []byte) {
	t := bytes.TrimLeft(raw, " \t\r\n\"'")
	for _, p := range [...]string{"rO0AB", "H4sIAAAAAAAA", "AAEAAAD/////", "gASV", "gAJj", "gANj", "Y29z", "Y3Bvc2l4", "\xac\xed\x00\x05"} {
		if bytes.HasPrefix(t, []byte(p)) && len(t) > len(p)+4 {
			w := 5
			if p == "H4sIAAAAAAAA" || p == "Y29z" {
				w = 2
			}
			j.add(clObject, "deserialisation.stream", w)
		}
	}
	if has(s, "aced0005") && bytes.HasPrefix(s, []byte("aced0005")) {
		j.add(clObject, "deserialisation.stream", 5)
	}
	// PHP: O:4:"User":1:{…}
	for i := 0; i+6 < len(s); i++ {
		n := bytes.IndexByte(s[i:], ':')
		if n < 0 {
			break
		}
		if i += n - 1; n == 0 {
			i++
			continue
		}
		if (s[i] == 'o' || s[i] == 'c') && i+6 < len(s) && (i == 0 || !isWord(s[i-1])) {
			k := i + 2
			if k < len(s) && s[k] == '+' {
				k++
			}
			d := k
			for k < len(s) && isDigit(s[k]) {
				k++
			}
			if k > d && k+1 < len(s) && s[k] == ':' && (s[k+1] == '"' || s[k+1] == '\\') && bytes.IndexByte(s[k:min(len(s), k+256)], '{') > 0 {
				j.add(clObject, "deserialisation.php", 5)
			}
		}
		i++
		if j.steps++; j.steps > j.limit {
			return
		}
	}
	switch {
	case has(s, "_$$nd_func$$_"), has(s, "!!python/"), has(s, "!!javax."), has(s, "!!java."), has(s, "!!com."), has(s, "!!org."), has(s, "!ruby/object"), has(s, "!php/object"), has(s, "__reduce__") && (bytes.Count(s[:min(len(s), 256)], []byte(" ")) < 4 || has(s, "def __reduce__")):
		j.add(clObject, "deserialisation.tag", 5)
	case has(s, "org.apache.commons.collections"), has(s, "com.sun.rowset"), has(s, "com.sun.org.apache"), has(s, "ysoserial"), has(s, "objectdataprovider"), has(s, "org.apache.xalan"), has(s, "java.beans.xmldecoder"), has(s, "<java version"), has(s, "com.mchange.v2.c3p0"), has(s, "javax.management.badattribute"), has(s, "java.net.urlclassloader"), has(s, "org.springframework.context.support"):
		j.add(clObject, "deserialisation.gadget", 5)
	case (has(s, `"@type"`) || has(s, `'@type'`)) && (has(s, "com.") || has(s, "java.") || has(s, "org.")), (has(s, `"$type"`) || has(s, `'$type'`)) && has(s, "system."):
		j.add(clObject, "deserialisation.type", 5)
	}
	if bytes.HasPrefix(raw, []byte("cos\nsystem")) || bytes.HasPrefix(raw, []byte("c__builtin__\n")) || bytes.HasPrefix(raw, []byte("cposix\n")) || bytes.HasPrefix(raw, []byte("csubprocess\n")) {
		j.add(clObject, "deserialisation.pickle", 5)
	}
}

var codeCalls = [...]struct {
	call string
	n    int
}{{"system(", 4}, {"passthru(", 5}, {"shell_exec(", 5}, {"popen(", 4}, {"proc_open(", 5}, {"pcntl_exec(", 5}, {"phpinfo(", 5}, {"base64_decode(", 4}, {"call_user_func(", 5}, {"create_function(", 5}, {"preg_replace(", 3}, {"file_get_contents(", 4}, {"file_put_contents(", 4}, {"readfile(", 4}, {"highlight_file(", 5}, {"show_source(", 5}, {"assert(", 3}, {"include(", 2}, {"var_dump(", 3}, {"exec(", 3}, {"eval(", 3}, {"gzinflate(", 4}, {"str_rot13(", 4}, {"array_map(", 3},
	{"__import__(", 5}, {"os.system(", 5}, {"os.popen(", 5}, {"subprocess.call", 4}, {"subprocess.popen", 5}, {"subprocess.run", 4}, {"subprocess.check", 4}, {"__subclasses__(", 5}, {"__globals__", 4}, {"__builtins__", 5}, {"compile(", 2}, {"exec(compile", 5}, {"execfile(", 4},
	{"child_process'", 5}, {"child_process\"", 5}, {"child_process.", 3}, {"process[", 4}, {"process.mainmodule", 5}, {"process.binding(", 5}, {"global.process", 5}, {"process.env", 2}, {"process.exit(", 3}, {"require('fs')", 4}, {"require(\"fs\")", 4}, {"root.process", 4},
	{"getruntime(", 5}, {"processbuilder(", 5}, {"java.lang.runtime", 5}, {"java.lang.processbuilder", 5}, {"java.lang.class", 4}, {"java.lang.system", 3}, {"class.forname(", 4}, {"getclass(", 3}, {".getclassloader", 4}, {"class.module.classloader", 5}, {"class.classloader", 5}, {"scriptenginemanager", 5}, {"#_memberaccess", 5}, {"#context[", 5}, {"@java.lang", 5}, {"#application", 4}, {"ognl.", 4}, {"javax.script", 4}, {"t(java.", 5}, {"org.springframework.", 3},
	{"kernel.exec", 5}, {"kernel.system", 5}, {"io.popen(", 5}, {"io.popen", 4}, {"%x(", 4}, {"instance_eval", 4}, {"dir.entries(", 4}, {"file.read(", 3}, {"open(\"|", 5}, {"open('|", 5},
	{"response.write(", 4}, {"server.mappath", 4}, {"wscript.shell", 5}, {"system.diagnostics.process", 5}, {"server.createobject", 5}, {"$_get[", 4}, {"$_post[", 4}, {"$_request[", 5}, {"$_server[", 4}, {"$_cookie[", 4}, {"$globals", 4}, {"http_raw_post", 4}, {"java.io.file", 3}, {"import os;", 4}, {"import subprocess", 4}, {"os.execute(", 5}, {"exec xp_", 5}}

var codeFinder = func() *finder {
	var calls []string
	for _, c := range codeCalls {
		calls = append(calls, c.call)
	}
	return newFinder(calls)
}()

// code judges source code of server-side languages.
func (j *judge) code(s []byte) {
	spaces := bytes.Count(s, []byte(" "))
	prose := spaces > 6 // a sentence, a ticket, an article
	codeFinder.find(s, &j.at)
	for i, c := range codeCalls {
		n := int(j.at[i]) - 1
		if n < 0 || n > 0 && (isWord(s[n-1]) || s[n-1] == '.' && c.n < 5 && c.call[len(c.call)-1] == '(' && !bytes.HasSuffix(s[:n], []byte("os."))) && isAlpha(c.call[0]) {
			continue
		}
		if j.steps++; j.steps > j.limit {
			return
		}
		if c.call == "system(" || c.call == "exec(" || c.call == "eval(" || c.call == "popen(" || c.call == "passthru(" || c.call == "assert(" || c.call == "include(" {
			arg := bytes.TrimLeft(s[n+len(c.call):], " \\")
			if len(arg) > 0 && (arg[0] == ')' || arg[0] == '.' || arg[0] >= 0x80 || isDigit(arg[0]) && next(arg, 1) == ')') { // exec(2)
				continue
			}
			w := c.n
			if len(arg) > 1 && (arg[0] == '\'' || arg[0] == '"') {
				cmd := ident(bytes.TrimLeft(arg[1:], " /\\"))
				if shellPrograms.has(cmd) || arg[1] == '/' || has(arg[:min(len(arg), 48)], "bin/") {
					w = 5
				}
			}
			if len(arg) > 1 && (arg[0] == '$' || bytes.HasPrefix(arg, []byte("print")) || arg[0] == '`' || bytes.HasPrefix(arg, []byte("base64_decode")) || bytes.HasPrefix(arg, []byte("chr("))) {
				w = 5
			}
			before := bytes.TrimRight(s[:n], " ")
			if len(before) > 0 && len(before) < n && isAlpha(before[len(before)-1]) && len(arg) > 0 && isAlpha(arg[0]) {
				continue // "printing system(tm)"
			}
			if len(before) == 0 || kinds[before[len(before)-1]]&(bSemi|bCurly|bQuote|bDouble|bPipe|bDot|bAmp|bEqual|bOpen|bClose) != 0 {
				w++
			}
			if prose {
				w = min(w, 3)
			}
			j.add(clCode, "code.call", min(w, 5))
			continue
		}
		w := c.n
		if e := n + len(c.call); c.call[len(c.call)-1] == '(' && (next(s, e) == '.' || isDigit(next(s, e)) && next(s, e+1) == ')') { // create_function(7), readfile(...)
			continue
		}
		if n > 0 && s[n-1] == '`' && spoken(s[n:]) { // a name in a text about code
			w = 2
		}
		if c.call == "child_process." {
			switch v := ident(s[n+len(c.call):]); {
			case n > 0 && s[n-1] == '`', !bytes.HasPrefix(v, []byte("exec")) && !bytes.HasPrefix(v, []byte("spawn")) && !bytes.HasPrefix(v, []byte("fork")):
				w = 2
			}
		}
		if prose && w < 6 {
			w = min(w, 4)
		}
		if prose && spaces > 16 {
			w = min(w, 3)
		}
		j.add(clCode, "code.call", w)
	}
	if n := bytes.Index(s, []byte("<?")); n >= 0 && (has(s[n:], "<?php") || has(s[n:], "<?=") || has(s[n:], "<? ")) {
		j.add(clCode, "code.php", 5)
	}
	// print(`…`), "${@print(": what runs inside another language's string.
	if n := bytes.Index(s, []byte("print(")); n >= 0 {
		arg := s[n+6:]
		before := bytes.TrimRight(s[:n], " ")
		edge := len(before) == 0 || kinds[before[len(before)-1]]&(bSemi|bCurly|bQuote|bDouble|bClose|bOpen|bDot|bMild) != 0
		switch {
		case len(arg) > 0 && arg[0] == '`':
			j.add(clCode, "code.print", 5)
		case edge && (bytes.HasPrefix(arg, []byte("md5(")) || bytes.HasPrefix(arg, []byte("chr("))) || has(before, "${"):
			j.add(clCode, "code.print", 5)
		}
	}
	if has(s, "<%@") {
		j.add(clCode, "code.jsp", 5)
	}
	j.dynamic(s)
	if has(s, "${@") || has(s, "{${") && bytes.IndexByte(s, '(') > 0 {
		j.add(clCode, "code.interpolation", 5)
	}
}

// dynamic judges calls of PHP's through names made at run time: "('system')('id')",
// "$_[1](2)", "define('x','sys'.'tem')", "';exit(md5(1));//". Formulas and prices
// have neither marks of variables nor names of functions there: "$f(x)$", "(a)(b)".
func (j *judge) dynamic(s []byte) {
	for i := 0; i < len(s); i++ {
		n := bytes.IndexAny(s[i:], "([\"'")
		if n < 0 {
			break
		}
		i += n
		if j.steps++; j.steps > j.limit {
			return
		}
		name := bytes.TrimLeft(s[i+1:min(len(s), i+128)], " '\"([")
		if w := ident(name[:min(len(name), 24)]); phpRuns.has(w) {
			t := bytes.TrimLeft(name[len(w):], " '\"")
			quoted := kinds[next(name, len(w))]&(bQuote|bDouble) != 0
			if len(t) > 1 && (t[0] == ')' || t[0] == ']' || quoted && t[0] == '(') && callBehind(t) {
				j.add(clCode, "code.dynamic", 5)
			}
		}
	}
	for i := 0; i < len(s); i++ {
		n := bytes.IndexByte(s[i:], '$')
		if n < 0 {
			break
		}
		i += n
		if j.steps++; j.steps > j.limit {
			return
		}
		e := i + 1
		for e < len(s) && (s[e] == '$' || isWord(s[e]) || s[e] == '{' || s[e] == '}') {
			e++
		}
		if next(s, i+1) == '{' {
			if c := bytes.IndexByte(s[i:min(len(s), i+64)], '}'); c > 0 {
				e = i + c + 1
			}
		}
		if t := s[e:min(len(s), e+96)]; e > i+1 && !isDigit(s[i+1]) && len(t) > 3 && (t[0] == '(' && has(t, ").$") || (t[0] == '[' || t[0] == '{') && callBehind(t) && j.kinds&bSpace == 0) {
			j.add(clCode, "code.dynamic", 5) // "$f(101).$f(120)", "$o{0}(15)"
		}
		if w := s[i+1 : e]; len(w) > 0 && (w[0] == '_' || w[0] == '{' || w[0] == '$' || i > 1 && s[i-1] == ':' && s[i-2] == ':') && callBehind(s[e:]) && (len(s) < 128 || j.kinds&bSpace == 0) {
			j.add(clCode, "code.dynamic", 5)
		}
		i = e - 1
	}
	for _, call := range [...]string{";exit(", ".exit(", ";die(", ".die("} {
		if n := bytes.Index(s, []byte(call)); n >= 0 && (n == 0 || kinds[s[n-1]]&(bQuote|bDouble) != 0 || n < 4) && (has(s[n:], "(md5(") || has(s[n:], "//") || has(s[n:], "#")) {
			j.add(clCode, "code.exit", 5)
		}
	}
	if bytes.HasPrefix(s, []byte("define(")) && (has(s, ");(") || has(s, ")(")) || has(s, "[php]") || has(s, "[/php]") || has(s, "{/php}") {
		j.add(clCode, "code.dynamic", 5)
	}
	// A loop without end, and nothing else.
	if bytes.HasPrefix(s, []byte("while(")) && len(s) < 40 {
		if t := bytes.TrimRight(s, "; \n"); t[len(t)-1] == ')' && scan(t)&(bLess|bMore|bEqual|bDot) == 0 && bytes.IndexByte(t, ',') < 0 {
			j.add(clCode, "code.loop", 5)
		}
	}
}

var phpRuns = words("system", "exec", "passthru", "shell_exec", "popen", "proc_open", "assert", "phpinfo", "pcntl_exec", "create_function", "call_user_func", "readfile", "eval")

// callBehind reports whether closing marks and indexes, and then a call with an
// argument follow.
func callBehind(t []byte) bool {
	t = t[:min(len(t), 96)]
	k := 0
	for k < len(t) {
		switch c := t[k]; {
		case c == ')' || c == ']' || c == '}':
			k++
		case isSpace(c):
			k++
		case c == '[' || c == '{':
			e := bytes.IndexAny(t[k:], "]}")
			if e < 0 {
				return false
			}
			k += e + 1
		case c == '/' && k+1 < len(t) && (t[k+1] == '*' || t[k+1] == '/'), c == '#':
			end := "\n"
			if c == '/' && t[k+1] == '*' {
				end = "*/"
			}
			e := bytes.Index(t[k:], []byte(end))
			if e < 0 {
				return false
			}
			k += e + len(end)
		case c == '(':
			return k+1 < len(t) && t[k+1] != ')' && bytes.IndexByte(t[k:], ')') > 0
		default:
			return false
		}
	}
	return false
}

// spoken reports whether a name in backticks ends without an argument in quotes.
func spoken(s []byte) bool {
	e := bytes.IndexByte(s[:min(len(s), 64)], '`')
	return e > 0 && bytes.IndexAny(s[:e], "'\"$;|") < 0
}

// proto judges names that reach an object's prototype.
func (j *judge) proto(s []byte) {
	switch {
	case has(s, "__proto__"):
		n := bytes.Index(s, []byte("__proto__"))
		rest := s[n+9:]
		switch {
		case n > 0 && s[n-1] == '`': // a name in a text about code
			j.add(clProto, "pollution.prototype", 2)
		case len(s) == 9, len(rest) > 0 && (rest[0] == '[' || rest[0] == ']' || rest[0] == '.' || rest[0] == '=' || rest[0] == '"' || rest[0] == '\''):
			j.add(clProto, "pollution.prototype", 5)
		default:
			j.add(clProto, "pollution.prototype", 3)
		}
	case has(s, "constructor[prototype]"), has(s, "constructor.prototype."), has(s, `"constructor"`) && has(s, `"prototype"`), has(s, "[constructor]"):
		j.add(clProto, "pollution.prototype", 5)
	}
}

package inspect

// A family is a set of attack families, one bit each, that a literal can
// belong to. The one pass over a value yields the families worth a second look.
type family uint32

const (
	fSQL    family = 1 << iota // a word that only SQL needs
	fLogic                     // and, or, like …: suspicious only beside quotes or comparisons
	fScript                    // JavaScript, CSS and URL schemes that run code
	fShell                     // commands, interpreters, shell variables
	fDots                      // a parent folder
	fFile                      // a file or folder that no caller should name
	fLookup                    // ${ … } and its relatives
	fXML                       // document types, entities, server-side includes
	fNoSQL
	fCode // PHP, Java, Python, Node, Ruby, expression languages
	fObject
	fURL
	fHeader
	fProto
	fScheme  // an address that runs code
	fHandler // the start of an event handler's name
	fCommand // a word that is a command, but an English word too
)

// literals is what the pass looks for, in lower case. A word here convicts
// nobody: it names the recogniser that will read the whole value. So the list
// holds the vocabulary of the languages, not phrases of attacks.
var literals = map[family][]string{
	fSQL: {"union", "select", "having", "order by", "order/", "group by", "sleep", "benchmark", "waitfor", "delay", "insert", "delete", "drop", "update ", "truncate", "alter",
		"exec", "declare", "procedure", "extractvalue", "updatexml", "concat", "char(", "chr(", "char (", "cast(", "convert(", "0x", "--", "/*", "*/", "@@", "where",
		"information_schema", "sysobjects", "sys.", "mysql.", "dbms_", "utl_", "ctxsys", "xp_", "load_", "outfile", "dumpfile", "randomblob", "generate_series", "regexp", "rlike", "case when",
		"substr", "ascii(", "version(", "user(", "database(", "elt(", "make_set", "iif(", "row(", "merge ", "grant ", "backup ", "shutdown", "copy ", "current_", "limit ", "1=1", "is null", "is not null",
		"load data", "if(", "bulk ", "openrowset", "attach ", "create ", "rename ", "handler ", "div ", "like(", "returning", "pragma ", "any(", "all(", "exists", "count(", "(@", "len(", "length(", "hex(", "mid(", "left(", "right(", "begin "},
	fLogic:   {"and", "or", "xor", "not", "like", "between", "&&", "||", "' in", "\" in", "is ", "glob", "mod", "intersect", "except", "minus"},
	fScheme:  {"script:", "data:", "\tscript", "mocha:"},
	fHandler: {"on"},
	fScript: {"![]", "[+", ".call`", ".map`", "javascript", "vbscript", "livescript", "expression", "alert", "confirm", "prompt", "eval", "document.", "window.", "settimeout", "setinterval", "function", "fromcharcode",
		"cookie", "location", "onerror", "onload", "onfocus", "onmouse", "onclick", "script", "behavior", "binding", "@import", "url(", "constructor", "=>", "innerhtml", "import(", "fetch(",
		"xmlhttprequest", "this[", "self[", "top[", "parent[", "window[", "location=", "name=", "srcdoc", "&{", "atob", "console.", "print(", "throw", "import'", "import\"", "console[", "while("},
	fShell: {"%==", "==%", "$shell", "${shell", "for /", "for %", "if /i", "if exist", "if not exist", "if defined", "errorlevel", " equ ", " neq ", " geq ", " leq ", " gtr ", " lss ", "/?", "$(", "${ifs", "$ifs", "/bin/", "cmd.exe", "cmd ", "powershell", "wget", "curl", "bash", "iex", "iwr", "invoke-", "uname", "whoami", "ifconfig", "ipconfig", "netstat", "nslookup", "chmod", "chown", "netcat", "ncat", "nc ", "telnet",
		"perl", "python", "ruby", "system", "passthru", "popen", "shell_exec", "proc_open", "tasklist", "net user", "reg query", "systeminfo", "certutil", "bitsadmin", "mshta", "rundll32", "regsvr32", "/dev/tcp", "2>&1", "/dev/null",
		"sudo", "useradd", "passwd", "crontab", "base64 ", "xxd", "mkfifo", "socat", "/sbin/", "traceroute", "tracert", "dig ", "busybox", "xterm", "nohup", "killall", "%comspec%", "%systemroot%", "%programfiles", "wmic", "cscript", "wscript"},
	fCommand: {"cat", "id", "ls", "ping", "sleep", "echo", "dir", "type", "rm", "cp", "mv", "ps", "env", "set", "pwd", "who", "find", "head", "tail", "more", "less", "sort", "cut", "sh", "kill", "date", "host",
		"touch", "mkdir", "printf", "test", "expr", "exit", "true", "false", "tee", "sed", "awk", "grep", "tr ", "wc ", "nl ", "od ", "time", "mail", "php", "node", "gcc", "make", "vi", "nmap", "mount", "ssh", "scp", "ftp", "finger", "last", "w;", "whois", "timeout", "start", "copy", "del", "move", "ver", "net ", "regedit", "attrib", "usr/", "file", "stat", "df", "du", "uptime", "hostname", "man", "source", "export", "alias", "bc", "dd"},
	fDots: {"..", ".\x00.", "./.", `.\.`, "0x2e", "0x2f", "0x5c", "///", ".%00.", "/./", "?/", "./", `.\\`, `?\\`},
	fFile: {"/etc", "etc/", `etc\`, "passwd", "shadow", "boot.ini", "win.ini", "system.ini", "windows/", `windows\`, "winnt", "system32", "/proc/", "/var/", "/usr/", "/opt/", "/root/", "/home/", "web-inf", "meta-inf", "web.xml", "web.config", ".htaccess", ".htpasswd",
		".ssh/", "id_rsa", ".git/", ".svn/", ".env", ".aws/", "wp-config", "php://", "file:", "zip://", "phar:", "expect://", "glob://", "data://", "c:/", `c:\`, "d:/", "c:", "global.asa", "inetpub", "php.ini", "my.cnf", "httpd.conf",
		"access.log", "access_log", "error.log", "error_log", ".bash_history", ".kube/", "docker.sock", "hosts", "issue", "appsettings.json", "autoexec.bat", "{file}", ".pem", ".DS_Store", "/sys/", "/dev/", "/private/", "/library/", "/apache", "/xampp", "etcpasswd"},
	fLookup: {"${", "#{", "@{", "*{", "%{", "{{", "}}", "<%", "%>", "{%", "{#", "[[", "~{", "@(", "$(", "jndi", "<#", "#set", "#if(", "#include", "{php", "{if", "{$", "$class"},
	fXML:    {"<!", "<?xml", "xinclude", "xi:include", "<xsl", "system ", "entity", "doctype", "#exec", "#include", "#echo", "#printenv", "&xxe", "<esi:", "[cdata["},
	fNoSQL:  {"$ne", "$gt", "$lt", "$eq", "$in", "$nin", "$or", "$and", "$not", "$nor", "$where", "$regex", "$exists", "$expr", "$func", "$elem", "$all", "$size", "$mod", "$type", "$text", "$comment", "$lookup", "this.", "return true", "return 1", "db.", "mapreduce", "||1", "||'"},
	fCode: {").$", "define(", "[php]", "[/php]", "{/php}", "'](", "\"](", "@$", "${", "system'", "->$", "(system", "[system", "[ system", "\"system", "]['", "exit(", "die(", "${$", "$$", "::$", "$_", "process[", "while(", "<%@", "<?", "phpinfo", "system(", "exec(", "eval(", "assert(", "passthru", "shell_exec", "base64_decode", "preg_replace", "call_user_func", "create_function", "include", "require", "file_get", "readfile", "print(", "echo ", "popen", "fopen", "var_dump", "$_get", "$_post", "$_server", "$_request", "globals",
		"__import__", "os.", "subprocess", "import os", "__class__", "__globals__", "__builtins__", "compile(", "open(", "child_process", "process.", "mainmodule", "global.", "require(", "runtime", "processbuilder", "java.lang", "java.", "javax.", "getclass", "classloader", "scriptengine", "ognl", "#_memberaccess", "#context",
		"t(java", "new java", "kernel.", "io.popen", "%x(", "%x{", "file.read", "dir.entries", "instance_eval", "import java", "forname", "getruntime", "springframework", "class.module", "print `", "die(", "md5(", "chr(", "response.write", "server.mappath", "wscript.shell", "system.diagnostics", "activator", "reflection"},
	fObject: {"o:", "a:", "c:", "ro0ab", "aced0005", "aaeaaad", "gasv", "csystem", "cos\n", "c__builtin__", "cposix", "nd_func", "!!python", "!!java", "!ruby", "!!ruby", "!php/", "@type", "$type", "commons.collections", "ysoserial", "java.util.", "objectdataprovider", "com.sun.", "__reduce__", "xmldecoder", "java.beans", "<java", "typeconfuse", "rmi:", "org.apache", "c3p0"},
	fURL:    {"http:", "https:", "//", "ftp:", "gopher", "dict:", "ldap", "file:", "tftp:", "sftp:", "jar:", "netdoc:", "169.254", "127.", "localhost", "metadata", "::1", "::ffff", "0x7f", "2130706433", "017700", "unix:", "nip.io", "xip.io", "sslip", "instance-data"},
	fHeader: {"\r", "\n", "%0d", "%0a", "set-cookie", "content-type", "content-length", "location:", "http/1", "http/2", "bcc:", "cc:", "to:", "subject:", "mime-version", "transfer-encoding", "x-forwarded", "refresh:", " http/", "\u560a", "\u560d", "嘊"},
	fProto:  {"__proto__", "prototype", "constructor"},
}

// automaton is a flat Aho–Corasick automaton over classes of bytes that folds
// ASCII case. States that end a literal come last, so that one comparison tells
// them apart.
type automaton struct {
	class [256]uint8
	shift uint8
	next  []uint16
	first uint16 // the lowest accepting state, shifted
	fam   []family
	long  int // the longest literal
}

// compile builds the automaton over all literals of all families.
func compile(sets map[family][]string) *automaton {
	var all []string
	var of []family
	for f := family(1); f != 0; f <<= 1 {
		for _, w := range sets[f] {
			all, of = append(all, w), append(of, f)
		}
	}
	a, ends := build(all)
	a.fam = make([]family, len(ends))
	for s, ids := range ends {
		for _, id := range ids {
			a.fam[s] |= of[id]
		}
	}
	return a
}

// build makes the automaton, and for each state the words that end in it.
func build(all []string) (*automaton, [][]uint16) {
	a := &automaton{}
	n := 1
	for _, w := range all {
		a.long = max(a.long, len(w))
		for i := range len(w) {
			if c := lower(w[i]); a.class[c] == 0 {
				a.class[c] = uint8(n)
				n++
			}
		}
	}
	for c := 'A'; c <= 'Z'; c++ {
		a.class[c] = a.class[c+32]
	}
	for 1<<a.shift < n {
		a.shift++
	}
	trie, ends, fail := [][]int{make([]int, n)}, [][]uint16{nil}, []int{0}
	for id, w := range all {
		s := 0
		for i := range len(w) {
			c := a.class[lower(w[i])]
			if trie[s][c] == 0 {
				trie, ends, fail = append(trie, make([]int, n)), append(ends, nil), append(fail, 0)
				trie[s][c] = len(trie) - 1
			}
			s = trie[s][c]
		}
		ends[s] = append(ends[s], uint16(id))
	}
	var queue []int
	for _, t := range trie[0] {
		if t != 0 {
			queue = append(queue, t)
		}
	}
	for ; len(queue) > 0; queue = queue[1:] {
		s := queue[0]
		ends[s] = append(ends[s], ends[fail[s]]...)
		for c, t := range trie[s] {
			if t == 0 {
				trie[s][c] = trie[fail[s]][c]
			} else {
				fail[t] = trie[fail[s]][c]
				queue = append(queue, t)
			}
		}
	}
	// Number the states anew: plain ones first, accepting ones last.
	number, count := make([]int, len(trie)), 0
	for _, accepting := range []bool{false, true} {
		if accepting {
			a.first = uint16(count)
		}
		for s := range trie {
			if (ends[s] != nil) == accepting {
				number[s] = count
				count++
			}
		}
	}
	a.next = make([]uint16, count<<a.shift)
	sorted := make([][]uint16, count)
	for s := range trie {
		sorted[number[s]] = ends[s]
		for c, t := range trie[s] {
			a.next[number[s]<<a.shift|c] = uint16(number[t])
		}
	}
	return a, sorted
}

// A finder says where in a text each of its words stands first, in one pass.
type finder struct {
	auto  *automaton
	ends  [][]uint16
	words []string
}

// places holds one more than the first index of each word; 0 is nowhere.
type places [128]int32

func newFinder(words []string) *finder {
	if len(words) > len(places{}) {
		panic("inspect: a finder for too many words")
	}
	a, ends := build(words)
	return &finder{a, ends, words}
}

func (f *finder) find(v []byte, at *places) {
	*at = places{}
	s, a := uint(0), f.auto
	for i, c := range v {
		if s = uint(a.next[s<<a.shift|uint(a.class[c])]); s >= uint(a.first) {
			for _, id := range f.ends[s] {
				if at[id] == 0 {
					at[id] = int32(i - len(f.words[id]) + 2)
				}
			}
		}
	}
}

// families returns the families of all literals in v. Long values are read by
// two cursors at once, which overlap by the longest literal: the look-ups of
// the one fill the waits of the other.
func (a *automaton) families(v []byte) (f family) {
	var s, t uint
	next, sh, first := a.next, a.shift&15, uint(a.first)
	if len(v) >= 96 {
		half := len(v) / 2
		l, r := v[:half], v[half-a.long:]
		r2 := r[:len(l)]
		for i, c := range l {
			s = uint(next[s<<sh|uint(a.class[c])])
			t = uint(next[t<<sh|uint(a.class[r2[i]])])
			if s >= first {
				f |= a.fam[s]
			}
			if t >= first {
				f |= a.fam[t]
			}
		}
		v, s = r[len(l):], t
	}
	for _, c := range v {
		if s = uint(next[s<<sh|uint(a.class[c])]); s >= first {
			f |= a.fam[s]
		}
	}
	return f
}

package inspect

import "bytes"

// The shell recogniser finds commands where a shell would: after a separator,
// inside a substitution, or as the whole value; and asks whether what follows
// looks like arguments. Text is in lower case.

var (
	// Programs whose names are no words of a sentence.
	shellPrograms = words("wget", "curl", "bash", "dash", "zsh", "ksh", "csh", "tcsh", "whoami", "uname", "ifconfig", "ipconfig", "netstat", "nslookup", "chmod", "chown", "netcat", "ncat", "nc", "telnet", "perl", "python", "python2", "python3", "ruby", "tasklist", "systeminfo", "certutil", "bitsadmin", "mshta", "rundll32", "regsvr32", "powershell", "pwsh", "cmd", "cmd.exe", "powershell.exe", "sudo", "useradd", "usermod", "passwd", "crontab", "base64", "xxd", "mkfifo", "socat", "traceroute", "tracert", "busybox", "xterm", "nohup", "killall", "wmic", "cscript", "wscript", "iptables", "lsof", "dmesg", "arp", "pwd", "ls", "rm", "grep", "egrep", "sed", "awk", "gawk", "nmap", "tftp", "lynx", "fetch", "phpinfo", "gcc", "tcpdump", "hping3", "regedit", "reg", "taskkill", "schtasks", "net1", "icacls", "cacls", "attrib", "sysctl", "systemctl", "lwp-request", "lwp-download", "mysqldump", "ver", "nbtstat", "pathping", "getmac", "hostid", "printenv", "sh", "ps", "mv", "cp", "dig", "env", "id", "expr", "iex", "iwr", "invoke-webrequest", "invoke-expression", "start-process", "gci", "visudo", "c89", "c99", "mysql", "psql", "sqlite3", "php", "node", "xargs", "tee", "vmstat", "iostat", "logname", "groups", "lsb_release", "getent", "ssh", "scp", "rsync", "uptime", "df", "du", "mount", "tr", "wc", "od", "hexdump", "strings", "ftp", "gdb", "strace", "touch", "mkdir", "rmdir", "dir", "ping", "ping6", "cat", "tac", "nl", "sleep", "echo", "printf", "who", "w", "last", "head", "tail", "more", "less", "type", "find", "sort", "cut", "date", "host", "hostname", "kill", "set", "exit", "eval", "exec", "source", "test", "time", "timeout", "stat", "file", "man", "make", "copy", "del", "move", "net", "start", "true", "false", "alias", "export", "mail", "sendmail", "finger", "top", "which", "whereis", "locate", "uniq", "comm", "paste", "split", "tar", "zip", "unzip", "gzip", "vi", "vim", "ed", "nano", "system", "if", "for", "while", "cd", "yes", "diff", "watch", "read", "dd")
	// Of those, the ones that are also common words or names of fields.
	shellWords = words("sh", "id", "env", "cat", "nl", "sleep", "echo", "who", "w", "last", "head", "tail", "more", "less", "type", "find", "sort", "cut", "date", "host", "hostname", "kill", "set", "exit", "exec", "eval", "source", "test", "time", "timeout", "stat", "file", "man", "make", "copy", "del", "move", "net", "start", "true", "false", "alias", "export", "mail", "finger", "top", "which", "locate", "paste", "split", "tar", "zip", "ed", "top", "arp", "reg", "fetch", "node", "php", "ruby", "python", "perl", "bash", "groups", "strings", "if", "for", "while", "cd", "yes", "diff", "watch", "read", "dir", "ping", "ver", "ls", "ps", "tee", "tr", "wc", "system", "mount", "cmd", "passwd", "top", "od", "dd", "dash", "expr", "vi", "comm", "dig", "ftp", "ssh", "df", "du", "rm", "mv", "cp", "touch", "mysql", "nc", "curl", "uptime", "attrib", "pwd", "printf", "grep", "sed", "awk", "base64", "psql", "sudo", "uniq")
	// Programs that an intruder starts first; a value that is nothing but one of
	// them with arguments is worth a second opinion.
	shellRisky = words("cat", "ls", "id", "wget", "curl", "nc", "ncat", "netcat", "ping", "nslookup", "whoami", "uname", "ifconfig", "ipconfig", "netstat", "powershell", "pwsh", "cmd", "bash", "sh", "dir", "type", "telnet", "tasklist", "net", "reg", "certutil", "bitsadmin", "mshta", "rundll32", "sleep", "dig", "tracert", "systeminfo", "iex", "iwr", "invoke-webrequest", "invoke-expression", "alias")
	// Functions of make among the programs.
	makeWords = words("make", "file", "eval", "sort", "if", "exec", "source", "test", "strip", "shell", "ver")
	// Programs that tell something without arguments: probes.
	shellTelling = words("id", "ls", "ps", "pwd", "env", "who", "w", "dir", "date", "set", "ver", "hostname", "last", "uptime", "df", "du", "mount", "whoami", "uname", "ifconfig", "ipconfig", "netstat", "systeminfo", "tasklist", "printenv", "hostid", "lsof", "dmesg", "arp", "getmac", "vmstat", "iostat", "logname", "groups", "net", "sh", "bash", "cmd", "echo", "cat", "ping", "curl", "wget", "export", "alias", "reg", "nslookup")
)

func (j *judge) shell(s []byte) {
	if n := dollar(j.kinds, s, "ifs"); n > 0 && (s[n-1] == '$' && (next(s, n+3) != ' ' || n > 1 && !isSpace(s[n-2])) || s[n-1] == '{' && n > 1 && s[n-2] == '$') {
		j.add(clCmd, "cmdi.ifs", 5)
	}
	if bytes.Contains(s, []byte("/dev/tcp/")) || j.kinds&(bPipe|bSemi) != 0 && bytes.Contains(s, []byte("2>&1")) {
		j.add(clCmd, "cmdi.redirect", 5)
	}
	if dollar(j.kinds, s, "$shell -c") >= 0 || dollar(j.kinds, s, "${shell} -c") >= 0 {
		j.add(clCmd, "cmdi.variable", 5)
	}
	for _, v := range [...]string{"%comspec%", "%systemroot%", "%programfiles"} {
		if j.kinds&bPct != 0 && bytes.Contains(s, []byte(v)) {
			j.add(clCmd, "cmdi.variable", 4)
		}
	}
	// Cells of a table stand between bars with spaces around them.
	table := bytes.HasPrefix(bytes.TrimLeft(s, " \t"), []byte("| ")) && bytes.Count(s[:min(len(s), 1024)], []byte(" |")) > 1
	j.command(s, 0, 0)
	j.batch(s, 0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if kinds[c]&(bSemi|bPipe|bAmp|bLine|bDollar|bTick|bLess|bMore|bQuote|bDouble) == 0 {
			continue
		}
		if j.sign[clCmd].score >= 5 {
			return
		}
		if j.steps++; j.steps > j.limit {
			return
		}
		switch c {
		case ';', '|', '&', '\n', '\r':
			if c == '|' && alternatives(s, i) {
				continue
			}
			if c == '|' && table && i+1 < len(s) && isSpace(s[i+1]) && !j.sensitive(s[i+1:min(len(s), i+64)]) {
				continue
			}
			k := i + 1
			for k < len(s) && (s[k] == c || s[k] == '&' || s[k] == '|' || s[k] == ';') && k < i+4 {
				k++
			}
			j.command(s, k, c)
			j.batch(s, k)
			i = k - 1
		case '$':
			if i+1 < len(s) && s[i+1] == '(' {
				if i+2 < len(s) && s[i+2] == '(' {
					if j.arithmetic(s[i+3:]) {
						j.add(clCmd, "cmdi.arithmetic", 5)
					}
				} else {
					j.command(s, i+2, '(')
				}
			}
		case '`':
			e := bytes.IndexByte(s[i+1:], '`')
			if e <= 0 {
				break
			}
			in := s[i+1 : i+1+e]
			w := ident(in)
			alone := i < 4 && len(bytes.Trim(s[:i], " \"'")) == 0 && len(bytes.Trim(s[i+e+2:], " \"'")) == 0
			spaced := i > 0 && isSpace(s[i-1]) || i == 0 && !alone
			base := w
			if b := bytes.LastIndexByte(in[:min(len(in), 64)], '/'); b >= 0 {
				base = ident(in[b+1:])
			}
			if shellPrograms.has(w) || shellPrograms.has(base) && len(in) > 0 && in[0] == '/' {
				switch {
				case alone, !spaced && i > 0 && kinds[s[i-1]]&(bSemi|bPipe|bAmp|bEqual|bAlpha|bDigit|bDot|bCurly) != 0 && !(s[i-1] == '=' && shellWords.has(w)),
					!spaced && i > 1 && s[i-1] == '(' && isWord(s[i-2]), i == 1 && !shellWords.has(w):
					j.add(clCmd, "cmdi.substitution", 5)
				default:
					j.add(clCmd, "cmdi.substitution", 2)
				}
			}
			i += e + 1
		case '<', '>':
			if i+1 < len(s) && s[i+1] == '(' {
				j.command(s, i+2, '(')
			}
		case '"', '\'':
			// A quote that closes an argument may be followed by a command at once.
			if i == 0 && len(s) > 3 {
				j.command(s, 1, '"')
			}
		}
	}
}

// arithmetic reports whether s begins with digits and operators up to "))".
func (j *judge) arithmetic(s []byte) bool {
	e := bytes.Index(s[:min(len(s), 64)], []byte("))"))
	if e < 1 {
		return false
	}
	op := false
	for _, c := range s[:e] {
		if kinds[c]&(bDigit|bSpace) == 0 {
			if kinds[c]&(bPlus|bStar|bDash|bSlash|bPct) == 0 {
				return false
			}
			op = true
		}
	}
	return op
}

// A shellWord is what stands where a shell would look for a command.
type shellWord struct {
	name   []byte // without what the shell drops
	from   int    // where it begins
	end    int    // where it ends
	quoted bool   // begins with a quote
	path   bool   // is reached through a path
	broken int    // quotes, backslashes, carets, empty expansions inside the name
	wild   int    // wildcards
	none   bool   // there is nothing that names a command
}

// commandWord reads the command at s[k:] as a shell does, which drops quotes,
// backslashes and empty expansions inside a name. buf holds the name.
func commandWord(s []byte, k int, sep byte, buf []byte) (w shellWord) {
	for k < len(s) && (isSpace(s[k]) || s[k] == '(' || s[k] == '{' || s[k] == '!' || s[k] == '+' || s[k] == '@') {
		k++
	}
	if k < len(s) && s[k] == '$' && sep != 0 && k+1 < len(s) && isAlpha(s[k+1]) { // $u, which holds nothing
		e := k + 1 + len(ident(s[k+1:]))
		if e < len(s) && (isSpace(s[e]) || s[e] == '+') {
			for k = e; k < len(s) && (isSpace(s[k]) || s[k] == '+'); k++ {
			}
		}
	}
	if w.quoted = k < len(s) && (s[k] == '\'' || s[k] == '"' || s[k] == '\\'); w.quoted {
		k++
	}
	w.from = k
	n, unpaired := 0, uint32(0)
	for ; k < len(s) && n < len(buf); k++ {
		c := s[k]
		switch {
		case isAlnum(c) || c == '_' || c == '-' && n > 0 || c == '.' && n > 0:
			buf[n] = c
			n++
			continue
		case c == '/' || c == '\\' && k+1 < len(s) && w.path:
			w.path = true
			n = 0
			continue
		case (c == '\'' || c == '"' || c == '\\' || c == '^') && n > 0 && k+1 < len(s) && (isAlnum(s[k+1]) || s[k+1] == c):
			w.broken++
			if c == '\'' || c == '"' {
				unpaired ^= kinds[c]
			}
			continue
		case c == '$' && n > 0 && k+1 < len(s) && (s[k+1] == '@' || s[k+1] == '*' || isDigit(s[k+1])):
			w.broken++
			k++
			continue
		case (c == '?' || c == '*' || c == '[' || c == ']') && w.path:
			w.wild++
			buf[n] = c
			n++
			continue
		}
		break
	}
	w.end = k
	for w.name = buf[:n]; len(w.name) > 0 && w.name[len(w.name)-1] == '.'; {
		w.name = w.name[:len(w.name)-1]
	}
	if unpaired != 0 && (w.quoted || k >= len(s) || kinds[s[k]] != unpaired) {
		w.broken = 0 // "I'd": a shell goes on to the quote's other half
		n = 0
	}
	w.name, w.none = bytes.TrimSuffix(w.name, []byte(".exe")), n == 0
	return w
}

// command judges what stands at s[k:] as a command; sep is the byte that
// brought it there, 0 for the start of the value.
func (j *judge) command(s []byte, k int, sep byte) {
	var buf [24]byte
	w := commandWord(s, k, sep, buf[:])
	spelled := s[w.from:w.end]
	switch known := shellPrograms.has(w.name) && !w.none; {
	case !known && !w.none && sep != 0 && w.path && (w.wild > 0 && bytes.Contains(spelled, []byte("/bin/")) || bytes.Count(spelled, []byte("?")) > 2):
		j.add(clCmd, "cmdi.glob", 5) // "/???/c?t": no name is written like this
		return
	case !known && sep == 0 && w.path && s[0] == '/' && bytes.Contains(spelled, []byte("bin/")) && j.argument(bytes.TrimLeft(s[w.end:], " "), w.name) && j.sensitive(s[w.end:]) && next(s, w.end) == ' ':
		j.add(clCmd, "cmdi.path", 5) // "/bin/unxz -c /var/log/x.xz"
		return
	case !known:
		return
	case w.broken > 0 && sep != 0:
		j.add(clCmd, "cmdi.command", 5) // "c'a't": only to be read by no filter
		return
	}
	rest := s[w.end:]
	args := bytes.TrimLeft(rest, " \t+")
	args = args[:min(len(args), 256)]
	if e := bytes.IndexAny(args, "\r\n"); e > 0 {
		args = args[:e]
	}
	spaced := len(args) < len(rest)
	end := len(args) == 0 || kinds[args[0]]&(bSemi|bPipe|bAmp|bLine|bTick|bHash) != 0 || args[0] == ')' && sep == '('
	if len(args) > 0 && !spaced {
		switch args[0] {
		case ';':
			if sep == '&' { // a character reference
				return
			}
		case ',':
			if w.from > 0 && s[w.from-1] == '{' && (next(args, 1) == '/' || next(args, 1) == '-') {
				j.add(clCmd, "cmdi.braces", 5) // "{cat,/etc/passwd}", which a shell reads with spaces; "{a,b}" names choices
			}
			return
		case '=', ':', '(', '?', '!': // a field, a label, a function, a word of a sentence
			if name := string(w.name); args[0] == '(' && sep != 0 && sep != '"' && (name == "system" || name == "exec" || name == "eval") {
				j.add(clCode, "code.call", 4)
			}
			return
		}
	}
	argued := j.argument(args, w.name)
	if w.quoted && len(args) > 0 && (args[0] == '\'' || args[0] == '"') {
		argued = j.argument(bytes.TrimLeft(args[1:], " "), w.name)
	}
	switch {
	case w.path && (bytes.Contains(spelled, []byte("bin/")) || bytes.Contains(spelled, []byte(`system32\`))):
		// "/bin/cat x"; "the shell is /bin/sh" begins with words.
		if sep != 0 && !(line(sep) && sentence(s[:w.from])) || argued || end && bytes.HasPrefix(s[w.from:], []byte("/")) {
			j.add(clCmd, "cmdi.path", 5)
		} else if end {
			j.add(clCmd, "cmdi.path", 2)
		} else {
			j.add(clCmd, "cmdi.path", 3)
		}
	case sep == 0 && (string(w.name) == "if" || string(w.name) == "for" || string(w.name) == "while"): // a script, or a lesson
	case sep == 0:
		j.whole(&w, args, argued, end)
	case (sep == '\n' || sep == '\r') && sentence(s[:w.from]) && !(argued && j.sensitive(bytes.TrimRight(args[:min(len(args), 32)], "|;`> "))):
		j.add(clCmd, "cmdi.command", 2) // a line of a text that begins with a program's name
	case args0(args) == '(' && spaced && !argued: // "python3 (>= 3.8)"
		j.add(clCmd, "cmdi.command", 2)
	case sep == '"':
		if argued && j.kinds&(bSemi|bPipe|bAmp|bTick|bDollar) != 0 {
			j.add(clCmd, "cmdi.command", 5)
		}
	case sep == '(' && (spaced || end):
		if !argued && makeWords.has(w.name) { // "$(MAKE)", "$(file <x)", which only make reads
			j.add(clCmd, "cmdi.substitution", 2)
		} else {
			j.add(clCmd, "cmdi.substitution", 5)
		}
	default:
		j.chained(s, &w, sep, args, argued, spaced, end)
	}
}

// dollar is bytes.Index for what needs a dollar sign.
func dollar(kinds uint32, s []byte, w string) int {
	if kinds&bDollar == 0 {
		return -1
	}
	return bytes.Index(s, []byte(w))
}

func line(sep byte) bool { return sep == '\n' || sep == '\r' }

func args0(args []byte) byte { return next(args, 0) }

// sentence reports whether s reads as text: a few words with spaces.
func sentence(s []byte) bool {
	s = s[max(0, len(s)-256):]
	if bytes.Count(s, []byte(" ")) > 3 {
		return true
	}
	return bytes.IndexByte(s, '\n') >= 0 && (bytes.Count(s, []byte(" ")) > 1 || scan(s)&bHigh != 0)
}

// alternatives reports whether the bar at s[i] parts choices in brackets,
// "(if|try|elif)": a name stands on each side, and nothing else up to the bracket.
func alternatives(s []byte, i int) bool {
	k := i
	for k > 0 && i-k < 128 && (isWord(s[k-1]) || s[k-1] == '|' || s[k-1] == '-' || s[k-1] == '.' || s[k-1] == '?') {
		k--
	}
	if k == i || k == 0 || kinds[s[k-1]]&(bOpen|bCurly|bSquare) == 0 || k > 1 && (s[k-2] == '$' || s[k-2] == '<' || s[k-2] == '>') {
		return false
	}
	for i++; i < len(s) && (isWord(s[i]) || s[i] == '-' || s[i] == '.'); i++ {
	}
	return i < len(s) && kinds[s[i]]&(bPipe|bClose|bCurly|bSquare) != 0
}

// whole weighs a value that begins with a command: "id;", "cat /etc/passwd".
// Without arguments, or with words for them, it is a word: "ping me".
func (j *judge) whole(w *shellWord, args []byte, argued, end bool) {
	switch {
	case len(args) > 3 && bytes.HasSuffix(w.name, []byte("sh")) && string(args[:3]) == "-c ":
		j.add(clCmd, "cmdi.command", 5)
	case !argued:
		if end && len(w.name) > 1 && len(args) > 0 && len(args) < 3 && args[0] != '#' && args[0] != '`' && j.kinds&bSpace == 0 && !(args[0] == '&' && len(args) > 1) {
			j.add(clCmd, "cmdi.command", 5) // "id;", "id|"
		}
	case shellWords.has(w.name) && !w.path && args[0] != '-' && sentence(args) && bytes.IndexAny(args, "|;`$<>") < 0:
		j.add(clCmd, "cmdi.command", 2) // "Make /var/lib/x writable by the owner"
	case j.sensitive(args):
		j.add(clCmd, "cmdi.command", 5)
	case shellRisky.has(w.name):
		j.add(clCmd, "cmdi.command", 3)
	default: // a line out of a manual
		j.add(clCmd, "cmdi.command", 2)
	}
}

// chained weighs a command behind a separator: "; cat /etc/passwd", "|id".
// Programs named as words are need what words lack, an argument or the glue of
// the separator: "cats; find them", "time & date".
func (j *judge) chained(s []byte, w *shellWord, sep byte, args []byte, argued, spaced, end bool) {
	word := shellWords.has(w.name) && !w.path
	line := line(sep)
	switch {
	case argued:
		n := 5
		if sep == '\n' && !j.sensitive(args) && word {
			n = 3
		}
		j.add(clCmd, "cmdi.command", n)
	case end && !word:
		switch {
		case line && !shellTelling.has(w.name):
			j.add(clCmd, "cmdi.command", 2)
		case line:
			j.add(clCmd, "cmdi.command", 3)
		case isSpace(s[w.from-1]) && !shellTelling.has(w.name) && (len(args) == 0 || args[0] == '|' && next(args, 1) == ' ') && sentence(s[:w.from]):
			j.add(clCmd, "cmdi.command", 2) // "a prompt for bash & zsh"
		default:
			j.add(clCmd, "cmdi.command", 5)
		}
	case end && !shellTelling.has(w.name) && (j.kinds&bSpace != 0 || sep == '|' && len(args) == 0 && isAlnum(s[0])):
		j.add(clCmd, "cmdi.command", 2) // "|FILE|write to FILE"
	case end:
		glued := w.from > 0 && !isSpace(s[w.from-1])
		switch {
		case line && w.from < 4 && len(w.name) > 1 && len(bytes.TrimSpace(args)) == 0:
			j.add(clCmd, "cmdi.command", 5) // a line break, then nothing but the command
		case line, len(w.name) == 1:
			j.add(clCmd, "cmdi.command", 2)
		case glued && len(args) < 3 && j.kinds&bSpace == 0 && !(sep == '&' && j.kinds&bEqual != 0):
			j.add(clCmd, "cmdi.command", 5) // "a;id", "|id|"
		case glued, w.from < 4 && len(bytes.TrimSpace(args)) <= 1:
			j.add(clCmd, "cmdi.command", 4)
		default:
			j.add(clCmd, "cmdi.command", 2)
		}
	case !word && spaced && sep != '\n':
		if n := 3; isAlpha(args[0]) && sentence(args) && bytes.IndexAny(args, "|;`$<>&") < 0 { // "… | ksh are shells with that option"
			j.add(clCmd, "cmdi.command", n-1)
		} else {
			j.add(clCmd, "cmdi.command", n)
		}
	}
}

// argument reports whether args looks like what a program is given, as against
// how a sentence goes on.
func (j *judge) argument(args, name []byte) bool {
	if len(args) == 0 {
		return false
	}
	second := next(args, 1)
	switch c := args[0]; {
	case string(name) == "if" || string(name) == "for" || string(name) == "while": // words of the language, not programs
		return c == '[' || c == '(' && second == '(' || bytes.Contains(args, []byte("; do")) || bytes.Contains(args, []byte("; then")) || bytes.Contains(args, []byte(";do "))
	case c == '-':
		return isAlnum(second) || second == '-'
	case c == '/':
		return second == ';' && string(name) == "cd" || isAlnum(second) || second == '*' || second == '?' || second == ' '
	case c == '~':
		return second == '/'
	case c == '$':
		return second == '(' || second == '{' || isAlpha(second)
	case c == '<' || c == '>':
		return second == '<' && next(args, 2) == '<' || second == '/' || second == '&' || isSpace(second) && len(args) > 2 && args[2] == '/'
	case c == '(':
		return string(name) == "iex" || string(name) == "invoke-expression"
	case c == '`':
		return !shellWords.has(name)
	case c == '\\':
		return second == '\\'
	case c == '.':
		return second == '/' || second == '.' && next(args, 2) == '/'
	case c == '*':
		return second == ' ' || second == '.' || len(args) == 1
	case c == '%':
		return isAlpha(second) && bytes.IndexByte(args[1:], '%') > 1
	case isDigit(c):
		w := 0
		for w < len(args) && (isDigit(args[w]) || args[w] == '.' || args[w] == ':') {
			w++
		}
		switch string(name) {
		case "sleep", "timeout", "kill":
			return w == len(args) || !isSpace(args[w]) || kinds[next(bytes.TrimLeft(args[w:], " "), 0)]&(bSemi|bPipe|bAmp|bHash|bQuote|bDouble|bBack|bSlash|bTick) != 0
		case "ping", "ping6", "nc", "telnet", "nslookup", "traceroute", "tracert", "host", "dig", "curl", "wget":
			return bytes.IndexByte(args[:w], '.') > 0
		}
		return false
	case isAlpha(c):
		w := ident(args)
		after := next(args, len(w))
		switch string(name) {
		case "wget", "curl", "lynx", "fetch", "iwr", "invoke-webrequest":
			return bytes.HasPrefix(args, []byte("http")) || bytes.HasPrefix(args, []byte("ftp")) || bytes.IndexByte(w, '.') > 0
		case "cmd", "dir", "type", "copy", "del", "move", "cd", "start":
			return len(w) == 1 && after == ':'
		case "nslookup", "ping", "dig", "host", "telnet", "nc", "ncat", "traceroute", "tracert":
			return bytes.IndexByte(w, '.') > 0
		case "cat", "more", "less", "head", "tail", "rm", "chmod", "php", "perl", "python", "python3", "bash", "sh", "source":
			return after == '/' || bytes.IndexByte(w, '.') > 0 && len(w) > 3 && w[len(w)-1] != '.'
		case "alias":
			return after == '='
		case "net":
			return string(w) == "user" || string(w) == "localgroup" || string(w) == "share" || string(w) == "view"
		case "echo", "printf":
			return bytes.Contains(args, []byte("$(")) || bytes.Contains(args, []byte(">")) || bytes.Contains(args, []byte("|"))
		case "which":
			return shellPrograms.has(w) && !shellWords.has(w)
		case "xargs", "sudo", "nohup", "env", "exec", "busybox", "time", "timeout":
			return shellPrograms.has(w) && (!shellWords.has(w) || bytes.HasPrefix(args[len(w):], []byte(" -c ")))
		case "systeminfo", "tasklist", "ipconfig", "netstat", "ifconfig", "whoami", "uname":
			return false
		}
	case c == '"' || c == '\'':
		switch string(name) {
		case "echo", "printf", "grep", "awk", "sed", "eval", "bash", "sh", "system":
			return bytes.ContainsAny(args, ">|;$`<")
		}
	}
	return false
}

// sensitive reports whether arguments name what only an intruder asks for, or
// lead on to further commands.
func (j *judge) sensitive(args []byte) bool {
	j.steps += 8
	for _, p := range [...]string{"/etc/", "/proc/", "/bin/", "/dev/", "/tmp", "/var/", "/root", "/home/", `c:\`, "c:/", "| ", "|", ";", "&&", "$(", "`", "> ", "127.0.0.1", "-rf", "passwd", "sh -c "} {
		if bytes.Contains(args, []byte(p)) {
			return true
		}
	}
	return false
}

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
	shellRisky = words("cat", "ls", "id", "wget", "curl", "nc", "ncat", "netcat", "ping", "nslookup", "whoami", "uname", "ifconfig", "ipconfig", "netstat", "powershell", "pwsh", "cmd", "bash", "sh", "dir", "type", "telnet", "tasklist", "net", "reg", "certutil", "bitsadmin", "mshta", "rundll32", "sleep", "dig", "tracert", "systeminfo", "iex", "iwr", "invoke-webrequest", "invoke-expression")
)

func (j *judge) shell(s []byte) {
	if n := bytes.Index(s, []byte("ifs")); n > 0 && (s[n-1] == '$' || s[n-1] == '{' && n > 1 && s[n-2] == '$') {
		j.add(clCmd, "cmdi.ifs", 5)
	}
	if bytes.Contains(s, []byte("/dev/tcp/")) || bytes.Contains(s, []byte("2>&1")) && j.kinds&(bPipe|bSemi) != 0 {
		j.add(clCmd, "cmdi.redirect", 5)
	}
	for _, v := range [...]string{"%comspec%", "%systemroot%", "%programfiles"} {
		if bytes.Contains(s, []byte(v)) {
			j.add(clCmd, "cmdi.variable", 4)
		}
	}
	// Cells of a table stand between bars with spaces around them.
	table := bytes.HasPrefix(bytes.TrimLeft(s, " \t"), []byte("| ")) && bytes.Count(s[:min(len(s), 1024)], []byte(" |")) > 1
	j.command(s, 0, 0)
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
			if c == '|' && table && i+1 < len(s) && isSpace(s[i+1]) && !j.sensitive(s[i+1:min(len(s), i+64)]) {
				continue
			}
			k := i + 1
			for k < len(s) && (s[k] == c || s[k] == '&' || s[k] == '|' || s[k] == ';') && k < i+4 {
				k++
			}
			j.command(s, k, c)
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

// command judges what stands at s[k:] as a command; sep is the byte that
// brought it there, 0 for the start of the value.
func (j *judge) command(s []byte, k int, sep byte) {
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
	quoted := k < len(s) && (s[k] == '\'' || s[k] == '"' || s[k] == '\\')
	if quoted {
		k++
	}
	from := k
	path := false
	// Quotes, backslashes, carets and empty expansions inside a name are dropped by the shell.
	var buf [24]byte
	n, broken, wild := 0, 0, 0
	for k < len(s) && n < len(buf) {
		c := s[k]
		switch {
		case isAlnum(c) || c == '_' || c == '-' && n > 0 || c == '.' && n > 0:
			buf[n] = c
			n++
		case c == '/' || c == '\\' && k+1 < len(s) && path:
			path = true
			n = 0
		case (c == '\'' || c == '"' || c == '\\' || c == '^') && n > 0 && k+1 < len(s) && (isAlnum(s[k+1]) || s[k+1] == c):
			broken++
		case c == '$' && n > 0 && k+1 < len(s) && (s[k+1] == '@' || s[k+1] == '*' || isDigit(s[k+1])):
			broken++
			k++
		case (c == '?' || c == '*' || c == '[' || c == ']') && path:
			wild++
			buf[n] = c
			n++
		default:
			goto done
		}
		k++
	}
done:
	name := buf[:n]
	for len(name) > 0 && name[len(name)-1] == '.' {
		name = name[:len(name)-1]
	}
	if n == 0 {
		return
	}
	name = bytes.TrimSuffix(name, []byte(".exe"))
	known := shellPrograms.has(name)
	if !known && sep != 0 && path && (wild > 0 && bytes.Contains(s[from:k], []byte("/bin/")) || bytes.Count(s[from:k], []byte("?")) > 2) {
		j.add(clCmd, "cmdi.glob", 5)
		return
	}
	if !known {
		return
	}
	if broken > 0 && sep != 0 {
		j.add(clCmd, "cmdi.command", 5)
		return
	}
	rest := s[k:]
	args := bytes.TrimLeft(rest, " \t+")
	args = args[:min(len(args), 256)]
	spaced := len(args) < len(rest)
	word := shellWords.has(name) && !path
	end := len(args) == 0 || kinds[args[0]]&(bSemi|bPipe|bAmp|bLine|bTick|bHash) != 0 || args[0] == ')' && sep == '('
	switch {
	case len(args) > 0 && !spaced && sep == '&' && args[0] == ';': // a character reference
		return
	case len(args) > 0 && !spaced && (args[0] == '=' || args[0] == ':' || args[0] == '(' || args[0] == ',' || args[0] == '?' || args[0] == '!'):
		if args[0] == '(' && sep != 0 && sep != '"' && (string(name) == "system" || string(name) == "exec" || string(name) == "eval") {
			j.add(clCode, "code.call", 4)
		}
		return
	}
	argued := j.argument(args, name)
	if quoted && len(args) > 0 && (args[0] == '\'' || args[0] == '"') {
		argued = j.argument(bytes.TrimLeft(args[1:], " "), name)
	}
	switch {
	case path && (bytes.Contains(s[from:k], []byte("bin/")) || bytes.Contains(s[from:k], []byte(`system32\`))):
		switch {
		case sep != 0 || argued:
			j.add(clCmd, "cmdi.path", 5)
		case end && bytes.HasPrefix(s[from:], []byte("/")):
			j.add(clCmd, "cmdi.path", 5)
		default:
			j.add(clCmd, "cmdi.path", 3)
		}
	case sep == 0:
		switch {
		case !argued:
			if end && len(name) > 1 && len(args) > 0 && len(args) < 3 && args[0] != '#' && args[0] != '`' && j.kinds&bSpace == 0 && !(args[0] == '&' && len(args) > 1) {
				j.add(clCmd, "cmdi.command", 5) // "id;", "id|"
			}
		case j.sensitive(args):
			j.add(clCmd, "cmdi.command", 5)
		case shellRisky.has(name):
			j.add(clCmd, "cmdi.command", 3)
		default: // a line out of a manual
			j.add(clCmd, "cmdi.command", 2)
		}
	case sep == '"':
		if argued && j.kinds&(bSemi|bPipe|bAmp|bTick|bDollar) != 0 {
			j.add(clCmd, "cmdi.command", 5)
		}
	case sep == '(' && (spaced || end):
		j.add(clCmd, "cmdi.substitution", 5)
	case argued:
		n := 5
		if sep == '\n' && !j.sensitive(args) && word {
			n = 3
		}
		j.add(clCmd, "cmdi.command", n)
	case end && !word:
		if sep == '\n' || sep == '\r' {
			j.add(clCmd, "cmdi.command", 3)
		} else {
			j.add(clCmd, "cmdi.command", 5)
		}
	case end:
		glued := from > 0 && !isSpace(s[from-1])
		switch {
		case (sep == '\n' || sep == '\r') && from < 4 && len(name) > 1 && len(bytes.TrimSpace(args)) == 0:
			j.add(clCmd, "cmdi.command", 5) // a line break, then nothing but the command
		case sep == '\n' || sep == '\r', len(name) == 1:
			j.add(clCmd, "cmdi.command", 2)
		case glued && len(name) > 1 && len(args) < 3 && j.kinds&bSpace == 0 && !(sep == '&' && j.kinds&bEqual != 0):
			j.add(clCmd, "cmdi.command", 5) // "a;id", "|id|"
		case sep == '(':
			j.add(clCmd, "cmdi.command", 5)
		case glued, from < 4 && len(bytes.TrimSpace(args)) <= 1:
			j.add(clCmd, "cmdi.command", 4)
		default:
			j.add(clCmd, "cmdi.command", 2)
		}
	case !word && spaced && sep != '\n':
		j.add(clCmd, "cmdi.command", 3)
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
	case c == '-':
		return isAlnum(second) || second == '-'
	case c == '/':
		return isAlnum(second) || second == '*' || second == '?' || second == ' '
	case c == '~':
		return second == '/'
	case c == '$':
		return second == '(' || second == '{' || isAlpha(second)
	case c == '<' || c == '>':
		return second == '/' || second == '&' || isSpace(second) && len(args) > 2 && args[2] == '/'
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
		case "net":
			return string(w) == "user" || string(w) == "localgroup" || string(w) == "share" || string(w) == "view"
		case "echo", "printf":
			return bytes.Contains(args, []byte("$(")) || bytes.Contains(args, []byte(">")) || bytes.Contains(args, []byte("|"))
		case "which":
			return shellPrograms.has(w) && !shellWords.has(w)
		case "xargs", "sudo", "nohup", "env", "exec", "busybox", "time":
			return shellPrograms.has(w) && !shellWords.has(w)
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
	for _, p := range [...]string{"/etc/", "/proc/", "/bin/", "/dev/", "/tmp", "/var/", "/root", "/home/", `c:\`, "c:/", "| ", "|", ";", "&&", "$(", "`", "> ", "127.0.0.1", "-rf", "passwd"} {
		if bytes.Contains(args, []byte(p)) {
			return true
		}
	}
	return false
}

package inspect

import "bytes"

// The path recogniser reads a value as a file name: separators of both kinds,
// in the odd spellings that servers fold, and asks whether it climbs out of its
// folder or names a file that no caller should. Text is in lower case and
// decoded.

// pathSecrets are files and folders whose names alone say what is wanted.
var pathSecrets = []string{"etc/passwd", "etc/shadow", "etc/group", "etc/hosts", "etc/issue", "etc/motd", "etc/crontab", "etc/fstab", "etc/ssh", "etc/apache", "etc/httpd", "etc/nginx", "etc/mysql", "etc/php", "etc/sudoers",
	"etc/resolv.conf", "etc/hostname", "etc/my.cnf", "etc/profile", "etc/os-release", "etc/master.passwd", "etc/security", "etc/init.d", "etc/rc.d", "proc/self", "proc/version", "proc/cpuinfo", "proc/net", "proc/cmdline", "proc/mounts", "proc/1/", "proc/sched_debug",
	"boot.ini", "win.ini", "system.ini", "windows/system32", "winnt/", "system32/drivers", "system32/config", "windows/repair", "windows/win", "windows/php", "inetpub/", "global.asa", "autoexec.bat", "web-inf", "meta-inf/", "web.xml", "web.config", ".htaccess", ".htpasswd", ".ssh/", "id_rsa", "id_dsa", "authorized_keys", ".git/config", ".git/head", ".svn/entries", ".aws/credentials", "wp-config.php", ".bash_history", ".kube/config", "docker.sock", ".docker/config", ".npmrc", ".pgpass",
	"var/log/", "var/mail", "var/run/secrets", "var/lib/mysql", "httpd.conf", "apache2.conf", "php.ini", "my.ini", "my.cnf", "access.log", "access_log", "error.log", "error_log", "root/.", "usr/local/apache", "usr/local/etc", "server.xml", "tomcat-users.xml", "etcpasswd", "web-infweb", "sam.bak"}

var pathFinder = newFinder(pathSecrets)

// fold writes v as a path: one kind of separator, no parameters, no NUL.
func (j *judge) fold(v []byte) []byte {
	out := j.tmp[:0]
	for i := 0; i < len(v); i++ {
		c := v[i]
		switch {
		case c == '\\':
			c = '/'
		case kinds[c]&bCtl != 0:
			continue
		case c == '0' && i+3 < len(v) && v[i+1] == 'x':
			switch {
			case v[i+2] == '2' && v[i+3] == 'f', v[i+2] == '5' && v[i+3] == 'c':
				c, i = '/', i+3
			case v[i+2] == '2' && v[i+3] == 'e':
				c, i = '.', i+3
			}
		}
		out = append(out, c)
	}
	j.tmp = out
	return out
}

func (j *judge) path(v []byte) {
	s := j.fold(v)
	climbs, odd, dots := 0, 0, 0
	spaces := bytes.IndexByte(s, ' ') >= 0
	quotedClimb, chain, quoted := false, false, 0
	for i := 0; i < len(s); i++ {
		n := bytes.Index(s[i:], []byte(".."))
		if n < 0 {
			break
		}
		if j.steps++; j.steps > j.limit {
			return
		}
		i += n
		from := i
		for i < len(s) && s[i] == '.' {
			i++
		}
		run := i - from
		dots = max(dots, run)
		e := i
		for e < len(s) && e < i+8 && (s[e] == ';' || s[e] >= 0x80) { // ..;/ and leftovers of broken encodings
			e++
		}
		sep := e < len(s) && s[e] == '/'
		start := from == 0 || !isWord(s[from-1])
		switch {
		case sep && (start || run > 2):
			if spaces && from > 0 && kinds[s[from-1]]&(bQuote|bDouble|bTick|bOpen) != 0 {
				quotedClimb, chain = true, true
			} else if from == 0 || s[from-1] != '/' {
				chain = false
			}
			if chain { // a link or an import in a text
				quoted++
			} else if run == 2 || run == 4 || climbs > 0 || odd > 0 {
				climbs++
			} else {
				odd++
			}
			if from > 0 && kinds[s[from-1]]&(bQuote|bDouble|bTick|bOpen) != 0 {
				quotedClimb = true
			}
			if e-i > 0 {
				odd++
			}
		case from > 0 && s[from-1] == '/' && i == len(s) && run == 2:
			climbs++
		case from > 0 && s[from-1] == '/' && i < len(s) && !isSpace(s[i]):
			odd++
		}
	}
	fuzzy := 0
	// Segments of nothing but two or three marks stand for dots in spellings
	// that some step on the way turns into them.
	for i := 0; i < len(s); i++ {
		n := bytes.IndexByte(s[i:], '/')
		if n < 0 {
			break
		}
		if seg := s[i : i+n]; len(seg) == 2 || len(seg) == 3 {
			marks, only := 0, true
			for _, c := range seg {
				if isWord(c) || c == ' ' || c == ':' || c == '*' || c == '-' || c == '(' || c == ')' {
					only = false
				} else if c != '.' {
					marks++
				}
			}
			if only && marks > 0 {
				fuzzy++
			}
		}
		i += n
	}
	secret := false
	at := -1
	pathFinder.find(s, &j.at)
	for i, p := range pathSecrets {
		if n := int(j.at[i]) - 1; n >= 0 && (n == 0 || !isWord(s[n-1]) || climbs+odd+fuzzy > 0 || dots > 3) {
			if e := n + len(p); e < len(s) && isAlpha(s[e]) && isAlpha(p[len(p)-1]) && climbs == 0 {
				continue
			}
			secret, at = true, n
			break
		}
	}
	if fuzzy > 1 || fuzzy == 1 && secret {
		odd += fuzzy
	}
	switch {
	case climbs+odd+quoted >= 1 && secret, climbs+odd >= 3:
		j.add(clPath, "traversal.climb", 5)
	case climbs >= 2 && !quotedClimb || climbs+odd >= 2 && !spaces:
		j.add(clPath, "traversal.climb", 5)
	case climbs+odd == 1 && !spaces && !quotedClimb:
		if odd == 1 && bytes.HasSuffix(s, []byte("/...")) {
			j.add(clPath, "traversal.climb", 1)
		} else if bytes.HasPrefix(s, []byte("..")) || bytes.HasPrefix(s, []byte("/")) || j.decoded&(dPercent|dWidth) != 0 || odd > 0 {
			j.add(clPath, "traversal.climb", 5)
		} else {
			j.add(clPath, "traversal.climb", 4)
		}
	case climbs+quoted > 0: // a relative path in a sentence or a line of code
		j.add(clPath, "traversal.climb", 2)
	case dots >= 3 && secret && s[0] == '.':
		j.add(clPath, "traversal.dots", 5)
	case dots >= 2 && len(s) > 256 && s[0] == '/' && !spaces && longSegment(s):
		j.add(clPath, "traversal.long", 5)
	case dots >= 6 && !spaces && len(s) > dots && (isAlpha(s[len(s)-1]) || s[len(s)-1] == '}') && (s[0] == '.' || s[0] == '/'):
		j.add(clPath, "traversal.dots", 5)
	}
	// "/./././x": a path that goes nowhere, to slip past a prefix test.
	if bytes.Contains(s, []byte("/././")) && !spaces {
		j.add(clPath, "traversal.same", 5)
	} else if len(s) < 8 && (bytes.Equal(s, []byte("/./")) || bytes.HasPrefix(s, []byte("/./"))) {
		j.add(clPath, "traversal.same", 5)
	}
	if bytes.HasPrefix(s, []byte("///")) && !spaces && len(s) > 4 && bytes.IndexByte(bytes.TrimLeft(s, "/"), '/') < 0 && len(bytes.TrimLeft(s, "/")) > 2 {
		j.add(clPath, "traversal.empty", 5)
	}
	if secret {
		whole := !bytes.HasPrefix(s, []byte("http")) && !spaces || at < 24 && !bytes.HasPrefix(s, []byte("http")) && bytes.IndexByte(s, ' ') > at
		rooted := at <= 1 || s[at-1] == '/' || s[at-1] == ':' || s[at-1] == '='
		switch {
		case whole && len(s) > 2 && s[1] == ':' && isAlpha(s[0]):
			j.add(clPath, "traversal.file", 5)
		case whole && rooted && (s[0] == '/' || at == 0 || bytes.IndexByte(s[:at], ':') >= 0 || bytes.HasPrefix(s, []byte("web-inf"))) && !(at == 0 && bytes.IndexByte(s, '/') < 0 && !isolated(s)):
			j.add(clPath, "traversal.file", 5)
		case whole:
			j.add(clPath, "traversal.file", 4)
		default:
			j.add(clPath, "traversal.file", 2)
		}
	}
	for _, p := range [...]string{"php://", "zip://", "phar://", "expect://", "glob://", "data://", "compress.zlib://", "ogg://", "rar://", "ssh2."} {
		if n := bytes.Index(s, []byte(p)); n >= 0 && (n == 0 || !isAlpha(s[n-1])) {
			j.add(clPath, "traversal.wrapper", 5)
		}
	}
	if n := bytes.Index(s, []byte("file:/")); n >= 0 && (n == 0 || !isWord(s[n-1])) {
		if n == 0 {
			j.add(clPath, "traversal.wrapper", 5)
		} else {
			j.add(clPath, "traversal.wrapper", 3)
		}
	}
	// A NUL that ends a name for the system but not for the language above it.
	if j.kinds&bCtl != 0 {
		if n := bytes.IndexByte(v, 0); n > 0 && n < len(v)-1 && (isWord(v[n-1])) && (v[n+1] == '.' || v[n+1] == '/') {
			j.add(clPath, "traversal.nul", 5)
		}
	}
}

// longSegment reports whether s has a segment longer than any file name, which
// cuts off what a server appends.
func longSegment(s []byte) bool {
	from := 0
	for i, c := range s {
		if c == '/' {
			from = i + 1
		}
		if i-from > 255 {
			return true
		}
	}
	return false
}

// isolated names are wanted for themselves, without any folder.
func isolated(s []byte) bool {
	for _, p := range [...]string{"boot.ini", "win.ini", "web-inf", "etcpasswd", "id_rsa", ".htpasswd", "global.asa"} {
		if bytes.HasPrefix(s, []byte(p)) {
			return true
		}
	}
	return false
}

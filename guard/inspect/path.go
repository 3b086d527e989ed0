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
		case c == '[' && i > 0 && i+2 < len(v) && v[i+2] == ']' && isAlpha(v[i+1]) && isAlpha(v[i-1]): // pas[s]wd, as shells read it
			c, i = v[i+1], i+2
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

// A route is what was read of a path.
type route struct {
	s      []byte // folded
	climbs int    // "../" as every system reads it
	odd    int    // spellings that only some step on the way turns into that
	quoted int    // climbs right behind a quote or a bracket, and their like
	dots   int    // the longest run of dots
	behind bool   // a climb stands behind a quote or a bracket: an import, a link
	secret int    // where a name stands that no caller should say; -1 nowhere
	spaces bool
}

func (j *judge) path(v []byte) {
	r := route{s: j.fold(v)}
	r.spaces = bytes.IndexByte(r.s, ' ') >= 0
	if !j.climbs(&r) {
		return
	}
	fuzzy := r.fuzzy()
	j.secret(&r, fuzzy)
	if fuzzy > 1 || fuzzy == 1 && r.secret >= 0 {
		r.odd += fuzzy
	}
	j.climb(&r)
	j.detour(&r)
	if r.secret >= 0 {
		j.file(&r)
	}
	j.wrapper(r.s)
	j.glob(v)
	// A NUL that ends a name for the system but not for the language above it.
	if j.kinds&bCtl != 0 {
		if n := bytes.IndexByte(v, 0); n > 0 && n < len(v)-1 && (isWord(v[n-1])) && (v[n+1] == '.' || v[n+1] == '/') {
			j.add(clPath, "traversal.nul", 5)
		}
	}
}

// climbs counts the runs of dots that lead out of a folder. It reports whether
// it came to the end.
func (j *judge) climbs(r *route) bool {
	s, chain := r.s, false
	for i := 0; i < len(s); i++ {
		n := bytes.Index(s[i:], []byte(".."))
		if n < 0 {
			break
		}
		if j.steps++; j.steps > j.limit {
			return false
		}
		i += n
		from := i
		for i < len(s) && s[i] == '.' {
			i++
		}
		run := i - from
		r.dots = max(r.dots, run)
		e := i
		for e < len(s) && e < i+8 && (s[e] == ';' || s[e] >= 0x80) { // ..;/ and leftovers of broken encodings
			e++
		}
		sep := e < len(s) && s[e] == '/'
		start := from == 0 || !isWord(s[from-1])
		behind := from > 0 && kinds[s[from-1]]&(bQuote|bDouble|bTick|bOpen) != 0
		switch {
		case sep && (start || run > 2):
			if r.spaces && behind {
				chain = true
			} else if from == 0 || s[from-1] != '/' {
				chain = false
			}
			if chain { // a link or an import in a text
				r.quoted++
			} else if run == 2 || run == 4 || r.climbs > 0 || r.odd > 0 {
				r.climbs++
			} else {
				r.odd++
			}
			r.behind = r.behind || behind
			if e-i > 0 {
				r.odd++
			}
		case from > 0 && s[from-1] == '/' && i == len(s) && run == 2:
			r.climbs++
		case from > 0 && s[from-1] == '/' && i < len(s) && !isSpace(s[i]):
			r.odd++
		}
	}
	return true
}

// fuzzy counts segments of nothing but two or three marks, which stand for dots
// in spellings that some step on the way turns into them.
func (r *route) fuzzy() (n int) {
	for s := r.s; ; {
		e := bytes.IndexByte(s, '/')
		if e < 0 {
			return n
		}
		if seg := s[:e]; len(seg) == 2 || len(seg) == 3 {
			marks, only := 0, true
			for _, c := range seg {
				if isWord(c) || c == ' ' || c == ':' || c == '*' || c == '-' || kinds[c]&(bOpen|bClose|bLine|bQuote|bDouble|bTick) != 0 {
					only = false
				} else if c != '.' {
					marks++
				}
			}
			if only && marks > 0 {
				n++
			}
		}
		s = s[e+1:]
	}
}

// secret finds the name that no caller should say. Whatever climbs may have
// lost the separator before it.
func (j *judge) secret(r *route, fuzzy int) {
	s := r.s
	r.secret = -1
	pathFinder.find(s, &j.at)
	for i, p := range pathSecrets {
		if n := int(j.at[i]) - 1; n >= 0 && (n == 0 || !isWord(s[n-1]) && !(s[n-1] == '-' && isAlpha(p[0]) && n > 1) || r.climbs+r.odd+fuzzy > 0 || r.dots > 3) {
			if e := n + len(p); e < len(s) && isAlpha(s[e]) && isAlpha(p[len(p)-1]) && r.climbs == 0 {
				continue
			}
			r.secret = n
			return
		}
	}
}

// climb weighs leaving the folder: "../../x" has no use where a name is
// expected; one climb in a sentence or behind a quote is a relative path that
// someone talks about, "see ../docs/setup.md" or "require('../x')".
func (j *judge) climb(r *route) {
	s, climbs, secret := r.s, r.climbs+r.odd, r.secret >= 0
	switch {
	case climbs+r.quoted < 4 && r.odd == 0 && !secret && r.told(): // "see ../../docs/x.md for details"
		j.add(clPath, "traversal.climb", 2)
	case climbs+r.quoted >= 1 && secret, climbs >= 3,
		r.climbs >= 2 && !r.behind || climbs >= 2 && !r.spaces:
		j.add(clPath, "traversal.climb", 5)
	case climbs == 1 && !r.spaces && !r.behind:
		if r.odd == 1 && bytes.HasSuffix(s, []byte("/...")) {
			j.add(clPath, "traversal.climb", 1)
		} else if bytes.HasPrefix(s, []byte("..")) || bytes.HasPrefix(s, []byte("/")) || j.decoded&(dPercent|dWidth) != 0 || r.odd > 0 {
			j.add(clPath, "traversal.climb", 5)
		} else {
			j.add(clPath, "traversal.climb", 4)
		}
	case r.climbs+r.quoted > 0:
		j.add(clPath, "traversal.climb", 2)
	case r.dots >= 3 && secret && s[0] == '.':
		j.add(clPath, "traversal.dots", 5)
	case r.dots >= 2 && len(s) > 256 && s[0] == '/' && !r.spaces && longSegment(s):
		j.add(clPath, "traversal.long", 5)
	case r.dots >= 6 && !r.spaces && len(s) > r.dots && (isAlpha(s[len(s)-1]) || s[len(s)-1] == '}') && (s[0] == '.' || s[0] == '/'):
		j.add(clPath, "traversal.dots", 5)
	}
}

// told reports whether the climb stands behind words of a sentence.
func (r *route) told() bool {
	n := bytes.Index(r.s, []byte(".."))
	return n > 3 && isSpace(r.s[n-1]) && (isWord(r.s[n-2]) || r.s[n-2] == ':') && (isAlpha(r.s[0]) || kinds[r.s[0]]&(bSquare|bLess|bHash|bSlash|bStar) != 0)
}

// detour weighs paths that go nowhere, to slip past a test of their beginning:
// "/././x", "///x". An address has a host behind its slashes.
func (j *judge) detour(r *route) {
	s := r.s
	if bytes.Contains(s, []byte("/././")) && !r.spaces || len(s) < 8 && bytes.HasPrefix(s, []byte("/./")) {
		j.add(clPath, "traversal.same", 5)
	}
	if name := bytes.TrimLeft(s, "/"); bytes.HasPrefix(s, []byte("///")) && !r.spaces && len(s) > 4 && bytes.IndexByte(name, '/') < 0 && len(name) > 2 {
		j.add(clPath, "traversal.empty", 5)
	}
}

// file weighs a path to something that no caller should name. In a sentence it
// is a subject: "the file /etc/hosts maps names".
func (j *judge) file(r *route) {
	s, at := r.s, r.secret
	http := bytes.HasPrefix(s, []byte("http"))
	if r.climbs+r.odd == 0 && j.kinds&bHigh != 0 {
		j.add(clPath, "traversal.file", 2) // a text in a script that sets no spaces
		return
	}
	if r.climbs+r.odd == 0 && bytes.Count(s, []byte(" ")) > 2 { // "/proc/net/stat/x counts what the kernel saw"
		j.add(clPath, "traversal.file", 2)
		return
	}
	whole := !http && !r.spaces || at < 24 && !http && bytes.IndexByte(s, ' ') > at
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

// glob weighs patterns that only a shell resolves to a system's file: "/etc/[!x]asswd",
// "/usr/[a-z]in/sh". A route's "/items/[id]" has its brackets to itself.
func (j *judge) glob(v []byte) {
	if j.kinds&bSquare == 0 || j.kinds&bSpace != 0 && v[0] == '/' {
		return
	}
	for _, p := range [...]string{"/etc/", "/usr/", "/bin/", "/var/", "/proc/", "/root/", "/home/"} {
		n := bytes.Index(v, []byte(p))
		if n < 0 || n > 8 {
			continue
		}
		for i := n; i < len(v) && v[i] != ' '; i++ {
			if v[i] == '[' {
				e := bytes.IndexByte(v[i:], ']')
				if e > 1 && (isAlpha(v[i-1]) || isAlpha(next(v, i+e+1))) {
					j.add(clPath, "traversal.glob", 5)
				}
				return
			}
		}
	}
}

// wrapper weighs schemes under which an interpreter opens files. "file:" inside
// a text may be spoken of.
func (j *judge) wrapper(s []byte) {
	for _, p := range [...]string{"php://", "zip://", "phar://", "expect://", "glob://", "data://", "compress.zlib://", "ogg://", "rar://", "ssh2."} {
		if n := bytes.Index(s, []byte(p)); n >= 0 && (n == 0 || !isAlpha(s[n-1])) {
			j.add(clPath, "traversal.wrapper", 5)
		}
	}
	if n := bytes.Index(s, []byte("file:/")); n >= 0 && (n == 0 || !isWord(s[n-1])) {
		switch {
		case n == 0:
			j.add(clPath, "traversal.wrapper", 5)
		case s[n-1] == ' ' || bytes.IndexByte(s[:n], ' ') > 0:
			j.add(clPath, "traversal.wrapper", 2) // someone speaks of an address
		default:
			j.add(clPath, "traversal.wrapper", 3)
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

package inspect

import "bytes"

// Expressions between ${ and } or {{ and }} that a logger, a template engine or
// an expression language may evaluate. Text is in lower case.

// resolve evaluates Log4j's nested look-ups as far as they spell text: default
// values, lower, upper, date, and everything unknown to nothing. The result
// goes to dst; n counts the nests.
func (j *judge) resolve(dst, s []byte, depth int, n *int) []byte {
	for i := 0; i < len(s); i++ {
		if j.steps > j.limit {
			return dst
		}
		if s[i] != '$' || i+1 >= len(s) || s[i+1] != '{' {
			dst = append(dst, s[i])
			continue
		}
		end, level := -1, 0
		j.steps += 16
		for k := i + 2; k < len(s) && k < i+1024; k++ {
			if s[k] == '{' {
				level++
			} else if s[k] == '}' {
				if level == 0 {
					end = k
					break
				}
				level--
			}
		}
		if end < 0 || depth > 6 {
			dst = append(dst, s[i])
			continue
		}
		*n++
		in := s[i+2 : end]
		at := len(dst)
		dst = j.resolve(dst, in, depth+1, n)
		body := dst[at:]
		switch {
		case bytes.HasPrefix(body, []byte("jndi:")):
			dst = append(dst, '}')
			j.add(clLookup, "log4shell.jndi", 6)
		case bytes.HasPrefix(body, []byte("lower:")), bytes.HasPrefix(body, []byte("upper:")):
			dst = append(dst[:at], body[6:]...)
		case bytes.HasPrefix(body, []byte("date:")):
			dst = append(dst[:at], bytes.Trim(body[5:], "'")...)
		case bytes.LastIndex(body, []byte(":-")) >= 0:
			dst = append(dst[:at], body[bytes.LastIndex(body, []byte(":-"))+2:]...)
		default:
			for _, p := range [...]string{"env:", "sys:", "java:", "ctx:", "main:", "web:", "log4j:", "bundle:", "docker:", "k8s:", "spring:", "hostname", "sd:", "map:", "marker:", "base64:", "script:", "dns:", "url:", "const:", "file:", "xml:", "properties:", "resourcebundle:", "urldecoder:"} {
				if bytes.HasPrefix(body, []byte(p)) {
					w := 3
					if depth > 0 {
						w = 5
					} else if p == "script:" || p == "dns:" || p == "url:" || p == "jndi:" {
						w = 5 // Commons Text runs these
					}
					j.add(clLookup, "log4shell.lookup", w)
				}
			}
			dst = dst[:at]
		}
		i = end
	}
	return dst
}

func (j *judge) lookup(s []byte) {
	if bytes.Contains(s, []byte("${")) {
		n := 0
		j.out = j.resolve(j.out[:0], s, 0, &n)
		switch {
		case bytes.Contains(j.out, []byte("jndi:")) && (n > 0 || bytes.Contains(s, []byte("${jndi"))):
			j.add(clLookup, "log4shell.jndi", 6)
		case bytes.Contains(j.out, []byte("${jndi:")):
			j.add(clLookup, "log4shell.jndi", 6)
		}
		if bytes.Contains(s, []byte("${")) && bytes.Contains(s[bytes.Index(s, []byte("${"))+2:], []byte("${")) && (bytes.Contains(s, []byte("${lower:")) || bytes.Contains(s, []byte("${upper:")) || bytes.Contains(s, []byte("${::-"))) {
			j.add(clLookup, "log4shell.nest", 5)
		}
	}
	// "${jndi:ldap:" cut short, or with look-ups inside the word.
	if n := bytes.Index(s, []byte("jndi:")); n >= 0 && bytes.Contains(s[:n], []byte("${")) {
		j.add(clLookup, "log4shell.jndi", 6)
	}
	j.template(s)
}

// The opening marks of template engines, with their ends.
var marks = [...]struct{ open, end string }{{"{{", "}}"}, {"${", "}"}, {"#{", "}"}, {"@{", "}"}, {"*{", "}"}, {"%{", "}"}, {"~{", "}"}, {"{%", "%}"}, {"<%", "%>"}, {"@(", ")"}, {"[[", "]]"}, {"#set(", ")"}, {"<#", ">"}, {"{php}", "{/php}"}, {"{if ", "}"}, {"{$", "}"}, {"{#", "}"}}

var templateSigns = [...]string{".class.", "class.get", ".mro(", "__class__", "__mro__", "__globals__", "__subclasses__", "__builtins__", "__import__", "__init__", "__base__", "getruntime", "java.lang", "t(java", "processbuilder", ".exec(", "popen(", "system(", "passthru(", "shell_exec(", "eval(", "exec(", "constructor", "getclass", "forname(", "classloader", "freemarker.template", "?new()", "registerundefinedfilter", "_self.env", "config.items", "request.application", "self.template", "lipsum", "cycler.", "joiner.", "namespace.", "attr(", "|attr", "os.", "require(", "process.", "global.", "file.read", "file.open", "file(", "dir.entries", "include(", "phpinfo", "print(", "#context", "#_memberaccess", "ognl", "@java", "new ", "memberaccess", "$smarty", "class.inspect", "dump(", "app.request", "settings.secret", "alert(", "system ", "smarty.version", "debug", "range.constructor", "string.class", "toarray", "readfile", "scriptengine", "applicationscope", "session.", "pagecontext", "servletcontext"}

func (j *judge) template(s []byte) {
	for _, m := range marks {
		for i, found := 0, 0; i < len(s) && found < 16; found++ {
			n := bytes.Index(s[i:], []byte(m.open))
			if n < 0 {
				break
			}
			from := i + n + len(m.open)
			e := bytes.Index(s[from:], []byte(m.end))
			if j.steps += 8; j.steps > j.limit {
				return
			}
			i = from
			cut := e < 0 || e > 1024
			if cut {
				e = min(len(s)-from, 512)
			}
			in := bytes.TrimSpace(s[from : from+e])
			in = bytes.TrimLeft(in, "=-!")
			if len(in) == 0 {
				continue
			}
			weak := m.open == "[[" || m.open == "@(" || m.open == "<#" || m.open == "{#" || m.open == "{$" || m.open == "{if "
			hit := 0
			for _, t := range templateSigns {
				if bytes.Contains(in, []byte(t)) {
					hit = 5
					if weak && (t == "new " || t == "debug" || t == "session.") {
						hit = 2
					} else if weak || cut || t == "debug" || t == "new " || t == "os." || t == "session." || t == "file(" || t == "system " || t == "process." || t == "include(" || t == "print(" {
						hit = 4
					}
					break
				}
			}
			if m.open == "{php}" || m.open == "{{" && len(in)+4 >= len(s) && (string(in) == "config" || string(in) == "self" || string(in) == "settings" || string(in) == "lipsum") {
				hit = 5
			}
			if hit < 5 && !cut && sums(in) {
				hit = 5
				if weak {
					hit = 3
				}
			}
			if hit < 4 && m.open == "{{" && quotedCall(in) {
				hit = 4
				if bytes.Contains(in, []byte("(\"/")) || bytes.Contains(in, []byte("('/")) {
					hit = 5
				}
			}
			j.add(clTemplate, "ssti.expression", hit)
		}
	}
}

// sums reports whether s multiplies or adds literals, the probe of every
// template injection.
func sums(s []byte) bool {
	op, digits := false, 0
	for _, c := range s {
		switch {
		case isDigit(c):
			digits++
		case c == '*' || c == '+' || c == '-':
			op = digits > 0
		case c == ' ' || c == '\'' || c == '"' || c == '(' || c == ')':
		default:
			return false
		}
	}
	return op && digits >= 2
}

func quotedCall(s []byte) bool {
	n := bytes.IndexByte(s, '(')
	return n > 0 && isWord(s[n-1]) && n+1 < len(s) && (s[n+1] == '"' || s[n+1] == '\'') && bytes.IndexByte(s[n:], ')') > 0
}

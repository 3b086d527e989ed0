// Package silent decides about what an upstream's answer gives away. In come
// the status, the head and, of an error, the bounded body of an answer; out go
// the leaks found in them by class and place, what remains of a head, and a
// readable form of a body that was compressed. It recognises stack traces,
// messages of databases, file paths, pages and versions of frameworks, internal
// addresses and hosts, and authentication answers that tell a wrong password
// from an unknown user.
//
// One pass looks for a fixed set of literals; only where one stands does a
// recogniser look at the shape around it. Nothing here looks at the body of an
// answer that is no error, keeps a byte of what it was given, does I/O or reads
// a clock.
package silent

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
)

// A Leak is one thing that an answer gives away; it holds nothing out of it.
type Leak struct {
	Rule  string // "leak.stack-trace", "leak.sql", …: see Rules
	Class string // which: "java", "mysql", …
	At    int    // offset in the text that was looked at
}

// The rules. RuleServer, RuleUnread and RuleLogin are of whole answers.
const (
	RuleStack     = "leak.stack-trace"
	RuleException = "leak.exception"
	RuleSQL       = "leak.sql"
	RulePath      = "leak.path"
	RuleAddress   = "leak.address"
	RuleHost      = "leak.host"
	RuleBanner    = "leak.banner"
	RuleVersion   = "leak.version"
	RuleAuth      = "leak.authentication"
	RuleHeader    = "leak.header"

	RuleServer = "error.server" // a server error is always replaced
	RuleUnread = "error.unread" // an error that cannot be looked at
	RuleLogin  = "error.login"  // a failed sign-in, answered like any other
)

// Rules are the rules of leaks.
func Rules() []string {
	return []string{RuleStack, RuleException, RuleSQL, RulePath, RuleAddress, RuleHost, RuleBanner, RuleVersion, RuleAuth, RuleHeader}
}

// Known is what the caller of the request knows anyway: to say it again gives
// nothing away.
type Known struct {
	Path   string     // of the request, escaped
	Query  string     // raw
	Body   []byte     // of the request, when it is short
	Client netip.Addr // the caller's own address

	// Auth: the answer is one to a try to sign in, so that phrases that tell a
	// wrong password from an unknown user count.
	Auth bool
}

// maxLeaks bounds what is reported of one text; one is enough to decide.
const maxLeaks = 8

// Look appends to out what text gives away, one leak for each rule and class.
// text is looked at as it stands, and once more with JSON's escapes, HTML's
// entities and tags taken out of it.
func Look(text []byte, k *Known, out []Leak) []Leak {
	out = scan(text, k, out)
	if plain, changed := unescape(text); changed && len(out) < maxLeaks {
		out = scan(plain, k, out)
	}
	return out
}

func found(out []Leak, l Leak) []Leak {
	if len(out) >= maxLeaks || slices.ContainsFunc(out, func(x Leak) bool { return x.Rule == l.Rule && x.Class == l.Class }) {
		return out
	}
	return append(out, l)
}

// scan is the one pass.
func scan(b []byte, k *Known, out []Leak) []Leak {
	t := table()
	var gram uint32
	for i, c := range b {
		c = fold[c]
		gram = gram<<8 | uint32(c)
		if i >= gramSize-1 && t.may[bucket(gram)/64]&(1<<(bucket(gram)%64)) != 0 {
			for _, n := range t.at[gram] {
				l := &t.literals[n]
				from := i - (gramSize - 1) - l.gram
				to := from + len(l.text)
				if from < 0 || to > len(b) || !l.matches(b[from:to]) {
					continue
				}
				if l.check != nil && !l.check(b, from, to, k) {
					continue
				}
				out = found(out, Leak{l.rule, l.class, from})
			}
		}
		switch {
		case c >= '0' && c <= '9':
			if (i == 0 || !wordOrDot(b[i-1])) && privateAddress(b, i, k) {
				out = found(out, Leak{RuleAddress, "ipv4", i})
			}
		case c == '\\' && i > 0 && b[i-1] == ':':
			if windowsPath(b, i, k) {
				out = found(out, Leak{RulePath, "windows", i - 2})
			}
		case c == '\\' && i > 0 && b[i-1] == '\\':
			if uncPath(b, i) {
				out = found(out, Leak{RulePath, "unc", i - 1})
			}
		case c == ':' && i > 2 && i+1 < len(b) && isHex(b[i+1]):
			if privateAddress6(b, i, k) {
				out = found(out, Leak{RuleAddress, "ipv6", i})
			}
		}
		if len(out) >= maxLeaks {
			return out
		}
	}
	return out
}

// asked reports whether the request itself holds token: then it is no news to
// the caller. Long bodies do not count, lest they list all that could be meant.
func (k *Known) asked(token []byte) bool {
	if k == nil || len(token) < 4 {
		return false
	}
	const short = 4 << 10
	return len(k.Query) <= short && strings.Contains(k.Query, string(token)) ||
		len(k.Body) <= short && bytes.Contains(k.Body, token)
}

// ownPath reports whether token is the path that was asked for, or begins it.
// One that goes on behind it is news.
func (k *Known) ownPath(token []byte) bool {
	token = bytes.TrimRight(token, ".#=%$@~+")
	return k != nil && len(token) > 1 && strings.HasPrefix(k.Path, string(token))
}

var fold = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if i >= 'A' && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isAlpha(c byte) bool { c |= 0x20; return c >= 'a' && c <= 'z' }
func isHex(c byte) bool   { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }
func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }
func isWord(c byte) bool  { return isDigit(c) || isAlpha(c) || c == '_' }

func wordOrDot(c byte) bool { return isWord(c) || c == '.' || c == '-' }

// unescape gives text with JSON's escapes and HTML's entities decoded and HTML's
// tags taken out. Each is one byte or more for one byte or more, never longer.
func unescape(b []byte) ([]byte, bool) {
	if bytes.IndexByte(b, '\\') < 0 && bytes.IndexByte(b, '&') < 0 && bytes.IndexByte(b, '<') < 0 {
		return nil, false
	}
	html := bytes.Contains(b, []byte("</"))
	out, changed := make([]byte, 0, len(b)), false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\\' && i+1 < len(b):
			r, n := jsonEscape(b[i+1:])
			if n == 0 {
				out = append(out, c)
				continue
			}
			out, i, changed = append(out, r), i+n, true
		case c == '&':
			r, n := entity(b[i+1:])
			if n == 0 {
				out = append(out, c)
				continue
			}
			out, i, changed = append(out, r), i+n, true
		case c == '<' && html && i+1 < len(b) && (isAlpha(b[i+1]) || b[i+1] == '/'):
			end := bytes.IndexByte(b[i:], '>')
			if end < 0 || end > 1024 {
				out = append(out, c)
				continue
			}
			if tag := b[i : i+end]; bytes.HasPrefix(tag, []byte("<br")) || bytes.HasPrefix(tag, []byte("</")) && !bytes.HasPrefix(tag, []byte("</b")) {
				out = append(out, '\n')
			}
			i, changed = i+end, true
		default:
			out = append(out, c)
		}
	}
	return out, changed
}

// jsonEscape decodes what follows a backslash; runes beyond Latin-1 become ?.
func jsonEscape(b []byte) (byte, int) {
	switch b[0] {
	case 'n':
		return '\n', 1
	case 'r':
		return '\r', 1
	case 't':
		return '\t', 1
	case '"', '\\', '/':
		return b[0], 1
	case 'u':
		if len(b) < 5 {
			return 0, 0
		}
		v := 0
		for _, c := range b[1:5] {
			if !isHex(c) {
				return 0, 0
			}
			v = v<<4 | hexValue(c)
		}
		if v > 0xff {
			v = '?'
		}
		return byte(v), 5
	}
	return 0, 0
}

func hexValue(c byte) int {
	if isDigit(c) {
		return int(c - '0')
	}
	return int(c|0x20-'a') + 10
}

var entities = []struct {
	name string
	char byte
}{{"quot;", '"'}, {"apos;", '\''}, {"amp;", '&'}, {"lt;", '<'}, {"gt;", '>'}, {"nbsp;", ' '}, {"sol;", '/'}, {"bsol;", '\\'}, {"colon;", ':'}, {"period;", '.'}}

// entity decodes what follows an ampersand.
func entity(b []byte) (byte, int) {
	if len(b) > 2 && b[0] == '#' {
		base, i, v := 10, 1, 0
		if b[1]|0x20 == 'x' {
			base, i = 16, 2
		}
		from := i
		for ; i < len(b) && i < from+6 && (isDigit(b[i]) || base == 16 && isHex(b[i])); i++ {
			v = v*base + hexValue(b[i])
		}
		if i == from || i == len(b) || b[i] != ';' {
			return 0, 0
		}
		if v == 0xa0 {
			v = ' '
		} else if v > 0xff {
			v = '?'
		}
		return byte(v), i + 1
	}
	for _, e := range entities {
		if len(b) >= len(e.name) && string(b[:len(e.name)]) == e.name {
			return e.char, len(e.name)
		}
	}
	return 0, 0
}

package cache

import (
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// Control is what Cache-Control says. Ages are -1 when they are not stated.
type Control struct {
	noStore, noCache, private, public, mustRevalidate, proxyRevalidate, mustUnderstand bool
	immutable, onlyIfCached                                                            bool
	maxAge, sMaxAge, revalidate, ifError, minFresh, maxStale                           int64
	hides                                                                              []string // fields named by no-cache= and private=
	told                                                                               bool     // any freshness was stated, if badly
}

// most is the largest age that is told apart; RFC 9111 section 1.2.2 asks for
// 2^31 where a sender says more.
const most = 1 << 31

// parse reads all lines of a Cache-Control header (RFC 9111 section 5.2). What
// is not a directive is passed over; of one that stands twice with different
// ages the smaller holds, and an age that cannot be read is none at all (section
// 4.2.1: stale).
func parse(lines []string) Control {
	c := Control{maxAge: -1, sMaxAge: -1, revalidate: -1, ifError: -1, minFresh: -1, maxStale: -1}
	for _, line := range lines {
		for line != "" {
			var name, value string
			var has, quoted bool
			name, value, has, quoted, line = directive(line)
			c.set(strings.ToLower(name), value, has, quoted)
		}
	}
	return c
}

// directive cuts one directive off the front of a line.
func directive(s string) (name, value string, has, quoted bool, rest string) {
	end := strings.IndexAny(s, "=,")
	if end < 0 {
		return textproto.TrimString(s), "", false, false, ""
	}
	name = textproto.TrimString(s[:end])
	if s[end] == ',' {
		return name, "", false, false, s[end+1:]
	}
	s = s[end+1:]
	if t := strings.TrimLeft(s, " \t"); t != "" && t[0] == '"' {
		var b strings.Builder
		for i := 1; i < len(t); i++ {
			switch {
			case t[i] == '\\' && i+1 < len(t):
				i++
				b.WriteByte(t[i])
			case t[i] == '"':
				_, rest, _ = strings.Cut(t[i+1:], ",")
				return name, b.String(), true, true, rest
			default:
				b.WriteByte(t[i])
			}
		}
		return name, b.String(), true, true, "" // it does not end: what it hides is not a directive
	}
	value, rest, _ = strings.Cut(s, ",")
	return name, textproto.TrimString(value), true, false, rest
}

func (c *Control) set(name, value string, has, quoted bool) {
	switch name {
	case "no-store":
		c.noStore = true
	case "no-cache", "private":
		// A list of fields hides those only, where it can be read (section 5.2.2.4).
		if names := fieldNames(value); has && names != nil {
			c.hides = append(c.hides, names...)
		} else if name == "private" {
			c.private = true
		} else {
			c.noCache = true
		}
	case "public":
		c.public = true
	case "must-revalidate":
		c.mustRevalidate = true
	case "proxy-revalidate":
		c.proxyRevalidate = true
	case "must-understand":
		c.mustUnderstand = true
	case "immutable":
		c.immutable = true
	case "only-if-cached":
		c.onlyIfCached = true
	case "max-age":
		age(&c.maxAge, value)
		c.told = true
	case "s-maxage":
		age(&c.sMaxAge, value)
		c.told = true
	case "stale-while-revalidate":
		age(&c.revalidate, value)
	case "stale-if-error":
		age(&c.ifError, value)
	case "min-fresh":
		age(&c.minFresh, value)
	case "max-stale":
		if !has {
			value = strconv.Itoa(most)
		}
		age(&c.maxStale, value)
	}
}

func age(v *int64, s string) {
	n := max(seconds(s), 0)
	if *v < 0 || n < *v {
		*v = n
	}
}

// seconds reads delta-seconds; -1: it is none.
func seconds(s string) int64 {
	if s == "" {
		return -1
	}
	n := int64(0)
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
		if n = n*10 + int64(s[i]-'0'); n > most {
			n = most
		}
	}
	return n
}

// fieldNames reads a list of header names; nil: it is none.
func fieldNames(s string) (out []string) {
	for part := range strings.SplitSeq(s, ",") {
		if part = textproto.TrimString(part); part == "" {
			continue
		}
		for i := range len(part) {
			if c := part[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
				return nil
			}
		}
		out = append(out, http.CanonicalHeaderKey(part))
	}
	return out
}

// controlOf is what an answer says to this cache: in the first targeted header
// that it has and that can be read (RFC 9213 section 2.2), or in Cache-Control.
func controlOf(h http.Header, targeted []string) (c Control, isTargeted bool) {
	for _, name := range targeted {
		if lines := h[name]; len(lines) > 0 && dictionary(strings.Join(lines, ", ")) {
			return parse(lines), true
		}
	}
	c = parse(h["Cache-Control"])
	if len(h["Cache-Control"]) == 0 { // RFC 9111 section 5.4
		for _, v := range h["Pragma"] {
			c.noCache = c.noCache || strings.EqualFold(textproto.TrimString(v), "no-cache")
		}
	}
	return c, false
}

// dictionary reports whether s is a structured dictionary (RFC 9651 section
// 3.2) of keys alone, integers, tokens and plain strings: all that a cache
// directive can be.
func dictionary(s string) bool {
	for s != "" {
		name, value, has, quoted, rest := directive(s)
		if name == "" || strings.ToLower(name) != name || fieldNames(name) == nil {
			return false
		}
		if value, _, _ = strings.Cut(value, ";"); has && !quoted && fieldNames(strings.TrimPrefix(value, "?")) == nil {
			return false
		}
		s = rest
	}
	return true
}

// parseTime reads an HTTP date (RFC 9110 section 5.6.7); zero: it is none.
func parseTime(lines []string) time.Time {
	if len(lines) == 0 {
		return time.Time{}
	}
	t, err := http.ParseTime(lines[0])
	if err != nil {
		return time.Time{}
	}
	return t
}

// ageOf reads an Age header. One that is not a single number leaves the age
// unknown, and the answer is as old as can be: RFC 9111 section 5.1 would have it
// passed over, but an answer that has been on its way for who knows how long is
// better asked for again.
func ageOf(h http.Header) time.Duration {
	lines := h["Age"]
	if len(lines) == 0 {
		return 0
	}
	n := seconds(textproto.TrimString(lines[0]))
	if len(lines) > 1 || n < 0 {
		n = most
	}
	return time.Duration(n) * time.Second
}

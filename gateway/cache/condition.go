package cache

import (
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// Ask edits a copy of the request's header so that it asks whether e still
// holds, and for a whole answer where not (RFC 9111 section 4.3.1). set "" means
// that the header goes.
func (e *Entry) Ask(edit func(name, set string)) {
	for _, name := range []string{"If-None-Match", "If-Modified-Since", "If-Range", "Range", "If-Match", "If-Unmodified-Since"} {
		edit(name, "")
	}
	if e.etag != "" {
		edit("If-None-Match", e.etag)
	}
	if !e.modified.IsZero() {
		edit("If-Modified-Since", first(e.Header, "Last-Modified"))
	}
}

// Answer is how e answers a request with these conditions and ranges (RFC 9110
// sections 13 and 14): its status, the part of its body, and the Content-Range
// that goes with it.
func (e *Entry) Answer(method string, h http.Header) (status int, body []byte, contentRange string) {
	if e.Status == http.StatusOK && e.unchanged(h) {
		return http.StatusNotModified, nil, ""
	}
	if method == http.MethodHead {
		return e.Status, nil, ""
	}
	if lines := h["Range"]; len(lines) == 1 && method == http.MethodGet && e.Status == http.StatusOK && e.inRange(h) {
		switch from, to, ok, met := byteRange(lines[0], int64(len(e.Body))); {
		case !ok: // another unit, more than one range, or none at all: it may be left out of account
		case !met:
			return http.StatusRequestedRangeNotSatisfiable, nil, "bytes */" + strconv.Itoa(len(e.Body))
		default:
			return http.StatusPartialContent, e.Body[from : to+1],
				"bytes " + strconv.FormatInt(from, 10) + "-" + strconv.FormatInt(to, 10) + "/" + strconv.Itoa(len(e.Body))
		}
	}
	return e.Status, e.Body, ""
}

// unchanged evaluates If-None-Match, and If-Modified-Since where there is none
// (RFC 9110 section 13.2.2).
func (e *Entry) unchanged(h http.Header) bool {
	if lines := h["If-None-Match"]; len(lines) > 0 {
		for _, line := range lines {
			if tagIn(line, e.etag) {
				return true
			}
		}
		return false
	}
	if lines := h["If-Modified-Since"]; len(lines) == 1 {
		since := parseTime(lines)
		modified := e.modified
		if modified.IsZero() {
			modified = e.date // RFC 9111 section 4.3.2
		}
		return !since.IsZero() && !modified.After(since)
	}
	return false
}

// inRange evaluates If-Range, which wants a strong validator (RFC 9110 section 13.1.5).
func (e *Entry) inRange(h http.Header) bool {
	lines := h["If-Range"]
	switch {
	case len(lines) == 0:
		return true
	case len(lines) > 1:
		return false
	case strings.HasPrefix(lines[0], `"`):
		return lines[0] == e.etag
	}
	t := parseTime(lines)
	return !t.IsZero() && t.Equal(e.modified) && e.date.Sub(e.modified) >= 1e9
}

// validTag reports whether s is an entity tag (RFC 9110 section 8.8.3), or one
// written without quotes, as old servers do.
func validTag(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' && s[i] != ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != "" && len(s) <= 1024
}

// tagIn reports whether list, an If-None-Match, holds tag (weak comparison) or
// is *.
func tagIn(list, tag string) bool {
	if textproto.TrimString(list) == "*" {
		return true
	}
	if tag == "" {
		return false
	}
	weak := func(s string) string { return strings.TrimPrefix(s, "W/") }
	for list != "" {
		list = strings.TrimLeft(list, " \t,")
		start := 0
		if strings.HasPrefix(list, "W/") {
			start = 2
		}
		end := len(list)
		if start < len(list) && list[start] == '"' {
			if i := strings.IndexByte(list[start+1:], '"'); i >= 0 {
				end = start + i + 2
			}
		} else if i := strings.IndexAny(list, ", \t"); i >= 0 {
			end = i
		}
		if weak(list[:end]) == weak(tag) && end > 0 {
			return true
		}
		list = list[end:]
	}
	return false
}

// byteRange reads a Range of one part (RFC 9110 section 14.1.2) against a
// length. ok: it is one; met: the length has it.
func byteRange(s string, length int64) (from, to int64, ok, met bool) {
	unit, set, has := strings.Cut(s, "=")
	if !has || !strings.EqualFold(textproto.TrimString(unit), "bytes") || strings.Contains(set, ",") {
		return 0, 0, false, false
	}
	a, b, has := strings.Cut(textproto.TrimString(set), "-")
	if !has || len(a) > 18 || len(b) > 18 {
		return 0, 0, false, false
	}
	if a == "" {
		n := decimal(b)
		if n < 0 {
			return 0, 0, false, false
		}
		return max(length-n, 0), length - 1, true, n > 0 && length > 0
	}
	from, to = decimal(a), length-1
	if b != "" {
		if to = decimal(b); to < 0 {
			return 0, 0, false, false
		}
	}
	if from < 0 || b != "" && to < from {
		return 0, 0, false, false
	}
	return from, min(to, length-1), true, from < length
}

func decimal(s string) int64 {
	n := int64(0)
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
		n = n*10 + int64(s[i]-'0')
	}
	if s == "" {
		return -1
	}
	return n
}

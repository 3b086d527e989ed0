package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// An Entry is one stored answer. It is immutable and shared: nobody changes its
// header or body.
type Entry struct {
	Status int
	Header http.Header // without what concerns one hop; with Date
	Body   []byte

	control  Control
	lifetime time.Duration
	initial  time.Duration // corrected initial age (RFC 9111 section 4.2.3)
	at       time.Time     // when the answer came
	date     time.Time
	modified time.Time // Last-Modified, zero: none
	etag     string
	vary     []string
	varied   string // values of the request's fields that vary names
	scope    string
	tags     []string

	// of the store
	key   string // the target
	size  int64
	uses  atomic.Int32
	queue *queue
	prev  *Entry
	next  *Entry
}

// Age is how old the answer is. It counts by the monotonic clock where there is
// one; a clock that has gone back makes the entry older than it can be, never
// younger.
func (e *Entry) Age(now time.Time) time.Duration {
	resident := now.Sub(e.at)
	if resident < 0 {
		return most * time.Second
	}
	return e.initial + resident
}

// Fresh is for how long the answer is fresh yet; negative: since when it is stale.
func (e *Entry) Fresh(now time.Time) time.Duration {
	return e.lifetime - e.Age(now)
}

// Validates reports whether the upstream can be asked if the answer still holds.
func (e *Entry) Validates() bool { return e.etag != "" || !e.modified.IsZero() }

// Size is how many bytes the entry is counted with.
func (e *Entry) Size() int64 { return e.size }

// newEntry is an answer with all that is derived of it. asked and now are when
// the request went out and the answer's head came.
func newEntry(status int, h http.Header, body []byte, q *Request, r *Rules, asked, now time.Time) *Entry {
	e := &Entry{Status: status, Header: h, Body: body, at: now}
	e.control, _ = controlOf(h, r.Targeted)
	e.date = parseTime(h["Date"])
	if e.date.IsZero() {
		e.date = now.UTC().Truncate(time.Second)
		h["Date"] = []string{e.date.Format(http.TimeFormat)}
	}
	apparent := max(now.Sub(e.date), 0) // by the wall clock: a parsed time has no other
	delay := max(now.Sub(asked), 0)
	e.initial = max(apparent.Truncate(time.Second), ageOf(h)+delay)
	e.modified = parseTime(h["Last-Modified"])
	if tag := first(h, "Etag"); validTag(tag) {
		e.etag = tag
	}
	e.lifetime = min(e.stated(r), r.Longest)
	e.vary, _ = varyOf(h)
	e.varied = varied(e.vary, q.Header)
	for _, name := range r.Tags {
		for _, v := range h[name] {
			e.tags = append(e.tags, strings.FieldsFunc(v, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' })...)
		}
	}
	if len(e.tags) > maxTags {
		e.tags = e.tags[:maxTags]
	}
	return e
}

const (
	maxTags     = 64
	maxVary     = 16
	maxVariants = 64 // of one target and scope
)

// stated is the lifetime that the answer or the rules give it (RFC 9111 section
// 4.2.1), for a shared cache.
func (e *Entry) stated(r *Rules) time.Duration {
	c := &e.control
	switch {
	case c.noCache:
		return 0
	case c.sMaxAge >= 0:
		return time.Duration(c.sMaxAge) * time.Second
	case c.maxAge >= 0:
		return time.Duration(c.maxAge) * time.Second
	case len(e.Header["Expires"]) > 0:
		// One that cannot be read, or of two that differ the second, means stale.
		expires := parseTime(e.Header["Expires"])
		if expires.IsZero() || len(e.Header["Expires"]) > 1 {
			return 0
		}
		return max(expires.Sub(e.date), 0)
	case r.Lifetime > 0:
		return r.Lifetime
	case r.Heuristic && !e.modified.IsZero() && (c.public || slices.Contains(heuristically, e.Status)):
		return min(max(e.date.Sub(e.modified)/10, 0), 24*time.Hour)
	}
	return 0
}

// explicit reports whether the answer itself says how long it is fresh.
func explicit(c *Control, h http.Header) bool {
	return c.sMaxAge >= 0 || c.maxAge >= 0 || len(h["Expires"]) > 0
}

// heuristically are the statuses that RFC 9110 section 15.1 lets a cache guess
// about.
var heuristically = []int{200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501}

func first(h http.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// varyOf gives the fields that an answer varies by, sorted and once each; false:
// by something that no request can show again.
func varyOf(h http.Header) ([]string, bool) {
	var names []string
	for _, line := range h["Vary"] {
		for part := range strings.SplitSeq(line, ",") {
			if part = textproto.TrimString(part); part == "" {
				continue
			}
			name := http.CanonicalHeaderKey(part)
			if part == "*" || fieldNames(part) == nil {
				return nil, false
			}
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if len(names) > maxVary {
		return nil, false
	}
	slices.Sort(names)
	return names, true
}

// secret are request headers whose values are compared by their hash, so that
// none is kept.
func secret(name string) bool {
	switch name {
	case "Authorization", "Cookie", "Proxy-Authorization", "Dpop":
		return true
	}
	l := strings.ToLower(name)
	return strings.Contains(l, "key") || strings.Contains(l, "token") || strings.Contains(l, "auth") || strings.Contains(l, "session") || strings.Contains(l, "secret")
}

// varied writes down the values of fields: lines put together, space around
// them left out (RFC 9111 section 4.1), nothing else made alike. A field that is
// not there differs from an empty one.
func varied(names []string, h http.Header) string {
	if len(names) == 0 {
		return ""
	}
	var b strings.Builder
	for _, name := range names {
		lines, there := h[name]
		b.WriteString(name)
		if !there || len(lines) == 0 {
			b.WriteString("\x00-\x00")
			continue
		}
		b.WriteString("\x00+")
		var v strings.Builder
		for i, line := range lines {
			if i > 0 {
				v.WriteString(", ")
			}
			v.WriteString(textproto.TrimString(line))
		}
		if secret(name) {
			sum := sha256.Sum256([]byte(v.String()))
			b.WriteString(hex.EncodeToString(sum[:]))
		} else {
			b.WriteString(v.String())
		}
		b.WriteString("\x00")
	}
	return b.String()
}

// matches reports whether the entry answers a request with these fields.
func (e *Entry) matches(h http.Header) bool {
	return len(e.vary) == 0 || varied(e.vary, h) == e.varied
}

// cost is what the entry is counted with: body, head, keys and what holds them.
func (e *Entry) cost() int64 {
	n := int64(len(e.Body) + len(e.key) + len(e.scope) + len(e.varied) + 512)
	for name, values := range e.Header {
		n += int64(len(name) + 48)
		for _, v := range values {
			n += int64(len(v) + 16)
		}
	}
	for _, t := range e.tags {
		n += int64(len(t) + 16)
	}
	return n
}

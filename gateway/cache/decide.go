package cache

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Use is what a stored answer is good for.
type Use uint8

// The uses.
const (
	Miss     Use = iota // there is none, or it is not for this request
	Hit                 // give it
	Stale               // give it, and ask for it anew
	Validate            // ask the upstream whether it still holds
	Nothing             // the request takes a stored answer or none: 504
)

// Pass says why a request cannot be answered from the store nor its answer be
// kept, whatever is stored; OK: it can be looked up.
func Pass(q *Request, hasBody bool) Reason {
	h := q.Header
	switch {
	case q.Method != http.MethodGet && q.Method != http.MethodHead:
		return ByMethod
	case hasBody:
		return ByBody
	case ambiguous(q.Target):
		return ByPath
	case len(h["If-Match"]) > 0 || len(h["If-Unmodified-Since"]) > 0:
		return ByPrecond
	}
	return OK
}

// ambiguous reports whether a target's path has a second reading: one that hides
// a delimiter, a dot segment or a control byte behind an escape, or holds what
// some servers cut a path at. What is asked for by such a path is not known
// (cache deception), and so nothing is kept under it.
func ambiguous(target string) bool {
	path, _, _ := strings.Cut(target, "?")
	if !strings.HasPrefix(path, "/") {
		return true
	}
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == ';' || c == '\\' || c == '#' || c <= ' ' || c >= 0x7f:
			return true
		case c == '/' && i+1 < len(path) && path[i+1] == '/':
			return true
		case c == '.' && path[i-1] == '/':
			rest := strings.TrimPrefix(path[i+1:], ".")
			if rest == "" || rest[0] == '/' {
				return true
			}
		case c == '%':
			if i+2 >= len(path) {
				return true
			}
			hi, lo := unhex(path[i+1]), unhex(path[i+2])
			if hi < 0 || lo < 0 {
				return true
			}
			switch d := byte(hi<<4 | lo); {
			case d < ' ' || d == 0x7f || strings.IndexByte("/\\.;?#%", d) >= 0:
				return true
			}
		}
	}
	return false
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// Decide says what e, which Lookup has given or which is nil, is good for.
func Decide(e *Entry, q *Request, r *Rules, now time.Time) Use {
	asks := Control{maxAge: -1, minFresh: -1, maxStale: -1}
	if r.Client {
		if lines := q.Header["Cache-Control"]; len(lines) > 0 {
			asks = parse(lines)
		} else if strings.EqualFold(first(q.Header, "Pragma"), "no-cache") {
			asks.noCache = true
		}
	}
	missing := Miss
	if asks.onlyIfCached {
		missing = Nothing
	}
	if e == nil {
		return missing
	}
	fresh := e.Fresh(now)
	immutable := e.control.immutable && fresh > 0 && e.control.maxAge >= 0
	old := asks.noCache && !immutable || asks.maxAge >= 0 && e.Age(now) > time.Duration(asks.maxAge)*time.Second && !immutable ||
		asks.minFresh >= 0 && fresh < time.Duration(asks.minFresh)*time.Second
	switch {
	case !old && fresh > 0 && !e.control.noCache:
		return Hit
	case !old && asks.maxStale >= 0 && e.mayBeStale() && -fresh <= time.Duration(asks.maxStale)*time.Second:
		return Hit
	case !old && e.StaleWhile(r, now):
		return Stale
	case asks.onlyIfCached:
		return Nothing
	case e.Validates():
		return Validate
	}
	return Miss
}

// mayBeStale reports whether nothing in the answer forbids to give it stale
// (RFC 9111 section 4.2.4; s-maxage means proxy-revalidate, section 5.2.2.10).
func (e *Entry) mayBeStale() bool {
	c := &e.control
	return !c.mustRevalidate && !c.proxyRevalidate && !c.noCache && c.sMaxAge < 0
}

// StaleWhile reports whether the entry may be given while it is asked for anew
// (RFC 5861 section 3).
func (e *Entry) StaleWhile(r *Rules, now time.Time) bool {
	return e.mayBeStale() && within(e.control.revalidate, r.Revalidate, -e.Fresh(now))
}

// StaleOnError reports whether the entry may be given because the upstream
// fails (RFC 5861 section 4).
func (e *Entry) StaleOnError(r *Rules, now time.Time) bool {
	return e.mayBeStale() && within(e.control.ifError, r.Error, -e.Fresh(now))
}

func within(stated int64, otherwise, stale time.Duration) bool {
	if stated >= 0 {
		otherwise = time.Duration(stated) * time.Second
	}
	return otherwise > 0 && stale <= otherwise
}

// steering are request headers by which upstreams are known to choose what they
// answer with, and that caches are known to forget (web cache poisoning). An
// answer to a request with one is kept only where the header is part of the key.
var steering = []string{"x-forwarded-", "x-original-", "x-rewrite-", "x-override-", "x-http-method", "x-method", "x-http-", "x-host", "x-proxy-", "x-backend-"}

var steeringExact = map[string]bool{"Forwarded": true, "X-Url": true, "X-Uri": true, "X-Path": true, "X-Port": true, "X-Scheme": true, "X-Server": true, "Base-Url": true,
	"Request-Uri": true, "Destination": true, "X-Wap-Profile": true, "Translate": true, "X-Amz-Website-Redirect-Location": true}

func steers(name string) bool {
	if steeringExact[name] {
		return true
	}
	if len(name) < 6 || name[0] != 'X' && name[0] != 'x' {
		return false
	}
	l := strings.ReplaceAll(strings.ToLower(name), "_", "-")
	return slices.ContainsFunc(steering, func(p string) bool { return strings.HasPrefix(l, p) })
}

// Steered reports whether the request carries such a header, unless sent says
// that the upstream never sees it.
func Steered(q *Request, keyed []string, sent func(name string) bool) bool {
	for name := range q.Header {
		if steers(name) && !slices.Contains(keyed, name) && sent(name) {
			return true
		}
	}
	return false
}

// Storable says whether an answer may be kept (RFC 9111 section 3), and for
// whom: everyone (scope "") or q.Caller.
func Storable(q *Request, r *Rules, status int, h http.Header, now time.Time) (scope string, why Reason) {
	c, _ := controlOf(h, r.Targeted)
	stale := Control{}
	if r.Client {
		stale = parse(q.Header["Cache-Control"])
	}
	noStore := c.noStore && !(c.mustUnderstand && slices.Contains(understood, status))
	vary, known := varyOf(h)
	shared := c.public || c.sMaxAge >= 0 || c.mustRevalidate
	switch {
	case q.Method != http.MethodGet:
		return "", ByMethod
	case len(q.Header["Range"]) > 0 || status == http.StatusPartialContent:
		return "", ByRange
	case !slices.Contains(r.Statuses, status):
		return "", ByStatus
	case noStore:
		return "", ByNoStore
	case stale.noStore:
		return "", ByRequest
	case !known || q.unlike(vary):
		return "", ByVary
	case len(h["Set-Cookie"])+len(h["Set-Cookie2"]) > 0 && !r.SetCookie:
		return "", ByCookie
	case len(h["Content-Length"]) > 1 || len(h["Content-Type"]) > 1 || len(h["Location"]) > 1:
		return "", BySplit
	case strings.HasPrefix(first(h, "Content-Type"), "text/event-stream"):
		return "", ByContract // it has no end
	case r.DescribesIt != nil && !r.DescribesIt(status, first(h, "Content-Type")):
		return "", ByContract
	}
	switch {
	case !c.private && (!q.Credentialed || shared):
	case r.Private && q.Caller != "":
		scope = q.Caller
	case c.private:
		return "", ByPrivate
	default:
		return "", ByCredential
	}
	if scope == "" && q.Credentialed && slices.ContainsFunc(vary, secret) {
		return "", ByVary // it would be used by the same credential only
	}
	// Without a lifetime it is worth its room only where it can be asked for
	// whether it still holds.
	validates := validTag(first(h, "Etag")) || !parseTime(h["Last-Modified"]).IsZero()
	guessable := c.public || c.private || slices.Contains(heuristically, status)
	if !explicit(&c, h) && !(guessable && (validates || r.Lifetime > 0)) {
		return "", ByLifetime
	}
	return scope, OK
}

// understood are the statuses whose rules this cache knows (RFC 9111 section
// 5.2.2.3).
var understood = []int{200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 403, 404, 405, 410, 414, 500, 501, 502, 503, 504}

package http1

import (
	"bytes"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// The rules of the request line and of what a request may ask (RFC 9112 §3).
var (
	vLine         = &violation{400, "line.syntax", "the request line is not method, target and version with one blank between (RFC 9112 §3)"}
	vMethod       = &violation{400, "method.token", "the method is no token (RFC 9110 §9.1)"}
	vMethodLong   = &violation{501, "method.long", "the method is longer than any known one (RFC 9112 §3)"}
	vConnect      = &violation{501, "method.connect", "no tunnels here (RFC 9110 §9.3.6)"}
	vTraceBody    = &violation{400, "method.trace-body", "TRACE with a body (RFC 9110 §9.3.8)"}
	vVersionNone  = &violation{400, "version.missing", "a request line without a version, as in HTTP/0.9"}
	vVersion      = &violation{400, "version.syntax", "the version is not HTTP/x.y (RFC 9112 §2.3)"}
	vVersionOther = &violation{505, "version.unsupported", "neither HTTP/1.1 nor HTTP/1.0 (RFC 9110 §15.6.6)"}
	vPreface      = &violation{505, "version.h2-preface", "HTTP/2 was not agreed on (RFC 9113 §3.4)"}
	vNotHTTP      = &violation{400, "line.not-http", "the first byte starts no request: TLS on a plain port, or another protocol"}
	vTarget       = &violation{400, "target.syntax", "a byte that may not stand in a target (RFC 9112 §3.2)"}
	vFragment     = &violation{400, "target.fragment", "a target with a fragment (RFC 9112 §3.2)"}
	vTargetForm   = &violation{400, "target.form", "a target that is neither a path nor an http URI (RFC 9112 §3.2)"}
	vAsterisk     = &violation{400, "target.asterisk", "* is for OPTIONS only (RFC 9112 §3.2.4)"}
	vForeign      = &violation{400, "target.host", "the target's authority is not the Host header's (RFC 9112 §3.2.2)"}
	vTargetLong   = &violation{414, "target.long", "the target is too long (RFC 9110 §15.5.15)"}
	vHostNone     = &violation{400, "host.missing", "no Host header (RFC 9112 §3.2)"}
	vHostTwice    = &violation{400, "host.twice", "Host more than once (RFC 9112 §3.2)"}
	vHost         = &violation{400, "host.syntax", "Host is no host with an optional port (RFC 9110 §7.2)"}
	vExpect       = &violation{417, "expect.unknown", "an expectation other than 100-continue (RFC 9110 §10.1.1)"}
	vUpgradeBody  = &violation{400, "upgrade.body", "an upgrade with a body (RFC 6455 §4.1)"}
	vBodyBytes    = &violation{413, "body.bytes", "the body is too long (RFC 9110 §15.5.14)"}
	vHeadSlow     = &violation{408, "header.slow", "the header took too long (RFC 9110 §15.5.9)"}
	vHeadShort    = &violation{400, "header.short", "the connection ended inside a header (RFC 9112 §8)"}
	vBodySlow     = &violation{408, "body.slow", "the body took too long (RFC 9110 §15.5.9)"}
)

const maxMethod = 32

// requestLine is a request's first line: offsets into the head.
type requestLine struct {
	method, target, targetEnd int // method is [0:method], target is [target:targetEnd]
	minor                     int
}

// parse reads b, the line without its CRLF (RFC 9112 §3).
func (l *requestLine) parse(b []byte, maxTarget int) *violation {
	i := bytes.IndexByte(b, ' ')
	if i < 0 {
		i = len(b)
	}
	if !isToken(b[:i]) {
		return vMethod
	}
	if i > maxMethod {
		return vMethodLong
	}
	if i == len(b) {
		return vLine
	}
	l.method, l.target = i, i+1
	rest := b[i+1:]
	j := bytes.IndexByte(rest, ' ')
	if j < 0 {
		l.targetEnd = len(b)
		if len(rest) > maxTarget {
			return vTargetLong
		}
		if len(rest) == 0 {
			return vLine
		}
		return vVersionNone
	}
	l.targetEnd = i + 1 + j
	if j > maxTarget {
		return vTargetLong
	}
	version := rest[j+1:]
	switch {
	case j == 0:
		return vLine
	case string(version) == "HTTP/1.1":
		l.minor = 1
	case string(version) == "HTTP/1.0":
		l.minor = 0
	case len(version) == 8 && string(version[:5]) == "HTTP/" && version[5]-'0' < 10 && version[6] == '.' && version[7]-'0' < 10:
		if string(b) == "PRI * HTTP/2.0" {
			return vPreface
		}
		return vVersionOther
	case bytes.IndexByte(version, ' ') >= 0 || len(version) == 0:
		return vLine
	default:
		return vVersion
	}
	return nil
}

// In targets: bytes that may stand in a path, and those that besides may stand
// in a query. RFC 3986 §3.3 and §3.4, and in the query what browsers and curl
// send raw all the same; never a byte that some reader takes for another
// (backslash, whitespace, controls, non-ASCII).
const (
	inPath  = 1
	inQuery = 2
)

var targetByte = func() (t [256]byte) {
	for _, c := range "-._~!$&'()*+,;=:@%/0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		t[c] = inPath | inQuery
	}
	for _, c := range "[]|" {
		t[c] = inPath | inQuery
	}
	for _, c := range "?\"<>^`{}" {
		t[c] = inQuery
	}
	return
}()

// ValidTarget reports whether t is a path with or without a query, or "*", as
// this package reads and writes it. Fronts that are not this package's ask
// before they pass a request on, for the fault is the client's and no upstream's.
func ValidTarget(t string) bool {
	if t == "*" {
		return true
	}
	if t == "" || t[0] != '/' {
		return false
	}
	kind := byte(inPath)
	for i := 0; i < len(t); i++ {
		switch {
		case targetByte[t[i]]&kind != 0:
		case t[i] == '?':
			kind = inQuery
		default:
			return false
		}
	}
	return true
}

// target reads a target into u and gives back its origin form. Absolute form
// must name the host that the Host header names (checked by the caller with
// authority), since two hosts would be two readings.
func target(method, t string, u *url.URL) (origin, authority string, v *violation) {
	*u = url.URL{}
	switch {
	case method == http.MethodConnect:
		return "", "", vConnect
	case t == "*":
		if method != http.MethodOptions {
			return "", "", vAsterisk
		}
		u.Path = "*"
		return t, "", nil
	case t[0] == '/':
		origin = t
	default:
		scheme, rest, ok := strings.Cut(t, "://")
		if !ok || !equalFold(scheme, "http") && !equalFold(scheme, "https") {
			for i := 0; i < len(t); i++ {
				if targetByte[t[i]] == 0 && t[i] != '#' {
					return "", "", vTarget
				}
			}
			return "", "", vTargetForm
		}
		n := strings.IndexAny(rest, "/?#")
		if n < 0 {
			n = len(rest)
		}
		authority, origin = rest[:n], rest[n:]
		if !validHost(authority) {
			return "", "", vTargetForm
		}
		port := ":80"
		if len(scheme) == len("https") {
			port = ":443"
		}
		authority = strings.TrimSuffix(authority, port)
		if origin == "" || origin[0] != '/' { // RFC 9112 §3.2.1: an empty path is "/"
			origin = "/" + origin
		}
	}
	query, kind, escaped := -1, byte(inPath), false
	for i := 0; i < len(origin); i++ {
		c := origin[i]
		if targetByte[c]&kind != 0 {
			escaped = escaped || c == '%' && query < 0
			continue
		}
		switch {
		case c == '?':
			query, kind = i, inQuery
		case c == '#':
			return "", "", vFragment
		default:
			return "", "", vTarget
		}
	}
	u.Path = origin
	if query >= 0 {
		u.Path, u.RawQuery = origin[:query], origin[query+1:]
		u.ForceQuery = u.RawQuery == ""
	}
	if escaped {
		// An invalid escape is the guard's to judge: it is left as it stands.
		if p, err := url.PathUnescape(u.Path); err == nil {
			u.Path, u.RawPath = p, u.Path
		}
	}
	return origin, authority, nil
}

// hostByte is what a registered name may hold here: RFC 3986 §3.2.2 without
// percent-encoding and sub-delimiters, which no real name has.
var hostByte = func() (t [256]bool) {
	for _, c := range "-._~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		t[c] = true
	}
	return
}()

// validHost checks uri-host [":" port] (RFC 9110 §7.2).
func validHost(h string) bool {
	port := ""
	if strings.HasPrefix(h, "[") {
		end := strings.IndexByte(h, ']')
		if end < 0 {
			return false
		}
		if ip, err := netip.ParseAddr(h[1:end]); err != nil || !ip.Is6() || ip.Zone() != "" {
			return false
		}
		port = h[end+1:]
	} else {
		i := 0
		for i < len(h) && hostByte[h[i]] {
			i++
		}
		if i == 0 || i > 255 || h[0] == '.' {
			return false
		}
		port = h[i:]
	}
	if port == "" {
		return true
	}
	if port[0] != ':' {
		return false
	}
	n, ok := decimal(port[1:])
	return ok && n > 0 && n < 1<<16
}

// single names request fields that may stand once: to a reader that takes the
// first and one that takes the last, two of them are two requests.
func single(name string) bool {
	switch name {
	case "Authorization", "Content-Encoding", "Content-Location", "Content-Range", "Content-Type", "Dpop", "Expect", "From", "Idempotency-Key", "If-Modified-Since", "If-Range", "If-Unmodified-Since",
		"Max-Forwards", "Origin", "Proxy-Authorization", "Range", "Referer", "Sec-Websocket-Key", "Sec-Websocket-Version", "Upgrade", "User-Agent", "X-Http-Method-Override":
		return true
	}
	return false
}

// check applies, after the syntax, the rules that concern a request's fields
// as a whole.
func (f *fields) check(method string, minor int, authority string, upgrades []string) *violation {
	if f.hosts > 1 {
		return vHostTwice
	}
	if f.hosts == 0 && (minor > 0 || authority != "") {
		return vHostNone
	}
	if f.hosts == 1 && !validHost(f.host) {
		return vHost
	}
	if authority != "" && !sameHost(authority, f.host) {
		return vForeign
	}
	if v := f.framing(minor); v != nil {
		return v
	}
	if f.repeated {
		for name, vs := range f.h {
			if len(vs) > 1 && single(name) {
				return vDuplicate
			}
		}
	}
	if f.underscore {
		if v := f.checkUnderscores(); v != nil {
			return v
		}
	}
	if f.connection {
		if v := f.options(f.nominated); v != nil {
			return v
		}
	}
	if method == http.MethodTrace && (f.length > 0 || f.chunked) {
		return vTraceBody
	}
	if f.upgrade != "" {
		if v := f.checkUpgrade(method, minor, upgrades); v != nil {
			return v
		}
	}
	return nil
}

// nominated judges an option of Connection that stands for a field: naming one
// that is meant for everybody would have the next hop strip it.
func (f *fields) nominated(option string) *violation {
	name := http.CanonicalHeaderKey(option)
	if hopByHop(name) && name != "Transfer-Encoding" && name != "Connection" {
		return nil
	}
	if _, present := f.h[name]; present || significant(name) {
		return vNominates
	}
	return nil
}

// checkUnderscores refuses names that an upstream which maps both _ and - to
// one (CGI and its heirs) would take for another field.
func (f *fields) checkUnderscores() *violation {
	for name := range f.h {
		if strings.IndexByte(name, '_') < 0 {
			continue
		}
		twin := hyphens(name)
		if _, present := f.h[twin]; present || significant(twin) || hopByHop(twin) {
			return vUnderscore
		}
		for other := range f.h {
			if other != name && strings.IndexByte(other, '_') >= 0 && hyphens(other) == twin {
				return vUnderscore
			}
		}
	}
	return nil
}

// checkUpgrade lets an Upgrade field pass only as the request to upgrade that
// it is, for a protocol that is served here; all others are ignored
// (RFC 9110 §7.8), that is: nobody further on sees them.
func (f *fields) checkUpgrade(method string, minor int, upgrades []string) *violation {
	if f.upgrading && minor > 0 && method == http.MethodGet {
		for _, p := range upgrades {
			if !equalFold(f.upgrade, p) {
				continue
			}
			if f.length > 0 || f.chunked {
				return vUpgradeBody
			}
			return nil
		}
	}
	f.upgrading = false
	delete(f.h, "Upgrade")
	delete(f.h, "Http2-Settings")
	return nil
}

// sameHost compares an absolute form's authority, its default port already cut, with Host.
func sameHost(authority, host string) bool {
	return strings.EqualFold(authority, host) ||
		strings.EqualFold(authority, strings.TrimSuffix(host, ":80")) || strings.EqualFold(authority, strings.TrimSuffix(host, ":443"))
}

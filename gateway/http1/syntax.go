package http1

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"strings"
)

// A violation is a broken rule: the status that a server answers with, its
// stable name and a text for people.
type violation struct {
	status int
	rule   string
	detail string
}

func (v *violation) Error() string { return v.rule + ": " + v.detail }

// The rules of a head's lines and fields, which both sides keep (RFC 9112 §2.2, §5; RFC 9110 §5.1, §5.5).
var (
	vBareLF       = &violation{400, "line.bare-lf", "a line ends with LF alone (RFC 9112 §2.2)"}
	vLines        = &violation{431, "header.lines", "too many header lines (RFC 6585 §5)"}
	vHeadBytes    = &violation{431, "header.bytes", "the header is too long (RFC 6585 §5)"}
	vLeadingSpace = &violation{400, "header.leading-space", "whitespace before the first header line (RFC 9112 §2.2)"}
	vFold         = &violation{400, "header.fold", "a folded header line (RFC 9112 §5.2)"}
	vNameEmpty    = &violation{400, "header.name-empty", "a header line without a name (RFC 9112 §5)"}
	vNameSpace    = &violation{400, "header.space-before-colon", "whitespace between name and colon (RFC 9112 §5.1)"}
	vName         = &violation{400, "header.name", "a header name that is no token (RFC 9110 §5.1)"}
	vNoColon      = &violation{400, "header.no-colon", "a header line without a colon (RFC 9112 §5)"}
	vValue        = &violation{400, "header.value", "a control byte in a header value (RFC 9110 §5.5)"}
	vDuplicate    = &violation{400, "header.duplicate", "a header field that may stand once stands twice (RFC 9110 §5.3)"}
	vUnderscore   = &violation{400, "header.underscore", "a header name that others read as one with hyphens"}
	vConnection   = &violation{400, "connection.syntax", "the Connection header is no list of tokens (RFC 9110 §7.6.1)"}
	vNominates    = &violation{400, "connection.nominates", "the Connection header names a field meant for everybody (RFC 9110 §7.6.1)"}
)

// The rules of framing (RFC 9112 §6).
var (
	vCLTE        = &violation{400, "framing.cl-te", "both Content-Length and Transfer-Encoding (RFC 9112 §6.1)"}
	vCLTwice     = &violation{400, "framing.cl-twice", "Content-Length more than once (RFC 9112 §6.3)"}
	vCL          = &violation{400, "framing.cl", "Content-Length is no plain decimal number (RFC 9110 §8.6)"}
	vTETwice     = &violation{400, "framing.te-twice", "Transfer-Encoding more than once (RFC 9112 §6.1)"}
	vTEEmpty     = &violation{400, "framing.te", "Transfer-Encoding is no token (RFC 9112 §6.1)"}
	vTEUnknown   = &violation{501, "framing.te-unknown", "a transfer coding other than chunked (RFC 9112 §6.1)"}
	vTEOld       = &violation{400, "framing.te-1.0", "Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1)"}
	vChunkSize   = &violation{400, "chunk.size", "a chunk size that is no plain hexadecimal number (RFC 9112 §7.1)"}
	vChunkExt    = &violation{400, "chunk.extension", "a chunk extension (RFC 9112 §7.1.1)"}
	vChunkEnd    = &violation{400, "chunk.end", "a chunk that does not end where its size says (RFC 9112 §7.1)"}
	vChunkLine   = &violation{400, "chunk.line", "a chunk line that is too long (RFC 9112 §7.1)"}
	vChunkWaste  = &violation{400, "chunk.overhead", "far more chunk framing than content"}
	vTrailer     = &violation{400, "trailer.forbidden", "a trailer field that belongs in the header (RFC 9110 §6.5.1)"}
	vTrailerSize = &violation{431, "trailer.bytes", "the trailer section is too long"}
	vShort       = &violation{400, "body.short", "the body ended early (RFC 9112 §8)"}
)

// token holds, for each byte that may stand in a token (RFC 9110 §5.6.2), itself.
var token = func() (t [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		t[c] = true
	}
	return
}()

func isToken[T string | []byte](s T) bool {
	for i := 0; i < len(s); i++ {
		if !token[s[i]] {
			return false
		}
	}
	return len(s) > 0
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// cleanValue reports whether v is a field value: no control byte but HTAB
// (RFC 9110 §5.5). Eight bytes at a time; the odd tab takes the slow way.
func cleanValue(v []byte) bool {
	for len(v) >= 8 {
		x := binary.LittleEndian.Uint64(v)
		d := x ^ 0x7f*ones
		if ((x-0x20*ones)&^x|(d-ones)&^d)&highs != 0 {
			break
		}
		v = v[8:]
	}
	for _, c := range v {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func cleanString(v string) bool {
	for i := 0; i < len(v); i++ {
		if c := v[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// A scan finds the lines of a head in a buffer that grows. Offsets are
// relative to the head's first byte.
type scan struct {
	ends []int // of each line: where its CR stands
	next int   // first byte not looked at
	line int   // first byte of the line being looked for
}

func (s *scan) reset() { s.ends, s.next, s.line = s.ends[:0], 0, 0 }

// find looks at b, the head so far, and returns the length of the whole head
// with its empty line, or 0 when more is needed.
func (s *scan) find(b []byte, maxLines int) (int, *violation) {
	for {
		i := bytes.IndexByte(b[s.next:], '\n')
		if i < 0 {
			s.next = len(b)
			return 0, nil
		}
		i += s.next
		if i == s.line || b[i-1] != '\r' {
			return 0, vBareLF
		}
		s.next = i + 1
		if i-1 == s.line {
			return i + 1, nil
		}
		if len(s.ends) >= maxLines {
			return 0, vLines
		}
		s.ends = append(s.ends, i-1)
		s.line = i + 1
	}
}

// field reads the header line b[from:end], writes its name in canonical form
// over itself, and returns where the name ends and where the value lies.
func field(b []byte, from, end int, first bool) (name, start, stop int, underscore bool, v *violation) {
	if c := b[from]; c == ' ' || c == '\t' {
		if first {
			return 0, 0, 0, false, vLeadingSpace
		}
		return 0, 0, 0, false, vFold
	}
	i, upper := from, true
	for ; i < end; i++ {
		c := b[i]
		if !token[c] {
			break
		}
		switch {
		case upper && 'a' <= c && c <= 'z':
			b[i] = c - 'a' + 'A'
		case !upper && 'A' <= c && c <= 'Z':
			b[i] = c - 'A' + 'a'
		case c == '_':
			underscore = true
		}
		upper = c == '-'
	}
	switch {
	case i == end:
		return 0, 0, 0, false, vNoColon
	case b[i] == ':' && i == from:
		return 0, 0, 0, false, vNameEmpty
	case b[i] == ':':
	case (b[i] == ' ' || b[i] == '\t') && bytes.IndexByte(b[i:end], ':') == len(b[i:end])-len(bytes.TrimLeft(b[i:end], " \t")):
		return 0, 0, 0, false, vNameSpace
	default:
		return 0, 0, 0, false, vName
	}
	start, stop = i+1, end
	for start < stop && (b[start] == ' ' || b[start] == '\t') {
		start++
	}
	for start < stop && (b[stop-1] == ' ' || b[stop-1] == '\t') {
		stop--
	}
	if !cleanValue(b[start:stop]) {
		return 0, 0, 0, false, vValue
	}
	return i, start, stop, underscore, nil
}

// span says where a field lies: its first byte, the end of its name, its value.
type span struct{ from, name, start, stop int }

// fields is a head's header section as it is read: the header map and what the
// framing and the connection follow from.
type fields struct {
	h     http.Header
	vals  []string // backs the map's values
	spans []span

	length     int64 // -1 without Content-Length
	te         string
	hosts      int
	host       string
	expect     string
	upgrade    string
	connection bool // there is a Connection field
	trailer    bool // there is a Trailer field
	chunked    bool
	close      bool // options of Connection
	keepAlive  bool
	upgrading  bool
	tes        int
	cls        int
	underscore bool // some name holds an underscore
	repeated   bool // some name stands more than once
	answer     bool // fields that concern one hop only stay out of the map
	trailers   []string
}

// reset forgets the last head. A map that a large head has swollen is not kept.
func (f *fields) reset() {
	h, vals, spans := f.h, f.vals, f.spans
	if h == nil || len(h) > 64 {
		h = make(http.Header, 8)
	} else {
		clear(h)
	}
	*f = fields{h: h, vals: vals[:0], spans: spans, length: -1}
}

// add puts one field into the map. The values of the map share one array,
// each capped, so that appending to one never overwrites another.
func (f *fields) add(name, value string) {
	if old, ok := f.h[name]; ok {
		f.h[name] = append(old, value)
		f.repeated = true
		return
	}
	if len(f.vals) == cap(f.vals) {
		f.vals = make([]string, 0, max(16, min(2*cap(f.vals), 256)))
	}
	n := len(f.vals)
	f.vals = append(f.vals, value)
	f.h[name] = f.vals[n : n+1 : n+1]
}

// read reads the lines of b that s found, from line on, into the map. head is
// made of b only after names were put in canonical form, so names and values
// are parts of one string.
func (f *fields) read(b []byte, s *scan, line int, size int) (head string, v *violation) {
	spans := f.spans[:0]
	from := 0
	if line > 0 {
		from = s.ends[line-1] + 2
	}
	first := true
	for _, end := range s.ends[line:] {
		name, start, stop, underscore, v := field(b, from, end, first)
		if v != nil {
			return "", v
		}
		f.underscore = f.underscore || underscore
		spans = append(spans, span{from, name, start, stop})
		from, first = end+2, false
	}
	head, f.spans = string(b[:size]), spans
	for _, x := range spans {
		if v := f.take(head[x.from:x.name], head[x.start:x.stop]); v != nil {
			return head, v
		}
	}
	return head, nil
}

// take files one field.
func (f *fields) take(name, value string) *violation {
	switch name {
	case "Content-Length":
		if f.cls++; f.cls > 1 {
			return vCLTwice
		}
		n, ok := decimal(value)
		if !ok {
			return vCL
		}
		f.length = n
	case "Transfer-Encoding":
		f.tes++
		f.te = value
		return nil
	case "Host":
		f.hosts++
		f.host = value
		return nil
	case "Connection":
		f.connection = true
	case "Keep-Alive", "Proxy-Connection", "Te", "Http2-Settings":
		if f.answer {
			return nil
		}
	case "Trailer":
		f.trailer = true
		if f.answer {
			f.trailers = append(f.trailers, value)
			return nil
		}
	case "Expect":
		f.expect = value
	case "Upgrade":
		f.upgrade = value
		if f.answer {
			return nil
		}
	}
	f.add(name, value)
	return nil
}

// decimal reads 1*DIGIT without sign, blank, list or needless zero.
func decimal(s string) (int64, bool) {
	if s == "" || len(s) > 18 || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	n := int64(0)
	for i := 0; i < len(s); i++ {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + int64(c)
	}
	return n, true
}

// framing applies RFC 9112 §6.1 and §6.3 to what was read.
func (f *fields) framing(minor int) *violation {
	if f.tes == 0 {
		return nil
	}
	switch {
	case f.cls > 0:
		return vCLTE
	case f.tes > 1:
		return vTETwice
	case minor == 0:
		return vTEOld
	case equalFold(f.te, "chunked"):
		f.chunked = true
		return nil
	case !strings.ContainsFunc(f.te, func(r rune) bool { return r > 0x7f || r != ',' && r != ' ' && !token[byte(r)] }) && f.te != "":
		return vTEUnknown
	}
	return vTEEmpty
}

// options reads the Connection fields (RFC 9110 §7.6.1) and calls nominated
// for each option that is not one of the known ones.
func (f *fields) options(nominated func(name string) *violation) *violation {
	for _, line := range f.h["Connection"] {
		for line != "" {
			var o string
			o, line, _ = strings.Cut(line, ",")
			o = strings.Trim(o, " \t")
			switch {
			case o == "": // empty elements are to be ignored (RFC 9110 §5.6.1.2)
			case !isToken(o):
				return vConnection
			case equalFold(o, "close"):
				f.close = true
			case equalFold(o, "keep-alive"):
				f.keepAlive = true
			case equalFold(o, "upgrade"):
				f.upgrading = true
			default:
				if v := nominated(o); v != nil {
					return v
				}
			}
		}
	}
	return nil
}

// equalFold compares in ASCII, b being lower case.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		c := a[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != b[i] {
			return false
		}
	}
	return true
}

// hopByHop names fields, in canonical form, that concern one connection only
// (RFC 9110 §7.6.1) or that this package writes by itself.
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "Te", "Trailer", "Http2-Settings":
		return true
	}
	return false
}

// significant names fields, in canonical form, that framing, routing,
// authentication or the client's address follow from: nothing may hide,
// strip or double them.
func significant(name string) bool {
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Content-Type", "Content-Encoding", "Content-Range", "Connection", "Upgrade", "Te", "Trailer",
		"Expect", "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "Origin", "Referer", "Date", "Via", "Forwarded", "Cache-Control", "Max-Forwards", "Range", "Accept", "Accept-Encoding",
		"User-Agent", "X-Real-Ip", "X-Client-Ip", "True-Client-Ip", "X-Original-Url", "X-Rewrite-Url", "X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Host",
		"X-Api-Key", "Api-Key", "Traceparent", "Idempotency-Key", "Dpop", "Signature", "Signature-Input":
		return true
	}
	return strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "X-Auth-") || strings.HasPrefix(name, "Sec-") || strings.HasPrefix(name, "Content-")
}

// forbiddenTrailer names fields that a trailer section may not hold
// (RFC 9110 §6.5.1): framing, routing, authentication, content and caching.
func forbiddenTrailer(name string) bool {
	switch name {
	case "Keep-Alive", "Proxy-Connection", "Expires", "Age", "Vary", "Warning", "Location", "Retry-After", "Www-Authenticate", "Proxy-Authenticate", "Pragma", "If-Match", "If-None-Match", "If-Range", "If-Modified-Since", "If-Unmodified-Since":
		return true
	}
	return significant(name) || hopByHop(name)
}

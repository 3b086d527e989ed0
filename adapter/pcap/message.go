package pcap

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sallyport.dev"
)

// Bounds of a message.
const (
	maxHead   = 64 << 10
	maxFields = 200
	maxBody   = 1 << 20
)

// message is a request or an answer.
type message struct {
	method, target, proto string
	status                int
	header                []sallyport.Field
	body                  []byte
	size                  int64
	at, end               time.Time
	behind                uint32 // sequence number behind the head; of an answer, what it acknowledges
	whole                 bool   // its end was seen
	cut                   bool   // a part of its body is missing
	gap                   int    // holes before it
}

func (m *message) field(name string) string {
	for _, f := range m.header {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

type parsing int

const (
	inHead parsing = iota
	inBody
	inSize  // the line with a chunk's size
	inChunk // left counts the line's end too
	inTrailer
	untilClose
	searching // for the beginning of a message, at the beginning of a segment
	opaque    // no HTTP/1.1
)

// reader makes messages of one direction's bytes.
type reader struct {
	state parsing
	buf   []byte
	now   *message
	left  int64
}

// read takes bytes that stand at seq.
func (c *conn) read(side int, b []byte, seq, ack uint32, at time.Time) {
	r := &c.half[side].reader
	for len(b) > 0 {
		switch r.state {
		case opaque:
			return
		case searching:
			if !begins(b) {
				return
			}
			r.state = inHead
		case inHead:
			if len(r.buf) == 0 {
				if t := bytes.TrimLeft(b, "\r\n"); len(t) < len(b) {
					seq += uint32(len(b) - len(t))
					b = t
					continue
				}
			}
			n := c.line(r, b, endOfHead, maxHead)
			if n < 0 {
				c.a.bad(c, "a head is longer than 64 KiB")
				r.lost()
				return
			}
			b, seq = b[n:], seq+uint32(n)
			if r.state != inHead || !endsHead(r.buf) {
				continue
			}
			if bytes.HasPrefix(r.buf, []byte("PRI * HTTP/2")) {
				c.a.newer++
				c.pass()
				return
			}
			m := parseHead(r.buf)
			r.buf = r.buf[:0]
			if m == nil {
				c.strange(side)
				return
			}
			m.at, m.end, m.behind = at, at, seq
			if m.status > 0 {
				m.behind = ack
			}
			r.now = m
			c.begun(side, m)
		case inBody, inChunk, untilClose:
			n := len(b)
			if r.state != untilClose {
				n = int(min(int64(n), r.left))
			}
			part := b[:n]
			if r.state == inChunk { // CR LF behind it is none of the body
				part = b[:min(int64(n), max(0, r.left-2))]
			}
			c.body(r.now, part)
			b, seq, r.left, r.now.end = b[n:], seq+uint32(n), r.left-int64(n), at
			if r.left == 0 && r.state == inBody {
				c.ended(side)
			} else if r.left == 0 && r.state == inChunk {
				r.state = inSize
			}
		case inSize, inTrailer:
			n := c.line(r, b, func(b []byte) int { return bytes.IndexByte(b, '\n') + 1 }, 16<<10)
			if n < 0 {
				c.a.bad(c, "a chunked body has no sizes that can be read")
				r.lost()
				return
			}
			b, seq = b[n:], seq+uint32(n)
			if len(r.buf) == 0 || r.buf[len(r.buf)-1] != '\n' {
				continue
			}
			text := strings.TrimRight(string(r.buf), "\r\n")
			r.buf, r.now.end = r.buf[:0], at
			if r.state == inTrailer {
				if text == "" {
					c.ended(side)
				}
				continue
			}
			text, _, _ = strings.Cut(text, ";")
			size, err := strconv.ParseInt(strings.TrimSpace(text), 16, 62)
			switch {
			case err != nil || size < 0:
				c.a.bad(c, "a chunked body has no sizes that can be read")
				r.lost()
				return
			case size == 0:
				r.state = inTrailer
			default:
				r.state, r.left = inChunk, size+2
			}
		}
	}
}

// line moves bytes to r.buf up to what end finds, and says how many; -1 = more
// than most.
func (c *conn) line(r *reader, b []byte, end func([]byte) int, most int) int {
	// An end may stand over the border of two segments.
	had := len(r.buf)
	take := min(len(b), most-had+1)
	r.buf = append(r.buf, b[:take]...)
	if n := end(r.buf[max(0, had-3):]); n > 0 {
		n += max(0, had-3)
		r.buf = r.buf[:n]
		return n - had
	}
	if len(r.buf) > most {
		return -1
	}
	return take
}

func endOfHead(b []byte) int {
	i, j := bytes.Index(b, []byte("\r\n\r\n")), bytes.Index(b, []byte("\n\n"))
	switch {
	case i >= 0 && (j < 0 || i < j):
		return i + 4
	case j >= 0:
		return j + 2
	}
	return 0
}

func endsHead(b []byte) bool {
	return bytes.HasSuffix(b, []byte("\r\n\r\n")) || bytes.HasSuffix(b, []byte("\n\n"))
}

// lost gives up the message that is under way.
func (r *reader) lost() {
	if r.now != nil {
		r.now.whole, r.now.cut = true, true
	}
	r.state, r.buf, r.now, r.left = searching, nil, nil, 0
}

// skip passes over n bytes that are missing: within a body nothing else is lost.
func (r *reader) skip(n int64) {
	switch {
	case r.state == opaque:
	case r.state == untilClose, r.state == inBody && n < r.left, r.state == inChunk && n < r.left-2:
		if r.now != nil {
			r.now.cut, r.now.body = true, nil
			r.now.size += n
		}
		if r.state != untilClose {
			r.left -= n
		}
	default:
		r.lost()
	}
}

// begins says whether a message of HTTP/1 may begin so.
func begins(b []byte) bool {
	if bytes.HasPrefix(b, []byte("HTTP/1.")) {
		return true
	}
	for i, c := range b {
		switch {
		case c == ' ':
			return i > 0 && i+1 < len(b) && (b[i+1] == '/' || b[i+1] == '*' || b[i+1] == 'h')
		case c < 'A' || c > 'Z' || i > 20:
			return false
		}
	}
	return false
}

// parseHead reads a head; nil = it is none.
func parseHead(b []byte) *message {
	first, rest, _ := strings.Cut(string(b), "\n")
	first = strings.TrimSuffix(first, "\r")
	m := &message{}
	if strings.HasPrefix(first, "HTTP/1.") && len(first) >= 12 {
		m.proto = first[:8]
		n, err := strconv.Atoi(first[9:12])
		if err != nil || n < 100 || n > 599 || first[8] != ' ' {
			return nil
		}
		m.status = n
	} else {
		method, target, ok := strings.Cut(first, " ")
		i := strings.LastIndexByte(target, ' ')
		if !ok || i < 1 || !strings.HasPrefix(target[i+1:], "HTTP/1.") || method == "" || len(method) > 32 {
			return nil
		}
		m.method, m.target, m.proto = method, target[:i], target[i+1:]
	}
	for line := range strings.SplitSeq(rest, "\n") {
		if line = strings.TrimSuffix(line, "\r"); line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil
		}
		if len(m.header) < maxFields {
			m.header = append(m.header, sallyport.Field{Name: http.CanonicalHeaderKey(name), Value: strings.Trim(value, " \t")})
		}
	}
	return m
}

// framing says how the body behind a head is delimited (RFC 9112, section 6.3).
func (m *message) framing(request string) (parsing, int64) {
	switch {
	case m.status > 0 && (request == "HEAD" || m.status < 200 || m.status == 204 || m.status == 304), m.status/100 == 2 && request == "CONNECT":
		return inBody, 0
	case strings.HasSuffix(strings.ToLower(strings.TrimSpace(m.field("Transfer-Encoding"))), "chunked"):
		return inSize, 0
	}
	if v := m.field("Content-Length"); v != "" {
		if n, err := strconv.ParseInt(v, 10, 62); err == nil && n >= 0 {
			return inBody, n
		}
	}
	if m.status > 0 {
		return untilClose, 0
	}
	return inBody, 0
}

package icap

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// Bounds of what is read.
const (
	headBytes  = 16 << 10 // of an ICAP head
	innerBytes = 80 << 10 // of the HTTP heads inside
	lineBytes  = 8 << 10
	maxLines   = 512
	holdBytes  = 1 << 20 // of a body before it streams
)

var errSyntax = errors.New("icap: syntax")

// A message is an ICAP request's head with the HTTP heads inside.
type message struct {
	method, service string
	header          map[string]string // lower case; what stands twice is refused
	request, answer *head
	hasBody         bool
	preview         int // -1: none
}

func (m *message) allows204() bool {
	return strings.Contains(m.header["allow"], "204") || m.preview >= 0
}

// A head is an HTTP head, line by line as it came.
type head struct {
	first string
	lines [][2]string
}

func (h *head) fields() http.Header {
	out := http.Header{}
	for _, l := range h.lines {
		out.Add(textproto.CanonicalMIMEHeaderKey(l[0]), l[1])
	}
	return out
}

// get gives the only value of a header; more than one is none.
func (h *head) get(name string) string {
	v, n := "", 0
	for _, l := range h.lines {
		if strings.EqualFold(l[0], name) {
			v = l[1]
			n++
		}
	}
	if n != 1 {
		return ""
	}
	return v
}

func (h *head) drop(gone func(name string) bool) {
	kept := h.lines[:0]
	for _, l := range h.lines {
		if !gone(l[0]) {
			kept = append(kept, l)
		}
	}
	h.lines = kept
}

func (h *head) set(name, v string) {
	h.drop(func(n string) bool { return strings.EqualFold(n, name) })
	h.lines = append(h.lines, [2]string{name, v})
}

func (h *head) bytes() []byte {
	var b bytes.Buffer
	b.WriteString(h.first + "\r\n")
	for _, l := range h.lines {
		b.WriteString(l[0] + ": " + l[1] + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// line reads one line without its end.
func line(r *bufio.Reader, room *int) (string, error) {
	b, err := r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			return "", errSyntax
		}
		return "", err
	}
	if *room -= len(b); *room < 0 {
		return "", errSyntax
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}

// readMessage reads up to the body. io.EOF: the peer has closed between two.
func readMessage(r *bufio.Reader) (*message, error) {
	room := headBytes
	first, err := line(r, &room)
	if err != nil {
		return nil, err
	}
	parts := strings.Split(first, " ")
	if len(parts) != 3 || parts[2] != "ICAP/1.0" {
		return nil, errSyntax
	}
	m := &message{method: parts[0], header: map[string]string{}, preview: -1}
	uri := strings.TrimPrefix(strings.TrimPrefix(parts[1], "icap://"), "icaps://")
	if at := strings.IndexByte(uri, '/'); at >= 0 {
		m.service, _, _ = strings.Cut(uri[at:], "?")
	}
	for {
		l, err := line(r, &room)
		if err != nil {
			return nil, unexpected(err)
		}
		if l == "" {
			break
		}
		name, v, ok := strings.Cut(l, ":")
		name = strings.ToLower(name)
		if _, twice := m.header[name]; !ok || !token(name) || twice && name != "allow" {
			return nil, errSyntax
		}
		m.header[name] = strings.TrimSpace(v)
	}
	if v, has := m.header["preview"]; has {
		if m.preview, err = strconv.Atoi(v); err != nil || m.preview < 0 || m.preview > holdBytes {
			return nil, errSyntax
		}
	}
	if m.method == "OPTIONS" {
		return m, nil
	}
	return m, m.readInner(r)
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readInner reads the HTTP heads at the places that Encapsulated names (RFC
// 3507 section 4.4.1).
func (m *message) readInner(r *bufio.Reader) error {
	parts := strings.Split(m.header["encapsulated"], ",")
	if len(parts) > 3 {
		return errSyntax
	}
	type part struct {
		name string
		at   int
	}
	var list []part
	for _, p := range parts {
		name, at, ok := strings.Cut(strings.TrimSpace(p), "=")
		n, err := strconv.Atoi(at)
		if !ok || err != nil || n < 0 || n > innerBytes || len(list) == 0 && n != 0 || len(list) > 0 && n < list[len(list)-1].at {
			return errSyntax
		}
		list = append(list, part{name, n})
	}
	for i, p := range list[:len(list)-1] {
		b := make([]byte, list[i+1].at-p.at)
		if _, err := io.ReadFull(r, b); err != nil {
			return unexpected(err)
		}
		h, err := parseHead(b)
		if err != nil {
			return err
		}
		switch {
		case p.name == "req-hdr" && m.request == nil && m.answer == nil:
			m.request = h
		case p.name == "res-hdr" && m.answer == nil && m.method == "RESPMOD":
			m.answer = h
		default:
			return errSyntax
		}
	}
	switch last := list[len(list)-1].name; {
	case last == "null-body":
	case last == "req-body" && m.method == "REQMOD", last == "res-body" && m.method == "RESPMOD":
		m.hasBody = true
	default:
		return errSyntax
	}
	if m.method == "REQMOD" && m.request == nil || m.method == "RESPMOD" && m.answer == nil {
		return errSyntax
	}
	return nil
}

func parseHead(b []byte) (*head, error) {
	text, ok := strings.CutSuffix(string(b), "\r\n\r\n")
	if !ok {
		return nil, errSyntax
	}
	lines := strings.Split(text, "\r\n")
	if len(lines) > maxLines {
		return nil, errSyntax
	}
	h := &head{first: lines[0]}
	for _, l := range lines[1:] {
		name, v, ok := strings.Cut(l, ":")
		if !ok || !token(name) || strings.ContainsAny(v, "\r\n\x00") {
			return nil, errSyntax
		}
		h.lines = append(h.lines, [2]string{name, strings.Trim(v, " \t")})
	}
	if strings.ContainsAny(h.first, "\r\n\x00") {
		return nil, errSyntax
	}
	return h, nil
}

// token is a name as RFC 9110 section 5.6.2 has it.
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return s != ""
}

// A body is the chunks behind a head. It ends with the preview until more is
// called.
type body struct {
	r     *bufio.Reader
	left  int // of the chunk
	begun bool
	end   bool // of what there is for now
	whole bool // nothing comes behind it
	first bool // the preview is being read
}

func newBody(r *bufio.Reader, m *message) *body {
	return &body{r: r, first: m.preview >= 0, end: !m.hasBody, whole: !m.hasBody}
}

// Read gives the chunks' bytes; io.EOF ends the preview, or the body.
func (b *body) Read(p []byte) (int, error) {
	for b.left == 0 {
		if b.end {
			return 0, io.EOF
		}
		room := lineBytes
		if b.begun {
			if l, err := line(b.r, &room); err != nil || l != "" {
				return 0, orSyntax(err)
			}
		}
		l, err := line(b.r, &room)
		if err != nil {
			return 0, unexpected(err)
		}
		size, ext, _ := strings.Cut(l, ";")
		n, err := strconv.ParseUint(strings.TrimSpace(size), 16, 31)
		if err != nil {
			return 0, errSyntax
		}
		b.begun = true
		if n > 0 {
			b.left = int(n)
			continue
		}
		for lines := 0; ; lines++ { // trailer fields are left out
			if l, err = line(b.r, &room); err != nil || lines > 64 {
				return 0, orSyntax(err)
			}
			if l == "" {
				break
			}
		}
		b.end = true
		b.whole = !b.first || strings.TrimSpace(ext) == "ieof"
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, unexpected(err)
}

func orSyntax(err error) error {
	if err == nil {
		return errSyntax
	}
	return unexpected(err)
}

// more asks for what comes behind the preview, where anything does.
func (b *body) more(w io.Writer) error {
	if !b.first || !b.end || b.whole {
		return nil
	}
	if _, err := io.WriteString(w, "ICAP/1.0 100 Continue\r\n\r\n"); err != nil {
		return err
	}
	b.first, b.end, b.begun = false, false, false
	return nil
}

// hold reads up to limit bytes; whole says that there are no more.
func (b *body) hold(w io.Writer, limit int64) (held []byte, whole bool, err error) {
	for {
		part, err := io.ReadAll(io.LimitReader(b, limit+1-int64(len(held))))
		held = append(held, part...)
		if err != nil || int64(len(held)) > limit {
			return held, false, err
		}
		if b.whole {
			return held, true, nil
		}
		if err := b.more(w); err != nil {
			return held, false, err
		}
	}
}

// target is the path and query of a request line, and whether it was asked for
// by https.
func target(first string) (method, path string, secure, ok bool) {
	parts := strings.Split(first, " ")
	if len(parts) != 3 || !token(parts[0]) || !strings.HasPrefix(parts[2], "HTTP/1.") {
		return "", "", false, false
	}
	uri := parts[1]
	for _, scheme := range []string{"http://", "https://"} {
		if rest, cut := strings.CutPrefix(uri, scheme); cut {
			at := strings.IndexAny(rest, "/?")
			switch {
			case at < 0:
				uri = "/"
			case rest[at] == '?':
				uri = "/" + rest[at:]
			default:
				uri = rest[at:]
			}
			secure = scheme == "https://"
			break
		}
	}
	return parts[0], uri, secure, uri == "*" || strings.HasPrefix(uri, "/")
}

func status(first string) (int, error) {
	parts := strings.SplitN(first, " ", 3)
	if len(parts) < 2 || !strings.HasPrefix(parts[0], "HTTP/1.") {
		return 0, errSyntax
	}
	n, err := strconv.Atoi(parts[1])
	if err != nil || n < 100 || n > 999 {
		return 0, fmt.Errorf("%w: a status", errSyntax)
	}
	return n, nil
}

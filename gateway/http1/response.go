package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	holdBytes  = 4 << 10   // of a body of unknown length, held back to learn its length
	batchBytes = 8 << 10   // gathered before they are written; more goes out beside it, uncopied
	batchTLS   = 16 << 10  // the same where every write makes a record
	copyBytes  = 32 << 10  // moved at once
	pieceBytes = 256 << 10 // written under one deadline
)

var errNotContinued = errors.New("the answer began before the body was asked for")

// A response is the http.ResponseWriter of one connection's requests, one
// after the other. Head and body gather in out and leave in one write when
// the answer is complete, is flushed, or grows beyond a batch.
type response struct {
	c      *conn
	header http.Header
	batch  int

	status    int
	committed bool  // the head is in out, or sent
	length    int64 // stated, or -1
	written   int64
	chunked   bool
	bodyless  bool // HEAD, 204, 304, 101
	close     bool // the connection closes after this answer
	whole     bool // WriteAnswer was called
	err       error
	held      []byte // body, while the head waits
	out       []byte
	announced []string // trailers
	readBy    time.Time
	writeBy   time.Time
	userWrite bool

	mu      sync.Mutex // the right to write to the connection, and begun
	begun   bool       // the final answer's head is on its way: no 100 Continue any more
	gathers [2][]byte
}

var (
	_ http.ResponseWriter = (*response)(nil)
	_ http.Flusher        = (*response)(nil)
	_ http.Hijacker       = (*response)(nil)
	_ io.ReaderFrom       = (*response)(nil)
	_ io.StringWriter     = (*response)(nil)
	_ Answerer            = (*response)(nil)
)

func (w *response) reset() {
	if len(w.header) > 64 {
		w.header = make(http.Header, 8)
	} else {
		clear(w.header)
	}
	if cap(w.out) > 2*batchTLS {
		w.out = nil
	}
	w.status, w.committed, w.length, w.written = 0, false, -1, 0
	w.chunked, w.bodyless, w.close, w.whole, w.err = false, false, false, false, nil
	w.held, w.out, w.announced = w.held[:0], w.out[:0], nil
	w.userWrite, w.begun = false, false
}

// Header is the answer's header.
func (w *response) Header() http.Header { return w.header }

// WriteHeader fixes the status. A status of 1xx other than 101 is sent at once and another may follow.
func (w *response) WriteHeader(status int) {
	switch {
	case w.c.hijacked || w.committed || w.status != 0 || status < 100 || status > 999:
		return
	case status < 200 && status != http.StatusSwitchingProtocols:
		w.interim(status)
		return
	}
	w.status = status
	if status == http.StatusSwitchingProtocols {
		w.commit(w.header, true)
		return
	}
	// Only a body of unknown length has to wait for its head.
	if w.header["Content-Length"] != nil {
		w.commit(w.header, false)
	}
}

// interim sends a 1xx answer (RFC 9110 §15.2); HTTP/1.0 knows none.
func (w *response) interim(status int) {
	if w.c.req.ProtoMinor == 0 {
		return
	}
	if status == http.StatusContinue {
		if w.c.body != nil {
			w.c.body.asked(w)
		}
		return
	}
	out := statusLine(nil, status)
	for name, vs := range w.header {
		if !hopByHop(name) && !equalFold(name, "content-length") {
			for _, v := range vs {
				out = appendField(out, name, v)
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.send(append(out, "\r\n"...), nil)
}

// asked sends the 100 that the client waits for, at the handler's wish.
func (b *requestBody) asked(w *response) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.expect && w.sendContinue() == nil {
		b.expect = false
	}
}

// sendContinue asks for the body (RFC 9110 §10.1.1). It may be called from a
// goroutine of the handler's that reads the body.
func (w *response) sendContinue() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun {
		return errNotContinued
	}
	w.armWrite()
	_, err := w.c.c.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	return err
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// Write writes body bytes. See http.ResponseWriter; it never sniffs a content type.
func (w *response) Write(p []byte) (int, error) {
	if err := w.writable(int64(len(p))); err != nil {
		return 0, err
	}
	if !w.committed {
		if len(w.held)+len(p) <= holdBytes {
			w.held = append(w.held, p...)
			w.written += int64(len(p))
			return len(p), nil
		}
		w.commit(w.header, false)
	}
	w.written += int64(len(p))
	w.content(p)
	return len(p), w.err
}

// WriteString is Write.
func (w *response) WriteString(s string) (int, error) {
	if err := w.writable(int64(len(s))); err != nil {
		return 0, err
	}
	if !w.committed && len(w.held)+len(s) <= holdBytes {
		w.held = append(w.held, s...)
		w.written += int64(len(s))
		return len(s), nil
	}
	return w.Write([]byte(s))
}

// writable reports why n bytes of body cannot be written.
func (w *response) writable(n int64) error {
	if w.c.hijacked {
		return http.ErrHijacked
	}
	if w.whole {
		return http.ErrContentLength
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.err != nil:
		return w.err
	case !bodyAllowed(w.status):
		return http.ErrBodyNotAllowed
	case w.length >= 0 && w.written+n > w.length:
		return http.ErrContentLength
	}
	return nil
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, copyBytes); return &b }}

// ReadFrom implements io.ReaderFrom; what is read is written through, not flushed.
func (w *response) ReadFrom(src io.Reader) (n int64, err error) {
	b := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(b)
	for {
		k, err := src.Read(*b)
		if k > 0 {
			m, err := w.Write((*b)[:k])
			n += int64(m)
			if err != nil {
				return n, err
			}
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// WriteAnswer implements Answerer.
func (w *response) WriteAnswer(status int, h http.Header, body []byte) error {
	switch {
	case w.c.hijacked:
		return http.ErrHijacked
	case w.committed || w.status != 0:
		return errors.New("an answer was begun already")
	case status < 200 || status > 999:
		return errors.New("no final status")
	}
	w.status = status
	w.whole = true
	w.written = int64(len(body))
	length := w.written
	if length == 0 && (w.c.req.Method == http.MethodHead || status == http.StatusNotModified) {
		length = statedLength(h) // of the body that there would be
	}
	w.commitLength(h, length)
	if w.err == nil && !w.bodyless {
		w.content(body)
	}
	return w.err
}

// FlushError sends what was written so far.
func (w *response) FlushError() error {
	if w.c.hijacked {
		return http.ErrHijacked
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.committed {
		w.commit(w.header, false)
	}
	w.flush(nil)
	return w.err
}

// Flush implements http.Flusher.
func (w *response) Flush() { w.FlushError() }

// SetReadDeadline, SetWriteDeadline and EnableFullDuplex serve http.ResponseController; the deadlines hold for this request.
func (w *response) SetReadDeadline(t time.Time) error {
	if b := w.c.body; b != nil {
		b.content.until.Store(&t)
		b.content.x.nudge() // a read in progress looks again
	}
	return nil
}

// SetWriteDeadline: see SetReadDeadline.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.userWrite, w.writeBy = !t.IsZero(), t
	return nil
}

// EnableFullDuplex: reading goes on after writing began in any case.
func (w *response) EnableFullDuplex() error { return nil }

// Hijack implements http.Hijacker. What was read beyond the request is in the reader's buffer.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c := w.c
	if c.hijacked {
		return nil, nil, http.ErrHijacked
	}
	if w.committed {
		if w.status != http.StatusSwitchingProtocols {
			return nil, nil, errors.New("hijack: an answer was begun already")
		}
		w.flush(nil)
		if w.err != nil {
			return nil, nil, w.err
		}
	}
	c.hijacked = true
	c.c.SetDeadline(time.Time{})
	left := bytes.Clone(c.rest())
	br := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(left), c.c), max(4096, len(left)))
	if len(left) > 0 {
		br.Peek(len(left))
	}
	return c.c, bufio.NewReadWriter(br, bufio.NewWriter(c.c)), nil
}

// commit fixes the head. final says that held is the whole body.
func (w *response) commit(h http.Header, final bool) {
	length := statedLength(h)
	for _, v := range h["Trailer"] {
		for name := range splitList(v) {
			if name = http.CanonicalHeaderKey(name); isToken(name) && !forbiddenTrailer(name) {
				w.announced = append(w.announced, name)
			}
		}
	}
	if length < 0 && final && (w.announced == nil && !hasTrailerPrefix(h) || w.c.req.ProtoMinor == 0) {
		length = w.written
		if w.c.req.Method == http.MethodHead && w.written == 0 || !bodyAllowed(w.status) {
			length = -1 // what a GET would have said is not known
		}
	}
	w.commitLength(h, length)
	if len(w.held) > 0 && w.err == nil {
		held := w.held
		w.held = w.held[:0]
		w.content(held)
	}
}

// commitLength writes the head to out: RFC 9112 §4, §5, §6.
func (w *response) commitLength(h http.Header, length int64) {
	c := w.c
	w.committed = true
	w.length = length
	w.bodyless = c.req.Method == http.MethodHead || !bodyAllowed(w.status)
	w.close = w.close || c.req.Close || c.s.closing.Load() ||
		c.s.MaxRequestsPerConn > 0 && c.count >= c.s.MaxRequestsPerConn ||
		c.body != nil && !c.body.keepable()
	out := statusLine(w.out, w.status)
	dated := false
	for name, vs := range h {
		switch len(name) {
		case len("Date"):
			dated = dated || equalFold(name, "date") && len(vs) > 0
		case len("Connection"):
			if equalFold(name, "connection") {
				for _, v := range vs {
					for o := range splitList(v) {
						w.close = w.close || equalFold(o, "close")
					}
				}
				continue
			}
		case len("Content-Length"):
			if equalFold(name, "content-length") {
				continue
			}
		case len("Transfer-Encoding"):
			if equalFold(name, "transfer-encoding") {
				continue
			}
		}
		if w.announced != nil && announces(w.announced, name) || strings.HasPrefix(name, http.TrailerPrefix) {
			continue
		}
		for _, v := range vs {
			out = appendField(out, name, v)
		}
	}
	if !dated {
		out = append(append(append(out, "Date: "...), c.s.now1123()...), "\r\n"...)
	}
	switch {
	case w.status == http.StatusSwitchingProtocols:
		out = append(out, "Connection: Upgrade\r\n\r\n"...)
		w.out, w.begun = out, true
		return
	case w.status == http.StatusNoContent:
	case length >= 0:
		out = append(strconv.AppendInt(append(out, "Content-Length: "...), length, 10), "\r\n"...)
	case w.bodyless:
	case c.req.ProtoMinor == 0:
		w.close = true // RFC 9112 §6.3: the body ends with the connection
	default:
		w.chunked = true
		out = append(out, "Transfer-Encoding: chunked\r\n"...)
	}
	switch {
	case w.close:
		out = append(out, "Connection: close\r\n"...)
	case c.req.ProtoMinor == 0:
		out = append(out, "Connection: keep-alive\r\n"...)
	}
	w.out = append(out, "\r\n"...)
	if c.body != nil {
		w.mu.Lock()
		w.begun = true
		w.mu.Unlock()
	}
}

// statedLength is the Content-Length in h, or -1.
func statedLength(h http.Header) int64 {
	if vs := h["Content-Length"]; len(vs) > 0 {
		if n, ok := decimal(vs[0]); ok {
			return n
		}
	}
	return -1
}

func announces(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

func hasTrailerPrefix(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// content adds body bytes to out, or sends them with it.
func (w *response) content(p []byte) {
	if w.bodyless || len(p) == 0 || w.err != nil {
		return
	}
	if w.chunked {
		w.out = append(strconv.AppendInt(w.out, int64(len(p)), 16), "\r\n"...)
	}
	if len(w.out)+len(p) <= w.batch {
		w.out = append(w.out, p...)
	} else {
		w.flush(p)
	}
	if w.chunked {
		w.out = append(w.out, "\r\n"...)
	}
}

// flush sends out, and p behind it.
func (w *response) flush(p []byte) {
	if w.err != nil || len(w.out)+len(p) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = w.send(w.out, p)
	w.out = w.out[:0]
	if w.err != nil {
		w.c.ctx.end()
	}
}

func (w *response) armWrite() {
	c := w.c
	if w.userWrite {
		c.armWriteExactly(w.writeBy)
		return
	}
	t := c.s.WriteTimeout
	c.wire.armWrite(c.now().Add(t), t/8)
}

// send writes a and b to the connection, in one system call where that is possible.
func (w *response) send(a, b []byte) error {
	w.armWrite()
	if len(b) == 0 {
		_, err := w.c.c.Write(a)
		return err
	}
	if _, tcp := w.c.c.(*net.TCPConn); tcp && len(a) > 0 {
		n := min(len(b), pieceBytes)
		w.gathers = [2][]byte{a, b[:n]}
		bufs := net.Buffers(w.gathers[:])
		_, err := bufs.WriteTo(w.c.c)
		w.gathers = [2][]byte{}
		if err != nil {
			return err
		}
		b = b[n:]
	} else if len(a) > 0 {
		if _, err := w.c.c.Write(a); err != nil {
			return err
		}
	}
	for len(b) > 0 {
		w.armWrite()
		n, err := w.c.c.Write(b[:min(len(b), pieceBytes)])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// finish completes the answer and reports whether it went out whole.
func (w *response) finish() bool {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if !w.committed {
		w.commit(w.header, true)
	}
	if w.status == http.StatusSwitchingProtocols {
		w.flush(nil)
		return false // an upgrade that nobody took over
	}
	short := w.length > w.written && !w.bodyless
	if w.chunked && w.err == nil {
		w.out = append(w.out, "0\r\n"...)
		w.trailers()
		w.out = append(w.out, "\r\n"...)
	}
	w.flush(nil)
	return w.err == nil && !short
}

// trailers writes the trailer section (RFC 9112 §7.1.2).
func (w *response) trailers() {
	for _, name := range w.announced {
		for _, v := range w.header[name] {
			w.out = appendField(w.out, name, v)
		}
	}
	for key, vs := range w.header {
		name, ok := strings.CutPrefix(key, http.TrailerPrefix)
		if name = http.CanonicalHeaderKey(name); !ok || forbiddenTrailer(name) {
			continue
		}
		for _, v := range vs {
			w.out = appendField(w.out, name, v)
		}
	}
}

// statusLine begins a head (RFC 9112 §4).
func statusLine(out []byte, status int) []byte {
	if status == http.StatusOK {
		return append(out, "HTTP/1.1 200 OK\r\n"...)
	}
	out = append(strconv.AppendInt(append(out, "HTTP/1.1 "...), int64(status), 10), ' ')
	return append(append(out, http.StatusText(status)...), "\r\n"...)
}

// appendField writes one header line. A name that is no token is left out, and
// a byte of a value that could end the line becomes a blank, so that no
// handler can be made to write a line that it did not mean.
func appendField(out []byte, name, value string) []byte {
	if !isToken(name) {
		return out
	}
	out = append(append(append(out, name...), ": "...), value...)
	if v := out[len(out)-len(value):]; !cleanValue(v) {
		for i, c := range v {
			if c < ' ' && c != '\t' || c == 0x7f {
				v[i] = ' '
			}
		}
	}
	return append(out, "\r\n"...)
}

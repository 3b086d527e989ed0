package gateway

import (
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"sallyport.dev/guard"
	"sallyport.dev/spec/proto/frame"
)

// A conversation is a call over gRPC whose two directions run at the same time:
// the transport reads the request's messages while the handler passes the
// answer's on. It may outlive its passage, and so is its own.
type conversation struct {
	g  *Gateway
	mu sync.Mutex // around everything below, and every step of ses

	ses      *guard.Session // nil once the exchange is over
	refusal  *guard.Refusal
	reserved int64 // of Gateway.buffered
}

// lock lets nobody else into the session; nil has nobody else.
func (c *conversation) lock() {
	if c != nil {
		c.mu.Lock()
	}
}

func (c *conversation) unlock() {
	if c != nil {
		c.mu.Unlock()
	}
}

// close lets nobody into the session any more. The lock is held.
func (c *conversation) close() {
	if c != nil && c.ses != nil {
		c.g.buffered.sub(c.reserved)
		c.ses, c.reserved = nil, 0
	}
}

// refused is the guard's refusal of a message, nil when there is none.
func (c *conversation) refused() *guard.Refusal {
	c.lock()
	defer c.unlock()
	if c == nil {
		return nil
	}
	return c.refusal
}

var errRefused = errors.New("a message was refused")

// step takes the session one step.
func (c *conversation) step(f func(*guard.Session) guard.Step) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.refusal != nil:
		return errRefused
	case c.ses == nil:
		return errCut
	}
	if s := f(c.ses); s.Verb == guard.Refuse {
		c.refusal = s.Refusal
		return errRefused
	}
	return nil
}

// reserve asks for n more bytes.
func (c *conversation) reserve(n int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ses == nil:
		return errCut
	case !c.g.buffered.add(n):
		return errBuffered
	}
	c.reserved += n
	return nil
}

// messages reads a stream of frames, has each message looked at, and gives the
// same frames on once they may pass.
type messages struct {
	src     io.Reader
	c       *conversation
	d       guard.Direction
	form    frame.Form
	max     int64                         // bytes of a message that is read
	trailer func(b []byte) ([]byte, bool) // of gRPC-Web; false: it cannot be read

	buf  []byte // the frame in hand
	out  []byte // of it, what is to be given on
	text []byte // scratch
	rest int64  // of a message that passes unread
	err  error
}

// newMessages reads the frames of src in direction d.
func (p *passage) newMessages(src io.Reader, d guard.Direction, form frame.Form, limit int64) *messages {
	if p.conv == nil {
		p.conv = &conversation{g: p.g, ses: p.ses}
	}
	if form.Text {
		src = &frame.TextReader{R: src}
	}
	return &messages{src: src, c: p.conv, d: d, form: form, max: limit}
}

// Read gives at most one message at a time.
func (m *messages) Read(b []byte) (int, error) {
	for {
		switch {
		case len(m.out) > 0:
			n := copy(b, m.out)
			m.out = m.out[n:]
			return n, nil
		case m.err != nil:
			return 0, m.err
		case m.rest > 0:
			m.unread()
		default:
			m.next()
		}
	}
}

func (m *messages) give(b []byte) {
	if m.form.Text {
		m.text = base64.StdEncoding.AppendEncode(m.text[:0], b)
		b = m.text
	}
	m.out = b
}

// unread passes on what is not looked at.
func (m *messages) unread() {
	if cap(m.buf) < 8<<10 {
		m.buf = make([]byte, 0, 8<<10)
	}
	b := m.buf[:min(int64(cap(m.buf)), m.rest)]
	n, err := m.src.Read(b)
	if m.rest < math.MaxInt64 {
		m.rest -= int64(n)
	}
	m.give(b[:n])
	if err == io.EOF && m.rest > 0 && m.rest < math.MaxInt64 {
		m.end(frame.ErrTruncated)
		return
	}
	m.err = err
}

// end says how the stream ended; what is wrong with it may still be let pass.
func (m *messages) end(how error) bool {
	err := m.c.step(func(s *guard.Session) guard.Step { return s.MessagesEnd(m.d, how) })
	switch {
	case err != nil:
		m.out, m.err = nil, err
	case how == nil || how == frame.ErrTruncated:
		m.err = io.EOF
	case how != frame.ErrTooLarge:
		m.rest = math.MaxInt64
	}
	return err == nil
}

// next reads one frame.
func (m *messages) next() {
	var head [frame.HeadSize]byte
	n, err := io.ReadFull(m.src, head[:])
	switch {
	case err == io.EOF:
		m.end(nil)
		return
	case err == io.ErrUnexpectedEOF:
		if m.end(frame.ErrTruncated) {
			m.give(head[:n])
		}
		return
	case errors.Is(err, frame.ErrBase64):
		if m.end(err); m.err == nil {
			m.err = err // what cannot be decoded cannot be passed on
		}
		return
	case err != nil:
		m.err = err
		return
	}
	flags, size, err := frame.Head(head[:])
	if err == nil && int64(size) > m.max {
		err = frame.ErrTooLarge
	}
	if err != nil {
		if m.end(err) {
			m.give(append(m.buf[:0], head[:]...))
			if err == frame.ErrTooLarge {
				m.rest = int64(size)
			}
		}
		return
	}
	if err := m.fill(head[:], int(size)); err != nil {
		switch {
		case err != io.ErrUnexpectedEOF:
			m.err = err
		case m.end(frame.ErrTruncated):
			m.give(m.buf)
		}
		return
	}
	b := m.buf[frame.HeadSize:]
	if flags&frame.Trailer != 0 && m.form.Web && m.trailer != nil {
		next, ok := m.trailer(b)
		if !ok && !m.end(frame.ErrFlags) {
			return
		} else if ok && next != nil {
			m.buf = append(frame.AppendHead(m.buf[:0], flags, len(next)), next...)
		}
		m.give(m.buf)
		return
	}
	if err := m.c.step(func(s *guard.Session) guard.Step { return s.Message(m.d, flags, b, m.c.g.o.Now()) }); err != nil {
		m.err = err
		return
	}
	m.give(m.buf)
}

// fill reads a message behind its head. Room is made as its bytes come, not as
// its length says.
func (m *messages) fill(head []byte, size int) error {
	want := len(head) + size
	if cap(m.buf) > 64<<10 && want < 4<<10 { // one large message is no reason to keep so much
		m.buf = nil
	}
	m.buf = append(m.buf[:0], head...)
	for len(m.buf) < want {
		if len(m.buf) == cap(m.buf) {
			next := min(want, max(4<<10, 2*cap(m.buf)))
			if next > 16<<10 {
				if err := m.c.reserve(int64(next - cap(m.buf))); err != nil {
					return err
				}
			}
			m.buf = append(make([]byte, 0, next), m.buf...)
		}
		n, err := m.src.Read(m.buf[len(m.buf):min(cap(m.buf), want)])
		m.buf = m.buf[:len(m.buf)+n]
		if err != nil && len(m.buf) < want {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// call is what a passage knows of gRPC.
type call struct {
	grpc        bool // HTTP/2 end to end
	calls       bool // gRPC or gRPC-Web, which know refusals by a status of their own
	form        frame.Form
	conv        *conversation // nil: nobody else is in the session
	messagesIn  *messages     // the request's body, message by message
	formIn      *formReader   // the request's body, a form that streams
	messagesOut *messages     // the answer's
	began       time.Time
	deadline    time.Duration // zero = none
}

// called reads in the head what concerns gRPC.
func (p *passage) called() {
	t := first(p.r.Header["Content-Type"])
	if len(t) < len("application/grpc") || p.r.Method != http.MethodPost {
		return
	}
	p.form, p.calls, _ = frame.FormOf(t)
	p.grpc = p.calls && !p.form.Web && p.r.ProtoMajor == 2
}

// heed has the request's messages looked at as they are passed on.
func (p *passage) heed(limit int64) {
	if p.in == nil {
		p.messagesIn = p.newMessages(strings.NewReader(""), guard.Asked, p.form, limit)
		p.messagesIn.next()
		return
	}
	p.messagesIn = p.newMessages(p.in, guard.Asked, p.form, limit)
}

// relay has the answer's messages looked at as they are passed on.
func (p *passage) relay(a *ask, limit int64) {
	form, _, _ := frame.FormOf(first(a.header["Content-Type"]))
	p.messagesOut = p.newMessages(a, guard.Answered, form, limit)
	p.messagesOut.trailer = p.webTrailer
	a.length = -1
}

// webTrailer has the trailer of a gRPC-Web answer looked at; nil means that it
// passes as it is.
func (p *passage) webTrailer(b []byte) (next []byte, ok bool) {
	fields, ok := frame.Fields(b)
	if !ok {
		return nil, false
	}
	h := http.Header{}
	for _, f := range fields {
		h.Add(f[0], f[1])
	}
	p.conv.lock()
	var edits []guard.HeadEdit
	if p.conv.ses != nil {
		edits = p.conv.ses.WebTrailer(h)
	}
	p.conv.unlock()
	if len(edits) == 0 {
		return nil, true
	}
	p.sealCall(h)
	kept := fields[:0]
	for _, f := range fields {
		drop := false
		for _, e := range edits {
			if strings.EqualFold(e.Name, f[0]) {
				f[1], drop = e.Value, e.Value == ""
			}
		}
		if !drop {
			kept = append(kept, f)
		}
	}
	return frame.AppendFields(make([]byte, 0, len(b)), kept), true
}

// sealCall keeps what a call said of its failure, before it is taken out.
func (p *passage) sealCall(h http.Header) {
	p.g.count.rewritten.Add(1)
	if s := p.g.o.Sealer; s != nil {
		o := Original{ID: p.id, Time: p.g.o.Now(), Status: p.up.status, Header: maps.Clone(h)}
		if api := p.ses.API(); api != nil {
			o.API = api.Name
		}
		s.Seal(o)
	}
}

// callEnds reports whether an answer that cannot be read on is ended by a
// trailer of ours, and as what. An upstream that was told of the deadline may
// find it over a moment before it is here.
func (p *passage) callEnds() (guard.Kind, bool) {
	if r := p.conv.refused(); r != nil {
		return r.Kind, true
	}
	return guard.KindUpstreamTimeout, p.calls && p.deadline > 0 && p.g.o.Now().Sub(p.began) >= p.deadline-10*time.Millisecond
}

// endCall ends an answer that has begun: with the trailer of gRPC.
func (p *passage) endCall(k guard.Kind) {
	p.out.Status = k.Status
	p.timeWrite()
	if !p.form.Web {
		h := p.w.Header()
		h[http.TrailerPrefix+"Grpc-Status"] = []string{strconv.Itoa(k.GRPCStatus())}
		h[http.TrailerPrefix+"Grpc-Message"] = []string{callMessage(k, p.id)}
	} else if n, err := p.w.Write(appendCallEnd(nil, p.form, k, p.id)); err != nil {
		p.out.ResponseBytes += int64(n)
		p.cutAnswer(nil)
		return
	} else {
		p.out.ResponseBytes += int64(n)
	}
	p.finish()
}

// callMessage is what a caller is told: the same for all refusals of a kind,
// but for the request's id.
func callMessage(k guard.Kind, id string) string { return k.Title + " (request " + id + ")" }

// appendCallEnd appends the trailer frame of gRPC-Web.
func appendCallEnd(dst []byte, form frame.Form, k guard.Kind, id string) []byte {
	fields := frame.AppendFields(nil, [][2]string{{"grpc-status", strconv.Itoa(k.GRPCStatus())}, {"grpc-message", callMessage(k, id)}})
	b := append(frame.AppendHead(nil, frame.Trailer, len(fields)), fields...)
	if form.Text {
		return base64.StdEncoding.AppendEncode(dst, b)
	}
	return append(dst, b...)
}

// writeRefusal answers a request that is turned away, in the form that its
// client reads: a problem document, or a gRPC status.
func (p *passage) writeRefusal(k guard.Kind, extra [][2]string) int64 {
	if !p.calls {
		return writeProblem(p.w, p.r.Method, k, p.id, p.withStrict(extra))
	}
	h := p.w.Header()
	problemHeaders(h, p.id, extra)
	if !p.form.Web { // trailers only: a head that ends the stream
		h["Content-Type"] = []string{"application/grpc"}
		h["Grpc-Status"] = []string{strconv.Itoa(k.GRPCStatus())}
		h["Grpc-Message"] = []string{callMessage(k, p.id)}
		if p.r.ProtoMajor < 2 {
			h["Content-Length"] = []string{"0"}
		}
		p.w.WriteHeader(http.StatusOK)
		return 0
	}
	h["Content-Type"] = []string{"application/grpc-web+proto"}
	if p.form.Text {
		h["Content-Type"] = []string{"application/grpc-web-text+proto"}
	}
	b := appendCallEnd(nil, p.form, k, p.id)
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	p.w.WriteHeader(http.StatusOK)
	n, _ := p.w.Write(b)
	return int64(n)
}

// left is what is left of the call's time; ok is false when it has no bound.
func (p *passage) left() (d time.Duration, ok bool) {
	if p.deadline <= 0 || !p.calls {
		return 0, false
	}
	return max(p.deadline-p.g.o.Now().Sub(p.began), time.Millisecond), true
}

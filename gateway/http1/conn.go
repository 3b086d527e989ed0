package http1

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	firstBuffer = 4 << 10  // a connection's read buffer to begin with; it grows for long heads
	keepBuffer  = 16 << 10 // and is given up again above this
	drainBytes  = 64 << 10 // what is read of a body that the handler left, to keep the connection
	lingerBytes = 16 << 20
	lingerTime  = time.Second
)

// A conn is one client's connection and everything that its requests reuse.
type conn struct {
	wire
	s        *Server
	ctx      requestContext
	proto    *http.Request // what each request starts from
	req      http.Request
	url      url.URL
	f        fields
	lines    scan
	line     requestLine
	w        response
	body     *requestBody // of the request in progress; nil when it has none
	count    int
	hijacked bool
	hangup   *probe // for the server's sweep
	input    *probe // for the connection's own goroutine

	active atomic.Bool   // a request is being read or served
	serial atomic.Uint32 // counts requests
	seen   uint32        // serial at the last sweep; guarded by the server's mutex
}

func newConn(s *Server, ctx context.Context, nc net.Conn) *conn {
	c := &conn{s: s, wire: wire{c: nc, buf: make([]byte, firstBuffer), now: s.Now}}
	c.ctx.base, c.ctx.conn = ctx, c
	c.proto = (&http.Request{RemoteAddr: nc.RemoteAddr().String(), ProtoMajor: 1, Body: http.NoBody}).WithContext(&c.ctx)
	c.w.c = c
	c.w.batch = batchTLS
	if _, plain := nc.(*net.TCPConn); plain {
		c.w.batch = batchBytes
	}
	c.w.header = make(http.Header, 8)
	return c
}

// probe makes *p, if need be, a probe of the socket under the connection.
func (c *conn) probe(p **probe, want int16) *probe {
	if *p == nil {
		nc := c.c
		if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
			nc = t.NetConn()
		}
		*p = newProbe(nc, want)
	}
	return *p
}

func (c *conn) serve() {
	for c.await() {
		v, err := c.readHead()
		if err != nil {
			return
		}
		if v == nil {
			v = c.prepare()
		}
		if v != nil {
			c.refuse(c.refusal(v))
			return
		}
		if !c.handle() {
			return
		}
	}
}

// await waits for the first bytes of a request.
func (c *conn) await() bool {
	if c.from < c.to {
		return true
	}
	if len(c.buf) > keepBuffer {
		c.buf = make([]byte, firstBuffer)
	}
	c.from, c.to = 0, 0
	limit := c.s.IdleTimeout
	if c.count == 0 {
		limit = c.s.ReadHeaderTimeout
	}
	by := c.now().Add(limit)
	c.active.Store(false)
	for {
		c.armRead(by, limit/8)
		// Shutdown first says that it is closing, then looks for idle connections and ends their reads;
		// here it is the other way round, so that one of the two sees the other.
		if c.s.closing.Load() && !c.probe(&c.input, readable).ready() {
			return false
		}
		n, err := c.c.Read(c.buf)
		if n > 0 {
			c.active.Store(true)
			c.to = n
			return true
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || !c.now().Before(by) {
			return false
		}
		c.readBy = time.Time{}
	}
}

// readHead reads until the head is whole; the request line is judged as soon as it is there.
func (c *conn) readHead() (*violation, error) {
	c.serial.Add(1)
	c.lines.reset()
	c.line = requestLine{}
	c.req.Method, c.req.RequestURI, c.f.hosts = "", "", 0
	s := c.s
	var by time.Time
	blank, parsed := false, false
	for {
		b := c.rest()
		if len(b) > 0 && !parsed {
			switch {
			case b[0] == '\r' && !blank: // RFC 9112 §2.2: one empty line before the request line is ignored
				if len(b) > 1 && b[1] == '\n' {
					blank = true
					c.from += 2
					c.lines.reset()
					continue
				}
				if len(b) > 1 {
					return vNotHTTP, nil
				}
			case b[0] == '\n':
				return vBareLF, nil
			case b[0] == ' ' || b[0] == '\t':
				return vLine, nil
			case !token[b[0]]:
				return vNotHTTP, nil
			}
		}
		size, v := c.lines.find(b, s.MaxHeaderLines+1)
		if !parsed && len(c.lines.ends) > 0 {
			parsed = true
			if v := c.line.parse(b[:c.lines.ends[0]], s.MaxTargetBytes); v != nil {
				return v, nil
			}
		}
		switch {
		case v != nil:
			return v, nil
		case !parsed && len(b) > s.MaxTargetBytes+maxMethod+len("  HTTP/1.1\r\n"):
			return vTargetLong, nil
		case size > s.MaxHeaderBytes || size == 0 && len(b) >= s.MaxHeaderBytes:
			return vHeadBytes, nil
		case size > 0:
			head, v := c.f.readRequest(b, &c.lines, size)
			if v != nil {
				return v, nil
			}
			c.from += size
			c.req = *c.proto
			c.req.Method = head[:c.line.method]
			c.req.RequestURI = head[c.line.target:c.line.targetEnd]
			return nil, nil
		}
		if by.IsZero() {
			by = c.now().Add(s.ReadHeaderTimeout)
		}
		if err := c.more(max(s.MaxHeaderBytes, firstBuffer), by, 0); err != nil {
			switch {
			case err == errNudged:
				continue
			case errors.Is(err, os.ErrDeadlineExceeded):
				return vHeadSlow, nil
			case err == errFull:
				return vHeadBytes, nil
			case err == io.EOF && len(b) > 0:
				return vHeadShort, nil
			}
			return nil, err
		}
	}
}

// readRequest reads the fields below the request line.
func (f *fields) readRequest(b []byte, s *scan, size int) (string, *violation) {
	f.reset()
	return f.read(b, s, 1, size)
}

// prepare makes the http.Request of what was read, or says what is wrong with it.
func (c *conn) prepare() *violation {
	r, f := &c.req, &c.f
	origin, authority, v := target(r.Method, r.RequestURI, &c.url)
	if v != nil {
		return v
	}
	if v := f.check(r.Method, c.line.minor, authority, c.s.Upgrades); v != nil {
		return v
	}
	expect := false
	if f.expect != "" && c.line.minor > 0 { // HTTP/1.0 has no expectations (RFC 9110 §10.1.1)
		if !equalFold(f.expect, "100-continue") {
			return vExpect
		}
		expect = true
	}
	if c.s.MaxBodyBytes > 0 && f.length > c.s.MaxBodyBytes {
		return vBodyBytes
	}
	r.RequestURI, r.URL, r.Host, r.Header = origin, &c.url, f.host, f.h
	r.Proto, r.ProtoMinor = "HTTP/1.1", 1
	if c.line.minor == 0 {
		r.Proto, r.ProtoMinor = "HTTP/1.0", 0
	}
	r.Close = f.close || c.line.minor == 0 && !f.keepAlive
	c.body = nil
	switch {
	case f.chunked:
		r.ContentLength, r.TransferEncoding = -1, chunkedCoding
		if f.trailer {
			if v := c.announceTrailers(); v != nil {
				return v
			}
		}
		c.body = &requestBody{c: c, expect: expect, content: content{x: &c.wire, state: contentChunkSize, limits: &c.s.limits}}
	case f.length > 0:
		r.ContentLength = f.length
		c.body = &requestBody{c: c, expect: expect, content: content{x: &c.wire, state: contentLength, left: f.length, limits: &c.s.limits}}
	}
	if c.body != nil {
		r.Body = c.body
	}
	return nil
}

var chunkedCoding = []string{"chunked"}

// announceTrailers fills the request's Trailer with the names that its Trailer fields announce (RFC 9110 §6.6.2).
func (c *conn) announceTrailers() *violation {
	t := http.Header{}
	for _, line := range c.f.h["Trailer"] {
		for name := range splitList(line) {
			if name = http.CanonicalHeaderKey(name); !isToken(name) || forbiddenTrailer(hyphens(name)) {
				return vTrailer
			}
			t[name] = nil
		}
	}
	delete(c.f.h, "Trailer")
	if len(t) > 0 {
		c.req.Trailer = t
	}
	return nil
}

// handle has the request answered and reports whether the connection can carry another.
func (c *conn) handle() bool {
	c.count++
	c.w.reset()
	done := c.call()
	if c.hijacked {
		return false
	}
	c.ctx.next()
	rest := bodyRead
	if c.body != nil {
		rest = c.body.finish()
	}
	if !done {
		return false
	}
	if rest == bodyBroken && !c.w.committed && c.w.status == 0 && c.body.refusal != nil {
		c.refuse(c.body.refusal)
		return false
	}
	if !c.w.finish() {
		return false
	}
	if c.w.close || rest == bodyBroken || rest == bodyLeft && !c.drain() {
		if rest != bodyRead || c.from < c.to || c.probe(&c.input, readable).ready() {
			c.linger()
		}
		return false
	}
	return true
}

// call runs the handler; false says that the connection cannot go on.
func (c *conn) call() (ok bool) {
	defer func() {
		if ok {
			return
		}
		v := recover()
		if v == nil { // runtime.Goexit
			return
		}
		if v != http.ErrAbortHandler && c.s.OnPanic != nil {
			c.s.OnPanic(&c.req, v)
		}
		if c.hijacked || v == http.ErrAbortHandler || c.w.committed {
			return
		}
		if c.body != nil {
			c.body.finish()
		}
		c.refuse(c.refusal(vPanic))
	}()
	c.s.Handler.ServeHTTP(&c.w, &c.req)
	return true
}

var vPanic = &violation{500, "handler.panic", "the handler failed"}

// drain reads what the handler left of the body, up to a bound: cheaper than a new connection.
func (c *conn) drain() bool {
	b := &c.body.content
	limits := *b.limits
	limits.step, limits.whole = min(limits.step, 2*time.Second), 2*time.Second
	b.limits, b.started = &limits, time.Time{}
	b.until.Store(nil)
	var room [2 << 10]byte
	for start := b.total; b.total-start <= drainBytes; {
		if _, err := b.read(room[:]); err != nil {
			return err == io.EOF
		}
	}
	return false
}

// refusal describes what is wrong with the request as far as it was read.
func (c *conn) refusal(v *violation) *Refusal {
	r := &Refusal{Status: v.status, Rule: v.rule, Detail: v.detail, Conn: c.c, Context: c.ctx.base, Time: c.now()}
	switch {
	case c.req.Method != "":
		r.Method, r.Target = c.req.Method, c.req.RequestURI
	case c.line.targetEnd > 0 && c.line.targetEnd <= len(c.rest()):
		b := c.rest()
		r.Method, r.Target = string(b[:c.line.method]), string(b[c.line.target:min(c.line.targetEnd, c.line.target+1024)])
	}
	for i := 0; i < len(r.Target); i++ {
		if targetByte[r.Target[i]] == 0 {
			r.Target = ""
		}
	}
	if c.f.hosts == 1 && validHost(c.f.host) {
		r.Host = c.f.host
	}
	return r
}

// refuse answers a request that no handler sees or that its handler left
// unanswered, says that the connection closes, and records it.
func (c *conn) refuse(r *Refusal) {
	var kind string
	var body []byte
	if c.s.ErrorAnswer != nil {
		kind, body = c.s.ErrorAnswer(r)
	}
	out := statusLine(c.w.out[:0], r.Status)
	out = appendField(out, "Date", c.s.now1123())
	if kind != "" {
		out = appendField(out, "Content-Type", kind)
	}
	if r.ID != "" {
		out = appendField(out, "X-Request-Id", r.ID)
	}
	for _, f := range r.Fields {
		out = appendField(out, f[0], f[1])
	}
	out = append(strconv.AppendInt(append(out, "Content-Length: "...), int64(len(body)), 10), "\r\nConnection: close\r\n\r\n"...)
	if r.Method != http.MethodHead {
		out = append(out, body...)
	}
	c.w.out = out[:0]
	c.armWrite(c.now().Add(c.s.WriteTimeout), 0)
	_, err := c.c.Write(out)
	if c.s.OnRefuse != nil {
		c.s.OnRefuse(r)
	}
	if err == nil {
		c.linger()
	}
}

// linger lets the other side read the last answer before the connection is
// reset for what it still sends (RFC 9112 §9.6).
func (c *conn) linger() {
	if h, ok := c.c.(interface{ CloseWrite() error }); !ok || h.CloseWrite() != nil {
		return
	}
	c.c.SetReadDeadline(time.Now().Add(lingerTime))
	for n := 0; n < lingerBytes; {
		k, err := c.c.Read(c.buf)
		if err != nil {
			return
		}
		n += k
	}
}

// A requestBody is a request's body. It stays behind when the handler returns,
// so that a goroutine that still reads it gets an error and not the bytes of
// the next request.
type requestBody struct {
	mu      sync.Mutex
	c       *conn // nil after the handler returned
	content content
	cut     atomic.Bool
	expect  bool // the client waits for 100 Continue
	err     error
	refusal *Refusal
}

// Read implements io.Reader. An error other than io.EOF is as a rule a *Refusal.
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	if b.err != nil {
		return 0, b.err
	}
	if b.expect && !b.cut.Load() {
		b.expect = false
		if err := b.c.w.sendContinue(); err != nil {
			b.err = err
			return 0, err
		}
	}
	if b.cut.Load() {
		return b.interrupted()
	}
	n, err := b.content.read(p)
	if err != nil && b.cut.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		return b.interrupted()
	}
	if err != nil {
		b.fail(err)
		err = b.err
	}
	return n, err
}

// errInterrupted: the exchange that the body was read for is over.
var errInterrupted = errors.New("reading the body was interrupted")

// interrupt has a Read in progress in another goroutine, or the next one, return.
func (b *requestBody) interrupt() {
	b.cut.Store(true)
	b.content.until.Store(&past)
	b.content.x.nudge()
}

// interrupted ends the Read that was interrupted with nothing read and nothing
// wrong, for nothing is wrong with the body; another Read is an error.
func (b *requestBody) interrupted() (int, error) {
	b.err = errInterrupted
	return 0, nil
}

func (b *requestBody) fail(err error) {
	if err == io.EOF {
		b.err = err
		for name, vs := range b.content.trailer {
			if b.c.req.Trailer == nil {
				b.c.req.Trailer = http.Header{}
			}
			b.c.req.Trailer[name] = vs
		}
		return
	}
	v, ok := err.(*violation)
	switch {
	case ok:
	case errors.Is(err, os.ErrDeadlineExceeded):
		v = vBodySlow
	case err == errAborted:
		b.err = http.ErrBodyReadAfterClose
		return
	default:
		b.err = err
		return
	}
	b.refusal = b.c.refusal(v)
	b.err = b.refusal
}

// Close implements io.Closer. What was not read is dealt with after the handler returned.
func (b *requestBody) Close() error { return nil }

type bodyRest uint8

const (
	bodyRead   bodyRest = iota // nothing left on the connection
	bodyLeft                   // some is left and may be read
	bodyBroken                 // where the next request begins is unknown
)

// finish takes the connection from the body after the handler returned.
func (b *requestBody) finish() bodyRest {
	if !b.mu.TryLock() { // a goroutine of the handler's is still reading
		b.content.x.aborted.Store(true)
		b.content.x.c.SetReadDeadline(past)
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	b.c = nil
	switch {
	case b.content.state == contentDone && (b.err == nil || b.err == io.EOF):
		return bodyRead
	case b.err != nil && b.err != errInterrupted, b.expect, b.content.x.aborted.Load():
		return bodyBroken
	}
	return bodyLeft
}

// keepable says, before the answer's head is written, whether the connection can
// be kept: the rest of the body is short, and surely on its way.
func (b *requestBody) keepable() bool {
	if !b.mu.TryLock() {
		return false
	}
	defer b.mu.Unlock()
	switch b.content.state {
	case contentDone:
		return true
	case contentLength:
		return b.err == nil && !b.expect && b.content.left <= drainBytes
	}
	return b.err == nil && !b.expect
}

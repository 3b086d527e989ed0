package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A Transport sends requests to upstreams over pooled connections, one at a
// time on each, and reads their answers strictly. Its fields are set before
// the first request; its methods may be called from several goroutines. The
// zero value is ready.
//
// A connection carries another request only when nothing about its last
// answer was odd: the answer had a stated length or was chunked, was read to
// its end, nothing followed it, the request had been sent whole, and, when the
// next request comes, nothing has arrived meanwhile.
//
// A request is sent a second time, on another connection, only when the first
// one was a pooled connection that turns out closed, and either nothing of the
// request was written or the method is idempotent (RFC 9110 §9.2.2), its body
// is not a stream, and no byte of an answer came.
type Transport struct {
	// Dial opens a connection; nil means a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS is used for requests that ask for it; ServerName comes from the request when it is empty here.
	TLS *tls.Config
	// Opened is told of each new connection before it carries a request; its error closes the connection and fails the request.
	Opened func(ctx context.Context, addr string, c net.Conn) error
	// Closed is told when a connection that Opened passed is gone from the pool, also by being hijacked.
	Closed func(addr string, c net.Conn)

	DialTimeout   time.Duration // connection, TLS handshake and Opened; waiting for MaxConnsPerAddr. 0 means 5 s
	AnswerTimeout time.Duration // from the request's last byte to the answer's head; 0 means 60 s
	BodyTimeout   time.Duration // for the next bytes of a body, either way; 0 means 60 s
	IdleTimeout   time.Duration // of a pooled connection; 0 means 60 s

	MaxIdlePerAddr  int // 0 means 128
	MaxConnsPerAddr int // requests wait beyond it; 0 means no limit
	MaxHeaderBytes  int // of an answer; 0 means 64 KiB
	MaxHeaderLines  int // of an answer; 0 means 256

	Now func() time.Time // nil means time.Now

	once   sync.Once
	limits contentLimits
	mu     sync.Mutex
	pools  map[poolKey]*pool
	reap   *time.Timer
}

// A Request is what Do sends. It, and all it refers to, belongs to the exchange
// until Do failed or the Response was closed, and to the caller again after that. Fields that concern one hop only (Connection
// and what it names, Keep-Alive, Transfer-Encoding, Te, Trailer, Upgrade, …),
// Host, Content-Length and Expect are not taken from Header: they follow from
// the other fields. So a server's header can be passed on as it is.
type Request struct {
	Addr       string // host:port to connect to
	TLS        bool
	ServerName string // for TLS; empty means Addr's host

	Method, Target, Host string // Host empty means Addr
	Header               http.Header
	Extra                []Field // sent after Header; a name in Extra hides the same name in Header, and with an empty value does only that

	Body    []byte      // a whole body, or
	Stream  io.Reader   // a body that is read while it is sent, in another goroutine,
	Length  int64       // of Length bytes, -1 when that is unknown
	Trailer http.Header // announced trailer fields, read after Stream's end; only with Length -1

	// Interrupt has a Read of Stream in progress return soon. It is called when the
	// exchange ends before the request was sent, because Close, or a failed Do, waits
	// until nobody uses Stream any more. A body of this package's Server needs none
	// when Do is given its request's context.
	Interrupt func()

	Upgrade  string    // protocol to ask for, as in "websocket"; the answer may then be 101
	Deadline time.Time // for the answer's head; zero means AnswerTimeout
	NoRetry  bool      // never send it a second time

	On1xx func(status int, h http.Header) // told of interim answers other than 100 and 101; h is not to be kept
}

// A Field is one header line.
type Field struct{ Name, Value string }

// An Error says why an upstream could not be asked or its answer not be used.
type Error struct {
	Op      string // "request", "wait", "dial", "tls", "opened", "write", "stream" (the request's own body failed), "read", "answer", "body"
	Addr    string
	Rule    string // the rule an answer broke, as in "framing.cl-te"; "" for network trouble
	Written bool   // some of the request may have reached the upstream
	Err     error  // context.Canceled and the like when the caller gave up

	again bool // the request may be sent again
}

// Error names the step, the address and the cause.
func (e *Error) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Addr, e.Err) }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether time ran out.
func (e *Error) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.Err, &t) && t.Timeout()
}

// The rules of an answer's head and of what an upstream may do with a connection.
var (
	vNotAnswer     = &violation{502, "answer.syntax", "no HTTP/1.1 status line (RFC 9112 §4)"}
	vAnswerVersion = &violation{502, "answer.version", "neither HTTP/1.1 nor HTTP/1.0"}
	vInterims      = &violation{502, "answer.interim", "too many interim answers"}
	vUnasked101    = &violation{502, "answer.upgrade", "an upgrade that was not asked for (RFC 9110 §7.8)"}
	vAnswerShort   = &violation{502, "answer.short", "the connection ended inside the answer's header"}
)

const (
	maxInterims = 8
	inlineBody  = 64 << 10 // a body up to this is written together with the head
	linkBuffer  = 8 << 10
)

func (t *Transport) init() {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&t.DialTimeout, 5*time.Second)
	def(&t.AnswerTimeout, time.Minute)
	def(&t.BodyTimeout, time.Minute)
	def(&t.IdleTimeout, time.Minute)
	if t.MaxIdlePerAddr == 0 {
		t.MaxIdlePerAddr = 128
	}
	if t.MaxHeaderBytes == 0 {
		t.MaxHeaderBytes = 64 << 10
	}
	if t.MaxHeaderLines == 0 {
		t.MaxHeaderLines = 256
	}
	if t.Now == nil {
		t.Now = time.Now
	}
	if t.Dial == nil {
		t.Dial = (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext
	}
	t.limits = contentLimits{step: t.BodyTimeout, lineBytes: 8 << 10, lines: 64, extensions: true}
	t.mu.Lock()
	t.pools = map[poolKey]*pool{}
	t.mu.Unlock()
}

// Do sends req and reads the head of its answer into dst. After success the
// caller reads the body and must call dst.Close. The error is an *Error.
// When ctx ends, so does the exchange, the body's reading included.
func (t *Transport) Do(ctx context.Context, dst *Response, req *Request) error {
	t.once.Do(t.init)
	dst.Close()
	if ctx.Err() != nil {
		return &Error{Op: "wait", Addr: req.Addr, Err: ctx.Err()}
	}
	for attempt := 0; ; attempt++ {
		l, err := t.get(ctx, req, attempt > 1)
		if err != nil {
			return err
		}
		if err = l.exchange(ctx, dst, req); err == nil {
			return nil
		}
		dst.stopSender()
		dst.detach()
		reused := l.used > 1
		l.discard()
		if cause := ctx.Err(); cause != nil && errors.Is(err.Err, errAborted) {
			err.Err = cause
		}
		if !reused || !err.again || req.NoRetry || ctx.Err() != nil {
			return err
		}
	}
}

// A link is a connection to an upstream.
type link struct {
	wire
	t     *Transport
	p     *pool
	probe *probe
	tls   *tls.Conn
	used  int       // requests
	since time.Time // when it was taken for the request in progress
	idle  time.Time // when the last request began
	out   []byte
	lines scan
}

func (l *link) fail(op string, err error) *Error {
	e := &Error{Op: op, Addr: l.p.key.addr, Err: err}
	var v *violation
	if errors.As(err, &v) {
		e.Rule = v.rule
	}
	return e
}

// exchange sends the request and reads the answer's head.
func (l *link) exchange(ctx context.Context, dst *Response, req *Request) *Error {
	out, err := appendHead(l.out[:0], req)
	if err != nil {
		return l.fail("request", err)
	}
	if !dst.attach(ctx, l) {
		return l.fail("write", errAborted)
	}
	l.used++
	by, slack := l.answerBy(ctx, req, l.since)
	var written bool
	if len(req.Body) > inlineBody || req.Stream != nil && req.Length != 0 {
		dst.sender = &sender{l: l, req: req, done: make(chan struct{})}
		dst.sender.last.Store(l.since.UnixNano())
		l.out = nil // it belongs to the sender now
		go dst.sender.run(out)
		written = true
	} else {
		out = append(out, req.Body...)
		l.out = out[:0]
		l.armWrite(by, slack)
		n, err := 0, error(errAborted)
		if !l.aborted.Load() {
			n, err = l.c.Write(out)
		}
		written = n > 0
		if err != nil {
			dst.odd = true
			if !written || errors.Is(err, os.ErrDeadlineExceeded) || l.aborted.Load() {
				e := l.fail("write", err)
				if l.aborted.Load() {
					e.Err = errAborted
				}
				e.Written, e.again = written, !written
				return e
			}
			// The upstream closed while it was written to; it may have said why.
			if e := l.readAnswer(ctx, dst, req, by, slack); e != nil {
				e = l.fail("write", err)
				e.Written = true
				return e
			}
			return nil
		}
	}
	if e := l.readAnswer(ctx, dst, req, by, slack); e != nil {
		e.Written = written
		if s := dst.sender; s != nil {
			stream, sent := s.failed()
			if stream != nil {
				e = l.fail("stream", stream)
			}
			e.Written, e.again = sent, false
			return e
		}
		e.again = e.again && idempotent(req.Method)
		return e
	}
	return nil
}

// answerBy says until when the answer's head must be there.
func (l *link) answerBy(ctx context.Context, req *Request, now time.Time) (by time.Time, slack time.Duration) {
	by, slack = now.Add(l.t.AnswerTimeout), l.t.AnswerTimeout/8
	if !req.Deadline.IsZero() {
		by, slack = req.Deadline, 0
	}
	if d, ok := ctx.Deadline(); ok && d.Before(by) {
		by, slack = d, 0
	}
	return by, slack
}

// idempotent methods may be sent again (RFC 9110 §9.2.2).
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// gone reports errors that say that the other side had closed the connection.
func gone(err error) bool {
	return err == io.EOF || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}

// readAnswer reads the head of the final answer (RFC 9112 §4, §6.3).
func (l *link) readAnswer(ctx context.Context, dst *Response, req *Request, by time.Time, slack time.Duration) *Error {
	for interims := 0; ; interims++ {
		size, e := l.readHead(dst, by, slack)
		if e != nil {
			e.again = e.again && interims == 0
			return e
		}
		b := l.rest()
		minor, status, v := statusOf(b[:l.lines.ends[0]])
		if v != nil {
			return l.fail("answer", v)
		}
		dst.f.reset()
		dst.f.answer = status != http.StatusSwitchingProtocols
		if _, v = dst.f.read(b, &l.lines, 1, size); v == nil {
			v = dst.f.framing(minor)
		}
		if v != nil {
			return l.fail("answer", v)
		}
		l.from += size
		if status >= 200 || status == http.StatusSwitchingProtocols {
			if v := dst.accept(req, minor, status); v != nil {
				return l.fail("answer", v)
			}
			return nil
		}
		switch {
		case minor == 0 || interims >= maxInterims || dst.f.tes > 0 || dst.f.length > 0:
			return l.fail("answer", vInterims)
		case status != http.StatusContinue && req.On1xx != nil:
			req.On1xx(status, dst.f.h)
		}
	}
}

// readHead reads until a whole head is in the buffer.
func (l *link) readHead(dst *Response, by time.Time, slack time.Duration) (int, *Error) {
	t := l.t
	l.lines.reset()
	for {
		b := l.rest()
		if n := min(len(b), len("HTTP/")); string(b[:n]) != "HTTP/"[:n] {
			return 0, l.fail("answer", vNotAnswer)
		}
		size, v := l.lines.find(b, t.MaxHeaderLines+1)
		switch {
		case v != nil:
			return 0, l.fail("answer", v)
		case size > t.MaxHeaderBytes || size == 0 && len(b) >= t.MaxHeaderBytes:
			return 0, l.fail("answer", vHeadBytes)
		case size > 0:
			return size, nil
		}
		err := l.more(max(t.MaxHeaderBytes, linkBuffer), by, slack)
		switch {
		case err == nil, err == errNudged:
		case errors.Is(err, os.ErrDeadlineExceeded) && dst.sender != nil && dst.sender.postpones(&by, t.AnswerTimeout, l.now()):
			slack = 0
		case len(b) > 0 && err == io.EOF:
			return 0, l.fail("answer", vAnswerShort)
		default:
			e := l.fail("read", err)
			e.again = len(b) == 0 && gone(err)
			return 0, e
		}
	}
}

// statusOf reads a status line (RFC 9112 §4). The blank before an empty reason
// is not insisted on: nothing can be read two ways without it.
func statusOf(b []byte) (minor, status int, v *violation) {
	if len(b) < len("HTTP/1.1 200") || string(b[:5]) != "HTTP/" || b[8] != ' ' {
		return 0, 0, vNotAnswer
	}
	switch string(b[5:8]) {
	case "1.1":
		minor = 1
	case "1.0":
	default:
		return 0, 0, vAnswerVersion
	}
	for _, c := range b[9:12] {
		if c-'0' > 9 {
			return 0, 0, vNotAnswer
		}
		status = status*10 + int(c-'0')
	}
	if status < 100 || status > 599 || len(b) > 12 && (b[12] != ' ' || !cleanValue(b[13:])) {
		return 0, 0, vNotAnswer
	}
	return minor, status, nil
}

// appendHead writes a request's head (RFC 9112 §3, §5). It checks everything
// that could end a line early, whoever let it in.
func appendHead(out []byte, req *Request) ([]byte, error) {
	if !isToken(req.Method) {
		return nil, errors.New("the method is no token")
	}
	if req.Target == "" || req.Target[0] != '/' && req.Target != "*" {
		return nil, errors.New("the target is no path")
	}
	for i := 0; i < len(req.Target); i++ {
		if targetByte[req.Target[i]] == 0 {
			return nil, errors.New("a byte of the target may not stand there")
		}
	}
	host := req.Host
	if host == "" {
		host = req.Addr
	}
	if !validHost(host) {
		return nil, errors.New("no valid host")
	}
	out = append(append(append(append(out, req.Method...), ' '), req.Target...), " HTTP/1.1\r\nHost: "...)
	out = append(append(out, host...), "\r\n"...)
	nominated := req.Header["Connection"]
	for name, vs := range req.Header {
		if hopByHop(name) || name == "Host" || name == "Content-Length" || name == "Expect" || hidden(req.Extra, name) || nominated != nil && named(nominated, name) {
			continue
		}
		for _, v := range vs {
			var err error
			if out, err = appendRequestField(out, name, v); err != nil {
				return nil, err
			}
		}
	}
	for _, f := range req.Extra {
		if f.Value == "" {
			continue
		}
		var err error
		if out, err = appendRequestField(out, f.Name, f.Value); err != nil {
			return nil, err
		}
	}
	return appendFraming(out, req)
}

func appendRequestField(out []byte, name, value string) ([]byte, error) {
	if !isToken(name) {
		return nil, errors.New("a header name is no token")
	}
	out = append(append(append(out, name...), ": "...), value...)
	if !cleanValue(out[len(out)-len(value):]) {
		return nil, errors.New("a control byte in a header value")
	}
	return append(out, "\r\n"...), nil
}

func hidden(extra []Field, name string) bool {
	for i := range extra {
		if extra[i].Name == name {
			return true
		}
	}
	return false
}

func named(lines []string, name string) bool {
	for _, line := range lines {
		for o := range splitList(line) {
			if len(o) == len(name) && http.CanonicalHeaderKey(o) == name {
				return true
			}
		}
	}
	return false
}

// appendFraming writes the fields that the body and the connection's use follow from, and ends the head.
func appendFraming(out []byte, req *Request) ([]byte, error) {
	length := int64(len(req.Body))
	if req.Stream != nil {
		length = req.Length
	}
	switch {
	case length < 0:
		out = append(out, "Transfer-Encoding: chunked\r\n"...)
		for name := range req.Trailer {
			if isToken(name) && !forbiddenTrailer(name) {
				out = append(append(append(out, "Trailer: "...), name...), "\r\n"...)
			}
		}
	case length > 0 || req.Method == http.MethodPost || req.Method == http.MethodPut || req.Method == http.MethodPatch:
		out = appendLength(out, length)
	}
	if req.Upgrade != "" {
		if !isToken(req.Upgrade) {
			return nil, errors.New("the protocol to upgrade to is no token")
		}
		out = append(append(append(out, "Connection: Upgrade\r\nUpgrade: "...), req.Upgrade...), "\r\n"...)
	}
	return append(out, "\r\n"...), nil
}

// A sender writes a request whose body does not fit one write, while the
// answer is awaited: an upstream may answer early.
type sender struct {
	l    *link
	req  *Request
	done chan struct{}
	last atomic.Int64 // when it last got on
	sent atomic.Bool  // something was written

	// Valid after done.
	stream error // from the request's Stream
	write  error // from the connection
}

func (s *sender) run(head []byte) {
	s.stream, s.write = s.send(head)
	close(s.done)
	if s.stream != nil {
		s.l.abort() // the request cannot be completed: nobody may take it for complete
	}
}

func (s *sender) send(out []byte) (stream, write error) {
	if s.req.Stream == nil {
		for body := s.req.Body; len(body) > 0 || len(out) > 0; out = out[:0] {
			n := min(len(body), inlineBody)
			out, body = append(out, body[:n]...), body[n:]
			if err := s.put(out); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
	chunked, left := s.req.Length < 0, s.req.Length
	if chunked { // the peers may talk both ways: the head does not wait for the first piece
		if err := s.put(out); err != nil {
			return nil, err
		}
		out = out[:0]
	}
	b := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(b)
	for chunked || left > 0 {
		p := *b
		if !chunked && int64(len(p)) > left {
			p = p[:left]
		}
		n, err := s.req.Stream.Read(p)
		if n == 0 && err == nil && s.l.aborted.Load() {
			return nil, errAborted
		}
		if n > 0 {
			if chunked {
				out = append(appendHex(out, n), "\r\n"...)
			}
			out = append(out, p[:n]...)
			if chunked {
				out = append(out, "\r\n"...)
			}
			left -= int64(n)
			if err := s.put(out); err != nil {
				return nil, err
			}
			out = out[:0]
		}
		if err == io.EOF && !chunked && left > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err == io.EOF {
			break
		}
		if err != nil && (chunked || left > 0) {
			return err, nil
		}
	}
	if !chunked {
		return nil, nil
	}
	out = append(out, "0\r\n"...)
	for name, vs := range s.req.Trailer {
		if !forbiddenTrailer(name) {
			for _, v := range vs {
				out = appendField(out, name, v)
			}
		}
	}
	return nil, s.put(append(out, "\r\n"...))
}

func (s *sender) put(out []byte) error {
	l := s.l
	now := l.now()
	s.last.Store(now.UnixNano())
	l.armWrite(now.Add(l.t.BodyTimeout), l.t.BodyTimeout/8)
	if l.aborted.Load() {
		return errAborted
	}
	n, err := l.c.Write(out)
	if n > 0 {
		s.sent.Store(true)
	}
	s.last.Store(l.now().UnixNano())
	return err
}

// postpones moves the time for the answer while the request is still being sent.
func (s *sender) postpones(by *time.Time, limit time.Duration, now time.Time) bool {
	next := time.Unix(0, s.last.Load()).Add(limit)
	select {
	case <-s.done:
	default:
		next = now.Add(limit) // waiting for the request's own body is not the upstream's fault
	}
	if !next.After(*by) {
		return false
	}
	*by = next
	return now.Before(next)
}

// failed gives the error of the request's own body, if that is what went
// wrong, and whether anything was sent.
func (s *sender) failed() (stream error, sent bool) {
	select {
	case <-s.done:
		return s.stream, s.sent.Load()
	default:
		return nil, s.sent.Load()
	}
}

// complete reports whether the whole request was sent.
func (s *sender) complete() bool {
	select {
	case <-s.done:
		return s.stream == nil && s.write == nil
	default:
		return false
	}
}

package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A Server reads HTTP/1.0 and HTTP/1.1 requests from connections and calls its
// Handler, one request of a connection after the other. Its fields are set
// before the first connection and not changed afterwards; its methods may be
// called from several goroutines.
//
// The handler's ResponseWriter is an http.Flusher, http.Hijacker,
// io.ReaderFrom, io.StringWriter and Answerer, and knows the deadlines of
// http.ResponseController. Before it calls the handler the server has seen to
// it that the request has one reading: see the rules in the package's
// refusals. It sniffs no content type and adds no header but Date,
// Content-Length, Transfer-Encoding and Connection. A target in absolute form
// reaches the handler in origin form, the Host header naming the same host.
// An Upgrade field reaches it only with the protocols of Upgrades.
//
// The context of a request ends when the handler returned, and, for one that
// takes longer than about a second, when the client has closed its side.
type Server struct {
	Handler http.Handler

	ReadHeaderTimeout time.Duration // from a request's first byte to the end of its head; met: 408. 0 means 10 s. A new connection's first byte must come within it too; met: closed
	ReadTimeout       time.Duration // for a whole request body; met: 408. 0 means no limit but that of progress
	BodyTimeout       time.Duration // for the next bytes of a body to arrive; met: 408. 0 means 30 s
	MinBodyRate       int           // bytes a second a body must average after its first BodyTimeout; met: 408. 0 means 64, less than 0 any
	WriteTimeout      time.Duration // for the client to take a piece of the answer; met: closed. 0 means 60 s
	IdleTimeout       time.Duration // between requests; met: closed. 0 means 75 s

	MaxHeaderBytes     int      // request line and header; met: 431. 0 means 32 KiB
	MaxHeaderLines     int      // header lines; met: 431. 0 means 100
	MaxTargetBytes     int      // request target; met: 414. 0 means 8 KiB
	MaxBodyBytes       int64    // request body; met: 413. 0 means no limit here
	MaxRequestsPerConn int      // then the connection closes; 0 means no limit
	Upgrades           []string // protocols, in lower case, that a handler may upgrade to; nil means "websocket"

	// ErrorAnswer renders the answer to a refused request; it may set r.ID.
	// Nil answers with an empty body.
	ErrorAnswer func(r *Refusal) (contentType string, body []byte)
	// OnRefuse is called once for each request that the server itself refused, after the answer was written.
	OnRefuse func(r *Refusal)
	// OnPanic is told of a panic of the handler other than http.ErrAbortHandler.
	OnPanic func(r *http.Request, v any)
	// ConnContext makes the context that the requests of a connection share.
	ConnContext func(ctx context.Context, c net.Conn) context.Context
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	once    sync.Once
	closing atomic.Bool
	date    atomic.Pointer[stamp]
	limits  contentLimits

	mu    sync.Mutex
	conns map[*conn]bool
	empty chan struct{} // closed when Shutdown waits and the last connection went
	sweep *time.Timer
}

// A Refusal is a request that the server turned away by itself: its framing
// was broken or ambiguous, or a bound was met. It is also the error that a
// request body returns from Read when the trouble is found there; a handler
// that then returns without an answer has the server answer.
type Refusal struct {
	Status int         // of the answer
	Rule   string      // stable name, as in "framing.cl-te"
	Detail string      // for people; holds nothing out of the request
	Fields [][2]string // further fields of the answer, set by ErrorAnswer
	ID     string      // request id, set by ErrorAnswer; the answer's X-Request-Id

	Method, Target, Host string // as far as they were read and well-formed
	Conn                 net.Conn
	Context              context.Context // the connection's
	Time                 time.Time
}

// Error says which rule was broken.
func (r *Refusal) Error() string { return r.Rule + ": " + r.Detail }

// An Answerer is what this package's ResponseWriter offers besides: a whole
// answer in one call and, as a rule, one write. h stands for the writer's own
// header and is neither kept nor changed; body is not kept. Its length becomes
// the Content-Length, but for an empty body to HEAD or with 304, where h's
// stands. Nothing may have been written before, and nothing is afterwards.
type Answerer interface {
	WriteAnswer(status int, h http.Header, body []byte) error
}

type stamp struct {
	second int64
	text   string
}

func (s *Server) init() {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	defN := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	def(&s.ReadHeaderTimeout, 10*time.Second)
	def(&s.BodyTimeout, 30*time.Second)
	def(&s.WriteTimeout, time.Minute)
	def(&s.IdleTimeout, 75*time.Second)
	defN(&s.MinBodyRate, 64)
	defN(&s.MaxHeaderBytes, 32<<10)
	defN(&s.MaxHeaderLines, 100)
	defN(&s.MaxTargetBytes, 8<<10)
	if s.Upgrades == nil {
		s.Upgrades = []string{"websocket"}
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	s.limits = contentLimits{
		step: s.BodyTimeout, whole: s.ReadTimeout, rate: int64(max(0, s.MinBodyRate)), bytes: s.MaxBodyBytes,
		lineBytes: min(8<<10, s.MaxHeaderBytes), lines: s.MaxHeaderLines,
	}
	s.conns = map[*conn]bool{}
}

// Serve accepts connections until the listener is closed, each served in a
// goroutine of its own, and returns the listener's error.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go s.ServeConn(ctx, c)
	}
}

// ServeConn serves the requests of one connection and closes it. For a
// *tls.Conn it completes the handshake first. It returns when the connection
// ended or was hijacked. When ctx ends, so do the contexts of the requests.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) {
	s.once.Do(s.init)
	c := s.open(ctx, nc)
	if c == nil {
		nc.Close()
		return
	}
	stop := context.AfterFunc(c.ctx.base, c.ctx.end)
	defer func() {
		// The handler's panics end in call; one that comes here is this package's own, and costs one connection.
		if v := recover(); v != nil && s.OnPanic != nil {
			s.OnPanic(&c.req, v)
		}
		stop()
		c.ctx.next()
		s.forget(c)
		if !c.hijacked {
			nc.Close()
		}
	}()
	if c.handshake() {
		c.serve()
	}
}

func (s *Server) open(ctx context.Context, nc net.Conn) *conn {
	if s.ConnContext != nil {
		ctx = s.ConnContext(ctx, nc)
	}
	c := newConn(s, ctx, nc)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return nil
	}
	s.conns[c] = true
	if s.sweep == nil {
		s.sweep = time.AfterFunc(time.Second, s.findGone)
	}
	return c
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) > 0 {
		return
	}
	if s.sweep != nil {
		s.sweep.Stop()
		s.sweep = nil
	}
	if s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

// findGone looks, once a second, at the requests that were in progress the
// last time already, and ends the contexts of those whose client has left. A
// client that half-closes its connection and waits is taken for gone then, as
// by net/http and nginx.
func (s *Server) findGone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if n := c.serial.Load(); n != c.seen || !c.active.Load() {
			c.seen = n
			continue
		}
		if hungUp != 0 && c.ctx.watched() && c.probe(&c.hangup, hungUp).ready() {
			c.ctx.end()
		}
	}
	if s.sweep != nil {
		s.sweep.Reset(time.Second)
	}
}

// Shutdown closes idle connections at once and each busy one after its answer,
// which says so. It returns nil when all are gone. When ctx ends first, the
// contexts of the requests left end, their connections are closed, and
// Shutdown returns ctx's error without waiting for the handlers.
func (s *Server) Shutdown(ctx context.Context) error {
	s.once.Do(s.init)
	s.mu.Lock()
	s.closing.Store(true)
	if len(s.conns) == 0 {
		s.mu.Unlock()
		return nil
	}
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	empty := s.empty
	for c := range s.conns {
		if !c.active.Load() {
			c.c.SetReadDeadline(past) // it looks whether a request is under way, and leaves
		}
	}
	s.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.ctx.end()
		c.c.Close()
	}
	return ctx.Err()
}

// now1123 is the Date of answers (RFC 9110 §6.6.1), made once a second.
func (s *Server) now1123() string {
	now := s.Now()
	d := s.date.Load()
	if sec := now.Unix(); d == nil || d.second != sec {
		d = &stamp{sec, now.UTC().Format(http.TimeFormat)}
		s.date.Store(d)
	}
	return d.text
}

// handshake completes TLS, within the time that a head has.
func (c *conn) handshake() bool {
	t, ok := c.c.(*tls.Conn)
	if !ok {
		return true
	}
	c.c.SetDeadline(time.Now().Add(c.s.ReadHeaderTimeout))
	err := t.HandshakeContext(c.ctx.base)
	var record tls.RecordHeaderError
	if errors.As(err, &record) && record.Conn != nil && looksLikeHTTP(record.RecordHeader) {
		// Plain HTTP on a TLS port: say so in plain, as net/http does.
		record.Conn.Write([]byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
	}
	if err != nil {
		return false
	}
	c.c.SetDeadline(time.Time{})
	state := t.ConnectionState()
	c.proto.TLS = &state
	return true
}

func looksLikeHTTP(b [5]byte) bool {
	for _, m := range []string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH"} {
		if string(b[:]) == m {
			return true
		}
	}
	return false
}

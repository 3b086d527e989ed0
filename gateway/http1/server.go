package http1

import (
	"context"
	"net"
	"net/http"
	"time"
)

// A Server reads HTTP/1.0 and HTTP/1.1 requests from connections and calls its
// Handler, one request of a connection after the other. Its fields are set
// before the first connection and not changed afterwards; its methods may be
// called from several goroutines.
type Server struct {
	Handler http.Handler

	ReadHeaderTimeout time.Duration // from a request's first byte to the end of its head; met: 408. 0 means 10 s
	ReadTimeout       time.Duration // for a whole request body; met: 408. 0 means no limit but that of progress
	BodyTimeout       time.Duration // for the next bytes of a body to arrive; met: 408. 0 means 30 s
	MinBodyRate       int           // bytes a second a body must average after its first BodyTimeout; 0 means 64
	WriteTimeout      time.Duration // for the client to take a piece of the answer; met: closed. 0 means 60 s
	IdleTimeout       time.Duration // between requests; met: closed. 0 means 75 s

	MaxHeaderBytes     int   // request line and header; met: 431. 0 means 32 KiB
	MaxHeaderLines     int   // header lines; met: 431. 0 means 100
	MaxTargetBytes     int   // request target; met: 414. 0 means 8 KiB
	MaxBodyBytes       int64 // request body; met: 413. 0 means no limit here
	MaxRequestsPerConn int   // then the connection closes; 0 means no limit

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
}

// ServeConn serves the requests of one connection and closes it. For a
// *tls.Conn it completes the handshake first. It returns when the connection
// ended or was hijacked.
func (s *Server) ServeConn(ctx context.Context, c net.Conn) { c.Close() }

// Shutdown closes idle connections at once and each busy one after its answer.
// It returns when all are gone, or with ctx's error when that ends first; the
// connections left are then closed.
func (s *Server) Shutdown(ctx context.Context) error { return nil }

// A Refusal is a request that the server turned away by itself: its framing
// was broken or ambiguous, or a bound was met. It is also the error that a
// request body returns from Read when the trouble is found there.
type Refusal struct {
	Status int    // of the answer
	Rule   string // stable name, as in "framing.cl-te"
	Detail string // for people; holds nothing out of the request
	ID     string // request id, set by ErrorAnswer

	Method, Target, Host string // as far as they were read and well-formed
	Conn                 net.Conn
	Context              context.Context // the connection's
	Time                 time.Time
}

// Error says which rule was broken.
func (r *Refusal) Error() string { return r.Rule + ": " + r.Detail }

// An Answerer is what this package's ResponseWriter offers besides: a whole
// answer in one call and, as a rule, one write. h is not kept, nor changed.
type Answerer interface {
	WriteAnswer(status int, h http.Header, body []byte) error
}

package http1

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"time"
)

// A Transport sends requests to upstreams over pooled connections, one at a
// time on each, and reads their answers strictly. Its fields are set before
// the first request; its methods may be called from several goroutines. The
// zero value is ready.
type Transport struct {
	// Dial opens a connection; nil means a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS is used for requests that ask for it; ServerName comes from the request when it is empty here.
	TLS *tls.Config
	// Opened is told of each new connection before it carries a request; its error closes the connection and fails the request.
	Opened func(ctx context.Context, addr string, c net.Conn) error
	// Closed is told when a connection that Opened saw is gone.
	Closed func(addr string, c net.Conn)

	DialTimeout   time.Duration // connection and TLS handshake; 0 means 5 s
	AnswerTimeout time.Duration // from the request's last byte to the answer's head; 0 means 60 s
	BodyTimeout   time.Duration // for the next bytes of a body, either way; 0 means 60 s
	IdleTimeout   time.Duration // of a pooled connection; 0 means 60 s

	MaxIdlePerAddr  int // 0 means 128
	MaxConnsPerAddr int // requests wait beyond it; 0 means no limit
	MaxHeaderBytes  int // of an answer; 0 means 64 KiB
	MaxHeaderLines  int // of an answer; 0 means 256

	Now func() time.Time // nil means time.Now
}

// A Request is what Do sends. Fields that concern one hop only (Connection,
// Keep-Alive, Transfer-Encoding, Upgrade, …), Host, Content-Length and Expect
// are not taken from Header: they follow from the other fields.
type Request struct {
	Addr       string // host:port to connect to
	TLS        bool
	ServerName string // for TLS

	Method, Target, Host string
	Header               http.Header
	Extra                []Field // sent after Header; a name in Extra hides the same name in Header

	Body    []byte      // a whole body, or
	Stream  io.Reader   // a body to be read while it is sent,
	Length  int64       // of Stream's length, -1 when that is unknown
	Trailer http.Header // read after Stream's end; sent only with Length -1

	Upgrade  string    // protocol to ask for, as in "websocket"; the answer may then be 101
	Deadline time.Time // for the answer's head; zero means AnswerTimeout
	NoRetry  bool      // never send it a second time

	On1xx func(status int, h http.Header) // told of interim answers other than 100 and 101
}

// A Field is one header line.
type Field struct{ Name, Value string }

// A Response is an answer; its body is read from it. The zero value is ready
// and Do may be called with the same Response again after Close.
type Response struct {
	Status  int
	Minor   int         // of HTTP/1.x
	Header  http.Header // reused by the next Do; its strings may be kept
	Length  int64       // of the body, -1 when only its end will tell
	Trailer http.Header // after Read returned io.EOF
	Reused  bool        // the connection had carried a request before
}

// Do sends req and reads the head of its answer into dst. After success the
// caller reads the body and must call dst.Close. The error is an *Error.
func (t *Transport) Do(ctx context.Context, dst *Response, req *Request) error { return nil }

// RoundTrip implements http.RoundTripper on top of Do.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) { return nil, nil }

// CloseIdle closes the idle connections to addr, or all of them when addr is empty.
func (t *Transport) CloseIdle(addr string) {}

// Read reads the body, as io.Reader.
func (r *Response) Read(p []byte) (int, error) { return 0, io.EOF }

// Buffered returns the whole body when it has arrived together with the head,
// without copying it: the bytes are valid until Close. Otherwise ok is false
// and nothing was consumed.
func (r *Response) Buffered() (body []byte, ok bool) { return nil, false }

// Close gives the connection back to the pool if the body was read to its end
// and nothing was odd about the answer; otherwise it closes the connection.
func (r *Response) Close() error { return nil }

// Hijack hands over the connection of a 101 answer with what was read beyond
// the head; the caller closes it.
func (r *Response) Hijack() (c net.Conn, read []byte, err error) { return nil, nil, nil }

// An Error says why an upstream could not be asked or its answer not be used.
type Error struct {
	Op      string // "dial", "tls", "opened", "write", "read", "answer", "body"
	Addr    string
	Rule    string // the rule an answer broke, as in "framing.cl-te"; "" for network trouble
	Written bool   // some of the request may have reached the upstream
	Err     error
}

// Error names the step, the address and the cause.
func (e *Error) Error() string { return e.Op + " " + e.Addr + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

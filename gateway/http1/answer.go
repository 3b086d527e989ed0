package http1

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
)

// A Response is an answer; its body is read from it. The zero value is ready
// and Do may be called with the same Response again. It belongs to one
// goroutine at a time.
//
// Its Header holds no fields that concern the connection only (Connection and
// what that names, Keep-Alive, Transfer-Encoding, Trailer, …), but for a 101.
type Response struct {
	Status  int
	Minor   int         // of HTTP/1.x
	Header  http.Header // reused by the next Do; its strings may be kept
	Length  int64       // stated length of the body, also for HEAD; -1 when only its end will tell
	Trailer http.Header // announced names; after Read returned io.EOF also all values
	Reused  bool        // the connection had carried a request before

	l      *link
	f      fields
	body   content
	odd    bool // the connection is not to be used again
	failed error
	sender *sender
	front  *requestContext // of the request that this exchange is for, when it came through this package's Server
	ctx    *requestContext // the same, to be told that l is no longer in use
	stop   func() bool     // the same for any other context
}

var _ io.ReadCloser = (*Response)(nil)

// attach has l aborted when ctx ends; false: it has ended.
func (r *Response) attach(ctx context.Context, l *link) bool {
	r.l, r.odd, r.failed, r.sender, r.front = l, false, nil, nil, nil
	if c, ok := ctx.(*requestContext); ok {
		r.front = c
		switch c.wake(&l.wire) {
		case wakeEnded:
			return false
		case wakeSet:
			r.ctx = c
			return true
		}
	}
	if ctx.Done() == nil {
		return true
	}
	if ctx.Err() != nil {
		return false
	}
	r.stop = context.AfterFunc(ctx, l.abort)
	return true
}

// detach undoes attach and reports whether the link is sure not to be aborted later.
func (r *Response) detach() bool {
	sure := true
	if r.ctx != nil {
		r.ctx.unwake(&r.l.wire)
		r.ctx = nil
	}
	if r.stop != nil {
		sure = r.stop()
		r.stop = nil
	}
	r.l = nil
	return sure
}

// accept takes the final head: what body follows, and whether the connection
// can be used again (RFC 9112 §6.3, §9.3).
func (r *Response) accept(req *Request, minor, status int) *violation {
	f := &r.f
	r.Status, r.Minor, r.Header, r.Trailer = status, minor, f.h, nil
	r.Reused = r.l.used > 1
	r.Length = f.length
	r.body.reset(&r.l.wire, &r.l.t.limits)
	if f.connection {
		if v := f.options(r.strip); v != nil {
			return v
		}
	}
	if status == http.StatusSwitchingProtocols {
		r.odd = true
		r.Length = 0
		if req.Upgrade == "" || !f.upgrading || minor == 0 || len(f.h["Upgrade"]) != 1 || http.CanonicalHeaderKey(f.upgrade) != http.CanonicalHeaderKey(req.Upgrade) {
			return vUnasked101
		}
		return nil
	}
	delete(f.h, "Connection")
	r.odd = r.odd || f.close || minor == 0
	switch {
	case status == http.StatusNoContent:
		if f.length > 0 || f.chunked { // the upstream may mean to send some
			r.odd = true
		}
		delete(f.h, "Content-Length")
		r.Length = 0
	case req.Method == http.MethodHead, status == http.StatusNotModified:
	case f.chunked:
		r.body.state = contentChunkSize
		if f.trailer {
			r.announce()
		}
	case f.length >= 0:
		r.body.left = f.length
		if f.length > 0 {
			r.body.state = contentLength
		}
	default:
		r.odd = true
		r.body.state = contentUntilClose
	}
	return nil
}

// strip removes a field that the answer's Connection names (RFC 9110 §7.6.1).
func (r *Response) strip(option string) *violation {
	delete(r.f.h, http.CanonicalHeaderKey(option))
	return nil
}

// announce notes the trailer fields to come.
func (r *Response) announce() {
	r.Trailer = http.Header{}
	for _, line := range r.f.trailers {
		for name := range splitList(line) {
			if name = http.CanonicalHeaderKey(name); isToken(name) && !forbiddenTrailer(name) {
				r.Trailer[name] = nil
			}
		}
	}
}

// Read reads the body. Its error is io.EOF at the proper end only, otherwise an *Error.
func (r *Response) Read(p []byte) (int, error) {
	if r.failed != nil {
		return 0, r.failed
	}
	if r.l == nil {
		return 0, io.EOF
	}
	n, err := r.body.read(p)
	switch {
	case err == nil:
	case err == io.EOF:
		r.takeTrailer()
	default:
		r.failed = r.bodyError(err)
		err = r.failed
	}
	return n, err
}

func (r *Response) takeTrailer() {
	if r.body.trailer == nil {
		return
	}
	if r.Trailer == nil {
		r.Trailer = http.Header{}
	}
	for name, vs := range r.body.trailer {
		r.Trailer[name] = vs
	}
}

func (r *Response) bodyError(err error) *Error {
	e := r.l.fail("body", err)
	e.Written = true
	if r.sender != nil {
		if err, _ := r.sender.failed(); err != nil {
			e.Op, e.Err, e.Rule = "stream", err, ""
		}
	}
	if err == errAborted && (r.ctx != nil || r.stop != nil) {
		e.Err = context.Canceled
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		e.Err = os.ErrDeadlineExceeded
	}
	return e
}

// Buffered takes the whole body, chunked or not, when it has arrived together
// with the head, without copying it: the bytes are valid until Close. With ok false nothing
// was taken; the body must then be read.
func (r *Response) Buffered() (body []byte, ok bool) {
	switch {
	case r.failed != nil:
		return nil, false
	case r.l == nil || r.body.state == contentDone:
		return nil, true
	case r.body.total > 0:
		return nil, false
	case r.body.state == contentLength && int64(r.l.to-r.l.from) >= r.body.left:
		b := r.l.rest()[:r.body.left]
		r.l.from += len(b)
		r.body.count(int64(len(b)))
		return b, true
	case r.body.state == contentChunkSize:
		return r.body.gather()
	}
	return nil, false
}

// Close gives the connection back to the pool if the body was read to its end
// and nothing was odd about the exchange; otherwise it closes the connection.
// A second Close does nothing.
func (r *Response) Close() error {
	l := r.l
	if l == nil {
		return nil
	}
	good := r.body.state == contentDone && r.failed == nil && !r.odd && l.from == l.to
	good = r.stopSender() && good
	if !r.detach() || l.aborted.Load() {
		good = false
	}
	if good {
		l.release()
	} else {
		l.discard()
	}
	return nil
}

// stopSender ends the sending of the request, and reports whether it was complete.
func (r *Response) stopSender() bool {
	s := r.sender
	if s == nil || s.complete() {
		return true
	}
	r.l.abort()
	if s.req.Interrupt != nil {
		s.req.Interrupt()
	} else if s.req.Stream != nil && r.front != nil {
		r.front.interrupt()
	}
	<-s.done // what it reads is the caller's
	return false
}

// Hijack hands over the connection of a 101 answer with what was read beyond
// the head; the caller closes it.
func (r *Response) Hijack() (c net.Conn, read []byte, err error) {
	l := r.l
	if l == nil || r.Status != http.StatusSwitchingProtocols {
		return nil, nil, errors.New("hijack: the answer is no upgrade")
	}
	if !r.detach() || l.aborted.Load() {
		l.discard()
		return nil, nil, context.Canceled
	}
	read = append(read, l.rest()...)
	l.forget()
	return l.c, read, noDeadline(l.c)
}

func appendLength(out []byte, n int64) []byte {
	return append(strconv.AppendInt(append(out, "Content-Length: "...), n, 10), "\r\n"...)
}

func appendHex(out []byte, n int) []byte { return strconv.AppendInt(out, int64(n), 16) }

package http1

import (
	"errors"
	"io"
	"net/http"
	"strings"
)

var _ http.RoundTripper = (*Transport)(nil)

// RoundTrip implements http.RoundTripper on top of Do: the convenient way, for
// callers that do not count allocations.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	req := &Request{Addr: r.URL.Host, TLS: r.URL.Scheme == "https", ServerName: r.URL.Hostname(), Method: r.Method, Target: r.URL.RequestURI(), Host: r.Host, Header: r.Header}
	if req.Method == "" {
		req.Method = http.MethodGet
	}
	if req.Host == "" {
		req.Host = r.URL.Host
	}
	if r.URL.Port() == "" {
		req.Addr += map[bool]string{false: ":80", true: ":443"}[req.TLS]
	}
	if req.TLS == false && r.URL.Scheme != "http" {
		return nil, errors.New("http1: unsupported scheme " + r.URL.Scheme)
	}
	if r.Body != nil && r.Body != http.NoBody {
		req.Stream, req.Length, req.Trailer = r.Body, r.ContentLength, r.Trailer
		if req.Length == 0 { // with a body that means: unknown
			req.Length = -1
		}
		if 0 < r.ContentLength && r.ContentLength <= inlineBody {
			body := make([]byte, r.ContentLength)
			if _, err := io.ReadFull(r.Body, body); err != nil {
				return nil, &Error{Op: "stream", Addr: req.Addr, Err: err}
			}
			req.Stream, req.Body = nil, body
		}
	}
	for _, v := range r.Header["Connection"] {
		if strings.EqualFold(v, "upgrade") {
			req.Upgrade = r.Header.Get("Upgrade")
		}
	}
	a := new(Response)
	if err := t.Do(r.Context(), a, req); err != nil {
		return nil, err
	}
	res := &http.Response{
		Status: http.StatusText(a.Status), StatusCode: a.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: a.Minor,
		Header: a.Header, ContentLength: a.Length, Trailer: a.Trailer, Request: r,
	}
	if a.Minor == 0 {
		res.Proto = "HTTP/1.0"
	}
	res.Body = &answerBody{a, res}
	if a.Status == http.StatusSwitchingProtocols {
		c, read, err := a.Hijack()
		if err != nil {
			return nil, err
		}
		res.Body = &upgraded{c, read}
	}
	return res, nil
}

// An answerBody gives the connection back as soon as the end was read.
type answerBody struct {
	a   *Response
	res *http.Response
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.a.Read(p)
	if err != nil {
		b.res.Trailer = b.a.Trailer
		b.a.Close()
	}
	return n, err
}

func (b *answerBody) Close() error { return b.a.Close() }

// An upgraded is the body of a 101: the connection, as with net/http's Transport.
type upgraded struct {
	io.ReadWriteCloser
	read []byte
}

func (u *upgraded) Read(p []byte) (int, error) {
	if len(u.read) > 0 {
		n := copy(p, u.read)
		u.read = u.read[n:]
		return n, nil
	}
	return u.ReadWriteCloser.Read(p)
}

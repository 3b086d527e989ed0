package gateway

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"sallyport.dev/gateway/h2"
)

// h2Frame is the largest frame that is taken, and the least that may be announced
// (RFC 9113 section 4.2): nobody sends larger ones unless asked to.
const h2Frame = 16 << 10

// h2Streams is how many requests one connection may have open.
const h2Streams = 128

// watchHTTP2 has what a client sends read before net/http reads it: see
// docs/rfd/0012-http2.md.
func (g *Gateway) watchHTTP2(c net.Conn) net.Conn {
	b := g.o.Bounds
	return h2.New(c, h2.Bounds{Frame: h2Frame, Head: 2*b.Header + 2*b.Target + 10*32, Frames: b.Frames, Streams: h2Streams, Resets: b.Resets}, g.onRefuse2, g.o.Now)
}

// onRefuse2 puts on record what was refused before net/http made a request of it.
func (g *Gateway) onRefuse2(r *h2.Refusal) {
	now := g.o.Now()
	status := r.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	x := turnedAway(newID(now), now, kindOf(status), r.Rule)
	x.Status, x.Decision.Status = r.Status, r.Status // none but a 431 has an answer
	x.Decision.Reasons[0].Detail = r.Detail
	x.Method, x.Host, x.Proto = r.Method, r.Host, "HTTP/2.0"
	x.Path, x.Query = cutTarget(r.Target)
	x.Client = peerOf(r.Conn.RemoteAddr().String())
	_, x.TLS = r.Conn.Conn.(*tls.Conn)
	g.record(x)
}

type stateKey struct{}

// connContext keeps with the requests of a connection what they came by.
func connContext(ctx context.Context, c net.Conn) context.Context {
	h, watched := c.(*h2.Conn)
	if watched {
		c = h.Conn
	}
	t, ok := c.(*tls.Conn)
	if !ok {
		return ctx
	}
	if watched { // net/http is given no TLS to see
		s := t.ConnectionState()
		ctx = context.WithValue(ctx, stateKey{}, &s)
	}
	if inner, ok := t.NetConn().(*clientConn); ok && inner.via != nil {
		ctx = context.WithValue(ctx, viaKey{}, inner.via)
	}
	return ctx
}

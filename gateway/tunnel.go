package gateway

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/guard"
)

// A tunnel is a connection that has switched to another protocol: bytes pass
// both ways, uninspected unless a talk reads them, until one side ends or both are silent for
// Bounds.StreamIdle. WebSocket is the only such protocol.
type tunnel struct {
	client, upstream net.Conn
	frames           frames       // from upstream to client
	last             atomic.Int64 // when bytes last passed
	talk             *talk        // when messages are read and judged
}

// leave has the client told that the connection ends.
func (t *tunnel) leave() {
	if t.talk != nil {
		t.talk.leave()
		return
	}
	t.frames.leave()
}

func (t *tunnel) close() {
	t.client.Close()
	t.upstream.Close()
}

// tunnel answers 101 and passes bytes both ways. The exchange is on record from
// the switch on: what follows is another protocol.
func (p *passage) tunnel() outcome {
	g := p.g
	upstream, early, err := p.up.res.Hijack()
	if err != nil {
		return p.unreadable(err)
	}
	hj, ok := p.w.(http.Hijacker)
	if !ok {
		upstream.Close()
		p.refuse(kindOf(http.StatusNotImplemented), nil, forwardReason("upgrade.unsupported", "this protocol can't be upgraded"))
		return served
	}
	conversation := p.ses.Converse()
	if conversation != nil && !p.agreed() {
		upstream.Close()
		p.refuse(guard.KindBadAnswer, nil, forwardReason("upstream.handshake", "the answer agreed to what was not offered, or proves nothing"))
		return failed
	}
	p.answerHeader(p.up.header)
	client, rw, err := hj.Hijack()
	if err != nil {
		upstream.Close()
		p.cutAnswer(forwardReason("client.gone", "the connection ended before the switch"))
		return served
	}
	p.wrote = true
	p.out.Status = http.StatusSwitchingProtocols
	h := p.up.header
	h["X-Request-Id"] = []string{p.id}
	h["Connection"] = []string{"Upgrade"}
	h["Upgrade"] = []string{p.upgrade}
	client.SetDeadline(time.Now().Add(g.o.Bounds.WriteTime))
	io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\n")
	h.Write(rw)
	io.WriteString(rw, "\r\n")
	if conversation == nil {
		rw.Write(early)
	}
	if err := rw.Flush(); err != nil {
		client.Close()
		upstream.Close()
		p.finish()
		return served
	}
	client.SetDeadline(time.Time{})
	upstream.SetDeadline(time.Time{})
	p.finish()
	if conversation != nil {
		return p.converse(conversation, client, rw.Reader, upstream, early)
	}

	tn := &tunnel{client: client, upstream: upstream}
	tn.frames.client = client
	tn.frames.follow(early)
	tn.last.Store(time.Now().UnixNano())
	if !g.track(tn) {
		tn.close()
		return served
	}
	defer g.untrack(tn)
	var sides sync.WaitGroup
	sides.Add(1)
	go func() {
		defer sides.Done()
		tn.copy(upstream, upstream, rw, g.o.Bounds.StreamIdle, client)
	}()
	tn.copy(&tn.frames, client, upstream, g.o.Bounds.StreamIdle, upstream)
	sides.Wait()
	tn.close()
	return served
}

// copy passes bytes from r, which reads from src, to w, which writes to dst.
// When it ends, both sides end: no WebSocket lives on half a connection.
func (t *tunnel) copy(w io.Writer, dst net.Conn, r io.Reader, idle time.Duration, src net.Conn) {
	defer t.close()
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for {
		src.SetReadDeadline(time.Now().Add(idle))
		n, err := r.Read(*buf)
		if n > 0 {
			t.last.Store(time.Now().UnixNano())
			dst.SetWriteDeadline(time.Now().Add(idle))
			if _, werr := w.Write((*buf)[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			if timedOut(err) && time.Since(time.Unix(0, t.last.Load())) < idle {
				continue // the other direction is alive
			}
			return
		}
	}
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// track counts a tunnel among those that Drain ends.
func (g *Gateway) track(t *tunnel) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tunnels == nil {
		return false
	}
	g.tunnels[t] = struct{}{}
	return true
}

func (g *Gateway) untrack(t *tunnel) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.tunnels, t)
}

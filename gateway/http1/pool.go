package http1

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"time"
)

type poolKey struct {
	addr, server string
	tls          bool
}

// A pool holds the connections to one address.
type pool struct {
	t   *Transport
	key poolKey
	tls *tls.Config

	mu      sync.Mutex
	idle    []*link // the last used last
	open    int     // connections, in use or idle, and permissions to dial
	waiting []chan *link
}

func (t *Transport) pool(req *Request) *pool {
	key := poolKey{req.Addr, req.ServerName, req.TLS}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pools[key]
	if p == nil {
		p = &pool{t: t, key: key}
		if key.tls {
			p.tls = t.tlsFor(key)
		}
		t.pools[key] = p
	}
	return p
}

func (t *Transport) tlsFor(key poolKey) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.TLS != nil {
		c = t.TLS.Clone()
	}
	if c.ServerName == "" {
		c.ServerName = key.server
	}
	if c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(key.addr)
	}
	c.NextProtos = []string{"http/1.1"}
	if c.ClientSessionCache == nil {
		c.ClientSessionCache = tls.NewLRUClientSessionCache(32)
	}
	return c
}

// get takes a connection out of the pool, or makes one.
func (t *Transport) get(ctx context.Context, req *Request, fresh bool) (*link, *Error) {
	p := t.pool(req)
	p.mu.Lock()
	for !fresh && len(p.idle) > 0 {
		l := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		p.mu.Unlock()
		if l.usable() {
			return l, nil
		}
		l.discard()
		p.mu.Lock()
	}
	if t.MaxConnsPerAddr > 0 && p.open >= t.MaxConnsPerAddr && (len(p.idle) == 0 || fresh) {
		if n := len(p.idle); n > 0 { // a fresh one is wanted: an old one makes room
			l := p.idle[0]
			p.idle = slices.Delete(p.idle, 0, 1)
			p.mu.Unlock()
			l.discard()
			p.mu.Lock()
		}
		if p.open >= t.MaxConnsPerAddr {
			l, err := p.wait(ctx) // unlocks
			if err != nil {
				return nil, &Error{Op: "wait", Addr: p.key.addr, Err: err}
			}
			if l != nil {
				if l.usable() {
					return l, nil
				}
				l.discard()
				return t.get(ctx, req, fresh)
			}
			return p.dial(ctx)
		}
	}
	p.open++
	p.mu.Unlock()
	return p.dial(ctx)
}

// wait queues for a connection, or for a place to dial one (nil). It is called with p.mu held.
func (p *pool) wait(ctx context.Context) (*link, error) {
	ch := make(chan *link, 1)
	p.waiting = append(p.waiting, ch)
	p.mu.Unlock()
	timer := time.NewTimer(p.t.DialTimeout)
	defer timer.Stop()
	var err error
	select {
	case l := <-ch:
		return l, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = context.DeadlineExceeded
	}
	p.mu.Lock()
	if i := slices.Index(p.waiting, ch); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		p.mu.Unlock()
		return nil, err
	}
	p.mu.Unlock()
	if l := <-ch; l != nil { // it came all the same: the next one may have it
		l.release()
	} else {
		p.left()
	}
	return nil, err
}

// left books that a connection, or a permission to dial, is given up.
func (p *pool) left() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) > 0 {
		p.waiting[0] <- nil
		p.waiting = slices.Delete(p.waiting, 0, 1)
		return
	}
	p.open--
}

// dial opens a connection; a place for it is booked already.
func (p *pool) dial(ctx context.Context) (*link, *Error) {
	t := p.t
	fail := func(op string, err error) (*link, *Error) {
		p.left()
		return nil, &Error{Op: op, Addr: p.key.addr, Err: err}
	}
	dialling, cancel := context.WithTimeout(ctx, t.DialTimeout)
	defer cancel()
	c, err := t.Dial(dialling, "tcp", p.key.addr)
	if err != nil {
		return fail("dial", err)
	}
	l := &link{wire: wire{c: c, buf: make([]byte, linkBuffer), now: t.Now}, t: t, p: p, probe: newProbe(c, readable)}
	defer func() { l.since = t.Now() }()
	if p.key.tls {
		l.tls = tls.Client(c, p.tls)
		l.c = l.tls
		if err := l.tls.HandshakeContext(dialling); err != nil {
			c.Close()
			return fail("tls", err)
		}
	}
	if t.Opened != nil {
		if err := t.Opened(dialling, p.key.addr, l.c); err != nil {
			l.c.Close()
			return fail("opened", err)
		}
	}
	return l, nil
}

// usable reports whether an idle connection is still good: an upstream that
// closed it or sent anything on it is found out here, before a request is
// entrusted to it.
func (l *link) usable() bool {
	l.since = l.now()
	return l.since.Sub(l.idle) < l.t.IdleTimeout && !l.probe.ready()
}

// release puts the connection back after an exchange without oddities.
func (l *link) release() {
	t, p := l.t, l.p
	if l.tls != nil && !l.quiet() {
		l.discard()
		return
	}
	if len(l.buf) > 2*linkBuffer {
		l.buf = make([]byte, linkBuffer)
	}
	if cap(l.out) > 2*inlineBody {
		l.out = nil
	}
	l.from, l.to = 0, 0
	l.idle = l.since // a clock reading less; the few that carried a long request go a little early
	p.mu.Lock()
	if len(p.waiting) > 0 {
		p.waiting[0] <- l
		p.waiting = slices.Delete(p.waiting, 0, 1)
		p.mu.Unlock()
		return
	}
	full := len(p.idle) >= t.MaxIdlePerAddr
	if !full {
		p.idle = append(p.idle, l)
	}
	first := len(p.idle) == 1
	p.mu.Unlock()
	if full {
		l.discard()
	} else if first {
		t.reapLater()
	}
}

// quiet reports whether no decrypted byte waits behind the answer: below TLS
// the kernel cannot tell.
func (l *link) quiet() bool {
	l.c.SetReadDeadline(past)
	l.readBy = past
	var one [1]byte
	n, err := l.c.Read(one[:])
	t, ok := err.(net.Error)
	return n == 0 && ok && t.Timeout()
}

// forget takes the connection off the books.
func (l *link) forget() {
	l.p.left()
	if l.t.Closed != nil {
		l.t.Closed(l.p.key.addr, l.c)
	}
}

// discard closes the connection.
func (l *link) discard() {
	l.c.Close()
	l.forget()
}

func noDeadline(c net.Conn) error { return c.SetDeadline(time.Time{}) }

// CloseIdle closes the idle connections to addr, or all of them when addr is empty.
func (t *Transport) CloseIdle(addr string) {
	t.once.Do(t.init)
	t.closeIdle(func(p *pool, _ *link) bool { return addr == "" || p.key.addr == addr })
}

// CloseIdleConnections closes all idle connections; http.Client knows the name.
func (t *Transport) CloseIdleConnections() { t.CloseIdle("") }

// closeIdle closes the idle connections that which picks and returns how many are left.
func (t *Transport) closeIdle(which func(*pool, *link) bool) (left int) {
	t.mu.Lock()
	pools := make([]*pool, 0, len(t.pools))
	for _, p := range t.pools {
		pools = append(pools, p)
	}
	t.mu.Unlock()
	for _, p := range pools {
		var out []*link
		p.mu.Lock()
		p.idle = slices.DeleteFunc(p.idle, func(l *link) bool {
			if !which(p, l) {
				return false
			}
			out = append(out, l)
			return true
		})
		left += len(p.idle)
		p.mu.Unlock()
		for _, l := range out {
			l.discard()
		}
	}
	return left
}

// reapLater sees to it that idle connections do not outlive IdleTimeout by much.
func (t *Transport) reapLater() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.reap != nil {
		return
	}
	t.reap = time.AfterFunc(t.IdleTimeout/2, func() {
		t.mu.Lock()
		t.reap = nil
		t.mu.Unlock()
		now := t.Now()
		if t.closeIdle(func(_ *pool, l *link) bool { return now.Sub(l.idle) >= t.IdleTimeout }) > 0 {
			t.reapLater()
		}
	})
}

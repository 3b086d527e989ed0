package http1

import (
	"context"
	"sync"
	"time"
)

// A requestContext is the context of the requests of one connection, one
// after the other. It ends when the handler returns, when the client is gone,
// and when the connection's own context ends. Most requests never ask for
// Done, so its channel is made when somebody does; Transport.Do, which needs
// only to be woken, asks to be told instead.
type requestContext struct {
	base context.Context // the connection's
	conn *conn

	mu     sync.Mutex
	inner  context.Context
	cancel context.CancelFunc
	woken  *wire // an upstream connection in use for this request
	gone   error
}

func (c *requestContext) Deadline() (time.Time, bool) { return c.base.Deadline() }
func (c *requestContext) Value(key any) any           { return c.base.Value(key) }

func (c *requestContext) live() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		c.inner, c.cancel = context.WithCancel(c.base)
		if c.gone != nil {
			c.cancel()
		}
	}
	return c.inner
}

func (c *requestContext) Done() <-chan struct{} { return c.live().Done() }

func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner != nil {
		return c.inner.Err()
	}
	if c.gone != nil {
		return c.gone
	}
	return c.base.Err()
}

// AfterFunc lets contexts derived from this one register without a goroutine; package context looks for it.
func (c *requestContext) AfterFunc(f func()) func() bool { return context.AfterFunc(c.live(), f) }

type waking uint8

const (
	wakeSet   waking = iota
	wakeTaken        // another connection is in use for the request: register in the common way
	wakeEnded
)

// wake has x aborted when the context ends before unwake.
func (c *requestContext) wake(x *wire) waking {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.gone != nil || c.base.Err() != nil:
		return wakeEnded
	case c.woken != nil:
		return wakeTaken
	}
	c.woken = x
	return wakeSet
}

func (c *requestContext) unwake(x *wire) {
	c.mu.Lock()
	if c.woken == x {
		c.woken = nil
	}
	c.mu.Unlock()
}

// interrupt ends a Read of the request's body that is in progress elsewhere.
func (c *requestContext) interrupt() {
	if b := c.conn.body; b != nil {
		b.interrupt()
	}
}

// watched reports whether anybody would notice an end.
func (c *requestContext) watched() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inner != nil || c.woken != nil
}

// end cancels the request's context because the client or the server is gone.
func (c *requestContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = context.Canceled
	if c.woken != nil {
		c.woken.abort()
	}
	if c.cancel != nil {
		c.cancel()
	}
}

// next ends the context of a request that was answered and makes it ready for the next.
func (c *requestContext) next() {
	c.mu.Lock()
	if c.cancel != nil {
		c.cancel()
		c.inner, c.cancel = nil, nil
	}
	c.woken, c.gone = nil, nil
	c.mu.Unlock()
}

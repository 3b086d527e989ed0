package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sallyport.dev"
)

const (
	beat      = 15 * time.Second // a comment keeps proxies and browsers from giving up
	recheck   = 5 * time.Second  // how soon a stream notices that its session ended
	sendBound = 10 * time.Second // a reader slower than this is cut off
)

// events writes server-sent events to one caller. It is used by one goroutine.
type events struct {
	w   http.ResponseWriter
	ctl *http.ResponseController
	buf bytes.Buffer
}

// send writes one event; an error means that the caller has gone.
func (e *events) send(name string, v any) error {
	e.buf.Reset()
	fmt.Fprintf(&e.buf, "event: %s\ndata: ", name)
	if err := json.NewEncoder(&e.buf).Encode(v); err != nil { // ends with one newline, holds no other
		return fmt.Errorf("encode event %s: %w", name, err)
	}
	e.buf.WriteByte('\n')
	return e.flush(e.buf.Bytes())
}

func (e *events) flush(b []byte) error {
	// The deadline is taken back afterwards: on HTTP/2 an old one would end the
	// stream while it is merely quiet.
	e.ctl.SetWriteDeadline(time.Now().Add(sendBound))
	defer e.ctl.SetWriteDeadline(time.Time{})
	if _, err := e.w.Write(b); err != nil {
		return err
	}
	return e.ctl.Flush()
}

// live registers a stream whose events are called name and hold a T. run first
// subscribes, so that nothing falls between, then calls open; it sends until ctx
// ends, and calls tick whenever its ticker ticks.
func live[I any, T any](a *API, s spec, name string, run func(ctx context.Context, in *I, l *stream) error) {
	op := a.operation(s)
	a.huma.OpenAPI().Components.Schemas.Schema(typeOf[T](), true, name)
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Server-sent events called " + name,
		Content: map[string]*huma.MediaType{"text/event-stream": {
			Schema:     &huma.Schema{Type: huma.TypeString},
			Extensions: map[string]any{"x-event": map[string]any{"name": name, "data": a.huma.OpenAPI().Components.Schemas.Schema(typeOf[T](), true, name)}},
		}},
	}}
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
		if a.streams.Add(1) > maxStreams {
			a.streams.Add(-1)
			return nil, a.answer(ctx, s.id, sallyport.Errorf(sallyport.Unavailable, "too many live views are open; close one"))
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			defer a.streams.Add(-1)
			r, w := humago.Unwrap(hc)
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("X-Accel-Buffering", "no")
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			l := &stream{a: a, events: events{w: w, ctl: http.NewResponseController(w)}, ticker: time.NewTicker(recheck), beaten: time.Now()}
			defer l.ticker.Stop()
			l.ctl.SetReadDeadline(time.Time{})
			if err := run(ctx, in, l); err != nil && ctx.Err() == nil {
				a.Logger.DebugContext(ctx, "live view ended", "operation", s.id, "error", err)
			}
		}}, nil
	})
}

var errEnded = errors.New("its session ended")

// stream is one live view.
type stream struct {
	events
	a      *API
	ticker *time.Ticker
	beaten time.Time
}

// open tells the caller that the view is live.
func (l *stream) open() error { return l.flush([]byte("retry: 2000\n\n")) }

// tick keeps the stream alive, and ends it when its session has ended.
func (l *stream) tick(ctx context.Context) error {
	alive, err := l.a.Sessions.Alive(ctx)
	if err != nil {
		return err
	}
	if !alive {
		l.send("end", map[string]string{"reason": "session"})
		return errEnded
	}
	if time.Since(l.beaten) < beat {
		return nil
	}
	l.beaten = time.Now()
	return l.flush([]byte(": \n\n"))
}

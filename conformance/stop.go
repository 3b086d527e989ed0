package conformance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// slowly gives a body in two halves; the second waits for the word.
type slowly struct {
	first, second io.Reader
	begun, go2    chan struct{}
	said          bool
}

func (s *slowly) Read(b []byte) (int, error) {
	if n, err := s.first.Read(b); err == nil {
		return n, nil
	}
	if !s.said {
		s.said = true
		close(s.begun)
		<-s.go2
	}
	return s.second.Read(b)
}

// stopping has the instance told to stop while it has half of a request: what
// was begun is answered (the Twelve-Factor App, IX: disposability). It is the
// last thing of a run: nothing answers afterwards.
func (r *run) stopping(ctx context.Context) {
	if r.Stop == nil {
		r.notRun("graceful stop: say how the instance is stopped (--stop-command)")
		return
	}
	for _, o := range r.ops {
		c, ok := r.base1(o)
		if !ok || o.skip || len(c.body) < 2 || o.Method == http.MethodDelete {
			continue
		}
		if c, ok = r.again(ctx, o, c); !ok || len(c.body) < 2 {
			continue
		}
		r.stopWith(ctx, c)
		return
	}
	r.notRun("graceful stop: no operation with a body succeeded that could be in hand meanwhile")
}

func (r *run) stopWith(ctx context.Context, c call) {
	ctx, cancel := context.WithTimeout(ctx, r.Budget.Timeout)
	defer cancel()
	req, err := r.request(ctx, c)
	if err != nil {
		return
	}
	half := len(c.body) / 2
	body := &slowly{first: bytes.NewReader(c.body[:half]), second: bytes.NewReader(c.body[half:]), begun: make(chan struct{}), go2: make(chan struct{})}
	req.Body, req.GetBody, req.ContentLength = io.NopCloser(body), nil, int64(len(c.body))
	done := make(chan error, 1)
	go func() {
		resp, err := r.transport.RoundTrip(req)
		if err == nil {
			_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, r.Budget.Body))
			resp.Body.Close()
		}
		done <- err
	}()
	select {
	case <-body.begun:
	case err := <-done: // refused before its body was read
		close(body.go2)
		r.notRun("graceful stop: the request that was to be in hand ended before (%v)", err)
		return
	}
	time.Sleep(100 * time.Millisecond) // until the half has arrived
	if err := r.Stop(ctx); err != nil {
		close(body.go2)
		r.notRun("graceful stop: %v", err)
		return
	}
	time.Sleep(200 * time.Millisecond)
	close(body.go2)
	r.judged("operations.graceful-stop", c.op)
	if err := <-done; err != nil {
		r.find("operations.graceful-stop", c, Finding{Detail: "told to stop, it cuts off a request in hand: " + plainError(err)})
	}
}

// since asks whether something has changed since a day (RFC 9110 section 13.1.3).
func (r *run) since(ctx context.Context, c call, a *answer) {
	last := a.header.Get("Last-Modified")
	at, err := http.ParseTime(last)
	if last == "" {
		return
	}
	ask := func(place, value string, j judge) {
		r.try(ctx, "contract.modified-since", c.with(func(d *call) { d.set("If-Modified-Since", value) }), place, j)
	}
	if err != nil {
		ask("date", last, func(b *answer) string { return "Last-Modified is no HTTP date (RFC 9110 section 5.6.7)" })
		return
	}
	ask("same", last, func(b *answer) string {
		if b.ok() && b.header.Get("Last-Modified") == last {
			return fmt.Sprintf("If-Modified-Since with Last-Modified of the answer before is answered %d instead of 304", b.status)
		}
		return ""
	})
	ask("before", at.Add(-365*24*time.Hour).UTC().Format(http.TimeFormat), func(b *answer) string {
		if b.status == http.StatusNotModified {
			return "If-Modified-Since with a day before the last change is answered 304"
		}
		return ""
	})
}

// ends looks at what deprecated operations say of their end.
func (r *run) ends(ctx context.Context, c call, a *answer) {
	if !a.ok() {
		return
	}
	o := c.op
	if s := a.header.Get("Sunset"); s != "" || o.Deprecated && o.mentions("Sunset") {
		r.weigh(ctx, "contract.sunset", c, a, "", func(b *answer) string {
			if _, err := http.ParseTime(b.header.Get("Sunset")); b.ok() && err != nil {
				return "Sunset is missing or no HTTP date (RFC 8594 section 3)"
			}
			return ""
		})
	}
	if d := a.header.Get("Deprecation"); d != "" && !strings.HasPrefix(d, "@") && d != "true" { // true was the word of drafts
		if _, err := http.ParseTime(d); err != nil {
			r.weigh(ctx, "contract.deprecation", c, a, "date", func(b *answer) string {
				return "Deprecation is no date (RFC 9745 section 2)"
			})
		}
	}
}

// preflight asks as a browser does before a page of another origin may call.
func (r *run) preflight(ctx context.Context, o *operation, c call) {
	if o.open() && o.Method == http.MethodGet {
		return
	}
	const origin = "https://sallyport.invalid"
	d := call{op: o, method: http.MethodOptions, path: c.path}
	d.set("Origin", origin)
	d.set("Access-Control-Request-Method", o.Method)
	d.set("Access-Control-Request-Headers", "authorization, content-type")
	r.try(ctx, "security.preflight", d, "", func(a *answer) string {
		allow := a.header.Get("Access-Control-Allow-Origin")
		switch {
		case a.err != nil:
			return ""
		case allow == origin:
			return "a page of any origin may call it: the origin is admitted whatever it is"
		case (allow == "*" || allow == "null") && strings.EqualFold(a.header.Get("Access-Control-Allow-Credentials"), "true"):
			return "a page of any origin may call it with the user's credentials"
		}
		return ""
	})
}

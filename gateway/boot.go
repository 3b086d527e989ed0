package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"sallyport.dev"
)

// Boot says how an instance tells which start of it this is: what it answers
// to a GET of Path changes with each start (and, if it is to, with each build
// or configuration). A gated pool asks on each new connection, before that
// carries a user's request.
type Boot struct {
	Path   string // such as /version
	Header string // the answer header that holds it, or
	JSON   string // the JSON pointer of it in the answer's body, or
	Metric string // the sample of it in a Prometheus text, such as process_start_time_seconds; with all three empty the whole body is it
}

const (
	bootTime  = 2 * time.Second
	bootBytes = 1 << 20
)

// The ways in which a connection turns out not to lead to what was admitted.
var (
	errRestarted  = errors.New("the instance is not the one that was admitted: it was started again")
	errBootless   = errors.New("the instance does not say which start of it this is")
	reasonRestart = "started again: not the one that was admitted"
	reasonDown    = "nobody listens there"
	reasonMute    = "does not say which start of it this is"
)

// read takes the identity out of an answer.
func (b *Boot) read(res *http.Response) (string, error) {
	body, err := io.ReadAll(io.LimitReader(res.Body, bootBytes+1))
	switch {
	case err != nil:
		return "", err
	case len(body) > bootBytes:
		return "", errors.New("the answer is too long")
	case res.StatusCode != http.StatusOK && b.Header == "":
		return "", fmt.Errorf("it answered %d", res.StatusCode)
	}
	var id string
	switch {
	case b.Header != "":
		if v := res.Header.Values(b.Header); len(v) == 1 {
			id = v[0]
		}
	case b.JSON != "":
		var v any
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			return "", err
		}
		for step := range strings.SplitSeq(strings.TrimPrefix(b.JSON, "/"), "/") {
			m, ok := v.(map[string]any)
			if !ok {
				return "", errors.New("nothing stands at " + b.JSON)
			}
			v = m[step]
		}
		switch x := v.(type) {
		case string:
			id = x
		case json.Number:
			id = x.String()
		}
	case b.Metric != "":
		for line := range strings.Lines(string(body)) {
			if rest, ok := strings.CutPrefix(line, b.Metric); ok && rest != "" && (rest[0] == ' ' || rest[0] == '{') {
				id = strings.TrimSpace(rest)
				break
			}
		}
	default:
		id = string(bytes.TrimSpace(body))
	}
	if id = strings.TrimSpace(id); id == "" || len(id) > 512 {
		return "", errors.New("it holds no identity, or one that is too long")
	}
	return id, nil
}

// request is the question, for a connection of HTTP/1.1.
func (l *link) bootRequest(b *Boot) []byte {
	host := l.host
	if l.up.Host != "" {
		host = l.up.Host
	}
	return []byte("GET " + b.Path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: sallyport-gate\r\nAccept: */*\r\n\r\n")
}

// askOn reads the identity over a connection that is to be used afterwards.
func (l *link) askOn(ctx context.Context, c net.Conn, b *Boot) (string, error) {
	deadline := time.Now().Add(bootTime)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	c.SetDeadline(deadline)
	defer c.SetDeadline(time.Time{})
	if _, err := c.Write(l.bootRequest(b)); err != nil {
		return "", err
	}
	r := bufio.NewReader(io.LimitReader(c, bootBytes+64<<10)) // the head is bounded too
	u, err := url.Parse(b.Path)
	if err != nil {
		return "", err
	}
	res, err := http.ReadResponse(r, &http.Request{Method: http.MethodGet, URL: u})
	if err != nil {
		return "", err
	}
	id, err := b.read(res)
	res.Body.Close()
	switch {
	case err != nil:
		return "", err
	case res.Close || res.ProtoMajor != 1 || res.ProtoMinor != 1:
		return "", errors.New("it closes the connection that said so")
	case r.Buffered() > 0:
		return "", errors.New("it said more than was asked")
	}
	return id, nil
}

// bootApart reads the identity over a connection of its own.
func (l *link) bootApart(ctx context.Context, b *Boot) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, bootTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+b.Path, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("User-Agent", "sallyport-gate")
	if l.up.Host != "" {
		req.Host = l.up.Host
	}
	t := l.standard(l.up.Protocol == "h2").Clone() // no connection from before
	if t.TLSClientConfig != nil {                  // a clone shares this array, and net/http appends to it
		t.TLSClientConfig.NextProtos = slices.Clone(t.TLSClientConfig.NextProtos)
	}
	t.DisableKeepAlives = l.up.Protocol != "h2"
	defer t.CloseIdleConnections()
	if l.up.Protocol == "h2" {
		t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return l.dialer.DialContext(ctx, network, l.host)
		}
	}
	res, err := t.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	return b.read(res)
}

// opened judges a new connection of a gated pool before it carries a request.
func (in *instance) opened(ctx context.Context, _ string, c net.Conn) error {
	b := in.pool.boot.Load()
	if b == nil {
		return nil
	}
	id, err := in.link.askOn(ctx, c, b)
	return in.judgeBoot(id, err)
}

// judgeBoot holds an instance that is not the one that was admitted.
func (in *instance) judgeBoot(id string, err error) error {
	in.mu.Lock()
	was, open := in.boot, in.admission == sallyport.Admitted
	in.mu.Unlock()
	switch {
	case err == nil && id == was:
		return nil
	case err == nil:
		err = errRestarted
		if open {
			in.close(reasonRestart)
		}
	default:
		err = fmt.Errorf("%w: %w", errBootless, err)
		if open {
			in.close(reasonMute)
		}
	}
	return err
}

// heldBack reports whether a try ended because the instance is held: as it is
// not the one that was admitted, or since in a gated pool nobody listens there
// any more, so that whoever comes back is a new one.
func (in *instance) heldBack(err error) bool {
	if in.pool.boot.Load() == nil {
		return false
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		in.mu.Lock()
		open := in.admission == sallyport.Admitted
		in.mu.Unlock()
		if open {
			in.close(reasonDown)
		}
		return true
	}
	return errors.Is(err, errRestarted) || errors.Is(err, errBootless)
}

// close takes an instance out of the choice until the gate has tested it.
func (in *instance) close(reason string) {
	in.set(sallyport.Held, reason)
	in.pool.log.Warn("instance held", "api", in.pool.name, "instance", in.url, "reason", reason)
	in.pool.tell(in)
}

// tell lets whoever runs the gate know that an instance waits for it.
func (p *pool) tell(in *instance) {
	if p.changed != nil {
		p.changed(in.describe())
	}
}

// Identify asks an instance which start of it this is, over a connection of its
// own: what Admit then takes as the one that was tested. It is an error of kind
// Unavailable when the instance does not say.
func (g *Gateway) Identify(ctx context.Context, in sallyport.Instance) (string, error) {
	p := g.pool(in.API)
	if p == nil {
		return "", sallyport.Errorf(sallyport.NotFound, "no pool for API %s", in.API)
	}
	it := p.find(in.URL)
	b := p.boot.Load()
	switch {
	case it == nil:
		return "", sallyport.Errorf(sallyport.NotFound, "API %s has no instance %s", in.API, in.URL)
	case b == nil:
		return "", nil
	}
	id, err := it.link.bootApart(ctx, b)
	if err != nil {
		return "", &sallyport.Error{Kind: sallyport.Unavailable, Message: reasonMute, Cause: err}
	}
	return id, nil
}

// outside is the way to an address that is in no pool of ours: as the API's
// first upstream is reached, over links that are not kept.
func (g *Gateway) outside(in sallyport.Instance) (*link, *Boot, error) {
	p := g.pool(in.API)
	if p == nil {
		return nil, nil, sallyport.Errorf(sallyport.NotFound, "no pool for API %s", in.API)
	}
	v, err := url.Parse(in.URL)
	if err != nil || v.Scheme != "http" && v.Scheme != "https" || v.Host == "" {
		return nil, nil, sallyport.Errorf(sallyport.Invalid, "%q is not scheme://host:port", in.URL)
	}
	u := Upstream{}
	if first := p.lane.Load().api.Upstreams; len(first) > 0 {
		u = first[0]
	}
	u.Scheme = v.Scheme
	if u.Name == "" {
		u.Name = v.Hostname()
	}
	k, err := newLink(in.URL, u, p.bounds, p.log, p.now)
	return k, p.boot.Load(), err
}

// IdentifyOutside is Identify for an address that is in no pool of ours: an
// instance at the door of somebody else. It is reached as the API's first
// upstream is (its roots, client certificate and pins).
func (g *Gateway) IdentifyOutside(ctx context.Context, in sallyport.Instance) (string, error) {
	k, b, err := g.outside(in)
	if err != nil || b == nil {
		return "", err
	}
	defer k.retire()
	id, err := k.bootApart(ctx, b)
	if err != nil {
		return "", &sallyport.Error{Kind: sallyport.Unavailable, Message: reasonMute, Cause: err}
	}
	return id, nil
}

// WayOutside is Way for an address that is in no pool of ours.
func (g *Gateway) WayOutside(in sallyport.Instance) (http.RoundTripper, error) {
	k, _, err := g.outside(in)
	if err != nil {
		return nil, err
	}
	return k.way(), nil
}

// Way is a transport that reaches one instance as its pool does (its roots,
// client certificate and pins), whatever host a request names. It does not care
// whether the instance is admitted: it is for tests. An error of kind not found
// says that there is no such instance.
func (g *Gateway) Way(in sallyport.Instance) (http.RoundTripper, error) {
	p := g.pool(in.API)
	if p == nil {
		return nil, sallyport.Errorf(sallyport.NotFound, "no pool for API %s", in.API)
	}
	it := p.find(in.URL)
	if it == nil {
		return nil, sallyport.Errorf(sallyport.NotFound, "API %s has no instance %s", in.API, in.URL)
	}
	return it.link.way(), nil
}

func (l *link) way() http.RoundTripper {
	t := l.standard(l.up.Protocol == "h2").Clone()
	t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return l.dialer.DialContext(ctx, network, l.host)
	}
	if host := l.up.Host; host != "" {
		return asHost{t, host}
	}
	return t
}

type asHost struct {
	http.RoundTripper
	host string
}

// RoundTrip implements http.RoundTripper.
func (a asHost) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = a.host
	return a.RoundTripper.RoundTrip(r)
}

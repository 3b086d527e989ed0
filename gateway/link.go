package gateway

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"sallyport.dev/gateway/http1"
)

// A link is the set of connections to one instance.
type link struct {
	url    string // scheme://host:port
	host   string // host:port
	up     Upstream
	tls    *tls.Config // nil for plain http
	trust  *trust      // beside it
	bounds Bounds
	dialer *net.Dialer
	apart  func(ctx context.Context) error // judges the instance before a connection that cannot be asked itself; nil: not

	strict *http1.Transport

	mu     sync.Mutex
	h1, h2 *http.Transport
}

func (l *link) scheme() string { return l.up.Scheme }

func newLink(id string, u Upstream, b Bounds, log *slog.Logger, now func() time.Time) (*link, error) {
	v, err := url.Parse(id)
	if err != nil {
		return nil, err
	}
	l := &link{url: id, host: v.Host, up: u, bounds: b}
	if u.Scheme == "https" {
		if l.trust, err = newTrust(u, log, now); err != nil {
			return nil, err
		}
		l.tls = l.trust.config(u.MinTLS)
	}
	reach, err := readReach(u.Reach)
	if err != nil {
		return nil, err
	}
	l.dialer = &net.Dialer{Timeout: dialTime, KeepAlive: 30 * time.Second}
	if reach != nil {
		l.dialer.Control = reach.control
	}
	l.strict = &http1.Transport{
		Dial: l.dialer.DialContext,
		TLS:  l.tls, DialTimeout: dialTime, AnswerTimeout: b.AnswerTime, BodyTimeout: b.StreamIdle, IdleTimeout: 60 * time.Second,
	}
	return l, nil
}

// standard is net/http's transport for what the strict client does not speak:
// HTTP/2 (in the clear too), upgrades, and active checks.
func (l *link) standard(h2 bool) *http.Transport {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := &l.h1
	if h2 {
		at = &l.h2
	}
	if *at != nil {
		return *at
	}
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			c, err := l.dialer.DialContext(ctx, network, l.host)
			if err != nil || !h2 || l.apart == nil {
				return c, err
			}
			if err := l.apart(ctx); err != nil { // asked once connected: whoever restarts in between is the one that answers
				c.Close()
				return nil, err
			}
			return c, nil
		},
		TLSHandshakeTimeout:    dialTime,
		TLSClientConfig:        l.tls.Clone(),
		DisableCompression:     true,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        60 * time.Second,
		ResponseHeaderTimeout:  l.bounds.AnswerTime,
		MaxResponseHeaderBytes: 256 << 10,
		WriteBufferSize:        16 << 10,
		ReadBufferSize:         16 << 10,
		Protocols:              new(http.Protocols),
	}
	if h2 {
		t.Protocols.SetHTTP2(true)
		t.Protocols.SetUnencryptedHTTP2(l.tls == nil)
		t.HTTP2 = &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second}
	} else {
		t.Protocols.SetHTTP1(true)
	}
	*at = t
	return t
}

const dialTime = 5 * time.Second

// retire closes the idle connections; those in use close when they are done.
func (l *link) retire() {
	l.strict.CloseIdle("")
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range []*http.Transport{l.h1, l.h2} {
		if t != nil {
			t.CloseIdleConnections()
		}
	}
}

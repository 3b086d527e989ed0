// Package player plays recorded requests and named attacks against a gateway on
// loopback. In come the recorded exchanges, the gateway's address and a source
// of tokens; out come requests over real sockets and, for each, what the client
// saw. Every principal has a source address of its own in 127.0.0.0/8. It never
// sends anything to another machine.
package player

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"sallyport.dev/test/lab/replay"
)

// A Player sends requests to one gateway.
type Player struct {
	Gateway  string         // host:port on loopback
	Host     string         // the API's host name
	Roots    *x509.CertPool // nil: plain HTTP
	TokenURL string         // of the issuer

	principals []*principal
}

type principal struct {
	id, secret string
	client     *http.Client

	mu      sync.Mutex
	token   string
	renewAt time.Time
}

// Add makes a principal that takes its tokens with the client credentials given
// and calls from source, an address on loopback. With http2 it speaks HTTP/2.
func (p *Player) Add(id, secret, source string, http2 bool) {
	p.principals = append(p.principals, &principal{id: id, secret: secret, client: &http.Client{
		Transport: p.transport(source, http2), Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}})
}

func (p *Player) transport(source string, http2 bool) *http.Transport {
	t := &http.Transport{MaxIdleConnsPerHost: 4, DisableCompression: true, ForceAttemptHTTP2: http2}
	t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, source, p.Gateway) }
	if p.Roots != nil {
		t.TLSClientConfig = p.tlsConfig()
	}
	if !http2 {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetHTTP1(true)
	}
	return t
}

func (p *Player) tlsConfig() *tls.Config {
	name, _, _ := net.SplitHostPort(p.Gateway)
	return &tls.Config{RootCAs: p.Roots, ServerName: name, MinVersion: tls.VersionTLS12}
}

// dial refuses any target off loopback, whatever it was asked for.
func dial(ctx context.Context, source, target string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("player: %s is not on loopback", target)
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	if source != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
	}
	return d.DialContext(ctx, "tcp", target)
}

func (p *Player) scheme() string {
	if p.Roots == nil {
		return "http"
	}
	return "https"
}

// bearer is the principal's token, fetched anew a little before it ends.
func (p *Player) bearer(ctx context.Context, who *principal) (string, error) {
	who.mu.Lock()
	defer who.mu.Unlock()
	if time.Now().Before(who.renewAt) {
		return who.token, nil
	}
	t, life, err := FetchToken(ctx, p.TokenURL, who.id, who.secret)
	if err != nil {
		return "", err
	}
	who.token, who.renewAt = t, time.Now().Add(life*8/10)
	return t, nil
}

// Seen is what the client saw of one exchange.
type Seen struct {
	Status    int
	RequestID string
	Body      []byte
}

// Replay sends one recorded request as the n-th principal and reads the answer.
func (p *Player) Replay(ctx context.Context, n int, x *replay.Exchange) (Seen, error) {
	who := p.principals[n%len(p.principals)]
	token, err := p.bearer(ctx, who)
	if err != nil {
		return Seen{}, err
	}
	var body io.Reader
	if x.RequestBody != nil {
		body = strings.NewReader(*x.RequestBody)
	}
	req, err := http.NewRequestWithContext(ctx, x.Method, p.scheme()+"://"+p.Gateway+x.Target, body)
	if err != nil {
		return Seen{}, err
	}
	for k, v := range x.RequestHeader {
		req.Header.Set(k, v)
	}
	if body == nil {
		req.Header.Del("Content-Type")
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return p.send(who.client, req)
}

func (p *Player) send(c *http.Client, req *http.Request) (Seen, error) {
	if req.Host == req.URL.Host {
		req.Host = p.Host
	}
	res, err := c.Do(req)
	if err != nil {
		return Seen{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	return Seen{res.StatusCode, res.Header.Get("X-Request-Id"), b}, err
}

// FetchToken takes an access token with client credentials (RFC 6749 §4.4).
func FetchToken(ctx context.Context, tokenURL, id, secret string) (token string, life time.Duration, err error) {
	form := url.Values{"grant_type": {"client_credentials"}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, tokenURL, strings.NewReader(form))
	if err != nil {
		return "", 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(id, secret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", 0, fmt.Errorf("take a token: %w", err)
	}
	defer res.Body.Close()
	var out struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := decodeJSON(res.Body, &out); err != nil || out.AccessToken == "" {
		return "", 0, errors.Join(fmt.Errorf("take a token: the issuer answered %s", res.Status), err)
	}
	return out.AccessToken, time.Duration(out.ExpiresIn) * time.Second, nil
}

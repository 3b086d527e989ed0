// Package identity fetches what authentication must know and the guard may not
// fetch: it discovers the configured OpenID providers, keeps their key sets
// fresh, asks those about opaque tokens that are configured for it, and serves
// keys and answers from memory. In come issuers (from the configuration only: an
// issuer that merely stands in a token is never called) and their answers, each
// bounded in size and time; out go public keys, claims and, for the console, each
// provider's status. When a provider is down, the last good
// key set goes on serving; answers about tokens end with their time. It also gets the tokens that requests carry to
// upstreams (Grants), and signs with keys of ours (Signer). It never verifies a token.
package identity

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/policy"
)

// Times of the refresh. A provider's Cache-Control moves the refresh of its key
// set between shortest and longest.
const (
	shortest = time.Minute
	usual    = 15 * time.Minute
	longest  = 6 * time.Hour
	// overlap is how long a key that left the set stays accepted, for tokens
	// signed just before: about as long as an access token lives.
	overlap = 10 * time.Minute
	// unknownEvery is the shortest time between two fetches for the sake of an
	// unknown kid, so that made-up kids cannot be turned into traffic.
	unknownEvery = 10 * time.Second
	retryFirst   = 2 * time.Second
	retryMost    = 2 * time.Minute
	fetchTime    = 5 * time.Second // of discovery and key set together
)

// Providers holds the key sets of the configured issuers. Set the fields, then
// call Run; Key, Resolve, Configure and Status are safe for concurrent use at
// any time.
type Providers struct {
	Issuers []string         // the configured ones; Configure changes them later
	Client  *http.Client     // nil: one with bounded times that follows no redirect
	Log     *slog.Logger     // nil: discard
	Now     func() time.Time // nil: time.Now
	// Overlap is how long a key that left its set stays accepted; zero is 10
	// minutes, negative not at all.
	Overlap time.Duration
	// UnknownEvery is the shortest time between two fetches of one issuer's keys
	// for the sake of unknown kids; zero is 10 s.
	UnknownEvery time.Duration
	// Introspection says which of the issuers are asked about opaque tokens. It
	// is not changed after the first call.
	Introspection []Introspection

	asks   []*introspector
	asking *http.Client

	once  sync.Once
	table atomic.Pointer[map[string]*provider] // what Key reads

	mu    sync.Mutex // of the fields below; never held while fetching
	order []string
	wake  chan struct{}
}

func (p *Providers) init() {
	p.once.Do(func() {
		if p.Now == nil {
			p.Now = time.Now
		}
		if p.Log == nil {
			p.Log = slog.New(slog.DiscardHandler)
		}
		p.asking = p.Client
		if p.Client == nil {
			p.Client, p.asking = newClient(2), newClient(askMost)
		}
		for _, i := range p.Introspection {
			p.asks = append(p.asks, newIntrospector(i))
		}
		if p.Overlap == 0 {
			p.Overlap = overlap
		}
		if p.UnknownEvery <= 0 {
			p.UnknownEvery = unknownEvery
		}
		p.wake = make(chan struct{}, 1)
		p.configure(p.Issuers)
	})
}

// newClient makes the client used by default: TLS 1.2 or later, every phase
// bounded, and no redirect followed, so that a provider cannot point elsewhere.
func newClient(conns int) *http.Client {
	return &http.Client{
		Timeout:       fetchTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    3 * time.Second,
			ResponseHeaderTimeout:  3 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			MaxConnsPerHost:        conns,
			MaxIdleConnsPerHost:    conns,
			IdleConnTimeout:        30 * time.Second,
			ForceAttemptHTTP2:      true,
		},
	}
}

// Configure replaces the configured issuers. Those that stay keep their keys;
// those that go are forgotten. An issuer that policy.CheckIssuer refuses is an error, and then
// nothing changes.
func (p *Providers) Configure(issuers []string) error {
	for _, iss := range issuers {
		if err := policy.CheckIssuer(iss); err != nil {
			return sallyport.Wrap(sallyport.Invalid, err, "configure issuer %s", iss)
		}
	}
	p.init()
	p.configure(issuers)
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return nil
}

func (p *Providers) configure(issuers []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := map[string]*provider{}
	p.order = p.order[:0:0]
	for _, iss := range issuers {
		if next[iss] != nil {
			continue
		}
		next[iss] = p.provider(iss)
		if next[iss] == nil {
			next[iss] = &provider{issuer: iss}
		}
		p.order = append(p.order, iss)
	}
	p.table.Store(&next)
}

func (p *Providers) provider(issuer string) *provider {
	if t := p.table.Load(); t != nil {
		return (*t)[issuer]
	}
	return nil
}

// Run keeps the key sets fresh until ctx ends. It returns an error at once when
// an issuer is not one that may be called, and ctx's end otherwise as nil.
func (p *Providers) Run(ctx context.Context) error {
	for _, iss := range p.Issuers {
		if err := policy.CheckIssuer(iss); err != nil {
			return sallyport.Wrap(sallyport.Invalid, err, "configure issuer %s", iss)
		}
	}
	p.init()
	var fetches sync.WaitGroup
	defer fetches.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-p.wake:
		}
		wait := longest
		for _, v := range *p.table.Load() {
			if due := v.due(p.Now()); due > 0 {
				wait = min(wait, due)
				continue
			}
			wait = min(wait, retryFirst)
			if f, mine := v.join(p.Now(), 0); mine {
				fetches.Go(func() { p.fetch(ctx, v, f) })
			}
		}
		timer.Reset(max(wait, 50*time.Millisecond))
	}
}

// Key gives a public key from memory: see guard.KeySource.
func (p *Providers) Key(issuer, kid, alg string) (key any, ok bool) {
	p.init()
	v := p.provider(issuer)
	if v == nil {
		return nil, false
	}
	set := v.set.Load()
	if set == nil {
		return nil, false
	}
	return set.key(kid, alg, p.Now)
}

// HasKeys reports whether any key set of the issuer has been fetched.
func (p *Providers) HasKeys(issuer string) bool {
	p.init()
	v := p.provider(issuer)
	return v != nil && v.set.Load() != nil
}

// Resolve tries to get the key kid of a configured issuer into memory: it joins
// a fetch that is under way, or fetches when the last fetch is long enough ago.
// A nil error means that the key is in memory now. NotFound: the issuer does not
// have it, or is not configured. Unavailable: the issuer could not be asked.
func (p *Providers) Resolve(ctx context.Context, issuer, kid string) error {
	p.init()
	v := p.provider(issuer)
	if v == nil {
		return sallyport.Errorf(sallyport.NotFound, "resolve key: the issuer is not configured")
	}
	if set := v.set.Load(); set != nil && set.has(kid, p.Now()) {
		return nil
	}
	var err error
	if f, mine := v.join(p.Now(), p.UnknownEvery); f != nil {
		if mine {
			// The fetch is everybody's: it goes on when the one who began it leaves.
			go p.fetch(context.WithoutCancel(ctx), v, f)
		}
		select {
		case <-f.over:
			err = f.err
		case <-ctx.Done():
			return sallyport.Wrap(sallyport.Unavailable, ctx.Err(), "resolve key of %s", issuer)
		}
	}
	if set := v.set.Load(); set != nil && set.has(kid, p.Now()) {
		return nil
	}
	if err != nil {
		return sallyport.Wrap(sallyport.Unavailable, err, "fetch keys of %s", issuer)
	}
	return sallyport.Errorf(sallyport.NotFound, "the issuer %s has no such key", issuer)
}

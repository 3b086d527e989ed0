package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/gateway/cache"
	"sallyport.dev/gateway/cert"
	"sallyport.dev/gateway/http1"
)

// A Gateway answers for all APIs. Its methods may be called from any goroutine.
type Gateway struct {
	o       Options
	force   atomic.Pointer[generation] // what requests are judged and sent on by
	repeats *repeats                   // how clients ask again and again
	standIn *local                     // gives certificates in their stead
	setting sync.Mutex                 // one Change at a time

	strip      *stripper
	requests   gauge  // in flight
	clients    *crowd // in flight, by client
	buffered   gauge  // bytes of bodies held
	waiting    gauge  // answers held back until their time
	store      *cache.Store
	refreshing gauge // questions asked because something stale was given
	count      counters

	certs       certificates
	clientRoots *cert.Roots // nil: Options.TLS.ClientCAs, which may be nil too
	hsts        []string    // value of Strict-Transport-Security; nil: none
	watching    atomic.Bool
	tlsConfig   *tls.Config
	strict      *http1.Server
	standard    *http.Server // HTTP/2, and HTTP/1.1 of the reference front
	handoff     *handoff     // how connections reach it

	conns       gauge       // connections open
	clientConns *crowd      // connections open, by peer
	draining    atomic.Bool // Drain has been called
	leaving     atomic.Bool // and answers say that connections end
	altSvc      atomic.Pointer[[]string]

	mu        sync.Mutex // over what follows
	listeners []*Listener
	tunnels   map[*tunnel]struct{}
	drained   chan struct{} // closed when Drain has ended
	drainErr  error
	greeting  sync.WaitGroup // connections between accept and their first request
	accepts   sync.WaitGroup // accept loops
	loops     sync.WaitGroup // of the servers
}

var _ http.Handler = (*Gateway)(nil)

// New makes a gateway that is ready to Serve. Its pools resolve names and check
// instances from here on until Drain. A mistake in the options is an error.
func New(o Options) (*Gateway, error) {
	if o.Program == nil {
		return nil, errors.New("start gateway: no program")
	}
	o.Bounds = o.Bounds.withDefaults()
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Door == "" {
		o.Door = "gateway"
	}
	if o.Egress != nil { // names that mean something to us mean something else to others
		o.StripHeaders = append([]string{"X-Sallyport-*", "Proxy-*"}, o.StripHeaders...)
	}
	if o.StripHeaders == nil {
		o.StripHeaders = IdentityHeaders
	}
	if o.Front == "" {
		o.Front = Strict
	}
	if o.Front != Strict && o.Front != Reference {
		return nil, fmt.Errorf("start gateway: front %q is not one of strict, reference", o.Front)
	}
	if o.Lookup == nil {
		o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	g := &Gateway{
		o: o, repeats: newRepeats(), strip: newStripper(o.StripHeaders), clients: newCrowd(o.Bounds.ClientRequests),
		clientConns: newCrowd(o.Bounds.ClientConnections), tunnels: map[*tunnel]struct{}{}, drained: make(chan struct{}),
	}
	g.requests.max = int64(o.Bounds.Requests)
	g.buffered.max = o.Bounds.Buffered
	g.waiting.max = int64(o.Bounds.Waiting)
	g.conns.max = int64(o.Bounds.Connections)
	g.store = cache.New(o.Bounds.Cache)
	g.refreshing.max = maxRefreshes
	g.count.init()
	g.force.Store(&generation{program: o.Program})
	certs, err := newCertificates(o.TLS, o.Log, o.Now)
	if err != nil {
		return nil, fmt.Errorf("start gateway: %w", err)
	}
	g.certs = certs
	if o.Egress != nil {
		if g.standIn, err = newLocal(TLS{LocalDir: o.Egress.CADir}, o.Now); err != nil {
			return nil, fmt.Errorf("start gateway: %w", err)
		}
	}
	if file := o.TLS.ClientCAFile; file != "" {
		g.clientRoots = &cert.Roots{File: file, Log: o.Log, Now: o.Now}
		if err := g.clientRoots.Load(); err != nil {
			return nil, fmt.Errorf("start gateway: authorities of clients: %w", err)
		}
	}
	if o.TLS.HSTS != "" {
		g.hsts = []string{o.TLS.HSTS}
	}
	if err := g.SetAPIs(o.APIs); err != nil {
		return nil, fmt.Errorf("start gateway: %w", err)
	}
	g.fronts()
	return g, nil
}

// trusted reports whether a is a proxy whose word about others is believed.
func (g *Gateway) trusted(a netip.Addr) bool {
	for _, p := range g.o.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"sallyport.dev"
	"sallyport.dev/gateway/load"
	"sallyport.dev/guard"
)

// A Recorder takes the records of requests. Both methods are called from many
// goroutines at once and must not block.
type Recorder interface {
	// Want reports whether samples of the bodies should be attached to x.
	Want(x *sallyport.Exchange) bool
	// Record takes x over; the gateway touches it no more.
	Record(x *sallyport.Exchange)
}

// An Introspector is a Resolver that can also ask an issuer about an opaque
// token (RFC 7662), so that the session can go on. It returns when there is an
// answer, or none to be had, or ctx has ended.
type Introspector interface {
	Introspect(ctx context.Context, issuer, token string) error
}

// A Resolver fetches the key that a guard.Step asked for, so that the session
// can be resumed. An error means only that the guard will go on without it.
type Resolver interface {
	Resolve(ctx context.Context, issuer, keyID string) error
}

// An Original is an error that the gateway answered something else for.
type Original struct {
	ID     string // of the request
	API    string
	Time   time.Time
	Status int
	Header http.Header // shared: what is kept of it is to be copied
	Body   []byte      // as the upstream sent it, its beginning when Cut; shared too
	Cut    bool
}

// A Sealer keeps originals for the owner, encrypted. It is called from many
// goroutines at once, must not block, and keeps nothing of o that it has not
// copied.
type Sealer interface{ Seal(o Original) }

// Options is all that a Gateway is made of. The zero value of each field but
// Program has a stated default.
type Options struct {
	Program *guard.Program // required
	APIs    []API          // the pools, by name of the API

	Recorder Recorder     // nil: nothing is recorded
	Resolver Resolver     // nil: unknown keys stay unknown
	Sealer   Sealer       // nil: what the gateway replaces is gone
	Log      *slog.Logger // nil: discarded

	TLS    TLS    // certificates; used by listeners that are not Plain
	Front  Front  // who speaks HTTP/1.1 with clients; default Strict
	Bounds Bounds // sizes, times and numbers, each with its answer

	// TrustedProxies are the peers whose X-Forwarded-For, X-Forwarded-Proto and
	// X-Forwarded-Host, and whose PROXY protocol header, are believed.
	TrustedProxies []netip.Prefix
	// StripHeaders are request headers that speak of identity and must not come
	// from a client; a trailing * stands for any rest. nil means IdentityHeaders, or with Egress
	// none but our own.
	StripHeaders []string

	// Door is the gateway's name in the records; "" is "gateway".
	Door string
	// Egress makes it the door of calls that go out, to APIs of others; nil: not.
	Egress *Egress

	// Changed is told of each instance that waits for the gate: a new one of a
	// gated pool, and one that turns out to have been started again. It must not block.
	Changed func(sallyport.Instance)

	Now func() time.Time // nil: time.Now; pools, sessions and records read it
	// Lookup resolves the name of a DNS upstream; nil: the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// IdentityHeaders are the request headers that upstreams are known to take for
// proof of identity or address; a client's own are removed.
var IdentityHeaders = []string{
	"X-Auth-*", "X-Authenticated-*", "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups",
	"X-Forwarded-Preferred-Username", "X-Forwarded-Access-Token", "X-Forwarded-Client-Cert", "X-Remote-*", "Remote-*", "X-User-*",
	"X-Client-Cert*", "X-Ssl-Client-*", "Ssl-Client-*", "X-Real-Ip", "True-Client-Ip", "Client-Ip", "X-Client-Ip",
	"X-Cluster-Client-Ip", "Cf-Connecting-Ip", "X-Original-Url", "X-Rewrite-Url", "X-Original-Host", "X-Http-Method-Override",
	"X-Http-Method", "X-Method-Override", "X-Original-Method",
}

// Front names the implementation that speaks HTTP/1.1 with clients.
type Front string

// The fronts. Strict is gateway/http1. Reference is net/http's server, kept to
// compare with and not for use: it repairs some requests that have two readings
// (RFC 9112 section 11.2), which Strict refuses.
const (
	Strict    Front = "strict"
	Reference Front = "reference"
)

// Bounds are the limits of one gateway; a zero field takes the default named
// beside it, and the answer that a client gets is stated with it.
type Bounds struct {
	Target      int           // bytes of the request target: 8 KiB; 414
	Header      int           // bytes of all request headers: 32 KiB; 431
	HeaderLines int           // request header lines: 100; 431
	Body        int64         // bytes of a request body that streams through: 1 GiB; 413
	HeadTime    time.Duration // from a request's first byte to the end of its headers: 10 s; 408
	BodyIdle    time.Duration // between two reads of a request body: 30 s; 408
	IdleTime    time.Duration // between two requests of a connection: 75 s; closed
	AnswerTime  time.Duration // until an upstream's headers are there: 60 s; 504
	StreamIdle  time.Duration // between two reads of an upstream's body: 10 min; cut off
	WriteTime   time.Duration // for a client to take one write of the answer: 60 s; closed
	FetchTime   time.Duration // for a key to be fetched: 3 s; decided without it

	Connections       int // open at once: 16,384; closed unanswered
	ClientConnections int // open at once from one address that is no trusted proxy: 512; closed unanswered
	Requests          int // in flight at once: 8,192; 503
	ClientRequests    int // in flight at once from one client: 256; 429

	Frames int // of HTTP/2 that carry nothing, a second of one connection, ten times as many at once: 200; closed
	Resets int // HTTP/2 streams that end before their answer, a second of one connection, eight times as many at once: 50; closed

	Waiting  int           // failed sign-ins held back until their time at once: 1,024; 503
	Buffered int64         // bytes of bodies held in memory at once: 256 MiB; 503
	Cache    int64         // bytes of stored answers: 64 MiB; the least asked for go
	Sample   int           // bytes of each body kept for the recorder: 64 KiB
	Drain    time.Duration // for requests in flight once serving ends: 30 s; cut off
}

func (b Bounds) withDefaults() Bounds {
	number(&b.Target, 8<<10)
	number(&b.Header, 32<<10)
	number(&b.HeaderLines, 100)
	number(&b.Body, 1<<30)
	number(&b.HeadTime, 10*time.Second)
	number(&b.BodyIdle, 30*time.Second)
	number(&b.IdleTime, 75*time.Second)
	number(&b.AnswerTime, 60*time.Second)
	number(&b.StreamIdle, 10*time.Minute)
	number(&b.WriteTime, 60*time.Second)
	number(&b.FetchTime, 3*time.Second)
	number(&b.Connections, 16384)
	number(&b.ClientConnections, 512)
	number(&b.Requests, 8192)
	number(&b.ClientRequests, 256)
	number(&b.Frames, 200)
	number(&b.Resets, 50)
	number(&b.Waiting, 1024)
	number(&b.Buffered, 256<<20)
	number(&b.Cache, 64<<20)
	number(&b.Sample, 64<<10)
	number(&b.Drain, 30*time.Second)
	return b
}

func number[N int | int64 | time.Duration | float64](v *N, otherwise N) {
	if *v <= 0 {
		*v = otherwise
	}
}

// API is the pool of one API: where its instances are and how they are judged.
type API struct {
	Name      string // of the sallyport.API; the guard says which one a request is for
	Upstreams []Upstream
	Health    Health
	Load      load.Settings // how it is kept from doing too much; the zero value does nothing
	Onward    *Onward       // what requests carry to the upstreams besides; nil: what the client sent
	Sideload  *Sideload     // what may be put into answers; nil: nothing
	Out       *Destination  // of a gateway with Egress
	Boot      *Boot         // how an instance tells its starts apart; nil: nobody asks
	Stored    string        // of what stored answers are besides: how they are described and kept; when it changes they are parted with
	Gated     bool          // new instances are held until Admit; false: admitted, "no gate configured"
}

// Upstream is one instance by URL, or all the addresses of a DNS name. Exactly
// one of URL and DNS is set.
type Upstream struct {
	URL      string        // scheme://host:port
	DNS      string        // host:port, resolved again every Refresh
	Scheme   string        // of a DNS upstream: http (default) or https
	Refresh  time.Duration // of a DNS upstream: 30 s
	Protocol string        // "" or "http1": HTTP/1.1, and HTTP/2 for gRPC; "h2": HTTP/2 always (h2c over http)
	Host     string        // Host header sent; "" passes the client's on
	CA       string        // file with the roots an https upstream is checked against, read again when it changes; "" = the system's
	Cert     string        // file with the certificate an https upstream is shown, read again when it changes; "" = none
	Key      string        // file with its key
	MinTLS   uint16        // least version of TLS; 0 = TLS 1.2
	Pins     string        // SHA-256 of public keys, in hexadecimal, separated by spaces: the chain must hold one; "" = any
	Name     string        // server name of the certificate; "" = host of the URL or DNS
	Standby  bool          // asked only when the others are full or too few of them are well
	Reach    string        // "" = any address; "public", and further networks behind commas: no other address is dialled
	Members  *Members      // who knows the addresses in place of DNS, which is then a name alone; nil = DNS
	MaxConns int           // requests in flight at once to one instance: 1024; then another, then 503
}

// Health says when an instance is left out. A zero field takes the default
// named beside it. A passive failure is a request that the instance did not
// answer, or with 502, 504, or 503 without Retry-After. Passive failures never
// leave out the last instance that is admitted and passes its active checks.
type Health struct {
	Path      string        // active check: GET this path, 2xx or 3xx is well; "" = none
	Interval  time.Duration // between active checks: 5 s
	Timeout   time.Duration // of one active check: 2 s
	Failures  int           // in a row, passive or active, until left out: 5
	Recovered int           // active checks in a row until taken back: 2
	Backoff   time.Duration // first time left out by passive failures: 2 s, doubled each time
	MaxBack   time.Duration // longest time left out: 60 s
	// MaxEjected is the part of the instances that failures may leave out; 1: all,
	// which are then asked all the same. One may always be left out. Of those
	// that fail more often than the others half at most are.
	MaxEjected float64
	// SpillBelow: when a smaller part of the instances is well, those that stand
	// by take over as much as is missing: 0.7.
	SpillBelow float64
	SlowStart  time.Duration // during which a new or recovered instance gets less: 10 s; negative: none
	Retries    int           // further tries of one request, where safe: 2; negative: none
	Budget     int           // retries in percent of requests: 20
}

func (h Health) withDefaults() Health {
	number(&h.Interval, 5*time.Second)
	number(&h.Timeout, 2*time.Second)
	number(&h.Failures, 5)
	number(&h.Recovered, 2)
	number(&h.Backoff, 2*time.Second)
	number(&h.MaxBack, 60*time.Second)
	number(&h.Budget, 20)
	number(&h.MaxEjected, 1)
	number(&h.SpillBelow, 0.7)
	if h.SlowStart == 0 {
		h.SlowStart = 10 * time.Second
	}
	if h.Retries == 0 {
		h.Retries = 2
	}
	return h
}

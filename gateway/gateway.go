package gateway

import (
	"context"
	"net/http"
	"sync/atomic"

	"sallyport.dev"
	"sallyport.dev/guard"
)

// A Gateway answers for all APIs. Its methods may be called from any goroutine.
type Gateway struct {
	o       Options
	program atomic.Pointer[guard.Program]
}

var _ http.Handler = (*Gateway)(nil)

// New makes a gateway that is ready to Serve; its pools start resolving and
// checking at once, and end with Drain.
func New(o Options) (*Gateway, error) { panic("being written") }

// ServeHTTP guards, forwards and answers one request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {}

// Swap puts p in the place of the running program. Requests that have begun
// end under the program they began with.
func (g *Gateway) Swap(p *guard.Program) { g.program.Store(p) }

// SetAPIs replaces the pools. Instances named before and after keep their
// state and connections; a mistake is an error and changes nothing.
func (g *Gateway) SetAPIs(apis []API) error { return nil }

// Serve answers on the listeners until ctx ends or Drain is called, then
// drains within Bounds.Drain. It owns the listeners.
func (g *Gateway) Serve(ctx context.Context, listeners ...*Listener) error { return nil }

// Drain stops accepting, lets what is in flight finish until ctx ends, cuts
// off the rest and stops the pools. It returns ctx's error when it had to cut.
func (g *Gateway) Drain(ctx context.Context) error { return nil }

// Instances lists all instances of all pools, by API and URL.
func (g *Gateway) Instances() []sallyport.Instance { return nil }

// Admit makes the instance named by in.API and in.URL routable.
func (g *Gateway) Admit(ctx context.Context, in sallyport.Instance, reason string) error { return nil }

// Hold takes the instance out; requests in flight on it finish.
func (g *Gateway) Hold(ctx context.Context, in sallyport.Instance, reason string) error { return nil }

// Address says where and how to listen.
type Address struct {
	Address string // host:port
	Plain   bool   // no TLS; refused unless the host is a loopback address
	HTTP3   bool   // also HTTP/3, on the same UDP port; needs TLS
	PROXY   bool   // trusted proxies send a PROXY protocol header first
}

// A Listener is an open Address.
type Listener struct{}

// Listen opens the sockets of a. A port that is in use is an error that says so.
func Listen(ctx context.Context, a Address) (*Listener, error) { return nil, nil }

// Addr is where the listener is.
func (l *Listener) Addr() string { return "" }

// Guarded puts a guard session around a local handler, for example our own
// management API: door is its name in records, program gives the current
// program, and rec may be nil.
func Guarded(next http.Handler, program func() *guard.Program, door string, rec Recorder) http.Handler {
	return next
}

package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"sallyport.dev/gateway/cert"
	"sallyport.dev/gateway/http1"
)

// Address says where and how to listen.
type Address struct {
	Address string // host:port
	Plain   bool   // no TLS; refused unless the host is a loopback address
	HTTP3   bool   // HTTP/3 too, on the same UDP port; needs TLS
	PROXY   bool   // trusted proxies send a PROXY protocol header first
}

// A Listener is an open Address. Serve takes it over; Close is for one that is
// never served.
type Listener struct {
	a   Address
	tcp net.Listener
	udp net.PacketConn
	h3  *http3.Server
}

// Listen opens the sockets of a. When the port is in use the error says so.
func Listen(ctx context.Context, a Address) (*Listener, error) {
	host, _, err := net.SplitHostPort(a.Address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: want host:port: %w", a.Address, err)
	}
	if a.Plain {
		if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
			return nil, fmt.Errorf("listen on %s: TLS can be off on a loopback address only", a.Address)
		}
		if a.HTTP3 {
			return nil, fmt.Errorf("listen on %s: HTTP/3 needs TLS", a.Address)
		}
	}
	var lc net.ListenConfig
	for try := 0; ; try++ {
		tcp, err := lc.Listen(ctx, "tcp", a.Address)
		if err != nil {
			return nil, listenError(a.Address, "TCP", err)
		}
		l := &Listener{a: a, tcp: tcp}
		if !a.HTTP3 {
			return l, nil
		}
		if l.udp, err = lc.ListenPacket(ctx, "udp", tcp.Addr().String()); err == nil {
			return l, nil
		}
		tcp.Close()
		if tcp.Addr().String() == a.Address || try == 8 { // else the system chose the port: let it choose another
			return nil, listenError(a.Address, "UDP", err)
		}
	}
}

func listenError(addr, network string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s: another program has this %s port; stop it, or choose another port: %w", addr, network, err)
	}
	return fmt.Errorf("listen on %s: %w", addr, err)
}

// Addr is where the listener is.
func (l *Listener) Addr() net.Addr { return l.tcp.Addr() }

// quiet has Accept fail once nothing has come for a moment.
func (l *Listener) quiet() {
	if d, ok := l.tcp.(interface{ SetDeadline(time.Time) error }); ok {
		d.SetDeadline(time.Now().Add(20 * time.Millisecond))
	}
}

// Close closes the sockets.
func (l *Listener) Close() error {
	err := l.tcp.Close()
	if l.udp != nil {
		err = errors.Join(err, l.udp.Close())
	}
	return err
}

// fronts makes the servers that read requests from connections.
func (g *Gateway) fronts() {
	b := g.o.Bounds
	g.strict = &http1.Server{
		Handler: g, ReadHeaderTimeout: b.HeadTime, BodyTimeout: b.BodyIdle, WriteTimeout: b.WriteTime, IdleTimeout: b.IdleTime,
		MaxHeaderBytes: b.Header + b.Target, MaxHeaderLines: b.HeaderLines, MaxTargetBytes: b.Target, MaxBodyBytes: b.Body,
		ErrorAnswer: g.errorAnswer, OnRefuse: g.onRefuse,
		OnPanic: func(_ *http.Request, v any) { g.o.Log.Error("request failed in the front", "panic", v) },
	}
	g.tlsConfig = g.frontTLS()
	g.handoff = newHandoff()
	g.standard = &http.Server{
		Handler: g, ReadHeaderTimeout: b.HeadTime, IdleTimeout: b.IdleTime, MaxHeaderBytes: 2*b.Header + 2*b.Target,
		Protocols: new(http.Protocols), ErrorLog: slog.NewLogLogger(g.o.Log.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: h2Streams, MaxReadFrameSize: h2Frame, SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second,
			WriteByteTimeout: b.WriteTime, MaxReceiveBufferPerConnection: 2 << 20, MaxReceiveBufferPerStream: 512 << 10,
		},
	}
	g.standard.ConnContext = connContext
	g.standard.Protocols.SetHTTP1(true) // the reference front
	g.standard.Protocols.SetHTTP2(true)
	g.standard.Protocols.SetUnencryptedHTTP2(true)
	g.loops.Add(1)
	go func() {
		defer g.loops.Done()
		g.standard.Serve(g.handoff)
	}()
}

// watchCertificates speaks of those that end soon, until ctx ends.
func (g *Gateway) watchCertificates(ctx context.Context) {
	w := &cert.Watch{Days: g.o.TLS.WarnDays, Log: g.o.Log}
	for wait := 10 * time.Second; ; wait = time.Hour { // upstreams have been asked once by then
		w.Check(g.Certificates(), g.o.Now())
		if !sleep(ctx, wait) {
			return
		}
	}
}

// errorAnswer renders what the strict front refuses by itself.
func (g *Gateway) errorAnswer(r *http1.Refusal) (string, []byte) {
	r.ID = newID(g.o.Now())
	if c, secure := r.Conn.(*tls.Conn); secure && g.hsts != nil && g.o.Egress == nil && isName(cmp.Or(r.Host, c.ConnectionState().ServerName)) {
		r.Fields = append(r.Fields, [2]string{strictTransport, g.hsts[0]})
	}
	return problemContentType[0], appendProblem(nil, kindOf(r.Status), r.ID)
}

// onRefuse puts what the strict front refused on record.
func (g *Gateway) onRefuse(r *http1.Refusal) {
	x := turnedAway(r.ID, r.Time, kindOf(r.Status), r.Rule)
	if x.Time.IsZero() {
		x.Time = g.o.Now()
	}
	x.Status = r.Status
	x.Decision.Status = r.Status
	x.Decision.Reasons[0].Detail = r.Detail
	x.Method, x.Host, x.Proto = r.Method, r.Host, "HTTP/1.1"
	x.Path, x.Query = cutTarget(r.Target)
	x.Duration = max(0, g.o.Now().Sub(x.Time))
	if r.Conn != nil {
		x.Client = peerOf(r.Conn.RemoteAddr().String())
		_, x.TLS = r.Conn.(*tls.Conn)
	}
	g.record(x)
}

// Serve answers on the listeners until ctx ends or Drain is called; then it
// drains within Bounds.Drain. It owns the listeners from now on. The error is
// nil when every request could finish.
func (g *Gateway) Serve(ctx context.Context, listeners ...*Listener) error {
	g.mu.Lock()
	if g.draining.Load() {
		g.mu.Unlock()
		for _, l := range listeners {
			l.Close()
		}
		return errors.New("serve: the gateway has been drained")
	}
	g.listeners = append(g.listeners, listeners...)
	g.mu.Unlock()
	for _, l := range listeners {
		if l.udp != nil {
			g.serveHTTP3(l)
		}
		g.accepts.Add(1)
		go func() {
			defer g.accepts.Done()
			g.accept(l)
		}()
	}
	if err := g.certs.start(ctx, listeners); err != nil {
		g.o.Log.Error("certificates", "error", err)
	}
	watching, endWatch := context.WithCancel(ctx)
	defer endWatch()
	if g.o.TLS.WarnDays > 0 && g.watching.CompareAndSwap(false, true) {
		g.loops.Add(1)
		go func() {
			defer g.loops.Done()
			g.watchCertificates(watching)
		}()
	}
	select {
	case <-g.drained:
		return g.drainErr
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.o.Bounds.Drain)
	defer cancel()
	return g.Drain(stop)
}

func (g *Gateway) serveHTTP3(l *Listener) {
	b := g.o.Bounds
	l.h3 = &http3.Server{
		Handler: g, TLSConfig: http3.ConfigureTLSConfig(g.frontTLS()), IdleTimeout: b.IdleTime, MaxHeaderBytes: 2*b.Header + 2*b.Target,
		QUICConfig: &quic.Config{
			HandshakeIdleTimeout: b.HeadTime, MaxIdleTimeout: b.IdleTime, MaxIncomingStreams: 128, MaxIncomingUniStreams: 8,
			InitialStreamReceiveWindow: 256 << 10, MaxStreamReceiveWindow: 1 << 20, MaxConnectionReceiveWindow: 4 << 20,
		},
		ConnContext: g.countQUIC, Logger: slog.New(slog.DiscardHandler),
	}
	_, port, _ := net.SplitHostPort(l.tcp.Addr().String())
	g.altSvc.Store(&[]string{`h3=":` + port + `"; ma=3600`})
	g.loops.Add(1)
	go func() {
		defer g.loops.Done()
		if err := l.h3.Serve(l.udp); err != nil && !errors.Is(err, http.ErrServerClosed) && !g.draining.Load() {
			g.o.Log.Error("serve HTTP/3", "address", l.Addr().String(), "error", err)
		}
	}()
}

// countQUIC holds a QUIC connection to the same bounds as the others: one too
// many is closed with H3_EXCESSIVE_LOAD (RFC 9114 section 8.1).
func (g *Gateway) countQUIC(ctx context.Context, c *quic.Conn) context.Context {
	peer := peerOf(c.RemoteAddr().String())
	leave, ok := g.enter(peer)
	if !ok {
		c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), "")
		return ctx
	}
	context.AfterFunc(c.Context(), leave)
	return ctx
}

// enter counts a connection of peer, unless it is one too many. leave may be
// called more than once.
func (g *Gateway) enter(peer netip.Addr) (leave func(), ok bool) {
	if !g.conns.add(1) {
		g.count.connRefused.Add(1)
		return nil, false
	}
	proxy := g.trusted(peer) // speaks for many
	if !proxy && !g.clientConns.enter(peer) {
		g.conns.sub(1)
		g.count.connRefused.Add(1)
		return nil, false
	}
	g.count.connOpened.Add(1)
	return sync.OnceFunc(func() {
		if !proxy {
			g.clientConns.leave(peer)
		}
		g.conns.sub(1)
	}), true
}

// accept is the accept loop of one listener.
func (g *Gateway) accept(l *Listener) {
	var wait time.Duration
	more := false // since the last time that nothing came
	for {
		c, err := l.tcp.Accept()
		switch {
		case err == nil:
			more = true
		case errors.Is(err, net.ErrClosed) || timedOut(err) && !more:
			return
		case timedOut(err): // draining
			more = false
			l.quiet()
			continue
		default:
			// Out of file descriptors or the like: what is open goes on.
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			g.o.Log.Warn("accept", "address", l.Addr().String(), "error", err)
			time.Sleep(wait)
			continue
		}
		wait = 0
		leave, ok := g.enter(peerOf(c.RemoteAddr().String()))
		if !ok {
			c.Close()
			continue
		}
		g.greeting.Add(1)
		go g.greet(l, &clientConn{Conn: c, leave: leave})
	}
}

// clientConn is a connection from accept to close.
type clientConn struct {
	net.Conn
	leave  func()   // uncounts it, once
	remote net.Addr // as a PROXY header named it; nil: the peer itself
	early  []byte   // was looked at and is still to be read
	via    *via     // the CONNECT that its requests came by; nil: none
}

func (c *clientConn) Read(b []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(b, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil
		}
		return n, nil
	}
	return c.Conn.Read(b)
}

func (c *clientConn) RemoteAddr() net.Addr {
	if c.remote != nil {
		return c.remote
	}
	return c.Conn.RemoteAddr()
}

func (c *clientConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// CloseWrite ends the sending side, so that a last answer can still be read.
func (c *clientConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SyscallConn lets a front see whether the client has gone away.
func (c *clientConn) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.Conn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// greet brings a connection to the front that speaks its protocol.
func (g *Gateway) greet(l *Listener, c *clientConn) {
	greeted := sync.OnceFunc(g.greeting.Done)
	defer greeted()
	c.SetDeadline(time.Now().Add(g.o.Bounds.HeadTime))
	if l.a.PROXY && g.trusted(peerOf(c.RemoteAddr().String())) {
		named, err := readPROXY(c)
		if err != nil {
			g.o.Log.Warn("connection closed", "peer", c.RemoteAddr().String(), "error", err)
			c.Close()
			return
		}
		if named.IsValid() {
			c.remote = net.TCPAddrFromAddrPort(named)
		}
	}
	if l.a.Plain {
		// Only a client that was told so speaks HTTP/2 without TLS, as gRPC ones are.
		c.SetDeadline(time.Now().Add(g.o.Bounds.IdleTime))
		if g.o.Egress != nil && g.connect(c, greeted) {
			return
		}
		h2, err := c.isHTTP2()
		if err != nil {
			c.Close()
			return
		}
		c.SetDeadline(time.Time{})
		if h2 {
			g.handoff.give(g.watchHTTP2(c))
			return
		}
		if g.o.Front == Reference {
			g.handoff.give(c)
			return
		}
		greeted()
		g.strict.ServeConn(context.Background(), c)
		return
	}
	t := tls.Server(c, g.tlsConfig)
	ctx, cancel := context.WithTimeout(context.Background(), g.o.Bounds.HeadTime)
	err := t.HandshakeContext(ctx)
	cancel()
	if err != nil {
		g.count.handshakeFailed.Add(1)
		if err != io.EOF {
			g.o.Log.Debug("TLS handshake", "peer", c.RemoteAddr().String(), "error", err)
		}
		c.Close()
		return
	}
	c.SetDeadline(time.Time{})
	switch proto := t.ConnectionState().NegotiatedProtocol; {
	case proto == acmeTLS:
		t.Close() // the handshake was the answer (RFC 8737)
	case proto == "h2":
		g.handoff.give(g.watchHTTP2(t))
	case g.o.Front == Reference:
		g.handoff.give(t)
	default:
		if g.o.Egress != nil {
			inside := &clientConn{Conn: t, leave: func() {}}
			if g.connect(inside, greeted) {
				return
			}
			greeted()
			g.strict.ServeConn(context.Background(), inside)
			return
		}
		greeted()
		g.strict.ServeConn(context.Background(), t)
	}
}

// Drain stops accepting, lets what is in flight finish until ctx ends, cuts
// off the rest, and stops the pools. WebSockets are given a quarter of the
// time that is left and then a close frame with status 1001. It returns ctx's
// error when it had to cut. A second call waits for the first.
func (g *Gateway) Drain(ctx context.Context) error {
	g.mu.Lock()
	if g.draining.Swap(true) {
		g.mu.Unlock()
		select {
		case <-g.drained:
			return g.drainErr
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	listeners := g.listeners
	g.mu.Unlock()
	defer close(g.drained)

	// What the kernel has accepted already is still served.
	for _, l := range listeners {
		deafen(l.tcp)
		l.quiet()
	}
	g.accepts.Wait()
	for _, l := range listeners {
		l.tcp.Close()
	}
	greeted := make(chan struct{})
	go func() { g.greeting.Wait(); close(greeted) }()
	select {
	case <-greeted:
	case <-time.After(2 * time.Second): // who is slower than that has not asked yet
	case <-ctx.Done():
	}

	g.leaving.Store(true)
	// A connection that is in use tells its client with the next answer that it
	// ends; closing it under a request on its way would drop that.
	if g.conns.n.Load() > 0 {
		grace := 250 * time.Millisecond
		if end, ok := ctx.Deadline(); ok {
			grace = min(grace, time.Until(end)/4)
		}
		for until := time.Now().Add(grace); g.conns.n.Load() > 0 && time.Now().Before(until); {
			sleep(ctx, 5*time.Millisecond)
		}
	}
	errs := make(chan error, 3+len(listeners))
	var fronts sync.WaitGroup
	start := func(f func() error) {
		fronts.Add(1)
		go func() { defer fronts.Done(); errs <- f() }()
	}
	start(func() error { return g.strict.Shutdown(ctx) })
	start(func() error {
		if err := g.standard.Shutdown(ctx); err != nil {
			g.standard.Close()
			return err
		}
		return nil
	})
	for _, l := range listeners {
		if l.h3 != nil {
			start(func() error {
				err := l.h3.Shutdown(ctx)
				l.h3.Close()
				l.udp.Close()
				return err
			})
		}
	}
	start(func() error { g.endTunnels(ctx); return nil })
	fronts.Wait()
	close(errs)
	var all []error
	for err := range errs {
		if err != nil {
			all = append(all, err)
		}
	}
	for until := time.Now().Add(time.Second); len(all) > 0 && g.requests.n.Load() > 0 && time.Now().Before(until); {
		time.Sleep(5 * time.Millisecond) // those that were cut off are put on record
	}
	g.certs.stop()
	for _, l := range g.force.Load().lanes {
		l.pool.stop()
	}
	g.handoff.Close()
	g.loops.Wait()
	g.drainErr = errors.Join(all...)
	if g.drainErr != nil {
		g.drainErr = fmt.Errorf("drain: requests were cut off: %w", g.drainErr)
	}
	return g.drainErr
}

// endTunnels lets the connections that have switched protocols end by
// themselves for a quarter of the time that is left, then tells their clients
// that the server is going away, and closes them a second later.
func (g *Gateway) endTunnels(ctx context.Context) {
	grace := 5 * time.Second
	if end, ok := ctx.Deadline(); ok {
		grace = time.Until(end) / 4
	}
	tell := time.Now().Add(min(grace, 10*time.Second))
	cut := tell.Add(min(grace, time.Second))
	for {
		g.mu.Lock()
		open := g.tunnels
		if len(open) == 0 || time.Now().After(cut) || ctx.Err() != nil {
			g.tunnels = nil
			g.mu.Unlock()
			for t := range open {
				t.close()
			}
			return
		}
		if time.Now().After(tell) {
			for t := range open {
				go t.leave() // a client that takes nothing holds up nobody else
			}
		}
		g.mu.Unlock()
		sleep(ctx, 20*time.Millisecond)
	}
}

// A handoff is a listener whose connections come from an accept loop elsewhere.
type handoff struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newHandoff() *handoff { return &handoff{conns: make(chan net.Conn), done: make(chan struct{})} }

func (h *handoff) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.done:
		c.Close()
	}
}

func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

func (h *handoff) Addr() net.Addr { return handoffAddr{} }

type handoffAddr struct{}

func (handoffAddr) Network() string { return "tcp" }
func (handoffAddr) String() string  { return "handoff" }

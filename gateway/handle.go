package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev"
	"sallyport.dev/gateway/http1"
	"sallyport.dev/guard"
	"sallyport.dev/guard/authn"
)

// A passage is one request on its way through the gateway. It is reused: what
// is kept from one request to the next is named in reset.
type passage struct {
	g     *Gateway
	force *generation
	w     http.ResponseWriter
	r     *http.Request
	rc    *http.ResponseController // nil under the strict front, which times bodies itself
	id    string
	req   guard.Request
	ses   *guard.Session
	pool  *pool
	lane  *lane // of it

	target  string // path and query as sent upstream
	client  netip.Addr
	upgrade string // protocol asked for, "" for none
	options bool   // Connection names headers that end here
	call
	plain    bool          // the answer is asked for whole, and without an encoding
	talks    bool          // messages behind the upgrade are read
	changed  bool          // another body goes out than came
	events   *guard.Events // of the answer, when they are judged
	decoded  bool          // the body goes on without its Content-Encoding
	fields   [4]http1.Field
	more     []http1.Field // fields with credentials and names, when onward says so
	onward   *Onward
	header   http.Header // request headers for the upstream, when not the client's own
	tried    []*instance
	up       ask
	in       *inbound // the request's body; nil when there is none
	announce []string // names of the trailer fields to come behind it
	body     buffer   // of it, what is held
	answer   buffer   // of the answer's body, what is held
	sample   buffer   // of the answer's body, what has passed
	out      guard.Outcome
	held     bool      // body is all of it
	reserved int64     // of Gateway.buffered
	ended    bool      // the record has been handed over
	wrote    bool      // the answer's head is out
	crowded  bool      // there was no room for the sample
	trailing bool      // the request has a trailer, which passed
	abort    bool      // the answer broke off: the connection is to be cut
	side     *Sideload // of the API, when it has one
	wanted   []string  // names of what is to be put into the answer
	adds     []*Side   // the rules it is done by
	caller   guard.Caller
	meant    string // key of the operation that a request of our own is for
	sideHeld int64  // of Gateway.buffered, for them
	sideFull int64  // of them that had no room
	laden    bool   // the answer waits for what is to be put into it
	turn
	after   *guard.Step // the answer that takes the upstream's place, once its time has come
	idValue [1]string
	on1xx   func(int, http.Header) // p.interim

	cached       *caching // nil: the cache has no part in it
	kept         *caching // the room for it
	storable     func(int, string) bool
	storedHeader http.Header
}

var passages = sync.Pool{New: func() any {
	p := new(passage)
	p.on1xx = p.interim
	return p
}}

func (p *passage) reset() {
	body, answer, sample, header, tried := p.body.b[:0], p.answer.b[:0], p.sample.b[:0], p.header, p.tried[:0]
	up := p.up
	up.reset()
	clear(header)
	clear(p.more)
	clear(p.storedHeader)
	*p = passage{header: header, more: p.more[:0], tried: tried, up: up, on1xx: p.on1xx, kept: p.kept, storable: p.storable, storedHeader: p.storedHeader}
	p.body.b, p.answer.b, p.sample.b = keepSmall(body), keepSmall(answer), keepSmall(sample)
}

// keepSmall keeps a buffer for the next request unless it has grown large.
func keepSmall(b []byte) []byte {
	if cap(b) > 128<<10 {
		return nil
	}
	return b
}

// ServeHTTP guards, forwards and answers one request. It panics with
// http.ErrAbortHandler when an answer that had begun can't be completed.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 2 && r.TLS == nil {
		r.TLS, _ = r.Context().Value(stateKey{}).(*tls.ConnectionState)
	}
	p := passages.Get().(*passage)
	p.g, p.w, p.r = g, w, r
	if aside, ok := w.(*asideWriter); ok { // part of another request
		p.force = aside.force
	} else {
		p.force = g.force.Load()
	}
	defer p.end()
	p.run()
}

// end closes a passage, whatever became of it.
func (p *passage) end() {
	v := recover()
	switch {
	case v != nil && v != http.ErrAbortHandler:
		p.fault(v)
		v = nil
		if p.abort {
			v = http.ErrAbortHandler
		}
	case p.abort:
		v = http.ErrAbortHandler
	}
	p.leave()
	p.g.buffered.sub(p.reserved + p.sideHeld)
	p.leavePlace()
	p.reset()
	passages.Put(p)
	if v != nil {
		panic(v)
	}
}

// fault answers for a broken promise inside our own code. The session is in an
// unknown state and not touched again.
func (p *passage) fault(v any) {
	p.g.o.Log.Error("request failed in the gateway", "request", p.id, "panic", v, "stack", string(debug.Stack()))
	if p.ses != nil {
		p.conv.lock()
		p.conv.close()
		p.ses.Abandon(p.g.o.Now())
		p.conv.unlock()
	}
	p.ses = nil
	if p.ended {
		p.abort = true
		return
	}
	p.ended = true
	k := guard.KindInternal
	x := turnedAway(p.id, p.g.o.Now(), k, "gateway.fault")
	x.Method, x.Host, x.Path, x.Query, x.Client = p.r.Method, p.r.Host, p.req.Path, p.req.RawQuery, p.client
	if p.wrote {
		x.Status, p.abort = 0, true
	} else {
		x.ResponseBytes = p.writeRefusal(k, nil)
	}
	p.g.record(x)
}

func (p *passage) run() {
	g, r := p.g, p.r
	now := g.o.Now()
	p.id, p.began = newID(now), now
	peer := peerOf(r.RemoteAddr)
	p.client = peer
	if len(g.o.TrustedProxies) > 0 && g.trusted(peer) {
		p.client = clientOf(peer, r.Header["X-Forwarded-For"], g.trusted)
	}
	strict := p.survey()
	if !g.requests.add(1) {
		p.turnAway(now, guard.KindUnavailable, "requests.total", retrySoon)
		return
	}
	defer g.requests.sub(1)
	if !g.clients.enter(p.client) {
		p.turnAway(now, guard.KindLimited, "requests.client", retrySoon)
		return
	}
	defer g.clients.leave(p.client)
	if k, rule := p.checkHead(strict); k.Status != 0 {
		p.turnAway(now, k, rule, nil)
		return
	}
	if g.o.Egress != nil {
		if k, rule := p.outward(); k.Status != 0 {
			p.turnAway(now, k, rule, nil)
			return
		}
	}
	p.req = guard.Request{
		ID: p.id, Door: g.o.Door, Method: r.Method, Host: r.Host, Proto: r.Proto, TLS: r.TLS != nil, Header: r.Header,
		Client: p.client, Peer: peer, ContentLength: r.ContentLength, Upgrade: p.upgrade != "",
	}
	if t := r.TLS; t != nil && len(t.VerifiedChains) > 0 {
		p.req.Certificate = authn.NewCertificate(t.PeerCertificates[0])
	}
	p.req.Path, p.req.RawQuery, _ = strings.Cut(p.target, "?")
	if p.force.sideload {
		if k, rule := p.sides(); k.Status != 0 {
			p.turnAway(now, k, rule, nil)
			return
		}
	}
	ses, step := p.force.program.Begin(&p.req, now)
	p.ses = ses
	for tries := 0; step.Verb == guard.Fetch && tries < 4; tries++ {
		p.fetch(step.Fetch)
		step = ses.Resume(g.o.Now())
	}
	if step.Verb != guard.Proceed {
		p.refuseStep(step)
		return
	}
	if (p.side != nil || p.meant != "") && !p.chosen() {
		return
	}
	if k, reason := p.receive(step); k.Status != 0 {
		p.refuse(k, nil, reason)
		return
	} else if p.wrote || p.ended {
		return
	}
	p.forward()
}

// fetch lets the resolver get a key within its time.
func (p *passage) fetch(f guard.FetchKey) {
	if p.g.o.Resolver == nil {
		return
	}
	ctx, cancel := context.WithTimeout(p.r.Context(), p.g.o.Bounds.FetchTime)
	defer cancel()
	if f.Token != "" {
		if asks, ok := p.g.o.Resolver.(Introspector); ok {
			if err := asks.Introspect(ctx, f.Issuer, f.Token); err != nil {
				p.g.o.Log.Debug("introspect", "issuer", f.Issuer, "error", err)
			}
		}
		return
	}
	if err := p.g.o.Resolver.Resolve(ctx, f.Issuer, f.KeyID); err != nil {
		p.g.o.Log.Debug("fetch key", "issuer", f.Issuer, "error", err)
	}
}

// survey reads what concerns this hop out of the head. It reports whether the
// strict front has checked its framing and bounds already.
func (p *passage) survey() (strict bool) {
	r := p.r
	p.target = r.RequestURI
	if !strings.HasPrefix(p.target, "/") && p.target != "*" {
		p.target = r.URL.RequestURI() // absolute form (RFC 9112 section 3.2.2)
	}
	p.called()
	if c := r.Header["Connection"]; len(c) > 0 {
		connectionOptions(c, func(name string) bool {
			switch name {
			case "Keep-Alive", "Close":
			case "Upgrade":
				p.upgrade = first(r.Header["Upgrade"])
			default:
				p.options = true
			}
			return true
		})
	}
	if _, strict = p.w.(http1.Answerer); !strict {
		p.rc = http.NewResponseController(p.w)
	}
	return strict
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// checkHead is the door's own check: framing that the front leaves to it, and
// bounds. A zero kind means that all is well.
func (p *passage) checkHead(strict bool) (guard.Kind, string) {
	r, b := p.r, &p.g.o.Bounds
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace {
		return guard.KindNotImplemented, "method.unsupported"
	}
	if !strict {
		if len(p.target) > b.Target {
			return guard.KindTargetTooLong, "target.length"
		}
		if !http1.ValidTarget(p.target) || r.ProtoMajor > 1 && !http1.ValidTarget(r.RequestURI) { // RFC 9113 section 8.3.1
			return guard.KindBadRequest, "target.syntax"
		}
		if h := r.Header["Host"]; len(h) > 1 || len(h) == 1 && h[0] != r.Host { // :authority says something else
			return guard.KindBadRequest, "framing.host"
		}
		for _, name := range single {
			if len(r.Header[name]) > 1 {
				return guard.KindBadRequest, "header.duplicate"
			}
		}
		lines, size := 0, len(r.Method)+len(p.target)+len(r.Host)
		for name, values := range r.Header {
			for _, v := range values {
				lines++
				size += len(name) + len(v) + 4
			}
		}
		if lines > b.HeaderLines || size > b.Header {
			return guard.KindHeaderTooLarge, "header.size"
		}
	}
	if p.misdirected() {
		return guard.KindMisdirected, "host.misdirected"
	}
	if r.ContentLength > b.Body {
		return guard.KindTooLarge, "body.length"
	}
	if p.options && !connectionOptions(r.Header["Connection"], func(name string) bool { return !essential[name] }) {
		return guard.KindBadRequest, "framing.connection-option"
	}
	if p.upgrade != "" {
		// The only upgrade that passes; any other is left out (RFC 9110 section
		// 7.8 lets a server ignore it), h2c above all.
		if !strings.EqualFold(p.upgrade, "websocket") || r.Method != http.MethodGet || r.ProtoMajor != 1 || r.ContentLength != 0 {
			p.upgrade = ""
		} else {
			p.upgrade = "websocket"
		}
	}
	return guard.Kind{}, ""
}

// single are headers of which a request has one at most, or two readings
// (RFC 9110 section 5.3); the strict front knows that by itself.
var single = []string{"Authorization", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Origin", "X-Forwarded-Proto", "X-Forwarded-Host"}

// turnAway refuses a request before a guard was asked.
func (p *passage) turnAway(now time.Time, k guard.Kind, rule string, extra [][2]string) {
	p.timeWrite()
	n := p.writeRefusal(k, extra)
	p.wrote = true
	path, query, _ := strings.Cut(p.target, "?")
	x := turnedAway(p.id, now, k, rule)
	x.Method, x.Host, x.Path, x.Query, x.Proto, x.TLS = p.r.Method, p.r.Host, path, query, p.r.Proto, p.r.TLS != nil
	x.Client, x.ResponseBytes, x.Duration = p.client, n, p.g.o.Now().Sub(now)
	p.g.record(x)
}

// turnedAway is the record of a request that no guard has seen.
func turnedAway(id string, now time.Time, k guard.Kind, rule string) *sallyport.Exchange {
	action := sallyport.ActionRefuse
	if k.Status == http.StatusTooManyRequests || k.Status == http.StatusServiceUnavailable {
		action = sallyport.ActionThrottle
	}
	return &sallyport.Exchange{
		ID: id, Time: now, Door: "gateway", Status: k.Status,
		Decision: sallyport.Decision{
			Action: action, Stage: sallyport.StageRequest, Status: k.Status,
			Reasons: []sallyport.Reason{{Stage: sallyport.StageRequest, Rule: rule, Detail: k.Title, Mode: sallyport.Enforce}},
		},
	}
}

func (g *Gateway) record(x *sallyport.Exchange) {
	x.Door = g.o.Door
	g.count.exchange(x)
	if g.o.Recorder != nil {
		g.o.Recorder.Record(x)
	}
}

// refuseStep answers with the guard's refusal.
func (p *passage) refuseStep(s guard.Step) {
	if s.Refusal == nil { // a Fetch without end
		p.refuse(guard.KindInternal, nil, &sallyport.Reason{Stage: sallyport.StageAuthenticate, Rule: "key.unresolved", Mode: sallyport.Enforce})
		return
	}
	if s.Refusal.Status == http.StatusUnauthorized && p.g.o.Egress != nil && p.r.Context().Value(viaKey{}) == nil {
		p.refuse(kindProxy, proxyChallenge, nil)
		return
	}
	p.refuse(s.Refusal.Kind, s.Refusal.Header, nil)
}

// refuse answers with a problem and ends the record. reason is the door's own,
// nil when the guard has decided.
func (p *passage) refuse(k guard.Kind, extra [][2]string, reason *sallyport.Reason) {
	p.readAhead()
	p.timeWrite()
	p.wrote = true
	p.out.Status = k.Status
	p.out.Reason = reason
	if v := p.ses.SOAP(); v > 0 && p.r.Method == http.MethodPost {
		p.out.ResponseBytes = writeFault(p.w, v, p.ses.FaultCode(), k, p.id, extra)
	} else {
		p.out.ResponseBytes = p.writeRefusal(k, extra)
	}
	p.finish()
}

// aheadBytes and aheadTime bound what is read of a body whose request is refused.
const (
	aheadBytes = 64 << 10
	aheadTime  = 500 * time.Millisecond
)

// readAhead reads a small body that nobody has begun to read, before its
// request is refused. An answer to half a request ends in a reset of the stream
// (RFC 9113 section 8.1), and a client that has not read the answer's head by
// then may throw it away: curl 7.88 does.
func (p *passage) readAhead() {
	n := p.r.ContentLength
	if p.rc == nil || n <= 0 || n > aheadBytes || p.in != nil && p.in.reads.Load() > 0 || len(p.r.Header["Expect"]) > 0 {
		return
	}
	p.rc.SetReadDeadline(time.Now().Add(aheadTime))
	io.CopyN(io.Discard, p.r.Body, n)
	p.rc.SetReadDeadline(time.Time{})
}

// finish ends the session and hands the record over, once.
func (p *passage) finish() {
	if p.ses == nil || p.ended {
		return
	}
	p.ended = true
	if p.in != nil {
		p.out.RequestBytes = p.in.n.Load()
	}
	now := p.g.o.Now()
	p.conv.lock()
	p.conv.close()
	p.settle(now)
	x := p.ses.End(p.out, now)
	p.conv.unlock()
	p.ses = nil
	if p.crowded {
		x.Decision.NotInspected = append(x.Decision.NotInspected, "answer: no room for a sample of its body")
	}
	if p.trailing {
		x.Decision.NotInspected = append(x.Decision.NotInspected, "trailer: the fields behind the request's body pass as they are")
	}
	var whole []byte
	if rec := p.g.o.Recorder; rec != nil && !p.calls && rec.Want(x) {
		whole = p.up.whole
		x.RequestBody = sampleOf(p.body.b, p.g.o.Bounds.Sample)
		if len(p.up.whole) > 0 {
			x.ResponseBody = sampleOf(p.up.whole, p.g.o.Bounds.Sample)
		} else {
			x.ResponseBody = sampleOf(p.sample.b, p.g.o.Bounds.Sample)
		}
	}
	if x.Method == http.MethodGet && p.req.As == (guard.Caller{}) && (len(whole) > 0 || p.g.repeats.count.Load() > 0) && p.g.o.Egress == nil {
		p.g.repeats.note(x, p.req.Path, whole, x.Time)
	}
	p.g.record(x)
}

// sampleOf copies what the recorder may keep: the buffers are used again.
func sampleOf(b []byte, max int) []byte {
	if len(b) == 0 {
		return nil
	}
	return append([]byte(nil), b[:min(len(b), max)]...)
}

// A buffer holds bytes of a body, counted against Bounds.Buffered.
type buffer struct{ b []byte }

var errBuffered = errors.New("too many bytes of bodies held at once")

// fill reads from r until it ends or more than limit bytes are held. It
// reports whether r has ended.
func (p *passage) fill(b *buffer, r io.Reader, limit int64, hint int64) (ended bool, err error) {
	if hint > 0 && hint <= limit && int64(cap(b.b)) < hint+1 {
		if err := p.grow(b, hint+1); err != nil {
			return false, err
		}
	}
	for {
		if int64(len(b.b)) > limit {
			return false, nil
		}
		if len(b.b) == cap(b.b) {
			if err := p.grow(b, max(4<<10, 2*int64(cap(b.b)))); err != nil {
				return false, err
			}
		}
		n, err := r.Read(b.b[len(b.b):min(int64(cap(b.b)), limit+1)])
		b.b = b.b[:len(b.b)+n]
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// grow gives b room for n bytes; rooms that one request may hold without
// asking are small.
func (p *passage) grow(b *buffer, n int64) error {
	if more := n - int64(cap(b.b)); n > 16<<10 {
		if !p.g.buffered.add(more) {
			return errBuffered
		}
		p.reserved += more
	}
	next := make([]byte, len(b.b), n)
	copy(next, b.b)
	b.b = next
	return nil
}

// inbound is the request's body as it is read: bounded, counted and timed. It
// may outlive its passage in a transport's goroutine, and so is its own.
type inbound struct {
	body io.Reader // the client's
	rc   *http.ResponseController
	idle time.Duration
	max  int64

	n     atomic.Int64
	reads atomic.Int64 // how often somebody began to read
	cut   atomic.Bool  // the exchange that it was read for is over
	eof   atomic.Bool
	err   atomic.Pointer[error] // why it could not be read to its end
}

var (
	errTooLarge = errors.New("request body is longer than the bound")
	errCut      = errors.New("the exchange that the body was read for is over")
)

func (in *inbound) Read(b []byte) (int, error) {
	if err := in.err.Load(); err != nil {
		return 0, *err
	}
	if in.eof.Load() {
		return 0, io.EOF
	}
	in.reads.Add(1)
	if in.rc != nil {
		in.rc.SetReadDeadline(time.Now().Add(in.idle))
	}
	if in.cut.Load() { // looked at after the deadline was set: interrupt does it the other way round
		return 0, errCut
	}
	n, err := in.body.Read(b)
	if n == 0 && err != nil && in.cut.Load() {
		return 0, errCut // nothing is wrong with the body
	}
	if err != nil && in.rc != nil {
		in.rc.SetReadDeadline(time.Time{}) // it holds for the body only
	}
	if in.n.Add(int64(n)) > in.max {
		err = errTooLarge
	}
	switch {
	case err == io.EOF:
		in.eof.Store(true)
	case err != nil:
		in.fail(err)
	}
	return n, err
}

func (in *inbound) fail(err error) { in.err.Store(&err) }

// interrupt has a Read in progress, and every later one, return at once: the
// exchange is over before the body has come. It is for HTTP/2 and HTTP/3; the
// strict front does as much by itself.
func (in *inbound) interrupt() {
	in.cut.Store(true)
	in.rc.SetReadDeadline(time.Unix(1, 0))
}

// inboundOf is the body of the request, nil when there is none.
func (p *passage) inboundOf() *inbound {
	r, b := p.r, &p.g.o.Bounds
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	in := &inbound{body: r.Body, rc: p.rc, idle: b.BodyIdle, max: b.Body}
	for name := range r.Trailer {
		p.announce = append(p.announce, name)
	}
	if p.grpc { // a conversation, in which the client may be silent
		in.idle = b.StreamIdle
	}
	return in
}

// receive reads as much of the request's body as the step wants and hands it
// to the guard. A zero kind means: go on, unless the guard has refused.
func (p *passage) receive(step guard.Step) (guard.Kind, *sallyport.Reason) {
	r := p.r
	p.in, p.deadline = p.inboundOf(), step.Deadline
	if step.Body == guard.BodyMessages {
		if p.heed(step.BodyLimit); p.conv.refused() != nil {
			p.refuse(p.conv.refusal.Kind, p.conv.refusal.Header, nil)
		}
		return guard.Kind{}, nil
	}
	if step.Body == guard.BodyForm && p.in != nil {
		return p.receiveForm(step.BodyLimit)
	}
	if step.Body == guard.BodyNone || step.Body == guard.BodyStream {
		// A short body that is all there is sent in one write, and can be sent again.
		if p.in != nil && r.ContentLength > 0 && r.ContentLength <= 16<<10 && !p.grpc {
			if _, err := p.fill(&p.body, p.in, r.ContentLength, r.ContentLength); err != nil {
				return p.bodyTrouble(err)
			}
			p.held = true
		}
		return guard.Kind{}, nil
	}
	if p.in != nil {
		limit := step.BodyLimit
		if step.Body == guard.BodySample {
			limit--
		}
		ended, err := p.fill(&p.body, p.in, limit, r.ContentLength)
		if err != nil {
			return p.bodyTrouble(err)
		}
		p.held = ended
	}
	if step = p.ses.RequestBody(p.body.b, p.g.o.Now()); step.Verb != guard.Proceed {
		p.refuseStep(step)
	} else if step.Replace != nil && p.held {
		p.body.b, p.decoded = append(p.body.b[:0], step.Replace...), true
	}
	return guard.Kind{}, nil
}

// bodyTrouble is the answer to a body that could not be read.
func (p *passage) bodyTrouble(err error) (guard.Kind, *sallyport.Reason) {
	reason := &sallyport.Reason{Stage: sallyport.StageRequest, Mode: sallyport.Enforce, Place: sallyport.Place{In: sallyport.InBody}}
	var refusal *http1.Refusal
	switch {
	case errors.Is(err, errTooLarge):
		reason.Rule = "body.length"
		return guard.KindTooLarge, reason
	case errors.Is(err, errBuffered):
		reason.Rule = "body.buffered"
		return guard.KindUnavailable, reason
	case errors.As(err, &refusal):
		reason.Rule, reason.Detail = refusal.Rule, refusal.Detail
		return kindOf(refusal.Status), reason
	case timedOut(err):
		reason.Rule = "body.slow"
		return guard.KindTimeout, reason
	}
	reason.Rule = "body.incomplete"
	return guard.KindBadRequest, reason
}

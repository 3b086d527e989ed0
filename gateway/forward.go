package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sallyport.dev"
	"sallyport.dev/gateway/http1"
	"sallyport.dev/guard"
	"sallyport.dev/spec/proto/frame"
)

// An ask is what was asked of an instance and what it answered.
type ask struct {
	req http1.Request
	res *http1.Response // of the strict client; kept from one request to the next

	std    *http.Response // of net/http's transport, when that was used
	cancel context.CancelFunc
	idle   *time.Timer // cuts a standard answer that stalls

	status int
	header http.Header
	length int64  // of the body, -1 when unknown
	whole  []byte // the whole body, when it is in hand
	open   bool   // close is due
	stored bool   // it comes from the cache: whole, and shared
	trust  *trust // of a request over TLS
	from   string // instance, of a stream of events
}

func (a *ask) reset() {
	res := a.res
	*a = ask{res: res}
}

func (a *ask) Read(b []byte) (int, error) {
	if a.std == nil {
		return a.res.Read(b)
	}
	return a.std.Body.Read(b)
}

func (a *ask) trailer() http.Header {
	if a.stored {
		return nil
	}
	if a.std == nil {
		return a.res.Trailer
	}
	return a.std.Trailer
}

func (a *ask) close() {
	if !a.open {
		return
	}
	a.open = false
	if a.std == nil {
		a.res.Close()
		return
	}
	a.std.Body.Close()
	if a.idle != nil {
		a.idle.Stop()
	}
	a.cancel()
}

// forward sends the request to an instance of its pool and answers with what
// that answers. Another instance is tried only where that is safe: nothing of
// the request was sent, or its method is idempotent (RFC 9110 section 9.2.2)
// and its body is in hand, and the pool's budget has a retry left.
func (p *passage) forward() {
	if api := p.ses.API(); api != nil {
		p.lane = p.force.lanes[api.Name]
	}
	if p.lane == nil {
		p.refuse(guard.KindUnavailable, nil, forwardReason("pool.none", "no upstreams are configured for this API"))
		return
	}
	p.pool = p.lane.pool
	p.plain = p.ses.PlainAnswer()
	p.talks = p.upgrade != "" && p.ses.Converses()
	p.pool.earnRetry()
	p.forwarded()
	if o := p.lane.onward; o != nil && o.Exchange != nil && !p.setOut() {
		return // the issuer has a say in who may ask
	}
	if !p.relieved() && p.takePlace() && p.setOut() {
		for p.try() {
		}
	}
	p.leavePlace()
	switch { // the instance is free again
	case p.after != nil:
		p.answerLate()
	case p.laden:
		p.answerLaden()
	}
}

// try asks one instance and answers with what it answers. It reports whether
// another is to be tried.
func (p *passage) try() (again bool) {
	g := p.g
	t, err := p.lane.pick(p.tried, p.spill)
	if err != nil {
		rule := "instance.none"
		if errors.Is(err, errBusy) {
			rule = "instance.busy"
		}
		if p.rescued() {
			return false
		}
		p.refuse(guard.KindUnavailable, retrySoon, forwardReason(rule, err.Error()))
		return false
	}
	o := unknown
	defer func() { t.done(o) }() // also when something panics
	p.out.Instance = t.in.url
	if t.in.up.Standby && len(p.out.Relief) == 0 {
		p.out.Relief = append(p.out.Relief, reliefStandby)
	}
	began, reads := g.o.Now(), p.reads()
	p.asked = began
	err = p.send(t.in.link)
	p.out.Upstream = g.o.Now().Sub(began)
	g.count.tries.Add(1)
	if err == nil {
		t.in.link.trust.worked()
		o = p.reply()
		return false
	}
	if p.reads() == reads && t.in.heldBack(err) && p.r.Context().Err() == nil { // nothing was sent: another is asked, whatever the budget
		p.tried = append(p.tried, t.in)
		p.out.Retries++
		g.count.retries.Add(1)
		return true
	}
	var k guard.Kind
	var reason *sallyport.Reason
	var safe bool
	if r := p.conv.refused(); r != nil {
		p.refuse(r.Kind, r.Header, nil)
		return false
	}
	if k, ok := p.callEnds(); ok && p.r.Context().Err() == nil { // a time that the client has chosen says nothing of the instance
		p.refuse(k, nil, forwardReason("call.deadline", "the call's time is over"))
		return false
	}
	o, k, reason, safe = p.judge(err, p.reads() != reads)
	p.late = k == guard.KindUpstreamTimeout
	if k.Status == 0 { // the client went away
		p.cut(reason)
	}
	p.tried = append(p.tried, t.in)
	if safe && len(p.tried) <= p.lane.api.Health.Retries && p.pool.mayRetry() {
		p.out.Retries++
		g.count.retries.Add(1)
		return true
	}
	if !p.rescued() {
		p.refuse(k, nil, reason)
	}
	return false
}

// reads is how often somebody began to read the request's body. A read that
// was interrupted counts too: what it was to bring can't be had again.
func (p *passage) reads() int64 {
	if p.in == nil {
		return 0
	}
	return p.in.reads.Load()
}

// cut ends an exchange whose client can't be answered any more.
func (p *passage) cut(reason *sallyport.Reason) {
	p.out.Reason = reason
	p.wrote = true
	p.finish()
	panic(http.ErrAbortHandler)
}

func forwardReason(rule, detail string) *sallyport.Reason {
	return &sallyport.Reason{Stage: sallyport.StageForward, Rule: rule, Detail: detail, Mode: sallyport.Enforce}
}

// judge says what a failed try means: for the instance, for the client, and
// whether another try is safe. A zero kind: the client is gone.
func (p *passage) judge(err error, bodyRead bool) (o outcome, k guard.Kind, reason *sallyport.Reason, safe bool) {
	if p.in != nil {
		if err := p.in.err.Load(); err != nil {
			k, reason = p.bodyTrouble(*err)
			return unknown, k, reason, false
		}
	}
	if p.r.Context().Err() != nil && !errors.Is(context.Cause(p.r.Context()), context.DeadlineExceeded) {
		return unknown, guard.Kind{}, &sallyport.Reason{Stage: sallyport.StageForward, Rule: "client.gone", Mode: sallyport.Observe}, false
	}
	inHand := p.in == nil || p.held
	idempotent := false
	switch p.r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		idempotent = p.upgrade == ""
	}
	var e *http1.Error
	var op *net.OpError
	var private *addressError
	unsent := errors.As(err, &e) && !e.Written || e == nil && errors.As(err, &op) && op.Op == "dial"
	safe = unsent && (inHand || !bodyRead) || idempotent && inHand
	late := timedOut(err) || errors.Is(err, context.DeadlineExceeded)
	if t := p.up.trust; t != nil {
		if rule, text := t.trouble(err); rule != "" {
			return failed, guard.KindBadAnswer, forwardReason(rule, text), safe
		}
	}
	switch {
	case errors.As(err, &private):
		return unknown, guard.KindRefused, forwardReason("egress.address", "the name stands for an address that is not public"), false
	case e != nil && e.Rule != "":
		return failed, guard.KindBadAnswer, forwardReason("upstream."+e.Rule, "the answer was not well-formed"), safe
	case e != nil && (e.Op == "dial" || e.Op == "tls" || e.Op == "opened") || op != nil && op.Op == "dial":
		return failed, guard.KindBadAnswer, forwardReason("upstream.connect", "no connection"), safe
	case late: // asking again would double the load of what is slow already
		return failed, guard.KindUpstreamTimeout, forwardReason("upstream.late", "no answer in time"), false
	}
	return failed, guard.KindBadAnswer, forwardReason("upstream.reset", "the connection ended before an answer"), safe
}

// send asks the instance behind l. After success p.up holds the head of its
// answer and must be closed.
func (p *passage) send(l *link) error {
	p.up.trust = l.trust
	host := p.r.Host
	if l.up.Host != "" {
		host = l.up.Host
	}
	if p.upgrade == "" && (p.grpc || l.up.Protocol == "h2") {
		return p.sendStandard(l, host)
	}
	a := &p.up
	a.std = nil
	if a.res == nil {
		a.res = new(http1.Response)
	}
	q := &a.req
	*q = http1.Request{
		Addr: l.host, TLS: l.tls != nil, ServerName: l.up.Name, Method: p.r.Method, Target: p.target, Host: host,
		Header: p.requestHeader(), Extra: p.extra(), Upgrade: p.upgrade,
	}
	switch {
	case p.in == nil:
	case p.held:
		q.Body = p.body.b
		p.trailer(q, &held{b: p.body.b})
	default:
		q.Stream, q.Length = p.stream(p.body.b), p.r.ContentLength
		p.trailer(q, q.Stream)
		if p.r.ProtoMajor > 1 { // a deadline there ends one stream; the strict front needs none
			q.Interrupt = p.in.interrupt
		}
	}
	if p.r.ProtoAtLeast(1, 1) {
		q.On1xx = p.on1xx
	}
	if err := l.strict.Do(p.r.Context(), a.res, q); err != nil {
		return err
	}
	a.status, a.header, a.length, a.open = a.res.Status, a.res.Header, a.res.Length, true
	return nil
}

// trailer has q carry the trailer of a chunked request behind its body: those
// fields that were announced (RFC 9110 section 6.6.2) and that could pass as
// headers. What no announcement names stays behind (section 6.5.1).
func (p *passage) trailer(q *http1.Request, body io.Reader) {
	if len(p.announce) == 0 || p.r.ContentLength >= 0 {
		return
	}
	t := make(http.Header, len(p.announce))
	for _, name := range p.announce {
		if p.g.strip.verdict(name) == pass && !p.onward.drops(name) {
			t[name] = nil
		}
	}
	if len(t) == 0 {
		return
	}
	p.trailing = true
	q.Body, q.Stream, q.Length, q.Trailer = nil, &trailed{body, p.r, t}, -1, t
}

// trailed is a body at whose end its trailer is there.
type trailed struct {
	io.Reader
	r  *http.Request
	to http.Header
}

func (t *trailed) Read(b []byte) (int, error) {
	n, err := t.Reader.Read(b)
	if err == io.EOF {
		for name := range t.to {
			t.to[name] = t.r.Trailer[name]
		}
	}
	return n, err
}

// stream is what is held of the request's body and what is still to come.
func (p *passage) stream(begin []byte) io.Reader {
	if p.messagesIn != nil {
		return p.messagesIn
	}
	if p.formIn != nil {
		return p.formIn
	}
	if len(begin) == 0 {
		return p.in
	}
	return io.MultiReader(&held{b: begin}, p.in)
}

type held struct{ b []byte }

func (h *held) Read(b []byte) (int, error) {
	if len(h.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b, h.b)
	h.b = h.b[n:]
	return n, nil
}

// interim passes on an interim answer (RFC 9110 section 15.2); 100 and 101 are
// affairs of a hop. Only links to what is needed next go with it.
func (p *passage) interim(status int, h http.Header) {
	if status < 102 || status > 199 {
		return
	}
	out := p.w.Header()
	for _, v := range h["Link"] {
		out["Link"] = append(out["Link"], v)
	}
	p.w.WriteHeader(status)
	delete(out, "Link")
}

// sendStandard asks over net/http's HTTP/2 transport, which may go on reading
// a body after it has answered: it gets nothing that is used again.
func (p *passage) sendStandard(l *link, host string) error {
	a := &p.up
	ctx, cancel := context.WithCancel(p.r.Context())
	if d, ok := p.left(); ok {
		ctx, cancel = context.WithTimeout(p.r.Context(), d)
	}
	u := *p.r.URL
	u.Scheme, u.Host = l.scheme(), l.host
	q := &http.Request{Method: p.r.Method, URL: &u, Host: host, Header: p.standardHeader(), Proto: "HTTP/2.0", ProtoMajor: 2}
	switch {
	case p.in == nil:
	case p.held:
		q.Body, q.ContentLength = io.NopCloser(&held{b: slices.Clone(p.body.b)}), int64(len(p.body.b))
	default:
		q.Body, q.ContentLength = io.NopCloser(p.stream(slices.Clone(p.body.b))), p.r.ContentLength
	}
	a.idle = nil
	if !p.grpc {
		a.idle = time.AfterFunc(p.g.o.Bounds.AnswerTime, cancel)
	}
	res, err := l.standard(true).RoundTrip(q.WithContext(ctx))
	if err != nil {
		if a.idle != nil && !a.idle.Stop() && p.r.Context().Err() == nil {
			err = errors.Join(err, context.DeadlineExceeded)
		}
		cancel()
		return err
	}
	if a.idle != nil {
		a.idle.Reset(p.g.o.Bounds.StreamIdle)
	}
	a.std, a.cancel, a.status, a.header, a.length, a.open = res, cancel, res.StatusCode, res.Header, res.ContentLength, true
	return nil
}

// forwarded sets what the upstream is told about the client. Only a trusted
// peer's own account is passed on.
func (p *passage) forwarded() {
	r := p.r
	if p.g.o.Egress != nil { // how our network looks inside is nobody else's affair
		p.fields = [4]http1.Field{{Name: "X-Forwarded-For"}, {Name: "X-Forwarded-Proto"}, {Name: "X-Forwarded-Host"}, {Name: "Forwarded"}}
		return
	}
	proto, host, by := "http", r.Host, ""
	if r.TLS != nil {
		proto = "https"
	}
	if p.req.Peer.Is4() {
		by, _, _ = strings.Cut(r.RemoteAddr, ":")
	} else {
		by = p.req.Peer.String()
	}
	if len(p.g.o.TrustedProxies) > 0 && p.g.trusted(p.req.Peer) {
		if before := strings.Join(r.Header["X-Forwarded-For"], ", "); before != "" {
			by = before + ", " + by
		}
		if v := first(r.Header["X-Forwarded-Proto"]); v == "http" || v == "https" {
			proto = v
		}
		if v := first(r.Header["X-Forwarded-Host"]); v != "" {
			host = v
		}
	}
	p.fields = [4]http1.Field{
		{Name: "X-Forwarded-For", Value: by}, {Name: "X-Forwarded-Proto", Value: proto},
		{Name: "X-Forwarded-Host", Value: host}, {Name: "X-Request-Id", Value: p.id},
	}
}

// requestHeader is the header for the strict client, which leaves out by
// itself what concerns one hop and what p.fields sets: the client's own map
// when nothing else has to go.
func (p *passage) requestHeader() http.Header {
	h := p.r.Header
	asks := p.cached != nil && p.cached.asks
	if !p.options && !asks && !p.plain && !p.talks && !p.decoded && p.onward == nil {
		clean := true
		for name := range h {
			if p.g.strip.verdict(name) == remove {
				clean = false
				break
			}
		}
		if clean {
			return h
		}
	}
	if p.header == nil {
		p.header = make(http.Header, len(h))
	}
	clear(p.header)
	for name, values := range h {
		if p.g.strip.verdict(name) == pass {
			p.header[name] = values
		}
	}
	if p.options {
		connectionOptions(h["Connection"], func(name string) bool { delete(p.header, name); return true })
	}
	p.onward.keep(p.header)
	if p.plain {
		askPlain(p.header)
	}
	if p.decoded {
		saysPlain(p.header)
	}
	if p.talks { // messages are read: no extension may change what stands in a frame
		delete(p.header, "Sec-Websocket-Extensions")
	}
	if asks {
		p.cached.edits(p.header)
	}
	return p.header
}

// standardHeader is the header for net/http's transport.
func (p *passage) standardHeader() http.Header {
	h := make(http.Header, len(p.r.Header)+4)
	for name, values := range p.r.Header {
		if p.g.strip.verdict(name) == pass {
			h[name] = slices.Clone(values)
		}
	}
	connectionOptions(p.r.Header["Connection"], func(name string) bool { delete(h, name); return true })
	if p.cached != nil && p.cached.asks {
		p.cached.edits(h)
	}
	p.onward.keep(h)
	for _, f := range p.extra() {
		if f.Value == "" {
			delete(h, f.Name)
			continue
		}
		h[f.Name] = []string{f.Value}
	}
	if p.plain {
		askPlain(h)
	}
	if p.decoded {
		saysPlain(h)
	}
	if p.grpc {
		h["Te"] = []string{"trailers"}
		if d, ok := p.left(); ok {
			h["Grpc-Timeout"] = []string{string(frame.AppendTimeout(nil, d))}
		}
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = []string{""} // or the transport would send its own
	}
	return h
}

// reply answers with what p.up holds and says what that means for the instance.
func (p *passage) reply() outcome {
	a, g := &p.up, p.g
	defer a.close()
	if p.rc != nil && p.in != nil && !p.in.eof.Load() && !p.grpc {
		p.rc.SetReadDeadline(time.Time{}) // answered before all was read
	}
	p.out.Origin = a.status
	p.takeReport(a.header)
	o := judgeStatus(a.status, a.header)
	if p.confirmed() {
		return o
	}
	if a.status == http.StatusSwitchingProtocols {
		if p.upgrade == "" || !strings.EqualFold(first(a.header["Upgrade"]), p.upgrade) {
			p.refuse(guard.KindBadAnswer, nil, forwardReason("upstream.switch", "the answer switched to what was not asked for"))
			return failed
		}
		step := p.ses.Response(a.status, a.header, g.o.Now())
		if step.Verb != guard.Proceed {
			p.refuseStep(step)
			return served
		}
		editHead(a.header, step.Head)
		p.endless = true
		p.leavePlace()
		return p.tunnel()
	}
	p.conv.lock()
	step := p.ses.Response(a.status, a.header, g.o.Now())
	p.conv.unlock()
	p.changedUpstream()
	switch step.Verb {
	case guard.Proceed:
	case guard.Rewrite:
		p.rewrite(step, false)
		return o
	default:
		p.refuseStep(step)
		return o
	}
	if g.o.Egress != nil {
		if reason := p.elsewhere(a.status, a.header); reason != nil {
			p.refuse(guard.KindBadAnswer, nil, reason)
			return served
		}
	}
	bodyless := p.r.Method == http.MethodHead || a.status == http.StatusNoContent || a.status == http.StatusNotModified
	if step.Body == guard.BodyMessages && !bodyless && a.length != 0 {
		p.relay(a, step.BodyLimit)
		editHead(a.header, step.Head)
		return p.answerStream(step, false, false, o)
	}
	ended, inHand := bodyless, false
	if !bodyless {
		if a.std == nil {
			a.whole, inHand = a.res.Buffered()
			ended = inHand
		}
		ended = ended || a.std != nil && a.length == 0 // and no more flushes: gRPC knows its failures by a head that ends the stream
		if !ended && p.takesSides() && step.Body != guard.BodyWhole {
			var err error
			if ended, err = p.fill(&p.answer, p.inTime(a), sideAnswer, a.length); err != nil {
				return p.unreadable(err)
			}
			a.whole = p.answer.b
		} else if !ended && step.Body == guard.BodyWhole {
			var err error
			if ended, err = p.fill(&p.answer, p.inTime(a), step.BodyLimit, a.length); err != nil {
				return p.unreadable(err)
			}
			a.whole = p.answer.b
		}
	}
	if step.Body == guard.BodyWhole || step.Body == guard.BodySample && ended {
		b := a.whole
		if int64(len(b)) > step.BodyLimit {
			b = b[:step.BodyLimit+1]
		}
		p.conv.lock()
		step := p.ses.ResponseBody(b, g.o.Now())
		p.conv.unlock()
		switch step.Verb {
		case guard.Proceed:
			if step.Replace != nil {
				p.keepAnswer() // as it came
				p.storing(a.whole)
				p.storedWhole()
				p.replace(step)
			}
		case guard.Rewrite:
			p.rewrite(step, !ended)
			return o
		default:
			p.refuseStep(step)
			return o
		}
	}
	p.keepAnswer()
	if ended { // as it came, before anything is put into it
		p.storing(a.whole)
		p.storedWhole()
	}
	if len(step.Head) > 0 {
		if p.calls && len(a.header["Grpc-Status"]) > 0 {
			p.sealCall(a.header)
		}
		editHead(a.header, step.Head)
	}
	if len(p.adds) > 0 && p.r.Method == http.MethodHead && a.status == http.StatusOK {
		otherBody(a.header)
		delete(a.header, "Content-Length")
	}
	if ended && !bodyless && p.takesSides() {
		p.laden = true
		if a.std == nil && inHand && !p.changed {
			a.whole = slices.Clone(a.whole) // it is the connection's
		}
		return o
	}
	if !bodyless && step.Body == guard.BodyStream {
		p.events = p.ses.Events()
	}
	if out, ok := p.w.(http1.Answerer); ok && inHand && p.events == nil && len(a.res.Trailer) == 0 {
		return p.answerAtOnce(out, o)
	}
	return p.answerStream(step, bodyless, ended, o)
}

// unreadable answers for an upstream whose body could not be held.
func (p *passage) unreadable(err error) outcome {
	switch {
	case errors.Is(err, errBuffered):
		p.refuse(guard.KindUnavailable, retrySoon, forwardReason("answer.buffered", "too many bytes held at once"))
		return unknown
	case timedOut(err):
		p.refuse(guard.KindUpstreamTimeout, nil, forwardReason("upstream.late", "the answer stalled"))
	default:
		p.refuse(guard.KindBadAnswer, nil, forwardReason(truncated(err), "the answer was not whole"))
	}
	return failed
}

// truncated is the rule of an answer that broke off.
func truncated(err error) string {
	var e *http1.Error
	if errors.As(err, &e) && e.Rule != "" {
		return "upstream." + e.Rule
	}
	return "upstream.truncated"
}

// answerHeader takes out of h what is the upstream's own affair.
func (p *passage) answerHeader(h http.Header) {
	if c := h["Connection"]; len(c) > 0 {
		connectionOptions(c, func(name string) bool {
			if name != "Content-Type" && name != "Content-Length" {
				delete(h, name)
			}
			return true
		})
	}
	for name := range h {
		if leavesAnswer(name) {
			delete(h, name)
		}
	}
}

// leavesAnswer reports whether an answer header stays behind.
func leavesAnswer(name string) bool {
	switch name {
	case "Content-Type", "Content-Length", "Date", "Cache-Control", "Etag", "Last-Modified", "Vary", "Location":
		return false
	}
	return hopByHop[name] || tells[name]
}

// answerAtOnce sends an answer that is in hand in one write.
func (p *passage) answerAtOnce(out http1.Answerer, o outcome) outcome {
	a := &p.up
	h := a.header
	p.answerHeader(h)
	p.idValue[0] = p.id
	h["X-Request-Id"] = p.idValue[:]
	p.secured(h)
	if v := p.g.altSvc.Load(); v != nil && p.r.TLS != nil {
		h["Alt-Svc"] = *v
	}
	if p.g.leaving.Load() {
		h["Connection"] = lastAnswer
	}
	p.wrote = true
	p.out.Status = a.status
	if err := out.WriteAnswer(a.status, h, a.whole); err != nil {
		p.out.Status = 0
		p.finish()
		return o
	}
	p.out.ResponseBytes = int64(len(a.whole))
	p.finish()
	return o
}

// lastAnswer tells a client that the connection ends with this answer.
var lastAnswer = []string{"close"}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// answerStream sends the answer as it comes. ended: all of it is in a.whole.
func (p *passage) answerStream(step guard.Step, bodyless, ended bool, o outcome) outcome {
	a, w := &p.up, p.w
	p.answerHeader(a.header)
	h := w.Header()
	lines := 0
	for _, values := range a.header {
		lines += len(values)
	}
	own := make([]string, 0, lines) // fronts may send the head when a.header belongs to another answer already
	for name, values := range a.header {
		at := len(own)
		own = append(own, values...)
		h[name] = own[at:len(own):len(own)]
	}
	h["X-Request-Id"] = []string{p.id}
	p.secured(h)
	if v := p.g.altSvc.Load(); v != nil && p.r.TLS != nil && p.r.ProtoMajor < 3 {
		h["Alt-Svc"] = *v
	}
	switch {
	case bodyless:
	case p.events != nil:
		delete(h, "Content-Length")
	case ended:
		h["Content-Length"] = []string{strconv.Itoa(len(a.whole))}
	case a.length >= 0:
		h["Content-Length"] = []string{strconv.FormatInt(a.length, 10)}
	default:
		delete(h, "Content-Length")
	}
	if p.g.leaving.Load() && p.r.ProtoMajor == 1 {
		h["Connection"] = lastAnswer
	}
	p.wrote = true
	p.out.Status = a.status
	p.timeWrite()
	w.WriteHeader(a.status)
	events := strings.HasPrefix(first(a.header["Content-Type"]), "text/event-stream")
	if p.events != nil {
		return p.answerEvents(ended, o)
	}
	p.storing(a.whole)
	if len(a.whole) > 0 {
		if n, err := w.Write(a.whole); err != nil {
			p.out.ResponseBytes += int64(n)
			p.cutAnswer(nil)
			return o
		}
		p.out.ResponseBytes += int64(len(a.whole))
	}
	if ended {
		p.trailers()
		p.finish()
		return o
	}
	atOnce := a.length < 0 || events || p.grpc
	if atOnce {
		p.flush()
	}
	p.untimeWrite()
	if events || p.grpc { // it goes on as long as its ends like, and holds no place meanwhile
		p.endless = true
		p.leavePlace()
	}
	if events && step.Body != guard.BodySample {
		p.finish() // it may never end: it is on record from now on
	}
	keep := 0
	if p.g.o.Recorder != nil {
		keep = p.g.o.Bounds.Sample
	}
	if step.Body == guard.BodySample {
		keep = max(keep, int(step.BodyLimit)+1)
	}
	p.keep(a.whole, keep)
	a.whole = nil
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	body := io.Reader(a)
	if p.messagesOut != nil {
		body, keep = p.messagesOut, 0 // what is kept of messages is kept by the guard
	}
	for {
		n, err := body.Read(*buf)
		if n > 0 {
			p.keep((*buf)[:n], keep)
			p.storing((*buf)[:n])
			p.timeWrite()
			if _, err := w.Write((*buf)[:n]); err != nil {
				p.cutAnswer(nil)
				return o
			}
			p.out.ResponseBytes += int64(n)
			if atOnce && !p.flush() {
				p.cutAnswer(nil)
				return o
			}
			p.untimeWrite()
			if a.idle != nil {
				a.idle.Reset(p.g.o.Bounds.StreamIdle)
			}
		}
		if err == io.EOF {
			p.storedWhole()
			break
		}
		if err != nil {
			if p.r.Context().Err() != nil {
				p.cutAnswer(nil)
				return o
			}
			if k, ok := p.callEnds(); ok {
				p.endCall(k)
				return o
			}
			p.cutAnswer(forwardReason(truncated(err), "the answer broke off"))
			return failed
		}
	}
	if step.Body == guard.BodySample && p.ses != nil && !p.crowded {
		p.ses.ResponseBody(p.sample.b[:min(int64(len(p.sample.b)), step.BodyLimit+1)], p.g.o.Now())
	}
	p.trailers()
	p.finish()
	return o
}

// keep adds what passes to the sample, up to limit bytes of it and as long as
// there is room for bodies.
func (p *passage) keep(b []byte, limit int) {
	b = b[:min(len(b), max(0, limit-len(p.sample.b)))]
	if len(b) == 0 || p.crowded {
		return
	}
	if need := len(p.sample.b) + len(b); need > cap(p.sample.b) {
		if p.grow(&p.sample, int64(min(limit, max(need, 2*cap(p.sample.b))))) != nil {
			p.crowded = true
			return
		}
	}
	p.sample.b = append(p.sample.b, b...)
}

// cutAnswer records an answer that broke off and marks the connection to be cut.
func (p *passage) cutAnswer(reason *sallyport.Reason) {
	p.out.Reason = reason
	p.finish()
	p.abort = true
}

func (p *passage) timeWrite() {
	if p.rc != nil {
		p.rc.SetWriteDeadline(time.Now().Add(p.g.o.Bounds.WriteTime))
	}
}

// untimeWrite ends the time of a write that is over: HTTP/2's deadline would
// otherwise end a stream in which nothing is to be said for a while.
func (p *passage) untimeWrite() {
	if p.rc != nil {
		p.rc.SetWriteDeadline(time.Time{})
	}
}

func (p *passage) flush() bool {
	if p.rc != nil {
		return p.rc.Flush() == nil
	}
	if f, ok := p.w.(http.Flusher); ok {
		f.Flush()
	}
	return true
}

// trailers passes the answer's trailer on (RFC 9110 section 6.5).
func (p *passage) trailers() {
	trailer := p.up.trailer()
	p.takeReport(trailer)
	if len(trailer) > 0 && p.ses != nil {
		p.conv.lock()
		edits := p.ses.Trailer(trailer)
		p.conv.unlock()
		if len(edits) > 0 && p.calls {
			p.sealCall(trailer)
		}
		editHead(trailer, edits)
	}
	for name, values := range trailer {
		if !hopByHop[name] && !tells[name] && !(p.changed && speaksOfBody[name]) && name != "Content-Length" {
			p.w.Header()[http.TrailerPrefix+name] = slices.Clone(values)
		}
	}
}

package gateway

import (
	"context"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/gateway/cache"
	"sallyport.dev/gateway/http1"
	"sallyport.dev/gateway/load"
	"sallyport.dev/guard"
)

// caching is what one passage has to do with the cache. It begins after the
// guard has let the request pass; what is stored is what the upstream sent, and
// each time it is given the guard sees it as the answer to that request.
type caching struct {
	on      bool // the request was looked up, and its answer may be stored
	rules   cache.Rules
	q       cache.Request
	report  bool // Cache-Status
	changes uint64
	asked   time.Time
	entry   *cache.Entry // stale, for the upstream to confirm or to stand in for an error
	asks    bool         // entry's validators are sent in place of the client's
	flight  *cache.Flight
	write   *cache.Write
	held    int64 // of Gateway.buffered, for write
	begun   bool  // the answer was looked at
	stored  bool
	why     cache.Reason // the answer is not stored, or the request was not looked up
	fwd     string       // why it was forwarded, as Cache-Status says it
	shared  bool         // it waited for somebody else's answer
}

// maxRefreshes bounds the questions that are asked because something stale was
// given.
const maxRefreshes = 64

// relieved answers from the cache where that can be. When it does not, what the
// passage holds says what is to happen with the upstream's answer.
func (p *passage) relieved() bool {
	rules := p.ses.Caching()
	if rules == nil {
		return false
	}
	c := p.caching()
	c.report = rules.Report == "on"
	c.rules = cache.Rules{
		Private: rules.Per == "principal", Statuses: rules.Statuses, Headers: rules.Headers, Lifetime: rules.Lifetime, Heuristic: rules.Heuristic == "on",
		Longest: rules.Longest, Revalidate: rules.Stale.Revalidate, Error: rules.Stale.Error, SetCookie: rules.SetCookie == "on", Client: rules.Client == "on",
		Targeted: rules.Targeted, Tags: rules.Tags, Entry: rules.Entry, Coalesce: rules.Coalesce != "off", Wait: rules.Wait, DescribesIt: p.storable,
	}
	r, g := p.r, p.g
	c.q = cache.Request{Ours: ours, API: p.ses.API().Name, Method: r.Method, Host: r.Host, Target: p.target, Header: r.Header, Credentialed: p.ses.Credentialed(),
		Origin: p.fields[1].Value + "\x00" + p.fields[2].Value + "\x00" + p.lane.stored}
	if o := p.lane.onward; o != nil && (o.OAuth2 != nil || o.Exchange != nil || len(o.Set) > 0) {
		c.q.Credentialed = true // of ours
	}
	if c.rules.Private {
		c.q.Caller = p.ses.Authority()
	}
	why := cache.Pass(&c.q, p.in != nil)
	switch {
	case p.upgrade != "" || p.grpc:
		why = cache.ByUpgrade
	case why == cache.OK && p.options && connectionHides(r.Header, rules.Headers):
		why = cache.ByUnkeyed
	}
	if why != cache.OK {
		c.pass(p, why, "bypass")
		return false
	}
	if cache.Steered(&c.q, rules.Headers, func(name string) bool { return g.strip.verdict(name) == pass }) {
		c.why = cache.ByUnkeyed // it may be answered from the store, but nothing is learned from it
	}
	c.on = true
	return p.lookUp(c)
}

// ours reports whether a request header is one that the gateway sets by who asks
// or by the request, so that what a client sent says nothing of it. What it sets
// by host and scheme is part of the key.
func ours(name string) bool {
	return name == "X-Forwarded-For" || name == "X-Request-Id" || strings.HasPrefix(fold(name), "x-sallyport-")
}

// connectionHides reports whether Connection takes away a header that is keyed:
// what the upstream sees would not be what the key says.
func connectionHides(h http.Header, keyed []string) bool {
	hides := false
	connectionOptions(h["Connection"], func(name string) bool {
		hides = hides || slices.Contains(keyed, name)
		return true
	})
	return hides
}

func (p *passage) caching() *caching {
	if p.kept == nil {
		p.kept = new(caching)
		p.storable = func(status int, contentType string) bool { return p.ses != nil && p.ses.Storable(status, contentType) }
	}
	*p.kept = caching{}
	p.cached = p.kept
	return p.cached
}

// pass notes why the cache has no part in a request.
func (c *caching) pass(p *passage, why cache.Reason, fwd string) {
	c.why, c.fwd = why, fwd
	p.g.count.cache.passed[why].Add(1)
}

// lookUp looks for an answer, and waits for one that somebody else is asking for.
func (p *passage) lookUp(c *caching) bool {
	store, n := p.g.store, &p.g.count.cache
	deadline, alone := time.Time{}, false
	p.pool.looked.Add(1)
	for {
		now := p.g.o.Now()
		e := store.Lookup(&c.q, &c.rules)
		switch cache.Decide(e, &c.q, &c.rules, now) {
		case cache.Hit:
			word := "cache.hit"
			if c.shared {
				word = "coalesced"
				n.collapsed.Add(1)
			}
			n.hits.Add(1)
			p.pool.spared.Add(1)
			p.answerStored(e, word)
			return true
		case cache.Stale:
			if !p.setOut() { // the refresh wants what we add to a request
				return true
			}
			n.stale.Add(1)
			p.pool.spared.Add(1)
			p.refreshBehind(c, e, now)
			p.answerStored(e, "cache.stale")
			return true
		case cache.Nothing:
			n.misses.Add(1)
			p.refuse(guard.KindUpstreamTimeout, nil, &forbiddenToAsk)
			return true
		case cache.Validate:
			c.entry, c.asks, c.fwd = e, true, "stale"
		default:
			c.entry, c.asks, c.fwd = e, false, "miss"
			if e != nil {
				c.fwd = "stale"
			}
		}
		c.changes = store.Changes(&c.q)
		if alone || !c.coalesces() {
			break
		}
		f, leads := store.Join(store.FlightKey(&c.q, &c.rules, e), now)
		if f == nil {
			break
		}
		if leads {
			c.flight = f
			if again := store.Lookup(&c.q, &c.rules); again != e { // answered between the two
				c.settle(cache.Shared)
				continue
			}
			break
		}
		if deadline.IsZero() {
			deadline = now.Add(c.rules.Wait)
			n.waited.Add(1)
		}
		c.shared = true
		switch end := f.Wait(p.r.Context(), deadline.Sub(now)); end {
		case cache.Shared, cache.Died:
			// What is stored now may still not be for this one: it does not queue again.
			alone = end == cache.Shared || !p.g.o.Now().Before(deadline)
			continue
		}
		break
	}
	c.shared = false
	c.asked = p.g.o.Now()
	switch c.fwd {
	case "stale":
		n.revalidated.Add(1)
	default:
		n.misses.Add(1)
	}
	return false
}

var forbiddenToAsk = *forwardReason("cache.only", "the request takes a stored answer or none, and there is none")

// coalesces reports whether the answer that this request will get can be one
// for others.
func (c *caching) coalesces() bool {
	h := c.q.Header
	return c.rules.Coalesce && c.q.Method == http.MethodGet && len(h["Range"]) == 0 && c.why == cache.OK &&
		(c.asks || len(h["If-None-Match"]) == 0 && len(h["If-Modified-Since"]) == 0)
}

func (c *caching) settle(end cache.End) {
	if c.flight != nil {
		c.flight.Settle(end)
		c.flight = nil
	}
}

// share ends the flight with an entry: for all, when it is fresh.
func (c *caching) share(e *cache.Entry, now time.Time) {
	if c.flight == nil {
		return
	}
	if e.Fresh(now) > 0 {
		c.flight.Settle(cache.Shared)
	} else {
		c.flight.SettleAlone(now)
	}
	c.flight = nil
}

// edits makes the changes to a request's header that asking for the entry needs.
func (c *caching) edits(h http.Header) {
	c.entry.Ask(func(name, set string) {
		if set == "" {
			delete(h, name)
		} else {
			h[name] = []string{set}
		}
	})
}

// answerStored gives a stored answer: through the guard, as if the upstream had
// sent it just now, and then by the request's conditions and range.
func (p *passage) answerStored(e *cache.Entry, relief string) {
	a, g, c := &p.up, p.g, p.cached
	c.on = false
	now := g.o.Now()
	c.share(e, now)
	p.out.Relief = append(p.out.Relief, relief)
	if p.storedHeader == nil {
		p.storedHeader = make(http.Header, len(e.Header)+4)
	}
	h := p.storedHeader
	clear(h)
	for name, values := range e.Header {
		h[name] = values
	}
	a.std, a.open, a.stored = nil, false, true
	a.status, a.header, a.whole, a.length = e.Status, h, e.Body, int64(len(e.Body))
	step := p.ses.Response(a.status, h, now)
	if step.Verb == guard.Proceed && p.r.Method != http.MethodHead && (step.Body == guard.BodyWhole || step.Body == guard.BodySample) {
		b := e.Body[:min(int64(len(e.Body)), step.BodyLimit+1)]
		switch next := p.ses.ResponseBody(b, now); {
		case next.Verb != guard.Proceed:
			step = next
		case next.Replace != nil:
			p.replace(next)
		}
	}
	switch step.Verb {
	case guard.Proceed:
	case guard.Rewrite:
		p.rewrite(step, false)
		return
	default:
		p.refuseStep(step)
		return
	}
	if g.o.Egress != nil {
		if reason := p.elsewhere(a.status, h); reason != nil {
			p.refuse(guard.KindBadAnswer, nil, reason)
			return
		}
	}
	editHead(h, step.Head)
	added := p.r.Method == http.MethodGet && p.addSides()
	if len(p.adds) > 0 && p.r.Method == http.MethodHead && a.status == http.StatusOK { // as a GET would
		added = true
		otherBody(h)
		delete(h, "Content-Length")
	}
	var contentRange string
	if !p.changed && !added { // the conditions and ranges of another body mean nothing
		a.status, a.whole, contentRange = e.Answer(p.r.Method, p.r.Header)
	}
	if !added {
		h["Age"] = []string{strconv.FormatInt(int64(e.Age(now)/time.Second), 10)}
	}
	switch {
	case contentRange != "":
		h["Content-Range"] = []string{contentRange}
		h["Content-Length"] = []string{strconv.Itoa(len(a.whole))}
	case a.status == http.StatusNotModified:
		for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Type", "Content-Range", "Transfer-Encoding"} {
			delete(h, name)
		}
	case e.Status != http.StatusNoContent && !p.changed && !added && (p.r.Method != http.MethodHead || !p.plain):
		h["Content-Length"] = []string{strconv.Itoa(len(e.Body))}
	}
	if c.report {
		h["Cache-Status"] = []string{c.status(e, relief, now)}
	}
	bodyless := p.r.Method == http.MethodHead || a.status == http.StatusNoContent || a.status == http.StatusNotModified
	if out, ok := p.w.(http1.Answerer); ok && !bodyless {
		p.answerAtOnce(out, served)
		return
	}
	p.answerStream(guard.Step{}, bodyless, true, served)
}

// status is the Cache-Status of an answer (RFC 9211).
func (c *caching) status(e *cache.Entry, relief string, now time.Time) string {
	s := "Sallyport"
	switch {
	case relief == "cache.revalidated":
		return s + "; fwd=stale; fwd-status=304; stored"
	case e != nil:
		s += "; hit; ttl=" + strconv.FormatInt(int64(e.Fresh(now)/time.Second), 10)
		if c.shared {
			s += "; collapsed"
		}
		return s
	}
	return s
}

// statusForwarded is the Cache-Status of an answer that came from the upstream.
func (c *caching) statusForwarded(status int) string {
	fwd := c.fwd
	switch {
	case fwd == "bypass" && c.why == cache.ByMethod:
		fwd = "method"
	case fwd == "miss":
		fwd = "uri-miss"
	}
	s := "Sallyport; fwd=" + fwd + "; fwd-status=" + strconv.Itoa(status)
	if c.stored {
		s += "; stored"
	}
	if c.why != cache.OK {
		s += "; detail=" + string(c.why)
	}
	return s
}

// confirmed looks at the head of the upstream's answer before anything else
// does: a 304 to the cache's own question is answered by what is stored, and a
// failure may be.
func (p *passage) confirmed() bool {
	c, a := p.cached, &p.up
	if c == nil || !c.on || c.entry == nil {
		return false
	}
	now := p.g.o.Now()
	switch {
	case c.asks && a.status == http.StatusNotModified:
		e := p.g.store.Freshen(c.entry, &c.q, &c.rules, a.header, c.changes, c.asked, now)
		a.close()
		p.answerStored(e, "cache.revalidated")
		return true
	case (a.status == 500 || a.status >= 502 && a.status <= 504) && c.entry.StaleOnError(&c.rules, now):
		a.close()
		p.g.count.cache.rescued.Add(1)
		p.answerStored(c.entry, "cache.stale-if-error")
		return true
	}
	return false
}

// rescued answers with what is stored because the upstream did not answer.
func (p *passage) rescued() bool {
	c := p.cached
	if c == nil || !c.on || c.entry == nil || p.wrote || p.ended || !c.entry.StaleOnError(&c.rules, p.g.o.Now()) {
		return false
	}
	p.g.count.cache.rescued.Add(1)
	p.answerStored(c.entry, "cache.stale-if-error")
	return true
}

// changedUpstream makes out of date what a change has made so. It has happened,
// whatever becomes of its answer on the way to the client.
func (p *passage) changedUpstream() {
	if a := &p.up; p.ses.Changes() && !safe(p.r.Method) && a.status >= 200 && a.status < 400 {
		p.invalidate()
	}
}

// keepAnswer begins to store the upstream's answer, which the guard has let
// pass, as it was sent.
func (p *passage) keepAnswer() {
	a, c := &p.up, p.cached
	if c != nil {
		if c.begun {
			return
		}
		c.begun = true
	}
	if c == nil {
		return
	}
	if c.on && c.why == cache.OK {
		now := p.g.o.Now()
		if c.write, c.why = p.g.store.Begin(&c.q, &c.rules, a.status, a.header, a.length, c.changes, c.asked, now); c.write == nil {
			p.g.count.cache.unstored[c.why].Add(1)
			if c.entry != nil && a.status < 500 && (c.why == cache.ByNoStore || c.why == cache.ByPrivate) {
				p.g.store.Drop(c.entry) // the upstream has taken it back
			}
			if c.flight != nil {
				if a.status < 500 {
					c.flight.SettleAlone(now)
				} else {
					c.flight.Settle(cache.Alone)
				}
				c.flight = nil
			}
		} else if !p.hold(max(a.length, 0)) {
			p.abandon(cache.BySize)
		}
		c.stored = c.write != nil
	}
	if c.report {
		p.up.header["Cache-Status"] = []string{c.statusForwarded(a.status)}
	}
}

// hold counts bytes that are on their way into the store among the bodies held.
func (p *passage) hold(n int64) bool {
	if n == 0 {
		return true
	}
	if !p.g.buffered.add(n) {
		return false
	}
	p.cached.held += n
	return true
}

// storing adds what passes to what is stored.
func (p *passage) storing(b []byte) {
	c := p.cached
	if c == nil || c.write == nil || len(b) == 0 {
		return
	}
	if p.up.length < 0 && !p.hold(int64(len(b))) {
		p.abandon(cache.BySize)
		return
	}
	if why := c.write.Write(b); why != cache.OK {
		p.abandon(why)
	}
}

// storedWhole stores the answer: all of it has come.
func (p *passage) storedWhole() {
	c := p.cached
	if c == nil || c.write == nil {
		return
	}
	w := c.write
	c.write = nil
	e, why := w.Commit()
	if why != cache.OK {
		p.g.count.cache.unstored[why].Add(1)
		c.settle(cache.Alone)
		return
	}
	p.g.count.cache.stored.Add(1)
	c.share(e, p.g.o.Now())
}

// abandon stores nothing of the answer after all.
func (p *passage) abandon(why cache.Reason) {
	c := p.cached
	c.write, c.why = nil, why
	p.g.count.cache.unstored[why].Add(1)
	if c.flight != nil && why == cache.BySize {
		c.flight.SettleAlone(p.g.o.Now())
		c.flight = nil
	}
	c.settle(cache.Alone)
}

// leave ends the passage's part in the cache, however it went.
func (p *passage) leave() {
	c := p.cached
	if c == nil {
		return
	}
	if c.write != nil {
		p.g.count.cache.unstored[cache.ByTrunc].Add(1)
	}
	p.g.buffered.sub(c.held)
	// Where there was an answer, or none to be had, nobody else tries in turn.
	end := cache.Alone
	if p.r.Context().Err() != nil {
		end = cache.Died
	}
	c.settle(end)
	*c = caching{}
	p.cached = nil
}

func safe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, "QUERY", "PROPFIND", "REPORT", "SEARCH":
		return true
	}
	return false
}

// invalidate forgets what a change has made out of date: what is stored under
// its own target, and under those of the same origin that its answer names (RFC
// 9111 section 4.4).
func (p *passage) invalidate() {
	api := p.ses.API().Name
	n := p.g.store.Invalidate(api, p.r.Host, p.target)
	for _, name := range [...]string{"Location", "Content-Location"} {
		if lines := p.up.header[name]; len(lines) == 1 {
			if target, ok := sameOrigin(p.fields[1].Value, p.r.Host, p.target, lines[0]); ok && target != p.target {
				n += p.g.store.Invalidate(api, p.r.Host, target)
			}
		}
	}
	p.g.count.cache.invalidated.Add(int64(n))
}

// refreshBehind asks for an entry anew while its client gets the stale answer.
// One question of an entry is on its way at a time.
func (p *passage) refreshBehind(c *caching, e *cache.Entry, now time.Time) {
	g := p.g
	if c.why != cache.OK || !g.refreshing.add(1) {
		return
	}
	f, leads := g.store.Join("\x00refresh\x00"+g.store.FlightKey(&c.q, &c.rules, e), now)
	if !leads {
		g.refreshing.sub(1)
		return
	}
	var place load.Ticket
	if gate := p.lane.gate; gate != nil {
		op := p.ses.Operation()
		if place, _ = gate.Try(&load.Ask{Operation: op.Key(), OperationID: op.Name, Caller: load.Caller{Name: "cache"}}); !place.Held() {
			f.Settle(cache.Alone) // the upstream has more urgent things to do
			g.refreshing.sub(1)
			return
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), g.o.Bounds.AnswerTime)
	r := p.r.Clone(ctx)
	r.Method, r.Body, r.ContentLength = http.MethodGet, http.NoBody, 0
	b := &passage{g: g, r: r, force: p.force, lane: p.lane, pool: p.pool, target: p.target, options: p.options, plain: p.plain, fields: p.fields, onward: p.onward, more: slices.Clone(p.more), on1xx: func(int, http.Header) {}}
	b.cached = &caching{on: true, rules: c.rules, q: c.q, entry: e, asks: e.Validates(), changes: g.store.Changes(&c.q), asked: now}
	k := b.cached
	k.q.Header, k.q.Method = r.Header, http.MethodGet
	storable := p.ses.Storing()
	k.rules.DescribesIt = storable
	go func() {
		defer g.refreshing.sub(1)
		defer cancel()
		defer func() {
			if place.Held() {
				took := g.o.Now().Sub(now)
				place.Done(load.Sample{Slot: took, RTT: took})
			}
		}()
		defer f.Settle(cache.Died)
		defer func() { g.buffered.sub(k.held) }()
		b.refresh(e)
	}()
}

// refresh asks an instance once and stores what it answers.
func (p *passage) refresh(e *cache.Entry) {
	g, c, a := p.g, p.cached, &p.up
	defer func() {
		if v := recover(); v != nil {
			g.o.Log.Error("refresh of a stored answer failed in the gateway", "panic", v)
		}
	}()
	t, err := p.lane.pick(nil, false)
	if err != nil {
		return
	}
	o := unknown
	defer func() { t.done(o) }()
	g.count.tries.Add(1)
	g.count.cache.refreshed.Add(1)
	if err := p.send(t.in.link); err != nil {
		if !timedOut(err) {
			o = failed
		}
		return
	}
	defer a.close()
	o = judgeStatus(a.status, a.header)
	now := g.o.Now()
	if c.asks && a.status == http.StatusNotModified {
		g.store.Freshen(e, &c.q, &c.rules, a.header, c.changes, c.asked, now)
		return
	}
	if c.write, c.why = g.store.Begin(&c.q, &c.rules, a.status, a.header, a.length, c.changes, c.asked, now); c.write == nil {
		g.count.cache.unstored[c.why].Add(1)
		if a.status < 500 && a.status != http.StatusTooManyRequests {
			g.store.Drop(e) // what there is now is not to be kept
		}
		return
	}
	if !p.hold(max(a.length, 0)) {
		return
	}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for c.write != nil {
		n, err := a.Read(*buf)
		p.storing((*buf)[:n])
		if err != nil {
			if err == io.EOF {
				p.storedWhole()
			}
			return
		}
	}
}

// sameOrigin resolves a reference against a target and gives its own, when it
// stays with the origin.
func sameOrigin(scheme, host, base, ref string) (target string, ok bool) {
	ref = textproto.TrimString(ref)
	if ref == "" || strings.ContainsAny(ref, "\x00\r\n\\ ") {
		return "", false
	}
	at, err := parseTarget(scheme, host, base)
	if err != nil {
		return "", false
	}
	u, err := at.Parse(ref)
	if err != nil || !strings.EqualFold(u.Scheme, scheme) || !strings.EqualFold(hostPort(u.Scheme, u.Host), hostPort(scheme, host)) {
		return "", false
	}
	return u.RequestURI(), true
}

func parseTarget(scheme, host, target string) (*url.URL, error) {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, err
	}
	u.Scheme, u.Host = scheme, host
	return u, nil
}

// hostPort is host with its port, the scheme's where none is written.
func hostPort(scheme, host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.Contains(host[i:], "]") {
		return host
	}
	if scheme == "https" {
		return host + ":443"
	}
	return host + ":80"
}

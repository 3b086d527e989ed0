package identity

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sallyport "sallyport.dev"
)

// Bounds of fetching tokens for upstreams. Each has its answer: requests that need
// the token are refused for now, and the reason stands in the log and in Status.
const (
	grantTime     = 5 * time.Second  // until the whole answer is there
	grantLife     = time.Minute      // of a token that does not say how long it lives
	grantLongest  = 24 * time.Hour   // that one is used without asking again
	grantMargin   = 5 * time.Second  // before its end a token is not used any more
	grantRetry    = time.Second      // after a failure, doubled with each further one
	grantRetryMax = 30 * time.Second // and at most so long
	exchangeMost  = 4096             // exchanged tokens held for one grant
	exchangeHold  = 5 * time.Minute  // that one is held at most: for so long a revoked caller's token may still have its counterpart
	exchangeNo    = 10 * time.Second // that a refusal of one caller's token is held
	exchangeTurns = 32               // exchanges with one endpoint at a time
)

// ErrExchange says that the issuer will not exchange this caller's token.
var ErrExchange = errors.New("the issuer does not exchange this token")

// A Grant is one way to get a token for an upstream: a client at a token
// endpoint and what it asks for. Grants that are equal share their tokens.
type Grant struct {
	Issuer, TokenURL string // one of them
	ClientID         string
	Secret           string // or
	Key              string // a private key in PEM (RFC 7523)
	KeyID            string
	Scope            string // separated by spaces
	Audience         string
	Resource         string
	Exchange         bool // of callers' tokens (RFC 8693), not a token of our own
}

// Name says whose token it is, for people.
func (g Grant) Name() string {
	name := g.ClientID + " at " + cmp.Or(g.Issuer, g.TokenURL)
	if what := strings.Join(strings.Fields(g.Audience+" "+g.Resource+" "+g.Scope), " "); what != "" {
		name += " for " + what
	}
	return name
}

// Grants fetches the tokens of the configured grants, renews them ahead of their
// end and holds those exchanged for callers. Set the fields, call Configure, then
// Run. Safe for concurrent use.
type Grants struct {
	Client *http.Client     // nil: one with bounded times that follows no redirect
	Log    *slog.Logger     // nil: discard
	Now    func() time.Time // nil: time.Now

	once         sync.Once
	ask          Providers                // discovers
	list, before atomic.Pointer[[]*grant] // and those of the configuration before
	setup        sync.Mutex               // of Configure
	wake         chan struct{}
}

// grant is a Grant and its tokens.
type grant struct {
	Grant
	sign  *Signer // of private_key_jwt
	turns chan struct{}

	mu       sync.Mutex // of the fields below; never held while fetching
	endpoint string
	at       time.Time // when that was discovered
	token    held
	renew    time.Time
	flight   *flight
	fetched  time.Time
	failures int
	total    int // failures ever
	next     time.Time
	err      error
	callers  map[digest]*held
	flights  map[digest]*flight
}

// held is a token and its end; err is why there is none.
type held struct {
	value string
	until time.Time
	err   error
}

func (g *Grants) init() {
	g.once.Do(func() {
		if g.Now == nil {
			g.Now = time.Now
		}
		if g.Log == nil {
			g.Log = slog.New(slog.DiscardHandler)
		}
		if g.Client == nil {
			g.Client = newClient(exchangeTurns)
		}
		g.ask.Client, g.ask.Log, g.ask.Now = g.Client, g.Log, g.Now
		g.wake = make(chan struct{}, 1)
		g.list.Store(&[]*grant{})
		g.before.Store(&[]*grant{})
	})
}

// Configure says which grants there are. Those that stay keep their tokens; those
// that go are forgotten. A key that cannot be read is an error, and nothing changes.
func (g *Grants) Configure(list []Grant) error {
	g.init()
	g.setup.Lock()
	defer g.setup.Unlock()
	var next []*grant
	for _, x := range list {
		if slices.ContainsFunc(next, func(o *grant) bool { return o.Grant == x }) {
			continue
		}
		if old := g.find(x); old != nil {
			next = append(next, old)
			continue
		}
		n := &grant{Grant: x, turns: make(chan struct{}, exchangeTurns), callers: map[digest]*held{}, flights: map[digest]*flight{}}
		if x.Key != "" {
			var err error
			if n.sign, err = ParseSigner([]byte(x.Key), x.KeyID); err != nil {
				return sallyport.Wrap(sallyport.Invalid, err, "private key of client %s", x.ClientID)
			}
		}
		next = append(next, n)
	}
	// What no longer stands there still serves requests that began with it.
	g.before.Store(g.list.Swap(&next))
	select {
	case g.wake <- struct{}{}:
	default:
	}
	return nil
}

func (g *Grants) find(x Grant) *grant {
	for _, list := range []*[]*grant{g.list.Load(), g.before.Load()} {
		for _, n := range *list {
			if n.Grant == x {
				return n
			}
		}
	}
	return nil
}

// Run keeps tokens fresh until ctx ends.
func (g *Grants) Run(ctx context.Context) error {
	g.init()
	var fetches sync.WaitGroup
	defer fetches.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-g.wake:
		}
		wait := time.Minute
		for _, n := range *g.list.Load() {
			if n.Exchange {
				n.sweep(g.Now())
				continue
			}
			f, mine, due := n.join(g.Now(), false)
			if mine {
				fetches.Go(func() { g.fetch(ctx, n, f) })
				due = grantRetry
			}
			wait = min(wait, max(due, 50*time.Millisecond))
		}
		timer.Reset(wait)
	}
}

// join gives the fetch under way, or begins one, which is then the caller's to
// run, when it is due, or when it is needed now and the last failure is long
// enough ago. due is how long until the next.
func (n *grant) join(now time.Time, needed bool) (f *flight, mine bool, due time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.flight != nil {
		return n.flight, false, grantRetry
	}
	if due = max(n.next.Sub(now), n.renew.Sub(now)); due > 0 && !(needed && !now.Before(n.next)) {
		return nil, false, due
	}
	n.flight = &flight{over: make(chan struct{})}
	return n.flight, true, 0
}

func (n *grant) current(now time.Time) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.token.value, n.token.value != "" && now.Before(n.token.until)
}

// Token gives the grant's token: from memory, or it waits for the fetch that is
// under way, or begins one. Unavailable: there is none, and the endpoint could
// not be asked or gave none; NotFound: no such grant is configured.
func (g *Grants) Token(ctx context.Context, x Grant) (string, error) {
	g.init()
	n := g.find(x)
	if n == nil {
		return "", sallyport.Errorf(sallyport.NotFound, "token of %s: not configured", x.Name())
	}
	if token, ok := n.current(g.Now()); ok {
		return token, nil
	}
	f, mine, _ := n.join(g.Now(), true)
	if mine {
		// The token is everybody's: its fetch goes on when the one who began it leaves.
		go g.fetch(context.WithoutCancel(ctx), n, f)
	}
	if f != nil {
		select {
		case <-f.over:
		case <-ctx.Done():
			return "", sallyport.Wrap(sallyport.Unavailable, ctx.Err(), "token of %s", x.Name())
		}
	}
	if token, ok := n.current(g.Now()); ok {
		return token, nil
	}
	n.mu.Lock()
	err := n.err
	n.mu.Unlock()
	return "", sallyport.Wrap(sallyport.Unavailable, cmp.Or(err, errors.New("none was fetched")), "token of %s", x.Name())
}

// fetch runs f.
func (g *Grants) fetch(ctx context.Context, n *grant, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, grantTime)
	defer cancel()
	form := url.Values{"grant_type": {"client_credentials"}}
	t, err := g.request(ctx, n, form)
	now := g.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.settle(g, err, now)
	if err == nil {
		n.token, n.fetched = t, now
		life := t.until.Sub(now)
		n.renew = now.Add(life*3/4 + time.Duration(rand.Int64N(int64(life/10)+1)))
	}
	f.err = err
	n.flight = nil
	close(f.over)
}

// settle notes how asking went; n.mu is held.
func (n *grant) settle(g *Grants, err error, now time.Time) {
	was := n.err
	if n.err = err; err == nil {
		if was != nil {
			g.Log.Info("tokens for upstreams again", "grant", n.Name())
		}
		n.failures, n.next = 0, time.Time{}
		return
	}
	n.failures++
	n.total++
	n.endpoint = ""
	n.next = now.Add(jitter(min(grantRetry<<min(n.failures-1, 10), grantRetryMax)))
	g.Log.Warn("fetch a token for upstreams", "grant", n.Name(), "error", err, "failures", n.failures, "retry", n.next.Sub(now))
}

// Exchange gives the upstream's token for a caller's, which must have been
// verified (RFC 8693): one from memory, or a new one; those who ask for the same
// share the question. ErrExchange: the issuer will not; Unavailable: it could not be asked.
func (g *Grants) Exchange(ctx context.Context, x Grant, caller string) (string, error) {
	g.init()
	n := g.find(x)
	if n == nil {
		return "", sallyport.Errorf(sallyport.NotFound, "exchange by %s: not configured", x.Name())
	}
	key := sha256.Sum256([]byte(caller))
	now := g.Now()
	n.mu.Lock()
	if t := n.callers[key]; t != nil && now.Before(t.until) {
		n.mu.Unlock()
		return t.value, t.err
	}
	f := n.flights[key]
	if f == nil && now.Before(n.next) && n.failures >= failMost {
		err := n.err
		n.mu.Unlock()
		return "", sallyport.Wrap(sallyport.Unavailable, err, "exchange by %s: not asked, since the last questions failed", x.Name())
	}
	if f == nil {
		f = &flight{over: make(chan struct{})}
		n.flights[key] = f
		go g.exchange(context.WithoutCancel(ctx), n, key, caller, f)
	}
	n.mu.Unlock()
	select {
	case <-f.over:
	case <-ctx.Done():
		return "", sallyport.Wrap(sallyport.Unavailable, ctx.Err(), "exchange by %s", x.Name())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if t := n.callers[key]; t != nil && g.Now().Before(t.until) {
		return t.value, t.err
	}
	return "", sallyport.Wrap(sallyport.Unavailable, cmp.Or(f.err, errors.New("no token")), "exchange by %s", x.Name())
}

func (g *Grants) exchange(ctx context.Context, n *grant, key digest, caller string, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, grantTime)
	defer cancel()
	var t held
	var err error
	select {
	case n.turns <- struct{}{}:
		t, err = g.request(ctx, n, url.Values{
			"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
			"subject_token":      {caller},
			"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		})
		<-n.turns
	case <-ctx.Done():
		err = fmt.Errorf("no turn within %s: %d exchanges are under way", grantTime, exchangeTurns)
	}
	now := g.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if errors.Is(err, ErrExchange) { // that says nothing about other tokens
		n.settle(g, nil, now)
		n.hold(key, &held{err: err, until: now.Add(exchangeNo)}, now)
	} else {
		n.settle(g, err, now)
		if err == nil {
			n.fetched = now
			t.until = earlier(t.until, now.Add(exchangeHold))
			n.hold(key, &t, now)
		}
	}
	f.err = err
	delete(n.flights, key)
	close(f.over)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// hold keeps an exchanged token; a full room gives up one that has ended, else any.
func (n *grant) hold(key digest, t *held, now time.Time) {
	if _, there := n.callers[key]; !there && len(n.callers) >= exchangeMost {
		seen, victim := 0, digest{}
		for k, old := range n.callers {
			victim = k
			if seen++; seen == 16 || !now.Before(old.until) {
				break
			}
		}
		delete(n.callers, victim)
	}
	n.callers[key] = t
}

// sweep forgets exchanged tokens that have ended.
func (n *grant) sweep(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for k, t := range n.callers {
		if !now.Before(t.until) {
			delete(n.callers, k)
		}
	}
}

// request asks the token endpoint (RFC 6749, section 3.2).
func (g *Grants) request(ctx context.Context, n *grant, form url.Values) (held, error) {
	endpoint, err := g.tokenURL(ctx, n)
	if err != nil {
		return held{}, err
	}
	for name, value := range map[string]string{"scope": n.Scope, "audience": n.Audience, "resource": n.Resource} {
		if value != "" {
			form.Set(name, value)
		}
	}
	if n.sign != nil {
		now := g.Now()
		assertion, err := n.sign.Sign("JWT", map[string]any{"iss": n.ClientID, "sub": n.ClientID, "aud": cmp.Or(n.Issuer, endpoint), "jti": randomID(),
			"iat": now.Unix(), "exp": now.Add(time.Minute).Unix()})
		if err != nil {
			return held{}, err
		}
		form.Set("client_id", n.ClientID)
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return held{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if n.sign == nil {
		req.SetBasicAuth(url.QueryEscape(n.ClientID), url.QueryEscape(n.Secret))
	}
	resp, err := g.Client.Do(req)
	if err != nil {
		return held{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return held{}, fmt.Errorf("read its answer: %w", err)
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode != http.StatusOK {
		return held{}, refusedGrant(resp.StatusCode, media, body, n.Exchange)
	}
	if media != "application/json" {
		return held{}, errors.New("its answer is not of the type application/json")
	}
	return parseToken(body, g.Now())
}

// refusedGrant is the error for an answer that is none (RFC 6749, section 5.2).
// Only the error's code is taken over: its description may say anything.
func refusedGrant(status int, media string, body []byte, exchange bool) error {
	var code string
	if doc, err := object(body); err == nil && media == "application/json" {
		_ = json.Unmarshal(doc["error"], &code)
	}
	if len(code) > 64 || strings.ContainsFunc(code, func(r rune) bool { return r <= ' ' || r > '~' }) {
		code = ""
	}
	switch {
	case exchange && status == http.StatusBadRequest && (code == "invalid_request" || code == "invalid_grant" || code == "invalid_target" || code == "invalid_scope"):
		return fmt.Errorf("%w (%s)", ErrExchange, code)
	case status == http.StatusUnauthorized || code == "invalid_client":
		return fmt.Errorf("it does not know the client (%d %s): look at client_id and its secret or key", status, code)
	}
	return fmt.Errorf("it answered %d %s", status, code)
}

// parseToken reads a token response (RFC 6749, section 5.1).
func parseToken(body []byte, now time.Time) (held, error) {
	if len(body) > maxAnswer {
		return held{}, fmt.Errorf("its answer is larger than %d KiB", maxAnswer>>10)
	}
	doc, err := object(body)
	if err != nil {
		return held{}, fmt.Errorf("its answer is %w", err)
	}
	var token, kind string
	if json.Unmarshal(doc["access_token"], &token) != nil || token == "" || len(token) > 16<<10 || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return held{}, errors.New("its answer holds no access_token that can stand in a header")
	}
	if json.Unmarshal(doc["token_type"], &kind) != nil || !strings.EqualFold(kind, "Bearer") {
		return held{}, errors.New("its token is not of the type Bearer")
	}
	life := grantLife
	if raw, ok := doc["expires_in"]; ok {
		var seconds float64
		if json.Unmarshal(raw, &seconds) != nil || !(seconds >= 0 && seconds < 1<<40) {
			return held{}, errors.New("expires_in of its answer is not a time")
		}
		life = min(time.Duration(min(seconds, grantLongest.Seconds())*float64(time.Second)), grantLongest)
	}
	if life > 4*grantMargin {
		life -= grantMargin
	} else {
		life = life * 3 / 4
	}
	if life <= 0 {
		return held{}, errors.New("its token has ended already")
	}
	return held{value: token, until: now.Add(life)}, nil
}

// tokenURL is the endpoint, discovered where an issuer is given.
func (g *Grants) tokenURL(ctx context.Context, n *grant) (string, error) {
	if n.TokenURL != "" {
		return n.TokenURL, nil
	}
	n.mu.Lock()
	known, at := n.endpoint, n.at
	n.mu.Unlock()
	if known != "" && g.Now().Sub(at) < rediscover {
		return known, nil
	}
	g.ask.init()
	ends, err := g.ask.discover(ctx, n.Issuer)
	if err != nil {
		return "", fmt.Errorf("discover: %w", err)
	}
	if ends.token == "" {
		return "", errors.New("the issuer's discovery document names no token_endpoint that may be asked; give token_url")
	}
	n.mu.Lock()
	n.endpoint, n.at = ends.token, g.Now()
	n.mu.Unlock()
	return ends.token, nil
}

// A GrantStatus is what is known about one grant, for people.
type GrantStatus struct {
	Name     string
	Exchange bool
	Fetched  time.Time // when a token was last fetched with success
	Until    time.Time // when the token in use ends; zero: there is none, or tokens are exchanged
	Next     time.Time // when it will be renewed
	Held     int       // exchanged tokens held
	Failures int       // ever
	Error    string    // of the last attempt; "" when it succeeded
}

// Status lists the grants in the order of the configuration.
func (g *Grants) Status() []GrantStatus {
	g.init()
	var out []GrantStatus
	for _, n := range *g.list.Load() {
		n.mu.Lock()
		s := GrantStatus{Name: n.Name(), Exchange: n.Exchange, Fetched: n.fetched, Until: n.token.until, Next: n.renew, Held: len(n.callers), Failures: n.total}
		if n.next.After(s.Next) {
			s.Next = n.next
		}
		if n.err != nil {
			s.Error = n.err.Error()
		}
		n.mu.Unlock()
		out = append(out, s)
	}
	return out
}

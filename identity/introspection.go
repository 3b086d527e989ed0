package identity

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	sallyport "sallyport.dev"
)

// Bounds of asking about tokens. Each has its answer: the request is refused
// for now, and the reason stands in the log and in Status.
const (
	askTime    = 2 * time.Second  // until the whole answer is there
	askMost    = 32               // questions to one issuer at a time; more wait for their turn
	maxAnswer  = 64 << 10         // bytes of an answer
	holdMost   = 8192             // answers held about active tokens of one issuer, and as many about others
	failMost   = 3                // questions that fail one after the other, until there is a pause
	pauseFirst = time.Second      // without questions, doubled with each further failure
	pauseMost  = 15 * time.Second // and at most so long
)

// An Introspection is how one configured issuer is asked about opaque tokens
// (RFC 7662). An answer holds for Cache, and never beyond the token's exp: for
// so long, and not longer, a revoked token may still pass.
type Introspection struct {
	Issuer           string
	URL              string // "" = the endpoint that the discovery document names
	ClientID, Secret string
	Cache            time.Duration // zero = 30 s
	Timeout          time.Duration // until the whole answer is there; zero = 2 s
}

// introspector asks one issuer and holds its answers.
type introspector struct {
	Introspection
	turns chan struct{}

	mu      sync.RWMutex // of the fields below; never held while asking
	answers [2]map[digest]answer
	flights map[digest]*flight
	failed  int // one after the other
	paused  time.Time
	pause   time.Duration
	err     error // of the last question
}

type digest = [sha256.Size]byte

// answer is what an issuer said; claims is nil when the token is not active.
type answer struct {
	claims []byte
	until  time.Time
}

func newIntrospector(i Introspection) *introspector {
	if i.Timeout <= 0 {
		i.Timeout = askTime
	}
	if i.Cache <= 0 {
		i.Cache = 30 * time.Second
	}
	return &introspector{Introspection: i, turns: make(chan struct{}, askMost), flights: map[digest]*flight{},
		answers: [2]map[digest]answer{{}, {}}}
}

func (p *Providers) introspector(issuer string) *introspector {
	p.init()
	for _, i := range p.asks {
		if i.Issuer == issuer {
			return i
		}
	}
	return nil
}

// Answer gives what the issuer has said about a token, from memory: the claims
// of an active one, nil for one that is not. known is false when there is no
// answer, or none that still holds.
func (p *Providers) Answer(issuer, token string) (claims []byte, known bool) {
	i := p.introspector(issuer)
	if i == nil {
		return nil, false
	}
	a, ok := i.held(sha256.Sum256([]byte(token)), p.Now())
	return a.claims, ok
}

func (i *introspector) held(key digest, now time.Time) (answer, bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	for _, m := range i.answers {
		if a, ok := m[key]; ok && now.Before(a.until) {
			return a, true
		}
	}
	return answer{}, false
}

// Introspect asks a configured issuer about a token, unless an answer is held;
// those who ask about one token at the same time share one question. A nil error
// means that there is an answer now. NotFound: the issuer is not configured to be
// asked, and is not. Unavailable: it could not be asked, or its answer is of no use.
func (p *Providers) Introspect(ctx context.Context, issuer, token string) error {
	i := p.introspector(issuer)
	if i == nil {
		return sallyport.Errorf(sallyport.NotFound, "introspect: no such issuer is configured to be asked")
	}
	key := sha256.Sum256([]byte(token))
	f, mine, err := i.join(key, p.Now())
	if err != nil {
		return sallyport.Wrap(sallyport.Unavailable, err, "introspect at %s", issuer)
	}
	if f == nil {
		return nil
	}
	if mine {
		// The question is everybody's: it goes on when the one who began it leaves.
		go p.ask(context.WithoutCancel(ctx), i, key, token, f)
	}
	select {
	case <-f.over:
	case <-ctx.Done():
		return sallyport.Wrap(sallyport.Unavailable, ctx.Err(), "introspect at %s", issuer)
	}
	if f.err != nil {
		return sallyport.Wrap(sallyport.Unavailable, f.err, "introspect at %s", issuer)
	}
	return nil
}

// join gives the question under way about a token, or begins one, which is then
// the caller's to ask; nil when an answer is held.
func (i *introspector) join(key digest, now time.Time) (f *flight, mine bool, err error) {
	if _, ok := i.held(key, now); ok {
		return nil, false, nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if f := i.flights[key]; f != nil {
		return f, false, nil
	}
	if now.Before(i.paused) {
		return nil, false, fmt.Errorf("not asked, since the last questions failed: %w", i.err)
	}
	f = &flight{over: make(chan struct{})}
	i.flights[key] = f
	return f, true, nil
}

// ask puts the question f.
func (p *Providers) ask(ctx context.Context, i *introspector, key digest, token string, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, i.Timeout)
	defer cancel()
	var a answer
	err := error(nil)
	select {
	case i.turns <- struct{}{}:
		a, err = p.question(ctx, i, token)
		<-i.turns
	case <-ctx.Done():
		err = fmt.Errorf("no turn within %s: %d questions are under way", i.Timeout, askMost)
	}
	now := p.Now()
	i.mu.Lock()
	defer i.mu.Unlock()
	recovered := err == nil && i.err != nil
	if i.err = err; err != nil {
		if i.failed++; i.failed >= failMost {
			i.pause = min(max(2*i.pause, pauseFirst), pauseMost)
			i.paused = now.Add(i.pause)
		}
		p.Log.Warn("introspect", "issuer", i.Issuer, "error", err, "pause", i.pause)
	} else {
		i.failed, i.pause, i.paused = 0, 0, time.Time{}
		i.hold(key, a, now)
		if recovered {
			p.Log.Info("introspection answers again", "issuer", i.Issuer)
		}
	}
	f.err = err
	delete(i.flights, key)
	close(f.over)
}

// hold keeps an answer. Those about tokens that are not active have a room of
// their own, so that made-up tokens push out no answer about a good one.
func (i *introspector) hold(key digest, a answer, now time.Time) {
	m, other := i.answers[0], i.answers[1]
	if a.claims == nil {
		m, other = other, m
	}
	delete(other, key)
	if _, there := m[key]; !there && len(m) >= holdMost {
		seen, victim := 0, digest{}
		for k, old := range m { // in no order: a few, for one that has ended
			victim = k
			if seen++; seen == 16 || !now.Before(old.until) {
				break
			}
		}
		delete(m, victim)
	}
	m[key] = a
}

// question is one request to the issuer (RFC 7662, section 2.1) with its client's
// name and secret (RFC 6749, section 2.3.1).
func (p *Providers) question(ctx context.Context, i *introspector, token string) (answer, error) {
	endpoint := i.URL
	if endpoint == "" {
		var err error
		if endpoint, err = p.introspectionURL(ctx, i.Issuer); err != nil {
			return answer{}, err
		}
	}
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(i.ClientID), url.QueryEscape(i.Secret))
	resp, err := p.asking.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		return answer{}, fmt.Errorf("it does not answer client %s (%d): look at client_id and secret", i.ClientID, resp.StatusCode)
	}
	if resp.StatusCode == http.StatusBadRequest {
		// It will not even look at this token; that says nothing about others, so
		// nobody can have them wait by making up a token that it stumbles over.
		return answer{until: p.Now().Add(i.Cache)}, nil
	}
	if resp.StatusCode != http.StatusOK {
		return answer{}, fmt.Errorf("it answered %d", resp.StatusCode)
	}
	if media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return answer{}, errors.New("its answer is not of the type application/json")
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, fmt.Errorf("read its answer: %w", err)
	}
	return parseAnswer(body, p.Now(), i.Cache)
}

// parseAnswer reads an answer (RFC 7662, section 2.2): how long it holds, and the
// claims as they are.
func parseAnswer(body []byte, now time.Time, cache time.Duration) (answer, error) {
	if len(body) > maxAnswer {
		return answer{}, fmt.Errorf("its answer is larger than %d KiB", maxAnswer>>10)
	}
	doc, err := object(body)
	if err != nil {
		return answer{}, fmt.Errorf("its answer is %w", err)
	}
	a := answer{until: now.Add(cache)}
	switch string(doc["active"]) {
	case "false":
		return a, nil
	case "true":
	default:
		return answer{}, errors.New("its answer does not say whether the token is active")
	}
	if raw, ok := doc["exp"]; ok {
		var exp float64
		if json.Unmarshal(raw, &exp) != nil || exp < 0 || exp > 1<<40 {
			return answer{}, errors.New("exp of its answer is not a time")
		}
		if end := time.Unix(int64(exp), 0); end.Before(a.until) {
			a.until = end
		}
		if !now.Before(a.until) { // over before it is here: as good as not active
			return answer{until: now.Add(cache)}, nil
		}
	}
	a.claims = body
	return a, nil
}

// introspectionURL is the endpoint that the issuer's discovery document names.
func (p *Providers) introspectionURL(ctx context.Context, issuer string) (string, error) {
	v := p.provider(issuer)
	if v == nil {
		return "", errors.New("the issuer is not configured")
	}
	v.mu.Lock()
	known, at := v.ends.introspection, v.discovered
	v.mu.Unlock()
	if known != "" && p.Now().Sub(at) < 2*rediscover {
		return known, nil
	}
	ends, err := p.discover(ctx, issuer)
	if err != nil {
		return "", fmt.Errorf("discover: %w", err)
	}
	v.mu.Lock()
	v.ends, v.discovered = ends, p.Now()
	v.mu.Unlock()
	if ends.introspection == "" {
		return "", errors.New("the issuer's discovery document names no introspection_endpoint that may be asked; give introspection.url")
	}
	return ends.introspection, nil
}

package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/policy"
)

const (
	maxDocument  = 256 << 10 // of a discovery document or key set
	rediscover   = time.Hour // until the discovery document is read again
	maxSetOfKeys = 64
)

// provider is one configured issuer.
type provider struct {
	issuer string
	set    atomic.Pointer[keySet] // the last good one; nil before the first

	mu         sync.Mutex // of the fields below; never held while fetching
	flight     *flight    // the fetch under way
	ends       endpoints
	discovered time.Time
	tried      time.Time
	wanted     time.Time // when a fetch was begun for the sake of an unknown kid
	fetched    time.Time
	next       time.Time
	failures   int
	err        error
	refused    []string
}

// endpoints are what a discovery document names.
type endpoints struct{ keys, introspection, token string }

// flight is one fetch; err is good once over is closed.
type flight struct {
	over chan struct{}
	err  error
}

// due is how long until the next fetch; zero or less means now. While a fetch is
// under way there is no other.
func (v *provider) due(now time.Time) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.flight != nil {
		return time.Second
	}
	return v.next.Sub(now)
}

// join gives the fetch under way, or begins one, which is then the caller's to
// run. With every above zero it is for the sake of an unknown kid, and there is
// none when the last of those was begun less than every ago; what the timer
// fetched does not count, or a key that came right after it would wait.
func (v *provider) join(now time.Time, every time.Duration) (f *flight, mine bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.flight != nil {
		return v.flight, false
	}
	if every > 0 {
		if !v.wanted.IsZero() && now.Sub(v.wanted) < every {
			return nil, false
		}
		v.wanted = now
	}
	v.tried = now
	v.flight = &flight{over: make(chan struct{})}
	return v.flight, true
}

// fetch runs f: discovery when it is due, then the key set.
func (p *Providers) fetch(ctx context.Context, v *provider, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	keys, refused, fresh, err := p.load(ctx, v)

	now := p.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	recovered := v.err != nil && err == nil
	v.err = err
	if err != nil {
		v.failures++
		v.discovered = time.Time{}
		v.next = now.Add(jitter(min(retryFirst<<min(v.failures-1, 10), retryMost)))
		p.Log.Warn("fetch keys", "issuer", v.issuer, "error", err, "failures", v.failures, "retry", v.next.Sub(now))
	} else {
		was := v.set.Load()
		set := merge(was, keys, now, p.Overlap)
		v.set.Store(set)
		v.failures, v.fetched, v.refused = 0, now, refused
		v.next = now.Add(jitter(fresh))
		if recovered || was == nil || !slices.Equal(was.names(), set.names()) {
			p.Log.Info("keys fetched", "issuer", v.issuer, "keys", set.names(), "refused", refused, "next", v.next.Sub(now))
		}
	}
	f.err = err
	v.flight = nil
	close(f.over)
}

// jitter spreads the refreshes of several nodes over a tenth of the time.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d)/10+1))
}

// load asks the provider. Nothing of v is held while it answers.
func (p *Providers) load(ctx context.Context, v *provider) (keys []publicKey, refused []string, fresh time.Duration, err error) {
	v.mu.Lock()
	ends, known := v.ends, !v.discovered.IsZero() && p.Now().Sub(v.discovered) < rediscover
	v.mu.Unlock()
	if !known {
		if ends, err = p.discover(ctx, v.issuer); err != nil {
			return nil, nil, 0, fmt.Errorf("discover: %w", err)
		}
		v.mu.Lock()
		v.ends, v.discovered = ends, p.Now()
		v.mu.Unlock()
	}
	body, header, err := p.get(ctx, ends.keys)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("key set: %w", err)
	}
	if keys, refused, err = parseSet(body); err != nil {
		return nil, nil, 0, fmt.Errorf("key set: %w", err)
	}
	return keys, refused, lifetime(header, p.Now()), nil
}

// discover reads the provider's configuration (OpenID Connect Discovery 1.0,
// section 4): the issuer it names must be the one that was asked, to the letter.
func (p *Providers) discover(ctx context.Context, issuer string) (ends endpoints, err error) {
	body, _, err := p.get(ctx, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return ends, err
	}
	doc, err := object(body)
	if err != nil {
		return ends, err
	}
	var named string
	if json.Unmarshal(doc["issuer"], &named) != nil || named != issuer {
		return ends, fmt.Errorf("the document names another issuer (%.80q) than the configured one", named)
	}
	if json.Unmarshal(doc["jwks_uri"], &ends.keys) != nil || ends.keys == "" {
		return ends, fmt.Errorf("the document has no jwks_uri")
	}
	if err := checkEndpoint(issuer, ends.keys); err != nil {
		return endpoints{}, fmt.Errorf("jwks_uri: %w", err)
	}
	// Whoever needs this one says that it is missing.
	if json.Unmarshal(doc["introspection_endpoint"], &ends.introspection) != nil || checkEndpoint(issuer, ends.introspection) != nil {
		ends.introspection = ""
	}
	if json.Unmarshal(doc["token_endpoint"], &ends.token) != nil || checkEndpoint(issuer, ends.token) != nil {
		ends.token = ""
	}
	return ends, nil
}

// checkEndpoint says what is wrong with an address that an issuer names.
func checkEndpoint(issuer, endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("it is not a URL that may be fetched")
	}
	u.RawQuery = "" // an endpoint may have a query, an issuer's URL not
	if err := policy.CheckIssuer(u.String()); err != nil {
		return err
	}
	if strings.HasPrefix(issuer, "https:") && u.Scheme != "https" {
		return fmt.Errorf("want https, as the issuer's")
	}
	return nil
}

// get fetches one document, whole and bounded.
func (p *Providers) get(ctx context.Context, from string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := p.Client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return nil, nil, fmt.Errorf("%s answered %d: redirects are not followed; configure the address it leads to", from, resp.StatusCode)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("%s answered %d", from, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", from, err)
	}
	if len(body) > maxDocument {
		return nil, nil, fmt.Errorf("%s is larger than %d KiB", from, maxDocument>>10)
	}
	return body, resp.Header, nil
}

// lifetime is how long a key set may be kept, by its headers (RFC 9111) and
// within our own bounds.
func lifetime(h http.Header, now time.Time) time.Duration {
	fresh := usual
	var stated bool
	for _, line := range h.Values("Cache-Control") {
		for part := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch strings.ToLower(name) {
			case "no-store", "no-cache":
				return shortest
			case "max-age":
				if n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
					fresh, stated = time.Duration(n)*time.Second, true
				}
			}
		}
	}
	if stated {
		if age, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil {
			fresh -= time.Duration(age) * time.Second
		}
	} else if until, err := http.ParseTime(h.Get("Expires")); err == nil {
		fresh = until.Sub(now)
	}
	return min(max(fresh, shortest), longest)
}

// Status lists the providers in the order of the configuration.
func (p *Providers) Status() []Status {
	p.init()
	p.mu.Lock()
	order := slices.Clone(p.order)
	p.mu.Unlock()
	now := p.Now()
	out := make([]Status, 0, len(order))
	for _, iss := range order {
		v := p.provider(iss)
		if v == nil {
			continue
		}
		v.mu.Lock()
		s := Status{Issuer: iss, Fetched: v.fetched, Tried: v.tried, Next: v.next, Refused: slices.Clone(v.refused)}
		if v.err != nil {
			s.Error = v.err.Error()
		}
		v.mu.Unlock()
		if i := p.introspector(iss); i != nil {
			i.mu.RLock()
			if i.err != nil && s.Error == "" {
				s.Error = "introspection: " + i.err.Error()
			}
			i.mu.RUnlock()
		}
		if set := v.set.Load(); set != nil {
			for _, k := range set.keys {
				if k.retired.IsZero() || now.Before(k.retired) {
					s.Keys = append(s.Keys, KeyStatus{ID: k.kid, Type: k.kind(), Algorithm: k.alg, Retired: !k.retired.IsZero()})
				}
			}
		}
		out = append(out, s)
	}
	return out
}

// A Status is what is known about one provider, for people.
type Status struct {
	Issuer  string
	Keys    []KeyStatus
	Fetched time.Time // when the key set was last fetched with success
	Tried   time.Time // when a fetch was last begun
	Next    time.Time // when it will be fetched again
	Error   string    // of the last attempt; "" when it succeeded
	Refused []string  // keys of the set that are not used, and why
}

// A KeyStatus is one usable key.
type KeyStatus struct {
	ID, Type, Algorithm string
	Retired             bool // no longer in the set, still accepted for the overlap
}

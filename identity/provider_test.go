package identity_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard/authn"
	"sallyport.dev/identity"
	"sallyport.dev/policy"
	"sallyport.dev/test/integration/oidcprovider"
)

// run starts p until the test ends.
func run(t *testing.T, p *identity.Providers) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// verified is what a door and the guard do with a token between them.
func verified(ctx context.Context, p *identity.Providers, v *authn.Verifier, token string) (rule string) {
	now := time.Now()
	if _, rule, found := v.Cached(token, now); found {
		return rule
	}
	var s authn.Scratch
	if rule := v.Open(token, &s, now); rule != "" {
		return rule
	}
	_, rule = v.Prove(&s, now)
	if rule == authn.RuleKey || rule == authn.RuleNoKeys {
		_ = p.Resolve(ctx, s.Issuer(), s.KeyID())
		_, rule = v.Prove(&s, now)
	}
	return rule
}

const resource = "https://api.example.test"

func verifier(t *testing.T, p *identity.Providers, issuer, audience string) *authn.Verifier {
	t.Helper()
	v, err := authn.New(policy.Auth{OIDC: []policy.OIDC{{Issuer: issuer, Audience: audience}}}, p, authn.NewCache(1024), nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestRealProviderEveryAlgorithm(t *testing.T) {
	op := oidcprovider.Start(t)
	p := &identity.Providers{Issuers: []string{op.Issuer}}
	run(t, p)
	for _, path := range []string{"/rs", "/ps", "/es", "/ed"} {
		v := verifier(t, p, op.Issuer, resource+path)
		token := op.Token(t, resource+path, "orders:read")
		for _, way := range []string{"verified", "cached"} {
			if rule := verified(t.Context(), p, v, token); rule != "" {
				t.Errorf("%s, %s: refused by %s", path, way, rule)
			}
		}
		if rule := verified(t.Context(), p, verifier(t, p, op.Issuer, "https://other.example.test"), token); rule != authn.RuleAudience {
			t.Errorf("%s for another audience: got %q", path, rule)
		}
	}
	s := p.Status()
	if len(s) != 1 || s[0].Issuer != op.Issuer || len(s[0].Keys) != 4 || s[0].Error != "" || s[0].Fetched.IsZero() || !s[0].Next.After(s[0].Fetched) {
		t.Errorf("status: %+v", s)
	}
}

// TestRotationUnderTraffic rotates the provider's keys while requests go on:
// no genuine token may be refused, and the provider may not be flooded.
func TestRotationUnderTraffic(t *testing.T) {
	op := oidcprovider.Start(t)
	p := &identity.Providers{Issuers: []string{op.Issuer}, UnknownEvery: 50 * time.Millisecond}
	run(t, p)
	v := verifier(t, p, op.Issuer, resource+"/es")
	var tokens sync.Map // the token that each generation signed
	var newest atomic.Int64
	tokens.Store(int64(0), op.Token(t, resource+"/es", "orders:read"))

	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	var passed, refused atomic.Int64
	for range 4 {
		workers.Go(func() {
			for ctx.Err() == nil {
				last := newest.Load()
				for g := max(0, last-1); g <= last; g++ {
					token, _ := tokens.Load(g)
					if rule := verified(ctx, p, v, token.(string)); rule == "" {
						passed.Add(1)
					} else if ctx.Err() == nil {
						refused.Add(1)
						t.Errorf("generation %d of %d refused by %s", g, last, rule)
						return
					}
				}
				time.Sleep(500 * time.Microsecond)
			}
		})
	}
	const rotations = 5
	for g := int64(1); g <= rotations; g++ {
		op.Rotate(t, 1)
		tokens.Store(g, op.Token(t, resource+"/es", "orders:read"))
		time.Sleep(100 * time.Millisecond) // a second fetch for an unknown kid is allowed again
		newest.Store(g)
		time.Sleep(100 * time.Millisecond)
	}
	stop()
	workers.Wait()
	asked := op.Requests(t)
	t.Logf("%d verifications passed, %d refused, over %d rotations; the provider was asked %v", passed.Load(), refused.Load(), rotations, asked)
	if passed.Load() < 500 {
		t.Errorf("only %d verifications went through", passed.Load())
	}
	if n := asked["/jwks"]; n > 3*rotations+2 {
		t.Errorf("the key set was fetched %d times for %d rotations", n, rotations)
	}
	// A key that is no longer published: its token goes on through the overlap only.
	if err := p.Resolve(t.Context(), op.Issuer, "no-such-kid"); sallyport.KindOf(err) != sallyport.NotFound {
		t.Errorf("an unknown kid: got %v", err)
	}
}

func TestProviderGoesDownAndComesBack(t *testing.T) {
	op := oidcprovider.Start(t)
	p := &identity.Providers{Issuers: []string{op.Issuer}, UnknownEvery: time.Millisecond}
	v := verifier(t, p, op.Issuer, resource+"/rs")
	token := op.Token(t, resource+"/rs", "orders:read")
	if rule := verified(t.Context(), p, v, token); rule != "" {
		t.Fatalf("refused by %s", rule)
	}
	op.Stop()
	time.Sleep(5 * time.Millisecond)
	if err := p.Resolve(t.Context(), op.Issuer, "made-up"); sallyport.KindOf(err) != sallyport.Unavailable {
		t.Errorf("resolve while the provider is down: got %v, want unavailable", err)
	}
	fresh := verifier(t, p, op.Issuer, resource+"/rs")
	if rule := verified(t.Context(), p, fresh, token); rule != "" {
		t.Errorf("with the provider down, a token of a key in memory is refused by %s", rule)
	}
	if s := p.Status()[0]; s.Error == "" || len(s.Keys) != 4 {
		t.Errorf("status hides that the provider is down, or has forgotten the keys: %+v", s)
	}
}

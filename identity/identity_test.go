package identity_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
	sallyport "sallyport.dev"
	"sallyport.dev/identity"
)

type object = map[string]any

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

var (
	rsaKey  = must(rsa.GenerateKey(rand.Reader, 2048))
	weakKey = must(rsa.GenerateKey(rand.Reader, 1024))
	ecKey   = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	edKey   = func() ed25519.PublicKey { k, _, err := ed25519.GenerateKey(rand.Reader); return must(k, err) }()
)

func rsaJWK(k *rsa.PublicKey, kid string) object {
	return object{"kty": "RSA", "kid": kid, "use": "sig", "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}
}

func ecJWK(k *ecdsa.PublicKey, kid string) object {
	point := must(k.Bytes())
	return object{"kty": "EC", "crv": "P-256", "kid": kid, "x": b64(point[1:33]), "y": b64(point[33:])}
}

func edJWK(k ed25519.PublicKey, kid string) object {
	return object{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(k)}
}

func but(o object, name string, v any) object {
	out := object{}
	for k, x := range o {
		out[k] = x
	}
	out[name] = v
	return out
}

// fake is a provider that answers what a test wants.
type fake struct {
	*httptest.Server
	mu     sync.Mutex
	config func(issuer string) any
	keys   []object
	header http.Header
	status int
	raw    string // instead of keys
	delay  time.Duration
	asked  atomic.Int64
}

func newFake(t *testing.T) *fake {
	f := &fake{keys: []object{rsaJWK(&rsaKey.PublicKey, "r1"), ecJWK(&ecKey.PublicKey, "e1"), edJWK(edKey, "d1")}, header: http.Header{}}
	f.config = func(iss string) any { return object{"issuer": iss, "jwks_uri": iss + "/keys"} }
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if r.URL.Path == "/.well-known/openid-configuration" {
			_ = json.NewEncoder(w).Encode(f.config(f.URL))
			return
		}
		f.asked.Add(1)
		time.Sleep(f.delay)
		for k, v := range f.header {
			w.Header()[k] = v
		}
		if f.status != 0 {
			w.WriteHeader(f.status)
		}
		if f.raw != "" {
			fmt.Fprint(w, f.raw)
			return
		}
		_ = json.NewEncoder(w).Encode(object{"keys": f.keys})
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// clock is a time that a test moves.
type clock struct{ ns atomic.Int64 }

func newClock() *clock                 { c := &clock{}; c.ns.Store(1_800_000_000_000_000_000); return c }
func (c *clock) now() time.Time        { return time.Unix(0, c.ns.Load()) }
func (c *clock) forth(d time.Duration) { c.ns.Add(int64(d)) }

func TestOnlyConfiguredIssuersAreCalled(t *testing.T) {
	f := newFake(t)
	p := &identity.Providers{Issuers: []string{"https://idp.example.test"}}
	if err := p.Resolve(t.Context(), f.URL, "r1"); sallyport.KindOf(err) != sallyport.NotFound {
		t.Errorf("got %v, want not found", err)
	}
	if _, ok := p.Key(f.URL, "r1", "RS256"); ok || f.asked.Load() != 0 {
		t.Error("an issuer that is not configured was called")
	}
}

func TestRunRefusesIssuersThatMayNotBeCalled(t *testing.T) {
	for _, iss := range []string{"http://idp.example.test", "ftp://127.0.0.1", "https://u:p@idp.example.test", "https://idp.example.test/?a=b", "https://idp.example.test/#x", "idp", ""} {
		if err := (&identity.Providers{Issuers: []string{iss}}).Run(t.Context()); sallyport.KindOf(err) != sallyport.Invalid {
			t.Errorf("%q: got %v, want invalid", iss, err)
		}
	}
}

func TestDiscoveryIsStrict(t *testing.T) {
	for name, config := range map[string]func(string) any{
		"another issuer":            func(iss string) any { return object{"issuer": "https://evil.example.test", "jwks_uri": iss + "/keys"} },
		"issuer with a slash more":  func(iss string) any { return object{"issuer": iss + "/", "jwks_uri": iss + "/keys"} },
		"no issuer":                 func(iss string) any { return object{"jwks_uri": iss + "/keys"} },
		"issuer by another case":    func(iss string) any { return object{"Issuer": iss, "jwks_uri": iss + "/keys"} },
		"no jwks_uri":               func(iss string) any { return object{"issuer": iss} },
		"jwks_uri without TLS":      func(iss string) any { return object{"issuer": iss, "jwks_uri": "http://keys.example.test/"} },
		"jwks_uri of a file":        func(iss string) any { return object{"issuer": iss, "jwks_uri": "file:///etc/passwd"} },
		"jwks_uri with credentials": func(iss string) any { return object{"issuer": iss, "jwks_uri": "http://u:p@127.0.0.1/keys"} },
		"not an object":             func(string) any { return []string{"x"} },
		"larger than the bound": func(iss string) any {
			return object{"issuer": iss, "jwks_uri": iss + "/keys", "x": strings.Repeat("x", 300<<10)}
		},
		"issuer twice": func(iss string) any {
			return json.RawMessage(`{"issuer":"` + iss + `","issuer":"` + iss + `","jwks_uri":"` + iss + `/keys"}`)
		},
		"followed by something else": func(iss string) any { return json.RawMessage(`{"issuer":"` + iss + `"}`) },
	} {
		f := newFake(t)
		f.set(func() { f.config = config })
		p := &identity.Providers{Issuers: []string{f.URL}}
		if err := p.Resolve(t.Context(), f.URL, "r1"); sallyport.KindOf(err) != sallyport.Unavailable {
			t.Errorf("%s: got %v, want unavailable", name, err)
		}
		if s := p.Status()[0]; s.Error == "" || len(s.Keys) != 0 {
			t.Errorf("%s: status %+v", name, s)
		}
	}
}

func TestKeysAreChecked(t *testing.T) {
	good := ecJWK(&ecKey.PublicKey, "bad")
	rsaGood := rsaJWK(&rsaKey.PublicKey, "bad")
	off := must(base64.RawURLEncoding.DecodeString(good["y"].(string)))
	off[31] ^= 1
	for name, k := range map[string]object{
		"RSA of 1024 bits":         rsaJWK(&weakKey.PublicKey, "bad"),
		"RSA of 16384 bits":        but(rsaGood, "n", b64(append([]byte{0xff}, make([]byte, 2047)...))),
		"RSA with an even modulus": but(rsaGood, "n", b64(append(rsaKey.N.Bytes()[:255], 0))),
		"RSA with exponent 1":      but(rsaGood, "e", "AQ"),
		"RSA without exponent":     but(rsaGood, "e", ""),
		"for encryption":           but(good, "use", "enc"),
		"for wrapping keys":        but(good, "key_ops", []string{"wrapKey"}),
		"alg of another type":      but(good, "alg", "RS256"),
		"alg of another curve":     but(good, "alg", "ES384"),
		"alg HS256":                but(good, "alg", "HS256"),
		"alg none":                 but(good, "alg", "none"),
		"symmetric":                {"kty": "oct", "kid": "bad", "k": "c2VjcmV0"},
		"private":                  but(good, "d", "AQ"),
		"off the curve":            but(good, "y", b64(off)),
		"point cut":                but(good, "x", "AQ"),
		"curve unknown":            but(good, "crv", "secp256k1"),
		"padded":                   but(good, "x", good["x"].(string)+"="),
		"type unknown":             but(good, "kty", "ED"),
		"kid a number":             but(good, "kid", 1),
		"kid of a kilobyte":        but(good, "kid", strings.Repeat("k", 1024)),
		"Ed25519 cut":              {"kty": "OKP", "crv": "Ed25519", "kid": "bad", "x": "AQ"},
		"X25519":                   {"kty": "OKP", "crv": "X25519", "kid": "bad", "x": b64(edKey)},
	} {
		f := newFake(t)
		f.set(func() { f.keys = append(f.keys, k) })
		p := &identity.Providers{Issuers: []string{f.URL}}
		if err := p.Resolve(t.Context(), f.URL, "bad"); sallyport.KindOf(err) != sallyport.NotFound {
			t.Errorf("%s: got %v, want not found", name, err)
		}
		s := p.Status()[0]
		if len(s.Keys) != 3 || len(s.Refused) != 1 {
			t.Errorf("%s: %d keys, refused %q; want the three good ones and one refused", name, len(s.Keys), s.Refused)
		}
	}
}

func TestJudgeReadsTheSameKeys(t *testing.T) {
	f := newFake(t)
	p := &identity.Providers{Issuers: []string{f.URL}}
	for kid, alg := range map[string]string{"r1": "RS256", "e1": "ES256", "d1": "EdDSA"} {
		if err := p.Resolve(t.Context(), f.URL, kid); err != nil {
			t.Fatal(err)
		}
		got, ok := p.Key(f.URL, kid, alg)
		if !ok {
			t.Fatalf("%s: no key", kid)
		}
		for _, k := range f.keys {
			if k["kid"] != kid {
				continue
			}
			var want any
			if err := jwk.Export(must(jwk.ParseKey(must(json.Marshal(k)))), &want); err != nil {
				t.Fatal(err)
			}
			if !got.(interface{ Equal(crypto.PublicKey) bool }).Equal(want) {
				t.Errorf("%s: another key than the judge reads", kid)
			}
			if fmt.Sprintf("%T", got) != fmt.Sprintf("%T", want) {
				t.Errorf("%s: got a %T, the judge reads a %T", kid, got, want)
			}
		}
	}
}

func TestKeyFitsAlgorithm(t *testing.T) {
	f := newFake(t)
	f.set(func() { f.keys = append(f.keys, but(rsaJWK(&rsaKey.PublicKey, "ps"), "alg", "PS256")) })
	p := &identity.Providers{Issuers: []string{f.URL}}
	if err := p.Resolve(t.Context(), f.URL, "r1"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kid, alg string
		want     bool
	}{
		{"r1", "RS256", true}, {"r1", "PS512", true}, {"r1", "ES256", false}, {"r1", "EdDSA", false}, {"r1", "HS256", false}, {"r1", "none", false},
		{"e1", "ES256", true}, {"e1", "ES384", false}, {"e1", "RS256", false},
		{"d1", "EdDSA", true}, {"d1", "Ed25519", true}, {"d1", "ES256", false},
		{"ps", "PS256", true}, {"ps", "RS256", false},
		{"", "ES256", true},  // the only key that fits
		{"", "PS256", false}, // two would
		{"zz", "ES256", false},
	} {
		if _, ok := p.Key(f.URL, c.kid, c.alg); ok != c.want {
			t.Errorf("kid %q, alg %s: got %v, want %v", c.kid, c.alg, ok, c.want)
		}
	}
}

func TestUnknownKidsCannotBeTurnedIntoTraffic(t *testing.T) {
	f := newFake(t)
	c := newClock()
	p := &identity.Providers{Issuers: []string{f.URL}, Now: c.now}
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() { _ = p.Resolve(context.Background(), f.URL, fmt.Sprint("made-up-", i)) })
	}
	wg.Wait()
	for i := range 200 {
		_ = p.Resolve(t.Context(), f.URL, fmt.Sprint("more-", i))
	}
	if n := f.asked.Load(); n != 1 {
		t.Errorf("400 unknown kids led to %d fetches, want 1", n)
	}
	c.forth(11 * time.Second)
	f.set(func() { f.keys = append(f.keys, edJWK(edKey, "new")) })
	if err := p.Resolve(t.Context(), f.URL, "new"); err != nil {
		t.Errorf("a new key after the pause: %v", err)
	}
	if n := f.asked.Load(); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
}

// An issuer may rotate its keys right after the timer has fetched them.
func TestKeyThatComesRightAfterTheTimer(t *testing.T) {
	f := newFake(t)
	p := &identity.Providers{Issuers: []string{f.URL}}
	run(t, p)
	for until := time.Now().Add(10 * time.Second); p.Status()[0].Fetched.IsZero(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the timer fetched nothing")
		}
	}
	f.set(func() { f.keys = append(f.keys, edJWK(edKey, "new")) })
	if err := p.Resolve(t.Context(), f.URL, "new"); err != nil {
		t.Error(err)
	}
}

func TestKeyThatLeavesTheSetIsAcceptedForTheOverlap(t *testing.T) {
	f := newFake(t)
	c := newClock()
	p := &identity.Providers{Issuers: []string{f.URL}, Now: c.now}
	if err := p.Resolve(t.Context(), f.URL, "e1"); err != nil {
		t.Fatal(err)
	}
	was, _ := p.Key(f.URL, "r1", "RS256")
	f.set(func() { f.keys = []object{rsaJWK(&rsaKey.PublicKey, "r1"), edJWK(edKey, "d2")} })
	c.forth(time.Minute)
	if err := p.Resolve(t.Context(), f.URL, "d2"); err != nil {
		t.Fatal(err)
	}
	if is, _ := p.Key(f.URL, "r1", "RS256"); is != was {
		t.Error("a key that stays has become another value: its tokens would be verified again for nothing")
	}
	if _, ok := p.Key(f.URL, "e1", "ES256"); !ok {
		t.Error("a key that has just left is refused at once")
	}
	c.forth(9 * time.Minute)
	if _, ok := p.Key(f.URL, "e1", "ES256"); !ok {
		t.Error("refused within the overlap")
	}
	c.forth(2 * time.Minute)
	if _, ok := p.Key(f.URL, "e1", "ES256"); ok {
		t.Error("accepted after the overlap")
	}
	// The same kid with another key is another key at once.
	fresh := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	f.set(func() { f.keys = []object{rsaJWK(&rsaKey.PublicKey, "r1"), ecJWK(&fresh.PublicKey, "d2")} })
	c.forth(time.Minute)
	_ = p.Resolve(t.Context(), f.URL, "x")
	if _, ok := p.Key(f.URL, "d2", "EdDSA"); ok {
		t.Error("a key whose kid was given to another is still accepted")
	}
}

func TestLastGoodSetIsKept(t *testing.T) {
	for name, spoil := range map[string]func(*fake){
		"500":                 func(f *fake) { f.status = 500 },
		"a redirect":          func(f *fake) { f.status = 302; f.header.Set("Location", "http://evil.example.test/") },
		"no JSON":             func(f *fake) { f.raw = "<html>" },
		"an empty set":        func(f *fake) { f.keys = []object{} },
		"only weak keys":      func(f *fake) { f.keys = []object{rsaJWK(&weakKey.PublicKey, "r1")} },
		"keys twice":          func(f *fake) { f.raw = `{"keys":[],"keys":[]}` },
		"more keys than fits": func(f *fake) { f.keys = make([]object, 65) },
		"a huge document":     func(f *fake) { f.raw = strings.Repeat(" ", 300<<10) + `{"keys":[]}` },
	} {
		f := newFake(t)
		c := newClock()
		p := &identity.Providers{Issuers: []string{f.URL}, Now: c.now}
		if err := p.Resolve(t.Context(), f.URL, "r1"); err != nil {
			t.Fatal(err)
		}
		f.set(func() { spoil(f) })
		c.forth(time.Minute)
		if err := p.Resolve(t.Context(), f.URL, "other"); sallyport.KindOf(err) != sallyport.Unavailable {
			t.Errorf("%s: got %v, want unavailable", name, err)
		}
		if _, ok := p.Key(f.URL, "r1", "RS256"); !ok {
			t.Errorf("%s: the last good keys are gone", name)
		}
	}
}

func TestCacheHeadersWithinBounds(t *testing.T) {
	for _, h := range []struct {
		name   string
		header http.Header
		want   time.Duration
	}{
		{"none", http.Header{}, 15 * time.Minute},
		{"max-age", http.Header{"Cache-Control": {"public, max-age=3600"}}, time.Hour},
		{"max-age with Age", http.Header{"Cache-Control": {"max-age=3600"}, "Age": {"1800"}}, 30 * time.Minute},
		{"a year", http.Header{"Cache-Control": {"max-age=31536000"}}, 6 * time.Hour},
		{"a second", http.Header{"Cache-Control": {"max-age=1"}}, time.Minute},
		{"no-store", http.Header{"Cache-Control": {"no-store"}}, time.Minute},
		{"nonsense", http.Header{"Cache-Control": {"max-age=-5, , =,max-age=x"}}, 15 * time.Minute},
		{"Expires", http.Header{"Expires": {time.Unix(1_800_000_000, 0).Add(2 * time.Hour).UTC().Format(http.TimeFormat)}}, 2 * time.Hour},
	} {
		f := newFake(t)
		c := newClock()
		f.set(func() { f.header = h.header })
		p := &identity.Providers{Issuers: []string{f.URL}, Now: c.now}
		if err := p.Resolve(t.Context(), f.URL, "r1"); err != nil {
			t.Fatal(err)
		}
		// A tenth may be taken off, so that several nodes spread out.
		if got := p.Status()[0].Next.Sub(c.now()); got > h.want || got < h.want*9/10-time.Second {
			t.Errorf("%s: fetched again in %v, want about %v", h.name, got, h.want)
		}
	}
}

func TestResolveGivesUpWithItsCaller(t *testing.T) {
	f := newFake(t)
	f.set(func() { f.delay = 300 * time.Millisecond })
	p := &identity.Providers{Issuers: []string{f.URL}}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := p.Resolve(ctx, f.URL, "r1"); sallyport.KindOf(err) != sallyport.Unavailable {
		t.Errorf("got %v, want unavailable", err)
	}
	// The fetch itself went on for everybody else.
	if err := p.Resolve(t.Context(), f.URL, "r1"); err != nil {
		t.Errorf("the next caller: %v", err)
	}
	if n := f.asked.Load(); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
}

func TestConfigure(t *testing.T) {
	a, b := newFake(t), newFake(t)
	p := &identity.Providers{Issuers: []string{a.URL}}
	run(t, p)
	if err := p.Resolve(t.Context(), a.URL, "r1"); err != nil {
		t.Fatal(err)
	}
	if err := p.Configure([]string{"http://idp.example.test"}); sallyport.KindOf(err) != sallyport.Invalid {
		t.Errorf("got %v, want invalid", err)
	}
	if _, ok := p.Key(a.URL, "r1", "RS256"); !ok {
		t.Error("a refused change has changed something")
	}
	if err := p.Configure([]string{b.URL}); err != nil {
		t.Fatal(err)
	}
	if err := p.Resolve(t.Context(), b.URL, "r1"); err != nil {
		t.Error(err)
	}
	if _, ok := p.Key(a.URL, "r1", "RS256"); ok {
		t.Error("an issuer that is no longer configured still has keys")
	}
}

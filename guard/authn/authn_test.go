package authn_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"sallyport.dev/guard/authn"
	"sallyport.dev/policy"
	"sallyport.dev/test/integration/forged"
)

const (
	issuer   = "https://idp.example.test"
	other    = "https://other.example.test"
	audience = "payments"
)

var now = time.Unix(1_800_000_000, 0)

// ring holds the keys of the issuers of this test, made at run time.
type ring struct {
	rsa, stranger, weak *rsa.PrivateKey
	p256, p384, p521    *ecdsa.PrivateKey
	ed                  ed25519.PrivateKey
	rotated             bool
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var keys = func() *ring {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return &ring{
		rsa: must(rsa.GenerateKey(rand.Reader, 2048)), stranger: must(rsa.GenerateKey(rand.Reader, 2048)),
		weak: must(rsa.GenerateKey(rand.Reader, 1024)),
		p256: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), p384: must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		p521: must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)), ed: ed,
	}
}()

// Key hands out every key for every algorithm on purpose: the verifier itself
// must notice that key and algorithm do not fit.
func (r *ring) Key(iss, kid, alg string) (any, bool) {
	if iss == other && kid == "other" {
		return &r.stranger.PublicKey, true
	}
	if iss != issuer || r.rotated {
		return nil, false
	}
	switch kid {
	case "rsa":
		return &r.rsa.PublicKey, true
	case "weak":
		return &r.weak.PublicKey, true
	case "p256":
		return &r.p256.PublicKey, true
	case "p384":
		return &r.p384.PublicKey, true
	case "p521":
		return &r.p521.PublicKey, true
	case "ed":
		return r.ed.Public().(ed25519.PublicKey), true
	}
	return nil, false
}

type object = map[string]any

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func text(v any) []byte {
	switch v := v.(type) {
	case string:
		return []byte(v)
	case []byte:
		return v
	}
	return must(json.Marshal(v))
}

// sign makes a compact JWS; header and claims are taken as they are when they are text.
func sign(header, claims any, by func(signed []byte) []byte) string {
	signed := b64(text(header)) + "." + b64(text(claims))
	return signed + "." + b64(by([]byte(signed)))
}

func rs(k *rsa.PrivateKey, h crypto.Hash) func([]byte) []byte {
	return func(b []byte) []byte {
		w := h.New()
		w.Write(b)
		return must(rsa.SignPKCS1v15(rand.Reader, k, h, w.Sum(nil)))
	}
}

func ps(k *rsa.PrivateKey, salt int) func([]byte) []byte {
	return func(b []byte) []byte {
		sum := sha256.Sum256(b)
		return must(rsa.SignPSS(rand.Reader, k, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: salt}))
	}
}

func es(k *ecdsa.PrivateKey, h crypto.Hash) func([]byte) []byte {
	return func(b []byte) []byte {
		w := h.New()
		w.Write(b)
		r, s, err := ecdsa.Sign(rand.Reader, k, w.Sum(nil))
		if err != nil {
			panic(err)
		}
		half := (k.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, half)), s.FillBytes(make([]byte, half))...)
	}
}

func ed(k ed25519.PrivateKey) func([]byte) []byte {
	return func(b []byte) []byte { return ed25519.Sign(k, b) }
}

func hs(secret []byte) func([]byte) []byte {
	return func(b []byte) []byte {
		w := hmac.New(sha256.New, secret)
		w.Write(b)
		return w.Sum(nil)
	}
}

func raw(sig []byte) func([]byte) []byte { return func([]byte) []byte { return sig } }

func good() object {
	return object{"iss": issuer, "sub": "U-8412", "aud": audience, "exp": now.Unix() + 300, "iat": now.Unix() - 10, "scope": "orders:read orders:write"}
}

func with(o object, pairs ...any) object {
	o = maps.Clone(o)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == nil {
			delete(o, pairs[i].(string))
			continue
		}
		o[pairs[i].(string)] = pairs[i+1]
	}
	return o
}

func header(pairs ...any) object {
	return with(object{"alg": "RS256", "typ": "JWT", "kid": "rsa"}, pairs...)
}

func verifier(t testing.TB, cache *authn.Cache) *authn.Verifier {
	t.Helper()
	v, err := authn.New(policy.Auth{OIDC: []policy.OIDC{{Issuer: issuer, Audience: audience}, {Issuer: other, Audience: audience}}}, keys, cache, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// present is what the guard does with a bearer token.
func present(v *authn.Verifier, token string, at time.Time) (*authn.Identity, string) {
	if id, rule, found := v.Cached(token, at); found {
		return id, rule
	}
	var s authn.Scratch
	if rule := v.Open(token, &s, at); rule != "" {
		return nil, rule
	}
	return v.Prove(&s, at)
}

// TestForgedTokens tries every shape of token that must not be accepted.
func TestForgedTokens(t *testing.T) {
	cases := forgery.Tokens(now)
	cache := authn.NewCache(64)
	v := forgeryVerifier(t, cache)
	accepted := 0
	for _, f := range cases {
		id, rule := present(v, f.Token, now)
		if id != nil || rule == "" {
			accepted++
			t.Errorf("%s: accepted as %v", f.Name, id)
		} else if rule != f.Want {
			t.Errorf("%s: refused by %s, want %s", f.Name, rule, f.Want)
		}
		if authn.Describe(rule) == "" {
			t.Errorf("%s: rule %s has no words for people", f.Name, rule)
		}
	}
	if cache.Len() != 0 {
		t.Errorf("%d forged tokens are in the cache", cache.Len())
	}
	t.Logf("%d of %d forged tokens accepted", accepted, len(cases))
}

// forgery are the keys of the list of forged tokens.
var forgery = forged.NewKeys()

func forgeryVerifier(t testing.TB, cache *authn.Cache) *authn.Verifier {
	t.Helper()
	return must(authn.New(policy.Auth{OIDC: []policy.OIDC{{Issuer: forged.Issuer, Audience: forged.Audience}, {Issuer: forged.Other, Audience: forged.Audience}}}, forgery, cache, nil))
}

// TestGenuineTokens tries those that look like them.
func TestGenuineTokens(t *testing.T) {
	for _, g := range forgery.Genuine(now) {
		v := forgeryVerifier(t, nil)
		for _, way := range []string{"verified", "cached"} {
			id, rule := present(v, g.Token, now)
			if rule != "" {
				t.Errorf("%s, %s: refused by %s", g.Name, way, rule)
				break
			}
			if id.Principal.Subject != g.Want || id.Principal.Issuer != issuer || !id.Has([]string{"orders:read", "orders:write"}) || id.Has([]string{"admin"}) {
				t.Errorf("%s, %s: got %+v", g.Name, way, id)
			}
		}
	}
}

// TestJudge lets another implementation sign: what it makes must be accepted.
func TestJudge(t *testing.T) {
	v := verifier(t, nil)
	for alg, key := range map[string]struct {
		kid string
		key any
	}{
		"RS256": {"rsa", keys.rsa}, "RS384": {"rsa", keys.rsa}, "RS512": {"rsa", keys.rsa},
		"PS256": {"rsa", keys.rsa}, "PS384": {"rsa", keys.rsa}, "PS512": {"rsa", keys.rsa},
		"ES256": {"p256", keys.p256}, "ES384": {"p384", keys.p384}, "ES512": {"p521", keys.p521}, "EdDSA": {"ed", keys.ed},
	} {
		k := must(jwk.Import(key.key))
		if err := k.Set(jwk.KeyIDKey, key.kid); err != nil {
			t.Fatal(err)
		}
		a, ok := jwa.LookupSignatureAlgorithm(alg)
		if !ok {
			t.Fatalf("the judge does not know %s", alg)
		}
		token := must(jws.Sign(text(good()), jws.WithKey(a, k)))
		if _, rule := present(v, string(token), now); rule != "" {
			t.Errorf("%s by the judge: refused by %s", alg, rule)
		}
	}
}

func TestCacheForgets(t *testing.T) {
	cache := authn.NewCache(16)
	v := verifier(t, cache)
	token := sign(header(), good(), rs(keys.rsa, crypto.SHA256))
	if _, rule := present(v, token, now); rule != "" {
		t.Fatal(rule)
	}
	if _, _, found := v.Cached(token, now); !found {
		t.Fatal("a verified token is not in the cache")
	}
	if _, rule, _ := v.Cached(token, now.Add(361*time.Second)); rule != authn.RuleExpired {
		t.Errorf("after its end: %q, want %s", rule, authn.RuleExpired)
	}
	if cache.Len() != 0 {
		t.Error("an expired token keeps its place")
	}
	present(v, token, now)
	keys.rotated = true
	defer func() { keys.rotated = false }()
	if id, _, found := v.Cached(token, now); found || id != nil {
		t.Error("the token of a key that was rotated away is still found")
	}
	if cache.Len() != 0 {
		t.Error("the token of a key that was rotated away keeps its place")
	}
	if _, rule := present(v, token, now); rule != authn.RuleKey {
		t.Errorf("after rotation: %q, want %s", rule, authn.RuleKey)
	}
}

func TestCacheSharedByAPIsAsksEachAPIsDemands(t *testing.T) {
	cache := authn.NewCache(16)
	v := verifier(t, cache)
	token := sign(header(), good(), rs(keys.rsa, crypto.SHA256))
	present(v, token, now)
	for name, o := range map[string]policy.OIDC{
		authn.RuleAudience:  {Issuer: issuer, Audience: "invoices"},
		authn.RuleAlgorithm: {Issuer: issuer, Audience: audience, Algorithms: []string{"ES256"}},
		authn.RuleType:      {Issuer: issuer, Audience: audience, Types: []string{"at+jwt"}},
		authn.RuleIssuer:    {Issuer: other, Audience: audience},
	} {
		w := must(authn.New(policy.Auth{OIDC: []policy.OIDC{o}}, keys, cache, nil))
		if id, rule := present(w, token, now); id != nil || rule != name {
			t.Errorf("%+v: got %v %q, want %s", o, id, rule, name)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	cache := authn.NewCache(32)
	v := verifier(t, cache)
	for i := range 300 {
		token := sign(object{"alg": "EdDSA", "kid": "ed"}, with(good(), "sub", fmt.Sprint(i)), ed(keys.ed))
		for range 2 {
			if id, rule := present(v, token, now); rule != "" || id.Principal.Subject != fmt.Sprint(i) {
				t.Fatalf("token %d: got %v %q", i, id, rule)
			}
		}
	}
	if cache.Len() > 32 {
		t.Errorf("holds %d tokens, want at most 32", cache.Len())
	}
}

func TestAPIKeys(t *testing.T) {
	const pepper = "a pepper of this test"
	plain, keyed := sha256.Sum256([]byte("key-one")), hs([]byte(pepper))([]byte("key-two"))
	gone := sha256.Sum256([]byte("key-three"))
	v, err := authn.New(policy.Auth{Pepper: pepper, Keys: []policy.Key{
		{ID: "one", Hash: "sha256:" + hex.EncodeToString(plain[:]), Subject: "shop", Scopes: []string{"orders:read"}},
		{ID: "two", Hash: "hmac-sha256:" + hex.EncodeToString(keyed)},
		{ID: "three", Hash: "sha256:" + hex.EncodeToString(gone[:]), Expires: now},
	}}, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ key, subject, rule string }{
		{"key-one", "shop", ""},
		{"key-two", "two", ""},
		{"key-three", "", authn.RuleKeyExpired},
		{"key-four", "", authn.RuleKeyUnknown},
		{"", "", authn.RuleKeyUnknown},
		{"KEY-ONE", "", authn.RuleKeyUnknown},
		{"key-one ", "", authn.RuleKeyUnknown},
		{hex.EncodeToString(plain[:]), "", authn.RuleKeyUnknown},
		{"sha256:" + hex.EncodeToString(plain[:]), "", authn.RuleKeyUnknown},
		{strings.Repeat("k", 257), "", authn.RuleTooLong},
		{strings.Repeat("k", 256), "", authn.RuleKeyUnknown},
	} {
		id, rule := v.APIKey(c.key, now)
		if rule != c.rule || (id != nil) != (c.rule == "") || id != nil && id.Principal.Subject != c.subject {
			t.Errorf("key %q: got %v %q, want %q %q", c.key, id, rule, c.subject, c.rule)
		}
	}
}

func TestBearer(t *testing.T) {
	for header, want := range map[string]string{
		"Bearer abc": "abc", "bearer abc": "abc", "BEARER  abc": "abc", "Bearer a b": "a b",
		"": "", "Bearer": "", "Bearer ": "", "Bearerabc": "", "Basic abc": "", " Bearer abc": "", "DPoP abc": "", "Bearer\tabc": "",
	} {
		if got, ok := authn.Bearer(header); ok != (want != "") || ok && got != want {
			t.Errorf("%q: got %q %v, want %q", header, got, ok, want)
		}
	}
}

func FuzzToken(f *testing.F) {
	v := verifier(f, authn.NewCache(16))
	f.Add(sign(header(), good(), rs(keys.rsa, crypto.SHA256)))
	f.Add(sign(object{"alg": "none"}, good(), raw([]byte{1})))
	f.Add(sign(`{"alg":"RS256","kid":"rsa","alg":"none"}`, `{"iss":1}`, raw([]byte{1})))
	f.Add("..")
	f.Add("a.b.c")
	var s authn.Scratch
	f.Fuzz(func(t *testing.T, token string) {
		if v.Open(token, &s, now) == "" {
			if _, rule := v.Prove(&s, now); rule == "" && strings.Count(token, ".") != 2 {
				t.Errorf("accepted %q", token)
			}
		}
	})
}

// FuzzClaims signs whatever claims come, so that reading is what is tested:
// what is accepted must also be accepted by encoding/json, with the same subject.
func FuzzClaims(f *testing.F) {
	v := verifier(f, authn.NewCache(16))
	f.Add(string(text(good())))
	f.Add(`{"iss":"https://idp.example.test","aud":["payments"],"exp":1800000300.5,"sub":"\ud83d\ude00"}`)
	f.Add(`{"iss":"https://idp.example.test","aud":"payments","exp":1e10,"sub":"a","sub":"b"}`)
	f.Add(`{"iss":{}}`)
	f.Fuzz(func(t *testing.T, claims string) {
		id, rule := present(v, sign(object{"alg": "EdDSA", "kid": "ed"}, claims, ed(keys.ed)), now)
		if rule != "" {
			return
		}
		var judge map[string]any
		if err := json.Unmarshal([]byte(claims), &judge); err != nil {
			t.Fatalf("accepted what encoding/json refuses: %v: %q", err, claims)
		}
		if sub, _ := judge["sub"].(string); sub != "" && sub != id.Principal.Subject {
			t.Fatalf("subject %q, encoding/json reads %q", id.Principal.Subject, sub)
		}
	})
}

func BenchmarkCached(b *testing.B) {
	v := verifier(b, nil)
	token := sign(header(), good(), rs(keys.rsa, crypto.SHA256))
	present(v, token, now)
	b.ReportAllocs()
	for b.Loop() {
		v.Cached(token, now)
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, c := range []struct{ name, token string }{
		{"RS256", sign(header(), good(), rs(keys.rsa, crypto.SHA256))},
		{"ES256", sign(object{"alg": "ES256", "kid": "p256"}, good(), es(keys.p256, crypto.SHA256))},
		{"EdDSA", sign(object{"alg": "EdDSA", "kid": "ed"}, good(), ed(keys.ed))},
		{"rejected before the key", sign(header("kid", "rsa"), with(good(), "exp", 1), rs(keys.rsa, crypto.SHA256))},
	} {
		b.Run(c.name, func(b *testing.B) {
			v := verifier(b, nil)
			var s authn.Scratch
			b.ReportAllocs()
			for b.Loop() {
				if v.Open(c.token, &s, now) == "" {
					v.Prove(&s, now)
				}
			}
		})
	}
}

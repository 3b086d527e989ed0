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
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"sallyport.dev/guard/authn"
	"sallyport.dev/policy"
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

func TestForgedTokens(t *testing.T) {
	valid := sign(header(), good(), rs(keys.rsa, crypto.SHA256))
	parts := strings.Split(valid, ".")
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(&keys.rsa.PublicKey))})
	signRS := rs(keys.rsa, crypto.SHA256)
	esHeader := object{"alg": "ES256", "kid": "p256"}
	claim := func(pairs ...any) string { return sign(header(), with(good(), pairs...), signRS) }
	head := func(pairs ...any) string { return sign(header(pairs...), good(), signRS) }
	der := func(b []byte) []byte {
		sig := es(keys.p256, crypto.SHA256)(b)
		return must(asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])}))
	}
	payload := func(s string) string { return sign(header(), s, signRS) }
	base := string(text(good()))
	base = base[:len(base)-1]
	flipped := []byte(parts[2])
	if flipped[20]++; !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", rune(flipped[20])) {
		flipped[20] = 'a' // neither the character before nor any beside the alphabet
	}
	// The last character of a 256-byte signature carries two bits only.
	trailing := []byte(parts[2])
	trailing[len(trailing)-1]++
	order := elliptic.P256().Params().N

	forged := []struct{ name, token, rule string }{
		{"alg none, empty signature", b64(text(header("alg", "none"))) + "." + parts[1] + ".", authn.RuleMalformed},
		{"alg none, a signature", sign(header("alg", "none"), good(), raw([]byte{1})), authn.RuleAlgorithm},
		{"alg None", sign(header("alg", "None"), good(), raw([]byte{1})), authn.RuleAlgorithm},
		{"alg nOnE", sign(header("alg", "nOnE"), good(), raw([]byte{1})), authn.RuleAlgorithm},
		{"alg missing", sign(header("alg", nil), good(), signRS), authn.RuleAlgorithm},
		{"alg a number", sign(header("alg", 256), good(), signRS), authn.RuleMalformed},
		{"alg null", sign(`{"alg":null,"kid":"rsa"}`, good(), signRS), authn.RuleMalformed},
		{"alg in lower case", sign(header("alg", "rs256"), good(), signRS), authn.RuleAlgorithm},
		{"HS256 by the public key as PEM", sign(header("alg", "HS256"), good(), hs(public)), authn.RuleAlgorithm},
		{"HS256 by the public key's modulus", sign(header("alg", "HS256"), good(), hs(keys.rsa.N.Bytes())), authn.RuleAlgorithm},
		{"HS256 by the empty secret", sign(header("alg", "HS256"), good(), hs(nil)), authn.RuleAlgorithm},
		{"RS1", sign(header("alg", "RS1"), good(), signRS), authn.RuleAlgorithm},
		{"ES256K", sign(header("alg", "ES256K", "kid", "p256"), good(), es(keys.p256, crypto.SHA256)), authn.RuleAlgorithm},
		{"signed by a stranger", sign(header(), good(), rs(keys.stranger, crypto.SHA256)), authn.RuleSignature},
		{"signed by another issuer's key", sign(header("kid", "other"), good(), rs(keys.stranger, crypto.SHA256)), authn.RuleKey},
		{"another issuer's token with this kid", sign(header(), with(good(), "iss", other), signRS), authn.RuleKey},
		{"claims changed", parts[0] + "." + b64(text(with(good(), "sub", "admin"))) + "." + parts[2], authn.RuleSignature},
		{"header changed", b64(text(header("typ", "at+jwt"))) + "." + parts[1] + "." + parts[2], authn.RuleSignature},
		{"signature bit flipped", parts[0] + "." + parts[1] + "." + string(flipped), authn.RuleSignature},
		{"signature cut", parts[0] + "." + parts[1] + "." + parts[2][:340], authn.RuleSignature},
		{"signature prolonged", valid + "AAAA", authn.RuleSignature},
		{"signature missing", parts[0] + "." + parts[1] + ".", authn.RuleMalformed},
		{"signature with loose trailing bits", parts[0] + "." + parts[1] + "." + string(trailing), authn.RuleMalformed},
		{"RS256 called PS256", sign(header("alg", "PS256"), good(), signRS), authn.RuleSignature},
		{"PS256 called RS256", sign(header(), good(), ps(keys.rsa, 32)), authn.RuleSignature},
		{"PS256 with a short salt", sign(header("alg", "PS256"), good(), ps(keys.rsa, 8)), authn.RuleSignature},
		{"RS256 called RS512", sign(header("alg", "RS512"), good(), signRS), authn.RuleSignature},
		{"RSA of 1024 bits", sign(header("kid", "weak"), good(), rs(keys.weak, crypto.SHA256)), authn.RuleSignature},
		{"ES256 of zeros", sign(esHeader, good(), raw(make([]byte, 64))), authn.RuleSignature},
		{"ES256 of the group's order", sign(esHeader, good(), raw(append(order.Bytes(), order.Bytes()...))), authn.RuleSignature},
		{"ES256 as DER", sign(esHeader, good(), der), authn.RuleSignature},
		{"ES256 by a P-384 key", sign(object{"alg": "ES256", "kid": "p384"}, good(), es(keys.p384, crypto.SHA256)), authn.RuleSignature},
		{"ES384 by a P-256 key", sign(object{"alg": "ES384", "kid": "p256"}, good(), es(keys.p256, crypto.SHA384)), authn.RuleSignature},
		{"ES256 with an RSA kid", sign(object{"alg": "ES256", "kid": "rsa"}, good(), es(keys.p256, crypto.SHA256)), authn.RuleSignature},
		{"RS256 with an EC kid", sign(header("kid", "p256"), good(), signRS), authn.RuleSignature},
		{"EdDSA with an RSA kid", sign(object{"alg": "EdDSA", "kid": "rsa"}, good(), ed(keys.ed)), authn.RuleSignature},
		{"EdDSA of zeros", sign(object{"alg": "EdDSA", "kid": "ed"}, good(), raw(make([]byte, 64))), authn.RuleSignature},
		{"key embedded", head("jwk", object{"kty": "RSA", "n": b64(keys.rsa.N.Bytes()), "e": "AQAB"}), authn.RuleHeader},
		{"key linked by jku", head("jku", "https://evil.example.test/keys"), authn.RuleHeader},
		{"key linked by x5u", head("x5u", "https://evil.example.test/cert"), authn.RuleHeader},
		{"chain embedded", head("x5c", []string{"MIIB"}), authn.RuleHeader},
		{"unknown critical extension", head("crit", []string{"exp2"}, "exp2", 1), authn.RuleHeader},
		{"empty crit", head("crit", []string{}), authn.RuleHeader},
		{"b64 false", head("b64", false), authn.RuleHeader},
		{"compressed", head("zip", "DEF"), authn.RuleHeader},
		{"nested", head("cty", "JWT"), authn.RuleHeader},
		{"kid as a path", head("kid", "../../../../dev/null"), authn.RuleKey},
		{"kid as SQL", head("kid", "x' UNION SELECT 'k'--"), authn.RuleKey},
		{"kid missing", head("kid", nil), authn.RuleKey},
		{"kid a number", head("kid", 1), authn.RuleMalformed},
		{"kid of a kilobyte", head("kid", strings.Repeat("k", 1024)), authn.RuleHeader},
		{"typ of a proof of possession", head("typ", "dpop+jwt"), authn.RuleType},
		{"typ of a logout token", head("typ", "logout+jwt"), authn.RuleType},
		{"issuer unknown", claim("iss", "https://evil.example.test"), authn.RuleIssuer},
		{"issuer with a slash more", claim("iss", issuer+"/"), authn.RuleIssuer},
		{"issuer in capitals", claim("iss", strings.ToUpper(issuer)), authn.RuleIssuer},
		{"issuer missing", claim("iss", nil), authn.RuleIssuer},
		{"issuer a list", claim("iss", []string{issuer}), authn.RuleClaims},
		{"audience another", claim("aud", "invoices"), authn.RuleAudience},
		{"audience a prefix", claim("aud", audience+"-test"), authn.RuleAudience},
		{"audience missing", claim("aud", nil), authn.RuleAudience},
		{"audience an empty list", claim("aud", []string{}), authn.RuleAudience},
		{"audience a list of others", claim("aud", []string{"a", "b"}), authn.RuleAudience},
		{"audience an object", claim("aud", object{audience: true}), authn.RuleClaims},
		{"audience in a nested list", claim("aud", []any{[]string{audience}}), authn.RuleClaims},
		{"expired", claim("exp", now.Unix()-61), authn.RuleExpired},
		{"exp missing", claim("exp", nil), authn.RuleClaims},
		{"exp a string", claim("exp", fmt.Sprint(now.Unix()+300)), authn.RuleClaims},
		{"exp beyond numbers", payload(strings.Replace(base, fmt.Sprint(now.Unix()+300), "1e999", 1) + "}"), authn.RuleClaims},
		{"exp negative", claim("exp", -1), authn.RuleClaims},
		{"not valid before tomorrow", claim("nbf", now.Unix()+86400), authn.RuleNotYet},
		{"issued tomorrow", claim("iat", now.Unix()+86400), authn.RuleNotYet},
		{"subject missing", claim("sub", nil), authn.RuleClaims},
		{"subject a number", claim("sub", 7), authn.RuleClaims},
		{"scope and scp", claim("scp", []string{"admin"}), authn.RuleClaims},
		{"scope a number", claim("scope", 1), authn.RuleClaims},
		{"bound to a key of its holder", claim("cnf", object{"jkt": "x"}), authn.RuleBound},
		{"alg twice", sign(`{"alg":"none","alg":"RS256","kid":"rsa"}`, good(), signRS), authn.RuleMalformed},
		{"iss twice", payload(base + `,"iss":"` + issuer + `"}`), authn.RuleMalformed},
		{"iss twice, once escaped", payload(base + `,"is\u0073":"` + other + `"}`), authn.RuleMalformed},
		{"a nested member twice", payload(base + `,"x":{"a":1,"a":2}}`), authn.RuleMalformed},
		{"claims a list", payload(`["iss"]`), authn.RuleMalformed},
		{"claims null", payload(`null`), authn.RuleMalformed},
		{"claims followed by garbage", payload(base + `}{}`), authn.RuleMalformed},
		{"claims after a byte order mark", payload("\ufeff" + base + `}`), authn.RuleMalformed},
		{"claims not UTF-8", payload(base + ",\"x\":\"\xff\"}"), authn.RuleMalformed},
		{"claims with a comment", payload(base + `,/**/"x":1}`), authn.RuleMalformed},
		{"claims nested without end", payload(base + `,"x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`), authn.RuleMalformed},
		{"header a list", sign(`[]`, good(), signRS), authn.RuleMalformed},
		{"two parts", parts[0] + "." + parts[1], authn.RuleMalformed},
		{"four parts", valid + "." + parts[2], authn.RuleMalformed},
		{"five parts, as encrypted", valid + "." + parts[2] + "." + parts[2], authn.RuleMalformed},
		{"no header", "." + parts[1] + "." + parts[2], authn.RuleMalformed},
		{"no claims", parts[0] + ".." + parts[2], authn.RuleMalformed},
		{"dots alone", "..", authn.RuleMalformed},
		{"empty", "", authn.RuleMalformed},
		{"padded", parts[0] + "==." + parts[1] + "." + parts[2], authn.RuleMalformed},
		{"with a space", parts[0] + ". " + parts[1] + "." + parts[2], authn.RuleMalformed},
		{"with a line end", valid[:40] + "\n" + valid[40:], authn.RuleMalformed},
		{"with a line end at the end", valid + "\r\n", authn.RuleMalformed},
		{"in the other base64", parts[0] + "." + parts[1] + "." + strings.NewReplacer("-", "+", "_", "/").Replace(parts[2]) + "+/", authn.RuleMalformed},
		{"JSON serialisation", `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`, authn.RuleMalformed},
		{"longer than the bound", claim("pad", strings.Repeat("x", 8000)), authn.RuleTooLong},
	}
	cache := authn.NewCache(64)
	v := verifier(t, cache)
	accepted := 0
	for _, f := range forged {
		id, rule := present(v, f.token, now)
		if id != nil || rule == "" {
			accepted++
			t.Errorf("%s: accepted as %v", f.name, id)
		} else if rule != f.rule {
			t.Errorf("%s: refused by %s, want %s", f.name, rule, f.rule)
		}
		if authn.Describe(rule) == "" {
			t.Errorf("%s: rule %s has no words for people", f.name, rule)
		}
	}
	if cache.Len() != 0 {
		t.Errorf("%d forged tokens are in the cache", cache.Len())
	}
	t.Logf("%d of %d forged tokens accepted", accepted, len(forged))
}

func TestGenuineTokens(t *testing.T) {
	signRS := rs(keys.rsa, crypto.SHA256)
	for _, g := range []struct{ name, token, subject string }{
		{"RS256", sign(header(), good(), signRS), "U-8412"},
		{"RS512", sign(header("alg", "RS512"), good(), rs(keys.rsa, crypto.SHA512)), "U-8412"},
		{"PS256", sign(header("alg", "PS256"), good(), ps(keys.rsa, 32)), "U-8412"},
		{"ES256", sign(object{"alg": "ES256", "kid": "p256"}, good(), es(keys.p256, crypto.SHA256)), "U-8412"},
		{"ES384", sign(object{"alg": "ES384", "kid": "p384"}, good(), es(keys.p384, crypto.SHA384)), "U-8412"},
		{"ES512", sign(object{"alg": "ES512", "kid": "p521"}, good(), es(keys.p521, crypto.SHA512)), "U-8412"},
		{"EdDSA", sign(object{"alg": "EdDSA", "kid": "ed"}, good(), ed(keys.ed)), "U-8412"},
		{"Ed25519", sign(object{"alg": "Ed25519", "kid": "ed"}, good(), ed(keys.ed)), "U-8412"},
		{"typ of an access token", sign(header("typ", "at+jwt"), good(), signRS), "U-8412"},
		{"typ in capitals", sign(header("typ", "AT+JWT"), good(), signRS), "U-8412"},
		{"x5t beside kid", sign(header("x5t", "abc"), good(), signRS), "U-8412"},
		{"audience in a list", sign(header(), with(good(), "aud", []string{"a", audience}), signRS), "U-8412"},
		{"just expired, within the skew", sign(header(), with(good(), "exp", now.Unix()-59), signRS), "U-8412"},
		{"exp with a fraction", sign(header(), with(good(), "exp", float64(now.Unix())+0.5), signRS), "U-8412"},
		{"a client's own token", sign(header(), with(good(), "sub", nil, "client_id", "batch"), signRS), "batch"},
		{"azp only", sign(header(), with(good(), "sub", nil, "azp", "batch"), signRS), "batch"},
		{"unknown claims", sign(header(), with(good(), "roles", []any{object{"a": []int{1}}}), signRS), "U-8412"},
		{"a subject beyond ASCII", sign(header(), with(good(), "sub", "Zoë ☂"), signRS), "Zoë ☂"},
	} {
		v := verifier(t, nil)
		for _, way := range []string{"verified", "cached"} {
			id, rule := present(v, g.token, now)
			if rule != "" {
				t.Errorf("%s, %s: refused by %s", g.name, way, rule)
				break
			}
			if id.Principal.Subject != g.subject || id.Principal.Issuer != issuer || !id.Has([]string{"orders:read", "orders:write"}) || id.Has([]string{"admin"}) {
				t.Errorf("%s, %s: got %+v", g.name, way, id)
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

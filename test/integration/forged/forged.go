// Package forged holds tokens that must never be accepted, in every shape that we
// know of, and genuine ones that look like them. It signs them with keys made at
// run time. Both the verifier alone and the whole gateway are tried with this
// one list. It is of no use but in tests.
package forged

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
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"time"

	"sallyport.dev/guard/authn"
)

// What genuine tokens say, and the other issuer that is configured beside theirs.
const (
	Issuer   = "https://idp.example.test"
	Other    = "https://other.example.test"
	Audience = "payments"
)

const (
	issuer   = Issuer
	other    = Other
	audience = Audience
)

// A Case is one token: forged, with the rule that it breaks, or genuine, with its subject.
type Case struct{ Name, Token, Want string }

// Keys are those of the issuers.
type Keys struct {
	rsa, stranger, weak *rsa.PrivateKey
	p256, p384, p521    *ecdsa.PrivateKey
	ed                  ed25519.PrivateKey
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// NewKeys makes them.
func NewKeys() *Keys {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return &Keys{
		rsa: must(rsa.GenerateKey(rand.Reader, 2048)), stranger: must(rsa.GenerateKey(rand.Reader, 2048)),
		weak: must(rsa.GenerateKey(rand.Reader, 1024)),
		p256: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), p384: must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		p521: must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)), ed: ed,
	}
}

// Key hands out every key for every algorithm on purpose: the verifier itself
// must notice that key and algorithm do not fit.
func (r *Keys) Key(iss, kid, alg string) (any, bool) {
	if iss == other && kid == "other" {
		return &r.stranger.PublicKey, true
	}
	if iss != issuer {
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

// HasKeys says that every issuer's keys have been fetched: none that is missing
// is worth asking for.
func (r *Keys) HasKeys(string) bool { return true }

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

func claims(now time.Time) object {
	return object{"iss": issuer, "sub": "U-8412", "aud": audience, "exp": now.Unix() + 300, "iat": now.Unix() - 10, "scope": "orders:read orders:write"}
}

// Tokens are forged in every shape; Want is the rule that each breaks.
func (keys *Keys) Tokens(now time.Time) []Case {
	good := func() object { return claims(now) }
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

	return []Case{
		{"alg none, empty signature", b64(text(header("alg", "none"))) + "." + parts[1] + ".", authn.RuleMalformed},
		{"alg none, a signature", sign(header("alg", "none"), good(), raw([]byte{1})), authn.RuleAlgorithm},
		{"alg None", sign(header("alg", "None"), good(), raw([]byte{1})), authn.RuleAlgorithm},
		{"alg NONE", sign(header("alg", "NONE"), good(), raw([]byte{1})), authn.RuleAlgorithm},
		{"alg none with a space", sign(header("alg", "none "), good(), raw([]byte{1})), authn.RuleAlgorithm},
		{"alg none with a null byte", sign(header("alg", "none\x00"), good(), raw([]byte{1})), authn.RuleAlgorithm},
		{"HS384 by the public key as PEM", sign(header("alg", "HS384"), good(), hs(public)), authn.RuleAlgorithm},
		{"alg of encryption", sign(header("alg", "RSA-OAEP", "enc", "A256GCM"), good(), signRS), authn.RuleHeader},
		{"ES256, s of zero", sign(esHeader, good(), raw(append(order.Bytes(), make([]byte, 32)...))), authn.RuleSignature},
		{"ES256, r and s of one", sign(esHeader, good(), raw(append(append(make([]byte, 31), 1), append(make([]byte, 31), 1)...))), authn.RuleSignature},
		{"ES256 beyond the group's order", sign(esHeader, good(), func(b []byte) []byte {
			sig := es(keys.p256, crypto.SHA256)(b)
			s := new(big.Int).Add(new(big.Int).SetBytes(sig[32:]), order)
			if s.BitLen() > 256 {
				s.SetBytes(order.Bytes())
			}
			return append(sig[:32:32], s.FillBytes(make([]byte, 32))...)
		}), authn.RuleSignature},
		{"a certificate's thumbprint instead of a kid", sign(header("kid", nil, "x5t#S256", b64([]byte("x"))), good(), signRS), authn.RuleKey},
		{"kid as a URL", head("kid", "https://evil.example.test/key"), authn.RuleKey},
		{"kid with a null byte", head("kid", "rsa\x00"), authn.RuleKey},
		{"kid as a command", head("kid", "|sleep 10"), authn.RuleKey},
		{"chain linked by x5u and embedded", head("x5u", "http://127.0.0.1/", "x5c", []string{"MIIB"}), authn.RuleHeader},
		{"an ID token's nonce is no type, a refresh token's is", head("typ", "refresh+jwt"), authn.RuleType},
		{"typ of a client's assertion", head("typ", "client-authentication+jwt"), authn.RuleType},
		{"audience with a space", claim("aud", audience+" "), authn.RuleAudience},
		{"audience in capitals", claim("aud", strings.ToUpper(audience)), authn.RuleAudience},
		{"issuer with a null byte", claim("iss", issuer+"\x00"), authn.RuleIssuer},
		{"exp null", payload(strings.Replace(base, fmt.Sprint(now.Unix()+300), "null", 1) + "}"), authn.RuleClaims},
		{"exp true", payload(strings.Replace(base, fmt.Sprint(now.Unix()+300), "true", 1) + "}"), authn.RuleClaims},
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
}

// Genuine are tokens that look like forged ones; Want is the subject.
func (keys *Keys) Genuine(now time.Time) []Case {
	good := func() object { return claims(now) }
	signRS := rs(keys.rsa, crypto.SHA256)
	return []Case{
		{"RS256", sign(header(), good(), signRS), "U-8412"},
		{"RS512", sign(header("alg", "RS512"), good(), rs(keys.rsa, crypto.SHA512)), "U-8412"},
		{"RS384", sign(header("alg", "RS384"), good(), rs(keys.rsa, crypto.SHA384)), "U-8412"},
		{"no typ", sign(header("typ", nil), good(), signRS), "U-8412"},
		{"typ with its tree", sign(header("typ", "application/at+jwt"), good(), signRS), "U-8412"},
		{"header parameters of a private kind", sign(header("org.example.trace", "1"), good(), signRS), "U-8412"},
		{"claims with space around them", sign(header(), " \n"+string(text(good()))+"\t", signRS), "U-8412"},
		{"a claim named alg", sign(header(), with(good(), "alg", "none", "kid", "../x", "jku", "https://x"), signRS), "U-8412"},
		{"scopes in a list", sign(header(), with(good(), "scope", []string{"orders:read", "orders:write"}), signRS), "U-8412"},
		{"a subject that looks like an attack", sign(header(), with(good(), "sub", "O'Brien; DROP"), signRS), "O'Brien; DROP"},
		{"not valid before a moment ago", sign(header(), with(good(), "nbf", now.Unix()-1), signRS), "U-8412"},
		{"issued by a clock that is ahead", sign(header(), with(good(), "iat", now.Unix()+59), signRS), "U-8412"},
		{"long", sign(header(), with(good(), "groups", strings.Repeat("g", 4000)), signRS), "U-8412"},
		{"somebody acts", sign(header(), with(good(), "act", object{"sub": "desk"}), signRS), "U-8412"},
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
	}
}

// A Request is how a token is presented. Several lines of one name are several headers.
type Request struct {
	Name, Target string
	Header       http.Header
}

// Presented are requests with a token where none is taken from, in more than one
// place, or in a form that has two readings. The tokens themselves are genuine.
func (keys *Keys) Presented(now time.Time) []Request {
	good := sign(header(), claims(now), rs(keys.rsa, crypto.SHA256))
	second := sign(header(), with(claims(now), "sub", "U-1"), rs(keys.rsa, crypto.SHA256))
	bad := sign(header(), with(claims(now), "sub", "admin"), rs(keys.stranger, crypto.SHA256))
	auth := func(values ...string) http.Header { return http.Header{"Authorization": values} }
	return []Request{
		{"two headers, both genuine", "/", auth("Bearer "+good, "Bearer "+second)},
		{"two headers, the same", "/", auth("Bearer "+good, "Bearer "+good)},
		{"two headers, the first forged", "/", auth("Bearer "+bad, "Bearer "+good)},
		{"two headers, the last forged", "/", auth("Bearer "+good, "Bearer "+bad)},
		{"two in one header", "/", auth("Bearer " + good + ", Bearer " + second)},
		{"two after one scheme", "/", auth("Bearer " + good + " " + second)},
		{"no scheme", "/", auth(good)},
		{"a scheme and nothing", "/", auth("Bearer ")},
		{"a scheme with a colon", "/", auth("Bearer: " + good)},
		{"a scheme with a tab", "/", auth("Bearer\t" + good)},
		{"Basic", "/", auth("Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+good)))},
		{"Token", "/", auth("Token " + good)},
		{"DPoP without a proof", "/", auth("DPoP " + good)},
		{"in quotes", "/", auth(`Bearer "` + good + `"`)},
		{"percent-encoded", "/", auth("Bearer " + strings.ReplaceAll(good, ".", "%2e"))},
		{"in the query", "/?access_token=" + good, nil},
		{"in a cookie", "/", http.Header{"Cookie": {"access_token=" + good + "; token=" + good}}},
		{"of a proxy", "/", http.Header{"Proxy-Authorization": {"Bearer " + good}}},
		{"in headers of others", "/", http.Header{"X-Access-Token": {good}, "X-Auth-Token": {good}, "X-Forwarded-Access-Token": {good}, "X-Sallyport-Identity": {good}}},
		{"named by headers of ours", "/", http.Header{"X-Sallyport-Principal": {"oidc:" + issuer + "#admin"}, "X-Forwarded-User": {"admin"}}},
		{"and a key", "/", http.Header{"Authorization": {"Bearer " + good}, "X-Api-Key": {"any"}}},
		{"bound to a certificate that nobody shows", "/", auth("Bearer " + sign(header(), with(claims(now), "cnf", object{"x5t#S256": b64(make([]byte, 32))}), rs(keys.rsa, crypto.SHA256)))},
		{"bound to a key, without a proof", "/", auth("Bearer " + sign(header(), with(claims(now), "cnf", object{"jkt": b64(make([]byte, 32))}), rs(keys.rsa, crypto.SHA256)))},
		{"none", "/", nil},
	}
}

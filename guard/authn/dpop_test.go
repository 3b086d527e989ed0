package authn_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"sallyport.dev/guard/authn"
	"sallyport.dev/policy"
)

var holder, thief = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))

func ecJWK(k *ecdsa.PublicKey) object {
	point := must(k.Bytes())
	return object{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}
}

// jkt is a key's thumbprint as another implementation makes it.
func jkt(public any) string {
	return b64(must(must(jwk.Import(public)).Thumbprint(crypto.SHA256)))
}

func ath(token string) string { sum := sha256.Sum256([]byte(token)); return b64(sum[:]) }

const place = "https://api.example.test/v1/items/7"

var serial atomic.Int64

// proofOf makes a proof by the holder, changed as said: pairs of name and value,
// nil to leave out; names that begin with @ are of the header.
func proofOf(token string, by *ecdsa.PrivateKey, pairs ...any) string {
	h := object{"typ": "dpop+jwt", "alg": "ES256", "jwk": ecJWK(&by.PublicKey)}
	c := object{"jti": fmt.Sprint("j", serial.Add(1)), "htm": "GET", "htu": place, "iat": now.Unix(), "ath": ath(token)}
	for i := 0; i < len(pairs); i += 2 {
		if name, ok := strings.CutPrefix(pairs[i].(string), "@"); ok {
			h = with(h, name, pairs[i+1])
		} else {
			c = with(c, name, pairs[i+1])
		}
	}
	return sign(h, c, es(by, crypto.SHA256))
}

func presented(proofs ...string) *authn.Presentation {
	return &authn.Presentation{DPoP: true, Proofs: proofs, Method: "GET", TLS: true, Host: "api.example.test", Target: "/v1/items/7"}
}

func TestForgedProofs(t *testing.T) {
	v := verifier(t, nil)
	bound := sign(header(), with(good(), "cnf", object{"jkt": jkt(&holder.PublicKey)}), rs(keys.rsa, crypto.SHA256))
	id, rule := present(v, bound, now)
	if rule != "" || v.Plain(id) {
		t.Fatalf("a bound token: %q", rule)
	}
	used := proofOf(bound, holder)
	valid := proofOf(bound, holder)
	parts := strings.Split(valid, ".")
	private := with(ecJWK(&holder.PublicKey), "d", b64(holder.D.FillBytes(make([]byte, 32))))
	wrong := with(ecJWK(&holder.PublicKey), "y", b64(make([]byte, 32)))
	rsaPublic := object{"kty": "RSA", "n": b64(keys.rsa.N.Bytes()), "e": "AQAB"}
	for _, c := range []struct {
		name string
		p    *authn.Presentation
		rule string
	}{
		{"good", presented(used), ""},
		{"the same again", presented(used), authn.RuleReplayed},
		{"good, with more in it", presented(proofOf(bound, holder, "@kid", "k", "x", 1)), ""},
		{"a query in htu is nothing", presented(proofOf(bound, holder, "htu", place+"?a=b#c")), ""},
		{"htu in capitals with its port", presented(proofOf(bound, holder, "htu", "HTTPS://API.example.test:443/v1/items/7")), ""},
		{"htu escaped where it need not be", presented(proofOf(bound, holder, "htu", "https://api.example.test/v1/%69tems/%37")), ""},
		{"made a little early", presented(proofOf(bound, holder, "iat", now.Unix()-60)), ""},

		{"as a bearer token", &authn.Presentation{Method: "GET", TLS: true, Host: "api.example.test", Target: "/v1/items/7"}, authn.RuleBound},
		{"as a bearer token with a proof", func() *authn.Presentation { p := presented(proofOf(bound, holder)); p.DPoP = false; return p }(), authn.RuleBound},
		{"no proof", presented(), authn.RuleNoProof},
		{"two proofs", presented(proofOf(bound, holder), proofOf(bound, holder)), authn.RuleNoProof},
		{"two proofs in one line", presented(proofOf(bound, holder) + "," + proofOf(bound, holder)), authn.RuleProof},
		{"empty", presented(""), authn.RuleProof},
		{"the token in its place", presented(bound), authn.RuleProof},
		{"of a thief's key", presented(proofOf(bound, thief)), authn.RuleProofKey},
		{"the holder's key, a thief's signature", presented(proofOf(bound, thief, "@jwk", ecJWK(&holder.PublicKey))), authn.RuleProofSign},
		{"signature cut", presented(valid[:len(valid)-6]), authn.RuleProofSign},
		{"signature of zeros", presented(parts[0] + "." + parts[1] + "." + b64(make([]byte, 64))), authn.RuleProofSign},
		{"no signature", presented(parts[0] + "." + parts[1] + "."), authn.RuleProof},
		{"alg none", presented(proofOf(bound, holder, "@alg", "none")), authn.RuleProofAlg},
		{"alg HS256", presented(proofOf(bound, holder, "@alg", "HS256")), authn.RuleProofAlg},
		{"alg RS256, not allowed for proofs", presented(proofOf(bound, holder, "@alg", "RS256", "@jwk", rsaPublic)), authn.RuleProofAlg},
		{"alg ES384 with a P-256 key", presented(proofOf(bound, holder, "@alg", "ES384")), authn.RuleProofSign},
		{"typ JWT", presented(proofOf(bound, holder, "@typ", "JWT")), authn.RuleProof},
		{"no typ", presented(proofOf(bound, holder, "@typ", nil)), authn.RuleProof},
		{"no key", presented(proofOf(bound, holder, "@jwk", nil)), authn.RuleProof},
		{"a private key in it", presented(proofOf(bound, holder, "@jwk", private)), authn.RuleProof},
		{"a key that is no point", presented(proofOf(bound, holder, "@jwk", wrong)), authn.RuleProof},
		{"a key with padding", presented(proofOf(bound, holder, "@jwk", with(ecJWK(&holder.PublicKey), "x", ecJWK(&holder.PublicKey)["x"].(string)+"="))), authn.RuleProof},
		{"a symmetric key", presented(proofOf(bound, holder, "@jwk", object{"kty": "oct", "k": "AAAA"})), authn.RuleProof},
		{"a key by reference", presented(proofOf(bound, holder, "@jku", "https://evil.example.test/keys")), authn.RuleProof},
		{"a critical extension", presented(proofOf(bound, holder, "@crit", []string{"x"}, "@x", 1)), authn.RuleProof},
		{"another method", presented(proofOf(bound, holder, "htm", "POST")), authn.RuleProofFor},
		{"the method in lower case", presented(proofOf(bound, holder, "htm", "get")), authn.RuleProofFor},
		{"another path", presented(proofOf(bound, holder, "htu", "https://api.example.test/v1/items/8")), authn.RuleProofFor},
		{"a path below", presented(proofOf(bound, holder, "htu", place+"/")), authn.RuleProofFor},
		{"a slash escaped", presented(proofOf(bound, holder, "htu", "https://api.example.test/v1%2fitems/7")), authn.RuleProofFor},
		{"dots in the path", presented(proofOf(bound, holder, "htu", "https://api.example.test/v1/x/../items/7")), authn.RuleProofFor},
		{"another host", presented(proofOf(bound, holder, "htu", "https://evil.example.test/v1/items/7")), authn.RuleProofFor},
		{"a host in the user's place", presented(proofOf(bound, holder, "htu", "https://api.example.test@evil.example.test/v1/items/7")), authn.RuleProofFor},
		{"another port", presented(proofOf(bound, holder, "htu", "https://api.example.test:444/v1/items/7")), authn.RuleProofFor},
		{"without TLS", presented(proofOf(bound, holder, "htu", "http://api.example.test/v1/items/7")), authn.RuleProofFor},
		{"htu without scheme", presented(proofOf(bound, holder, "htu", "/v1/items/7")), authn.RuleProofFor},
		{"htu missing", presented(proofOf(bound, holder, "htu", nil)), authn.RuleProof},
		{"htm missing", presented(proofOf(bound, holder, "htm", nil)), authn.RuleProof},
		{"jti missing", presented(proofOf(bound, holder, "jti", nil)), authn.RuleProof},
		{"jti empty", presented(proofOf(bound, holder, "jti", "")), authn.RuleProof},
		{"jti of a kilobyte", presented(proofOf(bound, holder, "jti", strings.Repeat("j", 1024))), authn.RuleProof},
		{"iat missing", presented(proofOf(bound, holder, "iat", nil)), authn.RuleProof},
		{"iat a string", presented(proofOf(bound, holder, "iat", fmt.Sprint(now.Unix()))), authn.RuleProof},
		{"made too early", presented(proofOf(bound, holder, "iat", now.Unix()-61)), authn.RuleProofTime},
		{"made tomorrow", presented(proofOf(bound, holder, "iat", now.Unix()+86400)), authn.RuleProofTime},
		{"for another token", presented(proofOf("another", holder)), authn.RuleProofToken},
		{"for no token", presented(proofOf(bound, holder, "ath", nil)), authn.RuleProofToken},
		{"ath with padding", presented(proofOf(bound, holder, "ath", ath(bound)+"=")), authn.RuleProofToken},
		{"jti twice in it", presented(sign(object{"typ": "dpop+jwt", "alg": "ES256", "jwk": ecJWK(&holder.PublicKey)},
			`{"jti":"a","jti":"b","htm":"GET","htu":"`+place+`","iat":`+fmt.Sprint(now.Unix())+`,"ath":"`+ath(bound)+`"}`, es(holder, crypto.SHA256))), authn.RuleProof},
		{"huge", presented(proofOf(bound, holder, "pad", strings.Repeat("x", 9000))), authn.RuleProof},
	} {
		var s authn.Scratch
		if rule := v.Held(id, bound, c.p, &s, now); rule != c.rule {
			t.Errorf("%s: got %q, want %q", c.name, rule, c.rule)
		} else if rule != "" && authn.Describe(rule) == "" {
			t.Errorf("%s: rule %s has no words for people", c.name, rule)
		}
	}
	// By another way to the same place: behind a proxy that ends TLS.
	behind := must(authn.New(policy.Auth{OIDC: []policy.OIDC{{Issuer: issuer, Audience: audience}}, DPoP: policy.DPoP{Origins: []string{"https://public.example.test"}}}, keys, nil, nil))
	p := presented(proofOf(bound, holder, "htu", "https://public.example.test/v1/items/7"))
	p.TLS, p.Host = false, "10.0.0.1:8080"
	var s authn.Scratch
	if rule := behind.Held(id, bound, p, &s, now); rule != "" {
		t.Errorf("for the public origin: %q", rule)
	}
	p.Proofs = []string{proofOf(bound, holder, "htu", "http://10.0.0.1:8080/v1/items/7")}
	if rule := behind.Held(id, bound, p, &s, now); rule != authn.RuleProofFor {
		t.Errorf("for the inner origin: %q", rule)
	}
}

// TestProofsOfEveryKind: keys that clients use, each with its thumbprint as
// another implementation makes it.
func TestProofsOfEveryKind(t *testing.T) {
	p384 := must(keys.p384.PublicKey.Bytes())
	for alg, k := range map[string]struct {
		public any
		jwk    object
		by     func([]byte) []byte
	}{
		"ES256": {&holder.PublicKey, ecJWK(&holder.PublicKey), es(holder, crypto.SHA256)},
		"ES384": {&keys.p384.PublicKey, object{"kty": "EC", "crv": "P-384", "x": b64(p384[1:49]), "y": b64(p384[49:])}, es(keys.p384, crypto.SHA384)},
		"PS256": {&keys.rsa.PublicKey, object{"kty": "RSA", "n": b64(keys.rsa.N.Bytes()), "e": "AQAB"}, ps(keys.rsa, 32)},
		"EdDSA": {keys.ed.Public(), object{"kty": "OKP", "crv": "Ed25519", "x": b64(keys.ed.Public().(ed25519.PublicKey))}, ed(keys.ed)},
	} {
		v := verifier(t, nil)
		token := sign(header(), with(good(), "cnf", object{"jkt": jkt(k.public)}), rs(keys.rsa, crypto.SHA256))
		id, rule := present(v, token, now)
		if rule != "" {
			t.Fatalf("%s: %s", alg, rule)
		}
		proof := sign(object{"typ": "dpop+jwt", "alg": alg, "jwk": k.jwk}, object{"jti": alg, "htm": "GET", "htu": place, "iat": now.Unix(), "ath": ath(token)}, k.by)
		var s authn.Scratch
		if rule := v.Held(id, token, presented(proof), &s, now); rule != "" {
			t.Errorf("%s: refused by %s", alg, rule)
		}
	}
}

func TestBindings(t *testing.T) {
	cert := &authn.Certificate{SHA256: sha256.Sum256([]byte("mine")), NotBefore: now.Add(-time.Hour), Expires: now.Add(time.Hour)}
	other := &authn.Certificate{SHA256: sha256.Sum256([]byte("other")), NotBefore: now.Add(-time.Hour), Expires: now.Add(time.Hour)}
	ended := &authn.Certificate{SHA256: cert.SHA256, Expires: now.Add(-time.Second)}
	token := func(cnf any) string { return sign(header(), with(good(), "cnf", cnf), rs(keys.rsa, crypto.SHA256)) }
	plain, dpop := token(nil), token(object{"jkt": jkt(&holder.PublicKey)})
	x5t := token(object{"x5t#S256": b64(cert.SHA256[:])})
	both := token(object{"x5t#S256": b64(cert.SHA256[:]), "jkt": jkt(&holder.PublicKey)})
	for _, c := range []struct {
		name, token string
		binding     policy.Binding
		cert        *authn.Certificate
		proof       bool
		rule        string
	}{
		{"plain", plain, "", nil, false, ""},
		{"plain by the scheme DPoP", plain, "", nil, true, authn.RuleUnbound},
		{"plain where bound ones are demanded", plain, policy.ByAny, nil, false, authn.RuleUnbound},
		{"plain where DPoP is demanded", plain, policy.ByDPoP, cert, false, authn.RuleUnbound},
		{"DPoP", dpop, policy.ByDPoP, nil, true, ""},
		{"DPoP where any is demanded", dpop, policy.ByAny, nil, true, ""},
		{"DPoP where a certificate is demanded", dpop, policy.ByCertificate, cert, true, authn.RuleUnbound},
		{"a certificate", x5t, "", cert, false, ""},
		{"a certificate, demanded", x5t, policy.ByCertificate, cert, false, ""},
		{"a certificate where DPoP is demanded", x5t, policy.ByDPoP, cert, false, authn.RuleUnbound},
		{"another certificate", x5t, "", other, false, authn.RuleHolder},
		{"no certificate", x5t, "", nil, false, authn.RuleHolder},
		{"a certificate that has ended", x5t, "", ended, false, authn.RuleHolder},
		{"both, shown", both, policy.ByAny, cert, true, ""},
		{"both, the certificate missing", both, policy.ByAny, nil, true, authn.RuleHolder},
		{"both, the proof missing", both, policy.ByAny, cert, false, authn.RuleBound},
	} {
		v := must(authn.New(policy.Auth{OIDC: []policy.OIDC{{Issuer: issuer, Audience: audience}}, Binding: c.binding}, keys, nil, nil))
		id, rule := present(v, c.token, now)
		if rule != "" {
			t.Fatalf("%s: %s", c.name, rule)
		}
		p := presented()
		if p.Certificate, p.DPoP = c.cert, c.proof; c.proof {
			p.Proofs = []string{proofOf(c.token, holder)}
		}
		var s authn.Scratch
		if rule := v.Held(id, c.token, p, &s, now); rule != c.rule {
			t.Errorf("%s: got %q, want %q", c.name, rule, c.rule)
		}
		if v.Plain(id) && (c.binding != "" || c.token != plain) {
			t.Errorf("%s: taken for a plain token", c.name)
		}
	}
	for name, cnf := range map[string]any{
		"empty": object{}, "text": "x", "of another method": object{"jwk": object{}}, "one known, one not": object{"jkt": jkt(&holder.PublicKey), "kid": "x"},
		"jkt short": object{"jkt": "AAAA"}, "jkt padded": object{"jkt": jkt(&holder.PublicKey) + "="}, "jkt a number": object{"jkt": 1}, "x5t by SHA-1": object{"x5t": "AAAA"},
	} {
		if _, rule := present(verifier(t, nil), token(cnf), now); rule != authn.RuleBound {
			t.Errorf("cnf %s: got %q, want %q", name, rule, authn.RuleBound)
		}
	}
}

// TestNonces: where a nonce is demanded only ours will do, for a minute or two.
func TestNonces(t *testing.T) {
	proofs := authn.NewProofs(nil)
	v := must(authn.New(policy.Auth{OIDC: []policy.OIDC{{Issuer: issuer, Audience: audience}}, DPoP: policy.DPoP{Nonce: true, Window: 5 * time.Minute}}, keys, nil, proofs))
	token := sign(header(), with(good(), "cnf", object{"jkt": jkt(&holder.PublicKey)}), rs(keys.rsa, crypto.SHA256))
	id, _ := present(v, token, now)
	for _, c := range []struct {
		name string
		more []any
		at   time.Duration
		rule string
	}{
		{"none", nil, 0, authn.RuleProofNonce},
		{"empty", []any{"nonce", ""}, 0, authn.RuleProofNonce},
		{"made up", []any{"nonce", strings.Repeat("A", 24)}, 0, authn.RuleProofNonce},
		{"another process's", []any{"nonce", authn.NewProofs(nil).Nonce(now)}, 0, authn.RuleProofNonce},
		{"ours", []any{"nonce", proofs.Nonce(now)}, 0, ""},
		{"ours of a minute ago", []any{"nonce", proofs.Nonce(now)}, time.Minute, ""},
		{"ours of long ago", []any{"nonce", proofs.Nonce(now)}, 2 * time.Minute, authn.RuleProofNonce},
	} {
		var s authn.Scratch
		if rule := v.Held(id, token, presented(proofOf(token, holder, c.more...)), &s, now.Add(c.at)); rule != c.rule {
			t.Errorf("%s: got %q, want %q", c.name, rule, c.rule)
		}
	}
}

// TestReplayMemory: each proof passes once among any number of goroutines, the
// room is bounded, one owner cannot take it all, and time gives it back.
func TestReplayMemory(t *testing.T) {
	m := authn.NewReplayMemory(16 * 256)
	var fresh atomic.Int64
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for i := range 100 {
				if m.Once(sha256.Sum256([]byte(fmt.Sprint(i))), sha256.Sum256([]byte(fmt.Sprint("o", i))), 1060, 1000) == authn.Fresh {
					fresh.Add(1)
				}
			}
		})
	}
	workers.Wait()
	if fresh.Load() != 100 {
		t.Errorf("%d of 100 proofs passed the first time", fresh.Load())
	}
	one := sha256.Sum256([]byte("one"))
	full := 0
	for i := range 4096 {
		if m.Once(sha256.Sum256([]byte(fmt.Sprint("x", i))), one, 1060, 1000) == authn.Full {
			full++
		}
	}
	if full < 4096-16*16 || m.Once(sha256.Sum256([]byte("new")), sha256.Sum256([]byte("another")), 1060, 1000) != authn.Fresh {
		t.Errorf("one owner was turned away %d times of 4096, or shuts out others", full)
	}
	for i := range 10_000 {
		m.Once(sha256.Sum256([]byte(fmt.Sprint("y", i))), sha256.Sum256([]byte(fmt.Sprint(i))), 1060, 1000)
	}
	if m.Len() > 16*256 {
		t.Errorf("%d proofs are remembered, want at most %d", m.Len(), 16*256)
	}
	if got := m.Once(sha256.Sum256([]byte("0")), one, 1060, 1059); got != authn.Repeated {
		t.Errorf("a proof used before, while it still holds: %v", got)
	}
	for i := range 256 { // every shard has been asked, and has forgotten
		m.Once(sha256.Sum256([]byte(fmt.Sprint("z", i))), sha256.Sum256([]byte(fmt.Sprint(i))), 2060, 2000)
	}
	if m.Len() > 256 {
		t.Errorf("%d proofs are remembered after their time", m.Len())
	}
}

func TestCertificates(t *testing.T) {
	v := must(authn.New(policy.Auth{Certificates: []policy.Certificate{
		{ID: "billing", URI: "spiffe://example.org/ns/prod/sa/billing", Scopes: []string{"items:read"}},
		{ID: "jobs", URI: "spiffe://example.org/ns/jobs/*"},
		{ID: "gate", DNS: "gate.example.org"},
		{ID: "old", Subject: "CN=old,O=Example"},
	}}, nil, nil, nil))
	for _, c := range []struct {
		name    string
		cert    authn.Certificate
		subject string
		rule    string
	}{
		{"a SPIFFE ID", authn.Certificate{URIs: []string{"spiffe://example.org/ns/prod/sa/billing"}}, "spiffe://example.org/ns/prod/sa/billing", ""},
		{"one below", authn.Certificate{URIs: []string{"spiffe://example.org/ns/jobs/sa/night"}}, "spiffe://example.org/ns/jobs/sa/night", ""},
		{"a DNS name", authn.Certificate{Names: []string{"x", "GATE.example.org"}}, "gate.example.org", ""},
		{"a subject", authn.Certificate{Subject: "CN=old,O=Example"}, "CN=old,O=Example", ""},
		{"a longer one", authn.Certificate{URIs: []string{"spiffe://example.org/ns/prod/sa/billing2"}}, "", authn.RuleStranger},
		{"one above", authn.Certificate{URIs: []string{"spiffe://example.org/ns/prod/sa"}}, "", authn.RuleStranger},
		{"the place itself", authn.Certificate{URIs: []string{"spiffe://example.org/ns/jobs/"}}, "", authn.RuleStranger},
		{"beside it", authn.Certificate{URIs: []string{"spiffe://example.org/ns/jobs2/x"}}, "", authn.RuleStranger},
		{"up and over", authn.Certificate{URIs: []string{"spiffe://example.org/ns/jobs/../prod/sa/billing"}}, "", authn.RuleStranger},
		{"another trust domain", authn.Certificate{URIs: []string{"spiffe://evil.org/ns/prod/sa/billing"}}, "", authn.RuleStranger},
		{"two URIs", authn.Certificate{URIs: []string{"spiffe://example.org/ns/prod/sa/billing", "spiffe://example.org/other"}}, "", authn.RuleStranger},
		{"the name as a URI", authn.Certificate{URIs: []string{"https://gate.example.org"}}, "", authn.RuleStranger},
		{"the URI as a name", authn.Certificate{Names: []string{"spiffe://example.org/ns/prod/sa/billing"}}, "", authn.RuleStranger},
		{"a subject with more", authn.Certificate{Subject: "CN=old,O=Example,C=ZA"}, "", authn.RuleStranger},
		{"nothing", authn.Certificate{}, "", authn.RuleStranger},
		{"ended", authn.Certificate{Names: []string{"gate.example.org"}, Expires: now}, "", authn.RuleOutdated},
	} {
		if c.cert.Expires.IsZero() {
			c.cert.Expires = now.Add(time.Hour)
		}
		id, rule := v.Certificate(&c.cert, now)
		if rule != c.rule || rule == "" && (id.Principal.Subject != c.subject || id.Principal.Kind != "certificate") {
			t.Errorf("%s: got %v %q, want %q %q", c.name, id, rule, c.subject, c.rule)
		}
	}
}

// FuzzProof signs whatever header and claims come: what passes must say of
// itself what RFC 9449 demands, as encoding/json reads it.
func FuzzProof(f *testing.F) {
	v := verifier(f, nil)
	token := sign(header(), with(good(), "cnf", object{"jkt": jkt(&holder.PublicKey)}), rs(keys.rsa, crypto.SHA256))
	id, _ := present(v, token, now)
	valid := strings.Split(proofOf(token, holder), ".")
	f.Add(string(must(base64.RawURLEncoding.DecodeString(valid[0]))), string(must(base64.RawURLEncoding.DecodeString(valid[1]))))
	f.Add(`{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"RSA","n":"","e":""}}`, `{"htu":"https://%zz/"}`)
	f.Add(`{"typ":"dpop+jwt","alg":"PS256","jwk":{"kty":"RSA","n":"AA","e":"AAAAAAAA"}}`, `{"iat":1e99}`)
	var s authn.Scratch
	f.Fuzz(func(t *testing.T, header, claims string) {
		if v.Held(id, token, presented(sign(header, claims, es(holder, crypto.SHA256))), &s, now) != "" {
			return
		}
		if !strings.Contains(header, "jwk") || !strings.Contains(claims, "htu") && !strings.Contains(claims, `\u`) {
			t.Errorf("accepted %s %s", header, claims)
		}
	})
}

func BenchmarkProof(b *testing.B) {
	token := sign(header(), with(good(), "cnf", object{"jkt": jkt(&holder.PublicKey)}), rs(keys.rsa, crypto.SHA256))
	v := must(authn.New(policy.Auth{OIDC: []policy.OIDC{{Issuer: issuer, Audience: audience}}}, keys, nil, authn.NewProofs(forgetful{})))
	id, _ := present(v, token, now)
	p := presented(proofOf(token, holder))
	var s authn.Scratch
	b.ReportAllocs()
	for b.Loop() {
		if rule := v.Held(id, token, p, &s, now); rule != "" {
			b.Fatal(rule)
		}
	}
}

// forgetful lets the same proof be measured again and again.
type forgetful struct{}

func (forgetful) Once(_, _ [32]byte, _, _ int64) authn.Seen { return authn.Fresh }

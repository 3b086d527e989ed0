package guard_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"testing"

	sallyport "sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/guard/authn"
)

// TestProofsAreNoAttacks: with everything switched on, a request with a proof
// passes without a finding, and what a replayed proof costs is on its client's account.
func TestProofsAreNoAttacks(t *testing.T) {
	holder := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	b64 := base64.RawURLEncoding.EncodeToString
	point := must(holder.PublicKey.Bytes())
	x, y := b64(point[1:33]), b64(point[33:])
	thumb := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + x + `","y":"` + y + `"}`))
	bearer := signed(map[string]any{"cnf": map[string]any{"jkt": b64(thumb[:])}})
	sum := sha256.Sum256([]byte(bearer))
	prove := func(id int) string {
		text := b64([]byte(`{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"EC","crv":"P-256","x":"`+x+`","y":"`+y+`"}}`)) + "." +
			b64(fmt.Appendf(nil, `{"jti":"%d","htm":"GET","htu":"http://api.example.test/v1/items/7","iat":%d,"ath":"%s"}`, id, now.Unix(), b64(sum[:])))
		digest := sha256.Sum256([]byte(text))
		r, s, err := ecdsa.Sign(rand.Reader, holder, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return text + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
	}
	p := compile(t, config(sallyport.Enforce))
	ask := func(scheme, proof string) (*sallyport.Exchange, *guard.Refusal) {
		r := request("GET", "/v1/items/7", "", 0)
		r.Header["Authorization"] = []string{scheme + " " + bearer}
		r.Header["Dpop"] = []string{proof}
		return exchange(p, r, nil, nil)
	}
	for i := range 50 {
		x, refusal := ask("DPoP", prove(i))
		if refusal != nil || len(x.Decision.Reasons) > 0 || x.Principal.Subject != "alice" {
			t.Fatalf("a good proof: %v %+v", x.Principal, x.Decision)
		}
	}
	statuses := map[int]int{}
	for range 40 {
		x, refusal := ask("DPoP", prove(7))
		if refusal == nil {
			t.Fatal("a proof passed twice")
		}
		if x.Principal.Subject != "" {
			t.Fatalf("refused, and recorded for %v", x.Principal)
		}
		statuses[refusal.Status]++
	}
	if statuses[401] != 20 || statuses[429] != 20 {
		t.Errorf("40 replays of one client: %v, want 20 times 401, then 429", statuses)
	}
	if x, refusal := ask("Bearer", ""); refusal == nil || x.Decision.Reasons[0].Rule != authn.RuleBound {
		t.Errorf("as a bearer token: %+v", x.Decision)
	}
}

package gateway_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/gateway/http1"
	"sallyport.dev/guard"
	"sallyport.dev/guard/authn"
	"sallyport.dev/identity"
	"sallyport.dev/policy"
	"sallyport.dev/test/integration/oidcprovider"
)

// echoHead answers with the header that reached it.
func echoHead(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(r.Header)
}

// TestCredentialsForUpstreams: what an upstream gets in the place of the caller's
// own credential, and that nobody but us says who calls, with a real provider,
// from both protocols of clients and over both of upstreams.
func TestCredentialsForUpstreams(t *testing.T) {
	op := oidcprovider.Start(t)
	client, secret := op.Client()
	ids := &identity.Providers{Issuers: []string{op.Issuer}}
	grants := &identity.Grants{}
	const audience, stock = "https://api.example.test/es", "https://stock.example.test/es"
	own := identity.Grant{Issuer: op.Issuer, ClientID: client, Secret: secret, Resource: stock}
	change := identity.Grant{Issuer: op.Issuer, ClientID: client, Secret: secret, Resource: stock, Exchange: true}
	lost := identity.Grant{TokenURL: "http://127.0.0.1:1/token", ClientID: "x", Secret: "y"}
	if err := grants.Configure([]identity.Grant{own, change, lost}); err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := identity.NewSigner(private, "")
	if err != nil {
		t.Fatal(err)
	}
	drop := []string{"Authorization", "DPoP", "X-API-Key"}
	sum := sha256.Sum256([]byte("partner-key"))
	auth := policy.Auth{OIDC: []policy.OIDC{{Issuer: op.Issuer, Audience: audience}}, Keys: []policy.Key{{ID: "partner", Subject: "Zoë\n%", Hash: "sha256:" + hex.EncodeToString(sum[:])}}, Anonymous: policy.Never}
	var apis []guard.API
	var pools []gateway.API
	plain := upstream(t, echoHead)
	h2 := httptest.NewUnstartedServer(http.HandlerFunc(echoHead))
	h2.Config.Protocols = new(http.Protocols)
	h2.Config.Protocols.SetUnencryptedHTTP2(true)
	h2.Start()
	t.Cleanup(h2.Close)
	for name, o := range map[string]*gateway.Onward{
		"plain": nil, "dropped": {Drop: drop}, "own": {Tokens: grants, OAuth2: &own, Drop: drop}, "exchanged": {Tokens: grants, Exchange: &change, Drop: drop}, "lost": {Tokens: grants, OAuth2: &lost, Drop: drop},
		"key": {Set: []http1.Field{{Name: "X-Api-Key", Value: "upstream-key"}}, Drop: []string{"Authorization"}}, "named": {Name: true}, "signed": {Sign: signer},
	} {
		for suffix, up := range map[string]gateway.Upstream{"": {URL: plain.URL}, "-h2": {URL: h2.URL, Protocol: "h2"}} {
			apis = append(apis, guard.API{API: sallyport.API{Name: name + suffix, Hosts: []string{name + suffix + ".example.test"}}, Policy: policy.API{Mode: sallyport.Enforce, Auth: auth}})
			pools = append(pools, gateway.API{Name: name + suffix, Upstreams: []gateway.Upstream{up}, Onward: o})
		}
	}
	p, err := guard.Compile(guard.Config{Name: "test", Keys: ids, APIs: apis})
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, gateway.Options{Program: p, APIs: pools, Resolver: ids})
	token, broad := op.Token(t, audience, "orders:read"), op.Token(t, audience, "orders:write")
	spoofed := http.Header{"X-Sallyport-Principal": {"oidc:admin"}, "X-Sallyport-Identity": {"a.b.c"}, "X-Sallyport-Anything": {"1"}, "Accept": {"application/json"}}
	send := func(h2 bool, host, bearer, key string) (status int, got http.Header, x *sallyport.Exchange) {
		t.Helper()
		req, _ := http.NewRequest("GET", d.url("/orders"), nil)
		req.Host = host + ".example.test"
		req.Header = spoofed.Clone()
		if h2 { // over HTTP/1.1 such a name is refused at once
			req.Header["X_Sallyport_Principal"] = []string{"oidc:admin"}
		}
		if bearer != "" {
			req.Header.Set("Authorization", "Bearer "+bearer)
		}
		if key != "" {
			req.Header.Set("X-API-Key", key)
		}
		res, err := d.client(h2).Do(req)
		body := read(t, res, err)
		if res.StatusCode == 200 {
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
		}
		return res.StatusCode, got, d.rec.find(t, res.Header.Get("X-Request-Id"))
	}
	for _, suffix := range []string{"", "-h2"} {
		for _, fromH2 := range []bool{false, true} {
			for _, c := range []struct {
				name, bearer, key string
				status            int
				rule              string
				check             func(h http.Header) bool
			}{
				{"plain", token, "", 200, "", func(h http.Header) bool { return h.Get("Authorization") == "Bearer "+token }},
				{"dropped", token, "", 200, "", func(h http.Header) bool { return h.Get("Authorization") == "" && h.Get("Accept") != "" }},
				{"dropped", "", "partner-key", 200, "", func(h http.Header) bool { return h.Get("X-Api-Key") == "" }},
				{"own", token, "", 200, "", func(h http.Header) bool {
					return h.Get("Authorization") != "Bearer "+token && claimsOf(h)["aud"] == stock && claimsOf(h)["client_id"] == client && claimsOf(h)["act"] == nil
				}},
				{"own", "", "partner-key", 200, "", func(h http.Header) bool { return claimsOf(h)["aud"] == stock && h.Get("X-Api-Key") == "" }},
				{"exchanged", token, "", 200, "", func(h http.Header) bool { return claimsOf(h)["aud"] == stock && claimsOf(h)["act"] != nil }},
				{"exchanged", broad, "", 403, "credential.refused", nil},
				{"exchanged", "", "partner-key", 403, "credential.no-token", nil},
				{"lost", token, "", 503, "credential.unavailable", nil},
				{"key", token, "", 200, "", func(h http.Header) bool {
					return h.Get("X-Api-Key") == "upstream-key" && len(h["X-Api-Key"]) == 1 && h.Get("Authorization") == ""
				}},
				{"key", "", "partner-key", 200, "", func(h http.Header) bool { return h.Get("X-Api-Key") == "upstream-key" && len(h["X-Api-Key"]) == 1 }},
				{"named", token, "", 200, "", func(h http.Header) bool {
					return h.Get("X-Sallyport-Principal") == "oidc:"+op.Issuer+"#"+client && h.Get("X-Sallyport-Client") == client && h.Get("X-Sallyport-Scope") == "orders:read"
				}},
				{"named", "", "partner-key", 200, "", func(h http.Header) bool { return h.Get("X-Sallyport-Principal") == "key:Zo%C3%AB%0A%25" }},
			} {
				status, h, x := send(fromH2, c.name+suffix, c.bearer, c.key)
				if status != c.status || c.check != nil && !c.check(h) {
					t.Errorf("%s%s, from HTTP/2 %v: %d %v", c.name, suffix, fromH2, status, h)
				}
				if c.rule != "" && (len(x.Decision.Reasons) == 0 || x.Decision.Reasons[0].Rule != c.rule || x.Decision.Stage != sallyport.StageForward) {
					t.Errorf("%s%s: %+v, want %s", c.name, suffix, x.Decision, c.rule)
				}
				for name := range h {
					lower := strings.ReplaceAll(strings.ToLower(name), "_", "-")
					if c.name != "named" && strings.HasPrefix(lower, "x-sallyport-") || lower == "x-sallyport-anything" || len(h[name]) > 1 {
						t.Errorf("%s%s: the client's %s passed", c.name, suffix, name)
					}
				}
			}
			_, h, x := send(fromH2, "signed"+suffix, token, "")
			v, err := authn.New(policy.Auth{OIDC: []policy.OIDC{{Issuer: "sallyport", Audience: "signed" + suffix, Types: []string{"sallyport-identity+jwt"}}}}, oneKey{public}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			var s authn.Scratch
			if rule := v.Open(h.Get("X-Sallyport-Identity"), &s, time.Now()); rule != "" {
				t.Fatalf("the signed name breaks %s: %v", rule, h)
			}
			id, rule := v.Prove(&s, time.Now())
			if rule != "" || id.Principal.Subject != x.Principal.String() || id.Principal.Client != client || !id.Has([]string{"orders:read"}) {
				t.Errorf("the signed name says %+v, %s", id, rule)
			}
		}
	}
}

type oneKey struct{ key ed25519.PublicKey }

func (k oneKey) Key(issuer, kid, alg string) (any, bool) { return k.key, alg == "EdDSA" }

func claimsOf(h http.Header) map[string]any {
	parts := strings.Split(strings.TrimPrefix(h.Get("Authorization"), "Bearer "), ".")
	claims := map[string]any{}
	if len(parts) == 3 {
		b, _ := base64.RawURLEncoding.DecodeString(parts[1])
		json.Unmarshal(b, &claims)
	}
	return claims
}

// TestProviderOfUpstreamTokensHangs: requests wait for a bounded time, share one
// question, and say when to come back.
func TestProviderOfUpstreamTokensHangs(t *testing.T) {
	over := make(chan struct{})
	var asked atomic.Int64
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-over:
		}
	}))
	defer silent.Close()
	defer close(over)
	grants := &identity.Grants{}
	g := identity.Grant{TokenURL: silent.URL, ClientID: "x", Secret: "y"}
	if err := grants.Configure([]identity.Grant{g}); err != nil {
		t.Fatal(err)
	}
	p := program(t, guard.API{API: sallyport.API{Name: "shop"}, Policy: policy.API{}})
	up := upstream(t, echoHead)
	d := open(t, gateway.Options{Program: p, APIs: []gateway.API{{Name: "shop", Upstreams: []gateway.Upstream{{URL: up.URL}}, Onward: &gateway.Onward{Tokens: grants, OAuth2: &g}}},
		Bounds: gateway.Bounds{FetchTime: 100 * time.Millisecond}})
	for range 3 {
		res, err := d.client(false).Get(d.url("/"))
		if read(t, res, err); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
			t.Errorf("%d, want 503 with Retry-After", res.StatusCode)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("asked %d times, want once", asked.Load())
	}
}

package gateway_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/identity"
	"sallyport.dev/policy"
	"sallyport.dev/test/integration/oidcprovider"
)

// TestOpaqueTokens asks a real provider about opaque tokens while requests wait;
// an issuer that hangs costs a client a bounded wait and the answer 503.
func TestOpaqueTokens(t *testing.T) {
	t.Parallel()
	op := oidcprovider.Start(t)
	over := make(chan struct{})
	var asked atomic.Int64
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		select {
		case <-r.Context().Done():
		case <-over:
		}
	}))
	defer silent.Close()
	defer close(over)
	client, secret := op.Client()
	shift := time.Duration(0)
	ids := &identity.Providers{Issuers: []string{op.Issuer, silent.URL}, Now: func() time.Time { return time.Now().Add(shift) }, Introspection: []identity.Introspection{
		{Issuer: op.Issuer, ClientID: client, Secret: secret}, {Issuer: silent.URL, URL: silent.URL + "/introspect", ClientID: "door", Secret: "x"}}}
	const audience = "https://api.example.test/opaque"
	ask := policy.Introspection{ClientID: "x", Secret: "env:X"}
	api := func(name, issuer string, i policy.Introspection) guard.API {
		return guard.API{API: sallyport.API{Name: name, Hosts: []string{name + ".example.test"}}, Policy: policy.API{Mode: sallyport.Enforce,
			Auth: policy.Auth{OIDC: []policy.OIDC{{Issuer: issuer, Audience: audience, Introspection: i}}}}}
	}
	p, err := guard.Compile(guard.Config{Name: "test", Keys: ids, APIs: []guard.API{api("shop", op.Issuer, ask), api("silent", silent.URL, ask), api("deaf", op.Issuer, policy.Introspection{})}})
	if err != nil {
		t.Fatal(err)
	}
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	apis := to(up.URL)
	for _, name := range []string{"silent", "deaf"} {
		apis = append(apis, gateway.API{Name: name, Upstreams: []gateway.Upstream{{URL: up.URL}}})
	}
	d := open(t, gateway.Options{Program: p, APIs: apis, Resolver: ids})
	send := func(host, auth, proof string) (*http.Response, *sallyport.Exchange) {
		t.Helper()
		req, _ := http.NewRequest("GET", d.url("/orders"), nil)
		req.Host = host
		req.Header.Set("Authorization", auth)
		if proof != "" {
			req.Header.Set("DPoP", proof)
		}
		res, err := d.client(false).Do(req)
		read(t, res, err)
		return res, d.rec.find(t, res.Header.Get("X-Request-Id"))
	}
	token, bound := op.Token(t, audience, "orders:read"), op.TokenByProof(t, audience, "orders:read")
	proof := func() string { return op.Proof(t, "GET", "https://shop.example.test/orders", bound, "") }
	for _, c := range []struct {
		name, host, auth, proof string
		status                  int
		rule                    string
	}{
		{"active", "shop.example.test", "Bearer " + token, "", 200, ""},
		{"again", "shop.example.test", "Bearer " + token, "", 200, ""},
		{"made up", "shop.example.test", "Bearer made-up", "", 401, "token.inactive"},
		{"bound, with its proof", "shop.example.test", "DPoP " + bound, proof(), 200, ""},
		{"bound, as a bearer's", "shop.example.test", "Bearer " + bound, "", 401, "token.bound"},
		{"where nobody is asked", "deaf.example.test", "Bearer " + token, "", 401, "token.malformed"},
		{"an issuer that hangs", "silent.example.test", "Bearer " + token, "", 503, "introspection.unavailable"},
		{"and again", "silent.example.test", "Bearer another", "", 503, "introspection.unavailable"},
		{"and again", "silent.example.test", "Bearer third", "", 503, "introspection.unavailable"},
		{"and right after", "silent.example.test", "Bearer fourth", "", 503, "introspection.unavailable"},
	} {
		res, x := send(c.host, c.auth, c.proof)
		if res.StatusCode != c.status || c.rule != "" && (len(x.Decision.Reasons) == 0 || x.Decision.Reasons[0].Rule != c.rule) {
			t.Errorf("%s: %d %+v, want %d %s", c.name, res.StatusCode, x.Decision, c.status, c.rule)
		}
		if c.status == 200 && (x.Principal.Client != client || x.Principal.Issuer != op.Issuer) || c.status != 200 && !x.Principal.Anonymous() {
			t.Errorf("%s: recorded for %+v", c.name, x.Principal)
		}
		if c.status == 503 && res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: 503 without Retry-After", c.name)
		}
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("the silent issuer was asked %d times, want 3", n)
	}
	op.Revoke(t, token)
	d.close() // nothing reads the clock while it is moved
	shift = 30 * time.Second
	d = open(t, gateway.Options{Program: p, APIs: apis, Resolver: ids})
	if res, x := send("shop.example.test", "Bearer "+token, ""); res.StatusCode != 401 || x.Decision.Reasons[0].Rule != "token.inactive" {
		t.Errorf("revoked, after the answer's time: %d %+v", res.StatusCode, x.Decision)
	}
}

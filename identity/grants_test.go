package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/identity"
	"sallyport.dev/test/integration/oidcprovider"
)

// payload reads the claims of a JWT without believing them.
func payload(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT of three parts")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{}
	if err := json.Unmarshal(b, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func keyPEM(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// TestGrantsOfARealProvider: client credentials by secret and by signed
// assertion, and token exchange, with the npm oidc-provider.
func TestGrantsOfARealProvider(t *testing.T) {
	op := oidcprovider.Start(t)
	id, secret := op.Client()
	elliptical, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	grants := &identity.Grants{}
	own := identity.Grant{Issuer: op.Issuer, ClientID: id, Secret: secret, Resource: "https://stock.example.test/es", Scope: "orders:read"}
	change := identity.Grant{Issuer: op.Issuer, ClientID: id, Secret: secret, Resource: "https://stock.example.test/es", Exchange: true}
	wrong := own
	wrong.Secret = "not-the-secret"
	if err := grants.Configure([]identity.Grant{own, change, wrong}); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	token, err := grants.Token(ctx, own)
	if err != nil {
		t.Fatal(err)
	}
	if c := payload(t, token); c["aud"] != "https://stock.example.test/es" || c["client_id"] != id || c["scope"] != "orders:read" {
		t.Errorf("token of our own says %v", c)
	}
	again, err := grants.Token(ctx, own)
	if err != nil || again != token {
		t.Errorf("asked again for the same token: %v", err)
	}
	if _, err := grants.Token(ctx, wrong); sallyport.KindOf(err) != sallyport.Unavailable || strings.Contains(err.Error(), "not-the-secret") {
		t.Errorf("with a wrong secret: %v", err)
	}
	// By a key in place of a secret, of several kinds.
	for name, key := range map[string]any{"P-256": elliptical, "Ed25519": edwards} {
		g := identity.Grant{Issuer: op.Issuer, ClientID: "signed", Key: keyPEM(t, key), Resource: "https://stock.example.test/es"}
		s, err := identity.ParseSigner([]byte(g.Key), "")
		if err != nil {
			t.Fatal(err)
		}
		op.ClientKeys(t, s.Set())
		if err := grants.Configure([]identity.Grant{own, change, g}); err != nil {
			t.Fatal(err)
		}
		if token, err := grants.Token(ctx, g); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if c := payload(t, token); c["client_id"] != "signed" {
			t.Errorf("%s: %v", name, c)
		}
	}
	// A caller's token for another.
	caller := op.Token(t, "https://shop.example.test/es", "orders:read")
	changed, err := grants.Exchange(ctx, change, caller)
	if err != nil {
		t.Fatal(err)
	}
	if c := payload(t, changed); c["aud"] != "https://stock.example.test/es" || c["sub"] != payload(t, caller)["sub"] || c["act"] == nil {
		t.Errorf("exchanged token says %v", c)
	}
	before := op.Requests(t)["/token"]
	if again, err := grants.Exchange(ctx, change, caller); err != nil || again != changed || op.Requests(t)["/token"] != before {
		t.Errorf("a token exchanged again: %v, %d requests", err, op.Requests(t)["/token"]-before)
	}
	for name, bad := range map[string]string{"one that may not be": op.Token(t, "https://shop.example.test/es", "orders:write"), "one made up": caller[:len(caller)-8] + "AAAAAAAA"} {
		for range 2 {
			if _, err := grants.Exchange(ctx, change, bad); !errors.Is(err, identity.ErrExchange) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if got := op.Requests(t)["/token"] - before; got != 3 { // a token for the test, two refusals
		t.Errorf("%d requests, want 3: refusals are remembered", got)
	}
	for _, s := range grants.Status() {
		if s.Error != "" {
			t.Errorf("status %+v", s)
		}
	}
}

// tokenServer answers as a token endpoint by f and counts.
func tokenServer(t *testing.T, f func(n int64, w http.ResponseWriter, r *http.Request)) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f(asked.Add(1), w, r) }))
	t.Cleanup(srv.Close)
	return srv.URL, asked
}

func give(w http.ResponseWriter, token string, life int) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token":%q,"token_type":"bearer","expires_in":%d}`, token, life)
}

// TestOldTokenIsUsedUntilItEnds: an endpoint that fails costs nothing as long as
// there is a token, and then says clearly what is wrong.
func TestOldTokenIsUsedUntilItEnds(t *testing.T) {
	var down atomic.Bool
	url, asked := tokenServer(t, func(n int64, w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			http.Error(w, "secret detail of a database", http.StatusInternalServerError)
			return
		}
		give(w, fmt.Sprint("token-", n), 100)
	})
	at := newClock()
	grants := &identity.Grants{Now: at.now}
	g := identity.Grant{TokenURL: url, ClientID: "a", Secret: "b"}
	if err := grants.Configure([]identity.Grant{g}); err != nil {
		t.Fatal(err)
	}
	get := func() string {
		token, err := grants.Token(t.Context(), g)
		if err != nil {
			return err.Error()
		}
		return token
	}
	if got := get(); got != "token-1" {
		t.Fatal(got)
	}
	down.Store(true)
	at.forth(90 * time.Second)
	if got := get(); got != "token-1" {
		t.Errorf("before its end: %s", got)
	}
	at.forth(6 * time.Second) // within the margin of its end
	if got := get(); !strings.Contains(got, "500") || strings.Contains(got, "database") {
		t.Errorf("after its end: %s", got)
	}
	n := asked.Load()
	for range 5 {
		get()
	}
	if asked.Load() != n {
		t.Errorf("%d questions during the pause", asked.Load()-n)
	}
	down.Store(false)
	at.forth(3 * time.Second)
	if got := get(); !strings.HasPrefix(got, "token-") {
		t.Errorf("well again: %s", got)
	}
}

// TestRenewedAhead: with Run nobody waits for a renewal.
func TestRenewedAhead(t *testing.T) {
	url, asked := tokenServer(t, func(n int64, w http.ResponseWriter, r *http.Request) { give(w, fmt.Sprint("token-", n), 100) })
	at := newClock()
	grants := &identity.Grants{Now: at.now}
	g := identity.Grant{TokenURL: url, ClientID: "a", Secret: "b"}
	if err := grants.Configure([]identity.Grant{g}); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { grants.Run(ctx) })
	defer wait.Wait()
	defer end()
	for asked.Load() == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	at.forth(82 * time.Second)                                    // beyond the latest moment of renewal, before the end
	if err := grants.Configure([]identity.Grant{g}); err != nil { // wakes it
		t.Fatal(err)
	}
	for asked.Load() < 2 {
		time.Sleep(5 * time.Millisecond)
	}
	for {
		token, err := grants.Token(ctx, g)
		if err != nil {
			t.Fatal(err)
		}
		if token == "token-2" {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestOneQuestionForAll: those who wait for one token share one question.
func TestOneQuestionForAll(t *testing.T) {
	open := make(chan struct{})
	url, asked := tokenServer(t, func(n int64, w http.ResponseWriter, r *http.Request) {
		<-open
		give(w, "token", 100)
	})
	grants := &identity.Grants{}
	own, change := identity.Grant{TokenURL: url, ClientID: "a", Secret: "b"}, identity.Grant{TokenURL: url, ClientID: "a", Secret: "b", Exchange: true}
	if err := grants.Configure([]identity.Grant{own, change}); err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 32 {
		wait.Go(func() {
			if _, err := grants.Token(t.Context(), own); err != nil {
				t.Error(err)
			}
		})
		wait.Go(func() {
			if _, err := grants.Exchange(t.Context(), change, "caller"); err != nil {
				t.Error(err)
			}
		})
	}
	for asked.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	close(open)
	wait.Wait()
	if asked.Load() != 2 {
		t.Errorf("%d questions, want 2", asked.Load())
	}
	ctx, end := context.WithCancel(t.Context())
	end()
	if _, err := grants.Exchange(ctx, change, "another"); sallyport.KindOf(err) != sallyport.Unavailable {
		t.Errorf("whoever left: %v", err)
	}
}

// TestBadTokenAnswers: whatever is no token is said so, without its text.
func TestBadTokenAnswers(t *testing.T) {
	for name, answer := range map[string]struct {
		status int
		media  string
		body   string
		want   string
	}{
		"empty":              {200, "application/json", "", "not"},
		"huge":               {200, "application/json", `{"access_token":"` + strings.Repeat("a", 70<<10) + `"}`, "larger than"},
		"cut off":            {200, "application/json", `{"access_token":"aa`, "not"},
		"a page":             {200, "text/html", `<html>`, "not of the type"},
		"no token":           {200, "application/json", `{"token_type":"bearer"}`, "no access_token"},
		"a token of lines":   {200, "application/json", `{"access_token":"a\r\nX-Admin: 1","token_type":"bearer"}`, "can stand in a header"},
		"a number":           {200, "application/json", `{"access_token":7,"token_type":"bearer"}`, "no access_token"},
		"another type":       {200, "application/json", `{"access_token":"a","token_type":"mac"}`, "not of the type Bearer"},
		"two tokens":         {200, "application/json", `{"access_token":"a","access_token":"b","token_type":"bearer"}`, ""},
		"over already":       {200, "application/json", `{"access_token":"a","token_type":"bearer","expires_in":0}`, "ended already"},
		"a life of nonsense": {200, "application/json", `{"access_token":"a","token_type":"bearer","expires_in":"long"}`, "not a time"},
		"a redirect":         {302, "", "", "302"},
		"a wrong client":     {401, "application/json", `{"error":"invalid_client","error_description":"PASSWORD hunter2"}`, "look at client_id"},
		"an error of lines":  {400, "application/json", `{"error":"a\nb hunter2"}`, "400"},
	} {
		url, _ := tokenServer(t, func(_ int64, w http.ResponseWriter, r *http.Request) {
			if answer.status == 302 {
				w.Header().Set("Location", "http://192.0.2.1/")
			}
			w.Header().Set("Content-Type", answer.media)
			w.WriteHeader(answer.status)
			fmt.Fprint(w, answer.body)
		})
		grants := &identity.Grants{}
		g := identity.Grant{TokenURL: url, ClientID: "a", Secret: "b"}
		if err := grants.Configure([]identity.Grant{g}); err != nil {
			t.Fatal(err)
		}
		if _, err := grants.Token(t.Context(), g); sallyport.KindOf(err) != sallyport.Unavailable || !strings.Contains(err.Error(), answer.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", name, err, answer.want)
		}
	}
}

// TestExchangedTokensAreBounded: many callers do not fill the memory.
func TestExchangedTokensAreBounded(t *testing.T) {
	url, _ := tokenServer(t, func(n int64, w http.ResponseWriter, r *http.Request) { give(w, "t", 1000) })
	grants := &identity.Grants{}
	g := identity.Grant{TokenURL: url, ClientID: "a", Secret: "b", Exchange: true}
	if err := grants.Configure([]identity.Grant{g}); err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for part := range 8 {
		wait.Go(func() {
			for i := range 550 {
				if _, err := grants.Exchange(t.Context(), g, fmt.Sprint(part, "-", i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	if held := grants.Status()[0].Held; held > 4096 || held < 4000 {
		t.Errorf("%d held", held)
	}
}

// TestSigners: keys that may sign and keys that may not.
func TestSigners(t *testing.T) {
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"nothing": "", "no PEM": "key", "P-224": keyPEM(t, p224), "a certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"damaged": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if _, err := identity.ParseSigner([]byte(text), ""); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

package gateway_test

import (
	"io"
	"net/http"
	"sync"
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

// TestRotationAndRevocationUnderTraffic: a real provider rotates its keys three
// times and revokes tokens while requests flow. No genuine request is refused,
// a token whose key is gone is, and a revoked one within the time that answers hold.
func TestRotationAndRevocationUnderTraffic(t *testing.T) {
	op := oidcprovider.Start(t)
	client, secret := op.Client()
	const audience, opaque = "https://api.example.test/es", "https://api.example.test/opaque"
	ids := &identity.Providers{Client: &http.Client{Timeout: 20 * time.Second}, Issuers: []string{op.Issuer}, Overlap: -1, UnknownEvery: time.Millisecond,
		Introspection: []identity.Introspection{{Issuer: op.Issuer, ClientID: client, Secret: secret, Cache: 300 * time.Millisecond, Timeout: 15 * time.Second}}}
	ask := policy.Introspection{ClientID: client, Secret: "env:X"}
	api := func(name, audience string, i policy.Introspection) guard.API {
		return guard.API{API: sallyport.API{Name: name, Hosts: []string{name + ".example.test"}}, Policy: policy.API{Mode: sallyport.Enforce,
			Auth: policy.Auth{Anonymous: policy.Never, OIDC: []policy.OIDC{{Issuer: op.Issuer, Audience: audience, Introspection: i}}}}}
	}
	p, err := guard.Compile(guard.Config{Name: "test", Keys: ids, APIs: []guard.API{api("shop", audience, policy.Introspection{}), api("desk", opaque, ask)}})
	if err != nil {
		t.Fatal(err)
	}
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	d := open(t, gateway.Options{Program: p, APIs: []gateway.API{{Name: "shop", Upstreams: []gateway.Upstream{{URL: up.URL}}}, {Name: "desk", Upstreams: []gateway.Upstream{{URL: up.URL}}}}, Resolver: ids,
		Bounds: gateway.Bounds{FetchTime: 20 * time.Second}}) // the provider makes keys meanwhile, and a busy machine takes its time
	client1 := d.client(false)
	send := func(host, token string) int {
		req, err := http.NewRequest("GET", d.url("/orders"), nil)
		if err != nil {
			t.Error(err)
			return 0
		}
		req.Host = host + ".example.test"
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := client1.Do(req)
		if err != nil {
			t.Error(err)
			return 0
		}
		defer res.Body.Close()
		io.Copy(io.Discard, res.Body)
		return res.StatusCode
	}
	var current atomic.Pointer[string]
	first, opened := op.Token(t, audience, "orders:read"), op.Token(t, opaque, "orders:read")
	lasting := op.Token(t, opaque, "orders:write")
	current.Store(&first)
	var sent, refused atomic.Int64
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				sent.Add(2)
				for host, token := range map[string]string{"shop": *current.Load(), "desk": lasting} {
					if status := send(host, token); status != 200 {
						refused.Add(1)
						t.Errorf("%s: %d while keys rotate", host, status)
					}
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	for range 3 {
		op.Rotate(t, 1) // the last generation stays published
		next := op.Token(t, audience, "orders:read")
		if status := send("shop", next); status != 200 {
			t.Errorf("a token of a new key: %d", status)
		}
		current.Store(&next)
		time.Sleep(100 * time.Millisecond)
	}
	if status := send("shop", first); status != 401 {
		t.Errorf("a token whose key has left the set: %d", status)
	}
	if status := send("desk", opened); status != 200 {
		t.Errorf("an opaque token: %d", status)
	}
	op.Revoke(t, opened)
	end := time.Now().Add(10 * time.Second)
	for send("desk", opened) == 200 {
		if time.Now().After(end) {
			t.Fatal("a revoked token still passes after 10 s")
		}
		time.Sleep(20 * time.Millisecond)
	}
	close(stop)
	wait.Wait()
	t.Logf("%d requests while keys were rotated and tokens revoked, %d refused", sent.Load(), refused.Load())
}

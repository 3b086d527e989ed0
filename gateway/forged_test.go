package gateway_test

import (
	"io"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/test/integration/forged"
)

// TestForgedTokensEndToEnd sends every forged token through the gateway, over
// HTTP/1.1 byte for byte and over HTTP/2, and every genuine one that looks like
// them: none of the first reaches the upstream, and all of the second do.
func TestForgedTokensEndToEnd(t *testing.T) {
	keys, now := forged.NewKeys(), time.Now()
	p, err := guard.Compile(guard.Config{Name: "test", Keys: keys, APIs: []guard.API{{API: sallyport.API{Name: "shop"}, Policy: policy.API{Mode: sallyport.Enforce,
		Checks: map[sallyport.Stage]sallyport.Mode{sallyport.StageLimit: sallyport.Off}, // or failures of one client would be refused unlooked at
		Auth: policy.Auth{Anonymous: policy.Never, OIDC: []policy.OIDC{{Issuer: forged.Issuer, Audience: forged.Audience}, {Issuer: forged.Other, Audience: forged.Audience}},
			Keys: []policy.Key{{ID: "k", Hash: "sha256:" + strings.Repeat("0", 64)}}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	var reached atomic.Int64
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		io.WriteString(w, "ok")
	})
	d := open(t, gateway.Options{Program: p, APIs: to(up.URL), Now: func() time.Time { return now }, Bounds: gateway.Bounds{Header: 64 << 10}})
	h1 := func(r forged.Request) int {
		var b strings.Builder
		b.WriteString("GET " + r.Target + " HTTP/1.1\r\nHost: shop.example.test\r\nConnection: close\r\n")
		for name, values := range r.Header {
			for _, v := range values {
				if strings.Contains(v, "\r\n") {
					return 0 // the header ends there: what would be sent is the genuine token
				}
				b.WriteString(name + ": " + v + "\r\n")
			}
		}
		res, _ := d.raw(t, b.String()+"\r\n")
		return res.StatusCode
	}
	client := d.client(true)
	h2 := func(r forged.Request) int {
		req, err := http.NewRequest("GET", d.url(r.Target), nil)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(req.Header, r.Header)
		res, err := client.Do(req)
		if err != nil && strings.Contains(err.Error(), "invalid header field value") {
			return 0 // no frame can carry it
		}
		read(t, res, err)
		if res.ProtoMajor != 2 {
			t.Fatalf("over %s", res.Proto)
		}
		return res.StatusCode
	}
	bearer := func(c forged.Case) forged.Request {
		return forged.Request{Name: c.Name, Target: "/", Header: http.Header{"Authorization": {"Bearer " + c.Token}}}
	}
	var refuse []forged.Request
	for _, c := range keys.Tokens(now) {
		refuse = append(refuse, bearer(c))
	}
	refuse = append(refuse, keys.Presented(now)...)
	unsent, accepted := 0, 0
	for _, r := range refuse {
		for proto, send := range map[string]func(forged.Request) int{"HTTP/1.1": h1, "HTTP/2": h2} {
			before := reached.Load()
			status := send(r)
			if status == 0 {
				unsent++
			}
			if status != 0 && status != 401 && status != 400 && status != 431 || reached.Load() != before {
				accepted++
				t.Errorf("%s over %s: %d, reached the upstream: %v", r.Name, proto, status, reached.Load() != before)
			}
		}
	}
	if unsent > 5 {
		t.Errorf("%d could not be sent", unsent)
	}
	genuine := keys.Genuine(now)
	for _, c := range genuine {
		for proto, send := range map[string]func(forged.Request) int{"HTTP/1.1": h1, "HTTP/2": h2} {
			for _, way := range []string{"verified", "cached"} {
				before := reached.Load()
				if status := send(bearer(c)); status != 200 || reached.Load() != before+1 {
					t.Errorf("genuine, %s, over %s, %s: %d", c.Name, proto, way, status)
				}
			}
		}
	}
	for _, r := range []forged.Request{
		{Name: "scheme in lower case", Target: "/", Header: http.Header{"Authorization": {"bearer " + genuine[0].Token}}},
		{Name: "scheme in capitals", Target: "/", Header: http.Header{"Authorization": {"BEARER  " + genuine[0].Token}}},
		{Name: "a cookie beside it", Target: "/?token=other", Header: http.Header{"Authorization": {"Bearer " + genuine[0].Token}, "Cookie": {"token=other"}}},
	} {
		if a, b := h1(r), h2(r); a != 200 || b != 200 {
			t.Errorf("genuine, %s: %d and %d", r.Name, a, b)
		}
	}
	t.Logf("%d of %d forged accepted, over each of two protocols; %d genuine accepted", accepted, len(refuse), len(genuine)+3)
}

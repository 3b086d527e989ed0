package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/guard/authn"
	"sallyport.dev/identity"
	"sallyport.dev/policy"
	"sallyport.dev/test/integration/oidcprovider"
)

// authority makes certificates for clients.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func (a *authority) issue(t *testing.T, uri string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		URIs: []*url.URL{u}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// speakers are clients by each protocol, with a client certificate or none.
func (d *door) speakers(cert *tls.Certificate) map[string]*http.Client {
	conf := func() *tls.Config {
		c := &tls.Config{RootCAs: d.roots}
		if cert != nil {
			c.Certificates = []tls.Certificate{*cert}
		}
		return c
	}
	h1, h2 := d.client(false), d.client(true)
	h1.Transport.(*http.Transport).TLSClientConfig, h2.Transport.(*http.Transport).TLSClientConfig = conf(), conf()
	h3 := &http3.Transport{TLSClientConfig: conf()}
	d.t.Cleanup(func() { h3.Close() })
	return map[string]*http.Client{"HTTP/1.1": h1, "HTTP/2": h2, "HTTP/3": {Transport: h3}}
}

// TestHoldersOfTokens: tokens of a real provider, bound to a key or a
// certificate, pass for their holder and for nobody else.
func TestHoldersOfTokens(t *testing.T) {
	t.Parallel()
	op := oidcprovider.Start(t)
	ids := &identity.Providers{Issuers: []string{op.Issuer}}
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	ca := newAuthority(t)
	const audience = "https://api.example.test/es"
	compile := func(a policy.Auth, proofs *authn.Proofs) *guard.Program {
		a.OIDC = []policy.OIDC{{Issuer: op.Issuer, Audience: audience, Profile: policy.RFC9068}}
		p, err := guard.Compile(guard.Config{Name: "test", Keys: ids, Proofs: proofs, APIs: []guard.API{{API: sallyport.API{Name: "shop"},
			Policy: policy.API{Mode: sallyport.Enforce, Auth: a}}}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	proofs := authn.NewProofs(nil)
	any := policy.Auth{Binding: policy.ByAny, Certificates: []policy.Certificate{{ID: "jobs", URI: "spiffe://example.test/jobs/*"}}}
	d := open(t, gateway.Options{Program: compile(any, proofs), APIs: to(up.URL), Resolver: ids, TLS: gateway.TLS{ClientCAs: ca.pool()}})
	mine, thiefs := ca.issue(t, "spiffe://example.test/jobs/night"), ca.issue(t, "spiffe://example.test/other")
	plain := op.Token(t, audience, "orders:read")
	byKey := op.TokenByProof(t, audience, "orders:read")
	byCert := op.TokenByCertificate(t, audience, "orders:read", mine.Certificate[0])
	ask := func(c *http.Client, auth, proof string) (*http.Response, *sallyport.Exchange) {
		t.Helper()
		req, _ := http.NewRequestWithContext(context.Background(), "GET", d.url("/orders"), nil)
		if auth != "" {
			req.Header.Set("Authorization", auth)
		}
		if proof != "" {
			req.Header.Set("DPoP", proof)
		}
		res, err := c.Do(req)
		read(t, res, err)
		return res, d.rec.find(t, res.Header.Get("X-Request-Id"))
	}
	prove := func(token string) string { return op.Proof(t, "GET", d.url("/orders"), token, "") }
	without, with, other := d.speakers(nil), d.speakers(mine), d.speakers(thiefs)
	for _, proto := range []string{"HTTP/1.1", "HTTP/2", "HTTP/3"} {
		used := prove(byKey)
		for _, c := range []struct {
			name        string
			client      *http.Client
			auth, proof string
			kind, rule  string
		}{
			{"its proof", without[proto], "DPoP " + byKey, used, "oidc", ""},
			{"the same proof again", without[proto], "DPoP " + byKey, used, "", authn.RuleReplayed},
			{"no proof", without[proto], "DPoP " + byKey, "", "", authn.RuleNoProof},
			{"a bound token as a bearer's", without[proto], "Bearer " + byKey, prove(byKey), "", authn.RuleBound},
			{"another token's proof", without[proto], "DPoP " + byKey, prove(plain), "", authn.RuleProofToken},
			{"another method's proof", without[proto], "DPoP " + byKey, op.Proof(t, "POST", d.url("/orders"), byKey, ""), "", authn.RuleProofFor},
			{"an unbound token", without[proto], "Bearer " + plain, "", "", authn.RuleUnbound},
			{"its certificate", with[proto], "Bearer " + byCert, "", "oidc", ""},
			{"another's certificate", other[proto], "Bearer " + byCert, "", "", authn.RuleHolder},
			{"no certificate", without[proto], "Bearer " + byCert, "", "", authn.RuleHolder},
			{"a certificate alone", with[proto], "", "", "certificate", ""},
			{"a stranger's certificate alone", other[proto], "", "", "", authn.RuleStranger},
			{"nothing", without[proto], "", "", "", authn.RuleMissing},
		} {
			res, x := ask(c.client, c.auth, c.proof)
			if x.Principal.Kind != c.kind || (res.StatusCode == 200) != (c.rule == "") {
				t.Errorf("%s, %s: %d for %v, want %q %s: %+v", proto, c.name, res.StatusCode, x.Principal, c.kind, c.rule, x.Decision)
				continue
			}
			if c.rule != "" && (res.StatusCode != 401 || x.Decision.Reasons[0].Rule != c.rule) {
				t.Errorf("%s, %s: %d %+v, want 401 by %s", proto, c.name, res.StatusCode, x.Decision, c.rule)
			}
			if c.kind == "certificate" && x.Principal.Subject != "spiffe://example.test/jobs/night" {
				t.Errorf("%s, %s: subject %q", proto, c.name, x.Principal.Subject)
			}
			challenges := strings.Join(res.Header.Values("WWW-Authenticate"), "; ")
			if res.StatusCode == 401 && !strings.Contains(challenges, `DPoP realm="shop", algs="ES256 `) {
				t.Errorf("%s, %s: challenges %q", proto, c.name, challenges)
			}
		}
	}

	// A proof that was used stays used when another program takes over; where a
	// nonce is demanded the answer gives it, and the next proof carries it.
	used := prove(byKey)
	if res, x := ask(without["HTTP/1.1"], "DPoP "+byKey, used); res.StatusCode != 200 {
		t.Fatalf("%+v", x.Decision)
	}
	nonces := any
	nonces.DPoP.Nonce = true
	d.Swap(compile(any, proofs))
	if _, x := ask(without["HTTP/2"], "DPoP "+byKey, used); len(x.Decision.Reasons) == 0 || x.Decision.Reasons[0].Rule != authn.RuleReplayed {
		t.Errorf("after a change, the same proof again: %+v", x.Decision)
	}
	d.Swap(compile(nonces, proofs))
	res, _ := ask(without["HTTP/1.1"], "DPoP "+byKey, prove(byKey))
	nonce := res.Header.Get("DPoP-Nonce")
	if res.StatusCode != 401 || nonce == "" || !strings.Contains(res.Header.Get("WWW-Authenticate"), `error="use_dpop_nonce"`) {
		t.Fatalf("without a nonce: %d %v", res.StatusCode, res.Header)
	}
	if res, x := ask(without["HTTP/1.1"], "DPoP "+byKey, op.Proof(t, "GET", d.url("/orders"), byKey, nonce)); res.StatusCode != 200 {
		t.Errorf("with the nonce: %+v", x.Decision)
	}
}

// TestClientCertificates: one that does not verify gets nowhere; where no API
// wants one, nobody is asked.
func TestClientCertificates(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	ca, stranger := newAuthority(t), newAuthority(t)
	shop := guard.API{API: sallyport.API{Name: "shop", Hosts: []string{"jobs.example.test"}}, Policy: policy.API{Mode: sallyport.Enforce,
		Auth: policy.Auth{Certificates: []policy.Certificate{{ID: "jobs", URI: "spiffe://example.test/jobs"}}}}}
	free := guard.API{API: sallyport.API{Name: "free", Hosts: []string{"free.example.test"}}, Policy: policy.API{Mode: sallyport.Enforce}}
	p, err := guard.Compile(guard.Config{Name: "test", APIs: []guard.API{shop, free}})
	if err != nil {
		t.Fatal(err)
	}
	apis := append(to(up.URL), gateway.API{Name: "free", Upstreams: []gateway.Upstream{{URL: up.URL}}})
	d := open(t, gateway.Options{Program: p, APIs: apis, TLS: gateway.TLS{ClientCAs: ca.pool(), Names: []string{"jobs.example.test", "free.example.test"}}})
	for _, c := range []struct {
		name, host string
		cert       *tls.Certificate
		asked      bool
		status     int // 0: no connection
	}{
		{"its certificate", "jobs.example.test", ca.issue(t, "spiffe://example.test/jobs"), true, 200},
		{"none", "jobs.example.test", nil, true, 401},
		{"of another authority", "jobs.example.test", stranger.issue(t, "spiffe://example.test/jobs"), true, 0},
		{"where nobody asks", "free.example.test", stranger.issue(t, "spiffe://example.test/jobs"), false, 200},
	} {
		asked := false
		conf := &tls.Config{RootCAs: d.roots, ServerName: c.host, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if asked = true; c.cert != nil {
				return c.cert, nil
			}
			return &tls.Certificate{}, nil
		}}
		tr := &http.Transport{TLSClientConfig: conf}
		req, _ := http.NewRequest("GET", d.url("/"), nil)
		req.Host = c.host
		res, err := (&http.Client{Transport: tr}).Do(req)
		status := 0
		if err == nil {
			read(t, res, err)
			status = res.StatusCode
		}
		if tr.CloseIdleConnections(); status != c.status || asked != c.asked {
			t.Errorf("%s: status %d (%v), asked %v; want %d, %v", c.name, status, err, asked, c.status, c.asked)
		}
	}
	// The certificate of a connection opens no other host than those it was asked for.
	conf := &tls.Config{RootCAs: d.roots, ServerName: "free.example.test", Certificates: []tls.Certificate{*ca.issue(t, "spiffe://example.test/jobs")}}
	tr := &http.Transport{TLSClientConfig: conf}
	defer tr.CloseIdleConnections()
	req, _ := http.NewRequest("GET", d.url("/"), nil)
	req.Host = "jobs.example.test"
	res, err := (&http.Client{Transport: tr}).Do(req)
	if read(t, res, err); res.StatusCode != 421 { // it comes again by a connection of its own, and is asked
		t.Errorf("by a connection for another host: %d", res.StatusCode)
	}
}

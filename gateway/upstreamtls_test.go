package gateway_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/gateway"
)

func prefixes(list ...string) (all []netip.Prefix) {
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// tlsUpstream is a service by TLS that says who asked.
func tlsUpstream(t testing.TB, c *tls.Certificate, change func(*tls.Config)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) > 0 {
			io.WriteString(w, "asked by "+r.TLS.PeerCertificates[0].Subject.CommonName)
			return
		}
		io.WriteString(w, "ok")
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{*c}, MinVersion: tls.VersionTLS10}
	if change != nil {
		change(s.TLS)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func pin(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

func TestUpstreamTrust(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	roots, others := put(t, filepath.Join(dir, "ca.pem"), ca.cert.Raw), put(t, filepath.Join(dir, "other.pem"), other.cert.Raw)
	mine := ca.server(t, nil, "gateway.example.test")
	crt, key := put(t, filepath.Join(dir, "own.crt"), mine.Certificate...), putKey(t, filepath.Join(dir, "own.key"), mine.PrivateKey)
	foreign := other.server(t, nil, "gateway.example.test")
	crt2, key2 := put(t, filepath.Join(dir, "foreign.crt"), foreign.Certificate...), putKey(t, filepath.Join(dir, "foreign.key"), foreign.PrivateKey)

	good := ca.server(t, nil, "127.0.0.1", "payments.internal")
	expired := ca.server(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, "127.0.0.1")
	usual := tlsUpstream(t, good, nil)
	late := tlsUpstream(t, expired, nil)
	named := tlsUpstream(t, ca.server(t, nil, "payments.internal"), nil)
	demands := func(version uint16) *httptest.Server {
		return tlsUpstream(t, good, func(c *tls.Config) {
			c.ClientAuth, c.ClientCAs, c.MaxVersion = tls.RequireAndVerifyClientCert, ca.pool(), version
		})
	}
	mutual, mutual12 := demands(tls.VersionTLS13), demands(tls.VersionTLS12)
	old := tlsUpstream(t, good, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 })
	only12 := tlsUpstream(t, good, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
	plain := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })

	d := open(t, gateway.Options{})
	for _, tt := range []struct {
		name string
		up   gateway.Upstream
		rule string // "" = it answers
		body string
	}{
		{"known", gateway.Upstream{URL: usual.URL, CA: roots}, "", "ok"},
		{"known by another name", gateway.Upstream{URL: named.URL, CA: roots, Name: "payments.internal"}, "", "ok"},
		{"wrong authority", gateway.Upstream{URL: usual.URL, CA: others}, "upstream.certificate-authority", ""},
		{"the system's authorities", gateway.Upstream{URL: usual.URL}, "upstream.certificate-authority", ""},
		{"wrong name", gateway.Upstream{URL: usual.URL, CA: roots, Name: "orders.internal"}, "upstream.certificate-name", ""},
		{"not for the address", gateway.Upstream{URL: named.URL, CA: roots}, "upstream.certificate-name", ""},
		{"expired", gateway.Upstream{URL: late.URL, CA: roots}, "upstream.certificate-expired", ""},
		{"pinned", gateway.Upstream{URL: usual.URL, CA: roots, Pins: pin(good.Leaf)}, "", "ok"},
		{"pinned by its authority, or another", gateway.Upstream{URL: usual.URL, CA: roots, Pins: pin(other.cert) + " " + pin(ca.cert)}, "", "ok"},
		{"revoked by pin", gateway.Upstream{URL: usual.URL, CA: roots, Pins: pin(expired.Leaf)}, "upstream.pin", ""},
		{"a pin is no authority", gateway.Upstream{URL: usual.URL, CA: others, Pins: pin(good.Leaf)}, "upstream.certificate-authority", ""},
		{"with our certificate", gateway.Upstream{URL: mutual.URL, CA: roots, Cert: crt, Key: key}, "", "asked by server"},
		{"with our certificate, TLS 1.2", gateway.Upstream{URL: mutual12.URL, CA: roots, Cert: crt, Key: key}, "", "asked by server"},
		{"without our certificate", gateway.Upstream{URL: mutual.URL, CA: roots}, "upstream.client-certificate", ""},
		{"without our certificate, TLS 1.2", gateway.Upstream{URL: mutual12.URL, CA: roots}, "upstream.client-certificate", ""},
		{"with a foreign certificate", gateway.Upstream{URL: mutual.URL, CA: roots, Cert: crt2, Key: key2}, "upstream.client-certificate", ""},
		{"TLS 1.1", gateway.Upstream{URL: old.URL, CA: roots}, "upstream.tls-version", ""},
		{"TLS 1.2", gateway.Upstream{URL: only12.URL, CA: roots}, "", "ok"},
		{"TLS 1.2 where 1.3 is asked for", gateway.Upstream{URL: only12.URL, CA: roots, MinTLS: tls.VersionTLS13}, "upstream.tls-version", ""},
		{"plain HTTP on the port", gateway.Upstream{URL: "https" + strings.TrimPrefix(plain.URL, "http"), CA: roots}, "upstream.tls", ""},
	} {
		for _, protocol := range []string{"http1", "h2"} {
			if protocol == "h2" && tt.rule == "upstream.tls" {
				continue
			}
			tt.up.Protocol = protocol
			// An instance of its own each time, so that no connection is left from before.
			if err := d.SetAPIs(nil); err != nil {
				t.Fatal(err)
			}
			if err := d.SetAPIs([]gateway.API{{Name: "shop", Upstreams: []gateway.Upstream{tt.up}, Health: gateway.Health{Retries: -1}}}); err != nil {
				t.Fatal(err)
			}
			res, err := d.client(false).Post(d.url("/"), "text/plain", strings.NewReader("x"))
			body := read(t, res, err)
			x := d.rec.find(t, res.Header.Get("X-Request-Id"))
			if tt.rule == "" {
				if res.StatusCode != 200 || body != tt.body {
					t.Errorf("%s (%s): %d %q; %+v", tt.name, protocol, res.StatusCode, body, x.Decision)
				}
			} else {
				wantProblem(t, res, body, 502)
				if n := len(x.Decision.Reasons); n == 0 || x.Decision.Reasons[n-1].Rule != tt.rule {
					t.Errorf("%s (%s): %+v, want %s", tt.name, protocol, x.Decision, tt.rule)
				}
				for _, word := range []string{"ertificate", "x509", "tls", "127.0.0.1"} {
					if strings.Contains(body, word) {
						t.Errorf("%s (%s): the client is told %s", tt.name, protocol, body)
					}
				}
			}
		}
	}
	for name, u := range map[string]gateway.Upstream{
		"no authorities":       {URL: usual.URL, CA: key},
		"key that is not ours": {URL: usual.URL, Cert: crt, Key: key2},
		"no pin":               {URL: usual.URL, Pins: "abc"},
	} {
		if _, err := gateway.New(gateway.Options{Program: program(t), APIs: []gateway.API{{Name: "shop", Upstreams: []gateway.Upstream{u}}}}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// Authorities and our own certificate are read again when their files change,
// and count for the next connection.
func TestUpstreamTrustChanges(t *testing.T) {
	one, two := newAuthority(t), newAuthority(t)
	dir, clock := t.TempDir(), newClock()
	roots := put(t, filepath.Join(dir, "ca.pem"), one.cert.Raw)
	mine := one.server(t, nil, "gateway.example.test")
	crt, key := put(t, filepath.Join(dir, "own.crt"), mine.Certificate...), putKey(t, filepath.Join(dir, "own.key"), mine.PrivateKey)
	up := tlsUpstream(t, one.server(t, nil, "127.0.0.1"), func(c *tls.Config) {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, two.pool()
	})
	up.Config.SetKeepAlivesEnabled(false)
	d := open(t, gateway.Options{Now: clock.now, APIs: []gateway.API{{Name: "shop", Upstreams: []gateway.Upstream{{URL: up.URL, CA: roots, Cert: crt, Key: key}}, Health: gateway.Health{Retries: -1}}}})
	want := func(when string, status int, rule string) {
		t.Helper()
		res, err := d.client(false).Get(d.url("/"))
		read(t, res, err)
		x := d.rec.find(t, res.Header.Get("X-Request-Id"))
		if res.StatusCode != status || rule != "" && x.Decision.Reasons[len(x.Decision.Reasons)-1].Rule != rule {
			t.Errorf("%s: %d %+v, want %d %s", when, res.StatusCode, x.Decision, status, rule)
		}
	}
	want("at first", 502, "upstream.client-certificate")
	next := two.server(t, nil, "gateway.example.test")
	put(t, crt, next.Certificate...)
	putKey(t, key, next.PrivateKey)
	clock.add(2 * time.Second)
	want("our certificate has changed", 200, "")
	put(t, roots, two.cert.Raw)
	clock.add(2 * time.Second)
	want("its authority is gone", 502, "upstream.certificate-authority")
	put(t, roots, two.cert.Raw, one.cert.Raw)
	clock.add(2 * time.Second)
	want("and back", 200, "")
}

package gateway_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
)

// server issues a certificate for names and addresses.
func (a *authority) server(t testing.TB, change func(*x509.Certificate), names ...string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := rand.Int(rand.Reader, big.NewInt(1<<60))
	c := &x509.Certificate{SerialNumber: n, Subject: pkix.Name{CommonName: "server"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	if change != nil {
		change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}
}

// put writes certificates into a file that takes the place of an earlier one.
func put(t testing.TB, path string, certs ...[]byte) string {
	t.Helper()
	var b bytes.Buffer
	for _, der := range certs {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return putBytes(t, path, b.Bytes())
}

func putKey(t testing.TB, path string, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return putBytes(t, path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func putBytes(t testing.TB, path string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTLSPolicy(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	start := func(o gateway.TLS) *door {
		o.Names = []string{"shop.example.test"}
		return open(t, gateway.Options{APIs: to(up.URL), TLS: o})
	}
	usual := start(gateway.TLS{})
	newest := start(gateway.TLS{MinVersion: tls.VersionTLS13})
	narrow := start(gateway.TLS{Suites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}, Curves: []tls.CurveID{tls.X25519, tls.X25519MLKEM768}})
	for _, tt := range []struct {
		name   string
		d      *door
		conf   *tls.Config
		accept bool
		check  func(tls.ConnectionState) bool
	}{
		{"as clients come", usual, &tls.Config{}, true, func(s tls.ConnectionState) bool {
			return s.Version == tls.VersionTLS13 && s.CurveID == tls.X25519MLKEM768 // the hybrid one
		}},
		{"TLS 1.2", usual, &tls.Config{MaxVersion: tls.VersionTLS12}, true, nil},
		{"TLS 1.1", usual, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false, nil},
		{"CBC", usual, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}, false, nil},
		{"no forward secrecy", usual, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}}, false, nil},
		{"1.3 alone: 1.2", newest, &tls.Config{MaxVersion: tls.VersionTLS12}, false, nil},
		{"1.3 alone: 1.3", newest, &tls.Config{}, true, nil},
		{"one suite: that", narrow, &tls.Config{MaxVersion: tls.VersionTLS12}, true, func(s tls.ConnectionState) bool {
			return s.CipherSuite == tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
		}},
		{"one suite: another", narrow, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}, false, nil},
		{"two key exchanges: another", narrow, &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP256}}, false, nil},
		{"h2", usual, &tls.Config{NextProtos: []string{"h2"}}, true, func(s tls.ConnectionState) bool { return s.NegotiatedProtocol == "h2" }},
		{"http/1.1", usual, &tls.Config{NextProtos: []string{"http/1.1"}}, true, func(s tls.ConnectionState) bool { return s.NegotiatedProtocol == "http/1.1" }},
		{"another protocol", usual, &tls.Config{NextProtos: []string{"smtp"}}, false, nil}, // RFC 7301 section 3.2
		{"a challenge that nobody asked for", usual, &tls.Config{NextProtos: []string{"acme-tls/1"}}, false, nil},
	} {
		tt.conf.RootCAs, tt.conf.ServerName = tt.d.roots, "shop.example.test"
		c, err := tls.Dial("tcp", tt.d.addr, tt.conf)
		if (err == nil) != tt.accept {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err != nil {
			continue
		}
		if tt.check != nil && !tt.check(c.ConnectionState()) {
			t.Errorf("%s: %+v", tt.name, c.ConnectionState())
		}
		c.Close()
	}
}

// Keys of session tickets change: a ticket of last week opens nothing.
func TestTicketsEnd(t *testing.T) {
	clock := newClock()
	d := open(t, gateway.Options{Now: clock.now, TLS: gateway.TLS{Names: []string{"shop.example.test"}}})
	cache := tls.NewLRUClientSessionCache(1)
	resumed := func() bool {
		conf := &tls.Config{RootCAs: d.roots, ServerName: "shop.example.test", ClientSessionCache: cache, MaxVersion: tls.VersionTLS12, Time: clock.now}
		c, err := tls.Dial("tcp", d.addr, conf)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().DidResume
	}
	if resumed() || !resumed() {
		t.Error("sessions are not resumed")
	}
	clock.add(8 * 24 * time.Hour)
	if resumed() {
		t.Error("a session was resumed after a week")
	}
}

func TestStrictTransportSecurity(t *testing.T) {
	const want = "max-age=31536000"
	own := "max-age=60; includeSubDomains"
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/own" {
			w.Header().Set("Strict-Transport-Security", own)
		}
		io.WriteString(w, "ok")
	})
	d := open(t, gateway.Options{APIs: to(up.URL), TLS: gateway.TLS{HSTS: want, Names: []string{"shop.example.test"}}})
	off := open(t, gateway.Options{APIs: to(up.URL)})
	for _, tt := range []struct {
		name, host, path string
		d                *door
		plain            bool
		want             string
	}{
		{"by name", "shop.example.test", "/", d, false, want},
		{"with a port", "shop.example.test:8443", "/", d, false, want},
		{"a refusal", "shop.example.test", "/" + strings.Repeat("x", 9<<10), d, false, want},
		{"the upstream's own", "shop.example.test", "/own", d, false, own},
		{"localhost", "localhost", "/", d, false, ""},
		{"below localhost", "shop.localhost", "/", d, false, ""},
		{"an address", "127.0.0.1", "/", d, false, ""},
		{"an address of IPv6", "[::1]:8443", "/", d, false, ""},
		{"in the clear", "shop.example.test", "/", d, true, ""},
		{"the upstream's own in the clear", "shop.example.test", "/own", d, true, ""},
		{"off", "shop.example.test", "/", off, false, ""},
	} {
		for _, h2 := range []bool{false, true} {
			if h2 && tt.plain {
				continue
			}
			if !h2 && len(tt.path) > 100 { // the strict front refuses by itself, before it knows the host
				continue
			}
			u := tt.d.url(tt.path)
			if tt.plain {
				u = "http://" + tt.d.plain + tt.path
			}
			req, _ := http.NewRequest("GET", u, nil)
			req.Host = tt.host
			res, err := tt.d.client(h2).Do(req)
			read(t, res, err)
			if got := res.Header.Get("Strict-Transport-Security"); got != tt.want || len(res.Header["Strict-Transport-Security"]) > 1 {
				t.Errorf("%s (h2 %v): %d %q, want %q", tt.name, h2, res.StatusCode, res.Header["Strict-Transport-Security"], tt.want)
			}
		}
	}
}

// A request that comes over a connection opened for another name.
func TestMisdirected(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	ca := newAuthority(t)
	free := guard.API{API: sallyport.API{Name: "shop"}, Policy: policy.API{Mode: sallyport.Enforce}}
	jobs := guard.API{API: sallyport.API{Name: "jobs", Hosts: []string{"jobs.example.test"}}, Policy: policy.API{Mode: sallyport.Enforce,
		Auth: policy.Auth{Certificates: []policy.Certificate{{ID: "jobs", URI: "spiffe://example.test/jobs"}}}}}
	start := func(sni gateway.SNI, proxies bool) *door {
		o := gateway.Options{Program: program(t, free, jobs), APIs: append(to(up.URL), gateway.API{Name: "jobs", Upstreams: []gateway.Upstream{{URL: up.URL}}}),
			TLS: gateway.TLS{SNI: sni, ClientCAs: ca.pool(), Names: []string{"a.example.test", "b.example.test", "jobs.example.test"}}}
		if proxies {
			o.TrustedProxies = prefixes("127.0.0.0/8")
		}
		return open(t, o)
	}
	covered, strict, off, proxied := start("", false), start(gateway.SNIStrict, false), start(gateway.SNIOff, false), start("", true)
	for _, tt := range []struct {
		name, sni, host string
		d               *door
		status          int
	}{
		{"the same", "a.example.test", "a.example.test", covered, 200},
		{"in capitals, with a port and a dot", "a.example.test", "A.Example.Test.:8443", covered, 200},
		{"one that the certificate covers", "a.example.test", "b.example.test", covered, 200},
		{"one that it does not", "a.example.test", "c.example.test", covered, 421},
		{"one that wants certificates", "a.example.test", "jobs.example.test", covered, 421},
		{"that one by its own name", "jobs.example.test", "jobs.example.test", covered, 401},
		{"an address", "a.example.test", "192.0.2.1", covered, 421},
		{"no name at all", "", "c.example.test", covered, 200},
		{"strict: covered", "a.example.test", "b.example.test", strict, 421},
		{"strict: the same", "a.example.test", "a.example.test", strict, 200},
		{"off", "a.example.test", "c.example.test", off, 200},
		{"by a proxy", "a.example.test", "c.example.test", proxied, 200},
	} {
		for _, h2 := range []bool{false, true} {
			tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: tt.d.roots, ServerName: tt.sni}, Protocols: new(http.Protocols)}
			tr.Protocols.SetHTTP1(!h2)
			tr.Protocols.SetHTTP2(h2)
			req, _ := http.NewRequest("GET", tt.d.url("/"), nil)
			req.Host = tt.host
			res, err := (&http.Client{Transport: tr}).Do(req)
			body := read(t, res, err)
			if tr.CloseIdleConnections(); res.StatusCode != tt.status {
				t.Errorf("%s (h2 %v): %d, want %d", tt.name, h2, res.StatusCode, tt.status)
			}
			if tt.status == 421 {
				wantProblem(t, res, body, 421)
				if x := tt.d.rec.find(t, res.Header.Get("X-Request-Id")); x.Decision.Reasons[0].Rule != "host.misdirected" {
					t.Errorf("%s: %+v", tt.name, x.Decision)
				}
			}
		}
	}
}

// Authorities of clients change without a restart; a session that an authority
// vouched for which is gone is not resumed.
func TestClientAuthoritiesChange(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	one, two := newAuthority(t), newAuthority(t)
	clock, file := newClock(), filepath.Join(t.TempDir(), "clients.pem")
	put(t, file, one.cert.Raw)
	shop := guard.API{API: sallyport.API{Name: "shop"}, Policy: policy.API{Mode: sallyport.Enforce,
		Auth: policy.Auth{Certificates: []policy.Certificate{{ID: "jobs", URI: "spiffe://example.test/jobs"}}}}}
	d := open(t, gateway.Options{Program: program(t, shop), APIs: to(up.URL), Now: clock.now, TLS: gateway.TLS{ClientCAFile: file, Names: []string{"a.example.test"}}})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		put(t, file, one.cert.Raw)
		clock.add(2 * time.Second)
		cache := tls.NewLRUClientSessionCache(4)
		ask := func(c *tls.Certificate) (status int, resumed bool) {
			tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: d.roots, ServerName: "a.example.test", MaxVersion: version, ClientSessionCache: cache,
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil }}}
			req, _ := http.NewRequest("GET", d.url("/"), nil)
			req.Host = "a.example.test"
			res, err := (&http.Client{Transport: tr}).Do(req)
			if err != nil {
				return 0, false
			}
			read(t, res, err)
			return res.StatusCode, res.TLS.DidResume
		}
		mine, other := one.issue(t, "spiffe://example.test/jobs"), two.issue(t, "spiffe://example.test/jobs")
		if s, _ := ask(mine); s != 200 {
			t.Fatalf("%x: %d", version, s)
		}
		if s, resumed := ask(mine); s != 200 || !resumed {
			t.Errorf("%x: again: %d, resumed %v", version, s, resumed)
		}
		put(t, file, two.cert.Raw)
		clock.add(2 * time.Second)
		if s, resumed := ask(mine); s != 0 || resumed {
			t.Errorf("%x: of an authority that is gone: %d, resumed %v", version, s, resumed)
		}
		if s, _ := ask(other); s != 200 {
			t.Errorf("%x: of the new authority: %d", version, s)
		}
		putBytes(t, file, []byte("rubbish"))
		clock.add(2 * time.Second)
		if s, _ := ask(other); s != 200 {
			t.Errorf("%x: after a broken change: %d", version, s)
		}
	}
	if _, err := gateway.New(gateway.Options{Program: program(t, shop), TLS: gateway.TLS{ClientCAFile: file}}); err == nil {
		t.Error("started with authorities that can't be read")
	}
}

// Certificates are listed with what they are for, also those of upstreams once
// they have been seen, and measured.
func TestCertificatesListed(t *testing.T) {
	ca := newAuthority(t)
	dir := t.TempDir()
	up := tlsUpstream(t, ca.server(t, nil, "127.0.0.1"), nil)
	own := ca.server(t, nil, "shop.example.test")
	roots, clients := put(t, filepath.Join(dir, "ca.pem"), ca.cert.Raw), put(t, filepath.Join(dir, "clients.pem"), ca.cert.Raw)
	d := open(t, gateway.Options{APIs: []gateway.API{{Name: "shop", Upstreams: []gateway.Upstream{{URL: up.URL, CA: roots}}}}, TLS: gateway.TLS{
		CertFile: put(t, filepath.Join(dir, "tls.crt"), own.Certificate...), KeyFile: putKey(t, filepath.Join(dir, "tls.key"), own.PrivateKey), ClientCAFile: clients, WarnDays: 30}})
	d.roots = ca.pool()
	count := func() map[string]int {
		n := map[string]int{}
		for _, e := range d.Certificates() {
			n[e.Use]++
		}
		return n
	}
	if n := count(); n["served"] != 1 || n["client_ca"] != 1 || n["upstream_ca"] != 1 || n["upstream"] != 0 {
		t.Errorf("before: %v", n)
	}
	req, _ := http.NewRequest("GET", d.url("/"), nil)
	req.Host = "shop.example.test"
	c := d.client(false)
	c.Transport.(*http.Transport).TLSClientConfig.ServerName = "shop.example.test"
	res, err := c.Do(req)
	if read(t, res, err); res.StatusCode != 200 || count()["upstream"] != 1 {
		t.Errorf("after: %d %v", res.StatusCode, count())
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(d.Collectors()...)
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range all {
		if f.GetName() == "sallyport_certificate_not_after_seconds" {
			for _, m := range f.Metric {
				if left := m.GetGauge().GetValue() - float64(time.Now().Unix()); left > 0 && left < 3700 {
					seen++
				}
			}
		}
	}
	if seen != 4 {
		t.Errorf("%d certificates measured", seen)
	}
}

// Whatever a Host header holds, judging it ends and knows no name of this machine.
func FuzzMisdirectedHost(f *testing.F) {
	for _, s := range []string{"", "a", "localhost", "[::1]:1", "[", "]:", ":", ".", "a.b.:443", "127.0.0.1", "a:b:c", "\x00"} {
		f.Add(s)
	}
	up := upstream(f, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	d := open(f, gateway.Options{APIs: to(up.URL), TLS: gateway.TLS{HSTS: "max-age=1", Names: []string{"shop.example.test"}}})
	f.Fuzz(func(t *testing.T, host string) {
		r := &http.Request{Method: "GET", URL: &url.URL{Path: "/"}, RequestURI: "/", Proto: "HTTP/2.0", ProtoMajor: 2, Host: host, Header: http.Header{}, RemoteAddr: "192.0.2.1:1",
			TLS: &tls.ConnectionState{HandshakeComplete: true, ServerName: "shop.example.test"}}
		w := newSink()
		d.ServeHTTP(w, r.WithContext(t.Context()))
		if name := strings.TrimSuffix(strings.ToLower(host), "."); w.status == 200 && name != "shop.example.test" && !strings.Contains(host, ":") && name != "localhost" && net.ParseIP(strings.Trim(name, "[]")) == nil {
			t.Errorf("%q was answered over a connection for shop.example.test", host)
		}
	})
}

type sink struct {
	header http.Header
	status int
}

func newSink() *sink                        { return &sink{header: http.Header{}, status: 0} }
func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

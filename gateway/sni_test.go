package gateway_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
)

// Several certificates from files: each client gets the one for its name, and a
// request for a name of another certificate does not pass over its connection.
func TestCertificatesByName(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	ca, dir := newAuthority(t), t.TempDir()
	pair := func(file string, c *tls.Certificate) gateway.Pair {
		return gateway.Pair{CertFile: put(t, filepath.Join(dir, file+".pem"), c.Certificate...), KeyFile: putKey(t, filepath.Join(dir, file+".key"), c.PrivateKey)}
	}
	first := pair("first", ca.server(t, nil, "a.example.test", "also.example.test"))
	more := []gateway.Pair{pair("second", ca.server(t, nil, "b.example.test")), pair("third", ca.server(t, nil, "*.c.example.test"))}
	d := open(t, gateway.Options{APIs: to(up.URL), TLS: gateway.TLS{CertFile: first.CertFile, KeyFile: first.KeyFile, More: more}})
	d.roots = ca.pool()
	shown := func(name string) (*x509.Certificate, error) {
		c, err := tls.Dial("tcp", d.addr, &tls.Config{RootCAs: d.roots, ServerName: name})
		if err != nil {
			return nil, err
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0], nil
	}
	for name, want := range map[string]string{"a.example.test": "a.example.test", "also.example.test": "a.example.test", "B.Example.Test": "b.example.test", "x.c.example.test": "*.c.example.test"} {
		if c, err := shown(name); err != nil || c.DNSNames[0] != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := shown("none.example.test"); err == nil {
		t.Error("a name of no certificate was covered")
	}
	for _, c := range []struct {
		sni, host string
		status    int
	}{{"a.example.test", "also.example.test", 200}, {"a.example.test", "b.example.test", 421}, {"b.example.test", "b.example.test", 200}, {"x.c.example.test", "y.c.example.test", 200}, {"b.example.test", "x.c.example.test", 421}} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: d.roots, ServerName: c.sni}}
		req, _ := http.NewRequest("GET", d.url("/"), nil)
		req.Host = c.host
		res, err := (&http.Client{Transport: tr}).Do(req)
		read(t, res, err)
		if tr.CloseIdleConnections(); res.StatusCode != c.status {
			t.Errorf("%s over the connection for %s: %d, want %d", c.host, c.sni, res.StatusCode, c.status)
		}
	}
	if n := len(d.Certificates()); n != 3 {
		t.Errorf("%d certificates are listed", n)
	}
	// One that is renewed is shown without a restart; the others stay.
	next := ca.server(t, nil, "b.example.test")
	pair("second", next)
	until(t, "the renewed certificate", func() bool {
		c, err := shown("b.example.test")
		return err == nil && c.SerialNumber.Cmp(next.Leaf.SerialNumber) == 0
	})
	// A broken pair is a mistake at the start.
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	bad := gateway.Pair{CertFile: more[1].CertFile, KeyFile: putKey(t, filepath.Join(dir, "other.key"), key)}
	if _, err := gateway.New(gateway.Options{Program: program(t), TLS: gateway.TLS{CertFile: first.CertFile, KeyFile: first.KeyFile, More: []gateway.Pair{bad}}}); err == nil {
		t.Error("a key of another certificate was taken")
	}
}

// What the strict front refuses by itself says as well that clients are to come
// by TLS.
func TestStrictTransportSecurityOfRefusals(t *testing.T) {
	d := open(t, gateway.Options{TLS: gateway.TLS{HSTS: "max-age=60", Names: []string{"shop.example.test"}}})
	for _, c := range []struct{ sni, request, want string }{
		{"shop.example.test", "GET / HTTP/1.1\r\nHost: shop.example.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "max-age=60"},
		{"shop.example.test", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", "max-age=60"},
		{"", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", ""},
	} {
		conn, err := tls.Dial("tcp", d.addr, &tls.Config{RootCAs: d.roots, ServerName: c.sni, InsecureSkipVerify: c.sni == "", NextProtos: []string{"http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, c.request)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if conn.Close(); res.StatusCode != 400 || res.Header.Get("Strict-Transport-Security") != c.want {
			t.Errorf("%q: %d %v", c.request, res.StatusCode, res.Header)
		}
	}
	if res, _ := d.raw(t, "GET / HTTP/1.1\r\nHost : shop.example.test\r\n\r\n"); res.Header.Get("Strict-Transport-Security") != "" {
		t.Error("in the clear")
	}
}

// noKeys is an issuer that has published none.
type noKeys struct{}

func (noKeys) Key(issuer, kid, alg string) (any, bool) { return nil, false }

// Over HTTP/3 as over the others: no token is 401, and a client is known by its
// certificate where an API wants one.
func TestHTTP3Callers(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	ca, stranger := newAuthority(t), newAuthority(t)
	jobs := guard.API{API: sallyport.API{Name: "shop", Hosts: []string{"jobs.example.test"}}, Policy: policy.API{Mode: sallyport.Enforce,
		Auth: policy.Auth{Certificates: []policy.Certificate{{ID: "jobs", URI: "spiffe://example.test/jobs"}}}}}
	desk := guard.API{API: sallyport.API{Name: "desk", Hosts: []string{"desk.example.test"}}, Policy: policy.API{Mode: sallyport.Enforce,
		Auth: policy.Auth{Anonymous: policy.Never, OIDC: []policy.OIDC{{Issuer: "https://issuer.example.test", Audience: "desk"}}}}}
	p, err := guard.Compile(guard.Config{Name: "test", APIs: []guard.API{jobs, desk}, Keys: noKeys{}})
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, gateway.Options{Program: p, APIs: append(to(up.URL), gateway.API{Name: "desk", Upstreams: []gateway.Upstream{{URL: up.URL}}}),
		TLS: gateway.TLS{ClientCAs: ca.pool(), Names: []string{"jobs.example.test", "desk.example.test"}}})
	for _, c := range []struct {
		name, host, token string
		cert              *tls.Certificate
		status            int // 0: no connection
	}{
		{"no token", "desk.example.test", "", nil, 401},
		{"a token that is none", "desk.example.test", "Bearer x.y.z", nil, 401},
		{"no certificate", "jobs.example.test", "", nil, 401},
		{"its certificate", "jobs.example.test", "", ca.issue(t, "spiffe://example.test/jobs"), 200},
		{"somebody else's name", "jobs.example.test", "", ca.issue(t, "spiffe://example.test/other"), 401},
		{"of another authority", "jobs.example.test", "", stranger.issue(t, "spiffe://example.test/jobs"), 0},
	} {
		conf := &tls.Config{RootCAs: d.roots, ServerName: c.host}
		if c.cert != nil { // shown whatever the server asks for
			conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.cert, nil }
		}
		tr := &http3.Transport{TLSClientConfig: conf}
		req, _ := http.NewRequest("GET", d.url("/"), nil)
		req.Host = c.host
		if c.token != "" {
			req.Header.Set("Authorization", c.token)
		}
		res, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Do(req)
		status := 0
		if err == nil {
			body := read(t, res, err)
			if status = res.StatusCode; status == 401 {
				wantProblem(t, res, body, 401)
			}
			if res.ProtoMajor != 3 {
				t.Errorf("%s: %s", c.name, res.Proto)
			}
		}
		if tr.Close(); status != c.status {
			t.Errorf("%s: status %d (%v), want %d", c.name, status, err, c.status)
		}
	}
}

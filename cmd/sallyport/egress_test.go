package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const partnerSpec = `openapi: 3.1.0
info: {title: Partner, version: "1"}
paths:
  /v1/charges:
    post:
      operationId: charge
      requestBody: {required: true, content: {application/json: {schema: {type: object, required: [amount], properties: {amount: {type: integer}, email: {type: string}}}}}}
      responses:
        "201": {description: made, content: {application/json: {schema: {type: object, required: [id], properties: {id: {type: string}, amount: {type: integer}}}}}}
  /v1/odd: {get: {responses: {"200": {description: ok, content: {application/json: {schema: {type: object, properties: {amount: {type: integer}}}}}}}}}
  /v1/away: {get: {responses: {"302": {description: elsewhere}}}}
  /v1/fork: {get: {responses: {"302": {description: elsewhere}}}}
  /v1/within: {get: {responses: {"302": {description: elsewhere}}}}
  /v1/broken: {get: {responses: {"500": {description: broken}}}}
`

// partner is somebody else's API: a TLS server for the names given, and the
// roots that vouch for it.
func partner(t *testing.T, names ...string) (*httptest.Server, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "partner"}, DNSNames: names, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		seen, _ := json.Marshal(r.Header)
		w.Header().Set("X-Seen", string(seen))
		switch r.URL.Path {
		case "/v1/charges":
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, `{"id":"ch_1","amount":5}`)
		case "/v1/balance":
			io.WriteString(w, `{"available":"plenty"}`)
		case "/v1/odd":
			io.WriteString(w, `{"amount":"five"}`)
		case "/v1/away", "/v1/exports/7":
			w.Header().Set("Location", "http://169.254.169.254/latest/meta-data/")
			w.WriteHeader(http.StatusFound)
		case "/v1/within":
			w.Header().Set("Location", "https://files.partner.test/x")
			w.WriteHeader(http.StatusFound)
		case "/v1/fork": // a path by RFC 3986, another host to browsers and Node.js
			w.Header().Set("Location", `/\evil.test/`+r.URL.RawQuery)
			w.WriteHeader(http.StatusFound)
		case "/v1/broken":
			w.WriteHeader(http.StatusInternalServerError)
			io.WriteString(w, `{"error":"SQLSTATE[42000]: Syntax error or access violation"}`)
		default:
			io.WriteString(w, `{}`)
		}
	}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// A caller is one of our own services, which uses the door out as its proxy.
func caller(t *testing.T, proxy, key string, h2 bool, roots ...[]byte) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	for _, r := range roots {
		pool.AppendCertsFromPEM(r)
	}
	u := &url.URL{Scheme: "http", Host: proxy}
	if key != "" {
		u.User = url.UserPassword("billing", key)
	}
	tr := &http.Transport{Proxy: http.ProxyURL(u), TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: h2}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Calls to APIs of others: what the list, their document and the addresses
// allow passes as it is; what looks like it and is not is turned away.
func TestCallsThatGoOut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	srv, ca := partner(t, "api.partner.test", "files.partner.test", "keyed.partner.test", "localhost")
	write(t, filepath.Join(s.dir, "partner-ca.pem"), string(ca))
	write(t, filepath.Join(s.dir, "partner.yaml"), partnerSpec)
	key := "a-key-of-the-billing-service-0123456789"
	sum := sha256.Sum256([]byte(key))
	door := freeAddr(t)
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	s.configure(t, fmt.Sprintf(`strip_headers: [X-Internal-*]
egress:
  listen: "%s"
  destinations:
    - name: partner
      host: api.partner.test
      url: https://127.0.0.1:%s
      ca: partner-ca.pem
      addresses: [127.0.0.0/8]
      spec: partner.yaml
      mode: enforce
      shadow: refuse
      auth: {keys: [{id: billing, hash: "sha256:%s"}], anonymous: never}
    - name: files
      host: files.partner.test
      url: https://127.0.0.1:%s
      addresses: [127.0.0.0/8]
      look: tunnel
      mode: enforce
      auth: {keys: [{id: billing, hash: "sha256:%s"}], anonymous: never}
    - name: keyed
      host: keyed.partner.test
      url: https://127.0.0.1:%s
      ca: partner-ca.pem
      addresses: [127.0.0.0/8]
      credentials: {header: {name: X-Api-Key, value: file:partner.secret}}
    - name: inner
      host: localhost
      url: https://localhost:%s
      ca: partner-ca.pem
      mode: enforce
`, door, port, hex.EncodeToString(sum[:]), port, hex.EncodeToString(sum[:]), port, port))
	write(t, filepath.Join(s.dir, "partner.secret"), "secret-of-ours-at-the-partner\n")
	p := s.start(t)
	d := p.signIn(p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1], password)
	trusted := p.wait(`egress   proxy \S+  4 destinations; clients trust (\S+)`)[1]
	ours, err := os.ReadFile(trusted)
	if err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		name, method, url, body string
		key                     string
		roots                   []byte
		want                    int    // 0: the connection is refused
		rule                    string // in the record; "": allowed
	}{
		{"what the document allows", "POST", "https://api.partner.test/v1/charges", `{"amount":5,"email":"ada@example.org"}`, key, ours, 201, ""},
		{"plain to the proxy, TLS beyond", "POST", "http://api.partner.test/v1/charges", `{"amount":5}`, key, ours, 201, ""},
		{"with a secret that the caller has not", "POST", "https://keyed.partner.test/v1/charges", `{}`, "", ours, 201, ""},
		{"what the document does not allow", "POST", "https://api.partner.test/v1/charges", `{"amount":"five"}`, key, ours, 400, "schema.type"},
		{"an answer that breaks the document", "GET", "https://api.partner.test/v1/odd", "", key, ours, 502, "schema.type"},
		{"an error of theirs passes as it is", "GET", "https://api.partner.test/v1/broken", "", key, ours, 500, ""},
		{"a redirect to the metadata service", "GET", "https://api.partner.test/v1/away", "", key, ours, 502, "egress.redirect"},
		{"a redirect with two readings", "GET", "https://api.partner.test/v1/fork", "", key, ours, 502, "egress.redirect"},
		{"a redirect to another destination", "GET", "https://api.partner.test/v1/within", "", key, ours, 302, ""},
		{"an operation that nobody declared", "GET", "https://api.partner.test/v1/secrets", "", key, ours, 404, "operation.undeclared"},
		{"a wrong key, inside", "GET", "https://api.partner.test/v1/broken", "", "wrong", ours, 401, "key.unknown"},
		{"a wrong key, plain", "GET", "http://api.partner.test/v1/broken", "", "wrong", ours, 407, "key.unknown"},
		{"a host that is no destination", "GET", "https://evil.test/", "", key, ours, 0, "egress.unlisted"},
		{"the same in plain", "GET", "http://evil.test/", "", key, ours, 403, "egress.unlisted"},
		{"the metadata service", "GET", "http://169.254.169.254/latest/meta-data/", "", key, ours, 403, "egress.unlisted"},
		{"another port", "GET", "https://api.partner.test:22/", "", key, ours, 0, "egress.port"},
		{"a name that stands for an address of ours", "GET", "https://localhost/", "", "", ours, 403, "egress.address"},
		{"a tunnel", "GET", "https://files.partner.test/x", "", key, ca, 200, ""},
		{"a tunnel without a key", "GET", "https://files.partner.test/x", "", "", ca, 0, "credentials.missing"},
		{"plain where a tunnel is wanted", "GET", "http://files.partner.test/x", "", key, ca, 403, "egress.tunnel-only"},
	} {
		for _, h2 := range []bool{false, true} {
			client := caller(t, door, c.key, h2, c.roots)
			req, err := http.NewRequestWithContext(t.Context(), c.method, c.url, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if c.body != "" {
				req.Header.Set("Content-Type", "application/json")
			}
			req.Header.Set("Authorization", "Bearer theirs")
			req.Header.Set("X-Internal-Cost-Centre", "4711")
			res, err := client.Do(req)
			switch {
			case err != nil && c.want != 0:
				t.Errorf("%s (h2 %v): %v", c.name, h2, err)
				continue
			case err != nil:
			case res.StatusCode != c.want:
				b, _ := io.ReadAll(res.Body)
				t.Errorf("%s (h2 %v): answered %d, want %d: %s", c.name, h2, res.StatusCode, c.want, b)
			case c.want == 201:
				seen := res.Header.Get("X-Seen")
				if strings.Contains(seen, "Forwarded") || strings.Contains(seen, key) || strings.Contains(seen, "Sallyport") || strings.Contains(seen, "Internal") || strings.Contains(seen, "Proxy") ||
					!strings.Contains(seen, "Bearer theirs") != strings.Contains(seen, "secret-of-ours") {
					t.Errorf("%s (h2 %v): the partner saw %s", c.name, h2, seen)
				}
			case c.name == "an error of theirs passes as it is":
				if b, _ := io.ReadAll(res.Body); !bytes.Contains(b, []byte("SQLSTATE")) {
					t.Errorf("%s: %s", c.name, b)
				}
			}
			if res != nil {
				if h2 && c.want > 0 && strings.HasPrefix(c.url, "https") && c.want != 403 && res.ProtoMajor != 2 && !strings.Contains(c.url, "files") {
					t.Errorf("%s: HTTP/%d inside, want 2", c.name, res.ProtoMajor)
				}
				res.Body.Close()
			}
			client.CloseIdleConnections()
		}
		if c.rule != "" {
			eventually(t, 5*time.Second, func() string {
				var raw json.RawMessage
				d.do("GET", "/decisions?limit=100", nil, 200, &raw)
				if !strings.Contains(string(raw), c.rule) {
					return c.name + ": no decision names " + c.rule
				}
				return ""
			})
		}
	}
	// Fronting: TLS, or Host, names another host than CONNECT did.
	for what, f := range map[string]func(c net.Conn) string{
		"TLS names another": func(c net.Conn) string {
			tc := tls.Client(c, &tls.Config{ServerName: "evil.test", InsecureSkipVerify: true})
			if err := tc.Handshake(); err == nil {
				return "the handshake went through"
			}
			return ""
		},
		"Host names another": func(c net.Conn) string {
			tc := tls.Client(c, &tls.Config{ServerName: "api.partner.test", InsecureSkipVerify: true})
			fmt.Fprintf(tc, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
			b := make([]byte, 32)
			n, _ := tc.Read(b)
			if !strings.HasPrefix(string(b[:n]), "HTTP/1.1 421 ") {
				return "answered " + string(b[:n])
			}
			return ""
		},
	} {
		c, err := net.Dial("tcp", door)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(c, "CONNECT api.partner.test:443 HTTP/1.1\r\nHost: api.partner.test:443\r\n\r\n")
		b := make([]byte, 64)
		if n, err := c.Read(b); err != nil || !strings.HasPrefix(string(b[:n]), "HTTP/1.1 200 ") {
			t.Fatalf("%s: CONNECT: %s %v", what, b[:n], err)
		}
		if why := f(c); why != "" {
			t.Errorf("%s: %s", what, why)
		}
		c.Close()
	}
	// The partner stands in the inventory, and what leaves is known by its kind.
	eventually(t, 5*time.Second, func() string {
		var raw json.RawMessage
		d.do("GET", "/operations?api=partner", nil, 200, &raw)
		if !strings.Contains(string(raw), "email") {
			return "no kinds of data at the partner's operations: " + string(raw)
		}
		d.do("GET", "/certificates", nil, 200, &raw)
		if !strings.Contains(string(raw), "files.partner.test") {
			return "the partner's certificate is not watched: " + string(raw)
		}
		d.do("GET", "/apis", nil, 200, &raw)
		if !strings.Contains(string(raw), "third-party") {
			return "the partner is not in the inventory: " + string(raw)
		}
		return ""
	})
	p.stop()
	if out := p.output(); strings.Contains(out, "level=ERROR") || strings.Contains(out, key) {
		t.Errorf("the log says\n%s", out)
	}
}

// The commands of the guide print what the guide says.
func TestEgressGuideRunsAsWritten(t *testing.T) {
	t.Parallel()
	dir, door, gateway, console := t.TempDir(), freeAddr(t), freeAddr(t), freeAddr(t)
	upstream, ca := partner(t, "api.partner.test", "files.partner.test")
	write(t, filepath.Join(dir, "partner-ca.pem"), string(ca))
	edit := strings.NewReplacer("127.0.0.1:8446", door, "127.0.0.1:8089", gateway, "127.0.0.1:9449", console,
		"https://127.0.0.1:9004", upstream.URL, "/tmp/sallyport-egress", dir)
	for _, name := range []string{"sallyport.yaml", "partner.openapi.yaml"} {
		b, err := os.ReadFile("../../examples/egress/" + name)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), edit.Replace(string(b)))
	}
	p := (&site{dir: dir, gateway: gateway}).start(t)
	defer p.stop()
	runGuide(t, "egress.md", dir, 9, edit, "door=", "call()", "json=")
}

package gateway_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"sallyport.dev/gateway"
)

const pebbleVersion = "v2.10.1"

// pebble starts a real ACME server, built once into the user's cache, that
// validates names on tlsPort. It gives the URL of its directory, the roots
// that its own certificate hangs from, and those that it issues from.
func pebble(t *testing.T, tlsPort int) (directory string, roots, issued *x509.CertPool) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "sallyport", "pebble-"+pebbleVersion)
	bin := filepath.Join(dir, "pebble")
	if _, err := os.Stat(bin); err != nil {
		build := exec.Command("go", "install", "github.com/letsencrypt/pebble/v2/cmd/pebble@"+pebbleVersion)
		build.Dir = t.TempDir() // outside of this module
		build.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build pebble: %v\n%s", err, out)
		}
	}
	work := t.TempDir()
	cert, key := selfSigned(t)
	write := func(name string, b []byte) string {
		path := filepath.Join(work, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	api, management := freePort(t), freePort(t)
	settings, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": fmt.Sprintf("127.0.0.1:%d", api), "managementListenAddress": fmt.Sprintf("127.0.0.1:%d", management),
		"certificate": write("server.crt", cert), "privateKey": write("server.key", key), "httpPort": freePort(t), "tlsPort": tlsPort,
		"profiles": map[string]any{"default": map[string]any{"description": "short", "validityPeriod": 90 * 24 * 3600}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(bin, "-config", write("pebble.json", settings))
	// It refuses one nonce in twenty by default, which clients must bear; it is
	// told neither to sleep before it validates nor to take names on trust.
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("pebble: %s", log.String())
		}
	})
	roots, issued = x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer tr.CloseIdleConnections()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		res, err := (&http.Client{Transport: tr}).Get(fmt.Sprintf("https://127.0.0.1:%d/roots/0", management))
		if err == nil {
			b, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if issued.AppendCertsFromPEM(b) {
				return fmt.Sprintf("https://127.0.0.1:%d/dir", api), roots, issued
			}
		}
		if time.Now().After(end) {
			t.Fatalf("pebble does not answer: %v\n%s", err, log.String())
		}
	}
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func selfSigned(t *testing.T) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

// A certificate is obtained from a real ACME server over the gateway's own TLS
// port (tls-alpn-01), kept, and used again by the next start without asking.
func TestACME(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	port := freePort(t)
	directory, roots, issued := pebble(t, port)
	store := t.TempDir()
	serial := ""
	for range 2 {
		g, err := gateway.New(gateway.Options{Program: program(t), APIs: to(up.URL), TLS: gateway.TLS{ACME: &gateway.ACME{
			Names: []string{"localhost"}, Email: "ops@example.test", Agree: true, Directory: directory, Roots: roots, Dir: store,
		}}})
		if err != nil {
			t.Fatal(err)
		}
		l, err := gateway.Listen(t.Context(), gateway.Address{Address: fmt.Sprintf("127.0.0.1:%d", port)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- g.Serve(ctx, l) }()
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: issued}}
		var res *http.Response
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			res, err = (&http.Client{Transport: tr}).Get(fmt.Sprintf("https://localhost:%d/", port))
			if err == nil || time.Now().After(end) {
				break
			}
		}
		if body := read(t, res, err); body != "ok" {
			t.Errorf("got %q", body)
		}
		got := res.TLS.PeerCertificates[0].SerialNumber.String()
		if serial != "" && got != serial {
			t.Error("the second start obtained another certificate")
		}
		serial = got
		tr.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if _, err := gateway.New(gateway.Options{Program: program(t), TLS: gateway.TLS{ACME: &gateway.ACME{Names: []string{"a.test"}, Dir: store}}}); err == nil {
		t.Error("served without the CA's terms agreed to")
	}
}

func TestLocalCA(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	first := open(t, gateway.Options{TLS: gateway.TLS{LocalDir: dir, Names: []string{"api.test"}}})
	ca, path := first.LocalCA()
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, ca) {
		t.Fatalf("CA file %s: %v", path, err)
	}
	key := filepath.Join(dir, "local-ca.key")
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("CA key: %v %v", info, err)
	}
	first.close()
	second := open(t, gateway.Options{TLS: gateway.TLS{LocalDir: dir, Names: []string{"api.test"}}})
	if again, _ := second.LocalCA(); !bytes.Equal(again, ca) {
		t.Error("a second start made another CA")
	}
	for _, name := range []string{"localhost", "api.test", "127.0.0.1"} {
		c, err := tls.Dial("tcp", second.addr, &tls.Config{RootCAs: second.roots, ServerName: name})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c.Close()
	}
	if c, err := tls.Dial("tcp", second.addr, &tls.Config{RootCAs: second.roots, ServerName: "localhost", MaxVersion: tls.VersionTLS11}); err == nil {
		c.Close()
		t.Error("TLS 1.1 was accepted")
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := gateway.New(gateway.Options{Program: program(t), TLS: gateway.TLS{LocalDir: dir}}); err == nil {
		t.Error("a CA key that others can read was taken")
	}
}

// Given files are read again when they change; a broken change leaves the old
// certificate in use.
func TestCertificateFiles(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	clock := newClock()
	put := func(cert, key []byte) {
		os.WriteFile(certFile, cert, 0o600)
		os.WriteFile(keyFile, key, 0o600)
		at := clock.now()
		os.Chtimes(certFile, at, at)
		os.Chtimes(keyFile, at, at)
		clock.add(2 * time.Second)
	}
	cert, key := selfSigned(t)
	put(cert, key)
	d := open(t, gateway.Options{TLS: gateway.TLS{CertFile: certFile, KeyFile: keyFile}, Now: clock.now})
	trusts := func(cert []byte) bool {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(cert)
		c, err := tls.Dial("tcp", d.addr, &tls.Config{RootCAs: roots, ServerName: "localhost"})
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	if !trusts(cert) {
		t.Error("the given certificate is not served")
	}
	cert2, key2 := selfSigned(t)
	put(cert2, key2)
	if !trusts(cert2) {
		t.Error("the changed certificate is not served")
	}
	put(cert2, []byte("rubbish"))
	if !trusts(cert2) {
		t.Error("a broken change took the old certificate away")
	}
	if _, err := gateway.New(gateway.Options{Program: program(t), TLS: gateway.TLS{CertFile: certFile, KeyFile: keyFile}}); err == nil {
		t.Error("started with a key that does not fit")
	}
}

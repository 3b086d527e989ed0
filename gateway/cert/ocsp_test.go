package cert_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sallyport.dev/gateway/cert"
)

// opensslOCSP runs Debian's responder for the certificates of issuer. index is
// its database: V valid, R revoked. It ends with the test, or by the function.
func opensslOCSP(t *testing.T, addr string, issuer, signer *authority, index string) (end func()) {
	t.Helper()
	dir := t.TempDir()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command("openssl", "ocsp", "-port", port, "-text", "-nmin", "60",
		"-index", put(t, dir, "index.txt", []byte(index), 0o600), "-CA", put(t, dir, "ca.crt", certPEM(issuer.cert), 0o644),
		"-rsigner", put(t, dir, "signer.crt", certPEM(signer.cert), 0o644), "-rkey", put(t, dir, "signer.key", keyPEM(t, signer.key), 0o600))
	var out lines
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	end = func() { cmd.Process.Kill(); <-ended }
	t.Cleanup(end)
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if strings.Contains(out.text(), "waiting for OCSP client connections") {
			return end
		}
	}
	t.Fatalf("openssl ocsp does not listen: %s", out.take())
	return nil
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func indexLine(c *x509.Certificate, revoked bool) string {
	end := c.NotAfter.UTC().Format("060102150405Z")
	if revoked {
		return fmt.Sprintf("R\t%s\t%s\t%X\tunknown\t/CN=x\n", end, time.Now().Add(-time.Hour).UTC().Format("060102150405Z"), c.SerialNumber)
	}
	return fmt.Sprintf("V\t%s\t\t%X\tunknown\t/CN=x\n", end, c.SerialNumber)
}

func withResponder(addr string, must bool) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.OCSPServer = []string{"http://" + addr}
		if must {
			features, _ := asn1.Marshal([]int{5})
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: features}}
		}
	}
}

// stapled is what comes with the certificate in a handshake.
func stapled(t *testing.T, k *cert.Keeper) (leaf *x509.Certificate, staple []byte) {
	t.Helper()
	c, s := net.Pipe()
	defer c.Close()
	go func() {
		defer s.Close()
		tls.Server(s, &tls.Config{GetCertificate: k.GetCertificate}).Handshake()
	}()
	client := tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: "api.example.test"})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	state := client.ConnectionState()
	return state.PeerCertificates[0], state.OCSPResponse
}

func TestStapling(t *testing.T) {
	root := newAuthority(t, "Root")
	ca := root.below(t, "Issuing CA")
	delegate := func(uses ...x509.ExtKeyUsage) *authority {
		key := ecKey(t)
		return &authority{ca.issue(t, key, func(c *x509.Certificate) {
			c.Subject.CommonName, c.DNSNames, c.ExtKeyUsage = "Responder", nil, uses
		}), key}
	}
	other := newAuthority(t, "Somebody else")
	garbage := func(answer func(http.ResponseWriter, *http.Request)) func(*testing.T, string, *x509.Certificate) func() {
		return func(t *testing.T, addr string, _ *x509.Certificate) func() {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(answer)}}
			s.Start()
			t.Cleanup(s.Close)
			return s.Close
		}
	}
	openssl := func(signer *authority, revoked bool) func(*testing.T, string, *x509.Certificate) func() {
		return func(t *testing.T, addr string, leaf *x509.Certificate) func() {
			return opensslOCSP(t, addr, ca, signer, indexLine(leaf, revoked))
		}
	}
	for _, tt := range []struct {
		name      string
		responder func(*testing.T, string, *x509.Certificate) func()
		status    string
		outcome   string
		log       string
	}{
		{"good, by the issuer", openssl(ca, false), "good", "good", "OCSP answer stapled"},
		{"good, by a delegate", openssl(delegate(x509.ExtKeyUsageOCSPSigning), false), "good", "good", "OCSP answer stapled"},
		{"revoked", openssl(ca, true), "revoked", "revoked", "level=ERROR msg=\"the certificate has been revoked"},
		{"signed by another server's certificate", openssl(delegate(x509.ExtKeyUsageServerAuth), false), "none", "failed", "may not sign OCSP answers"},
		{"signed by another authority", openssl(other, false), "none", "failed", "not the issuer's"},
		{"never heard of it", func(t *testing.T, addr string, _ *x509.Certificate) func() {
			return opensslOCSP(t, addr, ca, ca, indexLine(ca.issue(t, ecKey(t), nil), false))
		}, "none", "unknown", "does not know the certificate"},
		{"nobody there", func(*testing.T, string, *x509.Certificate) func() { return nil }, "none", "failed", "connection refused"},
		{"garbage", garbage(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>maintenance</html>") }), "none", "failed", "not a well-formed answer"},
		{"empty", garbage(func(http.ResponseWriter, *http.Request) {}), "none", "failed", "not a well-formed answer"},
		{"an error", garbage(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }), "none", "failed", "answered 500"},
		{"a redirect", garbage(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://169.254.169.254/", 302) }), "none", "failed", "answered 302"},
		{"try later", garbage(func(w http.ResponseWriter, _ *http.Request) { w.Write(ocsp.TryLaterErrorResponse) }), "none", "failed", `the responder says \"try later\"`},
		{"a megabyte", garbage(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 1<<20)) }), "none", "failed", "more than 65536 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir, addr, log := t.TempDir(), freeAddr(t), new(lines)
			key := ecKey(t)
			leaf := ca.issue(t, key, withResponder(addr, false))
			tt.responder(t, addr, leaf)
			k := &cert.Keeper{CertFile: put(t, dir, "a.crt", certPEM(leaf, ca.cert), 0o644), KeyFile: put(t, dir, "a.key", keyPEM(t, key), 0o600), Staple: true, Log: log.logger()}
			if err := k.Load(); err != nil {
				t.Fatal(err)
			}
			if _, staple := stapled(t, k); len(staple) > 0 {
				t.Error("stapled before it was asked for")
			}
			wait := k.Refresh(t.Context())
			_, staple := stapled(t, k)
			o := k.OCSP()
			if o.Status != tt.status || (len(staple) > 0) != (tt.status != "none") || (o.Failing == "") != (tt.status != "none") {
				t.Errorf("status %q, %d bytes stapled, failing %q; want %q", o.Status, len(staple), o.Failing, tt.status)
			}
			if got := log.take(); !strings.Contains(got, tt.log) {
				t.Errorf("logged %q, want %q", got, tt.log)
			}
			if len(staple) > 0 {
				r, err := ocsp.ParseResponseForCert(staple, leaf, nil)
				if err != nil || (r.Status == ocsp.Revoked) != (tt.status == "revoked") {
					t.Errorf("stapled: %v", err)
				}
				if wait < 25*time.Minute || wait > 35*time.Minute { // of the hour that it holds
					t.Errorf("comes again in %s", wait)
				}
			} else if wait != time.Minute {
				t.Errorf("tries again in %s", wait)
			}
			for i, n := range k.Fetched() {
				if (n == 1) != (cert.OutcomeNames[i] == tt.outcome) {
					t.Errorf("counted %v, want 1 %s", k.Fetched(), tt.outcome)
				}
			}
		})
	}
}

// An answer at hand outlives its responder, and a restart, and comes off when it ends.
func TestStapleEnds(t *testing.T) {
	ca := newAuthority(t, "Issuing CA")
	dir, addr, log, at := t.TempDir(), freeAddr(t), new(lines), newClock()
	key := ecKey(t)
	leaf := ca.issue(t, key, withResponder(addr, false))
	end := opensslOCSP(t, addr, ca, ca, indexLine(leaf, false))
	start := func() *cert.Keeper {
		k := &cert.Keeper{CertFile: put(t, dir, "a.crt", certPEM(leaf, ca.cert), 0o644), KeyFile: put(t, dir, "a.key", keyPEM(t, key), 0o600), Staple: true,
			Dir: filepath.Join(dir, "kept"), Log: log.logger(), Now: at.now}
		if err := k.Load(); err != nil {
			t.Fatal(err)
		}
		return k
	}
	k := start()
	k.Refresh(t.Context())
	if _, staple := stapled(t, k); len(staple) == 0 {
		t.Fatalf("nothing stapled: %s", log.take())
	}
	end()
	at.add(31 * time.Minute) // it is to be renewed
	k.Refresh(t.Context())
	if _, staple := stapled(t, k); len(staple) == 0 || !strings.Contains(log.take(), "the one at hand stays") {
		t.Error("an answer that holds was dropped because its responder is away")
	}
	if _, staple := stapled(t, start()); len(staple) == 0 {
		t.Error("the answer was not kept over a restart")
	}
	at.add(time.Hour)
	if _, staple := stapled(t, k); len(staple) > 0 || k.OCSP().Status != "none" {
		t.Error("an answer that has ended is stapled")
	}
	if _, staple := stapled(t, start()); len(staple) > 0 {
		t.Error("an answer that has ended was taken from the disk")
	}
	kept, _ := filepath.Glob(filepath.Join(dir, "kept", "*.ocsp"))
	if len(kept) != 1 {
		t.Fatalf("kept %v", kept)
	}
	os.WriteFile(kept[0], []byte("rubbish"), 0o600)
	if _, staple := stapled(t, start()); len(staple) > 0 {
		t.Error("rubbish from the disk was stapled")
	}
}

// A certificate that must be stapled takes over when its answer is there.
func TestMustStaple(t *testing.T) {
	ca := newAuthority(t, "Issuing CA")
	dir, addr, log, at := t.TempDir(), freeAddr(t), new(lines), newClock()
	key := ecKey(t)
	old := ca.issue(t, key, nil)
	next := ca.issue(t, key, withResponder(addr, true))
	if !cert.MustStaple(next) || cert.MustStaple(old) {
		t.Fatal("must-staple is not told")
	}
	k := &cert.Keeper{CertFile: put(t, dir, "a.crt", certPEM(old, ca.cert), 0o644), KeyFile: put(t, dir, "a.key", keyPEM(t, key), 0o600), Staple: true, Log: log.logger(), Now: at.now}
	if err := k.Load(); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "a.crt", certPEM(next, ca.cert), 0o644)
	at.add(2 * time.Second)
	if now, _ := stapled(t, k); !now.Equal(old) {
		t.Error("it took over without its answer")
	}
	k.Refresh(t.Context())
	if now, _ := stapled(t, k); !now.Equal(old) || !strings.Contains(log.take(), "must be stapled") {
		t.Error("it took over without its answer, or nothing was said")
	}
	opensslOCSP(t, addr, ca, ca, indexLine(next, false))
	at.add(2 * time.Minute)
	k.Refresh(t.Context())
	if now, staple := stapled(t, k); !now.Equal(next) || len(staple) == 0 {
		t.Errorf("it did not take over with its answer: %s", log.take())
	}
	// Served from the beginning it has nothing to wait behind.
	silent := ca.issue(t, key, withResponder(freeAddr(t), true))
	put(t, dir, "a.crt", certPEM(silent, ca.cert), 0o644)
	first := &cert.Keeper{CertFile: k.CertFile, KeyFile: k.KeyFile, Staple: true, Log: log.logger(), Now: at.now}
	if err := first.Load(); err != nil {
		t.Fatal(err)
	}
	first.Refresh(t.Context())
	if got := log.take(); !strings.Contains(got, "level=ERROR msg=\"no OCSP answer, and the certificate must be stapled") || !first.OCSP().Must {
		t.Errorf("logged %q", got)
	}
}

// A responder that accepts and says nothing holds up neither handshakes nor the end.
func TestSilentResponder(t *testing.T) {
	ca := newAuthority(t, "Issuing CA")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var asked atomic.Int64
	heard := make(chan struct{}, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			asked.Add(1)
			heard <- struct{}{}
		}
	}()
	dir, key := t.TempDir(), ecKey(t)
	leaf := ca.issue(t, key, withResponder(l.Addr().String(), false))
	k := &cert.Keeper{CertFile: put(t, dir, "a.crt", certPEM(leaf, ca.cert), 0o644), KeyFile: put(t, dir, "a.key", keyPEM(t, key), 0o600), Staple: true}
	if err := k.Load(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { k.Run(ctx); close(ended) }()
	<-heard
	if now, _ := stapled(t, k); !now.Equal(leaf) {
		t.Error("no handshake while the responder is silent")
	}
	cancel()
	<-ended
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
}

func FuzzAnswer(f *testing.F) {
	ca := newAuthority(f, "Issuing CA")
	key := ecKey(f)
	leaf := ca.issue(f, key, withResponder("127.0.0.1:1", false))
	now := time.Now()
	for _, status := range []int{ocsp.Good, ocsp.Revoked, ocsp.Unknown} {
		b, err := ocsp.CreateResponse(ca.cert, ca.cert, ocsp.Response{Status: status, SerialNumber: leaf.SerialNumber, ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour), RevokedAt: now}, ca.key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(ocsp.TryLaterErrorResponse)
	f.Add([]byte("<html>"))
	var answer atomic.Pointer[[]byte]
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(*answer.Load()) }))
	defer s.Close()
	leaf = ca.issue(f, key, withResponder(s.Listener.Addr().String(), false))
	dir := f.TempDir()
	crt, private := put(f, dir, "a.crt", certPEM(leaf, ca.cert), 0o644), put(f, dir, "a.key", keyPEM(f, key), 0o600)
	f.Fuzz(func(t *testing.T, b []byte) {
		answer.Store(&b)
		k := &cert.Keeper{CertFile: crt, KeyFile: private, Staple: true}
		if err := k.Load(); err != nil {
			t.Fatal(err)
		}
		k.Refresh(t.Context())
		if _, staple := stapled(t, k); len(staple) > 0 {
			t.Fatalf("an answer about another certificate was stapled: %x", b)
		}
	})
}

package cert_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/gateway/cert"
)

// An authority issues certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

var serials atomic.Int64

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// issue signs a certificate for key; a nil authority makes a root.
func (a *authority) issue(t testing.TB, key crypto.Signer, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1000 + serials.Add(1)), Subject: pkix.Name{CommonName: "api.example.test"}, DNSNames: []string{"api.example.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(c)
	}
	parent, signer := c, key
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func isCA(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject, c.DNSNames, c.ExtKeyUsage = pkix.Name{CommonName: name}, nil, nil
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	}
}

func newAuthority(t testing.TB, name string) *authority {
	key := ecKey(t)
	return &authority{(*authority)(nil).issue(t, key, isCA(name)), key}
}

func (a *authority) below(t testing.TB, name string) *authority {
	key := ecKey(t)
	return &authority{a.issue(t, key, isCA(name)), key}
}

func certPEM(chain ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range chain {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return b.Bytes()
}

func keyPEM(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func put(t testing.TB, dir, name string, b []byte, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	temporary := path + ".new" // put in its place whole, as those who renew do
	if err := os.WriteFile(temporary, b, mode); err != nil {
		t.Fatal(err)
	}
	os.Chmod(temporary, mode)
	if err := os.Rename(temporary, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFaults(t *testing.T) {
	root := newAuthority(t, "Test root")
	middle := root.below(t, "Test issuing CA")
	other := newAuthority(t, "Somebody else")
	key := ecKey(t)
	leaf := func(change func(*x509.Certificate)) *x509.Certificate { return middle.issue(t, key, change) }
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := leaf(nil)
	for _, tt := range []struct {
		name  string
		chain []*x509.Certificate
		key   crypto.Signer
		mode  os.FileMode
		want  string // "" = nothing is wrong
	}{
		{"leaf and issuer", []*x509.Certificate{good, middle.cert}, key, 0o600, ""},
		{"the root too", []*x509.Certificate{good, middle.cert, root.cert}, key, 0o640, ""},
		{"alone", []*x509.Certificate{good}, key, 0o600, ""},
		{"self-signed", []*x509.Certificate{(*authority)(nil).issue(t, key, nil)}, key, 0o600, ""},
		{"expired", []*x509.Certificate{leaf(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), middle.cert}, key, 0o600, "the certificate has expired on"},
		{"not yet valid", []*x509.Certificate{leaf(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), middle.cert}, key, 0o600, "is not valid before"},
		{"small RSA key", []*x509.Certificate{middle.issue(t, small, nil), middle.cert}, small, 0o600, "weak key: RSA with 1024 bits"},
		{"small curve", []*x509.Certificate{middle.issue(t, p224, nil), middle.cert}, p224, 0o600, "weak key: a curve of 224 bits"},
		{"issuer missing in the middle", []*x509.Certificate{good, root.cert}, key, 0o600, "number 2 (CN=Test root) did not sign number 1 (CN=api.example.test): that was CN=Test issuing CA"},
		{"root before issuer", []*x509.Certificate{good, root.cert, middle.cert}, key, 0o600, "out of order"},
		{"somebody else's issuer", []*x509.Certificate{good, other.cert}, key, 0o600, "out of order"},
		{"no names", []*x509.Certificate{leaf(func(c *x509.Certificate) { c.DNSNames = nil }), middle.cert}, key, 0o600, "no subjectAltName"},
		{"for clients", []*x509.Certificate{leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), middle.cert}, key, 0o600, "lacks serverAuth"},
		{"key for everybody", []*x509.Certificate{good, middle.cert}, key, 0o644, "everybody on this machine may read the key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			p, err := cert.Read(put(t, dir, "a.crt", certPEM(tt.chain...), 0o644), put(t, dir, "a.key", keyPEM(t, tt.key), tt.mode))
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(p.Faults(time.Now()), "; ")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	dir := t.TempDir()
	crt, k := put(t, dir, "a.crt", certPEM(good, middle.cert, root.cert), 0o644), put(t, dir, "a.key", keyPEM(t, key), 0o600)
	p, err := cert.Read(crt, k)
	if err != nil {
		t.Fatal(err)
	}
	if notes := p.Notes(); len(notes) != 1 || !strings.Contains(notes[0], "root") {
		t.Errorf("notes: %q", notes)
	}
	if got := p.Uncovered([]string{"api.example.test", "shop.example.test"}); len(got) != 1 || got[0] != "shop.example.test" {
		t.Errorf("uncovered: %q", got)
	}
	for name, files := range map[string][2]string{
		"a key that does not fit":      {crt, put(t, dir, "b.key", keyPEM(t, ecKey(t)), 0o600)},
		"no certificate in it":         {k, k},
		"empty":                        {put(t, dir, "empty", nil, 0o600), k},
		"cut short":                    {put(t, dir, "short", certPEM(good)[:200], 0o600), k},
		"more than any certificate is": {put(t, dir, "huge", bytes.Repeat([]byte("x"), 2<<20), 0o600), k},
		"a folder":                     {dir, k},
		"nowhere":                      {filepath.Join(dir, "none"), k},
	} {
		if _, err := cert.Read(files[0], files[1]); err == nil || strings.Contains(err.Error(), "PRIVATE KEY-----") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.at.Store(time.Now().UnixNano())
	return c
}
func (c *clock) now() time.Time      { return time.Unix(0, c.at.Load()) }
func (c *clock) add(d time.Duration) { c.at.Add(int64(d)) }

type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// take gives what was logged since the last time.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.b.String()
	l.b.Reset()
	return s
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func TestRoots(t *testing.T) {
	dir, at, log := t.TempDir(), newClock(), new(lines)
	one, two := newAuthority(t, "One"), newAuthority(t, "Two")
	r := &cert.Roots{File: put(t, dir, "ca.pem", certPEM(one.cert), 0o644), Log: log.logger(), Now: at.now}
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	accepts := func(a *authority) bool {
		_, err := a.issue(t, ecKey(t), nil).Verify(x509.VerifyOptions{Roots: r.Pool()})
		return err == nil
	}
	first := r.Pool()
	if at.add(2 * time.Second); !accepts(one) || accepts(two) || r.Pool() != first {
		t.Error("the first file is not in force, or is another pool each time")
	}
	put(t, dir, "ca.pem", certPEM(two.cert), 0o644)
	if at.add(2 * time.Second); accepts(one) || !accepts(two) {
		t.Error("the changed file is not in force")
	}
	put(t, dir, "ca.pem", []byte("rubbish"), 0o644)
	if at.add(2 * time.Second); !accepts(two) || !strings.Contains(log.take(), "the old ones stay") {
		t.Error("a broken change took the old authorities away")
	}
	os.Remove(r.File)
	if at.add(2 * time.Second); !accepts(two) {
		t.Error("a removed file took the old authorities away")
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 50 {
				if i == 0 {
					put(t, dir, "ca.pem", certPEM(one.cert, two.cert), 0o644)
				}
				at.add(time.Second)
				r.Pool()
				r.List()
			}
		})
	}
	if all.Wait(); len(r.List()) != 2 {
		t.Errorf("%d authorities", len(r.List()))
	}
	if err := (&cert.Roots{File: put(t, dir, "none.pem", []byte("no\n"), 0o644)}).Load(); err == nil {
		t.Error("a file without certificates was taken")
	}
}

// A certificate that ends soon is spoken of once a day; one that is renewed by
// itself only when that is overdue.
func TestWatch(t *testing.T) {
	root := newAuthority(t, "Root")
	ends := func(life, left time.Duration) *x509.Certificate {
		return root.issue(t, ecKey(t), func(c *x509.Certificate) {
			c.Subject.CommonName = fmt.Sprintf("%s of %s", left, life)
			c.NotBefore, c.NotAfter = time.Now().Add(left-life), time.Now().Add(left)
		})
	}
	const day = 24 * time.Hour
	log := new(lines)
	w := &cert.Watch{Days: 30, Log: log.logger()}
	for _, tt := range []struct {
		e    cert.Entry
		want string
	}{
		{cert.Entry{Use: "served", Where: "a", Cert: ends(365*day, 31*day)}, ""},
		{cert.Entry{Use: "served", Where: "a", Cert: ends(365*day, 29*day)}, "ends soon"},
		{cert.Entry{Use: "served", Where: "a", Cert: ends(365*day, -time.Hour)}, "has expired"},
		{cert.Entry{Use: "upstream", Where: "b", Cert: ends(day, 12*time.Hour)}, ""}, // issued for a day
		{cert.Entry{Use: "upstream", Where: "b", Cert: ends(day, 7*time.Hour)}, "ends soon"},
		{cert.Entry{Use: "served", Where: "c", Cert: ends(90*day, 10*day), Managed: true}, ""},
		{cert.Entry{Use: "served", Where: "c", Cert: ends(90*day, 5*day), Managed: true}, "ends soon"},
	} {
		now := time.Now()
		w.Check([]cert.Entry{tt.e}, now)
		got := log.take()
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s: logged %q, want %q", tt.e.Cert.Subject, got, tt.want)
		}
		if tt.want == "" {
			continue
		}
		w.Check([]cert.Entry{tt.e}, now.Add(23*time.Hour))
		if again := log.take(); again != "" {
			t.Errorf("%s: said again within a day: %q", tt.e.Cert.Subject, again)
		}
		w.Check([]cert.Entry{tt.e}, now.Add(25*time.Hour))
		if log.take() == "" {
			t.Errorf("%s: silent the next day", tt.e.Cert.Subject)
		}
	}
	never := &cert.Watch{Log: log.logger()}
	if never.Check([]cert.Entry{{Cert: ends(day, -day)}}, time.Now()); log.take() != "" {
		t.Error("spoke although it should not")
	}
}

package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"sallyport.dev/gateway/cert"
)

// TLS says where certificates come from: ACME, else the files, else a local
// CA, which is good for loopback and for names given to it only.
type TLS struct {
	ACME     *ACME
	CertFile string // PEM, the leaf first; read again when it changes
	KeyFile  string
	More     []Pair   // further certificates from files: by the name that a client comes for the first that is for it, else the one above
	LocalDir string   // the local CA is kept here, its key readable by the owner only; "" = in memory
	Names    []string // of the local certificate, besides localhost, 127.0.0.1 and ::1

	// ClientCAs verify the certificates of clients. Clients are asked for one
	// where the program in force wants it, by the name they come for; one that
	// does not verify ends the handshake, none goes on without. nil: nobody is asked.
	// ClientCAFile is a file of such authorities that is read again when it changes.
	ClientCAs    *x509.CertPool
	ClientCAFile string

	MinVersion uint16        // least version; 0 = TLS 1.2
	Suites     []uint16      // of TLS 1.2; nil = those of RFC 9325 section 4.2
	Curves     []tls.CurveID // key exchanges; nil = all, hybrid ones too
	OCSP       bool          // staple OCSP answers to the certificate in CertFile
	OCSPDir    string        // they are kept here over a restart; "" = not
	HSTS       string        // Strict-Transport-Security of answers by TLS that bring none; "" = none
	SNI        SNI           // default SNICovered
	WarnDays   int           // before its end from which a certificate is logged, daily; 0 = never
}

// A Pair is a certificate and its key in PEM files, read again when they change.
type Pair struct{ CertFile, KeyFile string }

// SNI says which name a request may come for beside that of its handshake; for
// any other it is answered with 421 (RFC 9110 section 15.5.20).
type SNI string

// The treatments of a request for another name than that of the handshake.
const (
	SNICovered SNI = "covered" // one that the certificate covers too
	SNIStrict  SNI = "strict"  // none
	SNIOff     SNI = "off"     // any
)

// ACME says how certificates are obtained and renewed (RFC 8555). Challenges
// are answered on the gateway's own TLS port (tls-alpn-01, RFC 8737), which the
// CA must reach as port 443 of each name.
type ACME struct {
	Names     []string // to get certificates for
	Email     string   // for the account
	Agree     bool     // to the CA's terms; required
	Directory string   // URL of the CA's directory; "" = Let's Encrypt
	KeyID     string   // of an external account, if the CA wants one
	MACKey    string   // of it
	HTTP      string   // host:port to answer http-01 on too, reached as port 80 of each name; "" = not

	Roots *x509.CertPool // the CA's own certificate is checked against these; nil = the system's

	Storage certmagic.Storage // where keys and certificates are kept, or
	Dir     string            // a directory
}

// Storage is what TLS.ACME keeps keys and certificates in; any implementation
// made for certmagic fits.
type Storage = certmagic.Storage

const acmeTLS = "acme-tls/1"

// certificates give each handshake its certificate.
type certificates interface {
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	protocols() []string // for ALPN, most wanted first
	start(ctx context.Context, listeners []*Listener) error
	stop()
	entries() []cert.Entry
	covers(server, name string) bool // whether a request for name may come over a handshake for server
}

func newCertificates(t TLS, log *slog.Logger, now func() time.Time) (certificates, error) {
	switch {
	case t.ACME != nil:
		return newACME(t.ACME, log)
	case t.CertFile != "" || t.KeyFile != "":
		c := new(fileCertificates)
		for _, p := range append([]Pair{{t.CertFile, t.KeyFile}}, t.More...) {
			k := &cert.Keeper{CertFile: p.CertFile, KeyFile: p.KeyFile, Staple: t.OCSP, Dir: t.OCSPDir, Log: log, Now: now}
			if err := k.Load(); err != nil {
				return nil, err
			}
			c.keepers = append(c.keepers, k)
		}
		return c, nil
	}
	return newLocal(t, now)
}

type plainProtocols struct{}

func (plainProtocols) protocols() []string                      { return []string{"h2", "http/1.1"} }
func (plainProtocols) start(context.Context, []*Listener) error { return nil }
func (plainProtocols) stop()                                    {}

// fileCertificates are given by someone else, and read again when they change.
type fileCertificates struct {
	plainProtocols
	keepers []*cert.Keeper // the first is shown to who comes for a name of none
	end     context.CancelFunc
	done    chan struct{}
	once    sync.Once
}

func (c *fileCertificates) start(ctx context.Context, _ []*Listener) error {
	c.once.Do(func() {
		ctx, c.end = context.WithCancel(context.WithoutCancel(ctx))
		c.done = make(chan struct{})
		go func() {
			defer close(c.done)
			var all sync.WaitGroup
			for _, k := range c.keepers {
				all.Go(func() { k.Run(ctx) })
			}
			all.Wait()
		}()
	})
	return nil
}

func (c *fileCertificates) stop() {
	c.once.Do(func() {}) // nothing starts any more
	if c.end != nil {
		c.end()
		<-c.done
	}
}

func (c *fileCertificates) entries() []cert.Entry {
	var list []cert.Entry
	for _, k := range c.keepers {
		if now, err := k.GetCertificate(nil); err == nil && now != nil {
			list = append(list, cert.Entry{Use: useServed, Where: k.CertFile, Cert: now.Leaf, OCSP: k.OCSP()})
		}
	}
	return list
}

// GetCertificate gives the first certificate that is for the name that a client
// comes for, and that its client can verify; else the first.
func (c *fileCertificates) GetCertificate(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.keeper(h).GetCertificate(h)
}

func (c *fileCertificates) keeper(h *tls.ClientHelloInfo) *cert.Keeper {
	if h == nil || len(c.keepers) == 1 {
		return c.keepers[0]
	}
	var found *cert.Keeper
	for _, k := range c.keepers {
		now, err := k.GetCertificate(nil)
		if err != nil || h.ServerName == "" || now.Leaf.VerifyHostname(h.ServerName) != nil {
			continue
		}
		if len(h.SupportedVersions) == 0 || h.SupportsCertificate(now) == nil { // of two kinds of key the one that it takes
			return k
		}
		if found == nil {
			found = k
		}
	}
	if found != nil {
		return found
	}
	return c.keepers[0]
}

func (c *fileCertificates) covers(server, name string) bool {
	now, err := c.keeper(&tls.ClientHelloInfo{ServerName: server}).GetCertificate(nil)
	return err == nil && now.Leaf.VerifyHostname(name) == nil
}

// local is a CA of our own, made at first start, and a leaf made at each.
type local struct {
	plainProtocols
	path  string // of the CA's certificate, "" in memory
	ca    *x509.Certificate
	key   *ecdsa.PrivateKey
	names []string
	now   func() time.Time

	mu    sync.Mutex
	leaf  *tls.Certificate
	mints map[string]*tls.Certificate // by host, of leafFor
}

func newLocal(t TLS, now func() time.Time) (*local, error) {
	c := &local{names: t.Names, now: now}
	if t.LocalDir == "" {
		if err := c.create(); err != nil {
			return nil, fmt.Errorf("make local CA: %w", err)
		}
		return c, nil
	}
	c.path = filepath.Join(t.LocalDir, "local-ca.crt")
	keyPath := filepath.Join(t.LocalDir, "local-ca.key")
	err := c.read(c.path, keyPath)
	if errors.Is(err, fs.ErrNotExist) {
		err = c.create()
		if err == nil {
			err = c.write(c.path, keyPath)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("local CA in %s: %w", t.LocalDir, err)
	}
	return c, nil
}

func (c *local) create() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	host, _ := os.Hostname()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Sallyport local CA", Organization: []string{host}},
		NotBefore: c.now().Add(-time.Hour), NotAfter: c.now().AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true,
		MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "Sallyport local CA", Organization: []string{host}}}, key.Public(), key)
	if err != nil {
		return err
	}
	c.key = key
	c.ca, err = x509.ParseCertificate(der)
	return err
}

func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

func (c *local) write(certPath, keyPath string) error {
	if err := os.MkdirAll(filepath.Dir(certPath), 0o700); err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(keyPath, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(certPath, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.ca.Raw}), 0o644)
}

func (c *local) read(certPath, keyPath string) error {
	info, err := os.Stat(keyPath)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s can be read by others (mode %o): run chmod 600 on it, or remove both files to have a new CA made", keyPath, info.Mode().Perm())
	}
	pair, err := tls.LoadX509KeyPair(certPath, keyPath)
	if err != nil {
		return err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return fmt.Errorf("%s is not the certificate of a local CA: remove both files to have a new one made", certPath)
	}
	if c.now().After(pair.Leaf.NotAfter) {
		return fmt.Errorf("the CA has expired on %s: remove both files to have a new one made", pair.Leaf.NotAfter.Format(time.DateOnly))
	}
	c.ca, c.key = pair.Leaf, key
	return nil
}

// GetCertificate gives the leaf, made anew in good time before it expires.
func (c *local) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaf != nil && c.now().Add(7*24*time.Hour).Before(c.leaf.Leaf.NotAfter) {
		return c.leaf, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, NotBefore: c.now().Add(-time.Hour), NotAfter: c.now().AddDate(0, 3, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range c.names {
		if ip := net.ParseIP(name); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else if !slices.Contains(t.DNSNames, name) {
			t.DNSNames = append(t.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, c.ca, key.Public(), c.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	c.leaf = &tls.Certificate{Certificate: [][]byte{der, c.ca.Raw}, PrivateKey: key, Leaf: leaf}
	return c.leaf, nil
}

func (c *local) entries() []cert.Entry {
	where := c.path
	if where == "" {
		where = "local CA"
	}
	all := []cert.Entry{{Use: useServed, Where: where, Cert: c.ca}}
	if leaf, err := c.GetCertificate(nil); err == nil {
		all = append(all, cert.Entry{Use: useServed, Where: where, Cert: leaf.Leaf, Managed: true})
	}
	return all
}

func (c *local) covers(_, name string) bool {
	leaf, err := c.GetCertificate(nil)
	return err == nil && leaf.Leaf.VerifyHostname(name) == nil
}

// LocalCA is the certificate of the local CA that clients have to trust, in
// PEM, and the file it is in ("" when it is kept in memory only). Both are
// empty when certificates come from elsewhere.
func (g *Gateway) LocalCA() (cert []byte, path string) {
	c, ok := g.certs.(*local)
	if !ok {
		return nil, ""
	}
	return c.pem(), c.path
}

func (c *local) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.ca.Raw})
}

// acmeCertificates are obtained from a CA, and renewed, by certmagic.
type acmeCertificates struct {
	settings *ACME
	log      *slog.Logger
	cache    *certmagic.Cache
	config   *certmagic.Config
	once     sync.Once
	cancel   context.CancelFunc // ends what is being obtained; nil before start
}

func newACME(a *ACME, log *slog.Logger) (*acmeCertificates, error) {
	switch {
	case len(a.Names) == 0:
		return nil, errors.New("ACME: no names to get certificates for")
	case !a.Agree:
		return nil, errors.New("ACME: the CA's terms have not been agreed to")
	case a.Storage == nil && a.Dir == "":
		return nil, errors.New("ACME: neither a storage nor a directory for keys and certificates")
	}
	c := &acmeCertificates{settings: a, log: log}
	storage := a.Storage
	if storage == nil {
		if err := os.MkdirAll(a.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("ACME: %w", err)
		}
		storage = &certmagic.FileStorage{Path: a.Dir}
	}
	quiet := zap.NewNop() // what matters comes as an event
	c.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return c.config, nil }, Logger: quiet,
	})
	c.config = certmagic.New(c.cache, certmagic.Config{Storage: storage, Logger: quiet, OnEvent: c.event})
	return c, nil
}

func (c *acmeCertificates) event(_ context.Context, name string, data map[string]any) error {
	switch name {
	case "cert_obtained":
		c.log.Info("certificate obtained", "name", data["identifier"], "renewal", data["renewal"])
	case "cert_failed":
		c.log.Error("no certificate", "name", data["identifier"], "error", data["error"])
	}
	return nil
}

func (c *acmeCertificates) protocols() []string { return []string{"h2", "http/1.1", acmeTLS} }

func (c *acmeCertificates) GetCertificate(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.config.GetCertificate(h)
}

func (c *acmeCertificates) entries() (all []cert.Entry) {
	for _, name := range c.settings.Names {
		for _, x := range c.cache.AllMatchingCertificates(name) {
			if x.Leaf != nil {
				all = append(all, cert.Entry{Use: useServed, Where: name, Cert: x.Leaf, Managed: true})
			}
		}
	}
	return all
}

// covers: each name has a certificate of its own.
func (c *acmeCertificates) covers(_, _ string) bool { return false }

// start begins to manage the certificates, in the background, once there is a
// listener on which challenges can be answered.
func (c *acmeCertificates) start(ctx context.Context, listeners []*Listener) error {
	var err error
	for _, l := range listeners {
		if l.a.Plain {
			continue
		}
		c.once.Do(func() {
			host, _, _ := net.SplitHostPort(l.a.Address)
			a := c.settings
			t := certmagic.ACMEIssuer{
				CA: a.Directory, TestCA: a.Directory, Email: a.Email, Agreed: true, TrustedRoots: c.settings.Roots, Logger: zap.NewNop(),
				ListenHost: host, AltTLSALPNPort: l.tcp.Addr().(*net.TCPAddr).Port, DisableHTTPChallenge: a.HTTP == "",
			}
			if _, port, err := net.SplitHostPort(a.HTTP); err == nil {
				t.AltHTTPPort, _ = strconv.Atoi(port)
			}
			if a.KeyID != "" {
				t.ExternalAccount = &acme.EAB{KeyID: a.KeyID, MACKey: a.MACKey}
			}
			if t.CA == "" {
				t.TestCA = ""
			}
			c.config.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(c.config, t)}
			ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
			err = c.config.ManageAsync(ctx, a.Names)
		})
	}
	if err != nil {
		return fmt.Errorf("ACME: %w", err)
	}
	return nil
}

func (c *acmeCertificates) stop() {
	c.once.Do(func() {}) // nothing starts any more
	if c.cancel != nil {
		c.cancel()
	}
	c.cache.Stop()
}

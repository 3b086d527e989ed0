package cert

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// most is how large a file of certificates or a key may be.
const most = 1 << 20

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if len(b) > most {
		return nil, fmt.Errorf("%s has more than 1 MiB: want certificates or a key in PEM", name)
	}
	return b, nil
}

// A Pair is a certificate with its chain and key, as read from files.
type Pair struct {
	tls.Certificate
	Chain []*x509.Certificate // the leaf first

	open bool // others may read the key
}

// Read reads a certificate chain and its key, which must belong together.
func Read(certFile, keyFile string) (*Pair, error) {
	certs, err := readFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	key, err := readFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	p := &Pair{}
	if p.Certificate, err = tls.X509KeyPair(certs, key); err != nil {
		return nil, fmt.Errorf("read certificate %s with key %s: %w", certFile, keyFile, err)
	}
	for i, der := range p.Certificate.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("read certificate %s: number %d: %w", certFile, i+1, err)
		}
		p.Chain = append(p.Chain, c)
	}
	p.Leaf = p.Chain[0]
	if info, err := os.Stat(keyFile); err == nil {
		p.open = info.Mode().Perm()&0o007 != 0
	}
	return p, nil
}

// Issuer is the certificate that the leaf was signed with, when the chain
// holds it.
func (p *Pair) Issuer() *x509.Certificate {
	if len(p.Chain) > 1 {
		return p.Chain[1]
	}
	return nil
}

// Faults lists what makes p unfit for servers: weak keys and signatures, times,
// uses, the order of the chain, a key that everybody may read.
func (p *Pair) Faults(now time.Time) []string {
	out := chainFaults(p.Chain, now)
	leaf := p.Leaf
	if len(leaf.DNSNames) == 0 && len(leaf.IPAddresses) == 0 {
		out = append(out, "the certificate has no subjectAltName: clients heed no other name (RFC 9525 section 6.3)")
	}
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		out = append(out, "the certificate is not for servers: its extended key usage lacks serverAuth")
	}
	if p.open {
		out = append(out, "everybody on this machine may read the key: chmod 640 it, or less (in Kubernetes set defaultMode of the secret's volume)")
	}
	return out
}

// ClientFaults lists what makes p unfit to be shown to servers.
func (p *Pair) ClientFaults(now time.Time) []string {
	out := chainFaults(p.Chain, now)
	leaf := p.Leaf
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		out = append(out, "the certificate is not for clients: its extended key usage lacks clientAuth")
	}
	if p.open {
		out = append(out, "everybody on this machine may read the key: chmod 640 it, or less")
	}
	return out
}

func chainFaults(chain []*x509.Certificate, now time.Time) (out []string) {
	for i, c := range chain {
		what := "the certificate"
		if i > 0 {
			what = fmt.Sprintf("number %d of the chain (%s)", i+1, c.Subject)
		}
		if s := weakKey(c.PublicKey); s != "" {
			out = append(out, what+" has a weak key: "+s)
		}
		self := bytes.Equal(c.RawSubject, c.RawIssuer)
		switch c.SignatureAlgorithm {
		case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.DSAWithSHA256, x509.ECDSAWithSHA1:
			if !self || i == 0 { // nobody checks the signature of a root
				out = append(out, fmt.Sprintf("%s is signed with %s, which nobody should accept", what, c.SignatureAlgorithm))
			}
		}
		switch {
		case now.After(c.NotAfter):
			out = append(out, fmt.Sprintf("%s has expired on %s", what, c.NotAfter.UTC().Format("2006-01-02 15:04 MST")))
		case now.Before(c.NotBefore):
			out = append(out, fmt.Sprintf("%s is not valid before %s", what, c.NotBefore.UTC().Format("2006-01-02 15:04 MST")))
		}
		if i > 0 {
			if err := chain[i-1].CheckSignatureFrom(c); err != nil {
				why := ""
				if !bytes.Equal(chain[i-1].RawIssuer, c.RawSubject) {
					why = fmt.Sprintf(": that was %s", chain[i-1].Issuer)
				}
				out = append(out, fmt.Sprintf("the chain is out of order: number %d (%s) did not sign number %d (%s)%s; want the leaf first, then each one's issuer", i+1, c.Subject, i, chain[i-1].Subject, why))
				break
			}
		}
	}
	return out
}

func weakKey(key any) string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 2048 {
			return fmt.Sprintf("RSA with %d bits, want 2048 or more", n)
		}
	case *ecdsa.PublicKey:
		if n := k.Curve.Params().BitSize; n < 256 {
			return fmt.Sprintf("a curve of %d bits, want 256 or more", n)
		}
	case ed25519.PublicKey:
	default:
		return "neither RSA, ECDSA nor Ed25519"
	}
	return ""
}

// Notes lists what is odd about p and does no harm.
func (p *Pair) Notes() (out []string) {
	if n := len(p.Chain); n > 1 && bytes.Equal(p.Chain[n-1].RawSubject, p.Chain[n-1].RawIssuer) {
		out = append(out, "the chain ends with its root, which no client needs: leave it out and handshakes become smaller")
	}
	return out
}

// Uncovered lists which of names the certificate is not for.
func (p *Pair) Uncovered(names []string) (out []string) {
	for _, name := range names {
		if p.Leaf.VerifyHostname(name) != nil {
			out = append(out, name)
		}
	}
	return out
}

var (
	oidTLSFeature  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}
	errNoResponder = errors.New("the certificate names no OCSP responder")
)

// MustStaple reports whether c says that an OCSP answer comes with it
// (RFC 7633: the TLS feature status_request).
func MustStaple(c *x509.Certificate) bool {
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidTLSFeature) {
			continue
		}
		var features []int
		if rest, err := asn1.Unmarshal(e.Value, &features); err == nil && len(rest) == 0 && slices.Contains(features, 5) {
			return true
		}
	}
	return false
}

// ReadRoots reads certificates of authorities. A file without any, or with
// something else in it, is an error.
func ReadRoots(file string) ([]*x509.Certificate, error) {
	b, err := readFile(file)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for len(bytes.TrimSpace(b)) > 0 {
		block, rest := pem.Decode(b)
		if block == nil {
			break
		}
		b = rest
		if block.Type != "CERTIFICATE" && block.Type != "TRUSTED CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate number %d: %w", file, len(out)+1, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return out, nil
}

package gateway

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"sallyport.dev/gateway/cert"
)

// A trust is how one upstream proves who it is, and how we prove it to it.
type trust struct {
	name  string
	roots *cert.Roots  // nil: the system's
	own   *cert.Keeper // nil: nothing is shown
	pins  map[[sha256.Size]byte]bool
	now   func() time.Time

	seen  atomic.Pointer[x509.Certificate] // of the last handshake
	asked atomic.Bool                      // it has asked for a certificate
	works atomic.Bool                      // and has answered all the same
}

// untrusted is an upstream whose certificate is not accepted.
type untrusted struct {
	rule, text string
	cause      error
}

func (u *untrusted) Error() string { return u.text }
func (u *untrusted) Unwrap() error { return u.cause }

func newTrust(u Upstream, log *slog.Logger, now func() time.Time) (*trust, error) {
	t := &trust{name: u.Name, now: now}
	if u.CA != "" {
		t.roots = &cert.Roots{File: u.CA, Log: log, Now: now}
		if err := t.roots.Load(); err != nil {
			return nil, fmt.Errorf("read the roots of the upstream: %w", err)
		}
	}
	if u.Cert != "" {
		t.own = &cert.Keeper{CertFile: u.Cert, KeyFile: u.Key, Client: true, Log: log, Now: now}
		if err := t.own.Load(); err != nil {
			return nil, fmt.Errorf("the certificate to show the upstream: %w", err)
		}
	}
	if u.Pins != "" {
		t.pins = map[[sha256.Size]byte]bool{}
		for _, p := range strings.Fields(u.Pins) {
			b, err := hex.DecodeString(p)
			if err != nil || len(b) != sha256.Size {
				return nil, fmt.Errorf("pin %q is not a SHA-256 in hexadecimal", p)
			}
			t.pins[[sha256.Size]byte(b)] = true
		}
	}
	return t, nil
}

// config is for connections to the upstream. Its certificate is verified by
// verify, in every handshake, resumed ones too, so that authorities which
// changed meanwhile count at once.
func (t *trust) config(min uint16) *tls.Config {
	c := &tls.Config{
		ServerName: t.name, MinVersion: min, CipherSuites: suites, Time: t.now,
		InsecureSkipVerify: true, VerifyConnection: t.verify, // in place of, not instead of, a verification
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	c.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		t.asked.Store(true)
		if t.own != nil {
			return t.own.GetClientCertificate(r)
		}
		return new(tls.Certificate), nil
	}
	return c
}

func (t *trust) verify(s tls.ConnectionState) error {
	if len(s.PeerCertificates) == 0 {
		return &untrusted{"upstream.certificate", "the upstream showed no certificate", nil}
	}
	leaf := s.PeerCertificates[0]
	t.seen.Store(leaf)
	o := x509.VerifyOptions{DNSName: t.name, Intermediates: x509.NewCertPool(), CurrentTime: t.now()}
	for _, c := range s.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	if t.roots != nil {
		o.Roots = t.roots.Pool()
	}
	chains, err := leaf.Verify(o)
	if err != nil {
		return distrust(err)
	}
	if t.pins == nil {
		return nil
	}
	for _, chain := range chains {
		for _, c := range chain {
			if t.pins[sha256.Sum256(c.RawSubjectPublicKeyInfo)] {
				return nil
			}
		}
	}
	return &untrusted{"upstream.pin", "no key of the upstream's chain is pinned", nil}
}

// distrust says in our words why a certificate does not verify.
func distrust(err error) *untrusted {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &host):
		return &untrusted{"upstream.certificate-name", "the upstream's certificate is for another name", err}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return &untrusted{"upstream.certificate-expired", "the upstream's certificate, or one above it, is not valid now", err}
	case errors.As(err, &authority):
		return &untrusted{"upstream.certificate-authority", "the upstream's certificate is not signed by an authority that is trusted for it", err}
	}
	return &untrusted{"upstream.certificate", "the upstream's certificate does not verify", err}
}

// trouble tells failures of TLS with an upstream from those of the network: our
// refusal of its certificate, or its refusal of ours.
func (t *trust) trouble(err error) (rule, text string) {
	var u *untrusted
	if errors.As(err, &u) {
		return u.rule, u.text
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		switch alert := op.Err.Error(); {
		case t.asked.Load() && t.own == nil:
			return "upstream.client-certificate", "the upstream asks for a client certificate, and none was shown"
		case strings.Contains(alert, "certificate"):
			return "upstream.client-certificate", "the upstream refuses the client certificate that it was shown"
		case strings.Contains(alert, "protocol version"):
			return "upstream.tls-version", "the upstream speaks no version of TLS that is allowed"
		}
		return "upstream.tls", "the upstream ended the handshake"
	}
	var plain tls.RecordHeaderError
	if errors.As(err, &plain) {
		return "upstream.tls", "the upstream does not speak TLS"
	}
	if strings.Contains(err.Error(), "tls: server selected unsupported protocol version") {
		return "upstream.tls-version", "the upstream speaks no version of TLS that is allowed"
	}
	// A server that turns us away after a handshake of TLS 1.3 closes, and its
	// alert may be lost behind what we write.
	if t.asked.Load() && !t.works.Load() && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		strings.Contains(err.Error(), "http2: client conn could not be established")) { // net/http's, where the end was read before the request was begun
		return "upstream.client-certificate", "the upstream asks for a client certificate, and ended the connection once it had seen which was shown, or that none was"
	}
	return "", ""
}

// worked remembers that the upstream has answered.
func (t *trust) worked() {
	if t != nil && !t.works.Load() {
		t.works.Store(true)
	}
}

// entries are the certificates that the connections of l hang from.
func (l *link) entries() (all []cert.Entry) {
	t := l.trust
	if t == nil {
		return nil
	}
	if c := t.seen.Load(); c != nil {
		all = append(all, cert.Entry{Use: useUpstream, Where: l.url, Cert: c})
	}
	if t.roots != nil {
		for _, c := range t.roots.List() {
			all = append(all, cert.Entry{Use: useUpstreamCA, Where: t.roots.File, Cert: c})
		}
	}
	if t.own != nil {
		if c, err := t.own.GetClientCertificate(nil); err == nil && c != nil {
			all = append(all, cert.Entry{Use: useShown, Where: t.own.CertFile, Cert: c.Leaf})
		}
	}
	return all
}

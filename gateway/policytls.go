package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev/gateway/cert"
)

// TLSConfig is what is offered to clients: the versions, suites and key
// exchanges of Options.TLS (RFC 9325 by default), with the gateway's
// certificates. Keys of session tickets are made anew each day and kept for a
// week; renegotiation does not exist. It may be used for another server of the
// same process.
func (g *Gateway) TLSConfig() *tls.Config {
	t := &g.o.TLS
	c := &tls.Config{
		MinVersion: t.MinVersion, CipherSuites: t.Suites, CurvePreferences: t.Curves,
		NextProtos: g.certs.protocols(), GetCertificate: g.certs.GetCertificate, Time: g.o.Now,
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	if c.CipherSuites == nil {
		c.CipherSuites = suites
	}
	return c
}

// suites are those of TLS 1.2 with forward secrecy and authenticated
// encryption (RFC 9325 section 4.2); TLS 1.3 has no others.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// frontTLS is TLSConfig for our own listeners, which ask for client certificates
// where the program in force wants them. A session is not resumed with a
// certificate that the authorities of now do not vouch for: crypto/tls verifies
// its chain again against the pool of the handshake.
func (g *Gateway) frontTLS() *tls.Config {
	c := g.TLSConfig()
	if g.clientRoots == nil && g.o.TLS.ClientCAs == nil {
		return c
	}
	pool := func() *x509.CertPool {
		if g.clientRoots != nil {
			return g.clientRoots.Pool()
		}
		return g.o.TLS.ClientCAs
	}
	base := c.Clone()
	var asking atomic.Pointer[tls.Config]
	c.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if !g.Program().AsksCertificate(h.ServerName) {
			return nil, nil
		}
		now, ask := pool(), asking.Load()
		if ask == nil || ask.ClientCAs != now {
			ask = base.Clone()
			ask.ClientCAs, ask.ClientAuth = now, tls.VerifyClientCertIfGiven
			asking.Store(ask)
		}
		return ask, nil
	}
	return c
}

// misdirected reports whether a request came over a connection that was opened
// for another name (RFC 9110 section 7.4): what was asked of the client in the
// handshake, and what it was shown, was meant for that one. A trusted proxy
// speaks for many names over one connection.
func (p *passage) misdirected() bool {
	t := p.r.TLS
	if t == nil || t.ServerName == "" {
		return false
	}
	host := hostname(p.r.Host)
	if strings.EqualFold(host, t.ServerName) {
		return false
	}
	g := p.g
	switch {
	case p.goesOut(): // the way out has a check of its own
		return false
	case g.o.TLS.SNI == SNIOff || len(g.o.TrustedProxies) > 0 && g.trusted(peerOf(p.r.RemoteAddr)):
		return false
	case g.o.TLS.SNI == SNIStrict || !g.certs.covers(t.ServerName, strings.ToLower(host)):
		return true
	}
	// Who was not asked for a certificate is asked when it comes again.
	return g.asksCertificates() && len(t.PeerCertificates) == 0 && g.Program().AsksCertificate(host) && !g.Program().AsksCertificate(t.ServerName)
}

func (g *Gateway) asksCertificates() bool { return g.clientRoots != nil || g.o.TLS.ClientCAs != nil }

// hostname is a host without its port, and without the brackets and last dot
// that TLS does not send.
func hostname(host string) string {
	if strings.HasPrefix(host, "[") {
		host, _, _ = strings.Cut(host[1:], "]")
		return host
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	return strings.TrimSuffix(host, ".")
}

const strictTransport = "Strict-Transport-Security"

// secured sets Strict-Transport-Security in an answer that goes out over TLS
// and brings none of its own; over plain HTTP there must be none (RFC 6797
// section 7.2), unless TLS ends at a trusted proxy before us.
func (p *passage) secured(h http.Header) {
	if p.r.TLS != nil {
		if v := p.g.hsts; v != nil && len(h[strictTransport]) == 0 && isName(p.r.Host) && !p.goesOut() {
			h[strictTransport] = v
		}
		return
	}
	if len(h[strictTransport]) > 0 && p.fields[1].Value != "https" {
		delete(h, strictTransport)
	}
}

// withStrict adds the same field to those of a problem.
func (p *passage) withStrict(extra [][2]string) [][2]string {
	if v := p.g.hsts; v != nil && p.r.TLS != nil && isName(p.r.Host) && !p.goesOut() {
		return append(extra[:len(extra):len(extra)], [2]string{strictTransport, v[0]})
	}
	return extra
}

// goesOut reports whether the request came through the door for calls that go
// out, and is for somebody else's name.
func (p *passage) goesOut() bool {
	return p.g.o.Egress != nil && p.r.Context().Value(viaKey{}) != nil
}

// isName reports whether clients may remember anything about host: a name that
// is not this machine's own, which is shared with whatever else runs here
// (RFC 6797 section 8.1.1 has them forget it for addresses).
func isName(host string) bool {
	host = hostname(host)
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last == "" || last[0] >= '0' && last[0] <= '9' || strings.IndexByte(host, ':') >= 0 {
		return false
	}
	return !strings.EqualFold(last, "localhost")
}

// What certificates are used for.
const (
	useServed     = "served"
	useClientCA   = "client_ca"
	useUpstream   = "upstream"
	useUpstreamCA = "upstream_ca"
	useShown      = "upstream_client"
)

// Certificates lists the certificates that something hangs from: those shown to
// clients, the authorities that vouch for clients, those of upstreams as they
// were seen last, their authorities, and those shown to them.
func (g *Gateway) Certificates() []cert.Entry {
	all := g.certs.entries()
	if g.clientRoots != nil {
		for _, c := range g.clientRoots.List() {
			all = append(all, cert.Entry{Use: useClientCA, Where: g.clientRoots.File, Cert: c})
		}
	}
	for _, l := range g.force.Load().lanes {
		for _, in := range *l.list.Load() {
			all = append(all, in.link.entries()...)
		}
	}
	return distinct(all)
}

func distinct(all []cert.Entry) []cert.Entry {
	type key struct{ use, where, print string }
	seen := map[key]bool{}
	out := all[:0]
	for _, e := range all {
		k := key{e.Use, e.Where, cert.Fingerprint(e.Cert)}
		if !seen[k] {
			seen[k] = true
			out = append(out, e)
		}
	}
	return out
}

var (
	descEnds    = prometheus.NewDesc("sallyport_certificate_not_after_seconds", "End of a certificate that connections hang from, in seconds since 1970.", []string{"use", "where", "fingerprint"}, nil)
	descStapled = prometheus.NewDesc("sallyport_ocsp_stapled", "Certificates in the configuration to which an OCSP answer is stapled, by what it says.", []string{"status"}, nil)
	descOCSP    = prometheus.NewDesc("sallyport_ocsp_fetches_total", "Questions to the OCSP responder, by what they came to.", []string{"outcome"}, nil)
)

// collectCertificates says when certificates end, and how stapling goes.
func (g *Gateway) collectCertificates(ch chan<- prometheus.Metric) {
	for _, e := range g.Certificates() {
		ch <- prometheus.MustNewConstMetric(descEnds, prometheus.GaugeValue, float64(e.Cert.NotAfter.Unix()), e.Use, e.Where, cert.Fingerprint(e.Cert)[:16])
	}
	c, ok := g.certs.(*fileCertificates)
	if !ok || !c.keepers[0].Staple {
		return
	}
	for _, s := range []string{"good", "revoked", "none"} {
		v := 0.0
		for _, k := range c.keepers {
			if k.OCSP().Status == s {
				v++
			}
		}
		ch <- prometheus.MustNewConstMetric(descStapled, prometheus.GaugeValue, v, s)
	}
	sum := c.keepers[0].Fetched()
	for _, k := range c.keepers[1:] {
		for i, n := range k.Fetched() {
			sum[i] += n
		}
	}
	for i, n := range sum {
		ch <- prometheus.MustNewConstMetric(descOCSP, prometheus.CounterValue, float64(n), cert.OutcomeNames[i])
	}
}

package main

import (
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"sallyport.dev/console"
	"sallyport.dev/gateway/cert"
	"sallyport.dev/policy"
)

// checkCertificates finds what is wrong with the certificates and keys that the
// configuration names.
func (c *config) checkCertificates(m *mistakes) {
	bad := func(path, format string, args ...any) {
		m.add(c.at(path), "%s: %s", path, fmt.Sprintf(format, args...))
	}
	if c.TLS.Cert != "" && c.TLS.Key != "" {
		c.checkServed(bad)
	}
	for i := range c.APIs {
		for j, u := range c.APIs[i].Upstreams {
			p := fmt.Sprintf("apis[%d].upstreams[%d].tls", i, j)
			if u.TLS.CA != "" {
				if _, err := cert.ReadRoots(u.TLS.CA); err != nil {
					bad(p+".ca", "%v", err)
				}
			}
			if u.TLS.Cert == "" || u.TLS.Key == "" {
				continue
			}
			pair, err := cert.Read(u.TLS.Cert, u.TLS.Key)
			if err != nil {
				bad(p+".cert", "%v", err)
				continue
			}
			for _, fault := range pair.ClientFaults(time.Now()) {
				bad(p+".cert", "%s", fault)
			}
		}
	}
}

func (c *config) checkServed(bad func(path, format string, args ...any)) {
	missing := c.hosts()
	for i, p := range append([]certPair{{c.TLS.Cert, c.TLS.Key}}, c.TLS.More...) {
		at := "tls"
		if i > 0 {
			at = fmt.Sprintf("tls.certificates[%d]", i-1)
		}
		pair, err := cert.Read(p.Cert, p.Key)
		if err != nil {
			bad(at+".cert", "%v", err)
			return
		}
		for _, fault := range pair.Faults(time.Now()) {
			path := at + ".cert"
			if strings.Contains(fault, "read the key") {
				path = at + ".key"
			}
			bad(path, "%s", fault)
		}
		missing = pair.Uncovered(missing)
		switch _, err := pair.Responder(); {
		case c.TLS.OCSP == policy.On && err != nil:
			bad("tls.ocsp", "%v", err)
		case c.TLS.OCSP != policy.On && cert.MustStaple(pair.Leaf):
			bad(at+".cert", "the certificate says that an OCSP answer comes with it (must-staple): set tls.ocsp: \"on\", or clients refuse it")
		}
	}
	// Behind a proxy the names of requests are the proxy's affair.
	if len(missing) > 0 && len(c.TrustedProxies) == 0 {
		bad("tls.cert", "the certificate is not for %s, for which APIs are reached (match.host)", strings.Join(missing, ", "))
	}
}

// pool509 reads certificates of authorities.
func pool509(file string) (*x509.CertPool, error) {
	list, err := cert.ReadRoots(file)
	if err != nil {
		return nil, err
	}
	p := x509.NewCertPool()
	for _, c := range list {
		p.AddCert(c)
	}
	return p, nil
}

// checkUpstreamTLS checks what is said about TLS with an upstream.
func (c *config) checkUpstreamTLS(u *upstream, path string, bad func(string, string, ...any)) {
	for _, x := range u.TLS.Check() {
		bad(path+".tls."+x.Path, "%s", x.Text)
	}
	if u.CA != "" && u.TLS.CA != "" {
		bad(path+".ca", "stands in tls.ca too")
	}
	if u.Name != "" && u.TLS.Name != "" {
		bad(path+".name", "stands in tls.server_name too")
	}
	t := u.TLS
	if !u.encrypted() && (t.CA != "" || t.Name != "" || t.Cert != "" || t.Min != "" || len(t.Pins) > 0) {
		bad(path+".tls", "the upstream is reached without TLS: write https:// (or scheme: https)")
	}
	switch c.UpstreamPlaintext {
	case "", policy.PlaintextWarn, policy.PlaintextAllow:
	case policy.PlaintextRefuse:
		if u.exposed() {
			bad(path, "%s is reached without TLS over the network, and upstream_plaintext is refuse", u.URL+u.DNS)
		}
	default:
		if path == "apis[0].upstreams[0]" { // once
			bad("upstream_plaintext", "%q is not one of warn, refuse, allow", string(c.UpstreamPlaintext))
		}
	}
}

func (u *upstream) encrypted() bool {
	return u.Scheme == "https" && u.DNS != "" || strings.HasPrefix(u.URL, "https://")
}

// exposed reports whether requests to the upstream leave this machine in the
// clear.
func (u *upstream) exposed() bool {
	if u.encrypted() {
		return false
	}
	host, _, err := net.SplitHostPort(u.DNS)
	if u.URL != "" {
		v, perr := url.Parse(u.URL)
		if perr != nil {
			return false // a mistake of its own
		}
		host, err = v.Hostname(), nil
	}
	return err == nil && !loopback(host)
}

// notices are what a configuration does that somebody should know.
func (c *config) notices() (all []console.Notice) {
	if c.UpstreamPlaintext != policy.PlaintextAllow {
		for i := range c.APIs {
			for j := range c.APIs[i].Upstreams {
				if u := &c.APIs[i].Upstreams[j]; u.exposed() {
					all = append(all, console.Notice{Rule: "upstream.plaintext", API: c.APIs[i].Name, Where: fmt.Sprintf("apis[%d].upstreams[%d]", i, j),
						Text: fmt.Sprintf("API %s: %s is reached without TLS over the network", c.APIs[i].Name, u.URL+u.DNS)})
				}
			}
		}
	}
	if !c.TLS.Off && !c.TLS.Hybrid() {
		all = append(all, console.Notice{Rule: "tls.curves", Where: "tls.curves", Text: "no hybrid key exchange is offered: what is recorded today can be read once there are quantum computers"})
	}
	if c.TLS.Cert != "" {
		if pair, err := cert.Read(c.TLS.Cert, c.TLS.Key); err == nil {
			for _, note := range pair.Notes() {
				all = append(all, console.Notice{Rule: "tls.chain", Where: "tls.cert", Text: note})
			}
		}
	}
	return all
}

// pins are SHA-256 sums as the gateway wants them.
func pins(list []string) string {
	var out []string
	for _, p := range list {
		if sum, ok := policy.Pin(p); ok {
			out = append(out, hex.EncodeToString(sum[:]))
		}
	}
	return strings.Join(out, " ")
}

// Certificates lists what the gateway's connections hang from.
func (e *engine) Certificates() []console.Certificate {
	if e.gateway == nil {
		return nil
	}
	now, days := time.Now(), e.cfg.TLS.WarnDays()
	var all []console.Certificate
	entries := e.gateway.Certificates()
	if e.egress != nil { // of the partners that are called; the rest is the same
		for _, x := range e.egress.Certificates() {
			if strings.HasPrefix(x.Use, "upstream") {
				entries = append(entries, x)
			}
		}
	}
	for _, x := range entries {
		c := console.Certificate{Use: x.Use, Where: x.Where, Subject: x.Cert.Subject.String(), Issuer: x.Cert.Issuer.String(), Names: x.Cert.DNSNames,
			Serial: fmt.Sprintf("%x", x.Cert.SerialNumber), Fingerprint: cert.Fingerprint(x.Cert), From: x.Cert.NotBefore, Until: x.Cert.NotAfter,
			Renewed: x.Managed, Soon: x.Soon(days, now)}
		for _, ip := range x.Cert.IPAddresses {
			c.Names = append(c.Names[:len(c.Names):len(c.Names)], ip.String())
		}
		if o := x.OCSP; o != nil {
			c.OCSP = &console.OCSP{Responder: o.Responder, Status: o.Status, Must: o.Must, Until: o.Until, Failing: o.Failing}
		}
		all = append(all, c)
	}
	return all
}

// Notices lists what somebody should look after.
func (e *engine) Notices() []console.Notice {
	e.mu.Lock()
	current := e.current
	e.mu.Unlock()
	if current == nil {
		return nil
	}
	all := current.notices()
	now := time.Now()
	for _, c := range e.Certificates() {
		switch {
		case !c.Soon:
		case now.After(c.Until):
			all = append(all, console.Notice{Rule: "certificate.expired", Where: c.Where, Severe: true,
				Text: fmt.Sprintf("the certificate %s (%s) has expired on %s", c.Subject, c.Use, c.Until.UTC().Format(time.DateOnly))})
		default:
			all = append(all, console.Notice{Rule: "certificate.ends", Where: c.Where,
				Text: fmt.Sprintf("the certificate %s (%s) ends on %s", c.Subject, c.Use, c.Until.UTC().Format(time.DateOnly))})
		}
		switch o := c.OCSP; {
		case o == nil:
		case o.Status == "revoked":
			all = append(all, console.Notice{Rule: "certificate.revoked", Where: c.Where, Severe: true, Text: fmt.Sprintf("the certificate %s has been revoked by its issuer", c.Subject)})
		case o.Status == "none" && o.Must:
			all = append(all, console.Notice{Rule: "certificate.unstapled", Where: c.Where, Severe: true, Text: fmt.Sprintf("the certificate %s must be stapled, and there is no OCSP answer: %s", c.Subject, o.Failing)})
		case o.Status == "none" && o.Failing != "":
			all = append(all, console.Notice{Rule: "certificate.unstapled", Where: c.Where, Text: fmt.Sprintf("no OCSP answer for the certificate %s: %s", c.Subject, o.Failing)})
		}
	}
	return all
}

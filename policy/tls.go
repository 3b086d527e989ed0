package policy

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// TLS is what an organisation demands of its encrypted connections with
// clients. The zero value is RFC 9325: TLS 1.2 and 1.3, suites with forward
// secrecy and authenticated encryption, hybrid post-quantum key exchange.
type TLS struct {
	Min    string   `yaml:"min" enum:"1.2|1.3" doc:"Least version of TLS. Default 1.2."`
	Suites []string `yaml:"suites" doc:"Cipher suites of TLS 1.2, by their IANA names; those of TLS 1.3 are not chosen. Default the six with ECDHE and AEAD."`
	Curves []string `yaml:"curves" doc:"Key exchanges: X25519MLKEM768, SecP256r1MLKEM768, SecP384r1MLKEM1024 (hybrid, post-quantum), X25519, P-256, P-384, P-521. Their order is not heeded. Default all of them."`
	HSTS   HSTS     `yaml:"hsts" doc:"Strict-Transport-Security (RFC 6797) in answers over TLS to requests by name, localhost left out."`
	SNI    SNI      `yaml:"sni" enum:"covered|strict|off" doc:"Which other name than that of the handshake a request may come for: one that the certificate covers too, none, or any; else 421. Default covered."`
	OCSP   Switch   `yaml:"ocsp" enum:"on|off" doc:"Staple an OCSP answer to the certificate in cert: the responder that it names is asked. Default off."`
	Warn   int      `yaml:"warn_days" doc:"Days before its end from which a certificate (ours, of client authorities, of upstreams) is warned about, daily. Default 30; -1 = never."`
}

// HSTS is the value of Strict-Transport-Security. The zero value is a year.
type HSTS struct {
	Mode       Switch        `yaml:"mode" enum:"on|off" doc:"Default on."`
	MaxAge     time.Duration `yaml:"max_age" doc:"How long clients remember to come by TLS only. Default 8760h."`
	SubDomains bool          `yaml:"include_subdomains" doc:"Names below the host's too."`
	Preload    bool          `yaml:"preload" doc:"Consent to the lists that browsers are shipped with; needs include_subdomains and a year."`
}

// SNI says which name a request may come for beside that of the handshake.
type SNI string

// The treatments of a request for another name. The zero value is SNICovered.
const (
	SNICovered SNI = "covered"
	SNIStrict  SNI = "strict"
	SNIOff     SNI = "off"
)

const year = 365 * 24 * time.Hour

// Header is the field's value; "" when it is off.
func (h HSTS) Header() string {
	if h.Mode == Off {
		return ""
	}
	age := h.MaxAge
	if age == 0 {
		age = year
	}
	v := fmt.Sprintf("max-age=%d", int64(age/time.Second))
	if h.SubDomains {
		v += "; includeSubDomains"
	}
	if h.Preload {
		v += "; preload"
	}
	return v
}

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// suites are those of TLS 1.2 with forward secrecy and authenticated encryption
// (RFC 9325 section 4.2); TLS 1.3 has no others.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

var curves = map[string]tls.CurveID{
	"X25519MLKEM768": tls.X25519MLKEM768, "SecP256r1MLKEM768": tls.SecP256r1MLKEM768, "SecP384r1MLKEM1024": tls.SecP384r1MLKEM1024,
	"X25519": tls.X25519, "P-256": tls.CurveP256, "P-384": tls.CurveP384, "P-521": tls.CurveP521,
}

var hybrid = []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024}

// Check gives every mistake in t.
func (t TLS) Check() Mistakes {
	var m Mistakes
	oneOf(&m, "min", t.Min, "1.2", "1.3")
	if len(t.Suites) > 0 && t.Min == "1.3" {
		m.add("suites", "min is 1.3, and the suites of TLS 1.3 are not chosen: leave suites out")
	}
	for i, name := range t.Suites {
		if _, ok := suite(name); ok {
			continue
		}
		path := fmt.Sprintf("suites[%d]", i)
		switch {
		case slices.ContainsFunc(tls.CipherSuites(), func(s *tls.CipherSuite) bool {
			return s.Name == name && slices.Contains(s.SupportedVersions, tls.VersionTLS13)
		}):
			m.add(path, "%s is a suite of TLS 1.3, which are all offered", name)
		case slices.ContainsFunc(append(tls.CipherSuites(), tls.InsecureCipherSuites()...), func(s *tls.CipherSuite) bool { return s.Name == name }):
			m.add(path, "%s lacks forward secrecy or authenticated encryption (RFC 9325 section 4.2)", name)
		default:
			m.add(path, "no cipher suite %q; want names such as %s", name, tls.CipherSuiteName(suites[0]))
		}
	}
	for i, name := range t.Curves {
		if _, ok := curves[name]; !ok {
			m.add(fmt.Sprintf("curves[%d]", i), "no key exchange %q; want X25519MLKEM768, SecP256r1MLKEM768, SecP384r1MLKEM1024, X25519, P-256, P-384 or P-521", name)
		}
	}
	if len(t.Curves) > 0 && len(t.CurveIDs()) == len(t.Curves) && t.Min != "1.3" && t.ordinary() == 0 {
		m.add("curves", "hybrid ones need TLS 1.3: with min 1.2 name one of X25519, P-256, P-384, P-521 too")
	}
	h := t.HSTS
	oneOf(&m, "hsts.mode", h.Mode, On, Off)
	if h.MaxAge > 0 && h.MaxAge < time.Second {
		m.add("hsts.max_age", "%s is less than a second", h.MaxAge)
	}
	if h.Preload && (!h.SubDomains || h.MaxAge != 0 && h.MaxAge < year) {
		m.add("hsts.preload", "the lists take names with include_subdomains and max_age of 8760h or more")
	}
	oneOf(&m, "sni", t.SNI, SNICovered, SNIStrict, SNIOff)
	oneOf(&m, "ocsp", t.OCSP, On, Off)
	if t.Warn < -1 || t.Warn > 3650 {
		m.add("warn_days", "%d; want days, or -1 for never", t.Warn)
	}
	return m
}

func suite(name string) (uint16, bool) {
	for _, id := range suites {
		if tls.CipherSuiteName(id) == name {
			return id, true
		}
	}
	return 0, false
}

// Version is the least version of TLS.
func (t TLS) Version() uint16 { return version(t.Min) }

func version(s string) uint16 {
	if v := versions[s]; v != 0 {
		return v
	}
	return tls.VersionTLS12
}

// SuiteIDs are the cipher suites of TLS 1.2.
func (t TLS) SuiteIDs() []uint16 {
	var ids []uint16
	for _, name := range t.Suites {
		if id, ok := suite(name); ok {
			ids = append(ids, id)
		}
	}
	if ids == nil {
		return slices.Clone(suites)
	}
	return ids
}

// CurveIDs are the key exchanges; nil means all.
func (t TLS) CurveIDs() []tls.CurveID {
	var ids []tls.CurveID
	for _, name := range t.Curves {
		if id, ok := curves[name]; ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// Hybrid reports whether a post-quantum key exchange is among those offered.
func (t TLS) Hybrid() bool {
	return len(t.Curves) == 0 || slices.ContainsFunc(t.CurveIDs(), func(id tls.CurveID) bool { return slices.Contains(hybrid, id) })
}

// ordinary counts the key exchanges that TLS 1.2 knows.
func (t TLS) ordinary() int {
	n := 0
	for _, id := range t.CurveIDs() {
		if !slices.Contains(hybrid, id) {
			n++
		}
	}
	return n
}

// WarnDays are the days before its end from which a certificate is warned
// about; 0 is never.
func (t TLS) WarnDays() int {
	switch {
	case t.Warn == 0:
		return 30
	case t.Warn < 0:
		return 0
	}
	return t.Warn
}

// UpstreamTLS is how an upstream is known and what it is shown.
type UpstreamTLS struct {
	CA   string   `yaml:"ca" doc:"PEM file with the authorities that its certificate is checked against; read again when it changes. Default the system's."`
	Name string   `yaml:"server_name" doc:"Name that its certificate is for. Default the host."`
	Cert string   `yaml:"cert" doc:"PEM file with the certificate that we show it, the chain behind it; read again when it changes."`
	Key  string   `yaml:"key" doc:"PEM file with the private key of cert."`
	Min  string   `yaml:"min" enum:"1.2|1.3" doc:"Least version of TLS. Default 1.2."`
	Pins []string `yaml:"pins" doc:"SHA-256 of the public keys (SubjectPublicKeyInfo) that its chain must hold one of, in base64 or hexadecimal."`
}

// Check gives every mistake in t.
func (t UpstreamTLS) Check() Mistakes {
	var m Mistakes
	oneOf(&m, "min", t.Min, "1.2", "1.3")
	if (t.Cert == "") != (t.Key == "") {
		m.add("cert", "cert and key go together")
	}
	for i, p := range t.Pins {
		if _, ok := Pin(p); !ok {
			m.add(fmt.Sprintf("pins[%d]", i), "%q is not the SHA-256 of a public key: want 32 bytes in base64 (openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64) or hexadecimal", p)
		}
	}
	return m
}

// Version is the least version of TLS.
func (t UpstreamTLS) Version() uint16 { return version(t.Min) }

// Pin reads the SHA-256 of a public key.
func Pin(s string) (sum [sha256.Size]byte, ok bool) {
	s = strings.TrimPrefix(s, "sha256/")
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != sha256.Size {
		if b, err = hex.DecodeString(s); err != nil || len(b) != sha256.Size {
			return sum, false
		}
	}
	return [sha256.Size]byte(b), true
}

// Plaintext says what becomes of an upstream that is reached without TLS
// outside of this machine.
type Plaintext string

// The treatments of plaintext upstreams. The zero value is PlaintextWarn.
const (
	PlaintextWarn   Plaintext = "warn"
	PlaintextRefuse Plaintext = "refuse"
	PlaintextAllow  Plaintext = "allow"
)

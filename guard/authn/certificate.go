package authn

import (
	"crypto/sha256"
	"crypto/x509"
	"strings"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/policy"
)

// A Certificate is the client's certificate of a connection, which the door has
// verified against the configured authorities. It is shared and must not be changed.
type Certificate struct {
	SHA256             [32]byte // of its DER form
	Subject            string   // RFC 2253
	URIs, Names        []string // subject alternative names: URIs, DNS names
	NotBefore, Expires time.Time
}

// NewCertificate takes from a verified certificate what is looked at here.
func NewCertificate(c *x509.Certificate) *Certificate {
	out := &Certificate{SHA256: sha256.Sum256(c.Raw), Subject: c.Subject.String(), Names: c.DNSNames, NotBefore: c.NotBefore, Expires: c.NotAfter}
	for _, u := range c.URIs {
		out.URIs = append(out.URIs, u.String())
	}
	return out
}

// current reports whether the certificate is inside its time, which may have
// ended since its connection was opened.
func (c *Certificate) current(now time.Time) bool {
	return !now.Before(c.NotBefore) && now.Before(c.Expires)
}

// Certificates reports whether callers may be known by their certificate.
func (v *Verifier) Certificates() bool { return len(v.certificates) > 0 }

// Certificate proves a caller by the verified certificate of the connection.
func (v *Verifier) Certificate(c *Certificate, now time.Time) (id *Identity, rule string) {
	if !c.current(now) {
		return nil, RuleOutdated
	}
	// An SVID has exactly one URI (X.509-SVID, section 2); of several none can be
	// said to be who calls.
	uri := ""
	if len(c.URIs) == 1 {
		uri = c.URIs[0]
	}
	for i := range v.certificates {
		k := &v.certificates[i]
		subject, ok := "", false
		switch {
		case k.URI != "":
			subject, ok = uri, uri != "" && under(uri, k.URI)
		case k.DNS != "":
			for _, name := range c.Names {
				ok = ok || strings.EqualFold(name, k.DNS)
			}
			subject = strings.ToLower(k.DNS)
		default:
			subject, ok = c.Subject, c.Subject == k.Subject
		}
		if ok {
			return known(subject, k), ""
		}
	}
	return nil, RuleStranger
}

func known(subject string, k *policy.Certificate) *Identity {
	p := sallyport.Principal{Kind: "certificate", Subject: subject, Client: k.ID}
	return &Identity{Principal: p, Name: p.String(), Scopes: k.Scopes}
}

// under reports whether a URI is the one named, or one of those below a name
// that ends in /*. No segment of it may be empty or stand for another.
func under(uri, pattern string) bool {
	prefix, wide := strings.CutSuffix(pattern, "*")
	if !wide {
		return uri == pattern
	}
	rest, ok := strings.CutPrefix(uri, prefix)
	if !ok || rest == "" || strings.ContainsAny(rest, "?#%") {
		return false
	}
	for segment := range strings.SplitSeq(rest, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

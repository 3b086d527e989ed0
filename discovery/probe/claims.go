package probe

import (
	"strings"
	"time"

	"sallyport.dev"
)

func (v *visit) claim(a sallyport.Asset, field, value string, confidence float64, evidence string) {
	if value == "" || len(v.out.Claims) >= 20_000 {
		return
	}
	v.out.Claims = append(v.out.Claims, sallyport.Claim{Asset: a, Field: field, Value: clip(value, 500), Source: Source, Confidence: confidence, Evidence: clip(evidence, 300), Time: v.p.Now()})
}

// asset names what lies at a path of the site.
func (s *site) asset(path string) sallyport.Asset {
	host := s.host
	if host == "" {
		host = s.job.addr.String()
	}
	return sallyport.Asset{Host: host, Path: path, Address: s.hostHeader("", s.port, "")}
}

// claim says what each API found is, in the inventory's words.
func (s *site) claim() {
	for _, a := range s.apis {
		asset, evidence := s.asset(a.Path), strings.Join(a.Evidence, "; ")
		say := func(field, value string, confidence float64, evidence string) {
			s.visit.claim(asset, field, value, confidence, evidence)
		}
		say("kind", string(a.Kind), a.Confidence, evidence)
		say("addresses", a.Address, 1, evidence)
		if s.host != "" {
			say("hosts", s.host, 0.95, evidence)
		}
		exposure := "external"
		if inside(s.job.addr) {
			exposure = "internal"
		}
		say("exposure.observed", exposure, 0.6, "it answered at "+a.Address)
		say("title", a.Title, 0.9, a.URL)
		switch a.Kind {
		case OpenAPI, AsyncAPI:
			say("spec", a.URL, 1, evidence)
			say("spec.version", a.Version, 0.9, a.URL)
		case REST, OData, MCP:
			say("versions", a.Version, 0.8, a.URL)
		}
		auth, _, _ := strings.Cut(a.Auth, ",")
		if auth == "none" {
			auth = "anonymous"
		}
		say("auth.observed", auth, 0.8, evidence)
		say("technology", s.service.Server, 0.5, "Server header of "+s.base())
		if t := s.service.TLS; t != nil {
			for _, version := range t.Versions {
				say("tls.versions", version, 1, "handshake with "+a.Address)
			}
			if c := t.Certificate; c != nil {
				say("tls.issuer", c.Issuer, 1, "certificate with SHA-256 "+c.SHA256)
				say("tls.expires", c.NotAfter.UTC().Format(time.RFC3339), 1, "certificate with SHA-256 "+c.SHA256)
			}
		}
	}
}

// walls are fronts that filter besides delivering.
var walls = map[string]bool{"Imperva": true, "Sucuri": true, "Application Gateway": true, "F5 BIG-IP": true}

// hostingClaims says of each API who runs the machine it is on.
func (v *visit) hostingClaims(h *Hosting) {
	evidence := strings.Join(h.Evidence, "; ")
	for _, a := range v.out.APIs {
		host := a.Host
		if host == "" {
			host = v.job.addr.String()
		}
		asset := sallyport.Asset{Host: host, Path: a.Path, Address: a.Address}
		v.claim(asset, "provider", h.Provider, 0.9, evidence)
		v.claim(asset, "region", h.Region, 0.9, evidence)
		if walls[h.Front] {
			v.claim(asset, "waf", h.Front, 0.8, evidence)
		} else {
			v.claim(asset, "cdn", h.Front, 0.8, evidence)
		}
	}
}

package probe

import (
	"strings"

	"sallyport.dev"
)

// serviceClaims says what listens.
func (v *visit) serviceClaims(s *Service) {
	address := v.job.addr.String() + ":" + itoa(s.Port)
	if v.job.addr.Is6() {
		address = "[" + v.job.addr.String() + "]:" + itoa(s.Port)
	}
	asset := sallyport.Asset{Host: v.firstName(), Address: address}
	v.claim(asset, "protocol", s.Protocol, 0.95, "connected to "+address)
	if s.TLS != nil {
		v.claim(asset, "tls.versions", strings.Join(s.TLS.Versions, ", "), 1, "handshakes with "+address)
		if c := s.TLS.Certificate; c != nil {
			v.claim(asset, "tls.certificate", c.Subject+" until "+c.NotAfter.UTC().Format("2006-01-02"), 1, "SHA-256 "+c.SHA256)
		}
	}
}

func (v *visit) claim(a sallyport.Asset, field, value string, confidence float64, evidence string) {
	if value == "" || len(v.out.Claims) >= 20_000 {
		return
	}
	v.out.Claims = append(v.out.Claims, sallyport.Claim{Asset: a, Field: field, Value: clip(value, 500), Source: Source, Confidence: confidence, Evidence: clip(evidence, 300), Time: v.p.Now()})
}

func (s *site) asset(path string) sallyport.Asset {
	host := s.host
	if host == "" {
		host = s.job.addr.String()
	}
	address := s.hostHeader("", s.port, "")
	return sallyport.Asset{Host: host, Path: path, Address: address}
}

// claim says what each API found is.
func (s *site) claim() {
	for _, a := range s.apis {
		asset, evidence := s.asset(a.Path), strings.Join(a.Evidence, "; ")
		s.visit.claim(asset, "kind", string(a.Kind), a.Confidence, evidence)
		s.visit.claim(asset, "address", a.Address, 1, evidence)
		exposure := "external"
		if inside(s.job.addr) {
			exposure = "internal"
		}
		s.visit.claim(asset, "exposure.observed", exposure, 0.6, "it answered at "+a.Address)
		s.visit.claim(asset, "version", a.Version, 0.9, a.URL)
		s.visit.claim(asset, "title", a.Title, 0.9, a.URL)
		s.visit.claim(asset, "authentication.observed", a.Auth, 0.8, evidence)
		s.visit.claim(asset, "technology", s.service.Server, 0.5, "Server header of "+s.base())
		if a.Kind == OpenAPI || a.Kind == AsyncAPI {
			s.visit.claim(asset, "spec.url", a.URL, 1, evidence)
		}
		if s.service.TLS != nil {
			s.visit.claim(asset, "tls.versions", strings.Join(s.service.TLS.Versions, ", "), 1, "handshakes with "+a.Address)
		}
		for _, o := range a.Operations {
			if o.Status == 0 {
				continue // a description says so, nobody has seen it
			}
			x := asset
			x.Method, x.Template = o.Method, o.Template
			s.visit.claim(x, "operation", "answered "+itoa(o.Status), 0.9, "found by "+o.From)
		}
	}
}

package main

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/gateway/http1"
	"sallyport.dev/guard/signed"
	"sallyport.dev/identity"
	"sallyport.dev/policy"
)

// signer signs tokens that name callers, with a key derived from the master key:
// all nodes with one master key have one key.
type signer struct {
	now atomic.Pointer[identity.Signer]
}

func (s *signer) derive(master []byte) error {
	seed, err := hkdf.Key(sha256.New, master, nil, "sallyport: tokens that name callers, ed25519", ed25519.SeedSize)
	if err != nil {
		return err
	}
	next, err := identity.NewSigner(ed25519.NewKeyFromSeed(seed), "")
	if err == nil {
		s.now.Store(next)
	}
	return err
}

// Sign is refused until there is a key: see gateway.Signer.
func (s *signer) Sign(typ string, claims map[string]any) (string, error) {
	if now := s.now.Load(); now != nil {
		return now.Sign(typ, claims)
	}
	return "", sallyport.Errorf(sallyport.Unavailable, "no key to sign with yet")
}

// keySet publishes the key that upstreams verify those tokens with.
func (s *signer) keySet(w http.ResponseWriter, _ *http.Request) {
	now := s.now.Load()
	if now == nil {
		http.Error(w, "not yet", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "max-age=3600")
	w.Write(now.Set())
}

// onward is what requests of an API carry to its upstreams, nil when nothing is
// said about it. Secrets that cannot be read are mistakes.
func (c *compiled) onward(a *apiConfig, path string, l lasting, m *mistakes) *gateway.Onward {
	k := a.Credentials
	if !k.Stated() {
		return nil
	}
	secret := func(name, ref string) string {
		v, err := c.secret(ref)
		if err == nil && (v == "" || strings.ContainsAny(v, "\r\n\x00")) && name != "private_key_jwt" {
			m.add(c.at(path+"."+name), "%s.%s: it is empty or has several lines", path, name)
		}
		if err != nil {
			m.add(c.at(path+"."+name), "%s.%s: %v", path, name, err)
		}
		return v
	}
	grant := func(name string, o policy.OAuth2, exchange bool) *identity.Grant {
		if !o.Stated() {
			return nil
		}
		g := identity.Grant{Issuer: o.Issuer, TokenURL: o.TokenURL, ClientID: o.ClientID, KeyID: o.KeyID, Scope: strings.Join(o.Scope, " "),
			Audience: o.Audience, Resource: o.Resource, Exchange: exchange}
		if o.Secret != "" {
			g.Secret = secret(name+".secret", o.Secret)
		}
		if o.Key != "" {
			g.Key = secret(name+".private_key_jwt", o.Key)
			if _, err := identity.ParseSigner([]byte(g.Key), o.KeyID); err != nil && g.Key != "" {
				m.add(c.at(path+"."+name+".private_key_jwt"), "%s.%s.private_key_jwt: %v", path, name, err)
			}
		}
		if !slices.Contains(c.grants, g) {
			c.grants = append(c.grants, g)
		}
		return &g
	}
	o := &gateway.Onward{Tokens: l.grants, OAuth2: grant("oauth2", k.OAuth2, false), Exchange: grant("exchange", k.Exchange, true), Name: k.Principal == policy.ByHeader}
	if k.Principal == policy.ByJWT {
		o.Sign = l.signer
	}
	if k.Header.Name != "" {
		o.Set = append(o.Set, http1.Field{Name: http.CanonicalHeaderKey(k.Header.Name), Value: secret("header.value", k.Header.Value)})
	}
	if k.Basic.User != "" {
		pair := k.Basic.User + ":" + secret("basic.password", k.Basic.Password)
		o.Set = append(o.Set, http1.Field{Name: "Authorization", Value: "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))})
	}
	if k.DropsCaller() {
		o.Drop = []string{"Authorization", "DPoP"}
		if in := a.Auth.KeyIn.WithDefaults(); len(a.Auth.Keys) > 0 && in.In == sallyport.InHeader {
			o.Drop = append(o.Drop, in.Name)
		}
	}
	return o
}

// grantMetrics show the tokens for upstreams.
type grantMetrics struct{ *identity.Grants }

var (
	grantLeft   = prometheus.NewDesc("sallyport_upstream_token_seconds", "Time until the token for upstreams that is in use ends; 0 when there is none.", []string{"grant"}, nil)
	grantFailed = prometheus.NewDesc("sallyport_upstream_token_failures_total", "Tokens for upstreams that could not be fetched or exchanged.", []string{"grant"}, nil)
	grantHeld   = prometheus.NewDesc("sallyport_upstream_tokens_exchanged", "Exchanged tokens held for callers.", []string{"grant"}, nil)
)

// Describe is part of prometheus.Collector.
func (g grantMetrics) Describe(to chan<- *prometheus.Desc) {
	to <- grantLeft
	to <- grantFailed
	to <- grantHeld
}

// Collect is part of prometheus.Collector.
func (g grantMetrics) Collect(to chan<- prometheus.Metric) {
	seen := map[string]bool{}
	for _, s := range g.Status() {
		name := s.Name
		if seen[name+fmt.Sprint(s.Exchange)] {
			continue // the same but for its secret, while that changes
		}
		seen[name+fmt.Sprint(s.Exchange)] = true
		if s.Exchange {
			name += " (exchange)"
			to <- prometheus.MustNewConstMetric(grantHeld, prometheus.GaugeValue, float64(s.Held), name)
		} else {
			to <- prometheus.MustNewConstMetric(grantLeft, prometheus.GaugeValue, max(0, time.Until(s.Until).Seconds()), name)
		}
		to <- prometheus.MustNewConstMetric(grantFailed, prometheus.CounterValue, float64(s.Failures), name)
	}
}

// signatureKeys reads the keys that requests may be signed with. Those that
// cannot be read or used are mistakes.
func (c *config) signatureKeys(list []policy.Signature, path string, m *mistakes) []policy.Signature {
	var out []policy.Signature
	for i, s := range list {
		refs := s.Keys
		s.Keys = nil
		for j, ref := range refs {
			p := fmt.Sprintf("%s[%d].keys[%d]", path, i, j)
			if !strings.HasPrefix(ref, "env:") && !strings.HasPrefix(ref, "file:") {
				m.add(c.at(p), "%s: want env:NAME or file:PATH", p)
				continue
			}
			text, err := c.secret(ref)
			if err != nil {
				m.add(c.at(p), "%s: %v", p, err)
				continue
			}
			one := s
			one.Keys = []string{text}
			if _, err := signed.New([]policy.Signature{one}); err != nil {
				m.add(c.at(p), "%s: %v", p, err)
				continue
			}
			s.Keys = append(s.Keys, text)
		}
		out = append(out, s)
	}
	return out
}

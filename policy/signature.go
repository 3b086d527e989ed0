package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Signature is a caller known by its signatures on requests: HTTP message
// signatures (RFC 9421), or one of the HMAC styles of webhooks.
type Signature struct {
	ID    string         `yaml:"id" need:"1" doc:"Its name."`
	Style SignatureStyle `yaml:"style" enum:"rfc9421|github|stripe|slack|shopify|hmac" doc:"How it signs. Default rfc9421."`
	// Keys are the keys that it may sign with now, as references until they are
	// resolved: two during a rotation.
	Keys      []string `yaml:"keys" need:"1" doc:"Keys that it may sign with, as env:NAME or file:PATH: a public key or certificate in PEM, or the shared secret. Two during a rotation."`
	Algorithm string   `yaml:"algorithm" enum:"ed25519|ecdsa-p256-sha256|ecdsa-p384-sha384|rsa-pss-sha512|rsa-v1_5-sha256|hmac-sha256" doc:"Algorithm of rfc9421; the other styles are hmac-sha256. Default ed25519."`
	KeyID     string   `yaml:"key_id" doc:"keyid of its rfc9421 signatures. Default its name."`
	Tag       string   `yaml:"tag" doc:"tag that rfc9421 signatures must have. Default any."`
	// Components must be covered; the digest of a body always must.
	Components []string      `yaml:"components" doc:"Components that rfc9421 signatures must cover. Default \"@method\" and \"@target-uri\" (or \"@authority\", \"@path\" and \"@query\"); \"content-digest\" always, where there is a body."`
	Window     time.Duration `yaml:"window" doc:"How old a signature may be. Default 5m, at most 1h."`
	Once       bool          `yaml:"once" doc:"Refuse what was signed before: rfc9421 signatures need a nonce then, others are told by the signature itself."`
	Scopes     []string      `yaml:"scopes" doc:"Scopes that it has."`

	// The rest describes the style hmac; the named styles bring their own.
	Header          string            `yaml:"header" doc:"Header with the signature, of the style hmac."`
	Prefix          string            `yaml:"prefix" doc:"Text before the signature, of the style hmac."`
	Encoding        SignatureEncoding `yaml:"encoding" enum:"hex|base64" doc:"How the signature is written, of the style hmac. Default hex."`
	TimestampHeader string            `yaml:"timestamp_header" doc:"Header with the time in seconds, of the style hmac. Default none."`
	Text            string            `yaml:"text" doc:"What is signed, of the style hmac, of {body} and {timestamp}. Default {body}."`
}

// SignatureStyle is how a caller signs.
type SignatureStyle string

// The styles.
const (
	RFC9421 SignatureStyle = "rfc9421"
	GitHub  SignatureStyle = "github"
	Stripe  SignatureStyle = "stripe"
	Slack   SignatureStyle = "slack"
	Shopify SignatureStyle = "shopify"
	HMAC    SignatureStyle = "hmac"
)

// SignatureEncoding is how a signature is written.
type SignatureEncoding string

// The encodings.
const (
	Hex    SignatureEncoding = "hex"
	Base64 SignatureEncoding = "base64"
)

// WithDefaults fills what is not given, and what a named style brings.
func (s Signature) WithDefaults() Signature {
	s.Style = cmp.Or(s.Style, RFC9421)
	s.Window = cmp.Or(s.Window, 5*time.Minute)
	s.KeyID = cmp.Or(s.KeyID, s.ID)
	switch s.Style {
	case RFC9421:
		s.Algorithm = cmp.Or(s.Algorithm, "ed25519")
		if len(s.Components) == 0 {
			s.Components = []string{"@method", "@target-uri"}
		}
		return s
	case GitHub:
		s.Header, s.Prefix = "X-Hub-Signature-256", "sha256="
	case Stripe:
		s.Header, s.Text = "Stripe-Signature", "{timestamp}.{body}"
	case Slack:
		s.Header, s.Prefix, s.TimestampHeader, s.Text = "X-Slack-Signature", "v0=", "X-Slack-Request-Timestamp", "v0:{timestamp}:{body}"
	case Shopify:
		s.Header, s.Encoding = "X-Shopify-Hmac-Sha256", Base64
	}
	s.Algorithm, s.Encoding, s.Text = "hmac-sha256", cmp.Or(s.Encoding, Hex), cmp.Or(s.Text, "{body}")
	return s
}

func (s Signature) words() string {
	w := fmt.Sprintf("%s by %s", s.ID, cmp.Or(s.Style, RFC9421))
	if len(s.Scopes) > 0 {
		w += " with " + strings.Join(s.Scopes, " ")
	}
	return w
}

func (m *Mistakes) signatures(list []Signature) {
	ids, keys := map[string]bool{}, map[string]bool{}
	for i, s := range list {
		p := fmt.Sprintf("auth.signatures[%d]", i)
		if s.ID == "" {
			m.add(p+".id", "missing")
		} else if ids[s.ID] {
			m.add(p+".id", "%q stands twice", s.ID)
		}
		ids[s.ID] = true
		oneOf(m, p+".style", s.Style, RFC9421, GitHub, Stripe, Slack, Shopify, HMAC)
		oneOf(m, p+".encoding", s.Encoding, Hex, Base64)
		full := s.WithDefaults()
		if s.Algorithm != "" && !slices.Contains([]string{"ed25519", "ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha512", "rsa-v1_5-sha256", "hmac-sha256"}, s.Algorithm) {
			m.add(p+".algorithm", "%q is none of those of RFC 9421", s.Algorithm)
		}
		if len(s.Keys) == 0 {
			m.add(p+".keys", "missing; want env:NAME or file:PATH")
		}
		if len(s.Keys) > 4 {
			m.add(p+".keys", "%d keys; want at most 4", len(s.Keys))
		}
		if full.Style == RFC9421 {
			if keys[full.KeyID] {
				m.add(p+".key_id", "%q stands twice; put both keys into one entry", full.KeyID)
			}
			keys[full.KeyID] = true
			if s.Header+s.Prefix+s.TimestampHeader+s.Text != "" || s.Encoding != "" {
				m.add(p, "header, prefix, encoding, timestamp_header and text are of the style hmac")
			}
			for j, c := range s.Components {
				derived := slices.Contains([]string{"@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query"}, c)
				if !derived && (c == "" || c[0] == '@' || c != strings.ToLower(c) || strings.ContainsAny(c, "\" ;:\t")) {
					m.add(fmt.Sprintf("%s.components[%d]", p, j), "%q is neither a header in lower case nor one of @method, @target-uri, @authority, @scheme, @request-target, @path, @query", c)
				}
			}
		} else {
			if len(s.Components) > 0 || s.Tag != "" || s.KeyID != "" || s.Algorithm != "" && s.Algorithm != "hmac-sha256" {
				m.add(p, "components, tag, key_id and algorithm are of the style rfc9421")
			}
			if full.Header == "" || strings.ContainsAny(full.Header+full.TimestampHeader, " :\t\r\n") {
				m.add(p+".header", "%q is not the name of a header", full.Header)
			}
			if strings.Count(full.Text, "{body}") != 1 {
				m.add(p+".text", "%q: want {body} in it once", full.Text)
			}
			if strings.Contains(full.Text, "{timestamp}") && full.TimestampHeader == "" && full.Style != Stripe {
				m.add(p+".timestamp_header", "missing; where does {timestamp} stand?")
			}
			if !strings.Contains(full.Text, "{timestamp}") && full.TimestampHeader != "" {
				m.add(p+".text", "the time is not signed; want {timestamp} in it")
			}
		}
		if s.Window < 0 || s.Window > time.Hour || s.Window%time.Second != 0 {
			m.add(p+".window", "%s; want whole seconds, at most 1h", s.Window)
		}
		m.scopes(p+".scopes", s.Scopes)
	}
}

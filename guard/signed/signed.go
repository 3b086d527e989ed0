// Package signed checks who signed an HTTP request. In come a message as it
// arrived, body included to the byte, and the keys that are known; out goes whose
// signature it is, or the rule that it broke. It knows HTTP message signatures
// (RFC 9421) with content digests (RFC 9530), and the HMAC styles of webhooks. It
// reads no clock, remembers nothing, and puts nothing of a message into what it says.
package signed

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"net/http"
	"strings"
	"time"

	"sallyport.dev/policy"
)

// Rules that a signed request can break.
const (
	RuleMalformed = "signature.malformed"
	RuleKey       = "signature.key-unknown"
	RuleCovers    = "signature.covers"
	RuleTime      = "signature.time"
	RuleAlgorithm = "signature.algorithm"
	RuleNonce     = "signature.nonce"
	RuleTag       = "signature.tag"
	RuleWrong     = "signature.wrong"
	RuleDigest    = "signature.digest"
	RuleBody      = "signature.body"
	RuleReplayed  = "signature.replayed"
)

// Bounds of what is read.
const (
	maxHeader     = 8 << 10 // of each header with signatures
	maxLabels     = 4       // signatures in one message
	maxComponents = 64      // of one signature
)

// A Message is a request. Nothing of it is changed or kept.
type Message struct {
	Method, Scheme, Host, Path, RawQuery string // Host as received; Path escaped
	Header                               http.Header
	Length                               int64 // of the body as stated, -1 = unknown
	Body                                 []byte
	Whole                                bool // Body is all of it
}

// A Proof is a signature that verified.
type Proof struct {
	Signer int       // index in the list that New was given
	Until  time.Time // when this message would be too old
	Unique string    // what no other message of the signer's may have; "" when that is not asked
}

// A Verifier knows who may sign. It is immutable and safe for concurrent use.
type Verifier struct{ signers []signer }

type signer struct {
	policy.Signature
	keys []key
}

// New compiles what is demanded. The keys in it are the texts themselves: PEM for
// public keys, any bytes for shared secrets.
func New(list []policy.Signature) (*Verifier, error) {
	v := &Verifier{}
	for _, s := range list {
		out := signer{Signature: s.WithDefaults()}
		for _, text := range s.Keys {
			k, err := newKey(out.Algorithm, text)
			if err != nil {
				return nil, fmt.Errorf("signature %s: %w", s.ID, err)
			}
			out.keys = append(out.keys, k)
		}
		v.signers = append(v.signers, out)
	}
	return v, nil
}

// Presented reports whether a request carries a signature of a kind that is known here.
func (v *Verifier) Presented(h http.Header) bool {
	for i := range v.signers {
		if len(h[v.signers[i].header()]) > 0 {
			return true
		}
	}
	return false
}

func (s *signer) header() string {
	if s.Style == policy.RFC9421 {
		return "Signature-Input"
	}
	return http.CanonicalHeaderKey(s.Header)
}

// Place is the header that a request's signature stands in.
func (v *Verifier) Place(h http.Header) string {
	for i := range v.signers {
		if name := v.signers[i].header(); len(h[name]) > 0 {
			return name
		}
	}
	return "Signature"
}

// Verify checks a request's signature. rule is "" when it holds.
func (v *Verifier) Verify(m *Message, now time.Time) (p Proof, rule string) {
	if !m.Whole {
		return p, RuleBody
	}
	rule = RuleKey
	for i := range v.signers {
		s := &v.signers[i]
		if s.Style == policy.RFC9421 || len(m.Header[s.header()]) == 0 {
			continue
		}
		if p, rule = s.hmac(m, now); rule == "" {
			p.Signer = i
			return p, ""
		}
	}
	if len(m.Header["Signature-Input"]) > 0 {
		return v.rfc9421(m, now)
	}
	return p, rule
}

// key is one key of a signer.
type key struct {
	public crypto.PublicKey
	secret []byte
}

// newKey reads a key for an algorithm of RFC 9421, section 3.3.
func newKey(alg, text string) (k key, err error) {
	if alg == "hmac-sha256" {
		if len(text) < 16 {
			return k, errors.New("a shared secret of fewer than 16 bytes")
		}
		return key{secret: []byte(text)}, nil
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return k, errors.New("want a public key in PEM")
	}
	switch block.Type {
	case "PUBLIC KEY":
		k.public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			k.public = c.PublicKey
		}
	default:
		return k, errors.New("want a public key in PEM")
	}
	if err != nil {
		return k, errors.New("the public key cannot be read")
	}
	ok := false
	switch p := k.public.(type) {
	case ed25519.PublicKey:
		ok = alg == "ed25519"
	case *ecdsa.PublicKey:
		ok = alg == "ecdsa-p256-sha256" && p.Curve == elliptic.P256() || alg == "ecdsa-p384-sha384" && p.Curve == elliptic.P384()
	case *rsa.PublicKey:
		ok = (alg == "rsa-pss-sha512" || alg == "rsa-v1_5-sha256") && p.N.BitLen() >= 2048
	}
	if !ok {
		return k, fmt.Errorf("the key is not one for %s", alg)
	}
	return k, nil
}

// verify checks a signature over a signature base.
func (k key) verify(alg string, base, signature []byte) bool {
	switch alg {
	case "hmac-sha256":
		return hmac.Equal(sum(sha256.New, k.secret, base), signature)
	case "ed25519":
		p, ok := k.public.(ed25519.PublicKey)
		return ok && ed25519.Verify(p, base, signature)
	case "ecdsa-p256-sha256":
		h := sha256.Sum256(base)
		return k.ecdsa(h[:], signature, 32)
	case "ecdsa-p384-sha384":
		h := sha512.Sum384(base)
		return k.ecdsa(h[:], signature, 48)
	case "rsa-pss-sha512":
		p, ok := k.public.(*rsa.PublicKey)
		h := sha512.Sum512(base)
		return ok && rsa.VerifyPSS(p, crypto.SHA512, h[:], signature, &rsa.PSSOptions{SaltLength: 64}) == nil
	case "rsa-v1_5-sha256":
		p, ok := k.public.(*rsa.PublicKey)
		h := sha256.Sum256(base)
		return ok && rsa.VerifyPKCS1v15(p, crypto.SHA256, h[:], signature) == nil
	}
	return false
}

func (k key) ecdsa(digest, signature []byte, half int) bool {
	p, ok := k.public.(*ecdsa.PublicKey)
	return ok && len(signature) == 2*half && ecdsa.Verify(p, digest, new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:]))
}

func sum(h func() hash.Hash, secret []byte, parts ...[]byte) []byte {
	m := hmac.New(h, secret)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

// within reports whether a time lies in the window around now.
func within(at int64, window time.Duration, now time.Time) bool {
	return at <= now.Unix()+60 && at >= now.Add(-window).Unix()
}

// authority is a host in the form of RFC 9421, section 2.2.3.
func (m *Message) authority() string {
	host := strings.ToLower(m.Host)
	if m.Scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

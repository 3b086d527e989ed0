package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // ES384 and ES512
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
)

// A Signer makes JWTs (RFC 7519) with one private key. It is immutable and safe
// for concurrent use.
type Signer struct {
	key crypto.Signer
	alg string
	kid string
	h   crypto.Hash
}

// NewSigner makes a signer for an RSA key of 2,048 bits or more (PS256), one on
// P-256, P-384 or P-521 (ES256, ES384, ES512) or an Ed25519 key (EdDSA). kid ""
// is the key's thumbprint (RFC 7638).
func NewSigner(key crypto.Signer, kid string) (*Signer, error) {
	s := &Signer{key: key, kid: kid}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() < 2048 {
			return nil, errors.New("the RSA key has fewer than 2048 bits")
		}
		s.alg, s.h = "PS256", crypto.SHA256
	case *ecdsa.PrivateKey:
		switch k.Curve {
		case elliptic.P256():
			s.alg, s.h = "ES256", crypto.SHA256
		case elliptic.P384():
			s.alg, s.h = "ES384", crypto.SHA384
		case elliptic.P521():
			s.alg, s.h = "ES512", crypto.SHA512
		default:
			return nil, errors.New("the curve is none of P-256, P-384, P-521")
		}
	case ed25519.PrivateKey:
		s.alg = "EdDSA"
	default:
		return nil, fmt.Errorf("keys of type %T are not supported", key)
	}
	if s.kid == "" {
		text, err := json.Marshal(s.public()) // members in lexical order, as RFC 7638 wants them
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		s.kid = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return s, nil
}

// ParseSigner reads a private key in PEM: PKCS #8, PKCS #1 or SEC 1.
func ParseSigner(text []byte, kid string) (*Signer, error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, errors.New("no private key in PEM")
		}
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			continue // parameters of the curve, a certificate
		}
		if err != nil {
			return nil, errors.New("the private key cannot be read")
		}
		s, ok := key.(crypto.Signer)
		if !ok {
			return nil, errors.New("the private key cannot sign")
		}
		return NewSigner(s, kid)
	}
}

// Sign makes a JWT of the claims with the type given.
func (s *Signer) Sign(typ string, claims map[string]any) (string, error) {
	head, err := json.Marshal(map[string]string{"alg": s.alg, "kid": s.kid, "typ": typ})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(body)
	signature, err := s.sign([]byte(text))
	if err != nil {
		return "", err
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

func (s *Signer) sign(text []byte) ([]byte, error) {
	if s.h == 0 {
		return s.key.Sign(rand.Reader, text, crypto.Hash(0))
	}
	w := s.h.New()
	w.Write(text)
	sum := w.Sum(nil)
	switch k := s.key.(type) {
	case *rsa.PrivateKey:
		return rsa.SignPSS(rand.Reader, k, s.h, sum, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case *ecdsa.PrivateKey:
		r, t, err := ecdsa.Sign(rand.Reader, k, sum)
		if err != nil {
			return nil, err
		}
		half := (k.Params().BitSize + 7) / 8
		out := make([]byte, 2*half)
		r.FillBytes(out[:half])
		t.FillBytes(out[half:])
		return out, nil
	}
	return nil, errors.New("no such key")
}

// public is the public key as a JWK with its required members only.
func (s *Signer) public() map[string]string {
	b64 := base64.RawURLEncoding.EncodeToString
	switch k := s.key.Public().(type) {
	case *rsa.PublicKey:
		return map[string]string{"kty": "RSA", "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			return nil
		}
		half := (len(point) - 1) / 2
		return map[string]string{"kty": "EC", "crv": k.Curve.Params().Name, "x": b64(point[1 : 1+half]), "y": b64(point[1+half:])}
	case ed25519.PublicKey:
		return map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(k)}
	}
	return nil
}

// Set is the public key as a JWK Set (RFC 7517).
func (s *Signer) Set() []byte {
	jwk := s.public()
	jwk["kid"], jwk["alg"], jwk["use"] = s.kid, s.alg, "sig"
	text, err := json.Marshal(map[string]any{"keys": []any{jwk}})
	if err != nil {
		return nil // texts only: it does not happen
	}
	return text
}

// randomID is a jti that nobody guesses.
func randomID() string { return rand.Text() }

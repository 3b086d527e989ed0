// Package issuer is a small OpenID provider for the lab and for tests: it has a
// discovery document, a key set and a token endpoint for client credentials,
// and can sign deliberately bad tokens so that a guard can be tried. In come
// client names with their scopes; out come signed JWT access tokens. Its keys
// are made when it starts and never leave the process; it is of no use in
// production.
package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"time"
)

// An Issuer signs tokens. The zero value is not usable; call New.
type Issuer struct {
	URL      string // the issuer identifier, set by New
	Audience string
	Life     time.Duration // of a token

	mu      sync.RWMutex
	clients map[string]Client
	keys    []signingKey // the first signs, the others are still published
	serial  int
}

// A Client may ask for tokens.
type Client struct {
	ID, Secret, Subject string
	Scopes              []string
}

type signingKey struct {
	id, alg string
	key     crypto.Signer
}

// New makes an issuer at url with fresh keys.
func New(url, audience string, clients []Client) (*Issuer, error) {
	s := &Issuer{URL: url, Audience: audience, Life: 10 * time.Minute, clients: map[string]Client{}}
	for _, c := range clients {
		s.clients[c.ID] = c
	}
	return s, s.Rotate()
}

// Rotate makes new signing keys and keeps the last ones published.
func (s *Issuer) Rotate() error {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make a signing key: %w", err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a signing key: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	fresh := []signingKey{{fmt.Sprintf("rs-%d", s.serial), "RS256", r}, {fmt.Sprintf("es-%d", s.serial), "ES256", e}}
	s.keys = append(fresh, s.keys[:min(2, len(s.keys))]...)
	return nil
}

// Token signs an access token for a client with the key of alg (RS256 or
// ES256). The edit, when given, may spoil header and claims before signing.
func (s *Issuer) Token(client, alg string, edit func(header, claims map[string]any)) (string, error) {
	s.mu.RLock()
	c, ok := s.clients[client]
	keys := s.keys
	s.mu.RUnlock()
	if !ok {
		return "", fmt.Errorf("no client %q at the lab's issuer", client)
	}
	for _, k := range keys {
		if k.alg != alg {
			continue
		}
		now := time.Now()
		header := map[string]any{"alg": k.alg, "typ": "at+jwt", "kid": k.id}
		claims := map[string]any{"iss": s.URL, "aud": s.Audience, "sub": c.Subject, "client_id": c.ID, "scope": strings.Join(c.Scopes, " "),
			"iat": now.Unix(), "exp": now.Add(s.Life).Unix(), "jti": rand.Text()}
		if edit != nil {
			edit(header, claims)
		}
		return sign(k.key, header, claims)
	}
	return "", fmt.Errorf("no key for %s at the lab's issuer", alg)
}

func sign(key crypto.Signer, header, claims map[string]any) (string, error) {
	h, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	c, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	b64 := base64.RawURLEncoding
	input := b64.EncodeToString(h) + "." + b64.EncodeToString(c)
	sum := sha256.Sum256([]byte(input))
	var sig []byte
	switch k := key.(type) {
	case *rsa.PrivateKey:
		sig, err = rsa.SignPKCS1v15(nil, k, crypto.SHA256, sum[:])
	case *ecdsa.PrivateKey:
		var r, v *big.Int
		if r, v, err = ecdsa.Sign(rand.Reader, k, sum[:]); err == nil {
			sig = append(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32))...)
		}
	}
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return input + "." + b64.EncodeToString(sig), nil
}

// ServeHTTP serves discovery, keys and the token endpoint (RFC 8414, RFC 7517,
// RFC 6749 §4.4).
func (s *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		answer(w, http.StatusOK, map[string]any{"issuer": s.URL, "jwks_uri": s.URL + "/jwks", "token_endpoint": s.URL + "/token",
			"authorization_endpoint": s.URL + "/authorize", "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
			"id_token_signing_alg_values_supported": []string{"RS256", "ES256"}, "grant_types_supported": []string{"client_credentials"}})
	case "/jwks":
		answer(w, http.StatusOK, map[string]any{"keys": s.published()})
	case "/token":
		s.token(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (s *Issuer) published() []map[string]string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b64 := base64.RawURLEncoding
	var out []map[string]string
	for _, k := range s.keys {
		switch p := k.key.Public().(type) {
		case *rsa.PublicKey:
			out = append(out, map[string]string{"kty": "RSA", "use": "sig", "alg": k.alg, "kid": k.id,
				"n": b64.EncodeToString(p.N.Bytes()), "e": b64.EncodeToString(big.NewInt(int64(p.E)).Bytes())})
		case *ecdsa.PublicKey:
			out = append(out, map[string]string{"kty": "EC", "crv": "P-256", "use": "sig", "alg": k.alg, "kid": k.id,
				"x": b64.EncodeToString(p.X.FillBytes(make([]byte, 32))), "y": b64.EncodeToString(p.Y.FillBytes(make([]byte, 32)))})
		}
	}
	return out
}

func (s *Issuer) token(w http.ResponseWriter, r *http.Request) {
	id, secret, ok := r.BasicAuth()
	s.mu.RLock()
	c, known := s.clients[id]
	s.mu.RUnlock()
	if !ok || !known || c.Secret != secret {
		answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	if r.Method != http.MethodPost || r.FormValue("grant_type") != "client_credentials" {
		answer(w, http.StatusBadRequest, map[string]any{"error": "unsupported_grant_type"})
		return
	}
	alg := "RS256"
	if len(id)%2 == 0 {
		alg = "ES256"
	}
	t, err := s.Token(id, alg, nil)
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]any{"error": "server_error"})
		return
	}
	answer(w, http.StatusOK, map[string]any{"access_token": t, "token_type": "Bearer", "expires_in": int(s.Life.Seconds())})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

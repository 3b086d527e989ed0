package attest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// The types that a statement names: in-toto's statement and our predicate.
const (
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "https://sallyport.dev/verdict/v1"
	payloadType   = "application/vnd.in-toto+json"
)

// A Predicate is what is attested of an image.
type Predicate struct {
	ID       string    `json:"id"`
	API      string    `json:"api"`
	Spec     string    `json:"spec"`             // digest of the specification that it was tested against
	Policy   string    `json:"policy,omitempty"` // names the policy that was in force when it was signed
	Profile  string    `json:"profile"`
	Passed   bool      `json:"passed"`
	Summary  string    `json:"summary"`
	Report   string    `json:"report"` // sha256 of the report
	Reporter string    `json:"reporter"`
	Tested   time.Time `json:"tested"`
	Signed   time.Time `json:"signed"`
	Expires  time.Time `json:"expires"`
}

// A Statement is an in-toto statement about one image.
type Statement struct {
	Type          string    `json:"_type"`
	Subject       []Subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     Predicate `json:"predicate"`
}

// A Subject is an image by its digest.
type Subject struct {
	Name   string            `json:"name,omitempty"`
	Digest map[string]string `json:"digest"`
}

// An Envelope is a signed statement (DSSE v1).
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"`
	Signatures  []Signature `json:"signatures"`
}

// A Signature of an Envelope.
type Signature struct {
	KeyID string `json:"keyid"`
	Sig   []byte `json:"sig"`
}

// encoding is what is signed: DSSE's pre-authentication encoding.
func encoding(kind string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload)
}

// KeyID names a public key: the beginning of its SHA-256.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// PublicPEM is a public key for others that verify statements.
func PublicPEM(key ed25519.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return ""
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// Sign makes an envelope, as JSON, of a statement.
func Sign(key ed25519.PrivateKey, s Statement) ([]byte, error) {
	payload, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return json.Marshal(Envelope{payloadType, payload, []Signature{{KeyID(key.Public().(ed25519.PublicKey)), ed25519.Sign(key, encoding(payloadType, payload))}}})
}

// Verify reads an envelope that key has signed. What is not signed by it, or is
// no statement about one image, is an error.
func Verify(key ed25519.PublicKey, envelope []byte) (Statement, error) {
	var e Envelope
	var s Statement
	if len(envelope) > 1<<20 {
		return s, errors.New("larger than 1 MiB")
	}
	if err := json.Unmarshal(envelope, &e); err != nil {
		return s, errors.New("not a DSSE envelope")
	}
	good := false
	for _, sig := range e.Signatures {
		good = good || ed25519.Verify(key, encoding(e.PayloadType, e.Payload), sig.Sig)
	}
	switch {
	case !good:
		return s, errors.New("not signed with this key")
	case e.PayloadType != payloadType:
		return s, fmt.Errorf("holds %q, no in-toto statement", e.PayloadType)
	}
	if err := json.Unmarshal(e.Payload, &s); err != nil {
		return s, errors.New("its statement cannot be read")
	}
	if s.Type != StatementType || s.PredicateType != PredicateType || len(s.Subject) != 1 || !digest.MatchString("sha256:"+s.Subject[0].Digest["sha256"]) {
		return s, errors.New("no statement about the verdict on one image")
	}
	return s, nil
}

var digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// Image gives the digest of an image named by it, as sha256:… or
// repository@sha256:…; false where there is none, as in a tag.
func Image(name string) (string, bool) {
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		name = name[i+1:]
	}
	return name, digest.MatchString(name)
}

// Digest names a set of documents by what they say, whatever they are called
// and in whatever order they come.
func Digest(documents [][]byte) string {
	sums := make([]string, len(documents))
	for i, d := range documents {
		s := sha256.Sum256(d)
		sums[i] = hex.EncodeToString(s[:])
	}
	return digestOf(sums)
}

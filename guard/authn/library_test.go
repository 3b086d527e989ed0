package authn_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"testing"
)

// BenchmarkLibrary is what the library's verification alone costs, to hold
// BenchmarkVerify/ES256 against.
func BenchmarkLibrary(b *testing.B) {
	text := []byte(sign(object{"alg": "ES256", "kid": "p256"}, good(), raw([]byte{1})))
	sum := sha256.Sum256(text)
	sig, err := ecdsa.SignASN1(rand.Reader, keys.p256, sum[:])
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		sum := sha256.Sum256(text)
		if !ecdsa.VerifyASN1(&keys.p256.PublicKey, sum[:], sig) {
			b.Fatal("not verified")
		}
	}
}

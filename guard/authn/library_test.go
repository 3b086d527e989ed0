package authn_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"testing"
	"time"

	"sallyport.dev/guard/authn"
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

// BenchmarkAgainstLibrary times, in turns, the whole check of an ES256 token that
// nobody has seen and the library's verification alone. The quietest of each tells
// the ratio, on a machine that others use too.
func BenchmarkAgainstLibrary(b *testing.B) {
	v := verifier(b, authn.NewCache(1))
	token := sign(object{"alg": "ES256", "kid": "p256"}, good(), es(keys.p256, crypto.SHA256))
	text := []byte(token[:len(token)-87])
	sum := sha256.Sum256(text)
	sig, err := ecdsa.SignASN1(rand.Reader, keys.p256, sum[:])
	if err != nil {
		b.Fatal(err)
	}
	var s authn.Scratch
	ours, library := time.Hour, time.Hour
	for b.Loop() {
		began := time.Now()
		if rule := v.Open(token, &s, now); rule != "" {
			b.Fatal(rule)
		}
		if _, rule := v.Prove(&s, now); rule != "" {
			b.Fatal(rule)
		}
		between := time.Now()
		sum := sha256.Sum256(text)
		if !ecdsa.VerifyASN1(&keys.p256.PublicKey, sum[:], sig) {
			b.Fatal("not verified")
		}
		ours, library = min(ours, between.Sub(began)), min(library, time.Since(between))
	}
	b.ReportMetric(float64(ours), "ours-ns")
	b.ReportMetric(float64(library), "library-ns")
	b.ReportMetric(float64(ours)/float64(library), "ratio")
}

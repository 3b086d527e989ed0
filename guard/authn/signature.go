package authn

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // registers the hashes of the algorithms below
	_ "crypto/sha512"
	"math/big"
)

// algorithm is how one name of RFC 7518, 8037 or 9864 signs.
type algorithm struct {
	family byte // 'R' PKCS #1 v1.5, 'P' PSS, 'E' ECDSA, 'D' EdDSA
	hash   crypto.Hash
	curve  elliptic.Curve
}

func algorithmOf(alg string) (algorithm, bool) {
	switch alg {
	case "RS256":
		return algorithm{'R', crypto.SHA256, nil}, true
	case "RS384":
		return algorithm{'R', crypto.SHA384, nil}, true
	case "RS512":
		return algorithm{'R', crypto.SHA512, nil}, true
	case "PS256":
		return algorithm{'P', crypto.SHA256, nil}, true
	case "PS384":
		return algorithm{'P', crypto.SHA384, nil}, true
	case "PS512":
		return algorithm{'P', crypto.SHA512, nil}, true
	case "ES256":
		return algorithm{'E', crypto.SHA256, elliptic.P256()}, true
	case "ES384":
		return algorithm{'E', crypto.SHA384, elliptic.P384()}, true
	case "ES512":
		return algorithm{'E', crypto.SHA512, elliptic.P521()}, true
	case "EdDSA", "Ed25519":
		return algorithm{'D', 0, nil}, true
	}
	return algorithm{}, false
}

func asymmetric(alg string) bool {
	_, ok := algorithmOf(alg)
	return ok
}

// verify checks a signature with the standard library's crypto. The key's type
// and curve must be those of the algorithm, whatever the token says.
func verify(alg string, key any, signed, signature []byte) bool {
	a, ok := algorithmOf(alg)
	if !ok {
		return false
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		if a.family != 'R' && a.family != 'P' || k.N.BitLen() < 2048 {
			return false
		}
		sum := digest(a.hash, signed)
		if a.family == 'R' {
			return rsa.VerifyPKCS1v15(k, a.hash, sum, signature) == nil
		}
		return rsa.VerifyPSS(k, a.hash, sum, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
	case *ecdsa.PublicKey:
		if a.family != 'E' || k.Curve != a.curve {
			return false
		}
		half := (k.Curve.Params().BitSize + 7) / 8
		if len(signature) != 2*half {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])
		return ecdsa.Verify(k, digest(a.hash, signed), r, s)
	case ed25519.PublicKey:
		return a.family == 'D' && len(k) == ed25519.PublicKeySize && ed25519.Verify(k, signed, signature)
	}
	return false
}

func digest(h crypto.Hash, b []byte) []byte {
	w := h.New()
	w.Write(b)
	return w.Sum(nil)
}

// sameKey reports whether two keys of a KeySource are one.
func sameKey(a, b any) bool {
	if x, ok := a.(ed25519.PublicKey); ok {
		y, ok := b.(ed25519.PublicKey)
		return ok && bytes.Equal(x, y)
	}
	if _, ok := b.(ed25519.PublicKey); ok {
		return false
	}
	return a == b
}

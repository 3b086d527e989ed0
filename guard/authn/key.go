package authn

import (
	"crypto/sha256"
	"crypto/subtle"
	"sync/atomic"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/policy"
)

type apiKey struct {
	id      Identity
	sum     [32]byte
	keyed   bool
	expires time.Time
	used    *atomic.Int64 // the second of its last use
}

func newAPIKey(k policy.Key, keyed bool, cache *Cache) *apiKey {
	subject := k.Subject
	if subject == "" {
		subject = k.ID
	}
	p := sallyport.Principal{Kind: "key", Subject: subject, Client: k.ID}
	_, sum, _ := k.Digest()
	return &apiKey{id: Identity{Principal: p, Name: p.String(), Scopes: k.Scopes, until: k.Expires}, sum: sum, keyed: keyed, expires: k.Expires, used: cache.useOf(sum)}
}

// APIKey proves an API key by its digest. The time it takes says nothing about
// the keys that exist: what is compared are digests.
func (v *Verifier) APIKey(key string, now time.Time) (id *Identity, rule string) {
	if len(key) > maxKey {
		return nil, RuleTooLong
	}
	var found *apiKey
	if v.mac != nil {
		sum := v.mac.sum(key)
		if k := v.keys[sum]; k != nil && k.keyed && subtle.ConstantTimeCompare(k.sum[:], sum[:]) == 1 {
			found = k
		}
	}
	if v.sums && found == nil {
		sum := sha256.Sum256(bytesOf(key))
		if k := v.keys[sum]; k != nil && !k.keyed && subtle.ConstantTimeCompare(k.sum[:], sum[:]) == 1 {
			found = k
		}
	}
	switch {
	case found == nil:
		return nil, RuleKeyUnknown
	case !found.expires.IsZero() && !now.Before(found.expires):
		return nil, RuleKeyExpired
	}
	if at := now.Unix(); found.used.Load() != at {
		found.used.Store(at)
	}
	return &found.id, ""
}

// hmacKey is HMAC-SHA-256 (RFC 2104) with its pads made once, so that a digest
// allocates nothing. Texts are at most maxKey long.
type hmacKey struct{ inner, outer [sha256.BlockSize]byte }

func newHMACKey(secret []byte) *hmacKey {
	if len(secret) > sha256.BlockSize {
		sum := sha256.Sum256(secret)
		secret = sum[:]
	}
	k := new(hmacKey)
	copy(k.inner[:], secret)
	copy(k.outer[:], secret)
	for i := range k.inner {
		k.inner[i] ^= 0x36
		k.outer[i] ^= 0x5c
	}
	return k
}

func (k *hmacKey) sum(text string) [sha256.Size]byte {
	var in [sha256.BlockSize + maxKey]byte
	copy(in[:], k.inner[:])
	first := sha256.Sum256(in[:sha256.BlockSize+copy(in[sha256.BlockSize:], text)])
	var out [sha256.BlockSize + sha256.Size]byte
	copy(out[:], k.outer[:])
	copy(out[sha256.BlockSize:], first[:])
	return sha256.Sum256(out[:])
}

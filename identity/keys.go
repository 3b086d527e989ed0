package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"time"
)

// publicKey is one usable key of a set.
type publicKey struct {
	kid     string
	alg     string // "" = any that fits the key
	key     any    // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	retired time.Time
}

// keySet is an immutable set of keys, by kid.
type keySet struct {
	keys []publicKey
	byID map[string][]int
}

func newSet(keys []publicKey) *keySet {
	s := &keySet{keys: keys, byID: map[string][]int{}}
	for i, k := range keys {
		s.byID[k.kid] = append(s.byID[k.kid], i)
	}
	return s
}

// key finds the key for kid and alg. Without a kid there must be one candidate.
func (s *keySet) key(kid, alg string, now func() time.Time) (any, bool) {
	var found any
	pick := func(k *publicKey) bool { // false when there are two candidates
		if !k.fits(alg) || !k.retired.IsZero() && !now().Before(k.retired) {
			return true
		}
		if found != nil {
			return false
		}
		found = k.key
		return true
	}
	if kid == "" {
		for i := range s.keys {
			if !pick(&s.keys[i]) {
				return nil, false
			}
		}
		return found, found != nil
	}
	for _, i := range s.byID[kid] {
		if !pick(&s.keys[i]) {
			return nil, false
		}
	}
	return found, found != nil
}

// has reports whether the set can answer for kid at all; "" asks whether there
// is any key.
func (s *keySet) has(kid string, now time.Time) bool {
	for i := range s.keys {
		k := &s.keys[i]
		if (kid == "" || k.kid == kid) && (k.retired.IsZero() || now.Before(k.retired)) {
			return true
		}
	}
	return false
}

func (s *keySet) names() []string {
	out := make([]string, len(s.keys))
	for i, k := range s.keys {
		out[i] = k.kid
	}
	return out
}

// merge makes the set that follows was: a key that stays keeps its pointer; one
// that left is accepted for the overlap, unless another took its kid.
func merge(was *keySet, keys []publicKey, now time.Time, overlap time.Duration) *keySet {
	if was == nil {
		return newSet(keys)
	}
	keys = slices.Clone(keys)
	for _, old := range was.keys {
		i := slices.IndexFunc(keys, func(k publicKey) bool { return k.kid == old.kid && k.alg == old.alg })
		switch {
		case i >= 0 && equal(keys[i].key, old.key):
			keys[i].key = old.key
		case i >= 0 || overlap <= 0:
		case old.retired.IsZero():
			old.retired = now.Add(overlap)
			keys = append(keys, old)
		case now.Before(old.retired):
			keys = append(keys, old)
		}
	}
	return newSet(keys)
}

func equal(a, b any) bool {
	switch x := a.(type) {
	case *rsa.PublicKey:
		y, ok := b.(*rsa.PublicKey)
		return ok && x.Equal(y)
	case *ecdsa.PublicKey:
		y, ok := b.(*ecdsa.PublicKey)
		return ok && x.Equal(y)
	case ed25519.PublicKey:
		y, ok := b.(ed25519.PublicKey)
		return ok && x.Equal(y)
	}
	return false
}

// fits reports whether the key may verify alg: by its own alg when it states
// one, and always by its type and curve.
func (k *publicKey) fits(alg string) bool {
	if k.alg != "" && k.alg != alg && !(k.kind() == "Ed25519" && (k.alg == "EdDSA" || k.alg == "Ed25519")) {
		return false
	}
	switch alg {
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		return k.kind() == "RSA"
	case "ES256":
		return k.kind() == "P-256"
	case "ES384":
		return k.kind() == "P-384"
	case "ES512":
		return k.kind() == "P-521"
	case "EdDSA", "Ed25519":
		return k.kind() == "Ed25519"
	}
	return false
}

func (k *publicKey) kind() string {
	switch x := k.key.(type) {
	case *rsa.PublicKey:
		return "RSA"
	case *ecdsa.PublicKey:
		return x.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return ""
}

// parseSet reads a JWK set (RFC 7517). Keys that are for other uses, too weak or
// of no use here are left out and named with the reason; a set without one usable key is an error.
func parseSet(body []byte) (keys []publicKey, refused []string, err error) {
	doc, err := object(body)
	if err != nil {
		return nil, nil, err
	}
	var list []json.RawMessage
	if err := json.Unmarshal(doc["keys"], &list); err != nil || list == nil {
		return nil, nil, errors.New("no array of keys in it")
	}
	if len(list) > maxSetOfKeys {
		return nil, nil, fmt.Errorf("%d keys in it; want at most %d", len(list), maxSetOfKeys)
	}
	for i, raw := range list {
		k, err := parseKey(raw)
		if err == nil && slices.ContainsFunc(keys, func(x publicKey) bool { return x.kid == k.kid && x.kind() == k.kind() && x.alg == k.alg }) {
			err = errors.New("its kid stands twice")
		}
		if err != nil {
			refused = append(refused, fmt.Sprintf("key %d (kid %.40q): %v", i, k.kid, err))
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, nil, fmt.Errorf("no usable key in it: %d keys, refused: %v", len(list), refused)
	}
	return keys, refused, nil
}

// jwk is the members of a key that are looked at.
type jwk struct {
	kty, kid, use, alg, crv string
	n, e, x, y              []byte
	ops                     []string
}

func parseKey(raw []byte) (publicKey, error) {
	members, err := object(raw)
	if err != nil {
		return publicKey{}, err
	}
	var j jwk
	for name, to := range map[string]*string{"kty": &j.kty, "kid": &j.kid, "use": &j.use, "alg": &j.alg, "crv": &j.crv} {
		if v, ok := members[name]; ok && json.Unmarshal(v, to) != nil {
			return publicKey{kid: j.kid}, fmt.Errorf("%s is not a string", name)
		}
	}
	k := publicKey{kid: j.kid, alg: j.alg}
	for name, to := range map[string]*[]byte{"n": &j.n, "e": &j.e, "x": &j.x, "y": &j.y} {
		v, ok := members[name]
		if !ok {
			continue
		}
		var s string
		if json.Unmarshal(v, &s) != nil {
			return k, fmt.Errorf("%s is not a string", name)
		}
		if *to, err = base64.RawURLEncoding.Strict().DecodeString(s); err != nil {
			return k, fmt.Errorf("%s is not base64url", name)
		}
	}
	if v, ok := members["key_ops"]; ok && json.Unmarshal(v, &j.ops) != nil {
		return k, errors.New("key_ops is not a list of strings")
	}
	for _, private := range []string{"d", "p", "q", "k"} {
		if _, ok := members[private]; ok {
			return k, errors.New("it holds secret parts, which nobody may publish")
		}
	}
	switch {
	case len(k.kid) > 256:
		return publicKey{}, errors.New("its kid is longer than 256 bytes")
	case j.use != "" && j.use != "sig":
		return k, fmt.Errorf("its use is %.20q, not sig", j.use)
	case j.ops != nil && !slices.Contains(j.ops, "verify"):
		return k, errors.New("its key_ops do not allow to verify")
	}
	if k.key, err = j.public(); err != nil {
		return k, err
	}
	if k.alg != "" && !k.fits(k.alg) {
		return k, fmt.Errorf("its alg %.20q is not one of ours or does not fit the key", k.alg)
	}
	return k, nil
}

// public makes the key itself, checked: RFC 7518, section 6, and RFC 8037.
func (j *jwk) public() (any, error) {
	switch j.kty {
	case "RSA":
		n, e := new(big.Int).SetBytes(j.n), new(big.Int).SetBytes(j.e)
		switch {
		case n.BitLen() < 2048:
			return nil, fmt.Errorf("RSA of %d bits is too weak; want at least 2048", n.BitLen())
		case n.BitLen() > 8192:
			return nil, fmt.Errorf("RSA of %d bits costs too much; want at most 8192", n.BitLen())
		case n.Bit(0) == 0 || e.BitLen() > 31 || e.Bit(0) == 0 || e.Cmp(big.NewInt(3)) < 0:
			return nil, errors.New("not an RSA key")
		case roca(n):
			return nil, errors.New("its primes were made by a generator known to be broken (ROCA, CVE-2017-15361)")
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
	case "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[j.crv]
		if curve == nil {
			return nil, fmt.Errorf("curve %.20q is not supported", j.crv)
		}
		size := (curve.Params().BitSize + 7) / 8
		if len(j.x) != size || len(j.y) != size {
			return nil, errors.New("its point has the wrong length")
		}
		key, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, j.x, j.y))
		if err != nil {
			return nil, errors.New("its point is not on the curve")
		}
		return key, nil
	case "OKP":
		if j.crv != "Ed25519" || len(j.x) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("curve %.20q is not supported, or the key has the wrong length", j.crv)
		}
		return ed25519.PublicKey(bytes.Clone(j.x)), nil
	case "oct":
		return nil, errors.New("it is symmetric, which nobody may publish")
	}
	return nil, fmt.Errorf("key type %.20q is not supported", j.kty)
}

// roca reports whether n bears the mark of the ROCA generator (CVE-2017-15361):
// modulo each small prime it is a power of 65537. About one in 2^27 other moduli
// would bear it too.
func roca(n *big.Int) bool {
	for _, p := range [...]uint64{3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101,
		103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167} {
		rest := new(big.Int).Mod(n, new(big.Int).SetUint64(p)).Uint64()
		power, found := uint64(1), false
		for range p {
			found = found || power == rest
			power = power * 65537 % p
		}
		if !found {
			return false
		}
	}
	return true
}

// object reads one JSON object by exact names and refuses names that stand
// twice (encoding/json takes the last, and compares names without case).
func object(text []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	out := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errors.New("not a JSON object")
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, errors.New("not a JSON object")
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("the member %.40q stands twice", name)
		}
		out[name] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("not a JSON object")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the JSON object")
	}
	return out, nil
}

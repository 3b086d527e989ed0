package authn

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"math/big"
	"slices"
	"strings"
	"time"

	"sallyport.dev/policy"
	"sallyport.dev/spec/jsondoc"
)

// A Presentation is how a token came: the scheme, what was shown beside it, and
// the request that it came with.
type Presentation struct {
	DPoP         bool     // by the scheme DPoP
	Proofs       []string // values of the DPoP header
	Certificate  *Certificate
	Method       string
	TLS          bool
	Host, Target string // as received; the path is escaped and without the query
}

// Plain reports whether a token may come by itself: it is bound to nothing, and
// nothing is demanded.
func (v *Verifier) Plain(id *Identity) bool { return id.bound == 0 && v.binding == "" }

// Held checks that who presents a token is the one that it was issued to (RFC
// 9449, RFC 8705). id is of the token; s is free to be used.
func (v *Verifier) Held(id *Identity, token string, p *Presentation, s *Scratch, now time.Time) (rule string) {
	switch {
	case v.binding == policy.ByAny && id.bound == 0,
		v.binding == policy.ByDPoP && id.bound&hasJKT == 0,
		v.binding == policy.ByCertificate && id.bound&hasX5T == 0,
		p.DPoP && id.bound&hasJKT == 0:
		return RuleUnbound
	case id.bound&hasX5T != 0 && (p.Certificate == nil || p.Certificate.SHA256 != id.x5t || !p.Certificate.current(now)):
		return RuleHolder
	case id.bound&hasJKT == 0:
		return ""
	case !p.DPoP:
		return RuleBound
	case len(p.Proofs) != 1:
		return RuleNoProof
	}
	return v.proof(id, token, p, s, now)
}

// proof is a DPoP proof as it was read.
type proof struct {
	key                any
	thumb              [32]byte
	id, method, target string
	token, nonce       string
	made               int64
	hasMade            bool
}

func (v *Verifier) proof(id *Identity, token string, p *Presentation, s *Scratch, now time.Time) string {
	defer s.Reset()
	if rule := s.readProof(p.Proofs[0]); rule != "" {
		return rule
	}
	d, window := &s.proof, int64(v.dpop.Window/time.Second)
	sum := sha256.Sum256(bytesOf(token))
	var digest [32]byte
	switch {
	case !slices.Contains(v.dpop.Algorithms, s.claims.alg):
		return RuleProofAlg
	case d.method != p.Method || !v.sameTarget(d.target, p):
		return RuleProofFor
	case d.made < now.Unix()-window || d.made > now.Unix()+window:
		return RuleProofTime
	case !thumbprint(&digest, d.token) || subtle.ConstantTimeCompare(digest[:], sum[:]) != 1:
		return RuleProofToken
	case subtle.ConstantTimeCompare(d.thumb[:], id.jkt[:]) != 1:
		return RuleProofKey
	case v.dpop.Nonce && !v.proofs.holds(d.nonce, now):
		return RuleProofNonce
	case !verify(s.claims.alg, d.key, s.signed, s.signature):
		return RuleProofSign
	}
	// A jti counts by its key: nobody can use up the jti of others.
	h := sha256.New()
	h.Write(d.thumb[:])
	h.Write(bytesOf(d.id))
	switch v.proofs.replays.Once([32]byte(h.Sum(nil)), d.thumb, d.made+window, now.Unix()) {
	case Repeated:
		return RuleReplayed
	case Full:
		return RuleProofsFull
	}
	return ""
}

// readProof takes a DPoP proof apart (RFC 9449, section 4.2).
func (s *Scratch) readProof(text string) string {
	s.proof = proof{}
	switch rule := s.take(text, s.proofHeader, s.proofPayload); rule {
	case "", RuleProofAlg:
		return rule
	case RuleAlgorithm:
		return RuleProofAlg
	}
	return RuleProof
}

func (s *Scratch) proofHeader(text []byte) string {
	c := &s.claims
	key := -1
	rule := s.members(text, func(name string, i int) string {
		switch name {
		case "alg":
			return s.str(i, &c.alg, RuleProof)
		case "typ":
			return s.str(i, &c.typ, RuleProof)
		case "jwk":
			key = i
		case "crit", "b64", "zip", "cty", "enc", "jku", "x5u", "x5c":
			return RuleProof
		}
		return ""
	})
	switch {
	case rule != "":
		return rule
	case !asymmetric(c.alg):
		return RuleProofAlg
	case !strings.EqualFold(c.typ, "dpop+jwt") || key < 0 || !s.embedded(key):
		return RuleProof
	}
	return ""
}

func (s *Scratch) proofPayload(text []byte) string {
	d := &s.proof
	rule := s.members(text, func(name string, i int) string {
		switch name {
		case "jti":
			return s.str(i, &d.id, RuleProof)
		case "htm":
			return s.str(i, &d.method, RuleProof)
		case "htu":
			return s.str(i, &d.target, RuleProof)
		case "ath":
			return s.str(i, &d.token, RuleProof)
		case "nonce":
			return s.str(i, &d.nonce, RuleProof)
		case "iat":
			d.hasMade = true
			return s.instant(i, &d.made)
		}
		return ""
	})
	if rule != "" || d.id == "" || len(d.id) > 256 || d.method == "" || d.target == "" || !d.hasMade {
		return RuleProof
	}
	return ""
}

// embedded reads the public key at node i, and its thumbprint (RFC 7638).
func (s *Scratch) embedded(i int) bool {
	if s.doc.Nodes[i].Kind != jsondoc.Object {
		return false
	}
	var kty, crv, n, e, x, y string
	for k := int32(i) + 1; k < s.doc.Nodes[i].Next; k = s.doc.Nodes[k].Next {
		s.key = grow(s.key, int(s.doc.Nodes[k].KeyEnd-s.doc.Nodes[k].KeyStart))
		var to *string
		switch string(s.doc.Key(int(k), s.key)) {
		case "kty":
			to = &kty
		case "crv":
			to = &crv
		case "n":
			to = &n
		case "e":
			to = &e
		case "x":
			to = &x
		case "y":
			to = &y
		case "d", "p", "q", "dp", "dq", "qi", "oth", "k": // a private key must never travel
			return false
		default:
			continue
		}
		if s.str(int(k), to, RuleProof) != "" {
			return false
		}
	}
	// What is hashed is the text itself: there is one text for each value, since
	// the lengths are fixed and leading zeros and trailing bits are refused.
	d := &s.proof
	var canonical string
	switch kty {
	case "RSA":
		d.key = rsaKey(n, e)
		canonical = `{"e":"` + e + `","kty":"RSA","n":"` + n + `"}`
	case "EC":
		d.key = ecKey(crv, x, y)
		canonical = `{"crv":"` + crv + `","kty":"EC","x":"` + x + `","y":"` + y + `"}`
	case "OKP":
		d.key = edKey(crv, x)
		canonical = `{"crv":"` + crv + `","kty":"OKP","x":"` + x + `"}`
	}
	d.thumb = sha256.Sum256(bytesOf(canonical))
	return d.key != nil
}

func rsaKey(n, e string) any {
	nb, err := encoding.DecodeString(n)
	eb, err2 := encoding.DecodeString(e)
	if err != nil || err2 != nil || len(nb) < 256 || len(nb) > 512 || nb[0] == 0 || len(eb) == 0 || len(eb) > 4 || eb[0] == 0 {
		return nil
	}
	k := &rsa.PublicKey{N: new(big.Int).SetBytes(nb), E: int(new(big.Int).SetBytes(eb).Int64())}
	if k.N.BitLen() < 2048 || k.N.Bit(0) == 0 || k.E < 3 || k.E&1 == 0 || k.E > 1<<31-1 {
		return nil
	}
	return k
}

func ecKey(crv, x, y string) any {
	var curve elliptic.Curve
	switch crv {
	case "P-256":
		curve = elliptic.P256()
	case "P-384":
		curve = elliptic.P384()
	case "P-521":
		curve = elliptic.P521()
	default:
		return nil
	}
	size := (curve.Params().BitSize + 7) / 8
	point := make([]byte, 1+2*size)
	if encoding.DecodedLen(len(x)) != size || encoding.DecodedLen(len(y)) != size {
		return nil
	}
	point[0] = 4
	nx, err := encoding.Decode(point[1:1+size], bytesOf(x))
	ny, err2 := encoding.Decode(point[1+size:], bytesOf(y))
	if err != nil || err2 != nil || nx != size || ny != size {
		return nil
	}
	k, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil
	}
	return k
}

func edKey(crv, x string) any {
	b, err := encoding.DecodeString(x)
	if crv != "Ed25519" || err != nil || len(b) != ed25519.PublicKeySize {
		return nil
	}
	return ed25519.PublicKey(b)
}

// sameTarget compares a proof's htu with the request, both in the normal form of
// RFC 3986, section 6.2.2 and 6.2.3, without query and fragment.
func (v *Verifier) sameTarget(htu string, p *Presentation) bool {
	origin, path, ok := splitURL(nil, htu)
	if !ok {
		return false
	}
	var target [256]byte
	if path != string(appendPath(target[:0], p.Target)) {
		return false
	}
	if len(v.dpop.Origins) > 0 {
		return slices.Contains(v.dpop.Origins, origin)
	}
	scheme := "http://"
	if p.TLS {
		scheme = "https://"
	}
	own, _, ok := splitURL(nil, scheme+p.Host)
	return ok && own == origin
}

// splitURL parts an absolute http or https URL into origin and path, normalised.
func splitURL(b []byte, text string) (origin, path string, ok bool) {
	if i := strings.IndexAny(text, "?#"); i >= 0 {
		text = text[:i]
	}
	scheme, rest, ok := strings.Cut(text, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "http" && scheme != "https" {
		return "", "", false
	}
	host := rest
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	if host == "" || strings.ContainsAny(host, "@\\ ") {
		return "", "", false
	}
	b = append(append(b, scheme...), "://"...)
	host = strings.ToLower(host)
	if scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	} else {
		host = strings.TrimSuffix(host, ":80")
	}
	b = append(b, strings.TrimSuffix(host, ":")...)
	n := len(b)
	b = appendPath(b, path)
	return string(b[:n]), string(b[n:]), true
}

// appendPath writes escapes in one way: those of unreserved characters as the
// characters, the others in capitals. Dot segments stay as they are.
func appendPath(b []byte, path string) []byte {
	if path == "" {
		return append(b, '/')
	}
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c != '%' || i+2 >= len(path) || unhex(path[i+1]) < 0 || unhex(path[i+2]) < 0 {
			b = append(b, c)
			continue
		}
		const digits = "0123456789ABCDEF"
		hi, lo := unhex(path[i+1]), unhex(path[i+2])
		switch v := byte(hi<<4 | lo); {
		case v >= 'a' && v <= 'z' || v >= 'A' && v <= 'Z' || v >= '0' && v <= '9' || v == '-' || v == '.' || v == '_' || v == '~':
			b = append(b, v)
		default:
			b = append(b, '%', digits[hi], digits[lo])
		}
		i += 2
	}
	return b
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

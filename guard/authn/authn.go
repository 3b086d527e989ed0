// Package authn proves who a request was made for. In come the credential as
// presented (a bearer token or an API key), what is demanded of it, the issuers'
// keys from memory and the time; out go an Identity, or the rule that the
// credential broke. It never fetches anything, never reads a clock, and never
// puts any part of a credential into a message.
package authn

import (
	"fmt"
	"slices"
	"strings"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/policy"
)

// A KeySource gives the public keys of issuers from memory: *rsa.PublicKey,
// *ecdsa.PublicKey or ed25519.PublicKey. As long as a key set keeps a key, the
// same key comes back; a token that another key verified is verified again.
// kid "" asks for the only key that fits alg. Key is called on each request: it
// must be fast and safe for concurrent use.
type KeySource interface {
	Key(issuer, kid, alg string) (key any, ok bool)
}

// A Stock is a KeySource that tells an issuer without this key from one whose
// keys were never fetched, for which the caller is not to blame.
type Stock interface {
	HasKeys(issuer string) bool
}

// An Identity is what a credential proved. It is shared and must not be changed.
type Identity struct {
	Principal sallyport.Principal
	Name      string // Principal.String(), to count by
	Scopes    []string

	ACR        string // authentication context that the token shows
	SignedIn   int64  // auth_time of the token, in seconds
	SignedInAt bool   // whether it says so

	said  *said     // what the token says; nil for other credentials
	until time.Time // when another credential ends

	bound    presence // hasJKT, hasX5T: what the token is bound to
	jkt, x5t [32]byte
}

// Recent reports whether the token says that its user authenticated at most age
// before now, and not after it.
func (id *Identity) Recent(age time.Duration, now time.Time) bool {
	return id.SignedInAt && id.SignedIn >= now.Add(-age).Unix() && id.SignedIn <= now.Add(time.Minute).Unix()
}

// Has reports whether every scope is among the identity's.
func (id *Identity) Has(scopes []string) bool {
	for _, s := range scopes {
		if !slices.Contains(id.Scopes, s) {
			return false
		}
	}
	return true
}

// Rules that a credential can break.
const (
	RuleMissing    = "credentials.missing"
	RuleSeveral    = "credentials.several"
	RuleScheme     = "credentials.scheme"
	RuleFailures   = "credentials.failures"
	RuleMalformed  = "token.malformed"
	RuleTooLong    = "token.too-long"
	RuleAlgorithm  = "token.algorithm"
	RuleType       = "token.type"
	RuleHeader     = "token.header"
	RuleIssuer     = "token.issuer"
	RuleAudience   = "token.audience"
	RuleExpired    = "token.expired"
	RuleNotYet     = "token.not-yet-valid"
	RuleClaims     = "token.claims"
	RuleProfile    = "token.profile"
	RuleClient     = "token.client"
	RuleBound      = "token.bound"
	RuleUnbound    = "token.unbound"
	RuleHolder     = "token.holder"
	RuleProof      = "proof.malformed"
	RuleNoProof    = "proof.missing"
	RuleProofKey   = "proof.key"
	RuleProofAlg   = "proof.algorithm"
	RuleProofFor   = "proof.target"
	RuleProofTime  = "proof.time"
	RuleProofToken = "proof.token"
	RuleProofNonce = "proof.nonce"
	RuleProofSign  = "proof.signature"
	RuleReplayed   = "proof.replayed"
	RuleProofsFull = "proof.store-full"
	RuleInactive   = "token.inactive"
	RuleUnasked    = "introspection.unavailable"
	RuleStranger   = "certificate.unknown"
	RuleOutdated   = "certificate.expired"
	RuleKey        = "token.key-unknown"
	RuleSignature  = "token.signature"
	RuleNoKeys     = "issuer.unavailable"
	RuleKeyUnknown = "key.unknown"
	RuleKeyExpired = "key.expired"
)

// Describe says a rule in words for people.
func Describe(rule string) string { return descriptions[rule] }

var descriptions = map[string]string{
	RuleMissing:    "no credential was presented",
	RuleSeveral:    "more than one credential was presented",
	RuleScheme:     "the Authorization header is not of the form Bearer <token> or DPoP <token>",
	RuleFailures:   "too many credentials of this client failed",
	RuleMalformed:  "not a token of three base64url parts with strict JSON in them (RFC 7515, RFC 7519)",
	RuleTooLong:    "the credential is too long",
	RuleAlgorithm:  "the token's algorithm is not one allowed for its issuer",
	RuleType:       "the token's typ is not one allowed for its issuer",
	RuleHeader:     "the token's header demands or carries what is not accepted (crit, zip, cty, embedded or linked keys)",
	RuleIssuer:     "the token's issuer is not one configured for this API",
	RuleAudience:   "the token was made for another audience",
	RuleExpired:    "the token has expired",
	RuleNotYet:     "the token is not valid yet",
	RuleClaims:     "a claim is missing or has the wrong type",
	RuleProfile:    "the token is not an access token as RFC 9068 describes them (typ at+jwt; iss, exp, aud, sub, client_id, iat, jti)",
	RuleClient:     "the token was issued to a client that is not among those allowed",
	RuleBound:      "the token is bound to its holder, and was presented as a bearer token or is bound in a way that is not checked here",
	RuleUnbound:    "the token is not bound to its holder as it must be here",
	RuleHolder:     "the token is bound to another certificate than the connection's, or the connection has none",
	RuleProof:      "the DPoP proof is not a JWS of typ dpop+jwt with a public key, jti, htm, htu and iat (RFC 9449)",
	RuleNoProof:    "a token was presented by the scheme DPoP without exactly one proof",
	RuleProofKey:   "the proof was made with another key than the one that the token is bound to",
	RuleProofAlg:   "the proof's algorithm is not one allowed",
	RuleProofFor:   "the proof was made for another method or URL",
	RuleProofTime:  "the proof was made too long ago, or in the future",
	RuleProofToken: "the proof was made for another token",
	RuleProofNonce: "the proof carries no nonce of ours that still holds",
	RuleProofSign:  "the proof's signature does not verify",
	RuleReplayed:   "the proof has been used before",
	RuleProofsFull: "no more proofs can be remembered now, so none is accepted",
	RuleInactive:   "the issuer says that the token is not active: unknown, expired or revoked",
	RuleUnasked:    "the issuer could not be asked about the token, or gave no answer that can be used",
	RuleStranger:   "the client's certificate is verified, and is none of those known here",
	RuleOutdated:   "the client's certificate is outside its time",
	RuleKey:        "the issuer has no key that fits the token's header",
	RuleSignature:  "the token's signature does not verify",
	RuleNoKeys:     "the issuer's keys have not been fetched yet",
	RuleKeyUnknown: "the API key is not known",
	RuleKeyExpired: "the API key has expired",
}

const (
	maxToken = 8 << 10
	maxKey   = 256
	maxKeyID = 256
)

// A Verifier checks credentials against the demands of one API. It is immutable
// and safe for concurrent use.
type Verifier struct {
	issuers []issuer
	skew    int64 // seconds
	source  KeySource
	cache   *Cache

	opaque  *issuer       // who is asked about opaque tokens; nil: nobody
	answers Introspection // nil: nobody is asked
	askJWT  bool          // about JWTs of that issuer too

	keys map[[32]byte]*apiKey // by digest
	mac  *hmacKey             // nil when the digests are plain
	sums bool                 // plain digests are among keys

	binding      policy.Binding
	dpop         policy.DPoP
	proofs       *Proofs
	certificates []policy.Certificate
	signers      *signers // nil: none
}

type issuer struct {
	name, audience string
	algorithms     []string
	types          []string
	clients        []string // empty: any
	strict         bool     // RFC 9068 to the letter
	anyAudience    bool     // of opaque tokens
}

// defaultTypes are the typ headers of access tokens and of tokens that do not say.
var defaultTypes = []string{"", "JWT", "at+jwt", "application/at+jwt"}

// strictTypes are those of RFC 9068, section 4.
var strictTypes = []string{"at+jwt", "application/at+jwt"}

// New compiles what a demands. source may be nil only when a names no issuer;
// cache and proofs may be nil, for ones of the verifier's own.
func New(a policy.Auth, source KeySource, cache *Cache, proofs *Proofs) (*Verifier, error) {
	v := &Verifier{source: source, cache: cache, proofs: proofs, binding: a.Binding, dpop: a.DPoP.WithDefaults(), certificates: a.Certificates, skew: int64(time.Minute / time.Second), keys: map[[32]byte]*apiKey{}}
	if a.Skew > 0 {
		v.skew = int64(a.Skew / time.Second)
	}
	if len(a.OIDC) > 0 && source == nil {
		return nil, fmt.Errorf("issuers are configured, but there is no source of their keys")
	}
	if v.cache == nil {
		v.cache = NewCache(0)
	}
	if v.proofs == nil {
		v.proofs = NewProofs(nil)
	}
	origins := make([]string, len(v.dpop.Origins))
	for i, o := range v.dpop.Origins {
		origin, _, ok := splitURL(nil, o)
		if !ok {
			return nil, fmt.Errorf("dpop: origin %q is not a URL", o)
		}
		origins[i] = origin
	}
	v.dpop.Origins = origins
	for _, o := range a.OIDC {
		i := issuer{name: o.Issuer, audience: o.Audience, algorithms: o.Algorithms, types: defaultTypes}
		if len(i.algorithms) == 0 {
			i.algorithms = policy.Algorithms()
		}
		if len(o.Types) > 0 {
			i.types = o.Types
		}
		i.clients = o.Clients
		if i.strict = o.Profile == policy.RFC9068; i.strict {
			i.types = strictTypes
		}
		i.anyAudience = o.Introspection.AnyAudience
		v.issuers = append(v.issuers, i)
	}
	for i, o := range a.OIDC {
		if o.Introspection.Enabled() {
			v.opaque, v.askJWT = &v.issuers[i], o.Introspection.JWT == policy.On
		}
	}
	v.answers, _ = source.(Introspection)
	var err error
	if v.signers, err = newSigners(a.Signatures); err != nil {
		return nil, err
	}
	if a.Pepper != "" {
		v.mac = newHMACKey([]byte(a.Pepper))
	}
	for _, k := range a.Keys {
		keyed, sum, err := k.Digest()
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", k.ID, err)
		}
		if keyed && v.mac == nil {
			return nil, fmt.Errorf("key %s: its hash needs a pepper", k.ID)
		}
		v.sums = v.sums || !keyed
		v.keys[sum] = newAPIKey(k, keyed, v.cache)
	}
	return v, nil
}

// Tokens and Keys report which kinds of credential are accepted at all.
func (v *Verifier) Tokens() bool { return len(v.issuers) > 0 }

// Keys reports whether API keys are accepted.
func (v *Verifier) Keys() bool { return len(v.keys) > 0 }

func (v *Verifier) issuer(name string) *issuer {
	for i := range v.issuers {
		if v.issuers[i].name == name {
			return &v.issuers[i]
		}
	}
	return nil
}

func (i *issuer) acceptsType(typ string) bool {
	for _, t := range i.types {
		if strings.EqualFold(t, typ) {
			return true
		}
	}
	return false
}

// acceptsClient reports whether every client that the token names is allowed.
func (i *issuer) acceptsClient(c *claims) bool {
	return slices.Contains(i.clients, c.client) && (c.azp == "" || slices.Contains(i.clients, c.azp))
}

// Cached looks a token up among those verified before. found false says nothing
// about the token; else rule is "" or what it breaks now.
func (v *Verifier) Cached(token string, now time.Time) (id *Identity, rule string, found bool) {
	e := v.cache.get(token)
	if e == nil || e.claims.has&isOpaque != 0 {
		return nil, "", false
	}
	if rule := v.demand(&e.claims, now.Unix()); rule != "" {
		if rule == RuleExpired {
			v.cache.drop(e)
		}
		return nil, rule, true
	}
	if key, ok := v.source.Key(e.claims.issuer, e.claims.kid, e.claims.alg); !ok || !sameKey(key, e.key) {
		v.cache.drop(e)
		return nil, "", false
	}
	return &e.id, "", true
}

// demand checks everything but the signature against what this API demands.
func (v *Verifier) demand(c *claims, now int64) string {
	i := v.issuer(c.issuer)
	switch {
	case i == nil:
		return RuleIssuer
	case c.has&isOpaque == 0 && !slices.Contains(i.algorithms, c.alg):
		return RuleAlgorithm
	case c.has&isOpaque == 0 && !i.acceptsType(c.typ):
		return RuleType
	case !slices.Contains(c.audience, i.audience) && !(c.has&isOpaque != 0 && i.anyAudience && len(c.audience) == 0):
		return RuleAudience
	case now >= c.expires+v.skew:
		return RuleExpired
	case c.notBefore > now+v.skew || c.issued > now+v.skew:
		return RuleNotYet
	case i.strict && c.has&isOpaque == 0 && c.has&hasProfile != hasProfile:
		return RuleProfile
	case len(i.clients) > 0 && !i.acceptsClient(c):
		return RuleClient
	}
	return ""
}

// Open reads a token into s and checks all that needs no key, cheapest first.
func (v *Verifier) Open(token string, s *Scratch, now time.Time) (rule string) {
	if rule := s.read(token); rule != "" {
		return rule
	}
	return v.demand(&s.claims, now.Unix())
}

// Prove verifies the signature of the token that Open has read into s. When the
// key is not in memory the rule is RuleKey or RuleNoKeys, and Scratch names it.
func (v *Verifier) Prove(s *Scratch, now time.Time) (id *Identity, rule string) {
	c := &s.claims
	key, ok := v.source.Key(c.issuer, c.kid, c.alg)
	if !ok {
		if stock, tells := v.source.(Stock); tells && !stock.HasKeys(c.issuer) {
			return nil, RuleNoKeys
		}
		return nil, RuleKey
	}
	if !verify(c.alg, key, s.signed, s.signature) {
		return nil, RuleSignature
	}
	return v.cache.put(s, key, now.Unix()), ""
}

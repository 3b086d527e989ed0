package authn

import (
	"crypto/sha256"
	"net/http"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard/signed"
	"sallyport.dev/policy"
)

// signers are those who are known by their signatures on requests.
type signers struct {
	*signed.Verifier
	ids  []Identity
	name [][32]byte // for the memory of what was used
}

func newSigners(list []policy.Signature) (*signers, error) {
	if len(list) == 0 {
		return nil, nil
	}
	v, err := signed.New(list)
	if err != nil {
		return nil, err
	}
	out := &signers{Verifier: v}
	for _, s := range list {
		p := sallyport.Principal{Kind: "signature", Subject: s.ID}
		out.ids = append(out.ids, Identity{Principal: p, Name: p.String(), Scopes: s.Scopes})
		out.name = append(out.name, sha256.Sum256([]byte("signature "+s.ID)))
	}
	return out, nil
}

// Signed reports whether a request carries a signature of a kind that is accepted.
func (v *Verifier) Signed(h http.Header) bool { return v.signers != nil && v.signers.Presented(h) }

// Signatures reports whether signatures are accepted at all.
func (v *Verifier) Signatures() bool { return v.signers != nil }

// SignaturePlace is the header that a signature was looked for in.
func (v *Verifier) SignaturePlace(h http.Header) string { return v.signers.Place(h) }

// Signature proves a caller by the signature on a whole request.
func (v *Verifier) Signature(m *signed.Message, now time.Time) (id *Identity, rule string) {
	p, rule := v.signers.Verify(m, now)
	if rule != "" {
		return nil, rule
	}
	id = &v.signers.ids[p.Signer]
	if p.Unique != "" {
		owner := v.signers.name[p.Signer]
		switch v.proofs.replays.Once(sha256.Sum256([]byte(id.Name+"\x00"+p.Unique)), owner, p.Until.Unix()+1, now.Unix()) {
		case Repeated:
			return nil, signed.RuleReplayed
		case Full:
			return nil, RuleProofsFull
		}
	}
	return id, ""
}

func init() {
	for rule, text := range map[string]string{
		signed.RuleMalformed: "the signature's headers are not as RFC 9421, or the style of its sender, wants them",
		signed.RuleKey:       "the signature names a key that is not known here",
		signed.RuleCovers:    "the signature does not cover what it must, or something that is not there",
		signed.RuleTime:      "the signature says no time, or was made too long ago, or in the future, or has expired",
		signed.RuleAlgorithm: "the signature names another algorithm than its key's",
		signed.RuleNonce:     "the signature has no nonce, and must have one here",
		signed.RuleTag:       "the signature was made for another application (tag)",
		signed.RuleWrong:     "the signature does not verify",
		signed.RuleDigest:    "the body is not the one that was signed (Content-Digest, RFC 9530)",
		signed.RuleBody:      "the body is longer than what is looked at, so its signature cannot be checked",
		signed.RuleReplayed:  "this signature has been used before",
	} {
		descriptions[rule] = text
	}
}

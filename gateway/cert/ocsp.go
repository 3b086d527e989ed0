package cert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

// The bounds of a question to a responder.
const (
	askTime    = 10 * time.Second
	askBytes   = 64 << 10
	askSkew    = 5 * time.Minute // by which clocks may differ
	askSoonest = time.Minute     // between two questions at least
	askLatest  = 12 * time.Hour  // and at most
)

// outcomes of a question, for counting.
const (
	outGood = iota
	outRevoked
	outUnknown
	outFailed
	outcomes
)

// OutcomeNames are the names of what questions to a responder come to.
var OutcomeNames = [outcomes]string{"good", "revoked", "unknown", "failed"}

// OCSP is how the answer stapled to a certificate stands.
type OCSP struct {
	Responder string
	Status    string    // "good", "revoked"; "none": nothing is stapled
	Must      bool      // the certificate says that it comes stapled
	Until     time.Time // end of the answer
	Failing   string    // why the last question brought nothing; "" when it did
}

// OCSP says how the stapling of the current certificate stands; nil without Staple.
func (k *Keeper) OCSP() *OCSP {
	if !k.Staple {
		return nil
	}
	k.look()
	return k.report.Load()
}

// Fetched counts questions by outcome, in the order of OutcomeNames.
func (k *Keeper) Fetched() (n [outcomes]int64) {
	for i := range k.tally {
		n[i] = k.tally[i].Load()
	}
	return n
}

// describe publishes how things stand. The caller holds k.mu.
func (k *Keeper) describe(failing string) {
	c := k.current
	if !k.Staple || c == nil {
		return
	}
	o := &OCSP{Status: "none", Must: c.must, Failing: failing}
	if len(c.Leaf.OCSPServer) > 0 {
		o.Responder = c.Leaf.OCSPServer[0]
	}
	if len(k.give.Load().OCSPStaple) > 0 {
		o.Status, o.Until = c.answer.status(), c.answer.until
	}
	k.report.Store(o)
}

// An answer of a responder that has been checked.
type answer struct {
	raw     []byte
	revoked bool
	since   time.Time // of revocation
	until   time.Time
}

func (a *answer) fresh(now time.Time) bool { return now.Before(a.until) }

func (a *answer) status() string {
	if a.revoked {
		return OutcomeNames[outRevoked]
	}
	return OutcomeNames[outGood]
}

var errUnknown = errors.New("the responder does not know the certificate")

// Responder says where a pair's OCSP answers come from, or why from nowhere.
func (p *Pair) Responder() (string, error) {
	if len(p.Leaf.OCSPServer) == 0 {
		return "", errNoResponder
	}
	u, err := url.Parse(p.Leaf.OCSPServer[0])
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("the OCSP responder in the certificate, %q, is no http address", p.Leaf.OCSPServer[0])
	}
	if p.Issuer() == nil {
		return "", errors.New("the certificate's issuer must stand behind it in the same file, or OCSP answers can't be asked for and checked")
	}
	return u.String(), nil
}

// check judges a responder's answer about p (RFC 6960 section 3.2).
func (p *Pair) check(raw []byte, now time.Time) (*answer, error) {
	issuer := p.Issuer()
	r, err := ocsp.ParseResponseForCert(raw, p.Leaf, nil) // signature by the certificate in it, when there is one
	var status ocsp.ResponseError
	switch {
	case errors.As(err, &status):
		return nil, fmt.Errorf("the responder says %q", status.Status)
	case err != nil:
		return nil, fmt.Errorf("not a well-formed answer: %w", err)
	}
	switch by := r.Certificate; {
	case by == nil || by.Equal(issuer):
		err = r.CheckSignatureFrom(issuer)
	case !slices.Contains(by.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		err = errors.New("its signer may not sign OCSP answers")
	case now.Before(by.NotBefore) || now.After(by.NotAfter):
		err = errors.New("its signer's certificate is not valid now")
	default:
		err = issuer.CheckSignature(by.SignatureAlgorithm, by.RawTBSCertificate, by.Signature)
	}
	if err != nil {
		return nil, fmt.Errorf("the answer is not the issuer's: %w", err)
	}
	switch {
	case r.ThisUpdate.After(now.Add(askSkew)):
		return nil, fmt.Errorf("the answer is from the future (%s)", r.ThisUpdate.UTC().Format(time.RFC3339))
	case r.NextUpdate.IsZero():
		return nil, errors.New("the answer does not say how long it holds: it can't be stapled")
	case !now.Before(r.NextUpdate):
		return nil, fmt.Errorf("the answer has expired on %s", r.NextUpdate.UTC().Format(time.RFC3339))
	case r.Status == ocsp.Unknown:
		return nil, errUnknown
	}
	return &answer{raw: raw, revoked: r.Status == ocsp.Revoked, since: r.RevokedAt, until: r.NextUpdate}, nil
}

// asking has no connection outlive its question, and follows nobody elsewhere.
var asking = &http.Client{
	Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// ask asks the responder about p.
func (p *Pair) ask(ctx context.Context, now time.Time) (*answer, error) {
	at, err := p.Responder()
	if err != nil {
		return nil, err
	}
	question, err := ocsp.CreateRequest(p.Leaf, p.Issuer(), nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/ocsp-request")
	req.Header.Set("Accept", "application/ocsp-response")
	res, err := asking.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d", at, res.StatusCode)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, askBytes+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > askBytes {
		return nil, fmt.Errorf("%s answered more than %d bytes", at, askBytes)
	}
	return p.check(raw, now)
}

// Refresh fetches an OCSP answer if one is due, and says when to come again.
// What fails is tried again after a minute, then ever later; an answer at hand
// stays until it ends.
func (k *Keeper) Refresh(ctx context.Context) (wait time.Duration) {
	k.mu.Lock()
	p := k.next
	if p == nil {
		p = k.current
	}
	now := k.now()
	if due := p.again.Sub(now); due > 0 {
		k.mu.Unlock()
		return min(due, askLatest)
	}
	before := p.answer
	k.mu.Unlock()

	log := logger(k.Log).With("file", k.CertFile)
	a, err := p.ask(ctx, now)
	if ctx.Err() != nil {
		return 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if p != k.current && p != k.next { // the files have changed meanwhile
		return 0
	}
	failing := ""
	switch {
	case err == nil:
		p.answer, p.backoff = a, 0
		// Half way to its end, so that a responder may be away for the other half.
		p.again = now.Add(min(max(a.until.Sub(now)/2, askSoonest), askLatest))
		if a.revoked {
			k.tally[outRevoked].Add(1)
			log.Error("the certificate has been revoked by its issuer: clients that look will refuse it; replace it", "since", a.since)
		} else {
			k.tally[outGood].Add(1)
			if before == nil || before.revoked {
				log.Info("OCSP answer stapled", "until", a.until)
			}
		}
		k.remember(p.Pair, a)
	default:
		p.backoff = min(max(2*p.backoff, askSoonest), time.Hour)
		p.again = now.Add(p.backoff)
		failing = err.Error()
		if errors.Is(err, errUnknown) {
			k.tally[outUnknown].Add(1)
		} else {
			k.tally[outFailed].Add(1)
		}
		if before != nil && before.fresh(now) {
			log.Warn("no new OCSP answer; the one at hand stays", "error", err, "until", before.until)
		} else if p.must {
			log.Error("no OCSP answer, and the certificate must be stapled: clients that look will refuse it", "error", err)
		} else {
			log.Warn("no OCSP answer; nothing is stapled", "error", err)
		}
	}
	if p == k.next && p.answer != nil {
		log.Info("its OCSP answer is there: the certificate takes over", "until", p.Leaf.NotAfter)
		k.install(p)
	}
	k.publish()
	k.describe(failing)
	wait = p.again.Sub(now)
	if a := p.answer; a != nil {
		wait = min(wait, max(a.until.Sub(now), time.Second))
	}
	return wait
}

// name is where the answer about p is kept.
func (k *Keeper) name(p *Pair) string {
	sum := sha256.Sum256(p.Leaf.Raw)
	return filepath.Join(k.Dir, hex.EncodeToString(sum[:])+".ocsp")
}

func (k *Keeper) remember(p *Pair, a *answer) {
	if k.Dir == "" {
		return
	}
	err := os.MkdirAll(k.Dir, 0o700)
	if err == nil {
		old, _ := filepath.Glob(filepath.Join(k.Dir, "*.ocsp"))
		for _, name := range old {
			if name != k.name(p) {
				os.Remove(name)
			}
		}
		temporary := k.name(p) + ".new"
		if err = os.WriteFile(temporary, a.raw, 0o600); err == nil {
			err = os.Rename(temporary, k.name(p))
		}
	}
	if err != nil {
		logger(k.Log).Warn("keep the OCSP answer", "error", err)
	}
}

// recall gives the answer that an earlier process kept, checked like any other.
func (k *Keeper) recall(p *Pair) *answer {
	if k.Dir == "" || p.Issuer() == nil {
		return nil
	}
	raw, err := readFile(k.name(p))
	if err != nil {
		return nil
	}
	a, err := p.check(raw, k.now())
	if err != nil {
		return nil
	}
	return a
}

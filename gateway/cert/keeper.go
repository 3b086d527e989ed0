package cert

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Keeper gives handshakes the certificate of two files, and reads them again
// when they change; it looks once a second at most, when somebody asks. A
// changed pair that has faults leaves the old one in use.
//
// With Staple, OCSP answers are fetched ahead by Run and come with the
// certificate while they are good. A certificate that must be stapled takes the
// old one's place only when its answer is there, or the old one has expired.
//
// Its methods may be called from any goroutine.
type Keeper struct {
	CertFile, KeyFile string
	Client            bool             // the certificate is shown to servers, not to clients
	Staple            bool             // ask the responder that the certificate names
	Dir               string           // answers are kept here over a restart; "" = not
	Log               *slog.Logger     // nil: discarded
	Now               func() time.Time // nil: time.Now

	pace pace
	kick chan struct{}

	mu      sync.Mutex
	seen    [2]stamp
	current *kept
	next    *kept // waits for its OCSP answer

	give   atomic.Pointer[tls.Certificate]
	tally  [outcomes]atomic.Int64
	report atomic.Pointer[OCSP]
}

// kept is a pair and its OCSP answer.
type kept struct {
	*Pair
	must    bool
	answer  *answer
	again   time.Time // fetch again then
	backoff time.Duration
}

// Load reads the files; an error says all that is wrong with them.
func (k *Keeper) Load() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kick == nil {
		k.kick = make(chan struct{}, 1)
	}
	p, err := k.read()
	if err != nil {
		return err
	}
	k.install(p)
	return nil
}

func (k *Keeper) now() time.Time {
	if k.Now != nil {
		return k.Now()
	}
	return time.Now()
}

// read reads the files and an OCSP answer that was kept. The caller holds k.mu.
func (k *Keeper) read() (*kept, error) {
	for i, name := range []string{k.CertFile, k.KeyFile} {
		s, err := stampOf(name)
		if err != nil {
			return nil, err
		}
		k.seen[i] = s
	}
	pair, err := Read(k.CertFile, k.KeyFile)
	if err != nil {
		return nil, err
	}
	faults := pair.Faults
	if k.Client {
		faults = pair.ClientFaults
	}
	if all := faults(k.now()); len(all) > 0 {
		return nil, errors.New(k.CertFile + ": " + strings.Join(all, "; "))
	}
	p := &kept{Pair: pair, must: MustStaple(pair.Leaf)}
	if k.Staple {
		p.answer = k.recall(pair)
	}
	return p, nil
}

// install makes p the one in use. The caller holds k.mu.
func (k *Keeper) install(p *kept) {
	k.current, k.next = p, nil
	if p.must && !k.Staple && !k.Client {
		logger(k.Log).Error("the certificate must be stapled, and OCSP is off: clients that look will refuse it", "file", k.CertFile)
	}
	k.publish()
}

// publish gives handshakes the current pair with what is stapled now.
func (k *Keeper) publish() {
	c := k.current.Certificate
	c.Leaf = k.current.Leaf
	c.OCSPStaple = nil
	if a := k.current.answer; a != nil && a.fresh(k.now()) {
		c.OCSPStaple = a.raw
	}
	k.give.Store(&c)
	k.describe("")
}

// look reads the files again when they have changed.
func (k *Keeper) look() {
	if !k.pace.due(k.now()) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.next != nil && k.current != nil && k.now().After(k.current.Leaf.NotAfter) {
		logger(k.Log).Error("the certificate must be stapled, no OCSP answer is to be had, and the old one has expired: it is served without", "file", k.CertFile)
		k.install(k.next)
	}
	if a := k.current; a != nil && a.answer != nil && len(k.give.Load().OCSPStaple) > 0 && !a.answer.fresh(k.now()) {
		k.publish() // it has gone stale and comes off
	}
	changed := false
	for i, name := range []string{k.CertFile, k.KeyFile} {
		s, err := stampOf(name)
		if err != nil {
			return
		}
		changed = changed || s != k.seen[i]
	}
	if !changed {
		return
	}
	p, err := k.read()
	if err != nil {
		logger(k.Log).Warn("the certificate has changed and can't be used; the old one stays", "error", err)
		return
	}
	if k.Staple && p.must && p.answer == nil {
		logger(k.Log).Info("certificate read again; it must be stapled and takes over when its OCSP answer is there", "file", k.CertFile)
		k.next = p
	} else {
		logger(k.Log).Info("certificate read again", "file", k.CertFile, "until", p.Leaf.NotAfter)
		k.install(p)
	}
	select {
	case k.kick <- struct{}{}:
	default:
	}
}

// GetCertificate is for tls.Config.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.look()
	return k.give.Load(), nil
}

// GetClientCertificate is for tls.Config.
func (k *Keeper) GetClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	k.look()
	return k.give.Load(), nil
}

// Run fetches OCSP answers, well before those at hand end, until ctx ends.
// Without Staple there is nothing to do.
func (k *Keeper) Run(ctx context.Context) {
	if !k.Staple {
		return
	}
	for ctx.Err() == nil {
		wait := k.Refresh(ctx)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-k.kick:
		case <-t.C:
		}
		t.Stop()
	}
}

package cert

import (
	"crypto/x509"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// stamp tells whether a file is another one than before.
type stamp struct {
	mod  time.Time
	size int64
	ino  any
}

func stampOf(name string) (s stamp, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return s, err
	}
	return stamp{mod: info.ModTime(), size: info.Size(), ino: inode(info)}, nil
}

// pace lets something through once a second.
type pace struct{ last atomic.Int64 }

func (p *pace) due(now time.Time) bool {
	last := p.last.Load()
	d := now.UnixNano() - last
	return (d >= int64(time.Second) || d < 0) && p.last.CompareAndSwap(last, now.UnixNano())
}

// Roots are authorities in a file, which is read again when it changes; it is
// looked at once a second at most, by whoever asks. It may be used by many
// goroutines at once.
type Roots struct {
	File string
	Log  *slog.Logger     // nil: discarded
	Now  func() time.Time // nil: time.Now

	pace pace
	mu   sync.Mutex
	seen stamp
	now  atomic.Pointer[roots]
}

type roots struct {
	pool *x509.CertPool
	list []*x509.Certificate
}

// Load reads the file. Before it has succeeded once, there are no roots.
func (r *Roots) Load() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.load()
}

func (r *Roots) load() error {
	seen, err := stampOf(r.File)
	if err != nil {
		return err
	}
	r.seen = seen
	list, err := ReadRoots(r.File)
	if err != nil {
		return err
	}
	next := &roots{pool: x509.NewCertPool(), list: list}
	for _, c := range list {
		next.pool.AddCert(c)
	}
	r.now.Store(next)
	return nil
}

func (r *Roots) look() {
	now := time.Now
	if r.Now != nil {
		now = r.Now
	}
	if !r.pace.due(now()) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, err := stampOf(r.File)
	if err != nil || seen == r.seen {
		return
	}
	if err := r.load(); err != nil {
		logger(r.Log).Warn("authorities have changed and can't be used; the old ones stay", "file", r.File, "error", err)
		return
	}
	logger(r.Log).Info("authorities read again", "file", r.File, "certificates", len(r.now.Load().list))
}

// Pool is what to verify against: the same pool until the file changes.
func (r *Roots) Pool() *x509.CertPool {
	r.look()
	if now := r.now.Load(); now != nil {
		return now.pool
	}
	return x509.NewCertPool()
}

// List is the certificates in the file.
func (r *Roots) List() []*x509.Certificate {
	r.look()
	if now := r.now.Load(); now != nil {
		return now.list
	}
	return nil
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

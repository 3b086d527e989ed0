package rest

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net/http"
	"sync"
	"time"
)

// Replays answers a request that comes again with the same Idempotency-Key as
// it did the first time, and refuses another request under a key that is taken.
// Answers that refuse are not kept. It holds the last 10,000 keys. Its checks
// are named replay.body and replay.principal.
type Replays struct {
	Skip Skip

	mu    sync.Mutex
	seen  map[string]*replay
	order []string
}

type replay struct {
	sum    [32]byte
	done   bool
	status int
	header http.Header
	body   []byte
}

type tee struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (t *tee) WriteHeader(status int) { t.status = status; t.ResponseWriter.WriteHeader(status) }
func (t *tee) Write(b []byte) (int, error) {
	t.body.Write(b)
	return t.ResponseWriter.Write(b)
}

// Once runs the handler once for each key of a principal.
func (s *Replays) Once(who Principal, w http.ResponseWriter, r *http.Request, handle Handler) error {
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		return handle(w, r)
	}
	if len(key) > 64 {
		return Invalid("Idempotency-Key", "maxLength")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return Fail(http.StatusBadRequest, "the body cannot be read")
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if s.Skip.Skips("replay.principal") {
		who.Name = ""
	}
	name := who.Name + "\x00" + r.Method + r.URL.Path + "\x00" + key
	kept, first, err := s.claim(name, sha256.Sum256(body))
	if err != nil {
		return err
	}
	if !first {
		for k, v := range kept.header {
			w.Header()[k] = v
		}
		w.WriteHeader(kept.status)
		_, err := w.Write(kept.body)
		return err
	}
	t := &tee{ResponseWriter: w, status: http.StatusOK}
	if err := handle(t, r); err != nil {
		WriteProblem(t, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.status >= 400 {
		delete(s.seen, name)
		return nil
	}
	kept.done, kept.status, kept.header, kept.body = true, t.status, w.Header().Clone(), t.body.Bytes()
	return nil
}

func (s *Replays) claim(name string, sum [32]byte) (*replay, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept := s.seen[name]; kept != nil {
		switch {
		case kept.sum != sum && !s.Skip.Skips("replay.body"):
			return nil, false, Fail(http.StatusUnprocessableEntity, "the key was used for another request")
		case !kept.done:
			return nil, false, Fail(http.StatusConflict, "the first request is still in hand")
		}
		return kept, false, nil
	}
	if s.seen == nil {
		s.seen = map[string]*replay{}
	}
	if len(s.order) >= 10_000 {
		delete(s.seen, s.order[0])
		s.order = s.order[1:]
	}
	kept := &replay{sum: sum}
	s.seen[name], s.order = kept, append(s.order, name)
	return kept, true, nil
}

// A Limit is a bucket of tokens for each name: burst at once, then one each
// interval. It begins anew when it holds 10,000 names.
type Limit struct {
	Burst int
	Every time.Duration
	Now   func() time.Time

	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

// Take takes a token, or fails with 429 and Retry-After.
func (l *Limit) Take(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.Now()
	b, ok := l.buckets[name]
	if !ok {
		b = bucket{float64(l.Burst), now}
	}
	b.left = min(float64(l.Burst), b.left+float64(now.Sub(b.at))/float64(l.Every))
	b.at = now
	if b.left < 1 {
		return Fail(http.StatusTooManyRequests, "slow down").With("Retry-After", "1")
	}
	b.left--
	if l.buckets == nil || len(l.buckets) >= 10_000 {
		l.buckets = map[string]bucket{}
	}
	l.buckets[name] = b
	return nil
}

package authn

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultTokens = 8192
	ways          = 4
)

// A Cache holds tokens whose signature was verified, in a fixed number of places.
// A token is found by a keyed hash and compared whole. What it says is checked
// against the demands of the asking API and against the clock at each use, and
// its key must still be the issuer's: an expired token, and every token of a key
// that was rotated away, is dropped when it is next seen, and its place is free
// for others. Safe for concurrent use; reading takes no lock.
type Cache struct {
	seed  maphash.Seed
	slots []atomic.Pointer[entry]
	used  sync.Map // of API keys: [32]byte, the digest → *atomic.Int64, the second of its last use
}

// KeyUsed is when an API key with the digest was last accepted, the zero time
// when it was not since the cache was made.
func (c *Cache) KeyUsed(digest [32]byte) time.Time {
	if u, ok := c.used.Load(digest); ok {
		if at := u.(*atomic.Int64).Load(); at > 0 {
			return time.Unix(at, 0)
		}
	}
	return time.Time{}
}

func (c *Cache) useOf(digest [32]byte) *atomic.Int64 {
	u, _ := c.used.LoadOrStore(digest, new(atomic.Int64))
	return u.(*atomic.Int64)
}

type entry struct {
	hash   uint64
	token  string
	key    any
	claims claims
	id     Identity
	used   atomic.Bool // since the last time a place was looked for
}

// NewCache makes a cache for about the given number of tokens; zero or less
// means 8,192. A token takes its own length and about half a kilobyte.
func NewCache(tokens int) *Cache {
	if tokens <= 0 {
		tokens = defaultTokens
	}
	sets := 1 << bits.Len(uint(max(tokens/ways, 1)-1))
	return &Cache{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[entry], sets*ways)}
}

func (c *Cache) set(hash uint64) []atomic.Pointer[entry] {
	i := int(hash&uint64(len(c.slots)/ways-1)) * ways
	return c.slots[i : i+ways]
}

func (c *Cache) get(token string) *entry {
	hash := maphash.String(c.seed, token)
	set := c.set(hash)
	for i := range set {
		if e := set[i].Load(); e != nil && e.hash == hash && e.token == token {
			if !e.used.Load() {
				e.used.Store(true)
			}
			return e
		}
	}
	return nil
}

func (c *Cache) drop(e *entry) {
	set := c.set(e.hash)
	for i := range set {
		set[i].CompareAndSwap(e, nil)
	}
}

// put keeps the verified token in s. It takes a free place of its set, else
// that of one expired or not used since a place was last looked for, else the first.
func (c *Cache) put(s *Scratch, key any, now int64) *Identity {
	e := &entry{hash: maphash.String(c.seed, s.token), token: s.token, key: key, claims: s.claims, id: s.identity()}
	set := c.set(e.hash)
	place := -1
	for i := range set {
		switch old := set[i].Load(); {
		case old == nil || old.hash == e.hash && old.token == e.token:
			set[i].Store(e)
			return &e.id
		case place < 0 && (old.claims.expires <= now || !old.used.Swap(false)):
			place = i
		}
	}
	set[max(place, 0)].Store(e)
	return &e.id
}

// Len is how many tokens are held.
func (c *Cache) Len() int {
	n := 0
	for i := range c.slots {
		if c.slots[i].Load() != nil {
			n++
		}
	}
	return n
}

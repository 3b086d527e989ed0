package gateway

import (
	crand "crypto/rand"
	"math/rand/v2"
	"sync"
	"time"
)

// newID makes a request id: 48 bits of milliseconds and 80 of randomness in
// Crockford's base 32, 26 characters that sort by time (the form of a ULID).
func newID(now time.Time) string {
	src := idSources.Get().(*rand.ChaCha8)
	hi, lo := src.Uint64(), src.Uint64()
	idSources.Put(src)
	var b [26]byte
	ms := uint64(now.UnixMilli())
	for i := 9; i >= 0; i-- {
		b[i] = crockford[ms&31]
		ms >>= 5
	}
	for i := 17; i >= 10; i-- {
		b[i] = crockford[hi&31]
		hi >>= 5
	}
	for i := 25; i >= 18; i-- {
		b[i] = crockford[lo&31]
		lo >>= 5
	}
	return string(b[:])
}

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

var idSources = sync.Pool{New: func() any {
	var seed [32]byte
	crand.Read(seed[:]) // never fails
	return rand.NewChaCha8(seed)
}}

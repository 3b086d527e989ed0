package observe

import (
	"encoding/binary"
	"hash/fnv"
	"time"
	"unsafe"
)

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// SourceID makes the id of the exchange at a place of a source: the same line has the
// same id whenever it is read, and ids sort by time.
func SourceID(source uint64, offset int64, at time.Time) string {
	var b [26]byte
	ms := uint64(max(at.UnixMilli(), 0))
	for i := 9; i >= 0; i-- {
		b[i] = crockford[ms&31]
		ms >>= 5
	}
	var place [16]byte
	binary.LittleEndian.PutUint64(place[:], source)
	binary.LittleEndian.PutUint64(place[8:], uint64(offset))
	h := fnv.New128a()
	h.Write(place[:])
	sum := h.Sum(nil)
	hi, lo := binary.LittleEndian.Uint64(sum), binary.LittleEndian.Uint64(sum[8:])
	for i := 17; i >= 10; i-- {
		b[i] = crockford[hi&31]
		hi >>= 5
	}
	for i := 25; i >= 18; i-- {
		b[i] = crockford[lo&31]
		lo >>= 5
	}
	return unsafe.String(&b[0], len(b))
}

package guard

import (
	"hash/maphash"
	"sync/atomic"
)

// memo remembers values of headers that come again and again and were found
// clean, so that each is inspected once and not with every request. It holds a
// fixed number of short values of headers that never carry a secret; a value is
// found by a keyed hash and compared whole. Safe for concurrent use.
type memo struct {
	seed  maphash.Seed
	slots [memoSlots]atomic.Pointer[string]
}

const (
	memoSlots = 1024
	memoBytes = 256 // of the longest value remembered
)

// memorable reports whether the values of a header are worth remembering and
// say nothing that should not be kept.
func memorable(name string) bool {
	switch name {
	case "User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Content-Type", "Origin",
		"Sec-Ch-Ua", "Sec-Ch-Ua-Platform", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site":
		return true
	}
	return false
}

func (m *memo) slot(value string) *atomic.Pointer[string] {
	return &m.slots[maphash.String(m.seed, value)%memoSlots]
}

func (m *memo) has(value string) bool {
	v := m.slot(value).Load()
	return v != nil && *v == value
}

func (m *memo) keep(value string) {
	if len(value) <= memoBytes {
		v := string(append([]byte(nil), value...)) // value may alias a buffer that is used again
		m.slot(v).Store(&v)
	}
}

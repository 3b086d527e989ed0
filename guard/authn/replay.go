package authn

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"
)

// Seen is what a store of proofs knows about one.
type Seen uint8

// The answers of a store.
const (
	Fresh    Seen = iota // for the first time; it is remembered now
	Repeated             // it has been used before
	Full                 // it can be remembered no more, so it must not be accepted
)

// Replays remembers which proofs have been used. It is called for each proof
// that is otherwise good, and must be safe for concurrent use; a store that
// several nodes share is one that all of them ask.
type Replays interface {
	// Once marks the proof id, made with the key owner, as used until the time
	// given, in seconds.
	Once(id, owner [32]byte, until, now int64) Seen
}

// Proofs is what outlives a program of what proofs need: which were used, and
// the secret that nonces are made with.
type Proofs struct {
	replays Replays
	secret  [32]byte
}

// NewProofs makes a new secret, over r or, when r is nil, over a memory of about
// a million proofs.
func NewProofs(r Replays) *Proofs {
	if r == nil {
		r = NewReplayMemory(1 << 20)
	}
	p := &Proofs{replays: r}
	rand.Read(p.secret[:]) // never fails
	return p
}

const nonceSeconds = 60 // a nonce holds for one to two of these

// Nonce is what clients must put into their next proofs (RFC 9449, section 8).
func (p *Proofs) Nonce(now time.Time) string { return p.nonce(now.Unix() / nonceSeconds) }

func (p *Proofs) nonce(slot int64) string {
	m := hmac.New(sha256.New, p.secret[:])
	m.Write(binary.BigEndian.AppendUint64(nil, uint64(slot)))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:18])
}

func (p *Proofs) holds(nonce string, now time.Time) bool {
	slot := now.Unix() / nonceSeconds
	return hmac.Equal(bytesOf(nonce), bytesOf(p.nonce(slot))) || hmac.Equal(bytesOf(nonce), bytesOf(p.nonce(slot-1)))
}

// ReplayMemory is a Replays of one process, bounded in number: about 40 bytes a
// proof. One key may take a sixteenth of the room, so that one holder cannot
// shut out the others.
type ReplayMemory struct {
	shards [16]replayShard
	room   int // of a shard
}

type replayShard struct {
	mu    sync.Mutex
	slots map[int64]*replaySlot // by the time they end, in replaySeconds
	held  int
}

// replaySlot holds the proofs that may be forgotten at one time.
type replaySlot struct {
	used   map[[16]byte]struct{}
	owners map[uint64]int
}

const replaySeconds = 16

// NewReplayMemory makes a memory for the given number of proofs.
func NewReplayMemory(proofs int) *ReplayMemory {
	m := &ReplayMemory{}
	m.room = max(16, proofs/len(m.shards))
	for i := range m.shards {
		m.shards[i].slots = map[int64]*replaySlot{}
	}
	return m
}

// Once implements Replays.
func (m *ReplayMemory) Once(id, owner [32]byte, until, now int64) Seen {
	s := &m.shards[id[31]%byte(len(m.shards))]
	key, who := [16]byte(id[:16]), binary.BigEndian.Uint64(owner[:8])
	end := until/replaySeconds + 1
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := 0
	for at, slot := range s.slots {
		if at*replaySeconds <= now {
			s.held -= len(slot.used)
			delete(s.slots, at)
			continue
		}
		if _, repeated := slot.used[key]; repeated {
			return Repeated
		}
		mine += slot.owners[who]
	}
	if s.held >= m.room || mine >= max(1, m.room/16) {
		return Full
	}
	slot := s.slots[end]
	if slot == nil {
		slot = &replaySlot{used: map[[16]byte]struct{}{}, owners: map[uint64]int{}}
		s.slots[end] = slot
	}
	slot.used[key] = struct{}{}
	slot.owners[who]++
	s.held++
	return Fresh
}

// Len is how many proofs are remembered.
func (m *ReplayMemory) Len() int {
	n := 0
	for i := range m.shards {
		m.shards[i].mu.Lock()
		n += m.shards[i].held
		m.shards[i].mu.Unlock()
	}
	return n
}

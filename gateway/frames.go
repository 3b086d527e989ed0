package gateway

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// frames is the way of a WebSocket from server to client. It follows the
// frames' heads (RFC 6455 section 5.2), never what is in them, so that a close
// frame of our own can stand between two of the server's.
type frames struct {
	client net.Conn

	leaving atomic.Bool // the close frame is due between two frames

	mu   sync.Mutex
	head [10]byte
	n    int    // bytes of head that are there
	left uint64 // payload of the frame in progress that is still to come
	over bool   // a close frame has passed, the server's or ours, or these are no frames
	ours bool   // it was ours: nothing may follow (section 5.5.1)
}

// goingAway is a close frame with status 1001 (RFC 6455 section 7.4.1).
var goingAway = []byte{0x88, 2, 1001 >> 8, 1001 & 0xff}

// Write passes b on, up to our own close frame.
func (f *frames) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ours {
		return len(b), nil
	}
	n := f.follow(b)
	if _, err := f.client.Write(b[:n]); err != nil {
		return 0, err
	}
	f.part()
	return len(b), nil
}

// leave has the close frame sent as soon as no frame is in progress. It waits
// a second at most for the client to take it, and may be called again.
func (f *frames) leave() {
	f.leaving.Store(true)
	if f.mu.TryLock() { // else a write is in progress, and looks itself
		defer f.mu.Unlock()
		f.part()
	}
}

// part sends the close frame when it is due. The caller holds f.mu.
func (f *frames) part() {
	if f.over || !f.leaving.Load() || f.n > 0 || f.left > 0 {
		return
	}
	f.over, f.ours = true, true
	f.client.SetWriteDeadline(time.Now().Add(time.Second))
	f.client.Write(goingAway)
}

// follow reads the heads in b and reports how much of it to pass on: all,
// unless the close frame is due at the end of a frame before that.
func (f *frames) follow(b []byte) int {
	for i := 0; i < len(b) && !f.over; {
		if f.left > 0 {
			n := min(f.left, uint64(len(b)-i))
			f.left -= n
			i += int(n)
		} else {
			f.head[f.n] = b[i]
			f.n++
			i++
			if !f.headed() {
				continue
			}
		}
		if f.left == 0 && f.n == 0 && f.leaving.Load() && !f.over {
			return i
		}
	}
	return len(b)
}

// headed reports whether the head is whole, and takes what it says.
func (f *frames) headed() bool {
	if f.n < 2 {
		return false
	}
	switch size := f.head[1]; {
	case size > 127: // servers mask nothing (section 5.1): whatever this is, it is left alone
		f.over = true
		return false
	case size == 127 && f.n == 10:
		f.left = binary.BigEndian.Uint64(f.head[2:])
	case size == 126 && f.n == 4:
		f.left = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case size < 126:
		f.left = uint64(size)
	default:
		return false
	}
	if f.head[0]&0x0f == 8 {
		f.over = true // the server has said so itself
	}
	f.n = 0
	return true
}

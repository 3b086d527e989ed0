// Package websocket reads and writes the frames of WebSocket connections (RFC
// 6455) for a door that stands between two ends. In come the bytes of one
// direction; out go whole messages and control frames, or the close code that
// the sender has earned. It is strict: masks as the direction wants them, no
// extension, shortest lengths, fragments in order, text in UTF-8, close codes
// that may be sent. It holds one message at a time, up to a bound, never opens a
// connection, and knows no message's meaning.
package websocket

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf8"
)

// An Op is what a frame is (section 5.2).
type Op byte

// The opcodes.
const (
	Continuation Op = 0
	Text         Op = 1
	Binary       Op = 2
	Close        Op = 8
	Ping         Op = 9
	Pong         Op = 10
)

// The close codes that the door sends itself (section 7.4.1; 4401 is of the
// range for private use, and what servers take for a credential that ended).
const (
	Normal        = 1000
	GoingAway     = 1001
	ProtocolError = 1002
	Unsupported   = 1003
	InvalidText   = 1007
	Refused       = 1008
	TooBig        = 1009
	TryLater      = 1013
	Unauthorized  = 4401
)

// An Error is a message that breaks the protocol or a bound.
type Error struct {
	Code   int
	Rule   string // "frame.mask", "message.size", …
	Detail string // a fixed sentence, nothing of the message
}

func (e *Error) Error() string { return e.Rule + ": " + e.Detail }

func wrong(code int, rule, detail string) error { return &Error{code, rule, detail} }

// A Message is a data message or a control frame. Data is good until the next
// call of Next.
type Message struct {
	Op   Op // never Continuation
	Data []byte
	// Part says that a message longer than the bound comes in parts: each but
	// the last has More set, each but the first Later. None of them was looked
	// at whole.
	Part, More, Later bool
}

// Reader bounds. Fragments bounds the frames of one message, so that empty ones
// cannot go on for ever.
const maxFragments = 4096

// A Reader reads the frames of one direction. It belongs to one goroutine.
type Reader struct {
	R      *bufio.Reader
	Client bool  // frames come from a client: they are masked (section 5.1)
	Size   int64 // of a message at most
	Spill  bool  // a longer message comes in parts in place of an error
	// Grow is asked before more is held; false ends the connection with 1013.
	Grow func(more int64) bool

	op        Op // of the message in progress; Continuation = none
	data      []byte
	fragments int
	spilling  bool
	spilled   bool  // a part of the message has been handed over
	pending   *head // the rest of a frame that is handed over in pieces
	closed    bool
	control   [125]byte
	held      int64
}

// Next gives the next message or control frame. The error is an *Error, or what
// reading said; io.EOF only between two messages.
func (r *Reader) Next() (Message, error) {
	for {
		if r.closed {
			return Message{}, io.EOF
		}
		h, err := r.head()
		if err != nil {
			return Message{}, err
		}
		if h.op >= Close {
			return r.controlFrame(h)
		}
		switch {
		case h.op == Continuation && r.op == Continuation:
			return Message{}, wrong(ProtocolError, "frame.continuation", "a frame continues a message that has not begun")
		case h.op != Continuation && r.op != Continuation:
			return Message{}, wrong(ProtocolError, "frame.continuation", "a message begins within another")
		case h.op != Continuation:
			r.op, r.data, r.fragments, r.spilling, r.spilled = h.op, r.data[:0], 0, false, false
		}
		if r.fragments++; r.fragments > maxFragments && !r.spilling {
			return Message{}, wrong(ProtocolError, "frame.fragments", "a message comes in too many fragments")
		}
		if m, whole, err := r.payload(h); err != nil || whole {
			return m, err
		}
	}
}

// payload reads a data frame. whole: there is something to hand over.
func (r *Reader) payload(h head) (Message, bool, error) {
	if int64(h.length) > r.Size-int64(len(r.data)) || h.length > 1<<62 {
		if !r.Spill {
			return Message{}, false, wrong(TooBig, "message.size", "the message is longer than the bound")
		}
		r.spilling = true
	}
	if r.spilling {
		return r.spill(h)
	}
	at := len(r.data)
	for left := int64(h.length); left > 0; {
		n := int(min(left, 64<<10)) // a length that lies takes no memory that does not come
		if err := r.room(len(r.data) + n); err != nil {
			return Message{}, false, err
		}
		from := len(r.data)
		r.data = r.data[:from+n]
		if _, err := io.ReadFull(r.R, r.data[from:]); err != nil {
			return Message{}, false, truncated(err)
		}
		left -= int64(n)
	}
	h.unmask(r.data[at:], 0)
	if !h.fin {
		return Message{}, false, nil
	}
	op := r.op
	r.op = Continuation
	if op == Text && !utf8.Valid(r.data) {
		return Message{}, false, wrong(InvalidText, "message.utf8", "a text message is not UTF-8")
	}
	return Message{Op: op, Data: r.data}, true, nil
}

// spill hands over what is held and the frame, of which at most a piece at a
// time: the frame is cut into fragments by the bytes that are there.
func (r *Reader) spill(h head) (Message, bool, error) {
	later := r.spilled
	r.spilled = true
	n := int(min(h.length, uint64(32<<10)))
	if err := r.room(len(r.data) + n); err != nil {
		return Message{}, false, err
	}
	at := len(r.data)
	r.data = r.data[:at+n]
	if _, err := io.ReadFull(r.R, r.data[at:]); err != nil {
		return Message{}, false, truncated(err)
	}
	h.unmask(r.data[at:], 0)
	m := Message{Op: r.op, Data: r.data, Part: true, Later: later, More: true}
	rest := h
	rest.length -= uint64(n)
	rest.turn(n)
	if rest.length > 0 {
		r.pending = &rest
	} else if h.fin {
		m.More = false
		r.op = Continuation
	}
	r.data = r.data[:0]
	return m, true, nil
}

// room makes room for n bytes in all.
func (r *Reader) room(n int) error {
	if n <= cap(r.data) {
		return nil
	}
	size := max(n, min(2*cap(r.data), int(r.Size)), 512)
	if more := int64(size) - r.held; more > 0 && r.Grow != nil && size > 16<<10 {
		if !r.Grow(more) {
			return wrong(TryLater, "message.buffered", "too many bytes of messages held at once")
		}
		r.held = int64(size)
	}
	next := make([]byte, len(r.data), size)
	copy(next, r.data)
	r.data = next
	return nil
}

func truncated(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A head is the head of a frame.
type head struct {
	fin    bool
	op     Op
	masked bool
	length uint64
	key    [4]byte
}

func (h *head) unmask(b []byte, from int) {
	if !h.masked {
		return
	}
	for i := range b {
		b[i] ^= h.key[(from+i)&3]
	}
}

// turn has the key begin where n bytes have gone.
func (h *head) turn(n int) {
	k := h.key
	for i := range h.key {
		h.key[i] = k[(n+i)&3]
	}
}

func (r *Reader) head() (head, error) {
	if r.pending != nil { // the rest of a frame that is handed over in pieces
		h := *r.pending
		r.pending = nil
		h.op = Continuation
		return h, nil
	}
	var h head
	b, err := r.R.ReadByte()
	if err != nil {
		if r.op != Continuation {
			return h, truncated(err)
		}
		return h, err
	}
	h.fin, h.op = b&0x80 != 0, Op(b&0x0f)
	switch {
	case b&0x70 != 0:
		return h, wrong(ProtocolError, "frame.reserved", "a reserved bit is set, and no extension was agreed on")
	case h.op > Binary && h.op < Close || h.op > Pong:
		return h, wrong(ProtocolError, "frame.opcode", "the opcode is reserved")
	case h.op >= Close && !h.fin:
		return h, wrong(ProtocolError, "frame.control", "a control frame is a fragment")
	}
	if b, err = r.R.ReadByte(); err != nil {
		return h, truncated(err)
	}
	h.masked, h.length = b&0x80 != 0, uint64(b&0x7f)
	if h.masked != r.Client {
		return h, wrong(ProtocolError, "frame.mask", "clients mask their frames, and servers do not")
	}
	if h.op >= Close && h.length > 125 {
		return h, wrong(ProtocolError, "frame.control", "a control frame is longer than 125 bytes")
	}
	var long [8]byte
	switch h.length {
	case 126:
		if _, err := io.ReadFull(r.R, long[:2]); err != nil {
			return h, truncated(err)
		}
		if h.length = uint64(binary.BigEndian.Uint16(long[:2])); h.length < 126 {
			return h, wrong(ProtocolError, "frame.length", "a length is not written in its shortest form")
		}
	case 127:
		if _, err := io.ReadFull(r.R, long[:]); err != nil {
			return h, truncated(err)
		}
		if h.length = binary.BigEndian.Uint64(long[:]); h.length < 1<<16 || h.length>>63 != 0 {
			return h, wrong(ProtocolError, "frame.length", "a length is not written in its shortest form, or out of range")
		}
	}
	if h.masked {
		if _, err := io.ReadFull(r.R, h.key[:]); err != nil {
			return h, truncated(err)
		}
	}
	return h, nil
}

func (r *Reader) controlFrame(h head) (Message, error) {
	b := r.control[:h.length]
	if _, err := io.ReadFull(r.R, b); err != nil {
		return Message{}, truncated(err)
	}
	h.unmask(b, 0)
	if h.op == Close {
		r.closed = true
		switch {
		case len(b) == 0:
		case len(b) == 1:
			return Message{}, wrong(ProtocolError, "frame.close", "a close frame has half a code")
		case !sendable(int(b[0])<<8 | int(b[1])):
			return Message{}, wrong(ProtocolError, "frame.close", "the close code may not be sent")
		case !utf8.Valid(b[2:]):
			return Message{}, wrong(InvalidText, "frame.close", "the reason of a close frame is not UTF-8")
		}
	}
	return Message{Op: h.op, Data: b}, nil
}

// sendable reports whether a close code may stand in a frame (section 7.4 and
// the registry that it founds).
func sendable(code int) bool {
	return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006 || code >= 3000 && code <= 4999
}

// CloseCode is the code of a close frame's data, 1005 when it has none.
func CloseCode(data []byte) int {
	if len(data) < 2 {
		return 1005
	}
	return int(data[0])<<8 | int(data[1])
}

// ClosePayload is the data of a close frame.
func ClosePayload(code int, reason string) []byte {
	return append([]byte{byte(code >> 8), byte(code)}, reason[:min(len(reason), 123)]...)
}

// AppendFrame appends a frame to dst: op with data, masked with a fresh key when
// it goes to a server (section 5.3). data is not changed.
func AppendFrame(dst []byte, op Op, fin, mask bool, data []byte) []byte {
	b := byte(op)
	if fin {
		b |= 0x80
	}
	m := byte(0)
	if mask {
		m = 0x80
	}
	dst = append(dst, b)
	switch n := len(data); {
	case n < 126:
		dst = append(dst, m|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, m|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, m|127), uint64(n))
	}
	if !mask {
		return append(dst, data...)
	}
	var key [4]byte
	rand.Read(key[:])
	dst = append(dst, key[:]...)
	for i, c := range data {
		dst = append(dst, c^key[i&3])
	}
	return dst
}

// AppendMessage appends m as the frames that carry it.
func AppendMessage(dst []byte, m Message, mask bool) []byte {
	op := m.Op
	if m.Later {
		op = Continuation
	}
	return AppendFrame(dst, op, !m.More, mask, m.Data)
}

// String names the opcode.
func (o Op) String() string {
	switch o {
	case Text:
		return "text"
	case Binary:
		return "binary"
	case Close:
		return "close"
	case Ping:
		return "ping"
	case Pong:
		return "pong"
	}
	return fmt.Sprintf("opcode %d", byte(o))
}

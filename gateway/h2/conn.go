package h2

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"
)

// Preface is what each client begins with (RFC 9113 section 3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Bounds say how much of what costs the server something a connection may send.
type Bounds struct {
	Frame   int // bytes of a frame's payload; what the server announces as SETTINGS_MAX_FRAME_SIZE
	Head    int // bytes of a field section as RFC 9113 section 6.5.2 counts them; the server answers 431 beyond
	Frames  int // frames a second that carry nothing: SETTINGS, PING, PRIORITY, WINDOW_UPDATE, unknown and empty ones; ten times as many at once
	Streams int // at once; what the server announces as SETTINGS_MAX_CONCURRENT_STREAMS
	Resets  int // streams a second that end before their answer does; eight times as many at once
}

// A Refusal is a request or a connection that was not let through.
type Refusal struct {
	Rule   string // stable name, as in "h2.field.connection"
	Detail string // for people; holds nothing out of the request
	Stream uint32 // 0: the whole connection
	Code   uint32 // error code of the RST_STREAM or GOAWAY (RFC 9113 section 7)
	Status int    // of the answer that the server gives all the same; 0: none

	Method, Scheme, Host, Target string // as far as they were read
	Conn                         *Conn
}

// Conn is a client's connection as the server is to read it. One goroutine may
// read while another writes.
type Conn struct {
	net.Conn
	bounds Bounds
	refuse func(*Refusal)
	now    func() time.Time

	// What the reader has.
	in     []byte // read from the client, not judged yet; lies in buf
	buf    []byte
	small  [1 << 10]byte // buf, while nothing large is there
	out    []byte        // judged, to be handed over
	more   []byte        // to be handed over behind out
	pass   int           // bytes of a payload that pass unlooked at
	begun  bool          // the preface was there
	last   uint32        // highest stream that the client has opened
	opened int64         // streams
	block  uint32        // stream whose field block goes on; 0: none
	parts  int           // CONTINUATION frames of it
	bytes  int           // of it, as they came
	dec    *hpack.Decoder
	head   head
	frames allowance
	resets allowance

	// What the writer has.
	whead   [9]byte
	wn      int        // bytes of whead that are there
	wleft   int        // bytes of a payload that are still to come
	wcode   int        // how far away the error code's last byte is; negative: there is none any more
	wreset  [16]uint32 // the streams that were reset last
	wresets int

	earned atomic.Int64  // frames that the server's own have earned the client
	ended  atomic.Int64  // streams that came to their end
	closed atomic.Int64  // streams that came to any end
	broken atomic.Int64  // streams that the server has reset
	fatal  atomic.Uint32 // 1 + error code with which this package ends the connection
	told   atomic.Bool   // its end is on record
}

// Frame types and flags (RFC 9113 section 6).
const (
	frameData, frameHeaders, framePriority, frameReset, frameSettings = 0, 1, 2, 3, 4
	framePush, framePing, frameGoAway, frameWindow, frameContinuation = 5, 6, 7, 8, 9

	flagEndStream, flagAck, flagEndHeaders, flagPadded, flagPriority = 1, 1, 4, 8, 32
)

// Error codes (RFC 9113 section 7).
const (
	codeProtocol, codeFrameSize, codeCompression, codeCalm = 1, 6, 9, 11
)

// New gives the connection as the server is to read it. refuse is called by the
// goroutine that reads or writes, and must not call back; now is the time.
func New(c net.Conn, b Bounds, refuse func(*Refusal), now func() time.Time) *Conn {
	h := &Conn{Conn: c, bounds: b, refuse: refuse, now: now}
	h.buf = h.small[:]
	start := now()
	h.frames = allowance{rate: float64(b.Frames), most: float64(10 * b.Frames), left: float64(10 * b.Frames), at: start}
	h.resets = allowance{rate: float64(b.Resets), most: float64(8 * b.Resets), left: float64(8 * b.Resets), at: start}
	h.dec = hpack.NewDecoder(4096, h.head.field)
	h.dec.SetMaxStringLength(b.Head)
	return h
}

// An allowance is spent by what happens and grows with time.
type allowance struct {
	rate, most, left float64
	at               time.Time // until when it has grown
}

func (a *allowance) add(n float64) { a.left = min(a.left+n, a.most) }

func (a *allowance) spend(n float64, now func() time.Time) bool {
	if a.left < n {
		t := now()
		a.add(t.Sub(a.at).Seconds() * a.rate)
		a.at = t
	}
	a.left -= n
	return a.left >= 0
}

// Read gives what has been judged.
func (c *Conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		switch {
		case len(c.out) > 0:
			n := copy(b, c.out)
			c.out = c.out[n:]
			return n, nil
		case len(c.more) > 0:
			c.out, c.more = c.more, nil
		case c.fatal.Load() != 0: // the server says goodbye and closes
			if _, err := c.Conn.Read(c.buf); err != nil {
				return 0, err
			}
		case c.pass > 0:
			b = b[:min(len(b), c.pass)]
			n, err := copy(b, c.in), error(nil)
			if n > 0 {
				c.in = c.in[n:]
			} else if n, err = c.Conn.Read(b); n == 0 {
				return 0, err
			}
			c.pass -= n
			return n, err
		default:
			if err := c.frame(); err != nil {
				return 0, err
			}
		}
	}
}

// buffers hold one frame of the size that everybody may send.
var buffers = sync.Pool{New: func() any { b := make([]byte, 9+16<<10); return &b }}

// fill reads until n bytes are there.
func (c *Conn) fill(n int) error {
	if len(c.in) >= n {
		return nil
	}
	if n > cap(c.buf) {
		big := buffers.Get().(*[]byte)
		if len(*big) < n {
			*big = make([]byte, n)
		}
		c.in = (*big)[:copy(*big, c.in)]
		c.buf = *big
	} else {
		if len(c.in) == 0 && len(c.buf) > len(c.small) { // nothing large is there any more
			big := c.buf
			buffers.Put(&big)
			c.buf = c.small[:]
		}
		c.in = c.buf[:copy(c.buf, c.in)]
	}
	for len(c.in) < n {
		m, err := c.Conn.Read(c.buf[len(c.in):])
		c.in = c.in[:len(c.in)+m]
		if err != nil && len(c.in) < n {
			if err == io.EOF && len(c.in) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// frame judges what begins at in.
func (c *Conn) frame() error {
	if !c.begun {
		if err := c.fill(len(Preface)); err != nil {
			return err
		}
		if string(c.in[:len(Preface)]) != Preface {
			c.tell(&Refusal{Rule: "h2.preface", Detail: "the connection does not begin as HTTP/2 does", Code: codeProtocol})
			return io.EOF
		}
		c.out, c.in, c.begun = c.in[:len(Preface)], c.in[len(Preface):], true
		return nil
	}
	if err := c.fill(9); err != nil {
		return err
	}
	size, kind, flags := int(c.in[0])<<16|int(c.in[1])<<8|int(c.in[2]), c.in[3], c.in[4]
	stream := binary.BigEndian.Uint32(c.in[5:]) & (1<<31 - 1)
	switch {
	case size > c.bounds.Frame:
		c.end("h2.frame.size", "a frame is larger than was announced", codeFrameSize)
		return nil
	case c.block != 0 && (kind != frameContinuation || stream != c.block):
		c.end("h2.frame.order", "a field block is broken off", codeProtocol)
		return nil
	case c.block == 0 && kind == frameContinuation:
		c.end("h2.frame.order", "a field block goes on that has not begun", codeProtocol)
		return nil
	}
	if !c.affords(kind, flags, size) {
		return nil
	}
	switch kind {
	case frameHeaders, frameContinuation, frameSettings:
		if err := c.fill(9 + size); err != nil {
			return err
		}
		f := c.in[: 9+size : 9+size]
		c.in = c.in[9+size:]
		if kind == frameSettings {
			c.out = settings(f)
		} else {
			c.fields(f, kind, flags, stream)
		}
	default:
		c.out, c.in, c.pass = c.in[:9], c.in[9:], size
	}
	return nil
}

// affords takes from the connection's allowances what a frame costs.
func (c *Conn) affords(kind, flags byte, size int) bool {
	if n := c.ended.Swap(0); n > 0 {
		c.resets.add(float64(n))
	}
	resets := c.broken.Swap(0)
	switch kind {
	case frameReset:
		resets++
		c.closed.Add(1)
		fallthrough // and one of a stream that has long ended costs as well
	case frameSettings, framePing, framePriority, frameWindow, framePush, frameGoAway:
		return c.spend(1, resets)
	case frameData:
		if size == 0 && flags&flagEndStream == 0 || flags&flagPadded != 0 && size <= 256 {
			return c.spend(1, resets)
		}
	case frameContinuation:
		if size < 256 {
			return c.spend(1, resets)
		}
	case frameHeaders:
		c.frames.add(4) // what clients send beside a request
	default:
		return c.spend(1, resets)
	}
	return resets == 0 || c.spend(0, resets)
}

func (c *Conn) spend(frames float64, resets int64) bool {
	if n := c.earned.Swap(0); n > 0 {
		c.frames.add(float64(n))
	}
	if frames > 0 && !c.frames.spend(frames, c.now) {
		c.end("h2.flood.frames", "more frames that carry nothing than are allowed", codeCalm)
		return false
	}
	if resets > 0 && !c.resets.spend(float64(resets), c.now) {
		c.end("h2.flood.resets", tooManyResets, codeCalm)
		return false
	}
	return true
}

const tooManyResets = "more streams that end before their answer than are allowed"

// end has the server close the connection with code: a WINDOW_UPDATE of nothing
// is an error of the connection wherever it comes, and the GOAWAY that it leads to
// is given the code on its way out.
func (c *Conn) end(rule, detail string, code uint32) {
	c.fatal.Store(1 + code)
	c.out, c.more, c.pass, c.in = []byte{0, 0, 4, frameWindow, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil, 0, nil
	r := &Refusal{Rule: rule, Detail: detail, Code: code}
	if c.block != 0 {
		c.head.of(r)
	}
	c.told.Store(true)
	c.tell(r)
}

func (c *Conn) tell(r *Refusal) {
	r.Conn = c
	if c.refuse != nil {
		c.refuse(r)
	}
}

// settings gives the frame f with the last value of each parameter only, which
// is the one in force once all have been taken in their order (RFC 9113 section
// 6.5.3). The size of the header table is left alone: its least value counts too
// (RFC 7541 section 4.2).
func settings(f []byte) []byte {
	const tableSize = 1
	p := f[9:]
	if len(p)%6 != 0 || len(p) > 6*100 || f[4]&flagAck != 0 {
		return f // an error; the server's to say
	}
	double := false
	for i := 0; i < len(p); i += 6 {
		for j := i + 6; j < len(p); j += 6 {
			double = double || string(p[i:i+2]) == string(p[j:j+2])
		}
	}
	if !double {
		return f
	}
	g := append(make([]byte, 0, len(f)), f[:9]...)
next:
	for i := 0; i < len(p); i += 6 {
		if id := binary.BigEndian.Uint16(p[i:]); id != tableSize && plausible(id, binary.BigEndian.Uint32(p[i+2:])) {
			for j := i + 6; j < len(p); j += 6 {
				if string(p[i:i+2]) == string(p[j:j+2]) {
					continue next
				}
			}
		}
		g = append(g, p[i:i+6]...)
	}
	g[0], g[1], g[2] = 0, byte((len(g)-9)>>8), byte(len(g)-9)
	return g
}

// plausible says whether a value that another follows may be left out: one that
// is an error by itself may not.
func plausible(id uint16, v uint32) bool {
	switch id {
	case 2: // ENABLE_PUSH
		return v <= 1
	case 4: // INITIAL_WINDOW_SIZE
		return v <= 1<<31-1
	case 5: // MAX_FRAME_SIZE
		return v >= 1<<14 && v <= 1<<24-1
	}
	return true
}

// fields judges a frame of a field block, which passes whatever it says: the
// server's table must learn of it.
func (c *Conn) fields(f []byte, kind, flags byte, stream uint32) {
	p := f[9:]
	if kind == frameHeaders {
		cut := 0
		if flags&flagPadded != 0 {
			cut++
		}
		if flags&flagPriority != 0 {
			cut += 5
		}
		pad := 0
		if flags&flagPadded != 0 && len(p) > 0 {
			pad = int(p[0])
		}
		if stream == 0 || cut+pad > len(p) {
			c.out = f // an error of the connection; the server's to say
			return
		}
		p = p[cut : len(p)-pad]
		c.head.begin(c.bounds.Head, stream <= c.last)
		if stream > c.last {
			// Beyond what may be open are streams that the server has yet to say it has reset.
			if c.opened++; c.opened-c.closed.Load() > int64(c.bounds.Streams)+int64(c.resets.most) {
				c.end("h2.flood.resets", tooManyResets, codeCalm)
				return
			}
			c.last = stream
		}
		c.block, c.parts, c.bytes = stream, 0, 0
		c.dec.SetEmitEnabled(true)
	} else {
		c.parts++
	}
	c.bytes += len(p)
	if c.bytes > 2*c.bounds.Head || c.parts > 64 {
		c.end("h2.head.endless", "a field block goes on beyond its bound", codeCalm)
		return
	}
	if _, err := c.dec.Write(p); err != nil {
		c.end("h2.head.compression", "a field block is not valid HPACK", codeCompression)
		return
	}
	if c.head.left < 0 {
		c.dec.SetEmitEnabled(false) // what it names is of no matter any more
	}
	c.out = f
	if flags&flagEndHeaders == 0 {
		return
	}
	c.block = 0
	if err := c.dec.Close(); err != nil {
		c.end("h2.head.compression", "a field block is not valid HPACK", codeCompression)
		return
	}
	rule, detail := c.head.judge()
	if rule == "" {
		return
	}
	r := &Refusal{Rule: rule, Detail: detail, Stream: stream, Code: codeProtocol}
	c.head.of(r)
	if c.head.left < 0 && c.head.rule == "" { // the server answers by itself
		r.Status = 431
	} else {
		// A WINDOW_UPDATE of nothing is an error of the stream, which ends it if the
		// server has not done so already, and leaves all others alone.
		c.more = binary.BigEndian.AppendUint32([]byte{0, 0, 4, frameWindow, 0}, stream)
		c.more = append(c.more, 0, 0, 0, 0)
	}
	c.tell(r)
}

// Write passes what the server says.
func (c *Conn) Write(b []byte) (int, error) {
	mine := false // b is a copy
	for i := 0; i < len(b); {
		if c.wn < len(c.whead) {
			n := copy(c.whead[c.wn:], b[i:])
			c.wn, i = c.wn+n, i+n
			if c.wn < len(c.whead) {
				break
			}
			c.wleft = int(c.whead[0])<<16 | int(c.whead[1])<<8 | int(c.whead[2])
			c.wcode = -1
			switch c.whead[3] {
			case frameReset:
				c.wcode = 3 // where the last byte of the error code is, and no code needs more
			case frameGoAway:
				c.wcode = 7
			}
			c.wrote()
		}
		n := min(c.wleft, len(b)-i)
		if 0 <= c.wcode && c.wcode < n {
			at := i + c.wcode
			code := uint32(b[at])
			switch mark := c.fatal.Load(); {
			case c.whead[3] == frameReset:
				c.wroteReset(code)
			case mark != 0:
				if !mine {
					b, mine = append([]byte(nil), b...), true
				}
				b[at] = byte(mark - 1)
			case code != 0 && !c.told.Swap(true):
				c.tell(&Refusal{Rule: "h2.connection", Detail: "the connection broke a rule of HTTP/2", Code: code})
			}
		}
		i += n
		c.wcode -= n
		if c.wleft -= n; c.wleft == 0 {
			c.wn = 0
		}
	}
	return c.Conn.Write(b)
}

// wroteReset counts a stream that the server has reset for something that the
// client did (CVE-2025-8671); once, whatever more comes on it.
func (c *Conn) wroteReset(code uint32) {
	id := binary.BigEndian.Uint32(c.whead[5:])
	switch code {
	case 0: // behind an answer
		return
	case 2, 7: // the server's own fault, one stream too many
		c.closed.Add(1)
		return
	}
	if slices.Contains(c.wreset[:], id) {
		return
	}
	c.wreset[c.wresets%len(c.wreset)] = id
	c.wresets++
	c.broken.Add(1)
	c.closed.Add(1)
}

// wrote takes note of a frame of the server whose head is there.
func (c *Conn) wrote() {
	switch c.whead[3] {
	case frameData:
		c.earned.Add(4) // windows of stream and connection, and a ping that measures
		fallthrough
	case frameHeaders:
		if c.whead[4]&flagEndStream != 0 {
			c.ended.Add(1)
			c.closed.Add(1)
		}
	}
}

package http1

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

var (
	past = time.Unix(1, 0)

	errAborted = errors.New("aborted")
	errFull    = errors.New("buffer full")
	errNudged  = errors.New("read again")
)

// A wire is a connection with the bytes read from it and not yet used,
// buf[from:to], and the deadlines set on it. One goroutine reads and one writes;
// abort may come from any.
type wire struct {
	c        net.Conn
	buf      []byte
	from, to int
	now      func() time.Time
	readBy   time.Time // set on c
	writeBy  time.Time // set on c
	aborted  atomic.Bool
	nudged   atomic.Bool
}

// rest is what was read and not used.
func (x *wire) rest() []byte { return x.buf[x.from:x.to] }

// armRead sees to it that a read ends after by and not more than slack later.
// Setting a deadline costs as much as parsing a head, so one that lies in that
// span already is kept.
func (x *wire) armRead(by time.Time, slack time.Duration) {
	if d := x.readBy.Sub(by); d >= 0 && d <= slack {
		return
	}
	x.readBy = by.Add(slack)
	x.c.SetReadDeadline(x.readBy)
}

func (x *wire) armWriteExactly(by time.Time) {
	x.writeBy = by
	x.c.SetWriteDeadline(by)
}

func (x *wire) armWrite(by time.Time, slack time.Duration) {
	if d := x.writeBy.Sub(by); d >= 0 && d <= slack {
		return
	}
	x.writeBy = by.Add(slack)
	x.c.SetWriteDeadline(x.writeBy)
}

// recv reads into p. A timeout before its time was somebody's nudge
// (Shutdown's, or a new deadline): unless the wire was aborted, the caller gets
// errNudged and reads again.
func (x *wire) recv(p []byte, by time.Time, slack time.Duration) (int, error) {
	x.armRead(by, slack)
	if x.aborted.Load() {
		return 0, errAborted
	}
	if x.nudged.Load() && x.nudged.Swap(false) {
		x.readBy = time.Time{}
		return 0, errNudged
	}
	n, err := x.c.Read(p)
	if n > 0 {
		return n, nil
	}
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		if x.aborted.Load() {
			return 0, errAborted
		}
		x.readBy = time.Time{}
		if x.now().Before(by) {
			return 0, errNudged
		}
	}
	return 0, err
}

// more reads into the buffer, which it lets grow to max bytes.
func (x *wire) more(max int, by time.Time, slack time.Duration) error {
	if x.from > 0 {
		copy(x.buf, x.buf[x.from:x.to])
		x.to -= x.from
		x.from = 0
	}
	if x.to == len(x.buf) {
		if len(x.buf) >= max {
			return errFull
		}
		buf := make([]byte, min(max, 4*len(x.buf)))
		copy(buf, x.buf[:x.to])
		x.buf = buf
	}
	n, err := x.recv(x.buf[x.to:], by, slack)
	x.to += n
	return err
}

// nudge has a read in progress, or the next one, return with errNudged. The
// flag is for a reader that is just about to set a deadline over this one.
func (x *wire) nudge() {
	x.nudged.Store(true)
	x.c.SetReadDeadline(past)
}

// abort ends reads and writes in progress and to come.
func (x *wire) abort() {
	x.aborted.Store(true)
	x.c.SetDeadline(past)
}

// content is the body of a message as it is read from a wire: of a stated
// length, chunked, or all that comes until the connection closes.
type content struct {
	x       *wire
	left    int64 // of the body, or of the chunk
	state   contentState
	limits  *contentLimits
	total   int64 // content bytes delivered
	waste   int64 // chunk framing beyond what is fair
	started time.Time
	until   atomic.Pointer[time.Time] // a deadline of the handler's own
	lines   scan
	trailer http.Header
}

type contentState uint8

const (
	contentDone contentState = iota
	contentLength
	contentUntilClose
	contentChunkSize
	contentChunk
	contentChunkEnd
	contentTrailer
)

// contentLimits are the bounds of bodies on one side.
type contentLimits struct {
	step       time.Duration // for the next bytes
	whole      time.Duration // for all of it; 0 means no limit
	rate       int64         // bytes a second to average after step; 0 means any
	bytes      int64         // 0 means any
	lineBytes  int           // of the trailer section
	lines      int
	extensions bool // chunk extensions are skipped instead of refused
}

// reset begins the body of another message.
func (b *content) reset(x *wire, limits *contentLimits) {
	b.x, b.limits = x, limits
	b.left, b.state, b.total, b.waste, b.started, b.trailer = 0, contentDone, 0, 0, time.Time{}, nil
}

// wait says until when the next bytes of the body must arrive.
func (b *content) wait() (by time.Time, slack time.Duration) {
	now := b.x.now()
	if b.started.IsZero() {
		b.started = now
	}
	l := b.limits
	by, slack = now.Add(l.step), l.step/8
	if l.rate > 0 {
		if t := b.started.Add(l.step + time.Duration(b.total/l.rate)*time.Second); t.Before(by) {
			by, slack = t, 0
		}
	}
	if l.whole > 0 {
		if t := b.started.Add(l.whole); t.Before(by) {
			by, slack = t, 0
		}
	}
	if t := b.until.Load(); t != nil && !t.IsZero() && t.Before(by) {
		by, slack = *t, 0
	}
	return by, slack
}

func (b *content) more(max int) error {
	by, slack := b.wait()
	if err := b.x.more(max, by, slack); err != errNudged {
		return err
	}
	return nil
}

// read delivers content. The error is io.EOF at its proper end, a *violation,
// or the connection's.
func (b *content) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		switch b.state {
		case contentDone:
			return 0, io.EOF
		case contentLength, contentUntilClose, contentChunk:
			n, err := b.data(p)
			if n > 0 || err != nil {
				return n, err
			}
		default:
			if err := b.chunkLine(); err != nil {
				return 0, err
			}
		}
	}
}

// data delivers bytes of the body or of the chunk.
func (b *content) data(p []byte) (int, error) {
	x := b.x
	if b.state != contentUntilClose && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	var n int
	switch {
	case x.from < x.to:
		n = copy(p, x.rest())
		x.from += n
	case b.state != contentChunk && len(p) >= 512 || len(p) >= len(x.buf): // straight into the caller's buffer
		by, slack := b.wait()
		var err error
		if n, err = x.recv(p, by, slack); err == errNudged {
			return 0, nil
		} else if err != nil {
			return 0, b.ended(err)
		}
	default:
		if err := b.more(len(x.buf)); err != nil {
			return 0, b.ended(err)
		}
		return 0, nil
	}
	if err := b.count(int64(n)); err != nil {
		return 0, err
	}
	return n, nil
}

// count books n bytes delivered.
func (b *content) count(n int64) error {
	b.total += n
	if b.limits.bytes > 0 && b.total > b.limits.bytes {
		return vBodyBytes
	}
	if b.state == contentUntilClose {
		return nil
	}
	if b.left -= n; b.left == 0 {
		if b.state == contentChunk {
			b.state = contentChunkEnd
		} else {
			b.state = contentDone
		}
	}
	return nil
}

// ended turns the connection's end into the body's, where that is one.
func (b *content) ended(err error) error {
	if err == io.EOF {
		if b.state == contentUntilClose {
			b.state = contentDone
			return io.EOF
		}
		return vShort
	}
	return err
}

// chunkLine reads what stands between the data of chunks (RFC 9112 §7.1).
func (b *content) chunkLine() error {
	switch b.state {
	case contentChunkEnd:
		for b.x.to-b.x.from < 2 {
			if b.x.to > b.x.from && b.x.buf[b.x.from] != '\r' {
				return vChunkEnd
			}
			if err := b.more(len(b.x.buf)); err != nil {
				return b.ended(err)
			}
		}
		if s := b.x.rest(); s[0] != '\r' || s[1] != '\n' {
			return vChunkEnd
		}
		b.x.from += 2
		b.state = contentChunkSize
	case contentChunkSize:
		return b.chunkSize()
	case contentTrailer:
		return b.trailers()
	}
	return nil
}

// maxChunkLine bounds a chunk's first line, extensions and all.
const maxChunkLine = 256

func (b *content) chunkSize() error {
	i := 0
	var size uint64
	for {
		s := b.x.rest()
		if i == len(s) {
			if i > maxChunkLine {
				return vChunkLine
			}
			if err := b.more(len(b.x.buf)); err != nil {
				return b.ended(err)
			}
			continue
		}
		d := unhex(s[i])
		if d > 15 {
			break
		}
		if i++; i > 16 || size>>58 != 0 {
			return vChunkSize
		}
		size = size<<4 | uint64(d)
	}
	if i == 0 {
		return vChunkSize
	}
	digits := i
	for {
		s := b.x.rest()
		if i >= len(s) {
			if i > maxChunkLine {
				return vChunkLine
			}
			if err := b.more(len(b.x.buf)); err != nil {
				return b.ended(err)
			}
			continue
		}
		switch c := s[i]; {
		case c == '\r' && i+1 == len(s):
			if err := b.more(len(b.x.buf)); err != nil {
				return b.ended(err)
			}
			continue
		case c == '\r' && s[i+1] == '\n':
			i += 2
		case c == '\n':
			return vBareLF
		case i == digits && c == ';' && !b.limits.extensions:
			return vChunkExt
		case i == digits && c != ';', c < ' ' && c != '\t', c == 0x7f:
			return vChunkSize
		case i > maxChunkLine:
			return vChunkLine
		default:
			i++
			continue
		}
		break
	}
	b.x.from += i
	if size == 0 {
		b.state = contentTrailer
		b.lines.reset()
		return nil
	}
	if b.waste = max(0, b.waste+int64(i)+2-16-2*int64(min(size, 1<<20))); b.waste > 16<<10 {
		return vChunkWaste
	}
	if b.limits.bytes > 0 && size > uint64(b.limits.bytes-b.total) {
		return vBodyBytes
	}
	b.left, b.state = int64(size), contentChunk
	return nil
}

func (b *content) trailers() error {
	limit := b.limits
	for {
		s := b.x.rest()
		size, v := b.lines.find(s, limit.lines)
		if v != nil {
			if v == vLines {
				v = vTrailerSize
			}
			return v
		}
		if size > 0 {
			if size > limit.lineBytes {
				return vTrailerSize
			}
			err := b.takeTrailers(s, size)
			b.x.from += size
			return err
		}
		if len(s) > limit.lineBytes {
			return vTrailerSize
		}
		if err := b.more(max(len(b.x.buf), limit.lineBytes+2)); err == errFull {
			return vTrailerSize
		} else if err != nil {
			return b.ended(err)
		}
	}
}

func (b *content) takeTrailers(s []byte, size int) error {
	if b.trailer == nil && len(b.lines.ends) > 0 {
		b.trailer = make(http.Header, len(b.lines.ends))
	}
	f := fields{h: b.trailer}
	from := 0
	for _, end := range b.lines.ends {
		name, start, stop, underscore, v := field(s, from, end, from == 0)
		if v != nil {
			return v
		}
		key := string(s[from:name])
		if underscore {
			key = hyphens(key)
		}
		if forbiddenTrailer(key) {
			return vTrailer
		}
		f.add(string(s[from:name]), string(s[start:stop]))
		from = end + 2
	}
	b.state = contentDone
	return nil
}

// gather joins the chunks of a body in place when all of it is in the buffer
// and plain: no extension, no trailer. Whatever else there is, is left to read.
func (b *content) gather() (body []byte, ok bool) {
	s := b.x.rest()
	total, used := 0, 0
	for {
		size, n := plainChunk(s[used:])
		if n == 0 || size > len(s)-used-n-2 {
			return nil, false
		}
		used += n
		if s[used+size] != '\r' || s[used+size+1] != '\n' {
			return nil, false
		}
		used += size + 2
		if total += size; size == 0 {
			break
		}
	}
	for to, from := 0, 0; to < total; {
		size, n := plainChunk(s[from:])
		copy(s[to:], s[from+n:from+n+size])
		to, from = to+size, from+n+size+2
	}
	b.x.from += used
	b.total, b.state = int64(total), contentDone
	return s[:total], true
}

// plainChunk reads a chunk's first line: its size, and its length or 0.
func plainChunk(s []byte) (size, n int) {
	for n < len(s) && n < 7 && unhex(s[n]) < 16 {
		size = size<<4 | int(unhex(s[n]))
		n++
	}
	if n == 0 || n+2 > len(s) || s[n] != '\r' || s[n+1] != '\n' {
		return 0, 0
	}
	return size, n + 2
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}

// hyphens is the canonical name that CGI-like upstreams confuse name with.
func hyphens(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c == '_' {
			b[i] = '-'
		}
	}
	return http.CanonicalHeaderKey(string(b))
}

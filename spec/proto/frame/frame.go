// Package frame reads the frames that gRPC and gRPC-Web wrap messages in: one
// byte of flags, four of length, then the message. In come bytes of a body, or
// a stream of them; out go frames, one at a time, within a bound that is given.
// Lengths that lie are errors before anything is allocated for them. It never
// looks into a message, and knows no HTTP but the media types and the header
// fields that say how frames are written.
package frame

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Flags of a frame.
const (
	Compressed = 1 << 0 // the message is in the stream's grpc-encoding
	Trailer    = 1 << 7 // gRPC-Web: the frame is the trailer
)

// HeadSize is how many bytes stand in front of a message.
const HeadSize = 5

// A Form is how a body carries frames.
type Form struct {
	Web  bool // gRPC-Web: the trailer is a frame too
	Text bool // in base64, in one piece or several
}

// FormOf reads a Content-Type. grpc is false when it is none of gRPC's; proto
// is false when its messages are not in Protocol Buffers.
func FormOf(contentType string) (f Form, grpc, proto bool) {
	const native, web = "application/grpc", "application/grpc-web"
	name := contentType
	if i := strings.IndexByte(name, ';'); i >= 0 {
		name = name[:i]
	}
	name = strings.TrimRight(name, " \t")
	if len(name) < len(native) || !strings.EqualFold(name[:len(native)], native) {
		return f, false, false
	}
	rest := name[len(native):]
	if len(name) >= len(web) && strings.EqualFold(name[:len(web)], web) {
		f.Web, rest = true, name[len(web):]
		if len(rest) >= 5 && strings.EqualFold(rest[:5], "-text") {
			f.Text, rest = true, rest[5:]
		}
	}
	switch {
	case rest == "", strings.EqualFold(rest, "+proto"):
		return f, true, true
	case rest[0] == '+':
		return f, true, false
	}
	return Form{}, false, false
}

// The errors of frames. None of them names anything of the message.
var (
	ErrTruncated = errors.New("a frame is cut off")
	ErrFlags     = errors.New("a frame has flags that no specification knows")
	ErrBase64    = errors.New("the body is no base64")
	ErrTooLarge  = errors.New("a message is larger than the bound")
	ErrInflate   = errors.New("a compressed message cannot be read")
)

// Head reads what stands in front of a message.
func Head(b []byte) (flags byte, size uint32, err error) {
	if len(b) < HeadSize {
		return 0, 0, ErrTruncated
	}
	if b[0]&^(Compressed|Trailer) != 0 {
		return b[0], binary.BigEndian.Uint32(b[1:]), ErrFlags
	}
	return b[0], binary.BigEndian.Uint32(b[1:]), nil
}

// AppendHead appends what stands in front of a message.
func AppendHead(dst []byte, flags byte, size int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, flags), uint32(size))
}

// Next cuts the first frame off a body that is all there. The message is part of b.
func Next(b []byte) (flags byte, message, rest []byte, err error) {
	flags, size, err := Head(b)
	if err != nil {
		return flags, nil, nil, err
	}
	if uint64(size) > uint64(len(b)-HeadSize) {
		return flags, nil, nil, ErrTruncated
	}
	return flags, b[HeadSize : HeadSize+size], b[HeadSize+size:], nil
}

// Decode appends the bytes of a gRPC-Web text body to dst: base64, of which
// pieces that end in padding may follow one another.
func Decode(dst, text []byte) ([]byte, error) {
	if len(text)%4 != 0 {
		return dst, ErrBase64
	}
	for len(text) > 0 {
		n := bytes.IndexByte(text, '=')
		if n < 0 {
			n = len(text)
		} else {
			n = n/4*4 + 4
		}
		at := len(dst)
		dst = append(dst, make([]byte, n/4*3)...)
		k, err := base64.StdEncoding.Decode(dst[at:], text[:n])
		if err != nil || bytes.ContainsAny(text[:n], "\r\n") {
			return dst[:at], ErrBase64
		}
		dst, text = dst[:at+k], text[n:]
	}
	return dst, nil
}

// A TextReader reads the bytes of a gRPC-Web text body as they come.
type TextReader struct {
	R io.Reader

	in  [1024]byte
	n   int // of in
	out []byte
	err error
}

// Read gives decoded bytes; its error is ErrBase64 when the text is none.
func (t *TextReader) Read(b []byte) (int, error) {
	for len(t.out) == 0 {
		if t.err != nil {
			return 0, t.err
		}
		n, err := t.R.Read(t.in[t.n:])
		t.n += n
		whole := t.n / 4 * 4
		if whole > 0 {
			out, derr := Decode(t.out[:0], t.in[:whole])
			if t.out = out; derr != nil {
				err = derr
			}
			t.n = copy(t.in[:], t.in[whole:t.n])
		}
		if err == io.EOF && t.n > 0 {
			err = ErrBase64
		}
		t.err = err
	}
	n := copy(b, t.out)
	t.out = t.out[n:]
	return n, nil
}

// An Inflater inflates messages. The zero value is ready; it belongs to one
// goroutine, and what it gives is good until it is used again.
type Inflater struct {
	zip gzip.Reader
	src bytes.Reader
	out bytes.Buffer
}

// Gzip inflates one message. Beyond max bytes it stops with ErrTooLarge.
func (f *Inflater) Gzip(message []byte, max int64) ([]byte, error) {
	f.src.Reset(message)
	if err := f.zip.Reset(&f.src); err != nil {
		return nil, ErrInflate
	}
	f.zip.Multistream(false)
	if f.out.Cap() > 1<<20 {
		f.out = bytes.Buffer{}
	}
	f.out.Reset()
	n, err := io.Copy(&f.out, io.LimitReader(&f.zip, max+1))
	switch {
	case err != nil:
		return nil, ErrInflate
	case n > max:
		return nil, ErrTooLarge
	case f.src.Len() > 0: // readers differ in what they make of the rest
		return nil, ErrInflate
	}
	return f.out.Bytes(), nil
}

// Timeout reads a grpc-timeout: at most eight digits and a unit.
func Timeout(v string) (time.Duration, bool) {
	if len(v) < 2 || len(v) > 9 {
		return 0, false
	}
	n := int64(0)
	for _, c := range []byte(v[:len(v)-1]) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	unit := time.Duration(0)
	switch v[len(v)-1] {
	case 'H':
		unit = time.Hour
	case 'M':
		unit = time.Minute
	case 'S':
		unit = time.Second
	case 'm':
		unit = time.Millisecond
	case 'u':
		unit = time.Microsecond
	case 'n':
		unit = time.Nanosecond
	default:
		return 0, false
	}
	if n > int64(1<<62)/int64(unit) {
		return 1 << 62, true
	}
	return time.Duration(n) * unit, true
}

// AppendTimeout appends a grpc-timeout, in milliseconds or, when that takes
// more than eight digits, in seconds.
func AppendTimeout(dst []byte, d time.Duration) []byte {
	n, unit := max(int64(d/time.Millisecond), 1), byte('m')
	if n > 99_999_999 {
		n, unit = min(int64(d/time.Second), 99_999_999), 'S'
	}
	digits := [20]byte{}
	i := len(digits)
	for ; n > 0; n /= 10 {
		i--
		digits[i] = byte('0' + n%10)
	}
	return append(append(dst, digits[i:]...), unit)
}

// Fields reads the trailer of a gRPC-Web body: lines of name: value. Names come
// in lower case, in their order.
func Fields(b []byte) (fields [][2]string, ok bool) {
	for len(b) > 0 {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		b = rest
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			continue
		}
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found || len(fields) == 256 || bytes.IndexByte(value, '\r') >= 0 || len(name) == 0 ||
			bytes.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return nil, false
		}
		fields = append(fields, [2]string{strings.ToLower(string(name)), strings.Trim(string(value), " \t")})
	}
	return fields, true
}

// AppendFields appends a trailer as Fields reads it.
func AppendFields(dst []byte, fields [][2]string) []byte {
	for _, f := range fields {
		dst = append(append(append(append(dst, f[0]...), ": "...), f[1]...), "\r\n"...)
	}
	return dst
}

package counters

import (
	"errors"
	"net"
)

// Bounds of what a server may answer: what is asked here is answered by two
// numbers. The client's library makes room for whatever length a server names,
// and follows lists into lists as deep as they go.
const (
	maxText  = 64 << 10
	maxList  = 4096
	maxDepth = 4
)

var errFrames = errors.New("the server answers what is no answer, or far too long a one")

// frames follows the framing of the Redis serialisation protocol (RESP 2 and
// 3) and stops a server that breaks its bounds.
type frames struct {
	skip  int // bytes of a text that are still to come, its line end too
	kind  byte
	n     int  // number in the line
	digit bool // the line holds one
	minus bool
	line  int // its length so far
	left  [maxDepth]int
	depth int
}

// pass looks at the next bytes of the stream.
func (f *frames) pass(b []byte) error {
	for i := 0; i < len(b); {
		if f.skip > 0 {
			n := min(f.skip, len(b)-i)
			f.skip -= n
			if i += n; f.skip == 0 {
				f.element()
			}
			continue
		}
		c := b[i]
		i++
		if f.line++; f.line > maxText {
			return errFrames
		}
		switch {
		case f.line == 1:
			f.kind, f.n, f.digit, f.minus = c, 0, false, false
		case c == '\n':
			if err := f.end(); err != nil {
				return err
			}
			f.line = 0
		case !lengthy(f.kind):
		case c == '-':
			f.minus = true
		case c >= '0' && c <= '9':
			f.digit = true
			if f.n = f.n*10 + int(c-'0'); f.n > maxText {
				return errFrames
			}
		case c != '\r':
			return errFrames // a length in parts is never asked for
		}
	}
	return nil
}

// lengthy reports whether a line of this kind announces a length.
func lengthy(kind byte) bool {
	switch kind {
	case '$', '=', '!', '*', '%', '~', '>', '|':
		return true
	}
	return false
}

// end closes a line.
func (f *frames) end() error {
	switch f.kind {
	case '$', '=', '!':
		if !f.digit {
			return errFrames
		}
		if !f.minus {
			f.skip = f.n + 2
			return nil
		}
	case '*', '%', '~', '>', '|':
		if f.kind == '%' || f.kind == '|' {
			f.n *= 2
		}
		if f.kind == '|' {
			f.n++ // and the value that it is said of
		}
		if !f.digit || f.n > maxList || f.depth == maxDepth {
			return errFrames
		}
		if !f.minus && f.n > 0 {
			f.left[f.depth] = f.n
			f.depth++
			return nil
		}
	case '+', '-', ':', '_', ',', '#', '(':
	default:
		return errFrames
	}
	f.element()
	return nil
}

// element counts one as complete, and the lists that it completes.
func (f *frames) element() {
	for f.depth > 0 {
		if f.left[f.depth-1]--; f.left[f.depth-1] > 0 {
			return
		}
		f.depth--
	}
}

// framed is a connection whose other end is held to frames.
type framed struct {
	net.Conn
	f frames
}

// Read implements net.Conn.
func (c *framed) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if bad := c.f.pass(b[:n]); bad != nil {
		c.Conn.Close()
		return 0, bad
	}
	return n, err
}

package observe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"sallyport.dev"
)

// Most exchanges that a journal consumes are plain allows, of which it needs to
// know very little. A glance is that little, read straight from the event's
// CBOR (RFC 8949); raw is the exchange as it stands there, to be decoded by
// those who want to see it.
type glance struct {
	id     string
	at     time.Time
	api    string
	status int
	action sallyport.Action
	plain  bool // allowed, without reasons
	source bool // read from a source: nobody decided about it
	raw    []byte
}

var errWire = errors.New("not an event")

// glances reads the exchanges of an event; each is told how many are left, it
// included.
func glances(event []byte, each func(g *glance, left int)) error {
	w := wire{b: event}
	for range w.head(5) {
		if key := w.uint(); key != 1 {
			w.skip(0)
			continue
		}
		for left := w.head(4); left > 0; left-- {
			start := w.at
			g := glance{plain: true, action: sallyport.ActionAllow}
			w.exchange(&g)
			if w.failed {
				break
			}
			g.raw = event[start:w.at]
			each(&g, int(left))
		}
	}
	if w.failed {
		return errWire
	}
	return nil
}

// exchange decodes the whole of what g shows.
func (g *glance) exchange() (*sallyport.Exchange, error) {
	var e sallyport.Event
	if err := e.UnmarshalBinary(g.event()); err != nil {
		return nil, err
	}
	if len(e.Exchanges) != 1 {
		return nil, fmt.Errorf("decode exchange: %w", errWire)
	}
	return &e.Exchanges[0], nil
}

// event is an event of this one exchange.
func (g *glance) event() []byte {
	const one = "\xa1\x01\x81" // {1: [ …
	return append(append(make([]byte, 0, len(one)+len(g.raw)), one...), g.raw...)
}

// wire reads CBOR. After a mistake failed is set and everything reads as zero.
type wire struct {
	b      []byte
	at     int
	failed bool
	api    string // the last one: the next is mostly the same
}

const maxNesting = 16

func (w *wire) fail() uint64 {
	w.failed = true
	w.at = len(w.b)
	return 0
}

// any reads the head of an item: its major type, and its argument.
func (w *wire) any() (major byte, info byte, arg uint64) {
	if w.at >= len(w.b) {
		return 0, 0, w.fail()
	}
	c := w.b[w.at]
	w.at++
	major, info = c>>5, c&31
	if info < 24 {
		return major, info, uint64(info)
	}
	if info > 27 {
		return major, info, w.fail() // indefinite lengths are never written
	}
	n := 1 << (info - 24)
	if len(w.b)-w.at < n {
		return major, info, w.fail()
	}
	switch p := w.b[w.at:]; n {
	case 1:
		arg = uint64(p[0])
	case 2:
		arg = uint64(binary.BigEndian.Uint16(p))
	case 4:
		arg = uint64(binary.BigEndian.Uint32(p))
	case 8:
		arg = binary.BigEndian.Uint64(p)
	}
	w.at += n
	return major, info, arg
}

// head is the length of an array (4) or a map (5).
func (w *wire) head(want byte) uint64 {
	major, _, n := w.any()
	if major != want || n > uint64(len(w.b)-w.at) {
		return w.fail()
	}
	return n
}

func (w *wire) uint() uint64 {
	major, _, n := w.any()
	if major != 0 {
		return w.fail()
	}
	return n
}

func (w *wire) text() string { return string(w.bytes()) }

// bytes are the bytes of a text.
func (w *wire) bytes() []byte {
	major, _, n := w.any()
	if major != 3 || n > uint64(len(w.b)-w.at) {
		w.fail()
		return nil
	}
	w.at += int(n)
	return w.b[w.at-int(n) : w.at]
}

// time reads microseconds since 1970 or, in older events, seconds.
func (w *wire) time() time.Time {
	major, info, n := w.any()
	switch {
	case w.failed:
	case major == 0 && n > 1<<40:
		return time.UnixMicro(int64(n))
	case major == 0:
		return time.Unix(int64(n), 0)
	case major == 1:
		return time.UnixMicro(-1 - int64(n))
	case major == 7 && info == 27:
		s, f := math.Modf(math.Float64frombits(n))
		return time.Unix(int64(s), int64(f*1e9)).Round(time.Microsecond)
	case major == 7 && (info == 22 || info == 26 || info == 25):
		return time.Time{} // null, or a shorter float that no time of today fits
	default:
		w.fail()
	}
	return time.Time{}
}

// skip passes over one item of any kind.
func (w *wire) skip(depth int) {
	major, _, n := w.any()
	if depth > maxNesting {
		w.fail()
	}
	switch major {
	case 2, 3:
		if n > uint64(len(w.b)-w.at) {
			w.fail()
			return
		}
		w.at += int(n)
	case 5:
		if n > uint64(len(w.b)) {
			w.fail()
			return
		}
		n *= 2
		fallthrough
	case 4:
		for ; n > 0 && !w.failed; n-- {
			w.skip(depth + 1)
		}
	case 6:
		w.skip(depth + 1)
	}
}

// exchange reads the members of an exchange that a glance holds.
func (w *wire) exchange(g *glance) {
	for n := w.head(5); n > 0 && !w.failed; n-- {
		switch w.uint() {
		case 1:
			g.id = w.text()
		case 2:
			g.at = w.time()
		case 5:
			g.source = bytes.HasPrefix(w.bytes(), []byte(SourcePrefix))
		case 6:
			if b := w.bytes(); string(b) != w.api {
				w.api = string(b)
			}
			g.api = w.api
		case 17:
			g.status = int(w.uint())
		case 25:
			for m := w.head(5); m > 0 && !w.failed; m-- {
				switch w.uint() {
				case 1:
					if b := w.bytes(); len(b) > 0 && string(b) != string(sallyport.ActionAllow) {
						g.action, g.plain = sallyport.Action(b), false
					}
				case 4:
					k := w.head(4)
					g.plain = g.plain && k == 0
					for ; k > 0 && !w.failed; k-- {
						w.skip(2)
					}
				default:
					w.skip(2)
				}
			}
		default:
			w.skip(1)
		}
	}
}

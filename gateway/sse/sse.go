// Package sse takes a stream of server-sent events (HTML standard, section
// 9.2.6) apart as it passes. In come pieces of the stream as they arrive; out go
// its blocks, each as soon as the empty line that ends it is there, with the
// bytes as they came and the data that a client would read out of them. It holds
// one block, up to a bound, and changes nothing unless asked.
package sse

import "bytes"

// A Block is what stands between two empty lines, its own included: an event,
// or comments only.
type Block struct {
	Raw   []byte // as it came; good until the next Write
	Data  []byte // the lines of data, joined; nil when there are none
	Event string // its type, "" when not said
	// Over says that the block is longer than the bound: Raw is a part of it,
	// and Data is not to be had.
	Over bool
}

// A Reader takes blocks out of what is written to it. It belongs to one
// goroutine. Max is the most that a block may have, in bytes.
type Reader struct {
	Max int

	buf   []byte
	at    int // begin of what was not handed over
	scan  int // how far it has been looked at
	line  int // begin of the line in progress
	began bool
	cr    bool // the block before ended with a CR, whose LF may follow
	over  bool // the block in progress is longer than the bound
}

// Write takes the next piece of the stream. What was handed over before is gone.
func (r *Reader) Write(b []byte) {
	r.buf = append(r.buf[:0], r.buf[r.at:]...)
	r.scan, r.line, r.at = r.scan-r.at, r.line-r.at, 0
	r.buf = append(r.buf, b...)
	if cap(r.buf) > 64<<10 && len(r.buf) < 4<<10 {
		r.buf = append([]byte(nil), r.buf...)
	}
}

// Next gives the next block that is there.
func (r *Reader) Next() (Block, bool) {
	if r.cr && r.at < len(r.buf) {
		r.cr = false
		if r.buf[r.at] == '\n' { // the rest of a line end that is out already
			raw := r.buf[r.at : r.at+1]
			r.at++
			r.scan, r.line = r.at, r.at
			return Block{Raw: raw}, true
		}
	}
	for ; r.scan < len(r.buf); r.scan++ {
		c := r.buf[r.scan]
		if c != '\n' && c != '\r' {
			continue
		}
		if c == '\n' && r.scan == r.line && r.scan > r.at && r.buf[r.scan-1] == '\r' {
			r.line = r.scan + 1 // the second half of a line end
			continue
		}
		empty := r.scan == r.line
		if !r.began && r.at == 0 && r.scan == 3 && bytes.HasPrefix(r.buf, bom) {
			empty = true
		}
		r.line = r.scan + 1
		if !empty {
			continue
		}
		end := r.scan + 1
		if c == '\r' {
			if end < len(r.buf) {
				if r.buf[end] == '\n' {
					end++
				}
			} else {
				r.cr = true
			}
		}
		b := Block{Raw: r.buf[r.at:end], Over: r.over}
		if !r.over {
			b.read(!r.began)
		}
		r.at, r.scan, r.line, r.over, r.began = end, end, end, false, true
		return b, true
	}
	if r.over && r.at < len(r.buf) || len(r.buf)-r.at > r.Max {
		b := Block{Raw: r.buf[r.at:], Over: true}
		if r.line == len(r.buf) { // what comes next may be the empty line
			b.Raw = r.buf[r.at : len(r.buf)-1]
		}
		if len(b.Raw) == 0 {
			return Block{}, false
		}
		r.at += len(b.Raw)
		r.over, r.began = true, true
		if r.line < r.at {
			r.line = -1 // the line in progress is not empty
		}
		return b, true
	}
	return Block{}, false
}

// Rest gives what is left when the stream has ended: no client reads an event
// out of it.
func (r *Reader) Rest() []byte { return r.buf[r.at:] }

var bom = []byte("\xef\xbb\xbf")

// lines calls f with each line of a block, without its end, and that end.
func lines(raw []byte, f func(line, end []byte)) {
	for len(raw) > 0 {
		i := bytes.IndexAny(raw, "\r\n")
		if i < 0 {
			f(raw, nil)
			return
		}
		n := i + 1
		if raw[i] == '\r' && n < len(raw) && raw[n] == '\n' {
			n++
		}
		f(raw[:i], raw[i:n])
		raw = raw[n:]
	}
}

func field(line []byte) (name, value []byte) {
	name, value, _ = bytes.Cut(line, []byte(":"))
	return name, bytes.TrimPrefix(value, []byte(" "))
}

func (b *Block) read(first bool) {
	raw := b.Raw
	if first {
		raw = bytes.TrimPrefix(raw, bom)
	}
	lines(raw, func(line, _ []byte) {
		switch name, value := field(line); string(name) {
		case "data":
			if b.Data == nil {
				b.Data = make([]byte, 0, len(value))
			} else {
				b.Data = append(b.Data, '\n')
			}
			b.Data = append(b.Data, value...)
		case "event":
			b.Event = string(value)
		}
	})
}

// With is the block with other data: its other lines stay as they are, in their
// order, and the new data stands where the first line of the old did.
func (b *Block) With(data []byte) []byte {
	var out []byte
	done := false
	lines(b.Raw, func(line, end []byte) {
		if name, _ := field(bytes.TrimPrefix(line, bom)); string(name) != "data" {
			out = append(append(out, line...), end...)
			return
		}
		if done {
			return
		}
		done = true
		for part := range bytes.SplitSeq(data, []byte("\n")) {
			out = append(out, "data: "...)
			out = append(append(out, bytes.TrimSuffix(part, []byte("\r"))...), end...)
		}
	})
	return out
}

package store

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Messages travel and are stored compressed: the records of a batch are much
// alike, and a tenth of the bytes need not be copied, encrypted and written
// once and copied to each consumer.
const (
	encodingHeader = "Sallyport-Encoding"
	encodingS2     = "s2"
	compressFrom   = 1 << 10  // bytes; less is left as it is
	decodedMost    = 64 << 20 // bytes of a message that is taken
)

var scratch = sync.Pool{New: func() any { return new([]byte) }}

// compress gives m data, in fewer bytes if that is possible.
func compress(m *nats.Msg, data []byte) {
	m.Data = data
	if len(data) < compressFrom {
		return
	}
	b := scratch.Get().(*[]byte)
	defer scratch.Put(b)
	if n := s2.MaxEncodedLen(len(data)); cap(*b) < n {
		*b = make([]byte, n)
	}
	small := s2.Encode((*b)[:cap(*b)], data)
	if len(small) >= len(data) {
		return
	}
	m.Data = bytes.Clone(small)
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	m.Header[encodingHeader] = []string{encodingS2}
}

// decompress is the data that was given to compress, in memory of its own.
func decompress(header nats.Header, data []byte) ([]byte, error) {
	switch encoding := header[encodingHeader]; {
	case len(encoding) == 0:
		return data, nil
	case encoding[0] != encodingS2:
		return nil, fmt.Errorf("encoding %.20q is not known", encoding[0])
	}
	n, err := s2.DecodedLen(data)
	if err != nil {
		return nil, err
	}
	if n > decodedMost {
		return nil, errors.New("too large")
	}
	return s2.Decode(nil, data)
}

// decoded remembers the last messages that were decompressed: the consumers of
// a process mostly read the same one at about the same time.
type decoded struct {
	mu   sync.Mutex
	last [8]Message
	next int
}

func (d *decoded) find(seq uint64, at time.Time) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.last {
		if d.last[i].Seq == seq && d.last[i].Time.Equal(at) {
			return d.last[i].Data
		}
	}
	return nil
}

func (d *decoded) keep(seq uint64, at time.Time, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last[d.next] = Message{Seq: seq, Time: at, Data: data}
	d.next = (d.next + 1) % len(d.last)
}

// data is what was published as m, decompressed.
func (s *Stream) data(m jetstream.Msg, seq uint64, at time.Time) ([]byte, error) {
	header := m.Headers()
	if len(header[encodingHeader]) == 0 {
		return m.Data(), nil
	}
	if data := s.decoded.find(seq, at); data != nil {
		return data, nil
	}
	data, err := decompress(header, m.Data())
	if err == nil {
		s.decoded.keep(seq, at, data)
	}
	return data, err
}

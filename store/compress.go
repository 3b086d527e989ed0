package store

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
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

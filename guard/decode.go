package guard

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"

	sallyport "sallyport.dev"

	"github.com/klauspost/compress/zstd"
)

var (
	errCoding  = errors.New("the Content-Encoding is unknown, nested too deep, or broken")
	errDecoded = errors.New("the decoded body is longer than the bound")
)

// maxCodings bounds the encodings of one body that are undone.
const maxCodings = 2

// decode undoes the Content-Encoding of a body (RFC 9110, section 8.4): gzip,
// deflate and zstd, at most two of them, each of one member with nothing behind
// it. No step makes more than limit bytes.
func decode(b []byte, encoding string, limit int64) ([]byte, error) {
	list := strings.Split(encoding, ",")
	if len(list) > maxCodings {
		return nil, errCoding
	}
	for i := len(list) - 1; i >= 0; i-- {
		src := bytes.NewReader(b)
		var r io.Reader
		var err error
		switch strings.ToLower(strings.TrimSpace(list[i])) {
		case "identity":
			continue
		case "gzip", "x-gzip":
			var z *gzip.Reader
			if z, err = gzip.NewReader(src); err == nil {
				z.Multistream(false) // of several members some readers take the first only
				r = z
			}
		case "deflate":
			r, err = zlib.NewReader(src)
		case "zstd":
			var z *zstd.Decoder
			if z, err = zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderMaxMemory(uint64(limit)+1)); err == nil {
				defer z.Close()
				r = z
			}
		default:
			return nil, errCoding
		}
		if err != nil {
			return nil, errCoding
		}
		out, err := io.ReadAll(io.LimitReader(r, limit+1))
		switch {
		case int64(len(out)) > limit || errors.Is(err, zstd.ErrDecoderSizeExceeded):
			return nil, errDecoded
		case err != nil || src.Len() > 0:
			return nil, errCoding
		}
		b = out
	}
	return b, nil
}

// undo decodes the body that is at hand. ok is false when it cannot be read.
func (s *Session) undo(b []byte) (text []byte, ok bool) {
	text, err := decode(b, s.coding, s.api.bounds.Body)
	if err != nil {
		r := refusedMediaType
		if errors.Is(err, errDecoded) {
			r = refusedTooLarge
		}
		s.miss("body: it has a content-encoding that could not be undone")
		s.unreadable(true, r, "body.content-encoding", err.Error())
		return nil, false
	}
	if s.op.modes[validate] == sallyport.Enforce || s.op.modes[inspecting] == sallyport.Enforce {
		s.decoded = text
	}
	return text, true
}

package silent

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"
)

// ErrUnread is the reason for which an error body cannot be looked at.
var ErrUnread = errors.New("the body cannot be read")

// Readable gives a body without its Content-Encoding, of at most limit bytes.
// gzip and deflate are read; of any other coding, several codings, a body that
// is longer or broken, or characters that are not ASCII's own, the error is
// ErrUnread. What it gives may be b.
func Readable(b []byte, encoding, contentType string, limit int64) ([]byte, error) {
	if wideCharacters(contentType) || bytes.IndexByte(b, 0) >= 0 && encoding == "" {
		return nil, ErrUnread
	}
	var r io.ReadCloser
	var err error
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		if int64(len(b)) > limit {
			return nil, ErrUnread
		}
		return b, nil
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(bytes.NewReader(b))
	case "deflate":
		if r, err = zlib.NewReader(bytes.NewReader(b)); err != nil {
			r, err = flate.NewReader(bytes.NewReader(b)), nil // as some send it (RFC 9110, section 8.4.1.2)
		}
	default:
		return nil, ErrUnread
	}
	if err != nil {
		return nil, ErrUnread
	}
	out, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil || int64(len(out)) > limit || bytes.IndexByte(out, 0) >= 0 {
		return nil, ErrUnread
	}
	return out, nil
}

// wideCharacters reports whether a media type names characters in which a
// letter is not one byte of ASCII.
func wideCharacters(contentType string) bool {
	_, charset, ok := strings.Cut(strings.ToLower(contentType), "charset=")
	if !ok {
		return false
	}
	charset, _, _ = strings.Cut(strings.Trim(charset, `"' `), ";")
	charset = strings.Trim(charset, `"' `)
	return charset != "utf-8" && charset != "utf8" && charset != "us-ascii" && charset != "ascii" && !strings.HasPrefix(charset, "iso-8859-") && !strings.HasPrefix(charset, "windows-125")
}

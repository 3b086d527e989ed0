package spec_test

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"strings"
	"testing"

	"sallyport.dev/spec"
)

// taken is what Parts makes of a form that is fed in steps.
func taken(t testing.TB, contentType string, body []byte, step int) (names, contents []string, err error) {
	t.Helper()
	p, err := spec.NewParts(contentType)
	if err != nil {
		return nil, nil, err
	}
	p.Field = 1 << 20
	var raw []byte
	last := false
	for at := 0; ; at += step {
		if at < len(body) {
			p.Feed(body[at:min(at+step, len(body))])
		} else {
			p.End()
		}
		for {
			piece, ok, err := p.Next()
			if err != nil {
				var e *spec.PartsError
				if !errors.As(err, &e) || !bytes.HasPrefix(body, raw) {
					t.Fatalf("%v after %q", err, raw)
				}
				return names, contents, err
			}
			if !ok {
				break
			}
			raw = append(raw, piece.Raw...)
			last = last || piece.Last
			switch {
			case piece.Part != nil:
				head, content, ok := bytes.Cut(piece.Part, []byte("\r\n\r\n"))
				if !ok || !bytes.Equal(content, piece.More) {
					t.Fatalf("a part of %q has the content %q", piece.Part, piece.More)
				}
				names, contents = append(names, string(head)), append(contents, string(piece.More))
			case !piece.Last:
				contents[len(contents)-1] += string(piece.More)
			}
			if len(raw)+p.Held() > at+step {
				t.Fatalf("%d bytes were made of %d", len(raw)+p.Held(), at+step)
			}
		}
		if at >= len(body) {
			break
		}
	}
	if !last || !bytes.Equal(raw, body) {
		t.Fatalf("%q was given on as %q, last %v", body, raw, last)
	}
	return names, contents, nil
}

// FuzzParts compares with mime/multipart: what Parts takes apart, that one takes
// apart in the same way, however the bytes come; it refuses more.
func FuzzParts(f *testing.F) {
	field, file := "--b\r\nContent-Disposition: form-data; name=a\r\n\r\nvalue", "\r\n--b\r\nContent-Disposition: form-data; name=f; filename=x.png\r\nContent-Type: image/png\r\n\r\n\x89PNG "
	for _, s := range []string{
		field + file + strings.Repeat("x", 9000) + "\r\n--b--\r\n", field + "\r\n--b--", field + "\r\n--b--\r\n\r\n", "--b--\r\n", "--b--", "", "--b", "--b\r\n", field, field + "\r\n--b-", field + "\r\n--b--\r",
		"preamble\r\n" + field + "\r\n--b--\r\n", field + "\r\n--b--\r\nbehind", field + "\r\n--b--x", field + "\r\n--bx\r\n\r\n--b--", "\r\n" + field + "\r\n--b--", field + "\n--b--\n",
		field + "\r\n--b \r\nContent-Disposition: form-data; name=c\r\n\r\n1\r\n--b--", "--b\r\n\r\nx\r\n--b--", "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n--b--\r\n", "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--b--\r\n",
		"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n--b\r\nContent-Disposition: form-data; name=c\r\n\r\n1\r\n--b--", field + "\r\n--" + file + "\r\n--b\r\n" + "\r\n--b--", field + file + "\r\r\n--\r\n--b\r\r\n--b--\r\n",
		"--b\r\nContent-Disposition: form-data; name=a\r\nX: \r\n--b\r\n\r\n1\r\n--b--", "--b\r\n" + strings.Repeat("X: y\r\n", 9) + "Content-Disposition: form-data; name=a\r\n\r\n1\r\n--b--",
	} {
		f.Add([]byte(s))
	}
	const contentType = "multipart/form-data; boundary=b"
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 64<<10 {
			return
		}
		names, contents, err := taken(t, contentType, body, len(body)+1)
		if len(body) < 2000 {
			_, drip, again := taken(t, contentType, body, 1)
			if (err == nil) != (again == nil) || err == nil && strings.Join(drip, "|") != strings.Join(contents, "|") {
				t.Fatalf("%q at once: %q, %v; byte by byte: %q, %v", body, contents, err, drip, again)
			}
		}
		var c spec.Check
		(*spec.Operation)(nil).CheckBody(&c, contentType, body)
		if (len(c.Problems) == 0) != (err == nil) && len(body) > 0 {
			for _, p := range c.Problems {
				if strings.HasPrefix(p.Rule, "multipart.syntax") != (err != nil) {
					t.Fatalf("%q: as a stream %v, whole %+v", body, err, c.Problems)
				}
			}
		}
		if err != nil {
			return
		}
		r := multipart.NewReader(bytes.NewReader(body), "b")
		for i := 0; ; i++ {
			part, err := r.NextRawPart()
			if err == io.EOF && i == len(names) {
				return
			}
			if err != nil || i == len(names) {
				t.Fatalf("%q: part %d of %d, %v", body, i, len(names), err)
			}
			content, err := io.ReadAll(part)
			if err != nil || string(content) != contents[i] {
				t.Fatalf("%q: part %d is %q, not %q; %v", body, i, content, contents[i], err)
			}
		}
	})
}

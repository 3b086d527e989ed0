package frame_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"sallyport.dev/spec/proto/frame"
)

func TestFormOf(t *testing.T) {
	for in, want := range map[string]struct {
		form        frame.Form
		grpc, proto bool
	}{
		"application/grpc":                      {frame.Form{}, true, true},
		"Application/GRPC+Proto; charset=utf-8": {frame.Form{}, true, true},
		"application/grpc+json":                 {frame.Form{}, true, false},
		"application/grpc-web":                  {frame.Form{Web: true}, true, true},
		"application/grpc-web-text+proto":       {frame.Form{Web: true, Text: true}, true, true},
		"application/grpc-web-textual":          {},
		"application/grpcish":                   {},
		"application/json":                      {},
		"":                                      {},
		"application/grpc-web-text+thrift":      {frame.Form{Web: true, Text: true}, true, false},
	} {
		form, grpc, proto := frame.FormOf(in)
		if form != want.form || grpc != want.grpc || proto != want.proto {
			t.Errorf("%q: %+v %v %v, want %+v", in, form, grpc, proto, want)
		}
	}
}

func TestTimeout(t *testing.T) {
	for in, want := range map[string]time.Duration{"1S": time.Second, "99999999n": 99999999, "5H": 5 * time.Hour, "250m": 250 * time.Millisecond,
		"": -1, "S": -1, "1": -1, "-1S": -1, "123456789S": -1, "1s": -1, "1.5S": -1, " 1S": -1} {
		d, ok := frame.Timeout(in)
		if ok != (want >= 0) || ok && d != want {
			t.Errorf("%q: %v %v", in, d, ok)
		}
	}
	for _, d := range []time.Duration{1, time.Millisecond, time.Hour, 1e6 * time.Hour} {
		if back, ok := frame.Timeout(string(frame.AppendTimeout(nil, d))); !ok || back > max(d, time.Millisecond) {
			t.Errorf("%v became %v", d, back)
		}
	}
}

// FuzzText: a text body reads the same at once and as it drips, in pieces and in one.
func FuzzText(f *testing.F) {
	f.Add([]byte("AAAA"), []byte("hello"))
	f.Add([]byte("AA==BBBB"), []byte(""))
	f.Add([]byte("A"), []byte{0, 0, 0, 0, 1, 9})
	f.Add([]byte("AA==\n"), []byte{0})
	f.Fuzz(func(t *testing.T, text, plain []byte) {
		at, err := frame.Decode(nil, text)
		drip, derr := io.ReadAll(&frame.TextReader{R: iotest.OneByteReader(bytes.NewReader(text))})
		if (err == nil) != (derr == nil) || err == nil && !bytes.Equal(at, drip) {
			t.Fatalf("%q: %x (%v) at once, %x (%v) dripping", text, at, err, drip, derr)
		}
		half := len(plain) / 2
		pieces := base64.StdEncoding.EncodeToString(plain[:half]) + base64.StdEncoding.EncodeToString(plain[half:])
		if back, err := frame.Decode(nil, []byte(pieces)); err != nil || !bytes.Equal(back, plain) {
			t.Fatalf("%x came back as %x (%v)", plain, back, err)
		}
	})
}

// FuzzFrames: whatever the bytes, frames are parts of them, in order.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 9, 1, 0, 0, 0, 0})
	f.Add([]byte{0, 255, 255, 255, 255})
	f.Add([]byte("\x80\x00\x00\x00\x05\r: x\n"))
	f.Add([]byte{128, 0, 0, 0, 16, 'g', 'r', 'p', 'c', '-', 's', 't', 'a', 't', 'u', 's', ':', ' ', '0', '\r', '\n'})
	f.Fuzz(func(t *testing.T, b []byte) {
		var z frame.Inflater
		rest := b
		for len(rest) > 0 {
			flags, m, next, err := frame.Next(rest)
			if err != nil {
				break
			}
			if len(m)+len(next)+frame.HeadSize != len(rest) {
				t.Fatal("bytes are lost")
			}
			if flags&frame.Trailer != 0 {
				if fields, ok := frame.Fields(m); ok {
					if again, ok := frame.Fields(frame.AppendFields(nil, fields)); !ok || len(again) != len(fields) {
						t.Fatalf("%q reads as %q again", fields, again)
					}
				}
			}
			if out, err := z.Gzip(m, 1<<10); err == nil && len(out) > 1<<10 || err != nil && !errors.Is(err, frame.ErrInflate) && !errors.Is(err, frame.ErrTooLarge) {
				t.Fatal("more than the bound, or an error of its own", err)
			}
			rest = next
		}
	})
}

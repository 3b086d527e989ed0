package h2_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sallyport.dev/gateway/h2"
)

// wire is a connection whose client has said everything.
type wire struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (w *wire) Read(b []byte) (int, error)  { return w.in.Read(b) }
func (w *wire) Write(b []byte) (int, error) { return w.out.Write(b) }

func bounds() h2.Bounds {
	return h2.Bounds{Frame: 16 << 10, Head: 8 << 10, Frames: 10, Streams: 100, Resets: 1 << 20}
}

// said gives what frames make of a connection: what the server reads, and the rules that were broken.
func said(in io.Reader, most int64) (out []byte, rules []string) {
	c := h2.New(&wire{in: in}, bounds(), func(r *h2.Refusal) { rules = append(rules, r.Rule) }, func() time.Time { return time.Unix(0, 0) })
	out, _ = io.ReadAll(io.LimitReader(c, most))
	return out, rules
}

func request(f *http2.Framer, id uint32, ended bool, fields ...string) {
	var head bytes.Buffer
	e := hpack.NewEncoder(&head)
	e.SetMaxDynamicTableSize(0)
	for i := 0; i < len(fields); i += 2 {
		e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: ended, BlockFragment: head.Bytes()})
}

var get = []string{":method", "GET", ":scheme", "https", ":authority", "a", ":path", "/"}

// What breaks no rule passes byte for byte, however it comes.
func TestPasses(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(h2.Preface)
	f := http2.NewFramer(&b, nil)
	f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
	request(f, 1, false, get...)
	f.WriteData(1, false, bytes.Repeat([]byte("x"), 16<<10))
	f.WriteDataPadded(1, false, bytes.Repeat([]byte("x"), 300), make([]byte, 200))
	request(f, 1, true, "x-sum", "1")
	request(f, 3, true, append(get, "x-a", strings.Repeat("~", 6000))...)
	f.WritePing(false, [8]byte{})
	f.WriteRawFrame(0xfa, 0, 0, []byte("what is this"))
	f.WriteGoAway(0, 0, []byte("bye"))
	for name, in := range map[string]io.Reader{
		"at once": bytes.NewReader(b.Bytes()), "byte by byte": iotest.OneByteReader(bytes.NewReader(b.Bytes())),
		"with the end": iotest.DataErrReader(bytes.NewReader(b.Bytes())), "by halves": iotest.HalfReader(bytes.NewReader(b.Bytes())),
	} {
		if out, rules := said(in, 1<<20); !bytes.Equal(out, b.Bytes()) || len(rules) > 0 {
			t.Errorf("%s: %d bytes of %d passed, rules %q", name, len(out), b.Len(), rules)
		}
	}
}

// The last value of a parameter is the one in force, wherever leaving the others
// out changes nothing.
func TestSettings(t *testing.T) {
	list := func(pairs ...uint32) (all []http2.Setting) {
		for i := 0; i < len(pairs); i += 2 {
			all = append(all, http2.Setting{ID: http2.SettingID(pairs[i]), Val: pairs[i+1]})
		}
		return all
	}
	for _, tt := range []struct{ in, want []http2.Setting }{
		{list(4, 1, 4, 2), list(4, 2)},
		{list(4, 1, 5, 1<<15, 4, 2, 5, 1<<14, 3, 9), list(4, 2, 5, 1<<14, 3, 9)},
		{list(1, 0, 1, 4096), list(1, 0, 1, 4096)},                // the least counts too
		{list(4, 1<<31, 4, 2), list(4, 1<<31, 4, 2)},              // an error by itself
		{list(2, 7, 2, 1, 2, 0), list(2, 7, 2, 0)},                // so is the first
		{list(0xabcd, 1, 0xabcd, 2, 6, 1), list(0xabcd, 2, 6, 1)}, // unknown
	} {
		frame := func(p []http2.Setting) []byte {
			var b bytes.Buffer
			b.WriteString(h2.Preface)
			http2.NewFramer(&b, nil).WriteSettings(p...)
			return b.Bytes()
		}
		if out, _ := said(bytes.NewReader(frame(tt.in)), 1<<20); !bytes.Equal(out, frame(tt.want)) {
			t.Errorf("%v: got % x, want % x", tt.in, out[24:], frame(tt.want)[24:])
		}
	}
}

// The code with which a connection ends is ours, whoever wrote the GOAWAY, and
// wherever the writes are cut.
func TestGoAwayCode(t *testing.T) {
	for step := 1; step < 60; step += 7 {
		var b, server bytes.Buffer
		b.WriteString(h2.Preface)
		f := http2.NewFramer(&b, nil)
		for range 101 {
			f.WritePing(false, [8]byte{})
		}
		w := &wire{in: &b}
		var rules []string
		c := h2.New(w, bounds(), func(r *h2.Refusal) { rules = append(rules, r.Rule) }, func() time.Time { return time.Unix(0, 0) })
		io.Copy(io.Discard, c)
		s := http2.NewFramer(&server, nil)
		s.WritePing(true, [8]byte{})
		s.WriteGoAway(7, http2.ErrCodeProtocol, []byte("because"))
		s.WriteData(1, true, []byte("rest"))
		for p := server.Bytes(); len(p) > 0; {
			n := min(step, len(p))
			if m, err := c.Write(p[:n]); m != n || err != nil {
				t.Fatal(m, err)
			}
			p = p[n:]
		}
		r := http2.NewFramer(nil, &w.out)
		r.ReadFrame()
		fr, err := r.ReadFrame()
		if g, ok := fr.(*http2.GoAwayFrame); err != nil || !ok || g.ErrCode != http2.ErrCodeEnhanceYourCalm || string(g.DebugData()) != "because" || g.LastStreamID != 7 {
			t.Errorf("steps of %d: %v %v", step, fr, err)
		}
		if fr, err := r.ReadFrame(); err != nil || fr.Header().Type != http2.FrameData {
			t.Errorf("steps of %d: behind it %v %v", step, fr, err)
		}
		if len(rules) != 1 || rules[0] != "h2.flood.frames" {
			t.Errorf("rules %q", rules)
		}
	}
}

// Whatever comes: what passes is what came, up to where it was refused, and
// how the reads fall changes nothing.
func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	b.WriteString(h2.Preface)
	w := http2.NewFramer(&b, nil)
	w.AllowIllegalWrites = true
	w.WriteSettings(http2.Setting{ID: 4, Val: 1}, http2.Setting{ID: 4, Val: 2})
	request(w, 1, false, get...)
	w.WriteData(1, true, []byte("hi"))
	f.Add(b.Bytes())
	request(w, 3, false, append(get, "connection", "close")...)
	w.WriteContinuation(3, true, nil)
	f.Add(b.Bytes())
	f.Add([]byte(h2.Preface + "\x00\x00\x02\x01\x04\x00\x00\x00\x01\x82\xff"))
	f.Add([]byte(h2.Preface + "\x00\x00\x02\x01\x0c\x00\x00\x00\x01\xff\x82"))
	f.Fuzz(func(t *testing.T, in []byte) {
		one, rules := said(bytes.NewReader(in), 1<<20)
		two, again := said(iotest.OneByteReader(bytes.NewReader(in)), 1<<20)
		if len(one) > len(in)+13*(len(rules)+1) {
			t.Errorf("%d bytes became %d", len(in), len(one))
		}
		if strings.Join(rules, " ") != strings.Join(again, " ") {
			t.Errorf("rules %q and %q", rules, again)
		}
		if !bytes.HasPrefix(one, two) && !bytes.HasPrefix(two, one) {
			t.Errorf("passed % x and % x", one, two)
		}
	})
}

// What reading each request twice costs.
func BenchmarkHead(b *testing.B) {
	var frame bytes.Buffer
	w := http2.NewFramer(&frame, nil)
	var head bytes.Buffer
	e := hpack.NewEncoder(&head)
	fields := append(get, "user-agent", "Mozilla/5.0 (X11; Linux x86_64)", "accept", "application/json", "accept-encoding", "gzip, br", "authorization", "Bearer "+strings.Repeat("x", 300), "cookie", "a=b; c=d")
	block := func() []byte {
		head.Reset()
		for i := 0; i < len(fields); i += 2 {
			e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1], Sensitive: fields[i] == "authorization"})
		}
		return head.Bytes()
	}
	w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, EndHeaders: true, BlockFragment: block()})
	first := append([]byte(h2.Preface), frame.Bytes()...)
	frame.Reset()
	w.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, EndStream: true, EndHeaders: true, BlockFragment: block()})
	in := &loop{b: frame.Bytes()}
	c := h2.New(&wire{in: io.MultiReader(bytes.NewReader(first), in)}, h2.Bounds{Frame: 16 << 10, Head: 8 << 10, Frames: 10, Streams: 100, Resets: 1 << 20}, nil, time.Now)
	buf := make([]byte, 4096)
	io.ReadFull(c, buf[:len(first)])
	b.ReportAllocs()
	for b.Loop() {
		io.ReadFull(c, buf[:frame.Len()])
	}
}

type loop struct {
	b []byte
	i int
}

func (l *loop) Read(b []byte) (int, error) {
	n := copy(b, l.b[l.i:])
	l.i = (l.i + n) % len(l.b)
	return n, nil
}

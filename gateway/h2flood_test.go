package gateway_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sallyport.dev"
	"sallyport.dev/gateway"
)

// frames is a client of HTTP/2 that sends what it likes.
type frames struct {
	*http2.Framer
	c    net.Conn
	enc  *hpack.Encoder
	head bytes.Buffer
	next uint32
	mu   sync.Mutex // of what is written

	goAway  atomic.Int64 // 1 + its code
	answers atomic.Int64 // streams that ended with their answer
	status  sync.Map     // by stream
	data    atomic.Int64 // bytes
	done    chan struct{}
	onData  func(*http2.DataFrame)
}

func (d *door) frames(t testing.TB, settings ...http2.Setting) *frames {
	t.Helper()
	// From an address of its own: what others may have in flight is not its affair.
	c, err := tls.DialWithDialer(&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}, "tcp", d.addr, &tls.Config{RootCAs: d.roots, NextProtos: []string{"h2"}, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	f := &frames{Framer: http2.NewFramer(c, c), c: c, next: 1, done: make(chan struct{})}
	f.AllowIllegalWrites = true
	f.enc = hpack.NewEncoder(&f.head)
	c.SetDeadline(time.Now().Add(30 * time.Second))
	io.WriteString(c, http2.ClientPreface)
	f.WriteSettings(settings...)
	t.Cleanup(func() { c.Close() })
	for {
		fr, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := fr.(*http2.SettingsFrame); ok && !s.IsAck() {
			f.WriteSettingsAck()
			return f
		}
	}
}

// read takes what comes, until the end.
func (f *frames) read() {
	go func() {
		defer close(f.done)
		dec := hpack.NewDecoder(4096, nil)
		for {
			fr, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch fr := fr.(type) {
			case *http2.GoAwayFrame:
				f.goAway.Store(1 + int64(fr.ErrCode))
			case *http2.HeadersFrame:
				fields, _ := dec.DecodeFull(fr.HeaderBlockFragment())
				for _, h := range fields {
					if h.Name == ":status" {
						f.status.Store(fr.StreamID, h.Value)
					}
				}
				if fr.StreamEnded() {
					f.answers.Add(1)
				}
			case *http2.DataFrame:
				f.data.Add(int64(len(fr.Data())))
				if f.onData != nil {
					f.do(func() { f.onData(fr) })
				}
				if fr.StreamEnded() {
					f.answers.Add(1)
				}
			}
		}
	}()
}

func (f *frames) do(what func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what()
}

func (f *frames) block(fields ...string) []byte {
	f.head.Reset()
	for i := 0; i < len(fields); i += 2 {
		f.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return f.head.Bytes()
}

// open begins a request and gives its stream.
func (f *frames) open(method, path string, ended bool, more ...string) (uint32, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := f.next
	f.next += 2
	return id, f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: ended,
		BlockFragment: f.block(append([]string{":method", method, ":scheme", "https", ":authority", "localhost", ":path", path}, more...)...)})
}

// until waits for what is to become true.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func (r *recorder) clear() {
	r.mu.Lock()
	r.all = nil
	r.mu.Unlock()
}

// recorded gives a refusal by a rule, or nil. Where net/http's own limit was
// met first, which happens, the rule is that.
func (d *door) recorded(rule string) *sallyport.Exchange {
	for _, x := range d.rec.list() {
		if len(x.Decision.Reasons) > 0 && (x.Decision.Reasons[0].Rule == rule || x.Decision.Reasons[0].Rule == "h2.connection") {
			return x
		}
	}
	return nil
}

// large answers with as many bytes as the query says.
func large(t testing.TB, asked *atomic.Int64) string {
	chunk := []byte(strings.Repeat("x", 64<<10))
	return upstream(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		io.Copy(io.Discard, r.Body)
		var n int
		fmt.Sscan(r.URL.RawQuery, &n)
		w.Header().Set("Content-Length", fmt.Sprint(n))
		for n > 0 {
			m, err := w.Write(chunk[:min(n, len(chunk))])
			if err != nil {
				return
			}
			n -= m
		}
	}).URL
}

// Who floods one connection with frames that cost the server more than they cost
// the sender is told to go, soon; clients on other connections notice nothing.
func TestHTTP2Floods(t *testing.T) {
	var asked atomic.Int64
	rec := newRecorder()
	d := open(t, gateway.Options{APIs: to(large(t, &asked)), Recorder: rec})
	d.rec = rec
	honest := d.client(true)
	for _, tt := range []struct {
		name string
		rule string // of the record; "": the connection stands
		send func(f *frames) error
	}{
		{"rapid reset (CVE-2023-44487)", "h2.flood.resets", func(f *frames) error {
			id, err := f.open("GET", "/?10", true)
			if err == nil {
				err = f.WriteRSTStream(id, http2.ErrCodeCancel)
			}
			return err
		}},
		{"made to reset by windows (CVE-2025-8671)", "h2.flood.resets", func(f *frames) error {
			id, err := f.open("GET", "/?10", false)
			if err == nil {
				err = f.WriteWindowUpdate(id, 0)
			}
			return err
		}},
		{"made to reset by windows that overflow", "h2.flood.resets", func(f *frames) error {
			id, err := f.open("GET", "/?10", false)
			if err == nil {
				err = f.WriteWindowUpdate(id, 1<<31-1)
			}
			return err
		}},
		{"made to reset by malformed heads", "h2.flood.resets", func(f *frames) error {
			_, err := f.open("GET", "/?10", true, "connection", "close")
			return err
		}},
		{"CONTINUATION (CVE-2024-27316)", "h2.connection", func(f *frames) error {
			if f.next == 1 {
				f.next = 3
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block(":method", "GET", ":scheme", "https", ":path", "/")})
			}
			return f.WriteContinuation(1, false, f.block("x-a", strings.Repeat("b", 4000)))
		}},
		{"empty CONTINUATION", "h2.head.endless", func(f *frames) error {
			if f.next == 1 {
				f.next = 3
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block(":method", "GET", ":scheme", "https", ":path", "/")})
			}
			return f.WriteContinuation(1, false, nil)
		}},
		{"SETTINGS", "h2.flood.frames", func(f *frames) error {
			return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 16})
		}},
		{"PING", "h2.flood.frames", func(f *frames) error { return f.WritePing(false, [8]byte{1}) }},
		{"PRIORITY", "h2.flood.frames", func(f *frames) error { return f.WritePriority(1001, http2.PriorityParam{Weight: 1}) }},
		{"WINDOW_UPDATE", "h2.flood.frames", func(f *frames) error { return f.WriteWindowUpdate(0, 1) }},
		{"unknown frames", "h2.flood.frames", func(f *frames) error { return f.WriteRawFrame(0xfa, 0, 0, nil) }},
		{"empty DATA", "h2.flood.frames", func(f *frames) error {
			if f.next == 1 {
				_, err := f.open("POST", "/?10", false)
				return err
			}
			return f.WriteData(1, false, nil)
		}},
		{"padding alone", "h2.flood.frames", func(f *frames) error {
			if f.next == 1 {
				_, err := f.open("POST", "/?10", false)
				return err
			}
			return f.WriteDataPadded(1, false, nil, make([]byte, 10))
		}},
		{"HPACK bomb", "h2.connection", func(f *frames) error {
			if f.next == 1 { // 4 kB in the table, and then one byte for each time that they are named
				_, err := f.open("GET", "/?10", true, "x-bomb", strings.Repeat("b", 3900))
				return err
			}
			block := append(bytes.Clone(f.block(":method", "GET", ":scheme", "https", ":path", "/?10")), bytes.Repeat([]byte{0x80 | 62}, 12000)...)
			id := f.next
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: true, BlockFragment: block}); err != nil {
				return err
			}
			return f.WriteContinuation(id, false, bytes.Repeat([]byte{0x80 | 62}, 16000))
		}},
		{"DATA of one byte", "", func(f *frames) error {
			if f.next == 1 {
				_, err := f.open("POST", "/?10", false)
				return err
			}
			return f.WriteData(1, false, []byte("x"))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			until(t, "nothing in flight", func() bool { return d.Metrics().InFlight == 0 })
			asked.Store(0)
			rec.clear()
			get := func() {
				t.Helper()
				res, err := honest.Get(d.url("/?10"))
				if read(t, res, err); res.StatusCode != 200 {
					t.Errorf("an honest client got %d", res.StatusCode)
				}
			}
			get()
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			goroutines := runtime.NumGoroutine()
			f := d.frames(t)
			if tt.name != "PING" && tt.name != "SETTINGS" { // these do not even read
				f.read()
			}
			sent, grew := 0, 0
			for ; sent < 60_000; sent++ {
				if tt.rule != "" && sent%2000 == 1999 || sent%10_000 == 9999 {
					grew = max(grew, runtime.NumGoroutine()-goroutines)
					get()
				}
				if f.goAway.Load() != 0 || tt.send(f) != nil || tt.rule != "" && sent%100 == 0 && d.recorded(tt.rule) != nil {
					break
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			if n := int64(after.HeapAlloc) - int64(before.HeapAlloc); n > 24<<20 {
				t.Errorf("%d bytes more are held", n)
			}
			if grew > 1000 { // of gateway and upstream together
				t.Errorf("%d goroutines more", grew)
			}
			get()
			if tt.rule == "" {
				if f.WriteData(1, true, nil); sent < 60_000 {
					t.Fatalf("cut off after %d frames", sent)
				}
				until(t, "an answer", func() bool { return f.answers.Load() == 1 })
				return
			}
			if sent == 60_000 {
				t.Fatal("went on for ever")
			}
			until(t, fmt.Sprintf("a record of %s after %d rounds, GOAWAY %d", tt.rule, sent, f.goAway.Load()-1), func() bool { return d.recorded(tt.rule) != nil })
			x := d.recorded(tt.rule)
			if n := f.goAway.Load(); n != 0 && n != 1+int64(http2.ErrCodeEnhanceYourCalm) && tt.rule != "h2.connection" {
				t.Errorf("told to go: %v", http2.ErrCode(n-1))
			}
			if x.Decision.Stage != sallyport.StageRequest || !x.Decision.Refused() || x.ID == "" || x.Client.String() != "127.0.0.2" || !x.TLS {
				t.Errorf("record %+v", x)
			}
			if n := asked.Load(); n > 2500 {
				t.Errorf("%d requests reached the upstream", n)
			}
			t.Logf("ended after %d rounds; %d requests upstream", sent, asked.Load())
		})
	}
}

// What looks like a flood and is none goes on.
func TestHTTP2LookAlikes(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	d := open(t, gateway.Options{APIs: to(large(t, &asked))})
	answered := func(t *testing.T, f *frames) {
		t.Helper()
		before := f.answers.Load()
		if _, err := f.open("GET", "/?10", true); err != nil {
			t.Fatal(err)
		}
		until(t, "an answer", func() bool { return f.answers.Load() > before })
		if n := f.goAway.Load(); n != 0 {
			t.Errorf("told to go: %v", http2.ErrCode(n-1))
		}
	}
	t.Run("a browser leaves a page of 300 pictures", func(t *testing.T) {
		f := d.frames(t)
		f.onData = func(fr *http2.DataFrame) {
			if n := uint32(len(fr.Data())); n > 0 {
				f.WriteWindowUpdate(0, n)
			}
		}
		f.read()
		for range 3 {
			var open []uint32
			for range 100 {
				id, err := f.open("GET", "/?100000", true)
				if err != nil {
					t.Fatal(err)
				}
				open = append(open, id)
			}
			for _, id := range open {
				f.do(func() { f.WriteRSTStream(id, http2.ErrCodeCancel) })
			}
		}
		answered(t, f)
	})
	t.Run("a download by small windows", func(t *testing.T) {
		f := d.frames(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 2000})
		f.onData = func(fr *http2.DataFrame) {
			if n := uint32(len(fr.Data())); n > 0 {
				f.WriteWindowUpdate(fr.StreamID, n)
				f.WriteWindowUpdate(0, n)
			}
		}
		f.read()
		f.open("GET", "/?1000000", true)
		until(t, "1 MB", func() bool { return f.data.Load() == 1_000_000 })
		answered(t, f)
	})
	t.Run("a ping and two windows for each frame of a large answer", func(t *testing.T) {
		f := d.frames(t)
		f.onData = func(fr *http2.DataFrame) {
			if n := uint32(len(fr.Data())); n > 0 {
				f.WritePing(false, [8]byte{2, 4, 16, 16, 9, 14, 7, 7})
				f.WriteWindowUpdate(fr.StreamID, n)
				f.WriteWindowUpdate(0, n)
			}
		}
		f.read()
		f.open("GET", "/?33554432", true)
		until(t, "32 MiB", func() bool { return f.data.Load() == 32<<20 })
		answered(t, f)
	})
	t.Run("doubled settings, priorities and an empty frame", func(t *testing.T) {
		f := d.frames(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		f.read()
		for i := range 7 {
			f.WritePriority(uint32(2*i+101), http2.PriorityParam{Weight: 100})
		}
		f.WriteRawFrame(0x10, 0, 0, []byte("\x00\x00\x00\x01u=1")) // PRIORITY_UPDATE (RFC 9218)
		id, _ := f.open("POST", "/?100", false)
		f.do(func() { f.WriteData(id, false, nil); f.WriteData(id, true, []byte("hi")) })
		until(t, "an answer", func() bool { return f.data.Load() == 100 })
		answered(t, f)
	})
}

// Who takes nothing of what it asked for holds nothing for longer than a write may take.
func TestHTTP2Stalls(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	d := open(t, gateway.Options{APIs: to(large(t, &asked)), Bounds: gateway.Bounds{WriteTime: 300 * time.Millisecond}})
	f := d.frames(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	f.read()
	for range 60 {
		if _, err := f.open("GET", "/?2000000", true); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "60 requests upstream", func() bool { return asked.Load() == 60 })
	res, err := d.client(true).Get(d.url("/?10"))
	if read(t, res, err); res.StatusCode != 200 {
		t.Errorf("an honest client got %d", res.StatusCode)
	}
	until(t, "nothing in flight", func() bool { return d.Metrics().InFlight == 0 })
}

// A request that is malformed is reset, the others of its connection go on, and
// each has a record (RFC 9113 section 8.1.1).
func TestHTTP2Refusals(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	d := open(t, gateway.Options{APIs: to(large(t, &asked))})
	for _, tt := range []struct {
		rule   string // "": answered
		fields []string
	}{
		{"", []string{":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", "/p?10", "te", "trailers"}},
		{"h2.field.connection", []string{":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", "/p?10", "connection", "keep-alive"}},
		{"h2.field.connection", []string{":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", "/p?10", "transfer-encoding", "chunked"}},
		{"h2.field.te", []string{":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", "/p?10", "te", "gzip"}},
		{"h2.field.name", []string{":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", "/p?10", "X-Upper", "a"}},
		{"h2.field.name", []string{":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", "/p?10", "x a", "a"}},
		{"h2.field.value", []string{":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", "/p?10", "x-a", "b\r\nc: d"}},
		{"h2.pseudo.late", []string{":method", "GET", ":scheme", "https", "x-a", "b", ":path", "/p?10"}},
		{"h2.pseudo.twice", []string{":method", "GET", ":method", "GET", ":scheme", "https", ":path", "/p?10"}},
		{"h2.pseudo.unknown", []string{":method", "GET", ":scheme", "https", ":path", "/p?10", ":status", "200"}},
		{"h2.pseudo.missing", []string{":method", "GET", ":path", "/p?10"}},
		{"h2.pseudo.connect", []string{":method", "CONNECT", ":scheme", "https", ":path", "/p?10", ":authority", "a"}},
		{"h2.target", []string{":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", "/%zz"}},
		{"h2.target", []string{":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", "p?10"}},
		{"h2.head.bytes", append([]string{":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", "/p?10"}, strings.Split(strings.Repeat("x-a "+strings.Repeat("b", 3000)+" ", 30), " ")[:60]...)},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			before := len(d.rec.list())
			f := d.frames(t)
			f.read()
			other, err := f.open("POST", "/other?10", false)
			if err != nil {
				t.Fatal(err)
			}
			f.do(func() {
				id := f.next
				f.next += 2
				block := f.block(tt.fields...)
				first := block[:min(len(block), 16<<10)]
				f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: true, EndHeaders: len(first) == len(block), BlockFragment: first})
				for block = block[len(first):]; len(block) > 0; block = block[len(first):] {
					first = block[:min(len(block), 16<<10)]
					f.WriteContinuation(id, len(first) == len(block), first)
				}
			})
			f.do(func() { f.WriteData(other, true, []byte("hi")) })
			until(t, "the other's answer", func() bool { s, ok := f.status.Load(other); return ok && s == "200" && f.answers.Load() >= 1 })
			var rules []string
			until(t, "records", func() bool {
				rules = nil
				for _, x := range d.rec.list()[before:] {
					if len(x.Decision.Reasons) > 0 && x.Decision.Refused() {
						rules = append(rules, x.Decision.Reasons[0].Rule)
						if x.Method == "" && tt.rule != "h2.pseudo.missing" || x.ID == "" || !x.TLS || x.Proto != "HTTP/2.0" {
							t.Errorf("record %+v", x)
						}
					}
				}
				return (len(rules) > 0) == (tt.rule != "")
			})
			if tt.rule != "" && (len(rules) != 1 || rules[0] != tt.rule) {
				t.Errorf("records of %q, want %s", rules, tt.rule)
			}
		})
	}
}

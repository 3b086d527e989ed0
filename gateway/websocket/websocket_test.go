package websocket_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"sallyport.dev/gateway/websocket"
)

func frame(op websocket.Op, fin, mask bool, data string) string {
	return string(websocket.AppendFrame(nil, op, fin, mask, []byte(data)))
}

// read gives what a reader makes of wire, in words.
func read(wire string, client bool, size int64, spill bool) string {
	r := &websocket.Reader{R: bufio.NewReader(strings.NewReader(wire)), Client: client, Size: size, Spill: spill}
	var out []string
	for {
		m, err := r.Next()
		var e *websocket.Error
		switch {
		case err == io.EOF:
			return strings.Join(out, " ")
		case errors.As(err, &e):
			return strings.Join(append(out, e.Rule), " ")
		case err != nil:
			return strings.Join(append(out, "cut"), " ")
		}
		word := m.Op.String() + "=" + string(m.Data)
		if m.Part {
			word += "…"
		}
		out = append(out, word)
	}
}

func TestFrames(t *testing.T) {
	text := func(s string) string { return frame(websocket.Text, true, true, s) }
	for _, c := range []struct{ name, wire, want string }{
		{"text", text("hello"), "text=hello"},
		{"empty", text(""), "text="},
		{"two", text("a") + text("b"), "text=a text=b"},
		{"binary", frame(websocket.Binary, true, true, "\x00\xff"), "binary=\x00\xff"},
		{"200 bytes", text(strings.Repeat("x", 200)), "text=" + strings.Repeat("x", 200)},
		{"70,000 bytes", text(strings.Repeat("x", 70_000)), "text=" + strings.Repeat("x", 70_000)},
		{"fragments", frame(websocket.Text, false, true, "he") + frame(websocket.Continuation, false, true, "") + frame(websocket.Continuation, true, true, "llo"), "text=hello"},
		{"ping between fragments", frame(websocket.Text, false, true, "he") + frame(websocket.Ping, true, true, "p") + frame(websocket.Continuation, true, true, "llo"), "ping=p text=hello"},
		{"letter across fragments", frame(websocket.Text, false, true, "\xc3") + frame(websocket.Continuation, true, true, "\xa9"), "text=é"},
		{"close", frame(websocket.Close, true, true, "\x03\xe8bye") + text("after"), "close=\x03\xe8bye"},
		{"close without a code", frame(websocket.Close, true, true, ""), "close="},
		{"close of an application", frame(websocket.Close, true, true, "\x11\x31"), "close=\x11\x31"},

		{"not masked", frame(websocket.Text, true, false, "hello"), "frame.mask"},
		{"reserved bit", "\xc1\x80\x00\x00\x00\x00", "frame.reserved"},
		{"reserved opcode", "\x83\x80\x00\x00\x00\x00", "frame.opcode"},
		{"reserved control", "\x8b\x80\x00\x00\x00\x00", "frame.opcode"},
		{"fragmented ping", "\x09\x80\x00\x00\x00\x00", "frame.control"},
		{"long ping", frame(websocket.Ping, true, true, strings.Repeat("x", 126)), "frame.control"},
		{"continues nothing", frame(websocket.Continuation, true, true, "x"), "frame.continuation"},
		{"begins within", frame(websocket.Text, false, true, "x") + text("y"), "frame.continuation"},
		{"long form of a short length", "\x81\xfe\x00\x05\x00\x00\x00\x00hello", "frame.length"},
		{"longest form of a short length", "\x81\xff\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00hello", "frame.length"},
		{"negative length", "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", "frame.length"},
		{"length that lies", "\x82\xff\x00\x00\x00\x7f\xff\xff\xff\xff\x00\x00\x00\x00x", "message.size"},
		{"too large", text(strings.Repeat("x", 100_001)), "message.size"},
		{"too large in fragments", frame(websocket.Text, false, true, strings.Repeat("x", 60_000)) + frame(websocket.Continuation, true, true, strings.Repeat("x", 60_000)), "message.size"},
		{"no UTF-8", text("a\xc3("), "message.utf8"},
		{"surrogate", text("\xed\xa0\x80"), "message.utf8"},
		{"half a code", frame(websocket.Close, true, true, "\x03"), "frame.close"},
		{"code 1005", frame(websocket.Close, true, true, "\x03\xed"), "frame.close"},
		{"code 999", frame(websocket.Close, true, true, "\x03\xe7"), "frame.close"},
		{"reason without UTF-8", frame(websocket.Close, true, true, "\x03\xe8\xff"), "frame.close"},
		{"cut in a head", "\x81", "cut"},
		{"cut in a payload", text("hello")[:8], "cut"},
		{"cut between fragments", frame(websocket.Text, false, true, "he"), "cut"},
		{"fragments without end", frame(websocket.Text, false, true, "") + strings.Repeat(frame(websocket.Continuation, false, true, ""), 5000), "frame.fragments"},
	} {
		if got := read(c.wire, true, 100_000, false); got != c.want {
			t.Errorf("%s: got %.80q, want %.80q", c.name, got, c.want)
		}
	}
	if got := read(frame(websocket.Text, true, true, "x"), false, 100, false); got != "frame.mask" {
		t.Errorf("a server that masks: %q", got)
	}
}

// A message beyond the bound passes in parts where it may, and nothing is lost.
func TestSpill(t *testing.T) {
	long := strings.Repeat("0123456789", 20_000)
	wire := frame(websocket.Text, false, true, long[:90_000]) + frame(websocket.Ping, true, true, "p") + frame(websocket.Continuation, true, true, long[90_000:]) + frame(websocket.Text, true, true, "after")
	r := &websocket.Reader{R: bufio.NewReader(strings.NewReader(wire)), Client: true, Size: 100_000, Spill: true}
	var sent []byte
	for {
		m, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Data) > 200_000 {
			t.Errorf("%d bytes at once", len(m.Data))
		}
		sent = websocket.AppendMessage(sent, m, false)
	}
	if got := read(string(sent), false, 1<<20, false); got != "ping=p text="+long+" text=after" {
		t.Errorf("got %d bytes: %.60q", len(got), got)
	}
}

// Whatever comes, the reader ends, holds no more than its bound, and what it
// reads, written again, reads the same.
func FuzzReader(f *testing.F) {
	for _, s := range []string{frame(websocket.Text, true, true, "hello"), frame(websocket.Text, false, true, "a") + frame(websocket.Ping, true, true, "") + frame(websocket.Continuation, true, true, "b"),
		frame(websocket.Close, true, true, "\x03\xe8"), "\x81\xfe\x00\x05", "\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00"} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, wire []byte, spill bool) {
		r := &websocket.Reader{R: bufio.NewReader(bytes.NewReader(wire)), Client: true, Size: 1000, Spill: spill}
		var again []byte
		var seen []string
		for range len(wire) + 2 {
			m, err := r.Next()
			if err != nil {
				break
			}
			if len(m.Data) > 1000+32<<10 {
				t.Fatalf("%d bytes", len(m.Data))
			}
			if m.Part {
				return
			}
			seen = append(seen, m.Op.String()+"="+string(m.Data))
			again = websocket.AppendMessage(again, m, true)
		}
		if got := read(string(again), true, 1000, false); got != strings.Join(seen, " ") {
			t.Fatalf("got %q, want %q", got, seen)
		}
	})
}

func BenchmarkReader(b *testing.B) {
	wire := []byte(frame(websocket.Text, true, true, strings.Repeat("x", 1000)))
	b.SetBytes(1000)
	src := bytes.NewReader(wire)
	r := &websocket.Reader{R: bufio.NewReader(src), Client: true, Size: 1 << 20}
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(wire)
		r.R.Reset(src)
		r.Next()
	}
}

package sse_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"sallyport.dev/gateway/sse"
)

// pass writes text in pieces of n bytes and gives the events read and all bytes
// that came out.
func pass(text string, n, max int) (events []string, out string) {
	r := &sse.Reader{Max: max}
	var all bytes.Buffer
	for i := 0; i < len(text); i += n {
		r.Write([]byte(text[i:min(i+n, len(text))]))
		for {
			b, ok := r.Next()
			if !ok {
				break
			}
			all.Write(b.Raw)
			if b.Data != nil {
				events = append(events, b.Event+"="+string(b.Data))
			}
			if b.Over {
				events = append(events, "over")
			}
		}
	}
	all.Write(r.Rest())
	return events, all.String()
}

func TestBlocks(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"data: a\n\ndata:b\n\n", "=a|=b"},
		{"data: a\r\n\r\ndata: b\r\n\r\n", "=a|=b"},
		{"data: a\r\rdata: b\r\r", "=a|=b"},
		{"\xef\xbb\xbfdata: a\n\n", "=a"},
		{"event: x\ndata: a\ndata:  b\nid: 7\n\n", "x=a\n b"},
		{": ping\n\ndata\n\n", "="},
		{"data: not over", ""},
		{"\n\n\ndata: a\n\n", "=a"},
		{"data: {\ndata: }\n\n", "={\n}"},
	} {
		for _, n := range []int{1, 2, 3, 7, 1000} {
			events, out := pass(c.text, n, 1000)
			if got := strings.Join(events, "|"); got != c.want || out != c.text {
				t.Errorf("%q by %d: got %q, %q", c.text, n, got, out)
			}
		}
	}
	// An event is there as soon as its empty line is.
	r := &sse.Reader{Max: 1000}
	r.Write([]byte("data: a\r\n\r"))
	if b, ok := r.Next(); !ok || string(b.Data) != "a" {
		t.Errorf("got %q %v", b.Data, ok)
	}
	r.Write([]byte("\n"))
	if b, ok := r.Next(); !ok || string(b.Raw) != "\n" || b.Data != nil {
		t.Errorf("got %q %v", b.Raw, ok)
	}
}

// A block beyond the bound passes in parts, and the next is read again.
func TestLongBlocks(t *testing.T) {
	text := "data: " + strings.Repeat("x", 5000) + "\ndata: y\n\ndata: a\n\n"
	for _, n := range []int{1, 100, 1000, 10_000} {
		events, out := pass(text, n, 1000)
		if out != text || events[len(events)-1] != "=a" || n < 10_000 && events[0] != "over" {
			t.Errorf("by %d: %d events, last %q, %v", n, len(events), events[len(events)-1], out == text)
		}
	}
}

func TestWith(t *testing.T) {
	r := &sse.Reader{Max: 1000}
	r.Write([]byte("id: 1\ndata: {\n: hm\ndata: }\nevent: x\n\n"))
	b, _ := r.Next()
	if got := string(b.With([]byte("{\n \"a\": 1}"))); got != "id: 1\ndata: {\ndata:  \"a\": 1}\n: hm\nevent: x\n\n" {
		t.Errorf("got %q", got)
	}
}

// Whatever comes in comes out, and how it was cut changes nothing.
func FuzzReader(f *testing.F) {
	f.Add("data: a\r\n\r\nevent: b\rdata\r\r: c\n\n", 3)
	f.Add("\xef\xbb\xbf\n\ndata: "+strings.Repeat("x", 100)+"\n\n", 1)
	f.Fuzz(func(t *testing.T, text string, n int) {
		n = max(1, n%50)
		events, out := pass(text, n, 64)
		if out != text {
			t.Fatalf("%q by %d became %q", text, n, out)
		}
		whole, _ := pass(text, 1<<20, 1<<20)
		small, _ := pass(text, n, 1<<20)
		if fmt.Sprint(whole) != fmt.Sprint(small) {
			t.Fatalf("%q by %d: %q, whole %q", text, n, small, whole)
		}
		_ = events
	})
}

package gateway

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
)

// FuzzPROXY: whatever bytes come, a header is read to its end and not a byte
// further, or refused.
func FuzzPROXY(f *testing.F) {
	for _, s := range []string{
		"PROXY TCP4 203.0.113.7 127.0.0.1 4711 443\r\nGET /", "PROXY TCP6 2001:db8::7 ::1 4711 443\r\n", "PROXY UNKNOWN\r\n", "PROXY UNKNOWN some text\r\n",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02rest", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", "GET / HTTP/1.1\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		a, err := readPROXY(r)
		if err != nil {
			if a.IsValid() {
				t.Errorf("an address with error %v", err)
			}
			return
		}
		head := b[:len(b)-r.Len()]
		if bytes.HasPrefix(b, []byte("PROXY ")) {
			if !bytes.HasSuffix(head, []byte("\r\n")) || bytes.Count(head, []byte("\n")) != 1 || len(head) > 107 {
				t.Errorf("header %q", head)
			}
		} else if want := 16 + int(b[14])<<8 + int(b[15]); len(head) != want {
			t.Errorf("header of %d bytes, want %d", len(head), want)
		}
	})
}

// FuzzForwarded: the client is the peer, or an address that stands in the
// header; an untrusted peer is never replaced.
func FuzzForwarded(f *testing.F) {
	f.Add("203.0.113.9, 10.0.0.1", true)
	f.Add("[2001:db8::1]:80, unknown", true)
	f.Add("203.0.113.9", false)
	proxy := netip.MustParseAddr("10.0.0.9")
	f.Fuzz(func(t *testing.T, header string, trusted bool) {
		got := clientOf(proxy, []string{header}, func(a netip.Addr) bool { return trusted && a.Is4() && a.As4()[0] == 10 })
		if got == proxy {
			return
		}
		if !trusted {
			t.Fatalf("an untrusted peer named %s", got)
		}
		for part := range strings.SplitSeq(header, ",") {
			if a, ok := forwardedAddr(strings.TrimSpace(part)); ok && a == got {
				return
			}
		}
		t.Errorf("%s does not stand in %q", got, header)
	})
}

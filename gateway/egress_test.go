package gateway

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/guard"
)

// Addresses that a call may go to, and those that only look like them.
func TestPublicAddresses(t *testing.T) {
	for addr, want := range map[string]bool{
		"93.184.216.34": true, "1.1.1.1": true, "2606:4700::1111": true, "::ffff:1.1.1.1": true, "64:ff9b::1.1.1.1": true, "2002:101:101::1": true, "172.32.0.1": true, "100.128.0.1": true,
		"127.0.0.1": false, "127.8.8.8": false, "0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false,
		"100.64.0.1": false, "100.100.100.200": false, "169.254.169.254": false, "192.0.0.192": false, "198.18.0.1": false, "203.0.113.9": false, "224.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::7f00:1": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd00:ec2::254": false,
		"ff02::1": false, "2001:db8::1": false, "64:ff9b::127.0.0.1": false, "64:ff9b::169.254.169.254": false, "64:ff9b:1::1": false, "2002:7f00:1::1": false, "2002:a9fe:a9fe::1": false, "2001::1": false, "fec0::1": false,
	} {
		if got := (&reach{}).allows(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
	inside, err := readReach("public,10.0.0.0/8,169.254.0.0/16,168.63.0.0/16")
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "169.254.1.1": true, "11.0.0.1": true,
		"169.254.169.254": false, "::ffff:169.254.169.254": false, "168.63.129.16": false, "192.168.0.1": false} {
		if got := inside.allows(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s with networks of ours: %v, want %v", addr, got, want)
		}
	}
}

type taken struct{ list chan *sallyport.Exchange }

func (k taken) Want(*sallyport.Exchange) bool { return false }
func (k taken) Record(x *sallyport.Exchange) {
	select {
	case k.list <- x:
	default:
	}
}

// outwardDoor is a door with one destination at which nobody listens.
func outwardDoor(t testing.TB) (*Gateway, chan *sallyport.Exchange) {
	t.Helper()
	program, err := guard.Compile(guard.Config{Name: "out", APIs: []guard.API{{API: sallyport.API{Name: "partner", Hosts: []string{"api.partner.test"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	list := make(chan *sallyport.Exchange, 64)
	g, err := New(Options{Program: program, Door: "egress", Egress: &Egress{}, Recorder: taken{list}, Log: slog.New(slog.DiscardHandler),
		APIs: []API{{Name: "partner", Upstreams: []Upstream{{URL: "https://api.partner.test:443", Reach: "public"}}, Out: &Destination{Host: "api.partner.test"}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Drain(t.Context()) })
	return g, list
}

// said gives a CONNECT to the door and reads the status that it answers.
func said(t testing.TB, g *Gateway, head string) string {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c := &clientConn{Conn: theirs, leave: func() {}}
		if !g.connect(c, func() {}) {
			c.Close()
		}
	}()
	ours.SetDeadline(time.Now().Add(5 * time.Second))
	go io.WriteString(ours, head)
	line := make([]byte, 512)
	n, _ := ours.Read(line)
	ours.Close()
	<-done
	first, _, _ := strings.Cut(string(line[:n]), "\r\n")
	return strings.TrimPrefix(first, "HTTP/1.1 ")
}

func TestConnectHeads(t *testing.T) {
	g, list := outwardDoor(t)
	for head, want := range map[string]string{
		"CONNECT api.partner.test:443 HTTP/1.1\r\nHost: api.partner.test:443\r\n\r\n": "200 Connection established",
		"CONNECT API.Partner.Test:443 HTTP/1.1\r\n\r\n":                               "200 Connection established",
		"CONNECT api.partner.test.:443 HTTP/1.0\r\n\r\n":                              "200 Connection established",
		"CONNECT api.partner.test:22 HTTP/1.1\r\n\r\n":                                "403 Forbidden",
		"CONNECT other.test:443 HTTP/1.1\r\n\r\n":                                     "403 Forbidden",
		"CONNECT 169.254.169.254:80 HTTP/1.1\r\n\r\n":                                 "403 Forbidden",
		"CONNECT [::1]:443 HTTP/1.1\r\n\r\n":                                          "403 Forbidden",
		"CONNECT api.partner.test HTTP/1.1\r\n\r\n":                                   "400 Bad Request",
		"CONNECT api.partner.test:443@evil.test:443 HTTP/1.1\r\n\r\n":                 "400 Bad Request",
		"CONNECT evil.test#api.partner.test:443 HTTP/1.1\r\n\r\n":                     "400 Bad Request",
		"CONNECT api.partner.test:443\tHTTP/1.1\r\n\r\n":                              "400 Bad Request",
		"CONNECT api.partner.test:443 HTTP/2.0\r\n\r\n":                               "400 Bad Request",
		"CONNECT api.partner.test:443 HTTP/1.1\r\nHost: other.test\r\n\r\n":           "400 Bad Request",
		"CONNECT api.partner.test:443 HTTP/1.1\r\nHost : api.partner.test\r\n\r\n":    "400 Bad Request",
		"CONNECT api.partner.test:443 HTTP/1.1\r\nA: b\r\n c\r\n\r\n":                 "400 Bad Request",
		"CONNECT api.partner.test:443 HTTP/1.1\r\nA: b\nHost: evil.test\r\n\r\n":      "400 Bad Request",
		"CONNECT api.partner.test:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello":     "400 Bad Request",
		"CONNECT a:443 HTTP/1.1\r\nA: " + strings.Repeat("a", 9000) + "\r\n\r\n":      "431 Request Header Fields Too Large",
	} {
		if got := said(t, g, head); got != want {
			t.Errorf("%.70q: %q, want %q", head, got, want)
			continue
		}
		if want[0] == '2' {
			<-list // the handshake inside that never came
			continue
		}
		if x := <-list; x.Door != "egress" || x.Method != http.MethodConnect || !x.Decision.Refused() || x.Decision.Reasons[0].Rule == "" {
			t.Errorf("%.70q: on record as %+v", head, x)
		}
	}
}

func FuzzConnect(f *testing.F) {
	g, _ := outwardDoor(f)
	f.Add("CONNECT api.partner.test:443 HTTP/1.1\r\nHost: api.partner.test:443\r\n\r\n")
	f.Add("CONNECT [::1]:443 HTTP/1.1\r\nProxy-Authorization: Basic YTpi\r\n\r\n\x16\x03\x01")
	f.Add("CONNECT \r\n\r\n")
	f.Fuzz(func(t *testing.T, head string) {
		if !strings.HasPrefix(head, "CONNECT ") || !bytes.Contains([]byte(head), []byte("\r\n\r\n")) || len(head) > connectHead {
			return
		}
		got := said(t, g, head)
		if got == "" || got[0] == '2' && !strings.Contains(strings.ToLower(head), "api.partner.test") {
			t.Errorf("%q: %q", head, got)
		}
	})
}

func FuzzReadHello(f *testing.F) {
	f.Add([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, theirs := net.Pipe()
		go func() { ours.Write(b); ours.Close() }()
		raw, _, err := readHello(theirs)
		if err == nil && !bytes.HasPrefix(b, raw) {
			t.Error("bytes were changed")
		}
		theirs.Close()
	})
}

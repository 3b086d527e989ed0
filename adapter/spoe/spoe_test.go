package spoe

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/guard/door"
	"sallyport.dev/policy"
)

type tape struct {
	mu  sync.Mutex
	all []*sallyport.Exchange
}

func (t *tape) Want(*sallyport.Exchange) bool { return false }
func (t *tape) Record(x *sallyport.Exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, x)
}

func program(t testing.TB) *guard.Program {
	t.Helper()
	p, err := guard.Compile(guard.Config{Name: "p", APIs: []guard.API{{API: sallyport.API{Name: "a", Hosts: []string{"a.example.test"}}, Policy: policy.API{Mode: sallyport.Enforce}}}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func agent(t testing.TB) (*Server, *tape) {
	p, rec := program(t), &tape{}
	return &Server{Desk: &door.Desk{Name: "haproxy", Program: func() *guard.Program { return p }, Recorder: rec}}, rec
}

// dial opens a conversation with a server on a real connection.
func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { s.Serve(ctx, ln); close(done) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); end(); <-done })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

func hello(check bool) []byte {
	p := appendText(append(appendText(nil, "supported-versions"), 8), "2.0")
	p = appendVarint(append(appendText(p, "max-frame-size"), 3), 16380)
	p = appendText(append(appendText(p, "capabilities"), 8), "pipelining,async,fragmentation")
	if check {
		p = append(appendText(p, "healthcheck"), 0x11)
	}
	return appendFrame(nil, frameHello, 0, 0, p)
}

func notify(path, body string) []byte {
	arg := func(b []byte, name, v string) []byte { return appendText(append(appendText(b, name), 8), v) }
	p := append(appendText(nil, MessageRequest), 6)
	p = append(append(appendText(p, "src"), 6), 192, 0, 2, 7)
	p = arg(arg(arg(p, "method", "POST"), "uri", path), "host", "a.example.test")
	var h []byte
	h = appendText(appendText(h, "content-type"), "text/plain")
	h = appendText(appendText(h, "content-length"), strconv.Itoa(len(body)))
	h = appendText(appendText(h, ""), "")
	return arg(arg(p, "hdrs", string(h)), "body", body)
}

func read(t *testing.T, c net.Conn) frame {
	t.Helper()
	var n [4]byte
	if _, err := io.ReadFull(c, n[:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint32(n[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	f, err := parseFrame(b)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// vars reads the variables that an ACK sets.
func vars(t *testing.T, f frame) map[string]string {
	t.Helper()
	out := map[string]string{}
	for b := f.payload; len(b) > 0; {
		if b[0] != 1 || b[1] != 3 || b[2] != scopeTransaction {
			t.Fatalf("action %v", b[:3])
		}
		name, rest, err := text(b[3:])
		if err != nil {
			t.Fatal(err)
		}
		v, rest, err := typed(rest)
		if err != nil {
			t.Fatal(err)
		}
		out[string(name)], b = string(v.text), rest
	}
	return out
}

func TestHealthcheck(t *testing.T) {
	s, _ := agent(t)
	c := dial(t, s)
	c.Write(hello(true))
	if f := read(t, c); f.kind != frameAgentHello {
		t.Errorf("frame %d", f.kind)
	}
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes after a health check", n)
	}
}

// Questions overlap on one connection, one of them in fragments; each answer
// goes to its own.
func TestPipelinedAndFragmented(t *testing.T) {
	s, rec := agent(t)
	c := dial(t, s)
	c.Write(hello(false))
	read(t, c)
	big := notify("/big", strings.Repeat("x", 40<<10))
	cut := 16000
	begin := appendFrame(nil, frameNotify, 9, 1, big[:cut])
	begin[8] = 0 // not the last
	go func() {
		c.Write(begin)
		for i := range 50 {
			c.Write(appendFrame(nil, frameNotify, uint64(100+i), 1, notify("/x", "harmless")))
		}
		for big = big[cut:]; len(big) > 0; big = big[min(cut, len(big)):] {
			f := appendFrame(nil, frameUnset, 9, 1, big[:min(cut, len(big))])
			if len(big) > cut {
				f[8] = 0
			}
			c.Write(f)
		}
	}()
	ids := map[string]bool{}
	for range 51 {
		f := read(t, c)
		v := vars(t, f)
		if f.kind != frameAck || v["action"] != "allow" || v["id"] == "" || ids[v["id"]] {
			t.Fatalf("frame %d of stream %d: %v", f.kind, f.stream, v)
		}
		ids[v["id"]] = true
	}
	c.Close()
	for range 500 {
		rec.mu.Lock()
		n := len(rec.all)
		rec.mu.Unlock()
		if n == 51 {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Error("some were not recorded")
}

// What breaks the protocol is answered with a disconnect that says so, and the
// connection ends.
func TestFramesThatLie(t *testing.T) {
	for name, c := range map[string]struct {
		hello bool
		send  []byte
		code  byte // 0: the connection ends, whatever is said
	}{
		"NOTIFY before HELLO":      {false, appendFrame(nil, frameNotify, 1, 1, nil), goneInvalid},
		"a second HELLO":           {true, hello(false), goneInvalid},
		"a frame of 4 GB":          {true, []byte{255, 255, 255, 255, 3}, goneTooBig},
		"a frame without a head":   {true, []byte{0, 0, 0, 3, 3, 0, 0}, goneInvalid},
		"a type nobody knows":      {true, appendFrame(nil, 77, 1, 1, nil), goneInvalid},
		"a fragment of nothing":    {true, appendFrame(nil, frameUnset, 1, 1, nil), goneInterlaced},
		"an older version":         {false, appendFrame(nil, frameHello, 0, 0, appendVarint(append(appendText(appendText(append(appendText(nil, "supported-versions"), 8), "1.0"), "max-frame-size"), 3), 16380)), goneVersion},
		"no version":               {false, appendFrame(nil, frameHello, 0, 0, nil), goneNoVersion},
		"a number without an end":  {true, []byte{0, 0, 0, 17, 3, 0, 0, 0, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}, goneInvalid},
		"HTTP in place of frames":  {false, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), goneTooBig},
		"a size too small":         {false, appendFrame(nil, frameHello, 0, 0, appendVarint(append(appendText(appendText(append(appendText(nil, "supported-versions"), 8), "2.0"), "max-frame-size"), 3), 16)), goneFrameSize},
		"a goodbye":                {true, appendFrame(nil, frameDisconnect, 0, 0, nil), goneNormal},
		"fragments without bounds": {true, flood(), goneResources},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := agent(t)
			conn := dial(t, s)
			if c.hello {
				conn.Write(hello(false))
				read(t, conn)
			}
			go conn.Write(c.send)
			f := read(t, conn)
			code := uint64(99)
			pairs(f.payload, func(name []byte, v value) {
				if string(name) == "status-code" {
					code = v.number
				}
			})
			if f.kind != frameAgentGone || code != uint64(c.code) {
				t.Errorf("frame %d, code %d, want %d", f.kind, code, c.code)
			}
			io.Copy(io.Discard, conn)
		})
	}
}

func flood() []byte {
	var b []byte
	part := make([]byte, 16000)
	for i := range 80 {
		f := appendFrame(nil, frameNotify, uint64(i), 1, part)
		f[8] = 0
		b = append(b, f...)
	}
	return b
}

// A message that cannot be read is answered, and sets nothing: HAProxy's rules
// take that as they take our absence.
func TestMessagesThatLieDecideNothing(t *testing.T) {
	s, _ := agent(t)
	c := dial(t, s)
	c.Write(hello(false))
	read(t, c)
	good := notify("/x", "b")
	for name, p := range map[string][]byte{
		"cut": good[:len(good)-3], "an unknown message": append(appendText(nil, "other"), 0), "no method": append(appendText(nil, MessageRequest), 0),
		"a relative target": notify("x", "b"), "garbage": []byte("\xff\xfe\xfd"), "a count that lies": append(appendText(nil, MessageRequest), 255),
	} {
		c.Write(appendFrame(nil, frameNotify, 1, 1, p))
		if f := read(t, c); f.kind != frameAck || len(f.payload) != 0 {
			t.Errorf("%s: frame %d with %q", name, f.kind, f.payload)
		}
	}
	if n := s.Desk.Counts().Strange; n != 6 {
		t.Errorf("%d strange messages are counted", n)
	}
}

func TestStrangersAreNotHeard(t *testing.T) {
	s, rec := agent(t)
	s.Peers.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	c := dial(t, s)
	c.Write(hello(false))
	if n, err := c.Read(make([]byte, 1)); err == nil || len(rec.all) > 0 {
		t.Errorf("a stranger got %d bytes", n)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(hello(false)[4:])
	f.Add(appendFrame(nil, frameNotify, 1, 1, notify("/x", "body"))[4:])
	f.Add([]byte{3, 0, 0, 0, 1, 255, 255, 255, 255})
	s, _ := agent(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := parseFrame(b)
		if err != nil {
			return
		}
		pairs(fr.payload, func([]byte, value) {})
		messages(fr.payload, func(name string, args map[string]value) {
			if _, turn := s.request(t.Context(), args, nil); turn != nil {
				turn.Finish()
			}
			s.response(args, nil)
		})
	})
}

func FuzzVarint(f *testing.F) {
	f.Add(uint64(239))
	f.Add(uint64(240))
	f.Add(uint64(1<<64 - 1))
	f.Fuzz(func(t *testing.T, n uint64) {
		got, rest, err := varint(appendVarint(nil, n))
		if err != nil || got != n || len(rest) != 0 {
			t.Errorf("%d became %d (%v, %d bytes over)", n, got, err, len(rest))
		}
	})
}

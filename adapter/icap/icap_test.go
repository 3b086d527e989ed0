package icap

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
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

func start(t testing.TB, change func(*Server)) (net.Conn, *tape) {
	t.Helper()
	p, err := guard.Compile(guard.Config{Name: "p", APIs: []guard.API{{API: sallyport.API{Name: "a", Hosts: []string{"a.example.test"}}, Policy: policy.API{Mode: sallyport.Enforce}}}})
	if err != nil {
		t.Fatal(err)
	}
	rec := &tape{}
	s := &Server{Desk: &door.Desk{Name: "squid", Program: func() *guard.Program { return p }, Recorder: rec, Answers: true, Strip: []string{"X-Real-Ip"}}}
	if change != nil {
		change(s)
	}
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
	return c, rec
}

const reqHead = "POST /x?q=1 HTTP/1.1\r\nHost: a.example.test\r\nContent-Type: text/plain\r\nX-Auth-Subject: root\r\nx_auth_kind: root\r\nX-Real-IP: 1.2.3.4\r\nX-Request-Id: mine\r\n\r\n"

func reqmod(head, more, body string) string {
	kind := "req-body"
	if body == "" {
		kind = "null-body"
	}
	return fmt.Sprintf("REQMOD icap://h/reqmod ICAP/1.0\r\nHost: h\r\nX-Client-IP: 192.0.2.7\r\nAllow: 204\r\n%sEncapsulated: req-hdr=0, %s=%d\r\n\r\n%s%s", more, kind, len(head), head, body)
}

// reads an ICAP answer: its head, the heads inside and the body's bytes.
func read(t *testing.T, r *bufio.Reader) (head, inner, text string) {
	t.Helper()
	m := &message{preview: -1}
	room := 1 << 20
	at := -1
	for {
		l, err := line(r, &room)
		if err != nil {
			t.Fatalf("%v after %q", err, head)
		}
		if l == "" {
			break
		}
		head += l + "\n"
		if rest, ok := strings.CutPrefix(l, "Encapsulated: "); ok {
			parts := strings.Split(rest, ",")
			last := strings.TrimSpace(parts[len(parts)-1])
			m.hasBody = !strings.HasPrefix(last, "null-body")
			fmt.Sscanf(last[strings.IndexByte(last, '=')+1:], "%d", &at)
		}
	}
	if at > 0 {
		b := make([]byte, at)
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatal(err)
		}
		inner = string(b)
	}
	if m.hasBody {
		b, err := io.ReadAll(newBody(r, m))
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	return head, inner, text
}

func chunk(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

// A request goes on without what its client says of itself, with its body whole.
func TestRequestPasses(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 200<<10/16)
	for name, c := range map[string]struct{ more, body, behind, want string }{
		"no body":              {"", "", "", ""},
		"a body":               {"", chunk("hello") + chunk(" you") + "0\r\n\r\n", "", "hello you"},
		"all of it a preview":  {"Preview: 1024\r\n", chunk("hello") + "0; ieof\r\n\r\n", "", "hello"},
		"an empty preview":     {"Preview: 0\r\n", "0\r\n\r\n", chunk("later") + "0\r\n\r\n", "later"},
		"a preview and more":   {"Preview: 5\r\n", chunk("hello") + "0\r\n\r\n", chunk(long) + "0\r\n\r\n", "hello" + long},
		"fields behind a body": {"", chunk("hello") + "0\r\nX-Sum: 1\r\n\r\n", "", "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, _ := start(t, nil)
			r := bufio.NewReader(conn)
			for range 2 { // on one connection
				io.WriteString(conn, reqmod(reqHead, c.more, c.body))
				if c.behind != "" {
					l, err := r.ReadString('\n')
					if err != nil || l != "ICAP/1.0 100 Continue\r\n" {
						t.Fatalf("%q %v", l, err)
					}
					r.ReadString('\n')
					go io.WriteString(conn, c.behind)
				}
				head, inner, text := read(t, r)
				if !strings.HasPrefix(head, "ICAP/1.0 200 OK\nISTag: \"") || text != c.want || !strings.HasPrefix(inner, "POST /x?q=1 HTTP/1.1\r\nHost: a.example.test\r\n") {
					t.Errorf("%s%s%d bytes", head, inner, len(text))
				}
				for _, gone := range []string{"root", "1.2.3.4", "mine"} {
					if strings.Contains(inner, gone) {
						t.Errorf("%q passed: %s", gone, inner)
					}
				}
			}
		})
	}
}

// An answer finds its request by the id that the request went on with.
func TestAnswers(t *testing.T) {
	conn, rec := start(t, nil)
	r := bufio.NewReader(conn)
	io.WriteString(conn, reqmod(reqHead, "", ""))
	_, inner, _ := read(t, r)
	answer := "HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nServer: x\r\n\r\n"
	io.WriteString(conn, fmt.Sprintf("RESPMOD icap://h/respmod ICAP/1.0\r\nHost: h\r\nAllow: 204\r\nEncapsulated: req-hdr=0, res-hdr=%d, res-body=%d\r\n\r\n%s%s%s0\r\n\r\n", len(inner), len(inner)+len(answer), inner, answer, chunk("made")))
	if head, _, _ := read(t, r); !strings.HasPrefix(head, "ICAP/1.0 204") {
		t.Error(head)
	}
	for range 500 {
		rec.mu.Lock()
		n := len(rec.all)
		rec.mu.Unlock()
		if n == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if len(rec.all) != 1 || rec.all[0].Status != 201 || rec.all[0].Origin != 201 {
		t.Errorf("%+v", rec.all)
	}
}

func TestRefusalAndOptions(t *testing.T) {
	conn, rec := start(t, nil)
	r := bufio.NewReader(conn)
	io.WriteString(conn, "OPTIONS icap://h/reqmod ICAP/1.0\r\nHost: h\r\n\r\n")
	if head, _, _ := read(t, r); !strings.Contains(head, "Methods: REQMOD\n") || !strings.Contains(head, "Allow: 204\n") || !strings.Contains(head, "Preview: ") {
		t.Error(head)
	}
	io.WriteString(conn, reqmod(strings.Replace(reqHead, "a.example.test", "b.example.test", 1), "Preview: 5\r\n", chunk("hello")+"0\r\n\r\n"))
	head, inner, text := read(t, r)
	if !strings.HasPrefix(inner, "HTTP/1.1 404") || !strings.Contains(text, `"request_id"`) {
		t.Error(head, inner, text)
	}
	if len(rec.all) != 1 || rec.all[0].Decision.Status != 404 {
		t.Errorf("%+v", rec.all)
	}
}

// What breaks the protocol is answered 400, 404 or 405, and the connection ends.
func TestMessagesThatLie(t *testing.T) {
	for name, c := range map[string]struct{ send, want string }{
		"HTTP":                    {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
		"another service":         {"OPTIONS icap://h/other ICAP/1.0\r\n\r\n", "404"},
		"another method":          {"LOGMOD icap://h/reqmod ICAP/1.0\r\nEncapsulated: null-body=0\r\n\r\n", "405"},
		"no client":               {strings.Replace(reqmod(reqHead, "", ""), "X-Client-IP: 192.0.2.7\r\n", "", 1), "400"},
		"two clients":             {strings.Replace(reqmod(reqHead, "", ""), "Allow: 204", "X-Client-IP: 192.0.2.8", 1), "400"},
		"offsets that run back":   {"REQMOD icap://h/reqmod ICAP/1.0\r\nEncapsulated: req-hdr=0, res-hdr=10, req-body=5\r\n\r\n", "400"},
		"a head of a gigabyte":    {"REQMOD icap://h/reqmod ICAP/1.0\r\nEncapsulated: req-hdr=0, null-body=1000000000\r\n\r\n", "400"},
		"a negative offset":       {"REQMOD icap://h/reqmod ICAP/1.0\r\nEncapsulated: req-hdr=-1, null-body=3\r\n\r\n", "400"},
		"no offsets":              {"REQMOD icap://h/reqmod ICAP/1.0\r\n\r\n", "400"},
		"a head without its end":  {"REQMOD icap://h/reqmod ICAP/1.0\r\nEncapsulated: req-hdr=0, null-body=5\r\n\r\nGET /", "400"},
		"a folded line":           {reqmod("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", "", ""), "400"},
		"a chunk size of letters": {reqmod(reqHead, "", "zz\r\n"), "400"},
		"a chunk size of 2^40":    {reqmod(reqHead, "", "10000000000\r\n"), "400"},
		"a line without end":      {"REQMOD icap://h/" + strings.Repeat("x", 20<<10) + " ICAP/1.0\r\n\r\n", "400"},
		"an answer without one":   {"RESPMOD icap://h/respmod ICAP/1.0\r\nEncapsulated: req-hdr=0, null-body=" + fmt.Sprint(len(reqHead)) + "\r\n\r\n" + reqHead, "400"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, _ := start(t, nil)
			io.WriteString(conn, c.send)
			b, _ := io.ReadAll(conn)
			if !bytes.HasPrefix(b, []byte("ICAP/1.0 "+c.want)) {
				t.Errorf("%q", b)
			}
		})
	}
	conn, _ := start(t, func(s *Server) { s.Peers.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	io.WriteString(conn, "OPTIONS icap://h/reqmod ICAP/1.0\r\n\r\n")
	if b, _ := io.ReadAll(conn); len(b) > 0 {
		t.Errorf("a stranger is told %q", b)
	}
}

// A body that breaks off is recorded, and decides nothing.
func TestBrokenOff(t *testing.T) {
	conn, rec := start(t, nil)
	io.WriteString(conn, strings.TrimSuffix(reqmod(reqHead, "", chunk("hello")), "\r\n"))
	conn.Close()
	for range 500 {
		rec.mu.Lock()
		n := len(rec.all)
		rec.mu.Unlock()
		if n == 1 {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Error("no record")
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(reqmod(reqHead, "Preview: 5\r\n", chunk("hello")+"0; ieof\r\n\r\n")))
	f.Add([]byte("OPTIONS icap://h/reqmod ICAP/1.0\r\nHost: h\r\n\r\n"))
	f.Add([]byte("RESPMOD icap://h/respmod ICAP/1.0\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n0\r\n\r\n"))
	p, err := guard.Compile(guard.Config{Name: "p", APIs: []guard.API{{API: sallyport.API{Name: "a"}, Policy: policy.API{Mode: sallyport.Enforce}}}})
	if err != nil {
		f.Fatal(err)
	}
	s := &Server{Desk: &door.Desk{Name: "icap", Program: func() *guard.Program { return p }}}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(in), lineBytes)
		w := flushing{bufio.NewWriter(io.Discard)}
		for {
			m, err := readMessage(r)
			if err != nil || s.answer(t.Context(), m, newBody(r, m), w) != nil {
				return
			}
		}
	})
}

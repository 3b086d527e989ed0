package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/gateway/http1"
)

// script is an upstream that answers with given bytes, whatever it is asked.
type script struct {
	addr  string
	conns atomic.Int64
	heads chan string
}

// scripted starts an upstream that reads a request (its head, and a body of
// stated length) and has answer deal with each; answer returns false to close.
func scripted(t testing.TB, answer func(c net.Conn, n int, head string) bool) *script {
	t.Helper()
	l := listen(t)
	s := &script{addr: l.Addr().String(), heads: make(chan string, 1000)}
	var all sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			mu.Lock()
			open[c] = true
			mu.Unlock()
			all.Go(func() {
				defer c.Close()
				br := bufio.NewReader(c)
				for n := 0; ; n++ {
					head, length := "", 0
					for !strings.HasSuffix(head, "\r\n\r\n") {
						line, err := br.ReadString('\n')
						if err != nil {
							return
						}
						fmt.Sscanf(line, "Content-Length: %d", &length)
						head += line
					}
					if _, err := br.Discard(length); err != nil {
						return
					}
					s.heads <- head
					if !answer(c, n, head) {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return s
}

func newTransport(t testing.TB) *http1.Transport {
	tr := &http1.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

const ok = "HTTP/1.1 200 OK\r\n"

// answerCases are answers of an upstream: what they mean, and whether the
// connection may carry another request afterwards.
var answerCases = []struct {
	name, method, answer string
	rule                 string // "" when the head is good
	body                 string
	bodyRule             string // "" when the body is good
	reused               bool
}{
	{"plain", "GET", ok + "Content-Length: 5\r\n\r\nhello", "", "hello", "", true},
	{"empty", "GET", ok + "Content-Length: 0\r\n\r\n", "", "", "", true},
	{"no reason", "GET", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "", "", "", true},
	{"no reason, no blank", "GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "", "", "", true},
	{"chunked", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "", "hello", "", true},
	{"chunked with extensions", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\n\r\n", "", "hello", "", true},
	{"until the end", "GET", ok + "\r\nhello", "", "hello", "", false},
	{"1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello", "", "hello", "", false},
	{"close", "GET", ok + "Content-Length: 5\r\nConnection: close\r\n\r\nhello", "", "hello", "", false},
	{"to HEAD", "HEAD", ok + "Content-Length: 5\r\n\r\n", "", "", "", true},
	{"to HEAD, with a body", "HEAD", ok + "Content-Length: 5\r\n\r\nhello", "", "", "", false},
	{"to HEAD, chunked", "HEAD", ok + "Transfer-Encoding: chunked\r\n\r\n", "", "", "", true},
	{"204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", "", "", "", true},
	{"204 with a length", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "", "", "", false},
	{"304 with a length", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "", "", "", true},
	{"another answer behind", "GET", ok + "Content-Length: 5\r\n\r\nhello" + ok + "Content-Length: 4\r\n\r\nevil", "", "hello", "", false},
	{"a byte behind", "GET", ok + "Content-Length: 5\r\n\r\nhello\n", "", "hello", "", false},
	{"another answer behind chunks", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + ok + "Content-Length: 4\r\n\r\nevil", "", "hello", "", false},
	{"continue before", "GET", "HTTP/1.1 100 Continue\r\n\r\n" + ok + "Content-Length: 5\r\n\r\nhello", "", "hello", "", true},
	{"hints before", "GET", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + ok + "Content-Length: 5\r\n\r\nhello", "", "hello", "", true},
	{"interim flood", "GET", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 50) + ok + "\r\n", "answer.interim", "", "", false},
	{"interim with a length", "GET", "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello" + ok + "\r\n", "answer.interim", "", "", false},
	{"upgrade nobody asked for", "GET", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "answer.upgrade", "", "", false},
	{"cl and te", "GET", ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "framing.cl-te", "", "", false},
	{"cl and te to HEAD", "HEAD", ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "framing.cl-te", "", "", false},
	{"two lengths", "GET", ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "framing.cl-twice", "", "", false},
	{"two equal lengths", "GET", ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "framing.cl-twice", "", "", false},
	{"length list", "GET", ok + "Content-Length: 5, 5\r\n\r\nhello", "framing.cl", "", "", false},
	{"length +5", "GET", ok + "Content-Length: +5\r\n\r\nhello", "framing.cl", "", "", false},
	{"te gzip", "GET", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", "framing.te-unknown", "", "", false},
	{"te in 1.0", "GET", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "framing.te-1.0", "", "", false},
	{"bare LF", "GET", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "line.bare-lf", "", "", false},
	{"folded", "GET", ok + "X: a\r\n b\r\nContent-Length: 0\r\n\r\n", "header.fold", "", "", false},
	{"bare CR in a value", "GET", ok + "X: a\rContent-Length: 9\r\nContent-Length: 0\r\n\r\n", "header.value", "", "", false},
	{"NUL in a value", "GET", ok + "X: a\x00\r\n\r\n", "header.value", "", "", false},
	{"blank before colon", "GET", ok + "Content-Length : 5\r\n\r\nhello", "header.space-before-colon", "", "", false},
	{"no colon", "GET", ok + "Content-Length\r\n\r\n", "header.no-colon", "", "", false},
	{"other protocol", "GET", "SSH-2.0-OpenSSH_9.2\r\n", "answer.syntax", "", "", false},
	{"HTTP/2", "GET", "HTTP/2.0 200 OK\r\n\r\n", "answer.version", "", "", false},
	{"HTTP/1.10", "GET", "HTTP/1.10 200 OK\r\n\r\n", "answer.syntax", "", "", false},
	{"status of letters", "GET", "HTTP/1.1 2xx OK\r\n\r\n", "answer.syntax", "", "", false},
	{"status of four digits", "GET", "HTTP/1.1 2000 OK\r\n\r\n", "answer.syntax", "", "", false},
	{"status 099", "GET", "HTTP/1.1 099 OK\r\n\r\n", "answer.syntax", "", "", false},
	{"status 600", "GET", "HTTP/1.1 600 OK\r\n\r\n", "answer.syntax", "", "", false},
	{"blank before the status", "GET", "HTTP/1.1  200 OK\r\n\r\n", "answer.syntax", "", "", false},
	{"escape in the reason", "GET", "HTTP/1.1 200 \x1b[31m\r\n\r\n", "answer.syntax", "", "", false},
	{"head cut short", "GET", "HTTP/1.1 200 OK\r\nContent-", "answer.short", "", "", false},
	{"too many lines", "GET", ok + strings.Repeat("X: y\r\n", 300) + "\r\n", "header.lines", "", "", false},
	{"head too long", "GET", ok + "X: " + strings.Repeat("y", 70<<10) + "\r\n\r\n", "header.bytes", "", "", false},
	{"long head", "GET", ok + "X: " + strings.Repeat("y", 60<<10) + "\r\nContent-Length: 0\r\n\r\n", "", "", "", true},
	{"body cut short", "GET", ok + "Content-Length: 9\r\n\r\nhello", "", "hello", "body.short", false},
	{"chunks cut short", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "", "hello", "body.short", false},
	{"bad chunk size", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n", "", "hello", "chunk.size", false},
	{"bad chunk end", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n", "", "hello", "chunk.end", false},
	{"chunk line ends with LF", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", "", "", "line.bare-lf", false},
	{"trailer of framing", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n", "", "hello", "trailer.forbidden", false},
	{"trailer with a cookie", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nSet-Cookie: a=b\r\n\r\n", "", "hello", "trailer.forbidden", false},
}

func TestAnswersOfUpstreams(t *testing.T) {
	for _, c := range answerCases {
		t.Run(c.name, func(t *testing.T) {
			up := scripted(t, func(conn net.Conn, n int, _ string) bool {
				if n > 0 || c.answer == "" {
					return false
				}
				io.WriteString(conn, c.answer)
				// Answers that end with the connection end here; the others stay open, so that
				// a connection that is not used again was given up by the client.
				return c.reused || strings.Contains(c.name, "behind")
			})
			tr := newTransport(t)
			var res http1.Response
			req := &http1.Request{Addr: up.addr, Method: c.method, Target: "/", NoRetry: true}
			err := tr.Do(t.Context(), &res, req)
			if c.rule != "" {
				var e *http1.Error
				if !errors.As(err, &e) || e.Rule != c.rule || e.Op != "answer" {
					t.Fatalf("got %v, want rule %s", err, c.rule)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(&res)
			var e *http1.Error
			if string(body) != c.body || (err != nil) != (c.bodyRule != "") || err != nil && (!errors.As(err, &e) || e.Rule != c.bodyRule || e.Op != "body") {
				t.Errorf("body %q, %v; want %q, rule %s", body, err, c.body, c.bodyRule)
			}
			res.Close()
			<-up.heads
			// A second request shows whether the connection was kept.
			if err := tr.Do(t.Context(), &res, req); err == nil {
				res.Close()
			}
			if kept := up.conns.Load() == 1; kept != c.reused {
				t.Errorf("connection kept: %v, want %v", kept, c.reused)
			}
		})
	}
}

// TestIdleBytes: what arrives on an idle connection is nobody's answer.
func TestIdleBytes(t *testing.T) {
	sent := make(chan bool)
	up := scripted(t, func(c net.Conn, n int, head string) bool {
		if strings.HasPrefix(head, "GET /poison ") {
			io.WriteString(c, ok+"Content-Length: 5\r\n\r\nhello")
			time.Sleep(20 * time.Millisecond) // so that it is not read together with the answer
			io.WriteString(c, ok+"Content-Length: 4\r\n\r\nevil")
			sent <- true
			return true
		}
		io.WriteString(c, ok+"Content-Length: 4\r\n\r\ngood")
		return true
	})
	tr := newTransport(t)
	for _, c := range []struct{ target, want string }{{"/poison", "hello"}, {"/victim", "good"}, {"/victim", "good"}} {
		var res http1.Response
		if err := tr.Do(t.Context(), &res, &http1.Request{Addr: up.addr, Method: "GET", Target: c.target}); err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(&res); string(b) != c.want {
			t.Fatalf("%s got %q", c.target, b)
		}
		res.Close()
		if c.target == "/poison" {
			<-sent
		}
	}
	if n := up.conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// TestRetry: what is sent a second time, and what never is.
func TestRetry(t *testing.T) {
	for _, c := range []struct {
		name, method string
		body         string
		noRetry      bool
		answers      bool // the upstream sends part of an answer before it closes
		again        bool
	}{
		{"GET", "GET", "", false, false, true},
		{"PUT", "PUT", "x", false, false, true},
		{"POST", "POST", "x", false, false, false},
		{"PATCH without a body", "PATCH", "", false, false, false},
		{"GET once only", "GET", "", true, false, false},
		{"GET with half an answer", "GET", "", false, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var handled atomic.Int64
			up := scripted(t, func(conn net.Conn, n int, head string) bool {
				handled.Add(1)
				if n == 1 { // the second request of a connection finds it closing
					if c.answers {
						io.WriteString(conn, "HTTP/1.1 2")
					}
					return false
				}
				io.WriteString(conn, ok+"Content-Length: 0\r\n\r\n")
				return true
			})
			tr := newTransport(t)
			var res http1.Response
			req := &http1.Request{Addr: up.addr, Method: c.method, Target: "/", Body: []byte(c.body), NoRetry: c.noRetry}
			if err := tr.Do(t.Context(), &res, req); err != nil {
				t.Fatal(err)
			}
			res.Close()
			err := tr.Do(t.Context(), &res, req)
			res.Close()
			if (err == nil) != c.again {
				t.Errorf("second request: %v", err)
			}
			var e *http1.Error
			if err != nil && (!errors.As(err, &e) || !e.Written) {
				t.Errorf("%v does not say that the request was written", err)
			}
			want := int64(2)
			if c.again {
				want = 3
			}
			if n := handled.Load(); n != want {
				t.Errorf("upstream saw %d requests, want %d", n, want)
			}
		})
	}
	t.Run("closed while idle", func(t *testing.T) {
		closed := make(chan bool)
		up := scripted(t, func(c net.Conn, n int, _ string) bool {
			io.WriteString(c, ok+"Content-Length: 0\r\n\r\n")
			if n == 0 {
				go func() { time.Sleep(5 * time.Millisecond); c.Close(); closed <- true }()
			}
			return true
		})
		tr := newTransport(t)
		var res http1.Response
		for range 3 { // not even a POST fails on a connection that was closed before
			if err := tr.Do(t.Context(), &res, &http1.Request{Addr: up.addr, Method: "POST", Target: "/", NoRetry: true}); err != nil {
				t.Fatal(err)
			}
			res.Close()
			<-closed
			time.Sleep(5 * time.Millisecond) // until the close has crossed the loopback
		}
	})
}

// TestRequestHead looks at what goes upstream.
func TestRequestHead(t *testing.T) {
	up := scripted(t, func(c net.Conn, n int, _ string) bool {
		io.WriteString(c, ok+"Content-Length: 0\r\n\r\n")
		return true
	})
	tr := newTransport(t)
	var res http1.Response
	do := func(req http1.Request) (string, error) {
		req.Addr = up.addr
		if req.Target == "" {
			req.Target = "/"
		}
		if err := tr.Do(t.Context(), &res, &req); err != nil {
			return "", err
		}
		res.Close()
		return <-up.heads, nil
	}
	head, err := do(http1.Request{
		Method: "POST", Target: "/x?y", Host: "a.example", Body: []byte("hello"),
		Header: http.Header{
			"X-A": {"1", "2"}, "Connection": {"close, x-hop"}, "X-Hop": {"1"}, "Keep-Alive": {"1"}, "Te": {"trailers"}, "Transfer-Encoding": {"chunked"},
			"Content-Length": {"99"}, "Host": {"evil"}, "Expect": {"100-continue"}, "Upgrade": {"h2c"}, "Trailer": {"X"}, "X-Forwarded-For": {"spoofed"}, "X-Gone": {"1"},
		},
		Extra: []http1.Field{{Name: "X-Forwarded-For", Value: "192.0.2.1"}, {Name: "X-Gone"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := "POST /x?y HTTP/1.1\r\nHost: a.example\r\nX-A: 1\r\nX-A: 2\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 5\r\n\r\n"; head != want {
		t.Errorf("got  %q\nwant %q", head, want)
	}
	if head, err = do(http1.Request{Method: "GET"}); err != nil || head != "GET / HTTP/1.1\r\nHost: "+up.addr+"\r\n\r\n" {
		t.Errorf("%q %v", head, err)
	}
	if head, err = do(http1.Request{Method: "PUT"}); err != nil || !strings.Contains(head, "Content-Length: 0\r\n") {
		t.Errorf("%q %v", head, err)
	}
	for name, req := range map[string]http1.Request{
		"method":         {Method: "GET / HTTP/1.1\r\nX:"},
		"target":         {Method: "GET", Target: "/ HTTP/1.1\r\nX: "},
		"absolute":       {Method: "GET", Target: "http://evil/"},
		"fragment":       {Method: "GET", Target: "/#x"},
		"host":           {Method: "GET", Host: "a\r\nX: 1"},
		"name":           {Method: "GET", Header: http.Header{"X: 1\r\nY": {"1"}}},
		"value":          {Method: "GET", Header: http.Header{"X": {"1\r\nY: 1"}}},
		"value with LF":  {Method: "GET", Header: http.Header{"X": {"1\nY: 1"}}},
		"extra":          {Method: "GET", Extra: []http1.Field{{Name: "X", Value: "1\r\nY: 1"}}},
		"upgrade":        {Method: "GET", Upgrade: "websocket\r\nX: 1"},
		"value with NUL": {Method: "GET", Header: http.Header{"X": {"\x00"}}},
	} {
		var e *http1.Error
		if head, err := do(req); !errors.As(err, &e) || e.Op != "request" || e.Written {
			t.Errorf("%s: sent %q, %v", name, head, err)
		}
	}
}

// TestInterim: hints are passed on, their header not mixed with the answer's.
func TestInterim(t *testing.T) {
	up := scripted(t, func(c net.Conn, n int, _ string) bool {
		io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"+ok+"Content-Length: 0\r\n\r\n")
		return true
	})
	var got []string
	var res http1.Response
	err := newTransport(t).Do(t.Context(), &res, &http1.Request{Addr: up.addr, Method: "GET", Target: "/", On1xx: func(status int, h http.Header) {
		got = append(got, fmt.Sprint(status, h.Get("Link")))
	}})
	if err != nil || len(got) != 1 || got[0] != "103</x>" || res.Header.Get("Link") != "" {
		t.Fatal(err, got, res.Header)
	}
	res.Close()
}

// TestEarlyUpstreamAnswer: an upstream that answers before it has read the
// request is heard, and its connection not used again.
func TestEarlyUpstreamAnswer(t *testing.T) {
	for _, c := range []struct {
		name string
		req  http1.Request
	}{
		{"long body", http1.Request{Body: make([]byte, 8<<20)}},
		{"stream", http1.Request{Stream: endless{}, Length: -1}},
		{"stream of a length", http1.Request{Stream: endless{}, Length: 1 << 40}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := listen(t)
			defer l.Close()
			var n atomic.Int64
			var all sync.WaitGroup
			defer all.Wait()
			defer l.Close()
			all.Go(func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					n.Add(1)
					all.Go(func() {
						defer conn.Close()
						http.ReadRequest(bufio.NewReaderSize(conn, 16))
						io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
						io.Copy(io.Discard, io.LimitReader(conn, 1)) // stays open, reads no further
						time.Sleep(50 * time.Millisecond)
					})
				}
			})
			tr := newTransport(t)
			for range 2 {
				req := c.req
				req.Addr, req.Method, req.Target = l.Addr().String(), "POST", "/"
				var res http1.Response
				if err := tr.Do(t.Context(), &res, &req); err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(&res); res.Status != 413 || string(b) != "big" || err != nil {
					t.Fatal(res.Status, string(b), err)
				}
				res.Close()
			}
			if n.Load() != 2 {
				t.Errorf("%d connections", n.Load())
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

type failing struct {
	io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}

// TestBrokenStream: a request whose body fails is never made to look complete.
func TestBrokenStream(t *testing.T) {
	broken := errors.New("client went away")
	for _, length := range []int64{-1, 100} {
		read := make(chan error, 1)
		up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			read <- err
		}))
		var res http1.Response
		err := newTransport(t).Do(t.Context(), &res, &http1.Request{
			Addr: up.Listener.Addr().String(), Method: "POST", Target: "/", Stream: &failing{strings.NewReader("some"), broken}, Length: length})
		var e *http1.Error
		if !errors.As(err, &e) || e.Op != "stream" || !errors.Is(err, broken) {
			t.Errorf("length %d: %v", length, err)
		}
		if err := <-read; err == nil {
			t.Errorf("length %d: the upstream took the body for whole", length)
		}
		up.Close()
	}
}

// TestStalledUpload: an upstream answers early while the client has stopped
// sending. The answer gets through at once, nobody reads the body any more when
// the exchange is closed, and the connection carries the next request.
func TestStalledUpload(t *testing.T) {
	up := scripted(t, func(c net.Conn, _ int, head string) bool { // answers after the head
		io.WriteString(c, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
		return true
	})
	tr := newTransport(t)
	front := serve(t, &http1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 {
			return
		}
		var body guardedReader
		body.Reader = r.Body
		var res http1.Response
		if err := tr.Do(r.Context(), &res, &http1.Request{Addr: up.addr, Method: "POST", Target: "/", Stream: &body, Length: -1}); err != nil {
			t.Error(err)
			return
		}
		w.WriteHeader(res.Status)
		io.Copy(w, &res)
		res.Close()
		if !body.mu.TryLock() {
			t.Error("the body is still being read after Close")
		}
	})})
	c, br := dial(t, front)
	for range 3 {
		io.WriteString(c, "POST / HTTP/1.1\r\n"+h+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		res, b := readAnswer(t, br, "POST")
		if res.StatusCode != 401 || b != "no" {
			t.Fatal(res.StatusCode, b)
		}
		if res.Close {
			c, br = dial(t, front)
			continue
		}
		io.WriteString(c, "0\r\n\r\nGET / HTTP/1.1\r\n"+h+"\r\n")
		if res, _ := readAnswer(t, br, "GET"); res.StatusCode != 200 {
			t.Fatal(res.StatusCode)
		}
	}
}

// A guardedReader shows whether it is being read.
type guardedReader struct {
	io.Reader
	mu sync.Mutex
}

func (g *guardedReader) Read(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.Reader.Read(p)
}

// TestCancel: a context ends an exchange at each of its stages.
func TestCancel(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		streaming    bool
	}{
		{"before the answer", "", false}, {"inside the head", "HTTP/1.1 2", false}, {"inside the body", ok + "Content-Length: 9\r\n\r\nhel", false},
		{"while streaming", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			up := scripted(t, func(conn net.Conn, n int, _ string) bool {
				io.WriteString(conn, c.answer)
				time.AfterFunc(20*time.Millisecond, cancel)
				return true
			})
			tr := newTransport(t)
			req := &http1.Request{Addr: up.addr, Method: "POST", Target: "/"}
			if c.streaming {
				req.Stream, req.Length = endless{}, -1
			}
			var res http1.Response
			err := tr.Do(ctx, &res, req)
			if err == nil {
				_, err = io.ReadAll(&res)
				res.Close()
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		})
	}
	t.Run("deadline", func(t *testing.T) {
		up := scripted(t, func(net.Conn, int, string) bool { return true })
		var res http1.Response
		err := newTransport(t).Do(t.Context(), &res, &http1.Request{Addr: up.addr, Method: "GET", Target: "/", Deadline: time.Now().Add(30 * time.Millisecond)})
		var e *http1.Error
		if !errors.As(err, &e) || !e.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) || !e.Written {
			t.Fatal(err)
		}
	})
	t.Run("bound of time", func(t *testing.T) {
		up := scripted(t, func(c net.Conn, _ int, _ string) bool {
			io.WriteString(c, ok+"Content-Length: 9\r\n\r\nhel")
			return true
		})
		tr := &http1.Transport{AnswerTimeout: 10 * time.Second, BodyTimeout: 30 * time.Millisecond}
		var res http1.Response
		if err := tr.Do(t.Context(), &res, &http1.Request{Addr: up.addr, Method: "GET", Target: "/"}); err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		if b, err := io.ReadAll(&res); string(b) != "hel" || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%q %v", b, err)
		}
	})
	t.Run("client gone", func(t *testing.T) { // through the server's own context
		asked := make(chan bool)
		up := scripted(t, func(c net.Conn, _ int, _ string) bool { asked <- true; return true })
		failed := make(chan error)
		tr := newTransport(t)
		front := serve(t, &http1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var res http1.Response
			failed <- tr.Do(r.Context(), &res, &http1.Request{Addr: up.addr, Method: "GET", Target: "/"})
		})})
		c, _ := dial(t, front)
		io.WriteString(c, "GET / HTTP/1.1\r\n"+h+"\r\n")
		<-asked
		c.Close()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
}

func TestDialErrors(t *testing.T) {
	l := listen(t)
	addr := l.Addr().String()
	l.Close()
	var res http1.Response
	var e *http1.Error
	err := newTransport(t).Do(t.Context(), &res, &http1.Request{Addr: addr, Method: "GET", Target: "/"})
	if !errors.As(err, &e) || e.Op != "dial" || e.Written {
		t.Error(err)
	}
	up := scripted(t, func(net.Conn, int, string) bool { return false })
	refused := errors.New("not who it was")
	var closed atomic.Int64
	tr := &http1.Transport{
		Opened: func(ctx context.Context, addr string, c net.Conn) error { return refused },
		Closed: func(string, net.Conn) { closed.Add(1) },
	}
	err = tr.Do(t.Context(), &res, &http1.Request{Addr: up.addr, Method: "GET", Target: "/"})
	if !errors.As(err, &e) || e.Op != "opened" || !errors.Is(err, refused) || e.Written || len(up.heads) != 0 || closed.Load() != 0 {
		t.Error(err)
	}
}

// TestPoolBounds: requests wait for a connection, and idle ones are few.
func TestPoolBounds(t *testing.T) {
	release := make(chan bool)
	up := scripted(t, func(c net.Conn, n int, head string) bool {
		if strings.HasPrefix(head, "GET /slow") {
			<-release
		}
		io.WriteString(c, ok+"Content-Length: 0\r\n\r\n")
		return true
	})
	var opened, closed atomic.Int64
	tr := &http1.Transport{
		MaxConnsPerAddr: 2, MaxIdlePerAddr: 1, DialTimeout: 10 * time.Second,
		Opened: func(context.Context, string, net.Conn) error { opened.Add(1); return nil },
		Closed: func(string, net.Conn) { closed.Add(1) },
	}
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			var res http1.Response
			if err := tr.Do(t.Context(), &res, &http1.Request{Addr: up.addr, Method: "GET", Target: "/slow"}); err != nil {
				t.Error(i, err)
				return
			}
			res.Close()
		})
	}
	for range 2 {
		<-up.heads
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var res http1.Response
	var e *http1.Error
	if err := tr.Do(ctx, &res, &http1.Request{Addr: up.addr, Method: "GET", Target: "/"}); !errors.As(err, &e) || e.Op != "wait" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting: %v", err)
	}
	close(release)
	all.Wait()
	if up.conns.Load() != 2 {
		t.Errorf("%d connections", up.conns.Load())
	}
	if o, c := opened.Load(), closed.Load(); o-c != 1 {
		t.Errorf("%d opened, %d closed: one may be idle", o, c)
	}
	tr.CloseIdle(up.addr)
	if o, c := opened.Load(), closed.Load(); o != c {
		t.Errorf("%d opened, %d closed", o, c)
	}
}

func TestIdleTimeout(t *testing.T) {
	up := scripted(t, func(c net.Conn, n int, head string) bool {
		io.WriteString(c, ok+"Content-Length: 0\r\n\r\n")
		return true
	})
	closed := make(chan bool, 1)
	tr := &http1.Transport{IdleTimeout: 20 * time.Millisecond, Opened: func(context.Context, string, net.Conn) error { return nil }, Closed: func(string, net.Conn) { closed <- true }}
	var res http1.Response
	if err := tr.Do(t.Context(), &res, &http1.Request{Addr: up.addr, Method: "GET", Target: "/"}); err != nil {
		t.Fatal(err)
	}
	res.Close()
	<-closed
}

// TestUpgrade carries a WebSocket-like conversation through both sides.
func TestUpgrade(t *testing.T) {
	up := serve(t, &http1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, brw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprintf(brw, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\nready;")
		brw.Flush()
		io.Copy(c, brw)
	})})
	var res http1.Response
	tr := newTransport(t)
	if err := tr.Do(t.Context(), &res, &http1.Request{Addr: up, Method: "GET", Target: "/", Upgrade: "websocket"}); err != nil {
		t.Fatal(err)
	}
	if res.Status != 101 || res.Header.Get("Upgrade") != "WebSocket" {
		t.Fatal(res.Status, res.Header)
	}
	c, read, err := res.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "hello")
	c.(*net.TCPConn).CloseWrite()
	rest, _ := io.ReadAll(c)
	if got := string(read) + string(rest); got != "ready;hello" {
		t.Fatalf("got %q", got)
	}
	if err := res.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAgainstStandard runs the same requests through this package and through
// net/http, against net/http's server and this package's, and compares.
func TestAgainstStandard(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("X-Method", r.Method)
		w.Header().Set("X-Uri", r.RequestURI)
		w.Header().Set("X-Path", r.URL.Path)
		w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
		w.Header().Set("X-Trailer", fmt.Sprint(r.Trailer.Get("X-Sum")))
		w.Header().Set("Content-Type", "x/y")
		switch r.URL.Path {
		case "/stream":
			for i := range 20 {
				fmt.Fprintf(w, "%d;", i)
				w.(http.Flusher).Flush()
			}
		case "/204":
			w.WriteHeader(204)
			return
		case "/trailer":
			w.Header().Set("Trailer", "X-Late")
			io.WriteString(w, "x")
			w.Header().Set("X-Late", "1")
		case "/big":
			w.Write(bytes.Repeat([]byte("0123456789"), 50000))
		}
		w.Write(b)
	})
	ours := serve(t, &http1.Server{Handler: handler})
	theirs := httptest.NewServer(handler)
	t.Cleanup(theirs.Close)
	mine := newTransport(t)
	standard := &http.Transport{DisableCompression: true}
	t.Cleanup(standard.CloseIdleConnections)
	for _, c := range []struct {
		method, target string
		body           func() (io.Reader, http.Header)
	}{
		{"GET", "/a?b=c%20d", nil}, {"HEAD", "/a", nil}, {"GET", "/stream", nil}, {"GET", "/204", nil}, {"GET", "/trailer", nil}, {"GET", "/big", nil}, {"HEAD", "/big", nil},
		{"POST", "/a%2Fb", func() (io.Reader, http.Header) { return strings.NewReader("hello"), nil }},
		{"PUT", "/a", func() (io.Reader, http.Header) { return bytes.NewReader(make([]byte, 300000)), nil }},
		{"POST", "/a", func() (io.Reader, http.Header) { return io.MultiReader(strings.NewReader("hello")), nil }},
		{"POST", "/a", func() (io.Reader, http.Header) {
			return io.MultiReader(strings.NewReader("hello")), http.Header{"X-Sum": {"42"}}
		}},
		{"DELETE", "/a", nil},
	} {
		var want string
		for i, way := range []struct {
			name string
			rt   http.RoundTripper
			addr string
		}{{"net/http both", standard, theirs.Listener.Addr().String()}, {"our client", mine, theirs.Listener.Addr().String()}, {"our server", standard, ours}, {"ours both", mine, ours}} {
			var body io.Reader
			var trailer http.Header
			if c.body != nil {
				body, trailer = c.body()
			}
			req, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+way.addr+c.target, body)
			if err != nil {
				t.Fatal(err)
			}
			if trailer != nil {
				req.Trailer = trailer
			}
			res, err := way.rt.RoundTrip(req)
			if err != nil {
				t.Fatalf("%s %s, %s: %v", c.method, c.target, way.name, err)
			}
			b, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil {
				t.Fatalf("%s %s, %s: %v", c.method, c.target, way.name, err)
			}
			for _, name := range []string{"Date", "Content-Length", "Connection"} {
				res.Header.Del(name)
			}
			got := fmt.Sprint(res.StatusCode, " ", res.Header, " ", res.Trailer, " ", string(b))
			if i == 0 {
				want = got
			} else if got != want {
				t.Errorf("%s %s, %s:\n got %.500q\nwant %.500q", c.method, c.target, way.name, got, want)
			}
		}
	}
}

// TestConcurrentRelays has many clients with bodies of many sizes and both
// framings share a relay; every one must get its own bytes back.
func TestConcurrentRelays(t *testing.T) {
	echo := serve(t, &http1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength >= 0 {
			w.Header().Set("Content-Length", fmt.Sprint(r.ContentLength))
		}
		w.Header().Set("X-Id", r.Header.Get("X-Id"))
		io.Copy(w, r.Body)
	})})
	tr := newTransport(t)
	front := serve(t, &http1.Server{Handler: &relay{t: tr, addr: echo}})
	standard := &http.Transport{MaxIdleConnsPerHost: 16}
	defer standard.CloseIdleConnections()
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 60 {
				id := fmt.Sprintf("%d-%d", g, i)
				payload := []byte(strings.Repeat(id+";", 1+(i*i*i)%20000))
				var body io.Reader = bytes.NewReader(payload)
				if i%2 == 0 {
					body = io.MultiReader(body) // chunked
				}
				req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+front+"/"+id, body)
				req.Header.Set("X-Id", id)
				res, err := standard.RoundTrip(req)
				if err != nil {
					t.Error(id, err)
					return
				}
				b, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.Header.Get("X-Id") != id || !bytes.Equal(b, payload) {
					t.Errorf("%s: %v, header %q, %d of %d bytes", id, err, res.Header.Get("X-Id"), len(b), len(payload))
				}
			}
		})
	}
	all.Wait()
}

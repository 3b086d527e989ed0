package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"sallyport.dev/gateway/http1"
)

// memory is a connection whose other side has said all it has to say.
type memory struct {
	in  io.Reader
	out bytes.Buffer
}

func (m *memory) Read(p []byte) (int, error)       { return m.in.Read(p) }
func (m *memory) Write(p []byte) (int, error)      { return m.out.Write(p) }
func (m *memory) Close() error                     { return nil }
func (m *memory) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (m *memory) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (m *memory) SetDeadline(time.Time) error      { return nil }
func (m *memory) SetReadDeadline(time.Time) error  { return nil }
func (m *memory) SetWriteDeadline(time.Time) error { return nil }

// served is what a server made of a stream of bytes.
type served struct {
	requests []seen
	rules    []string
	answers  string
}

func serveBytes(in io.Reader) served {
	w := newWitness()
	w.MaxBodyBytes = 1 << 20
	now := time.Unix(1e9, 0)
	w.OnPanic = func(r *http.Request, v any) { panic(v) }
	w.Now = func() time.Time { return now }
	c := &memory{in: in}
	w.ServeConn(context.Background(), c)
	s := served{requests: w.requests, answers: c.out.String()}
	for _, r := range w.refusals {
		s.rules = append(s.rules, r.Rule)
	}
	return s
}

// compareWithStandard has net/http read the same bytes: each request that our
// handler saw must be there, in order, and be the same request.
func compareWithStandard(t *testing.T, data []byte, got []seen) {
	br := bufio.NewReader(bytes.NewReader(data))
	for i, r := range got {
		if b, _ := br.Peek(2); string(b) == "\r\n" {
			br.Discard(2)
		}
		std, err := http.ReadRequest(br)
		if err != nil {
			if _, bad := url.ParseRequestURI(r.target); bad != nil {
				return // a broken escape: the guard's to judge, not ours
			}
			t.Fatalf("request %d: net/http refuses what we served: %v\n%+v", i, err, r)
		}
		body, err := io.ReadAll(std.Body)
		if err != nil {
			t.Fatalf("request %d: net/http fails on a body that we read: %v", i, err)
		}
		target := std.URL.RequestURI()
		if strings.HasPrefix(std.RequestURI, "/") || std.RequestURI == "*" {
			target = std.RequestURI
		}
		if !strings.HasPrefix(std.RequestURI, "/") && std.RequestURI != "*" { // absolute form: all behind the authority
			_, rest, _ := strings.Cut(std.RequestURI, "://")
			if n := strings.IndexAny(rest, "/?"); n >= 0 {
				target = rest[n:]
			} else {
				target = "/"
			}
			if target[0] == '?' {
				target = "/" + target
			}
			if host := strings.ToLower(r.host); strings.TrimSuffix(strings.TrimSuffix(host, ":80"), ":443") != strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(std.Host), ":80"), ":443") {
				t.Fatalf("request %d: host %q, net/http %q", i, r.host, std.Host)
			}
		} else if r.host != std.Host {
			t.Fatalf("request %d: host %q, net/http %q", i, r.host, std.Host)
		}
		if r.method != std.Method || r.target != target || r.body != string(body) {
			t.Fatalf("request %d: %s %s %q, net/http %s %s %q", i, r.method, r.target, r.body, std.Method, target, body)
		}
		want := std.Header.Clone()
		if _, there := r.header["Cache-Control"]; !there && std.Header.Get("Pragma") != "" {
			delete(want, "Cache-Control") // net/http adds one for Pragma: no-cache
		}
		for _, name := range []string{"Upgrade", "Http2-Settings"} { // ignored unless it is an upgrade we know
			if _, there := r.header[name]; !there {
				delete(want, name)
			}
		}
		if !reflect.DeepEqual(maps.Clone(r.header), want) {
			t.Fatalf("request %d: header %q, net/http %q", i, r.header, want)
		}
		if !sameTrailer(r.trailer, std.Trailer) {
			t.Fatalf("request %d: trailer %q, net/http %q", i, r.trailer, std.Trailer)
		}
	}
}

func sameTrailer(a, b http.Header) bool {
	for name, vs := range b {
		if !reflect.DeepEqual(a[name], vs) && len(vs)+len(a[name]) > 0 {
			return false
		}
	}
	for name, vs := range a {
		if len(vs) > 0 && b[name] == nil {
			return false
		}
	}
	return true
}

func checkServer(t *testing.T, data []byte) {
	whole := serveBytes(bytes.NewReader(data))
	compareWithStandard(t, data, whole.requests)
	// How the network cuts the bytes must not matter.
	for name, in := range map[string]io.Reader{"byte by byte": iotest.OneByteReader(bytes.NewReader(data)), "in halves": iotest.HalfReader(bytes.NewReader(data))} {
		if len(data) > 4096 && name == "byte by byte" {
			continue
		}
		if cut := serveBytes(in); !reflect.DeepEqual(cut.requests, whole.requests) || !sameRules(cut.rules, whole.rules) {
			t.Fatalf("%s: %+v\nwhole: %+v", name, cut, whole)
		}
	}
	if n := len(whole.rules); n > 1 {
		t.Fatalf("%d refusals on one connection", n)
	}
	// Our own answers are answers to a strict reader.
	br := bufio.NewReader(strings.NewReader(whole.answers))
	for i := range len(whole.requests) + len(whole.rules) {
		method := "GET"
		if i < len(whole.requests) {
			method = whole.requests[i].method
		} else if strings.HasPrefix(string(data), "HEAD ") || bytes.Contains(data, []byte("HEAD ")) {
			break
		}
		res, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("answer %d: %v in %q", i, err, whole.answers)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatalf("answer %d: %v in %q", i, err, whole.answers)
		}
	}
}

// sameRules: a head that is both too long and broken may be found to be one or
// the other first; that it is refused must not depend on the cuts.
func sameRules(a, b []string) bool { return len(a) == len(b) }

// TestDifferential runs the table through the comparison.
func TestDifferential(t *testing.T) {
	for _, c := range framingCases {
		if len(c.raw) < 64<<10 {
			t.Run(c.name, func(t *testing.T) { checkServer(t, []byte(c.raw)) })
		}
	}
}

// FuzzServerHead: whatever we serve, net/http reads as the same request; and
// the verdict does not depend on how the bytes arrive. Nothing in it depends on
// time: the server's clock stands still. A run that -fuzztime ends by the clock
// may all the same fail with "context deadline exceeded" and no input, on a
// loaded machine: internal/fuzz looks at the context of its workers before the
// deadline has reached it. A count (-fuzztime 500000x) can't.
func FuzzServerHead(f *testing.F) {
	for _, c := range framingCases {
		if len(c.raw) < 4<<10 {
			f.Add([]byte(c.raw))
		}
	}
	f.Add([]byte(strings.Repeat("GET /a HTTP/1.1\r\n"+h+"\r\n", 3)))
	f.Fuzz(checkServer)
}

// FuzzChunked: a chunked body that we take, the standard library's reader
// takes for the same bytes.
func FuzzChunked(f *testing.F) {
	for _, s := range []string{
		"0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "A\r\n0123456789\r\n0\r\nX: y\r\n\r\n", "5;a\r\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n",
		"ffffffffffffffff\r\n", "5\r\nhello0\r\n\r\n", "00000005\r\nhello\r\n0\r\n\r\n", " 5\r\n", "5 \r\n", "-5\r\n", "1\r\na\r\n1\r\nb\r\n0\r\n\r\nGET / HTTP/1.1\r\n" + h + "\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		raw := append([]byte("POST / HTTP/1.1\r\n"+h+"Transfer-Encoding: chunked\r\n\r\n"), data...)
		checkServer(t, raw)
		s := serveBytes(bytes.NewReader(raw))
		if len(s.requests) == 0 {
			return
		}
		want, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(data)))
		if err != nil || string(want) != s.requests[0].body {
			t.Fatalf("body %q, want %q, %v", s.requests[0].body, want, err)
		}
	})
}

// taken is what a client made of an answer.
type taken struct {
	status  int
	header  http.Header
	body    string
	err     string
	bodyErr bool
}

func takeAnswer(method string, in io.Reader, atOnce bool) taken {
	tr := &http1.Transport{Dial: func(context.Context, string, string) (net.Conn, error) { return &memory{in: in}, nil }}
	defer tr.CloseIdleConnections()
	var res http1.Response
	if err := tr.Do(context.Background(), &res, &http1.Request{Addr: "192.0.2.1:80", Method: method, Target: "/"}); err != nil {
		var e *http1.Error
		errors.As(err, &e)
		return taken{err: e.Op}
	}
	defer res.Close()
	if atOnce {
		if b, ok := res.Buffered(); ok {
			return taken{status: res.Status, header: res.Header.Clone(), body: string(b)}
		}
	}
	b, err := io.ReadAll(&res)
	return taken{status: res.Status, header: res.Header.Clone(), body: string(b), bodyErr: err != nil}
}

func checkAnswer(t *testing.T, data []byte, head bool) {
	method := "GET"
	if head {
		method = "HEAD"
	}
	got := takeAnswer(method, bytes.NewReader(data), false)
	if once := takeAnswer(method, bytes.NewReader(data), true); !reflect.DeepEqual(once, got) {
		t.Fatalf("at once: %+v\nread: %+v", once, got)
	}
	for name, in := range map[string]io.Reader{"byte by byte": iotest.OneByteReader(bytes.NewReader(data)), "in halves": iotest.HalfReader(bytes.NewReader(data))} {
		if cut := takeAnswer(method, in, false); !reflect.DeepEqual(cut, got) {
			t.Fatalf("%s: %+v\nwhole: %+v", name, cut, got)
		}
	}
	if got.err != "" {
		return
	}
	br := bufio.NewReader(bytes.NewReader(data))
	for {
		res, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("net/http refuses what we took: %v", err)
		}
		if res.StatusCode < 200 {
			continue
		}
		body, err := io.ReadAll(res.Body)
		if got.bodyErr {
			return // we stop where something is wrong with it; net/http may be more lenient
		}
		if err != nil || res.StatusCode != got.status || string(body) != got.body {
			t.Fatalf("status %d body %q; net/http %d %q %v", got.status, got.body, res.StatusCode, body, err)
		}
		for name, vs := range got.header {
			if !reflect.DeepEqual(res.Header[name], vs) && name != "Pragma" && name != "Cache-Control" {
				t.Fatalf("%s: %q, net/http %q", name, vs, res.Header[name])
			}
		}
		return
	}
}

// FuzzClientAnswer: an answer that we take, net/http reads the same way; and
// how it arrives does not matter.
func FuzzClientAnswer(f *testing.F) {
	for _, c := range answerCases {
		if len(c.answer) < 4<<10 {
			f.Add([]byte(c.answer), c.method == "HEAD")
		}
	}
	f.Fuzz(checkAnswer)
}

func TestAnswersAgainstStandard(t *testing.T) {
	for _, c := range answerCases {
		if len(c.answer) < 4<<10 {
			t.Run(c.name, func(t *testing.T) { checkAnswer(t, []byte(c.answer), c.method == "HEAD") })
		}
	}
}

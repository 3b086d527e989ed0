package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev/gateway/http1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seen is what a handler was given.
type seen struct {
	method, target, host, body string
	header, trailer            http.Header
}

// witness is a server whose handler notes what it was given and answers 200,
// and that notes what it refused.
type witness struct {
	http1.Server
	mu       sync.Mutex
	requests []seen
	refusals []http1.Refusal
}

func newWitness() *witness {
	w := &witness{}
	w.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.mu.Lock()
		w.requests = append(w.requests, seen{r.Method, r.RequestURI, r.Host, string(body), r.Header.Clone(), r.Trailer.Clone()})
		w.mu.Unlock()
		fmt.Fprintf(rw, "%s %s", r.Method, r.RequestURI)
	})
	w.ErrorAnswer = func(r *http1.Refusal) (string, []byte) {
		r.ID = "req-1"
		return "application/problem+json", []byte(`{"status":` + fmt.Sprint(r.Status) + `}`)
	}
	w.OnRefuse = func(r *http1.Refusal) {
		w.mu.Lock()
		w.refusals = append(w.refusals, *r)
		w.mu.Unlock()
	}
	return w
}

func (w *witness) take() (requests []seen, refusals []http1.Refusal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	requests, refusals = w.requests, w.refusals
	w.requests, w.refusals = nil, nil
	return
}

// talk sends raw, closes the sending side, and reads all that comes back.
func talk(t testing.TB, addr, raw string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		io.WriteString(c, raw)
		c.(*net.TCPConn).CloseWrite()
	}()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("reading the answer to %.200q: %v (got %.200q)", raw, err, b)
	}
	return string(b)
}

func statusOf(answer string) int {
	var n int
	fmt.Sscanf(answer, "HTTP/1.1 %d", &n)
	return n
}

const h = "Host: a.example\r\n"

// framingCases are requests that have more than one reading, or none, each
// beside look-alikes that have exactly one.
var framingCases = []struct {
	name, raw string
	status    int
	rule      string // "" when it is to be served
}{
	// Framing.
	{"cl and te", "POST / HTTP/1.1\r\n" + h + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "framing.cl-te"},
	{"te and cl", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400, "framing.cl-te"},
	{"te and cl 0", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", 400, "framing.cl-te"},
	{"cl alone", "POST / HTTP/1.1\r\n" + h + "Content-Length: 4\r\n\r\nabcd", 200, ""},
	{"te alone", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n", 200, ""},
	{"te in capitals", "POST / HTTP/1.1\r\n" + h + "TRANSFER-ENCODING: Chunked\r\n\r\n0\r\n\r\n", 200, ""},
	{"te with tab before value", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n", 200, ""},
	{"te twice", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "framing.te-twice"},
	{"te identity and chunked in two lines", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "framing.te-twice"},
	{"te gzip, chunked", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "framing.te-unknown"},
	{"te chunked, identity", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 501, "framing.te-unknown"},
	{"te xchunked", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501, "framing.te-unknown"},
	{"te quoted", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400, "framing.te"},
	{"te with parameter", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 400, "framing.te"},
	{"te with vertical tab", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400, "header.value"},
	{"te with non-ASCII blank", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: \xa0chunked\r\n\r\n0\r\n\r\n", 400, "framing.te"},
	{"te empty", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding:\r\n\r\n", 400, "framing.te"},
	{"te in 1.0", "POST / HTTP/1.0\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "framing.te-1.0"},
	{"cl in 1.0", "POST / HTTP/1.0\r\n" + h + "Content-Length: 2\r\n\r\nab", 200, ""},
	{"te with underscore", "POST / HTTP/1.1\r\n" + h + "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400, "header.underscore"},
	{"two lengths", "POST / HTTP/1.1\r\n" + h + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", 400, "framing.cl-twice"},
	{"two equal lengths", "POST / HTTP/1.1\r\n" + h + "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400, "framing.cl-twice"},
	{"length list", "POST / HTTP/1.1\r\n" + h + "Content-Length: 4, 4\r\n\r\nabcd", 400, "framing.cl"},
	{"length +4", "POST / HTTP/1.1\r\n" + h + "Content-Length: +4\r\n\r\nabcd", 400, "framing.cl"},
	{"length -1", "POST / HTTP/1.1\r\n" + h + "Content-Length: -1\r\n\r\n", 400, "framing.cl"},
	{"length 0x4", "POST / HTTP/1.1\r\n" + h + "Content-Length: 0x4\r\n\r\nabcd", 400, "framing.cl"},
	{"length 04", "POST / HTTP/1.1\r\n" + h + "Content-Length: 04\r\n\r\nabcd", 400, "framing.cl"},
	{"length 4 4", "POST / HTTP/1.1\r\n" + h + "Content-Length: 4 4\r\n\r\nabcd", 400, "framing.cl"},
	{"length 4.0", "POST / HTTP/1.1\r\n" + h + "Content-Length: 4.0\r\n\r\nabcd", 400, "framing.cl"},
	{"length 1_0", "POST / HTTP/1.1\r\n" + h + "Content-Length: 1_0\r\n\r\nabcdefghij", 400, "framing.cl"},
	{"length empty", "POST / HTTP/1.1\r\n" + h + "Content-Length:\r\n\r\n", 400, "framing.cl"},
	{"length overflows", "POST / HTTP/1.1\r\n" + h + "Content-Length: 18446744073709551620\r\n\r\nabcd", 400, "framing.cl"},
	{"length overflows int64", "POST / HTTP/1.1\r\n" + h + "Content-Length: 9223372036854775808\r\n\r\nabcd", 400, "framing.cl"},
	{"length in fullwidth digits", "POST / HTTP/1.1\r\n" + h + "Content-Length: ４\r\n\r\nabcd", 400, "framing.cl"},
	{"length with blanks around", "POST / HTTP/1.1\r\n" + h + "Content-Length: \t 4 \t\r\n\r\nabcd", 200, ""},
	{"length 0", "POST / HTTP/1.1\r\n" + h + "Content-Length: 0\r\n\r\n", 200, ""},
	{"get with a body", "GET / HTTP/1.1\r\n" + h + "Content-Length: 4\r\n\r\nabcd", 200, ""},
	{"body cut short", "POST / HTTP/1.1\r\n" + h + "Content-Length: 9\r\n\r\nabcd", 400, "body.short"},
	{"trace with a body", "TRACE / HTTP/1.1\r\n" + h + "Content-Length: 4\r\n\r\nabcd", 400, "method.trace-body"},

	// Lines.
	{"bare LF everywhere", "GET / HTTP/1.1\nHost: a.example\n\n", 400, "line.bare-lf"},
	{"bare LF after the request line", "GET / HTTP/1.1\n" + h + "\r\n", 400, "line.bare-lf"},
	{"bare LF after a header", "GET / HTTP/1.1\r\nHost: a.example\n\r\n", 400, "line.bare-lf"},
	{"bare LF as the last line", "GET / HTTP/1.1\r\n" + h + "\n", 400, "line.bare-lf"},
	{"bare CR in a value", "GET / HTTP/1.1\r\n" + h + "X: a\rX-Admin: 1\r\n\r\n", 400, "header.value"},
	{"bare CR at the end of a value", "GET / HTTP/1.1\r\n" + h + "X: a\r\r\n\r\n", 400, "header.value"},
	{"bare CR in the request line", "GET /\rX HTTP/1.1\r\n" + h + "\r\n", 400, "target.syntax"},
	{"bare CR in a name", "GET / HTTP/1.1\r\n" + h + "X\rY: a\r\n\r\n", 400, "header.name"},
	{"NUL in a value", "GET / HTTP/1.1\r\n" + h + "X: a\x00b\r\n\r\n", 400, "header.value"},
	{"NUL in a name", "GET / HTTP/1.1\r\n" + h + "X\x00: a\r\n\r\n", 400, "header.name"},
	{"NUL in the target", "GET /\x00 HTTP/1.1\r\n" + h + "\r\n", 400, "target.syntax"},
	{"DEL in a value", "GET / HTTP/1.1\r\n" + h + "X: \x7f\r\n\r\n", 400, "header.value"},
	{"escape in a long value", "GET / HTTP/1.1\r\n" + h + "X: 0123456789\x1b[31m0123456789\r\n\r\n", 400, "header.value"},
	{"tab in a value", "GET / HTTP/1.1\r\n" + h + "X: 0123456789\ta\r\n\r\n", 200, ""},
	{"UTF-8 in a value", "GET / HTTP/1.1\r\n" + h + "X: größe\r\n\r\n", 200, ""},
	{"empty value", "GET / HTTP/1.1\r\n" + h + "X:\r\n\r\n", 200, ""},
	{"folded line, blank", "GET / HTTP/1.1\r\n" + h + "X: a\r\n b\r\n\r\n", 400, "header.fold"},
	{"folded line, tab", "GET / HTTP/1.1\r\n" + h + "X: a\r\n\tb: c\r\n\r\n", 400, "header.fold"},
	{"folded transfer encoding", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400, "header.fold"},
	{"blank before the first header", "GET / HTTP/1.1\r\n Host: a.example\r\n\r\n", 400, "header.leading-space"},
	{"blank before the colon", "GET / HTTP/1.1\r\nHost : a.example\r\n\r\n", 400, "header.space-before-colon"},
	{"tab before the colon", "POST / HTTP/1.1\r\n" + h + "Content-Length\t: 4\r\n\r\nabcd", 400, "header.space-before-colon"},
	{"no blank after the colon", "GET / HTTP/1.1\r\nHost:a.example\r\n\r\n", 200, ""},
	{"empty name", "GET / HTTP/1.1\r\n" + h + ": a\r\n\r\n", 400, "header.name-empty"},
	{"no colon", "GET / HTTP/1.1\r\n" + h + "Xyz\r\n\r\n", 400, "header.no-colon"},
	{"name with blank", "GET / HTTP/1.1\r\n" + h + "X Y: a\r\n\r\n", 400, "header.name"},
	{"name with slash", "GET / HTTP/1.1\r\n" + h + "X/Y: a\r\n\r\n", 400, "header.name"},
	{"name in UTF-8", "GET / HTTP/1.1\r\n" + h + "Größe: a\r\n\r\n", 400, "header.name"},
	{"name in parentheses", "GET / HTTP/1.1\r\n" + h + "(X): a\r\n\r\n", 400, "header.name"},
	{"name of odd token bytes", "GET / HTTP/1.1\r\n" + h + "x!#$%&'*+.^`|~1: a\r\n\r\n", 200, ""},
	{"one empty line first", "\r\nGET / HTTP/1.1\r\n" + h + "\r\n", 200, ""},
	{"two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\n" + h + "\r\n", 400, "line.not-http"},
	{"LF first", "\nGET / HTTP/1.1\r\n" + h + "\r\n", 400, "line.bare-lf"},
	{"blank first", " GET / HTTP/1.1\r\n" + h + "\r\n", 400, "line.syntax"},
	{"TLS on a plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "line.not-http"},
	{"head cut short", "GET / HTTP/1.1\r\nHost: a.ex", 400, "header.short"},

	// Host.
	{"no host", "GET / HTTP/1.1\r\n\r\n", 400, "host.missing"},
	{"no host in 1.0", "GET / HTTP/1.0\r\n\r\n", 200, ""},
	{"host twice", "GET / HTTP/1.1\r\n" + h + "Host: b.example\r\n\r\n", 400, "host.twice"},
	{"host twice, equal", "GET / HTTP/1.1\r\n" + h + h + "\r\n", 400, "host.twice"},
	{"host twice in 1.0", "GET / HTTP/1.0\r\n" + h + h + "\r\n", 400, "host.twice"},
	{"host empty", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "host.syntax"},
	{"host list", "GET / HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n", 400, "host.syntax"},
	{"host with path", "GET / HTTP/1.1\r\nHost: a.example/x\r\n\r\n", 400, "host.syntax"},
	{"host with user", "GET / HTTP/1.1\r\nHost: u@a.example\r\n\r\n", 400, "host.syntax"},
	{"host with bad port", "GET / HTTP/1.1\r\nHost: a.example:99999\r\n\r\n", 400, "host.syntax"},
	{"host with port and more", "GET / HTTP/1.1\r\nHost: a.example:80@b\r\n\r\n", 400, "host.syntax"},
	{"host with blank inside", "GET / HTTP/1.1\r\nHost: a example\r\n\r\n", 400, "host.syntax"},
	{"host in broken brackets", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "host.syntax"},
	{"host name in brackets", "GET / HTTP/1.1\r\nHost: [a.example]\r\n\r\n", 400, "host.syntax"},
	{"host with port", "GET / HTTP/1.1\r\nHost: a.example:8443\r\n\r\n", 200, ""},
	{"host is IPv6", "GET / HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n\r\n", 200, ""},
	{"host is IPv4", "GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", 200, ""},
	{"host with underscore name beside", "GET / HTTP/1.1\r\n" + h + "X_Forwarded_Host: b.example\r\n\r\n", 400, "header.underscore"},

	// Targets.
	{"absolute form", "GET http://a.example/x?y HTTP/1.1\r\n" + h + "\r\n", 200, ""},
	{"absolute form, default port", "GET http://A.example:80/x HTTP/1.1\r\n" + h + "\r\n", 200, ""},
	{"absolute form, no path", "GET https://a.example HTTP/1.1\r\n" + h + "\r\n", 200, ""},
	{"absolute form, foreign host", "GET http://b.example/x HTTP/1.1\r\n" + h + "\r\n", 400, "target.host"},
	{"absolute form, foreign port", "GET http://a.example:81/x HTTP/1.1\r\n" + h + "\r\n", 400, "target.host"},
	{"absolute form with user", "GET http://u:p@a.example/x HTTP/1.1\r\n" + h + "\r\n", 400, "target.form"},
	{"absolute form, other scheme", "GET file:///etc/passwd HTTP/1.1\r\n" + h + "\r\n", 400, "target.form"},
	{"absolute form without host header", "GET http://a.example/x HTTP/1.1\r\n\r\n", 400, "host.missing"},
	{"authority form", "GET a.example:443 HTTP/1.1\r\n" + h + "\r\n", 400, "target.form"},
	{"connect", "CONNECT a.example:443 HTTP/1.1\r\n" + h + "\r\n", 501, "method.connect"},
	{"connect with a path", "CONNECT / HTTP/1.1\r\n" + h + "\r\n", 501, "method.connect"},
	{"asterisk with OPTIONS", "OPTIONS * HTTP/1.1\r\n" + h + "\r\n", 200, ""},
	{"asterisk with GET", "GET * HTTP/1.1\r\n" + h + "\r\n", 400, "target.asterisk"},
	{"relative path", "GET x/y HTTP/1.1\r\n" + h + "\r\n", 400, "target.form"},
	{"raw UTF-8", "GET /größe HTTP/1.1\r\n" + h + "\r\n", 400, "target.syntax"},
	{"encoded UTF-8", "GET /gr%C3%B6%C3%9Fe HTTP/1.1\r\n" + h + "\r\n", 200, ""},
	{"fragment", "GET /x#y HTTP/1.1\r\n" + h + "\r\n", 400, "target.fragment"},
	{"encoded fragment", "GET /x%23y HTTP/1.1\r\n" + h + "\r\n", 200, ""},
	{"backslash", "GET /x\\..\\y HTTP/1.1\r\n" + h + "\r\n", 400, "target.syntax"},
	{"backslash in the query", "GET /x?y=\\ HTTP/1.1\r\n" + h + "\r\n", 400, "target.syntax"},
	{"tab in the target", "GET /x\ty HTTP/1.1\r\n" + h + "\r\n", 400, "target.syntax"},
	{"angle bracket in the path", "GET /<x> HTTP/1.1\r\n" + h + "\r\n", 400, "target.syntax"},
	{"brackets in the query", "GET /x?filter[name]=a|b&j={\"a\":1} HTTP/1.1\r\n" + h + "\r\n", 200, ""},
	{"broken escape is the guard's", "GET /x%zz HTTP/1.1\r\n" + h + "\r\n", 200, ""},
	{"two slashes", "GET //b.example/x HTTP/1.1\r\n" + h + "\r\n", 200, ""},
	{"sub-delimiters", "GET /a;b=c,d/(e)'f'!*@:$&+ HTTP/1.1\r\n" + h + "\r\n", 200, ""},
	{"target too long", "GET /" + strings.Repeat("a", 9<<10) + " HTTP/1.1\r\n" + h + "\r\n", 414, "target.long"},
	{"target too long, no end in sight", "GET /" + strings.Repeat("a", 60<<10), 414, "target.long"},
	{"target just short enough", "GET /" + strings.Repeat("a", 8<<10-1) + " HTTP/1.1\r\n" + h + "\r\n", 200, ""},

	// Request line.
	{"two blanks", "GET  / HTTP/1.1\r\n" + h + "\r\n", 400, "line.syntax"},
	{"two blanks before the version", "GET /  HTTP/1.1\r\n" + h + "\r\n", 400, "line.syntax"},
	{"blank in the target", "GET /a b HTTP/1.1\r\n" + h + "\r\n", 400, "line.syntax"},
	{"blank after the version", "GET / HTTP/1.1 \r\n" + h + "\r\n", 400, "line.syntax"},
	{"tab for a blank", "GET\t/ HTTP/1.1\r\n" + h + "\r\n", 400, "method.token"},
	{"method no token", "GE(T / HTTP/1.1\r\n" + h + "\r\n", 400, "method.token"},
	{"method with colon", "GET: / HTTP/1.1\r\n" + h + "\r\n", 400, "method.token"},
	{"method too long", strings.Repeat("A", 33) + " / HTTP/1.1\r\n" + h + "\r\n", 501, "method.long"},
	{"method of one's own", "PURGE-ALL / HTTP/1.1\r\n" + h + "\r\n", 200, ""},
	{"method in lower case stays what it is", "get / HTTP/1.1\r\n" + h + "\r\n", 200, ""},
	{"only a method", "GET\r\n\r\n", 400, "line.syntax"},
	{"HTTP/0.9", "GET /\r\n", 400, "version.missing"},
	{"HTTP/0.9 by number", "GET / HTTP/0.9\r\n\r\n", 505, "version.unsupported"},
	{"HTTP/1.2", "GET / HTTP/1.2\r\n" + h + "\r\n", 505, "version.unsupported"},
	{"HTTP/2.0", "GET / HTTP/2.0\r\n" + h + "\r\n", 505, "version.unsupported"},
	{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version.h2-preface"},
	{"version in lower case", "GET / http/1.1\r\n" + h + "\r\n", 400, "version.syntax"},
	{"version HTTP/1.10", "GET / HTTP/1.10\r\n" + h + "\r\n", 400, "version.syntax"},
	{"version HTTP/11", "GET / HTTP/11\r\n" + h + "\r\n", 400, "version.syntax"},
	{"version HTTP/+1.1", "GET / HTTP/+1.1\r\n" + h + "\r\n", 400, "version.syntax"},
	{"version of garbage", "GET / ICY\r\n" + h + "\r\n", 400, "version.syntax"},

	// Bounds.
	{"too many lines", "GET / HTTP/1.1\r\n" + h + strings.Repeat("X: y\r\n", 100) + "\r\n", 431, "header.lines"},
	{"just few enough lines", "GET / HTTP/1.1\r\n" + h + strings.Repeat("X: y\r\n", 99) + "\r\n", 200, ""},
	{"a line too long", "GET / HTTP/1.1\r\n" + h + "X: " + strings.Repeat("y", 33<<10) + "\r\n\r\n", 431, "header.bytes"},
	{"a long line", "GET / HTTP/1.1\r\n" + h + "X: " + strings.Repeat("y", 31<<10) + "\r\n\r\n", 200, ""},
	{"body too long", "POST / HTTP/1.1\r\n" + h + "Content-Length: 1048577\r\n\r\n", 413, "body.bytes"},
	{"chunks too long", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n100001\r\n", 413, "body.bytes"},
	{"chunks too long together", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("40000\r\n"+strings.Repeat("x", 0x40000)+"\r\n", 4) + "1\r\n", 413, "body.bytes"},

	// Chunks.
	{"chunk extension", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n4;a=b\r\nabcd\r\n0\r\n\r\n", 400, "chunk.extension"},
	{"extension of the last chunk", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0;x\r\n\r\n", 400, "chunk.extension"},
	{"chunk size with blank behind", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n4 \r\nabcd\r\n0\r\n\r\n", 400, "chunk.size"},
	{"chunk size with blank before", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n 4\r\nabcd\r\n0\r\n\r\n", 400, "chunk.size"},
	{"chunk size 0x4", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n0x4\r\nabcd\r\n0\r\n\r\n", 400, "chunk.size"},
	{"chunk size -1", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n-1\r\nabcd\r\n0\r\n\r\n", 400, "chunk.size"},
	{"chunk size empty", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n\r\n\r\n", 400, "chunk.size"},
	{"chunk size overflows", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff5\r\nabcd\r\n0\r\n\r\n", 400, "chunk.size"},
	{"chunk size overflows 63 bits", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n8000000000000000\r\nabcd\r\n0\r\n\r\n", 400, "chunk.size"},
	{"chunk size of zeros", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("0", 300) + "\r\n\r\n", 400, "chunk.size"},
	{"chunk size line ends with LF", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n4\nabcd\r\n0\r\n\r\n", 400, "line.bare-lf"},
	{"chunk size line ends with CR", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n4\rabcd\r\n0\r\n\r\n", 400, "chunk.size"},
	{"chunk longer than it says", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 400, "chunk.end"},
	{"chunk ends with LF", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\n0\r\n\r\n", 400, "chunk.end"},
	{"chunk ends with two other bytes", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n4\r\nabcdXX0\r\n\r\n", 400, "chunk.end"},
	{"chunk cut short", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n4\r\nab", 400, "body.short"},
	{"no last chunk", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n", 400, "body.short"},
	{"no end of trailers", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n0\r\n", 400, "body.short"},
	{"tiny chunks without end", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("0000000000000001\r\nx\r\n", 20000), 400, "chunk.overhead"},
	{"chunk size in both cases", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\nA\r\n0123456789\r\n00\r\n\r\n", 200, ""},
	{"many small chunks", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\nx\r\n", 5000) + "0\r\n\r\n", 200, ""},

	// Trailers.
	{"trailer", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n0\r\nX-Sum: 1\r\n\r\n", 200, ""},
	{"trailer with length", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 1\r\n\r\n", 400, "trailer.forbidden"},
	{"trailer with transfer encoding", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n0\r\ntransfer-encoding: x\r\n\r\n", 400, "trailer.forbidden"},
	{"trailer with host", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n", 400, "trailer.forbidden"},
	{"trailer with credentials", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer x\r\n\r\n", 400, "trailer.forbidden"},
	{"trailer with client address", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n0\r\nX_Forwarded_For: 1\r\n\r\n", 400, "trailer.forbidden"},
	{"trailer announces credentials", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\nTrailer: Cookie\r\n\r\n0\r\n\r\n", 400, "trailer.forbidden"},
	{"trailer folded", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n 2\r\n\r\n", 400, "header.fold"},
	{"trailer with bare LF", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\n\r\n", 400, "line.bare-lf"},
	{"trailers too long", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: " + strings.Repeat("1", 9<<10) + "\r\n\r\n", 431, "trailer.bytes"},
	{"too many trailers", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: 1\r\n", 200) + "\r\n", 431, "trailer.bytes"},

	// Fields that may stand once, Connection, Upgrade, Expect.
	{"credentials twice", "GET / HTTP/1.1\r\n" + h + "Authorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n", 400, "header.duplicate"},
	{"content type twice", "POST / HTTP/1.1\r\n" + h + "Content-Type: text/plain\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n", 400, "header.duplicate"},
	{"accept twice", "GET / HTTP/1.1\r\n" + h + "Accept: text/plain\r\nAccept: application/json\r\n\r\n", 200, ""},
	{"cookies in two lines", "GET / HTTP/1.1\r\n" + h + "Cookie: a=1\r\nCookie: b=2\r\n\r\n", 200, ""},
	{"length with underscore", "POST / HTTP/1.1\r\n" + h + "Content_Length: 4\r\n\r\n", 400, "header.underscore"},
	{"a name and its twin", "GET / HTTP/1.1\r\n" + h + "X_Tenant: a\r\nX-Tenant: b\r\n\r\n", 400, "header.underscore"},
	{"a name and its half twin", "GET / HTTP/1.1\r\n" + h + "X_Tenant-Id: a\r\nX-Tenant_Id: b\r\n\r\n", 400, "header.underscore"},
	{"harmless underscore", "GET / HTTP/1.1\r\n" + h + "access_token: a\r\n\r\n", 200, ""},
	{"connection names credentials", "GET / HTTP/1.1\r\n" + h + "Authorization: Bearer a\r\nConnection: close, Authorization\r\n\r\n", 400, "connection.nominates"},
	{"connection names forwarded", "GET / HTTP/1.1\r\n" + h + "Connection: X-Forwarded-For\r\n\r\n", 400, "connection.nominates"},
	{"connection names host", "GET / HTTP/1.1\r\n" + h + "Connection: host\r\n\r\n", 400, "connection.nominates"},
	{"connection names content length", "GET / HTTP/1.1\r\n" + h + "Connection: Content-Length\r\n\r\n", 400, "connection.nominates"},
	{"connection names a field that is there", "GET / HTTP/1.1\r\n" + h + "X-Tenant: a\r\nConnection: x-tenant\r\n\r\n", 400, "connection.nominates"},
	{"connection names a field that is not there", "GET / HTTP/1.1\r\n" + h + "Connection: x-other\r\n\r\n", 200, ""},
	{"connection with TE", "GET / HTTP/1.1\r\n" + h + "TE: trailers\r\nConnection: TE, keep-alive\r\n\r\n", 200, ""},
	{"connection with empty elements", "GET / HTTP/1.1\r\n" + h + "Connection: , keep-alive ,\r\n\r\n", 200, ""},
	{"connection no token", "GET / HTTP/1.1\r\n" + h + "Connection: keep alive\r\n\r\n", 400, "connection.syntax"},
	{"expect other things", "POST / HTTP/1.1\r\n" + h + "Expect: 200-ok\r\nContent-Length: 4\r\n\r\nabcd", 417, "expect.unknown"},
	{"expect in 1.0", "POST / HTTP/1.0\r\n" + h + "Expect: 100-continue\r\nContent-Length: 4\r\n\r\nabcd", 200, ""},
	{"upgrade with a body", "GET / HTTP/1.1\r\n" + h + "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n\r\nabcd", 400, "upgrade.body"},
	{"upgrade to h2c is ignored", "GET / HTTP/1.1\r\n" + h + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n", 200, ""},
	{"upgrade without connection is ignored", "GET / HTTP/1.1\r\n" + h + "Upgrade: websocket\r\n\r\n", 200, ""},
}

func TestFraming(t *testing.T) {
	w := newWitness()
	w.MaxBodyBytes = 1 << 20
	addr := serve(t, &w.Server)
	refused, served := 0, 0
	for _, c := range framingCases {
		t.Run(c.name, func(t *testing.T) {
			// A second request behind the first must never be taken for one when the first was refused.
			answer := talk(t, addr, c.raw)
			requests, refusals := w.take()
			if got := statusOf(answer); got != c.status {
				t.Errorf("status %d, want %d; refusals %v; answer %.200q", got, c.status, refusals, answer)
			}
			if c.rule == "" {
				served++
				if len(requests) != 1 || len(refusals) != 0 {
					t.Errorf("handler called %d times, refusals %v", len(requests), refusals)
				}
				for _, r := range requests {
					if r.header["Upgrade"] != nil || r.header["Http2-Settings"] != nil {
						t.Errorf("an upgrade that is none reaches the handler: %v", r.header)
					}
				}
				return
			}
			refused++
			if len(refusals) != 1 || refusals[0].Rule != c.rule || refusals[0].Status != c.status {
				t.Fatalf("refusals %v, want rule %s", refusals, c.rule)
			}
			if refusals[0].ID != "req-1" || refusals[0].Conn == nil || refusals[0].Time.IsZero() {
				t.Errorf("refusal %+v", refusals[0])
			}
			if len(requests) != 0 {
				t.Errorf("handler saw %v", requests)
			}
			if !strings.Contains(answer, "\r\nConnection: close\r\n") || !strings.Contains(answer, "\r\nContent-Type: application/problem+json\r\nX-Request-Id: req-1\r\n") || !strings.Contains(answer, "\r\nDate: ") {
				t.Errorf("answer %q", answer)
			}
		})
	}
	t.Logf("%d shapes refused, %d look-alikes served", refused, served)
}

// TestNothingBehindARefusal smuggles a request behind each refused one: it is never served.
func TestNothingBehindARefusal(t *testing.T) {
	w := newWitness()
	w.MaxBodyBytes = 1 << 20
	addr := serve(t, &w.Server)
	for _, c := range framingCases {
		if c.rule == "" || len(c.raw) > 64<<10 || strings.HasSuffix(c.rule, ".short") {
			continue
		}
		answer := talk(t, addr, c.raw+"GET /smuggled HTTP/1.1\r\n"+h+"\r\n")
		if requests, _ := w.take(); len(requests) != 0 || strings.Count(answer, "HTTP/1.1 ") != 1 {
			t.Errorf("%s: handler saw %v, answer %q", c.name, requests, answer)
		}
	}
}

func TestPipelining(t *testing.T) {
	w := newWitness()
	addr := serve(t, &w.Server)
	var raw strings.Builder
	for i := range 300 {
		switch i % 3 {
		case 0:
			fmt.Fprintf(&raw, "GET /%d HTTP/1.1\r\n%s\r\n", i, h)
		case 1:
			fmt.Fprintf(&raw, "POST /%d HTTP/1.1\r\n%sContent-Length: 5\r\n\r\nhello", i, h)
		case 2:
			fmt.Fprintf(&raw, "POST /%d HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", i, h)
		}
	}
	answer := talk(t, addr, raw.String())
	br := bufio.NewReader(strings.NewReader(answer))
	for i := range 300 {
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		b, _ := io.ReadAll(res.Body)
		if want := fmt.Sprintf("/%d", i); !strings.HasSuffix(string(b), want) {
			t.Fatalf("answer %d is %q", i, b)
		}
	}
	requests, _ := w.take()
	for i, r := range requests {
		if i%3 != 0 && r.body != "hello" {
			t.Fatalf("request %d had body %q", i, r.body)
		}
	}
}

func TestKeepAlive(t *testing.T) {
	for _, c := range []struct {
		name, raw string
		answers   int
		want      string
	}{
		{"1.1 stays", "GET /1 HTTP/1.1\r\n" + h + "\r\nGET /2 HTTP/1.1\r\n" + h + "\r\n", 2, ""},
		{"close ends", "GET /1 HTTP/1.1\r\n" + h + "Connection: close\r\n\r\nGET /2 HTTP/1.1\r\n" + h + "\r\n", 1, "Connection: close\r\n"},
		{"close wins over keep-alive", "GET /1 HTTP/1.1\r\n" + h + "Connection: keep-alive, Close\r\n\r\nGET /2 HTTP/1.1\r\n" + h + "\r\n", 1, "Connection: close\r\n"},
		{"1.0 ends", "GET /1 HTTP/1.0\r\n\r\nGET /2 HTTP/1.0\r\n\r\n", 1, "Connection: close\r\n"},
		{"1.0 may stay", "GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\n", 2, "Connection: keep-alive\r\n"},
		{"bound", strings.Repeat("GET / HTTP/1.1\r\n"+h+"\r\n", 9), 5, "Connection: close\r\n"},
	} {
		w := newWitness()
		w.MaxRequestsPerConn = 5
		answer := talk(t, serve(t, &w.Server), c.raw)
		if n := strings.Count(answer, "HTTP/1.1 200 OK"); n != c.answers || !strings.Contains(answer, c.want) {
			t.Errorf("%s: %d answers, want %d: %q", c.name, n, c.answers, answer)
		}
	}
}

// TestAnswers looks at the bytes of answers: who writes what gets which framing.
func TestAnswers(t *testing.T) {
	long := strings.Repeat("0123456789", 10000)
	get := "GET / HTTP/1.1\r\n" + h + "\r\n"
	for _, c := range []struct {
		name, raw string
		handler   http.HandlerFunc
		want      []string
		not       []string
	}{
		{"short body gets a length", get, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") },
			[]string{"HTTP/1.1 200 OK\r\n", "\r\nContent-Length: 5\r\n", "\r\n\r\nhello"}, []string{"chunked", "Content-Type"}},
		{"nothing written", get, func(w http.ResponseWriter, r *http.Request) {}, []string{"200 OK", "Content-Length: 0\r\n"}, nil},
		{"long body is chunked", get, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, long) },
			[]string{"Transfer-Encoding: chunked\r\n", "186a0\r\n0123", "\r\n0\r\n\r\n"}, []string{"Content-Length"}},
		{"long body with a length", get, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000")
			io.WriteString(w, long)
		}, []string{"Content-Length: 100000\r\n", long}, []string{"chunked"}},
		{"long body through ReadFrom", get, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000")
			w.(io.ReaderFrom).ReadFrom(strings.NewReader(long))
		}, []string{"Content-Length: 100000\r\n", long}, []string{"chunked"}},
		{"long body in 1.0", "GET / HTTP/1.0\r\n\r\n", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, long) },
			[]string{"Connection: close\r\n", "\r\n\r\n" + long}, []string{"chunked", "Content-Length"}},
		{"flushed body is chunked", get, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			io.WriteString(w, "b")
		}, []string{"chunked", "\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"}, nil},
		{"head", "HEAD / HTTP/1.1\r\n" + h + "\r\n", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") },
			[]string{"Content-Length: 5\r\n"}, []string{"hello"}},
		{"head of a long body", "HEAD / HTTP/1.1\r\n" + h + "\r\n", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000")
			io.WriteString(w, long)
		}, []string{"Content-Length: 100000\r\n"}, []string{"0123"}},
		{"204", get, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5")
			w.WriteHeader(204)
			if _, err := io.WriteString(w, "hello"); err != http.ErrBodyNotAllowed {
				t.Errorf("write to 204: %v", err)
			}
		}, []string{"HTTP/1.1 204 No Content\r\n"}, []string{"hello", "Content-Length", "chunked"}},
		{"304", get, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"1"`)
			w.WriteHeader(304)
		}, []string{"304 Not Modified", `Etag: "1"`}, []string{"Content-Length", "chunked"}},
		{"too much for the length", get, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "3")
			if _, err := io.WriteString(w, "hello"); err != http.ErrContentLength {
				t.Errorf("write beyond the length: %v", err)
			}
			io.WriteString(w, "abc")
		}, []string{"Content-Length: 3\r\n", "\r\n\r\nabc"}, []string{"hello"}},
		{"a handler's header cannot break out", get, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-A", "1\r\nX-B: 2\x00")
			w.Header()["X C"] = []string{"3"}
			w.Header()["transfer-encoding"] = []string{"chunked"}
			w.Header()["connection"] = []string{"x"}
		}, []string{"X-A: 1  X-B: 2 \r\n"}, []string{"\r\nX-B", "X C", "chunked", "connection"}},
		{"trailers", get, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "hello")
			w.Header().Set("X-Sum", "42")
			w.Header().Set(http.TrailerPrefix+"X-More", "43")
			w.Header().Set(http.TrailerPrefix+"Content-Length", "44")
		}, []string{"Trailer: X-Sum\r\n", "5\r\nhello\r\n0\r\nX-Sum: 42\r\nX-More: 43\r\n\r\n"}, []string{"44"}},
		{"early hints", get, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</x>")
			w.WriteHeader(103)
			io.WriteString(w, "hello")
		}, []string{"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n"}, nil},
		{"no early hints in 1.0", "GET / HTTP/1.0\r\n\r\n", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(103) },
			[]string{"HTTP/1.1 200 OK"}, []string{"103"}},
		{"a date of its own", get, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Date", "Sun, 06 Nov 1994 08:49:37 GMT") },
			[]string{"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"}, []string{"Date: Mon", "2026"}},
		{"whole answer", get, func(w http.ResponseWriter, r *http.Request) {
			w.(http1.Answerer).WriteAnswer(418, http.Header{"X": {"1", "2"}, "Content-Length": {"99"}, "Connection": {"keep-alive"}}, []byte("hello"))
			if _, err := w.Write([]byte("more")); err == nil {
				t.Error("wrote behind a whole answer")
			}
		}, []string{"HTTP/1.1 418 I'm a teapot\r\n", "X: 1\r\nX: 2\r\n", "Content-Length: 5\r\n", "\r\n\r\nhello"}, []string{"more", "99", "Connection"}},
		{"whole answer to HEAD", "HEAD / HTTP/1.1\r\n" + h + "\r\n", func(w http.ResponseWriter, r *http.Request) {
			w.(http1.Answerer).WriteAnswer(200, http.Header{"Content-Length": {"99"}}, nil)
		}, []string{"Content-Length: 99\r\n"}, []string{"Content-Length: 0"}},
		{"a panic is 500", get, func(w http.ResponseWriter, r *http.Request) { panic("x") }, []string{"HTTP/1.1 500 ", "Connection: close"}, nil},
		{"an aborted answer has no end", get, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "hello")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, []string{"5\r\nhello\r\n"}, []string{"\r\n0\r\n"}},
		{"too little for the length closes", get + get, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "9")
			io.WriteString(w, "hello")
		}, []string{"Content-Length: 9\r\n", "hello"}, []string{"hello" + "HTTP"}},
		{"handler closes", get + get, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close") },
			[]string{"Connection: close\r\n"}, []string{"\r\n\r\nHTTP"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := talk(t, serve(t, &http1.Server{Handler: c.handler}), c.raw)
			for _, s := range c.want {
				if !strings.Contains(answer, s) {
					t.Errorf("no %.100q in %.600q", s, answer)
				}
			}
			for _, s := range c.not {
				if strings.Contains(answer, s) {
					t.Errorf("%.100q in %.600q", s, answer)
				}
			}
		})
	}
}

// dial opens a connection for a test that talks step by step.
func dial(t testing.TB, addr string) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn), bufio.NewReader(c)
}

func readAnswer(t testing.TB, br *bufio.Reader, method string) (*http.Response, string) {
	t.Helper()
	res, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func TestContinue(t *testing.T) {
	read := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(403)
			return
		}
		io.Copy(w, r.Body)
	})
	addr := serve(t, &http1.Server{Handler: read})
	ask := "POST %s HTTP/1.1\r\n" + h + "Expect: 100-Continue\r\nContent-Length: 5\r\n\r\n"

	c, br := dial(t, addr)
	fmt.Fprintf(c, ask, "/yes")
	if line, _ := br.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q", line)
	}
	br.ReadString('\n')
	io.WriteString(c, "hello")
	if res, b := readAnswer(t, br, "POST"); b != "hello" || res.Close {
		t.Fatalf("got %q, close %v", b, res.Close)
	}
	// The connection is good for another; this one is refused before its body was asked for.
	fmt.Fprintf(c, ask, "/no")
	res, _ := readAnswer(t, br, "POST")
	if res.StatusCode != 403 || !res.Close {
		t.Fatalf("status %d, close %v", res.StatusCode, res.Close)
	}
	if _, err := br.ReadByte(); err != io.EOF {
		t.Fatalf("the connection stays: %v", err)
	}
}

// TestUnreadBody keeps the connection when little is left unread, and closes it otherwise.
func TestUnreadBody(t *testing.T) {
	addr := serve(t, &http1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})})
	for _, c := range []struct {
		size   int
		closes bool
	}{{10, false}, {60 << 10, false}, {1 << 20, true}} {
		raw := fmt.Sprintf("POST / HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s", h, c.size, strings.Repeat("x", c.size))
		answer := talk(t, addr, raw+"GET / HTTP/1.1\r\n"+h+"\r\n")
		if got := strings.Count(answer, "HTTP/1.1 200 OK") == 1; got != c.closes {
			t.Errorf("%d bytes left: closed %v, want %v (%q)", c.size, got, c.closes, answer)
		}
	}
}

// TestSlow meets each bound of time.
func TestSlow(t *testing.T) {
	w := newWitness()
	w.ReadHeaderTimeout = 50 * time.Millisecond
	w.BodyTimeout = 50 * time.Millisecond
	w.IdleTimeout = 50 * time.Millisecond
	w.MinBodyRate = 1 << 20
	addr := serve(t, &w.Server)
	drip := func(c net.Conn, s string) { // a byte now and then until the other side has enough
		for i := range len(s) {
			if _, err := c.Write([]byte{s[i]}); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	for _, c := range []struct {
		name, at, dripped string
		status            int
		rule              string
	}{
		{"nothing sent", "", "", 0, ""},
		{"head stops", "GET / HTTP/1.1\r\nHos", "", 408, "header.slow"},
		{"head drips", "GET / HTTP/1.1\r\n", strings.Repeat("X", 1000), 408, "header.slow"},
		{"body stops", "POST / HTTP/1.1\r\n" + h + "Content-Length: 9\r\n\r\nab", "", 408, "body.slow"},
		{"body drips", "POST / HTTP/1.1\r\n" + h + "Content-Length: 9999\r\n\r\nab", strings.Repeat("X", 1000), 408, "body.slow"},
		{"chunks drip", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n", strings.Repeat("1\r\nx\r\n", 1000), 408, "body.slow"},
	} {
		conn, br := dial(t, addr)
		io.WriteString(conn, c.at)
		go drip(conn, c.dripped)
		b, _ := io.ReadAll(br)
		_, refusals := w.take()
		if statusOf(string(b)) != c.status || c.rule != "" && (len(refusals) != 1 || refusals[0].Rule != c.rule) {
			t.Errorf("%s: answer %q, refusals %v", c.name, b, refusals)
		}
	}
	// A pause between requests ends the connection without a word.
	conn, br := dial(t, addr)
	io.WriteString(conn, "GET / HTTP/1.1\r\n"+h+"\r\n")
	readAnswer(t, br, "GET")
	if b, err := io.ReadAll(br); err != nil || len(b) != 0 {
		t.Errorf("idle: %q %v", b, err)
	}
}

// TestSlowReader gives up on a client that takes nothing.
func TestSlowReader(t *testing.T) {
	failed := make(chan error, 1)
	addr := serve(t, &http1.Server{WriteTimeout: 50 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				<-r.Context().Done()
				failed <- err
				return
			}
		}
	})})
	c, _ := dial(t, addr)
	io.WriteString(c, "GET / HTTP/1.1\r\n"+h+"\r\n")
	var timeout net.Error
	if err := <-failed; !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatal(err)
	}
}

func TestHalfClose(t *testing.T) {
	addr := serve(t, newWitnessServer())
	c, br := dial(t, addr)
	io.WriteString(c, "POST / HTTP/1.1\r\n"+h+"Content-Length: 5\r\n\r\nhello")
	c.CloseWrite()
	if _, b := readAnswer(t, br, "POST"); b != "POST /" {
		t.Fatalf("got %q", b)
	}
	if _, err := br.ReadByte(); err != io.EOF {
		t.Fatal(err)
	}
}

func newWitnessServer() *http1.Server { return &newWitness().Server }

// TestClientGone ends the context of a long request when its client leaves.
func TestClientGone(t *testing.T) {
	started, ended := make(chan bool), make(chan error)
	addr := serve(t, &http1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 15*time.Second)
		defer cancel()
		started <- true
		<-ctx.Done()
		ended <- ctx.Err()
	})})
	c, _ := dial(t, addr)
	io.WriteString(c, "GET / HTTP/1.1\r\n"+h+"\r\n")
	<-started
	c.Close()
	if err := <-ended; err != context.Canceled {
		t.Fatal(err)
	}
}

func TestHijack(t *testing.T) {
	addr := serve(t, &http1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") == "" {
			t.Errorf("header %v", r.Header)
		}
		w.Header().Set("Upgrade", "websocket")
		w.WriteHeader(101)
		c, brw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if brw.Reader.Buffered() != 5 {
			t.Errorf("%d bytes buffered", brw.Reader.Buffered())
		}
		if _, err := w.Write(nil); err != http.ErrHijacked {
			t.Error(err)
		}
		line, _ := brw.ReadString('\n')
		brw.WriteString(strings.ToUpper(line))
		brw.Flush()
	})})
	c, br := dial(t, addr)
	io.WriteString(c, "GET / HTTP/1.1\r\n"+h+"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
	first, _ := br.ReadString('\n')
	io.WriteString(c, " you\n")
	b, _ := io.ReadAll(br)
	if s := first + string(b); !strings.HasPrefix(s, "HTTP/1.1 101 Switching Protocols\r\n") || !strings.Contains(s, "Connection: Upgrade\r\n") || !strings.HasSuffix(s, "\r\n\r\nHELLO YOU\n") {
		t.Fatalf("got %q", b)
	}
}

// TestEarlyAnswer: an answer given while another goroutine still reads the body.
func TestEarlyAnswer(t *testing.T) {
	late := make(chan error, 1)
	addr := serve(t, &http1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reading := make(chan bool)
		body := r.Body
		go func() {
			reading <- true
			_, err := io.ReadAll(body)
			late <- err
		}()
		<-reading
		w.WriteHeader(403)
	})})
	c, br := dial(t, addr)
	io.WriteString(c, "POST / HTTP/1.1\r\n"+h+"Content-Length: 5\r\n\r\nhe")
	if res, _ := readAnswer(t, br, "POST"); res.StatusCode != 403 {
		t.Fatal(res.StatusCode)
	}
	if err := <-late; err == nil {
		t.Fatal("the body ended well")
	}
	// The connection ends; or, when the server saw the rest of the body before
	// the other goroutine read, it goes on behind that rest and nowhere else.
	io.WriteString(c, "llo"+"GET / HTTP/1.1\r\n"+h+"\r\n")
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	first, err := br.Peek(1)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Fatal("the connection stays and answers nothing")
	}
	if err == nil {
		if res, _ := readAnswer(t, br, "GET"); res.StatusCode != 403 {
			t.Fatalf("%q begins an answer with %d", first, res.StatusCode)
		}
	}
}

func TestShutdown(t *testing.T) {
	busy, release := make(chan bool), make(chan bool)
	s := &http1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/busy" {
			busy <- true
			<-release
		}
	})}
	addr := serve(t, s)
	idle, idleR := dial(t, addr)
	io.WriteString(idle, "GET / HTTP/1.1\r\n"+h+"\r\n")
	readAnswer(t, idleR, "GET")
	unused, unusedR := dial(t, addr)
	_ = unused
	working, workingR := dial(t, addr)
	io.WriteString(working, "GET /busy HTTP/1.1\r\n"+h+"\r\n")
	<-busy
	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }()
	for _, br := range []*bufio.Reader{idleR, unusedR} {
		if _, err := br.ReadByte(); err != io.EOF {
			t.Fatalf("an idle connection: %v", err)
		}
	}
	select {
	case err := <-done:
		t.Fatalf("shut down before the busy one was done: %v", err)
	default:
	}
	close(release)
	if res, _ := readAnswer(t, workingR, "GET"); res.StatusCode != 200 || !res.Close {
		t.Fatalf("status %d, close %v", res.StatusCode, res.Close)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", addr); err == nil { // still accepted by the test's listener, but not served
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Fatal(err)
		}
	}
}

// TestShutdownUnderLoad: whatever is answered is answered whole, and a request
// on its way is either answered or finds a closed connection before any answer.
func TestShutdownUnderLoad(t *testing.T) {
	s := newWitnessServer()
	addr := serve(t, s)
	var clients sync.WaitGroup
	for range 8 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		clients.Go(func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			br := bufio.NewReader(c)
			for {
				if _, err := io.WriteString(c, "GET / HTTP/1.1\r\n"+h+"\r\n"); err != nil {
					return
				}
				if _, err := br.Peek(1); err != nil {
					return
				}
				res, err := http.ReadResponse(br, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if b, err := io.ReadAll(res.Body); err != nil || string(b) != "GET /" {
					t.Errorf("%q %v", b, err)
				}
				if res.Close {
					return
				}
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	clients.Wait()
}

func TestShutdownByForce(t *testing.T) {
	busy, ended := make(chan bool), make(chan error, 1)
	s := &http1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		busy <- true
		<-r.Context().Done()
		ended <- r.Context().Err()
	})}
	c, br := dial(t, serve(t, s))
	io.WriteString(c, "GET / HTTP/1.1\r\n"+h+"\r\n")
	<-busy
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); err != context.Canceled {
		t.Fatal(err)
	}
	if err := <-ended; err != context.Canceled {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(br); len(b) != 0 {
		t.Fatalf("%q", b)
	}
}

// TestConnContext: the context a connection begins with is the requests' parent.
func TestConnContext(t *testing.T) {
	type key struct{}
	s := &http1.Server{
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, key{}, c.RemoteAddr().String())
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Context().Value(key{}) != r.RemoteAddr {
				t.Errorf("%v is not %v", r.Context().Value(key{}), r.RemoteAddr)
			}
		}),
	}
	talk(t, serve(t, s), "GET / HTTP/1.1\r\n"+h+"\r\n")
}

func TestTLS(t *testing.T) {
	s := &http1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.TLS != nil && r.TLS.HandshakeComplete)
	})}
	l := tls.NewListener(listen(t), serverTLS(t))
	served := make(chan struct{})
	go func() { s.Serve(context.Background(), l); close(served) }()
	opened := 0
	tr := &http1.Transport{TLS: clientTLS(t), Opened: func(context.Context, string, net.Conn) error { opened++; return nil }}
	for range 3 {
		res, err := (&http.Client{Transport: tr}).Get("https://" + l.Addr().String() + "/")
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(res.Body); string(b) != "true" {
			t.Fatalf("%q", b)
		}
	}
	if opened != 1 {
		t.Errorf("%d connections for three requests", opened)
	}
	if answer := talk(t, l.Addr().String(), "GET / HTTP/1.1\r\n"+h+"\r\n"); statusOf(answer) != 400 {
		t.Errorf("plain on TLS: %q", answer)
	}
	l.Close()
	<-served
	tr.CloseIdleConnections()
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// TestReuse: what a request leaves behind does not show in the next one.
func TestReuse(t *testing.T) {
	w := newWitness()
	addr := serve(t, &w.Server)
	talk(t, addr, "POST /1?a HTTP/1.1\r\n"+h+"X-One: 1\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n1\r\na\r\n0\r\nX-T: t\r\n\r\n"+
		"GET /2 HTTP/1.1\r\nHost: b\r\nX-Two: 2\r\n\r\n")
	requests, _ := w.take()
	if len(requests) != 2 {
		t.Fatal(requests)
	}
	one, two := requests[0], requests[1]
	if one.trailer.Get("X-T") != "t" || one.header.Get("X-One") != "1" || one.header.Get("Trailer") != "" || one.body != "a" {
		t.Errorf("%+v", one)
	}
	if len(two.header) != 1 || two.header.Get("X-Two") != "2" || len(two.trailer) != 0 || two.host != "b" || two.body != "" || two.target != "/2" {
		t.Errorf("%+v", two)
	}
}

// TestAllocations: a request on a kept connection costs few.
func TestAllocations(t *testing.T) {
	answer := []byte("hello")
	head := http.Header{"Content-Type": {"text/plain"}}
	s := &http1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http1.Answerer).WriteAnswer(200, head, answer)
	})}
	c, _ := dial(t, serve(t, s))
	request := []byte(benchRequests()["GET"])
	buf := make([]byte, 4096)
	n := testing.AllocsPerRun(500, func() {
		c.Write(request)
		for n := 0; !bytes.HasSuffix(buf[:n], answer); {
			k, err := c.Read(buf[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += k
		}
	})
	if n > 2 {
		t.Errorf("%v allocations a request", n)
	}
}

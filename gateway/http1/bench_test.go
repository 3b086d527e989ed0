package http1_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/gateway/http1"
)

// tape is a connection on which the same message comes in n times.
// No system call is made.
type tape struct {
	memory
	message string
	n       int
}

func (c *tape) Read(p []byte) (int, error) {
	if c.n == 0 {
		return 0, io.EOF
	}
	c.n--
	return copy(p, c.message), nil
}

func (c *tape) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkServer measures what the server side costs without the network:
// reading a request, writing a whole answer.
func BenchmarkServer(b *testing.B) {
	answer := []byte(strings.Repeat("x", 1024))
	head := http.Header{"Content-Type": {"application/json"}, "X-Request-Id": {"8f14e45f"}, "Cache-Control": {"no-store"}}
	for _, method := range []string{"GET", "POST"} {
		b.Run(method, func(b *testing.B) {
			body := make([]byte, 2048)
			s := &http1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.ContentLength > 0 {
					io.ReadFull(r.Body, body[:r.ContentLength])
				}
				w.(http1.Answerer).WriteAnswer(200, head, answer)
			})}
			b.ReportAllocs()
			s.ServeConn(context.Background(), &tape{message: benchRequests()[method], n: b.N})
		})
	}
}

// BenchmarkTransport measures what the client side costs without the network.
func BenchmarkTransport(b *testing.B) {
	header := http.Header{"User-Agent": {"bench/1.0"}, "Accept": {"application/json"}, "Accept-Encoding": {"gzip"}, "Authorization": {token500}, "X-Request-Id": {"8f14e45f"}}
	answer := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Length: 1024\r\n\r\n" + strings.Repeat("x", 1024)
	tr := &http1.Transport{Dial: func(context.Context, string, string) (net.Conn, error) {
		return &tape{message: answer, n: 1 << 60}, nil
	}}
	defer tr.CloseIdleConnections()
	var res http1.Response
	req := &http1.Request{Addr: "192.0.2.1:80", Method: "GET", Target: "/v1/items/1234?limit=20&sort=name&q=blue%20jacket", Host: "api.example.com", Header: header, Extra: []http1.Field{{Name: "X-Forwarded-For", Value: "192.0.2.7"}}}
	b.ReportAllocs()
	for b.Loop() {
		if err := tr.Do(context.Background(), &res, req); err != nil {
			b.Fatal(err)
		}
		if _, ok := res.Buffered(); !ok {
			b.Fatal("not buffered")
		}
		res.Close()
	}
}

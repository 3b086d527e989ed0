package http1_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"sallyport.dev/gateway/http1"
)

// relay is what a gateway does with both sides of this package, and nothing
// else: the measure of what they cost.
type relay struct {
	t    *http1.Transport
	addr string
	pool sync.Pool
}

type relayed struct {
	req  http1.Request
	res  http1.Response
	body []byte
}

func (h *relay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x, _ := h.pool.Get().(*relayed)
	if x == nil {
		x = &relayed{body: make([]byte, 64<<10)}
		x.req.Extra = make([]http1.Field, 1)
	}
	defer h.pool.Put(x)
	q := &x.req
	q.Addr, q.Method, q.Target, q.Host, q.Header = h.addr, r.Method, r.RequestURI, r.Host, r.Header
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	q.Extra[0] = http1.Field{Name: "X-Forwarded-For", Value: ip}
	q.Body, q.Stream, q.Length, q.Trailer = nil, nil, 0, nil
	switch {
	case r.ContentLength > 0 && r.ContentLength <= int64(len(x.body)):
		q.Body = x.body[:r.ContentLength]
		if _, err := io.ReadFull(r.Body, q.Body); err != nil {
			return
		}
	case r.ContentLength != 0:
		q.Stream, q.Length, q.Trailer = r.Body, r.ContentLength, r.Trailer
	}
	if err := h.t.Do(r.Context(), &x.res, q); err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer x.res.Close()
	if body, ok := x.res.Buffered(); ok {
		w.(http1.Answerer).WriteAnswer(x.res.Status, x.res.Header, body)
		return
	}
	for name, vs := range x.res.Header {
		w.Header()[name] = vs
	}
	for name := range x.res.Trailer {
		w.Header().Add("Trailer", name)
	}
	w.WriteHeader(x.res.Status)
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{&x.res}, x.body); err != nil {
		panic(http.ErrAbortHandler)
	}
	for name, vs := range x.res.Trailer {
		w.Header()[name] = vs
	}
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serve runs s until the test ends and returns its address.
func serve(t testing.TB, s *http1.Server) string {
	t.Helper()
	l := listen(t)
	var conns sync.WaitGroup
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { s.ServeConn(context.Background(), c) })
		}
	}()
	t.Cleanup(func() {
		l.Close()
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(ended)
		<-done
		conns.Wait()
	})
	return l.Addr().String()
}

// origin is an upstream that answers with 1 KiB of JSON.
func origin(t testing.TB) string {
	body := []byte(`{"items":[` + strings.Repeat(`{"id":1234,"name":"blue jacket"},`, 30) + `{}]}`)
	s := &http1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	})}
	return serve(t, s)
}

var token500 = "Bearer " + strings.Repeat("abcdefghij", 50)

func TestRelay(t *testing.T) {
	up := origin(t)
	tr := &http1.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	front := serve(t, &http1.Server{Handler: &relay{t: tr, addr: up}})
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for i := range 3 {
		res, err := client.Post("http://"+front+"/v1/items", "application/json", bytes.NewReader(make([]byte, 1024)))
		if err != nil {
			t.Fatal(i, err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 200 || len(b) < 1000 || res.Header.Get("Content-Type") != "application/json" {
			t.Fatalf("%d: %v %v %d bytes", i, err, res, len(b))
		}
	}
}

// raw sends the same request over and over and reads answers of a known length.
func rawBench(b *testing.B, addr, request string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 64<<10)
	once := func() {
		if _, err := c.Write([]byte(request)); err != nil {
			b.Fatal(err)
		}
		n, want := 0, -1
		for want < 0 || n < want {
			k, err := c.Read(buf[n:])
			if err != nil {
				b.Fatal(err, string(buf[:n]))
			}
			n += k
			if i := bytes.Index(buf[:n], []byte("\r\n\r\n")); want < 0 && i >= 0 {
				var length int
				j := bytes.Index(buf[:n], []byte("Content-Length: "))
				fmt.Sscan(string(buf[j+16:i]), &length)
				want = i + 4 + length
			}
		}
	}
	once()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		once()
	}
}

func benchRequests() map[string]string {
	head := "Host: api.example.com\r\nUser-Agent: bench/1.0\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\nAuthorization: " + token500 + "\r\nX-Request-Id: 8f14e45f\r\n"
	body := `{"items":[` + strings.Repeat(`{"sku":"AB-1234","n":3},`, 42) + `{}]}`
	return map[string]string{
		"GET":  "GET /v1/items/1234?limit=20&sort=name&q=blue%20jacket HTTP/1.1\r\n" + head + "\r\n",
		"POST": fmt.Sprintf("POST /v1/items HTTP/1.1\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body),
	}
}

// bytesRelay is the floor: it moves what comes in, unread, over an upstream
// connection of its own, with the system calls that any relay needs.
func bytesRelay(t testing.TB, up string) string {
	l := listen(t)
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			u, err := net.Dial("tcp", up)
			if err != nil {
				c.Close()
				return
			}
			all.Go(func() {
				defer c.Close()
				defer u.Close()
				buf := make([]byte, 8<<10)
				for from, to := c, u; ; from, to = to, from {
					n, err := from.Read(buf)
					if err != nil {
						return
					}
					if _, err := to.Write(buf[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	return l.Addr().String()
}

// BenchmarkRelay measures one request through a relay, client and upstream
// included, beside the bare upstream, a relay that only moves bytes, and
// httputil.ReverseProxy on net/http.
func BenchmarkRelay(b *testing.B) {
	for _, method := range []string{"GET", "POST"} {
		request := benchRequests()[method]
		b.Run(method+"/direct", func(b *testing.B) { rawBench(b, origin(b), request) })
		b.Run(method+"/bytes", func(b *testing.B) { rawBench(b, bytesRelay(b, origin(b)), request) })
		b.Run(method+"/http1", func(b *testing.B) {
			tr := &http1.Transport{}
			b.Cleanup(tr.CloseIdleConnections)
			rawBench(b, serve(b, &http1.Server{Handler: &relay{t: tr, addr: origin(b)}}), request)
		})
		b.Run(method+"/reverseproxy", func(b *testing.B) {
			p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: origin(b)})
			p.ErrorLog = log.New(io.Discard, "", 0)
			tr := &http.Transport{MaxIdleConnsPerHost: 128}
			p.Transport = tr
			s := httptest.NewServer(p)
			b.Cleanup(func() { s.Close(); tr.CloseIdleConnections() })
			rawBench(b, s.Listener.Addr().String(), request)
		})
	}
}

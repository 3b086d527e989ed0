package gateway_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go/http3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"sallyport.dev"
	"sallyport.dev/gateway"
)

func TestHTTP3(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %d", r.Method, r.RequestURI, len(b))
	})
	d := open(t, gateway.Options{APIs: to(up.URL)})
	tr := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: d.roots}}
	defer tr.Close()
	c := &http.Client{Transport: tr}
	res, err := c.Get(d.url("/a?b=c"))
	if body := read(t, res, err); body != "GET /a?b=c 0" || res.ProtoMajor != 3 {
		t.Errorf("GET: %s %q", res.Proto, body)
	}
	if x := d.rec.find(t, res.Header.Get("X-Request-Id")); x.Proto != "HTTP/3.0" || x.Client.String() != "127.0.0.1" || !x.TLS {
		t.Errorf("record %+v", x)
	}
	res, err = c.Post(d.url("/a"), "text/plain", strings.NewReader(strings.Repeat("x", 1<<20)))
	if body := read(t, res, err); body != "POST /a 1048576" {
		t.Errorf("POST: %q", body)
	}
	res, err = c.Get(d.url("/" + strings.Repeat("x", 9<<10)))
	wantProblem(t, res, read(t, res, err), 414)
}

// A QUIC connection is held to the same bounds as any other.
func TestHTTP3Connections(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	d := open(t, gateway.Options{APIs: to(up.URL), Bounds: gateway.Bounds{ClientConnections: 1}})
	for i, want := range []bool{true, false} {
		tr := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: d.roots}}
		defer tr.Close()
		res, err := (&http.Client{Transport: tr, Timeout: 5 * time.Second}).Get(d.url("/"))
		if err == nil {
			res.Body.Close()
		}
		if (err == nil) != want {
			t.Errorf("connection %d: %v", i+1, err)
		}
	}
}

func TestServerSentEvents(t *testing.T) {
	fronts(t, func(t *testing.T, front gateway.Front) {
		for _, h2 := range []bool{false, true} {
			next := make(chan string)
			gone := make(chan bool, 1)
			up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				w.WriteHeader(200)
				w.(http.Flusher).Flush()
				for {
					select {
					case s := <-next:
						fmt.Fprintf(w, "data: %s\n\n", s)
						w.(http.Flusher).Flush()
					case <-r.Context().Done():
						gone <- true
						return
					}
				}
			})
			d := open(t, gateway.Options{APIs: to(up.URL), Front: front, Bounds: gateway.Bounds{WriteTime: 100 * time.Millisecond, BodyIdle: 100 * time.Millisecond}})
			res, err := d.client(h2).Get(d.url("/events"))
			if err != nil {
				t.Fatal(err)
			}
			d.rec.find(t, res.Header.Get("X-Request-Id")) // on record while it lasts
			in := bufio.NewReader(res.Body)
			for i := range 3 { // the next is sent only when the one before has arrived
				next <- fmt.Sprint(i)
				if line, err := in.ReadString('\n'); err != nil || line != fmt.Sprintf("data: %d\n", i) {
					t.Fatalf("h2 %v: event %d: %q %v", h2, i, line, err)
				}
				in.ReadString('\n')
				time.Sleep(150 * time.Millisecond) // nothing to say for longer than a write or a body may take
			}
			res.Body.Close()
			take(t, gone, "nothing: the upstream goes on although the client has left")
		}
	})
}

func TestWebSocket(t *testing.T) {
	fronts(t, func(t *testing.T, front gateway.Front) {
		up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			defer c.CloseNow()
			for {
				kind, b, err := c.Read(r.Context())
				if err != nil {
					return
				}
				c.Write(r.Context(), kind, append([]byte("echo "), b...))
			}
		})
		d := open(t, gateway.Options{APIs: to(up.URL), Front: front})
		c, res, err := websocket.Dial(t.Context(), "wss://"+d.addr+"/ws", &websocket.DialOptions{HTTPClient: d.client(false)})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{"one", strings.Repeat("x", 20_000)} {
			if err := c.Write(t.Context(), websocket.MessageText, []byte(s)); err != nil {
				t.Fatal(err)
			}
			_, b, err := c.Read(t.Context())
			if err != nil || string(b) != "echo "+s {
				t.Fatalf("got %d bytes, %v", len(b), err)
			}
		}
		if x := d.rec.find(t, res.Header.Get("X-Request-Id")); x.Status != 101 {
			t.Errorf("record %+v", x)
		}
		c.Close(websocket.StatusNormalClosure, "")

		// Any other upgrade is left out: the upstream never hears of it.
		up2 := upstream(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%v", r.Header["Upgrade"]) })
		d2 := open(t, gateway.Options{APIs: to(up2.URL), Front: front})
		res2, body := d2.raw(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n")
		if res2.StatusCode == 101 || res2.StatusCode == 200 && body != "[]" {
			t.Errorf("h2c upgrade: %d %s", res2.StatusCode, body)
		}
	})
}

// An open WebSocket does not hold a drain up for longer than its grace.
func TestDrainEndsWebSockets(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.Read(r.Context())
	})
	d := open(t, gateway.Options{APIs: to(up.URL), Bounds: gateway.Bounds{Drain: 2 * time.Second}})
	c, _, err := websocket.Dial(t.Context(), "wss://"+d.addr+"/ws", &websocket.DialOptions{HTTPClient: d.client(false)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	d.close()
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("got %v, want a close frame with status 1001", err)
	}
}

// The close frame of a drain stands between two frames of a server that goes
// on sending, wherever the network cuts them, and nothing follows it.
func TestDrainBetweenFrames(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		// The first frame comes together with the head.
		io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x82\x05hel")
		rw.Flush()
		io.WriteString(c, "lo")
		for i := 0; ; i++ {
			frame := []byte{0x82}
			switch n := []int{0, 5, 125, 126, 300, 70_000}[i%6]; {
			case n < 126:
				frame = append(append(frame, byte(n)), make([]byte, n)...)
			case n < 1<<16:
				frame = append(binary.BigEndian.AppendUint16(append(frame, 126), uint16(n)), make([]byte, n)...)
			default:
				frame = append(binary.BigEndian.AppendUint64(append(frame, 127), uint64(n)), make([]byte, n)...)
			}
			for cut := 1; len(frame) > 0; cut = cut*3 + i%5 {
				n := min(cut, len(frame))
				if _, err := c.Write(frame[:n]); err != nil {
					return
				}
				frame = frame[n:]
				time.Sleep(200 * time.Microsecond)
			}
		}
	})
	d := open(t, gateway.Options{APIs: to(up.URL), Bounds: gateway.Bounds{Drain: 2 * time.Second}})
	c, err := net.Dial("tcp", d.plain)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	br := bufio.NewReader(c)
	if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != 101 {
		t.Fatalf("%v, %v", res, err)
	}
	closed := make(chan error, 1)
	go func() { closed <- d.close() }()
	for n := 0; ; n++ {
		head := make([]byte, 2, 10)
		if _, err := io.ReadFull(br, head); err != nil {
			t.Fatalf("after %d frames: %v, want a close frame", n, err)
		}
		size := uint64(head[1])
		if size > 125 {
			more := map[uint64]int{126: 2, 127: 8}[size]
			if _, err := io.ReadFull(br, head[2:2+more]); err != nil || more == 0 {
				t.Fatalf("after %d frames: %v, head % x", n, err, head)
			}
			size = binary.BigEndian.Uint64(append(make([]byte, 8-more), head[2:2+more]...))
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(br, payload); err != nil {
			t.Fatalf("frame %d of %d bytes: %v", n, size, err)
		}
		if head[0] == 0x88 {
			if string(payload) != "\x03\xe9" {
				t.Errorf("close frame % x, want status 1001", payload)
			}
			break
		}
		if head[0] != 0x82 {
			t.Fatalf("frame %d begins % x", n, head)
		}
	}
	if rest, _ := io.ReadAll(br); len(rest) > 0 {
		t.Errorf("%d bytes behind the close frame", len(rest))
	}
	if err := <-closed; err != nil {
		t.Errorf("drain: %v", err)
	}
}

// echo is a gRPC service without generated code.
type echo interface {
	unary(context.Context, *wrapperspb.StringValue) (*wrapperspb.StringValue, error)
}

type echoServer struct{}

func (echoServer) unary(ctx context.Context, in *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	if in.Value == "fail" {
		grpc.SetTrailer(ctx, metadata.Pairs("x-why", "asked"))
		return nil, status.Error(codes.FailedPrecondition, "asked to fail")
	}
	md, _ := metadata.FromIncomingContext(ctx)
	return wrapperspb.String(in.Value + " for " + strings.Join(md.Get("x-forwarded-for"), ",")), nil
}

var echoDesc = grpc.ServiceDesc{
	ServiceName: "test.Echo", HandlerType: (*echo)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: func(srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(wrapperspb.StringValue)
		if err := dec(in); err != nil {
			return nil, err
		}
		return srv.(echo).unary(ctx, in)
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Chat", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
		for {
			in := new(wrapperspb.StringValue)
			if err := s.RecvMsg(in); errors.Is(err, io.EOF) {
				s.SetTrailer(metadata.Pairs("x-count", "done"))
				return nil
			} else if err != nil {
				return err
			}
			if err := s.SendMsg(wrapperspb.String("got " + in.Value)); err != nil {
				return err
			}
		}
	}}},
}

func TestGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	srv.RegisterService(&echoDesc, echoServer{})
	go srv.Serve(l)
	t.Cleanup(srv.Stop)
	d := open(t, gateway.Options{APIs: []gateway.API{{Name: "shop", Upstreams: []gateway.Upstream{{URL: "http://" + l.Addr().String(), Protocol: "h2"}}}},
		Bounds: gateway.Bounds{WriteTime: 100 * time.Millisecond, BodyIdle: 100 * time.Millisecond, AnswerTime: 100 * time.Millisecond}})
	for name, dial := range map[string]func() (*grpc.ClientConn, error){
		"tls": func() (*grpc.ClientConn, error) {
			return grpc.NewClient(d.addr, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: d.roots, ServerName: "localhost"})))
		},
		"h2c": func() (*grpc.ClientConn, error) {
			return grpc.NewClient(d.plain, grpc.WithTransportCredentials(insecure.NewCredentials()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			cc, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			defer cc.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			out := new(wrapperspb.StringValue)
			if err := cc.Invoke(ctx, "/test.Echo/Unary", wrapperspb.String("hello"), out); err != nil || out.Value != "hello for 127.0.0.1" {
				t.Fatalf("unary: %q %v", out.Value, err)
			}
			var trailer metadata.MD
			err = cc.Invoke(ctx, "/test.Echo/Unary", wrapperspb.String("fail"), out, grpc.Trailer(&trailer))
			if status.Code(err) != codes.FailedPrecondition || len(trailer.Get("x-why")) != 1 {
				t.Errorf("failure: %v, trailer %v", err, trailer)
			}
			s, err := cc.NewStream(ctx, &echoDesc.Streams[0], "/test.Echo/Chat")
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3 { // each answer comes before the next question goes
				if err := s.SendMsg(wrapperspb.String(fmt.Sprint(i))); err != nil {
					t.Fatal(err)
				}
				if err := s.RecvMsg(out); err != nil || out.Value != fmt.Sprintf("got %d", i) {
					t.Fatalf("stream: %q %v", out.Value, err)
				}
				time.Sleep(150 * time.Millisecond)
			}
			s.CloseSend()
			if err := s.RecvMsg(out); !errors.Is(err, io.EOF) || len(s.Trailer().Get("x-count")) != 1 {
				t.Errorf("end: %v, trailer %v", err, s.Trailer())
			}
		})
	}
	for _, x := range d.rec.list() {
		if x.Status != 200 || x.Decision.Action != sallyport.ActionAllow {
			t.Errorf("record %+v", x)
		}
	}
}

func TestChunkedBothWays(t *testing.T) {
	fronts(t, func(t *testing.T, front gateway.Front) {
		up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			if err != nil {
				t.Error(err)
			}
			w.Header().Set("Trailer", "X-Sum")
			for range 40 {
				io.WriteString(w, strings.Repeat("y", 64<<10))
			}
			w.Header().Set("X-Sum", fmt.Sprint(n))
		})
		d := open(t, gateway.Options{APIs: to(up.URL), Front: front})
		for _, h2 := range []bool{false, true} {
			pr, pw := io.Pipe()
			go func() {
				for range 50 {
					io.WriteString(pw, strings.Repeat("x", 100_000))
				}
				pw.Close()
			}()
			res, err := d.client(h2).Post(d.url("/up"), "application/octet-stream", pr)
			body := read(t, res, err)
			if res.StatusCode != 200 || len(body) != 40*64<<10 || res.Trailer.Get("X-Sum") != "5000000" {
				t.Errorf("h2 %v: %d, %d bytes, trailer %v", h2, res.StatusCode, len(body), res.Trailer)
			}
			x := d.rec.find(t, res.Header.Get("X-Request-Id"))
			if x.RequestBytes != 5_000_000 || x.ResponseBytes != 40*64<<10 || len(x.ResponseBody) != 64<<10 {
				t.Errorf("h2 %v: record of %d and %d bytes, sample %d", h2, x.RequestBytes, x.ResponseBytes, len(x.ResponseBody))
			}
		}
		if n := d.Metrics().Buffered; n != 0 {
			t.Errorf("%d bytes held afterwards", n)
		}
	})
}

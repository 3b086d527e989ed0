package gateway_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/guard/inspect"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

// orders is the schema of examples/grpc, as a real server and client know it.
type orders struct {
	protoreflect.FileDescriptor
}

func ordersFile(t testing.TB) orders {
	t.Helper()
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(protocompile.CompositeResolver{
		&protocompile.SourceResolver{ImportPaths: []string{"../examples/grpc"}},
		protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
			fd, err := protoregistry.GlobalFiles.FindFileByPath(path)
			return protocompile.SearchResult{Desc: fd}, err
		})})}
	files, err := c.Compile(t.Context(), "orders.proto")
	if err != nil {
		t.Fatal(err)
	}
	return orders{files[0]}
}

func (o orders) message(t testing.TB, name, json string) *dynamicpb.Message {
	t.Helper()
	m := dynamicpb.NewMessage(o.Messages().ByName(protoreflect.Name(name)))
	if json != "" {
		if err := protojson.Unmarshal([]byte(json), m); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// serve starts a real gRPC server of the schema. What it does is told by a
// call's message.
func (o orders) serve(t testing.TB) (addr string, calls *[]string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	calls = new([]string)
	text := func(m *dynamicpb.Message, name string) string {
		return m.Get(m.Descriptor().Fields().ByName(protoreflect.Name(name))).String()
	}
	unary := func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := o.message(t, "CreateRequest", "")
		if err := dec(in); err != nil {
			return nil, err
		}
		*calls = append(*calls, "Create")
		switch note := text(in, "note"); note {
		case "fail":
			return nil, status.Error(codes.Internal, "pq: relation \"orders\" does not exist at /srv/app/orders.go:81")
		case "missing":
			return nil, status.Error(codes.NotFound, "no such customer")
		case "slow":
			<-ctx.Done()
			return nil, ctx.Err()
		case "odd":
			out := o.message(t, "Order", `{"id":"7","state":1}`)
			out.SetUnknown(protoreflect.RawFields{0x9a, 0x06, 0x03, 'a', 'b', 'c'})
			return out, nil
		}
		d, _ := ctx.Deadline()
		grpc.SetTrailer(ctx, metadata.Pairs("x-left", fmt.Sprint(time.Until(d).Round(time.Second))))
		return o.message(t, "Order", `{"id":"7","state":"STATE_OPEN"}`), nil
	}
	stream := func(name, in string, f func(s grpc.ServerStream, n int, m *dynamicpb.Message) error, end func(s grpc.ServerStream, n int) error) grpc.StreamDesc {
		return grpc.StreamDesc{StreamName: name, ClientStreams: true, ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			for n := 0; ; n++ {
				m := o.message(t, in, "")
				if err := s.RecvMsg(m); errors.Is(err, io.EOF) {
					return end(s, n)
				} else if err != nil {
					return err
				}
				if err := f(s, n, m); err != nil {
					return err
				}
			}
		}}
	}
	none := func(grpc.ServerStream, int) error { return nil }
	srv := grpc.NewServer()
	srv.RegisterService(&grpc.ServiceDesc{ServiceName: "shop.v1.Orders", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Create", Handler: unary}},
		Streams: []grpc.StreamDesc{
			stream("Watch", "WatchRequest", func(s grpc.ServerStream, _ int, m *dynamicpb.Message) error {
				for i := range 3 {
					if err := s.SendMsg(o.message(t, "Order", fmt.Sprintf(`{"id":"%d"}`, i))); err != nil {
						return err
					}
				}
				if text(m, "id") == "bad" {
					return status.Error(codes.Unknown, "panic: runtime error: index out of range [3]\ngoroutine 7 [running]:\nmain.main()\n\t/srv/main.go:12")
				}
				return nil
			}, none),
			stream("Import", "Line", func(grpc.ServerStream, int, *dynamicpb.Message) error { return nil }, func(s grpc.ServerStream, n int) error {
				return s.SendMsg(o.message(t, "Summary", fmt.Sprintf(`{"lines":%d}`, n)))
			}),
			stream("Talk", "Remark", func(s grpc.ServerStream, n int, m *dynamicpb.Message) error {
				return s.SendMsg(o.message(t, "Remark", `{"text":"heard `+strconv.Itoa(n)+`"}`))
			}, none),
		}}, struct{}{})
	healthpb.RegisterHealthServer(srv, health.NewServer())
	go srv.Serve(l)
	t.Cleanup(srv.Stop)
	return l.Addr().String(), calls
}

var inspectEngine = sync.OnceValues(func() (*inspect.Engine, error) { return inspect.New(inspect.Options{}) })

// ordersDoor is a gateway in front of a server of the schema.
func ordersDoor(t testing.TB, addr string, change func(*policy.API)) *door {
	t.Helper()
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "../examples/grpc/orders.proto"}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := inspectEngine()
	if err != nil {
		t.Fatal(err)
	}
	p := policy.API{Mode: sallyport.Enforce, Shadow: policy.Refuse, Answers: policy.Answers{Mode: sallyport.Enforce}, GRPC: policy.GRPC{Message: 64 << 10}}
	if change != nil {
		change(&p)
	}
	prog, err := guard.Compile(guard.Config{Name: "test", Inspect: engine, APIs: []guard.API{{API: sallyport.API{Name: "shop"}, Spec: set, Policy: p}}})
	if err != nil {
		t.Fatal(err)
	}
	return open(t, gateway.Options{Program: prog, APIs: []gateway.API{{Name: "shop", Upstreams: []gateway.Upstream{{URL: "http://" + addr, Protocol: "h2"}}}}})
}

func (d *door) grpc(t testing.TB) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient(d.addr, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: d.roots, ServerName: "localhost"})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return cc
}

const customer = `"customer":"1c9a9e0e-7d2f-4c1b-8a57-1d5f0e6f7a11"`

// TestOrders sends attacks and their look-alikes over a real client.
func TestOrders(t *testing.T) {
	o := ordersFile(t)
	addr, calls := o.serve(t)
	d := ordersDoor(t, addr, func(p *policy.API) { p.Undocumented = policy.Refuse })
	cc := d.grpc(t)
	line := `"lines":[{"sku":"ABC-1","quantity":2,"labels":{"colour":"red"}}]`
	for _, c := range []struct {
		name, in string
		raw      []byte // appended to the message
		want     codes.Code
		rule     string
	}{
		{"plain", `{` + customer + `,` + line + `}`, nil, codes.OK, ""},
		{"a note with an apostrophe", `{` + customer + `,` + line + `,"note":"It's for Anna O'Neil; select two, please"}`, nil, codes.OK, ""},
		{"sql in a note", `{` + customer + `,` + line + `,"note":"' OR 1=1 UNION SELECT password FROM users -- "}`, nil, codes.PermissionDenied, "sqli"},
		{"script in a label", `{` + customer + `,"lines":[{"sku":"ABC-1","quantity":2,"labels":{"x":"<script>alert(1)</script>"}}]}`, nil, codes.PermissionDenied, "xss"},
		{"script in a label's name", `{` + customer + `,"lines":[{"sku":"ABC-1","quantity":2,"labels":{"<img src=x onerror=alert(1)>":"x"}}]}`, nil, codes.PermissionDenied, "xss"},
		{"traversal in bytes", `{` + customer + `,` + line + `,"receipt":"` + base64.StdEncoding.EncodeToString([]byte("../../../../etc/passwd")) + `"}`, nil, codes.PermissionDenied, ""},
		{"a picture in bytes", `{` + customer + `,` + line + `,"receipt":"` + base64.StdEncoding.EncodeToString([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01")) + `"}`, nil, codes.OK, ""},
		{"no uuid", `{"customer":"7",` + line + `}`, nil, codes.InvalidArgument, "proto.string.uuid"},
		{"no lines", `{` + customer + `}`, nil, codes.InvalidArgument, "proto.repeated.min_items"},
		{"quantity out of range", `{` + customer + `,"lines":[{"sku":"ABC-1","quantity":1001}]}`, nil, codes.InvalidArgument, "proto.uint32.range"},
		{"note too long", `{` + customer + `,` + line + `,"note":"` + strings.Repeat("a", 501) + `"}`, nil, codes.InvalidArgument, "proto.string.len"},
		{"a field that nobody declared", `{` + customer + `,` + line + `}`, []byte{0x9a, 0x06, 0x01, 'x'}, codes.InvalidArgument, "parameter.undocumented"},
		{"a field twice", `{` + customer + `,` + line + `}`, []byte{0x1a, 0x01, 'a', 0x1a, 0x01, 'b'}, codes.InvalidArgument, "proto.duplicate"},
		{"no UTF-8", `{` + customer + `,` + line + `}`, []byte{0x1a, 0x01, 0xff}, codes.InvalidArgument, "proto.utf8"},
		{"cut off", `{` + customer + `,` + line + `}`, []byte{0x1a, 0x7f, 'a'}, codes.InvalidArgument, "proto.syntax"},
		{"the wrong wire type", `{` + customer + `,` + line + `}`, []byte{0x18, 0x01}, codes.InvalidArgument, "proto.wire-type"},
		{"larger than the bound", `{` + customer + `,` + line + `,"receipt":"` + strings.Repeat("AAAA", 30<<10) + `"}`, nil, codes.ResourceExhausted, "body.too-large"},
		{"the upstream's own refusal", `{` + customer + `,` + line + `,"note":"missing"}`, nil, codes.NotFound, ""},
		{"the upstream's failure", `{` + customer + `,` + line + `,"note":"fail"}`, nil, codes.Internal, "silent"},
		{"an answer with a field that nobody declared", `{` + customer + `,` + line + `,"note":"odd"}`, nil, codes.Unavailable, "answer.parameter.undocumented"},
	} {
		for _, packed := range []bool{false, true} {
			name := c.name
			var opts []grpc.CallOption
			if packed {
				name += ", in gzip"
				opts = append(opts, grpc.UseCompressor("gzip"))
			}
			t.Run(name, func(t *testing.T) {
				in := o.message(t, "CreateRequest", c.in)
				in.SetUnknown(c.raw)
				before := len(*calls)
				var head metadata.MD
				var trailer metadata.MD
				err := cc.Invoke(t.Context(), "/shop.v1.Orders/Create", in, o.message(t, "Order", ""), append(opts, grpc.Header(&head), grpc.Trailer(&trailer))...)
				if packed && c.name == "larger than the bound" && status.Code(err) == codes.ResourceExhausted {
					return // refused as it is inflated
				}
				if status.Code(err) != c.want {
					t.Fatalf("got %v, want %v", err, c.want)
				}
				if strings.Contains(fmt.Sprint(err), "pq:") || strings.Contains(fmt.Sprint(err), "/srv") {
					t.Errorf("the error gives something away: %v", err)
				}
				id := append(head.Get("x-request-id"), trailer.Get("x-request-id")...)
				if len(id) != 1 {
					t.Fatalf("request ids %v", id)
				}
				x := d.rec.find(t, id[0])
				rules := ""
				for _, r := range x.Decision.Reasons {
					rules += r.Rule + " "
				}
				if c.rule != "" && c.rule != "silent" && !strings.Contains(rules, c.rule) {
					t.Errorf("rules %q, want %s", rules, c.rule)
				}
				if c.want == codes.InvalidArgument || c.want == codes.PermissionDenied {
					if len(*calls) != before {
						t.Error("the upstream was asked")
					}
					if !strings.Contains(status.Convert(err).Message(), id[0]) {
						t.Errorf("message %q without the request's id", status.Convert(err).Message())
					}
				}
				if x.Template != "/shop.v1.Orders/Create" || !x.Declared {
					t.Errorf("recorded under %q", x.Template)
				}
			})
		}
	}
}

// TestOrdersStreams talks over all kinds of streams, and has one message among
// good ones refused.
func TestOrdersStreams(t *testing.T) {
	o := ordersFile(t)
	addr, _ := o.serve(t)
	d := ordersDoor(t, addr, nil)
	cc := d.grpc(t)
	open := func(t *testing.T, method string) grpc.ClientStream {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		t.Cleanup(cancel)
		s, err := cc.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/shop.v1.Orders/"+method)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	t.Run("server stream", func(t *testing.T) {
		s := open(t, "Watch")
		s.SendMsg(o.message(t, "WatchRequest", `{"id":"7"}`))
		s.CloseSend()
		n := 0
		for ; ; n++ {
			if err := s.RecvMsg(o.message(t, "Order", "")); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if n != 3 {
			t.Errorf("%d messages", n)
		}
	})
	t.Run("server stream that fails", func(t *testing.T) {
		s := open(t, "Watch")
		s.SendMsg(o.message(t, "WatchRequest", `{"id":"bad"}`))
		s.CloseSend()
		var err error
		for err == nil {
			err = s.RecvMsg(o.message(t, "Order", ""))
		}
		if status.Code(err) != codes.Unknown || strings.Contains(err.Error(), "goroutine") {
			t.Errorf("%v", err)
		}
	})
	t.Run("client stream", func(t *testing.T) {
		s := open(t, "Import")
		for range 50 {
			if err := s.SendMsg(o.message(t, "Line", `{"sku":"ABC-1","quantity":1}`)); err != nil {
				t.Fatal(err)
			}
		}
		s.CloseSend()
		out := o.message(t, "Summary", "")
		if err := s.RecvMsg(out); err != nil || !strings.Contains(out.String(), "50") {
			t.Errorf("%v %v", out, err)
		}
	})
	t.Run("client stream with an attack", func(t *testing.T) {
		s := open(t, "Import")
		for _, sku := range []string{"ABC-1", "ABC-2", "no sku"} {
			s.SendMsg(o.message(t, "Line", `{"sku":"`+sku+`","quantity":1}`))
		}
		if err := s.RecvMsg(o.message(t, "Summary", "")); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v", err)
		}
	})
	t.Run("talk", func(t *testing.T) {
		s := open(t, "Talk")
		for i := range 5 { // each answer comes before the next remark goes
			if err := s.SendMsg(o.message(t, "Remark", `{"text":"it's 1 = 1 way or another"}`)); err != nil {
				t.Fatal(err)
			}
			out := o.message(t, "Remark", "")
			if err := s.RecvMsg(out); err != nil || !strings.Contains(out.String(), fmt.Sprintf("heard %d", i)) {
				t.Fatalf("%v %v", out, err)
			}
		}
		s.CloseSend()
		if err := s.RecvMsg(o.message(t, "Remark", "")); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
	t.Run("talk with an attack", func(t *testing.T) {
		s := open(t, "Talk")
		for _, text := range []string{"hello", "<script>alert(document.cookie)</script>"} {
			s.SendMsg(o.message(t, "Remark", `{"text":"`+text+`"}`))
		}
		var err error
		n := -1
		for ; err == nil; n++ {
			err = s.RecvMsg(o.message(t, "Remark", ""))
		}
		if status.Code(err) != codes.PermissionDenied || n > 1 {
			t.Errorf("%v after %d answers", err, n)
		}
	})
	t.Run("undeclared", func(t *testing.T) {
		if _, err := healthpb.NewHealthClient(cc).Check(t.Context(), &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unimplemented {
			t.Errorf("%v", err)
		}
	})
	for _, x := range d.rec.list() {
		if x.Decision.Action == sallyport.ActionRefuse && x.Status == 200 {
			t.Errorf("refused, and recorded with 200: %+v", x.Decision)
		}
	}
}

// TestDeadlines: a call's time is bounded, and the bound is told to the upstream.
func TestDeadlines(t *testing.T) {
	o := ordersFile(t)
	addr, _ := o.serve(t)
	d := ordersDoor(t, addr, func(p *policy.API) { p.GRPC.Deadline = 300 * time.Millisecond })
	cc := d.grpc(t)
	line := `,"lines":[{"sku":"ABC-1","quantity":2}]`
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	began := time.Now()
	err := cc.Invoke(ctx, "/shop.v1.Orders/Create", o.message(t, "CreateRequest", `{`+customer+line+`,"note":"slow"}`), o.message(t, "Order", ""))
	if status.Code(err) != codes.DeadlineExceeded || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if err := cc.Invoke(ctx, "/shop.v1.Orders/Create", o.message(t, "CreateRequest", `{`+customer+line+`}`), o.message(t, "Order", "")); err != nil {
		t.Error(err)
	}
}

func framed(flags byte, size uint32, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flags}, size), b...)
}

// TestFramesThatLie posts bodies that no client library would.
func TestFramesThatLie(t *testing.T) {
	o := ordersFile(t)
	addr, calls := o.serve(t)
	d := ordersDoor(t, addr, nil)
	good, _ := proto.Marshal(o.message(t, "CreateRequest", `{`+customer+`,"lines":[{"sku":"ABC-1","quantity":2}]}`))
	line, _ := proto.Marshal(o.message(t, "Line", `{"sku":"ABC-1","quantity":2}`))
	n := uint32(len(good))
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write(make([]byte, 8<<20))
	z.Close()
	var tail bytes.Buffer
	z = gzip.NewWriter(&tail)
	z.Write(good)
	z.Close()
	tail.WriteString("more")
	for _, c := range []struct {
		name, method string
		body         []byte
		header       [2]string
		want         int
	}{
		{"good", "Create", framed(0, n, good), [2]string{}, 0},
		{"good stream", "Import", append(framed(0, uint32(len(line)), line), framed(0, uint32(len(line)), line)...), [2]string{}, 0},
		{"empty", "Create", nil, [2]string{}, 3},
		{"two messages where one belongs", "Create", append(framed(0, n, good), framed(0, n, good)...), [2]string{}, 3},
		{"length beyond the body", "Create", framed(0, n+1, good), [2]string{}, 3},
		{"four gibibytes", "Create", framed(0, 1<<32-1, good), [2]string{}, 3},
		{"four gibibytes in a stream", "Import", framed(0, 1<<32-1, line), [2]string{}, 8},
		{"bytes behind the message", "Create", append(framed(0, n, good), 'x'), [2]string{}, 3},
		{"bytes behind a stream", "Import", append(framed(0, uint32(len(line)), line), 'x', 'y'), [2]string{}, 3},
		{"cut off in a stream", "Import", framed(0, 100, line), [2]string{}, 3},
		{"compressed without an encoding", "Create", framed(1, n, good), [2]string{}, 3},
		{"compressed without an encoding, in a stream", "Import", framed(1, uint32(len(line)), line), [2]string{}, 3},
		{"flags that nobody knows", "Create", framed(4, n, good), [2]string{}, 3},
		{"flags that nobody knows, in a stream", "Import", framed(64, uint32(len(line)), line), [2]string{}, 3},
		{"a trailer from the client", "Create", append(framed(0, n, good), framed(128, 0, nil)...), [2]string{}, 3},
		{"a bomb", "Create", framed(1, uint32(bomb.Len()), bomb.Bytes()), [2]string{"grpc-encoding", "gzip"}, 8},
		{"a bomb in a stream", "Import", framed(1, uint32(bomb.Len()), bomb.Bytes()), [2]string{"grpc-encoding", "gzip"}, 8},
		{"no gzip", "Create", framed(1, n, good), [2]string{"grpc-encoding", "gzip"}, 8},
		{"bytes behind gzip", "Create", framed(1, uint32(tail.Len()), tail.Bytes()), [2]string{"grpc-encoding", "gzip"}, 8},
		{"an encoding that nobody reads", "Create", framed(1, n, good), [2]string{"grpc-encoding", "snappy"}, 12},
		{"two encodings", "Create", framed(1, n, good), [2]string{"grpc-encoding", "gzip, identity"}, 12},
		{"a deadline that is none", "Create", framed(0, n, good), [2]string{"grpc-timeout", "1e9S"}, 3},
		{"messages in JSON", "Create", framed(0, 2, []byte("{}")), [2]string{"content-type", "application/grpc+json"}, 12},
		{"a content-encoding", "Create", framed(0, n, good), [2]string{"content-encoding", "gzip"}, 12},
		{"another case", "create", framed(0, n, good), [2]string{}, 12},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(*calls)
			r, _ := http.NewRequest("POST", d.url("/shop.v1.Orders/"+c.method), bytes.NewReader(c.body))
			r.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}}
			if c.header[0] != "" {
				r.Header.Set(c.header[0], c.header[1])
			}
			res, err := d.client(true).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			got := res.Header.Get("Grpc-Status")
			if got == "" {
				got = res.Trailer.Get("Grpc-Status")
			}
			if res.StatusCode != 200 || got != strconv.Itoa(c.want) || res.Header.Get("Content-Type") != "application/grpc" {
				t.Errorf("HTTP %d, %s, grpc-status %q, want %d; %q", res.StatusCode, res.Header.Get("Content-Type"), got, c.want, body)
			}
			if c.want != 0 && c.method == "Create" && len(*calls) != before {
				t.Error("the upstream was asked")
			}
		})
	}
}

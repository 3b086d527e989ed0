// Command orders is the service of the guide to gRPC: it answers what
// orders.proto declares, and tells its description to whoever asks.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	_ "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
)

func main() {
	addr := flag.String("listen", "127.0.0.1:9006", "address to listen on")
	folder := flag.String("proto", "examples/grpc", "folder of orders.proto")
	flag.Parse()
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(protocompile.CompositeResolver{
		&protocompile.SourceResolver{ImportPaths: []string{*folder}},
		protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
			fd, err := protoregistry.GlobalFiles.FindFileByPath(path)
			return protocompile.SearchResult{Desc: fd}, err
		})})}
	files, err := c.Compile(context.Background(), "orders.proto")
	if err != nil {
		log.Fatal(err)
	}
	file, err := protodesc.NewFile(protodesc.ToFileDescriptorProto(files[0]), protoregistry.GlobalFiles)
	if err != nil {
		log.Fatal(err)
	}
	if err := protoregistry.GlobalFiles.RegisterFile(file); err != nil { // where reflection looks
		log.Fatal(err)
	}
	make := func(name string) *dynamicpb.Message {
		return dynamicpb.NewMessage(file.Messages().ByName(protoreflect.Name(name)))
	}
	text := func(m *dynamicpb.Message, name string) string {
		return m.Get(m.Descriptor().Fields().ByName(protoreflect.Name(name))).String()
	}
	order := func(id string) *dynamicpb.Message {
		m := make("Order")
		m.Set(m.Descriptor().Fields().ByName("id"), protoreflect.ValueOfString(id))
		return m
	}
	s := grpc.NewServer()
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "shop.v1.Orders", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Create", Handler: func(_ any, _ context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := make("CreateRequest")
			if err := dec(in); err != nil {
				return nil, err
			}
			return order("1001"), nil
		}}},
		Streams: []grpc.StreamDesc{{StreamName: "Watch", ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			in := make("WatchRequest")
			if err := s.RecvMsg(in); err != nil {
				return err
			}
			if id := text(in, "id"); strings.HasPrefix(id, "lost") {
				return status.Error(codes.Internal, `pq: relation "orders" does not exist (/srv/shop/orders.go:81)`)
			}
			return s.SendMsg(order(text(in, "id")))
		}}}}, struct{}{})
	reflection.Register(s)
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(s.Serve(l))
}

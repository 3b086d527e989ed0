package guard_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	sallyport "sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/guard/inspect"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
	"sallyport.dev/spec/proto/frame"
)

// BenchmarkGRPCMessage has one message of 1 KiB after the other of a stream
// validated and inspected.
func BenchmarkGRPCMessage(b *testing.B) {
	set, err := spec.Load(b.Context(), []spec.Source{{Path: "../examples/grpc/orders.proto"}}, spec.Options{})
	if err != nil {
		b.Fatal(err)
	}
	engine, err := inspect.New(inspect.Options{})
	if err != nil {
		b.Fatal(err)
	}
	p, err := guard.Compile(guard.Config{Inspect: engine, APIs: []guard.API{{API: sallyport.API{Name: "shop"}, Spec: set,
		Policy: policy.API{Mode: sallyport.Enforce, GRPC: policy.GRPC{Messages: 1 << 40}}}}})
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	s, step := p.Begin(&guard.Request{ID: "1", Method: "POST", Path: "/shop.v1.Orders/Import", Host: "shop.example.test", Client: netip.MustParseAddr("192.0.2.7"),
		Header: http.Header{"Content-Type": {"application/grpc"}}, ContentLength: -1}, now)
	if step.Body != guard.BodyMessages {
		b.Fatalf("step %+v", step)
	}
	m := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "ABC-123")
	m = protowire.AppendVarint(protowire.AppendTag(m, 2, protowire.VarintType), 7)
	for i := range 8 {
		e := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "label "+string(rune('a'+i)))
		e = protowire.AppendString(protowire.AppendTag(e, 2, protowire.BytesType), strings.Repeat("it's what the customer wrote, and no more; ", 3)[:108])
		m = protowire.AppendBytes(protowire.AppendTag(m, 3, protowire.BytesType), e)
	}
	b.SetBytes(int64(len(m) + frame.HeadSize))
	b.ReportAllocs()
	for b.Loop() {
		if step := s.Message(guard.Asked, 0, m, now); step.Verb != guard.Proceed {
			b.Fatalf("refused: %+v", s.End(guard.Outcome{}, now).Decision)
		}
	}
}

package proto_test

import (
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/encoding/protojson"
	pb "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"sallyport.dev/spec/proto"
)

// BenchmarkMessage compares one pass over a message of 1 KiB with decoding and
// validating it by the libraries.
func BenchmarkMessage(b *testing.B) {
	s := load(b, "rules.proto")
	d := descriptors(b, "rules.proto").Messages().ByName("Own")
	m := dynamicpb.NewMessage(d)
	text := `{"id":"1c9a9e0e-7d2f-4c1b-8a57-1d5f0e6f7a11","name":"abc","code":"AB12","colour":"red","count":4,"agreed":true,"key":"YWJj","tags":["ab","cd"],"numbers":[1,2,3],
		"stock":{"a":1},"inner":{"a":"ab"},"left":"x","must":"` + strings.Repeat("some words of a note, ", 38) + `","inners":[{"a":"ab","c":1},{"a":"cd"}]}`
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		b.Fatal(err)
	}
	raw, err := pb.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	judge, err := protovalidate.New()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("walk", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		b.ReportAllocs()
		table := s.Message("rules.v1.Own")
		var w proto.Walk
		for b.Loop() {
			if table.Check(raw, &w, proto.Bounds{}, now); len(w.Problems) > 0 {
				b.Fatal(w.Problems)
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		b.ReportAllocs()
		for b.Loop() {
			m := dynamicpb.NewMessage(d)
			if err := pb.Unmarshal(raw, m); err != nil {
				b.Fatal(err)
			}
			if err := judge.Validate(m); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// One pass allocates nothing while all is well.
func TestWalkAllocatesNothing(t *testing.T) {
	s := load(t, "rules.proto")
	table, raw := s.Message("rules.v1.Inner"), []byte{0x0a, 0x02, 'a', 'b', 0x18, 0x01}
	var w proto.Walk
	if n := testing.AllocsPerRun(100, func() { table.Check(raw, &w, proto.Bounds{}, now) }); n > 0 || len(w.Problems) > 0 {
		t.Errorf("%v allocations, %+v", n, w.Problems)
	}
}

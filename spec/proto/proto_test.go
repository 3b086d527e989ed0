package proto_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/encoding/protojson"
	pb "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/reflect/protoregistry"

	"sallyport.dev/spec/proto"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func load(t testing.TB, names ...string) *proto.Schema {
	t.Helper()
	var sources []proto.Source
	for _, n := range names {
		sources = append(sources, proto.Source{Name: n, Path: filepath.Join("testdata", n)})
	}
	s, faults := proto.Load(t.Context(), sources, proto.Options{})
	for _, f := range faults {
		t.Errorf("%+v", f)
	}
	if s == nil {
		t.FailNow()
	}
	return s
}

// descriptors compiles with the libraries alone: the judge's view of a file.
func descriptors(t testing.TB, name string) protoreflect.FileDescriptor {
	t.Helper()
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(protocompile.CompositeResolver{
		&protocompile.SourceResolver{ImportPaths: []string{"testdata"}},
		protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
			fd, err := protoregistry.GlobalFiles.FindFileByPath(path)
			return protocompile.SearchResult{Desc: fd}, err
		})})}
	files, err := c.Compile(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	var add func(f protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		if !slices.ContainsFunc(set.File, func(x *descriptorpb.FileDescriptorProto) bool { return x.GetName() == f.Path() }) {
			set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
		}
	}
	add(files[0])
	b, _ := pb.Marshal(set)
	set = &descriptorpb.FileDescriptorSet{}
	if err := pb.Unmarshal(b, set); err != nil {
		t.Fatal(err)
	}
	reg, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := reg.FindFileByPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestMethods(t *testing.T) {
	s := load(t, "rules.proto")
	var got []string
	for _, m := range s.Methods {
		got = append(got, m.Path+" "+m.Kind())
		if m.File != "rules.proto" || m.Line == 0 {
			t.Errorf("%s stands at %s:%d", m.Path, m.File, m.Line)
		}
	}
	want := []string{"/rules.v1.Rules/Chat bidi stream", "/rules.v1.Rules/Collect client stream", "/rules.v1.Rules/TryLibrary server stream", "/rules.v1.Rules/TryOwn unary"}
	if !slices.Equal(got, want) {
		t.Errorf("methods %q, want %q", got, want)
	}
	if s.Methods[3].Summary != "Takes one of each." || !s.Methods[1].Deprecated {
		t.Errorf("summary %q, deprecated %v", s.Methods[3].Summary, s.Methods[1].Deprecated)
	}
	if !s.Field("rules.v1.Own.note") || s.Field("rules.v1.Own.nothing") {
		t.Error("Field does not know what is declared")
	}
}

// TestFaults gives descriptions with mistakes: each is named with its place.
func TestFaults(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"syntax", "syntax = \"proto3\";\nmessage M {\n  string a = ;\n}", "x.proto:3:14"},
		{"unknown type", "syntax = \"proto3\";\nmessage M {\n  Other a = 1;\n}", "x.proto:3:3"},
		{"number twice", "syntax = \"proto3\";\nmessage M {\n  string a = 1;\n  string b = 1;\n}", "x.proto:4"},
		{"missing import", "syntax = \"proto3\";\nimport \"nowhere.proto\";\n", "x.proto:2:8"},
		{"climbing import", "syntax = \"proto3\";\nimport \"../../etc/passwd\";\n", "x.proto:2:8"},
		{"rule of another type", "syntax = \"proto3\";\nimport \"buf/validate/validate.proto\";\nmessage M {\n  int32 a = 1 [(buf.validate.field).string.min_len = 1];\n}\nservice S { rpc A(M) returns (M); }", "x.proto:3:1"},
		{"cel that does not compile", "syntax = \"proto3\";\nimport \"buf/validate/validate.proto\";\nmessage M {\n  int32 a = 1 [(buf.validate.field).cel = {id: \"x\", expression: \"this +\"}];\n}\nservice S { rpc A(M) returns (M); }", "x.proto:3:1"},
		{"empty", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x.proto")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			s, faults := proto.Load(t.Context(), []proto.Source{{Name: "x.proto", Path: file}}, proto.Options{})
			if c.want == "" {
				if s == nil {
					t.Fatalf("refused: %+v", faults)
				}
				return
			}
			if s != nil || len(faults) == 0 {
				t.Fatal("accepted")
			}
			at := faults[0].File
			if faults[0].Line > 0 {
				at += ":" + strconv.Itoa(faults[0].Line) + ":" + strconv.Itoa(faults[0].Column)
			}
			if !strings.HasPrefix(at, c.want) {
				t.Errorf("fault at %s (%s), want %s", at, faults[0].Message, c.want)
			}
		})
	}
	for _, junk := range [][]byte{{}, {0xff}, []byte("not a set"), {0x0a, 0x02, 0x0a, 0x7f}} {
		if s, faults := proto.Load(t.Context(), []proto.Source{{Name: "x.binpb", Set: junk}}, proto.Options{}); s != nil || len(faults) == 0 {
			t.Errorf("%q was taken for a descriptor set", junk)
		}
	}
}

// TestDescriptorSet loads the same schema from its binary form.
func TestDescriptorSet(t *testing.T) {
	fd := descriptors(t, "rules.proto")
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(fd)}}
	b, _ := pb.Marshal(set)
	s, faults := proto.Load(t.Context(), []proto.Source{{Name: "rules.binpb", Set: b}}, proto.Options{})
	if s == nil || len(s.Methods) != 4 {
		t.Fatalf("not loaded: %+v", faults)
	}
}

// TestAgreesWithLibrary draws messages and asks both: the tables and protovalidate.
func TestAgreesWithLibrary(t *testing.T) {
	s := load(t, "rules.proto")
	fd := descriptors(t, "rules.proto")
	judge, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"Own", "Inner", "Library"} {
		d := fd.Messages().ByName(protoreflect.Name(name))
		table := s.Message("rules.v1." + name)
		var w proto.Walk
		good, bad := 0, 0
		at := time.Now()
		for range 6000 {
			m := draw(r, d, 0)
			b, err := pb.Marshal(m)
			if err != nil {
				continue // a string that is no UTF-8
			}
			err = judge.Validate(m)
			var broken *protovalidate.ValidationError
			if err != nil && !errors.As(err, &broken) {
				continue // the library itself gave up
			}
			table.Check(b, &w, proto.Bounds{}, at)
			if (err == nil) != (len(w.Problems) == 0) {
				text, _ := protojson.Marshal(m)
				t.Fatalf("%s: library says %v, tables say %+v\n%s", name, err, w.Problems, text)
			}
			if err == nil {
				good++
			} else {
				bad++
			}
		}
		t.Logf("%s: %d good, %d bad", name, good, bad)
		if good < 20 || bad < 20 {
			t.Errorf("%s: %d good and %d bad messages show little", name, good, bad)
		}
	}
}

var words = []string{"", "a", "ab", "abc-z", "a-z", "a!-z", "red", "green", "AB12", "ab12", "AB12345", "example.test", "-x.test", "a.1", "1.2.3.4", "1.2.3.04", "256.1.1.1",
	"1.2.3", "x@y.test", "x@y", "@y", "1c9a9e0e-7d2f-4c1b-8a57-1d5f0e6f7a11", "1c9a9e0e7d2f4c1b8a571d5f0e6f7a11", "https://x.test/a?b#c", "http://[", "grüße", "日本語日本語日本語"}

// draw makes a message whose fields have values of which many are good.
func draw(r *rand.Rand, d protoreflect.MessageDescriptor, depth int) *dynamicpb.Message {
	m := dynamicpb.NewMessage(d)
	likely := func(f protoreflect.FieldDescriptor) string {
		good := map[string]string{"id": "1c9a9e0e-7d2f-4c1b-8a57-1d5f0e6f7a11", "name": "abc", "code": "AB12", "colour": "red", "host": "example.test", "address": "1.2.3.4",
			"mail": "x@y.test", "affix": "a-z", "url": "https://x.test/a", "must": "x", "a": "ab", "note": "ab"}
		if v, ok := good[string(f.Name())]; ok && r.IntN(60) > 0 {
			return v
		}
		return words[r.IntN(len(words))]
	}
	var value func(f protoreflect.FieldDescriptor) protoreflect.Value
	value = func(f protoreflect.FieldDescriptor) protoreflect.Value {
		small := []int64{0, 1, 2, 4, 7, 9, 12, 13, 50, 99, 100, -11, -1}[r.IntN(13)]
		if r.IntN(20) > 0 {
			switch f.Name() {
			case "count", "high", "number", "value":
				small = 4
			case "right", "outside":
				small = 12
			case "fixed":
				small = 7
			}
		}
		switch f.Kind() {
		case protoreflect.StringKind:
			return protoreflect.ValueOfString(likely(f))
		case protoreflect.BytesKind:
			return protoreflect.ValueOfBytes([]byte("abcdef")[:2+r.IntN(3)])
		case protoreflect.BoolKind:
			return protoreflect.ValueOfBool(r.IntN(30) > 0)
		case protoreflect.EnumKind:
			return protoreflect.ValueOfEnum([]protoreflect.EnumNumber{0, 5, 5, 5, 5, 5, 5, 5, 5, 5, 1, 3}[r.IntN(12)])
		case protoreflect.FloatKind:
			return protoreflect.ValueOfFloat32([]float32{0, 1, 1, 1, 1, 1, 1, 1, 2.5, -3}[r.IntN(10)])
		case protoreflect.DoubleKind:
			return protoreflect.ValueOfFloat64([]float64{0, 0.5, 0.5, 0.5, 0.5, 1, 1.5, math.Inf(1), math.NaN()}[r.IntN(9)])
		case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
			return protoreflect.ValueOfInt32(int32(small))
		case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
			if f.ContainingMessage().FullName() == "google.protobuf.Timestamp" {
				small = now.Unix() + 1e9*(int64(r.IntN(9))/8*10-2) // past, seldom future
			}
			return protoreflect.ValueOfInt64(small)
		case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
			return protoreflect.ValueOfUint32(uint32(max(small, 0)))
		case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
			return protoreflect.ValueOfUint64(uint64(small))
		}
		return protoreflect.ValueOfMessage(draw(r, f.Message(), depth+1))
	}
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		rare := 12
		if f.Name() == "child" || depth > 1 && f.Message() != nil {
			rare = 2
		}
		if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() && m.WhichOneof(o) != nil && r.IntN(2) == 0 || r.IntN(rare) == 0 || depth > 3 {
			continue
		}
		if d.Name() == "Inner" && f.Name() == "b" && r.IntN(20) > 0 || f.Message() != nil && f.Message().FullName() == "google.protobuf.Any" {
			continue
		}
		switch {
		case f.IsMap():
			for range r.IntN(4) {
				m.Mutable(f).Map().Set(value(f.MapKey()).MapKey(), value(f.MapValue()))
			}
		case f.IsList():
			for range 1 + r.IntN(2) {
				m.Mutable(f).List().Append(value(f))
			}
		default:
			m.Set(f, value(f))
		}
	}
	return m
}

// decode is the judge. It panics at map entries whose key is of another wire
// type, which is a refusal too.
func decode(b []byte, d protoreflect.MessageDescriptor) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return pb.Unmarshal(b, dynamicpb.NewMessage(d))
}

// FuzzWalk compares the walker with the library's decoder: what that refuses
// is refused, what it accepts is accepted unless a rule that is ours says
// otherwise, and nothing is read beyond the message.
func FuzzWalk(f *testing.F) {
	s := load(f, "rules.proto", "old.proto")
	own, old := descriptors(f, "rules.proto").Messages().ByName("Own"), descriptors(f, "old.proto").Messages().ByName("Old")
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		for _, d := range []protoreflect.MessageDescriptor{own, old} {
			if b, err := pb.Marshal(draw(r, d, 0)); err == nil {
				f.Add(b)
			}
		}
	}
	for _, b := range [][]byte{{}, {0x0a}, {0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}, {0x2b, 0x0a, 0x01, 'x', 0x2c}, {0x2b, 0x0a, 0x01, 'x', 0x34}, {0x33, 0x08, 0x01, 0x34},
		{0x18, 0x01, 0x1a, 0x02, 0x01, 0x02}, {0x07}, {0x00, 0x00}, {0x0a, 0x01, 0xff}, {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02},
		[]byte(strings.Repeat("\xdb\x02", 300)), []byte(strings.Repeat("\x2b\x13", 100)), {0xf8, 0xff, 0xff, 0xff, 0x0f, 1}} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, d := range []protoreflect.MessageDescriptor{own, old} {
			var w proto.Walk
			s.Message(string(d.FullName())).Check(b, &w, proto.Bounds{}, now)
			err := decode(b, d)
			hard := false // a reason of ours to refuse what the library takes
			for _, p := range w.Problems {
				hard = hard || p.Rule != "proto.syntax" && p.Rule != "proto.utf8" && p.Rule != "proto.missing"
			}
			switch {
			case err != nil && len(w.Problems) == 0:
				t.Fatalf("%s: library refuses (%v), the walker takes %x", d.Name(), err, b)
			case err == nil && len(w.Problems) > 0 && !hard:
				t.Fatalf("%s: library takes, the walker says %+v of %x", d.Name(), w.Problems, b)
			}
			for i := range w.Values {
				v := &w.Values[i]
				if v.Start < 0 || v.End > int32(len(b)) || v.Start > v.End || w.Pointer(v) == "" {
					t.Fatalf("value %+v of %d bytes", *v, len(b))
				}
			}
		}
	})
}

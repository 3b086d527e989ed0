package spec

import (
	"net/url"
	"path"
	"path/filepath"

	"sallyport.dev"
	"sallyport.dev/spec/proto"
)

// protoName reports whether a name is that of a Protocol Buffers description:
// a .proto file, or a binary descriptor set.
func protoName(name string) bool {
	return path.Ext(filepath.ToSlash(name)) == ".proto" || setName(name)
}

func setName(name string) bool {
	switch path.Ext(filepath.ToSlash(name)) {
	case ".binpb", ".protoset", ".desc", ".fds":
		return true
	}
	return false
}

// protoFile notes a description that is a file.
func (l *loader) protoFile(abs, name string, h *home) {
	if !setName(name) {
		l.protos = append(l.protos, proto.Source{Name: name, Path: abs})
		return
	}
	data, err := l.file(&url.URL{Path: filepath.ToSlash(abs)}, h)
	if err != nil {
		l.mistake(Position{File: name}, "document cannot be read: "+reason(err), hintFor(err))
		return
	}
	l.protos = append(l.protos, proto.Source{Name: name, Set: data})
}

// protoSet notes a descriptor set that came as bytes.
func (l *loader) protoSet(name string, data []byte) {
	if int64(len(data)) > l.o.MaxBytes {
		l.mistake(Position{File: name}, "descriptor set is larger than its bound", "")
		return
	}
	l.protos = append(l.protos, proto.Source{Name: name, Set: data})
}

// grpc compiles the descriptions noted, and makes an operation of each method.
func (b *setBuilder) grpc() {
	if len(b.protos) == 0 {
		return
	}
	schema, faults := proto.Load(b.ctx, b.protos, proto.Options{Imports: b.o.Imports, MaxBytes: b.o.MaxBytes})
	for _, f := range faults {
		b.mistake(Position{File: f.File, Line: f.Line, Column: f.Column}, f.Message, f.Hint)
	}
	if schema == nil {
		return
	}
	b.set.protos = schema
	for _, m := range schema.Methods {
		b.route(&Operation{Method: "POST", Template: m.Path, ID: m.Service + "." + m.Name, Summary: m.Summary, Deprecated: m.Deprecated,
			Position: Position{File: m.File, Line: m.Line, Column: m.Column}, o: b.set.o, grpc: m})
	}
}

// Proto is the schema of the gRPC services among the sources, nil if there are none.
func (s *Set) Proto() *proto.Schema { return s.protos }

// GRPC is the method that the operation is, nil when it is none of gRPC.
func (o *Operation) GRPC() *proto.Method {
	if o == nil {
		return nil
	}
	return o.grpc
}

// messagePlaces is what a method declares, for people.
func (o *Operation) messagePlaces(out *Outline) {
	for i, m := range []*proto.Message{o.grpc.Input, o.grpc.Output} {
		for _, p := range m.Places(maxPlaces) {
			out.Places = append(out.Places, DeclaredPlace{Place: sallyport.Place{In: sallyport.InBody, Name: p.Pointer}, Response: i == 1,
				Type: p.Type, Format: p.Format, Required: p.Required})
		}
	}
	out.Statuses = []string{"200"}
}

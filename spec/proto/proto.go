// Package proto compiles Protocol Buffers descriptions into tables by which
// messages on the wire are checked in one pass, without building them. In come
// .proto files, or binary descriptor sets; out goes an immutable Schema of
// methods and messages, or every mistake with file, line and column. At run
// time a Message walks over the bytes of one message: wire types, lengths,
// UTF-8, required and oneof, bounds of depth and number, and the rules of
// buf.validate; it names the fields that no schema knows and the texts that
// nothing has proven harmless. Rules in CEL, and the few standard ones that are
// not compiled here, are asked of protovalidate, and only messages that have
// such rules pay for it. It never opens a file outside the folders that it was
// given, and never decides: what a finding means is the guard's policy.
package proto

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"github.com/bufbuild/protocompile/reporter"
	pb "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// A Source is one .proto file below an import path, or one binary descriptor set.
type Source struct {
	Name string // as the operator knows it
	Path string // of a .proto file: where it is
	Set  []byte // or a FileDescriptorSet
}

// A Fault is one thing wrong in a source.
type Fault struct {
	File         string
	Line, Column int // from 1; 0 = the file as a whole
	Message      string
	Hint         string
}

// Options of Load.
type Options struct {
	Imports  []string // folders in which imports are looked for, besides those of the files
	MaxBytes int64    // of one file; default 16 MiB
}

const maxFiles = 2000 // of one schema

// Load compiles all sources into one schema. When anything is wrong there is no
// schema, and the faults say all that is.
func Load(ctx context.Context, sources []Source, o Options) (*Schema, []Fault) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 16 << 20
	}
	l := &loader{o: o, files: map[string]*descriptorpb.FileDescriptorProto{}, shown: map[string]string{}}
	defer l.close()
	var text []Source
	for _, s := range sources {
		if s.Set != nil {
			l.set(s)
		} else {
			text = append(text, s)
		}
	}
	if len(text) > 0 {
		l.compile(ctx, text)
	}
	if len(l.faults) > 0 {
		return nil, l.faults
	}
	return l.link()
}

type loader struct {
	o      Options
	roots  []*os.Root
	paths  []string // of roots, absolute
	files  map[string]*descriptorpb.FileDescriptorProto
	order  []string
	shown  map[string]string // import name → as the operator knows it
	mains  []string
	faults []Fault
}

func (l *loader) close() {
	for _, r := range l.roots {
		r.Close()
	}
}

func (l *loader) fault(f Fault) {
	if len(l.faults) < 200 && !slices.Contains(l.faults, f) {
		l.faults = append(l.faults, f)
	}
}

// add takes a file into the set; the same name must mean the same file.
func (l *loader) add(source string, f *descriptorpb.FileDescriptorProto) {
	if before := l.files[f.GetName()]; before != nil {
		a, b := pb.Clone(before).(*descriptorpb.FileDescriptorProto), pb.Clone(f).(*descriptorpb.FileDescriptorProto)
		a.SourceCodeInfo, b.SourceCodeInfo = nil, nil
		if !pb.Equal(a, b) {
			l.fault(Fault{File: source, Message: fmt.Sprintf("%s is in two sources, and not the same in both", f.GetName()), Hint: "give one of them"})
		}
		return
	}
	if len(l.files) >= maxFiles {
		l.fault(Fault{File: source, Message: fmt.Sprintf("more than %d files", maxFiles)})
		return
	}
	l.files[f.GetName()] = f
	l.order = append(l.order, f.GetName())
}

func (l *loader) set(s Source) {
	var set descriptorpb.FileDescriptorSet
	if err := pb.Unmarshal(s.Set, &set); err != nil || len(set.File) == 0 {
		l.fault(Fault{File: s.Name, Message: "it is no binary descriptor set", Hint: "protoc --include_imports --descriptor_set_out, or buf build -o x.binpb, makes one"})
		return
	}
	for _, f := range set.File {
		l.add(s.Name, f)
		l.shown[f.GetName()] = s.Name + ": " + f.GetName()
		l.mains = append(l.mains, f.GetName())
	}
}

// folder opens a folder that imports may come from.
func (l *loader) folder(dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil || slices.Contains(l.paths, abs) {
		return err
	}
	r, err := os.OpenRoot(abs)
	if err == nil {
		l.roots, l.paths = append(l.roots, r), append(l.paths, abs)
	}
	return err
}

func (l *loader) compile(ctx context.Context, sources []Source) {
	for _, dir := range l.o.Imports {
		if err := l.folder(dir); err != nil {
			l.fault(Fault{File: dir, Message: "import path cannot be opened: " + cause(err)})
		}
	}
	var names []string
	for _, s := range sources {
		name, err := l.name(s)
		if err != nil {
			l.fault(Fault{File: s.Name, Message: "cannot be read: " + cause(err)})
			continue
		}
		l.shown[name] = s.Name
		names = append(names, name)
	}
	if len(l.faults) > 0 {
		return
	}
	slices.Sort(names)
	names = slices.Compact(names)
	placed := func(err reporter.ErrorWithPos) {
		at := err.GetPosition()
		l.fault(Fault{File: l.display(at.Filename), Line: at.Line, Column: at.Col, Message: err.Unwrap().Error(), Hint: hint(err.Unwrap())})
	}
	rep := reporter.NewReporter(func(err reporter.ErrorWithPos) error { placed(err); return nil }, nil)
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(protocompile.ResolverFunc(l.find)), Reporter: rep, SourceInfoMode: protocompile.SourceInfoStandard, MaxParallelism: 1}
	files, err := c.Compile(ctx, names...)
	if len(l.faults) > 0 {
		return
	}
	var at reporter.ErrorWithPos
	switch {
	case errors.As(err, &at):
		placed(at)
		return
	case err != nil:
		l.fault(Fault{File: l.display(names[0]), Message: err.Error(), Hint: hint(err)})
		return
	}
	var take func(protoreflect.FileDescriptor)
	seen := map[string]bool{}
	take = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			take(f.Imports().Get(i).FileDescriptor)
		}
		p := protodesc.ToFileDescriptorProto(f)
		if r, ok := f.(linker.Result); ok {
			p = r.FileDescriptorProto()
		}
		l.add(l.display(f.Path()), p)
	}
	for _, f := range files {
		take(f)
		l.mains = append(l.mains, f.Path())
	}
}

// name is what a file is imported by: its path below the first folder that
// holds it. The file's own folder is the last resort.
func (l *loader) name(s Source) (string, error) {
	abs, err := filepath.Abs(s.Path)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(abs); err != nil {
		return "", err
	}
	for _, dir := range l.paths {
		if rel, err := filepath.Rel(dir, abs); err == nil && filepath.IsLocal(rel) {
			return filepath.ToSlash(rel), nil
		}
	}
	return filepath.Base(abs), l.folder(filepath.Dir(abs))
}

func (l *loader) display(file string) string {
	if s := l.shown[file]; s != "" {
		return s
	}
	return file
}

// find reads a file that is imported.
func (l *loader) find(name string) (protocompile.SearchResult, error) {
	if !filepath.IsLocal(filepath.FromSlash(name)) || path.Clean(name) != name {
		return protocompile.SearchResult{}, errors.New("an import stays below its import path")
	}
	for i, r := range l.roots {
		info, err := r.Stat(filepath.FromSlash(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return protocompile.SearchResult{}, err
		}
		if !info.Mode().IsRegular() || info.Size() > l.o.MaxBytes {
			return protocompile.SearchResult{}, fmt.Errorf("%s is no regular file, or larger than %d bytes", name, l.o.MaxBytes)
		}
		f, err := r.Open(filepath.FromSlash(name))
		if err != nil {
			return protocompile.SearchResult{}, err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, l.o.MaxBytes))
		if err != nil {
			return protocompile.SearchResult{}, err
		}
		if l.shown[name] == "" {
			l.shown[name] = filepath.Join(l.paths[i], filepath.FromSlash(name))
		}
		return protocompile.SearchResult{Source: strings.NewReader(string(b))}, nil
	}
	if known(name) {
		if fd, err := protoregistry.GlobalFiles.FindFileByPath(name); err == nil {
			return protocompile.SearchResult{Desc: fd}, nil
		}
	}
	return protocompile.SearchResult{}, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

// known are the files that come with this program.
func known(name string) bool {
	return name == "buf/validate/validate.proto" || strings.HasPrefix(name, "google/protobuf/")
}

func hint(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "name the folder that imports begin at in grpc.imports"
	}
	return ""
}

func cause(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// link makes descriptors of the files, and tables of those.
func (l *loader) link() (*Schema, []Fault) {
	l.complete()
	set := &descriptorpb.FileDescriptorSet{}
	for _, name := range l.order {
		set.File = append(set.File, l.files[name])
	}
	// Options are read anew, so that the rules of buf.validate are what they are
	// whoever wrote them down.
	if b, err := pb.Marshal(set); err == nil {
		set = &descriptorpb.FileDescriptorSet{}
		if err := pb.Unmarshal(b, set); err != nil {
			return nil, []Fault{{File: l.mains[0], Message: "descriptors cannot be read: " + err.Error()}}
		}
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, []Fault{{File: l.display(l.mains[0]), Message: "descriptors do not fit together: " + err.Error(), Hint: "a descriptor set needs its imports too (--include_imports)"}}
	}
	c := &compiler{s: &Schema{messages: map[string]*Message{}}}
	done := map[string]bool{}
	for _, name := range l.mains {
		if fd, err := files.FindFileByPath(name); err == nil && !done[name] {
			done[name] = true
			c.file(fd)
		}
	}
	c.finish()
	for i := range c.faults {
		c.faults[i].File = l.display(c.faults[i].File)
	}
	for _, m := range c.s.Methods {
		m.File = l.display(m.File)
	}
	if len(c.faults) > 0 {
		return nil, c.faults
	}
	return c.s, nil
}

// complete adds files that come with this program and were left out of a set.
func (l *loader) complete() {
	for i := 0; i < len(l.order); i++ {
		for _, name := range l.files[l.order[i]].GetDependency() {
			if l.files[name] != nil || !known(name) {
				continue
			}
			if fd, err := protoregistry.GlobalFiles.FindFileByPath(name); err == nil {
				l.add(name, protodesc.ToFileDescriptorProto(fd))
			}
		}
	}
}

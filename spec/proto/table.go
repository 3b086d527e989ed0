package proto

import (
	"fmt"
	"slices"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// A Method is one method of a service. It is immutable and safe for concurrent use.
type Method struct {
	Service    string // shop.v1.Orders
	Name       string
	Path       string // /shop.v1.Orders/Create
	Summary    string // the first line of its comment
	Deprecated bool
	// ClientStream and ServerStream say which side sends a stream of messages.
	ClientStream, ServerStream bool
	Input, Output              *Message

	File         string
	Line, Column int // from 1; 0 = unknown
}

// Kind is "unary", "client stream", "server stream" or "bidi stream".
func (m *Method) Kind() string {
	switch {
	case m.ClientStream && m.ServerStream:
		return "bidi stream"
	case m.ClientStream:
		return "client stream"
	case m.ServerStream:
		return "server stream"
	}
	return "unary"
}

// A Schema is the services and messages of a set of descriptors, compiled. It
// is immutable and safe for concurrent use.
type Schema struct {
	Methods  []*Method // in the order of their paths
	messages map[string]*Message
	judge    protovalidate.Validator // nil: no rule needs it
}

// Message finds a message by its full name, nil when there is none.
func (s *Schema) Message(name string) *Message { return s.messages[name] }

// Field reports whether a field of the given full name (shop.v1.Order.note) is declared.
func (s *Schema) Field(name string) bool {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return false
	}
	m := s.messages[name[:dot]]
	return m != nil && slices.ContainsFunc(m.fields, func(f *field) bool { return f.name == name[dot+1:] })
}

// A Message is the compiled table of one message type. It is immutable and safe
// for concurrent use.
type Message struct {
	Name string

	schema *Schema
	desc   protoreflect.MessageDescriptor
	dense  [32]*field // by number
	sparse map[protowire.Number]*field
	fields []*field // by bit
	words  int      // of presence bits

	required  []*field // of proto2
	absent    []absent // rules that a field breaks by not being there
	oneofs    []*oneof
	either    []either // oneof rules of the message
	any       bool     // google.protobuf.Any
	entry     bool     // of a map
	collects  bool     // fields whose items have to differ
	library   bool     // rules that the library judges, here
	reachable bool     // or in a message below
}

// absent is a rule that is broken when a field is not on the wire.
type absent struct {
	f    *field
	rule string
}

// either is a rule over several fields, of which one at most may be set.
type either struct {
	fields   []*field
	required bool
}

type oneof struct {
	name     string
	fields   []*field
	required bool
}

// field is one declared field.
type field struct {
	name     string
	full     string
	number   protowire.Number
	kind     protoreflect.Kind
	wire     protowire.Type // of one value
	bit      int
	list     bool // repeated, maps among them
	pack     bool // its values may be packed
	utf8     bool
	message  *Message
	enum     map[protoreflect.EnumNumber]bool
	closed   bool // an enum of proto2: others are unknown fields
	oneof    int  // of Message.oneofs, -1 = none
	implicit bool // the zero value is as good as none, on the wire or not

	needed   bool // a rule: required
	skipZero bool // a rule: ignore the zero value
	rules    *rules
	count    *[2]uint64 // items at least and at most
	unique   bool       // items, or keys of a map, have to differ
	proven   bool       // whatever satisfies its rules spells nothing
}

func (m *Message) field(n protowire.Number) *field {
	if n < protowire.Number(len(m.dense)) {
		return m.dense[n]
	}
	return m.sparse[n]
}

// Places lists the scalar fields that a message declares, as JSON pointers with
// * for the items of lists and the keys of maps; repeated types end a branch.
func (m *Message) Places(most int) []Place {
	var out []Place
	m.places("", &out, most, map[*Message]bool{})
	return out
}

// A Place is one declared field.
type Place struct {
	Pointer  string
	Type     string // as JSON calls it: "string", "integer", "number", "boolean", "object", "array"
	Format   string
	Required bool
}

func (m *Message) places(at string, out *[]Place, most int, open map[*Message]bool) {
	if open[m] {
		return
	}
	open[m] = true
	defer delete(open, m)
	for _, f := range m.fields {
		if len(*out) >= most {
			return
		}
		p := Place{Pointer: at + "/" + f.name, Required: f.needed || slices.Contains(m.required, f)}
		switch f.kind {
		case protoreflect.StringKind, protoreflect.EnumKind:
			p.Type = "string"
		case protoreflect.BytesKind:
			p.Type, p.Format = "string", "byte"
		case protoreflect.BoolKind:
			p.Type = "boolean"
		case protoreflect.FloatKind, protoreflect.DoubleKind:
			p.Type, p.Format = "number", f.kind.String()
		case protoreflect.MessageKind, protoreflect.GroupKind:
			p.Type = "object"
		default:
			p.Type, p.Format = "integer", f.kind.String()
		}
		below := p.Pointer
		if f.list {
			item := p
			p.Type, p.Format = "array", ""
			*out = append(*out, p)
			below += "/*"
			if f.message != nil && f.message.entry {
				(*out)[len(*out)-1].Type = "object"
				if v := f.message.field(2); v != nil && v.message != nil {
					v.message.places(below, out, most, open)
				}
				continue
			}
			if f.message == nil {
				item.Pointer, item.Required = below, false
				*out = append(*out, item)
			}
		} else {
			*out = append(*out, p)
		}
		if f.message != nil {
			f.message.places(below, out, most, open)
		}
	}
}

// compiler turns descriptors into tables.
type compiler struct {
	s      *Schema
	faults []Fault
	ruled  bool // some message has rules
}

func (c *compiler) fault(d protoreflect.Descriptor, message, hint string) {
	f := Fault{Message: message, Hint: hint}
	if file := d.ParentFile(); file != nil {
		f.File = file.Path()
		if at := file.SourceLocations().ByDescriptor(d); at.EndLine > 0 || at.EndColumn > 0 {
			f.Line, f.Column = at.StartLine+1, at.StartColumn+1
		}
	}
	c.faults = append(c.faults, f)
}

func (c *compiler) file(fd protoreflect.FileDescriptor) {
	for i := range fd.Services().Len() {
		s := fd.Services().Get(i)
		for k := range s.Methods().Len() {
			c.method(s, s.Methods().Get(k))
		}
	}
	var each func(list protoreflect.MessageDescriptors)
	each = func(list protoreflect.MessageDescriptors) { // what an Any may hold
		for i := range list.Len() {
			if !list.Get(i).IsMapEntry() {
				c.message(list.Get(i))
			}
			each(list.Get(i).Messages())
		}
	}
	each(fd.Messages())
}

func (c *compiler) method(s protoreflect.ServiceDescriptor, d protoreflect.MethodDescriptor) {
	m := &Method{Service: string(s.FullName()), Name: string(d.Name()), Path: "/" + string(s.FullName()) + "/" + string(d.Name()),
		ClientStream: d.IsStreamingClient(), ServerStream: d.IsStreamingServer(), File: d.ParentFile().Path()}
	if o, ok := d.Options().(interface{ GetDeprecated() bool }); ok {
		m.Deprecated = o.GetDeprecated()
	}
	if at := d.ParentFile().SourceLocations().ByDescriptor(d); at.EndLine > 0 || at.EndColumn > 0 {
		m.Line, m.Column = at.StartLine+1, at.StartColumn+1
		m.Summary, _, _ = strings.Cut(strings.TrimSpace(at.LeadingComments), "\n")
	}
	m.Input, m.Output = c.message(d.Input()), c.message(d.Output())
	c.s.Methods = append(c.s.Methods, m)
}

// message compiles a message type, once.
func (c *compiler) message(d protoreflect.MessageDescriptor) *Message {
	if m := c.s.messages[string(d.FullName())]; m != nil {
		return m
	}
	m := &Message{Name: string(d.FullName()), schema: c.s, desc: d, sparse: map[protowire.Number]*field{}, any: d.FullName() == "google.protobuf.Any", entry: d.IsMapEntry()}
	c.s.messages[m.Name] = m
	if d.IsPlaceholder() {
		c.fault(d, fmt.Sprintf("message %s is not in the set", d.FullName()), "give its file too, or an import path that leads to it")
		return m
	}
	if o, ok := d.Options().(interface{ GetMessageSetWireFormat() bool }); ok && o.GetMessageSetWireFormat() {
		c.fault(d, fmt.Sprintf("message %s uses the message set format, which is not supported", d.FullName()), "")
	}
	for i := range d.Oneofs().Len() {
		if o := d.Oneofs().Get(i); !o.IsSynthetic() {
			m.oneofs = append(m.oneofs, &oneof{name: string(o.Name())})
		}
	}
	for i := range d.Fields().Len() {
		m.add(c.field(m, d.Fields().Get(i)))
	}
	m.words = (len(m.fields) + 63) / 64
	c.messageRules(m)
	return m
}

func (m *Message) add(f *field) {
	f.bit = len(m.fields)
	m.fields = append(m.fields, f)
	if f.number < protowire.Number(len(m.dense)) {
		m.dense[f.number] = f
	} else {
		m.sparse[f.number] = f
	}
}

func (c *compiler) field(m *Message, d protoreflect.FieldDescriptor) *field {
	f := &field{name: string(d.Name()), full: string(d.FullName()), number: d.Number(), kind: d.Kind(), list: d.IsList() || d.IsMap(), oneof: -1,
		implicit: !d.HasPresence() && !d.IsList() && !d.IsMap() && !m.entry, utf8: true}
	if e, ok := d.(interface{ EnforceUTF8() bool }); ok {
		f.utf8 = e.EnforceUTF8()
	}
	switch f.kind {
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		f.wire = protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		f.wire = protowire.Fixed64Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		f.wire = protowire.BytesType
	case protoreflect.GroupKind:
		f.wire = protowire.StartGroupType
	default:
		f.wire = protowire.VarintType
	}
	f.pack = f.list && f.wire != protowire.BytesType && f.wire != protowire.StartGroupType
	if d.Cardinality() == protoreflect.Required {
		m.required = append(m.required, f)
	}
	if e := d.Enum(); e != nil {
		f.enum, f.closed = map[protoreflect.EnumNumber]bool{}, e.IsClosed()
		for i := range e.Values().Len() {
			f.enum[e.Values().Get(i).Number()] = true
		}
	}
	if o := d.ContainingOneof(); o != nil && !o.IsSynthetic() {
		f.oneof = slices.IndexFunc(m.oneofs, func(x *oneof) bool { return x.name == string(o.Name()) })
		m.oneofs[f.oneof].fields = append(m.oneofs[f.oneof].fields, f)
	}
	if d.Message() != nil {
		f.message = c.message(d.Message())
	}
	return f
}

// finish settles what needs the whole: which messages the library has a say in.
func (c *compiler) finish() {
	for changed := true; changed; {
		changed = false
		for _, m := range c.s.messages {
			if m.reachable {
				continue
			}
			m.reachable = m.library || slices.ContainsFunc(m.fields, func(f *field) bool { return f.message != nil && f.message.reachable })
			changed = changed || m.reachable
		}
	}
	slices.SortFunc(c.s.Methods, func(a, b *Method) int { return strings.Compare(a.Path, b.Path) })
	if !c.ruled || len(c.faults) > 0 {
		return
	}
	c.judge()
}

// judge has the library compile every rule, also those compiled here: what it
// does not understand is refused now and not on the first message.
func (c *compiler) judge() {
	v, err := protovalidate.New()
	if err != nil {
		c.faults = append(c.faults, Fault{Message: "rules cannot be compiled: " + err.Error()})
		return
	}
	names := make([]string, 0, len(c.s.messages))
	for name := range c.s.messages {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		m := c.s.messages[name]
		if m.entry {
			continue
		}
		if wrong := compilation(v.Validate(dynamicpb.NewMessage(m.desc))); wrong != nil {
			c.fault(m.desc, fmt.Sprintf("rules of %s are not supported: %v", name, wrong), "")
		}
		if m.library {
			c.s.judge = v
		}
	}
}

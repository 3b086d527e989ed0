package proto

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Bounds of one message. Zero fields take defaults.
type Bounds struct {
	Depth    int // messages inside of messages; default 64
	Elements int // values on the wire, packed ones too; default 100,000
}

// WithDefaults fills what is not given.
func (b Bounds) WithDefaults() Bounds {
	if b.Depth <= 0 {
		b.Depth = 64
	}
	if b.Elements <= 0 {
		b.Elements = 100_000
	}
	return b
}

// A Problem is one rule that a message breaks. It holds nothing out of the
// message but names of fields and places.
type Problem struct {
	Pointer string // of the field: /customer/email, /items/3/name
	Rule    string // "proto.syntax", "proto.utf8", "proto.string.len", …
	Detail  string
}

// A Value is a text or bytes of the message that nothing has proven harmless.
type Value struct {
	Start, End int32 // in the message
	at         int32
	index      int32
	field      *field // nil: no field is declared for it
	number     protowire.Number
}

// Bytes reports whether the value is of type bytes, or of a type unknown.
func (v *Value) Bytes() bool { return v.field == nil || v.field.kind == protoreflect.BytesKind }

// Field is the full name of the field that the value is of, "" for none.
func (v *Value) Field() string {
	if v.field == nil {
		return ""
	}
	return v.field.full
}

// A Walk is what one pass over a message found. It is reused: Check begins it
// anew. It belongs to one goroutine.
type Walk struct {
	Problems     []Problem
	Values       []Value
	Undocumented []string // pointers of fields that the schema does not know
	// Unread says that the pass ended before the end of the message, so that
	// nobody knows what the rest holds.
	Unread bool

	src      []byte
	bounds   Bounds
	now      time.Time
	elements int
	frames   []frame
	bits     []uint64
	counts   []uint32
	items    []item
}

// frame is one message inside of another, so that places can be named when
// that is needed.
type frame struct {
	parent int32
	index  int32
	field  *field
}

// item is one value of a field whose items have to differ.
type item struct {
	field      *field
	bits       uint64
	start, end int32
}

const (
	maxProblems     = 16
	maxUndocumented = 32
)

// Check walks over a message of type m once. What it breaks is in w.Problems
// afterwards; w.Values are parts of b and good as long as b is unchanged. The
// time is for rules that ask for it. Nothing is allocated while all is well and
// no rule needs the library.
func (m *Message) Check(b []byte, w *Walk, bounds Bounds, now time.Time) {
	w.reset()
	w.src, w.bounds, w.now = b, bounds.WithDefaults(), now
	if len(b) > math.MaxInt32 {
		w.problem(-1, nil, -1, "proto.bound", "the message is larger than two gibibytes")
		w.Unread = true
		return
	}
	ok := w.message(m, 0, len(b), -1, 0)
	w.Unread = !ok
	if ok && m.reachable && len(w.Problems) == 0 && m.schema.judge != nil {
		if rule, place := m.judged(b); rule != "" {
			w.Problems = append(w.Problems, Problem{place, "proto." + rule, "the value breaks a rule of the schema"})
		}
	}
	w.src = nil
}

func (w *Walk) reset() {
	clear(w.Problems)
	clear(w.Undocumented)
	clear(w.Values)
	clear(w.frames)
	w.Problems, w.Values, w.Undocumented, w.Unread = w.Problems[:0], w.Values[:0], w.Undocumented[:0], false
	w.frames, w.bits, w.counts, w.items, w.elements = w.frames[:0], w.bits[:0], w.counts[:0], w.items[:0], 0
	if cap(w.Values) > 1<<14 { // one huge message is no reason to keep so much
		*w = Walk{}
	}
}

// Pointer names the place of a value.
func (w *Walk) Pointer(v *Value) string {
	if v.field == nil {
		return w.pointer(v.at, nil, -1) + "/#" + strconv.Itoa(int(v.number))
	}
	return w.pointer(v.at, v.field, v.index)
}

func (w *Walk) pointer(at int32, f *field, index int32) string {
	var parts []string
	add := func(f *field, index int32) {
		if f.list && index >= 0 {
			parts = append(parts, strconv.Itoa(int(index)))
		}
		parts = append(parts, f.name)
	}
	if f != nil {
		add(f, index)
	}
	for ; at >= 0; at = w.frames[at].parent {
		add(w.frames[at].field, w.frames[at].index)
	}
	var b strings.Builder
	for _, p := range slices.Backward(parts) {
		b.WriteByte('/')
		b.WriteString(p)
	}
	return b.String()
}

func (w *Walk) problem(at int32, f *field, index int32, rule, detail string) {
	if len(w.Problems) < maxProblems {
		w.Problems = append(w.Problems, Problem{w.pointer(at, f, index), rule, detail})
	}
}

func (w *Walk) syntax(at int32, f *field, detail string) bool {
	w.problem(at, f, -1, "proto.syntax", detail)
	return false
}

// varint reads a number of at most ten bytes; n = 0 means that there is none.
func varint(b []byte) (v uint64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	v, n = protowire.ConsumeVarint(b)
	return v, max(n, 0)
}

// message walks over src[i:end]. It reports whether it came to the end.
func (w *Walk) message(m *Message, i, end int, at int32, depth int) bool {
	if depth > w.bounds.Depth {
		w.problem(at, nil, -1, "proto.depth", "messages lie deeper in one another than the bound")
		return false
	}
	base, counts, items := len(w.bits), len(w.counts), len(w.items)
	for range m.words {
		w.bits = append(w.bits, 0)
	}
	for range m.fields {
		w.counts = append(w.counts, 0)
	}
	var url, content [2]int // of an Any
	when := instant{}
	for i < end {
		tag, n := varint(w.src[i:end])
		if n == 0 {
			return w.syntax(at, nil, "a tag is cut off or too long")
		}
		i += n
		number, wire := protowire.Number(tag>>3), protowire.Type(tag&7)
		if tag>>3 < 1 || tag>>3 > uint64(protowire.MaxValidNumber) {
			return w.syntax(at, nil, "a field number that cannot be")
		}
		if w.elements++; w.elements > w.bounds.Elements {
			w.problem(at, nil, -1, "proto.bound", "more values in one message than the bound")
			return false
		}
		f := m.field(number)
		if f == nil {
			if wire == protowire.EndGroupType {
				return w.syntax(at, nil, "a group ends that did not begin")
			}
			var ok bool
			if i, ok = w.unknown(number, wire, i, end, at, depth); !ok {
				return false
			}
			continue
		}
		index := int32(w.counts[counts+f.bit])
		if !f.list {
			index = -1
		}
		if wire != f.wire {
			if !f.pack || wire != protowire.BytesType {
				w.problem(at, f, -1, "proto.wire-type", "the value is not written as its type is")
				var ok bool
				if i, ok = w.unknown(number, wire, i, end, at, depth); !ok {
					return false
				}
				continue
			}
			size, n := varint(w.src[i:end])
			if n == 0 || size > uint64(end-i-n) {
				return w.syntax(at, f, "a length goes beyond its message")
			}
			i += n
			var ok bool
			if ok = w.packed(f, i, i+int(size), at, counts); !ok {
				return false
			}
			if w.counts[counts+f.bit] > 0 {
				w.set(base, f)
			}
			i += int(size)
			continue
		}
		if !f.list && w.has(base, f) {
			w.problem(at, f, -1, "proto.duplicate", "a field that is there once stands twice")
		}
		if f.oneof >= 0 {
			for _, other := range m.oneofs[f.oneof].fields {
				if other != f && w.has(base, other) {
					w.problem(at, f, -1, "proto.oneof", "two fields of which there is one at most")
				}
			}
		}
		w.counts[counts+f.bit]++
		switch f.wire {
		case protowire.BytesType:
			size, n := varint(w.src[i:end])
			if n == 0 || size > uint64(end-i-n) {
				return w.syntax(at, f, "a length goes beyond its message")
			}
			i += n
			stop := i + int(size)
			if f.message != nil {
				if !w.below(f, i, stop, at, index, depth) {
					return false
				}
				w.set(base, f)
				if f.unique {
					w.key(f, i, stop)
				}
			} else {
				w.bytes(m, f, i, stop, at, index, base)
				switch {
				case m.any && number == 1:
					url = [2]int{i, stop}
				case m.any && number == 2:
					content = [2]int{i, stop}
				}
			}
			i = stop
		case protowire.StartGroupType:
			stop, after := w.group(number, i, end, depth)
			if stop < 0 {
				return w.syntax(at, f, "a group does not end")
			}
			if !w.below(f, i, stop, at, index, depth) {
				return false
			}
			w.set(base, f)
			i = after
		default:
			bits, n := w.scalar(f, i, end)
			if n == 0 {
				return w.syntax(at, f, "a number is cut off or too long")
			}
			i += n
			if f.closed && !f.enum[protoreflect.EnumNumber(int32(bits))] {
				w.undocumented(at, f, index)
				continue // closed enums keep it as an unknown field
			}
			w.number(f, bits, at, index)
			if bits != 0 || !f.implicit {
				w.set(base, f)
			}
			if number == 1 {
				when.seconds = int64(bits)
			} else if number == 2 {
				when.nanos = int64(bits)
			}
		}
	}
	w.closing(m, at, base, counts, items)
	if at >= 0 {
		if f := w.frames[at].field; f.rules != nil && f.rules.moment != nil {
			if rule := f.rules.moment.check(when, w.now); rule != "" {
				w.problem(at, nil, -1, "proto."+rule, "the value breaks a rule of the schema")
			}
		}
	}
	w.bits, w.counts, w.items = w.bits[:base], w.counts[:counts], w.items[:items]
	if m.any && content[1] > content[0] {
		return w.anything(m, url, content, at, depth)
	}
	return true
}

func (w *Walk) has(base int, f *field) bool { return w.bits[base+f.bit/64]&(1<<(f.bit%64)) != 0 }
func (w *Walk) set(base int, f *field)      { w.bits[base+f.bit/64] |= 1 << (f.bit % 64) }

// below walks over a message that is the value of a field.
func (w *Walk) below(f *field, i, end int, at, index int32, depth int) bool {
	w.frames = append(w.frames, frame{at, index, f})
	return w.message(f.message, i, end, int32(len(w.frames)-1), depth+1)
}

// bytes looks at a string or bytes.
func (w *Walk) bytes(m *Message, f *field, i, end int, at, index int32, base int) {
	v := w.src[i:end]
	if f.kind == protoreflect.StringKind && f.utf8 && !ascii(v) && !utf8.Valid(v) {
		w.problem(at, f, index, "proto.utf8", "a string is no UTF-8")
	}
	empty := len(v) == 0 && f.implicit
	if !empty {
		w.set(base, f)
	}
	if f.rules != nil && f.rules.text != nil && !empty {
		if rule := f.rules.text.check(v); rule != "" {
			w.problem(at, f, index, "proto."+rule, "the value breaks a rule of the schema")
		}
	}
	if f.unique {
		w.items = append(w.items, item{f, 0, int32(i), int32(end)})
	}
	if len(v) > 0 && !f.proven && !m.any {
		w.Values = append(w.Values, Value{int32(i), int32(end), at, index, f, f.number})
	}
}

func ascii(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// scalar reads a number as its type means it; n = 0 means that there is none.
func (w *Walk) scalar(f *field, i, end int) (bits uint64, n int) {
	b := w.src[i:end]
	switch f.wire {
	case protowire.Fixed32Type:
		if len(b) < 4 {
			return 0, 0
		}
		x := binary.LittleEndian.Uint32(b)
		switch f.kind {
		case protoreflect.FloatKind:
			return math.Float64bits(float64(math.Float32frombits(x))), 4
		case protoreflect.Sfixed32Kind:
			return uint64(int64(int32(x))), 4
		}
		return uint64(x), 4
	case protowire.Fixed64Type:
		if len(b) < 8 {
			return 0, 0
		}
		return binary.LittleEndian.Uint64(b), 8
	}
	x, n := varint(b)
	switch f.kind {
	case protoreflect.Int32Kind, protoreflect.EnumKind:
		x = uint64(int64(int32(x)))
	case protoreflect.Uint32Kind:
		x = uint64(uint32(x))
	case protoreflect.Sint32Kind:
		x = uint64(int64(int32(protowire.DecodeZigZag(x & math.MaxUint32))))
	case protoreflect.Sint64Kind:
		x = uint64(protowire.DecodeZigZag(x))
	case protoreflect.BoolKind:
		x = bit(x != 0)
	}
	return x, n
}

// number looks at a number.
func (w *Walk) number(f *field, bits uint64, at, index int32) {
	if f.enum != nil && !f.enum[protoreflect.EnumNumber(int32(bits))] {
		w.undocumented(at, f, index)
	}
	if f.rules != nil && !(bits == 0 && f.implicit) {
		if rule := f.rules.number(bits); rule != "" {
			w.problem(at, f, index, "proto."+rule, "the value breaks a rule of the schema")
		}
	}
	if f.unique {
		w.items = append(w.items, item{f, bits, 0, 0})
	}
}

// packed looks at numbers in one run.
func (w *Walk) packed(f *field, i, end int, at int32, counts int) bool {
	for i < end {
		if w.elements++; w.elements > w.bounds.Elements {
			w.problem(at, nil, -1, "proto.bound", "more values in one message than the bound")
			return false
		}
		bits, n := w.scalar(f, i, end)
		if n == 0 {
			return w.syntax(at, f, "a number is cut off or too long")
		}
		i += n
		index := int32(w.counts[counts+f.bit])
		if f.closed && !f.enum[protoreflect.EnumNumber(int32(bits))] {
			w.undocumented(at, f, index)
			continue
		}
		w.counts[counts+f.bit]++
		w.number(f, bits, at, index)
	}
	return true
}

// closing looks at what can be judged only at a message's end.
func (w *Walk) closing(m *Message, at int32, base, counts, items int) {
	for _, f := range m.required {
		if !w.has(base, f) {
			w.problem(at, f, -1, "proto.missing", "a required field is not there")
		}
	}
	for i := range m.absent {
		a := &m.absent[i]
		if !w.has(base, a.f) {
			w.problem(at, a.f, -1, "proto."+a.rule, "a field is not there, and its rules ask for a value")
		}
	}
	for _, o := range m.oneofs {
		if o.required && !slices.ContainsFunc(o.fields, func(f *field) bool { return w.has(base, f) }) {
			w.problem(at, nil, -1, "proto.oneof.required", "none of the fields of which one has to be there")
		}
	}
	for i := range m.either {
		e, n := &m.either[i], 0
		for _, f := range e.fields {
			if w.has(base, f) {
				n++
			}
		}
		if n > 1 || n == 0 && e.required {
			w.problem(at, nil, -1, "proto.message.oneof", "not exactly one of the fields of which one has to be there")
		}
	}
	if m.entry && m.fields[1].message != nil && !w.has(base, m.fields[1]) {
		// A map's value that is left out is an empty message, whose rules hold.
		w.below(m.fields[1], len(w.src), len(w.src), at, -1, 0)
	}
	for _, f := range m.fields {
		if !f.list || f.count == nil && !f.unique {
			continue
		}
		n, same := uint64(w.counts[counts+f.bit]), 0
		if f.unique {
			same = w.same(f, items)
		}
		switch {
		case f.unique && f.message == nil && same > 0:
			w.problem(at, f, -1, "proto.repeated.unique", "two items are the same")
		case f.count == nil:
		case n-uint64(same) < f.count[0] && n > 0, n-uint64(same) > f.count[1]:
			w.problem(at, f, -1, "proto.count", "more or fewer items than the schema allows")
		}
	}
}

// same counts the items of a field that were there before.
func (w *Walk) same(f *field, from int) (n int) {
	list := w.items[from:]
	slices.SortFunc(list, func(a, b item) int {
		switch {
		case a.field != b.field:
			return int(a.field.number) - int(b.field.number)
		case a.bits != b.bits:
			if a.bits < b.bits {
				return -1
			}
			return 1
		}
		return slices.Compare(w.src[a.start:a.end], w.src[b.start:b.end])
	})
	for i := 1; i < len(list); i++ {
		a, b := &list[i-1], &list[i]
		if a.field == f && b.field == f && a.bits == b.bits && slices.Equal(w.src[a.start:a.end], w.src[b.start:b.end]) {
			n++
		}
	}
	return n
}

// key notes the key of a map's entry, so that pairs can be counted.
func (w *Walk) key(f *field, i, end int) {
	k := f.message.field(1)
	for i < end {
		tag, n := varint(w.src[i:end])
		i += n
		if protowire.Number(tag>>3) != 1 || protowire.Type(tag&7) != k.wire {
			n = protowire.ConsumeFieldValue(protowire.Number(tag>>3), protowire.Type(tag&7), w.src[i:end])
			if n < 0 {
				return // it has been walked over already: this cannot be
			}
			i += n
			continue
		}
		if k.wire == protowire.BytesType {
			size, n := varint(w.src[i:end])
			w.items = append(w.items, item{f, 0, int32(i + n), int32(i + n + int(size))})
			return
		}
		bits, _ := w.scalar(k, i, end)
		w.items = append(w.items, item{f, bits, 0, 0})
		return
	}
	w.items = append(w.items, item{f, 0, 0, 0})
}

// anything walks over what an Any holds, when its type is known; otherwise it
// is undocumented, and left to inspection as it is.
func (w *Walk) anything(m *Message, url, content [2]int, at int32, depth int) bool {
	name := w.src[url[0]:url[1]]
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			name = name[i+1:]
			break
		}
	}
	f := m.field(2)
	if inner := m.schema.messages[string(name)]; inner != nil && !inner.entry {
		w.frames = append(w.frames, frame{at, -1, f})
		return w.message(inner, content[0], content[1], int32(len(w.frames)-1), depth+1)
	}
	w.undocumented(at, f, -1)
	w.Values = append(w.Values, Value{int32(content[0]), int32(content[1]), at, -1, f, 2},
		Value{int32(url[0]), int32(url[1]), at, -1, m.field(1), 1})
	return true
}

func (w *Walk) undocumented(at int32, f *field, index int32) {
	if len(w.Undocumented) < maxUndocumented {
		w.Undocumented = append(w.Undocumented, w.pointer(at, f, index))
	}
}

// unknown walks over a field that the schema does not know.
func (w *Walk) unknown(number protowire.Number, wire protowire.Type, i, end int, at int32, depth int) (int, bool) {
	if len(w.Undocumented) < maxUndocumented {
		w.Undocumented = append(w.Undocumented, w.pointer(at, nil, -1)+"/#"+strconv.Itoa(int(number)))
	}
	switch wire {
	case protowire.BytesType:
		size, n := varint(w.src[i:end])
		if n == 0 || size > uint64(end-i-n) {
			return i, w.syntax(at, nil, "a length goes beyond its message")
		}
		i += n
		if size > 0 {
			w.Values = append(w.Values, Value{int32(i), int32(i + int(size)), at, -1, nil, number})
		}
		return i + int(size), true
	case protowire.StartGroupType:
		stop, after := w.group(number, i, end, depth)
		if stop < 0 {
			return i, w.syntax(at, nil, "a group does not end")
		}
		if stop > i {
			w.Values = append(w.Values, Value{int32(i), int32(stop), at, -1, nil, number})
		}
		return after, true
	}
	n := protowire.ConsumeFieldValue(number, wire, w.src[i:end])
	if n < 0 {
		return i, w.syntax(at, nil, "a value is cut off, or of no known wire type")
	}
	return i + n, true
}

// group finds the end of a group that begins at i: where its content stops and
// where the message goes on. stop < 0: it does not end.
func (w *Walk) group(number protowire.Number, i, end, depth int) (stop, after int) {
	var open [128]protowire.Number
	open[0] = number
	for n := 1; ; {
		tag, k := varint(w.src[i:end])
		if k == 0 || tag>>3 < 1 || tag>>3 > uint64(protowire.MaxValidNumber) {
			return -1, 0
		}
		if w.elements++; w.elements > w.bounds.Elements {
			return -1, 0
		}
		at := i
		i += k
		switch wire := protowire.Type(tag & 7); wire {
		case protowire.StartGroupType:
			if n+depth > w.bounds.Depth || n == len(open) {
				return -1, 0
			}
			open[n] = protowire.Number(tag >> 3)
			n++
		case protowire.EndGroupType:
			if n--; open[n] != protowire.Number(tag>>3) {
				return -1, 0
			}
			if n == 0 {
				return at, i
			}
		default:
			if k = protowire.ConsumeFieldValue(protowire.Number(tag>>3), wire, w.src[i:end]); k < 0 {
				return -1, 0
			}
			i += k
		}
	}
}

package proto

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	pb "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"sallyport.dev/spec/schema"
)

// rules are the constraints of one value (buf.validate), compiled. At most one
// of its parts is set.
type rules struct {
	signed   *span[int64]
	unsigned *span[uint64]
	float    *span[float64]
	text     *text
	moment   *moment
}

// span bounds a number.
type span[T int64 | uint64 | float64] struct {
	eq           *T
	lo, hi       *T
	above, below bool // lo and hi are excluded
	in, notIn    []T
	finite       bool
	defined      map[protoreflect.EnumNumber]bool
	prefix       string // of the names of its rules
}

func (s *span[T]) check(v T) string {
	nan := v != v
	low := s.lo != nil && (nan || v < *s.lo || s.above && v == *s.lo)
	high := s.hi != nil && (nan || v > *s.hi || s.below && v == *s.hi)
	if s.lo != nil && s.hi != nil && *s.hi < *s.lo { // the outside of a range
		low, high = low && high, false
	}
	switch {
	case s.eq != nil && v != *s.eq:
		return s.prefix + ".const"
	case low || high:
		return s.prefix + ".range"
	case len(s.in) > 0 && !slices.Contains(s.in, v):
		return s.prefix + ".in"
	case slices.Contains(s.notIn, v):
		return s.prefix + ".not_in"
	case s.finite && (nan || math.IsInf(float64(v), 0)):
		return s.prefix + ".finite"
	case s.defined != nil && !s.defined[protoreflect.EnumNumber(v)]:
		return s.prefix + ".defined_only"
	}
	return ""
}

// text bounds a string or bytes.
type text struct {
	eq                       *string
	runes, least, most       *uint64 // characters
	size, leastSize, maxSize *uint64 // bytes
	pattern                  *regexp.Regexp
	prefix, suffix, contains []byte
	without                  []byte
	in, notIn                map[string]bool
	form                     func([]byte) bool
	formName                 string
	name                     string // "string" or "bytes"
}

func (t *text) check(v []byte) string {
	n := uint64(len(v))
	switch {
	case t.size != nil && n != *t.size, t.leastSize != nil && n < *t.leastSize, t.maxSize != nil && n > *t.maxSize:
		return t.name + ".bytes"
	case t.eq != nil && string(v) != *t.eq:
		return t.name + ".const"
	}
	if t.runes != nil || t.least != nil || t.most != nil {
		n := uint64(utf8.RuneCount(v))
		if t.runes != nil && n != *t.runes || t.least != nil && n < *t.least || t.most != nil && n > *t.most {
			return t.name + ".len"
		}
	}
	switch {
	case t.pattern != nil && !t.pattern.Match(v):
		return t.name + ".pattern"
	case !bytes.HasPrefix(v, t.prefix):
		return t.name + ".prefix"
	case !bytes.HasSuffix(v, t.suffix):
		return t.name + ".suffix"
	case len(t.contains) > 0 && !bytes.Contains(v, t.contains):
		return t.name + ".contains"
	case t.without != nil && bytes.Contains(v, t.without):
		return t.name + ".not_contains"
	case t.in != nil && !t.in[string(v)]:
		return t.name + ".in"
	case t.notIn[string(v)]:
		return t.name + ".not_in"
	case t.form != nil && !t.form(v):
		return t.formName
	}
	return ""
}

// moment bounds a google.protobuf.Timestamp or Duration.
type moment struct {
	eq           *instant
	lo, hi       *instant
	above, below bool
	in, notIn    []instant
	past, future bool // lt_now, gt_now
	within       *instant
	prefix       string
}

type instant struct{ seconds, nanos int64 }

func (a instant) compare(b instant) int {
	return cmp.Or(cmp.Compare(a.seconds, b.seconds), cmp.Compare(a.nanos, b.nanos))
}

func (m *moment) check(v instant, now time.Time) string {
	low := m.lo != nil && (v.compare(*m.lo) < 0 || m.above && v == *m.lo)
	high := m.hi != nil && (v.compare(*m.hi) > 0 || m.below && v == *m.hi)
	if m.lo != nil && m.hi != nil && m.hi.compare(*m.lo) < 0 {
		low, high = low && high, false
	}
	here := instant{now.Unix(), int64(now.Nanosecond())}
	switch {
	case m.eq != nil && v != *m.eq:
		return m.prefix + ".const"
	case low || high:
		return m.prefix + ".range"
	case len(m.in) > 0 && !slices.Contains(m.in, v):
		return m.prefix + ".in"
	case slices.Contains(m.notIn, v):
		return m.prefix + ".not_in"
	case m.past && v.compare(here) >= 0, m.future && v.compare(here) <= 0:
		return m.prefix + ".now"
	case m.within != nil && (v.compare(here.plus(*m.within, 1)) > 0 || v.compare(here.plus(*m.within, -1)) < 0):
		return m.prefix + ".within"
	}
	return ""
}

func (a instant) plus(b instant, sign int64) instant {
	n := a.nanos + sign*b.nanos
	s := a.seconds + sign*b.seconds
	if n < 0 {
		n, s = n+1e9, s-1
	} else if n >= 1e9 {
		n, s = n-1e9, s+1
	}
	return instant{s, n}
}

// number gives the rule that a number on the wire breaks. bits is the number
// as the field's type means it.
func (r *rules) number(bits uint64) string {
	switch {
	case r == nil:
	case r.signed != nil:
		return r.signed.check(int64(bits))
	case r.unsigned != nil:
		return r.unsigned.check(bits)
	case r.float != nil:
		return r.float.check(math.Float64frombits(bits))
	}
	return ""
}

// messageRules compiles the rules of a message and of its fields.
func (c *compiler) messageRules(m *Message) {
	if m.entry {
		return // its rules come with the field that it is of
	}
	mr, err := protovalidate.ResolveMessageRules(m.desc)
	if err != nil {
		c.fault(m.desc, "rules cannot be read: "+err.Error(), "")
		return
	}
	if mr != nil {
		c.ruled = true
		if len(mr.GetCel()) > 0 || len(mr.GetCelExpression()) > 0 || unknown(mr) {
			m.library = true
		}
		for _, o := range mr.GetOneof() {
			e := either{required: o.GetRequired()}
			for _, name := range o.GetFields() {
				if i := slices.IndexFunc(m.fields, func(f *field) bool { return f.name == name }); i >= 0 {
					e.fields = append(e.fields, m.fields[i])
				}
			}
			m.either = append(m.either, e)
		}
	}
	for i := range m.desc.Oneofs().Len() {
		o := m.desc.Oneofs().Get(i)
		or, err := protovalidate.ResolveOneofRules(o)
		if err != nil {
			c.fault(o, "rules cannot be read: "+err.Error(), "")
		} else if or.GetRequired() {
			c.ruled = true
			for _, x := range m.oneofs {
				if x.name == string(o.Name()) {
					x.required = true
				}
			}
		}
	}
	for i, f := range m.fields {
		d := m.desc.Fields().Get(i)
		fr, err := protovalidate.ResolveFieldRules(d)
		if err != nil {
			c.fault(d, "rules cannot be read: "+err.Error(), "")
			continue
		}
		if fr != nil {
			c.ruled = true
			c.fieldRules(m, f, d, fr)
		}
	}
}

func unknown(m pb.Message) bool { return len(m.ProtoReflect().GetUnknown()) > 0 }

func (c *compiler) fieldRules(m *Message, f *field, d protoreflect.FieldDescriptor, fr *validate.FieldRules) {
	ignore := fr.GetIgnore()
	if !fr.HasIgnore() {
		for _, e := range m.either {
			if slices.Contains(e.fields, f) {
				ignore = validate.Ignore_IGNORE_IF_ZERO_VALUE
			}
		}
	}
	if ignore == validate.Ignore_IGNORE_ALWAYS {
		return
	}
	f.skipZero = ignore == validate.Ignore_IGNORE_IF_ZERO_VALUE
	f.needed = fr.GetRequired()
	if f.needed {
		m.absent = append(m.absent, absent{f, "required"})
	}
	r, native := c.valueRules(f, d, fr)
	if !native {
		m.library = true
		return
	}
	f.rules = r
	f.proven = proves(r)
	if f.implicit && !f.skipZero && r != nil && !f.needed {
		if rule := r.zero(f.kind); rule != "" {
			m.absent = append(m.absent, absent{f, rule})
		}
	}
	if f.list && f.count != nil && f.count[0] > 0 && !f.skipZero && !f.needed {
		m.absent = append(m.absent, absent{f, "repeated.min_items"})
	}
	m.collects = m.collects || f.unique
}

// zero gives the rule that the zero value breaks.
func (r *rules) zero(k protoreflect.Kind) string {
	switch {
	case r.text != nil:
		return r.text.check(nil)
	case r.moment != nil:
		return ""
	}
	return r.number(0)
}

// valueRules compiles what is asked of a value, or of the items of a field.
// native is false when only the library can judge it.
func (c *compiler) valueRules(f *field, d protoreflect.FieldDescriptor, fr *validate.FieldRules) (r *rules, native bool) {
	if len(fr.GetCel()) > 0 || len(fr.GetCelExpression()) > 0 || unknown(fr) {
		return nil, false
	}
	ref := fr.ProtoReflect()
	set := ref.WhichOneof(ref.Descriptor().Oneofs().ByName("type"))
	if set == nil {
		return nil, true
	}
	body := ref.Get(set).Message()
	if len(body.GetUnknown()) > 0 {
		return nil, false
	}
	switch set.Name() {
	case "repeated":
		return c.listRules(f, d, fr.GetRepeated())
	case "map":
		return c.mapRules(f, d, fr.GetMap())
	case "timestamp", "duration":
		if f.message == nil || f.message.Name != "google.protobuf.Timestamp" && f.message.Name != "google.protobuf.Duration" {
			return nil, false
		}
		return momentRules(body, string(set.Name()))
	case "string", "bytes":
		if f.kind.String() != string(set.Name()) {
			return nil, false // a wrapper, or a mistake that the library names
		}
		return textRules(body, string(set.Name()))
	case "any", "field_mask":
		return nil, false
	}
	if f.message != nil {
		return nil, false // a wrapper
	}
	return numberRules(f, body, string(set.Name()))
}

func (c *compiler) listRules(f *field, d protoreflect.FieldDescriptor, lr *validate.RepeatedRules) (*rules, bool) {
	if !d.IsList() {
		return nil, false
	}
	f.limits(lr.HasMinItems(), lr.GetMinItems(), lr.HasMaxItems(), lr.GetMaxItems())
	f.unique = lr.GetUnique()
	items := lr.GetItems()
	if items == nil || items.GetIgnore() == validate.Ignore_IGNORE_ALWAYS {
		return nil, true
	}
	if items.GetIgnore() != validate.Ignore_IGNORE_UNSPECIFIED || items.GetRequired() {
		return nil, false
	}
	return c.valueRules(f, d, items)
}

func (f *field) limits(hasMin bool, least uint64, hasMax bool, most uint64) {
	if !hasMin && !hasMax {
		return
	}
	f.count = &[2]uint64{0, math.MaxUint64}
	if hasMin {
		f.count[0] = least
	}
	if hasMax {
		f.count[1] = most
	}
}

// mapRules puts the rules of keys and values on a copy of the entry's table,
// which belongs to this field alone.
func (c *compiler) mapRules(f *field, d protoreflect.FieldDescriptor, mr *validate.MapRules) (*rules, bool) {
	if !d.IsMap() {
		return nil, false
	}
	f.limits(mr.HasMinPairs(), mr.GetMinPairs(), mr.HasMaxPairs(), mr.GetMaxPairs())
	f.unique = f.count != nil // the same key twice is one pair
	for i, part := range []*validate.FieldRules{mr.GetKeys(), mr.GetValues()} {
		if part == nil || part.GetIgnore() == validate.Ignore_IGNORE_ALWAYS {
			continue
		}
		if part.GetIgnore() != validate.Ignore_IGNORE_UNSPECIFIED || part.GetRequired() {
			return nil, false
		}
		pf := f.message.fields[i]
		r, native := c.valueRules(pf, f.message.desc.Fields().Get(i), part)
		if !native || pf.list || pf.count != nil {
			return nil, false
		}
		pf.rules, pf.proven = r, proves(r)
		if r != nil && pf.message == nil {
			if rule := r.zero(pf.kind); rule != "" {
				f.message.absent = append(f.message.absent, absent{pf, rule})
			}
		}
	}
	return nil, true
}

func numberRules(f *field, m protoreflect.Message, name string) (*rules, bool) {
	want := name
	switch f.kind {
	case protoreflect.BoolKind, protoreflect.EnumKind:
	default:
		want = f.kind.String()
	}
	if f.kind == protoreflect.BoolKind && name != "bool" || f.kind == protoreflect.EnumKind && name != "enum" || want != name {
		return nil, false
	}
	switch f.kind {
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		s, ok := spanOf(m, name, func(v protoreflect.Value) float64 { return v.Float() })
		return &rules{float: s}, ok
	case protoreflect.BoolKind:
		s, ok := spanOf(m, name, func(v protoreflect.Value) uint64 { return bit(v.Bool()) })
		return &rules{unsigned: s}, ok
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		s, ok := spanOf(m, name, func(v protoreflect.Value) uint64 { return v.Uint() })
		return &rules{unsigned: s}, ok
	}
	s, ok := spanOf(m, name, func(v protoreflect.Value) int64 { return v.Int() })
	if s != nil && s.defined != nil {
		s.defined = f.enum
	}
	return &rules{signed: s}, ok
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func spanOf[T int64 | uint64 | float64](m protoreflect.Message, name string, get func(protoreflect.Value) T) (*span[T], bool) {
	s, ok := &span[T]{prefix: name}, true
	m.Range(func(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		one := func() *T { x := get(v); return &x }
		list := func() (out []T) {
			for i := range v.List().Len() {
				out = append(out, get(v.List().Get(i)))
			}
			return out
		}
		switch d.Name() {
		case "const":
			s.eq = one()
		case "gt":
			s.lo, s.above = one(), true
		case "gte":
			s.lo = one()
		case "lt":
			s.hi, s.below = one(), true
		case "lte":
			s.hi = one()
		case "in":
			s.in = list()
		case "not_in":
			s.notIn = list()
		case "finite":
			s.finite = v.Bool()
		case "defined_only":
			if v.Bool() {
				s.defined = map[protoreflect.EnumNumber]bool{}
			}
		case "example":
		default:
			ok = false
		}
		return true
	})
	if s.lo != nil && *s.lo != *s.lo || s.hi != nil && *s.hi != *s.hi {
		return nil, false // not a number
	}
	return s, ok
}

func momentRules(m protoreflect.Message, name string) (*rules, bool) {
	r, ok := &moment{prefix: name}, true
	m.Range(func(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		get := func(v protoreflect.Value) instant {
			x := v.Message()
			f := x.Descriptor().Fields()
			return instant{x.Get(f.ByName("seconds")).Int(), x.Get(f.ByName("nanos")).Int()}
		}
		one := func() *instant { x := get(v); return &x }
		list := func() (out []instant) {
			for i := range v.List().Len() {
				out = append(out, get(v.List().Get(i)))
			}
			return out
		}
		switch d.Name() {
		case "const":
			r.eq = one()
		case "gt":
			r.lo, r.above = one(), true
		case "gte":
			r.lo = one()
		case "lt":
			r.hi, r.below = one(), true
		case "lte":
			r.hi = one()
		case "in":
			r.in = list()
		case "not_in":
			r.notIn = list()
		case "lt_now":
			r.past = v.Bool()
		case "gt_now":
			r.future = v.Bool()
		case "within":
			r.within = one()
		case "example":
		default:
			ok = false
		}
		return true
	})
	return &rules{moment: r}, ok
}

func textRules(m protoreflect.Message, name string) (*rules, bool) {
	t, ok := &text{name: name}, true
	strict := true
	m.Range(func(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		raw := func(v protoreflect.Value) []byte {
			if d.Kind() == protoreflect.BytesKind {
				return v.Bytes()
			}
			return []byte(v.String())
		}
		size := func() *uint64 { x := v.Uint(); return &x }
		set := func() map[string]bool {
			out := map[string]bool{}
			for i := range v.List().Len() {
				out[string(raw(v.List().Get(i)))] = true
			}
			return out
		}
		switch d.Name() {
		case "const":
			x := string(raw(v))
			t.eq = &x
		case "len":
			if t.runes = size(); name == "bytes" {
				t.runes, t.size = nil, t.runes
			}
		case "min_len":
			if t.least = size(); name == "bytes" {
				t.least, t.leastSize = nil, t.least
			}
		case "max_len":
			if t.most = size(); name == "bytes" {
				t.most, t.maxSize = nil, t.most
			}
		case "len_bytes":
			t.size = size()
		case "min_bytes":
			t.leastSize = size()
		case "max_bytes":
			t.maxSize = size()
		case "pattern":
			re, err := regexp.Compile(v.String())
			if err != nil {
				ok = false
			}
			t.pattern = re
		case "prefix":
			t.prefix = raw(v)
		case "suffix":
			t.suffix = raw(v)
		case "contains":
			t.contains = raw(v)
		case "not_contains":
			t.without = raw(v)
		case "in":
			t.in = set()
		case "not_in":
			t.notIn = set()
		case "strict":
			strict = v.Bool()
		case "example":
		default:
			f := forms[name+"."+string(d.Name())]
			if f == nil || !v.Bool() {
				ok = ok && f != nil
				break
			}
			t.form, t.formName = f, name+"."+string(d.Name())
		}
		return true
	})
	return &rules{text: t}, ok && strict
}

// forms are the well-known formats that are judged here; the library judges
// the others.
var forms = map[string]func([]byte) bool{
	"string.uuid":     isUUID,
	"string.tuuid":    func(b []byte) bool { return len(b) == 32 && hex(b) },
	"string.ulid":     isULID,
	"string.hostname": isHostname,
	"string.ipv4":     isIPv4,
	"bytes.ip":        func(b []byte) bool { return len(b) == 4 || len(b) == 16 },
	"bytes.ipv4":      func(b []byte) bool { return len(b) == 4 },
	"bytes.ipv6":      func(b []byte) bool { return len(b) == 16 },
	"bytes.uuid":      func(b []byte) bool { return len(b) == 16 },
	"string.email":    emails.Match,
}

// emails is the expression that HTML's input type=email is defined by.
var emails = regexp.MustCompile("^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$")

func hex(b []byte) bool {
	for _, c := range b {
		if !(c >= '0' && c <= '9' || c|32 >= 'a' && c|32 <= 'f') {
			return false
		}
	}
	return true
}

func isUUID(b []byte) bool {
	return len(b) == 36 && b[8] == '-' && b[13] == '-' && b[18] == '-' && b[23] == '-' &&
		hex(b[:8]) && hex(b[9:13]) && hex(b[14:18]) && hex(b[19:23]) && hex(b[24:])
}

func isULID(b []byte) bool {
	if len(b) != 26 || b[0] < '0' || b[0] > '7' {
		return false
	}
	for _, c := range b {
		if c |= 32; !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' && c != 'i' && c != 'l' && c != 'o' && c != 'u') {
			return false
		}
	}
	for _, c := range b { // |32 above also folds control bytes onto digits
		if c < '0' {
			return false
		}
	}
	return true
}

func isIPv4(b []byte) bool {
	if len(b) > 15 {
		return false
	}
	parts, n, digits := 0, 0, 0
	for i := 0; i <= len(b); i++ {
		if i < len(b) && b[i] != '.' {
			if b[i] < '0' || b[i] > '9' || digits > 0 && n == 0 {
				return false
			}
			n, digits = n*10+int(b[i]-'0'), digits+1
			continue
		}
		if digits == 0 || digits > 3 || n > 255 {
			return false
		}
		parts, n, digits = parts+1, 0, 0
	}
	return parts == 4
}

// isHostname follows RFC 1034 section 3.5 and RFC 1123; the last label is not a number.
func isHostname(b []byte) bool {
	b = bytes.TrimSuffix(b, []byte("."))
	if len(b) > 253 {
		return false
	}
	digits := false
	for {
		label, rest, more := bytes.Cut(b, []byte("."))
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		digits = true
		for _, c := range label {
			if c >= '0' && c <= '9' {
				continue
			}
			if c|32 < 'a' || c|32 > 'z' {
				if c != '-' {
					return false
				}
			}
			digits = false
		}
		if !more {
			return !digits
		}
		b = rest
	}
}

// proves reports whether whatever satisfies the rules is harmless: one of a
// closed list, or of a closed form.
func proves(r *rules) bool {
	if r == nil || r.text == nil {
		return false
	}
	t := r.text
	switch {
	case t.eq != nil || len(t.in) > 0:
		return true
	case t.formName == "string.uuid", t.formName == "string.tuuid", t.formName == "string.ulid", t.formName == "string.ipv4":
		return true
	case t.pattern != nil:
		most := -1
		if t.most != nil && *t.most < math.MaxInt32 {
			most = int(*t.most)
		}
		return schema.Closed(t.pattern.String(), most)
	}
	return false
}

// compilation gives the error that says that a rule could not be compiled.
func compilation(err error) error {
	var c *protovalidate.CompilationError
	if errors.As(err, &c) {
		return c
	}
	return nil
}

// judged asks the library about a whole message: rules in CEL, and what is
// not compiled here. It gives the name of the first rule broken, and where.
func (m *Message) judged(b []byte) (rule, place string) {
	defer func() {
		if recover() != nil { // a message that the library's decoder stumbles over
			rule, place = "syntax", ""
		}
	}()
	msg := dynamicpb.NewMessage(m.desc)
	if err := pb.Unmarshal(b, msg); err != nil {
		return "syntax", ""
	}
	err := m.schema.judge.Validate(msg)
	var v *protovalidate.ValidationError
	switch {
	case err == nil:
		return "", ""
	case errors.As(err, &v) && len(v.Violations) > 0:
		x := v.Violations[0].Proto
		for _, e := range x.GetField().GetElements() {
			place += "/" + e.GetFieldName()
			if e.HasSubscript() {
				place += "/*"
			}
		}
		return x.GetRuleId(), place
	}
	return "runtime", ""
}

package xsd

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"sallyport.dev/spec/schema"
)

type variety uint8

const (
	atomic variety = iota
	list
	union
)

// A simple is the value space of a simple type.
type simple struct {
	variety variety
	prim    primitive
	kind    wordKind
	white   white
	id      bool // xs:ID
	idref   bool
	integer bool
	item    *simple
	members []*typ

	length, least, most int // -1 = open
	patterns            [][]*schema.Matcher
	enum                map[string]bool // canonical forms; nil = open
	minIn, maxIn        []byte
	minEx, maxEx        []byte
	total, fraction     int // -1 = open
}

func (s *simple) whiteSpace() white {
	if s.variety == union {
		return preserve // each member does its own
	}
	return s.white
}

// ids reports whether the type is, or holds, xs:ID.
func (s *simple) ids() bool {
	if s == nil {
		return false
	}
	if s.variety == union {
		for _, m := range s.members {
			if m.simple.ids() {
				return true
			}
		}
	}
	return s.id || s.variety == list && s.item.ids()
}

var facets = map[string]bool{"length": true, "minLength": true, "maxLength": true, "pattern": true, "enumeration": true, "whiteSpace": true,
	"maxInclusive": true, "maxExclusive": true, "minInclusive": true, "minExclusive": true, "totalDigits": true, "fractionDigits": true}

// builtin makes the types that XML Schema brings along.
func (c *compiler) builtin() {
	c.simples = map[string]*typ{}
	c.anyType = &typ{name: Name{Namespace, "anyType"}, complex: true, mixed: true, by: byRestriction, other: &wildcard{any: true, process: "lax"}, done: true}
	c.anyType.holds = &particle{kind: isSequence, least: 1, most: 1, items: []*particle{{kind: isAny, least: 0, most: -1, wild: &wildcard{any: true, process: "lax"}}}}
	c.out.types[c.anyType.name] = c.anyType
	add := func(name, base string, change func(*simple)) {
		s := simple{prim: pString, length: -1, least: -1, most: -1, total: -1, fraction: -1}
		t := &typ{name: Name{Namespace, name}, by: byRestriction, base: c.anyType, done: true}
		if base != "" {
			t.base = c.simples[base]
			s = *t.base.simple
		}
		change(&s)
		t.simple = &s
		c.simples[name] = t
		c.out.types[t.name] = t
	}
	add("anySimpleType", "", func(s *simple) { s.prim = anySimple })
	for name, p := range map[string]primitive{"boolean": pBoolean, "decimal": pDecimal, "float": pFloat, "double": pDouble, "duration": pDuration, "dateTime": pDateTime,
		"time": pTime, "date": pDate, "gYearMonth": pYearMonth, "gYear": pYear, "gMonthDay": pMonthDay, "gDay": pDay, "gMonth": pMonth, "hexBinary": pHex,
		"base64Binary": pBase64, "anyURI": pURI, "QName": pQName} {
		add(name, "anySimpleType", func(s *simple) { s.prim, s.white = p, collapse })
	}
	add("string", "anySimpleType", func(s *simple) { s.prim = pString })
	add("normalizedString", "string", func(s *simple) { s.white = replace })
	add("token", "normalizedString", func(s *simple) { s.white = collapse })
	for _, x := range []struct {
		name, base string
		kind       wordKind
	}{{"language", "token", wLanguage}, {"NMTOKEN", "token", wNMToken}, {"Name", "token", wName}, {"NCName", "Name", wNCName}} {
		add(x.name, x.base, func(s *simple) { s.kind = x.kind })
	}
	add("ID", "NCName", func(s *simple) { s.id = true })
	add("IDREF", "NCName", func(s *simple) { s.idref = true })
	for many, one := range map[string]string{"NMTOKENS": "NMTOKEN", "IDREFS": "IDREF"} {
		item := c.simples[one].simple
		add(many, "anySimpleType", func(s *simple) { s.variety, s.item, s.white, s.least = list, item, collapse, 1 })
	}
	for _, x := range [][4]string{{"integer", "decimal"}, {"nonPositiveInteger", "integer", "", "0"}, {"negativeInteger", "nonPositiveInteger", "", "-1"},
		{"long", "integer", "-9223372036854775808", "9223372036854775807"}, {"int", "long", "-2147483648", "2147483647"}, {"short", "int", "-32768", "32767"},
		{"byte", "short", "-128", "127"}, {"nonNegativeInteger", "integer", "0"}, {"unsignedLong", "nonNegativeInteger", "0", "18446744073709551615"},
		{"unsignedInt", "unsignedLong", "0", "4294967295"}, {"unsignedShort", "unsignedInt", "0", "65535"}, {"unsignedByte", "unsignedShort", "0", "255"},
		{"positiveInteger", "nonNegativeInteger", "1"}} {
		add(x[0], x[1], func(s *simple) {
			s.integer, s.fraction = true, 0
			if x[2] != "" {
				s.minIn = []byte(x[2])
			}
			if x[3] != "" {
				s.maxIn = []byte(x[3])
			}
		})
	}
}

func (c *compiler) simpleType(t *typ) {
	n := t.from
	t.by = byRestriction
	t.base = c.simples["anySimpleType"]
	t.simple = c.simples["string"].simple
	c.allowed(n, "name", "final", "id")
	t.finals = n.d.finals
	if n.has("final") {
		t.finals = c.methods(n, "final", byRestriction|byList|byUnion)
	}
	children := n.children()
	if len(children) != 1 {
		c.fault(n, "simpleType holds one of restriction, list and union", "")
		return
	}
	d := children[0]
	inner := d.children()
	one := func(attr string) *typ {
		if d.has(attr) {
			if len(inner) > 0 && inner[0].is("simpleType") {
				c.fault(d, "two types", "")
			}
			return c.reference(d, attr)
		}
		if len(inner) == 0 || !inner[0].is("simpleType") {
			c.fault(d, attr+" is missing", "")
			return nil
		}
		x := c.typeOf(inner[0])
		inner = inner[1:]
		return x
	}
	whole := func(x *typ, by methods) bool {
		if x == nil || !c.complete(x) {
			return false
		}
		if x.complex || x.simple == nil {
			c.fault(d, fmt.Sprintf("%s is no simple type", x), "")
			return false
		}
		c.final(d, x, by)
		return true
	}
	switch d.local() {
	case "restriction":
		c.allowed(d, "base", "id")
		if b := one("base"); whole(b, byRestriction) {
			if b == c.simples["anySimpleType"] {
				c.fault(d, "anySimpleType cannot be restricted", "")
			}
			t.base = b
			t.simple = c.facets(b.simple, inner, d)
		}
	case "list":
		c.allowed(d, "itemType", "id")
		if b := one("itemType"); whole(b, byList) {
			if b.simple.variety == list || b.simple.variety == union && hasList(b.simple) {
				c.fault(d, "a list of lists", "")
			}
			t.simple = &simple{variety: list, item: b.simple, white: collapse, length: -1, least: -1, most: -1, total: -1, fraction: -1}
		}
	case "union":
		c.allowed(d, "memberTypes", "id")
		s := &simple{variety: union, length: -1, least: -1, most: -1, total: -1, fraction: -1}
		for word := range strings.FieldsSeq(d.get("memberTypes")) {
			if name, ok := c.name(d, word); ok {
				if m := c.typeNamed(name, d); whole(m, byUnion) {
					s.members = append(s.members, m)
				}
			}
		}
		for _, x := range inner {
			if !x.is("simpleType") {
				c.fault(x, fmt.Sprintf("xs:%s does not stand in xs:union", x.local()), "")
			} else if m := c.typeOf(x); whole(m, byUnion) {
				s.members = append(s.members, m)
			}
		}
		if len(s.members) == 0 {
			c.fault(d, "union has no members", "")
			return
		}
		t.simple = s
	default:
		c.fault(d, fmt.Sprintf("xs:%s does not stand in xs:simpleType", d.local()), "")
	}
}

func hasList(s *simple) bool {
	for _, m := range s.members {
		if m.simple.variety == list || m.simple.variety == union && hasList(m.simple) {
			return true
		}
	}
	return false
}

// facets restricts a base.
func (c *compiler) facets(base *simple, list []node, at node) *simple {
	s := *base
	var alternatives []*schema.Matcher
	var enum map[string]bool
	w := &Validation{s: c.out, d: &at.d.doc}
	wrong := func(n node, format string, args ...any) { c.fault(n, n.local()+": "+fmt.Sprintf(format, args...), "") }
	seen := map[string]bool{}
	for _, n := range list {
		name := n.local()
		if !facets[name] {
			c.fault(n, fmt.Sprintf("xs:%s does not stand in a restriction", name), "")
			continue
		}
		c.allowed(n, "value", "fixed", "id")
		v, ok := n.attr("value")
		if !ok {
			wrong(n, "value is missing")
			continue
		}
		if seen[name] && name != "pattern" && name != "enumeration" {
			wrong(n, "stands twice")
		}
		seen[name] = true
		number := func() int {
			k, err := strconv.ParseUint(strings.TrimSpace(v), 10, 31)
			if err != nil {
				wrong(n, "%q is no number that is supported", v)
			}
			return int(k)
		}
		sized := func() bool {
			if s.variety == atomic && s.prim != pString && s.prim != pHex && s.prim != pBase64 && s.prim != pURI && s.prim != pQName && s.prim != anySimple || s.variety == union {
				wrong(n, "the type has no length")
				return false
			}
			return true
		}
		bound := func(slot *[]byte) {
			if s.variety != atomic || !s.prim.ordered() {
				wrong(n, "the type has no order")
				return
			}
			word := append([]byte(nil), collapse.normal(nil, []byte(v))...)
			if detail := w.word(base, word, n.i, true); detail != "" {
				wrong(n, "%.40q: %s", v, detail)
				return
			}
			*slot = word
		}
		switch name {
		case "length":
			if k := number(); sized() {
				if s.length >= 0 && s.length != k {
					wrong(n, "the base has another length")
				}
				s.length = k
			}
		case "minLength":
			if k := number(); sized() {
				if k < s.least {
					wrong(n, "%d is less than the base's %d", k, s.least)
				}
				s.least = k
			}
		case "maxLength":
			if k := number(); sized() {
				if s.most >= 0 && k > s.most {
					wrong(n, "%d is more than the base's %d", k, s.most)
				}
				s.most = k
			}
		case "pattern":
			re, err := translate(v)
			if err == nil {
				var m *schema.Matcher
				if m, err = schema.NewMatcher(re); err == nil {
					alternatives = append(alternatives, m)
				}
			}
			if err != nil {
				wrong(n, "%.80q: %v", v, err)
			}
		case "enumeration":
			if enum == nil {
				enum = map[string]bool{}
			}
			if detail := w.word(base, []byte(v), n.i, true); detail != "" {
				wrong(n, "%.40q: %s", v, detail)
			}
			enum[string(base.canonical(nil, []byte(v), w, n.i))] = true
		case "whiteSpace":
			k, ok := map[string]white{"preserve": preserve, "replace": replace, "collapse": collapse}[strings.TrimSpace(v)]
			switch {
			case !ok:
				wrong(n, "%q is none of preserve, replace, collapse", v)
			case k < s.white || s.variety == union:
				wrong(n, "the base does more than %s", v)
			default:
				s.white = k
			}
		case "minInclusive":
			bound(&s.minIn)
		case "minExclusive":
			bound(&s.minEx)
		case "maxInclusive":
			bound(&s.maxIn)
		case "maxExclusive":
			bound(&s.maxEx)
		case "totalDigits", "fractionDigits":
			k := number()
			if s.prim != pDecimal || s.variety != atomic {
				wrong(n, "the type is no decimal")
				break
			}
			slot := &s.total
			if name == "fractionDigits" {
				slot = &s.fraction
			}
			if *slot >= 0 && k > *slot {
				wrong(n, "%d is more than the base's %d", k, *slot)
			}
			if name == "totalDigits" && k == 0 {
				wrong(n, "it is at least 1")
			}
			*slot = k
		}
	}
	if seen["minInclusive"] && seen["minExclusive"] || seen["maxInclusive"] && seen["maxExclusive"] {
		c.fault(at, "a bound is both inclusive and exclusive", "")
	}
	if s.least >= 0 && s.most >= 0 && s.least > s.most {
		c.fault(at, "minLength is more than maxLength", "")
	}
	for _, lo := range [][]byte{s.minIn, s.minEx} {
		for _, hi := range [][]byte{s.maxIn, s.maxEx} {
			if lo != nil && hi != nil {
				if k, ok := s.prim.compare(lo, hi); ok && k > 0 {
					c.fault(at, fmt.Sprintf("minimum %s is more than maximum %s", lo, hi), "")
				}
			}
		}
	}
	if len(alternatives) > 0 {
		s.patterns = append(s.patterns[:len(s.patterns):len(s.patterns)], alternatives)
	}
	if enum != nil {
		s.enum = enum
	}
	return &s
}

// word checks a word against a simple type, white space as it stands; it gives
// what is wrong, "" when nothing is. inSchema says that it stands in a schema.
func (v *Validation) word(s *simple, b []byte, at int, inSchema bool) (wrong string) {
	b = s.whiteSpace().normal(v.scratch[:0], b)
	return v.normal(s, b, at, inSchema)
}

// normal is word for a word whose white space has been seen to.
func (v *Validation) normal(s *simple, b []byte, at int, inSchema bool) string {
	n := -1
	switch s.variety {
	case union:
		ok := false
		for _, m := range s.members {
			if v.word2(m.simple, b, at, inSchema) == "" {
				ok = true
				break
			}
		}
		if !ok {
			return "fits no member of the union"
		}
	case list:
		n = 0
		for rest := b; len(rest) > 0; {
			i := 0
			for i < len(rest) && rest[i] != ' ' {
				i++
			}
			if wrong := v.word2(s.item, rest[:i], at, inSchema); wrong != "" {
				return wrong
			}
			n++
			rest = rest[min(i+1, len(rest)):]
		}
	default:
		if !s.prim.lexical(b) || s.kind != anyWord && !s.kind.holds(b) {
			return "is no word of its type"
		}
		switch {
		case s.integer:
			for _, c := range b {
				if c == '.' {
					return "is no integer"
				}
			}
		case s.prim == pQName:
			if !v.bound(b, at) {
				return "its prefix is bound to no namespace"
			}
		}
		if s.length >= 0 || s.least >= 0 || s.most >= 0 {
			switch s.prim {
			case pHex:
				n = len(b) / 2
			case pBase64:
				n, _ = base64Length(b)
			case pQName:
				// Its length means nothing; the facets always hold.
			default:
				n = utf8.RuneCount(b)
			}
		}
		if s.prim.ordered() {
			if wrong := s.ranges(b); wrong != "" {
				return wrong
			}
		}
		if !inSchema && s.id {
			v.id(b)
		} else if !inSchema && s.idref {
			v.refers = append(v.refers, append([]byte(nil), b...))
		}
	}
	if n >= 0 {
		switch {
		case s.length >= 0 && n != s.length:
			return "has another length than declared"
		case s.least >= 0 && n < s.least:
			return "is shorter than declared"
		case s.most >= 0 && n > s.most:
			return "is longer than declared"
		}
	}
	for _, alternatives := range s.patterns {
		ok := false
		for _, m := range alternatives {
			if m.Match(b) {
				ok = true
				break
			}
		}
		if !ok {
			return "does not fit the pattern"
		}
	}
	if s.enum != nil {
		form := v.form // taken away: a member of a union may need one too
		v.form = nil
		form = s.canonicalNormal(form[:0], b, v, at)
		known := s.enum[string(form)]
		v.form = form
		if !known {
			return "is none of the values declared"
		}
	}
	return ""
}

// word2 is word with white space seen to in memory of its own.
func (v *Validation) word2(s *simple, b []byte, at int, inSchema bool) string {
	return v.normal(s, s.whiteSpace().normal(nil, b), at, inSchema)
}

// ranges checks the facets of order and of digits.
func (s *simple) ranges(b []byte) string {
	if s.prim == pDecimal && (s.total >= 0 || s.fraction >= 0) {
		d, _ := parseDecimal(b)
		if s.fraction >= 0 && len(d.fraction) > s.fraction {
			return "has more digits behind the point than declared"
		}
		whole, fraction := len(d.whole), len(d.fraction)
		if s.total >= 0 && max(whole+fraction, fraction, 1) > s.total {
			return "has more digits than declared"
		}
	}
	check := func(bound []byte, want func(int) bool) bool {
		if bound == nil {
			return true
		}
		c, ok := s.prim.compare(b, bound)
		return ok && want(c)
	}
	if !check(s.minIn, func(c int) bool { return c >= 0 }) || !check(s.minEx, func(c int) bool { return c > 0 }) {
		return "is less than declared"
	}
	if !check(s.maxIn, func(c int) bool { return c <= 0 }) || !check(s.maxEx, func(c int) bool { return c < 0 }) {
		return "is more than declared"
	}
	return ""
}

// canonical appends the form of a word that all words of its value share.
func (s *simple) canonical(out, b []byte, v *Validation, at int) []byte {
	return s.canonicalNormal(out, s.whiteSpace().normal(nil, b), v, at)
}

func (s *simple) canonicalNormal(out, b []byte, v *Validation, at int) []byte {
	switch s.variety {
	case union:
		for _, m := range s.members {
			if v.word2(m.simple, b, at, true) == "" {
				return m.simple.canonical(out, b, v, at)
			}
		}
		return append(out, b...)
	case list:
		for i, part := range strings.Fields(string(b)) {
			if i > 0 {
				out = append(out, ' ')
			}
			out = s.item.canonical(out, []byte(part), v, at)
		}
		return out
	}
	if s.prim == pQName {
		prefix, local := splitName(b)
		space, _ := v.d.Namespace(at, prefix)
		out = append(append(out, '{'), space...)
		return append(append(out, '}'), local...)
	}
	return s.prim.canonical(out, b)
}

// proves reports whether a word that the type admits can be nothing but
// harmless: of a fixed grammar, one of the values listed, or short and made of
// the characters of names or of numbers where the type says what it looks like.
func (s *simple) proves(b []byte) bool {
	switch {
	case s.enum != nil:
		return true
	case s.variety == list:
		return s.item.proves(b) && len(b) <= 4096
	case s.variety == union:
		return false
	case s.prim.plain():
		return true
	case s.kind == anyWord && s.patterns == nil && s.prim != pQName, len(b) > provenLength:
		return false
	}
	words, stamps := true, true
	for _, c := range b {
		word := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '-'
		words = words && word
		stamps = stamps && (c >= '0' && c <= '9' || c == 'T' || c == 'Z' || c == ':' || c == '.' || c == '+' || c == '-')
	}
	return words || stamps
}

// provenLength is up to which length names are taken for harmless: longer ones
// could carry another encoding.
const provenLength = 128

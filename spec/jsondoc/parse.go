package jsondoc

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// A Doc is a parsed document. The zero value is ready; Parse may be called
// again and again and reuses the tape. A Doc belongs to one goroutine.
type Doc struct {
	Src        []byte
	Nodes      []Node
	Duplicates bool // some object holds a key twice
	Duplicate  int  // index of the first node whose key its object already holds; -1 if none

	table    []uint32 // open addressing over the members of one large object
	one, two []byte   // decoded keys under comparison
}

// Defaults of Limits.
const (
	defaultBytes   = 16 << 20
	defaultDepth   = 64
	defaultNodes   = 1 << 20
	defaultMembers = 1 << 18
	defaultString  = 8 << 20
)

func (l Limits) filled() Limits {
	fill := func(v *int, standard int) {
		if *v <= 0 {
			*v = standard
		}
	}
	fill(&l.Bytes, defaultBytes)
	fill(&l.Depth, defaultDepth)
	fill(&l.Nodes, defaultNodes)
	fill(&l.Members, defaultMembers)
	fill(&l.StringBytes, defaultString)
	l.Bytes = min(l.Bytes, math.MaxInt32-1)
	return l
}

// Reset forgets the document and keeps the memory.
func (d *Doc) Reset() { d.Src, d.Nodes, d.Duplicates, d.Duplicate = nil, d.Nodes[:0], false, -1 }

func fail(offset int, rule, message string) error {
	return &SyntaxError{Offset: offset, Rule: rule, Message: message}
}

// Parse reads src. The Doc keeps src, which must stay unchanged while the Doc
// is in use. The error is a *SyntaxError; after one, Nodes is empty.
func (d *Doc) Parse(src []byte, lim Limits) error {
	d.Reset()
	lim = lim.filled()
	if len(src) > lim.Bytes {
		return fail(lim.Bytes, RuleBytes, "document is larger than allowed")
	}
	d.Src = src
	nodes, err := d.parse(src, &lim)
	if err != nil {
		d.Nodes = nodes[:0]
		return err
	}
	d.Nodes = nodes
	if d.Duplicates && !lim.Duplicates {
		at := int(nodes[d.Duplicate].KeyStart)
		d.Nodes = nodes[:0]
		return fail(at, RuleDuplicate, "object holds a key twice")
	}
	return nil
}

func space(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' {
		switch b[i] {
		case ' ', '\n', '\t', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// parse is the one pass. cur is the open container, -1 at the top.
func (d *Doc) parse(b []byte, lim *Limits) ([]Node, error) {
	nodes := d.Nodes
	if cap(nodes) == 0 {
		nodes = make([]Node, 0, min(16+len(b)/12, 4096))
	}
	cur, depth := int32(-1), 0
	keyStart, keyEnd, keyEsc, print := int32(-1), int32(-1), false, uint32(0)
	i := space(b, 0)
	if i == len(b) {
		return nodes, fail(i, RuleEmpty, "document is empty")
	}
	for {
		// A value begins at i.
		if i >= len(b) {
			return nodes, fail(i, RuleSyntax, "document ends where a value should begin")
		}
		if len(nodes) >= lim.Nodes {
			return nodes, fail(i, RuleNodes, "document holds more values than allowed")
		}
		at := int32(len(nodes))
		nodes = append(nodes, Node{Start: int32(i), KeyStart: keyStart, KeyEnd: keyEnd, KeyEscaped: keyEsc, Print: print, Parent: cur})
		n := &nodes[at]
		switch c := b[i]; c {
		case '"':
			end, esc, code := scanString(b, i+1)
			if code != 0 {
				return nodes, stringError(end, code)
			}
			if end-i-1 > lim.StringBytes {
				return nodes, fail(i, RuleString, "string is longer than allowed")
			}
			n.Kind, n.Start, n.End, n.Escaped, n.Next = String, int32(i+1), int32(end), esc, at+1
			i = end + 1
		case '{', '[':
			if depth++; depth > lim.Depth {
				return nodes, fail(i, RuleDepth, "document is nested deeper than allowed")
			}
			n.Kind = Object
			closer := byte('}')
			if c == '[' {
				n.Kind, closer = Array, ']'
			}
			i = space(b, i+1)
			if i < len(b) && b[i] == closer {
				i++
				depth--
				n.End, n.Next = int32(i), at+1
				break // an empty container is complete
			}
			cur = at
			keyStart, keyEnd, keyEsc, print = -1, -1, false, 0
			if c == '[' {
				continue
			}
			var err error
			if keyStart, keyEnd, keyEsc, print, i, err = d.key(b, i, lim); err != nil {
				return nodes, err
			}
			continue
		case 't':
			if len(b)-i < 4 || string(b[i:i+4]) != "true" {
				return nodes, fail(i, RuleSyntax, "value is no JSON")
			}
			n.Kind, n.End, n.Next = True, int32(i+4), at+1
			i += 4
		case 'f':
			if len(b)-i < 5 || string(b[i:i+5]) != "false" {
				return nodes, fail(i, RuleSyntax, "value is no JSON")
			}
			n.Kind, n.End, n.Next = False, int32(i+5), at+1
			i += 5
		case 'n':
			if len(b)-i < 4 || string(b[i:i+4]) != "null" {
				return nodes, fail(i, RuleSyntax, "value is no JSON")
			}
			n.Kind, n.End, n.Next = Null, int32(i+4), at+1
			i += 4
		default:
			end, integer, ok := ScanNumber(b, i)
			if !ok {
				return nodes, fail(end, RuleSyntax, "value is no JSON")
			}
			n.Kind, n.End, n.Integer, n.Next = Number, int32(end), integer, at+1
			i = end
		}
		// A value is complete; close what it completes.
		for {
			i = space(b, i)
			if cur < 0 {
				if i != len(b) {
					return nodes, fail(i, RuleSyntax, "something follows the document")
				}
				return nodes, nil
			}
			p := &nodes[cur]
			p.Count++
			if i >= len(b) {
				return nodes, fail(i, RuleSyntax, "document ends inside an object or array")
			}
			if b[i] == ',' {
				if int(p.Count) >= lim.Members {
					return nodes, fail(i, RuleMembers, "object or array holds more values than allowed")
				}
				i = space(b, i+1)
				if p.Kind == Array {
					keyStart, keyEnd, keyEsc, print = -1, -1, false, 0
					break
				}
				var err error
				if keyStart, keyEnd, keyEsc, print, i, err = d.key(b, i, lim); err != nil {
					return nodes, err
				}
				break
			}
			if p.Kind == Object {
				if b[i] != '}' {
					return nodes, fail(i, RuleSyntax, "object lacks a comma or its end")
				}
			} else if b[i] != ']' {
				return nodes, fail(i, RuleSyntax, "array lacks a comma or its end")
			}
			i++
			depth--
			p.End, p.Next = int32(i), int32(len(nodes))
			if p.Kind == Object && p.Count > 1 {
				d.duplicates(b, nodes, cur)
			}
			cur = p.Parent
		}
	}
}

// key reads an object key, the colon and the space around it.
func (d *Doc) key(b []byte, i int, lim *Limits) (start, end int32, esc bool, print uint32, next int, err error) {
	if i >= len(b) || b[i] != '"' {
		return 0, 0, false, 0, i, fail(i, RuleSyntax, "object lacks a key")
	}
	e, esc, code := scanString(b, i+1)
	if code != 0 {
		return 0, 0, false, 0, i, stringError(e, code)
	}
	if e-i-1 > lim.StringBytes {
		return 0, 0, false, 0, i, fail(i, RuleString, "string is longer than allowed")
	}
	k := b[i+1 : e]
	if esc {
		d.one = unescape(d.one[:0], k)
		print = Fingerprint(d.one)
	} else {
		print = Fingerprint(k)
	}
	start, end = int32(i+1), int32(e)
	i = space(b, e+1)
	if i >= len(b) || b[i] != ':' {
		return 0, 0, false, 0, i, fail(i, RuleSyntax, "key lacks its colon")
	}
	return start, end, esc, print, space(b, i+1), nil
}

// smallObject is up to how many members keys are compared pair by pair.
const smallObject = 16

// duplicates notes the first key that object o holds twice. Small objects
// compare fingerprints; larger ones go through a table keyed by a hash seeded
// at start, so that chosen keys cannot make it slow.
func (d *Doc) duplicates(b []byte, nodes []Node, o int32) {
	n := &nodes[o]
	if n.Count <= smallObject {
		var prints [smallObject]uint32
		k := 0
		for c := o + 1; c < n.Next; c = nodes[c].Next {
			p := nodes[c].Print
			for _, q := range prints[:k] {
				if p == q {
					d.compareAll(b, nodes, o, c)
					break
				}
			}
			prints[k] = p
			k++
		}
		return
	}
	size := 1 << bits.Len(uint(n.Count)*2)
	if cap(d.table) < size {
		d.table = make([]uint32, size)
	}
	table := d.table[:size]
	clear(table)
	mask := uint64(size - 1)
	for c := o + 1; c < n.Next; c = nodes[c].Next {
		key := d.keyOf(b, &nodes[c], &d.one)
		for h := maphash.Bytes(seed, key) & mask; ; h = (h + 1) & mask {
			if table[h] == 0 {
				table[h] = uint32(c)
				break
			}
			if other := &nodes[table[h]]; other.Print == nodes[c].Print && bytes.Equal(d.keyOf(b, other, &d.two), key) {
				d.note(c)
				break
			}
		}
	}
}

var seed = maphash.MakeSeed()

// compareAll compares the key of member c with those before it.
func (d *Doc) compareAll(b []byte, nodes []Node, o, c int32) {
	key := d.keyOf(b, &nodes[c], &d.one)
	for e := o + 1; e < c; e = nodes[e].Next {
		if nodes[e].Print == nodes[c].Print && bytes.Equal(d.keyOf(b, &nodes[e], &d.two), key) {
			d.note(c)
			return
		}
	}
}

func (d *Doc) note(c int32) {
	if !d.Duplicates {
		d.Duplicates, d.Duplicate = true, int(c)
	}
}

func (d *Doc) keyOf(b []byte, n *Node, scratch *[]byte) []byte {
	k := b[n.KeyStart:n.KeyEnd]
	if n.KeyEscaped {
		*scratch = unescape((*scratch)[:0], k)
		return *scratch
	}
	return k
}

// Fingerprint mixes the length, the head and the tail of a decoded key. Equal
// keys have equal fingerprints; it is not meant to resist chosen keys.
func Fingerprint(k []byte) uint32 {
	n := len(k)
	var a, z uint64
	switch {
	case n >= 8:
		a, z = binary.LittleEndian.Uint64(k), binary.LittleEndian.Uint64(k[n-8:])
	case n >= 4:
		a, z = uint64(binary.LittleEndian.Uint32(k)), uint64(binary.LittleEndian.Uint32(k[n-4:]))
	case n > 0:
		a, z = uint64(k[0])|uint64(k[n>>1])<<8, uint64(k[n-1])
	}
	h := a*0x9E3779B97F4A7C15 ^ bits.RotateLeft64(z*0xC2B2AE3D27D4EB4F, 31) + uint64(n)*0x165667B19E3779F9
	h ^= h >> 29
	h *= 0xBF58476D1CE4E5B9
	return uint32(h >> 32)
}

// What is wrong with a string.
const (
	strEnd uint8 = iota + 1
	strControl
	strEscape
	strUTF8
	strSurrogate
)

func stringError(at int, code uint8) error {
	switch code {
	case strControl:
		return fail(at, RuleSyntax, "string holds a control character")
	case strEscape:
		return fail(at, RuleSyntax, "string holds a broken escape")
	case strUTF8:
		return fail(at, RuleUTF8, "string is not UTF-8")
	case strSurrogate:
		return fail(at, RuleUTF8, "string holds half a surrogate pair")
	}
	return fail(at, RuleSyntax, "string has no end")
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// scanString finds the quote that ends the string whose content begins at i.
// With code not zero, end is where it broke.
func scanString(b []byte, i int) (end int, esc bool, code uint8) {
	for {
		// Eight bytes at a time: a bit is set for a quote, a backslash, a
		// control character or a byte beyond ASCII. Only the lowest bit is
		// exact, which is all that is used.
		for i+8 <= len(b) {
			w := binary.LittleEndian.Uint64(b[i:])
			q, s := w^(ones*'"'), w^(ones*'\\')
			m := ((q-ones)&^q | (s-ones)&^s | (w-ones*0x20)&^w | w) & highs
			if m == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(m) >> 3
			break
		}
		if i >= len(b) {
			return i, esc, strEnd
		}
		switch c := b[i]; {
		case c == '"':
			return i, esc, 0
		case c == '\\':
			esc = true
			size, code := escape(b, i)
			if code != 0 {
				return i, esc, code
			}
			i += size
		case c < 0x20:
			return i, esc, strControl
		case c < utf8.RuneSelf:
			i++
		default:
			r, size := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && size == 1 {
				return i, esc, strUTF8
			}
			i += size
		}
	}
}

// escape checks the escape at b[i] and gives its size; a surrogate pair is one.
func escape(b []byte, i int) (size int, code uint8) {
	if i+1 >= len(b) {
		return 0, strEnd
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, 0
	case 'u':
		r, ok := hex4(b, i+2)
		switch {
		case !ok:
			return 0, strEscape
		case r < 0xD800 || r > 0xDFFF:
			return 6, 0
		case r > 0xDBFF || i+7 >= len(b) || b[i+6] != '\\' || b[i+7] != 'u':
			return 0, strSurrogate
		}
		low, ok := hex4(b, i+8)
		if !ok {
			return 0, strEscape
		}
		if low < 0xDC00 || low > 0xDFFF {
			return 0, strSurrogate
		}
		return 12, 0
	}
	return 0, strEscape
}

func hex4(b []byte, i int) (r rune, ok bool) {
	if i+4 > len(b) {
		return 0, false
	}
	for _, c := range b[i : i+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// ScanNumber reads the JSON number that begins at b[i] and gives its end; with
// ok false, where it broke. integer means without fraction and exponent.
func ScanNumber(b []byte, i int) (end int, integer, ok bool) {
	if i < len(b) && b[i] == '-' {
		i++
	}
	first := i
	for i < len(b) && b[i]-'0' < 10 {
		i++
	}
	if i == first || b[first] == '0' && i-first > 1 {
		return first, false, false
	}
	integer = true
	if i < len(b) && b[i] == '.' {
		integer = false
		i++
		f := i
		for i < len(b) && b[i]-'0' < 10 {
			i++
		}
		if i == f {
			return i, false, false
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		integer = false
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		f := i
		for i < len(b) && b[i]-'0' < 10 {
			i++
		}
		if i == f {
			return i, false, false
		}
	}
	return i, integer, true
}

// unescape appends the text of a checked string to out.
func unescape(out, s []byte) []byte {
	for {
		k := bytes.IndexByte(s, '\\')
		if k < 0 {
			return append(out, s...)
		}
		out = append(out, s[:k]...)
		switch c := s[k+1]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, _ := hex4(s, k+2)
			k += 4
			if r >= 0xD800 && r <= 0xDBFF {
				low, _ := hex4(s, k+4)
				r = 0x10000 + (r-0xD800)<<10 + (low - 0xDC00)
				k += 6
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
		s = s[k+2:]
	}
}

// Raw is node i as written; of a string, without its quotes.
func (d *Doc) Raw(i int) []byte {
	n := &d.Nodes[i]
	return d.Src[n.Start:n.End]
}

// Text is the decoded text of string i. It aliases Src when the string holds
// no escapes; otherwise it is appended to scratch[:0].
func (d *Doc) Text(i int, scratch []byte) []byte {
	n := &d.Nodes[i]
	if !n.Escaped {
		return d.Src[n.Start:n.End]
	}
	return unescape(scratch[:0], d.Src[n.Start:n.End])
}

// Key is the decoded key of member i, under the same rule as Text.
func (d *Doc) Key(i int, scratch []byte) []byte {
	n := &d.Nodes[i]
	if !n.KeyEscaped {
		return d.Src[n.KeyStart:n.KeyEnd]
	}
	return unescape(scratch[:0], d.Src[n.KeyStart:n.KeyEnd])
}

// Pointer is the JSON pointer (RFC 6901) of node i; "" at the root. It
// allocates and walks elder siblings: it is meant for findings.
func (d *Doc) Pointer(i int) string {
	var path []int32
	for n := int32(i); n >= 0 && d.Nodes[n].Parent >= 0; n = d.Nodes[n].Parent {
		path = append(path, n)
	}
	var out []byte
	scratch := make([]byte, 0, 64)
	for k := len(path) - 1; k >= 0; k-- {
		n := path[k]
		out = append(out, '/')
		if d.Nodes[n].KeyStart < 0 {
			index := int64(0)
			for e := d.Nodes[n].Parent + 1; e < n; e = d.Nodes[e].Next {
				index++
			}
			out = strconv.AppendInt(out, index, 10)
			continue
		}
		// What Key gives may be part of Src: it must not become the scratch that
		// the next key is unescaped into.
		out = AppendToken(out, d.Key(int(n), scratch[:0]))
	}
	return string(out)
}

// AppendToken appends key to out as one token of a JSON pointer.
func AppendToken(out, key []byte) []byte {
	for _, c := range key {
		switch c {
		case '~':
			out = append(out, "~0"...)
		case '/':
			out = append(out, "~1"...)
		default:
			out = append(out, c)
		}
	}
	return out
}

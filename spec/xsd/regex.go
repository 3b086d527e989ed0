package xsd

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// A set is a set of characters: sorted ranges that do not touch.
type set []span

type span struct{ lo, hi rune }

func (s set) normal() set {
	slices.SortFunc(s, func(a, b span) int { return int(a.lo - b.lo) })
	var out set
	for _, x := range s {
		if n := len(out); n > 0 && x.lo <= out[n-1].hi+1 {
			out[n-1].hi = max(out[n-1].hi, x.hi)
			continue
		}
		out = append(out, x)
	}
	return out
}

func (s set) not() set {
	var out set
	next := rune(0)
	for _, x := range s.normal() {
		if x.lo > next {
			out = append(out, span{next, x.lo - 1})
		}
		next = x.hi + 1
	}
	if next <= unicode.MaxRune {
		out = append(out, span{next, unicode.MaxRune})
	}
	return out
}

func (s set) without(t set) set { return append(s.not(), t...).normal().not() }

func tableSet(t *unicode.RangeTable) (out set) {
	for _, r := range t.R16 {
		for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
			if r.Stride == 1 {
				out = append(out, span{c, rune(r.Hi)})
				break
			}
			out = append(out, span{c, c})
		}
	}
	for _, r := range t.R32 {
		for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
			if r.Stride == 1 {
				out = append(out, span{c, rune(r.Hi)})
				break
			}
			out = append(out, span{c, c})
		}
	}
	return out.normal()
}

// blocks are the Unicode blocks that patterns may name, by the names of XML
// Schema 1.0.
var blocks = map[string]span{
	"BasicLatin": {0, 0x7f}, "Latin-1Supplement": {0x80, 0xff}, "LatinExtended-A": {0x100, 0x17f}, "LatinExtended-B": {0x180, 0x24f},
	"IPAExtensions": {0x250, 0x2af}, "SpacingModifierLetters": {0x2b0, 0x2ff}, "CombiningDiacriticalMarks": {0x300, 0x36f},
	"Greek": {0x370, 0x3ff}, "GreekandCoptic": {0x370, 0x3ff}, "Cyrillic": {0x400, 0x4ff}, "Armenian": {0x530, 0x58f}, "Hebrew": {0x590, 0x5ff},
	"Arabic": {0x600, 0x6ff}, "Devanagari": {0x900, 0x97f}, "Bengali": {0x980, 0x9ff}, "Tamil": {0xb80, 0xbff}, "Thai": {0xe00, 0xe7f},
	"Georgian": {0x10a0, 0x10ff}, "HangulJamo": {0x1100, 0x11ff}, "LatinExtendedAdditional": {0x1e00, 0x1eff}, "GreekExtended": {0x1f00, 0x1fff},
	"GeneralPunctuation": {0x2000, 0x206f}, "SuperscriptsandSubscripts": {0x2070, 0x209f}, "CurrencySymbols": {0x20a0, 0x20cf},
	"LetterlikeSymbols": {0x2100, 0x214f}, "NumberForms": {0x2150, 0x218f}, "Arrows": {0x2190, 0x21ff}, "MathematicalOperators": {0x2200, 0x22ff},
	"BoxDrawing": {0x2500, 0x257f}, "GeometricShapes": {0x25a0, 0x25ff}, "CJKSymbolsandPunctuation": {0x3000, 0x303f}, "Hiragana": {0x3040, 0x309f},
	"Katakana": {0x30a0, 0x30ff}, "CJKUnifiedIdeographs": {0x4e00, 0x9fff}, "HangulSyllables": {0xac00, 0xd7a3}, "PrivateUse": {0xe000, 0xf8ff},
	"HalfwidthandFullwidthForms": {0xff00, 0xffef},
}

var (
	spaceSet   = set{{' ', ' '}, {'\t', '\n'}, {'\r', '\r'}}.normal()
	digitSet   = tableSet(unicode.Nd)
	wordSet    = append(append(tableSet(unicode.P), tableSet(unicode.Z)...), append(tableSet(unicode.C), unassigned()...)...).normal().not()
	initialSet = append(append(tableSet(unicode.L), tableSet(unicode.Nl)...), span{'_', '_'}, span{':', ':'}).normal()
	nameSet    = append(append(append(slices.Clone(initialSet), tableSet(unicode.Nd)...), tableSet(unicode.M)...), span{'-', '.'}, span{0xb7, 0xb7}).normal()
	dotSet     = set{{'\n', '\n'}, {'\r', '\r'}}.not()
)

func unassigned() set {
	var all set
	for _, t := range []*unicode.RangeTable{unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z, unicode.C} {
		all = append(all, tableSet(t)...)
	}
	return all.normal().not()
}

func property(name string) (set, error) {
	if block, ok := strings.CutPrefix(name, "Is"); ok {
		if s, ok := blocks[block]; ok {
			return set{s}, nil
		}
		return nil, fmt.Errorf("the Unicode block %q is not known here", block)
	}
	if name == "C" || name == "Cn" {
		s := unassigned()
		if name == "C" {
			s = append(s, tableSet(unicode.C)...).normal()
		}
		return s, nil
	}
	if t, ok := unicode.Categories[name]; ok && len(name) <= 2 && name != "LC" {
		return tableSet(t), nil
	}
	return nil, fmt.Errorf("\\p{%s} is no category of Unicode", name)
}

// regex rewrites a regular expression of XML Schema (part 2, appendix F) as one
// of Go's, anchored at both ends. Nothing in it backtracks.
type regex struct {
	in    []rune
	i     int
	out   strings.Builder
	depth int
}

// maxRepeat is the largest bound of a repetition in a pattern.
const maxRepeat = 1000

func translate(pattern string) (string, error) {
	r := &regex{in: []rune(pattern)}
	r.out.WriteString(`\A(?:`)
	if err := r.alternatives(); err != nil {
		return "", err
	}
	if r.i < len(r.in) {
		return "", errors.New("a ) stands alone")
	}
	r.out.WriteString(`)\z`)
	return r.out.String(), nil
}

func (r *regex) alternatives() error {
	if r.depth++; r.depth > 100 {
		return errors.New("groups are nested deeper than 100")
	}
	defer func() { r.depth-- }()
	for r.i < len(r.in) && r.in[r.i] != ')' {
		if r.in[r.i] == '|' {
			r.out.WriteByte('|')
			r.i++
			continue
		}
		if err := r.piece(); err != nil {
			return err
		}
	}
	return nil
}

func (r *regex) piece() error {
	switch c := r.in[r.i]; c {
	case '(':
		r.i++
		r.out.WriteString("(?:")
		if err := r.alternatives(); err != nil {
			return err
		}
		if r.i >= len(r.in) {
			return errors.New("a ( is not closed")
		}
		r.i++
		r.out.WriteByte(')')
	case '[':
		s, err := r.class()
		if err != nil {
			return err
		}
		r.set(s)
	case '.':
		r.i++
		r.set(dotSet)
	case '\\':
		s, err := r.escape()
		if err != nil {
			return err
		}
		r.set(s)
	case '*', '+', '?', '{', '}', ']':
		return fmt.Errorf("%c stands where a character is expected; write \\%c", c, c)
	default:
		r.i++
		r.set(set{{c, c}})
	}
	return r.quantifier()
}

func (r *regex) quantifier() error {
	if r.i >= len(r.in) {
		return nil
	}
	switch c := r.in[r.i]; c {
	case '*', '+', '?':
		r.out.WriteRune(c)
		r.i++
	case '{':
		end := slices.Index(r.in[r.i:], '}')
		if end < 0 {
			return errors.New("a { is not closed")
		}
		text := string(r.in[r.i+1 : r.i+end])
		r.i += end + 1
		lo, hi, ranged := strings.Cut(text, ",")
		n, err := strconv.ParseUint(lo, 10, 31)
		if err != nil {
			return fmt.Errorf("{%s} is no quantity", text)
		}
		m := n
		if ranged && hi != "" {
			if m, err = strconv.ParseUint(hi, 10, 31); err != nil || m < n {
				return fmt.Errorf("{%s} is no quantity", text)
			}
		}
		if n > maxRepeat || m > maxRepeat {
			return fmt.Errorf("{%s}: more than %d repetitions are not supported; use length facets", text, maxRepeat)
		}
		switch {
		case !ranged:
			fmt.Fprintf(&r.out, "{%d}", n)
		case hi == "":
			fmt.Fprintf(&r.out, "{%d,}", n)
		default:
			fmt.Fprintf(&r.out, "{%d,%d}", n, m)
		}
	default:
		return nil
	}
	if r.i < len(r.in) && strings.ContainsRune("*+?{", r.in[r.i]) {
		return errors.New("a quantity follows another")
	}
	return nil
}

// set writes a set as Go writes it.
func (r *regex) set(s set) {
	if len(s) == 0 {
		r.out.WriteString(`[^\x{0}-\x{10FFFF}]`)
		return
	}
	if len(s) == 1 && s[0].lo == s[0].hi {
		c := s[0].lo
		if c < 0x80 && (c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') {
			r.out.WriteRune(c)
		} else {
			fmt.Fprintf(&r.out, `\x{%X}`, c)
		}
		return
	}
	r.out.WriteByte('[')
	for _, x := range s {
		fmt.Fprintf(&r.out, `\x{%X}-\x{%X}`, x.lo, x.hi)
	}
	r.out.WriteByte(']')
}

// escape reads what begins with a backslash.
func (r *regex) escape() (set, error) {
	if r.i+1 >= len(r.in) {
		return nil, errors.New("a backslash stands at the end")
	}
	c := r.in[r.i+1]
	r.i += 2
	switch c {
	case 'n':
		return set{{'\n', '\n'}}, nil
	case 'r':
		return set{{'\r', '\r'}}, nil
	case 't':
		return set{{'\t', '\t'}}, nil
	case 's':
		return spaceSet, nil
	case 'S':
		return spaceSet.not(), nil
	case 'd':
		return digitSet, nil
	case 'D':
		return digitSet.not(), nil
	case 'w':
		return wordSet, nil
	case 'W':
		return wordSet.not(), nil
	case 'i':
		return initialSet, nil
	case 'I':
		return initialSet.not(), nil
	case 'c':
		return nameSet, nil
	case 'C':
		return nameSet.not(), nil
	case 'p', 'P':
		end := slices.Index(r.in[r.i:], '}')
		if r.i >= len(r.in) || r.in[r.i] != '{' || end < 0 {
			return nil, errors.New("\\p wants {…}")
		}
		s, err := property(string(r.in[r.i+1 : r.i+end]))
		r.i += end + 1
		if c == 'P' {
			s = s.not()
		}
		return s, err
	}
	if strings.ContainsRune(`\|.-^?*+{}()[]$`, c) {
		return set{{c, c}}, nil
	}
	return nil, fmt.Errorf("\\%c is no escape of XML Schema", c)
}

// class reads [ … ], with subtraction.
func (r *regex) class() (set, error) {
	if r.depth++; r.depth > 100 {
		return nil, errors.New("classes are nested deeper than 100")
	}
	defer func() { r.depth-- }()
	r.i++
	negative := r.i < len(r.in) && r.in[r.i] == '^'
	if negative {
		r.i++
	}
	var s set
	for first := true; ; first = false {
		if r.i >= len(r.in) {
			return nil, errors.New("a [ is not closed")
		}
		c := r.in[r.i]
		switch {
		case c == ']' && !first:
			r.i++
			if s = s.normal(); negative {
				s = s.not()
			}
			return s, nil
		case c == '[' || c == ']':
			return nil, fmt.Errorf("%c in a class; write \\%c", c, c)
		case c == '-' && !first && r.i+1 < len(r.in) && r.in[r.i+1] == '[':
			r.i++
			t, err := r.class()
			if err != nil {
				return nil, err
			}
			if r.i >= len(r.in) || r.in[r.i] != ']' {
				return nil, errors.New("a subtraction is not the last of its class")
			}
			r.i++
			if s = s.normal(); negative {
				s = s.not()
			}
			return s.without(t), nil
		case c == '\\':
			t, err := r.escape()
			if err != nil {
				return nil, err
			}
			if len(t) != 1 || t[0].lo != t[0].hi || !r.ranges() {
				s = append(s, t...)
				continue
			}
			if s, err = r.to(s, t[0].lo); err != nil {
				return nil, err
			}
		default:
			r.i++
			if !r.ranges() {
				s = append(s, span{c, c})
				continue
			}
			var err error
			if s, err = r.to(s, c); err != nil {
				return nil, err
			}
		}
	}
}

// ranges reports whether a - follows that makes a range.
func (r *regex) ranges() bool {
	return r.i+1 < len(r.in) && r.in[r.i] == '-' && r.in[r.i+1] != ']' && r.in[r.i+1] != '['
}

func (r *regex) to(s set, lo rune) (set, error) {
	r.i++
	hi := r.in[r.i]
	if hi == '\\' {
		t, err := r.escape()
		if err != nil {
			return nil, err
		}
		if len(t) != 1 || t[0].lo != t[0].hi {
			return nil, errors.New("a range ends in a class")
		}
		hi = t[0].lo
	} else {
		r.i++
	}
	if hi < lo {
		return nil, errors.New("a range runs backwards")
	}
	return append(s, span{lo, hi}), nil
}

package schema

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A pattern is a regular expression of ECMA-262, compiled to the cheapest
// machine that decides it: a run of one character class, a table-driven
// automaton, Go's linear-time regexp, and, only for lookaround and back
// references, a backtracker with a bound of steps.
type pattern struct {
	text string

	run  *classRun
	auto *automaton
	re   *regexp.Regexp
	slow *backtracker

	// harmless: anchored at both ends and closed over characters that no
	// interpreter takes for its own; longest is the greatest length, -1 if open.
	harmless bool
	longest  int
}

// automatonBudget bounds the tables of all automata of one Compiler, in entries;
// patterns beyond it run on the general engine.
const automatonBudget = 4 << 20

func compilePattern(text string, budget *int) (*pattern, error) {
	p := &pattern{text: text, longest: -1}
	t := translator{in: []rune(text)}
	out, err := t.translate()
	if err == nil {
		var tree *syntax.Regexp
		if tree, err = syntax.Parse(out, syntax.Perl); err == nil {
			p.harmless, p.longest = closed(tree)
			if p.run = newClassRun(tree); p.run != nil {
				return p, nil
			}
			if *budget > 0 {
				*budget -= 1000 // also an attempt that fails costs
				if p.auto = newAutomaton(tree); p.auto != nil {
					*budget -= len(p.auto.next)
					return p, nil
				}
				*budget -= maxStates
			}
			p.re, err = regexp.Compile(out)
			if err == nil {
				return p, nil
			}
		}
	}
	if p.slow, err = newBacktracker(text); err != nil {
		return nil, fmt.Errorf("pattern is no regular expression of ECMA-262: %w", err)
	}
	return p, nil
}

func (p *pattern) match(b []byte) bool {
	switch {
	case p.run != nil:
		return p.run.match(b)
	case p.auto != nil:
		return p.auto.match(b)
	case p.re != nil:
		return p.re.Match(b)
	}
	ok, _ := p.slow.match(b)
	return ok
}

// translator rewrites ECMA-262 (with the u flag, and the laxer escapes that
// documents in the wild use) as Go's syntax.
type translator struct {
	in  []rune
	i   int
	out strings.Builder
}

var errUntranslatable = errors.New("lookaround or back reference")

const (
	ecmaSpace   = `\t\n\x0B\f\r \x{A0}\x{FEFF}\x{2028}\x{2029}\p{Zs}`
	ecmaNoSpace = `\x{0}-\x{8}\x{E}-\x{1F}\x{21}-\x{9F}\x{A1}-\x{167F}\x{1681}-\x{1FFF}\x{200B}-\x{2027}\x{202A}-\x{202E}\x{2030}-\x{205E}\x{2060}-\x{2FFF}\x{3001}-\x{FEFE}\x{FF00}-\x{10FFFF}`
	ecmaDot     = `[^\n\r\x{2028}\x{2029}]`
)

func (t *translator) literal(r rune) {
	if r < utf8.RuneSelf && (r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_') {
		t.out.WriteRune(r)
		return
	}
	fmt.Fprintf(&t.out, `\x{%X}`, r)
}

func (t *translator) translate() (string, error) {
	for t.i < len(t.in) {
		r := t.in[t.i]
		switch r {
		case '\\':
			set, lit, err := t.escape(false)
			if err != nil {
				return "", err
			}
			if set != "" {
				t.out.WriteString(set)
			} else {
				t.literal(lit)
			}
			continue
		case '[':
			if err := t.class(); err != nil {
				return "", err
			}
			continue
		case '(':
			if t.i+2 < len(t.in) && t.in[t.i+1] == '?' {
				switch c := t.in[t.i+2]; {
				case c == ':':
				case c == '<' && t.i+3 < len(t.in) && t.in[t.i+3] != '=' && t.in[t.i+3] != '!':
				default:
					return "", errUntranslatable
				}
				if t.in[t.i+2] == ':' {
					t.out.WriteString("(?:")
					t.i += 3
				} else {
					t.out.WriteString("(?<")
					t.i += 3
				}
				continue
			}
			t.out.WriteString("(?:")
		case '.':
			t.out.WriteString(ecmaDot)
		case ')', '|', '*', '+', '?', '^', '$', '}':
			if r == '}' {
				t.literal(r)
			} else {
				t.out.WriteRune(r)
			}
		case '{':
			if n := t.repeat(); n > 0 {
				t.out.WriteString(string(t.in[t.i : t.i+n]))
				t.i += n
				continue
			}
			t.literal(r)
		case ']':
			t.literal(r)
		default:
			t.literal(r)
		}
		t.i++
	}
	return t.out.String(), nil
}

// repeat gives the length of the {n,m} that begins here, 0 if it is none.
func (t *translator) repeat() int {
	i := t.i + 1
	digits := func() bool {
		s := i
		for i < len(t.in) && t.in[i] >= '0' && t.in[i] <= '9' {
			i++
		}
		return i > s
	}
	if !digits() {
		return 0
	}
	if i < len(t.in) && t.in[i] == ',' {
		i++
		digits()
	}
	if i < len(t.in) && t.in[i] == '}' {
		return i + 1 - t.i
	}
	return 0
}

// escape reads the escape that begins here: a set in Go's syntax, or a literal.
func (t *translator) escape(inClass bool) (set string, lit rune, err error) {
	t.i++
	if t.i >= len(t.in) {
		return "", 0, errors.New("pattern ends in a backslash")
	}
	r := t.in[t.i]
	t.i++
	switch r {
	case 'd':
		if inClass {
			return "0-9", 0, nil
		}
		return "[0-9]", 0, nil
	case 'D':
		return `\D`, 0, nil
	case 'w':
		if inClass {
			return "0-9A-Za-z_", 0, nil
		}
		return "[0-9A-Za-z_]", 0, nil
	case 'W':
		return `\W`, 0, nil
	case 's':
		if inClass {
			return ecmaSpace, 0, nil
		}
		return "[" + ecmaSpace + "]", 0, nil
	case 'S':
		if inClass {
			return ecmaNoSpace, 0, nil
		}
		return "[^" + ecmaSpace + "]", 0, nil
	case 'b':
		if inClass {
			return "", '\b', nil
		}
		return `\b`, 0, nil
	case 'B':
		if inClass {
			return "", 'B', nil
		}
		return `\B`, 0, nil
	case 'n':
		return "", '\n', nil
	case 'r':
		return "", '\r', nil
	case 't':
		return "", '\t', nil
	case 'v':
		return "", '\v', nil
	case 'f':
		return "", '\f', nil
	case '0':
		return "", 0, nil
	case 'c':
		if t.i < len(t.in) && (t.in[t.i]|0x20) >= 'a' && (t.in[t.i]|0x20) <= 'z' {
			lit = t.in[t.i] & 0x1f
			t.i++
			return "", lit, nil
		}
		return "", 0, errors.New(`\c without a letter`)
	case 'x':
		return t.hex(2)
	case 'u':
		if t.i < len(t.in) && t.in[t.i] == '{' {
			end := slices.Index(t.in[t.i:], '}')
			if end < 0 {
				return "", 0, errors.New(`\u{ without its end`)
			}
			v, err := strconv.ParseUint(string(t.in[t.i+1:t.i+end]), 16, 32)
			if err != nil || v > 0x10FFFF {
				return "", 0, errors.New(`\u{} holds no code point`)
			}
			t.i += end + 1
			return "", rune(v), nil
		}
		set, lit, err = t.hex(4)
		if err == nil && lit >= 0xD800 && lit <= 0xDBFF && t.i+1 < len(t.in) && t.in[t.i] == '\\' && t.in[t.i+1] == 'u' {
			t.i += 2
			_, low, err := t.hex(4)
			if err != nil || low < 0xDC00 || low > 0xDFFF {
				return "", 0, errors.New("half a surrogate pair")
			}
			return "", 0x10000 + (lit-0xD800)<<10 + (low - 0xDC00), nil
		}
		return set, lit, err
	case 'p', 'P':
		if t.i >= len(t.in) || t.in[t.i] != '{' {
			return "", r, nil
		}
		end := slices.Index(t.in[t.i:], '}')
		if end < 0 {
			return "", 0, errors.New(`\p{ without its end`)
		}
		name := string(t.in[t.i+1 : t.i+end])
		t.i += end + 1
		if _, v, ok := strings.Cut(name, "="); ok {
			name = v
		}
		return `\` + string(r) + "{" + name + "}", 0, nil
	case 'k':
		return "", 0, errUntranslatable
	}
	if r >= '1' && r <= '9' {
		return "", 0, errUntranslatable
	}
	return "", r, nil
}

func (t *translator) hex(n int) (string, rune, error) {
	if t.i+n > len(t.in) {
		return "", 0, errors.New("broken escape")
	}
	v, err := strconv.ParseUint(string(t.in[t.i:t.i+n]), 16, 32)
	if err != nil {
		return "", 0, errors.New("broken escape")
	}
	t.i += n
	return "", rune(v), nil
}

func (t *translator) class() error {
	t.i++
	negated := t.i < len(t.in) && t.in[t.i] == '^'
	if negated {
		t.i++
	}
	if t.i < len(t.in) && t.in[t.i] == ']' {
		t.i++
		if negated {
			t.out.WriteString(`[\x{0}-\x{10FFFF}]`)
		} else {
			t.out.WriteString(`[^\x{0}-\x{10FFFF}]`)
		}
		return nil
	}
	t.out.WriteByte('[')
	if negated {
		t.out.WriteByte('^')
	}
	for {
		if t.i >= len(t.in) {
			return errors.New("class without its end")
		}
		if t.in[t.i] == ']' {
			t.i++
			t.out.WriteByte(']')
			return nil
		}
		set, low, err := t.atom()
		if err != nil {
			return err
		}
		if set != "" {
			t.out.WriteString(set)
			continue
		}
		if t.i+1 < len(t.in) && t.in[t.i] == '-' && t.in[t.i+1] != ']' {
			save := t.i
			t.i++
			set, high, err := t.atom()
			if err != nil {
				return err
			}
			if set == "" {
				if high < low {
					return fmt.Errorf("class holds a range that runs backwards")
				}
				t.literal(low)
				t.out.WriteByte('-')
				t.literal(high)
				continue
			}
			t.i = save
		}
		t.literal(low)
	}
}

func (t *translator) atom() (set string, lit rune, err error) {
	if t.in[t.i] == '\\' {
		return t.escape(true)
	}
	t.i++
	return "", t.in[t.i-1], nil
}

// closed reports whether a pattern is anchored at both ends and holds only
// harmless characters, and the greatest number of characters it admits.
func closed(re *syntax.Regexp) (harmless bool, longest int) {
	if re.Op != syntax.OpConcat || len(re.Sub) < 2 || re.Sub[0].Op != syntax.OpBeginText || re.Sub[len(re.Sub)-1].Op != syntax.OpEndText {
		return false, -1
	}
	words, stamps := true, true
	ok := true
	longest = 0
	for _, s := range re.Sub[1 : len(re.Sub)-1] {
		n := measure(s, &words, &stamps, &ok)
		if n < 0 || longest < 0 {
			longest = -1
		} else {
			longest += n
		}
	}
	return ok && (words || stamps), longest
}

// Closed reports whether every text that a pattern (in Go's syntax) admits is
// harmless by its characters and short: most is the length that another rule
// allows at most, -1 for none.
func Closed(pattern string, most int) bool {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return false
	}
	harmless, longest := closed(tree)
	if most >= 0 && (longest < 0 || most < longest) {
		longest = most
	}
	return harmless && longest >= 0 && longest <= provenLength
}

// wordByte is a character of identifiers, stampByte one of dates, times and
// decimals. A value of either kind only is taken for harmless, when short.
func wordByte(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' || r == '-'
}

func stampByte(r rune) bool {
	return r >= '0' && r <= '9' || r == 'T' || r == 'Z' || r == ':' || r == '.' || r == '+' || r == '-'
}

func measure(re *syntax.Regexp, words, stamps, ok *bool) int {
	note := func(r rune) {
		*words = *words && wordByte(r)
		*stamps = *stamps && stampByte(r)
	}
	switch re.Op {
	case syntax.OpEmptyMatch:
		return 0
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			*ok = false
		}
		for _, r := range re.Rune {
			note(r)
		}
		return len(re.Rune)
	case syntax.OpCharClass:
		for i := 0; i < len(re.Rune); i += 2 {
			if re.Rune[i+1] >= utf8.RuneSelf {
				*ok = false
				return 1
			}
			for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
				note(r)
			}
		}
		return 1
	case syntax.OpCapture:
		return measure(re.Sub[0], words, stamps, ok)
	case syntax.OpStar, syntax.OpPlus:
		measure(re.Sub[0], words, stamps, ok)
		return -1
	case syntax.OpQuest:
		return measure(re.Sub[0], words, stamps, ok)
	case syntax.OpRepeat:
		n := measure(re.Sub[0], words, stamps, ok)
		if re.Max < 0 || n < 0 {
			return -1
		}
		return n * re.Max
	case syntax.OpConcat, syntax.OpAlternate:
		total := 0
		for _, s := range re.Sub {
			n := measure(s, words, stamps, ok)
			switch {
			case n < 0 || total < 0:
				total = -1
			case re.Op == syntax.OpConcat:
				total += n
			default:
				total = max(total, n)
			}
		}
		return total
	}
	*ok = false
	return -1
}

// A classRun is ^[class]{least,most}$.
type classRun struct {
	ascii       [utf8.RuneSelf]bool
	ranges      []rune // beyond ASCII, pairs
	least, most int
}

func newClassRun(re *syntax.Regexp) *classRun {
	if re.Op != syntax.OpConcat || len(re.Sub) != 3 || re.Sub[0].Op != syntax.OpBeginText || re.Sub[2].Op != syntax.OpEndText {
		return nil
	}
	c := &classRun{least: 1, most: 1}
	s := re.Sub[1]
	switch s.Op {
	case syntax.OpStar:
		c.least, c.most, s = 0, -1, s.Sub[0]
	case syntax.OpPlus:
		c.least, c.most, s = 1, -1, s.Sub[0]
	case syntax.OpQuest:
		c.least, s = 0, s.Sub[0]
	case syntax.OpRepeat:
		c.least, c.most, s = s.Min, s.Max, s.Sub[0]
	}
	for s.Op == syntax.OpCapture {
		s = s.Sub[0]
	}
	pairs := s.Rune
	switch {
	case s.Op == syntax.OpCharClass:
	case s.Op == syntax.OpLiteral && len(s.Rune) == 1 && s.Flags&syntax.FoldCase == 0:
		pairs = []rune{s.Rune[0], s.Rune[0]}
	default:
		return nil
	}
	for i := 0; i < len(pairs); i += 2 {
		for r := pairs[i]; r <= pairs[i+1] && r < utf8.RuneSelf; r++ {
			c.ascii[r] = true
		}
		if pairs[i+1] >= utf8.RuneSelf {
			c.ranges = append(c.ranges, max(pairs[i], utf8.RuneSelf), pairs[i+1])
		}
	}
	return c
}

func (c *classRun) match(b []byte) bool {
	n := 0
	for i := 0; i < len(b); n++ {
		x := b[i]
		if x < utf8.RuneSelf {
			if !c.ascii[x] {
				return false
			}
			i++
			continue
		}
		if len(c.ranges) == 0 {
			return false
		}
		r, size := utf8.DecodeRune(b[i:])
		if !inRanges(c.ranges, r) {
			return false
		}
		i += size
	}
	return n >= c.least && (c.most < 0 || n <= c.most)
}

func inRanges(pairs []rune, r rune) bool {
	i := sort.Search(len(pairs)/2, func(i int) bool { return pairs[2*i+1] >= r })
	return i < len(pairs)/2 && pairs[2*i] <= r
}

// An automaton is a deterministic machine over classes of characters.
type automaton struct {
	ascii   [utf8.RuneSelf]uint8
	cuts    []rune // class k of characters beyond ASCII begins at cuts[k]
	above   []uint8
	classes int
	next    []uint16 // state × class → state
	now     []bool   // matched, whatever follows
	end     []bool   // matched if the text ends here
}

const (
	maxStates = 1024
	deadState = 0
)

// newAutomaton builds the machine, or nil when it would be large or needs word
// boundaries.
func newAutomaton(tree *syntax.Regexp) *automaton {
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil || len(prog.Inst) > 4*maxStates {
		return nil
	}
	cuts := []rune{0, utf8.RuneSelf}
	for i := range prog.Inst {
		in := &prog.Inst[i]
		switch in.Op {
		case syntax.InstRune, syntax.InstRune1:
			if syntax.Flags(in.Arg)&syntax.FoldCase != 0 {
				return nil
			}
			if len(in.Rune) == 1 {
				cuts = append(cuts, in.Rune[0], in.Rune[0]+1)
			} else {
				for k := 0; k < len(in.Rune); k += 2 {
					cuts = append(cuts, in.Rune[k], in.Rune[k+1]+1)
				}
			}
		case syntax.InstRuneAnyNotNL:
			cuts = append(cuts, '\n', '\n'+1)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(in.Arg)&^(syntax.EmptyBeginText|syntax.EmptyEndText) != 0 {
				return nil
			}
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	b := &builder{prog: prog, states: map[string]uint16{}}
	// Intervals that every instruction treats alike are one class.
	signatures := map[string]uint8{}
	classOf := make([]uint8, len(cuts))
	for k, r := range cuts {
		sig := make([]byte, 0, len(prog.Inst))
		for i := range prog.Inst {
			if b.consumes(i, r) {
				sig = append(sig, byte(i), byte(i>>8))
			}
		}
		id, ok := signatures[string(sig)]
		if !ok {
			if len(signatures) == 256 {
				return nil
			}
			id = uint8(len(signatures))
			signatures[string(sig)] = id
			b.samples = append(b.samples, r)
		}
		classOf[k] = id
	}
	a := &automaton{classes: len(b.samples)}
	for r := range rune(utf8.RuneSelf) {
		k := sort.Search(len(cuts), func(k int) bool { return cuts[k] > r }) - 1
		a.ascii[r] = classOf[k]
	}
	first := sort.Search(len(cuts), func(k int) bool { return cuts[k] >= utf8.RuneSelf })
	a.cuts, a.above = cuts[first:], classOf[first:]
	if !b.build(a) {
		return nil
	}
	return a
}

type builder struct {
	prog    *syntax.Prog
	samples []rune
	states  map[string]uint16
	sets    [][]uint32
	seen    []bool
}

func (b *builder) consumes(i int, r rune) bool {
	in := &b.prog.Inst[i]
	switch in.Op {
	case syntax.InstRune, syntax.InstRune1:
		return in.MatchRunePos(r) >= 0
	case syntax.InstRuneAny:
		return true
	case syntax.InstRuneAnyNotNL:
		return r != '\n'
	}
	return false
}

// close adds pc and what it reaches without a character.
func (b *builder) close(set []uint32, pc uint32, have syntax.EmptyOp) []uint32 {
	if b.seen[pc] {
		return set
	}
	b.seen[pc] = true
	in := &b.prog.Inst[pc]
	switch in.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		set = b.close(set, in.Out, have)
		return b.close(set, in.Arg, have)
	case syntax.InstCapture, syntax.InstNop:
		return b.close(set, in.Out, have)
	case syntax.InstEmptyWidth:
		if syntax.EmptyOp(in.Arg)&^have == 0 {
			return b.close(set, in.Out, have)
		}
		if syntax.EmptyOp(in.Arg)&syntax.EmptyBeginText&^have != 0 {
			return set
		}
		return append(set, pc) // waits for the end
	case syntax.InstFail:
		return set
	}
	return append(set, pc)
}

func (b *builder) state(set []uint32, a *automaton) (uint16, bool) {
	slices.Sort(set)
	var key bytes.Buffer
	for _, pc := range set {
		key.WriteByte(byte(pc))
		key.WriteByte(byte(pc >> 8))
	}
	if s, ok := b.states[key.String()]; ok {
		return s, true
	}
	if len(b.sets) >= maxStates || len(b.sets)*a.classes > 1<<16 {
		return 0, false
	}
	s := uint16(len(b.sets))
	b.states[key.String()] = s
	b.sets = append(b.sets, slices.Clone(set))
	now, end := false, false
	for _, pc := range set {
		if b.prog.Inst[pc].Op == syntax.InstMatch {
			now = true
		}
	}
	clear(b.seen)
	var atEnd []uint32
	for _, pc := range set {
		if b.prog.Inst[pc].Op == syntax.InstEmptyWidth {
			atEnd = b.close(atEnd, b.prog.Inst[pc].Out, syntax.EmptyEndText)
		}
	}
	for _, pc := range atEnd {
		if b.prog.Inst[pc].Op == syntax.InstMatch {
			end = true
		}
	}
	a.now, a.end = append(a.now, now), append(a.end, now || end)
	return s, true
}

// build makes state 0 the dead one and state 1 the start.
func (b *builder) build(a *automaton) bool {
	b.seen = make([]bool, len(b.prog.Inst))
	b.state(nil, a)
	start := b.close(nil, uint32(b.prog.Start), syntax.EmptyBeginText)
	if s, _ := b.state(start, a); s == deadState {
		return false
	}
	// An empty text is at its begin and its end at once; a pattern that asks for
	// the end before the begin is left to the general engine.
	clear(b.seen)
	for _, pc := range b.close(nil, uint32(b.prog.Start), syntax.EmptyBeginText|syntax.EmptyEndText) {
		if b.prog.Inst[pc].Op == syntax.InstMatch && !a.end[1] {
			return false
		}
	}
	for s := 0; s < len(b.sets); s++ {
		for _, r := range b.samples {
			clear(b.seen)
			var set []uint32
			for _, pc := range b.sets[s] {
				if b.consumes(int(pc), r) {
					set = b.close(set, b.prog.Inst[pc].Out, 0)
				}
			}
			if s != deadState {
				set = b.close(set, uint32(b.prog.Start), 0) // it may also begin later
			}
			t, ok := b.state(set, a)
			if !ok {
				return false
			}
			a.next = append(a.next, t)
		}
	}
	return true
}

func (a *automaton) match(b []byte) bool {
	s := 1
	if a.now[s] {
		return true
	}
	for i := 0; i < len(b); {
		var class uint8
		if c := b[i]; c < utf8.RuneSelf {
			class = a.ascii[c]
			i++
		} else {
			r, size := utf8.DecodeRune(b[i:])
			k := sort.Search(len(a.cuts), func(k int) bool { return a.cuts[k] > r }) - 1
			class = a.above[k]
			i += size
		}
		s = int(a.next[s*a.classes+int(class)])
		if a.now[s] {
			return true
		}
		if s == deadState {
			return false
		}
	}
	return a.end[s]
}

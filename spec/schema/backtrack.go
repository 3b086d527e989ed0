package schema

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// A backtracker decides patterns that no automaton can: those with lookaround
// and back references, by the backtracking of ECMA-262 section 22.2.2. Its work
// is counted in steps, so that what it may do for one value is the same on an
// idle machine and on a busy one.
type backtracker struct {
	code     []instr
	groups   int
	begins   bool // it can match at the beginning only
	machines sync.Pool
}

type opcode uint8

const (
	opRun    opcode = iota // low to high characters of a set; x: the fewest first
	opBegin                // ^
	opEnd                  // $
	opBound                // \b, negated: \B
	opSplit                // try x, then y
	opJump                 // to x
	opSave                 // position into slot x
	opReset                // slots x to y are unset
	opBack                 // what group x has matched
	opLook                 // the code behind it holds here; continue at x
	opBehind               // the same for what ends here
	opMark                 // position into slot x, of a loop
	opMoved                // fails where the position is still that of slot x
	opDone                 // the end of an assertion, or of all
)

type instr struct {
	op        opcode
	not, fold bool
	lazy      bool
	x, y      int
	low, high int    // of a run; high -1 = open
	set       []rune // pairs
}

// Bounds of a program, and of the steps that one value may take: a base, and
// some for each of its characters.
const (
	backtrackCode = 1 << 15
	backtrackBase = 1 << 20
	backtrackRune = 32
)

type backtrackParser struct {
	t     translator
	code  []instr
	named map[string]int
	group int // begun so far
	total int // in the whole pattern
	slots int // of loops, numbered behind the groups'
	fold  bool
	depth int
}

func newBacktracker(text string) (*backtracker, error) {
	p := &backtrackParser{t: translator{in: []rune(text)}, named: map[string]int{}}
	p.count()
	p.slots = 2 * (p.total + 1)
	if err := p.alternatives(); err != nil {
		return nil, err
	}
	if p.t.i < len(p.t.in) {
		return nil, errors.New("a bracket is closed that was not opened")
	}
	p.emit(instr{op: opDone})
	b := &backtracker{code: p.code, groups: p.total, begins: p.code[0].op == opBegin}
	slots := p.slots
	b.machines.New = func() any { return &machine{code: b.code, slots: make([]int32, slots)} }
	return b, nil
}

// count finds the groups before they are referred to.
func (p *backtrackParser) count() {
	in := p.t.in
	for i := 0; i < len(in); i++ {
		switch in[i] {
		case '\\':
			i++
		case '[':
			for i++; i < len(in) && in[i] != ']'; i++ {
				if in[i] == '\\' {
					i++
				}
			}
		case '(':
			if i+1 < len(in) && in[i+1] == '?' {
				if i+3 >= len(in) || in[i+2] != '<' || in[i+3] == '=' || in[i+3] == '!' {
					continue
				}
				if end := slices.Index(in[i:], '>'); end > 0 {
					p.named[string(in[i+3:i+end])] = p.total + 1
				}
			}
			p.total++
		}
	}
}

func (p *backtrackParser) emit(in instr) int {
	p.code = append(p.code, in)
	return len(p.code) - 1
}

func (p *backtrackParser) peek(s string) bool {
	return strings.HasPrefix(string(p.t.in[p.t.i:min(len(p.t.in), p.t.i+len(s))]), s)
}

func (p *backtrackParser) alternatives() error {
	begin := len(p.code)
	if err := p.sequence(); err != nil {
		return err
	}
	if !p.peek("|") {
		return nil
	}
	p.t.i++
	// What is read stands behind a choice, and ends in a jump over the rest.
	p.insert(begin, instr{op: opSplit, x: begin + 1, y: len(p.code) + 2})
	jump := p.emit(instr{op: opJump})
	if err := p.alternatives(); err != nil {
		return err
	}
	p.code[jump].x = len(p.code)
	return nil
}

// insert puts an instruction at a place, and moves the targets of those behind it.
func (p *backtrackParser) insert(at int, in instr) {
	p.code = slices.Insert(p.code, at, in)
	shift(p.code[at+1:], at, 1)
}

// shift moves the targets in code that lie at or behind from.
func shift(code []instr, from, by int) {
	for i := range code {
		switch in := &code[i]; in.op {
		case opSplit:
			if in.y >= from {
				in.y += by
			}
			fallthrough
		case opJump, opLook, opBehind:
			if in.x >= from {
				in.x += by
			}
		}
	}
}

func (p *backtrackParser) sequence() error {
	for p.t.i < len(p.t.in) && !p.peek("|") && !p.peek(")") {
		if len(p.code) > backtrackCode {
			return errors.New("the pattern is too large")
		}
		begin, groups := len(p.code), p.group
		able, err := p.atom()
		if err != nil {
			return err
		}
		low, high, lazy, ok, err := p.quantifier()
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if !able {
			return errors.New("nothing to repeat")
		}
		if err := p.repeat(begin, groups, low, high, lazy); err != nil {
			return err
		}
	}
	return nil
}

func (p *backtrackParser) quantifier() (low, high int, lazy, ok bool, err error) {
	if p.t.i >= len(p.t.in) {
		return 0, 0, false, false, nil
	}
	switch p.t.in[p.t.i] {
	case '*':
		low, high = 0, -1
		p.t.i++
	case '+':
		low, high = 1, -1
		p.t.i++
	case '?':
		low, high = 0, 1
		p.t.i++
	case '{':
		n := p.t.repeat()
		if n == 0 {
			return 0, 0, false, false, nil
		}
		from, to, both := strings.Cut(string(p.t.in[p.t.i+1:p.t.i+n-1]), ",")
		p.t.i += n
		if low, err = strconv.Atoi(from); err == nil {
			high = low
			if both && to == "" {
				high = -1
			} else if both {
				high, err = strconv.Atoi(to)
			}
		}
		if err != nil || low > 1<<24 || high > 1<<24 || high >= 0 && high < low {
			return 0, 0, false, false, errors.New("a repetition is out of range")
		}
	default:
		return 0, 0, false, false, nil
	}
	if p.peek("?") {
		lazy = true
		p.t.i++
	}
	return low, high, lazy, true, nil
}

// repeat repeats the code from begin on.
func (p *backtrackParser) repeat(begin, groups, low, high int, lazy bool) error {
	body := slices.Clone(p.code[begin:])
	p.code = p.code[:begin]
	if len(body) == 1 && body[0].op == opRun && body[0].low == 1 && body[0].high == 1 {
		body[0].low, body[0].high, body[0].lazy = low, high, lazy
		p.emit(body[0])
		return nil
	}
	if n := max(low, high) * (len(body) + 4); n > backtrackCode {
		return errors.New("a repetition is too large")
	}
	once := func() {
		if p.group > groups {
			p.emit(instr{op: opReset, x: 2 * (groups + 1), y: 2*p.group + 2})
		}
		at := len(p.code)
		p.code = append(p.code, body...)
		shift(p.code[at:], begin, at-begin)
	}
	split := func() int { return p.emit(instr{op: opSplit}) }
	enter := func(at int, inside, outside int) {
		p.code[at].x, p.code[at].y = inside, outside
		if lazy {
			p.code[at].x, p.code[at].y = outside, inside
		}
	}
	for range low {
		once()
	}
	if high < 0 {
		slot := p.slots
		p.slots++
		at := split()
		p.emit(instr{op: opMark, x: slot})
		once()
		p.emit(instr{op: opMoved, x: slot})
		p.emit(instr{op: opJump, x: at})
		enter(at, at+1, len(p.code))
		return nil
	}
	var splits []int
	for range high - low {
		slot := p.slots
		p.slots++
		splits = append(splits, split())
		p.emit(instr{op: opMark, x: slot})
		once()
		p.emit(instr{op: opMoved, x: slot})
	}
	for _, at := range splits {
		enter(at, at+1, len(p.code))
	}
	return nil
}

// atom reads one term. able: it may be repeated.
func (p *backtrackParser) atom() (able bool, err error) {
	t := &p.t
	switch r := t.in[t.i]; r {
	case '^':
		t.i++
		p.emit(instr{op: opBegin})
		return false, nil
	case '$':
		t.i++
		p.emit(instr{op: opEnd})
		return false, nil
	case '(':
		return p.bracket()
	case '*', '+', '?':
		return false, errors.New("nothing to repeat")
	case '.':
		t.i++
		return true, p.set(ecmaDot)
	case '[':
		t.out.Reset()
		if err := t.class(); err != nil {
			return false, err
		}
		return true, p.set(t.out.String())
	case '\\':
		return p.escaped()
	default:
		t.i++
		p.literal(r)
		return true, nil
	}
}

func (p *backtrackParser) literal(r rune) {
	set := []rune{r, r}
	if p.fold {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			set = append(set, f, f)
		}
		set = sorted(set)
	}
	p.emit(instr{op: opRun, low: 1, high: 1, set: set})
}

func sorted(pairs []rune) []rune {
	var all [][2]rune
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, [2]rune{pairs[i], pairs[i+1]})
	}
	slices.SortFunc(all, func(a, b [2]rune) int { return int(a[0] - b[0]) })
	out := make([]rune, 0, len(pairs))
	for _, x := range all {
		out = append(out, x[0], x[1])
	}
	return out
}

// set emits one character of a class in Go's syntax.
func (p *backtrackParser) set(class string) error {
	flags := syntax.Perl
	if p.fold {
		flags |= syntax.FoldCase
	}
	tree, err := syntax.Parse(class, flags)
	if err != nil {
		return err
	}
	in := instr{op: opRun, low: 1, high: 1}
	switch {
	case tree.Op == syntax.OpCharClass:
		in.set = tree.Rune
	case tree.Op == syntax.OpLiteral && len(tree.Rune) == 1:
		p.literal(tree.Rune[0])
		return nil
	case tree.Op == syntax.OpAnyChar:
		in.set = []rune{0, unicode.MaxRune}
	case tree.Op == syntax.OpAnyCharNotNL:
		in.set = []rune{0, '\n' - 1, '\n' + 1, unicode.MaxRune}
	case tree.Op == syntax.OpNoMatch:
	default:
		return fmt.Errorf("%s is no class of characters", class)
	}
	p.emit(in)
	return nil
}

func (p *backtrackParser) escaped() (able bool, err error) {
	t := &p.t
	if t.i+1 < len(t.in) {
		switch r := t.in[t.i+1]; {
		case r == 'b' || r == 'B':
			t.i += 2
			p.emit(instr{op: opBound, not: r == 'B'})
			return false, nil
		case r == 'k' && len(p.named) > 0:
			end := slices.Index(t.in[t.i:], '>')
			if end < 4 || t.in[t.i+2] != '<' {
				return false, errors.New(`\k without a name`)
			}
			n, ok := p.named[string(t.in[t.i+3:t.i+end])]
			if !ok {
				return false, errors.New(`\k names no group`)
			}
			t.i += end + 1
			p.emit(instr{op: opBack, x: n, fold: p.fold})
			return true, nil
		case r >= '1' && r <= '9':
			n := 0
			for t.i++; t.i < len(t.in) && t.in[t.i] >= '0' && t.in[t.i] <= '9' && n < 1000; t.i++ {
				n = n*10 + int(t.in[t.i]-'0')
			}
			if n > p.total {
				return false, errors.New("a reference to a group that is not there")
			}
			p.emit(instr{op: opBack, x: n, fold: p.fold})
			return true, nil
		}
	}
	set, lit, err := t.escape(false)
	if err != nil {
		return false, err
	}
	if set != "" {
		return true, p.set(set)
	}
	p.literal(lit)
	return true, nil
}

func (p *backtrackParser) bracket() (able bool, err error) {
	t := &p.t
	if p.depth++; p.depth > 200 {
		return false, errors.New("groups are nested too deep")
	}
	fold := p.fold
	end := func() error {
		defer func() { p.depth-- }()
		if err := p.alternatives(); err != nil {
			return err
		}
		if !p.peek(")") {
			return errors.New("a bracket is not closed")
		}
		t.i++
		p.fold = fold
		return nil
	}
	for _, look := range []struct {
		text string
		in   instr
	}{{"(?=", instr{op: opLook}}, {"(?!", instr{op: opLook, not: true}}, {"(?<=", instr{op: opBehind}}, {"(?<!", instr{op: opBehind, not: true}}} {
		if p.peek(look.text) {
			t.i += len(look.text)
			at := p.emit(look.in)
			if err := end(); err != nil {
				return false, err
			}
			p.emit(instr{op: opDone})
			p.code[at].x = len(p.code)
			return look.in.op == opLook, nil
		}
	}
	switch {
	case p.peek("(?:"):
		t.i += 3
		return true, end()
	case p.peek("(?i:"):
		t.i += 4
		p.fold = true
		return true, end()
	case p.peek("(?i)"): // up to the end of the group
		t.i += 4
		p.depth--
		p.fold = true
		return false, nil
	case p.peek("(?<"):
		k := slices.Index(t.in[t.i:], '>')
		if k < 4 {
			return false, errors.New("a group without a name")
		}
		t.i += k + 1
	case p.peek("(?"):
		return false, errors.New("a kind of group that ECMA-262 does not know")
	default:
		t.i++
	}
	p.group++
	n := p.group
	p.emit(instr{op: opSave, x: 2 * n})
	if err := end(); err != nil {
		return false, err
	}
	p.emit(instr{op: opSave, x: 2*n + 1})
	return true, nil
}

// A machine runs a program over one text.
type machine struct {
	code  []instr
	in    []rune
	slots []int32
	stack []trail
	steps int
	limit int
}

// A trail is what to go back to: another way, a shorter or longer run, or what
// a slot was.
type trail struct {
	pc   int32 // -1: restore
	pos  int32 // or slot
	to   int32 // of a run: its other end; or the slot's old value
	runs int8  // 1: shorter, -1: longer
}

// match reports whether b holds a match, and what steps that took. A text that
// takes more than its bound does not match.
func (b *backtracker) match(text []byte) (ok bool, steps int) {
	m := b.machines.Get().(*machine)
	m.in = m.in[:0]
	for _, r := range string(text) {
		m.in = append(m.in, r)
	}
	m.steps, m.limit = len(m.in)/8+1, backtrackBase+backtrackRune*len(m.in)
	for at := 0; at <= len(m.in) && !ok && m.steps < m.limit; at++ {
		for i := range m.slots {
			m.slots[i] = -1
		}
		m.stack = m.stack[:0]
		_, ok = m.run(0, int32(at), -1)
		if b.begins {
			break
		}
	}
	ok, steps = ok && m.steps < m.limit, m.steps
	if cap(m.stack) > 1<<14 || cap(m.in) > 1<<16 {
		m.stack, m.in = nil, nil
	}
	b.machines.Put(m)
	return ok, steps
}

func (m *machine) set(slot int, v int32) {
	m.stack = append(m.stack, trail{pc: -1, pos: int32(slot), to: m.slots[slot]})
	m.slots[slot] = v
}

func word(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
}

// run runs from pc on until the end of its part. until is where the end must
// be, -1 for anywhere. What it leaves on the stack only restores slots.
func (m *machine) run(pc int, pos, until int32) (end int32, ok bool) {
	base := len(m.stack)
	for {
		m.steps++
		if m.steps >= m.limit {
			return 0, false
		}
		in := &m.code[pc]
		good := true
		switch in.op {
		case opRun:
			most := len(m.in) - int(pos)
			if in.high >= 0 {
				most = min(most, in.high)
			}
			if in.lazy {
				most = min(most, in.low)
			}
			n := 0
			for n < most && inRanges(in.set, m.in[int(pos)+n]) {
				n++
			}
			m.steps += n
			if good = n >= in.low; good {
				if in.lazy {
					m.stack = append(m.stack, trail{pc: int32(pc), pos: pos + int32(n), to: pos, runs: -1})
				} else if n > in.low {
					m.stack = append(m.stack, trail{pc: int32(pc), pos: pos + int32(n), to: pos + int32(in.low), runs: 1})
				}
				pos += int32(n)
				pc++
			}
		case opBegin:
			good = pos == 0
			pc++
		case opEnd:
			good = int(pos) == len(m.in)
			pc++
		case opBound:
			before := pos > 0 && word(m.in[pos-1])
			after := int(pos) < len(m.in) && word(m.in[pos])
			good = (before != after) != in.not
			pc++
		case opSplit:
			m.stack = append(m.stack, trail{pc: int32(in.y), pos: pos})
			pc = in.x
		case opJump:
			pc = in.x
		case opSave, opMark:
			m.set(in.x, pos)
			pc++
		case opReset:
			for k := in.x; k < in.y; k++ {
				if m.slots[k] >= 0 {
					m.set(k, -1)
				}
			}
			pc++
		case opMoved:
			good = m.slots[in.x] != pos
			pc++
		case opBack:
			from, to := m.slots[2*in.x], m.slots[2*in.x+1]
			if from >= 0 && to >= from { // a group that has not matched is empty
				n := to - from
				if good = int(pos+n) <= len(m.in); good {
					for k := range n {
						a, b := m.in[from+k], m.in[pos+k]
						if a != b && !(in.fold && strings.EqualFold(string(a), string(b))) {
							good = false
							break
						}
					}
					m.steps += int(n)
					pos += n
				}
			}
			pc++
		case opLook, opBehind:
			mark := len(m.stack)
			held := false
			if in.op == opLook {
				_, held = m.run(pc+1, pos, -1)
			} else {
				for at := pos; at >= 0 && !held && m.steps < m.limit; at-- {
					_, held = m.run(pc+1, at, pos)
				}
			}
			if m.steps >= m.limit {
				return 0, false
			}
			if in.not {
				m.unwind(mark)
			}
			good = held != in.not
			pc = in.x
		case opDone:
			if good = until < 0 || pos == until; good {
				kept := base
				for _, x := range m.stack[base:] {
					if x.pc < 0 {
						m.stack[kept] = x
						kept++
					}
				}
				m.stack = m.stack[:kept]
				return pos, true
			}
		}
		if good {
			continue
		}
		if pc, pos, ok = m.back(base); !ok {
			return 0, false
		}
	}
}

// unwind restores the slots up to a mark.
func (m *machine) unwind(mark int) {
	for i := len(m.stack) - 1; i >= mark; i-- {
		if x := m.stack[i]; x.pc < 0 {
			m.slots[x.pos] = x.to
		}
	}
	m.stack = m.stack[:mark]
}

// back finds the last way that was not tried.
func (m *machine) back(base int) (pc int, pos int32, ok bool) {
	for len(m.stack) > base {
		x := &m.stack[len(m.stack)-1]
		m.steps++
		switch {
		case x.pc < 0:
			m.slots[x.pos] = x.to
		case x.runs == 0:
			pc, pos = int(x.pc), x.pos
			m.stack = m.stack[:len(m.stack)-1]
			return pc, pos, true
		case x.runs > 0: // one less
			x.pos--
			pc, pos = int(x.pc)+1, x.pos
			if x.pos == x.to {
				m.stack = m.stack[:len(m.stack)-1]
			}
			return pc, pos, true
		default: // one more
			in := &m.code[x.pc]
			if int(x.pos) < len(m.in) && (in.high < 0 || int(x.pos-x.to) < in.high) && inRanges(in.set, m.in[x.pos]) {
				x.pos++
				return int(x.pc) + 1, x.pos, true
			}
		}
		m.stack = m.stack[:len(m.stack)-1]
	}
	return 0, 0, false
}

// Package inspect judges one value of a request: clean, or an attack of a named
// class. In comes the value as any framework would hand it to the application,
// that is after the one decoding that its place in the message implies; out
// goes a Finding, whose zero value means clean. It proves before it matches: a
// value of a harmless shape is clean after one look at its bytes, the rest goes
// through one multi-literal pass over the forms an upstream may turn it into,
// and only what that pass suspects is tokenised and weighed. It never does
// I/O, never keeps, logs or returns any part of a value, and its work is
// bounded by the size of the value.
package inspect

import (
	"bytes"
	"math/bits"
	"strings"
	"unsafe"

	"sallyport.dev"
)

// Threshold is the score from which on a value is judged an attack.
const Threshold = 5

// ambiguous is the score from which on second opinions are asked.
const ambiguous = 3

// Bounds of one judgement.
const (
	maxForms  = 5         // forms of the value, the first included
	maxLook   = 64 << 10  // bytes of a value that are read at once; longer ones are read in pieces
	overlap   = 4 << 10   // by which the pieces overlap
	maxSteps  = 48 << 10  // tokens and marks looked at, over all forms
	maxOpened = 256 << 10 // bytes that decoding may make in all
)

// A Finding says what a value was found to be. The zero Finding is clean.
type Finding struct {
	Rule    string // stable name of the strongest sign: "sqli.tautology"
	Class   string // class of the attack: "sqli", "xss", "traversal", …
	Decoded string // how the attack was reached: "percent×2, base64"; "" = as it came
	Score   int    // what the signs weigh together; a hit is Threshold or more
}

// Hit reports whether the value is judged an attack.
func (f Finding) Hit() bool { return f.Class != "" }

type class uint8

const (
	clSQL class = iota
	clXSS
	clCmd
	clPath
	clLookup
	clTemplate
	clXXE
	clShock
	clNoSQL
	clLDAP
	clXPath
	clHeader
	clMail
	clSSRF
	clObject
	clCode
	clProto
	clSSI
	classes
)

var classNames = [classes]string{"sqli", "xss", "cmdi", "traversal", "log4shell", "ssti", "xxe", "shellshock", "nosql", "ldap", "xpath", "crlf", "mail", "ssrf", "deserialisation", "code", "pollution", "ssi"}

type sign struct {
	rule  string
	score int
}

// judge is the state of one judgement.
type judge struct {
	in      sallyport.In
	kinds   uint32 // of the form under the lens
	decoded int    // decodings that led to it
	layers  [8]uint8
	sign    [classes]sign
	steps   int
	limit   int
	forms   int
	opened  int
	low     []byte // the form in lower case
	tmp     []byte
	out     []byte
	at      places
	best    class
	noisy   bool // the value looks like chance
}

// reset makes j ready for a value; its buffers stay.
func (j *judge) reset(in sallyport.In) {
	j.in, j.limit = in, maxSteps
	j.kinds, j.decoded, j.steps, j.forms, j.opened, j.best, j.noisy = 0, 0, 0, 0, 0, 0, false
	j.layers, j.sign = [8]uint8{}, [classes]sign{}
}

func (j *judge) add(c class, rule string, n int) {
	if s := &j.sign[c]; n > s.score {
		s.rule, s.score = rule, n
	}
}

// A Scratch holds the buffers of one judgement so that they are used again, and
// with them the last value's decoded forms. The zero value is ready; it must
// not be used by two goroutines at once.
type Scratch struct {
	j     judge
	asked int // askings of the Core Rule Set that are lent out
	read  int // values read since the last one was earned back
	spent bool
	form  [maxForms][]byte
	low   [2][]byte
}

// Begin makes s ready for the values of another request.
func (s *Scratch) Begin() { s.asked, s.read, s.spent = 0, 0, false }

// Spent reports whether a second opinion was wanted since Begin and could not be
// had any more: what was found clean since then might be judged otherwise by
// itself, and is not to be remembered.
func (s *Scratch) Spent() bool { return s.spent }

// Check judges the value v that stood in the given part of a message. It reads
// v and keeps nothing of it. s may be nil, at the price of allocations. The
// finding depends on v and in alone, unless a flood of ambiguous values has used
// up what s lends; call Begin between requests.
func (e *Engine) Check(v []byte, in sallyport.In, s *Scratch) Finding {
	k := scan(v)
	// Proof: names, numbers and codes spell nothing, unless they are base64.
	if k&^plain == 0 && (len(v) == 0 || v[0] != '_') && (len(v) < 12 || !perhapsBase64(v) && !spelled(v) && !serial(v)) {
		return Finding{}
	}
	if k&^(plain|bDot|bMild) == 0 && k&(bDot|bMild) != 0 && len(v) < 64 && v[0] != '_' && harmlessToken(v) {
		return Finding{}
	}
	f := e.auto.families(v)
	if !suspicious(f, k, v) && !decodable(v, k) && (k&^(plain|bSlash|bPlus|bEqual) != 0 || !perhapsBase64(v)) {
		return Finding{}
	}
	if s == nil {
		s = new(Scratch)
	}
	if len(v) <= maxLook {
		return e.examine(v, in, k, f, s)
	}
	// Long values are read in pieces that overlap by more than any attack needs.
	for from := 0; ; from += maxLook - overlap {
		w := v[from:min(len(v), from+maxLook)]
		if f := e.examine(w, in, scan(w), e.auto.families(w), s); f.Hit() || from+maxLook >= len(v) {
			return f
		}
	}
}

// CheckString is Check for a string.
func (e *Engine) CheckString(v string, in sallyport.In, s *Scratch) Finding {
	return e.Check(unsafe.Slice(unsafe.StringData(v), len(v)), in, s)
}

// harmlessToken proves host names, addresses, times, versions, e-mail addresses:
// single dots and colons between names. "data:", "c:" and their like have
// letters on the left of a colon and are left to the pass.
func harmlessToken(v []byte) bool {
	prev := byte('.')
	for i, c := range v {
		switch {
		case c == '.':
			if prev == '.' && i > 0 || i == 0 {
				return false
			}
		case c == ':':
			if i > 0 && !isDigit(v[0]) {
				return false
			}
		case c == '?':
			return false
		case c == '@' || c == '!' || c == '^' || c == '~':
			if i == 0 || c != '@' {
				return false
			}
		}
		prev = c
	}
	if v[0]|32 == 'c' && len(v) > 21 && bytes.EqualFold(v[:21], []byte("constructor.prototype")) {
		return false
	}
	for _, p := range fileEnds {
		if len(v) >= len(p) && foldedSuffix(v, p) {
			return false
		}
	}
	return true
}

var fileEnds = []string{".ini", ".asa", ".xml", ".config", ".conf", ".cnf", ".log", ".htaccess", ".htpasswd", ".env", ".bat"}

func foldedSuffix(v []byte, p string) bool {
	v = v[len(v)-len(p):]
	for i, c := range v {
		if lower(c) != p[i] {
			return false
		}
	}
	return true
}

// perhapsBase64 reports whether a long token may be text in base64: both cases
// of letters, a length that fits, and not the alphabet of a hash.
func perhapsBase64(v []byte) bool {
	if len(v) < 12 || len(v)%4 == 1 {
		return false
	}
	upper, low, space := false, false, false
	for _, c := range v[:min(len(v), 48)] {
		upper = upper || c-'A' < 26
		low = low || c-'a' < 26
		space = space || c == ' '
	}
	if !upper || !low || space {
		return false
	}
	var head [24]byte
	n := 0
	for i := 0; i+4 <= len(v) && n < 24; i += 4 {
		x, ok := quad(v[i : i+4])
		if !ok {
			break
		}
		head[n], head[n+1], head[n+2] = byte(x>>16), byte(x>>8), byte(x)
		n += 3
	}
	return n >= 9 && textual(head[:n])
}

// serial reports whether a token begins as serialised objects do.
func serial(v []byte) bool {
	switch v[0] {
	case 'r', 'A', 'g':
		for _, p := range [...]string{"rO0AB", "AAEAAAD", "gASV", "gAJj", "gANj"} {
			if len(v) > len(p) && string(v[:len(p)]) == p {
				return true
			}
		}
	case 'a':
		return len(v) > 8 && string(v[:8]) == "aced0005"
	}
	return false
}

// spelled reports whether a token writes dots or separators as "0x2e", "0x2f", "0x5c".
func spelled(v []byte) bool {
	for i := 0; i+4 < len(v); i++ {
		n := bytes.IndexByte(v[i:], 'x')
		if n < 0 {
			return false
		}
		if i += n; i > 0 && i+2 < len(v) && v[i-1] == '0' && (v[i+1] == '2' && v[i+2]|32 >= 'e' || v[i+1] == '5' && v[i+2]|32 == 'c') {
			return true
		}
	}
	return false
}

func quad(v []byte) (x uint32, ok bool) {
	for _, c := range v {
		var b uint32
		switch {
		case c-'A' < 26:
			b = uint32(c - 'A')
		case c-'a' < 26:
			b = uint32(c-'a') + 26
		case isDigit(c):
			b = uint32(c-'0') + 52
		case c == '+' || c == '-':
			b = 62
		case c == '/' || c == '_':
			b = 63
		default:
			return 0, false
		}
		x = x<<6 | b
	}
	return x, true
}

// scripted are the bytes of which code needs one.
const scripted = bOpen | bTick | bEqual | bSquare | bCurly | bLess

// apostrophes reports whether every single quote stands inside a word: what
// follows it begins with a name, so no string could end there and a statement
// go on.
func apostrophes(v []byte) bool {
	for i := 0; i < len(v); i++ {
		n := bytes.IndexByte(v[i:], '\'')
		if n < 0 {
			return true
		}
		i += n
		var buf [24]byte
		e := i + 1
		for e < len(v) && e-i-1 < len(buf) && (isAlnum(v[e]) || v[e] == '_') {
			buf[e-i-1] = lower(v[e])
			e++
		}
		if n := e - i - 1; n == 0 || n == len(buf) || !isAlpha(buf[0]) || sqlWords[string(buf[:n])] != (sqlWord{}) {
			return false
		}
	}
	return true
}

// begins reports whether the first word is a program's name and an option or
// an address follows.
func begins(v []byte) bool {
	var buf [16]byte
	n := 0
	for n < len(v) && n < len(buf) && isAlnum(v[n]) {
		buf[n] = lower(v[n])
		n++
	}
	e := n
	if n+4 < len(v) && v[n] == '.' && v[n+4] == ' ' { // ping.exe
		e += 4
	}
	return n > 1 && e+2 < len(v) && v[e] == ' ' && kinds[v[e+1]]&(bDash|bDigit|bStar|bDot) != 0 && shellPrograms.has(buf[:n])
}

// commanded reports whether a separator of commands is followed by one.
func commanded(v []byte) bool {
	for i := 0; i < len(v); i++ {
		if kinds[v[i]]&(bSemi|bLine|bPipe|bAmp) == 0 {
			continue
		}
		k := i + 1
		for k < len(v) && (isSpace(v[k]) || kinds[v[k]]&(bQuote|bDouble|bSlash|bBack|bDot|bOpen|bCurly) != 0) {
			k++
		}
		var buf [16]byte
		n := 0
		for k < len(v) && n < len(buf) && (isAlnum(v[k]) || v[k] == '_') {
			buf[n] = lower(v[k])
			n++
			k++
		}
		if n == len(buf) || n > 0 && (shellPrograms.has(buf[:n]) || k < len(v) && kinds[v[k]]&(bSlash|bQuote|bDouble|bBack|bDollar) != 0) {
			return true
		}
		if i = k - 1; n == 0 && k < len(v) && kinds[v[k]]&(bAlpha|bDigit|bMild|bSemi) == 0 {
			return true
		}
	}
	return v[0] == '\'' || v[0] == '"'
}

// suspicious reports whether the families found, together with the bytes that
// they would need, are worth reading the value for.
func suspicious(f family, k uint32, v []byte) bool {
	const quotes = bQuote | bDouble | bTick
	switch {
	case k&(bLess|bCtl|bTick|bBack) != 0:
		return true
	case f == 0:
		return k&(quotes|bPipe|bSemi|bAmp|bEqual|bOpen|bStar) != 0 && (k&quotes != 0 && k&(bEqual|bHash|bSemi|bPlus|bOpen|bPipe|bStar|bAmp) != 0 || k&bOpen != 0 && k&(bPipe|bAmp|bStar|bEqual) != 0)
	case f&(fDots|fFile|fLookup|fXML|fNoSQL|fObject|fProto|fHeader|fCode|fShell|fURL) != 0:
		return true
	case f&fSQL != 0:
		return true
	case f&fLogic != 0 && k&bSpace != 0 && isDigit(v[0]):
		return true
	case f&fLogic != 0 && k&(quotes|bEqual|bOpen|bMore|bHash|bAmp|bPipe) != 0 &&
		!(k&^(plain|bSpace|bDot|bMild|bSemi|bQuote|bHigh) == 0 && apostrophes(v)):
		return true
	case f&fScheme != 0, f&fHandler != 0 && k&bEqual != 0, f&fScript != 0 && (k&scripted != 0 || k&(bStar|bSlash) == bStar|bSlash):
		return true
	case f&fCommand != 0 && k&(bPipe|bAmp|bSlash|bDollar|bOpen|bPlus) != 0, f&fCommand != 0 && k&(bSemi|bLine) != 0 && (k&bSpace == 0 || commanded(v)), f&fCommand != 0 && k&bSpace != 0 && k&(bDash|bDot|bStar) != 0 && begins(v):
		return true
	}
	return k&quotes != 0 && k&(bEqual|bHash|bSemi|bOpen|bPipe|bAmp) != 0 && !(k&(bDouble|bTick) == 0 && apostrophes(v))
}

// examine reads the value in every form that an upstream may give it.
func (e *Engine) examine(v []byte, in sallyport.In, k uint32, f family, s *Scratch) Finding {
	if s.read++; s.read >= earnAfter {
		s.read, s.asked = 0, max(0, s.asked-1)
	}
	j := &s.j
	j.reset(in)
	form := v
	j.noisy = noise(k)
	for {
		e.read(form, k, f, j)
		if c, ok := j.verdict(); ok {
			return j.finding(c)
		}
		if j.forms++; j.forms >= maxForms {
			break
		}
		j.opened += len(form)
		if j.opened > maxOpened {
			break
		}
		next, did := s.form[j.forms-1][:0], 0
		if decodable(form, k) {
			next, did = decode(next, form)
			s.form[j.forms-1] = next
		}
		if did == 0 {
			if next, did = e.other(s.form[j.forms-1][:0], form, k, j); did == 0 {
				break
			}
			s.form[j.forms-1] = next
		}
		j.note(did)
		form = next
		k = scan(form)
		f = e.auto.families(form)
	}
	if j.steps > j.limit {
		// Made to exhaust the reader: what it hides may be in the part not read.
		return Finding{Rule: "inspect.bound", Class: "evasion", Decoded: j.route(), Score: Threshold}
	}
	return e.opinions(v, j, s)
}

func (j *judge) note(did int) {
	j.decoded |= did
	for i := range j.layers {
		if did>>i&1 != 0 {
			j.layers[i]++
		}
	}
}

// other tries the decodings that change a value as a whole.
func (e *Engine) other(dst, v []byte, k uint32, j *judge) ([]byte, int) {
	if k&bPlus != 0 && k&bSpace == 0 && j.decoded&dPlus == 0 {
		for _, c := range v {
			if c == '+' {
				c = ' '
			}
			dst = append(dst, c)
		}
		return dst, dPlus
	}
	if j.decoded&dBase64 == 0 {
		b := v
		declared := false
		if n := bytes.Index(v[:min(len(v), 128)], []byte(";base64,")); n >= 0 {
			b, declared = v[n+8:], true
		}
		b = bytes.TrimRight(b, " \r\n")
		if declared || scan(b)&^(plain|bSlash|bPlus|bEqual) == 0 && perhapsBase64(b) {
			if out, ok := base64Text(dst, b, declared); ok {
				return out, dBase64
			}
		}
	}
	if k&bCtl != 0 && j.decoded&dJoined == 0 {
		for _, c := range v {
			if kinds[c]&bCtl == 0 {
				dst = append(dst, c)
			}
		}
		return dst, dJoined
	}
	return dst, 0
}

// read lets the recognisers of the suspected families read one form.
func (e *Engine) read(v []byte, k uint32, f family, j *judge) {
	j.kinds = k
	if len(v) > 2*maxLook { // UTF-8 spells some encoded bytes with two
		v = v[:2*maxLook]
	}
	const quotes = bQuote | bDouble | bTick
	if f&fSQL != 0 || len(v) > 0 && v[0] == '(' && k&(bEqual|bClose) == bEqual|bClose || f&fLogic != 0 && isDigit(v[0]) || f&fLogic != 0 && k&(quotes|bEqual|bOpen|bMore|bLess|bAmp|bPipe) != 0 || k&quotes != 0 && k&(bEqual|bHash|bSemi|bPlus|bOpen|bPipe|bStar|bDash) != 0 {
		j.sql(v)
	}
	if f&^(fSQL|fLogic|fScript|fCommand|fHandler) == 0 && k&(scripted|bPipe|bAmp|bSlash|bDollar|bPlus|bCtl|bStar) == 0 && (f&fCommand == 0 || v[0] != '"' && v[0] != '\'' && (k&(bSemi|bLine) == 0 || k&bSpace != 0 && !commanded(v)) && !begins(v)) &&
		!(k&bSemi != 0 && k&(bQuote|bDouble|bBack) != 0 && commanded(v)) {
		return // nothing but SQL could be spelled
	}
	if cap(j.low) < len(v) {
		j.low = make([]byte, 0, len(v)+len(v)/4+64)
	}
	low := j.low[:len(v)]
	for i, c := range v {
		low[i] = lower(c)
	}
	if k&bLess != 0 {
		j.html(low)
		if f&fXML != 0 {
			j.xml(low)
		}
	}
	if f&fScheme != 0 || f&fHandler != 0 && k&bEqual != 0 || f&fScript != 0 && (k&scripted != 0 || k&(bStar|bSlash) == bStar|bSlash) {
		j.script(low)
		j.bare(low)
	}
	if f&fShell != 0 || f&fCommand != 0 && (k&(bPipe|bAmp|bSlash|bDollar|bOpen|bPlus|bTick) != 0 || k&(bSemi|bLine) != 0 && (k&bSpace == 0 || commanded(v)) || v[0] == '"' || v[0] == '\'' || k&(bDash|bDot|bStar) != 0 && begins(v)) || k&bDollar != 0 && k&(bOpen|bSemi|bPipe|bAmp) != 0 || k&(bSemi|bPipe|bAmp) != 0 && k&(bQuote|bDouble|bBack) != 0 && commanded(v) {
		j.shell(low)
	}
	if f&(fDots|fFile) != 0 || k&bCtl != 0 {
		j.path(low)
	}
	if f&fLookup != 0 {
		j.lookup(low)
	}
	if k&bOpen != 0 && k&bCurly != 0 {
		j.shellshock(low)
	}
	if f&fNoSQL != 0 {
		j.nosql(low)
	}
	if k&bOpen != 0 && k&bClose != 0 || k&bStar != 0 {
		j.ldap(low)
	}
	if k&(bSlash|bOpen) != 0 && k&(bQuote|bDouble|bSquare) != 0 && k&(bOpen|bStar|bPipe|bMild) != 0 {
		j.xpath(low)
	}
	if f&fHeader != 0 && (k&bLine != 0 || k&bHigh != 0) {
		j.header(low)
	}
	if f&fURL != 0 && k&(bSlash|bMild) != 0 {
		j.url(low)
	}
	if f&fObject != 0 {
		j.object(low, v)
	}
	if f&fCode != 0 {
		j.code(low)
	}
	if f&fProto != 0 {
		j.proto(low)
	}
}

// verdict returns the class that weighs most, if it reaches the threshold.
func (j *judge) verdict() (class, bool) {
	best := class(0)
	for c := range classes {
		if j.sign[c].score > j.sign[best].score {
			best = c
		}
	}
	j.best = best
	if s := &j.sign[best]; s.score < Threshold+2 && (best == clSQL || best == clCmd || best == clLDAP || s.rule == "xss.entity" || s.rule == "code.php") && j.noisy {
		s.score = min(s.score, ambiguous-1)
	}
	return best, j.sign[best].score >= Threshold
}

// noise reports whether a value has no space and so many kinds of marks that a
// generator of passwords may have made it: one sign alone is chance then, and
// second opinions would be chance too.
func noise(k uint32) bool {
	return k&(bSpace|bLine|bCtl) == 0 && bits.OnesCount32(k&^(plain|bHigh|bDot)) >= 8
}

func (j *judge) finding(c class) Finding {
	return Finding{Rule: j.sign[c].rule, Class: classNames[c], Decoded: j.route(), Score: j.sign[c].score}
}

// route names the decodings that led to the form under the lens.
func (j *judge) route() string {
	if j.decoded == 0 {
		return ""
	}
	var b strings.Builder
	for i, n := range j.layers {
		if n == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(decodings[i])
		if n > 1 {
			b.WriteString("×")
			b.WriteByte('0' + n)
		}
	}
	return b.String()
}

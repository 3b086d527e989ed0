package inspect

import "bytes"

// Loops and conditions of Windows' command language, which hold commands where
// no separator stands: "for %i in (…) do …", "if %x% equ 1 …". Text is in lower
// case.

var batchCompares = [...]string{" equ ", " neq ", " lss ", " leq ", " gtr ", " geq "}

// batch judges s[k:], where a command may stand.
func (j *judge) batch(s []byte, k int) {
	for k < len(s) && (isSpace(s[k]) || s[k] == '(' || s[k] == '@') {
		k++
	}
	s = s[k:min(len(s), k+512)]
	if len(s) < 6 || s[0] != 'f' && s[0] != 'i' {
		return
	}
	switch j.steps += 16; {
	case bytes.HasPrefix(s, []byte("for")) && len(s) > 3 && isSpace(s[3]):
		j.loop(s[4:])
	case bytes.HasPrefix(s, []byte("if")) && len(s) > 2 && (isSpace(s[2]) || s[2] == '/'):
		j.branch(s[2:])
	}
}

// loop: a variable behind a percent sign, "in", a set in parentheses, "do". "For
// 5% in total (or more) do call us" has a number there and text before the set.
func (j *judge) loop(s []byte) {
	p := bytes.IndexByte(s, '%')
	if p < 0 || p+2 >= len(s) || isDigit(s[p+1]) && isDigit(s[p+2]) {
		return
	}
	e := p
	for e < len(s) && !isSpace(s[e]) {
		e++
	}
	rest := bytes.TrimLeft(s[e:], " \t")
	if !bytes.HasPrefix(rest, []byte("in")) {
		return
	}
	if rest = bytes.TrimLeft(rest[2:], " \t"); len(rest) == 0 || rest[0] != '(' {
		return
	}
	if c := bytes.IndexByte(rest, ')'); c > 0 && bytes.HasPrefix(bytes.TrimLeft(rest[c+1:], " \t"), []byte("do")) || bytes.Contains(rest, []byte(") do ")) {
		j.add(clCmd, "cmdi.loop", 5)
	}
}

// branch: the language's own comparisons, or a test for a file or a variable
// with a command behind it. "If not defined, say so" has none.
func (j *judge) branch(s []byte) {
	s = bytes.TrimLeft(s, " \t")
	flag := bytes.HasPrefix(s, []byte("/i "))
	if flag {
		s = bytes.TrimLeft(s[3:], " \t")
	}
	if bytes.HasPrefix(s, []byte("not ")) {
		s = bytes.TrimLeft(s[4:], " \t")
	}
	head := s[:min(len(s), 64)]
	for _, c := range batchCompares {
		if n := bytes.Index(head, []byte(c)); n > 0 && (flag || bytes.IndexByte(head[:n], '%') >= 0 || kinds[head[0]]&(bDigit|bDouble|bSquare|bOpen) != 0) {
			j.add(clCmd, "cmdi.condition", 5)
		}
	}
	if n := bytes.Index(head, []byte("==")); n > 0 && n+2 < len(s) && (flag || (bytes.IndexByte(head[:n], '%') >= 0 || kinds[head[0]]&(bSquare|bCurly) != 0) && bytes.Count(head[:n], []byte(" ")) < 3) {
		j.add(clCmd, "cmdi.condition", 5)
	}
	for _, test := range [...]string{"exist ", "defined ", "errorlevel ", "cmdextversion "} {
		if !bytes.HasPrefix(s, []byte(test)) {
			continue
		}
		subject := bytes.TrimLeft(s[len(test):], " \t")
		e := bytes.IndexByte(subject, ' ')
		if e < 0 {
			return
		}
		then := bytes.TrimLeft(subject[e:], " \t(@")
		if w := ident(then); shellPrograms.has(w) || string(w) == "goto" || string(w) == "call" {
			j.add(clCmd, "cmdi.condition", 5)
		}
	}
}

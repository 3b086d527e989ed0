package inspect

import (
	"encoding/base64"
	"unicode/utf8"
)

// The decodings that an upstream may apply to a value after the first.
const (
	dPercent = 1 << iota
	dEntity
	dEscape
	dWidth // fullwidth, overlong and best-fit characters
	dUTF7
	dPlus
	dBase64
	dJoined // comments and control bytes inside words taken out
)

var decodings = []string{"percent", "entity", "escape", "unicode", "utf-7", "plus", "base64", "joined"}

// decode appends v to dst with one layer of every encoding undone, and says
// which were. It reads each byte once; the result is never longer than v by
// more than a small factor.
func decode(dst, v []byte) ([]byte, int) {
	did := 0
	for i := 0; i < len(v); {
		switch c := v[i]; {
		case c == '%' && i+2 < len(v) && isAlnum(v[i+1]):
			if u := v[i+1] | 32; u == 'u' && i+5 < len(v) {
				if r, ok := hexRune(v[i+2:i+6], 4); ok {
					dst, did, i = appendRune(dst, r), did|dPercent, i+6
					continue
				}
			}
			if isAlnum(v[i+2]) {
				// Decoders that don't check for hex digits go on counting past f.
				dst, did, i = append(dst, byte(loose(v[i+1])<<4+loose(v[i+2]))), did|dPercent, i+3
				continue
			}
			dst, i = append(dst, c), i+1
		case c == '&' && i+2 < len(v):
			if r, n := entity(v[i:]); n > 0 {
				dst, did, i = appendRune(dst, r), did|dEntity, i+n
				continue
			}
			dst, i = append(dst, c), i+1
		case c == '\\' && i+1 < len(v):
			if r, n := escape(v[i:]); n > 0 {
				dst, did, i = appendRune(dst, r), did|dEscape, i+n
				continue
			}
			dst, i = append(dst, c), i+1
		case c == '+' && i+3 < len(v):
			if n := utf7(v[i:], &dst); n > 0 {
				did, i = did|dUTF7, i+n
				continue
			}
			dst, i = append(dst, c), i+1
		case c >= 0x80:
			r, n, odd := wide(v[i:])
			if odd {
				did |= dWidth
			}
			if n == 0 {
				i++
				continue
			}
			if odd {
				dst = append(dst, byte(r))
			} else {
				dst = append(dst, v[i:i+n]...)
			}
			i += n
		default:
			dst, i = append(dst, c), i+1
		}
	}
	return dst, did
}

func loose(c byte) int {
	if isDigit(c) {
		return int(c - '0')
	}
	return int(c|32-'a') + 10
}

func hexRune(v []byte, n int) (r rune, ok bool) {
	if len(v) < n {
		return 0, false
	}
	for _, c := range v[:n] {
		h := unhex(c)
		if h < 0 {
			return 0, false
		}
		r = r<<4 | rune(h)
	}
	return r, true
}

func appendRune(dst []byte, r rune) []byte {
	if f := narrow(r); f != 0 {
		r = f
	}
	if r < 0x80 {
		return append(dst, byte(r))
	}
	if r < 0x100 { // a lone byte in the encodings these escapes come from
		return append(dst, byte(r))
	}
	return utf8.AppendRune(dst, r)
}

// narrow maps the look-alikes that code pages and normalisation fold to ASCII.
func narrow(r rune) rune {
	switch {
	case r >= 0xff01 && r <= 0xff5e:
		return r - 0xfee0
	case r < 0x2bc:
		return 0
	}
	if r >= 0x2460 && r <= 0x2468 { // circled digits, as host names fold them
		return '1' + r - 0x2460
	}
	switch r {
	case 0x24ea:
		return '0'
	case 0x3002, 0xff61:
		return '.'
	case 0x2bc, 0x2b9, 0x2c8, 0x2018, 0x2019, 0x2032, 0x201b:
		return '\''
	case 0x2ba, 0x201c, 0x201d, 0x2033:
		return '"'
	case 0x2215, 0x2044, 0xefc8, 0xf025, 0x29f8:
		return '/'
	case 0x2216, 0xfe68, 0x29f5:
		return '\\'
	case 0x2024, 0xfe52:
		return '.'
	case 0x2329, 0x3008, 0xfe64, 0x2039:
		return '<'
	case 0x232a, 0x3009, 0xfe65, 0x203a:
		return '>'
	case 0x3000, 0x2002, 0x2003, 0x2009, 0x2028, 0x2029, 0xfeff:
		return ' '
	case 0x37e, 0xfe54:
		return ';'
	case 0x131:
		return 'i'
	}
	return 0
}

// wide reads one character outside ASCII. Overlong forms and stray lead bytes
// are read as lenient decoders do. odd says that the result is the ASCII
// character r; n == 0 drops the byte.
func wide(v []byte) (r rune, n int, odd bool) {
	c := v[0]
	if c == 0xc0 || c == 0xc1 {
		if len(v) < 2 {
			return 0, 0, true
		}
		if k := kinds[v[1]]; k&(bDot|bSlash|bBack) != 0 {
			return rune(v[1]), 2, true
		}
		if b := v[1] & 0x3f; b == '.' || b == '/' { // what decoders make of it that keep six bits
			return rune(b), 2, true
		}
		return rune(c&0x1f)<<6&0x40 | rune(v[1]&0x3f), 2, true
	}
	if r, n = utf8.DecodeRune(v); r != utf8.RuneError || n > 1 {
		if f := narrow(r); f != 0 {
			return f, n, true
		}
		return r, n, false
	}
	size := 0
	switch {
	case c&0xf0 == 0xe0:
		size, r = 3, rune(c&0x0f)
	case c&0xf8 == 0xf0:
		size, r = 4, rune(c&0x07)
	case c&0xfc == 0xf8:
		size, r = 5, rune(c&0x03)
	case c&0xfe == 0xfc:
		size, r = 6, rune(c&0x01)
	}
	if size == 0 || len(v) < size {
		return 0, 1, false
	}
	for _, b := range v[1:size] {
		if b&0xc0 != 0x80 {
			return 0, 1, false
		}
		r = r<<6 | rune(b&0x3f)
	}
	if r < 0x80 {
		return r, size, true
	}
	return 0, 1, false
}

var entities = map[string]rune{"lt": '<', "gt": '>', "quot": '"', "apos": '\'', "amp": '&', "colon": ':', "lpar": '(', "rpar": ')', "tab": '\t', "newline": '\n',
	"sol": '/', "bsol": '\\', "period": '.', "semi": ';', "equals": '=', "nbsp": ' ', "num": '#', "dollar": '$', "lbrace": '{', "rbrace": '}', "lcub": '{', "rcub": '}', "grave": '`', "comma": ',', "lsqb": '[', "rsqb": ']', "vert": '|', "excl": '!', "percnt": '%', "plus": '+'}

// entity reads a character reference as HTML parsers do: the semicolon of a
// number may be missing, and leading zeros are without limit.
func entity(v []byte) (r rune, n int) {
	i := 1
	if v[1] == '#' {
		base, i := rune(10), 2
		if i < len(v) && v[i]|32 == 'x' {
			base, i = 16, 3
		}
		from := i
		for i < len(v) && i < from+16 {
			h := unhex(v[i])
			if h < 0 || h >= int(base) {
				break
			}
			if r = r*base + rune(h); r > 0x10ffff {
				r = 0xfffd
			}
			i++
		}
		if i == from || r == 0 {
			return 0, 0
		}
		if i < len(v) && v[i] == ';' {
			i++
		}
		return r, i
	}
	var name [8]byte
	for i < len(v) && i < 9 && isAlpha(v[i]) {
		name[i-1] = lower(v[i])
		i++
	}
	r, ok := entities[string(name[:i-1])]
	if !ok {
		return 0, 0
	}
	if i < len(v) && v[i] == ';' {
		return r, i + 1
	}
	if r == '<' || r == '>' || r == '"' { // the three that HTML knows without semicolon
		return r, i
	}
	return 0, 0
}

// escape reads a JavaScript, JSON or C escape.
func escape(v []byte) (r rune, n int) {
	switch v[1] {
	case 'u':
		if len(v) > 3 && v[2] == '{' {
			for n = 3; n < len(v) && n < 12; n++ {
				if v[n] == '}' && n > 3 {
					return r, n + 1
				}
				h := unhex(v[n])
				if h < 0 {
					return 0, 0
				}
				if r = r<<4 | rune(h); r > 0x10ffff {
					return 0, 0
				}
			}
			return 0, 0
		}
		if r, ok := hexRune(v[2:], 4); ok {
			return r, 6
		}
	case 'x':
		if r, ok := hexRune(v[2:], 2); ok {
			return r, 4
		}
	case '0', '1':
		n = 1
		for n < len(v) && n < 4 && v[n]-'0' < 8 {
			r = r<<3 | rune(v[n]-'0')
			n++
		}
		if n > 2 {
			return r, n
		}
	case '"', '\'', '/':
		return rune(v[1]), 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	}
	return 0, 0
}

// utf7 reads one shifted run, "+ADw-", if it spells ASCII.
func utf7(v []byte, dst *[]byte) int {
	end := 1
	for end < len(v) && end < 65 && (isAlnum(v[end]) || v[end] == '+' || v[end] == '/') {
		end++
	}
	if end < 4 || end == len(v) || v[end] != '-' || v[1] != 'A' {
		return 0
	}
	var raw [48]byte
	n, err := base64.RawStdEncoding.Decode(raw[:], v[1:end])
	if n < 2 || err != nil && n < 2 {
		return 0
	}
	for i := 0; i+1 < n; i += 2 {
		if raw[i] != 0 || raw[i+1] >= 0x80 {
			return 0
		}
	}
	for i := 0; i+1 < n; i += 2 {
		*dst = append(*dst, raw[i+1])
	}
	return end + 1
}

// decodable reports whether v holds anything that decode would change.
func decodable(v []byte, k uint32) bool {
	if k&(bPct|bAmp|bBack|bPlus|bHigh) == 0 {
		return false
	}
	for i, c := range v {
		switch kinds[c] {
		case bPct:
			if i+2 < len(v) && isAlnum(v[i+1]) && isAlnum(v[i+2]) {
				return true
			}
		case bAmp:
			if i+2 < len(v) && (v[i+1] == '#' || isAlpha(v[i+1])) {
				if _, n := entity(v[i:]); n > 0 {
					return true
				}
			}
		case bBack:
			if i+1 < len(v) {
				if _, n := escape(v[i:]); n > 0 {
					return true
				}
			}
		case bPlus:
			if i+4 < len(v) && v[i+1] == 'A' {
				return true
			}
		case bHigh:
			switch {
			case c == 0xc0 || c == 0xc1 || c >= 0xf8 || c == 0xef || c == 0xca || c == 0xcb || c == 0xcd || c == 0xc4:
				return true
			case c == 0xe2 && i+1 < len(v) && (v[i+1] == 0x80 || v[i+1] == 0x81 || v[i+1] == 0x88 || v[i+1] == 0x91 || v[i+1] == 0x93 || v[i+1] == 0x8c || v[i+1] == 0xa7):
				return true
			case c == 0xe3 && i+1 < len(v) && v[i+1] == 0x80, c == 0xe0 && i+1 < len(v) && v[i+1] < 0xa0, c == 0xf0 && i+1 < len(v) && v[i+1] < 0x90:
				return true
			}
		}
	}
	return false
}

// base64Text appends the text that v spells in base64, if it does: the first
// bytes are tried before the rest is read.
func base64Text(dst, v []byte, declared bool) ([]byte, bool) {
	if len(v) < 12 && !declared || len(v) < 4 {
		return dst, false
	}
	for len(v) > 0 && v[len(v)-1] == '=' {
		v = v[:len(v)-1]
	}
	var head [24]byte
	enc := base64.RawStdEncoding
	for _, c := range v {
		if c == '-' || c == '_' {
			enc = base64.RawURLEncoding
			break
		}
	}
	probe := min(len(v), 32) &^ 3
	n, err := enc.Decode(head[:], v[:probe])
	if err != nil || !textual(head[:n]) {
		return dst, false
	}
	at := len(dst)
	need := enc.DecodedLen(len(v))
	for cap(dst)-at < need {
		dst = append(dst[:cap(dst)], 0)
	}
	n, err = enc.Decode(dst[at:at+need], v)
	if err != nil && n == 0 {
		return dst[:at], false
	}
	return dst[:at+n], textual(dst[at : at+n])
}

func textual(v []byte) bool {
	odd := 0
	for _, c := range v {
		if c < 0x20 && !isSpace(c) || c >= 0x7f {
			odd++
		}
	}
	return odd*16 <= len(v)
}

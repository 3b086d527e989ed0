package inspect

// The kinds of bytes. A value's kinds together say which forms of attack its
// bytes can spell at all.
const (
	bAlpha uint32 = 1 << iota
	bDigit
	bSpace  // space and tab
	bLine   // CR, LF and the other line breaks
	bCtl    // the other control bytes, NUL among them
	bDot    // .
	bDash   // - _
	bMild   // , : @ ! ? ~ ^
	bSlash  // /
	bBack   // backslash
	bQuote  // '
	bDouble // "
	bTick   // `
	bLess   // <
	bMore   // >
	bEqual  // =
	bAmp    // &
	bPct    // %
	bSemi   // ;
	bPipe   // |
	bOpen   // (
	bClose  // )
	bCurly  // { }
	bSquare // [ ]
	bDollar // $
	bHash   // #
	bStar   // *
	bPlus   // +
	bHigh   // outside ASCII
)

// plain is the closed harmless class: names, numbers, codes, keys.
const plain = bAlpha | bDigit | bDash

var kinds = func() (t [256]uint32) {
	for c := range t {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			t[c] = bAlpha
		case c >= '0' && c <= '9':
			t[c] = bDigit
		case c >= 0x80:
			t[c] = bHigh
		case c < 0x20 || c == 0x7f:
			t[c] = bCtl
		}
	}
	for kind, bytes := range map[uint32]string{bSpace: " \t", bLine: "\r\n\v\f", bDot: ".", bDash: "-_", bMild: ",:@!?~^", bSlash: "/",
		bBack: `\`, bQuote: "'", bDouble: `"`, bTick: "`", bLess: "<", bMore: ">", bEqual: "=", bAmp: "&", bPct: "%", bSemi: ";",
		bPipe: "|", bOpen: "(", bClose: ")", bCurly: "{}", bSquare: "[]", bDollar: "$", bHash: "#", bStar: "*", bPlus: "+"} {
		for i := range len(bytes) {
			t[bytes[i]] = kind
		}
	}
	return t
}()

// scan returns the kinds of all bytes of v together.
func scan(v []byte) (k uint32) {
	for len(v) >= 8 {
		k |= kinds[v[0]] | kinds[v[1]] | kinds[v[2]] | kinds[v[3]] | kinds[v[4]] | kinds[v[5]] | kinds[v[6]] | kinds[v[7]]
		v = v[8:]
	}
	for _, c := range v {
		k |= kinds[c]
	}
	return k
}

func isAlpha(c byte) bool { return kinds[c]&bAlpha != 0 }
func isDigit(c byte) bool { return c-'0' < 10 }
func isAlnum(c byte) bool { return kinds[c]&(bAlpha|bDigit) != 0 }
func isWord(c byte) bool  { return kinds[c]&(bAlpha|bDigit) != 0 || c == '_' }
func isSpace(c byte) bool { return kinds[c]&(bSpace|bLine) != 0 || c == 0xa0 || c == 0 }

func lower(c byte) byte {
	if c-'A' < 26 {
		return c + 32
	}
	return c
}

func unhex(c byte) int {
	switch c = lower(c); {
	case isDigit(c):
		return int(c - '0')
	case c-'a' < 6:
		return int(c-'a') + 10
	}
	return -1
}

package xsd

import (
	"bytes"
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A primitive is a primitive datatype, or one of the derived ones whose words
// have a grammar of their own (XML Schema part 2, section 3).
type primitive uint8

const (
	anySimple primitive = iota
	pString
	pBoolean
	pDecimal
	pFloat
	pDouble
	pDuration
	pDateTime
	pTime
	pDate
	pYearMonth
	pYear
	pMonthDay
	pDay
	pMonth
	pHex
	pBase64
	pURI
	pQName
)

// plain reports whether words of the type can hold nothing but digits, letters
// of a fixed grammar and signs.
func (p primitive) plain() bool { return p >= pBoolean && p <= pHex }

// ordered reports whether range facets mean something.
func (p primitive) ordered() bool { return p >= pDecimal && p <= pMonth }

// A decimal is a number in its parts, without zeros that say nothing.
type decimal struct {
	negative        bool
	whole, fraction []byte
}

func digits(b []byte) int {
	i := 0
	for i < len(b) && b[i]-'0' < 10 {
		i++
	}
	return i
}

func parseDecimal(b []byte) (d decimal, ok bool) {
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		d.negative = b[0] == '-'
		b = b[1:]
	}
	n := digits(b)
	d.whole = b[:n]
	b = b[n:]
	if len(b) > 0 && b[0] == '.' {
		m := digits(b[1:])
		d.fraction = b[1 : 1+m]
		b = b[1+m:]
	}
	if len(b) > 0 || n+len(d.fraction) == 0 {
		return d, false
	}
	d.whole, d.fraction = bytes.TrimLeft(d.whole, "0"), bytes.TrimRight(d.fraction, "0")
	if len(d.whole)+len(d.fraction) == 0 {
		d.negative = false
	}
	return d, true
}

func (d decimal) compare(e decimal) int {
	if d.negative != e.negative {
		if d.negative {
			return -1
		}
		return 1
	}
	c := len(d.whole) - len(e.whole)
	if c == 0 {
		c = bytes.Compare(d.whole, e.whole)
	}
	if c == 0 {
		c = bytes.Compare(d.fraction, e.fraction)
	}
	if d.negative {
		c = -c
	}
	return sign(c)
}

func sign(c int) int { return min(max(c, -1), 1) }

func parseFloat(b []byte, bits int) (float64, bool) {
	switch string(b) {
	case "INF":
		return math.Inf(1), true
	case "-INF":
		return math.Inf(-1), true
	case "NaN":
		return math.NaN(), true
	}
	for _, c := range b {
		if c-'0' > 9 && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	if len(b) == 0 || len(b) > 1000 {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(b), bits)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}

// A moment is a date or time: seconds since the year 0 as on a calendar without
// beginning, the fraction of a second, and whether a time zone was given.
type moment struct {
	seconds  int64
	fraction []byte
	zoned    bool
}

type reader struct {
	b  []byte
	ok bool
}

func (r *reader) number(n int) int64 {
	if len(r.b) < n || digits(r.b[:n]) != n {
		r.ok = false
		return 0
	}
	v, _ := strconv.ParseInt(string(r.b[:n]), 10, 64)
	r.b = r.b[n:]
	return v
}

func (r *reader) sign(s string) {
	if !bytes.HasPrefix(r.b, []byte(s)) {
		r.ok = false
		return
	}
	r.b = r.b[len(s):]
}

func (r *reader) within(v, lo, hi int64) int64 {
	if v < lo || v > hi {
		r.ok = false
	}
	return v
}

func (r *reader) year() int64 {
	negative := len(r.b) > 0 && r.b[0] == '-'
	if negative {
		r.b = r.b[1:]
	}
	n := digits(r.b)
	if n < 4 || n > 9 || n > 4 && r.b[0] == '0' {
		r.ok = false
		return 1
	}
	y := r.number(n)
	if y == 0 {
		r.ok = false
	}
	if negative {
		return -y
	}
	return y
}

func leap(y int64) bool { return y%4 == 0 && (y%100 != 0 || y%400 == 0) }

var monthDays = [13]int64{0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

// days counts days since a fixed day (the algorithm of H. Hinnant,
// chrono-compatible low-level date algorithms).
func days(y, m, d int64) int64 {
	if m <= 2 {
		y--
	}
	era := y / 400
	if y < 0 {
		era = (y - 399) / 400
	}
	yoe := y - era*400
	mp := (m + 9) % 12
	doy := (153*mp+2)/5 + d - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return era*146097 + doe
}

func parseMoment(p primitive, b []byte) (m moment, ok bool) {
	r := &reader{b, true}
	y, mon, day := int64(1972), int64(12), int64(31) // a leap year, where none is said
	var h, mi, s int64
	switch p {
	case pDateTime, pDate, pYearMonth, pYear:
		y, mon, day = r.year(), 1, 1
		if p != pYear {
			r.sign("-")
			mon = r.within(r.number(2), 1, 12)
		}
		if p == pDate || p == pDateTime {
			r.sign("-")
			day = r.within(r.number(2), 1, 31)
		}
	case pMonthDay:
		r.sign("--")
		mon = r.within(r.number(2), 1, 12)
		r.sign("-")
		day = r.within(r.number(2), 1, 31)
	case pMonth:
		r.sign("--")
		mon, day = r.within(r.number(2), 1, 12), 1
	case pDay:
		r.sign("---")
		day = r.within(r.number(2), 1, 31)
	}
	if !r.ok || day > monthDays[mon] || mon == 2 && day == 29 && !leap(y) {
		return m, false
	}
	if p == pDateTime {
		r.sign("T")
	}
	if p == pDateTime || p == pTime {
		h = r.within(r.number(2), 0, 24)
		r.sign(":")
		mi = r.within(r.number(2), 0, 59)
		r.sign(":")
		s = r.within(r.number(2), 0, 59)
		if len(r.b) > 0 && r.b[0] == '.' {
			n := digits(r.b[1:])
			if n == 0 {
				return m, false
			}
			m.fraction = bytes.TrimRight(r.b[1:1+n], "0")
			r.b = r.b[1+n:]
		}
		if h == 24 && (mi != 0 || s != 0 || len(m.fraction) > 0) {
			return m, false
		}
		if h == 24 && p == pTime {
			h = 0
		}
	}
	m.seconds = days(y, mon, day)*86400 + h*3600 + mi*60 + s
	switch {
	case len(r.b) == 0:
	case string(r.b) == "Z":
		m.zoned, r.b = true, nil
	case r.b[0] == '+' || r.b[0] == '-':
		back := r.b[0] == '+'
		r.b = r.b[1:]
		zh := r.within(r.number(2), 0, 14)
		r.sign(":")
		zm := r.within(r.number(2), 0, 59)
		if zh == 14 && zm != 0 {
			return m, false
		}
		z := zh*3600 + zm*60
		if back {
			z = -z
		}
		m.seconds += z
		m.zoned = true
	}
	return m, r.ok && len(r.b) == 0
}

// compare is not ok where a time zone is missing that would decide.
func (m moment) compare(n moment) (c int, ok bool) {
	const most = 14 * 3600
	c = sign(int(min(max(m.seconds-n.seconds, -1), 1)))
	if c == 0 {
		c = bytes.Compare(m.fraction, n.fraction)
	}
	if m.zoned != n.zoned {
		if d := m.seconds - n.seconds; d <= most && d >= -most {
			return 0, false
		}
	}
	return c, true
}

// A length of time is months and seconds, which cannot be compared in general.
type length struct {
	months, seconds int64
	fraction        []byte
	negative        bool
}

func parseDuration(b []byte) (d length, ok bool) {
	if len(b) > 0 && b[0] == '-' {
		d.negative = true
		b = b[1:]
	}
	if len(b) < 2 || b[0] != 'P' {
		return d, false
	}
	b = b[1:]
	order, time, parts := "YMD", false, 0
	for len(b) > 0 {
		if b[0] == 'T' {
			if time || len(b) == 1 {
				return d, false
			}
			time, order, b = true, "HMS", b[1:]
			continue
		}
		n := digits(b)
		if n == 0 || n > 15 {
			return d, false
		}
		v, _ := strconv.ParseInt(string(b[:n]), 10, 64)
		if b = b[n:]; len(b) == 0 {
			return d, false
		}
		if b[0] == '.' {
			m := digits(b[1:])
			if m == 0 || len(b) < m+2 || b[m+1] != 'S' {
				return d, false
			}
			d.fraction = bytes.TrimRight(b[1:1+m], "0")
			b = b[m+1:]
		}
		unit := b[0]
		i := strings.IndexByte(order, unit)
		if i < 0 {
			return d, false
		}
		order = order[i+1:]
		switch {
		case unit == 'Y':
			d.months += v * 12
		case unit == 'M' && !time:
			d.months += v
		case unit == 'D':
			d.seconds += v * 86400
		case unit == 'H':
			d.seconds += v * 3600
		case unit == 'M':
			d.seconds += v * 60
		case unit == 'S':
			d.seconds += v
		}
		b = b[1:]
		parts++
	}
	if d.negative {
		d.months, d.seconds = -d.months, -d.seconds
	}
	return d, parts > 0
}

// compare compares by what two lengths come to from four days on (part 2,
// section 3.2.6.2); it is not ok where these disagree.
func (d length) compare(e length) (c int, ok bool) {
	from := [...][2]int64{{1696, 9}, {1697, 2}, {1903, 3}, {1903, 7}}
	for i, f := range from {
		at := func(l length) int64 {
			m := f[0]*12 + f[1] - 1 + l.months
			y, mon := m/12, m%12
			if mon < 0 {
				y, mon = y-1, mon+12
			}
			return days(y, mon+1, 1)*86400 + l.seconds
		}
		if m := d.months; m > 1<<40 || m < -1<<40 || e.months > 1<<40 || e.months < -1<<40 {
			return 0, false
		}
		x, y := at(d), at(e)
		n := sign(int(min(max(x-y, -1), 1)))
		if n == 0 {
			a, b := d.fraction, e.fraction
			n = bytes.Compare(a, b)
			if d.negative && e.negative {
				n = -n
			} else if d.negative != e.negative && len(a)+len(b) > 0 {
				n = 1
				if d.negative {
					n = -1
				}
			}
		}
		if i > 0 && n != c {
			return 0, false
		}
		c = n
	}
	return c, true
}

// lexical reports whether b is a word of the primitive type; white space has
// been seen to.
func (p primitive) lexical(b []byte) bool {
	switch p {
	case pBoolean:
		s := string(b)
		return s == "true" || s == "false" || s == "1" || s == "0"
	case pDecimal:
		_, ok := parseDecimal(b)
		return ok
	case pFloat, pDouble:
		_, ok := parseFloat(b, 64)
		return ok
	case pDuration:
		_, ok := parseDuration(b)
		return ok
	case pDateTime, pTime, pDate, pYearMonth, pYear, pMonthDay, pDay, pMonth:
		_, ok := parseMoment(p, b)
		return ok
	case pHex:
		if len(b)%2 != 0 {
			return false
		}
		for _, c := range b {
			if c-'0' > 9 && (c|0x20)-'a' > 5 {
				return false
			}
		}
		return true
	case pBase64:
		_, ok := base64Length(b)
		return ok
	case pURI:
		return isURI(b)
	case pQName:
		return isQName(b)
	}
	return true
}

// compare orders two words of an ordered type; it is not ok where their order
// is not settled.
func (p primitive) compare(a, b []byte) (int, bool) {
	switch p {
	case pDecimal:
		x, _ := parseDecimal(a)
		y, _ := parseDecimal(b)
		return x.compare(y), true
	case pFloat, pDouble:
		bits := 64
		if p == pFloat {
			bits = 32
		}
		x, _ := parseFloat(a, bits)
		y, _ := parseFloat(b, bits)
		switch {
		case math.IsNaN(x) && math.IsNaN(y), x == y:
			return 0, true
		case x < y:
			return -1, true
		case x > y:
			return 1, true
		}
		return 0, false
	case pDuration:
		x, _ := parseDuration(a)
		y, _ := parseDuration(b)
		return x.compare(y)
	}
	x, _ := parseMoment(p, a)
	y, _ := parseMoment(p, b)
	return x.compare(y)
}

// canonical appends a form of a word that is the same for all words of one value.
func (p primitive) canonical(out, b []byte) []byte {
	switch p {
	case pBoolean:
		if string(b) == "true" || string(b) == "1" {
			return append(out, '1')
		}
		return append(out, '0')
	case pDecimal:
		d, _ := parseDecimal(b)
		if d.negative {
			out = append(out, '-')
		}
		out = append(append(out, d.whole...), '.')
		return append(out, d.fraction...)
	case pFloat, pDouble:
		bits := 64
		if p == pFloat {
			bits = 32
		}
		f, _ := parseFloat(b, bits)
		if f == 0 {
			f = 0
		}
		return strconv.AppendFloat(out, f, 'g', -1, bits)
	case pDuration:
		d, _ := parseDuration(b)
		out = append(strconv.AppendInt(out, d.months, 10), ' ')
		out = append(strconv.AppendInt(out, d.seconds, 10), '.')
		if d.negative && len(d.fraction) > 0 {
			out = append(out, '-')
		}
		return append(out, d.fraction...)
	case pDateTime, pTime, pDate, pYearMonth, pYear, pMonthDay, pDay, pMonth:
		m, _ := parseMoment(p, b)
		out = append(strconv.AppendInt(out, m.seconds, 10), '.')
		out = append(out, m.fraction...)
		if m.zoned {
			out = append(out, 'Z')
		}
		return out
	case pHex:
		for _, c := range b {
			if c >= 'a' {
				c -= 0x20
			}
			out = append(out, c)
		}
		return out
	case pBase64:
		for _, c := range b {
			if c != ' ' {
				out = append(out, c)
			}
		}
		return out
	}
	return append(out, b...)
}

// base64Length is how many bytes a word of base64Binary stands for.
func base64Length(b []byte) (int, bool) {
	n := 0
	for i, c := range b {
		switch {
		case c == ' ':
			if i == 0 || b[i-1] == ' ' || i == len(b)-1 {
				return 0, false
			}
		case c == '+', c == '/', c == '=', c-'0' < 10, (c|0x20)-'a' < 26:
			n++
		default:
			return 0, false
		}
	}
	if n%4 != 0 {
		return 0, false
	}
	if n == 0 {
		return 0, true
	}
	clean := make([]byte, 0, 4)
	for i := len(b) - 1; len(clean) < 4; i-- {
		if b[i] != ' ' {
			clean = append(clean, b[i])
		}
	}
	slices.Reverse(clean)
	var last [3]byte
	k, err := base64.StdEncoding.Strict().Decode(last[:], clean)
	if err != nil || bytes.IndexByte(b, '=') >= 0 && bytes.Count(b, []byte("=")) != 3-k {
		return 0, false
	}
	return n/4*3 - 3 + k, true
}

// isURI admits what becomes a URI reference once characters that may not stand
// in one are escaped (part 2, section 3.2.17).
func isURI(b []byte) bool {
	if bytes.Count(b, []byte("#")) > 1 {
		return false
	}
	for i, c := range b {
		if c == '%' && (i+2 >= len(b) || !isHex(b[i+1]) || !isHex(b[i+2])) {
			return false
		}
	}
	if i := bytes.IndexAny(b, ":/?#"); i >= 0 && b[i] == ':' {
		if i == 0 || (b[0]|0x20)-'a' > 25 {
			return false
		}
		for _, c := range b[:i] {
			if (c|0x20)-'a' > 25 && c-'0' > 9 && c != '+' && c != '-' && c != '.' {
				return false
			}
		}
	}
	return true
}

func isHex(c byte) bool { return c-'0' < 10 || (c|0x20)-'a' < 6 }

func nameRune(r rune, first bool) bool {
	if r < utf8.RuneSelf {
		return r == '_' || r|0x20 >= 'a' && r|0x20 <= 'z' || !first && (r >= '0' && r <= '9' || r == '-' || r == '.')
	}
	return unicode.IsLetter(r) || unicode.Is(unicode.Nl, r) || !first && (unicode.IsDigit(r) || unicode.IsMark(r) || r == 0xb7)
}

// names are the types derived from string whose words have a grammar.
type wordKind uint8

const (
	anyWord wordKind = iota
	wLanguage
	wNMToken
	wName
	wNCName
)

func (k wordKind) holds(b []byte) bool {
	switch k {
	case wLanguage:
		for i, part := range bytes.Split(b, []byte("-")) {
			if len(part) < 1 || len(part) > 8 {
				return false
			}
			for _, c := range part {
				if (c|0x20)-'a' > 25 && (i == 0 || c-'0' > 9) {
					return false
				}
			}
		}
		return true
	case wNMToken, wName, wNCName:
		first := k != wNMToken
		for len(b) > 0 {
			r, n := utf8.DecodeRune(b)
			if !nameRune(r, first) && !(r == ':' && k != wNCName) {
				return false
			}
			first = false
			b = b[n:]
			if len(b) == 0 {
				return true
			}
		}
		return false
	}
	return true
}

func isQName(b []byte) bool {
	prefix, local, ok := bytes.Cut(b, []byte(":"))
	if !ok {
		return wNCName.holds(b)
	}
	return wNCName.holds(prefix) && wNCName.holds(local)
}

// white is what a type does to white space.
type white uint8

const (
	preserve white = iota
	replace
	collapse
)

// normal gives v with its white space as w wants it; it may use out.
func (w white) normal(out, v []byte) []byte {
	if w == preserve {
		return v
	}
	odd := false
	for i, c := range v {
		if c == '\t' || c == '\n' || c == '\r' || c == ' ' && w == collapse && (i == 0 || i == len(v)-1 || v[i-1] == ' ') {
			odd = true
			break
		}
	}
	if !odd {
		return v
	}
	if w == collapse {
		v = bytes.Trim(v, " \t\r\n")
	}
	out = out[:0]
	for _, c := range v {
		if c == '\t' || c == '\n' || c == '\r' {
			c = ' '
		}
		if c == ' ' && w == collapse && len(out) > 0 && out[len(out)-1] == ' ' {
			continue
		}
		out = append(out, c)
	}
	return out
}

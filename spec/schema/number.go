package schema

import (
	"math/big"
	"math/bits"
)

// A number is a JSON number as written, read for exact comparison: its value is
// 0.d₁d₂… × 10^mag with d₁ the first digit that is not zero.
type number struct {
	neg, zero bool
	mag       int
	skip      int    // leading zeros over whole and frac
	n         int    // significant digits
	whole     []byte // digits before the point
	frac      []byte // digits after it
}

const maxExponent = 1 << 40

func readNumber(raw []byte) (x number) {
	i := 0
	if i < len(raw) && raw[i] == '-' {
		x.neg = true
		i++
	}
	s := i
	for i < len(raw) && raw[i]-'0' < 10 {
		i++
	}
	x.whole = raw[s:i]
	if i < len(raw) && raw[i] == '.' {
		i++
		s = i
		for i < len(raw) && raw[i]-'0' < 10 {
			i++
		}
		x.frac = raw[s:i]
	}
	exp := 0
	if i < len(raw) {
		i++ // e
		neg := false
		if i < len(raw) && (raw[i] == '+' || raw[i] == '-') {
			neg = raw[i] == '-'
			i++
		}
		for ; i < len(raw); i++ {
			if exp = exp*10 + int(raw[i]-'0'); exp > maxExponent {
				exp = maxExponent
			}
		}
		if neg {
			exp = -exp
		}
	}
	total := len(x.whole) + len(x.frac)
	for x.skip < total && x.at(x.skip) == '0' {
		x.skip++
	}
	if x.skip == total {
		return number{zero: true}
	}
	end := total
	for x.at(end-1) == '0' {
		end--
	}
	x.n = end - x.skip
	x.mag = len(x.whole) - x.skip + exp
	return x
}

func (x *number) at(p int) byte {
	if p < len(x.whole) {
		return x.whole[p]
	}
	return x.frac[p-len(x.whole)]
}

func (x *number) digit(k int) byte { return x.at(x.skip + k) }

// whole reports whether x is a whole number.
func (x *number) integral() bool { return x.zero || x.mag >= x.n }

func (x *number) sign() int {
	switch {
	case x.zero:
		return 0
	case x.neg:
		return -1
	}
	return 1
}

// compare gives -1, 0 or 1.
func (x *number) compare(y *number) int {
	s := x.sign()
	if t := y.sign(); s != t {
		if s < t {
			return -1
		}
		return 1
	}
	if s == 0 {
		return 0
	}
	if x.mag != y.mag {
		if x.mag < y.mag {
			return -s
		}
		return s
	}
	for k := 0; k < x.n || k < y.n; k++ {
		a, b := byte('0'), byte('0')
		if k < x.n {
			a = x.digit(k)
		}
		if k < y.n {
			b = y.digit(k)
		}
		if a != b {
			if a < b {
				return -s
			}
			return s
		}
	}
	return 0
}

// smallInt reads a whole number of up to 18 digits.
func smallInt(raw []byte) (v int64, ok bool) {
	i := 0
	neg := len(raw) > 0 && raw[0] == '-'
	if neg {
		i = 1
	}
	if len(raw)-i > 18 || i == len(raw) {
		return 0, false
	}
	for ; i < len(raw); i++ {
		c := raw[i] - '0'
		if c > 9 {
			return 0, false
		}
		v = v*10 + int64(c)
	}
	if neg {
		v = -v
	}
	return v, true
}

// A bound is a number of the schema.
type bound struct {
	text  string
	x     number
	small int64
	isInt bool
}

func newBound(text string) *bound {
	b := &bound{text: text, x: readNumber([]byte(text))}
	b.small, b.isInt = smallInt([]byte(text))
	return b
}

// against compares the number written as raw with the bound.
func (b *bound) against(raw []byte, integer bool) int {
	if integer && b.isInt {
		if v, ok := smallInt(raw); ok {
			switch {
			case v < b.small:
				return -1
			case v > b.small:
				return 1
			}
			return 0
		}
	}
	x := readNumber(raw)
	return x.compare(&b.x)
}

// A divisor answers multipleOf exactly: M × 10^exp with M not divisible by ten.
type divisor struct {
	small int64 // when the divisor is a small whole number, else 0
	m     uint64
	exp   int
	big   *big.Int // when M needs more than 59 bits
}

func newDivisor(text string) *divisor {
	x := readNumber([]byte(text))
	if x.zero || x.neg {
		return nil
	}
	d := &divisor{exp: x.mag - x.n}
	if v, ok := smallInt([]byte(text)); ok {
		d.small = v
	}
	if x.n <= 17 {
		for k := range x.n {
			d.m = d.m*10 + uint64(x.digit(k)-'0')
		}
		return d
	}
	digits := make([]byte, x.n)
	for k := range digits {
		digits[k] = x.digit(k)
	}
	d.big, _ = new(big.Int).SetString(string(digits), 10)
	return d
}

// divides reports whether the number written as raw is a multiple.
func (d *divisor) divides(raw []byte, integer bool) bool {
	if integer && d.small > 0 {
		if v, ok := smallInt(raw); ok {
			return v%d.small == 0
		}
	}
	x := readNumber(raw)
	if x.zero {
		return true
	}
	e := x.mag - x.n - d.exp
	if e < 0 {
		return false // M × 10^-e would have to divide digits that ten does not divide
	}
	// Above 64 (or the divisor's bits) more tens change nothing: each factor of
	// two and five that M can have is already there.
	if d.big != nil {
		e = min(e, d.big.BitLen())
		digits := make([]byte, x.n)
		for k := range digits {
			digits[k] = x.digit(k)
		}
		v, _ := new(big.Int).SetString(string(digits), 10)
		v.Mul(v, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(e)), nil))
		return v.Mod(v, d.big).Sign() == 0
	}
	e = min(e, 64)
	var r uint64
	step := func(add uint64) {
		hi, lo := bits.Mul64(r, 10)
		lo, carry := bits.Add64(lo, add, 0)
		_, r = bits.Div64((hi+carry)%d.m, lo, d.m)
	}
	for k := range x.n {
		step(uint64(x.digit(k) - '0'))
	}
	for range e {
		step(0)
	}
	return r == 0
}

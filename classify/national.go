package classify

// Identity numbers that are looked at only beside a word of their country, or
// in the groups in which only they are written. The arithmetic of each is the
// one that its issuer publishes.

// rutCheck is the check character of a Chilean RUT: weights 2 to 7 from the right, modulo 11.
func rutCheck(d []byte) byte {
	sum, w := 0, 2
	for i := len(d) - 1; i >= 0; i-- {
		sum += digit(d[i]) * w
		if w++; w > 7 {
			w = 2
		}
	}
	return "0K987654321"[sum%11]
}

// rut finds a Chilean RUT at the first group: 12.345.678-5 or, beside the word, 12345678-5.
func (r *run) rut(b []byte, ask *asker) (Match, bool) {
	last, dotted := 0, r.g >= 3 && r.length(0) <= 2 && r.length(1) == 3 && r.length(2) == 3 && r.alike(0, 2, '.')
	if dotted {
		last = 2
	} else if n := r.length(0); n != 7 && n != 8 {
		return Match{}, false
	}
	e := r.groups[last].end
	if e+1 >= len(b) || b[e] != '-' || e+2 < len(b) && isWord(b[e+2]) {
		return Match{}, false
	}
	c := b[e+1]
	if c == 'k' {
		c = 'K'
	}
	d := r.span(0, last)
	if same(d) || c != rutCheck(d) || !dotted && ask.topics(e+2)&aboutRUT == 0 {
		return Match{}, false
	}
	return Match{CLRUT, r.groups[0].start, e + 2, Strong}, true
}

// cuit is an Argentine tax number: a kind of person, eight digits, a check digit.
func cuit(d []byte) bool {
	switch number(d[:2]) {
	case 20, 23, 24, 25, 26, 27, 30, 33, 34:
	default:
		return false
	}
	c := 11 - weighted(d, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)%11
	if c == 11 {
		c = 0
	}
	return c == digit(d[10])
}

// ppsn takes seven digits, a check letter and perhaps a second letter.
func ppsn(w []byte) bool {
	if digitsIn(w[:7]) != 7 || !isUpperLetter(w[7]) {
		return false
	}
	sum := weighted(w, 8, 7, 6, 5, 4, 3, 2)
	if len(w) == 9 {
		if w[8] != 'W' && (w[8] < 'A' || w[8] > 'I') {
			return false
		}
		if w[8] != 'W' {
			sum += 9 * (int(w[8]-'A') + 1)
		}
	}
	return "WABCDEFGHIJKLMNOPQRSTUV"[sum%23] == w[7]
}

// svnr is the Austrian number: a serial, its check digit, the day of birth.
func svnr(d []byte) bool {
	m := number(d[6:8])
	return d[0] != '0' && day(d[4:6]) && m >= 1 && m <= 15 && weighted(d, 3, 7, 9, 0, 5, 8, 4, 2, 1, 6)%11 == digit(d[3])
}

// rodne is the Czech and Slovak birth number; those of before 1954 have nine digits and no check.
func rodne(d []byte) bool {
	m := number(d[2:4]) % 50
	if m > 20 {
		m -= 20
	}
	if m < 1 || m > 12 || !day(d[4:6]) {
		return false
	}
	if len(d) == 9 {
		return number(d[:2]) < 54 && number(d[6:]) != 0
	}
	return number(d)%11 == 0 || d[9] == '0' && number(d[:9])%11 == 10
}

func cnp(d []byte) bool {
	c := weighted(d, 2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9) % 11
	if c == 10 {
		c = 1
	}
	return d[0] != '0' && month(d[3:5]) && day(d[5:7]) && c == digit(d[12])
}

func egn(d []byte) bool {
	m := number(d[2:4]) % 20
	return number(d[2:4]) <= 52 && m >= 1 && m <= 12 && day(d[4:6]) && weighted(d, 2, 4, 8, 5, 10, 9, 7, 3, 6)%11%10 == digit(d[9])
}

// oib checks by ISO 7064, MOD 11,10.
func oib(d []byte) bool {
	p := 10
	for _, c := range d[:10] {
		s := (digit(c) + p) % 10
		if s == 0 {
			s = 10
		}
		p = s * 2 % 11
	}
	return (11-p)%10 == digit(d[10])
}

func myNumber(d []byte) bool {
	c := 0
	if r := weighted(d, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2) % 11; r > 1 {
		c = 11 - r
	}
	return !same(d) && c == digit(d[11])
}

func taj(d []byte) bool { return !same(d) && weighted(d, 3, 7, 3, 7, 3, 7, 3, 7)%10 == digit(d[8]) }

func afm(d []byte) bool {
	return !same(d) && weighted(d, 256, 128, 64, 32, 16, 8, 4, 2)%11%10 == digit(d[8])
}

// isikukood is the personal code of Estonia and Lithuania.
func isikukood(d []byte) bool {
	if d[0] < '1' || d[0] > '8' || !month(d[3:5]) || !day(d[5:7]) {
		return false
	}
	c := weighted(d, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1) % 11
	if c == 10 {
		c = weighted(d, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3) % 11 % 10
	}
	return c == digit(d[10])
}

func kennitala(d []byte) bool {
	n, c := number(d[:2]), 11-weighted(d, 3, 2, 7, 6, 5, 4, 3, 2)%11
	return (n >= 1 && n <= 31 || n >= 41 && n <= 71) && month(d[2:4]) && c%11 == digit(d[8]) && c != 10 && (d[9] == '0' || d[9] >= '8')
}

// jmbg is the number of Slovenia (EMŠO) and of the other successors of Yugoslavia.
func jmbg(d []byte) bool {
	c := 11 - weighted(d, 7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)%11
	return day(d[:2]) && month(d[2:4]) && (d[4] == '9' || d[4] == '0') && c != 10 && c%11 == digit(d[12])
}

func thaiID(d []byte) bool {
	return d[0] >= '1' && d[0] <= '8' && (11-weighted(d, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2)%11)%10 == digit(d[12])
}

func snils(d []byte) bool {
	return number(d[:9]) > 1001998 && weighted(d, 9, 8, 7, 6, 5, 4, 3, 2, 1)%101%100 == number(d[9:])
}

func rnokpp(d []byte) bool {
	return !same(d) && (weighted(d, -1, 5, 7, 9, 4, 6, 10, 5, 7)%11+11)%11%10 == digit(d[9])
}

func auMedicare(d []byte) bool {
	return d[0] >= '2' && d[0] <= '6' && d[9] != '0' && weighted(d, 1, 3, 7, 9, 1, 3, 7, 9)%10 == digit(d[8])
}

// cpr has had no check digit since 2007: the word beside it and the date speak for it.
func cpr(d []byte) bool { return day(d[:2]) && month(d[2:4]) }

// twID is a letter for the place and nine digits.
func twID(w []byte) bool {
	const place = "1011121314151617341819202122352324252627282932303133" // of A…Z
	if digitsIn(w[1:]) != 9 || !isUpperLetter(w[0]) || w[1] != '1' && w[1] != '2' && w[1] != '8' && w[1] != '9' {
		return false
	}
	k := 2 * int(w[0]-'A')
	return (int(place[k]-'0')+9*int(place[k+1]-'0')+weighted(w[1:], 8, 7, 6, 5, 4, 3, 2, 1, 1))%10 == 0
}

// hkid is a letter and six digits; the check character is c.
func hkid(w []byte, c byte) bool {
	if !isUpperLetter(w[0]) || digitsIn(w[1:7]) != 6 {
		return false
	}
	return "0A987654321"[(36*9+(int(w[0]-'A')+10)*8+weighted(w[1:], 7, 6, 5, 4, 3, 2))%11] == c
}

// lettered looks at the national numbers that hold letters; upper is b[i:j] in capitals.
func lettered(b []byte, i, j int, upper []byte, ask *asker) (Match, bool) {
	switch n := len(upper); {
	case (n == 8 || n == 9) && !isUpperLetter(upper[0]) && isUpperLetter(upper[7]) && ppsn(upper) && ask.topics(j)&aboutPPS != 0:
		return Match{IEPPSN, i, j, Strong}, true
	case n == 10 && twID(upper) && ask.topics(j)&aboutTaiwan != 0:
		return Match{TWID, i, j, Strong}, true
	case n == 7 && j+2 < len(b) && b[j] == '(' && b[j+2] == ')' && hkid(upper, b[j+1]):
		return Match{HKID, i, j + 3, Strong}, true
	case n == 8 && hkid(upper, upper[7]) && ask.topics(j)&aboutHKID != 0:
		return Match{HKID, i, j, Strong}, true
	}
	return Match{}, false
}

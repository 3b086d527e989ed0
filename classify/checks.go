package classify

// The arithmetic of check digits. Digits come as ASCII.

func luhn(d []byte) bool {
	sum, double := 0, false
	for i := len(d) - 1; i >= 0; i-- {
		n := int(d[i] - '0')
		if double {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
		double = !double
	}
	return sum%10 == 0
}

// weighted sums d[i]*w[i].
func weighted(d []byte, w ...int) int {
	sum := 0
	for i, x := range w {
		sum += int(d[i]-'0') * x
	}
	return sum
}

func digit(b byte) int { return int(b - '0') }

func number(d []byte) int {
	n := 0
	for _, c := range d {
		n = n*10 + digit(c)
	}
	return n
}

func same(d []byte) bool {
	for _, c := range d[1:] {
		if c != d[0] {
			return false
		}
	}
	return true
}

// issued reports whether a payment network hands out numbers with these first
// digits in this length.
func issued(d []byte) bool {
	n := len(d)
	p2, p3, p4, p6 := number(d[:2]), number(d[:3]), number(d[:4]), number(d[:6])
	switch {
	case d[0] == '4':
		return n == 13 || n == 16 || n == 19
	case p2 >= 51 && p2 <= 55, p4 >= 2221 && p4 <= 2720:
		return n == 16
	case p2 == 34 || p2 == 37:
		return n == 15
	case p3 >= 300 && p3 <= 305, p2 == 36, p2 == 38, p2 == 39:
		return n == 14 || n == 16
	case p4 == 6011, p2 == 65, p3 >= 644 && p3 <= 649, p6 >= 622126 && p6 <= 622925:
		return n == 16 || n == 19
	case p4 >= 3528 && p4 <= 3589:
		return n == 16
	case p4 == 1800 || p4 == 2131:
		return n == 15
	case p2 == 62 || p2 == 81:
		return n >= 16
	case p2 == 50 || p2 >= 56 && p2 <= 58 || p2 == 60 || p2 == 67:
		return n >= 12 && n <= 19 && (n == 16 || n == 18 || n == 19)
	}
	return false
}

// card is a payment card number of any network.
func card(d []byte) bool { return len(d) >= 13 && luhn(d) && issued(d) }

func ssn(d []byte) bool {
	area := number(d[:3])
	return area != 0 && area != 666 && area < 900 && number(d[3:5]) != 0 && number(d[5:]) != 0 &&
		string(d) != "123456789" && string(d) != "111111111" && string(d) != "078051120" && string(d) != "219099999"
}

func itin(d []byte) bool {
	g := number(d[3:5])
	return d[0] == '9' && (g >= 50 && g <= 65 || g >= 70 && g <= 88 || g >= 90 && g <= 92 || g >= 94 && g <= 99)
}

func aba(d []byte) bool {
	p := number(d[:2])
	return (p <= 12 && number(d) != 0 || p >= 21 && p <= 32 || p >= 61 && p <= 72 || p == 80) && weighted(d, 3, 7, 1, 3, 7, 1, 3, 7, 1)%10 == 0
}

func bsn(d []byte) bool {
	return !same(d) && weighted(d, 9, 8, 7, 6, 5, 4, 3, 2, -1)%11 == 0
}

func tfn(d []byte) bool { return !same(d) && weighted(d, 1, 4, 3, 7, 5, 8, 6, 9, 10)%11 == 0 }

func nif(d []byte) bool {
	r := weighted(d, 9, 8, 7, 6, 5, 4, 3, 2) % 11
	c := 0
	if r > 1 {
		c = 11 - r
	}
	return d[0] != '0' && d[0] != '4' && !same(d) && digit(d[8]) == c
}

func nhs(d []byte) bool {
	c := 11 - weighted(d, 10, 9, 8, 7, 6, 5, 4, 3, 2)%11
	return !same(d) && c != 10 && c%11 == digit(d[9])
}

func npi(d []byte) bool {
	var x [15]byte
	copy(x[:], "80840")
	copy(x[5:], d)
	return (d[0] == '1' || d[0] == '2') && luhn(x[:])
}

func pesel(d []byte) bool {
	m := number(d[2:4]) % 20
	return m >= 1 && m <= 12 && day(d[4:6]) && weighted(d, 1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)%10 == 0
}

func deTax(d []byte) bool {
	if d[0] == '0' {
		return false
	}
	var seen [10]int
	for _, c := range d[:10] {
		seen[c-'0']++
	}
	repeated := 0
	for _, n := range seen {
		if n > 3 {
			return false
		}
		if n > 1 {
			repeated++
		}
	}
	if repeated != 1 {
		return false
	}
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

func beNRN(d []byte) bool {
	m := number(d[2:4]) % 20
	if m > 12 || number(d[4:6]) > 31 || same(d) {
		return false
	}
	n, c := number(d[:9]), number(d[9:])
	return 97-n%97 == c || 97-(2000000000+n)%97 == c
}

func noFNR(d []byte) bool {
	k1 := weighted(d, 3, 7, 6, 1, 8, 9, 4, 5, 2, 1) % 11
	k2 := weighted(d, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1) % 11
	m := number(d[2:4]) % 40
	return day([]byte{'0' + (d[0]-'0')%4, d[1]}) && m >= 1 && m <= 12 && k1 == 0 && k2 == 0
}

func cpf(d []byte) bool {
	a := weighted(d, 10, 9, 8, 7, 6, 5, 4, 3, 2) * 10 % 11 % 10
	b := weighted(d, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2) * 10 % 11 % 10
	return !same(d) && a == digit(d[9]) && b == digit(d[10])
}

func cnpj(d []byte) bool {
	check := func(s int) int {
		if r := s % 11; r >= 2 {
			return 11 - r
		}
		return 0
	}
	return !same(d) && check(weighted(d, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)) == digit(d[12]) &&
		check(weighted(d, 6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)) == digit(d[13])
}

func tckn(d []byte) bool {
	odd := digit(d[0]) + digit(d[2]) + digit(d[4]) + digit(d[6]) + digit(d[8])
	even := digit(d[1]) + digit(d[3]) + digit(d[5]) + digit(d[7])
	sum := odd + even + digit(d[9])
	return d[0] != '0' && ((odd*7-even)%10+10)%10 == digit(d[9]) && sum%10 == digit(d[10])
}

var (
	verhoeffD = [10][10]byte{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 2, 3, 4, 0, 6, 7, 8, 9, 5}, {2, 3, 4, 0, 1, 7, 8, 9, 5, 6}, {3, 4, 0, 1, 2, 8, 9, 5, 6, 7},
		{4, 0, 1, 2, 3, 9, 5, 6, 7, 8}, {5, 9, 8, 7, 6, 0, 4, 3, 2, 1}, {6, 5, 9, 8, 7, 1, 0, 4, 3, 2}, {7, 6, 5, 9, 8, 2, 1, 0, 4, 3},
		{8, 7, 6, 5, 9, 3, 2, 1, 0, 4}, {9, 8, 7, 6, 5, 4, 3, 2, 1, 0}}
	verhoeffP = [8][10]byte{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 5, 7, 6, 2, 8, 3, 0, 9, 4}, {5, 8, 0, 3, 7, 9, 6, 1, 4, 2}, {8, 9, 1, 6, 0, 4, 3, 5, 2, 7},
		{9, 4, 5, 3, 1, 2, 6, 8, 7, 0}, {4, 2, 8, 6, 5, 7, 3, 9, 0, 1}, {2, 7, 9, 3, 8, 0, 6, 4, 1, 5}, {7, 0, 4, 6, 9, 1, 3, 2, 5, 8}}
)

func aadhaar(d []byte) bool {
	var c byte
	for i := range d {
		c = verhoeffD[c][verhoeffP[i%8][d[len(d)-1-i]-'0']]
	}
	return d[0] >= '2' && c == 0
}

func ean13(d []byte) bool { return weighted(d, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1)%10 == 0 }
func ahv(d []byte) bool   { return string(d[:3]) == "756" && ean13(d) }

func day(d []byte) bool   { n := number(d); return n >= 1 && n <= 31 }
func month(d []byte) bool { n := number(d); return n >= 1 && n <= 12 }

func zaID(d []byte) bool {
	return month(d[2:4]) && day(d[4:6]) && d[10] <= '2' && luhn(d)
}

func krRRN(d []byte) bool {
	c := (11 - weighted(d, 2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)%11) % 10
	return month(d[2:4]) && day(d[4:6]) && d[6] >= '1' && d[6] <= '8' && c == digit(d[12])
}

func sePersonnr(d []byte) bool {
	if len(d) == 12 {
		if y := number(d[:2]); y != 19 && y != 20 {
			return false
		}
		d = d[2:]
	}
	n := number(d[4:6])
	return month(d[2:4]) && (n >= 1 && n <= 31 || n >= 61 && n <= 91) && luhn(d)
}

// nir is the French number with its two check digits.
func nir(d []byte) bool {
	m := number(d[3:5])
	return (d[0] == '1' || d[0] == '2') && (m >= 1 && m <= 12 || m >= 20 && m <= 42 || m >= 50) && 97-number(d[:13])%97 == number(d[13:15])
}

// cnResident takes 17 digits and a check character, 0 to 9 or X.
func cnResident(w []byte) bool {
	for _, c := range w[:17] {
		if c < '0' || c > '9' {
			return false
		}
	}
	y := number(w[6:10])
	if y < 1900 || y > 2100 || !month(w[10:12]) || !day(w[12:14]) || w[0] == '0' || w[0] > '8' {
		return false
	}
	s := weighted(w, 7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2) % 11
	return "10X98765432"[s] == w[17]
}

// ibanLength is the length for each country of the registry.
var ibanLength = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28,
	"CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23,
	"GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28,
	"LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28,
	"NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24,
	"SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}

// iban checks upper-case letters and digits without spaces.
func iban(w []byte) bool {
	if len(w) < 15 || ibanLength[string(w[:2])] != len(w) {
		return false
	}
	rem := 0
	for i := range w {
		c := w[(i+4)%len(w)]
		if c <= '9' {
			rem = (rem*10 + digit(c)) % 97
		} else {
			rem = (rem*100 + int(c-'A') + 10) % 97
		}
	}
	return rem == 1
}

const dniLetters = "TRWAGMYFPDXBNJZSQVHLCKE"

// dni takes eight characters (a NIE's first letter stands for a digit) and the letter.
func dni(w []byte) bool {
	n := 0
	for i, c := range w[:8] {
		switch {
		case c >= '0' && c <= '9':
			n = n*10 + digit(c)
		case i == 0 && c >= 'X' && c <= 'Z':
			n = int(c - 'X')
		default:
			return false
		}
	}
	return dniLetters[n%23] == w[8]
}

var fiscalOdd = [36]int{1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23}

func fiscal(w []byte) bool {
	sum := 0
	for i, c := range w {
		letter := c >= 'A'
		switch i {
		case 0, 1, 2, 3, 4, 5, 8, 11, 15:
			if !letter {
				return false
			}
		default:
			if letter && (c < 'L' || c > 'V') { // digits are replaced by L…V when two people collide
				return false
			}
		}
		n := digit(c)
		if letter {
			n = int(c-'A') + 10
		}
		switch {
		case i == 15:
			return sum%26 == int(c-'A')
		case i%2 == 0:
			sum += fiscalOdd[n]
		case letter:
			sum += n - 10
		default:
			sum += n
		}
	}
	return false
}

// nric is S, T, F, G or M, seven digits and a check letter.
func nric(w []byte) bool {
	for _, c := range w[1:8] {
		if c < '0' || c > '9' {
			return false
		}
	}
	s := weighted(w[1:], 2, 7, 6, 5, 4, 3, 2)
	switch w[0] {
	case 'S':
		return "JZIHGFEDCBA"[s%11] == w[8]
	case 'T':
		return "JZIHGFEDCBA"[(s+4)%11] == w[8]
	case 'F':
		return "XWUTRQPNMLK"[s%11] == w[8]
	case 'G':
		return "XWUTRQPNMLK"[(s+4)%11] == w[8]
	case 'M':
		return "XWUTRQPNJLK"[10-(s+3)%11] == w[8]
	}
	return false
}

// hetu is ddmmyy, a century sign, three digits and a check character.
func hetu(w []byte) bool {
	for i, c := range w[:10] {
		if i != 6 && (c < '0' || c > '9') {
			return false
		}
	}
	return day(w[:2]) && month(w[2:4]) && "0123456789ABCDEFHJKLMNPRSTUVWXY"[(number(w[:6])*1000+number(w[7:10]))%31] == w[10]
}

// curp is the Mexican code of 18 characters.
func curp(w []byte) bool {
	for i, c := range w {
		letter := c >= 'A' && c <= 'Z'
		switch {
		case i < 4 || i >= 10 && i < 16:
			if !letter {
				return false
			}
		case i < 10 || i == 17:
			if letter {
				return false
			}
		}
	}
	if !month(w[6:8]) || !day(w[8:10]) || w[10] != 'H' && w[10] != 'M' && w[10] != 'X' {
		return false
	}
	sum := 0
	for i, c := range w[:17] {
		n := digit(c)
		if c >= 'A' {
			n = int(c-'A') + 10
			if c > 'N' {
				n++ // Ñ has a place of its own
			}
		}
		sum += n * (18 - i)
	}
	return (10-sum%10)%10 == digit(w[17])
}

// vin is 17 characters with the check digit of North America.
func vin(w []byte) bool {
	const letters = "12345678012345070923456789" // A…Z without I, O, Q
	weights := [17]int{8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2}
	sum, digits, alpha := 0, 0, 0
	for i, c := range w {
		switch {
		case c >= '0' && c <= '9':
			sum += digit(c) * weights[i]
			digits++
		case c >= 'A' && c <= 'Z' && c != 'I' && c != 'O' && c != 'Q':
			sum += int(letters[c-'A']-'0') * weights[i]
			alpha++
		default:
			return false
		}
	}
	return digits >= 5 && alpha >= 3 && "0123456789X"[sum%11] == w[8]
}

// dea is two letters and seven digits.
func dea(w []byte) bool {
	for _, c := range w[2:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	d := w[2:]
	return w[0] >= 'A' && w[0] <= 'Z' && (w[1] >= 'A' && w[1] <= 'Z') && (weighted(d, 1, 0, 1, 0, 1)+2*weighted(d, 0, 1, 0, 1, 0, 1))%10 == digit(d[6])
}

// mbi is the Medicare beneficiary identifier: eleven places of fixed kind.
func mbi(w []byte) bool {
	for i, c := range w {
		isDigit := c >= '0' && c <= '9'
		isLetter := c >= 'A' && c <= 'Z' && c != 'S' && c != 'L' && c != 'O' && c != 'I' && c != 'B' && c != 'Z'
		switch i {
		case 0:
			if c < '1' || c > '9' {
				return false
			}
		case 3, 6, 9, 10:
			if !isDigit {
				return false
			}
		case 1, 4, 7, 8:
			if !isLetter {
				return false
			}
		default:
			if !isDigit && !isLetter {
				return false
			}
		}
	}
	return true
}

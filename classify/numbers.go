package classify

import "net/netip"

// An ident is a number with a fixed count of digits.
type ident struct {
	class Class
	about topic // words that must stand beside it; 0 = none needed
}

// idents by count of digits, the most telling first. Those whose check digits
// one number in ten or eleven passes by chance need a word beside them.
var idents = [20][]ident{
	8:  {{NLBSN, aboutIdentity}},
	9:  {{USSSN, aboutSSN}, {USITIN, aboutTax | aboutSSN}, {HUTAJ, aboutTAJ}, {GRAFM, aboutAFM}, {CZRodne, aboutRodne}, {ILID, aboutTeudat}, {ABARouting, aboutRouting | aboutBank}, {CASIN, aboutIdentity | aboutSSN}, {NLBSN, aboutIdentity}, {AUTFN, aboutTax}, {PTNIF, aboutTax}, {Passport, aboutPassport}},
	10: {{AUMedicare, aboutMedicare}, {ATSVNR, aboutSVNR}, {CZRodne, aboutRodne}, {BGEGN, aboutEGN}, {ISKennitala, aboutKennitala}, {DKCPR, aboutCPR}, {UARNOKPP, aboutRNOKPP}, {UKNHS, aboutHealth}, {USNPI, aboutHealth}, {SEPersonnr, aboutIdentity}},
	11: {{ARCUIT, aboutCUIT}, {HROIB, aboutOIB}, {EELTCode, aboutIsikukood}, {RUSNILS, aboutSNILS}, {BRCPF, aboutTax | aboutIdentity}, {PLPESEL, aboutIdentity}, {TRTCKN, aboutIdentity}, {NOFNR, aboutIdentity}, {BENRN, aboutIdentity}, {DETaxID, aboutTax | aboutIdentity}},
	12: {{JPMyNumber, aboutMyNumber}, {SEPersonnr, aboutIdentity}, {INAadhaar, aboutIdentity}},
	13: {{CHAHV, 0}, {ROCNP, aboutCNP}, {JMBG, aboutJMBG}, {THID, aboutThai}, {KRRRN, aboutIdentity}, {ZAID, aboutIdentity}},
	14: {{BRCNPJ, 0}},
	15: {{FRNIR, 0}, {IMEI, aboutDevice}},
}

// valid applies the class's check digits. A switch and not a table of
// functions: a call through a value would move the digits to the heap.
func valid(c Class, d []byte) bool {
	switch c {
	case USSSN:
		return ssn(d)
	case USITIN:
		return itin(d)
	case ABARouting:
		return aba(d)
	case CASIN:
		return luhn(d) && d[0] != '0' && d[0] != '8'
	case NLBSN:
		var x [9]byte
		x[0] = '0'
		copy(x[9-len(d):], d)
		return bsn(x[:])
	case AUTFN:
		return tfn(d)
	case PTNIF:
		return nif(d)
	case UKNHS:
		return nhs(d)
	case USNPI:
		return npi(d)
	case SEPersonnr:
		return sePersonnr(d)
	case BRCPF:
		return cpf(d)
	case PLPESEL:
		return pesel(d)
	case TRTCKN:
		return tckn(d)
	case NOFNR:
		return noFNR(d)
	case BENRN:
		return beNRN(d)
	case DETaxID:
		return deTax(d)
	case INAadhaar:
		return aadhaar(d)
	case CHAHV:
		return ahv(d)
	case KRRRN:
		return krRRN(d)
	case ZAID:
		return zaID(d)
	case BRCNPJ:
		return cnpj(d)
	case FRNIR:
		return nir(d)
	case IMEI:
		return luhn(d)
	case ILID:
		return luhn(d) && !same(d)
	case HUTAJ:
		return taj(d)
	case GRAFM:
		return afm(d)
	case CZRodne:
		return rodne(d)
	case AUMedicare:
		return auMedicare(d)
	case ATSVNR:
		return svnr(d)
	case BGEGN:
		return egn(d)
	case ISKennitala:
		return kennitala(d)
	case DKCPR:
		return cpr(d)
	case UARNOKPP:
		return rnokpp(d)
	case ARCUIT:
		return cuit(d)
	case HROIB:
		return oib(d)
	case EELTCode:
		return isikukood(d)
	case RUSNILS:
		return snils(d)
	case JPMyNumber:
		return myNumber(d)
	case ROCNP:
		return cnp(d)
	case JMBG:
		return jmbg(d)
	case THID:
		return thaiID(d)
	}
	return true
}

// An asker reads the words beside a value once, when they are first asked for.
type asker struct {
	b     []byte
	start int
	given topic
	about topic
	asked bool
}

func (a *asker) topics(end int) topic {
	if !a.asked {
		a.about, a.asked = a.given|contextOf(a.b, a.start, end), true
	}
	return a.about
}

// A run is digits in groups, as they stand: 4111 1111 1111 1111.
type run struct {
	digits [40]byte
	n      int
	groups [12]group
	g      int
}

type group struct {
	start, end int  // in the text
	at         int  // index of its first digit in run.digits
	sep        byte // before it
}

func (r *run) read(b []byte, i int) {
	for i < len(b) && r.g < len(r.groups) {
		g := group{start: i, at: r.n}
		if r.g > 0 {
			g.sep = b[i-1]
		}
		for i < len(b) && isDigit(b[i]) && r.n < len(r.digits) {
			r.digits[r.n] = b[i]
			r.n++
			i++
		}
		g.end = i
		r.groups[r.g] = g
		r.g++
		if i < len(b) && isDigit(b[i]) { // longer than anything we know
			r.g = 0
			return
		}
		if i < len(b) && isWord(b[i]) {
			if b[i] != 'x' || i+1 >= len(b) || !isDigit(b[i+1]) { // x opens an extension
				r.g-- // the last group belongs to a word
				return
			}
		}
		j := i
		for j < len(b) && j-i < 3 && (b[j] == ' ' || b[j] == '-' || b[j] == '.' || b[j] == '/' || b[j] == '(' || b[j] == ')') {
			j++
		}
		if j == i || j >= len(b) || !isDigit(b[j]) || j-i == 2 && b[i] == b[i+1] {
			return
		}
		i = j
	}
}

// upTo gives the digits of groups from..to.
func (r *run) span(from, to int) []byte {
	end := r.n
	if to+1 < r.g {
		end = r.groups[to+1].at
	} else {
		end = r.groups[to].at + r.groups[to].end - r.groups[to].start
	}
	return r.digits[r.groups[from].at:end]
}

func (r *run) length(i int) int { return r.groups[i].end - r.groups[i].start }

// alike reports whether the groups after from up to to are parted by one same separator.
func (r *run) alike(from, to int, sep byte) bool {
	for i := from + 1; i <= to; i++ {
		if r.groups[i].sep != sep || r.groups[i].start-r.groups[i-1].end != 1 {
			return false
		}
	}
	return true
}

func (r *run) lengths(from int, want ...int) bool {
	if from+len(want) > r.g {
		return false
	}
	for i, n := range want {
		if r.length(from+i) != n {
			return false
		}
	}
	return true
}

// numbers looks at what starts with a digit, '+' or '(' at i.
func numbers(b []byte, i int, given topic) (Match, bool) {
	start := i
	plus := b[i] == '+'
	for i < len(b) && !isDigit(b[i]) && i-start < 3 {
		if b[i] != '+' && b[i] != '(' {
			return Match{}, false
		}
		i++
	}
	var r run
	r.read(b, i)
	if r.g == 0 || r.n < 6 && r.g < 2 {
		return Match{}, false
	}
	single := r.g == 1
	if single && r.n < 7 {
		return Match{}, false
	}
	// a '.' or '-' before means that this is the tail of something else.
	if start > 0 && !plus && b[start] != '(' {
		switch p := b[start-1]; {
		case p == '.' && start > 1 && isAlnum(b[start-2]), p == '-' && start > 1 && isAlnum(b[start-2]) && kinds[b[start-2]] != kDigit && single == false:
			return Match{}, false
		}
	}
	g0 := r.groups[0]
	ask := asker{b: b, start: start, given: given}

	// Four numbers with dots: an address or a version.
	if r.g >= 4 && r.lengths(0) && r.alike(0, 3, '.') && r.length(0) <= 3 && r.length(1) <= 3 && r.length(2) <= 3 && r.length(3) <= 3 {
		if r.g > 4 && r.groups[4].sep == '.' {
			return Match{}, false
		}
		return ipv4(b, start, r.groups[3].end, &ask)
	}
	last := r.groups[r.g-1].end
	if date, end := r.date(); date {
		if ask.topics(end)&aboutBirth != 0 {
			return Match{DateOfBirth, g0.start, end, Strong}, true
		}
		if r.g == 3 || r.n > 8 && r.groups[0].end-r.groups[0].start == 4 {
			return Match{}, false
		}
	}
	if plus {
		if r.g == 2 && r.groups[1].sep == '.' {
			return Match{}, false // a signed decimal fraction
		}
		for to := r.g - 1; to >= 0; to-- {
			if d := r.span(0, to); len(d) >= 8 && len(d) <= 15 && d[0] != '0' {
				if end := r.groups[to].end; single || r.groups[0].end-r.groups[0].start <= 4 {
					return Match{Phone, start, end, Strong}, true
				}
			}
		}
		return Match{}, false
	}

	if m, ok := r.rut(b, &ask); ok {
		return m, true
	}
	// Cards and identity numbers at any group; text may put other numbers beside them.
	for from := 0; from < r.g; from++ {
		for to := r.g - 1; to >= from; to-- {
			d := r.span(from, to)
			if len(d) < 8 || len(d) > 19 {
				continue
			}
			if from > 0 && (r.groups[from].sep == '.' || r.groups[from].sep == '/') || to < r.g-1 && (r.groups[to+1].sep == '.' || r.groups[to+1].sep == '/') {
				continue
			}
			s, e := r.groups[from].start, r.groups[to].end
			if e < len(b) && b[e] == '.' && e+1 < len(b) && isAlnum(b[e+1]) && from == to {
				continue // 0.123456789 and file names
			}
			if m, ok := r.card(d, from, to, s, e, &ask); ok {
				return m, true
			}
			if m, ok := r.identity(d, from, to, s, e, &ask); ok {
				return m, true
			}
		}
	}
	return r.phone(b, start, last, &ask)
}

func (r *run) card(d []byte, from, to, s, e int, ask *asker) (Match, bool) {
	if !card(d) {
		return Match{}, false
	}
	grouped := from != to
	if grouped {
		sep := r.groups[from+1].sep
		if sep != ' ' && sep != '-' || !r.alike(from, to, sep) ||
			!(r.lengths(from, 4, 4, 4, 4) || r.lengths(from, 4, 6, 5) || r.lengths(from, 4, 6, 4) || r.lengths(from, 4, 4, 4, 4, 3) || r.lengths(from, 8, 8) || r.lengths(from, 6, 13)) {
			return Match{}, false
		}
		return Match{PaymentCard, s, e, Certain}, true
	}
	about := ask.topics(e)
	switch {
	case about&aboutCard != 0:
		return Match{PaymentCard, s, e, Certain}, true
	case about&(aboutOrder|aboutDevice) != 0:
		return Match{}, false
	case len(d) == 16 || len(d) == 15:
		return Match{PaymentCard, s, e, Strong}, true
	}
	return Match{}, false // other lengths collide with ids and times too often
}

func (r *run) identity(d []byte, from, to, s, e int, ask *asker) (Match, bool) {
	// Written in the usual groups, a number needs no word beside it.
	if from != to {
		sep := r.groups[from+1].sep
		switch {
		case len(d) == 9 && r.lengths(from, 3, 2, 4) && to == from+2 && r.alike(from, to, sep) && (sep == '-' || sep == ' ' && ask.topics(e)&aboutSSN != 0):
			if ssn(d) {
				return Match{USSSN, s, e, Strong}, true
			}
			if itin(d) {
				return Match{USITIN, s, e, Strong}, true
			}
			return Match{}, false
		case len(d) == 11 && r.lengths(from, 3, 3, 3, 2) && r.groups[from+1].sep == '.' && r.groups[from+3].sep == '-' && cpf(d):
			return Match{BRCPF, s, e, Certain}, true
		case len(d) == 14 && r.lengths(from, 2, 3, 3, 4, 2) && r.groups[from+3].sep == '/' && cnpj(d):
			return Match{BRCNPJ, s, e, Certain}, true
		case len(d) == 13 && r.lengths(from, 3, 4, 4, 2) && r.groups[from+1].sep == '.' && ahv(d):
			return Match{CHAHV, s, e, Certain}, true
		case len(d) == 13 && r.lengths(from, 6, 7) && sep == '-' && krRRN(d):
			return Match{KRRRN, s, e, Strong}, true
		case len(d) == 12 && r.lengths(from, 4, 4, 4) && sep == ' ' && r.alike(from, to, ' ') && aadhaar(d) && ask.topics(e)&aboutMyNumber == 0:
			return Match{INAadhaar, s, e, Strong}, true
		case len(d) == 11 && r.lengths(from, 2, 2, 2, 3, 2) && beNRN(d):
			return Match{BENRN, s, e, Strong}, true
		case len(d) == 11 && r.lengths(from, 2, 8, 1) && r.alike(from, to, '-') && cuit(d):
			return Match{ARCUIT, s, e, Strong}, true
		case len(d) == 11 && r.lengths(from, 3, 3, 3, 2) && sep == '-' && r.groups[from+2].sep == '-' && snils(d):
			return Match{RUSNILS, s, e, Strong}, true
		case len(d) == 13 && r.lengths(from, 1, 4, 5, 2, 1) && r.alike(from, to, '-') && thaiID(d):
			return Match{THID, s, e, Strong}, true
		case len(d) == 10 && r.lengths(from, 6, 4) && sep == '/' && rodne(d), len(d) == 9 && r.lengths(from, 6, 3) && sep == '/' && rodne(d) && ask.topics(e)&aboutRodne != 0:
			return Match{CZRodne, s, e, Strong}, true
		case len(d) == 10 && r.lengths(from, 4, 5, 1) && auMedicare(d) && ask.topics(e)&aboutMedicare != 0:
			return Match{AUMedicare, s, e, Strong}, true
		case len(d) == 10 && r.lengths(from, 6, 4) && sep == '-' && sePersonnr(d) && ask.topics(e)&(aboutCPR|aboutKennitala) == 0:
			return Match{SEPersonnr, s, e, Strong}, true
		case len(d) == 12 && r.lengths(from, 8, 4) && sep == '-' && sePersonnr(d):
			return Match{SEPersonnr, s, e, Strong}, true
		case len(d) == 15 && r.lengths(from, 1, 2, 2, 2, 3, 3, 2) && nir(d):
			return Match{FRNIR, s, e, Certain}, true
		case len(d) == 10 && r.lengths(from, 3, 3, 4) && sep == ' ' && ask.topics(e)&aboutHealth != 0 && nhs(d):
			return Match{UKNHS, s, e, Strong}, true
		}
		sep0 := r.groups[from+1].sep
		if sep0 != ' ' && sep0 != '-' || !r.alike(from, to, sep0) {
			return Match{}, false
		}
	}
	for _, id := range idents[len(d)] {
		if valid(id.class, d) && (id.about == 0 && from == to || id.about != 0 && ask.topics(e)&id.about != 0) {
			return Match{id.class, s, e, Strong}, true
		}
	}
	if from == to {
		about := ask.topics(e)
		switch {
		case len(d) == 18 && cnResident(d):
			return Match{CNResident, s, e, Strong}, true
		case about&aboutPassport != 0 && len(d) <= 9:
			return Match{Passport, s, e, Strong}, true
		case about&aboutLicence != 0 && len(d) <= 14 && about&aboutCard == 0:
			return Match{DriverLicence, s, e, Likely}, true
		case about&aboutBank != 0 && about&(aboutCard|aboutPhone|aboutOrder) == 0 && len(d) <= 17 && given(about, aboutBank):
			return Match{BankAccount, s, e, Likely}, true
		}
	}
	return Match{}, false
}

// given reports whether a word of topic want stands there together with nothing that contradicts it.
func given(about, want topic) bool { return about&want != 0 && about&(aboutVersion|aboutNetwork) == 0 }

// date reports whether the run starts with a date, and where that ends.
func (r *run) date() (bool, int) {
	if r.g < 3 {
		return false, 0
	}
	sep := r.groups[1].sep
	if sep != r.groups[2].sep || sep != '-' && sep != '/' && sep != '.' || !r.alike(0, 2, sep) {
		return false, 0
	}
	a, b, c := r.length(0), r.length(1), r.length(2)
	x, y, z := number(r.span(0, 0)), number(r.span(1, 1)), number(r.span(2, 2))
	end := r.groups[2].end
	switch {
	case a == 4 && b <= 2 && c <= 2:
		return x >= 1800 && x <= 2200 && y >= 1 && y <= 12 && z >= 1 && z <= 31, end
	case a <= 2 && b <= 2 && (c == 4 || c == 2 && sep != '.'):
		return (c == 2 || z >= 1800 && z <= 2200) && x >= 1 && y >= 1 && (x <= 12 && y <= 31 || x <= 31 && y <= 12), end
	}
	return false, 0
}

func (r *run) phone(b []byte, start, last int, ask *asker) (Match, bool) {
	if r.n < 7 || r.n > 20 {
		return Match{}, false
	}
	// The North American form, with or without 1 and an extension.
	from, to := 0, r.g-1
	ext := r.g > 1 && r.groups[to].start > 0 && b[r.groups[to].start-1] == 'x'
	if ext {
		to--
	}
	d := r.span(from, to)
	if from < to && r.length(0) <= 3 && r.length(0) >= 1 && (string(r.span(0, 0)) == "1" || string(r.span(0, 0)) == "001") {
		from++
	}
	if to-from == 2 && r.lengths(from, 3, 3, 4) && (r.groups[from+1].sep == '-' || r.groups[from+1].sep == '.' || r.groups[from+1].sep == ')' || r.groups[from+1].sep == ' ') {
		n := r.span(from, to)
		if n[0] >= '2' && n[3] >= '2' || ask.topics(last)&aboutPhone != 0 || ext {
			return Match{Phone, start, last, Likely}, true
		}
	}
	if to-from == 1 && b[start] == '(' && r.lengths(from, 3, 7) {
		return Match{Phone, start, last, Likely}, true
	}
	if len(d) > 15 {
		return Match{}, false
	}
	about := ask.topics(last)
	if about&aboutPhone != 0 && about&(aboutCard|aboutSSN|aboutOrder|aboutVersion|aboutNetwork) == 0 {
		if r.g == 1 && (r.n < 8 || r.n > 13) && about&aboutOrder == 0 && r.n < 7 {
			return Match{}, false
		}
		return Match{Phone, start, last, Likely}, true
	}
	return Match{}, false
}

// ipv4 tells an address from a version number.
func ipv4(b []byte, s, e int, ask *asker) (Match, bool) {
	if e < len(b) && (isWord(b[e]) || b[e] == '-' && e+1 < len(b) && isAlnum(b[e+1]) || b[e] == '.' && e+1 < len(b) && isAlnum(b[e+1])) {
		return Match{}, false
	}
	if s > 0 && (isWord(b[s-1]) || b[s-1] == '.' || b[s-1] == '-' && s > 1 && isAlnum(b[s-2]) || b[s-1] == '/' && s > 1 && isWord(b[s-2])) {
		return Match{}, false // product/1.2.3.4
	}
	var o [4]int
	k, n := 0, 0
	for _, c := range b[s:e] {
		if c == '.' {
			k, n = k+1, 0
			continue
		}
		o[k] = o[k]*10 + digit(c)
		if n++; o[k] > 255 || n > 1 && o[k] < 10 { // too large, or a leading zero
			return Match{}, false
		}
	}
	if o[0] == 0 || o[0] == 127 || o[0] == 255 || o[0] >= 224 && o[0] < 240 {
		return Match{}, false
	}
	about := ask.topics(e)
	if about&aboutVersion != 0 && about&aboutNetwork == 0 {
		return Match{}, false
	}
	if o[0] < 20 && o[1] < 20 && o[2] < 20 && o[3] < 20 && o[0] != 10 && about&aboutNetwork == 0 {
		return Match{}, false
	}
	return Match{IPv4, s, e, Strong}, true
}

// addressSpan is how far hexadecimal groups, colons and dots go.
func addressSpan(b []byte, i int) int {
	e := i
	for e < len(b) && e-i < 46 && (b[e] == ':' || b[e] == '-' || b[e] == '.' || isAlnum(b[e])) {
		e++
	}
	return e
}

// colons looks at what starts with up to four hexadecimal digits and a ':' or '-': MAC and IPv6 addresses.
func colons(b []byte, i int) (Match, bool) {
	if i > 0 && (b[i-1] == ':' || b[i-1] == '-' || b[i-1] == '.' || isWord(b[i-1])) {
		return Match{}, false
	}
	e := addressSpan(b, i)
	w := b[i:e]
	if len(w) >= 17 && (w[2] == ':' || w[2] == '-') {
		ok, zero, set := true, true, true
		for k := 0; k < 17; k++ {
			if k%3 == 2 {
				ok = ok && w[k] == w[2]
			} else {
				ok = ok && hexOnly(w[k:k+1])
				zero = zero && w[k] == '0'
				set = set && (w[k] == 'f' || w[k] == 'F')
			}
		}
		if ok && (len(w) == 17 || w[17] != w[2] && !isAlnum(w[17])) {
			if zero || set {
				return Match{}, false
			}
			return Match{MAC, i, i + 17, Strong}, true
		}
	}
	if class, n := ipv6(w); class != "" {
		return Match{class, i, i + n, Strong}, true
	}
	return Match{}, false
}

// ipv6 is the class and the length of an IPv6 address at the start of w.
func ipv6(w []byte) (Class, int) {
	n, colonsIn, double := 0, 0, false
	for n < len(w) && (w[n] == ':' || w[n] == '.' || hexOnly(w[n:n+1])) {
		if w[n] == ':' {
			colonsIn++
			double = double || n > 0 && w[n-1] == ':'
		}
		n++
	}
	for n > 0 && (w[n-1] == '.' || w[n-1] == ':' && (n < 2 || w[n-2] != ':')) {
		n--
	}
	if colonsIn < 7 && !double || colonsIn < 2 || n < 6 || n > 45 || n < len(w) && isAlnum(w[n]) {
		return "", 0
	}
	var text [48]byte
	a, err := netip.ParseAddr(string(append(text[:0], w[:n]...)))
	if err != nil || !a.Is6() || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() {
		return "", 0
	}
	return IPv6, n
}

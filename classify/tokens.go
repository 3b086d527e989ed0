package classify

import (
	"bytes"
	"crypto/sha256"
	"math"
)

// A prefix that a vendor reserves for its tokens, and the shortest whole token.
type prefix struct {
	text  string
	min   int
	class Class // "" = APIToken
}

var prefixes = func() (byFirst [256][]prefix) {
	for _, p := range []prefix{
		{"ghp_", 36, GitHubToken}, {"gho_", 36, GitHubToken}, {"ghu_", 36, GitHubToken}, {"ghs_", 36, GitHubToken}, {"ghr_", 36, GitHubToken}, {"github_pat_", 40, GitHubToken}, {"glpat-", 26, GitLabToken}, {"gldt-", 25, GitLabToken}, {"glrt-", 25, GitLabToken},
		{"xoxb-", 20, SlackToken}, {"xoxp-", 20, SlackToken}, {"xoxa-", 20, SlackToken}, {"xoxr-", 20, SlackToken}, {"xoxs-", 20, SlackToken}, {"xapp-", 20, SlackToken}, {"sk_live_", 24, StripeKey}, {"sk_test_", 24, StripeKey}, {"rk_live_", 24, StripeKey}, {"rk_test_", 24, StripeKey},
		{"whsec_", 30, StripeKey}, {"SG.", 50, ""}, {"npm_", 36, RegistryToken}, {"pypi-", 50, RegistryToken}, {"dop_v1_", 60, ""}, {"doo_v1_", 60, ""}, {"dor_v1_", 60, ""}, {"shpat_", 32, ""}, {"shpss_", 32, ""}, {"shpca_", 32, ""}, {"shppa_", 32, ""},
		{"hf_", 30, ModelKey}, {"sk-ant-", 40, ModelKey}, {"sk-proj-", 40, ModelKey}, {"sk-", 40, ModelKey}, {"xai-", 40, ModelKey}, {"gsk_", 40, ModelKey}, {"AIza", 39, GoogleKey}, {"ya29.", 40, GoogleToken}, {"hvs.", 24, VaultToken}, {"hvb.", 24, VaultToken}, {"hvr.", 24, VaultToken}, {"glc_", 32, ""}, {"glsa_", 32, ""},
		{"dapi", 36, ""}, {"ATATT3", 60, ""}, {"lin_api_", 40, ""}, {"ntn_", 40, ""}, {"sq0atp-", 29, ""}, {"sq0csp-", 40, ""}, {"EAAA", 60, ""}, {"PMAK-", 50, ""}, {"NRAK-", 32, ""}, {"figd_", 40, ""}, {"dckr_pat_", 30, ""},
		{"dckr_oat_", 30, ""}, {"pul-", 44, ""}, {"rubygems_", 50, RegistryToken}, {"AGE-SECRET-KEY-1", 70, ""}, {"tskey-", 30, ""}, {"sntrys_", 40, ""}, {"sntryu_", 40, ""}, {"key-", 36, ""}, {"FLWSECK", 30, ""}, {"cio_", 32, ""}, {"pat_", 36, ""}, {"phc_", 40, ""}, {"phx_", 40, ""},
		{"GOCSPX-", 35, GoogleToken},
	} {
		if p.class == "" {
			p.class = APIToken
		}
		byFirst[p.text[0]] = append(byFirst[p.text[0]], p)
	}
	return
}()

// wide is how far a token of letters, digits and - _ . goes.
func wide(b []byte, i int) int {
	e := i
	for e < len(b) && (isWord(b[e]) || b[e] == '-' || b[e] == '.') {
		e++
	}
	for e > i && (b[e-1] == '.' || b[e-1] == '-') {
		e--
	}
	return e
}

// vendor is the class of a token with a reserved prefix.
func vendor(w []byte) Class {
	if len(w) < 16 {
		return ""
	}
	if len(w) == 20 && (w[0] == 'A' && (bytes.HasPrefix(w, []byte("AKIA")) || bytes.HasPrefix(w, []byte("ASIA")) || bytes.HasPrefix(w, []byte("AROA")) || bytes.HasPrefix(w, []byte("AIDA")))) {
		for _, c := range w {
			if kinds[c]&(kUpper|kDigit) == 0 {
				return ""
			}
		}
		return AWSKeyID
	}
	if len(w) >= 36 && azureSecret(w) {
		return AzureSecret
	}
	for _, p := range prefixes[w[0]] {
		if len(w) >= p.min && string(w[:len(p.text)]) == p.text && len(w) < 1024 {
			if p.text == "key-" && !hexOnly(w[4:]) || p.text == "dapi" && !hexOnly(w[4:]) || entropy(w[len(p.text):]) < 2.5 {
				continue
			}
			return p.class
		}
	}
	return ""
}

// entropy is Shannon's, in bits a byte, over at most 128 bytes.
func entropy(w []byte) float64 {
	w = w[:min(len(w), 128)]
	if len(w) == 0 {
		return 0
	}
	var count [256]uint8
	for _, c := range w {
		count[c]++
	}
	h := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(w))
			h -= p * math.Log2(p)
		}
	}
	return h
}

// jwt is the end of three (or, encrypted, five) base64url parts at i.
func jwt(b []byte, i int) (int, bool) {
	e, dots, lastDot := i, 0, i
	for e < len(b) {
		c := b[e]
		if c == '.' {
			if e-lastDot < 2 && dots < 2 {
				return 0, false
			}
			dots++
			lastDot = e
		} else if !isWord(c) && c != '-' {
			break
		}
		e++
	}
	return e, (dots == 2 || dots == 4) && e-i >= 40
}

// scheme looks at "Bearer x" and "Basic x"; the word is b[i:j].
func scheme(b []byte, i, j int) (Match, bool) {
	s := j
	for s < len(b) && b[s] == ' ' {
		s++
	}
	e := s
	for e < len(b) && (isWord(b[e]) || b[e] == '-' || b[e] == '.' || b[e] == '+' || b[e] == '/' || b[e] == '~' || b[e] == '=') {
		e++
	}
	v := b[s:e]
	if len(v) < 8 {
		return Match{}, false
	}
	if b[i]|0x20 == 'b' && j-i == 6 {
		if bytes.HasPrefix(v, []byte("eyJ")) {
			if end, ok := jwt(b, s); ok {
				return Match{JWT, s, end, Certain}, true
			}
		}
		if class := vendor(v); class != "" {
			return Match{class, s, e, Certain}, true
		}
		if len(v) >= 12 && opaque(v) {
			return Match{Bearer, s, e, Strong}, true
		}
		return Match{}, false
	}
	if len(v)%4 != 0 && v[len(v)-1] != '=' || !opaque(v) && entropy(v) < 3 || bytes.IndexByte(v, '.') >= 0 {
		return Match{}, false
	}
	colon := false // base64 of name:password holds a colon
	var quad [4]byte
	for k := 0; k+4 <= len(v) && !colon; k += 4 {
		n := 0
		for _, c := range v[k : k+4] {
			x := base64Value(c)
			if x < 0 {
				break
			}
			quad[n] = byte(x)
			n++
		}
		if n >= 2 {
			colon = quad[0]<<2|quad[1]>>4 == ':' || n >= 3 && quad[1]<<4|quad[2]>>2 == ':' || n == 4 && quad[2]<<6|quad[3] == ':'
		}
	}
	return Match{BasicAuth, s, e, Strong}, colon
}

func base64Value(c byte) int {
	switch {
	case c >= 'A' && c <= 'Z':
		return int(c - 'A')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 26
	case c >= '0' && c <= '9':
		return int(c-'0') + 52
	case c == '+' || c == '-':
		return 62
	case c == '/' || c == '_':
		return 63
	}
	return -1
}

// token looks at the word b[i:j] and at what it is the beginning of.
func token(b []byte, i, j int, seen byte, about topic) (Match, bool) {
	if i > 0 && (b[i-1] == '-' || b[i-1] == '+') && i > 1 && isWord(b[i-2]) {
		return Match{}, false // the tail of a longer thing
	}
	n := j - i
	if n >= 10 && b[i] == 'e' && b[i+1] == 'y' && b[i+2] == 'J' {
		if end, ok := jwt(b, i); ok {
			return Match{JWT, i, end, Certain}, true
		}
	}
	if j < len(b) && (b[j] == '~' || b[j] == ':') || n == 24 && i > 0 && b[i-1] == '/' {
		if m, ok := placed(b, i, j); ok {
			return m, true
		}
	}
	if len(prefixes[b[i]]) > 0 || b[i] == 'A' {
		e := wide(b, i)
		if class := vendor(b[i:e]); class != "" {
			return Match{class, i, e, Certain}, true
		}
		if class := vendor(b[i:j]); class != "" {
			return Match{class, i, j, Certain}, true
		}
	}
	if seen&kDigit == 0 && n < 24 {
		return Match{}, false
	}
	if n <= 34 {
		if m, ok := identifier(b, i, j, about); ok {
			return m, true
		}
	}
	if n >= 25 && n <= 90 {
		if m, ok := wallet(b, i, j, about); ok {
			return m, true
		}
	}
	// A long random word needs a word beside it that speaks of a secret.
	if n >= 20 && n <= 512 && seen&kDigit != 0 && seen&(kLower|kUpper) != 0 {
		e := i
		for e < len(b) && (isWord(b[e]) || b[e] == '-' || b[e] == '+' || b[e] == '/' || b[e] == '=') {
			e++
		}
		w := b[i:e]
		if before := b[max(0, i-24):i]; bytes.Contains(before, []byte("ssh-")) || bytes.Contains(before, []byte("ecdsa-sha2")) {
			return Match{}, false // a public key
		}
		if len(w) < 24 || hexOnly(w) && len(w) < 32 || entropy(w) < 3.5-b2f(hexOnly(w))*0.5 {
			return Match{}, false
		}
		t := about | contextOf(b, i, i)
		if len(w) == 40 && t&aboutAWS != 0 && t&aboutSecret != 0 {
			return Match{AWSSecret, i, e, Certain}, true
		}
		if t&aboutSecret != 0 && t&(aboutVersion|aboutOrder) == 0 && !hexOnly(w) {
			return Match{Secret, i, e, Likely}, true
		}
	}
	return Match{}, false
}

func b2f(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// identifier looks at short codes of letters and digits.
func identifier(b []byte, i, j int, given topic) (Match, bool) {
	var w [40]byte
	n := copy(w[:], b[i:j])
	upper := w[:n]
	for k, c := range upper {
		if c >= 'a' && c <= 'z' {
			upper[k] = c - 32
		} else if c == '_' {
			return Match{}, false
		}
	}
	two := n >= 2 && upper[0] >= 'A' && upper[1] >= 'A'
	ask := asker{b: b, start: i, given: given}
	// An IBAN, whole or in groups of four.
	if two && n >= 4 && !isUpperLetter(upper[2]) && !isUpperLetter(upper[3]) {
		want := ibanLength[string(upper[:2])]
		if want != 0 && n <= want {
			end := j
			k := n
			for k < want && end+1 < len(b) && (b[end] == ' ' || b[end] == '-') && isAlnum(b[end+1]) {
				end++
				for end < len(b) && isAlnum(b[end]) && k < want {
					c := b[end]
					if c >= 'a' && c <= 'z' {
						c -= 32
					}
					w[k] = c
					k++
					end++
				}
			}
			if k == want && (end == len(b) || !isAlnum(b[end])) && iban(w[:k]) {
				return Match{IBAN, i, end, Certain}, true
			}
		}
	}
	// A UK national insurance number, whole or in pairs.
	if two && (n == 9 || n == 2 || n == 8) {
		var x [9]byte
		end, k := i, 0
		for end < len(b) && k < 9 {
			c := b[end]
			if c == ' ' && k > 0 && k%2 == 0 && end+1 < len(b) && isAlnum(b[end+1]) {
				end++
				continue
			}
			if !isAlnum(c) {
				break
			}
			if c >= 'a' && c <= 'z' {
				c -= 32
			}
			x[k] = c
			k++
			end++
		}
		if k == 9 && (end == len(b) || !isWord(b[end])) && nino(x[:]) {
			return Match{UKNINO, i, end, Strong}, true
		}
	}
	if m, ok := lettered(b, i, j, upper, &ask); ok {
		return m, true
	}
	w9 := upper
	switch n {
	case 6: // ddmmyy of a Finnish code, whose century sign may be '-', '+' or a letter
		if j+5 <= len(b) && (b[j] == '-' || b[j] == '+') && (j+5 == len(b) || !isAlnum(b[j+5])) && digitsIn(upper) == 6 {
			code := append(w[:6], b[j:j+5]...)
			code[10] &^= (code[10] & 0x40) >> 1 // upper case
			if digitsIn(code[7:10]) == 3 && hetu(code) {
				return Match{FIHETU, i, j + 5, Strong}, true
			}
		}
	case 9:
		switch {
		case isUpperLetter(w9[8]) && (!isUpperLetter(w9[0]) || w9[0] >= 'X' && w9[0] <= 'Z') && dni(w9):
			return Match{ESDNI, i, j, Strong}, true
		case isUpperLetter(w9[8]) && (w9[0] == 'S' || w9[0] == 'T' || w9[0] == 'F' || w9[0] == 'G' || w9[0] == 'M') && nric(w9):
			return Match{SGNRIC, i, j, Strong}, true
		case two && digitsIn(w9[2:]) == 7 && dea(w9) && ask.topics(j)&aboutHealth != 0:
			return Match{USDEA, i, j, Strong}, true
		}
	case 10:
		if digitsIn(upper) == 4 && digitsIn(upper[5:9]) == 4 && bytes.IndexByte([]byte("PCHFATBLJG"), upper[3]) >= 0 && (ask.topics(j)&aboutTax != 0 || ask.topics(j)&aboutIdentity != 0) {
			return Match{INPAN, i, j, Strong}, true
		}
	case 11:
		if (upper[6] == 'A' || upper[6] == 'B') && digitsIn(upper[:6]) == 6 && digitsIn(upper[7:10]) == 3 && hetu(upper) && ask.topics(j)&aboutIdentity != 0 {
			return Match{FIHETU, i, j, Strong}, true
		}
		if mbi(upper) && ask.topics(j)&aboutHealth != 0 {
			return Match{USMBI, i, j, Strong}, true
		}
	case 16:
		if fiscal(upper) {
			return Match{ITFiscal, i, j, Certain}, true
		}
	case 17:
		if vin(upper) && ask.topics(j)&aboutDevice != 0 {
			return Match{VIN, i, j, Strong}, true
		}
	case 18:
		if curp(upper) {
			return Match{MXCURP, i, j, Certain}, true
		}
		if upper[17] == 'X' && cnResident(upper) {
			return Match{CNResident, i, j, Certain}, true
		}
	}
	if n >= 8 && n <= 14 && two && vatCountry(upper[:2]) && digitsIn(upper[2:]) >= 7 && ask.topics(j)&aboutVAT != 0 {
		return Match{VAT, i, j, Strong}, true
	}
	if n >= 6 && n <= 16 && digitsIn(upper) >= 4 {
		switch t := ask.topics(j); {
		case t&aboutPassport != 0 && n <= 9 && t&aboutLicence == 0:
			return Match{Passport, i, j, Strong}, true
		case t&aboutLicence != 0 && t&(aboutVersion|aboutSecret) == 0:
			return Match{DriverLicence, i, j, Likely}, true
		}
	}
	if n >= 3 && n <= 7 && isUpperLetter(b[i]) && ask.topics(j)&aboutDiagnosis != 0 {
		e := j
		if e+1 < len(b) && b[e] == '.' && isAlnum(b[e+1]) {
			for e++; e < len(b) && isAlnum(b[e]); e++ {
			}
		}
		if icd(b[i:e]) {
			return Match{Diagnosis, i, e, Strong}, true
		}
	}
	return Match{}, false
}

func isUpperLetter(c byte) bool { return c >= 'A' && c <= 'Z' }

// nino is two letters, six digits and a suffix of A to D.
func nino(w []byte) bool {
	if digitsIn(w[2:8]) != 6 || w[8] < 'A' || w[8] > 'D' {
		return false
	}
	for _, c := range w[:2] {
		if !isUpperLetter(c) || c == 'D' || c == 'F' || c == 'I' || c == 'Q' || c == 'U' || c == 'V' {
			return false
		}
	}
	switch string(w[:2]) {
	case "BG", "GB", "KN", "NK", "NT", "TN", "ZZ":
		return false
	}
	return w[1] != 'O'
}

func vatCountry(w []byte) bool {
	switch string(w) {
	case "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "EL", "ES", "FI", "FR", "HR", "HU", "IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK", "GB", "XI", "CH", "NO":
		return true
	}
	return false
}

// wallet looks at addresses of crypto currencies.
func wallet(b []byte, i, j int, given topic) (Match, bool) {
	w := b[i:j]
	switch {
	case len(w) == 42 && w[0] == '0' && w[1] == 'x' && hexOnly(w[2:]) && entropy(w[2:]) > 2.5:
		if (given|contextOf(b, i, j))&aboutCrypto != 0 {
			return Match{Ethereum, i, j, Certain}, true
		}
		return Match{Ethereum, i, j, Likely}, true
	case (w[0] == '1' || w[0] == '3') && len(w) <= 35 && base58Check(w):
		return Match{Bitcoin, i, j, Certain}, true
	case len(w) >= 42 && (w[0] == 'b' || w[0] == 'B') && bytes.EqualFold(w[:3], []byte("bc1")) && bech32(w):
		return Match{Bitcoin, i, j, Certain}, true
	}
	return Match{}, false
}

const base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// base58Check decodes 25 bytes and compares the last four with the double SHA-256 of the rest.
func base58Check(w []byte) bool {
	var out [25]byte
	for _, c := range w {
		carry := bytes.IndexByte([]byte(base58), c)
		if carry < 0 {
			return false
		}
		for k := len(out) - 1; k >= 0; k-- {
			carry += 58 * int(out[k])
			out[k] = byte(carry)
			carry >>= 8
		}
		if carry != 0 {
			return false
		}
	}
	if out[0] != 0 && out[0] != 5 {
		return false
	}
	h := sha256.Sum256(out[:21])
	h = sha256.Sum256(h[:])
	return bytes.Equal(h[:4], out[21:])
}

// bech32 checks the code of BIP 173 and BIP 350 for the human-readable part bc.
func bech32(w []byte) bool {
	const charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	gen := [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3}
	chk := uint32(1)
	step := func(v uint32) {
		top := chk >> 25
		chk = chk&0x1ffffff<<5 ^ v
		for k := range gen {
			if top>>k&1 == 1 {
				chk ^= gen[k]
			}
		}
	}
	for _, v := range []uint32{3, 3, 0, 2, 3} { // "bc", expanded
		step(v)
	}
	for _, c := range w[3:] {
		v := bytes.IndexByte([]byte(charset), c|0x20)
		if v < 0 {
			return false
		}
		step(uint32(v))
	}
	return chk == 1 || chk == 0x2bc830a3
}

// azureSecret is a client secret of Entra ID: three characters, a digit, Q~ and 31 to 34 more.
func azureSecret(w []byte) bool {
	if len(w) < 37 || len(w) > 40 || w[4] != 'Q' || w[5] != '~' || !isDigit(w[3]) {
		return false
	}
	for _, c := range w {
		if !isWord(c) && c != '-' && c != '.' && c != '~' {
			return false
		}
	}
	return entropy(w[6:]) >= 3
}

// placed looks at tokens that a sign in them or the words before them mark.
func placed(b []byte, i, j int) (Match, bool) {
	n := j - i
	switch {
	case n == 5 && b[j] == '~':
		e := j
		for e < len(b) && (isWord(b[e]) || b[e] == '-' || b[e] == '.' || b[e] == '~') {
			e++
		}
		if azureSecret(b[i:e]) {
			return Match{AzureSecret, i, e, Certain}, true
		}
	case j < len(b) && b[j] == ':' && (n >= 8 && n <= 10 && digitsIn(b[i:j]) == n || n >= 11 && n <= 13 && bytes.HasPrefix(b[i:], []byte("bot")) && digitsIn(b[i:j]) == n-3):
		e := wide(b, j+1)
		if e-j == 36 && bytes.HasPrefix(b[j+1:], []byte("AA")) && entropy(b[j+3:e]) >= 3 {
			return Match{TelegramToken, j + 1, e, Certain}, true
		}
	case n == 24 && bytes.Contains(b[max(0, i-64):i], []byte("hooks.slack.com/services/")):
		return Match{SlackToken, i, j, Certain}, true
	}
	return Match{}, false
}

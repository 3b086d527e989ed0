package classify

// How a named value must look to be of the class its name says.
type shapeOf func(v []byte) bool

type named struct {
	class Class
	fits  shapeOf
	sure  Confidence
	bare  bool // also in prose and forms, where the value is not quoted
}

func letters(v []byte) bool {
	n := 0
	for _, c := range v {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80:
			n++
		case c == ' ' || c == '-' || c == '\'' || c == '.' || c == ',':
		default:
			return false
		}
	}
	return n >= 2 && len(v) <= 80
}

func digitsIn(v []byte) int {
	n := 0
	for _, c := range v {
		if c >= '0' && c <= '9' {
			n++
		}
	}
	return n
}

// between makes a test for lo to hi digits and nothing but digits and the usual separators.
func between(lo, hi int) shapeOf {
	return func(v []byte) bool {
		for _, c := range v {
			if (c < '0' || c > '9') && c != ' ' && c != '-' && c != '.' && c != '/' && c != '(' && c != ')' && c != '+' && c != 'x' {
				return false
			}
		}
		n := digitsIn(v)
		return n >= lo && n <= hi
	}
}

// code is a short identifier of capital letters and digits.
func code(v []byte) bool {
	if len(v) < 5 || len(v) > 20 || digitsIn(v) < 3 {
		return false
	}
	for _, c := range v {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != ' ' {
			return false
		}
	}
	return true
}

// held is any value that is not empty, a word of the format itself or a mask.
func held(v []byte) bool {
	if len(v) < 3 {
		return false
	}
	switch string(v) {
	case "null", "true", "false", "none", "undefined", "string", "None", "True", "False", "nil", "password", "secret", "token":
		return false
	}
	if v[0] == '{' || v[0] == '[' || v[0] == '<' || v[0] == '$' || v[0] == '*' || v[0] == '#' {
		return false
	}
	return string(v[:min(3, len(v))]) != "\xe2\x80\xb9" && string(v[:3]) != "xxx" && string(v[:3]) != "XXX"
}

// opaque is a value that is not a plain word: long enough, and mixed.
func opaque(v []byte) bool {
	if len(v) < 8 || len(v) > 4096 || !held(v) {
		return false
	}
	var lower, upper, digit, other bool
	for _, c := range v {
		switch {
		case c >= 'a' && c <= 'z':
			lower = true
		case c >= 'A' && c <= 'Z':
			upper = true
		case c >= '0' && c <= '9':
			digit = true
		case c == ' ' || c < ' ':
			return false
		case c == '-' || c == '_' || c == '.' || c == '/' || c == ':':
		default:
			other = true
		}
	}
	return digit && (lower || upper) || other || lower && upper && len(v) >= 16
}

func address(v []byte) bool {
	alpha := 0
	for _, c := range v {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80:
			alpha++
		case c == '@' || c == '{' || c == '[' || c == '=' || c == '_':
			return false
		}
	}
	space := false
	for _, c := range v {
		space = space || c == ' ' || c == ','
	}
	return alpha >= 3 && len(v) >= 6 && len(v) <= 200 && space
}

func coordinate(v []byte) bool {
	n, dot := 0, -1
	for i, c := range v {
		switch {
		case c >= '0' && c <= '9':
			n++
		case c == '.' && dot < 0:
			dot = i
		case c == '-' && i == 0:
		default:
			return false
		}
	}
	return dot > 0 && len(v)-dot-1 >= 2 && n >= 3 && n <= 20
}

func date(v []byte) bool {
	if len(v) > 10 && (v[10] == 'T' || v[10] == ' ') {
		v = v[:10]
	}
	if len(v) < 6 || len(v) > 12 {
		return false
	}
	n, sep := 0, 0
	for _, c := range v {
		switch {
		case c >= '0' && c <= '9':
			n++
		case c == '-' || c == '/' || c == '.' || c == ' ':
			sep++
		default:
			return false
		}
	}
	return n >= 4 && n <= 8 && (sep == 2 || sep == 0 && n == 8)
}

func word(v []byte) bool { return held(v) && len(v) <= 60 }

func secretWord(v []byte) bool { return held(v) && len(v) >= 4 && len(v) <= 512 }

// signature is that of a shared-access URL: base64 with its end escaped.
func signature(v []byte) bool {
	if len(v) < 46 || len(v) > 128 || string(v[len(v)-3:]) != "%3D" && string(v[len(v)-3:]) != "%3d" {
		return false
	}
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && i+2 < len(v) && hexOnly(v[i+1:i+3]) {
			i += 2
		} else if base64Value(v[i]) < 0 {
			return false
		}
	}
	return true
}

func pair(v []byte) bool {
	for i, c := range v {
		if c == ',' || c == ' ' {
			rest := v[i+1:]
			for len(rest) > 0 && rest[0] == ' ' {
				rest = rest[1:]
			}
			return coordinate(v[:i]) && coordinate(rest)
		}
	}
	return false
}

// byName maps normalised names (lower case, letters and digits only) to what
// their values are. A longer name matches by its last one to three words.
var byName = func() map[string]named {
	m := map[string]named{}
	add := func(c Class, fits shapeOf, sure Confidence, bare bool, names ...string) {
		for _, n := range names {
			m[n] = named{c, fits, sure, bare}
		}
	}
	add(Password, secretWord, Strong, true, "password", "passwd", "pwd", "userpassword", "passphrase", "newpassword", "oldpassword", "currentpassword", "passwordconfirmation", "confirmpassword", "rootpass", "rootpassword", "dbpassword", "passcode", "kennwort", "contrasena", "motdepasse", "passwordhash")
	add(CardCode, between(3, 4), Strong, true, "cvv", "cvv2", "cvc", "cvc2", "cardcode", "securitycode", "cardverificationvalue", "csc")
	add(Password, between(4, 8), Strong, true, "pin", "pincode", "otp", "tfacode", "mfacode", "verificationcode", "onetimepassword", "otpcode")
	add(Secret, opaque, Strong, true, "secret", "clientsecret", "apikey", "apisecret", "secretkey", "privatekey", "appsecret", "signingkey", "encryptionkey", "accesskey", "masterkey", "sharedsecret", "sharedkey", "webhooksecret", "consumersecret", "xapikey", "authkey", "apitoken", "credential", "sessionsecret", "secrettoken", "storagekey", "accountkey", "sastoken")
	add(Bearer, opaque, Strong, true, "token", "accesstoken", "refreshtoken", "idtoken", "authtoken", "bearer", "bearertoken", "authorization", "xauthtoken", "csrftoken", "xsrftoken", "servicetoken", "usertoken", "oauthtoken", "jwt", "resettoken", "invitetoken")
	add(Session, opaque, Strong, true, "sessionid", "sessid", "phpsessid", "jsessionid", "sid", "connectsid", "sessiontoken", "aspnetsessionid")
	add(AWSSecret, opaque, Certain, true, "awssecretaccesskey", "secretaccesskey", "awssecretkey")
	add(Presigned, func(v []byte) bool { return len(v) >= 64 && len(v) <= 1024 && hexOnly(v) }, Certain, true, "xamzsignature", "xgoogsignature")
	add(Presigned, signature, Certain, true, "sig")
	add(PersonName, letters, Strong, false, "firstname", "lastname", "fullname", "givenname", "familyname", "surname", "middlename", "maidenname", "forename", "fname", "lname", "cardholder", "cardholdername", "accountholder", "holdername", "patientname", "customername", "contactname", "vorname", "nachname", "nameoncard", "displayname", "realname", "personname", "recipientname", "employeename", "mothersmaidenname", "buyername", "payername")
	add(PostalAddress, address, Strong, false, "address", "streetaddress", "street", "addressline1", "addressline2", "address1", "address2", "homeaddress", "billingaddress", "shippingaddress", "mailingaddress", "postaladdress", "strasse", "anschrift", "addressline", "fulladdress", "street1", "street2")
	add(PostalAddress, code, Likely, false, "postcode", "postalcode", "zipcode")
	add(PostalAddress, between(5, 9), Likely, false, "zip", "plz")
	add(DateOfBirth, date, Certain, true, "dob", "dateofbirth", "birthdate", "birthday", "birthdt", "geburtsdatum", "bornon", "borndate", "dateofbirthday", "fechanacimiento")
	add(Phone, between(7, 15), Strong, true, "phone", "phonenumber", "telephone", "telephonenumber", "mobile", "mobilenumber", "mobilephone", "cellphone", "cell", "msisdn", "tel", "fax", "faxnumber", "homephone", "workphone", "phoneno", "contactnumber", "phone1", "phone2", "whatsapp", "telefon")
	add(Coordinates, coordinate, Strong, false, "lat", "latitude", "lon", "lng", "longitude")
	add(Coordinates, pair, Strong, true, "latlng", "latlon", "coordinates", "coords", "geo", "geolocation", "location", "gps", "position", "ll")
	add(USSSN, func(v []byte) bool { d, ok := onlyDigits(v, 9); return ok && (ssn(d) || itin(d)) }, Certain, true, "ssn", "socialsecuritynumber", "socialsecurity", "socialsecurityno", "ssnlast9")
	add(Passport, code, Strong, true, "passport", "passportnumber", "passportno", "passportid", "reisepassnummer", "pasaporte")
	add(DriverLicence, code, Strong, true, "driverlicense", "driverslicense", "driverlicence", "driverslicence", "driverlicensenumber", "driverslicensenumber", "drivinglicence", "drivinglicense", "dlnumber", "licensenumber", "drivinglicencenumber")
	add(BankAccount, between(6, 17), Strong, true, "accountnumber", "bankaccount", "bankaccountnumber", "acctnumber", "accountno", "kontonummer", "acctnum")
	add(BIC, bic, Strong, true, "bic", "swift", "swiftcode", "biccode", "bicswift")
	add(MedicalRecord, code, Strong, true, "mrn", "medicalrecordnumber", "medicalrecord", "patientid", "healthinsurancenumber", "insurancenumber", "healthcardnumber", "memberid", "policynumber", "patientnumber", "healthid")
	add(Diagnosis, icd, Strong, true, "diagnosis", "diagnosiscode", "icd", "icd10", "icdcode", "icd10code")
	add(Special, word, Likely, false, "religion", "ethnicity", "race", "sexualorientation", "politicalopinion", "tradeunion", "disability", "bloodtype", "hivstatus", "genderidentity", "maritalstatus", "nationality")
	return m
}()

// bic is eight or eleven characters: bank, country, place, branch.
func bic(v []byte) bool {
	if len(v) != 8 && len(v) != 11 {
		return false
	}
	for i, c := range v {
		if c >= 'A' && c <= 'Z' || i >= 6 && c >= '0' && c <= '9' {
			continue
		}
		return false
	}
	_, known := ibanLength[string(v[4:6])]
	switch string(v[4:6]) {
	case "US", "CA", "JP", "CN", "IN", "AU", "HK", "SG", "KR", "ZA", "MX", "TH", "MY", "ID", "NZ", "AR", "CL", "CO", "PE", "TW", "VN", "PH", "MA", "KE", "NG":
		known = true
	}
	return known
}

// icd is an ICD-10 code such as E11.9.
func icd(v []byte) bool {
	if len(v) < 3 || len(v) > 8 || v[0] < 'A' || v[0] > 'Z' || v[1] < '0' || v[1] > '9' || (v[2] < '0' || v[2] > '9') && (v[2] < 'A' || v[2] > 'B') {
		return false
	}
	return len(v) == 3 || v[3] == '.' && len(v) > 4
}

// onlyDigits gives the digits of v when there are exactly n, parted by nothing but spaces and dashes.
func onlyDigits(v []byte, n int) ([]byte, bool) {
	if len(v) < n || len(v) > 2*n {
		return nil, false
	}
	d := make([]byte, 0, 24)
	for _, c := range v {
		switch {
		case c >= '0' && c <= '9':
			d = append(d, c)
		case c != ' ' && c != '-':
			return nil, false
		}
	}
	return d, len(d) == n
}

// longestName is the longest name that is looked at.
const longestName = 48

// meaningOf looks a name up: whole, then by its last three, two and one words.
func meaningOf(name []byte) (named, bool) {
	if len(name) == 0 || len(name) > longestName {
		return named{}, false
	}
	var flat [longestName]byte
	var starts [longestName]int
	n, words := 0, 0
	fresh := true
	for i, c := range name {
		switch {
		case c >= 'A' && c <= 'Z':
			if i > 0 && name[i-1] >= 'a' && name[i-1] <= 'z' {
				fresh = true
			}
			c |= 0x20
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
		default:
			fresh = true
			continue
		}
		if fresh {
			starts[words] = n
			words++
			fresh = false
		}
		flat[n] = c
		n++
	}
	if n < 2 {
		return named{}, false
	}
	if m, ok := byName[string(flat[:n])]; ok {
		return m, true
	}
	for k := min(3, words-1); k >= 1; k-- {
		if m, ok := byName[string(flat[starts[words-k]:n])]; ok {
			if words > k && (m.class == Bearer || m.class == Secret) && paging(flat[:n]) {
				return named{}, false
			}
			return m, true
		}
	}
	return named{}, false
}

// paging reports whether a name such as nextPageToken speaks of paging.
func paging(name []byte) bool {
	for _, w := range [...]string{"page", "next", "continuation", "cursor", "sync", "count", "public"} {
		if len(name) >= len(w) {
			for i := 0; i+len(w) <= len(name); i++ {
				if string(name[i:i+len(w)]) == w {
					return true
				}
			}
		}
	}
	return false
}

// Field classifies one named value: a JSON member, a parameter, a column. The
// name gives the context that a bare value lacks ("ssn": "078051120"). The
// whole value must be of the class; an empty class means nothing was found.
func Field(name string, value []byte) (Class, Confidence) {
	if len(value) == 0 || len(value) > maxValue {
		return "", 0
	}
	var short [96]byte
	nb := append(short[:0], name[:min(len(name), len(short))]...)
	var room [2]Match
	found := scan(room[:0], value, 2, topicsIn(nb))
	if len(found) == 1 && (found[0].End-found[0].Start == len(value) || found[0].Class.Secret()) {
		return found[0].Class, found[0].Confidence
	}
	if m, ok := meaningOf(nb); ok && m.fits(value) {
		return m.class, m.sure
	}
	return "", 0
}

// maxValue is the longest value that is taken for one field.
const maxValue = 16 << 10

package classify

// A topic is what the words beside a value speak of, as bits.
type topic uint64

const (
	aboutCard topic = 1 << iota
	aboutSSN
	aboutPhone
	aboutBank
	aboutBirth
	aboutPassport
	aboutLicence
	aboutTax
	aboutHealth
	aboutNetwork
	aboutVersion
	aboutOrder
	aboutSecret
	aboutCrypto
	aboutVAT
	aboutIdentity
	aboutDevice
	aboutPlace
	aboutDiagnosis
	aboutAWS
	aboutRouting
	aboutBIC
	aboutRUT
	aboutCUIT
	aboutPPS
	aboutSVNR
	aboutRodne
	aboutCNP
	aboutEGN
	aboutOIB
	aboutMyNumber
	aboutTAJ
	aboutAFM
	aboutIsikukood
	aboutKennitala
	aboutJMBG
	aboutTeudat
	aboutTaiwan
	aboutHKID
	aboutThai
	aboutSNILS
	aboutRNOKPP
	aboutMedicare
	aboutCPR
)

// topics maps single words, lower case, to what they speak of.
var topics = map[string]topic{
	"card": aboutCard, "cards": aboutCard, "cc": aboutCard, "credit": aboutCard, "debit": aboutCard, "visa": aboutCard, "mastercard": aboutCard, "amex": aboutCard,
	"cardnumber": aboutCard, "ccnum": aboutCard, "pan": aboutCard | aboutTax, "creditcard": aboutCard, "maestro": aboutCard, "discover": aboutCard,
	"ssn": aboutSSN, "social": aboutSSN, "socialsecurity": aboutSSN, "ssns": aboutSSN, "itin": aboutTax, "taxpayer": aboutTax,
	"phone": aboutPhone, "telephone": aboutPhone, "tel": aboutPhone, "mobile": aboutPhone, "cell": aboutPhone, "cellphone": aboutPhone, "fax": aboutPhone,
	"call": aboutPhone, "called": aboutPhone, "msisdn": aboutPhone, "sms": aboutPhone, "whatsapp": aboutPhone, "telefon": aboutPhone, "phones": aboutPhone,
	"telefono": aboutPhone, "handy": aboutPhone, "contact": aboutPhone, "reach": aboutPhone, "office": aboutPhone, "dial": aboutPhone, "text": aboutPhone, "phonenumber": aboutPhone, "answering": aboutPhone, "voicemail": aboutPhone, "hotline": aboutPhone, "ring": aboutPhone, "callback": aboutPhone,
	"account": aboutBank, "bank": aboutBank, "iban": aboutBank, "konto": aboutBank, "acct": aboutBank, "aba": aboutRouting, "routing": aboutRouting, "rtn": aboutRouting,
	"swift": aboutBIC, "bic": aboutBIC,
	"born": aboutBirth, "birth": aboutBirth, "dob": aboutBirth, "birthday": aboutBirth, "birthdate": aboutBirth, "geburtsdatum": aboutBirth, "naissance": aboutBirth, "nacimiento": aboutBirth,
	"passport": aboutPassport, "passports": aboutPassport, "reisepass": aboutPassport, "pasaporte": aboutPassport, "passeport": aboutPassport,
	"licence": aboutLicence, "license": aboutLicence, "driver": aboutLicence, "drivers": aboutLicence, "driving": aboutLicence, "dl": aboutLicence, "dln": aboutLicence,
	"tax": aboutTax, "tin": aboutTax, "tfn": aboutTax, "steuer": aboutTax, "steueridentifikationsnummer": aboutTax, "nif": aboutTax, "cpf": aboutTax, "cnpj": aboutTax, "fiscal": aboutTax, "steuerid": aboutTax,
	"sin": aboutIdentity, "bsn": aboutIdentity, "pesel": aboutIdentity, "personnummer": aboutIdentity, "aadhaar": aboutIdentity, "aadhar": aboutIdentity, "nino": aboutIdentity,
	"identity": aboutIdentity, "national": aboutIdentity, "insurance": aboutIdentity | aboutHealth, "citizen": aboutIdentity, "resident": aboutIdentity, "rijksregister": aboutIdentity,
	"burgerservicenummer": aboutIdentity, "fodselsnummer": aboutIdentity, "tckn": aboutIdentity, "kimlik": aboutIdentity, "nrn": aboutIdentity, "personnr": aboutIdentity,
	"dni": aboutIdentity, "nie": aboutIdentity, "nric": aboutIdentity, "fin": aboutIdentity, "rrn": aboutIdentity, "niss": aboutIdentity, "ahv": aboutIdentity, "avs": aboutIdentity,
	"nhs": aboutHealth, "npi": aboutHealth, "patient": aboutHealth, "medical": aboutHealth, "medicare": aboutHealth | aboutMedicare, "mrn": aboutHealth, "health": aboutHealth, "dea": aboutHealth,
	"mbi": aboutHealth, "hospital": aboutHealth, "provider": aboutHealth, "prescriber": aboutHealth,
	"diagnosis": aboutDiagnosis, "icd": aboutDiagnosis, "icd10": aboutDiagnosis, "diagnose": aboutDiagnosis, "diagnoses": aboutDiagnosis,
	"ip": aboutNetwork, "ips": aboutNetwork, "ipv4": aboutNetwork, "ipv6": aboutNetwork, "addr": aboutNetwork, "host": aboutNetwork, "peer": aboutNetwork, "client": aboutNetwork, "remote": aboutNetwork, "gateway": aboutNetwork,
	"version": aboutVersion, "ver": aboutVersion, "release": aboutVersion, "v": aboutVersion, "oid": aboutVersion, "build": aboutVersion, "sdk": aboutVersion, "firmware": aboutVersion, "versions": aboutVersion, "section": aboutVersion,
	"order": aboutOrder, "invoice": aboutOrder, "tracking": aboutOrder, "ticket": aboutOrder, "sku": aboutOrder, "shipment": aboutOrder, "transaction": aboutOrder, "isbn": aboutOrder, "ean": aboutOrder, "gtin": aboutOrder, "upc": aboutOrder,
	"key": aboutSecret, "secret": aboutSecret, "token": aboutSecret, "apikey": aboutSecret, "password": aboutSecret, "credential": aboutSecret, "credentials": aboutSecret, "auth": aboutSecret, "authorization": aboutSecret, "signature": aboutSecret,
	"btc": aboutCrypto, "bitcoin": aboutCrypto, "eth": aboutCrypto, "ethereum": aboutCrypto, "wallet": aboutCrypto, "crypto": aboutCrypto,
	"vat": aboutVAT, "vatid": aboutVAT, "ust": aboutVAT, "ustid": aboutVAT, "tva": aboutVAT, "iva": aboutVAT, "btw": aboutVAT, "mwst": aboutVAT, "uid": aboutVAT, "moms": aboutVAT,
	"imei": aboutDevice, "device": aboutDevice, "vin": aboutDevice, "vehicle": aboutDevice, "chassis": aboutDevice,
	"lat": aboutPlace, "latitude": aboutPlace, "lon": aboutPlace, "lng": aboutPlace, "long": aboutPlace, "longitude": aboutPlace, "location": aboutPlace, "gps": aboutPlace, "coordinates": aboutPlace, "position": aboutPlace, "geo": aboutPlace,
	"rut":  aboutRUT,
	"cuit": aboutCUIT, "cuil": aboutCUIT,
	"pps": aboutPPS, "ppsn": aboutPPS,
	"svnr": aboutSVNR, "sozialversicherungsnummer": aboutSVNR, "svnummer": aboutSVNR, "versicherungsnummer": aboutSVNR,
	"rodne": aboutRodne, "rodn": aboutRodne, "rodnecislo": aboutRodne,
	"cnp":      aboutCNP,
	"egn":      aboutEGN,
	"oib":      aboutOIB,
	"mynumber": aboutMyNumber, "kojin": aboutMyNumber, "kojinbango": aboutMyNumber,
	"taj": aboutTAJ, "tajszam": aboutTAJ,
	"afm":       aboutAFM,
	"isikukood": aboutIsikukood, "asmens": aboutIsikukood, "asmenskodas": aboutIsikukood,
	"kennitala": aboutKennitala,
	"jmbg":      aboutJMBG, "emso": aboutJMBG, "embg": aboutJMBG,
	"teudat": aboutTeudat, "zehut": aboutTeudat, "teudatzehut": aboutTeudat,
	"taiwan": aboutTaiwan, "taiwanese": aboutTaiwan,
	"hkid": aboutHKID,
	"thai": aboutThai, "thailand": aboutThai,
	"snils":  aboutSNILS,
	"rnokpp": aboutRNOKPP,
	"cpr":    aboutCPR, "cprnummer": aboutCPR,
	"aws": aboutAWS, "amazon": aboutAWS,
}

// hint has, by first and last letter, a bit for each length of a word of topics:
// nearly all words of a text are told from them without hashing.
var hint = func() (h [26 << 6]uint32) {
	for w := range topics {
		h[int(w[0]-'a')<<6|int(w[len(w)-1]&63)] |= 1 << len(w)
	}
	return
}()

const (
	lookBehind = 72
	lookAhead  = 32
)

// contextOf reads the words before and, in prose, after b[start:end]. It stays
// inside the JSON member, the line or the form field in which the value stands.
func contextOf(b []byte, start, end int) topic {
	lo := start
	for lo > 0 && start-lo < lookBehind {
		c := b[lo-1]
		if c == '{' || c == '}' || c == '\n' || c == '&' || c == '<' || c == ',' && (lo-2 >= 0 && b[lo-2] == '"' || b[lo] == '"') {
			break
		}
		lo--
	}
	t := topicsIn(b[lo:start])
	hi := end
	for hi < len(b) && hi-end < lookAhead {
		c := b[hi]
		if c == '"' || c == '}' || c == '{' || c == '\n' || c == '&' || c == '<' || c == ',' {
			break
		}
		hi++
	}
	return t | topicsIn(b[end:hi])
}

// topicsIn unites the topics of the words in b. Words part at anything but
// letters and where lower case turns to upper.
func topicsIn(b []byte) topic {
	var t topic
	var w [28]byte
	n, my := 0, false
	flush := func() {
		if n > 0 && n <= len(w) {
			if hint[int(w[0]-'a')<<6|int(w[n-1]&63)]>>n&1 != 0 {
				t |= topics[string(w[:n])]
			}
			if my && n == 6 && string(w[:6]) == "number" { // two words that mean something together only
				t |= aboutMyNumber
			}
			my = n == 2 && string(w[:2]) == "my"
		}
		n = 0
	}
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9' && n > 0:
		case c >= 'A' && c <= 'Z':
			if i > 0 && b[i-1] >= 'a' && b[i-1] <= 'z' {
				flush()
			}
			c |= 0x20
		default:
			flush()
			continue
		}
		if n < len(w) {
			w[n] = c
		}
		n++
	}
	flush()
	return t
}

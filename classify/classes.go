package classify

import "slices"

// The classes.
const (
	PaymentCard   Class = "payment-card"
	CardCode      Class = "card-security-code"
	IBAN          Class = "iban"
	BIC           Class = "bic"
	BankAccount   Class = "bank-account"
	ABARouting    Class = "us-bank-routing"
	Bitcoin       Class = "bitcoin-address"
	Ethereum      Class = "ethereum-address"
	VAT           Class = "vat-number"
	Email         Class = "email"
	Phone         Class = "phone"
	PersonName    Class = "person-name"
	PostalAddress Class = "postal-address"
	DateOfBirth   Class = "date-of-birth"
	Coordinates   Class = "coordinates"
	IPv4          Class = "ipv4"
	IPv6          Class = "ipv6"
	MAC           Class = "mac-address"
	IMEI          Class = "imei"
	VIN           Class = "vehicle-id"
	USSSN         Class = "us-ssn"
	USITIN        Class = "us-itin"
	UKNINO        Class = "uk-nino"
	CASIN         Class = "ca-sin"
	DETaxID       Class = "de-tax-id"
	FRNIR         Class = "fr-nir"
	ESDNI         Class = "es-dni"
	ITFiscal      Class = "it-fiscal-code"
	NLBSN         Class = "nl-bsn"
	BENRN         Class = "be-national-number"
	PLPESEL       Class = "pl-pesel"
	SEPersonnr    Class = "se-personnummer"
	FIHETU        Class = "fi-hetu"
	NOFNR         Class = "no-fodselsnummer"
	CHAHV         Class = "ch-ahv"
	PTNIF         Class = "pt-nif"
	BRCPF         Class = "br-cpf"
	BRCNPJ        Class = "br-cnpj"
	MXCURP        Class = "mx-curp"
	INAadhaar     Class = "in-aadhaar"
	INPAN         Class = "in-pan"
	CNResident    Class = "cn-resident-id"
	KRRRN         Class = "kr-rrn"
	SGNRIC        Class = "sg-nric"
	ZAID          Class = "za-id"
	TRTCKN        Class = "tr-tckn"
	AUTFN         Class = "au-tfn"
	Passport      Class = "passport"
	DriverLicence Class = "driver-licence"
	UKNHS         Class = "uk-nhs-number"
	USMBI         Class = "us-medicare-id"
	USNPI         Class = "us-npi"
	USDEA         Class = "us-dea-number"
	MedicalRecord Class = "medical-record"
	Diagnosis     Class = "diagnosis-code"
	Special       Class = "special-category"
	Password      Class = "password"
	Credential    Class = "credential-in-url"
	JWT           Class = "jwt"
	Bearer        Class = "bearer-token"
	BasicAuth     Class = "basic-credentials"
	APIToken      Class = "api-token"
	Secret        Class = "secret"
	Session       Class = "session-id"
	AWSKeyID      Class = "aws-access-key-id"
	AWSSecret     Class = "aws-secret-key"
	PrivateKey    Class = "private-key"
	CLRUT         Class = "cl-rut"
	ARCUIT        Class = "ar-cuit"
	IEPPSN        Class = "ie-ppsn"
	ATSVNR        Class = "at-svnr"
	CZRodne       Class = "cz-sk-birth-number"
	ROCNP         Class = "ro-cnp"
	BGEGN         Class = "bg-egn"
	HROIB         Class = "hr-oib"
	JPMyNumber    Class = "jp-my-number"
	HUTAJ         Class = "hu-taj"
	GRAFM         Class = "gr-afm"
	EELTCode      Class = "ee-lt-personal-code"
	ISKennitala   Class = "is-kennitala"
	JMBG          Class = "jmbg"
	ILID          Class = "il-id"
	TWID          Class = "tw-id"
	HKID          Class = "hk-id"
	THID          Class = "th-id"
	RUSNILS       Class = "ru-snils"
	UARNOKPP      Class = "ua-rnokpp"
	AUMedicare    Class = "au-medicare"
	DKCPR         Class = "dk-cpr"
	GitHubToken   Class = "github-token"
	GitLabToken   Class = "gitlab-token"
	SlackToken    Class = "slack-token"
	StripeKey     Class = "stripe-key"
	GoogleKey     Class = "google-api-key"
	GoogleToken   Class = "google-oauth-token"
	AzureSecret   Class = "azure-client-secret"
	Presigned     Class = "presigned-signature"
	ModelKey      Class = "model-provider-key"
	RegistryToken Class = "package-registry-token"
	TelegramToken Class = "telegram-bot-token"
	VaultToken    Class = "vault-token"
)

// Info describes a class for people.
type Info struct {
	Class  Class
	Title  string
	Secret bool // a credential: whoever has it can act with it
}

var infos = []Info{
	{PaymentCard, "Payment card number", false}, {CardCode, "Card security code", true}, {IBAN, "IBAN", false}, {BIC, "BIC / SWIFT code", false},
	{BankAccount, "Bank account number", false}, {ABARouting, "US bank routing number", false}, {Bitcoin, "Bitcoin address", false},
	{Ethereum, "Ethereum address", false}, {VAT, "VAT number", false}, {Email, "E-mail address", false}, {Phone, "Telephone number", false},
	{PersonName, "Name of a person", false}, {PostalAddress, "Postal address", false}, {DateOfBirth, "Date of birth", false},
	{Coordinates, "Geographic coordinates", false}, {IPv4, "IPv4 address", false}, {IPv6, "IPv6 address", false}, {MAC, "MAC address", false},
	{IMEI, "IMEI", false}, {VIN, "Vehicle identification number", false}, {USSSN, "US social security number", false},
	{USITIN, "US individual taxpayer number", false}, {UKNINO, "UK national insurance number", false}, {CASIN, "Canadian social insurance number", false},
	{DETaxID, "German tax identification number", false}, {FRNIR, "French social security number", false}, {ESDNI, "Spanish DNI / NIE", false},
	{ITFiscal, "Italian fiscal code", false}, {NLBSN, "Dutch citizen service number", false}, {BENRN, "Belgian national number", false},
	{PLPESEL, "Polish PESEL", false}, {SEPersonnr, "Swedish personal number", false}, {FIHETU, "Finnish personal identity code", false},
	{NOFNR, "Norwegian birth number", false}, {CHAHV, "Swiss AHV number", false}, {PTNIF, "Portuguese tax number", false}, {BRCPF, "Brazilian CPF", false},
	{BRCNPJ, "Brazilian CNPJ", false}, {MXCURP, "Mexican CURP", false}, {INAadhaar, "Indian Aadhaar number", false}, {INPAN, "Indian PAN", false},
	{CNResident, "Chinese resident identity number", false}, {KRRRN, "Korean resident registration number", false}, {SGNRIC, "Singaporean NRIC / FIN", false},
	{ZAID, "South African identity number", false}, {TRTCKN, "Turkish identity number", false}, {AUTFN, "Australian tax file number", false},
	{Passport, "Passport number", false}, {DriverLicence, "Driver's licence", false}, {UKNHS, "UK NHS number", false}, {USMBI, "US Medicare beneficiary id", false},
	{USNPI, "US national provider id", false}, {USDEA, "US DEA number", false}, {MedicalRecord, "Medical record or insurance number", false},
	{Diagnosis, "Diagnosis code", false}, {Special, "Special category of personal data", false}, {Password, "Password", true},
	{Credential, "Password inside a URL", true}, {JWT, "JSON web token", true}, {Bearer, "Bearer token", true}, {BasicAuth, "Basic credentials", true},
	{APIToken, "API token of a known vendor", true}, {Secret, "Secret or key", true}, {Session, "Session id", true}, {AWSKeyID, "AWS access key id", true},
	{AWSSecret, "AWS secret key", true}, {PrivateKey, "Private key", true},
	{CLRUT, "Chilean RUT", false},
	{ARCUIT, "Argentine CUIT / CUIL", false},
	{IEPPSN, "Irish PPS number", false},
	{ATSVNR, "Austrian social insurance number", false},
	{CZRodne, "Czech or Slovak birth number", false},
	{ROCNP, "Romanian CNP", false},
	{BGEGN, "Bulgarian EGN", false},
	{HROIB, "Croatian OIB", false},
	{JPMyNumber, "Japanese My Number", false},
	{HUTAJ, "Hungarian TAJ number", false},
	{GRAFM, "Greek AFM", false},
	{EELTCode, "Estonian or Lithuanian personal code", false},
	{ISKennitala, "Icelandic kennitala", false},
	{JMBG, "EMŠO / JMBG of Slovenia and its neighbours", false},
	{ILID, "Israeli identity number", false},
	{TWID, "Taiwanese identity number", false},
	{HKID, "Hong Kong identity card", false},
	{THID, "Thai identity number", false},
	{RUSNILS, "Russian SNILS", false},
	{UARNOKPP, "Ukrainian taxpayer number", false},
	{AUMedicare, "Australian Medicare number", false},
	{DKCPR, "Danish CPR number", false},
	{GitHubToken, "GitHub token", true},
	{GitLabToken, "GitLab token", true},
	{SlackToken, "Slack token or webhook", true},
	{StripeKey, "Stripe key", true},
	{GoogleKey, "Google API key", true},
	{GoogleToken, "Google OAuth token or secret", true},
	{AzureSecret, "Azure client secret", true},
	{Presigned, "Signature of a presigned URL", true},
	{ModelKey, "Key of a language-model provider", true},
	{RegistryToken, "Token of a package registry", true},
	{TelegramToken, "Telegram bot token", true},
	{VaultToken, "Vault token", true},
}

// Classes lists every class that Scan and Field may report.
func Classes() []Info { return slices.Clone(infos) }

var secrets = func() map[Class]bool {
	m := map[Class]bool{}
	for _, i := range infos {
		m[i.Class] = i.Secret
	}
	return m
}()

// vendors are the classes that are cases of APIToken.
var vendors = map[Class]bool{GitHubToken: true, GitLabToken: true, SlackToken: true, StripeKey: true, GoogleKey: true, GoogleToken: true, AzureSecret: true, ModelKey: true, RegistryToken: true, TelegramToken: true, VaultToken: true}

// Broad is the class that c is a case of, or c itself: a GitHub token is an API token.
func (c Class) Broad() Class {
	if vendors[c] {
		return APIToken
	}
	return c
}

// Secret reports whether c is a credential: whoever has it can act with it.
func (c Class) Secret() bool { return secrets[c] }

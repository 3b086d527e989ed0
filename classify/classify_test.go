package classify_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/classify"
)

// random makes a token's body at run time, so that no text of this repository
// looks like a credential.
func random(n int, alphabet string) string {
	b := make([]byte, n)
	rand.Read(b)
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b)
}

const (
	alnum = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
	upper = "ABCDEFGHJKLMNPQRSTUVWXYZ234567"
	hex   = "0123456789abcdef"
)

func privateKey(t *testing.T) string {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// TestScan sets each kind beside what only looks like it.
func TestScan(t *testing.T) {
	jwt := "ey" + "JhbGciOiJFUzI1NiJ9.ey" + "JzdWIiOiIxMjM0NTY3ODkwIn0." + random(43, alnum)
	cases := []struct {
		name, text string
		want       string // "class=value", several parted by "; "; "" = nothing
	}{
		{"card", `{"n":"4111 1111 1111 1111"}`, "payment-card=4111 1111 1111 1111"},
		{"card as number", `{"card":5555555555554444}`, "payment-card=5555555555554444"},
		{"card amex", "paid with 3782 822463 10005 today", "payment-card=3782 822463 10005"},
		{"order number that fails Luhn", `{"order":4111111111111112}`, ""},
		{"order number that passes Luhn, no issuer", `{"order":9999999999999995}`, ""},
		{"order number with an issuer's digits", `{"order_id":4111111111111111}`, ""},
		{"time in milliseconds", `{"t":1700000000000,"u":1712345678901234}`, ""},
		{"snowflake id", `{"id":1234567890123456789,"id2":"4012345678901234567"}`, ""},
		{"decimal fraction", `{"x":0.4111111111111111}`, ""},
		{"iban", "to DE89 3704 0044 0532 0130 00, thanks", "iban=DE89 3704 0044 0532 0130 00"},
		{"iban compact", `{"iban":"gb82west12345698765432"}`, "iban=gb82west12345698765432"},
		{"iban with a wrong digit", "DE89370400440532013001", ""},
		{"iban of the wrong length", "DE8937040044053201300", ""},
		{"iban of no country", "ZZ82WEST12345698765432", ""},
		{"bic by name", `{"bic":"DEUTDEFF500"}`, "bic=DEUTDEFF500"},
		{"eight letters", `{"code":"ABSOLUTE"}`, ""},
		{"routing number", `{"routing_number":"021000021"}`, "us-bank-routing=021000021"},
		{"nine digits without a word", `{"id":"021000021"}`, ""},
		{"e-mail", "mail to ada.l+x@mail.example.org.", "email=ada.l+x@mail.example.org"},
		{"decorator", "@Override public @param x npm i pkg@1.2.3", ""},
		{"retina image", "logo@2x.png", ""},
		{"phone", `{"x":"+442071838750"}`, "phone=+442071838750"},
		{"phone of North America", "call (212) 555-2368", "phone=(212) 555-2368"},
		{"phone by name", `{"phoneNumber":"030 1234567"}`, "phone=030 1234567"},
		{"arithmetic", "1+442071838750 and 12+30", ""},
		{"signed fraction", "took m=+1.641572501 s", ""},
		{"algorithm", "ciphers chacha20-poly1305@openssh.com,aes256-gcm@openssh.com", ""},
		{"public key", `{"ssh_key":"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDYlv4Ns3tY2NEseuuMXEz1sLzO9sGC0cwaT2ECbWFyrsn1Fg5ISdkaJD8LiuhZ41"}`, ""},
		{"date and time", `{"at":"2024-05-17T10:11:12+02:00","d":"2024-05-17"}`, ""},
		{"ipv4", `{"peer":"203.0.113.9"}`, "ipv4=203.0.113.9"},
		{"ipv4 in a URL", "http://198.51.100.7:8080/x", "ipv4=198.51.100.7"},
		{"version", `{"version":"10.4.22.1"}`, ""},
		{"small version", "requires 1.2.3.4 or later", ""},
		{"product version", "Mozilla/5.0 Chrome/120.0.0.0 Safari/537.36", ""},
		{"object identifier", "1.3.6.1.4.1.311", ""},
		{"octet too large", "192.168.1.256", ""},
		{"loopback", "127.0.0.1 and 0.0.0.0 and ::1", ""},
		{"ipv6", "from 2001:db8:85a3::8a2e:370:7334 to", "ipv6=2001:db8:85a3::8a2e:370:7334"},
		{"ipv6 without :: ", "4f8a:c99e:dc86:faf9:5988:5f63:375e:8a2a", "ipv6=4f8a:c99e:dc86:faf9:5988:5f63:375e:8a2a"},
		{"clock", "at 12:34:56 or 10:20", ""},
		{"scope operator", "std::vector<int> a::b", ""},
		{"mac", "nic 00:1b:44:11:3a:b7 up", "mac-address=00:1b:44:11:3a:b7"},
		{"fingerprint", "SHA1 00:1b:44:11:3a:b7:00:1b:44:11:3a:b7:00:1b:44:11:3a:b7:aa:bb", ""},
		{"ssn", "her ssn 536-22-1234", "us-ssn=536-22-1234"},
		{"ssn without dashes, named", `{"ssn":"536221234"}`, "us-ssn=536221234"},
		{"ssn of no area", "666-22-1234, 000-12-3456, 912-00-1234", ""},
		{"ssn of no serial", "536-22-0000", ""},
		{"itin", "912-71-1234", "us-itin=912-71-1234"},
		{"nino", "NI: AB 12 34 56 C", "uk-nino=AB 12 34 56 C"},
		{"nino of no prefix", "BG123456C DA123456A", ""},
		{"sin", `{"sin":"130 692 544"}`, "ca-sin=130 692 544"},
		{"german tax id", "Steuer-ID: 86095742719", "de-tax-id=86095742719"},
		{"german tax id, wrong digit", "Steuer-ID: 86095742718", ""},
		{"nir", "2 55 08 14 168 025 38", "fr-nir=2 55 08 14 168 025 38"},
		{"dni", "DNI 12345678Z", "es-dni=12345678Z"},
		{"dni with a wrong letter", "12345678A", ""},
		{"nie", "X1234567L", "es-dni=X1234567L"},
		{"fiscal code", "RSSMRA85T10A562S", "it-fiscal-code=RSSMRA85T10A562S"},
		{"fiscal code, wrong letter", "RSSMRA85T10A562T", ""},
		{"bsn", `{"bsn":"111222333"}`, "nl-bsn=111222333"},
		{"belgian", "93.05.18-223.61", "be-national-number=93.05.18-223.61"},
		{"pesel", `{"pesel":"44051401359"}`, "pl-pesel=44051401359"},
		{"personnummer", "811218-9876", "se-personnummer=811218-9876"},
		{"hetu", "131052-308T", "fi-hetu=131052-308T"},
		{"hetu, wrong sign", "131052-308U", ""},
		{"ahv", "756.9217.0769.85", "ch-ahv=756.9217.0769.85"},
		{"cpf", "529.982.247-25", "br-cpf=529.982.247-25"},
		{"cpf, wrong digit", "529.982.247-26", ""},
		{"cnpj", "11.222.333/0001-81", "br-cnpj=11.222.333/0001-81"},
		{"curp", "HEGG560427MVZRRL04", "mx-curp=HEGG560427MVZRRL04"},
		{"aadhaar", "aadhaar 2341 2341 2346", "in-aadhaar=2341 2341 2346"},
		{"pan", `{"pan":"ABCPE1234F"}`, "in-pan=ABCPE1234F"},
		{"resident id", "11010519491231002X", "cn-resident-id=11010519491231002X"},
		{"nric", "S1234567D", "sg-nric=S1234567D"},
		{"nric, wrong letter", "S1234567E", ""},
		{"za id", "identity 8001015009087", "za-id=8001015009087"},
		{"tckn", `{"tckn":"10000000146"}`, "tr-tckn=10000000146"},
		{"tfn", `{"tfn":"123456782"}`, "au-tfn=123456782"},
		{"passport", `{"passportNumber":"C01X00T47"}`, "passport=C01X00T47"},
		{"part number", `{"part":"C01X00T47"}`, ""},
		{"driver's licence", "driver's license A1234567", "driver-licence=A1234567"},
		{"nhs", `{"nhs_number":"943 476 5919"}`, "uk-nhs-number=943 476 5919"},
		{"npi", `{"npi":1234567893}`, "us-npi=1234567893"},
		{"mbi", "medicare 1EG4TE5MK73", "us-medicare-id=1EG4TE5MK73"},
		{"icd", `{"diagnosis":"E11.9"}`, "diagnosis-code=E11.9"},
		{"born", "born 12/03/1984 in Rome", "date-of-birth=12/03/1984"},
		{"date of birth by name", `{"dateOfBirth":"1984-03-12"}`, "date-of-birth=1984-03-12"},
		{"other date", `{"created":"1984-03-12"}`, ""},
		{"name", `{"first_name":"Ada","model_name":"T-1000"}`, "person-name=Ada"},
		{"address", `{"shippingAddress":"12 Long Lane, York"}`, "postal-address=12 Long Lane, York"},
		{"coordinates", `{"latitude":52.52437,"longitude":13.41053}`, "coordinates=52.52437; coordinates=13.41053"},
		{"rate", `{"rate":52.52437}`, ""},
		{"vin", `{"vin":"1HGCM82633A004352"}`, "vehicle-id=1HGCM82633A004352"},
		{"imei", `{"imei":"490154203237518"}`, "imei=490154203237518"},
		{"vat", "VAT DE136695976", "vat-number=DE136695976"},
		{"bitcoin", "to 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "bitcoin-address=1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"},
		{"bitcoin, one letter off", "to 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3", ""},
		{"bech32", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "bitcoin-address=bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"},
		{"ethereum", "wallet 0x52908400098527886E0F7030069857D2E4169EE7", "ethereum-address=0x52908400098527886E0F7030069857D2E4169EE7"},
		{"uuid", `{"id":"123e4567-e89b-12d3-a456-426614174000"}`, ""},
		{"hashes", "d41d8cd98f00b204e9800998ecf8427e e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", ""},
		{"git commit", "commit 86d05de2f1f0f9ef4c3f6c7a9c1b2d3e4f5a6b7c", ""},
		{"base64 picture", "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4", ""},
		{"jwt", "x " + jwt + " y", "jwt=" + jwt},
		{"jwt in a header", `{"h":"Bearer ` + jwt + `"}`, "jwt=" + jwt},
		{"three words with dots", "eyJust.some.words", ""},
		{"password", `{"password":"correct horse"}`, "password=correct horse"},
		{"password in a form", "user=a&password=hunter22&x=1", "password=hunter22"},
		{"password in JSON in JSON", `{"s":"{\"password\":\"hunter22\"}"}`, `password=hunter22`},
		{"password as a word", `{"type":"password","label":"Password","password":null}`, ""},
		{"password masked", `{"password":"*******"}`, ""},
		{"security code", `{"cvv":"123","svv":"123"}`, "card-security-code=123"},
		{"url", "postgres://app:s3cr3tpw@db.example/x", "credential-in-url=s3cr3tpw"},
		{"port", "http://db.example:5432/x", ""},
		{"page token", `{"next_page_token":"Zm9vYmFyMTIzNDU2"}`, ""},
	}
	add := func(name, text, class, value string) {
		cases = append(cases, struct{ name, text, want string }{name, text, class + "=" + value})
	}
	for _, p := range []struct {
		prefix   string
		n        int
		alphabet string
		class    classify.Class
	}{{"gh" + "p_", 36, alnum, classify.GitHubToken}, {"glp" + "at-", 24, alnum, classify.GitLabToken}, {"xo" + "xb-", 40, alnum, classify.SlackToken}, {"sk_" + "live_", 28, alnum, classify.StripeKey}, {"np" + "m_", 36, alnum, classify.RegistryToken}, {"AI" + "za", 35, alnum, classify.GoogleKey}, {"hv" + "s.", 28, alnum, classify.VaultToken}} {
		tok := p.prefix + random(p.n, p.alphabet)
		add("token "+p.prefix, `{"x":"`+tok+`"}`, string(p.class), tok)
	}
	id := "AK" + "IA" + random(16, upper)
	add("aws key id", "key "+id+" ok", "aws-access-key-id", id)
	secret := random(40, alnum+"/+")
	add("aws secret", `aws_secret_access_key = "`+secret+`"`, "aws-secret-key", secret)
	key := strings.TrimSpace(privateKey(t))
	add("private key", "x\n"+key+"\ny", "private-key", key)
	tok := "k9" + random(30, alnum)
	add("client secret", `{"client_secret":"`+tok+`"}`, "secret", tok)
	add("bearer", "Authorization: Bearer "+tok, "bearer-token", tok)
	add("session", "Cookie: JSESSIONID="+tok, "session-id", tok)
	hash := random(40, hex)
	cases = append(cases, struct{ name, text, want string }{"sha1 without a word", "see " + hash, ""})

	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, m := range classify.Scan([]byte(c.text), 0) {
				got = append(got, fmt.Sprintf("%s=%s", m.Class, c.text[m.Start:m.End]))
			}
			if s := strings.Join(got, "; "); s != c.want {
				t.Errorf("%s\n got %q\nwant %q", c.text, s, c.want)
			}
		})
	}
}

func TestField(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        classify.Class
	}{
		{"ssn", "536221234", classify.USSSN},
		{"id", "536221234", ""},
		{"cardNumber", "4111111111111111", classify.PaymentCard},
		{"order_number", "4111111111111112", ""},
		{"customer_email", "ada@example.org", classify.Email},
		{"comment", "write to ada@example.org soon", ""},
		{"billing-phone", "0301234567", classify.Phone},
		{"X-Api-Key", "k" + "9f2hd83hdk2js8", classify.Secret},
		{"lastName", "Lovelace", classify.PersonName},
		{"name", "Lovelace", ""},
		{"user.password", "hunter22", classify.Password},
		{"birthday", "1815-12-10", classify.DateOfBirth},
		{"lat", "51.5074", classify.Coordinates},
		{"status", "active", ""},
		{"client_ip", "203.0.113.9", classify.IPv4},
		{"", "", ""},
	} {
		if got, sure := classify.Field(c.name, []byte(c.value)); got != c.want || (got != "") != (sure > 0) {
			t.Errorf("Field(%q, %q) = %q, %v; want %q", c.name, c.value, got, sure, c.want)
		}
	}
}

func TestEveryClassIsDescribed(t *testing.T) {
	seen := map[classify.Class]bool{}
	for _, i := range classify.Classes() {
		if i.Title == "" || seen[i.Class] {
			t.Errorf("%q: title %q, listed before: %v", i.Class, i.Title, seen[i.Class])
		}
		seen[i.Class] = true
	}
	if len(seen) < 75 || !classify.Password.Secret() || classify.Email.Secret() {
		t.Errorf("%d classes", len(seen))
	}
}

// body is a JSON body of about 1 KiB with little in it.
var body = func() []byte {
	var b bytes.Buffer
	b.WriteString(`{"id":"123e4567-e89b-12d3-a456-426614174000","created":"2024-05-17T10:11:12Z","items":[`)
	for i := 0; b.Len() < 960; i++ {
		fmt.Fprintf(&b, `{"sku":"AB-%04d","title":"A plain description of the thing","quantity":%d,"price":%d.99,"tags":["new","sale"]},`, i, i, 10+i)
	}
	b.WriteString(`{}],"email":"ada@example.org"}`)
	return b.Bytes()
}()

func TestScanDoesNotAllocate(t *testing.T) {
	room := make([]classify.Match, 0, 16)
	if n := testing.AllocsPerRun(100, func() { room = classify.Append(room[:0], body, 0) }); n > 0 {
		t.Errorf("%v allocations, want none", n)
	}
	if !slices.ContainsFunc(room, func(m classify.Match) bool { return m.Class == classify.Email }) || len(room) != 1 {
		t.Errorf("found %v, want the e-mail address alone", room)
	}
}

func TestLimit(t *testing.T) {
	text := []byte(strings.Repeat("a@b.example ", 50))
	if n := len(classify.Scan(text, 7)); n != 7 {
		t.Errorf("%d matches, want 7", n)
	}
}

func BenchmarkScanJSON(b *testing.B) {
	room := make([]classify.Match, 0, 16)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		room = classify.Append(room[:0], body, 0)
	}
}

func BenchmarkScanProse(b *testing.B) {
	var text []byte
	for _, s := range corpus(b, "generated_large")[:200] {
		text = append(append(text, s.Text...), '\n')
	}
	room := make([]classify.Match, 0, 1024)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		room = classify.Append(room[:0], text, 0)
	}
}

func BenchmarkField(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		classify.Field("billingPhoneNumber", []byte("030 1234567"))
	}
}

func FuzzScan(f *testing.F) {
	for _, s := range []string{`{"card":"4111 1111 1111 1111","password":"x y"}`, "a:b@c.de://x:y@z", "-----BEGIN PRIVATE KEY-----", "+1(2)3-4.5/6", "::ffff:1.2.3.4", "eyJ.a.b", "key=\"\\", "DE89 3704 0044 0532 0130 00", "AB 12 34 56 C", "131052-308T"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		last := 0
		for _, m := range classify.Scan(b, 0) {
			if m.Start < last || m.End <= m.Start || m.End > len(b) || m.Confidence < classify.Likely || m.Class == "" {
				t.Fatalf("match %+v after %d in %q", m, last, b)
			}
			last = m.End
		}
		classify.Field(string(b[:min(len(b), 20)]), b)
		if !bytes.Equal(before, b) {
			t.Fatal("the text was changed")
		}
	})
}

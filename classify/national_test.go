package classify_test

import (
	"fmt"
	"strings"
	"testing"

	"sallyport.dev/classify"
)

// TestNational sets each number beside the same with another check digit, and
// beside itself where no word speaks of it.
func TestNational(t *testing.T) {
	for _, c := range []struct {
		class             classify.Class
		word, good, wrong string
		bare              bool // found without the word too
	}{
		{classify.CLRUT, "rut", "12345678-5", "12345678-6", false},
		{classify.CLRUT, "rut", "12.345.678-5", "12.345.678-4", true},
		{classify.CLRUT, "rut", "10.000.013-K", "10.000.013-J", true},
		{classify.ARCUIT, "cuit", "20123456786", "20123456785", false},
		{classify.ARCUIT, "cuil", "20-12345678-6", "20-12345678-7", true},
		{classify.IEPPSN, "ppsn", "1234567T", "1234567S", false},
		{classify.IEPPSN, "ppsn", "1234567FA", "1234567GA", false},
		{classify.ATSVNR, "svnr", "1237 010180", "1238 010180", false},
		{classify.CZRodne, "rodne", "736028/5163", "736028/5164", true},
		{classify.CZRodne, "rodne", "7360285163", "7360285164", false},
		{classify.CZRodne, "rodne", "480315/123", "489915/123", false},
		{classify.ROCNP, "cnp", "1800101221144", "1800101221145", false},
		{classify.BGEGN, "egn", "6101057509", "6101057508", false},
		{classify.HROIB, "oib", "33392005961", "33392005962", false},
		{classify.JPMyNumber, "myNumber", "123456789018", "123456789019", false},
		{classify.JPMyNumber, "my_number", "1234 5678 9018", "1234 5678 9017", false},
		{classify.HUTAJ, "taj", "111111110", "111111119", false},
		{classify.GRAFM, "afm", "090000045", "090000046", false},
		{classify.EELTCode, "isikukood", "37605030299", "37605030298", false},
		{classify.ISKennitala, "kennitala", "120174-3399", "120174-3389", false},
		{classify.JMBG, "emso", "0101006500006", "0101006500007", false},
		{classify.ILID, "teudatZehut", "123456782", "123456783", false},
		{classify.TWID, "taiwan_id", "A123456789", "A123456788", false},
		{classify.HKID, "hkid", "A123456(3)", "A123456(4)", true},
		{classify.HKID, "hkid", "A1234563", "A1234564", false},
		{classify.THID, "thai_id", "1101700230708", "1101700230709", false},
		{classify.RUSNILS, "snils", "112-233-445 95", "112-233-445 96", true},
		{classify.UARNOKPP, "rnokpp", "1759013776", "1759013777", false},
		{classify.AUMedicare, "medicare", "2123 45670 1", "2123 45671 1", false},
		{classify.DKCPR, "cpr", "211062-5629", "451062-5629", false},
	} {
		name := func(text string) string {
			var got []string
			for _, m := range classify.Scan([]byte(text), 0) {
				got = append(got, fmt.Sprintf("%s=%s", m.Class, text[m.Start:m.End]))
			}
			return strings.Join(got, "; ")
		}
		want := fmt.Sprintf("%s=%s", c.class, c.good)
		for _, text := range []string{fmt.Sprintf(`{"%s":"%s"}`, c.word, c.good), fmt.Sprintf("%s: %s\n", c.word, c.good)} {
			if got := name(text); got != want {
				t.Errorf("%s: %q, want %q", text, got, want)
			}
		}
		if got := name(fmt.Sprintf(`{"%s":"%s"}`, c.word, c.wrong)); strings.Contains(got, string(c.class)) {
			t.Errorf("%s with a wrong check digit: %q", c.wrong, got)
		}
		if got := name(fmt.Sprintf(`{"reference":"%s"}`, c.good)); c.bare && got != want || !c.bare && got != "" {
			t.Errorf("%s without a word: %q, bare %v", c.good, got, c.bare)
		}
	}
}

// TestTokensOfVendors: each vendor's token is of its own kind and of the broad
// one; the same prefix before something that is no token is nothing.
func TestTokensOfVendors(t *testing.T) {
	word := strings.Repeat("a", 80)
	digits := "0123456789"
	for _, c := range []struct {
		class        classify.Class
		text, prefix string // of the text before and of the token itself
		n            int
		alphabet     string
	}{
		{classify.GitHubToken, "x ", "gh" + "p_", 36, alnum}, {classify.GitHubToken, "x ", "github" + "_pat_", 60, alnum},
		{classify.GitLabToken, "x ", "glp" + "at-", 24, alnum}, {classify.SlackToken, "x ", "xo" + "xb-", 40, alnum},
		{classify.SlackToken, "https://hooks.slack.com/services/T00000001/B00000001/", "", 24, alnum},
		{classify.StripeKey, "x ", "sk_" + "live_", 28, alnum}, {classify.GoogleKey, "x ", "AI" + "za", 35, alnum}, {classify.GoogleToken, "x ", "ya" + "29.", 60, alnum},
		{classify.GoogleToken, "x ", "GOC" + "SPX-", 28, alnum}, {classify.AzureSecret, "x ", "aBc" + "8Q~", 34, alnum}, {classify.ModelKey, "x ", "sk-" + "ant-", 60, alnum},
		{classify.RegistryToken, "x ", "np" + "m_", 36, alnum}, {classify.VaultToken, "x ", "hv" + "s.", 28, alnum}, {classify.TelegramToken, "https://api.telegram.org/bot123456789:", "AA", 33, alnum},
		{classify.APIToken, "x ", "do" + "p_v1_", 64, hex},
		{classify.Presigned, "https://x.s3.amazonaws.com/a?X-Amz-Expires=60&X-Amz-Signature=", "", 64, hex},
	} {
		token := c.prefix + random(c.n, c.alphabet)
		text := c.text + token
		got := classify.Scan([]byte(text), 0)
		if len(got) != 1 || got[0].Class != c.class || text[got[0].Start:got[0].End] != token || !got[0].Class.Secret() {
			t.Errorf("%s%s…: %+v, want %s", c.text, c.prefix, got, c.class)
		}
		if c.class != classify.Presigned && c.class.Broad() != classify.APIToken {
			t.Errorf("%s is %s in broad", c.class, c.class.Broad())
		}
		plain := c.text + c.prefix + word[:c.n-1] // as long, and all of one letter
		if c.class == classify.Presigned {
			plain = c.text + random(12, digits)
		}
		if got := classify.Scan([]byte(plain), 0); len(got) > 0 && c.text == "x " {
			t.Errorf("%s: %+v, want nothing", plain, got)
		}
	}
	sas := "https://a.blob.core.windows.net/c/b?sv=2022-11-02&sp=r&sig=" + random(43, alnum) + "%3D"
	if got := classify.Scan([]byte(sas), 0); len(got) != 1 || got[0].Class != classify.Presigned {
		t.Errorf("shared access signature: %+v", got)
	}
	for _, benign := range []string{"?sig=short&sv=2022", "abcd8Q~too~short", "bot123456789:AAshort", `{"signature":"v1"}`, "https://hooks.example.com/services/T1/B1/" + word[:24]} {
		if got := classify.Scan([]byte(benign), 0); len(got) > 0 {
			t.Errorf("%s: %+v, want nothing", benign, got)
		}
	}
}

// BenchmarkScanNumbers is a body of numbers of every length that identity
// numbers have and of none of their names.
func BenchmarkScanNumbers(b *testing.B) {
	var text []byte
	for i := range 40 {
		text = fmt.Appendf(text, `{"id":%d,"at":%d,"ref":"%d-%04d","n":%d},`, 1_000_000_00+i*7919, 1_700_000_000_000+i*104729, 700_000+i, i, 20_000_000_000+i*1299709)
	}
	room := make([]classify.Match, 0, 64)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		room = classify.Append(room[:0], text, 0)
	}
}

package classify_test

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"testing"

	"sallyport.dev/classify"
)

type sentence struct {
	Text  string `json:"full_text"`
	Spans []struct {
		Type  string `json:"entity_type"`
		Value string `json:"entity_value"`
		Start int    `json:"start_position"` // in characters
		End   int    `json:"end_position"`
	} `json:"spans"`
}

func corpus(tb testing.TB) []sentence {
	tb.Helper()
	f, err := os.Open("testdata/generated_large.json.gz")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	var all []sentence
	if err := json.NewDecoder(z).Decode(&all); err != nil {
		tb.Fatal(err)
	}
	return all
}

// TestCorpus measures precision and recall on labelled prose, where values have
// no field names and phones are written in every way there is.
func TestCorpus(t *testing.T) {
	of := map[string][]classify.Class{
		"CREDIT_CARD":       {classify.PaymentCard},
		"EMAIL_ADDRESS":     {classify.Email},
		"US_SSN":            {classify.USSSN},
		"IBAN_CODE":         {classify.IBAN},
		"IP_ADDRESS":        {classify.IPv4, classify.IPv6},
		"PHONE_NUMBER":      {classify.Phone},
		"US_DRIVER_LICENSE": {classify.DriverLicence},
	}
	floor := map[string]struct{ precision, recall float64 }{
		"CREDIT_CARD": {0.99, 0.98}, "EMAIL_ADDRESS": {0.99, 0.99}, "US_SSN": {0.99, 0.97}, "IBAN_CODE": {0.99, 0.96},
		"IP_ADDRESS": {0.99, 0.9}, "PHONE_NUMBER": {0.85, 0.7}, "US_DRIVER_LICENSE": {0.5, 0.5},
	}
	typeOf := map[classify.Class]string{}
	for name, classes := range of {
		for _, c := range classes {
			typeOf[c] = name
		}
	}
	type score struct{ hit, missed, wrong int }
	scores := map[string]*score{}
	for name := range of {
		scores[name] = &score{}
	}
	for _, s := range corpus(t) {
		runes := []rune(s.Text)
		found := classify.Scan([]byte(s.Text), 0)
		used := make([]bool, len(found))
		for _, span := range s.Spans {
			sc := scores[span.Type]
			if sc == nil {
				continue
			}
			start, end := len(string(runes[:span.Start])), len(string(runes[:span.End]))
			hit := false
			for i, m := range found {
				if typeOf[m.Class] == span.Type && m.Start < end && start < m.End {
					hit, used[i] = true, true
				}
			}
			if hit {
				sc.hit++
			} else {
				sc.missed++
				t.Logf("missed %s %q in %q: %v", span.Type, span.Value, s.Text, found)
			}
		}
		for i, m := range found {
			if sc := scores[typeOf[m.Class]]; sc != nil && !used[i] {
				sc.wrong++
				t.Logf("wrong %s %q in %q", m.Class, s.Text[m.Start:m.End], s.Text)
			}
		}
	}
	for name, sc := range scores {
		precision := float64(sc.hit) / float64(max(1, sc.hit+sc.wrong))
		recall := float64(sc.hit) / float64(max(1, sc.hit+sc.missed))
		t.Logf("%-18s precision %.3f recall %.3f (%d found, %d missed, %d wrong)", name, precision, recall, sc.hit, sc.missed, sc.wrong)
		if precision < floor[name].precision || recall < floor[name].recall {
			t.Errorf("%s: precision %.3f recall %.3f, want at least %.2f and %.2f", name, precision, recall, floor[name].precision, floor[name].recall)
		}
	}
}

package classify_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
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

func corpus(tb testing.TB, name string) []sentence {
	tb.Helper()
	f, err := os.Open("testdata/" + name + ".json.gz")
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

// wilson is the interval of 95 % for k of n, after Wilson (1927).
func wilson(k, n int) (lo, hi float64) {
	if n == 0 {
		return 0, 1
	}
	const z = 1.959964
	p, m := float64(k)/float64(n), float64(n)
	mid := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return mid - half, mid + half
}

type score struct{ hit, missed, wrong int }

func (s score) precision() float64 { return float64(s.hit) / float64(max(1, s.hit+s.wrong)) }
func (s score) recall() float64    { return float64(s.hit) / float64(max(1, s.hit+s.missed)) }

func (s score) String() string {
	pl, ph := wilson(s.hit, s.hit+s.wrong)
	rl, rh := wilson(s.hit, s.hit+s.missed)
	return fmt.Sprintf("%4d found %3d missed %3d wrong  precision %.3f (%.3f..%.3f)  recall %.3f (%.3f..%.3f)", s.hit, s.missed, s.wrong, s.precision(), pl, ph, s.recall(), rl, rh)
}

// TestCorpus measures precision and recall on labelled prose, where values have
// no field names and phones are written in every way there is; each file by
// itself, pooled over six kinds of data, with Wilson's interval of 95 %.
func TestCorpus(t *testing.T) {
	of := map[string][]classify.Class{
		"CREDIT_CARD":       {classify.PaymentCard},
		"EMAIL_ADDRESS":     {classify.Email},
		"US_SSN":            {classify.USSSN},
		"IBAN_CODE":         {classify.IBAN},
		"IP_ADDRESS":        {classify.IPv4, classify.IPv6},
		"PHONE_NUMBER":      {classify.Phone},
		"US_DRIVER_LICENSE": {classify.DriverLicence}, // beside the six
	}
	typeOf := map[classify.Class]string{}
	for name, classes := range of {
		for _, c := range classes {
			typeOf[c] = name
		}
	}
	for _, file := range []struct {
		name string
		each float64 // least precision and recall of each kind with ten values or more
	}{{"generated_large", 0.9}, {"generated_small", 0.8}} {
		t.Run(file.name, func(t *testing.T) {
			scores := map[string]*score{}
			for name := range of {
				scores[name] = &score{}
			}
			all := corpus(t, file.name)
			for _, s := range all {
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
			var pooled score
			for _, name := range slices.Sorted(maps.Keys(scores)) {
				sc := *scores[name]
				t.Logf("%-18s %v", name, sc)
				if sc.hit+sc.missed >= 10 && (sc.precision() < file.each || sc.recall() < file.each) {
					t.Errorf("%s: %v, want at least %.2f of each", name, sc, file.each)
				}
				if name != "US_DRIVER_LICENSE" {
					pooled.hit += sc.hit
					pooled.missed += sc.missed
					pooled.wrong += sc.wrong
				}
			}
			t.Logf("%-18s %v", fmt.Sprintf("six kinds, %d texts", len(all)), pooled)
			if pooled.precision() < 0.98 || pooled.recall() < 0.95 {
				t.Errorf("pooled: %v, want precision 0.98 and recall 0.95", pooled)
			}
		})
	}
}

package schema_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/dlclark/regexp2"

	"sallyport.dev/spec/jsondoc"
	"sallyport.dev/spec/schema"
)

var backtracked = []string{
	`^(?=.*\d)(?=.*[a-z])(?=.*[A-Z]).{4,8}$`, `^(?!.*--)[a-z-]+$`, `(?<=a)b`, `(?<!a)b`, `(?<=^|,)b`, `(a|b)\1`, `^(a+)b\1$`, `(?<q>['"@]).*?\k<q>`, `^(?:(a)|b)*\1$`,
	`(?=(a+))a*b\1`, `^(?:(?=a)a|b){2,3}$`, `(?!)|a`, `^((a)|(b)|c)+\3d`, `^(?!(?:a|b)$).+$`, `(?=)a*?b`, `(?=)(a*)*b`, `(?=)(a|ab)(c|bcd)(d*)$`, `(?=)[^]a`, `(?=)\Ba\b`, `^(?!x)(?:a?){3}a{3}$`,
	`(?=)(?:a|b)+?c`, `^(?=a)(?:ab?)*$`, `(?=).{2,}@`, `^(?!.*(.).*\1)[a-d]+$`, `(a)(?!\1)`, `(?<!\d)\d{2}(?!\d)`, `(?i)(?=a)aB`, `(?=)(?i:a)b`, `(?=)(?:)*x`,
}

// The backtracker decides as another one does, and as the other machines do
// when it is made to take their patterns.
func FuzzBacktrack(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 9))
	alphabet := []rune("aaabbcdAB01,-@'x é")
	for i := range backtracked {
		for range 40 {
			v := make([]rune, r.IntN(10))
			for i := range v {
				v[i] = alphabet[r.IntN(len(alphabet))]
			}
			f.Add(i, string(v))
		}
	}
	var ours []*schema.Schema
	var theirs []*regexp2.Regexp
	for _, p := range backtracked {
		text, _ := json.Marshal(map[string]string{"pattern": p})
		s, err := schema.Compile(text, schema.Options{})
		if err != nil {
			f.Fatalf("%s: %v", p, err)
		}
		if p == `(?=)[^]a` {
			p = `(?=)[\s\S]a`
		}
		ours, theirs = append(ours, s), append(theirs, regexp2.MustCompile(p, regexp2.ECMAScript))
	}
	f.Fuzz(func(t *testing.T, i int, v string) {
		if i < 0 || i >= len(ours) || len(v) > 60 || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > 0x7e }) {
			return
		}
		want, err := theirs[i].MatchString(v)
		if err != nil {
			return
		}
		text, _ := json.Marshal(v)
		if got := verdict(t, ours[i], string(text)); got != want {
			t.Errorf("%s on %q: %v, want %v", backtracked[i], v, got, want)
		}
	})
}

// What a value may take is counted, and so the same whatever else runs; long
// honest values are within it, and hostile patterns end.
func TestBacktrackBounds(t *testing.T) {
	long := strings.Repeat("ab cd ", 20_000)
	for _, tt := range []struct {
		pattern, value string
		want           bool
	}{
		{`^(?!.*<script)[\s\S]*$`, long, true}, {`^(?!.*<script)[\s\S]*$`, long + "<script", false},
		{`^(?!x)(?:[a-d]+ ?)+$`, long, true}, {`^(?=a)(a+)+$`, strings.Repeat("a", 60) + "!", false},
		{`^(?!b)(\w+\s?)*$`, strings.Repeat("a", 80) + "!", false}, {`(?<!(?:a|aa)+b)c`, strings.Repeat("a", 5000) + "c", false},
		{`^(?=a)(?:a|b){0,200}$`, strings.Repeat("ab", 100), true}, {`^(?=a)(?:a|b){0,200}$`, strings.Repeat("ab", 101), false},
	} {
		p, _ := json.Marshal(tt.pattern)
		v, _ := json.Marshal(tt.value)
		s := compile(t, `{"pattern":`+string(p)+`}`, schema.Draft2020)
		for range 3 {
			if got := verdict(t, s, string(v)); got != tt.want {
				t.Errorf("%s on %d characters: %v", tt.pattern, len(tt.value), got)
			}
		}
	}
	for _, bad := range []string{`(?=a`, `(?<=`, `(?>a)`, `(a)\2`, `(?<n>a)\k<m>`, `(?=a)(?:ab){9000}`, `(?=a)a{3,2}`, `(?=a)**`, `(?!`, `(?=a))`, `(?=[)`, `(?#x)`, strings.Repeat("(?=", 500), `(?=a)\`} {
		text, _ := json.Marshal(map[string]string{"pattern": bad})
		if _, err := schema.Compile(text, schema.Options{}); err == nil {
			t.Errorf("%s compiles", bad)
		}
	}
	// Many values, each of them cheap enough, are more than one document may cost.
	s := compile(t, `{"items":{"pattern":"^(?!x)(a+)+$"}}`, schema.Draft2020)
	var d jsondoc.Doc
	if err := d.Parse([]byte(`["`+strings.Repeat(strings.Repeat("a", 15)+`b","`, 5000)+`a"]`), jsondoc.Limits{}); err != nil {
		t.Fatal(err)
	}
	var problems []schema.Problem
	if s.Validate(&d, 0, &problems, 5000); len(problems) == 0 || problems[len(problems)-1].Rule != "schema.budget" {
		t.Errorf("%d problems, the last %+v", len(problems), problems[len(problems)-1])
	}
}

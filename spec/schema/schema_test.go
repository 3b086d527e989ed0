package schema_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/dlclark/regexp2"

	"sallyport.dev/spec/jsondoc"
	"sallyport.dev/spec/schema"
)

func compile(t testing.TB, text string, d schema.Dialect) *schema.Schema {
	t.Helper()
	s, err := schema.Compile([]byte(text), schema.Options{Dialect: d, Formats: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Which strings a schema proves harmless: only in a value that holds, only by
// branches that held, only by closed sets.
func TestProven(t *testing.T) {
	for _, c := range []struct{ schema, instance, proven string }{
		{`{"type":"string"}`, `"abc"`, ``},
		{`{"type":"string","maxLength":5}`, `"abc"`, ``},
		{`{"enum":["a","b"]}`, `"a"`, `""`},
		{`{"const":"a"}`, `"a"`, `""`},
		{`{"type":"string","format":"uuid"}`, `"7c9e6679-7425-40de-944b-e07fc1f90ae7"`, `""`},
		{`{"type":"string","format":"date"}`, `"2026-02-28"`, `""`},
		{`{"type":"string","format":"date-time"}`, `"2026-02-28T10:00:00.5+02:00"`, `""`},
		{`{"type":"string","format":"ipv4"}`, `"10.0.0.1"`, `""`},
		{`{"type":"string","format":"ipv6"}`, `"::1"`, `""`},
		{`{"type":"string","format":"email"}`, `"a@b.test"`, ``},
		{`{"type":"string","format":"byte"}`, `"JyBvciAxPTE="`, ``},
		{`{"pattern":"^[A-Z0-9-]{4,32}$"}`, `"AB-12"`, `""`},
		{`{"pattern":"^[A-Z0-9-]{4,32}"}`, `"AB-12' or"`, ``},
		{`{"pattern":"[A-Z0-9-]{4,32}$"}`, `"'AB-12"`, ``},
		{`{"pattern":"^[A-Z0-9-]+$"}`, `"AB-12"`, ``},
		{`{"pattern":"^[A-Z0-9-]+$","maxLength":20}`, `"AB-12"`, `""`},
		{`{"pattern":"^[A-Z0-9-]+$","maxLength":2000}`, `"AB-12"`, ``},
		{`{"pattern":"^[A-Z0-9 ]{1,9}$"}`, `"OR 1 LIKE"`, ``},
		{`{"pattern":"^[0-9T:Z.-]{20,30}$"}`, `"2026-03-02T10:40:05.250Z"`, `""`},
		{`{"pattern":"^[a-z.]{1,9}$"}`, `"a.b"`, ``},
		{`{"pattern":"^[^'<]{1,9}$"}`, `"abc"`, ``},
		{`{"pattern":"^(ab|cd)-\\d{2}$"}`, `"ab-12"`, `""`},
		{`{"pattern":"^ab|cd$"}`, `"ab<"`, ``},
		{`{"pattern":"^[a-zé]{1,5}$"}`, `"abc"`, ``},
		{`{"pattern":"(?i)^[a-z]$"}`, `"a"`, ``},
		{`{"not":{"const":"x"}}`, `"a"`, ``},
		{`{"anyOf":[{"const":"x"},{"type":"string"}]}`, `"a"`, ``},
		{`{"anyOf":[{"properties":{"a":{"const":"x"},"b":{"type":"integer"}},"required":["b"]},{"required":["a"]}]}`, `{"a":"x","b":"y"}`, ``},
		{`{"anyOf":[{"properties":{"a":{"const":"x"}}},{"required":["c"]}]}`, `{"a":"x","b":"y"}`, `"/a"`},
		{`{"properties":{"a":{"const":"x"},"b":{"type":"integer"}}}`, `{"a":"x","b":"y"}`, ``},
		{`{"items":{"enum":["a","b"]}}`, `["a","b"]`, `"/0" "/1"`},
		{`{"if":{"const":"x"},"then":{},"else":{"const":"y"}}`, `"y"`, `""`},
		{`{"contains":{"const":"x"}}`, `["x","y"]`, `"/0"`},
		{`{"propertyNames":{"const":"x"}}`, `{"x":"y"}`, ``},
	} {
		s, err := schema.Compile([]byte(c.schema), schema.Options{Formats: true})
		if err != nil {
			t.Errorf("%s: %v", c.schema, err)
			continue
		}
		var d jsondoc.Doc
		if err := d.Parse([]byte(c.instance), jsondoc.Limits{}); err != nil {
			t.Fatal(err)
		}
		s.Validate(&d, 0, nil, 0)
		var got []string
		for i := range d.Nodes {
			if d.Nodes[i].Proven {
				got = append(got, fmt.Sprintf("%q", d.Pointer(i)))
			}
		}
		if strings.Join(got, " ") != c.proven {
			t.Errorf("%s on %s: proven %v, want %s", c.schema, c.instance, got, c.proven)
		}
	}
}

func TestFormats(t *testing.T) {
	for format, cases := range map[string]struct{ good, bad []string }{
		"date":      {[]string{"2024-02-29", "2000-02-29"}, []string{"2023-02-29", "1900-02-29", "2024-13-01", "2024-1-01", "2024-00-10", "20240101", "2024-04-31"}},
		"date-time": {[]string{"2024-02-29T23:59:60Z", "2024-01-01t00:00:00.123456-23:59"}, []string{"2024-01-01T00:00:00", "2024-01-01 00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01T00:00:00.Z", "2024-01-01T00:00:00+24:00"}},
		"time":      {[]string{"08:30:06Z", "08:30:06.283185+01:00"}, []string{"08:30:06", "8:30:06Z", "08:60:06Z"}},
		"uuid":      {[]string{"7C9E6679-7425-40de-944b-e07fc1f90ae7"}, []string{"7c9e66797425-40de-944b-e07fc1f90ae7", "7c9e6679-7425-40de-944b-e07fc1f90aeg", "{7c9e6679-7425-40de-944b-e07fc1f90ae}"}},
		"ipv4":      {[]string{"0.0.0.0", "255.255.255.255"}, []string{"256.1.1.1", "01.2.3.4", "1.2.3", "1.2.3.4.5", "1.2.3.a", "0x7f.1.1.1"}},
		"ipv6":      {[]string{"::", "2001:db8::1", "::ffff:10.0.0.1"}, []string{":::", "1::2::3", "fe80::1%eth0", "12345::", "10.0.0.1"}},
		"byte":      {[]string{"", "aGk=", "aGk_-+/"}, []string{"a b", "a=b", "===="}},
		"int32":     {[]string{"#2147483647", "#-2147483648"}, []string{"#2147483648", "#-2147483649"}},
		"int64":     {[]string{"#9223372036854775807"}, []string{"#9223372036854775808", "#1e30"}},
		"unknown":   {[]string{"anything"}, nil},
	} {
		s := compile(t, fmt.Sprintf(`{"format":%q}`, format), schema.OpenAPI30)
		loose, err := schema.Compile([]byte(fmt.Sprintf(`{"format":%q}`, format)), schema.Options{})
		if err != nil {
			t.Fatal(err)
		}
		check := func(v string, want bool) {
			text := fmt.Sprintf("%q", v)
			if n, ok := strings.CutPrefix(v, "#"); ok {
				text = n
			}
			if got := verdict(t, s, text); got != want {
				t.Errorf("%s %s: %v", format, v, got)
			}
			if !verdict(t, loose, text) {
				t.Errorf("%s %s: refused though formats are not asserted", format, v)
			}
		}
		for _, v := range cases.good {
			check(v, true)
		}
		for _, v := range cases.bad {
			check(v, false)
		}
	}
}

// Patterns decide as an engine of ECMA-262 does, whatever machine they compile to.
func TestPatterns(t *testing.T) {
	patterns := []string{`^[A-Z0-9-]{4,32}$`, `^a*$`, `a|b`, `^(ab|cd)*e?$`, `^[^a]b`, `\d{2,3}`, `^\w+$`, `\bfoo\b`, `^(?=.{3,9}$)[a-z]+$`, `(a)\1`, `^.$`, `^[é-ü]+$`, `$`, `^`, `^$`, `a{2}b{0,1}`,
		`[a-zA-Z0-9-_.]{3,32}`, `^[a-zA-Z]((?!--|__)[a-zA-Z0-9-_])+$`, `^\s*$`, `[\]\[]`, `^[\w-]+@[\w.]+$`, `(?:x|y)z`, `a.c`, `^a{0,1001}$`, `\u0041`, `[^\d\s]`, `\/x`, `^(a|ab)(c|bcd)$`, `x*`, `^x{2,}y`}
	r := rand.New(rand.NewPCG(1, 2))
	alphabet := []rune("ab cdexyzAB019-_.é\nü[]@/'")
	for _, p := range patterns {
		want, err := regexp2.Compile(p, regexp2.ECMAScript)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(p)
		s := compile(t, `{"pattern":"`+text+`"}`, schema.Draft2020)
		for range 2000 {
			v := make([]rune, r.IntN(9))
			for i := range v {
				v[i] = alphabet[r.IntN(len(alphabet))]
			}
			if strings.HasSuffix(string(v), "\n") && strings.HasSuffix(p, "$") {
				continue // the other engine's $ admits a line end there, ECMA-262's does not
			}
			match, err := want.MatchString(string(v))
			if err != nil {
				t.Fatal(err)
			}
			quoted := strings.NewReplacer("\n", `\n`).Replace(string(v))
			if got := verdict(t, s, `"`+quoted+`"`); got != match {
				t.Errorf("%s on %q: %v, want %v", p, string(v), got, match)
				break
			}
		}
	}
	for _, bad := range []string{`[`, `(`, `*a`, `[b-a]`, `a{2,1}`, `(?<n`, `\\`[:1]} {
		text := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(bad)
		if _, err := schema.Compile([]byte(`{"pattern":"`+text+`"}`), schema.Options{}); err == nil {
			t.Errorf("pattern %s compiles", bad)
		}
	}
}

// Numbers are compared and divided exactly, whatever their size.
func TestNumbers(t *testing.T) {
	numbers := []string{"0", "-0", "1", "-1", "0.1", "0.10", "1e-1", "9007199254740993", "9007199254740992", "123456789012345678901234567890", "1.5e3", "1500", "-2.50", "1e400", "1e-400", "99.999999999999999999",
		"100", "3", "0.3", "7.5", "18446744073709551616"}
	rat := func(s string) *big.Rat { x, _ := new(big.Rat).SetString(s); return x }
	for _, a := range numbers {
		for _, b := range numbers {
			cmp := rat(b).Cmp(rat(a))
			for keyword, want := range map[string]bool{"minimum": cmp >= 0, "maximum": cmp <= 0, "exclusiveMinimum": cmp > 0, "exclusiveMaximum": cmp < 0, "const": cmp == 0} {
				if got := verdict(t, compile(t, fmt.Sprintf(`{%q:%s}`, keyword, a), schema.Draft2020), b); got != want {
					t.Errorf("%s %s on %s: %v", keyword, a, b, got)
				}
			}
			if rat(a).Sign() > 0 {
				want := new(big.Rat).Quo(rat(b), rat(a)).IsInt()
				if got := verdict(t, compile(t, fmt.Sprintf(`{"multipleOf":%s}`, a), schema.Draft2020), b); got != want {
					t.Errorf("multipleOf %s on %s: %v", a, b, got)
				}
			}
		}
	}
	s := compile(t, `{"multipleOf":0.01,"maximum":1e999999999}`, schema.Draft2020)
	if !verdict(t, s, `1e99999999`) || verdict(t, s, `1e-99999999999999999999`) {
		t.Error("huge exponents")
	}
}

// A schema whose alternatives multiply ends with a word, not with the clock.
func TestBudget(t *testing.T) {
	s := compile(t, `{"$defs":{"t":{"anyOf":[{"properties":{"a":{"$ref":"#/$defs/t"}},"required":["z"]},{"properties":{"a":{"$ref":"#/$defs/t"}},"required":["y"]}]}},"$ref":"#/$defs/t"}`,
		schema.Draft2020)
	deep := strings.Repeat(`{"a":`, 60) + `{}` + strings.Repeat(`}`, 60)
	var d jsondoc.Doc
	if err := d.Parse([]byte(deep), jsondoc.Limits{}); err != nil {
		t.Fatal(err)
	}
	var problems []schema.Problem
	if s.Validate(&d, 0, &problems, 5) || len(problems) == 0 || problems[len(problems)-1].Rule != "schema.budget" {
		t.Errorf("problems %v", problems)
	}
}

// Values that make a backtracking pattern slow do not add up.
func TestSlowPattern(t *testing.T) {
	s := compile(t, `{"items":{"pattern":"^(?!x)(a+)+$"}}`, schema.Draft2020)
	evil := `["` + strings.Repeat(strings.Repeat("a", 40)+`b","`, 2000) + `a"]`
	var d jsondoc.Doc
	if err := d.Parse([]byte(evil), jsondoc.Limits{}); err != nil {
		t.Fatal(err)
	}
	var problems []schema.Problem
	if s.Validate(&d, 0, &problems, 5000) || len(problems) > 100 {
		t.Errorf("%d problems", len(problems))
	}
	if !verdict(t, s, `["aaa","aaaaaaaaa"]`) || verdict(t, s, `["xaa"]`) {
		t.Error("honest values")
	}
}

// Long chains and wide diamonds of references compile soon and work.
func TestChains(t *testing.T) {
	var chain, diamond strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&chain, `"c%d":{"$ref":"#/$defs/c%d"},`, i, i+1)
	}
	for i := range 5_000 {
		fmt.Fprintf(&chain, `"p%d":{"properties":{"a":{"$ref":"#/$defs/p%d"}}},`, i, i+1)
	}
	for i := range 60 {
		fmt.Fprintf(&diamond, `"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]},`, i, i+1, i+1)
	}
	s := compile(t, `{"$defs":{`+chain.String()+`"c20000":{"type":"integer"},"p5000":{}},"properties":{"x":{"$ref":"#/$defs/c0"},"y":{"$ref":"#/$defs/p0"}}}`, schema.Draft2020)
	if !verdict(t, s, `{"x":1,"y":{"a":{"a":{}}}}`) || verdict(t, s, `{"x":"1"}`) {
		t.Error("chain")
	}
	s = compile(t, `{"$defs":{`+diamond.String()+`"d60":{"type":"integer"}},"$ref":"#/$defs/d0"}`, schema.Draft2020)
	if sh := s.Shape(); !sh.Number || sh.String {
		t.Errorf("shape %+v", sh)
	}
	if verdict(t, s, `1`) { // sixty doublings are more work than allowed
		t.Error("diamond")
	}
}

func TestCyclic(t *testing.T) {
	for text, want := range map[string]bool{
		`{"$ref":"#"}`: false, `{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"allOf":[{"$ref":"#/$defs/a"}]}},"$ref":"#/$defs/a"}`: false,
		`{"properties":{"a":{"$ref":"#"}}}`: true, `{"items":{"anyOf":[{"type":"string"},{"$ref":"#"}]}}`: true, `{"not":{"$ref":"#"}}`: false,
	} {
		if _, err := schema.Compile([]byte(text), schema.Options{}); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// One schema serves many goroutines.
func TestConcurrent(t *testing.T) {
	s := compile(t, `{"type":"object","properties":{"a":{"enum":["x","y"]},"b":{"type":"array","uniqueItems":true,"items":{"pattern":"^(ab|c)+$"}}},"unevaluatedProperties":false}`, schema.Draft2020)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			var d jsondoc.Doc
			for range 200 {
				text, want := `{"a":"x","b":["ab","c","abc"]}`, true
				if g%2 == 1 {
					text, want = `{"a":"x","b":["ab","ab"],"z":1}`, false
				}
				if err := d.Parse([]byte(text), jsondoc.Limits{}); err != nil || s.Validate(&d, 0, nil, 0) != want {
					t.Errorf("%s: %v", text, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestNoAllocation(t *testing.T) {
	for name, c := range map[string][2]string{
		"plain":       {`{"type":"object","required":["a"],"properties":{"a":{"type":"string","maxLength":9},"n":{"type":"number","multipleOf":0.5}}}`, `{"a":"xé\u0041","n":1.5}`},
		"composed":    {`{"oneOf":[{"required":["x"]},{"required":["a"]}],"unevaluatedProperties":false,"properties":{"a":{"anyOf":[{"const":"q"},{"pattern":"^x|y$"}]}}}`, `{"a":"xx"}`},
		"unique":      {`{"uniqueItems":true,"contains":{"type":"integer"}}`, `[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,"a",{"a":1},{"a":2}]`},
		"names":       {`{"propertyNames":{"pattern":"^[a-z]+$"},"patternProperties":{"^a":{"type":"integer"}}}`, `{"ab":1,"b":"x"}`},
		"dynamic ref": {`{"$id":"https://x.test/t","$dynamicAnchor":"n","type":"object","properties":{"c":{"$dynamicRef":"#n"}},"unevaluatedProperties":false}`, `{"c":{"c":{}}}`},
	} {
		s := compile(t, c[0], schema.Draft2020)
		var d jsondoc.Doc
		var e schema.Evaluation
		src := []byte(c[1])
		f := func() {
			if err := d.Parse(src, jsondoc.Limits{}); err != nil || !s.Evaluate(&d, 0, &e) {
				t.Fatal(name, err)
			}
		}
		f()
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

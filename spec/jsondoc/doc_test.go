package jsondoc_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sallyport.dev/spec/jsondoc"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ src, rule string }{
		{`{}`, ""}, {` [1 , 2.5e-3 ,"x\u0041\ud83d\ude00" , true, false , null ] `, ""},
		{`{"a":{"b":[{}]},"c":""}`, ""}, {`-0`, ""}, {`"é"`, ""},
		{``, jsondoc.RuleEmpty}, {" \n", jsondoc.RuleEmpty},
		{`{`, jsondoc.RuleSyntax}, {`{"a"}`, jsondoc.RuleSyntax}, {`{"a":1,}`, jsondoc.RuleSyntax}, {`[1,]`, jsondoc.RuleSyntax},
		{`[1 2]`, jsondoc.RuleSyntax}, {`01`, jsondoc.RuleSyntax}, {`1.`, jsondoc.RuleSyntax}, {`+1`, jsondoc.RuleSyntax}, {`.5`, jsondoc.RuleSyntax},
		{`1e`, jsondoc.RuleSyntax}, {`nul`, jsondoc.RuleSyntax}, {`NaN`, jsondoc.RuleSyntax}, {`'a'`, jsondoc.RuleSyntax}, {`{a:1}`, jsondoc.RuleSyntax},
		{`1 2`, jsondoc.RuleSyntax}, {"\"a\tb\"", jsondoc.RuleSyntax}, {`"\x41"`, jsondoc.RuleSyntax}, {`"\u12g4"`, jsondoc.RuleSyntax}, {`"abc`, jsondoc.RuleSyntax},
		{`[}`, jsondoc.RuleSyntax}, {`{]`, jsondoc.RuleSyntax}, {"\ufeff{}", jsondoc.RuleSyntax}, {`// c` + "\n1", jsondoc.RuleSyntax},
		{"\"\xff\"", jsondoc.RuleUTF8}, {"\"\xed\xa0\x80\"", jsondoc.RuleUTF8}, {"\"\xc0\xaf\"", jsondoc.RuleUTF8}, {`"\ud800"`, jsondoc.RuleUTF8},
		{`"\ud800\u0041"`, jsondoc.RuleUTF8}, {`"\udc00"`, jsondoc.RuleUTF8},
		{`{"a":1,"a":2}`, jsondoc.RuleDuplicate}, {`{"a":1,"\u0061":2}`, jsondoc.RuleDuplicate}, {`{"a":1,"A":2}`, ""},
		{`{"x":{"a":1,"b":2},"y":{"a":1}}`, ""},
		{strings.Repeat("[", 65) + strings.Repeat("]", 65), jsondoc.RuleDepth}, {strings.Repeat("[", 64) + strings.Repeat("]", 64), ""},
	} {
		var d jsondoc.Doc
		err := d.Parse([]byte(c.src), jsondoc.Limits{})
		var s *jsondoc.SyntaxError
		got := ""
		if errors.As(err, &s) {
			got = s.Rule
		}
		if got != c.rule || (err != nil) != (c.rule != "") {
			t.Errorf("Parse(%.40q) = %v (%s), want %q", c.src, err, got, c.rule)
		}
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		src  string
		lim  jsondoc.Limits
		rule string
	}{
		{`[1,2,3]`, jsondoc.Limits{Nodes: 3}, jsondoc.RuleNodes}, {`[1,2]`, jsondoc.Limits{Nodes: 3}, ""},
		{`[1,2,3]`, jsondoc.Limits{Members: 2}, jsondoc.RuleMembers}, {`[1,2]`, jsondoc.Limits{Members: 2}, ""},
		{`"abcd"`, jsondoc.Limits{StringBytes: 3}, jsondoc.RuleString}, {`{"abcd":1}`, jsondoc.Limits{StringBytes: 3}, jsondoc.RuleString},
		{`"abcd"`, jsondoc.Limits{Bytes: 5}, jsondoc.RuleBytes}, {`[[1]]`, jsondoc.Limits{Depth: 1}, jsondoc.RuleDepth},
	} {
		var d jsondoc.Doc
		err := d.Parse([]byte(c.src), c.lim)
		var s *jsondoc.SyntaxError
		got := ""
		if errors.As(err, &s) {
			got = s.Rule
		}
		if got != c.rule {
			t.Errorf("Parse(%q, %+v) = %v, want %q", c.src, c.lim, err, c.rule)
		}
	}
}

func TestTape(t *testing.T) {
	var d jsondoc.Doc
	src := `{"a/b":[10,{"c~":"x\ny"}],"\u00e9":-1.5}`
	if err := d.Parse([]byte(src), jsondoc.Limits{}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range d.Nodes {
		n := &d.Nodes[i]
		got = append(got, fmt.Sprintf("%s %s %d %d %d", d.Pointer(i), n.Kind, n.Next, n.Count, n.Parent))
	}
	want := []string{" object 6 2 -1", "/a~1b array 5 2 0", "/a~1b/0 number 3 0 1", "/a~1b/1 object 5 1 1", "/a~1b/1/c~0 string 5 0 3", "/é number 6 0 0"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("tape:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if s := string(d.Text(4, nil)); s != "x\ny" {
		t.Errorf("Text = %q", s)
	}
	if !d.Nodes[2].Integer || d.Nodes[5].Integer {
		t.Error("Integer is wrong")
	}
}

// Many keys, some that share head, tail and length, stay cheap and are found.
func TestManyKeys(t *testing.T) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i := range 100_000 {
		fmt.Fprintf(&b, `"headhead%08dtailtail":0,`, i)
	}
	whole := b.String()
	var d jsondoc.Doc
	if err := d.Parse([]byte(whole+`"end":1}`), jsondoc.Limits{}); err != nil {
		t.Fatal(err)
	}
	err := d.Parse([]byte(whole+`"headhead00000007tailt\u0061il":1}`), jsondoc.Limits{Duplicates: true})
	if err != nil || !d.Duplicates || d.Pointer(d.Duplicate) != "/headhead00000007tailtail" {
		t.Errorf("duplicate: %v %v", err, d.Duplicates)
	}
}

func TestNoAllocation(t *testing.T) {
	src := []byte(`{"id":"3f2b8c1e","lines":[{"sku":"A","qty":1},{"sku":"B","qty":2}],"d":"text \u0041","e":{"f":null}}`)
	var d jsondoc.Doc
	if n := testing.AllocsPerRun(100, func() {
		if err := d.Parse(src, jsondoc.Limits{}); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Against encoding/json: the same documents are valid, but for invalid UTF-8,
// half surrogate pairs and duplicate keys, which only Parse refuses.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5,"x"],"b":{"c":null}}`, `[`, `"\ud800"`, `{"a":1,"a":2}`, "\"\xff\"", `1e5`, ` true `, `{"\u0061":1,"a":2}`, `[[[[]]]]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		var d jsondoc.Doc
		err := d.Parse(src, jsondoc.Limits{Depth: 1000})
		var s *jsondoc.SyntaxError
		if err != nil && !errors.As(err, &s) {
			t.Fatalf("error is %T", err)
		}
		valid := json.Valid(src)
		switch {
		case err == nil && !valid:
			t.Fatalf("accepted %q", src)
		case err != nil && valid && s.Rule == jsondoc.RuleSyntax:
			t.Fatalf("refused %q: %v at %d", src, err, s.Offset)
		case err != nil && (s.Offset < 0 || s.Offset > len(src)):
			t.Fatalf("offset %d of %d", s.Offset, len(src))
		}
		if valid {
			if dup := hasDuplicate(src); err == nil && dup || err != nil && s.Rule == jsondoc.RuleDuplicate && !dup {
				t.Fatalf("duplicate in %q: encoding/json says %v, Parse says %v", src, dup, err)
			}
		}
		for i := range d.Nodes {
			n := &d.Nodes[i]
			if n.Next <= int32(i) || int(n.Next) > len(d.Nodes) || n.Start > n.End || int(n.End) > len(src) {
				t.Fatalf("node %d of %q: %+v", i, src, n)
			}
			d.Pointer(i)
			if n.Kind == jsondoc.String {
				var want string
				quoted := append(append([]byte{'"'}, d.Raw(i)...), '"')
				if err := json.Unmarshal(quoted, &want); err != nil || string(d.Text(i, nil)) != want {
					t.Fatalf("Text(%s) = %q, want %q", quoted, d.Text(i, nil), want)
				}
			}
		}
	})
}

// hasDuplicate reads valid JSON by encoding/json's tokens.
func hasDuplicate(src []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(src))
	dec.UseNumber()
	var value func() bool
	value = func() bool {
		tok, err := dec.Token()
		if err != nil {
			return false
		}
		delim, ok := tok.(json.Delim)
		if !ok {
			return false
		}
		found, seen := false, map[string]bool{}
		for dec.More() {
			if delim == '{' {
				k, _ := dec.Token()
				if s, ok := k.(string); ok {
					found = found || seen[s]
					seen[s] = true
				}
			}
			found = value() || found
		}
		dec.Token()
		return found
	}
	return value()
}

func BenchmarkParse(b *testing.B) {
	var big bytes.Buffer
	big.WriteString(`{"lines":[`)
	for i := range 400 {
		if i > 0 {
			big.WriteByte(',')
		}
		fmt.Fprintf(&big, `{"sku":"KX-%04d-A","qty":%d,"unit":12.5}`, i, i)
	}
	big.WriteString(`]}`)
	for name, src := range map[string][]byte{"17KB": big.Bytes(), "small": []byte(`{"id":"3f2b8c1e","lines":[{"sku":"A","qty":1},{"sku":"B","qty":2}],"e":{"f":null}}`)} {
		b.Run(name, func(b *testing.B) {
			var d jsondoc.Doc
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if err := d.Parse(src, jsondoc.Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package source_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"sallyport.dev/spec/source"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{"a": [1, 2.50, "x\u0041"], "b": null}`, `{"a":[1,2.50,"xA"],"b":null}`},
		{"a: [1, 0x1F, 1_000, .5, 1e3, true, ~, 'x', 2024-01-01]\n200: {b: c}\n", `{"a":[1,31,1000,0.5,1e3,true,null,"x","2024-01-01"],"200":{"b":"c"}}`},
		{"base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\n", `{"base":{"x":1,"y":2},"use":{"y":3,"x":1}}`},
		{"a: &l [1]\nb: *l\n", `{"a":[1],"b":[1]}`},
		{"{a: b, c: [d]}\n", `{"a":"b","c":["d"]}`},
		{"\ufeffa: |\n  one\n  two\n", `{"a":"one\ntwo\n"}`},
	} {
		v, faults := source.Parse([]byte(c.text), true)
		if len(faults) > 0 {
			t.Errorf("%q: %v", c.text, faults)
			continue
		}
		if got := string(v.AppendJSON(nil)); got != c.want {
			t.Errorf("%q: got %s, want %s", c.text, got, c.want)
		}
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		text, want   string
		line, column int
	}{
		{"", "empty", 1, 1}, {"a: 1\na: 2\n", `key "a" stands twice`, 2, 1}, {"{\"a\": 1,\n \"a\": 2}", `key "a" stands twice`, 2, 2},
		{"{\n  \"a\": tru\n}", "not valid JSON", 2, 8}, {"a: [\n", "not valid YAML", 2, 1}, {"a: &a [*a]\n", "inside its own anchor", 1, 8},
		{"? [a]\n: b\n", "no plain word", 1, 3}, {"a: .nan\n", "no JSON form", 1, 4},
	} {
		_, faults := source.Parse([]byte(c.text), false)
		if len(faults) == 0 || !strings.Contains(faults[0].Message, c.want) || faults[0].Line != c.line || faults[0].Column != c.column {
			t.Errorf("%q: %+v, want %q at %d:%d", c.text, faults, c.want, c.line, c.column)
		}
	}
}

func TestPositions(t *testing.T) {
	for _, text := range []string{"a:\n  b: [x,\n    y]\n", "{\"a\":\n  {\"b\":[\"x\",\n    \"y\"]}}"} {
		v, _ := source.Parse([]byte(text), false)
		y := v.Pointer("/a/b/1")
		if y.String() != "y" || y.Line != 3 || y.Column != 5 {
			t.Errorf("%q: %+v", text, y)
		}
		if v.Pointer("/a/b/2") != nil || v.Pointer("/a/b/01") != nil || v.Pointer("x") != nil || v.Pointer("/a~1b") != nil {
			t.Error("a pointer leads somewhere it should not")
		}
	}
}

// Any bytes: no panic, and JSON comes back as encoding/json reads it.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":[1,"x",null,true],"b":{"c":1.5}}`, "a: &x [1]\nb: *x\nc: {<<: {d: 1}}\n", "- 1\n- ? a\n", "%YAML 1.2\n---\na: !!binary x\n", "a: &a\n  b: *a\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<14 {
			return
		}
		v, faults := source.Parse(data, true)
		if v == nil {
			if len(faults) == 0 {
				t.Fatal("neither value nor fault")
			}
			return
		}
		if len(faults) > 0 {
			return
		}
		out := v.AppendJSON(nil)
		var got any
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%q gives %s: %v", data, out, err)
		}
		if json.Valid(data) {
			var want any
			if err := json.Unmarshal(data, &want); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%q gives %s: %v", data, out, err)
			}
		}
	})
}

package spec_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/spec"
)

// mutate changes one thing in a JSON value.
func mutate(r *rand.Rand, v any) any {
	switch x := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(x))
		for k := range x {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		out := map[string]any{}
		for k, e := range x {
			out[k] = e
		}
		switch n := r.IntN(5); {
		case n == 0 || len(keys) == 0:
			out["not_declared"] = 1
		case n == 1:
			delete(out, keys[r.IntN(len(keys))])
		default:
			k := keys[r.IntN(len(keys))]
			out[k] = mutate(r, out[k])
		}
		return out
	case []any:
		if len(x) == 0 || r.IntN(3) == 0 {
			return append(slices.Clone(x), 7)
		}
		out := slices.Clone(x)
		i := r.IntN(len(out))
		out[i] = mutate(r, out[i])
		return out
	}
	return []any{nil, true, -1, 0, 3.5, 1e9, "", "x", "abc-def", strings.Repeat("y", 300), "a b", map[string]any{}, []any{}, "10.0.0.1", "2024-01-01T00:00:00"}[r.IntN(15)]
}

// Recorded requests with one thing changed get kin-openapi's verdict, too; the
// kinds of case that do not are listed with a reason in testdata/mutated.txt.
func TestMutated(t *testing.T) {
	data := unzip(t, lab+"openapi.yaml.gz")
	set, err := spec.Load(context.Background(), []spec.Source{{Path: "openapi.yaml", Data: data}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	second := judge(t, data)
	r := rand.New(rand.NewPCG(3, 5))
	cases := map[string]int{}
	compared, refused := 0, 0
	var c spec.Check
	var m spec.Match
	check := func(x recorded) {
		u, err := url.Parse(x.URL)
		if err != nil {
			return
		}
		found := set.Match(x.Method, u.EscapedPath(), &m) == spec.Found
		kinFound, complaint := second(x)
		if found != kinFound {
			cases[fmt.Sprintf("match %v kin %v\t%s %s", found, kinFound, x.Method, u.Path)]++
			return
		}
		if !found {
			return
		}
		c.Reset()
		m.Op.CheckParams(&c, &m, u.RawQuery, header(x.Header))
		if x.Body != nil {
			m.Op.CheckBody(&c, x.Header["Content-Type"], []byte(*x.Body))
		}
		compared++
		ours := len(c.Problems) > 0
		if ours {
			refused++
		}
		switch {
		case ours && complaint == "":
			cases[fmt.Sprintf("sallyport\t%s %s\t%s\t%s", x.Method, m.Op.Template, c.Problems[0].Rule, c.Problems[0].Place)]++
		case !ours && complaint != "":
			cases[fmt.Sprintf("kin\t%s %s\t%s", x.Method, m.Op.Template, complaint)]++
		}
	}
	for _, x := range traffic(t) {
		if x.Body != nil && *x.Body != "" {
			var v any
			if json.Unmarshal([]byte(*x.Body), &v) != nil {
				continue
			}
			for range 6 {
				b, err := json.Marshal(mutate(r, v))
				if err != nil {
					t.Fatal(err)
				}
				y, text := x, string(b)
				y.Body = &text
				check(y)
			}
			continue
		}
		// Change a path segment or add a query parameter.
		u, err := url.Parse(x.URL)
		if err != nil {
			t.Fatal(err)
		}
		segments := strings.Split(u.Path, "/")
		segments[2+r.IntN(len(segments)-2)] = []string{"12", "x", "0", "-5", "1.5", "a%20b", "us-east"}[r.IntN(7)]
		y := x
		y.URL = u.Scheme + "://" + u.Host + strings.Join(segments, "/")
		check(y)
		y.URL = x.URL[:len(x.URL)-len(u.RawQuery)] + map[bool]string{true: "", false: "?"}[u.RawQuery != ""] +
			[]string{"page=2", "page=0", "page=x", "page_size=25", "page_size=5000", "page=1&page=2", "other=1", "page=", "page=%32"}[r.IntN(9)]
		check(y)
	}
	t.Logf("%d compared, %d refused, %d kinds of disagreement", compared, refused, len(cases))
	if compared < 4000 || refused < compared/5 {
		t.Errorf("%d compared, %d refused", compared, refused)
	}
	compare(t, "testdata/mutated.txt", cases)
}

package query_test

import (
	"slices"
	"strings"
	"testing"

	"sallyport.dev/spec/query"
)

// alone is a fuzz test of one parser: whatever it is given, it ends, says where
// a value leaves the grammar, keeps its bounds, gives literals that stand in the
// value, and takes what it has taken again with spaces around it.
func alone(f *testing.F, language string) {
	for _, c := range table {
		if c.language == language {
			f.Add(c.value)
		}
	}
	l := languages(f)[language]
	f.Fuzz(func(t *testing.T, value string) {
		literals, err := l.Parse(value, nil)
		if err != nil {
			if e, ok := err.(*query.Error); !ok || e.At < 0 || e.At > len(value) || e.Message == "" {
				t.Fatalf("%q: error %#v", value, err)
			}
			return
		}
		if len(value) > query.MaxBytes || len(literals) > query.MaxTerms {
			t.Fatalf("%d bytes with %d literals are taken", len(value), len(literals))
		}
		size := 0
		for _, s := range literals {
			size += len(s)
		}
		if size > len(value) {
			t.Fatalf("%q: the literals %q are longer than the value", value, literals)
		}
		if bare := unquoted(value); language != "lucene" && (strings.ContainsAny(bare, "\x00\n\r`") || strings.Contains(bare, "--") && language == "sql-expression" || strings.Contains(bare, "/*")) {
			t.Fatalf("%q is taken", value)
		}
		again, err := l.Parse(" "+value, nil)
		if len(value) < query.MaxBytes && (err != nil || !slices.Equal(again, literals)) {
			t.Fatalf("%q: with a space before it %q, %v", value, again, err)
		}
	})
}

// unquoted is a value without what stands in quotes.
func unquoted(s string) string {
	var b strings.Builder
	var in byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case in == 0 && (c == '\'' || c == '"'):
			in = c
		case in != 0 && c == '\\':
			i++
		case c == in:
			in = 0
		case in == 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func FuzzODataFilter(f *testing.F)  { alone(f, "odata-filter") }
func FuzzODataOrderBy(f *testing.F) { alone(f, "odata-orderby") }
func FuzzODataSelect(f *testing.F)  { alone(f, "odata-select") }
func FuzzODataExpand(f *testing.F)  { alone(f, "odata-expand") }
func FuzzSortList(f *testing.F)     { alone(f, "sort-list") }
func FuzzFieldList(f *testing.F)    { alone(f, "field-list") }
func FuzzSQL(f *testing.F)          { alone(f, "sql-expression") }
func FuzzRSQL(f *testing.F)         { alone(f, "rsql") }
func FuzzLucene(f *testing.F)       { alone(f, "lucene") }
func FuzzJSONPath(f *testing.F)     { alone(f, "json-path") }

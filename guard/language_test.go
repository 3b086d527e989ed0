package guard_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	sallyport "sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/guard/vectors"
)

func products(p *guard.Program, name, value string) *sallyport.Exchange {
	r := &guard.Request{Method: http.MethodGet, Host: "api.example.test", Path: "/products", RawQuery: url.QueryEscape(name) + "=" + url.QueryEscape(value),
		Header: http.Header{}, Client: netip.MustParseAddr("192.0.2.7")}
	s, _ := p.Begin(r, vectors.Now)
	return s.End(guard.Outcome{}, vectors.Now)
}

func TestQueryLanguages(t *testing.T) {
	p := invoices(t)
	for _, c := range []struct{ name, value, rule string }{
		{"$filter", "name eq 'O''Brien' and price gt 5", ""},
		{"$filter", "contains(name,'select, insert or update') or city eq 'Rome'", ""},
		{"$filter", "name eq 'x' or 1 eq 1", "query.odata-filter"},
		{"$filter", "name eq 'x' or 1=1--", "query.odata-filter"},
		{"$filter", "secret eq 'x'", "query.odata-filter"}, // no property of the answer
		{"$filter", "name eq '<script>alert(document.cookie)</script>'", "xss"},
		{"$filter", "name eq 'x'' UNION SELECT password FROM users--'", "sqli"},
		{"$orderby", "price desc, name", ""},
		{"$orderby", "(select 1 from pg_sleep(5))", "query.odata-orderby"},
		{"sort", "-price,name", ""},
		{"sort", "city", "query.sort-list"}, // not listed, though a property
		{"where", "name = 'O''Brien' AND NOT (price > 5 OR city IS NULL)", ""},
		{"where", "lower(name) = 'a' OR price BETWEEN 1 AND 2", ""},
		{"where", "name = 'x' OR 'a' = 'a'", "query.sql-expression"},
		{"where", "price = 1; DROP TABLE users", "query.sql-expression"},
		{"where", "price = (SELECT 1)", "query.sql-expression"},
		{"where", "upper(name) = 'A'", "query.sql-expression"},
		{"where", "name = 'x\\' OR price = 1 -- '", "query.sql-expression"},
		{"where", strings.Repeat("price=1 or ", 5000) + "price=1", "query.sql-expression"},
		{"where", strings.Repeat("(", 4000), "query.sql-expression"},
		{"where", "", "query.sql-expression"},
		{"where", "\xff\xfe", ""},
	} {
		x := products(p, c.name, c.value)
		found := false
		for _, r := range x.Decision.Reasons {
			found = found || r.Rule == c.rule || r.Class == c.rule
			if strings.Contains(r.Detail, "Brien") {
				t.Errorf("%q: the decision holds the value", c.value)
			}
		}
		if c.value == "\xff\xfe" {
			found = x.Decision.Refused()
			c.rule = "any"
		}
		if x.Decision.Refused() != (c.rule != "") || c.rule != "" && !found {
			t.Errorf("%s=%.80q: got %s, %+v; want %q", c.name, c.value, x.Decision.Action, x.Decision.Reasons, c.rule)
		}
	}
}

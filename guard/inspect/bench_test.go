package inspect_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"

	"sallyport.dev"
	"sallyport.dev/guard/inspect"
)

// order is a JSON document; 10 lines make 1 KiB and 46 leaves, 262 make 800.
func order(lines int) []byte {
	type line struct {
		SKU  string  `json:"sku"`
		Qty  int     `json:"qty"`
		Unit float64 `json:"unit"`
	}
	var ls []line
	for i := range lines {
		ls = append(ls, line{fmt.Sprintf("KX-%04d-A", 2041+i), 1 + i, 12.5 + float64(i)})
	}
	b, _ := json.Marshal(map[string]any{
		"id": "3f2b8c1e-7d44-4a8e-9b1a-0c5d2e6f7a81", "sku": "KX-2041-BLU", "status": "active", "price": 129.95, "quantity": 42,
		"created": "2026-11-24T08:15:30.120Z", "express": true, "tags": []string{"outdoor", "summer-26", "new", "returns-30d"},
		"address": map[string]string{"street": "14 Rosewood Lane, Unit 3", "city": "Cape Town", "country": "ZA", "zip": "8001"},
		"lines":   ls,
		"description": "Lightweight waterproof jacket with a zipped chest pocket, adjustable hood and reflective seams. " +
			"Ships in two working days; please leave the parcel with the neighbour at number 16 if nobody is home.",
	})
	return b
}

// leaves returns the scalar values of a document as text, numbers too.
func leaves(b []byte) (out [][]byte) {
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		panic(err)
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, e := range v {
				walk(e)
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		default:
			out = append(out, []byte(fmt.Sprint(v)))
		}
	}
	walk(v)
	return out
}

const prose = "The parcel was left with the neighbour at number 16, who kindly kept it until the evening; the driver rang twice and nobody answered. " +
	"I would like to know whether the jacket can be exchanged for a larger one, and if so how long that usually takes. The colour is lovely, but it isn't quite what the picture showed. "

func engine(tb testing.TB, o inspect.Options) *inspect.Engine {
	tb.Helper()
	e, err := inspect.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func BenchmarkCheck(b *testing.B) {
	e := engine(b, inspect.Options{})
	for _, c := range []struct{ name, v string }{
		{"integer", "1234"}, {"word", "outdoor"}, {"sku", "KX-2041-BLU"}, {"uuid", "3f2b8c1e-7d44-4a8e-9b1a-0c5d2e6f7a81"}, {"time", "2026-11-24T08:15:30.120Z"},
		{"host", "api.example.test"}, {"email", "alice@example.test"}, {"name", "Conor O'Brien"}, {"street", "14 Rosewood Lane, Unit 3"},
		{"agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36"},
		{"url", "https://example.test/search?q=blue+jacket&page=2"},
		{"prose-1KiB", strings.Repeat(prose, 4)[:1024]},
		{"attack-sql", "1' or 1=1 union select password from users--"}, {"attack-encoded", "%2527%20or%201%3D1--%20"}, {"attack-xss", "<svg onload=alert(1)>"},
	} {
		b.Run(c.name, func(b *testing.B) {
			var s inspect.Scratch
			b.ReportAllocs()
			b.SetBytes(int64(len(c.v)))
			for b.Loop() {
				e.CheckString(c.v, sallyport.InBody, &s)
			}
		})
	}
}

// BenchmarkRequest inspects every value of a request, beside Coraza with the
// Core Rule Set at paranoia level 1 on the same request.
func BenchmarkRequest(b *testing.B) {
	e := engine(b, inspect.Options{})
	w, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives("Include @coraza.conf-recommended\nInclude @crs-setup.conf.example\nInclude @owasp_crs/*.conf\nSecRuleEngine On\nSecAuditEngine Off"))
	if err != nil {
		b.Fatal(err)
	}
	const target = "/v1/items/1234?limit=20&sort=name&q=blue%20jacket"
	headers := []string{"shop-mobile/4.2.1 (Android 15; Pixel 8)", "application/json", "5f0b7a52-2a31-4c0e-8f6f-5b2a0e0b6d11"}
	for _, c := range []struct {
		name string
		body []byte
	}{{"get", nil}, {"post-1KiB", order(10)}, {"post-800-leaves", order(262)}} {
		var values [][]byte
		if c.body != nil {
			values = leaves(c.body)
		} else {
			q, _ := url.ParseQuery("limit=20&sort=name&q=blue%20jacket")
			for _, v := range q {
				values = append(values, []byte(v[0]))
			}
			values = append(values, []byte("1234"))
		}
		for _, h := range headers {
			values = append(values, []byte(h))
		}
		b.Run(fmt.Sprintf("%s/%d-values/sallyport", c.name, len(values)), func(b *testing.B) {
			var s inspect.Scratch
			b.ReportAllocs()
			for b.Loop() {
				for _, v := range values {
					if e.Check(v, sallyport.InBody, &s).Hit() {
						b.Fatal("refused")
					}
				}
			}
		})
		b.Run(fmt.Sprintf("%s/%d-values/coraza-crs-pl1", c.name, len(values)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tx := w.NewTransaction()
				tx.ProcessConnection("192.0.2.1", 50000, "", 0)
				if c.body == nil {
					tx.ProcessURI(target, "GET", "HTTP/1.1")
				} else {
					tx.ProcessURI("/v1/items", "POST", "HTTP/1.1")
					tx.AddRequestHeader("Content-Type", "application/json")
					tx.AddRequestHeader("Content-Length", fmt.Sprint(len(c.body)))
				}
				tx.AddRequestHeader("Host", "api.example.test")
				tx.SetServerName("api.example.test")
				tx.AddRequestHeader("User-Agent", headers[0])
				tx.AddRequestHeader("Accept", headers[1])
				tx.AddRequestHeader("X-Request-Id", headers[2])
				it := tx.ProcessRequestHeaders()
				if it == nil && c.body != nil {
					if _, _, err := tx.WriteRequestBody(c.body); err != nil {
						b.Fatal(err)
					}
				}
				if it == nil {
					if it, err = tx.ProcessRequestBody(); err != nil {
						b.Fatal(err)
					}
				}
				if it != nil {
					b.Fatal("refused by rule ", it.RuleID)
				}
				tx.Close()
			}
		})
	}
}

// hostile are inputs of 64 KiB made to keep a judge busy.
func hostile() map[string]string {
	fill := func(unit string) string { return strings.Repeat(unit, 65536/len(unit)+1)[:65536] }
	return map[string]string{
		"quotes": fill("'"), "double quotes": fill(`"`), "mixed quotes": fill(`'"` + "`"), "tags": fill("<a "), "open tags": fill(`<a x="`), "attributes": "<a " + fill("x=y "), "handlers": fill("on on on"),
		"percent": fill("%"), "nested percent": fill("%25"), "deep percent": fill("%2525252525"), "entities": fill("&#x26;"), "escapes": fill(`\u005c`), "comments": fill("/*"), "closed comments": fill("/**/"), "long comment": "' or /*" + fill("a") + "*/ 1=1",
		"dots": fill("."), "climbs almost": fill("..x/"), "slashes": fill("/"), "lookups": fill("${"), "nested lookups": fill("${a:-") + strings.Repeat("}", 9000), "braces": fill("{{"), "template": fill("{{a}}"), "commands": fill(";cat "), "backticks": fill("`a"), "dollars": fill("$("),
		"logic": fill(" or "), "sql text": fill("select a from b "), "sql words": fill("1 and "), "parens": fill("("), "calls": fill("alert "), "words": fill("document "), "base64": fill("PHNjcmlwdD4x"), "wide": fill("\uff1c"), "overlong": fill("\xc0\xaf"), "nul": fill("\x00"), "lines": fill("\r\n"), "utf-7": fill("+ADw-"), "plus": fill("+"), "brackets": fill("a]("), "import": fill("@import "), "expr": fill("expr/*"), "ors": fill("||"), "mongo": fill("$ne"), "urls": fill("//a"), "o:": fill("o:1"), "javascript": fill("javascript:"), "print": fill("print("), "1=": fill("1="), "union": fill("union select "),
		"opened calls": "phpinfo" + fill("(("), "variables": "$_get" + fill("$_("), "indexes": "$_get" + fill("$a["), "batch": fill(";if "), "loops": fill("|for %"), "choices": fill("|file"), "listed": "(" + fill("a|cat"), "globs": "/etc/" + fill("[a"), "ticks": fill("eval`"), "void": fill("1.e "), "brackets closed": fill("] select "), "quoted operators": fill(" '=' "), "prose commands": fill("the ls of\nvim\n"),
	}
}

func BenchmarkHostile(b *testing.B) {
	e := engine(b, inspect.Options{})
	for name, v := range hostile() {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			var s inspect.Scratch
			for b.Loop() {
				e.CheckString(v, sallyport.InBody, &s)
			}
		})
	}
}

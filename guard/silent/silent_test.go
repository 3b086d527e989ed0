package silent_test

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/guard/silent"
)

// Each leak beside what looks like it and gives nothing away.
var pairs = []struct{ name, rule, leak, benign string }{
	{"java frame", silent.RuleStack, "java.lang.IllegalStateException: no\n\tat com.acme.shop.Orders.find(Orders.java:42)", "the order at shop.example (Berlin) is closed at 10:42"},
	{"java in JSON", silent.RuleStack, `{"trace":"x\n\tat com.acme.Orders.find(Orders.java:42)\n"}`, `{"detail":"look at orders.find(…) in the manual"}`},
	{"kotlin", silent.RuleStack, "at com.acme.MainKt.main(Main.kt:3)", "the main.kt file is too large: 3 MB"},
	{"dotnet", silent.RuleStack, `   at Acme.Orders.Find(Int32 id) in C:\src\Orders.cs:line 12`, "in line 12: the field at index 3 is empty"},
	{"python", silent.RuleStack, "Traceback (most recent call last):\n  File \"/srv/x.py\", line 3, in f", `{"detail":"File \"a.csv\", row 3 is not valid"}`},
	{"php", silent.RuleStack, "<b>Warning</b>: mysqli_connect(): no in <b>/srv/x.php</b> on line <b>12</b>", "Warning: the date on line 12 of your invoice is in the past"},
	{"ruby", silent.RuleStack, "app/models/order.rb:12:in `find'", "order 12: in stock"},
	{"go", silent.RuleStack, "goroutine 7 [running]:\nmain.main()\n\t/x/main.go:12 +0x1d", "the goroutine count is a number"},
	{"node", silent.RuleStack, "TypeError: x\n    at handler (server.js:12:9)", "the script server.js is not allowed"},
	{"rust", silent.RuleStack, "thread 'worker' panicked at src/main.rs:4:5:", "example.rs:443 is no valid host"},
	{"exception class", silent.RuleException, `{"error":"com.acme.orders.OrderNotFoundException"}`, `{"__type":"ValidationException","message":"name is required"}`},
	{"php class", silent.RuleException, `{"exception":"Acme\\Shop\\OrderException"}`, `{"error":"OrderException"}`},
	{"mysql", silent.RuleSQL, "You have an error in your SQL syntax; check the manual", "engine must be one of mysql/8.0.26, postgresql/14"},
	{"mysql table", silent.RuleSQL, "Table 'shop.orders' doesn't exist", "The item 'blue shirt' doesn't exist"},
	{"postgresql", silent.RuleSQL, `ERROR: relation "orders" does not exist`, `the relation "friend" is not allowed`},
	{"sqlite", silent.RuleSQL, "UNIQUE constraint failed: users.email", "email must be unique"},
	{"oracle", silent.RuleSQL, "ORA-00933: SQL command not properly ended", "flight ORA-DXB is full"},
	{"mongodb", silent.RuleSQL, "E11000 duplicate key error collection: shop.users", "the key is a duplicate"},
	{"statement", silent.RuleSQL, "SELECT id, name FROM users WHERE id = 7", "Please select a colour from the list where it says colour"},
	{"statement, lower case", silent.RuleSQL, "select u.id, u.name from users u where u.id = $1", "you may select items from one shop only"},
	{"update", silent.RuleSQL, "UPDATE users SET name = $1", "UPDATE is not allowed; SET a name first"},
	{"connection string", silent.RuleSQL, "postgres://app:s3cret@db/shop", "postgres is not a known engine"},
	{"unix path", silent.RulePath, "cannot open /var/www/shop/config.php", "https://example.com/var/www is not reachable"},
	{"home path", silent.RulePath, "no such file: /home/deploy/shop/app.py", "there is nothing at /home/feed"},
	{"image path", silent.RulePath, "Cannot find module '/app/lib/orders.js'", "no operation /app/orders/42"},
	{"windows path", silent.RulePath, `Could not find file 'C:\inetpub\shop\web.config'`, `the drive letter C: is not allowed; write \d for a digit`},
	{"windows path in JSON", silent.RulePath, `{"e":"C:\\Users\\svc\\shop.dll"}`, `{"pattern":"^[A-Z]:\\d+$"}`},
	{"share", silent.RulePath, `\\files01\shop\orders.csv`, `{"pattern":"\\d{3}\\w+\\."}`},
	{"address", silent.RuleAddress, "connect to 10.3.4.5:5432 failed", "an address in 10.0.0.0/8 is not allowed, 203.0.113.9 is"},
	{"address, IPv6", silent.RuleAddress, "connect to fd12:3456:789a::5 failed", "time 10:20:30 is past, 2001:db8::1 is free"},
	{"refused", silent.RuleAddress, "connect ECONNREFUSED", "the payment was refused"},
	{"host", silent.RuleHost, "no route to payments.prod.internal", `{"code":"error.internal"}`},
	{"cluster", silent.RuleHost, "orders.shop.svc.cluster.local:8080", "the local cluster is full"},
	{"localhost", silent.RuleHost, "upstream http://localhost:9001", "localhost is not a public name"},
	{"nginx page", silent.RuleBanner, "<html><center><h1>404 Not Found</h1></center><hr><center>nginx</center></html>", "<html><center><h1>404 Not Found</h1></center></html>"},
	{"spring page", silent.RuleBanner, "<h1>Whitelabel Error Page</h1>", "<h1>Page not found</h1>"},
	{"django debug", silent.RuleBanner, "Django Version: 4.2", "Version 4.2 is not supported"},
	{"version", silent.RuleVersion, "<address>nginx/1.18.0</address>", "application/vnd.shop/1.2 is not acceptable"},
	{"system", silent.RuleVersion, "Server 2.4.41 (Ubuntu)", "image 'Ubuntu' (LTS) is not offered"},
	{"password told apart", silent.RuleAuth, `{"error":"Wrong password"}`, `{"error":"Invalid username or password"}`},
	{"user told apart", silent.RuleAuth, `{"error":"No such user"}`, `{"error":"Unknown user or wrong password"}`},
	{"user told apart, code", silent.RuleAuth, `{"code":"user_not_found"}`, `{"code":"invalid_credentials"}`},
}

func look(text string, auth bool) []silent.Leak {
	return silent.Look([]byte(text), &silent.Known{Path: "/orders/42", Auth: auth}, nil)
}

func TestLeaksAndLookAlikes(t *testing.T) {
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			ok := false
			for _, l := range look(p.leak, true) {
				ok = ok || l.Rule == p.rule
			}
			if !ok {
				t.Errorf("%q: found %v, want %s", p.leak, look(p.leak, true), p.rule)
			}
			if got := look(p.benign, true); len(got) > 0 {
				t.Errorf("%q gives nothing away, found %v", p.benign, got)
			}
		})
	}
}

// The wrappings in which services put such texts.
var wrappings = map[string]func(string) string{
	"plain": func(s string) string { return s },
	"JSON":  func(s string) string { b, _ := json.Marshal(map[string]string{"detail": s}); return string(b) },
	"HTML": func(s string) string {
		return "<html><body><pre>" + strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;").Replace(s) + "</pre></body></html>"
	},
}

func TestWrapped(t *testing.T) {
	for _, p := range pairs {
		if strings.HasPrefix(p.leak, "<") || strings.HasPrefix(p.leak, "{") {
			continue
		}
		for name, wrap := range wrappings {
			if got := look(wrap(p.leak), true); len(got) == 0 {
				t.Errorf("%s in %s: nothing found in %q", p.name, name, wrap(p.leak))
			}
			if got := look(wrap(p.benign), true); len(got) > 0 {
				t.Errorf("benign look-alike of %s in %s: found %v in %q", p.name, name, got, wrap(p.benign))
			}
		}
	}
}

// Each text that the Core Rule Set's lists hold, as the runtime prints it.
func TestCoreRuleSetCorpus(t *testing.T) {
	for file, print := range map[string]func(string) string{
		"sql-errors.data":        func(s string) string { return s },
		"iis-errors.data":        func(s string) string { return "<html><head>" + s + "</head></html>" },
		"asp-dotnet-errors.data": func(s string) string { return "[" + s + ": it failed]\n   at Acme.Shop.Orders.Find(Int32 id) +12" },
		"ruby-errors.data":       func(s string) string { return s + " it failed\napp/models/order.rb:3:in `find'" },
		"php-errors.data": func(s string) string {
			return "<br />\n<b>Warning</b>:  f(): " + s + " in <b>/srv/shop/f.php</b> on line <b>3</b><br />"
		},
		"java-classes.data": func(s string) string { return "Exception in thread \"main\" java.lang.IllegalStateException: " + s },
	} {
		total, alone, generic := 0, 0, 0
		for _, line := range silent.Lines(file) {
			total++
			for name, wrap := range wrappings {
				if len(look(wrap(print(line)), false)) == 0 && !(file == "sql-errors.data" && silent.Generic(line)) {
					t.Errorf("%s, %s: nothing found in %q", file, name, wrap(print(line)))
				}
			}
			switch {
			case len(look(line, false)) > 0:
				alone++
			case silent.Generic(line):
				generic++
			case file != "php-errors.data" && file != "java-classes.data":
				t.Errorf("%s: nothing found in the line alone: %q", file, line)
			}
		}
		t.Logf("%s: %d lines as printed; alone %d are found, of the rest %d say nothing alone", file, total, alone, generic)
	}
}

// Traces that real runtimes printed; testdata/README.md says how.
func TestRuntimeTraces(t *testing.T) {
	files, err := filepath.Glob("testdata/traces/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatalf("traces: %v %v", files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for name, wrap := range wrappings {
			if len(look(wrap(string(b)), false)) == 0 {
				t.Errorf("%s in %s: nothing found", f, name)
			}
		}
		// Nor may a piece of a trace pass: each half of it gives itself away.
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		for _, half := range []string{strings.Join(lines[:(len(lines)+1)/2], "\n"), strings.Join(lines[len(lines)/2:], "\n")} {
			if len(look(half, false)) == 0 {
				t.Errorf("%s: nothing found in half of it: %q", f, half)
			}
		}
	}
}

// Pages that real frameworks showed.
func TestFrameworkPages(t *testing.T) {
	files, err := filepath.Glob("testdata/pages/*.txt")
	if err != nil || len(files) < 7 {
		t.Fatalf("pages: %v %v", files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if got := look(string(b), false); len(got) == 0 {
			t.Errorf("%s: nothing found", f)
		}
	}
}

// One line of an error is enough, whatever it stands in.
func TestSingleLines(t *testing.T) {
	b, err := os.ReadFile("testdata/leaks.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		for name, wrap := range wrappings {
			if strings.HasPrefix(line, "{") && name != "plain" {
				continue
			}
			if len(look(wrap(line), false)) == 0 {
				t.Errorf("%s: nothing found in %q", name, line)
			}
		}
	}
}

// What APIs say to their callers about a request passes, whoever wrote it.
func TestValidationMessagesPass(t *testing.T) {
	files, err := filepath.Glob("testdata/validation/*")
	if err != nil || len(files) < 3 {
		t.Fatalf("messages: %v %v", files, err)
	}
	total := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			total++
			if got := look(line, false); len(got) > 0 {
				t.Errorf("%s: found %v in %q", f, got, line)
			}
		}
	}
	t.Logf("%d messages passed", total)
}

func TestKnownIsNoNews(t *testing.T) {
	k := &silent.Known{Path: "/var/log/42", Query: "ip=10.1.2.3", Body: []byte(`{"host":"a.prod.internal"}`), Client: netip.MustParseAddr("192.168.1.7")}
	for text, news := range map[string]bool{
		"there is nothing at /var/log/42": false, "there is nothing at /var/log/42.": false, "cannot open /var/log/42/app.log": true, "there is nothing at /var/log/app/x.log": true,
		"10.1.2.3 is taken": false, "10.1.2.4 is taken": true,
		"192.168.1.7 may not call": false, "192.168.1.8 may not call": true,
		"a.prod.internal is not allowed": false, "b.prod.internal is not allowed": true,
	} {
		if got := silent.Look([]byte(text), k, nil); len(got) > 0 != news {
			t.Errorf("%q: found %v", text, got)
		}
	}
}

func TestHeads(t *testing.T) {
	for _, c := range []struct {
		name, value string
		leaks       bool
	}{
		{"X-Debug-Token", "a1b2", true}, {"X-Correlation-Id", "0190-abcd", false},
		{"X-Error", "com.acme.orders.OrderException", true}, {"X-Error", "out of stock", false},
		{"Location", "http://10.1.2.3:8080/orders/1", true}, {"Location", "https://shop.example.com/orders/1", false},
		{"X-Note", "served by /var/www/shop", true}, {"Link", `<https://shop.example.com/orders?page=2>; rel="next"`, false},
		{"X-Cluster", "orders.shop.svc.cluster.local", true}, {"X-Cost", "12.3.4.5", false},
	} {
		leaks := false
		silent.Head(http.Header{c.name: {c.value}}, &silent.Known{}, func(string, silent.Leak) { leaks = true })
		if leaks != c.leaks {
			t.Errorf("%s: %s: leak %v, want %v", c.name, c.value, leaks, c.leaks)
		}
	}
	for in, want := range map[string]string{"http://10.1.2.3:8080/a?b=c": "/a?b=c", "http://x.internal": "/", "/a": "", "http://10.0.0.1//evil.test/": ""} {
		if got := silent.Relative(in); got != want {
			t.Errorf("Relative(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLooksLikeLogin(t *testing.T) {
	for _, c := range []struct {
		method, template string
		fields           []string
		want             bool
	}{
		{"POST", "/v1/login", nil, true}, {"GET", "/v1/login", nil, false}, {"POST", "/sessions", []string{"/email", "/password"}, true},
		{"POST", "/sessions", []string{"/device"}, false}, {"POST", "/users", []string{"/email", "/password"}, false}, {"POST", "/auth/token", []string{"/client_secret"}, true},
	} {
		if got := silent.LooksLikeLogin(c.method, c.template, c.fields); got != c.want {
			t.Errorf("%s %s %v: %v", c.method, c.template, c.fields, got)
		}
	}
}

func FuzzLook(f *testing.F) {
	for _, p := range pairs {
		f.Add([]byte(p.leak))
		f.Add([]byte(p.benign))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := string(b)
		k := &silent.Known{Path: "/a", Auth: true}
		for _, l := range silent.Look(b, k, nil) {
			if l.Rule == "" || l.At < 0 || l.At > len(b) {
				t.Errorf("leak %+v of %d bytes", l, len(b))
			}
		}
		// What surrounds a leak cannot hide it, as long as it begins a word.
		if got := silent.Look([]byte("x Traceback (most recent call last) "+string(b)), k, nil); len(got) == 0 {
			t.Error("a trace before it is not found")
		}
		if string(b) != before {
			t.Error("the text was changed")
		}
	})
}

func FuzzReadable(f *testing.F) {
	f.Add([]byte("\x1f\x8b\x08\x00"), "gzip")
	f.Add([]byte("x\x9c"), "deflate")
	f.Fuzz(func(t *testing.T, b []byte, encoding string) {
		if out, err := silent.Readable(b, encoding, "text/plain", 1024); err == nil && len(out) > 1024 {
			t.Errorf("%d bytes of %s", len(out), encoding)
		}
	})
}

func BenchmarkLook(b *testing.B) {
	text := []byte(strings.Repeat(`{"type":"https://shop.example/problems/invalid","title":"The order is not valid","errors":[{"pointer":"/items/0/count","detail":"must be at least 1"}]}`, 8))
	for b.Loop() {
		b.SetBytes(int64(len(text)))
		if len(silent.Look(text, &silent.Known{}, nil)) > 0 {
			b.Fatal("leak")
		}
	}
}

func BenchmarkHead(b *testing.B) {
	h := http.Header{"Content-Type": {"application/json"}, "Content-Length": {"120"}, "Date": {"x"}, "Etag": {"x"}, "X-Correlation-Id": {"0190a6c2-1111-7000-8000-000000000000"}}
	k := &silent.Known{}
	b.ReportAllocs()
	for b.Loop() {
		silent.Head(h, k, func(string, silent.Leak) { b.Fatal("leak") })
	}
}

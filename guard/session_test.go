package guard_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/guard/authn"
	"sallyport.dev/guard/vectors"
	"sallyport.dev/policy"
)

func TestAllocations(t *testing.T) {
	p := compile(t, config(sallyport.Enforce))
	post := item(10, "")
	for _, c := range []struct {
		name         string
		r            *guard.Request
		body, answer []byte
	}{
		{"GET", request("GET", getTarget, token("alice", "items:read"), 0), nil, answer},
		{"1 KiB POST", request("POST", "/v1/items", token("alice", "items:write"), len(post)), post, nil},
	} {
		exchange(p, c.r, c.body, c.answer)
		if n := testing.AllocsPerRun(200, func() { exchange(p, c.r, c.body, c.answer) }); n > 4 && !raced {
			t.Errorf("%s: %v allocations, want at most 4", c.name, n)
		}
	}
}

// TestRecordAliasesNothing keeps records while their sessions are used again.
func TestRecordAliasesNothing(t *testing.T) {
	p := compile(t, config(sallyport.Observe))
	type kept struct {
		x    *sallyport.Exchange
		text string
	}
	var all []kept
	for i := range 200 {
		body := []byte(fmt.Sprintf(`{"id":%d,"unknown%d":"x' OR '1'='1","\u0061b%d":"<script>alert(%d)</script>"}`, i, i, i, i))
		r := request("POST", fmt.Sprintf("/v1/items?a%d=%d&b=%%27+OR+%d%%3D%d--", i, i, i, i), token(fmt.Sprint("u", i), "items:write"), len(body))
		r.Header["X-Number"] = []string{fmt.Sprint(i)}
		x, _ := exchange(p, r, body, []byte(`{"id":"x"}`))
		all = append(all, kept{x, string(must(json.Marshal(x)))})
		clear(body)
		r.Header["X-Number"][0] = "changed"
		delete(r.Header, "User-Agent")
	}
	for i, k := range all {
		if now := string(must(json.Marshal(k.x))); now != k.text {
			t.Fatalf("record %d has changed:\nwas %s\nis  %s", i, k.text, now)
		}
		if !strings.Contains(k.text, fmt.Sprintf(`"Name":"X-Number","Value":"%d"`, i)) || len(k.x.Decision.Reasons) < 2 {
			t.Errorf("record %d misses something: %s", i, k.text)
		}
	}
}

func TestBodyIsNotChanged(t *testing.T) {
	p := compile(t, config(sallyport.Observe))
	for _, body := range []string{
		`{"aaaa":{"\u0062":"<script>alert(1)</script>"}}`,
		`{"aaaa":[{"x":{"\u0062c\u0064":"1' UNION SELECT password FROM users--"}}]}`,
		`{"\u0061":"\u003cscript\u003ealert(1)\u003c/script\u003e","b":{"c":{"\u0065":5}}}`,
		`{"a' OR '1'='1":{"\u0062":"' OR 1=1--"}}`,
	} {
		for _, target := range []string{"/v1/search", "/v1/items", "/v1/unknown"} {
			sent := []byte(body)
			x, _ := exchange(p, request("POST", target, token("alice", "items:write"), len(sent)), sent, nil)
			if string(sent) != body {
				t.Errorf("POST %s: the body has become %s, it was %s", target, sent, body)
			}
			if len(x.Decision.Reasons) == 0 {
				t.Errorf("POST %s %s: nothing found", target, body)
			}
		}
	}
}

// TestSwapUnderLoad swaps programs while sessions of the old one go on: each
// exchange is decided by one program from its beginning to its end.
func TestSwapUnderLoad(t *testing.T) {
	var programs []*guard.Program
	cache := authn.NewCache(64)
	for i := range 4 {
		c := config([]sallyport.Mode{sallyport.Enforce, sallyport.Observe}[i%2])
		c.Name, c.Tokens = fmt.Sprint(i), cache
		programs = append(programs, compile(t, c))
	}
	var current atomic.Pointer[guard.Program]
	current.Store(programs[0])
	var workers sync.WaitGroup
	var swapped atomic.Bool
	var exchanges atomic.Int64
	good, body := token("alice", "items:read items:write"), item(3, "")
	for w := range 6 {
		workers.Go(func() {
			for n := 0; !swapped.Load() || n < 50; n++ {
				var x *sallyport.Exchange
				var refusal *guard.Refusal
				attack := n%3 == 0
				switch {
				case attack:
					x, refusal = exchange(current.Load(), request("GET", "/v1/items/7?note=%27%20OR%201%3D1--%20", good, 0), nil, answer)
				case n%3 == 1:
					x, refusal = exchange(current.Load(), request("GET", getTarget, good, 0), nil, answer)
				default:
					x, refusal = exchange(current.Load(), request("POST", "/v1/items", good, len(body)), body, nil)
				}
				exchanges.Add(1)
				enforced := x.Decision.Program == "0" || x.Decision.Program == "2"
				if (refusal != nil) != (attack && enforced) || x.Principal.Subject != "alice" {
					t.Errorf("worker %d, program %s, attack %v: %+v", w, x.Decision.Program, attack, x.Decision)
					return
				}
			}
		})
	}
	for i := range 400 {
		current.Store(programs[i%len(programs)])
		time.Sleep(200 * time.Microsecond)
	}
	swapped.Store(true)
	workers.Wait()
	t.Logf("%d exchanges over 400 swaps", exchanges.Load())
}

func TestFetchIsAskedOnceAndOnlyWhereItCanHelp(t *testing.T) {
	keys := &keySource{missing: true}
	c := config(sallyport.Enforce)
	c.Keys = keys
	p := compile(t, c)
	good := token("alice", "items:read")

	s, step := p.Begin(request("GET", getTarget, good, 0), now)
	if step.Verb != guard.Fetch || step.Fetch != (guard.FetchKey{Issuer: issuer, KeyID: "k1"}) {
		t.Fatalf("an unknown key: got %+v, want to fetch it", step)
	}
	keys.missing = false
	if step = s.Resume(now); step.Verb != guard.Proceed {
		t.Errorf("with the key fetched: %+v", step)
	}
	if x := s.End(guard.Outcome{}, now); x.Principal.Subject != "alice" {
		t.Errorf("principal %v", x.Principal)
	}

	keys.missing = true
	s, step = p.Begin(request("GET", getTarget, token("bob", "items:read"), 0), now)
	if step.Verb != guard.Fetch {
		t.Fatalf("got %+v", step)
	}
	if step = s.Resume(now); step.Verb != guard.Refuse || step.Refusal.Status != 401 {
		t.Errorf("with the key still missing: %+v", step)
	}
	s.End(guard.Outcome{}, now)

	for name, bearer := range map[string]string{
		"expired": func() string {
			defer func(was time.Time) { now = was }(now)
			now = now.Add(-24 * time.Hour)
			return token("alice", "items:read")
		}(),
		"garbage": "a.b.c",
	} {
		s, step := p.Begin(request("GET", getTarget, bearer, 0), now)
		if step.Verb != guard.Refuse {
			t.Errorf("%s: got %+v, want a refusal without a fetch", name, step)
		}
		s.End(guard.Outcome{}, now)
	}
	// Failures of one client are bounded, and with them what it can make us fetch.
	fetches := 0
	for i := range 100 {
		s, step := p.Begin(request("GET", getTarget, token(fmt.Sprint("m", i), ""), 0), now)
		if step.Verb == guard.Fetch {
			fetches++
			s.Resume(now)
		}
		s.End(guard.Outcome{}, now)
	}
	if fetches >= 20 {
		t.Errorf("one client's unknown keys led to %d fetches", fetches)
	}
}

// empty is a source that has never reached its issuer.
type empty struct{ keySource }

func (*empty) HasKeys(string) bool { return false }

func TestIssuerThatCannotBeReachedIsNobodysFault(t *testing.T) {
	c := config(sallyport.Enforce)
	c.Keys = &empty{keySource{missing: true}}
	p := compile(t, c)
	for range 50 { // nothing is charged to the client either
		s, step := p.Begin(request("GET", getTarget, token("alice", "items:read"), 0), now)
		if step.Verb != guard.Fetch {
			t.Fatalf("got %+v, want to fetch", step)
		}
		if step = s.Resume(now); step.Verb != guard.Refuse || step.Refusal.Status != 503 || len(step.Refusal.Header) != 1 {
			t.Errorf("got %+v, want 503 with Retry-After", step.Refusal)
		}
		s.End(guard.Outcome{}, now)
	}
}

func TestRefusalsOfOneKindAreEqual(t *testing.T) {
	p := compile(t, config(sallyport.Enforce))
	good := token("alice", "items:read items:write")
	seen := map[string]*guard.Refusal{}
	for _, target := range []string{
		"/v1/items/7?note=%27%20OR%201%3D1--%20", "/v1/items/7?note=%3Cscript%3Ealert(1)%3C/script%3E", "/v1/items/7?limit=0", "/v1/items/abc",
		"/v1/items/7?limit=1&limit=2", "/v1/items/7?sort=x", "/v1/items/7?note=..%2F..%2F..%2Fetc%2Fpasswd", "/v1/items/%ff",
	} {
		_, refusal := exchange(p, request("GET", target, good, 0), nil, nil)
		if refusal == nil {
			t.Errorf("%s: not refused", target)
			continue
		}
		if was := seen[refusal.Name]; was != nil && (was.Kind != refusal.Kind || !reflect.DeepEqual(was.Header, refusal.Header)) {
			t.Errorf("%s: %+v differs from %+v", target, refusal, was)
		}
		seen[refusal.Name] = refusal
		if !slices.Contains(guard.Kinds(), refusal.Kind) {
			t.Errorf("%s: kind %v is not in the list", target, refusal.Kind)
		}
	}
	for _, bad := range []string{"a.b.c", token("alice", "") + "x", strings.Repeat("x", 9000), token("alice", "")[:200]} {
		_, refusal := exchange(p, request("GET", getTarget, bad, 0), nil, nil)
		if refusal == nil || refusal.Status != 401 || !reflect.DeepEqual(refusal.Header, [][2]string{{"Www-Authenticate", `Bearer realm="items", error="invalid_token"`}}) {
			t.Errorf("a bad token: %+v", refusal)
		}
	}
	_, refusal := exchange(p, request("GET", getTarget, "", 0), nil, nil)
	if refusal == nil || !reflect.DeepEqual(refusal.Header, [][2]string{{"Www-Authenticate", `Bearer realm="items"`}}) {
		t.Errorf("no token: %+v", refusal)
	}
	names := map[string]bool{}
	for _, k := range guard.Kinds() {
		if names[k.Name] || k.Title == "" || k.Status < 400 || k.Status > 599 || http.StatusText(k.Status) == "" {
			t.Errorf("kind %+v", k)
		}
		names[k.Name] = true
	}
}

// TestDecisionsHoldNoValues looks for what was sent in what is recorded about it.
func TestDecisionsHoldNoValues(t *testing.T) {
	p := compile(t, config(sallyport.Observe))
	secret := "s3cr3tV4lue"
	for _, c := range []struct{ method, target, body string }{
		{"GET", "/v1/items/" + secret + "?limit=" + secret + "&sort=" + secret, ""},
		{"GET", "/v1/items/7?note=" + secret + "%27%20OR%201%3D1--%20&" + secret + "%3Cscript%3E=1", ""},
		{"GET", "/v1/files/..%2f" + secret, ""},
		{"POST", "/v1/items", `{"id":"` + secret + `","sku":"` + secret + `' OR 1=1--","<b>` + secret + `":"<script>` + secret + `</script>"}`},
		{"POST", "/v1/items", `{"` + secret + `' OR '1'='1":{"` + secret + `<script>":"' OR 1=1--"}}`},
		{"POST", "/v1/items", `{"id":"` + secret},
	} {
		x, _ := exchange(p, request(c.method, c.target, "", len(c.body)), []byte(c.body), []byte(`{"id":"`+secret+`"}`))
		if len(x.Decision.Reasons) == 0 {
			t.Errorf("%s %s: nothing found", c.method, c.target)
		}
		if text := string(must(json.Marshal(x.Decision))) + fmt.Sprint(x.Undocumented); strings.Contains(text, secret) {
			t.Errorf("%s %s %s: the decision holds what was sent: %s", c.method, c.target, c.body, text)
		}
	}
}

func TestNamesThatCallersMadeUpAreNotRecorded(t *testing.T) {
	p := compile(t, config(sallyport.Observe))
	body := `{"by":{"someone@example.test":"<script>alert(1)</script>","4111111111111111":"' OR 1=1--","plain_name":["<script>alert(1)</script>"]}}`
	x, _ := exchange(p, request("POST", "/v1/search?4111111111111111=1&someone%40example.test=1&page_2=1", "", len(body)), []byte(body), nil)
	text := string(must(json.Marshal(x.Decision))) + fmt.Sprint(x.Undocumented)
	for _, never := range []string{"someone", "4111"} {
		if strings.Contains(text, never) {
			t.Errorf("recorded: %s", text)
		}
	}
	for _, want := range []string{"/by/*", "/by/plain_name/0", "page_2"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in %s", want, text)
		}
	}
}

func TestReasonsAreBounded(t *testing.T) {
	for _, mode := range []sallyport.Mode{sallyport.Observe, sallyport.Enforce} {
		p := compile(t, config(mode))
		var attacks []string
		for range 1000 {
			attacks = append(attacks, "1' UNION SELECT password FROM users--")
		}
		body := must(json.Marshal(map[string]any{"a": attacks}))
		x, refusal := exchange(p, request("POST", "/v1/search", "", len(body)), body, nil)
		if n := len(x.Decision.Reasons); n == 0 || n > 32 {
			t.Errorf("%s: %d reasons", mode, n)
		}
		if (refusal != nil) != (mode == sallyport.Enforce) || !slices.ContainsFunc(x.Decision.NotInspected, func(s string) bool { return strings.HasPrefix(s, "reasons:") }) {
			t.Errorf("%s: %+v", mode, x.Decision)
		}
	}
}

func TestWhatDecidedIsNeverLeftOut(t *testing.T) {
	c := config(sallyport.Enforce)
	c.APIs[0].Policy.Checks = map[sallyport.Stage]sallyport.Mode{sallyport.StageValidate: sallyport.Observe}
	c.APIs[0].Policy.Exceptions = []policy.Exception{{ID: "E", Rule: "sqli.*", Owner: "o", Reason: "r", Expires: now.Add(time.Hour)}}
	p := compile(t, c)
	var list []string
	for range 100 {
		list = append(list, "1' UNION SELECT password FROM users--")
	}
	list = append(list, "<script>alert(1)</script>")
	body := must(json.Marshal(map[string]any{"a": list}))
	x, refusal := exchange(p, request("POST", "/v1/search", "", len(body)), body, nil)
	last := x.Decision.Reasons[len(x.Decision.Reasons)-1]
	if refusal == nil || last.Class != "xss" || last.Exception != "" {
		t.Errorf("refused %v by a decision whose last reason is %+v", refusal, last)
	}
}

func TestKeysInQueryAndCookie(t *testing.T) {
	for _, in := range []sallyport.In{sallyport.InQuery, sallyport.InCookie, sallyport.InHeader} {
		c := config(sallyport.Enforce)
		c.APIs[0].Spec = nil
		c.APIs[0].Policy.Auth = policy.Auth{
			Keys:  []policy.Key{{ID: "k", Subject: "shop", Hash: vectors.HashOf("it's <the> key")}},
			KeyIn: policy.KeyIn{In: in, Name: "api_key"},
		}
		p := compile(t, c)
		for _, k := range []struct {
			query, cookie, header string
			ok                    bool
		}{
			{query: "api_key=it%27s+%3Cthe%3E+key", cookie: "a=b; api_key=it's <the> key", header: "it's <the> key", ok: true},
			{query: "api_key=it%27s+%3Cthe%3E+ke", cookie: "api_key=x", header: "x"},
			{query: "api_key=it%27s+%3Cthe%3E+key&api%5Fkey=x", cookie: "api_key=it's <the> key; api_key=y", header: ""},
			{query: "apikey=it%27s+%3Cthe%3E+key", cookie: "apikey=it's <the> key", header: ""},
		} {
			r := request("GET", "/v1/status", "", 0)
			switch in {
			case sallyport.InQuery:
				r.RawQuery = k.query
			case sallyport.InCookie:
				r.Header["Cookie"] = []string{k.cookie}
			case sallyport.InHeader:
				if k.header != "" {
					r.Header["Api_key"] = []string{k.header}
				}
			}
			x, refusal := exchange(p, r, nil, nil)
			if (refusal == nil) != k.ok || (x.Principal.Subject == "shop") != k.ok {
				t.Errorf("%s %+v: refusal %v, principal %v, %+v", in, k, refusal, x.Principal, x.Decision.Reasons)
			}
			if slices.Contains(x.Undocumented, sallyport.Place{In: in, Name: "api_key"}) {
				t.Errorf("%s: the key's own parameter counts as undocumented", in)
			}
		}
	}
}

func TestSessionTellsItsDoor(t *testing.T) {
	p := compile(t, config(sallyport.Enforce))
	s, _ := p.Begin(request("GET", getTarget, token("alice", "items:read"), 0), now)
	if s.API() == nil || s.API().Name != "items" || s.Operation().Key() != "GET /v1/items/{id}" || s.Principal().Subject != "alice" {
		t.Errorf("%v %v %v", s.API(), s.Operation(), s.Principal())
	}
	s.End(guard.Outcome{}, now)
	r := request("GET", "/", "", 0)
	r.Host = "nowhere.example.test"
	s, step := p.Begin(r, now)
	if s.API() != nil || s.Operation().Template != "" || !s.Principal().Anonymous() || step.Refusal.Status != 404 {
		t.Errorf("%v %v %v %+v", s.API(), s.Operation(), s.Principal(), step)
	}
	if x := s.End(guard.Outcome{Status: 404}, now); x.API != "" || x.Status != 404 || x.Decision.Action != sallyport.ActionRefuse {
		t.Errorf("%+v", x)
	}
}

func TestDoorsOwnReason(t *testing.T) {
	p := compile(t, config(sallyport.Enforce))
	s, _ := p.Begin(request("GET", getTarget, token("alice", "items:read"), 0), now)
	x := s.End(guard.Outcome{Status: 502, Reason: &sallyport.Reason{Stage: sallyport.StageForward, Rule: "upstream.refused", Mode: sallyport.Enforce}}, now.Add(time.Second))
	if x.Decision.Stage != sallyport.StageForward || x.Decision.Status != 502 || len(x.Decision.Reasons) != 1 || x.Duration != time.Second {
		t.Errorf("%+v", x)
	}
}

func TestCompileCollectsEveryMistake(t *testing.T) {
	c := config(sallyport.Enforce)
	c.Keys = nil
	bad := c.APIs[0]
	bad.Path = "v1"
	bad.Hosts = []string{"a*b", "api.example.test"}
	bad.Policy = policy.API{
		Mode:       "enfroce",
		Checks:     map[sallyport.Stage]sallyport.Mode{"inspekt": sallyport.Off},
		Auth:       policy.Auth{OIDC: []policy.OIDC{{Issuer: "http://idp.example.test"}}, Keys: []policy.Key{{ID: "k", Hash: "plain"}}},
		Limits:     []policy.Limit{{}},
		Operations: []policy.OperationDemand{{Operation: "GET /v1/item/{id}", Mode: sallyport.Observe}},
		Exceptions: []policy.Exception{{Rule: "*"}},
	}
	c.APIs = append(c.APIs, bad, guard.API{})
	_, err := guard.Compile(c)
	if err == nil {
		t.Fatal("compiled")
	}
	for _, want := range []string{
		`mode: "enfroce"`, `"inspekt" is not one of`, "want https", "auth.oidc[0].audience: missing", "sha256:<hex>", "limits[0].rate: missing",
		`did you mean "GET /v1/items/{id}"`, "exceptions[0].id: missing", "exceptions[0].rule", "exceptions[0].owner: missing", "exceptions[0].expires: missing",
		`path "v1" does not begin with a slash`, `host "a*b"`, "the name stands twice", "apis[2]: no name", "there is no source of their keys",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("misses %q", want)
		}
	}
	t.Logf("%v", err)
}

func TestHostsAndPaths(t *testing.T) {
	c := guard.Config{Inspect: engine}
	for _, a := range []sallyport.API{
		{Name: "root", Hosts: []string{"api.example.test"}}, {Name: "payments", Hosts: []string{"api.example.test"}, Path: "/payments"},
		{Name: "cards", Hosts: []string{"api.example.test"}, Path: "/payments/cards/"}, {Name: "tenants", Hosts: []string{"*.tenant.test"}},
		{Name: "one", Hosts: []string{"one.tenant.test"}}, {Name: "any", Path: "/shared"}, {Name: "six", Hosts: []string{"[2001:db8::1]"}},
	} {
		c.APIs = append(c.APIs, guard.API{API: a})
	}
	p := compile(t, c)
	for _, m := range []struct{ host, path, want string }{
		{"api.example.test", "/", "root"}, {"api.example.test", "/payments", "payments"}, {"api.example.test", "/payments/1", "payments"},
		{"api.example.test", "/paymentsx", "root"}, {"api.example.test", "/payments/cards/1", "cards"}, {"api.example.test", "/payments/cardsx", "payments"},
		{"API.EXAMPLE.TEST.:443", "/%70ayments/1", "payments"}, {"a.tenant.test", "/", "tenants"}, {"a.b.tenant.test", "/", "tenants"},
		{"one.tenant.test", "/", "one"}, {"tenant.test", "/", ""}, {".tenant.test", "/", ""}, {"xtenant.test", "/", ""},
		{"elsewhere.test", "/shared/x", "any"}, {"elsewhere.test", "/Shared/x", ""}, {"", "/shared", "any"}, {"[2001:db8::1]:8443", "/", "six"}, {"[2001:db8::1]", "/", "six"},
	} {
		r := request("GET", m.path, "", 0)
		r.Host = m.host
		if x, _ := exchange(p, r, nil, nil); x.API != m.want {
			t.Errorf("%s%s: got API %q, want %q", m.host, m.path, x.API, m.want)
		}
	}
}

func FuzzBegin(f *testing.F) {
	programs := []*guard.Program{compile(f, config(sallyport.Enforce)), compile(f, config(sallyport.Observe))}
	files, err := vectors.Load(os.DirFS("testdata"), "vectors")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		for i := range file.Cases {
			r, body := file.Cases[i].Request.Head("id")
			f.Add(r.Method, r.Host, r.Path, r.RawQuery, r.Header.Get("Cookie"), r.Header.Get("Content-Type"), body)
		}
	}
	f.Fuzz(func(t *testing.T, method, host, path, query, value, contentType string, body []byte) {
		for _, p := range programs {
			r := &guard.Request{Method: method, Host: host, Path: path, RawQuery: query, ContentLength: int64(len(body)), Client: netip.IPv6Loopback(),
				Header: http.Header{"Cookie": {value}, "X-Trace": {value}, "Authorization": {value}, "Content-Type": {contentType}}}
			sent := bytes.Clone(body)
			x, refusal := exchange(p, r, sent, sent)
			if !bytes.Equal(sent, body) {
				t.Errorf("the body was changed")
			}
			if x.Decision.Refused() != (refusal != nil) || refusal != nil && !slices.Contains(guard.Kinds(), refusal.Kind) {
				t.Errorf("refusal %+v, decision %+v", refusal, x.Decision)
			}
			if len(x.Decision.Reasons) > 33 {
				t.Errorf("%d reasons", len(x.Decision.Reasons))
			}
		}
	})
}

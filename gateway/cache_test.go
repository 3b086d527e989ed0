package gateway_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/gateway"
	gate "sallyport.dev/gateway/load"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

const cachedAPI = `openapi: 3.1.0
info: {title: shop, version: "1"}
paths:
  /items:
    get:
      parameters:
        - {name: X-Region, in: header, schema: {type: string}}
        - {name: q, in: query, schema: {type: string}}
      responses: {"200": {description: ok, content: {application/json: {}}}, "404": {description: none, content: {application/json: {}}}, "400": {description: bad, content: {application/json: {}}}, "503": {description: busy, content: {application/json: {}}}}
    post:
      responses: {"200": {description: ok, content: {application/json: {}}}}
  /account:
    get:
      responses: {"200": {description: ok, content: {application/json: {}}}}
  /files/{name}:
    get:
      parameters: [{name: name, in: path, required: true, schema: {type: string}}]
      responses: {"200": {description: ok, content: {application/json: {}}}}
  /shape:
    get:
      responses: {"200": {description: ok, content: {application/json: {schema: {type: object, properties: {n: {type: integer}}}}}}}
  /guarded:
    get:
      security: [{token: []}]
      responses: {"200": {description: ok, content: {application/json: {}}}}
components: {securitySchemes: {token: {type: apiKey, in: header, name: X-Whatever}}}
`

func cachedProgram(t testing.TB, change func(*policy.API)) *guard.Program {
	t.Helper()
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "shop.yaml", Data: []byte(cachedAPI)}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := policy.API{Cache: policy.Cache{Mode: policy.On, Report: policy.On}}
	if change != nil {
		change(&p)
	}
	return program(t, guard.API{API: sallyport.API{Name: "shop"}, Spec: set, Policy: p})
}

// cachedOrigin is an origin that makes the mistakes that the attacks are after.
type cachedOrigin struct {
	*httptest.Server
	asked atomic.Int64
}

func newCachedOrigin(t testing.TB) *cachedOrigin {
	o := &cachedOrigin{}
	o.Server = upstream(t, func(w http.ResponseWriter, r *http.Request) {
		n := o.asked.Add(1)
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "public, max-age=60")
		q := r.URL.Query()
		for name, values := range q {
			switch name {
			case "cc":
				h.Set("Cache-Control", values[0])
			case "ct":
				h["Content-Type"] = values
			case "vary":
				h.Set("Vary", values[0])
			case "cookie":
				h.Set("Set-Cookie", "s=1")
			}
		}
		status := 200
		if s := q.Get("status"); s != "" {
			status, _ = strconv.Atoi(s)
		}
		if len(r.Header.Get("X-Big")) > 1000 {
			status = 400
		}
		host := r.Host
		for _, name := range []string{"X-Host", "X-Forwarded-Server", "X-Original-Url", "X-Forwarded-Host"} {
			if v := r.Header.Get(name); v != "" {
				host = v
				break
			}
		}
		who := "anonymous"
		if c, err := r.Cookie("session"); err == nil {
			who = c.Value
		}
		if a := r.Header.Get("Authorization") + r.Header.Get("X-Whatever") + r.Header.Get("X-Api-Key"); a != "" {
			who = a
		}
		body, _ := io.ReadAll(r.Body)
		text := fmt.Sprintf(`{"n":%d,"method":%q,"host":%q,"who":%q,"q":%q,"body":%q}`, n, r.Method+r.Header.Get("X-Http-Method-Override"), host, who, r.URL.RawQuery, body)
		h.Set("Content-Length", strconv.Itoa(len(text)))
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			io.WriteString(w, text)
		}
	})
	return o
}

func get(target string, headers ...string) string {
	return "GET " + target + " HTTP/1.1\r\n" + strings.Join(append([]string{"Host: shop.test"}, headers...), "\r\n") + "\r\n\r\n"
}

// What a cache must not hand from one caller to another, each beside a request
// that looks like it and is served from the cache.
func TestCacheAttacks(t *testing.T) {
	const session = "Cookie: session=victim"
	long := "X-Big: " + strings.Repeat("x", 2000)
	for _, c := range []struct {
		name          string
		first, second string
		hit           bool   // the second is answered from the cache
		never         string // must not stand in the second answer
	}{
		// Deception: the victim is led to a target, the attacker asks for it again.
		{name: "private page with a static name", first: get("/account.css", session), second: get("/account.css"), never: "victim"},
		{name: "static name as a further segment", first: get("/account/x.css", session), second: get("/account/x.css"), never: "victim"},
		{name: "the page itself", first: get("/account?cc=max-age=60", session), second: get("/account?cc=max-age=60"), never: "victim"},
		{name: "escaped slash", first: get("/files/..%2faccount"), second: get("/files/..%2faccount")},
		{name: "escaped slash, upper case", first: get("/files/a%2Fx.css"), second: get("/files/a%2Fx.css")},
		{name: "escaped backslash", first: get("/files/..%5caccount"), second: get("/files/..%5caccount")},
		{name: "escaped dots", first: get("/files/%2e%2e"), second: get("/files/%2e%2e")},
		{name: "escaped percent", first: get("/files/..%252faccount"), second: get("/files/..%252faccount")},
		{name: "escaped line feed", first: get("/files/account%0a.css"), second: get("/files/account%0a.css")},
		{name: "escaped null", first: get("/files/account%00.css"), second: get("/files/account%00.css")},
		{name: "escaped question mark", first: get("/files/account%3f.css"), second: get("/files/account%3f.css")},
		{name: "escaped fragment", first: get("/files/account%23.css"), second: get("/files/account%23.css")},
		{name: "path parameter", first: get("/files/account;x.css"), second: get("/files/account;x.css")},
		{name: "escaped path parameter", first: get("/files/account%3bx.css"), second: get("/files/account%3bx.css")},
		{name: "double slash", first: get("/files//account"), second: get("/files//account")},
		{name: "a file's name", first: get("/files/a.css"), second: get("/files/a.css"), hit: true},
		{name: "escapes that hide nothing", first: get("/files/caf%C3%A9%20a-b_c~"), second: get("/files/caf%C3%A9%20a-b_c~"), hit: true},
		{name: "three dots", first: get("/files/...x"), second: get("/files/...x"), hit: true},
		{name: "type that the contract has not", first: get("/items?ct=text/html"), second: get("/items?ct=text/html")},
		{name: "type of the contract, with a parameter", first: get("/items?ct=application/json;charset=utf-8"), second: get("/items?ct=application/json;charset=utf-8"), hit: true},
		{name: "another type of JSON", first: get("/items?ct=application/problem%2Bjson"), second: get("/items?ct=application/problem%2Bjson")},

		// Credentials (RFC 9111 section 3.5).
		{name: "token", first: get("/items?cc=max-age=60", "Authorization: Bearer victim"), second: get("/items?cc=max-age=60"), never: "victim"},
		{name: "token, second token", first: get("/items?cc=max-age=60", "Authorization: Bearer victim"), second: get("/items?cc=max-age=60", "Authorization: Bearer other"), never: "victim"},
		{name: "token, and the answer is public", first: get("/items?cc=public,max-age=60", "Authorization: Bearer x"), second: get("/items?cc=public,max-age=60", "Authorization: Bearer y"), hit: true},
		{name: "token, and the answer has s-maxage", first: get("/items?cc=s-maxage=60", "Authorization: Bearer x"), second: get("/items?cc=s-maxage=60"), hit: true},
		{name: "key in a header that only the contract knows", first: get("/guarded?cc=max-age=60", "X-Whatever: victim"), second: get("/guarded?cc=max-age=60", "X-Whatever: other"), never: "victim"},
		{name: "private", first: get("/items?cc=private,max-age=60"), second: get("/items?cc=private,max-age=60")},
		{name: "public but varying by the credential", first: get("/items?vary=Authorization", "Authorization: Bearer victim"), second: get("/items?vary=Authorization", "Authorization: Bearer other"), never: "victim"},
		{name: "cookie set", first: get("/items?cookie=1"), second: get("/items?cookie=1")},
		{name: "nothing of the kind", first: get("/items?cc=max-age=60"), second: get("/items?cc=max-age=60"), hit: true},

		// Poisoning: what the attacker adds is not in the key.
		{name: "X-Forwarded-Host is the gateway's own", first: get("/items", "X-Forwarded-Host: evil.test"), second: get("/items"), hit: true, never: "evil"},
		{name: "X-Forwarded-Server", first: get("/items", "X-Forwarded-Server: evil.test"), second: get("/items"), hit: true, never: "evil"},
		{name: "X-Original-URL", first: get("/items", "X-Original-URL: /evil"), second: get("/items"), hit: true, never: "evil"},
		{name: "X-Host", first: get("/items", "X-Host: evil.test"), second: get("/items"), never: "evil"},
		{name: "x_host", first: get("/items", "X_Host: evil.test"), second: get("/items"), never: "evil"},
		{name: "header that steers nothing", first: get("/items", "X-Trace: evil.test"), second: get("/items"), hit: true, never: "evil"},
		{name: "Host with a port", first: "GET /items HTTP/1.1\r\nHost: shop.test:666\r\n\r\n", second: get("/items"), never: "666"},
		{name: "Host in capitals", first: "GET /items HTTP/1.1\r\nHost: SHOP.test\r\n\r\n", second: get("/items"), never: "SHOP"},
		{name: "declared header, another value", first: get("/items", "X-Region: evil"), second: get("/items")},
		{name: "declared header, the same value", first: get("/items", "X-Region: eu"), second: get("/items", "X-Region: eu"), hit: true},
		{name: "declared header, taken away by Connection", first: get("/items", "X-Region: eu", "Connection: X-Region"), second: get("/items", "X-Region: eu")},
		{name: "nothing taken away by Connection", first: get("/items", "X-Region: eu", "Connection: keep-alive"), second: get("/items", "X-Region: eu"), hit: true},
		{name: "GET with a body", first: get("/items", "Content-Length: 4") + "evil", second: get("/items"), never: "evil"},
		{name: "GET with a body of nothing", first: get("/items", "Content-Length: 0"), second: get("/items"), hit: true},
		{name: "parameter behind a semicolon", first: get("/items?q=a;q=evil"), second: get("/items?q=a"), never: "evil"},
		{name: "parameter twice", first: get("/items?q=a&q=evil"), second: get("/items?q=a"), never: "evil"},
		{name: "parameters in another order", first: get("/items?q=a&b=1"), second: get("/items?b=1&q=a")},
		{name: "parameter added", first: get("/items?q=a&utm_content=evil"), second: get("/items?q=a"), never: "evil"},
		{name: "parameter escaped in another way", first: get("/items?q=%61"), second: get("/items?q=a")},
		{name: "the same parameters", first: get("/items?q=a&b=1"), second: get("/items?q=a&b=1"), hit: true},
		{name: "header too large for the origin", first: get("/items", long), second: get("/items"), never: `"n":1`},
		{name: "method override", first: get("/items", "X-HTTP-Method-Override: POST"), second: get("/items"), hit: true, never: "POST"},
		{name: "error for a while", first: get("/items?status=503"), second: get("/items?status=503")},
		{name: "bad request", first: get("/items?status=400"), second: get("/items?status=400")},
		{name: "not found", first: get("/items?status=404"), second: get("/items?status=404"), hit: true},
		{name: "head with two types", first: get("/items?ct=application/json&ct=text/html"), second: get("/items?ct=application/json&ct=text/html")},
		{name: "varies by everything", first: get("/items?vary=*"), second: get("/items?vary=*")},
		{name: "varies, another value", first: get("/items?vary=X-Lang", "X-Lang: evil"), second: get("/items?vary=X-Lang", "X-Lang: de")},
		{name: "varies, the same value", first: get("/items?vary=X-Lang", "X-Lang: de"), second: get("/items?vary=X-Lang", "X-Lang: de"), hit: true},
		{name: "HEAD does not become GET", first: strings.Replace(get("/items"), "GET", "HEAD", 1), second: get("/items")},
		{name: "GET answers HEAD", first: get("/items"), second: strings.Replace(get("/items"), "GET", "HEAD", 1), hit: true},
		{name: "POST is not stored", first: strings.Replace(get("/items", "Content-Length: 0"), "GET", "POST", 1), second: get("/items")},
		{name: "no-store", first: get("/items?cc=no-store,max-age=60"), second: get("/items?cc=no-store,max-age=60")},
	} {
		t.Run(c.name, func(t *testing.T) {
			origin := newCachedOrigin(t)
			d := open(t, gateway.Options{Program: cachedProgram(t, nil), APIs: to(origin.URL)})
			d.raw(t, c.first)
			before := origin.asked.Load()
			res, body := d.raw(t, c.second)
			hit := origin.asked.Load() == before && res.StatusCode < 500
			if hit && before == 0 {
				hit = false // both were refused
			}
			if hit != c.hit {
				t.Errorf("from the cache: %t, want %t; %d %s %s", hit, c.hit, res.StatusCode, res.Header.Get("Cache-Status"), body)
			}
			if c.never != "" && strings.Contains(body, c.never) {
				t.Errorf("the second caller got %s", body)
			}
			x := d.rec.find(t, res.Header.Get("X-Request-Id"))
			if relieved := slices.Contains(x.Decision.Relief, "cache.hit"); relieved != hit {
				t.Errorf("relief on record: %v, from the cache: %t", x.Decision.Relief, hit)
			}
			if hit && (x.Status != 200 && x.Status != 404 || x.Origin != 0 || res.Header.Get("Age") == "" || !strings.Contains(res.Header.Get("Cache-Status"), "hit")) {
				t.Errorf("a hit is recorded as status %d, origin %d, answered with %v", x.Status, x.Origin, res.Header)
			}
		})
	}
}

// An answer for one caller is given to the same caller only.
func TestCachePerPrincipal(t *testing.T) {
	hash := func(key string) string { s := sha256.Sum256([]byte(key)); return "sha256:" + hex.EncodeToString(s[:]) }
	origin := newCachedOrigin(t)
	d := open(t, gateway.Options{APIs: to(origin.URL), Program: cachedProgram(t, func(p *policy.API) {
		p.Cache.Per = policy.PerCaller
		p.Auth = policy.Auth{Anonymous: policy.Never, Keys: []policy.Key{{ID: "a", Hash: hash("alice-key"), Subject: "alice"}, {ID: "a2", Hash: hash("alice-again"), Subject: "alice"},
			{ID: "b", Hash: hash("bob-key"), Subject: "bob"}, {ID: "a3", Hash: hash("alice-more"), Subject: "alice", Scopes: []string{"admin"}}}}
		p.Mode = sallyport.Enforce
	})})
	for i, c := range []struct {
		target, key string
		status      int
		hit         bool
	}{
		{"/account?cc=private,max-age=60", "alice-key", 200, false},
		{"/account?cc=private,max-age=60", "alice-key", 200, true},
		{"/account?cc=private,max-age=60", "alice-again", 200, false}, // by another key, which may be another client
		{"/account?cc=private,max-age=60", "alice-more", 200, false},  // who may do more
		{"/account?cc=private,max-age=60", "bob-key", 200, false},
		{"/account?cc=private,max-age=60", "bob-key", 200, true},
		{"/account?cc=private,max-age=60", "nobody", 401, false},
		{"/items?cc=max-age=60", "alice-key", 200, false},
		{"/items?cc=max-age=60", "bob-key", 200, false},
		{"/items?cc=public,max-age=60", "alice-key", 200, false},
		{"/items?cc=public,max-age=60", "bob-key", 200, true},
		{"/items?cc=no-store", "alice-key", 200, false},
		{"/items?cc=no-store", "alice-key", 200, false},
	} {
		before := origin.asked.Load()
		res, body := d.raw(t, get(c.target, "X-API-Key: "+c.key))
		hit := origin.asked.Load() == before && res.StatusCode == 200
		if res.StatusCode != c.status || hit != c.hit {
			t.Errorf("%d: %s as %s: %d, from the cache: %t, want %d, %t; %s", i, c.target, c.key, res.StatusCode, hit, c.status, c.hit, body)
		}
		if person, _, _ := strings.Cut(c.key, "-"); c.status == 200 && !strings.Contains(c.target, "public") && !strings.Contains(body, person) {
			t.Errorf("%d: %s got %s", i, c.key, body)
		}
	}
	// A cookie besides may be what the upstream goes by.
	d.raw(t, get("/account?cc=private,max-age=60&c=1", "X-API-Key: alice-key", "Cookie: session=x"))
	before := origin.asked.Load()
	d.raw(t, get("/account?cc=private,max-age=60&c=1", "X-API-Key: alice-key", "Cookie: session=x"))
	if origin.asked.Load() == before {
		t.Error("an answer to two credentials was stored by one of them")
	}
}

// hold is an origin whose answers wait until they are let go.
type hold struct {
	*httptest.Server
	asked atomic.Int64
	most  atomic.Int64 // at once
	now   atomic.Int64
	came  chan string
	free  chan struct{}
}

func newHold(t testing.TB, answer http.HandlerFunc) *hold {
	h := &hold{came: make(chan string, 1000), free: make(chan struct{})}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.asked.Add(1)
		n := h.now.Add(1)
		defer h.now.Add(-1)
		for m := h.most.Load(); n > m && !h.most.CompareAndSwap(m, n); m = h.most.Load() {
		}
		h.came <- r.Header.Get("X-Who")
		select {
		case <-h.free:
		case <-r.Context().Done():
			return
		}
		answer(w, r)
	}))
	t.Cleanup(h.Close)
	return h
}

func jsonAnswer(cc string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", cc)
		io.WriteString(w, `{"a":1}`)
	}
}

// crowd sends n requests at once and waits until all but those at the origin
// wait for them.
func crowd(t *testing.T, d *door, n int, target string) (answers func() []int) {
	t.Helper()
	var wg sync.WaitGroup
	got := make([]int, n)
	for i := range n {
		wg.Go(func() {
			res, _ := d.raw(t, get(target, "X-Who: "+strconv.Itoa(i)))
			got[i] = res.StatusCode
		})
	}
	return func() []int { wg.Wait(); return got }
}

func all200(t *testing.T, got []int) {
	t.Helper()
	for i, status := range got {
		if status != 200 {
			t.Errorf("request %d: %d", i, status)
		}
	}
}

func TestCoalescing(t *testing.T) {
	const n = 20
	inFlight := func(t *testing.T, d *door, want int64) {
		t.Helper()
		for range 500 {
			if d.Metrics().InFlight == want {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("%d in flight, want %d", d.Metrics().InFlight, want)
	}
	t.Run("one question", func(t *testing.T) {
		o := newHold(t, jsonAnswer("max-age=60"))
		d := open(t, gateway.Options{Program: cachedProgram(t, nil), APIs: to(o.URL)})
		answers := crowd(t, d, n, "/items")
		inFlight(t, d, n)
		close(o.free)
		all200(t, answers())
		if o.asked.Load() != 1 {
			t.Errorf("the origin was asked %d times", o.asked.Load())
		}
		shared := 0
		for range n {
			d.rec.last(t, n)
		}
		for _, x := range d.rec.list() {
			if slices.Contains(x.Decision.Relief, "coalesced") {
				shared++
			}
		}
		if s := d.CacheStats(); shared == 0 || s.Collapsed != int64(shared) || s.Misses != 1 {
			t.Errorf("%d on record, counted %+v", shared, s)
		}
	})
	t.Run("answers for nobody else go on side by side", func(t *testing.T) {
		o := newHold(t, jsonAnswer("private, max-age=60"))
		d := open(t, gateway.Options{Program: cachedProgram(t, nil), APIs: to(o.URL)})
		answers := crowd(t, d, n, "/items")
		inFlight(t, d, n)
		o.free <- struct{}{} // the leader's
		for range n {
			take(t, o.came, "")
		}
		if o.now.Load() != n-1 {
			t.Errorf("%d at the origin at once, want %d: they go one behind the other", o.now.Load(), n-1)
		}
		close(o.free)
		all200(t, answers())
	})
	t.Run("answers that have to be asked for again too", func(t *testing.T) {
		o := newHold(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", `"1"`)
			jsonAnswer("no-cache")(w, r)
		})
		d := open(t, gateway.Options{Program: cachedProgram(t, nil), APIs: to(o.URL)})
		answers := crowd(t, d, n, "/items")
		inFlight(t, d, n)
		o.free <- struct{}{}
		for range n {
			take(t, o.came, "")
		}
		close(o.free)
		all200(t, answers())
	})
	t.Run("a leader that goes is followed by another", func(t *testing.T) {
		o := newHold(t, jsonAnswer("max-age=60"))
		d := open(t, gateway.Options{Program: cachedProgram(t, nil), APIs: to(o.URL)})
		c, err := net.Dial("tcp", d.plain)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, get("/items", "X-Who: leader"))
		if who := take(t, o.came, ""); who != "leader" {
			t.Fatalf("%s came first", who)
		}
		answers := crowd(t, d, n, "/items")
		inFlight(t, d, n+1)
		c.Close()
		take(t, o.came, "") // one of them asks in its place
		inFlight(t, d, n)
		close(o.free)
		all200(t, answers())
		if o.asked.Load() != 2 {
			t.Errorf("the origin was asked %d times, want twice", o.asked.Load())
		}
	})
	t.Run("a slow leader holds nobody for long", func(t *testing.T) {
		o := newHold(t, jsonAnswer("max-age=60"))
		d := open(t, gateway.Options{Program: cachedProgram(t, func(p *policy.API) { p.Cache.Wait = 20 * time.Millisecond }), APIs: to(o.URL)})
		answers := crowd(t, d, n, "/items")
		for range n {
			take(t, o.came, "")
		}
		close(o.free)
		all200(t, answers())
	})
	t.Run("callers with credentials share nothing before it is known to be public", func(t *testing.T) {
		o := newHold(t, jsonAnswer("max-age=60"))
		d := open(t, gateway.Options{Program: cachedProgram(t, nil), APIs: to(o.URL)})
		var wg sync.WaitGroup
		for i := range 5 {
			header := "Authorization: Bearer "
			if i%2 == 0 {
				header = "X-API-Key: "
			}
			wg.Go(func() { d.raw(t, get("/items", header+strconv.Itoa(i))) })
		}
		for range 5 {
			take(t, o.came, "")
		}
		close(o.free)
		wg.Wait()
	})
	t.Run("an error is not waited for in turn", func(t *testing.T) {
		o := newHold(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) })
		d := open(t, gateway.Options{Program: cachedProgram(t, func(p *policy.API) { p.Mode = sallyport.Enforce }), APIs: to(o.URL)})
		answers := crowd(t, d, n, "/items")
		inFlight(t, d, n)
		o.free <- struct{}{}
		for range n {
			take(t, o.came, "")
		}
		close(o.free)
		answers()
	})
}

// at is a clock that tests move.
type at struct{ off atomic.Int64 }

func (a *at) now() time.Time { return time.Now().Add(time.Duration(a.off.Load())) }
func (a *at) move(d time.Duration) {
	a.off.Add(int64(d))
}

func TestCacheStale(t *testing.T) {
	var down atomic.Bool
	var asked, conditional atomic.Int64
	clock := &at{}
	o := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if down.Load() {
			w.WriteHeader(503)
			return
		}
		w.Header().Set("Etag", `"1"`)
		w.Header().Set("Date", clock.now().UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", r.URL.Query().Get("cc"))
		if r.Header.Get("If-None-Match") == `"1"` {
			conditional.Add(1)
			w.WriteHeader(304)
			return
		}
		io.WriteString(w, `{"a":1}`)
	})
	d := open(t, gateway.Options{Program: cachedProgram(t, nil), APIs: to(o.URL), Now: clock.now})
	ask := func(cc string, want int, relief string) http.Header {
		t.Helper()
		res, body := d.raw(t, get("/items?cc="+cc))
		x := d.rec.find(t, res.Header.Get("X-Request-Id"))
		if got := strings.Join(x.Decision.Relief, " "); res.StatusCode != want || got != relief || want == 200 && body != `{"a":1}` {
			t.Fatalf("%s: %d %q %s, want %d %q", cc, res.StatusCode, got, body, want, relief)
		}
		return res.Header
	}
	ask("max-age=10", 200, "")
	ask("max-age=10", 200, "cache.hit")
	clock.move(11 * time.Second)
	ask("max-age=10", 200, "cache.revalidated")
	ask("max-age=10", 200, "cache.hit")
	clock.move(-time.Hour) // a clock that goes back makes nothing fresh
	ask("max-age=10", 200, "cache.revalidated")
	clock.move(time.Hour)
	ask("max-age=10", 200, "cache.revalidated")

	ask("max-age=10,stale-while-revalidate=60", 200, "")
	clock.move(20 * time.Second)
	before := conditional.Load()
	ask("max-age=10,stale-while-revalidate=60", 200, "cache.stale")
	for range 500 {
		if conditional.Load() > before {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	eventuallyHit := func() bool {
		for range 500 {
			res, _ := d.raw(t, get("/items?cc=max-age=10,stale-while-revalidate=60"))
			if slices.Contains(d.rec.find(t, res.Header.Get("X-Request-Id")).Decision.Relief, "cache.hit") {
				return true
			}
			time.Sleep(10 * time.Millisecond)
		}
		return false
	}
	if !eventuallyHit() {
		t.Error("the refresh behind a stale answer was not stored")
	}
	clock.move(2 * time.Minute)
	ask("max-age=10,stale-while-revalidate=60", 200, "cache.revalidated")

	ask("max-age=10,stale-if-error=60", 200, "")
	ask("max-age=10,stale-if-error=60,must-revalidate", 200, "")
	down.Store(true)
	clock.move(20 * time.Second)
	ask("max-age=10,stale-if-error=60", 200, "cache.stale-if-error")
	ask("max-age=10,stale-if-error=60,must-revalidate", 503, "")
	o.Close()
	ask("max-age=10,stale-if-error=60", 200, "cache.stale-if-error")
	clock.move(time.Minute)
	ask("max-age=10,stale-if-error=60", 502, "")
}

func TestCacheConditionsAndRanges(t *testing.T) {
	var asked atomic.Int64
	o := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Last-Modified", "Mon, 02 Nov 2026 10:00:00 GMT")
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, `"0123456789"`)
	})
	for _, h2 := range []bool{false, true} {
		d := open(t, gateway.Options{Program: cachedProgram(t, nil), APIs: to(o.URL)})
		client := d.client(h2)
		res, err := client.Get(d.url("/items"))
		read(t, res, err)
		for _, c := range []struct {
			method, header, value string
			status                int
			body                  string
			from                  bool
		}{
			{"GET", "If-None-Match", `"v1"`, 304, "", true},
			{"GET", "If-None-Match", `W/"v1"`, 304, "", true},
			{"GET", "If-None-Match", `"a", "v1"`, 304, "", true},
			{"GET", "If-None-Match", `*`, 304, "", true},
			{"GET", "If-None-Match", `"v2"`, 200, `"0123456789"`, true},
			{"GET", "If-Modified-Since", "Mon, 02 Nov 2026 10:00:00 GMT", 304, "", true},
			{"GET", "If-Modified-Since", "Mon, 02 Nov 2026 09:59:59 GMT", 200, `"0123456789"`, true},
			{"GET", "If-Modified-Since", "yesterday", 200, `"0123456789"`, true},
			{"GET", "Range", "bytes=1-3", 206, "012", true},
			{"GET", "Range", "bytes=8-", 206, `789"`, true},
			{"GET", "Range", "bytes=-2", 206, `9"`, true},
			{"GET", "Range", "bytes=0-999", 206, `"0123456789"`, true},
			{"GET", "Range", "bytes=99-", 416, "", true},
			{"GET", "Range", "bytes=0-1,3-4", 200, `"0123456789"`, true},
			{"GET", "Range", "lines=1-2", 200, `"0123456789"`, true},
			{"GET", "Range", "bytes=99999999999999999999-", 200, `"0123456789"`, true},
			{"HEAD", "X-Nothing", "", 200, "", true},
			{"HEAD", "If-None-Match", `"v1"`, 304, "", true},
			{"GET", "If-Match", `"v1"`, 200, `"0123456789"`, false},
		} {
			before := asked.Load()
			q, _ := http.NewRequest(c.method, d.url("/items"), nil)
			q.Header.Set(c.header, c.value)
			res, err := client.Do(q)
			body := read(t, res, err)
			if res.StatusCode != c.status || body != c.body || (asked.Load() == before) != c.from {
				t.Errorf("h2 %t: %s with %s: %s: %d %q, from the cache: %t", h2, c.method, c.header, c.value, res.StatusCode, body, asked.Load() == before)
			}
			if c.method == "HEAD" && c.status == 200 && res.ContentLength != 12 {
				t.Errorf("h2 %t: HEAD says a length of %d", h2, res.ContentLength)
			}
		}
	}
}

func TestCacheInvalidation(t *testing.T) {
	o := newCachedOrigin(t)
	d := open(t, gateway.Options{Program: cachedProgram(t, nil), APIs: to(o.URL)})
	hit := func(target string) bool {
		before := o.asked.Load()
		d.raw(t, get(target))
		return o.asked.Load() == before
	}
	fill := func() { hit("/items"); hit("/items?q=1"); hit("/files/a") }
	fill()
	if !hit("/items") || !hit("/items?q=1") || !hit("/files/a") {
		t.Fatal("nothing is stored")
	}
	d.raw(t, strings.Replace(get("/items", "Content-Length: 0"), "GET", "POST", 1))
	if hit("/items") || !hit("/items?q=1") {
		t.Error("a change makes its own target out of date, and no other")
	}
	if hit("/items"); !hit("/items") {
		t.Error("it is not stored again")
	}
	d.raw(t, strings.Replace(get("/items?status=500", "Content-Length: 0"), "GET", "POST", 1))
	if !hit("/items") {
		t.Error("a change that failed has changed nothing")
	}
	for _, c := range []struct {
		api, prefix, tag string
		n                int
	}{{"other", "", "", 0}, {"shop", "/nothing", "", 0}, {"shop", "/file", "", 0}, {"shop", "", "tag", 0}, {"shop", "/files", "", 1}, {"shop", "", "", 2}} {
		if n := d.Invalidate(c.api, c.prefix, c.tag); n != c.n {
			t.Errorf("%+v: %d forgotten", c, n)
		}
	}
	if hit("/items") || d.CacheStats().Entries == 0 {
		t.Error("nothing was forgotten")
	}
}

// What breaks off, says too much or is too long is passed on and not kept.
func TestCacheKeepsWholeAnswersOnly(t *testing.T) {
	var asked atomic.Int64
	o := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "max-age=60")
		switch r.URL.Query().Get("q") {
		case "short":
			h.Set("Content-Length", "100000")
			w.Write(make([]byte, 70000))
			panic(http.ErrAbortHandler)
		case "chunked":
			w.Write(make([]byte, 70000))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "long":
			for range 40 {
				w.Write(make([]byte, 64<<10))
			}
		case "stream":
			for i := range 5 {
				fmt.Fprintf(w, "%d,%d;", n, i)
				w.(http.Flusher).Flush()
			}
		}
	})
	d := open(t, gateway.Options{Program: cachedProgram(t, nil), APIs: to(o.URL)})
	client := d.client(false)
	for _, c := range []struct {
		q   string
		hit bool
		err bool
		n   int
	}{{"short", false, true, 0}, {"chunked", false, true, 0}, {"long", false, false, 40 * 64 << 10}, {"stream", true, false, 20}} {
		var first []byte
		for try := range 2 {
			before := asked.Load()
			res, err := client.Get(d.url("/items?q=" + c.q))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(res.Body)
			res.Body.Close()
			hit := asked.Load() == before
			if (err != nil) != c.err || !c.err && len(b) != c.n || hit != (c.hit && try == 1) {
				t.Errorf("%s, try %d: %d bytes, %v, from the cache: %t", c.q, try, len(b), err, hit)
			}
			if try == 1 && hit && string(b) != string(first) {
				t.Errorf("%s: %q, then %q", c.q, first, b)
			}
			first = b
		}
	}
	for range 500 {
		if d.Metrics().Buffered == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := d.Metrics().Buffered; n != 0 {
		t.Errorf("%d bytes are still counted as held", n)
	}
}

// A stored answer passes the guard like any other, under the program of now.
func TestHitsPassTheGuard(t *testing.T) {
	o := newCachedOrigin(t)
	d := open(t, gateway.Options{Program: cachedProgram(t, nil), APIs: to(o.URL)})
	d.raw(t, get("/items"))
	if res, _ := d.raw(t, get("/items")); !strings.Contains(res.Header.Get("Cache-Status"), "hit") {
		t.Fatal("nothing is stored")
	}
	d.Swap(cachedProgram(t, func(p *policy.API) {
		p.Mode = sallyport.Enforce
		p.Limits = []policy.Limit{{Rate: policy.Rate{Count: 1, Window: time.Hour}, Per: policy.PerClient}}
	}))
	if res, _ := d.raw(t, get("/items")); res.StatusCode != 200 || !strings.Contains(res.Header.Get("Cache-Status"), "hit") {
		t.Errorf("within the limit: %d", res.StatusCode)
	}
	if res, _ := d.raw(t, get("/items")); res.StatusCode != 429 {
		t.Errorf("a hit beyond the limit: %d", res.StatusCode)
	}
	d.Swap(cachedProgram(t, func(p *policy.API) {
		p.Auth.Keys = []policy.Key{{ID: "k", Hash: "sha256:" + strings.Repeat("0", 64)}}
		p.Auth.Anonymous = policy.Never
		p.Mode = sallyport.Enforce
	}))
	if res, _ := d.raw(t, get("/items")); res.StatusCode != 401 {
		t.Errorf("a hit without a credential: %d", res.StatusCode)
	}
	// What is taken out of an answer is taken out of a stored one, and only for as long as that is asked for.
	strip := cachedProgram(t, func(p *policy.API) { p.Answers = policy.Answers{Mode: sallyport.Enforce, Undeclared: policy.StripIt} })
	d.Swap(strip)
	_, first := d.raw(t, get("/shape"))
	for i, c := range []struct {
		p    *guard.Program
		head string
		want string
		not  bool
	}{{strip, "X-A: 1", `"who"`, true}, {strip, "Range: bytes=0-9", `"who"`, true}, {cachedProgram(t, nil), "X-A: 1", `"who"`, false}, {cachedProgram(t, nil), "Range: bytes=0-4", `{"n":`, false}} {
		d.Swap(c.p)
		res, body := d.raw(t, get("/shape", c.head))
		if !strings.Contains(res.Header.Get("Cache-Status"), "hit") || strings.Contains(body, c.want) == c.not {
			t.Errorf("%d: %d %v %s; at first %s", i, res.StatusCode, res.Header, body, first)
		}
	}
	d.Swap(cachedProgram(t, func(p *policy.API) { p.Cache = policy.Cache{} }))
	before := o.asked.Load()
	if res, _ := d.raw(t, get("/items")); res.StatusCode != 200 || o.asked.Load() == before || res.Header.Get("Cache-Status") != "" {
		t.Error("switched off, it answers")
	}
}

// When the upstream has no place left, what is stored is given before anybody is
// turned away.
func TestReliefBeforeRefusal(t *testing.T) {
	o := newHold(t, jsonAnswer("max-age=10, stale-if-error=600"))
	clock := &at{}
	apis := to(o.URL)
	apis[0].Load = gate.Settings{Limit: 1, Queue: -1}
	d := open(t, gateway.Options{Program: cachedProgram(t, nil), APIs: apis, Now: clock.now})
	go func() { o.free <- struct{}{}; o.free <- struct{}{} }()
	d.raw(t, get("/items"))
	d.raw(t, get("/items?q=stale"))
	take(t, o.came, "")
	take(t, o.came, "")
	clock.move(5 * time.Second)
	var wg sync.WaitGroup
	wg.Go(func() { d.raw(t, get("/account")) })
	take(t, o.came, "")
	for _, c := range []struct {
		target string
		move   time.Duration
		status int
		relief string
	}{{"/items", 0, 200, "cache.hit"}, {"/files/new", 0, 503, ""}, {"/items?q=stale", time.Minute, 200, "cache.stale-if-error"}} {
		clock.move(c.move)
		res, _ := d.raw(t, get(c.target))
		x := d.rec.find(t, res.Header.Get("X-Request-Id"))
		if res.StatusCode != c.status || strings.Join(x.Decision.Relief, " ") != c.relief {
			t.Errorf("%s: %d, relief %v, reasons %v", c.target, res.StatusCode, x.Decision.Relief, x.Decision.Reasons)
		}
	}
	close(o.free)
	wg.Wait()
}

// What is put into an answer for one caller is in no stored answer, and is put
// into a stored one for each caller anew.
func TestCacheAndSideloading(t *testing.T) {
	hash := func(key string) string { s := sha256.Sum256([]byte(key)); return "sha256:" + hex.EncodeToString(s[:]) }
	for _, chunked := range []bool{false, true} {
		var asked atomic.Int64
		o := upstream(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if name, ok := strings.CutPrefix(r.URL.Path, "/files/"); ok {
				w.Header().Set("Cache-Control", "private, max-age=60")
				fmt.Fprintf(w, `{"file":%q,"for":%q}`, name, r.Header.Get("X-Api-Key"))
				return
			}
			asked.Add(1)
			w.Header().Set("Cache-Control", "public, max-age=60")
			w.Header().Set("Etag", `"1"`)
			io.WriteString(w, `{"name":"a"}`)
			if chunked {
				w.(http.Flusher).Flush()
			}
		})
		apis := to(o.URL)
		apis[0].Sideload = &gateway.Sideload{Param: "include", Most: 10, Rules: []gateway.Side{{Name: "file", Operation: "GET /items", From: "/name", Target: "/files/{name}"}}}
		d := open(t, gateway.Options{APIs: apis, Program: cachedProgram(t, func(p *policy.API) {
			p.Mode = sallyport.Enforce
			p.Cache.Per = policy.PerCaller
			p.Auth = policy.Auth{Anonymous: policy.Always, Keys: []policy.Key{{ID: "a", Hash: hash("alice-key"), Subject: "alice"}, {ID: "b", Hash: hash("bob-key"), Subject: "bob"}}}
		})})
		for i, c := range []struct{ target, key, has, not string }{
			{"/items?include=file", "alice-key", `"for":"alice-key"`, "bob"},
			{"/items", "bob-key", `{"name":"a"}`, "file"},
			{"/items?include=file", "bob-key", `"for":"bob-key"`, "alice"},
			{"/items?include=file", "alice-key", `"for":"alice-key"`, "bob"},
			{"/items", "alice-key", `{"name":"a"}`, "file"},
		} {
			res, body := d.raw(t, get(c.target, "X-API-Key: "+c.key, `If-None-Match: "0"`))
			if res.StatusCode != 200 || !strings.Contains(body, c.has) || strings.Contains(body, c.not) {
				t.Errorf("chunked %t, %d: %s as %s: %d %s", chunked, i, c.target, c.key, res.StatusCode, body)
			}
			if strings.Contains(c.target, "include") && res.Header.Get("Cache-Control") != "private, no-store" {
				t.Errorf("chunked %t, %d: %v", chunked, i, res.Header)
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("chunked %t: the list was asked for %d times", chunked, n)
		}
	}
}

func BenchmarkCacheHit(b *testing.B) {
	for _, mode := range []policy.Switch{policy.Off, policy.On} {
		b.Run("cache "+string(mode), func(b *testing.B) {
			o := upstream(b, jsonAnswer("max-age=3600"))
			d := open(b, gateway.Options{Program: cachedProgram(b, func(p *policy.API) { p.Cache.Mode = mode }), APIs: to(o.URL), Recorder: nowhere{}})
			w := &answerer{h: http.Header{}}
			r := httptest.NewRequest("GET", "/items", nil)
			r.RemoteAddr, r.RequestURI, r.Host = "192.0.2.1:1", "/items", "shop.test"
			r.Header.Set("User-Agent", "bench")
			d.ServeHTTP(w, r)
			b.ReportAllocs()
			for b.Loop() {
				d.ServeHTTP(w, r)
			}
		})
	}
}

type nowhere struct{}

func (nowhere) Want(*sallyport.Exchange) bool { return false }
func (nowhere) Record(*sallyport.Exchange)    {}

type answerer struct {
	h http.Header
	n int
}

func (a *answerer) Header() http.Header         { return a.h }
func (a *answerer) WriteHeader(int)             {}
func (a *answerer) Write(b []byte) (int, error) { a.n += len(b); return len(b), nil }
func (a *answerer) WriteAnswer(_ int, _ http.Header, b []byte) error {
	a.n += len(b)
	return nil
}

package gateway_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/gateway"
	gate "sallyport.dev/gateway/load"
	"sallyport.dev/guard"
	"sallyport.dev/identity"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

func keyHash(key string) string {
	s := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(s[:])
}

// An answer that an upstream says varies by what the gateway itself tells it is
// nobody else's, however public it calls itself; one that varies by a header that
// did not arrive as it was sent neither.
func TestStoredAnswersVaryByWhatTheUpstreamSees(t *testing.T) {
	var asked atomic.Int64
	vary, control := atomic.Pointer[string]{}, "public, max-age=60"
	o := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", control)
		w.Header().Set("Vary", *vary.Load())
		fmt.Fprintf(w, `{"seen":%q,"id":%q}`, r.Header.Get(*vary.Load()), r.Header.Get("X-Request-Id"))
	})
	apis := to(o.URL)
	apis[0].Onward = &gateway.Onward{Name: true}
	d := open(t, gateway.Options{APIs: apis, Program: cachedProgram(t, func(p *policy.API) {
		p.Mode = sallyport.Enforce
		p.Auth = policy.Auth{Anonymous: policy.Always, Keys: []policy.Key{{ID: "a", Hash: keyHash("alice-key"), Subject: "alice"}, {ID: "b", Hash: keyHash("bob-key"), Subject: "bob"}}}
	})})
	for i, c := range []struct {
		name, vary    string
		first, second []string
		hit           bool
	}{
		{name: "who calls", vary: "X-Sallyport-Principal", first: []string{"X-API-Key: alice-key"}, second: []string{"X-API-Key: bob-key"}},
		{name: "who calls, in small letters", vary: "x-sallyport-principal", first: []string{"X-API-Key: alice-key"}, second: []string{"X-API-Key: bob-key"}},
		{name: "where from", vary: "X-Forwarded-For"},
		{name: "the request's id", vary: "X-Request-Id"},
		{name: "a header taken away by Connection", vary: "X-Lang", first: []string{"X-Lang: de", "Connection: X-Lang"}, second: []string{"X-Lang: de"}},
		{name: "a header that arrives", vary: "X-Lang", first: []string{"X-Lang: de"}, second: []string{"X-Lang: de"}, hit: true},
		{name: "the scheme", vary: "X-Forwarded-Proto", hit: true},
		{name: "a header that never arrives", vary: "Forwarded", hit: true},
	} {
		vary.Store(&c.vary)
		target := fmt.Sprintf("/items?q=%d", i)
		d.raw(t, get(target, c.first...))
		before := asked.Load()
		_, body := d.raw(t, get(target, c.second...))
		if hit := asked.Load() == before; hit != c.hit {
			t.Errorf("%s: from the cache: %t, want %t; %s", c.name, hit, c.hit, body)
		}
	}
}

// A credential that the guard does not read, beside the one that it does, may be
// what the upstream goes by: what is stored for one is not given to the other.
func TestSecondCredentialIsNotForgotten(t *testing.T) {
	var asked atomic.Int64
	o := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "private, max-age=60")
		fmt.Fprintf(w, `{"for":%q}`, r.Header.Get("Authorization")+r.Header.Get("Cookie")+r.Header.Get("X-Session-Token"))
	})
	n := 0
	for _, in := range []sallyport.Place{{}, {In: sallyport.InCookie, Name: "key"}} {
		d := open(t, gateway.Options{APIs: to(o.URL), Program: cachedProgram(t, func(p *policy.API) {
			p.Mode, p.Cache.Per = sallyport.Enforce, policy.PerCaller
			p.Auth = policy.Auth{Anonymous: policy.Never, Keys: []policy.Key{{ID: "app", Hash: keyHash("app-key"), Subject: "app"}}}
			if in.In != "" {
				p.Auth.KeyIn = policy.KeyIn{In: in.In, Name: in.Name}
			}
		})})
		for _, c := range []struct {
			name          string
			first, second string
			hit           bool
		}{
			{"tokens of two users", "Authorization: Bearer alice", "Authorization: Bearer bob", false},
			{"passwords of two users", "Authorization: Basic YWxpY2U6eA==", "Authorization: Basic Ym9iOng=", false},
			{"one with a token, one without", "Authorization: Bearer alice", "X-Trace: 1", false},
			{"sessions of two users", "Cookie: key=app-key; session=alice", "Cookie: key=app-key; session=bob", false},
			{"tokens by another name", "X-Session-Token: alice", "X-Session-Token: bob", false},
			{"nothing besides", "X-Trace: 1", "X-Trace: 2", true},
		} {
			n++
			key := "X-API-Key: app-key"
			if in.In == sallyport.InCookie {
				key = "Cookie: key=app-key"
				if strings.HasPrefix(c.first, "Cookie") {
					key = "X-Nothing: 1"
				}
			}
			target := fmt.Sprintf("/items?q=%d", n)
			if res, body := d.raw(t, get(target, key, c.first)); res.StatusCode != 200 {
				t.Fatalf("%s: %d %s", c.name, res.StatusCode, body)
			}
			before := asked.Load()
			_, body := d.raw(t, get(target, key, c.second))
			if hit := asked.Load() == before; hit != c.hit || strings.Contains(body, "alice") {
				t.Errorf("%v %s: from the cache: %t, want %t; %s", in, c.name, hit, c.hit, body)
			}
		}
	}
}

const listDocument = `openapi: 3.1.0
info: {title: List, version: "1"}
paths:
  /list: {get: {parameters: [{name: q, in: query, schema: {type: string}}], responses: {"200": {description: ok, content: {application/json: {schema: {type: object}}}}}}}
  /things/{id}: {get: {parameters: [{name: id, in: path, required: true, schema: {type: string}}], responses: {"200": {description: ok}}}}
  /things/export: {get: {operationId: export, responses: {"200": {description: ok}}}}
`

func listDoor(t *testing.T, handler http.HandlerFunc, change func(*gateway.API)) *door {
	t.Helper()
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "list.yaml", Data: []byte(listDocument)}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := gateway.API{Name: "list", Upstreams: []gateway.Upstream{{URL: upstream(t, handler).URL}}, Sideload: &gateway.Sideload{Param: "include", Most: 100,
		Rules: []gateway.Side{{Name: "more", Operation: "GET /list", From: "/items/*/thing", Target: "/things/{id}"}}}}
	if change != nil {
		change(&a)
	}
	return open(t, gateway.Options{APIs: []gateway.API{a}, Program: program(t, guard.API{API: sallyport.API{Name: "list"}, Spec: set, Policy: policy.API{}})})
}

// One id may stand in an answer as often as it likes: what is put into it
// together stays within its bound.
func TestSideloadOfOneIDManyTimes(t *testing.T) {
	big := strings.TrimSuffix(strings.Repeat(`"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",`, 5000), ",")
	d := listDoor(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/list" {
			io.WriteString(w, `{"items":[`+strings.TrimSuffix(strings.Repeat(`{"thing":"a"},`, 1000), ",")+`]}`)
			return
		}
		fmt.Fprintf(w, `{"big":[%s]}`, big)
	}, nil)
	res, body := d.raw(t, get("/list?include=more"))
	if res.StatusCode != 200 || len(body) > 6<<20 || !strings.Contains(body, `"more":null`) || !strings.Contains(body, big) {
		t.Errorf("%d, %d bytes", res.StatusCode, len(body))
	}
	if x := d.rec.find(t, res.Header.Get("X-Request-Id")); len(x.Decision.Reasons) == 0 || x.Decision.Reasons[0].Rule != "sideload.most" {
		t.Errorf("%+v", x.Decision)
	}
}

// What an answer names cannot lead to another operation than the rule's.
func TestSideloadStaysWithItsOperation(t *testing.T) {
	var exported atomic.Int64
	d := listDoor(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/list":
			io.WriteString(w, `{"items":[{"thing":"export"},{"thing":"Export"},{"thing":"a"}]}`)
		case "/things/export", "/things/Export":
			exported.Add(1)
			io.WriteString(w, `{"everything":1}`)
		default:
			io.WriteString(w, `{"thing":1}`)
		}
	}, nil)
	res, body := d.raw(t, get("/list?include=more"))
	if res.StatusCode != 200 || exported.Load() != 0 || strings.Contains(body, "everything") || !strings.Contains(body, `"more":{"thing":1}`) {
		t.Errorf("%d, another operation was asked %d times: %s", res.StatusCode, exported.Load(), body)
	}
}

// An answer that waits for what is put into it takes nobody's place: the requests
// that it makes have room even where there is one place only.
func TestSideloadNeedsNoSecondPlace(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/list" {
			io.WriteString(w, `{"items":[{"thing":"a"},{"thing":"b"}],"pad":"`+strings.Repeat("p", len(r.URL.Query().Get("q"))*1000)+`"}`)
			return
		}
		fmt.Fprintf(w, `{"id":%q}`, r.URL.Path)
	}
	for name, change := range map[string]func(*gateway.API){
		"one place":       func(a *gateway.API) { a.Load = gate.Settings{Limit: 1, Queue: 32, Wait: 2 * time.Second} },
		"two connections": func(a *gateway.API) { a.Upstreams[0].MaxConns = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			d := listDoor(t, handler, change)
			for _, q := range []string{"", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"} {
				res, body := d.raw(t, get("/list?include=more&q="+q))
				if res.StatusCode != 200 || !strings.Contains(body, `"more":{"id":"/things/a"}`) || strings.Contains(body, "null") {
					t.Errorf("%d %.200s", res.StatusCode, body)
				}
			}
		})
	}
}

// The parameter never reaches the upstream, however it is written and asked.
func TestSideloadParameterStaysHere(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	d := listDoor(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r.Method+" "+r.URL.RequestURI())
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Etag", `"1"`)
		io.WriteString(w, `{"items":[{"thing":"a"}]}`)
	}, nil)
	for _, c := range []struct {
		method, query string
		status        int
	}{
		{"GET", "%69nclude=more", 200}, {"GET", "includ%65=more&q=1", 200}, {"HEAD", "include=more", 200}, {"GET", "include=more&%69nclude=more", 400}, {"HEAD", "include=nothing", 400},
	} {
		res, body := d.raw(t, strings.Replace(get("/list?"+c.query), "GET", c.method, 1))
		if res.StatusCode != c.status || c.method == "GET" && c.status == 200 && !strings.Contains(body, `"more":{`) {
			t.Errorf("%s %s: %d %s", c.method, c.query, res.StatusCode, body)
		}
		if c.method == "HEAD" && c.status == 200 && (res.Header.Get("Etag") != "" || res.Header.Get("Content-Length") != "") {
			t.Errorf("a HEAD speaks of the answer without: %v", res.Header)
		}
	}
	for _, s := range seen {
		if u, _ := url.QueryUnescape(s); strings.Contains(u, "include") {
			t.Errorf("the upstream was asked for %s", s)
		}
	}
}

// A change happened even where its answer may not pass: what is stored is out of
// date.
func TestRefusedAnswerToAChangeInvalidates(t *testing.T) {
	var asked atomic.Int64
	o := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "public, max-age=60")
		if r.Method == "POST" {
			io.WriteString(w, `{"mail":"ada@example.org","iban":"DE89370400440532013000"}`)
			return
		}
		fmt.Fprintf(w, `{"n":%d}`, asked.Add(1))
	})
	d := open(t, gateway.Options{APIs: to(o.URL), Program: cachedProgram(t, func(p *policy.API) {
		p.Answers = policy.Answers{Mode: sallyport.Enforce, Sensitive: policy.RefuseAll}
	})})
	d.raw(t, get("/items"))
	res, _ := d.raw(t, strings.Replace(get("/items", "Content-Length: 0"), "GET", "POST", 1))
	if res.StatusCode != 502 {
		t.Fatalf("the change was answered with %d", res.StatusCode)
	}
	if _, body := d.raw(t, get("/items")); !strings.Contains(body, `"n":2`) {
		t.Errorf("after a change: %s", body)
	}
}

// Tokens of one caller that say different things of it are different callers to
// the cache, whatever the claim is that differs; another one of the same is not.
func TestStoredAnswersKeepClaimsApart(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := identity.NewSigner(private, "")
	if err != nil {
		t.Fatal(err)
	}
	token := func(claims map[string]any) string {
		all := map[string]any{"iss": "https://idp.test", "aud": "shop", "sub": "ada", "exp": time.Now().Add(time.Hour).Unix(), "jti": rand.Text()}
		maps.Copy(all, claims)
		s, err := signer.Sign("at+jwt", all)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	var asked atomic.Int64
	o := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "private, max-age=60")
		fmt.Fprintf(w, `{"n":%d}`, asked.Add(1))
	})
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "shop.yaml", Data: []byte(cachedAPI)}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pol := policy.API{Mode: sallyport.Enforce, Cache: policy.Cache{Mode: policy.On, Per: policy.PerCaller}, Auth: policy.Auth{Anonymous: policy.Never, OIDC: []policy.OIDC{{Issuer: "https://idp.test", Audience: "shop"}}}}
	p, err := guard.Compile(guard.Config{Name: "test", Keys: oneKey{public}, APIs: []guard.API{{API: sallyport.API{Name: "shop"}, Spec: set, Policy: pol}}})
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, gateway.Options{APIs: to(o.URL), Program: p})
	for i, c := range []struct {
		first, second map[string]any
		hit           bool
	}{
		{map[string]any{}, map[string]any{}, true},
		{map[string]any{"iat": 1}, map[string]any{"iat": 2}, true},
		{map[string]any{"tenant": "a"}, map[string]any{"tenant": "b"}, false},
		{map[string]any{"roles": []string{"clerk", "admin"}}, map[string]any{"roles": []string{"clerk"}}, false},
		{map[string]any{"authorization_details": []any{map[string]any{"type": "account", "id": 1}}}, map[string]any{"authorization_details": []any{map[string]any{"type": "account", "id": 2}}}, false},
	} {
		target := fmt.Sprintf("/account?q=%d", i)
		if res, body := d.raw(t, get(target, "Authorization: Bearer "+token(c.first))); res.StatusCode != 200 {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
		before := asked.Load()
		d.raw(t, get(target, "Authorization: Bearer "+token(c.second)))
		if hit := asked.Load() == before; hit != c.hit {
			t.Errorf("%v, %v: from the cache: %t, want %t", c.first, c.second, hit, c.hit)
		}
	}
}

// A signature is over the query as it was sent, the parameter included that the
// door takes out of it.
func TestSignedRequestWithSideload(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	o := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/list" {
			io.WriteString(w, `{"items":[{"thing":"a"}]}`)
			return
		}
		io.WriteString(w, `{"thing":1}`)
	})
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "list.yaml", Data: []byte(listDocument)}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pol := policy.API{Mode: sallyport.Enforce, Auth: policy.Auth{Anonymous: policy.Never, Signatures: []policy.Signature{
		{ID: "partner", KeyID: "p", Algorithm: "ed25519", Components: []string{"@method", "@target-uri"}, Keys: []string{string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}}}}}
	a := gateway.API{Name: "list", Upstreams: []gateway.Upstream{{URL: o.URL}}, Sideload: &gateway.Sideload{Param: "include", Most: 100,
		Rules: []gateway.Side{{Name: "more", Operation: "GET /list", From: "/items/*/thing", Target: "/things/{id}"}}}}
	d := open(t, gateway.Options{APIs: []gateway.API{a}, Program: program(t, guard.API{API: sallyport.API{Name: "list"}, Spec: set, Policy: pol})})
	for _, c := range []struct {
		signed, sent string
		status       int
	}{
		{"/list?q=1&include=more", "/list?q=1&include=more", 200},
		{"/list?q=1", "/list?q=1", 200},
		{"/list?q=1", "/list?q=1&include=more", 401}, // put in on the way
		{"/list?q=1&include=more", "/list?q=1", 401},
	} {
		params := fmt.Sprintf(`("@method" "@target-uri");created=%d;keyid="p"`, time.Now().Unix())
		base := "\"@method\": GET\n\"@target-uri\": http://shop.test" + c.signed + "\n\"@signature-params\": " + params
		res, body := d.raw(t, get(c.sent, "Signature-Input: s="+params, "Signature: s=:"+base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(base)))+":"))
		if res.StatusCode != c.status || c.status == 200 && strings.Contains(c.sent, "include") != strings.Contains(body, `"more":{"thing":1}`) {
			t.Errorf("%s signed, %s sent: %d %s", c.signed, c.sent, res.StatusCode, body)
		}
	}
}

// A stream of events is not waited for, whatever is wanted in the answer; and the
// requests for it do not change the protocol.
func TestSideloadAndStreams(t *testing.T) {
	var upgrades atomic.Int64
	free := make(chan struct{})
	d := listDoor(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") == "text/event-stream" {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: 1\n\n")
			w.(http.Flusher).Flush()
			<-free
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/list" {
			io.WriteString(w, `{"items":[{"thing":"a"}]}`)
			return
		}
		if r.Header.Get("Upgrade") != "" {
			upgrades.Add(1)
		}
		io.WriteString(w, `{"thing":1}`)
	}, func(a *gateway.API) { a.Sideload.Rules[0].Always = true })
	defer close(free)
	req, _ := http.NewRequestWithContext(t.Context(), "GET", d.url("/list"), nil)
	req.Header.Set("Accept", "text/event-stream")
	res, err := d.client(false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	first := make([]byte, len("data: 1"))
	if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != "data: 1" {
		t.Fatalf("%q, %v", first, err)
	}
	_, body := d.raw(t, get("/list", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))
	if !strings.Contains(body, `"more":{"thing":1}`) || upgrades.Load() != 0 {
		t.Errorf("%s, %d upgrades", body, upgrades.Load())
	}
}

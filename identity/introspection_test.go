package identity_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard/authn"
	"sallyport.dev/identity"
	"sallyport.dev/policy"
	"sallyport.dev/test/integration/oidcprovider"
)

// oracle is an introspection endpoint that answers what a test wants.
type oracle struct {
	*httptest.Server
	answer func(w http.ResponseWriter, r *http.Request)
	asked  atomic.Int64
	mu     sync.Mutex
	tokens []string
}

func newOracle(t *testing.T) *oracle {
	o := &oracle{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.asked.Add(1)
		id, secret, _ := r.BasicAuth()
		if id != "door%3A1" || secret != "s%2Fcret" || r.Method != "POST" || r.URL.Path != "/introspect" { // RFC 6749, section 2.3.1
			w.WriteHeader(401)
			return
		}
		o.mu.Lock()
		o.tokens = append(o.tokens, r.FormValue("token"))
		o.mu.Unlock()
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		o.answer(w, r)
	}))
	t.Cleanup(o.Close)
	return o
}

func (o *oracle) providers(c *clock) *identity.Providers {
	p := &identity.Providers{Issuers: []string{o.URL}, Introspection: []identity.Introspection{{Issuer: o.URL, URL: o.URL + "/introspect", ClientID: "door:1", Secret: "s/cret"}}}
	if c != nil {
		p.Now = c.now
	}
	return p
}

func say(text string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
}

func TestUselessAnswersAreNoAnswers(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(say(`{"active":true}`)))
	t.Cleanup(other.Close) // once the parallel tests below are through
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request){
		"hangs": func(_ http.ResponseWriter, r *http.Request) { hang(r, over) },
		"begins, hangs": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"active":`)
			w.(http.Flusher).Flush()
			hang(r, over)
		},
		"breaks off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99")
			io.WriteString(w, `{"active":true}`)
		},
		"huge":            say(`{"active":true,"x":"` + strings.Repeat("x", 70<<10) + `"}`),
		"huge and spaces": say(`{"active":true}` + strings.Repeat(" ", 70<<10)),
		"not JSON":        say("active"),
		"a page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, `{"active":true}`)
		},
		"a list":                 say(`[{"active":true}]`),
		"empty":                  say(""),
		"two objects":            say(`{"active":true}{"active":true}`),
		"no active":              say(`{"sub":"alice"}`),
		"active a string":        say(`{"active":"true"}`),
		"active a number":        say(`{"active":1}`),
		"active null":            say(`{"active":null}`),
		"active twice":           say(`{"active":false,"active":true}`),
		"active by another case": say(`{"Active":true}`),
		"exp a string":           say(`{"active":true,"exp":"1800000000"}`),
		"exp beyond numbers":     say(`{"active":true,"exp":1e999}`),
		"an error":               func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); io.WriteString(w, `{"active":true}`) },
		"created":                func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); io.WriteString(w, `{"active":true}`) },
		"a redirect":             func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, 307) },
		"compressed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			io.WriteString(w, "\x0b\x02")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOracle(t)
			o.answer = answer
			p := o.providers(nil)
			if err := p.Introspect(t.Context(), o.URL, "opaque"); sallyport.KindOf(err) != sallyport.Unavailable || strings.Contains(err.Error(), "opaque") {
				t.Errorf("got %v, want unavailable", err)
			}
			if claims, known := p.Answer(o.URL, "opaque"); known || claims != nil {
				t.Errorf("it is held: %s", claims)
			}
			if s := p.Status()[0]; !strings.HasPrefix(s.Error, "introspection: ") {
				t.Errorf("status does not tell: %+v", s)
			}
			// After three failures the next does not wait for another.
			var crowd sync.WaitGroup
			for _, token := range []string{"a", "b"} {
				crowd.Go(func() { p.Introspect(t.Context(), o.URL, token) })
			}
			crowd.Wait()
			before := o.asked.Load()
			if err := p.Introspect(t.Context(), o.URL, "another"); sallyport.KindOf(err) != sallyport.Unavailable || o.asked.Load() > before {
				t.Errorf("after failures: %v, asked %d times, then %d", err, before, o.asked.Load())
			}
		})
	}
}

func hang(r *http.Request, over chan struct{}) {
	select {
	case <-r.Context().Done():
	case <-over:
	}
}

// TestAnswersHoldForTheirTime: one question for all who ask at once, none while
// the answer holds, none at all to who is not configured.
func TestAnswersHoldForTheirTime(t *testing.T) {
	o, c := newOracle(t), newClock()
	var gate sync.WaitGroup
	gate.Add(1)
	var revoked atomic.Bool
	o.answer = func(w http.ResponseWriter, r *http.Request) {
		gate.Wait()
		switch token := r.FormValue("token"); {
		case token == "stumble":
			w.WriteHeader(400)
			io.WriteString(w, `{"error":"invalid_request"}`)
		case token == "made up" || revoked.Load():
			io.WriteString(w, `{"active":false}`)
		case token == "short":
			fmt.Fprintf(w, `{"active":true,"sub":"a","exp":%d}`, c.now().Unix()+10)
		case token == "over":
			fmt.Fprintf(w, `{"active":true,"sub":"a","exp":%d}`, c.now().Unix()-1)
		default:
			io.WriteString(w, `{"active":true,"sub":"a"}`)
		}
	}
	p := o.providers(c)
	var crowd sync.WaitGroup
	for range 50 {
		crowd.Go(func() {
			if err := p.Introspect(t.Context(), o.URL, "long"); err != nil {
				t.Error(err)
			}
		})
	}
	gate.Done()
	crowd.Wait()
	if n := o.asked.Load(); n != 1 {
		t.Errorf("50 at once led to %d questions", n)
	}
	state := func(token string) string {
		claims, known := p.Answer(o.URL, token)
		return fmt.Sprint(known, claims != nil)
	}
	for _, token := range []string{"short", "over", "made up", "stumble"} {
		if err := p.Introspect(t.Context(), o.URL, token); err != nil {
			t.Error(err)
		}
	}
	revoked.Store(true)
	for _, x := range []struct {
		after time.Duration
		want  map[string]string
	}{
		{0, map[string]string{"long": "true true", "short": "true true", "over": "true false", "made up": "true false", "stumble": "true false", "never asked": "false false"}},
		{9 * time.Second, map[string]string{"long": "true true", "short": "true true", "made up": "true false"}},
		{time.Second, map[string]string{"long": "true true", "short": "false false"}},
		{20 * time.Second, map[string]string{"long": "false false", "made up": "false false"}},
	} {
		c.forth(x.after)
		for token, want := range x.want {
			if got := state(token); got != want {
				t.Errorf("%s later, %s: known and active %s, want %s", x.after, token, got, want)
			}
		}
	}
	if err := p.Introspect(t.Context(), o.URL, "long"); err != nil || state("long") != "true false" {
		t.Errorf("revoked, after its time: %v %s", err, state("long"))
	}
	asked := o.asked.Load()
	for _, iss := range []string{"https://evil.example.test", "", o.URL + "/"} {
		if err := p.Introspect(t.Context(), iss, "long"); sallyport.KindOf(err) != sallyport.NotFound {
			t.Errorf("%s: got %v, want not found", iss, err)
		}
	}
	plain := &identity.Providers{Issuers: []string{o.URL}}
	if err := plain.Introspect(t.Context(), o.URL, "long"); sallyport.KindOf(err) != sallyport.NotFound || o.asked.Load() != asked {
		t.Errorf("an issuer that is configured for its keys only: %v", err)
	}
	for i := range 9000 { // what is held is bounded
		if err := p.Introspect(t.Context(), o.URL, fmt.Sprint("flood", i)); err != nil {
			t.Fatal(err)
		}
	}
	held := 0
	for i := range 9000 {
		if _, known := p.Answer(o.URL, fmt.Sprint("flood", i)); known {
			held++
		}
	}
	if held > 8192 || held < 4000 {
		t.Errorf("%d of 9000 answers are held, want at most 8192", held)
	}
}

// door is what a gateway and the guard do with an opaque token between them.
func door(ctx context.Context, p *identity.Providers, v *authn.Verifier, token string) (id *authn.Identity, rule string) {
	var s authn.Scratch
	if !v.Opaque(token) {
		return nil, verified(ctx, p, v, token)
	}
	id, rule = v.Introspected(token, &s, p.Now())
	if rule == authn.RuleUnasked {
		_ = p.Introspect(ctx, v.OpaqueIssuer(), token)
		id, rule = v.Introspected(token, &s, p.Now())
	}
	return id, rule
}

// TestRevokedUnderTraffic asks a real provider about real tokens, and revokes
// one while requests with it go on: once the answer's time is over, not one passes.
func TestRevokedUnderTraffic(t *testing.T) {
	op := oidcprovider.Start(t)
	client, secret := op.Client()
	c := &clock{}
	c.ns.Store(time.Now().UnixNano())
	p := &identity.Providers{Issuers: []string{op.Issuer}, Now: c.now,
		Introspection: []identity.Introspection{{Issuer: op.Issuer, ClientID: client, Secret: secret, Cache: 30 * time.Second}}}
	const audience = resource + "/opaque"
	demand := policy.OIDC{Issuer: op.Issuer, Audience: audience, Introspection: policy.Introspection{ClientID: client, Secret: "env:X"}}
	v := must(authn.New(policy.Auth{OIDC: []policy.OIDC{demand}}, p, nil, nil))
	token, kept := op.Token(t, audience, "orders:read"), op.Token(t, audience, "orders:write")
	if strings.Count(token, ".") == 2 {
		t.Fatal("the provider's token is not opaque")
	}
	for _, x := range []struct {
		name, token, scope, rule string
	}{
		{"active", token, "orders:read", ""},
		{"another, active", kept, "orders:write", ""},
		{"longer by one", token + "A", "", authn.RuleInactive},
		{"made up", "made-up", "", authn.RuleInactive},
		{"for another audience", op.Token(t, resource+"/opaque?x", "orders:read"), "", authn.RuleAudience},
	} {
		for range 2 {
			id, rule := door(t.Context(), p, v, x.token)
			if rule != x.rule || rule == "" && (!id.Has([]string{x.scope}) || id.Principal.Client != client || id.Principal.Issuer != op.Issuer) {
				t.Errorf("%s: got %+v %q, want %q", x.name, id, rule, x.rule)
			}
		}
	}
	asked := op.Requests(t)["/token/introspection"]
	ctx, stop := context.WithCancel(t.Context())
	var traffic sync.WaitGroup
	var passed, refused, late atomic.Int64
	var over atomic.Bool
	for range 4 {
		traffic.Go(func() {
			for ctx.Err() == nil {
				after := over.Load()
				if _, rule := door(ctx, p, v, token); rule == "" {
					if passed.Add(1); after {
						late.Add(1)
					}
				} else if ctx.Err() == nil {
					refused.Add(1)
				}
				if _, rule := door(ctx, p, v, kept); rule != "" && ctx.Err() == nil {
					t.Errorf("the other token: refused by %s", rule)
					return
				}
				time.Sleep(200 * time.Microsecond)
			}
		})
	}
	for passed.Load() < 200 {
		time.Sleep(time.Millisecond)
	}
	op.Revoke(t, token)
	for n := passed.Load(); passed.Load() < n+200; {
		time.Sleep(time.Millisecond)
	}
	c.forth(30 * time.Second)
	over.Store(true)
	for refused.Load() < 200 {
		time.Sleep(time.Millisecond)
	}
	stop()
	traffic.Wait()
	n := op.Requests(t)["/token/introspection"] - asked
	t.Logf("%d passed, %d refused, %d after the answer's time; %d questions", passed.Load(), refused.Load(), late.Load(), n)
	if late.Load() > 0 || n > 4 {
		t.Errorf("%d passed after the answer's time; %d questions, want one for each token and time", late.Load(), n)
	}
	op.Stop()
	c.forth(time.Minute)
	if _, rule := door(t.Context(), p, v, kept); rule != authn.RuleUnasked {
		t.Errorf("with the provider down: %q, want %q", rule, authn.RuleUnasked)
	}
}

// said is an issuer's answer in memory.
type said struct{ text []byte }

func (s said) Key(string, string, string) (any, bool)    { return nil, false }
func (s said) Answer(string, string) (c []byte, ok bool) { return s.text, true }

// TestAnswersAreReadAsTokensAre: what an issuer says about a token must fit what
// is demanded of its tokens.
func TestAnswersAreReadAsTokensAre(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	const issuer = "https://idp.example.test"
	demand := policy.OIDC{Issuer: issuer, Audience: "items", Introspection: policy.Introspection{ClientID: "door", Secret: "x"}}
	loose, clients := demand, demand
	loose.Introspection.AnyAudience, clients.Clients = true, []string{"app"}
	for _, x := range []struct {
		name, answer string
		demand       policy.OIDC
		rule         string
	}{
		{"whole", `{"active":true,"iss":"https://idp.example.test","sub":"alice","aud":["items"],"scope":"a b","client_id":"app","exp":1800000100,"iat":1799999999}`, clients, ""},
		{"little", `{"active":true,"client_id":"app","aud":"items"}`, demand, ""},
		{"no audience", `{"active":true,"sub":"alice"}`, demand, authn.RuleAudience},
		{"no audience, allowed", `{"active":true,"sub":"alice"}`, loose, ""},
		{"another audience, none demanded", `{"active":true,"sub":"alice","aud":"invoices"}`, loose, authn.RuleAudience},
		{"another issuer", `{"active":true,"iss":"https://evil.example.test","sub":"alice","aud":"items"}`, demand, authn.RuleIssuer},
		{"nobody", `{"active":true,"aud":"items"}`, demand, authn.RuleClaims},
		{"over", `{"active":true,"sub":"alice","aud":"items","exp":1799999000}`, demand, authn.RuleExpired},
		{"not yet", `{"active":true,"sub":"alice","aud":"items","nbf":1800009000}`, demand, authn.RuleNotYet},
		{"another client", `{"active":true,"sub":"alice","aud":"items","client_id":"evil"}`, clients, authn.RuleClient},
		{"a subject that is none", `{"active":true,"sub":7,"aud":"items"}`, demand, authn.RuleClaims},
		{"bound in an unknown way", `{"active":true,"sub":"alice","aud":"items","cnf":{"x":1}}`, demand, authn.RuleBound},
		{"not active", ``, demand, authn.RuleInactive},
	} {
		v := must(authn.New(policy.Auth{OIDC: []policy.OIDC{x.demand}}, said{[]byte(x.answer)}, nil, nil))
		var s authn.Scratch
		for range 2 { // read, remembered
			id, rule := v.Introspected("opaque-token", &s, now)
			if rule != x.rule || rule == "" && id.Principal.Issuer != issuer {
				t.Errorf("%s: got %+v %q, want %q", x.name, id, rule, x.rule)
			}
		}
		if _, _, found := v.Cached("opaque-token", now); found {
			t.Errorf("%s: found as a token that speaks for itself", x.name)
		}
	}
	v := must(authn.New(policy.Auth{OIDC: []policy.OIDC{demand}}, said{[]byte(`{"active":true,"sub":"alice","aud":"items"}`)}, nil, nil))
	var s authn.Scratch
	for token, rule := range map[string]string{"a b": authn.RuleMalformed, "a\nb": authn.RuleMalformed, "": authn.RuleMalformed, "ü": authn.RuleMalformed, strings.Repeat("x", 9000): authn.RuleTooLong, "~x+/.=": ""} {
		if _, got := v.Introspected(token, &s, now); got != rule {
			t.Errorf("token %.20q: got %q, want %q", token, got, rule)
		}
	}
}

// FuzzAnswer reads whatever an issuer may say.
func FuzzAnswer(f *testing.F) {
	f.Add(`{"active":true,"sub":"alice","aud":"items","exp":1800000000}`)
	f.Add(`{"active":true,"sub":"alice","aud":"items","act":{"sub":"x"},"cnf":{"jkt":"x"}}`)
	f.Add(`{"active":false}`)
	f.Add(`{"active":true,"exp":-1}`)
	f.Fuzz(func(t *testing.T, text string) {
		const issuer = "https://idp.example.test"
		p := &identity.Providers{Issuers: []string{issuer}, Client: &http.Client{Transport: canned(text)},
			Introspection: []identity.Introspection{{Issuer: issuer, URL: issuer + "/introspect", ClientID: "x", Secret: "y"}}}
		if p.Introspect(t.Context(), issuer, "opaque") != nil {
			if _, known := p.Answer(issuer, "opaque"); known {
				t.Fatalf("refused, and held: %q", text)
			}
			return
		}
		v := must(authn.New(policy.Auth{OIDC: []policy.OIDC{{Issuer: issuer, Audience: "items", Introspection: policy.Introspection{ClientID: "x"}}}}, p, nil, nil))
		var s authn.Scratch
		if id, rule := v.Introspected("opaque", &s, time.Now()); rule == "" && (id.Principal.Subject == "" || !strings.Contains(text, "true")) {
			t.Fatalf("accepted as %+v: %q", id, text)
		}
	})
}

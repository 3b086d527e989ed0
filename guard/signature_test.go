package guard_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"testing"

	sallyport "sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
)

// TestSignedRequests: the whole body is there before anything is decided about who
// calls, and a caller is who its signature says.
func TestSignedRequests(t *testing.T) {
	const secret = "the shared secret of the sender"
	sign := func(parts ...string) string {
		m := hmac.New(sha256.New, []byte(secret))
		for _, p := range parts {
			m.Write([]byte(p))
		}
		return hex.EncodeToString(m.Sum(nil))
	}
	build := func(mode sallyport.Mode) *guard.Program {
		c := config(mode)
		c.APIs[0].Policy.Auth.Signatures = []policy.Signature{
			{ID: "shop", Style: policy.GitHub, Keys: []string{secret}, Scopes: []string{"items:write"}},
			{ID: "pay", Style: policy.Stripe, Keys: []string{secret}, Scopes: []string{"items:write"}, Once: true},
			{ID: "poor", Style: policy.HMAC, Header: "X-Poor", Keys: []string{secret}},
		}
		c.APIs[0].Policy.Rules = []policy.Rule{{Name: "signed", Require: `principal.kind == "signature" && principal.subject in ["shop", "pay", "poor"]`}}
		c.APIs[0].Policy.Bounds.Body = 4 << 10
		return compile(t, c)
	}
	p := build(sallyport.Enforce)
	good := string(item(1, ""))
	stamp := strconv.FormatInt(now.Unix(), 10)
	for _, c := range []struct {
		name, header, value, body, bearer string
		length                            int
		status                            int
		rule, subject                     string
	}{
		{"genuine", "X-Hub-Signature-256", "sha256=" + sign(good), good, "", 0, 0, "", "shop"},
		{"chunked", "X-Hub-Signature-256", "sha256=" + sign(good), good, "", -1, 0, "", "shop"},
		{"another body", "X-Hub-Signature-256", "sha256=" + sign(good+" "), good, "", 0, 401, "signature.wrong", ""},
		{"too long", "X-Hub-Signature-256", "sha256=" + sign(strings.Repeat(" ", 5<<10)), strings.Repeat(" ", 5<<10), "", 0, 401, "signature.body", ""},
		{"too long, chunked", "X-Hub-Signature-256", "sha256=" + sign(strings.Repeat(" ", 5<<10)), strings.Repeat(" ", 5<<10), "", -1, 401, "signature.body", ""},
		{"genuine, and an attack", "X-Hub-Signature-256", "sha256=" + sign(`{"sku":"' OR '1'='1"}`), `{"sku":"' OR '1'='1"}`, "", 0, 400, "", "shop"},
		{"with a time", "Stripe-Signature", "t=" + stamp + ",v1=" + sign(stamp, ".", good), good, "", 0, 0, "", "pay"},
		{"the same again", "Stripe-Signature", "t=" + stamp + ",v1=" + sign(stamp, ".", good), good, "", 0, 401, "signature.replayed", ""},
		{"a token decides", "X-Hub-Signature-256", "sha256=" + sign(good), good, token("alice", "items:write"), 0, 403, "rule.signed", "alice"},
		{"a bad token decides", "X-Hub-Signature-256", "sha256=" + sign(good), good, "a.b.c", 0, 401, "token.malformed", ""},
		{"no signature", "X-Else", "1", good, "", 0, 401, "credentials.missing", ""},
	} {
		r := request("POST", "/v1/items", c.bearer, len(c.body))
		if c.length != 0 {
			r.ContentLength = int64(c.length)
		}
		r.Header[c.header] = []string{c.value}
		body := []byte(c.body)
		x, refusal := exchange(p, r, body[:min(len(body), 4<<10+1)], answer)
		status := 0
		if refusal != nil {
			status = refusal.Status
		}
		if status != c.status || c.rule != "" && x.Decision.Reasons[0].Rule != c.rule || x.Principal.Subject != c.subject {
			t.Errorf("%s: %d %+v for %v, want %d %s for %q", c.name, status, x.Decision, x.Principal, c.status, c.rule, c.subject)
		}
		if strings.Contains(strings.Join(x.Decision.NotInspected, ""), "body") && c.status == 0 {
			t.Errorf("%s: not inspected: %v", c.name, x.Decision.NotInspected)
		}
	}
	// Observed, a wrong signature is recorded, passes, and proves nobody.
	r := request("POST", "/v1/items", "", len(good))
	r.Header["X-Hub-Signature-256"] = []string{"sha256=" + sign("else")}
	x, refusal := exchange(build(sallyport.Observe), r, []byte(good), answer)
	if refusal != nil || !x.Principal.Anonymous() || x.Decision.Reasons[0].Rule != "signature.wrong" || x.Decision.Reasons[0].Place.Name != "X-Hub-Signature-256" {
		t.Errorf("observed: %+v %v", x.Decision, x.Principal)
	}
	r = request("GET", "/v1/items/7", "", 0)
	r.Header["X-Poor"] = []string{sign()}
	if x, refusal := exchange(p, r, nil, answer); refusal == nil || refusal.Status != 403 || x.Decision.Reasons[0].Rule != "scope.missing" || x.Principal.Subject != "poor" {
		t.Errorf("no right to it: %+v", x.Decision)
	}
	// Nothing but the body is asked for before the signature holds.
	r = request("POST", "/v1/items", "", len(good))
	r.Header["X-Hub-Signature-256"] = []string{"sha256=" + sign(good)}
	s, step := p.Begin(r, now)
	if step.Verb != guard.Proceed || step.Body != guard.BodyWhole || step.BodyLimit != 4<<10 || !s.Principal().Anonymous() {
		t.Errorf("at first: %+v for %v", step, s.Principal())
	}
	if step = s.RequestBody([]byte(good), now); step.Verb != guard.Proceed || step.Body != guard.BodyNone || s.Principal().Subject != "shop" {
		t.Errorf("then: %+v for %v", step, s.Principal())
	}
	s.End(guard.Outcome{}, now)
	// Guessing is bounded per client.
	for i := range 25 {
		r := request("POST", "/v1/items", "", len(good))
		r.Header["X-Hub-Signature-256"] = []string{"sha256=" + sign("guess", strconv.Itoa(i))}
		r.Client = r.Client.Next()
		if _, refusal := exchange(p, r, []byte(good), answer); refusal == nil || (refusal.Status == 429) != (i >= 20) {
			t.Errorf("guess %d: %+v", i, refusal)
		}
	}
}

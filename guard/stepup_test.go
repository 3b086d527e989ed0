package guard_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
)

// signed is a token of the issuer with more claims.
func signed(more map[string]any) string {
	claims := map[string]any{"iss": issuer, "sub": "alice", "aud": audience, "scope": "items:read items:write", "exp": now.Unix() + 3600, "client_id": "shop"}
	maps.Copy(claims, more)
	part := func(v any) string { return base64.RawURLEncoding.EncodeToString(must(json.Marshal(v))) }
	text := part(map[string]any{"alg": "EdDSA", "kid": "k1"}) + "." + part(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(edPrivate, []byte(text)))
}

func challenge(r *guard.Refusal) (all []string) {
	for _, h := range r.Header {
		if h[0] == "Www-Authenticate" {
			all = append(all, h[1])
		}
	}
	return all
}

// TestStepUp: an operation may ask how and how lately the user signed in
// (RFC 9470); the answer says what to ask the issuer for.
func TestStepUp(t *testing.T) {
	c := config(sallyport.Enforce)
	c.APIs[0].Policy.Auth.Keys = []policy.Key{{ID: "batch", Hash: "sha256:2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683", Scopes: []string{"items:read"}}} // of "key"
	c.APIs[0].Policy.Operations = []policy.OperationDemand{{Operation: "getItem", ACR: []string{"urn:mfa", "urn:hardware"}, MaxAge: 5 * time.Minute}}
	p := compile(t, c)
	const want = `Bearer realm="items", error="insufficient_user_authentication", acr_values="urn:mfa urn:hardware", max_age="300"`
	at := func(ago time.Duration) int64 { return now.Add(-ago).Unix() }
	for _, x := range []struct {
		name   string
		claims map[string]any
		rule   string
	}{
		{"strong and fresh", map[string]any{"acr": "urn:mfa", "auth_time": at(4 * time.Minute)}, ""},
		{"the other way, at the bound", map[string]any{"acr": "urn:hardware", "auth_time": at(5 * time.Minute)}, ""},
		{"weak", map[string]any{"acr": "urn:password", "auth_time": at(0)}, "acr.insufficient"},
		{"acr a prefix", map[string]any{"acr": "urn:mf", "auth_time": at(0)}, "acr.insufficient"},
		{"acr a list in one text", map[string]any{"acr": "urn:mfa urn:hardware", "auth_time": at(0)}, "acr.insufficient"},
		{"no acr", map[string]any{"auth_time": at(0)}, "acr.insufficient"},
		{"strong and stale", map[string]any{"acr": "urn:mfa", "auth_time": at(5*time.Minute + time.Second)}, "auth-time.too-old"},
		{"nobody says when", map[string]any{"acr": "urn:mfa"}, "auth-time.too-old"},
		{"signed in tomorrow", map[string]any{"acr": "urn:mfa", "auth_time": at(-24 * time.Hour)}, "auth-time.too-old"},
	} {
		for range 2 {
			s, step := p.Begin(request("GET", "/v1/items/7", signed(x.claims), 0), now)
			record := s.End(guard.Outcome{}, now)
			switch {
			case x.rule == "" && step.Verb != guard.Proceed:
				t.Errorf("%s: refused: %+v", x.name, record.Decision)
			case x.rule == "":
			case step.Verb != guard.Refuse || step.Refusal.Status != 401 || record.Decision.Reasons[0].Rule != x.rule:
				t.Errorf("%s: got %+v, want 401 by %s", x.name, record.Decision, x.rule)
			default:
				if got := challenge(step.Refusal); len(got) != 1 || got[0] != want {
					t.Errorf("%s: challenge %q\nwant %q", x.name, got, want)
				}
			}
			if record.Principal.Subject != "alice" {
				t.Errorf("%s: recorded for %v", x.name, record.Principal)
			}
		}
	}
	// An API key shows no sign-in at all; another operation asks for none.
	r := request("GET", "/v1/items/7", "", 0)
	r.Header["X-Api-Key"] = []string{"key"}
	s, step := p.Begin(r, now)
	if s.End(guard.Outcome{}, now); step.Verb != guard.Refuse || !strings.Contains(challenge(step.Refusal)[0], "insufficient_user_authentication") {
		t.Errorf("an API key where a sign-in is asked for: %+v", step)
	}
	s, step = p.Begin(request("GET", "/v1/items", signed(nil), 0), now)
	if x := s.End(guard.Outcome{}, now); step.Verb == guard.Refuse && step.Refusal.Status == 401 {
		t.Errorf("an operation that asks for no sign-in: %+v", x.Decision)
	}
}

// TestActorIsRecorded: who acts stands in the record, beside whom it is for.
func TestActorIsRecorded(t *testing.T) {
	p := compile(t, config(sallyport.Enforce))
	s, step := p.Begin(request("GET", getTarget, signed(map[string]any{"act": map[string]any{"sub": "svc-desk"}}), 0), now)
	if step.Verb != guard.Proceed {
		t.Fatalf("refused: %+v", step.Refusal)
	}
	if x := s.End(guard.Outcome{}, now); x.Principal.Actor != "svc-desk" || x.Principal.Subject != "alice" {
		t.Errorf("recorded for %+v", x.Principal)
	}
}

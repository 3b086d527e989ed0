package authn_test

import (
	"crypto"
	"testing"

	"sallyport.dev/guard/authn"
	"sallyport.dev/policy"
)

// TestIssuersDemands asks what one issuer's tokens must say beyond what all must.
func TestIssuersDemands(t *testing.T) {
	signRS := rs(keys.rsa, crypto.SHA256)
	at := header("typ", "at+jwt")
	full := with(good(), "client_id", "app", "jti", "j-1")
	strict := policy.OIDC{Issuer: issuer, Audience: audience, Profile: policy.RFC9068}
	clients := policy.OIDC{Issuer: issuer, Audience: audience, Clients: []string{"app", "desk"}}
	plain := policy.OIDC{Issuer: issuer, Audience: audience}
	for _, c := range []struct {
		name   string
		demand policy.OIDC
		token  string
		rule   string
	}{
		{"RFC 9068 to the letter", strict, sign(at, full, signRS), ""},
		{"its other media type", strict, sign(header("typ", "application/at+jwt"), full, signRS), ""},
		{"typ JWT", strict, sign(header(), full, signRS), authn.RuleType},
		{"no typ", strict, sign(header("typ", nil), full, signRS), authn.RuleType},
		{"no jti", strict, sign(at, with(full, "jti", nil), signRS), authn.RuleProfile},
		{"no iat", strict, sign(at, with(full, "iat", nil), signRS), authn.RuleProfile},
		{"no sub", strict, sign(at, with(full, "sub", nil), signRS), authn.RuleProfile},
		{"no client_id", strict, sign(at, with(full, "client_id", nil), signRS), authn.RuleProfile},
		{"azp in the place of client_id", strict, sign(at, with(full, "client_id", nil, "azp", "app"), signRS), authn.RuleProfile},
		{"jti a number", strict, sign(at, with(full, "jti", 7), signRS), authn.RuleClaims},
		{"an ID token where nobody is strict", plain, sign(header(), with(good(), "azp", "app", "nonce", "n"), signRS), ""},

		{"an allowed client_id", clients, sign(header(), full, signRS), ""},
		{"an allowed azp", clients, sign(header(), with(good(), "azp", "desk"), signRS), ""},
		{"both, allowed", clients, sign(header(), with(full, "azp", "desk"), signRS), ""},
		{"another client_id", clients, sign(header(), with(full, "client_id", "evil"), signRS), authn.RuleClient},
		{"another azp", clients, sign(header(), with(good(), "azp", "evil"), signRS), authn.RuleClient},
		{"an allowed client_id beside another azp", clients, sign(header(), with(full, "azp", "evil"), signRS), authn.RuleClient},
		{"no client at all", clients, sign(header(), good(), signRS), authn.RuleClient},
		{"a client by another case", clients, sign(header(), with(full, "client_id", "App"), signRS), authn.RuleClient},
		{"client_id a list", clients, sign(header(), with(full, "client_id", []string{"app"}), signRS), authn.RuleClaims},

		{"auth_time a string", plain, sign(header(), with(good(), "auth_time", "1800000000"), signRS), authn.RuleClaims},
		{"acr a list", plain, sign(header(), with(good(), "acr", []string{"mfa"}), signRS), authn.RuleClaims},
		{"act a string", plain, sign(header(), with(good(), "act", "admin"), signRS), authn.RuleClaims},
		{"act without anybody", plain, sign(header(), with(good(), "act", object{"x": 1}), signRS), authn.RuleClaims},
		{"act's sub a number", plain, sign(header(), with(good(), "act", object{"sub": 1}), signRS), authn.RuleClaims},
		{"act nested without end", plain, sign(header(), with(good(), "act", nested(12)), signRS), authn.RuleMalformed},
	} {
		v := must(authn.New(policy.Auth{OIDC: []policy.OIDC{c.demand}}, keys, nil, nil))
		for range 2 { // verified, cached
			if _, rule := present(v, c.token, now); rule != c.rule {
				t.Errorf("%s: got %q, want %q", c.name, rule, c.rule)
			}
		}
		if authn.Describe(c.rule) == "" && c.rule != "" {
			t.Errorf("rule %s has no words for people", c.rule)
		}
	}
}

func nested(n int) object {
	if n == 0 {
		return object{"sub": "first"}
	}
	return object{"sub": "x", "act": nested(n - 1)}
}

// TestActorIsNotTheSubject: a service that acts for a user is recorded beside
// the user; scopes, limits and names stay the user's.
func TestActorIsNotTheSubject(t *testing.T) {
	v := verifier(t, nil)
	for _, c := range []struct {
		act   object
		actor string
	}{
		{object{"sub": "svc-desk"}, "svc-desk"},
		{object{"client_id": "desk"}, "desk"},
		{object{"iss": "https://other", "sub": "svc"}, "https://other#svc"},
		{object{"sub": "svc-desk", "act": object{"sub": "admin"}}, "svc-desk"},
	} {
		id, rule := present(v, sign(header(), with(good(), "act", c.act), rs(keys.rsa, crypto.SHA256)), now)
		if rule != "" {
			t.Fatalf("%v: refused by %s", c.act, rule)
		}
		if p := id.Principal; p.Actor != c.actor || p.Subject != "U-8412" || id.Name != "oidc:"+issuer+"#U-8412" {
			t.Errorf("%v: got %+v, named %s", c.act, p, id.Name)
		}
	}
}

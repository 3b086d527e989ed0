package signed_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/guard/signed"
	"sallyport.dev/policy"
)

var at = time.Unix(1_900_000_000, 0)

func mac(key string, parts ...string) []byte {
	m := hmac.New(sha256.New, []byte(key))
	for _, p := range parts {
		m.Write([]byte(p))
	}
	return m.Sum(nil)
}

// TestWebhooks: each style's genuine call passes, whatever bytes its body has, and
// its look-alikes do not.
func TestWebhooks(t *testing.T) {
	const key, before, body = "the shared secret of the sender", "the secret of before the rotation", "{\"a\": 1,\r\n \"b\":\x00\xff}"
	keys := []string{key, before}
	v := verifier(t,
		policy.Signature{ID: "github", Style: policy.GitHub, Keys: keys},
		policy.Signature{ID: "stripe", Style: policy.Stripe, Keys: keys},
		policy.Signature{ID: "slack", Style: policy.Slack, Keys: keys},
		policy.Signature{ID: "shopify", Style: policy.Shopify, Keys: keys, Once: true},
		policy.Signature{ID: "own", Style: policy.HMAC, Keys: keys, Header: "X-Own-Sig", Prefix: "v1,", Encoding: policy.Base64, TimestampHeader: "x-own-time", Text: "{timestamp}|{body}|end"})
	x := func(b []byte) string { return hex.EncodeToString(b) }
	b64 := base64.StdEncoding.EncodeToString
	now, old, soon := "1900000000", "1899999699", "1900000061"
	for _, c := range []struct {
		name   string
		header http.Header
		rule   string
		signer int
	}{
		{"GitHub", http.Header{"X-Hub-Signature-256": {"sha256=" + x(mac(key, body))}}, "", 0},
		{"GitHub, the older key", http.Header{"X-Hub-Signature-256": {"sha256=" + x(mac(before, body))}}, "", 0},
		{"GitHub, upper case", http.Header{"X-Hub-Signature-256": {"sha256=" + strings.ToUpper(x(mac(key, body)))}}, "", 0},
		{"GitHub, another key", http.Header{"X-Hub-Signature-256": {"sha256=" + x(mac("another key that is as long", body))}}, signed.RuleWrong, 0},
		{"GitHub, another body", http.Header{"X-Hub-Signature-256": {"sha256=" + x(mac(key, body+" "))}}, signed.RuleWrong, 0},
		{"GitHub, without prefix", http.Header{"X-Hub-Signature-256": {x(mac(key, body))}}, signed.RuleMalformed, 0},
		{"GitHub, SHA-1's prefix", http.Header{"X-Hub-Signature-256": {"sha1=" + x(mac(key, body))}}, signed.RuleMalformed, 0},
		{"GitHub, cut off", http.Header{"X-Hub-Signature-256": {"sha256=" + x(mac(key, body))[:62]}}, signed.RuleMalformed, 0},
		{"GitHub, empty", http.Header{"X-Hub-Signature-256": {""}}, signed.RuleMalformed, 0},
		{"GitHub, twice", http.Header{"X-Hub-Signature-256": {"sha256=" + x(mac(key, body)), "sha256=00"}}, signed.RuleMalformed, 0},
		{"Stripe", http.Header{"Stripe-Signature": {"t=" + now + ",v1=" + x(mac(key, now, ".", body))}}, "", 1},
		{"Stripe, while keys rotate", http.Header{"Stripe-Signature": {"t=" + now + ",v1=" + x(mac("a key to come, of its length", now, ".", body)) + ",v1=" + x(mac(before, now, ".", body)) + ",v0=00"}}, "", 1},
		{"Stripe, old", http.Header{"Stripe-Signature": {"t=" + old + ",v1=" + x(mac(key, old, ".", body))}}, signed.RuleTime, 0},
		{"Stripe, from the future", http.Header{"Stripe-Signature": {"t=" + soon + ",v1=" + x(mac(key, soon, ".", body))}}, signed.RuleTime, 0},
		{"Stripe, another time", http.Header{"Stripe-Signature": {"t=1899999999,v1=" + x(mac(key, now, ".", body))}}, signed.RuleWrong, 0},
		{"Stripe, two times", http.Header{"Stripe-Signature": {"t=" + old + ",t=" + now + ",v1=" + x(mac(key, old, ".", body))}}, signed.RuleMalformed, 0},
		{"Stripe, v0 only", http.Header{"Stripe-Signature": {"t=" + now + ",v0=" + x(mac(key, now, ".", body))}}, signed.RuleMalformed, 0},
		{"Stripe, a thousand signatures", http.Header{"Stripe-Signature": {"t=" + now + strings.Repeat(",v1=00", 1000)}}, signed.RuleMalformed, 0},
		{"Slack", http.Header{"X-Slack-Signature": {"v0=" + x(mac(key, "v0:", now, ":", body))}, "X-Slack-Request-Timestamp": {now}}, "", 2},
		{"Slack, no time", http.Header{"X-Slack-Signature": {"v0=" + x(mac(key, "v0::", body))}}, signed.RuleTime, 0},
		{"Slack, a time of letters", http.Header{"X-Slack-Signature": {"v0=" + x(mac(key, "v0:+1900000000:", body))}, "X-Slack-Request-Timestamp": {"+1900000000"}}, signed.RuleTime, 0},
		{"Shopify", http.Header{"X-Shopify-Hmac-Sha256": {b64(mac(key, body))}}, "", 3},
		{"Shopify, trailing bits", http.Header{"X-Shopify-Hmac-Sha256": {strings.TrimRight(b64(mac(key, body)), "=") + "A="}}, signed.RuleMalformed, 0},
		{"a style of one's own", http.Header{"X-Own-Sig": {"v1," + b64(mac(key, now, "|", body, "|end"))}, "X-Own-Time": {now}}, "", 4},
		{"a style of one's own, shifted", http.Header{"X-Own-Sig": {"v1," + b64(mac(key, now, "|", body))}, "X-Own-Time": {now}}, signed.RuleWrong, 0},
	} {
		m := &signed.Message{Method: "POST", Scheme: "https", Host: "hooks.example.test", Path: "/", Header: c.header, Body: []byte(body), Whole: true, Length: int64(len(body))}
		p, rule := v.Verify(m, at)
		if rule != c.rule || rule == "" && p.Signer != c.signer {
			t.Errorf("%s: %q by %d, want %q by %d", c.name, rule, p.Signer, c.rule, c.signer)
		}
		if rule == "" && (p.Unique != "") != (c.signer == 3) {
			t.Errorf("%s: told apart by %q", c.name, p.Unique)
		}
		m.Whole = false
		if _, rule := v.Verify(m, at); rule != signed.RuleBody {
			t.Errorf("%s, cut off: %q", c.name, rule)
		}
	}
}

// TestMessageSignatures: what is demanded of a signature besides that it verifies.
func TestMessageSignatures(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	v := verifier(t, policy.Signature{ID: "partner", Keys: []string{key}},
		policy.Signature{ID: "once", Keys: []string{key}, Once: true}, policy.Signature{ID: "tagged", Keys: []string{key}, Tag: "orders"},
		policy.Signature{ID: "more", Keys: []string{key}, Components: []string{"@method", "@path", "content-type", "x-tenant"}})
	values := map[string]string{
		`"@method"`: "POST", `"@target-uri"`: "https://api.example.test:8443/orders?a=1", `"@authority"`: "api.example.test:8443", `"@path"`: "/orders", `"@query"`: "?a=1", `"@scheme"`: "https",
		`"@request-target"`: "/orders?a=1", `"content-type"`: "application/json", `"content-length"`: "7", `"x-tenant"`: "a, b", `"x-tenant";bs`: ":YQ==:, :Yg==:", `"host"`: "API.example.test:8443",
		`"@query-param";name="a"`: "1", `"content-digest"`: "sha-256=:" + base64.StdEncoding.EncodeToString(sum([]byte(`{"a":1}`))) + ":",
	}
	sign := func(covered, params string) (input, signature string) {
		var base strings.Builder
		for _, c := range strings.Fields(covered) {
			fmt.Fprintf(&base, "%s: %s\n", c, values[c])
		}
		input = "(" + covered + ")" + params
		base.WriteString(`"@signature-params": ` + input)
		return "s=" + input, "s=:" + base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(base.String()))) + ":"
	}
	const all, good = `"@method" "@target-uri" "content-digest"`, `;created=1899999990;keyid="partner"`
	for _, c := range []struct{ name, covered, params, rule string }{
		{"genuine", all, good, ""},
		{"in parts", `"@method" "@authority" "@path" "@query" "content-digest"`, good, ""},
		{"everything that there is", `"@method" "@target-uri" "@authority" "@path" "@query" "@scheme" "@request-target" "content-type" "content-length" "x-tenant" "host" "@query-param";name="a" "content-digest"`, good, ""},
		{"bytes", all + ` "x-tenant";bs`, good, ""},
		{"names its algorithm", all, good + `;alg="ed25519"`, ""},
		{"expires later", all, good + `;expires=1900000001`, ""},
		{"what more asks for", `"@method" "@path" "content-type" "x-tenant" "content-digest"`, `;created=1900000000;keyid="more"`, ""},
		{"one thing less", `"@method" "@path" "content-type" "content-digest"`, `;created=1900000000;keyid="more"`, signed.RuleCovers},
		{"no digest", `"@method" "@target-uri"`, good, signed.RuleCovers},
		{"no query", `"@method" "@authority" "@path" "content-digest"`, good, signed.RuleCovers},
		{"a parameter is not the query", `"@method" "@authority" "@path" "@query-param";name="a" "content-digest"`, good, signed.RuleCovers},
		{"no method", `"@target-uri" "content-digest"`, good, signed.RuleCovers},
		{"nothing", ``, good, signed.RuleCovers},
		{"something that is not there", all + ` "x-nothing"`, good, signed.RuleCovers},
		{"the answer's status", all + ` "@status"`, good, signed.RuleCovers},
		{"twice the same", all + ` "@method"`, good, signed.RuleMalformed},
		{"a parameter of fields that is not known", all + ` "x-tenant";sf`, good, signed.RuleMalformed},
		{"of another message", all + ` "x-tenant";req`, good, signed.RuleMalformed},
		{"upper case", `"@method" "@target-uri" "Content-Digest"`, good, signed.RuleMalformed},
		{"another algorithm", all, good + `;alg="hmac-sha256"`, signed.RuleAlgorithm},
		{"no time", all, `;keyid="partner"`, signed.RuleTime},
		{"old", all, `;created=1899999699;keyid="partner"`, signed.RuleTime},
		{"from the future", all, `;created=1900000061;keyid="partner"`, signed.RuleTime},
		{"a time of nonsense", all, `;created="now";keyid="partner"`, signed.RuleMalformed},
		{"expired", all, good + `;expires=1900000000`, signed.RuleTime},
		{"a stranger's key", all, `;created=1900000000;keyid="stranger"`, signed.RuleKey},
		{"no key", all, `;created=1900000000`, signed.RuleKey},
		{"a parameter twice", all, good + `;keyid="partner"`, signed.RuleMalformed},
		{"a parameter that is not known", all, good + `;admin="1"`, signed.RuleMalformed},
		{"no nonce where one must be", all, `;created=1900000000;keyid="once"`, signed.RuleNonce},
		{"a nonce", all, `;created=1900000000;nonce="n1";keyid="once"`, ""},
		{"another tag", all, `;created=1900000000;keyid="tagged";tag="items"`, signed.RuleTag},
		{"its tag", all, `;created=1900000000;keyid="tagged";tag="orders"`, ""},
	} {
		input, signature := sign(c.covered, c.params)
		m := message()
		m.Header["Signature-Input"], m.Header["Signature"] = []string{input}, []string{signature}
		if p, rule := v.Verify(m, at); rule != c.rule || rule == "" && (p.Unique != "") != strings.Contains(c.params, "nonce") {
			t.Errorf("%s: %q, want %q", c.name, rule, c.rule)
		}
	}
	input, signature := sign(all, good)
	for name, c := range map[string]struct {
		change func(m *signed.Message)
		rule   string
	}{
		"another body":                {func(m *signed.Message) { m.Body = []byte(`{"a":2}`) }, signed.RuleDigest},
		"no body":                     {func(m *signed.Message) { m.Body = nil }, signed.RuleDigest},
		"a good digest and a bad one": {func(m *signed.Message) { m.Header.Add("Content-Digest", "sha-512=:AAAA:") }, signed.RuleWrong},
		"a digest of another kind":    {func(m *signed.Message) { m.Header.Set("Content-Digest", "md5=:AAAA:") }, signed.RuleWrong},
		"no signature of that label":  {func(m *signed.Message) { m.Header.Set("Signature", "t"+signature[1:]) }, signed.RuleMalformed},
		"no signature at all":         {func(m *signed.Message) { m.Header.Del("Signature") }, signed.RuleMalformed},
		"two of one label":            {func(m *signed.Message) { m.Header.Add("Signature", signature) }, signed.RuleMalformed},
		"two inputs of one label":     {func(m *signed.Message) { m.Header.Add("Signature-Input", input) }, signed.RuleMalformed},
		"a stranger's beside it": {func(m *signed.Message) {
			m.Header.Set("Signature-Input", `x=();keyid="stranger"`)
			m.Header.Add("Signature-Input", input)
			m.Header.Add("Signature", "x=:AAAA:")
		}, ""},
		"many": {func(m *signed.Message) {
			m.Header.Set("Signature-Input", input+strings.Repeat(`, x=();keyid="stranger"`, 200))
		}, signed.RuleMalformed},
		"huge":      {func(m *signed.Message) { m.Header.Set("Signature-Input", input+strings.Repeat(" ", 9<<10)) }, signed.RuleMalformed},
		"truncated": {func(m *signed.Message) { m.Header.Set("Signature-Input", input[:len(input)-3]) }, signed.RuleMalformed},
		"https":     {func(m *signed.Message) { m.Scheme = "http" }, signed.RuleWrong},
	} {
		m := message()
		m.Header["Signature-Input"], m.Header["Signature"] = []string{input}, []string{signature}
		c.change(m)
		if _, rule := v.Verify(m, at); rule != c.rule {
			t.Errorf("%s: %q, want %q", name, rule, c.rule)
		}
	}
	for name, s := range map[string]policy.Signature{
		"a short secret": {ID: "x", Style: policy.GitHub, Keys: []string{"short"}}, "no PEM": {ID: "x", Keys: []string{"key"}}, "a key of another kind": {ID: "x", Algorithm: "rsa-pss-sha512", Keys: []string{key}},
	} {
		if _, err := signed.New([]policy.Signature{s}); err == nil || strings.Contains(err.Error(), "short"+"\"") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func sum(b []byte) []byte { h := sha256.Sum256(b); return h[:] }

func message() *signed.Message {
	return &signed.Message{Method: "POST", Scheme: "https", Host: "API.example.test:8443", Path: "/orders", RawQuery: "a=1", Length: 7, Whole: true, Body: []byte(`{"a":1}`),
		Header: http.Header{"Content-Type": {"application/json"}, "X-Tenant": {"a ", " b"}, "Content-Digest": {"sha-256=:" + base64.StdEncoding.EncodeToString(sum([]byte(`{"a":1}`))) + ":"}}}
}

// FuzzHeaders: no header makes the readers panic, or is taken for a signature.
func FuzzHeaders(f *testing.F) {
	f.Add(`s=("@method" "x";bs "@query-param";name="a");created=1;keyid="x"`, "s=:AAAA:", "t=1,v1=00", "sha256=00")
	f.Add(`s=("\"\\");x=-`, ":", ",,=", "")
	f.Add(`a=(`, "a=:", "t=,t=", "sha256=zz")
	v, err := signed.New([]policy.Signature{{ID: "x", Style: policy.RFC9421, Algorithm: "hmac-sha256", Keys: []string{"0123456789abcdef"}}, {ID: "g", Style: policy.GitHub, Keys: []string{"0123456789abcdef"}}, {ID: "s", Style: policy.Stripe, Keys: []string{"0123456789abcdef"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, input, signature, stripe, github string) {
		m := message()
		m.Header["Signature-Input"], m.Header["Signature"], m.Header["Stripe-Signature"], m.Header["X-Hub-Signature-256"] = []string{input}, []string{signature}, []string{stripe}, []string{github}
		if _, rule := v.Verify(m, at); rule == "" {
			t.Errorf("accepted %q %q %q %q", input, signature, stripe, github)
		}
	})
}

package signed_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/guard/signed"
	"sallyport.dev/policy"
)

// The public keys, the shared secret, the request and the signatures of RFC 9421,
// appendix B. They are published test material: nobody's secrets.
const (
	rsaPSS = `-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2
+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+
oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHq
gDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W
Utzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4
aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI
2wIDAQAB
-----END PUBLIC KEY-----
`
	ed25519Key = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=
-----END PUBLIC KEY-----
`
	p256Key = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf
w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
-----END PUBLIC KEY-----
`
	sharedSecret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
)

const created = 1618884473

// request is the test request of appendix B.2.
func request(input, signature string) *signed.Message {
	return &signed.Message{Method: "POST", Scheme: "https", Host: "example.com", Path: "/foo", RawQuery: "param=Value&Pet=dog", Length: 18, Whole: true,
		Body: []byte(`{"hello": "world"}`),
		Header: http.Header{
			"Date": {"Tue, 20 Apr 2021 02:07:55 GMT"}, "Content-Type": {"application/json"},
			"Content-Digest":  {"sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"},
			"Signature-Input": {input}, "Signature": {signature},
		}}
}

func secret(t *testing.T) string {
	b, err := base64.StdEncoding.DecodeString(sharedSecret)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func verifier(t *testing.T, list ...policy.Signature) *signed.Verifier {
	t.Helper()
	v, err := signed.New(list)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestVectorsOfRFC9421: the signatures of appendix B.2 on requests verify, and one
// byte changed anywhere they do not.
func TestVectorsOfRFC9421(t *testing.T) {
	at := time.Unix(created+10, 0)
	for _, c := range []struct {
		name, alg, key, keyid   string
		label, input, signature string
		bodiless                bool // the signature does not cover the body, which is accepted only where there is none
		query                   bool
	}{
		{"B.2.1 minimal", "rsa-pss-sha512", rsaPSS, "test-key-rsa-pss", "sig-b21", `();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd"`,
			"d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==", true, false},
		{"B.2.2 selective", "rsa-pss-sha512", rsaPSS, "test-key-rsa-pss", "sig-b22", `("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example"`,
			"LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==", false, false},
		{"B.2.3 full", "rsa-pss-sha512", rsaPSS, "test-key-rsa-pss", "sig-b23", `("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss"`,
			"bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==", false, true},
		{"B.2.5 HMAC", "hmac-sha256", secret(t), "test-shared-secret", "sig-b25", `("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"`,
			"pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=", true, false},
		{"B.2.6 Ed25519", "ed25519", ed25519Key, "test-key-ed25519", "sig-b26", `("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`,
			"wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==", true, false},
	} {
		v, err := signed.New([]policy.Signature{{ID: "x", Style: policy.RFC9421, Algorithm: c.alg, KeyID: c.keyid, Keys: []string{c.key}, Components: []string{"content-digest"}}})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		message := func() *signed.Message {
			m := request(c.label+"="+c.input, c.label+"=:"+c.signature+":")
			if c.bodiless {
				m.Body = nil
			}
			return m
		}
		if _, rule := v.Verify(message(), at); rule != "" {
			t.Errorf("%s: %s", c.name, rule)
		}
		if c.bodiless { // the same signature with the body that it does not speak for
			if _, rule := v.Verify(request(c.label+"="+c.input, c.label+"=:"+c.signature+":"), at); rule != signed.RuleCovers {
				t.Errorf("%s, with a body: %q", c.name, rule)
			}
		}
		for name, change := range map[string]func(m *signed.Message){
			"another host":   func(m *signed.Message) { m.Host = "example.org" },
			"another method": func(m *signed.Message) { m.Method = "PUT" },
			"another path":   func(m *signed.Message) { m.Path = "/bar" },
			"another query":  func(m *signed.Message) { m.RawQuery = "param=Value&Pet=cat" },
			"another date":   func(m *signed.Message) { m.Header.Set("Date", "Tue, 20 Apr 2021 02:07:56 GMT") },
			"another type":   func(m *signed.Message) { m.Header.Set("Content-Type", "text/plain") },
			"another signature": func(m *signed.Message) {
				m.Header.Set("Signature", strings.Replace(m.Header.Get("Signature"), "=:", "=:AAAA", 1))
			},
			"another time": func(m *signed.Message) {
				m.Header.Set("Signature-Input", strings.Replace(c.label+"="+c.input, "1618884473", "1618884474", 1))
			},
			"another body": func(m *signed.Message) { m.Body = []byte(`{"hello": "w0rld"}`) },
		} {
			m := message()
			change(m)
			_, rule := v.Verify(m, at)
			covered := map[string]string{"another host": `"@authority"`, "another method": `"@method"`, "another path": `"@path"`, "another query": "@query", "another date": `"date"`, "another type": `"content-type"`}[name]
			if covered != "" && !strings.Contains(c.input, covered) {
				if rule != "" {
					t.Errorf("%s, %s, which it does not cover: %s", c.name, name, rule)
				}
			} else if rule == "" {
				t.Errorf("%s: accepted with %s", c.name, name)
			}
		}
	}
}

// TestVectorOfECDSA: the signature that a proxy makes in appendix B.3.
func TestVectorOfECDSA(t *testing.T) {
	v := verifier(t, policy.Signature{ID: "ttrp", Style: policy.RFC9421, Algorithm: "ecdsa-p256-sha256", KeyID: "test-key-ecc-p256", Keys: []string{p256Key}, Components: []string{"@method"}})
	m := &signed.Message{Method: "POST", Scheme: "https", Host: "service.internal.example", Path: "/foo", RawQuery: "param=Value&Pet=dog", Whole: true,
		Header: http.Header{
			"Client-Cert":     {":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:"},
			"Signature-Input": {`ttrp=("@path" "@query" "@method" "@authority" "client-cert");created=1618884473;keyid="test-key-ecc-p256"`},
			"Signature":       {"ttrp=:xVMHVpawaAC/0SbHrKRs9i8I3eOs5RtTMGCWXm/9nvZzoHsIg6Mce9315T6xoklyy0yzhD9ah4JHRwMLOgmizw==:"},
		}}
	if _, rule := v.Verify(m, time.Unix(created, 0)); rule != "" {
		t.Errorf("%s", rule)
	}
	m.RawQuery = "param=Value&Pet=cat"
	if _, rule := v.Verify(m, time.Unix(created, 0)); rule != signed.RuleWrong {
		t.Errorf("another query: %q", rule)
	}
}

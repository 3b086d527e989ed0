package authn_test

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/guard/authn"
	"sallyport.dev/identity"
)

// keySet answers as a provider that publishes one key set.
type keySet []byte

func (k keySet) RoundTrip(r *http.Request) (*http.Response, error) {
	body := string(k)
	if strings.HasSuffix(r.URL.Path, "/openid-configuration") {
		body = `{"issuer":"` + issuer + `","jwks_uri":"` + issuer + `/keys"}`
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// TestWycheproof gives the vectors' keys to a provider, as issuers publish
// theirs, and the vectors' signatures to the verifier.
func TestWycheproof(t *testing.T) {
	counts := map[string]int{}
	for _, name := range []string{"signature", "key", "crypto"} {
		f, err := os.Open("testdata/wycheproof/json_web_" + name + "_test.json.gz")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var file struct {
			TestGroups []struct {
				Type, Comment   string
				Public, Private json.RawMessage
				Tests           []struct {
					TcID            int
					Comment, Result string
					Jws             json.RawMessage
				}
			}
		}
		if err := json.NewDecoder(must(gzip.NewReader(f))).Decode(&file); err != nil {
			t.Fatal(err)
		}
		for _, g := range file.TestGroups {
			set := g.Public
			if set == nil {
				set = g.Private
			}
			var keys struct{ Keys []json.RawMessage }
			if json.Unmarshal(set, &keys) != nil || keys.Keys == nil {
				set = must(json.Marshal(object{"keys": []json.RawMessage{set}}))
			}
			p := &identity.Providers{Issuers: []string{issuer}, Client: &http.Client{Transport: keySet(set)}}
			unusable := p.Resolve(t.Context(), issuer, "")
			for _, c := range g.Tests {
				if c.Jws == nil {
					counts["encryption, which nobody here reads"]++
					continue
				}
				var text string
				if json.Unmarshal(c.Jws, &text) != nil {
					text = string(c.Jws) // JSON serialisation
				}
				rule := authn.Signed(text, p, issuer)
				reason := ""
				switch {
				case c.Result == "invalid" && rule == "":
					t.Errorf("%s %s %d, %s: invalid, and accepted", name, g.Comment, c.TcID, c.Comment)
				case c.Result == "invalid":
					counts["invalid, refused"]++
				case rule == "":
					counts["valid, accepted"]++
				default:
					if reason = refusedOnPurpose(g.Comment, text); reason == "" {
						t.Errorf("%s %s %d, %s: valid, and refused by %s (keys: %v)", name, g.Comment, c.TcID, c.Comment, rule, unusable)
					}
					counts["valid, not ours: "+reason]++
				}
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%4d %s", counts[k], k)
	}
	if counts["invalid, refused"] < 400 || counts["valid, accepted"] < 20 {
		t.Errorf("too few vectors were judged: %v", counts)
	}
}

// refusedOnPurpose says why a valid vector is none of our policy's.
func refusedOnPurpose(group, jws string) string {
	header, _, _ := strings.Cut(jws, ".")
	var h struct{ Alg string }
	text, err := base64.RawURLEncoding.DecodeString(header)
	_ = json.Unmarshal(text, &h)
	switch {
	case err != nil || strings.ContainsFunc(jws, func(r rune) bool { return r != '.' && r != '-' && r != '_' && (r < '0' || r > 'z') }):
		return "characters outside base64url, which RFC 7515 does not allow"
	case strings.HasPrefix(h.Alg, "HS"):
		return "a shared secret, which no issuer may publish"
	case strings.Contains(jws, ".."):
		return "an empty payload, which is no token"
	case strings.HasPrefix(group, "rfc7520"):
		return "the vector's key names another alg than its signature"
	}
	return ""
}

package identity_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"sallyport.dev/identity"
)

// canned answers every request for a key set with one text.
type canned string

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	header, body := http.Header{"Content-Type": {"application/json"}}, string(c)
	if strings.HasSuffix(r.URL.Path, "/openid-configuration") {
		body = `{"issuer":"https://idp.example.test","jwks_uri":"https://idp.example.test/keys"}`
	}
	return &http.Response{StatusCode: 200, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// FuzzKeySet reads whatever a provider may publish: each key that is taken must
// be one that another implementation reads too.
func FuzzKeySet(f *testing.F) {
	for _, keys := range [][]object{
		{rsaJWK(&rsaKey.PublicKey, "r1"), ecJWK(&ecKey.PublicKey, "e1"), edJWK(edKey, "d1")},
		{rsaJWK(&weakKey.PublicKey, "r1"), but(ecJWK(&ecKey.PublicKey, "e1"), "use", "enc"), edJWK(edKey, "")},
		{but(rsaJWK(&rsaKey.PublicKey, "r1"), "key_ops", []string{"verify"}), {"kty": "oct", "k": "AA"}},
	} {
		f.Add(string(must(json.Marshal(object{"keys": keys}))))
	}
	f.Add(`{"keys":[{}],"keys":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		const issuer = "https://idp.example.test"
		p := &identity.Providers{Issuers: []string{issuer}, Client: &http.Client{Transport: canned(text)}}
		if p.Resolve(t.Context(), issuer, "") != nil {
			return
		}
		s := p.Status()[0]
		if len(s.Keys) == 0 {
			t.Fatalf("a set without keys was taken: %q", text)
		}
		judge, err := jwk.Parse([]byte(text), jwk.WithIgnoreParseError(true))
		if err != nil || judge.Len() < len(s.Keys) {
			t.Fatalf("%d keys taken, the judge reads %v, %v: %q", len(s.Keys), judge, err, text)
		}
	})
}

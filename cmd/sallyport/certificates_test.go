package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// putPair writes a self-signed certificate and its key.
func putPair(t *testing.T, dir, name string, mode os.FileMode, change func(*x509.Certificate)) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"api.example.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour), BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	if change != nil {
		change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, name+".crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, filepath.Join(dir, name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	if err := os.Chmod(filepath.Join(dir, name+".key"), mode); err != nil {
		t.Fatal(err)
	}
}

// What is wrong with certificates, and with what is said about TLS, is told
// before anything starts, with its place in the file.
func TestCertificateMistakes(t *testing.T) {
	dir := t.TempDir()
	putPair(t, dir, "good", 0o600, nil)
	putPair(t, dir, "open", 0o644, nil)
	putPair(t, dir, "over", 0o600, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	putPair(t, dir, "staple", 0o600, func(c *x509.Certificate) {
		features, _ := asn1.Marshal([]int{5})
		c.OCSPServer = []string{"http://127.0.0.1:1"}
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: features}}
	})
	const local = "[{url: 'http://127.0.0.1:1'}]"
	pair := func(name, more string) string {
		return fmt.Sprintf("{cert: %s.crt, key: %s.key%s}", name, name, more)
	}
	for name, tt := range map[string]struct {
		tls, upstreams, more string
		want                 string // "" = good
	}{
		"good":                     {tls: pair("good", "")},
		"all of it":                {tls: pair("good", `, min: "1.3", curves: [X25519MLKEM768, X25519], hsts: {max_age: 17520h, include_subdomains: true, preload: true}, sni: strict, warn_days: 60`)},
		"min without quotes":       {tls: pair("good", ", min: 1.2, suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]")},
		"hsts off":                 {tls: pair("good", ", hsts: {mode: \"off\"}")},
		"version":                  {tls: pair("good", ", min: 1.1"), want: `c.yaml:2:43: tls.min: "1.1" is not one of 1.2, 1.3`},
		"suite of old":             {tls: pair("good", ", suites: [TLS_RSA_WITH_AES_128_GCM_SHA256]"), want: "lacks forward secrecy"},
		"suite of 1.3":             {tls: pair("good", ", suites: [TLS_AES_128_GCM_SHA256]"), want: "is a suite of TLS 1.3"},
		"suite of nowhere":         {tls: pair("good", ", suites: [TLS_FAST]"), want: "no cipher suite"},
		"suites with 1.3":          {tls: pair("good", `, min: "1.3", suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]`), want: "leave suites out"},
		"curve":                    {tls: pair("good", ", curves: [secp192r1]"), want: "no key exchange"},
		"hybrid alone":             {tls: pair("good", ", curves: [X25519MLKEM768]"), want: "hybrid ones need TLS 1.3"},
		"preload":                  {tls: pair("good", ", hsts: {preload: true}"), want: "include_subdomains"},
		"sni":                      {tls: pair("good", ", sni: loose"), want: "covered, strict, off"},
		"ocsp without responder":   {tls: pair("good", ", ocsp: on"), want: "names no OCSP responder"},
		"ocsp without issuer":      {tls: pair("staple", ", ocsp: on"), want: "issuer must stand behind it"},
		"ocsp without certificate": {tls: "{ocsp: on}", want: "is for the certificate in cert"},
		"must-staple":              {tls: pair("staple", ""), want: "must-staple"},
		"expired":                  {tls: pair("over", ""), want: "has expired on"},
		"key for everybody":        {tls: pair("open", ""), want: "tls.key: everybody"},
		"another's key":            {tls: "{cert: good.crt, key: open.key}", want: "private key does not match"},
		"no file":                  {tls: pair("none", ""), want: "no such file"},
		"name":                     {tls: pair("good", ""), more: "match: {host: shop.example.test}", want: "is not for shop.example.test"},
		"its name":                 {tls: pair("good", ""), more: "match: {host: api.example.test}"},
		"upstream by TLS":          {upstreams: "[{url: 'https://10.0.0.1:1', tls: {ca: good.crt, cert: good.crt, key: good.key, server_name: api.example.test, min: 1.3, pins: [47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=]}}]"},
		"upstream: no pin":         {upstreams: "[{url: 'https://10.0.0.1:1', tls: {pins: [abc]}}]", want: "c.yaml:5:58: apis[0].upstreams[0].tls.pins[0]"},
		"upstream: no key":         {upstreams: "[{url: 'https://10.0.0.1:1', tls: {cert: good.crt}}]", want: "go together"},
		"upstream: another's key":  {upstreams: "[{url: 'https://10.0.0.1:1', tls: {cert: good.crt, key: open.key}}]", want: "private key does not match"},
		"upstream: expired":        {upstreams: "[{url: 'https://10.0.0.1:1', tls: {cert: over.crt, key: over.key}}]", want: "has expired on"},
		"upstream: no authority":   {upstreams: "[{url: 'https://10.0.0.1:1', tls: {ca: good.key}}]", want: "holds no certificate"},
		"upstream: twice":          {upstreams: "[{url: 'https://10.0.0.1:1', ca: good.crt, tls: {ca: good.crt}}]", want: "stands in tls.ca too"},
		"upstream: TLS over http":  {upstreams: "[{url: 'http://127.0.0.1:1', tls: {ca: good.crt}}]", want: "reached without TLS"},
		"plaintext refused":        {upstreams: "[{url: 'http://10.0.0.1:1'}]\nupstream_plaintext: refuse", want: "http://10.0.0.1:1 is reached without TLS over the network"},
		"plaintext name refused":   {upstreams: "[{dns: 'shop.internal:1'}]\nupstream_plaintext: refuse", want: "shop.internal:1 is reached without TLS over the network"},
		"plaintext on loopback":    {upstreams: "[{url: 'http://localhost:1'}, {url: 'http://[::1]:1'}]\nupstream_plaintext: refuse"},
		"plaintext of what":        {upstreams: local + "\nupstream_plaintext: never", want: `"never" is not one of warn, refuse, allow`},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.tls == "" {
				tt.tls = "{}"
			}
			if tt.upstreams == "" {
				tt.upstreams = local
			}
			if tt.more != "" {
				tt.more = "\n    " + tt.more
			}
			file := filepath.Join(dir, "c.yaml")
			text := fmt.Sprintf("data: d\ntls: %s\napis:\n  - name: a%s\n    upstreams: %s\n", tt.tls, tt.more, tt.upstreams)
			write(t, file, text)
			c, err := readConfig(file)
			if err == nil {
				_, err = compile(t.Context(), c, lasting{keys: &providers{}})
			}
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("%s\n%v", text, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%s\n%v, want %q", text, err, tt.want)
			}
		})
	}
}

// What is allowed and deserves a look stands in notices.
func TestNotices(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"plaintext": {"apis: [{name: a, upstreams: [{url: 'http://10.0.0.1:1'}, {url: 'http://127.0.0.1:1'}, {url: 'https://10.0.0.2:1'}]}]", "upstream.plaintext"},
		"allowed":   {"upstream_plaintext: allow\napis: [{name: a, upstreams: [{url: 'http://10.0.0.1:1'}]}]", ""},
		"loopback":  {"apis: [{name: a, upstreams: [{url: 'http://127.0.0.1:1'}]}]", ""},
		"no hybrid": {"tls: {curves: [X25519]}\napis: [{name: a, upstreams: [{url: 'http://127.0.0.1:1'}]}]", "tls.curves"},
	} {
		c, err := parseConfig("c.yaml", []byte(tt.text))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, n := range c.notices() {
			got += n.Rule
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckNamesWhatIdentityNeeds: what the policies of single APIs cannot see by
// themselves, named before anything starts.
func TestCheckNamesWhatIdentityNeeds(t *testing.T) {
	t.Setenv("DOOR_SECRET", "s")
	dir := t.TempDir()
	ca, err := os.ReadFile("../../examples/identity/sallyport.yaml") // no certificate in it
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "none.pem"), string(ca))
	const asks = `{issuer: "https://idp.example.test", audience: a, introspection: {client_id: door, secret: "env:DOOR_SECRET"%s}}`
	api := func(name, auth string) string {
		return "  - {name: " + name + ", match: {host: " + name + ".example.test}, upstreams: [{url: 'http://127.0.0.1:1'}], auth: {" + auth + "}}\n"
	}
	one := strings.Replace(asks, "%s", "", 1)
	for name, c := range map[string]struct{ head, apis, want string }{
		"asked in one way":            {"", api("a", "oidc: "+one) + api("b", "oidc: "+one), ""},
		"asked in two ways":           {"", api("a", "oidc: "+one) + api("b", "oidc: "+strings.Replace(asks, "%s", ", cache: 5s", 1)), "another API asks https://idp.example.test in another way"},
		"a secret that is not there":  {"", api("a", "oidc: "+strings.Replace(one, "DOOR_SECRET", "NOBODY_SET_THIS", 1)), "environment variable NOBODY_SET_THIS is not set"},
		"a certificate, no authority": {"", api("a", "certificates: [{id: x, dns: x.example.test}]"), "needs tls.client_ca"},
		"a binding, no authority":     {"", api("a", `oidc: {issuer: "https://idp.example.test", audience: a}, binding: any`), "needs tls.client_ca"},
		"DPoP needs none":             {"", api("a", `oidc: {issuer: "https://idp.example.test", audience: a}, binding: dpop`), ""},
		"no certificate in the file":  {"tls: {client_ca: none.pem}\n", api("a", "certificates: [{id: x, dns: x.example.test}]"), "holds no certificate in PEM"},
		"no file":                     {"tls: {client_ca: missing.pem}\n", api("a", "certificates: [{id: x, dns: x.example.test}]"), "no such file"},
	} {
		file := filepath.Join(dir, "c.yaml")
		write(t, file, c.head+"apis:\n"+c.apis)
		var out, errs bytes.Buffer
		code := command(t.Context(), []string{"config", "check", file}, &out, &errs)
		if c.want == "" && code != 0 || c.want != "" && (code != exitUsage || !strings.Contains(errs.String(), c.want)) {
			t.Errorf("%s: exit code %d, want %q: %s", name, code, c.want, errs.String())
		}
		if strings.Contains(errs.String()+out.String(), `"s"`) {
			t.Errorf("%s: a secret in what it says: %s", name, errs.String())
		}
	}
}

package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// The exit code of check tells whether an instance may be deployed.
func TestCheckExitCodes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "openapi.yaml")
	write(t, file, "openapi: 3.0.3\ninfo: {title: a, version: '1'}\npaths:\n  /a:\n    get: {responses: {'200': {description: ok, content: {application/json: {schema: {type: object}}}}}}\n")
	seeds := filepath.Join(dir, "seeds.yaml")
	write(t, seeds, "identities: [{name: alice, token: secret-in-a-file}]\n")
	body := "{}"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "frame-ancestors 'none'")
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		switch {
		case r.URL.Path != "/a":
			w.WriteHeader(404)
		case r.Method == "OPTIONS":
		case r.Method != "GET" && r.Method != "HEAD":
			w.WriteHeader(405)
		default:
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte(body))
		}
	}))
	t.Cleanup(server.Close)
	for _, x := range []struct {
		args []string
		body string
		code int
		want string
	}{
		{[]string{"check", file, "--target", server.URL}, "{}", 0, "passed: 0 findings"},
		{[]string{"check", file, "--target", server.URL}, "[]", 1, "contract.body"},
		{[]string{"check", file, "--target", server.URL, "--profile", "safe", "--format", "junit"}, "[]", 1, "<testsuite"},
		{[]string{"check", file, "--target", server.URL, "--seeds", seeds}, "{}", 2, "env:NAME or file:PATH"},
		{[]string{"check", file}, "{}", 2, "--target"},
		{[]string{"check", file, "--target", "ftp://x"}, "{}", 2, "http(s)"},
		{[]string{"check", filepath.Join(dir, "none.yaml"), "--target", server.URL}, "{}", 2, "no file"},
		{[]string{"check", "x", "--list"}, "{}", 0, "security.object-level"},
	} {
		body = x.body
		var out bytes.Buffer
		code := command(t.Context(), x.args, &out, &out)
		if code != x.code || !strings.Contains(out.String(), x.want) || strings.Contains(out.String(), "secret-in") {
			t.Errorf("%v: exit %d, want %d with %q\n%s", x.args, code, x.code, x.want, out.String())
		}
	}
}

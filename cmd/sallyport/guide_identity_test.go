package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sallyport.dev/test/integration/oidcprovider"
)

// Whoever follows the guide gets the statuses that it names, from a real provider.
func TestIdentityGuideRunsAsWritten(t *testing.T) {
	op := oidcprovider.Start(t)
	_, secret := op.Client()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, "[]\n")
	}))
	t.Cleanup(up.Close)
	dir, gateway, console := t.TempDir(), freeAddr(t), freeAddr(t)
	at := filepath.Join(dir, "examples", "identity")
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	port := func(addr string) string { _, p, _ := net.SplitHostPort(addr); return p }
	replace := strings.NewReplacer("http://127.0.0.1:9001", up.URL, "http://127.0.0.1:9002", op.Issuer, "for-this-guide-only", secret,
		"8443", port(gateway), "9443", port(console), "../first-api/", "", "alias ask='curl -s", "alias ask='curl -s -m 20", "cache: 10s", "cache: 2s", "sleep 11", "sleep 3") // the wait is the guide's only change
	for from, to := range map[string]string{"identity/sallyport.yaml": "sallyport.yaml", "first-api/petstore.openapi.yaml": "petstore.openapi.yaml"} {
		b, err := os.ReadFile("../../examples/" + from)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(at, to), replace.Replace(string(b)))
	}
	b, err := os.ReadFile("../../docs/guides/identity.md")
	if err != nil {
		t.Fatal(err)
	}
	guide := replace.Replace(string(b))
	shell := func(script string) string {
		t.Helper()
		c := exec.Command("bash", "-c", "shopt -s expand_aliases\n"+script)
		c.Dir = dir
		var said bytes.Buffer
		c.Stderr = &said
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%s\n%v\n%s", script, err, said.String())
		}
		return string(out)
	}
	status := regexp.MustCompile(`(?m)^HTTP/\S+ (\d+)`)
	want := map[string]string{"2": "200 401 401", "3": "403 401", "4": "200 401 401 401", "5": "200", "6": "200 200 401"} // of 6 the second is the revocation's own answer
	setup, ran := "", 0
	for section := range strings.SplitSeq(guide, "\n## ") {
		number, _, _ := strings.Cut(section, ".")
		asked := ""
		parts := strings.Split(section, "\n```")
		for i := 1; i < len(parts); i += 2 {
			block := strings.TrimPrefix(parts[i], "\n")
			switch {
			case strings.HasPrefix(block, "mkdir -p examples/identity/clients"):
				shell(block)
				t.Setenv("PETS_SECRET", secret)
				door := (&site{dir: at, gateway: gateway}).start(t)
				defer door.stop()
			case strings.HasPrefix(block, "cd examples/identity"):
				setup = block + "\n"
			case strings.Contains(block, "ask -i"):
				asked += block + "\n"
			}
		}
		if asked == "" {
			continue
		}
		asked = strings.ReplaceAll(asked, "curl -s -u", "curl -s -i -u")
		out := shell(setup + asked)
		var got []string
		for _, m := range status.FindAllStringSubmatch(out, -1) {
			got = append(got, m[1])
		}
		if strings.Join(got, " ") != want[number] {
			t.Errorf("section %s: %v, want %s\n%s", number, got, want[number], out)
		}
		for _, line := range []string{`error="insufficient_scope", scope="orders:read"`, `acr_values="urn:example:two-factors", max_age="300"`} {
			if number == "3" && !strings.Contains(out, line) {
				t.Errorf("section 3 does not show %s\n%s", line, out)
			}
		}
		ran++
		delete(want, number)
	}
	if ran != 5 || len(want) != 0 {
		t.Errorf("%d sections ran, left %v", ran, want)
	}
}

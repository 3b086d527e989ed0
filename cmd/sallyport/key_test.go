package main

import (
	"bytes"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	console "sallyport.dev/console/api"
)

// newKey runs `sallyport key new` and gives the key and the line for the file.
func newKey(t *testing.T, args ...string) (key, line string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := command(t.Context(), append([]string{"key", "new"}, args...), &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	m := regexp.MustCompile(`(?s)^key   (sp_[A-Z2-7]{52})\nline  (- \{.*\})\n$`).FindStringSubmatch(out.String())
	if m == nil || strings.Contains(m[2], m[1]) {
		t.Fatalf("it said %q", out.String())
	}
	return m[1], m[2]
}

// TestKeysRotate: two keys of one holder hold at once, the older one ends, and the
// log, the metrics and the management API say so.
func TestKeysRotate(t *testing.T) {
	s := newSite(t)
	before, line := newKey(t, "batch-2026", "--subject", "batch", "--scopes", "pets:read,pets:write", "--days", "3")
	after, next := newKey(t, "batch-2027", "--subject", "batch", "--scopes", "pets:read,pets:write")
	ended, old := newKey(t, "batch-2025", "--subject", "batch")
	old = regexp.MustCompile(`expires: \d{4}`).ReplaceAllString(old, "expires: 2025")
	t.Setenv("KEY_PEPPER", "the pepper of this test")
	peppered, hashed := newKey(t, "peppered", "--pepper", "env:KEY_PEPPER", "--days", "0")
	if !strings.Contains(hashed, "hmac-sha256:") || strings.Contains(hashed, "expires") || !strings.Contains(line, `scopes: ["pets:read", "pets:write"]`) {
		t.Errorf("lines %s and %s", line, hashed)
	}
	write(t, s.dir+"/sallyport.yaml", `listen: {gateway: "`+s.gateway+`", console: "`+s.console+`"}
tls: "off"
data: data
keys: file:keys/master.key
apis:
  - name: pets
    match: {host: pets.example.test}
    upstreams: [{url: "`+s.upstream.URL+`"}]
    mode: enforce
    auth:
      anonymous: never
      key_pepper: env:KEY_PEPPER
      keys:
        `+strings.Join([]string{line, next, old, hashed}, "\n        ")+"\n")
	var out, errs bytes.Buffer
	if code := command(t.Context(), []string{"config", "check", s.dir + "/sallyport.yaml"}, &out, &errs); code != 0 || !strings.Contains(out.String(), "batch-2026 ends, or has ended") {
		t.Errorf("config check: %d %s %s", code, out.String(), errs.String())
	}
	p := s.start(t)
	defer p.stop()
	ask := func(key string) int {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.gateway+"/pets", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "pets.example.test"
		req.Header.Set("X-API-Key", key)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	for _, c := range []struct {
		name, key string
		want      int
	}{{"the older", before, 200}, {"the newer", after, 200}, {"one that has ended", ended, 401}, {"with a pepper", peppered, 200}, {"made up", before[:len(before)-1] + "7A", 401}} {
		if got := ask(c.key); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if left := p.metric(`sallyport_api_key_expires_seconds\{api="pets",key="batch-2026"\}`); left <= 0 || left > 4*86400 {
		t.Errorf("the older key ends in %g s", left)
	}
	if used := p.metric(`sallyport_api_key_last_used_timestamp_seconds\{api="pets",key="batch-2027"\}`); used == 0 {
		t.Error("the newer key was never used")
	}
	p.wait(`API key ends soon.*key=batch-2026`)
	p.wait(`API key has ended.*key=batch-2025`)
	if n := strings.Count(p.output(), "API key ends soon"); n != 1 {
		t.Errorf("warned %d times", n)
	}
	for _, key := range []string{before, after, ended, peppered} {
		if strings.Contains(p.output(), key) {
			t.Error("a key stands in the log")
		}
	}
	d := p.signIn(p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1], "a long password for this test")
	var view console.CredentialsView
	d.do("GET", "/credentials", nil, http.StatusOK, &view)
	states := map[string]string{}
	for _, k := range view.Keys {
		states[k.ID] = k.State
		if (k.Used != nil) != (k.ID != "batch-2025") || k.Used != nil && time.Since(*k.Used) > time.Minute {
			t.Errorf("%s: used %v", k.ID, k.Used)
		}
	}
	if states["batch-2026"] != "ending" || states["batch-2027"] != "live" || states["batch-2025"] != "ended" || states["peppered"] != "live" {
		t.Errorf("states %v", states)
	}
	out.Reset()
	if code := command(t.Context(), []string{"key", "public", "--config", s.dir + "/sallyport.yaml"}, &out, &errs); code != 0 {
		t.Errorf("key public: %d %s", code, errs.String())
	}
	res, err := http.Get("http://" + s.console + "/.well-known/sallyport/jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var served bytes.Buffer
	if served.ReadFrom(res.Body); strings.TrimSpace(out.String()) != served.String() || !strings.Contains(served.String(), `"crv":"Ed25519"`) || strings.Contains(served.String(), `"d"`) {
		t.Errorf("public key: %q and %q", out.String(), served.String())
	}
	for _, bad := range [][]string{{"key", "new"}, {"key", "new", "a\"b"}, {"key", "new", "x", "--days", "-1"}, {"key", "new", "x", "--pepper", "env:NOBODY_SET_THIS"}} {
		if code := command(t.Context(), bad, &out, &errs); code == 0 {
			t.Errorf("%v: exit code 0", bad)
		}
	}
}

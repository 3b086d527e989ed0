package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/test/integration/oidcprovider"
)

// TestAuthoriseGuideRunsAsWritten: the commands of the guide print what it says,
// with the real provider that it names.
func TestAuthoriseGuideRunsAsWritten(t *testing.T) {
	op := oidcprovider.Start(t)
	_, secret := op.Client()
	dir, gateway, service := t.TempDir(), freeAddr(t), freeAddr(t)
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "service"), "../../examples/authorise")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	upstream := exec.Command(filepath.Join(dir, "service"))
	upstream.Env = append(os.Environ(), "ADDR="+service)
	if err := upstream.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { upstream.Process.Kill(); upstream.Wait() })
	t.Setenv("STOCK_SECRET", secret)
	t.Setenv("HOOK_SECRET", secret)
	keys := exec.Command("bash", "-c", "openssl genpkey -algorithm ed25519 -out partner.key && openssl pkey -in partner.key -pubout -out partner.pem")
	keys.Dir = dir
	if out, err := keys.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	replace := strings.NewReplacer("127.0.0.1:8090", gateway, "127.0.0.1:9490", freeAddr(t), "127.0.0.1:9004", service,
		"http://127.0.0.1:9002", op.Issuer, "for-this-guide-only", secret)
	files, err := filepath.Glob("../../examples/authorise/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		write(t, filepath.Join(dir, filepath.Base(file)), replace.Replace(read(t, file)))
	}
	p := (&site{dir: dir, gateway: gateway}).start(t)
	defer p.stop()
	text := replace.Replace(read(t, "../../docs/guides/authorise.md"))
	var setup strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "ask()") || strings.HasPrefix(line, "see()") || strings.HasPrefix(line, "token()") {
			setup.WriteString(line)
		}
	}
	ran := 0
	for block := range strings.SplitSeq(text, "```console\n") {
		block, _, ok := strings.Cut(block, "```")
		if !ok || !strings.HasPrefix(block, "$ ") {
			continue
		}
		for step := range strings.SplitSeq(block[2:], "\n$ ") {
			command, want, _ := strings.Cut(step, "\n")
			c := exec.Command("bash", "-c", setup.String()+command)
			c.Dir = dir
			out, err := c.Output()
			if got := strings.TrimSpace(string(out)); err != nil || got != strings.TrimSpace(want) {
				t.Errorf("%s\ngot  %s (%v)\nwant %s", command, got, err, want)
			}
			ran++
		}
	}
	if ran < 8 {
		t.Errorf("%d commands of the guide ran", ran)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestRuleMistakesHaveTheirLine: a predicate that is wrong is found before
// anything starts, where it stands.
func TestRuleMistakesHaveTheirLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	write(t, file, `apis:
  - name: a
    upstreams: [{url: "http://127.0.0.1:1"}]
    auth: {oidc: {issuer: "https://idp.example.test", audience: a}}
    rules:
      - {name: good, require: claims.sub != ""}
      - name: bad
        require: claims.sub == principal.sbject
`)
	var out, errs strings.Builder
	code := command(t.Context(), []string{"config", "check", file}, &out, &errs)
	if code != exitUsage || !strings.Contains(errs.String(), file+":8:18") || !strings.Contains(errs.String(), "undeclared reference") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}

package main

import (
	"bytes"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The commands of the guide print what the guide says.
func TestAuditGuideRunsAsWritten(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "sallyport")); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	document, err := os.ReadFile("../../examples/audit/parcels.openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "parcels.openapi.yaml"), string(document))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv(asCommand, "1")
	runGuide(t, "audit.md", dir, 7, strings.NewReplacer())
}

func TestAuditCommand(t *testing.T) {
	dir := t.TempDir()
	for _, x := range []struct {
		args []string
		code int
		say  string
	}{
		{nil, 2, "name a description"},
		{[]string{filepath.Join(dir, "none.yaml")}, 2, "no such file"},
		{[]string{dir}, 2, "holds no OpenAPI"},
		{[]string{"../../go.mod"}, 2, "go.mod:1:1"},
		{[]string{"../../examples/audit", "--ignore", "x"}, 2, "--ignore"},
		{[]string{"../../examples/audit", "--fail-on", "never", "--ignore", "auth.none@*=x"}, 0, "speaks of nothing"},
		{[]string{"../../examples/audit"}, 1, "the audit found"},
		{[]string{"../../examples/audit", "--fail-on", "critical"}, 0, ""},
	} {
		var out, errs bytes.Buffer
		if code := command(t.Context(), append([]string{"audit"}, x.args...), &out, &errs); code != x.code || !strings.Contains(errs.String(), x.say) {
			t.Errorf("audit %v: exit %d, %s", x.args, code, &errs)
		}
	}
}

// What the audit finds in a configured API's document stands on its page, adds
// to its risk, and ends when the document is mended.
func TestAuditInTheInventory(t *testing.T) {
	s := newSite(t)
	file := filepath.Join(s.dir, "pets.yaml")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad := strings.Replace(string(good), "\npaths:", "\nx-bad: 1\npaths:\n  /pets/_debug:\n    get: {operationId: debugPets, responses: {'200': {description: x}}}", 1)
	if bad == string(good) {
		t.Fatal("the document has no paths")
	}
	write(t, file, bad)
	p := s.start(t)
	defer p.stop()
	d := p.signIn(p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1], "a long password for this test")
	type page struct {
		API struct {
			Fields map[string]any `json:"fields"`
		} `json:"api"`
		Findings []struct {
			Rule   string `json:"rule"`
			Source string `json:"source"`
			Place  string `json:"place"`
		} `json:"findings"`
	}
	has := func(rule string) func() string {
		return func() string {
			var x page
			d.do(http.MethodGet, "/inventory/api?name="+url.QueryEscape("pets"), nil, http.StatusOK, &x)
			for _, f := range x.Findings {
				if f.Rule == rule {
					if f.Source != sourceAudit || f.Place != "pets.yaml" {
						t.Errorf("finding %+v", f)
					}
					return ""
				}
			}
			return "the page lacks " + rule
		}
	}
	eventually(t, 20*time.Second, has("spec.version.debug-path"))
	write(t, file, string(good))
	eventually(t, 20*time.Second, func() string {
		if has("spec.version.debug-path")() == "" {
			return "a finding that was mended is still there"
		}
		return ""
	})
	eventually(t, 20*time.Second, has("spec.limits.no-429"))
}

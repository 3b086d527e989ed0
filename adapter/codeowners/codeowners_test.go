package codeowners_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev"
	"sallyport.dev/adapter/codeowners"
)

func TestLastMatchWins(t *testing.T) {
	rules := codeowners.Parse("# all\n*       @global\n*.js    @js # inline\n/build/ @build\ndocs/*  docs@example.test\napps/   @apps\n/apps/github\nwith\\ space/ @space\n**/logs @logs\n[Payments][2] @pay\n/pay/\n/pay/x @x\n")
	for path, want := range map[string]string{
		"a.txt": "@global", "deep/x.js": "@js", "build/a/b": "@build", "x/build/a": "@global", "docs/a.md": "docs@example.test", "docs/a/b.md": "@global",
		"x/apps/y/z": "@apps", "apps/github": "", "with space/a": "@space", "a/b/logs/c": "@logs", "pay/a": "@pay", "pay/x": "@x",
	} {
		r := codeowners.Owners(rules, path)
		if got := strings.Join(r.Owners, " "); got != want {
			t.Errorf("%s: %q (line %d), want %q", path, got, r.Line, want)
		}
	}
}

func TestOwnersOfAFolder(t *testing.T) {
	repo := t.TempDir()
	for name, text := range map[string]string{".git/HEAD": "", ".github/CODEOWNERS": "* @org/all\n/services/pay/ @org/payments pay@example.test @vera\n/services/pay/docs/ @org/writers\n",
		"services/pay/a.go": "", "services/pay/b.go": "", "services/pay/docs/c.md": ""} {
		file := filepath.Join(repo, name)
		os.MkdirAll(filepath.Dir(file), 0o755)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	c := &codeowners.Catalogue{Path: filepath.Join(repo, "services/pay"), API: "payments"}
	tell := func(l []sallyport.Claim) error {
		for _, x := range l {
			got = append(got, x.Field+"="+x.Value)
			if x.Asset.API != "payments" || !strings.HasSuffix(x.Evidence, "CODEOWNERS:2") || x.Confidence < 0.5 || x.Confidence > 0.6 {
				t.Errorf("%+v", x)
			}
		}
		return nil
	}
	if err := c.Watch(t.Context(), tell); err != nil {
		t.Fatal(err)
	}
	if s := strings.Join(got, " "); s != "contacts=@vera owner.contact=pay@example.test owner.team=org/payments" {
		t.Error(s)
	}
	if err := (&codeowners.Catalogue{Path: t.TempDir(), API: "x"}).Watch(t.Context(), tell); err == nil {
		t.Error("no error where no CODEOWNERS is")
	}
}

func FuzzOwners(f *testing.F) {
	f.Add("**/a/** @x\n[S] @y\n", "b/a/c")
	f.Add(strings.Repeat("*/**/", 20)+" @x", strings.Repeat("a/", 60))
	f.Fuzz(func(t *testing.T, text, path string) { codeowners.Owners(codeowners.Parse(text), path) })
}

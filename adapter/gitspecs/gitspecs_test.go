package gitspecs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sallyport.dev"
	"sallyport.dev/adapter/gitspecs"
)

var files = map[string]string{
	"api/pay.yaml":          "openapi: 3.1.0\ninfo: {title: Payments, version: \"2.4\"}\nservers: [{url: https://Pay.example.test/v2}]\npaths: {}\n",
	"api/old.json":          `{"swagger": "2.0", "info": {"title": "Old", "version": "1"}, "host": "old.example.test", "basePath": "/api"}`,
	"events.yml":            "asyncapi: 3.0.0\ninfo: {title: Events, version: \"1\"}\n",
	"greet.proto":           "syntax = \"proto3\";\npackage hello.v1;\nservice Greeter { rpc Hi(A) returns (B); }\n",
	"only.proto":            "syntax = \"proto3\";\nmessage A {}\n",
	"schema.graphql":        "type Query { a: Int }\n",
	"soap.wsdl":             "<definitions xmlns=\"http://schemas.xmlsoap.org/wsdl/\"/>",
	"values.yaml":           "image: openapi-generator\n",
	"broken.yaml":           "openapi: [\n",
	"node_modules/dep.yaml": "openapi: 3.0.0\ninfo: {title: Dependency, version: \"1\"}\n",
}

func put(t *testing.T, dir string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(file), 0o755)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link.yaml")); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir string) ([]string, error) {
	t.Helper()
	var out []string
	err := (&gitspecs.Catalogue{ID: "s", Dir: dir}).Watch(t.Context(), func(l []sallyport.Claim) error {
		for _, c := range l {
			out = append(out, c.Asset.API+c.Asset.Host+c.Asset.Path+" "+c.Field+"="+c.Value+" "+c.Evidence)
		}
		return nil
	})
	return out, err
}

func holds(t *testing.T, got []string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) }) {
			t.Errorf("missed %s in\n%s", w, strings.Join(got, "\n"))
		}
	}
	for _, g := range got {
		for _, no := range []string{"Dependency", "link.yaml", "values", "broken", "only.proto", "secret"} {
			if strings.Contains(g, no) {
				t.Errorf("claimed %s", g)
			}
		}
	}
}

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=Vera Test", "-c", "user.email=vera@example.test", "-c", "init.defaultBranch=main"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v %s", args, err, out)
	}
}

// The same is found in a plain folder, a working tree and a bare repository;
// the last two say who wrote it when.
func TestSpecifications(t *testing.T) {
	dir := t.TempDir()
	put(t, dir)
	got, err := read(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"pay.example.test/v2 title=Payments", "pay.example.test/v2 spec.version=2.4", "pay.example.test/v2 hosts=pay.example.test", "old.example.test/api spec=api/old.json", "Events kind=asyncapi", "hello.v1.Greeter kind=grpc", "schema kind=graphql", "soap kind=soap"}
	holds(t, got, all...)

	git(t, dir, "init", "-q")
	git(t, dir, "add", "-f", ".")
	git(t, dir, "commit", "-q", "-m", "first")
	git(t, dir, "remote", "add", "origin", "https://robot:secret@git.example.test/pay.git")
	if got, err = read(t, dir); err != nil {
		t.Fatal(err)
	}
	holds(t, got, append(all, "pay.example.test/v2 repository=https://git.example.test/pay.git api/pay.yaml@")...)
	if !slices.ContainsFunc(got, func(g string) bool { return strings.Contains(g, " by Vera Test at ") }) {
		t.Errorf("no author in %v", got)
	}

	bare := t.TempDir()
	git(t, bare, "clone", "-q", "--bare", dir, ".")
	if got, err = read(t, bare); err != nil {
		t.Fatal(err)
	}
	holds(t, got, all...)
	if _, err := read(t, filepath.Join(dir, "absent")); err == nil {
		t.Error("no error for a folder that is not there")
	}
}

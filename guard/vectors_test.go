package guard_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	yaml "go.yaml.in/yaml/v4"
	"sallyport.dev/guard"
	"sallyport.dev/guard/inspect"
	"sallyport.dev/guard/vectors"
)

var update = flag.Bool("update", false, "rewrite what the decision vectors expect")

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var engine = must(inspect.New(inspect.Options{}))

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestVectors(t *testing.T) {
	data := os.DirFS("testdata")
	files, err := vectors.Load(data, "vectors")
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	for _, f := range files {
		t.Run(f.Name, func(t *testing.T) {
			c, err := f.Config(data, "items")
			if err != nil {
				t.Fatal(err)
			}
			c.Inspect = engine
			p, err := guard.Compile(c)
			if err != nil {
				t.Fatal(err)
			}
			var all []vectors.Decision
			for i := range f.Cases {
				c := &f.Cases[i]
				got := vectors.Put(p, c)
				all = append(all, got)
				if g, w := text(t, got), text(t, c.Expect); g != w && !*update {
					t.Errorf("%s: %s %s\ngot:\n%swant:\n%s", c.Name, c.Request.Method, c.Request.Target, g, w)
				}
			}
			cases += len(f.Cases)
			if *update {
				out, err := f.Update(all)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join("testdata", "vectors", f.Name+".yaml"), out, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	if cases < 40 {
		t.Errorf("%d vectors, want at least 40", cases)
	}
	t.Logf("%d vectors in %d files", cases, len(files))
}

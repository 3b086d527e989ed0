package code_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sallyport.dev"
	"sallyport.dev/discovery"
	"sallyport.dev/discovery/code"
)

var _ discovery.Catalogue = (*code.Catalogue)(nil)

// unpack writes the files of a case, "-- name --" before each, and gives what
// is wanted of it.
func unpack(t *testing.T, file string) (dir string, want []string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for _, section := range strings.Split("\n"+string(b), "\n-- ")[1:] {
		name, body, _ := strings.Cut(section, " --\n")
		if name == "want" {
			want = strings.Split(strings.TrimSpace(body), "\n")
			continue
		}
		put(t, filepath.Join(dir, name), body)
	}
	slices.Sort(want)
	return dir, want
}

func put(t *testing.T, file, body string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(body), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Each case has routes of its frameworks, and what looks like them: comments,
// strings, clients, other objects.
func TestRoutesOfFrameworks(t *testing.T) {
	cases, _ := filepath.Glob("testdata/*.txt")
	if len(cases) < 10 {
		t.Fatal("no cases")
	}
	for _, file := range cases {
		t.Run(filepath.Base(file), func(t *testing.T) {
			dir, want := unpack(t, file)
			r, err := code.Read(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, x := range r.Routes {
				m := x.Method
				if m == "" {
					m = "*"
				}
				got = append(got, m+" "+x.Template+" "+x.File+":"+strconv.Itoa(x.Line))
			}
			for _, u := range r.Unresolved {
				got = append(got, "? "+u)
			}
			slices.Sort(got)
			for _, g := range got {
				if !slices.Contains(want, g) {
					t.Errorf("not wanted: %s", g)
				}
			}
			for _, w := range want {
				if !slices.Contains(got, w) {
					t.Errorf("missed:     %s", w)
				}
			}
			if len(r.Skipped) > 0 {
				t.Errorf("skipped %v", r.Skipped)
			}
		})
	}
}

// What is no longer in the source is withdrawn.
func TestClaimsFollowTheSource(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app.py")
	put(t, file, "from flask import Flask\napp = Flask(__name__)\n\n@app.get('/a')\ndef a(): ...\n\n@app.get('/b')\ndef b(): ...\n")
	c := &code.Catalogue{Dir: dir, API: "shop"}
	watch := func() (out []sallyport.Claim) {
		if err := c.Watch(t.Context(), func(l []sallyport.Claim) error { out = append(out, l...); return nil }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	first := watch()
	if len(first) != 4 || first[0].Field != "code" || first[0].Value != "app.py:4" || first[0].Evidence != "app.py:4" || first[0].Asset.API != "shop" || first[0].Source != "code:"+dir {
		t.Fatalf("first claims: %+v", first)
	}
	if again := watch(); again != nil {
		t.Fatalf("nothing has changed, and yet %+v", again)
	}
	put(t, file, "from flask import Flask\napp = Flask(__name__)\n\n@app.get('/a')\ndef a(): ...\n")
	gone := watch()
	if len(gone) != 2 || !gone[0].Withdrawn || gone[0].Asset.Template != "/b" {
		t.Fatalf("after the change: %+v", gone)
	}
}

func TestHostileTrees(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	put(t, filepath.Join(outside, "secret.py"), "from flask import Flask\napp = Flask(__name__)\n@app.get('/outside')\ndef a(): ...\n")
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "secret.py"), filepath.Join(dir, "link.py")); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "large.js"), strings.Repeat("a", 3<<20))
	put(t, filepath.Join(dir, "broken.go"), "package x\nfunc (")
	put(t, filepath.Join(dir, "deep.ts"), strings.Repeat("((((", 100_000))
	put(t, filepath.Join(dir, "self.py"), "from fastapi import APIRouter\nr = APIRouter()\ns = APIRouter()\nr.include_router(s)\ns.include_router(r)\n@r.get('/x')\ndef x(): ...\n")
	put(t, filepath.Join(dir, "node_modules/x/app.js"), "const a = require('express')(); a.get('/dep', h)")
	put(t, filepath.Join(dir, "evil.js"), "const a = require('express')(); a.get('/x\\u0007y', h)")
	r, err := code.Read(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range r.Routes {
		if x.File != "self.py" {
			t.Errorf("route %+v", x)
		}
	}
	if len(r.Skipped) != 2 {
		t.Errorf("skipped %v", r.Skipped)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := code.Read(ctx, dir); err == nil {
		t.Error("a reading that was called off gives no error")
	}
	if _, err := code.Read(t.Context(), filepath.Join(dir, "absent")); err == nil {
		t.Error("no error for a tree that does not exist")
	}
}

// No text makes a reader fail or run on.
func FuzzReaders(f *testing.F) {
	cases, _ := filepath.Glob("testdata/*.txt")
	for _, file := range cases {
		b, _ := os.ReadFile(file)
		for _, section := range strings.Split("\n"+string(b), "\n-- ")[1:] {
			name, body, _ := strings.Cut(section, " --\n")
			if ext := strings.TrimPrefix(filepath.Ext(name), "."); ext != "" && name != "want" {
				f.Add(ext, body)
			}
		}
	}
	f.Add("js", "`${`${'}")
	f.Add("kt", "/* /* */")
	f.Add("cs", "$@\"\"\"\"")
	f.Add("py", "f'''{")
	f.Fuzz(func(t *testing.T, ext, body string) {
		switch ext {
		case "go", "java", "kt", "js", "ts", "py", "cs":
		default:
			return
		}
		dir := t.TempDir()
		put(t, filepath.Join(dir, "f."+ext), body)
		r, err := code.Read(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range r.Routes {
			if x.Template == "" || x.Template[0] != '/' || x.Line < 1 {
				t.Errorf("%+v", x)
			}
		}
	})
}

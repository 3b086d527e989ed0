package discovery

import (
	"strings"
	"testing"
	"time"
)

// FuzzFold folds whatever paths come, answered and not, and holds the tree to
// its bounds and its templates to their form.
func FuzzFold(f *testing.F) {
	for _, s := range []string{"/a/1\n/a/b\n/a/c", "//x//\n/x", "/{a}/{b}\n/{a}/1", "/%2f/%zz\n/a%20b", "/v1/v1.0.0/2024-01-01\n/1/2/3", "/\xff/\x00\n/\xe2\x80\xb9token\xe2\x80\xba"} {
		f.Add(s, uint16(200))
		f.Add(s, uint16(404))
	}
	f.Fuzz(func(t *testing.T, paths string, status uint16) {
		o := Options{Templates: 50, Candidates: 10, Children: 5}
		d := &Discovery{o: o, trees: map[string]*tree{}}
		n := 0
		for i, p := range strings.Split(paths, "\n") {
			x := exchange{ID: "x", Time: time.Unix(int64(i), 0), Method: []string{"GET", "POST", "DELETE"}[i%3], Path: p, Status: int(status), Origin: int(status)}
			if i%5 == 4 {
				x.Declared, x.Template = true, p
			}
			for _, s := range d.fold(&x, nil) {
				if s.Template == "" || s.Template[0] != '/' || strings.ContainsAny(s.Template, " \x00\n") {
					t.Fatalf("template %q of %q", s.Template, p)
				}
				if s.Path != "" {
					n++
				}
			}
		}
		if t0 := d.trees[""]; t0 != nil {
			if t0.leaves > 50 || len(t0.candidates) > 10 || len(t0.order) != len(t0.candidates) {
				t.Fatalf("%d templates, %d candidates, %d in order", t0.leaves, len(t0.candidates), len(t0.order))
			}
			seen := map[string]bool{}
			leaves := 0
			var walk func(*node)
			walk = func(n *node) {
				for m := range n.methods {
					leaves++
					k := m + " " + n.template()
					if seen[k] {
						t.Fatalf("%s stands twice", k)
					}
					seen[k] = true
				}
				for s, c := range n.literal {
					if c.up != n || c.seg != s {
						t.Fatalf("%q hangs wrongly", s)
					}
					walk(c)
				}
				if n.value != nil {
					if n.value.up != n {
						t.Fatal("an argument hangs wrongly")
					}
					walk(n.value)
				}
			}
			walk(t0.root)
			if leaves != t0.leaves {
				t.Fatalf("%d leaves, %d counted", leaves, t0.leaves)
			}
		}
	})
}

func BenchmarkFold(b *testing.B) {
	d := &Discovery{o: Options{Templates: 10000, Candidates: 500, Children: 200}, trees: map[string]*tree{}}
	paths := make([]string, 4096)
	for i := range paths {
		paths[i] = "/v1/resources" + string(rune('a'+i%26)) + "/" + strings.Repeat("1", 1+i%7) + "/parts/" + strings.Repeat("2", 1+i%5)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		x := exchange{ID: "x", Time: time.Unix(int64(i), 0), Method: "GET", Path: paths[i%len(paths)], Status: 200, Origin: 200}
		d.fold(&x, nil)
		i++
	}
}

package spec_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"sallyport.dev/spec"
)

// Each broken description gives all its mistakes at once, with positions.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/mistakes/*.*")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, ".txt") {
			continue
		}
		_, err := spec.Load(context.Background(), []spec.Source{{Path: file}}, spec.Options{})
		var m *spec.Mistakes
		if !errors.As(err, &m) {
			t.Errorf("%s: error is %T %v", file, err, err)
			continue
		}
		got := strings.ReplaceAll(m.Error(), filepath.ToSlash("testdata/mistakes/"), "") + "\n"
		name := file + ".txt"
		if *update {
			if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s:\n%s\nwant:\n%s", file, got, want)
		}
	}
}

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const (
	mainFile = `openapi: 3.0.3
info: {title: t, version: "1"}
paths:
  /a/{id}:
    get:
      parameters: [{$ref: "parts/common.yaml#/id"}]
      responses: {"200": {description: ok}}
  /b: {$ref: "parts/common.yaml#/item"}
`
	common = `id: {name: id, in: path, required: true, schema: {$ref: "#/schemas/id"}}
schemas:
  id: {type: integer}
item:
  post:
    requestBody: {content: {application/json: {schema: {$ref: "deep/tree.json"}}}}
    responses: {"200": {description: ok}}
`
	tree = `{"type": "object", "properties": {"child": {"$ref": "#"}, "n": {"$ref": "../common.yaml#/schemas/id"}}, "additionalProperties": false}`
)

// References reach files below the folder; schemas in them work.
func checkParts(t *testing.T, set *spec.Set) {
	t.Helper()
	if len(set.Operations()) != 2 {
		t.Fatalf("%d operations", len(set.Operations()))
	}
	var m spec.Match
	var c spec.Check
	if set.Match("GET", "/a/x", &m) != spec.Found {
		t.Fatal("no match")
	}
	m.Op.CheckParams(&c, &m, "", nil)
	if rules(&c) != "schema.type@path id" {
		t.Error(rules(&c))
	}
	c.Reset()
	if set.Match("POST", "/b", &m) != spec.Found {
		t.Fatal("no match")
	}
	m.Op.CheckBody(&c, "application/json", []byte(`{"child":{"child":{"n":"x"}}}`))
	if rules(&c) != "schema.type@body /child/child/n" {
		t.Error(rules(&c))
	}
}

func TestSources(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"main.yaml": mainFile, "parts/common.yaml": common, "parts/deep/tree.json": tree, "parts/readme.txt": "no"})
	for _, path := range []string{filepath.Join(dir, "main.yaml"), dir} {
		set, err := spec.Load(context.Background(), []spec.Source{{Path: path}}, spec.Options{})
		if err != nil {
			t.Fatal(err)
		}
		checkParts(t, set)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	set, err := spec.Load(context.Background(), []spec.Source{{Path: server.URL + "/main.yaml"}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	checkParts(t, set)

	for name, c := range map[string]struct {
		source spec.Source
		want   string
	}{
		"missing file":  {spec.Source{Path: filepath.Join(dir, "none.yaml")}, "no such file"},
		"empty folder":  {spec.Source{Path: t.TempDir()}, "folder holds no OpenAPI description"},
		"no such page":  {spec.Source{Path: server.URL + "/none.yaml"}, "the server answered 404"},
		"bytes refer":   {spec.Source{Path: "given.yaml", Data: []byte(mainFile)}, "given.yaml:6:27: document of $ref"},
		"nobody serves": {spec.Source{Path: "http://127.0.0.1:1/x.yaml"}, "document cannot be read"},
	} {
		_, err := spec.Load(context.Background(), []spec.Source{c.source}, spec.Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Nothing outside the folder is opened, by path or by link, and no other host
// is asked.
func TestOutside(t *testing.T) {
	dir := t.TempDir()
	secret := "s: {name: id, in: path, required: true, schema: {type: string}}\n"
	write(t, dir, map[string]string{"outside.yaml": secret, "in/main.yaml": strings.ReplaceAll(mainFile, "parts/common.yaml#/id", "../outside.yaml#/s"),
		"in/link.main.yaml": strings.ReplaceAll(mainFile, "parts/common.yaml#/id", "link.yaml#/s")})
	if err := os.Symlink(filepath.Join(dir, "outside.yaml"), filepath.Join(dir, "in", "link.yaml")); err != nil {
		t.Fatal(err)
	}
	asked := false
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked = true; w.Write([]byte(secret)) }))
	defer other.Close()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	mux.HandleFunc("/host.yaml", func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(strings.ReplaceAll(mainFile, "parts/common.yaml#/id", other.URL+"/x.yaml#/s")))
	})
	mux.HandleFunc("/away.yaml", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) })
	for path, want := range map[string]string{
		filepath.Join(dir, "in/main.yaml"):      "it is outside the folder of the description",
		filepath.Join(dir, "in/link.main.yaml"): "it is outside the folder of the description",
		server.URL + "/host.yaml":               "it is on another host than the description",
		server.URL + "/away.yaml":               "it is on another host than the description",
	} {
		_, err := spec.Load(context.Background(), []spec.Source{{Path: path}}, spec.Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if asked {
		t.Error("another host was asked")
	}
}

// Several descriptions become one set; what both declare is a mistake.
func TestMerge(t *testing.T) {
	one := spec.Source{Path: "one.yaml", Data: []byte("openapi: 3.0.3\ninfo: {title: t, version: '1'}\npaths:\n  /a/{x}:\n    get:\n      operationId: a\n" +
		"      parameters: [{name: x, in: path, required: true, schema: {type: string}}]\n      responses: {'200': {description: ok}}\n")}
	two := spec.Source{Path: "two.yaml", Data: []byte(strings.ReplaceAll(string(one.Data), "/a/{x}", "/b/{x}"))}
	two.Data = []byte(strings.ReplaceAll(string(two.Data), "operationId: a", "operationId: b"))
	set, err := spec.Load(context.Background(), []spec.Source{one, two}, spec.Options{})
	if err != nil || len(set.Operations()) != 2 {
		t.Fatal(err)
	}
	three := spec.Source{Path: "three.yaml", Data: []byte(strings.ReplaceAll(strings.ReplaceAll(string(one.Data), "{x}", "{y}"), "name: x", "name: y"))}
	_, err = spec.Load(context.Background(), []spec.Source{one, two, three}, spec.Options{})
	want := `three.yaml:5:5: GET /a/{y} is declared twice (first at one.yaml:5:5 as /a/{x})
three.yaml:6:20: operationId "a" stands twice (first at one.yaml:5:5)`
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// Huge and hostile documents end soon, in bounded memory, with a clear word.
func TestHuge(t *testing.T) {
	head := "openapi: 3.0.3\ninfo: {title: t, version: '1'}\n"
	bomb := head + "x-a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'j'; c++ {
		p := string(c - 1)
		bomb += "x-" + string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+p+",", 9) + "*" + p + "]\n"
	}
	for name, c := range map[string]struct{ text, want string }{
		"50 MB of text":   {head + "paths:\n" + strings.Repeat("  # nothing to see here, move along please\n", 50<<20/43), "document is larger than 16777216 bytes"},
		"many lines":      {head + "paths:\n" + strings.Repeat("  - a\n", 2_000_000), "document holds more than 1500000 lines and items"},
		"alias bomb":      {bomb + "paths: {}\n", "document expands to more than"},
		"deep JSON":       {`{"openapi":"3.0.3","x":` + strings.Repeat("[", 100_000), "not valid JSON"},
		"deep flow":       {head + "x: " + strings.Repeat("[", 100_000) + "\n", "YAML"},
		"deep schema":     {head + "paths:\n  /a:\n    get:\n      responses: {'200': {description: ok}}\n      parameters: [{name: a, in: query, schema: " + strings.Repeat("{items: ", 230) + "{}" + strings.Repeat("}", 230) + "}]\n", "nested deeper"},
		"binary":          {"\x00\x01\x02\xff\xfe", "YAML"},
		"many references": {head + "paths: {/a: {$ref: '#/x0'}}\n" + chain(100), "leads in a circle"},
	} {
		begin := time.Now()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := spec.Load(context.Background(), []spec.Source{{Path: "x.yaml", Data: []byte(c.text)}}, spec.Options{})
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.300v, want %q", name, err, c.want)
		}
		if took, used := time.Since(begin), (after.TotalAlloc-before.TotalAlloc)>>20; used > 1500 {
			t.Errorf("%s: %v and %d MiB allocated", name, took, used)
		}
	}
}

func chain(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("x" + itoa(i) + ": {$ref: '#/x" + itoa(i+1) + "'}\n")
	}
	return b.String() + "x" + itoa(n) + ": {}\n"
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

func FuzzLoad(f *testing.F) {
	files, _ := filepath.Glob("testdata/mistakes/*.yaml")
	for _, file := range append(files, "testdata/shop.yaml", "testdata/mistakes/broken.json") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(common))
	f.Add([]byte(tree))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		set, err := spec.Load(context.Background(), []spec.Source{{Path: "fuzz", Data: data}}, spec.Options{})
		if (set == nil) == (err == nil) {
			t.Fatalf("set %v, error %v", set, err)
		}
		var m *spec.Mistakes
		if err != nil {
			if !errors.As(err, &m) || len(m.List) == 0 {
				t.Fatalf("error is %T", err)
			}
			return
		}
		var c spec.Check
		for _, op := range set.Operations() {
			var match spec.Match
			set.Match(op.Method, op.Template, &match)
			c.Reset()
			op.CheckParams(&c, &match, "a=1&b[c]=2", http.Header{"Cookie": {"a=1"}})
			op.CheckBody(&c, "application/json", []byte(`{"a":[1,"x",null]}`))
			op.CheckResponse(&c, 200, nil)
			op.CheckResponseBody(&c, 200, "application/json", []byte(`[{}]`))
		}
	})
}

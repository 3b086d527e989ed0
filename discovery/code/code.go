// Package code reads declared routes out of source code. In comes a tree of
// files; out go routes, each with method, template, framework and file:line,
// and claims made of them.
//
// Go is read by go/ast. Java, Kotlin, JavaScript, TypeScript, Python and C# are
// read by tokenizers of this package, so that what stands in a comment or in a
// string is never taken for code. Prefixes of groups, routers, classes and
// mounts are put in front where the source says plainly what they are; what it
// computes at run time is counted as unresolved, never guessed.
//
// The package runs nothing of what it reads, follows no symbolic link, and reads
// a bounded number of files of a bounded size.
package code

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
)

// A Route is one operation that source code declares.
type Route struct {
	Method    string // upper case; "" = any
	Template  string // from the server's root as far as the source tells, parameters as {name}; of gRPC /package.Service/Method
	Framework string // "gin", "spring", "express", …
	File      string // relative to the tree, with slashes
	Line      int
	Rest      bool // the last parameter takes any number of segments
	Partial   bool // a router was declared here and mounted where the source does not tell
}

// A Report is what was found in a tree.
type Report struct {
	Routes     []Route  // by template, method, file and line
	Files      int      // read
	Skipped    []string // files that were too large or broken, each with the reason; bounded
	Unresolved []string // file:line of registrations whose path is computed; bounded
	Cut        string   // why the walk ended early; "" = it did not
}

// Bounds of one reading.
const (
	maxFileBytes = 2 << 20
	maxFiles     = 50_000
	maxBytes     = 512 << 20
	maxRoutes    = 100_000
	maxNotes     = 200
)

// Catalogue tells the routes of a tree as claims.
type Catalogue struct {
	ID    string        // Name; by default "code:" and Dir
	Dir   string        // the tree
	API   string        // the API whose code it is; "" = unknown
	Every time.Duration // between two readings; 0 = once

	said sallyport.Claims
}

// Name is how it is told from all other catalogues.
func (c *Catalogue) Name() string { return cmp.Or(c.ID, "code:"+c.Dir) }

// Watch tells the routes, and what becomes of them, until ctx ends.
func (c *Catalogue) Watch(ctx context.Context, claims func([]sallyport.Claim) error) error {
	return c.said.Poll(ctx, c.Every, c.read, claims)
}

func (c *Catalogue) read(ctx context.Context) ([]sallyport.Claim, error) {
	r, err := Read(ctx, c.Dir)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	out := make([]sallyport.Claim, 0, 2*len(r.Routes))
	for _, x := range r.Routes {
		asset := sallyport.Asset{API: c.API, Method: x.Method, Template: x.Template}
		at := fmt.Sprintf("%s:%d", x.File, x.Line)
		says := at
		if x.Method == "" { // no operation of its own: the API is declared there
			asset, says = sallyport.Asset{API: c.API}, at+" any method of "+x.Template
		}
		sure := 0.95
		if x.Partial {
			sure = 0.5
		}
		for _, f := range [][2]string{{"code", at}, {"framework", x.Framework}} {
			out = append(out, sallyport.Claim{Asset: asset, Field: f[0], Value: f[1], Source: c.Name(), Confidence: sure, Evidence: says, Time: now})
		}
	}
	return out, nil
}

// languages of source files by extension.
var languages = map[string]string{".go": "go", ".java": "java", ".kt": "kotlin", ".kts": "", ".js": "js", ".mjs": "js", ".cjs": "js", ".jsx": "js", ".ts": "js", ".mts": "js", ".cts": "js", ".tsx": "js", ".py": "python", ".cs": "cs"}

// skipped folders hold what others wrote, or what was built.
var skippedDirs = map[string]bool{"node_modules": true, "vendor": true, "testdata": true, "__pycache__": true, "site-packages": true, "dist": true, "target": true, "bower_components": true, "third_party": true}

// Read finds the routes of the tree at dir, which may be a single file. Its
// error says that dir can't be read, or that ctx ended.
func Read(ctx context.Context, dir string) (Report, error) {
	var r Report
	info, err := os.Stat(dir)
	if err != nil {
		return r, fmt.Errorf("read source code: %w", err)
	}
	base := ""
	if !info.IsDir() {
		base = path.Base(strings.ReplaceAll(dir, "\\", "/"))
		dir = dir[:len(dir)-len(base)]
		dir = cmp.Or(dir, ".")
	}
	root, err := os.OpenRoot(dir) // nothing outside of it can be opened, whatever links say
	if err != nil {
		return r, fmt.Errorf("read source code: %w", err)
	}
	defer root.Close()
	sources := map[string][]source{}
	total := 0
	take := func(name string, size int64) error {
		lang := languages[strings.ToLower(path.Ext(name))]
		if lang == "" || testFile(name) {
			return nil
		}
		switch {
		case size > maxFileBytes:
			r.skip("%s: %d bytes, more than %d", name, size, maxFileBytes)
			return nil
		case r.Files >= maxFiles || total > maxBytes:
			r.Cut = fmt.Sprintf("more than %d files or %d bytes", maxFiles, maxBytes)
			return fs.SkipAll
		}
		f, err := root.Open(name)
		if err != nil {
			r.skip("%s: %v", name, err)
			return nil
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
		if err != nil || len(b) > maxFileBytes {
			r.skip("%s: can't be read whole: %v", name, err)
			return nil
		}
		r.Files++
		total += len(b)
		sources[lang] = append(sources[lang], source{name, string(b)})
		return nil
	}
	if base != "" {
		err = take(base, info.Size())
	} else {
		err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				r.skip("%s: %v", name, err)
				if d != nil && d.IsDir() {
					return fs.SkipDir
				}
				return nil
			case d.IsDir():
				if n := d.Name(); name != "." && (skippedDirs[n] || strings.HasPrefix(n, ".")) {
					return fs.SkipDir
				}
				return nil
			case !d.Type().IsRegular():
				return nil
			}
			info, err := d.Info()
			if err != nil {
				return nil
			}
			return take(name, info.Size())
		})
	}
	if err != nil && !errors.Is(err, fs.SkipAll) {
		return r, fmt.Errorf("read source code: %w", err)
	}
	for _, lang := range []string{"go", "java", "kotlin", "js", "python", "cs"} {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		if files := sources[lang]; len(files) > 0 {
			readers[lang](files, &r)
		}
	}
	r.finish()
	return r, nil
}

type source struct{ name, text string }

var readers = map[string]func([]source, *Report){"go": readGo, "java": readJava, "kotlin": readKotlin, "js": readJS, "python": readPython, "cs": readCS}

// testFile tells files that serve only tests.
func testFile(name string) bool {
	b := path.Base(name)
	if strings.HasSuffix(b, "_test.go") || strings.Contains(b, ".spec.") || strings.Contains(b, ".test.") || strings.HasSuffix(b, ".d.ts") || strings.HasSuffix(b, ".min.js") ||
		strings.HasPrefix(b, "test_") && strings.HasSuffix(b, ".py") || strings.HasSuffix(b, "_test.py") || b == "conftest.py" || strings.HasSuffix(b, "Test.java") || strings.HasSuffix(b, "Tests.java") || strings.HasSuffix(b, "Tests.cs") {
		return true
	}
	for dir := range strings.SplitSeq(path.Dir(name), "/") {
		switch dir {
		case "test", "tests", "__tests__":
			return true
		}
	}
	return false
}

func (r *Report) skip(format string, args ...any) {
	if len(r.Skipped) < maxNotes {
		r.Skipped = append(r.Skipped, fmt.Sprintf(format, args...))
	}
}

func (r *Report) unresolved(file string, line int) {
	if len(r.Unresolved) < maxNotes {
		r.Unresolved = append(r.Unresolved, fmt.Sprintf("%s:%d", file, line))
	}
}

// methods are those that frameworks register by name.
var methods = map[string]bool{"GET": true, "POST": true, "PUT": true, "PATCH": true, "DELETE": true, "HEAD": true, "OPTIONS": true, "TRACE": true, "CONNECT": true}

func (r *Report) add(x Route) {
	if len(r.Routes) >= maxRoutes {
		r.Cut = fmt.Sprintf("more than %d routes", maxRoutes)
		return
	}
	x.Method = strings.ToUpper(x.Method)
	if x.Method == "ANY" || x.Method == "ALL" {
		x.Method = ""
	}
	if x.Method != "" && !verb(x.Method) || len(x.Template) > 2048 || !printable(x.Template) {
		r.unresolved(x.File, x.Line)
		return
	}
	r.Routes = append(r.Routes, x)
}

func verb(s string) bool {
	for _, c := range s {
		if (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return len(s) <= 32
}

func printable(s string) bool {
	for _, c := range s {
		if c < ' ' || c == 0x7f || c == '\uFFFD' {
			return false
		}
	}
	return true
}

// finish puts the routes in order, each once.
func (r *Report) finish() {
	slices.SortStableFunc(r.Routes, func(a, b Route) int {
		return cmp.Or(cmp.Compare(a.Template, b.Template), cmp.Compare(a.Method, b.Method), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	r.Routes = slices.CompactFunc(r.Routes, func(a, b Route) bool {
		return a.Template == b.Template && a.Method == b.Method && a.File == b.File && a.Line == b.Line
	})
}

// join puts a prefix in front of a path.
func join(prefix, p string) string {
	if p == "" || p == "/" {
		if prefix == "" {
			return "/"
		}
		if p == "" {
			return prefix
		}
	}
	out := strings.TrimRight(prefix, "/") + "/" + strings.TrimLeft(p, "/")
	for strings.Contains(out, "//") {
		out = strings.ReplaceAll(out, "//", "/")
	}
	if len(out) > 1 && p == "/" {
		out = strings.TrimRight(out, "/")
	}
	return out
}

// colon turns :id, :id? and * into {id} and {path}; optional parameters give two
// templates. A pattern in parentheses behind a name is dropped.
func colon(p string) (out []string, rest bool) {
	var b strings.Builder
	optional := -1
	for i := 0; i < len(p); {
		c := p[i]
		switch {
		case c == ':' && i+1 < len(p) && word(p[i+1]):
			j := i + 1
			for j < len(p) && word(p[j]) {
				j++
			}
			start := b.Len()
			b.WriteString("{" + p[i+1:j] + "}")
			if j < len(p) && p[j] == '(' {
				j += closing(p[j:])
			} else if j < len(p) && p[j] == '<' {
				if k := strings.IndexByte(p[j:], '>'); k > 0 {
					j += k + 1
				}
			} else if j < len(p) && p[j] == '{' { // hono: :id{[0-9]+}
				j += braces(p[j:])
			}
			if j < len(p) && (p[j] == '*' || p[j] == '+') {
				rest = true
				j++
			}
			if j < len(p) && p[j] == '?' {
				if optional < 0 {
					optional = start
				}
				j++
			}
			i = j
		case (c == '*' || c == '+') && (i == 0 || p[i-1] == '/'):
			j := i + 1
			for j < len(p) && word(p[j]) {
				j++
			}
			b.WriteString("{" + cmp.Or(p[i+1:j], "path") + "}")
			rest = true
			i = j
		default:
			b.WriteByte(c)
			i++
		}
	}
	s := b.String()
	if optional >= 0 {
		out = append(out, strings.TrimRight(s[:optional], "/"))
		if out[0] == "" {
			out[0] = "/"
		}
	}
	return append(out, s), rest
}

func word(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// closing is the length of a bracketed text that begins s, or all of it.
func closing(s string) int { return span(s, '(', ')') }

func braces(s string) int { return span(s, '{', '}') }

func span(s string, open, shut byte) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case open:
			depth++
		case shut:
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// curly turns {id:[0-9]+}, {id:int}, {*rest}, {rest...} and {id?} into {id}.
func curly(p string) (out string, rest bool) {
	var b strings.Builder
	for i := 0; i < len(p); {
		if p[i] == '*' { // a wildcard of its own
			j := i
			for j < len(p) && p[j] == '*' {
				j++
			}
			b.WriteString("{path}")
			rest, i = true, j
			continue
		}
		if p[i] != '{' {
			b.WriteByte(p[i])
			i++
			continue
		}
		n := braces(p[i:])
		name := strings.Trim(p[i:i+n], "{}")
		i += n
		if strings.HasPrefix(name, "*") || strings.HasSuffix(name, "...") || strings.HasPrefix(name, "/") {
			rest = true
		}
		name, _, _ = strings.Cut(name, ":")
		name, _, _ = strings.Cut(name, "=")
		name = strings.TrimFunc(name, func(c rune) bool { return c == '*' || c == '.' || c == '?' || c == ' ' || c == '/' || c == '+' })
		if name == "$" {
			continue // the end of a path, in Go
		}
		b.WriteString("{" + cmp.Or(name, "path") + "}")
	}
	return b.String(), rest
}

// angle turns <int:id> and <id> into {id}.
func angle(p string) (out string, rest bool) {
	var b strings.Builder
	for i := 0; i < len(p); {
		if p[i] != '<' {
			b.WriteByte(p[i])
			i++
			continue
		}
		n := strings.IndexByte(p[i:], '>')
		if n < 0 {
			b.WriteString(p[i:])
			break
		}
		name := p[i+1 : i+n]
		if kind, id, ok := cutLast(name, ':'); ok {
			rest = rest || kind == "path"
			name = id
		}
		b.WriteString("{" + name + "}")
		i += n + 1
	}
	return b.String(), rest
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return "", s, false
}

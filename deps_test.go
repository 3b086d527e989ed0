package sallyport_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "sallyport.dev"

// rooms says which rooms of this module each room may import, besides the
// root. Sub-packages belong to their room. A new arrow starts as a line here,
// with its reason.
var rooms = map[string][]string{
	"":            {},
	"store":       {},
	"classify":    {},
	"spec":        {},
	"policy":      {},
	"guard":       {"spec", "policy", "classify"},
	"identity":    {"policy", "store"},
	"observe":     {"spec", "classify", "store"},
	"gateway":     {"guard", "identity", "observe", "spec"},
	"adapter":     {"guard", "identity", "observe", "spec"},
	"discovery":   {"spec", "policy", "classify", "store"},
	"conformance": {"spec", "policy", "classify", "store"},
	"inventory":   {"policy", "classify", "store"},
	"incident":    {"policy", "classify", "store"},
	"console":     {"spec", "conformance", "policy", "identity", "observe", "discovery", "inventory", "incident", "classify", "store"},
}

// rootless rooms do not even know the nouns of the root.
var rootless = []string{"", "store", "classify"}

// free parts of the tree wire rooms together or test them; they may import
// everything and nothing imports them, but for the starters of test/integration.
var free = []string{"cmd", "test", "examples"}

// barred names what a room may not reach for at all: the guard is pure, so its
// time, counters, keys and lists come in as values or small interfaces.
var barred = map[string][]string{
	"guard": {"os", "os/exec", "database/sql", "log", "log/slog", "net/rpc", "net/smtp", "syscall"},
}

// dialling are the names of net and net/http that open sockets; the guard uses none.
var dialling = map[string][]string{
	"net": {"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialIP", "DialUnix", "Dialer", "Listen", "ListenPacket", "ListenTCP",
		"ListenUDP", "ListenIP", "ListenUnix", "ListenConfig", "Resolver", "DefaultResolver", "LookupHost", "LookupIP", "LookupAddr",
		"LookupCNAME", "LookupMX", "LookupNS", "LookupPort", "LookupSRV", "LookupTXT", "LookupNetIP", "Interfaces"},
	"net/http": {"Client", "DefaultClient", "Transport", "DefaultTransport", "Get", "Post", "PostForm", "Head", "Server",
		"ListenAndServe", "ListenAndServeTLS", "Serve", "ServeTLS", "NewRequest", "NewRequestWithContext"},
}

type goFile struct {
	path, room string
	test       bool
	syntax     *ast.File
}

// sources parses every Go file of the module itself, so that no cached listing
// can hide an import.
func sources(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	set := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "testdata" || d.Name() == "bin"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		f, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		room, _, nested := strings.Cut(filepath.ToSlash(path), "/")
		if !nested {
			room = ""
		}
		files = append(files, goFile{path, room, strings.HasSuffix(path, "_test.go"), f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestImportTable(t *testing.T) {
	for _, f := range sources(t) {
		if f.test || slices.Contains(free, f.room) {
			continue
		}
		allowed, known := rooms[f.room]
		if !known {
			t.Errorf("%s: room %q is not in the import table", f.path, f.room)
			continue
		}
		for _, spec := range f.syntax.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			if slices.Contains(barred[f.room], path) {
				t.Errorf("%s imports %s, which room %q may not use", f.path, path, f.room)
			}
			rest, ours := strings.CutPrefix(path, module)
			if !ours {
				continue
			}
			room, _, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
			switch {
			case room == f.room && room != "":
			case room == "" && !slices.Contains(rootless, f.room):
			case room != "" && slices.Contains(allowed, room):
			default:
				t.Errorf("%s imports %s: room %q may import %v", f.path, path, f.room, allowed)
			}
		}
	}
}

func TestGuardOpensNoSocket(t *testing.T) {
	for _, f := range sources(t) {
		if f.test || f.room != "guard" {
			continue
		}
		local := map[string]string{} // name in this file → import path
		for _, spec := range f.syntax.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			if _, ok := dialling[path]; ok {
				name := path[strings.LastIndex(path, "/")+1:]
				if spec.Name != nil {
					name = spec.Name.Name
				}
				local[name] = path
			}
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && slices.Contains(dialling[local[x.Name]], sel.Sel.Name) {
				t.Errorf("%s uses %s.%s", f.path, x.Name, sel.Sel.Name)
			}
			return true
		})
	}
}

func TestPackageComments(t *testing.T) {
	commented := map[string]bool{}
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		dir := filepath.Dir(f.path)
		doc := f.syntax.Doc.Text()
		good := strings.HasPrefix(doc, "Package "+f.syntax.Name.Name+" ") || f.syntax.Name.Name == "main" && strings.HasPrefix(doc, "Command ")
		commented[dir] = commented[dir] || good
	}
	for dir, ok := range commented {
		if !ok {
			t.Errorf("%s: no package comment that says what comes in, what goes out and what it never does", dir)
		}
	}
}

func TestNoDrawers(t *testing.T) {
	for _, f := range sources(t) {
		for _, part := range strings.Split(filepath.ToSlash(filepath.Dir(f.path)), "/") {
			if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "misc", "shared"}, part) {
				t.Errorf("%s: a package is named for what it knows, not %q", f.path, part)
			}
		}
	}
}

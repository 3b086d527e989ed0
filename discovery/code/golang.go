package code

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
)

// goFrameworks are the import paths of routers, without a major version.
var goFrameworks = map[string]string{
	"net/http": "net/http", "github.com/go-chi/chi": "chi", "github.com/gin-gonic/gin": "gin", "github.com/labstack/echo": "echo",
	"github.com/gofiber/fiber": "fiber", "github.com/gorilla/mux": "gorilla", "google.golang.org/grpc": "grpc",
}

// A goRouter is a value that routes are registered with, as far as it is known.
type goRouter struct {
	framework string
	prefix    string
	partial   bool   // prefix begins at a parameter that no call was found for
	methods   string // of a gorilla route: Methods(…) stands elsewhere in the chain
}

type goFunc struct {
	decl *ast.FuncDecl
	file *goFile
	in   []goRouter // what its router parameters were called with, by index below
	keys map[string]bool
	busy int
}

type goFile struct {
	name    string
	dir     string
	syntax  *ast.File
	imports map[string]string // local name → import path without major version
}

type goReader struct {
	set    *token.FileSet
	report *Report
	files  []*goFile
	funcs  map[string]*goFunc   // dir\x00name, or dir\x00.method for methods
	consts map[string]ast.Expr  // dir\x00name
	fields map[string]*goRouter // dir\x00field of a struct that holds a router
	global map[string]*goRouter // dir\x00name
	own    map[string]bool      // dir\x00type that has methods named like HTTP's
	budget int
}

func readGo(files []source, r *Report) {
	g := &goReader{set: token.NewFileSet(), report: r, funcs: map[string]*goFunc{}, consts: map[string]ast.Expr{}, fields: map[string]*goRouter{}, global: map[string]*goRouter{}, own: map[string]bool{}, budget: 400_000}
	for _, s := range files {
		syntax, err := parser.ParseFile(g.set, s.name, s.text, parser.SkipObjectResolution)
		if err != nil {
			r.skip("%s: %v", s.name, err)
			continue
		}
		f := &goFile{name: s.name, dir: path.Dir(s.name), syntax: syntax, imports: map[string]string{}}
		for _, i := range syntax.Imports {
			p, _ := strconv.Unquote(i.Path.Value)
			base, last := cutMajor(p)
			local := last
			if i.Name != nil {
				local = i.Name.Name
			}
			f.imports[local] = base
		}
		g.files = append(g.files, f)
	}
	g.declare()
	for _, f := range g.files { // what fields and globals hold, from where they are set
		g.holders(f)
	}
	// Functions that nobody calls with a router first, so that their calls are known.
	for range 2 {
		for _, f := range g.ordered() {
			if !g.takesRouter(f) && !f.keys["moved"] {
				g.walk(f, nil)
			}
		}
	}
	for _, f := range g.ordered() {
		if g.takesRouter(f) && len(f.keys) == 0 {
			g.walk(f, nil)
		}
	}
}

func (g *goReader) ordered() []*goFunc {
	var out []*goFunc
	for _, f := range g.funcs {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b *goFunc) int { return int(a.decl.Pos() - b.decl.Pos()) })
	return slices.Compact(out)
}

// cutMajor takes a major version off an import path and gives its package name.
func cutMajor(p string) (base, name string) {
	name = path.Base(p)
	if len(name) > 1 && name[0] == 'v' && strings.Trim(name[1:], "0123456789") == "" {
		p = path.Dir(p)
		name = path.Base(p)
	}
	name = strings.TrimPrefix(name, "go-")
	return p, name
}

func (g *goReader) declare() {
	verbs := map[string]int{}
	for _, f := range g.files {
		for _, d := range f.syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Body == nil {
					continue
				}
				name := d.Name.Name
				if d.Recv != nil {
					name = "." + name
					if methods[strings.ToUpper(d.Name.Name)] && d.Type.Params != nil && len(d.Type.Params.List) > 0 && isIdent(d.Type.Params.List[0].Type, "string") {
						verbs[f.dir+"\x00"+typeName(d.Recv.List[0].Type)]++
					}
				}
				fn := &goFunc{decl: d, file: f, keys: map[string]bool{}}
				key := f.dir + "\x00" + name
				if d.Recv != nil {
					g.funcs[key+"\x00"+typeName(d.Recv.List[0].Type)] = fn
				}
				if g.funcs[key] == nil {
					g.funcs[key] = fn
				} else if name == "init" || d.Recv != nil {
					g.funcs[key+"\x00"+strconv.Itoa(int(d.Pos()))] = fn
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.ValueSpec:
						for i, n := range s.Names {
							if i < len(s.Values) && d.Tok == token.CONST {
								g.consts[f.dir+"\x00"+n.Name] = s.Values[i]
							}
						}
					}
				}
			}
		}
	}
	for k, n := range verbs {
		if n >= 3 {
			g.own[k] = true
		}
	}
}

func isIdent(e ast.Expr, name string) bool {
	i, ok := e.(*ast.Ident)
	return ok && i.Name == name
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.IndexListExpr:
		return typeName(e.X)
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// routerTypes are the types that take routes, by framework.
var routerTypes = map[string][]string{
	"net/http": {"ServeMux"}, "chi": {"Router", "Mux"}, "gin": {"Engine", "RouterGroup", "IRouter", "IRoutes"}, "echo": {"Echo", "Group"},
	"fiber": {"App", "Router", "Group"}, "gorilla": {"Router", "Route"}, "grpc": {"Server", "ServiceRegistrar"},
}

// typed says which router a type is, nil for none.
func (g *goReader) typed(f *goFile, e ast.Expr) *goRouter {
	switch x := e.(type) {
	case *ast.StarExpr:
		return g.typed(f, x.X)
	case *ast.IndexExpr:
		return g.typed(f, x.X)
	case *ast.Ident:
		if g.own[f.dir+"\x00"+x.Name] {
			return &goRouter{framework: "own " + x.Name}
		}
	case *ast.SelectorExpr:
		pkg, ok := x.X.(*ast.Ident)
		if !ok {
			return nil
		}
		p, ok := f.imports[pkg.Name]
		if !ok {
			return nil
		}
		fw := goFrameworks[p]
		if slices.Contains(routerTypes[fw], x.Sel.Name) {
			return &goRouter{framework: fw}
		}
		if g.ownType(p, x.Sel.Name) {
			return &goRouter{framework: "own " + x.Sel.Name}
		}
	}
	return nil
}

// ownType reports whether the package at import path p, in this tree, declares a
// router called name.
func (g *goReader) ownType(p, name string) bool {
	for k := range g.own {
		dir, n, _ := strings.Cut(k, "\x00")
		if n == name && dir != "." && (p == dir || strings.HasSuffix(p, "/"+dir)) {
			return true
		}
	}
	return false
}

func (g *goReader) holders(f *goFile) {
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.TypeSpec:
			if st, ok := n.Type.(*ast.StructType); ok {
				for _, field := range st.Fields.List {
					if r := g.typed(f, field.Type); r != nil {
						if len(field.Names) == 0 {
							g.fields[f.dir+"\x00"+typeName(field.Type)] = r
						}
						for _, name := range field.Names {
							g.fields[f.dir+"\x00"+name.Name] = r
						}
					}
				}
			}
		case *ast.FuncDecl:
			return true
		case *ast.ValueSpec:
			for i, name := range n.Names {
				var r *goRouter
				if n.Type != nil {
					r = g.typed(f, n.Type)
				} else if i < len(n.Values) {
					r = (&goScope{g: g, f: f, vars: map[string]*goRouter{}}).made(n.Values[i])
				}
				if r != nil {
					g.global[f.dir+"\x00"+name.Name] = r
				}
			}
		}
		return true
	})
}

func (g *goReader) takesRouter(f *goFunc) bool {
	for _, p := range f.decl.Type.Params.List {
		if g.typed(f.file, p.Type) != nil {
			return true
		}
	}
	return false
}

// walk reads one function; with is what its router parameters are, in order.
func (g *goReader) walk(f *goFunc, with []*goRouter) {
	if f.busy > 4 || g.budget <= 0 {
		return
	}
	f.busy++
	defer func() { f.busy-- }()
	s := &goScope{g: g, f: f.file, vars: map[string]*goRouter{}, texts: map[string]ast.Expr{}}
	if f.decl.Recv != nil && len(f.decl.Recv.List[0].Names) > 0 {
		name := f.decl.Recv.List[0].Names[0].Name
		if g.own[f.file.dir+"\x00"+typeName(f.decl.Recv.List[0].Type)] {
			return // the router's own methods register what others ask them to
		}
		s.recv, s.recvType = name, typeName(f.decl.Recv.List[0].Type)
	}
	i := 0
	for _, p := range f.decl.Type.Params.List {
		r := g.typed(f.file, p.Type)
		if r == nil {
			continue
		}
		for _, name := range p.Names {
			own := *r
			own.partial = r.framework != "grpc"
			if i < len(with) && with[i] != nil {
				own = *with[i]
			}
			s.vars[name.Name] = &own
			i++
		}
	}
	s.block(f.decl.Body)
}

// A goScope is what is known within a function.
type goScope struct {
	g              *goReader
	f              *goFile
	vars           map[string]*goRouter
	texts          map[string]ast.Expr // variables that hold plain text
	recv, recvType string
	inner          *goRouter // the group that a closure without a parameter is in
	innerOf        string
}

func (s *goScope) block(n ast.Node) {
	if n == nil {
		return
	}
	ast.Inspect(n, func(n ast.Node) bool {
		if s.g.budget--; s.g.budget <= 0 {
			return false
		}
		switch n := n.(type) {
		case *ast.FuncLit:
			s.literal(n, nil)
			return false
		case *ast.AssignStmt:
			if len(n.Lhs) != len(n.Rhs) {
				if len(n.Rhs) == 1 {
					if r := s.made(n.Rhs[0]); r != nil {
						s.bind(n.Lhs[0], r)
					}
				}
				return true
			}
			for i := range n.Lhs {
				if r := s.made(n.Rhs[i]); r != nil {
					s.bind(n.Lhs[i], r)
				} else if id, ok := n.Lhs[i].(*ast.Ident); ok && s.texts != nil {
					if n.Tok == token.DEFINE {
						s.texts[id.Name] = n.Rhs[i]
					} else {
						delete(s.texts, id.Name)
					}
				}
			}
		case *ast.ValueSpec:
			for i, name := range n.Names {
				if n.Type != nil {
					if r := s.g.typed(s.f, n.Type); r != nil {
						s.vars[name.Name] = r
					}
				} else if i < len(n.Values) {
					if r := s.made(n.Values[i]); r != nil {
						s.vars[name.Name] = r
					}
				}
			}
		case *ast.CallExpr:
			return s.call(n)
		}
		return true
	})
}

func (s *goScope) bind(e ast.Expr, r *goRouter) {
	switch e := e.(type) {
	case *ast.Ident:
		s.vars[e.Name] = r
	case *ast.SelectorExpr:
		key := s.f.dir + "\x00" + e.Sel.Name
		// A field that already stands for another prefix stands for no certain one.
		s.g.fields[key] = r
	}
}

// literal reads a function written in place; r is its first router parameter.
func (s *goScope) literal(f *ast.FuncLit, r *goRouter) {
	in := *s
	in.vars = map[string]*goRouter{}
	for k, v := range s.vars {
		in.vars[k] = v
	}
	for _, p := range f.Type.Params.List {
		t := s.g.typed(s.f, p.Type)
		for _, name := range p.Names {
			switch {
			case t != nil && r != nil:
				in.vars[name.Name] = r
			case t != nil:
				own := *t
				own.partial = true
				in.vars[name.Name] = &own
			default:
				delete(in.vars, name.Name) // it hides one of that name
			}
		}
	}
	in.block(f.Body)
}

// router says what e is, nil when it is no router.
func (s *goScope) router(e ast.Expr) *goRouter {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return s.router(e.X)
	case *ast.Ident:
		if r := s.vars[e.Name]; r != nil {
			if s.inner != nil && s.innerOf == e.Name {
				return s.inner
			}
			return r
		}
		if _, pkg := s.f.imports[e.Name]; pkg {
			return nil
		}
		return s.g.global[s.f.dir+"\x00"+e.Name]
	case *ast.SelectorExpr:
		if r := s.g.fields[s.f.dir+"\x00"+e.Sel.Name]; r != nil {
			return r
		}
	case *ast.CallExpr:
		return s.made(e)
	}
	return nil
}

var goMakers = map[string][]string{"net/http": {"NewServeMux"}, "chi": {"NewRouter", "NewMux"}, "gin": {"Default", "New"}, "echo": {"New"}, "fiber": {"New"}, "gorilla": {"NewRouter"}, "grpc": {"NewServer"}}

// made says which router the expression makes: a new one, or a group of another.
func (s *goScope) made(e ast.Expr) *goRouter {
	switch x := e.(type) {
	case *ast.Ident:
		return s.router(x)
	case *ast.SelectorExpr:
		return s.router(x)
	case *ast.UnaryExpr:
		if c, ok := x.X.(*ast.CompositeLit); ok {
			return s.composite(c)
		}
	case *ast.CompositeLit:
		return s.composite(x)
	case *ast.CallExpr:
		sel, ok := x.Fun.(*ast.SelectorExpr)
		if !ok {
			if id, plain := x.Fun.(*ast.Ident); plain {
				return s.result(id.Name, s.f.dir)
			}
			return nil
		}
		if pkg, ok := sel.X.(*ast.Ident); ok && s.vars[pkg.Name] == nil {
			if p, imported := s.f.imports[pkg.Name]; imported {
				fw := goFrameworks[p]
				if slices.Contains(goMakers[fw], sel.Sel.Name) {
					return &goRouter{framework: fw}
				}
				return s.g.resultOf(p, sel.Sel.Name)
			}
		}
		r := s.router(sel.X)
		if r == nil {
			return nil
		}
		out := *r
		switch name := sel.Sel.Name; {
		case name == "Group" || name == "PathPrefix" || name == "Path" && r.framework == "gorilla":
			if len(x.Args) == 0 {
				return &out
			}
			p, ok := s.text(x.Args[0])
			if !ok {
				return nil
			}
			out.prefix = join(r.prefix, p)
			if out.prefix == "/" {
				out.prefix = ""
			}
			return &out
		case name == "Methods" && r.framework == "gorilla":
			out.methods = ""
			for _, a := range x.Args {
				if m, ok := s.text(a); ok {
					out.methods += m + " "
				}
			}
			return &out
		case r.framework == "gorilla" && (name == "HandleFunc" || name == "Handle"):
			return &out
		case name == "Subrouter" || name == "With" || name == "Use" || name == "StrictSlash" || name == "Host" || name == "Headers" || name == "Schemes" || name == "Queries" || name == "Name" || name == "SkipClean" || name == "UseEncodedPath":
			return &out
		}
	}
	return nil
}

func (s *goScope) composite(c *ast.CompositeLit) *goRouter {
	if r := s.g.typed(s.f, c.Type); r != nil && r.framework == "net/http" {
		return r
	}
	return nil
}

// result says what a function of this tree gives back, by its signature.
func (s *goScope) result(name, dir string) *goRouter {
	f := s.g.funcs[dir+"\x00"+name]
	if f == nil || f.decl.Type.Results == nil || len(f.decl.Type.Results.List) == 0 {
		return nil
	}
	return s.g.typed(f.file, f.decl.Type.Results.List[0].Type)
}

func (g *goReader) resultOf(p, name string) *goRouter {
	for _, f := range g.within(p, name) {
		if f.decl.Type.Results != nil && len(f.decl.Type.Results.List) > 0 {
			return g.typed(f.file, f.decl.Type.Results.List[0].Type)
		}
	}
	return nil
}

// within finds a function of the package at import path p, when it is in this tree.
func (g *goReader) within(p, name string) []*goFunc {
	for dir := p; dir != "." && dir != "/" && dir != ""; {
		if f := g.funcs[dir+"\x00"+name]; f != nil {
			return []*goFunc{f}
		}
		_, rest, ok := strings.Cut(dir, "/")
		if !ok {
			break
		}
		dir = rest
	}
	return nil
}

// call reads a call; it reports whether what it holds is still to be read.
func (s *goScope) call(c *ast.CallExpr) bool {
	switch fun := c.Fun.(type) {
	case *ast.Ident:
		s.pass(s.g.funcs[s.f.dir+"\x00"+fun.Name], c)
		return true
	case *ast.SelectorExpr:
		name := fun.Sel.Name
		if pkg, ok := fun.X.(*ast.Ident); ok && s.vars[pkg.Name] == nil {
			if p, imported := s.f.imports[pkg.Name]; imported {
				if p == "net/http" && (name == "HandleFunc" || name == "Handle") && len(c.Args) == 2 {
					s.register(&goRouter{framework: "net/http"}, c.Args[0], "", c)
				} else if service, ok := strings.CutPrefix(name, "Register"); ok && strings.HasSuffix(service, "Server") && len(c.Args) == 2 && s.grpc(c.Args[0]) {
					s.service(strings.TrimSuffix(service, "Server"), c)
				} else {
					for _, f := range s.g.within(p, name) {
						s.pass(f, c)
					}
				}
				return true
			}
		}
		r := s.router(fun.X)
		if r == nil {
			// A method of this package that takes the router.
			if f := s.g.funcs[s.f.dir+"\x00."+name+"\x00"+s.typeOf(fun.X)]; f != nil {
				s.pass(f, c)
			} else if f := s.g.funcs[s.f.dir+"\x00."+name]; f != nil {
				s.pass(f, c)
			}
			return true
		}
		return s.on(r, fun, c)
	}
	return true
}

func (s *goScope) typeOf(e ast.Expr) string {
	if i, ok := e.(*ast.Ident); ok && i.Name == s.recv {
		return s.recvType
	}
	return ""
}

// service adds the methods of a gRPC service that is registered: those of the
// generated code where it is in the tree, otherwise the service as a whole.
func (s *goScope) service(name string, c *ast.CallExpr) {
	found := false
	for k, v := range s.g.consts {
		_, n, _ := strings.Cut(k, "\x00")
		if !strings.HasPrefix(n, name+"_") || !strings.HasSuffix(n, "_FullMethodName") {
			continue
		}
		if t, ok := s.textAt(v, "", 0); ok {
			found = true
			s.g.report.add(Route{Method: "POST", Template: t, Framework: "grpc", File: s.f.name, Line: s.line(c)})
		}
	}
	if !found {
		s.g.report.add(Route{Method: "POST", Template: "/" + name + "/{method}", Framework: "grpc", File: s.f.name, Line: s.line(c), Partial: true})
	}
}

func (s *goScope) grpc(e ast.Expr) bool {
	if r := s.router(e); r != nil {
		return r.framework == "grpc"
	}
	return false
}

func (s *goScope) line(n ast.Node) int { return s.g.set.Position(n.Pos()).Line }

// pass reads a function that is called with routers.
func (s *goScope) pass(f *goFunc, c *ast.CallExpr) {
	if f == nil || !s.g.takesRouter(f) {
		return
	}
	var with []*goRouter
	key := ""
	i := 0
	any := false
	for _, p := range f.decl.Type.Params.List {
		for range max(1, len(p.Names)) {
			if s.g.typed(f.file, p.Type) != nil {
				var r *goRouter
				if i < len(c.Args) {
					r = s.router(c.Args[i])
				}
				if r == nil && i < len(c.Args) {
					r = s.made(c.Args[i])
				}
				with = append(with, r)
				if r != nil {
					any = true
					key += r.framework + " " + r.prefix
					if r.partial {
						key += " partial"
					}
				}
				key += "\x00"
			}
			i++
		}
	}
	if !any || f.keys[key] || len(f.keys) > 64 {
		return
	}
	f.keys[key] = true
	s.g.walk(f, with)
}

// on reads a call of a method of a router.
func (s *goScope) on(r *goRouter, fun *ast.SelectorExpr, c *ast.CallExpr) bool {
	name, n := fun.Sel.Name, len(c.Args)
	upper := strings.ToUpper(name)
	own := strings.HasPrefix(r.framework, "own ")
	switch {
	case name == "Methods" && r.framework == "gorilla":
		// Of a chain: the path stands further in, and the handler too.
		s.chain(c)
		return false
	case (name == "HandleFunc" || name == "Handle" || name == "Handler" || name == "HandlerFunc") && r.framework == "gorilla":
		s.chain(c)
		for _, a := range c.Args {
			s.block(a)
		}
		return false
	case (name == "HandleFunc" || name == "Handle") && n >= 2 && (r.framework == "gin" || own && n >= 3):
		s.register(r, c.Args[1], s.method(c.Args[0]), c)
	case (name == "HandleFunc" || name == "Handle") && n >= 2:
		s.register(r, c.Args[0], "", c)
	case name == "Add" && (r.framework == "echo" || r.framework == "fiber") && n >= 3:
		for _, m := range s.methodList(c.Args[0]) {
			s.register(r, c.Args[1], m, c)
		}
	case name == "Match" && (r.framework == "gin" || r.framework == "echo") && n >= 3:
		for _, m := range s.methodList(c.Args[0]) {
			s.register(r, c.Args[1], m, c)
		}
	case (name == "Method" || name == "MethodFunc") && r.framework == "chi" && n == 3:
		s.register(r, c.Args[1], s.method(c.Args[0]), c)
	case name == "Methods" && own && n >= 3:
		if ms, ok := s.text(c.Args[0]); ok {
			for m := range strings.SplitSeq(ms, ",") {
				s.register(r, c.Args[1], strings.TrimSpace(m), c)
			}
		}
	case (name == "Any" || name == "All") && n >= 2:
		s.register(r, c.Args[0], "", c)
	case methods[upper] && (name == upper || name[1:] == strings.ToLower(name[1:])) && n >= 2 && r.framework != "net/http" && r.framework != "grpc" && r.framework != "gorilla":
		s.register(r, c.Args[0], upper, c)
	case name == "Route" && n == 2 || name == "Group" && n >= 1:
		s.group(r, fun, c)
		return false
	case (name == "Mount" || name == "Handle") && n == 2:
		s.mount(r, c)
	}
	if strings.HasPrefix(name, "Register") {
		// Generated registration of gRPC services takes the server, never the other way.
		return true
	}
	return true
}

// chain reads r.HandleFunc("/x", h).Methods("GET") and r.Methods("GET").Path("/x").Handler(h).
func (s *goScope) chain(c *ast.CallExpr) {
	var ms []string
	var p ast.Expr
	var base ast.Expr = c
	prefix, handled := "", false
	at := ast.Node(c)
	for {
		call, ok := base.(*ast.CallExpr)
		if !ok {
			break
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			break
		}
		switch name := sel.Sel.Name; name {
		case "Methods":
			for _, a := range call.Args {
				ms = append(ms, s.method(a))
			}
		case "HandleFunc", "Handle":
			if len(call.Args) == 2 {
				p, handled, at = call.Args[0], true, sel.Sel
			}
		case "Handler", "HandlerFunc":
			handled = true
		case "Path":
			if len(call.Args) == 1 {
				p, at = call.Args[0], sel.Sel
			}
		case "PathPrefix":
			if p == nil && len(call.Args) == 1 {
				if t, ok := s.text(call.Args[0]); ok {
					prefix = t + "/{path}"
				}
			}
		case "Subrouter":
			base = call
			goto done
		}
		base = sel.X
	}
done:
	r := s.router(base)
	if r == nil || !handled {
		return
	}
	if p == nil {
		if prefix != "" {
			s.g.report.add(Route{Template: join(r.prefix, strings.ReplaceAll(prefix, "//", "/")), Framework: "gorilla", File: s.f.name, Line: s.line(at), Partial: r.partial, Rest: true})
		}
		return
	}
	if len(ms) == 0 {
		ms = strings.Fields(r.methods)
	}
	if len(ms) == 0 {
		ms = []string{""}
	}
	for _, m := range ms {
		s.registerAt(r, p, m, at)
	}
}

// group reads r.Route("/x", func(r chi.Router){…}) and r.Group(…), in their
// several forms.
func (s *goScope) group(r *goRouter, fun *ast.SelectorExpr, c *ast.CallExpr) {
	in := *r
	args := c.Args
	if p, ok := s.text(args[0]); ok {
		in.prefix = join(r.prefix, p)
		if in.prefix == "/" {
			in.prefix = ""
		}
		args = args[1:]
	} else if _, lit := args[0].(*ast.FuncLit); !lit && len(args) > 1 {
		s.g.report.unresolved(s.f.name, s.line(c))
		return
	}
	for _, a := range args {
		switch a := a.(type) {
		case *ast.FuncLit:
			params := 0
			for _, p := range a.Type.Params.List {
				if s.g.typed(s.f, p.Type) != nil {
					params++
				}
			}
			if params == 0 && len(a.Type.Params.List) == 0 { // the same name goes on inside
				if id, ok := fun.X.(*ast.Ident); ok {
					sub := *s
					sub.inner, sub.innerOf = &in, id.Name
					sub.literal(a, nil)
					continue
				}
			}
			s.literal(a, &in)
		case *ast.Ident, *ast.SelectorExpr:
			s.handed(a, &in)
		default:
			s.block(a)
		}
	}
}

// handed reads a function that is handed over by name, and called with r.
func (s *goScope) handed(e ast.Expr, r *goRouter) {
	var f *goFunc
	switch e := e.(type) {
	case *ast.Ident:
		f = s.g.funcs[s.f.dir+"\x00"+e.Name]
	case *ast.SelectorExpr:
		f = s.g.funcs[s.f.dir+"\x00."+e.Sel.Name]
		if pkg, ok := e.X.(*ast.Ident); ok {
			if p, imported := s.f.imports[pkg.Name]; imported {
				f = nil
				for _, x := range s.g.within(p, e.Sel.Name) {
					f = x
				}
			}
		}
	}
	if f == nil || !s.g.takesRouter(f) {
		return
	}
	key := r.framework + " " + r.prefix
	if f.keys[key] {
		return
	}
	f.keys[key] = true
	s.g.walk(f, []*goRouter{r})
}

// mount reads r.Mount("/x", routes()), where routes makes a router of its own.
func (s *goScope) mount(r *goRouter, c *ast.CallExpr) {
	p, ok := s.text(c.Args[0])
	if !ok {
		s.g.report.unresolved(s.f.name, s.line(c))
		return
	}
	call, ok := c.Args[1].(*ast.CallExpr)
	if !ok {
		return
	}
	var f *goFunc
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		f = s.g.funcs[s.f.dir+"\x00"+fun.Name]
	case *ast.SelectorExpr:
		f = s.g.funcs[s.f.dir+"\x00."+fun.Sel.Name]
		switch x := fun.X.(type) {
		case *ast.Ident:
			if ip, imported := s.f.imports[x.Name]; imported {
				f = nil
				for _, y := range s.g.within(ip, fun.Sel.Name) {
					f = y
				}
			}
		case *ast.CompositeLit:
			if m := s.g.funcs[s.f.dir+"\x00."+fun.Sel.Name+"\x00"+typeName(x.Type)]; m != nil {
				f = m
			}
		}
	}
	if f == nil {
		return
	}
	// Its routes were read as if they began at the root: they move.
	prefix := join(r.prefix, p)
	from, to := s.g.set.Position(f.decl.Pos()).Line, s.g.set.Position(f.decl.End()).Line
	key := "mount " + prefix
	if f.keys[key] || f.busy > 0 {
		return
	}
	if f.keys["moved"] { // mounted twice
		before := len(s.g.report.Routes)
		s.g.walk(f, nil)
		for i := before; i < len(s.g.report.Routes); i++ {
			s.g.report.Routes[i].Template = join(prefix, s.g.report.Routes[i].Template)
		}
		f.keys[key] = true
		return
	}
	f.keys[key], f.keys["moved"] = true, true
	kept := s.g.report.Routes[:0]
	for _, x := range s.g.report.Routes { // read before the mount was
		if x.File != f.file.name || x.Line < from || x.Line > to {
			kept = append(kept, x)
		}
	}
	s.g.report.Routes = kept
	before := len(kept)
	s.g.walk(f, nil)
	for i := before; i < len(s.g.report.Routes); i++ {
		s.g.report.Routes[i].Template = join(prefix, s.g.report.Routes[i].Template)
	}
}

func (s *goScope) register(r *goRouter, pattern ast.Expr, method string, c *ast.CallExpr) {
	at := ast.Node(c)
	if sel, ok := c.Fun.(*ast.SelectorExpr); ok {
		at = sel.Sel
	}
	s.registerAt(r, pattern, method, at)
}

func (s *goScope) registerAt(r *goRouter, pattern ast.Expr, method string, at ast.Node) {
	p, ok := s.text(pattern)
	if !ok || method == "?" {
		s.g.report.unresolved(s.f.name, s.line(at))
		return
	}
	x := Route{Method: method, Framework: r.framework, File: s.f.name, Line: s.line(at), Partial: r.partial}
	switch r.framework {
	case "net/http", "chi":
		if m, rest, ok := strings.Cut(p, " "); ok && method == "" {
			x.Method, p = m, strings.TrimLeft(rest, " ")
		}
		if r.framework == "net/http" {
			if i := strings.IndexByte(p, '/'); i > 0 {
				p = p[i:] // a pattern that begins with a host
			} else if i < 0 {
				return
			}
			if strings.HasSuffix(p, "/") && p != "/" {
				x.Rest = true
			}
		}
		p, rest := curly(p)
		x.Template, x.Rest = join(r.prefix, p), x.Rest || rest
	case "gorilla":
		t, rest := curly(p)
		x.Template, x.Rest = join(r.prefix, t), rest
	default:
		full := join(r.prefix, p)
		if strings.Contains(full, "{") && strings.HasPrefix(r.framework, "own ") {
			x.Template, x.Rest = curly(full)
			break
		}
		list, rest := colon(full)
		for _, t := range list {
			y := x
			y.Template, y.Rest = t, rest
			if strings.Contains(t, "{") {
				y.Template, _ = curly(t)
			}
			s.g.report.add(y)
		}
		return
	}
	if strings.Contains(r.prefix, "{") || strings.Contains(r.prefix, ":") {
		x.Template, _ = curly(x.Template)
	}
	s.g.report.add(x)
}

// method is the name of an HTTP method, "?" when it is computed.
func (s *goScope) method(e ast.Expr) string {
	if sel, ok := e.(*ast.SelectorExpr); ok {
		if m, ok := strings.CutPrefix(sel.Sel.Name, "Method"); ok && methods[strings.ToUpper(m)] {
			return strings.ToUpper(m)
		}
		if methods[sel.Sel.Name] {
			return sel.Sel.Name // echo.GET
		}
	}
	if t, ok := s.text(e); ok {
		return t
	}
	return "?"
}

func (s *goScope) methodList(e ast.Expr) []string {
	c, ok := e.(*ast.CompositeLit)
	if !ok {
		return []string{s.method(e)}
	}
	var out []string
	for _, x := range c.Elts {
		out = append(out, s.method(x))
	}
	return out
}

// text is the value of an expression that is plain text: literals, constants,
// and sums of them.
func (s *goScope) text(e ast.Expr) (string, bool) { return s.textAt(e, s.f.dir, 0) }

func (s *goScope) textAt(e ast.Expr, dir string, depth int) (string, bool) {
	if depth > 8 {
		return "", false
	}
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			t, err := strconv.Unquote(e.Value)
			return t, err == nil
		}
	case *ast.ParenExpr:
		return s.textAt(e.X, dir, depth+1)
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			a, ok1 := s.textAt(e.X, dir, depth+1)
			b, ok2 := s.textAt(e.Y, dir, depth+1)
			return a + b, ok1 && ok2
		}
	case *ast.Ident:
		if v, ok := s.texts[e.Name]; ok && dir == s.f.dir {
			if id, same := v.(*ast.Ident); same && id.Name == e.Name {
				return "", false
			}
			return s.textAt(v, dir, depth+1)
		}
		if v, ok := s.g.consts[dir+"\x00"+e.Name]; ok {
			return s.textAt(v, dir, depth+1)
		}
	case *ast.SelectorExpr:
		pkg, ok := e.X.(*ast.Ident)
		if !ok {
			return "", false
		}
		p, imported := s.f.imports[pkg.Name]
		if !imported {
			return "", false
		}
		if strings.HasPrefix(e.Sel.Name, "Method") && p == "net/http" {
			return strings.ToUpper(strings.TrimPrefix(e.Sel.Name, "Method")), true
		}
		for d := p; d != ""; {
			if v, ok := s.g.consts[d+"\x00"+e.Sel.Name]; ok {
				return s.textAt(v, d, depth+1)
			}
			_, rest, ok := strings.Cut(d, "/")
			if !ok {
				break
			}
			d = rest
		}
	}
	return "", false
}

package code

import (
	"path"
	"regexp"
	"strings"
)

// jsModules are the packages that make routers.
var jsModules = map[string]string{"express": "express", "express-promise-router": "express", "fastify": "fastify", "koa-router": "koa", "@koa/router": "koa", "hono": "hono", "@hono/zod-openapi": "hono", "@hono/hono": "hono", "restify": "express", "polka": "express"}

type jsFile struct {
	*stream
	modules map[string]string // local name → package, for packages that make routers
	local   map[string]string // local name → file of this tree
	member  map[string]string // local name → what it is called there; "" = its default
	consts  map[string]string
	routers map[string]*node
	exports map[string]*node // "" = default
	plugin  *node            // of an exported function that takes a router
}

type jsReader struct {
	files  map[string]*jsFile
	order  []*jsFile
	report *Report
	wait   []pending
	which  string // the one framework of this tree, for functions that take an app
}

func readJS(sources []source, r *Report) {
	j := &jsReader{files: map[string]*jsFile{}, report: r}
	count := map[string]int{}
	for _, s := range sources {
		f := &jsFile{stream: newStream(s, jsDialect), modules: map[string]string{}, local: map[string]string{}, member: map[string]string{}, consts: map[string]string{}, routers: map[string]*node{}, exports: map[string]*node{}}
		j.files[s.name] = f
		j.order = append(j.order, f)
	}
	for _, f := range j.order {
		j.imports(f)
		for _, m := range f.modules {
			count[m]++
		}
	}
	for m, n := range count {
		if n > count[j.which] || n == count[j.which] && m < j.which {
			j.which = m
		}
	}
	for _, f := range j.order {
		j.declare(f)
	}
	for _, f := range j.order {
		j.uses(f)
		j.nest(f)
		j.next(f)
	}
	settle(j.wait, r, colon)
}

// resolve finds the file that a relative import means.
func (j *jsReader) resolve(from, spec string) string {
	if !strings.HasPrefix(spec, ".") {
		return ""
	}
	base := path.Join(path.Dir(from), spec)
	stem := base
	for _, ext := range []string{".js", ".mjs", ".cjs", ".jsx"} {
		stem = strings.TrimSuffix(stem, ext)
	}
	for _, b := range []string{base, stem} {
		for _, tail := range []string{"", ".js", ".ts", ".mjs", ".cjs", ".mts", ".tsx", ".jsx", "/index.js", "/index.ts", "/index.mjs"} {
			if j.files[b+tail] != nil {
				return b + tail
			}
		}
	}
	return ""
}

func (j *jsReader) name(f *jsFile, local, spec, member string) {
	if m, ok := jsModules[spec]; ok {
		f.modules[local] = m
		f.member[local] = member
	} else if to := j.resolve(f.name, spec); to != "" {
		f.local[local], f.member[local] = to, member
	}
}

func (j *jsReader) imports(f *jsFile) {
	for i := 0; i < len(f.t); i++ {
		t := f.t[i]
		switch {
		case t.word("import") && !f.at(i+1).is("(") && !f.at(i-1).is("."):
			// import a, { b as c } from 'x' · import * as a from 'x'
			var names [][2]string
			k := i + 1
			for ; k < len(f.t) && k < i+200; k++ {
				x := f.t[k]
				if x.kind == text_ {
					break
				}
				if x.is("{") {
					for _, a := range f.args(k) {
						if f.at(a.from).word("type") && a.to-a.from > 1 {
							a.from++
						}
						n := f.at(a.from).value
						names = append(names, [2]string{f.at(a.to - 1).value, n})
					}
					k = max(k, f.pair[k])
				} else if x.kind == word_ && x.value != "from" && x.value != "as" && x.value != "type" {
					names = append(names, [2]string{x.value, ""})
				}
			}
			if f.at(k).kind == text_ {
				for _, n := range names {
					j.name(f, n[0], f.at(k).value, n[1])
				}
				i = k
			}
		case (t.word("const") || t.word("let") || t.word("var")) && f.at(i+1).kind == word_ && f.at(i+2).is("=") && f.at(i+3).word("require") && f.at(i+4).is("(") && f.at(i+5).kind == text_:
			member := ""
			if f.at(i + 7).is(".") {
				member = f.at(i + 8).value
			}
			j.name(f, f.at(i+1).value, f.at(i+5).value, member)
		case (t.word("const") || t.word("let") || t.word("var")) && f.at(i+1).is("{") && f.at(f.pair[i+1]+1).is("=") && f.at(f.pair[i+1]+2).word("require") && f.at(f.pair[i+1]+4).kind == text_:
			for _, a := range f.args(i + 1) {
				j.name(f, f.at(a.to-1).value, f.at(f.pair[i+1]+4).value, f.at(a.from).value)
			}
		case t.word("const") && f.at(i+1).kind == word_ && f.at(i+2).is("=") && f.at(i+3).kind == text_ && !f.at(i+4).is("+"):
			if !f.at(i + 3).open {
				f.consts[f.at(i+1).value] = f.at(i + 3).value
			}
		}
	}
}

// maker says which router the expression at i makes, and where it ends.
func (j *jsReader) maker(f *jsFile, i int) (*node, int) {
	if f.at(i).word("await") {
		i++
	}
	fresh := f.at(i).word("new")
	if fresh {
		i++
	}
	if f.at(i).word("require") && f.at(i+1).is("(") && f.at(i+2).kind == text_ { // require('express')()
		m := jsModules[f.at(i+2).value]
		if m == "" {
			return nil, 0
		}
		k := f.pair[i+1] + 1
		router := false
		for f.at(k).is(".") {
			router = true
			k += 2
		}
		if !f.at(k).is("(") {
			return nil, 0
		}
		return j.made(f, m, !router, k), f.pair[k] + 1
	}
	if f.at(i).kind != word_ {
		return nil, 0
	}
	m, ok := f.modules[f.at(i).value]
	if !ok {
		return nil, 0
	}
	member := f.member[f.at(i).value]
	k := i + 1
	for f.at(k).is(".") && f.at(k+1).kind == word_ {
		member = f.at(k + 1).value
		k += 2
	}
	if f.at(k).is("<") { // new Hono<Env>()
		for depth := 0; k < len(f.t); k++ {
			if f.t[k].is("<") {
				depth++
			} else if f.t[k].is(">") {
				if depth--; depth == 0 {
					k++
					break
				}
			}
			if k > i+100 {
				return nil, 0
			}
		}
	}
	if !f.at(k).is("(") {
		return nil, 0
	}
	root := true
	switch member {
	case "Router":
		root = m == "koa"
	case "", "default", "Hono", "fastify", "Fastify", "express", "OpenAPIHono", "createServer":
	default:
		return nil, 0
	}
	return j.made(f, m, root, k), f.pair[k] + 1
}

func (j *jsReader) made(f *jsFile, m string, root bool, open int) *node {
	n := &node{framework: m, root: root}
	if args := f.args(open); len(args) > 0 && f.at(args[0].from).is("{") && m == "koa" {
		if p, ok := f.named(f.args(args[0].from), "prefix"); ok {
			n.prefix, _ = f.plain(p, f.consts)
		}
	}
	end := f.pair[open] + 1
	if m == "hono" && f.at(end).is(".") && f.at(end+1).word("basePath") && f.at(end+2).is("(") {
		if a := f.args(end + 2); len(a) > 0 {
			n.prefix, _ = f.plain(a[0], f.consts)
		}
	}
	return n
}

var appNames = map[string]bool{"app": true, "router": true, "fastify": true, "server": true, "instance": true, "api": true, "routes": true}

func (j *jsReader) declare(f *jsFile) {
	for i := 0; i < len(f.t); i++ {
		t := f.t[i]
		switch {
		case t.kind == word_ && f.at(i+1).is("=") && !f.at(i-1).is("."):
			if n, _ := j.maker(f, i+2); n != nil {
				f.routers[t.value] = n
				if f.at(i - 2).word("export") {
					f.exports[t.value] = n
				}
			} else if n := f.routers[f.at(i+2).value]; n != nil && f.at(i+3).is(".") && f.at(i+4).word("basePath") && f.at(i+5).is("(") {
				if a := f.args(i + 5); len(a) > 0 {
					if p, ok := f.plain(a[0], f.consts); ok {
						f.routers[t.value] = &node{framework: n.framework, mounts: []mount{{n, p}}}
					}
				}
			}
		case t.kind == word_ && f.at(i+1).is(":") && f.at(i+2).kind == word_ && f.modules[f.at(i+2).value] != "": // const app: Router = …
			k := i + 3
			for f.at(k).is(".") {
				k += 2
			}
			if f.at(k).is("=") {
				if n, _ := j.maker(f, k+1); n != nil {
					f.routers[t.value] = n
				}
			}
		case t.kind == word_ && appNames[t.value] && (f.at(i-1).is("(") || f.at(i-1).is(",")) && (f.at(i+1).is(",") || f.at(i+1).is(")") || f.at(i+1).is(":")):
			if !f.function(i) || f.routers[t.value] != nil {
				continue
			}
			if f.plugin == nil {
				f.plugin = &node{framework: j.which}
			}
			f.routers[t.value] = f.plugin
		}
	}
	for i := 0; i < len(f.t); i++ {
		switch t := f.t[i]; {
		case t.word("export") && f.at(i+1).word("default"):
			if n := f.routers[f.at(i+2).value]; n != nil {
				f.exports[""] = n
			}
		case t.word("export") && f.at(i+1).is("{"):
			for _, a := range f.args(i + 1) {
				if n := f.routers[f.at(a.from).value]; n != nil {
					name := f.at(a.to - 1).value
					if name == "default" {
						name = ""
					}
					f.exports[name] = n
				}
			}
		case t.word("exports") && (f.at(i+1).is("=") || f.at(i+1).is(".")):
			k, name := i+2, ""
			if f.at(i + 1).is(".") {
				if k, name = i+4, f.at(i+2).value; !f.at(i + 3).is("=") {
					continue
				}
			}
			if f.at(k).is("{") {
				for _, a := range f.args(k) {
					if n := f.routers[f.at(a.to-1).value]; n != nil {
						f.exports[f.at(a.from).value] = n
					}
				}
			} else if n := f.routers[f.at(k).value]; n != nil {
				f.exports[name] = n
			} else if n, _ := j.maker(f, k); n != nil {
				f.exports[name] = n
			}
		}
	}
}

// function reports whether the brackets around i hold the parameters of a function.
func (f *jsFile) function(i int) bool {
	k := i - 1
	for ; k >= 0 && !f.t[k].is("("); k-- {
		if f.t[k].is("}") || f.t[k].is("]") {
			k = f.pair[k]
		}
		if f.t[k].is(")") || f.t[k].is(";") || i-k > 40 {
			return false
		}
	}
	if k < 0 {
		return false
	}
	after := f.at(f.pair[k] + 1)
	if after.is("=>") {
		return true
	}
	for n := k - 1; n >= 0 && n >= k-3; n-- {
		if f.t[n].word("function") {
			return true
		}
	}
	return false
}

// target finds the router that an expression of a mount means.
func (j *jsReader) target(f *jsFile, p part) *node {
	i := p.from
	t := f.at(i)
	if t.word("require") && f.at(i+1).is("(") && f.at(i+2).kind == text_ {
		return j.of(j.resolve(f.name, f.at(i+2).value), "")
	}
	if t.word("import") && f.at(i+1).is("(") && f.at(i+2).kind == text_ {
		return j.of(j.resolve(f.name, f.at(i+2).value), "")
	}
	if t.kind != word_ {
		return nil
	}
	if n := f.routers[t.value]; n != nil {
		return n
	}
	if file := f.local[t.value]; file != "" {
		member := f.member[t.value]
		if f.at(i+1).is(".") && f.at(i+2).kind == word_ && p.to > i+2 && f.at(i+2).value != "routes" {
			member = f.at(i + 2).value
		}
		return j.of(file, member)
	}
	return nil
}

func (j *jsReader) of(file, member string) *node {
	f := j.files[file]
	if f == nil {
		return nil
	}
	if n := f.exports[member]; n != nil {
		return n
	}
	if member == "" || member == "default" {
		if n := f.exports[""]; n != nil {
			return n
		}
	}
	return f.plugin
}

func (j *jsReader) uses(f *jsFile) {
	for i := 0; i < len(f.t); i++ {
		t := f.t[i]
		// require('./routes')(app) · routes(app)
		if t.kind == word_ && f.at(i+1).is("(") && !f.at(i-1).is(".") && !f.at(i-1).word("function") {
			open, file := i+1, f.local[t.value]
			if t.word("require") && f.at(i+2).kind == text_ && f.at(f.pair[i+1]+1).is("(") {
				file, open = j.resolve(f.name, f.at(i+2).value), f.pair[i+1]+1
			}
			if to := j.files[file]; to != nil && to.plugin != nil {
				for _, a := range f.args(open) {
					if n := f.routers[f.at(a.from).value]; n != nil && a.to == a.from+1 && n != to.plugin {
						to.plugin.mounts = append(to.plugin.mounts, mount{n, ""})
					}
				}
			}
		}
		if t.kind != word_ || !(f.at(i+1).is(".") || f.at(i+1).is("(")) || f.at(i-1).is(".") && !f.at(i-2).word("this") {
			continue
		}
		n := f.routers[t.value]
		if n == nil {
			continue
		}
		// The calls of a chain: app.get(…).post(…)
		k, route := i+1, ""
		onRoute := false
		for f.at(k).is(".") && f.at(k+1).kind == word_ {
			verb := f.at(k + 1)
			open := k + 2
			if f.at(open).is("<") { // types in between, of TypeScript
				for depth := 0; open < len(f.t) && open < k+80; open++ {
					if f.t[open].is("<") {
						depth++
					} else if f.t[open].is(">") {
						if depth--; depth == 0 {
							open++
							break
						}
					}
				}
			}
			if !f.at(open).is("(") {
				break
			}
			args := f.args(open)
			up := strings.ToUpper(verb.value)
			if up == "DEL" {
				up = "DELETE"
			}
			switch {
			case onRoute && (methods[up] || up == "ALL"):
				j.add(n, up, route, f, verb.line)
			case verb.value == "route" && len(args) == 1 && f.at(args[0].from).is("{"):
				j.object(n, f, args[0], verb.line)
			case verb.value == "route" && len(args) == 1:
				if p, ok := f.plain(args[0], f.consts); ok {
					onRoute, route = true, p
				}
			case verb.value == "route" && len(args) == 2 && n.framework == "hono":
				p, ok := f.plain(args[0], f.consts)
				if sub := j.target(f, args[1]); sub != nil && sub != n && ok {
					sub.mounts = append(sub.mounts, mount{n, p})
				}
			case verb.value == "use" || verb.value == "register":
				j.mount(n, f, verb.value, args)
			case verb.value == "on" && n.framework == "hono" && len(args) >= 3:
				j.on(n, f, args, verb.line)
			case (methods[up] || up == "ALL" || up == "ANY") && verb.value == strings.ToLower(verb.value) && len(args) >= 2:
				j.verb(n, f, up, args, verb.line)
			}
			k = f.pair[open] + 1
			if k <= open {
				break
			}
		}
	}
}

func (j *jsReader) verb(n *node, f *jsFile, method string, args []part, line int) {
	first := args[0]
	if f.at(first.from).is("[") {
		for _, a := range f.args(first.from) {
			if p, ok := f.plain(a, f.consts); ok {
				j.add(n, method, p, f, line)
			} else {
				j.report.unresolved(f.name, line)
			}
		}
		return
	}
	p, ok := f.plain(first, f.consts)
	if ok && n.framework == "koa" && len(args) >= 3 && p != "" && p[0] != '/' { // koa: a name may stand first
		if q, is := f.plain(args[1], f.consts); is {
			p = q
		}
	}
	if !ok {
		if f.at(first.from).kind == text_ || f.at(first.from).value == "/" || f.at(first.from).kind == word_ {
			j.report.unresolved(f.name, line)
		}
		return
	}
	j.add(n, method, p, f, line)
}

func (j *jsReader) add(n *node, method, p string, f *jsFile, line int) {
	if p != "" && p[0] != '/' && p[0] != '*' && p[0] != ':' && n.framework != "hono" && n.framework != "fastify" && n.framework != "koa" {
		return // app.get('setting')
	}
	j.wait = append(j.wait, pending{n, Route{Method: method, Template: p, Framework: n.framework, File: f.name, Line: line}})
}

// object reads fastify.route({method, url}).
func (j *jsReader) object(n *node, f *jsFile, p part, line int) {
	members := f.args(p.from)
	url, ok := f.named(members, "url")
	if !ok {
		if url, ok = f.named(members, "path"); !ok {
			return
		}
	}
	t, ok := f.plain(url, f.consts)
	m, has := f.named(members, "method")
	if !ok || !has {
		j.report.unresolved(f.name, line)
		return
	}
	if f.at(m.from).is("[") {
		for _, a := range f.args(m.from) {
			j.add(n, f.at(a.from).value, t, f, line)
		}
		return
	}
	if f.at(m.from).kind == text_ {
		j.add(n, f.at(m.from).value, t, f, line)
	}
}

func (j *jsReader) on(n *node, f *jsFile, args []part, line int) {
	p, ok := f.plain(args[1], f.consts)
	if !ok {
		j.report.unresolved(f.name, line)
		return
	}
	if f.at(args[0].from).is("[") {
		for _, a := range f.args(args[0].from) {
			j.add(n, f.at(a.from).value, p, f, line)
		}
	} else if f.at(args[0].from).kind == text_ {
		j.add(n, f.at(args[0].from).value, p, f, line)
	}
}

func (j *jsReader) mount(n *node, f *jsFile, verb string, args []part) {
	prefixes := []string{""}
	if len(args) == 0 {
		return
	}
	rest := args
	if verb == "use" {
		if p, ok := f.plain(args[0], f.consts); ok {
			prefixes, rest = []string{p}, args[1:]
		} else if f.at(args[0].from).is("[") {
			prefixes = nil
			for _, a := range f.args(args[0].from) {
				if p, ok := f.plain(a, f.consts); ok {
					prefixes = append(prefixes, p)
				}
			}
			rest = args[1:]
		}
	} else if len(args) > 1 && f.at(args[1].from).is("{") {
		if p, ok := f.named(f.args(args[1].from), "prefix"); ok {
			text, plain := f.plain(p, f.consts)
			if !plain {
				return
			}
			prefixes = []string{text}
		}
		rest = args[:1]
		// A plugin that is written in place has a parameter of its own.
		if sub := f.inline(args[0]); sub != "" && f.routers[sub] != nil && f.routers[sub] != n && len(f.routers[sub].mounts) == 0 {
			f.routers[sub].mounts = append(f.routers[sub].mounts, mount{n, prefixes[0]})
			return
		}
	}
	for _, a := range rest {
		sub := j.target(f, a)
		if sub == nil || sub == n {
			continue
		}
		for _, p := range prefixes {
			sub.mounts = append(sub.mounts, mount{n, p})
		}
	}
}

// inline is the first parameter of a function that is written in place.
func (f *jsFile) inline(p part) string {
	for i := p.from; i < min(p.to, p.from+5); i++ {
		if f.t[i].is("(") {
			return f.at(i + 1).value
		}
	}
	return ""
}

var nestVerbs = map[string]string{"Get": "GET", "Post": "POST", "Put": "PUT", "Patch": "PATCH", "Delete": "DELETE", "Head": "HEAD", "Options": "OPTIONS", "All": ""}

// nest reads the decorators of NestJS.
func (j *jsReader) nest(f *jsFile) {
	prefixes, versions := []string(nil), ""
	end := 0
	for i := 0; i < len(f.t); i++ {
		if !f.t[i].is("@") || f.at(i+1).kind != word_ || !f.at(i+2).is("(") {
			continue
		}
		name, args := f.at(i+1).value, f.args(i+2)
		paths := func() []string {
			if len(args) == 0 {
				return []string{""}
			}
			p := args[0]
			if f.at(p.from).is("{") {
				members := f.args(p.from)
				if v, ok := f.named(members, "version"); ok && f.at(v.from).kind == text_ {
					versions = "/v" + f.at(v.from).value
				}
				q, ok := f.named(members, "path")
				if !ok {
					return []string{""}
				}
				p = q
			}
			var out []string
			list := []part{p}
			if f.at(p.from).is("[") {
				list = f.args(p.from)
			}
			for _, a := range list {
				if t, ok := f.plain(a, f.consts); ok {
					out = append(out, t)
				} else {
					j.report.unresolved(f.name, f.at(i).line)
				}
			}
			return out
		}
		if name == "Controller" {
			versions = ""
			prefixes = paths()
			for k := i; k < len(f.t); k++ {
				if f.t[k].word("class") {
					for ; k < len(f.t) && !f.t[k].is("{"); k++ {
					}
					if k < len(f.t) {
						end = f.pair[k]
					}
					break
				}
			}
			continue
		}
		method, ok := nestVerbs[name]
		if !ok || i > end {
			continue
		}
		for _, p := range paths() {
			for _, prefix := range prefixes {
				templates, rest := colon(join(join(versions, prefix), p))
				for _, t := range templates {
					j.report.add(Route{Method: method, Template: t, Framework: "nestjs", File: f.name, Line: f.at(i).line, Rest: rest})
				}
			}
		}
	}
}

var nextFile = regexp.MustCompile(`^(?:.*/)?(?:(?:src/)?app/(.*/)?route|(?:src/)?pages/(api(?:/.*)?))\.(?:js|ts|mjs|jsx|tsx)$`)

// next reads the route files of Next.js: their folders are the paths.
func (j *jsReader) next(f *jsFile) {
	m := nextFile.FindStringSubmatch(f.name)
	if m == nil {
		return
	}
	name, line := m[2], 0
	var verbs []string
	lines := map[string]int{}
	for i, t := range f.t {
		if !t.word("export") {
			continue
		}
		if f.at(i + 1).word("default") {
			line = t.line
			continue
		}
		for k := i + 1; k <= i+3; k++ {
			if v := f.at(k).value; f.at(k).kind == word_ && methods[v] {
				verbs = append(verbs, v)
				lines[v] = t.line
				break
			}
			if f.at(k).is("{") {
				for _, a := range f.args(k) {
					if v := f.at(a.to - 1).value; methods[v] {
						verbs = append(verbs, v)
						lines[v] = t.line
					}
				}
			}
		}
	}
	if m[2] == "" { // of the app folder
		name = strings.TrimSuffix(m[1], "/")
		if len(verbs) == 0 {
			return
		}
	} else {
		verbs, lines[""] = []string{""}, max(line, 1)
		name = strings.TrimSuffix(strings.TrimSuffix(name, "/index"), "index")
	}
	var out []string
	rest := false
	for seg := range strings.SplitSeq(name, "/") {
		switch {
		case seg == "" || strings.HasPrefix(seg, "(") && strings.HasSuffix(seg, ")") || strings.HasPrefix(seg, "@"):
		case strings.HasPrefix(seg, "_"):
			return // private
		case strings.HasPrefix(seg, "["):
			rest = rest || strings.Contains(seg, "...")
			out = append(out, "{"+strings.Trim(seg, "[].")+"}")
		default:
			out = append(out, seg)
		}
	}
	for _, v := range verbs {
		j.report.add(Route{Method: v, Template: "/" + strings.Join(out, "/"), Framework: "nextjs", File: f.name, Line: lines[v], Rest: rest})
	}
}

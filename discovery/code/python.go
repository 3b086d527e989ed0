package code

import (
	"path"
	"strings"
)

type pyFile struct {
	*stream
	imports map[string]string // local name → dotted name
	consts  map[string]string
	routers map[string]*node
	urls    []pyURL
	viewset map[string]string // router variable → framework, of REST framework
}

type pyURL struct {
	pattern string
	line    int
	include string // dotted module, or a variable of REST framework's router
	regex   bool
}

type pyReader struct {
	files    map[string]*pyFile // by dotted name
	order    []*pyFile
	report   *Report
	wait     []pending
	included map[*pyFile]bool
	busy     map[*pyFile]bool
	count    int
	drf      map[*pyFile]map[string][]pyURL
	actions  map[string][]pyAction // of viewsets, by class name
}

type pyAction struct {
	name    string
	detail  bool
	methods []string
	line    int
	file    string
}

var pyRouters = map[string]string{"flask.Flask": "flask", "flask.Blueprint": "flask", "fastapi.FastAPI": "fastapi", "fastapi.APIRouter": "fastapi", "starlette.applications.Starlette": "starlette", "quart.Quart": "flask", "quart.Blueprint": "flask", "apiflask.APIFlask": "flask", "apiflask.APIBlueprint": "flask"}

func readPython(sources []source, r *Report) {
	p := &pyReader{files: map[string]*pyFile{}, report: r, included: map[*pyFile]bool{}, busy: map[*pyFile]bool{}, actions: map[string][]pyAction{}}
	for _, s := range sources {
		f := &pyFile{stream: newStream(s, pythonDialect), imports: map[string]string{}, consts: map[string]string{}, routers: map[string]*node{}, viewset: map[string]string{}}
		p.files[dotted(s.name)] = f
		p.order = append(p.order, f)
	}
	for _, f := range p.order {
		p.imports(f)
		p.declare(f)
	}
	for _, f := range p.order {
		p.uses(f)
		p.classes(f)
	}
	for _, f := range p.order {
		p.django(f)
	}
	for _, f := range p.order { // urls that no other file includes begin at the root
		if len(f.urls) > 0 && !p.included[f] {
			p.emit(f, "", f.partialURLs())
		}
	}
	for _, w := range p.wait {
		prefixes, partial := w.on.prefixes(0)
		for _, prefix := range prefixes {
			x := w.route
			full := join(prefix, x.Template)
			if x.Framework == "flask" {
				x.Template, x.Rest = angle(full)
			} else {
				x.Rest = strings.Contains(full, ":path}")
				x.Template, _ = curly(full)
			}
			x.Partial = partial
			r.add(x)
		}
	}
}

// partialURLs tells a file of an application, which somebody includes, from the
// one that the settings name.
func (f *pyFile) partialURLs() bool {
	for _, u := range f.urls {
		if u.include != "" {
			return false
		}
	}
	return true
}

func dotted(name string) string {
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".py"), "/__init__")
	return strings.ReplaceAll(name, "/", ".")
}

// find gives the file that a dotted name means: exactly, or by its end when the
// tree begins further up.
func (p *pyReader) find(name string) *pyFile {
	if f := p.files[name]; f != nil {
		return f
	}
	var found *pyFile
	for _, f := range p.order {
		if strings.HasSuffix(dotted(f.name), "."+name) {
			if found != nil {
				return nil
			}
			found = f
		}
	}
	return found
}

func (p *pyReader) imports(f *pyFile) {
	dir := strings.ReplaceAll(path.Dir(f.name), "/", ".")
	for i := 0; i < len(f.t); i++ {
		if f.t[i].col < 0 {
			continue
		}
		if f.t[i].word("import") {
			k := i + 1
			var name []string
			for ; f.at(k).kind == word_ || f.at(k).is("."); k++ {
				if f.at(k).word("as") {
					f.imports[f.at(k+1).value] = strings.Join(name, ".")
					break
				}
				if f.at(k).kind == word_ {
					name = append(name, f.at(k).value)
				}
			}
			if len(name) > 0 {
				f.imports[name[0]] = name[0]
			}
			continue
		}
		if !f.t[i].word("from") {
			continue
		}
		k, dots := i+1, 0
		for f.at(k).is(".") {
			dots++
			k++
		}
		var name []string
		for ; f.at(k).kind == word_ && f.at(k).value != "import" || f.at(k).is("."); k++ {
			if f.at(k).kind == word_ {
				name = append(name, f.at(k).value)
			}
		}
		if !f.at(k).word("import") {
			continue
		}
		base := strings.Join(name, ".")
		if dots > 0 {
			up := strings.Split(dir, ".")
			if dir == "" || path.Dir(f.name) == "." {
				up = nil
			}
			up = up[:max(0, len(up)-(dots-1))]
			base = strings.Join(append(up, name...), ".")
		}
		for k++; k < len(f.t) && f.t[k].kind != line_; k++ {
			if f.t[k].kind != word_ || f.t[k].value == "as" {
				continue
			}
			local := f.t[k].value
			full := strings.TrimPrefix(base+"."+local, ".")
			if f.at(k + 1).word("as") {
				local = f.at(k + 2).value
				k += 2
			}
			f.imports[local] = full
		}
	}
}

// full is the dotted name of the expression at i, and where it ends.
func (f *pyFile) full(i int) (string, int) {
	if f.at(i).kind != word_ {
		return "", i
	}
	name := f.at(i).value
	if n, ok := f.imports[name]; ok {
		name = n
	}
	for f.at(i+1).is(".") && f.at(i+2).kind == word_ {
		name += "." + f.at(i+2).value
		i += 2
	}
	return name, i + 1
}

func (p *pyReader) declare(f *pyFile) {
	for i := 0; i < len(f.t); i++ {
		t := f.t[i]
		if t.kind != word_ || f.at(i-1).is(".") {
			continue
		}
		k := i + 1
		if f.at(k).is(":") && f.at(k+1).kind == word_ { // app: FastAPI = FastAPI()
			_, k = f.full(k + 1)
		}
		if !f.at(k).is("=") {
			continue
		}
		if f.at(k+1).kind == text_ && !f.at(k+1).open && f.at(k+2).kind == line_ && t.col == 0 {
			f.consts[t.value] = f.at(k + 1).value
			continue
		}
		name, open := f.full(k + 1)
		if !f.at(open).is("(") {
			continue
		}
		args := f.args(open)
		if last := name[strings.LastIndexByte(name, '.')+1:]; strings.HasPrefix(name, "rest_framework.") && strings.HasSuffix(last, "Router") || strings.HasPrefix(name, "rest_framework_nested.") && last == "DefaultRouter" {
			f.viewset[t.value] = "drf"
			continue
		}
		fw := pyRouters[name]
		if fw == "" {
			continue
		}
		n := &node{framework: fw, root: strings.HasSuffix(name, "Flask") || strings.HasSuffix(name, "FastAPI") || strings.HasSuffix(name, "Starlette") || strings.HasSuffix(name, "Quart")}
		for _, key := range []string{"url_prefix", "prefix", "root_path"} {
			if v, ok := f.named(args, key); ok && key != "root_path" {
				n.prefix, _ = f.plain(v, f.consts)
			}
		}
		f.routers[t.value] = n
		if v, ok := f.named(args, "routes"); ok && fw == "starlette" {
			p.starlette(f, v, n, "")
		}
	}
}

// target is the router that an expression means, here or in another file.
func (p *pyReader) target(f *pyFile, a part) *node {
	i := a.from
	if f.at(i).kind != word_ {
		return nil
	}
	if n := f.routers[f.at(i).value]; n != nil && (a.to == i+1) {
		return n
	}
	name, _ := f.full(i)
	module, member, ok := cutLast(name, '.')
	if !ok {
		return nil
	}
	if g := p.find(module); g != nil {
		if n := g.routers[member]; n != nil {
			return n
		}
		// Imported there from elsewhere.
		if next, ok := g.imports[member]; ok && next != name {
			if m, last, ok := cutLast(next, '.'); ok {
				if h := p.find(m); h != nil {
					return h.routers[last]
				}
			}
		}
	}
	return nil
}

func (p *pyReader) uses(f *pyFile) {
	for i := 0; i < len(f.t); i++ {
		t := f.t[i]
		if t.kind != word_ || !f.at(i+1).is(".") || f.at(i+2).kind != word_ || !f.at(i+3).is("(") || f.at(i-1).is(".") {
			continue
		}
		n := f.routers[t.value]
		if n == nil {
			n = p.target(f, part{i, i + 1})
		}
		if n == nil {
			continue
		}
		verb, args, line := f.at(i+2).value, f.args(i+3), f.at(i+2).line
		first, has := f.positional(args, 0)
		up := strings.ToUpper(verb)
		decorator := f.at(i - 1).is("@")
		switch {
		case verb == "register_blueprint" || verb == "include_router":
			if !has {
				if first, has = f.named(args, "blueprint"); !has {
					if first, has = f.named(args, "router"); !has {
						continue
					}
				}
			}
			prefix := ""
			v, ok := f.named(args, "url_prefix")
			if !ok {
				v, ok = f.named(args, "prefix")
			}
			if ok {
				if prefix, ok = f.plain(v, f.consts); !ok {
					p.report.unresolved(f.name, line)
					continue
				}
			}
			sub := p.target(f, first)
			if sub == nil || sub == n {
				continue
			}
			if verb == "register_blueprint" && prefix != "" && sub.prefix != "" { // it takes the place of the blueprint's own
				sub.prefix = ""
			}
			sub.mounts = append(sub.mounts, mount{n, prefix})
		case verb == "mount" && len(args) >= 2:
			if prefix, ok := f.plain(args[0], f.consts); ok {
				if sub := p.target(f, args[1]); sub != nil && sub != n {
					sub.mounts = append(sub.mounts, mount{n, prefix})
				}
			}
		case decorator && (verb == "route" || verb == "api_route" || verb == "websocket" || methods[up]), verb == "add_url_rule", verb == "add_api_route" || verb == "add_route":
			if !has {
				for _, key := range []string{"path", "rule"} {
					if v, ok := f.named(args, key); ok {
						first, has = v, true
					}
				}
				if !has {
					continue
				}
			}
			text, ok := f.plain(first, f.consts)
			if !ok {
				p.report.unresolved(f.name, line)
				continue
			}
			ms := []string{up}
			if !methods[up] {
				ms = []string{"GET"}
				if v, ok := f.named(args, "methods"); ok {
					ms = f.words(v)
				}
			}
			if verb == "websocket" {
				ms = []string{"GET"}
			}
			for _, m := range ms {
				p.wait = append(p.wait, pending{n, Route{Method: m, Template: text, Framework: n.framework, File: f.name, Line: line}})
			}
		}
	}
}

// words lists the strings within the brackets that p begins with.
func (f *pyFile) words(p part) []string {
	var out []string
	for i := p.from; i < p.to; i++ {
		if f.t[i].kind == text_ {
			out = append(out, f.t[i].value)
		}
	}
	return out
}

// starlette reads lists of Route and Mount.
func (p *pyReader) starlette(f *pyFile, list part, n *node, prefix string) {
	if f.at(list.from).kind == word_ && list.to == list.from+1 { // a variable of this file
		for i, t := range f.t {
			if t.value == f.at(list.from).value && t.kind == word_ && f.at(i+1).is("=") && f.at(i+2).is("[") {
				list = part{i + 2, f.pair[i+2] + 1}
				break
			}
		}
	}
	if !f.at(list.from).is("[") {
		return
	}
	if p.count++; p.count > 10_000 {
		return
	}
	for _, a := range f.args(list.from) {
		name, open := f.full(a.from)
		if !f.at(open).is("(") {
			continue
		}
		args := f.args(open)
		first, ok := f.positional(args, 0)
		if !ok {
			continue
		}
		text, ok := f.plain(first, f.consts)
		if !ok {
			p.report.unresolved(f.name, f.at(open).line)
			continue
		}
		switch strings.TrimPrefix(name, "starlette.routing.") {
		case "Route":
			ms := []string{"GET"}
			if v, ok := f.named(args, "methods"); ok {
				ms = f.words(v)
			}
			for _, m := range ms {
				p.wait = append(p.wait, pending{n, Route{Method: m, Template: join(prefix, text), Framework: "starlette", File: f.name, Line: f.at(a.from).line}})
			}
		case "WebSocketRoute":
			p.wait = append(p.wait, pending{n, Route{Method: "GET", Template: join(prefix, text), Framework: "starlette", File: f.name, Line: f.at(a.from).line}})
		case "Mount":
			if v, ok := f.named(args, "routes"); ok {
				p.starlette(f, v, n, glue(prefix, text))
			}
		}
	}
}

// classes notes what viewsets of REST framework can do.
func (p *pyReader) classes(f *pyFile) {
	for i, t := range f.t {
		if !t.word("class") || t.col < 0 || f.at(i+1).kind != word_ || !f.at(i+2).is("(") {
			continue
		}
		name := f.at(i + 1).value
		var acts []pyAction
		bases := ""
		for k := i + 3; k < f.pair[i+2]; k++ {
			bases += f.t[k].value + " "
		}
		if !strings.Contains(bases, "ViewSet") {
			continue
		}
		add := func(detail bool, m string) {
			acts = append(acts, pyAction{detail: detail, methods: []string{m}, line: t.line, file: f.name})
		}
		whole := strings.Contains(bases, "ModelViewSet") && !strings.Contains(bases, "ReadOnly")
		if whole || strings.Contains(bases, "ReadOnlyModelViewSet") || strings.Contains(bases, "ListModelMixin") {
			add(false, "GET")
		}
		if whole || strings.Contains(bases, "ReadOnlyModelViewSet") || strings.Contains(bases, "RetrieveModelMixin") {
			add(true, "GET")
		}
		if whole || strings.Contains(bases, "CreateModelMixin") {
			add(false, "POST")
		}
		if whole || strings.Contains(bases, "UpdateModelMixin") {
			add(true, "PUT")
			add(true, "PATCH")
		}
		if whole || strings.Contains(bases, "DestroyModelMixin") {
			add(true, "DELETE")
		}
		for k := i + 1; k < len(f.t); k++ {
			if f.t[k].col >= 0 && f.t[k].col <= t.col && k > f.pair[i+2] {
				break
			}
			if f.t[k].word("def") && f.at(k+1).kind == word_ {
				line := f.t[k].line
				own := map[string]pyAction{"list": {methods: []string{"GET"}}, "create": {methods: []string{"POST"}}, "retrieve": {detail: true, methods: []string{"GET"}}, "update": {detail: true, methods: []string{"PUT"}}, "partial_update": {detail: true, methods: []string{"PATCH"}}, "destroy": {detail: true, methods: []string{"DELETE"}}}
				if a, ok := own[f.at(k+1).value]; ok {
					a.line, a.file = line, f.name
					replaced := false
					for n := range acts {
						if acts[n].name == "" && acts[n].detail == a.detail && acts[n].methods[0] == a.methods[0] {
							acts[n], replaced = a, true
						}
					}
					if !replaced {
						acts = append(acts, a)
					}
				}
			}
			if f.t[k].is("@") && f.at(k+1).word("action") && f.at(k+2).is("(") {
				args := f.args(k + 2)
				a := pyAction{methods: []string{"GET"}, line: f.t[k].line, file: f.name}
				if v, ok := f.named(args, "detail"); ok {
					a.detail = f.at(v.from).word("True")
				}
				if v, ok := f.named(args, "methods"); ok {
					a.methods = f.words(v)
				}
				if v, ok := f.named(args, "url_path"); ok {
					a.name, _ = f.plain(v, f.consts)
				}
				for n := k; n < len(f.t) && a.name == ""; n++ {
					if f.t[n].word("def") {
						a.name = f.at(n + 1).value
					}
				}
				acts = append(acts, a)
			}
		}
		p.actions[name] = acts
	}
}

// django reads urlpatterns.
func (p *pyReader) django(f *pyFile) {
	drf := map[string][]pyURL{}
	for i, t := range f.t {
		if t.kind == word_ && f.viewset[t.value] != "" && f.at(i+1).is(".") && f.at(i+2).word("register") && f.at(i+3).is("(") {
			args := f.args(i + 3)
			first, ok := f.positional(args, 0)
			if !ok || len(args) < 2 {
				continue
			}
			text, plain := f.plain(first, f.consts)
			if !plain {
				p.report.unresolved(f.name, t.line)
				continue
			}
			second, _ := f.positional(args, 1)
			name, _ := f.full(second.from)
			_, class, _ := cutLast(name, '.')
			drf[t.value] = append(drf[t.value], pyURL{pattern: text, line: t.line, include: class})
		}
	}
	if p.drf == nil {
		p.drf = map[*pyFile]map[string][]pyURL{}
	}
	p.drf[f] = drf
	for i, t := range f.t {
		if t.word("urlpatterns") && (f.at(i+1).is("=") || f.at(i+1).is("+") && f.at(i+2).is("=")) {
			k := i + 2
			if f.at(i + 1).is("+") {
				k++
			}
			for ; k < len(f.t) && f.t[k].kind != line_; k++ {
				if f.t[k].is("[") {
					p.patterns(f, k)
					k = max(k, f.pair[k])
				} else if f.t[k].kind == word_ && drf[f.t[k].value] != nil && f.at(k+1).is(".") && f.at(k+2).word("urls") {
					f.urls = append(f.urls, pyURL{line: f.t[k].line, include: "drf:" + f.t[k].value})
				}
			}
		}
	}
}

func (p *pyReader) patterns(f *pyFile, open int) {
	for _, a := range f.args(open) {
		name, k := f.full(a.from)
		last := name[strings.LastIndexByte(name, '.')+1:]
		if (last != "path" && last != "re_path" && last != "url") || !f.at(k).is("(") {
			continue
		}
		if full := f.imports[f.at(a.from).value]; !strings.HasPrefix(full, "django.") {
			continue
		}
		args := f.args(k)
		if len(args) < 2 {
			continue
		}
		text, ok := f.plain(args[0], f.consts)
		if !ok {
			p.report.unresolved(f.name, f.at(k).line)
			continue
		}
		u := pyURL{pattern: text, line: f.at(a.from).line, regex: last != "path"}
		if n, o := f.full(args[1].from); strings.HasSuffix(n, "include") && f.at(o).is("(") {
			inner := f.args(o)
			if len(inner) == 0 {
				continue
			}
			in := inner[0]
			if f.at(in.from).is("(") {
				if list := f.args(in.from); len(list) > 0 {
					in = list[0]
				}
			}
			switch x := f.at(in.from); {
			case x.kind == text_:
				u.include = x.value
			case f.at(in.from+1).is(".") && f.at(in.from+2).word("urls") && f.viewset[x.value] != "":
				u.include = "drf:" + x.value
			case x.kind == word_:
				u.include, _ = f.full(in.from)
			}
			if g := p.find(u.include); g != nil {
				p.included[g] = true
			}
		}
		f.urls = append(f.urls, u)
	}
}

func (p *pyReader) emit(f *pyFile, prefix string, partial bool) {
	if p.busy[f] || p.count > 100_000 {
		return
	}
	p.busy[f] = true
	defer func() { p.busy[f] = false }()
	for _, u := range f.urls {
		p.count++
		t := u.pattern
		rest := false
		if u.regex {
			t = unregex(t)
		} else {
			t, rest = angle(t)
		}
		full := prefix + t
		if v, ok := strings.CutPrefix(u.include, "drf:"); ok {
			for _, x := range p.drf[f][v] {
				p.viewset(f, full, x, partial)
			}
			continue
		}
		if u.include != "" {
			if g := p.find(u.include); g != nil {
				p.emit(g, full, partial)
			}
			continue
		}
		p.report.add(Route{Template: "/" + strings.TrimLeft(full, "/"), Framework: "django", File: f.name, Line: u.line, Rest: rest, Partial: partial})
	}
}

// viewset adds the routes that a router of REST framework makes.
func (p *pyReader) viewset(f *pyFile, prefix string, u pyURL, partial bool) {
	base := "/" + strings.TrimLeft(prefix, "/") + strings.Trim(unregex(u.pattern), "/") + "/"
	base = strings.ReplaceAll(base, "//", "/")
	acts, known := p.actions[u.include]
	if !known {
		p.report.add(Route{Template: base, Framework: "django-rest", File: f.name, Line: u.line, Partial: true})
		p.report.add(Route{Template: base + "{pk}/", Framework: "django-rest", File: f.name, Line: u.line, Partial: true})
		return
	}
	for _, a := range acts {
		t := base
		if a.detail {
			t += "{pk}/"
		}
		if a.name != "" {
			t += a.name + "/"
		}
		for _, m := range a.methods {
			p.report.add(Route{Method: m, Template: t, Framework: "django-rest", File: a.file, Line: a.line, Partial: partial})
		}
	}
}

// unregex turns ^users/(?P<id>\d+)/$ into users/{id}/.
func unregex(s string) string {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "^"), "$")
	var b strings.Builder
	for i := 0; i < len(s); {
		switch {
		case strings.HasPrefix(s[i:], "(?P<"):
			n := closing(s[i:])
			name, _, _ := strings.Cut(s[i+4:], ">")
			b.WriteString("{" + name + "}")
			i += n
		case s[i] == '(':
			i += closing(s[i:])
			b.WriteString("{value}")
		case s[i] == '\\' && i+1 < len(s):
			if s[i+1] == '.' || s[i+1] == '-' || s[i+1] == '/' {
				b.WriteByte(s[i+1])
			} else if s[i+1] != 'Z' && s[i+1] != 'A' {
				b.WriteString("{value}")
			}
			i += 2
			for i < len(s) && (s[i] == '+' || s[i] == '*' || s[i] == '?') {
				i++
			}
		case s[i] == '?' || s[i] == '^':
			i++
		default:
			b.WriteByte(s[i])
			i++
		}
	}
	return b.String()
}

package code

import "strings"

type csReader struct {
	report *Report
	consts map[string]string
	bases  map[string][]string // class → templates of its own [Route]
	wait   []pending
	funcs  map[string]*node // extension methods that take a route builder
}

type csAttr struct {
	name string
	open int
	line int
}

func readCS(sources []source, r *Report) {
	c := &csReader{report: r, consts: map[string]string{}, bases: map[string][]string{}, funcs: map[string]*node{}}
	var files []*stream
	for _, s := range sources {
		f := newStream(s, csDialect)
		files = append(files, f)
		for i, t := range f.t {
			if t.word("const") && f.at(i+1).word("string") && f.at(i+3).is("=") && f.at(i+4).kind == text_ && !f.at(i+4).open && f.at(i+5).is(";") {
				c.consts[f.at(i+2).value] = f.at(i + 4).value
			}
			// static X MapThings(this IEndpointRouteBuilder app)
			if t.word("this") && f.at(i-1).is("(") && csBuilder(f.at(i+1).value) && f.at(i-2).kind == word_ {
				c.funcs[f.at(i-2).value] = &node{framework: "aspnet-minimal"}
			}
		}
	}
	for _, f := range files {
		c.controllers(f, true)
	}
	for _, f := range files {
		c.controllers(f, false)
		c.minimal(f)
	}
	settle(c.wait, r, func(p string) ([]string, bool) {
		t, rest := curly(p)
		return []string{t}, rest
	})
}

func csBuilder(name string) bool {
	switch name {
	case "IEndpointRouteBuilder", "RouteGroupBuilder", "WebApplication":
		return true
	}
	return false
}

// attributes reads what stands in [ ] at i, and gives where it ends.
func attributes(f *stream, i int) (list []csAttr, next int) {
	for f.at(i).is("[") && f.pair[i] > i {
		for _, a := range f.args(i) {
			k := a.from
			if f.at(k + 1).is(":") { // [return: X]
				continue
			}
			for f.at(k + 1).is(".") {
				k += 2
			}
			x := csAttr{name: strings.TrimSuffix(f.at(k).value, "Attribute"), line: f.at(k).line}
			if f.at(k + 1).is("(") {
				x.open = k + 1
			}
			list = append(list, x)
		}
		i = f.pair[i] + 1
	}
	return list, i
}

var csVerbs = map[string]string{"HttpGet": "GET", "HttpPost": "POST", "HttpPut": "PUT", "HttpDelete": "DELETE", "HttpPatch": "PATCH", "HttpHead": "HEAD", "HttpOptions": "OPTIONS"}

func (c *csReader) template(f *stream, a csAttr) (string, bool) {
	if a.open == 0 {
		return "", true
	}
	v, ok := f.named(f.args(a.open), "template")
	if !ok {
		if v, ok = f.positional(f.args(a.open), 0); !ok {
			return "", true
		}
	}
	t, ok := f.plain(v, c.consts)
	if !ok {
		c.report.unresolved(f.name, a.line)
	}
	return t, ok
}

type csClass struct {
	end        int
	prefixes   []string
	controller string // its name without the ending; "" = it is none
}

// controllers reads attribute routing; with learn it only notes what base
// classes say.
func (c *csReader) controllers(f *stream, learn bool) {
	var classes []csClass
	for i := 0; i < len(f.t); i++ {
		for len(classes) > 0 && i > classes[len(classes)-1].end {
			classes = classes[:len(classes)-1]
		}
		starts := f.at(i-1).is(";") || f.at(i-1).is("{") || f.at(i-1).is("}") || f.at(i-1).is("]") || i == 0
		if !(starts && f.t[i].is("[")) && !f.t[i].word("class") {
			continue
		}
		list, k := attributes(f, i)
		declares := -1
		name := ""
		for n := k; n < len(f.t) && n < k+60; n++ {
			t := f.t[n]
			if t.word("class") || t.word("record") && f.at(n+1).kind == word_ {
				declares = n
				break
			}
			if t.is("(") {
				name = f.at(n - 1).value
				if f.at(n - 1).is(">") {
					for m := n - 1; m > k; m-- {
						if f.t[m].is("<") {
							name = f.at(m - 1).value
							break
						}
					}
				}
				break
			}
			if t.is(";") || t.is("{") || t.is("}") || t.is("=") || t.is("=>") {
				break
			}
		}
		if declares >= 0 {
			open := declares
			base := ""
			for open < len(f.t) && !f.t[open].is("{") && !f.t[open].is(";") {
				if f.t[open].is(":") && base == "" {
					base = f.at(open + 1).value
				}
				open++
			}
			class := f.at(declares + 1).value
			x := csClass{end: open}
			if f.at(open).is("{") {
				x.end = max(open, f.pair[open])
			}
			var own []string
			api := strings.HasSuffix(class, "Controller") || strings.HasSuffix(base, "Controller") || strings.HasSuffix(base, "ControllerBase")
			for _, a := range list {
				switch a.name {
				case "Route":
					if t, ok := c.template(f, a); ok {
						own = append(own, t)
					}
				case "ApiController":
					api = true
				case "NonController":
					api = false
					own = nil
				}
			}
			if learn && len(own) > 0 {
				c.bases[class] = own
			}
			if api {
				x.controller = strings.TrimSuffix(class, "Controller")
				x.prefixes = own
				if len(own) == 0 {
					x.prefixes = c.bases[base]
				}
			}
			classes = append(classes, x)
			i = open
			continue
		}
		if k == i { // a class keyword elsewhere
			continue
		}
		if !learn && len(classes) > 0 && classes[len(classes)-1].controller != "" && name != "" {
			c.action(f, list, name, classes[len(classes)-1])
		}
		i = k - 1
	}
}

func (c *csReader) action(f *stream, list []csAttr, name string, class csClass) {
	type bound struct {
		method, template string
		line             int
	}
	var verbs []bound
	var routes []string
	for _, a := range list {
		switch {
		case a.name == "NonAction":
			return
		case csVerbs[a.name] != "":
			if t, ok := c.template(f, a); ok {
				verbs = append(verbs, bound{csVerbs[a.name], t, a.line})
			}
		case a.name == "Route":
			if t, ok := c.template(f, a); ok {
				routes = append(routes, t)
			}
		case a.name == "AcceptVerbs" && a.open > 0:
			for _, p := range f.args(a.open) {
				if f.at(p.from).kind == text_ && p.to == p.from+1 {
					verbs = append(verbs, bound{f.at(p.from).value, "", a.line})
				}
			}
		}
	}
	if len(verbs) == 0 && len(routes) > 0 {
		verbs = []bound{{"", "", list[0].line}}
	}
	for _, v := range verbs {
		templates := []string{v.template}
		if v.template == "" && len(routes) > 0 {
			templates = routes
		}
		for _, t := range templates {
			prefixes := class.prefixes
			if strings.HasPrefix(t, "/") || strings.HasPrefix(t, "~/") || len(prefixes) == 0 {
				if len(prefixes) == 0 && t == "" {
					continue // by convention, which is configured elsewhere
				}
				t = strings.TrimPrefix(t, "~")
				prefixes = []string{""}
			}
			for _, p := range prefixes {
				full := join(p, t)
				if full[0] != '/' {
					full = "/" + full
				}
				full = strings.NewReplacer("[controller]", class.controller, "[action]", name, "[area]", "{area}").Replace(full)
				out, rest := curly(full)
				c.report.add(Route{Method: v.method, Template: out, Framework: "aspnet", File: f.name, Line: v.line, Rest: rest})
			}
		}
	}
}

// minimal reads app.MapGet("/x", …) and groups of them.
func (c *csReader) minimal(f *stream) {
	vars := map[string]*node{}
	for i, t := range f.t {
		switch {
		case t.kind == word_ && csBuilder(t.value) && f.at(i+1).kind == word_ && !f.at(i-1).is("."):
			n := &node{framework: "aspnet-minimal"}
			if f.at(i-1).word("this") && f.at(i-3).kind == word_ && c.funcs[f.at(i-3).value] != nil {
				n = c.funcs[f.at(i-3).value]
			}
			vars[f.at(i+1).value] = n
			continue
		case t.kind == word_ && f.at(i+1).is("=") && f.at(i+2).kind == word_:
			if f.at(i+3).is(".") && f.at(i+4).word("Build") { // var app = builder.Build()
				if vars[t.value] == nil {
					vars[t.value] = &node{framework: "aspnet-minimal", root: true}
				}
				continue
			}
			if f.at(i+2).word("WebApplication") && f.at(i+4).word("Create") {
				vars[t.value] = &node{framework: "aspnet-minimal", root: true}
				continue
			}
			if n, _ := c.chain(f, i+2, vars, false); n != nil {
				vars[t.value] = n
			}
		}
		if t.kind == word_ && vars[t.value] != nil && f.at(i+1).is(".") && !f.at(i-1).is(".") {
			c.chain(f, i, vars, true)
		}
	}
}

// chain follows x.MapGroup("/a").MapGet("/b", …); it gives the router that the
// chain ends in.
func (c *csReader) chain(f *stream, i int, vars map[string]*node, register bool) (*node, int) {
	n := vars[f.at(i).value]
	if n == nil {
		return nil, i
	}
	grouped := false
	k := i + 1
	for f.at(k).is(".") && f.at(k+1).kind == word_ {
		name := f.at(k + 1)
		open := k + 2
		if f.at(open).is("<") {
			for open < len(f.t) && !f.t[open].is(">") && open < k+40 {
				open++
			}
			open++
		}
		if !f.at(open).is("(") || f.pair[open] <= open {
			break
		}
		args := f.args(open)
		verb := strings.ToUpper(strings.TrimPrefix(name.value, "Map"))
		first := func() (string, bool) {
			if len(args) == 0 {
				return "", false
			}
			p := args[0]
			if v, ok := f.named(args, "pattern"); ok {
				p = v
			}
			t, ok := f.plain(p, c.consts)
			if !ok && register {
				c.report.unresolved(f.name, name.line)
			}
			return t, ok
		}
		switch {
		case name.value == "MapGroup":
			p, ok := first()
			if !ok {
				return nil, k
			}
			n = &node{framework: "aspnet-minimal", mounts: []mount{{n, p}}}
			grouped = true
		case strings.HasPrefix(name.value, "Map") && methods[verb] && len(args) >= 2, name.value == "Map" && len(args) >= 2:
			if p, ok := first(); ok && register {
				m := verb
				if name.value == "Map" {
					m = ""
				}
				c.wait = append(c.wait, pending{n, Route{Method: m, Template: p, Framework: "aspnet-minimal", File: f.name, Line: name.line}})
			}
		case name.value == "MapMethods" && len(args) >= 3:
			if p, ok := first(); ok && register {
				for q := args[1].from; q < args[1].to; q++ {
					m := strings.ToUpper(f.t[q].value)
					if f.t[q].kind == text_ {
						c.wait = append(c.wait, pending{n, Route{Method: m, Template: p, Framework: "aspnet-minimal", File: f.name, Line: name.line}})
					}
				}
			}
		case c.funcs[name.value] != nil:
			if sub := c.funcs[name.value]; register && sub != n && len(sub.mounts) < maxPrefixes {
				sub.mounts = append(sub.mounts, mount{n, ""})
			}
		}
		k = f.pair[open] + 1
	}
	if !grouped {
		return nil, k
	}
	return n, k
}

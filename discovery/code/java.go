package code

import (
	"slices"
	"strings"
)

type javaFile struct {
	*stream
	imports map[string]bool // by their first words: "io.ktor", "jakarta.ws.rs", …
	kotlin  bool
}

type javaReader struct {
	files  []*javaFile
	consts map[string]string
	root   string // of JAX-RS: @ApplicationPath
	report *Report
	ktor   map[string][]ktorFunc
	budget int
}

type ktorFunc struct {
	f      *javaFile
	body   part
	called bool
	busy   bool
}

func readJava(s []source, r *Report)   { readJVM(s, r, javaDialect, false) }
func readKotlin(s []source, r *Report) { readJVM(s, r, kotlinDialect, true) }

func readJVM(sources []source, r *Report, d dialect, kotlin bool) {
	j := &javaReader{consts: map[string]string{}, report: r, ktor: map[string][]ktorFunc{}, budget: 200_000}
	for _, s := range sources {
		f := &javaFile{stream: newStream(s, d), imports: map[string]bool{}, kotlin: kotlin}
		for i, t := range f.t {
			switch {
			case t.word("import"):
				k := i + 1
				if f.at(k).word("static") {
					k++
				}
				name := f.at(k).value
				for f.at(k + 1).is(".") {
					k += 2
					name += "." + f.at(k).value
					f.imports[name] = true
				}
			case (t.word("String") || t.word("val")) && f.at(i+1).kind == word_ && f.at(i+2).is("=") && f.at(i+3).kind == text_ && !f.at(i+3).open && !f.at(i+4).is("+"):
				if f.at(i-1).word("final") || f.at(i-1).word("const") || f.at(i-1).word("static") {
					j.consts[f.at(i+1).value] = f.at(i + 3).value
				}
			case t.is("@") && f.at(i+1).word("ApplicationPath") && f.at(i+2).is("("):
				if a := f.args(i + 2); len(a) > 0 {
					j.root, _ = f.plain(a[0], nil)
				}
			}
		}
		j.files = append(j.files, f)
	}
	for _, f := range j.files {
		j.annotations(f)
		if f.imports["org.springframework.web.reactive.function"] || f.imports["org.springframework.web.servlet.function"] {
			j.functional(f)
		}
		if f.imports["io.ktor"] {
			j.extensions(f)
		}
	}
	for _, f := range j.files {
		if f.imports["io.ktor"] {
			for i, t := range f.t {
				if t.word("routing") && f.at(i+1).is("{") && !f.at(i-1).word("fun") {
					j.routing(f, part{i + 2, f.pair[i+1]}, "", false)
				}
			}
		}
	}
	var names []string
	for name := range j.ktor {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, x := range j.ktor[name] {
			if !x.called {
				j.routing(x.f, x.body, "", true)
			}
		}
	}
}

// An annotation with where its arguments open; 0 = it has none.
type annotation struct {
	name       string
	open, line int
}

type javaClass struct {
	end      int
	prefixes []string
	kind     string // framework; "" = no controller
}

// annotations reads classes and their methods.
func (j *javaReader) annotations(f *javaFile) {
	var classes []javaClass
	for i := 0; i < len(f.t); i++ {
		for len(classes) > 0 && i > classes[len(classes)-1].end {
			classes = classes[:len(classes)-1]
		}
		if !f.t[i].is("@") || f.at(i+1).kind != word_ {
			if f.t[i].word("class") || f.t[i].word("interface") {
				if f.at(i-1).is("::") || f.at(i-1).is(".") {
					continue
				}
				j.class(f, i, nil, &classes)
			}
			continue
		}
		// All the annotations of one declaration, then what it declares.
		var list []annotation
		k := i
		declares := -1
	scan:
		for k < len(f.t) {
			t := f.t[k]
			switch {
			case t.is("@") && f.at(k+1).kind == word_ && !f.at(k+1).word("interface"):
				a := annotation{name: f.at(k + 1).value, line: t.line}
				k += 2
				if f.at(k).is(":") { // @get:X of Kotlin
					a.name = f.at(k + 1).value
					k += 2
				}
				for f.at(k).is(".") {
					a.name = f.at(k + 1).value
					k += 2
				}
				if f.at(k).is("(") {
					a.open = k
					k = f.pair[k] + 1
					if f.pair[a.open] == a.open {
						break scan
					}
				}
				list = append(list, a)
			case t.word("class") || t.word("interface") || t.word("object") && f.kotlin || t.word("record") && f.at(k+2).is("("):
				declares = k
				break scan
			case t.is("(") || t.is(")") || t.is(";") || t.is("{") || t.is("}") || t.is("=") || t.is(",") || t.word("fun") || t.kind == end_:
				break scan
			default:
				k++
			}
		}
		if declares >= 0 {
			i = j.class(f, declares, list, &classes)
			continue
		}
		if len(classes) > 0 {
			j.method(f, list, classes[len(classes)-1])
		}
		i = max(i+1, k-1)
	}
}

func has(list []annotation, name string) (annotation, bool) {
	for _, a := range list {
		if a.name == name {
			return a, true
		}
	}
	return annotation{}, false
}

// class notes a class that begins at k and gives where to go on.
func (j *javaReader) class(f *javaFile, k int, list []annotation, classes *[]javaClass) int {
	open := k
	for open < len(f.t) && !f.t[open].is("{") && !f.t[open].is(";") && open < k+400 {
		if f.t[open].is("(") {
			open = max(open, f.pair[open])
		}
		open++
	}
	if !f.at(open).is("{") {
		return k
	}
	c := javaClass{end: max(open, f.pair[open]), prefixes: []string{""}}
	_, feign := has(list, "FeignClient")
	_, client := has(list, "RegisterRestClient")
	_, micronautClient := has(list, "Client")
	spring, isSpring := has(list, "RequestMapping")
	_, rest := has(list, "RestController")
	ctl, controller := has(list, "Controller")
	p, jax := has(list, "Path")
	switch {
	case feign || client || micronautClient: // it calls others
	case controller && f.imports["io.micronaut"]:
		c.kind, c.prefixes = "micronaut", j.paths(f, ctl)
	case jax && (f.imports["jakarta.ws"] || f.imports["javax.ws"]):
		c.kind, c.prefixes = "jax-rs", j.paths(f, p)
		for i := range c.prefixes {
			c.prefixes[i] = join(j.root, c.prefixes[i])
		}
	case rest || controller || isSpring || f.at(k).word("interface") && f.imports["org.springframework"]:
		if f.imports["org.springframework"] {
			c.kind = "spring"
			if isSpring {
				c.prefixes = j.paths(f, spring)
			}
		}
	}
	*classes = append(*classes, c)
	return open
}

var springVerbs = map[string]string{"GetMapping": "GET", "PostMapping": "POST", "PutMapping": "PUT", "DeleteMapping": "DELETE", "PatchMapping": "PATCH"}
var micronautVerbs = map[string]string{"Get": "GET", "Post": "POST", "Put": "PUT", "Delete": "DELETE", "Patch": "PATCH", "Head": "HEAD", "Options": "OPTIONS"}

func (j *javaReader) method(f *javaFile, list []annotation, c javaClass) {
	add := func(m string, paths []string, line int) {
		for _, prefix := range c.prefixes {
			for _, p := range paths {
				t := join(prefix, p)
				if c.kind == "micronaut" { // {?page,size} are parameters of the query
					for {
						i := strings.Index(t, "{?")
						if i < 0 {
							break
						}
						t = t[:i] + t[min(len(t), i+braces(t[i:])):]
					}
				}
				t, rest := curly(t)
				if t == "" || t[0] != '/' {
					t = "/" + t
				}
				j.report.add(Route{Method: m, Template: t, Framework: c.kind, File: f.name, Line: line, Rest: rest})
			}
		}
	}
	switch c.kind {
	case "spring":
		for _, a := range list {
			if m, ok := springVerbs[a.name]; ok {
				add(m, j.paths(f, a), a.line)
			}
			if a.name == "RequestMapping" {
				ms := []string{""}
				if a.open > 0 {
					if v, ok := f.named(f.args(a.open), "method"); ok {
						ms = nil
						for i := v.from; i < v.to; i++ {
							if methods[f.t[i].value] {
								ms = append(ms, f.t[i].value)
							}
						}
					}
				}
				for _, m := range ms {
					add(m, j.paths(f, a), a.line)
				}
			}
		}
	case "micronaut":
		for _, a := range list {
			if m, ok := micronautVerbs[a.name]; ok {
				add(m, j.paths(f, a), a.line)
			}
		}
	case "jax-rs":
		paths := []string{""}
		if p, ok := has(list, "Path"); ok {
			paths = j.paths(f, p)
		}
		for _, a := range list {
			if methods[a.name] {
				add(a.name, paths, a.line)
			}
		}
	}
}

// paths are those that an annotation names; one empty path when it names none.
func (j *javaReader) paths(f *javaFile, a annotation) []string {
	if a.open == 0 {
		return []string{""}
	}
	args := f.args(a.open)
	v, ok := part{}, false
	for _, key := range []string{"value", "path", "uri", "uris"} {
		if v, ok = f.named(args, key); ok {
			break
		}
	}
	if !ok {
		if v, ok = f.positional(args, 0); !ok {
			return []string{""}
		}
	}
	list := []part{v}
	if f.at(v.from).is("{") || f.at(v.from).is("[") {
		list = f.args(v.from)
	} else if f.at(v.from).word("arrayOf") {
		list = f.args(v.from + 1)
	}
	var out []string
	for _, p := range list {
		if t, ok := f.plain(p, j.consts); ok {
			if strings.Contains(t, "${") { // of a property file
				j.report.unresolved(f.name, a.line)
				continue
			}
			out = append(out, t)
		} else {
			j.report.unresolved(f.name, a.line)
		}
	}
	return out
}

// functional reads RouterFunctions of Spring, and the router { } of Kotlin.
func (j *javaReader) functional(f *javaFile) {
	for i, t := range f.t {
		if t.kind != word_ || !methods[t.value] || !f.at(i+1).is("(") || f.at(i-1).is("@") {
			continue
		}
		args := f.args(i + 1)
		if len(args) == 0 {
			continue
		}
		p, ok := f.plain(args[0], j.consts)
		if !ok {
			j.report.unresolved(f.name, t.line)
			continue
		}
		for k := i; k >= 0; k-- { // what encloses it
			if f.t[k].kind != punct_ || f.pair[k] <= i {
				continue
			}
			switch {
			case f.t[k].is("(") && (f.at(k-1).word("nest") || f.at(k-1).word("path")):
				for n := k + 1; n < k+5 && n < len(f.t); n++ {
					if f.t[n].kind == text_ {
						p = join(f.t[n].value, p)
						break
					}
				}
			case f.t[k].is("{") && f.at(k-1).word("nest") && f.at(k-2).is(".") && f.at(k-3).kind == text_:
				p = join(f.t[k-3].value, p)
			}
		}
		p, rest := curly(p)
		j.report.add(Route{Method: t.value, Template: join("", p), Framework: "spring", File: f.name, Line: t.line, Rest: rest})
	}
}

// extensions notes fun Route.name() { … } of Ktor.
func (j *javaReader) extensions(f *javaFile) {
	for i, t := range f.t {
		if !t.word("fun") || !(f.at(i+1).word("Route") || f.at(i+1).word("Routing")) || !f.at(i+2).is(".") || !f.at(i+4).is("(") {
			continue
		}
		for k := f.pair[i+4] + 1; k < len(f.t) && k < f.pair[i+4]+8; k++ {
			if f.t[k].is("{") {
				name := f.at(i + 3).value
				j.ktor[name] = append(j.ktor[name], ktorFunc{f: f, body: part{k + 1, f.pair[k]}})
				break
			}
		}
	}
}

func (j *javaReader) routing(f *javaFile, body part, prefix string, partial bool) {
	for i := body.from; i < body.to; i++ {
		if j.budget--; j.budget < 0 {
			return
		}
		t := f.t[i]
		if t.kind != word_ || f.at(i-1).is(".") {
			continue
		}
		up := strings.ToUpper(t.value)
		open := -1
		if f.at(i + 1).is("(") {
			open = i + 1
		}
		block := i + 1
		if open >= 0 {
			block = f.pair[open] + 1
		} else if f.at(i + 1).is("<") {
			continue // typed routes take their path from a class
		}
		text, known := "", true
		if open >= 0 {
			if args := f.args(open); len(args) > 0 {
				text, known = f.plain(args[0], j.consts)
			}
		}
		switch {
		case t.value == "route" && f.at(block).is("{"):
			if !known {
				j.report.unresolved(f.name, t.line)
			} else {
				j.routing(f, part{block + 1, f.pair[block]}, glue(prefix, text), partial)
			}
			i = max(i, f.pair[block])
		case methods[up] && t.value == strings.ToLower(t.value) && f.at(block).is("{") || t.word("webSocket") && f.at(block).is("{"):
			if t.word("webSocket") {
				up = "GET"
			}
			if !known {
				j.report.unresolved(f.name, t.line)
				break
			}
			p, rest := curly(join(prefix, text))
			j.report.add(Route{Method: up, Template: p, Framework: "ktor", File: f.name, Line: t.line, Rest: rest, Partial: partial})
			i = max(i, f.pair[block]) // handlers hold no routes
		case open >= 0 && j.ktor[t.value] != nil && !f.at(i-1).word("fun"):
			for n := range j.ktor[t.value] {
				x := &j.ktor[t.value][n]
				if x.busy {
					continue
				}
				x.called, x.busy = true, true
				j.routing(x.f, x.body, prefix, partial)
				x.busy = false
			}
		}
	}
}

package audit

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sallyport.dev/spec/source"
)

// direction is the way a value travels.
type direction uint8

const (
	request direction = iota
	response
	failure // the content of an error
)

type operation struct {
	method, path string
	v            *source.Value
	line, column int
	secured      bool
	async        bool
}

func (o *operation) name() string { return strings.TrimSpace(o.method + " " + o.path) }

func (o *operation) changes() bool {
	return o.method == "POST" || o.method == "PUT" || o.method == "PATCH" || o.method == "DELETE"
}

var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace", "query"}

var operationMembers = []string{"tags", "summary", "description", "externalDocs", "operationId", "parameters", "requestBody", "responses", "callbacks", "deprecated", "security", "servers", "consumes", "produces", "schemes"}

var (
	versionSegment = regexp.MustCompile(`^v[0-9]+([._-]?[0-9a-z]*)?$`)
	mediaType      = regexp.MustCompile(`^[A-Za-z0-9!#$&^_.+*-]+/[A-Za-z0-9!#$&^_.+*-]+(\s*;.*)?$`)
	datePart       = regexp.MustCompile(`\b20[0-9]{2}-[01][0-9]`)
	plainID        = regexp.MustCompile(`^[A-Za-z0-9._/-]+$`)
)

func (a *auditor) paths() {
	a.opIDs = map[string]*source.Value{}
	tags := map[string]bool{}
	for _, t := range a.root.Get("tags").List() {
		tags[t.Get("name").String()] = true
	}
	shapes := map[string]string{}
	byCount := map[string][]source.Member{}
	versions := map[string]*source.Member{}
	entries := a.root.Get("paths").Entries()
	for i := range entries {
		m := &entries[i]
		if strings.HasPrefix(m.Key, "x-") {
			continue
		}
		a.path(m)
		shape := templateShape(m.Key)
		if was, ok := shapes[shape]; ok && was != m.Key {
			a.at("contract.path-duplicate", m.Line, m.Column, nil, m.Key+" and "+was)
		}
		shapes[shape] = m.Key
		seg := segments(m.Key)
		key := strconv.Itoa(len(seg))
		for _, other := range byCount[key] {
			if a.work++; a.work > maxWork {
				break
			}
			if ambiguous(seg, segments(other.Key)) {
				a.at("contract.path-ambiguous", m.Line, m.Column, nil, m.Key+" and "+other.Key)
				break
			}
		}
		if strings.Contains(m.Key, "{") {
			byCount[key] = append(byCount[key], *m)
		}
		for _, s := range seg {
			if versionSegment.MatchString(s) {
				versions[s] = m
			}
		}
	}
	if len(versions) > 1 {
		var names []string
		for n := range versions {
			names = append(names, n)
		}
		slices.Sort(names)
		m := versions[names[0]]
		a.at("version.mixed", m.Line, m.Column, nil, strings.Join(names, ", "))
	}
	if len(versions) == 0 && len(entries) > 0 && !a.versioned() {
		a.hit("version.unversioned", a.root.Get("paths"), nil, "")
	}
	for _, m := range entries {
		item := a.resolve(m.Value)
		for _, x := range item.Entries() {
			if slices.Contains(methods, x.Key) && x.Value.Is(source.Object) {
				op := &operation{method: strings.ToUpper(x.Key), path: m.Key, v: x.Value, line: x.Line, column: x.Column}
				a.operation(op, item)
				for _, t := range x.Value.Get("tags").List() {
					if len(tags) > 0 && !tags[t.String()] {
						a.hit("contract.tag-undeclared", t, op, t.Text)
					}
				}
			}
		}
	}
	for _, m := range a.root.Get("webhooks").Entries() {
		item := a.resolve(m.Value)
		for _, x := range item.Entries() {
			if slices.Contains(methods, x.Key) {
				op := &operation{method: "WEBHOOK", path: m.Key, v: x.Value, line: x.Line, column: x.Column, secured: true}
				if !a.signed(x.Value, item) {
					a.hit("webhook.open", nil, op, m.Key)
				}
			}
		}
	}
}

// signed reports whether a call to somebody else shows who makes it.
func (a *auditor) signed(op, item *source.Value) bool {
	if len(op.Get("security").List()) > 0 {
		return true
	}
	for _, list := range []*source.Value{op.Get("parameters"), item.Get("parameters")} {
		for _, p := range list.List() {
			p = a.resolve(p)
			if anyWord(p.Get("name").String(), "signature", "authorization", "hmac", "sig", "secret", "token", "jws") {
				return true
			}
		}
	}
	return false
}

func templateShape(path string) string {
	var b strings.Builder
	deep := false
	for i := 0; i < len(path); i++ {
		switch {
		case path[i] == '{':
			deep = true
			b.WriteString("{}")
		case path[i] == '}':
			deep = false
		case !deep:
			b.WriteByte(path[i])
		}
	}
	return b.String()
}

// ambiguous reports whether two templates fit one request and neither is the
// more literal one at every place.
func ambiguous(x, y []string) bool {
	left, right := false, false
	for i := range x {
		px, py := strings.HasPrefix(x[i], "{") && strings.HasSuffix(x[i], "}"), strings.HasPrefix(y[i], "{") && strings.HasSuffix(y[i], "}")
		switch {
		case strings.Contains(x[i], "{") && !px || strings.Contains(y[i], "{") && !py:
			return false // partly templated: not judged
		case px && !py:
			left = true
		case py && !px:
			right = true
		case !px && !py && x[i] != y[i]:
			return false
		}
	}
	return left && right
}

func (a *auditor) versioned() bool {
	for _, s := range a.root.Get("servers").List() {
		for _, part := range segments(s.Get("url").String()) {
			if versionSegment.MatchString(strings.ToLower(part)) || strings.Contains(strings.ToLower(part), "version}") {
				return true
			}
		}
	}
	for _, s := range segments(a.root.Get("basePath").String()) {
		if versionSegment.MatchString(s) {
			return true
		}
	}
	text := false
	for _, m := range a.root.Get("paths").Entries() {
		for _, p := range params(m.Key) {
			text = text || anyWord(p, "version")
		}
	}
	for _, p := range a.root.Get("components").Get("parameters").Entries() {
		text = text || anyWord(p.Value.Get("name").String(), "version")
	}
	return text
}

func (a *auditor) path(m *source.Member) {
	p := m.Key
	if !strings.HasPrefix(p, "/") {
		a.at("contract.path-form", m.Line, m.Column, nil, p)
	}
	if len(p) > 1 && strings.HasSuffix(p, "/") {
		a.at("contract.path-slash", m.Line, m.Column, nil, p)
	}
	if strings.ContainsAny(templateShape(p), "?#") {
		a.at("contract.path-query", m.Line, m.Column, nil, p)
	}
	seen := map[string]bool{}
	for _, n := range params(p) {
		if seen[n] {
			a.at("contract.path-param-twice", m.Line, m.Column, nil, n)
		}
		seen[n] = true
	}
	if literal(p, "alpha", "beta", "experimental", "preview") || slices.ContainsFunc(segments(p), func(s string) bool {
		return versionSegment.MatchString(s) && (strings.Contains(s, "alpha") || strings.Contains(s, "beta"))
	}) {
		a.at("version.unstable", m.Line, m.Column, nil, p)
	}
	if literal(p, "debug", "_debug", "test", "internal", "_internal", "actuator", "phpinfo", "console", "trace", "heapdump", "createdb", "populate", "seed", "resetdb", "devtools") {
		a.at("version.debug-path", m.Line, m.Column, nil, p)
	}
	for _, s := range segments(p) {
		w := words(s)
		if len(w) > 1 && !strings.Contains(s, "{") && slices.Contains([]string{"get", "create", "delete", "update", "fetch", "list", "remove", "add"}, w[0]) {
			a.at("contract.path-verb", m.Line, m.Column, nil, s)
			break
		}
	}
	item := a.resolve(m.Value)
	if item.Is(source.Object) && !slices.ContainsFunc(item.Members, func(x source.Member) bool { return slices.Contains(methods, x.Key) || x.Key == "additionalOperations" }) {
		a.at("contract.path-empty", m.Line, m.Column, nil, p)
	}
}

// security looks at what an operation demands.
func (a *auditor) security(op *operation) {
	list := op.v.Get("security")
	if list == nil {
		list = a.root.Get("security")
	}
	declaredHere := op.v.Get("security") != nil
	alternatives := list.List()
	at := or(op.v.Get("security"), nil)
	scoped, weak, strong, keysOnly, optional := false, "", false, len(alternatives) > 0, false
	for _, alt := range alternatives {
		members := alt.Entries()
		if len(members) == 0 {
			optional = true
			continue
		}
		altWeak, altKey := "", true
		for _, m := range members {
			if a.required != nil {
				a.required[m.Key] = true
			}
			s := a.schemesBy[m.Key]
			if s == nil {
				a.at("auth.scheme-unknown", m.Line, m.Column, op, m.Key)
				altKey = false
				continue
			}
			for _, scope := range m.Value.List() {
				if a.scopes[m.Key] == nil {
					a.scopes[m.Key] = map[string]bool{}
				}
				a.scopes[m.Key][scope.String()] = true
			}
			kind := s.Get("type").String()
			switch {
			case kind == "oauth2" || kind == "openIdConnect" || kind == "mutualTLS":
				strong = true
				altKey = false
			case kind == "apiKey":
				altWeak = m.Key
			case kind == "basic" || kind == "http" && (strings.EqualFold(s.Get("scheme").String(), "basic") || strings.EqualFold(s.Get("scheme").String(), "digest")):
				altWeak, altKey = m.Key, false
			default:
				altKey = false
			}
			declared, ok := a.scopesOf(s)
			if !ok {
				continue
			}
			asked := m.Value.List()
			if len(asked) == 0 {
				a.at("auth.scope-missing", m.Line, m.Column, op, m.Key)
			}
			reads := 0
			for _, scope := range asked {
				scoped = true
				if declared[scope.String()] == nil {
					a.hit("auth.scope-unknown", scope, op, scope.Text)
				}
				if anyWord(scope.String(), "read", "readonly", "view") && !anyWord(scope.String(), "write", "admin", "manage") {
					reads++
				}
			}
			if reads > 0 && reads == len(asked) && op.changes() && !literal(op.path, "search", "query", "find", "lookup", "graphql") {
				a.at("auth.scope-read-for-write", m.Line, m.Column, op, m.Key)
			}
		}
		if len(members) == 1 && altWeak != "" {
			weak = altWeak
		}
		keysOnly = keysOnly && altKey && altWeak != ""
	}
	op.secured = len(alternatives) > 0 && !optional
	if len(alternatives) > 0 {
		a.secured = true
	}
	if optional && len(alternatives) > 1 {
		a.hit("auth.optional", at, op, "")
	}
	if strong && weak != "" {
		a.hit("auth.weak-alternative", at, op, weak)
	}
	if keysOnly && op.changes() && !optional {
		a.hit("auth.key-only-write", at, op, "")
	}
	admin := literal(op.path, "admin", "administration", "superuser", "management", "manage", "sudo")
	if admin && op.secured && !scoped && (!declaredHere || sameSecurity(op.v.Get("security"), a.root.Get("security"))) {
		a.hit("auth.admin-unscoped", at, op, "")
	}
	responses := op.v.Get("responses")
	if op.secured && responses.Get("401") == nil && responses.Get("4XX") == nil && responses.Get("default") == nil {
		a.hit("auth.no-401", or(responses, nil), op, "")
	}
	if scoped && responses.Get("403") == nil && responses.Get("4XX") == nil && responses.Get("default") == nil {
		a.hit("auth.no-403", or(responses, nil), op, "")
	}
	if !op.secured && op.method != "OPTIONS" && op.method != "HEAD" {
		open := literal(op.path, "login", "signin", "token", "oauth", "authorize", "register", "signup", "health", "healthz", "livez", "readyz", "ping", "status", "jwks", "openapi.json", "webhook", "webhooks", "forgotpassword", "forgetpassword", "resetpassword", "passwordreset", "verify", "verifyemail", "checkotp", "auth", "unlock", "session", "sessions", "version") ||
			strings.Contains(op.path, ".well-known")
		for _, w := range words(op.v.Get("operationId").String()) {
			open = open || slices.Contains([]string{"login", "signin", "register", "signup", "token", "health", "otp"}, w)
		}
		if a.root.Get("security") != nil || len(a.schemesBy) > 0 {
			switch {
			case open:
			case op.changes():
				a.hit("auth.write-open", at, op, "")
			default:
				a.hit("auth.read-open", at, op, "")
			}
		}
	}
}

func sameSecurity(x, y *source.Value) bool {
	return x != nil && y != nil && string(x.AppendJSON(nil)) == string(y.AppendJSON(nil))
}

func (a *auditor) operation(op *operation, item *source.Value) {
	a.r.Operations++
	if a.work++; a.work > maxWork {
		return
	}
	a.security(op)
	v := op.v
	id := v.Get("operationId")
	switch s := id.String(); {
	case s == "":
		a.hit("contract.id-missing", nil, op, "")
	case a.opIDs[s] != nil:
		a.hit("contract.id-duplicate", id, op, s)
	case !plainID.MatchString(s):
		a.hit("contract.id-characters", id, op, s)
	}
	if id.String() != "" {
		a.opIDs[id.Text] = id
	}
	if v.Get("summary").String() == "" && v.Get("description").String() == "" {
		a.hit("contract.undescribed", nil, op, "")
	}
	a.placeholder(v.Get("summary"), op)
	a.placeholder(v.Get("description"), op)
	if len(v.Get("tags").List()) == 0 {
		a.hit("contract.untagged", nil, op, "")
	}
	for _, m := range v.Entries() {
		if !slices.Contains(operationMembers, m.Key) && !strings.HasPrefix(m.Key, "x-") && m.Key != "$ref" {
			a.at("contract.unknown-member", m.Line, m.Column, op, m.Key)
		}
	}
	if op.method == "TRACE" {
		a.hit("contract.method-unsafe", nil, op, "")
	}
	if op.method == "GET" {
		seg := segments(op.path)
		last := words(seg[len(seg)-1])
		w := words(id.String())
		if !strings.Contains(seg[len(seg)-1], "{") && len(last) > 0 && slices.Contains([]string{"delete", "remove", "create", "update", "destroy", "purge"}, last[0]) ||
			len(w) > 1 && slices.Contains([]string{"delete", "remove", "create", "destroy", "purge"}, w[0]) {
			a.hit("contract.get-changes", or(id, nil), op, "")
		}
	}
	if v.Get("deprecated").True() {
		text := v.Get("description").String() + " " + v.Get("summary").String()
		if v.Get("x-sunset") == nil && v.Get("x-sunset-date") == nil && !datePart.MatchString(text) && !a.header(v.Get("responses"), "", "Sunset") {
			a.hit("contract.deprecated-undated", v.Get("deprecated"), op, "")
		}
	}
	if v.Get("servers") != nil {
		a.servers(v.Get("servers"), op)
	}
	ps := a.parameters(op, item)
	hasBody := a.body(op, ps)
	a.responses(op, ps, hasBody)
	a.callbacks(op)
}

type parameter struct {
	name, in string
	v        *source.Value
	schema   *source.Value
}

// parameters looks at those of an operation and of its path.
func (a *auditor) parameters(op *operation, item *source.Value) []parameter {
	var out []parameter
	seen := map[string]bool{}
	for i, list := range []*source.Value{op.v.Get("parameters"), item.Get("parameters")} {
		here := map[string]bool{}
		for _, raw := range list.List() {
			p := a.resolve(raw)
			if p == nil {
				continue
			}
			name, in := p.Get("name").String(), p.Get("in").String()
			key := in + " " + name
			if in == "header" {
				key = strings.ToLower(key)
			}
			if here[key] {
				a.hit("contract.parameter-duplicate", raw, op, name)
			}
			here[key] = true
			if i == 1 && seen[key] {
				continue
			}
			seen[key] = true
			x := parameter{name: name, in: in, v: p, schema: a.resolve(p.Get("schema"))}
			switch in {
			case "query", "header", "path", "cookie", "querystring":
			case "body", "formData":
				if a.version != 20 {
					a.hit("contract.parameter-in", p, op, in)
				}
			default:
				a.hit("contract.parameter-in", p, op, in)
			}
			if a.version == 20 && in != "body" {
				x.schema = p
			} else if x.schema == nil && in != "body" {
				for _, m := range p.Get("content").Entries() {
					x.schema = a.resolve(m.Value.Get("schema"))
				}
				if x.schema == nil && p.Get("content") == nil && p.Get("schema") == nil {
					a.hit("contract.parameter-schema", p, op, name)
				}
			}
			out = append(out, x)
			a.parameter(op, &x)
		}
	}
	inPath := params(op.path)
	for _, n := range inPath {
		if !slices.ContainsFunc(out, func(p parameter) bool { return p.in == "path" && p.name == strings.TrimSuffix(n, "+") }) {
			a.hit("contract.path-param-undeclared", nil, op, n)
		}
	}
	for _, p := range out {
		if p.in == "path" && !slices.Contains(inPath, p.name) && !slices.Contains(inPath, p.name+"+") {
			a.hit("contract.path-param-unused", p.v, op, p.name)
		}
	}
	return out
}

func (a *auditor) parameter(op *operation, p *parameter) {
	if p.in == "body" {
		return
	}
	if p.in == "path" && !p.v.Get("required").True() {
		a.hit("contract.path-param-optional", p.v, op, p.name)
	}
	if p.v.Get("description").String() == "" && p.schema.Get("description").String() == "" {
		a.hit("contract.parameter-undescribed", p.v, op, p.name)
	}
	if p.in == "header" && isName(p.name, "contenttype", "accept") && a.version != 20 {
		a.hit("contract.parameter-ignored", p.v, op, p.name)
	}
	if p.in == "header" && isName(p.name, "authorization") {
		a.hit("auth.header-parameter", p.v, op, p.name)
	}
	s := p.schema
	class := a.class(p.name)
	switch {
	case p.in != "query" && p.in != "path":
	case boolean(s):
	case passwordName(p.name):
		a.hit(map[string]string{"query": "auth.password-in-query", "path": "auth.password-in-path"}[p.in], p.v, op, p.name)
	case secretName(p.name):
		a.hit(map[string]string{"query": "auth.token-in-query", "path": "auth.token-in-path"}[p.in], p.v, op, p.name)
	case class != "" && personal(class) && s.Get("enum") == nil && !isName(p.name, "address", "fullname", "displayname"):
		a.hit(map[string]string{"query": "data.sensitive-query", "path": "data.sensitive-path"}[p.in], p.v, op, p.name)
	}
	if p.in == "query" && ownerName(p.name) {
		a.hit("data.owner-in-query", p.v, op, p.name)
	}
	if s == nil {
		return
	}
	if p.in == "path" && idName(p.name) {
		switch {
		case hasType(s, "integer"):
			a.hit("data.id-sequential", p.v, op, p.name)
		case hasType(s, "string") && s.Get("format") == nil && s.Get("pattern") == nil && s.Get("enum") == nil && s.Get("maxLength") == nil:
			a.hit("data.id-free", p.v, op, p.name)
		}
	}
	if p.in == "query" {
		if hasType(s, "integer") || hasType(s, "number") {
			most, bounded := number(s.Get("maximum"))
			switch {
			case !pageSize(p.name):
			case !bounded && s.Get("exclusiveMaximum") == nil && s.Get("enum") == nil:
				a.hit("limits.page-size-unbounded", p.v, op, p.name)
			case bounded && most > 1000:
				a.hit("limits.page-size-large", s.Get("maximum"), op, p.name)
			}
			if isName(p.name, "wait", "timeout", "delay", "sleep", "waitms", "waitseconds") && !bounded {
				a.hit("limits.wait-unbounded", p.v, op, p.name)
			}
		}
		text := s
		if hasType(s, "array") {
			text = a.resolve(s.Get("items"))
		}
		if hasType(text, "string") && text.Get("enum") == nil && text.Get("pattern") == nil && text.Get("const") == nil && !isRefEnum(text) {
			if isName(p.name, "sort", "sortby", "orderby", "order", "fields", "select", "ordering", "sortorder", "groupby") {
				a.hit("data.sort-free", p.v, op, p.name)
			}
			if isName(p.name, "expand", "include", "includes", "embed", "with", "preload") {
				a.hit("limits.expand-free", p.v, op, p.name)
			}
		}
	}
	if p.in == "header" {
		return // bounded by the server as a whole
	}
	if a.version == 20 {
		a.push(job{v: p.v, name: p.name, dir: request, op: op, in: p.in})
		return
	}
	a.push(job{v: s, name: p.name, dir: request, op: op, in: p.in})
	a.sample(p.v, p.v.Get("schema"), op)
}

func isRefEnum(v *source.Value) bool {
	for _, k := range []string{"oneOf", "anyOf", "allOf"} {
		if v.Get(k) != nil {
			return true
		}
	}
	return false
}

func pageSize(name string) bool {
	return isName(name, "limit", "pagesize", "perpage", "size", "maxresults", "pagelimit", "maxitems", "top", "take", "first", "count")
}

// body looks at what an operation takes; true when it takes something.
func (a *auditor) body(op *operation, ps []parameter) bool {
	has := false
	if a.version == 20 {
		for _, p := range ps {
			switch p.in {
			case "body":
				has = true
				a.push(job{v: p.v.Get("schema"), dir: request, op: op, top: true, open: !op.secured})
			case "formData":
				has = true
				if p.v.Get("type").String() == "file" {
					a.upload(op, p.v)
				}
			}
		}
		consumes := op.v.Get("consumes")
		if consumes == nil {
			consumes = a.root.Get("consumes")
		}
		for _, c := range consumes.List() {
			if has {
				a.takes(op, c, c.String())
			}
		}
	} else if b := a.resolve(op.v.Get("requestBody")); b != nil {
		has = true
		for _, m := range b.Get("content").Entries() {
			media := a.resolve(m.Value)
			key := &source.Value{Line: m.Line, Column: m.Column}
			a.takes(op, key, m.Key)
			schema := media.Get("schema")
			a.push(job{v: schema, dir: request, op: op, top: true, open: !op.secured})
			a.sample(media, schema, op)
			s := a.resolve(schema)
			kind := strings.ToLower(m.Key)
			binary := func(v *source.Value) bool {
				return v.Get("format").String() == "binary" || v.Get("contentMediaType").String() == "application/octet-stream"
			}
			switch {
			case strings.HasPrefix(kind, "multipart/"):
				props := s.Get("properties")
				for _, f := range props.Entries() {
					part := a.resolve(f.Value)
					one := part
					if hasType(part, "array") {
						one = a.resolve(part.Get("items"))
					}
					if binary(one) {
						if one.Get("maxLength") == nil {
							a.hit("limits.upload-size", f.Value, op, f.Key)
						}
						if media.Get("encoding").Get(f.Key).Get("contentType") == nil {
							a.hit("limits.upload-type", f.Value, op, f.Key)
						}
						a.tooLarge(op)
					}
				}
			case binary(s):
				if s.Get("maxLength") == nil {
					a.hit("limits.upload-size", or(schema, key), op, m.Key)
				}
				a.tooLarge(op)
			}
			if props := s.Get("properties"); props != nil {
				for _, e := range media.Get("encoding").Entries() {
					if props.Get(e.Key) == nil {
						a.at("contract.encoding-unknown", e.Line, e.Column, op, e.Key)
					}
				}
			}
		}
	}
	if has && (op.method == "GET" || op.method == "HEAD" || op.method == "DELETE") {
		a.hit("contract.body-on-read", or(op.v.Get("requestBody"), nil), op, "")
	}
	if !has && (op.method == "POST" || op.method == "PUT" || op.method == "PATCH") {
		a.hit("limits.body-missing", nil, op, "")
	}
	return has
}

func (a *auditor) takes(op *operation, at *source.Value, media string) {
	switch kind := strings.ToLower(media); {
	case !mediaType.MatchString(media):
		a.hit("contract.media-type", at, op, media)
	case kind == "*/*":
		a.hit("limits.upload-any", at, op, media)
	case strings.Contains(kind, "xml"):
		a.hit("data.xml", at, op, media)
	}
}

func (a *auditor) upload(op *operation, v *source.Value) {
	if v.Get("maxLength") == nil && v.Get("x-max-length") == nil {
		a.hit("limits.upload-size", v, op, v.Get("name").String())
	}
	a.tooLarge(op)
}

func (a *auditor) tooLarge(op *operation) {
	r := op.v.Get("responses")
	if r.Get("413") == nil && r.Get("4XX") == nil {
		a.hit("limits.no-413", or(r, nil), op, "")
	}
}

// header reports whether an answer of the status (or any, "") declares a header
// with this beginning.
func (a *auditor) header(responses *source.Value, status, begins string) bool {
	for _, m := range responses.Entries() {
		if status != "" && m.Key != status {
			continue
		}
		for _, h := range a.resolve(m.Value).Get("headers").Entries() {
			if strings.HasPrefix(strings.ToLower(h.Key), strings.ToLower(begins)) {
				return true
			}
		}
	}
	return false
}

var status = regexp.MustCompile(`^([1-5][0-9][0-9]|[1-5]XX|default)$`)

func (a *auditor) responses(op *operation, ps []parameter, hasBody bool) {
	rs := op.v.Get("responses")
	success, refusal, broken, other, fallback := false, false, false, 0, false
	for _, m := range rs.Entries() {
		if strings.HasPrefix(m.Key, "x-") {
			continue
		}
		if !status.MatchString(m.Key) {
			a.at("errors.status-invalid", m.Line, m.Column, op, m.Key)
			continue
		}
		switch m.Key[0] {
		case '1', '2', '3':
			success = true
		case '4':
			refusal = true
		case '5':
			broken = true
		case 'd':
			fallback = true
			continue
		}
		other++
	}
	for _, m := range rs.Entries() {
		if status.MatchString(m.Key) {
			a.response(op, m, ps)
		}
	}
	at := or(rs, nil)
	class := rs.Get("4XX") != nil || fallback
	switch {
	case fallback && other == 0:
		a.hit("errors.default-only", rs, op, "")
	case !success && !(fallback && op.method == "OPTIONS"):
		a.hit("errors.no-success", at, op, "")
	}
	if !refusal && !fallback {
		a.hit("errors.no-4xx", at, op, "")
	} else if !class {
		if (hasBody || slices.ContainsFunc(ps, func(p parameter) bool { return p.in == "query" })) && rs.Get("400") == nil && rs.Get("422") == nil {
			a.hit("errors.no-400", at, op, "")
		}
		if strings.HasSuffix(op.path, "}") && rs.Get("404") == nil {
			a.hit("errors.no-404", at, op, "")
		}
		if hasBody && rs.Get("415") == nil {
			a.hit("errors.no-415", at, op, "")
		}
	}
	if !broken && !fallback {
		a.hit("errors.no-5xx", at, op, "")
	}
	id := op.v.Get("operationId").String()
	if rs.Get("429") == nil && rs.Get("4XX") == nil {
		a.hit("limits.no-429", at, op, "")
		if op.method == "POST" && (!op.secured && literal(op.path, "token") || literal(op.path, "login", "signin", "forgotpassword", "forgetpassword", "resetpassword", "otp", "verify", "checkotp", "unlock") || anyWord(id, "login", "signin", "otp")) {
			a.hit("auth.login-unlimited", at, op, "")
		}
	} else if m := rs.Get("429"); m != nil && !a.header(rs, "429", "retry-after") {
		a.hit("limits.retry-after", m, op, "")
	}
}

func (a *auditor) response(op *operation, m source.Member, ps []parameter) {
	r := a.resolve(m.Value)
	if r == nil {
		return
	}
	if r.Get("description").String() == "" {
		a.hit("contract.response-undescribed", r, op, m.Key)
	}
	for _, h := range r.Get("headers").Entries() {
		n := strings.ToLower(h.Key)
		if strings.HasPrefix(n, "ratelimit") || strings.HasPrefix(n, "x-ratelimit") || strings.HasPrefix(n, "x-rate-limit") {
			a.rateSeen = true
		}
	}
	for _, l := range r.Get("links").Entries() {
		if v := a.resolve(l.Value); v != nil {
			a.links = append(a.links, linked{v, op})
		}
	}
	bad := m.Key[0] == '4' || m.Key[0] == '5'
	dir := response
	if bad || m.Key == "default" {
		dir = failure
	}
	type content struct {
		kind   string
		at     *source.Value
		schema *source.Value
		media  *source.Value
	}
	var contents []content
	if a.version == 20 {
		if s := r.Get("schema"); s != nil {
			produces := op.v.Get("produces")
			if produces == nil {
				produces = a.root.Get("produces")
			}
			kind := "application/json"
			if l := produces.List(); len(l) > 0 {
				kind = l[0].String()
			}
			contents = append(contents, content{kind, s, s, nil})
		}
	} else {
		for _, c := range r.Get("content").Entries() {
			media := a.resolve(c.Value)
			contents = append(contents, content{c.Key, &source.Value{Line: c.Line, Column: c.Column}, media.Get("schema"), media})
		}
	}
	if len(contents) == 0 {
		switch {
		case bad && m.Key != "401" && m.Key != "403" && m.Key != "404" && m.Key != "429":
			a.hit("errors.no-schema", r, op, m.Key)
		case (m.Key == "200" || m.Key == "2XX") && op.method == "GET":
			a.hit("errors.no-content", r, op, m.Key)
		}
	}
	if m.Key == "201" && !a.headerOf(r, "location") {
		a.hit("errors.created-location", r, op, "")
	}
	if m.Key[0] == '3' && m.Key != "304" && m.Key != "300" && !a.headerOf(r, "location") {
		a.hit("errors.redirect-location", r, op, m.Key)
	}
	for _, c := range contents {
		kind := strings.ToLower(c.kind)
		if !mediaType.MatchString(c.kind) {
			a.hit("contract.media-type", c.at, op, c.kind)
		}
		if m.Key == "204" || m.Key == "304" {
			a.hit("errors.empty-with-content", c.at, op, m.Key)
		}
		if bad {
			if strings.HasPrefix(kind, "text/html") {
				a.hit("errors.html", c.at, op, m.Key)
			}
			if kind == "application/json" {
				a.hit("errors.no-problem-type", c.at, op, m.Key)
			}
			if c.schema == nil {
				a.hit("errors.no-schema", c.at, op, m.Key)
			}
		}
		a.push(job{v: c.schema, dir: dir, op: op, top: true, open: !op.secured})
		a.sample(c.media, c.schema, op)
		if m.Key == "200" && op.method == "GET" && a.listed(c.schema) && !slices.ContainsFunc(ps, func(p parameter) bool {
			return pageSize(p.name) || anyWord(p.name, "page", "cursor", "offset", "limit", "after", "skip", "start", "marker", "since")
		}) {
			a.hit("limits.list-unpaged", c.at, op, "")
		}
	}
}

func (a *auditor) headerOf(r *source.Value, name string) bool {
	return slices.ContainsFunc(r.Get("headers").Entries(), func(m source.Member) bool { return strings.EqualFold(m.Key, name) })
}

// listed reports whether a schema is a list without bound, or an object that is
// little more than one.
func (a *auditor) listed(schema *source.Value) bool {
	s := a.resolve(schema)
	unbounded := func(v *source.Value) bool { return hasType(v, "array") && v.Get("maxItems") == nil }
	if unbounded(s) {
		return true
	}
	if props := s.Get("properties").Entries(); len(props) > 0 && len(props) <= 2 {
		for _, p := range props {
			if unbounded(a.resolve(p.Value)) {
				return true
			}
		}
	}
	return false
}

func (a *auditor) callbacks(op *operation) {
	for _, m := range op.v.Get("callbacks").Entries() {
		for _, c := range a.resolve(m.Value).Entries() {
			if strings.HasPrefix(c.Key, "http://") {
				a.at("callback.plain", c.Line, c.Column, op, c.Key)
			}
			if field, ok := strings.CutPrefix(c.Key, "{$request.body#/"); ok {
				field, _, _ = strings.Cut(field, "}")
				for _, media := range a.resolve(op.v.Get("requestBody")).Get("content").Entries() {
					v := a.resolve(media.Value.Get("schema"))
					for part := range strings.SplitSeq(field, "/") {
						v = a.resolve(v.Get("properties").Get(part))
					}
					if v != nil && v.Get("pattern") == nil && v.Get("enum") == nil {
						a.hit("callback.free-url", v, op, field)
					}
				}
			}
			item := a.resolve(c.Value)
			for _, x := range item.Entries() {
				if slices.Contains(methods, x.Key) && !a.signed(x.Value, item) {
					a.at("callback.open", x.Line, x.Column, op, m.Key)
				}
			}
		}
	}
}

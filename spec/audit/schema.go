package audit

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sallyport.dev/spec/jsondoc"
	"sallyport.dev/spec/schema"
	"sallyport.dev/spec/source"
)

// A job is a schema that is still to be looked at.
type job struct {
	v    *source.Value
	name string // of the member or parameter, "" at the top and in lists
	dir  direction
	in   string // of a parameter
	op   *operation
	top  bool // a whole body
	part bool // of allOf: what it lacks may stand beside it
	open bool // it is answered, or taken, without a credential
}

func (a *auditor) push(j job) {
	if j.v == nil {
		return
	}
	a.queue = append(a.queue, j)
}

func (a *auditor) drain() {
	for len(a.queue) > 0 {
		j := a.queue[len(a.queue)-1]
		a.queue = a.queue[:len(a.queue)-1]
		if a.work++; a.work > maxWork {
			return
		}
		v := a.resolve(j.v)
		if v == nil || a.seen[walked{v, j.dir}] && !j.open {
			continue
		}
		if j.open && a.seen[walked{v, j.dir + 8}] {
			continue
		}
		a.seen[walked{v, j.dir}] = true
		if j.open {
			a.seen[walked{v, j.dir + 8}] = true
		}
		j.v = v
		a.schema(&j)
	}
}

func hasType(v *source.Value, t string) bool {
	x := v.Get("type")
	if x.String() == t {
		return true
	}
	for _, y := range x.List() {
		if y.String() == t {
			return true
		}
	}
	return false
}

func boolean(v *source.Value) bool { return hasType(v, "boolean") }

func number(v *source.Value) (float64, bool) {
	if !v.Is(source.Number) {
		return 0, false
	}
	f, err := strconv.ParseFloat(v.Text, 64)
	return f, err == nil
}

// personal are classes of people and money, by the names of package classify.
func personal(class string) bool {
	switch class {
	case "ipv4", "ipv6", "ip", "mac-address", "coordinates", "url", "username":
		return false
	}
	return true
}

// class is which kind of sensitive data a name speaks of, "" = none.
func (a *auditor) class(name string) string {
	if isName(name, "email", "emailaddress", "useremail", "mail") {
		return "email"
	}
	return a.o.Classify(name)
}

var closedFormats = []string{"uuid", "date", "date-time", "time", "ipv4", "ipv6", "binary", "int32", "int64", "duration", "email", "idn-email", "hostname"}

var formats = map[string][]string{
	"string": {"uuid", "date", "date-time", "time", "ipv4", "ipv6", "binary", "byte", "duration", "email", "idn-email", "hostname", "idn-hostname", "uri", "uri-reference", "iri", "iri-reference", "uri-template", "json-pointer", "relative-json-pointer", "regex", "password", "int64", "decimal", "base64url", "char", "html", "commonmark", "media-range", "http-date", "sf-string", "sf-token", "ip", "cidr", "mac", "url", "color", "file"},
	// The registry of formats gives these for numbers, and some for text too.
	"integer": {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "double-int", "unix-time", "unix-timestamp", "timestamp"},
	"number":  {"float", "double", "decimal", "decimal128", "int32", "int64", "double-int", "unix-time", "timestamp"},
}

var bounds = map[string]string{"maxLength": "string", "minLength": "string", "pattern": "string", "maximum": "number", "minimum": "number", "multipleOf": "number", "maxItems": "array", "minItems": "array", "uniqueItems": "array", "maxProperties": "object", "minProperties": "object"}

var composed = []string{"allOf", "oneOf", "anyOf"}

func (a *auditor) schema(j *job) {
	v := j.v
	if v.Is(source.Bool) {
		if v.Bool && j.dir == request {
			a.hit("data.schema-empty", v, j.op, j.name)
		}
		return
	}
	if !v.Is(source.Object) {
		return
	}
	if j.dir == request && v.Get("readOnly").True() || j.dir == response && v.Get("writeOnly").True() {
		if v.Get("readOnly").True() && v.Get("writeOnly").True() {
			a.hit("data.direction-contradiction", v, j.op, j.name)
		}
		return
	}
	if v.Get("readOnly").True() && v.Get("writeOnly").True() {
		a.hit("data.direction-contradiction", v, j.op, j.name)
	}
	isParam := j.in != ""
	kind := v.Get("type")
	composite := v.Get("not") != nil || v.Get("if") != nil || v.Get("$dynamicRef") != nil
	for _, k := range composed {
		x := v.Get(k)
		composite = composite || x != nil
		if x != nil && len(x.List()) == 0 {
			a.hit("data.composition-empty", x, j.op, k)
		}
		for _, y := range x.List() {
			a.push(job{v: y, name: j.name, dir: j.dir, op: j.op, open: j.open, part: true, in: j.in})
		}
	}
	text, list, object := hasType(v, "string"), hasType(v, "array"), hasType(v, "object") || kind == nil && v.Get("properties") != nil
	numeric := hasType(v, "integer") || hasType(v, "number")
	closed := v.Get("enum") != nil || v.Get("const") != nil
	meaningful := slices.ContainsFunc(v.Members, func(m source.Member) bool {
		return m.Key != "description" && m.Key != "title" && m.Key != "example" && m.Key != "examples" && m.Key != "deprecated" && m.Key != "nullable" && m.Key != "default" && !strings.HasPrefix(m.Key, "x-")
	})
	if kind == nil && !composite && !closed && !isParam {
		switch {
		case !meaningful && j.dir == request && !j.part:
			a.hit("data.schema-empty", v, j.op, j.name)
		case meaningful && !j.part && v.Get("$ref") == nil:
			a.hit("data.type-missing", v, j.op, j.name)
		}
	}
	a.shape(j, v, kind)
	if text {
		a.text(j, v, closed)
	}
	if numeric {
		a.numeric(j, v, closed)
	}
	if list {
		a.list(j, v)
	}
	if object {
		a.object(j, v, composite)
	}
	a.named(j, v, text)
	for _, m := range v.Get("properties").Entries() {
		a.push(job{v: m.Value, name: m.Key, dir: j.dir, op: j.op, open: j.open})
	}
	for _, k := range []string{"items", "additionalProperties", "additionalItems", "contains", "not", "then", "else", "unevaluatedProperties"} {
		if x := v.Get(k); x.Is(source.Object) && !(k == "additionalProperties" && len(x.Members) == 0) {
			a.push(job{v: x, dir: j.dir, op: j.op, open: j.open, part: k == "not" || k == "then" || k == "else"})
		}
	}
	for _, x := range v.Get("prefixItems").List() {
		a.push(job{v: x, dir: j.dir, op: j.op, open: j.open})
	}
	for _, m := range v.Get("patternProperties").Entries() {
		a.push(job{v: m.Value, dir: j.dir, op: j.op, open: j.open})
	}
	a.sample(v, v, j.op)
}

// shape looks at what a schema says of itself, whatever its type and direction.
func (a *auditor) shape(j *job, v, kind *source.Value) {
	if kind.Is(source.Array) && a.version <= 30 {
		a.hit("data.type-list", kind, j.op, j.name)
	}
	if n := v.Get("nullable"); n != nil && (a.version == 20 || a.version >= 31) && !a.async {
		a.hit("data.nullable-ignored", n, j.op, j.name)
	}
	for _, k := range []string{"exclusiveMinimum", "exclusiveMaximum"} {
		if x := v.Get(k); x.Is(source.Bool) && a.version >= 31 {
			a.hit("data.exclusive-flag", x, j.op, j.name)
		}
	}
	for _, pair := range [][2]string{{"minimum", "maximum"}, {"minLength", "maxLength"}, {"minItems", "maxItems"}, {"minProperties", "maxProperties"}} {
		low, ok := number(v.Get(pair[0]))
		high, too := number(v.Get(pair[1]))
		if ok && too && low > high {
			a.hit("data.bounds-inverted", v.Get(pair[0]), j.op, j.name)
		}
	}
	if kind.Is(source.String) {
		for i := range v.Members {
			m := &v.Members[i]
			want, ok := bounds[m.Key]
			if ok && want != kind.Text && !(want == "number" && kind.Text == "integer") && kind.Text != "file" {
				a.at("data.keyword-mismatch", m.Line, m.Column, j.op, m.Key+" of "+kind.Text)
			}
		}
	}
	if f := v.Get("format"); f.Is(source.String) && kind.Is(source.String) {
		known := formats[kind.Text]
		if !slices.Contains(known, f.Text) {
			elsewhere := false
			for _, l := range formats {
				elsewhere = elsewhere || slices.Contains(l, f.Text)
			}
			if elsewhere || kind.Text == "boolean" || kind.Text == "object" || kind.Text == "array" {
				a.hit("data.format-mismatch", f, j.op, f.Text+" of "+kind.Text)
			} else {
				a.hit("data.format-unknown", f, j.op, f.Text)
			}
		}
	}
	if e := v.Get("enum").List(); len(e) > 0 {
		seen := map[string]bool{}
		for i, x := range e {
			if i > 2000 {
				break
			}
			if (x.Kind == source.Object || x.Kind == source.Array) && i > 50 {
				break
			}
			s := string(x.AppendJSON(nil))
			if seen[s] {
				a.hit("data.enum-duplicate", x, j.op, s)
			}
			seen[s] = true
			if !fits(v, x) {
				a.hit("data.enum-type", x, j.op, s)
			}
		}
	}
	if d := v.Get("default"); d != nil && !d.Is(source.Null) {
		ok := fits(v, d)
		if e := v.Get("enum").List(); ok && len(e) > 0 && d.Kind == source.String {
			ok = slices.ContainsFunc(e, func(x *source.Value) bool { return x.Kind == d.Kind && x.Text == d.Text })
		}
		if n, is := number(d); ok && is {
			if low, has := number(v.Get("minimum")); has && n < low {
				ok = false
			}
			if high, has := number(v.Get("maximum")); has && n > high {
				ok = false
			}
		}
		if !ok {
			a.hit("data.default-type", d, j.op, j.name)
		}
	}
	if d := v.Get("discriminator").Get("propertyName").String(); d != "" && len(v.Get("oneOf").List())+len(v.Get("anyOf").List()) > 0 {
		for _, alt := range slices.Concat(v.Get("oneOf").List(), v.Get("anyOf").List()) {
			if !a.requires(alt, d, 0) {
				a.hit("data.discriminator-undeclared", v.Get("discriminator"), j.op, d)
				break
			}
		}
	}
	if one := v.Get("oneOf").List(); len(one) > 1 && v.Get("discriminator") == nil {
		objects := 0
		for _, x := range one[:min(len(one), 32)] {
			if y := a.resolve(x); hasType(y, "object") || y.Get("properties") != nil {
				objects++
			}
		}
		if objects > 1 {
			a.hit("data.discriminator-missing", v, j.op, j.name)
		}
	}
}

// requires reports whether a schema requires a member, here or in its allOf.
func (a *auditor) requires(v *source.Value, name string, depth int) bool {
	v = a.resolve(v)
	if v == nil || depth > 6 {
		return true // not known: no accusation
	}
	for _, r := range v.Get("required").List() {
		if r.String() == name {
			return true
		}
	}
	return slices.ContainsFunc(v.Get("allOf").List(), func(x *source.Value) bool { return a.requires(x, name, depth+1) })
}

// fits reports whether x is of the type that v gives; true where v gives none.
func fits(v, x *source.Value) bool {
	t := v.Get("type")
	if t == nil || x.Is(source.Null) {
		return true
	}
	switch x.Kind {
	case source.String:
		return hasType(v, "string") || hasType(v, "file")
	case source.Bool:
		return hasType(v, "boolean")
	case source.Number:
		_, whole := x.Int()
		return hasType(v, "number") || hasType(v, "integer") && (whole || !strings.ContainsAny(x.Text, ".eE"))
	case source.Array:
		return hasType(v, "array")
	}
	return hasType(v, "object")
}

var (
	nested   = regexp.MustCompile(`\((\?:)?(\[[^\]]*\]|\\?.)[+*]\)[+*]|\((\?:)?(\[[^\]]*\]|\\?.)[+*]\)\{[0-9]+,\}|\(\.\*\)[+*]`)
	anything = regexp.MustCompile(`^\^?\(?(\.[*+]|\[\\s\\S\][*+]|\[\\w\\W\][*+])\)?\$?$`)
)

// expression reports whether p is a regular expression of ECMA-262.
func expression(p string) bool {
	if _, err := schema.NewMatcher(p); err == nil {
		return true
	}
	text, _ := json.Marshal(map[string]string{"type": "string", "pattern": p})
	_, err := schema.Compile(text, schema.Options{})
	return err == nil
}

func (a *auditor) text(j *job, v *source.Value, closed bool) {
	f := v.Get("format").String()
	p := v.Get("pattern")
	if p.Is(source.String) && p.Text != "" {
		if !expression(p.Text) {
			a.hit("data.pattern-invalid", p, j.op, p.Text)
		} else {
			switch {
			case anything.MatchString(p.Text):
				a.hit("data.pattern-anything", p, j.op, p.Text)
			case !strings.HasPrefix(strings.TrimLeft(p.Text, "("), "^") && !strings.HasPrefix(p.Text, `\A`) || !strings.HasSuffix(strings.TrimRight(p.Text, ")"), "$") && !strings.HasSuffix(p.Text, `\z`):
				a.hit("data.pattern-unanchored", p, j.op, p.Text)
			}
			if nested.MatchString(p.Text) {
				a.hit("data.pattern-nested", p, j.op, p.Text)
			}
		}
	}
	if f == "byte" && v.Get("maxLength") == nil && j.dir == request {
		a.hit("data.binary-unbounded", v, j.op, j.name)
	}
	shut := closed || slices.Contains(closedFormats, f)
	if j.dir == request && !shut && f != "byte" {
		if v.Get("maxLength") == nil && !(p.Is(source.String) && schema.Closed(p.Text, 4096)) {
			a.hit("data.string-unbounded", v, j.op, j.name)
		}
		if f == "" && p == nil && !passwordName(j.name) {
			a.hit("data.string-free", v, j.op, j.name)
		}
	}
	if f == "" && p == nil && !closed {
		switch w := words(j.name); {
		case len(w) == 0:
		case len(w) > 1 && (w[len(w)-1] == "at" && slices.Contains([]string{"created", "updated", "deleted", "modified", "expires", "started", "ended", "expired", "published", "completed", "finished", "closed"}, w[len(w)-2])) || isName(j.name, "date", "timestamp", "datetime", "startdate", "enddate", "birthdate", "dateofbirth", "expirydate", "duedate"):
			a.hit("data.time-format", v, j.op, j.name)
		case isName(j.name, "email", "mail", "emailaddress", "useremail") || lastWord(j.name, "email"):
			a.hit("data.email-format", v, j.op, j.name)
		case isName(j.name, "uuid", "guid") || lastWord(j.name, "uuid", "guid"):
			a.hit("data.uuid-format", v, j.op, j.name)
		case isName(j.name, "url", "uri", "href", "website", "homepage") || lastWord(j.name, "url", "uri"):
			a.hit("data.url-format", v, j.op, j.name)
		}
	}
	if j.dir != request || closed {
		return
	}
	if v.Get("contentMediaType").String() == "text/html" || f == "html" || isName(j.name, "html", "bodyhtml", "htmlbody", "htmlcontent", "contenthtml") {
		a.hit("data.markup", v, j.op, j.name)
	}
	if p != nil {
		return
	}
	switch {
	case isName(j.name, "redirect", "redirecturl", "redirecturi", "returnurl", "returnto", "nexturl", "continueurl", "successurl", "cancelurl", "gotourl", "returnuri", "callbackpage"):
		a.hit("ssrf.redirect", v, j.op, j.name)
	case isName(j.name, "callback", "webhook", "callbackurl", "webhookurl", "imageurl", "avatarurl", "fetchurl", "sourceurl", "targeturl", "feedurl", "url", "uri", "importurl", "remoteurl", "fileurl", "hookurl", "endpointurl", "endpoint", "link", "mechanicapi", "proxyurl", "pictureurl", "downloadurl", "notificationurl", "posturl", "apiurl"):
		a.hit("ssrf.url", v, j.op, j.name)
	case isName(j.name, "host", "hostname", "targethost", "remotehost", "proxyhost", "ipaddress", "targetip", "serveraddress") && f != "ipv4" && f != "ipv6":
		a.hit("ssrf.host", v, j.op, j.name)
	case isName(j.name, "cmd", "command", "shell", "exec", "expression", "sql", "sqlquery", "rawquery", "script", "code") && !isName(j.name, "code") || isName(j.name, "eval", "formula", "whereclause", "jsonpath", "xpath", "jql", "groovy", "luascript"):
		a.hit("data.command", v, j.op, j.name)
	case isName(j.name, "path", "file", "filename", "filepath", "dir", "directory", "folderpath", "templatename", "templatepath", "destinationpath") && f != "binary":
		a.hit("data.file-path", v, j.op, j.name)
	}
}

func (a *auditor) numeric(j *job, v *source.Value, closed bool) {
	whole := hasType(v, "integer")
	if whole && v.Get("format") == nil && !closed {
		a.hit("data.integer-format", v, j.op, j.name)
	}
	low := v.Get("minimum") != nil || v.Get("exclusiveMinimum") != nil
	high := v.Get("maximum") != nil || v.Get("exclusiveMaximum") != nil
	if j.dir == request && !closed && !(low && high) && !(j.in == "query" && pageSize(j.name)) {
		if whole {
			a.hit("data.integer-unbounded", v, j.op, j.name)
		} else {
			a.hit("data.number-unbounded", v, j.op, j.name)
		}
	}
	if !whole && v.Get("format").String() != "decimal" && v.Get("multipleOf") == nil && (isName(j.name, "amount", "price", "balance", "total", "subtotal", "fee", "cost", "availablecredit", "totalprice", "unitprice") || lastWord(j.name, "amount", "price")) {
		a.hit("data.money-float", v, j.op, j.name)
	}
}

func (a *auditor) list(j *job, v *source.Value) {
	if v.Get("items") == nil && v.Get("prefixItems") == nil {
		a.hit("data.items-missing", v, j.op, j.name)
	}
	if v.Get("maxItems") != nil {
		return
	}
	switch {
	case j.dir == request && j.op != nil && (literal(j.op.path, "batch", "bulk", "batches") || anyWord(j.op.v.Get("operationId").String(), "batch", "bulk")):
		a.hit("limits.batch-unbounded", v, j.op, j.name)
	case j.dir == request:
		a.hit("data.array-unbounded", v, j.op, j.name)
	default:
		a.hit("data.answer-unbounded", v, j.op, j.name)
	}
}

func (a *auditor) object(j *job, v *source.Value, composite bool) {
	props := v.Get("properties").Entries()
	more := v.Get("additionalProperties")
	anyMore := more.Is(source.Bool) && more.Bool || more.Is(source.Object) && len(more.Members) == 0
	shut := more.Is(source.Bool) && !more.Bool || v.Get("unevaluatedProperties").Is(source.Bool) && !v.Get("unevaluatedProperties").Bool
	mapped := more.Is(source.Object) && len(more.Members) > 0 || v.Get("patternProperties") != nil
	if j.dir == request {
		switch {
		case anyMore && v.Get("maxProperties") == nil:
			a.hit("data.object-any", more, j.op, j.name)
		case mapped && v.Get("maxProperties") == nil:
			a.hit("data.map-unbounded", v, j.op, j.name)
		case len(props) == 0 && !composite && !mapped && !shut && !anyMore && !j.part:
			a.hit("data.object-empty", v, j.op, j.name)
		case !shut && !anyMore && !mapped && !composite && !j.part && len(props) > 0:
			a.hit("data.object-open", v, j.op, j.name)
		}
	} else if anyMore && j.dir == response {
		a.hit("data.answer-open", more, j.op, j.name)
	}
	if len(props) > 100 {
		a.hit("data.many-properties", v, j.op, j.name)
	}
	if !composite && !j.part && len(props) > 0 {
		for _, r := range v.Get("required").List() {
			if v.Get("properties").Get(r.String()) == nil && v.Get("patternProperties") == nil {
				a.hit("data.required-undeclared", r, j.op, r.String())
			}
		}
	}
	if j.dir != request || j.in != "" {
		return
	}
	writes := j.op != nil && j.op.changes()
	for _, m := range props {
		x := a.resolve(m.Value)
		if x == nil || x.Get("readOnly").True() || x.Get("const") != nil || !writes {
			continue
		}
		switch {
		case privileged(m.Key) && !literal(j.op.path, "admin", "roles", "permissions", "members", "memberships", "collaborators", "invitations", "grants", "tokens", "token", "accesstokens", "keys", "apikeys"):
			a.at("data.privileged-member", m.Line, m.Column, j.op, m.Key)
		case isName(m.Key, serverNames...) && j.top && slices.Contains([]string{"POST", "PUT", "PATCH"}, j.op.method) && (!isName(m.Key, "id") || j.op.method == "POST" && !requiredOf(v, m.Key)):
			a.at("data.readonly-missing", m.Line, m.Column, j.op, m.Key)
		case ownerName(m.Key) && j.top && !literal(j.op.path, "admin"):
			a.at("data.owner-in-body", m.Line, m.Column, j.op, m.Key)
		}
	}
}

func requiredOf(v *source.Value, name string) bool {
	return slices.ContainsFunc(v.Get("required").List(), func(r *source.Value) bool { return r.String() == name })
}

// named looks at what a member's name says of its value.
func (a *auditor) named(j *job, v *source.Value, text bool) {
	if j.name == "" || j.in != "" || !text {
		return
	}
	if passwordName(j.name) {
		switch j.dir {
		case response:
			a.hit("auth.secret-in-response", v, j.op, j.name)
		case request:
			if v.Get("format").String() != "password" && !v.Get("writeOnly").True() {
				a.hit("data.password-format", v, j.op, j.name)
			}
			least, ok := v.Get("minLength").Int()
			if new := anyWord(j.name, "new") || j.op != nil && (literal(j.op.path, "register", "signup", "users", "accounts") || anyWord(j.op.v.Get("operationId").String(), "register", "signup")); new && v.Get("pattern") == nil && (!ok || least < 8) && !isName(j.name, "pin", "passcode") && !anyWord(j.name, "old", "current") {
				a.hit("data.password-short", v, j.op, j.name)
			}
		}
	}
	if j.dir == failure && isName(j.name, "stack", "stacktrace", "trace", "exception", "traceback", "sql", "query", "debug", "debuginfo", "debugmessage", "exceptionmessage", "exceptiontype", "innerexception", "backtrace", "stacktraces", "developermessage", "errorclass", "exceptionclass") {
		a.hit("errors.verbose", v, j.op, j.name)
	}
	if class := a.class(j.name); j.open && len(a.schemesBy) > 0 && class != "" && personal(class) && !isName(j.name, "fullname", "displayname", "address") && v.Get("enum") == nil {
		switch {
		case j.dir == response && !secretName(j.name) && !passwordName(j.name):
			a.hit("data.sensitive-open", v, j.op, j.name)
		case j.dir == request && j.op != nil && j.op.changes():
			a.hit("data.sensitive-write-open", v, j.op, j.name)
		}
	}
}

// --- examples

type sample struct {
	schema  *source.Value
	example *source.Value
	op      *operation
}

// sample notes the examples that stand in v for a schema.
func (a *auditor) sample(v, schema *source.Value, op *operation) {
	if v == nil || schema == nil || len(a.samples) >= maxExamples {
		return
	}
	add := func(x *source.Value) {
		if x != nil && !x.Is(source.Null) {
			a.samples = append(a.samples, sample{schema, x, op})
		}
	}
	add(v.Get("example"))
	list := v.Get("examples")
	for _, m := range list.Entries() {
		if x := a.resolve(m.Value); x != nil && v != schema {
			add(x.Get("value"))
		}
	}
	if v == schema {
		for _, x := range list.List() {
			add(x)
		}
	}
}

// examples holds each example against its schema.
func (a *auditor) examples() {
	if len(a.samples) == 0 {
		return
	}
	c := schema.NewCompiler(schema.Options{Dialect: map[int]schema.Dialect{20: schema.OpenAPI20, 30: schema.OpenAPI30}[a.version], Formats: true, Load: func(string) (*source.Value, error) { return nil, nil }})
	const uri = "memory:///document"
	c.Document(uri, a.root)
	compiled := make([]*schema.Schema, len(a.samples))
	for i, s := range a.samples {
		compiled[i] = c.Schema(uri, a.root, s.schema)
	}
	if faults := c.Finish(); len(faults) > 0 {
		a.r.NotLooked = append(a.r.NotLooked, "examples: a schema has mistakes: "+cut(faults[0].Message))
		return
	}
	var doc jsondoc.Doc
	var text []byte
	seen := map[*source.Value]bool{}
	for i, s := range a.samples {
		if seen[s.example] {
			continue
		}
		seen[s.example] = true
		text = s.example.AppendJSON(text[:0])
		if a.work += len(text) / 16; a.work > maxWork {
			return
		}
		if doc.Parse(text, jsondoc.Limits{}) != nil {
			continue
		}
		var problems []schema.Problem
		if !compiled[i].Validate(&doc, 0, &problems, 1) && len(problems) > 0 {
			a.hit("contract.example-fails", s.example, s.op, strings.TrimSpace(problems[0].Pointer+" "+problems[0].Detail))
		}
	}
}

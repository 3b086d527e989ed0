package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"sallyport.dev"
	"sallyport.dev/spec"
)

// An operation is one of the specification with what is known of its relatives.
type operation struct {
	*spec.Operation
	set  *spec.Set
	d    *spec.Declared
	key  string
	skip bool
	item *resource  // that the last parameter of its path names
	list *resource  // whose collection it is on
	same *operation // GET of the same path

	reached map[int]int
	sent    map[string]bool
	checks  map[string]int
	why     string
}

// A resource is a collection path and the item path below it.
type resource struct {
	collection, path, param           string
	make, all, read, put, patch, gone *operation
}

// relate finds the resources: a path that ends in a parameter, and the one above it.
func (r *run) relate() {
	byPath := map[string]*resource{}
	for _, o := range r.ops {
		for _, g := range r.ops {
			if g.Method == http.MethodGet && g.Template == o.Template {
				o.same = g
			}
		}
		i := strings.LastIndexByte(o.Template, '/')
		if last := o.Template[i+1:]; strings.HasPrefix(last, "{") && strings.HasSuffix(last, "}") {
			x := byPath[o.Template]
			if x == nil {
				x = &resource{collection: o.Template[:i], path: o.Template, param: last[1 : len(last)-1]}
				byPath[o.Template] = x
			}
			o.item = x
			switch o.Method {
			case http.MethodGet:
				x.read = o
			case http.MethodPut:
				x.put = o
			case http.MethodPatch:
				x.patch = o
			case http.MethodDelete:
				x.gone = o
			}
		}
	}
	for _, x := range byPath {
		for _, o := range r.ops {
			if o.Template != x.collection {
				continue
			}
			o.list = x
			switch o.Method {
			case http.MethodGet:
				x.all = o
			case http.MethodPost:
				x.make = o
			}
		}
	}
	r.resources = byPath
}

func (r *run) rng(parts ...any) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, parts...)
	return rand.New(rand.NewPCG(r.Seed, h.Sum64()))
}

// creates reports whether the profile lets o make something.
func (r *run) creates(x *resource) bool {
	return x != nil && x.make != nil && !x.make.skip && (r.Profile != Safe || x.gone != nil && !x.gone.skip)
}

// A made is something that is there: the path that leads to it and what it is.
type made struct {
	path  string // escaped
	id    string
	call  call // that made it
	body  any  // as answered
	fresh bool
}

// thing gives something of a resource for a caller: made afresh, or one that a
// list, an example or an earlier step has given.
func (r *run) thing(ctx context.Context, x *resource, as *Identity, fresh bool, depth int) *made {
	key := x.path + " " + as.Name
	if !fresh {
		r.mu.Lock()
		m := r.things[key]
		r.mu.Unlock()
		if m != nil {
			return m
		}
	}
	if depth > 4 {
		return nil
	}
	m := r.create(ctx, x, as, depth)
	if m == nil && !fresh {
		if m = r.listed(ctx, x, as, depth); m == nil {
			m = r.example(ctx, x, as, depth)
		}
	}
	if m != nil && !fresh {
		r.mu.Lock()
		r.things[key] = m
		r.mu.Unlock()
	}
	return m
}

func (r *run) create(ctx context.Context, x *resource, as *Identity, depth int) *made {
	if !r.creates(x) {
		return nil
	}
	for _, lean := range []bool{false, true} {
		c, ok := r.valid(ctx, x.make, as, lean, depth+1)
		if !ok {
			continue
		}
		a := r.send(ctx, c)
		if m := r.born(x, c, a); m != nil {
			return m
		}
	}
	return nil
}

// born reads what an answer of a creation made, and keeps how to delete it.
func (r *run) born(x *resource, c call, a *answer) *made {
	if !a.ok() || x == nil {
		return nil
	}
	m := &made{call: c, body: a.value(), fresh: true}
	if loc := a.header.Get("Location"); loc != "" {
		if u, err := url.Parse(loc); err == nil {
			path := strings.TrimPrefix(u.EscapedPath(), strings.TrimSuffix(r.base.EscapedPath(), "/"))
			if strings.HasPrefix(path, c.path+"/") {
				m.path, m.id = path, path[len(c.path)+1:]
			}
		}
	}
	if m.path == "" {
		if m.id = identifier(m.body, x.param); m.id == "" {
			return nil
		}
		m.path = c.path + "/" + url.PathEscape(m.id)
	}
	if x.gone != nil {
		r.mu.Lock()
		r.made[m.path] = call{op: x.gone, method: http.MethodDelete, path: m.path, as: c.as}
		r.mu.Unlock()
	}
	return m
}

// identifier finds the value that names an item: the member called as the
// parameter, else id, else the only one that ends in id.
func identifier(v any, param string) string {
	o, ok := v.(map[string]any)
	if !ok {
		return ""
	}
	text := func(v any) string {
		switch v.(type) {
		case string, float64:
			return strings.TrimSpace(fmt.Sprint(v))
		}
		return ""
	}
	for _, name := range []string{param, "id", "uuid", "_id", "key", "name", "slug", "code", "number"} {
		for k, v := range o {
			if strings.EqualFold(k, name) && text(v) != "" {
				return text(v)
			}
		}
	}
	for _, k := range []string{"data", "item", "result"} {
		if id := identifier(o[k], param); id != "" {
			return id
		}
	}
	return ""
}

// elements are the items of a list answer: the body itself, or its only list.
func elements(v any) []any {
	if l, ok := v.([]any); ok {
		return l
	}
	o, _ := v.(map[string]any)
	for _, name := range []string{"items", "data", "results"} {
		if l, ok := o[name].([]any); ok {
			return l
		}
	}
	var found []any
	n := 0
	for _, x := range o {
		if l, ok := x.([]any); ok {
			found, n = l, n+1
		}
	}
	if n == 1 {
		return found
	}
	return nil
}

func (r *run) listed(ctx context.Context, x *resource, as *Identity, depth int) *made {
	if x.all == nil || x.all.skip {
		return nil
	}
	c, ok := r.valid(ctx, x.all, as, true, depth+1)
	if !ok {
		return nil
	}
	a := r.send(ctx, c)
	if !a.ok() {
		return nil
	}
	for _, e := range elements(a.value()) {
		if id := identifier(e, x.param); id != "" {
			return &made{path: c.path + "/" + url.PathEscape(id), id: id, body: e}
		}
	}
	return nil
}

func (r *run) example(ctx context.Context, x *resource, as *Identity, depth int) *made {
	id := r.Examples[x.path]
	if id == "" {
		id = r.Examples["{"+x.param+"}"]
	}
	if id == "" {
		return nil
	}
	up, ok := r.fill(ctx, x.collection, as, false, depth+1)
	if !ok {
		return nil
	}
	return &made{path: up + "/" + url.PathEscape(id), id: id}
}

// fill puts something that is there into each parameter of a path.
func (r *run) fill(ctx context.Context, template string, as *Identity, fresh bool, depth int) (string, bool) {
	i := strings.LastIndexByte(template, '}')
	if i < 0 {
		return template, true
	}
	rest := template[i+1:]
	if x := r.resources[template[:i+1]]; x != nil {
		if m := r.thing(ctx, x, as, fresh, depth); m != nil {
			return m.path + rest, true
		}
	}
	j := strings.LastIndexByte(template[:i], '{')
	name := template[j+1 : i]
	up, ok := r.fill(ctx, template[:j], as, fresh, depth+1)
	if !ok {
		return "", false
	}
	v := r.Examples["{"+name+"}"]
	for _, o := range r.ops {
		if v != "" || !strings.HasPrefix(o.Template, template[:i+1]) {
			continue
		}
		for _, p := range o.d.Params {
			if p.In != sallyport.InPath || p.Name != name {
				continue
			}
			if len(p.Examples) > 0 {
				v = fmt.Sprint(plain(p.Examples[0].Value))
			} else if s := shapeOf(p.Schema); len(s.enum) > 0 {
				v = fmt.Sprint(s.enum[0])
			}
		}
	}
	if v == "" {
		return "", false
	}
	return up + url.PathEscape(v) + rest, true
}

// absent is a path of the same template to something that is not there.
func (r *run) absent(o *operation, path string) (string, bool) {
	if o.item == nil {
		return "", false
	}
	for _, p := range o.d.Params {
		if p.In == sallyport.InPath && p.Name == o.item.param {
			m := &maker{rng: r.rng("absent", o.key)}
			s := shapeOf(p.Schema)
			if len(s.enum) > 0 {
				return "", false
			}
			v, ok := m.value(p.Schema, p.Name, 0)
			if s.is("integer") {
				if v = int64(987654321); s.max != nil && *s.max < 987654321 {
					v = int64(*s.max)
				}
			}
			return path[:strings.LastIndexByte(path, '/')+1] + url.PathEscape(fmt.Sprint(v)), ok
		}
	}
	return "", false
}

// Headers that steer an answer instead of saying something of their own.
var steering = []string{"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range", "accept-encoding", "accept-language", "origin"}

// sparse reports whether a parameter chooses the members of the answer: what
// is required of a whole answer is not required of one that was cut to order.
func sparse(name string) bool {
	return slices.Contains([]string{"fields", "_fields", "$select", "select", "include_fields", "exclude_fields", "projection", "only"}, strings.ToLower(name)) || strings.HasPrefix(name, "fields[")
}

// opaque reports whether only the server can make values of a parameter.
func opaque(name string) bool {
	n := strings.ToLower(name)
	for _, w := range []string{"cursor", "token", "after", "before", "signature", "callback"} {
		if strings.Contains(n, w) {
			return true
		}
	}
	return false
}

// valid makes a request that the specification admits, proven by its own
// validators. It is false where a value cannot be guessed; o.why says which.
func (r *run) valid(ctx context.Context, o *operation, as *Identity, lean bool, depth int) (call, bool) {
	r.mu.Lock()
	salt := r.counts[o.key]
	r.counts[o.key]++
	r.mu.Unlock()
	c := call{op: o, method: o.Method, as: as}
	var ok bool
	if c.path, ok = r.fill(ctx, o.Template, as, false, depth); !ok {
		r.cannot(o, "no value of its path is known: give one under examples")
		return c, false
	}
	m := &maker{rng: r.rng(o.key, salt), lean: lean, tag: "sp", request: true, pick: salt}
	m.ids = func(name string, s *shape) (any, bool) {
		v, ok := r.reference(ctx, o, name, s, as, depth)
		if text, isText := v.(string); ok && isText {
			c.refs = append(c.refs, text)
		}
		return v, ok
	}
	for _, p := range o.d.Params {
		if p.In == sallyport.InPath {
			c.params = append(c.params, string(p.In)+" "+p.Name)
			continue
		}
		if !p.Required && (lean || opaque(p.Name) || sparse(p.Name) || slices.Contains(steering, strings.ToLower(p.Name))) && !strings.EqualFold(p.Name, "Idempotency-Key") {
			continue
		}
		if slices.Contains([]string{"accept", "content-type", "authorization"}, strings.ToLower(p.Name)) && p.In == sallyport.InHeader || p.Schema.Value == nil {
			continue
		}
		v, ok := m.value(p.Schema, p.Name, 0)
		if !ok {
			if p.Required {
				r.cannot(o, "no value of "+string(p.In)+" "+p.Name+" can be guessed")
				return c, false
			}
			continue
		}
		if strings.EqualFold(p.Name, "Idempotency-Key") && shapeOf(p.Schema).format != "uuid" {
			if u := m.uuid(); shapeOf(p.Schema).pattern == "" && shapeOf(p.Schema).maxLen < 0 || shapeOf(p.Schema).maxLen >= 36 {
				v = u
			}
		}
		if p.In == sallyport.InHeader && strings.EqualFold(p.Name, "If-Match") {
			if v = r.tagAt(ctx, o, c.path, as); v == "" {
				v = "*"
			}
		}
		c.give(p, v)
	}
	if media, n, ok := o.jsonBody(); ok {
		if media == "application/x-www-form-urlencoded" {
			c.media = media
		}
		v, ok := m.value(n, "", 0)
		if !ok {
			r.cannot(o, "no body can be guessed")
			return c, false
		}
		c.media = media
		c.body = encode(media, v)
	} else if len(o.d.Bodies) > 0 && o.d.BodyRequired {
		b := o.d.Bodies[0]
		switch {
		case strings.HasPrefix(b.Type, "text/"), b.Type == "application/octet-stream", strings.HasPrefix(b.Type, "*/"):
			c.media, c.body = strings.Replace(b.Type, "*", "plain", 1), []byte("sallyport "+m.word(12))
			c.media = strings.Replace(c.media, "plain/*", "application/octet-stream", 1)
		case b.Type == "multipart/form-data":
			if c.media, c.body, ok = m.multipart(b.Schema); !ok {
				r.cannot(o, "no multipart body can be guessed")
				return c, false
			}
		default:
			r.cannot(o, "bodies of "+b.Type+" are not made")
			return c, false
		}
	}
	if !o.admits(&c) {
		if !lean {
			return r.valid(ctx, o, as, true, depth)
		}
		r.cannot(o, "no request can be made that the specification admits: "+o.objection(&c))
		return c, false
	}
	return c, true
}

func (m *maker) multipart(n spec.Node) (string, []byte, bool) {
	parts, ok := m.pieces(n)
	return "multipart/form-data; boundary=" + boundary, multipartBody(parts), ok
}

func (r *run) cannot(o *operation, why string) {
	r.mu.Lock()
	o.why = why
	r.mu.Unlock()
}

// jsonBody is the body of an operation that values can be put into.
func (o *operation) jsonBody() (string, spec.Node, bool) {
	for _, want := range []string{"application/json", "+json", "application/x-www-form-urlencoded"} {
		for _, b := range o.d.Bodies {
			if strings.HasSuffix(b.Type, want) && !strings.Contains(b.Type, "json-patch") && b.Schema.Value != nil {
				return b.Type, b.Schema, true
			}
		}
	}
	return "", spec.Node{}, false
}

func encode(media string, v any) []byte {
	if media == "application/x-www-form-urlencoded" {
		q := url.Values{}
		if o, ok := v.(map[string]any); ok {
			for k, x := range o {
				q.Set(k, fmt.Sprint(x))
			}
		}
		return []byte(q.Encode())
	}
	b, _ := json.Marshal(v)
	return b
}

// give puts the value of a parameter into a call.
func (c *call) give(p spec.DeclaredParam, v any) {
	c.params = append(c.params, string(p.In)+" "+p.Name)
	var texts []string
	switch x := v.(type) {
	case []any:
		for _, e := range x {
			texts = append(texts, scalar(e))
		}
		if !p.Explode || p.In == sallyport.InHeader {
			sep := ","
			if p.Style == "pipeDelimited" {
				sep = "|"
			} else if p.Style == "spaceDelimited" {
				sep = " "
			}
			texts = []string{strings.Join(texts, sep)}
		}
	case map[string]any:
		names := make([]string, 0, len(x))
		for k := range x {
			names = append(names, k)
		}
		slices.Sort(names)
		for _, k := range names {
			name := k
			if p.Style == "deepObject" {
				name = p.Name + "[" + k + "]"
			}
			c.query = append(c.query, pair{name, scalar(x[k])})
		}
		return
	default:
		texts = []string{scalar(v)}
	}
	for _, t := range texts {
		switch p.In {
		case sallyport.InQuery:
			c.query = append(c.query, pair{p.Name, t})
		case sallyport.InHeader:
			c.set(p.Name, t)
		case sallyport.InCookie:
			c.set("Cookie", p.Name+"="+t)
		}
	}
}

func scalar(v any) string {
	switch x := v.(type) {
	case string:
		return x
	case float64, int64, bool:
		b, _ := json.Marshal(x)
		return string(b)
	}
	return fmt.Sprint(v)
}

// broken lists what the specification's own validators hold against a call.
func (o *operation) broken(set *spec.Set, c *call) []spec.Problem {
	var m spec.Match
	if set.Match(c.method, c.path, &m) != spec.Found {
		return []spec.Problem{{Rule: "path"}}
	}
	var k spec.Check
	h := http.Header{}
	for _, p := range c.header {
		h.Set(p.name, p.value)
	}
	o.CheckParams(&k, &m, c.rawQuery(), h)
	o.CheckBody(&k, c.media, c.body)
	return slices.Clone(k.Problems)
}

// reader is the operation that reads what o changes, nil when there is none.
func (o *operation) reader() *operation {
	if o.item != nil {
		return o.item.read
	}
	return o.same
}

// tagAt is the entity tag of what o changes, "" when it has none.
func (r *run) tagAt(ctx context.Context, o *operation, path string, as *Identity) string {
	g := o.reader()
	if g == nil || g.skip {
		return ""
	}
	return r.send(ctx, call{op: g, method: http.MethodGet, path: path, as: as}).header.Get("ETag")
}

func (o *operation) admits(c *call) bool { return len(o.broken(o.set, c)) == 0 }

func (o *operation) objection(c *call) string {
	for _, p := range o.broken(o.set, c) {
		return strings.TrimSpace(string(p.Place.In) + " " + p.Place.Name + " " + p.Rule)
	}
	return "nothing"
}

// reference gives the id of something for a member that is called after it:
// productId, product_id, or productIds' elements.
func (r *run) reference(ctx context.Context, o *operation, name string, s *shape, as *Identity, depth int) (any, bool) {
	stem := ""
	for _, suffix := range []string{"_id", "Id", "ID", "-id", "Uuid", "_uuid"} {
		if t, ok := strings.CutSuffix(name, suffix); ok && t != "" {
			stem = strings.ToLower(t)
		}
	}
	if stem == "" && s.format == "uuid" { // product: {format: uuid}
		stem = strings.ToLower(name)
	}
	if stem == "" && s.pattern != "" && r.idPattern(s.pattern) { // product: {pattern: that of an id}
		stem = strings.ToLower(name)
	}
	if stem == "" || s.readOnly {
		return nil, false
	}
	if depth < 3 {
		paths := make([]string, 0, len(r.resources))
		for p := range r.resources {
			paths = append(paths, p)
		}
		slices.Sort(paths)
		for _, path := range paths {
			x := r.resources[path]
			if !x.called(stem) || x == o.list && !strings.Contains(strings.ToLower(o.Template), stem) {
				continue
			}
			if itself(name) && as != nil && len(as.names()) > 1 {
				break // the caller's own id, below
			}
			if m := r.thing(ctx, x, as, false, depth+1); m != nil {
				var v any = m.id
				if s.is("integer") {
					var n json.Number = json.Number(m.id)
					i, err := n.Int64()
					if err != nil {
						continue
					}
					v = i
				}
				return v, true
			}
			for i := range r.Identities { // somebody else may make one
				if m := r.thing(ctx, x, &r.Identities[i], false, depth+1); m != nil && !s.is("integer") {
					return m.id, true
				}
			}
		}
	}
	if v := r.Examples["{"+name+"}"]; v != "" {
		return v, true
	}
	if itself(name) && s.is("string") && as != nil {
		if l := as.names(); len(l) > 1 { // of its token; the last is the name in the plan
			return l[0], true
		}
	}
	return nil, false
}

// called reports whether a collection has the name of a thing: orders or, where
// all things are records, orders/records.
func (x *resource) called(stem string) bool {
	segments := strings.Split(strings.ToLower(x.collection), "/")
	last := segments[len(segments)-1]
	if n := len(segments); n > 2 && slices.Contains([]string{"records", "items", "documents", "entries", "rows", "objects"}, last) {
		last = segments[n-2]
	}
	return last == stem || last == stem+"s" || last == stem+"es" || last == strings.TrimSuffix(stem, "y")+"ies"
}

// idPattern reports whether ids in paths have this pattern.
func (r *run) idPattern(pattern string) bool {
	for _, o := range r.ops {
		for _, p := range o.d.Params {
			if p.In == sallyport.InPath && shapeOf(p.Schema).pattern == pattern {
				return true
			}
		}
	}
	return false
}

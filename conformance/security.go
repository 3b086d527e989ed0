package conformance

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"sallyport.dev"
	"sallyport.dev/spec"
)

// traces are what errors of programs look like.
var traces = regexp.MustCompile(`(?i)goroutine \d+ \[|Traceback \(most recent call last\)|\bat [\w$.]+\([\w$]+\.(java|kt|scala):\d+\)|\.(go|py|rb|php|cs|js|ts):\d+\b|SQLSTATE|syntax error at or near|ORA-\d{5}|sqlite3?\.|near ".*": syntax error|pq: |java\.lang\.|System\.\w+Exception|Stack ?trace|/(home|usr|var|srv|app)/[\w./-]+\.\w+|panic: |runtime error:|UNIQUE constraint failed|no such (table|column)|mysql_|MongoError|ECONNREFUSED|dial tcp`)

// leaks looks for what errors must not tell.
func (r *run) leaks(ctx context.Context, c call, a *answer) {
	if a.err != nil || a.status < 400 {
		return
	}
	r.weigh(ctx, "security.verbose-error", c, a, "", func(b *answer) string {
		if b.status >= 400 && traces.Match(b.body) {
			return fmt.Sprintf("the error %d tells of the program behind it", b.status)
		}
		return ""
	})
	r.weigh(ctx, "security.version-header", c, a, "", func(b *answer) string {
		for _, h := range []string{"X-Powered-By", "X-AspNet-Version", "X-Debug-Token", "X-Runtime"} {
			if b.header.Get(h) != "" {
				return "header " + h + " tells of the program behind it"
			}
		}
		if s := b.header.Get("Server"); strings.Contains(s, "/") && strings.ContainsAny(s, "0123456789") {
			return "header Server tells a version"
		}
		return ""
	})
}

func (r *run) security(ctx context.Context) {
	r.parallel(ctx, func(o *operation) {
		c, ok := r.base1(o)
		if !ok {
			return
		}
		r.answersOf(ctx, o, c)
		r.preflight(ctx, o, c)
		r.injections(ctx, o, c)
		r.assignment(ctx, o, c)
		r.overrides(ctx, o, c)
	})
	r.parallel(ctx, func(o *operation) { r.credentialsOf(ctx, o) })
	r.roles(ctx)
	for _, x := range r.sorted() {
		if ctx.Err() == nil {
			r.owners(ctx, x)
		}
	}
	r.below(ctx)
	r.grants(ctx)
	r.canary(ctx)
	r.accounts(ctx)
	r.surface(ctx)
	if len(r.Identities) < 2 {
		r.notRun("access to what others own: give two identities of one role, and one of another")
	}
}

func (r *run) sorted() (out []*resource) {
	for _, x := range r.resources {
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b *resource) int { return strings.Compare(a.path, b.path) })
	return out
}

// credentialsOf calls an operation with no credential, broken ones and refused ones.
func (r *run) credentialsOf(ctx context.Context, o *operation) {
	if o.open() {
		return
	}
	c, ok := r.base1(o)
	if !ok {
		if c, ok = r.valid(ctx, o, &r.Identities[0], true, 0); !ok {
			return
		}
	}
	if o.Method == http.MethodDelete || o.Method == http.MethodPut || o.Method == http.MethodPatch {
		if m := r.target(ctx, o, c.as); m != "" {
			c.path = m
		} else if r.Profile == Safe {
			return
		}
	}
	must := func(id, place string, as *Identity, what string) {
		d := c.with(func(d *call) { d.as = as })
		r.try(ctx, id, d, place, func(a *answer) string {
			if a.err == nil && (a.status < 400 || a.status == 404 && o.item == nil) && a.status != 304 {
				return fmt.Sprintf("%s is answered %d", what, a.status)
			}
			if a.err == nil && a.status == 401 && a.header.Get("WWW-Authenticate") == "" && o.mentions("WWW-Authenticate") {
				return "the answer 401 does not say how to authenticate (WWW-Authenticate)"
			}
			return ""
		})
	}
	must("security.no-credentials", "", nil, "a request without credentials")
	must("security.bad-credentials", "", &Identity{Name: "nobody", Token: "sallyport-invalid"}, "a credential that nobody issued")
	scheme := ""
	if l := o.credentials(); len(l) > 0 {
		scheme = l[0].scheme
	}
	token := ""
	if c.as != nil {
		token = c.as.token(scheme)
	}
	if parts := strings.Split(token, "."); len(parts) == 3 {
		enc := base64.RawURLEncoding
		claims := map[string]any{}
		if b, err := enc.DecodeString(parts[1]); err == nil {
			_ = json.Unmarshal(b, &claims)
		}
		edit := func(k string, v any) string {
			x := map[string]any{}
			for a, b := range claims {
				x[a] = b
			}
			x[k] = v
			b, _ := json.Marshal(x)
			return enc.EncodeToString(b)
		}
		for _, alg := range []string{"none", "None"} {
			h := enc.EncodeToString([]byte(`{"alg":"` + alg + `","typ":"JWT"}`))
			must("security.alg-none", alg, &Identity{Name: "alg_none", Token: h + "." + parts[1] + "."}, "a token with alg "+alg)
		}
		must("security.stripped-signature", "", &Identity{Name: "no_signature", Token: parts[0] + "." + parts[1] + "."}, "a token without its signature")
		must("security.forged-token", "", &Identity{Name: "forged", Token: parts[0] + "." + edit("sub", "admin") + "." + parts[2]}, "a token whose claims were changed")
		flipped := []byte(parts[2])
		if flipped[0] == 'A' {
			flipped[0] = 'B'
		} else {
			flipped[0] = 'A'
		}
		must("security.forged-token", "signature", &Identity{Name: "forged", Token: parts[0] + "." + parts[1] + "." + string(flipped)}, "a token with another signature")
	}
	for i := range r.Refused {
		id := "security.refused-credential"
		switch n := strings.ToLower(r.Refused[i].Name); {
		case strings.Contains(n, "expired"):
			id = "security.expired-token"
		case strings.Contains(n, "audience"):
			id = "security.wrong-audience"
		}
		must(id, r.Refused[i].Name, &r.Refused[i], "the credential "+r.Refused[i].Name)
	}
	if len(r.Refused) == 0 {
		r.notRun("tokens that have expired or are for others: give them under refused")
	}
}

// target is the path of something of the run's own.
func (r *run) target(ctx context.Context, o *operation, as *Identity) string {
	if o.item == nil || as == nil {
		return ""
	}
	if m := r.thing(ctx, o.item, as, true, 0); m != nil {
		return m.path
	}
	return ""
}

// roles calls what is for administrators as everybody else.
func (r *run) roles(ctx context.Context) {
	for _, o := range r.ops {
		c, ok := r.base1(o)
		if o.skip || o.open() {
			continue
		}
		if !ok {
			continue
		}
		admin := c.as != nil && c.as.Role == "admin"
		segments := strings.Split(o.Template, "/")
		named := slices.Contains(segments, "admin") || slices.Contains(segments, "internal")
		text := strings.ToLower(o.Summary + " " + o.about())
		said := strings.Contains(text, "admin") && !strings.Contains(text, "or admin") && !strings.Contains(text, "administrators see all")
		for i := range r.Identities {
			as := &r.Identities[i]
			lacks := as.Scopes != nil && !o.covered(as)
			if !lacks && (as.Role == "admin" || !(named || said || admin && o.declares("403"))) {
				continue
			}
			d := c.with(func(d *call) { d.as = as })
			if fresh, ok := r.valid(ctx, o, c.as, false, 0); ok {
				d.body, d.media = fresh.body, fresh.media
			}
			if o.item != nil && o.Method != http.MethodGet {
				path := r.target(ctx, o, c.as)
				if path == "" {
					for k := range r.Identities {
						if r.Identities[k].Role == "admin" && path == "" {
							path = r.target(ctx, o, &r.Identities[k])
						}
					}
				}
				if path == "" {
					continue
				}
				d.path = path
			}
			a := r.try(ctx, "security.function-level", d, as.Name, func(a *answer) string {
				if a.ok() {
					return fmt.Sprintf("%s (role %s) may call what is not for that role: %d", as.Name, as.Role, a.status)
				}
				return ""
			})
			if a.ok() && o.Method == http.MethodPost {
				r.born(o.list, d, a)
			}
		}
	}
}

func (o *operation) about() string { return o.d.Description }

// covered reports whether an identity holds the scopes that an operation asks for.
func (o *operation) covered(as *Identity) bool {
	for _, alternative := range o.Security {
		good := true
		for _, scopes := range alternative {
			for _, s := range scopes {
				good = good && slices.Contains(as.Scopes, s)
			}
		}
		if good {
			return true
		}
	}
	return false
}

// owners lets an equal of the owner try what the owner may. That something is
// private is taken from the answers themselves: whoever hides it in one place
// must hide it in all.
func (r *run) owners(ctx context.Context, x *resource) {
	for i := range r.Identities {
		a := &r.Identities[i]
		for j := range r.Identities {
			b := &r.Identities[j]
			if i == j || a.Role != b.Role || a.Role == "admin" {
				continue
			}
			m := r.thing(ctx, x, a, true, 0)
			if m == nil || !m.fresh {
				continue
			}
			type tryOf struct {
				c  call
				a  *answer
				op *operation
			}
			var reads, writes []tryOf
			hidden, writeHidden := false, false
			if x.read != nil && !x.read.skip {
				mine := r.send(ctx, call{op: x.read, method: "GET", path: m.path, as: a})
				c := call{op: x.read, method: "GET", path: m.path, as: b}
				t := r.send(ctx, c)
				hidden = mine.ok() && t.denied()
				if mine.ok() && x.read.open() {
					hidden = false
				}
				reads = append(reads, tryOf{c, t, x.read})
			}
			if x.all != nil && !x.all.skip && !x.all.open() {
				if c, ok := r.valid(ctx, x.all, b, true, 0); ok && strings.HasPrefix(m.path, c.path+"/") {
					mine, theirs := r.lists(ctx, c.with(func(d *call) { d.as = a }), m.id), r.lists(ctx, c, m.id)
					if mine == 1 && theirs == 0 {
						hidden = true
					}
					if theirs == 1 {
						t := r.send(ctx, c)
						reads = append(reads, tryOf{c, t, x.all})
					}
				}
			}
			for _, o := range []*operation{x.put, x.patch, x.gone} {
				if o == nil || o.skip {
					continue
				}
				c, ok := r.valid(ctx, o, b, false, 0)
				if !ok {
					continue
				}
				c.path = m.path
				if x.read != nil {
					if g := r.send(ctx, call{op: x.read, method: "GET", path: m.path, as: a}); g.header.Get("ETag") != "" && o.takes("If-Match") {
						c.set("If-Match", g.header.Get("ETag"))
					}
				}
				t := r.send(ctx, c)
				writeHidden = writeHidden || t.denied()
				writes = append(writes, tryOf{c, t, o})
			}
			private := hidden || x.read != nil && x.read.declares("403") && !x.read.open()
			for _, t := range slices.Concat(reads, writes) {
				write := t.op.Method != "GET"
				r.judged("security.object-level", t.op)
				if t.a.ok() && (private || write && (writeHidden || t.op.declares("403"))) {
					r.find("security.object-level", t.c, Finding{Place: "path", Status: t.a.status,
						Detail: fmt.Sprintf("%s reaches what %s owns and the API hides elsewhere: %s is answered %d", b.Name, a.Name, t.op.Method, t.a.status)})
				}
			}
			// Whether something is there must not be told by the answer.
			if hidden && len(reads) > 0 && x.read != nil && reads[0].a.status == 403 {
				if p, ok := r.absent(x.read, m.path); ok {
					c := call{op: x.read, method: "GET", path: p, as: b}
					r.try(ctx, "security.enumeration", c, "path", func(n *answer) string {
						if n.err == nil && n.status == 404 && !x.read.declares("403") {
							return "what others own is answered 403, what is not there 404: the difference tells which ids exist"
						}
						return ""
					})
				}
			}
			return
		}
	}
}

func (o *operation) takes(header string) bool {
	for _, p := range o.d.Params {
		if p.In == sallyport.InHeader && strings.EqualFold(p.Name, header) {
			return true
		}
	}
	return false
}

// lists tells whether a list holds an id: 1 yes, 0 no, -1 cannot be told.
func (r *run) lists(ctx context.Context, c call, id string) int {
	var step *spec.DeclaredParam // that counts pages or items
	for i, p := range c.op.d.Params {
		if p.In != sallyport.InQuery {
			continue
		}
		switch n := strings.ToLower(p.Name); {
		case n == "limit" || n == "per_page" || n == "page_size" || n == "pagesize" || n == "perpage":
			if _, high := shapeOf(p.Schema).bounds(); high > 1 && high < 1e9 {
				c = c.with(func(d *call) { d.drop(p); d.give(p, int64(min(high, 500))) })
			}
		case (n == "page" || n == "offset" || n == "skip") && shapeOf(p.Schema).is("integer"):
			step = &c.op.d.Params[i]
		}
	}
	start, seen, first := c, map[string]bool{}, int64(1)
	for page := range 40 {
		a := r.send(ctx, c)
		if !a.ok() {
			return -1
		}
		list, fresh := elements(a.value()), 0
		for _, e := range list {
			got := identifier(e, c.op.listParam())
			if got == id {
				return 1
			}
			if !seen[got] {
				seen[got], fresh = true, fresh+1
			}
		}
		next, param, value := cursor(a), (*spec.DeclaredParam)(nil), any(nil)
		for i, p := range c.op.d.Params {
			if opaque(p.Name) && p.In == sallyport.InQuery && next != "" {
				param, value = &c.op.d.Params[i], next
			}
		}
		switch {
		case param != nil:
		case next != "" && step == nil:
			return -1
		case step == nil || fresh == 0:
			return 0
		case strings.EqualFold(step.Name, "page"):
			if page == 0 {
				if s := shapeOf(step.Schema); s.min != nil {
					first = int64(*s.min)
				} else if n, ok := s.fallback.(float64); ok {
					first = int64(n)
				}
			}
			param, value = step, first+int64(page)+1
		default:
			param, value = step, int64(len(seen))
		}
		c = start.with(func(d *call) { d.drop(*param); d.give(*param, value) })
	}
	return -1
}

func (o *operation) listParam() string {
	if o.list != nil {
		return o.list.param
	}
	return "id"
}

// answersOf looks at the headers of good answers.
func (r *run) answersOf(ctx context.Context, o *operation, c call) {
	if o.Method != http.MethodGet {
		return
	}
	r.try(ctx, "security.headers", c, "", func(a *answer) string {
		if a.ok() && len(a.body) > 0 && !strings.EqualFold(a.header.Get("X-Content-Type-Options"), "nosniff") {
			return "no X-Content-Type-Options: nosniff"
		}
		return ""
	})
	r.try(ctx, "security.framing", c, "", func(a *answer) string {
		if a.ok() && len(a.body) > 0 && a.header.Get("X-Frame-Options") == "" && !strings.Contains(a.header.Get("Content-Security-Policy"), "frame-ancestors") {
			return "neither Content-Security-Policy with frame-ancestors nor X-Frame-Options"
		}
		return ""
	})
	if !o.open() {
		shared := !slices.ContainsFunc(o.credentials(), func(k credential) bool { return strings.EqualFold(k.name, "Authorization") })
		r.try(ctx, "security.cache", c, "", func(a *answer) string {
			cc := strings.ToLower(a.header.Get("Cache-Control"))
			if a.ok() && !strings.Contains(cc, "private") && !strings.Contains(cc, "no-store") && (strings.Contains(cc, "public") || strings.Contains(cc, "s-maxage") || shared && strings.Contains(cc, "max-age") && !strings.Contains(cc, "max-age=0")) {
				return "private data may be kept by shared caches: Cache-Control " + orNone(cc)
			}
			return ""
		})
		r.try(ctx, "security.no-store", c, "", func(a *answer) string {
			cc := strings.ToLower(a.header.Get("Cache-Control"))
			if a.ok() && (cc == "" || strings.Contains(cc, "max-age") && !strings.Contains(cc, "private") && !strings.Contains(cc, "max-age=0")) {
				return "nothing says that private data is not to be kept: Cache-Control " + orNone(cc)
			}
			return ""
		})
	}
	r.try(ctx, "security.cors", c.with(func(d *call) { d.set("Origin", "https://sallyport.invalid") }), "", func(a *answer) string {
		allow := a.header.Get("Access-Control-Allow-Origin")
		switch {
		case strings.EqualFold(a.header.Get("Access-Control-Allow-Credentials"), "true") && (allow == "https://sallyport.invalid" || allow == "*" || allow == "null"):
			return "any web page may read answers with the user's credentials"
		case allow == "https://sallyport.invalid" && !o.open():
			return "the origin is admitted whatever it is"
		}
		return ""
	})
}

func orNone(s string) string {
	if s == "" {
		return "is missing"
	}
	return s
}

// injections send what an interpreter would take for its own.
func (r *run) injections(ctx context.Context, o *operation, c call) {
	for _, p := range o.d.Params {
		s := shapeOf(p.Schema)
		if p.In != sallyport.InQuery || !s.is("string") || len(s.enum) > 0 || opaque(p.Name) && r.Profile == Safe {
			continue
		}
		for _, v := range []string{"'", "\"'`)(", "{{7*191}}", "../../../../etc/passwd", "\r\nX-Sallyport: 1", "<sally>", "%00"} {
			d := c.with(func(d *call) { d.drop(p); d.give(p, v) })
			r.injected(ctx, d, "query "+p.Name, v)
		}
		r.boolean(ctx, o, c.with(func(d *call) { d.drop(p) }), func(d *call, v string) { d.give(p, v) }, "query "+p.Name)
	}
	media, n, ok := o.jsonBody()
	if !ok || o.Method == http.MethodDelete || !strings.Contains(media, "json") {
		return
	}
	for _, p := range shapeOf(n).props {
		s := shapeOf(p.node)
		if !s.is("string") || len(s.enum) > 0 || s.readOnly || s.format != "" {
			continue
		}
		for _, v := range []string{"'", "{{7*191}}", "a\u0000b", "<sally>"} {
			d, ok := r.again(ctx, o, c)
			if !ok {
				return
			}
			var m map[string]any
			if json.Unmarshal(d.body, &m) != nil {
				return
			}
			m[p.name] = v
			d.body = encode(media, m)
			r.injected(ctx, d, "body /"+p.name, v)
		}
	}
}

func (r *run) injected(ctx context.Context, c call, place, v string) {
	a := r.try(ctx, "security.injection", c, place, func(a *answer) string {
		switch {
		case a.err != nil:
			return ""
		case a.status >= 500 && a.status != 501:
			return fmt.Sprintf("a value with the text of another language is answered %d", a.status)
		case a.header.Get("X-Sallyport") != "":
			return "a value becomes a header of the answer"
		case strings.Contains(v, "7*191") && strings.Contains(string(a.body), "1337") && !strings.Contains(string(a.body), "7*191"):
			return "a value is run as a template"
		case strings.Contains(string(a.body), "root:x:0:0"):
			return "a value opens a file of the server"
		case v == "<sally>" && strings.Contains(a.media(), "html") && strings.Contains(string(a.body), v):
			return "a value becomes markup of the answer"
		case traces.Match(a.body) && a.status >= 400:
			return "the error tells of the interpreter behind it"
		}
		return ""
	})
	if c.op != nil && c.method == http.MethodPost {
		r.born(c.op.list, c, a)
	}
	r.leaks(ctx, c, a)
}

// boolean compares conditions that are true with such that are not.
func (r *run) boolean(ctx context.Context, o *operation, c call, give func(*call, string), place string) {
	if o.Method != http.MethodGet {
		return
	}
	size := func(v string) int {
		a := r.send(ctx, c.with(func(d *call) { give(d, v) }))
		if !a.ok() {
			return -1
		}
		return len(elements(a.value()))
	}
	yes, no := size("zqx' OR '1'='1"), size("zqx' OR '1'='2")
	r.judged("security.injection", o)
	if yes > 0 && no == 0 && size("zqx' OR '1'='1") == yes && size("zqx") == 0 {
		r.find("security.injection", c.with(func(d *call) { give(d, "zqx' OR '1'='1") }), Finding{Place: place, Detail: "a condition in the value is run by the database", Seen: "2 of 2"})
	}
}

// Members that callers do not decide about.
var privileged = map[string]any{"role": "admin", "isAdmin": true, "is_admin": true, "admin": true, "verified": true, "balance": 999999, "ownerId": "sallyport", "owner_id": "sallyport", "owner": "sallyport", "userId": "sallyport", "user_id": "sallyport", "status": nil, "createdAt": "2001-01-01T00:00:00Z", "created_at": "2001-01-01T00:00:00Z", "approved": true, "paid": true, "credit": 999999}

// assignment sends members that are the server's to set.
func (r *run) assignment(ctx context.Context, o *operation, c call) {
	media, n, ok := o.jsonBody()
	if !ok || !strings.Contains(media, "json") {
		return
	}
	names := map[string]any{}
	for k, v := range privileged {
		names[k] = v
	}
	in := shapeOf(n)
	answers := map[string]spec.Node{}
	for _, a := range o.d.Answers {
		if a.Status[0] != '2' {
			continue
		}
		for _, m := range a.Media {
			for _, p := range shapeOf(m.Schema).props {
				answers[p.name] = p.node
			}
		}
	}
	for name, n := range answers {
		names[name] = nil
		if n.Value == nil {
			continue
		}
		s, m := shapeOf(n), &maker{rng: r.rng("assign", o.key, name)}
		if v, ok := m.value(n, name, 0); ok && !s.is("boolean") && !s.is("object") && !s.is("array") {
			names[name] = v
			if len(s.enum) > 1 { // the first is what things are made with
				names[name] = s.enum[len(s.enum)-1]
			}
		}
	}
	var order []string
	for k := range names {
		order = append(order, k)
	}
	slices.Sort(order)
	r.closed(ctx, o, c, media, n, names)
	for _, k := range order {
		v := names[k]
		writable := slices.ContainsFunc(in.props, func(p prop) bool { return p.name == k && !shapeOf(p.node).readOnly })
		if writable || v == nil {
			continue
		}
		d, ok := r.ready(ctx, o, c.as, false)
		if !ok {
			return
		}
		var m map[string]any
		if json.Unmarshal(d.body, &m) != nil {
			return
		}
		m[k] = v
		d.body = encode(media, m)
		a := r.preconditioned(ctx, d, r.send(ctx, d))
		r.judged("security.mass-assignment", o)
		if !a.ok() {
			continue
		}
		made := r.born(o.list, d, a)
		got, _ := a.value().(map[string]any)
		path := ""
		if made != nil {
			path = made.path
		} else if o.item != nil {
			path = d.path
		}
		x := o.list
		if x == nil {
			x = o.item
		}
		if path != "" && x != nil && x.read != nil {
			if g := r.send(ctx, call{op: x.read, method: "GET", path: path, as: c.as}); g.ok() {
				if y, ok := g.value().(map[string]any); ok {
					got = y
				}
			}
		}
		if got[k] != nil && same(got[k], v) && !r.soAnyway(ctx, o, c.as, k, v) {
			r.find("security.mass-assignment", d, Finding{Place: "body /" + k, Status: a.status, Detail: "a member that is the server's to set takes the caller's value"})
		}
	}
}

// soAnyway reports whether things have a value of a member without its being sent.
func (r *run) soAnyway(ctx context.Context, o *operation, as *Identity, member string, v any) bool {
	d, ok := r.ready(ctx, o, as, false)
	if !ok {
		return false
	}
	a := r.preconditioned(ctx, d, r.send(ctx, d))
	r.born(o.list, d, a)
	got, _ := a.value().(map[string]any)
	return a.ok() && got[member] != nil && same(got[member], v)
}

// closed sends members that only the server sets, in each object of a body whose
// schema admits no others: they must be refused, whatever becomes of them.
func (r *run) closed(ctx context.Context, o *operation, c call, media string, n spec.Node, names map[string]any) {
	var walk func(n, reply spec.Node, path []string)
	walk = func(n, reply spec.Node, path []string) {
		s := shapeOf(n)
		if len(path) > 4 {
			return
		}
		in := map[string]any{}
		for k, v := range names {
			if v != nil {
				in[k] = v
			}
		}
		other := map[string]spec.Node{}
		for _, p := range shapeOf(reply).props {
			other[p.name] = p.node
			m := &maker{rng: r.rng("closed", o.key, p.name)}
			if v, ok := m.value(p.node, p.name, 0); ok {
				in[p.name] = v
			}
		}
		for _, p := range s.props {
			delete(in, p.name)
			q := shapeOf(p.node)
			switch {
			case q.is("object"):
				walk(p.node, other[p.name], append(slices.Clone(path), p.name))
			case q.is("array") && shapeOf(q.items).is("object"):
				walk(q.items, shapeOf(other[p.name]).items, append(slices.Clone(path), p.name, ""))
			}
		}
		if !s.closed {
			return
		}
		keys := make([]string, 0, len(in))
		for k := range in {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			d, ok := r.ready(ctx, o, c.as, false)
			if !ok || ctx.Err() != nil {
				return
			}
			var body any
			if json.Unmarshal(d.body, &body) != nil {
				return
			}
			at := body
			for _, name := range path {
				switch x := at.(type) {
				case map[string]any:
					at = x[name]
				case []any:
					if at = nil; len(x) > 0 {
						at = x[0]
					}
				}
			}
			m, ok := at.(map[string]any)
			if !ok {
				return
			}
			m[k] = in[k]
			if s := shapeOf(other[k]); len(s.enum) > 0 && s.is("string") { // not the one that it has anyway
				m[k] = s.enum[min(1, len(s.enum)-1)]
			}
			d.body = encode(media, body)
			if len(o.broken(r.Spec, &d)) != 1 {
				continue
			}
			place := "body /" + strings.Join(append(slices.Clone(path), k), "/")
			a := r.try(ctx, "security.mass-assignment", d, place, func(a *answer) string {
				if a.ok() {
					return fmt.Sprintf("a member that the schema does not admit and that is the server's to set is accepted with %d", a.status)
				}
				return ""
			})
			if o.Method == http.MethodPost {
				r.born(o.list, d, a)
			}
		}
	}
	var reply spec.Node
	for _, a := range o.d.Answers {
		if a.Status[0] == '2' && len(a.Media) > 0 {
			reply = a.Media[0].Schema
		}
	}
	walk(n, reply, nil)
}

// overrides send a method in a header.
func (r *run) overrides(ctx context.Context, o *operation, c call) {
	if o.Method != http.MethodGet || o.item == nil || o.item.gone == nil {
		return
	}
	gone := o.item.gone
	as := c.as
	if b, ok := r.base1(gone); ok {
		as = b.as
	}
	for _, method := range []string{"GET", "POST"} {
		m := r.thing(ctx, o.item, as, true, 0)
		if m == nil || !m.fresh {
			return
		}
		for _, h := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
			d := call{op: gone, method: method, path: m.path, as: as}
			d.set(h, "DELETE")
			r.send(ctx, d)
			r.judged("security.method-override", o)
			if g := r.send(ctx, call{op: o, method: "GET", path: m.path, as: as}); g.status == 404 || g.status == 410 {
				r.find("security.method-override", d, Finding{Place: "header " + h, Detail: "a " + method + " deletes when a header says so"})
				return
			}
		}
	}
	if o.list == nil && o.item.make != nil && o.item.all != nil { // a POST that lists instead of making
		b, ok := r.base1(o.item.make)
		if !ok {
			return
		}
		if d, ok := r.valid(ctx, o.item.make, b.as, false, 0); ok {
			d.set("X-HTTP-Method-Override", "GET")
			a := r.send(ctx, d)
			if m := r.born(o.item, d, a); m == nil && a.ok() && elements(a.value()) != nil {
				r.find("security.method-override", d, Finding{Place: "header X-HTTP-Method-Override", Detail: "a POST reads when a header says so"})
			}
		}
	}
}

// canary gives addresses of a listener of ours and waits for a call.
func (r *run) canary(ctx context.Context) {
	var list []call
	for _, o := range r.ops {
		c, ok := r.base1(o)
		if !ok {
			if c, ok = r.valid(ctx, o, &r.Identities[0], false, 0); !ok || o.skip {
				continue
			}
		}
		for _, p := range o.d.Params {
			if p.In == sallyport.InQuery && addressed(p.Name, shapeOf(p.Schema)) {
				list = append(list, c.with(func(d *call) { d.drop(p); d.give(p, canaryMark) }))
			}
		}
		if media, n, ok := o.jsonBody(); ok && strings.Contains(media, "json") {
			for _, p := range shapeOf(n).props {
				if addressed(p.name, shapeOf(p.node)) {
					if d, ok := r.again(ctx, o, c); ok {
						var m map[string]any
						if json.Unmarshal(d.body, &m) == nil {
							m[p.name] = canaryMark
							d.body = encode(media, m)
							list = append(list, d)
						}
					}
				}
			}
		}
	}
	if len(list) == 0 {
		return
	}
	address := r.Canary
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		r.notRun("server-side requests: cannot listen at %s", address)
		return
	}
	var hits sync.Map // by path
	server := &http.Server{ReadTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		hits.Store(q.URL.Path, true)
		fmt.Fprint(w, "{}")
	})}
	go server.Serve(l)
	defer server.Close()
	for _, c := range list {
		r.stored(ctx, c)
	}
	sent := map[string]call{}
	for i, c := range spelled(list, l.Addr(), r.Profile == Safe) {
		path := fmt.Sprintf("/sallyport-%d", i)
		d := c.call.with(func(d *call) { d.fillMark(c.to + path) })
		if !c.op.admits(&d) {
			continue
		}
		a := r.send(ctx, d)
		if d.method == http.MethodPost {
			r.born(d.op.list, d, a)
		}
		r.judged("security.ssrf", d.op)
		sent[path] = d
	}
	if len(sent) > 0 { // some servers call later
		select {
		case <-time.After(400 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	for path, d := range sent {
		if _, hit := hits.Load(path); hit {
			r.find("security.ssrf", d, Finding{Place: "address", Detail: "the server calls the address that it is given, on its own machine's network"})
		}
	}
}

// fillMark puts an address where the mark of a canary stands.
func (c *call) fillMark(to string) {
	for i := range c.query {
		if c.query[i].value == canaryMark {
			c.query[i].value = to
		}
	}
	if c.body != nil {
		c.body = []byte(strings.ReplaceAll(string(c.body), canaryMark, to))
	}
}

type addressedCall struct {
	call
	to string
}

// spelled gives each call every way to write the address of the listener
// (OWASP Server-Side Request Forgery Prevention Cheat Sheet).
func spelled(list []call, at net.Addr, few bool) (out []addressedCall) {
	host, port, _ := net.SplitHostPort(at.String())
	hosts := []string{host}
	if host == "127.0.0.1" {
		hosts = append(hosts, "localhost", "2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]", "localhost.", "0")
	}
	if few {
		hosts = hosts[:min(2, len(hosts))]
	}
	for _, c := range list {
		for _, h := range hosts {
			out = append(out, addressedCall{c, "http://" + h + ":" + port})
		}
	}
	return out
}

// stored gives addresses of private networks to what will be called later.
func (r *run) stored(ctx context.Context, c call) {
	text := strings.ToLower(c.op.Template)
	if c.op.Method == http.MethodGet || !strings.Contains(text, "hook") && !strings.Contains(text, "callback") && !strings.Contains(text, "subscription") && !strings.Contains(text, "notif") {
		return
	}
	for _, host := range []string{"127.0.0.1", "169.254.169.254", "10.0.0.1", "[::1]", "localhost", "2130706433"} {
		d := c.with(func(d *call) { d.fillMark("http://" + host + "/sallyport") })
		if !c.op.admits(&d) {
			continue
		}
		a := r.try(ctx, "security.ssrf", d, "stored", func(a *answer) string {
			if a.ok() {
				return fmt.Sprintf("an address of a private network is kept to be called later: %d", a.status)
			}
			return ""
		})
		r.born(c.op.list, d, a)
	}
}

const canaryMark = "sallyport-canary-address"

func addressed(name string, s *shape) bool {
	n := strings.ToLower(name)
	return s.is("string") && len(s.enum) == 0 && (s.format == "uri" || s.format == "url" || strings.HasSuffix(n, "url") || strings.HasSuffix(n, "uri") || n == "callback" || n == "webhook" || n == "target" || n == "host")
}

// surface looks for what should not be there, and at what all requests share.
func (r *run) surface(ctx context.Context) {
	none := r.send(ctx, call{method: "GET", path: "/sallyport-" + r.rngWord()})
	c := call{method: "GET", path: "/"}
	for _, p := range []string{"/debug", "/debug/pprof/", "/debug/vars", "/actuator", "/actuator/env", "/.env", "/.git/config", "/server-status", "/phpinfo.php", "/admin", "/console", "/trace", "/metrics", "/config", "/internal"} {
		if r.declaresPath(p) {
			continue
		}
		r.try(ctx, "security.debug-route", call{method: "GET", path: p}, p, func(a *answer) string {
			if a.ok() && (none.status != a.status || string(none.body) != string(a.body)) && !none.ok() {
				return fmt.Sprintf("%s is answered %d", p, a.status)
			}
			return ""
		})
	}
	old := regexp.MustCompile(`^/(api/)?v(\d+)/`)
	done := map[string]bool{}
	for _, o := range r.ops {
		b, ok := r.base1(o)
		if !ok || o.Method != "GET" {
			continue
		}
		var others []string
		if m := old.FindStringSubmatchIndex(b.path); m != nil {
			n := b.path[m[4]:m[5]]
			for _, v := range []string{"0", "1", "2", "3"} {
				if v != n {
					others = append(others, b.path[:m[4]]+v+b.path[m[5]:])
				}
			}
		} else {
			for _, v := range []string{"/v0", "/v1", "/old", "/beta", "/api/v1"} {
				others = append(others, v+b.path)
			}
		}
		for _, p := range others {
			if r.declaresPath(p) || done[p] || len(done) > 60 {
				continue
			}
			done[p] = true
			r.try(ctx, "security.old-version", call{method: "GET", path: p, as: b.as}, p, func(a *answer) string {
				if a.ok() && !none.ok() {
					return fmt.Sprintf("another version that no specification declares is answered %d", a.status)
				}
				return ""
			})
		}
	}
	if r.base.Scheme == "https" {
		r.judged("security.tls", nil)
		d := net.Dialer{Timeout: r.Budget.Timeout}
		if why := oldTLS(ctx, d, r.base.Host); why != "" {
			r.find("security.tls", c, Finding{Detail: why})
		}
		r.try(ctx, "security.hsts", c, "", func(a *answer) string {
			if a.err == nil && a.header.Get("Strict-Transport-Security") == "" {
				return "no Strict-Transport-Security"
			}
			return ""
		})
	} else {
		r.notRun("TLS: the target is called without it")
	}
}

func (r *run) rngWord() string { return (&maker{rng: r.rng("none")}).word(12) }

func (r *run) declaresPath(p string) bool {
	for _, o := range r.ops {
		if o.Template == p || strings.HasPrefix(o.Template, strings.TrimSuffix(p, "/")+"/") {
			return true
		}
	}
	return false
}

// oldTLS tries versions that are no longer good.
func oldTLS(ctx context.Context, d net.Dialer, host string) string {
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(host, "443")
	}
	c := &tls.Dialer{NetDialer: &d, Config: &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11, InsecureSkipVerify: true}} // nothing is sent
	conn, err := c.DialContext(ctx, "tcp", host)
	if err != nil {
		return ""
	}
	conn.Close()
	return "TLS 1.1 or older is spoken"
}

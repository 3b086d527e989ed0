package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"sallyport.dev"
	"sallyport.dev/spec"
)

// accepted finds a request of o that succeeds, for the first identity that one
// succeeds for. Unsafe ones under Safe touch only what the run made.
func (r *run) accepted(ctx context.Context, o *operation) (call, *answer) {
	var last *answer
	for i := range r.Identities {
		for _, lean := range []bool{false, true} {
			c, ok := r.ready(ctx, o, &r.Identities[i], lean)
			if !ok {
				break
			}
			a := r.preconditioned(ctx, c, r.send(ctx, c))
			r.conforms(ctx, c, a)
			if a.ok() {
				if o.Method == http.MethodPost {
					r.born(o.list, c, a)
				}
				return c, a
			}
			last = a
			if a.status == 401 || a.status == 403 {
				break
			}
		}
	}
	if last != nil {
		r.cannot(o, fmt.Sprintf("requests made of the specification are answered %d: give an example or an identity that may call it", last.status))
	}
	return call{}, nil
}

// ready is valid, with a thing of its own where the operation changes it.
func (r *run) ready(ctx context.Context, o *operation, as *Identity, lean bool) (call, bool) {
	c, ok := r.valid(ctx, o, as, lean, 0)
	if !ok || o.Method == http.MethodGet || o.Method == http.MethodHead {
		return c, ok
	}
	if o.list != nil && o.Method == http.MethodPost && r.Profile == Safe && o.list.gone == nil {
		r.notRun("%s: makes what nothing deletes, and the profile is safe", o.key)
		return c, false
	}
	if o.item == nil {
		if o.list == nil && r.Profile == Safe {
			r.notRun("%s: may change what is not the run's own, and the profile is safe", o.key)
			return c, false
		}
		return c, true
	}
	m := r.thing(ctx, o.item, as, true, 0)
	switch {
	case m != nil:
		c.path = m.path
	case o.Method == http.MethodDelete || r.Profile == Safe:
		r.cannot(o, "nothing that the run made itself can be its target")
		return c, false
	}
	return c, true
}

// preconditioned sends a call again with the entity tag of what it changes,
// where the answer asks for one (RFC 6585 section 3).
func (r *run) preconditioned(ctx context.Context, c call, a *answer) *answer {
	if a.status != http.StatusPreconditionRequired {
		return a
	}
	d, ok := r.tagged(ctx, c)
	if !ok {
		return a
	}
	return r.send(ctx, d)
}

func (r *run) tagged(ctx context.Context, c call) (call, bool) {
	if c.op == nil {
		return c, false
	}
	tag := r.tagAt(ctx, c.op, c.path, c.as)
	return c.with(func(d *call) { d.set("If-Match", tag) }), tag != ""
}

// Statuses that any operation may answer with, declared or not: they come from
// what stands before it.
var general = []int{401, 403, 404, 405, 406, 408, 413, 414, 415, 421, 428, 429, 431}

// conforms holds an answer to the specification.
func (r *run) conforms(ctx context.Context, c call, a *answer) {
	o := c.op
	head := c.method == http.MethodHead
	r.weigh(ctx, "contract.answers", c, a, "", func(a *answer) string {
		if a.err != nil {
			return "no whole answer: " + plainError(a.err)
		}
		return ""
	})
	if a.err != nil {
		return
	}
	r.weigh(ctx, "contract.server-error", c, a, "", func(a *answer) string {
		if a.status >= 500 && a.status != 501 {
			return fmt.Sprintf("answered %d to a request that the client may send", a.status)
		}
		return ""
	})
	r.leaks(ctx, c, a)
	if a.status >= 500 {
		return
	}
	r.weigh(ctx, "contract.status-undeclared", c, a, fmt.Sprint(a.status), func(b *answer) string {
		if _, undeclared := o.problems(b, true); b.err == nil && b.status == a.status && undeclared && !slices.Contains(general, b.status) && b.status != 304 {
			if b.status == 400 && (o.declares("422") || !o.declares4xx()) || b.status == 422 && (o.declares("400") || !o.declares4xx()) {
				return ""
			}
			return fmt.Sprintf("status %d is not declared", b.status)
		}
		return ""
	})
	if len(o.d.Answers) == 0 || a.status == 304 {
		return
	}
	for id, match := range map[string]func(spec.Problem) bool{
		"contract.media-type": func(p spec.Problem) bool {
			return strings.Contains(p.Rule, "media") || strings.Contains(p.Rule, "content-type")
		},
		"contract.headers": func(p spec.Problem) bool { return p.Place.In == sallyport.InHeader },
		"contract.body": func(p spec.Problem) bool {
			return p.Place.In == sallyport.InBody && !strings.Contains(p.Rule, "media") && !strings.Contains(p.Rule, "content-type")
		},
	} {
		r.weigh(ctx, id, c, a, fmt.Sprint(a.status), func(b *answer) string {
			if b.err != nil || b.status != a.status {
				return ""
			}
			problems, undeclared := o.problems(b, head)
			if undeclared {
				return ""
			}
			for _, p := range problems {
				if match(p) {
					return strings.TrimSpace(fmt.Sprintf("answer %d: %s %s: %s %s", b.status, p.Place.In, p.Place.Name, p.Rule, p.Detail))
				}
			}
			return ""
		})
	}
	if a.status >= 400 && strings.HasPrefix(a.media(), "application/problem+json") && !head {
		r.weigh(ctx, "contract.problem-details", c, a, fmt.Sprint(a.status), func(b *answer) string {
			if !strings.HasPrefix(b.media(), "application/problem+json") {
				return ""
			}
			p, ok := b.value().(map[string]any)
			if !ok {
				return "problem details are no JSON object"
			}
			if s, ok := p["status"].(float64); ok && int(s) != b.status {
				return fmt.Sprintf("problem details say %d, the status line %d", int(s), b.status)
			}
			return ""
		})
	}
	if n := a.header.Get("Content-Length"); n != "" && head {
		return
	}
	r.ends(ctx, c, a)
	if o.Deprecated && a.ok() && o.mentions("Deprecation") {
		r.weigh(ctx, "contract.deprecation", c, a, "", func(b *answer) string {
			if b.header.Get("Deprecation") == "" {
				return "the operation is deprecated, and its answer does not say so"
			}
			return ""
		})
	}
}

func (o *operation) declares(status string) bool {
	return slices.ContainsFunc(o.d.Answers, func(a spec.DeclaredAnswer) bool {
		return a.Status == status || len(a.Status) == 3 && strings.EqualFold(a.Status[1:], "xx") && a.Status[0] == status[0]
	})
}

func (o *operation) declares4xx() bool {
	return slices.ContainsFunc(o.d.Answers, func(a spec.DeclaredAnswer) bool { return a.Status[0] == '4' || a.Status == "default" })
}

func (o *operation) mentions(header string) bool {
	return slices.ContainsFunc(o.d.Answers, func(a spec.DeclaredAnswer) bool {
		return slices.ContainsFunc(a.Headers, func(p spec.DeclaredParam) bool { return strings.EqualFold(p.Name, header) })
	})
}

// contract holds one operation to what it declares.
func (r *run) contract(ctx context.Context, o *operation) {
	c, a := r.accepted(ctx, o)
	r.methods(ctx, o, c)
	if a == nil {
		return
	}
	for _, p := range o.d.Params { // a key is for one request
		if !p.Required && strings.EqualFold(p.Name, "Idempotency-Key") {
			c = c.with(func(d *call) { d.drop(p) })
		}
	}
	r.mu.Lock()
	r.bases[o.key] = c
	r.mu.Unlock()
	r.examples(ctx, o, c)
	r.edges(ctx, o, c)
	if p, ok := r.absent(o, c.path); ok && o.declares("404") {
		r.try(ctx, "contract.not-found", c.with(func(d *call) { d.path = p }), "", func(a *answer) string {
			if a.err == nil && a.status != 404 && a.status != 410 && !(a.status == 204 && o.Method == "DELETE" && !o.declares("404")) && a.status != 428 && a.status != 401 && a.status != 403 { // whose credential is not good for it is not told what is there
				return fmt.Sprintf("answered %d for something that is not there; 404 is declared", a.status)
			}
			return ""
		})
		d := c.with(func(d *call) { d.path = p })
		r.conforms(ctx, d, r.send(ctx, d))
	}
	if o.Method == http.MethodPost && a.status == 201 {
		r.location(ctx, o, c, a)
	}
	if o.Method == http.MethodGet {
		r.reads(ctx, o, c, a)
	}
	r.negotiates(ctx, o, c)
	r.idempotent(ctx, o)
}

func (r *run) methods(ctx context.Context, o *operation, c call) {
	if c.path == "" {
		if strings.Contains(o.Template, "{") {
			return
		}
		c.path = o.Template
	}
	var m spec.Match
	r.Spec.Match(http.MethodGet, c.path, &m)
	for _, method := range []string{"TRACE", "PUT", "PATCH", "DELETE", "POST"} {
		if slices.Contains(m.Allowed, method) || method != "TRACE" && r.Profile == Safe && o.item == nil {
			continue
		}
		path := c.path
		if method != "TRACE" && o.item != nil {
			p, ok := r.absent(o, c.path)
			if !ok {
				continue
			}
			path = p
		}
		r.try(ctx, "contract.method-undeclared", call{method: method, path: path, as: c.as, op: o}, method, func(a *answer) string {
			switch {
			case a.err != nil || a.status == 401 || a.status == 403 || a.status == 404 || a.status == 501:
				return ""
			case a.status != 405:
				return fmt.Sprintf("method %s is not declared and is answered %d instead of 405", method, a.status)
			case a.header.Get("Allow") == "":
				return "answer 405 without Allow (RFC 9110 section 15.5.6)"
			}
			for _, want := range m.Allowed {
				if want != "HEAD" && !strings.Contains(a.header.Get("Allow"), want) {
					return "Allow of the answer 405 does not list " + want
				}
			}
			return ""
		})
		if method != "TRACE" {
			break
		}
	}
	if slices.ContainsFunc(r.ops, func(x *operation) bool { return x.Template == o.Template && !x.skip && x.key < o.key }) {
		return // one answer for the whole path
	}
	r.try(ctx, "contract.options", call{method: "OPTIONS", path: c.path, as: c.as, op: o}, "", func(a *answer) string {
		if a.err == nil && a.status >= 500 && a.status != 501 {
			return fmt.Sprintf("OPTIONS is answered %d", a.status)
		}
		if allow := a.header.Get("Allow"); a.ok() {
			if allow == "" {
				return "the answer to OPTIONS has no Allow (RFC 9110 section 9.3.7)"
			}
			for _, want := range m.Allowed {
				if want != "HEAD" && !strings.Contains(allow, want) {
					return "Allow does not list " + want
				}
			}
		}
		return ""
	})
}

// examples sends the examples that the specification gives.
func (r *run) examples(ctx context.Context, o *operation, c call) {
	send := func(d call, place string) {
		if !o.admits(&d) {
			return
		}
		if o.Method != http.MethodGet {
			fresh, ok := r.ready(ctx, o, c.as, true)
			if !ok {
				return
			}
			d.path = fresh.path
			for _, h := range fresh.header { // a key is for one request, a tag for one state
				if strings.EqualFold(h.name, "Idempotency-Key") || strings.EqualFold(h.name, "If-Match") {
					d.set(h.name, h.value)
				}
			}
		}
		a := r.preconditioned(ctx, d, r.send(ctx, d))
		r.conforms(ctx, d, a)
		if o.Method == http.MethodPost {
			r.born(o.list, d, a)
		}
		r.weigh(ctx, "contract.example", d, a, place, func(a *answer) string {
			if a.err == nil && (a.status == 415 || a.status == 400 || a.status == 422) {
				return fmt.Sprintf("an example of the specification is answered %d", a.status)
			}
			return ""
		})
	}
	for _, p := range o.d.Params {
		for _, e := range p.Examples {
			if p.In != sallyport.InPath && !opaque(p.Name) {
				send(c.with(func(d *call) { d.drop(p); d.give(p, plain(e.Value)) }), string(p.In)+" "+p.Name)
			}
		}
	}
	for _, b := range o.d.Bodies {
		for _, e := range b.Examples {
			v := plain(e.Value)
			if strings.Contains(b.Type, "json") && !refers(v) {
				send(c.with(func(d *call) { d.media = b.Type; d.body = encode(b.Type, v) }), "body")
			}
		}
	}
}

// refers reports whether a value names other things by id: those of an example
// need not be there.
func refers(v any) bool {
	b, _ := json.Marshal(v)
	t := string(b)
	return strings.Contains(t, `Id":`) || strings.Contains(t, `_id":`) || strings.Contains(t, `ID":`)
}

func (c *call) drop(p spec.DeclaredParam) {
	if p.In == sallyport.InQuery {
		c.query = slices.DeleteFunc(c.query, func(q pair) bool { return q.name == p.Name || strings.HasPrefix(q.name, p.Name+"[") })
	}
	if p.In == sallyport.InHeader {
		c.header = slices.DeleteFunc(c.header, func(q pair) bool { return strings.EqualFold(q.name, p.Name) })
	}
}

// edges moves one value at a time to the edge of what is admitted.
func (r *run) edges(ctx context.Context, o *operation, c call) {
	send := func(d call, place string) {
		if !o.admits(&d) {
			return
		}
		a := r.preconditioned(ctx, d, r.send(ctx, d))
		if o.Method == http.MethodPost {
			r.born(o.list, d, a)
		}
		r.conforms(ctx, d, a)
		r.weigh(ctx, "contract.edge-refused", d, a, place, func(a *answer) string {
			if a.err == nil && (a.status == 400 || a.status == 422 || a.status == 415) {
				return fmt.Sprintf("a value that the specification admits is answered %d", a.status)
			}
			return ""
		})
	}
	for _, p := range o.d.Params {
		if p.In == sallyport.InPath || opaque(p.Name) || sparse(p.Name) || p.Schema.Value == nil || slices.Contains(steering, strings.ToLower(p.Name)) {
			continue
		}
		for _, v := range r.extremes(shapeOf(p.Schema), o.key+p.Name) {
			send(c.with(func(d *call) { d.drop(p); d.give(p, v) }), string(p.In)+" "+p.Name)
		}
		if !p.Required {
			send(c.with(func(d *call) { d.drop(p) }), string(p.In)+" "+p.Name+" absent")
		}
	}
	if o.Method == http.MethodDelete || o.item == nil && o.list == nil && o.Method != http.MethodGet && r.Profile == Safe {
		return
	}
	media, n, ok := o.jsonBody()
	if !ok || !strings.Contains(media, "json") || r.Profile == Safe && o.list != nil && o.Method == http.MethodPost && len(o.d.Bodies) == 0 {
		return
	}
	for i, p := range shapeOf(n).props {
		s := shapeOf(p.node)
		if s.readOnly || strings.HasSuffix(strings.ToLower(p.name), "id") {
			continue
		}
		values := r.extremes(s, fmt.Sprint(o.key, i))
		if !p.required {
			values = append(values, absentValue)
		}
		for _, v := range values {
			d, ok := r.again(ctx, o, c)
			if !ok {
				return
			}
			var body map[string]any
			if json.Unmarshal(d.body, &body) != nil {
				return
			}
			if body[p.name] = v; v == absentValue {
				delete(body, p.name)
			}
			d.body = encode(media, body)
			send(d, "body /"+p.name)
		}
	}
}

// again is c with other values of its body, so that what must be unique is.
func (r *run) again(ctx context.Context, o *operation, c call) (call, bool) {
	d, ok := r.valid(ctx, o, c.as, false, 0)
	if ok {
		d.path = c.path
	}
	return d, ok
}

type absence struct{}

var absentValue any = absence{}

// extremes are the least and the greatest values that a shape admits.
func (r *run) extremes(s *shape, salt string) (out []any) {
	if len(s.enum) > 0 {
		if len(s.enum) > 12 {
			return s.enum[:12]
		}
		return s.enum
	}
	m := &maker{rng: r.rng("edge", salt)}
	switch {
	case s.is("integer") || s.is("number"):
		low, high := s.bounds()
		for _, n := range []float64{low, high} {
			switch {
			case n < -1e15 || n > 1e15:
			case s.is("integer"):
				out = append(out, int64(n))
			case (s.min != nil && n == *s.min) || (s.max != nil && n == *s.max):
				out = append(out, n)
			}
		}
	case s.is("string") && s.format == "":
		for _, n := range []int{s.minLen, s.maxLen} {
			if n < 1 || n > 20_000 {
				continue
			}
			x := *s
			x.minLen, x.maxLen = n, n
			if v, ok := m.text(&x, ""); ok {
				out = append(out, v)
			}
		}
	case s.is("boolean"):
		return []any{true, false}
	case s.is("array"):
		for _, n := range []int{s.minItems, s.maxItems} {
			if n >= 1 && n <= 200 && !shapeOf(s.items).is("object") {
				if v, ok := m.array(s, "", n, 0); ok && len(v.([]any)) == n {
					out = append(out, v)
				}
			}
		}
	}
	return out
}

func (r *run) location(ctx context.Context, o *operation, c call, a *answer) {
	loc := a.header.Get("Location")
	if loc == "" || o.list == nil || o.list.read == nil {
		return
	}
	u, err := url.Parse(loc)
	if err != nil || u.Host != "" && u.Host != r.base.Host {
		return
	}
	path := strings.TrimPrefix(u.EscapedPath(), strings.TrimSuffix(r.base.EscapedPath(), "/"))
	g := call{op: o.list.read, method: http.MethodGet, path: path, as: c.as}
	r.try(ctx, "contract.location", g, "", func(a *answer) string {
		if a.err == nil && a.status == 404 {
			return "Location of an answer 201 leads to nothing"
		}
		return ""
	})
}

// reads are the tests of a GET: HEAD, conditions, defaults, filters, pages.
func (r *run) reads(ctx context.Context, o *operation, c call, a *answer) {
	h := c.with(func(d *call) { d.method = http.MethodHead })
	r.try(ctx, "contract.head", h, "", func(b *answer) string {
		switch {
		case b.err != nil || b.status == 429:
			return ""
		case b.status != a.status:
			return fmt.Sprintf("HEAD is answered %d, GET %d", b.status, a.status)
		case len(b.body) > 0:
			return "the answer to HEAD has a body"
		case b.media() != a.media() && b.media() != "":
			return "HEAD and GET have different media types"
		}
		return ""
	})
	r.mu.Lock() // once nobody else changes it any more
	r.later = append(r.later, func() { r.versions(ctx, o, c) })
	r.mu.Unlock()
	if d := c.with(func(d *call) { d.query = nil }); o.admits(&d) { // values made up for other parameters may leave nothing to compare
		if b := r.send(ctx, d); b.ok() {
			c, a = d, b
		}
	}
	r.mu.Lock()
	r.later = append(r.later, func() { r.defaults(ctx, o, c) })
	r.mu.Unlock()
	for _, p := range o.d.Params {
		if p.In != sallyport.InQuery {
			continue
		}
		s := shapeOf(p.Schema)
		for _, v := range s.enum {
			r.try(ctx, "contract.filter", c.with(func(d *call) { d.drop(p); d.give(p, v) }), "query "+p.Name, func(b *answer) string {
				if !b.ok() {
					return ""
				}
				for _, e := range elements(b.value()) {
					if m, ok := e.(map[string]any); ok && m[p.Name] != nil && !same(m[p.Name], v) {
						return "a filter lets through what it should not"
					}
				}
				return ""
			})
		}
		if n := strings.ToLower(p.Name); (n == "limit" || n == "per_page" || n == "pagesize" || n == "page_size" || n == "perpage" || n == "size") && s.is("integer") {
			r.mu.Lock() // once nobody else makes things any more
			r.later = append(r.later, func() { r.pages(ctx, o, c, p) })
			r.mu.Unlock()
		}
	}
}

// defaults compares answers without a parameter and with its default.
func (r *run) defaults(ctx context.Context, o *operation, c call) {
	a := r.send(ctx, c)
	stable := r.send(ctx, c)
	if stable.ok() && a.ok() && bytes.Equal(stable.body, a.body) {
		for _, p := range o.d.Params {
			s := shapeOf(p.Schema)
			if p.In != sallyport.InQuery || s.fallback == nil {
				continue
			}
			bare := c.with(func(d *call) { d.drop(p) })
			without := r.send(ctx, bare)
			r.try(ctx, "contract.default", c.with(func(d *call) { d.drop(p); d.give(p, s.fallback) }), "query "+p.Name, func(b *answer) string {
				if !b.ok() || !without.ok() || bytes.Equal(b.body, without.body) {
					return ""
				}
				if x := r.send(ctx, bare); !bytes.Equal(x.body, without.body) {
					without = x // others change it meanwhile
					return ""
				}
				return "the answer without the parameter is another than with its default"
			})
		}
	}
}

// versions asks for parts, and under conditions, of what is read.
func (r *run) versions(ctx context.Context, o *operation, c call) {
	a := r.send(ctx, c)
	if !a.ok() {
		return
	}
	r.ranges(ctx, o, c, a)
	r.since(ctx, c, a)
	if tag := a.header.Get("ETag"); tag != "" {
		r.try(ctx, "contract.conditional", c.with(func(d *call) { d.set("If-None-Match", tag) }), "", func(b *answer) string {
			if b.ok() && b.header.Get("ETag") == tag {
				return fmt.Sprintf("If-None-Match with the current entity tag is answered %d instead of 304 (RFC 9110 section 13.1.2)", b.status)
			}
			if b.status == 304 && len(b.body) > 0 {
				return "the answer 304 has a body"
			}
			return ""
		})
		r.try(ctx, "contract.conditional", c.with(func(d *call) { d.set("If-None-Match", `"sallyport-none"`) }), "other tag", func(b *answer) string {
			if b.status == 304 {
				return "If-None-Match with another entity tag is answered 304"
			}
			return ""
		})
	}
}

func (r *run) negotiates(ctx context.Context, o *operation, c call) {
	if !o.declares("406") || o.Method != http.MethodGet {
		return
	}
	r.try(ctx, "contract.negotiation", c.with(func(d *call) { d.set("Accept", "application/x-sallyport") }), "", func(a *answer) string {
		if a.ok() {
			return fmt.Sprintf("a media type that is not there was asked for and %d is answered; 406 is declared", a.status)
		}
		return ""
	})
}

// idempotent sends a request with an Idempotency-Key twice.
func (r *run) idempotent(ctx context.Context, o *operation) {
	if !slices.ContainsFunc(o.d.Params, func(p spec.DeclaredParam) bool { return strings.EqualFold(p.Name, "Idempotency-Key") }) || o.Method != http.MethodPost {
		return
	}
	base, ok := r.base1(o)
	if !ok {
		return
	}
	c, ok := r.valid(ctx, o, base.as, false, 0)
	if !ok {
		return
	}
	first := r.send(ctx, c)
	if !first.ok() {
		return
	}
	r.born(o.list, c, first)
	r.try(ctx, "contract.idempotency-key", c, "", func(b *answer) string {
		x, y := identifier(first.value(), "id"), identifier(b.value(), "id")
		if b.ok() && x != "" && y != "" && x != y {
			return "the same request with the same Idempotency-Key made a second thing"
		}
		if b.err == nil && b.status >= 500 {
			return fmt.Sprintf("a repeated request with the same Idempotency-Key is answered %d", b.status)
		}
		return ""
	})
	if a, b := r.equals(); a != nil && c.as != nil && (c.as.Name == a.Name || c.as.Name == b.Name) {
		if c.as.Name == b.Name {
			b = a
		}
		d := c.with(func(d *call) { d.as = b })
		got := r.try(ctx, "security.object-level", d, "header Idempotency-Key", func(n *answer) string {
			x, y := identifier(first.value(), "id"), identifier(n.value(), "id")
			if n.ok() && x != "" && x == y {
				return fmt.Sprintf("the key that %s used gives %s what %s made", c.as.Name, b.Name, c.as.Name)
			}
			return ""
		})
		r.born(o.list, d, got)
	}
	other, ok := r.again(ctx, o, c)
	if !ok || bytes.Equal(other.body, c.body) || !o.declares("422") && !o.declares("409") {
		return
	}
	for _, h := range c.header {
		if strings.EqualFold(h.name, "Idempotency-Key") {
			other.set(h.name, h.value)
		}
	}
	r.try(ctx, "contract.idempotency-key", other, "other request", func(b *answer) string {
		if b.ok() {
			return fmt.Sprintf("another request under an Idempotency-Key already used is answered %d", b.status)
		}
		return ""
	})
}

func (r *run) base1(o *operation) (call, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.bases[o.key]
	return c, ok
}

// pages walks a list in steps of two and looks for what is lost or repeated.
func (r *run) pages(ctx context.Context, o *operation, c call, limit spec.DeclaredParam) {
	for range 5 {
		if o.list != nil {
			r.thing(ctx, o.list, c.as, true, 0)
		}
	}
	var step *spec.DeclaredParam
	for i, p := range o.d.Params {
		if n := strings.ToLower(p.Name); p.In == sallyport.InQuery && (strings.Contains(n, "cursor") || n == "offset" || n == "page" || strings.Contains(n, "after") || strings.Contains(n, "page_token") || n == "skip" || n == "start") {
			step = &o.d.Params[i]
		}
	}
	bare := c.with(func(d *call) { d.query = nil })
	for _, n := range []int64{1, 2} {
		r.try(ctx, "contract.page-size", bare.with(func(d *call) { d.give(limit, n) }), "query "+limit.Name, func(a *answer) string {
			if l := elements(a.value()); a.ok() && int64(len(l)) > n {
				return fmt.Sprintf("%d items on a page of %d", len(l), n)
			}
			return ""
		})
	}
	if step == nil {
		return
	}
	keyset := strings.Contains(strings.ToLower(step.Name), "after")
	walk := func() (string, call) {
		var ids []string
		next, d := "", bare.with(func(d *call) { d.give(limit, int64(2)) })
		for page := range 60 {
			d = bare.with(func(d *call) { d.give(limit, int64(2)) })
			switch n := strings.ToLower(step.Name); {
			case page == 0:
			case n == "offset" || n == "skip" || n == "start":
				d.give(*step, int64(2*page))
			case n == "page":
				d.give(*step, int64(page+1))
			case next == "" && keyset && len(ids) > 0: // the key of the last item is where the next page begins
				d.give(*step, ids[len(ids)-1])
			case next == "":
				return finish(ids, r, ctx, bare, limit, o), d
			default:
				d.give(*step, next)
			}
			a := r.send(ctx, d)
			if !a.ok() {
				if page > 0 && a.err == nil && a.status != 429 {
					return fmt.Sprintf("page %d is answered %d", page+1, a.status), d
				}
				return "", d
			}
			list := elements(a.value())
			for _, e := range list {
				id := identifier(e, "id")
				if id != "" && slices.Contains(ids, id) {
					return fmt.Sprintf("page %d repeats an item of an earlier page", page+1), d
				}
				ids = append(ids, id)
			}
			next = cursor(a)
			if len(list) < 2 && next == "" {
				return finish(ids, r, ctx, bare, limit, o), d
			}
			if len(list) == 0 {
				if next != "" && page > 2 {
					return "", d
				}
			}
		}
		return "", d
	}
	r.judged("contract.pagination", o)
	if why, d := walk(); why != "" {
		if again, _ := walk(); again != "" {
			r.find("contract.pagination", d, Finding{Place: "query " + step.Name, Detail: why, Seen: "2 of 2"})
		}
	}
}

// finish compares a walk with one large page.
func finish(ids []string, r *run, ctx context.Context, bare call, limit spec.DeclaredParam, o *operation) string {
	most := int64(100)
	if _, high := shapeOf(limit.Schema).bounds(); high < 100 {
		most = int64(high)
	}
	a := r.send(ctx, bare.with(func(d *call) { d.give(limit, most) }))
	if !a.ok() || cursor(a) != "" {
		return ""
	}
	for _, e := range elements(a.value()) {
		if id := identifier(e, "id"); id != "" && !slices.Contains(ids, id) {
			return "a walk over small pages loses an item that one large page holds"
		}
	}
	return ""
}

// cursor is where an answer says that the next page begins.
func cursor(a *answer) string {
	var find func(v any, depth int) string
	find = func(v any, depth int) string {
		o, _ := v.(map[string]any)
		for _, k := range []string{"next_cursor", "nextCursor", "next", "cursor", "nextPageToken", "next_page_token", "after", "endCursor"} {
			if s, ok := o[k].(string); ok && s != "" {
				if u, err := url.Parse(s); err == nil && u.RawQuery != "" {
					for _, q := range []string{"cursor", "after", "page_token", "pageToken", "starting_after"} {
						if v := u.Query().Get(q); v != "" {
							return v
						}
					}
				}
				return s
			}
		}
		for _, k := range []string{"page", "meta", "paging", "pagination", "pageInfo", "links"} {
			if depth < 2 && o[k] != nil {
				if s := find(o[k], depth+1); s != "" {
					return s
				}
			}
		}
		return ""
	}
	return find(a.value(), 0)
}

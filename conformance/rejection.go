package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"sallyport.dev"
	"sallyport.dev/spec"
)

// A breach is a value that breaks one constraint.
type breach struct {
	check string
	value any
}

// breaches are the values that break one constraint of a shape each. Whether
// they break exactly that is for the validators to say.
func (r *run) breaches(s *shape, text bool, salt string) (out []breach) {
	m := &maker{rng: r.rng("breach", salt)}
	add := func(check string, v any) { out = append(out, breach{"reject." + check, v}) }
	if len(s.enum) > 0 {
		if _, ok := s.enum[0].(string); ok {
			add("enum", "sallyport-none")
			for _, v := range []string{"admin", "paid", "approved", "active", "ADMIN"} { // what would confer something
				add("enum", v)
			}
		} else {
			add("enum", int64(99887))
		}
	}
	switch {
	case s.is("integer"), s.is("number"):
		add("type", "sallyport")
		if s.is("integer") {
			low, high := s.bounds()
			add("type", math.Min(math.Max(low, 1), high-1)+0.5)
		}
		if low, high := s.bounds(); true {
			for _, n := range []float64{low - s.step(), high + s.step()} {
				if math.IsInf(n, 0) || math.Abs(n) > 1e15 {
					continue
				}
				if s.is("integer") {
					add("range", int64(n))
				} else {
					add("range", n)
				}
			}
			if s.multiple > 0 && !math.IsInf(low, 0) {
				add("multiple", low+s.multiple/2)
			}
		}
	case s.is("boolean"):
		add("type", "sallyport")
	case s.is("string"):
		if !text {
			add("type", int64(7))
		}
		for _, n := range []int{s.minLen - 1, s.maxLen + 1} {
			if n < 0 || n == 0 && s.maxLen < 0 && s.minLen < 1 || n > 100_000 || n == s.maxLen+1 && s.maxLen < 0 {
				continue
			}
			x := *s
			x.minLen, x.maxLen = n, n
			if v, ok := m.text(&x, ""); ok && len([]rune(v.(string))) == n {
				add("length", v)
			} else {
				add("length", strings.Repeat("a", n))
			}
		}
		if s.pattern != "" {
			base, ok := m.text(s, "")
			if ok {
				add("pattern", "-"+base.(string))
			}
			for _, bad := range []string{" ", "\u00e9", "!", "a", "A", "0", "/"} {
				add("pattern", bad)
				if ok {
					t := []rune(base.(string))
					if len(t) > 0 {
						t[len(t)-1] = []rune(bad)[0]
						add("pattern", string(t))
					}
				}
			}
		}
		switch s.format {
		case "uuid", "date", "date-time", "time", "ipv4", "ipv6", "byte":
			add("format", "!sallyport!")
		}
	case s.is("array"):
		if !text {
			add("type", "sallyport")
		}
		if s.maxItems >= 0 && s.maxItems < 500 {
			x := *s
			x.maxItems = -1
			if v, ok := m.array(&x, "", s.maxItems+1, 0); ok && len(v.([]any)) == s.maxItems+1 {
				add("items", v)
			}
		}
		if s.minItems == 1 {
			add("items", []any{})
		}
		if s.unique {
			if v, ok := m.array(s, "", 1, 0); ok && len(v.([]any)) == 1 {
				x := v.([]any)[0]
				add("unique", []any{x, x})
			}
		}
	case s.is("object"):
		if !text {
			add("type", "sallyport")
		}
	}
	if !text && len(s.types) > 0 && !s.is("null") && len(s.enum) == 0 {
		add("null", nil)
	}
	return out
}

// refuses judges a request that must be refused and change nothing.
func (r *run) refuses(ctx context.Context, id string, c call, place, what string) {
	if r.known(id, c.op, place) {
		return
	}
	before := r.state(ctx, c)
	a := r.try(ctx, id, c, place, func(a *answer) string {
		switch {
		case a.err != nil && c.body != nil && len(c.body) > 1<<20: // closing the connection on it is an answer too
			return ""
		case a.err != nil:
			return "no whole answer: " + plainError(a.err)
		case a.status >= 500:
			return fmt.Sprintf("%s is answered %d instead of 4xx", what, a.status)
		case a.status < 400:
			return fmt.Sprintf("%s is accepted with %d", what, a.status)
		}
		return ""
	})
	if c.method == http.MethodPost && a.ok() && c.op != nil {
		r.born(c.op.list, c, a)
	}
	if !a.refused() {
		return
	}
	r.leaks(ctx, c, a)
	if a.status != 429 {
		r.conforms(ctx, c, a)
	}
	if before == nil {
		return
	}
	r.judged("reject.trace", c.op)
	if after := r.state(ctx, c); after != nil && !bytes.Equal(before, after) {
		if again := r.state(ctx, c); bytes.Equal(again, after) { // and not something that moves by itself
			r.find("reject.trace", c, Finding{Place: place, Detail: "a refused request has changed what it was about", Status: a.status})
		}
	}
}

// state is what a changing request would change, as it reads.
func (r *run) state(ctx context.Context, c call) []byte {
	if c.op == nil || c.op.reader() == nil || c.method != http.MethodPut && c.method != http.MethodPatch && c.method != http.MethodDelete {
		return nil
	}
	a := r.send(ctx, call{op: c.op.reader(), method: http.MethodGet, path: c.path, as: c.as})
	if !a.ok() {
		return nil
	}
	return a.body
}

// rejection breaks each constraint of an operation once.
func (r *run) rejection(ctx context.Context, o *operation) {
	c, ok := r.base1(o)
	if !ok {
		// What never succeeded may still refuse what is broken.
		if c, ok = r.valid(ctx, o, &r.Identities[0], true, 0); !ok {
			return
		}
	}
	if o.item != nil && (o.Method == http.MethodPut || o.Method == http.MethodPatch || o.Method == http.MethodDelete) {
		m := r.thing(ctx, o.item, c.as, true, 0)
		if m == nil && r.Profile == Safe {
			return
		}
		if m != nil {
			c.path = m.path
		}
		if slices.ContainsFunc(o.d.Params, func(p spec.DeclaredParam) bool { return strings.EqualFold(p.Name, "If-Match") }) {
			if d, ok := r.tagged(ctx, c); ok {
				c = d
			}
		}
	}
	exact := func(d *call) bool { return len(o.broken(r.Spec, d)) == 1 }
	for _, p := range o.d.Params {
		place := string(p.In) + " " + p.Name
		if p.Schema.Value == nil || p.In == sallyport.InCookie || slices.Contains(steering, strings.ToLower(p.Name)) {
			continue
		}
		s := shapeOf(p.Schema)
		if p.Required && p.In != sallyport.InPath {
			if d := c.with(func(d *call) { d.drop(p) }); exact(&d) {
				r.refuses(ctx, "reject.required", d, place, "a request without "+place)
			}
		}
		done := map[string]int{}
		for _, b := range r.breaches(s, true, o.key+p.Name) {
			if b.check == "reject.null" || done[b.check] >= 2 || p.In == sallyport.InPath && !strings.HasSuffix(c.op.Template, "{"+p.Name+"}") {
				continue
			}
			d := c.with(func(d *call) {
				if p.In == sallyport.InPath {
					d.path = d.path[:strings.LastIndexByte(d.path, '/')+1] + pathText(b.value)
					return
				}
				d.drop(p)
				d.give(p, b.value)
			})
			if p.In == sallyport.InHeader && scalar(b.value) == "" || !exact(&d) || strings.HasSuffix(d.path, "/") {
				continue
			}
			done[b.check]++
			r.refuses(ctx, b.check, d, place, "a value that breaks the "+strings.TrimPrefix(b.check, "reject.")+" of "+place)
		}
	}
	r.uploads(ctx, o, c)
	r.raw(ctx, o, c)
	media, n, ok := o.jsonBody()
	if !ok || !strings.Contains(media, "json") {
		return
	}
	r.bodies(ctx, o, c, media, n)
	r.forms(ctx, o, c, media)
}

func pathText(v any) string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(scalar(v), "%", "%25"), "/", "%2F"), " ", "%20")
}

// bodies breaks each constraint of a body once, at every depth.
func (r *run) bodies(ctx context.Context, o *operation, c call, media string, n spec.Node) {
	type spot struct {
		path []string
		prop prop
	}
	var spots []spot
	var walk func(n spec.Node, path []string)
	walk = func(n spec.Node, path []string) {
		if len(path) > 4 || len(spots) > 60 {
			return
		}
		for _, p := range shapeOf(n).props {
			s := shapeOf(p.node)
			if s.readOnly {
				continue
			}
			at := append(slices.Clone(path), p.name)
			spots = append(spots, spot{at, p})
			if s.is("object") {
				walk(p.node, at)
			} else if s.is("array") && shapeOf(s.items).is("object") {
				walk(s.items, append(at, "0"))
			}
		}
	}
	walk(n, nil)
	change := func(path []string, f func(map[string]any, string)) (call, bool) {
		d, ok := r.again(ctx, o, c)
		if !ok {
			return d, false
		}
		for _, h := range c.header {
			if strings.EqualFold(h.name, "If-Match") {
				d.set(h.name, h.value)
			}
		}
		var body any
		if json.Unmarshal(d.body, &body) != nil {
			return d, false
		}
		at := body
		for _, k := range path[:len(path)-1] {
			switch x := at.(type) {
			case map[string]any:
				at = x[k]
			case []any:
				if len(x) == 0 {
					return d, false
				}
				at = x[0]
			}
		}
		m, ok := at.(map[string]any)
		if !ok {
			return d, false
		}
		f(m, path[len(path)-1])
		d.body = encode(media, body)
		return d, len(o.broken(r.Spec, &d)) == 1
	}
	for _, s := range spots {
		place := "body /" + strings.Join(s.path, "/")
		if s.prop.required {
			if d, ok := change(s.path, func(m map[string]any, k string) { delete(m, k) }); ok {
				r.refuses(ctx, "reject.required", d, place, "a body without "+place)
			}
		}
		done := map[string]int{}
		for _, b := range r.breaches(shapeOf(s.prop.node), false, o.key+place) {
			if done[b.check] >= 2 && b.check != "reject.enum" && (b.check != "reject.pattern" || done[b.check] >= 4) || ctx.Err() != nil {
				continue
			}
			if d, ok := change(s.path, func(m map[string]any, k string) { m[k] = b.value }); ok {
				done[b.check]++
				r.refuses(ctx, b.check, d, place, "a value that breaks the "+strings.TrimPrefix(b.check, "reject.")+" of "+place)
			}
		}
	}
	for _, s := range spots {
		sh := shapeOf(s.prop.node)
		if !sh.is("array") {
			continue
		}
		place := "body /" + strings.Join(s.path, "/")
		if sh.maxItems > 0 && sh.maxItems < 500 && !sh.unique { // more of what is there, so that nothing else is wrong
			if d, ok := change(s.path, func(m map[string]any, k string) {
				if l, ok := m[k].([]any); ok && len(l) > 0 {
					for len(l) <= sh.maxItems {
						l = append(l, l[0])
					}
					m[k] = l
				}
			}); ok {
				r.refuses(ctx, "reject.items", d, place, "a list longer than "+place+" may be")
			}
		}
		done := map[string]int{}
		for _, b := range r.breaches(shapeOf(sh.items), false, o.key+place+"/*") {
			if done[b.check] >= 2 || ctx.Err() != nil || shapeOf(sh.items).is("object") {
				continue
			}
			if d, ok := change(s.path, func(m map[string]any, k string) { m[k] = []any{b.value} }); ok {
				done[b.check]++
				r.refuses(ctx, b.check, d, place+"/*", "an item that breaks the "+strings.TrimPrefix(b.check, "reject.")+" of "+place)
			}
		}
	}
	for _, s := range spots {
		sh := shapeOf(s.prop.node)
		if sh.closed || !sh.is("object") || len(sh.props) > 0 || len(sh.choices) > 0 {
			continue
		}
		place := "body /" + strings.Join(s.path, "/")
		d, ok := change(s.path, func(m map[string]any, k string) { m[k] = "sallyport-deep" })
		if !ok {
			continue
		}
		const levels = 1000
		deep := strings.Repeat(`{"a":`, levels) + "1" + strings.Repeat("}", levels)
		d.body = bytes.Replace(d.body, []byte(`"sallyport-deep"`), []byte(deep), 1)
		r.refuses(ctx, "reject.depth", d, place, fmt.Sprintf("a value nested %d deep", levels))
	}
	for _, path := range [][]string{{"sallyportUnknown"}} {
		if d, ok := change(path, func(m map[string]any, k string) { m[k] = "x" }); ok {
			r.refuses(ctx, "reject.additional", d, "body", "a member that the schema does not admit")
		}
	}
	for _, s := range spots {
		if sh := shapeOf(s.prop.node); sh.is("object") {
			if d, ok := change(append(slices.Clone(s.path), "sallyportUnknown"), func(m map[string]any, k string) { m[k] = "x" }); ok {
				r.refuses(ctx, "reject.additional", d, "body /"+strings.Join(s.path, "/"), "a member that the schema does not admit")
			}
		}
	}
}

// forms breaks the form of a body: its media type, syntax, encoding, size.
func (r *run) forms(ctx context.Context, o *operation, c call, media string) {
	form := func(id, place, what string, f func(*call)) {
		if d, ok := r.again(ctx, o, c); ok {
			for _, h := range c.header {
				if strings.EqualFold(h.name, "If-Match") {
					d.set(h.name, h.value)
				}
			}
			f(&d)
			r.refuses(ctx, id, d, place, what)
		}
	}
	form("reject.media-type", "header Content-Type", "a body of a media type that is not declared", func(d *call) { d.media = "application/x-sallyport" })
	form("reject.syntax", "body", "a body that is cut off", func(d *call) { d.body = d.body[:max(1, len(d.body)-1)] })
	form("reject.syntax", "body behind", "a body with text behind its value", func(d *call) { d.body = append(slices.Clone(d.body), "}{"...) })
	form("reject.encoding", "body", "a body that is not UTF-8", func(d *call) {
		i := bytes.LastIndexByte(d.body, '"')
		j := bytes.LastIndex(d.body, []byte(`":"`))
		if i > 0 && j > 0 {
			d.body = slices.Concat(d.body[:j+3], []byte{0xff, 0xfe}, d.body[j+3:])
		} else {
			d.body = []byte{'"', 0xff, '"'}
		}
	})
	form("reject.duplicate-key", "body", "a body that holds a name twice", func(d *call) {
		var m map[string]json.RawMessage
		if json.Unmarshal(d.body, &m) == nil {
			names := make([]string, 0)
			for k := range m {
				names = append(names, k)
			}
			slices.Sort(names)
			if len(names) > 0 {
				d.body = slices.Concat(d.body[:len(d.body)-1], fmt.Appendf(nil, ",%q:%s}", names[0], m[names[0]]))
				return
			}
		}
		d.body = []byte(`{"a":1,"a":2}`)
	})
	form("reject.depth", "body", "a body nested 20 000 deep", func(d *call) {
		d.body = bytes.Repeat([]byte("["), 20_000)
		d.body = append(d.body, bytes.Repeat([]byte("]"), 20_000)...)
	})
	if o.d.BodyRequired {
		form("reject.required", "body", "a request without its body", func(d *call) { d.body, d.media = nil, "" })
	}
	if o.declares("413") {
		form("reject.oversize", "body", "a body of 11 MB; 413 is declared", func(d *call) { d.body = append(slices.Clone(d.body), bytes.Repeat([]byte(" "), 11<<20)...) })
	}
}

// raw breaks bodies that are neither JSON nor forms.
func (r *run) raw(ctx context.Context, o *operation, c call) {
	if _, _, ok := o.jsonBody(); ok || c.body == nil || strings.HasPrefix(c.media, "multipart/") || len(o.d.Bodies) == 0 {
		return
	}
	change := func(id, place, what string, f func(*call)) {
		d := c.with(f)
		if o.takes("If-Match") {
			if t, ok := r.tagged(ctx, d); ok {
				d = t
			}
		}
		r.refuses(ctx, id, d, place, what)
	}
	change("reject.media-type", "header Content-Type", "a body of a media type that is not declared", func(d *call) { d.media = "application/x-sallyport" })
	if o.declares("413") {
		change("reject.oversize", "body", "a body of 11 MB; 413 is declared", func(d *call) { d.body = bytes.Repeat([]byte("large "), 11<<20/6) })
	}
	if s := shapeOf(o.d.Bodies[0].Schema); s.minLen > 0 {
		change("reject.length", "body", "an empty body", func(d *call) { d.body = []byte{} })
	}
}

func breaks(pattern, text string) bool {
	re, err := regexp.Compile(pattern)
	return err == nil && !re.MatchString(text)
}

package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// references names things that are not there: who refers to something is told.
func (r *run) references(ctx context.Context) {
	for _, o := range r.ops {
		b, ok := r.base1(o)
		if !ok || o.skip || ctx.Err() != nil || o.Method == http.MethodGet || o.Method == http.MethodDelete {
			continue
		}
		c, ok := r.ready(ctx, o, b.as, false)
		if !ok || len(c.refs) == 0 {
			continue
		}
		for _, id := range slices.Compact(slices.Clone(c.refs)) {
			m := &maker{rng: r.rng("reference", o.key, id)}
			none := m.uuid()
			d := c.with(func(d *call) { d.body = bytes.ReplaceAll(d.body, []byte(`"`+id+`"`), []byte(`"`+none+`"`)) })
			if bytes.Equal(d.body, c.body) || !o.admits(&d) || len(id) != len(none) {
				continue
			}
			for _, h := range d.header {
				if strings.EqualFold(h.name, "Idempotency-Key") {
					d.set(h.name, m.uuid())
				}
			}
			a := r.try(ctx, "state.unknown-reference", d, "body", func(a *answer) string {
				if a.ok() {
					return fmt.Sprintf("a body that names something that is not there is answered %d", a.status)
				}
				return ""
			})
			if o.Method == http.MethodPost {
				r.born(o.list, d, a)
			}
			break
		}
	}
}

// transitions walks the states that a member names, in every order, where 409
// is declared: some order is refused, or the declaration is not true.
func (r *run) transitions(ctx context.Context) {
	if r.Profile == Safe {
		return
	}
	for _, x := range r.sorted() {
		as := r.maker(ctx, x)
		if as == nil || ctx.Err() != nil {
			continue
		}
		for _, o := range []*operation{x.patch, x.put} {
			if o != nil && !o.skip && o.declares("409") {
				r.walks(ctx, x, o, as)
			}
		}
		r.actions(ctx, x, as)
	}
}

func (r *run) walks(ctx context.Context, x *resource, o *operation, as *Identity) {
	media, n, ok := o.jsonBody()
	if !ok || !strings.Contains(media, "json") {
		return
	}
	for _, p := range shapeOf(n).props {
		s := shapeOf(p.node)
		l := strings.ToLower(p.name)
		if len(s.enum) < 2 || len(s.enum) > 6 || l != "status" && l != "state" && l != "phase" && l != "stage" {
			continue
		}
		taken, refused := 0, 0
		var last call
		for _, from := range s.enum {
			for _, to := range s.enum {
				if same(from, to) {
					continue
				}
				m := r.thing(ctx, x, as, true, 0)
				if m == nil {
					return
				}
				for i, v := range []any{from, to} {
					c, ok := r.valid(ctx, o, as, true, 0)
					var body map[string]any
					if !ok || json.Unmarshal(c.body, &body) != nil {
						return
					}
					body[p.name] = v
					c.path, c.body = m.path, encode(media, body)
					if tag := r.tagAt(ctx, o, m.path, as); tag != "" && o.takes("If-Match") {
						c.set("If-Match", tag)
					}
					if !o.admits(&c) {
						return
					}
					a := r.preconditioned(ctx, c, r.send(ctx, c))
					switch {
					case a.refused():
						refused++
					case i == 1 && a.ok():
						taken, last = taken+1, c
					}
				}
			}
		}
		r.judged("state.transition", o)
		if refused == 0 && taken > 0 {
			r.find("state.transition", last, Finding{Place: "body /" + p.name, Detail: fmt.Sprintf("every %s may follow every other, and 409 is declared for those that may not", p.name)})
		}
	}
}

// actions are POSTs to a verb below a thing (/payments/{id}/void). Where 409 is
// declared, one that was done is not done again.
func (r *run) actions(ctx context.Context, x *resource, as *Identity) {
	var verbs []*operation
	for _, o := range r.ops {
		rest, ok := strings.CutPrefix(o.Template, x.path+"/")
		if ok && o.Method == http.MethodPost && !strings.Contains(rest, "/") && !strings.Contains(rest, "{") && o.same == nil && o.declares("409") && !o.skip {
			verbs = append(verbs, o)
		}
	}
	if x.read == nil || x.read.skip {
		return
	}
	do := func(o *operation, m *made) (call, *answer) {
		c, ok := r.valid(ctx, o, as, false, 0)
		if !ok {
			return c, &answer{err: errBudget}
		}
		c.path = m.path + o.Template[len(x.path):]
		return c, r.send(ctx, c)
	}
	state := func(m *made) string {
		got, _ := r.send(ctx, call{op: x.read, method: http.MethodGet, path: m.path, as: as}).value().(map[string]any)
		for _, k := range []string{"state", "status", "phase", "stage"} {
			if t, ok := got[k].(string); ok {
				return t
			}
		}
		return ""
	}
	for _, o := range verbs {
		m := r.thing(ctx, x, as, true, 0)
		if m == nil || ctx.Err() != nil {
			return
		}
		before := state(m)
		if _, a := do(o, m); !a.ok() {
			continue
		}
		after := state(m)
		if before == "" || after == before {
			continue // it did not end anything
		}
		c, a := do(o, m)
		r.judged("state.transition", o)
		if a.ok() {
			r.find("state.transition", c, Finding{Place: "again", Status: a.status,
				Detail: fmt.Sprintf("it leads from %q to %q, and is done again there: %d; 409 is declared for states that do not allow it", before, after, a.status)})
		}
	}
}

// order compares the order of a list over repeats: pages of a list that moves lose items.
func (r *run) order(ctx context.Context, c call) {
	ids := func(a *answer) (out []string) {
		for _, e := range elements(a.value()) {
			out = append(out, identifier(e, c.op.listParam()))
		}
		return out
	}
	want := ids(r.send(ctx, c))
	if len(want) < 2 || slices.Contains(want, "") {
		return
	}
	other := 0
	r.judged("operations.order", c.op)
	for range 3 {
		got := ids(r.send(ctx, c))
		x, y := slices.Clone(got), slices.Clone(want)
		slices.Sort(x)
		slices.Sort(y)
		if !slices.Equal(x, y) {
			return // it has changed meanwhile
		}
		if !slices.Equal(got, want) {
			other++
		}
	}
	if other > 0 {
		r.find("operations.order", c, Finding{Detail: "the same list comes in another order, with nothing changed", Seen: fmt.Sprintf("%d of 3", other)})
	}
}

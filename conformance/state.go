package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// states walks the life of each resource: made, read, changed, listed, deleted.
func (r *run) states(ctx context.Context) {
	for _, x := range r.sorted() {
		if ctx.Err() != nil {
			return
		}
		as := r.maker(ctx, x)
		if as == nil {
			continue
		}
		m := r.thing(ctx, x, as, true, 0)
		if m == nil {
			continue
		}
		if x.make.open() && x.read != nil && !x.read.skip && !x.read.open() { // such as a sign-up: it belongs to nobody that calls
			for i := range r.Identities {
				if r.send(ctx, call{op: x.read, method: http.MethodGet, path: m.path, as: as}).ok() {
					break
				}
				as = &r.Identities[i]
			}
		}
		r.chain(ctx, x, as, m)
		r.foreign(ctx, x, as, m)
	}
}

// maker is the first identity that can make something of a resource.
func (r *run) maker(ctx context.Context, x *resource) *Identity {
	if x.make == nil {
		return nil
	}
	if c, ok := r.base1(x.make); ok && c.as != nil {
		return c.as
	}
	return nil
}

func (r *run) chain(ctx context.Context, x *resource, as *Identity, m *made) {
	get := call{op: x.read, method: http.MethodGet, path: m.path, as: as}
	live := x.read != nil && !x.read.skip
	var read *answer
	if live {
		read = r.send(ctx, get)
		r.weigh(ctx, "state.read-after-create", get, read, "", func(a *answer) string {
			if a.err == nil && !a.ok() && a.status != 403 {
				return fmt.Sprintf("what was just made is answered %d", a.status)
			}
			return ""
		})
		r.holds(ctx, x.make, m.call, read, "state.kept", "what was made reads otherwise")
	}
	if x.all != nil && !x.all.skip {
		if c, ok := r.valid(ctx, x.all, as, true, 0); ok && strings.HasPrefix(m.path, c.path+"/") {
			r.judged("state.listed", x.all)
			if r.lists(ctx, c, m.id) == 0 && r.lists(ctx, c, m.id) == 0 {
				r.find("state.listed", c, Finding{Detail: "what was just made is not in the list", Seen: "2 of 2"})
			}
		}
	}
	tag := ""
	if read != nil {
		tag = read.header.Get("ETag")
	}
	changed := false
	for _, o := range []*operation{x.put, x.patch} {
		if o == nil || o.skip {
			continue
		}
		c, ok := r.valid(ctx, o, as, false, 0)
		if !ok {
			continue
		}
		c.path = m.path
		if o.takes("If-Match") && live {
			if d, ok := r.tagged(ctx, c); ok {
				c = d
			}
		}
		a := r.preconditioned(ctx, c, r.send(ctx, c))
		r.conforms(ctx, c, a)
		if !a.ok() || !live {
			continue
		}
		changed = true
		after := r.send(ctx, get)
		r.holds(ctx, o, c, after, "state.read-your-writes", "what was written reads otherwise")
		if o.Method == http.MethodPatch && read.ok() {
			r.untouched(ctx, o, c, read, after)
		}
		if now := after.header.Get("ETag"); tag != "" && now == tag && !bytes.Equal(after.body, read.body) {
			r.judged("state.etag-changes", o)
			r.find("state.etag-changes", get, Finding{Detail: "what was changed keeps its entity tag"})
		} else if tag != "" {
			r.judged("state.etag-changes", o)
		}
		if o.Method == http.MethodPut && !o.takes("Idempotency-Key") {
			d := c
			if o.takes("If-Match") {
				if t, ok := r.tagged(ctx, c); ok {
					d = t
				}
			}
			b := r.send(ctx, d)
			again := r.send(ctx, get)
			r.judged("state.put-idempotent", o)
			if b.err == nil && b.status >= 500 || b.ok() && again.status == 404 {
				r.find("state.put-idempotent", d, Finding{Detail: fmt.Sprintf("the same PUT again is answered %d", b.status), Status: b.status})
			}
		}
		if tag != "" && o.takes("If-Match") {
			d := c.with(func(d *call) { d.set("If-Match", tag) })
			if f, ok := r.again(ctx, o, c); ok {
				d.body = f.body
			}
			if cur := r.send(ctx, get); cur.header.Get("ETag") != tag {
				r.try(ctx, "state.stale-etag", d, "", func(a *answer) string {
					if a.err == nil && a.status != 412 && a.status != 409 && a.status != 428 {
						return fmt.Sprintf("a change under a stale entity tag is answered %d instead of 412", a.status)
					}
					return ""
				})
				r.judged("state.lost-update", o)
			}
			e := c.with(func(d *call) { d.set("If-Match", "") })
			if o.declares("428") {
				r.try(ctx, "state.precondition-required", e, "", func(a *answer) string {
					if a.ok() {
						return fmt.Sprintf("a change without If-Match is answered %d; 428 is declared", a.status)
					}
					return ""
				})
			}
			for range 3 { // a race is not always lost
				if r.race(ctx, o, c, get) {
					break
				}
			}
		}
		if cur := r.send(ctx, get); cur.ok() {
			read, tag = cur, cur.header.Get("ETag")
		}
	}
	_ = changed
	if x.gone == nil || x.gone.skip {
		return
	}
	d := call{op: x.gone, method: http.MethodDelete, path: m.path, as: as}
	if x.gone.takes("If-Match") {
		if tag != "" && x.gone.declares("412") {
			r.try(ctx, "state.stale-etag", d.with(func(d *call) { d.set("If-Match", `"sallyport-stale"`) }), "delete", func(a *answer) string {
				if a.ok() {
					return fmt.Sprintf("a deletion under a stale entity tag is answered %d", a.status)
				}
				return ""
			})
		}
		if t, ok := r.tagged(ctx, d); ok {
			d = t
		}
	}
	a := r.preconditioned(ctx, d, r.send(ctx, d))
	r.conforms(ctx, d, a)
	if !a.ok() {
		return
	}
	if live {
		r.try(ctx, "state.use-after-delete", get, "", func(a *answer) string {
			if a.ok() {
				return fmt.Sprintf("what was deleted is answered %d", a.status)
			}
			return ""
		})
	}
	for _, o := range []*operation{x.put, x.patch} {
		if o == nil || o.skip {
			continue
		}
		if c, ok := r.valid(ctx, o, as, false, 0); ok {
			c.path = m.path
			if tag != "" && o.takes("If-Match") {
				c.set("If-Match", tag)
			}
			r.try(ctx, "state.use-after-delete", c, "", func(a *answer) string {
				if a.ok() && a.status != 201 {
					return fmt.Sprintf("a change of what was deleted is answered %d", a.status)
				}
				return ""
			})
		}
	}
	if x.all != nil && !x.all.skip {
		if c, ok := r.valid(ctx, x.all, as, true, 0); ok && strings.HasPrefix(m.path, c.path+"/") {
			r.judged("state.delisted", x.all)
			if r.lists(ctx, c, m.id) == 1 && r.lists(ctx, c, m.id) == 1 {
				r.find("state.delisted", c, Finding{Detail: "what was deleted is still in the list", Seen: "2 of 2"})
			}
		}
	}
	r.try(ctx, "state.delete-idempotent", d.with(func(c *call) {}), "", func(a *answer) string {
		if a.err == nil && (a.status >= 500 || a.ok() && !slices.Contains([]int{200, 202, 204}, a.status) || a.ok() && x.gone.declares("404")) {
			return fmt.Sprintf("the same DELETE again is answered %d", a.status)
		}
		return ""
	})
	r.mu.Lock()
	delete(r.made, m.path)
	r.mu.Unlock()
}

// holds compares what was sent with what is read, for members that both know
// by the same name and that are plain values.
func (r *run) holds(ctx context.Context, o *operation, c call, a *answer, id, what string) {
	if a == nil || !a.ok() || c.body == nil {
		return
	}
	r.judged(id, o)
	if media, _, _ := strings.Cut(a.media(), ";"); !strings.Contains(c.media, "json") {
		if media == c.media && !bytes.Equal(a.body, c.body) {
			r.find(id, c, Finding{Place: "body", Detail: what, Status: a.status})
		}
		return
	}
	var sent map[string]any
	got, _ := a.value().(map[string]any)
	if json.Unmarshal(c.body, &sent) != nil || got == nil {
		return
	}
	for k, v := range sent {
		n := strings.ToLower(k)
		if strings.Contains(n, "password") || strings.Contains(n, "secret") || strings.Contains(n, "token") || strings.Contains(n, "card") || strings.Contains(n, "iban") || strings.Contains(n, "pin") {
			continue
		}
		now, there := got[k]
		if !there {
			continue
		}
		switch v.(type) {
		case string, float64, bool:
		default:
			continue
		}
		if t, ok := v.(string); ok {
			if u, ok := now.(string); ok && strings.EqualFold(strings.TrimSpace(t), strings.TrimSpace(u)) {
				continue
			}
		}
		if !same(now, v) && !sameTime(now, v) {
			r.find(id, c, Finding{Place: "body /" + k, Detail: what, Status: a.status})
		}
	}
}

// sameTime reports whether two texts are the same instant, written in two ways
// (RFC 3339 lets a blank stand for the T).
func sameTime(a, b any) bool {
	read := func(v any) (time.Time, bool) {
		s, ok := v.(string)
		if !ok || len(s) < 10 || len(s) > 40 {
			return time.Time{}, false
		}
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", time.DateOnly, "2006-01-02T15:04:05.999999999"} {
			if t, err := time.Parse(layout, s); err == nil {
				return t, true
			}
		}
		return time.Time{}, false
	}
	x, ok := read(a)
	y, also := read(b)
	return ok && also && x.Sub(y).Abs() < time.Second // some keep less of a second
}

// untouched compares the members that a PATCH did not name.
func (r *run) untouched(ctx context.Context, o *operation, c call, before, after *answer) {
	r.judged("state.patch-only", o)
	var sent map[string]any
	x, _ := before.value().(map[string]any)
	y, _ := after.value().(map[string]any)
	if json.Unmarshal(c.body, &sent) != nil || x == nil || y == nil {
		return
	}
	for k, v := range x {
		n := strings.ToLower(k)
		if _, named := sent[k]; named || strings.Contains(n, "updated") || strings.Contains(n, "modified") || strings.Contains(n, "version") || strings.Contains(n, "etag") || strings.Contains(n, "total") {
			continue
		}
		if u, ok := y[k]; !ok || k == "id" && !same(u, v) {
			r.find("state.patch-only", c, Finding{Place: "body /" + k, Detail: "a PATCH changes a member that it does not name"})
		}
	}
}

// race changes one thing at a time from four sides under one entity tag.
func (r *run) race(ctx context.Context, o *operation, c call, get call) (lost bool) {
	if !o.declares("412") {
		return true
	}
	tag := r.send(ctx, get).header.Get("ETag")
	if tag == "" {
		return true
	}
	var calls []call
	for range 4 {
		d, ok := r.again(ctx, o, c)
		if !ok {
			return true
		}
		d.set("If-Match", tag)
		calls = append(calls, d)
	}
	var wg sync.WaitGroup
	won := make([]bool, len(calls))
	for i, d := range calls {
		wg.Go(func() { won[i] = r.send(ctx, d).ok() })
	}
	wg.Wait()
	n := 0
	for _, w := range won {
		if w {
			n++
		}
	}
	r.judged("state.lost-update", o)
	if n > 1 {
		r.find("state.lost-update", calls[0], Finding{Detail: fmt.Sprintf("%d of 4 changes at a time under one entity tag succeed", n)})
	}
	return n > 1
}

// foreign reads a child under a parent that it does not belong to.
func (r *run) foreign(ctx context.Context, x *resource, as *Identity, m *made) {
	i := strings.LastIndexByte(x.collection, '}')
	if i < 0 || x.read == nil || x.read.skip {
		return
	}
	parent := r.resources[x.collection[:i+1]]
	if parent == nil {
		return
	}
	child := r.thing(ctx, x, as, true, 0)
	other := r.thing(ctx, parent, as, true, 0)
	if child == nil || other == nil || strings.HasPrefix(child.path, other.path+"/") {
		return
	}
	if x.all != nil && !x.all.skip {
		if c, ok := r.valid(ctx, x.all, as, true, 0); ok {
			c.path = other.path + x.collection[i+1:]
			r.judged("state.foreign-parent", x.all)
			if r.lists(ctx, c, child.id) == 1 && r.lists(ctx, c, child.id) == 1 {
				r.find("state.foreign-parent", c, Finding{Place: "list", Detail: "a child is in the list of a parent that it does not belong to", Seen: "2 of 2"})
			}
		}
	}
	path := other.path + x.collection[i+1:] + "/" + child.path[strings.LastIndexByte(child.path, '/')+1:]
	for _, o := range []*operation{x.read, x.put, x.patch, x.gone} {
		if o == nil || o.skip {
			continue
		}
		c, ok := r.valid(ctx, o, as, false, 0)
		if !ok {
			continue
		}
		c.path = path
		r.try(ctx, "state.foreign-parent", c, "", func(a *answer) string {
			if a.ok() {
				return fmt.Sprintf("a child is reached under a parent that it does not belong to: %d", a.status)
			}
			return ""
		})
	}
}

package conformance

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// pair of equals: two callers of one role that is not the administrators'.
func (r *run) equals() (a, b *Identity) {
	for i := range r.Identities {
		for j := range r.Identities {
			a, b = &r.Identities[i], &r.Identities[j]
			if i != j && a.Role == b.Role && a.Role != "admin" {
				return a, b
			}
		}
	}
	return nil, nil
}

// above are the resources whose things a path of o leads through, the deepest first.
func (r *run) above(o *operation) (out []*resource) {
	for t := o.Template; ; {
		i := strings.LastIndexByte(t, '}')
		if i < 0 {
			return out
		}
		if x := r.resources[t[:i+1]]; x != nil {
			out = append(out, x)
		}
		t = t[:strings.LastIndexByte(t[:i], '{')]
	}
}

// part is as much of a path as the template of a resource has segments.
func part(path, template string) string {
	n := strings.Count(template, "/")
	for i := range len(path) {
		if path[i] == '/' {
			if n--; n < 0 {
				return path[:i]
			}
		}
	}
	return path
}

// private reports whether what is at the path is hidden from b and not from a.
func (r *run) private(ctx context.Context, x *resource, path string, a, b *Identity) bool {
	if x.read == nil || x.read.skip || x.read.open() {
		return false
	}
	get := call{op: x.read, method: http.MethodGet, path: path, as: a}
	return r.send(ctx, get).ok() && r.send(ctx, get.with(func(c *call) { c.as = b })).denied()
}

// below calls what stands below a thing that is private to its owner, as an
// equal of the owner: who hides a thing hides its parts, lists and verbs too.
func (r *run) below(ctx context.Context) {
	a, b := r.equals()
	if a == nil {
		return
	}
	for _, o := range r.ops {
		if o.skip || o.open() || ctx.Err() != nil || !strings.Contains(o.Template, "}/") {
			continue
		}
		r.belowOf(ctx, o, a, b)
	}
}

func (r *run) belowOf(ctx context.Context, o *operation, a, b *Identity) {
	list := r.above(o)
	if len(list) > 0 && list[0] == o.item && o.item.make != nil {
		list = list[1:] // owners looks at the item itself
	}
	if len(list) == 0 {
		return
	}
	c, ok := r.ours(ctx, o, a)
	if !ok {
		return
	}
	for _, x := range list {
		at := part(c.path, x.path)
		if !r.private(ctx, x, at, a, b) {
			continue
		}
		d := c.with(func(d *call) { d.as = b })
		got := r.try(ctx, "security.object-level", d, "below "+x.path, func(n *answer) string {
			if n.ok() {
				return fmt.Sprintf("%s reaches what is below a thing of %s that %s may not read: %d", b.Name, a.Name, b.Name, n.status)
			}
			return ""
		})
		if got.ok() && o.Method == http.MethodPost {
			r.born(o.list, d, got)
		}
		return
	}
}

// ours is a request of o about things that as has just made.
func (r *run) ours(ctx context.Context, o *operation, as *Identity) (call, bool) {
	c, ok := r.ready(ctx, o, as, false)
	if !ok {
		return c, false
	}
	path, ok := r.fill(ctx, o.Template, as, true, 0)
	if !ok {
		return c, false
	}
	c.path = path
	for _, h := range c.header {
		if strings.EqualFold(h.name, "If-Match") {
			if tag := r.tagAt(ctx, o, path, as); tag != "" {
				c.set("If-Match", tag)
			}
			break
		}
	}
	return c, true
}

// names are what an API may call an identity: the subject of its token, and
// the name in the plan.
func (i *Identity) names() (out []string) {
	for _, t := range append([]string{i.Token}, mapValues(i.Tokens)...) {
		if p := strings.Split(t, "."); len(p) == 3 {
			var claims map[string]any
			b, err := base64.RawURLEncoding.DecodeString(p[1])
			if err != nil || json.Unmarshal(b, &claims) != nil {
				continue
			}
			for _, k := range []string{"sub", "id", "user_id", "userId", "uid"} {
				if id, ok := claims[k].(string); ok && id != "" && !slices.Contains(out, id) {
					out = append(out, id)
				}
			}
		}
	}
	if !slices.Contains(out, i.Name) {
		out = append(out, i.Name)
	}
	return out
}

// itself reports whether a member of what is sent names the caller.
func itself(member string) bool {
	n := strings.ToLower(member)
	for _, suffix := range []string{"_id", "id"} {
		n = strings.TrimSuffix(n, suffix)
	}
	return slices.Contains([]string{"owner", "author", "creator", "user", "createdby", "created_by"}, n)
}

func mapValues(m map[string]string) (out []string) {
	for _, v := range m {
		out = append(out, v)
	}
	slices.Sort(out)
	return out
}

// named reports whether a parameter holds the name of a caller.
func named(param string) bool {
	n := strings.ToLower(param)
	for _, w := range []string{"user", "member", "grantee", "collaborator", "principal", "person", "account_name", "login"} {
		if n == w || n == w+"id" || n == w+"_id" || n == w+"name" || n == w+"_name" {
			return true
		}
	}
	return false
}

// grants gives an equal access by the API's own means, where it has them, and
// takes it away again: a grant holds as long as it stands, and for what it is for.
func (r *run) grants(ctx context.Context) {
	a, b := r.equals()
	if a == nil || r.Profile == Safe {
		return
	}
	for _, x := range r.sorted() {
		if x.put == nil || x.put.skip || !named(x.param) || ctx.Err() != nil {
			continue
		}
		above := r.above(x.put)
		if len(above) < 2 || above[1].read == nil {
			continue
		}
		r.grantsOf(ctx, x, above[1], a, b)
	}
}

func (r *run) grantsOf(ctx context.Context, x, thing *resource, a, b *Identity) {
	for _, name := range b.names() {
		give, ok := r.ours(ctx, x.put, a)
		if !ok {
			return
		}
		give.path = give.path[:strings.LastIndexByte(give.path, '/')+1] + url.PathEscape(name)
		at := part(give.path, thing.path)
		if !r.private(ctx, thing, at, a, b) || !r.send(ctx, give).ok() {
			continue
		}
		get := call{op: thing.read, method: http.MethodGet, path: at, as: b}
		if !r.send(ctx, get).ok() {
			continue // it gives something else
		}
		if mentions(thing.read, "share") {
			r.onlyReads(ctx, thing, at, a, b)
		}
		if x.gone == nil || x.gone.skip {
			return
		}
		take := call{op: x.gone, method: http.MethodDelete, path: give.path, as: a}
		if !r.send(ctx, take).ok() {
			return
		}
		r.try(ctx, "security.revoked", get, "path", func(n *answer) string {
			if n.ok() {
				return fmt.Sprintf("%s goes on to reach what is shared no more: %d", b.Name, n.status)
			}
			return ""
		})
		return
	}
}

func mentions(o *operation, word string) bool {
	return strings.Contains(strings.ToLower(o.Summary+" "+o.about()), word)
}

// onlyReads tries changes of a thing that is shared, where reading is described
// as open to those it is shared with, and changing is not.
func (r *run) onlyReads(ctx context.Context, thing *resource, at string, a, b *Identity) {
	for _, o := range []*operation{thing.put, thing.patch, thing.gone} {
		if o == nil || o.skip || mentions(o, "share") {
			continue
		}
		c, ok := r.valid(ctx, o, a, false, 0)
		if !ok {
			continue
		}
		c.path, c.as = at, b
		if tag := r.tagAt(ctx, o, at, a); tag != "" && o.takes("If-Match") {
			c.set("If-Match", tag)
		}
		r.try(ctx, "security.object-level", c, "shared", func(n *answer) string {
			if n.ok() {
				return fmt.Sprintf("%s may change what it may read because it is shared: %d", b.Name, n.status)
			}
			return ""
		})
	}
}

// switches are members that end a caller's access, and the value that does.
var switches = map[string]bool{"suspended": true, "disabled": true, "blocked": true, "locked": true, "banned": true, "deactivated": true, "frozen": true, "active": false, "enabled": false, "isactive": false, "is_active": false}

// suspensions suspends a caller by the API's own means and tries whether its
// credential still holds; then it ends the suspension.
func (r *run) suspensions(ctx context.Context) {
	if r.Profile == Safe {
		return
	}
	for _, x := range r.sorted() {
		for _, o := range []*operation{x.patch, x.put} {
			if o == nil || o.skip || ctx.Err() != nil {
				continue
			}
			media, n, ok := o.jsonBody()
			if !ok || !strings.Contains(media, "json") {
				continue
			}
			for _, p := range shapeOf(n).props {
				off, known := switches[strings.ToLower(p.name)]
				if known && shapeOf(p.node).is("boolean") && (named(x.param) || named(strings.TrimSuffix(x.collection[strings.LastIndexByte(x.collection, '/')+1:], "s"))) {
					r.suspend(ctx, x, o, media, p.name, off)
				}
			}
		}
	}
}

func (r *run) suspend(ctx context.Context, x *resource, o *operation, media, member string, off bool) {
	var root *Identity
	for i := range r.Identities {
		if r.Identities[i].Role == "admin" {
			root = &r.Identities[i]
		}
	}
	if root == nil {
		return
	}
	for i := len(r.Identities) - 1; i >= 0; i-- {
		who := &r.Identities[i]
		if who.Role == "admin" {
			continue
		}
		var reads []call
		for _, g := range r.ops {
			if c, ok := r.base1(g); ok && g.Method == http.MethodGet && !g.open() && !g.skip && len(reads) < 3 {
				if c.as = who; r.send(ctx, c).ok() {
					reads = append(reads, c)
				}
			}
		}
		up, ok := r.fill(ctx, x.collection, root, false, 0)
		if !ok || len(reads) == 0 {
			continue
		}
		for _, name := range who.names() {
			set := call{op: o, method: o.Method, path: up + "/" + url.PathEscape(name), media: media, as: root, body: encode(media, map[string]any{member: off})}
			if !o.admits(&set) || !r.send(ctx, set).ok() {
				continue
			}
			back := set.with(func(c *call) { c.body = encode(media, map[string]any{member: !off}) })
			for _, c := range reads {
				r.try(ctx, "security.suspended", c, "credential", func(n *answer) string {
					if n.ok() {
						return fmt.Sprintf("the credential of %s is still good after %s was set to %v for it: %d", who.Name, member, off, n.status)
					}
					return ""
				})
			}
			r.send(context.WithoutCancel(ctx), back)
			return
		}
	}
}

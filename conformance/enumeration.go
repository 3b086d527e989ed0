package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// accounts tries whether sign-in, reset and sign-up tell which accounts exist:
// a known name and an unknown one must get the same answer (OWASP WSTG-IDNT-04).
func (r *run) accounts(ctx context.Context) {
	for _, o := range r.ops {
		if o.skip || !o.open() || o.Method != http.MethodPost || ctx.Err() != nil {
			continue
		}
		media, n, ok := o.jsonBody()
		if !ok || !strings.Contains(media, "json") {
			continue
		}
		who, secret := "", ""
		for _, p := range shapeOf(n).props {
			switch l := strings.ToLower(p.name); {
			case strings.Contains(l, "password") || l == "pin" || l == "secret":
				secret = p.name
			case who == "" && (strings.Contains(l, "mail") || l == "user" || l == "username" || l == "login" || l == "identity" || l == "phone"):
				who = p.name
			}
		}
		t := strings.ToLower(o.Template + " " + o.ID + " " + o.Summary)
		signs := secret != "" && !strings.Contains(t, "regist") && !strings.Contains(t, "sign up") && !strings.Contains(t, "signup") && o.Template != "/users"
		resets := secret == "" && (strings.Contains(t, "reset") || strings.Contains(t, "forgot") || strings.Contains(t, "recover") || strings.Contains(t, "verif") || strings.Contains(t, "magic"))
		if who == "" || !signs && !resets {
			continue
		}
		r.account(ctx, o, media, who, secret)
	}
}

func (r *run) account(ctx context.Context, o *operation, media, who, secret string) {
	m := &maker{rng: r.rng("accounts", o.key), tag: "sp", request: true}
	_, n, _ := o.jsonBody()
	v, ok := m.value(n, "", 0)
	body, isObject := v.(map[string]any)
	if !ok || !isObject {
		return
	}
	make := func(name any) call {
		x := maps.Clone(body)
		if x[who] = name; secret != "" {
			x[secret] = "not-the-" + m.word(12)
		}
		return call{op: o, method: o.Method, media: media, path: o.Template, body: encode(media, x)}
	}
	stranger := body[who]
	words := func(a *answer, name any) string {
		return fmt.Sprint(a.status, " ", strings.ReplaceAll(string(a.body), fmt.Sprint(name), ""))
	}
	for _, known := range r.people(ctx, o, who) {
		c, d := make(known), make(stranger)
		if known == stranger || !o.admits(&c) || !o.admits(&d) {
			continue
		}
		a, b := r.send(ctx, c), r.send(ctx, d)
		if a.err != nil || b.err != nil || a.status == http.StatusTooManyRequests || b.status == http.StatusTooManyRequests {
			r.notRun("%s: whether accounts can be told apart: the target limits requests", o.key)
			return
		}
		r.judged("security.enumeration", o)
		if words(a, known) == words(b, stranger) {
			continue
		}
		e := make(stranger)
		x, y := r.send(ctx, c), r.send(ctx, e)
		if x.status != a.status || y.status != b.status || words(x, known) != words(a, known) || words(y, stranger) != words(b, stranger) {
			continue // they change by themselves
		}
		r.find("security.enumeration", d, Finding{Place: "body /" + who, Status: b.status, Seen: "2 of 2",
			Detail: fmt.Sprintf("a known and an unknown %s are answered differently (%d and %d): the difference tells who has an account", who, a.status, b.status)})
		return
	}
}

// people are names of accounts that exist: of the example, of the identities,
// and of what reads of oneself show.
func (r *run) people(ctx context.Context, o *operation, member string) (out []any) {
	add := func(v any) {
		if t, ok := v.(string); ok && t != "" && len(out) < 6 && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	for _, b := range o.d.Bodies {
		for _, e := range b.Examples {
			if m, ok := plain(e.Value).(map[string]any); ok {
				add(m[member])
			}
		}
	}
	for _, g := range r.ops {
		if c, ok := r.base1(g); ok && g.Method == http.MethodGet && !strings.Contains(g.Template, "{") && !g.open() {
			var m map[string]any
			if a := r.send(ctx, c); a.ok() && json.Unmarshal(a.body, &m) == nil {
				add(m[member])
			}
		}
	}
	for i := range r.Identities {
		for _, n := range r.Identities[i].names() {
			add(n)
		}
	}
	return out
}

package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"sallyport.dev/spec"
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
	strangers := [2]any{m.word(12), m.word(12) + "@example.com"} // nobody's, in the form of the known
	words := func(a *answer, name any) string {
		return fmt.Sprint(a.status, " ", strings.ReplaceAll(string(a.body), fmt.Sprint(name), ""))
	}
	timed := 0
	for _, known := range r.people(ctx, o, who) {
		stranger := strangers[0]
		if strings.Contains(fmt.Sprint(known), "@") {
			stranger = strangers[1]
		}
		c, d := make(known), make(stranger)
		if !o.admits(&c) || !o.admits(&d) {
			continue
		}
		a, b := r.send(ctx, c), r.send(ctx, d)
		if a.err != nil || b.err != nil || a.status == http.StatusTooManyRequests || b.status == http.StatusTooManyRequests {
			r.notRun("%s: whether accounts can be told apart: the target limits requests", o.key)
			return
		}
		r.judged("security.enumeration", o)
		if words(a, known) == words(b, stranger) {
			if secret != "" && !a.ok() {
				if timed++; timed == 1 {
					r.last = append(r.last, func() { r.guesses(ctx, c) })
				}
				if r.timed(ctx, c, d, who) || timed == 3 {
					return
				}
			}
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

// timed compares how long the same refusal takes for a known and for an unknown
// name: where a password is checked only for who has one, time tells. Only
// samples that do not overlap at all, twice, by a margin that a network shows,
// are reported.
func (r *run) timed(ctx context.Context, known, stranger call, who string) (found bool) {
	if r.Profile == Safe {
		return false
	}
	const samples, margin = 7, 12 * time.Millisecond
	apart := func() time.Duration {
		var x, y []time.Duration
		for range samples {
			for _, s := range []struct {
				c    call
				into *[]time.Duration
			}{{known, &x}, {stranger, &y}} {
				a := r.once(ctx, s.c)
				if a.err != nil || a.status == http.StatusTooManyRequests {
					return -1
				}
				*s.into = append(*s.into, a.took)
			}
		}
		slices.Sort(x)
		slices.Sort(y)
		d := x[samples/2] - y[samples/2]
		switch {
		case x[0] > 2*y[samples-1] && d > margin:
			return d
		case y[0] > 2*x[samples-1] && -d > margin:
			return -d
		}
		return 0
	}
	first := apart()
	if first < 0 {
		r.notRun("%s: whether time tells accounts apart: the target limits requests", known.op.key)
		return true
	}
	r.judged("security.timing", known.op)
	if first == 0 {
		return false
	}
	if again := apart(); again > 0 {
		r.find("security.timing", known, Finding{Place: "body /" + who, Seen: "2 of 2",
			Detail: fmt.Sprintf("a known and an unknown %s take times that differ by %v and never overlap in %d tries: time tells who has an account", who, min(first, again).Round(time.Millisecond), samples)})
		return true
	}
	return false
}

// guesses tries wrong passwords of one account until something stops it.
func (r *run) guesses(ctx context.Context, c call) {
	const most = 50 // more than the tenfold of what people need
	if r.Profile == Safe || ctx.Err() != nil {
		return
	}
	first := r.once(ctx, c)
	for range most - 1 {
		a := r.once(ctx, c)
		if a.err != nil || ctx.Err() != nil {
			return
		}
		if a.status != first.status || first.status == http.StatusTooManyRequests {
			r.judged("security.guessing", c.op)
			return // it is limited, locked or delayed
		}
	}
	r.judged("security.guessing", c.op)
	r.find("security.guessing", c, Finding{Status: first.status, Detail: fmt.Sprintf("%d wrong passwords for one account in a row, and each is tried", most)})
}

func plainOf(n spec.Node, key string) any {
	if v := n.Resolve().Get(key).Value; v != nil {
		return plain(v)
	}
	return nil
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
	if _, n, ok := o.jsonBody(); ok {
		for _, p := range shapeOf(n).props {
			if p.name == member {
				add(plainOf(p.node, "example"))
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

package inventory

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
)

// Power says how much a claim weighs, whatever its confidence.
type Power int

// The powers, from the weakest.
const (
	Claimed   Power = iota + 1 // a source says so
	Confirmed                  // a person says so
	Declared                   // the configuration says so
)

// String gives "claimed", "confirmed", "declared".
func (p Power) String() string {
	return [...]string{"", "claimed", "confirmed", "declared"}[p]
}

// Names of sources that nobody else may use.
const (
	sourceConfiguration = "configuration"
	sourcePerson        = "person"
	sourceTraffic       = "traffic"
	sourceRisk          = "risk"
)

// freshness is after how long the confidence in a claim has halved.
const freshness = 90 * 24 * time.Hour

// Bounds on what sources may say.
const (
	maxClaims  = 5000 // of one API or operation
	claimBatch = 1000 // in one transaction
	maxErrors  = 20   // told one by one
)

// claim is a row of inventory_claim.
type claim struct {
	source, item, origin, value string
	power                       Power
	confidence                  float64
	evidence                    string
	first, at                   int64
	rejectedBy, rejectedFor     string
	rejectedAt                  int64
}

func (c *claim) weight(now int64) float64 {
	return c.confidence * math.Exp2(-float64(max(0, now-c.at))/float64(freshness.Microseconds()))
}

// subject is an API, or one of its operations.
type subject struct{ api, op string }

func (k key) subject() subject {
	if k.method == "" {
		return subject{k.api, ""}
	}
	return subject{k.api, k.String()}
}

func (s subject) key() key {
	method, template, _ := strings.Cut(s.op, " ")
	return key{s.api, method, template}
}

// held is everything said of one subject, and what follows.
type held struct {
	claims map[string][]*claim // by field
	fields map[string]*settled
	count  int
}

// settled is a row of inventory_field.
type settled struct {
	value, source string
	power         Power
	confidence    float64
	evidence      string
	conflict      bool
	since         int64
}

// problems gathers what was wrong with some of a batch.
type problems struct {
	list []error
	more int
}

func (p *problems) add(what string, i int, err error) {
	if len(p.list) >= maxErrors {
		p.more++
		return
	}
	p.list = append(p.list, fmt.Errorf("%s %d: %w", what, i+1, err))
}

func (p *problems) err() error {
	if p.more > 0 {
		p.list = append(p.list, fmt.Errorf("and %d more", p.more))
	}
	return errors.Join(p.list...)
}

// mine reports whether err is about one claim and not about the database.
func mine(err error) bool {
	k := sallyport.KindOf(err)
	return k == sallyport.Invalid || k == sallyport.Limited || k == sallyport.Conflict || k == sallyport.NotFound
}

// Claim takes in what sources say. Each claim replaces what the same source
// said of the same field (of a list: of the same element) before, and a
// withdrawn one takes it back. An asset that nothing knows becomes a proposed
// API. Claims are taken singly: those that make no sense (an unknown or
// computed field, a value that does not fit, an asset without any place, a
// bound that is met) are left out and named in the error, which is
// sallyport.Invalid or sallyport.Limited then; all others are kept. Values must
// hold no secrets.
func (v *Inventory) Claim(ctx context.Context, claims []sallyport.Claim) error {
	var bad problems
	for at := 0; at < len(claims); at += claimBatch {
		chunk := claims[at:min(at+claimBatch, len(claims))]
		if err := v.change(ctx, "claims", func(w *writer) error {
			return w.claims(chunk, func(i int, err error) { bad.add("claim", at+i, err) })
		}); err != nil {
			return err
		}
	}
	return bad.err()
}

type spoken struct {
	on     subject
	home   home
	field  *Field
	value  string
	source string
	claim  *sallyport.Claim
}

func (w *writer) claims(claims []sallyport.Claim, bad func(int, error)) error {
	var all []spoken
	subjects := map[subject]struct{}{}
	for i := range claims {
		c := &claims[i]
		s, err := w.spoken(c)
		if err != nil {
			if mine(err) {
				bad(i, err)
				continue
			}
			return err
		}
		all = append(all, s)
		subjects[s.on] = struct{}{}
	}
	held, err := w.holds(subjects)
	if err != nil {
		return err
	}
	touched := map[subject]map[*Field]struct{}{}
	var upserts, drops []kept
	for i, s := range all {
		h := held[s.on]
		c := &claim{source: s.source, origin: s.home.origin, value: s.value, power: Claimed, confidence: s.claim.Confidence, evidence: clean(s.claim.Evidence), at: w.now}
		if c.confidence = min(max(c.confidence, 0), 1); math.IsNaN(c.confidence) {
			c.confidence = 0
		}
		if t := s.claim.Time; !t.IsZero() && t.UnixMicro() > 0 {
			c.at = min(t.UnixMicro(), w.now)
		}
		up, drop, err := h.say(s.field, c, s.claim.Withdrawn)
		if err != nil {
			bad(i, err)
			continue
		}
		if up == nil && drop == nil {
			continue
		}
		if touched[s.on] == nil {
			touched[s.on] = map[*Field]struct{}{}
		}
		touched[s.on][s.field] = struct{}{}
		if up != nil {
			upserts = append(upserts, kept{s.on, s.field.Name, up})
			l, err := w.locator()
			if err != nil {
				return err
			}
			switch {
			case s.on.op != "":
			case s.field.Name == "hosts":
				err = w.place(l, s.value, pathOf(s.claim.Asset.Path), "", s.home)
			case s.field.Name == "addresses":
				err = w.place(l, "", "", strings.ToLower(s.value), s.home)
			}
			if err != nil {
				return err
			}
		}
		if drop != nil {
			drops = append(drops, kept{s.on, s.field.Name, drop})
			switch {
			case s.on.op != "" || slices.ContainsFunc(h.claims[s.field.Name], func(o *claim) bool { return o.value == s.value }):
			case s.field.Name == "hosts":
				err = w.displace(s.value, "", s.home)
			case s.field.Name == "addresses":
				err = w.displace("", strings.ToLower(s.value), s.home)
			}
			if err != nil {
				return err
			}
		}
	}
	if err := w.keepClaims(upserts, drops); err != nil {
		return err
	}
	return w.settleAll(held, touched)
}

// spoken checks one claim and finds what it speaks of.
func (w *writer) spoken(c *sallyport.Claim) (spoken, error) {
	s := spoken{claim: c, source: clean(c.Source)}
	if s.source == "" || s.source == sourceConfiguration || s.source == sourceTraffic || s.source == sourcePerson || strings.HasPrefix(s.source, sourcePerson+":") {
		return s, sallyport.Errorf(sallyport.Invalid, "%q can't be the name of a source", s.source)
	}
	if s.field = fieldByName[c.Field]; s.field == nil {
		return s, sallyport.Errorf(sallyport.Invalid, "there is no field %q", clean(c.Field))
	}
	if !s.field.may(FromClaim) {
		return s, sallyport.Errorf(sallyport.Invalid, "field %s is not set by claims", s.field.Name)
	}
	var err error
	if s.value, err = s.field.normal(c.Value); err != nil && !(c.Withdrawn && s.field.Conflicts != Union) {
		return s, err
	}
	if s.home, err = w.home(&c.Asset); err != nil {
		return s, err
	}
	k, err := w.operation(s.home.api, &c.Asset)
	if err != nil {
		return s, err
	}
	if s.on = k.subject(); s.on.op != "" && !s.field.Operation {
		return s, sallyport.Errorf(sallyport.Invalid, "field %s is of APIs, not of operations", s.field.Name)
	}
	return s, nil
}

// say puts c among what is held, or takes it back; it tells which row to write
// and which to delete.
func (h *held) say(f *Field, c *claim, withdrawn bool) (up, drop *claim, err error) {
	if f.Conflicts == Union {
		c.item = c.value
	}
	list := h.claims[f.Name]
	i := slices.IndexFunc(list, func(o *claim) bool {
		return o.source == c.source && o.item == c.item && o.origin == c.origin
	})
	if i < 0 {
		if withdrawn {
			return nil, nil, nil
		}
		if h.count >= maxClaims {
			return nil, nil, sallyport.Errorf(sallyport.Limited, "%d claims speak of it already", h.count)
		}
		c.first = c.at
		h.claims[f.Name] = append(list, c)
		h.count++
		return c, nil, nil
	}
	o := list[i]
	if c.at < o.at {
		return nil, nil, nil // overtaken by what it said since
	}
	if withdrawn {
		h.claims[f.Name] = slices.Delete(list, i, i+1)
		h.count--
		return nil, o, nil
	}
	same := o.value == c.value && o.confidence == c.confidence && o.evidence == c.evidence && o.power == c.power
	if same && c.at-o.at < time.Hour.Microseconds() {
		return nil, nil, nil // said again a moment later
	}
	c.first = o.first
	if o.value == c.value {
		c.rejectedBy, c.rejectedAt, c.rejectedFor = o.rejectedBy, o.rejectedAt, o.rejectedFor
	}
	*o = *c
	return o, nil, nil
}

type kept struct {
	on    subject
	field string
	claim *claim
}

func (w *writer) keepClaims(upserts, drops []kept) error {
	for _, d := range drops {
		if err := w.exec("DELETE FROM inventory_claim WHERE api = ? AND op = ? AND field = ? AND source = ? AND item = ? AND origin = ?", d.on.api, d.on.op, d.field, d.claim.source, d.claim.item, d.claim.origin); err != nil {
			return err
		}
	}
	// One statement must not meet a row twice.
	type id struct {
		on                          subject
		field, source, item, origin string
	}
	seen := map[id]bool{}
	var args []any
	for i := len(upserts) - 1; i >= 0; i-- {
		u := upserts[i]
		k := id{u.on, u.field, u.claim.source, u.claim.item, u.claim.origin}
		if seen[k] {
			continue
		}
		seen[k] = true
		c := u.claim
		args = append(args, u.on.api, u.on.op, u.field, c.source, c.item, c.origin, c.value, int(c.power), c.confidence, c.evidence, c.first, c.at, c.rejectedBy, c.rejectedAt, c.rejectedFor)
	}
	return w.bulk("claims", "INSERT INTO inventory_claim (api, op, field, source, item, origin, value, power, confidence, evidence, first_at, at, rejected_by, rejected_at, rejected_for) VALUES ", 15,
		`ON CONFLICT (api, op, field, source, item, origin) DO UPDATE SET value = EXCLUDED.value, power = EXCLUDED.power, confidence = EXCLUDED.confidence, evidence = EXCLUDED.evidence, at = EXCLUDED.at,
		rejected_by = EXCLUDED.rejected_by, rejected_at = EXCLUDED.rejected_at, rejected_for = EXCLUDED.rejected_for`, args)
}

// holds reads what is said of some subjects.
func (w *writer) holds(subjects map[subject]struct{}) (map[subject]*held, error) {
	out := map[subject]*held{}
	var list []subject
	for s := range subjects {
		out[s] = &held{claims: map[string][]*claim{}, fields: map[string]*settled{}}
		list = append(list, s)
	}
	for chunk := range slices.Chunk(list, 200) {
		var args []any
		for _, s := range chunk {
			args = append(args, s.api, s.op)
		}
		in := " WHERE (api, op) IN (VALUES " + strings.TrimSuffix(strings.Repeat("(?,?),", len(chunk)), ",") + ")"
		rows, err := w.tx.Tx.QueryContext(w.ctx, w.v.query("SELECT api, op, field, source, item, origin, value, power, confidence, evidence, first_at, at, rejected_by, rejected_at, rejected_for FROM inventory_claim"+in), args...)
		if err != nil {
			return nil, fmt.Errorf("read claims: %w", err)
		}
		if err := each(rows, func() error {
			var s subject
			var field string
			c := &claim{}
			err := rows.Scan(&s.api, &s.op, &field, &c.source, &c.item, &c.origin, &c.value, &c.power, &c.confidence, &c.evidence, &c.first, &c.at, &c.rejectedBy, &c.rejectedAt, &c.rejectedFor)
			out[s].claims[field] = append(out[s].claims[field], c)
			out[s].count++
			return err
		}); err != nil {
			return nil, fmt.Errorf("read claims: %w", err)
		}
		rows, err = w.tx.Tx.QueryContext(w.ctx, w.v.query("SELECT api, op, field, value, source, power, confidence, evidence, conflict, since FROM inventory_field"+in), args...)
		if err != nil {
			return nil, fmt.Errorf("read fields: %w", err)
		}
		if err := each(rows, func() error {
			var s subject
			var field string
			var conflict int
			x := &settled{}
			err := rows.Scan(&s.api, &s.op, &field, &x.value, &x.source, &x.power, &x.confidence, &x.evidence, &conflict, &x.since)
			x.conflict = conflict == 1
			out[s].fields[field] = x
			return err
		}); err != nil {
			return nil, fmt.Errorf("read fields: %w", err)
		}
	}
	return out, nil
}

// settle says what follows from claims; nil = nothing.
func settle(f *Field, claims []*claim, now int64) *settled {
	var live []*claim
	for _, c := range claims {
		if c.rejectedAt == 0 {
			live = append(live, c)
		}
	}
	if len(live) == 0 {
		return nil
	}
	best := slices.MaxFunc(live, func(a, b *claim) int {
		if f.Conflicts == Newest {
			return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.power, b.power), strings.Compare(b.source, a.source))
		}
		return cmp.Or(cmp.Compare(a.power, b.power), cmp.Compare(a.weight(now), b.weight(now)), cmp.Compare(a.at, b.at), strings.Compare(b.source, a.source))
	})
	s := &settled{value: best.value, source: best.source, power: best.power, confidence: best.confidence, evidence: best.evidence}
	switch f.Conflicts {
	case Union:
		var values, sources []string
		for _, c := range live {
			values, sources = append(values, c.value), append(sources, c.source)
		}
		slices.Sort(values)
		slices.Sort(sources)
		values, sources = slices.Compact(values), slices.Compact(sources)
		b, _ := json.Marshal(values)
		s.value, s.source = string(b), clean(strings.Join(sources, ", "))
		if len(sources) > 1 {
			s.evidence = ""
		}
	case Settled:
		s.conflict = best.power == Claimed && slices.ContainsFunc(live, func(c *claim) bool {
			return c.source != best.source && !strings.EqualFold(c.value, best.value)
		})
	}
	return s
}

// settleAll writes what follows from what was touched, and its history.
func (w *writer) settleAll(all map[subject]*held, touched map[subject]map[*Field]struct{}) error {
	var args []any
	for on, fs := range touched {
		h := all[on]
		for f := range fs {
			old, now := h.fields[f.Name], settle(f, h.claims[f.Name], w.now)
			if now == nil {
				if old != nil {
					if err := w.exec("DELETE FROM inventory_field WHERE api = ? AND op = ? AND field = ?", on.api, on.op, f.Name); err != nil {
						return err
					}
					w.fieldChange(on, f, old, nil)
					delete(h.fields, f.Name)
				}
				continue
			}
			now.since = w.now
			if old != nil {
				if old.value == now.value {
					now.since = old.since
				}
				if *old == *now {
					continue
				}
			}
			h.fields[f.Name] = now
			if old == nil || old.value != now.value {
				w.fieldChange(on, f, old, now)
			}
			if now.conflict && (old == nil || !old.conflict) {
				w.conflictChange(on, f, h.claims[f.Name])
			}
			args = append(args, on.api, on.op, f.Name, now.value, now.source, int(now.power), now.confidence, now.evidence, flag(now.conflict), now.since)
		}
	}
	return w.bulk("fields", "INSERT INTO inventory_field (api, op, field, value, source, power, confidence, evidence, conflict, since) VALUES ", 10,
		`ON CONFLICT (api, op, field) DO UPDATE SET value = EXCLUDED.value, source = EXCLUDED.source, power = EXCLUDED.power, confidence = EXCLUDED.confidence, evidence = EXCLUDED.evidence,
		conflict = EXCLUDED.conflict, since = EXCLUDED.since`, args)
}

// shown is a field's value for people.
func shown(value string) string {
	var list []string
	if strings.HasPrefix(value, "[") && json.Unmarshal([]byte(value), &list) == nil {
		return strings.Join(list, ", ")
	}
	return value
}

// cut is s, short enough for a line.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

func (w *writer) fieldChange(on subject, f *Field, old, now *settled) {
	c := Change{Time: timeOf(w.now), API: on.api, Key: on.op, Kind: "field", Field: f.Name}
	switch {
	case old == nil:
		c.New, c.Source, c.Evidence = now.value, now.source, now.evidence
		c.Detail = f.Name + ": " + cut(shown(now.value), 300)
	case now == nil:
		c.Old, c.Source = old.value, old.source
		c.Detail = f.Name + ": no longer " + cut(shown(old.value), 300)
	default:
		c.Old, c.New, c.Source, c.Evidence = old.value, now.value, now.source, now.evidence
		c.Detail = f.Name + ": " + cut(shown(old.value), 200) + " → " + cut(shown(now.value), 200)
	}
	if w.by != "" {
		c.Source = w.by
	}
	c.Old, c.New = cut(c.Old, 4000), cut(c.New, 4000)
	w.changes = append(w.changes, c)
}

func (w *writer) conflictChange(on subject, f *Field, claims []*claim) {
	var says []string
	for _, c := range claims {
		if c.rejectedAt == 0 && len(says) < 8 {
			says = append(says, c.source+" says "+cut(c.value, 60))
		}
	}
	slices.Sort(says)
	w.changes = append(w.changes, Change{Time: timeOf(w.now), API: on.api, Key: on.op, Kind: "conflict", Field: f.Name, Detail: f.Name + ": " + strings.Join(slices.Compact(says), ", ")})
}

// declareFields sets what the configuration says of an API; a value that is
// empty is not said any more.
func (w *writer) declareFields(api string, values map[string][]string) error {
	on := subject{api, ""}
	all, err := w.holds(map[subject]struct{}{on: {}})
	if err != nil {
		return err
	}
	h := all[on]
	touched := map[*Field]struct{}{}
	var upserts, drops []kept
	for name, list := range values {
		f := fieldByName[name]
		want := map[string]bool{}
		for _, value := range list {
			if value == "" {
				continue
			}
			n, err := f.normal(value)
			if err != nil {
				continue // the check of the configuration says so
			}
			c := &claim{source: sourceConfiguration, origin: api, value: n, power: Declared, confidence: 1, at: w.now}
			up, _, err := h.say(f, c, false)
			if err != nil {
				return err
			}
			want[c.item] = true
			if up != nil {
				upserts = append(upserts, kept{on, name, up})
				touched[f] = struct{}{}
			}
		}
		for _, c := range slices.Clone(h.claims[name]) {
			if c.source == sourceConfiguration && !want[c.item] {
				h.claims[name] = slices.DeleteFunc(h.claims[name], func(o *claim) bool { return o == c })
				drops = append(drops, kept{on, name, c})
				touched[f] = struct{}{}
			}
		}
	}
	if err := w.keepClaims(upserts, drops); err != nil {
		return err
	}
	return w.settleAll(all, map[subject]map[*Field]struct{}{on: touched})
}

package inventory

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
)

// An Edit is what a person decides about one field.
type Edit struct {
	API    string
	Key    string // of an operation; "" = the API
	Field  string
	Action string // "confirm" a value, "reject" what sources say, "restore" what was rejected, "clear" what people said
	Value  string // of confirm; of the others: only claims with it, "" = all
	Source string // of reject and restore: only its claims, "" = of all
	Reason string
}

// Edited is what came of it.
type Edited struct {
	ID      int64 // for Undo; 0 after a dry run
	Changes []Change
}

// maxEdits bounds one call of Edit.
const maxEdits = 10_000

var errDry = errors.New("dry run")

// beforeEdit is what stood in one field before an edit.
type beforeEdit struct {
	API, Op, Field string
	People         []storedClaim   `json:",omitempty"`
	Rejected       []storedVerdict `json:",omitempty"`
}

type storedClaim struct {
	Source, Item, Origin, Value, Evidence string
	First, At                             int64
}

type storedVerdict struct {
	Source, Item, Origin, Value, By, For string
	At                                   int64
}

func snapshot(on subject, f *Field, claims []*claim) beforeEdit {
	b := beforeEdit{API: on.api, Op: on.op, Field: f.Name}
	for _, c := range claims {
		if c.power == Confirmed {
			b.People = append(b.People, storedClaim{c.source, c.item, c.origin, c.value, c.evidence, c.first, c.at})
		}
		if c.rejectedAt > 0 {
			b.Rejected = append(b.Rejected, storedVerdict{c.source, c.item, c.origin, c.value, c.rejectedBy, c.rejectedFor, c.rejectedAt})
		}
	}
	return b
}

// Edit does what a person decided, whole or, when one edit makes no sense
// (sallyport.Invalid, sallyport.NotFound), not at all. A dry run tells the
// changes and makes none. Every other run can be taken back by Undo.
func (v *Inventory) Edit(ctx context.Context, by string, edits []Edit, dry bool) (Edited, error) {
	if len(edits) == 0 || len(edits) > maxEdits {
		return Edited{}, sallyport.Errorf(sallyport.Invalid, "1 to %d edits at a time", maxEdits)
	}
	var out Edited
	var apis []string
	for _, e := range edits {
		apis = append(apis, e.API)
	}
	slices.Sort(apis)
	err := v.change(ctx, "edit fields", func(w *writer) error {
		w.by = sourcePerson + ":" + clean(by)
		subjects := map[subject]struct{}{}
		for _, e := range edits {
			on := subject{clean(e.API), e.Key}
			if _, seen := subjects[on]; seen {
				continue
			}
			if err := w.exists(on); err != nil {
				return err
			}
			subjects[on] = struct{}{}
		}
		all, err := w.holds(subjects)
		if err != nil {
			return err
		}
		touched := map[subject]map[*Field]struct{}{}
		var before []beforeEdit
		var ups, drops []kept
		for _, e := range edits {
			on := subject{clean(e.API), e.Key}
			f := fieldByName[e.Field]
			switch {
			case f == nil:
				return sallyport.Errorf(sallyport.Invalid, "there is no field %q", clean(e.Field))
			case !f.may(FromPerson):
				return sallyport.Errorf(sallyport.Invalid, "field %s is not set by people", f.Name)
			case on.op != "" && !f.Operation:
				return sallyport.Errorf(sallyport.Invalid, "field %s is of APIs, not of operations", f.Name)
			}
			if touched[on] == nil {
				touched[on] = map[*Field]struct{}{}
			}
			if _, seen := touched[on][f]; !seen {
				touched[on][f] = struct{}{}
				before = append(before, snapshot(on, f, all[on].claims[f.Name]))
			}
			u, d, err := w.edit(all[on], on, f, e, clean(by))
			if err != nil {
				return err
			}
			ups, drops = append(ups, u...), append(drops, d...)
		}
		if err := w.keepClaims(ups, drops); err != nil {
			return err
		}
		if err := w.settleAll(all, touched); err != nil {
			return err
		}
		out.Changes = slices.Clone(w.changes)
		if dry {
			return errDry
		}
		b, err := json.Marshal(before)
		if err != nil {
			return err
		}
		return w.tx.Tx.QueryRowContext(ctx, v.query("INSERT INTO inventory_edit (at, person, what, before) VALUES (?,?,?,?) RETURNING id"), w.now, clean(by), summary(edits), string(b)).Scan(&out.ID)
	}, slices.Compact(apis)...)
	if errors.Is(err, errDry) {
		err = nil
	}
	return out, err
}

func summary(edits []Edit) string {
	e := edits[0]
	s := e.Action + " " + e.Field + " of " + strings.TrimSpace(cmp.Or(e.API, "unmatched traffic")+" "+e.Key)
	if len(edits) > 1 {
		s += fmt.Sprintf(" and %d more", len(edits)-1)
	}
	return clean(s)
}

// exists refuses a subject that nothing knows.
func (w *writer) exists(on subject) error {
	q, args := "SELECT COUNT(*) FROM inventory_api WHERE name = ?", []any{on.api}
	if on.op != "" {
		k := on.key()
		q, args = "SELECT COUNT(*) FROM inventory_operation WHERE api = ? AND method = ? AND template = ?", []any{k.api, k.method, k.template}
	}
	var n int
	if err := w.tx.Tx.QueryRowContext(w.ctx, w.v.query(q), args...).Scan(&n); err != nil {
		return err
	}
	if n == 0 {
		return sallyport.Errorf(sallyport.NotFound, "the inventory knows no %q", clean(strings.TrimSpace(on.api+" "+on.op)))
	}
	return nil
}

func (w *writer) edit(h *held, on subject, f *Field, e Edit, by string) (ups, drops []kept, err error) {
	value := ""
	if e.Value != "" || e.Action == "confirm" {
		if value, err = f.normal(e.Value); err != nil {
			return nil, nil, err
		}
	}
	list := h.claims[f.Name]
	chosen := func(c *claim) bool {
		return (value == "" || c.value == value) && (e.Source == "" || c.source == e.Source)
	}
	switch e.Action {
	case "confirm":
		c := &claim{source: sourcePerson + ":" + by, origin: on.api, value: value, power: Confirmed, confidence: 1, evidence: clean(e.Reason), at: w.now}
		if f.Conflicts != Union { // one person's word replaces another's
			for _, o := range slices.Clone(list) {
				if o.power == Confirmed && o.source != c.source {
					h.drop(f, o)
					drops = append(drops, kept{on, f.Name, o})
				}
			}
		}
		up, _, err := h.say(f, c, false)
		if err != nil {
			return nil, nil, err
		}
		if up != nil {
			ups = append(ups, kept{on, f.Name, up})
		}
		for _, o := range h.claims[f.Name] { // what is confirmed is not rejected any more
			if o.value == value && o.rejectedAt > 0 {
				o.rejectedAt, o.rejectedBy, o.rejectedFor = 0, "", ""
				ups = append(ups, kept{on, f.Name, o})
			}
		}
	case "reject", "restore":
		hit := false
		for _, o := range slices.Clone(list) {
			if !chosen(o) || o.power == Declared {
				continue
			}
			hit = true
			if o.power == Confirmed && e.Action == "reject" {
				h.drop(f, o)
				drops = append(drops, kept{on, f.Name, o})
				continue
			}
			if e.Action == "reject" {
				o.rejectedAt, o.rejectedBy, o.rejectedFor = w.now, by, clean(e.Reason)
			} else {
				o.rejectedAt, o.rejectedBy, o.rejectedFor = 0, "", ""
			}
			ups = append(ups, kept{on, f.Name, o})
		}
		if !hit {
			return nil, nil, sallyport.Errorf(sallyport.NotFound, "no claim of field %s fits; what the configuration declares is changed there", f.Name)
		}
	case "clear":
		for _, o := range slices.Clone(list) {
			if o.power == Confirmed && (value == "" || o.value == value) {
				h.drop(f, o)
				drops = append(drops, kept{on, f.Name, o})
			}
		}
	default:
		return nil, nil, sallyport.Errorf(sallyport.Invalid, "no action %q: confirm, reject, restore or clear", clean(e.Action))
	}
	return ups, drops, nil
}

func (h *held) drop(f *Field, c *claim) {
	h.claims[f.Name] = slices.DeleteFunc(h.claims[f.Name], func(o *claim) bool { return o == c })
	h.count--
}

// Undo takes an edit back: what people had said of its fields before stands
// again, whatever sources said since. A second time it is sallyport.Conflict.
func (v *Inventory) Undo(ctx context.Context, by string, id int64) (Edited, error) {
	out := Edited{ID: id}
	err := v.change(ctx, "undo an edit", func(w *writer) error {
		w.by = sourcePerson + ":" + clean(by)
		var text string
		var undone int64
		err := w.tx.Tx.QueryRowContext(ctx, v.query("SELECT before, undone_at FROM inventory_edit WHERE id = ?"), id).Scan(&text, &undone)
		switch {
		case err == sql.ErrNoRows:
			return sallyport.Errorf(sallyport.NotFound, "there is no edit %d", id)
		case err != nil:
			return err
		case undone > 0:
			return sallyport.Errorf(sallyport.Conflict, "edit %d was undone already", id)
		}
		var before []beforeEdit
		if err := json.Unmarshal([]byte(text), &before); err != nil {
			return err
		}
		subjects := map[subject]struct{}{}
		for _, b := range before {
			subjects[subject{b.API, b.Op}] = struct{}{}
		}
		all, err := w.holds(subjects)
		if err != nil {
			return err
		}
		touched := map[subject]map[*Field]struct{}{}
		var ups, drops []kept
		for _, b := range before {
			on, f := subject{b.API, b.Op}, fieldByName[b.Field]
			if f == nil {
				continue
			}
			if touched[on] == nil {
				touched[on] = map[*Field]struct{}{}
			}
			touched[on][f] = struct{}{}
			h := all[on]
			for _, c := range slices.Clone(h.claims[f.Name]) {
				if c.power == Confirmed {
					h.drop(f, c)
					drops = append(drops, kept{on, f.Name, c})
					continue
				}
				was := storedVerdict{}
				for _, r := range b.Rejected {
					if r.Source == c.source && r.Item == c.item && r.Origin == c.origin && r.Value == c.value {
						was = r
					}
				}
				if c.rejectedAt != was.At {
					c.rejectedAt, c.rejectedBy, c.rejectedFor = was.At, was.By, was.For
					ups = append(ups, kept{on, f.Name, c})
				}
			}
			for _, p := range b.People {
				c := &claim{source: p.Source, item: p.Item, origin: p.Origin, value: p.Value, power: Confirmed, confidence: 1, evidence: p.Evidence, first: p.First, at: p.At}
				h.claims[f.Name] = append(h.claims[f.Name], c)
				h.count++
				ups = append(ups, kept{on, f.Name, c})
			}
		}
		if err := w.keepClaims(ups, drops); err != nil {
			return err
		}
		if err := w.settleAll(all, touched); err != nil {
			return err
		}
		out.Changes = slices.Clone(w.changes)
		return w.exec("UPDATE inventory_edit SET undone_at = ?, undone_by = ? WHERE id = ?", w.now, clean(by), id)
	})
	return out, err
}

// A PastEdit is an edit that was made.
type PastEdit struct {
	ID       int64
	Time     time.Time
	Person   string
	What     string
	Undone   time.Time
	UndoneBy string
}

// Edits lists the last 200 edits, newest first.
func (v *Inventory) Edits(ctx context.Context) ([]PastEdit, error) {
	var out []PastEdit
	err := v.read(ctx, "edits", "SELECT id, at, person, what, undone_at, undone_by FROM inventory_edit ORDER BY id DESC LIMIT 200", nil, func(rows *sql.Rows) error {
		var e PastEdit
		var at, undone int64
		err := rows.Scan(&e.ID, &at, &e.Person, &e.What, &undone, &e.UndoneBy)
		e.Time, e.Undone = timeOf(at), timeOf(undone)
		out = append(out, e)
		return err
	})
	return out, err
}

// A View is a question about the inventory that somebody saved.
type View struct {
	Name   string
	Person string
	Query  string // as in the address of the list
	Time   time.Time
}

// Views lists the saved views by name.
func (v *Inventory) Views(ctx context.Context) ([]View, error) {
	var out []View
	err := v.read(ctx, "views", "SELECT name, person, query, at FROM inventory_view ORDER BY name", nil, func(rows *sql.Rows) error {
		var x View
		var at int64
		err := rows.Scan(&x.Name, &x.Person, &x.Query, &at)
		x.Time = timeOf(at)
		out = append(out, x)
		return err
	})
	return out, err
}

// SaveView keeps a view under its name; an empty query drops it. At most 500 are kept.
func (v *Inventory) SaveView(ctx context.Context, by, name, query string) error {
	name, query = strings.TrimSpace(clean(name)), strings.TrimSpace(query)
	if name == "" || len(query) > 4000 {
		return sallyport.Errorf(sallyport.Invalid, "a view has a name and a question of at most 4000 bytes")
	}
	return v.change(ctx, "save view", func(w *writer) error {
		if query == "" {
			return w.exec("DELETE FROM inventory_view WHERE name = ?", name)
		}
		var n int
		if err := w.tx.Tx.QueryRowContext(ctx, v.query("SELECT COUNT(*) FROM inventory_view WHERE name <> ?"), name).Scan(&n); err != nil {
			return err
		}
		if n >= 500 {
			return sallyport.Errorf(sallyport.Limited, "500 views are saved already")
		}
		return w.exec("INSERT INTO inventory_view (name, person, query, at) VALUES (?,?,?,?) ON CONFLICT (name) DO UPDATE SET person = EXCLUDED.person, query = EXCLUDED.query, at = EXCLUDED.at", name, clean(by), query, w.now)
	})
}

// Decide deals with a proposed API: "accept" it, "ignore" it with a reason,
// "merge" it into another, "split" host and path off it into a proposal of its
// own, or "reopen" what was decided, which takes a merge apart again. What makes
// no sense is sallyport.Invalid, sallyport.NotFound or sallyport.Conflict.
func (v *Inventory) Decide(ctx context.Context, by string, d Decision) error {
	return v.change(ctx, "decide about a proposal", func(w *writer) error {
		w.by = sourcePerson + ":" + clean(by)
		name := clean(d.Name)
		var state, into string
		err := w.tx.Tx.QueryRowContext(ctx, v.query("SELECT state, merged_into FROM inventory_api WHERE name = ?"), name).Scan(&state, &into)
		if err == sql.ErrNoRows || err == nil && state == "" {
			return sallyport.Errorf(sallyport.NotFound, "no API %q is proposed", name)
		}
		if err != nil {
			return err
		}
		if d.Action != "reopen" && d.Action != "split" && state != stateProposed {
			return sallyport.Errorf(sallyport.Conflict, "%q is %s already: reopen it first", name, state)
		}
		v.locate = nil
		detail := clean(d.Reason)
		switch d.Action {
		case "accept":
			err = w.exec("UPDATE inventory_api SET state = ?, reason = ? WHERE name = ?", stateAccepted, detail, name)
		case "ignore":
			if detail == "" {
				return sallyport.Errorf(sallyport.Invalid, "say why it is ignored")
			}
			err = w.exec("UPDATE inventory_api SET state = ?, reason = ? WHERE name = ?", stateIgnored, detail, name)
		case "merge":
			target := clean(d.Into)
			if err := w.exists(subject{target, ""}); err != nil || target == name {
				return cmp.Or(err, sallyport.Errorf(sallyport.Invalid, "an API is not merged into itself"))
			}
			l, err := w.locator()
			if err != nil {
				return err
			}
			if target = l.names[target].api; target == name || target == "" {
				return sallyport.Errorf(sallyport.Invalid, "that would be a ring")
			}
			detail = strings.TrimSpace("into " + target + " " + detail)
			if err := w.exec("UPDATE inventory_api SET state = ?, merged_into = ?, reason = ? WHERE name = ?", stateMerged, target, clean(d.Reason), name); err != nil {
				return err
			}
			if err := w.moveAll(name, name, target); err != nil {
				return err
			}
		case "split":
			host, path := hostOf(clean(d.Host)), pathOf(d.Path)
			if host == "" {
				return sallyport.Errorf(sallyport.Invalid, "say which host and path are split off")
			}
			l, err := w.locator()
			if err != nil {
				return err
			}
			if l.proposed >= v.o.Proposed {
				return sallyport.Errorf(sallyport.Limited, "%d APIs are proposed already", l.proposed)
			}
			if slices.ContainsFunc(l.hosts[host], func(s spot) bool { return s.path == path }) && path == "" {
				return sallyport.Errorf(sallyport.Conflict, "%s is where %q stands: split off a path below it", host, name)
			}
			if _, err := w.propose(l, cmp.Or(clean(d.Into), host+path), host, path); err != nil {
				return err
			}
			detail = strings.TrimSpace(host + path + " " + detail)
		case "reopen":
			if state == stateProposed {
				return sallyport.Errorf(sallyport.Conflict, "%q is open", name)
			}
			if err := w.exec("UPDATE inventory_api SET state = ?, merged_into = '', reason = '' WHERE name = ?", stateProposed, name); err != nil {
				return err
			}
			if state == stateMerged {
				err = w.moveAll(name, into, name)
			}
			if err != nil {
				return err
			}
		default:
			return sallyport.Errorf(sallyport.Invalid, "no action %q: accept, ignore, merge, split or reopen", clean(d.Action))
		}
		if err != nil {
			return err
		}
		v.locate = nil
		w.changes = append(w.changes, Change{Time: timeOf(w.now), API: name, Kind: "proposal", Detail: strings.TrimSpace(d.Action + " " + detail), Source: w.by})
		return nil
	}, d.Name)
}

// A Decision is what a person does with a proposed API.
type Decision struct {
	Name       string
	Action     string
	Into       string // of merge; of split the new name, "" = host and path
	Host, Path string // of split
	Reason     string
}

// moveAll moves what came in under origin from one API to another.
func (w *writer) moveAll(origin, from, to string) error {
	subjects := map[subject]struct{}{{from, ""}: {}, {to, ""}: {}}
	var ops []subject
	rows, err := w.tx.Tx.QueryContext(w.ctx, w.v.query("SELECT DISTINCT op FROM inventory_claim WHERE api = ? AND origin = ? AND op <> '' UNION SELECT DISTINCT op FROM inventory_finding WHERE api = ? AND origin = ? AND op <> ''"), from, origin, from, origin)
	if err != nil {
		return err
	}
	if err := each(rows, func() error {
		var op string
		err := rows.Scan(&op)
		ops = append(ops, subject{to, op})
		subjects[subject{from, op}], subjects[subject{to, op}] = struct{}{}, struct{}{}
		return err
	}); err != nil {
		return err
	}
	for _, table := range []string{"inventory_claim", "inventory_location", "inventory_finding"} {
		if err := w.exec("UPDATE "+table+" SET api = ? WHERE api = ? AND origin = ?", to, from, origin); err != nil {
			return err
		}
	}
	for _, on := range ops {
		k := on.key()
		if err := w.exec("INSERT INTO inventory_operation (api, method, template, claimed) VALUES (?,?,?,1) ON CONFLICT (api, template, method) DO UPDATE SET claimed = 1", to, k.method, k.template); err != nil {
			return err
		}
		if err := w.exec("DELETE FROM inventory_operation WHERE api = ? AND method = ? AND template = ? AND claimed = 1 AND declared = 0 AND requests = 0 AND NOT EXISTS (SELECT 1 FROM inventory_claim c WHERE c.api = ? AND c.op = ?)", from, k.method, k.template, from, on.op); err != nil {
			return err
		}
	}
	w.v.cache = map[key]*operation{}
	all, err := w.holds(subjects)
	if err != nil {
		return err
	}
	touched := map[subject]map[*Field]struct{}{}
	for on, h := range all {
		touched[on] = map[*Field]struct{}{}
		for name := range h.claims {
			if f := fieldByName[name]; f != nil {
				touched[on][f] = struct{}{}
			}
		}
		for name, s := range h.fields {
			if f := fieldByName[name]; f != nil && s.power > 0 {
				touched[on][f] = struct{}{}
			}
		}
	}
	return w.settleAll(all, touched)
}

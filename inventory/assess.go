package inventory

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"sallyport.dev"
	"sallyport.dev/inventory/risk"
)

// tracked are the computed fields whose changes are history.
var tracked = []string{"state", "lifecycle", "exposure.observed", "evidence", "risk"}

// Assess works out the states and the risk of every API, keeps their history,
// and opens and ends the findings of the rules of risk. Run does it at a pace.
func (v *Inventory) Assess(ctx context.Context) error {
	all, err := v.Cards(ctx)
	if err != nil {
		return err
	}
	before := map[subject]map[string]settled{}
	if err := v.read(ctx, "states", "SELECT api, field, value, power, since FROM inventory_field WHERE op = '' AND power = 0", nil, func(rows *sql.Rows) error {
		var api, field string
		var s settled
		err := rows.Scan(&api, &field, &s.value, &s.power, &s.since)
		on := subject{api, ""}
		if before[on] == nil {
			before[on] = map[string]settled{}
		}
		before[on][field] = s
		return err
	}); err != nil {
		return err
	}
	speaks := map[string]map[string]bool{}
	if err := v.read(ctx, "findings", "SELECT api, rule FROM inventory_finding WHERE source = ? AND op = '' AND ended_at = 0", []any{sourceRisk}, func(rows *sql.Rows) error {
		var api, rule string
		err := rows.Scan(&api, &rule)
		if speaks[api] == nil {
			speaks[api] = map[string]bool{}
		}
		speaks[api][rule] = true
		return err
	}); err != nil {
		return err
	}
	type diff struct {
		card  *Card
		field *Field
		old   *settled
		now   *settled
	}
	var diffs []diff
	var findings []sallyport.Finding
	now := v.o.Now()
	for i := range all {
		c := &all[i]
		if c.Name == "" {
			continue
		}
		for _, name := range tracked {
			f := fieldByName[name]
			x := c.Values[name]
			if x.Power > 0 {
				continue // somebody says so, and that has its own history
			}
			value := x.Text
			if len(x.List) > 0 {
				b, _ := json.Marshal(x.List)
				value = string(b)
			}
			d := diff{card: c, field: f}
			if was, ok := before[subject{c.Name, ""}][name]; ok {
				d.old = &was
			}
			if value != "" {
				d.now = &settled{value: value, source: x.Source, confidence: 1}
			}
			switch {
			case d.old == nil && d.now == nil, d.old != nil && d.now != nil && d.old.value == d.now.value:
				continue
			case name == "risk" && d.old != nil && d.now != nil:
				was, _ := strconv.Atoi(d.old.value)
				if is := c.Risk.Total; max(was-is, is-was) < 3 {
					continue // it trembles with every request
				}
			case name == "state" && d.now != nil:
				d.now.evidence = cut(clean(fmt.Sprint(c.Reasons)), 500)
			}
			diffs = append(diffs, d)
		}
		for _, p := range c.Risk.Parts {
			if p.Rule == nil || p.Rule.Given {
				continue
			}
			if speaks[c.Name][p.Rule.ID] {
				delete(speaks[c.Name], p.Rule.ID)
				continue
			}
			evidence := p.Evidence
			if (p.Rule.ID == "inventory.unowned" || p.Rule.ID == "inventory.unowned-escalated") && !c.Escalates.IsZero() {
				evidence = append([]string{"escalation on " + c.Escalates.UTC().Format(time.DateOnly)}, evidence...)
			}
			findings = append(findings, sallyport.Finding{Rule: p.Rule.ID, Title: p.Rule.Title, Severity: p.Rule.Severity, Asset: sallyport.Asset{API: c.Name}, Evidence: evidence, Fix: p.Rule.Fix, Refs: p.Rule.Refs, Source: sourceRisk, Time: now})
		}
		for rule := range speaks[c.Name] {
			findings = append(findings, sallyport.Finding{Rule: rule, Asset: sallyport.Asset{API: c.Name}, Source: sourceRisk, Time: now, Gone: true})
		}
	}
	if len(diffs) > 0 {
		if err := v.change(ctx, "assess", func(w *writer) error {
			var args []any
			for _, d := range diffs {
				if d.now == nil {
					if err := w.exec("DELETE FROM inventory_field WHERE api = ? AND op = '' AND field = ? AND power = 0", d.card.Name, d.field.Name); err != nil {
						return err
					}
				} else {
					args = append(args, d.card.Name, "", d.field.Name, d.now.value, d.now.source, 0, 1.0, d.now.evidence, 0, w.now)
				}
				w.fieldChange(subject{d.card.Name, ""}, d.field, d.old, d.now)
			}
			// A claim that came in the meantime stays.
			return w.bulk("states", "INSERT INTO inventory_field AS x (api, op, field, value, source, power, confidence, evidence, conflict, since) VALUES ", 10,
				"ON CONFLICT (api, op, field) DO UPDATE SET value = EXCLUDED.value, source = EXCLUDED.source, evidence = EXCLUDED.evidence, since = EXCLUDED.since WHERE x.power = 0", args)
		}); err != nil {
			return err
		}
	}
	if len(findings) == 0 {
		return nil
	}
	return v.Find(ctx, findings)
}

// Weights is what each rule of risk adds.
type Weights struct {
	Points map[string]int // that differ from the built-in ones, by rule
	Period string         // of the audit for which they are frozen, "" = they are not
	Until  time.Time
	Person string
	Time   time.Time
}

func (v *Inventory) loadWeights(ctx context.Context) error {
	x, err := v.Weights(ctx)
	if err != nil {
		return err
	}
	m, err := risk.New(x.Points)
	if err != nil {
		// Weights of a rule that another version had must not stop this one.
		v.o.Logger.Warn("weights of risk name a rule that there is not; the built-in ones are used", "err", err)
		m, err = risk.New(nil)
	}
	v.risk.Store(m)
	return err
}

// Weights gives those in force.
func (v *Inventory) Weights(ctx context.Context) (Weights, error) {
	x := Weights{Points: map[string]int{}}
	err := v.read(ctx, "weights", "SELECT at, person, weights, period, until FROM inventory_weights ORDER BY at DESC LIMIT 1", nil, func(rows *sql.Rows) error {
		var at, until int64
		var text string
		if err := rows.Scan(&at, &x.Person, &text, &x.Period, &until); err != nil {
			return err
		}
		x.Time, x.Until = timeOf(at), timeOf(until)
		return json.Unmarshal([]byte(text), &x.Points)
	})
	return x, err
}

// SetWeights replaces the weights. With a period and its end they are frozen:
// until then nobody changes them (sallyport.Conflict), so that all scores of one
// audit are comparable. Every set of weights is kept.
func (v *Inventory) SetWeights(ctx context.Context, by string, x Weights) error {
	m, err := risk.New(x.Points)
	if err != nil {
		return err
	}
	now := v.o.Now()
	if (x.Period == "") != x.Until.IsZero() || !x.Until.IsZero() && !x.Until.After(now) {
		return sallyport.Errorf(sallyport.Invalid, "weights are frozen for a named period with an end that lies ahead")
	}
	if x.Points == nil {
		x.Points = map[string]int{}
	}
	b, err := json.Marshal(x.Points)
	if err != nil {
		return err
	}
	err = v.change(ctx, "set weights", func(w *writer) error {
		var period string
		var at, until int64
		err := w.tx.Tx.QueryRowContext(ctx, "SELECT at, period, until FROM inventory_weights ORDER BY at DESC LIMIT 1").Scan(&at, &period, &until)
		if err != nil && err != sql.ErrNoRows {
			return err
		}
		if until > w.now {
			return sallyport.Errorf(sallyport.Conflict, "the weights are frozen for %q until %s", period, timeOf(until).Format(time.RFC3339))
		}
		w.changes = append(w.changes, Change{Time: timeOf(w.now), Kind: "weights", Detail: cut(clean(fmt.Sprintf("%d rules changed %s", len(x.Points), x.Period)), 300), Source: sourcePerson + ":" + clean(by)})
		end := int64(0)
		if !x.Until.IsZero() {
			end = x.Until.UnixMicro()
		}
		return w.exec("INSERT INTO inventory_weights (at, person, weights, period, until) VALUES (?,?,?,?,?)", max(w.now, at+1), clean(by), string(b), clean(x.Period), end)
	})
	if err == nil {
		v.risk.Store(m)
	}
	return err
}

// OperationRisk scores one operation: what its API has at stake, with what the
// operation itself shows in place of the API's sums.
func (v *Inventory) OperationRisk(ctx context.Context, api, key string) (risk.Score, error) {
	c, err := v.Card(ctx, api)
	if err != nil {
		return risk.Score{}, err
	}
	d, err := v.Operation(ctx, api, key)
	if err != nil {
		return risk.Score{}, err
	}
	f := risk.Facts{}
	for name, value := range c.facts {
		f[name] = value
	}
	share := func(n int64) float64 {
		if d.Requests == 0 {
			return 0
		}
		return float64(n) / float64(d.Requests)
	}
	one := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	classes := slices.Clone(d.Classes)
	if classes == nil {
		classes = []string{}
	}
	kinds := slices.Clone(d.Kinds)
	if d.Anonymous > 0 {
		kinds = append(kinds, "anonymous")
	}
	if kinds == nil {
		kinds = []string{}
	}
	security := slices.DeleteFunc(slices.Clone(d.Security), func(s string) bool { return s == "" })
	if security == nil {
		security = []string{}
	}
	open := 0
	if d.Anonymous > 0 && d.Status2xx > 0 {
		seen := map[string]bool{}
		for _, at := range d.Found {
			if at.Response && !seen[at.Class] {
				seen[at.Class] = true
				open++
			}
		}
	}
	seen := float64(risk.Never)
	if !d.LastSeen.IsZero() {
		seen = d.LastSeen.Sub(v.o.Now()).Hours() / 24
	}
	states := []string{}
	if d.Shadow() {
		states = append(states, "shadow")
	}
	if (d.Deprecated || !d.UndeclaredSince.IsZero()) && seen > -v.o.Dormant.Hours()/24 && d.Requests > 0 {
		states = append(states, "zombie")
	}
	if d.Requests > 0 && seen <= -v.o.Dormant.Hours()/24 {
		states = append(states, "dormant")
	}
	for name, value := range map[string]any{"states": states, "requests": float64(d.Requests), "refused_share": share(d.Refused), "share_4xx": share(d.Status4xx), "share_5xx": share(d.Status5xx), "lost_share": share(d.None),
		"plain_share": share(d.Plain), "consumers": float64(d.Principals), "response_bytes_mean": share(d.ResponseBytes), "request_bytes_mean": share(d.RequestBytes), "operations": 1.0, "declared_operations": one(d.Declared),
		"shadow_operations": one(d.Shadow()), "unused_operations": one(d.Declared && d.Requests == 0), "undocumented_operations": one(d.Undocumented > 0), "left_operations": one(!d.UndeclaredSince.IsZero()), "probed_operations": one(d.Tier == Probed),
		"anonymous_classes": float64(open), "data_classes": classes, "auth_observed": kinds, "auth_declared": security, "latency_p95": float64(d.Latency.P95.Microseconds()) / 1000, "last_seen_days": seen} {
		f[name] = value
	}
	return v.risk.Load().Assess(f), nil
}

// A Graph is who calls what.
type Graph struct {
	Nodes []Node
	Edges []Edge
	Cut   bool // there are more consumers than are named
}

// A Node of a Graph. Kind is "consumer", "api" or "upstream".
type Node struct{ ID, Kind, Name string }

// An Edge says that From calls To; Requests is 0 where it is only said so.
type Edge struct {
	From, To string
	Requests int64
	Source   string // "traffic", or who says so
}

// Graph tells who calls an API and what it calls; "" is of all APIs, with their
// upstreams and, for each, its most frequent consumers. At most limit
// consumers are named (default 200).
func (v *Inventory) Graph(ctx context.Context, name string, limit int) (Graph, error) {
	var g Graph
	all, err := v.Cards(ctx)
	if err != nil {
		return g, err
	}
	if limit <= 0 || limit > 2000 {
		limit = 200
	}
	byName := map[string]bool{}
	for _, c := range all {
		byName[c.Name] = true
	}
	nodes := map[string]bool{}
	node := func(kind, name string) string {
		id := kind + ":" + name
		if kind == "upstream" && byName[name] {
			kind, id = "api", "api:"+name
		}
		if !nodes[id] {
			nodes[id] = true
			g.Nodes = append(g.Nodes, Node{id, kind, name})
		}
		return id
	}
	if name != "" && !byName[name] {
		return g, sallyport.Errorf(sallyport.NotFound, "the inventory knows no API %q", clean(name))
	}
	for i := range all {
		c := &all[i]
		up := c.Values["upstreams"]
		if name != "" && c.Name != name && !slices.Contains(up.List, name) || c.Name == "" && name == "" && c.Requests == 0 {
			continue
		}
		id := node("api", c.Name)
		for _, u := range up.List {
			if name == "" || c.Name == name || u == name {
				g.Edges = append(g.Edges, Edge{id, node("upstream", u), 0, up.Source})
			}
		}
		for _, who := range c.Values["consumers"].List {
			if name == "" || c.Name == name {
				g.Edges = append(g.Edges, Edge{node("consumer", who), id, 0, c.Values["consumers"].Source})
			}
		}
	}
	where, args := "", []any{}
	if name != "" {
		where, args = "WHERE o.api = ? ", []any{name}
	}
	seen := 0
	err = v.read(ctx, "consumers", "SELECT o.api, c.principal, SUM(c.count) FROM inventory_consumer c JOIN inventory_operation o ON o.id = c.operation "+where+"GROUP BY o.api, c.principal ORDER BY 3 DESC LIMIT "+strconv.Itoa(limit+1), args, func(rows *sql.Rows) error {
		var api, who string
		var n int64
		if err := rows.Scan(&api, &who, &n); err != nil {
			return err
		}
		if seen++; seen > limit {
			g.Cut = true
			return nil
		}
		g.Edges = append(g.Edges, Edge{node("consumer", who), node("api", api), n, sourceTraffic})
		return nil
	})
	return g, err
}

// ChangesBetween lists what happened from one time to another (zero: without
// bound), newest first, of one API or (api = "*") of all; field narrows it to
// one field's history, and key to one operation's ("*" = all). before is as of
// Changes.
func (v *Inventory) ChangesBetween(ctx context.Context, api, key, field string, from, to time.Time, before int64, limit int) ([]Change, error) {
	if !from.IsZero() && !to.IsZero() && to.Before(from) {
		return nil, sallyport.Errorf(sallyport.Invalid, "the window ends before it begins")
	}
	if limit <= 0 {
		limit = 100
	}
	where, args := "WHERE 1 = 1", []any{}
	add := func(q string, a any) { where, args = where+" AND "+q, append(args, a) }
	if before > 0 {
		add("id < ?", before)
	}
	if api != "*" {
		add("api = ?", api)
	}
	if key != "*" {
		add("op = ?", key)
	}
	if field != "" {
		add("field = ?", field)
	}
	if !from.IsZero() {
		add("at >= ?", from.UnixMicro())
	}
	if !to.IsZero() {
		add("at < ?", to.UnixMicro())
	}
	return v.changes(ctx, where+" ORDER BY id DESC LIMIT "+strconv.Itoa(min(limit, 1000)), args...)
}

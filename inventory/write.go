package inventory

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/DataDog/sketches-go/ddsketch"
	sketchstore "github.com/DataDog/sketches-go/ddsketch/store"
	"github.com/axiomhq/hyperloglog"
	"github.com/uptrace/bun"

	"sallyport.dev"
	"sallyport.dev/store"
)

// operation is what the writer remembers of a row, so that a batch needs no
// reading. It is right because one process consumes and every other writer of
// these rows holds Inventory.mu; after a failed transaction all of it is
// forgotten.
type operation struct {
	id           int64
	tier         Tier
	declared     bool
	answered     int64
	days         int64
	lastDay      int64
	undocumented int64
	claimed      bool
	classText    string
	kinds        string
	people       *people
	latency      *ddsketch.DDSketch
	consumers    map[string]struct{}
	places       map[placeKey]bool // → undocumented
	statuses     map[int]bool      // → undocumented
	classes      map[sallyport.DataClass]struct{}
}

// apiState is the same of an API.
type apiState struct {
	kinds      string
	people     *people
	latency    *ddsketch.DDSketch
	undeclared int // operations no specification declares, probed-only ones left out
	probed     int
	counted    bool // undeclared and probed are those of the table
}

// people counts distinct principals.
type people struct {
	sketch *hyperloglog.Sketch
	seen   map[string]struct{} // those inserted lately, which saves the hashing
	dirty  bool
}

func newPeople(b []byte) (*people, error) {
	s, err := hyperloglog.NewSketch(12, true)
	if err != nil {
		return nil, err
	}
	if len(b) > 0 {
		if err := s.UnmarshalBinary(b); err != nil {
			return nil, fmt.Errorf("read sketch of principals: %w", err)
		}
	}
	return &people{sketch: s, seen: map[string]struct{}{}}, nil
}

func (p *people) add(who string) {
	if _, ok := p.seen[who]; ok {
		return
	}
	if len(p.seen) < 256 {
		p.seen[who] = struct{}{}
	}
	p.sketch.Insert([]byte(who))
	p.dirty = true
}

func newLatency(b []byte) (*ddsketch.DDSketch, error) {
	if len(b) > 0 {
		s, err := ddsketch.DecodeDDSketch(b, func() sketchstore.Store { return sketchstore.NewCollapsingLowestDenseStore(512) }, nil)
		if err != nil {
			return nil, fmt.Errorf("read sketch of latency: %w", err)
		}
		return s, nil
	}
	return ddsketch.LogCollapsingLowestDenseDDSketch(0.02, 512)
}

func (v *Inventory) forget() {
	v.cache, v.names, v.place, v.at = map[key]*operation{}, map[string]*apiState{}, 0, time.Time{}
}

// maxCache bounds the operations the writer remembers.
const maxCache = 20_000

// handle counts one batch in one transaction.
func (v *Inventory) handle(ctx context.Context, messages []store.Message) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.place > 0 && len(messages) > 0 && messages[0].Seq <= v.place && !messages[0].Time.After(v.at) {
		messages = messages[1:]
	}
	if len(messages) == 0 {
		return nil
	}
	t, changes, err := v.apply(ctx, messages)
	if err != nil {
		v.forget()
		if v.failed++; v.failed < patience || ctx.Err() != nil {
			return err
		}
		if err := v.singly(ctx, messages); err != nil {
			return err
		}
		v.failed = 0
		return nil
	}
	v.failed = 0
	last := messages[len(messages)-1]
	v.place, v.at = last.Seq, last.Time
	v.stats.sequence.Store(last.Seq)
	if t == nil {
		return nil
	}
	v.stats.commits.Add(1)
	v.stats.counted.Add(t.counted)
	v.stats.behind.Store(int64(time.Since(time.UnixMicro(t.newest))))
	v.rates.add(t)
	v.notify(t, changes)
	if len(v.cache) > maxCache {
		v.cache = map[key]*operation{}
	}
	return nil
}

// patience is how often a batch is tried before its events are tried one by one.
const patience = 5

// singly counts the events of a batch that keeps failing one by one, and passes
// over those that fail alone, loudly: one bad event must not stop the
// catalogue for good. Where even the place cannot be moved it is the database
// that is at fault, and everything is tried again.
func (v *Inventory) singly(ctx context.Context, messages []store.Message) error {
	for i := range messages {
		t, changes, err := v.apply(ctx, messages[i:i+1])
		if err == nil {
			if t != nil {
				v.stats.counted.Add(t.counted)
				v.rates.add(t)
				v.notify(t, changes)
			}
			continue
		}
		v.forget()
		tx, begun := v.store.DB().BeginTx(ctx, nil)
		if begun != nil {
			return fmt.Errorf("begin: %w", begun)
		}
		_, moved := v.cursor.Take(ctx, tx, messages[i:i+1])
		if moved == nil {
			moved = tx.Commit()
		}
		if moved != nil {
			_ = tx.Rollback()
			return err
		}
		v.o.Logger.Error("event cannot be counted, passed over", "sequence", messages[i].Seq, "exchanges", len(v.in.Exchanges), "sightings", len(v.in.Sightings), "err", err)
	}
	v.stats.sequence.Store(messages[len(messages)-1].Seq)
	v.stats.commits.Add(1)
	return nil
}

// apply writes one batch; a nil tally means that all of it was counted before.
func (v *Inventory) apply(ctx context.Context, messages []store.Message) (*tally, []Change, error) {
	tx, err := v.store.DB().BeginTx(ctx, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback()
	fresh, err := v.cursor.Take(ctx, tx, messages)
	if err != nil {
		return nil, nil, err
	}
	if len(fresh) == 0 {
		return nil, nil, nil
	}
	w := &writer{v: v, tx: tx, ctx: ctx, now: v.o.Now().UnixMicro()}
	source, seq, err := w.source()
	if err != nil {
		return nil, nil, err
	}
	was := source
	t := newTally()
	e := &v.in
	for _, m := range fresh {
		if err := e.read(m.Data); err != nil {
			v.o.Logger.Error("event is unreadable, skipped", "sequence", m.Seq, "err", err)
		}
		for j := range e.Exchanges {
			t.exchange(&e.Exchanges[j])
		}
		if len(e.Sightings) == 0 {
			continue
		}
		if e.Source > 0 {
			// The same sightings may be published twice; the source tells. A
			// stream that began anew gives its numbers out again.
			if e.Source <= source && m.Seq > uint64(seq) {
				continue
			}
			source, seq = e.Source, int64(m.Seq)
		}
		for j := range e.Sightings {
			t.sighting(&e.Sightings[j])
		}
	}
	if source != was {
		if err := w.moveSource(source, seq); err != nil {
			return nil, nil, err
		}
	}
	if err := w.write(t); err != nil {
		return nil, nil, err
	}
	if err := tx.Commit(); err != nil {
		return nil, nil, fmt.Errorf("commit inventory: %w", err)
	}
	return t, w.changes, nil
}

// writer is one transaction.
type writer struct {
	v       *Inventory
	tx      bun.Tx
	ctx     context.Context
	now     int64
	changes []Change

	by       string                       // the person who does it, for the history of fields
	known    map[string]map[string]string // API → operation without names of arguments → template
	findings map[string]*int              // API → open findings
}

// query turns ? into what the dialect wants.
func (v *Inventory) query(q string) string {
	if v.store.Dialect() == store.SQLite {
		return q
	}
	var b strings.Builder
	n := 0
	for _, c := range []byte(q) {
		if c == '?' {
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

func (w *writer) exec(q string, args ...any) error {
	_, err := w.tx.Tx.ExecContext(w.ctx, w.v.query(q), args...)
	return err
}

// bulk runs one insert for many rows, some at a time. head ends in VALUES,
// tail begins with ON CONFLICT.
func (w *writer) bulk(what, head string, columns int, tail string, args []any) error {
	const atOnce = 64
	one := "(" + strings.TrimSuffix(strings.Repeat("?,", columns), ",") + "),"
	var full string
	for len(args) > 0 {
		n := min(len(args)/columns, atOnce)
		q := full
		if n != atOnce || q == "" {
			q = w.v.query(head + strings.TrimSuffix(strings.Repeat(one, n), ",") + " " + tail)
			if n == atOnce {
				full = q
			}
		}
		if _, err := w.tx.Tx.ExecContext(w.ctx, q, args[:n*columns]...); err != nil {
			return fmt.Errorf("write %s: %w", what, err)
		}
		args = args[n*columns:]
	}
	return nil
}

func (w *writer) source() (source uint64, seq int64, err error) {
	var s int64
	err = w.tx.Tx.QueryRowContext(w.ctx, w.v.query("SELECT source, seq FROM inventory_source WHERE name = ?"), w.v.o.Durable).Scan(&s, &seq)
	if err == sql.ErrNoRows {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read source: %w", err)
	}
	return uint64(s), seq, nil
}

func (w *writer) moveSource(source uint64, seq int64) error {
	if err := w.exec("INSERT INTO inventory_source (name, source, seq) VALUES (?,?,?) ON CONFLICT (name) DO UPDATE SET source = EXCLUDED.source, seq = EXCLUDED.seq", w.v.o.Durable, int64(source), seq); err != nil {
		return fmt.Errorf("move source: %w", err)
	}
	return nil
}

func (w *writer) change(k key, kind, detail string) {
	op := ""
	if k.method != "" {
		op = k.String()
	}
	w.changes = append(w.changes, Change{Time: timeOf(w.now), API: k.api, Key: op, Kind: kind, Detail: detail})
}

// write puts t into the tables.
func (w *writer) write(t *tally) error {
	if err := w.mergeAll(t); err != nil {
		return err
	}
	if err := w.ensure(t); err != nil {
		return err
	}
	if err := w.operations(t); err != nil {
		return err
	}
	if err := w.apis(t); err != nil {
		return err
	}
	return w.keepChanges()
}

func (w *writer) keepChanges() error {
	var args []any
	for _, c := range w.changes {
		args = append(args, c.Time.UnixMicro(), c.API, c.Key, c.Kind, c.Detail, c.Field, c.Old, c.New, c.Source, c.Evidence)
	}
	return w.bulk("changes", "INSERT INTO inventory_change (at, api, op, kind, detail, field, old, new, source, evidence) VALUES ", 10, "", args)
}

func keysOf(t *tally) []key {
	out := make([]key, 0, len(t.ops))
	for k := range t.ops {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b key) int {
		return strings.Compare(a.api+"\x00"+a.template+"\x00"+a.method, b.api+"\x00"+b.template+"\x00"+b.method)
	})
	return out
}

// load brings the rows of ks that are not remembered into the cache.
func (w *writer) load(ks []key) error {
	var missing []key
	for _, k := range ks {
		if w.v.cache[k] == nil {
			missing = append(missing, k)
		}
	}
	for chunk := range slices.Chunk(missing, 200) {
		var args []any
		for _, k := range chunk {
			args = append(args, k.api, k.template, k.method)
		}
		rows, err := w.tx.Tx.QueryContext(w.ctx, w.v.query(`SELECT id, api, template, method, tier, declared, answered, days, last_day, undocumented, claimed, classes, kinds, principals, latency
			FROM inventory_operation WHERE (api, template, method) IN (VALUES `+strings.TrimSuffix(strings.Repeat("(?,?,?),", len(chunk)), ",")+`)`), args...)
		if err != nil {
			return fmt.Errorf("read operations: %w", err)
		}
		byID := map[int64]*operation{}
		err = each(rows, func() error {
			var k key
			var people, latency []byte
			o := &operation{consumers: map[string]struct{}{}, places: map[placeKey]bool{}, statuses: map[int]bool{}, classes: map[sallyport.DataClass]struct{}{}}
			var declared, claimed int
			if err := rows.Scan(&o.id, &k.api, &k.template, &k.method, &o.tier, &declared, &o.answered, &o.days, &o.lastDay, &o.undocumented, &claimed, &o.classText, &o.kinds, &people, &latency); err != nil {
				return err
			}
			o.declared, o.claimed = declared == 1, claimed > 0
			var err error
			if o.people, err = newPeople(people); err != nil {
				return err
			}
			if o.latency, err = newLatency(latency); err != nil {
				return err
			}
			w.v.cache[k] = o
			byID[o.id] = o
			return nil
		})
		if err != nil {
			return fmt.Errorf("read operations: %w", err)
		}
		if len(byID) == 0 {
			continue
		}
		ids := make([]any, 0, len(byID))
		for id := range byID {
			ids = append(ids, id)
		}
		in := " WHERE operation IN (" + strings.TrimSuffix(strings.Repeat("?,", len(ids)), ",") + ")"
		read := func(q string, scan func(rows *sql.Rows) error) error {
			rows, err := w.tx.Tx.QueryContext(w.ctx, w.v.query(q+in), ids...)
			if err != nil {
				return fmt.Errorf("read details: %w", err)
			}
			if err := each(rows, func() error { return scan(rows) }); err != nil {
				return fmt.Errorf("read details: %w", err)
			}
			return nil
		}
		if err := read("SELECT operation, principal FROM inventory_consumer", func(rows *sql.Rows) error {
			var id int64
			var who string
			err := rows.Scan(&id, &who)
			if err == nil {
				byID[id].consumers[who] = struct{}{}
			}
			return err
		}); err != nil {
			return err
		}
		if err := read("SELECT operation, response, part, name, undocumented FROM inventory_place", func(rows *sql.Rows) error {
			var id int64
			var k placeKey
			var response, undocumented int
			err := rows.Scan(&id, &response, &k.in, &k.name, &undocumented)
			if err == nil {
				k.response = response == 1
				byID[id].places[k] = undocumented == 1
			}
			return err
		}); err != nil {
			return err
		}
		if err := read("SELECT operation, code, undocumented FROM inventory_status", func(rows *sql.Rows) error {
			var id int64
			var code, undocumented int
			err := rows.Scan(&id, &code, &undocumented)
			if err == nil {
				byID[id].statuses[code] = undocumented == 1
			}
			return err
		}); err != nil {
			return err
		}
		if err := read("SELECT operation, class, response, part, name FROM inventory_class", func(rows *sql.Rows) error {
			var id int64
			var c sallyport.DataClass
			var response int
			err := rows.Scan(&id, &c.Class, &response, &c.Place.In, &c.Place.Name)
			if err == nil {
				c.Response = response == 1
				byID[id].classes[c] = struct{}{}
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// each calls f for every row and closes rows.
func each(rows *sql.Rows, f func() error) error {
	defer rows.Close()
	for rows.Next() {
		if err := f(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// counted knows how many undeclared operations an API has.
func (w *writer) counted(api string) (*apiState, error) {
	s, err := w.api(api)
	if err != nil || s.counted {
		return s, err
	}
	err = w.tx.Tx.QueryRowContext(w.ctx, w.v.query("SELECT COALESCE(SUM(CASE WHEN tier > 1 THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN tier <= 1 THEN 1 ELSE 0 END), 0) FROM inventory_operation WHERE api = ? AND declared = 0 AND claimed = 0"), api).Scan(&s.undeclared, &s.probed)
	if err != nil {
		return nil, fmt.Errorf("count operations: %w", err)
	}
	s.counted = true
	return s, nil
}

// ensure makes a row for each new operation; beyond the bounds there is none,
// and its tally is dropped: the API's own counts have it.
func (w *writer) ensure(t *tally) error {
	ks := keysOf(t)
	if err := w.load(ks); err != nil {
		return err
	}
	var args []any
	var made []key
	for _, k := range ks {
		o := t.ops[k]
		if w.v.cache[k] != nil || o.count == 0 {
			continue
		}
		if !o.declared {
			s, err := w.counted(k.api)
			if err != nil {
				return err
			}
			if o.answered == 0 {
				if s.probed >= w.v.o.Probed {
					delete(t.ops, k)
					continue
				}
				s.probed++
			} else {
				if s.undeclared >= w.v.o.Operations {
					delete(t.ops, k)
					continue
				}
				s.undeclared++
			}
		}
		declared := 0
		if o.declared {
			declared = 1
		}
		args = append(args, k.api, k.method, k.template, declared, o.first)
		made = append(made, k)
		w.change(k, "first seen", "")
	}
	if err := w.bulk("operations", "INSERT INTO inventory_operation (api, method, template, declared, first_seen) VALUES ", 5, "ON CONFLICT (api, template, method) DO NOTHING", args); err != nil {
		return err
	}
	return w.load(made)
}

const countColumns = `requests, refused, status1, status2, status3, status4, status5, none, request_bytes, response_bytes, tls, anonymous`

func (s *sums) columns() []any {
	return []any{s.count, s.refused, s.status[1], s.status[2], s.status[3], s.status[4], s.status[5], s.status[0], s.reqB, s.respB, s.tls, s.anonymous}
}

const addCounts = `requests = requests + ?, refused = refused + ?, status1 = status1 + ?, status2 = status2 + ?, status3 = status3 + ?, status4 = status4 + ?, status5 = status5 + ?,
	none = none + ?, request_bytes = request_bytes + ?, response_bytes = response_bytes + ?, tls = tls + ?, anonymous = anonymous + ?,
	first_seen = CASE WHEN first_seen = 0 OR first_seen > ? THEN ? ELSE first_seen END, last_seen = CASE WHEN last_seen < ? THEN ? ELSE last_seen END`

// operations adds t to the rows, which all exist.
func (w *writer) operations(t *tally) error {
	update, err := w.tx.Tx.PrepareContext(w.ctx, w.v.query(`UPDATE inventory_operation SET `+addCounts+`, errors = errors + ?, tier = ?, answered = ?, days = ?, last_day = ?,
		undocumented = ?, classes = ?, kinds = ?, principal_count = ?, principals = ?, p95 = ?, latency = ?, reasons = CASE WHEN ? = '' THEN reasons ELSE ? END WHERE id = ?`))
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	defer update.Close()
	var places, statuses, consumers, classes, hours []any
	for _, k := range keysOf(t) {
		o, c := t.ops[k], w.v.cache[k]
		if c == nil || o.count == 0 {
			continue
		}
		o.unfold()
		for p, n := range o.places {
			known, have := c.places[p]
			if !have && len(c.places) >= w.v.o.Places {
				continue
			}
			if n.undocumented && !known {
				c.undocumented++
				w.change(k, "undocumented", sallyport.Place{In: p.in, Name: p.name}.String())
			}
			if !have {
				p.name, p.in = strings.Clone(p.name), sallyport.In(strings.Clone(string(p.in))) // the strings of an exchange share its bytes
			}
			c.places[p] = known || n.undocumented
			places = append(places, c.id, flag(p.response), string(p.in), p.name, flag(n.undocumented), n.format, n.count, n.types[0], n.types[1], n.types[2], n.types[3], n.types[4], n.types[5], n.types[6], n.first, n.last)
		}
		for code, n := range o.statuses {
			known, have := c.statuses[code]
			if !have && len(c.statuses) >= 100 {
				continue
			}
			if n.undocumented && !known {
				c.undocumented++
				w.change(k, "status", strconv.Itoa(code)+" is in no specification")
			}
			c.statuses[code] = known || n.undocumented
			statuses = append(statuses, c.id, code, flag(n.undocumented), n.count, n.first, n.last)
		}
		users := map[string]*span{} // by the text that is stored: two principals may look the same once cleaned
		for p, n := range o.consumers {
			who := clean(p.String())
			if n.answered { // who was only turned away corroborates nothing
				c.people.add(who)
			}
			if p.Kind != "" && !strings.Contains(" "+c.kinds+" ", " "+p.Kind+" ") && len(c.kinds) < 200 {
				c.kinds = strings.TrimSpace(c.kinds + " " + clean(p.Kind))
			}
			if _, have := c.consumers[who]; !have {
				if len(c.consumers) >= w.v.o.Consumers {
					continue
				}
				c.consumers[who] = struct{}{}
			}
			if u := users[who]; u != nil {
				u.join(n.span)
			} else {
				users[who] = &n.span
			}
		}
		for who, n := range users {
			consumers = append(consumers, c.id, who, n.count, n.first, n.last)
		}
		for d, n := range o.classes {
			if _, have := c.classes[d]; !have {
				if len(c.classes) >= w.v.o.Places {
					continue
				}
				d.Class, d.Place.Name, d.Place.In = strings.Clone(d.Class), strings.Clone(d.Place.Name), sallyport.In(strings.Clone(string(d.Place.In)))
				c.classes[d] = struct{}{}
				if !strings.Contains(" "+c.classText+" ", " "+d.Class+" ") {
					c.classText = strings.TrimSpace(c.classText + " " + d.Class)
					w.change(k, "class", d.Class+" in "+d.Place.String())
				}
			}
			classes = append(classes, c.id, d.Class, flag(d.Response), string(d.Place.In), d.Place.Name, n.count, n.first, n.last)
		}
		for h, n := range o.hours {
			hours = append(hours, c.id, h*3600*1e6, n.requests, n.refused, n.errors)
		}
		c.answered += o.answered
		for d := range o.days {
			if d > c.lastDay { // days count once, in order
				c.days++
				c.lastDay = d
			}
		}
		w.weigh(k, c, o.declared)
		for _, d := range o.microseconds {
			if err := c.latency.Add(float64(d)); err != nil {
				return fmt.Errorf("add to sketch: %w", err)
			}
		}
		var sketch []byte
		c.latency.Encode(&sketch, false)
		people, err := c.people.sketch.MarshalBinary()
		if err != nil {
			return fmt.Errorf("encode sketch: %w", err)
		}
		reasons := ""
		if len(o.reasons) > 0 {
			b, _ := json.Marshal(o.reasons)
			reasons = string(b)
		}
		args := append(o.columns(), o.first, o.first, o.last, o.last, o.status[5]+o.status[0], int(c.tier), c.answered, c.days, c.lastDay, c.undocumented, c.classText, c.kinds,
			int64(c.people.sketch.Estimate()), people, quantile(c.latency, 0.95).Microseconds(), sketch, reasons, reasons, c.id)
		if _, err := update.ExecContext(w.ctx, args...); err != nil {
			return fmt.Errorf("write operation: %w", err)
		}
	}
	const firstLast = `first_seen = CASE WHEN x.first_seen = 0 OR x.first_seen > EXCLUDED.first_seen THEN EXCLUDED.first_seen ELSE x.first_seen END,
		last_seen = CASE WHEN x.last_seen < EXCLUDED.last_seen THEN EXCLUDED.last_seen ELSE x.last_seen END`
	if err := w.bulk("places", `INSERT INTO inventory_place AS x (operation, response, part, name, undocumented, seen_format, count, n_object, n_array, n_string, n_integer, n_number, n_boolean, n_null, first_seen, last_seen) VALUES `, 16,
		`ON CONFLICT (operation, response, part, name) DO UPDATE SET undocumented = CASE WHEN x.undocumented = 1 OR EXCLUDED.undocumented = 1 THEN 1 ELSE 0 END,
		seen_format = CASE WHEN x.count = 0 OR x.seen_format = EXCLUDED.seen_format OR EXCLUDED.n_string = 0 THEN CASE WHEN EXCLUDED.n_string = 0 AND x.count > 0 THEN x.seen_format ELSE EXCLUDED.seen_format END ELSE '-' END,
		count = x.count + EXCLUDED.count, n_object = x.n_object + EXCLUDED.n_object, n_array = x.n_array + EXCLUDED.n_array, n_string = x.n_string + EXCLUDED.n_string, n_integer = x.n_integer + EXCLUDED.n_integer,
		n_number = x.n_number + EXCLUDED.n_number, n_boolean = x.n_boolean + EXCLUDED.n_boolean, n_null = x.n_null + EXCLUDED.n_null, `+firstLast, places); err != nil {
		return err
	}
	if err := w.bulk("statuses", `INSERT INTO inventory_status AS x (operation, code, undocumented, count, first_seen, last_seen) VALUES `, 6,
		`ON CONFLICT (operation, code) DO UPDATE SET undocumented = CASE WHEN x.undocumented = 1 OR EXCLUDED.undocumented = 1 THEN 1 ELSE 0 END, count = x.count + EXCLUDED.count, `+firstLast, statuses); err != nil {
		return err
	}
	if err := w.bulk("consumers", `INSERT INTO inventory_consumer AS x (operation, principal, count, first_seen, last_seen) VALUES `, 5,
		`ON CONFLICT (operation, principal) DO UPDATE SET count = x.count + EXCLUDED.count, `+firstLast, consumers); err != nil {
		return err
	}
	if err := w.bulk("classes", `INSERT INTO inventory_class AS x (operation, class, response, part, name, count, first_seen, last_seen) VALUES `, 8,
		`ON CONFLICT (operation, class, response, part, name) DO UPDATE SET count = x.count + EXCLUDED.count, `+firstLast, classes); err != nil {
		return err
	}
	return w.bulk("hours", `INSERT INTO inventory_hour AS x (operation, hour, requests, refused, errors) VALUES `, 5,
		`ON CONFLICT (operation, hour) DO UPDATE SET requests = x.requests + EXCLUDED.requests, refused = x.refused + EXCLUDED.refused, errors = x.errors + EXCLUDED.errors`, hours)
}

// weigh sets the tier that the evidence carries; it only rises.
func (w *writer) weigh(k key, c *operation, declared bool) {
	tier := Probed
	switch {
	case c.answered == 0:
	case declared || c.declared:
		tier = Matched
	case c.people.sketch.Estimate() >= 2 || c.days >= int64(w.v.o.Corroborated):
		tier = Corroborated
	default:
		tier = SeenOnce
	}
	if tier <= c.tier {
		return
	}
	if s := w.v.names[k.api]; s != nil && c.tier == Probed && !c.declared {
		s.probed--
		s.undeclared++
	}
	if c.tier > Unseen {
		w.change(k, "tier", c.tier.String()+" → "+tier.String())
	}
	c.tier = tier
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

func quantile(s *ddsketch.DDSketch, q float64) time.Duration {
	v, err := s.GetValueAtQuantile(q)
	if err != nil {
		return 0 // empty
	}
	return time.Duration(v) * time.Microsecond
}

// api gives what is remembered of an API, and its row.
func (w *writer) api(name string) (*apiState, error) {
	if s := w.v.names[name]; s != nil {
		return s, nil
	}
	s := &apiState{}
	var people, latency []byte
	err := w.tx.Tx.QueryRowContext(w.ctx, w.v.query("SELECT kinds, principals, latency FROM inventory_api WHERE name = ?"), name).Scan(&s.kinds, &people, &latency)
	if err == sql.ErrNoRows {
		err = w.exec("INSERT INTO inventory_api (name, known_at) VALUES (?, ?)", name, w.now)
	}
	if err != nil {
		return nil, fmt.Errorf("read API: %w", err)
	}
	if s.people, err = newPeople(people); err != nil {
		return nil, err
	}
	if s.latency, err = newLatency(latency); err != nil {
		return nil, err
	}
	w.v.names[strings.Clone(name)] = s
	return s, nil
}

func (w *writer) apis(t *tally) error {
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for n := range t.apis {
			if !yield(n) {
				return
			}
		}
	}) {
		a := t.apis[name]
		s, err := w.api(name)
		if err != nil {
			return err
		}
		for p := range a.principals {
			s.people.add(clean(p.String()))
			if kind := cmp.Or(clean(p.Kind), "anonymous"); !strings.Contains(" "+s.kinds+" ", " "+kind+" ") && len(s.kinds) < 200 {
				s.kinds = strings.TrimSpace(s.kinds + " " + kind)
			}
		}
		for _, d := range a.microseconds {
			if err := s.latency.Add(float64(d)); err != nil {
				return fmt.Errorf("add to sketch: %w", err)
			}
		}
		var sketch []byte
		s.latency.Encode(&sketch, false)
		people, err := s.people.sketch.MarshalBinary()
		if err != nil {
			return fmt.Errorf("encode sketch: %w", err)
		}
		args := append(a.columns(), a.first, a.first, a.last, a.last, a.public, s.kinds, int64(s.people.sketch.Estimate()), people, sketch, name)
		if err := w.exec(`UPDATE inventory_api SET `+addCounts+`, public = public + ?, kinds = ?, principal_count = ?, principals = ?, latency = ? WHERE name = ?`, args...); err != nil {
			return fmt.Errorf("write API: %w", err)
		}
	}
	return nil
}

// mergeAll moves what stood under templates that discovery has swallowed.
func (w *writer) mergeAll(t *tally) error {
	for _, m := range t.merges {
		if err := w.load([]key{m.old, m.new}); err != nil {
			return err
		}
		old := w.v.cache[m.old]
		if old == nil || old.declared {
			continue
		}
		if w.v.cache[m.new] == nil {
			// Nothing stands under the new name: the row is renamed, with all that hangs on it.
			b, _ := json.Marshal(m.reasons)
			if err := w.exec("UPDATE inventory_operation SET template = ?, method = ?, reasons = ? WHERE id = ?", m.new.template, m.new.method, string(b), old.id); err != nil {
				return fmt.Errorf("rename operation: %w", err)
			}
			if err := w.exec("UPDATE inventory_change SET op = ? WHERE api = ? AND op = ?", m.new.String(), m.old.api, m.old.String()); err != nil {
				return fmt.Errorf("rename operation: %w", err)
			}
			if err := w.moveClaims(m, old); err != nil {
				return err
			}
			delete(w.v.cache, m.old)
			w.v.cache[key{strings.Clone(m.new.api), strings.Clone(m.new.method), strings.Clone(m.new.template)}] = old
			w.change(m.new, "merged", m.old.template)
			continue
		}
		if err := w.mergeRow(m, old, w.v.cache[m.new]); err != nil {
			return err
		}
	}
	return nil
}

// mergeRow adds everything of old to into and drops old.
func (w *writer) mergeRow(m merge, old, into *operation) error {
	if err := into.latency.MergeWith(old.latency); err != nil {
		return fmt.Errorf("merge sketch: %w", err)
	}
	if err := into.people.sketch.Merge(old.people.sketch); err != nil {
		return fmt.Errorf("merge sketch: %w", err)
	}
	into.answered += old.answered
	into.days = max(into.days, old.days)
	into.lastDay = max(into.lastDay, old.lastDay)
	for _, c := range strings.Fields(old.classText) {
		if !strings.Contains(" "+into.classText+" ", " "+c+" ") {
			into.classText = strings.TrimSpace(into.classText + " " + c)
		}
	}
	for _, c := range strings.Fields(old.kinds) {
		if !strings.Contains(" "+into.kinds+" ", " "+c+" ") {
			into.kinds = strings.TrimSpace(into.kinds + " " + c)
		}
	}
	var sketch []byte
	into.latency.Encode(&sketch, false)
	people, err := into.people.sketch.MarshalBinary()
	if err != nil {
		return fmt.Errorf("encode sketch: %w", err)
	}
	if !into.declared {
		into.tier = max(into.tier, old.tier)
	}
	w.weigh(m.new, into, false)
	var set []string
	for _, c := range strings.Split(countColumns+", errors", ", ") {
		set = append(set, c+" = x."+c+" + o."+c)
	}
	q := `UPDATE inventory_operation AS x SET ` + strings.Join(set, ", ") + `,
		first_seen = CASE WHEN x.first_seen = 0 OR o.first_seen > 0 AND o.first_seen < x.first_seen THEN o.first_seen ELSE x.first_seen END,
		last_seen = CASE WHEN o.last_seen > x.last_seen THEN o.last_seen ELSE x.last_seen END,
		tier = ?, answered = ?, days = ?, last_day = ?, classes = ?, kinds = ?, principal_count = ?, principals = ?, p95 = ?, latency = ?
		FROM inventory_operation AS o WHERE x.id = ? AND o.id = ?`
	if err := w.exec(q, int(into.tier), into.answered, into.days, into.lastDay, into.classText, into.kinds, int64(into.people.sketch.Estimate()), people, quantile(into.latency, 0.95).Microseconds(), sketch, into.id, old.id); err != nil {
		return fmt.Errorf("merge operation: %w", err)
	}
	const firstLast = `first_seen = CASE WHEN x.first_seen = 0 OR x.first_seen > EXCLUDED.first_seen THEN EXCLUDED.first_seen ELSE x.first_seen END, last_seen = CASE WHEN x.last_seen < EXCLUDED.last_seen THEN EXCLUDED.last_seen ELSE x.last_seen END`
	for _, c := range []struct{ table, key, sums, rest string }{
		{"inventory_place", "response, part, name", "count, n_object, n_array, n_string, n_integer, n_number, n_boolean, n_null", "first_seen, last_seen, seen_format"},
		{"inventory_status", "code", "count", "first_seen, last_seen"},
		{"inventory_consumer", "principal", "count", "first_seen, last_seen"},
		{"inventory_class", "class, response, part, name", "count", "first_seen, last_seen"},
		{"inventory_hour", "hour", "requests, refused, errors", ""},
	} {
		columns := c.key + ", " + c.sums
		if c.rest != "" {
			columns += ", " + c.rest
		}
		var set []string
		for _, s := range strings.Split(c.sums, ", ") {
			set = append(set, s+" = x."+s+" + EXCLUDED."+s)
		}
		if c.rest != "" {
			set = append(set, firstLast)
		}
		q := "INSERT INTO " + c.table + " AS x (operation, " + columns + ") SELECT ?, " + columns + " FROM " + c.table + " WHERE operation = ? ON CONFLICT (operation, " + c.key + ") DO UPDATE SET " + strings.Join(set, ", ")
		if w.v.store.Dialect() == store.Postgres {
			q = strings.Replace(q, "SELECT ?,", "SELECT CAST(? AS BIGINT),", 1)
		}
		if err := w.exec(q, into.id, old.id); err != nil {
			return fmt.Errorf("merge %s: %w", c.table, err)
		}
	}
	if err := w.moveClaims(m, old); err != nil {
		return err
	}
	if err := w.drop([]any{old.id}); err != nil {
		return err
	}
	delete(w.v.cache, m.old)
	for k := range old.places {
		if _, have := into.places[k]; !have {
			into.places[k] = false
		}
	}
	for k := range old.statuses {
		if _, have := into.statuses[k]; !have {
			into.statuses[k] = false
		}
	}
	for k := range old.consumers {
		into.consumers[k] = struct{}{}
	}
	for k := range old.classes {
		into.classes[k] = struct{}{}
	}
	if s := w.v.names[m.old.api]; s != nil {
		s.counted = false
	}
	w.change(m.new, "merged", m.old.template)
	return nil
}

// moveClaims lets what was claimed and found of an operation follow its merge.
func (w *writer) moveClaims(m merge, old *operation) error {
	from, to := m.old.String(), m.new.String()
	if err := w.exec("UPDATE inventory_finding SET op = ? WHERE api = ? AND op = ?", to, m.old.api, from); err != nil {
		return fmt.Errorf("move findings: %w", err)
	}
	if !old.claimed {
		return nil
	}
	for table, columns := range map[string]string{
		"inventory_claim": "field, source, item, origin, value, power, confidence, evidence, first_at, at, rejected_by, rejected_at, rejected_for",
		"inventory_field": "field, value, source, power, confidence, evidence, conflict, since",
	} {
		if err := w.exec("INSERT INTO "+table+" (api, op, "+columns+") SELECT api, '"+strings.ReplaceAll(to, "'", "''")+"', "+columns+" FROM "+table+" WHERE api = ? AND op = ? ON CONFLICT DO NOTHING", m.old.api, from); err != nil {
			return fmt.Errorf("move claims: %w", err)
		}
		if err := w.exec("DELETE FROM "+table+" WHERE api = ? AND op = ?", m.old.api, from); err != nil {
			return fmt.Errorf("move claims: %w", err)
		}
	}
	return w.exec("UPDATE inventory_operation SET claimed = 1 WHERE api = ? AND method = ? AND template = ?", m.new.api, m.new.method, m.new.template)
}

// drop deletes operations with all that hangs on them.
func (w *writer) drop(ids []any) error {
	for chunk := range slices.Chunk(ids, 500) {
		in := "(" + strings.TrimSuffix(strings.Repeat("?,", len(chunk)), ",") + ")"
		for _, q := range []string{"inventory_place WHERE operation", "inventory_status WHERE operation", "inventory_consumer WHERE operation", "inventory_class WHERE operation", "inventory_hour WHERE operation", "inventory_operation WHERE id"} {
			if err := w.exec("DELETE FROM "+q+" IN "+in, chunk...); err != nil {
				return fmt.Errorf("drop operation: %w", err)
			}
		}
	}
	return nil
}

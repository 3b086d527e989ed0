package inventory

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sallyport.dev"
)

// Declare says what configuration and specification declare of an API: its
// owner, exposure and match, and all its operations. Operations of an earlier
// declaration that ops lacks become undeclared from now on; their history
// stays. The same declaration again changes nothing.
func (v *Inventory) Declare(ctx context.Context, api sallyport.API, ops []sallyport.Operation) error {
	ops = slices.Clone(ops)
	slices.SortFunc(ops, func(a, b sallyport.Operation) int {
		return cmp.Or(strings.Compare(a.Template, b.Template), strings.Compare(a.Method, b.Method))
	})
	sum := digest(struct {
		API    sallyport.API
		Ops    []sallyport.Operation
		Fields bool // since fields follow from it, it is taken over once more
	}{api, ops, true})
	return v.change(ctx, "declare API "+api.Name, func(w *writer) error {
		name := clean(api.Name)
		if _, err := w.api(name); err != nil {
			return err
		}
		var before string
		var configured int
		if err := w.tx.Tx.QueryRowContext(ctx, v.query("SELECT declaration, configured FROM inventory_api WHERE name = ?"), name).Scan(&before, &configured); err != nil {
			return err
		}
		if before == sum && configured == 1 {
			return nil
		}
		hosts, err := json.Marshal(append([]string{}, api.Hosts...))
		if err != nil {
			return err
		}
		if err := w.exec("UPDATE inventory_api SET configured = 1, hosts = ?, path = ?, team = ?, contact = ?, deputy = ?, department = ?, exposure = ?, declaration = ?, description = '', state = '', merged_into = '' WHERE name = ?",
			string(hosts), api.Path, api.Owner.Team, api.Owner.Contact, api.Owner.Deputy, api.Department, string(api.Exposure), sum, name); err != nil {
			return err
		}
		v.locate = nil
		if err := w.declareFields(name, map[string][]string{"hosts": api.Hosts, "path": {api.Path}, "owner.team": {api.Owner.Team}, "owner.contact": {api.Owner.Contact},
			"owner.deputy": {api.Owner.Deputy}, "department": {api.Department}, "exposure.declared": {string(api.Exposure)}}); err != nil {
			return err
		}
		w.change(key{api: name}, "declared", fmt.Sprintf("%d operations", len(ops)))
		had := map[key]string{} // declared until now → name
		rows, err := w.tx.Tx.QueryContext(ctx, v.query("SELECT method, template, name FROM inventory_operation WHERE api = ? AND declared = 1"), name)
		if err != nil {
			return err
		}
		if err := each(rows, func() error {
			k := key{api: name}
			var id string
			err := rows.Scan(&k.method, &k.template, &id)
			had[k] = id
			return err
		}); err != nil {
			return err
		}
		var args []any
		first := len(had) == 0
		seen := map[key]bool{}
		for _, o := range ops {
			k := key{name, clean(o.Method), clean(o.Template)}
			if seen[k] {
				continue
			}
			seen[k] = true
			id, was := had[k]
			delete(had, k)
			if was && id == o.Name {
				continue
			}
			args = append(args, k.api, k.method, k.template, clean(o.Name), w.now, 1)
			if !was && !first {
				w.change(k, "declared", "")
			}
		}
		// A shadow operation that is declared now keeps its history and matches its contract.
		if err := w.bulk("operations", "INSERT INTO inventory_operation AS x (api, method, template, name, declared_at, declared) VALUES ", 6,
			`ON CONFLICT (api, template, method) DO UPDATE SET name = EXCLUDED.name, declared_at = CASE WHEN x.declared = 1 THEN x.declared_at ELSE EXCLUDED.declared_at END, declared = 1, undeclared_at = 0,
			tier = CASE WHEN x.answered > 0 THEN 4 ELSE x.tier END`, args); err != nil {
			return err
		}
		for k := range had {
			if err := w.exec(`UPDATE inventory_operation SET declared = 0, undeclared_at = ?, described = 0, tier = CASE WHEN answered = 0 THEN tier WHEN principal_count >= 2 OR days >= ? THEN 3 ELSE 2 END
				WHERE api = ? AND method = ? AND template = ?`, w.now, v.o.Corroborated, k.api, k.method, k.template); err != nil {
				return err
			}
			w.change(k, "undeclared", "left the specification")
		}
		v.cache, v.names = map[key]*operation{}, map[string]*apiState{}
		if err := w.adopt(name, seen); err != nil {
			return err
		}
		v.cache, v.names = map[key]*operation{}, map[string]*apiState{}
		return nil
	}, api.Name)
}

var arguments = regexp.MustCompile(`\{[^}]*\}`)

// adopt moves what was counted for a shadow operation to the declared one that
// differs from it in the names of its arguments only.
func (w *writer) adopt(api string, declared map[key]bool) error {
	bare := func(k key) key {
		k.template = arguments.ReplaceAllString(k.template, "{}")
		return k
	}
	at := map[key]key{}
	for k := range declared {
		at[bare(k)] = k
	}
	var merges []merge
	rows, err := w.tx.Tx.QueryContext(w.ctx, w.v.query("SELECT method, template FROM inventory_operation WHERE api = ? AND declared = 0 ORDER BY id"), api)
	if err != nil {
		return err
	}
	if err := each(rows, func() error {
		k := key{api: api}
		err := rows.Scan(&k.method, &k.template)
		if into, ok := at[bare(k)]; ok {
			merges = append(merges, merge{old: k, new: into})
		}
		return err
	}); err != nil {
		return err
	}
	return w.mergeAll(&tally{merges: merges})
}

// Keep tells which APIs are configured; all others, declared before, no longer
// are. Their rows and history stay.
func (v *Inventory) Keep(ctx context.Context, names ...string) error {
	return v.change(ctx, "keep APIs", func(w *writer) error {
		var gone []string
		rows, err := w.tx.Tx.QueryContext(ctx, "SELECT name FROM inventory_api WHERE configured = 1")
		if err != nil {
			return err
		}
		if err := each(rows, func() error {
			var name string
			err := rows.Scan(&name)
			if !slices.Contains(names, name) {
				gone = append(gone, name)
			}
			return err
		}); err != nil {
			return err
		}
		for _, name := range gone {
			if err := w.exec("UPDATE inventory_api SET configured = 0, declaration = '' WHERE name = ?", name); err != nil {
				return err
			}
			if err := w.declareFields(name, map[string][]string{"hosts": nil, "path": nil, "owner.team": nil, "owner.contact": nil, "owner.deputy": nil, "department": nil, "exposure.declared": nil}); err != nil {
				return err
			}
			v.locate = nil
			w.change(key{api: name}, "gone", "left the configuration")
		}
		return nil
	}, names...)
}

// Describe adds the contracts of api's operations; they must have been
// declared. It replaces what an earlier Describe said of api.
func (v *Inventory) Describe(ctx context.Context, api string, contracts []Contract) error {
	sum := digest(contracts)
	return v.change(ctx, "describe API "+api, func(w *writer) error {
		name := clean(api)
		var before string
		err := w.tx.Tx.QueryRowContext(ctx, v.query("SELECT description FROM inventory_api WHERE name = ?"), name).Scan(&before)
		if err == sql.ErrNoRows {
			return sallyport.Errorf(sallyport.NotFound, "no API %q was declared", api)
		}
		if err != nil || before == sum {
			return err
		}
		ids := map[key]int64{}
		rows, err := w.tx.Tx.QueryContext(ctx, v.query("SELECT id, method, template FROM inventory_operation WHERE api = ? AND declared = 1"), name)
		if err != nil {
			return err
		}
		if err := each(rows, func() error {
			k := key{api: name}
			var id int64
			err := rows.Scan(&id, &k.method, &k.template)
			ids[k] = id
			return err
		}); err != nil {
			return err
		}
		// What was declared before and never seen goes; what was seen stays as seen.
		if err := w.exec("DELETE FROM inventory_place WHERE declared = 1 AND count = 0 AND operation IN (SELECT id FROM inventory_operation WHERE api = ?)", name); err != nil {
			return err
		}
		if err := w.exec("UPDATE inventory_place SET declared = 0, required = 0, type = '', format = '' WHERE declared = 1 AND operation IN (SELECT id FROM inventory_operation WHERE api = ?)", name); err != nil {
			return err
		}
		var args []any
		for _, c := range contracts {
			id, ok := ids[key{name, clean(c.Method), clean(c.Template)}]
			if !ok {
				continue
			}
			security, _ := json.Marshal(append([]string{}, c.Security...))
			statuses, _ := json.Marshal(append([]string{}, c.Statuses...))
			if err := w.exec("UPDATE inventory_operation SET summary = ?, deprecated = ?, security = ?, statuses = ?, described = 1 WHERE id = ?", clean(c.Summary), flag(c.Deprecated), string(security), string(statuses), id); err != nil {
				return err
			}
			seen := map[placeKey]bool{}
			for _, p := range c.Places {
				k := placeKey{p.Response, p.Place.In, clean(p.Place.Name)}
				if seen[k] || len(seen) >= v.o.Places {
					continue
				}
				seen[k] = true
				args = append(args, id, flag(p.Response), string(p.Place.In), k.name, flag(p.Required), clean(p.Type), clean(p.Format), 1)
			}
		}
		if err := w.bulk("declared places", "INSERT INTO inventory_place AS x (operation, response, part, name, required, type, format, declared) VALUES ", 8,
			"ON CONFLICT (operation, response, part, name) DO UPDATE SET declared = 1, required = EXCLUDED.required, type = EXCLUDED.type, format = EXCLUDED.format, undocumented = 0", args); err != nil {
			return err
		}
		// What is declared now is no longer undocumented.
		if err := w.exec(`UPDATE inventory_operation SET undocumented = (SELECT COUNT(*) FROM inventory_place p WHERE p.operation = inventory_operation.id AND p.undocumented = 1)
			+ (SELECT COUNT(*) FROM inventory_status s WHERE s.operation = inventory_operation.id AND s.undocumented = 1) WHERE api = ? AND undocumented > 0`, name); err != nil {
			return err
		}
		if err := w.exec("UPDATE inventory_api SET description = ? WHERE name = ?", sum, name); err != nil {
			return err
		}
		v.cache = map[key]*operation{}
		return nil
	}, api)
}

// change runs f in a transaction of its own and tells the watchers.
func (v *Inventory) change(ctx context.Context, what string, f func(w *writer) error, apis ...string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	tx, err := v.store.DB().BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s: begin: %w", what, err)
	}
	defer tx.Rollback()
	w := &writer{v: v, tx: tx, ctx: ctx, now: v.o.Now().UnixMicro()}
	err = f(w)
	if err == nil {
		err = w.keepChanges()
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		v.cache, v.names, v.locate = map[key]*operation{}, map[string]*apiState{}, nil
		return fmt.Errorf("%s: %w", what, err)
	}
	if len(w.changes) > 0 {
		v.watch.tell(apis, w.changes)
	}
	return nil
}

func digest(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "" // never equal to what is stored
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// retain drops what is older than it is kept for: undeclared operations, hours
// and changes.
func (v *Inventory) retain(ctx context.Context) error {
	now := v.o.Now()
	return v.change(ctx, "retention", func(w *writer) error {
		if err := w.exec("DELETE FROM inventory_hour WHERE hour < ?", now.Add(-v.o.History).UnixMicro()); err != nil {
			return err
		}
		if err := w.exec("DELETE FROM inventory_change WHERE at < ?", now.Add(-v.o.MaxAge).UnixMicro()); err != nil {
			return err
		}
		var ids []any
		rows, err := w.tx.Tx.QueryContext(ctx, v.query("SELECT id, api, method, template FROM inventory_operation WHERE declared = 0 AND claimed = 0 AND last_seen < ? LIMIT 10000"), now.Add(-v.o.MaxAge).UnixMicro())
		if err != nil {
			return err
		}
		if err := each(rows, func() error {
			var id int64
			var k key
			err := rows.Scan(&id, &k.api, &k.method, &k.template)
			ids = append(ids, id)
			w.change(k, "gone", "not seen for "+v.o.MaxAge.String())
			return err
		}); err != nil {
			return err
		}
		if len(ids) == 0 {
			return nil
		}
		v.cache, v.names = map[key]*operation{}, map[string]*apiState{}
		return w.drop(ids)
	})
}

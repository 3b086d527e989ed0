package inventory

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sallyport.dev/store"
)

// Facets counts operations by value.
type Facets struct {
	Total    int64
	AtLeast  bool // more fit than were counted: the counts are of the first ones
	API      map[string]int64
	Method   map[string]int64
	Tier     map[string]int64
	Declared map[string]int64 // "yes", "no"
}

// maxCounted is how many operations are counted where the kept counters do not
// tell: for text and data classes.
const maxCounted = 20_000

func (f *Facets) add(api, method string, declared int, tier Tier, n int64) {
	if f.API == nil {
		f.API, f.Method, f.Tier, f.Declared = map[string]int64{}, map[string]int64{}, map[string]int64{}, map[string]int64{}
	}
	f.Total += n
	f.API[api] += n
	f.Method[method] += n
	f.Tier[tier.String()] += n
	f.Declared[map[int]string{0: "no", 1: "yes"}[declared]] += n
}

// Facets counts what f chooses, whatever its order and page. Without text,
// class, hint and time it reads counters that are kept with every change.
func (v *Inventory) Facets(ctx context.Context, f Filter) (Facets, error) {
	var out Facets
	out.add("", "", 0, Unseen, 0)
	clear(out.API)
	clear(out.Method)
	clear(out.Tier)
	clear(out.Declared)
	text, class, hint, after := f.Text, f.Class, f.Hint, f.SeenAfter
	f.Text, f.Class, f.Hint, f.SeenAfter = "", "", "", time.Time{}
	where, args := f.kinds()
	if text == "" && class == "" && hint == "" && after.IsZero() {
		err := v.read(ctx, "facets", "SELECT api, method, declared, tier, n FROM inventory_facet WHERE n > 0 AND "+strings.Join(where, " AND "), args, func(rows *sql.Rows) error {
			var api, method string
			var declared int
			var tier Tier
			var n int64
			err := rows.Scan(&api, &method, &declared, &tier, &n)
			out.add(api, method, declared, tier, n)
			return err
		})
		return out, err
	}
	f.Text, f.Class, f.Hint, f.SeenAfter = text, class, hint, after
	table, where, args, none, err := v.choose(ctx, f)
	if err != nil || none {
		return out, err
	}
	err = v.read(ctx, "facets", "SELECT api, method, declared, tier FROM "+table+" WHERE "+strings.Join(where, " AND ")+" LIMIT "+strconv.Itoa(maxCounted+1), args, func(rows *sql.Rows) error {
		var api, method string
		var declared int
		var tier Tier
		if err := rows.Scan(&api, &method, &declared, &tier); err != nil {
			return err
		}
		if out.Total == maxCounted {
			out.AtLeast = true
			return nil
		}
		out.add(api, method, declared, tier, 1)
		return nil
	})
	return out, err
}

// kinds are the conditions that the kept counters know too.
func (f *Filter) kinds() (where []string, args []any) {
	where = []string{"1 = 1"}
	add := func(q string, a ...any) { where, args = append(where, q), append(args, a...) }
	if f.NoAPI {
		add("api = ''")
	} else if f.API != "" {
		add("api = ?", f.API)
	}
	if f.Method != "" {
		add("method = ?", strings.ToUpper(f.Method))
	}
	if len(f.Tiers) > 0 {
		var list []string
		for _, t := range f.Tiers {
			list = append(list, strconv.Itoa(int(t)))
		}
		add("tier IN (" + strings.Join(list, ",") + ")")
	} else if !f.Probed {
		add("(declared = 1 OR tier <> 1)")
	}
	if f.Declared != nil {
		add("declared = ?", flag(*f.Declared))
	}
	if f.Shadow || f.Hint == "shadow" {
		add("declared = 0 AND tier > 1")
	}
	if f.Hint == "unused" {
		add("declared = 1 AND tier <= 1")
	}
	return where, args
}

// few is up to how many rows are fetched by what chooses them and then sorted;
// where more fit, the rows are walked in the order wanted, others passed over.
const few = 5000

// count is how many operations fit the conditions that the counters know.
func (v *Inventory) count(ctx context.Context, f Filter) (n int64, err error) {
	where, args := f.kinds()
	err = v.read(ctx, "counters", "SELECT COALESCE(SUM(n), 0) FROM inventory_facet WHERE "+strings.Join(where, " AND "), args, func(rows *sql.Rows) error { return rows.Scan(&n) })
	return n, err
}

// atMost counts the rows of a query up to few.
func (v *Inventory) atMost(ctx context.Context, q string, args ...any) (n int, err error) {
	err = v.read(ctx, "counters", "SELECT COUNT(*) FROM ("+q+" LIMIT "+strconv.Itoa(few+1)+") AS x", args, func(rows *sql.Rows) error { return rows.Scan(&n) })
	return n, err
}

// choose gives the table, with the index to walk, and the conditions of f that
// its order does not need. none: nothing can fit.
func (v *Inventory) choose(ctx context.Context, f Filter) (table string, where []string, args []any, none bool, err error) {
	where, args = f.kinds()
	add := func(q string, a ...any) { where, args = append(where, q), append(args, a...) }
	lite := v.store.Dialect() == store.SQLite
	n, err := v.count(ctx, f)
	if err != nil || n == 0 {
		return "", nil, nil, true, err
	}
	sparse := n <= few // so few that sorting them is nothing
	table = "inventory_operation"
	if f.Text != "" {
		text := f.Text
		if grams := trigrams(text); lite && grams != "" {
			n, err := v.atMost(ctx, "SELECT rowid FROM inventory_text WHERE inventory_text MATCH ?", grams)
			if err != nil || n == 0 {
				return "", nil, nil, true, err
			}
			if n <= few {
				add("id IN (SELECT rowid FROM inventory_text WHERE inventory_text MATCH ?)", grams)
				sparse = true
			}
		}
		add(`LOWER(method || ' ' || template || ' ' || name) LIKE ? ESCAPE '\'`, like(text))
	}
	if f.Class != "" {
		n, err := v.atMost(ctx, "SELECT operation FROM inventory_class WHERE class = ?", f.Class)
		if err != nil || n == 0 {
			return "", nil, nil, true, err
		}
		if n <= few || !lite {
			add("id IN (SELECT operation FROM inventory_class WHERE class = ?)", f.Class)
			sparse = true
		} else {
			add("EXISTS (SELECT 1 FROM inventory_class c WHERE c.operation = inventory_operation.id AND c.class = ?)", f.Class)
		}
	}
	switch f.Hint {
	case "undocumented":
		add("undocumented > 0")
		sparse = true // has an index of its own
	case "undeclared since":
		add("undeclared_at > 0")
		sparse = true
	case "plaintext":
		add("tls < requests")
	case "anonymous data":
		add("anonymous > 0 AND status2 > 0 AND id IN (SELECT operation FROM inventory_class WHERE response = 1)")
	}
	if !f.SeenAfter.IsZero() {
		add("last_seen > ?", f.SeenAfter.UnixMicro())
	}
	if lite && !sparse {
		table += " INDEXED BY " + orderIndexes[f.Sort]
	}
	return table, where, args, false, nil
}

var orderIndexes = map[Sort]string{ByTemplate: "inventory_operation_key", "": "inventory_operation_key", ByLastSeen: "inventory_operation_last", ByFirstSeen: "inventory_operation_first",
	ByRequests: "inventory_operation_requests", ByErrors: "inventory_operation_errors", ByLatency: "inventory_operation_p95"}

// trigrams is text as a question to the index of text: all its parts of three
// characters. Shorter text gives "".
func trigrams(text string) string {
	runes := []rune(strings.ToLower(text))
	var parts []string
	for i := 0; i+3 <= len(runes) && len(parts) < 60; i++ {
		part := string(runes[i : i+3])
		if strings.ContainsRune(part, 0) {
			return ""
		}
		part = `"` + strings.ReplaceAll(part, `"`, `""`) + `"`
		if !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " AND ")
}

// indexText gives PostgreSQL an index for parts of text, where its extension
// pg_trgm can be had; without it the search is slow on many operations.
func (v *Inventory) indexText(ctx context.Context) {
	if v.store.Dialect() != store.Postgres {
		return
	}
	for _, q := range []string{"CREATE EXTENSION IF NOT EXISTS pg_trgm", "CREATE INDEX IF NOT EXISTS inventory_operation_text ON inventory_operation USING gin (LOWER(method || ' ' || template || ' ' || name) gin_trgm_ops)"} {
		if _, err := v.store.DB().ExecContext(ctx, q); err != nil {
			v.o.Logger.Warn("no index for parts of text: search among many operations will be slow; let an administrator of the database run CREATE EXTENSION pg_trgm", "err", err)
			return
		}
	}
}

// classSums is what classes each API has. Where reading them takes long, they
// are read anew at most a twentieth of the time.
type classSums struct {
	mu    sync.Mutex
	at    time.Time
	took  time.Duration
	all   map[string][]string
	open  map[string]int
	valid bool
}

func (v *Inventory) apiClasses(ctx context.Context) (all map[string][]string, open map[string]int, err error) {
	s := &v.classed
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.valid && s.took > 50*time.Millisecond && time.Since(s.at) < 20*s.took {
		return s.all, s.open, nil
	}
	begin := time.Now()
	all, open = map[string][]string{}, map[string]int{}
	err = v.read(ctx, "classes", "SELECT o.api, c.class, SUM(CASE WHEN o.anonymous > 0 AND o.status2 > 0 AND c.response = 1 THEN 1 ELSE 0 END) FROM inventory_class c JOIN inventory_operation o ON o.id = c.operation GROUP BY o.api, c.class ORDER BY o.api, c.class", nil, func(rows *sql.Rows) error {
		var name, class string
		var n int
		err := rows.Scan(&name, &class, &n)
		all[name] = append(all[name], class)
		if n > 0 {
			open[name]++
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	s.all, s.open, s.at, s.took, s.valid = all, open, time.Now(), time.Since(begin), true
	return all, open, nil
}

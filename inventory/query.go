package inventory

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/DataDog/sketches-go/ddsketch"

	"sallyport.dev"
)

func latency(s *ddsketch.DDSketch) Latency {
	return Latency{quantile(s, 0.5), quantile(s, 0.9), quantile(s, 0.95), quantile(s, 0.99)}
}

func readLatency(b []byte) (Latency, error) {
	if len(b) == 0 {
		return Latency{}, nil
	}
	s, err := newLatency(b)
	if err != nil {
		return Latency{}, err
	}
	return latency(s), nil
}

// scan reads the columns of countColumns into c, and what follows into more.
func (c *Counts) into(more ...any) []any {
	return append([]any{&c.Requests, &c.Refused, &c.Status1xx, &c.Status2xx, &c.Status3xx, &c.Status4xx, &c.Status5xx, &c.None, &c.RequestBytes, &c.ResponseBytes}, more...)
}

func (v *Inventory) read(ctx context.Context, what, q string, args []any, scan func(rows *sql.Rows) error) error {
	rows, err := v.store.Reader().DB.QueryContext(ctx, v.query(q), args...)
	if err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	if err := each(rows, func() error { return scan(rows) }); err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	return nil
}

// listed is the last answer of APIs; it is good until something changed.
type listed struct {
	mu       sync.Mutex
	revision uint64
	apis     []API
	ok       bool
}

// APIs lists every API, configured or seen, by name. Traffic that no API
// matched stands under the empty name.
func (v *Inventory) APIs(ctx context.Context) ([]API, error) {
	v.listed.mu.Lock()
	defer v.listed.mu.Unlock()
	at := v.watch.at()
	if !v.listed.ok || v.listed.revision != at {
		apis, err := v.apis(ctx)
		if err != nil {
			return nil, err
		}
		v.listed.apis, v.listed.revision, v.listed.ok = apis, at, true
	}
	out := slices.Clone(v.listed.apis)
	for i := range out {
		out[i].Rate = v.rates.of(out[i].Name, v.o.Now())
	}
	return out, nil
}

func (v *Inventory) apis(ctx context.Context) ([]API, error) {
	var out []API
	at := map[string]int{}
	plain := map[string]int64{}
	err := v.read(ctx, "APIs", `SELECT name, state, known_at, kinds, public, configured, hosts, path, team, contact, deputy, department, exposure, first_seen, last_seen, principal_count, latency, tls, requests, refused,
		status1, status2, status3, status4, status5, none, request_bytes, response_bytes FROM inventory_api WHERE state IN ('', 'accepted') ORDER BY name`, nil, func(rows *sql.Rows) error {
		var a API
		var configured int
		var hosts, exposure string
		var first, last, known int64
		var kinds string
		var sketch []byte
		if err := rows.Scan(append([]any{&a.Name, &a.State, &known, &kinds, &a.Public, &configured, &hosts, &a.Path, &a.Owner.Team, &a.Owner.Contact, &a.Owner.Deputy, &a.Department, &exposure, &first, &last, &a.Principals, &sketch, &a.TLS}, a.into()...)...); err != nil {
			return err
		}
		a.Configured, a.Exposure, a.FirstSeen, a.LastSeen = configured == 1, sallyport.Exposure(exposure), timeOf(first), timeOf(last)
		a.Known, a.Kinds = timeOf(known), strings.Fields(kinds)
		if err := json.Unmarshal([]byte(hosts), &a.Hosts); err != nil {
			return err
		}
		var err error
		if a.Latency, err = readLatency(sketch); err != nil {
			return err
		}
		plain[a.Name] = a.Requests - a.TLS
		at[a.Name] = len(out)
		out = append(out, a)
		return nil
	})
	if err != nil {
		return nil, err
	}
	unused := map[string]int{}
	if err := v.read(ctx, "APIs", "SELECT api, declared, tier, SUM(n) FROM inventory_facet GROUP BY declared, tier, api", nil, func(rows *sql.Rows) error {
		var name string
		var declared, n int
		var tier Tier
		if err := rows.Scan(&name, &declared, &tier, &n); err != nil {
			return err
		}
		i, ok := at[name]
		if !ok {
			return nil
		}
		a := &out[i]
		switch {
		case declared == 1:
			a.Operations += n
			a.Declared += n
			if tier > Probed {
				a.Seen += n
			} else {
				unused[name] += n
			}
		case tier > Probed:
			a.Operations += n
			a.Shadow += n
		case tier == Probed:
			a.Probed += n
		}
		return nil
	}); err != nil {
		return nil, err
	}
	hints := map[string]map[string]int{}
	for kind, where := range map[string]string{"undocumented": "undocumented > 0", "undeclared since": "undeclared_at > 0"} {
		if err := v.read(ctx, "hints", "SELECT api, COUNT(*) FROM inventory_operation WHERE "+where+" GROUP BY api", nil, func(rows *sql.Rows) error {
			var name string
			var n int
			err := rows.Scan(&name, &n)
			if hints[name] == nil {
				hints[name] = map[string]int{}
			}
			hints[name][kind] = n
			return err
		}); err != nil {
			return nil, err
		}
	}
	classes, open, err := v.apiClasses(ctx)
	if err != nil {
		return nil, err
	}
	for i := range out {
		out[i].Classes = classes[out[i].Name]
	}
	for i := range out {
		a := &out[i]
		add := func(kind string, n int, text string) {
			if n > 0 {
				a.Hints = append(a.Hints, Hint{kind, n, text})
			}
		}
		h := hints[a.Name]
		if n := open[a.Name]; n > 0 {
			if h == nil {
				h = map[string]int{}
			}
			h["anonymous data"] = n
		}
		a.Drift, a.Left, a.Anonymous = h["undocumented"]+a.Shadow, h["undeclared since"], h["anonymous data"]
		switch {
		case a.Name == "":
			add("unowned", 1, "No configured API matches this traffic")
		case a.Owner.Team == "":
			add("unowned", 1, "Nobody answers for this API: name a team in the configuration")
		case a.Owner.Deputy == "":
			add("no deputy", 1, "The owner has no deputy")
		}
		if a.Configured && a.Exposure == "" {
			add("no exposure", 1, "Nobody has said from where this API may be reached")
		}
		if a.Declared > 0 || a.Shadow > 0 {
			add("shadow", a.Shadow, plural(a.Shadow, "operation is", "operations are")+" in use and in no specification")
		}
		add("undeclared since", h["undeclared since"], plural(h["undeclared since"], "operation has", "operations have")+" left the specification")
		add("undocumented", h["undocumented"], plural(h["undocumented"], "operation has", "operations have")+" parameters, properties or statuses that the specification does not know")
		add("anonymous data", h["anonymous data"], plural(h["anonymous data"], "kind", "kinds")+" of sensitive data in answers that callers without a credential can get")
		if n := plain[a.Name]; n > 0 && a.Exposure != sallyport.Internal {
			add("plaintext", int(n), plural(int(n), "request", "requests")+" came without TLS")
		}
		if a.Seen > 0 {
			add("unused", unused[a.Name], plural(unused[a.Name], "declared operation was", "declared operations were")+" never used")
		}
	}
	return out, nil
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

const rowColumns = `id, api, method, template, name, declared, tier, undeclared_at, first_seen, last_seen, principal_count, classes, undocumented, p95, latency,
	requests, refused, status1, status2, status3, status4, status5, none, request_bytes, response_bytes`

func scanRow(rows *sql.Rows, r *Row, p95 *int64, more ...any) error {
	var declared int
	var undeclared, first, last int64
	var classes string
	var sketch []byte
	if err := rows.Scan(append([]any{&r.ID, &r.API, &r.Method, &r.Template, &r.Name, &declared, &r.Tier, &undeclared, &first, &last, &r.Principals, &classes, &r.Undocumented, p95, &sketch}, r.into(more...)...)...); err != nil {
		return err
	}
	r.Declared, r.UndeclaredSince, r.FirstSeen, r.LastSeen = declared == 1, timeOf(undeclared), timeOf(first), timeOf(last)
	r.Classes = strings.Fields(classes)
	slices.Sort(r.Classes)
	var err error
	r.Latency, err = readLatency(sketch)
	return err
}

var sortColumns = map[Sort]string{ByLastSeen: "last_seen", ByFirstSeen: "first_seen", ByRequests: "requests", ByErrors: "errors", ByLatency: "p95"}

// after is where a page ended.
type after struct {
	Sort    Sort     `json:"s"`
	Reverse bool     `json:"r,omitempty"`
	Text    []string `json:"t,omitempty"`
	Value   int64    `json:"v,omitempty"`
	ID      int64    `json:"i,omitempty"`
}

// Operations lists what f chooses, paged by key: the cost of a page does not
// grow with its number. A filter or an After that makes no sense is
// sallyport.Invalid.
func (v *Inventory) Operations(ctx context.Context, f Filter) (Page, error) {
	if f.Sort == "" {
		f.Sort = ByTemplate
	}
	column, byNumber := sortColumns[f.Sort]
	if !byNumber && f.Sort != ByTemplate {
		return Page{}, sallyport.Errorf(sallyport.Invalid, "no sort order %q", string(f.Sort))
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	f.Limit = min(f.Limit, 1000)
	switch f.Hint {
	case "", "shadow", "undocumented", "undeclared since", "unused", "plaintext", "anonymous data":
	default:
		return Page{}, sallyport.Errorf(sallyport.Invalid, "no hint %q that operations can be listed by", f.Hint)
	}
	f.Text = clean(f.Text)
	table, where, args, none, err := v.choose(ctx, f)
	if err != nil {
		return Page{}, err
	}
	add := func(cond string, a ...any) { where, args = append(where, cond), append(args, a...) }
	ascending := f.Sort == ByTemplate != f.Reverse
	compare, order := ">", "ASC"
	if !ascending {
		compare, order = "<", "DESC"
	}
	if f.After != "" {
		var a after
		b, err := base64.RawURLEncoding.DecodeString(f.After)
		if err == nil {
			err = json.Unmarshal(b, &a)
		}
		if err != nil || a.Sort != f.Sort || a.Reverse != f.Reverse || !byNumber && len(a.Text) != 3 {
			return Page{}, sallyport.Errorf(sallyport.Invalid, "after is not the end of a page in this order")
		}
		if byNumber {
			add("("+column+", id) "+compare+" (?, ?)", a.Value, a.ID)
		} else {
			add("(api, template, method) "+compare+" (?, ?, ?)", a.Text[0], a.Text[1], a.Text[2])
		}
	}
	by := "api " + order + ", template " + order + ", method " + order
	if byNumber {
		by = column + " " + order + ", id " + order
	}
	if none {
		return Page{}, nil
	}
	sortValue := "0"
	if byNumber {
		sortValue = column
	}
	var page Page
	var values []int64
	err = v.read(ctx, "operations", "SELECT "+rowColumns+", "+sortValue+" FROM "+table+" WHERE "+strings.Join(where, " AND ")+" ORDER BY "+by+" LIMIT "+strconv.Itoa(f.Limit+1), args, func(rows *sql.Rows) error {
		var r Row
		var p95, value int64
		err := scanRow(rows, &r, &p95, &value)
		page.Rows, values = append(page.Rows, r), append(values, value)
		return err
	})
	if err != nil {
		return Page{}, err
	}
	if len(page.Rows) > f.Limit {
		page.Rows = page.Rows[:f.Limit]
		last := page.Rows[f.Limit-1]
		a := after{Sort: f.Sort, Reverse: f.Reverse}
		if byNumber {
			a.Value, a.ID = values[f.Limit-1], last.ID
		} else {
			a.Text = []string{last.API, last.Template, last.Method}
		}
		b, err := json.Marshal(a)
		if err != nil {
			return Page{}, fmt.Errorf("encode page: %w", err)
		}
		page.Next = base64.RawURLEncoding.EncodeToString(b)
	}
	return page, nil
}

// Operation gives everything about one operation; key is as of
// sallyport.Operation.Key. An unknown one is sallyport.NotFound.
func (v *Inventory) Operation(ctx context.Context, api, key string) (*Detail, error) {
	method, template, _ := strings.Cut(key, " ")
	var d *Detail
	var declaredStatuses []string
	err := v.read(ctx, "operation", "SELECT "+rowColumns+", summary, deprecated, security, statuses, described, declared_at, reasons, kinds, tls, anonymous FROM inventory_operation WHERE api = ? AND template = ? AND method = ?",
		[]any{api, template, method}, func(rows *sql.Rows) error {
			d = &Detail{}
			var p95, at int64
			var deprecated, described int
			var security, statuses, reasons, kinds string
			if err := scanRow(rows, &d.Row, &p95, &d.Summary, &deprecated, &security, &statuses, &described, &at, &reasons, &kinds, &d.TLS, &d.Anonymous); err != nil {
				return err
			}
			d.Deprecated, d.DeclaredAt, d.Kinds = deprecated == 1, timeOf(at), strings.Fields(kinds)
			d.Plain = d.Requests - d.TLS
			for _, x := range []struct {
				text string
				into *[]string
			}{{security, &d.Security}, {statuses, &declaredStatuses}, {reasons, &d.Reasons}} {
				if err := json.Unmarshal([]byte(x.text), x.into); err != nil {
					return err
				}
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, sallyport.Errorf(sallyport.NotFound, "no operation %q of API %q is known", key, api)
	}
	id := []any{d.ID}
	if err := v.read(ctx, "places", "SELECT response, part, name, declared, required, type, format, undocumented, seen_format, count, n_object, n_array, n_string, n_integer, n_number, n_boolean, n_null, first_seen, last_seen FROM inventory_place WHERE operation = ? ORDER BY response, part, name", id, func(rows *sql.Rows) error {
		var p Place
		var response, declared, required, undocumented int
		var n [len(jsonTypes)]int64
		var first, last int64
		if err := rows.Scan(&response, &p.In, &p.Name, &declared, &required, &p.Type, &p.Format, &undocumented, &p.SeenFormat, &p.Count, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &first, &last); err != nil {
			return err
		}
		p.Response, p.Declared, p.Required, p.Undocumented = response == 1, declared == 1, required == 1, undocumented == 1
		p.FirstSeen, p.LastSeen = timeOf(first), timeOf(last)
		if p.SeenFormat == "-" {
			p.SeenFormat = ""
		}
		for i, c := range n {
			if c > 0 {
				if p.Seen == nil {
					p.Seen = map[string]int64{}
				}
				p.Seen[jsonTypes[i]] = c
			}
		}
		d.Places = append(d.Places, p)
		return nil
	}); err != nil {
		return nil, err
	}
	if err := v.read(ctx, "statuses", "SELECT code, undocumented, count, first_seen, last_seen FROM inventory_status WHERE operation = ? ORDER BY code", id, func(rows *sql.Rows) error {
		var s Status
		var undocumented int
		var first, last int64
		err := rows.Scan(&s.Code, &undocumented, &s.Count, &first, &last)
		s.Undocumented, s.FirstSeen, s.LastSeen = undocumented == 1, timeOf(first), timeOf(last)
		s.Declared = declares(declaredStatuses, s.Code)
		d.Statuses = append(d.Statuses, s)
		return err
	}); err != nil {
		return nil, err
	}
	for _, s := range declaredStatuses { // declared and never seen
		code, err := strconv.Atoi(s)
		if err == nil && !slices.ContainsFunc(d.Statuses, func(x Status) bool { return x.Code == code }) {
			d.Statuses = append(d.Statuses, Status{Code: code, Declared: true})
		}
	}
	slices.SortFunc(d.Statuses, func(a, b Status) int { return a.Code - b.Code })
	if err := v.read(ctx, "consumers", "SELECT principal, count, first_seen, last_seen FROM inventory_consumer WHERE operation = ? ORDER BY count DESC, principal", id, func(rows *sql.Rows) error {
		var c Consumer
		var first, last int64
		err := rows.Scan(&c.Principal, &c.Count, &first, &last)
		c.FirstSeen, c.LastSeen = timeOf(first), timeOf(last)
		d.Consumers = append(d.Consumers, c)
		return err
	}); err != nil {
		return nil, err
	}
	if err := v.read(ctx, "classes", "SELECT class, response, part, name, count, first_seen, last_seen FROM inventory_class WHERE operation = ? ORDER BY class, response, part, name", id, func(rows *sql.Rows) error {
		var c ClassAt
		var response int
		var first, last int64
		err := rows.Scan(&c.Class, &response, &c.Place.In, &c.Place.Name, &c.Count, &first, &last)
		c.Response, c.FirstSeen, c.LastSeen = response == 1, timeOf(first), timeOf(last)
		d.Found = append(d.Found, c)
		return err
	}); err != nil {
		return nil, err
	}
	if err := v.read(ctx, "hours", "SELECT hour, requests, refused, errors FROM inventory_hour WHERE operation = ? ORDER BY hour DESC LIMIT 168", id, func(rows *sql.Rows) error {
		var h Hour
		var at int64
		err := rows.Scan(&at, &h.Requests, &h.Refused, &h.Errors)
		h.Time = timeOf(at)
		d.Hours = append(d.Hours, h)
		return err
	}); err != nil {
		return nil, err
	}
	slices.Reverse(d.Hours)
	d.Changes, err = v.changes(ctx, "WHERE api = ? AND op = ? ORDER BY id DESC LIMIT 100", api, key)
	return d, err
}

// declares reports whether a specification's list of statuses has code.
func declares(list []string, code int) bool {
	s := strconv.Itoa(code)
	for _, d := range list {
		if d == s || d == "default" || len(d) == 3 && len(s) == 3 && d[0] == s[0] && strings.EqualFold(d[1:], "XX") {
			return true
		}
	}
	return false
}

func (v *Inventory) changes(ctx context.Context, where string, args ...any) ([]Change, error) {
	var out []Change
	err := v.read(ctx, "changes", "SELECT id, at, api, op, kind, detail, field, old, new, source, evidence FROM inventory_change "+where, args, func(rows *sql.Rows) error {
		var c Change
		var at int64
		err := rows.Scan(&c.ID, &at, &c.API, &c.Key, &c.Kind, &c.Detail, &c.Field, &c.Old, &c.New, &c.Source, &c.Evidence)
		c.Time = timeOf(at)
		out = append(out, c)
		return err
	})
	return out, err
}

// Changes lists what happened, newest first, of one API or (api = "*") of all;
// before is the ID of the last one of the page before, 0 for the first page.
func (v *Inventory) Changes(ctx context.Context, api string, before int64, limit int) ([]Change, error) {
	if limit <= 0 {
		limit = 100
	}
	limit = min(limit, 1000)
	if before <= 0 {
		before = 1<<63 - 1
	}
	tail := " ORDER BY id DESC LIMIT " + strconv.Itoa(limit)
	if api == "*" {
		return v.changes(ctx, "WHERE id < ?"+tail, before)
	}
	return v.changes(ctx, "WHERE api = ? AND id < ?"+tail, api, before)
}

// Stats is the state of the inventory.
type Stats struct {
	APIs       int
	Operations int
	Shadow     int
	Probed     int
	Counted    uint64        // exchanges counted since start
	Commits    uint64        // transactions since start
	Behind     time.Duration // age of the newest record when it was counted
	Sequence   uint64        // place in the stream
}

// Stats gives the present state.
func (v *Inventory) Stats(ctx context.Context) (Stats, error) {
	apis, err := v.APIs(ctx)
	if err != nil {
		return Stats{}, err
	}
	s := Stats{APIs: len(apis), Counted: v.stats.counted.Load(), Commits: v.stats.commits.Load(), Behind: time.Duration(v.stats.behind.Load()), Sequence: v.stats.sequence.Load()}
	for _, a := range apis {
		s.Operations += a.Operations
		s.Shadow += a.Shadow
		s.Probed += a.Probed
	}
	if s.Sequence == 0 {
		if s.Sequence, err = v.cursor.Last(ctx, v.store.Reader()); err != nil {
			return Stats{}, err
		}
	}
	return s, nil
}

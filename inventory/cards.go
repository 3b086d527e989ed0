package inventory

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sallyport.dev"
	"sallyport.dev/inventory/risk"
)

// A Value is what holds of a field, in short.
type Value struct {
	Text       string // of a list: joined by ", "
	List       []string
	Source     string
	Power      Power // 0: computed
	Confidence float64
	Conflict   bool
}

// A Card is one API with all its fields.
type Card struct {
	API
	Values  map[string]Value
	Reasons []string // why it is shadow, zombie, orphan or dormant, in that order
	// Escalates is when an API without an owner is escalated; zero = it has one.
	Escalates time.Time
	Risk      risk.Score
	facts     risk.Facts
}

// cards is the last answer of Cards.
type cards struct {
	mu       sync.Mutex
	revision uint64
	made     time.Time
	list     []Card
}

// Cards lists all APIs, those that are only proposed left out, with every field
// that has a value. The caller must not change what it gets.
func (v *Inventory) Cards(ctx context.Context) ([]Card, error) {
	v.carded.mu.Lock()
	defer v.carded.mu.Unlock()
	at, now := v.watch.at(), v.o.Now()
	// Times go by: what depends on them is worked out anew once a minute.
	if v.carded.list != nil && v.carded.revision == at && now.Sub(v.carded.made) < time.Minute && !now.Before(v.carded.made) {
		return v.carded.list, nil
	}
	list, err := v.makeCards(ctx, now)
	if err != nil {
		return nil, err
	}
	v.carded.list, v.carded.revision, v.carded.made = list, at, now
	return list, nil
}

func number(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// round keeps three digits behind the point.
func round(n float64) float64 { return float64(int64(n*1000+0.5)) / 1000 }

func (v *Inventory) makeCards(ctx context.Context, now time.Time) ([]Card, error) {
	apis, err := v.APIs(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Card, len(apis))
	at := make(map[string]*Card, len(apis))
	for i, a := range apis {
		list[i] = Card{API: a, Values: map[string]Value{}}
		at[a.Name] = &list[i]
	}
	if err := v.read(ctx, "fields", "SELECT api, field, value, source, power, confidence, conflict FROM inventory_field WHERE op = '' AND power > 0", nil, func(rows *sql.Rows) error {
		var api, field string
		var x Value
		var conflict int
		if err := rows.Scan(&api, &field, &x.Text, &x.Source, &x.Power, &x.Confidence, &conflict); err != nil {
			return err
		}
		c, f := at[api], fieldByName[field]
		if c == nil || f == nil {
			return nil
		}
		x.Conflict = conflict == 1
		if f.Conflicts == Union {
			if err := json.Unmarshal([]byte(x.Text), &x.List); err != nil {
				return err
			}
			x.Text = strings.Join(x.List, ", ")
		}
		c.Values[field] = x
		return nil
	}); err != nil {
		return nil, err
	}
	type open struct {
		n, worst int
		rules    map[string]bool
	}
	found := map[string]*open{}
	if err := v.read(ctx, "findings", "SELECT api, source, rule, COUNT(*), MAX(severity) FROM inventory_finding WHERE ended_at = 0 GROUP BY api, source, rule", nil, func(rows *sql.Rows) error {
		var api, source, rule string
		var n, worst int
		err := rows.Scan(&api, &source, &rule, &n, &worst)
		o := found[api]
		if o == nil {
			o = &open{rules: map[string]bool{}}
			found[api] = o
		}
		o.n += n
		o.worst = max(o.worst, worst)
		if source != sourceRisk { // its own findings must not feed on themselves
			o.rules[rule] = true
		}
		return err
	}); err != nil {
		return nil, err
	}
	for i := range list {
		c := &list[i]
		if o := found[c.Name]; o != nil {
			c.set("findings.open", fmt.Sprint(o.n))
			c.set("findings.worst", string(severities[min(max(o.worst, 0), len(severities)-1)]))
			v.derive(c, now, slices.Sorted(maps.Keys(o.rules)))
		} else {
			c.set("findings.open", "0")
			v.derive(c, now, nil)
		}
	}
	return list, nil
}

func (c *Card) set(field, value string) {
	if value != "" {
		c.Values[field] = Value{Text: value, Source: sourceTraffic, Confidence: 1}
	}
}

// observe adds what traffic shows to a list that others speak of too.
func (c *Card) observe(field string, values ...string) {
	if len(values) == 0 {
		return
	}
	x, said := c.Values[field]
	list := slices.Concat(x.List, values)
	slices.Sort(list)
	x.List = slices.Compact(list)
	x.Text = strings.Join(x.List, ", ")
	if said && !strings.Contains(x.Source, sourceTraffic) {
		x.Source += ", " + sourceTraffic
	} else if !said {
		x.Source, x.Confidence = sourceTraffic, 1
	}
	c.Values[field] = x
}

func (c *Card) text(field string) string { return c.Values[field].Text }

func (c *Card) time(field string) time.Time {
	t, _ := time.Parse(time.RFC3339, c.text(field))
	return t
}

// regimes into whose scope a kind of data brings an API.
var regimes = map[string]string{"payment-card": "pci-dss", "iban": "gdpr", "email": "gdpr", "phone": "gdpr", "person-name": "gdpr", "ip-address": "gdpr", "health": "hipaa", "us-ssn": "ccpa"}

// derive computes what follows from counts and claims.
func (v *Inventory) derive(c *Card, now time.Time, rules []string) {
	stamp := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	c.set("first_seen", stamp(c.FirstSeen))
	c.set("last_seen", stamp(c.LastSeen))
	c.set("requests", fmt.Sprint(c.Requests))
	c.set("rate", number(round(c.Rate)))
	c.set("operations", fmt.Sprint(c.Operations))
	c.set("operations.shadow", fmt.Sprint(c.Shadow))
	c.set("operations.unused", fmt.Sprint(c.Declared-c.Seen))
	c.set("spec.drift", fmt.Sprint(c.Drift+c.Left))
	c.set("consumers.count", fmt.Sprint(c.Principals))
	if c.Requests > 0 {
		c.set("tls.share", number(round(float64(c.TLS)/float64(c.Requests))))
		c.set("error_rate", number(round(c.ErrorRate())))
		c.set("latency.p95", number(float64(c.Latency.P95.Microseconds())/1000))
		c.observe("auth.observed", c.Kinds...)
		exposed := "internal"
		if c.Public > 0 {
			exposed = "external"
		}
		if x, said := c.Values["exposure.observed"]; !said || x.Power < Confirmed && exposed == "external" {
			c.set("exposure.observed", exposed)
		}
		if slo, err := strconv.ParseFloat(c.text("slo.availability"), 64); err == nil && slo > 0 && slo < 1 {
			c.set("error_budget", number(round(1-c.ErrorRate()/(1-slo))))
		}
	}
	c.observe("data.classes", c.Classes...)
	for _, class := range c.Values["data.classes"].List {
		if r := regimes[class]; r != "" {
			c.observe("compliance", r)
		}
	}
	evidence := Unseen
	switch {
	case c.Seen > 0:
		evidence = Matched
	case c.Shadow > 0:
		evidence = SeenOnce
		if c.Principals >= 2 {
			evidence = Corroborated
		}
	case c.Probed > 0:
		evidence = Probed
	}
	c.set("evidence", evidence.String())

	known := c.Known
	if known.IsZero() || !c.FirstSeen.IsZero() && c.FirstSeen.Before(known) {
		known = c.FirstSeen
	}
	quiet := now.Sub(c.LastSeen)
	if c.LastSeen.IsZero() {
		quiet = now.Sub(known)
		if known.IsZero() {
			quiet = 0
		}
	}
	if x := c.Values["lifecycle"]; x.Power == 0 {
		stage := "active"
		switch {
		case !c.time("sunset_at").IsZero() && c.time("sunset_at").Before(now):
			stage = "retired"
		case !c.time("deprecated_at").IsZero() && c.time("deprecated_at").Before(now):
			stage = "deprecated"
		case c.Requests == 0 && quiet < v.o.Dormant:
			stage = "planned"
		case quiet >= v.o.Dormant:
			stage = "dormant"
		}
		c.set("lifecycle", stage)
	}
	var states []string
	state := func(word, reason string) {
		states, c.Reasons = append(states, word), append(c.Reasons, reason)
	}
	if c.Name != "" && !c.Configured && c.State == "" {
		reason := "it has requests, and no configuration names it"
		if c.Requests == 0 {
			reason = "it left the configuration, or never was in it"
		}
		state("shadow", reason)
	}
	if stage := c.text("lifecycle"); (stage == "deprecated" || stage == "retired") && c.Requests > 0 && quiet < v.o.Dormant {
		state("zombie", "it is "+stage+" and still has requests, the last one on "+c.LastSeen.UTC().Format(time.DateOnly))
	}
	if c.text("owner.team") == "" {
		state("orphan", "no configuration, catalogue or person names a team that answers for it")
		if !known.IsZero() {
			c.Escalates = known.Add(v.o.Escalate)
		}
	}
	if quiet >= v.o.Dormant {
		days := strconv.Itoa(int(quiet.Hours() / 24))
		if c.LastSeen.IsZero() {
			state("dormant", "known for "+days+" days and never used")
		} else {
			state("dormant", "no request for "+days+" days")
		}
	}
	if len(states) > 0 {
		c.Values["state"] = Value{Text: strings.Join(states, ", "), List: states, Source: sourceTraffic, Confidence: 1}
	}
	c.facts = c.collect(now, rules)
	c.Risk = v.risk.Load().Assess(c.facts)
	c.Values["risk"] = Value{Text: strconv.Itoa(c.Risk.Total), Source: sourceRisk, Confidence: 1}
}

// collect turns a card into the facts that rules speak of.
func (c *Card) collect(now time.Time, rules []string) risk.Facts {
	num := func(field string) float64 {
		n, _ := strconv.ParseFloat(c.text(field), 64)
		return n
	}
	days := func(t time.Time) float64 {
		if t.IsZero() {
			return risk.Never
		}
		return t.Sub(now).Hours() / 24
	}
	list := func(field string) []string {
		if l := c.Values[field].List; l != nil {
			return l
		}
		return []string{}
	}
	share := func(n int64) float64 {
		if c.Requests == 0 {
			return 0
		}
		return float64(n) / float64(c.Requests)
	}
	conflicts := []string{}
	for _, name := range slices.Sorted(maps.Keys(c.Values)) {
		if c.Values[name].Conflict {
			conflicts = append(conflicts, name)
		}
	}
	if rules == nil {
		rules = []string{}
	}
	f := risk.Facts{"configured": c.Configured, "states": list("state"), "conflicts": conflicts, "open_rules": rules,
		"requests": float64(c.Requests), "rate": c.Rate, "refused_share": share(c.Refused), "share_4xx": share(c.Status4xx), "share_5xx": share(c.Status5xx), "lost_share": share(c.None),
		"plain_share": share(c.Requests - c.TLS), "public_requests": float64(c.Public), "consumers": float64(c.Principals), "response_bytes_mean": share(c.ResponseBytes), "request_bytes_mean": share(c.RequestBytes),
		"operations": float64(c.Operations), "declared_operations": float64(c.Declared), "shadow_operations": float64(c.Shadow), "unused_operations": float64(c.Declared - c.Seen), "probed_operations": float64(c.Probed),
		"undocumented_operations": float64(max(0, c.Drift-c.Shadow)), "left_operations": float64(c.Left), "anonymous_classes": float64(c.Anonymous),
		"certificate_days": days(c.time("tls.expires")), "sunset_days": days(c.time("sunset_at")), "deprecated_days": days(c.time("deprecated_at")), "conformance_days": days(c.time("conformance.last")), "drill_days": days(c.time("dr.drilled")),
		"last_seen_days": days(c.LastSeen), "error_budget": 1.0,
	}
	if c.text("error_budget") != "" {
		f["error_budget"] = num("error_budget")
	}
	if !c.Escalates.IsZero() {
		f["escalation_days"] = days(c.Escalates)
	} else {
		f["escalation_days"] = risk.Never
	}
	for fact, field := range risk.Texts {
		f[fact] = c.text(field)
	}
	for fact, field := range risk.Lists {
		f[fact] = list(field)
	}
	for fact, field := range risk.Numbers {
		f[fact] = num(field)
	}
	return f
}

// CardFilter chooses and orders APIs. Empty fields choose all.
type CardFilter struct {
	Text    string              // part of the name, a host, the title, the owner or a tag, without case
	Where   map[string][]string // field → any of these values; "" = has none
	Facets  []string            // fields whose values are counted
	Sort    string              // "name" (default) or a field
	Reverse bool
	Offset  int
	Limit   int // default 100, at most 1000
}

// CardPage is one answer of Search.
type CardPage struct {
	Cards  []Card
	Total  int
	Facets map[string]map[string]int // field → value → APIs, as if that field did not filter
}

func (c *Card) has(field string, any []string) bool {
	x := c.Values[field]
	if len(x.List) == 0 {
		return slices.Contains(any, x.Text)
	}
	return slices.ContainsFunc(x.List, func(e string) bool { return slices.Contains(any, e) })
}

func (c *Card) matches(text string) bool {
	for _, s := range []string{c.Name, c.text("hosts"), c.text("title"), c.text("owner.team"), c.text("tags"), c.text("department"), c.text("path")} {
		if strings.Contains(strings.ToLower(s), text) {
			return true
		}
	}
	return false
}

// Search lists the APIs that f chooses, with counts by facet. A filter that
// makes no sense is sallyport.Invalid.
func (v *Inventory) Search(ctx context.Context, f CardFilter) (CardPage, error) {
	for name := range f.Where {
		if fieldByName[name] == nil {
			return CardPage{}, sallyport.Errorf(sallyport.Invalid, "there is no field %q to filter by", clean(name))
		}
	}
	for _, name := range f.Facets {
		if fieldByName[name] == nil {
			return CardPage{}, sallyport.Errorf(sallyport.Invalid, "there is no field %q to count by", clean(name))
		}
	}
	if f.Sort = cmp.Or(f.Sort, "name"); f.Sort != "name" && fieldByName[f.Sort] == nil {
		return CardPage{}, sallyport.Errorf(sallyport.Invalid, "there is no field %q to sort by", clean(f.Sort))
	}
	all, err := v.Cards(ctx)
	if err != nil {
		return CardPage{}, err
	}
	page := CardPage{Facets: map[string]map[string]int{}}
	for _, name := range f.Facets {
		page.Facets[name] = map[string]int{}
	}
	text := strings.ToLower(f.Text)
	for i := range all {
		c := &all[i]
		if text != "" && !c.matches(text) {
			continue
		}
		failed, which := 0, ""
		for name, any := range f.Where {
			if !c.has(name, any) {
				failed, which = failed+1, name
			}
		}
		for _, name := range f.Facets {
			if failed > 1 || failed == 1 && which != name {
				continue
			}
			x := c.Values[name]
			if len(x.List) == 0 {
				page.Facets[name][x.Text]++
			}
			for _, e := range x.List {
				page.Facets[name][e]++
			}
		}
		if failed == 0 {
			page.Cards = append(page.Cards, *c)
		}
	}
	page.Total = len(page.Cards)
	numeric := fieldByName[f.Sort] != nil && fieldByName[f.Sort].Type == NumberField
	slices.SortStableFunc(page.Cards, func(a, b Card) int {
		o := 0
		switch {
		case f.Sort == "name":
		case numeric:
			x, _ := strconv.ParseFloat(a.text(f.Sort), 64)
			y, _ := strconv.ParseFloat(b.text(f.Sort), 64)
			o = cmp.Compare(x, y)
		default:
			o = strings.Compare(a.text(f.Sort), b.text(f.Sort))
		}
		if o = cmp.Or(o, strings.Compare(a.Name, b.Name)); f.Reverse {
			return -o
		}
		return o
	})
	if f.Limit <= 0 {
		f.Limit = 100
	}
	from := min(max(f.Offset, 0), len(page.Cards))
	page.Cards = page.Cards[from:min(from+min(f.Limit, 1000), len(page.Cards))]
	return page, nil
}

// Card gives one API with all its fields; sallyport.NotFound when it is unknown.
func (v *Inventory) Card(ctx context.Context, name string) (*Card, error) {
	all, err := v.Cards(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Name == name {
			return &all[i], nil
		}
	}
	return nil, sallyport.Errorf(sallyport.NotFound, "the inventory knows no API %q", clean(name))
}

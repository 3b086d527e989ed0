package gate

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"sallyport.dev"
)

// A Trigger is one line of the gate's journal: what started a test, or changed a
// door by hand, and what followed.
type Trigger struct {
	bun.BaseModel `bun:"table:gate_trigger"`

	ID      string `bun:"id,pk"`
	API     string `bun:"api"`
	URL     string `bun:"url"`
	At      int64  `bun:"at"`      // microseconds since 1970
	What    string `bun:"what"`    // as Verdict.Trigger, or "by hand", "held by hand", "released by hand"
	Who     string `bun:"who"`     // "" = nobody: the gate itself
	Detail  string `bun:"detail"`  // reason given, or why the instance was held
	Outcome string `bun:"outcome"` // one of the outcomes below
	Verdict string `bun:"verdict"` // that it led to, or that still stood
	Ended   int64  `bun:"ended"`
}

// The outcomes of a Trigger.
const (
	Going     = ""           // the test goes on
	Passed    = "passed"     // and the instance serves
	Failed    = "failed"     // and the instance does not, but for the last good one
	NoVerdict = "no verdict" // it could not be tested
	Stood     = "stood"      // an earlier verdict of the same start still holds
	Done      = "done"       // held or released by hand
)

// A Filter narrows Triggers. Zero fields do not.
type Filter struct {
	API, URL string
	Who      string
	Before   string // id of the last one of the page before
	Limit    int64  // at most 500
}

// Triggers is newest first. A line whose test was cut off by the end of its
// process has no verdict.
func (g *Gate) Triggers(ctx context.Context, f Filter) (list []Trigger, err error) {
	q := g.o.Store.Reader().NewSelect().Model(&list).Order("id DESC").Limit(max(1, min(f.Limit, 500)))
	for column, v := range map[string]string{"api": f.API, "url": f.URL, "who": f.Who} {
		if v != "" {
			q = q.Where("? = ?", bun.Ident(column), v)
		}
	}
	if f.Before != "" {
		q = q.Where("id < ?", f.Before)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("read what triggered tests: %w", err)
	}
	old := g.o.Now().Add(-2 * g.o.Limit).UnixMicro()
	for i := range list {
		if t := &list[i]; t.Outcome == Going && t.At < old {
			t.Outcome, t.Detail = NoVerdict, strings.TrimPrefix(t.Detail+"; its process ended", "; ")
		}
	}
	return list, nil
}

// begin writes the line of a trigger. A journal that cannot be written stops no
// test: what admits is the verdict.
func (g *Gate) begin(ctx context.Context, in sallyport.Instance, what, detail string) *Trigger {
	t := &Trigger{ID: "t" + newID(g.o.Now())[1:], API: in.API, URL: in.URL, At: g.o.Now().UnixMicro(), What: what, Detail: oneLine(errors.New(detail))}
	if by, found := strings.CutPrefix(what, "by hand: "); found {
		t.What = "by hand"
		t.Who, t.Detail, _ = strings.Cut(by, ": ")
	}
	if _, err := g.o.Store.DB().NewInsert().Model(t).Exec(ctx); err != nil && ctx.Err() == nil {
		g.o.Logger.Warn("keep what triggered a test", "api", in.API, "instance", in.URL, "error", err)
	}
	return t
}

// finish writes what followed.
func (g *Gate) finish(t *Trigger, outcome, verdict, why string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	t.Outcome, t.Verdict, t.Ended = outcome, verdict, g.o.Now().UnixMicro()
	if why != "" {
		t.Detail = strings.TrimPrefix(t.Detail+"; "+why, "; ")
	}
	if _, err := g.o.Store.DB().NewUpdate().Model(t).Column("outcome", "verdict", "ended", "detail").WherePK().Exec(ctx); err != nil {
		g.o.Logger.Warn("keep what a trigger led to", "api", t.API, "instance", t.URL, "error", err)
	}
}

// acted writes a line of something that a person did at once.
func (g *Gate) acted(ctx context.Context, api, url, what, by string) {
	who, why, _ := strings.Cut(by, ": ")
	now := g.o.Now()
	t := &Trigger{ID: "t" + newID(now)[1:], API: api, URL: url, At: now.UnixMicro(), What: what, Who: who, Detail: why, Outcome: Done, Ended: now.UnixMicro()}
	if _, err := g.o.Store.DB().NewInsert().Model(t).Exec(ctx); err != nil {
		g.o.Logger.Warn("keep what was done by hand", "api", api, "instance", url, "error", err)
	}
}

// Latest is the newest verdict of each instance of an API, without reports; of
// at most 1000 instances.
func (g *Gate) Latest(ctx context.Context, api string) (list []Verdict, err error) {
	r := g.o.Store.Reader()
	err = r.NewSelect().Model(&list).ExcludeColumn("report").
		Where("api = ? AND (url, began) IN (?)", api, r.NewSelect().Model((*Verdict)(nil)).ColumnExpr("url, MAX(began)").Where("api = ?", api).Group("url")).
		Order("url").Limit(1000).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the newest verdicts of %s: %w", api, err)
	}
	return list, nil
}

// LastPassed finds with its report what passed last before a verdict began: of
// the same instance, or else of any of the API. It is nil when nothing did.
func (g *Gate) LastPassed(ctx context.Context, v Verdict) (*Verdict, error) {
	for _, url := range []string{v.URL, ""} {
		var p Verdict
		q := g.o.Store.Reader().NewSelect().Model(&p).Where("api = ? AND passed AND began < ? AND report IS NOT NULL", v.API, v.Began).Order("began DESC").Limit(1)
		if url != "" {
			q = q.Where("url = ?", url)
		}
		err := q.Scan(ctx)
		if err == nil {
			return &p, p.unpack()
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return nil, fmt.Errorf("read what passed last: %w", err)
		}
	}
	return nil, nil
}

// maxReport bounds what a kept report unpacks to.
const maxReport = 64 << 20

// pack is a report as it is kept.
func pack(report []byte) []byte {
	if len(report) < 512 {
		return report
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(report)
	w.Close()
	return b.Bytes()
}

// unpack turns the kept report back into what the tester wrote.
func (v *Verdict) unpack() error {
	if len(v.Report) < 2 || v.Report[0] != 0x1f || v.Report[1] != 0x8b {
		return nil
	}
	r, err := gzip.NewReader(bytes.NewReader(v.Report))
	if err == nil {
		v.Report, err = io.ReadAll(io.LimitReader(r, maxReport))
	}
	if err != nil {
		return fmt.Errorf("read the report of verdict %s: %w", v.ID, err)
	}
	return nil
}

// sweep removes what is older than is kept, and the oldest reports when all of
// them take too much. Their verdicts stay.
func (g *Gate) sweep(ctx context.Context) error {
	db, end := g.o.Store.DB(), g.o.Now().Add(-g.o.Keep).UnixMicro()
	if _, err := db.NewDelete().Model((*Verdict)(nil)).Where("began < ?", end).Exec(ctx); err != nil {
		return err
	}
	if _, err := db.NewDelete().Model((*Trigger)(nil)).Where("at < ?", end).Exec(ctx); err != nil {
		return err
	}
	for {
		var rows []struct {
			ID   string
			Size int64
		}
		var total int64
		if err := db.NewSelect().Model((*Verdict)(nil)).ColumnExpr("COALESCE(SUM(LENGTH(report)), 0)").Where("report IS NOT NULL").Scan(ctx, &total); err != nil || total <= g.o.ReportBytes {
			return err
		}
		if err := db.NewSelect().Model((*Verdict)(nil)).ColumnExpr("id, LENGTH(report) AS size").Where("report IS NOT NULL").Order("began").Limit(200).Scan(ctx, &rows); err != nil || len(rows) == 0 {
			return err
		}
		var gone []string
		for _, r := range rows {
			if total <= g.o.ReportBytes {
				break
			}
			gone, total = append(gone, r.ID), total-r.Size
		}
		if _, err := db.NewUpdate().Model((*Verdict)(nil)).Set("report = NULL").Where("id IN (?)", bun.List(gone)).Exec(ctx); err != nil {
			return err
		}
	}
}

// A Run is the next test of an instance.
type Run struct {
	API, URL string
	At       time.Time // zero = none is due by itself
	Why      string    // as Verdict.Trigger; without At, why there is none
	Profile  Profile
	Running  bool
}

// Schedule says when each gated instance is tested next, soonest first. Tests
// by time are spread over a tenth of their interval, each instance always at
// the same place of it.
func (g *Gate) Schedule() []Run {
	list := g.o.Doors.Instances()
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []Run
	for _, in := range list {
		a, gated := g.apis[in.API]
		if !gated || in.Admission == sallyport.Retired {
			continue
		}
		k := key{in.API, in.URL}
		if t := g.running[k]; t != nil {
			out = append(out, Run{API: in.API, URL: in.URL, At: t.began, Why: t.trigger, Running: true})
			continue
		}
		r := g.next(a, in, g.known[k])
		if !r.At.IsZero() && r.At.Before(g.o.Now()) {
			r.At = g.o.Now() // it waits for its turn
		}
		out = append(out, r)
	}
	sortRuns(out)
	return out
}

func sortRuns(list []Run) {
	const last = 1 << 62
	at := func(r Run) int64 {
		if r.At.IsZero() {
			return last
		}
		return r.At.UnixMicro()
	}
	slices.SortFunc(list, func(x, y Run) int {
		return cmp.Or(cmp.Compare(at(x), at(y)), cmp.Compare(x.API, y.API), cmp.Compare(x.URL, y.URL))
	})
}

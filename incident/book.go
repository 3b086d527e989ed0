package incident

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uptrace/bun"

	"sallyport.dev"
	"sallyport.dev/store"
)

//go:embed migrations
var migrations embed.FS

// Bounds of what one failure may bring, and of what waits.
const (
	maxEvidence = 50       // pieces per failure
	keptPieces  = 200      // pieces per incident; the oldest after the first ones go
	maxText     = 64 << 10 // bytes of one piece, of the reproduction, of the difference
	maxWaiting  = 1024     // failures and passes that wait for the database
	maxDue      = 10000    // notifications that wait for one target
	attemptTime = 4 * time.Second
)

// Options set a Book. Store is required.
type Options struct {
	Store  *store.Store
	Logger *slog.Logger
	Now    func() time.Time
	Keep   time.Duration // incidents resolved before that go; default 400 days
	// Recover lists results since a time, oldest first; what was taken in before
	// may be among them. It is asked at the start, when results did not fit, and
	// every minute. nil: there is nowhere to ask.
	Recover func(ctx context.Context, since time.Time) ([]Result, error)
}

// Settings can change while a Book runs.
type Settings struct {
	Due     map[Severity]time.Duration // from opening; default 4 h, 24 h, 7 d, 30 d
	Owner   func(api string) sallyport.Owner
	Targets []Target
	Link    func(id string) string // address of an incident's page; nil: none
}

// DefaultDue is how soon an incident is due.
var DefaultDue = map[Severity]time.Duration{Critical: 4 * time.Hour, High: 24 * time.Hour, Medium: 7 * 24 * time.Hour, Low: 30 * 24 * time.Hour}

// A Book keeps incidents in one database. It is safe for concurrent use, also
// by several processes on one PostgreSQL.
type Book struct {
	o        Options
	settings atomic.Pointer[Settings]
	waiting  chan Result
	missed   atomic.Bool // something did not fit: ask Recover
	limits   map[string]*window

	sent, failed, overflow atomic.Int64

	mu     sync.Mutex
	counts Counts
}

// Counts are what an operator watches.
type Counts struct {
	Open     map[Severity]int64 // open or acknowledged
	Overdue  int64
	Excepted int64
	Waiting  int   // results that wait for the database
	Sent     int64 // notifications, since the start
	Failed   int64 // attempts to notify that failed, since the start
	Dropped  int64 // notifications beyond the bound of a target, since the start
}

// Open migrates the tables and makes a Book; Run makes it work.
func Open(ctx context.Context, o Options) (*Book, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Keep = cmp.Or(o.Keep, 400*24*time.Hour)
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := o.Store.Migrate(ctx, "incident", files); err != nil {
		return nil, err
	}
	b := &Book{o: o, waiting: make(chan Result, maxWaiting), limits: map[string]*window{}}
	b.Configure(Settings{})
	return b, nil
}

// Configure replaces the settings.
func (b *Book) Configure(s Settings) {
	due := map[Severity]time.Duration{}
	for sev, d := range DefaultDue {
		due[sev] = cmp.Or(s.Due[sev], d)
	}
	s.Due = due
	if s.Owner == nil {
		s.Owner = func(string) sallyport.Owner { return sallyport.Owner{} }
	}
	b.settings.Store(&s)
}

// Report hands a failure over and never blocks.
func (b *Book) Report(n New) {
	if n.At.IsZero() {
		n.At = b.o.Now()
	}
	b.hand(Result{Failed: &n})
}

// ReportPass hands a passing test over and never blocks.
func (b *Book) ReportPass(p Proof) {
	if p.At.IsZero() {
		p.At = b.o.Now()
	}
	b.hand(Result{Passed: &p})
}

func (b *Book) hand(r Result) {
	select {
	case b.waiting <- r:
	default:
		b.missed.Store(true) // Recover finds it again
	}
}

// Open takes a failure in: it opens an incident, or joins the one that is open.
func (b *Book) Open(ctx context.Context, n New) (*Incident, error) {
	if n.Kind == "" || n.Title == "" || n.Severity < Low || n.Severity > Critical {
		return nil, sallyport.Errorf(sallyport.Invalid, "an incident needs a kind, a title and a severity")
	}
	now := b.o.Now()
	if n.At.IsZero() {
		n.At = now
	}
	s := b.settings.Load()
	key, at := keyOf(n.Key, n.Kind, n.API, n.Subject), n.At.UnixMicro()
	var out *Incident
	err := b.tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		out = nil
		if n.Source != "" {
			var seen source
			err := tx.NewSelect().Model(&seen).Where("source = ?", n.Source).Scan(ctx)
			if err == nil {
				out, err = load(ctx, tx, seen.Incident)
				return err
			}
			if !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		i, fresh, err := b.join(ctx, tx, s, n, key, at)
		if err != nil {
			return err
		}
		if n.Source != "" {
			if _, err := tx.NewInsert().Model(&source{Source: n.Source, Incident: i.ID, At: at}).Exec(ctx); err != nil {
				return err
			}
		}
		for k, e := range n.Evidence {
			if k == maxEvidence {
				break
			}
			e = Evidence{Incident: i.ID, At: at, Source: n.Source, Kind: cut(e.Kind, 60), Title: cut(e.Title, 300), Body: cut(e.Body, maxText)}
			if _, err := tx.NewInsert().Model(&e).Exec(ctx); err != nil {
				return err
			}
		}
		// The first pieces stay, and the newest.
		if _, err := tx.NewDelete().Model((*Evidence)(nil)).Where("incident = ?", i.ID).
			Where("seq NOT IN (SELECT seq FROM incident_evidence WHERE incident = ? ORDER BY seq LIMIT ?)", i.ID, maxEvidence).
			Where("seq NOT IN (SELECT seq FROM incident_evidence WHERE incident = ? ORDER BY seq DESC LIMIT ?)", i.ID, keptPieces-maxEvidence).Exec(ctx); err != nil {
			return err
		}
		var later pass // it may have passed since: results can come out of order
		err = tx.NewSelect().Model(&later).Where("subject_key = ? AND depth >= ? AND at > ?", key, i.Depth, i.Seen).Order("at DESC").Limit(1).Scan(ctx)
		switch {
		case err == nil:
			if err := b.end(ctx, tx, s, i, later); err != nil {
				return err
			}
		case !errors.Is(err, sql.ErrNoRows):
			return err
		case fresh:
			if err := b.announce(ctx, tx, s, i, EventOpened); err != nil {
				return err
			}
		}
		out = i
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open an incident: %w", err)
	}
	return out, nil
}

// join finds the incident that a failure belongs to, or makes it.
func (b *Book) join(ctx context.Context, tx bun.Tx, s *Settings, n New, key string, at int64) (*Incident, bool, error) {
	owner := s.Owner(n.API)
	i := &Incident{ID: newID(b.o.Now()), Key: key, Kind: cut(n.Kind, 60), API: cut(n.API, 200), Subject: cut(n.Subject, 2000), Title: oneLine(n.Title), Severity: n.Severity, State: Opened,
		Depth: n.Depth, Source: n.Source, Team: owner.Team, Contact: owner.Contact, Deputy: owner.Deputy, Reproduction: cut(n.Reproduction, maxText), Difference: cut(n.Difference, maxText),
		Occurrences: 1, Opened: at, Seen: at, Due: b.o.Now().Add(s.Due[n.Severity]).UnixMicro()}
	if i.Difference == "" {
		var last pass
		if err := tx.NewSelect().Model(&last).Where("subject_key = ? AND at < ?", key, at).Order("at DESC", "depth DESC").Limit(1).Scan(ctx); err == nil {
			i.Difference = fmt.Sprintf("last passed %s, verdict %s: %s", time.UnixMicro(last.At).UTC().Format(time.RFC3339), last.Proof, last.Summary)
		} else if !errors.Is(err, sql.ErrNoRows) {
			return nil, false, err
		}
	}
	res, err := tx.NewInsert().Model(i).On("CONFLICT (subject_key) WHERE state <> 'resolved' DO NOTHING").Exec(ctx)
	if err != nil {
		return nil, false, err
	}
	if made, err := res.RowsAffected(); err != nil {
		return nil, false, err
	} else if made == 1 {
		return i, true, note(ctx, tx, i.ID, at, us, "opened", i.Title)
	}
	old := &Incident{}
	q := tx.NewSelect().Model(old).Where("subject_key = ? AND state <> 'resolved'", key)
	if b.o.Store.Dialect() == store.Postgres {
		q = q.For("UPDATE")
	}
	if err := q.Scan(ctx); err != nil {
		return nil, false, err
	}
	old.Occurrences++
	if at >= old.Seen {
		old.Seen, old.Title, old.Source = at, i.Title, i.Source
		if i.Reproduction != "" {
			old.Reproduction = i.Reproduction
		}
		if n.Difference != "" {
			old.Difference = i.Difference
		}
	}
	old.Depth = max(old.Depth, n.Depth)
	worse := n.Severity > old.Severity
	if worse {
		old.Severity = n.Severity
		old.Due = min(old.Due, i.Due)
	}
	if _, err := tx.NewUpdate().Model(old).WherePK().Exec(ctx); err != nil {
		return nil, false, err
	}
	// A failure that repeats for days is one line, with its count.
	var last Entry
	err = tx.NewSelect().Model(&last).Where("incident = ?", old.ID).Order("seq DESC").Limit(1).Scan(ctx)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, false, err
	}
	text := fmt.Sprintf("occurrence %d: %s", old.Occurrences, i.Title)
	if err == nil && last.What == "failed again" {
		_, err = tx.NewUpdate().Model((*Entry)(nil)).Set("at = ?, text = ?", at, text).Where("seq = ?", last.Seq).Exec(ctx)
	} else {
		err = note(ctx, tx, old.ID, at, us, "failed again", text)
	}
	return old, worse && old.State != Excepted, err
}

// Pass takes a passing test in: it ends the incident of the same subject, if
// one is open that failed before it in a test that was no deeper.
func (b *Book) Pass(ctx context.Context, p Proof) error {
	if p.At.IsZero() {
		p.At = b.o.Now()
	}
	s := b.settings.Load()
	mark := pass{Key: keyOf(p.Key, p.Kind, p.API, p.Subject), Depth: p.Depth, At: p.At.UnixMicro(), Proof: cut(p.ID, 200), Summary: oneLine(p.Summary)}
	err := b.tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(&mark).On("CONFLICT (subject_key, depth) DO UPDATE").
			Set("at = EXCLUDED.at, proof = EXCLUDED.proof, summary = EXCLUDED.summary").Where("pass.at < EXCLUDED.at").Exec(ctx); err != nil {
			return err
		}
		i := &Incident{}
		err := tx.NewSelect().Model(i).Where("subject_key = ? AND state <> 'resolved' AND depth <= ? AND seen < ?", mark.Key, mark.Depth, mark.At).Scan(ctx)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return b.end(ctx, tx, s, i, mark)
	})
	if err != nil {
		return fmt.Errorf("end an incident: %w", err)
	}
	return nil
}

func (b *Book) end(ctx context.Context, tx bun.Tx, s *Settings, i *Incident, p pass) error {
	res, err := tx.NewUpdate().Model((*Incident)(nil)).Set("state = ?, closed = ?", Resolved, p.At).Where("id = ? AND state <> ? AND seen < ?", i.ID, Resolved, p.At).Exec(ctx)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	i.State, i.Closed = Resolved, p.At
	if err := note(ctx, tx, i.ID, p.At, us, "resolved", strings.TrimSpace(fmt.Sprintf("passed, verdict %s: %s", p.Proof, p.Summary))); err != nil {
		return err
	}
	return b.announce(ctx, tx, s, i, EventResolved)
}

// Acknowledge says that somebody deals with it.
func (b *Book) Acknowledge(ctx context.Context, id, who string) (*Incident, error) {
	return b.change(ctx, id, who, "acknowledged", "", func(i *Incident) error {
		if i.State != Opened {
			return sallyport.Errorf(sallyport.Conflict, "it is %s", i.State)
		}
		i.State = Acknowledged
		return nil
	})
}

// Assign says who deals with it; "" = nobody.
func (b *Book) Assign(ctx context.Context, id, who, to string) (*Incident, error) {
	to = oneLine(to)
	return b.change(ctx, id, who, "assigned", cmp.Or(to, "nobody"), func(i *Incident) error {
		if i.State == Resolved {
			return sallyport.Errorf(sallyport.Conflict, "it is resolved")
		}
		i.Assignee = to
		return nil
	})
}

// Comment adds to the timeline.
func (b *Book) Comment(ctx context.Context, id, who, text string) (*Incident, error) {
	if strings.TrimSpace(text) == "" {
		return nil, sallyport.Errorf(sallyport.Invalid, "the comment is empty")
	}
	return b.change(ctx, id, who, "commented", cut(strings.TrimSpace(text), 8000), func(*Incident) error { return nil })
}

// Except lets an incident rest until a time; who approves it answers for it.
// Then it is open again, and due anew.
func (b *Book) Except(ctx context.Context, id, who, reason string, until time.Time) (*Incident, error) {
	reason = strings.TrimSpace(reason)
	now := b.o.Now()
	switch {
	case reason == "":
		return nil, sallyport.Errorf(sallyport.Invalid, "an exception needs a reason")
	case !until.After(now):
		return nil, sallyport.Errorf(sallyport.Invalid, "an exception ends in the future")
	case until.After(now.Add(366 * 24 * time.Hour)):
		return nil, sallyport.Errorf(sallyport.Invalid, "an exception ends within a year")
	}
	return b.change(ctx, id, who, "excepted", "until "+until.UTC().Format(time.RFC3339)+": "+cut(reason, 2000), func(i *Incident) error {
		if i.State == Resolved {
			return sallyport.Errorf(sallyport.Conflict, "it is resolved")
		}
		i.State, i.Approver, i.Reason, i.Until = Excepted, who, cut(reason, 2000), until.UnixMicro()
		return nil
	})
}

// change is one act of a person, with its line of the timeline.
func (b *Book) change(ctx context.Context, id, who, what, text string, f func(*Incident) error) (*Incident, error) {
	var out *Incident
	err := b.tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		i := &Incident{}
		q := tx.NewSelect().Model(i).Where("id = ?", id)
		if b.o.Store.Dialect() == store.Postgres {
			q = q.For("UPDATE")
		}
		if err := q.Scan(ctx); errors.Is(err, sql.ErrNoRows) {
			return sallyport.Errorf(sallyport.NotFound, "there is no such incident")
		} else if err != nil {
			return err
		}
		if err := f(i); err != nil {
			return err
		}
		if _, err := tx.NewUpdate().Model(i).WherePK().Exec(ctx); err != nil {
			return err
		}
		out = i
		return note(ctx, tx, id, b.o.Now().UnixMicro(), who, what, text)
	})
	return out, err
}

// A Filter narrows List. Zero fields do not.
type Filter struct {
	State    State
	Current  bool // all but the resolved ones
	Severity Severity
	API      string
	Owner    string // team, contact, deputy or assignee
	Overdue  bool
	Before   string // id of the last one of the page before
	Limit    int    // default 50, at most 200
}

// List is newest first.
func (b *Book) List(ctx context.Context, f Filter) (list []Incident, err error) {
	limit := min(cmp.Or(max(f.Limit, 0), 50), 200)
	q := b.o.Store.Reader().NewSelect().Model(&list).ExcludeColumn("reproduction", "difference").Order("id DESC").Limit(int64(limit))
	if f.State != "" {
		q = q.Where("state = ?", f.State)
	}
	if f.Current {
		q = q.Where("state <> ?", Resolved)
	}
	if f.Severity != 0 {
		q = q.Where("severity = ?", f.Severity)
	}
	if f.API != "" {
		q = q.Where("api = ?", f.API)
	}
	if f.Owner != "" {
		q = q.Where("(team = ? OR contact = ? OR deputy = ? OR assignee = ?)", f.Owner, f.Owner, f.Owner, f.Owner)
	}
	if f.Overdue {
		q = q.Where("state IN (?, ?) AND due <= ?", Opened, Acknowledged, b.o.Now().UnixMicro())
	}
	if f.Before != "" {
		q = q.Where("id < ?", f.Before)
	}
	err = q.Scan(ctx)
	return list, err
}

// Incident is one with all that belongs to it; an error of kind not found when
// there is none.
func (b *Book) Incident(ctx context.Context, id string) (*Detail, error) {
	r := b.o.Store.Reader()
	i, err := load(ctx, r, id)
	if err != nil {
		return nil, err
	}
	d := &Detail{Incident: *i}
	if err := r.NewSelect().Model(&d.Timeline).Where("incident = ?", id).Order("seq DESC").Limit(500).Scan(ctx); err != nil {
		return nil, err
	}
	if err := r.NewSelect().Model(&d.Evidence).Where("incident = ?", id).Order("seq DESC").Limit(keptPieces + maxEvidence).Scan(ctx); err != nil {
		return nil, err
	}
	err = r.NewSelect().Model(&d.Deliveries).Where("incident = ?", id).Order("seq DESC").Limit(200).Scan(ctx)
	return d, err
}

// OfSource finds the incident that a verdict belongs to, by the verdict's id; ""
// when there is none.
func (b *Book) OfSource(ctx context.Context, id string) (string, error) {
	var s source
	err := b.o.Store.Reader().NewSelect().Model(&s).Where("source = ?", id).Scan(ctx)
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return s.Incident, nil
	}
	return "", fmt.Errorf("find the incident of verdict %s: %w", id, err)
}

func load(ctx context.Context, db bun.IDB, id string) (*Incident, error) {
	i := &Incident{}
	err := db.NewSelect().Model(i).Where("id = ?", id).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, sallyport.Errorf(sallyport.NotFound, "there is no such incident")
	}
	return i, err
}

func note(ctx context.Context, tx bun.Tx, id string, at int64, who, what, text string) error {
	_, err := tx.NewInsert().Model(&Entry{Incident: id, At: at, Who: who, What: what, Text: text}).Exec(ctx)
	return err
}

func (b *Book) tx(ctx context.Context, f func(context.Context, bun.Tx) error) error {
	return b.o.Store.DB().RunInTx(ctx, nil, f)
}

// Counts are of the last second or so.
func (b *Book) Counts() Counts {
	b.mu.Lock()
	c := b.counts
	b.mu.Unlock()
	c.Waiting, c.Sent, c.Failed, c.Dropped = len(b.waiting), b.sent.Load(), b.failed.Load(), b.overflow.Load()
	return c
}

// Run takes in what is reported, ends exceptions, escalates what is overdue and
// sends notifications, until ctx ends.
func (b *Book) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { b.take(ctx) })
	wg.Go(func() { b.deliver(ctx) })
	b.recover(ctx, b.o.Now().Add(-7*24*time.Hour))
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		if err := b.look(ctx); err != nil && ctx.Err() == nil {
			b.o.Logger.Warn("look after incidents", "error", err)
		}
		if b.missed.Swap(false) || n%60 == 0 {
			b.recover(ctx, b.o.Now().Add(-24*time.Hour))
		}
		if n%3600 == 0 {
			b.trim(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// take writes what waits, each until it is written.
func (b *Book) take(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-b.waiting:
			for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
				err := b.result(ctx, r)
				if err == nil || ctx.Err() != nil {
					break
				}
				if sallyport.KindOf(err) == sallyport.Invalid {
					b.o.Logger.Error("a failure could not become an incident", "error", err)
					break
				}
				b.o.Logger.Warn("incident not written yet", "waiting", len(b.waiting), "error", err)
				select {
				case <-ctx.Done():
					return
				case <-time.After(pause):
				}
			}
		}
	}
}

func (b *Book) result(ctx context.Context, r Result) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	if r.Passed != nil {
		return b.Pass(ctx, *r.Passed)
	}
	i, err := b.Open(ctx, *r.Failed)
	if err == nil && i.Occurrences == 1 {
		b.o.Logger.Info("incident", "id", i.ID, "api", i.API, "subject", i.Subject, "severity", i.Severity.String(), "state", i.State, "title", i.Title)
	}
	return err
}

// recover asks for results that may not have been taken in.
func (b *Book) recover(ctx context.Context, since time.Time) {
	if b.o.Recover == nil {
		return
	}
	list, err := b.o.Recover(ctx, since)
	for k := 0; err == nil && k < len(list); k++ {
		err = b.result(ctx, list[k])
	}
	if err != nil && ctx.Err() == nil {
		b.missed.Store(true)
		b.o.Logger.Warn("look for failures that opened no incident yet", "error", err)
	}
}

// look ends exceptions, escalates and counts.
func (b *Book) look(ctx context.Context) error {
	now := b.o.Now()
	s := b.settings.Load()
	var list []Incident
	if err := b.o.Store.Reader().NewSelect().Model(&list).Where("(state = ? AND until <= ?) OR (state IN (?, ?) AND due <= ? AND escalated = 0)", Excepted, now.UnixMicro(), Opened, Acknowledged, now.UnixMicro()).
		Order("id").Limit(200).Scan(ctx); err != nil {
		return err
	}
	for k := range list {
		i := &list[k]
		err := b.tx(ctx, func(ctx context.Context, tx bun.Tx) error {
			q, event, what, text := tx.NewUpdate().Model((*Incident)(nil)), EventOverdue, "overdue", "escalated to "+cmp.Or(i.Deputy, "nobody: the API names no deputy")
			if i.State == Excepted {
				due := now.Add(s.Due[i.Severity]).UnixMicro()
				q = q.Set("state = ?, due = ?, escalated = 0", Opened, due).Where("id = ? AND state = ? AND until <= ?", i.ID, Excepted, now.UnixMicro())
				event, what, text = EventOpened, "exception ended", "approved by "+i.Approver
				i.State, i.Due = Opened, due
			} else {
				q = q.Set("escalated = ?", now.UnixMicro()).Where("id = ? AND escalated = 0 AND state IN (?, ?)", i.ID, Opened, Acknowledged)
				i.Escalated = now.UnixMicro()
			}
			res, err := q.Exec(ctx)
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil || n == 0 {
				return err // another process did it
			}
			if err := note(ctx, tx, i.ID, now.UnixMicro(), us, what, text); err != nil {
				return err
			}
			return b.announce(ctx, tx, s, i, event)
		})
		if err != nil {
			return err
		}
	}
	var rows []struct {
		Severity Severity
		State    State
		Late     int64
		N        int64
	}
	if err := b.o.Store.Reader().NewSelect().Model((*Incident)(nil)).ColumnExpr("severity, state, SUM(CASE WHEN due <= ? THEN 1 ELSE 0 END) AS late, COUNT(*) AS n", now.UnixMicro()).
		Where("state <> ?", Resolved).Group("severity", "state").Scan(ctx, &rows); err != nil {
		return err
	}
	c := Counts{Open: map[Severity]int64{}}
	for _, r := range rows {
		if r.State == Excepted {
			c.Excepted += r.N
			continue
		}
		c.Open[r.Severity] += r.N
		c.Overdue += r.Late
	}
	b.mu.Lock()
	b.counts = c
	b.mu.Unlock()
	return nil
}

// trim removes what is older than it is kept.
func (b *Book) trim(ctx context.Context) {
	old := b.o.Now().Add(-b.o.Keep).UnixMicro()
	err := b.tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		gone := "incident IN (SELECT id FROM incident WHERE state = ? AND closed < ?)"
		for _, m := range []any{(*Entry)(nil), (*Evidence)(nil), (*Delivery)(nil)} {
			if _, err := tx.NewDelete().Model(m).Where(gone, Resolved, old).Exec(ctx); err != nil {
				return err
			}
		}
		// A source goes with its verdict, whose age Recover does not ask beyond.
		if _, err := tx.NewDelete().Model((*source)(nil)).Where(gone, Resolved, old).Exec(ctx); err != nil {
			return err
		}
		if _, err := tx.NewDelete().Model((*pass)(nil)).Where("at < ?", old).Exec(ctx); err != nil {
			return err
		}
		_, err := tx.NewDelete().Model((*Incident)(nil)).Where("state = ? AND closed < ?", Resolved, old).Exec(ctx)
		return err
	})
	if err != nil && ctx.Err() == nil {
		b.o.Logger.Warn("remove old incidents", "error", err)
	}
}

// oneLine is a text for a title or a list: one line, bounded.
func oneLine(s string) string {
	return cut(strings.Join(strings.Fields(s), " "), 300)
}

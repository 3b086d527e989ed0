package observe

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"slices"
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

// JournalOptions set a Journal. Zero values mean the defaults.
type JournalOptions struct {
	Durable    string        // name of its consumer; default "journal"
	SampleOne  int           // one in so many plain allows is kept; default 100, negative = none
	MaxAge     time.Duration // default 30 days
	MaxRows    int64         // default 1,000,000
	MaxBytes   int64         // of the rows' events; default 2 GiB
	Ring       int           // newest exchanges kept in memory; default 10,000
	Pace       time.Duration // shortest time between two commits to the table; memory knows at once; default 1 s
	TailBuffer int           // exchanges a live subscriber may be behind; default 256
	Logger     *slog.Logger
}

// A Journal keeps decisions for people. Its methods are safe for concurrent use.
type Journal struct {
	o     JournalOptions
	store *store.Store

	ring  ring
	rates rates

	// Of Run alone.
	placed  bool        // shown is known
	shown   store.Place // up to here memory has everything
	pending map[store.Place]*reading

	mu    sync.Mutex
	tails map[*tail]struct{}

	unread atomic.Uint64 // events that could not be decoded
}

// OpenJournal migrates the journal's tables in s.
func OpenJournal(ctx context.Context, s *store.Store, o JournalOptions) (*Journal, error) {
	o.Durable = cmp.Or(o.Durable, "journal")
	o.SampleOne = cmp.Or(o.SampleOne, 100)
	o.MaxAge = cmp.Or(o.MaxAge, 30*24*time.Hour)
	o.MaxRows = cmp.Or(o.MaxRows, 1_000_000)
	o.MaxBytes = cmp.Or(o.MaxBytes, 2<<30)
	o.Ring = cmp.Or(o.Ring, 10_000)
	o.Pace = cmp.Or(o.Pace, time.Second)
	o.TailBuffer = cmp.Or(o.TailBuffer, 256)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	j := &Journal{o: o, store: s, tails: map[*tail]struct{}{}, pending: map[store.Place]*reading{}}
	j.ring.size = o.Ring
	j.rates.now = time.Now
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := s.Migrate(ctx, "decision", sub); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return j, nil
}

// Run consumes the stream and trims the table until ctx ends.
func (j *Journal) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { j.trim(ctx) })
	return j.store.Stream().Run(ctx, store.Consumer{Durable: j.o.Durable, Subjects: []string{sallyport.SubjectExchange}, Handle: j.take, Pace: j.o.Pace, Seen: j.see})
}

func (j *Journal) trim(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		_, err := j.store.Trim(ctx, store.Retention{Table: "decision", Key: "id", Time: "at", MaxAge: j.o.MaxAge, MaxRows: j.o.MaxRows, Bytes: "size", MaxBytes: j.o.MaxBytes}, time.Now())
		if err != nil && ctx.Err() == nil {
			j.o.Logger.Error("old decisions are not removed", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// row is one decision in the table.
type row struct {
	bun.BaseModel `bun:"table:decision"`

	ID        string `bun:",pk"`
	At        int64
	API       string `bun:"api"`
	Operation string
	Action    string
	Stages    string
	Rules     string
	Principal string
	Client    string
	Status    int
	Plain     int
	Size      int
	Event     []byte
}

// Plain reports whether x was allowed and nothing at all was found about it.
func Plain(x *sallyport.Exchange) bool {
	return !x.Decision.Refused() && len(x.Decision.Reasons) == 0
}

func operationOf(x *sallyport.Exchange) string {
	if x.Template == "" {
		return ""
	}
	return x.Operation().Key()
}

func rowOf(x *sallyport.Exchange, event []byte) row {
	r := row{ID: x.ID, At: x.Time.Round(time.Microsecond).UnixMicro(), API: x.API, Operation: operationOf(x), Action: string(actionOf(x)),
		Principal: x.Principal.String(), Status: x.Status, Size: len(event), Event: event}
	if x.Client.IsValid() {
		r.Client = x.Client.Unmap().String()
	}
	if Plain(x) {
		r.Plain = 1
	}
	stages, rules := []string{string(x.Decision.Stage)}, []string{}
	for _, reason := range x.Decision.Reasons {
		if s := string(reason.Stage); !slices.Contains(stages, s) {
			stages = append(stages, s)
		}
		if !slices.Contains(rules, reason.Rule) {
			rules = append(rules, reason.Rule)
		}
	}
	r.Stages = " " + strings.Join(stages, " ") + " "
	r.Rules = " " + strings.Join(rules, " ") + " "
	return r
}

func actionOf(x *sallyport.Exchange) sallyport.Action {
	return cmp.Or(x.Decision.Action, sallyport.ActionAllow)
}

// sampled chooses plain allows by their id, so that a repetition chooses alike.
func (j *Journal) sampled(id string) bool {
	if j.o.SampleOne < 0 {
		return false
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return h.Sum32()%uint32(j.o.SampleOne) == 0
}

func (j *Journal) cursor() store.Cursor {
	return store.Cursor{Table: "decision_cursor", Name: j.o.Durable}
}

// reading is what one message holds: all of it for memory, some for the table.
type reading struct {
	seen []seen
	rows []row
}

// read reads a message once. Only what goes into the table, or to a live
// subscriber, is decoded whole.
func (j *Journal) read(m store.Message) *reading {
	r := &reading{}
	err := glances(m.Data, func(g *glance, more int) {
		if r.seen == nil {
			r.seen = make([]seen, 0, min(more, 1024))
		}
		s := seen{glance: *g}
		if !g.plain || j.sampled(g.id) {
			x, err := g.exchange()
			if err != nil {
				j.unread.Add(1)
				return
			}
			r.rows = append(r.rows, rowOf(x, g.event()))
			s.whole = x
		}
		r.seen = append(r.seen, s)
	})
	if err != nil {
		j.unread.Add(1)
		j.o.Logger.Error("an event of the stream cannot be read and is passed over", "seq", m.Seq, "error", err)
	}
	return r
}

// see takes what has just arrived into memory: people watch it live, and the
// table follows at its pace.
func (j *Journal) see(ctx context.Context, messages []store.Message) {
	if !j.placed {
		place, err := j.cursor().Place(ctx, j.store.Reader())
		if err != nil {
			return // take will show them
		}
		j.placed, j.shown = true, place
	}
	for _, m := range messages {
		if !j.shown.Covers(m) {
			r := j.read(m)
			j.show(r)
			j.pending[store.PlaceOf(m)], j.shown = r, store.PlaceOf(m)
		}
	}
}

// show adds what was read to memory.
func (j *Journal) show(r *reading) {
	j.rates.add(r.seen)
	j.deliver(r.seen)
	for i := range r.seen {
		r.seen[i].whole = nil // the ring holds the bytes alone, a third of the size
	}
	j.ring.add(r.seen)
}

// take is the consumer: rows and the place in the stream, in one transaction.
func (j *Journal) take(ctx context.Context, messages []store.Message) error {
	var fresh []store.Message
	err := j.store.DB().RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) (err error) {
		if fresh, err = j.cursor().Take(ctx, tx, messages); err != nil {
			return err
		}
		var rows []row
		for _, m := range fresh {
			r := j.pending[store.PlaceOf(m)]
			if r == nil {
				r = j.read(m)
				j.pending[store.PlaceOf(m)] = r
			}
			rows = append(rows, r.rows...)
		}
		return j.keep(ctx, tx, rows)
	})
	if err != nil {
		return err
	}
	for _, m := range fresh {
		if !j.placed || !j.shown.Covers(m) {
			j.show(j.pending[store.PlaceOf(m)])
			j.placed, j.shown = true, store.PlaceOf(m)
		}
	}
	clear(j.pending)
	return nil
}

// keep inserts rows that are not there yet. The values are bound: an event
// spelled out in the statement would be twice as long and be parsed.
func (j *Journal) keep(ctx context.Context, tx bun.Tx, rows []row) error {
	const columns = 13
	for part := range slices.Chunk(rows, 64) {
		var q strings.Builder
		q.WriteString("INSERT INTO decision (id, at, api, operation, action, stages, rules, principal, client, status, plain, size, event) VALUES ")
		args := make([]any, 0, len(part)*columns)
		for i := range part {
			for c := range columns {
				switch {
				case c > 0:
					q.WriteString(", ")
				case i > 0:
					q.WriteString("), (")
				default:
					q.WriteByte('(')
				}
				if j.store.Dialect() == store.Postgres {
					fmt.Fprintf(&q, "$%d", i*columns+c+1)
				} else {
					q.WriteByte('?')
				}
			}
			r := &part[i]
			args = append(args, r.ID, r.At, r.API, r.Operation, r.Action, r.Stages, r.Rules, r.Principal, r.Client, r.Status, r.Plain, r.Size, r.Event)
		}
		q.WriteString(") ON CONFLICT (id) DO NOTHING")
		if _, err := tx.Tx.ExecContext(ctx, q.String(), args...); err != nil {
			return fmt.Errorf("keep decisions: %w", err)
		}
	}
	return nil
}

// seen is an exchange in memory.
type seen struct {
	glance
	whole *sallyport.Exchange // while it is needed
}

// look gives the whole exchange; nil when it cannot be decoded.
func (s *seen) look() *sallyport.Exchange {
	if s.whole != nil {
		return s.whole
	}
	x, err := s.exchange()
	if err != nil {
		return nil
	}
	return x
}

// Find gives the exchange with this id, from memory or the table. An id that
// was never kept is sallyport.NotFound. What it points to must not be changed.
func (j *Journal) Find(ctx context.Context, id string) (*sallyport.Exchange, error) {
	if x := j.ring.find(id); x != nil {
		return x, nil
	}
	var events [][]byte
	if err := j.store.Reader().NewSelect().Model((*row)(nil)).Column("event").Where("id = ?", tidy(id)).Scan(ctx, &events); err != nil {
		return nil, fmt.Errorf("find decision: %w", err)
	}
	for _, event := range events {
		return decode(event)
	}
	return nil, sallyport.Errorf(sallyport.NotFound, "no decision with this id is kept: it is older than the journal keeps, or one of the plain allows of which only a sample is kept")
}

// tidy makes a text that a person sent one that both databases take.
func tidy(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\x00", "")
}

func decode(event []byte) (*sallyport.Exchange, error) {
	var e sallyport.Event
	if err := e.UnmarshalBinary(event); err != nil {
		return nil, fmt.Errorf("read decision: %w", err)
	}
	if len(e.Exchanges) != 1 {
		return nil, errors.New("read decision: the row holds no exchange")
	}
	return &e.Exchanges[0], nil
}

// A Page is one answer of List, newest first. Next is the Before of the page
// that follows, "" when there is none.
type Page struct {
	Exchanges []sallyport.Exchange
	Next      string
}

// List gives what f chooses, newest first: everything of the newest in memory,
// and of what is older what the table keeps. Slices in the exchanges are shared
// and must not be changed.
func (j *Journal) List(ctx context.Context, f Filter) (Page, error) {
	if err := f.compile(); err != nil {
		return Page{}, err
	}
	limit := f.Limit
	var events [][]byte
	q := j.store.Reader().NewSelect().Model((*row)(nil)).Column("event").OrderExpr("id DESC").Limit(int64(limit) + 1)
	if err := f.where(q).Scan(ctx, &events); err != nil {
		return Page{}, fmt.Errorf("list decisions: %w", err)
	}
	found := j.ring.list(&f, limit+1)
	horizon := "" // the table was read down to here and has more
	for i, event := range events {
		x, err := decode(event)
		if err != nil {
			return Page{}, err
		}
		if i == limit {
			horizon = x.ID
		}
		if f.match(x) {
			found = append(found, x)
		}
	}
	slices.SortFunc(found, func(a, b *sallyport.Exchange) int { return strings.Compare(b.ID, a.ID) })
	found = slices.CompactFunc(found, func(a, b *sallyport.Exchange) bool { return a.ID == b.ID })
	p := Page{Exchanges: []sallyport.Exchange{}, Next: horizon}
	for i, x := range found {
		if i == limit {
			p.Next = p.Exchanges[i-1].ID
			break
		}
		if x.ID < horizon {
			break
		}
		p.Exchanges = append(p.Exchanges, *x)
	}
	return p, nil
}

// ring keeps the newest exchanges, in the order in which they came. It is
// written with every exchange and read by people, so it is a plain list.
type ring struct {
	size int

	mu   sync.RWMutex
	kept []*seen
	next int
}

func (r *ring) add(fresh []seen) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range fresh {
		if len(r.kept) < r.size {
			r.kept = append(r.kept, &fresh[i])
			continue
		}
		r.kept[r.next] = &fresh[i]
		r.next = (r.next + 1) % r.size
	}
}

func (r *ring) find(id string) *sallyport.Exchange {
	r.mu.RLock()
	var found *seen
	for _, s := range r.kept {
		if s.id == id {
			found = s
			break
		}
	}
	r.mu.RUnlock()
	if found == nil {
		return nil
	}
	return found.look()
}

// list gives the newest of those that f chooses, at most limit. Ids sort by
// time but do not come quite in order.
func (r *ring) list(f *Filter, limit int) []*sallyport.Exchange {
	r.mu.RLock()
	likely := make([]*seen, 0, len(r.kept))
	for _, s := range r.kept {
		if f.glance(&s.glance) {
			likely = append(likely, s)
		}
	}
	r.mu.RUnlock()
	slices.SortFunc(likely, func(a, b *seen) int { return strings.Compare(b.id, a.id) })
	var found []*sallyport.Exchange
	for _, s := range likely {
		if x := s.look(); x != nil && f.match(x) {
			if found = append(found, x); len(found) == limit {
				break
			}
		}
	}
	return found
}

// Live is one delivery of Tail. Lost counts the exchanges that this subscriber
// missed before it, because it was slow.
type Live struct {
	Exchange *sallyport.Exchange // shared: must not be changed
	Lost     int
}

type tail struct {
	filter Filter
	out    chan Live
	lost   int
}

// Tail delivers what f chooses as it happens, until ctx ends; then the channel
// is closed. A subscriber that is more than TailBuffer behind loses what comes
// and is told how much. Paging and Limit of f do not count; with a filter that
// List would refuse the channel is closed at once.
func (j *Journal) Tail(ctx context.Context, f Filter) <-chan Live {
	f.Before = ""
	t := &tail{out: make(chan Live, j.o.TailBuffer)}
	if f.compile() != nil {
		close(t.out)
		return t.out
	}
	t.filter = f
	j.mu.Lock()
	j.tails[t] = struct{}{}
	j.mu.Unlock()
	context.AfterFunc(ctx, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.tails, t)
		close(t.out)
	})
	return t.out
}

func (j *Journal) deliver(fresh []seen) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for t := range j.tails {
		for i := range fresh {
			s := &fresh[i]
			if !t.filter.glance(&s.glance) {
				continue
			}
			if len(t.out) == cap(t.out) && t.filter.glanced() {
				t.lost++ // not worth decoding
				continue
			}
			if s.whole == nil {
				s.whole = s.look()
			}
			if s.whole == nil || !t.filter.match(s.whole) {
				continue
			}
			select {
			case t.out <- Live{Exchange: s.whole, Lost: t.lost}:
				t.lost = 0
			default:
				t.lost++
			}
		}
	}
}

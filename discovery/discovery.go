// Package discovery finds operations that no specification declares. In come
// the exchanges of the event stream; out go sightings, one for each exchange
// without a declared template, which name the template its path was folded
// into, give the reason for each folded segment, and list earlier templates
// that the new one swallows.
//
// Folding works online on bounded memory: each path segment is judged by its
// form, by its siblings and by how the server treats it (what its collection
// answers, which methods it takes), and judged again as evidence comes. The
// verdicts are a function of the exchanges in the order of the stream and
// nothing else, and they survive a restart in tables of this room.
//
// Paths that were only ever refused or answered 404 stay candidates; a scanner
// fills a bounded list of them and nothing more.
//
// The package never learns a value: what it keeps of a folded segment is its
// form. It takes no part in a request and enforces nothing.
package discovery

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sallyport.dev"
	"sallyport.dev/discovery/learn"
	"sallyport.dev/store"
)

// Options set a Discovery. Zero values mean the defaults.
type Options struct {
	Durable    string // name of its consumer; default "discovery"
	Templates  int    // most templates kept for an API; default 10,000
	Candidates int    // most probed-only templates kept for an API; default 500
	Children   int    // most literal values kept under one path node; default 200
	Places     int    // most places of bodies kept in learned schemas, all APIs together; default 400,000
	Logger     *slog.Logger
}

// A Discovery folds paths. Its methods are safe for concurrent use.
type Discovery struct {
	o      Options
	store  *store.Store
	cursor store.Cursor

	mu     sync.Mutex // guards what follows; Run holds it while it applies a batch
	trees  map[string]*tree
	stats  Stats
	loaded bool        // the trees are those of the table, and what place says
	place  store.Place // of the last message applied
	kept   bool        // what was applied is stored
	counts time.Time   // when counts were last written
	in     event       // used again and again
	places int         // of bodies, in learned schemas
}

// Open migrates the tables of discovery in s and loads what was learned.
func Open(ctx context.Context, s *store.Store, o Options) (*Discovery, error) {
	o.fill()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open discovery: %w", err)
	}
	if err := s.Migrate(ctx, "discovery", files); err != nil {
		return nil, fmt.Errorf("open discovery: %w", err)
	}
	d := &Discovery{o: o, store: s, cursor: store.Cursor{Table: "discovery_cursor", Name: o.Durable}}
	if err := d.load(ctx); err != nil {
		return nil, fmt.Errorf("open discovery: %w", err)
	}
	return d, nil
}

func (o *Options) fill() {
	if o.Durable == "" {
		o.Durable = "discovery"
	}
	o.Templates = fallback(o.Templates, 10_000)
	o.Candidates = fallback(o.Candidates, 500)
	o.Children = fallback(o.Children, 200)
	o.Places = fallback(o.Places, 400_000)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

func fallback(n, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return n
}

// pace is the shortest time between two commits while messages come. Sightings
// are published at once.
const pace = time.Second

// Run consumes exchanges and publishes sightings until ctx ends.
func (d *Discovery) Run(ctx context.Context) error {
	err := d.store.Stream().Run(ctx, store.Consumer{Durable: d.o.Durable, Subjects: []string{sallyport.SubjectExchange}, Handle: d.handle, Pace: pace, Seen: d.see})
	// What was learned is stored; the counts of the last seconds are not yet.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if e := d.flush(last); e != nil {
		d.o.Logger.Warn("the last counts of discovery are not stored", "err", e)
	}
	return err
}

// flush writes counts.
func (d *Discovery) flush(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.loaded || !d.kept {
		return nil
	}
	tx, err := d.store.DB().BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback()
	for _, t := range d.trees {
		if err := t.save(ctx, tx, true); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit counts: %w", err)
	}
	for _, t := range d.trees {
		t.saved(true)
	}
	return nil
}

// see folds and publishes what has arrived. When it cannot, handle does it all
// again from what is stored.
func (d *Discovery) see(ctx context.Context, messages []store.Message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.loaded && d.apply(ctx, messages) != nil {
		d.loaded = false
	}
}

// handle commits what was learned with the place. When the process dies between
// the publication and the commit the messages come again, the same state gives
// the same sightings, and whoever counts them knows the repetition by
// Event.Source.
func (d *Discovery) handle(ctx context.Context, messages []store.Message) (err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer func() {
		if err != nil {
			d.loaded = false
		}
	}()
	if !d.loaded {
		if err := d.load(ctx); err != nil {
			return err
		}
		if d.place, err = d.cursor.Place(ctx, d.store.Reader()); err != nil {
			return err
		}
		d.loaded, d.kept = true, true
	}
	if err := d.apply(ctx, messages); err != nil {
		return err
	}
	now := time.Now()
	counts := now.Sub(d.counts) > 10*time.Second
	if !counts && !d.learned() {
		d.kept = true // all of it was known: the place is stored with the next thing learned
		return nil
	}
	tx, err := d.store.DB().BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback()
	if _, err := d.cursor.Take(ctx, tx, messages); err != nil {
		return err
	}
	for _, t := range d.trees {
		if err := t.save(ctx, tx, counts); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit templates: %w", err)
	}
	d.kept = true
	if counts {
		d.counts = now
	}
	for _, t := range d.trees {
		t.saved(counts)
	}
	return nil
}

// learned reports whether there is anything to store but counts.
func (d *Discovery) learned() bool {
	for _, t := range d.trees {
		if t.stale || t.newValues || t.taught || len(t.gone)+len(t.fresh) > 0 {
			return true
		}
	}
	return false
}

// apply folds messages that were not yet, publishes the sightings and waits
// until the stream has them.
func (d *Discovery) apply(ctx context.Context, messages []store.Message) error {
	var acks []*store.Ack
	for _, m := range messages {
		if d.place.Covers(m) {
			continue
		}
		d.place, d.kept = store.PlaceOf(m), false
		if err := d.in.read(m.Data); err != nil {
			d.o.Logger.Error("event is unreadable, skipped", "sequence", m.Seq, "err", err)
			continue
		}
		out := sallyport.Event{Source: m.Seq}
		for i := range d.in.Exchanges {
			out.Sightings = d.fold(&d.in.Exchanges[i], out.Sightings)
		}
		if len(out.Sightings) == 0 {
			continue
		}
		data, err := out.MarshalBinary()
		if err != nil {
			return fmt.Errorf("encode sightings: %w", err)
		}
		ack, err := d.store.Stream().PublishAsync(sallyport.SubjectSighting, "sighting-"+strconv.FormatUint(m.Seq, 10)+"-"+strconv.FormatInt(m.Time.UnixNano(), 36), data)
		if err != nil {
			return fmt.Errorf("publish sightings: %w", err)
		}
		acks = append(acks, ack)
		if len(acks) >= 64 {
			if err := settle(ctx, acks); err != nil {
				return err
			}
			acks = acks[:0]
		}
	}
	return settle(ctx, acks)
}

func settle(ctx context.Context, acks []*store.Ack) error {
	for _, a := range acks {
		if _, err := a.Result(ctx); err != nil {
			return fmt.Errorf("publish sightings: %w", err)
		}
	}
	return nil
}

// fold takes one exchange and appends the sightings that come of it.
func (d *Discovery) fold(x *exchange, out []sallyport.Sighting) []sallyport.Sighting {
	t := d.trees[x.API]
	if t != nil && len(t.pending) > 0 {
		out = append(out, t.pending...)
		t.pending = nil
	}
	if t == nil {
		if len(d.trees) >= 10_000 {
			d.stats.Overflow++
			return out
		}
		t = newTree(strings.Clone(x.API), &d.o)
		d.trees[t.api] = t
	}
	if x.Declared {
		if !t.known[x.Template] {
			t.declare(x.Template)
			t.fresh = append(t.fresh, strings.Clone(x.Template))
			t.stale = true
		}
		d.learn(t, x, x.Operation().Method, x.Template, true)
		return out
	}
	x.Method, x.Path = printable(x.Method), printable(x.Path)
	if x.Path == "" {
		x.Path = "/"
	}
	segs, ok := split(x.Path, nil)
	if !ok || len(x.Method) > 32 || x.Method == "" {
		d.stats.Overflow++
		return out
	}
	d.stats.Folded++
	o, ok := t.see(x, segs)
	if !ok {
		return out
	}
	s := sallyport.Sighting{ID: x.ID, Time: x.Time, API: x.API, Method: x.Method, Path: x.Path, Status: x.Status, Origin: x.Origin, Principal: x.Principal, Refused: x.Decision.Refused(),
		Duration: x.Duration, RequestBytes: x.RequestBytes, ResponseBytes: x.ResponseBytes, TLS: x.TLS, Classes: x.Classes, Shape: x.Shape, Parameters: parameters(x.Query), Unseen: x.Unseen}
	if o.cand != nil {
		s.Template, s.Reasons = o.cand.template, o.cand.reasons
	} else {
		s.Template, s.Reasons = t.named(o.node)
		s.Replaces = o.swallow
		for i := range o.merges {
			t.relearn(o.merges[i].Method, o.merges[i].Template, o.merges[i].Replaces)
		}
		t.relearn(s.Method, s.Template, s.Replaces)
		d.learn(t, x, s.Method, s.Template, false)
	}
	// Merges first, in the order in which they happened, so that rows move before the count.
	out = append(out, o.merges...)
	return append(out, s)
}

// printable replaces what no table and no screen takes.
func printable(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return strings.Map(func(r rune) rune {
				if r <= ' ' || r == 0x7f || r == '\uFFFD' {
					return '_'
				}
				return r
			}, strings.ToValidUTF8(s, "_"))
		}
	}
	return s
}

// parameters lists the names in a raw query, bounded.
func parameters(query string) []sallyport.Place {
	var out []sallyport.Place
	for query != "" && len(out) < 32 {
		var p string
		p, query, _ = strings.Cut(query, "&")
		name, _, _ := strings.Cut(p, "=")
		if name == "" {
			continue
		}
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		name = printable(name)
		if len(name) > 64 {
			continue
		}
		place := sallyport.Place{In: sallyport.InQuery, Name: name}
		if !slices.Contains(out, place) {
			out = append(out, place)
		}
	}
	return out
}

// A Template is what discovery has learned about one operation.
type Template struct {
	API       string
	Method    string
	Template  string
	Reasons   []string // one per folded segment, in order
	Examples  []string // up to three paths that were folded, values masked by their form
	Count     uint64   // exchanges folded into it
	Probed    bool     // only ever refused or answered 401, 403, 404, 405, 410, 501 or 5xx
	FirstSeen time.Time
	LastSeen  time.Time
}

// Templates lists what was learned for api, by template and method.
func (d *Discovery) Templates(api string) []Template {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.trees[api]
	if t == nil {
		return nil
	}
	var out []Template
	var walk func(*node)
	walk = func(n *node) {
		for m, l := range n.methods {
			template, reasons := t.named(n)
			out = append(out, Template{API: api, Method: m, Template: template, Reasons: slices.Clone(reasons), Examples: slices.Clone(l.examples), Count: l.count, FirstSeen: l.first, LastSeen: l.last})
		}
		for _, c := range n.literal {
			walk(c)
		}
		if n.value != nil {
			walk(n.value)
		}
	}
	walk(t.root)
	for _, c := range t.candidates {
		out = append(out, Template{API: api, Method: c.method, Template: c.template, Reasons: slices.Clone(c.reasons), Examples: []string{c.path}, Count: c.count, Probed: true, FirstSeen: c.first, LastSeen: c.last})
	}
	slices.SortFunc(out, func(a, b Template) int {
		if c := strings.Compare(a.Template, b.Template); c != 0 {
			return c
		}
		return strings.Compare(a.Method, b.Method)
	})
	return out
}

// Stats counts what Discovery holds and has turned away.
type Stats struct {
	Templates  int    // learned, all APIs together
	Candidates int    // probed only
	Overflow   uint64 // exchanges that fitted in no bound any more, since start
	Folded     uint64 // exchanges folded since start
	Refolds    uint64 // values folded by evidence since start
	Lessons    int    // operations with a learned schema
	Tentative  int    // of them, those with 50 requests or more
	Places     int    // of bodies, in learned schemas
	Taught     uint64 // exchanges learned from since start
}

// Stats gives the present counts.
func (d *Discovery) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats
	s.Places = d.places
	for _, t := range d.trees {
		s.Templates += t.leaves
		s.Candidates += len(t.candidates)
		s.Overflow += t.overflow
		s.Refolds += t.refolds
		s.Lessons += len(t.lessons)
		for _, l := range t.lessons {
			if l.op.Taught >= learn.Tentative {
				s.Tentative++
			}
		}
	}
	return s
}

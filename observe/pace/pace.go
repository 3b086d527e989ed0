// Package pace learns how often callers ask: per operation the distribution of
// requests of one caller in one minute, over one to two weeks. In come the
// events of the stream; out go distributions, and the limit that each of them
// suggests. Only requests that reached an upstream count, so that what is turned
// away does not teach. It holds no name of a caller and never limits anybody.
//
// A caller's minute is one sample, whoever it is: the suggestion is about how
// callers behave, not about the busiest. Memory is bounded by MaxOperations and
// MaxCallers; what is beyond is counted and not learned from. A process that is
// killed forgets the last minutes.
package pace

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"hash/maphash"
	"io/fs"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/DataDog/sketches-go/ddsketch"
	sketchstore "github.com/DataDog/sketches-go/ddsketch/store"
	"github.com/uptrace/bun"

	"sallyport.dev"
	"sallyport.dev/store"
)

//go:embed migrations
var migrations embed.FS

// Options set a Book. Zero values mean the defaults.
type Options struct {
	Durable       string        // name at the stream; "pace"
	Span          time.Duration // covered by one distribution, of which two are kept; a week
	MaxOperations int           // 16,384
	MaxCallers    int           // callers of operations in one minute; 262,144
	Logger        *slog.Logger
	Now           func() time.Time
}

// Bounds of suggestions.
const (
	Headroom = 2    // times the 99.9th percentile
	Enough   = 1000 // samples before anything is suggested
	accuracy = 0.01 // of quantiles
)

// A Book learns and keeps. Its methods are safe for concurrent use.
type Book struct {
	o       Options
	store   *store.Store
	seed    maphash.Seed
	mu      sync.Mutex
	ops     map[key]*operation
	minutes [2]minute // the newest, and the one before
	beyond  uint64
}

type key struct{ api, operation string }

// operation is what is known of one: the distribution that is being filled, and
// the one before.
type operation struct {
	key
	spans   [2]span
	changed bool
}

type span struct {
	began    int64 // seconds since 1970; 0: none
	requests uint64
	most     uint64
	sketch   *ddsketch.DDSketch
}

// minute counts the requests of callers in one minute.
type minute struct {
	at    int64
	count map[caller]uint32
}

type caller struct {
	op  *operation
	who uint64 // hash, of this process
}

func newSketch() *ddsketch.DDSketch {
	s, _ := ddsketch.LogCollapsingLowestDenseDDSketch(accuracy, 1024) // fails for accuracies that are none
	return s
}

// Open reads what was learned before.
func Open(ctx context.Context, s *store.Store, o Options) (*Book, error) {
	o.Durable = cmp.Or(o.Durable, "pace")
	o.Span = cmp.Or(o.Span, 7*24*time.Hour)
	o.MaxOperations = cmp.Or(o.MaxOperations, 1<<14)
	o.MaxCallers = cmp.Or(o.MaxCallers, 1<<18)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Now == nil {
		o.Now = time.Now
	}
	b := &Book{o: o, store: s, seed: maphash.MakeSeed(), ops: map[key]*operation{}}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := s.Migrate(ctx, "pace", files); err != nil {
		return nil, err
	}
	rows, err := s.Reader().QueryContext(ctx, "SELECT api, operation, began, requests, most, sketch FROM pace WHERE began > ? ORDER BY began", o.Now().Add(-2*o.Span).Unix())
	if err != nil {
		return nil, fmt.Errorf("read paces: %w", s.Explain(err))
	}
	defer rows.Close()
	for rows.Next() {
		var k key
		var p span
		var raw []byte
		if err := rows.Scan(&k.api, &k.operation, &p.began, &p.requests, &p.most, &raw); err != nil {
			return nil, fmt.Errorf("read paces: %w", err)
		}
		if p.sketch, err = ddsketch.DecodeDDSketch(raw, func() sketchstore.Store { return sketchstore.NewCollapsingLowestDenseStore(1024) }, nil); err != nil {
			o.Logger.Error("a distribution cannot be read and begins anew", "api", k.api, "operation", k.operation, "error", err)
			continue
		}
		if op := b.of(k); op != nil {
			op.spans[1], op.spans[0] = op.spans[0], p
		}
	}
	return b, rows.Err()
}

// of finds or makes an operation; nil when there are too many.
func (b *Book) of(k key) *operation {
	op := b.ops[k]
	if op == nil {
		if len(b.ops) >= b.o.MaxOperations {
			return nil
		}
		op = &operation{key: key{strings.Clone(k.api), strings.Clone(k.operation)}}
		b.ops[op.key] = op
	}
	return op
}

// Run learns until ctx ends, and writes what it has learned each minute and at
// the end.
func (b *Book) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Minute)
		defer tick.Stop()
		for ctx.Err() == nil {
			select {
			case <-tick.C:
				if err := b.save(ctx, false); err != nil && ctx.Err() == nil {
					b.o.Logger.Error("paces are not written down", "error", err)
				}
			case <-ctx.Done():
			}
		}
	})
	err := b.store.Stream().Run(ctx, store.Consumer{Durable: b.o.Durable, Subjects: []string{sallyport.SubjectExchange}, Handle: b.take, Pace: time.Second})
	wg.Wait()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if serr := b.save(closing, true); serr != nil {
		b.o.Logger.Error("paces are not written down", "error", serr)
	}
	return err
}

// wanted are the fields of an exchange that are looked at: time, API, template,
// method, client, principal, the upstream's status, verb.
var wanted = sallyport.KeysOf(2, 6, 7, 9, 15, 16, 18, 41)

func (b *Book) take(_ context.Context, messages []store.Message) error {
	var e sallyport.Event
	for _, m := range messages {
		if err := e.UnmarshalTwo(m.Data, wanted, wanted); err != nil {
			b.o.Logger.Error("an event of the stream cannot be read and is passed over", "seq", m.Seq, "error", err)
			continue
		}
		b.Learn(e.Exchanges)
	}
	return nil
}

// Learn counts exchanges. It keeps nothing of them.
func (b *Book) Learn(list []sallyport.Exchange) {
	now := b.o.Now().Unix() / 60
	b.mu.Lock()
	defer b.mu.Unlock()
	var last *operation
	for i := range list {
		x := &list[i]
		if x.Origin == 0 || x.API == "" || x.Template == "" {
			continue
		}
		method := cmp.Or(x.Verb, x.Method)
		if last == nil || last.api != x.API || !isKey(last.operation, method, x.Template) {
			if last = b.of(key{x.API, method + " " + x.Template}); last == nil {
				b.beyond++
				continue
			}
		}
		m := b.minute(min(x.Time.Unix()/60, now))
		if m == nil {
			b.beyond++
			continue
		}
		c := caller{last, b.who(x)}
		if n, known := m.count[c]; known || len(m.count) < b.o.MaxCallers {
			m.count[c] = n + 1
		} else {
			b.beyond++
		}
	}
}

func isKey(k, method, template string) bool {
	return len(k) == len(method)+1+len(template) && k[:len(method)] == method && k[len(method)] == ' ' && k[len(method)+1:] == template
}

// who is a caller as a number: its principal, or its address.
func (b *Book) who(x *sallyport.Exchange) uint64 {
	if x.Principal.Anonymous() {
		return maphash.Comparable(b.seed, x.Client)
	}
	return maphash.Comparable(b.seed, x.Principal)
}

// minute gives the counts of a minute, and closes those that are over. Minutes
// older than the one before the newest are nil.
func (b *Book) minute(at int64) *minute {
	newest := &b.minutes[0]
	switch {
	case at == newest.at && newest.count != nil:
		return newest
	case at > newest.at:
		b.close(&b.minutes[1])
		if at > newest.at+1 {
			b.close(newest)
		}
		b.minutes[1] = *newest
		b.minutes[0] = minute{at: at, count: map[caller]uint32{}}
		return &b.minutes[0]
	case at == newest.at-1:
		if b.minutes[1].at != at || b.minutes[1].count == nil {
			b.close(&b.minutes[1])
			b.minutes[1] = minute{at: at, count: map[caller]uint32{}}
		}
		return &b.minutes[1]
	}
	return nil
}

// close turns the counts of a minute into samples.
func (b *Book) close(m *minute) {
	for c, n := range m.count {
		s := &c.op.spans[0]
		if s.began == 0 || m.at*60-s.began >= int64(b.o.Span/time.Second) {
			if s.began != 0 {
				c.op.spans[1] = *s
			}
			*s = span{began: m.at * 60, sketch: newSketch()}
		}
		_ = s.sketch.Add(float64(n)) // fails for numbers that no count is
		s.requests += uint64(n)
		s.most = max(s.most, uint64(n))
		c.op.changed = true
	}
	m.count = nil
}

// save closes minutes that are over, or all, and writes what has changed.
func (b *Book) save(ctx context.Context, all bool) error {
	type row struct {
		key
		span
		raw []byte
	}
	now := b.o.Now()
	var rows []row
	b.mu.Lock()
	for i := range b.minutes {
		if all || b.minutes[i].at < now.Unix()/60-1 {
			b.close(&b.minutes[i])
		}
	}
	old := now.Add(-2 * b.o.Span).Unix()
	for k, op := range b.ops {
		if op.spans[1].began != 0 && op.spans[1].began < old {
			op.spans[1] = span{}
		}
		if op.spans[0].began != 0 && op.spans[0].began < old {
			delete(b.ops, k) // nobody asks for it any more
			continue
		}
		if op.changed {
			op.changed = false
			r := row{key: op.key, span: op.spans[0]}
			r.sketch.Encode(&r.raw, false)
			rows = append(rows, r)
		}
	}
	b.mu.Unlock()
	err := b.store.DB().RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM pace WHERE began < ?", old); err != nil {
			return err
		}
		for part := range slices.Chunk(rows, 100) {
			var q strings.Builder
			var args []any
			q.WriteString("INSERT INTO pace (api, operation, began, requests, most, sketch) VALUES ")
			for i, r := range part {
				if i > 0 {
					q.WriteByte(',')
				}
				q.WriteString("(?,?,?,?,?,?)")
				args = append(args, r.api, r.operation, r.began, int64(r.requests), int64(r.most), r.raw)
			}
			q.WriteString(" ON CONFLICT (api, operation, began) DO UPDATE SET requests = EXCLUDED.requests, most = EXCLUDED.most, sketch = EXCLUDED.sketch")
			if _, err := tx.ExecContext(ctx, q.String(), args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.mu.Lock()
		for _, r := range rows {
			if op := b.ops[r.key]; op != nil {
				op.changed = true
			}
		}
		b.mu.Unlock()
		return b.store.Explain(err)
	}
	return nil
}

// A Suggestion is the distribution of one operation and the limit it suggests.
type Suggestion struct {
	API, Operation string
	Since          time.Time
	Samples        uint64 // callers × minutes in which they asked
	Requests       uint64
	P50, P90       uint64 // requests of one caller in one minute
	P99, P999, Max uint64
	Buckets        []Bucket
	Suggested      int     // requests a minute per caller; 0: not enough is known
	Beyond         float64 // share of samples above Suggested
}

// A Bucket counts samples of at most UpTo requests that no lower bucket holds.
type Bucket struct{ UpTo, Samples uint64 }

// Suggestions gives what is known of the operations of an API, or of all (""),
// those with the most requests first, limit of them at most.
func (b *Book) Suggestions(api string, limit int) []Suggestion {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Suggestion
	var sketches []*ddsketch.DDSketch
	for k, op := range b.ops {
		if api != "" && k.api != api || op.spans[0].began == 0 {
			continue
		}
		all := op.spans[0].sketch
		s := Suggestion{API: k.api, Operation: k.operation, Since: time.Unix(op.spans[0].began, 0).UTC(), Requests: op.spans[0].requests, Max: op.spans[0].most}
		if before := op.spans[1]; before.began != 0 {
			all = all.Copy()
			if all.MergeWith(before.sketch) != nil { // of another accuracy: the newer one alone
				all = op.spans[0].sketch
			} else {
				s.Since, s.Requests, s.Max = time.Unix(before.began, 0).UTC(), s.Requests+before.requests, max(s.Max, before.most)
			}
		}
		s.Samples = uint64(math.Round(all.GetCount()))
		out, sketches = append(out, s), append(sketches, all)
	}
	order := make([]int, len(out))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(x, y int) int {
		return cmp.Or(cmp.Compare(out[y].Requests, out[x].Requests), cmp.Compare(out[x].API, out[y].API), cmp.Compare(out[x].Operation, out[y].Operation))
	})
	sorted := make([]Suggestion, 0, min(limit, len(out)))
	for _, i := range order[:min(limit, len(order))] {
		s := out[i]
		s.describe(sketches[i])
		sorted = append(sorted, s)
	}
	return sorted
}

func (s *Suggestion) describe(d *ddsketch.DDSketch) {
	q, err := d.GetValuesAtQuantiles([]float64{0.5, 0.9, 0.99, 0.999})
	if err != nil { // there is none of an empty one
		return
	}
	whole := func(v float64) uint64 { return min(max(1, uint64(math.Round(v))), s.Max) }
	s.P50, s.P90, s.P99, s.P999 = whole(q[0]), whole(q[1]), whole(q[2]), whole(q[3])
	if s.Samples >= Enough {
		s.Suggested = round(float64(s.P999) * Headroom)
	}
	counts, beyond := map[uint64]float64{}, 0.0
	d.ForEach(func(v, n float64) bool {
		upTo := uint64(1)
		for float64(upTo) < math.Round(v) {
			upTo *= 2
		}
		counts[upTo] += n
		if s.Suggested > 0 && math.Round(v) > float64(s.Suggested) {
			beyond += n
		}
		return false
	})
	if s.Samples > 0 {
		s.Beyond = beyond / float64(s.Samples)
	}
	for upTo, n := range counts {
		s.Buckets = append(s.Buckets, Bucket{upTo, uint64(math.Round(n))})
	}
	slices.SortFunc(s.Buckets, func(x, y Bucket) int { return cmp.Compare(x.UpTo, y.UpTo) })
}

// round rounds up to two digits that count.
func round(v float64) int {
	step := 1.0
	for v/step >= 100 {
		step *= 10
	}
	return int(math.Ceil(v/step) * step)
}

// Beyond is how many requests were not learned from for want of room, or
// because they came too late.
func (b *Book) Beyond() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.beyond
}

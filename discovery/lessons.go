package discovery

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"sallyport.dev"
	"sallyport.dev/discovery/learn"
)

// A lesson is what was learned of one operation, and whether it is stored.
type lesson struct {
	method, template string
	declared         bool
	op               *learn.Operation
	news, counted    bool // since it was stored: something new; counts
}

type lessonRow struct {
	bun.BaseModel `bun:"table:discovery_lesson"`
	API           string `bun:"api,pk"`
	Method        string `bun:"method,pk"`
	Template      string `bun:"template,pk"`
	Declared      bool   `bun:"declared"`
	LastSeen      int64  `bun:"last_seen"`
	Data          []byte `bun:"data"`
}

// learn teaches the operation that x belongs to.
func (d *Discovery) learn(t *tree, x *exchange, method, template string, declared bool) {
	if template == "" || len(method) > 64 {
		return
	}
	key := method + " " + template
	l := t.lessons[key]
	if l == nil {
		if len(t.lessons) >= t.o.Templates {
			t.overflow++
			return
		}
		l = &lesson{method: strings.Clone(method), template: strings.Clone(template), op: &learn.Operation{}}
		t.lessons[strings.Clone(key)] = l
	}
	l.declared = l.declared || declared
	before := l.op.Size()
	l.op.Full = d.places >= d.o.Places
	if l.op.Add(x, template) {
		l.news, t.taught = true, true
	}
	l.counted = true
	d.places += l.op.Size() - before
	d.stats.Taught++
}

// relearn gives what was learned under old templates to the one that replaces them.
func (t *tree) relearn(method, template string, old []string) {
	for _, o := range old {
		from := t.lessons[method+" "+o]
		if from == nil || o == template {
			continue
		}
		delete(t.lessons, method+" "+o)
		t.forgotten = append(t.forgotten, method+" "+o)
		key := method + " " + template
		to := t.lessons[key]
		if to == nil {
			to = &lesson{method: strings.Clone(method), template: strings.Clone(template), op: &learn.Operation{}}
			t.lessons[key] = to
		}
		to.op.Parameters(strings.Count(template, "{"))
		to.op.Merge(from.op)
		to.declared = to.declared || from.declared
		to.news, to.counted, t.taught = true, true, true
	}
}

func (t *tree) saveLessons(ctx context.Context, tx bun.Tx, counts bool) error {
	for _, key := range t.forgotten {
		method, template, _ := strings.Cut(key, " ")
		if t.lessons[key] != nil {
			continue
		}
		if _, err := tx.NewDelete().Model((*lessonRow)(nil)).Where("api = ? AND method = ? AND template = ?", t.api, method, template).Exec(ctx); err != nil {
			return fmt.Errorf("drop lesson: %w", err)
		}
	}
	var rows []lessonRow
	for _, l := range t.lessons {
		if !l.news && !(counts && l.counted) {
			continue
		}
		data, err := l.op.Encode()
		if err != nil {
			return err
		}
		rows = append(rows, lessonRow{API: t.api, Method: l.method, Template: l.template, Declared: l.declared, LastSeen: l.op.Last, Data: data})
	}
	for chunk := range slices.Chunk(rows, 50) {
		if _, err := tx.NewInsert().Model(&chunk).On("CONFLICT (api, method, template) DO UPDATE").
			Set("declared = EXCLUDED.declared, last_seen = EXCLUDED.last_seen, data = EXCLUDED.data").Exec(ctx); err != nil {
			return fmt.Errorf("keep lessons: %w", err)
		}
	}
	return nil
}

func (t *tree) savedLessons(counts bool) {
	t.forgotten, t.taught = nil, false
	for _, l := range t.lessons {
		l.news = false
		if counts {
			l.counted = false
		}
	}
}

func (d *Discovery) loadLessons(ctx context.Context, tree func(api string) *tree) error {
	d.places = 0
	var rows []lessonRow
	if err := d.store.Reader().NewSelect().Model(&rows).Scan(ctx); err != nil {
		return fmt.Errorf("load lessons: %w", err)
	}
	for _, r := range rows {
		op, err := learn.Decode(r.Data)
		if err != nil {
			d.o.Logger.Error("what was learned of an operation is unreadable and begins anew", "api", r.API, "method", r.Method, "template", r.Template, "err", err)
			continue
		}
		tree(r.API).lessons[r.Method+" "+r.Template] = &lesson{method: r.Method, template: r.Template, declared: r.Declared, op: op}
		d.places += op.Size()
	}
	return nil
}

// New makes a Discovery that keeps what it learns in memory only; Add feeds it.
func New(o Options) *Discovery {
	o.fill()
	return &Discovery{o: o, trees: map[string]*tree{}}
}

// Add learns from x, which must be redacted, as Run does from the stream. It is
// for a Discovery of New.
func (d *Discovery) Add(x *sallyport.Exchange) {
	d.mu.Lock()
	defer d.mu.Unlock()
	own := *x
	d.fold(&own, nil)
}

// APIs lists the APIs of which anything was learned.
func (d *Discovery) APIs() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(keys(d.trees))
}

// Learned lists the operations of api of which anything was learned, each a
// copy that belongs to the caller.
func (d *Discovery) Learned(api string) []learn.Named {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.trees[api]
	if t == nil {
		return nil
	}
	var out []learn.Named
	for _, l := range t.lessons {
		own := &learn.Operation{}
		own.Merge(l.op)
		n := learn.Named{Method: l.method, Template: l.template, Declared: l.declared, Operation: own}
		if segs, ok := split(l.template, nil); ok && !l.declared {
			at := t.root
			for _, s := range segs {
				if next := at.literal[s]; next != nil {
					at = next
				} else if at = at.value; at == nil {
					break
				}
			}
			if at != nil {
				n.Reasons = slices.Clone(at.reasons())
			}
		}
		out = append(out, n)
	}
	return out
}

package discovery

import (
	"context"
	"embed"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/uptrace/bun"
)

//go:embed migrations
var migrations embed.FS

// Kinds of rows.
const (
	rowLearned = iota
	rowCandidate
	rowDeclared
)

// row is one template as stored. The tree is rebuilt from its leaves.
type row struct {
	bun.BaseModel `bun:"table:discovery_template"`
	API           string `bun:"api,pk"`
	Method        string `bun:"method,pk"`
	Template      string `bun:"template,pk"`
	Kind          int    `bun:"kind"`
	LastSeen      int64  `bun:"last_seen"`
	Data          []byte `bun:"data"`
}

type memory struct {
	bun.BaseModel `bun:"table:discovery_memory"`
	API           string `bun:"api,pk"`
	Data          []byte `bun:"data"`
}

// evidenceOf is what a row's data holds.
type evidenceOf struct {
	Count    uint64   `cbor:"1,keyasint,omitempty"`
	Answered bool     `cbor:"2,keyasint,omitempty"`
	Success  bool     `cbor:"3,keyasint,omitempty"`
	First    int64    `cbor:"4,keyasint,omitempty"`
	Last     int64    `cbor:"5,keyasint,omitempty"`
	Examples []string `cbor:"6,keyasint,omitempty"`
	Object   []uint32 `cbor:"7,keyasint,omitempty"`
	Element  []uint32 `cbor:"8,keyasint,omitempty"`
	Names    []string `cbor:"9,keyasint,omitempty"`  // of the arguments, without numbers
	Whys     []string `cbor:"10,keyasint,omitempty"` // of the arguments
	Reasons  []string `cbor:"11,keyasint,omitempty"` // of a candidate
	Path     string   `cbor:"12,keyasint,omitempty"` // of a candidate
}

func micro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicro(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// save writes what changed since the last time.
func (t *tree) save(ctx context.Context, tx bun.Tx, counts bool) error {
	for _, key := range t.gone {
		method, template, _ := strings.Cut(key, " ")
		if _, err := tx.NewDelete().Model((*row)(nil)).Where("api = ? AND method = ? AND template = ?", t.api, method, template).Exec(ctx); err != nil {
			return fmt.Errorf("drop template: %w", err)
		}
	}
	var rows []row
	add := func(n *node, method string, l *leaf) error {
		template, _ := t.named(n)
		e := evidenceOf{Count: l.count, Answered: l.answered, Success: l.success, First: micro(l.first), Last: micro(l.last), Examples: l.examples, Object: l.object, Element: l.element}
		for m := n; m.up != nil; m = m.up {
			if m.arg {
				e.Names, e.Whys = append(e.Names, m.seg), append(e.Whys, m.why)
			}
		}
		slices.Reverse(e.Names)
		slices.Reverse(e.Whys)
		data, err := cbor.Marshal(e)
		if err != nil {
			return fmt.Errorf("encode template: %w", err)
		}
		rows = append(rows, row{API: t.api, Method: method, Template: template, Kind: rowLearned, LastSeen: micro(l.last), Data: data})
		return nil
	}
	if t.stale {
		var walk func(n *node) error
		walk = func(n *node) error {
			for m, l := range n.methods {
				if l.dirty {
					if err := add(n, m, l); err != nil {
						return err
					}
					delete(t.touched, l)
				}
			}
			for _, c := range n.literal {
				if err := walk(c); err != nil {
					return err
				}
			}
			if n.value != nil {
				return walk(n.value)
			}
			return nil
		}
		if err := walk(t.root); err != nil {
			return err
		}
		for _, c := range t.candidates {
			if !c.dirty {
				continue
			}
			data, err := cbor.Marshal(evidenceOf{Count: c.count, First: micro(c.first), Last: micro(c.last), Reasons: c.reasons, Path: c.path})
			if err != nil {
				return fmt.Errorf("encode candidate: %w", err)
			}
			rows = append(rows, row{API: t.api, Method: c.method, Template: c.template, Kind: rowCandidate, LastSeen: micro(c.last), Data: data})
		}
		for _, template := range t.fresh {
			rows = append(rows, row{API: t.api, Method: "*", Template: template, Kind: rowDeclared})
		}
	}
	if counts {
		for l, n := range t.touched {
			if !n.attached() {
				continue
			}
			for m, own := range n.methods {
				if own == l {
					if err := add(n, m, l); err != nil {
						return err
					}
				}
			}
		}
	}
	if err := t.saveLessons(ctx, tx, counts); err != nil {
		return err
	}
	for chunk := range slices.Chunk(rows, 100) {
		for i := range chunk {
			if chunk[i].Data == nil {
				chunk[i].Data = []byte{}
			}
		}
		if _, err := tx.NewInsert().Model(&chunk).On("CONFLICT (api, method, template) DO UPDATE").
			Set("kind = EXCLUDED.kind, last_seen = EXCLUDED.last_seen, data = EXCLUDED.data").Exec(ctx); err != nil {
			return fmt.Errorf("keep templates: %w", err)
		}
	}
	if t.newValues {
		data, err := cbor.Marshal(t.ring)
		if err != nil {
			return fmt.Errorf("encode memory: %w", err)
		}
		if _, err := tx.NewInsert().Model(&memory{API: t.api, Data: data}).On("CONFLICT (api) DO UPDATE").Set("data = EXCLUDED.data").Exec(ctx); err != nil {
			return fmt.Errorf("keep memory: %w", err)
		}
	}
	return nil
}

// attached reports whether n still stands in its tree: a folded node's leaves
// moved away.
func (n *node) attached() bool {
	for ; n.up != nil; n = n.up {
		if n.arg && n.up.value != n || !n.arg && n.up.literal[n.seg] != n {
			return false
		}
	}
	return true
}

// saved marks everything as stored, after the commit.
func (t *tree) saved(counts bool) {
	t.gone, t.fresh, t.newValues = nil, nil, false
	t.savedLessons(counts)
	if t.stale {
		var walk func(n *node)
		walk = func(n *node) {
			for _, l := range n.methods {
				if l.dirty {
					l.dirty = false
					l.stored, _ = t.named(n)
				}
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
			if c.dirty {
				c.dirty, c.stored = false, true
			}
		}
	}
	t.stale = false
	if counts {
		clear(t.touched)
	}
}

// load rebuilds all trees.
func (d *Discovery) load(ctx context.Context) error {
	trees := map[string]*tree{}
	tree := func(api string) *tree {
		if trees[api] == nil {
			trees[api] = newTree(api, &d.o)
		}
		return trees[api]
	}
	var rows []row
	// Declared first, so that their arguments keep the specification's names.
	if err := d.store.Reader().NewSelect().Model(&rows).OrderExpr("api, CASE WHEN kind = 2 THEN 0 ELSE 1 END, template, method").Scan(ctx); err != nil {
		return fmt.Errorf("load templates: %w", err)
	}
	for _, r := range rows {
		t := tree(r.API)
		if r.Kind == rowDeclared {
			t.declare(r.Template)
			continue
		}
		var e evidenceOf
		if err := cbor.Unmarshal(r.Data, &e); err != nil {
			return fmt.Errorf("load template %s %s: %w", r.Method, r.Template, err)
		}
		if r.Kind == rowCandidate {
			key := r.Method + " " + r.Template
			t.candidates[key] = &candidate{method: r.Method, template: r.Template, reasons: e.Reasons, path: e.Path, count: e.Count, first: fromMicro(e.First), last: fromMicro(e.Last), stored: true}
			t.order = append(t.order, key)
			continue
		}
		segs, _ := split(r.Template, nil)
		n, k := t.root, 0
		for _, s := range segs {
			if s[0] == '{' && k < len(e.Names) {
				had := n.value != nil
				a := n.argument(e.Whys[k])
				if !had {
					a.seg = e.Names[k]
				}
				n, k = a, k+1
			} else if c := n.literal[s]; c != nil {
				n = c
			} else {
				n = t.child(n, s)
			}
		}
		l := n.leaf(r.Method)
		*l = leaf{count: e.Count, answered: e.Answered, success: e.Success, first: fromMicro(e.First), last: fromMicro(e.Last), examples: e.Examples, object: e.Object, element: e.Element, stored: r.Template}
		t.leaves++
	}
	var memories []memory
	if err := d.store.Reader().NewSelect().Model(&memories).Scan(ctx); err != nil {
		return fmt.Errorf("load memory: %w", err)
	}
	for _, m := range memories {
		t := tree(m.API)
		if err := cbor.Unmarshal(m.Data, &t.ring); err != nil {
			return fmt.Errorf("load memory: %w", err)
		}
		for _, h := range t.ring {
			t.values[h] = struct{}{}
		}
	}
	for _, t := range trees {
		slices.SortStableFunc(t.order, func(a, b string) int { return t.candidates[a].first.Compare(t.candidates[b].first) })
	}
	if err := d.loadLessons(ctx, tree); err != nil {
		return err
	}
	if err := d.loadRules(ctx, tree); err != nil {
		return err
	}
	for _, t := range trees {
		for _, m := range t.pending {
			t.relearn(m.Method, m.Template, m.Replaces)
		}
	}
	d.trees = trees
	return nil
}

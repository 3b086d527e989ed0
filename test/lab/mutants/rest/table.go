package rest

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// maxRows bounds a table; a further row is refused with 503.
const maxRows = 100_000

// A Row is a resource with its version, from 1.
type Row[T any] struct {
	ID      string
	Version int
	Value   T
}

// A Table holds the resources of one kind in the order in which they were made.
// Values are copied in and out. It is safe for concurrent use. Its faults are
// named NAME.insert, NAME.update, NAME.delete, NAME.list, NAME.read and
// NAME.atomic.
type Table[T any] struct {
	mu    sync.RWMutex
	order []string
	rows  map[string]Row[T]
	old   []Row[T] // what a stale list shows

	lost, stuck, immortal, stale, undead, racy bool
	gone                                       map[string]Row[T]
}

// NewTable makes an empty table.
func NewTable[T any](name string, skip Skip) *Table[T] {
	return &Table[T]{rows: map[string]Row[T]{}, gone: map[string]Row[T]{},
		lost: skip.Skips(name + ".insert"), stuck: skip.Skips(name + ".update"), immortal: skip.Skips(name + ".delete"),
		stale: skip.Skips(name + ".list"), undead: skip.Skips(name + ".read"), racy: skip.Skips(name + ".atomic")}
}

// Insert adds a resource; seeds go through it too.
func (t *Table[T]) Insert(id string, v T) (Row[T], error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.order) >= maxRows {
		return Row[T]{}, Fail(http.StatusServiceUnavailable, "no room for more")
	}
	row := Row[T]{id, 1, v}
	if t.lost {
		return row, nil
	}
	t.remember()
	t.order = append(t.order, id)
	t.rows[id] = row
	return row, nil
}

// Seed adds what is there from the start, whatever the faults.
func (t *Table[T]) Seed(id string, v T) {
	t.order = append(t.order, id)
	t.rows[id] = Row[T]{id, 1, v}
	t.old = t.list()
}

func (t *Table[T]) remember() {
	if t.stale {
		t.old = t.list()
	}
}

// Get finds a resource.
func (t *Table[T]) Get(id string) (Row[T], bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	row, ok := t.rows[id]
	if !ok && t.undead {
		row, ok = t.gone[id]
	}
	return row, ok
}

// Update changes a resource in one step; change sees the row as it is, and with
// its error nothing changes. A resource that is not there fails with 404.
func (t *Table[T]) Update(id string, change func(*Row[T]) error) (Row[T], error) {
	if t.racy {
		return t.overwrite(id, change)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	row, ok := t.rows[id]
	if !ok {
		return row, Fail(http.StatusNotFound, "no such resource")
	}
	if err := change(&row); err != nil {
		return row, err
	}
	row.Version++
	if !t.stuck {
		t.remember()
		t.rows[id] = row
	}
	return row, nil
}

// overwrite is Update as it is without the lock over read and write: what others
// wrote in between is lost.
func (t *Table[T]) overwrite(id string, change func(*Row[T]) error) (Row[T], error) {
	row, ok := t.Get(id)
	if !ok {
		return row, Fail(http.StatusNotFound, "no such resource")
	}
	if err := change(&row); err != nil {
		return row, err
	}
	time.Sleep(2 * time.Millisecond)
	t.mu.Lock()
	defer t.mu.Unlock()
	row.Version++
	t.rows[id] = row
	return row, nil
}

// Delete removes a resource if allowed says nil for it.
func (t *Table[T]) Delete(id string, allowed func(Row[T]) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	row, ok := t.rows[id]
	if !ok {
		return Fail(http.StatusNotFound, "no such resource")
	}
	if allowed != nil {
		if err := allowed(row); err != nil {
			return err
		}
	}
	if t.immortal {
		return nil
	}
	t.remember()
	if t.undead {
		t.gone[id] = row
	}
	delete(t.rows, id)
	t.order = slices.DeleteFunc(t.order, func(x string) bool { return x == id })
	return nil
}

// List gives the resources that keep says true for, oldest first.
func (t *Table[T]) List(keep func(Row[T]) bool) []Row[T] {
	t.mu.RLock()
	all := t.old
	if !t.stale {
		all = t.list()
	}
	t.mu.RUnlock()
	kept := []Row[T]{}
	for _, row := range all {
		if keep == nil || keep(row) {
			kept = append(kept, row)
		}
	}
	return kept
}

func (t *Table[T]) list() []Row[T] {
	all := make([]Row[T], len(t.order))
	for i, id := range t.order {
		all[i] = t.rows[id]
	}
	return all
}

package audit_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"sallyport.dev/console/audit"
	"sallyport.dev/store"
)

// What retention takes leaves a chain that verifies; a chain that is broken is
// left alone, for it is the proof.
func TestTrim(t *testing.T) {
	ctx := context.Background()
	key := make([]byte, store.KeySize)
	rand.Read(key)
	st, err := store.Open(ctx, store.Options{Dir: t.TempDir(), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if err := st.Migrate(ctx, "console", os.DirFS("../migrations")); err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := start
	open := func(key []byte) *audit.Log {
		l, err := audit.Open(st.DB(), st.Reader(), key, slog.New(slog.DiscardHandler), func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := open(key)
	for i := range 10 {
		now = start.AddDate(0, 0, i)
		if err := l.Append(ctx, audit.Entry{Name: "anna", Action: "test", Target: fmt.Sprint(i), Outcome: audit.Done}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, intact bool, first, last, checked int64) audit.Verdict {
		t.Helper()
		v, err := l.Verify(ctx)
		if err != nil || v.Intact != intact || intact && (v.First != first || v.Last != last || v.Checked != checked) {
			t.Errorf("%s: got %+v, %v, want intact %v, %d to %d, %d checked", what, v, err, intact, first, last, checked)
		}
		return v
	}
	want("untrimmed", true, 1, 10, 10)
	if n, err := l.Trim(ctx, start.AddDate(0, 0, 4)); n != 4 || err != nil {
		t.Errorf("trim: got %d, %v, want 4", n, err)
	}
	want("trimmed", true, 5, 10, 6)
	if n, err := l.Trim(ctx, start.AddDate(1, 0, 0)); n != 5 || err != nil {
		t.Errorf("trim of all: got %d, %v, want 5, the newest stays", n, err)
	}
	want("trimmed to the last", true, 10, 10, 1)
	if err := l.Append(ctx, audit.Entry{Action: "test", Outcome: audit.Done}); err != nil {
		t.Fatal(err)
	}
	want("gone on", true, 10, 11, 2)

	other := make([]byte, store.KeySize)
	rand.Read(other)
	if v, err := open(other).Verify(ctx); err != nil || v.Intact {
		t.Errorf("another key: got %+v, %v, want broken", v, err)
	}
	if _, err := st.DB().ExecContext(ctx, "UPDATE console_audit SET name = 'eve' WHERE seq = 10"); err != nil {
		t.Fatal(err)
	}
	if v := want("altered", false, 0, 0, 0); v.Broken != 10 {
		t.Errorf("altered: got %+v, want entry 10", v)
	}
	if n, err := l.Trim(ctx, start.AddDate(1, 0, 0)); n != 0 || err == nil || !strings.Contains(err.Error(), "entry 10 was altered") {
		t.Errorf("trim of a broken chain: got %d, %v, want it left alone", n, err)
	}
	if _, err := st.DB().ExecContext(ctx, "DELETE FROM console_audit_head"); err != nil {
		t.Fatal(err)
	}
	if v := want("without its head", false, 0, 0, 0); !strings.Contains(v.Problem, "head is missing") {
		t.Errorf("without its head: got %+v", v)
	}
	if err := l.Append(ctx, audit.Entry{Action: "test", Outcome: audit.Done}); err == nil {
		t.Error("a log without its head was quietly begun anew")
	}
}

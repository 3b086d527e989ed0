// Package audit keeps the log of what administrators do. In come entries; out
// go entries, newest first, and a verdict about the whole log.
//
// Each entry carries a keyed hash over its fields and the hash of the entry
// before it, and a sealed head names the last one. Whoever can write the tables
// but has not the key can therefore not change, insert, reorder or remove an
// entry, the newest included, without Verify naming the place. Setting the
// whole database back to an earlier state is visible only from outside: each
// head is also written to the process log.
//
// The package never changes an entry and never stores a password or a token.
package audit

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
)

// An Entry is one act. Times are kept to the microsecond.
type Entry struct {
	bun.BaseModel `bun:"table:console_audit"`

	Seq     int64  `bun:"seq,pk"`
	At      int64  `bun:"at"`      // microseconds since 1970
	Account string `bun:"account"` // id of who acted; "" = nobody known
	Name    string `bun:"name"`    // its name then
	Client  string `bun:"client"`  // address it came from
	Action  string `bun:"action"`  // "session.create", "account.disable", …
	Target  string `bun:"target"`  // what it was done to
	Outcome string `bun:"outcome"` // "done" or "refused"
	Detail  string `bun:"detail"`
	MAC     []byte `bun:"mac"`
}

// Outcomes of an act.
const (
	Done    = "done"
	Refused = "refused"
)

type head struct {
	bun.BaseModel `bun:"table:console_audit_head"`

	ID      int64  `bun:"id,pk"`
	BaseSeq int64  `bun:"base_seq"`
	BaseMAC []byte `bun:"base_mac"`
	Seq     int64  `bun:"seq"`
	MAC     []byte `bun:"mac"`
	Seal    []byte `bun:"seal"`
}

// A Log is the audit log in one database. It is safe for concurrent use, also
// by several processes on one PostgreSQL.
type Log struct {
	write, read *bun.DB
	key         []byte
	log         *slog.Logger
	now         func() time.Time
}

// Open makes a Log over the migrated tables, with a key derived from master.
func Open(write, read *bun.DB, master []byte, log *slog.Logger, now func() time.Time) (*Log, error) {
	if len(master) < 16 {
		return nil, errors.New("open audit log: the master key is too short")
	}
	key, err := hkdf.Key(sha256.New, master, nil, "sallyport console audit log 1", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive the audit log's key: %w", err)
	}
	return &Log{write: write, read: read, key: key, log: log, now: now}, nil
}

// Append adds e, whose Seq, At and MAC it sets.
func (l *Log) Append(ctx context.Context, e Entry) error {
	// An act that happened is recorded even when its caller has gone away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := l.write.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error { return l.AppendTx(ctx, tx, &e) })
	if err != nil {
		return fmt.Errorf("append to audit log: %w", err)
	}
	l.log.InfoContext(ctx, "audit", "seq", e.Seq, "action", e.Action, "outcome", e.Outcome, "account", e.Name, "client", e.Client, "head", hex.EncodeToString(e.MAC))
	return nil
}

// AppendTx adds e inside tx, so that an act and its entry happen together.
func (l *Log) AppendTx(ctx context.Context, tx bun.Tx, e *Entry) error {
	h, err := l.lockHead(ctx, tx)
	if err != nil {
		return err
	}
	e.Seq, e.At = h.Seq+1, l.now().UnixMicro()
	e.MAC = l.link(h.MAC, e)
	h.Seq, h.MAC = e.Seq, e.MAC
	h.Seal = l.seal(h)
	if _, err := tx.NewInsert().Model(e).Exec(ctx); err != nil {
		return err
	}
	_, err = tx.NewUpdate().Model(h).WherePK().Exec(ctx)
	return err
}

// lockHead reads the head, making the first, and keeps other writers out until
// tx ends.
func (l *Log) lockHead(ctx context.Context, tx bun.Tx) (*head, error) {
	first := &head{ID: 1, BaseMAC: []byte{}, MAC: []byte{}}
	first.Seal = l.seal(first)
	// A missing head beside existing entries is a removed head: it is not made
	// anew, or the chain would quietly start again.
	n, err := tx.NewSelect().Model((*Entry)(nil)).Limit(1).Count(ctx)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		if _, err := tx.NewInsert().Model(first).On("CONFLICT (id) DO NOTHING").Exec(ctx); err != nil {
			return nil, err
		}
	}
	h := new(head)
	q := tx.NewSelect().Model(h).Where("id = 1")
	if tx.Dialect().Name() == dialect.PG {
		q = q.For("UPDATE")
	}
	if err := q.Scan(ctx); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			return nil, errors.New("the head of the audit log is missing: restore the database from a backup")
		}
		return nil, err
	}
	return h, nil
}

// link is the keyed hash of e behind the entry whose hash is prev.
func (l *Log) link(prev []byte, e *Entry) []byte {
	m := hmac.New(sha256.New, l.key)
	m.Write([]byte("entry\x00"))
	var n [8]byte
	field := func(b []byte) {
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		m.Write(n[:])
		m.Write(b)
	}
	number := func(v int64) {
		binary.BigEndian.PutUint64(n[:], uint64(v))
		m.Write(n[:])
	}
	field(prev)
	number(e.Seq)
	number(e.At)
	for _, s := range []string{e.Account, e.Name, e.Client, e.Action, e.Target, e.Outcome, e.Detail} {
		field([]byte(s))
	}
	return m.Sum(nil)
}

func (l *Log) seal(h *head) []byte {
	m := hmac.New(sha256.New, l.key)
	m.Write([]byte("head\x00"))
	var n [8]byte
	for _, part := range []struct {
		seq int64
		mac []byte
	}{{h.BaseSeq, h.BaseMAC}, {h.Seq, h.MAC}} {
		binary.BigEndian.PutUint64(n[:], uint64(part.seq))
		m.Write(n[:])
		binary.BigEndian.PutUint64(n[:], uint64(len(part.mac)))
		m.Write(n[:])
		m.Write(part.mac)
	}
	return m.Sum(nil)
}

// A Filter chooses entries. Empty fields choose all.
type Filter struct {
	Before  int64 // entries below this sequence
	Action  string
	Account string
	Outcome string
	Limit   int // default 50, at most 500
}

// List gives entries, newest first.
func (l *Log) List(ctx context.Context, f Filter) ([]Entry, error) {
	if f.Limit <= 0 || f.Limit > 500 {
		f.Limit = 50
	}
	entries := []Entry{}
	q := l.read.NewSelect().Model(&entries).OrderExpr("seq DESC").Limit(int64(f.Limit))
	if f.Before > 0 {
		q = q.Where("seq < ?", f.Before)
	}
	if f.Action != "" {
		q = q.Where("action = ?", f.Action)
	}
	if f.Account != "" {
		q = q.Where("account = ?", f.Account)
	}
	if f.Outcome != "" {
		q = q.Where("outcome = ?", f.Outcome)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list audit log: %w", err)
	}
	return entries, nil
}

// A Verdict is what Verify found.
type Verdict struct {
	Intact  bool
	Checked int64     // entries that were recomputed and agreed
	First   int64     // sequence of the oldest entry kept
	Last    int64     // sequence the head names
	Head    string    // hash of the head, to be compared with the process log
	Broken  int64     // sequence of the first entry that does not agree; 0 = none or the head
	Problem string    // what does not agree, for people
	At      time.Time // when it was checked
}

// Verify recomputes the whole chain and names the first entry that does not
// agree. An error means that it could not be checked, not that it is broken.
func (l *Log) Verify(ctx context.Context) (Verdict, error) {
	v := Verdict{At: l.now()}
	err := l.read.RunInTx(ctx, &sql.TxOptions{ReadOnly: l.read.Dialect().Name() == dialect.PG, Isolation: l.snapshot()}, func(ctx context.Context, tx bun.Tx) error {
		return l.verify(ctx, tx, &v)
	})
	if err != nil {
		return v, fmt.Errorf("verify audit log: %w", err)
	}
	v.Intact = v.Problem == ""
	return v, nil
}

func (l *Log) snapshot() sql.IsolationLevel {
	if l.read.Dialect().Name() == dialect.PG {
		return sql.LevelRepeatableRead
	}
	return sql.LevelDefault // SQLite: a transaction sees one commit
}

func (l *Log) verify(ctx context.Context, tx bun.Tx, v *Verdict) error {
	h := new(head)
	if err := tx.NewSelect().Model(h).Where("id = 1").Scan(ctx); errors.Is(err, sql.ErrNoRows) {
		n, err := tx.NewSelect().Model((*Entry)(nil)).Count(ctx)
		if err == nil && n > 0 {
			v.Problem = "the head is missing: it was removed"
		}
		return err
	} else if err != nil {
		return err
	}
	v.First, v.Last, v.Head = h.BaseSeq+1, h.Seq, hex.EncodeToString(h.MAC)
	if !hmac.Equal(h.Seal, l.seal(h)) {
		v.Problem = "the head was altered, or written with another key"
		return nil
	}
	prev, at := h.BaseMAC, h.BaseSeq
	for {
		var page []Entry
		if err := tx.NewSelect().Model(&page).Where("seq > ?", at).OrderExpr("seq").Limit(1000).Scan(ctx); err != nil {
			return err
		}
		for i := range page {
			e := &page[i]
			switch {
			case e.Seq != at+1:
				v.Broken, v.Problem = at+1, fmt.Sprintf("entry %d is missing: it was removed", at+1)
			case e.Seq > h.Seq:
				v.Broken, v.Problem = e.Seq, fmt.Sprintf("entry %d stands behind the head: it was added from outside", e.Seq)
			case !hmac.Equal(e.MAC, l.link(prev, e)):
				v.Broken, v.Problem = e.Seq, fmt.Sprintf("entry %d was altered", e.Seq)
			}
			if v.Problem != "" {
				return nil
			}
			prev, at = e.MAC, e.Seq
			v.Checked++
		}
		if len(page) == 0 {
			break
		}
	}
	switch {
	case at != h.Seq:
		v.Broken, v.Problem = at+1, fmt.Sprintf("entries %d to %d are missing: they were removed", at+1, h.Seq)
	case !hmac.Equal(prev, h.MAC):
		v.Broken, v.Problem = at, fmt.Sprintf("entry %d is not the one the head names", at)
	}
	return nil
}

// Trim removes entries older than before, oldest first, and moves the base of
// the chain, so that what is kept still verifies. It refuses to trim a chain
// that is broken, which would destroy the proof.
func (l *Log) Trim(ctx context.Context, before time.Time) (int64, error) {
	var oldest Entry
	err := l.read.NewSelect().Model(&oldest).Column("seq", "at").OrderExpr("seq").Limit(1).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) || err == nil && oldest.At >= before.UnixMicro() {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("trim audit log: %w", err)
	}
	verdict, err := l.Verify(ctx)
	if err != nil {
		return 0, err
	}
	if !verdict.Intact {
		return 0, fmt.Errorf("trim audit log: %s; nothing was removed", verdict.Problem)
	}
	var n int64
	err = l.write.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		h, err := l.lockHead(ctx, tx)
		if err != nil {
			return err
		}
		// The newest entry always stays: the head names it.
		last := new(Entry)
		err = tx.NewSelect().Model(last).Where("at < ? AND seq < ?", before.UnixMicro(), h.Seq).OrderExpr("seq DESC").Limit(1).Scan(ctx)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		} else if err != nil {
			return err
		}
		r, err := tx.NewDelete().Model((*Entry)(nil)).Where("seq <= ?", last.Seq).Exec(ctx)
		if err != nil {
			return err
		}
		n, _ = r.RowsAffected()
		h.BaseSeq, h.BaseMAC = last.Seq, last.MAC
		h.Seal = l.seal(h)
		_, err = tx.NewUpdate().Model(h).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("trim audit log: %w", err)
	}
	return n, nil
}

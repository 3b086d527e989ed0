package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/uptrace/bun"
)

// A Cursor is a consumer's place in the stream, kept as a row of a table that
// the consumer's room owns, so that the place moves in the same transaction as
// what the messages did. The table is, in both dialects,
//
//	CREATE TABLE room_cursor (name TEXT PRIMARY KEY, seq BIGINT NOT NULL, at BIGINT NOT NULL)
//
// A message counts as taken when neither its sequence nor its time lies beyond
// the place. The time is there for the day a stream is lost or loses its tail
// with the power: it then gives out sequence numbers a second time.
type Cursor struct {
	Table string
	Name  string
}

// Take reads the place inside tx, drops the messages that were taken before,
// and moves the place to the last of messages. The caller applies what is
// returned in the same tx; nothing returned means nothing to do. Two
// transactions on one cursor wait for each other.
func (c Cursor) Take(ctx context.Context, tx bun.Tx, messages []Message) ([]Message, error) {
	if len(messages) == 0 {
		return nil, nil
	}
	seq, at, err := c.read(ctx, tx, true)
	if errors.Is(err, sql.ErrNoRows) {
		if _, err = tx.ExecContext(ctx, "INSERT INTO ? (name, seq, at) VALUES (?, 0, 0) ON CONFLICT (name) DO NOTHING", bun.Ident(c.Table), c.Name); err != nil {
			return nil, fmt.Errorf("create cursor %s: %w", c.Name, err)
		}
		seq, at, err = c.read(ctx, tx, true)
	}
	if err != nil {
		return nil, fmt.Errorf("read cursor %s: %w", c.Name, err)
	}
	for place := (Place{seq, at}); len(messages) > 0 && place.Covers(messages[0]); {
		messages = messages[1:]
	}
	if len(messages) == 0 {
		return nil, nil
	}
	last := messages[len(messages)-1]
	if _, err := tx.ExecContext(ctx, "UPDATE ? SET seq = ?, at = ? WHERE name = ?", bun.Ident(c.Table), int64(last.Seq), last.Time.UnixNano(), c.Name); err != nil {
		return nil, fmt.Errorf("move cursor %s: %w", c.Name, err)
	}
	return messages, nil
}

// A Place is how far a consumer has come; zero is before everything.
type Place struct {
	Seq  uint64
	Time int64 // of that message, nanoseconds since 1970
}

// PlaceOf is the place of one that has taken m.
func PlaceOf(m Message) Place { return Place{m.Seq, m.Time.UnixNano()} }

// Covers reports whether m was taken by one that is here.
func (p Place) Covers(m Message) bool { return m.Seq <= p.Seq && m.Time.UnixNano() <= p.Time }

// Place reads the place outside a transaction.
func (c Cursor) Place(ctx context.Context, db bun.IDB) (Place, error) {
	seq, at, err := c.read(ctx, db, false)
	if errors.Is(err, sql.ErrNoRows) {
		return Place{}, nil
	}
	if err != nil {
		return Place{}, fmt.Errorf("read cursor %s: %w", c.Name, err)
	}
	return Place{seq, at}, nil
}

// Last is the sequence of the place, read outside a transaction; 0 when nothing
// was ever taken.
func (c Cursor) Last(ctx context.Context, db bun.IDB) (uint64, error) {
	p, err := c.Place(ctx, db)
	return p.Seq, err
}

func (c Cursor) read(ctx context.Context, db bun.IDB, lock bool) (seq uint64, at int64, err error) {
	query := "SELECT seq, at FROM ? WHERE name = ?"
	if lock && dialectOf(db) == Postgres {
		query += " FOR UPDATE" // on SQLite the transaction itself is the only writer
	}
	err = db.QueryRowContext(ctx, query, bun.Ident(c.Table), c.Name).Scan(&seq, &at)
	return seq, at, err
}

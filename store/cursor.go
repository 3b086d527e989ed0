package store

import (
	"context"
	"errors"

	"github.com/uptrace/bun"
)

// A Cursor is a consumer's place in the stream, kept as a row of a table that
// the consumer's room owns, so that the place moves in the same transaction as
// what the messages did. The table has the columns
//
//	name TEXT PRIMARY KEY, seq BIGINT NOT NULL
//
// and both dialects take that definition as it stands.
type Cursor struct {
	Table string
	Name  string
}

// Take reads the place inside tx, drops the messages that were already
// counted, and moves the place to the last of messages. The caller applies what
// is returned in the same tx; nothing returned means nothing to do. Two
// transactions on one cursor wait for each other.
func (c Cursor) Take(ctx context.Context, tx bun.Tx, messages []Message) ([]Message, error) {
	return nil, errors.New("cursor: not built")
}

// Last is the place outside a transaction; 0 when nothing was ever taken.
func (c Cursor) Last(ctx context.Context, db bun.IDB) (uint64, error) {
	return 0, errors.New("cursor: not built")
}

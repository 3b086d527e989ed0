package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/uptrace/bun"
)

// trimStep is how many rows one transaction of Trim deletes.
const trimStep = 2000

// A Retention bounds a table by age, by rows and by bytes; a zero bound is none.
type Retention struct {
	Table    string
	Key      string // column of the primary key
	Time     string // column with microseconds since 1970, indexed
	MaxAge   time.Duration
	MaxRows  int64
	Bytes    string // column with the size of a row, summed for MaxBytes
	MaxBytes int64
}

// Trim deletes what r no longer keeps, oldest first, in short transactions so
// that writers are not held up, and returns how many rows went.
func (s *Store) Trim(ctx context.Context, r Retention, now time.Time) (int64, error) {
	n, err := s.trim(ctx, r, now)
	if err != nil {
		return n, fmt.Errorf("trim %s: %w", r.Table, s.Explain(err))
	}
	return n, nil
}

func (s *Store) trim(ctx context.Context, r Retention, now time.Time) (gone int64, err error) {
	if r.MaxAge > 0 {
		before := now.Add(-r.MaxAge).UnixMicro()
		for {
			n, err := s.deleteOldest(ctx, r, trimStep, before)
			gone += n
			if err != nil {
				return gone, err
			}
			if n < trimStep {
				break
			}
		}
	}
	if r.MaxRows > 0 {
		var rows int64
		if err := s.read.NewRaw("SELECT count(*) FROM ?", bun.Ident(r.Table)).Scan(ctx, &rows); err != nil {
			return gone, err
		}
		for over := rows - r.MaxRows; over > 0; {
			n, err := s.deleteOldest(ctx, r, min(over, trimStep), math.MaxInt64)
			gone += n
			if err != nil {
				return gone, err
			}
			if n == 0 {
				break
			}
			over -= n
		}
	}
	if r.MaxBytes > 0 && r.Bytes != "" {
		for {
			var rows, bytes int64
			if err := s.read.NewRaw("SELECT count(*), coalesce(sum(?), 0) FROM ?", bun.Ident(r.Bytes), bun.Ident(r.Table)).Scan(ctx, &rows, &bytes); err != nil {
				return gone, err
			}
			if bytes <= r.MaxBytes || rows == 0 {
				break
			}
			// As many rows of the mean size as are too much, and one more.
			n, err := s.deleteOldest(ctx, r, min(trimStep, (bytes-r.MaxBytes)*rows/bytes+1), math.MaxInt64)
			gone += n
			if err != nil {
				return gone, err
			}
			if n == 0 {
				break
			}
		}
	}
	if gone > 0 && s.dialect == SQLite {
		// Give freed pages back; PostgreSQL does so on its own.
		if _, err := s.write.ExecContext(ctx, "PRAGMA incremental_vacuum(4096)"); err != nil {
			return gone, err
		}
	}
	return gone, nil
}

// deleteOldest deletes up to limit rows from before a time.
func (s *Store) deleteOldest(ctx context.Context, r Retention, limit, before int64) (int64, error) {
	if r.Table == "" || r.Key == "" || r.Time == "" {
		return 0, errors.New("the retention names no table, key and time")
	}
	table, key, at := bun.Ident(r.Table), bun.Ident(r.Key), bun.Ident(r.Time)
	res, err := s.write.ExecContext(ctx, "DELETE FROM ? WHERE ? IN (SELECT ? FROM ? WHERE ? < ? ORDER BY ?, ? LIMIT ?)",
		table, key, key, table, at, before, at, key, limit)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

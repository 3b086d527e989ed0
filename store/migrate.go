package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"

	"github.com/pressly/goose/v3"
)

var roomName = regexp.MustCompile(`^[a-z][a-z_]{0,31}$`)

// Migrate brings room's tables up to the newest file of migrations, which holds
// the folders sqlite/ and postgres/ with goose files (00001_name.sql). The
// versions stand in the table <room>_version, so rooms migrate on their own.
// Each file is one transaction. A database newer than the files is refused
// with *NewerError, untouched. On PostgreSQL programs that start together wait
// for each other.
func (s *Store) Migrate(ctx context.Context, room string, migrations fs.FS) error {
	if !roomName.MatchString(room) {
		return fmt.Errorf("migrate %q: not the name of a room", room)
	}
	files, err := fs.Sub(migrations, string(s.dialect))
	if err != nil {
		return fmt.Errorf("migrate %s: %w", room, err)
	}
	dialect := goose.DialectSQLite3
	options := []goose.ProviderOption{
		goose.WithTableName(room + "_version"),
		goose.WithDisableGlobalRegistry(true),
	}
	if s.dialect == Postgres {
		dialect = goose.DialectPostgres
		unlock, err := s.lockMigrations(ctx)
		if err != nil {
			return fmt.Errorf("migrate %s: wait for other programs: %w", room, err)
		}
		defer unlock()
	}
	provider, err := goose.NewProvider(dialect, s.write.DB, files, options...)
	if err != nil {
		return fmt.Errorf("migrate %s: %w", room, err)
	}
	have, newest, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("migrate %s: read version: %w", room, s.Explain(err))
	}
	if have > newest {
		return &NewerError{Room: room, Have: have, Max: newest}
	}
	if have == newest {
		return nil
	}
	if _, err := provider.Up(ctx); err != nil {
		var partial *goose.PartialError
		if errors.As(err, &partial) && partial.Failed != nil {
			return fmt.Errorf("migrate %s to version %d: %w", room, partial.Failed.Source.Version, s.Explain(partial.Err))
		}
		return fmt.Errorf("migrate %s: %w", room, s.Explain(err))
	}
	return nil
}

// lockMigrations holds an advisory lock of PostgreSQL, in a session of its own,
// over the whole of a migration: goose makes the version table before it locks.
func (s *Store) lockMigrations(ctx context.Context) (unlock func(), err error) {
	const key = 0x73616c6c79 // "sally"
	conn, err := s.write.DB.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", key); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return func() {
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", key)
		_ = conn.Close()
	}, nil
}

package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"
	"github.com/ncruces/go-sqlite3/ext/fts5"
	_ "github.com/ncruces/go-sqlite3/vfs/xts" // the encrypting file system
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
)

const databaseFile = "sallyport.db"

// openSQLite opens the encrypted database in o.Dir: one connection that writes
// and a few that read.
func openSQLite(ctx context.Context, o Options) (write, read *bun.DB, err error) {
	key, err := subkey(o.Key, "database", 64) // two AES-256 keys, as XTS wants
	if err != nil {
		return nil, nil, err
	}
	name := (&url.URL{Scheme: "file", Path: filepath.Join(o.Dir, databaseFile), RawQuery: "vfs=xts"}).String()
	sync := "NORMAL"
	if o.SyncCommit {
		sync = "FULL"
	}
	open := func(conns int, pragmas ...string) (*bun.DB, error) {
		db, err := driver.Open(name, func(c *sqlite3.Conn) error {
			// The key goes first, and not by the name of the file: names appear in errors.
			if err := c.Exec("PRAGMA hexkey='" + hex.EncodeToString(key) + "'"); err != nil {
				var e *sqlite3.Error
				if errors.As(err, &e) {
					return fmt.Errorf("set key of database: %w", e.ExtendedCode()) // without the statement
				}
				return errors.New("set key of database")
			}
			if err := fts5.Register(c); err != nil {
				return fmt.Errorf("register full-text search: %w", err)
			}
			for _, p := range append([]string{"busy_timeout=10000", "temp_store=MEMORY", "foreign_keys=ON", "trusted_schema=OFF"}, pragmas...) {
				if err := c.Exec("PRAGMA " + p); err != nil {
					return fmt.Errorf("set %s: %w", p, err)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(conns)
		db.SetMaxIdleConns(conns)
		if err := db.PingContext(ctx); err != nil {
			return nil, errors.Join(err, db.Close())
		}
		return bun.NewDB(db, sqlitedialect.New()), nil
	}
	// Freed pages go back to the disk in steps (see Trim), which has to be
	// said before the file has pages.
	write, err = open(1, "auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous="+sync, "cache_size=-16384",
		"journal_size_limit=67108864", "secure_delete=OFF")
	if err != nil {
		return nil, nil, databaseError(o.Dir, err)
	}
	read, err = open(o.Readers, "query_only=ON", "cache_size=-4096")
	if err != nil {
		return nil, nil, databaseError(o.Dir, errors.Join(err, write.Close()))
	}
	return write, read, nil
}

func databaseError(dir string, err error) error {
	var code sqlite3.ErrorCode
	err = explain(dir, err)
	switch {
	case IsFull(err):
		return err
	case errors.As(err, &code) && code == sqlite3.NOTADB:
		return fmt.Errorf("%s is not a database this key can read although the key is right: the file is damaged; restore it from a backup: %w", filepath.Join(dir, databaseFile), err)
	}
	return fmt.Errorf("open database in %s: %w", dir, err)
}

func dialectOf(db bun.IDB) Dialect {
	if db.Dialect().Name().String() == "pg" {
		return Postgres
	}
	return SQLite
}

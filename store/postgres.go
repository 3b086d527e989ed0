package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

const oldestPostgres = 150000

// openPostgres opens the PostgreSQL database that address names. Errors never
// hold the address: it may hold a password.
func openPostgres(ctx context.Context, address string) (*bun.DB, error) {
	cfg, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, errors.New("open database: its URL is not one of PostgreSQL: postgres://user:password@host:port/name?sslmode=verify-full")
	}
	// bun writes values into the text of a statement, so no two are alike: the
	// driver's cache of prepared statements would only be filled with them.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "sallyport"
	}
	db := stdlib.OpenDB(*cfg)
	conns := max(8, 2*runtime.GOMAXPROCS(0))
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	db.SetConnMaxIdleTime(5 * time.Minute)
	var version int
	if err := db.QueryRowContext(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("open database %s at %s:%d: %w", cfg.Database, cfg.Host, cfg.Port, err)
	}
	if version < oldestPostgres {
		_ = db.Close()
		return nil, fmt.Errorf("open database %s at %s:%d: it runs PostgreSQL %d, 15 or newer is wanted", cfg.Database, cfg.Host, cfg.Port, version/10000)
	}
	return bun.NewDB(db, pgdialect.New()), nil
}

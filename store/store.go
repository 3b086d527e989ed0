// Package store is the ground the rooms stand on: a SQL handle with per-room
// migrations, and a durable event stream. In come a data directory, a master
// key and, beyond one machine, two URLs; out go a *bun.DB for writing, one for
// reading, and a *Stream.
//
// On one machine the database is an encrypted SQLite file and the stream an
// embedded NATS JetStream whose files are encrypted too; neither opens a
// socket. With URLs they are PostgreSQL (15 or newer) and a NATS server, used
// through the same methods.
//
// Order and delivery: a Stream keeps the order of publication. A consumer sees
// messages in that order, at least once, and a Cursor written in the
// consumer's own transaction makes that exactly once. Back-pressure: Publish
// waits for the stream; PublishAsync is bounded by the acknowledgements that
// are outstanding and then fails, it never waits for a disk.
//
// What survives: an acknowledged message and a committed transaction survive
// the death of the process. Against the loss of power the stream is synced
// every Options.SyncInterval; the database commits with synchronous=NORMAL in
// WAL mode (a power cut may undo the last transactions, never tear one) unless
// Options.SyncCommit asks for FULL.
//
// The package knows no room, holds no table of its own in the database, never
// writes the master key, and never modifies files that another key or a newer
// program wrote.
package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

// Options say where things are kept. The zero value of each optional field
// means its default.
type Options struct {
	Dir string // data directory, made with mode 0700 when missing; locked against a second process
	Key []byte // master key, 32 bytes (see LoadKey); not kept

	DatabaseURL string // "" = SQLite in Dir; "postgres://…"
	StreamURL   string // "" = embedded JetStream in Dir; "nats://…" or "tls://…"

	SyncCommit   bool          // SQLite: synchronous=FULL in place of NORMAL
	Readers      int           // SQLite: connections for reading; default 4
	SyncInterval time.Duration // embedded stream: time between fsyncs; default 1 s; negative = every message
	MaxAge       time.Duration // stream: messages older than this are dropped; default 7 days
	MaxBytes     int64         // stream: the oldest are dropped beyond this; default 2 GiB
	Reserve      int64         // free bytes below which the embedded stream refuses messages; default 64 MiB, negative = none
	Replicas     int           // stream on a NATS cluster: copies; default 1

	Free   func(dir string) (int64, error) // how free space is measured; default: what the file system says
	Logger *slog.Logger                    // default slog.Default()
}

func (o *Options) fill() error {
	if len(o.Key) != KeySize {
		return fmt.Errorf("the master key has %d bytes, %d are wanted", len(o.Key), KeySize)
	}
	if o.Dir == "" {
		return errors.New("no data directory is named")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	o.Dir = dir
	o.Readers = cmp.Or(o.Readers, 4)
	o.SyncInterval = cmp.Or(o.SyncInterval, time.Second)
	o.MaxAge = cmp.Or(o.MaxAge, 7*24*time.Hour)
	o.MaxBytes = cmp.Or(o.MaxBytes, 2<<30)
	o.Reserve = cmp.Or(o.Reserve, 64<<20)
	o.Replicas = cmp.Or(o.Replicas, 1)
	if o.MaxAge < time.Second || o.MaxBytes < 1<<20 {
		return errors.New("the stream must keep at least one second and one megabyte")
	}
	if o.Free == nil {
		o.Free = freeSpace
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}

// Dialect is the SQL the database speaks.
type Dialect string

// The dialects; also the names of the folders of migrations.
const (
	SQLite   Dialect = "sqlite"
	Postgres Dialect = "postgres"
)

// A Store is an open data directory. All methods are safe for concurrent use.
type Store struct {
	dir     string
	dialect Dialect
	write   *bun.DB
	read    *bun.DB
	stream  *Stream
	lock    *dirLock
	log     *slog.Logger
}

// Open opens or creates what o names. Errors: *LockedError, *WrongKeyError,
// *FullError; each says the way out. ctx bounds the opening only. The lock and
// the key are looked at before anything is opened.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("open store: %w", err)
		}
	}()
	if err := o.fill(); err != nil {
		return nil, err
	}
	s := &Store{dir: o.Dir, dialect: SQLite, log: o.Logger}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, s.Explain(fmt.Errorf("make data directory: %w", err))
	}
	if s.lock, err = lockDir(o.Dir); err != nil {
		return nil, s.Explain(err)
	}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if err := checkKey(o.Dir, o.Key); err != nil {
		return nil, s.Explain(err)
	}
	switch {
	case o.DatabaseURL == "":
		s.write, s.read, err = openSQLite(ctx, o)
	case strings.HasPrefix(o.DatabaseURL, "postgres://"), strings.HasPrefix(o.DatabaseURL, "postgresql://"):
		s.dialect = Postgres
		s.write, err = openPostgres(ctx, o.DatabaseURL)
		s.read = s.write
	default:
		err = errors.New("the database URL does not begin with postgres://")
	}
	if err != nil {
		return nil, err
	}
	if s.stream, err = openStream(ctx, o); err != nil {
		return nil, err
	}
	return s, nil
}

// DB is the handle for writing and for transactions. On SQLite it is exactly
// one connection, so writers queue in Go and never meet SQLITE_BUSY: do not use
// DB while a transaction or rows of DB are open in the same goroutine, use the
// transaction itself. On PostgreSQL it is a pool.
func (s *Store) DB() *bun.DB { return s.write }

// Reader is the handle for reading only. On SQLite it is a pool of connections
// that see the last commit and refuse to write; on PostgreSQL it is DB.
func (s *Store) Reader() *bun.DB { return s.read }

// Dialect says which SQL DB speaks.
func (s *Store) Dialect() Dialect { return s.dialect }

// Stream is the event stream.
func (s *Store) Stream() *Stream { return s.stream }

// Dir is the data directory, as an absolute path.
func (s *Store) Dir() string { return s.dir }

// Close flushes and closes the stream, the database and the lock, in that
// order. Consumers must have returned before.
func (s *Store) Close() error {
	var errs []error
	if s.stream != nil {
		errs = append(errs, s.stream.close())
	}
	if s.read != nil && s.read != s.write {
		errs = append(errs, s.read.Close())
	}
	if s.write != nil {
		errs = append(errs, s.write.Close()) // the last connection folds the write-ahead log in
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

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
	"context"
	"errors"
	"io/fs"
	"log/slog"
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

	Logger *slog.Logger // default slog.Default()
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
	dialect Dialect
	write   *bun.DB
	read    *bun.DB
	stream  *Stream
}

// Open opens or creates what o names. Errors: *LockedError, *WrongKeyError,
// *FullError; each says the way out. ctx bounds the opening only.
func Open(ctx context.Context, o Options) (*Store, error) {
	return nil, errors.New("open store: not built")
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

// Migrate brings room's tables up to the newest file of migrations, which holds
// the folders sqlite/ and postgres/ with goose files (00001_name.sql). The
// versions stand in the table <room>_version, so rooms migrate on their own.
// A database newer than the files is refused with *NewerError, untouched.
func (s *Store) Migrate(ctx context.Context, room string, migrations fs.FS) error {
	return errors.New("migrate: not built")
}

// Close flushes and closes the stream, the database and the lock.
func (s *Store) Close() error { return nil }

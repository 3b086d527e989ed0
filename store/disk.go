package store

import (
	"errors"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/ncruces/go-sqlite3"
	"golang.org/x/sys/unix"
)

// IsFull reports whether err means that a disk is full, whichever engine says so.
func IsFull(err error) bool {
	if err == nil {
		return false
	}
	if errors.Is(err, ErrFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, sqlite3.FULL) {
		return true
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "53100" // disk_full
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case 10023, 10047: // insufficient resources, insufficient storage
			return true
		}
		return strings.Contains(api.Description, "no space left") || strings.Contains(api.Description, "resource limits exceeded")
	}
	return false
}

// Explain makes a *FullError of an error of the database or the stream that
// means a full disk, and leaves every other error as it is. SQLite's driver
// says of a failed write only that it failed, so the disk is looked at too.
func (s *Store) Explain(err error) error { return explain(s.dir, err) }

func explain(dir string, err error) error {
	var full *FullError
	if err == nil || errors.As(err, &full) {
		return err
	}
	free := freeOr(dir, -1)
	failed := errors.Is(err, sqlite3.IOERR_WRITE) || errors.Is(err, sqlite3.IOERR_FSYNC) || errors.Is(err, sqlite3.IOERR_TRUNCATE) || errors.Is(err, sqlite3.IOERR_SHMSIZE)
	if IsFull(err) || failed && free >= 0 && free < 1<<20 {
		return &FullError{Dir: dir, Free: free, Cause: err}
	}
	return err
}

// freeSpace is what a user may still write to the disk of dir.
func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

func freeOr(dir string, otherwise int64) int64 {
	if n, err := freeSpace(dir); err == nil {
		return n
	}
	return otherwise
}

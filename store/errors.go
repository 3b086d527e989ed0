package store

import (
	"errors"
	"fmt"
)

// ErrFull is what errors.Is finds in every failure for want of disk space.
var ErrFull = errors.New("no space left on disk")

// FullError says that the disk is full. Nothing is lost that was acknowledged;
// work resumes by itself when there is space.
type FullError struct {
	Dir   string
	Free  int64 // bytes free when it was found, -1 = unknown
	Cause error
}

func (e *FullError) Error() string {
	if e.Free < 0 {
		return fmt.Sprintf("no space left in %s: free some; recording resumes by itself", e.Dir)
	}
	return fmt.Sprintf("no space left in %s (%d bytes free): free some; recording resumes by itself", e.Dir, e.Free)
}

// Unwrap gives ErrFull and the cause.
func (e *FullError) Unwrap() []error { return []error{ErrFull, e.Cause} }

// LockedError says that another process has the data directory.
type LockedError struct {
	Dir string
	PID int // 0 = unknown
}

func (e *LockedError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("data directory %s is in use by %s: stop it first, or give this one a directory of its own", e.Dir, who)
}

// WrongKeyError says that the master key is not the one the data was written
// with. Nothing was modified.
type WrongKeyError struct {
	Dir string
}

func (e *WrongKeyError) Error() string {
	return fmt.Sprintf("the key does not open %s, which was written with another one: give the key it was made with (nothing was changed), or another empty directory to begin anew", e.Dir)
}

// NewerError says that a newer program has migrated the tables of a room.
type NewerError struct {
	Room      string
	Have, Max int64 // version of the database, newest version this program knows
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("the tables of %s are at version %d, this program knows them up to %d: run the newer program, or restore a backup made by this one", e.Room, e.Have, e.Max)
}

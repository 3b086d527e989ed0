package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// A dirLock holds a data directory for this process. The kernel lets go of it
// when the process dies, however it dies; the file itself stays.
type dirLock struct{ f *os.File }

func lockDir(dir string) (*dirLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
		}
		holder := make([]byte, 32)
		n, _ := f.ReadAt(holder, 0)
		pid, _ := strconv.Atoi(string(bytes.TrimSpace(holder[:n])))
		return nil, &LockedError{Dir: dir, PID: pid}
	}
	// Best effort: on a full disk the lock holds all the same, only its
	// holder's name is missing. Written before cut, so that a reader never
	// finds it empty.
	pid := fmt.Sprintf("%d\n", os.Getpid())
	if _, err := f.WriteAt([]byte(pid), 0); err == nil {
		_ = f.Truncate(int64(len(pid)))
	}
	return &dirLock{f}, nil
}

func (l *dirLock) Close() error { return l.f.Close() }

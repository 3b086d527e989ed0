//go:build unix

package http1

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// A probe asks the kernel about a socket without reading from it.
type probe struct {
	raw  syscall.RawConn
	fds  [1]unix.PollFd
	ask  func(fd uintptr)
	want int16
}

func newProbe(c any, want int16) *probe {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	p := &probe{raw: raw, want: want}
	p.ask = func(fd uintptr) {
		p.fds[0] = unix.PollFd{Fd: int32(fd), Events: p.want}
		for {
			if _, err := unix.Poll(p.fds[:], 0); err != unix.EINTR {
				return
			}
		}
	}
	return p
}

// ready reports whether any of the wanted events, or an error, is there. A
// nil probe sees nothing.
func (p *probe) ready() bool {
	if p == nil {
		return false
	}
	p.fds[0].Revents = 0
	return p.raw.Control(p.ask) != nil || p.fds[0].Revents != 0
}

// readable waits for bytes, the other side's end, or an error.
const readable = unix.POLLIN

package gateway

import (
	"net"

	"golang.org/x/sys/unix"
)

// deafen has the kernel drop what asks for a new connection, so that the queue
// of those it has accepted already can be emptied before the socket closes:
// closing it with some in the queue would reset them, requests and all. Those
// who ask meanwhile ask again in a second and are then refused.
func deafen(l net.Listener) {
	t, ok := l.(*net.TCPListener)
	if !ok {
		return
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
		unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]})
	})
}

package pcap

import (
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// maxSocket is what the system may hold while we are busy.
const maxSocket = 32 << 20

// watcher is a packet socket.
type watcher struct {
	f        *os.File
	b        []byte
	loopback bool
}

func watch(name string) (*watcher, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	all := uint16(unix.ETH_P_ALL>>8 | unix.ETH_P_ALL<<8&0xff00) // in the order of the network
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, maxSocket) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, maxSocket) // as much as the system gives
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: i.Index}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return &watcher{os.NewFile(uintptr(fd), name), make([]byte, 256<<10), i.Flags&net.FlagLoopback != 0}, nil
}

// read gives a packet, which is the caller's.
func (w *watcher) read() ([]byte, time.Time, error) {
	c, err := w.f.SyscallConn()
	if err != nil {
		return nil, time.Time{}, err
	}
	for {
		var n int
		var from unix.Sockaddr
		var failed error
		if err := c.Read(func(fd uintptr) bool {
			n, from, failed = unix.Recvfrom(int(fd), w.b, 0)
			return failed != unix.EAGAIN
		}); err != nil {
			return nil, time.Time{}, err
		}
		if failed == unix.EINTR {
			continue
		}
		if failed != nil {
			return nil, time.Time{}, os.NewSyscallError("recvfrom", failed)
		}
		// What passes the loopback is seen leaving and arriving.
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && w.loopback && ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		return append([]byte(nil), w.b[:n]...), time.Now(), nil
	}
}

// dropped is how many packets the system could not keep since it was asked last.
func (w *watcher) dropped() (drops int) {
	if c, err := w.f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) {
			if s, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
				drops = int(s.Drops)
			}
		})
	}
	return drops
}

func (w *watcher) close() { _ = w.f.Close() }

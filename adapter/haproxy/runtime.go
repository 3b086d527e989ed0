package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxAnswer = 16 << 20
	askTime   = 10 * time.Second // for one answer of the socket
)

// A Runtime is the runtime socket of a running HAProxy: unix:PATH, a path, or
// tcp://host:port.
type Runtime string

// Ask sends one line of commands and gives what is answered, at most 16 MiB.
func (r Runtime) Ask(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	network, addr := "unix", strings.TrimPrefix(string(r), "unix:")
	if rest, ok := strings.CutPrefix(string(r), "tcp://"); ok {
		network, addr = "tcp", rest
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })
	defer stop()
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(conn, maxAnswer+1))
	if err == nil && len(b) > maxAnswer {
		err = errors.New("the answer is too large")
	}
	return string(b), err
}

// A Server is one server of a backend, as `show servers state` has it.
type Server struct {
	Backend, Name string
	Address       netip.AddrPort // invalid while it has none
	Admin         int            // bits of srv_admin_state
	State         int            // srv_op_state: 0 down, 1 comes up, 2 up, 3 goes down
	TLS           bool           // it is spoken to by TLS
}

// Closed reports whether it is set aside: in maintenance or drained, by whomever.
func (s Server) Closed() bool {
	const forced, inherited, drained, drainedToo, unresolved = 0x01, 0x02, 0x08, 0x10, 0x20
	return s.Admin&(forced|inherited|drained|drainedToo|unresolved) != 0
}

// Servers reads the servers of a backend. What is not wholly understood is an error.
func (r Runtime) Servers(ctx context.Context, backend string) ([]Server, error) {
	answer, err := r.Ask(ctx, "show servers state "+backend)
	if err != nil {
		return nil, err
	}
	return ParseServers(answer, backend)
}

// ParseServers reads an answer to `show servers state` of one backend.
func ParseServers(answer, backend string) ([]Server, error) {
	version, rest, ok := strings.Cut(answer, "\n")
	if !ok || version != "1" {
		return nil, fmt.Errorf("%q is no table of servers of version 1", clip(version))
	}
	head, rest, _ := strings.Cut(rest, "\n")
	names := strings.Fields(strings.TrimPrefix(head, "# "))
	column := func(name string) int { return slices.Index(names, name) }
	be, srv, addr, port, admin, op, ssl := column("be_name"), column("srv_name"), column("srv_addr"), column("srv_port"), column("srv_admin_state"), column("srv_op_state"), column("srv_use_ssl")
	if !strings.HasPrefix(head, "# ") || min(be, srv, addr, port, admin, op) < 0 {
		return nil, errors.New("the table of servers has other columns")
	}
	var out []Server
	seen := map[string]bool{}
	for line := range strings.Lines(rest) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) != len(names) || f[be] != backend || seen[f[srv]] {
			return nil, fmt.Errorf("%q is no line of the table of servers", clip(line))
		}
		seen[f[srv]] = true
		s := Server{Backend: f[be], Name: f[srv], TLS: ssl >= 0 && f[ssl] == "1"}
		var err, err2 error
		s.Admin, err = strconv.Atoi(f[admin])
		s.State, err2 = strconv.Atoi(f[op])
		n, err3 := strconv.ParseUint(f[port], 10, 16)
		if err := errors.Join(err, err2, err3); err != nil || s.Admin < 0 {
			return nil, fmt.Errorf("%q is no line of the table of servers", clip(line))
		}
		if a, err := netip.ParseAddr(f[addr]); err == nil && n > 0 {
			s.Address = netip.AddrPortFrom(a.Unmap(), uint16(n))
		}
		out = append(out, s)
	}
	return out, nil
}

// Process is which process answers: its id, and the seconds since it began.
func (r Runtime) Process(ctx context.Context) (pid, uptime int, err error) {
	answer, err := r.Ask(ctx, "show info")
	if err != nil {
		return 0, 0, err
	}
	pid, uptime = -1, -1
	for line := range strings.Lines(answer) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		n, err := strconv.Atoi(value)
		switch {
		case err != nil:
		case name == "Pid":
			pid = n
		case name == "Uptime_sec":
			uptime = n
		}
	}
	if pid < 0 || uptime < 0 {
		return 0, 0, errors.New("no process says who it is")
	}
	return pid, uptime, nil
}

func clip(s string) string {
	if s = strings.TrimSpace(s); len(s) > 80 {
		s = s[:80] + "…"
	}
	return s
}

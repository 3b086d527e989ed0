package gateway

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// Untested is the reason of an instance that nobody has looked at since the start
// of this process.
const Untested = reasonUntested

// Members are the addresses that an upstream stands for, when somebody else than
// DNS knows them: an Upstream with Members has a DNS of host:port only as its
// name. Until Set is called first the last good addresses stay. It is safe for
// concurrent use, and may be the upstream of several configurations.
type Members struct {
	mu      sync.Mutex
	known   bool
	list    []netip.AddrPort
	changed chan struct{}
}

// Set says which addresses there are now, none included. An address that was
// not there before is held, where its API is gated.
func (m *Members) Set(list []netip.AddrPort) {
	list = slices.Clone(list)
	slices.SortFunc(list, netip.AddrPort.Compare)
	list = slices.Compact(list)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known && slices.Equal(list, m.list) {
		return
	}
	m.known, m.list = true, list
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// now is what was said last, and what is closed when something else is.
func (m *Members) now() (list []netip.AddrPort, known bool, changed <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	return m.list, m.known, m.changed
}

// attend keeps the instances of u to what its Members say.
func (l *lane) attend(ctx context.Context, u Upstream, first func()) {
	for {
		list, known, changed := u.Members.now()
		if known {
			if err := l.place(u, list); err != nil && ctx.Err() == nil {
				l.pool.log.Warn("addresses of upstream", "api", l.pool.name, "upstream", u.DNS, "error", err)
			}
		}
		if first != nil {
			first()
			first = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// place makes the addresses of list the instances of u.
func (l *lane) place(u Upstream, list []netip.AddrPort) error {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	if l.ctx.Err() != nil { // configured anew meanwhile
		return l.ctx.Err()
	}
	next := make([]*instance, 0, len(list))
	for _, a := range list[:min(len(list), 1024)] {
		in, err := l.instance(u.Scheme+"://"+net.JoinHostPort(a.Addr().Unmap().String(), portOf(a)), u)
		if err != nil {
			return err
		}
		next = append(next, in)
	}
	l.resolved[u] = next
	l.publish()
	return nil
}

func portOf(a netip.AddrPort) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}

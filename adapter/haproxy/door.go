package haproxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"sallyport.dev"
)

// A Door opens and closes the servers of one backend of a running HAProxy by
// its runtime socket (level admin): `set server … state ready` and `maint`. It
// keeps no list of what it did: what the socket shows is compared with what is
// to be, so that a reload, another HAProxy on the same socket and a server that
// somebody set by hand are put right at the next look.
//
// Requests in flight on a server that is closed end, unless HAProxy is told to
// cut them (on-marked-down shutdown-sessions). `drain` is not used: by it, callers
// with a cookie would go on to the instance.
type Door struct {
	Socket  string // unix:PATH, a path, or tcp://host:port
	Backend string
	Slots   string // beginning of the names of servers that are free for new addresses; "" = there are none
	Scheme  string // of the instances that only the backend has; "" = https where HAProxy speaks TLS to them, else http
	Log     *slog.Logger

	pid, uptime int // of the process that answered last
	Reloads     int // processes that took the place of another
}

// Name tells it from all others.
func (d *Door) Name() string { return "haproxy " + d.Backend + " at " + d.Socket }

func (d *Door) slot(s Server) bool { return d.Slots != "" && strings.HasPrefix(s.Name, d.Slots) }

func (d *Door) url(s Server) string {
	scheme := d.Scheme
	if scheme == "" && s.TLS {
		scheme = "https"
	}
	return cmp.Or(scheme, "http") + "://" + s.Address.String()
}

// Instances lists the servers that the configuration of HAProxy names; slots are
// what they are told to be.
func (d *Door) Instances(ctx context.Context) ([]sallyport.Instance, error) {
	list, err := Runtime(d.Socket).Servers(ctx, d.Backend)
	if err != nil {
		return nil, err
	}
	var out []sallyport.Instance
	for _, s := range list {
		if s.Address.IsValid() && !d.slot(s) {
			out = append(out, sallyport.Instance{URL: d.url(s), Address: s.Address, Admission: admission(s)})
		}
	}
	return out, nil
}

func admission(s Server) sallyport.Admission {
	if s.Closed() {
		return sallyport.Held
	}
	return sallyport.Admitted
}

// want is what is to become of an address.
type want int

const (
	shut want = iota // also the answer for what nobody named
	keep
	open
)

// Apply has the backend's servers as they are to be, and says what they are then.
func (d *Door) Apply(ctx context.Context, list []sallyport.Instance) ([]sallyport.Instance, error) {
	r := Runtime(d.Socket)
	pid, uptime, err := r.Process(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask who answers: %w", err)
	}
	servers, err := r.Servers(ctx, d.Backend)
	if err != nil {
		return nil, fmt.Errorf("read its servers: %w", err)
	}
	wanted, urls := map[netip.AddrPort]want{}, map[netip.AddrPort]string{}
	for _, in := range list {
		if !in.Address.IsValid() {
			continue
		}
		w := shut
		switch in.Admission {
		case sallyport.Admitted:
			w = open
		case "":
			w = keep
		}
		if was, twice := wanted[in.Address]; twice {
			w = min(w, was)
		}
		wanted[in.Address], urls[in.Address] = w, in.URL
	}
	if d.pid != 0 && (pid != d.pid || uptime < d.uptime) {
		d.Reloads++
		if d.Log != nil {
			d.Log.Info("HAProxy was loaded again", "backend", d.Backend, "to_put_right", len(d.commands(servers, wanted)))
		}
	}
	d.pid, d.uptime = pid, uptime
	var said []string
	for range 3 { // a slot is given its address, is seen to have it, and is opened
		commands := d.commands(servers, wanted)
		if len(commands) == 0 {
			break
		}
		for part := range slices.Chunk(commands, 50) { // a line has its bound
			answer, err := r.Ask(ctx, strings.Join(part, ";"))
			if err != nil {
				return nil, fmt.Errorf("set its servers: %w", err)
			}
			for line := range strings.Lines(answer) {
				if s := strings.TrimSpace(line); s != "" && !strings.HasSuffix(s, "by 'stats socket command'") {
					said = append(said, clip(s))
				}
			}
		}
		// What counts is what it shows, not what it says.
		if servers, err = r.Servers(ctx, d.Backend); err != nil {
			return nil, fmt.Errorf("read its servers: %w", err)
		}
	}
	var out []sallyport.Instance
	var wrong []string
	at := map[netip.AddrPort]bool{}
	for _, s := range servers {
		if !s.Address.IsValid() {
			continue
		}
		w := wanted[s.Address]
		if d.slot(s) && s.Closed() && w != open {
			continue // a free one
		}
		if w == open && s.Closed() && !d.slot(s) || w == shut && !s.Closed() {
			wrong = append(wrong, s.Name)
		}
		at[s.Address] = at[s.Address] || !s.Closed()
		out = append(out, sallyport.Instance{URL: cmp.Or(urls[s.Address], d.url(s)), Address: s.Address, Admission: admission(s)})
	}
	for a, w := range wanted {
		if _, there := at[a]; w == open && !there {
			wrong = append(wrong, a.String()+" (no server has its address, and no slot is free)")
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		msg := "not as they are to be: " + clip(strings.Join(wrong, ", "))
		if len(said) > 0 {
			msg += "; it says " + said[0]
		}
		return out, errors.New(msg)
	}
	return out, nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// commands are what makes servers what they are to be: first what closes, then
// addresses of free slots, then what opens. A slot that is given an address is
// opened once it is seen to have it.
func (d *Door) commands(servers []Server, wanted map[netip.AddrPort]want) []string {
	var closing, moving, opening []string
	at := map[netip.AddrPort]bool{}
	set := func(s Server, what string) string { return "set server " + d.Backend + "/" + s.Name + " " + what }
	var free []Server
	servers = slices.Clone(servers) // those of the configuration before slots
	slices.SortStableFunc(servers, func(x, y Server) int {
		return cmp.Compare(b2i(d.slot(x)), b2i(d.slot(y)))
	})
	for _, s := range servers {
		w := wanted[s.Address]
		switch {
		case w == open && at[s.Address] && d.slot(s): // it has a server already
			w = shut
		case w != shut:
			at[s.Address] = true
		}
		if w == shut && d.slot(s) {
			free = append(free, s)
		}
		switch {
		case w == shut && !s.Closed():
			closing = append(closing, set(s, "state maint"))
		case w == open && s.Closed():
			opening = append(opening, set(s, "state ready"))
		}
	}
	var missing []netip.AddrPort
	for a, w := range wanted {
		if w == open && !at[a] {
			missing = append(missing, a)
		}
	}
	slices.SortFunc(missing, netip.AddrPort.Compare)
	for i, a := range missing {
		if i >= len(free) {
			break
		}
		s := free[i]
		moving = append(moving, set(s, fmt.Sprintf("addr %s port %d", a.Addr(), a.Port())))
	}
	return slices.Concat(closing, moving, opening)
}

package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// maxAddresses bounds one scan.
const maxAddresses = 1 << 16

// A target is one line of what was given, read.
type target struct {
	text   string
	name   string // lower case; "" for addresses
	domain bool   // names below it are in scope too
	prefix netip.Prefix
	port   int // 0: the plan's
	scheme string
	path   string
}

// never are addresses that no scan asks: link-local ones, where clouds answer
// with credentials, the other places they do so, and what is no host.
var never = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("fd00:ec2::/32"), netip.MustParsePrefix("100.100.100.200/32"),
	netip.MustParsePrefix("168.63.129.16/32"), netip.MustParsePrefix("192.0.0.192/32"), netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("224.0.0.0/3"), netip.MustParsePrefix("ff00::/8"), netip.MustParsePrefix("::/128"),
}

// metadataNames lead there as well.
var metadataNames = []string{"metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}

type scope struct {
	p        *Plan
	targets  []target
	exclude  []target
	excluded map[netip.Addr]bool // addresses of excluded names
	notes    []string

	mu     sync.Mutex
	pinned map[string][]netip.Addr // each name is resolved once
	more   map[netip.Addr]bool     // public addresses of names below a domain of the scope
}

func newScope(ctx context.Context, p *Plan) (*scope, error) {
	s := &scope{p: p, pinned: map[string][]netip.Addr{}, more: map[netip.Addr]bool{}, excluded: map[netip.Addr]bool{}}
	var errs []error
	for _, text := range p.Targets {
		t, err := parseTarget(text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.targets = append(s.targets, t)
	}
	for _, text := range p.Exclude {
		t, err := parseTarget(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("exclude: %w", err))
			continue
		}
		s.exclude = append(s.exclude, t)
		if t.name != "" {
			at, _ := p.Resolve(ctx, t.name)
			for _, a := range at {
				s.excluded[a.Unmap()] = true
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	total := 0
	for _, t := range s.targets {
		if t.name == "" {
			if bits := t.prefix.Addr().BitLen() - t.prefix.Bits(); bits > 16 {
				return nil, fmt.Errorf("%s has 2^%d addresses; one scan takes %d: divide it", t.text, bits, maxAddresses)
			} else {
				total += 1 << bits
			}
			continue
		}
		at, err := s.pin(ctx, t.name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.text, err)
		}
		for _, a := range at {
			if err := s.allows(a); err != nil {
				s.notes = append(s.notes, fmt.Sprintf("%s: %v", t.name, err))
			}
		}
		total += len(at)
	}
	if total > maxAddresses {
		return nil, fmt.Errorf("the targets have %d addresses; one scan takes %d: divide them", total, maxAddresses)
	}
	return s, nil
}

func parseTarget(text string) (target, error) {
	t := target{text: text}
	text = strings.TrimSpace(text)
	if len(text) > 2048 {
		return t, fmt.Errorf("target %.40q…: too long", text)
	}
	host := text
	if strings.Contains(text, "://") {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return t, fmt.Errorf("target %q: want http:// or https:// and a host", text)
		}
		if u.User != nil {
			return t, fmt.Errorf("target %s: credentials do not stand in a target", u.Redacted())
		}
		t.scheme, t.path, host = u.Scheme, u.EscapedPath(), u.Host
		if u.Port() == "" {
			t.port = map[string]int{"http": 80, "https": 443}[u.Scheme]
		}
	} else if p, err := netip.ParsePrefix(text); err == nil {
		t.prefix = p.Masked()
		return t, nil
	}
	if h, port, err := net.SplitHostPort(host); err == nil {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return t, fmt.Errorf("target %q: want a port from 1 to 65535", text)
		}
		host, t.port = h, n
	}
	host = strings.Trim(host, "[]")
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() != "" {
			return t, fmt.Errorf("target %q: addresses with a zone are not asked", text)
		}
		a = a.Unmap()
		t.prefix = netip.PrefixFrom(a, a.BitLen())
		return t, nil
	}
	if rest, ok := strings.CutPrefix(host, "*."); ok {
		t.domain, host = true, rest
	}
	t.name = strings.ToLower(strings.TrimSuffix(host, "."))
	if !hostName(t.name) {
		return t, fmt.Errorf("target %q is no host name, *.domain, address, range or URL", text)
	}
	return t, nil
}

// hostName says whether s may be asked of a resolver.
func hostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' {
			return false
		}
		for _, r := range label {
			if !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_') {
				return false
			}
		}
	}
	last := s[strings.LastIndexByte(s, '.')+1:]
	return strings.Trim(last, "0123456789") != "" // no half-written address
}

// pin resolves a name once; whatever it says later, these are its addresses.
func (s *scope) pin(ctx context.Context, name string) ([]netip.Addr, error) {
	s.mu.Lock()
	at, ok := s.pinned[name]
	s.mu.Unlock()
	if ok {
		return at, nil
	}
	at, err := s.p.Resolve(ctx, name)
	if len(at) > 32 {
		at = at[:32]
	}
	for i := range at {
		at[i] = at[i].Unmap()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if was, ok := s.pinned[name]; ok {
		return was, nil
	}
	if len(s.pinned) < 100_000 {
		s.pinned[name] = at
	}
	return at, err
}

// allows says why an address is not asked; nil means that it is.
func (s *scope) allows(a netip.Addr) error {
	a = a.Unmap()
	for _, p := range never {
		if p.Contains(a) {
			return fmt.Errorf("%s is never asked: link-local, cloud metadata or no host", a)
		}
	}
	if s.excluded[a] {
		return fmt.Errorf("%s is excluded", a)
	}
	for _, t := range s.exclude {
		if t.name == "" && t.prefix.Contains(a) {
			return fmt.Errorf("%s is excluded by %s", a, t.text)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.targets {
		if t.name == "" && t.prefix.Contains(a) || t.name != "" && slices.Contains(s.pinned[t.name], a) {
			return nil
		}
	}
	if s.more[a] {
		return nil
	}
	return fmt.Errorf("%s is outside of the scope", a)
}

// below says whether a name lies below a domain of the scope.
func (s *scope) below(name string) bool {
	for _, t := range s.targets {
		if t.domain && (name == t.name || strings.HasSuffix(name, "."+t.name)) {
			return true
		}
	}
	return false
}

// named says whether a name that a server mentions may be looked at.
func (s *scope) named(name string) bool {
	if !hostName(name) || slices.Contains(metadataNames, name) {
		return false
	}
	for _, t := range s.exclude {
		if t.name == name || t.domain && strings.HasSuffix(name, "."+t.name) {
			return false
		}
	}
	return true
}

// derived gives the addresses in scope of a name that a server mentioned. Below
// a domain of the scope, public addresses come into it; private ones don't, so
// that no answer of a resolver leads inside.
func (s *scope) derived(ctx context.Context, name string) []netip.Addr {
	at, err := s.pin(ctx, name)
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, a := range at {
		if s.below(name) && !inside(a) {
			s.mu.Lock()
			s.more[a] = true
			s.mu.Unlock()
		}
		if s.allows(a) == nil {
			out = append(out, a)
		}
	}
	return out
}

func inside(a netip.Addr) bool { return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() }

// jobs are the addresses of the targets, each once.
func (s *scope) jobs(ports []int) []job {
	var out []job
	at := map[netip.Addr]int{}
	add := func(a netip.Addr, t *target) {
		if s.allows(a) != nil {
			return
		}
		i, ok := at[a]
		if !ok {
			i = len(out)
			at[a] = i
			out = append(out, job{addr: a})
		}
		j := &out[i]
		if t.name != "" && !slices.Contains(j.names, t.name) {
			j.names = append(j.names, t.name)
		}
		if t.scheme != "" {
			j.url = append(j.url, *t)
		}
		if t.port != 0 {
			if !slices.Contains(j.ports, t.port) {
				j.ports = append(j.ports, t.port)
			}
			return
		}
		for _, p := range ports {
			if !slices.Contains(j.ports, p) {
				j.ports = append(j.ports, p)
			}
		}
	}
	for i := range s.targets {
		t := &s.targets[i]
		if t.name != "" {
			for _, a := range s.pinned[t.name] {
				add(a, t)
			}
			continue
		}
		for a := t.prefix.Addr(); t.prefix.Contains(a); a = a.Next() {
			add(a, t)
		}
	}
	return out
}

func (s *scope) stated(p *Plan) Stated {
	st := Stated{Targets: p.Targets, Excluded: p.Exclude, Rate: p.Rate, Budget: p.Budget, HostTime: p.HostTime, Robots: !p.IgnoreRobots}
	for _, j := range s.jobs(p.Ports) {
		st.Addresses++
		st.Ports = max(st.Ports, len(j.ports))
		text := j.addr.String()
		if len(j.names) > 0 {
			text += " (" + strings.Join(j.names, ", ") + ")"
		}
		if len(st.First) < 10 {
			st.First = append(st.First, text)
		}
		if !j.addr.IsLoopback() && !j.addr.IsPrivate() && len(st.Outside) < 10 {
			st.Outside = append(st.Outside, text)
		}
	}
	for _, t := range s.targets {
		if t.domain {
			st.Outside = append(st.Outside, "every public address of a name below "+t.name)
		}
	}
	return st
}

// optOut asks the TXT record by which the owner of a name declines scans.
func (s *scan) optOut(ctx context.Context, name string) bool {
	if !strings.Contains(name, ".") {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, s.p.Timeout)
	defer cancel()
	records, _ := s.p.Text(ctx, "_sallyport."+name)
	return slices.ContainsFunc(records, func(r string) bool { return strings.EqualFold(strings.ReplaceAll(r, " ", ""), "scan=no") })
}

// CheckTarget says what is wrong with a target by its form.
func CheckTarget(text string) error {
	_, err := parseTarget(text)
	return err
}

package door

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/netip"
)

// Peers is who may ask. The zero value lets this machine ask, and nobody else.
type Peers struct {
	Networks []netip.Prefix // empty: loopback
	Token    string         // shared with the proxy; "": none is asked for
}

// May reports whether the other end of a connection may ask at all. Whoever
// can open a Unix socket may: its mode says who that is.
func (p *Peers) May(a net.Addr) bool {
	switch a := a.(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		return p.MayFrom(a.AddrPort().Addr())
	}
	return false
}

// MayFrom is May for an address.
func (p *Peers) MayFrom(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if len(p.Networks) == 0 {
		return a.IsLoopback()
	}
	for _, n := range p.Networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// Knows reports whether token is the one shared with the proxy, in a time that
// does not tell how much of it is right.
func (p *Peers) Knows(token string) bool {
	if p.Token == "" {
		return true
	}
	a, b := sha256.Sum256([]byte(p.Token)), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

package pcap

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Link types, as captures name them.
const (
	linkNull     = 0
	linkEthernet = 1
	linkRaw12    = 12
	linkRaw      = 101
	linkLoop     = 108
	linkSLL      = 113
	linkIPv4     = 228
	linkIPv6     = 229
	linkSLL2     = 276
)

const maxNested = 4

// packet is a TCP segment.
type packet struct {
	src, dst netip.AddrPort
	network  uint32 // VNI of the innermost VXLAN or GENEVE, + 1
	seq, ack uint32
	flags    byte
	data     []byte
	cut      int // bytes of data that were sent and that the capture left out
}

const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	_
	flagACK
)

var (
	errBroken   = errors.New("a packet's headers do not fit together")
	errFragment = errors.New("a fragment of IP")
	errOther    = errors.New("another protocol")
)

var be = binary.BigEndian

// decode finds the TCP segment in a packet, also behind tags of 802.1Q and in
// VXLAN (RFC 7348) and GENEVE (RFC 8926).
func (p *packet) decode(link int, b []byte) error {
	*p = packet{}
	switch link {
	case linkEthernet:
		return p.ethernet(b, 0)
	case linkNull, linkLoop:
		if len(b) < 5 {
			return errBroken
		}
		return p.ip(b[4:], 0)
	case linkRaw, linkRaw12, linkIPv4, linkIPv6:
		return p.ip(b, 0)
	case linkSLL:
		if len(b) < 16 {
			return errBroken
		}
		return p.typed(be.Uint16(b[14:]), b[16:], 0)
	case linkSLL2:
		if len(b) < 20 {
			return errBroken
		}
		return p.typed(be.Uint16(b), b[20:], 0)
	}
	return errOther
}

func (p *packet) ethernet(b []byte, depth int) error {
	if len(b) < 14 {
		return errBroken
	}
	return p.typed(be.Uint16(b[12:]), b[14:], depth)
}

func (p *packet) typed(kind uint16, b []byte, depth int) error {
	for tags := 0; kind == 0x8100 || kind == 0x88a8 || kind == 0x9100; tags++ {
		if len(b) < 4 || tags == maxNested {
			return errBroken
		}
		kind, b = be.Uint16(b[2:]), b[4:]
	}
	if kind != 0x0800 && kind != 0x86dd {
		return errOther
	}
	return p.ip(b, depth)
}

func (p *packet) ip(b []byte, depth int) error {
	if len(b) < 20 || depth > maxNested {
		return errBroken
	}
	var src, dst netip.Addr
	var proto byte
	cut := 0
	switch b[0] >> 4 {
	case 4:
		head, total := int(b[0]&15)*4, int(be.Uint16(b[2:]))
		if total == 0 {
			total = len(b) // segments that the interface cuts up later
		}
		if head < 20 || head > len(b) || total < head {
			return errBroken
		}
		if be.Uint16(b[6:])&0x3fff != 0 {
			return errFragment
		}
		src, dst, proto = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:])), b[9]
		cut = max(0, total-len(b))
		b = b[head:min(total, len(b))]
	case 6:
		if len(b) < 40 {
			return errBroken
		}
		total := 40 + int(be.Uint16(b[4:]))
		if total == 40 {
			total = len(b)
		}
		src, dst, proto = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:])), b[6]
		cut = max(0, total-len(b))
		b = b[40:min(total, len(b))]
		for n := 0; proto == 0 || proto == 43 || proto == 60; n++ {
			if len(b) < 8 || n == 8 {
				return errBroken
			}
			size := 8 + 8*int(b[1])
			if size > len(b) {
				return errBroken
			}
			proto, b = b[0], b[size:]
		}
		if proto == 44 {
			return errFragment
		}
	default:
		return errBroken
	}
	switch proto {
	case 6:
		if len(b) < 20 {
			return errBroken
		}
		head := int(b[12]>>4) * 4
		if head < 20 || head > len(b) {
			return errBroken
		}
		p.src, p.dst = netip.AddrPortFrom(src, be.Uint16(b)), netip.AddrPortFrom(dst, be.Uint16(b[2:]))
		p.seq, p.ack, p.flags, p.data, p.cut = be.Uint32(b[4:]), be.Uint32(b[8:]), b[13], b[head:], cut
		return nil
	case 17:
		if len(b) < 16 {
			return errOther
		}
		switch be.Uint16(b[2:]) {
		case 4789, 8472:
			if b[8]&8 != 0 {
				p.network = be.Uint32(b[12:])>>8 + 1
			}
			return p.ethernet(b[16:], depth+1)
		case 6081:
			at := 16 + int(b[8]&0x3f)*4
			if at > len(b) {
				return errBroken
			}
			p.network = be.Uint32(b[12:])>>8 + 1
			if kind := be.Uint16(b[10:]); kind != 0x6558 {
				return p.typed(kind, b[at:], depth+1)
			}
			return p.ethernet(b[at:], depth+1)
		}
	case 4, 41:
		return p.ip(b, depth+1)
	}
	return errOther
}

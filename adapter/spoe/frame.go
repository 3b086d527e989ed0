package spoe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// The types of frames (SPOE.txt section 3.2.4).
const (
	frameUnset       = 0 // goes on with a fragmented one
	frameHello       = 1
	frameDisconnect  = 2
	frameNotify      = 3
	frameAgentHello  = 101
	frameAgentGone   = 102
	frameAck         = 103
	flagFin          = 1
	flagAbort        = 2
	maxFrame         = 16380 // bytes behind the length, as HAProxy's default buffer bounds them
	minFrame         = 256
	maxMessages      = 8       // of one NOTIFY
	maxAssembled     = 1 << 20 // bytes of a NOTIFY in fragments
	scopeTransaction = 2
)

// The codes of a disconnect (section 3.2.9).
const (
	goneNormal      = 0
	goneTooBig      = 3
	goneInvalid     = 4
	goneNoVersion   = 5
	goneNoFrameSize = 6
	goneVersion     = 8
	goneFrameSize   = 9
	goneInterlaced  = 11
	goneResources   = 13
)

// A frame is one message of the protocol. Its payload is valid until the next
// one is read.
type frame struct {
	kind     byte
	flags    uint32
	stream   uint64
	id       uint64
	payload  []byte
	interior bool // goes on with an earlier one
}

var errShort = errors.New("spop: it ends in the middle")

// parseFrame reads what stands behind the length.
func parseFrame(b []byte) (f frame, err error) {
	if len(b) < 7 {
		return f, errShort
	}
	f.kind, f.flags = b[0], binary.BigEndian.Uint32(b[1:])
	b = b[5:]
	if f.stream, b, err = varint(b); err != nil {
		return f, err
	}
	if f.id, b, err = varint(b); err != nil {
		return f, err
	}
	f.payload, f.interior = b, f.kind == frameUnset
	return f, nil
}

// varint reads a number in the protocol's own form (section 3.1).
func varint(b []byte) (uint64, []byte, error) {
	if len(b) == 0 {
		return 0, nil, errShort
	}
	v := uint64(b[0])
	b = b[1:]
	if v < 240 {
		return v, b, nil
	}
	for shift := uint(4); ; shift += 7 {
		if len(b) == 0 {
			return 0, nil, errShort
		}
		c := b[0]
		b = b[1:]
		if shift > 60 {
			return 0, nil, errors.New("spop: a number is longer than 64 bits")
		}
		v += uint64(c) << shift
		if c < 128 {
			return v, b, nil
		}
	}
}

func appendVarint(b []byte, v uint64) []byte {
	if v < 240 {
		return append(b, byte(v))
	}
	b = append(b, byte(v)|0xf0)
	for v = (v - 240) >> 4; v >= 128; v = (v - 128) >> 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

func text(b []byte) ([]byte, []byte, error) {
	n, b, err := varint(b)
	if err != nil {
		return nil, nil, err
	}
	if n > uint64(len(b)) {
		return nil, nil, errShort
	}
	return b[:n], b[n:], nil
}

func appendText(b []byte, s string) []byte { return append(appendVarint(b, uint64(len(s))), s...) }

// A value is typed data (section 3.1); its text shares the frame's bytes.
type value struct {
	kind   byte // 0 null, 1 boolean, 2 int32, 3 uint32, 4 int64, 5 uint64, 6 IPv4, 7 IPv6, 8 string, 9 binary
	number uint64
	text   []byte
	addr   netip.Addr
}

func (v value) yes() bool { return v.kind == 1 && v.number == 1 }

func typed(b []byte) (v value, rest []byte, err error) {
	if len(b) == 0 {
		return v, nil, errShort
	}
	t := b[0]
	v.kind, b = t&15, b[1:]
	switch v.kind {
	case 0:
	case 1:
		v.number = uint64(t >> 4 & 1)
	case 2, 3, 4, 5:
		v.number, b, err = varint(b)
	case 6, 7:
		n := 4
		if v.kind == 7 {
			n = 16
		}
		if len(b) < n {
			return v, nil, errShort
		}
		v.addr, _ = netip.AddrFromSlice(b[:n])
		b = b[n:]
	case 8, 9:
		v.text, b, err = text(b)
	default:
		return v, nil, fmt.Errorf("spop: type %d is unknown", v.kind)
	}
	return v, b, err
}

// pairs calls f with each name and value of a list.
func pairs(b []byte, f func(name []byte, v value)) error {
	for len(b) > 0 {
		name, rest, err := text(b)
		if err != nil {
			return err
		}
		v, rest, err := typed(rest)
		if err != nil {
			return err
		}
		f(name, v)
		b = rest
	}
	return nil
}

// messages calls f with each message of a NOTIFY and its arguments.
func messages(b []byte, f func(name string, args map[string]value)) error {
	for n := 0; len(b) > 0; n++ {
		if n == maxMessages {
			return errors.New("spop: too many messages in one frame")
		}
		name, rest, err := text(b)
		if err != nil {
			return err
		}
		if len(rest) == 0 {
			return errShort
		}
		count := int(rest[0])
		b = rest[1:]
		args := make(map[string]value, count)
		for range count {
			var key []byte
			var v value
			if key, b, err = text(b); err != nil {
				return err
			}
			if v, b, err = typed(b); err != nil {
				return err
			}
			if _, twice := args[string(key)]; twice {
				return fmt.Errorf("spop: an argument stands twice in a message")
			}
			args[string(key)] = v
		}
		f(string(name), args)
	}
	return nil
}

// appendFrame appends a whole frame with its length.
func appendFrame(b []byte, kind byte, stream, id uint64, payload []byte) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0, kind, 0, 0, 0, flagFin)
	b = appendVarint(appendVarint(b, stream), id)
	b = append(b, payload...)
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// setText appends the action that sets a variable of the transaction.
func setText(b []byte, name, v string) []byte {
	b = append(b, 1, 3, scopeTransaction)
	b = appendText(b, name)
	return appendText(append(b, 8), v)
}

// headers reads req.hdrs_bin: names and values in turn, closed by two empty
// texts. add is called with each line.
func headers(b []byte, add func(name, v string)) error {
	for len(b) > 0 {
		name, rest, err := text(b)
		if err != nil {
			return err
		}
		v, rest, err := text(rest)
		if err != nil {
			return err
		}
		if len(name) == 0 {
			return nil
		}
		add(string(name), string(v))
		b = rest
	}
	return errShort
}

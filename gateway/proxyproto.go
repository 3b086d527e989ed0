package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

var errPROXY = errors.New("no valid PROXY protocol header")

// readPROXY reads a PROXY protocol header, version 1 or 2, byte-exactly: what
// follows stays in r. The zero address means that the proxy speaks for itself
// (LOCAL, UNKNOWN).
func readPROXY(r io.Reader) (netip.AddrPort, error) {
	var b [232]byte
	if _, err := io.ReadFull(r, b[:12]); err != nil {
		return netip.AddrPort{}, fmt.Errorf("read PROXY header: %w", err)
	}
	if string(b[:12]) == "\r\n\r\n\x00\r\nQUIT\n" {
		return readPROXY2(r, b[:])
	}
	if string(b[:6]) != "PROXY " {
		return netip.AddrPort{}, errPROXY
	}
	n := 12
	for n < 107 && string(b[n-2:n]) != "\r\n" { // 107: the longest line there is
		if _, err := io.ReadFull(r, b[n:n+1]); err != nil {
			return netip.AddrPort{}, fmt.Errorf("read PROXY header: %w", err)
		}
		n++
	}
	line, ok := strings.CutSuffix(string(b[:n]), "\r\n")
	if !ok {
		return netip.AddrPort{}, errPROXY
	}
	f := strings.Split(line, " ")
	if len(f) >= 2 && f[1] == "UNKNOWN" {
		return netip.AddrPort{}, nil
	}
	if len(f) != 6 {
		return netip.AddrPort{}, errPROXY
	}
	addr, err := netip.ParseAddr(f[2])
	port, perr := strconv.ParseUint(f[4], 10, 16)
	if err != nil || perr != nil || f[1] != "TCP4" && f[1] != "TCP6" || addr.Is4() != (f[1] == "TCP4") || addr.Zone() != "" {
		return netip.AddrPort{}, errPROXY
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), nil
}

func readPROXY2(r io.Reader, b []byte) (netip.AddrPort, error) {
	if _, err := io.ReadFull(r, b[12:16]); err != nil {
		return netip.AddrPort{}, fmt.Errorf("read PROXY header: %w", err)
	}
	command, family, length := b[12], b[13], int(binary.BigEndian.Uint16(b[14:16]))
	if command>>4 != 2 || command&15 > 1 || length > 4096 {
		return netip.AddrPort{}, errPROXY
	}
	keep := min(length, len(b)-16)
	if _, err := io.ReadFull(r, b[16:16+keep]); err != nil {
		return netip.AddrPort{}, fmt.Errorf("read PROXY header: %w", err)
	}
	if _, err := io.CopyN(io.Discard, r, int64(length-keep)); err != nil {
		return netip.AddrPort{}, fmt.Errorf("read PROXY header: %w", err)
	}
	if command&15 == 0 {
		return netip.AddrPort{}, nil
	}
	switch {
	case family == 0x11 && length >= 12:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:20])), binary.BigEndian.Uint16(b[24:26])), nil
	case family == 0x21 && length >= 36:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[16:32])).Unmap(), binary.BigEndian.Uint16(b[48:50])), nil
	case family == 0:
		return netip.AddrPort{}, nil
	}
	return netip.AddrPort{}, errPROXY
}

// preface is how an HTTP/2 connection begins (RFC 9113 section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// isHTTP2 looks at how the connection begins; these bytes stay to be read.
func (c *clientConn) isHTTP2() (bool, error) { return c.begins(preface) }

// begins looks at whether the connection begins with what is given.
func (c *clientConn) begins(what string) (bool, error) {
	buf := append(make([]byte, 0, 2048), c.early...)
	if len(buf) >= len(what) || len(buf) > 0 && !strings.HasPrefix(what, string(buf)) {
		return strings.HasPrefix(string(buf), what), nil
	}
	for {
		n, err := c.Conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if len(buf) >= len(what) || !strings.HasPrefix(what, string(buf)) {
			c.early = buf
			return strings.HasPrefix(string(buf), what), nil
		}
		if err != nil {
			return false, err
		}
	}
}

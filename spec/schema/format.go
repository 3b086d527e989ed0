package schema

import (
	"bytes"
	"net/netip"
	"unsafe"
)

// A format checks strings. Only formats whose meaning is settled are asserted;
// proof marks those whose every member is harmless.
type format struct {
	check func([]byte) bool
	proof bool
}

var formats = map[string]*format{
	"date":      {isDate, true},
	"date-time": {isDateTime, true},
	"time":      {isTime, true},
	"uuid":      {isUUID, true},
	"ipv4":      {isIPv4, true},
	"ipv6":      {isIPv6, true},
	"byte":      {isBase64, false},
}

func digitsAt(b []byte, at, n int) (v int, ok bool) {
	if at+n > len(b) {
		return 0, false
	}
	for _, c := range b[at : at+n] {
		if c-'0' > 9 {
			return 0, false
		}
		v = v*10 + int(c-'0')
	}
	return v, true
}

var monthDays = [...]int{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

// isDate is full-date of RFC 3339.
func isDate(b []byte) bool {
	if len(b) != 10 || b[4] != '-' || b[7] != '-' {
		return false
	}
	y, ok1 := digitsAt(b, 0, 4)
	m, ok2 := digitsAt(b, 5, 2)
	d, ok3 := digitsAt(b, 8, 2)
	if !ok1 || !ok2 || !ok3 || m < 1 || m > 12 || d < 1 || d > monthDays[m-1] {
		return false
	}
	return m != 2 || d < 29 || y%4 == 0 && (y%100 != 0 || y%400 == 0)
}

// isTime is full-time of RFC 3339; a leap second is admitted in any hour.
func isTime(b []byte) bool {
	if len(b) < 9 || b[2] != ':' || b[5] != ':' {
		return false
	}
	h, ok1 := digitsAt(b, 0, 2)
	m, ok2 := digitsAt(b, 3, 2)
	s, ok3 := digitsAt(b, 6, 2)
	if !ok1 || !ok2 || !ok3 || h > 23 || m > 59 || s > 60 {
		return false
	}
	b = b[8:]
	if b[0] == '.' {
		i := 1
		for i < len(b) && b[i]-'0' < 10 {
			i++
		}
		if i == 1 || i > 20 {
			return false
		}
		b = b[i:]
	}
	if len(b) == 1 {
		return b[0]|0x20 == 'z'
	}
	if len(b) != 6 || b[0] != '+' && b[0] != '-' || b[3] != ':' {
		return false
	}
	h, ok1 = digitsAt(b, 1, 2)
	m, ok2 = digitsAt(b, 4, 2)
	return ok1 && ok2 && h < 24 && m < 60
}

func isDateTime(b []byte) bool {
	return len(b) >= 20 && b[10]|0x20 == 't' && isDate(b[:10]) && isTime(b[11:])
}

func isUUID(b []byte) bool {
	if len(b) != 36 {
		return false
	}
	for i, c := range b {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if c-'0' > 9 && (c|0x20)-'a' > 5 {
				return false
			}
		}
	}
	return true
}

func isIPv4(b []byte) bool {
	if len(b) < 7 || len(b) > 15 {
		return false
	}
	parts, v, n := 0, 0, 0
	for i := 0; i <= len(b); i++ {
		if i == len(b) || b[i] == '.' {
			if n == 0 || v > 255 {
				return false
			}
			parts++
			v, n = 0, 0
			continue
		}
		c := b[i] - '0'
		if c > 9 || n > 0 && v == 0 {
			return false
		}
		v = v*10 + int(c)
		if n++; n > 3 {
			return false
		}
	}
	return parts == 4
}

func isIPv6(b []byte) bool {
	if len(b) < 2 || len(b) > 45 || bytes.IndexByte(b, '%') >= 0 || bytes.IndexByte(b, ':') < 0 {
		return false
	}
	a, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(b), len(b)))
	return err == nil && a.Is6()
}

// isBase64 admits both alphabets, with or without padding.
func isBase64(b []byte) bool {
	n := len(b)
	for n > 0 && b[n-1] == '=' {
		n--
	}
	for _, c := range b[:n] {
		if !wordByte(rune(c)) && c != '+' && c != '/' {
			return false
		}
	}
	return len(b)-n <= 2
}

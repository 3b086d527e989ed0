package accesslog

import (
	"bytes"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"sallyport.dev"
)

// Reasons why a line is bad; they quote nothing of it.
var (
	errShape   = errors.New("does not have the form of the format")
	errStatus  = errors.New("its status is no status")
	errTime    = errors.New("its time cannot be read")
	errRequest = errors.New("has no request that can be read")
	errJSON    = errors.New("is not a JSON object")
	errCut     = errors.New("was cut off")
	errLong    = errors.New("is longer than 64 KiB")
)

// A Parser reads lines one after another; it is for one goroutine.
type Parser struct {
	f *Format
	// Last day and zone read: the next line is mostly of the same minute.
	day     string
	base    time.Time
	clients map[string]netip.Addr
	json    scanner
}

// NewParser starts reading lines of f.
func NewParser(f *Format) *Parser {
	return &Parser{f: f, clients: map[string]netip.Addr{}}
}

// draft is an exchange while its line is read.
type draft struct {
	x      *sallyport.Exchange
	day    string
	hour   string
	marks  uint8
	header [4]sallyport.Field
}

const (
	sawTarget = 1 << iota
	sawStatus
	sawTime
)

// Parse makes an exchange of a line. nil without an error is a line that is none
// on purpose: empty, or a directive. The exchange keeps nothing of the line.
func (p *Parser) Parse(line []byte) (*sallyport.Exchange, error) {
	line = bytes.TrimRight(line, "\r\n")
	if len(line) == 0 {
		return nil, nil
	}
	if p.f.w3c {
		next, directive := p.f.header(line)
		if p.f = next; directive {
			return nil, nil
		}
		if len(p.f.steps) == 0 {
			return nil, errShape
		}
	}
	if p.f.json {
		return p.parseJSON(line)
	}
	s := string(line) // the exchange's own copy; every text of it is a part
	d := draft{x: &sallyport.Exchange{}}
	var err error
	if p.f.w3c {
		err = p.columns(&d, s)
	} else {
		err = p.steps(&d, s)
	}
	if err != nil {
		return nil, err
	}
	return p.finish(&d)
}

func (p *Parser) steps(d *draft, s string) error {
	f := p.f
	if f.headed {
		if i := strings.Index(s, "]: "); i > 0 && i < 200 && strings.IndexByte(s[:i], '/') < 0 {
			s = s[i+3:]
		}
	}
	if !strings.HasPrefix(s, f.first) {
		return errShape
	}
	s = s[len(f.first):]
	for i := range f.steps {
		st := &f.steps[i]
		var v string
		switch {
		case st.end == "":
			v, s = s, ""
		case st.end[0] == '"':
			end := quoted(s)
			if end < 0 {
				return errCut
			}
			v, s = s[:end], s[end:]
			if !strings.HasPrefix(s, st.end) {
				if i != len(f.steps)-1 || !f.loose {
					return errShape
				}
				s = ""
			} else {
				s = s[len(st.end):]
			}
		default:
			end := strings.Index(s, st.end)
			if st.end == `] "` && end < 0 {
				end = strings.IndexByte(s, ']')
			}
			if end < 0 {
				if !f.loose || i < len(f.steps)-1 {
					return errShape
				}
				v, s = s, ""
				break
			}
			v, s = s[:end], s[end+len(st.end):]
		}
		if st.kind != skip {
			if err := p.set(d, st.kind, st.name, v); err != nil {
				return err
			}
		}
	}
	if s != "" && !f.loose {
		return errShape
	}
	return nil
}

// quoted finds the quote that ends a value; backslashes escape.
func quoted(s string) int {
	at := strings.IndexByte(s, '"')
	if at <= 0 || s[at-1] != '\\' {
		return at
	}
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

func (p *Parser) columns(d *draft, s string) error {
	sep := byte(' ')
	if strings.IndexByte(s, '\t') >= 0 {
		sep = '\t'
	}
	for i := range p.f.steps {
		if s == "" {
			return errCut
		}
		v := s
		if at := strings.IndexByte(s, sep); at >= 0 {
			v, s = s[:at], s[at+1:]
		} else {
			s = ""
		}
		if st := &p.f.steps[i]; st.kind != skip && v != "-" {
			if err := p.set(d, st.kind, st.name, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// set takes one value. "-" is none.
func (p *Parser) set(d *draft, k kind, name, v string) error {
	if v == "" || v == "-" {
		return nil
	}
	x := d.x
	switch k {
	case client:
		if a, ok := p.address(v); ok {
			x.Client = a
		}
	case forwarded:
		first, _, _ := strings.Cut(v, ",")
		if a, ok := p.address(strings.TrimSpace(first)); ok && !x.Client.IsValid() {
			x.Client = a
		}
	case clock:
		t, ok := p.time(strings.Trim(v, "[]"))
		if !ok {
			return errTime
		}
		if d.marks&sawTime == 0 {
			x.Time = t
		}
		d.marks |= sawTime
	case clockDay:
		d.day = v
	case clockHour:
		d.hour = v
	case request:
		m, rest, ok := strings.Cut(v, " ")
		if !ok || !token(m) {
			return errRequest
		}
		if i := strings.LastIndexByte(rest, ' '); i >= 0 && strings.HasPrefix(rest[i+1:], "HTTP/") {
			rest, x.Proto = rest[:i], rest[i+1:]
		}
		x.Method = m
		return d.target(rest)
	case method:
		if !token(v) {
			return errRequest
		}
		x.Method = v
	case target:
		return d.target(v)
	case query:
		x.Query = strings.TrimPrefix(v, "?")
	case proto:
		x.Proto = v
	case status:
		n, ok := number(v)
		if !ok || n != 0 && (n < 100 || n > 599) {
			return errStatus
		}
		x.Status = int(n)
		d.marks |= sawStatus
	case origin:
		if i := strings.LastIndexAny(v, ", "); i >= 0 { // of several tries the last
			v = v[i+1:]
		}
		if n, ok := number(v); ok && n >= 100 && n <= 599 {
			x.Origin = int(n)
		}
	case sent:
		x.ResponseBytes, _ = number(v)
	case received:
		x.RequestBytes, _ = number(v)
	case seconds:
		x.Duration = duration(v, time.Second)
	case millis:
		x.Duration = duration(v, time.Millisecond)
	case micros:
		x.Duration = duration(v, time.Microsecond)
	case nanos:
		x.Duration = duration(v, time.Nanosecond)
	case lasted:
		if t, err := time.ParseDuration(v); err == nil {
			x.Duration = t
		}
	case upSeconds:
		if i := strings.LastIndexAny(v, ", "); i >= 0 {
			v = v[i+1:]
		}
		x.Upstream = duration(v, time.Second)
	case upMillis:
		x.Upstream = duration(v, time.Millisecond)
	case instance:
		if i := strings.LastIndexAny(v, ", "); i >= 0 {
			v = v[i+1:]
		}
		if v != "<NOSRV>" {
			x.Instance = v
		}
	case host:
		x.Host = strings.ToLower(v)
	case scheme:
		x.TLS = x.TLS || v == "https" || v == "wss" || v == "h2" || v == "on" || v == "HTTPS" || strings.HasPrefix(v, "TLS")
	case user:
		x.Principal = sallyport.Principal{Kind: "log", Subject: v}
	case reqHeader:
		if len(x.RequestHeader) < 64 {
			if x.RequestHeader == nil {
				x.RequestHeader = d.header[:0]
			}
			x.RequestHeader = append(x.RequestHeader, sallyport.Field{Name: name, Value: v})
		}
	case respHeader:
		if len(x.ResponseHeader) < 64 {
			x.ResponseHeader = append(x.ResponseHeader, sallyport.Field{Name: name, Value: v})
		}
	}
	return nil
}

// target splits what was asked for; a URL names the host too.
func (d *draft) target(v string) error {
	x := d.x
	if scheme, rest, ok := strings.Cut(v, "://"); ok && len(scheme) <= 5 && v[0] != '/' {
		at := strings.IndexAny(rest, "/?")
		if at < 0 {
			rest, at = rest+"/", len(rest)
		}
		x.Host, x.TLS = strings.ToLower(rest[:at]), x.TLS || scheme == "https" || scheme == "wss"
		v = rest[at:]
	}
	if v == "" || v[0] != '/' && v != "*" && x.Method != "CONNECT" {
		return errRequest
	}
	if strings.Contains(v, `\x`) { // what nginx and Apache make of bytes beyond ASCII
		v = strings.ReplaceAll(v, `\x`, "%")
	}
	path, q, _ := strings.Cut(v, "?")
	x.Path = path
	if q != "" {
		x.Query = q
	}
	d.marks |= sawTarget
	return nil
}

// finish checks that the line said enough.
func (p *Parser) finish(d *draft) (*sallyport.Exchange, error) {
	x := d.x
	if d.marks&sawTarget == 0 || x.Method == "" {
		return nil, errRequest
	}
	if d.marks&sawStatus == 0 {
		return nil, errStatus
	}
	if d.day != "" && d.hour != "" {
		t, err := time.ParseInLocation("2006-01-02 15:04:05", d.day+" "+d.hour, p.f.zone)
		if err != nil {
			return nil, errTime
		}
		x.Time, d.marks = t, d.marks|sawTime
	}
	if d.marks&sawTime == 0 {
		return nil, errTime
	}
	return x, nil
}

func token(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i] | 0x20; (c < 'a' || c > 'z') && s[i] != '-' && s[i] != '_' {
			return false
		}
	}
	return true
}

func number(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	n := int64(0)
	for i := 0; i < len(s); i++ {
		c := s[i] - '0'
		if c > 9 {
			if s[i] == '.' && i > 0 {
				return n, true
			}
			return 0, false
		}
		n = n*10 + int64(c)
	}
	return n, true
}

func duration(s string, unit time.Duration) time.Duration {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < 0 || f*float64(unit) > float64(30*24*time.Hour) {
		return 0
	}
	return time.Duration(f * float64(unit))
}

// address reads an address, with or without a port; the last thousands are
// remembered, for clients come again.
func (p *Parser) address(s string) (netip.Addr, bool) {
	if a, ok := p.clients[s]; ok {
		return a, true
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			i := strings.LastIndexByte(s, ':')
			if i < 0 {
				return a, false
			}
			if a, err = netip.ParseAddr(s[:i]); err != nil { // HAProxy writes no brackets
				return a, false
			}
		} else {
			a = ap.Addr()
		}
	}
	a = a.Unmap().WithZone("")
	if len(p.clients) > 4096 {
		clear(p.clients)
	}
	p.clients[strings.Clone(s)] = a
	return a, true
}

var months = map[string]time.Month{"Jan": 1, "Feb": 2, "Mar": 3, "Apr": 4, "May": 5, "Jun": 6, "Jul": 7, "Aug": 8, "Sep": 9, "Oct": 10, "Nov": 11, "Dec": 12}

// time reads what nginx, Apache, HAProxy and ISO 8601 write, and seconds since 1970.
func (p *Parser) time(s string) (time.Time, bool) {
	if len(s) >= 20 && s[2] == '/' && s[6] == '/' && s[11] == ':' {
		h, m, sec := two(s[12:]), two(s[15:]), two(s[18:])
		if h < 0 || h > 23 || m < 0 || m > 59 || sec < 0 || sec > 60 {
			return time.Time{}, false
		}
		rest, frac := s[20:], time.Duration(0)
		if rest != "" && rest[0] == '.' {
			n := 1
			for scale := 100 * time.Millisecond; n < len(rest) && rest[n] >= '0' && rest[n] <= '9'; n++ {
				frac += time.Duration(rest[n]-'0') * scale
				scale /= 10
			}
			rest = rest[n:]
		}
		zone := strings.TrimPrefix(rest, " ")
		if len(p.day) != 11+len(zone) || p.day[:11] != s[:11] || p.day[11:] != zone {
			month, ok := months[s[3:6]]
			day, year := two(s[0:]), 100*two(s[7:])+two(s[9:])
			if !ok || day < 1 || year < 1 {
				return time.Time{}, false
			}
			where := p.f.zone
			if zone != "" {
				if len(zone) != 5 || zone[0] != '+' && zone[0] != '-' || two(zone[1:]) < 0 || two(zone[3:]) < 0 {
					return time.Time{}, false
				}
				offset := two(zone[1:])*3600 + two(zone[3:])*60
				if zone[0] == '-' {
					offset = -offset
				}
				where = time.FixedZone("", offset)
			}
			p.base, p.day = time.Date(year, month, day, 0, 0, 0, 0, where), s[:11]+zone
			if p.base.Day() != day {
				p.day = ""
				return time.Time{}, false
			}
		}
		if p.base.Location() != p.f.zone || p.f.zone == time.UTC {
			return p.base.Add(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(sec)*time.Second + frac), true
		}
		y, mo, d := p.base.Date() // days of a named zone are not all alike
		return time.Date(y, mo, d, h, m, sec, int(frac), p.f.zone), true
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		switch {
		case f > 1e17 && f < 1e19: // nanoseconds
			return time.Unix(0, int64(f)), true
		case f > 1e14 && f < 1e17:
			return time.UnixMicro(int64(f)), true
		case f > 1e11 && f <= 1e14:
			return time.UnixMilli(int64(f)), true
		case f > 0 && f <= 1e11:
			return time.UnixMicro(int64(f * 1e6)), true
		}
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05-0700", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "02/Jan/2006 15:04:05 -0700"} {
		if t, err := time.ParseInLocation(layout, s, p.f.zone); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// two reads two digits; -1 = they are none.
func two(s string) int {
	if len(s) < 2 || s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9' {
		return -1
	}
	return int(s[0]-'0')*10 + int(s[1]-'0')
}

package policy

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Per is what a limit counts by.
type Per string

// What a limit counts by: the client's address (IPv6 by /64), the proven
// principal (the client when there is none), the API key, the OAuth client that
// the token was issued to, the operation as a whole, or the API as a whole.
// Requests without an API key, or without a token that names a client, are not
// counted by limits per key and per oauth_client.
const (
	PerClient      Per = "client"
	PerPrincipal   Per = "principal"
	PerKey         Per = "key"
	PerOAuthClient Per = "oauth_client"
	PerOperation   Per = "operation"
	PerAPI         Per = "api"
)

// A Measure is what a limit counts.
type Measure string

// What may be counted. Requests and Concurrent are known when a request comes;
// the others are the cost of an exchange, known once it has been answered.
const (
	Requests   Measure = "requests"
	Concurrent Measure = "concurrent" // requests in flight
	Bytes      Measure = "bytes"      // of the bodies of request and answer
	CPU        Measure = "cpu"        // time of the upstream's processors
	Rows       Measure = "rows"       // that the upstream read or wrote
	Money      Measure = "money"      // in the unit that the prices and reports are given in
	Units      Measure = "units"      // of the upstream's own
)

// Measures are all of them.
func Measures() []Measure { return []Measure{Requests, Concurrent, Bytes, CPU, Rows, Money, Units} }

// IsCost reports whether what m counts is known only after the answer.
func (m Measure) IsCost() bool { return m != Requests && m != Concurrent }

// scale is how many of the integers that are counted one of m's units is.
func (m Measure) scale() float64 {
	if m == Money || m == Units {
		return 1e6
	}
	return 1
}

// A Limit bounds how often something may happen, or how much of something may
// be used: exactly one of rate, concurrent, bytes, cpu, rows, money, units and
// quota says what is counted.
type Limit struct {
	Name       string   `yaml:"name" doc:"Name of the limit in headers, reasons and on screen. Default its place in the list."`
	Rate       Rate     `yaml:"rate" doc:"Requests: count and window, such as 100/min."`
	Concurrent int      `yaml:"concurrent" doc:"Requests in flight at once, on one node."`
	Bytes      Amount   `yaml:"bytes" doc:"Bytes of bodies, of requests and answers, such as 10MiB/min."`
	CPU        Amount   `yaml:"cpu" doc:"CPU time of the upstream, as it reports it or as estimated, such as 500ms/s; or the part of its processors beyond which load is shed, such as 80%."`
	Memory     Fraction `yaml:"memory" doc:"Part of the upstream's memory beyond which load is shed, such as 85%."`
	Rows       Amount   `yaml:"rows" doc:"Rows that the upstream reports, such as 10000/min."`
	Money      Amount   `yaml:"money" doc:"Price of operations, or what the upstream reports, such as 2.50/h."`
	Units      Amount   `yaml:"units" doc:"Request cost in the upstream's own unit, such as 500/min."`
	Quota      Quota    `yaml:"quota" doc:"So much in each calendar day or month, such as 10000/day; see of."`
	Of         Measure  `yaml:"of" enum:"requests|bytes|cpu|rows|money|units" doc:"What a quota is of. Default requests."`
	Zone       string   `yaml:"zone" doc:"Time zone that a quota's days and months begin in, such as Europe/Vienna. Default UTC."`
	Burst      Quantity `yaml:"burst" doc:"How much at once: a number, a time (cpu) or a size (bytes). Default what the window allows."`
	Per        Per      `yaml:"per" enum:"client|principal|key|oauth_client|operation|api" doc:"What is counted by; thresholds (cpu: 80%, memory: 85%) have none."`
}

// amount is the one of the amounts that is set, besides rate, concurrent and quota.
func (l Limit) amount() (Measure, Amount) {
	for _, a := range []struct {
		m Measure
		a Amount
	}{{Bytes, l.Bytes}, {CPU, l.CPU}, {Rows, l.Rows}, {Money, l.Money}, {Units, l.Units}} {
		if !a.a.zero() {
			return a.m, a.a
		}
	}
	return "", Amount{}
}

// Measure is what the limit counts.
func (l Limit) Measure() Measure {
	switch m, _ := l.amount(); {
	case m != "":
		return m
	case l.Concurrent != 0:
		return Concurrent
	case !l.Quota.zero() && l.Of != "":
		return l.Of
	}
	return Requests
}

// Count is how much is allowed in a Window, in the integers that are counted:
// requests, bytes, nanoseconds of CPU time, rows, and millionths of money and units.
func (l Limit) Count() int64 {
	m, a := l.amount()
	switch {
	case m != "":
		return a.Quantity.in(m)
	case l.Concurrent != 0:
		return int64(l.Concurrent)
	case !l.Quota.zero():
		return l.Quota.Quantity.in(l.Measure())
	}
	return int64(l.Rate.Count)
}

// Window is the time that Count holds for; zero for concurrency and quotas.
func (l Limit) Window() time.Duration {
	if m, a := l.amount(); m != "" {
		return a.Window
	}
	if l.Concurrent != 0 || !l.Quota.zero() {
		return 0
	}
	return l.Rate.Window
}

// Capacity is how much may happen at once, in the integers that are counted.
func (l Limit) Capacity() int64 {
	if n := l.Burst.in(l.Measure()); n > 0 {
		return n
	}
	return l.Count()
}

// What says what is allowed, without by whom: "100/min", "500ms/s of cpu".
func (l Limit) What() string {
	m, a := l.amount()
	var s string
	switch {
	case m != "":
		s = a.String() + " of " + string(m)
	case l.Concurrent != 0:
		s = fmt.Sprintf("%d at once", l.Concurrent)
	case !l.Quota.zero():
		s = l.Quota.Quantity.String() + " each " + string(l.Quota.Period)
		if m := l.Measure(); m != Requests {
			s += " of " + string(m)
		}
		if l.Zone != "" {
			s += " in " + l.Zone
		}
	default:
		s = l.Rate.String()
	}
	if l.Burst != (Quantity{}) {
		s += fmt.Sprintf(" (burst %s)", l.Burst)
	}
	return s
}

func (l Limit) String() string {
	what, burst, _ := strings.Cut(l.What(), " (burst ")
	s := what + " per " + string(l.Per)
	if burst != "" {
		s += " (burst " + burst
	}
	if l.Name != "" {
		s = l.Name + ": " + s
	}
	return s
}

// A Quantity is a number, a time or a size, as written: "20", "1.5", "500ms", "10MiB".
type Quantity struct {
	Value float64 // nanoseconds of a time, bytes of a size
	Kind  QuantityKind
}

// QuantityKind tells a plain number from a time and a size.
type QuantityKind uint8

// The kinds of quantity.
const (
	PlainNumber QuantityKind = iota
	TimeSpan
	SizeInBytes
)

var sizes = []struct {
	suffix string
	unit   float64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}}

// ParseQuantity reads a number, a duration or a size.
func ParseQuantity(s string) (Quantity, error) {
	s = strings.TrimSpace(s)
	if f, err := strconv.ParseFloat(s, 64); err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) && math.Abs(f) <= 1e15 && !strings.ContainsAny(s, "xXpP_") {
		return Quantity{f, PlainNumber}, nil
	}
	for _, z := range sizes {
		if rest, ok := strings.CutSuffix(s, z.suffix); ok {
			if f, err := strconv.ParseFloat(strings.TrimSpace(rest), 64); err == nil && f >= 0 && f*z.unit <= 1<<50 {
				return Quantity{f * z.unit, SizeInBytes}, nil
			}
		}
	}
	if d, err := time.ParseDuration(s); err == nil {
		return Quantity{float64(d), TimeSpan}, nil
	}
	return Quantity{}, fmt.Errorf("%q is not a number, a time such as 500ms or a size such as 10MiB", s)
}

// UnmarshalText reads what ParseQuantity reads.
func (q *Quantity) UnmarshalText(b []byte) (err error) {
	*q, err = ParseQuantity(string(b))
	return err
}

// MarshalText writes what ParseQuantity reads.
func (q Quantity) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

func (q Quantity) String() string {
	switch q.Kind {
	case TimeSpan:
		s := time.Duration(q.Value).String()
		if rest, ok := strings.CutSuffix(s, "m0s"); ok {
			s = rest + "m"
		}
		if rest, ok := strings.CutSuffix(s, "h0m"); ok {
			s = rest + "h"
		}
		return s
	case SizeInBytes:
		for _, z := range slices.Backward(sizes) {
			if n := q.Value / z.unit; n >= 1 && n == math.Trunc(n) {
				return strconv.FormatFloat(n, 'f', -1, 64) + z.suffix
			}
		}
	}
	return strconv.FormatFloat(q.Value, 'f', -1, 64)
}

// in is q in the integers that m is counted in.
func (q Quantity) in(m Measure) int64 { return int64(math.Round(q.Value * m.scale())) }

// fits says what is wrong with a quantity of m, "" when nothing is.
func (q Quantity) fits(m Measure) string {
	switch {
	case m == CPU && q.Kind != TimeSpan:
		return "want a time, such as 500ms"
	case m == Bytes && q.Kind == TimeSpan:
		return "want a size, such as 10MiB"
	case m != CPU && m != Bytes && q.Kind != PlainNumber:
		return "want a number"
	case q.Value != math.Trunc(q.Value) && m != Money && m != Units:
		return "want a whole number"
	case q.Value*m.scale() > 1<<53:
		return "too much"
	}
	return ""
}

// An Amount is a quantity per window of time: "500ms/s", "10MiB/min", "2.50/h".
type Amount struct {
	Quantity Quantity
	Window   time.Duration
	Share    Fraction // "80%": a part of all that there is, in the place of both
}

func (a Amount) zero() bool { return a == Amount{} }

// ParseAmount reads a quantity and a window.
func ParseAmount(s string) (Amount, error) {
	bad := func() error {
		return fmt.Errorf("amount %q: want a quantity and a window, such as 500ms/s, 10MiB/min or 1000/h", s)
	}
	quantity, window, ok := strings.Cut(strings.TrimSpace(s), "/")
	if !ok && strings.HasSuffix(quantity, "%") {
		var a Amount
		err := a.Share.UnmarshalText([]byte(quantity))
		return a, err
	}
	if !ok {
		return Amount{}, bad()
	}
	q, err := ParseQuantity(quantity)
	if err != nil || q.Value <= 0 {
		return Amount{}, bad()
	}
	d, ok := parseWindow(window)
	if !ok {
		return Amount{}, bad()
	}
	return Amount{Quantity: q, Window: d}, nil
}

// UnmarshalText reads what ParseAmount reads.
func (a *Amount) UnmarshalText(b []byte) (err error) {
	*a, err = ParseAmount(string(b))
	return err
}

// MarshalText writes what ParseAmount reads.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

func (a Amount) String() string {
	if a.zero() {
		return ""
	}
	if a.Share > 0 {
		return a.Share.String()
	}
	return a.Quantity.String() + "/" + windowWord(a.Window)
}

// A Period is a day or a month of the calendar.
type Period string

// The periods of quotas.
const (
	Day   Period = "day"
	Month Period = "month"
)

// A Quota is a quantity per calendar day or month: "10000/day", "5GiB/month".
type Quota struct {
	Quantity Quantity
	Period   Period
}

func (q Quota) zero() bool { return q == Quota{} }

// ParseQuota reads a quantity and a period.
func ParseQuota(s string) (Quota, error) {
	quantity, period, ok := strings.Cut(strings.TrimSpace(s), "/")
	n, err := ParseQuantity(quantity)
	p := Period(strings.TrimSpace(period))
	if !ok || err != nil || n.Value <= 0 || p != Day && p != Month {
		return Quota{}, fmt.Errorf("quota %q: want a quantity and day or month, such as 10000/day or 5GiB/month", s)
	}
	return Quota{n, p}, nil
}

// UnmarshalText reads what ParseQuota reads.
func (q *Quota) UnmarshalText(b []byte) (err error) {
	*q, err = ParseQuota(string(b))
	return err
}

// MarshalText writes what ParseQuota reads.
func (q Quota) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

func (q Quota) String() string {
	if q.zero() {
		return ""
	}
	return q.Quantity.String() + "/" + string(q.Period)
}

// LimitHeaders says when answers carry the RateLimit fields.
type LimitHeaders string

// When answers carry the RateLimit fields. The zero value is HeadersRefused.
const (
	HeadersRefused LimitHeaders = "refused" // those with the status 429
	HeadersAlways  LimitHeaders = "always"
	HeadersOff     LimitHeaders = "off"
)

func (m *Mistakes) limits(path string, ls []Limit, of *API, operation bool) {
	for i, l := range ls {
		p := fmt.Sprintf("%s[%d]", path, i)
		if m.threshold(p, l, operation) {
			continue
		}
		kinds := 0
		for _, set := range []bool{l.Rate != Rate{}, l.Concurrent != 0, !l.Bytes.zero(), !l.CPU.zero(), !l.Rows.zero(), !l.Money.zero(), !l.Units.zero(), !l.Quota.zero()} {
			if set {
				kinds++
			}
		}
		switch {
		case kinds == 0:
			m.add(p+".rate", "missing; want a rate such as 100/min, or one of concurrent, bytes, cpu, rows, money, units and quota")
		case kinds > 1:
			m.add(p, "counts more than one thing; give each a limit of its own")
		case l.Rate != Rate{} && (l.Rate.Count < 1 || l.Rate.Window <= 0):
			m.add(p+".rate", "missing; want a rate such as 100/min")
		}
		measure, a := l.amount()
		if kinds == 1 && measure != "" {
			if why := a.Quantity.fits(measure); why != "" {
				m.add(p+"."+string(measure), "%s: %s", a, why)
			}
		}
		if l.Concurrent < 0 || l.Concurrent > 1<<20 {
			m.add(p+".concurrent", "%d; want 1 to %d", l.Concurrent, 1<<20)
		}
		if !l.Quota.zero() {
			oneOf(m, p+".of", l.Of, Requests, Bytes, CPU, Rows, Money, Units)
			if why := l.Quota.Quantity.fits(l.Measure()); why != "" {
				m.add(p+".quota", "%s of %s: %s", l.Quota.Quantity, l.Measure(), why)
			}
			if _, err := time.LoadLocation(l.Zone); err != nil || strings.EqualFold(l.Zone, "local") {
				m.add(p+".zone", "%q is not a time zone such as Europe/Vienna", l.Zone)
			}
		} else if l.Of != "" || l.Zone != "" {
			m.add(p, "of and zone belong to a quota")
		}
		if l.Burst != (Quantity{}) {
			switch why := l.Burst.fits(l.Measure()); {
			case l.Burst.Value < 0:
				m.add(p+".burst", "%s is negative", l.Burst)
			case kinds == 1 && l.Window() == 0:
				m.add(p+".burst", "there is none of what is counted at once or by the calendar")
			case why != "":
				m.add(p+".burst", "%s: %s", l.Burst, why)
			}
		}
		if len(l.Name) > 40 || strings.ContainsFunc(l.Name, func(r rune) bool { return !tokenRune(r) }) {
			m.add(p+".name", "%q: want letters, digits, -, _ and ., at most 40", l.Name)
		}
		if slices.ContainsFunc(ls[:i], func(o Limit) bool { return l.Name != "" && o.Name == l.Name }) {
			m.add(p+".name", "%q stands twice", l.Name)
		}
		if l.Per == "" {
			m.add(p+".per", "missing; want client, principal, key, oauth_client, operation or api")
		}
		oneOf(m, p+".per", l.Per, PerClient, PerPrincipal, PerKey, PerOAuthClient, PerOperation, PerAPI)
		switch {
		case l.Per == PerAPI && operation:
			m.add(p+".per", "a limit of the whole API stands among the API's limits, not an operation's")
		case l.Per == PerKey && len(of.Auth.Keys) == 0:
			m.add(p+".per", "counts by API key, and auth.keys has none")
		case l.Per == PerOAuthClient && len(of.Auth.OIDC) == 0:
			m.add(p+".per", "counts by the client of a token, and auth.oidc has no issuer")
		}
	}
}

func tokenRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
}

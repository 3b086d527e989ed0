package observe

import (
	"net/netip"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"sallyport.dev"
)

// Filter chooses decisions. Empty fields choose all.
type Filter struct {
	API       string
	Operation string // "GET /v1/items/{id}"
	Action    sallyport.Action
	Stage     sallyport.Stage // of the refusal or of any reason
	Rule      string          // of any reason; a trailing "*" chooses all that begin alike
	Principal string          // as Principal.String() gives it
	Client    string          // address, or prefix in CIDR form
	Status    int             // 404, or a class: 4 = 4xx
	Plain     *bool           // nil = all; false = without plain allows; true = plain allows only
	Since     time.Time
	Until     time.Time // exclusive
	Before    string    // ids below this one: Page.Next of the page before
	Limit     int       // default 100, at most 1000

	client netip.Prefix
}

// compile checks f and prepares it.
func (f *Filter) compile() error {
	if f.Limit <= 0 {
		f.Limit = 100
	}
	f.Limit = min(f.Limit, 1000)
	for _, s := range []*string{&f.API, &f.Operation, &f.Rule, &f.Principal, &f.Before} {
		*s = tidy(*s)
	}
	if f.Status != 0 && (f.Status < 1 || f.Status > 5) && (f.Status < 100 || f.Status > 599) {
		return sallyport.Errorf(sallyport.Invalid, "status: a code from 100 to 599, or a class from 1 to 5, is wanted")
	}
	if f.Client != "" {
		if a, err := netip.ParseAddr(f.Client); err == nil {
			a = a.Unmap()
			f.client = netip.PrefixFrom(a, a.BitLen())
		} else if p, err := netip.ParsePrefix(f.Client); err == nil {
			f.client = p.Masked()
		} else {
			return sallyport.Errorf(sallyport.Invalid, "client: an address or a prefix like 192.0.2.0/24 is wanted")
		}
	}
	return nil
}

// glance reports whether f may choose what g shows.
func (f *Filter) glance(g *glance) bool {
	return (f.API == "" || g.api == f.API) &&
		(f.Before == "" || g.id < f.Before) &&
		(f.Action == "" || g.action == f.Action) &&
		(f.Status == 0 || g.status == f.Status || g.status/100 == f.Status) &&
		(f.Plain == nil || g.plain == *f.Plain) &&
		(f.Since.IsZero() || !g.at.Before(f.Since)) &&
		(f.Until.IsZero() || g.at.Before(f.Until)) &&
		!(g.plain && (f.Rule != "" || f.Stage != ""))
}

// glanced reports whether a glance is all that f needs to choose.
func (f *Filter) glanced() bool {
	return f.Operation == "" && f.Stage == "" && f.Rule == "" && f.Principal == "" && f.Client == ""
}

// match reports whether f chooses x.
func (f *Filter) match(x *sallyport.Exchange) bool {
	switch {
	case f.API != "" && x.API != f.API,
		f.Before != "" && x.ID >= f.Before,
		f.Operation != "" && operationOf(x) != f.Operation,
		f.Action != "" && actionOf(x) != f.Action,
		f.Status >= 100 && x.Status != f.Status,
		f.Status != 0 && f.Status < 100 && x.Status/100 != f.Status,
		f.Plain != nil && Plain(x) != *f.Plain,
		!f.Since.IsZero() && x.Time.Before(f.Since),
		!f.Until.IsZero() && !x.Time.Before(f.Until),
		f.client.IsValid() && !f.client.Contains(x.Client.Unmap()),
		f.Principal != "" && x.Principal.String() != f.Principal:
		return false
	}
	if f.Stage == "" && f.Rule == "" {
		return true
	}
	stage, rule := f.Stage == "" || x.Decision.Stage == f.Stage, f.Rule == ""
	prefix, open := strings.CutSuffix(f.Rule, "*")
	for _, r := range x.Decision.Reasons {
		stage = stage || r.Stage == f.Stage
		rule = rule || r.Rule == f.Rule || open && strings.HasPrefix(r.Rule, prefix)
	}
	return stage && rule
}

// where is f in SQL, but for prefixes of clients that are not whole bytes: those
// are left to match.
func (f *Filter) where(q *bun.SelectQuery) *bun.SelectQuery {
	equal := func(column, value string) {
		if value != "" {
			q = q.Where("? = ?", bun.Ident(column), value)
		}
	}
	equal("api", f.API)
	equal("operation", f.Operation)
	equal("action", string(f.Action))
	equal("principal", f.Principal)
	if f.Before != "" {
		q = q.Where("id < ?", f.Before)
	}
	if f.client.IsValid() {
		if f.client.IsSingleIP() {
			equal("client", f.client.Addr().String())
		} else if like := addressPattern(f.client); like != "" {
			q = q.Where("client LIKE ?", like)
		}
	}
	if f.Stage != "" {
		q = q.Where("stages LIKE ? ESCAPE '!'", "% "+literal(string(f.Stage))+" %")
	}
	if prefix, open := strings.CutSuffix(f.Rule, "*"); open {
		q = q.Where("rules LIKE ? ESCAPE '!'", "% "+literal(prefix)+"%")
	} else if f.Rule != "" {
		q = q.Where("rules LIKE ? ESCAPE '!'", "% "+literal(f.Rule)+" %")
	}
	if f.Status >= 100 {
		q = q.Where("status = ?", f.Status)
	} else if f.Status > 0 {
		q = q.Where("status >= ? AND status < ?", f.Status*100, f.Status*100+100)
	}
	if f.Plain != nil {
		plain := 0
		if *f.Plain {
			plain = 1
		}
		q = q.Where("plain = ?", plain)
	}
	if !f.Since.IsZero() {
		q = q.Where("at >= ?", f.Since.UnixMicro())
	}
	if !f.Until.IsZero() {
		q = q.Where("at < ?", f.Until.UnixMicro())
	}
	return q
}

// addressPattern covers an IPv4 prefix by its whole bytes: 10.1.0.0/20 → 10.1.%.
func addressPattern(p netip.Prefix) string {
	if !p.Addr().Is4() {
		return ""
	}
	parts := strings.SplitN(p.Addr().String(), ".", 4)[:p.Bits()/8]
	if len(parts) == 0 {
		return ""
	}
	return strings.Join(parts, ".") + ".%"
}

// literal takes the meaning of a pattern from s.
func literal(s string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(s)
}

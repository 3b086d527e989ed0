// Package dns reads zones: master files (RFC 1035), or a server's by transfer
// (AXFR, RFC 5936). Out go claims about host names: where they point (CNAME,
// SRV, A, AAAA). It asks for nothing but the transfer.
package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"sallyport.dev"
)

const (
	maxBytes   = 64 << 20
	maxRecords = 500_000
)

// A Catalogue is one zone.
type Catalogue struct {
	ID    string        // Name; by default "dns:" and At
	At    string        // file, or axfr://server:port/zone
	Every time.Duration // between two readings; 0 = once

	said sallyport.Claims
}

// Name is how it is told from all other catalogues.
func (c *Catalogue) Name() string { return cmp.Or(c.ID, "dns:"+c.At) }

// Watch tells the names, and what becomes of them, until ctx ends.
func (c *Catalogue) Watch(ctx context.Context, claims func([]sallyport.Claim) error) error {
	return c.said.Poll(ctx, c.Every, c.read, claims)
}

func (c *Catalogue) read(ctx context.Context) ([]sallyport.Claim, error) {
	r := &reader{source: c.Name(), now: time.Now()}
	if rest, ok := strings.CutPrefix(c.At, "axfr://"); ok {
		server, zone, _ := strings.Cut(rest, "/")
		if _, _, err := net.SplitHostPort(server); err != nil {
			server = net.JoinHostPort(server, "53")
		}
		if err := r.transfer(ctx, server, zone); err != nil {
			return nil, err
		}
		return r.out, nil
	}
	f, err := os.Open(c.At)
	if err != nil {
		return nil, fmt.Errorf("read zone: %w", err)
	}
	defer f.Close()
	z := dns.NewZoneParser(io.LimitReader(f, maxBytes), "", c.At)
	z.SetIncludeAllowed(false) // a zone names no other files of this machine
	n := 0
	for rr, ok := z.Next(); ok; rr, ok = z.Next() {
		if n++; n > maxRecords {
			return nil, fmt.Errorf("read zone: %s: more than %d records", c.At, maxRecords)
		}
		r.record(rr, c.At)
	}
	if err := z.Err(); err != nil {
		return nil, fmt.Errorf("read zone: %w", err)
	}
	return r.out, nil
}

type reader struct {
	source string
	now    time.Time
	out    []sallyport.Claim
}

func (r *reader) transfer(ctx context.Context, server, zone string) error {
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", server)
	if err != nil {
		return fmt.Errorf("transfer zone: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	m := new(dns.Msg)
	m.SetAxfr(dns.Fqdn(zone))
	t := &dns.Transfer{Conn: &dns.Conn{Conn: conn}, ReadTimeout: 30 * time.Second}
	parts, err := t.In(m, server)
	if err != nil {
		return fmt.Errorf("transfer zone: %w", err)
	}
	n := 0
	for p := range parts {
		if err == nil && p.Error != nil {
			err = fmt.Errorf("transfer zone: %w", p.Error)
		}
		for _, rr := range p.RR {
			if n++; n > maxRecords {
				conn.Close()
				if err == nil {
					err = errors.New("transfer zone: too many records")
				}
				break
			}
			r.record(rr, server)
		}
	}
	return err
}

func (r *reader) record(rr dns.RR, from string) {
	h := rr.Header()
	host := strings.TrimSuffix(strings.ToLower(h.Name), ".")
	field, value := "", ""
	switch x := rr.(type) {
	case *dns.A:
		field, value = "instances", x.A.String()
	case *dns.AAAA:
		field, value = "instances", x.AAAA.String()
	case *dns.CNAME:
		field, value = "upstreams", strings.TrimSuffix(strings.ToLower(x.Target), ".")
	case *dns.SRV:
		// _service._proto.name: where the service of that name is.
		for strings.HasPrefix(host, "_") {
			_, host, _ = strings.Cut(host, ".")
		}
		field, value = "instances", net.JoinHostPort(strings.TrimSuffix(strings.ToLower(x.Target), "."), strconv.Itoa(int(x.Port)))
	default:
		return
	}
	if host == "" || len(host) > 253 {
		return
	}
	at := from + " " + h.Name + " " + dns.TypeToString[h.Rrtype]
	for _, f := range [][2]string{{"hosts", host}, {field, value}} {
		r.out = append(r.out, sallyport.Claim{Asset: sallyport.Asset{Host: host}, Field: f[0], Value: f[1], Source: r.source, Confidence: 0.7, Evidence: at, Time: r.now})
	}
}

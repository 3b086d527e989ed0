package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gaissmai/bart"
)

// Hosting is who runs the machine, as far as evidence goes.
type Hosting struct {
	Provider string   `json:"provider,omitempty"`
	Region   string   `json:"region,omitempty"`
	Front    string   `json:"front,omitempty"` // CDN or WAF in front
	Evidence []string `json:"evidence"`
	AsOf     string   `json:"as_of,omitempty"` // date of the address ranges
}

type rangeOf struct{ provider, region, service, file, date string }

type ranges struct{ table bart.Table[rangeOf] }

const maxRangeFile = 64 << 20

// loadRanges reads files as the providers publish them (AWS ip-ranges.json,
// Google cloud.json, Azure service tags, Oracle, Fastly) or lines of a range, a
// provider and a region.
func loadRanges(files []string) (*ranges, error) {
	r := &ranges{}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return nil, fmt.Errorf("address ranges: %w", err)
		}
		if info.Size() > maxRangeFile {
			return nil, fmt.Errorf("address ranges %s: larger than %d MiB", f, maxRangeFile>>20)
		}
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("address ranges: %w", err)
		}
		if err := r.read(filepath.Base(f), info.ModTime().UTC().Format(time.DateOnly), b); err != nil {
			return nil, fmt.Errorf("address ranges %s: %w", f, err)
		}
	}
	return r, nil
}

func (r *ranges) add(prefix string, o rangeOf) error {
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		a, aerr := netip.ParseAddr(prefix)
		if aerr != nil {
			return fmt.Errorf("%q is no range", clip(prefix, 60))
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	// The more telling one stays where a provider lists a range twice.
	if was, ok := r.table.Get(p.Masked()); ok && was.region != "" && o.region == "" {
		return nil
	}
	r.table.Insert(p.Masked(), o)
	return nil
}

func (r *ranges) read(file, date string, b []byte) error {
	if !looksJSON(b) || bytes.TrimSpace(b)[0] != '{' {
		name := strings.TrimSuffix(file, filepath.Ext(file))
		n := 0
		for line := range bytes.Lines(b) {
			n++
			text, comment, _ := strings.Cut(string(line), "#")
			if d, ok := strings.CutPrefix(strings.TrimSpace(comment), "date:"); ok {
				date = strings.TrimSpace(d)
			}
			f := strings.Fields(text)
			if len(f) == 0 {
				continue
			}
			o := rangeOf{provider: name, file: file, date: date}
			if len(f) > 1 {
				o.provider = f[1]
			}
			if len(f) > 2 {
				o.region = f[2]
			}
			if err := r.add(f[0], o); err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
		}
		return nil
	}
	var d struct {
		CreateDate   string          `json:"createDate"`
		CreationTime string          `json:"creationTime"`
		Updated      string          `json:"last_updated_timestamp"`
		Prefixes     json.RawMessage `json:"prefixes"`
		V6           json.RawMessage `json:"ipv6_prefixes"`
		Values       []struct {
			Name       string `json:"name"`
			Properties struct {
				Region   string   `json:"region"`
				Prefixes []string `json:"addressPrefixes"`
			} `json:"properties"`
		} `json:"values"`
		Regions []struct {
			Region string `json:"region"`
			CIDRs  []struct {
				CIDR string `json:"cidr"`
			} `json:"cidrs"`
		} `json:"regions"`
		Addresses []string `json:"addresses"`
		IPv6      []string `json:"ipv6_addresses"`
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return err
	}
	for _, x := range []string{d.CreateDate, d.CreationTime, d.Updated} {
		if len(x) >= 10 {
			date = x[:10]
		}
	}
	count := 0
	one := func(prefix string, o rangeOf) error {
		o.file, o.date = file, date
		count++
		return r.add(prefix, o)
	}
	for _, raw := range []json.RawMessage{d.Prefixes, d.V6} {
		var list []struct {
			V4      string `json:"ip_prefix"`
			V6      string `json:"ipv6_prefix"`
			G4      string `json:"ipv4Prefix"`
			G6      string `json:"ipv6Prefix"`
			Region  string `json:"region"`
			Service string `json:"service"`
			Scope   string `json:"scope"`
		}
		if len(raw) == 0 || json.Unmarshal(raw, &list) != nil {
			continue
		}
		for _, x := range list {
			for _, p := range []string{x.V4, x.V6} {
				if p != "" {
					if err := one(p, rangeOf{provider: "AWS", region: x.Region, service: x.Service}); err != nil {
						return err
					}
				}
			}
			for _, p := range []string{x.G4, x.G6} {
				if p != "" {
					if err := one(p, rangeOf{provider: "Google Cloud", region: x.Scope}); err != nil {
						return err
					}
				}
			}
		}
	}
	for _, x := range d.Values {
		for _, p := range x.Properties.Prefixes {
			if err := one(p, rangeOf{provider: "Azure", region: x.Properties.Region, service: x.Name}); err != nil {
				return err
			}
		}
	}
	for _, x := range d.Regions {
		for _, p := range x.CIDRs {
			if err := one(p.CIDR, rangeOf{provider: "Oracle Cloud", region: x.Region}); err != nil {
				return err
			}
		}
	}
	for _, p := range append(d.Addresses, d.IPv6...) {
		if err := one(p, rangeOf{provider: "Fastly", service: "CDN"}); err != nil {
			return err
		}
	}
	if count == 0 {
		return fmt.Errorf("no range in it that is known by its form")
	}
	return nil
}

// suffixes of canonical names, and who they belong to.
var suffixes = []struct{ suffix, provider, front string }{
	{".cloudfront.net", "AWS", "CloudFront"}, {".elb.amazonaws.com", "AWS", ""}, {".amazonaws.com", "AWS", ""}, {".awsglobalaccelerator.com", "AWS", "Global Accelerator"},
	{".azurewebsites.net", "Azure", ""}, {".azurefd.net", "Azure", "Front Door"}, {".trafficmanager.net", "Azure", ""}, {".cloudapp.azure.com", "Azure", ""}, {".azure-api.net", "Azure", "API Management"}, {".azureedge.net", "Azure", "Azure CDN"},
	{".run.app", "Google Cloud", ""}, {".appspot.com", "Google Cloud", ""}, {".googleusercontent.com", "Google Cloud", ""},
	{".cdn.cloudflare.net", "", "Cloudflare"}, {".edgekey.net", "", "Akamai"}, {".edgesuite.net", "", "Akamai"}, {".akamaiedge.net", "", "Akamai"}, {".fastly.net", "", "Fastly"},
	{".herokuapp.com", "Heroku", ""}, {".herokudns.com", "Heroku", ""}, {".vercel-dns.com", "Vercel", "Vercel"}, {".netlify.app", "Netlify", "Netlify"}, {".fly.dev", "Fly.io", ""}, {".ondigitalocean.app", "DigitalOcean", ""},
	{".impervadns.net", "", "Imperva"}, {".incapdns.net", "", "Imperva"}, {".sucuri.net", "", "Sucuri"}, {".oraclecloud.com", "Oracle Cloud", ""}, {".hosting.ovh.net", "OVH", ""}, {".your-server.de", "Hetzner", ""},
}

// marks are headers that only a certain door adds.
var marks = []struct{ header, contains, provider, front string }{
	{"Cf-Ray", "", "", "Cloudflare"}, {"X-Amz-Cf-Id", "", "AWS", "CloudFront"}, {"X-Amzn-Requestid", "", "AWS", ""}, {"X-Amz-Apigw-Id", "", "AWS", "API Gateway"}, {"X-Azure-Ref", "", "Azure", "Front Door"},
	{"X-Ms-Request-Id", "", "Azure", ""}, {"X-Cloud-Trace-Context", "", "Google Cloud", ""}, {"X-Akamai-Transformed", "", "", "Akamai"}, {"X-Fastly-Request-Id", "", "", "Fastly"}, {"X-Served-By", "cache-", "", "Fastly"},
	{"X-Iinfo", "", "", "Imperva"}, {"X-Sucuri-Id", "", "", "Sucuri"}, {"X-Vercel-Id", "", "Vercel", "Vercel"}, {"X-Nf-Request-Id", "", "Netlify", "Netlify"}, {"Fly-Request-Id", "", "Fly.io", ""},
	{"Server", "awselb", "AWS", "Elastic Load Balancing"}, {"Server", "cloudflare", "", "Cloudflare"}, {"Server", "AkamaiGHost", "", "Akamai"}, {"Server", "Google Frontend", "Google Cloud", ""}, {"Server", "Microsoft-Azure-Application-Gateway", "Azure", "Application Gateway"},
	{"Via", "varnish", "", "Varnish"}, {"Via", "kong", "", "Kong"}, {"Server", "kong", "", "Kong"}, {"X-Kong-Response-Latency", "", "", "Kong"}, {"Server", "envoy", "", "Envoy"}, {"X-Envoy-Upstream-Service-Time", "", "", "Envoy"}, {"Server", "BigIP", "", "F5 BIG-IP"}, {"Via", "squid", "", "Squid"},
}

// hosting puts together who runs this address and what stands in front of it.
func (v *visit) hosting(ctx context.Context) {
	h := &Hosting{}
	say := func(provider, front, evidence string) {
		if provider != "" && h.Provider == "" {
			h.Provider = provider
		}
		if front != "" && h.Front == "" {
			h.Front = front
		}
		if len(h.Evidence) < 10 {
			h.Evidence = append(h.Evidence, evidence)
		}
	}
	if o, ok := v.hosts.table.Lookup(v.job.addr); ok {
		h.Region, h.AsOf = o.region, o.date
		front := ""
		if o.service == "CLOUDFRONT" || o.service == "CDN" {
			front = o.provider
		}
		say(o.provider, front, "address range in "+o.file+" of "+o.date)
	}
	for _, n := range v.job.names {
		c, cancel := context.WithTimeout(ctx, v.p.Timeout)
		canonical, err := v.p.Canonical(c, n)
		cancel()
		canonical = strings.TrimSuffix(strings.ToLower(canonical), ".")
		if err != nil || canonical == n {
			continue
		}
		for _, x := range suffixes {
			if strings.HasSuffix(canonical, x.suffix) {
				say(x.provider, x.front, n+" is an alias of "+clip(canonical, 120))
				break
			}
		}
	}
	for _, m := range v.marked {
		x := marks[m]
		say(x.provider, x.front, "header "+x.header+strings.TrimSuffix(": "+x.contains, ": "))
	}
	for _, s := range v.out.Host.Services {
		if s.TLS == nil || s.TLS.Certificate == nil {
			continue
		}
		for issuer, front := range map[string][2]string{"O=Amazon": {"AWS", ""}, "O=Cloudflare": {"", "Cloudflare"}, "CN=Microsoft Azure": {"Azure", ""}} {
			if strings.Contains(s.TLS.Certificate.Issuer, issuer) {
				say(front[0], front[1], "certificate of port "+strconv.Itoa(s.Port)+" issued by "+clip(s.TLS.Certificate.Issuer, 100))
			}
		}
	}
	if len(h.Evidence) == 0 {
		return
	}
	v.out.Host.Hosting = h
	v.hostingClaims(h)
}

// mark notes headers that tell who stands in front.
func (v *visit) mark(a *answer) {
	for i, m := range marks {
		if x := a.header.Get(m.header); x != "" && strings.Contains(strings.ToLower(x), strings.ToLower(m.contains)) && len(v.marked) < 20 {
			seen := false
			for _, j := range v.marked {
				seen = seen || j == i
			}
			if !seen {
				v.marked = append(v.marked, i)
			}
		}
	}
}

package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
)

// egressConfig is the door of calls that go out, to APIs of others.
type egressConfig struct {
	Listen       string        `yaml:"listen" need:"1" doc:"host:port that our own services use as their proxy. Plain on loopback, TLS elsewhere."`
	Unlisted     policy.Shadow `yaml:"unlisted" enum:"refuse|observe" doc:"What happens to calls to hosts that are no destination; observe lets TLS to public addresses through and records it. Default refuse."`
	Destinations []destination `yaml:"destinations" doc:"APIs of others that may be called."`
}

type destination struct {
	Name         string         `yaml:"name" need:"1" doc:"Identity of the destination everywhere: letters, digits, - and _."`
	Host         string         `yaml:"host" need:"1" doc:"Host name, as our services ask for it."`
	Look         look           `yaml:"look" enum:"inside|tunnel" doc:"inside: calls are looked at, and clients trust our stand-in authority; tunnel: TLS passes unopened. Default inside."`
	URL          string         `yaml:"url" doc:"Where its calls go. Default https:// and the host."`
	CA           string         `yaml:"ca" doc:"PEM file with the roots that its certificate is checked against. Default the system's."`
	Spec         stringList     `yaml:"spec" doc:"OpenAPI documents: files, folders or URLs."`
	SpecEvery    time.Duration  `yaml:"spec_every" doc:"How often documents given by URL are asked for again, at least 1s. Default 1h."`
	SpecBreaking onBreaking     `yaml:"spec_breaking" enum:"hold|take" doc:"What happens to a changed document that lacks operations of the one in force: hold keeps the last good one, take takes it over; both are findings. Default hold."`
	Addresses    []netip.Prefix `yaml:"addresses" doc:"Networks besides the public internet that its name may stand for. Default none."`
	Redirects    policy.Shadow  `yaml:"redirects" enum:"refuse|observe" doc:"What happens to answers that lead to a host that is no destination. Default refuse."`
	Owner        ownerConfig    `yaml:"owner" doc:"Who answers for our use of it."`
	Dept         string         `yaml:"department" doc:"Department that pays for it."`
	policy.API   `yaml:",inline"`

	kept *partnerDocs // documents given by URL
}

type look string

const lookTunnel look = "tunnel"

// api is the destination as the compiler knows APIs. What our own services send
// is not suspected of attacks unless the policy says so, and they get the
// errors of others as they are.
func (d *destination) api() *apiConfig {
	a := &apiConfig{Name: d.Name, Spec: d.Spec, Match: match{Host: stringList{d.Host}}, Owner: d.Owner, Department: d.Dept, Exposure: sallyport.ThirdParty, API: d.API}
	a.Upstreams = []upstream{{URL: d.target(), CA: d.CA, Name: d.Host}}
	if a.Answers.Mode == "" {
		a.Answers.Mode = sallyport.Enforce
	}
	if a.Errors.Mode == "" {
		a.Errors.Mode = sallyport.Off
	}
	if _, set := a.Checks[sallyport.StageInspect]; !set {
		checks := map[sallyport.Stage]sallyport.Mode{sallyport.StageInspect: sallyport.Observe}
		for s, m := range a.Checks {
			checks[s] = m
		}
		a.Checks = checks
	}
	if a.Auth.KeyIn == (policy.KeyIn{}) {
		a.Auth.KeyIn = policy.KeyIn{In: sallyport.InHeader, Name: gateway.KeyHeader}
	}
	return a
}

func (d *destination) target() string {
	if d.URL != "" {
		return d.URL
	}
	return "https://" + d.Host + ":443"
}

// reach are the addresses that its name may stand for.
func (d *destination) reach() string {
	reach := []string{"public"}
	for _, n := range d.Addresses {
		reach = append(reach, n.Masked().String())
	}
	return strings.Join(reach, ",")
}

// pool is where its calls go.
func (d *destination) pool(a *apiConfig) gateway.API {
	p := pool(a)
	p.Upstreams[0].Reach = d.reach()
	p.Out = &gateway.Destination{Host: strings.ToLower(d.Host), Tunnel: d.Look == lookTunnel, Redirects: d.Redirects == policy.Record}
	return p
}

func (c *config) checkEgress(seen map[string]bool, bad func(string, string, ...any)) {
	e := c.Egress
	if e == nil {
		return
	}
	host, port, err := net.SplitHostPort(e.Listen)
	switch {
	case err != nil || port == "":
		bad("egress.listen", "%q is not host:port", e.Listen)
	case !loopback(host) && c.TLS.Off:
		bad("egress.listen", "tls is off, and %q is not a loopback address", e.Listen)
	}
	hosts := map[string]bool{}
	for i := range e.Destinations {
		d, path := &e.Destinations[i], fmt.Sprintf("egress.destinations[%d]", i)
		if d.Host == "" {
			bad(path, "host is missing: which host do our services ask for?")
			continue
		}
		u, err := url.Parse("https://" + d.Host)
		switch {
		case strings.ContainsAny(d.Host, "*"):
			bad(path+".host", "%q: a destination is one host, so that each stands in the inventory with its owner", d.Host)
		case err != nil || u.Host != d.Host || u.Port() != "" || strings.ContainsAny(d.Host, "/@"):
			bad(path+".host", "%q is not a host name; a port belongs into url", d.Host)
		case hosts[strings.ToLower(d.Host)]:
			bad(path+".host", "%q stands twice", d.Host)
		}
		hosts[strings.ToLower(d.Host)] = true
		if d.SpecEvery < 0 || d.SpecEvery > 0 && d.SpecEvery < time.Second {
			bad(path+".spec_every", "want 1s or more")
		}
		for _, s := range d.Spec {
			if isURL(s) && d.Look == lookTunnel {
				break // said below
			}
			if u, err := url.Parse(s); err == nil && u.User != nil {
				bad(path+".spec", "a URL with credentials in it: they would stand in logs")
			}
		}
		c.checkAPI(d.api(), path, seen, bad)
		if d.Look == lookTunnel {
			for key, set := range map[string]bool{"spec": len(d.Spec) > 0, "answers": d.Answers.Mode != "" || d.Answers.Acts(), "redirects": d.Redirects != "", "undocumented": d.Undocumented != "", "operations": len(d.Operations) > 0} {
				if set {
					bad(path+"."+key, "nothing inside a tunnel is looked at: take look: tunnel away, or this")
				}
			}
		}
	}
}

// compileEgress makes the program of the door out; nil when there is none.
func (c *compiled) compileEgress(ctx context.Context, l lasting, m *mistakes) (out *compiled, specs []string) {
	if c.Egress == nil {
		return nil, nil
	}
	out = &compiled{config: c.config}
	for i := range c.Egress.Destinations {
		d := &c.Egress.Destinations[i]
		a, path := d.api(), fmt.Sprintf("egress.destinations[%d]", i)
		if docs := d.docs(c.Data); docs != nil {
			a.client = docs.client()
		}
		api, errs := c.guarded(ctx, a, path, m)
		specs = append(specs, errs...)
		out.apis = append(out.apis, api)
		p := d.pool(a)
		p.Onward = c.onward(a, path+".credentials", l, m)
		out.pools = append(out.pools, p)
		for j, o := range a.Auth.OIDC {
			c.issuers = append(c.issuers, o.Issuer)
			if o.Introspection.Enabled() {
				c.asks(o, fmt.Sprintf("%s.auth.oidc[%d].introspection", path, j), m)
			}
		}
	}
	return out, specs
}

func (c *compiled) startEgress(l lasting) (err error) {
	c.name = "out-" + c.fingerprint(c.apis)
	c.program, err = guard.Compile(guard.Config{Name: c.name, APIs: c.apis, Keys: l.keys, Counters: l.counters, Tokens: l.tokens, Proofs: l.proofs, Inspect: l.inspect, Forecast: l.forecast, Tallies: l.tallies})
	return err
}

// openEgress makes the door out, when it is configured and this process has doors.
func (e *engine) openEgress(ctx context.Context, first *compiled) (*gateway.Listener, error) {
	if first.out == nil || !e.cfg.has(roleGateway) {
		return nil, nil
	}
	o := e.gatewayOptions(first)
	o.Program, o.APIs, o.Door, o.Sealer = first.out.program, first.out.pools, "egress", nil
	o.StripHeaders = e.cfg.StripHeaders // what upstreams of ours take for identity is nothing to others
	o.Egress = &gateway.Egress{Observe: e.cfg.Egress.Unlisted == policy.Record, CADir: filepath.Join(e.cfg.Data, "egress")}
	var err error
	if e.egress, err = gateway.New(o); err != nil {
		return nil, fmt.Errorf("start the door out: %w", err)
	}
	host, _, _ := net.SplitHostPort(e.cfg.Egress.Listen)
	ln, err := gateway.Listen(ctx, gateway.Address{Address: e.cfg.Egress.Listen, Plain: loopback(host)})
	if err != nil {
		return nil, fmt.Errorf("egress.listen: %w", err)
	}
	return ln, nil
}

// egressChanged reports whether a change needs a restart.
func egressChanged(old, next *egressConfig) bool {
	if (old == nil) != (next == nil) {
		return true
	}
	return old != nil && (old.Listen != next.Listen || old.Unlisted != next.Unlisted)
}

// everyAPI lists what is guarded at all doors.
func (c *compiled) everyAPI() []guard.API {
	if c.out == nil {
		return c.apis
	}
	return append(slices.Clone(c.apis), c.out.apis...)
}

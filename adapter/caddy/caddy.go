// Package caddy reads the configuration of Caddy: JSON from its admin endpoint
// or a file, or a Caddyfile. Out go claims about hosts, paths and instances.
// The admin endpoint is only ever asked by GET.
package caddy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"sallyport.dev"
)

const (
	maxBytes = 16 << 20
	maxDepth = 32
)

// A Catalogue is a file or an admin endpoint.
type Catalogue struct {
	ID     string        // Name; by default "caddy:" and At
	At     string        // Caddyfile, JSON file, or http://host:port of the admin endpoint
	Client *http.Client  // for the endpoint; nil = one with a time bound
	Every  time.Duration // between two readings; 0 = once

	said sallyport.Claims
}

// Name is how it is told from all other catalogues.
func (c *Catalogue) Name() string { return cmp.Or(c.ID, "caddy:"+c.At) }

// Watch tells what is served, and what becomes of it, until ctx ends.
func (c *Catalogue) Watch(ctx context.Context, claims func([]sallyport.Claim) error) error {
	return c.said.Poll(ctx, c.Every, c.read, claims)
}

func (c *Catalogue) read(ctx context.Context) ([]sallyport.Claim, error) {
	r := &reader{source: c.Name(), now: time.Now(), at: c.At}
	var body io.ReadCloser
	if strings.HasPrefix(c.At, "http://") || strings.HasPrefix(c.At, "https://") {
		client := c.Client
		if client == nil {
			client = &http.Client{Timeout: 20 * time.Second}
		}
		r.at = strings.TrimRight(c.At, "/") + "/config"
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.at+"/", nil)
		if err != nil {
			return nil, err
		}
		res, err := client.Do(req)
		if err != nil {
			return nil, fmt.Errorf("ask caddy: %w", err)
		}
		if res.StatusCode != http.StatusOK {
			res.Body.Close()
			return nil, fmt.Errorf("ask caddy: %s", res.Status)
		}
		body = res.Body
	} else {
		f, err := os.Open(c.At)
		if err != nil {
			return nil, fmt.Errorf("read caddy: %w", err)
		}
		body = f
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read caddy: %w", err)
	}
	if len(b) > maxBytes {
		return nil, fmt.Errorf("read caddy: larger than %d bytes", maxBytes)
	}
	if text := strings.TrimSpace(string(b)); text != "" && text != "null" && (json.Valid(b) || strings.HasPrefix(c.At, "http")) {
		var cfg struct {
			Apps struct {
				HTTP struct {
					Servers map[string]struct {
						Routes []route `json:"routes"`
					} `json:"servers"`
				} `json:"http"`
			} `json:"apps"`
		}
		if err := json.Unmarshal(b, &cfg); err != nil {
			return nil, fmt.Errorf("read caddy: %w", err)
		}
		for name, s := range cfg.Apps.HTTP.Servers {
			r.routes(s.Routes, nil, nil, "/apps/http/servers/"+name+"/routes", 0)
		}
		return r.out, nil
	} else if text == "null" || text == "" {
		return nil, nil
	}
	return r.out, r.caddyfile(string(b))
}

type route struct {
	Match []struct {
		Host []string `json:"host"`
		Path []string `json:"path"`
	} `json:"match"`
	Handle []handler `json:"handle"`
}

type handler struct {
	Handler   string  `json:"handler"`
	Routes    []route `json:"routes"`
	Upstreams []struct {
		Dial string `json:"dial"`
	} `json:"upstreams"`
	Providers json.RawMessage `json:"providers"`
}

type reader struct {
	source, at string
	now        time.Time
	out        []sallyport.Claim
}

func (r *reader) routes(list []route, hosts, paths []string, at string, depth int) {
	if depth > maxDepth {
		return
	}
	for i, x := range list {
		h, p := hosts, paths
		for n, m := range x.Match {
			if n == 0 {
				if len(m.Host) > 0 {
					h = nil
				}
				if len(m.Path) > 0 {
					p = nil
				}
			}
			h, p = append(h[:len(h):len(h)], m.Host...), append(p[:len(p):len(p)], m.Path...)
		}
		here := fmt.Sprintf("%s/%d", at, i)
		auth := ""
		for n, d := range x.Handle {
			switch d.Handler {
			case "subroute":
				r.routes(d.Routes, h, p, fmt.Sprintf("%s/handle/%d/routes", here, n), depth+1)
			case "authentication":
				if strings.Contains(string(d.Providers), "http_basic") {
					auth = "basic"
				}
			case "reverse_proxy":
				var dial []string
				for _, u := range d.Upstreams {
					dial = append(dial, u.Dial)
				}
				r.say(h, p, dial, auth, r.at+here)
			}
		}
	}
}

func (r *reader) say(hosts, paths, dial []string, auth, at string) {
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	if len(paths) == 0 {
		paths = []string{""}
	}
	for _, h := range hosts {
		for _, p := range paths {
			asset := sallyport.Asset{Host: strings.ToLower(h), Path: strings.TrimRight(strings.TrimSuffix(p, "*"), "/")}
			if asset.Host == "" && asset.Path == "" {
				if len(dial) == 0 {
					continue
				}
				asset.Address = dial[0]
			}
			claim := func(field, value string) {
				if value != "" && !strings.Contains(value, "{") && len(r.out) < 100_000 {
					r.out = append(r.out, sallyport.Claim{Asset: asset, Field: field, Value: value, Source: r.source, Confidence: 0.9, Evidence: at, Time: r.now})
				}
			}
			claim("gateways", "caddy")
			claim("hosts", asset.Host)
			claim("auth.declared", auth)
			for _, d := range dial {
				claim("instances", d)
			}
		}
	}
}

// caddyfile reads sites with reverse_proxy, handle, handle_path and route, and
// named matchers of paths and hosts.
func (r *reader) caddyfile(text string) error {
	type frame struct {
		hosts, paths []string
		matchers     map[string]string // of paths, by @name
		site, auth   bool
	}
	stack := []frame{{}}
	n := 0
	for line := range strings.Lines(text) {
		n++
		w := fields(line)
		if len(w) == 0 {
			continue
		}
		at := fmt.Sprintf("%s:%d", r.at, n)
		top := &stack[len(stack)-1]
		opens := w[len(w)-1] == "{"
		if opens {
			w = w[:len(w)-1]
		}
		if len(w) > 0 && w[0] == "}" {
			if len(stack) > 1 {
				stack = stack[:len(stack)-1]
			}
			continue
		}
		next := frame{hosts: top.hosts, paths: top.paths, matchers: top.matchers, site: true, auth: top.auth}
		switch {
		case len(w) == 0:
			next.site = len(stack) > 1
		case len(stack) == 1: // addresses of a site
			next.hosts, next.matchers = nil, map[string]string{}
			if strings.HasPrefix(w[0], "(") {
				break // a snippet
			}
			for _, a := range w {
				for s := range strings.SplitSeq(a, ",") {
					if h := hostOf(s); h != "" {
						next.hosts = append(next.hosts, h)
					}
				}
			}
			if !opens { // a site without braces, which is the whole file
				top.hosts, top.matchers = next.hosts, map[string]string{}
				stack = append(stack, next)
				continue
			}
		case w[0] == "handle" || w[0] == "handle_path" || w[0] == "route":
			if len(w) > 1 {
				if p, ok := pathOf(w[1], top.matchers); ok {
					next.paths = []string{p}
				}
			}
		case strings.HasPrefix(w[0], "@"):
			if len(w) > 2 && w[1] == "path" && top.matchers != nil {
				top.matchers[w[0]] = w[2]
			}
		case w[0] == "basicauth" || w[0] == "basic_auth":
			top.auth = true
		case w[0] == "reverse_proxy":
			args, paths := w[1:], top.paths
			if len(args) > 0 {
				if p, ok := pathOf(args[0], top.matchers); ok {
					paths, args = []string{p}, args[1:]
				} else if args[0] == "*" {
					args = args[1:]
				}
			}
			var dial []string
			for _, a := range args {
				a = strings.TrimPrefix(a, "h2c://")
				if u, err := url.Parse(a); err == nil && u.Host != "" {
					port := map[string]string{"https": "443"}[u.Scheme]
					a = net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port, "80"))
				}
				dial = append(dial, a)
			}
			auth := ""
			if top.auth {
				auth = "basic"
			}
			r.say(top.hosts, paths, dial, auth, at)
		}
		if opens {
			if len(stack) > maxDepth {
				return fmt.Errorf("read caddy: %s: blocks more than %d deep", at, maxDepth)
			}
			stack = append(stack, next)
		}
	}
	return nil
}

func pathOf(s string, matchers map[string]string) (string, bool) {
	if strings.HasPrefix(s, "/") {
		return s, true
	}
	p, ok := matchers[s]
	return p, ok
}

// hostOf is the name in a site's address; "" for a port alone.
func hostOf(s string) string {
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	}
	s, _, _ = strings.Cut(s, "/")
	if h, _, err := net.SplitHostPort(s); err == nil {
		s = h
	}
	if strings.ContainsAny(s, "{}$") {
		return ""
	}
	return strings.ToLower(s)
}

func fields(line string) []string {
	var out []string
	var b strings.Builder
	in, quote := false, byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			b.WriteByte(c)
		case c == '"' || c == '`':
			quote, in = c, true
		case c == '#' && !in:
			i = len(line)
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			if in {
				out = append(out, b.String())
				b.Reset()
				in = false
			}
		default:
			b.WriteByte(c)
			in = true
		}
	}
	if in {
		out = append(out, b.String())
	}
	return out
}

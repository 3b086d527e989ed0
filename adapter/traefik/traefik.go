// Package traefik reads the routers and services of Traefik: its dynamic
// configuration in YAML files, or /api of a running one. Out go claims about
// hosts, paths and instances. It asks only by GET. A
// Door writes one watched file, by the instances of an API that the gate has admitted.
package traefik

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v4"

	"sallyport.dev"
)

const maxBytes = 16 << 20

// A Catalogue is a file, a folder of files, or the address of the API.
type Catalogue struct {
	ID     string        // Name; by default "traefik:" and At
	At     string        // file, folder, or http(s):// address of the API
	Client *http.Client  // for the API; nil = one with a time bound
	Token  string        // bearer token for the API
	Every  time.Duration // between two readings; 0 = once

	said sallyport.Claims
}

// Name is how it is told from all other catalogues.
func (c *Catalogue) Name() string { return cmp.Or(c.ID, "traefik:"+c.At) }

// Watch tells what is routed, and what becomes of it, until ctx ends.
func (c *Catalogue) Watch(ctx context.Context, claims func([]sallyport.Claim) error) error {
	return c.said.Poll(ctx, c.Every, c.read, claims)
}

type router struct {
	Name        string   `yaml:"-" json:"name"`
	Rule        string   `yaml:"rule" json:"rule"`
	Service     string   `yaml:"service" json:"service"`
	Middlewares []string `yaml:"middlewares" json:"middlewares"`
	Status      string   `yaml:"-" json:"status"`
	Provider    string   `yaml:"-" json:"provider"`
	TLS         any      `yaml:"tls" json:"tls"`
	at          string
}

type service struct {
	Name         string `yaml:"-" json:"name"`
	LoadBalancer struct {
		Servers []struct {
			URL string `yaml:"url" json:"url"`
		} `yaml:"servers" json:"servers"`
	} `yaml:"loadBalancer" json:"loadBalancer"`
}

func (c *Catalogue) read(ctx context.Context) ([]sallyport.Claim, error) {
	var routers []router
	services := map[string]service{}
	if strings.HasPrefix(c.At, "http://") || strings.HasPrefix(c.At, "https://") {
		var list []service
		if err := c.get(ctx, "/api/http/routers?per_page=10000", &routers); err != nil {
			return nil, err
		}
		if err := c.get(ctx, "/api/http/services?per_page=10000", &list); err != nil {
			return nil, err
		}
		for _, s := range list {
			services[s.Name] = s
		}
		for i := range routers {
			r := &routers[i]
			r.at = strings.TrimRight(c.At, "/") + "/api/http/routers/" + r.Name
			if _, ok := services[r.Service]; !ok { // of the same provider
				if _, provider, at := strings.Cut(r.Name, "@"); at {
					r.Service += "@" + provider
				}
			}
		}
		routers = slices.DeleteFunc(routers, func(r router) bool { return r.Status == "disabled" || r.Provider == "internal" })
		return c.claims(routers, services), nil
	}
	files := []string{c.At}
	if info, err := os.Stat(c.At); err != nil {
		return nil, fmt.Errorf("read traefik: %w", err)
	} else if info.IsDir() {
		files = nil
		for _, ext := range []string{"*.yml", "*.yaml"} {
			more, _ := filepath.Glob(filepath.Join(c.At, ext))
			files = append(files, more...)
		}
	}
	for _, file := range files[:min(len(files), 1000)] {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read traefik: %w", err)
		}
		b, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
		f.Close()
		if err != nil || len(b) > maxBytes {
			return nil, fmt.Errorf("read traefik: %s: larger than %d bytes, or: %v", file, maxBytes, err)
		}
		var doc struct {
			HTTP struct {
				Routers  map[string]yaml.Node `yaml:"routers"`
				Services map[string]service   `yaml:"services"`
			} `yaml:"http"`
		}
		if err := yaml.Unmarshal(b, &doc); err != nil {
			return nil, fmt.Errorf("read traefik: %s: %w", file, err)
		}
		maps.Copy(services, doc.HTTP.Services)
		for name, n := range doc.HTTP.Routers {
			r := router{}
			if err := n.Decode(&r); err != nil {
				return nil, fmt.Errorf("read traefik: %s:%d: %w", file, n.Line, err)
			}
			r.Name, r.at = name, fmt.Sprintf("%s:%d", file, n.Line)
			r.Service = strings.TrimSuffix(r.Service, "@file")
			routers = append(routers, r)
		}
	}
	return c.claims(routers, services), nil
}

func (c *Catalogue) get(ctx context.Context, path string, into any) error {
	client := c.Client
	if client == nil {
		client = &http.Client{Timeout: 20 * time.Second}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(c.At, "/")+path, nil)
	if err != nil {
		return err
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask traefik: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("ask traefik: %s answers %s", path, res.Status)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxBytes)).Decode(into); err != nil {
		return fmt.Errorf("ask traefik: %w", err)
	}
	return nil
}

// A where is a host and a path of a rule.
type where struct{ host, path string }

// rule reads Host, HostSNI, Path and PathPrefix out of a rule; what is negated
// or a pattern stays out. Alternatives are told apart as far as || is outermost.
func rule(s string) []where {
	var out []where
	for alternative := range strings.SplitSeq(s, "||") {
		var hosts, paths []string
		for i := 0; i < len(alternative); {
			open := strings.IndexByte(alternative[i:], '(')
			if open < 0 {
				break
			}
			open += i
			j := open
			for j > i && (alternative[j-1] >= 'a' && alternative[j-1] <= 'z' || alternative[j-1] >= 'A' && alternative[j-1] <= 'Z') {
				j--
			}
			name := alternative[j:open]
			negated := strings.HasSuffix(strings.TrimSpace(alternative[:j]), "!")
			if name == "" { // a group
				i = open + 1
				continue
			}
			args, end := arguments(alternative[open:])
			i = open + end
			if negated {
				continue
			}
			switch name {
			case "Host", "HostHeader":
				hosts = append(hosts, args...)
			case "Path", "PathPrefix":
				paths = append(paths, args...)
			}
		}
		if len(hosts)+len(paths) == 0 {
			continue
		}
		for _, h := range orNone(hosts) {
			for _, p := range orNone(paths) {
				if len(out) < 1000 {
					out = append(out, where{strings.ToLower(h), p})
				}
			}
		}
	}
	return out
}

func orNone(s []string) []string {
	if len(s) == 0 {
		return []string{""}
	}
	return s
}

// arguments are the texts within the brackets that begin s.
func arguments(s string) (out []string, end int) {
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case ')':
			return out, i + 1
		case '`', '"', '\'':
			j := strings.IndexByte(s[i+1:], c)
			if j < 0 {
				return out, len(s)
			}
			out = append(out, s[i+1:i+1+j])
			i += j + 1
		}
	}
	return out, len(s)
}

func (c *Catalogue) claims(routers []router, services map[string]service) []sallyport.Claim {
	now := time.Now()
	var out []sallyport.Claim
	for _, r := range routers {
		for _, w := range rule(r.Rule) {
			asset := sallyport.Asset{Host: w.host, Path: strings.TrimRight(w.path, "/")}
			if asset.Host == "" && asset.Path == "" {
				continue
			}
			say := func(field, value string) {
				if len(out) < 100_000 {
					out = append(out, sallyport.Claim{Asset: asset, Field: field, Value: value, Source: c.Name(), Confidence: 0.9, Evidence: r.at, Time: now})
				}
			}
			say("gateways", "traefik")
			if w.host != "" {
				say("hosts", w.host)
			}
			for _, s := range services[r.Service].LoadBalancer.Servers {
				if u, err := url.Parse(s.URL); err == nil && u.Host != "" {
					say("instances", u.Host)
				}
			}
		}
	}
	return out
}

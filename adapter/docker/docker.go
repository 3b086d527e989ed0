// Package docker reads the running containers of a Docker engine: where they
// listen, and whose they are by their labels. It asks the engine's API, by GET
// only, over its socket or HTTP; tests use a stand-in of the documented shape.
package docker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sallyport.dev"
)

const maxBytes = 32 << 20

// A Catalogue is one engine.
type Catalogue struct {
	ID    string        // Name; by default "docker:" and At
	At    string        // unix:PATH or http(s)://host:port
	Every time.Duration // between two readings; 0 = once

	said sallyport.Claims
}

// Name is how it is told from all other catalogues.
func (c *Catalogue) Name() string { return cmp.Or(c.ID, "docker:"+c.At) }

// Watch tells the containers, and what becomes of them, until ctx ends.
func (c *Catalogue) Watch(ctx context.Context, claims func([]sallyport.Claim) error) error {
	return c.said.Poll(ctx, c.Every, c.read, claims)
}

// people are labels that name owners, without the domain in front.
var people = map[string]string{"owner": "owner.team", "team": "owner.team", "contact": "owner.contact", "department": "department", "environment": "environment", "criticality": "criticality"}

func (c *Catalogue) read(ctx context.Context) ([]sallyport.Claim, error) {
	t := &http.Transport{}
	defer t.CloseIdleConnections()
	base := strings.TrimRight(c.At, "/")
	if path, ok := strings.CutPrefix(c.At, "unix:"); ok {
		base = "http://docker"
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/containers/json", nil)
	if err != nil {
		return nil, err
	}
	res, err := (&http.Client{Transport: t, Timeout: 20 * time.Second}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask docker: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask docker: %s", res.Status)
	}
	var list []struct {
		ID     string `json:"Id"`
		Names  []string
		Image  string
		Labels map[string]string
		Ports  []struct {
			IP          string
			PrivatePort int
			PublicPort  int
			Type        string
		}
		NetworkSettings struct {
			Networks map[string]struct{ IPAddress string }
		}
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxBytes)).Decode(&list); err != nil {
		return nil, fmt.Errorf("ask docker: %w", err)
	}
	now := time.Now()
	var out []sallyport.Claim
	for _, x := range list {
		name := x.ID[:min(12, len(x.ID))]
		if len(x.Names) > 0 {
			name = strings.TrimPrefix(x.Names[0], "/")
		}
		for _, p := range x.Ports {
			if p.Type != "tcp" {
				continue
			}
			var places []string
			if p.PublicPort > 0 {
				places = append(places, net.JoinHostPort(cmp.Or(p.IP, "0.0.0.0"), strconv.Itoa(p.PublicPort)))
			}
			for _, n := range x.NetworkSettings.Networks {
				if n.IPAddress != "" {
					places = append(places, net.JoinHostPort(n.IPAddress, strconv.Itoa(p.PrivatePort)))
				}
			}
			for _, at := range places {
				say := func(field, value string, sure float64) {
					if value != "" && len(value) <= 2048 && len(out) < 100_000 {
						out = append(out, sallyport.Claim{Asset: sallyport.Asset{Address: at}, Field: field, Value: value, Source: c.Name(), Confidence: sure, Evidence: "container/" + name, Time: now})
					}
				}
				say("addresses", at, 0.95)
				say("workload", "container/"+name, 0.95)
				say("technology", x.Image, 0.7)
				said := map[string]string{}
				for k, v := range x.Labels {
					if f := people[strings.ToLower(k[strings.LastIndexAny(k, "./")+1:])]; f != "" && (said[f] == "" || v < said[f]) {
						said[f] = v
					}
				}
				for f, v := range said {
					say(f, v, 0.8)
				}
				say("repository", x.Labels["org.opencontainers.image.source"], 0.8)
				say("documentation", x.Labels["org.opencontainers.image.documentation"], 0.8)
			}
		}
	}
	return out, nil
}

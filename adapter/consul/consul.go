// Package consul reads Consul's catalogue and health endpoints over HTTP, by
// blocking queries: which services there are, and which instances are well. It
// asks only by GET. It follows the published protocol; tests use a stand-in.
package consul

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport.dev"
)

const (
	maxBytes    = 16 << 20
	maxServices = 20_000
	hold        = 60 * time.Second // that a blocking query is held by the server
)

// A Catalogue is one data centre.
type Catalogue struct {
	ID     string       // Name; by default "consul:" and At
	At     string       // http(s)://host:port
	Token  string       // of an ACL that may read
	Client *http.Client // nil = the default transport; its time bound must exceed a minute
	Once   bool         // read, and do not watch

	said sallyport.Claims
}

// Name is how it is told from all other catalogues.
func (c *Catalogue) Name() string { return cmp.Or(c.ID, "consul:"+c.At) }

// Watch tells the services, and what becomes of them, until ctx ends.
func (c *Catalogue) Watch(ctx context.Context, claims func([]sallyport.Claim) error) error {
	index := uint64(0)
	for {
		// Every change of health has an index of its own, so that one query wakes for all.
		var checks []json.RawMessage
		next, err := c.get(ctx, "/v1/health/state/any", index, &checks)
		if err != nil {
			return err
		}
		if next != index || index == 0 {
			now, err := c.read(ctx)
			if err != nil {
				return err
			}
			if err := c.said.Tell(now, claims); err != nil || c.Once {
				return err
			}
		}
		if next < index {
			next = 0 // the index went back: begin anew, as the protocol asks
		}
		index = next
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (c *Catalogue) get(ctx context.Context, path string, index uint64, into any) (uint64, error) {
	q := url.Values{}
	if index > 0 {
		q.Set("index", strconv.FormatUint(index, 10))
		q.Set("wait", strconv.Itoa(int(hold.Seconds()))+"s")
	}
	ctx, cancel := context.WithTimeout(ctx, hold+30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(c.At, "/")+path, nil)
	if err != nil {
		return 0, err
	}
	for k := range req.URL.Query() {
		q.Set(k, req.URL.Query().Get(k))
	}
	req.URL.RawQuery = q.Encode()
	if c.Token != "" {
		req.Header.Set("X-Consul-Token", c.Token)
	}
	client := c.Client
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("ask consul: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("ask consul: %s answers %s", path, res.Status)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxBytes)).Decode(into); err != nil {
		return 0, fmt.Errorf("ask consul: %s: %w", path, err)
	}
	n, _ := strconv.ParseUint(res.Header.Get("X-Consul-Index"), 10, 64)
	return max(n, 1), nil
}

// meta are keys of a service's metadata and tags that name people.
var meta = map[string]string{"owner": "owner.team", "team": "owner.team", "contact": "owner.contact", "department": "department", "environment": "environment", "env": "environment", "criticality": "criticality", "version": "versions"}

func (c *Catalogue) read(ctx context.Context) ([]sallyport.Claim, error) {
	var services map[string][]string
	if _, err := c.get(ctx, "/v1/catalog/services", 0, &services); err != nil {
		return nil, err
	}
	if len(services) > maxServices {
		return nil, fmt.Errorf("ask consul: more than %d services", maxServices)
	}
	now := time.Now()
	var out []sallyport.Claim
	for name, tags := range services {
		if name == "consul" {
			continue
		}
		at := "service/" + name
		say := func(field, value string, sure float64) {
			if value != "" && len(value) <= 2048 {
				out = append(out, sallyport.Claim{Asset: sallyport.Asset{API: name}, Field: field, Value: value, Source: c.Name(), Confidence: sure, Evidence: at, Time: now})
			}
		}
		say("workload", at, 0.9)
		for _, t := range tags {
			if k, v, ok := strings.Cut(t, "="); ok && meta[k] != "" {
				say(meta[k], v, 0.7)
			} else {
				say("tags", t, 0.9)
			}
		}
		var instances []struct {
			Node    struct{ Address, Datacenter string }
			Service struct {
				Address string
				Port    int
				Meta    map[string]string
			}
		}
		if _, err := c.get(ctx, "/v1/health/service/"+url.PathEscape(name)+"?passing=1", 0, &instances); err != nil {
			return nil, err
		}
		said := map[string]string{}
		for _, i := range instances {
			say("instances", net.JoinHostPort(cmp.Or(i.Service.Address, i.Node.Address), strconv.Itoa(i.Service.Port)), 0.9)
			say("cluster", i.Node.Datacenter, 0.9)
			for k, v := range i.Service.Meta {
				if f := meta[k]; f != "" && (said[f] == "" || v < said[f]) {
					said[f] = v
				}
			}
		}
		for f, v := range said {
			out = slices.DeleteFunc(out, func(x sallyport.Claim) bool { return x.Asset.API == name && x.Field == f && f != "versions" })
			say(f, v, 0.8)
		}
	}
	return out, nil
}

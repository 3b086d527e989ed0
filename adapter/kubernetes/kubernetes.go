// Package kubernetes reads what a cluster serves: Services, EndpointSlices,
// Ingress, and HTTPRoute and GRPCRoute of the Gateway API, with the labels and
// annotations that name owners. It lists and watches over plain HTTPS, with a
// service account's token or a kubeconfig. A Catalogue never sends anything but
// GET; a Service, which stands between the gate and the Pods of one service,
// writes one condition of their status besides.
package kubernetes

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"sallyport.dev"
)

const (
	pageSize   = 500
	maxBody    = 64 << 20 // of one page
	maxEvent   = 4 << 20
	maxObjects = 200_000
	rest       = 200 * time.Millisecond // changes that come close together are told together
)

// A Catalogue is one cluster.
type Catalogue struct {
	ID     string // Name; by default "kubernetes:" and the server's host
	Access Access
	Once   bool // list, and do not watch

	said sallyport.Claims
}

// Access is how the API server is reached.
type Access struct {
	Server string                 // https://host:port
	Client *http.Client           // with the authorities that the server is checked against; no time bound of its own
	Token  func() (string, error) // asked before each request, since tokens are renewed; nil = none
}

// Name is how it is told from all other catalogues.
func (c *Catalogue) Name() string {
	if c.ID != "" {
		return c.ID
	}
	_, host, _ := strings.Cut(c.Access.Server, "://")
	return "kubernetes:" + host
}

// resources are the collections that are read; one that the server does not
// have, or does not let us read, is left out when it is optional.
var resources = []struct {
	path     string
	optional bool
}{
	{"/api/v1/services", false},
	{"/apis/discovery.k8s.io/v1/endpointslices", true},
	{"/apis/networking.k8s.io/v1/ingresses", true},
	{"/apis/gateway.networking.k8s.io/v1/httproutes", true},
	{"/apis/gateway.networking.k8s.io/v1/grpcroutes", true},
}

// Watch tells what the cluster serves, whole and then as it changes, until ctx
// ends. It ends with an error when the server can't be reached or refuses.
func (c *Catalogue) Watch(ctx context.Context, claims func([]sallyport.Claim) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &state{objects: make([]map[string]*object, len(resources)), changed: make(chan struct{}, 1)}
	versions := make([]string, len(resources))
	for i := range resources {
		var err error
		if versions[i], err = c.list(ctx, s, i); err != nil {
			if resources[i].optional && absent(err) {
				continue
			}
			return err
		}
	}
	if err := c.said.Tell(s.claims(c.Name()), claims); err != nil || c.Once {
		return err
	}
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel(nil)
	for i := range resources {
		if versions[i] != "" {
			all.Go(func() {
				if err := c.follow(ctx, s, i, versions[i]); err != nil {
					cancel(err)
				}
			})
		}
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.changed:
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(rest):
		}
		if err := c.said.Tell(s.claims(c.Name()), claims); err != nil {
			return err
		}
	}
}

// A refusal is an answer of the server other than 200.
type refusal struct {
	path string
	code int
	text string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("kubernetes answers %d to %s: %s", r.code, r.path, r.text)
}

func absent(err error) bool {
	var r *refusal
	return errors.As(err, &r) && (r.code == http.StatusNotFound || r.code == http.StatusForbidden)
}

func gone(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.code == http.StatusGone
}

func (c *Catalogue) get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(c.Access.Server, "/")+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if c.Access.Token != nil {
		token, err := c.Access.Token()
		if err != nil {
			return nil, fmt.Errorf("token for kubernetes: %w", err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
	}
	client := c.Access.Client
	if client == nil {
		client = &http.Client{}
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask kubernetes: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		b, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
		var status struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(b, &status)
		return nil, &refusal{path, res.StatusCode, status.Message}
	}
	return res.Body, nil
}

// list reads a collection page by page and gives its version.
func (c *Catalogue) list(ctx context.Context, s *state, i int) (string, error) {
	found := map[string]*object{}
	query := url.Values{"limit": {strconv.Itoa(pageSize)}}
	for {
		page, cancel := context.WithTimeout(ctx, time.Minute)
		body, err := c.get(page, resources[i].path, query)
		if err != nil {
			cancel()
			if gone(err) && query.Get("continue") != "" { // it took too long: from the start
				query.Del("continue")
				found = map[string]*object{}
				continue
			}
			return "", err
		}
		var l struct {
			Metadata struct {
				ResourceVersion string `json:"resourceVersion"`
				Continue        string `json:"continue"`
			} `json:"metadata"`
			Items []object `json:"items"`
		}
		err = json.NewDecoder(io.LimitReader(body, maxBody)).Decode(&l)
		body.Close()
		cancel()
		if err != nil {
			return "", fmt.Errorf("list %s: %w", resources[i].path, err)
		}
		for n := range l.Items {
			o := &l.Items[n]
			found[o.key()] = o
		}
		if len(found) > maxObjects {
			return "", fmt.Errorf("list %s: more than %d objects", resources[i].path, maxObjects)
		}
		if l.Metadata.Continue == "" {
			s.replace(i, found)
			return cmp.Or(l.Metadata.ResourceVersion, "0"), nil
		}
		query.Set("continue", l.Metadata.Continue)
	}
}

// follow watches a collection from a version on. A watch that ends begins again
// where it was; when the server has forgotten that (410), all is listed anew.
func (c *Catalogue) follow(ctx context.Context, s *state, i int, version string) error {
	failures := 0
	for ctx.Err() == nil {
		next, err := c.watch(ctx, s, i, version)
		if next != version {
			failures = 0
		}
		version = next
		switch {
		case ctx.Err() != nil:
			return nil
		case gone(err):
			if version, err = c.list(ctx, s, i); err == nil {
				continue
			}
			fallthrough
		case err != nil:
			if failures++; failures > 5 {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(min(time.Duration(1+failures*failures)*100*time.Millisecond, 5*time.Second)):
		}
	}
	return nil
}

func (c *Catalogue) watch(ctx context.Context, s *state, i int, version string) (string, error) {
	body, err := c.get(ctx, resources[i].path, url.Values{"watch": {"1"}, "resourceVersion": {version}, "allowWatchBookmarks": {"true"}, "timeoutSeconds": {"300"}})
	if err != nil {
		return version, err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		var ev struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		if err := json.Unmarshal(lines.Bytes(), &ev); err != nil {
			return version, fmt.Errorf("watch %s: %w", resources[i].path, err)
		}
		if ev.Type == "ERROR" {
			var status struct {
				Code    int    `json:"code"`
				Message string `json:"message"`
			}
			_ = json.Unmarshal(ev.Object, &status)
			return version, &refusal{resources[i].path, status.Code, status.Message}
		}
		var o object
		if err := json.Unmarshal(ev.Object, &o); err != nil {
			return version, fmt.Errorf("watch %s: %w", resources[i].path, err)
		}
		if o.Metadata.ResourceVersion != "" {
			version = o.Metadata.ResourceVersion
		}
		switch ev.Type {
		case "ADDED", "MODIFIED":
			if !s.put(i, &o) {
				return version, fmt.Errorf("watch %s: more than %d objects", resources[i].path, maxObjects)
			}
		case "DELETED":
			s.delete(i, o.key())
		}
	}
	return version, lines.Err()
}

// state is the cluster as it is known.
type state struct {
	mu      sync.Mutex
	objects []map[string]*object // by resource, by namespace/name
	changed chan struct{}
}

func (s *state) note() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *state) replace(i int, all map[string]*object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[i] = all
	s.note()
}

func (s *state) put(i int, o *object) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[i][o.key()] = o
	s.note()
	return len(s.objects[i]) <= maxObjects
}

func (s *state) delete(i int, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects[i], key)
	s.note()
}

// An object is what we read of one of the five kinds.
type object struct {
	Metadata struct {
		Name            string            `json:"name"`
		Namespace       string            `json:"namespace"`
		ResourceVersion string            `json:"resourceVersion"`
		Labels          map[string]string `json:"labels"`
		Annotations     map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		Type  string `json:"type"` // of a Service
		Ports []struct {
			Port        int    `json:"port"`
			AppProtocol string `json:"appProtocol"`
		} `json:"ports"`
		DefaultBackend *ingressBackend `json:"defaultBackend"`
		IngressClass   string          `json:"ingressClassName"`
		TLS            []struct {
			Hosts []string `json:"hosts"`
		} `json:"tls"`
		Hostnames  []string `json:"hostnames"` // of a route
		ParentRefs []struct {
			Name string `json:"name"`
		} `json:"parentRefs"`
		Rules []struct {
			Host string `json:"host"`
			HTTP *struct {
				Paths []struct {
					Path    string         `json:"path"`
					Backend ingressBackend `json:"backend"`
				} `json:"paths"`
			} `json:"http"`
			Matches []struct {
				Path *struct {
					Type  string `json:"type"`
					Value string `json:"value"`
				} `json:"path"`
				Method json.RawMessage `json:"method"`
			} `json:"matches"`
			BackendRefs []struct {
				Kind      string `json:"kind"`
				Name      string `json:"name"`
				Namespace string `json:"namespace"`
			} `json:"backendRefs"`
		} `json:"rules"`
	} `json:"spec"`
	Endpoints []struct {
		Addresses  []string `json:"addresses"`
		Conditions struct {
			Ready *bool `json:"ready"`
		} `json:"conditions"`
		Zone string `json:"zone"`
	} `json:"endpoints"`
	Ports []struct {
		Port int `json:"port"`
	} `json:"ports"` // of an EndpointSlice
}

type ingressBackend struct {
	Service *struct {
		Name string `json:"name"`
	} `json:"service"`
}

func (o *object) key() string { return o.Metadata.Namespace + "/" + o.Metadata.Name }

// owners are labels and annotations that name people, by field; the domain in
// front of a key does not count.
var owners = map[string]string{
	"owner": "owner.team", "team": "owner.team", "owned-by": "owner.team", "owner-team": "owner.team", "contact": "owner.contact", "owner-contact": "owner.contact", "owner-email": "owner.contact",
	"deputy": "owner.deputy", "on-call": "owner.oncall", "oncall": "owner.oncall", "department": "department", "business-unit": "department", "cost-center": "cost_centre", "cost-centre": "cost_centre",
	"environment": "environment", "env": "environment", "criticality": "criticality", "lifecycle": "lifecycle", "exposure": "exposure.declared", "repository": "repository", "documentation": "documentation",
}

func (s *state) claims(source string) []sallyport.Claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var out []sallyport.Claim
	say := func(a sallyport.Asset, sure float64, evidence, field, value string) {
		if value = strings.TrimSpace(value); value != "" && len(value) <= 2048 && len(out) < 1_000_000 {
			out = append(out, sallyport.Claim{Asset: a, Field: field, Value: value, Source: source, Confidence: sure, Evidence: evidence, Time: now})
		}
	}
	endpoints := map[string][]string{} // of a Service
	for _, e := range s.objects[1] {
		name := e.Metadata.Labels["kubernetes.io/service-name"]
		if name == "" {
			continue
		}
		k := e.Metadata.Namespace + "/" + name
		for _, p := range e.Endpoints {
			if p.Conditions.Ready != nil && !*p.Conditions.Ready {
				continue
			}
			for _, a := range p.Addresses {
				for _, port := range e.Ports {
					endpoints[k] = append(endpoints[k], net.JoinHostPort(a, strconv.Itoa(port.Port)))
				}
			}
		}
	}
	// What is known of a Service is said of every asset that it serves.
	service := func(a sallyport.Asset, namespace, name, at string, sure float64) {
		k := namespace + "/" + name
		say(a, sure, at, "namespace", namespace)
		say(a, sure, at, "workload", "service/"+k)
		for _, e := range endpoints[k] {
			say(a, sure, at, "instances", e)
		}
		o := s.objects[0][k]
		if o == nil {
			return
		}
		people(o, a, "service/"+k, say)
		for _, p := range o.Spec.Ports {
			if p.AppProtocol == "grpc" || p.AppProtocol == "kubernetes.io/h2c" && strings.Contains(p.AppProtocol, "grpc") {
				say(a, 0.8, "service/"+k, "kind", "grpc")
			}
		}
	}
	for _, o := range s.objects[0] {
		if o.Metadata.Name == "kubernetes" && o.Metadata.Namespace == "default" {
			continue // the API server itself
		}
		host := o.Metadata.Name + "." + o.Metadata.Namespace + ".svc"
		a := sallyport.Asset{Host: host}
		say(a, 0.9, "service/"+o.key(), "hosts", host)
		service(a, o.Metadata.Namespace, o.Metadata.Name, "service/"+o.key(), 0.9)
		switch o.Spec.Type {
		case "", "ClusterIP":
			say(a, 0.6, "service/"+o.key(), "exposure.declared", "internal")
		case "LoadBalancer":
			say(a, 0.6, "service/"+o.key(), "exposure.declared", "external")
		}
	}
	for _, o := range s.objects[2] {
		at := "ingress/" + o.key()
		for _, r := range o.Spec.Rules {
			if r.HTTP == nil {
				continue
			}
			for _, p := range r.HTTP.Paths {
				a := sallyport.Asset{Host: strings.ToLower(r.Host), Path: strings.TrimRight(p.Path, "/")}
				if a.Host == "" && a.Path == "" {
					continue
				}
				say(a, 0.9, at, "hosts", a.Host)
				say(a, 0.9, at, "gateways", "ingress/"+cmp.Or(o.Spec.IngressClass, "default"))
				people(o, a, at, say)
				if p.Backend.Service != nil {
					service(a, o.Metadata.Namespace, p.Backend.Service.Name, at, 0.9)
				}
			}
		}
	}
	for i := 3; i <= 4; i++ {
		kind := map[int]string{3: "httproute/", 4: "grpcroute/"}[i]
		for _, o := range s.objects[i] {
			at := kind + o.key()
			hosts := o.Spec.Hostnames
			if len(hosts) == 0 {
				hosts = []string{""}
			}
			for _, h := range hosts {
				for _, r := range o.Spec.Rules {
					paths := []string{}
					for _, m := range r.Matches {
						if m.Path != nil && m.Path.Type != "RegularExpression" {
							paths = append(paths, m.Path.Value)
						}
						var method struct {
							Service string `json:"service"`
							Type    string `json:"type"`
						}
						if i == 4 && json.Unmarshal(m.Method, &method) == nil && method.Service != "" && method.Type != "RegularExpression" {
							paths = append(paths, "/"+method.Service)
						}
					}
					if len(paths) == 0 {
						paths = []string{""}
					}
					for _, p := range paths {
						a := sallyport.Asset{Host: strings.ToLower(h), Path: strings.TrimRight(p, "/")}
						if a.Host == "" && a.Path == "" {
							continue
						}
						say(a, 0.9, at, "hosts", a.Host)
						for _, parent := range o.Spec.ParentRefs {
							say(a, 0.9, at, "gateways", "gateway/"+parent.Name)
						}
						if i == 4 {
							say(a, 0.9, at, "kind", "grpc")
						}
						people(o, a, at, say)
						for _, b := range r.BackendRefs {
							if b.Kind == "" || b.Kind == "Service" {
								service(a, cmp.Or(b.Namespace, o.Metadata.Namespace), b.Name, at, 0.9)
							}
						}
					}
				}
			}
		}
	}
	return out
}

// people says what labels and annotations say of owners; annotations weigh more.
func people(o *object, a sallyport.Asset, at string, say func(sallyport.Asset, float64, string, string, string)) {
	values := map[string]string{}
	for _, from := range []map[string]string{o.Metadata.Labels, o.Metadata.Annotations} {
		for k, v := range from {
			name := k[strings.LastIndexByte(k, '/')+1:]
			if f := owners[strings.ToLower(strings.ReplaceAll(name, "_", "-"))]; f != "" && (values[f] == "" || v < values[f]) {
				values[f] = v
			}
		}
	}
	for f, v := range values {
		say(a, 0.8, at, f, v)
	}
}

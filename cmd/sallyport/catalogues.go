package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev"
	"sallyport.dev/adapter/backstage"
	"sallyport.dev/adapter/caddy"
	"sallyport.dev/adapter/codeowners"
	"sallyport.dev/adapter/consul"
	"sallyport.dev/adapter/dns"
	"sallyport.dev/adapter/docker"
	"sallyport.dev/adapter/gitspecs"
	"sallyport.dev/adapter/haproxy"
	"sallyport.dev/adapter/kubernetes"
	"sallyport.dev/adapter/nginx"
	"sallyport.dev/adapter/traefik"
	"sallyport.dev/console"
	"sallyport.dev/discovery"
	"sallyport.dev/discovery/code"
)

// catalogueConfig is one thing that already knows of APIs.
type catalogueConfig struct {
	Name  string        `yaml:"name" need:"1" doc:"Identity of the catalogue: the source that its claims name."`
	Kind  string        `yaml:"kind" need:"1" enum:"code|codeowners|backstage|specs|nginx|haproxy|traefik|caddy|kubernetes|docker|dns|consul" doc:"What it is."`
	At    string        `yaml:"at" need:"1" doc:"Where it is: a file, a folder, unix:PATH, a URL, or in-cluster, by kind."`
	API   string        `yaml:"api" doc:"The API that all of it is about, where it doesn't say so itself. Needed for code and codeowners."`
	Every time.Duration `yaml:"every" doc:"Between two readings of what can't be watched. Default 5m."`
	Token string        `yaml:"token" doc:"Bearer token for what asks for one: env:NAME or file:PATH."`
	CA    string        `yaml:"ca" doc:"PEM file with the authorities that its certificate is checked against."`
}

// kinds of catalogue, in the order in which help names them. web: at is no path.
var catalogueKinds = []struct {
	name string
	web  bool
	make func(c catalogueConfig, token string) (discovery.Catalogue, error)
}{
	{"code", false, func(c catalogueConfig, _ string) (discovery.Catalogue, error) {
		return &code.Catalogue{ID: c.Name, Dir: c.At, API: c.API, Every: c.Every}, nil
	}},
	{"codeowners", false, func(c catalogueConfig, _ string) (discovery.Catalogue, error) {
		return &codeowners.Catalogue{ID: c.Name, Path: c.At, API: c.API, Every: c.Every}, nil
	}},
	{"backstage", false, func(c catalogueConfig, _ string) (discovery.Catalogue, error) {
		return &backstage.Catalogue{ID: c.Name, Path: c.At, Every: c.Every}, nil
	}},
	{"specs", false, func(c catalogueConfig, _ string) (discovery.Catalogue, error) {
		return &gitspecs.Catalogue{ID: c.Name, Dir: c.At, API: c.API, Every: c.Every}, nil
	}},
	{"nginx", false, func(c catalogueConfig, _ string) (discovery.Catalogue, error) {
		return &nginx.Catalogue{ID: c.Name, File: c.At, Every: c.Every}, nil
	}},
	{"haproxy", false, func(c catalogueConfig, _ string) (discovery.Catalogue, error) {
		return &haproxy.Catalogue{ID: c.Name, At: c.At, API: c.API, Every: c.Every}, nil
	}},
	{"traefik", false, func(c catalogueConfig, token string) (discovery.Catalogue, error) {
		client, err := c.client()
		return &traefik.Catalogue{ID: c.Name, At: c.At, Client: client, Token: token, Every: c.Every}, err
	}},
	{"caddy", false, func(c catalogueConfig, _ string) (discovery.Catalogue, error) {
		client, err := c.client()
		return &caddy.Catalogue{ID: c.Name, At: c.At, Client: client, Every: c.Every}, err
	}},
	{"kubernetes", false, func(c catalogueConfig, token string) (discovery.Catalogue, error) {
		access, err := c.cluster(token)
		return &kubernetes.Catalogue{ID: c.Name, Access: access, Once: c.Every == 0}, err
	}},
	{"docker", true, func(c catalogueConfig, _ string) (discovery.Catalogue, error) {
		return &docker.Catalogue{ID: c.Name, At: c.At, Every: c.Every}, nil
	}},
	{"dns", false, func(c catalogueConfig, _ string) (discovery.Catalogue, error) {
		return &dns.Catalogue{ID: c.Name, At: c.At, Every: c.Every}, nil
	}},
	{"consul", true, func(c catalogueConfig, token string) (discovery.Catalogue, error) {
		client, err := c.client()
		if err == nil {
			client.Timeout = 0 // its queries are held, and bounded by themselves
		}
		return &consul.Catalogue{ID: c.Name, At: c.At, Token: token, Client: client, Once: c.Every == 0}, err
	}},
}

func (k *catalogueConfig) defaults(c *config) {
	if k.Every == 0 {
		k.Every = 5 * time.Minute
	}
	k.CA = c.path(k.CA)
	if path, ok := strings.CutPrefix(k.At, "unix:"); ok {
		k.At = "unix:" + c.path(path)
	} else if k.path() {
		k.At = c.path(k.At)
	}
	if path, ok := strings.CutPrefix(k.Token, "file:"); ok {
		k.Token = "file:" + c.path(path)
	}
}

// path reports whether at is a file or a folder.
func (k *catalogueConfig) path() bool {
	for _, x := range catalogueKinds {
		if x.name == k.Kind {
			return !x.web && k.At != inCluster && !strings.Contains(k.At, "://")
		}
	}
	return false
}

func (c *config) checkCatalogues(bad func(path, format string, args ...any)) {
	names := map[string]bool{}
	for i, k := range c.Catalogues {
		at := fmt.Sprintf("catalogues[%d]", i)
		switch {
		case names[k.Name]:
			bad(at+".name", "%q is the name of another catalogue", k.Name)
		case slices.Contains([]string{"configuration", "person", "traffic", "risk"}, k.Name) || strings.HasPrefix(k.Name, "person:"):
			bad(at+".name", "%q can't be the name of a source", k.Name)
		case len(k.Name) > 200:
			bad(at+".name", "longer than 200 characters")
		}
		names[k.Name] = true
		if (k.Kind == "code" || k.Kind == "codeowners") && k.API == "" {
			bad(at, "api: whose source code it is has to be said")
		}
		if k.Every < time.Second {
			bad(at+".every", "less than a second")
		}
		if k.Token != "" && !strings.HasPrefix(k.Token, "env:") && !strings.HasPrefix(k.Token, "file:") {
			bad(at+".token", "write env:NAME or file:PATH")
		}
	}
}

// client is how what answers over HTTP is asked: redirects are not followed,
// so that a token stays where it belongs.
func (k catalogueConfig) client() (*http.Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	if k.CA != "" {
		pem, err := os.ReadFile(k.CA)
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", k.CA)
		}
	}
	return &http.Client{Transport: t, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// cluster is how a cluster is reached: at is "in-cluster", a URL or a kubeconfig.
func (k catalogueConfig) cluster(token string) (kubernetes.Access, error) {
	switch {
	case k.At == inCluster:
		return kubernetes.InCluster()
	case !strings.Contains(k.At, "://"):
		return kubernetes.Kubeconfig(k.At)
	}
	var pem []byte
	if k.CA != "" {
		var err error
		if pem, err = os.ReadFile(k.CA); err != nil {
			return kubernetes.Access{}, err
		}
	}
	client, err := kubernetes.Client(pem, nil, "", false)
	return kubernetes.Access{Server: k.At, Client: client, Token: func() (string, error) { return token, nil }}, err
}

const inCluster = "in-cluster"

// open makes the catalogue.
func (k catalogueConfig) open(secret func(string) (string, error)) (discovery.Catalogue, error) {
	token := ""
	if k.Token != "" {
		var err error
		if token, err = secret(k.Token); err != nil {
			return nil, err
		}
		token = strings.TrimSpace(token)
	}
	for _, x := range catalogueKinds {
		if x.name == k.Kind {
			return x.make(k, token)
		}
	}
	return nil, fmt.Errorf("no catalogue is of kind %q", k.Kind)
}

// catalogues runs those of the configuration in force.
type catalogues struct {
	mu      sync.Mutex
	wanted  *config
	changed chan struct{}
	running map[string]*running
}

// A running catalogue, and what it said.
type running struct {
	cfg     catalogueConfig
	end     context.CancelFunc
	ended   chan struct{}
	mu      sync.Mutex
	view    console.Catalogue
	stands  map[sallyport.Claim]sallyport.Claim
	pending bool
}

// follow takes over the catalogues of a configuration.
func (c *catalogues) follow(cfg *config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = cfg
	if c.changed == nil {
		c.changed = make(chan struct{}, 1)
	}
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

func (c *catalogues) run(ctx context.Context, e *engine) error {
	defer func() {
		for _, r := range c.list() {
			r.end()
			<-r.ended
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.changed:
		}
		c.mu.Lock()
		cfg := c.wanted
		c.mu.Unlock()
		for _, r := range c.list() {
			if !slices.Contains(cfg.Catalogues, r.cfg) {
				r.end()
				<-r.ended
				r.withdraw(ctx, e)
				c.mu.Lock()
				delete(c.running, r.cfg.Name)
				c.mu.Unlock()
			}
		}
		for _, k := range cfg.Catalogues {
			c.mu.Lock()
			if c.running == nil {
				c.running = map[string]*running{}
			}
			if c.running[k.Name] == nil {
				r := &running{cfg: k, ended: make(chan struct{}), stands: map[sallyport.Claim]sallyport.Claim{}}
				r.view = console.Catalogue{Name: k.Name, Kind: k.Kind, At: k.At, API: k.API, State: "waiting", Since: time.Now().UTC()}
				var own context.Context
				own, r.end = context.WithCancel(ctx)
				c.running[k.Name] = r
				go r.run(own, e, cfg)
			}
			c.mu.Unlock()
		}
	}
}

func (c *catalogues) list() []*running {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.SortedFunc(maps.Values(c.running), func(a, b *running) int { return cmp.Compare(a.cfg.Name, b.cfg.Name) })
}

// run watches until ctx ends. What fails is tried again, ever more seldom; what
// was said stands meanwhile.
func (r *running) run(ctx context.Context, e *engine, cfg *config) {
	defer close(r.ended)
	wait := 5 * time.Second
	var source discovery.Catalogue
	for {
		var err error
		if source == nil {
			source, err = r.cfg.open(cfg.secret)
		}
		before := time.Now()
		if err == nil {
			r.state("waiting", "")
			err = source.Watch(ctx, func(claims []sallyport.Claim) error { return r.take(ctx, e, claims) })
		}
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			r.state("done", "")
			return
		}
		r.state("failed", err.Error())
		e.log.Warn("catalogue", "name", r.cfg.Name, "error", err)
		if time.Since(before) > time.Minute {
			wait = 5 * time.Second
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, 5*time.Minute)
	}
}

func (r *running) state(s, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s == "waiting" && r.view.State == "failed" {
		return // until it has said something
	}
	r.view.State, r.view.Since, r.view.Error = s, time.Now().UTC(), bounded(why, 2000)
}

func bounded(s string, n int) string { return strings.ToValidUTF8(s[:min(n, len(s))], "") }

// take hands claims to the inventory. What it won't have is counted, and is no
// reason to stop.
func (r *running) take(ctx context.Context, e *engine, claims []sallyport.Claim) error {
	err := e.inventory.Claim(ctx, claims)
	refused, why := 0, ""
	if err != nil {
		if k := sallyport.KindOf(err); k != sallyport.Invalid && k != sallyport.Limited && k != sallyport.Conflict && k != sallyport.NotFound {
			return err
		}
		refused, why = refusals(err), err.Error()
	}
	now := time.Now().UTC()
	r.mu.Lock()
	defer r.mu.Unlock()
	fields := map[string]bool{}
	for _, f := range r.view.Fields {
		fields[f] = true
	}
	for _, c := range claims {
		k := sallyport.Claim{Asset: c.Asset, Field: c.Field, Value: c.Value}
		if c.Withdrawn {
			delete(r.stands, k)
		} else {
			r.stands[k] = c
			fields[c.Field] = true
		}
	}
	r.view.State, r.view.Error = "watching", bounded(why, 2000)
	r.view.Claims, r.view.Changes, r.view.Refused, r.view.Last = len(r.stands), r.view.Changes+int64(len(claims)), r.view.Refused+int64(refused), &now
	r.view.Fields = slices.Sorted(maps.Keys(fields))
	return nil
}

// refusals is how many claims an error of the inventory speaks of, at least.
func refusals(err error) int {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return len(many.Unwrap())
	}
	return 1
}

// withdraw takes everything back, since nobody says it any more.
func (r *running) withdraw(ctx context.Context, e *engine) {
	var gone []sallyport.Claim
	for _, c := range r.stands {
		c.Withdrawn, c.Time = true, time.Now()
		gone = append(gone, c)
	}
	if len(gone) == 0 {
		return
	}
	if err := e.inventory.Claim(ctx, gone); err != nil {
		e.log.Warn("withdraw the claims of a catalogue that is gone", "name", r.cfg.Name, "error", err)
	}
}

// Catalogues tells the console how they do.
func (e *engine) Catalogues() []console.Catalogue {
	var out []console.Catalogue
	for _, r := range e.catalogue.list() {
		r.mu.Lock()
		v := r.view
		v.Fields = slices.Clone(v.Fields)
		r.mu.Unlock()
		out = append(out, v)
	}
	return out
}

var _ console.CatalogueKeeper = (*engine)(nil)

var (
	catalogueClaims  = prometheus.NewDesc("sallyport_catalogue_claims", "Claims of a catalogue that stand.", []string{"catalogue", "kind"}, nil)
	catalogueChanges = prometheus.NewDesc("sallyport_catalogue_changes_total", "Claims that a catalogue made or withdrew.", []string{"catalogue", "kind"}, nil)
	catalogueRefused = prometheus.NewDesc("sallyport_catalogue_refused_total", "Claims that the inventory did not take.", []string{"catalogue", "kind"}, nil)
	catalogueFailed  = prometheus.NewDesc("sallyport_catalogue_failed", "1 while a catalogue can't be read.", []string{"catalogue", "kind"}, nil)
)

// Describe and Collect make catalogues a prometheus.Collector.
func (c *catalogues) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{catalogueClaims, catalogueChanges, catalogueRefused, catalogueFailed} {
		out <- d
	}
}

func (c *catalogues) Collect(out chan<- prometheus.Metric) {
	for _, r := range c.list() {
		r.mu.Lock()
		v := r.view
		r.mu.Unlock()
		failed := 0.0
		if v.State == "failed" {
			failed = 1
		}
		out <- prometheus.MustNewConstMetric(catalogueClaims, prometheus.GaugeValue, float64(v.Claims), v.Name, v.Kind)
		out <- prometheus.MustNewConstMetric(catalogueChanges, prometheus.CounterValue, float64(v.Changes), v.Name, v.Kind)
		out <- prometheus.MustNewConstMetric(catalogueRefused, prometheus.CounterValue, float64(v.Refused), v.Name, v.Kind)
		out <- prometheus.MustNewConstMetric(catalogueFailed, prometheus.GaugeValue, failed, v.Name, v.Kind)
	}
}

type catalogueCmd struct {
	At    []string `arg:"" help:"Files, folders, sockets (unix:PATH) or URLs."`
	Kind  string   `help:"What they are, where it can't be told by looking: code, codeowners, backstage, specs, nginx, haproxy, traefik, caddy, kubernetes, docker, dns, consul."`
	API   string   `name:"api" help:"The API that all of it is about."`
	Token string   `help:"Bearer token: env:NAME or file:PATH."`
	CA    string   `name:"ca" help:"PEM file with the authorities to check certificates against."`
	JSON  bool     `help:"Print one JSON object a claim."`
}

// Run reads each catalogue once and prints what it would claim.
func (c catalogueCmd) Run(ctx context.Context, s streams) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	var failed []error
	total := 0
	e := json.NewEncoder(s.out)
	e.SetEscapeHTML(false)
	for _, at := range c.At {
		kinds := []string{c.Kind}
		if c.Kind == "" {
			if kinds = kindsOf(at); len(kinds) == 0 {
				failed = append(failed, fmt.Errorf("%s: what it is can't be told by looking; say --kind", at))
				continue
			}
		}
		for _, kind := range kinds {
			k := catalogueConfig{Name: kind + ":" + at, Kind: kind, At: at, API: c.API, Token: c.Token, CA: c.CA}
			source, err := k.open((&config{}).secret)
			if err == nil {
				err = source.Watch(ctx, func(claims []sallyport.Claim) error {
					for _, x := range claims {
						total++
						if c.JSON {
							if err := e.Encode(x); err != nil {
								return err
							}
							continue
						}
						if _, err := fmt.Fprintf(s.out, "%s  %s = %s  (%.2f, %s)\n", assetText(x.Asset), x.Field, visible(x.Value), x.Confidence, visible(x.Evidence)); err != nil {
							return err
						}
					}
					return nil
				})
			}
			if err != nil {
				failed = append(failed, fmt.Errorf("%s %s: %w", kind, at, err))
			}
		}
	}
	if !c.JSON {
		fmt.Fprintf(s.out, "%d claims\n", total)
	}
	return errors.Join(failed...)
}

// visible makes text of others safe for a terminal.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

func assetText(a sallyport.Asset) string {
	var parts []string
	for _, p := range []string{a.API, a.Host + a.Path, a.Address, strings.TrimSpace(a.Method + " " + a.Template)} {
		if p != "" {
			parts = append(parts, visible(p))
		}
	}
	return cmp.Or(strings.Join(parts, " "), "-")
}

// kindsOf says which catalogues are to be had at a path.
func kindsOf(at string) []string {
	info, err := os.Stat(strings.TrimPrefix(at, "unix:"))
	if err != nil {
		return nil
	}
	if info.IsDir() {
		kinds := []string{"code", "specs", "backstage"}
		for _, place := range []string{".github/CODEOWNERS", "CODEOWNERS", ".gitlab/CODEOWNERS", "docs/CODEOWNERS"} {
			if _, err := os.Stat(filepath.Join(at, place)); err == nil {
				return append(kinds, "codeowners")
			}
		}
		return kinds
	}
	switch base := filepath.Base(at); base {
	case "CODEOWNERS":
		return []string{"codeowners"}
	case "catalog-info.yaml", "catalog-info.yml":
		return []string{"backstage"}
	case "Caddyfile":
		return []string{"caddy"}
	case "haproxy.cfg":
		return []string{"haproxy"}
	}
	switch strings.ToLower(filepath.Ext(at)) {
	case ".kubeconfig":
		return []string{"kubernetes"}
	case ".go", ".java", ".kt", ".js", ".ts", ".mjs", ".py", ".cs", ".tsx", ".jsx":
		return []string{"code"}
	case ".conf":
		return []string{"nginx"}
	case ".sock":
		if filepath.Base(at) == "docker.sock" {
			return []string{"docker"}
		}
		return []string{"haproxy"}
	case ".zone":
		return []string{"dns"}
	}
	return nil
}

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev"
	"sallyport.dev/adapter/accesslog"
	"sallyport.dev/adapter/otlp"
	"sallyport.dev/adapter/pcap"
	"sallyport.dev/adapter/push"
	"sallyport.dev/adapter/syslog"
	"sallyport.dev/console/api"
	"sallyport.dev/observe"
	"sallyport.dev/spec"
)

// sourceConfig is one place where other doors write down what they let through.
type sourceConfig struct {
	File    string `yaml:"file" doc:"Access log that is read on and on, over rotations; * and ? stand for several."`
	Syslog  string `yaml:"syslog" doc:"Where access logs come as messages of RFC 5424 or 3164: udp://host:port, tcp://host:port or tls://host:port."`
	Push    string `yaml:"push" doc:"host:port that takes exchanges as lines of JSON at POST /v1/exchanges."`
	Mirror  string `yaml:"mirror" doc:"host:port that takes copies of requests, as nginx and Traefik mirror them."`
	OTLP    string `yaml:"otlp" doc:"Where traces and logs come by OpenTelemetry's protocol: http://host:port or grpc://host:port; with cert and key https:// or grpcs://."`
	Capture struct {
		Interface string `yaml:"interface" doc:"Interface of Linux, such as eth0; a mirror port, or the end of VXLAN or GENEVE. Takes CAP_NET_RAW."`
		Ports     []int  `yaml:"ports" doc:"Of the servers; default 80, 8000 and 8080."`
	} `yaml:"capture" doc:"HTTP/1 in plain text, read off the wire."`
	Token  string `yaml:"token" doc:"What senders of push, mirror and otlp prove themselves by, env:NAME or file:PATH. Needed beyond loopback."`
	Cert   string `yaml:"cert" doc:"PEM file with the certificate of a tls:// syslog, an https:// or grpcs:// otlp."`
	Key    string `yaml:"key" doc:"PEM file with its private key."`
	Format string `yaml:"format" doc:"Of the lines: a name (sallyport import --formats lists them) or the format string of nginx, Apache, HAProxy or Envoy. Default found by looking."`
	Zone   string `yaml:"zone" doc:"Time zone of lines whose times have none, such as Europe/Berlin. Default UTC."`
	Host   string `yaml:"host" doc:"Host of lines that name none."`
	TLS    bool   `yaml:"tls" doc:"The door speaks TLS, where lines do not say."`
	Once   bool   `yaml:"once" doc:"Read to the end and no further."`
}

func (s *sourceConfig) kind() string {
	for _, k := range s.kinds() {
		return k
	}
	return ""
}

func (s *sourceConfig) kinds() []string {
	var out []string
	for _, k := range []struct {
		name string
		set  bool
	}{{"file", s.File != ""}, {"syslog", s.Syslog != ""}, {"push", s.Push != ""}, {"mirror", s.Mirror != ""}, {"otlp", s.OTLP != ""}, {"capture", s.Capture.Interface != ""}} {
		if k.set {
			out = append(out, k.name)
		}
	}
	return out
}

func (c *config) checkSources(bad func(string, string, ...any)) {
	for i := range c.Sources {
		s, path := &c.Sources[i], fmt.Sprintf("sources[%d]", i)
		switch kinds := s.kinds(); {
		case len(kinds) == 0:
			bad(path, "what is it read from? give file, syslog, push, mirror, otlp or capture")
		case len(kinds) > 1:
			bad(path, "%s in one source: make two of it", strings.Join(kinds, " and "))
		}
		if _, err := s.zone(); err != nil {
			bad(path+".zone", "%q is no time zone, such as Europe/Berlin", s.Zone)
		}
		if s.Format != "" {
			if _, err := accesslog.Compile(s.Format, nil); err != nil {
				bad(path+".format", "%v", err)
			}
		}
		if s.Syslog != "" {
			network, addr, _ := strings.Cut(s.Syslog, "://")
			if _, _, err := net.SplitHostPort(addr); err != nil || !slices.Contains([]string{"udp", "tcp", "tls"}, network) {
				bad(path+".syslog", "%q: want udp://, tcp:// or tls:// and host:port", s.Syslog)
			}
			if (network == "tls") != (s.Cert != "" && s.Key != "") {
				bad(path+".syslog", "cert and key go with tls://, and only with it")
			}
		}
		listeners := map[string]string{"push": s.Push, "mirror": s.Mirror}
		if s.OTLP != "" {
			scheme, addr, _ := strings.Cut(s.OTLP, "://")
			if listeners["otlp"] = addr; !slices.Contains([]string{"http", "grpc", "https", "grpcs"}, scheme) {
				bad(path+".otlp", "%q: want http://, grpc://, https:// or grpcs:// and host:port", s.OTLP)
			}
			if (scheme == "https" || scheme == "grpcs") != (s.Cert != "" && s.Key != "") {
				bad(path+".otlp", "cert and key go with https:// and grpcs://, and only with them")
			}
		}
		for key, addr := range listeners {
			if addr == "" {
				continue
			}
			host, _, err := net.SplitHostPort(addr)
			switch {
			case err != nil:
				bad(path+"."+key, "%q is not host:port", addr)
			case !loopback(host) && s.Token == "":
				bad(path+"."+key, "%q can be reached from elsewhere: give token: env:NAME or file:PATH", addr)
			}
		}
		if s.Token != "" && !strings.HasPrefix(s.Token, "env:") && !strings.HasPrefix(s.Token, "file:") {
			bad(path+".token", "write env:NAME or file:PATH: a secret does not stand here")
		}
		for _, n := range s.Capture.Ports {
			if n < 1 || n > 65535 {
				bad(path+".capture.ports", "%d is no port", n)
			}
		}
		if s.File != "" {
			if _, err := filepath.Match(s.File, ""); err != nil {
				bad(path+".file", "%q: %v", s.File, err)
			}
		}
	}
	if len(c.Sources) > 0 && !c.has(roleControl) {
		bad("sources", "are read by a process with the role control")
	}
}

func (s *sourceConfig) zone() (*time.Location, error) {
	if s.Zone == "" {
		return time.UTC, nil
	}
	return time.LoadLocation(s.Zone)
}

func (s *sourceConfig) format() *accesslog.Format {
	if s.Format == "" {
		return nil
	}
	zone, _ := s.zone()
	f, _ := accesslog.Compile(s.Format, zone) // checked with the configuration
	return f
}

// placer names the API and the operation of exchanges that other doors let
// through, by the configuration in force, and redacts them by its rules.
type placer struct {
	redactor *observe.Redactor
	now      atomic.Pointer[placing]

	mu       sync.Mutex
	proposed map[string]string // host → API that is proposed for it
}

type placing struct {
	c    *compiled
	sets map[string]*spec.Set
}

// maxProposed bounds the APIs that hosts of strangers can make.
const maxProposed = 1000

func newPlacer(cfg *config, c *compiled) (*placer, error) {
	r, err := observe.NewRedactor(observe.RedactOptions{KeepHeaders: cfg.Redact.KeepHeaders, SecretHeaders: cfg.Redact.Headers, SecretNames: cfg.Redact.Parameters})
	if err != nil {
		return nil, err
	}
	p := &placer{redactor: r, proposed: map[string]string{}}
	p.take(c)
	return p, nil
}

// take puts another configuration in force.
func (p *placer) take(c *compiled) {
	next := &placing{c: c, sets: map[string]*spec.Set{}}
	for _, a := range c.apis {
		next.sets[a.Name] = a.Spec
	}
	p.now.Store(next)
}

// enter is the observe.Entry of every source. Callers are counted by what the
// other door says of them, which proves nothing: a name is kept, and no kind.
func (p *placer) enter(x *sallyport.Exchange) {
	now := p.now.Load()
	if x.API = now.c.program.Serves(x.Host, x.Path); x.API == "" {
		x.API = p.propose(x.Host)
	} else if set := now.sets[x.API]; set != nil {
		var m spec.Match
		if set.Match(x.Method, x.Path, &m) == spec.Found && m.Op != nil {
			x.Template, x.Declared = m.Op.Template, true
		}
	}
	p.redactor.Redact(x)
}

// propose names the API that a host without one may be: the host itself.
func (p *placer) propose(host string) string {
	if host == "" {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if name, ok := p.proposed[host]; ok {
		return name
	}
	name := hostName(host)
	if len(p.proposed) >= maxProposed {
		return ""
	}
	p.proposed[strings.Clone(host)] = name
	return name
}

// hostName is a host without its port, in small letters; "" when it is none.
func hostName(s string) string {
	s = strings.ToLower(s)
	if strings.HasPrefix(s, "[") {
		s, _, _ = strings.Cut(s[1:], "]")
	} else if strings.Count(s, ":") == 1 {
		s, _, _ = strings.Cut(s, ":")
	}
	s = strings.TrimSuffix(s, ".")
	if len(s) == 0 || len(s) > 253 || strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_' && r != ':'
	}) {
		return ""
	}
	return s
}

// readingSource is a source with what is known of it.
type readingSource struct {
	observe.Source
	kind string
}

// sourceBook runs the sources of the configuration in force.
type sourceBook struct {
	e      *engine
	placer *placer
	intake *observe.Intake

	mu   sync.Mutex
	list []*readingSource
	conf []sourceConfig
	end  context.CancelFunc
	wg   sync.WaitGroup
	ctx  context.Context
}

func (e *engine) openSources(first *compiled) error {
	p, err := newPlacer(e.cfg, first)
	if err != nil {
		return err
	}
	e.sources = &sourceBook{e: e, placer: p, intake: &observe.Intake{Stream: e.store.Stream(), Dir: filepath.Join(e.cfg.Data, "sources"), Logger: e.log}}
	return nil
}

// Run reads until ctx ends; nothing of a source stops the rest of the process.
func (b *sourceBook) Run(ctx context.Context) error {
	b.mu.Lock()
	b.ctx = ctx
	b.mu.Unlock()
	b.configure(b.e.cfg)
	<-ctx.Done()
	b.mu.Lock()
	if b.end != nil {
		b.end()
	}
	b.mu.Unlock()
	b.wg.Wait()
	return nil
}

// configure ends the sources of the old configuration, when they changed, and
// starts those of the new one.
func (b *sourceBook) configure(c *config) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx == nil || b.conf != nil && reflect.DeepEqual(b.conf, c.Sources) {
		return
	}
	if b.end != nil {
		b.end()
		b.wg.Wait()
	}
	ctx, end := context.WithCancel(b.ctx)
	b.end, b.conf, b.list = end, slices.Clone(c.Sources), nil
	if b.conf == nil {
		b.conf = []sourceConfig{}
	}
	for i := range b.conf {
		s := &b.conf[i]
		if s.File != "" && strings.ContainsAny(s.File, "*?[") {
			b.wg.Go(func() { b.watchFiles(ctx, c, s) })
			continue
		}
		if s.File != "" {
			b.start(ctx, &readingSource{b.file(c.path(s.File), s), "file"})
			continue
		}
		source, err := c.source(s, b.placer.enter)
		if err != nil {
			b.e.log.Error("a source cannot be opened", "source", i, "error", err)
			continue
		}
		b.start(ctx, &readingSource{source, s.kind()})
	}
}

func (b *sourceBook) file(path string, s *sourceConfig) *accesslog.File {
	zone, _ := s.zone()
	return &accesslog.File{Path: path, Format: s.format(), Zone: zone, Host: s.Host, TLS: s.TLS, Follow: !s.Once, Entry: b.placer.enter}
}

// source opens what is no file.
func (c *config) source(s *sourceConfig, entry observe.Entry) (observe.Source, error) {
	token, err := c.secret(s.Token)
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	if s.Token != "" && token == "" {
		return nil, errors.New("token: it is empty")
	}
	switch {
	case s.Syslog != "":
		zone, _ := s.zone()
		guess := &accesslog.Guess{Format: s.format(), Zone: zone}
		network, addr, _ := strings.Cut(s.Syslog, "://")
		out := &syslog.Server{Network: network, Address: addr, Parse: guess.Parse, Format: guess.Name, Host: s.Host, Entry: entry}
		if network == "tls" {
			if out.TLS, err = c.speaksTLS(s); err != nil {
				return nil, err
			}
		}
		return out, nil
	case s.Capture.Interface != "":
		ports := s.Capture.Ports
		if len(ports) == 0 {
			ports = []int{80, 8000, 8080}
		}
		return &pcap.Live{Interface: s.Capture.Interface, Ports: ports, Entry: entry}, nil
	case s.OTLP != "":
		network, addr, _ := strings.Cut(s.OTLP, "://")
		out := &otlp.Server{Network: strings.TrimSuffix(network, "s"), Address: addr, Token: token, Decoder: s.otlp(), Entry: entry}
		if s.Cert != "" {
			if out.TLS, err = c.speaksTLS(s); err != nil {
				return nil, err
			}
		}
		return out, nil
	case s.Push != "":
		return &push.Server{Address: s.Push, Token: token, Entry: entry}, nil
	case s.Mirror != "":
		return &push.Server{Address: s.Mirror, Token: token, Mirror: true, Entry: entry}, nil
	}
	return nil, errors.New("it says nothing to read from")
}

// otlp decodes export requests, with lines of access logs in them.
func (s *sourceConfig) otlp() otlp.Decoder {
	zone, _ := s.zone()
	guess := &accesslog.Guess{Format: s.format(), Zone: zone}
	return otlp.Decoder{Parse: guess.Parse, Host: s.Host}
}

func (c *config) speaksTLS(s *sourceConfig) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.path(s.Cert), c.path(s.Key))
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// start runs one source, and when it fails tries again, ever more seldom; b.mu
// is held.
func (b *sourceBook) start(ctx context.Context, r *readingSource) {
	b.list = append(b.list, r)
	b.wg.Go(func() {
		for pause := time.Second; ; pause = min(2*pause, time.Minute) {
			began := time.Now()
			err := b.intake.Run(ctx, r.Source)
			if err == nil || ctx.Err() != nil {
				return
			}
			b.e.log.Error("a source failed, it is tried again", "source", r.Name(), "error", err, "pause", pause)
			if time.Since(began) > time.Minute {
				pause = time.Second
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
		}
	})
}

// watchFiles starts a source for each file that a pattern stands for, also for
// those that come later.
func (b *sourceBook) watchFiles(ctx context.Context, c *config, s *sourceConfig) {
	known := map[string]bool{}
	for {
		names, _ := filepath.Glob(c.path(s.File))
		for _, name := range names {
			info, err := os.Stat(name)
			if known[name] || err != nil || !info.Mode().IsRegular() || len(known) >= 500 {
				continue
			}
			known[name] = true
			b.mu.Lock()
			if ctx.Err() == nil {
				b.start(ctx, &readingSource{b.file(name, s), "file"})
			}
			b.mu.Unlock()
		}
		select {
		case <-time.After(5 * time.Second):
		case <-ctx.Done():
			return
		}
	}
}

// Sources says how they do, for the console.
func (e *engine) Sources() []api.Source {
	if e.sources == nil {
		return nil
	}
	e.sources.mu.Lock()
	list := slices.Clone(e.sources.list)
	e.sources.mu.Unlock()
	var out []api.Source
	for _, r := range list {
		h := r.Health()
		x := api.Source{Name: r.Name(), Kind: r.kind, State: h.State, Format: h.Format, Read: h.Read, Emitted: h.Emitted, Bad: h.Bad, FirstBad: h.FirstBad,
			Lost: h.Lost, Lag: h.Lag.Seconds(), Error: h.Error, Notice: h.Notice}
		if !h.SinceWhen.IsZero() {
			x.Since = &h.SinceWhen
		}
		if !h.Last.IsZero() {
			x.Last = &h.Last
		}
		out = append(out, x)
	}
	return out
}

// sourceMetrics are the counters of each source.
type sourceMetrics struct{ e *engine }

var sourceDescs = []*prometheus.Desc{
	prometheus.NewDesc("sallyport_source_read_total", "Lines, packets or records that came from a source.", []string{"source"}, nil),
	prometheus.NewDesc("sallyport_source_exchanges_total", "Exchanges made of them.", []string{"source"}, nil),
	prometheus.NewDesc("sallyport_source_bad_total", "Of them that could not be read.", []string{"source"}, nil),
	prometheus.NewDesc("sallyport_source_lost_total", "Known to be missing from a source.", []string{"source"}, nil),
	prometheus.NewDesc("sallyport_source_lag_seconds", "How far reading is behind.", []string{"source"}, nil),
	prometheus.NewDesc("sallyport_source_up", "1 while a source is read or waited for, 0 when it failed.", []string{"source"}, nil),
}

func (m sourceMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range sourceDescs {
		out <- d
	}
}

func (m sourceMetrics) Collect(out chan<- prometheus.Metric) {
	for _, s := range m.e.Sources() {
		up := 1.0
		if s.State == "failed" {
			up = 0
		}
		for i, v := range []float64{float64(s.Read), float64(s.Emitted), float64(s.Bad), float64(s.Lost), s.Lag, up} {
			kind := prometheus.CounterValue
			if i > 3 {
				kind = prometheus.GaugeValue
			}
			out <- prometheus.MustNewConstMetric(sourceDescs[i], kind, v, s.Name)
		}
	}
}

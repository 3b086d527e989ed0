package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev"
	"sallyport.dev/console/api"
	"sallyport.dev/discovery/probe"
)

// scanConfig is a scan that is made again and again.
type scanConfig struct {
	Name         string        `yaml:"name" need:"1" doc:"What the scan is called."`
	Targets      stringList    `yaml:"targets" need:"1" doc:"Host, *.domain, address, range or URL."`
	Exclude      stringList    `yaml:"exclude" doc:"The same forms; never asked."`
	Consent      bool          `yaml:"consent" doc:"You may scan these targets: needed outside of loopback and private ranges."`
	Every        time.Duration `yaml:"every" doc:"Between two scans. Default 24h."`
	Ports        []int         `yaml:"ports" doc:"Default some sixty that APIs use."`
	Rate         int           `yaml:"rate" doc:"Most connections and requests a second, all hosts together. Default 50."`
	Budget       int           `yaml:"budget" doc:"Most requests to one address. Default 4000."`
	HostTime     time.Duration `yaml:"host_time" doc:"Longest time for one address. Default 10m."`
	IgnoreRobots bool          `yaml:"ignore_robots" doc:"Ask what robots.txt disallows too. Opt-outs are honoured all the same."`
	Words        stringList    `yaml:"words" doc:"Files with a path a line to try besides the built-in list."`
	Ranges       stringList    `yaml:"ranges" doc:"Files with address ranges of hosting providers, as they publish them."`
	Contact      string        `yaml:"contact" doc:"Who scans, said in User-Agent."`
}

func (k *scanConfig) defaults(c *config) {
	if k.Every == 0 {
		k.Every = 24 * time.Hour
	}
	if k.Rate == 0 {
		k.Rate = 50
	}
	for i := range k.Words {
		k.Words[i] = c.path(k.Words[i])
	}
	for i := range k.Ranges {
		k.Ranges[i] = c.path(k.Ranges[i])
	}
}

func (c *config) checkScans(bad func(path, format string, args ...any)) {
	seen := map[string]bool{}
	for i, k := range c.Discover {
		path := fmt.Sprintf("discover[%d]", i)
		if k.Name == "" {
			bad(path, "a scan needs a name")
		}
		if seen[k.Name] {
			bad(path+".name", "two scans are called %q", k.Name)
		}
		seen[k.Name] = true
		if len(k.Targets) == 0 {
			bad(path, "a scan needs targets")
		}
		if k.Every < time.Minute {
			bad(path+".every", "want a minute or more, found %s", k.Every)
		}
		if k.Rate < 0 || k.Budget < 0 || k.HostTime < 0 {
			bad(path, "rate, budget and host_time cannot be negative")
		}
		for _, t := range slices.Concat(k.Targets, k.Exclude) {
			if err := probe.CheckTarget(t); err != nil {
				bad(path+".targets", "%v", err)
			}
		}
		for _, f := range slices.Concat(k.Words, k.Ranges) {
			if _, err := os.Stat(f); err != nil {
				bad(path, "%v", err)
			}
		}
	}
}

func (k scanConfig) plan(dir string) probe.Plan {
	p := probe.Plan{Targets: k.Targets, Exclude: k.Exclude, Consent: k.Consent, Ports: k.Ports, Rate: float64(k.Rate), Budget: k.Budget, HostTime: k.HostTime, IgnoreRobots: k.IgnoreRobots, Words: k.Words, Ranges: k.Ranges, Contact: k.Contact}
	if k.Name != "" && dir != "" {
		p.State = filepath.Join(dir, "scan-"+hex.EncodeToString([]byte(k.Name))+".state")
	}
	return p
}

// last is the file whose time is that of the scan made last.
func (k scanConfig) last(dir string) string {
	return filepath.Join(dir, "scan-"+hex.EncodeToString([]byte(k.Name))+".last")
}

// keptScans are the newest, with their reports, in memory.
const keptScans = 20

// scans makes the scans of the configuration, and those asked for by hand, one
// at a time. What they find goes to the inventory.
type scans struct {
	ctx context.Context // ends them

	mu     sync.Mutex // guards what follows
	wanted []scanConfig
	due    map[string]time.Time
	list   []*scanning // newest first
	wake   chan struct{}
}

type scanning struct {
	view   api.Scan
	cfg    scanConfig
	report []byte
	cancel context.CancelFunc
	gone   bool // cancelled before it began
}

// follow takes a configuration over; what runs goes on.
func (s *scans) follow(c *config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	due := map[string]time.Time{}
	for _, k := range c.Discover {
		i := slices.IndexFunc(s.wanted, func(o scanConfig) bool { return reflect.DeepEqual(o, k) })
		if t, ok := s.due[k.Name]; ok && i >= 0 {
			due[k.Name] = t
		} else {
			due[k.Name] = time.Now().Add(2 * time.Second)
			if info, err := os.Stat(k.last(c.Data)); err == nil && i < 0 && s.due == nil { // begun by an earlier process
				due[k.Name] = info.ModTime().Add(k.Every)
			}
		}
	}
	s.wanted, s.due = slices.Clone(c.Discover), due
	s.nudge()
}

// nudge is called with mu held.
func (s *scans) nudge() {
	if s.wake == nil {
		s.wake = make(chan struct{}, 1)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run makes scans until ctx ends.
func (s *scans) run(ctx context.Context, e *engine) error {
	s.mu.Lock()
	s.ctx = ctx
	s.nudge()
	wake := s.wake
	s.mu.Unlock()
	for {
		next, wait := s.next()
		if next != nil {
			s.one(ctx, e, next)
			continue
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// next gives the oldest scan that waits, or one that is due, or how long to wait.
func (s *scans) next() (*scanning, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range slices.Backward(s.list) {
		if x.view.State == "running" && x.cancel == nil && !x.gone {
			return x, 0
		}
	}
	wait := time.Hour
	for _, k := range s.wanted {
		if d := time.Until(s.due[k.Name]); d <= 0 {
			s.due[k.Name] = time.Now().Add(k.Every)
			return s.add(k, "it was due"), 0
		} else if d < wait {
			wait = d
		}
	}
	return nil, wait
}

// add is called with mu held.
func (s *scans) add(k scanConfig, why string) *scanning {
	var b [8]byte
	_, _ = rand.Read(b[:])
	x := &scanning{cfg: k, view: api.Scan{ID: "s" + hex.EncodeToString(b[:]), Name: k.Name, State: "running", Why: why, Targets: k.Targets, Began: time.Now().UTC()}}
	s.list = append([]*scanning{x}, s.list...)
	if len(s.list) > keptScans {
		s.list = s.list[:keptScans]
	}
	return x
}

func (s *scans) one(ctx context.Context, e *engine, x *scanning) {
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	x.cancel = cancel
	s.mu.Unlock()
	p := x.cfg.plan(e.cfg.Data)
	p.Begin = func(st probe.Stated) error {
		e.log.Info("scan begins", "scan", x.view.ID, "name", x.cfg.Name, "targets", strings.Join(st.Targets, ", "), "addresses", st.Addresses, "rate", st.Rate)
		return nil
	}
	p.Progress = func(g probe.Progress) {
		s.mu.Lock()
		defer s.mu.Unlock()
		v := &x.view
		v.Hosts, v.Done, v.Open, v.Requests, v.APIs, v.Findings = g.Hosts, g.Done, g.Open, g.Requests, g.APIs, g.Findings
	}
	r, err := probe.Run(own, p)
	var report []byte
	if r != nil {
		report, _ = json.Marshal(r)
		// What was found stays found, also when the scan was ended.
		err = errors.Join(err, e.takeIn(context.WithoutCancel(ctx), r))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now().UTC()
	x.view.Ended, x.report = &now, report
	switch {
	case err != nil:
		x.view.State, x.view.Why = "failed", err.Error()
		e.log.Error("scan failed", "scan", x.view.ID, "name", x.cfg.Name, "err", err)
	case r.Partial:
		x.view.State = "cancelled"
	default:
		x.view.State = "done"
		if x.cfg.Name != "" {
			_ = os.WriteFile(x.cfg.last(e.cfg.Data), nil, 0o600) // without it, the next start scans at once
		}
		x.view.APIs, x.view.Findings, x.view.Requests = len(r.APIs), len(r.Findings), r.Requests
		e.log.Info("scan done", "scan", x.view.ID, "name", x.cfg.Name, "apis", len(r.APIs), "findings", len(r.Findings), "requests", r.Requests)
	}
}

// takeIn hands what a scan says to the inventory.
func (e *engine) takeIn(ctx context.Context, r *probe.Report) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var errs []error
	for part := range slices.Chunk(r.Claims, 500) {
		errs = append(errs, e.inventory.Claim(ctx, part))
	}
	for part := range slices.Chunk(r.Findings, 500) {
		errs = append(errs, e.inventory.Find(ctx, part))
	}
	return errors.Join(errs...)
}

var _ api.ScanKeeper = (*engine)(nil)

// Scans lists the newest scans.
func (e *engine) Scans() (out []api.Scan) {
	s := &e.scans
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.list {
		out = append(out, x.view)
	}
	return out
}

// Scheduled lists the scans of the configuration.
func (e *engine) Scheduled() (out []api.ScheduledScan) {
	s := &e.scans
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.wanted {
		next := s.due[k.Name].UTC()
		out = append(out, api.ScheduledScan{Name: k.Name, Targets: k.Targets, Exclude: append([]string{}, k.Exclude...), Consent: k.Consent, Every: k.Every.String(), Next: &next})
	}
	return out
}

// Scan gives one scan, and its report when it has ended.
func (e *engine) Scan(id string) (api.Scan, []byte, error) {
	s := &e.scans
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.list, func(x *scanning) bool { return x.view.ID == id }); i >= 0 {
		return s.list[i].view, s.list[i].report, nil
	}
	return api.Scan{}, nil, sallyport.Errorf(sallyport.NotFound, "there is no such scan, or it is no longer kept")
}

// StartScan puts a scan before those that are due.
func (e *engine) StartScan(ask api.ScanAsk, by string) (api.Scan, error) {
	s := &e.scans
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil || s.ctx.Err() != nil {
		return api.Scan{}, sallyport.Errorf(sallyport.Unavailable, "this process makes no scans now")
	}
	k := scanConfig{Targets: ask.Targets, Exclude: ask.Exclude, Consent: ask.Consent, Rate: 50}
	switch {
	case ask.Name != "" && len(ask.Targets) > 0:
		return api.Scan{}, sallyport.Errorf(sallyport.Invalid, "name a scan of the configuration, or targets, not both")
	case ask.Name != "":
		i := slices.IndexFunc(s.wanted, func(k scanConfig) bool { return k.Name == ask.Name })
		if i < 0 {
			return api.Scan{}, sallyport.Errorf(sallyport.NotFound, "the configuration has no scan %q", ask.Name)
		}
		k = s.wanted[i]
	case len(ask.Targets) == 0:
		return api.Scan{}, sallyport.Errorf(sallyport.Invalid, "no target is given")
	}
	for _, t := range slices.Concat(ask.Targets, ask.Exclude) {
		if err := probe.CheckTarget(t); err != nil {
			return api.Scan{}, sallyport.Errorf(sallyport.Invalid, "%v", err)
		}
	}
	waiting := 0
	for _, x := range s.list {
		if x.view.State == "running" {
			waiting++
		}
	}
	if waiting >= 10 {
		return api.Scan{}, sallyport.Errorf(sallyport.Limited, "%d scans run or wait already", waiting)
	}
	x := s.add(k, "asked for by "+by)
	s.nudge()
	return x.view, nil
}

// CancelScan ends one.
func (e *engine) CancelScan(id string) error {
	s := &e.scans
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.list, func(x *scanning) bool { return x.view.ID == id })
	if i < 0 {
		return sallyport.Errorf(sallyport.NotFound, "there is no such scan, or it is no longer kept")
	}
	x := s.list[i]
	switch {
	case x.view.State != "running":
		return sallyport.Errorf(sallyport.Conflict, "the scan has ended")
	case x.cancel != nil:
		x.cancel()
	default:
		now := time.Now().UTC()
		x.gone, x.view.State, x.view.Ended = true, "cancelled", &now
	}
	return nil
}

// scanGauges are what an operator looks at.
func (e *engine) scanGauges() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sallyport_scans_running", Help: "Looks at APIs from outside that run or wait."}, func() float64 {
		n := 0
		for _, x := range e.Scans() {
			if x.State == "running" {
				n++
			}
		}
		return float64(n)
	})
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev"
	"sallyport.dev/incident"
)

// notifyTarget is a place that is notified of incidents.
type notifyTarget struct {
	Name     string     `yaml:"name" doc:"In logs and on screen. Default notify-1, notify-2, …"`
	URL      string     `yaml:"url" doc:"shoutrrr URL (slack://…, smtp://…, ntfy://… and others), best as env:NAME or file:PATH: it holds secrets."`
	Webhook  string     `yaml:"webhook" doc:"https://… that is posted signed JSON; http on loopback only."`
	Secret   string     `yaml:"secret" doc:"Key of the webhook's signature, at least 16 bytes, as env:NAME or file:PATH."`
	On       stringList `yaml:"on" doc:"opened, overdue, resolved. Default all three."`
	Severity string     `yaml:"severity" enum:"low|medium|high|critical" doc:"Least severity. Default low."`
}

type incidentConfig struct {
	Due  dueConfig     `yaml:"due" doc:"Time from opening until an incident is due, by severity."`
	Keep time.Duration `yaml:"keep" doc:"Age at which resolved incidents are removed. Default 9600h."`
	Link string        `yaml:"link" doc:"Address of the console as people reach it, for links in notifications. Default none."`
}

type dueConfig struct {
	Critical time.Duration `yaml:"critical" doc:"Default 4h."`
	High     time.Duration `yaml:"high" doc:"Default 24h."`
	Medium   time.Duration `yaml:"medium" doc:"Default 168h."`
	Low      time.Duration `yaml:"low" doc:"Default 720h."`
}

func (c *config) checkIncidents(bad func(string, string, ...any)) {
	names := map[string]bool{}
	for i := range c.Notify {
		t, path := &c.Notify[i], fmt.Sprintf("notify[%d]", i)
		if t.Name == "" {
			t.Name = fmt.Sprintf("notify-%d", i+1)
		}
		if len(t.On) == 0 {
			t.On = stringList{"opened", "overdue", "resolved"}
		}
		switch {
		case names[t.Name]:
			bad(path+".name", "%q stands twice", t.Name)
		case len(t.Name) > 100 || strings.ContainsAny(t.Name, "\r\n"):
			bad(path+".name", "want one line of at most 100 bytes")
		}
		names[t.Name] = true
		for _, e := range t.On {
			if !slices.Contains([]string{"opened", "overdue", "resolved"}, e) {
				bad(path+".on", "%.40q is not one of opened, overdue, resolved", e)
			}
		}
		if t.Severity != "" {
			if _, err := incident.ParseSeverity(t.Severity); err != nil {
				bad(path+".severity", "%v", err)
			}
		}
		if (t.URL == "") == (t.Webhook == "") {
			bad(path, "want either url or webhook")
			continue
		}
		if (t.Webhook == "") != (t.Secret == "") {
			bad(path+".secret", "webhook and secret go together: what is posted is signed")
			continue
		}
		elsewhere := func(s string) bool { return strings.HasPrefix(s, "env:") || strings.HasPrefix(s, "file:") }
		if t.URL != "" && !elsewhere(t.URL) && strings.Contains(t.URL, "@") || t.Secret != "" && !elsewhere(t.Secret) {
			bad(path, "secrets never stand in the configuration: write env:NAME or file:PATH")
			continue
		}
		if _, err := c.target(*t); err != nil {
			bad(path, "%v", err)
		}
	}
	for path, d := range map[string]time.Duration{"critical": c.Incidents.Due.Critical, "high": c.Incidents.Due.High, "medium": c.Incidents.Due.Medium, "low": c.Incidents.Due.Low} {
		if d < 0 || d > 10000*time.Hour {
			bad("incidents.due."+path, "want 0 to 10000h")
		}
	}
	if c.Incidents.Keep < 0 {
		bad("incidents.keep", "is negative")
	}
	if l := c.Incidents.Link; l != "" {
		if u, err := url.Parse(l); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.User != nil {
			bad("incidents.link", "want https://host[:port]")
		}
	}
}

// target makes what notify describes. Its errors hold no secret.
func (c *config) target(t notifyTarget) (incident.Target, error) {
	out := incident.Target{Name: t.Name, Severity: incident.Low}
	if t.Severity != "" {
		out.Severity, _ = incident.ParseSeverity(t.Severity)
	}
	for _, e := range t.On {
		out.On = append(out.On, incident.Event(e))
	}
	if t.Webhook != "" {
		address, err := c.secret(t.Webhook)
		if err != nil {
			return out, err
		}
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
			return out, errors.New("the webhook is no https:// URL (http:// on loopback only)")
		}
		secret, err := c.secret(t.Secret)
		if err != nil {
			return out, err
		}
		if len(secret) < 16 {
			return out, errors.New("the webhook's secret is shorter than 16 bytes")
		}
		out.Sender = &incident.Webhook{URL: address, Secret: []byte(secret)}
		return out, nil
	}
	address, err := c.secret(t.URL)
	if err != nil {
		return out, err
	}
	out.Sender, err = incident.Service(address)
	return out, err
}

func (c *config) targets() (list []incident.Target, err error) {
	for _, t := range c.Notify {
		x, terr := c.target(t)
		if terr != nil {
			err = errors.Join(err, fmt.Errorf("notify %s: %w", t.Name, terr))
			continue
		}
		list = append(list, x)
	}
	return list, err
}

func (e *engine) openIncidents(ctx context.Context) (err error) {
	e.incidents, err = incident.Open(ctx, incident.Options{Store: e.store, Logger: e.log, Keep: e.cfg.Incidents.Keep, Recover: func(ctx context.Context, since time.Time) ([]incident.Result, error) {
		if e.results == nil {
			return nil, nil
		}
		return e.results(ctx, since)
	}})
	if err != nil {
		return fmt.Errorf("open the incidents: %w", err)
	}
	return e.configureIncidents(e.cfg)
}

// configureIncidents takes owners, targets and times over.
func (e *engine) configureIncidents(c *config) error {
	if e.incidents == nil {
		return nil
	}
	targets, err := c.targets()
	if err != nil {
		return err
	}
	owners := map[string]sallyport.Owner{}
	for _, a := range c.APIs {
		owners[a.Name] = sallyport.Owner{Team: a.Owner.Team, Contact: a.Owner.Contact, Deputy: a.Owner.Deputy}
	}
	d := c.Incidents.Due
	s := incident.Settings{Targets: targets, Owner: func(api string) sallyport.Owner { return owners[api] },
		Due: map[incident.Severity]time.Duration{incident.Critical: d.Critical, incident.High: d.High, incident.Medium: d.Medium, incident.Low: d.Low}}
	if l := strings.TrimSuffix(c.Incidents.Link, "/"); l != "" {
		s.Link = func(id string) string { return l + "/incidents/" + id }
	}
	e.incidents.Configure(s)
	return nil
}

// incidentMetrics are what an operator watches of incidents.
type incidentMetrics struct{ e *engine }

var (
	incidentsOpen     = prometheus.NewDesc("sallyport_incidents_open", "Incidents that are open or acknowledged.", []string{"severity"}, nil)
	incidentsOverdue  = prometheus.NewDesc("sallyport_incidents_overdue", "Open or acknowledged incidents beyond their date.", nil, nil)
	incidentsExcepted = prometheus.NewDesc("sallyport_incidents_excepted", "Incidents that rest by an exception.", nil, nil)
	incidentsWaiting  = prometheus.NewDesc("sallyport_incidents_waiting", "Results of tests that wait to be written.", nil, nil)
	notifySent        = prometheus.NewDesc("sallyport_notifications_sent_total", "Messages that a target took.", nil, nil)
	notifyFailed      = prometheus.NewDesc("sallyport_notification_failures_total", "Attempts to send a message that failed.", nil, nil)
	notifyDropped     = prometheus.NewDesc("sallyport_notifications_dropped_total", "Notifications beyond the bound of a target.", nil, nil)
)

func (m incidentMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{incidentsOpen, incidentsOverdue, incidentsExcepted, incidentsWaiting, notifySent, notifyFailed, notifyDropped} {
		out <- d
	}
}

func (m incidentMetrics) Collect(out chan<- prometheus.Metric) {
	if m.e.incidents == nil {
		return
	}
	c := m.e.incidents.Counts()
	for s := incident.Low; s <= incident.Critical; s++ {
		out <- prometheus.MustNewConstMetric(incidentsOpen, prometheus.GaugeValue, float64(c.Open[s]), s.String())
	}
	out <- prometheus.MustNewConstMetric(incidentsOverdue, prometheus.GaugeValue, float64(c.Overdue))
	out <- prometheus.MustNewConstMetric(incidentsExcepted, prometheus.GaugeValue, float64(c.Excepted))
	out <- prometheus.MustNewConstMetric(incidentsWaiting, prometheus.GaugeValue, float64(c.Waiting))
	out <- prometheus.MustNewConstMetric(notifySent, prometheus.CounterValue, float64(c.Sent))
	out <- prometheus.MustNewConstMetric(notifyFailed, prometheus.CounterValue, float64(c.Failed))
	out <- prometheus.MustNewConstMetric(notifyDropped, prometheus.CounterValue, float64(c.Dropped))
}

type notifyCmd struct {
	Test notifyTestCmd `cmd:"" help:"Send a test message to each place that is notified; exit 1 when one did not take it."`
}

type notifyTestCmd struct {
	Config string `short:"c" default:"sallyport.yaml" help:"Configuration file."`
}

// Run needs no running process: it sends what a running one would.
func (n notifyTestCmd) Run(ctx context.Context, s streams) error {
	cfg, err := readConfig(n.Config)
	if err != nil {
		return err
	}
	targets, err := cfg.targets()
	if err != nil {
		return err
	}
	if len(targets) == 0 {
		return fmt.Errorf("%w: nobody is notified: the configuration has no notify", errConfig)
	}
	failed := 0
	for _, t := range incident.Test(ctx, targets) {
		if t.Err != nil {
			failed++
			fmt.Fprintf(s.out, "%s: not delivered: %v\n", t.Target, t.Err)
			continue
		}
		fmt.Fprintf(s.out, "%s: delivered\n", t.Target)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d did not take the message", failed, len(targets))
	}
	return nil
}

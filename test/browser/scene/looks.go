package scene

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"sallyport.dev"
	"sallyport.dev/console/api"
	"sallyport.dev/discovery/probe"
)

// Take is what a scan hands its report to.
type Take func(context.Context, *probe.Report) error

// A look is one scan. Scans are the product's own, of what listens on loopback.
type look struct {
	view   api.Scan
	report []byte
	cancel context.CancelFunc
}

var (
	_ api.ScanKeeper      = (*Estate)(nil)
	_ api.SourceKeeper    = (*Estate)(nil)
	_ api.CatalogueKeeper = (*Estate)(nil)
	_ api.DoorKeeper      = (*Estate)(nil)
)

// Harbour is a small API to be scanned: it describes itself, and is careless.
func Harbour() http.Handler {
	m := http.NewServeMux()
	write := func(path, kind, body string) {
		m.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			fmt.Fprint(w, body)
		})
	}
	write("/openapi.json", "application/json", `{"openapi":"3.1.0","info":{"title":"Berths","version":"2"},"paths":{"/berths":{"get":{"responses":{"200":{"description":"all"}}}},"/berths/{id}":{"get":{"parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"integer"}}],"responses":{"200":{"description":"one"}}}}}}`)
	write("/berths", "application/json", `[{"id":1,"free":true}]`)
	return m
}

// Scans lists the scans, newest first.
func (e *Estate) Scans() (out []api.Scan) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.looks {
		out = append(out, l.view)
	}
	return out
}

// Scheduled lists the invented schedule.
func (e *Estate) Scheduled() []api.ScheduledScan {
	next := e.started.Add(5 * time.Hour).UTC()
	return []api.ScheduledScan{{Name: "estate", Targets: []string{"*.harbour.example", "10.20.0.0/16"}, Exclude: []string{"10.20.9.0/24"}, Consent: true, Every: "24h0m0s", Next: &next}}
}

// Scan gives one scan with its report.
func (e *Estate) Scan(id string) (api.Scan, []byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.looks {
		if l.view.ID == id {
			return l.view, l.report, nil
		}
	}
	return api.Scan{}, nil, sallyport.Errorf(sallyport.NotFound, "there is no such scan, or it is no longer kept")
}

// StartScan looks at targets now.
func (e *Estate) StartScan(ask api.ScanAsk, by string) (api.Scan, error) {
	if ask.Name != "" {
		return api.Scan{}, sallyport.Errorf(sallyport.Unavailable, "the estate is invented: there is nothing to scan at its addresses")
	}
	for _, t := range slices.Concat(ask.Targets, ask.Exclude) {
		if err := probe.CheckTarget(t); err != nil {
			return api.Scan{}, sallyport.Errorf(sallyport.Invalid, "%v", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	e.mu.Lock()
	l := &look{view: api.Scan{ID: fmt.Sprintf("s%04x", len(e.looks)+1), State: "running", Why: by + " asked for it", Targets: ask.Targets, Began: time.Now().UTC()}, cancel: cancel}
	e.looks = append([]*look{l}, e.looks...)
	view := l.view
	e.mu.Unlock()
	go func() {
		defer cancel()
		r, err := probe.Run(ctx, probe.Plan{Targets: ask.Targets, Exclude: ask.Exclude, Consent: ask.Consent, Rate: 400, NoGuess: true, Ports: []int{1}, Progress: func(g probe.Progress) {
			e.mu.Lock()
			defer e.mu.Unlock()
			l.view.Hosts, l.view.Done, l.view.Open, l.view.Requests, l.view.APIs, l.view.Findings = g.Hosts, g.Done, g.Open, g.Requests, g.APIs, g.Findings
		}})
		if r != nil && err == nil && e.Take != nil {
			err = e.Take(context.Background(), r)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		now := time.Now().UTC()
		l.view.Ended, l.view.State = &now, "done"
		switch {
		case err != nil:
			l.view.State, l.view.Why = "failed", err.Error()
		case r.Partial:
			l.view.State = "cancelled"
		}
		if r != nil {
			l.report, _ = json.Marshal(r)
			l.view.APIs, l.view.Findings, l.view.Requests = len(r.APIs), len(r.Findings), r.Requests
		}
	}()
	return view, nil
}

// CancelScan ends a scan.
func (e *Estate) CancelScan(id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.looks {
		if l.view.ID == id {
			l.cancel()
			return nil
		}
	}
	return sallyport.Errorf(sallyport.NotFound, "there is no such scan, or it is no longer kept")
}

func ago(t time.Time, d time.Duration) *time.Time {
	x := t.Add(-d).UTC()
	return &x
}

// Sources are the invented sources.
func (e *Estate) Sources() []api.Source {
	t := e.started
	return []api.Source{
		{Name: "/var/log/nginx/access.log", Kind: "file", State: "reading", Since: ago(t, 9*time.Hour), Format: "nginx combined", Read: 1_204_311, Emitted: 1_204_288, Bad: 23, FirstBad: "line 88112: the request is cut in the middle", Last: ago(t, time.Second), Lag: 0.8},
		{Name: "udp://0.0.0.0:514", Kind: "syslog", State: "reading", Since: ago(t, 9*time.Hour), Format: "HAProxy HTTP", Read: 88_104, Emitted: 88_104, Lost: 12, Last: ago(t, 4*time.Minute), Lag: 241, Notice: "its clock is 2 s ahead"},
		{Name: "/srv/archive/2024.har", Kind: "har", State: "failed", Since: ago(t, time.Hour), Read: 14, Emitted: 13, Bad: 1, FirstBad: "entry 14: unexpected end", Error: "open /srv/archive/2024.har: permission denied: let the process read it"},
	}
}

// Catalogues are the invented catalogues.
func (e *Estate) Catalogues() []api.Catalogue {
	t := e.started
	return []api.Catalogue{
		{Name: "harbour", Kind: "kubernetes", At: "https://10.20.0.2:6443", State: "watching", Claims: 214, Changes: 1_310, Last: ago(t, 3*time.Minute), Since: t.Add(-9 * time.Hour).UTC(), Fields: []string{"environment", "criticality", "upstreams", "owner.team", "cluster", "namespace", "workload"}},
		{Name: "portal", Kind: "backstage", At: "https://portal.harbour.example", State: "done", Claims: 88, Changes: 90, Refused: 2, Error: "2 claims refused: field criticality: the value is not one of low, medium, high, critical", Last: ago(t, time.Hour), Since: t.Add(-time.Hour).UTC(), Fields: []string{"owner.team", "documentation", "lifecycle"}},
	}
}

// Doors are the invented doors.
func (e *Estate) Doors() []api.Door {
	return []api.Door{
		{Name: "edge", Kind: "spoe", Address: "10.20.0.5:9010", Fail: "closed", WithinMS: 50, Unseen: "refuse", Answers: true, Asked: 2_204_118, Refused: 1_204, MeanMicros: 184, Last: ago(e.started, time.Second)},
		{Name: "intranet", Kind: "forward-auth", Address: "10.20.0.5:9011", Fail: "open", WithinMS: 20, Unseen: "pass", Asked: 41_010, Refused: 3, NotShown: 118, Failed: 2, MeanMicros: 96, Last: ago(e.started, 20*time.Second)},
	}
}

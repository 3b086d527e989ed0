package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"sallyport.dev"
	"sallyport.dev/console/audit"
)

// A ScanKeeper is an Engine that looks at APIs from outside.
type ScanKeeper interface {
	Scans() []Scan
	Scheduled() []ScheduledScan
	Scan(id string) (Scan, []byte, error) // with its report, JSON; nil while it runs
	StartScan(ask ScanAsk, by string) (Scan, error)
	CancelScan(id string) error
}

// A Scan is one look at a scope from outside.
type Scan struct {
	ID       string     `json:"id" maxLength:"64"`
	Name     string     `json:"name" maxLength:"200" doc:"Of the configuration; empty for one that was asked for by hand"`
	State    string     `json:"state" enum:"running,done,cancelled,failed"`
	Why      string     `json:"why" maxLength:"1000" doc:"Why it was begun, or why it failed"`
	Targets  []string   `json:"targets" maxItems:"1000"`
	Began    time.Time  `json:"began"`
	Ended    *time.Time `json:"ended,omitempty"`
	Hosts    int        `json:"hosts" minimum:"0" doc:"Addresses in scope"`
	Done     int        `json:"done" minimum:"0" doc:"Addresses looked at"`
	Open     int        `json:"open" minimum:"0" doc:"Ports that answered"`
	Requests int64      `json:"requests" minimum:"0"`
	APIs     int        `json:"apis" minimum:"0"`
	Findings int        `json:"findings" minimum:"0"`
}

// A ScheduledScan is one of the configuration.
type ScheduledScan struct {
	Name    string     `json:"name" maxLength:"200"`
	Targets []string   `json:"targets" maxItems:"1000"`
	Exclude []string   `json:"exclude" maxItems:"1000"`
	Consent bool       `json:"consent" doc:"The configuration says that the targets may be scanned"`
	Every   string     `json:"every" maxLength:"40"`
	Next    *time.Time `json:"next,omitempty"`
}

// ScanAsk is what somebody wants to be looked at: a scan of the configuration,
// or targets.
type ScanAsk struct {
	Name    string   `json:"name,omitempty" maxLength:"200" doc:"Of a scan in the configuration"`
	Targets []string `json:"targets,omitempty" maxItems:"100" doc:"Host, *.domain, address, range or URL; without a name"`
	Exclude []string `json:"exclude,omitempty" maxItems:"100"`
	Consent bool     `json:"consent,omitempty" doc:"You may scan these targets; needed outside of loopback and private ranges"`
}

var errNoScans = sallyport.Errorf(sallyport.NotFound, "this process makes no scans")

func (a *API) scanOperations() {
	keeper, _ := a.Engine.(ScanKeeper)
	type scanList struct {
		Scheduled []ScheduledScan `json:"scheduled" maxItems:"1000"`
		Scans     []Scan          `json:"scans" maxItems:"100"`
	}
	type scanDetail struct {
		Scan   Scan            `json:"scan"`
		Report json.RawMessage `json:"report" doc:"Hosts, APIs, findings and claims; empty while it runs"`
	}
	type id struct {
		ID string `path:"id" maxLength:"64" pattern:"^s[0-9a-f]+$"`
	}
	add(a, spec{id: "listScans", method: http.MethodGet, path: "/scans", summary: "Looks at APIs from outside, newest first, and those that are scheduled", tag: "inventory", access: viewer},
		func(ctx context.Context, _ *struct{}) (*body[scanList], error) {
			out := scanList{[]ScheduledScan{}, []Scan{}}
			if keeper != nil {
				out.Scheduled, out.Scans = full(keeper.Scheduled()), full(keeper.Scans())
			}
			return &body[scanList]{out}, nil
		})
	add(a, spec{id: "getScan", method: http.MethodGet, path: "/scans/{id}", summary: "One scan with its report", tag: "inventory", access: viewer},
		func(ctx context.Context, in *id) (*body[scanDetail], error) {
			if keeper == nil {
				return nil, errNoScans
			}
			s, report, err := keeper.Scan(in.ID)
			if err != nil {
				return nil, err
			}
			if len(report) == 0 {
				report = []byte("{}")
			}
			return &body[scanDetail]{scanDetail{s, report}}, nil
		})
	add(a, spec{id: "getScanProgress", method: http.MethodGet, path: "/scans/{id}/progress", summary: "How far a scan is", tag: "inventory", access: viewer},
		func(ctx context.Context, in *id) (*body[Scan], error) {
			if keeper == nil {
				return nil, errNoScans
			}
			s, _, err := keeper.Scan(in.ID)
			return &body[Scan]{s}, err
		})
	add(a, spec{id: "startScan", method: http.MethodPost, path: "/scans", summary: "Look at targets from outside now", tag: "inventory", access: admin, status: 202, errors: []int{422}},
		func(ctx context.Context, in *body[ScanAsk]) (*body[Scan], error) {
			if keeper == nil {
				return nil, errNoScans
			}
			what := in.Body.Name
			for _, t := range in.Body.Targets {
				if what += " " + t; len(what) > 300 {
					break
				}
			}
			s, err := keeper.StartScan(in.Body, caller(ctx).Name)
			if err != nil {
				return nil, err
			}
			detail := ""
			if in.Body.Consent {
				detail = "with consent given"
			}
			return &body[Scan]{s}, a.record(ctx, "scan.start", what, audit.Done, detail)
		})
	add(a, spec{id: "cancelScan", method: http.MethodPost, path: "/scans/{id}/cancel", summary: "End a scan; what it found stays", tag: "inventory", access: admin, status: 202},
		func(ctx context.Context, in *id) (*empty, error) {
			if keeper == nil {
				return nil, errNoScans
			}
			if err := keeper.CancelScan(in.ID); err != nil {
				return nil, err
			}
			return nil, a.record(ctx, "scan.cancel", in.ID, audit.Done, "")
		})
}

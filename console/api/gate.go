package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"sallyport.dev"
	"sallyport.dev/conformance/gate"
	"sallyport.dev/console/audit"
)

// Gate tests instances and admits them; *gate.Gate is one, but for Demands.
type Gate interface {
	Fleet() []gate.View
	Verdict(ctx context.Context, id string) (gate.Verdict, error)
	Verdicts(ctx context.Context, api, url string, before int64, limit int64) ([]gate.Verdict, error)
	Latest(ctx context.Context, api string) ([]gate.Verdict, error)
	LastPassed(ctx context.Context, v gate.Verdict) (*gate.Verdict, error)
	Triggers(ctx context.Context, f gate.Filter) ([]gate.Trigger, error)
	Schedule() []gate.Run
	Demands() []GateDemand // without Instances and Serving
	Retest(api, url, by string) error
	HoldByHand(ctx context.Context, api, url, by string) error
	ReleaseByHand(ctx context.Context, api, url, by string) error
}

// FleetInstance is one instance at the gate.
type FleetInstance struct {
	API      string     `json:"api" maxLength:"200"`
	URL      string     `json:"url" maxLength:"500"`
	State    string     `json:"state" enum:"held,testing,admitted,quarantined,retired"`
	Reason   string     `json:"reason" maxLength:"1000" doc:"Why it is in that state"`
	Since    *time.Time `json:"since,omitempty"`
	Healthy  bool       `json:"healthy"`
	Gated    bool       `json:"gated" doc:"Its API demands tests"`
	Boot     string     `json:"boot" maxLength:"600" doc:"Which start of it was admitted"`
	Verdict  string     `json:"verdict" maxLength:"64" doc:"Id of the newest verdict"`
	Tested   *time.Time `json:"tested,omitempty" doc:"When it was tested last"`
	Failures int        `json:"failures" minimum:"0" doc:"Tests in a row that did not pass"`
	ByHand   string     `json:"by_hand" maxLength:"1000" doc:"Who holds it by hand, and why"`
	Testing  string     `json:"testing" maxLength:"1000" doc:"Why it is being tested now"`

	Doors []FleetDoor `json:"doors,omitempty" maxItems:"64" doc:"Doors of others that it is at"`
}

// FleetDoor is what a door of others does with an instance.
type FleetDoor struct {
	Door  string     `json:"door" maxLength:"500"`
	Open  bool       `json:"open" doc:"It sends requests there"`
	Known bool       `json:"known" doc:"It has the instance's address"`
	At    *time.Time `json:"at,omitempty" doc:"When the door last was as it is to be"`
	Error string     `json:"error" maxLength:"1000" doc:"Why it is not; empty: it is"`
}

func fleetDoors(list []gate.Place) (out []FleetDoor) {
	for _, p := range list {
		out = append(out, FleetDoor{p.Door, p.Open, p.Known, when(p.At), p.Error})
	}
	return out
}

// VerdictView is the end of one test.
type VerdictView struct {
	ID      string    `json:"id" maxLength:"64"`
	API     string    `json:"api" maxLength:"200"`
	URL     string    `json:"url" maxLength:"500"`
	Profile string    `json:"profile" maxLength:"16"`
	Trigger string    `json:"trigger" maxLength:"1000" doc:"Why it was tested"`
	Passed  bool      `json:"passed"`
	Summary string    `json:"summary" maxLength:"4000"`
	Boot    string    `json:"boot" maxLength:"600"`
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`
}

func verdictView(v *gate.Verdict) VerdictView {
	return VerdictView{v.ID, v.API, v.URL, v.Profile, v.Trigger, v.Passed, v.Summary, v.Boot, time.UnixMicro(v.Began).UTC(), time.UnixMicro(v.Ended).UTC()}
}

var errNoGate = sallyport.Errorf(sallyport.NotFound, "this process runs no gate")

func (a *API) gateOperations() {
	type fleet struct {
		Instances []FleetInstance `json:"instances" maxItems:"100000"`
	}
	add(a, spec{id: "listFleet", method: http.MethodGet, path: "/gate", summary: "Every instance, its state at the gate, and why", tag: "gate", access: viewer},
		func(ctx context.Context, _ *struct{}) (*body[fleet], error) {
			out := fleet{Instances: []FleetInstance{}}
			if a.Gate == nil {
				return &body[fleet]{out}, nil
			}
			for _, v := range a.Gate.Fleet() {
				out.Instances = append(out.Instances, FleetInstance{API: v.Instance.API, URL: v.Instance.URL, State: string(v.Instance.Admission), Reason: v.Instance.Reason, Since: when(v.Instance.Since),
					Healthy: v.Instance.Healthy, Gated: v.Gated, Boot: v.Instance.Boot, Verdict: v.State.Verdict, Tested: micros(v.State.Tested), Failures: v.State.Failures, ByHand: v.State.ByHand, Testing: v.Testing, Doors: fleetDoors(v.Places)})
			}
			return &body[fleet]{out}, nil
		})

	type verdicts struct {
		Verdicts []VerdictView `json:"verdicts" maxItems:"500"`
	}
	add(a, spec{id: "listVerdicts", method: http.MethodGet, path: "/gate/verdicts", summary: "Ends of tests, newest first", tag: "gate", access: viewer},
		func(ctx context.Context, in *struct {
			API    string `query:"api" maxLength:"64"`
			URL    string `query:"url" maxLength:"500" doc:"Of an instance"`
			Before int64  `query:"before" minimum:"0" doc:"Those that began before it, microseconds since 1970"`
			Limit  int64  `query:"limit" minimum:"1" maximum:"500" default:"50"`
		}) (*body[verdicts], error) {
			out := verdicts{Verdicts: []VerdictView{}}
			if a.Gate == nil {
				return &body[verdicts]{out}, nil
			}
			list, err := a.Gate.Verdicts(ctx, in.API, in.URL, in.Before, in.Limit)
			for i := range list {
				out.Verdicts = append(out.Verdicts, verdictView(&list[i]))
			}
			return &body[verdicts]{out}, err
		})

	a.verdictOperations()

	type which struct {
		API string `json:"api" minLength:"1" maxLength:"64"`
		URL string `json:"url,omitempty" maxLength:"500" doc:"Of an instance; empty for all of the API"`

		Reason string `json:"reason,omitempty" maxLength:"500" doc:"Why, for the journal"`
	}
	add(a, spec{id: "testInstance", method: http.MethodPost, path: "/gate/tests", summary: "Test an instance, or all of an API, now", tag: "gate", access: admin, status: 202},
		func(ctx context.Context, in *body[which]) (*empty, error) {
			if a.Gate == nil {
				return nil, errNoGate
			}
			if err := a.Gate.Retest(in.Body.API, in.Body.URL, strings.TrimSuffix(caller(ctx).Name+": "+in.Body.Reason, ": ")); err != nil {
				return nil, err
			}
			return nil, a.record(ctx, "gate.test", strings.TrimSpace(in.Body.API+" "+in.Body.URL), audit.Done, in.Body.Reason)
		})

	type hold struct {
		API    string `json:"api" minLength:"1" maxLength:"64"`
		URL    string `json:"url" minLength:"1" maxLength:"500"`
		Reason string `json:"reason" minLength:"3" maxLength:"500"`
	}
	add(a, spec{id: "holdInstance", method: http.MethodPost, path: "/gate/holds", summary: "Take an instance out until it is released", tag: "gate", access: admin, status: 201},
		func(ctx context.Context, in *body[hold]) (*empty, error) {
			if a.Gate == nil {
				return nil, errNoGate
			}
			if err := a.Gate.HoldByHand(ctx, in.Body.API, in.Body.URL, caller(ctx).Name+": "+in.Body.Reason); err != nil {
				return nil, err
			}
			return nil, a.record(ctx, "gate.hold", in.Body.API+" "+in.Body.URL, audit.Done, in.Body.Reason)
		})
	add(a, spec{id: "releaseInstance", method: http.MethodPost, path: "/gate/releases", summary: "Let an instance that is held by hand be tested again; only that admits it", tag: "gate", access: admin, status: 202},
		func(ctx context.Context, in *body[hold]) (*empty, error) {
			if a.Gate == nil {
				return nil, errNoGate
			}
			if err := a.Gate.ReleaseByHand(ctx, in.Body.API, in.Body.URL, caller(ctx).Name+": "+in.Body.Reason); err != nil {
				return nil, err
			}
			return nil, a.record(ctx, "gate.release", in.Body.API+" "+in.Body.URL, audit.Done, in.Body.Reason)
		})
}

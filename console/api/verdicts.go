package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
	"sallyport.dev/conformance"
	"sallyport.dev/conformance/gate"
)

// VerdictFinding is one way in which an instance is not what it should be.
type VerdictFinding struct {
	Check     string `json:"check" maxLength:"200"`
	Title     string `json:"title" maxLength:"400"`
	Why       string `json:"why" maxLength:"2000" doc:"Why the check is made"`
	OWASP     string `json:"owasp" maxLength:"64" doc:"Of the OWASP API Security Top 10"`
	CWE       string `json:"cwe" maxLength:"64"`
	Level     string `json:"level" enum:"error,warning,note"`
	Operation string `json:"operation" maxLength:"4000"`
	Place     string `json:"place" maxLength:"4000"`
	Detail    string `json:"detail" maxLength:"66000"`
	Status    int    `json:"status" doc:"Of the answer; 0 where none is meant"`
	Identity  string `json:"identity" maxLength:"400" doc:"Whom the test acted as"`
	Curl      string `json:"curl" maxLength:"2000000" doc:"Shows it; credentials stand as names of variables"`
	Seen      string `json:"seen" maxLength:"64" doc:"How often it was seen of how often it was tried"`
}

// VerdictBreak is a change of the contract that affects who uses the API.
type VerdictBreak struct {
	Rule      string   `json:"rule" maxLength:"64"`
	Operation string   `json:"operation" maxLength:"4000"`
	Place     string   `json:"place" maxLength:"4000"`
	Detail    string   `json:"detail" maxLength:"66000"`
	Consumers []string `json:"consumers" maxItems:"100000" doc:"Who uses it, as traffic shows; empty: that is not known"`
	Allowed   bool     `json:"allowed" doc:"By an exception"`
	Approver  string   `json:"approver" maxLength:"400"`
	Expires   string   `json:"expires" maxLength:"32" doc:"Last day of the exception"`
	Reason    string   `json:"reason" maxLength:"2000"`
}

// CoveredStatus is one declared status of an operation, and how often it was
// answered.
type CoveredStatus struct {
	Status   string `json:"status" maxLength:"16"`
	Answers  int    `json:"answers" minimum:"0"`
	Declared bool   `json:"declared"`
}

// CoveredParam is one declared parameter of an operation.
type CoveredParam struct {
	Name string `json:"name" maxLength:"2000"`
	Sent bool   `json:"sent"`
}

// CoveredCheck is one check that judged an operation, and how often.
type CoveredCheck struct {
	Check string `json:"check" maxLength:"200"`
	Times int    `json:"times" minimum:"0"`
}

// CoveredOperation is what was reached of one operation.
type CoveredOperation struct {
	Operation string          `json:"operation" maxLength:"4000"`
	Statuses  []CoveredStatus `json:"statuses" maxItems:"2000"`
	Params    []CoveredParam  `json:"params" maxItems:"10000"`
	Checks    []CoveredCheck  `json:"checks" maxItems:"1000"`
	Why       string          `json:"why" maxLength:"8000" doc:"Why no request of it succeeded"`
}

// VerdictCoverage is what a test reached, each figure beside what there is.
type VerdictCoverage struct {
	Succeeded  int                `json:"succeeded" minimum:"0" doc:"Operations of which a request succeeded"`
	Operations int                `json:"operations" minimum:"0"`
	Reached    int                `json:"reached" minimum:"0" doc:"Declared statuses that were answered"`
	Declared   int                `json:"declared" minimum:"0"`
	Judged     int                `json:"judged" minimum:"0" doc:"Kinds of check that judged something"`
	Checks     int                `json:"checks" minimum:"0"`
	Sent       int                `json:"sent" minimum:"0" doc:"Declared parameters that were given a value"`
	Params     int                `json:"params" minimum:"0"`
	Rows       []CoveredOperation `json:"rows" maxItems:"100000"`
}

// VerdictReport is what a test found and reached.
type VerdictReport struct {
	Seed     string           `json:"seed" maxLength:"32"`
	Requests int              `json:"requests" minimum:"0"`
	Seconds  float64          `json:"seconds" minimum:"0"`
	Findings []VerdictFinding `json:"findings" maxItems:"100000"`
	Flaky    []VerdictFinding `json:"flaky" maxItems:"100000" doc:"Seen once and not again: not counted"`
	Breaks   []VerdictBreak   `json:"breaks" maxItems:"100000"`
	NotRun   []string         `json:"not_run" maxItems:"100000" doc:"What was left out, why, and what to supply"`
	Left     []string         `json:"left" maxItems:"100000" doc:"What the test made and could not delete"`
	Coverage VerdictCoverage  `json:"coverage"`
}

// VerdictDifference holds a verdict against the one that passed last before it.
type VerdictDifference struct {
	Verdict      string    `json:"verdict" maxLength:"64" doc:"The one that passed"`
	URL          string    `json:"url" maxLength:"500" doc:"Its instance"`
	Time         time.Time `json:"time"`
	SameInstance bool      `json:"same_instance"`
	SameStart    bool      `json:"same_start" doc:"Of the same start of the process"`
	SameContract bool      `json:"same_contract" doc:"Against the same specification and settings"`
	Text         string    `json:"text" maxLength:"4000000" doc:"+ for what is new, - for what is gone; empty: nothing"`
}

// VerdictDetail is one verdict with its report.
type VerdictDetail struct {
	Verdict    VerdictView        `json:"verdict"`
	Incident   string             `json:"incident" maxLength:"64" doc:"That it belongs to"`
	Report     *VerdictReport     `json:"report,omitempty" doc:"Absent when it is kept no more"`
	Difference *VerdictDifference `json:"difference,omitempty" doc:"Absent when nothing has passed before"`
}

// GateException lets a breaking change pass for a time.
type GateException struct {
	Operation string `json:"operation" maxLength:"4000"`
	Change    string `json:"change" maxLength:"64" doc:"Empty: every kind"`
	Approver  string `json:"approver" maxLength:"400"`
	Expires   string `json:"expires" maxLength:"32"`
	Reason    string `json:"reason" maxLength:"2000"`
	Ended     bool   `json:"ended"`
}

// GateDemand is what the gate demands of one API.
type GateDemand struct {
	API        string          `json:"api" maxLength:"200"`
	Admit      string          `json:"admit" maxLength:"16" doc:"Profile that admits"`
	Recheck    string          `json:"recheck" maxLength:"16" doc:"Profile for instances that serve"`
	Every      float64         `json:"every" minimum:"0" doc:"Seconds between two tests of an instance that serves, give or take a twentieth; 0: not by time"`
	OnNone     string          `json:"on_none" enum:"refuse,last-good" doc:"When the last admitted instance fails"`
	Window     float64         `json:"window" minimum:"0" doc:"Seconds within which a use makes a consumer; 0: contracts are not compared"`
	Instances  int             `json:"instances" minimum:"0"`
	Serving    int             `json:"serving" minimum:"0" doc:"Admitted and healthy"`
	Exceptions []GateException `json:"exceptions" maxItems:"10000"`
}

// ScheduledTest is the next test of an instance.
type ScheduledTest struct {
	API     string     `json:"api" maxLength:"200"`
	URL     string     `json:"url" maxLength:"500"`
	Time    *time.Time `json:"time,omitempty" doc:"Absent: none is due by itself"`
	Why     string     `json:"why" maxLength:"1000"`
	Profile string     `json:"profile" maxLength:"16"`
	Running bool       `json:"running" doc:"It goes on, since that time"`
}

// GateTrigger is one line of the gate's journal.
type GateTrigger struct {
	ID      string     `json:"id" maxLength:"64"`
	API     string     `json:"api" maxLength:"200"`
	URL     string     `json:"url" maxLength:"500"`
	Time    time.Time  `json:"time"`
	What    string     `json:"what" maxLength:"1000" doc:"new, started again, contract changed, timer, failed before, by hand, held by hand, released by hand, …"`
	Who     string     `json:"who" maxLength:"200" doc:"Empty: the gate itself"`
	Detail  string     `json:"detail" maxLength:"4000"`
	Outcome string     `json:"outcome" enum:"running,passed,failed,no verdict,stood,done"`
	Verdict string     `json:"verdict" maxLength:"64"`
	Ended   *time.Time `json:"ended,omitempty"`
}

func verdictFindings(list []conformance.Finding) []VerdictFinding {
	checks := map[string]conformance.Check{}
	for _, c := range conformance.Checks() {
		checks[c.ID] = c
	}
	out := make([]VerdictFinding, 0, len(list))
	for _, f := range list {
		c := checks[f.Check]
		out = append(out, VerdictFinding{f.Check, cmp.Or(c.Title, f.Check), c.Why, c.OWASP, c.CWE, string(cmp.Or(f.Level, conformance.Error)), f.Operation, f.Place, f.Detail, f.Status, f.Identity, f.Curl, f.Seen})
	}
	weight := map[string]int{"error": 0, "warning": 1, "note": 2}
	slices.SortStableFunc(out, func(x, y VerdictFinding) int { return cmp.Compare(weight[x.Level], weight[y.Level]) })
	return out
}

func coverage(c conformance.Coverage) VerdictCoverage {
	e := c.Extent()
	out := VerdictCoverage{e.Succeeded, e.Operations, e.Reached, e.Declared, e.Judged, e.Checks, e.Sent, e.Params, []CoveredOperation{}}
	for _, o := range c.Operations {
		row := CoveredOperation{Operation: o.Operation, Why: o.Why, Statuses: []CoveredStatus{}, Params: []CoveredParam{}, Checks: []CoveredCheck{}}
		matched := map[int]bool{}
		for _, s := range o.Declared {
			row.Statuses = append(row.Statuses, CoveredStatus{s, o.Answers(s), true})
			for n := range o.Reached {
				one := conformance.OperationCoverage{Reached: map[int]int{n: 1}}
				matched[n] = matched[n] || one.Answers(s) > 0
			}
		}
		for _, n := range slices.Sorted(maps.Keys(o.Reached)) {
			if !matched[n] {
				row.Statuses = append(row.Statuses, CoveredStatus{fmt.Sprint(n), o.Reached[n], false})
			}
		}
		for _, p := range o.Params {
			row.Params = append(row.Params, CoveredParam{p, slices.Contains(o.Sent, p)})
		}
		for _, k := range slices.Sorted(maps.Keys(o.Checks)) {
			row.Checks = append(row.Checks, CoveredCheck{k, o.Checks[k]})
		}
		out.Rows = append(out.Rows, row)
	}
	return out
}

func verdictReport(r *conformance.Report) *VerdictReport {
	lines := func(s []string) []string { return append([]string{}, s...) }
	out := &VerdictReport{Seed: fmt.Sprint(r.Seed), Requests: r.Requests, Seconds: r.Duration.Seconds(), Findings: verdictFindings(r.Findings), Flaky: verdictFindings(r.Flaky),
		Breaks: []VerdictBreak{}, NotRun: lines(r.NotRun), Left: lines(r.Left), Coverage: coverage(r.Coverage)}
	for _, b := range r.Breaks {
		v := VerdictBreak{Rule: b.Rule, Operation: b.Operation, Place: b.Place(), Detail: b.Detail, Consumers: lines(b.Consumers)}
		if x := b.Exception; x != nil {
			v.Allowed, v.Approver, v.Expires, v.Reason = true, x.Approver, x.Expires, x.Reason
		}
		out.Breaks = append(out.Breaks, v)
	}
	return out
}

// report reads the report of a verdict; nil when it is kept no more.
func report(v *gate.Verdict) *conformance.Report {
	var r conformance.Report
	if v == nil || len(v.Report) == 0 || json.Unmarshal(v.Report, &r) != nil {
		return nil
	}
	return &r
}

func (a *API) verdictDetail(ctx context.Context, id string) (*VerdictDetail, error) {
	v, err := a.Gate.Verdict(ctx, id)
	if err != nil {
		return nil, err
	}
	out := &VerdictDetail{Verdict: verdictView(&v)}
	if a.Incidents != nil {
		if out.Incident, err = a.Incidents.OfSource(ctx, id); err != nil {
			return nil, err
		}
	}
	now := report(&v)
	if now == nil {
		return out, nil
	}
	out.Report = verdictReport(now)
	last, err := a.Gate.LastPassed(ctx, v)
	if err != nil {
		return nil, err
	}
	if before := report(last); before != nil {
		out.Difference = &VerdictDifference{Verdict: last.ID, URL: last.URL, Time: time.UnixMicro(last.Ended).UTC(), SameInstance: last.URL == v.URL, SameStart: last.URL == v.URL && last.Boot == v.Boot,
			SameContract: last.Contract == v.Contract, Text: conformance.Diff(before, now).String()}
	}
	return out, nil
}

type reportFile struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

func (a *API) verdictOperations() {
	type ByVerdict struct {
		ID string `path:"id" maxLength:"64" pattern:"^v[0-9a-f]+$"`
	}
	add(a, spec{id: "getVerdict", method: http.MethodGet, path: "/gate/verdicts/{id}", summary: "One test: findings with how to show each, coverage, what is different from the last that passed", tag: "gate", access: viewer},
		func(ctx context.Context, in *ByVerdict) (*body[VerdictDetail], error) {
			if a.Gate == nil {
				return nil, errNoGate
			}
			d, err := a.verdictDetail(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			return &body[VerdictDetail]{*d}, nil
		})
	for _, f := range []struct{ id, format, media, summary string }{
		{"getVerdictJSON", "json", "application/json", "The whole report of a test as it was written"},
		{"getVerdictHTML", "html", "text/html; charset=utf-8", "The report as one page that stands for itself"},
	} {
		add(a, spec{id: f.id, method: http.MethodGet, path: "/gate/verdicts/{id}/report." + f.format, summary: f.summary, tag: "gate", access: viewer},
			func(ctx context.Context, in *ByVerdict) (*reportFile, error) {
				if a.Gate == nil {
					return nil, errNoGate
				}
				v, err := a.Gate.Verdict(ctx, in.ID)
				if err != nil {
					return nil, err
				}
				r := report(&v)
				if r == nil {
					return nil, sallyport.Errorf(sallyport.NotFound, "the report of verdict %s is kept no more", in.ID)
				}
				var b bytes.Buffer
				if err := r.Write(&b, f.format, false); err != nil {
					return nil, err
				}
				// A file, never a page of the console's own origin.
				return &reportFile{f.media, `attachment; filename="` + in.ID + "." + f.format + `"`, b.Bytes()}, nil
			})
	}

	type latest struct {
		Verdicts []VerdictView `json:"verdicts" maxItems:"1000"`
	}
	add(a, spec{id: "latestVerdicts", method: http.MethodGet, path: "/apis/{api}/verdicts", summary: "The newest verdict of each instance of an API", tag: "gate", access: viewer},
		func(ctx context.Context, in *struct {
			API string `path:"api" minLength:"1" maxLength:"200"`
		}) (*body[latest], error) {
			out := latest{Verdicts: []VerdictView{}}
			if a.Gate == nil {
				return &body[latest]{out}, nil
			}
			list, err := a.Gate.Latest(ctx, in.API)
			for i := range list {
				out.Verdicts = append(out.Verdicts, verdictView(&list[i]))
			}
			return &body[latest]{out}, err
		})

	type demands struct {
		APIs []GateDemand `json:"apis" maxItems:"10000"`
	}
	add(a, spec{id: "listGateDemands", method: http.MethodGet, path: "/gate/demands", summary: "What the gate demands of each API, how many of its instances serve, and which breaking changes may pass", tag: "gate", access: viewer},
		func(ctx context.Context, _ *struct{}) (*body[demands], error) {
			out := demands{APIs: []GateDemand{}}
			if a.Gate == nil {
				return &body[demands]{out}, nil
			}
			fleet := a.Gate.Fleet()
			for _, d := range a.Gate.Demands() {
				d.Exceptions = append([]GateException{}, d.Exceptions...)
				for i := range d.Exceptions {
					if end, err := time.Parse(time.DateOnly, d.Exceptions[i].Expires); err == nil {
						d.Exceptions[i].Ended = !a.Now().Before(end.AddDate(0, 0, 1))
					}
				}
				for _, v := range fleet {
					if v.Instance.API == d.API && v.Instance.Admission != sallyport.Retired {
						d.Instances++
						if v.Instance.Admission == sallyport.Admitted && v.Instance.Healthy {
							d.Serving++
						}
					}
				}
				out.APIs = append(out.APIs, d)
			}
			return &body[demands]{out}, nil
		})

	type schedule struct {
		Tests []ScheduledTest `json:"tests" maxItems:"100000"`
	}
	add(a, spec{id: "listSchedule", method: http.MethodGet, path: "/gate/schedule", summary: "The next test of each instance, soonest first", tag: "gate", access: viewer},
		func(ctx context.Context, _ *struct{}) (*body[schedule], error) {
			out := schedule{Tests: []ScheduledTest{}}
			if a.Gate == nil {
				return &body[schedule]{out}, nil
			}
			for _, r := range a.Gate.Schedule() {
				out.Tests = append(out.Tests, ScheduledTest{r.API, r.URL, when(r.At), strings.TrimPrefix(r.Why, "by hand: "), string(r.Profile), r.Running})
			}
			return &body[schedule]{out}, nil
		})

	type triggers struct {
		Triggers []GateTrigger `json:"triggers" maxItems:"500"`
		Next     string        `json:"next" maxLength:"64" doc:"before of the page that follows; empty when there is none"`
	}
	add(a, spec{id: "listTriggers", method: http.MethodGet, path: "/gate/triggers", summary: "What started tests or changed doors by hand, by whom, and what followed; newest first", tag: "gate", access: viewer},
		func(ctx context.Context, in *struct {
			API    string `query:"api" maxLength:"200"`
			URL    string `query:"url" maxLength:"500" doc:"Of an instance"`
			Who    string `query:"who" maxLength:"200"`
			Before string `query:"before" maxLength:"64" pattern:"^(t[0-9a-f]+)?$"`
			Limit  int64  `query:"limit" minimum:"1" maximum:"500" default:"50"`
		}) (*body[triggers], error) {
			out := triggers{Triggers: []GateTrigger{}}
			if a.Gate == nil {
				return &body[triggers]{out}, nil
			}
			list, err := a.Gate.Triggers(ctx, gate.Filter{API: in.API, URL: in.URL, Who: in.Who, Before: in.Before, Limit: in.Limit})
			for _, t := range list {
				out.Triggers = append(out.Triggers, GateTrigger{t.ID, t.API, t.URL, time.UnixMicro(t.At).UTC(), t.What, t.Who, t.Detail, cmp.Or(t.Outcome, "running"), t.Verdict, micros(t.Ended)})
			}
			if int64(len(list)) == in.Limit {
				out.Next = list[len(list)-1].ID
			}
			return &body[triggers]{out}, err
		})
}

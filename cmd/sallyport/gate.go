package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
	"sallyport.dev/conformance"
	"sallyport.dev/conformance/gate"
	"sallyport.dev/gateway"
	"sallyport.dev/incident"
	"sallyport.dev/spec"
)

// gateConfig says how instances of an API are tested before they serve.
type gateConfig struct {
	Admit      gateProfile       `yaml:"admit" need:"1" enum:"full|safe|off" doc:"Test that admits an instance. full creates, changes and deletes, for instances without users; safe leaves nothing behind; off: no gate."`
	Identity   bootConfig        `yaml:"identity" doc:"How an instance says which start of it this is; asked on each new connection before that carries a user's request."`
	Every      time.Duration     `yaml:"every" doc:"Time between two tests of an instance that serves, give or take a twentieth. Default 6h."`
	Recheck    gateProfile       `yaml:"recheck" enum:"safe|full" doc:"Test of instances that serve. Default safe."`
	OnNone     onNone            `yaml:"on_none_admitted" enum:"refuse|last-good" doc:"What happens when the last admitted instance fails a test: it is taken out, or serves on. Default refuse."`
	Identities []gateIdentity    `yaml:"identities" doc:"Callers that the tests act as; two of one role, or the tests of foreign objects do not run."`
	Examples   map[string]string `yaml:"examples" doc:"Values of path parameters that the tests cannot find themselves, by {name}."`
	Skip       stringList        `yaml:"skip" doc:"Operations (\"DELETE /users/{id}\") and checks that are not run."`
	Requests   int               `yaml:"requests" doc:"Requests of one test at most. Default 20000, safe 4000."`
	Rate       int               `yaml:"rate" doc:"Requests a second of one test at most. Default 200 while an instance serves, else as they come."`
	Breaking   breakingConfig    `yaml:"breaking" doc:"Changes of the specification that break who uses the API."`
	Parallel   int               `yaml:"parallel" doc:"Instances of the API tested at once. Default 2."`
	Doors      []gateDoor        `yaml:"doors" doc:"Doors of others at which the instances serve too: what is held is closed there, what is admitted is opened."`
	Triggers   string            `yaml:"triggers" doc:"Secret, env:NAME or file:PATH, that signs POST /api/v1/gate/triggers. Default none: nobody may."`
	Watch      time.Duration     `yaml:"watch" doc:"Time between two questions which start of an instance answers, where doors of others send it requests. Default 1s."`
}

type (
	gateProfile string
	onNone      string
)

const (
	gateOff  gateProfile = "off"
	lastGood onNone      = "last-good"
)

type bootConfig struct {
	Path   string `yaml:"path" need:"1" doc:"Asked by GET, such as /version."`
	Header string `yaml:"header" doc:"Answer header that holds it, such as X-Boot-Id."`
	JSON   string `yaml:"json" doc:"JSON pointer of it in the answer, such as /boot_id."`
	Metric string `yaml:"metric" doc:"Sample of it in a Prometheus text, such as process_start_time_seconds."`
}

type gateIdentity struct {
	Name   string     `yaml:"name" need:"1" doc:"Its name."`
	Role   string     `yaml:"role" doc:"Callers of one role are equals. Default user; admin for operations below /admin."`
	Token  string     `yaml:"token" need:"1" doc:"Its credential, as env:NAME or file:PATH."`
	Scopes stringList `yaml:"scopes" doc:"Scopes that the credential has."`
}

// gated reports whether the API's instances are tested before they serve.
func (a *apiConfig) gated() bool { return a.Gate != nil && a.Gate.Admit != gateOff }

func (c *config) checkGate(a *apiConfig, path string, bad func(string, string, ...any)) {
	g := a.Gate
	if g == nil {
		return
	}
	path += ".gate"
	in := func(where string, v gateProfile, allowed ...gateProfile) {
		if !slices.Contains(allowed, v) {
			bad(path+where, "%q is not one of %v", v, allowed)
		}
	}
	in(".admit", g.Admit, "full", "safe", gateOff)
	in(".recheck", g.Recheck, "", "safe", "full")
	if g.OnNone != "" && g.OnNone != "refuse" && g.OnNone != lastGood {
		bad(path+".on_none_admitted", "%q is neither refuse nor last-good", g.OnNone)
	}
	if !a.gated() {
		return
	}
	if len(a.Spec) == 0 {
		bad(path, "what are its instances tested against? give the API a spec")
	}
	b := g.Identity
	n := 0
	for _, v := range []string{b.Header, b.JSON, b.Metric} {
		if v != "" {
			n++
		}
	}
	switch u, err := url.Parse(b.Path); {
	case b.Path == "":
		bad(path, "identity is missing: without an answer that changes with each start a restart could not be told (identity: {path: /version, header: X-Boot-Id})")
	case err != nil || !strings.HasPrefix(b.Path, "/") || u.Fragment != "":
		bad(path+".identity.path", "%q is not a path", b.Path)
	case n > 1:
		bad(path+".identity", "one of header, json and metric, or none of them")
	case b.JSON != "" && b.JSON[0] != '/':
		bad(path+".identity.json", "%q is not a JSON pointer such as /boot_id", b.JSON)
	}
	g.Breaking.check(path+".breaking", bad)
	c.checkGateDoors(a, path, bad)
	if g.Triggers != "" && !strings.HasPrefix(g.Triggers, "env:") && !strings.HasPrefix(g.Triggers, "file:") {
		bad(path+".triggers", "want env:NAME or file:PATH, so that no secret stands in the file")
	}
	if g.Every < 0 || g.Every > 0 && g.Every < time.Minute {
		bad(path+".every", "%s is shorter than a minute", g.Every)
	}
	seen := map[string]bool{}
	for i, id := range g.Identities {
		if seen[id.Name] {
			bad(fmt.Sprintf("%s.identities[%d].name", path, i), "%q stands twice", id.Name)
		}
		seen[id.Name] = true
		if !strings.HasPrefix(id.Token, "env:") && !strings.HasPrefix(id.Token, "file:") {
			bad(fmt.Sprintf("%s.identities[%d].token", path, i), "want env:NAME or file:PATH, so that no credential stands in the file")
		}
	}
	if !c.has(roleControl) {
		bad(path, "the gate is run where control is: instances of a gateway without it would never be admitted")
	}
}

// boot is how the door tells the starts of an instance apart.
func (a *apiConfig) boot() *gateway.Boot {
	if !a.gated() {
		return nil
	}
	b := a.Gate.Identity
	return &gateway.Boot{Path: b.Path, Header: b.Header, JSON: b.JSON, Metric: b.Metric}
}

// demands are what the gate demands of each API.
func (c *compiled) demands() (out []gate.API) {
	for i := range c.APIs {
		a := &c.APIs[i]
		if !a.gated() {
			continue
		}
		every := a.Gate.Every
		if every == 0 {
			every = 6 * time.Hour
		}
		out = append(out, gate.API{Name: a.Name, Admit: gate.Profile(a.Gate.Admit), Recheck: gate.Profile(cmp.Or(a.Gate.Recheck, "safe")), Every: every,
			Parallel: a.Gate.Parallel, LastGood: a.Gate.OnNone == lastGood, Contract: c.contract(a)})
	}
	return out
}

// contract names what instances of an API are tested against: it changes when
// a specification, the policy or the gate's own settings do.
func (c *compiled) contract(a *apiConfig) string {
	h := sha256.New()
	json.NewEncoder(h).Encode(a)
	for _, s := range a.Spec {
		if b, err := os.ReadFile(s); err == nil {
			h.Write(b)
		}
	}
	for _, g := range c.apis {
		if g.Name == a.Name && g.Spec != nil {
			for _, o := range g.Spec.Operations() {
				fmt.Fprintln(h, o.Method, o.Template, o.ID)
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// testHeader marks the requests of a test, for the instance's own records.
const testHeader = "X-Sallyport-Test"

// test runs the conformance tests against one instance.
func (e *engine) test(ctx context.Context, s gate.Subject) (gate.Outcome, error) {
	e.mu.Lock()
	c := e.current
	e.mu.Unlock()
	i := slices.IndexFunc(c.APIs, func(a apiConfig) bool { return a.Name == s.Instance.API })
	if i < 0 || c.APIs[i].Gate == nil {
		return gate.Outcome{}, sallyport.Errorf(sallyport.NotFound, "API %s is not gated any more", s.Instance.API)
	}
	a := &c.APIs[i]
	var sources []spec.Source
	for _, p := range a.Spec {
		sources = append(sources, spec.Source{Path: p})
	}
	set, err := spec.Load(ctx, sources, spec.Options{Keep: true})
	if err != nil {
		return gate.Outcome{}, fmt.Errorf("load the specification: %w", err)
	}
	plan := conformance.Plan{API: a.Name, Spec: set, Target: s.Instance.URL, Profile: conformance.Profile(s.Profile), Examples: a.Gate.Examples, Skip: a.Gate.Skip,
		Header: http.Header{testHeader: {s.ID}}, Budget: conformance.Budget{Requests: a.Gate.Requests, Rate: float64(a.Gate.Rate)}}
	if s.Instance.Admission == sallyport.Admitted && a.Gate.Rate == 0 {
		plan.Budget.Rate = 200
	}
	for j, id := range a.Gate.Identities {
		token, err := c.secret(id.Token)
		if err != nil {
			return gate.Outcome{}, fmt.Errorf("gate.identities[%d].token: %w", j, err)
		}
		plan.Identities = append(plan.Identities, conformance.Identity{Name: id.Name, Role: id.Role, Token: token, Scopes: id.Scopes})
	}
	way, err := e.gateway.Way(s.Instance)
	if errors.Is(err, sallyport.NotFound) {
		way, err = e.gateway.WayOutside(s.Instance)
	}
	if err != nil {
		return gate.Outcome{}, err
	}
	plan.Transport = way
	if len(a.Match.Host) > 0 && !strings.Contains(a.Match.Host[0], "*") {
		plan.Transport = hosted{way, a.Match.Host[0]}
	}
	report, err := conformance.Run(ctx, plan)
	if err != nil {
		return gate.Outcome{}, err
	}
	if ctx.Err() != nil {
		return gate.Outcome{}, ctx.Err()
	}
	if err := e.changes(ctx, a, set, report); err != nil {
		return gate.Outcome{}, err
	}
	b, err := json.Marshal(report)
	if err != nil {
		return gate.Outcome{}, err
	}
	return gate.Outcome{Passed: report.Passed, Summary: summaryOf(report), Report: b}, nil
}

// summaryOf is a report in one line.
func summaryOf(r *conformance.Report) string {
	if r.Passed {
		return fmt.Sprintf("%d kinds of check over %d operations, %d requests", len(r.Coverage.Checks), len(r.Coverage.Operations), r.Requests)
	}
	var names []string
	n := 0
	for _, f := range r.Findings {
		if f.Level == conformance.Note {
			continue
		}
		n++
		name := f.Check + " at " + f.Operation
		if f.Check == "contract.breaking-change" {
			name += " (" + f.Detail + ")"
		}
		if !slices.Contains(names, name) && len(names) < 3 {
			names = append(names, name)
		}
	}
	s := fmt.Sprintf("%d findings: %s", n, strings.Join(names, ", "))
	if n > len(names) {
		s += ", …"
	}
	return s
}

// hosted sends the Host that clients of the API do.
type hosted struct {
	http.RoundTripper
	host string
}

// RoundTrip implements http.RoundTripper.
func (h hosted) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = h.host
	return h.RoundTripper.RoundTrip(r)
}

// openGate opens the gate, when some API has one or had one.
func (e *engine) openGate(ctx context.Context) (err error) {
	e.front = gate.NewFront(gate.FrontOptions{Own: clusterDoor{e.gateway, e}, Logger: e.log})
	e.gate, err = gate.Open(ctx, gate.Options{Doors: e.front, Test: e.test, Store: e.store, Logger: e.log, Keep: e.cfg.Retention.Verdicts, ReportBytes: int64(e.cfg.Retention.ReportBytes),
		Failed: func(v gate.Verdict) { e.incidents.Report(e.failure(v)) }, Passed: func(v gate.Verdict) { e.incidents.ReportPass(proof(v)) }})
	if err == nil {
		e.nudged.Store(e.gate)
	}
	return err
}

const conformanceTest = "conformance"

// depths say how deep a profile looks: what a deeper test found only one as
// deep can end.
var depths = map[string]int{string(gate.Safe): 1, string(gate.Full): 2, string(gate.Deep): 3}

// failure is the incident that a verdict opens.
func (e *engine) failure(v gate.Verdict) incident.New {
	n := incident.New{Kind: conformanceTest, API: v.API, Subject: v.URL, Title: "An instance of " + v.API + " failed its tests", Severity: incident.Medium,
		Source: v.ID, Depth: depths[v.Profile], At: time.UnixMicro(v.Ended)}
	if v.Trigger != "new" && v.Trigger != "started again" {
		n.Severity = incident.High // it served before
	}
	n.Evidence = []incident.Evidence{{Kind: "verdict", Title: "Verdict " + v.ID, Body: v.Summary + "\ntested: " + v.Trigger + ", profile " + v.Profile + "\nGET /api/v1/gate/verdicts/" + v.ID}}
	var r conformance.Report
	if json.Unmarshal(v.Report, &r) != nil {
		return n
	}
	n.Difference = e.difference(v, &r)
	for _, f := range r.Findings {
		if f.Level == conformance.Note || len(n.Evidence) > 20 {
			continue
		}
		if strings.HasPrefix(f.Check, "security.") {
			n.Severity = incident.High
		}
		if n.Reproduction == "" {
			n.Reproduction = f.Curl
		}
		n.Evidence = append(n.Evidence, incident.Evidence{Kind: "finding", Title: f.Check + " at " + f.Operation, Body: strings.TrimSpace(f.Place+"\n"+f.Detail) + "\n" + f.Curl})
	}
	return n
}

// proof is what a passed verdict ends incidents by.
func proof(v gate.Verdict) incident.Proof {
	return incident.Proof{Kind: conformanceTest, API: v.API, Subject: v.URL, ID: v.ID, Summary: v.Summary, Depth: depths[v.Profile], At: time.UnixMicro(v.Ended)}
}

// verdicts are what ended since a time: what incidents were not opened for
// before we went down is found again here.
func (e *engine) verdicts(ctx context.Context, since time.Time) ([]incident.Result, error) {
	g := e.nudged.Load()
	if g == nil {
		return nil, errGateClosed
	}
	list, err := g.Since(ctx, since, 1000)
	var out []incident.Result
	for _, v := range list {
		if v.Passed {
			p := proof(v)
			out = append(out, incident.Result{Passed: &p})
			continue
		}
		n := e.failure(v)
		out = append(out, incident.Result{Failed: &n})
	}
	return out, err
}

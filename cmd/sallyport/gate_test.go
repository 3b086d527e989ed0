package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/console/api"
)

const gatedSpec = `openapi: 3.1.0
info: {title: Notes, version: "1"}
paths:
  /notes/{id}:
    get:
      operationId: note
      parameters: [{name: id, in: path, required: true, schema: {type: integer, minimum: 1, maximum: 1000}, example: 7}]
      responses:
        "200": {description: a note, content: {application/json: {schema: {type: object, required: [id, text], additionalProperties: false, properties: {id: {type: integer}, text: {type: string}}}}}}
        "400": {description: bad, content: {application/problem+json: {schema: {type: object}}}}
        "404": {description: none, content: {application/problem+json: {schema: {type: object}}}}
        "405": {description: method, content: {application/problem+json: {schema: {type: object}}}}
  /version:
    get:
      operationId: version
      responses: {"200": {description: build, content: {application/json: {schema: {type: object, required: [boot], properties: {boot: {type: string}}}}}}}
`

// notes is one start of a service; broken ones answer what their document does not say.
type notes struct {
	srv   *http.Server
	users atomic.Int64
}

func notesAt(t *testing.T, addr, boot string, broken bool) *notes {
	t.Helper()
	n := &notes{}
	problem := func(w http.ResponseWriter, status int) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"title": %q, "status": %d}`, http.StatusText(status), status)
	}
	n.srv = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Sallyport-Test") == "" && r.URL.Path != "/version" {
			n.users.Add(1)
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "frame-ancestors 'none'")
		w.Header().Set("Cache-Control", "no-store")
		id, found := strings.CutPrefix(r.URL.Path, "/notes/")
		switch {
		case r.URL.Path != "/version" && !found:
			problem(w, 404)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			problem(w, 405)
		case r.URL.Path == "/version":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"boot": %q}`, boot)
		default:
			var k int
			if _, err := fmt.Sscanf(id, "%d", &k); err != nil || fmt.Sprint(k) != id || k < 1 || k > 1000 {
				problem(w, 400)
				return
			}
			if k > 100 {
				problem(w, 404)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			if broken {
				fmt.Fprintf(w, `{"id": "%d", "text": "hello", "password_hash": "x"}`, k)
				return
			}
			fmt.Fprintf(w, `{"id": %d, "text": "hello"}`, k)
		}
	})}
	var ln net.Listener
	var err error
	for range 200 {
		if ln, err = net.Listen("tcp", addr); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	go n.srv.Serve(ln)
	t.Cleanup(func() { n.srv.Close() })
	return n
}

// No instance serves before its tests have passed: not a new one, not one that
// fails them, not one that was started again, and not while we are away.
func TestNoDoorOpensUntested(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a, b := freeAddr(t), freeAddr(t)
	good, bad := notesAt(t, a, "a1", false), notesAt(t, b, "b1", true)
	write(t, filepath.Join(s.dir, "notes.yaml"), gatedSpec)
	write(t, filepath.Join(s.dir, "sallyport.yaml"), fmt.Sprintf(`listen: {gateway: "%s", console: "%s"}
tls: "off"
data: data
keys: file:keys/master.key
apis:
  - name: notes
    spec: notes.yaml
    match: {host: pets.example.test}
    upstreams: [{url: "http://%s"}, {url: "http://%s"}]
    owner: {team: Notes, contact: notes@example.test}
    mode: enforce
    gate:
      admit: full
      identity: {path: /version, json: /boot}
      every: 6h
`, s.gateway, s.console, a, b))
	p := s.start(t)
	d := p.signIn(p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1], password)
	type fleet struct {
		Instances []struct{ URL, State, Reason, Boot, Verdict string }
	}
	state := func(addr string) (got struct{ URL, State, Reason, Boot, Verdict string }) {
		var f fleet
		d.do("GET", "/gate", nil, 200, &f)
		for _, in := range f.Instances {
			if strings.HasSuffix(in.URL, addr) {
				return in
			}
		}
		return got
	}
	becomes := func(addr, want string) {
		t.Helper()
		eventually(t, 60*time.Second, func() string {
			if got := state(addr); got.State != want {
				return fmt.Sprintf("%s is %s (%s), want %s", addr, got.State, got.Reason, want)
			}
			return ""
		})
	}
	becomes(b, "quarantined")
	becomes(a, "admitted")
	get := func() int {
		req, _ := http.NewRequest("GET", "http://"+s.gateway+"/notes/7", nil)
		req.Host = "pets.example.test"
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return res.StatusCode
	}
	for range 20 {
		if status := get(); status != 200 {
			t.Errorf("answered %d while an instance is admitted", status)
		}
	}
	if bad.users.Load() != 0 || good.users.Load() == 0 {
		t.Errorf("%d requests reached the one that fails, %d the other", bad.users.Load(), good.users.Load())
	}
	var detail struct {
		Verdict struct {
			Passed  bool
			Summary string
		}
		Report json.RawMessage
	}
	d.do("GET", "/gate/verdicts/"+state(b).Verdict, nil, 200, &detail)
	if detail.Verdict.Passed || !strings.Contains(string(detail.Report), "password_hash") && !strings.Contains(string(detail.Report), "/id") || !strings.Contains(string(detail.Report), "curl") {
		t.Errorf("the verdict: %+v %.600s", detail.Verdict, detail.Report)
	}

	// The newest verdict of each instance; a report as it is, as a page, and by numbers.
	var latest struct{ Verdicts []api.VerdictView }
	d.do("GET", "/apis/notes/verdicts", nil, 200, &latest)
	if len(latest.Verdicts) != 2 {
		t.Errorf("the newest verdicts: %+v", latest)
	}
	quarantined := state(b).Verdict
	var whole1 api.VerdictDetail
	d.do("GET", "/gate/verdicts/"+quarantined, nil, 200, &whole1)
	r := whole1.Report
	if r == nil || len(r.Findings) == 0 || r.Findings[0].Curl == "" || r.Findings[0].Why == "" || r.Coverage.Operations == 0 || r.Coverage.Declared == 0 || r.Coverage.Checks < 40 || r.Coverage.Judged == 0 || len(r.Coverage.Rows) != r.Coverage.Operations {
		t.Errorf("the report: %+v", r)
	}
	var raw json.RawMessage
	d.do("GET", "/gate/verdicts/"+quarantined+"/report.json", nil, 200, &raw)
	if !strings.Contains(string(raw), `"findings"`) {
		t.Errorf("report.json: %.300s", raw)
	}
	res, err := d.http.Get(d.base + "/gate/verdicts/" + quarantined + "/report.html")
	if err != nil {
		t.Fatal(err)
	}
	page, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if page := string(page); res.Header.Get("Content-Disposition") == "" || !strings.Contains(page, "<h1>Failed: notes at http://"+b) {
		t.Errorf("report.html: %.300s", page)
	}
	var schedule struct{ Tests []api.ScheduledTest }
	d.do("GET", "/gate/schedule", nil, 200, &schedule)
	var demands struct{ APIs []api.GateDemand }
	d.do("GET", "/gate/demands", nil, 200, &demands)
	if len(schedule.Tests) != 2 || !strings.HasSuffix(schedule.Tests[1].URL, a) || schedule.Tests[1].Why != "timer" || len(demands.APIs) != 1 || demands.APIs[0].Every != 6*3600 || demands.APIs[0].Serving != 1 || demands.APIs[0].Instances != 2 {
		t.Errorf("the schedule: %+v, the demands: %+v", schedule, demands)
	}
	for path, status := range map[string]int{"/gate/verdicts/v0": 404, "/gate/verdicts/v0/report.json": 404, "/gate/verdicts/v0/report.html": 404, "/apis/nobody/verdicts": 200, "/gate/triggers?before=x": 400} {
		d.do("GET", path, nil, status, nil)
	}

	// Started again with a defect, on the same address.
	good.srv.Close()
	next := notesAt(t, a, "a2", true)
	for range 20 {
		if status := get(); status != 503 && status != 502 {
			t.Errorf("answered %d while nothing is admitted", status)
		}
	}
	becomes(a, "quarantined")
	if n := next.users.Load(); n != 0 {
		t.Errorf("%d requests reached a start that nobody had tested", n)
	}
	// An investigation is open for each, with what failed and how to show it.
	type book struct {
		Incidents []struct{ Subject, State, Title string }
	}
	incidents := func(addr, want string) {
		t.Helper()
		eventually(t, 10*time.Second, func() string {
			var got book
			d.do("GET", "/incidents?limit=50", nil, 200, &got)
			for _, i := range got.Incidents {
				if strings.HasSuffix(i.Subject, addr) && i.State == want {
					return ""
				}
			}
			return fmt.Sprintf("no incident of %s is %s: %+v", addr, want, got)
		})
	}
	incidents(a, "open")
	incidents(b, "open")
	// Verdict and incident know each other, and what is different from the last that passed.
	var worse api.VerdictDetail
	d.do("GET", "/gate/verdicts/"+state(a).Verdict, nil, 200, &worse)
	var found api.IncidentDetail
	d.do("GET", "/incidents/"+worse.Incident, nil, 200, &found)
	if x := worse.Difference; x == nil || x.SameStart || !x.SameInstance || !x.SameContract || !strings.Contains(x.Text, "+ ") || found.Incident.Source != state(a).Verdict || !strings.Contains(found.Difference, "another start of it\n+ ") {
		t.Errorf("difference %+v, incident %+v", x, found.Incident)
	}
	// While we are away it is started again, whole this time: what was held is held until it was tested.
	p.stop()
	next.srv.Close()
	whole := notesAt(t, a, "a3", false)
	p = s.start(t)
	d = p.signIn("", password)
	becomes(a, "admitted")
	if n := whole.users.Load(); n != 0 {
		t.Errorf("%d requests reached it before", n)
	}
	if status := get(); status != 200 {
		t.Errorf("answered %d", status)
	}
	incidents(a, "resolved")
	// Our own restart costs one that goes on nothing.
	v := state(a).Verdict
	p.stop()
	p = s.start(t)
	d = p.signIn("", password)
	becomes(a, "admitted")
	if got := state(a); got.Verdict != v || got.Boot != "a3" {
		t.Errorf("after our restart: %+v", got)
	}
	// By hand.
	d.do("POST", "/gate/holds", map[string]string{"api": "notes", "url": "http://" + a, "reason": "disk is odd"}, 201, nil)
	if status := get(); status != 503 {
		t.Errorf("answered %d although it is held by hand", status)
	}
	d.do("POST", "/gate/releases", map[string]string{"api": "notes", "url": "http://" + a, "reason": "disk is new"}, 202, nil)
	becomes(a, "admitted")
	d.do("POST", "/gate/tests", map[string]string{"api": "notes", "reason": "new disk"}, 202, nil)
	var journal struct{ Triggers []api.GateTrigger }
	eventually(t, 30*time.Second, func() string {
		d.do("GET", "/gate/triggers?who=root", nil, 200, &journal)
		for _, want := range []string{"by hand new disk passed", "by hand disk is new passed", "released by hand disk is new done", "held by hand disk is odd done"} {
			if !slices.ContainsFunc(journal.Triggers, func(x api.GateTrigger) bool {
				return x.What+" "+x.Detail+" "+x.Outcome == want && strings.HasSuffix(x.URL, a)
			}) {
				return fmt.Sprintf("%q is missing: %+v", want, journal)
			}
		}
		return ""
	})
	p.stop()
}

// The commands of the guide print what the guide says.
func TestGateGuideRunsAsWritten(t *testing.T) {
	guide{page: "gate.md", example: "gate", service: "127.0.0.1:9007", gateway: "127.0.0.1:8097", console: "127.0.0.1:9457", more: []string{"127.0.0.1:9008"}, setup: []string{"get()", "admitted()"}, least: 5}.run(t)
}

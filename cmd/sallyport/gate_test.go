package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
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
	d.do("POST", "/gate/tests", map[string]string{"api": "notes"}, 202, nil)
	p.stop()
}

// The commands of the guide print what the guide says.
func TestGateGuideRunsAsWritten(t *testing.T) {
	guide{page: "gate.md", example: "gate", service: "127.0.0.1:9007", gateway: "127.0.0.1:8097", console: "127.0.0.1:9457", more: []string{"127.0.0.1:9008"}, setup: []string{"get()", "admitted()"}, least: 5}.run(t)
}

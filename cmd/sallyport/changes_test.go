package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/conformance"
	"sallyport.dev/console/api"
)

// A new specification that breaks an active consumer fails the gate with its
// name, in the verdict and in the incident; one that breaks nobody passes, and
// one that somebody has approved passes for a time.
func TestAChangeThatBreaksAConsumerFailsTheGate(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	addr := freeAddr(t)
	notesAt(t, addr, "a1", false)
	key, line := newKey(t, "billing-2030", "--subject", "billing", "--days", "3")
	file := filepath.Join(s.dir, "notes.yaml")
	write(t, file, gatedSpec)
	configure := func(breaking string) {
		write(t, filepath.Join(s.dir, "sallyport.yaml"), fmt.Sprintf(`listen: {gateway: "%s", console: "%s"}
tls: "off"
data: data
keys: file:keys/master.key
apis:
  - name: notes
    spec: notes.yaml
    match: {host: pets.example.test}
    upstreams: [{url: "http://%s"}]
    mode: enforce
    auth:
      anonymous: never
      keys:
        %s
    gate:
      admit: full
      recheck: full
      identity: {path: /version, json: /boot}
%s`, s.gateway, s.console, addr, line, breaking))
	}
	configure("")
	p := s.start(t)
	d := p.signIn(p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1], password)
	var fleet struct {
		Instances []struct{ State, Reason, Verdict string }
	}
	becomes := func(want, not string) string {
		t.Helper()
		eventually(t, 60*time.Second, func() string {
			d.do("GET", "/gate", nil, 200, &fleet)
			if len(fleet.Instances) != 1 || fleet.Instances[0].State != want || fleet.Instances[0].Verdict == not {
				return fmt.Sprintf("%+v, want %s by another verdict than %s", fleet, want, not)
			}
			return ""
		})
		return fleet.Instances[0].Verdict
	}
	raw := func(path string) (b json.RawMessage) {
		d.do("GET", path, nil, 200, &b)
		return b
	}
	first := becomes("admitted", "")
	eventually(t, 60*time.Second, func() string { // until the inventory knows who uses it
		req, _ := http.NewRequest("GET", "http://"+s.gateway+"/notes/7", nil)
		req.Host = "pets.example.test"
		req.Header.Set("X-API-Key", key)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		var detail struct{ Users []struct{ Principal string } }
		b := raw("/operation?api=notes&method=GET&template=" + url.QueryEscape("/notes/{id}"))
		if json.Unmarshal(b, &detail); res.StatusCode != 200 || len(detail.Users) == 0 {
			return fmt.Sprintf("%d, %s", res.StatusCode, b)
		}
		return ""
	})
	// A member more breaks nobody.
	write(t, file, strings.Replace(gatedSpec, "text: {type: string}", "text: {type: string}, title: {type: string}", 1))
	second := becomes("admitted", first)
	// The members title and the numbers above 500 are taken back.
	write(t, file, strings.ReplaceAll(gatedSpec, "maximum: 1000", "maximum: 500"))
	third := becomes("quarantined", second)
	report := string(raw("/gate/verdicts/" + third))
	if !strings.Contains(report, "contract.breaking-change") || !strings.Contains(report, "billing") || !strings.Contains(report, "request.narrowed") {
		t.Errorf("the verdict: %.2000s", report)
	}
	eventually(t, 10*time.Second, func() string {
		var book struct{ Incidents []struct{ ID any } }
		d.do("GET", "/incidents?limit=50", nil, 200, &book)
		for _, i := range book.Incidents {
			if b := string(raw(fmt.Sprintf("/incidents/%v", i.ID))); strings.Contains(b, "breaking-change") && strings.Contains(b, "billing") {
				return ""
			}
		}
		return fmt.Sprintf("no incident names the consumer: %+v", book)
	})
	configure(`      breaking:
        exceptions:
          - {operation: "GET /notes/{id}", approver: Head of APIs, expires: 2999-12-31, reason: agreed with billing}
`)
	p.cmd.Process.Signal(syscall.SIGHUP)
	var allowed api.VerdictDetail
	d.do("GET", "/gate/verdicts/"+becomes("admitted", third), nil, 200, &allowed)
	if r := allowed.Report; r == nil || len(r.Breaks) == 0 || !r.Breaks[0].Allowed || r.Breaks[0].Approver != "Head of APIs" || len(r.Breaks[0].Consumers) == 0 {
		t.Errorf("the report: %+v", r)
	}
	var demands struct{ APIs []api.GateDemand }
	if d.do("GET", "/gate/demands", nil, 200, &demands); len(demands.APIs) != 1 || len(demands.APIs[0].Exceptions) != 1 || demands.APIs[0].Exceptions[0].Ended || demands.APIs[0].Window != 720*3600 {
		t.Errorf("%+v", demands)
	}
	p.stop()
}

// check --against compares two descriptions, with an instance or without one.
func TestCheckAgainstAnOlderDescription(t *testing.T) {
	dir := t.TempDir()
	old, now := filepath.Join(dir, "old.yaml"), filepath.Join(dir, "new.yaml")
	for _, x := range []struct {
		name, spec string
		code       int
		want       string
	}{
		{"breaks", strings.ReplaceAll(gatedSpec, "maximum: 1000", "maximum: 500"), 1, "request.narrowed"},
		{"does not", strings.ReplaceAll(gatedSpec, "maximum: 1000", "maximum: 2000"), 0, "passed"},
		{"no description", "openapi: 3.1.0\n", 2, ""},
	} {
		write(t, old, gatedSpec)
		write(t, now, x.spec)
		var out bytes.Buffer
		if code := command(t.Context(), []string{"check", now, "--against", old}, &out, &out); code != x.code || !strings.Contains(out.String(), x.want) {
			t.Errorf("%s: exit %d, want %d with %q\n%s", x.name, code, x.code, x.want, out.String())
		}
	}
	write(t, now, gatedSpec)
	var out bytes.Buffer
	if code := command(t.Context(), []string{"check", now, "--against", filepath.Join(dir, "none.yaml")}, &out, &out); code != 2 {
		t.Errorf("without the older one: exit %d\n%s", code, out.String())
	}
}

// The commands of the guide print what the guide says.
func TestCheckGuideRunsAsWritten(t *testing.T) {
	t.Parallel()
	good, bad := freeAddr(t), freeAddr(t)
	notesAt(t, good, "a1", false)
	notesAt(t, bad, "b1", true)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Abs("../../examples/gate")
	if err != nil {
		t.Fatal(err)
	}
	runGuide(t, "check-in-ci.md", t.TempDir(), 5, strings.NewReplacer("bin/sallyport", asCommand+"=1 "+self, "examples/gate/", examples+"/", "127.0.0.1:9007", good, "127.0.0.1:9008", bad), "check()")
}

// A file of seeds that is empty, huge, cut off or hostile is refused in words,
// without a secret of it in them.
func FuzzSeeds(f *testing.F) {
	for _, s := range []string{"", "identities: [{name: a, token: env:A}]", "identities: [{name: a, token: geheim}]", "identities: {", "examples: {\"{id}\": \"1\"}\nskip: [x]",
		"refused: [{}]", "a: &a [*a]", "\x00\xff", "identities: [{name: a, token: file:/dev/zero-none}]", strings.Repeat("[", 10_000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(t.TempDir(), "seeds.yaml")
		write(t, file, text)
		var p conformance.Plan
		err := conformCmd{Seeds: file}.seeds(&p)
		if err != nil && strings.Contains(text, "token: geheim") && strings.Contains(err.Error(), "geheim") {
			t.Errorf("the error tells a secret: %v", err)
		}
		for _, i := range p.Identities {
			if i.Name == "" {
				t.Errorf("an identity without a name: %+v", p.Identities)
			}
		}
	})
}

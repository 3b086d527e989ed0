package main

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/incident"
	"sallyport.dev/store"
)

// The commands of the guide print what the guide says.
func TestIncidentsGuideRunsAsWritten(t *testing.T) {
	dir, hook := t.TempDir(), freeAddr(t)
	_, port, _ := strings.Cut(hook, ":")
	put := strings.NewReplacer("127.0.0.1:9010", hook)
	for _, name := range []string{"receiver.mjs", "sallyport.yaml"} {
		b, err := os.ReadFile("../../examples/incidents/" + name)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), put.Replace(string(b)))
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "sallyport")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv(asCommand, "1")
	c := exec.Command("node", "receiver.mjs", port)
	c.Dir = dir
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { c.Process.Kill(); c.Wait() }()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("the receiver said %q: %v", line, err)
	}
	runGuide(t, "incidents.md", dir, 4, put)
}

// TestNotifyIsChecked: mistakes are named with their place, and no secret with them.
func TestNotifyIsChecked(t *testing.T) {
	t.Setenv("HOOK", "the-password-of-the-hook")
	t.Setenv("SHORT", "short")
	t.Setenv("ODD", "nosuch://the-password@host")
	for _, c := range []struct{ given, want string }{
		{`{webhook: "https://hooks.example.test/x", secret: env:HOOK, on: [opened], severity: high}`, ""},
		{`{webhook: "http://127.0.0.1:9/x", secret: env:HOOK}`, ""},
		{`{}`, "want either url or webhook"},
		{`{webhook: "https://hooks.example.test/x"}`, "webhook and secret go together"},
		{`{webhook: "https://hooks.example.test/x", secret: the-password-in-the-file}`, "secrets never stand in the configuration"},
		{`{webhook: "https://hooks.example.test/x", secret: env:SHORT}`, "shorter than 16 bytes"},
		{`{webhook: "http://hooks.example.test/x", secret: env:HOOK}`, "no https:// URL"},
		{`{url: env:ODD}`, "does not take this nosuch:// URL"},
		{`{url: "slack://the-password@x"}`, "secrets never stand in the configuration"},
		{`{url: env:NOT_SET_HERE}`, "NOT_SET_HERE is not set"},
		{`{webhook: "https://hooks.example.test/x", secret: env:HOOK, on: [closed]}`, "is not one of opened, overdue, resolved"},
		{`{webhook: "https://hooks.example.test/x", secret: env:HOOK, severity: urgent}`, "severity"},
	} {
		_, err := parseConfig("x.yaml", []byte("tls: \"off\"\nlisten: {gateway: \"127.0.0.1:0\", console: \"127.0.0.1:0\"}\nnotify:\n  - "+c.given+"\n"))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.given, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "the-password") {
			t.Errorf("%s: the mistake tells a secret: %v", c.given, err)
		}
	}
}

// TestIncidentOnTheDesk: an incident of the database is listed, dealt with and
// audited through the management API in front of our own guard, its target is
// notified by the running process, and the metrics count it.
func TestIncidentOnTheDesk(t *testing.T) {
	t.Setenv("HOOK", "the-password-of-the-hook")
	told := make(chan string, 16)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		b.ReadFrom(r.Body)
		told <- b.String()
	}))
	defer hook.Close()
	s := newSite(t)
	s.configure(t, `notify: [{name: hook, webhook: "`+hook.URL+`", secret: env:HOOK}]`)
	// As the process before this one left it, its notification not sent.
	key, err := store.LoadKey("file:"+s.dir+"/keys/master.key", s.dir+"/data")
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Options{Dir: s.dir + "/data", Key: key})
	if err != nil {
		t.Fatal(err)
	}
	b, err := incident.Open(t.Context(), incident.Options{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	b.Configure(incident.Settings{Targets: []incident.Target{{Name: "hook", On: []incident.Event{incident.EventOpened}}}})
	i, err := b.Open(t.Context(), incident.New{Kind: "conformance", API: "pets", Subject: s.upstream.URL, Title: "3 of 40 checks failed", Severity: incident.High, Source: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	p := s.start(t)
	defer p.stop()
	d := p.signIn(p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1], "a long password for this test")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	select {
	case text := <-told:
		if !strings.Contains(text, i.ID) || !strings.Contains(text, "3 of 40") {
			t.Errorf("told %s", text)
		}
	case <-ctx.Done():
		t.Fatal("nobody was told")
	}
	path := "/api/v1/incidents/" + i.ID
	for _, c := range []struct {
		method, path, body string
		want               int
		holds              string
	}{
		{"GET", "/api/v1/incidents?state=current&severity=high&api=pets", "", 200, i.ID},
		{"GET", "/api/v1/incidents?state=resolved", "", 200, `"incidents":[]`},
		{"GET", "/api/v1/incidents?state=closed", "", 400, ""},
		{"POST", path + "/acknowledgement", "", 200, `"state":"acknowledged"`},
		{"POST", path + "/acknowledgement", "", 409, ""},
		{"PUT", path + "/assignee", `{"to":"vera"}`, 200, `"assignee":"vera"`},
		{"POST", path + "/comments", `{"text":"the index is missing"}`, 201, ""},
		{"PUT", path + "/exception", `{"reason":"known","until":"2001-01-01T00:00:00Z"}`, 422, ""},
		{"PUT", path + "/exception", `{"reason":"known","until":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}`, 200, `"state":"excepted"`},
		{"POST", "/api/v1/notifications/test", "", 200, `"problem":""`},
		{"GET", path, "", 200, "the index is missing"},
		{"GET", "/api/v1/incidents/i0", "", 404, ""},
		{"GET", "/api/v1/audit?action=incident.except", "", 200, i.ID},
	} {
		req, err := http.NewRequestWithContext(ctx, c.method, "http://"+s.console+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if c.body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		res, err := d.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		body.ReadFrom(res.Body)
		res.Body.Close()
		if res.StatusCode != c.want || !strings.Contains(body.String(), c.holds) {
			t.Errorf("%s %s: %d %.400s; want %d with %s", c.method, c.path, res.StatusCode, body.String(), c.want, c.holds)
		}
	}
	for d := time.Now().Add(10 * time.Second); p.metric("sallyport_incidents_excepted") != 1; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(d) {
			t.Fatal("the metrics do not count it")
		}
	}
}

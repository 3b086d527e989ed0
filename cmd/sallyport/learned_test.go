package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/spec"
)

// The first request of an API without a specification makes a row; fifty make a
// tentative schema, which loads as a specification and is there after a restart.
func TestLearnedFromLiveTraffic(t *testing.T) {
	s := newSite(t)
	s.upstream.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, `{"id":7,"name":"Ada Lovelace","status":"open","email":"ada@example.org"}`)
		case strings.HasPrefix(r.URL.Path, "/orders/"):
			io.WriteString(w, `{"id":7,"status":"open","note":null,"lines":[{"sku":"a","count":1},{"sku":"b"}]}`)
		default:
			io.WriteString(w, `[{"id":7,"status":"open"}]`)
		}
	})
	b, err := os.ReadFile(filepath.Join(s.dir, "sallyport.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.dir, "sallyport.yaml"), strings.Replace(strings.Replace(string(b), "    spec: pets.yaml\n", "", 1), "shadow: refuse", "shadow: observe", 1))
	p := s.start(t)
	d := p.signIn(p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1], password)
	ask := func(method, target, body string) {
		t.Helper()
		if status, _, answer := s.ask(t, method, target, body); status >= 300 {
			t.Fatalf("%s %s: %d %s", method, target, status, answer)
		}
	}
	ask("GET", "/orders/1000?expand=lines", "")
	eventually(t, 5*time.Second, func() string {
		var raw json.RawMessage
		d.do("GET", "/operations?api=pets", nil, 200, &raw)
		if !strings.Contains(string(raw), `"/orders/{orderId}"`) {
			return "no row after the first request: " + string(raw)
		}
		return ""
	})
	for i := range 60 {
		ask("GET", fmt.Sprintf("/orders/%d?expand=lines", 1001+i), "")
	}
	ask("POST", "/orders", `{"name":"Ada Lovelace","email":"ada@example.org","count":2}`)
	var learned []byte
	eventually(t, 5*time.Second, func() string {
		res, err := d.http.Get(d.base + "/apis/pets/learned.openapi.yaml")
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		learned, _ = io.ReadAll(res.Body)
		if text := string(learned); res.StatusCode != 200 || !strings.Contains(text, "state: tentative") || !strings.Contains(text, "post:") {
			return fmt.Sprintf("no tentative schema: %d %s", res.StatusCode, text)
		}
		return ""
	})
	for _, value := range []string{"Ada", "Lovelace", "example.org", "1001"} {
		if strings.Contains(string(learned), value) {
			t.Errorf("the learned specification holds the value %q:\n%s", value, learned)
		}
	}
	set, err := spec.Load(context.Background(), []spec.Source{{Path: "learned.yaml", Data: learned}}, spec.Options{})
	if err != nil {
		t.Fatalf("%v\n%s", err, learned)
	}
	var m spec.Match
	var c spec.Check
	if set.Match("GET", "/orders/9", &m) != spec.Found {
		t.Fatal("the learned specification does not know the operation")
	}
	m.Op.CheckResponseBody(&c, 200, "application/json", []byte(`{"id":"x","status":"open","note":null,"lines":[]}`))
	if len(c.Problems) == 0 {
		t.Error("an answer with a text where only numbers were seen is accepted")
	}
	var drift struct {
		Specified   bool
		Differences []struct{ Kind, Template string }
	}
	d.do("GET", "/apis/pets/drift", nil, 200, &drift)
	if drift.Specified || len(drift.Differences) != 2 || drift.Differences[0].Kind != "undeclared operation" {
		t.Errorf("drift %+v", drift)
	}
	d.do("GET", "/apis/pets/learned", nil, 200, nil)
	d.do("GET", "/apis/pets/learned.openapi.json", nil, 200, nil)
	d.do("GET", "/apis/nobody/learned.openapi.json", nil, 404, nil)
	if n := p.metric(`sallyport_learned_tentative`); n != 1 {
		t.Errorf("sallyport_learned_tentative %v, want 1", n)
	}

	p.stop()
	p = s.start(t)
	d = p.signIn("", password)
	var again map[string]any
	d.do("GET", "/apis/pets/learned.openapi.json", nil, 200, &again)
	if n := len(again["paths"].(map[string]any)); n != 2 {
		t.Errorf("%d paths after a restart, want 2", n)
	}
	p.stop()
	if out := p.output(); strings.Contains(out, "level=ERROR") {
		t.Errorf("errors in the log:\n%s", out)
	}
}

// The commands of the guide print what the guide says.
func TestLearnedGuideRunsAsWritten(t *testing.T) {
	dir := t.TempDir()
	files, err := filepath.Glob("../../examples/learned/*")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, filepath.Base(file)), string(b))
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "sallyport")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv(asCommand, "1")
	runGuide(t, "learned-spec.md", dir, 3, strings.NewReplacer())
}

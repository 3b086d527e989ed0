//go:build full

package pocketbase_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/conformance"
	"sallyport.dev/spec"
)

const password = "the same password twice"

// an instance of PocketBase with two users and a superuser.
type instance struct {
	t      *testing.T
	url    string
	tokens map[string]string
	stop   func(context.Context) error
}

func start(t *testing.T) *instance {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	program, dir := filepath.Join(root, ".cache/bin/pocketbase"), t.TempDir()
	if p := os.Getenv("POCKETBASE"); p != "" {
		program = p
	}
	if out, err := exec.Command(program, "superuser", "upsert", "root@example.com", password, "--dir", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v (test/setup.sh pocketbase builds it): %s", err, out)
	}
	c := exec.Command(program, "serve", "--http", addr, "--dir", dir, "--automigrate=false")
	c.Dir, c.SysProcAttr = dir, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Signal(syscall.SIGTERM); c.Wait() })
	p := &instance{t: t, url: "http://" + addr, tokens: map[string]string{},
		stop: func(context.Context) error { return c.Process.Signal(syscall.SIGTERM) }}
	for range 200 {
		if r, err := http.Get(p.url + "/api/health"); err == nil {
			r.Body.Close()
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.sign("root", "_superusers")
	users := p.do("root", "GET", "/api/collections/users", nil)["id"].(string)
	text := func(name string, min, max int) map[string]any {
		return map[string]any{"name": name, "type": "text", "min": min, "max": max, "required": min > 0}
	}
	own := `owner = @request.auth.id`
	stamps := []map[string]any{{"name": "created", "type": "autodate", "onCreate": true}, {"name": "updated", "type": "autodate", "onCreate": true, "onUpdate": true}}
	notes := p.do("root", "POST", "/api/collections", map[string]any{"name": "notes", "type": "base",
		"listRule": own, "viewRule": own, "updateRule": own, "deleteRule": own,
		"createRule": `@request.auth.id != "" && @request.body.owner = @request.auth.id`,
		"fields": append([]map[string]any{text("title", 1, 80), text("body", 0, 2000),
			{"name": "kind", "type": "select", "values": []string{"plain", "todo", "done"}, "maxSelect": 1},
			{"name": "priority", "type": "number", "min": 0, "max": 10, "onlyInt": true},
			{"name": "public", "type": "bool"}, {"name": "due", "type": "date"}, {"name": "link", "type": "url"},
			{"name": "owner", "type": "relation", "required": true, "collectionId": users, "maxSelect": 1, "cascadeDelete": true}}, stamps...)})["id"]
	own = `note.owner = @request.auth.id`
	p.do("root", "POST", "/api/collections", map[string]any{"name": "comments", "type": "base", "listRule": own, "viewRule": own, "deleteRule": own, "createRule": own,
		"fields": append([]map[string]any{text("text", 1, 500), {"name": "note", "type": "relation", "required": true, "collectionId": notes, "maxSelect": 1, "cascadeDelete": true}}, stamps[:1]...)})
	for _, name := range []string{"alice", "bob"} {
		p.do("", "POST", "/api/collections/users/records", map[string]any{"email": name + "@example.com", "name": name, "password": password, "passwordConfirm": password})
		p.sign(name, "users")
	}
	return p
}

func (p *instance) sign(name, collection string) {
	got := p.do("", "POST", "/api/collections/"+collection+"/auth-with-password", map[string]any{"identity": name + "@example.com", "password": password})
	p.tokens[name] = got["token"].(string)
}

func (p *instance) do(as, method, path string, body any) map[string]any {
	p.t.Helper()
	b, _ := json.Marshal(body)
	r, err := http.NewRequest(method, p.url+path, bytes.NewReader(b))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if as != "" {
		r.Header.Set("Authorization", p.tokens[as])
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer a.Body.Close()
	text, _ := io.ReadAll(a.Body)
	var out map[string]any
	if json.Unmarshal(text, &out) != nil || a.StatusCode >= 300 {
		p.t.Fatalf("%s %s: %d %s", method, path, a.StatusCode, text)
	}
	return out
}

func (p *instance) plan(profile conformance.Profile) conformance.Plan {
	set, err := spec.Load(p.t.Context(), []spec.Source{{Path: "openapi.yaml"}}, spec.Options{Keep: true})
	if err != nil {
		p.t.Fatal(err)
	}
	return conformance.Plan{API: "pocketbase", Spec: set, Target: p.url, Profile: profile, Stop: p.stop, Identities: []conformance.Identity{
		{Name: "alice", Token: p.tokens["alice"]}, {Name: "bob", Token: p.tokens["bob"]}, {Name: "root", Role: "admin", Token: p.tokens["root"]}}}
}

// Every finding on PocketBase is one that docs/conformance-pocketbase.md has
// reviewed, and no more than one in twenty of the reviewed ones is false.
func TestFindingsAreReviewed(t *testing.T) {
	review, err := os.ReadFile("../../../docs/conformance-pocketbase.md")
	if err != nil {
		t.Fatal(err)
	}
	reviewed, wrong := map[string]bool{}, 0
	for line := range strings.Lines(string(review)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) < 5 || !strings.Contains(cells[0], ".") {
			continue
		}
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
		}
		reviewed[strings.Join(cells[:3], " · ")] = true
		if cells[3] == "false" {
			wrong++
		}
	}
	if wrong*20 > len(reviewed) {
		t.Errorf("%d of %d reviewed findings are false, more than 5 %%", wrong, len(reviewed))
	}
	for _, profile := range []conformance.Profile{conformance.Full, conformance.Deep, conformance.Safe} {
		t.Run(string(profile), func(t *testing.T) {
			r, err := conformance.Run(t.Context(), start(t).plan(profile))
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			for _, f := range r.Findings {
				name := f.Check + " · " + f.Operation + " · " + f.Place
				if !reviewed[name] {
					t.Errorf("not reviewed: %s: %s\n%s", name, f.Detail, f.Curl)
				}
				fmt.Fprintf(&out, "%s: %s (%s)\n%s\n", name, f.Detail, f.Seen, f.Curl)
			}
			for _, n := range r.NotRun {
				fmt.Fprintln(&out, "not run:", n)
			}
			t.Logf("%d findings, %d flaky, %d requests in %v; %s\n%s", len(r.Findings), len(r.Flaky), r.Requests, r.Duration.Round(time.Millisecond), r.Coverage.Summary(), out.String())
		})
	}
}

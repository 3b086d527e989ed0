package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

type templateList struct {
	Templates []struct {
		Method, Template string
		Reasons          []string
		Count            int
	}
	Rules []struct{ ID, Kind, Reason, By, Undone string }
}

func (l templateList) names() (out []string) {
	for _, x := range l.Templates {
		out = append(out, x.Template)
	}
	return out
}

// People say what a segment is; it holds for what was seen, for what comes, and
// after a restart, and can be taken back.
func TestTemplatesByPeople(t *testing.T) {
	s := newSite(t)
	s.upstream.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"ok":true}`)
	})
	b, err := os.ReadFile(filepath.Join(s.dir, "sallyport.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.dir, "sallyport.yaml"), strings.Replace(strings.Replace(string(b), "    spec: pets.yaml\n", "", 1), "shadow: refuse", "shadow: observe", 1))
	p := s.start(t)
	d := p.signIn(p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1], password)
	ask := func(target string) {
		t.Helper()
		if status, _, answer := s.ask(t, "GET", target, ""); status >= 300 {
			t.Fatalf("%s: %d %s", target, status, answer)
		}
	}
	var list templateList
	// has waits until templates stand (and, after a '!', do not stand) in discovery and inventory.
	has := func(want ...string) {
		t.Helper()
		eventually(t, 8*time.Second, func() string {
			var rows struct{ Operations []struct{ Template string } }
			d.do("GET", "/operations?api=pets", nil, 200, &rows)
			var inventory []string
			for _, o := range rows.Operations {
				inventory = append(inventory, o.Template)
			}
			if len(inventory) == 0 {
				return "no row"
			}
			list = templateList{}
			d.do("GET", "/apis/pets/templates", nil, 200, &list)
			for _, w := range want {
				name, absent := strings.CutPrefix(w, "!")
				if slices.Contains(list.names(), name) == absent || slices.Contains(inventory, name) == absent {
					return fmt.Sprintf("%s: templates %q, inventory %q", w, list.names(), inventory)
				}
			}
			return ""
		})
	}
	for _, name := range []string{"ada", "bob", "eve", "me"} {
		ask("/team/" + name)
		ask("/team/" + name + "/badges")
	}
	has("/team/ada", "/team/bob/badges", "/team/me")
	rule := func(kind string, status int, templates ...string) string {
		t.Helper()
		var r struct {
			ID     string
			Folded int
		}
		d.do("POST", "/apis/pets/templates", map[string]any{"kind": kind, "templates": templates, "reason": "teams have names"}, status, &r)
		return r.ID
	}
	merged := rule("merge", 201, "/team/ada", "/team/bob")
	has("/team/{teamId}", "/team/{teamId}/badges", "/team/eve", "!/team/ada", "!/team/bob/badges")
	rule("literal", 201, "/team/me")
	rule("parameter", 201, "/team/{teamId}")
	has("/team/{teamId}", "/team/me", "/team/me/badges", "!/team/eve")
	ask("/team/zoe")
	ask("/team/me")
	eventually(t, 8*time.Second, func() string {
		has("/team/me", "!/team/zoe")
		var four, two bool
		for _, x := range list.Templates {
			four = four || x.Template == "/team/{teamId}" && x.Count == 4 && len(x.Reasons) == 1 && strings.Contains(x.Reasons[0], "a person said so: teams have names")
			two = two || x.Template == "/team/me" && x.Count == 2
		}
		if !four || !two {
			return fmt.Sprintf("want 4 exchanges of /team/{teamId}, with the reason, and 2 of /team/me: %+v", list.Templates)
		}
		return ""
	})

	// A path gives its template, and the template the path.
	for path, template := range map[string]string{"/team/zoe/badges": "/team/{teamId}/badges", "/team/a%20b": "/team/{teamId}", "/team/me": "/team/me"} {
		var m struct {
			Template, Path string
			Parameters     []struct{ Name, Value string }
		}
		d.do("GET", "/apis/pets/templates/match?path="+url.QueryEscape(path), nil, 200, &m)
		if m.Template != template || m.Path != path {
			t.Errorf("%s: %+v, want %s and back", path, m, template)
		}
	}
	d.do("GET", "/apis/pets/templates/match?path=%2Fnowhere%2Fat%2Fall", nil, 404, nil)

	// What is not clear is refused.
	rule("merge", 422, "/team/ada")
	rule("merge", 422, "/team/ada", "/other/bob")
	rule("merge", 422, "/team/{teamId}", "/team/bob")
	rule("literal", 422, "team")
	rule("literal", 422, "/team/a?b")
	rule("rename", 400, "/team/ada")
	d.do("POST", "/apis/nobody/templates", map[string]any{"kind": "literal", "templates": []string{"/a"}, "reason": "none"}, 404, nil)
	d.do("POST", "/apis/pets/templates", map[string]any{"kind": "literal", "templates": []string{"/a"}, "reason": ""}, 400, nil)
	d.do("POST", "/apis/pets/templates/"+strings.Repeat("a", 26)+"/undo", nil, 404, nil)

	p.stop()
	p = s.start(t)
	d = p.signIn("", password)
	ask("/team/kim")
	ask("/team/me")
	has("/team/{teamId}", "/team/me", "!/team/kim", "!/team/ada")
	if len(list.Rules) != 3 || list.Rules[0].Kind != "parameter" || list.Rules[2].ID != merged || list.Rules[0].By == "" {
		t.Errorf("rules after a restart: %+v", list.Rules)
	}

	// Taken back, newest first: what was folded stands apart again.
	for _, r := range list.Rules {
		d.do("POST", "/apis/pets/templates/"+r.ID+"/undo", nil, 200, nil)
		d.do("POST", "/apis/pets/templates/"+r.ID+"/undo", nil, 409, nil)
	}
	d.do("GET", "/apis/pets/templates", nil, 200, &list)
	if names := list.names(); !slices.Contains(names, "/team/ada") || !slices.Contains(names, "/team/eve/badges") {
		t.Errorf("after undoing: %q", names)
	}
	// A place that is split holds words, whatever they look like.
	rule("split", 201, "/years/{yearId}")
	ask("/years/2024")
	ask("/years/2025")
	has("/years/2024", "/years/2025", "!/years/{yearId}")
	p.stop()
	if out := p.output(); strings.Contains(out, "level=ERROR") {
		t.Errorf("errors in the log:\n%s", out)
	}
}

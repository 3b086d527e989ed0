package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/inventory"
	"sallyport.dev/store"
)

// The commands of the guide print what the guide says.
func TestCataloguesGuideRunsAsWritten(t *testing.T) {
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
	runGuide(t, "catalogues.md", "../../examples/catalogues", 8, strings.NewReplacer())
}

// Every kind of catalogue speaks of fields that the inventory has.
func claimsOf(t *testing.T, k catalogueConfig) []sallyport.Claim {
	t.Helper()
	source, err := k.open((&config{}).secret)
	if err != nil {
		t.Fatal(err)
	}
	var out []sallyport.Claim
	if err := source.Watch(t.Context(), func(l []sallyport.Claim) error { out = append(out, l...); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, c := range out {
		if _, known := inventory.FieldNamed(c.Field); !known {
			t.Errorf("%s speaks of %q, which the inventory does not have", k.Kind, c.Field)
		}
		if c.Source != k.Name || c.Evidence == "" || c.Confidence <= 0 || c.Confidence > 1 || c.Time.IsZero() {
			t.Errorf("%+v", c)
		}
	}
	return out
}

func TestKindsSpeakOfFields(t *testing.T) {
	for kind, at := range map[string]string{"code": "shop", "codeowners": "shop", "backstage": "shop", "nginx": "edge/nginx.conf", "haproxy": "edge/haproxy.cfg", "caddy": "edge/Caddyfile", "dns": "edge/example.zone", "traefik": "edge/traefik.yaml"} {
		if len(claimsOf(t, catalogueConfig{Name: "x", Kind: kind, At: "../../examples/catalogues/" + at, API: "shop"})) == 0 {
			t.Errorf("%s says nothing", kind)
		}
	}
	if len(claimsOf(t, catalogueConfig{Name: "x", Kind: "specs", At: "../../examples/first-api"})) == 0 {
		t.Error("no specification was found")
	}
}

// Two catalogues that disagree on the owner are both heard.
func TestCataloguesMayDisagree(t *testing.T) {
	st, err := store.Open(t.Context(), store.Options{Dir: t.TempDir(), Key: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	inv, err := inventory.Open(t.Context(), st, inventory.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for kind, name := range map[string]string{"codeowners": "shop-owners", "backstage": "portal"} {
		if err := inv.Claim(t.Context(), claimsOf(t, catalogueConfig{Name: name, Kind: kind, At: "../../examples/catalogues/shop", API: "shop"})); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := st.Reader().QueryContext(t.Context(), "SELECT source, value FROM inventory_claim WHERE field = 'owner.team' ORDER BY source")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []string
	for rows.Next() {
		var s, v string
		if err := rows.Scan(&s, &v); err != nil {
			t.Fatal(err)
		}
		got = append(got, s+" "+v)
	}
	if s := strings.Join(got, ", "); !strings.Contains(s, "portal retail-platform, shop-owners example/") {
		t.Errorf("claims on the owner: %s", s)
	}
}

// A running process takes in what its catalogues say, tells how they do, and
// takes back what is no longer said.
func TestCataloguesFeedTheInventory(t *testing.T) {
	s := newSite(t)
	file := filepath.Join(s.dir, "code", "app.py")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, file, "from flask import Flask\napp = Flask(__name__)\n\n@app.get('/ledger/<entry>')\ndef a(entry): ...\n\n@app.get('/b')\ndef b(): ...\n")
	s.configure(t, `catalogues: [{name: pets-code, kind: code, at: ./code, api: pets, every: 1s}]`)
	p := s.start(t)
	defer p.stop()
	d := p.signIn(p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1], "a long password for this test")
	until := func(path string, want ...string) {
		t.Helper()
		var last string
		for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			res, err := d.http.Get("http://" + s.console + path)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			b.ReadFrom(res.Body)
			res.Body.Close()
			last = b.String()
			found := res.StatusCode == 200
			for _, w := range want {
				found = found && strings.Contains(last, w)
			}
			if found {
				return
			}
		}
		t.Fatalf("%s: want %q, got %.600s", path, want, last)
	}
	until("/api/v1/catalogues", `"name":"pets-code"`, `"state":"watching"`, `"claims":4`, `"fields":["code","framework"]`)
	if res, err := http.Get("http://" + s.console + "/metrics"); err == nil {
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if !strings.Contains(string(b), `sallyport_catalogue_claims{catalogue="pets-code",kind="code"} 4`) {
			t.Error("the metrics do not count claims")
		}
	}
	write(t, file, "from flask import Flask\napp = Flask(__name__)\n\n@app.get('/ledger/<entry>')\ndef a(entry): ...\n")
	until("/api/v1/catalogues", `"claims":2`, `"changes":6`)
	if err := os.RemoveAll(filepath.Join(s.dir, "code")); err != nil {
		t.Fatal(err)
	}
	until("/api/v1/catalogues", `"state":"failed"`, `"claims":2`, "no such file")
}

func TestCatalogueMistakes(t *testing.T) {
	dir := t.TempDir()
	for given, want := range map[string]string{
		`{name: x, kind: code, at: ` + dir + `}`:                              "api: whose source code",
		`{name: traffic, kind: code, at: ` + dir + `, api: a}`:                "can't be the name of a source",
		`{name: x, kind: code, at: ` + dir + `, api: a, token: plain-secret}`: "write env:NAME or file:PATH",
		`{name: x, kind: oracle, at: ` + dir + `, api: a}`:                    "kind",
		`{name: x, kind: code, at: ` + dir + `, api: a, every: 1ms}`:          "less than a second",
		`{name: x, kind: code, at: ` + dir + `, api: a, every: 10m}`:          "",
	} {
		_, err := parseConfig("x.yaml", []byte("tls: \"off\"\nlisten: {gateway: \"127.0.0.1:0\", console: \"127.0.0.1:0\"}\ncatalogues:\n  - "+given+"\n"))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", given, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "plain-secret") {
			t.Errorf("the mistake tells a secret: %v", err)
		}
	}
}

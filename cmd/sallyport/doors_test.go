package main

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/test/integration/proxies"
)

// doorSite is a folder with the example of the doors and the proxies in front
// of it, every port another one.
func doorSite(t *testing.T) (dir string, edit *strings.Replacer, gateway string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "doors")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var pairs []string
	for _, port := range []string{"8100", "8101", "8102", "8104", "8105", "9006", "9449", "9601", "9602", "9603", "9604", "9605", "9606"} {
		pairs = append(pairs, "127.0.0.1:"+port, freeAddr(t))
	}
	caddy := freeAddr(t)
	_, port, _ := net.SplitHostPort(caddy)
	pairs = append(pairs, "127.0.0.1:8103", caddy, "http://:8103", "http://:"+port)
	peer := func(name string) (string, string) {
		i := 0
		for pairs[i] != "127.0.0.1:"+name {
			i += 2
		}
		_, port, _ := net.SplitHostPort(pairs[i+1])
		return name, port
	}
	_, origin := peer("9006")
	pairs = append(pairs, "parent 9006", "parent "+origin)
	edit = strings.NewReplacer(pairs...)
	for _, name := range []string{"sallyport.yaml", "petstore.openapi.yaml", "nginx.token", "caddy.token", "envoy.token"} {
		b, err := os.ReadFile("../../examples/doors/" + name)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), edit.Replace(string(b)))
	}
	bin := filepath.Join(dir, "pets")
	if out, err := exec.Command("go", "build", "-o", bin, "../../examples/doors").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c := exec.Command(bin, "-listen", edit.Replace("127.0.0.1:9006"))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	return dir, edit, edit.Replace("127.0.0.1:8100")
}

// The commands of the guide print what the guide says, by the real proxies; a
// proxy whose door is gone refuses, as its configuration says, and comes back
// with the door.
func TestConnectGuideRunsAsWritten(t *testing.T) {
	dir, edit, gateway := doorSite(t)
	p := (&site{dir: dir, gateway: gateway, console: edit.Replace("127.0.0.1:9449")}).start(t)
	fronts := map[string][]string{"nginx": {"8101", "8105"}, "haproxy": {"8102"}, "caddy": {"8103"}, "squid": {"8104"}}
	for product, ports := range fronts {
		var ready []string
		for _, port := range ports {
			ready = append(ready, edit.Replace("127.0.0.1:"+port))
		}
		r, err := proxies.Start(product, dir, edit, ready...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Stop)
	}
	runGuide(t, "connect-your-gateway.md", dir, 15, edit, "key=", "call()", "caller()", "json=")

	d := p.signIn(p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1], password)
	var doors struct {
		Doors []struct {
			Name           string
			Asked, Refused int
			NotShown       int `json:"not_shown"`
		}
	}
	d.do("GET", "/doors", nil, 200, &doors)
	if len(doors.Doors) < 4 {
		t.Fatalf("%+v", doors)
	}
	for _, x := range doors.Doors {
		if x.Name == "envoy" { // not to be had here
			continue
		}
		if x.Asked == 0 || x.Refused == 0 {
			t.Errorf("%+v", x)
		}
	}
	if doors.Doors[0].NotShown == 0 {
		t.Error("nginx showed every body")
	}
	ask := func(port, spoof string) *http.Response {
		req, _ := http.NewRequest("GET", "http://"+edit.Replace("127.0.0.1:"+port)+"/pets/7", nil)
		req.Host = "pets.example.test"
		req.Header.Set("X-API-Key", "example-key-of-shop")
		req.Header.Set("X-Auth-Subject", spoof)
		req.Header.Set("X-Auth-Kind", spoof)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res
	}
	p.stop()
	for product, ports := range fronts {
		for _, port := range ports {
			began := time.Now()
			if res := ask(port, "root"); res.StatusCode != 503 && !(product == "squid" && res.StatusCode == 500) {
				t.Errorf("%s answers %d without a decision", product, res.StatusCode)
			}
			t.Logf("%s %s refuses after %v without us", product, port, time.Since(began).Round(time.Millisecond))
		}
	}
	again := (&site{dir: dir, gateway: gateway, console: edit.Replace("127.0.0.1:9449")}).start(t)
	defer again.stop()
	for product, ports := range fronts {
		for _, port := range ports {
			var res *http.Response
			for range 40 { // HAProxy looks again after a while
				if res = ask(port, "root"); res.StatusCode == 200 {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			if res.StatusCode != 200 || res.Header.Get("X-Caller") != "key:shop" {
				t.Errorf("%s: %d for %q after we came back", product, res.StatusCode, res.Header.Get("X-Caller"))
			}
		}
	}
}

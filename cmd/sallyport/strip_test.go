package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// Headers that the configuration takes away are taken away besides those that
// upstreams take for proof, and a change that is not in force is not said to be.
func TestHeadersTakenAwayByConfiguration(t *testing.T) {
	var seen atomic.Pointer[http.Header]
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen.Store(&r.Header) }))
	t.Cleanup(up.Close)
	dir, gate, console := t.TempDir(), freeAddr(t), freeAddr(t)
	configure := func(more string) {
		write(t, filepath.Join(dir, "sallyport.yaml"), fmt.Sprintf(`listen: {gateway: "%s", console: "%s"}
tls: "off"
data: data
keys: file:keys/master.key
%s
apis:
  - name: echo
    upstreams: [{url: "%s"}]
`, gate, console, more, up.URL))
	}
	configure("strip_headers: [X-Internal-*, X-Tenant]")
	p := launch(t, dir)
	p.gateway, p.console = gate, console
	p.wait(`(?m)^console `)
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+gate+"/x", nil)
	for _, name := range []string{"X-Internal-User", "X-Tenant", "X-Remote-User", "Remote-User", "X-Forwarded-User", "X-Http-Method-Override", "X-Original-Url", "X-Forwarded-Client-Cert",
		"X-Real-Ip", "X-Sallyport-Principal", "X-Fine"} {
		req.Header.Set(name, "admin")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	for name, values := range *seen.Load() {
		if strings.Join(values, "") == "admin" && name != "X-Fine" {
			t.Errorf("the client's %s reached the upstream", name)
		}
	}
	if seen.Load().Get("X-Fine") == "" {
		t.Error("a header that nobody takes away did not arrive")
	}
	for _, c := range []struct{ more, name string }{
		{"strip_headers: [X-Internal-*]", "strip_headers"}, {"strip_headers: [X-Internal-*, X-Tenant]\ntrusted_proxies: [10.0.0.0/8]", "trusted_proxies"},
		{"strip_headers: [X-Internal-*, X-Tenant]\nredact: {headers: [X-Session]}", "redact"}, {"strip_headers: [X-Internal-*, X-Tenant]\nlog: debug", "log"},
	} {
		configure(c.more)
		p.wait(c.name + ` changed: restart to take that over`)
	}
	p.stop()
}

// A word that is none of those that a key takes is a mistake with its place,
// whichever key it is.
func TestWordsThatAreNone(t *testing.T) {
	const head = "listen: {gateway: \"127.0.0.1:0\"}\ntls: \"off\"\n"
	const apis = "apis: [{name: a, upstreams: [{url: \"http://127.0.0.1:9\"}]}]\n"
	for _, c := range []struct{ text, want string }{
		{apis, ""},
		{"egress: {listen: \"127.0.0.1:8446\", unlisted: observe, destinations: [{name: b, host: x.test, look: tunnel}]}\n" + apis, ""},
		{"egress: {listen: \"127.0.0.1:8446\", unlisted: maybe}\n" + apis, `c.yaml:3:46: egress.unlisted: "maybe" is not one of refuse, observe`},
		{"egress: {listen: \"127.0.0.1:8446\", destinations: [{name: b, host: x.test, look: tunel}]}\n" + apis, `c.yaml:3:81: egress.destinations[0].look: "tunel" is not one of inside, tunnel`},
		{"egress: {listen: \"127.0.0.1:8446\", destinations: [{name: b, host: x.test, redirects: perhaps}]}\n" + apis, `egress.destinations[0].redirects: "perhaps" is not one of refuse, observe`},
		{"log: loud\n" + apis, `c.yaml:3:6: log: "loud" is not one of debug, info, warn, error`},
		{"strip_headers: [\"*\"]\n" + apis, `strip_headers[0]: "*" takes away every header`},
		{"strip_headers: [A b]\n" + apis, `strip_headers[0]: "A b" is not the name of a header`},
		{"strip_headers: [X-A, x_b-*]\n" + apis, ""},
		{"trusted_proxies: [10.0.0.0/33]\n" + apis, `c.yaml:3:19: trusted_proxies[0]: want a network such as 10.0.0.0/8, found "10.0.0.0/33"`},
		{strings.Replace(apis, "name: a,", "name: a, health: {max_ejected: 150%},", 1), `apis[0].health.max_ejected: more than 100%`},
	} {
		_, err := parseConfig("c.yaml", []byte(head+c.text))
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.text, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: %v, want %s", c.text, err, c.want)
		}
	}
}

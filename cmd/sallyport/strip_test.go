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

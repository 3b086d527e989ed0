package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// The commands of the guide to caching print what it says.
func TestCachingGuideRunsAsWritten(t *testing.T) {
	guide{page: "caching-and-sideloading.md", example: "caching", service: "127.0.0.1:9005", gateway: "127.0.0.1:8090", console: "127.0.0.1:9450", setup: []string{"ask()"}, least: 18}.run(t)
}

// An administrator has stored answers forgotten, and the audit log says so.
func TestCacheIsInvalidatedFromTheDesk(t *testing.T) {
	s := newSite(t)
	write(t, filepath.Join(s.dir, "sallyport.yaml"), fmt.Sprintf(`listen: {gateway: "%s", console: "%s"}
tls: "off"
data: data
keys: file:keys/master.key
apis:
  - name: shop
    upstreams: [{url: "%s"}]
    cache: {mode: on, lifetime: 1h, paths: [{path: /pets, types: [application/json]}]}
`, s.gateway, s.console, s.upstream.URL))
	p := s.start(t)
	defer p.stop()
	d := p.signIn(p.wait(`setup#(\S+)`)[1], password)
	var state struct{ Hits, Entries int }
	for range 3 {
		res, err := http.Get("http://" + s.gateway + "/pets/7")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	d.do(http.MethodGet, "/cache", nil, http.StatusOK, &state)
	if state.Hits != 2 || state.Entries != 1 {
		t.Fatalf("after three requests: %+v", state)
	}
	var gone struct{ Forgotten int }
	d.do(http.MethodPost, "/cache/invalidations", map[string]string{"api": "nobody"}, http.StatusNotFound, nil)
	d.do(http.MethodPost, "/cache/invalidations", map[string]string{"api": "shop", "path": "/other"}, http.StatusOK, &gone)
	if gone.Forgotten != 0 {
		t.Errorf("under another path: %+v", gone)
	}
	d.do(http.MethodPost, "/cache/invalidations", map[string]string{"api": "shop", "path": "/pets"}, http.StatusOK, &gone)
	if gone.Forgotten != 1 {
		t.Errorf("under its path: %+v", gone)
	}
	d.do(http.MethodGet, "/cache", nil, http.StatusOK, &state)
	if state.Entries != 0 {
		t.Errorf("still there: %+v", state)
	}
	var log struct {
		Entries []struct{ Action, Target, Detail string }
	}
	d.do(http.MethodGet, "/audit?action=cache.invalidate", nil, http.StatusOK, &log)
	if len(log.Entries) != 2 || log.Entries[0].Target != "shop" || !strings.Contains(log.Entries[0].Detail, `"/pets"`) {
		t.Errorf("audit: %+v", log.Entries)
	}
	if n := p.metric(`sallyport_cache_requests_total\{outcome="hit"\}`); n != 2 {
		t.Errorf("the metric says %v hits", n)
	}
}

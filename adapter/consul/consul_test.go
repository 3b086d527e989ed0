package consul_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/adapter/consul"
)

// The stand-in answers in the shapes that Consul documents, and holds a query
// whose index is the newest until something changes.
func TestBlockingQueries(t *testing.T) {
	var mu sync.Mutex
	index, instance := "7", "10.0.0.1"
	changed := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" || r.Header.Get("X-Consul-Token") != "sesame" {
			w.WriteHeader(403)
			return
		}
		mu.Lock()
		at, ip, wake := index, instance, changed
		mu.Unlock()
		if r.URL.Path == "/v1/health/state/any" && r.URL.Query().Get("index") == at {
			select {
			case <-wake:
			case <-r.Context().Done():
				return
			}
			mu.Lock()
			at, ip = index, instance
			mu.Unlock()
		}
		w.Header().Set("X-Consul-Index", at)
		switch r.URL.Path {
		case "/v1/health/state/any":
			w.Write([]byte(`[]`))
		case "/v1/catalog/services":
			w.Write([]byte(`{"consul":[],"shop":["v1","owner=from-tag"]}`))
		case "/v1/health/service/shop":
			if r.URL.Query().Get("passing") != "1" {
				w.WriteHeader(400)
			}
			w.Write([]byte(`[{"Node":{"Address":"` + ip + `","Datacenter":"dc1"},"Service":{"Address":"","Port":8080,"Meta":{"owner":"shop-team"}}}]`))
		default:
			w.WriteHeader(404)
		}
	}))
	defer s.Close()
	c := &consul.Catalogue{ID: "c", At: s.URL, Token: "sesame"}
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan []sallyport.Claim, 10)
	done := make(chan error, 1)
	go func() {
		done <- c.Watch(ctx, func(l []sallyport.Claim) error { told <- l; return nil })
	}()
	next := func() map[string]bool {
		select {
		case l := <-told:
			m := map[string]bool{}
			for _, x := range l {
				k := x.Asset.API + " " + x.Field + "=" + x.Value
				if x.Withdrawn {
					k = "no " + k
				}
				m[k] = true
			}
			return m
		case err := <-done:
			t.Fatal(err)
		case <-time.After(10 * time.Second):
			t.Fatal("nothing was told")
		}
		return nil
	}
	first := next()
	if !first["shop instances=10.0.0.1:8080"] || !first["shop owner.team=shop-team"] || !first["shop tags=v1"] || first["shop owner.team=from-tag"] {
		t.Error(first)
	}
	mu.Lock()
	index, instance = "8", "10.0.0.2"
	close(changed)
	changed = make(chan struct{})
	mu.Unlock()
	if second := next(); !second["no shop instances=10.0.0.1:8080"] || !second["shop instances=10.0.0.2:8080"] || len(second) != 2 {
		t.Error(second)
	}
	cancel()
	<-done
	if err := (&consul.Catalogue{At: s.URL, Once: true}).Watch(t.Context(), func([]sallyport.Claim) error { return nil }); err == nil {
		t.Error("a refusal is no error")
	}
}

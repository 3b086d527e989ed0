package kubernetes_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/adapter/kubernetes"
)

// A cluster answers lists and watches in the shapes of the API server: pages,
// bookmarks, watches that end, and 410 for versions that it has forgotten.
type cluster struct {
	mu       sync.Mutex
	version  int
	objects  map[string]map[string]map[string]any // collection → key → object
	log      []event
	forgot   int // versions below are gone
	watches  int
	requests []string
	changed  chan struct{}
}

type event struct {
	version    int
	collection string
	body       map[string]any
}

func newCluster() *cluster {
	return &cluster{objects: map[string]map[string]map[string]any{}, changed: make(chan struct{})}
}

func (c *cluster) put(collection, kind, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var o map[string]any
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		panic(err)
	}
	c.version++
	meta := o["metadata"].(map[string]any)
	meta["resourceVersion"] = strconv.Itoa(c.version)
	key := fmt.Sprint(meta["namespace"], "/", meta["name"])
	if c.objects[collection] == nil {
		c.objects[collection] = map[string]map[string]any{}
	}
	if kind == "DELETED" {
		delete(c.objects[collection], key)
	} else {
		c.objects[collection][key] = o
	}
	c.log = append(c.log, event{c.version, collection, map[string]any{"type": kind, "object": o}})
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.requests = append(c.requests, r.Method+" "+r.URL.Path)
	known := c.objects[r.URL.Path] != nil
	c.mu.Unlock()
	switch {
	case r.Header.Get("Authorization") != "Bearer reader":
		w.WriteHeader(401)
		w.Write([]byte(`{"kind":"Status","code":401,"message":"Unauthorized"}`))
		return
	case !known:
		w.WriteHeader(404)
		return
	}
	q := r.URL.Query()
	if q.Get("watch") == "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		// Two objects at most a page.
		var keys []string
		for k := range c.objects[r.URL.Path] {
			keys = append(keys, k)
		}
		from, _ := strconv.Atoi(q.Get("continue"))
		items, next := []any{}, ""
		for i, k := range sorted(keys) {
			if i >= from && i < from+2 {
				items = append(items, c.objects[r.URL.Path][k])
			}
			if i == from+2 {
				next = strconv.Itoa(i)
			}
		}
		json.NewEncoder(w).Encode(map[string]any{"kind": "List", "metadata": map[string]any{"resourceVersion": strconv.Itoa(c.version), "continue": next}, "items": items})
		return
	}
	at, _ := strconv.Atoi(q.Get("resourceVersion"))
	c.mu.Lock()
	c.watches++
	forgot := at < c.forgot
	c.mu.Unlock()
	if forgot {
		json.NewEncoder(w).Encode(map[string]any{"type": "ERROR", "object": map[string]any{"kind": "Status", "code": 410, "message": "too old resource version"}})
		return
	}
	for end := time.After(300 * time.Millisecond); ; { // a watch ends soon
		c.mu.Lock()
		for _, e := range c.log {
			if e.collection == r.URL.Path && e.version > at {
				json.NewEncoder(w).Encode(e.body)
				at = e.version
			}
		}
		changed := c.changed
		c.mu.Unlock()
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-end:
			json.NewEncoder(w).Encode(map[string]any{"type": "BOOKMARK", "object": map[string]any{"metadata": map[string]any{"resourceVersion": strconv.Itoa(at)}}})
			return
		}
	}
}

func sorted(s []string) []string {
	for i := range s {
		for j := i; j > 0 && s[j] < s[j-1]; j-- {
			s[j], s[j-1] = s[j-1], s[j]
		}
	}
	return s
}

const (
	services  = "/api/v1/services"
	slices    = "/apis/discovery.k8s.io/v1/endpointslices"
	ingresses = "/apis/networking.k8s.io/v1/ingresses"
	routes    = "/apis/gateway.networking.k8s.io/v1/httproutes"
)

// book keeps what stands.
type book struct {
	mu    sync.Mutex
	facts map[string]bool
}

func (b *book) tell(l []sallyport.Claim) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range l {
		k := c.Asset.Host + c.Asset.Path + " " + c.Field + "=" + c.Value
		if b.facts[k] = true; c.Withdrawn {
			delete(b.facts, k)
		}
	}
	return nil
}

func (b *book) wait(t *testing.T, want bool, facts ...string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		missing := ""
		b.mu.Lock()
		for _, f := range facts {
			if b.facts[f] != want {
				missing = f
			}
		}
		all := fmt.Sprint(b.facts)
		b.mu.Unlock()
		if missing == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%q stands: %v, in %s", missing, !want, strings.ReplaceAll(all, ":true", "\n"))
		}
	}
}

func TestListAndWatch(t *testing.T) {
	c := newCluster()
	c.put(services, "ADDED", `{"metadata":{"name":"shop","namespace":"retail","labels":{"team":"shop-team"},"annotations":{"example.test/owner":"shop-owners","example.test/department":"Retail"}},"spec":{"type":"ClusterIP","ports":[{"port":80}]}}`)
	c.put(services, "ADDED", `{"metadata":{"name":"b","namespace":"retail"},"spec":{"type":"LoadBalancer"}}`)
	c.put(services, "ADDED", `{"metadata":{"name":"c","namespace":"retail"},"spec":{}}`)
	c.put(services, "ADDED", `{"metadata":{"name":"kubernetes","namespace":"default"},"spec":{}}`)
	c.put(slices, "ADDED", `{"metadata":{"name":"shop-1","namespace":"retail","labels":{"kubernetes.io/service-name":"shop"}},"endpoints":[{"addresses":["10.1.0.5"],"conditions":{"ready":true}},{"addresses":["10.1.0.6"],"conditions":{"ready":false}}],"ports":[{"port":8080}]}`)
	c.put(ingresses, "ADDED", `{"metadata":{"name":"shop","namespace":"retail"},"spec":{"ingressClassName":"nginx","rules":[{"host":"Shop.example.test","http":{"paths":[{"path":"/v1","backend":{"service":{"name":"shop"}}}]}}]}}`)
	c.put(routes, "ADDED", `{"metadata":{"name":"r","namespace":"retail"},"spec":{"hostnames":["gw.example.test"],"parentRefs":[{"name":"edge"}],"rules":[{"matches":[{"path":{"type":"PathPrefix","value":"/shop"}}],"backendRefs":[{"name":"shop"}]}]}}`)
	s := httptest.NewServer(c)
	defer s.Close()
	k := &kubernetes.Catalogue{ID: "k8s", Access: kubernetes.Access{Server: s.URL, Token: func() (string, error) { return "reader", nil }}}
	ctx, cancel := context.WithCancel(t.Context())
	b := &book{facts: map[string]bool{}}
	done := make(chan error, 1)
	go func() { done <- k.Watch(ctx, b.tell) }()
	b.wait(t, true, "shop.retail.svc hosts=shop.retail.svc", "shop.retail.svc instances=10.1.0.5:8080", "shop.retail.svc department=Retail", "shop.example.test/v1 namespace=retail", "shop.example.test/v1 gateways=ingress/nginx",
		"shop.example.test/v1 instances=10.1.0.5:8080", "gw.example.test/shop gateways=gateway/edge", "gw.example.test/shop workload=service/retail/shop", "c.retail.svc exposure.declared=internal", "b.retail.svc exposure.declared=external", "shop.retail.svc owner.team=shop-owners")
	b.wait(t, false, "shop.retail.svc instances=10.1.0.6:8080", "kubernetes.default.svc hosts=kubernetes.default.svc")

	c.put(slices, "MODIFIED", `{"metadata":{"name":"shop-1","namespace":"retail","labels":{"kubernetes.io/service-name":"shop"}},"endpoints":[{"addresses":["10.1.0.7"]}],"ports":[{"port":8080}]}`)
	b.wait(t, true, "gw.example.test/shop instances=10.1.0.7:8080")
	b.wait(t, false, "gw.example.test/shop instances=10.1.0.5:8080")

	// The server forgets, and what happened meanwhile is found all the same.
	c.mu.Lock()
	delete(c.objects[ingresses], "retail/shop")
	c.version += 10
	c.forgot = c.version
	c.mu.Unlock()
	b.wait(t, false, "shop.example.test/v1 namespace=retail")
	c.put(services, "DELETED", `{"metadata":{"name":"b","namespace":"retail"}}`)
	b.wait(t, false, "b.retail.svc hosts=b.retail.svc")
	cancel()
	if err := <-done; err != context.Canceled {
		t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.requests {
		if !strings.HasPrefix(r, "GET ") {
			t.Errorf("%s was sent", r)
		}
	}
	if c.watches < 5 {
		t.Errorf("%d watches", c.watches)
	}
}

func TestRefusals(t *testing.T) {
	c := newCluster()
	s := httptest.NewServer(c)
	defer s.Close()
	for token, want := range map[string]string{"wrong": "401", "reader": "404"} {
		k := &kubernetes.Catalogue{Access: kubernetes.Access{Server: s.URL, Token: func() (string, error) { return token, nil }}, Once: true}
		if err := k.Watch(t.Context(), func([]sallyport.Claim) error { return nil }); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "wrong") {
			t.Errorf("%v, want %s", err, want)
		}
	}
	garbage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(`{"items":[{"metadata":7}]}`)) }))
	defer garbage.Close()
	k := &kubernetes.Catalogue{Access: kubernetes.Access{Server: garbage.URL}, Once: true}
	if err := k.Watch(t.Context(), func([]sallyport.Claim) error { return nil }); err == nil {
		t.Error("garbage is taken for a list")
	}
}

func TestKubeconfig(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) string {
		file := filepath.Join(dir, "config")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	a, err := kubernetes.Kubeconfig(write("current-context: c\ncontexts: [{name: c, context: {cluster: f, user: a}}]\nclusters: [{name: f, cluster: {server: \"https://127.0.0.1:6443\"}}]\nusers: [{name: a, user: {token: sesame}}]\n"))
	if err != nil || a.Server != "https://127.0.0.1:6443" {
		t.Fatal(a, err)
	}
	if token, _ := a.Token(); token != "sesame" {
		t.Error(token)
	}
	for _, text := range []string{"token: sesame: broken", "{}", "current-context: c\ncontexts: [{name: c, context: {cluster: f, user: a}}]\nclusters: [{name: f, cluster: {server: x}}]\nusers: [{name: a, user: {exec: {command: sh}}}]\n"} {
		if _, err := kubernetes.Kubeconfig(write(text)); err == nil || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

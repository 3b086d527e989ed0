package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A pretendCluster answers lists, watches and patches of one namespace in the
// shapes that Kubernetes publishes.
type pretendCluster struct {
	mu      sync.Mutex
	pods    map[string]*pretendPod
	changed chan struct{}
	closed  map[string]int // conditions written False, by Pod
	strange []string       // requests that nobody should make
}

type pretendPod struct {
	addr     string // host:port
	restarts int
	ready    bool // its containers
	held     bool
	tested   string // status of its condition
	why      string
}

func (c *pretendCluster) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *pretendCluster) get(name string) pretendPod {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *c.pods[name]
}

func (c *pretendCluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const pods, slices = "/api/v1/namespaces/retail/pods", "/apis/discovery.k8s.io/v1/namespaces/retail/endpointslices"
	name, patched := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, pods+"/"), "/status")
	selector := r.URL.Query().Get("labelSelector")
	known := r.URL.Path == pods && selector == "sallyport.dev/api" || r.URL.Path == slices && selector == "kubernetes.io/service-name=notes"
	switch {
	case r.Header.Get("Authorization") != "Bearer cluster-token":
		w.WriteHeader(401)
	case r.Method == "PATCH" && patched && r.Header.Get("Content-Type") == "application/strategic-merge-patch+json":
		var p struct {
			Metadata struct{ UID string }
			Status   struct {
				Conditions []struct{ Type, Status, Message string }
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&p); err != nil || p.Metadata.UID != "uid-"+name || len(p.Status.Conditions) != 1 || p.Status.Conditions[0].Type != "sallyport.dev/tested" {
			w.WriteHeader(422)
			return
		}
		c.change(func() {
			if p.Status.Conditions[0].Status == "False" {
				c.closed[name]++
			}
			c.pods[name].tested, c.pods[name].why = p.Status.Conditions[0].Status, p.Status.Conditions[0].Message
		})
		fmt.Fprint(w, "{}")
	case r.Method != "GET" || !known:
		c.mu.Lock()
		c.strange = append(c.strange, r.Method+" "+r.URL.String())
		c.mu.Unlock()
		w.WriteHeader(403)
	case r.URL.Query().Get("watch") != "":
		w.(http.Flusher).Flush()
		for {
			c.mu.Lock()
			changed := c.changed
			c.mu.Unlock()
			select {
			case <-r.Context().Done():
				return
			case <-changed:
				fmt.Fprintln(w, `{"type":"MODIFIED","object":{}}`)
				w.(http.Flusher).Flush()
			}
		}
	default:
		c.mu.Lock()
		defer c.mu.Unlock()
		var items []any
		for name, p := range c.pods {
			host, port, _ := strings.Cut(p.addr, ":")
			n, _ := strconv.Atoi(port)
			ready := map[bool]string{true: "True", false: "False"}
			labels := map[string]string{"sallyport.dev/api": "notes"}
			if p.held {
				labels["sallyport.dev/held"] = "true"
			}
			if r.URL.Path == pods {
				conditions := []any{map[string]any{"type": "ContainersReady", "status": ready[p.ready]}}
				if p.tested != "" {
					conditions = append(conditions, map[string]any{"type": "sallyport.dev/tested", "status": p.tested, "reason": map[string]string{"True": "Admitted"}[p.tested], "message": p.why})
				}
				items = append(items, map[string]any{"metadata": map[string]any{"name": name, "uid": "uid-" + name, "labels": labels}, "spec": map[string]any{"readinessGates": []any{map[string]any{"conditionType": "sallyport.dev/tested"}}},
					"status": map[string]any{"conditions": conditions, "containerStatuses": []any{map[string]any{"name": "notes", "restartCount": p.restarts}}}})
				continue
			}
			items = append(items, map[string]any{"ports": []any{map[string]any{"name": "http", "port": n}},
				"endpoints": []any{map[string]any{"addresses": []string{host}, "conditions": map[string]any{"ready": false}, "targetRef": map[string]any{"kind": "Pod", "name": name}}}})
		}
		json.NewEncoder(w).Encode(map[string]any{"metadata": map[string]any{"resourceVersion": "1"}, "items": items})
	}
}

// Pods get traffic, through us and through their Service, once they are tested.
func TestPodsAreTestedBeforeTraffic(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a, b, h := freeAddr(t), freeAddr(t), freeAddr(t)
	one := notesAt(t, a, "a1", false)
	notesAt(t, b, "b1", true)
	heldOne := notesAt(t, h, "h1", false)
	c := &pretendCluster{changed: make(chan struct{}), closed: map[string]int{}, pods: map[string]*pretendPod{"good": {addr: a}, "bad": {addr: b, ready: true}, "held": {addr: h, ready: true, held: true}}}
	cluster := httptest.NewServer(c)
	t.Cleanup(cluster.Close)
	write(t, filepath.Join(s.dir, "notes.yaml"), gatedSpec)
	write(t, filepath.Join(s.dir, "cluster.token"), "cluster-token\n")
	write(t, filepath.Join(s.dir, "sallyport.yaml"), fmt.Sprintf(`listen: {gateway: "%s", console: "%s"}
tls: "off"
data: data
keys: file:keys/master.key
kubernetes: {at: "%s", token: file:cluster.token}
apis:
  - name: notes
    spec: notes.yaml
    match: {host: pets.example.test}
    upstreams: [{kubernetes: {service: notes, namespace: retail, port: http}}]
    owner: {team: Notes, contact: notes@example.test}
    mode: enforce
    gate:
      admit: full
      identity: {path: /version, json: /boot}
`, s.gateway, s.console, cluster.URL))
	p := s.start(t)
	get := func() int {
		req, _ := http.NewRequest("GET", "http://"+s.gateway+"/notes/7", nil)
		req.Host = "pets.example.test"
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	becomes := func(name, tested, why string) {
		t.Helper()
		eventually(t, 60*time.Second, func() string {
			if x := c.get(name); x.tested != tested || !strings.Contains(x.why, why) {
				return fmt.Sprintf("%s is %q (%s), want %q with %q; %s", name, x.tested, x.why, tested, why, p.output())
			}
			return ""
		})
	}
	becomes("good", "False", "not ready")
	becomes("held", "False", "held by the label")
	becomes("bad", "False", "failed full")
	if got := get(); got != 503 && got != 502 {
		t.Errorf("answered %d while nothing is admitted", got)
	}
	c.change(func() { c.pods["good"].ready = true })
	becomes("good", "True", "passed full")
	if got := get(); got != 200 {
		t.Errorf("answered %d with an admitted Pod", got)
	}
	// The label is taken away, and only then it is tested and serves.
	if n := heldOne.users.Load(); n != 0 {
		t.Errorf("%d requests reached a held Pod", n)
	}
	c.change(func() { c.pods["held"].held = false })
	becomes("held", "True", "passed full")
	c.change(func() { delete(c.pods, "held") })

	// Its container is started again, with a defect, at the same address.
	one.srv.Close()
	next := notesAt(t, a, "a2", true)
	c.change(func() { c.pods["good"].restarts++ })
	becomes("good", "False", "failed full")
	if n := next.users.Load(); n != 0 {
		t.Errorf("%d requests reached a start that nobody had tested", n)
	}
	next.srv.Close()
	notesAt(t, a, "a3", false)
	c.change(func() { c.pods["good"].restarts++ })
	becomes("good", "True", "passed full")

	if n := p.metric(`sallyport_cluster_readiness_total{api="notes",namespace="retail",service="notes",what="written"}`); n < 5 {
		t.Errorf("%v conditions counted", n)
	}

	// While we are away nothing is written, and when we are back what was admitted stays so.
	p.stop()
	c.mu.Lock()
	before := c.closed["good"]
	c.mu.Unlock()
	p = s.start(t)
	eventually(t, 60*time.Second, func() string {
		if got := get(); got != 200 {
			return fmt.Sprintf("answers %d", got)
		}
		return ""
	})
	becomes("good", "True", "passed full")
	c.mu.Lock()
	if n := c.closed["good"] - before; n > 0 || len(c.strange) > 0 {
		t.Errorf("an admitted Pod was closed %d times at our start, asked for %v", n, c.strange)
	}
	c.mu.Unlock()
	p.stop()
}

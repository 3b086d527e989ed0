package probe_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/discovery/probe"
)

func TestScopeIsStatedAndConsentNeeded(t *testing.T) {
	public := func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("203.0.113.7")}, nil
	}
	for _, targets := range [][]string{{"203.0.113.0/30"}, {"api.example.test"}, {"*.example.test"}, {"2001:db8::1"}} {
		_, err := probe.Run(t.Context(), probe.Plan{Targets: targets, Resolve: public})
		if !errors.Is(err, probe.ErrConsent) {
			t.Errorf("%v: %v, want that consent is asked for", targets, err)
		}
	}
	declined := errors.New("no")
	var stated probe.Stated
	_, err := probe.Run(t.Context(), probe.Plan{Targets: []string{"203.0.113.0/30"}, Exclude: []string{"203.0.113.3"}, Consent: true, Begin: func(s probe.Stated) error { stated = s; return declined }})
	if !errors.Is(err, declined) || stated.Addresses != 3 || len(stated.Outside) == 0 || stated.Rate != 100 {
		t.Errorf("%v, stated %+v", err, stated)
	}
	for _, bad := range []string{"", "ftp://x", "10.0.0.0/8", "300.1.1.1", "http://user:secret@x/", "a b", "host:99999", strings.Repeat("a", 3000), "fe80::1%eth0"} {
		_, err := probe.Run(t.Context(), probe.Plan{Targets: []string{bad}, Resolve: noNames})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("target %.30q: %v", bad, err)
		}
	}
}

// A name is resolved once; what the resolver says later, and what it says of
// metadata, leads nowhere.
func TestNamesArePinned(t *testing.T) {
	srv := httptest.NewServer(one("/", "{}", jsonType))
	defer srv.Close()
	var asked atomic.Int64
	rebinding := func(context.Context, string) ([]netip.Addr, error) {
		if asked.Add(1) == 1 {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("::ffff:169.254.169.254")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.9")}, nil
	}
	r := run(t, probe.Plan{Targets: []string{fmt.Sprintf("shop.test:%d", port(t, srv.URL))}, Resolve: rebinding, NoGuess: true})
	if asked.Load() != 1 || len(r.Hosts) != 1 || r.Hosts[0].Address != "127.0.0.1" || len(r.Notes) != 2 || !strings.Contains(r.Notes[0], "never asked") {
		t.Errorf("asked %d times; hosts %+v; notes %q", asked.Load(), r.Hosts, r.Notes)
	}
	for _, target := range []string{"169.254.169.254", "http://169.254.169.254/latest/meta-data/", "fd00:ec2::254", "100.100.100.200"} {
		if r := run(t, probe.Plan{Targets: []string{target}, Consent: true, Timeout: 50 * time.Millisecond}); r.Requests != 0 || r.Scope.Addresses != 0 {
			t.Errorf("%s was asked: %+v", target, r)
		}
	}
}

// counted notes the paths that it is asked for.
type counted struct {
	mu    sync.Mutex
	paths map[string]int
	next  http.Handler
}

func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.paths[r.Method+" "+r.URL.Path]++
	c.mu.Unlock()
	c.next.ServeHTTP(w, r)
}

func (c *counted) total() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.paths {
		n += k
	}
	return n
}

func TestRobotsOptOutBudgetAndMethods(t *testing.T) {
	for name, x := range map[string]struct {
		next http.Handler
		most int
	}{
		"robots":        {pages{"/robots.txt": {body: "User-agent: *\nDisallow: /\nAllow: /openapi.json\n"}}, 4},
		"robots, ours":  {pages{"/robots.txt": {body: "User-agent: *\nDisallow:\n\nUser-agent: sallyport-discover\nDisallow: /*\n"}}, 3},
		"the file":      {pages{"/.well-known/sallyport": {body: "scan: no\n"}}, 2},
		"the header":    {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Sallyport-Scan", "no") }), 1},
		"nothing at it": {pages{}, 1000},
	} {
		c := &counted{paths: map[string]int{}, next: x.next}
		srv := httptest.NewServer(c)
		r := run(t, probe.Plan{Targets: []string{srv.Listener.Addr().String()}, Budget: 600})
		srv.Close()
		// Two requests tell the protocol of the port, before anything can be known of the site.
		if n := c.total(); n > x.most+2 || r.Requests > 600 {
			t.Errorf("%s: %d requests, %v", name, n, c.paths)
		}
		for p := range c.paths {
			if m, _, _ := strings.Cut(p, " "); m == "PUT" || m == "DELETE" || m == "PATCH" {
				t.Errorf("%s: asked %s", name, p)
			}
		}
	}
	r := run(t, probe.Plan{Targets: []string{"127.0.0.1"}, Ports: []int{1}, Resolve: noNames})
	if r.Requests != 0 || len(r.APIs) != 0 {
		t.Errorf("a closed port: %+v", r)
	}
}

func TestScanGoesOnWhereItWasKilled(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	var targets []string
	var servers []*counted
	for i := range 4 {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.7.%d:0", i+1))
		if err != nil {
			t.Fatal(err)
		}
		c := &counted{paths: map[string]int{}, next: one("/api/users", "[]", jsonType)}
		srv := &http.Server{Handler: c}
		go srv.Serve(ln)
		defer srv.Close()
		servers = append(servers, c)
		targets = append(targets, ln.Addr().String())
	}
	plan := probe.Plan{Targets: targets, State: state, Parallel: 1, Rate: 20000, Resolve: noNames, Text: func(context.Context, string) ([]string, error) { return nil, nil }}
	ctx, kill := context.WithCancel(t.Context())
	plan.Progress = func(p probe.Progress) {
		if p.Done == 2 {
			kill()
		}
	}
	r, err := probe.Run(ctx, plan)
	if err != nil || !r.Partial {
		t.Fatalf("%v, %+v", err, r)
	}
	f, err := os.OpenFile(state, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, `{"host":{"address":"127.0.7.4"`) // cut while it was written
	f.Close()
	before := servers[0].total()
	plan.Progress = nil
	if r, err = probe.Run(t.Context(), plan); err != nil || r.Partial || len(r.APIs) != 4 {
		t.Fatalf("%v, %+v", err, r)
	}
	if servers[0].total() != before {
		t.Error("a host that was done was asked again")
	}
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Error("the state of a complete scan stays behind")
	}
	os.WriteFile(state, []byte("{\"plan\":\"other\"}\n"), 0o600)
	if _, err := probe.Run(t.Context(), plan); err == nil {
		t.Error("the state of another scan was taken")
	}
}

func TestLongListsAreStreamed(t *testing.T) {
	list := filepath.Join(t.TempDir(), "words")
	f, err := os.Create(list)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	fmt.Fprintln(w, "hidden/by/list")
	for i := range 2_000_000 {
		fmt.Fprintf(w, "/some/quite/long/path/number/%d\n", i)
	}
	w.Flush()
	f.Close()
	srv := httptest.NewServer(one("/hidden/by/list", "{}", jsonType))
	defer srv.Close()
	before := heap()
	r := run(t, probe.Plan{Targets: []string{srv.Listener.Addr().String()}, Words: []string{list}, Budget: 3000})
	if len(r.APIs) != 1 || r.APIs[0].Operations[0].Template != "/hidden/by/list" {
		t.Errorf("got %+v", r.APIs)
	}
	if after := heap(); after > before+32<<20 {
		t.Errorf("%d MiB more are in use", (after-before)>>20)
	}
}

func TestHosting(t *testing.T) {
	srv := httptest.NewServer(one("/", "{}", jsonType, "Cf-Ray: 1"))
	defer srv.Close()
	dir := t.TempDir()
	aws := filepath.Join(dir, "ip-ranges.json")
	os.WriteFile(aws, []byte(`{"syncToken":"1","createDate":"2026-11-01-00-00-00","prefixes":[{"ip_prefix":"127.0.0.0/16","region":"eu-central-1","service":"EC2"}]}`), 0o600)
	r := run(t, probe.Plan{Targets: []string{srv.Listener.Addr().String()}, NoGuess: true, Ranges: []string{aws}})
	h := r.Hosts[0].Hosting
	if h == nil || h.Provider != "AWS" || h.Region != "eu-central-1" || h.Front != "Cloudflare" || h.AsOf != "2026-11-01" || len(h.Evidence) != 2 {
		t.Errorf("got %+v", h)
	}
	for _, bad := range []string{"", "{", `{"a":1}`, "not a range\n"} {
		os.WriteFile(aws, []byte(bad), 0o600)
		if _, err := probe.Run(t.Context(), probe.Plan{Targets: []string{"127.0.0.1"}, Ranges: []string{aws}}); err == nil && bad != "" {
			t.Errorf("ranges %q were taken", bad)
		}
	}
}

// Whatever can be read, and whatever only takes a POST, is not changed.
func TestNothingIsWritten(t *testing.T) {
	var changed atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		resource := map[string]bool{"/": true, "/config/": true, "/api/v1/users": true, "/orders": true, "/services": true, "/query": true}[r.URL.Path]
		switch {
		case (resource || r.URL.Path == "/tasks") && r.Method != "GET" && r.Method != "HEAD" && r.Method != "OPTIONS" && r.Method != "PROPFIND" && r.Method != "TRACE":
			t.Logf("%s %s", r.Method, r.URL)
			changed.Add(1)
		case resource:
			fmt.Fprintf(w, `{"of":%q,"config":{}}`, strings.Trim(r.URL.Path, "/"))
		case r.URL.Path == "/tasks":
			w.WriteHeader(405)
			io.WriteString(w, "{}")
		default:
			w.WriteHeader(404)
		}
	}))
	defer srv.Close()
	r := run(t, probe.Plan{Targets: []string{srv.Listener.Addr().String()}})
	if changed.Load() > 0 || len(r.APIs) != 1 {
		t.Errorf("%d writes; %+v", changed.Load(), r.APIs)
	}
}

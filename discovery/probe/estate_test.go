package probe_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"sallyport.dev/discovery/probe"
)

// kinds gives "kind path" of every API that a report has.
func kinds(r *probe.Report) []string {
	var out []string
	for _, a := range r.APIs {
		out = append(out, string(a.Kind)+" "+a.Path)
	}
	slices.Sort(out)
	return out
}

// noisy answers 200 with a different page to everything that next does not know.
func noisy(next pages) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := next[r.URL.Path]; ok {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "<html><h1>Sorry, nothing at %s</h1><p>Perhaps you look for this", r.URL.Path)
		for range 3 + rand.N(9) {
			fmt.Fprintf(w, " offer%d <i>%s</i>", rand.N(1000), strings.Repeat("x", rand.N(5)))
		}
	})
}

const edmx = `<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><EntitySet Name="Orders"/></edmx:Edmx>`

// hosts are small servers and exactly what is to be found at each.
var hosts = map[string]struct {
	handler http.Handler
	want    []string
}{
	"rest with a description": {pages{"/openapi.json": {body: described, header: []string{jsonType}}, "/orders": {status: 401, body: `{"e":1}`, header: []string{jsonType}}}, []string{"openapi /openapi.json", "rest /"}},
	"rest by guess":           {pages{"/api/v1/users": {body: `[{"id":1}]`, header: []string{jsonType}}, "/internal/admin/impersonate": {body: `{"ok":true}`, header: []string{jsonType}}}, []string{"rest /"}},
	"soft 404 with noise":     {noisy(pages{"/api/orders": {body: `{"orders":[]}`, header: []string{jsonType}}}), []string{"rest /api"}},
	"json for everything": {reply(func(r *http.Request, _ string) (int, string) {
		return 200, `{"path":"` + r.URL.Path + `","time":` + fmt.Sprint(rand.N(1<<30)) + `}`
	}), nil},
	"a wall for words": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "admin") || strings.Contains(r.URL.Path, ".env") || strings.Contains(r.URL.Path, ".git") {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(403)
			io.WriteString(w, `{"error":"blocked"}`)
			return
		}
		http.NotFound(w, r)
	}), nil},
	"answers by the dice": {reply(func(r *http.Request, _ string) (int, string) {
		return []int{200, 404}[rand.N(2)], []string{`{"a":1}`, `{"b":[1]}`, `{"c":"x"}`}[rand.N(3)]
	}), nil},
	"redirects everything": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login?next="+r.URL.Path, 302) }), nil},
	"names alone": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains([]string{"/graphql", "/soap", "/odata", "/mcp", "/ws", "/rpc", "/webhook", "/dav/"}, r.URL.Path) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, "<html>About %s", r.URL.Path)
			return
		}
		http.NotFound(w, r)
	}), nil},
	"graphql":         {graphQL(true, true, true, true, true), []string{"graphql /graphql"}},
	"graphql, closed": {graphQL(false, false, false, false, false), []string{"graphql /graphql"}},
	"mcp":             {mcp(true), []string{"mcp /mcp"}},
	"json-rpc":        {jsonrpc(false), []string{"json-rpc /rpc"}},
	"websocket":       {socket(""), []string{"websocket /ws"}},
	"mqtt":            {socket("mqtt"), []string{"mqtt /mqtt"}},
	"webdav":          {dav(true), []string{"webdav /"}},
	"soap":            {pages{"/soap?wsdl": {body: `<definitions xmlns="http://schemas.xmlsoap.org/wsdl/"><operation name="Buy"/></definitions>`}}, []string{"soap /soap"}},
	"odata":           {pages{"/odata/$metadata": {body: edmx}}, []string{"odata /odata"}},
	"sse":             {one("/events", "data: {}\n\n", "Content-Type: text/event-stream"), []string{"sse /events"}},
	"asyncapi":        {one("/asyncapi.yaml", "asyncapi: 3.0.0\ninfo: {title: Events, version: '1'}\nchannels: {orders: {}}\n"), []string{"asyncapi /asyncapi.yaml"}},
	"webhook": {reply(func(r *http.Request, _ string) (int, string) {
		if r.URL.Path != "/webhooks/github" {
			return 404, `{}`
		}
		if r.Method != "POST" {
			return 405, `{}`
		}
		return 401, `{"error":"signature does not match"}`
	}), []string{"webhook /webhooks/github"}},
	"xml-rpc": {reply(func(r *http.Request, _ string) (int, string) {
		if r.URL.Path == "/RPC2" && r.Method == "POST" {
			return 200, "<methodResponse><params><string>system.listMethods</string></params></methodResponse>"
		}
		return 404, "{}"
	}), []string{"xml-rpc /RPC2"}},
	"grpc-web": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc-web") {
			w.WriteHeader(415)
			return
		}
		w.Header().Set("Content-Type", "application/grpc-web+proto")
		w.Write([]byte("\x80\x00\x00\x00\x0fgrpc-status:12\n"))
	}), []string{"grpc-web /"}},
}

func TestEveryKindIsFoundAndNoneInvented(t *testing.T) {
	for name, h := range hosts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(h.handler)
			defer srv.Close()
			r := run(t, probe.Plan{Targets: []string{srv.Listener.Addr().String()}})
			if got := kinds(r); !slices.Equal(got, h.want) {
				t.Errorf("got  %q\nwant %q\n%+v", got, h.want, r.APIs)
			}
			for _, c := range r.Claims {
				if c.Asset.Address == "" || c.Source != probe.Source || c.Evidence == "" {
					t.Errorf("claim without asset, source or evidence: %+v", c)
				}
			}
		})
	}
}

func TestGRPCByReflectionAndWithout(t *testing.T) {
	for _, reflects := range []bool{true, false} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := grpc.NewServer()
		healthpb.RegisterHealthServer(srv, health.NewServer())
		if reflects {
			reflection.Register(srv)
		}
		go srv.Serve(ln)
		r := run(t, probe.Plan{Targets: []string{ln.Addr().String()}})
		srv.Stop()
		if got := kinds(r); !slices.Equal(got, []string{"grpc /"}) {
			t.Fatalf("got %q; %+v", got, r.Hosts)
		}
		if ops := fmt.Sprint(r.APIs[0].Operations); strings.Contains(ops, "/grpc.health.v1.Health/Check") != reflects || (findings(r, "grpc.reflection") == 1) != reflects || findings(r, "grpc.plain") != 1 {
			t.Errorf("reflection %t: operations %s, findings %+v", reflects, ops, r.Findings)
		}
	}
}

func TestARealServerBehindTwoNames(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	ln, _ := net.Listen("tcp", "127.0.0.1:0")
	at := ln.Addr().String()
	ln.Close()
	text := `daemon off; pid ` + dir + `/pid; error_log ` + dir + `/e.log; events {} http { access_log off; client_body_temp_path ` + dir + `; proxy_temp_path ` + dir + `; fastcgi_temp_path ` + dir + `; uwsgi_temp_path ` + dir + `; scgi_temp_path ` + dir + `;
server { listen ` + at + ` default_server; location / { return 404; } }
server { listen ` + at + `; server_name api.shop.test; default_type application/json; location = /v1/orders { return 200 '[]'; } location = /nginx_status { stub_status; } location / { return 404 '{"e":1}'; } } }`
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("nginx", "-c", conf, "-p", dir)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { c.Process.Kill(); c.Wait() }()
	for range 200 {
		if x, err := net.Dial("tcp", at); err == nil {
			x.Close()
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	_, port, _ := net.SplitHostPort(at)
	r := run(t, probe.Plan{Targets: []string{"api.shop.test:" + port, "www.shop.test:" + port}, Resolve: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}})
	if got := kinds(r); !slices.Equal(got, []string{"rest /v1"}) || r.APIs[0].Host != "api.shop.test" || findings(r, "debug.nginx_status") != 1 {
		t.Errorf("got %q at %+v, findings %+v", got, r.APIs, r.Findings)
	}
}

// heap is what is in use now.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Each of these servers would hold a careless client for ever, or fill its memory.
func TestHostileServers(t *testing.T) {
	var outside atomic.Int64 // requests to where no scan may go
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { outside.Add(1) }))
	defer other.Close()
	raw := func(f func(c net.Conn)) func(*testing.T) string {
		return func(t *testing.T) string {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ln.Close() })
			go func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					go func() { defer c.Close(); f(c) }()
				}
			}()
			return ln.Addr().String()
		}
	}
	served := func(h http.HandlerFunc) func(*testing.T) string {
		return func(t *testing.T) string {
			srv := httptest.NewServer(h)
			t.Cleanup(srv.CloseClientConnections)
			return srv.Listener.Addr().String()
		}
	}
	forever := strings.Repeat("x", 16<<10)
	for name, start := range map[string]func(*testing.T) string{
		"endless body": served(func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, forever); err != nil {
					return
				}
			}
		}),
		"endless headers": raw(func(c net.Conn) {
			bufio.NewReader(c).ReadString('\n')
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(c, "X-%d: %s\r\n", i, forever[:1000]); err != nil {
					return
				}
			}
		}),
		"endless interim answers": raw(func(c net.Conn) {
			bufio.NewReader(c).ReadString('\n')
			for {
				if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"); err != nil {
					return
				}
			}
		}),
		"redirect loop": served(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", 302) }),
		"redirect to metadata": served(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", 302)
		}),
		"redirect out of scope": served(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL+r.URL.Path, 307) }),
		"tarpit":                raw(func(c net.Conn) { io.Copy(io.Discard, c) }),
		"drip": raw(func(c net.Conn) {
			for _, b := range []byte("HTTP/1.1 200 OK\r\nX: " + forever) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}),
		"TLS garbage": raw(func(c net.Conn) {
			io.WriteString(c, "\x16\x03\x03\x40\x00"+forever)
			io.Copy(io.Discard, c)
		}),
		"a million links": served(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			if r.URL.Path != "/" {
				w.WriteHeader(404)
				return
			}
			for i := range 1_000_000 {
				if _, err := fmt.Fprintf(w, `<a href="/p%d">`, i); err != nil {
					return
				}
			}
		}),
		"gzip bomb": served(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Type", "application/json")
			w.Write(bomb())
		}),
		"deep JSON": served(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, strings.Repeat("[", 100_000))
		}),
		"links out of scope": served(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				fmt.Fprintf(w, `<a href="%s/x"> <a href="//169.254.169.254/y"> <a href="http://%s/z">`, other.URL, other.Listener.Addr())
			} else {
				http.NotFound(w, r)
			}
		}),
		"a document that points out": served(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/openapi.json" {
				fmt.Fprintf(w, `{"openapi":"3.1.0","info":{"title":"x","version":"1"},"servers":[{"url":"%s"}],"paths":{"/a":{"$ref":"%s/b"},"/c":{"get":{}}}}`, other.URL, other.URL)
			} else {
				http.NotFound(w, r)
			}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := heap()
			r := run(t, probe.Plan{Targets: []string{start(t)}, Timeout: 250 * time.Millisecond, HostTime: 2 * time.Second, Budget: 1500})
			if after := heap(); after > before+128<<20 {
				t.Errorf("%d MiB more are in use after it", (after-before)>>20)
			}
			if name != "a document that points out" && len(r.APIs) > 0 {
				t.Errorf("it has no API, and these were found: %+v", r.APIs)
			}
		})
	}
	t.Cleanup(func() {
		if n := outside.Load(); n > 0 {
			t.Errorf("%d requests went to an address outside of the scope", n)
		}
	})
}

// bomb is 64 MiB of spaces.
var bomb = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(bytes.Repeat([]byte(" "), 64<<20))
	z.Close()
	return b.Bytes()
})

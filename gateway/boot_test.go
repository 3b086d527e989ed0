package gateway_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
)

// A box is one start of an instance at an address.
type box struct {
	srv   *http.Server
	users atomic.Int64 // requests of users that reached it
}

func boxAt(t *testing.T, addr, boot string, h http.HandlerFunc) *box {
	t.Helper()
	b := &box{}
	var ln net.Listener
	var err error
	for range 200 { // the address of one that was just closed
		if ln, err = net.Listen("tcp", addr); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.srv = &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/version" {
			if h != nil {
				h(w, r)
				return
			}
			w.Header().Set("X-Boot-Id", boot)
			fmt.Fprintf(w, `{"build": {"start": %q}}`, boot)
			return
		}
		b.users.Add(1)
		io.WriteString(w, boot)
	})}
	b.srv.Protocols.SetHTTP1(true)
	b.srv.Protocols.SetUnencryptedHTTP2(true)
	go b.srv.Serve(ln)
	t.Cleanup(func() { b.srv.Close() })
	return b
}

// A restart on the same address never gets a user's request before it was
// admitted anew, and while another instance is admitted no client notices.
func TestRestartIsHeld(t *testing.T) {
	for name, up := range map[string]gateway.Upstream{"HTTP/1.1": {}, "h2": {Protocol: "h2"}} {
		for kind, boot := range map[string]*gateway.Boot{"header": {Path: "/version", Header: "X-Boot-Id"}, "JSON": {Path: "/version", JSON: "/build/start"}, "body": {Path: "/version"}} {
			t.Run(name+" "+kind, func(t *testing.T) {
				a, b := bootAddr(t), bootAddr(t)
				one, two := boxAt(t, a, "a1", nil), boxAt(t, b, "b1", nil)
				ua, ub := up, up
				ua.URL, ub.URL = "http://"+a, "http://"+b
				changed := make(chan sallyport.Instance, 64)
				d := open(t, gateway.Options{Changed: func(in sallyport.Instance) { changed <- in },
					Program: program(t, guard.API{API: sallyport.API{Name: "shop"}, Policy: policy.API{Mode: sallyport.Enforce}}),
					APIs:    []gateway.API{{Name: "shop", Gated: true, Boot: boot, Upstreams: []gateway.Upstream{ua, ub}}}})
				for range 2 {
					if in := <-changed; in.Admission != sallyport.Held {
						t.Errorf("told of %+v", in)
					}
				}
				c := d.client(false)
				get := func() (int, string) {
					res, err := c.Get(d.url("/x"))
					if err != nil {
						t.Error(err)
						return 0, ""
					}
					defer res.Body.Close()
					body, _ := io.ReadAll(res.Body)
					return res.StatusCode, string(body)
				}
				if status, _ := get(); status != 503 || one.users.Load()+two.users.Load() != 0 {
					t.Errorf("before anything is admitted: %d", status)
				}
				admit := func(url string) {
					t.Helper()
					in := sallyport.Instance{API: "shop", URL: url}
					id, err := d.Identify(t.Context(), in)
					if err != nil {
						t.Fatal(err)
					}
					in.Boot = id
					if err := d.Admit(t.Context(), in, "tested"); err != nil {
						t.Fatal(err)
					}
				}
				admit(ua.URL)
				admit(ub.URL)
				var wg sync.WaitGroup
				stop := make(chan bool)
				var asked, wrong atomic.Int64
				for range 4 {
					wg.Go(func() {
						for {
							select {
							case <-stop:
								return
							default:
							}
							asked.Add(1)
							if status, body := get(); status != 200 || body == "a2" {
								if status != 502 { // in flight on the process that was killed
									wrong.Add(1)
									t.Errorf("answered %d %s", status, body)
								} else if wrong.Add(1) > 4 {
									t.Errorf("more than what was in flight failed")
								}
							}
						}
					})
				}
				for one.users.Load() == 0 {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(100 * time.Millisecond)
				one.srv.Close()
				next := boxAt(t, a, "a2", nil)
				time.Sleep(300 * time.Millisecond)
				close(stop)
				wg.Wait()
				if n := next.users.Load(); n != 0 {
					t.Errorf("%d of %d requests reached a start that nobody had tested", n, asked.Load())
				}
				if one.users.Load() == 0 {
					t.Error("nothing reached the first one while it was admitted")
				}
				found := false
				for len(changed) > 0 {
					in := <-changed
					found = found || in.URL == ua.URL && in.Admission == sallyport.Held
				}
				if !found {
					t.Error("nobody was told of the restart")
				}
				admit(ua.URL)
				for range 200 {
					if get(); next.users.Load() > 0 {
						break
					}
				}
				if next.users.Load() == 0 {
					t.Error("the new start gets nothing although it was admitted")
				}
			})
		}
	}
}

// An instance that does not say which start of it this is, or no longer does,
// gets nothing; hostile answers cost a bounded time.
func TestInstancesThatDoNotSay(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"404":       func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) },
		"no header": func(w http.ResponseWriter, r *http.Request) {},
		"two":       func(w http.ResponseWriter, r *http.Request) { w.Header()["X-Boot-Id"] = []string{"a", "b"} },
		"empty":     func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Boot-Id", " ") },
		"closes": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Boot-Id", "1")
			w.Header().Set("Connection", "close")
		},
		"endless": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Boot-Id", "1")
			for r.Context().Err() == nil {
				w.Write(make([]byte, 64<<10))
			}
		},
		"a head without end": func(w http.ResponseWriter, r *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for line := "X-Pad: " + strings.Repeat("a", 8000) + "\r\n"; err == nil; {
				_, err = io.WriteString(c, line)
			}
		},
		"another id": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Boot-Id", time.Now().String()) },
	} {
		t.Run(name, func(t *testing.T) {
			addr := bootAddr(t)
			b := boxAt(t, addr, "", h)
			d := open(t, gateway.Options{Program: program(t), APIs: []gateway.API{{Name: "shop", Gated: true, Boot: &gateway.Boot{Path: "/version", Header: "X-Boot-Id"},
				Upstreams: []gateway.Upstream{{URL: "http://" + addr}}}}})
			in := sallyport.Instance{API: "shop", URL: "http://" + addr, Boot: "1"}
			if err := d.Admit(t.Context(), in, "whatever the tests said"); err != nil {
				t.Fatal(err)
			}
			res, err := d.client(false).Get(d.url("/x"))
			body := read(t, res, err)
			if res.StatusCode != 503 || b.users.Load() != 0 {
				t.Errorf("%d %s; %d requests reached it", res.StatusCode, body, b.users.Load())
			}
			for _, x := range d.Instances() {
				if x.Admission != sallyport.Held {
					t.Errorf("it is %s (%s)", x.Admission, x.Reason)
				}
			}
		})
	}
}

// bootAddr is an address that nobody takes while an instance is down: it lies
// below the ports of outgoing connections.
func bootAddr(t *testing.T) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10000+(os.Getpid()*61+int(bootCount.Add(1)))%10000)
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		ln.Close()
		return addr
	}
	t.Fatal("no port is free")
	return ""
}

var bootCount atomic.Int64

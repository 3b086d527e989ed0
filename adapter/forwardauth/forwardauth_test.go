package forwardauth

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/guard/door"
	"sallyport.dev/policy"
)

type tape struct {
	mu  sync.Mutex
	all []*sallyport.Exchange
}

func (t *tape) Want(*sallyport.Exchange) bool { return true }
func (t *tape) Record(x *sallyport.Exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, x)
}

func (t *tape) last() *sallyport.Exchange {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) == 0 {
		return nil
	}
	return t.all[len(t.all)-1]
}

// start serves a door in front of an API that asks for keys.
func start(t *testing.T, change func(*Server)) (addr string, rec *tape, s *Server) {
	t.Helper()
	p, err := guard.Compile(guard.Config{Name: "p", APIs: []guard.API{{API: sallyport.API{Name: "a", Hosts: []string{"a.example.test"}}, Policy: policy.API{Mode: sallyport.Enforce}}}})
	if err != nil {
		t.Fatal(err)
	}
	rec = &tape{}
	s = &Server{Desk: &door.Desk{Name: "edge", Program: func() *guard.Program { return p }, Recorder: rec}, Peers: door.Peers{Token: "secret"}}
	if change != nil {
		change(s)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { s.Serve(ctx, ln); close(done) }()
	t.Cleanup(func() { end(); <-done })
	return ln.Addr().String(), rec, s
}

func question(addr, path string, edit func(http.Header), body string) *http.Request {
	r, _ := http.NewRequest("POST", "http://"+addr+path, strings.NewReader(body))
	for k, v := range map[string]string{"X-Original-Method": "POST", "X-Original-Uri": "/x?q=1", "X-Original-Host": "a.example.test", "X-Original-Proto": "https", "X-Original-Client": "192.0.2.7",
		"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/y", "X-Forwarded-Host": "a.example.test", "X-Forwarded-Proto": "http", "X-Forwarded-For": "198.51.100.1, 192.0.2.8", HeaderToken: "secret"} {
		r.Header.Set(k, v)
	}
	if edit != nil {
		edit(r.Header)
	}
	return r
}

func set(name, v string) func(http.Header) { return func(h http.Header) { h.Set(name, v) } }

func TestQuestions(t *testing.T) {
	addr, rec, s := start(t, nil)
	for _, c := range []struct {
		name, path string
		edit       func(http.Header)
		body       string
		want       int
		saw        string // method, path, query, client of the record
	}{
		{"nginx", PathNginx, nil, "", 204, "POST /x q=1 192.0.2.7"},
		{"nginx with a body", PathNginxBody, nil, "text", 204, "POST /x q=1 192.0.2.7"},
		{"the other style's headers are the client's", PathForward, set("X-Original-Uri", "/public"), "", 204, "GET /y  192.0.2.8"},
		{"the other style's headers, the other way", PathNginx, set("X-Forwarded-Uri", "/public"), "", 204, "POST /x q=1 192.0.2.7"},
		{"an attack in the query", PathNginx, set("X-Original-Uri", "/x?q=1'%20OR%20'1'='1"), "", 204, "POST /x q=1'%20OR%20'1'='1 192.0.2.7"}, // no engine here
		{"another host", PathNginx, set("X-Original-Host", "b.example.test"), "", 403, "POST /x q=1 192.0.2.7"},
		{"another host, where the status may be told", PathForward, set("X-Forwarded-Host", "b.example.test"), "", 404, "GET /y  192.0.2.8"},
		{"no token", PathNginx, func(h http.Header) { h.Del(HeaderToken) }, "", 404, ""},
		{"a wrong token", PathNginx, set(HeaderToken, "secreT"), "", 404, ""},
		{"another path", "/", nil, "", 404, ""},
		{"no method", PathNginx, func(h http.Header) { h.Del("X-Original-Method") }, "", 400, ""},
		{"two methods", PathNginx, func(h http.Header) { h.Add("X-Original-Method", "GET") }, "", 400, ""},
		{"no client", PathNginx, set("X-Original-Client", "unknown"), "", 400, ""},
		{"an absolute target", PathNginx, set("X-Original-Uri", "http://evil.test/"), "", 400, ""},
		{"a target with a space", PathNginx, set("X-Original-Uri", "/a b"), "", 400, ""},
	} {
		rec.mu.Lock()
		rec.all = nil
		rec.mu.Unlock()
		res, err := http.DefaultClient.Do(question(addr, c.path, c.edit, c.body))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		for i := 0; c.saw != "" && rec.last() == nil && i < 500; i++ {
			time.Sleep(time.Millisecond)
		}
		saw := ""
		if x := rec.last(); x != nil {
			saw = fmt.Sprint(x.Method, " ", x.Path, " ", x.Query, " ", x.Client)
			if x.Door != "edge" || res.Header.Get("X-Request-Id") != x.ID {
				t.Errorf("%s: door %s, id %s", c.name, x.Door, res.Header.Get("X-Request-Id"))
			}
			for _, f := range x.RequestHeader {
				if f.Name == HeaderToken {
					t.Errorf("%s: the secret is in the record", c.name)
				}
			}
		}
		if res.StatusCode != c.want || saw != c.saw {
			t.Errorf("%s: %d %q saw %q, want %d %q", c.name, res.StatusCode, b, saw, c.want, c.saw)
		}
		if res.StatusCode == 204 && (len(res.Header["X-Auth-Subject"]) != 1 || res.Header["X-Auth-Subject"][0] != "") {
			t.Errorf("%s: nobody called, and the answer does not say so: %q", c.name, res.Header["X-Auth-Subject"])
		}
	}
	if n := s.Desk.Counts().Strange; n != 8 {
		t.Errorf("%d strange questions", n)
	}
}

// What is not shown is said, and may be refused.
func TestBodies(t *testing.T) {
	unseen := func(x *sallyport.Exchange) bool {
		return x != nil && strings.Contains(strings.Join(x.Decision.NotInspected, ";"), "body: the proxy")
	}
	long := strings.Repeat("x", 3<<20)
	for _, c := range []struct {
		name, path, length, body string
		refuse                   bool
		want                     int
		unseen                   bool
	}{
		{"none", PathNginx, "0", "", false, 204, false},
		{"not shown", PathNginx, "7", "", false, 204, true},
		{"of unknown length", PathNginx, "unknown", "", false, 204, true},
		{"a length that is none", PathNginx, "-7", "", false, 204, true},
		{"not shown, and that is refused", PathNginx, "7", "", true, 403, true},
		{"shown", PathNginxBody, "", "text", true, 204, false},
		{"larger than is taken", PathNginxBody, "", long, false, 413, false},
	} {
		addr, rec, _ := start(t, func(s *Server) { s.Desk.RefuseUnseen = c.refuse })
		res, err := http.DefaultClient.Do(question(addr, c.path, set(HeaderLength, c.length), c.body))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		for i := 0; rec.last() == nil && i < 500; i++ {
			time.Sleep(time.Millisecond)
		}
		if res.StatusCode != c.want || unseen(rec.last()) != c.unseen {
			t.Errorf("%s: %d, %+v", c.name, res.StatusCode, rec.last().Decision)
		}
	}
}

// A body that never ends, a head beyond the bound, and half a question cost a
// bounded time, and others are answered meanwhile.
func TestHungAndHuge(t *testing.T) {
	addr, rec, _ := start(t, nil)
	hung, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer hung.Close()
	fmt.Fprintf(hung, "POST /nginx/body HTTP/1.1\r\nHost: x\r\nX-Sallyport-Door: secret\r\nX-Original-Method: POST\r\nX-Original-Uri: /\r\nX-Original-Host: a.example.test\r\nX-Original-Proto: http\r\nX-Original-Client: 192.0.2.7\r\nContent-Length: 100\r\n\r\nhalf")
	half, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(half, "POST /nginx/body HTTP/1.1\r\nHost: x\r\nX-Sallyport-Door: secret\r\nX-Original-Method: POST\r\nX-Original-Uri: /\r\nX-Original-Host: a.example.test\r\nX-Original-Proto: http\r\nX-Original-Client: 192.0.2.7\r\nContent-Length: 100\r\n\r\nhalf")
	half.Close()
	huge := question(addr, PathNginx, set("X-Huge", strings.Repeat("x", 200<<10)), "")
	if res, err := http.DefaultClient.Do(huge); err != nil || res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a huge head: %v %v", res, err)
	}
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			res, err := http.DefaultClient.Do(question(addr, PathNginxBody, nil, "text"))
			if err != nil || res.StatusCode != 204 {
				t.Errorf("beside it: %v %v", res, err)
				return
			}
			res.Body.Close()
		})
	}
	wg.Wait()
	for range 500 {
		rec.mu.Lock()
		n := len(rec.all)
		rec.mu.Unlock()
		if n >= 65 { // the half question has its record too
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Error("a question that broke off has no record")
}

// With no room left, the door does what it says.
func TestNoRoom(t *testing.T) {
	for _, open := range []bool{false, true} {
		addr, rec, s := start(t, func(s *Server) { s.Desk.FailOpen, s.Desk.Most = open, 1 })
		held := s.Desk.Ask(t.Context(), &guard.Request{Method: "GET", Host: "a.example.test", Path: "/", Header: http.Header{}})
		res, err := http.DefaultClient.Do(question(addr, PathForward, nil, ""))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		x := rec.last()
		if want := map[bool]int{false: 503, true: 204}[open]; res.StatusCode != want || x == nil || x.Decision.Reasons[0].Rule != "door.busy" {
			t.Errorf("open %v: %d %+v", open, res.StatusCode, x)
		}
		held.Finish()
		if res, err = http.DefaultClient.Do(question(addr, PathForward, nil, "")); err != nil || res.StatusCode != 204 {
			t.Errorf("afterwards: %v %v", res, err)
		}
		res.Body.Close()
	}
}

// never is a resolver whose issuer does not answer.
type never struct{}

func (never) Resolve(ctx context.Context, _, _ string) error { <-ctx.Done(); return ctx.Err() }

type noKeys struct{}

func (noKeys) Key(string, string, string) (any, bool) { return nil, false }
func (noKeys) HasKeys(string) bool                    { return false } // none was ever fetched

// A key that does not come within the bound: closed is 503, open passes and the
// record says what was not looked at.
func TestTimeBound(t *testing.T) {
	token := "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIiwidHlwIjoiSldUIn0.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLnRlc3QiLCJhdWQiOiJhIiwic3ViIjoiYWxpY2UiLCJleHAiOjQxMDI0NDQ4MDB9." + strings.Repeat("A", 342)
	p, err := guard.Compile(guard.Config{Name: "p", Keys: noKeys{}, APIs: []guard.API{{API: sallyport.API{Name: "a", Hosts: []string{"a.example.test"}},
		Policy: policy.API{Mode: sallyport.Enforce, Auth: policy.Auth{OIDC: []policy.OIDC{{Issuer: "https://idp.example.test", Audience: "a"}}, Anonymous: policy.Never}}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, open := range []bool{false, true} {
		addr, rec, _ := start(t, func(s *Server) {
			s.Desk.Program = func() *guard.Program { return p }
			s.Desk.FailOpen, s.Desk.Within, s.Desk.Resolver = open, 20*time.Millisecond, never{}
		})
		res, err := http.DefaultClient.Do(question(addr, PathForward, set("Authorization", "Bearer "+token), ""))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		for i := 0; rec.last() == nil && i < 500; i++ {
			time.Sleep(time.Millisecond)
		}
		x := rec.last()
		if want := map[bool]int{false: 503, true: 204}[open]; res.StatusCode != want || x.Decision.Refused() == open || len(x.Decision.NotInspected) == 0 {
			t.Errorf("open %v: %d %+v", open, res.StatusCode, x.Decision)
		}
	}
}

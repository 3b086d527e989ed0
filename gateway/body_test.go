package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/gateway"
)

// A trailer that was announced passes behind a chunked body, streamed or in
// hand, but for what could not pass as a header; the record says that nobody
// looked at it.
func TestRequestTrailers(t *testing.T) {
	fronts(t, func(t *testing.T, front gateway.Front) {
		up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			w.Write(b)
			for _, name := range slices.Sorted(maps.Keys(r.Trailer)) {
				fmt.Fprint(w, " ", name, "=", strings.Join(r.Trailer[name], ","))
			}
		})
		const body = `{"name":"jacket"}`
		streamed := open(t, gateway.Options{APIs: to(up.URL), Front: front})
		held := open(t, gateway.Options{Program: program(t, shop(t)), APIs: to(up.URL), Front: front})
		for name, d := range map[string]*door{"streamed": streamed, "held": held} {
			kind := map[string]string{"streamed": "application/octet-stream", "held": "application/json"}[name]
			for i, c := range d.three() {
				for _, tt := range []struct {
					trailer http.Header
					want    string
				}{
					{nil, body},
					{http.Header{"X-Sum": {"5"}, "X-Two": {"a", "b"}}, body + " X-Sum=5 X-Two=a,b"},
					{http.Header{"X-Sum": {"5"}, "X-Auth-User": {"admin"}}, body + " X-Sum=5"},
				} {
					req, err := http.NewRequest("POST", d.url("/items"), struct{ io.Reader }{strings.NewReader(body)})
					if err != nil {
						t.Fatal(err)
					}
					req.Header.Set("Content-Type", kind)
					req.Trailer = tt.trailer.Clone()
					res, err := c.Do(req)
					got := read(t, res, err)
					if i == 0 && front == gateway.Strict && tt.trailer["X-Auth-User"] != nil {
						wantProblem(t, res, got, 400) // it refuses such a trailer
						continue
					}
					if got != tt.want {
						t.Errorf("%s, client %d: got %q, want %q", name, i, got, tt.want)
					}
					x := d.rec.find(t, res.Header.Get("X-Request-Id"))
					if said := slices.ContainsFunc(x.Decision.NotInspected, func(s string) bool { return strings.HasPrefix(s, "trailer: ") }); said != (tt.trailer != nil) {
						t.Errorf("%s, client %d: not inspected %q", name, i, x.Decision.NotInspected)
					}
				}
			}
			// What no announcement named stays behind.
			for announced, want := range map[string]string{"": "", "Trailer: X-Sum\r\n": " X-Sum=5"} {
				res, got := d.raw(t, "POST /items HTTP/1.1\r\nHost: a\r\nContent-Type: "+kind+"\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"+announced+
					"\r\n11\r\n"+body+"\r\n0\r\nX-Sum: 5\r\nX-Late: 1\r\n\r\n")
				if got != body+want {
					t.Errorf("%s, announced %q: got %d %q, want trailer %q", name, announced, res.StatusCode, got, want)
				}
			}
		}
	})
}

// An exchange whose upstream is done with it does not wait for a client that
// has stopped sending.
func TestStalledSender(t *testing.T) {
	some := strings.Repeat("x", 40_000) // more than the guard wants to see before it lets go on
	for _, tt := range []struct {
		name, answer string
		status       int
	}{
		{"no answer", "", 502},
		{"an early answer", "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", 401},
	} {
		fronts(t, func(t *testing.T, front gateway.Front) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			defer all.Wait()
			defer ln.Close()
			all.Go(func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					r, err := http.ReadRequest(bufio.NewReader(c))
					if err == nil {
						r.Body.Read(make([]byte, 1))
						io.WriteString(c, tt.answer)
					}
					c.Close()
				}
			})
			a := to("http://" + ln.Addr().String())
			a[0].Health.Failures = 1000
			// It would be cut off for its slowness in an hour.
			d := open(t, gateway.Options{APIs: a, Front: front, Bounds: gateway.Bounds{BodyIdle: time.Hour, Drain: 5 * time.Second}})
			ended := func(who, id string) {
				t.Helper()
				if x := d.rec.find(t, id); x.Status != tt.status {
					t.Errorf("%s, %s: record %+v", tt.name, who, x)
				}
				for end := time.Now().Add(10 * time.Second); d.Metrics().InFlight > 0; time.Sleep(time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("%s, %s: still in flight while the client is silent", tt.name, who)
					}
				}
			}
			if front == gateway.Strict {
				res, body := d.raw(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/octet-stream\r\nContent-Length: 100000000\r\n\r\n"+some)
				if res.StatusCode != tt.status {
					t.Fatalf("%s: got %d %s, want %d", tt.name, res.StatusCode, body, tt.status)
				}
				ended("HTTP/1.1", res.Header.Get("X-Request-Id"))
			}
			for _, c := range d.three()[1:] {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				pr, pw := io.Pipe()
				req, _ := http.NewRequestWithContext(ctx, "POST", d.url("/"), pr)
				req.Header.Set("Content-Type", "application/octet-stream")
				all.Go(func() { io.WriteString(pw, some) })
				res, err := c.Do(req)
				if err != nil {
					t.Fatalf("%s: %v", tt.name, err)
				}
				if res.StatusCode != tt.status {
					t.Errorf("%s, %s: got %d, want %d", tt.name, res.Proto, res.StatusCode, tt.status)
				}
				ended(res.Proto, res.Header.Get("X-Request-Id"))
				pw.Close()
				cancel()
				res.Body.Close()
			}
		})
	}
}

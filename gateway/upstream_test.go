package gateway_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/gateway"
)

// Instances behind TLS are asked only when their certificate is right.
func TestUpstreamTLS(t *testing.T) {
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Proto, r.Host)
	}))
	up.EnableHTTP2 = true
	up.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that fail are what is tested
	up.StartTLS()
	t.Cleanup(up.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: up.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		up     gateway.Upstream
		status int
		want   string
	}{
		{"HTTP/1.1", gateway.Upstream{CA: ca, Host: "inner.test"}, 200, "HTTP/1.1 inner.test"},
		{"HTTP/2", gateway.Upstream{CA: ca, Protocol: "h2", Host: "inner.test"}, 200, "HTTP/2.0 inner.test"},
		{"by its name", gateway.Upstream{CA: ca, Name: "example.com", Host: "inner.test"}, 200, "HTTP/1.1 inner.test"},
		{"by another name", gateway.Upstream{CA: ca, Name: "other.test"}, 502, ""},
		{"by another name over HTTP/2", gateway.Upstream{CA: ca, Name: "other.test", Protocol: "h2"}, 502, ""},
		{"unknown roots", gateway.Upstream{}, 502, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.up.URL = up.URL
			d := open(t, gateway.Options{APIs: []gateway.API{{Name: "shop", Upstreams: []gateway.Upstream{tt.up}}}})
			res, err := d.client(true).Get(d.url("/"))
			body := read(t, res, err)
			if res.StatusCode != tt.status || tt.want != "" && body != tt.want {
				t.Errorf("got %d %s, want %d %s", res.StatusCode, body, tt.status, tt.want)
			}
		})
	}
}

// A change of pools leaves the connections of the instances that stay.
func TestReloadKeepsConnections(t *testing.T) {
	var opened atomic.Int64
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	up.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	up.Start()
	t.Cleanup(up.Close)
	other := newServer(t)
	d := open(t, gateway.Options{APIs: to(up.URL)})
	c := d.client(true)
	for i := range 10 {
		if got := d.get(t, c); got != 200 {
			t.Fatalf("got %d", got)
		}
		a := to(up.URL)
		if i%2 == 0 {
			a = append(a, gateway.API{Name: "other", Upstreams: []gateway.Upstream{{URL: other.url}}})
		}
		if err := d.SetAPIs(a); err != nil {
			t.Fatal(err)
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections were opened", n)
	}
}

// Long bodies pass both ways without being held.
func TestLongBodies(t *testing.T) {
	const size = 128 << 20
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err != nil || r.Method == "POST" && n != size {
			t.Errorf("the upstream got %d bytes, %v", n, err)
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		if r.Method == "GET" {
			io.Copy(w, io.LimitReader(zeros{}, size))
		}
	})
	d := open(t, gateway.Options{APIs: to(up.URL)})
	for _, h2 := range []bool{false, true} {
		c := d.client(h2)
		var before runtime.MemStats
		runtime.GC() // what other tests left, and what this process is made of
		runtime.ReadMemStats(&before)
		stop, most := make(chan bool), make(chan uint64)
		go func() {
			var m runtime.MemStats
			peak := uint64(0)
			for {
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapAlloc)
				select {
				case <-stop:
					most <- peak
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
		}()
		res, err := c.Post(d.url("/"), "application/octet-stream", io.LimitReader(zeros{}, size))
		read(t, res, err)
		res, err = c.Get(d.url("/"))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if err != nil || n != size {
			t.Errorf("h2 %v: %d bytes, %v", h2, n, err)
		}
		close(stop)
		if peak := <-most; peak > 2*before.HeapAlloc+size/2 { // a collection waits until the heap has doubled, and a busy machine lets it wait longer
			t.Errorf("h2 %v: %d MiB on the heap, %d before, for a body of %d MiB", h2, peak>>20, before.HeapAlloc>>20, size>>20)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

package gateway_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"sallyport.dev/gateway"
)

// load asks from several clients at once until stop is called. An answer is
// whole and right, or the connection was refused before anything was asked.
type load struct {
	all    sync.WaitGroup
	ending atomic.Bool
	good   atomic.Int64
	bad    atomic.Int64
	mu     sync.Mutex
	why    map[string]int
}

func (l *load) run(clients []*http.Client, url string) {
	l.why = map[string]int{}
	for i, c := range clients {
		for j := range 4 {
			l.all.Go(func() {
				for k := 0; !l.ending.Load(); k++ {
					want := fmt.Sprintf("%d-%d-%d", i, j, k)
					res, err := c.Post(url, "text/plain", strings.NewReader(want))
					if err != nil {
						if l.ending.Load() || refused(err) {
							return
						}
						l.fail(err.Error())
						return
					}
					b, err := io.ReadAll(res.Body)
					res.Body.Close()
					switch {
					case err != nil:
						l.fail(err.Error())
					case res.StatusCode != 200 || string(b) != want:
						l.fail(fmt.Sprintf("%d %s", res.StatusCode, b))
					default:
						l.good.Add(1)
					}
				}
			})
		}
	}
}

// refused says that no connection could be opened: nothing was asked.
func refused(err error) bool {
	s := err.Error()
	return strings.Contains(s, "connection refused") || strings.Contains(s, "connect: connection reset") || strings.Contains(s, "timeout: no recent network activity") || strings.Contains(s, "server closed") ||
		strings.Contains(s, "graceful shutdown")
}

func (l *load) fail(why string) {
	l.bad.Add(1)
	l.mu.Lock()
	l.why[why]++
	l.mu.Unlock()
}

func (d *door) three() []*http.Client {
	h3 := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: d.roots}}
	d.t.Cleanup(func() { h3.Close() })
	return []*http.Client{d.client(false), d.client(true), {Transport: h3}}
}

func echoBody(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	time.Sleep(time.Millisecond)
	w.Write(b)
}

// Programs and pools change under load and no request is dropped.
func TestReloadUnderLoad(t *testing.T) {
	fronts(t, func(t *testing.T, front gateway.Front) {
		a, b := upstream(t, echoBody), upstream(t, echoBody)
		d := open(t, gateway.Options{APIs: to(a.URL, b.URL), Front: front})
		var l load
		l.run(d.three(), d.url("/"))
		for i := range 30 {
			d.Swap(program(t))
			urls := [][]string{{a.URL}, {b.URL}, {a.URL, b.URL}}[i%3]
			if err := d.SetAPIs(to(urls...)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		// A broken change is refused whole, and what runs goes on.
		if err := d.SetAPIs(to(a.URL, "ftp://x")); err == nil {
			t.Error("a broken pool was taken")
		}
		time.Sleep(20 * time.Millisecond)
		l.ending.Store(true)
		l.all.Wait()
		if l.bad.Load() != 0 || l.good.Load() < 100 {
			t.Errorf("%d good, %d bad: %v", l.good.Load(), l.bad.Load(), l.why)
		}
		t.Logf("%d requests over 30 changes", l.good.Load())
	})
}

// The gateway stops under load: each request that was taken is answered whole.
func TestDrainUnderLoad(t *testing.T) {
	fronts(t, func(t *testing.T, front gateway.Front) {
		up := upstream(t, echoBody)
		for range 3 {
			d := open(t, gateway.Options{APIs: to(up.URL), Front: front})
			var l load
			clients := d.three()[:2]
			l.run(clients, d.url("/"))
			time.Sleep(100 * time.Millisecond)
			if err := d.close(); err != nil {
				t.Errorf("drain: %v", err)
			}
			l.all.Wait()
			if l.bad.Load() != 0 || l.good.Load() < 20 {
				t.Errorf("%d good, %d bad: %v", l.good.Load(), l.bad.Load(), l.why)
			}
			for _, c := range clients {
				c.CloseIdleConnections()
			}
			if n := int64(len(d.rec.list())); n < l.good.Load() {
				t.Errorf("%d records of %d requests", n, l.good.Load())
			}
		}
	})
}

// A drain waits for what is in flight, and cuts it off when its time is over.
func TestDrainWaits(t *testing.T) {
	for _, tt := range []struct {
		name string
		time time.Duration
		cut  bool
	}{{"long enough", 10 * time.Second, false}, {"too short", 300 * time.Millisecond, true}} {
		t.Run(tt.name, func(t *testing.T) {
			entered, leave := make(chan bool, 4), make(chan bool)
			up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
				entered <- true
				select {
				case <-leave:
				case <-r.Context().Done():
				}
				io.WriteString(w, "done")
			})
			d := open(t, gateway.Options{APIs: to(up.URL), Bounds: gateway.Bounds{Drain: tt.time}})
			var asks sync.WaitGroup
			var whole atomic.Int64
			for _, c := range d.three() {
				asks.Go(func() {
					res, err := c.Get(d.url("/"))
					if err != nil {
						return
					}
					if b, err := io.ReadAll(res.Body); err == nil && string(b) == "done" {
						whole.Add(1)
					}
					res.Body.Close()
				})
				take(t, entered, "")
			}
			go func() {
				if !tt.cut {
					time.Sleep(200 * time.Millisecond)
					close(leave)
				}
			}()
			err := d.close()
			asks.Wait()
			if tt.cut {
				close(leave)
				if err == nil || whole.Load() != 0 {
					t.Errorf("%d answered, error %v", whole.Load(), err)
				}
			} else if err != nil || whole.Load() != 3 {
				t.Errorf("%d of 3 answered, error %v", whole.Load(), err)
			}
		})
	}
}

func TestDrainTwice(t *testing.T) {
	d := open(t, gateway.Options{})
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			if err := d.Drain(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := d.Serve(t.Context()); err == nil {
		t.Error("served after a drain")
	}
}

package gateway_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
)

// The guard decides about HTTP/3 as about the others.
func TestHTTP3Decisions(t *testing.T) {
	t.Parallel()
	items := shop(t)
	items.API = sallyport.API{Name: "items", Path: "/items"}
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); io.WriteString(w, "ok") })
	d := open(t, gateway.Options{
		Program: inspecting(t, items, guard.API{API: sallyport.API{Name: "shop", Path: "/shop"}, Policy: policy.API{Mode: sallyport.Enforce,
			Limits: []policy.Limit{{Rate: policy.Rate{Count: 3, Window: time.Hour}, Per: policy.PerClient}}}}),
		APIs: []gateway.API{{Name: "shop", Upstreams: []gateway.Upstream{{URL: up.URL}}}},
	})
	c := d.three()[2]
	for _, tt := range []struct {
		method, path, body string
		status             int
		stage              sallyport.Stage
	}{
		{"POST", "/items", `{"name":1}`, 400, sallyport.StageValidate},
		{"GET", "/elsewhere", "", 404, sallyport.StageIdentify},
		{"GET", "/shop", "", 200, ""},
		{"GET", "/shop?q=%27%20or%201=1%20union%20select%20password%20from%20users--", "", 403, sallyport.StageInspect},
		{"GET", "/shop", "", 200, ""},
		{"GET", "/shop", "", 429, sallyport.StageLimit},
	} {
		req, _ := http.NewRequest(tt.method, d.url(tt.path), bytes.NewReader([]byte(tt.body)))
		if tt.body == "" {
			req.Body = nil
		} else {
			req.Header.Set("Content-Type", "application/json")
		}
		res, err := c.Do(req)
		body := read(t, res, err)
		if res.StatusCode != tt.status || res.ProtoMajor != 3 {
			t.Fatalf("%s %s: %s %d %s, want %d", tt.method, tt.path, res.Proto, res.StatusCode, body, tt.status)
		}
		x := d.rec.find(t, res.Header.Get("X-Request-Id"))
		if tt.status != 200 {
			wantProblem(t, res, body, tt.status)
			if x.Decision.Stage != tt.stage || !x.Decision.Refused() {
				t.Errorf("%s %s: record %+v, want stage %s", tt.method, tt.path, x.Decision, tt.stage)
			}
		}
	}
}

// Large bodies arrive whole, both ways.
func TestHTTP3Large(t *testing.T) {
	t.Parallel()
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Write(b)
	})
	d := open(t, gateway.Options{APIs: to(up.URL)})
	body := bytes.Repeat([]byte("0123456789abcdef"), 8<<20/16)
	res, err := d.three()[2].Post(d.url("/a"), "application/octet-stream", bytes.NewReader(body))
	if got := read(t, res, err); sha256.Sum256([]byte(got)) != sha256.Sum256(body) {
		t.Errorf("%d bytes of %d came back, or others", len(got), len(body))
	}
}

// A request that could be sent again by whoever has seen it is not taken: a
// session that is resumed sends nothing before the handshake is done.
func TestHTTP3NoEarlyData(t *testing.T) {
	t.Parallel()
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	d := open(t, gateway.Options{APIs: to(up.URL)})
	cfg := &tls.Config{RootCAs: d.roots, NextProtos: []string{http3.NextProtoH3}, ClientSessionCache: tls.NewLRUClientSessionCache(8), ServerName: "localhost"}
	var resumed, early atomic.Bool
	for range 2 {
		tr := &http3.Transport{TLSClientConfig: cfg, Dial: func(ctx context.Context, addr string, t *tls.Config, q *quic.Config) (*quic.Conn, error) {
			c, err := quic.DialAddrEarly(ctx, addr, t, q)
			if err == nil {
				<-c.HandshakeComplete()
				resumed.Store(c.ConnectionState().TLS.DidResume)
				early.Store(c.ConnectionState().Used0RTT)
			}
			return c, err
		}}
		res, err := (&http.Client{Transport: tr}).Get(d.url("/"))
		if read(t, res, err); res.StatusCode != 200 {
			t.Errorf("got %d", res.StatusCode)
		}
		time.Sleep(100 * time.Millisecond) // for the ticket, which comes behind the handshake
		tr.Close()
	}
	if !resumed.Load() {
		t.Error("the session was not resumed, so this has shown nothing")
	}
	if early.Load() {
		t.Error("early data was taken")
	}
}

// A drain lets a request by HTTP/3 come to its end, and nothing new in.
func TestHTTP3Drain(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan bool, 1), make(chan bool)
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		entered <- true
		<-leave
		io.WriteString(w, "whole")
	})
	d := open(t, gateway.Options{APIs: to(up.URL), Bounds: gateway.Bounds{Drain: 10 * time.Second}})
	c := d.three()[2]
	type answer struct {
		body string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		res, err := c.Get(d.url("/"))
		if err != nil {
			got <- answer{"", err}
			return
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		got <- answer{string(b), err}
	}()
	take(t, entered, "")
	d.stop()
	time.Sleep(600 * time.Millisecond)
	close(leave)
	if a := <-got; a.err != nil || a.body != "whole" {
		t.Errorf("got %q, %v", a.body, a.err)
	}
	if err := d.close(); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("drain: %v", err)
	}
}

package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

// Pings count in the rate of messages; answers to the service's pings do not.
func TestPingsAreCounted(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		ctx := c.CloseRead(r.Context())
		for range 8 { // a service that asks whether its client is there
			if c.Ping(ctx) != nil {
				return
			}
		}
		c.Write(ctx, websocket.MessageText, []byte(`{"type":"said","text":"ready"}`))
		<-ctx.Done()
	})
	for _, c := range []struct {
		mode  sallyport.Mode
		pings int
		ends  bool
	}{{sallyport.Enforce, 3, false}, {sallyport.Enforce, 4, true}, {sallyport.Observe, 9, false}} {
		d := open(t, gateway.Options{Program: inspecting(t, chat(t, chatSpec, c.mode, policy.WebSocket{Rate: policy.Rate{Count: 3, Window: time.Hour}})), APIs: to(up.URL)})
		conn, _, err := dial(t, d, "/chat/lobby", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := conn.Read(t.Context()); err != nil {
			t.Fatalf("answers to eight pings: %v", err)
		}
		conn.CloseRead(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		for i := range c.pings {
			if err = conn.Ping(ctx); err != nil {
				if i < c.pings-1 {
					t.Errorf("ping %d: %v", i, err)
				}
				break
			}
		}
		cancel()
		if (err != nil) != c.ends {
			t.Errorf("%s, %d pings: %v", c.mode, c.pings, err)
		}
		if c.ends || c.mode == sallyport.Observe {
			d.rec.wait(t, func(x *sallyport.Exchange) bool {
				return x.Proto == "websocket" && x.Decision.Refused() == c.ends && slices.ContainsFunc(x.Decision.Reasons, func(r sallyport.Reason) bool { return r.Rule == "message.rate" })
			})
		}
	}
}

// What is put into answers counts among the bytes held, and where there is no
// room the answer comes without.
func TestSideloadedBytesAreCounted(t *testing.T) {
	const orders = 20
	large := strings.Repeat("x", 100<<10)
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasPrefix(r.URL.Path, "/customers/") {
			fmt.Fprintf(w, `{"id":%q,"text":%q}`, strings.TrimPrefix(r.URL.Path, "/customers/"), large)
			return
		}
		io.WriteString(w, `[`)
		for i := range orders {
			fmt.Fprintf(w, `{"customerId":"c%d"},`, i)
		}
		io.WriteString(w, `{}]`)
	})
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "shop.yaml", Data: []byte(twoAPI)}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	apis := to(up.URL)
	apis[0].Sideload = &gateway.Sideload{Param: "include", Most: 50, Rules: []gateway.Side{{Name: "customer", Operation: "GET /orders", From: "/*/customerId", Target: "/customers/{id}", Always: true}}}
	for _, c := range []struct {
		room int64
		all  bool
	}{{64 << 20, true}, {1 << 20, false}, {3 << 20, false}} {
		d := open(t, gateway.Options{Program: program(t, guard.API{API: sallyport.API{Name: "shop"}, Spec: set, Policy: policy.API{Mode: sallyport.Enforce}}), APIs: apis, Bounds: gateway.Bounds{Buffered: c.room}})
		res, body := d.raw(t, get("/orders"))
		if got := strings.Count(body, large) == orders; res.StatusCode != 200 || got != c.all || strings.Count(body, `"customer":`) != orders {
			t.Errorf("room for %d: %d, %d bytes, %d resources", c.room, res.StatusCode, len(body), strings.Count(body, large))
		}
		x := d.rec.wait(t, func(x *sallyport.Exchange) bool { return x.Template == "/orders" })
		if said := slices.ContainsFunc(x.Decision.Reasons, func(r sallyport.Reason) bool { return r.Rule == "sideload.buffered" }); said == c.all {
			t.Errorf("room for %d: reasons %v", c.room, x.Decision.Reasons)
		}
		until(t, "nothing is held", func() bool { return d.Metrics().Buffered == 0 })
	}
}

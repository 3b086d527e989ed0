package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

const ticksSpec = `openapi: 3.2.0
info: {title: ticks, version: "1"}
paths:
  /ticks:
    get:
      responses:
        "200":
          description: ticks
          content:
            text/event-stream:
              itemSchema:
                type: object
                properties:
                  event: {type: string}
                  data: {type: string, contentMediaType: application/json, contentSchema: {type: object, required: [n], properties: {n: {type: integer}, note: {type: string}}}}
`

// Events are judged one by one as they pass: what is too much in one is taken
// out, one that breaks its schema ends the stream, and none waits for the next.
func TestEvents(t *testing.T) {
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "ticks.yaml", Data: []byte(ticksSpec)}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	next := make(chan string)
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		if s := r.URL.Query().Get("once"); s != "" {
			w.Header().Set("Content-Length", fmt.Sprint(len(s)))
			io.WriteString(w, s)
			return
		}
		w.(http.Flusher).Flush()
		for s := range next {
			if s == "" {
				return
			}
			io.WriteString(w, s)
			w.(http.Flusher).Flush()
		}
	})
	long := "data: {\"n\":1,\"note\":\"" + strings.Repeat("x", 300_000) + "\"}\n\n"
	for _, c := range []struct{ what, sent, want, rule string }{
		{"as declared", "id: 1\nevent: tick\ndata: {\"n\": 1}\n\n", "", ""},
		{"comment", ": ping\n\n", "", ""},
		{"no JSON lines", "retry: 10\n\n", "", ""},
		{"undeclared", "id: 2\ndata: {\"n\": 1,\ndata: \"secret\": 2}\nevent: tick\n\n", "id: 2\ndata: {\"n\": 1}\nevent: tick\n\n", "answer.undeclared"},
		{"sensitive", "data: {\"n\":1,\"note\":\"4111111111111111 it is\"}\n\n", "data: {\"n\":1,\"note\":\"**************** it is\"}\n\n", "answer.sensitive"},
		{"longer than the bound", long, "", "answer.oversize"},
		{"broken", "data: {\"n\": \"one\"}\n\n", "cut", "answer.schema.type"},
		{"no JSON", "data: boom\n\n", "cut", "answer.json.syntax"},
	} {
		for _, mode := range []sallyport.Mode{sallyport.Enforce, sallyport.Observe} {
			api := guard.API{API: sallyport.API{Name: "shop"}, Spec: set, Policy: policy.API{Mode: sallyport.Enforce, Answers: policy.Answers{Mode: mode, Undeclared: policy.StripIt, Sensitive: policy.StripIt}}}
			d := open(t, gateway.Options{Program: program(t, api), APIs: to(up.URL)})
			for _, h2 := range []bool{false, true} {
				want := c.want
				if want == "" || mode == sallyport.Observe {
					want = c.sent
				}
				res, err := d.client(h2).Get(d.url("/ticks"))
				if err != nil {
					t.Fatal(err)
				}
				next <- c.sent
				got := make([]byte, len(want))
				if want == "cut" {
					if b, err := io.ReadAll(res.Body); err == nil || len(b) > 0 {
						t.Errorf("%s: got %q, %v, want a stream that breaks off", c.what, b, err)
					}
				} else if _, err := io.ReadFull(bufio.NewReader(res.Body), got); err != nil || string(got) != want { // before anything else was sent
					t.Errorf("%s, %s, h2 %v: got %.100q %v, want %.100q", c.what, mode, h2, got, err, want)
				}
				next <- ""
				res.Body.Close()
				if c.rule != "" {
					x := d.rec.wait(t, func(x *sallyport.Exchange) bool {
						return x.Proto == "event-stream" && slices.ContainsFunc(x.Decision.Reasons, func(r sallyport.Reason) bool { return r.Rule == c.rule })
					})
					if refused := c.want == "cut" && mode == sallyport.Enforce; x.Decision.Refused() != refused || x.Template != "/ticks" {
						t.Errorf("%s: record %+v", c.what, x)
					}
				}
			}
			if c.want != "cut" && len(c.sent) < 1000 {
				res, err := d.client(false).Get(d.url("/ticks?once=") + strings.NewReplacer("\n", "%0A", " ", "%20", "\"", "%22", "{", "%7B", "}", "%7D").Replace(c.sent))
				want := c.want
				if want == "" || mode == sallyport.Observe {
					want = c.sent
				}
				if got := read(t, res, err); got != want {
					t.Errorf("%s at once: got %q, want %q", c.what, got, want)
				}
			}
		}
	}
}

package main

import (
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/guard/inspect"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

// The same requests through Coraza with the Core Rule Set and through the whole
// guard: one call each, one core, no network.
var subjects = []struct {
	name, method, path, query string
	body                      string
}{
	{"GET-3-parameters", "GET", "/v1/items/1234", "limit=20&sort=name&q=blue%20jacket", ""},
	{"POST-1KiB", "POST", "/v1/items", "", item(10, calm)},
	{"POST-21KB-800-leaves", "POST", "/v1/items", "", item(263, calm)},
}

func head(body string) http.Header {
	h := http.Header{"User-Agent": {"shop-mobile/4.2.1 (Android 15; Pixel 8)"}, "Accept": {"application/json"}, "Accept-Encoding": {"identity"}}
	if body != "" {
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	return h
}

func BenchmarkCorazaCRS(b *testing.B) {
	waf, err := newCoraza()
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range subjects {
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			h, body := head(s.body), []byte(s.body)
			target := s.path
			if s.query != "" {
				target += "?" + s.query
			}
			for b.Loop() {
				if it := inspectCoraza(waf, s.method, target, h, "shop.example.test", body); it != nil {
					b.Fatalf("refused by rule %d", it.RuleID)
				}
			}
		})
	}
}

func BenchmarkGuard(b *testing.B) {
	text, err := os.ReadFile("shop.openapi.yaml")
	if err != nil {
		b.Fatal(err)
	}
	set, err := spec.Load(b.Context(), []spec.Source{{Path: "shop.openapi.yaml", Data: text}}, spec.Options{})
	if err != nil {
		b.Fatal(err)
	}
	engine, err := inspect.New(inspect.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for _, v := range []struct {
		name string
		mode sallyport.Mode
	}{{"whole", sallyport.Enforce}, {"inspection-only", sallyport.Off}} {
		p, err := guard.Compile(guard.Config{Name: "bench", Inspect: engine, APIs: []guard.API{{API: sallyport.API{Name: "shop"}, Spec: set,
			Policy: policy.API{Mode: sallyport.Enforce, Auth: policy.Auth{Anonymous: policy.Always}, Checks: map[sallyport.Stage]sallyport.Mode{sallyport.StageValidate: v.mode}}}}})
		if err != nil {
			b.Fatal(err)
		}
		for _, s := range subjects {
			b.Run(v.name+"/"+s.name, func(b *testing.B) {
				b.ReportAllocs()
				h, body := head(s.body), []byte(s.body)
				client := netip.MustParseAddr("192.0.2.7")
				now := time.Now()
				for b.Loop() {
					session, step := p.Begin(&guard.Request{ID: "01", Door: "bench", Method: s.method, Host: "shop.example.test", Path: s.path, RawQuery: s.query,
						Proto: "HTTP/1.1", Header: h, Client: client, Peer: client, ContentLength: int64(len(body))}, now)
					if step.Body != guard.BodyNone && step.Verb == guard.Proceed {
						step = session.RequestBody(body, now)
					}
					if step.Verb != guard.Proceed {
						b.Fatalf("refused: %+v", session.End(guard.Outcome{}, now).Decision)
					}
					session.End(guard.Outcome{Status: 200, Origin: 200}, now)
				}
			})
		}
	}
}

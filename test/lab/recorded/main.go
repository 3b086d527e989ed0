// Command recorded sends every recorded request, with its answer, through the
// whole guard and prints what would be refused and why. Inspection must refuse
// none of them; validation only those for which the vendor's own document is
// wrong. It opens no socket. Exit code 1 means that inspection refused one.
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/guard/inspect"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
	"sallyport.dev/test/lab/replay"
)

func main() {
	refused, err := run(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "recorded:", err)
		os.Exit(1)
	}
	if refused > 0 {
		os.Exit(1)
	}
}

// run gives the number of requests that inspection refused.
func run(ctx context.Context) (int, error) {
	recorded, err := replay.Linode()
	if err != nil {
		return 0, err
	}
	document, err := replay.LinodeSpec()
	if err != nil {
		return 0, err
	}
	set, err := spec.Load(ctx, []spec.Source{{Path: "linode.openapi.yaml", Data: document}}, spec.Options{})
	if err != nil {
		return 0, err
	}
	engine, err := inspect.New(inspect.Options{})
	if err != nil {
		return 0, err
	}
	program, err := guard.Compile(guard.Config{Name: "recorded", Inspect: engine, APIs: []guard.API{{API: sallyport.API{Name: "linode"}, Spec: set,
		Policy: policy.API{Mode: sallyport.Observe, Auth: policy.Auth{Anonymous: policy.Always}, Answers: policy.Answers{Mode: sallyport.Observe}}}}})
	if err != nil {
		return 0, err
	}
	rows := map[string]*row{}
	inspected, invalid, shadow, declared, answers := 0, 0, 0, 0, 0
	var elapsed time.Duration
	for i := range recorded {
		x := &recorded[i]
		began := time.Now()
		record := decide(program, x)
		elapsed += time.Since(began)
		if record.Declared {
			declared++
		} else {
			shadow++
		}
		var bad, attack, answer bool
		for _, r := range record.Decision.Reasons {
			if r.Stage == sallyport.StageInspect {
				attack = true
			}
			if r.Stage == sallyport.StageValidate {
				if strings.HasPrefix(r.Rule, "response.") || strings.HasPrefix(r.Rule, "answer.") || r.Detail == "answer" {
					answer = true
					continue
				}
				bad = true
			}
			if r.Stage == sallyport.StageInspect || r.Stage == sallyport.StageValidate {
				k := fmt.Sprintf("%-9s %-26s %-34s %s %s", r.Stage, r.Rule, r.Place, x.Method, record.Template)
				if rows[k] == nil {
					rows[k] = &row{text: k, detail: r.Detail}
				}
				rows[k].count++
			}
		}
		if attack {
			inspected++
		}
		if bad {
			invalid++
		}
		if answer || record.NewStatus {
			answers++
		}
	}
	fmt.Printf("%d requests: %d declared, %d not in the document\n", len(recorded), declared, shadow)
	fmt.Printf("refused by inspection: %d\nrefused by validation: %d\nanswers that differ from the document: %d\n", inspected, invalid, answers)
	fmt.Printf("guard, request and answer: %.1f µs on average\n", float64(elapsed.Microseconds())/float64(len(recorded)))
	list := []*row{}
	for _, r := range rows {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *row) int { return strings.Compare(a.text, b.text) })
	for _, r := range list {
		fmt.Printf("%5d × %s  %s\n", r.count, r.text, r.detail)
	}
	return inspected, nil
}

type row struct {
	text, detail string
	count        int
}

func decide(p *guard.Program, x *replay.Exchange) *sallyport.Exchange {
	path, query, _ := strings.Cut(x.Target, "?")
	h := http.Header{}
	for k, v := range x.RequestHeader {
		h.Set(k, v)
	}
	var body []byte
	if x.RequestBody != nil {
		body = []byte(*x.RequestBody)
	} else {
		h.Del("Content-Type")
	}
	now := time.Now()
	client := netip.MustParseAddr("127.0.0.1")
	s, step := p.Begin(&guard.Request{ID: fmt.Sprint(x.Seq), Door: "lab", Method: x.Method, Host: x.Host, Path: path, RawQuery: query, Proto: "HTTP/1.1",
		Header: h, Client: client, Peer: client, ContentLength: int64(len(body))}, now)
	if step.Verb == guard.Proceed && step.Body != guard.BodyNone && step.Body != guard.BodyStream {
		step = s.RequestBody(body[:min(int64(len(body)), step.BodyLimit+1)], now)
	}
	if step.Verb == guard.Proceed {
		answer := http.Header{}
		for k, v := range x.ResponseHeader {
			answer.Set(k, v)
		}
		step = s.Response(x.Status, answer, now)
		if (step.Body == guard.BodyWhole || step.Body == guard.BodySample) && x.ResponseBody != nil {
			b := []byte(*x.ResponseBody)
			s.ResponseBody(b[:min(int64(len(b)), step.BodyLimit+1)], now)
		}
	}
	return s.End(guard.Outcome{Status: x.Status, Origin: x.Status}, now)
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/guard/inspect"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
	"sallyport.dev/test/lab/replay"
)

// placed judges a value where it would arrive: in a free-text position of a
// request as the recorded API takes them, through the whole guard, with
// validation in the mode given. It counts a refusal at any stage.
func placed(e *inspect.Engine, validate sallyport.Mode) (judge, error) {
	document, err := replay.LinodeSpec()
	if err != nil {
		return nil, err
	}
	set, err := spec.Load(context.Background(), []spec.Source{{Path: "linode.openapi.yaml", Data: document}}, spec.Options{})
	if err != nil {
		return nil, err
	}
	p, err := guard.Compile(guard.Config{Name: "placed", Inspect: e, APIs: []guard.API{{API: sallyport.API{Name: "linode"}, Spec: set,
		Policy: policy.API{Mode: sallyport.Enforce, Auth: policy.Auth{Anonymous: policy.Always},
			Checks: map[sallyport.Stage]sallyport.Mode{sallyport.StageValidate: validate}}}}})
	if err != nil {
		return nil, err
	}
	client := netip.MustParseAddr("192.0.2.7")
	return func(v string, in sallyport.In) (bool, string) {
		r := &guard.Request{ID: "lab", Door: "lab", Method: http.MethodGet, Host: "api.linode.com", Path: "/v4/linode/instances", Proto: "HTTP/1.1",
			Header: http.Header{"Accept": {"application/json"}, "User-Agent": {"linodego/dev"}}, Client: client, Peer: client}
		var body []byte
		switch in {
		case sallyport.InQuery:
			r.RawQuery = "page=1&label=" + url.QueryEscape(v)
		case sallyport.InHeader:
			r.Header.Set("X-Note", v)
		default:
			r.Method, r.Path = http.MethodPost, "/v4/support/tickets"
			r.Header.Set("Content-Type", "application/json")
			body, _ = json.Marshal(map[string]string{"summary": "Disk is full", "description": v})
			r.ContentLength = int64(len(body))
		}
		now := time.Now()
		s, step := p.Begin(r, now)
		if step.Verb == guard.Proceed && step.Body == guard.BodyWhole {
			step = s.RequestBody(body, now)
		}
		refused := step.Verb == guard.Refuse
		d := s.End(guard.Outcome{}, now).Decision
		return refused, string(d.Stage)
	}, nil
}

// reportPlaced prints the macro recall and the share of genuine values refused
// through the whole guard, with inspection alone and with validation on.
func reportPlaced(w io.Writer, e *inspect.Engine, bad, good []sample) error {
	fmt.Fprintf(w, "\n%-50s  %-20s  %-20s  %s\n", "IN RECORDED REQUESTS, THROUGH THE WHOLE GUARD", "query value", "JSON string", "header")
	for _, v := range []struct {
		name string
		mode sallyport.Mode
	}{{"validation off", sallyport.Off}, {"validation on", sallyport.Enforce}} {
		j, err := placed(e, v.mode)
		if err != nil {
			return err
		}
		caught, _ := run(bad, j)
		refused, _ := run(good, j)
		recall, wrong := []string{}, []string{}
		for _, in := range positions {
			share, _ := caught.macro(in, func(cell) bool { return true })
			recall = append(recall, fmt.Sprintf("%-20s", fmt.Sprintf("%.2f %%", 100*share)))
			wrong = append(wrong, fmt.Sprintf("%-20s", refused.sum(func(k cell) bool { return k.in == in }).String()))
		}
		fmt.Fprintf(w, "%-50s  %s\n", "macro recall, "+v.name, strings.TrimSpace(strings.Join(recall, "  ")))
		fmt.Fprintf(w, "%-50s  %s\n", "genuine refused, "+v.name, strings.TrimSpace(strings.Join(wrong, "  ")))
	}
	return nil
}

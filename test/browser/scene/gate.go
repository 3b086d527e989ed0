package scene

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"sallyport.dev"
	"sallyport.dev/conformance"
	"sallyport.dev/conformance/gate"
	"sallyport.dev/console/api"
	"sallyport.dev/incident"
	"sallyport.dev/spec"
	"sallyport.dev/store"
)

// Gated is the API of the estate whose instances are real: processes of this
// one, tested by the real tests, kept by the real gate. The first is whole, the
// second has two defects, the third is silent.
const Gated = "receipts"

const receipts = `openapi: 3.1.0
info: {title: Receipts, version: "2"}
paths:
  /receipts/{id}:
    get:
      operationId: getReceipt
      summary: One receipt
      parameters:
        - {name: id, in: path, required: true, schema: {type: integer, minimum: 1, maximum: %d}, example: 7}
        - {name: lang, in: query, schema: {type: string, enum: [en, sv]}}
      responses:
        "200":
          description: A receipt
          content:
            application/json:
              schema: {type: object, required: [id, text], additionalProperties: false, properties: {id: {type: integer}, text: {type: string}%s}}
        "400": {description: No such id, content: {application/problem+json: {schema: {type: object}}}}
        "404": {description: No such receipt, content: {application/problem+json: {schema: {type: object}}}}
        "405": {description: Not this method, content: {application/problem+json: {schema: {type: object}}}}
`

func receiptsSpec(ctx context.Context, maximum int, members string) (*spec.Set, error) {
	return spec.Load(ctx, []spec.Source{{Path: "receipts.yaml", Data: fmt.Appendf(nil, receipts, maximum, members)}}, spec.Options{Keep: true})
}

func receiptsServer(broken bool) http.Handler {
	problem := func(w http.ResponseWriter, status int) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"status": %d}`, status)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Frame-Options", "DENY")
		var id int
		if n, err := fmt.Sscanf(r.URL.Path, "/receipts/%d", &id); n != 1 || err != nil || fmt.Sprintf("/receipts/%d", id) != r.URL.Path {
			problem(w, 400)
			return
		}
		lang := r.URL.Query()["lang"]
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			problem(w, 405)
		case id < 1 || id > 500 && !broken || len(lang) > 1 || len(lang) == 1 && lang[0] != "en" && lang[0] != "sv" && !broken:
			problem(w, 400)
		case id > 100:
			problem(w, 404)
		case broken:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"id": "%d", "text": "coffee"}`, id)
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"id": %d, "text": "coffee"}`, id)
		}
	})
}

// Gate is the gate of the estate.
type Gate struct {
	*gate.Gate
	doors *doors
}

// doors stand for a gateway's.
type doors struct {
	mu      sync.Mutex
	list    []sallyport.Instance
	servers []*http.Server
}

func (d *doors) Instances() []sallyport.Instance {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.list)
}

func (d *doors) Identify(ctx context.Context, in sallyport.Instance) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, in.URL+"/receipts/7", nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", errors.New("connection refused")
	}
	res.Body.Close()
	return "2026-04-11.3", nil
}

func (d *doors) set(in sallyport.Instance, reason string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.list {
		if x := &d.list[i]; x.URL == in.URL {
			x.Admission, x.Reason, x.Since = in.Admission, reason, time.Now()
			if in.Boot != "" {
				x.Boot = in.Boot
			}
		}
	}
	return nil
}

func (d *doors) Admit(_ context.Context, in sallyport.Instance, reason string) error {
	return d.set(in, reason)
}

func (d *doors) Hold(_ context.Context, in sallyport.Instance, reason string) error {
	return d.set(in, reason)
}

// consumers are who uses the receipts.
type consumers struct{}

func (consumers) Usage(context.Context, string, string, time.Time) (conformance.Usage, error) {
	return conformance.Usage{Consumers: []string{"mobile-app", "partner-isle"}}, nil
}

// OpenGate starts the instances and opens their gate; Run runs it. Failed
// verdicts become incidents of the book.
func OpenGate(ctx context.Context, st *store.Store, book *incident.Book) (*Gate, error) {
	g := &Gate{doors: &doors{}}
	for i := range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		g.doors.list = append(g.doors.list, sallyport.Instance{API: Gated, URL: "http://" + l.Addr().String(), Admission: sallyport.Held, Reason: "not tested yet", Healthy: i < 2, Since: time.Now()})
		if i == 2 {
			l.Close() // nobody answers there
			continue
		}
		s := &http.Server{Handler: receiptsServer(i == 1)}
		g.doors.servers = append(g.doors.servers, s)
		go s.Serve(l)
	}
	old, err := receiptsSpec(ctx, 1000, ", vat: {type: number}")
	if err != nil {
		return nil, err
	}
	now, err := receiptsSpec(ctx, 500, "")
	if err != nil {
		return nil, err
	}
	test := func(ctx context.Context, s gate.Subject) (gate.Outcome, error) {
		r, err := conformance.Run(ctx, conformance.Plan{API: Gated, Spec: now, Target: s.Instance.URL, Profile: conformance.Profile(s.Profile)})
		if err != nil {
			return gate.Outcome{}, err
		}
		list, err := conformance.Affected(ctx, Gated, conformance.Compare(conformance.SurfaceOf(old), conformance.SurfaceOf(now)), consumers{}, time.Time{})
		if err != nil {
			return gate.Outcome{}, err
		}
		for i := range list {
			if list[i].Rule == "request.narrowed" || s.Instance.URL == g.doors.list[0].URL {
				list[i].Exception = &conformance.Exception{Approver: "Head of APIs", Expires: "2999-12-31", Reason: "agreed with the mobile team"}
			}
		}
		r.Add(list)
		b, err := json.Marshal(r)
		return gate.Outcome{Passed: r.Passed, Summary: fmt.Sprintf("%d findings, %d requests", len(r.Findings), r.Requests), Report: b}, err
	}
	g.Gate, err = gate.Open(ctx, gate.Options{Doors: g.doors, Test: test, Store: st, Failed: func(v gate.Verdict) {
		n := incident.New{Kind: "conformance", API: v.API, Subject: v.URL, Title: "An instance of " + v.API + " failed its tests", Severity: incident.Medium, Source: v.ID, Depth: 2}
		var r conformance.Report
		if json.Unmarshal(v.Report, &r) == nil && len(r.Findings) > 0 {
			n.Reproduction, n.Evidence = r.Findings[0].Curl, []incident.Evidence{{Kind: "finding", Title: r.Findings[0].Check + " at " + r.Findings[0].Operation, Body: r.Findings[0].Detail}}
		}
		book.Report(n)
	}, Passed: func(v gate.Verdict) {
		book.ReportPass(incident.Proof{Kind: "conformance", API: v.API, Subject: v.URL, ID: v.ID, Summary: v.Summary, Depth: 2})
	}})
	if err != nil {
		return nil, err
	}
	g.Configure([]gate.API{{Name: Gated, Every: 6 * time.Hour, Contract: "2"}})
	return g, nil
}

// Ready waits until each instance has been tested, or could not be.
func (g *Gate) Ready(ctx context.Context) error {
	for {
		left := 0
		for _, in := range g.doors.Instances() {
			if in.Admission != sallyport.Admitted && in.Admission != sallyport.Quarantined {
				left++
			}
		}
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Close ends the instances.
func (g *Gate) Close() {
	for _, s := range g.doors.servers {
		s.Close()
	}
}

// Demands are what is demanded of the receipts.
func (g *Gate) Demands() []api.GateDemand {
	return []api.GateDemand{{API: Gated, Admit: "full", Recheck: "safe", Every: 6 * 3600, OnNone: "refuse", Window: 720 * 3600, Exceptions: []api.GateException{
		{Operation: "GET /receipts/{id}", Change: "request.narrowed", Approver: "Head of APIs", Expires: "2999-12-31", Reason: "agreed with the mobile team"}}}}
}

var _ api.Gate = (*Gate)(nil)

package guard_test

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

const signIn = `openapi: 3.1.0
info: {title: a, version: "1"}
paths:
  /login:
    post: {operationId: login, responses: {default: {description: d}}}
  /orders:
    get: {operationId: orders, responses: {default: {description: d}}}
`

// A failed sign-in is answered at a whole multiple of the time class after the
// request began, however long the upstream took; nothing else waits.
func TestFailedSignInsKeepTime(t *testing.T) {
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "a.yaml", Data: []byte(signIn)}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := guard.Compile(guard.Config{Name: "t", APIs: []guard.API{{API: sallyport.API{Name: "shop"}, Spec: set, Policy: policy.API{
		Mode: sallyport.Enforce, Errors: policy.Errors{TimeClass: 100 * time.Millisecond}, Operations: []policy.OperationDemand{{Operation: "login", Login: true}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Date(2027, 1, 15, 12, 0, 0, 0, time.UTC)
	client := netip.MustParseAddr("192.0.2.7")
	for _, c := range []struct {
		method, path string
		status       int
		took, want   time.Duration // want: until the answer
	}{
		{"POST", "/login", 401, 3 * time.Millisecond, 100 * time.Millisecond},
		{"POST", "/login", 404, 80 * time.Millisecond, 100 * time.Millisecond},
		{"POST", "/login", 500, 130 * time.Millisecond, 200 * time.Millisecond},
		{"POST", "/login", 200, 30 * time.Millisecond, 30 * time.Millisecond},
		{"GET", "/orders", 500, 30 * time.Millisecond, 30 * time.Millisecond},
	} {
		s, step := p.Begin(&guard.Request{ID: "1", Door: "t", Method: c.method, Host: "a", Path: c.path, Header: http.Header{}, Client: client, Peer: client}, began)
		if step.Verb != guard.Proceed {
			t.Fatalf("%s %s: %+v", c.method, c.path, step)
		}
		now := began.Add(c.took)
		step = s.Response(c.status, http.Header{"Content-Type": {"text/plain"}}, now)
		if step.Verb == guard.Proceed && step.Body == guard.BodyWhole {
			step = s.ResponseBody([]byte("x"), now)
		}
		if got := c.took + step.Wait; got != c.want || (c.status >= 400) != (step.Verb == guard.Rewrite) {
			t.Errorf("%s %s %d after %s: verb %d, answered after %s, want %s", c.method, c.path, c.status, c.took, step.Verb, got, c.want)
		}
		s.End(guard.Outcome{Status: c.status, Origin: c.status}, now)
	}
}

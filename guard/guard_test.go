package guard_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

const (
	issuer   = "https://idp.example.test"
	audience = "items"
)

var (
	now       = time.Date(2027, 1, 15, 12, 0, 0, 0, time.UTC)
	edPublic  ed25519.PublicKey
	edPrivate ed25519.PrivateKey
)

func init() {
	var err error
	if edPublic, edPrivate, err = ed25519.GenerateKey(rand.Reader); err != nil {
		panic(err)
	}
}

// keySource is an issuer's one key; missing makes it unknown.
type keySource struct{ missing bool }

func (k *keySource) Key(iss, kid, alg string) (any, bool) {
	return edPublic, !k.missing && iss == issuer && kid == "k1"
}

// token signs an Ed25519 token of about the size that providers issue.
func token(subject, scope string) string {
	part := func(v any) string { return base64.RawURLEncoding.EncodeToString(must(json.Marshal(v))) }
	signed := part(map[string]any{"alg": "EdDSA", "kid": "k1", "typ": "at+jwt"}) + "." +
		part(map[string]any{"iss": issuer, "sub": subject, "aud": audience, "scope": scope, "exp": now.Unix() + 3600, "iat": now.Unix(),
			"jti": strings.Repeat("j", 36), "client_id": "shop-mobile", "email": "someone@example.test", "pad": strings.Repeat("p", 300)})
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(edPrivate, []byte(signed)))
}

var items = must(spec.Load(context.Background(), []spec.Source{{Path: "items.yaml", Data: must(os.ReadFile("testdata/items.yaml"))}}, spec.Options{}))

// config is the fixture: everything on, limits that are never reached.
func config(mode sallyport.Mode) guard.Config {
	limit := func(per policy.Per) policy.Limit {
		return policy.Limit{Rate: policy.Rate{Count: 1 << 30, Window: time.Second}, Per: per}
	}
	return guard.Config{
		Name: "test", Keys: &keySource{}, Inspect: engine,
		APIs: []guard.API{{
			API: sallyport.API{Name: "items", Hosts: []string{"api.example.test"}}, Spec: items,
			Policy: policy.API{
				Mode: mode, Auth: policy.Auth{OIDC: []policy.OIDC{{Issuer: issuer, Audience: audience}}},
				Limits: []policy.Limit{limit(policy.PerClient), limit(policy.PerPrincipal), limit(policy.PerOperation)},
			},
		}},
	}
}

func compile(t testing.TB, c guard.Config) *guard.Program {
	t.Helper()
	p, err := guard.Compile(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func request(method, target, bearer string, length int) *guard.Request {
	path, query, _ := strings.Cut(target, "?")
	h := http.Header{
		"User-Agent": {"shop-mobile/4.2.1 (Android 15; Pixel 8)"}, "Accept": {"application/json"},
		"X-Request-Id": {"5f0b7a52-2a31-4c0e-8f6f-5b2a0e0b6d11"}, "Accept-Encoding": {"identity"},
	}
	if bearer != "" {
		h["Authorization"] = []string{"Bearer " + bearer}
	}
	if length > 0 {
		h["Content-Type"] = []string{"application/json"}
	}
	return &guard.Request{ID: "01JXXXXXXXXXXXXXXXXXXXXXXX", Door: "test", Method: method, Host: "api.example.test", Path: path, RawQuery: query,
		Proto: "HTTP/1.1", Header: h, Client: netip.MustParseAddr("192.0.2.7"), ContentLength: int64(length)}
}

// item is the body that the benchmarks send: 1 KiB with ten lines.
func item(lines int, note string) []byte {
	var list []any
	for i := range lines {
		line := map[string]any{"sku": fmt.Sprintf("KX-%04d-A", 2041+i), "qty": 1 + i%900, "unit": 12.5 + float64(i)}
		if note != "" {
			line["note"] = fmt.Sprintf(note, i)
		}
		list = append(list, line)
	}
	return must(json.Marshal(map[string]any{
		"id": "3f2b8c1e-7d44-4a8e-9b1a-0c5d2e6f7a81", "sku": "KX-2041-BLU", "status": "active", "price": 129.95, "quantity": 42,
		"created": "2026-11-24T08:15:30.120Z", "express": true, "tags": []string{"outdoor", "summer-26", "new", "returns-30d"},
		"address": map[string]any{"street": "14 Rosewood Lane, Unit 3", "city": "Cape Town", "country": "ZA", "zip": "8001"},
		"lines":   list,
		"description": "Lightweight waterproof jacket with a zipped chest pocket, adjustable hood and reflective seams. " +
			"Ships in two working days; please leave the parcel with the neighbour at number 16 if nobody is home.",
	}))
}

var answerHeader = http.Header{"Content-Type": {"application/json"}, "Content-Length": {"11"}, "Date": {"Fri, 15 Jan 2027 12:00:00 GMT"}}

// exchange steps a whole exchange and gives its record.
func exchange(p *guard.Program, r *guard.Request, body, answer []byte) (*sallyport.Exchange, *guard.Refusal) {
	s, step := p.Begin(r, now)
	if step.Verb == guard.Fetch {
		step = s.Resume(now)
	}
	if step.Verb == guard.Proceed && step.Body == guard.BodyWhole {
		step = s.RequestBody(body, now)
	}
	o := guard.Outcome{Status: 200, Origin: 200, RequestBytes: int64(len(body)), ResponseBytes: int64(len(answer))}
	if step.Verb == guard.Refuse {
		o.Status, o.Origin = step.Refusal.Status, 0
		return s.End(o, now), step.Refusal
	}
	if step = s.Response(200, answerHeader, now); step.Body == guard.BodyWhole || step.Body == guard.BodySample {
		step = s.ResponseBody(answer, now)
	}
	return s.End(o, now), step.Refusal
}

var answer = []byte(`{"id":1234}`)

const getTarget = "/v1/items/1234?limit=20&sort=name&q=blue%20jacket"

func benchmark(b *testing.B, r *guard.Request, body, answer []byte) {
	p := compile(b, config(sallyport.Enforce))
	x, refusal := exchange(p, r, body, answer)
	if refusal != nil || len(x.Decision.Reasons) > 0 || x.Decision.NotInspected != nil || x.Principal.Subject == "" {
		b.Fatalf("decided %+v", x.Decision)
	}
	b.ReportAllocs()
	defer cpu(b)()
	for b.Loop() {
		exchange(p, r, body, answer)
	}
}

// cpu reports the processor time an operation took beside the time on the
// clock, which says little on a machine that others use too.
func cpu(b *testing.B) func() {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	began := used()
	return func() { b.ReportMetric(float64(used()-began)/float64(b.N), "cpu-ns/op") }
}

func BenchmarkGET(b *testing.B) {
	benchmark(b, request("GET", getTarget, token("alice", "items:read"), 0), nil, answer)
}

func BenchmarkPOST1KiB(b *testing.B) {
	body := item(10, "")
	b.SetBytes(int64(len(body)))
	benchmark(b, request("POST", "/v1/items", token("alice", "items:write"), len(body)), body, nil)
}

func BenchmarkPOST21KiB800Leaves(b *testing.B) {
	body := item(196, "please leave parcel %d with the neighbour at 16")
	b.SetBytes(int64(len(body)))
	benchmark(b, request("POST", "/v1/items", token("alice", "items:write"), len(body)), body, nil)
}

func BenchmarkBegin(b *testing.B) {
	p := compile(b, config(sallyport.Enforce))
	r := request("GET", getTarget, token("alice", "items:read"), 0)
	b.ReportAllocs()
	defer cpu(b)()
	for b.Loop() {
		s, _ := p.Begin(r, now)
		s.End(guard.Outcome{}, now)
	}
}

// BenchmarkGETNoEngine is the GET without inspection, for the share of it.
func BenchmarkGETNoEngine(b *testing.B) {
	c := config(sallyport.Enforce)
	c.Inspect = nil
	p := compile(b, c)
	r := request("GET", getTarget, token("alice", "items:read"), 0)
	b.ReportAllocs()
	for b.Loop() {
		exchange(p, r, nil, answer)
	}
}

func BenchmarkRefusedAttack(b *testing.B) {
	p := compile(b, config(sallyport.Enforce))
	r := request("GET", "/v1/items/1234?note=1%27%20UNION%20SELECT%20password%20FROM%20users--", token("alice", "items:read"), 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, refusal := exchange(p, r, nil, nil); refusal == nil {
			b.Fatal("not refused")
		}
	}
}

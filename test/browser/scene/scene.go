// Package scene invents an estate and its traffic, for looking at the console
// and testing it: three APIs with their contracts, callers, attacks and flaws,
// instances in several states. In come a clock and a seed; out go the same
// exchanges for the same seed, redacted as a door's would be, and what an
// engine would report. Nothing in it is real, and no command of the product
// uses it.
package scene

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"time"

	"sallyport.dev"
	"sallyport.dev/console"
	"sallyport.dev/console/api"
	"sallyport.dev/inventory"
	"sallyport.dev/observe"
	"sallyport.dev/observe/original"
	"sallyport.dev/observe/pace"
)

// An Estate is the invented organisation. It is safe for concurrent use.
type Estate struct {
	mu      sync.Mutex
	rand    *rand.Rand
	started time.Time

	stored   int64 // answers in the cache
	accepted []api.SideloadRule
	looks    []*look

	Take Take // what scans found; nil: nobody takes it
}

// New makes the estate of a seed, started at that time.
func New(seed uint64, started time.Time) *Estate {
	return &Estate{rand: rand.New(rand.NewPCG(seed, 17)), started: started, stored: 1_204}
}

// API is one of the APIs with its contracts.
type API struct {
	sallyport.API
	Contracts []inventory.Contract
}

type field struct {
	in       sallyport.In
	name     string
	kind     string
	format   string
	required bool
	response bool
}

func contract(api, method, template, name, summary string, security string, fields ...field) inventory.Contract {
	c := inventory.Contract{Operation: sallyport.Operation{API: api, Method: method, Template: template, Name: name, Declared: true}, Summary: summary, Statuses: []string{"200", "400", "401", "404"}}
	if method == "POST" {
		c.Statuses = []string{"201", "400", "401", "409"}
	}
	if security != "" {
		c.Security = []string{security}
	}
	for _, f := range fields {
		c.Places = append(c.Places, inventory.DeclaredPlace{Place: sallyport.Place{In: f.in, Name: f.name}, Response: f.response, Type: f.kind, Format: f.format, Required: f.required})
	}
	return c
}

// APIs are the invented APIs.
func APIs() []API {
	id := field{in: sallyport.InPath, name: "id", kind: "string", format: "uuid", required: true}
	page := field{in: sallyport.InQuery, name: "page", kind: "integer"}
	return []API{
		{
			API: sallyport.API{Name: "payments", Hosts: []string{"api.harbour.example"}, Path: "/payments", Department: "Retail banking", Exposure: sallyport.External,
				Owner: sallyport.Owner{Team: "Payments core", Contact: "payments@harbour.example", Deputy: "J. Okafor"}},
			Contracts: []inventory.Contract{
				contract("payments", "GET", "/payments/v1/transfers", "listTransfers", "Transfers of the signed-in customer", "oauth2", page,
					field{in: sallyport.InQuery, name: "status", kind: "string"}, field{in: sallyport.InBody, name: "/items/*/amount", kind: "number", response: true},
					field{in: sallyport.InBody, name: "/items/*/iban", kind: "string", response: true}),
				contract("payments", "POST", "/payments/v1/transfers", "createTransfer", "Order a transfer", "oauth2",
					field{in: sallyport.InBody, name: "/amount", kind: "number", required: true}, field{in: sallyport.InBody, name: "/iban", kind: "string", required: true},
					field{in: sallyport.InBody, name: "/reference", kind: "string"}, field{in: sallyport.InBody, name: "/execute_on", kind: "string", format: "date"}),
				contract("payments", "GET", "/payments/v1/transfers/{id}", "getTransfer", "One transfer", "oauth2", id),
				contract("payments", "DELETE", "/payments/v1/transfers/{id}", "cancelTransfer", "Take a transfer back", "oauth2", id),
				contract("payments", "GET", "/payments/v1/limits", "getLimits", "What may be transferred today", "oauth2"),
				contract("payments", "GET", "/payments/v1/mandates", "listMandates", "Direct debits allowed", "oauth2", page),
			},
		},
		{
			API: sallyport.API{Name: "accounts", Hosts: []string{"api.harbour.example"}, Path: "/accounts", Department: "Retail banking", Exposure: sallyport.Partner,
				Owner: sallyport.Owner{Team: "Ledger", Contact: "ledger@harbour.example", Deputy: "M. Lindqvist"}},
			Contracts: []inventory.Contract{
				contract("accounts", "GET", "/accounts/v2/accounts", "listAccounts", "Accounts of the signed-in customer", "oauth2", page),
				contract("accounts", "GET", "/accounts/v2/accounts/{id}", "getAccount", "One account", "oauth2", id,
					field{in: sallyport.InBody, name: "/owner/email", kind: "string", format: "email", response: true}, field{in: sallyport.InBody, name: "/balance", kind: "number", response: true}),
				contract("accounts", "GET", "/accounts/v2/accounts/{id}/statements", "listStatements", "Statements of an account", "oauth2", id, page),
				contract("accounts", "PATCH", "/accounts/v2/accounts/{id}", "renameAccount", "Give an account a name", "oauth2", id, field{in: sallyport.InBody, name: "/name", kind: "string"}),
				contract("accounts", "GET", "/accounts/v2/search", "searchAccounts", "Search by name", "oauth2", field{in: sallyport.InQuery, name: "q", kind: "string", required: true}),
			},
		},
		{
			API:       sallyport.API{Name: "branch-finder", Hosts: []string{"www.harbour.example"}, Path: "/branches"},
			Contracts: []inventory.Contract{contract("branch-finder", "GET", "/branches/near", "near", "Branches near a place", "", field{in: sallyport.InQuery, name: "lat", kind: "number"}, field{in: sallyport.InQuery, name: "lon", kind: "number"})},
		},
		{
			API: sallyport.API{Name: "sanctions-list", Hosts: []string{"api.sanctions.example"}, Exposure: sallyport.ThirdParty, Department: "Compliance",
				Owner: sallyport.Owner{Team: "Screening", Contact: "screening@harbour.example"}},
			Contracts: []inventory.Contract{contract("sanctions-list", "GET", "/v1/check", "check", "Whether a name is listed", "", field{in: sallyport.InQuery, name: "name", kind: "string", required: true})},
		},
	}
}

type call struct {
	weight int
	make   func(e *Estate, x *sallyport.Exchange)
}

const issuer = "https://id.harbour.example"

var people = []string{"anna.k", "b.mensah", "c.rossi", "mobile-app", "d.novak", "partner-isle", "e.tanaka", "f.oconnor"}

func uuid(r *rand.Rand) string {
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", r.Uint32(), r.Uint32N(1<<16), r.Uint32N(1<<12), r.Uint32N(1<<12), r.Uint64N(1<<48))
}

func refuse(x *sallyport.Exchange, status int, stage sallyport.Stage, rule string, place sallyport.Place, class, detail string) {
	x.Status, x.Origin, x.Instance, x.ResponseBytes, x.Upstream = status, 0, "", 212, 0
	x.Duration = 160*time.Microsecond + x.Duration/200
	x.Decision.Action, x.Decision.Stage, x.Decision.Status = sallyport.ActionRefuse, stage, status
	if status == 429 {
		x.Decision.Action = sallyport.ActionThrottle
	}
	x.Decision.Reasons = append(x.Decision.Reasons, sallyport.Reason{Stage: stage, Rule: rule, Place: place, Class: class, Detail: detail, Mode: sallyport.Enforce})
}

func place(in sallyport.In, name string) sallyport.Place { return sallyport.Place{In: in, Name: name} }

func to(api, method, template, path, query string) func(*Estate, *sallyport.Exchange) {
	return func(e *Estate, x *sallyport.Exchange) {
		x.API, x.Method, x.Template, x.Declared, x.Query = api, method, template, true, query
		x.Path = strings.ReplaceAll(path, "{id}", uuid(e.rand))
		if method == "POST" {
			x.Status, x.Origin, x.RequestBytes = 201, 201, 180+e.rand.Int64N(300)
		}
	}
}

func then(first func(*Estate, *sallyport.Exchange), more func(*Estate, *sallyport.Exchange)) func(*Estate, *sallyport.Exchange) {
	return func(e *Estate, x *sallyport.Exchange) { first(e, x); more(e, x) }
}

var calls = []call{
	{30, to("payments", "GET", "/payments/v1/transfers", "/payments/v1/transfers", "page=2&status=booked")},
	{14, then(to("payments", "POST", "/payments/v1/transfers", "/payments/v1/transfers", ""), func(e *Estate, x *sallyport.Exchange) {
		x.Shape = &sallyport.Shape{Request: []sallyport.Typed{{Pointer: "/amount", Type: "number"}, {Pointer: "/iban", Type: "string"}, {Pointer: "/reference", Type: "string"}, {Pointer: "/channel", Type: "string"}},
			Response: []sallyport.Typed{{Pointer: "/id", Type: "string", Format: "uuid"}, {Pointer: "/state", Type: "string"}}}
		x.Undocumented = []sallyport.Place{place(sallyport.InBody, "/channel")}
		x.Classes = []sallyport.DataClass{{Class: "iban", Place: place(sallyport.InBody, "/iban")}}
	})},
	{22, to("payments", "GET", "/payments/v1/transfers/{id}", "/payments/v1/transfers/{id}", "")},
	{9, to("payments", "GET", "/payments/v1/limits", "/payments/v1/limits", "")},
	{26, to("accounts", "GET", "/accounts/v2/accounts", "/accounts/v2/accounts", "")},
	{20, then(to("accounts", "GET", "/accounts/v2/accounts/{id}", "/accounts/v2/accounts/{id}", ""), func(e *Estate, x *sallyport.Exchange) {
		x.Shape = &sallyport.Shape{Response: []sallyport.Typed{{Pointer: "/id", Type: "string", Format: "uuid"}, {Pointer: "/owner/email", Type: "string", Format: "email"}, {Pointer: "/balance", Type: "number"}}}
		x.Classes = []sallyport.DataClass{{Class: "email", Place: place(sallyport.InBody, "/owner/email"), Response: true}}
	})},
	{8, to("accounts", "GET", "/accounts/v2/accounts/{id}/statements", "/accounts/v2/accounts/{id}/statements", "page=1")},
	{7, to("accounts", "GET", "/accounts/v2/search", "/accounts/v2/search", "q=holiday+savings")},
	{12, then(to("branch-finder", "GET", "/branches/near", "/branches/near", "lat=52.1&lon=4.3"), func(e *Estate, x *sallyport.Exchange) { x.Principal = sallyport.Principal{} })},
	{6, func(e *Estate, x *sallyport.Exchange) {
		to("sanctions-list", "GET", "/v1/check", "/v1/check", "name=‹name›")(e, x)
		x.Door, x.Host, x.Instance, x.Principal = "egress", "api.sanctions.example", "https://api.sanctions.example:443", sallyport.Principal{}
	}},
	{6, then(to("accounts", "GET", "/accounts/v2/accounts", "/accounts/v2/accounts", ""), func(e *Estate, x *sallyport.Exchange) {
		x.Decision.Relief, x.Origin, x.Instance, x.Upstream = []string{"cache.hit"}, 0, "", 0
	})},
	// Flaws and attacks.
	{2, then(to("payments", "POST", "/payments/v1/transfers", "/payments/v1/transfers", ""), func(e *Estate, x *sallyport.Exchange) {
		refuse(x, 400, sallyport.StageValidate, "schema.type", place(sallyport.InBody, "/amount"), "", "expected number, got string")
	})},
	{2, then(to("accounts", "GET", "/accounts/v2/search", "/accounts/v2/search", "q=‹sqli›"), func(e *Estate, x *sallyport.Exchange) {
		refuse(x, 403, sallyport.StageInspect, "sqli.tautology", place(sallyport.InQuery, "q"), "sqli", "decoded once, percent")
		x.Client = netip.MustParseAddr("203.0.113.77")
	})},
	{2, then(to("accounts", "GET", "/accounts/v2/accounts/{id}", "/accounts/v2/accounts/{id}", ""), func(e *Estate, x *sallyport.Exchange) {
		refuse(x, 401, sallyport.StageAuthenticate, "token.expired", place(sallyport.InHeader, "Authorization"), "", "expired 14 min ago")
		x.Principal = sallyport.Principal{}
	})},
	{3, then(to("payments", "GET", "/payments/v1/transfers", "/payments/v1/transfers", ""), func(e *Estate, x *sallyport.Exchange) {
		refuse(x, 429, sallyport.StageLimit, "limit.principal", sallyport.Place{}, "", "100/min per principal")
		x.Principal.Subject = "partner-isle"
	})},
	{1, then(to("payments", "DELETE", "/payments/v1/transfers/{id}", "/payments/v1/transfers/{id}", ""), func(e *Estate, x *sallyport.Exchange) {
		refuse(x, 403, sallyport.StageAuthorise, "scope.missing", sallyport.Place{}, "", "needs transfers:write")
	})},
	{2, then(to("accounts", "PATCH", "/accounts/v2/accounts/{id}", "/accounts/v2/accounts/{id}", ""), func(e *Estate, x *sallyport.Exchange) {
		x.RequestBytes = 64
		x.Decision.Reasons = []sallyport.Reason{{Stage: sallyport.StageInspect, Rule: "xss.markup", Place: place(sallyport.InBody, "/name"), Class: "xss", Mode: sallyport.Observe, Detail: "a tag in a name"}}
	})},
	{1, then(to("payments", "GET", "/payments/v1/limits", "/payments/v1/limits", ""), func(e *Estate, x *sallyport.Exchange) { x.Status, x.Origin, x.NewStatus = 503, 503, true })},
	{1, then(to("payments", "GET", "/payments/v1/limits", "/payments/v1/limits", ""), func(e *Estate, x *sallyport.Exchange) {
		x.Status, x.Origin = 500, 500
		for _, f := range [][2]string{{"error.server", ""}, {"leak.stack-trace", "java"}} {
			x.Decision.Reasons = append(x.Decision.Reasons, sallyport.Reason{Stage: sallyport.StageRewrite, Rule: f[0], Place: place(sallyport.InBody, ""), Class: f[1], Mode: sallyport.Enforce, Detail: "the body of the error gives something away"})
		}
	})},
	{2, func(e *Estate, x *sallyport.Exchange) {
		x.API, x.Method, x.Template, x.Declared = "accounts", "GET", "", false
		x.Path = fmt.Sprintf("/accounts/v2/export/%d", 1000+e.rand.IntN(40))
		x.Decision.Reasons = []sallyport.Reason{{Stage: sallyport.StageIdentify, Rule: "operation.shadow", Mode: sallyport.Observe, Detail: "in no specification"}}
		x.Decision.NotInspected = []string{"answer body: no declared operation to hold it against"}
	}},
	{1, func(e *Estate, x *sallyport.Exchange) {
		x.Method, x.Path, x.Principal = "GET", "/.env", sallyport.Principal{}
		x.Client = netip.MustParseAddr("198.51.100.23")
		refuse(x, 404, sallyport.StageIdentify, "api.none", sallyport.Place{}, "", "no API matches host and path")
	}},
}

// Original invents what the upstream said where x says that it was replaced; ok
// is false elsewhere.
func Original(x *sallyport.Exchange) (o original.Original, ok bool) {
	if len(x.Decision.Reasons) == 0 || x.Decision.Reasons[0].Stage != sallyport.StageRewrite {
		return o, false
	}
	return original.Original{ID: x.ID, API: x.API, Time: x.Time, Status: x.Origin, Header: [][]string{{"Content-Type", "text/plain"}},
		Body: []byte("java.lang.IllegalStateException: no limits\n\tat example.harbour.Limits.find(Limits.java:42)\n")}, true
}

const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// Exchange invents what a door saw at that time, already redacted.
func (e *Estate) Exchange(at time.Time) *sallyport.Exchange {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.rand
	var id [26]byte
	ms := uint64(at.UnixMilli())
	for i := 9; i >= 0; i-- {
		id[i] = digits[ms&31]
		ms >>= 5
	}
	for i := 10; i < 26; i++ {
		id[i] = digits[r.IntN(32)]
	}
	upstream := time.Duration((3 + r.ExpFloat64()*14) * float64(time.Millisecond))
	x := &sallyport.Exchange{
		ID: string(id[:]), Time: at, Upstream: upstream, Duration: upstream + 210*time.Microsecond, Door: "gateway", Host: "api.harbour.example", Proto: "HTTP/2.0", TLS: true,
		Client:    netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + r.IntN(60))}),
		Principal: sallyport.Principal{Kind: "oidc", Issuer: issuer, Subject: people[r.IntN(len(people))], Client: "harbour-app"},
		Status:    200, Origin: 200, Instance: fmt.Sprintf("http://10.20.0.%d:9001", 11+r.IntN(2)), ResponseBytes: 300 + r.Int64N(9000),
		RequestHeader:  []sallyport.Field{{Name: "Accept", Value: "application/json"}, {Name: "Authorization", Value: "‹token›"}, {Name: "User-Agent", Value: "harbour-app/5.2"}},
		ResponseHeader: []sallyport.Field{{Name: "Content-Type", Value: "application/json"}},
		Decision:       sallyport.Decision{Action: sallyport.ActionAllow, Program: program},
	}
	total := 0
	for _, c := range calls {
		total += c.weight
	}
	n := r.IntN(total)
	for _, c := range calls {
		if n -= c.weight; n < 0 {
			c.make(e, x)
			break
		}
	}
	if x.Origin != 0 {
		x.Lesson = &sallyport.Lesson{Scheme: "bearer"}
		x.Cost = sallyport.Cost{CPU: upstream / 3, Estimated: x.API != "payments", Bytes: x.RequestBytes + x.ResponseBytes}
		if x.API == "payments" {
			x.Cost.Rows, x.Cost.Units = 1+r.Int64N(40), 0.5+r.Float64()
		}
	}
	observe.Redact(x)
	return x
}

const program = "p-7c41f0a9"

// Instances are the invented instances.
func (e *Estate) Instances() []sallyport.Instance {
	at := func(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
	since := e.started.Add(-3 * time.Hour)
	const none = "no gate configured"
	return []sallyport.Instance{
		{API: "payments", URL: "http://10.20.0.11:9001", Address: at("10.20.0.11:9001"), Admission: sallyport.Admitted, Reason: none, Healthy: true, Since: since},
		{API: "payments", URL: "http://10.20.0.12:9001", Address: at("10.20.0.12:9001"), Admission: sallyport.Admitted, Reason: none, Healthy: true, Since: since},
		{API: "accounts", URL: "http://ledger.internal:9002", Address: at("10.20.0.31:9002"), Admission: sallyport.Admitted, Reason: none, Healthy: true, Since: since},
		{API: "accounts", URL: "http://ledger.internal:9002", Address: at("10.20.0.32:9002"), Admission: sallyport.Admitted, Reason: none, Healthy: false, Since: e.started.Add(-4 * time.Minute)},
		{API: "branch-finder", URL: "http://10.20.4.2:8080", Address: at("10.20.4.2:8080"), Admission: sallyport.Held, Reason: "refused 3 of 3 connections", Healthy: false, Since: e.started.Add(-40 * time.Minute)},
	}
}

// Programs are the invented programs.
func (e *Estate) Programs() []console.Program {
	return []console.Program{
		{Name: program, Door: "gateway", Since: e.started, APIs: []console.ProgramAPI{
			{Name: "payments", Mode: sallyport.Enforce, Operations: 6}, {Name: "accounts", Mode: sallyport.Enforce, Operations: 5, Exceptions: 1}, {Name: "branch-finder", Mode: sallyport.Observe, Operations: 1}}},
		{Name: "p-console", Door: "console", Since: e.started, APIs: []console.ProgramAPI{{Name: "console", Mode: sallyport.Enforce, Operations: 28}}},
	}
}

// Pools are the invented pools.
func (e *Estate) Pools() []console.Pool {
	pools := map[string]*console.Pool{}
	var names []string
	for _, in := range e.Instances() {
		p := pools[in.API]
		if p == nil {
			p = &console.Pool{API: in.API}
			pools[in.API] = p
			names = append(names, in.API)
		}
		p.Instances = append(p.Instances, console.PoolInstance{URL: in.URL, Admission: string(in.Admission), Reason: in.Reason, Healthy: in.Healthy, Most: 1024})
	}
	var out []console.Pool
	for i, name := range names {
		p := pools[name]
		if i == 0 {
			p.Load = &console.PoolLoad{Limit: 24, Adaptive: true, InFlight: 23, Queued: 7, Slow: 1.2, Callers: 9, Fair: 2.6, CPU: 0.74, Over: 0.93, What: "cpu",
				Sources: []console.PoolSource{{Name: "reports", CPU: 0.74}}, Refused: map[string]int64{"load.share": 12},
				Classes: []console.PoolClass{{Name: "settlement", Floor: 0.3, InFlight: 4, Admitted: 5210}, {InFlight: 19, Queued: 7, Admitted: 98112, Waited: 310, Shed: 12}},
				Top:     []console.PoolCaller{{Caller: "oidc nightly-report", Places: 6.5, CPU: 2.1}}}
		}
		out = append(out, *p)
	}
	return out
}

// Providers are the invented identity providers.
func (e *Estate) Providers() []console.Provider {
	return []console.Provider{{Issuer: issuer, Keys: 2, Refreshed: e.started.Add(-90 * time.Second)},
		{Issuer: "https://login.partner.example", Keys: 1, Refreshed: e.started.Add(-3 * time.Hour), Failing: "get https://login.partner.example/jwks: status 502"}}
}

// Limits are the invented limits, and who is nearest to them.
func (e *Estate) Limits() []console.Limit {
	return []console.Limit{
		{Door: "gateway", API: "payments", Name: "limit-1", What: "100/min", Measure: "requests", Per: "principal", Mode: "enforce", Count: 100, Window: time.Minute, Capacity: 100, Together: true, Refused: 41,
			Nearest: []console.LimitUser{{Subject: "oidc:" + issuer + "#nightly-batch", Used: 1, Reset: 59 * time.Second}, {Subject: "oidc:" + issuer + "#alice", Used: 0.12, Remaining: 88, Reset: 7 * time.Second}}},
		{Door: "gateway", API: "payments", Name: "limit-2", What: "200ms/s of cpu (burst 2s)", Measure: "cpu", Per: "principal", Mode: "enforce", Count: 200e6, Window: time.Second, Capacity: 2e9, Together: true, Refused: 7,
			Nearest: []console.LimitUser{{Subject: "oidc:" + issuer + "#nightly-batch", Used: 0.81, Remaining: 380e6, Held: 120e6, Reset: 7500 * time.Millisecond}}},
		{Door: "gateway", API: "accounts", Operation: "GET /accounts/v2/accounts/{id}/statements", Name: "operation-limit-1", What: "4 at once", Measure: "concurrent", Per: "client", Mode: "enforce", Count: 4, Capacity: 4,
			Nearest: []console.LimitUser{{Subject: "203.0.113.9", Used: 0.5, Remaining: 2, Held: 2}}},
		{Door: "gateway", API: "accounts", Name: "plan", What: "1000000 each month in Europe/Berlin", Measure: "requests", Per: "oauth_client", Mode: "observe", Count: 1e6, Capacity: 1e6, Together: true,
			Nearest: []console.LimitUser{{Subject: "mobile-app", Used: 0.34, Remaining: 660_000, Reset: 9 * 24 * time.Hour}}},
	}
}

// Suggestions are what was learned of the estate's callers.
func (e *Estate) Suggestions(api string, limit int) []pace.Suggestion {
	list := []pace.Suggestion{
		{API: "payments", Operation: "GET /payments/v1/transfers/{id}", Since: e.started.Add(-9 * 24 * time.Hour), Samples: 48_210, Requests: 190_344, P50: 3, P90: 8, P99: 19, P999: 44, Max: 610, Suggested: 88, Beyond: 0.0003,
			Buckets: []pace.Bucket{{UpTo: 1, Samples: 9_120}, {UpTo: 2, Samples: 11_004}, {UpTo: 4, Samples: 15_771}, {UpTo: 8, Samples: 8_100}, {UpTo: 16, Samples: 3_390}, {UpTo: 32, Samples: 741}, {UpTo: 64, Samples: 70}, {UpTo: 1024, Samples: 14}}},
		{API: "accounts", Operation: "GET /accounts/v2/accounts/{id}", Since: e.started.Add(-2 * time.Hour), Samples: 212, Requests: 377, P50: 1, P90: 4, P99: 7, P999: 9, Max: 9,
			Buckets: []pace.Bucket{{UpTo: 1, Samples: 130}, {UpTo: 2, Samples: 41}, {UpTo: 4, Samples: 30}, {UpTo: 8, Samples: 10}, {UpTo: 16, Samples: 1}}},
	}
	var out []pace.Suggestion
	for _, s := range list {
		if (api == "" || s.API == api) && len(out) < limit {
			out = append(out, s)
		}
	}
	return out
}

var (
	_ console.Engine = (*Estate)(nil)
	_ console.Paces  = (*Estate)(nil)
)

// Certificates are the invented certificates.
func (e *Estate) Certificates() []console.Certificate {
	return []console.Certificate{
		{Use: "served", Where: "/etc/sallyport/tls.crt", Subject: "CN=api.harbour.example", Issuer: "CN=Harbour issuing CA 2", Names: []string{"api.harbour.example"}, Serial: "4d3a",
			Fingerprint: strings.Repeat("5e", 32), From: e.started.AddDate(0, -2, 0), Until: e.started.AddDate(0, 1, 0),
			OCSP: &console.OCSP{Responder: "http://ocsp.harbour.example", Status: "good", Until: e.started.AddDate(0, 0, 4)}},
		{Use: "upstream", Where: "https://10.20.0.11:9001", Subject: "CN=payments.internal", Issuer: "CN=Harbour internal CA", Names: []string{"payments.internal"}, Serial: "77",
			Fingerprint: strings.Repeat("a1", 32), From: e.started.AddDate(-1, 0, 0), Until: e.started.AddDate(0, 0, 9), Soon: true},
	}
}

// Notices are the invented notices.
func (e *Estate) Notices() []console.Notice {
	return []console.Notice{
		{Rule: "upstream.plaintext", API: "accounts", Where: "apis[1].upstreams[0]", Text: "API accounts: http://ledger.internal:9002 is reached without TLS over the network"},
		{Rule: "certificate.ends", Where: "https://10.20.0.11:9001", Text: "the certificate CN=payments.internal (upstream) ends on " + e.started.AddDate(0, 0, 9).UTC().Format(time.DateOnly)},
	}
}

var _ console.Engine = (*Estate)(nil)

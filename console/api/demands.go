package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"sallyport.dev"
	"sallyport.dev/observe"
)

// Demander is a further ability of an Engine: to tell what its policies demand.
type Demander interface {
	// Admissions is what each API accepts of its callers.
	Admissions() []Admission
	// Demand is what holds for one operation, false when no API of that name is
	// in force.
	Demand(api, method, template string) (Demand, bool)
	// SharedCounters says how counting together with other nodes goes.
	SharedCounters() SharedCounters
}

// Admission is what one API accepts of its callers, and demands of them.
type Admission struct {
	API        string       `json:"api" maxLength:"200"`
	Door       string       `json:"door" maxLength:"64"`
	Mode       string       `json:"mode" enum:"observe,enforce,off" doc:"Of the stage authenticate"`
	Authorise  string       `json:"authorise" enum:"observe,enforce,off" doc:"Mode of the stage authorise"`
	Anonymous  string       `json:"anonymous" enum:"contract,never,always" doc:"When a request without a credential is let through"`
	Binding    string       `json:"binding" maxLength:"32" doc:"How tokens must be bound to their holder; empty: they need not be"`
	Accepted   []Accepted   `json:"accepted" maxItems:"10000" doc:"Credentials that it accepts; none: nobody is asked for one"`
	Rules      []RuleDemand `json:"rules" maxItems:"10000"`
	Exceptions int          `json:"exceptions" minimum:"0" doc:"Granted, and not over"`
}

// Accepted is one kind of credential that an API accepts.
type Accepted struct {
	Kind   string   `json:"kind" enum:"issuer,keys,certificate,signature"`
	Name   string   `json:"name" maxLength:"2000"`
	Detail string   `json:"detail" maxLength:"2000" doc:"What it must say or be"`
	Scopes []string `json:"scopes" maxItems:"1000" doc:"That its holder has; of issuers the token says them"`
}

// RuleDemand is a predicate that must be true for a request to be authorised.
type RuleDemand struct {
	Name      string  `json:"name" maxLength:"200"`
	Operation string  `json:"operation" maxLength:"4200" doc:"Empty: every operation of the API"`
	Require   string  `json:"require" maxLength:"20000" doc:"In CEL"`
	Mode      string  `json:"mode" enum:"observe,enforce,off"`
	Spoke     *uint64 `json:"spoke,omitempty" doc:"Requests of the last day that it refused, or would have; absent when it is not among the reasons that are counted"`
}

// Demand is what holds for one operation.
type Demand struct {
	Declared  bool              `json:"declared" doc:"By the specification in force"`
	Format    string            `json:"format" maxLength:"64" doc:"GraphQL, gRPC, JSON-RPC, WebSocket or SOAP; empty: plain HTTP"`
	About     []string          `json:"about" maxItems:"100" doc:"What is demanded of that format"`
	Bodies    []string          `json:"bodies" maxItems:"20" doc:"Media types of requests that it declares and that are looked into: JSON, XML, form, multipart"`
	Modes     map[string]string `json:"modes" doc:"Mode of each stage, and of errors"`
	Anonymous string            `json:"anonymous" enum:"contract,never,always"`
	Security  []string          `json:"security" maxItems:"100" doc:"What the specification asks for, with scopes: one of these"`
	Scopes    []string          `json:"scopes" maxItems:"1000" doc:"Besides those of the specification"`
	ACR       []string          `json:"acr" maxItems:"100" doc:"Authentication contexts, one of which the token must show"`
	MaxAge    float64           `json:"max_age_seconds" minimum:"0" doc:"How long ago the user may have authenticated; 0: any time"`
	Login     bool              `json:"login" doc:"People sign in here: all failures are answered alike"`
	Rules     []RuleDemand      `json:"rules" maxItems:"1000"`
	Price     float64           `json:"price" minimum:"0" doc:"Of one answered request, for limits of money"`
	Sensitive []string          `json:"sensitive" maxItems:"200" doc:"Kinds of sensitive data that answers may hold"`
	Cache     *CacheDemand      `json:"cache,omitempty" doc:"Absent: answers are not stored"`
	Sideload  []SideloadRule    `json:"sideload" maxItems:"1000"`
}

// CacheDemand is which answers of an operation are given again.
type CacheDemand struct {
	Per        string  `json:"per" enum:"everyone,principal" doc:"Whom a stored answer may be given to"`
	Lifetime   float64 `json:"lifetime_seconds" minimum:"0" doc:"Of answers that state none; 0: those are not stored"`
	Longest    float64 `json:"longest_seconds" minimum:"0"`
	Revalidate float64 `json:"stale_while_revalidate_seconds" minimum:"0"`
	Error      float64 `json:"stale_if_error_seconds" minimum:"0"`
	Coalesce   bool    `json:"coalesce" doc:"Of requests for the same answer at the same time one is sent"`
}

// SharedCounters says how limits are counted.
type SharedCounters struct {
	State    string `json:"state" enum:"alone,together,lost" doc:"alone: no shared counters are configured; lost: they are, and do not answer, so that this node counts by itself"`
	Keys     int    `json:"keys" minimum:"0" doc:"That this node shares with others"`
	Late     uint64 `json:"late" minimum:"0" doc:"Requests that were counted here because the answer came too late"`
	Failures uint64 `json:"failures" minimum:"0" doc:"Batches without a usable answer"`
	Outages  uint64 `json:"outages" minimum:"0" doc:"Times that sharing ended"`
}

// CostSeen is what requests of one operation took of the upstream.
type CostSeen struct {
	Requests  int     `json:"requests" minimum:"0" doc:"Latest kept decisions with a cost that this is of"`
	Estimated int     `json:"estimated" minimum:"0" doc:"Of them with an estimate of CPU time, from how long they took"`
	CPU50     float64 `json:"cpu_p50_ms" minimum:"0"`
	CPU95     float64 `json:"cpu_p95_ms" minimum:"0"`
	CPUMost   float64 `json:"cpu_max_ms" minimum:"0"`
	Bytes50   int64   `json:"bytes_p50" minimum:"0"`
	Bytes95   int64   `json:"bytes_p95" minimum:"0"`
	Rows      float64 `json:"rows_mean" minimum:"0"`
	Money     float64 `json:"money_mean" minimum:"0"`
	Units     float64 `json:"units_mean" minimum:"0"`
}

// costSample is how many decisions of an operation its cost is taken from.
const costSample = 200

func (a *API) demandOperations() {
	type access struct {
		APIs []Admission `json:"apis" maxItems:"10000"`
	}
	add(a, spec{id: "listAccess", method: http.MethodGet, path: "/access", summary: "What each API accepts of its callers, and the rules that it asks, with how often each refused", tag: "overview", access: viewer},
		func(context.Context, *struct{}) (*body[access], error) {
			out := access{APIs: []Admission{}}
			if d, ok := a.Engine.(Demander); ok {
				spoke := a.spoken()
				for _, x := range d.Admissions() {
					x.Accepted, x.Rules = full(x.Accepted), full(x.Rules)
					for i := range x.Accepted {
						x.Accepted[i].Scopes = full(x.Accepted[i].Scopes)
					}
					for i := range x.Rules {
						x.Rules[i].Spoke = spoke(x.API, x.Rules[i].Name)
					}
					out.APIs = append(out.APIs, x)
				}
			}
			return &body[access]{out}, nil
		})

	add(a, spec{id: "getSharedCounters", method: http.MethodGet, path: "/limits/counters", summary: "Whether limits are counted together with other nodes, and how that goes", tag: "limits", access: viewer},
		func(context.Context, *struct{}) (*body[SharedCounters], error) {
			out := SharedCounters{State: "alone"}
			if d, ok := a.Engine.(Demander); ok {
				out = d.SharedCounters()
			}
			return &body[SharedCounters]{out}, nil
		})

	type demanded struct {
		Demand *Demand   `json:"demand,omitempty" doc:"Absent when no API of that name is in force"`
		Cost   *CostSeen `json:"cost,omitempty" doc:"Absent when no kept decision tells a cost"`
	}
	add(a, spec{id: "getDemand", method: http.MethodGet, path: "/operation/demand", summary: "What is demanded of one operation, and what its requests cost", tag: "inventory", access: viewer},
		func(ctx context.Context, in *struct {
			API      string `query:"api" maxLength:"200" doc:"Name of the API"`
			Method   string `query:"method" required:"true" minLength:"1" maxLength:"32" pattern:"^[A-Za-z0-9!#$%&'*+.^_|~-]+$"`
			Template string `query:"template" required:"true" minLength:"1" maxLength:"4096"`
		}) (*body[demanded], error) {
			var out demanded
			if d, ok := a.Engine.(Demander); ok && in.API != "" {
				if x, ok := d.Demand(in.API, in.Method, in.Template); ok {
					x.About, x.Bodies, x.Security, x.Scopes, x.ACR, x.Rules, x.Sensitive, x.Sideload = full(x.About), full(x.Bodies), full(x.Security), full(x.Scopes), full(x.ACR), full(x.Rules), full(x.Sensitive), full(x.Sideload)
					if x.Modes == nil {
						x.Modes = map[string]string{}
					}
					spoke := a.spoken()
					for i := range x.Rules {
						x.Rules[i].Spoke = spoke(in.API, x.Rules[i].Name)
					}
					out.Demand = &x
				}
			}
			page, err := a.Journal.List(ctx, observe.Filter{API: in.API, Operation: sallyport.Operation{Method: in.Method, Template: in.Template}.Key(), Limit: costSample})
			if err != nil {
				return nil, err
			}
			out.Cost = costSeen(page.Exchanges)
			return &body[demanded]{out}, nil
		})
}

// spoken tells how often a rule was a reason over the last day: nil where it is
// not known, because only the most frequent reasons are counted.
func (a *API) spoken() func(api, rule string) *uint64 {
	const counted = 50 // by observe.Rates
	reasons := a.Journal.Rates(24 * time.Hour).Reasons
	return func(api, rule string) *uint64 {
		n, found := uint64(0), false
		for _, r := range reasons {
			if r.API == api && r.Rule == "rule."+rule {
				n, found = n+r.Count, true
			}
		}
		if !found && len(reasons) >= counted {
			return nil
		}
		return &n
	}
}

// costSeen sums up what exchanges have cost; nil: none tells.
func costSeen(list []sallyport.Exchange) *CostSeen {
	var out CostSeen
	var cpu []time.Duration
	var held []int64
	for i := range list {
		c := list[i].Cost
		if c == (sallyport.Cost{}) {
			continue
		}
		out.Requests++
		if c.Estimated {
			out.Estimated++
		}
		cpu, held = append(cpu, c.CPU), append(held, max(c.Bytes, list[i].RequestBytes+list[i].ResponseBytes))
		out.Rows += float64(c.Rows)
		out.Money += float64(c.Money) / 1e6
		out.Units += c.Units
	}
	if out.Requests == 0 {
		return nil
	}
	n := float64(out.Requests)
	out.Rows, out.Money, out.Units = out.Rows/n, out.Money/n, out.Units/n
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	out.CPU50, out.CPU95, out.CPUMost = ms(rank(cpu, 0.5)), ms(rank(cpu, 0.95)), ms(rank(cpu, 1))
	out.Bytes50, out.Bytes95 = rank(held, 0.5), rank(held, 0.95)
	return &out
}

// rank is the nearest-rank percentile of s, which it sorts.
func rank[T cmp.Ordered](s []T, p float64) T {
	slices.Sort(s)
	return s[max(0, min(len(s)-1, int(p*float64(len(s))+0.999999)-1))]
}

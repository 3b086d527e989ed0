package scene

import (
	"context"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
	"sallyport.dev/console/api"
)

// Admissions are the invented demands of callers.
func (e *Estate) Admissions() []api.Admission {
	token := api.Accepted{Kind: "issuer", Name: issuer, Detail: "audience harbour-api · ES256, EdDSA · to the letter of RFC 9068"}
	return []api.Admission{
		{API: "payments", Door: "gateway", Mode: "enforce", Authorise: "enforce", Anonymous: "never", Binding: "dpop", Exceptions: 1,
			Accepted: []api.Accepted{token, {Kind: "keys", Name: "3 in header X-API-Key", Detail: "nightly-batch, ledger-sync"},
				{Kind: "certificate", Name: "settlement", Detail: "URI spiffe://harbour.example/settlement", Scopes: []string{"transfers:write"}},
				{Kind: "signature", Name: "card-network", Detail: "rfc9421 · keys: 2 · at most 5m old · each once"}},
			Rules: []api.RuleDemand{{Name: "own-transfers", Operation: "GET /payments/v1/transfers/{id}", Require: "claims.sub == principal.subject", Mode: "enforce"},
				{Name: "office-hours", Require: "now.getHours() >= 6 && now.getHours() < 22", Mode: "observe"}}},
		{API: "accounts", Door: "gateway", Mode: "enforce", Authorise: "enforce", Anonymous: "contract", Accepted: []api.Accepted{token}},
		{API: "branch-finder", Door: "gateway", Mode: "observe", Authorise: "observe", Anonymous: "contract"},
		{API: "sanctions-list", Door: "egress", Mode: "observe", Authorise: "observe", Anonymous: "contract"},
	}
}

// Demand invents what holds for an operation.
func (e *Estate) Demand(name, method, template string) (api.Demand, bool) {
	for _, a := range e.Admissions() {
		if a.API != name {
			continue
		}
		d := api.Demand{Declared: true, Anonymous: a.Anonymous, Modes: map[string]string{"errors": "enforce"}, Bodies: []string{"JSON"}}
		for _, s := range []string{"identify", "limit", "authenticate", "authorise", "validate", "inspect"} {
			d.Modes[s] = a.Mode
		}
		d.Rules = slices.DeleteFunc(a.Rules, func(r api.RuleDemand) bool { return r.Operation != "" && r.Operation != method+" "+template })
		if method == "GET" {
			d.Bodies = nil
			d.Cache = &api.CacheDemand{Per: "principal", Longest: 86400, Revalidate: 30, Error: 300, Coalesce: true}
		} else {
			d.Scopes, d.ACR, d.MaxAge, d.Price = []string{"transfers:write"}, []string{"urn:harbour:mfa"}, 600, 0.02
		}
		d.Security, d.Sensitive = []string{"oauth2 (transfers:read)"}, []string{"iban"}
		rules, _ := e.Sideloads()
		for _, r := range rules {
			if r.API == name && r.Operation == method+" "+template {
				d.Sideload = append(d.Sideload, r)
			}
		}
		return d, true
	}
	return api.Demand{}, false
}

// SharedCounters are the invented shared counters.
func (e *Estate) SharedCounters() api.SharedCounters {
	return api.SharedCounters{State: "together", Keys: 214, Late: 3, Outages: 1}
}

// APIKeys are the invented keys.
func (e *Estate) APIKeys() []api.APIKey {
	day := 24 * time.Hour
	return []api.APIKey{
		{API: "payments", ID: "batch-2025", Subject: "nightly-batch", Expires: e.started.Add(9 * day), Used: e.started.Add(-2 * time.Minute)},
		{API: "payments", ID: "batch-2026", Subject: "nightly-batch", Expires: e.started.Add(300 * day)},
		{API: "payments", ID: "ledger-sync", Subject: "ledger-sync", Expires: e.started.Add(4 * day), Used: e.started.Add(-5 * time.Hour)},
		{API: "accounts", ID: "old-terminal", Subject: "terminals", Expires: e.started.Add(-3 * day)},
		{API: "accounts", ID: "backoffice", Subject: "backoffice", Used: e.started.Add(-20 * time.Second)},
	}
}

// UpstreamTokens are the invented tokens for upstreams.
func (e *Estate) UpstreamTokens() []api.UpstreamToken {
	return []api.UpstreamToken{
		{Name: "sallyport-payments at " + issuer + "/token", Until: e.started.Add(42 * time.Minute), Fetched: e.started.Add(-18 * time.Minute)},
		{Name: "sallyport-ledger at https://login.ledger.example/token", Exchange: true, Held: 18, Fetched: e.started.Add(-time.Minute), Failing: "status 503 from the token endpoint"},
	}
}

// CacheState is the invented cache.
func (e *Estate) CacheState() (api.CacheState, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return api.CacheState{Hits: 48_201, Stale: 310, Misses: 9_412, Revalidated: 1_204, Coalesced: 2_840, Entries: e.stored, Bytes: e.stored * 9_300,
		APIs: []api.CacheUse{{API: "accounts", Looked: 38_011, Spared: 29_180}, {API: "branch-finder", Looked: 21_116, Spared: 19_331}}}, true
}

// Invalidate forgets invented answers.
func (e *Estate) Invalidate(name, path, tag string) (int, bool, error) {
	if !slices.ContainsFunc(e.Admissions(), func(a api.Admission) bool { return a.API == name }) {
		return 0, true, sallyport.Errorf(sallyport.NotFound, "no API of that name is configured")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.stored
	if path != "" || tag != "" {
		n /= 8
	}
	e.stored -= n
	return int(n), true, nil
}

// Sideloads are the invented rules and offers.
func (e *Estate) Sideloads() ([]api.SideloadRule, []api.SideloadOffer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	rules := []api.SideloadRule{{API: "payments", Name: "account", Operation: "GET /payments/v1/transfers", From: "/items/*/account_id", Target: "GET /payments/v1/transfers/{id}", Source: "configuration", Param: "include"}}
	offer := api.SideloadOffer{API: "accounts", Name: "owner", Operation: "GET /accounts/v2/accounts", From: "/items/*/id", Target: "GET /accounts/v2/accounts/{id}", Lists: 212, Calls: 6_170, Last: e.started}
	if len(e.accepted) > 0 {
		return append(rules, e.accepted...), nil
	}
	return rules, []api.SideloadOffer{offer}
}

// AcceptSideload puts an invented rule in force.
func (e *Estate) AcceptSideload(_ context.Context, r api.SideloadRule) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now().UTC()
	r.ID, r.Source, r.Param, r.At = strings.Repeat("5a", 8), "accepted", "include", &now
	e.accepted = append(e.accepted, r)
	return r.ID, nil
}

// DropSideload takes it away again.
func (e *Estate) DropSideload(_ context.Context, id string) (api.SideloadRule, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, r := range e.accepted {
		if r.ID == id {
			e.accepted = slices.Delete(e.accepted, i, i+1)
			return r, nil
		}
	}
	return api.SideloadRule{}, sallyport.Errorf(sallyport.NotFound, "there is no such rule")
}

var (
	_ api.Demander    = (*Estate)(nil)
	_ api.Credentials = (*Estate)(nil)
	_ api.Cache       = (*Estate)(nil)
	_ api.Sideloads   = (*Estate)(nil)
	_ api.PoolKeeper  = (*Estate)(nil)
)

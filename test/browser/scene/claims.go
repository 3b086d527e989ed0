package scene

import (
	"fmt"
	"time"

	"sallyport.dev"
)

// Claims are what invented sources say of the estate, some of it against each
// other, and of APIs that nobody has accepted yet.
func Claims(now time.Time) []sallyport.Claim {
	var out []sallyport.Claim
	say := func(asset sallyport.Asset, source string, confidence float64, evidence string, fields ...string) {
		for i := 0; i < len(fields); i += 2 {
			out = append(out, sallyport.Claim{Asset: asset, Field: fields[i], Value: fields[i+1], Source: source, Confidence: confidence, Evidence: evidence, Time: now.Add(-3 * time.Hour)})
		}
	}
	const cluster, portal, owners = "kubernetes:harbour", "backstage:portal", "codeowners:branch-web"
	payments, branches := sallyport.Asset{API: "payments"}, sallyport.Asset{API: "branch-finder"}
	say(payments, cluster, 0.9, "Deployment payments/transfers", "environment", "production", "criticality", "critical", "cluster", "harbour-1", "upstreams", "ledger.internal", "upstreams", "accounts")
	say(payments, portal, 0.8, "catalog-info.yaml:14", "owner.team", "Transfers", "documentation", "https://portal.harbour.example/payments", "dr.tier", "1")
	say(sallyport.Asset{API: "accounts"}, cluster, 0.9, "Deployment ledger/accounts", "environment", "production", "upstreams", "sanctions-list")
	say(sallyport.Asset{API: "accounts"}, portal, 0.8, "catalog-info.yaml:41", "lifecycle", "deprecated", "replaced_by", "accounts v3", "sunset_at", now.AddDate(0, 2, 0).UTC().Format(time.DateOnly))
	say(branches, owners, 0.6, ".github/CODEOWNERS:3", "owner.team", "Web shop", "owner.contact", "web@harbour.example")
	say(branches, portal, 0.55, "catalog-info.yaml:77", "owner.team", "Branch services", "criticality", "low")
	say(branches, cluster, 0.9, "Ingress web/branches", "environment", "staging", "exposure.declared", "external")
	for _, found := range []struct{ host, path, kind, tech string }{
		{"admin.harbour.example", "/console", "rest", "Spring Boot 2.7"}, {"legacy.harbour.example", "/soap", "soap", "Apache Axis 1.4"},
		{"data.harbour.example", "/graphql", "graphql", "Apollo Server 3"}, {"data.harbour.example", "/graphql-beta", "graphql", "Apollo Server 4"},
	} {
		say(sallyport.Asset{Host: found.host, Path: found.path}, "scan:estate", 0.8, "answered on port 443", "kind", found.kind, "technology", found.tech, "exposure.observed", "external")
	}
	return out
}

// Many are n more APIs as a large organisation has them.
func Many(n int, now time.Time) []sallyport.Claim {
	teams := []string{"Ledger", "Cards", "Lending", "Insurance", "Web shop", "Treasury", "Payments core"}
	parts := []string{"retail", "treasury", "claims", "cards", "loans", "fraud", "mobile", "broker", "pension", "fleet"}
	things := []string{"customers", "contracts", "quotes", "documents", "events", "reports", "notices", "rates", "offers", "cases"}
	stages := []string{"production", "production", "staging", "test"}
	var out []sallyport.Claim
	for i := range n {
		name := fmt.Sprintf("%s-%s-%d", parts[i%len(parts)], things[i/10%len(things)], i/100+1)
		asset := sallyport.Asset{Host: name + ".harbour.example"}
		for _, f := range [][2]string{{"environment", stages[i%4]}, {"department", []string{"Retail banking", "Corporate", "Insurance"}[i%3]}, {"kind", []string{"rest", "rest", "grpc", "graphql"}[i%4]}} {
			out = append(out, sallyport.Claim{Asset: asset, Field: f[0], Value: f[1], Source: "backstage:portal", Confidence: 0.8, Time: now})
		}
		if i%5 != 0 {
			out = append(out, sallyport.Claim{Asset: asset, Field: "owner.team", Value: teams[i%len(teams)], Source: "backstage:portal", Confidence: 0.8, Time: now})
		}
	}
	return out
}

// Findings are what is wrong in the estate.
func Findings(now time.Time) []sallyport.Finding {
	find := func(api, rule, title string, severity sallyport.Severity, place, evidence, fix string, refs ...string) sallyport.Finding {
		return sallyport.Finding{Rule: rule, Title: title, Severity: severity, Asset: sallyport.Asset{API: api}, Place: place, Evidence: []string{evidence}, Fix: fix, Refs: refs, Source: "scan:estate", Time: now.Add(-time.Hour)}
	}
	return []sallyport.Finding{
		find("payments", "tls.version", "TLS 1.1 is still spoken", sallyport.Medium, "api.harbour.example:443", "handshake with TLS 1.1 succeeded", "Offer TLS 1.2 and 1.3 only.", "OWASP API8:2023", "CWE-326"),
		find("branch-finder", "docs.exposed", "Its documentation is open to everybody", sallyport.Low, "/branches/swagger-ui/", "GET /branches/swagger-ui/ answered 200", "Serve it inside only, or ask for a sign-in.", "OWASP API9:2023"),
		find("branch-finder", "debug.open", "A debug route answers", sallyport.High, "/branches/actuator/env", "GET /branches/actuator/env answered 200 with 41 properties", "Switch the route off, or let nobody but operations reach it.", "OWASP API8:2023", "CWE-489"),
	}
}

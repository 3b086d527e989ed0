package relay

import (
	"net/http"
	"slices"

	d "sallyport.dev/test/lab/mutants/defect"
)

// Mutants are the API's, in the order of their numbers; new ones are added at
// the end.
func Mutants() []d.Mutant { return slices.Clone(mutants) }

func origin(allow func(string) string) d.Mutant {
	return d.Answers("admit another origin", "/", func(a *d.Answer, r *http.Request) {
		if o := r.Header.Get("Origin"); o != "" {
			a.Header.Set("Access-Control-Allow-Origin", allow(o))
			a.Header.Set("Access-Control-Allow-Credentials", "true")
		}
	})
}

var mutants = d.Number("relay", []d.Mutant{
	d.Without("url.private").As("security/SSRF", "API7:2023", "CWE-918", "private and loopback addresses are fetched"),
	d.Without("url.local").As("security/SSRF", "API7:2023", "CWE-918", "localhost and internal names are fetched"),
	d.Without("url.numeric").As("security/SSRF", "API7:2023", "CWE-918", "addresses written as one number are fetched"),
	d.Without("url.linklocal").As("security/SSRF", "API7:2023", "CWE-918", "link-local addresses, of cloud metadata too, are fetched"),
	d.Without("webhook.guard").As("security/SSRF", "API7:2023", "CWE-918", "webhooks may point to private addresses"),
	d.Without("signin.text").As("security/enumeration by text", "API2:2023", "CWE-204", "sign-in says that there is no such user"),
	d.Without("signin.status").As("security/enumeration by status", "API2:2023", "CWE-204", "sign-in answers 404 for unknown users"),
	d.Without("signin.time").As("security/enumeration by time", "API2:2023", "CWE-208", "no password is hashed for unknown users"),
	d.Without("reset.known").As("security/enumeration by status", "API2:2023", "CWE-204", "a reset answers 404 for unknown addresses"),
	d.Without("signin.rate").As("security/rate limit", "API4:2023", "CWE-307", "passwords may be tried without end"),
	d.Without("search.sql").As("security/SQL injection", "API8:2023", "CWE-89", "the search behaves as SQL put together from text"),
	d.Without("search.blind").As("security/SQL injection", "API8:2023", "CWE-89", "a condition that is always true shows hidden articles"),
	d.Without("search.template").As("security/template injection", "API8:2023", "CWE-1336", "expressions in the query are computed"),
	d.Without("search.command").As("security/command injection", "API8:2023", "CWE-78", "the search behaves as a shell command put together from text"),
	origin(func(o string) string { return o }).As("security/CORS", "API8:2023", "CWE-942", "any origin is reflected, with credentials"),
	origin(func(string) string { return "*" }).As("security/CORS", "API8:2023", "CWE-942", "every origin is admitted"),
	d.Header("GET /me", 200, "Cache-Control", "max-age=600").As("security/cacheable private data", "API8:2023", "CWE-525", "the profile may be kept"),
	d.Extra("GET /actuator/env", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"activeProfiles":["prod"]}`))
	}).As("security/debug route", "API8:2023", "CWE-489", "/actuator/env is served"),
	d.Without("owner.read").As("security/object level read", "API1:2023", "CWE-639", "webhooks of others can be read"),
	d.Without("owner.delete").As("security/object level delete", "API1:2023", "CWE-639", "webhooks of others can be deleted"),
	d.Without("owner.list").As("security/object level list", "API1:2023", "CWE-639", "webhooks of others are listed"),
	d.Without("body.depth").As("rejection/depth", "API4:2023", "CWE-674", "metadata of any depth is accepted"),
	d.Unconstrained("webhook.events.enum").As("rejection/enum", "", "CWE-20", "unknown events are accepted"),
	d.Faulty("webhooks.insert").As("state/create", "", "", "a webhook is confirmed and not stored"),
})

package accounts

import (
	"net/http"
	"slices"
	"strings"

	d "sallyport.dev/test/lab/mutants/defect"
)

// Mutants are the API's, in the order of their numbers; new ones are added at
// the end.
func Mutants() []d.Mutant { return slices.Clone(mutants) }

const (
	oneDocument = "GET /accounts/{accountId}/documents/{documentId}"
	bola        = "API1:2023"
	bfla        = "API5:2023"
)

var mutants = d.Number("accounts", []d.Mutant{
	// object level, each verb on its own
	d.Without("accounts.read").As("security/object level read", bola, "CWE-639", "accounts of others can be read"),
	d.Without("accounts.write").As("security/object level write", bola, "CWE-639", "accounts of others can be renamed"),
	d.Without("accounts.remove").As("security/object level delete", bola, "CWE-639", "accounts of others can be deleted"),
	d.Without("accounts.list").As("security/object level list", bola, "CWE-639", "accounts of others are listed"),
	d.Without("documents.read.owner").As("security/object level read", bola, "CWE-639", "documents of others can be read"),
	d.Without("documents.write.owner").As("security/object level write", bola, "CWE-639", "documents of others can be replaced"),
	d.Without("documents.remove.owner").As("security/object level delete", bola, "CWE-639", "documents of others can be deleted"),
	d.Without("documents.list.owner").As("security/object level list", bola, "CWE-639", "documents in accounts of others are listed"),
	d.Without("documents.create.owner").As("security/object level write", bola, "CWE-639", "documents can be put into accounts of others"),
	d.Without("shares.list").As("security/object level list", bola, "CWE-639", "anyone sees with whom a document is shared"),
	d.Without("shares.add").As("security/object level write", bola, "CWE-639", "anyone may share a document, with himself too"),
	d.Without("shares.remove").As("security/object level delete", bola, "CWE-639", "anyone may end a share"),
	d.Without("documents.share").As("security/object level read", bola, "CWE-863", "a document is read as if it were shared with everybody"),
	d.Without("documents.share.write").As("security/object level write", bola, "CWE-863", "who may read a shared document may replace it"),
	d.Without("shares.revoke").As("security/object level read", bola, "CWE-613", "a share that was ended goes on"),
	// hierarchy
	d.Without("documents.parent").As("state/foreign parent", bola, "CWE-639", "a document is found under any account, and the owner of that account may use it"),
	d.Without("documents.list.parent").As("state/foreign parent", bola, "CWE-639", "the documents of all accounts are listed in each"),
	// function level
	d.Without("admin.list").As("security/function level", bfla, "CWE-285", "users list all users"),
	d.Without("admin.change").As("security/function level", bfla, "CWE-285", "users suspend users"),
	d.Without("suspended").As("security/function level", bfla, "CWE-613", "suspended users go on as before"),
	// credentials
	d.Without("token.present").As("security/no credentials", "API2:2023", "CWE-306", "without a token one is alice"),
	d.Without("token.expiry").As("security/expired", "API2:2023", "CWE-613", "expired tokens are accepted"),
	d.Without("token.audience").As("security/wrong audience", "API2:2023", "CWE-287", "tokens for other services are accepted"),
	d.Without("token.alg").As("security/alg none", "API2:2023", "CWE-347", "unsigned tokens are accepted when they say so"),
	d.Without("token.signature").As("security/signature", "API2:2023", "CWE-347", "any signature is accepted"),
	// properties
	d.Without("account.owner").As("security/mass assignment", "API3:2023", "CWE-915", "the caller may name the owner of a new account"),
	d.Without("profile.role").As("security/mass assignment", "API3:2023", "CWE-915", "users choose their role"),
	d.Added("GET /me", "password_hash", "$2b$12$pM9Zr4vQK1dE7sWc0xYtNeJf8uHbGaLo").As("security/excessive property", "API3:2023", "CWE-213", "the profile shows a hash of the password"),
	d.Added("GET /accounts/{accountId}", "owner_email", "alice@example.test").As("security/excessive property", "API3:2023", "CWE-359", "an account shows an e-mail address that is not declared"),
	// doors beside the door
	d.Override("X-HTTP-Method").As("security/method override", "API8:2023", "CWE-650", "a header turns POST into another method"),
	d.Extra("GET /debug/vars", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"cmdline":["/srv/app/accounts","-db","postgres"],"goroutines":31}`))
	}).As("security/debug route", "API8:2023", "CWE-489", "/debug/vars is served"),
	d.Rerooted("/v0", func(r *http.Request) {
		if r.URL.Path == "/users" {
			r.URL.Path = "/accounts"
		}
	}).As("security/old version", "API9:2023", "CWE-1059", "the operations are served under /v0 too"),
	d.Header(oneDocument, 0, "Cache-Control", "").As("security/cacheable private data", "API8:2023", "CWE-525", "a document does not say that it must not be stored"),
	d.Header("/", 0, "Content-Security-Policy", "").As("security/headers", "API8:2023", "CWE-693", "answers lack Content-Security-Policy"),
	d.Verbose("/", 404, `pq: no rows in result set: SELECT * FROM documents WHERE id = $1 AND tenant = 'main'`).As("security/verbose errors", "API8:2023", "CWE-209", "404 shows the statement"),
	// state
	d.Faulty("accounts.insert").As("state/create", "", "", "an account is confirmed and not stored"),
	d.Faulty("documents.update").As("state/update", "", "", "a replaced document stays as it was"),
	d.Faulty("documents.delete").As("state/delete", "", "", "a deleted document is still there"),
	d.Faulty("accounts.read").As("state/use after delete", "", "CWE-672", "a deleted account can still be read"),
	d.Faulty("documents.list").As("state/stale list", "", "", "the list of documents is one write behind"),
	d.Ignore("PUT /accounts/{accountId}/documents/{documentId}", "If-Match").As("state/stale entity tag", "", "CWE-362", "a document is replaced under a stale entity tag"),
	d.Faulty("documents.atomic").As("state/concurrent update", "", "CWE-362", "of concurrent replacements under one entity tag several succeed"),
	d.Without("shares.user").As("state/foreign reference", "", "CWE-20", "a document is shared with somebody who does not exist"),
	// rejection
	d.Unconstrained("document.title.required").As("rejection/required", "", "CWE-20", "a document without title is accepted"),
	d.Unconstrained("document.text.maxLength").As("rejection/length", "API4:2023", "CWE-1284", "a text over its length is accepted"),
	d.Unconstrained("document.labels.maxItems").As("rejection/items", "API4:2023", "CWE-770", "any number of labels is accepted"),
	d.Unconstrained("account.plan.enum").As("rejection/enum", "", "CWE-20", "a plan that is not in the list is accepted"),
	d.Unconstrained("user.suspended.type").As("rejection/type", "", "CWE-704", "a truth that is a string is accepted"),
	d.Unconstrained("profile.email.format").As("rejection/format", "", "CWE-20", "an e-mail that is none is accepted"),
	d.Unconstrained("account.additionalProperties").As("rejection/additional properties", "API3:2023", "CWE-915", "members that are not declared are accepted"),
	d.Without("body.duplicates").As("rejection/duplicate keys", "", "CWE-436", "a member given twice is accepted"),
	d.Crash("POST /accounts/{accountId}/documents", 400).As("rejection/500 in place of 400", "API8:2023", "CWE-248", "a bad document answers 500"),
	// contract
	d.Status("PUT /accounts/{accountId}/documents/{documentId}/shares/{user}", 204, 200).As("contract/status", "", "", "sharing answers 200"),
	d.Missing(oneDocument, "labels").As("contract/missing property", "", "", "a document has no labels"),
	d.Replaced("GET /accounts", "plan", "gold").As("contract/enum value", "", "", "accounts in the list have a plan that is not declared"),
	d.Replaced(oneDocument, "account", 7).As("contract/wrong type", "", "CWE-704", "the account of a document is a number"),
	d.Header("/", 401, "WWW-Authenticate", "").As("contract/header", "API2:2023", "", "401 comes without WWW-Authenticate"),
	d.Answers("change the shape", "GET /users", func(a *d.Answer, _ *http.Request) {
		a.Body = []byte(strings.Replace(string(a.Body), `"items"`, `"users"`, 1))
	}).As("contract/body shape", "", "", "the list of users is named otherwise"),
})

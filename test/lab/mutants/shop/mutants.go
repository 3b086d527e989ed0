package shop

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	d "sallyport.dev/test/lab/mutants/defect"
)

// Mutants are the shop's, in the order of their numbers; new ones are added at
// the end.
func Mutants() []d.Mutant { return slices.Clone(mutants) }

const (
	oneProduct = "GET /products/{productId}"
	oneOrder   = "GET /orders/{orderId}"
)

var mutants = d.Number("shop", []d.Mutant{
	// contract
	d.Status("POST /products", 201, 200).As("contract/status", "", "", "creating a product answers 200, which is not declared"),
	d.Status("DELETE /orders/{orderId}", 204, 202).As("contract/status", "", "", "deleting an order answers 202"),
	d.Status(oneProduct, 404, 200).As("contract/status", "", "CWE-393", "a product that is not there answers 200 with a problem"),
	d.Media("GET /products", "text/html; charset=utf-8").As("contract/media type", "", "CWE-436", "the list of products is labelled as HTML"),
	d.Media(oneOrder, "application/octet-stream").As("contract/media type", "", "", "an order is labelled as octets"),
	d.Header("POST /orders", 201, "Location", "").As("contract/header", "", "", "a created order has no Location"),
	d.Header(oneProduct, 200, "ETag", "").As("contract/header", "", "", "a product has no entity tag"),
	d.Header(oneOrder, 200, "ETag", "v1").As("contract/header", "", "", "the entity tag of an order has no quotes"),
	d.Body("change the shape", "GET /products", func(v any) any {
		if o, ok := v.(map[string]any); ok {
			return o["items"]
		}
		return v
	}).As("contract/body shape", "", "", "the list of products is a bare array"),
	d.Missing(oneProduct, "stock").As("contract/missing property", "", "", "a product has no stock"),
	d.Missing("GET /orders", "total").As("contract/missing property", "", "", "orders in the list have no total"),
	d.Added(oneOrder, "warehouse", "W-3").As("contract/extra property", "", "", "an order has a member that is not declared"),
	d.Stringly(oneProduct, "price").As("contract/wrong type", "", "CWE-704", "the price of a product is a string"),
	d.Replaced("POST /orders", "note", nil).As("contract/default", "", "", "a created order has lost its note"),
	d.Replaced(oneProduct, "tags", nil).As("contract/nullability", "", "CWE-476", "the tags of a product are null"),
	d.Replaced(oneOrder, "status", "OPEN").As("contract/enum value", "", "", "the status of an order is in capitals"),
	d.Replaced(oneProduct, "created", "05.01.2026 08:00").As("contract/format", "", "", "the date of a product is not RFC 3339"),
	d.Query("GET /products", func(q url.Values) {
		if !q.Has("per_page") {
			q.Set("per_page", "3")
		}
	}).As("contract/default", "", "", "a page has three products where twenty are the default"),
	d.Query("GET /products", func(q url.Values) { q.Del("page") }).As("contract/pagination", "", "", "every page is the first"),
	d.Query("GET /orders", func(q url.Values) { q.Del("cursor") }).As("contract/pagination", "", "CWE-835", "the cursor is ignored: the first page comes for ever"),
	d.Query("GET /orders", func(q url.Values) { q.Del("limit") }).As("contract/pagination", "API4:2023", "CWE-770", "the limit is ignored"),
	d.Header("GET /products", 200, "Link", "").As("contract/pagination", "", "", "pages have no links to those beside them"),
	d.Query("GET /products", func(q url.Values) { q.Del("category") }).As("contract/parameter", "", "", "the category is ignored"),
	d.Query("GET /orders", func(q url.Values) { q.Del("status") }).As("contract/parameter", "", "", "the status is ignored"),
	d.Query("GET /products", func(q url.Values) { q.Del("sort") }).As("contract/parameter", "", "", "the order of sorting is ignored"),
	d.Extra("HEAD /orders/{orderId}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) }).
		As("contract/HEAD", "", "", "HEAD is refused for an order"),
	d.Extra("HEAD /products/{productId}", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "2") }).
		As("contract/HEAD", "", "", "HEAD of any product is 200 with neither its headers nor its length"),
	d.Header("/", 405, "Allow", "").As("contract/405", "", "", "405 comes without Allow"),
	d.Header("/", 405, "Allow", "GET, POST, PUT, PATCH, DELETE").As("contract/405", "", "", "Allow names methods that are not there"),
	d.Status("/", 405, 404).As("contract/405", "", "", "an undeclared method answers 404"),
	d.Header("/", 204, "Allow", "").As("contract/OPTIONS", "", "", "OPTIONS comes without Allow"),
	d.Ignore(oneProduct, "If-None-Match").As("contract/conditional request", "", "", "If-None-Match is ignored: 304 never comes"),
	d.Ignore("PATCH /orders/{orderId}", "If-Match").As("state/stale entity tag", "", "CWE-362", "a change with a stale entity tag is accepted"),
	d.Without("products.precondition").As("state/stale entity tag", "", "CWE-362", "a product is replaced without or with a stale entity tag"),
	d.Ignore("POST /orders", "Idempotency-Key").As("contract/idempotency", "", "CWE-837", "the idempotency key is ignored: the order is made twice"),
	d.Ignore("GET /products", "Accept").As("contract/negotiation", "", "", "Accept is ignored: JSON always"),
	d.Ignore(oneProduct, "Accept").As("contract/negotiation", "", "", "406 never comes for a product"),
	d.Plain("/").As("contract/problem details", "", "", "errors are plain text"),
	d.Header("/", 404, "Content-Type", "application/json").As("contract/problem details", "", "", "404 is labelled as plain JSON"),
	d.Header("GET /catalogue", 0, "Deprecation", "").As("contract/deprecation", "API9:2023", "CWE-477", "the deprecated operation does not say so"),
	d.Header("GET /catalogue", 0, "Sunset", "").As("contract/deprecation", "API9:2023", "CWE-477", "the deprecated operation does not say until when it is served"),
	// rejection
	d.Unconstrained("product.price.type").As("rejection/type", "", "CWE-20", "a price that is a string is accepted"),
	d.Unconstrained("product.price.minimum").As("rejection/range", "API6:2023", "CWE-839", "a negative price is accepted"),
	d.Unconstrained("order.items.quantity.maximum").As("rejection/range", "API4:2023", "CWE-1284", "a quantity over its maximum is accepted"),
	d.Unconstrained("product.name.maxLength").As("rejection/length", "API4:2023", "CWE-1284", "a name of any length is accepted"),
	d.Unconstrained("product.name.minLength").As("rejection/length", "", "CWE-20", "an empty name is accepted"),
	d.Unconstrained("product.tags.pattern").As("rejection/pattern", "", "CWE-20", "tags of any characters are accepted"),
	d.Unconstrained("product.tags.uniqueItems").As("rejection/items", "", "CWE-20", "a tag given twice is accepted"),
	d.Unconstrained("product.category.enum").As("rejection/enum", "", "CWE-20", "a category that is not in the list is accepted"),
	d.Unconstrained("products.sort.enum").As("rejection/enum", "", "CWE-20", "an unknown order of sorting is accepted"),
	d.Unconstrained("order.email.required").As("rejection/required", "", "CWE-20", "an order without e-mail is accepted"),
	d.Unconstrained("order.email.format").As("rejection/format", "", "CWE-20", "an e-mail that is none is accepted"),
	d.Unconstrained("order.due.format").As("rejection/format", "", "CWE-20", "a date that is none is accepted"),
	d.Unconstrained("product.additionalProperties").As("rejection/additional properties", "API3:2023", "CWE-915", "members that are not declared are accepted"),
	d.Unconstrained("order.items.minItems").As("rejection/items", "", "CWE-20", "an order of nothing is accepted"),
	d.Unconstrained("order.items.maxItems").As("rejection/items", "API4:2023", "CWE-770", "an order of any number of items is accepted"),
	d.Unconstrained("products.per_page.maximum").As("rejection/range", "API4:2023", "CWE-770", "pages of any size are given"),
	d.Without("body.media").As("rejection/media type", "", "CWE-436", "a body of any media type is read as JSON"),
	d.Without("body.encoding").As("rejection/encoding", "", "CWE-176", "a body that is not UTF-8 is accepted"),
	d.Without("body.size").As("rejection/oversize", "API4:2023", "CWE-770", "a body over 64 KiB is read"),
	d.Without("body.duplicates").As("rejection/duplicate keys", "", "CWE-436", "a member given twice is accepted"),
	d.Without("body.trailing").As("rejection/syntax", "", "CWE-20", "what follows the value is ignored"),
	d.Crash("POST /products", 400).As("rejection/500 in place of 400", "API8:2023", "CWE-248", "a bad product answers 500"),
	d.Verbose("POST /orders", 400, d.Trace).As("rejection/trace", "API8:2023", "CWE-209", "a refused order answers with a stack trace"),
	// state
	d.Faulty("orders.insert").As("state/create", "", "", "an order is confirmed and not stored"),
	d.Faulty("products.update").As("state/update", "", "", "a replaced product stays as it was"),
	d.Faulty("orders.delete").As("state/delete", "", "", "a deleted order is still there"),
	d.Faulty("orders.read").As("state/use after delete", "", "CWE-672", "a deleted order can still be read"),
	d.Faulty("products.list").As("state/stale list", "", "", "the list of products is one write behind"),
	d.Faulty("products.atomic").As("state/concurrent update", "", "CWE-362", "of concurrent replacements under one entity tag several succeed"),
	d.Without("order.product").As("state/foreign reference", "", "CWE-20", "an order of a product that does not exist is accepted"),
	d.Without("orders.final").As("state/transition", "API6:2023", "CWE-841", "a cancelled order is opened again"),
	// security
	d.Without("token.present").As("security/no credentials", "API2:2023", "CWE-306", "without a token one is alice"),
	d.Without("token.expiry").As("security/expired", "API2:2023", "CWE-613", "expired tokens are accepted"),
	d.Without("token.stripped").As("security/stripped signature", "API2:2023", "CWE-347", "a token without signature is accepted"),
	d.Without("orders.read.owner").As("security/object level", "API1:2023", "CWE-639", "orders of others can be read"),
	d.Without("orders.list.owner").As("security/object level", "API1:2023", "CWE-639", "orders of others are listed"),
	d.Without("admin").As("security/function level", "API5:2023", "CWE-285", "users may keep products"),
	d.Without("order.price").As("security/mass assignment", "API3:2023", "CWE-915", "the caller may name the price"),
	d.Without("order.status").As("security/mass assignment", "API3:2023", "CWE-915", "the caller may declare the order paid"),
	d.Added(oneProduct, "cost", 945).As("security/excessive property", "API3:2023", "CWE-213", "a product shows what the shop pays for it"),
	d.Header("/", 0, "X-Content-Type-Options", "").As("security/headers", "API8:2023", "CWE-693", "answers lack X-Content-Type-Options"),
	d.Header(oneOrder, 200, "Cache-Control", "public, max-age=600").As("security/cacheable private data", "API8:2023", "CWE-525", "an order may be kept by shared caches"),
	d.Override("X-HTTP-Method-Override").As("security/method override", "API8:2023", "CWE-650", "a header turns POST into another method"),
	// operations
	d.Slow("GET /products", 3*time.Second).As("operations/slow", "API4:2023", "CWE-400", "the list of products takes three seconds"),
	d.Wavering("GET /products", func(v any) any {
		if o, ok := v.(map[string]any); ok {
			if items, ok := o["items"].([]any); ok {
				slices.Reverse(items)
			}
		}
		return v
	}).As("operations/unstable answer", "", "", "every second list of products is in reverse"),
	d.Crowded("GET /products", 3).As("operations/5xx under concurrency", "API4:2023", "CWE-400", "more than three lists at once answer 500"),
})

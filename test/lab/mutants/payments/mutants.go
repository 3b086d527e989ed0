package payments

import (
	"net/url"
	"slices"
	"time"

	d "sallyport.dev/test/lab/mutants/defect"
)

// Mutants are the API's, in the order of their numbers; new ones are added at
// the end.
func Mutants() []d.Mutant { return slices.Clone(mutants) }

const one = "GET /payments/{paymentId}"

var mutants = d.Number("payments", []d.Mutant{
	// idempotency
	d.Fresh("POST /payments", "Idempotency-Key").As("contract/idempotency", "", "CWE-837", "the same payment under the same key is taken twice"),
	d.Without("key").As("rejection/required", "", "CWE-837", "a payment without idempotency key is accepted"),
	d.Without("replay.body").As("contract/idempotency", "", "CWE-837", "another payment under a key that is taken is answered as the first"),
	d.Without("replay.principal").As("security/object level read", "API1:2023", "CWE-488", "a key that somebody else used gives his payment"),
	// state machine
	d.Without("capture.state").As("state/transition", "API6:2023", "CWE-841", "a voided payment can be captured"),
	d.Without("capture.amount").As("state/transition", "API6:2023", "CWE-840", "more than was authorised can be captured"),
	d.Without("void.state").As("state/transition", "API6:2023", "CWE-841", "a captured payment can be voided"),
	d.Without("refund.amount").As("state/transition", "API6:2023", "CWE-840", "more than was captured can be refunded"),
	d.Faulty("payments.atomic").As("state/concurrent update", "API6:2023", "CWE-362", "concurrent refunds together exceed what was captured"),
	d.Faulty("payments.insert").As("state/create", "", "", "a payment is confirmed and not stored"),
	d.Faulty("payments.update").As("state/update", "", "", "a captured payment stays authorised"),
	d.Faulty("payments.list").As("state/stale list", "", "", "the list of payments is one write behind"),
	// rate
	d.Without("rate").As("security/rate limit", "API4:2023", "CWE-770", "there is no rate limit"),
	d.Header("/", 429, "Retry-After", "").As("contract/header", "", "", "429 comes without Retry-After"),
	d.Status("/", 429, 503).As("contract/status", "", "", "over the rate the answer is 503"),
	// authorisation
	d.Without("owner.read").As("security/object level read", "API1:2023", "CWE-639", "payments of others can be read"),
	d.Without("owner.list").As("security/object level list", "API1:2023", "CWE-639", "payments of others are listed"),
	d.Without("owner.capture").As("security/object level write", "API1:2023", "CWE-639", "payments of others can be captured"),
	d.Without("owner.void").As("security/object level delete", "API1:2023", "CWE-639", "payments of others can be voided"),
	d.Without("owner.refunds").As("security/object level list", "API1:2023", "CWE-639", "refunds of others are listed"),
	d.Without("owner.refund").As("security/object level write", "API1:2023", "CWE-639", "payments of others can be refunded"),
	d.Without("admin").As("security/function level", "API5:2023", "CWE-285", "users read the settlements"),
	d.Without("token.present").As("security/no credentials", "API2:2023", "CWE-306", "without a token one is alice"),
	d.Without("token.alg").As("security/alg none", "API2:2023", "CWE-347", "unsigned tokens are accepted when they say so"),
	d.Without("token.audience").As("security/wrong audience", "API2:2023", "CWE-287", "tokens for other services are accepted"),
	d.Without("payment.state").As("security/mass assignment", "API3:2023", "CWE-915", "the caller may declare a new payment captured"),
	d.Added(one, "pan", "4242424242424242").As("security/excessive property", "API3:2023", "CWE-359", "a payment shows a whole card number"),
	d.Header(one, 200, "Cache-Control", "max-age=300").As("security/cacheable private data", "API8:2023", "CWE-525", "a payment may be kept for five minutes"),
	d.Verbose("/", 409, "guard clause failed in com.example.pay.LedgerService.transition(LedgerService.java:212)").As("security/verbose errors", "API8:2023", "CWE-209", "a conflict names the program's innards"),
	d.Header("/", 0, "X-Powered-By", "PayCore/2.3.1 (Debian)").As("security/headers", "API8:2023", "CWE-200", "answers name the program and its version"),
	// rejection
	d.Unconstrained("payment.amount.pattern").As("rejection/pattern", "API6:2023", "CWE-20", "negative amounts are accepted"),
	d.Unconstrained("payment.amount.type").As("rejection/type", "", "CWE-704", "amounts that are numbers are accepted"),
	d.Unconstrained("payment.currency.enum").As("rejection/enum", "", "CWE-20", "any currency is accepted"),
	d.Unconstrained("payment.reference.maxLength").As("rejection/length", "API4:2023", "CWE-1284", "a reference of any length is accepted"),
	d.Unconstrained("payment.card.required").As("rejection/required", "", "CWE-20", "a payment without card is accepted"),
	d.Unconstrained("payments.limit.minimum").As("rejection/range", "", "CWE-839", "a limit below one is accepted"),
	d.Without("body.trailing").As("rejection/syntax", "", "CWE-20", "what follows the value is ignored"),
	d.Without("body.media").As("rejection/media type", "", "CWE-436", "a body of any media type is read as JSON"),
	d.Crash("POST /payments/{paymentId}/refunds", 400).As("rejection/500 in place of 400", "API8:2023", "CWE-248", "a bad refund answers 500"),
	// contract
	d.Status("POST /payments/{paymentId}/refunds", 201, 200).As("contract/status", "", "", "a refund answers 200"),
	d.Replaced(one, "amount", 12.5).As("contract/wrong type", "", "CWE-704", "the amount of a payment is a number"),
	d.Replaced(one, "captured", "12.5").As("contract/format", "", "", "the amount captured has one decimal"),
	d.Missing("GET /payments", "more").As("contract/pagination", "", "", "the list does not say whether it goes on"),
	d.Query("GET /payments", func(q url.Values) { q.Del("after") }).As("contract/pagination", "", "CWE-835", "the place to go on from is ignored"),
	d.Replaced(one, "refunded", nil).As("contract/nullability", "", "CWE-476", "the amount refunded is null"),
	d.Replaced("GET /payments/{paymentId}/refunds", "items", nil).As("contract/nullability", "", "CWE-476", "no list of refunds but null"),
	// operations
	d.Abrupt().As("operations/ungraceful stop", "", "", "what is in flight is cut off when the process is told to stop"),
	d.Slow("POST /payments", 4*time.Second).As("operations/slow", "API4:2023", "CWE-400", "taking a payment takes four seconds"),
	d.Flaky(one, 5).As("operations/5xx now and then", "", "", "every fifth reading of a payment answers 500"),
	d.Crowded(one, 2).As("operations/5xx under concurrency", "API4:2023", "CWE-400", "more than two readings at once answer 500"),
})

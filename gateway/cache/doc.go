// Package cache holds answers that may be given again, and decides when they
// may: a shared cache to RFC 9111, with RFC 9110's conditions and ranges, RFC
// 5861's stale answers, RFC 8246's immutable and RFC 9213's targeted control.
//
// In come requests that the guard has let pass, rules, and answers as the
// upstream sent them; out go entries and decisions. It does no I/O, reads no
// clock and starts no goroutine. It never looks at a credential's value but to
// hash it, and keeps no answer that is not whole, that its rules do not name, or
// that a request was answered with which says more than its key.
package cache

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Rules say what may be stored for one operation. Names of headers are in
// canonical form.
type Rules struct {
	Private     bool // answers to a proven caller may be kept for that caller
	Statuses    []int
	Headers     []string // of requests, keyed besides those that Vary names
	Lifetime    time.Duration
	Heuristic   bool
	Longest     time.Duration
	Revalidate  time.Duration // stale while that, for answers that do not say
	Error       time.Duration // stale on errors, for answers that do not say
	SetCookie   bool
	Client      bool // follow the request's Cache-Control
	Targeted    []string
	Tags        []string
	Entry       int64
	Coalesce    bool
	Wait        time.Duration
	DescribesIt func(status int, contentType string) bool // whether the contract has such an answer; nil: any
}

// A Request is what is known of a request. It is read only while a method runs.
type Request struct {
	API    string
	Method string
	Host   string // as sent
	Origin string // what else the upstream is told about where the request went: scheme and host as clients see them
	Target string // path and query as sent upstream
	Header http.Header
	// Caller names the proven caller with all that the caller may do, "" for
	// none. It must not be made of a secret.
	Caller       string
	Credentialed bool // the request carries something that may be a credential
	// Ours reports whether the upstream is told another value of a header than
	// Header has, by who asks or by the request; nil: of none.
	Ours func(name string) bool
}

// unlike reports whether one of the fields that an answer varies by reached the
// upstream otherwise than the client sent it, so that nothing of the request says
// for whom else the answer is.
func (q *Request) unlike(vary []string) bool {
	if len(vary) == 0 {
		return false
	}
	for _, line := range q.Header["Connection"] {
		names := fieldNames(line)
		if names == nil || slices.ContainsFunc(names, func(name string) bool { return slices.Contains(vary, name) }) {
			return true
		}
	}
	for name := range q.Header { // CGI and its like take an underscore for a hyphen
		if strings.IndexByte(name, '_') > 0 && slices.Contains(vary, http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))) {
			return true
		}
	}
	return q.Ours != nil && slices.ContainsFunc(vary, q.Ours)
}

// A Reason says in one word why an answer was not stored, or a request not
// looked up.
type Reason string

// The reasons. OK is none.
const (
	OK            Reason = ""
	ByMethod      Reason = "method"       // neither GET nor HEAD
	ByBody        Reason = "body"         // a GET with a body
	ByPath        Reason = "path"         // a path that has two readings
	ByPrecond     Reason = "precondition" // If-Match, If-Unmodified-Since: the upstream's to judge
	ByUpgrade     Reason = "upgrade"
	ByStatus      Reason = "status"
	ByNoStore     Reason = "no-store"
	ByPrivate     Reason = "private"
	ByCredential  Reason = "credential" // RFC 9111 section 3.5
	ByVary        Reason = "vary"
	ByCookie      Reason = "set-cookie"
	ByLifetime    Reason = "lifetime" // it states none, and has no validator
	BySize        Reason = "size"
	ByRange       Reason = "range"
	ByContract    Reason = "undeclared" // not an answer that the contract has
	ByUnkeyed     Reason = "unkeyed"    // the request carries a header that is known to steer upstreams
	ByChange      Reason = "invalidated"
	ByRefusal     Reason = "refused" // the guard did not let the answer pass
	ByTrunc       Reason = "incomplete"
	ByRequest     Reason = "request" // the request's Cache-Control
	BySplit       Reason = "framing" // the head is one that no recipient should trust
	ByUnavailable Reason = "off"
)

// Reasons are all of them, for counters.
func Reasons() []Reason {
	return []Reason{ByMethod, ByBody, ByPath, ByPrecond, ByUpgrade, ByStatus, ByNoStore, ByPrivate, ByCredential, ByVary, ByCookie, ByLifetime, BySize,
		ByRange, ByContract, ByUnkeyed, ByChange, ByRefusal, ByTrunc, ByRequest, BySplit, ByUnavailable}
}

package guard

import (
	"net/http"
	"slices"

	sallyport "sallyport.dev"
)

// A Kind is one kind of refusal, the same to a caller whatever led to it
// (RFC 9457: the last part of type, title and status).
type Kind struct {
	Name   string // "unauthenticated"
	Title  string
	Status int
}

// The kinds of refusal: the guard's own and those of doors. The list is closed.
var (
	KindBadRequest           = Kind{"bad-request", "The request is malformed", http.StatusBadRequest}
	KindInvalid              = Kind{"invalid-request", "The request does not fit the operation", http.StatusBadRequest}
	KindUnauthenticated      = Kind{"unauthenticated", "A valid credential is needed", http.StatusUnauthorized}
	KindProxyUnauthenticated = Kind{"proxy-unauthenticated", "A valid credential for this proxy is needed", http.StatusProxyAuthRequired}
	KindForbidden            = Kind{"forbidden", "The credential does not allow this", http.StatusForbidden}
	KindRefused              = Kind{"refused", "The request was refused", http.StatusForbidden}
	KindNotFound             = Kind{"not-found", "There is nothing here", http.StatusNotFound}
	KindMethod               = Kind{"method-not-allowed", "The method is not allowed here", http.StatusMethodNotAllowed}
	KindTimeout              = Kind{"request-timeout", "The request took too long", http.StatusRequestTimeout}
	KindLength               = Kind{"length-required", "The length of the request is needed", http.StatusLengthRequired}
	KindTooLarge             = Kind{"too-large", "The request is too large", http.StatusRequestEntityTooLarge}
	KindTargetTooLong        = Kind{"target-too-long", "The request target is too long", http.StatusRequestURITooLong}
	KindMediaType            = Kind{"unsupported-media-type", "The media type is not supported", http.StatusUnsupportedMediaType}
	KindExpectation          = Kind{"expectation-failed", "The expectation cannot be met", http.StatusExpectationFailed}
	KindMisdirected          = Kind{"misdirected", "The request came to the wrong place", http.StatusMisdirectedRequest}
	KindLimited              = Kind{"limited", "Too many requests", http.StatusTooManyRequests}
	KindHeaderTooLarge       = Kind{"header-too-large", "The header is too large", http.StatusRequestHeaderFieldsTooLarge}
	KindInternal             = Kind{"internal", "Something went wrong", http.StatusInternalServerError}
	KindNotImplemented       = Kind{"not-implemented", "This is not implemented", http.StatusNotImplemented}
	KindBadAnswer            = Kind{"bad-answer", "The service gave no valid answer", http.StatusBadGateway}
	KindUnavailable          = Kind{"unavailable", "The service is not available now", http.StatusServiceUnavailable}
	KindUpstreamTimeout      = Kind{"upstream-timeout", "The service did not answer in time", http.StatusGatewayTimeout}
	KindVersion              = Kind{"version-not-supported", "The protocol version is not supported", http.StatusHTTPVersionNotSupported}
	kinds                    = []Kind{KindBadRequest, KindInvalid, KindUnauthenticated, KindProxyUnauthenticated, KindForbidden, KindRefused, KindNotFound, KindMethod, KindTimeout, KindLength, KindTooLarge, KindTargetTooLong, KindMediaType, KindExpectation, KindMisdirected, KindLimited, KindHeaderTooLarge, KindInternal, KindNotImplemented, KindBadAnswer, KindUnavailable, KindUpstreamTimeout, KindVersion}
)

// Kinds is the closed list of kinds of refusal.
func Kinds() []Kind { return slices.Clone(kinds) }

// A Refusal is how a request is turned away. Two refusals of one kind differ in
// nothing but what a standard demands: WWW-Authenticate's error (RFC 6750),
// Retry-After, Allow and the RateLimit fields. It is shared and must not be changed.
type Refusal struct {
	Kind
	Header [][2]string // canonical names: WWW-Authenticate, Retry-After, Allow, RateLimit
	Action sallyport.Action
	Stage  sallyport.Stage
}

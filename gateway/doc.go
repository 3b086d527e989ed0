// Package gateway is the enforcement point: the door through which a request
// for an API passes.
//
// In come connections on listeners (HTTP/1.1, HTTP/2 and HTTP/3, with TLS or,
// on loopback, without), a compiled guard.Program, and the pools of instances
// that serve each API. Each request is given an id and a client address,
// stepped through a guard.Session, forwarded to an admitted and healthy
// instance, and answered. Out goes the answer, and one sallyport.Exchange per
// request to the Recorder; refusals are problem documents (RFC 9457) that say
// the same for every cause of one kind.
//
// It never decides about a request by itself, other than on framing and
// bounds; it never writes an exchange anywhere; and it never forwards what it
// did not parse itself.
package gateway

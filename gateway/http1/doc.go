// Package http1 speaks HTTP/1.1 (RFC 9110, RFC 9112) strictly, on both sides
// of a gateway: Server reads requests from connections that someone else
// accepted and calls an http.Handler; Transport sends requests to upstreams on
// pooled connections and reads their answers.
//
// What comes in are bytes of strangers: a client's requests, an upstream's
// answers. What goes out are messages whose framing has exactly one reading.
// A message with two readings (both Content-Length and Transfer-Encoding, a
// bare line feed, a folded header line, …) is never repaired and never passed
// on: it is refused with a stated status (Refusal) or reported (Error), and
// its connection is closed.
//
// The package never decides about a well-formed request, never logs, never
// resolves names other than by dialling, and never keeps a body beyond the
// buffers of its connection. It works in the goroutine that calls it; only a
// request body that is streamed, or too long for one write, costs the client
// side a second one.
//
// For the sake of cost both sides reuse their values. A handler must not keep
// the *http.Request, its URL, Header map or Context, nor the ResponseWriter,
// after it returned; a caller of Transport.Do must not keep a Response's
// Header map after the next Do with the same Response. Strings found in them
// may be kept for ever.
package http1

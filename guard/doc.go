// Package guard decides about requests while they wait. In come a request's
// head, its body, the answer's head and body, each once, and the time; out go
// steps (proceed, fetch a key, refuse) and, at the end, the record of the
// exchange with the decision and its reasons.
//
// A Program is everything that was configured (APIs with their specifications
// and policies), compiled whole and immutable: any number of goroutines begin
// sessions on it, and a change is compiled beside it and swapped in. A Session
// belongs to one goroutine at a time, is stepped
//
//	Begin · [Resume] · RequestBody · Response · ResponseBody · End
//
// and goes back to its pool in End. The stages, in the order in which a request
// meets them: identify · limit (client) · authenticate · authorise · limit
// (principal, operation) · validate · inspect · decide; on the answer: validate.
//
// It never does I/O, never reads a clock and never logs: time, counters and keys
// come in as values or through one-method interfaces. Out of a request it keeps
// nothing beyond the record that it hands over, but for verified tokens (until
// they end) and values of headers such as User-Agent that were found clean.
package guard

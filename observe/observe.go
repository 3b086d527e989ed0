// Package observe is the one join of in-line and recorded traffic. In come
// exchanges as doors saw them; out go events on the stream, redacted,
// classified and shaped, and a journal of decisions that people look things up
// in.
//
// A Recorder takes exchanges without ever making a request wait: its queue is
// bounded and what does not fit is dropped and counted. Its workers redact in
// memory before anything is encoded, classify the sampled bodies, reduce them
// to shapes without values, and publish batches. Bodies themselves go no
// further. Order: exchanges of one door are published nearly, not exactly, in
// the order they were recorded.
//
// A Journal consumes the stream. It keeps every decision that is not a plain
// allow, a sample of plain allows, a ring of the newest of both in memory, and
// rates.
//
// The package never decides about a request, never writes, logs or publishes
// an exchange that has not been through Redact, and keeps no value that Redact
// replaced.
package observe

// Package h2 stands between a client's connection and a server of HTTP/2, and
// reads what the client sends before that server does.
//
// In come the bytes of the client, behind TLS, from the preface on. Out go the
// same bytes, or, where a rule is broken, a frame on which every server must end
// the stream or the connection (RFC 9113 section 5.4); and for each such case one
// Refusal, for the record. What the server writes is looked at for the ends of
// streams and for its own GOAWAY, and passes as it is but for the error code of a
// GOAWAY that this package has caused.
//
// It never answers, never changes a header block, never holds more than one frame,
// and starts no goroutine. Streams, flow control and answers are the server's.
package h2

// Package cert looks after certificates. In come PEM files, and the answers of
// the OCSP responders that certificates name; out go certificates for TLS
// handshakes (with an OCSP answer stapled where that is asked for), pools of
// authorities, what is wrong with a chain or key in words, and which
// certificates end soon. Files are read again when they change, and what is
// wrong with a changed file leaves the old one in use.
//
// It never answers a handshake itself, follows no redirect, asks no responder
// unless it is told to, and never writes or logs a private key.
package cert

// Package parity puts the guard's decision vectors through every door by the
// real proxies that ask there. In come the vectors of guard/testdata; out comes a
// table of what is decided alike and what a proxy does not show. It holds tests only.
package parity

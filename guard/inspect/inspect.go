// Package inspect judges one value of a request: clean, or an attack of a named
// class. In comes the value as any framework would hand it to the application,
// that is after the one decoding that its place in the message implies; out
// goes a Finding, whose zero value means clean. It proves before it matches: a
// value of a harmless shape is clean after one look at its bytes, the rest goes
// through one multi-literal pass over the forms an upstream may turn it into,
// and only what that pass suspects is tokenised and weighed. It never does
// I/O, never keeps, logs or returns any part of a value, and its work is
// bounded by the size of the value.
package inspect

import (
	"unsafe"

	"sallyport.dev"
)

// A Finding says what a value was found to be. The zero Finding is clean.
type Finding struct {
	Rule    string // stable name of the strongest sign: "sqli.tautology"
	Class   string // class of the attack: "sqli", "xss", "traversal", …
	Decoded string // how the attack was reached: "percent×2, base64"; "" = as it came
	Score   int    // what the signs weigh together; a hit is Threshold or more
}

// Hit reports whether the value is judged an attack.
func (f Finding) Hit() bool { return f.Class != "" }

// Options are the settings of an Engine; the zero value is the default.
type Options struct{}

// An Engine holds the compiled rules. It is immutable and safe for concurrent
// use.
type Engine struct{}

// A Scratch holds the buffers of one judgement so that they are used again. The
// zero value is ready; it must not be used by two goroutines at once.
type Scratch struct{}

// New compiles the rules.
func New(o Options) (*Engine, error) { return &Engine{}, nil }

// Check judges the value v that stood in the given part of a message. It reads
// v and keeps nothing of it. s may be nil, at the price of allocations.
func (e *Engine) Check(v []byte, in sallyport.In, s *Scratch) Finding { return Finding{} }

// CheckString is Check for a string.
func (e *Engine) CheckString(v string, in sallyport.In, s *Scratch) Finding {
	return e.Check(unsafe.Slice(unsafe.StringData(v), len(v)), in, s)
}

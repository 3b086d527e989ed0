// Package schema compiles JSON Schema (draft 4, draft 7, 2020-12 and the
// dialect of OpenAPI 2.0 and 3.0) to an immutable program and evaluates it over
// a jsondoc.Doc. In come a positioned source tree or raw bytes; out go a Schema
// and, per evaluation, problems that name a place and a rule. It marks strings
// that the schema proves harmless (Node.Proven). It never fetches anything by
// itself, never puts a value into a problem, and does not allocate while the
// instance holds.
package schema

import "sallyport.dev/spec/jsondoc"

// A Schema is a compiled schema: immutable, safe for concurrent use.
type Schema struct{}

// A Problem is one rule that the instance breaks. Detail holds no values.
type Problem struct {
	Pointer string // RFC 6901, "" at the root
	Rule    string // "schema.type", "schema.required", …
	Detail  string
}

// Validate reports whether the value at root holds. At most max problems are
// appended to out, which may be nil. Strings proven harmless are marked in d,
// unless the value as a whole does not hold.
func (s *Schema) Validate(d *jsondoc.Doc, root int, out *[]Problem, max int) bool { return true }

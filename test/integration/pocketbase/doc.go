// Package pocketbase tries the conformance tests on a server that nobody here
// wrote: PocketBase, built from its module (github.com/pocketbase/pocketbase, MIT)
// into .cache/bin by `test/setup.sh pocketbase`. What they find is reviewed one by
// one in docs/conformance-pocketbase.md; `go test -tags full` fails on a finding
// that nobody has reviewed.
package pocketbase

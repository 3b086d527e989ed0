//go:build race

package guard_test

// raced: the race detector makes pools forget at random, so that allocations
// cannot be counted under it.
const raced = true

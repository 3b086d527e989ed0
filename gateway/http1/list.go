package http1

import (
	"iter"
	"strings"
)

// splitList yields the non-empty elements of a comma-separated list (RFC 9110 §5.6.1).
func splitList(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for s != "" {
			var e string
			e, s, _ = strings.Cut(s, ",")
			if e = strings.Trim(e, " \t"); e != "" && !yield(e) {
				return
			}
		}
	}
}

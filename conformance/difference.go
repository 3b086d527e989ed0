package conformance

import (
	"fmt"
	"slices"
	"strings"
)

// A Difference is what is new in a report, held against an earlier one of the
// same API.
type Difference struct {
	New       []Finding // found now, not before
	Gone      []Finding // found before, not now
	Unreached []string  // operations of which a request succeeded before, and none now
	Added     []string  // operations that were not described before
	Removed   []string  // operations that are described no more
}

// Diff compares two reports. A finding is the same when check, operation and
// place are; notes do not count. Neither report is changed.
func Diff(before, now *Report) (d Difference) {
	missing := func(in, from []Finding) (out []Finding) {
		for _, f := range in {
			if f.Level != Note && !slices.ContainsFunc(from, func(x Finding) bool {
				return x.Level != Note && x.Check == f.Check && x.Operation == f.Operation && x.Place == f.Place
			}) {
				out = append(out, f)
			}
		}
		return out
	}
	d.New, d.Gone = missing(now.Findings, before.Findings), missing(before.Findings, now.Findings)
	old := map[string]string{}
	for _, o := range before.Coverage.Operations {
		old[o.Operation] = o.Why
	}
	for _, o := range now.Coverage.Operations {
		why, known := old[o.Operation]
		switch {
		case !known:
			d.Added = append(d.Added, o.Operation)
		case why == "" && o.Why != "":
			d.Unreached = append(d.Unreached, o.Operation)
		}
		delete(old, o.Operation)
	}
	for _, o := range before.Coverage.Operations {
		if _, left := old[o.Operation]; left {
			d.Removed = append(d.Removed, o.Operation)
		}
	}
	return d
}

// Empty reports whether nothing is different.
func (d Difference) Empty() bool {
	return len(d.New)+len(d.Gone)+len(d.Unreached)+len(d.Added)+len(d.Removed) == 0
}

// String is one line for each difference, + for what is new and - for what is
// gone.
func (d Difference) String() string {
	var b strings.Builder
	for _, f := range d.New {
		fmt.Fprintf(&b, "+ %s at %s: %s\n", f.Check, strings.TrimSpace(f.Operation+" "+f.Place), f.Detail)
	}
	for _, f := range d.Gone {
		fmt.Fprintf(&b, "- %s at %s\n", f.Check, strings.TrimSpace(f.Operation+" "+f.Place))
	}
	for _, o := range d.Added {
		fmt.Fprintf(&b, "+ operation %s\n", o)
	}
	for _, o := range d.Removed {
		fmt.Fprintf(&b, "- operation %s\n", o)
	}
	for _, o := range d.Unreached {
		fmt.Fprintf(&b, "- no request of %s succeeds any more\n", o)
	}
	return b.String()
}

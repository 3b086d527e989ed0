package jsondoc

import "slices"

// A Cut is a change to a document's text: the member Node is taken out or, with
// Mask, what stands in its value from From to To is made unreadable.
type Cut struct {
	Node     int
	Mask     bool
	From, To int32 // extent in Src, of Mask; within the value
}

// Apply appends the document's text with the cuts made to dst. Everything else
// stays byte for byte, in its order and with its spaces; masked text keeps its
// length. Nodes that are no members are left alone, and cuts may come in any
// order and overlap.
func (d *Doc) Apply(dst []byte, cuts []Cut) []byte {
	type edit struct {
		from, to int32
		number   bool
		mask     bool
	}
	gone := make(map[int32]bool, len(cuts))
	var parents []int32
	edits := make([]edit, 0, len(cuts))
	for _, c := range cuts {
		n := &d.Nodes[c.Node]
		switch {
		case c.Mask:
			edits = append(edits, edit{from: max(c.From, n.Start), to: min(c.To, n.End), mask: true, number: n.Kind == Number})
		case n.KeyStart >= 0:
			gone[int32(c.Node)] = true
			parents = append(parents, n.Parent)
		}
	}
	slices.Sort(parents)
	for _, p := range slices.Compact(parents) {
		// What stands before the first member that stays goes up to that member;
		// what stands behind one goes with the comma before it.
		last, open := int32(-1), int32(-1) // end of the member kept last; begin of what goes
		end := int32(-1)
		for c := p + 1; c < d.Nodes[p].Next; c = d.Nodes[c].Next {
			n := &d.Nodes[c]
			begin, stop := n.KeyStart-1, d.extent(int(c))
			if !gone[c] {
				if open >= 0 && last < 0 {
					edits = append(edits, edit{from: open, to: begin})
				} else if open >= 0 {
					edits = append(edits, edit{from: last, to: end})
				}
				last, open = stop, -1
				continue
			}
			if open < 0 {
				open = begin
			}
			end = stop
		}
		if open >= 0 {
			if last >= 0 {
				open = last
			}
			edits = append(edits, edit{from: open, to: end})
		}
	}
	slices.SortFunc(edits, func(a, b edit) int {
		if a.from != b.from {
			return int(a.from - b.from)
		}
		return int(b.to - a.to)
	})
	at := int32(0)
	for _, e := range edits {
		if e.to <= at {
			continue // within something taken out
		}
		e.from = max(e.from, at)
		dst = append(dst, d.Src[at:e.from]...)
		if e.mask {
			dst = mask(dst, d.Src[e.from:e.to], e.number)
		}
		at = e.to
	}
	return append(dst, d.Src[at:]...)
}

// extent is the end of node i in Src, a string's closing quote included.
func (d *Doc) extent(i int) int32 {
	if n := &d.Nodes[i]; n.Kind == String {
		return n.End + 1
	}
	return d.Nodes[i].End
}

// mask writes b so that nobody can read it: letters and digits become *, and of
// a number a zero stays.
func mask(dst, b []byte, number bool) []byte {
	if number {
		dst = append(dst, '0')
		for range len(b) - 1 {
			dst = append(dst, ' ')
		}
		return dst
	}
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= 0x80, c == '\\', c == '"':
			c = '*'
		}
		dst = append(dst, c)
	}
	return dst
}

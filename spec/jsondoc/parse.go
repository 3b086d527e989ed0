package jsondoc

import "errors"

// A Doc is a parsed document. The zero value is ready; Parse may be called
// again and again and reuses the tape. A Doc belongs to one goroutine.
type Doc struct {
	Src        []byte
	Nodes      []Node
	Duplicates bool // some object holds a key twice
	Duplicate  int  // index of the first node whose key its object already holds; -1 if none
}

// Parse reads src. The Doc keeps src and must not outlive it. The error is a
// *SyntaxError.
func (d *Doc) Parse(src []byte, lim Limits) error { return errors.New("jsondoc: not yet") }

// Reset forgets the document and keeps the memory.
func (d *Doc) Reset() { d.Src, d.Nodes, d.Duplicates, d.Duplicate = nil, d.Nodes[:0], false, -1 }

// Raw is node i as written; of a string, without its quotes.
func (d *Doc) Raw(i int) []byte { n := &d.Nodes[i]; return d.Src[n.Start:n.End] }

// Text is the decoded text of string i. It aliases Src when the string holds
// no escapes and otherwise is appended to scratch[:0].
func (d *Doc) Text(i int, scratch []byte) []byte { return d.Raw(i) }

// Key is the decoded key of member i, under the same rule as Text.
func (d *Doc) Key(i int, scratch []byte) []byte { n := &d.Nodes[i]; return d.Src[n.KeyStart:n.KeyEnd] }

// Pointer is the JSON pointer (RFC 6901) of node i; "" at the root. It
// allocates and is meant for findings.
func (d *Doc) Pointer(i int) string { return "" }

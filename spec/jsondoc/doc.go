// Package jsondoc reads JSON text (RFC 8259) in one pass to a flat tape of
// nodes. In come the bytes of one document and bounds; out goes a Doc whose
// nodes point into those bytes: kinds, extents, keys, parents. It is strict:
// UTF-8 is checked, escapes must be whole, lone surrogates are refused,
// duplicate keys are found, every bound has a rule of its own. It never copies
// the input, never decodes a number, never recurses, and in the steady state
// never allocates.
package jsondoc

// Kind is the JSON type of a node.
type Kind uint8

// The kinds of node.
const (
	Object Kind = iota + 1
	Array
	String
	Number
	True
	False
	Null
)

// String is the type's name as JSON Schema writes it; both booleans are
// "boolean".
func (k Kind) String() string {
	switch k {
	case Object:
		return "object"
	case Array:
		return "array"
	case String:
		return "string"
	case Number:
		return "number"
	case True, False:
		return "boolean"
	case Null:
		return "null"
	}
	return "none"
}

// A Node is one value of the document. Children of an object or array follow
// it on the tape; the first stands at the next index, each further one at its
// elder's Next.
type Node struct {
	Kind       Kind
	Escaped    bool // a string holding escapes: Raw is not its text
	Proven     bool // set by a schema that proves the string harmless
	Integer    bool // a number without fraction and exponent
	KeyEscaped bool
	Known      bool  // set by a schema that declares the member's key
	Seat       Seat  // of a member, set by a schema that is evaluated leniently
	Start, End int32 // extent in Src; of a string, without its quotes
	Next       int32 // index after the subtree
	KeyStart   int32 // extent of an object member's key without quotes; -1 when the node is no member
	KeyEnd     int32
	Count      int32  // children
	Parent     int32  // -1 at the root
	Print      uint32 // fingerprint of the decoded key, see Fingerprint
}

// Limits bounds a document; a zero field means its default.
type Limits struct {
	Bytes       int  // of the document; default 16 MiB
	Depth       int  // nesting; default 64
	Nodes       int  // values; default 1<<20
	Members     int  // children of one object or array; default 1<<18
	StringBytes int  // of one string or key, as written; default 8 MiB
	Duplicates  bool // duplicate keys are noted in Doc.Duplicate and are no error
}

// Rules that a SyntaxError names.
const (
	RuleSyntax    = "json.syntax"
	RuleEmpty     = "json.empty"
	RuleUTF8      = "json.utf8"
	RuleDepth     = "json.depth"
	RuleBytes     = "json.bytes"
	RuleNodes     = "json.nodes"
	RuleMembers   = "json.members"
	RuleString    = "json.string-bytes"
	RuleDuplicate = "json.duplicate-key"
)

// A SyntaxError says which rule a document broke and where. Message is a fixed
// sentence and holds nothing out of the document.
type SyntaxError struct {
	Offset  int
	Rule    string
	Message string
}

func (e *SyntaxError) Error() string { return e.Message }

// A Seat is how a member stands in its object, as far as schemas were asked.
type Seat uint8

// The bits of a Seat.
const (
	Admitted Seat = 1 << iota // a schema lets it stand without naming it
	Unnamed                   // the schemas for its object name others, not it
)

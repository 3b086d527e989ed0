// Package spec turns API descriptions (OpenAPI 2.0, 3.0, 3.1 and 3.2, AsyncAPI, GraphQL
// schemas, Protocol Buffers services, WSDL 1.1) into operations, a router and validators. In come files, folders, URLs or bytes;
// out goes an immutable Set, or every mistake in one go, each with file, line,
// column and a hint. At run time it matches a method and path to an operation
// and checks parameters, bodies and answers into a reusable Check, without
// allocation while all is well. It never decides: it names places and rules,
// and whether they matter is the guard's policy. It never opens a file outside
// the folder of the description it was given, and fetches URLs only where the
// operator gave one, from the same host.
package spec

import (
	"net/http"

	"sallyport.dev"
	"sallyport.dev/spec/graphql"
	"sallyport.dev/spec/jsondoc"
	"sallyport.dev/spec/proto"
	"sallyport.dev/spec/schema"
	"sallyport.dev/spec/xmldoc"
	"sallyport.dev/spec/xsd"
)

// A Source is one description, or a folder of them.
type Source struct {
	Path string // file, folder or http(s) URL; a name for Data when Data is given
	Data []byte // the document itself; optional
}

// Options of Load. The zero value is good.
type Options struct {
	BasePaths   []string       // replaces the path prefixes that the documents' servers give; nil keeps them
	Client      *http.Client   // for URL sources; nil means one with sane timeouts
	MaxBytes    int64          // of one document; default 16 MiB
	MaxProblems int            // kept per check; default 8
	Limits      jsondoc.Limits // of JSON bodies
	Imports     []string       // folders that imports of .proto files begin at
	Keep        bool           // what operations declare stays readable: Operation.Declared
}

// A Set is the operations of one API. It is immutable and safe for concurrent use.
type Set struct {
	operations []*Operation
	router     router
	loose      router // the same templates as lenient servers read them
	cased      bool   // some template is not as lenient servers read it
	o          *Options
	notes      []Mistake
	graph      *graphql.Schema
	protos     *proto.Schema
	soap       *SOAP
	files      []string
}

// GraphQL is the GraphQL schema among the sources, nil if there is none. Its
// operations are not among Operations.
func (s *Set) GraphQL() *graphql.Schema { return s.graph }

// Operations lists the operations in the order of template and method.
func (s *Set) Operations() []*Operation { return s.operations }

// Notes are oddities of the sources that did not stand in the way of loading.
func (s *Set) Notes() []Mistake { return s.notes }

// Files are the files that were read for it, those that documents refer to
// included: absolute paths, in order, shared and not to be changed.
func (s *Set) Files() []string { return s.files }

// Outcome is what Match found.
type Outcome uint8

// The outcomes of Match.
const (
	NoPath   Outcome = iota // no template fits
	NoMethod                // a template fits, but not for this method: Match.Allowed lists those it has
	Found
)

// MaxPathParams bounds the templated parts of one path.
const MaxPathParams = 16

// A PathParam is one templated part of a matched path, still escaped.
type PathParam struct{ Name, Raw string }

// A Match is filled by Set.Match and may be reused.
type Match struct {
	Op      *Operation
	Params  [MaxPathParams]PathParam
	N       int      // of Params
	Allowed []string // methods of the path; shared, read only
	Implied bool     // a HEAD answered by the GET operation
}

// An Operation is one method on one path template, compiled. It is immutable
// and safe for concurrent use.
type Operation struct {
	Method     string
	Template   string // with the base path
	ID         string
	Summary    string
	Deprecated bool
	Security   []map[string][]string // alternatives, each scheme → scopes; nil = not stated, empty = none needed
	Position   Position

	o           *Options
	names       []string // of the path parameters, in order
	links       []Link
	loose       *leaf    // where lenient servers find it
	path        []*param // in the same order
	query       []*param
	header      []*param
	cookie      []*param
	table       *operationNames
	credentials []string // query names that carry API keys
	body        *body
	channel     *Channel // that it opens
	grpc        *proto.Method
	declared    *Declared
	responses   map[int]*response // by status, by class (2 is 2XX), anyStatus
}

// A BodyKind tells a door how to feed a body.
type BodyKind uint8

// The kinds of body.
const (
	None       BodyKind = iota // the operation declares no body
	JSON                       // whole, parsed and validated
	Form                       // application/x-www-form-urlencoded: whole
	Multipart                  // multipart/form-data: whole
	Text                       // whole, as text
	Binary                     // may be streamed; only its size is known
	Undeclared                 // the operation has no such media type
	XML                        // whole, parsed and validated
)

// A Param is one parameter as sent. Raw and Value may alias the Check's memory
// or the body and are good until its Reset; Name is good for ever.
type Param struct {
	In       sallyport.In
	Name     string
	Raw      string
	Value    string // decoded once, as the upstream will
	Proven   bool   // its schema proves it harmless
	Declared bool
	Bad      bool // percent-encoding is broken; Value is Raw
}

// A Problem is one rule that a message breaks. It holds nothing out of the
// message but names and places.
type Problem struct {
	Place  sallyport.Place
	Rule   string // "parameter.missing", "schema.type", "json.syntax", …
	Detail string
}

// A Check collects what the checks of one exchange find. It is reused: Reset
// before each exchange. It belongs to one goroutine.
type Check struct {
	Problems     []Problem
	Params       []Param
	Doc          jsondoc.Doc // the JSON body last checked
	HasDoc       bool
	Action       string            // the first element of a SOAP envelope's body
	Files        []File            // of a multipart body
	Undocumented []sallyport.Place // query parameters and body properties that no schema names
	NewStatus    bool              // the answer's status is not declared
	Strays       []Stray           // members of the answer that no schema for their object names; of CheckAnswer
	NotChecked   []string          // what was not looked at, for people

	arena     []byte // decoded text that Params alias
	links     []link // beside Params
	found     []occurrence
	tape      jsondoc.Doc // values of parameters as a document
	owners    []int32     // beside tape.Nodes: the Param each came from
	byName    map[string]occurrence
	eval      schema.Evaluation
	direction schema.Direction
	scratch   []byte
	again     jsondoc.Doc // of AnswerHolds
	xml       xmldoc.Doc
	xmlText   []byte  // that Doc is over, when the body was XML
	xmlSeen   []uint8 // beside xml.Elements: 1 = in a list already, 2 = one of its name came before
	valid     xsd.Validation
	judged    bool // valid speaks of xml
	literals  []string
	crowded   bool
	lenient   bool // CheckAnswer is at it
}

// Reset forgets the findings and keeps the memory. Strings of Params are good
// until then; names in Problems and Undocumented are good for ever.
func (c *Check) Reset() {
	clear(c.Params)
	clear(c.Problems)
	clear(c.Undocumented)
	clear(c.NotChecked)
	c.Problems, c.Params, c.Undocumented, c.NotChecked = c.Problems[:0], c.Params[:0], c.Undocumented[:0], c.NotChecked[:0]
	c.links, c.arena = c.links[:0], c.arena[:0]
	c.Action = ""
	clear(c.Files)
	c.Files = c.Files[:0]
	clear(c.Strays)
	c.Strays = c.Strays[:0]
	c.again.Reset()
	c.xml.Reset()
	clear(c.literals)
	c.literals = c.literals[:0]
	if c.judged {
		c.valid.Reset()
		c.judged = false
	}
	if cap(c.xmlText) > maxKeptArena {
		c.xmlText = nil
	}
	c.HasDoc, c.NewStatus, c.crowded, c.direction = false, false, false, schema.Neither
	c.Doc.Reset()
	c.tape.Src = nil
	if cap(c.arena) > maxKeptArena {
		c.arena = nil
	}
	if cap(c.Doc.Nodes) > maxKeptNodes {
		c.Doc = jsondoc.Doc{}
	}
	if cap(c.again.Nodes) > maxKeptNodes {
		c.again = jsondoc.Doc{}
	}
}

// What a Check keeps between exchanges at most.
const (
	maxKeptArena = 1 << 20
	maxKeptNodes = 1 << 16
)

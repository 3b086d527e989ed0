package sallyport

import (
	"cmp"
	"net/netip"
	"time"
)

// An Exchange is the record of one request and its answer as a door saw it.
// Whoever holds it owns it: a door fills it, hands it over once, and touches it
// no more. Until observe.Redact has run it may hold secrets and must not be
// written, logged or published; from then on Redacted is true.
type Exchange struct {
	ID        string        `cbor:"1,keyasint"` // request id: 26 characters, sorts by time
	Time      time.Time     `cbor:"2,keyasint"` // when the request head was complete
	Duration  time.Duration `cbor:"3,keyasint"` // until the last byte of the answer
	Upstream  time.Duration `cbor:"4,keyasint,omitempty"`
	Door      string        `cbor:"5,keyasint"` // "gateway", "console", an adapter's name
	API       string        `cbor:"6,keyasint"` // "" = no API matched
	Template  string        `cbor:"7,keyasint,omitempty"`
	Declared  bool          `cbor:"8,keyasint,omitempty"` // Template comes from a specification
	Method    string        `cbor:"9,keyasint"`
	Host      string        `cbor:"10,keyasint,omitempty"`
	Path      string        `cbor:"11,keyasint,omitempty"` // as received, escaped
	Query     string        `cbor:"12,keyasint,omitempty"` // raw
	Proto     string        `cbor:"13,keyasint,omitempty"`
	TLS       bool          `cbor:"14,keyasint,omitempty"`
	Client    netip.Addr    `cbor:"15,keyasint,omitempty"`
	Principal Principal     `cbor:"16,keyasint,omitempty"`
	Status    int           `cbor:"17,keyasint"`           // what the client got; 0 = nothing, the connection ended, or Unseen
	Origin    int           `cbor:"18,keyasint,omitempty"` // what the upstream answered; 0 = it was not asked
	Instance  string        `cbor:"19,keyasint,omitempty"` // URL of the instance that answered
	Retries   int           `cbor:"20,keyasint,omitempty"`

	RequestHeader  []Field `cbor:"21,keyasint,omitempty"`
	ResponseHeader []Field `cbor:"22,keyasint,omitempty"`
	RequestBytes   int64   `cbor:"23,keyasint,omitempty"` // of the body
	ResponseBytes  int64   `cbor:"24,keyasint,omitempty"`

	// Samples of the bodies, bounded by the door and present only when the
	// recorder asked for them. observe.Redact takes what it needs and drops them.
	RequestBody  []byte `cbor:"-"`
	ResponseBody []byte `cbor:"-"`

	Decision Decision `cbor:"25,keyasint"`

	// What the specification does not know, found by the guard: names only.
	Undocumented []Place `cbor:"26,keyasint,omitempty"` // parameters and body properties
	NewStatus    bool    `cbor:"27,keyasint,omitempty"` // the answer's status is not declared

	// Where a body names its operations (GraphQL, JSON-RPC, SOAP): what stands in
	// the place of the HTTP method ("query", "mutation", "rpc"), and the keys of
	// the operations that the same request asks for besides.
	Verb string   `cbor:"41,keyasint,omitempty"`
	Also []string `cbor:"42,keyasint,omitempty"`
	Call string   `cbor:"43,keyasint,omitempty"` // the first element of a SOAP envelope's body, as sent

	Cost Cost `cbor:"44,keyasint,omitempty"` // what it took, as far as anybody knows

	// Filled by observe.
	Redacted bool        `cbor:"28,keyasint"`
	Classes  []DataClass `cbor:"29,keyasint,omitempty"` // kinds of sensitive data found in sampled bodies
	Shape    *Shape      `cbor:"30,keyasint,omitempty"` // the bodies as observed: names and types, no values
	Unseen   bool        `cbor:"46,keyasint,omitempty"` // Status is 0 because whoever recorded the request does not see answers
	Lesson   *Lesson     `cbor:"45,keyasint,omitempty"` // of sampled ones: what a learned specification needs besides
}

// Operation is the operation this exchange belongs to; Template is empty until
// a specification or discovery has named it.
func (x *Exchange) Operation() Operation {
	return Operation{API: x.API, Method: cmp.Or(x.Verb, x.Method), Template: x.Template, Declared: x.Declared}
}

// A Cost is what one exchange took of the upstream. Zero fields are unknown.
type Cost struct {
	CPU       time.Duration // CPU time, as the upstream reports it or as estimated
	Estimated bool          // CPU is an estimate, from the time that a slot was held
	Bytes     int64         // held or moved on its behalf, bodies included
	Rows      int64         // read or written, as the upstream reports
	Money     int64         // millionths of the unit of money that the limits speak of
	Units     float64       // request cost in the upstream's own unit (ORCA request_cost)
}

// A Field is one header line.
type Field struct {
	_     struct{} `cbor:",toarray"`
	Name  string
	Value string
}

// A Place is where in a message a value stands: a parameter's name, or the JSON
// pointer of a body value.
type Place struct {
	_    struct{} `cbor:",toarray"`
	In   In
	Name string
}

// String gives "query q", "body /items/0/name".
func (p Place) String() string {
	if p.Name == "" {
		return string(p.In)
	}
	return string(p.In) + " " + p.Name
}

// A DataClass is a kind of sensitive data found at a place, without the value.
type DataClass struct {
	_        struct{} `cbor:",toarray"`
	Class    string   // for example "email", "payment-card"
	Place    Place
	Response bool // found in the answer
}

// A Shape is what bodies looked like: per JSON pointer (array indexes as *) the
// JSON type seen.
type Shape struct {
	_        struct{} `cbor:",toarray"`
	Request  []Typed
	Response []Typed
}

// Typed is one place of a body and the type seen there.
type Typed struct {
	_       struct{} `cbor:",toarray"`
	Pointer string
	Type    string // "object", "array", "string", "integer", "number", "boolean", "null"
	Format  string // "uuid", "date-time", … when every character agreed
}

// A Lesson is what a specification can be learned from, besides the Shape:
// names, types, and words that many callers share. It holds no value of a person.
type Lesson struct {
	_              struct{} `cbor:",toarray"`
	Scheme         string   // of the Authorization field, in small letters: "bearer"
	Cookies        []string // names of the cookies that were sent
	RequestAbsent  []string // pointers of members that some object of the body lacked, and others had
	ResponseAbsent []string
	Words          []Word // values that may be of an enumeration
	Calls          []Call // what the body asks for by name
}

// A Word is a value that so many principals have sent or been sent that it is
// of nobody.
type Word struct {
	_        struct{} `cbor:",toarray"`
	Place    Place
	Response bool
	Value    string
}

// A Call is an operation that a body names: a GraphQL field, a JSON-RPC method,
// a SOAP action, a gRPC method.
type Call struct {
	_         struct{} `cbor:",toarray"`
	Kind      string   // "query", "mutation", "subscription", "json-rpc", "soap", "grpc"
	Name      string
	Arguments []Typed  // "/id", its type as used; of a variable, as declared: "ID!"
	Fields    []string // selected below it: "/owner/name"
}

// A Sighting is what discovery concludes from traffic: an operation that no
// specification declares, with the template it folded the paths into and why.
type Sighting struct {
	ID        string    `cbor:"1,keyasint"` // id of the exchange that led to it
	Time      time.Time `cbor:"2,keyasint"`
	API       string    `cbor:"3,keyasint"`
	Method    string    `cbor:"4,keyasint"`
	Template  string    `cbor:"5,keyasint"`
	Path      string    `cbor:"6,keyasint"` // the path that was folded
	Status    int       `cbor:"7,keyasint"`
	Reasons   []string  `cbor:"8,keyasint"`           // one per folded segment
	Replaces  []string  `cbor:"9,keyasint,omitempty"` // earlier templates that this one swallows
	Origin    int       `cbor:"10,keyasint,omitempty"`
	Principal Principal `cbor:"11,keyasint,omitempty"`
	Refused   bool      `cbor:"12,keyasint,omitempty"` // the guard turned it away

	// Of the exchange that led to it, so that the inventory can count it.
	Duration      time.Duration `cbor:"13,keyasint,omitempty"`
	RequestBytes  int64         `cbor:"14,keyasint,omitempty"`
	ResponseBytes int64         `cbor:"15,keyasint,omitempty"`
	TLS           bool          `cbor:"16,keyasint,omitempty"`
	Classes       []DataClass   `cbor:"17,keyasint,omitempty"`
	Shape         *Shape        `cbor:"18,keyasint,omitempty"`
	Parameters    []Place       `cbor:"19,keyasint,omitempty"` // names of the query parameters
	Unseen        bool          `cbor:"20,keyasint,omitempty"` // whether there was an answer is not known
}

// An Event is one message of the stream: a batch of records of one kind. A
// batch is acknowledged whole; a consumer remembers its sequence number and so
// counts each record exactly once.
type Event struct {
	Exchanges []Exchange `cbor:"1,keyasint,omitempty"`
	Sightings []Sighting `cbor:"2,keyasint,omitempty"`

	// Source is the sequence of the event of exchanges that Sightings come from.
	// It rises; an event whose Source has been counted is a repetition.
	Source uint64 `cbor:"3,keyasint,omitempty"`
}

// Subjects of the stream.
const (
	SubjectExchange = "sallyport.exchange"
	SubjectSighting = "sallyport.sighting"
	SubjectOriginal = "sallyport.original" // sealed: nobody reads it without the owner's key
)

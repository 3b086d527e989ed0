// Package sallyport holds the nouns that every room speaks: the API and its
// operations, the instance that serves them, the principal who calls, the
// exchange that records one request with its answer, the decision taken about
// it, and the event in which such records travel. In comes nothing; out go
// plain values. It imports no other package of this module, does no I/O and
// reads no clock.
package sallyport

import (
	"net/netip"
	"time"
)

// An API is a named set of operations behind one match of host and path, with
// the people who answer for it. Name is its identity everywhere: in the
// configuration, in events, in tables and on screen.
type API struct {
	Name       string
	Hosts      []string // host names served, lower case; empty = any
	Path       string   // path prefix served, "" or "/payments"
	Owner      Owner
	Department string
	Exposure   Exposure
}

// Owner is who answers for an API.
type Owner struct {
	Team    string
	Contact string
	Deputy  string
}

// Exposure says from where an API is meant to be reached.
type Exposure string

// The declared exposures; the zero value means nobody has said. ThirdParty is an
// API of others, which we call.
const (
	External   Exposure = "external"
	Partner    Exposure = "partner"
	Internal   Exposure = "internal"
	ThirdParty Exposure = "third-party"
)

// An Operation is one method on one path template of an API, for example
// GET /v1/items/{id}. Template includes the API's path prefix.
type Operation struct {
	API      string
	Method   string
	Template string
	Name     string // operationId, when the specification gives one
	Declared bool   // false: seen in traffic, in no specification
}

// Key is the operation's identity inside its API: "GET /v1/items/{id}".
func (o Operation) Key() string { return o.Method + " " + o.Template }

// Admission is the state of an instance at the gate.
type Admission string

// The states of an instance. Only an admitted one carries users' requests.
const (
	Held        Admission = "held"
	Testing     Admission = "testing"
	Admitted    Admission = "admitted"
	Quarantined Admission = "quarantined"
	Retired     Admission = "retired"
)

// An Instance is one address that serves an API.
type Instance struct {
	API       string
	URL       string // scheme://host:port, the identity inside the API
	Address   netip.AddrPort
	Admission Admission
	Reason    string // why it is in that state, for people
	Boot      string // which start of it was admitted, as it says itself; "" = unknown
	Healthy   bool
	Since     time.Time // when Admission last changed
}

// A Principal is who a request was made for, as proven by a credential. The
// zero value is an anonymous caller.
type Principal struct {
	Kind    string `cbor:"1,keyasint,omitempty"` // "oidc", "key", "certificate", "signature"; "" = anonymous
	Issuer  string `cbor:"2,keyasint,omitempty"`
	Subject string `cbor:"3,keyasint,omitempty"`
	Client  string `cbor:"4,keyasint,omitempty"` // client_id or azp of the token
	Actor   string `cbor:"5,keyasint,omitempty"` // who acts for the subject, by the token's act claim (RFC 8693); never who it is for
	Binding string `cbor:"6,keyasint,omitempty"` // what the token is bound to: "dpop", "certificate", "dpop+certificate"; "" = to nothing
}

// Anonymous reports whether no credential proved the caller.
func (p Principal) Anonymous() bool { return p.Kind == "" }

// String is the principal as shown to people and used as a counting key.
func (p Principal) String() string {
	switch {
	case p.Kind == "":
		return "anonymous"
	case p.Issuer == "":
		return p.Kind + ":" + p.Subject
	}
	return p.Kind + ":" + p.Issuer + "#" + p.Subject
}

// In names the part of a message in which a value stands.
type In string

// The parts of a message.
const (
	InPath   In = "path"
	InQuery  In = "query"
	InHeader In = "header"
	InCookie In = "cookie"
	InBody   In = "body"
	InMethod In = "method"
	InTarget In = "target" // the request target as a whole
)

package guard

import (
	"net/http"
	"net/netip"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard/authn"
	"sallyport.dev/guard/inspect"
	"sallyport.dev/guard/limit"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

// A Request is the head of a request as a door received it. The guard keeps
// references to it until End and never changes it; strings and header values
// must stay valid for as long as the record that End returns.
type Request struct {
	ID            string
	Door          string // "gateway", "console", an adapter's name
	Method        string
	Host          string // as received, with or without a port
	Path          string // escaped, without the query
	RawQuery      string
	Sent          string // the query as it came, where the door has taken parameters of its own out of RawQuery; "" = RawQuery
	Proto         string
	TLS           bool
	Header        http.Header
	Client        netip.Addr   // who asks, once trusted proxies have been looked through
	Peer          netip.Addr   // the other end of the connection
	Certificate   *Certificate // the client's, verified by the door; nil = none
	ContentLength int64        // -1 = unknown (chunked)
	As            Caller       // who is asked for, where a door asks on behalf of a request that has been let in; zero: look at the credentials
	Upgrade       bool         // the connection changes its protocol after the answer
}

// Config is what a Program is compiled from.
type Config struct {
	Name     string // of the program, as decisions name it
	APIs     []API
	Keys     KeySource       // nil: tokens cannot be verified
	Counters Counters        // nil: counters of its own, in memory
	Tokens   *authn.Cache    // verified tokens; nil: a cache of its own. Sharing one keeps it warm across programs.
	Proofs   *authn.Proofs   // proofs of possession seen, and nonces; nil: ones of its own. Share one across programs, or proofs can be used again after a change.
	Forecast *limit.Forecast // what operations have cost; nil: one of its own
	Tallies  *limit.Tallies  // how often limits turned somebody away; nil: ones of its own
	Inspect  *inspect.Engine // nil: nothing is inspected, and each decision says so
}

// An API is one guarded API: who it is, what it declares, what is demanded.
type API struct {
	sallyport.API
	Spec   *spec.Set // nil: no specification is known
	Policy policy.API
	// Documents are the texts of the GraphQL documents that the policy's
	// graphql.documents names.
	Documents []string
}

// A KeySource gives the public keys of issuers from memory: *rsa.PublicKey,
// *ecdsa.PublicKey or ed25519.PublicKey. As long as a key set keeps a key, the
// same pointer comes back. kid "" asks for the only key that fits alg. It is
// called on each request and must be fast and safe for concurrent use.
type KeySource = authn.KeySource

// A Certificate is what the guard knows of a client's certificate; authn.NewCertificate makes it.
type Certificate = authn.Certificate

// Counters is where limits are counted; limit.Memory is one, and counters shared
// by several nodes are another. It must be safe for concurrent use. Counters
// that have a method Alone() bool say by it that those of other nodes cannot be
// reached; decisions then name it among what was not looked at.
type Counters = limit.Counters

// Verb says what a door does next.
type Verb uint8

// The verbs.
const (
	Proceed Verb = iota
	Fetch        // fetch what Step.Fetch names, then Resume
	Refuse       // answer with Step.Refusal; no further step but End
	// Rewrite: answer with Step.Refusal in the place of the upstream's answer,
	// after Step.Wait; no further step but End. Only Response and ResponseBody
	// say it.
	Rewrite
)

// BodyPlan says what the session wants of a body.
type BodyPlan uint8

// The plans. The same hold for a request's body (in the step of Begin) and
// for an answer's (in the step of Response).
const (
	// BodyNone: there is none, or none is wanted; forward what comes.
	BodyNone BodyPlan = iota
	// BodyWhole: hold the body back, read it whole, hand it over, and forward it
	// when the step says so. Of a body that is longer than Step.BodyLimit hand
	// over the first BodyLimit+1 bytes.
	BodyWhole
	// BodySample: of a request, read the first BodyLimit bytes, hand them over,
	// then stream the rest. Of an answer, keep the first BodyLimit bytes (one
	// more, when there are more) while it passes and hand them over at its end.
	BodySample
	// BodyStream: forward it as it comes; the session does not look at it.
	BodyStream
	// BodyMessages: the body is a stream of gRPC messages. Hand each to Message
	// before it is passed on, and the stream's end to MessagesEnd. Of a message
	// longer than Step.BodyLimit hand over none, but frame.ErrTooLarge to
	// MessagesEnd. Both directions may run at the same time: the door sees to
	// it that one of them is in the session at once.
	BodyMessages
	// BodyForm: the body is a form that is too large to be held back. Hand what
	// comes of it to FormBytes, and forward what that gives back; at its end call
	// FormEnd. A refusal ends the request that has begun upstream: it must not
	// look complete. A door that cannot do so treats it as BodyStream.
	BodyForm
)

// A Step is what a door does next.
type Step struct {
	Verb      Verb
	Body      BodyPlan
	BodyLimit int64
	Fetch     FetchKey
	Refusal   *Refusal   // set when Verb is Refuse or Rewrite; shared, not to be changed
	Head      []HeadEdit // of Response, and of ResponseBody with Replace: changes to the answer's head, unless it is replaced
	// Replace is, of RequestBody, the body decoded: a door forwards it in place of
	// the one handed over, without the fields that speak of that one's bytes
	// (Content-Encoding, digests).
	Replace  []byte        // of ResponseBody: the body to send in place of the one handed over; nil = that one
	Wait     time.Duration // of Rewrite: how long to hold the answer back
	Deadline time.Duration // of the last step of a gRPC request's head: how long the call may take; zero = no bound
}

// A HeadEdit drops one header of an answer or, with a Value, sets it.
type HeadEdit struct{ Name, Value string }

// FetchKey names what is not in memory: the issuer's key KeyID or, when Token is
// set, what the issuer says about that opaque token. A token is a secret: it is
// sent to its issuer and written nowhere.
type FetchKey struct{ Issuer, KeyID, Token string }

// A Cost is what one exchange took of the upstream.
type Cost = sallyport.Cost

// An Outcome is what the door knows when the exchange is over.
type Outcome struct {
	Status        int // what the client got; 0 = nothing
	Origin        int // what the upstream answered; 0 = it was not asked
	Instance      string
	Retries       int
	Upstream      time.Duration
	RequestBytes  int64
	ResponseBytes int64
	// Samples of the bodies for the recorder; End hands them on as they are.
	RequestBody, ResponseBody []byte
	// Cost is what answering took, as far as the door knows.
	Cost Cost
	// Relief is what was done so that the upstream had less to do, or the client
	// to wait: "cache.hit", "coalesced", …
	Relief []string
	// Reason is the door's own, when it refused or could not forward
	// (StageRequest, StageForward).
	Reason *sallyport.Reason
}

// Package policy says what an organisation demands of an API and of each of its
// operations: in which mode each check runs, who may call, how often, within
// which bounds, and which exceptions were granted, by whom and until when.
//
// In come plain values as they stand in the configuration file; out go every
// mistake in them (Check), the demand that holds for one operation (For), and
// the difference between two policies in words (Diff). It never looks at a
// request, reads no clock and does no I/O, but for looking up time zones.
package policy

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	sallyport "sallyport.dev"
)

// An API is what is demanded of one API. The zero value observes everything,
// asks for no credential and sets no limit.
type API struct {
	// Mode is the mode of every check that nothing below sets; "" is observe.
	Mode sallyport.Mode `yaml:"mode" enum:"observe|enforce|off" doc:"Mode of every check that nothing below sets. Default observe."`
	// Checks sets the mode of single stages.
	Checks map[sallyport.Stage]sallyport.Mode `yaml:"checks" doc:"Mode of single stages: identify, limit, authenticate, authorise, validate, inspect."`
	Auth   Auth                               `yaml:"auth" doc:"Who may call."`
	// Rules must all be true for a request to be authorised.
	Rules  []Rule  `yaml:"rules" doc:"Predicates in CEL that must be true for a request to be authorised."`
	Limits []Limit `yaml:"limits" doc:"How often something may happen, and how much of something may be used."`
	// LimitHeaders says which answers carry the RateLimit fields of the IETF.
	LimitHeaders LimitHeaders `yaml:"limit_headers" enum:"refused|always|off" doc:"Which answers carry RateLimit and RateLimit-Policy: those refused by a limit, all, or none. Default refused."`
	Bounds       Bounds       `yaml:"bounds" doc:"Sizes within which a request is looked at."`
	// Shadow says what happens to a request for an operation that the
	// specification does not declare.
	Shadow Shadow `yaml:"shadow" enum:"observe|refuse" doc:"What happens to operations that no specification declares. Default observe."`
	// Undocumented says what happens to a parameter or body property that the
	// specification does not declare; "" records it.
	Undocumented Shadow `yaml:"undocumented" enum:"observe|refuse" doc:"What happens to parameters and body properties that no specification declares. Default observe."`
	// Answers is what is demanded of what the upstream answers.
	Answers Answers `yaml:"answers" doc:"What is demanded of answers: a mode, or what happens to each kind of finding."`
	// Errors says what becomes of the upstream's errors, and of what the head
	// of any of its answers gives away.
	Errors   Errors   `yaml:"errors" doc:"What becomes of errors that the upstream answers with."`
	Sideload Sideload `yaml:"sideload" doc:"Related resources that may be put into answers."`
	// Credentials say what requests carry to the upstreams about who calls.
	Credentials Credentials       `yaml:"credentials" doc:"What requests carry to the upstreams: credentials of the gateway's own, and who calls."`
	Operations  []OperationDemand `yaml:"operations" doc:"Demands of single operations."`
	Exceptions  []Exception       `yaml:"exceptions" doc:"Findings that are recorded but not acted on."`
	GraphQL     GraphQL           `yaml:"graphql" doc:"How GraphQL requests are treated, where spec holds a GraphQL schema."`
	JSONRPC     JSONRPC           `yaml:"jsonrpc" doc:"Where JSON-RPC 2.0 (and MCP) is served, so that its methods are operations."`
	GRPC        GRPC              `yaml:"grpc" doc:"How gRPC and gRPC-Web calls are treated, where spec holds Protocol Buffers descriptions or reflection is asked."`
	SOAP        SOAP              `yaml:"soap" doc:"How calls of SOAP services are treated, where spec holds WSDL documents."`
	Files       Files             `yaml:"files" doc:"What is asked of files in multipart/form-data."`
	// Load is how its upstream is kept from doing more than it can.
	Load      Load      `yaml:"load" doc:"How the upstream is kept from doing more than it can."`
	WebSocket WebSocket `yaml:"websocket" doc:"What is asked of WebSocket connections and their messages."`
	Cache     Cache     `yaml:"cache" doc:"Which answers may be given again without asking the upstream. Default none."`
}

// GraphQL is how GraphQL requests are treated. Zero bounds take defaults.
type GraphQL struct {
	Path          string `yaml:"path" doc:"Path that the schema is served at. Default /graphql."`
	Introspection Shadow `yaml:"introspection" enum:"observe|refuse" doc:"What happens to questions about the schema. Default: refused, but for APIs whose exposure is internal."`
	Upgrade       Over   `yaml:"upgrade" enum:"refuse|check|pass" doc:"What happens to GraphQL over WebSocket (graphql-transport-ws): refused, its operations checked like any other, or passed unlooked at. Default refuse."`
	Batch         int    `yaml:"batch" doc:"Operations in one request at most. Default 1."`
	// Persisted says which queries may be named by their hash.
	Persisted  Persisted `yaml:"persisted" enum:"off|automatic|only" doc:"Queries named by their SHA-256: none, those seen before, or only those of documents and no others. Default off."`
	Documents  []string  `yaml:"documents" doc:"Files with the documents that persisted: only allows: .graphql, or JSON that maps hashes to texts."`
	Bytes      int       `yaml:"bytes" doc:"Bytes of a document. Default 65536."`
	Tokens     int       `yaml:"tokens" doc:"Tokens of a document. Default 4000."`
	Depth      int       `yaml:"depth" doc:"Levels of selections. Default 15."`
	Breadth    int       `yaml:"breadth" doc:"Fields of one selection, fragments put in. Default 200."`
	Fields     int       `yaml:"fields" doc:"Fields of a document's operations, fragments put in. Default 2000."`
	Aliases    int       `yaml:"aliases" doc:"Aliases of a document. Default 30."`
	Roots      int       `yaml:"roots" doc:"Root fields of an operation. Default 20."`
	Directives int       `yaml:"directives" doc:"Directives of a document. Default 50."`
	Cost       int64     `yaml:"cost" doc:"Cost of an operation: objects weigh 1, mutations 10, lists as many times as they are long. Default 10000."`
	List       int       `yaml:"list" doc:"Length of a list that no argument tells, for the cost. Default 10."`
}

// Persisted says which queries may be named by their hash.
type Persisted string

// The treatments of persisted queries. The zero value is PersistedOff.
const (
	PersistedOff       Persisted = "off"
	PersistedAutomatic Persisted = "automatic"
	PersistedOnly      Persisted = "only"
)

// JSONRPC is where JSON-RPC 2.0 is served. Without a path it is not.
type JSONRPC struct {
	Path    string   `yaml:"path" doc:"Path that it is served at."`
	Batch   int      `yaml:"batch" doc:"Calls in one request at most. Default 1."`
	Methods []string `yaml:"methods" doc:"Methods that there are, each an operation \"rpc <method>\"; MCP tools as tools/call/<tool>. None = any method, none of them an operation of its own."`
}

// Files is what is asked of files in multipart/form-data.
type Files struct {
	Types      []string `yaml:"types" doc:"Media types that a file's content may have, such as image/png or image/*, where the specification's encoding names none. Default any."`
	Size       int64    `yaml:"size" doc:"Bytes of one file. Default the bound of the body."`
	Count      int      `yaml:"count" doc:"Files in one request. Default 32."`
	Stream     Switch   `yaml:"stream" enum:"on|off" doc:"Whether forms beyond the bound of the body, and of unknown length, are read as they stream: fields whole within that bound, files by their beginnings. Default off: they are refused, or passed, by oversize."`
	Extensions Over     `yaml:"double_extensions" enum:"refuse|pass" doc:"What happens to names such as report.pdf.exe or shell.php.png. Default refuse."`
}

// An OperationDemand changes what is demanded of one operation.
type OperationDemand struct {
	// Operation is "GET /items/{id}" or an operationId.
	Operation string                             `yaml:"operation" doc:"\"GET /items/{id}\" or an operationId."`
	Mode      sallyport.Mode                     `yaml:"mode" enum:"observe|enforce|off" doc:"Mode of every check that nothing below sets. Default observe."`
	Checks    map[sallyport.Stage]sallyport.Mode `yaml:"checks" doc:"Mode of single stages: identify, limit, authenticate, authorise, validate, inspect."`
	// Scopes are demanded besides those of the specification.
	Scopes    []string  `yaml:"scopes" doc:"Scopes demanded."`
	Anonymous Anonymous `yaml:"anonymous" enum:"never|always" doc:"When a request without a credential is let through. Default: where the specification asks for none."`
	// ACR and MaxAge say how, and how lately, the user must have authenticated (RFC 9470).
	ACR    []string      `yaml:"acr" doc:"Authentication contexts (acr), one of which the token must show."`
	MaxAge time.Duration `yaml:"max_age" doc:"How long ago the user may have authenticated (auth_time)."`
	// Rules are those of this operation, besides those of the API.
	Rules  []Rule  `yaml:"rules" doc:"Predicates in CEL that must be true for a request to be authorised, besides those of the API."`
	Limits []Limit `yaml:"limits" doc:"How often something may happen, and how much of something may be used."`
	// Price is what one answered request costs, for limits of money, where the
	// upstream does not report it.
	Price float64 `yaml:"price" doc:"What one answered request costs, for limits of money, where the upstream does not report it."`
	// Errors changes what holds for errors of this operation.
	Errors Errors `yaml:"errors" doc:"What becomes of errors that the upstream answers with."`
	// Sensitive are kinds of sensitive data that its answers may hold.
	Sensitive []string `yaml:"sensitive" doc:"Kinds of sensitive data that its answers may hold, such as email or payment-card."`
	// Login says that people sign in here: all failures are answered alike.
	Login bool `yaml:"login" doc:"People sign in here: all failures are answered alike in status, body, size and time class."`
	// Cache changes which answers of this operation are given again.
	Cache Cache `yaml:"cache" doc:"Which answers may be given again without asking the upstream."`
}

// Errors is what becomes of the upstream's errors: in enforce mode server
// errors, and others that give something away, are replaced by a problem
// document (RFC 9457) with the request id. The zero value follows the API's mode.
type Errors struct {
	Mode   sallyport.Mode `yaml:"mode" enum:"observe|enforce|off" doc:"Mode of the check. Default: the mode of the API or operation."`
	Pass   []int          `yaml:"pass" doc:"Statuses whose answers pass as they are, whatever they say."`
	Status []StatusAs     `yaml:"status" doc:"Statuses that a replaced answer gets in place of the upstream's."`
	// Bound is how many bytes of an error are held and looked at; a longer one
	// is replaced without looking.
	Bound int64 `yaml:"bound" doc:"Bytes of an error that are looked at; a longer one is replaced unseen. Default 64 KiB."`
	// TimeClass is the step of time at which failed sign-ins are answered.
	TimeClass time.Duration `yaml:"time_class" doc:"Failed sign-ins are answered at whole multiples of it. Default 250ms."`
}

// StatusAs maps one status to another.
type StatusAs struct {
	From int `yaml:"from" need:"1" doc:"Status of the upstream."`
	To   int `yaml:"to" need:"1" doc:"Status that the client gets."`
}

// Over gives e with what it leaves open taken from below.
func (e Errors) Over(below Errors) Errors {
	out := Errors{Mode: cmp.Or(e.Mode, below.Mode), Pass: e.Pass, Status: e.Status, Bound: cmp.Or(e.Bound, below.Bound), TimeClass: cmp.Or(e.TimeClass, below.TimeClass)}
	if out.Pass == nil {
		out.Pass = below.Pass
	}
	if out.Status == nil {
		out.Status = below.Status
	}
	return out
}

// DefaultErrors fills the zero fields of Errors, but for the mode.
var DefaultErrors = Errors{Bound: 64 << 10, TimeClass: 250 * time.Millisecond}

// Auth is who may call. With neither issuers nor keys nobody is asked.
type Auth struct {
	OIDC   []OIDC `yaml:"oidc" doc:"Issuers of tokens."`
	Keys   []Key  `yaml:"keys" doc:"API keys, by their hashes."`
	KeyIn  KeyIn  `yaml:"key_in" doc:"Where API keys are presented. Default header X-API-Key."`
	Pepper string `yaml:"key_pepper" doc:"Secret of the hashes of the form hmac-sha256:…, as env:NAME or file:PATH."` // secret of hashes of the form hmac-sha256:…, resolved before Compile
	// Anonymous says when a request without a credential is let through.
	Anonymous Anonymous     `yaml:"anonymous" enum:"never|always" doc:"When a request without a credential is let through. Default: where the specification asks for none."`
	Skew      time.Duration `yaml:"skew" doc:"How far clocks may differ. Default 1m."` // of clocks; zero is one minute
	// Binding says which tokens are accepted by how they are bound to their
	// holder; "" accepts bound and unbound ones. What a token is bound to must be shown whatever this says.
	Binding Binding `yaml:"binding" enum:"dpop|certificate|any" doc:"Accept only tokens bound to their holder: by DPoP, by certificate, or by any of them. Default: unbound tokens too."`
	DPoP    DPoP    `yaml:"dpop" doc:"Proofs of possession (RFC 9449)."`
	// Certificates are the callers known by their TLS client certificate.
	Certificates []Certificate `yaml:"certificates" doc:"Callers known by their TLS client certificate; needs tls.client_ca."`
	// Signatures are the callers known by their signatures on requests.
	Signatures []Signature `yaml:"signatures" doc:"Callers known by their signatures on requests: HTTP message signatures (RFC 9421) and webhooks."`
	// Failures bounds, per client, credentials that fail their verification;
	// the zero value is 20 a minute.
	Failures Rate `yaml:"failures" doc:"Credentials of one client that may fail. Default 20/min."`
}

// Enabled reports whether any credential could be accepted.
func (a Auth) Enabled() bool {
	return len(a.OIDC) > 0 || len(a.Keys) > 0 || len(a.Certificates) > 0 || len(a.Signatures) > 0
}

// AsksCertificate reports whether clients are to be asked for a certificate.
func (a Auth) AsksCertificate() bool {
	return len(a.Certificates) > 0 || a.Binding == ByCertificate || a.Binding == ByAny
}

// Binding is how tokens must be bound to their holder.
type Binding string

// The bindings that may be demanded. The zero value demands none.
const (
	ByDPoP        Binding = "dpop"        // to a key of the holder's (RFC 9449)
	ByCertificate Binding = "certificate" // to the holder's certificate (RFC 8705)
	ByAny         Binding = "any"
)

// DPoP is what is demanded of proofs of possession.
type DPoP struct {
	Algorithms []string      `yaml:"algorithms" doc:"Signature algorithms of proofs. Default ES256, ES384, ES512, PS256, PS384, PS512, EdDSA, Ed25519."`
	Window     time.Duration `yaml:"window" doc:"How far a proof's iat may be from now. Default 1m, at most 5m."`
	Nonce      bool          `yaml:"nonce" doc:"Demand a nonce of ours in each proof."`
	Origins    []string      `yaml:"origins" doc:"scheme://host[:port] as clients see this API. Default: the request's own scheme and host."`
}

// A Certificate is a caller known by one name in a verified client certificate.
type Certificate struct {
	ID      string   `yaml:"id" need:"1" doc:"Its name."`
	URI     string   `yaml:"uri" doc:"URI in the certificate, such as a SPIFFE ID; a trailing /* stands for all below."`
	DNS     string   `yaml:"dns" doc:"DNS name in the certificate."`
	Subject string   `yaml:"subject" doc:"Distinguished name of the certificate, as RFC 2253 writes it."`
	Scopes  []string `yaml:"scopes" doc:"Scopes that it has."`
}

// OIDC is one issuer of tokens and what its tokens must say.
type OIDC struct {
	Issuer     string   `yaml:"issuer" need:"1" doc:"URL of the issuer, exactly as its tokens say it."`
	Audience   string   `yaml:"audience" need:"1" doc:"Audience that its tokens must be made for."`
	Algorithms []string `yaml:"algorithms" doc:"Signature algorithms allowed. Default: RS, PS, ES and EdDSA."` // empty: all of Algorithms()
	Types      []string `yaml:"types" doc:"typ headers allowed. Default: none, JWT and at+jwt."`               // typ headers accepted; empty: none, JWT and at+jwt
	// Profile rfc9068 demands what RFC 9068 says an access token has: typ at+jwt
	// and the claims iss, exp, aud, sub, client_id, iat and jti.
	Profile Profile  `yaml:"profile" enum:"rfc9068" doc:"rfc9068 demands typ at+jwt and all claims that RFC 9068 requires. Default: not."`
	Clients []string `yaml:"clients" doc:"client_id or azp of the clients whose tokens are accepted. Default any."`
	// Introspection says how the issuer is asked about opaque tokens (RFC 7662).
	Introspection Introspection `yaml:"introspection" doc:"How the issuer is asked about opaque tokens (RFC 7662). Default: opaque tokens are refused."`
}

// Introspection is how an issuer is asked about tokens that say nothing themselves.
type Introspection struct {
	ClientID string `yaml:"client_id" doc:"Who asks."`
	Secret   string `yaml:"secret" doc:"Its secret, as env:NAME or file:PATH."` // resolved before it is used
	URL      string `yaml:"url" doc:"Introspection endpoint. Default the one that the issuer's discovery document names."`
	// Cache is how long an answer holds: a revoked token may pass for as long.
	Cache time.Duration `yaml:"cache" doc:"How long an answer holds, and so how long a revoked token may still pass. Default 30s, at most 5m."`
	// Timeout bounds one question.
	Timeout time.Duration `yaml:"timeout" doc:"How long the issuer may take to answer. Default 2s, at most 3s."`
	// AnyAudience accepts answers that name no audience; what names one must name ours.
	AnyAudience bool `yaml:"any_audience" doc:"Accept answers that name no audience at all."`
	// JWT has the issuer asked about its JWTs too.
	JWT Switch `yaml:"jwt" enum:"on|off" doc:"Ask about the issuer's tokens that are JWTs too, once they are verified, so that a revoked one passes no longer than cache. Default off."`
}

// Enabled reports whether the issuer may be asked.
func (i Introspection) Enabled() bool { return i.ClientID != "" }

// WithDefaults fills what is not given.
func (i Introspection) WithDefaults() Introspection {
	i.Cache = cmp.Or(i.Cache, 30*time.Second)
	return i
}

// A Profile is a standard that an issuer's tokens must follow to the letter.
type Profile string

// RFC9068 is the profile of JWT access tokens.
const RFC9068 Profile = "rfc9068"

// A Key is one API key, known by its hash only.
type Key struct {
	ID      string    `yaml:"id" need:"1" doc:"Its name."`
	Hash    string    `yaml:"hash" need:"1" doc:"sha256:<hex> or hmac-sha256:<hex> of the key."` // sha256:<hex> or hmac-sha256:<hex>
	Subject string    `yaml:"subject" doc:"Who the key stands for. Default its id."`
	Scopes  []string  `yaml:"scopes" doc:"Scopes demanded."`
	Expires time.Time `yaml:"expires" doc:"When it ends."` // zero: never
}

// KeyIn is where API keys are presented.
type KeyIn struct {
	In   sallyport.In `yaml:"in" enum:"header|query|cookie" doc:"Where: header, query or cookie."` // header, query or cookie; "" is header
	Name string       `yaml:"name" doc:"Name of the header, parameter or cookie."`                 // "" is X-API-Key
}

// Anonymous says when a request without a credential is let through.
type Anonymous string

// The answers to an anonymous request. The zero value is ByContract.
const (
	ByContract Anonymous = ""       // where the specification says that the operation needs no credential
	Never      Anonymous = "never"  // whatever the specification says
	Always     Anonymous = "always" // a credential is checked when it is presented
)

// Shadow is what happens to something that no specification declares.
type Shadow string

// The ways to treat what no specification declares. The zero value is Record.
const (
	Record Shadow = "observe"
	Refuse Shadow = "refuse"
)

// A Rate is a count per window of time, written "100/min".
type Rate struct {
	Count  int
	Window time.Duration
}

var units = map[string]time.Duration{
	"s": time.Second, "sec": time.Second, "second": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute,
	"h": time.Hour, "hour": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour,
}

// ParseRate reads "100/min", "5/s", "1000/h", "20/10s".
func ParseRate(s string) (Rate, error) {
	bad := fmt.Errorf("rate %q: want a count and a window, such as 100/min, 5/s or 20/10s", s)
	count, window, ok := strings.Cut(strings.TrimSpace(s), "/")
	if !ok {
		return Rate{}, bad
	}
	n, err := strconv.Atoi(strings.TrimSpace(count))
	if err != nil || n < 1 || n > math.MaxInt32 {
		return Rate{}, bad
	}
	d, ok := parseWindow(window)
	if !ok {
		return Rate{}, bad
	}
	return Rate{n, d}, nil
}

func parseWindow(s string) (time.Duration, bool) {
	s = strings.TrimSpace(s)
	if d, ok := units[s]; ok {
		return d, true
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d >= time.Millisecond && d <= 366*24*time.Hour
}

// windowWord writes a window as parseWindow reads it.
func windowWord(d time.Duration) string {
	for _, u := range []string{"s", "min", "h", "day"} {
		if units[u] == d {
			return u
		}
	}
	return d.String()
}

// UnmarshalText reads what ParseRate reads.
func (r *Rate) UnmarshalText(b []byte) (err error) {
	*r, err = ParseRate(string(b))
	return err
}

// MarshalText writes what ParseRate reads.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

func (r Rate) String() string {
	if r.Count == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%s", r.Count, windowWord(r.Window))
}

// Bounds are the sizes within which a request is looked at, and what happens
// beyond them. Zero fields take the value of DefaultBounds.
type Bounds struct {
	Body     int64 `yaml:"body" doc:"Bytes of a request body that is read whole. Default 1 MiB."` // bytes of a request body that is read whole
	Answer   int64 `yaml:"answer" doc:"Bytes of an answer that are looked at. Default 256 KiB."`  // bytes of an answer's body that are looked at
	Sample   int64 `yaml:"sample" doc:"Bytes looked at of a body that streams. Default 16 KiB."`  // bytes looked at of a body that streams
	Oversize Over  `yaml:"oversize" enum:"refuse|pass" doc:"What happens to a body beyond the bound. Default refuse."`
	// Encoded says what happens to a request body with a Content-Encoding,
	// which nobody here can read.
	Encoded Over `yaml:"encoded" enum:"refuse|decode|pass" doc:"What happens to a body with a Content-Encoding: refused, decoded (gzip, deflate, zstd), checked and forwarded plain, or passed unlooked at. Default refuse."`
}

// Over is what happens to what cannot be looked at.
type Over string

// The answers to what cannot be looked at. The zero value is RefuseIt.
const (
	RefuseIt Over = "refuse"
	PassIt   Over = "pass"
	DecodeIt Over = "decode" // of encoded bodies
	CheckIt  Over = "check"  // of GraphQL over WebSocket
)

// DefaultBounds are the bounds used where a policy gives none.
var DefaultBounds = Bounds{Body: 1 << 20, Answer: 256 << 10, Sample: 16 << 10, Oversize: RefuseIt, Encoded: RefuseIt}

// WithDefaults fills the fields that are zero.
func (b Bounds) WithDefaults() Bounds {
	d := DefaultBounds
	return Bounds{
		Body: cmp.Or(b.Body, d.Body), Answer: cmp.Or(b.Answer, d.Answer), Sample: cmp.Or(b.Sample, d.Sample),
		Oversize: cmp.Or(b.Oversize, d.Oversize), Encoded: cmp.Or(b.Encoded, d.Encoded),
	}
}

// An Exception spares one finding from being acted on: it is still recorded,
// with the exception's ID. Owner, reason and expiry are demanded of each.
type Exception struct {
	ID string `yaml:"id" need:"1" doc:"Its name."`
	// Rule is a rule's name, or one ending in ".*" for a family.
	Rule      string    `yaml:"rule" need:"1" doc:"Rule that is spared, or a family such as sqli.*."`
	Operation string    `yaml:"operation" doc:"\"GET /items/{id}\" or an operationId."`                                                     // "GET /items/{id}", an operationId, or "" for all
	Place     string    `yaml:"place" doc:"Place that it is spared at, such as \"query q\" or \"body /items/*/name\". Default everywhere."` // "query q", "body /a/*/b" (* is one segment), or "" for all
	Owner     string    `yaml:"owner" need:"1" doc:"Who answers for it."`
	Reason    string    `yaml:"reason" need:"1" doc:"Why it is granted."`
	Expires   time.Time `yaml:"expires" doc:"When it ends."`
}

// Stages are those whose mode a policy may set.
func Stages() []sallyport.Stage {
	return []sallyport.Stage{sallyport.StageIdentify, sallyport.StageLimit, sallyport.StageAuthenticate,
		sallyport.StageAuthorise, sallyport.StageValidate, sallyport.StageInspect}
}

// Algorithms are the signature algorithms that may be allowed (RFC 7518, RFC
// 8037, RFC 9864): asymmetric ones only.
func Algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
}

// A Demand is what holds for one operation after everything that the policy
// says about it has been put together.
type Demand struct {
	Modes      map[sallyport.Stage]sallyport.Mode // every stage of Stages
	Scopes     []string
	ACR        []string
	MaxAge     time.Duration
	Anonymous  Anonymous
	Rules      []Rule  // of the API, then of the operation
	Limits     []Limit // of the API, then of the operation
	OwnLimits  int     // how many at the end of Limits are the operation's own
	Exceptions []Exception
	Errors     Errors // with every field set
	Login      bool
	Price      int64    // of one answered request, in millionths
	Sensitive  []string // kinds that answers may hold, the API's included
	Cache      Cache    // with every field set that has a default
}

// For puts together what holds for op; the zero Operation stands for one that
// no specification declares.
func (a API) For(op sallyport.Operation) Demand {
	d := Demand{Modes: map[sallyport.Stage]sallyport.Mode{}, Anonymous: a.Auth.Anonymous, Limits: counted(a.Limits), Rules: slices.Clone(a.Rules)}
	for _, s := range Stages() {
		d.Modes[s] = cmp.Or(a.Checks[s], a.Mode, sallyport.Observe)
	}
	d.Sensitive = slices.Clone(a.Answers.Declared)
	d.Errors = a.Errors.Over(Errors{Mode: cmp.Or(a.Mode, sallyport.Observe)})
	d.Cache = a.Cache
	for _, o := range a.Operations {
		if !names(o.Operation, op) {
			continue
		}
		for _, s := range Stages() {
			d.Modes[s] = cmp.Or(o.Checks[s], o.Mode, d.Modes[s])
		}
		d.Errors = o.Errors.Over(Errors{Mode: o.Mode}).Over(d.Errors)
		d.Login = d.Login || o.Login
		d.Sensitive = append(d.Sensitive, o.Sensitive...)
		d.Cache = o.Cache.Over(d.Cache)
		d.Scopes = append(d.Scopes, o.Scopes...)
		d.ACR = append(d.ACR, o.ACR...)
		d.MaxAge = cmp.Or(o.MaxAge, d.MaxAge)
		d.Anonymous = cmp.Or(o.Anonymous, d.Anonymous)
		d.Rules = append(d.Rules, o.Rules...)
		d.Limits = append(d.Limits, o.Limits...)
		d.OwnLimits += len(o.Limits)
		d.Price = cmp.Or(Quantity{Value: o.Price}.in(Money), d.Price)
	}
	d.Errors = d.Errors.Over(DefaultErrors)
	d.Cache = d.Cache.Over(DefaultCache).canonical()
	for _, e := range a.Exceptions {
		if e.Operation == "" || e.Operation == "*" || names(e.Operation, op) {
			d.Exceptions = append(d.Exceptions, e)
		}
	}
	return d
}

// names reports whether s, as written in a policy, means op.
func names(s string, op sallyport.Operation) bool {
	return s != "" && (s == op.Key() || s == op.Name)
}

// Covers reports whether e spares a finding of rule at place at the time now.
func (e Exception) Covers(rule string, place sallyport.Place, now time.Time) bool {
	return now.Before(e.Expires) && ruleMatches(e.Rule, rule) && placeMatches(e.Place, place)
}

func ruleMatches(pattern, rule string) bool {
	if family, ok := strings.CutSuffix(pattern, ".*"); ok {
		rest, ok := strings.CutPrefix(rule, family)
		return ok && strings.HasPrefix(rest, ".")
	}
	return pattern == rule
}

func placeMatches(pattern string, place sallyport.Place) bool {
	if pattern == "" || pattern == "*" {
		return true
	}
	in, name, _ := strings.Cut(pattern, " ")
	if in != string(place.In) {
		return false
	}
	if name == "" {
		return true
	}
	if place.In == sallyport.InHeader {
		return strings.EqualFold(name, place.Name)
	}
	if !strings.Contains(name, "*") {
		return name == place.Name
	}
	got := place.Name
	for {
		p, prest, pmore := strings.Cut(name, "/")
		g, grest, gmore := strings.Cut(got, "/")
		if p != "*" && p != g || pmore != gmore {
			return false
		}
		if !pmore {
			return true
		}
		name, got = prest, grest
	}
}

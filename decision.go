package sallyport

// Stage is one step of a decision; the same word stands in the configuration,
// in metrics, in logs and on screen.
type Stage string

// The stages, in the order in which a request meets them. StageRequest is the
// door's own check of framing and bounds, before a guard is asked.
const (
	StageRequest      Stage = "request"
	StageIdentify     Stage = "identify"
	StageLimit        Stage = "limit"
	StageAuthenticate Stage = "authenticate"
	StageAuthorise    Stage = "authorise"
	StageValidate     Stage = "validate"
	StageInspect      Stage = "inspect"
	StageDecide       Stage = "decide"
	StageRelieve      Stage = "relieve"
	StageRewrite      Stage = "rewrite"
	StageForward      Stage = "forward" // the upstream could not be asked, or lied
)

// Action is what a door does with a request.
type Action string

// The actions. ActionAllow is the zero decision's meaning too.
const (
	ActionAllow    Action = "allow"
	ActionRefuse   Action = "refuse"
	ActionThrottle Action = "throttle" // refused for now: 429 with Retry-After
)

// Mode says whether a check's outcome is acted on or only recorded.
type Mode string

// The modes.
const (
	Observe Mode = "observe"
	Enforce Mode = "enforce"
	Off     Mode = "off"
)

// A Decision is what was decided about a request, why, and what was not looked
// at. It holds names, places and classes, never a value out of the request.
type Decision struct {
	Action       Action   `cbor:"1,keyasint"`
	Stage        Stage    `cbor:"2,keyasint,omitempty"` // the stage that refused; "" when allowed
	Status       int      `cbor:"3,keyasint,omitempty"` // status of the refusal
	Reasons      []Reason `cbor:"4,keyasint,omitempty"`
	NotInspected []string `cbor:"5,keyasint,omitempty"` // "body: larger than 1 MiB", …
	Program      string   `cbor:"6,keyasint,omitempty"` // which compiled program decided
	Relief       []string `cbor:"7,keyasint,omitempty"` // what spared the upstream work: "cache.hit", "cache.stale", "coalesced", …
}

// Refused reports whether the request was turned away.
func (d *Decision) Refused() bool { return d.Action != ActionAllow && d.Action != "" }

// A Reason is one finding of one stage.
type Reason struct {
	Stage     Stage  `cbor:"1,keyasint"`
	Rule      string `cbor:"2,keyasint"` // stable name: "token.expired", "schema.type", "sqli.tautology"
	Place     Place  `cbor:"3,keyasint,omitempty"`
	Class     string `cbor:"4,keyasint,omitempty"` // class of the decoded value or attack
	Detail    string `cbor:"5,keyasint,omitempty"` // for people; holds nothing out of the request
	Mode      Mode   `cbor:"6,keyasint"`           // what the check's mode was
	Exception string `cbor:"7,keyasint,omitempty"` // id of the exception that spared it
}

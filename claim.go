package sallyport

import "time"

// An Asset is what somebody speaks of, by as much as they know: an API by its
// name, or where it is found. Empty fields are unknown.
type Asset struct {
	API     string `json:"api,omitempty"`     // name in the inventory
	Host    string `json:"host,omitempty"`    // lower case, without port
	Path    string `json:"path,omitempty"`    // prefix below the host
	Address string `json:"address,omitempty"` // address:port where it answers
	Method  string `json:"method,omitempty"`  // of one operation, with Template
	// Template is the operation's path template; "" = the API as a whole.
	Template string `json:"template,omitempty"`
}

// A Claim is one thing that one source says of an asset. Sources may disagree;
// the inventory keeps each, and shows what it follows from.
type Claim struct {
	Asset      Asset     `json:"asset"`
	Field      string    `json:"field"` // by the inventory's name, for example "owner.team"
	Value      string    `json:"value"` // never a secret
	Source     string    `json:"source"`
	Confidence float64   `json:"confidence"`          // 0 to 1: how far the source can be wrong about it
	Evidence   string    `json:"evidence,omitempty"`  // where it stands: file:line, an object's name, a URL
	Time       time.Time `json:"time"`                // when it was read
	Withdrawn  bool      `json:"withdrawn,omitempty"` // the source no longer says so
}

// Severity is how bad a finding is.
type Severity string

// The severities, from the least.
const (
	Info     Severity = "info"
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)

// A Finding is something wrong with an asset, named by a rule that says why it
// matters. Two findings of one rule, source, asset and place are one.
type Finding struct {
	Rule     string    `json:"rule"` // stable identifier, for example "tls.version"
	Title    string    `json:"title"`
	Severity Severity  `json:"severity"`
	Asset    Asset     `json:"asset"`
	Place    string    `json:"place,omitempty"`    // file:line, parameter, header
	Evidence []string  `json:"evidence,omitempty"` // what was seen, without secrets
	Fix      string    `json:"fix,omitempty"`
	Refs     []string  `json:"refs,omitempty"` // "OWASP API8:2023", "CWE-319", "T1190"
	Source   string    `json:"source"`
	Time     time.Time `json:"time"`
	Gone     bool      `json:"gone,omitempty"` // looked again and it is no longer so
}

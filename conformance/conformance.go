// Package conformance tests a running instance of an API against its
// description. In come a spec.Set that was loaded with Options.Keep, the
// address of one instance, identities to call it with, a profile and a budget;
// out goes a Report: findings, each made as small as it will go and repeated,
// with a curl line that shows it, what was reached, and what was not run and
// why. It generates requests from schemas alone, the same ones for the same
// seed. It never calls another host than the target, never goes on beyond its
// budget, keeps no data of an answer in a finding but status, names and
// places, and deletes what it created where the API lets it.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sallyport.dev/spec"
)

// A Profile says how far a run goes.
type Profile string

// The profiles. Safe reads, and sends what must be refused; it changes nothing
// but what it makes itself and deletes again. Full is for an instance without
// users: it creates, changes and deletes. Deep is Full with more of everything.
const (
	Safe Profile = "safe"
	Full Profile = "full"
	Deep Profile = "deep"
)

// A Plan is one run against one instance. Only Spec and Target must be given.
type Plan struct {
	API        string
	Spec       *spec.Set // loaded with Options.Keep
	Target     string    // http(s)://host[:port], with what stands before the paths of the specification
	Profile    Profile   // default Full
	Seed       uint64    // default 1
	Identities []Identity
	Refused    []Identity        // credentials that no longer hold or are meant for others: each must be refused
	Examples   map[string]string // values of path parameters: by "{name}", or "/path/{name}" for one path
	Skip       []string          // operations ("DELETE /users/{id}") and checks that are not run
	Latency    time.Duration     // budget of an answer; default 2 s
	Budget     Budget
	Header     http.Header       // sent with each request, such as a mark that tells tests apart
	Transport  http.RoundTripper // default: one of its own
	Canary     string            // host:port to listen at for server-side requests; default a free port of 127.0.0.1

	// Stop, if set, tells the instance to stop and returns at once. It is called
	// last, by Full and Deep; nothing is sent afterwards.
	Stop func(ctx context.Context) error

	// Progress, if set, is called from time to time, by one goroutine at a time.
	Progress func(stage string, requests, findings int)
}

// An Identity is one caller. Callers of the same role are equals: what one of
// them owns the others must not reach.
type Identity struct {
	Name   string
	Role   string            // default "user"; operations below /admin are for the role "admin"
	Token  string            // of the first security scheme that an operation names
	Tokens map[string]string // by security scheme; goes before Token
	Scopes []string          // that the credential holds; nil = not said
}

// A Budget bounds a run.
type Budget struct {
	Requests int           // default 20 000; 4 000 for Safe
	Rate     float64       // requests a second; 0 = as they come
	Share    float64       // of the time that the instance is to be busy with the run, by what its answers take; default 0.05 for Safe; 0 or 1 = all
	Time     time.Duration // default 10 min; 40 s for Safe
	Body     int64         // bytes read of an answer; default 4 MiB
	Timeout  time.Duration // of one request; default 10 s
	Workers  int           // operations tested at a time; default 4, 2 for Safe
}

// A Report is the outcome of a run.
type Report struct {
	API      string        `json:"api"`
	Target   string        `json:"target"`
	Profile  Profile       `json:"profile"`
	Seed     uint64        `json:"seed"`
	Passed   bool          `json:"passed"` // nothing above the level of a note was found, and the target answered
	Findings []Finding     `json:"findings"`
	Flaky    []Finding     `json:"flaky,omitempty"` // seen, and not seen again
	Coverage Coverage      `json:"coverage"`
	Requests int           `json:"requests"`
	Started  time.Time     `json:"started"`
	Duration time.Duration `json:"duration"`
	NotRun   []string      `json:"not_run,omitempty"` // what was left out, why, and what to supply
	Left     []string      `json:"left,omitempty"`    // what was made and could not be deleted
	Breaks   []Break       `json:"breaks,omitempty"`  // changes of the contract that affect who uses it, allowed ones too
}

// A Level is how much a finding weighs.
type Level string

// The levels. A note alone fails no run.
const (
	Error   Level = "error"
	Warning Level = "warning"
	Note    Level = "note"
)

// A Finding is one way in which the instance is not what it should be.
type Finding struct {
	Check     string `json:"check"` // ID of the check
	Level     Level  `json:"level"`
	Operation string `json:"operation"`       // "GET /items/{id}"
	Place     string `json:"place,omitempty"` // "query limit", "body /name"
	Detail    string `json:"detail"`
	Status    int    `json:"status,omitempty"`
	Identity  string `json:"identity,omitempty"`
	Curl      string `json:"curl"` // shows it; credentials as names of variables
	Seed      uint64 `json:"seed"`
	Seen      string `json:"seen,omitempty"` // "3 of 3"
}

// Coverage is what a run reached.
type Coverage struct {
	Operations []OperationCoverage `json:"operations"`
	Checks     map[string]int      `json:"checks"` // times that each check judged
}

// OperationCoverage is what was reached of one operation.
type OperationCoverage struct {
	Operation string         `json:"operation"`
	Declared  []string       `json:"declared"`      // statuses
	Reached   map[int]int    `json:"reached"`       // answers by status
	Params    []string       `json:"params"`        // declared, "query limit"
	Sent      []string       `json:"sent"`          // of those, given a value
	Checks    map[string]int `json:"checks"`        // that judged it
	Why       string         `json:"why,omitempty"` // no request of it succeeded
}

// ErrTarget marks errors of a target that cannot be tested at all.
var ErrTarget = errors.New("target cannot be tested")

// Run tests an instance. The error is about the plan (a specification without
// what is needed, a target that is no URL) or ctx; what the instance does
// wrong, silence included, is in the Report. Several runs may go on at once.
func Run(ctx context.Context, p Plan) (*Report, error) {
	r, err := newRun(p)
	if err != nil {
		return nil, err
	}
	return r.all(ctx)
}

func newRun(p Plan) (*run, error) {
	if p.Spec == nil {
		return nil, fmt.Errorf("%w: no specification", ErrTarget)
	}
	u, err := url.Parse(p.Target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("%w: want http(s)://host[:port][/path]", ErrTarget)
	}
	p.Target = strings.TrimSuffix(p.Target, "/")
	if p.Profile == "" {
		p.Profile = Full
	}
	if p.Profile != Safe && p.Profile != Full && p.Profile != Deep {
		return nil, fmt.Errorf("profile %q is not known: safe, full or deep", p.Profile)
	}
	if p.Seed == 0 {
		p.Seed = 1
	}
	b := &p.Budget
	defaults := Budget{Requests: 20_000, Time: 10 * time.Minute, Body: 4 << 20, Timeout: 10 * time.Second, Workers: 4}
	if p.Profile == Safe {
		defaults.Requests, defaults.Time, defaults.Workers, defaults.Share = 4_000, 40*time.Second, 2, 0.05
	}
	if b.Requests <= 0 {
		b.Requests = defaults.Requests
	}
	if b.Time <= 0 {
		b.Time = defaults.Time
	}
	if b.Share <= 0 || b.Share > 1 {
		b.Share = defaults.Share
	}
	if b.Body <= 0 {
		b.Body = defaults.Body
	}
	if b.Timeout <= 0 {
		b.Timeout = defaults.Timeout
	}
	if b.Workers <= 0 {
		b.Workers = defaults.Workers
	}
	if p.Latency <= 0 {
		p.Latency = 2 * time.Second
	}
	return build(p, u)
}

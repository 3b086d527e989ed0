// Package incident keeps investigations. In come failures (of a test of an
// instance, for one) with evidence, and passing tests; out go incidents with an
// owner, a date by which they are due, a timeline of who did what and when, and
// notifications to the places that are configured.
//
// An incident is opened once per subject: a failure of the same kind of the
// same subject joins the one that is open. It ends by a passing test of the same
// subject that looked at least as deep, and by nothing else; an exception, with
// an approver, a reason and an end, only lets it rest.
//
// Report never blocks; it holds a bounded number of failures while the database
// does not answer. What does not fit, or was not written when the process died,
// is asked for again from where it came (Options.Recover), and what is told
// twice counts once. Notifications are rows of the same transaction as what
// they tell of, so none is lost with the process; one may be sent twice.
//
// The package never decides whether something failed, never sends what nobody
// configured, and puts no evidence, no reproduction and no secret into a
// notification, a log or an error.
package incident

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"sallyport.dev"
)

// Severity orders incidents.
type Severity int

// The severities.
const (
	Low Severity = iota + 1
	Medium
	High
	Critical
)

var severities = map[Severity]string{Low: "low", Medium: "medium", High: "high", Critical: "critical"}

// String is the word for s in file, metric and screen.
func (s Severity) String() string { return severities[s] }

// ParseSeverity reads the word for a severity.
func ParseSeverity(text string) (Severity, error) {
	for s, word := range severities {
		if word == text {
			return s, nil
		}
	}
	return 0, sallyport.Errorf(sallyport.Invalid, "%.40q is not one of low, medium, high, critical", text)
}

// State is where an incident stands.
type State string

// The states.
const (
	Opened       State = "open"
	Acknowledged State = "acknowledged"
	Excepted     State = "excepted"
	Resolved     State = "resolved"
)

// Evidence is one piece of what an incident rests on.
type Evidence struct {
	bun.BaseModel `bun:"table:incident_evidence"`

	Seq      int64  `bun:"seq,pk,autoincrement"`
	Incident string `bun:"incident"`
	At       int64  `bun:"at"`     // microseconds since 1970
	Source   string `bun:"source"` // id of the verdict that holds it in full
	Kind     string `bun:"kind"`   // "finding", "summary", …
	Title    string `bun:"title"`
	Body     string `bun:"body"`
}

// New is a failure.
type New struct {
	Kind         string // of test: "conformance", …
	API          string
	Subject      string // URL of the instance, or the operation
	Title        string // one line, without values of requests: it is sent in notifications
	Severity     Severity
	Evidence     []Evidence // Kind, Title and Body
	Reproduction string
	Difference   string    // to the last passing test, as text; empty: the last known pass is named
	Key          string    // identity; default kind, API and subject
	Source       string    // id of the verdict; the same one counts once
	Depth        int       // how deep the test looked; only a pass as deep ends it
	At           time.Time // when it failed; default now
}

// A Proof is a passing test.
type Proof struct {
	Kind, API, Subject string
	Key                string // default kind, API and subject
	ID                 string // of the verdict
	Summary            string
	Depth              int
	At                 time.Time // default now
}

// A Result is what Recover tells of: exactly one of the two.
type Result struct {
	Failed *New
	Passed *Proof
}

// An Incident is one investigation. Times are microseconds since 1970, 0 = never.
type Incident struct {
	bun.BaseModel `bun:"table:incident"`

	ID           string   `bun:"id,pk"`
	Key          string   `bun:"subject_key"`
	Kind         string   `bun:"kind"`
	API          string   `bun:"api"`
	Subject      string   `bun:"subject"`
	Title        string   `bun:"title"`
	Severity     Severity `bun:"severity"`
	State        State    `bun:"state"`
	Depth        int      `bun:"depth"`
	Source       string   `bun:"source"`
	Assignee     string   `bun:"assignee"`
	Team         string   `bun:"team"`
	Contact      string   `bun:"contact"`
	Deputy       string   `bun:"deputy"`
	Reproduction string   `bun:"reproduction"`
	Difference   string   `bun:"difference"`
	Occurrences  int64    `bun:"occurrences"`
	Opened       int64    `bun:"opened"`
	Seen         int64    `bun:"seen"` // last failure
	Due          int64    `bun:"due"`
	Closed       int64    `bun:"closed"`
	Escalated    int64    `bun:"escalated"`
	Approver     string   `bun:"approver"` // of the exception
	Reason       string   `bun:"reason"`
	Until        int64    `bun:"until"`
}

// Overdue reports whether somebody should have dealt with it by now.
func (i *Incident) Overdue(now time.Time) bool {
	return (i.State == Opened || i.State == Acknowledged) && i.Due <= now.UnixMicro()
}

// An Entry is one line of a timeline.
type Entry struct {
	bun.BaseModel `bun:"table:incident_entry"`

	Seq      int64  `bun:"seq,pk,autoincrement"`
	Incident string `bun:"incident"`
	At       int64  `bun:"at"`
	Who      string `bun:"who"`  // a person, or "sallyport"
	What     string `bun:"what"` // "opened", "failed again", "acknowledged", "assigned", "commented", "excepted", "exception ended", "overdue", "resolved"
	Text     string `bun:"text"`
}

// A Delivery is one notification to one target.
type Delivery struct {
	bun.BaseModel `bun:"table:incident_delivery"`

	Seq      int64  `bun:"seq,pk,autoincrement"`
	Incident string `bun:"incident"`
	Event    Event  `bun:"event"`
	Target   string `bun:"target"`
	State    string `bun:"state"` // "due", "sent", "failed"
	Attempts int    `bun:"attempts"`
	Next     int64  `bun:"next"` // when it is tried again
	At       int64  `bun:"at"`   // made, later sent
	Problem  string `bun:"problem"`
}

// A Detail is one incident with all that belongs to it.
type Detail struct {
	Incident
	Timeline   []Entry
	Evidence   []Evidence
	Deliveries []Delivery
}

type source struct {
	bun.BaseModel `bun:"table:incident_source"`

	Source   string `bun:"source,pk"`
	Incident string `bun:"incident"`
	At       int64  `bun:"at"`
}

type pass struct {
	bun.BaseModel `bun:"table:incident_pass"`

	Key     string `bun:"subject_key,pk"`
	Depth   int    `bun:"depth,pk"`
	At      int64  `bun:"at"`
	Proof   string `bun:"proof"`
	Summary string `bun:"summary"`
}

// us is who acts when nobody does.
const us = "sallyport"

// newID is a name that sorts by time.
func newID(now time.Time) string {
	b := make([]byte, 6)
	rand.Read(b)
	return fmt.Sprintf("i%011x%s", now.UnixMilli(), hex.EncodeToString(b))
}

func keyOf(key, kind, api, subject string) string {
	if key != "" {
		return cut(key, 1000)
	}
	return cut(fmt.Sprintf("%s %q %q", kind, api, subject), 4000)
}

// cut bounds a text from outside, at a whole character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}

package inventory

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
)

// A FieldValue is what the inventory holds of one field: the value that
// follows, what it follows from, and everything that was said.
type FieldValue struct {
	Field      Field
	Value      string   // of a list: its elements, joined by ", "
	List       []string // of a list
	Source     string
	Power      Power // 0: computed from what was counted
	Confidence float64
	Evidence   string
	Since      time.Time
	Conflict   bool // sources disagree and nobody has decided
	Claims     []FieldClaim
}

// A FieldClaim is what one source says of a field.
type FieldClaim struct {
	Source      string
	Value       string
	Power       Power
	Confidence  float64
	Evidence    string
	First, Last time.Time // when it was said for the first and the last time
	RejectedBy  string    // "" = it is not
	Rejected    time.Time
	RejectedFor string
}

// Said lists the fields of an API (key = "") or of one operation of which
// anything is known, in reading order.
func (v *Inventory) Said(ctx context.Context, api, key string) ([]FieldValue, error) {
	at := map[string]*FieldValue{}
	get := func(name string) *FieldValue {
		f := fieldByName[name]
		if f == nil {
			return nil // of a newer or older program
		}
		if at[name] == nil {
			at[name] = &FieldValue{Field: *f}
		}
		return at[name]
	}
	if err := v.read(ctx, "fields", "SELECT field, value, source, power, confidence, evidence, conflict, since FROM inventory_field WHERE api = ? AND op = ?", []any{api, key}, func(rows *sql.Rows) error {
		var name string
		var s settled
		var conflict int
		if err := rows.Scan(&name, &s.value, &s.source, &s.power, &s.confidence, &s.evidence, &conflict, &s.since); err != nil {
			return err
		}
		if x := get(name); x != nil {
			x.Value, x.Source, x.Power, x.Confidence, x.Evidence, x.Conflict, x.Since = s.value, s.source, s.power, s.confidence, s.evidence, conflict == 1, timeOf(s.since)
			if x.Field.Conflicts == Union {
				if err := json.Unmarshal([]byte(s.value), &x.List); err != nil {
					return err
				}
				x.Value = strings.Join(x.List, ", ")
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	if err := v.read(ctx, "claims", "SELECT field, source, value, power, confidence, evidence, first_at, at, rejected_by, rejected_at, rejected_for FROM inventory_claim WHERE api = ? AND op = ? ORDER BY power DESC, confidence DESC, source, item", []any{api, key}, func(rows *sql.Rows) error {
		var name string
		var c FieldClaim
		var first, last, rejected int64
		if err := rows.Scan(&name, &c.Source, &c.Value, &c.Power, &c.Confidence, &c.Evidence, &first, &last, &c.RejectedBy, &rejected, &c.RejectedFor); err != nil {
			return err
		}
		c.First, c.Last, c.Rejected = timeOf(first), timeOf(last), timeOf(rejected)
		if x := get(name); x != nil {
			x.Claims = append(x.Claims, c)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	var out []FieldValue
	for i := range fields {
		if x := at[fields[i].Name]; x != nil {
			out = append(out, *x)
		}
	}
	return out, nil
}

// A Proposal is an API that somebody spoke of and nobody has accepted.
type Proposal struct {
	Name   string
	State  string // "proposed", "accepted", "ignored", "merged"
	Reason string // why it is ignored
	Into   string // what it was merged into
	Hosts  []string
	Path   string
	Since  time.Time
	Claims int
	Open   int // findings
	Source []string
}

// Proposals lists the proposed APIs in one state, or ("") in all, by name.
func (v *Inventory) Proposals(ctx context.Context, state string) ([]Proposal, error) {
	states := "'proposed', 'accepted', 'ignored', 'merged'"
	if state != "" {
		if !slices.Contains([]string{stateProposed, stateAccepted, stateIgnored, stateMerged}, state) {
			return nil, sallyport.Errorf(sallyport.Invalid, "no state %q of a proposal", clean(state))
		}
		states = "'" + state + "'"
	}
	at := map[string]*Proposal{}
	if err := v.read(ctx, "proposals", "SELECT name, state, reason, merged_into, hosts, path, known_at FROM inventory_api WHERE state IN ("+states+")", nil, func(rows *sql.Rows) error {
		var p Proposal
		var hosts string
		var since int64
		if err := rows.Scan(&p.Name, &p.State, &p.Reason, &p.Into, &hosts, &p.Path, &since); err != nil {
			return err
		}
		p.Since = timeOf(since)
		at[p.Name] = &p
		return json.Unmarshal([]byte(hosts), &p.Hosts)
	}); err != nil {
		return nil, err
	}
	if err := v.read(ctx, "proposals", "SELECT origin, source, COUNT(*) FROM inventory_claim WHERE origin IN (SELECT name FROM inventory_api WHERE state IN ("+states+")) GROUP BY origin, source ORDER BY origin, source", nil, func(rows *sql.Rows) error {
		var name, source string
		var n int
		err := rows.Scan(&name, &source, &n)
		if p := at[name]; p != nil {
			p.Claims += n
			p.Source = append(p.Source, source)
		}
		return err
	}); err != nil {
		return nil, err
	}
	if err := v.read(ctx, "proposals", "SELECT origin, COUNT(*) FROM inventory_finding WHERE ended_at = 0 GROUP BY origin", nil, func(rows *sql.Rows) error {
		var name string
		var n int
		err := rows.Scan(&name, &n)
		if p := at[name]; p != nil {
			p.Open = n
		}
		return err
	}); err != nil {
		return nil, err
	}
	out := make([]Proposal, 0, len(at))
	for _, p := range at {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Proposal) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

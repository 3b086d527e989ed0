package api

import (
	"context"
	"net/http"
	"time"

	"sallyport.dev/console/account"
	"sallyport.dev/console/audit"
)

// Person is one account.
type Person struct {
	ID       string     `json:"id" maxLength:"64"`
	Name     string     `json:"name" maxLength:"64"`
	Role     string     `json:"role" enum:"admin,viewer"`
	State    string     `json:"state" enum:"active,invited,lapsed,disabled" doc:"lapsed: was invited, and the link is no longer good"`
	Created  *time.Time `json:"created,omitempty"`
	SignedIn *time.Time `json:"signed_in,omitempty" doc:"Last sign-in"`
	Changed  *time.Time `json:"password_changed,omitempty"`
	Invited  *time.Time `json:"invited_until,omitempty" doc:"Until when the open invitation is good"`
}

func (a *API) person(p *account.Account) Person {
	state := "active"
	switch {
	case p.Disabled != 0:
		state = "disabled"
	case p.Hash == "" && p.Invited > a.Now().UnixMicro():
		state = "invited"
	case p.Hash == "":
		state = "lapsed"
	}
	out := Person{ID: p.ID, Name: p.Name, Role: string(p.Role), State: state, Created: micros(p.Created), SignedIn: micros(p.SignedIn), Changed: micros(p.Changed)}
	if p.Invited > a.Now().UnixMicro() {
		out.Invited = micros(p.Invited)
	}
	return out
}

// Invitation is how a person gets in.
type Invitation struct {
	Person Person    `json:"person"`
	Path   string    `json:"path" maxLength:"128" doc:"To be put behind the console's address and handed over; shown this once"`
	Until  time.Time `json:"until"`
}

// AuditEntry is one act.
type AuditEntry struct {
	Seq     int64     `json:"seq" minimum:"1"`
	Time    time.Time `json:"time"`
	Name    string    `json:"name" maxLength:"64" doc:"Who; empty when nobody was known"`
	Client  string    `json:"client" maxLength:"64"`
	Action  string    `json:"action" maxLength:"64"`
	Target  string    `json:"target" maxLength:"200"`
	Outcome string    `json:"outcome" enum:"done,refused"`
	Detail  string    `json:"detail" maxLength:"500"`
}

// AuditVerdict is the state of the log's chain.
type AuditVerdict struct {
	Intact  bool      `json:"intact"`
	Checked int64     `json:"checked" minimum:"0" doc:"Entries that were recomputed and agreed"`
	First   int64     `json:"first" minimum:"0"`
	Last    int64     `json:"last" minimum:"0"`
	Head    string    `json:"head" maxLength:"64" doc:"Keyed hash of the newest entry; the process log holds the same"`
	Broken  int64     `json:"broken" minimum:"0" doc:"First entry that does not agree; 0 when none, or when it is the head"`
	Problem string    `json:"problem" maxLength:"500"`
	At      time.Time `json:"at"`
}

func (a *API) administration() {
	type people struct {
		People []Person `json:"people" maxItems:"1000"`
	}
	add(a, spec{id: "listPeople", method: http.MethodGet, path: "/people", summary: "Everyone who has an account", tag: "administration", access: admin},
		func(ctx context.Context, _ *struct{}) (*body[people], error) {
			accounts, err := a.Book.List(ctx)
			if err != nil {
				return nil, err
			}
			out := people{People: []Person{}}
			for i := range accounts {
				out.People = append(out.People, a.person(&accounts[i]))
			}
			return &body[people]{out}, nil
		})

	type newPerson struct {
		Name string `json:"name" minLength:"2" maxLength:"64" pattern:"^[A-Za-z0-9][A-Za-z0-9._@+-]{1,63}$"`
		Role string `json:"role" enum:"admin,viewer"`
	}
	add(a, spec{id: "addPerson", method: http.MethodPost, path: "/people", summary: "Add an account and make its invitation", tag: "administration", access: admin, status: 201},
		func(ctx context.Context, in *body[newPerson]) (*body[Invitation], error) {
			p, token, until, err := a.Book.Add(ctx, in.Body.Name, account.Role(in.Body.Role))
			if err != nil {
				return nil, err
			}
			return a.invited(ctx, p, "account.add", token, until)
		})

	type ByID struct {
		ID string `path:"id" pattern:"^[A-Z2-7]{26}$" maxLength:"26"`
	}
	add(a, spec{id: "invitePerson", method: http.MethodPost, path: "/people/{id}/invitation", summary: "Make a new invitation, for a link that lapsed or a password that was forgotten", tag: "administration", access: admin, status: 201},
		func(ctx context.Context, in *ByID) (*body[Invitation], error) {
			p, token, until, err := a.Book.Invite(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			return a.invited(ctx, p, "account.invite", token, until)
		})

	type personChange struct {
		Role     *string `json:"role,omitempty" enum:"admin,viewer"`
		Disabled *bool   `json:"disabled,omitempty"`
	}
	add(a, spec{id: "changePerson", method: http.MethodPatch, path: "/people/{id}", summary: "Change a role, disable or enable", tag: "administration", access: admin},
		func(ctx context.Context, in *struct {
			ByID
			Body personChange
		}) (*body[Person], error) {
			var role *account.Role
			if in.Body.Role != nil {
				r := account.Role(*in.Body.Role)
				role = &r
			}
			p, err := a.Book.Change(ctx, in.ID, role, in.Body.Disabled)
			if err != nil {
				return nil, err
			}
			if role != nil {
				if err := a.record(ctx, "account.role", p.Name, audit.Done, "now "+string(*role)); err != nil {
					return nil, err
				}
			}
			if in.Body.Disabled != nil {
				action := "account.enable"
				if *in.Body.Disabled {
					action = "account.disable"
				}
				if err := a.record(ctx, action, p.Name, audit.Done, ""); err != nil {
					return nil, err
				}
			}
			return &body[Person]{a.person(p)}, nil
		})

	type auditPage struct {
		Entries []AuditEntry `json:"entries" maxItems:"500"`
		Next    int64        `json:"next" minimum:"0" doc:"before of the page that follows; 0 when there is none"`
	}
	add(a, spec{id: "listAudit", method: http.MethodGet, path: "/audit", summary: "What administrators did, newest first", tag: "administration", access: admin},
		func(ctx context.Context, in *struct {
			Before  int64  `query:"before" minimum:"0" maximum:"9007199254740991"`
			Action  string `query:"action" maxLength:"64" pattern:"^[a-z.]*$"`
			Outcome string `query:"outcome" enum:"done,refused"`
			Limit   int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
		}) (*body[auditPage], error) {
			entries, err := a.Audit.List(ctx, audit.Filter{Before: in.Before, Action: in.Action, Outcome: in.Outcome, Limit: in.Limit})
			if err != nil {
				return nil, err
			}
			out := auditPage{Entries: []AuditEntry{}}
			for _, e := range entries {
				out.Entries = append(out.Entries, AuditEntry{e.Seq, time.UnixMicro(e.At).UTC(), e.Name, e.Client, e.Action, e.Target, e.Outcome, e.Detail})
			}
			if len(entries) == in.Limit {
				out.Next = entries[len(entries)-1].Seq
			}
			return &body[auditPage]{out}, nil
		})

	add(a, spec{id: "verifyAudit", method: http.MethodGet, path: "/audit/verification", summary: "Recompute the chain of the audit log", tag: "administration", access: admin},
		func(ctx context.Context, _ *struct{}) (*body[AuditVerdict], error) {
			v, err := a.Audit.Verify(ctx)
			if err != nil {
				return nil, err
			}
			if !v.Intact {
				a.Logger.ErrorContext(ctx, "the audit log does not verify", "problem", v.Problem, "entry", v.Broken)
			}
			return &body[AuditVerdict]{AuditVerdict{v.Intact, v.Checked, v.First, v.Last, v.Head, v.Broken, v.Problem, v.At.UTC()}}, nil
		})
}

func (a *API) invited(ctx context.Context, p *account.Account, action, token string, until time.Time) (*body[Invitation], error) {
	if err := a.record(ctx, action, p.Name, audit.Done, "role "+string(p.Role)); err != nil {
		return nil, err
	}
	p.Invited = until.UnixMicro()
	return &body[Invitation]{Invitation{a.person(p), "/setup#" + token, until.UTC()}}, nil
}
